"""The bare model: onnxruntime with its defaults in a loop over frames that lie in memory. Nothing is decoded or encoded.

usage: python tests/bench/careful_vsr.py CLIP IGNORED [FRAMES]
"""

import sys

import cv2
import numpy as np

from measure import Meter
from span import session


def main(clip, _out, limit=sys.maxsize):
    capture, frames = cv2.VideoCapture(clip), []
    while len(frames) < limit:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(np.ascontiguousarray(frame[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255.0))
    net = session()
    meter = Meter()
    for frame in frames:
        net.run(None, {"input": frame})
    meter.report(len(frames))


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
