#!/usr/bin/env python3
"""Converts a file of SMPL that you have from its authors (.pkl, or .npz) to the one that Darkroom's pose handler reads.

usage: smpl_to_safetensors.py SMPL_NEUTRAL.pkl smpl.safetensors   (pip install numpy; neither chumpy nor scipy is needed)
Then register it: `[models.custom]` and `"pose/smpl" = "/path/to/smpl.safetensors"`.

A pickle can run any code when it is opened, so a worker never opens one, and this program lets a pickle make arrays only:
names outside the short list below are refused. SMPL's licence forbids passing on its file, in this form too.
"""
import codecs
import json
import pickle
import struct
import sys

import numpy as np

KEYS = {
    "v_template": "<f4",
    "shapedirs": "<f4",
    "posedirs": "<f4",
    "J_regressor": "<f4",
    "weights": "<f4",
    "kintree_table": "<i8",
    "f": "<i8",
}


class State:
    """Stands in for the classes of chumpy and scipy: keeps what the pickle says of an object."""

    def __init__(self, *args):
        self.args = args

    def __setstate__(self, state):
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


def is_numpy(module, name):
    makers = {"_reconstruct", "scalar"}
    places = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray"}
    return module in places and name in makers | {"ndarray", "dtype"}


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if is_numpy(module, name):
            import numpy.core.multiarray as multiarray  # where _reconstruct and scalar are

            return getattr(np, name) if name in ("ndarray", "dtype") else getattr(multiarray, name)
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        if (module, name) in (("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")):
            return lambda cls, base, state: State()
        if (module, name) in (("__builtin__", "object"), ("builtins", "object")):
            return State
        if module.split(".")[0] == "chumpy" or module.startswith("scipy.sparse"):
            return State
        raise SystemExit(f"the pickle asks for {module}.{name}, which no file of SMPL needs: refused")


def array(thing):
    """An array of numpy from what stood for one."""
    if isinstance(thing, np.ndarray):
        return thing
    state = getattr(thing, "__dict__", {})
    if "indptr" in state:  # compressed columns of scipy
        shape = state.get("_shape") or state["shape"]
        dense = np.zeros(shape)
        for column in range(shape[1]):
            span = slice(state["indptr"][column], state["indptr"][column + 1])
            np.add.at(dense[:, column], state["indices"][span], state["data"][span])
        return dense
    if "idxs" in state:  # chumpy's Select: some elements of another
        return array(state["a"]).ravel()[state["idxs"]].reshape(state["preferred_shape"])
    if "x" in state:
        return array(state["x"])
    raise SystemExit(f"an array is kept in an unknown way: {sorted(state)}")


def load(path):
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            return dict(np.load(path, allow_pickle=False))
        file.seek(0)
        return Unpickler(file, encoding="latin1").load()


def main(source, target):
    model = load(source)
    missing = [key for key in KEYS if key not in model]
    if missing:
        raise SystemExit(f"this is no file of SMPL: it lacks {', '.join(missing)}")
    header, parts, end = {}, [], 0
    for key, kind in KEYS.items():
        value = np.ascontiguousarray(array(model[key]), kind)
        span = [end, end + value.nbytes]
        header[key] = {"dtype": "F32" if kind == "<f4" else "I64", "shape": value.shape, "data_offsets": span}
        parts.append(value.tobytes())
        end = span[1]
        print(f"{key}: {value.shape}")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2])
