"""The default super-resolution model in Python."""

import os
from pathlib import Path

import onnxruntime as ort


def session():
    """SPAN x2 with onnxruntime's own defaults: the file that BENCH_SPAN names, or what `darkroom models fetch` left."""
    return ort.InferenceSession(path(), providers=["CPUExecutionProvider"])


def path():
    if os.environ.get("BENCH_SPAN"):
        return os.environ["BENCH_SPAN"]
    root = os.environ.get("DARKROOM_MODELS_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "darkroom", "models"
    )
    # A cache keeps earlier versions.
    return max(Path(root).glob("vsr/span-x2/*/*.onnx"), key=lambda path: path.stat().st_mtime)
