#!/usr/bin/env python3
"""How far the ONNX models that Darkroom makes of ncnn networks are from ncnn's own runtime, on one picture.

usage: ncnn_parity.py PICTURE PARAM ONNX [PARAM ONNX]...   (weights are the .bin beside PARAM; pip install ncnn onnxruntime
numpy opencv-python-headless)
Prints the largest and the mean difference of values in 0..1. ncnn runs in single precision, without Winograd or packing.
"""
import sys

import cv2
import ncnn
import numpy as np
import onnxruntime


def reference(param, picture):
    net = ncnn.Net()
    options = net.opt
    for name in dir(options):
        exact = ("use_fp16", "use_bf16", "use_int8", "use_winograd", "use_sgemm", "use_packing", "use_vulkan")
        if name.startswith(exact):
            setattr(options, name, False)
    options.num_threads = 1
    assert net.load_param(param) == 0 and net.load_model(param[: -len("param")] + "bin") == 0
    extractor = net.create_extractor()
    assert extractor.input("data", ncnn.Mat(picture[0])) == 0
    status, result = extractor.extract("output")
    assert status == 0
    return np.array(result).clip(0, 1)


def main(path, *pairs):
    picture = cv2.imread(path)[:, :, ::-1].astype(np.float32) / 255
    picture = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    for param, model in zip(pairs[::2], pairs[1::2], strict=True):
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        ours = session.run(None, {"input": picture})[0][0]
        difference = np.abs(ours - reference(param, picture))
        print(f"{model}: {ours.shape[2]}x{ours.shape[1]}, max {difference.max():.1e}, mean {difference.mean():.1e}")


main(*sys.argv[1:])
