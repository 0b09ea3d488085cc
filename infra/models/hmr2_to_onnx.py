#!/usr/bin/env python3
"""Exports HMR2 of 4D-Humans to the ONNX file that Darkroom's pose handler reads.

usage: hmr2_to_onnx.py hmr2.onnx [--checkpoint FILE]
Run it in the Python environment of 4D-Humans, with its weights and SMPL's file in place as its README asks (its demo must run), and
with `pip install onnx onnxruntime`. Then register the result: `[models.custom]` and `"pose/hmr2" = "/path/to/hmr2.onnx"`.

The weights were made with SMPL and are for non-commercial use: they are fetched and exported under your licences, and no part of
Darkroom. Vertices are not exported, so no file of SMPL goes into the result. Weights are stored in half precision, which keeps the
file below the 2 GB that ONNX allows, and computed with in single precision.
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUTPUTS = ["pred_cam", "global_orient", "body_pose", "betas"]
OPSET = 17
# Smaller weights are not worth the trouble.
LEAST_NUMBERS = 1024


def load(checkpoint):
    """The network from picture to SMPL's parameters, and a picture of noise."""
    import torch
    from hmr2.models import DEFAULT_CHECKPOINT, load_hmr2

    model, _ = load_hmr2(checkpoint or DEFAULT_CHECKPOINT)

    class Parameters(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = model.backbone, model.smpl_head

        def forward(self, image):
            parameters, camera, _ = self.head(self.backbone(image[:, :, :, 32:-32]))
            turns = [parameters[name].reshape(1, -1, 3, 3) for name in ("global_orient", "body_pose")]
            return camera, *turns, parameters["betas"].reshape(1, -1)

    torch.manual_seed(0)
    return Parameters().eval(), torch.randn(1, 3, 256, 256)


def export(network, image, path):
    """Writes the network with its weights beside it, as more than 2 GB have to be, and tells what it makes of the picture."""
    import torch

    with torch.no_grad():
        made = [result.numpy() for result in network(image)]
        torch.onnx.export(
            network, (image,), str(path), input_names=["image"], output_names=OUTPUTS, opset_version=OPSET, dynamo=False
        )
    return made


def halve(model):
    """Stores large weights in half precision; whoever loads the model makes them single again, once."""
    graph, casts = model.graph, []
    for weight in graph.initializer:
        numbers = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or numbers.size < LEAST_NUMBERS:
            continue
        if np.abs(numbers).max() > np.finfo(np.float16).max:
            raise SystemExit(f"the weight {weight.name} is too large for half precision")
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(numbers.astype(np.float16), name + "/half"))
        casts.append(helper.make_node("Cast", [name + "/half"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def check(path, image, wanted):
    """Runs the file, and tells how far it is from what PyTorch made."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    made = session.run(OUTPUTS, {"image": image.numpy()})
    for name, a, b in zip(OUTPUTS, made, wanted):
        off = float(np.abs(a - b).max())
        print(f"{name} {list(a.shape)}: off by {off:.2e} at most")
        if off > 0.05:
            raise SystemExit(f"{name} is not what PyTorch makes: the file is of no use")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("output", type=Path, help="where to write the file, e.g. hmr2.onnx")
    arguments.add_argument("--checkpoint", help="HMR2's checkpoint (default: the one 4D-Humans downloads)")
    chosen = arguments.parse_args()
    network, image = load(chosen.checkpoint)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "hmr2.onnx"
        wanted = export(network, image, path)
        onnx.save(halve(onnx.load(str(path))), str(chosen.output))
    check(chosen.output, image, wanted)
    print(f'{chosen.output}: {chosen.output.stat().st_size >> 20} MiB. Register it: [models.custom] "pose/hmr2" = "/path/to/it"')


if __name__ == "__main__":
    main()
