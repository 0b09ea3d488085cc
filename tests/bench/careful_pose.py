"""The pose of one person a frame with MediaPipe, full model; nothing is drawn or encoded.

usage: python tests/bench/careful_pose.py CLIP IGNORED [FRAMES]   (pip install mediapipe==0.10.14 'numpy<2')
"""

import sys

from measure import Meter
from mediapipe_pose import estimator, frames, landmarks


def main(clip, _out, limit=sys.maxsize):
    pose = estimator()
    meter = Meter()
    count = found = 0
    for frame in frames(clip, limit):
        found += landmarks(pose, frame) is not None
        count += 1
    meter.report(count)
    print(f"somebody in {found} of {count} frames", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
