#!/usr/bin/env python3
"""Writes smpl.safetensors beside this file: random numbers in the form of SMPL's file (4 joints, 10 vertices), a pose, and
the vertices and joints that numpy computes for it in double precision by SMPL's formulas. Nothing of SMPL is in it.

usage: smpl.py   (pip install numpy)
"""
import json
import pathlib
import struct

import numpy as np

V, J, S = 10, 4, 3


def rotation(v):
    angle = np.linalg.norm(v)
    x, y, z = v / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def forward(m, betas, rotations, translation):
    shaped = m["v_template"] + np.einsum("vcs,s->vc", m["shapedirs"], betas)
    joints = m["J_regressor"] @ shaped
    posed = shaped + np.einsum("vcp,p->vc", m["posedirs"], (rotations[1:] - np.eye(3)).reshape(-1))
    turns, heads = [], []
    for j in range(J):
        p = m["kintree_table"][0, j]
        turns.append(rotations[j] if j == 0 else turns[p] @ rotations[j])
        heads.append(joints[j] if j == 0 else heads[p] + turns[p] @ (joints[j] - joints[p]))
    out = np.zeros_like(posed)
    for v in range(V):
        for j in range(J):
            out[v] += m["weights"][v, j] * (turns[j] @ (posed[v] - joints[j]) + heads[j])
    return out + translation, np.array(heads) + translation


def main():
    random = np.random.default_rng(5)
    some = lambda *shape: random.normal(size=shape)
    weights, regressor = random.random((V, J)), random.random((J, V)) * (random.random((J, V)) > 0.5)
    model = {
        "v_template": some(V, 3),
        "shapedirs": some(V, 3, S) * 0.1,
        "posedirs": some(V, 3, 9 * (J - 1)) * 0.05,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 0], [0, 1, 2, 3]]),
        "f": np.array([[0, 1, 2], [2, 3, 4], [7, 8, 9]]),
    }
    betas, translation = some(S), some(3)
    rotations = np.stack([rotation(v) for v in some(J, 3)])
    vertices, joints = forward(model, betas, rotations, translation)
    expected = {"betas": betas, "rotations": rotations, "translation": translation, "vertices": vertices, "joints": joints}
    tensors = {**model, **{f"expected.{name}": array for name, array in expected.items()}}
    header, data = {}, b""
    for name, array in tensors.items():
        array = np.ascontiguousarray(array, "<i8" if array.dtype.kind == "i" else "<f8")
        span = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "I64" if array.dtype.kind == "i" else "F64", "shape": array.shape, "data_offsets": span}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(__file__).with_name("smpl.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
