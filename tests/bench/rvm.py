"""Robust Video Matting in Python, as short as it gets: what the other scripts here compare Darkroom with."""

import os
import subprocess

import numpy as np
import onnxruntime as ort

STATE = [f"r{i}" for i in (1, 2, 3, 4)]


def model_path():
    """The model as `darkroom models fetch matting/rvm-mobilenetv3` leaves it."""
    root = os.environ.get("DARKROOM_MODELS_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "darkroom", "models"
    )
    return os.path.join(root, "matting/rvm-mobilenetv3/88d453129711/rvm-mobilenetv3.onnx")


class Rvm:
    """One video: call it frame by frame with f32 [1,3,H,W] in 0..1; it keeps the state."""

    def __init__(self, ratio, options=None):
        self.session = ort.InferenceSession(model_path(), options, providers=["CPUExecutionProvider"])
        self.ratio = np.array([ratio], np.float32)
        self.reset()

    def reset(self):
        self.state = [np.zeros((1, 1, 1, 1), np.float32)] * 4

    def __call__(self, src):
        inputs = {"src": src, "downsample_ratio": self.ratio}
        inputs.update({f"{name}i": value for name, value in zip(STATE, self.state)})
        fgr, pha, *self.state = self.session.run(["fgr", "pha"] + [f"{name}o" for name in STATE], inputs)
        return fgr, pha


def frames(clip, width, height, count, start=0.0, crop=None):
    """`count` frames of a clip as u8 [count,H,W,3], cropped (ffmpeg's syntax) and scaled by ffmpeg."""
    scale = f"scale={width}:{height}:flags=area"
    command = ["ffmpeg", "-v", "error", "-ss", str(start), "-i", clip, "-frames:v", str(count)]
    command += ["-vf", f"crop={crop},{scale}" if crop else scale, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(raw, np.uint8).reshape(count, height, width, 3)


def to_planes(frame):
    """u8 [H,W,3] to f32 [1,3,H,W] in 0..1."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1)[None].astype(np.float32) / 255)
