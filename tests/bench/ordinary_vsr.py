"""Super-resolution as most people write it: OpenCV in, onnxruntime with its defaults, ffmpeg's standard input out.

usage: python tests/bench/ordinary_vsr.py CLIP OUT.mkv [FRAMES]
"""

import subprocess
import sys

import cv2
import numpy as np

from measure import Meter
from span import session


def main(clip, out, limit=sys.maxsize):
    capture = cv2.VideoCapture(clip)
    fps = capture.get(cv2.CAP_PROP_FPS)
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    net = session()
    # The settings that Darkroom uses when nothing else is asked for.
    command = ["ffmpeg", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{2 * width}x{2 * height}"]
    command += ["-r", str(fps), "-i", "-", "-i", clip, "-map", "0:v", "-map", "1:a?", "-c:a", "copy", "-c:v", "libx264"]
    command += ["-pix_fmt", "yuv420p", "-crf", "20", "-preset", "faster", out]
    meter = Meter()
    ffmpeg = subprocess.Popen(command, stdin=subprocess.PIPE)
    count = 0
    while count < limit:
        ok, frame = capture.read()
        if not ok:
            break
        rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        src = np.ascontiguousarray(rgb.astype(np.float32).transpose(2, 0, 1)[None] / 255.0)
        larger = net.run(None, {"input": src})[0][0].clip(0, 1)
        ffmpeg.stdin.write(np.ascontiguousarray((larger * 255).round().astype(np.uint8).transpose(1, 2, 0)).tobytes())
        count += 1
    ffmpeg.stdin.close()
    ffmpeg.wait()
    meter.report(count)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
