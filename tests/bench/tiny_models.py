"""Writes the tiny ONNX models that the unit tests of handlers/inference, handlers/matting and handlers/vsr load.

usage: python tests/bench/tiny_models.py   (from the repository root, with requirements.txt installed)
"""

import onnx
from onnx import TensorProto, helper, numpy_helper
import numpy as np

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def save(path, nodes, inputs, outputs, constants=()):
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def double(path):
    """y = x + x, any length."""
    save(path, [helper.make_node("Add", ["x", "x"], ["y"])], [("x", F32, ["n"])], [("y", F32, ["n"])])


def fill(path):
    """As many ones as are asked for: a way to run out of memory on purpose."""
    one = helper.make_tensor("one", F32, [1], [1.0])
    node = helper.make_node("ConstantOfShape", ["shape"], ["filled"], value=one)
    save(path, [node], [("shape", I64, [1])], [("filled", F32, ["n"])])


def rvm_rank5(path):
    """The interface of RVM for [B,T,C,H,W]: fgr = src; pha = red / 2 + running sum of the frames' means / 100.

    The running sum crosses calls through r1, so that frames which are dropped, repeated or reset show in pha.
    """
    nodes = [
        helper.make_node("Identity", ["src"], ["fgr"]),
        helper.make_node("ReduceMean", ["src"], ["means"], axes=[2, 3, 4], keepdims=1),
        helper.make_node("CumSum", ["means", "time_axis"], ["sums"]),
        helper.make_node("Unsqueeze", ["r1i", "time_axis_list"], ["before"]),
        helper.make_node("Add", ["sums", "before"], ["running"]),
        helper.make_node("Slice", ["src", "zero", "one", "channel_axis"], ["red"]),
        helper.make_node("Mul", ["red", "half"], ["red_half"]),
        helper.make_node("Mul", ["running", "hundredth"], ["running_hundredth"]),
        helper.make_node("Add", ["red_half", "running_hundredth"], ["sum"]),
        helper.make_node("Clip", ["sum", "low", "high"], ["pha"]),
        helper.make_node("Slice", ["running", "minus_one", "maximum", "time_axis_list"], ["last"]),
        helper.make_node("Squeeze", ["last", "time_axis_list"], ["r1o"]),
    ] + [helper.make_node("Identity", [f"r{i}i"], [f"r{i}o"]) for i in (2, 3, 4)]
    state = ["b", "c", "h", "w"]
    save(
        path,
        nodes,
        [("src", F32, ["b", "t", 3, "h", "w"])]
        + [(f"r{i}i", F32, [f"{d}{i}" for d in state]) for i in (1, 2, 3, 4)]
        + [("downsample_ratio", F32, [1])],
        [("fgr", F32, ["b", "t", 3, "h", "w"]), ("pha", F32, ["b", "t", 1, "h", "w"])]
        + [(f"r{i}o", F32, [f"{d}{i}o" for d in state]) for i in (1, 2, 3, 4)],
        [
            ("time_axis", np.array(1, np.int64)),
            ("time_axis_list", np.array([1], np.int64)),
            ("channel_axis", np.array([2], np.int64)),
            ("zero", np.array([0], np.int64)),
            ("one", np.array([1], np.int64)),
            ("minus_one", np.array([-1], np.int64)),
            ("maximum", np.array([np.iinfo(np.int64).max], np.int64)),
            ("half", np.array(0.5, np.float32)),
            ("hundredth", np.array(0.01, np.float32)),
            ("low", np.array(0.0, np.float32)),
            ("high", np.array(1.0, np.float32)),
        ],
    )


def rvm_half(path):
    """The interface of RVM in f16 for [1,3,H,W]: fgr = src; pha = red / 2 + 0.1 for each frame before, through r1."""
    f16 = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Identity", ["src"], ["fgr"]),
        helper.make_node("Slice", ["src", "zero", "one", "one"], ["red"]),
        helper.make_node("Mul", ["red", "half"], ["red_half"]),
        helper.make_node("Add", ["red_half", "r1i"], ["pha"]),
        helper.make_node("Add", ["r1i", "tenth"], ["r1o"]),
    ] + [helper.make_node("Identity", [f"r{i}i"], [f"r{i}o"]) for i in (2, 3, 4)]
    state = ["b", "c", "y", "x"]
    save(
        path,
        nodes,
        [("src", f16, ["n", 3, "h", "w"])]
        + [(f"r{i}i", f16, [f"{d}{i}" for d in state]) for i in (1, 2, 3, 4)]
        + [("downsample_ratio", F32, [1])],
        [("fgr", f16, ["n", 3, "h", "w"]), ("pha", f16, ["n", 1, "h", "w"])]
        + [(f"r{i}o", f16, [f"{d}{i}o" for d in state]) for i in (1, 2, 3, 4)],
        [
            ("zero", np.array([0], np.int64)),
            ("one", np.array([1], np.int64)),
            ("half", np.array(0.5, np.float16)),
            ("tenth", np.array(0.1, np.float16)),
        ],
    )


def enlarging(path, scale=2, channels=3, element=F32, size=("h", "w"), batch="n", white=1.0, grain=1, blur=True):
    """Enlarges a picture `scale` times: a cubic, of a picture that is blurred with its neighbours where `blur` says so.

    `white` = 255 adds 1.5, which is little to a picture of bytes only. `grain` = 8 takes sides of multiples of 8 only.
    """
    kind = {F32: np.float32, TensorProto.FLOAT16: np.float16}[element]
    last, nodes, constants = "input", [], [("scales", np.array([1, 1, scale, scale], np.float32))]
    if grain > 1:
        nodes += [
            helper.make_node("SpaceToDepth", [last], ["deep"], blocksize=grain),
            helper.make_node("DepthToSpace", ["deep"], ["flat"], blocksize=grain),
        ]
        last = "flat"
    if blur:
        kernel = np.tile(np.outer([1, 2, 1], [1, 2, 1]) / 16, (channels, 1, 1, 1)).astype(kind)
        constants += [("kernel", kernel), ("around", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))]
        nodes += [
            helper.make_node("Pad", [last, "around"], ["framed"], mode="edge"),
            helper.make_node("Conv", ["framed", "kernel"], ["blurred"], group=channels),
        ]
        last = "blurred"
    if white != 1.0:
        constants.append(("little", np.array(1.5, kind)))
        nodes.append(helper.make_node("Add", [last, "little"], ["lighter"]))
        last = "lighter"
    cubic = dict(mode="cubic", coordinate_transformation_mode="half_pixel")
    nodes.append(helper.make_node("Resize", [last, "", "scales"], ["output"], **cubic))
    save(path, nodes, [("input", element, [batch, channels, *size])], [("output", element, ["n", channels, "H", "W"])], constants)


def whole(path):
    """Doubles a picture, and adds half of how much brighter than grey the whole of it is: no part of it tells that."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Sub", ["mean", "half"], ["brighter"]),
        helper.make_node("Mul", ["brighter", "half"], ["little"]),
        helper.make_node("Resize", ["input", "", "scales"], ["larger"], mode="nearest"),
        helper.make_node("Add", ["larger", "little"], ["output"]),
    ]
    constants = [("scales", np.array([1, 1, 2, 2], np.float32)), ("half", np.array(0.5, np.float32))]
    save(path, nodes, [("input", F32, ["n", 3, "h", "w"])], [("output", F32, ["n", 3, "H", "W"])], constants)


def two_inputs(path):
    """Wants the frame before as well."""
    nodes = [helper.make_node("Add", ["input", "before"], ["output"])]
    shape = ["n", 3, "h", "w"]
    save(path, nodes, [("input", F32, shape), ("before", F32, shape)], [("output", F32, shape)])


def stripes(path):
    """Twice as large and of the right shape, but no picture: all is 0."""
    nodes = [
        helper.make_node("Resize", ["input", "", "scales"], ["larger"], mode="nearest"),
        helper.make_node("Mul", ["larger", "zero"], ["output"]),
    ]
    constants = [("scales", np.array([1, 1, 2, 2], np.float32)), ("zero", np.array(0, np.float32))]
    save(path, nodes, [("input", F32, ["n", 3, "h", "w"])], [("output", F32, ["n", 3, "H", "W"])], constants)


if __name__ == "__main__":
    double("handlers/inference/fixtures/double.onnx")
    fill("handlers/inference/fixtures/fill.onnx")
    rvm_rank5("handlers/matting/fixtures/rvm_rank5.onnx")
    rvm_half("handlers/matting/fixtures/rvm_half.onnx")
    vsr = "handlers/vsr/fixtures/"
    enlarging(vsr + "double.onnx")
    enlarging(vsr + "triple_luma_half.onnx", scale=3, channels=1, element=TensorProto.FLOAT16)
    enlarging(vsr + "bytes.onnx", white=255.0)
    enlarging(vsr + "grain8.onnx", grain=8)
    enlarging(vsr + "fixed.onnx", size=(48, 64), batch=1)
    enlarging(vsr + "fixed_large.onnx", size=(576, 1024), batch=1)
    enlarging(vsr + "one_and_a_half.onnx", scale=1.5)
    enlarging(vsr + "same_size.onnx", scale=1)
    whole(vsr + "whole.onnx")
    two_inputs(vsr + "two_inputs.onnx")
    stripes(vsr + "stripes.onnx")
