"""Super-resolution scored on the committed clips: each is made smaller, enlarged again, and compared with itself.

usage: python tests/bench/sr_quality.py --darkroom target/release/darkroom --vmaf FFMPEG [--frames 10] [--crops OUT.png]
                                        [--models span,general-x4,...] [--scale 2|4] [CLIP...]

Bicubic and Lanczos are ffmpeg's (swscale, accurate_rnd). All are encoded losslessly or at CRF 4, so that the scores are the
models'. FFMPEG is the binary that `darkroom models fetch ffmpeg-vmaf` leaves. PSNR and SSIM are of luma.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

MEDIA = Path(__file__).parent.parent / "media"
CLIPS = [MEDIA / name for name in ("sports2d_demo.mp4", "pose2sim_SinglePerson_cam01.mp4", "pose2sim_MultiPerson_cam02.mp4")]
LOSSLESS = ["-an", "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]


def ffmpeg(*args):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, args)], check=True)


def size(clip):
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", clip]
    return tuple(map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(",")))


def scores(tool, video, truth, log):
    """PSNR and SSIM of luma, VMAF."""
    graph = f"[0:v]split=3[a][b][c];[1:v]split=3[d][e][f];[a][d]psnr;[b][e]ssim;[c][f]libvmaf=log_fmt=json:log_path={log}"
    command = [tool, "-v", "info", "-i", video, "-i", truth, "-lavfi", graph, "-f", "null", "-"]
    said = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stderr
    psnr = float(re.search(r"PSNR y:([\d.]+|inf)", said)[1])
    ssim = float(re.search(r"SSIM Y:([\d.]+)", said)[1])
    return psnr, ssim, json.loads(Path(log).read_text())["pooled_metrics"]["vmaf"]["mean"]


def picture(video, crop):
    command = ["ffmpeg", "-v", "error", "-i", str(video), "-vf", crop, "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-"]
    return cv2.imdecode(np.frombuffer(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, np.uint8), 1)


def labelled(image, text):
    image = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    bar = np.full((26, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--darkroom", required=True)
    args.add_argument("--vmaf", required=True)
    args.add_argument("--frames", type=int, default=10)
    args.add_argument("--scale", type=int, default=2)
    args.add_argument("--models", default="span")
    args.add_argument("--crops")
    args.add_argument("clips", nargs="*", type=Path)
    args = args.parse_args()
    rows = []
    print("| clip | method | PSNR dB | SSIM | VMAF |\n|---|---|---|---|---|")
    for clip in args.clips or CLIPS:
        with tempfile.TemporaryDirectory() as scratch:
            scratch = Path(scratch)
            truth, small, s = scratch / "truth.mp4", scratch / "small.mp4", args.scale
            width, height = (side // (2 * s) * 2 * s for side in size(clip))
            ffmpeg("-i", clip, "-frames:v", args.frames, "-vf", f"crop={width}:{height}", *LOSSLESS, truth)
            ffmpeg("-i", truth, "-vf", f"scale={width // s}:{height // s}:flags=bicubic+accurate_rnd", *LOSSLESS, small)
            made = {}
            for name in ("bicubic", "lanczos"):
                made[name] = scratch / f"{name}.mp4"
                ffmpeg("-i", small, "-vf", f"scale={width}:{height}:flags={name}+accurate_rnd", *LOSSLESS, made[name])
            for name in args.models.split(","):
                out = scratch / name
                command = [args.darkroom, "run", "vsr", small, "--output", out, "--set", f"model={name}"]
                command += ["--set", f"scale={s}", "--set", "crf=4"]
                subprocess.run(list(map(str, command)), check=True, capture_output=True)
                made[name] = out / "upscaled.mp4"
            # A part of the middle, a third of the height above it: where people are.
            crop = f"crop=140:140:{width // 2 - 70}:{height // 3 - 70}"
            tiles = []
            for name, video in made.items():
                psnr, ssim, vmaf = scores(args.vmaf, video, truth, scratch / "vmaf.json")
                print(f"| {clip.name} {width}x{height} | {name} | {psnr:.2f} | {ssim:.4f} | {vmaf:.1f} |", flush=True)
                tiles.append(labelled(picture(video, crop), name))
            rows.append(np.hstack([*tiles, labelled(picture(truth, crop), "original")]))
    if args.crops:
        cv2.imwrite(args.crops, np.vstack(rows))


if __name__ == "__main__":
    main()
