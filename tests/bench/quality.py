"""Scores mattes of synth.py's clip against its true alpha: MAD and MSE x 1e3, dtSSD x 1e2, as RVM's authors define them.

usage: python tests/bench/quality.py OUT            Python's matte of OUT/comp.mp4 (OpenCV, onnxruntime)
       python tests/bench/quality.py OUT MATTE      any video or frames/%06d.png with alpha, e.g. of
                                                    `darkroom run matting OUT/comp.mp4 --set format=png`
"""

import json
import subprocess
import sys

import cv2
import numpy as np

from rvm import Rvm, to_planes


def score(matte, truth):
    difference = matte - truth
    change = np.diff(matte, axis=0) - np.diff(truth, axis=0)
    return {
        "MAD": float(np.abs(difference).mean() * 1e3),
        "MSE": float((difference**2).mean() * 1e3),
        "dtSSD": float(np.sqrt((change**2).mean((1, 2))).mean() * 1e2),
    }


def grey(path, *options):
    """A video's grey values, or its alpha, as f32 [N,H,W] in 0..1."""
    size = "width,height"
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", f"stream={size}", "-of", "csv=p=0", path]
    width, height = map(int, subprocess.check_output(probe, text=True).split()[0].strip(",").split(","))
    decoder = ["-c:v", "libvpx-vp9"] if path.endswith(".webm") else []
    command = ["ffmpeg", "-v", "error", *decoder, "-i", path, *options, "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = subprocess.check_output(command)
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width).astype(np.float32) / 255


def python_matte(clip):
    capture, net, mattes = cv2.VideoCapture(clip), None, []
    while True:
        ok, frame = capture.read()
        if not ok:
            return np.stack(mattes)
        net = net or Rvm(min(512 / max(frame.shape[:2]), 1))
        mattes.append(net(to_planes(frame[:, :, ::-1]))[1][0, 0])


def main(out, matte=None):
    truth = grey(f"{out}/alpha.mkv")
    values = grey(matte, "-vf", "alphaextract") if matte else python_matte(f"{out}/comp.mp4")
    assert values.shape == truth.shape, (values.shape, truth.shape)
    print(json.dumps({"frames": len(truth), "coverage": float(truth.mean()), **score(values, truth)}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
