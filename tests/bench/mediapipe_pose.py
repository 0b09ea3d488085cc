"""MediaPipe's Pose as its Python package has it: one person, the full model.

The last wheel that carries `solutions` and its weights: pip install mediapipe==0.10.14 (Python 3.8 to 3.12).
"""

import os

os.environ.setdefault("GLOG_minloglevel", "2")

import cv2
from mediapipe.python.solutions.pose import Pose


def estimator():
    """Made once, as it tracks from frame to frame; it has loaded its networks."""
    return Pose(model_complexity=1)


def frames(clip, limit):
    """The clip's frames, upright and blue first, as OpenCV reads them."""
    capture = cv2.VideoCapture(clip)
    for _ in range(limit):
        ok, frame = capture.read()
        if not ok:
            return
        yield frame


def landmarks(pose, frame):
    """33 landmarks of the one person that it follows, or None."""
    return pose.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).pose_landmarks
