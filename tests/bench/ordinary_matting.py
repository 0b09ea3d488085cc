"""Video matting as most people write it: OpenCV in, onnxruntime, ffmpeg's standard input out.

usage: python tests/bench/ordinary_matting.py CLIP OUT.mkv [FRAMES]
"""

import subprocess
import sys

import cv2
import numpy as np

from measure import Meter
from rvm import Rvm


def encoder(width, height, fps, out):
    """VP9 with alpha, with the settings that Darkroom uses when nothing else is asked for."""
    command = ["ffmpeg", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgba", "-s", f"{width}x{height}"]
    command += ["-r", str(fps), "-i", "-", "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-deadline", "realtime"]
    command += ["-cpu-used", "8", "-row-mt", "1", "-tile-columns", "2", "-lag-in-frames", "0", "-auto-alt-ref", "0"]
    command += ["-crf", "25", "-b:v", "0", out]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def main(clip, out, limit=sys.maxsize):
    capture = cv2.VideoCapture(clip)
    fps = capture.get(cv2.CAP_PROP_FPS)
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    net = Rvm(min(512 / max(width, height), 1))
    meter = Meter()
    ffmpeg = encoder(width, height, fps, out)
    count = 0
    while count < limit:
        ok, frame = capture.read()
        if not ok:
            break
        rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        src = np.ascontiguousarray(rgb.astype(np.float32).transpose(2, 0, 1)[None] / 255.0)
        fgr, pha = net(src)
        # As RVM's own inference.py writes a picture with alpha.
        rgba = np.concatenate([fgr * (pha > 0), pha], 1)[0].transpose(1, 2, 0)
        ffmpeg.stdin.write(np.ascontiguousarray((rgba.clip(0, 1) * 255).astype(np.uint8)).tobytes())
        count += 1
    ffmpeg.stdin.close()
    ffmpeg.wait()
    meter.report(count)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
