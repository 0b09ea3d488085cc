#!/usr/bin/env python3
"""How far the ONNX models that Darkroom makes of TensorFlow Lite networks are from TensorFlow Lite's own interpreter.

usage: tflite_parity.py PICTURE NET=TFLITE,ONNX...   (pip install ai-edge-litert onnxruntime numpy opencv-python-headless)
NET is detector or landmarks. PICTURE is squeezed into the network's square, once upright and once upside down, both in one
batch of the ONNX model. Prints the largest difference of each output, in its own unit: pixels, metres, a probability, or a
logit for the scores of the detector. Fails where one is over its limit.
"""
import sys

import cv2
import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

UNITS = {"boxes": "px", "scores": "logit", "landmarks": "px", "flag": "", "world": "m"}
LIMITS = {"boxes": 2e-3, "landmarks": 0.01, "world": 1e-4}


def reference(path, picture):
    """Outputs by their size."""
    net = Interpreter(path, num_threads=1)
    net.allocate_tensors()
    net.set_tensor(net.get_input_details()[0]["index"], picture[None])
    net.invoke()
    outputs = [net.get_tensor(detail["index"]) for detail in net.get_output_details()]
    return {output.size: output for output in outputs}


def main(path, *nets):
    picture = cv2.imread(path)
    if picture is None or not nets:
        sys.exit(__doc__)
    over = []
    for net in nets:
        kind, _, files = net.partition("=")
        tflite, model = files.split(",")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        side = 224 if kind == "detector" else 256
        square = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)[:, :, ::-1].astype(np.float32) / 255
        if kind == "detector":
            square = square * 2 - 1
        pictures = [np.ascontiguousarray(square), np.ascontiguousarray(square[::-1, ::-1])]
        names = [output.name for output in session.get_outputs()]
        ours = session.run(names, {"image": np.stack([p.transpose(2, 0, 1) for p in pictures])})
        worst = dict.fromkeys(names, 0.0)
        for index, single in enumerate(pictures):
            theirs = reference(tflite, single)
            for name, output in zip(names, ours, strict=True):
                found = output[index]
                wanted = theirs[found.size].reshape(found.shape)
                if name == "landmarks":
                    # Of each point the place in pixels, not the two logits.
                    found, wanted = found.reshape(-1, 5)[:, :3], wanted.reshape(-1, 5)[:, :3]
                worst[name] = float(np.maximum(worst[name], np.abs(found - wanted).max()))
        told = ", ".join(f"{name} {worst[name]:.1e} {UNITS.get(name, '')}".strip() for name in names)
        print(f"{model}: {told}")
        # A difference that is no number is over every limit.
        over += [f"{model}: {name}" for name in names if name in LIMITS and not worst[name] <= LIMITS[name]]
    if over:
        sys.exit("over the limit: " + ", ".join(over))


main(*sys.argv[1:])
