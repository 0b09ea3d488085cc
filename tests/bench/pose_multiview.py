"""How far a pose from one camera is from what the other cameras of a calibrated rig see.

usage: python tests/bench/pose_multiview.py CALIBRATION CAM=poses.json CAM=poses.json CAM=poses.json...   (pip install numpy)

Made for the demonstrations of Pose2Sim: four synchronised cameras on a walkway, with the calibration that its authors publish.
Neither videos nor calibration lie in this repository; the package has them, `pip download --no-deps pose2sim==0.10.49` and
unpack it (BSD-3-Clause), in `Pose2Sim/Demo_SinglePerson` and `Demo_MultiPerson`: `calibration/Calib.qca.txt` and `videos/`.
Each camera's poses are those of `darkroom run pose videos/cam01.mp4 --output ...`; CAM is `cam01`.

For each camera, joints that the others saw are triangulated, by least squares in the picture, and compared with that camera's
own 3D: its landmarks in metres, and the body that was fitted to them. As Pose2Sim does, a joint on which the others do not
agree within 20 pixels is taken of the two that agree best, and left out where those do not either. Told are, in mm: PA-MPJPE,
after the best similarity of each frame; MPJPE, hips on hips, in the camera's directions; and how good the truth is: the
distance in pixels of triangulated joints from where the cameras that they come from saw them.
"""

import itertools
import json
import sys
import xml.etree.ElementTree as xml

import numpy as np

# BlazePose's landmarks, and the bones of the body that begin there: shoulders, elbows, wrists, hips, knees, ankles.
LANDMARKS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
BONES = ["upperarm", "lowerarm", "hand", "thigh", "calf", "foot"]
HIPS = [6, 7]
SEEN = 0.5
# Sub-pixels of the file format.
SUB = 64
# Joints that are farther than this from where they were seen are of a wrong pose; tracks, of different people.
MOST_PX = 20
# Frames with fewer joints are left out.
LEAST = 9


class Camera:
    def __init__(self, tag, width):
        lens, pose = tag.find("intrinsic"), tag.find("transform")
        number = lambda element, *names: np.array([float(element.get(name)) for name in names])
        self.focal = number(lens, "focalLengthU", "focalLengthV") / SUB
        self.centre = number(lens, "centerPointU", "centerPointV") / SUB
        # Two of the videos have 8 columns less than the sensor, half of them on either side.
        self.centre[0] -= (float(tag.find("fov_video").get("right")) + 1 - width) / 2
        # As Pose2Sim reads them.
        self.radial = number(lens, "radialDistortion1", "radialDistortion2") / SUB
        self.tangential = number(lens, "tangentalDistortion1", "tangentalDistortion2") / SUB
        turn = np.array([number(pose, *(f"r{row}{column}" for column in "123")) for row in "123"])
        # Theirs looks along -z with y up.
        self.turn = np.diag([1.0, -1.0, -1.0]) @ turn
        self.place = number(pose, "x", "y", "z") / 1000

    def distort(self, point):
        (k1, k2), (p1, p2), square = self.radial, self.tangential, (point**2).sum(-1, keepdims=True)
        x, y = point[..., :1], point[..., 1:]
        moved = np.concatenate([2 * p1 * x * y + p2 * (square + 2 * x**2), p1 * (square + 2 * y**2) + 2 * p2 * x * y], -1)
        return point * (1 + k1 * square + k2 * square**2) + moved

    def rays(self, pixels):
        """Where pixels are on the plane one metre in front of the camera."""
        seen = (pixels - self.centre) / self.focal
        point = seen
        for _ in range(8):
            point = point - (self.distort(point) - seen)
        return point

    def local(self, points):
        return (points - self.place) @ self.turn.T

    def project(self, points):
        local = self.local(points)
        return self.distort(local[..., :2] / local[..., 2:]) * self.focal + self.centre


def triangulate(cameras, pixels):
    """Points of which each camera sees a pixel: the nearest to all rays in the picture, by least squares weighted twice."""
    rows = []
    for camera, pixel in zip(cameras, pixels):
        ray = camera.rays(pixel)
        for axis in range(2):
            row = camera.turn[axis] - ray[..., axis, None] * camera.turn[2]
            rows.append((row, row @ camera.place))
    matrix, right = np.stack([row for row, _ in rows], -2), np.stack([value for _, value in rows], -1)
    weights = np.ones_like(right)
    for _ in range(3):
        a = matrix * weights[..., None]
        square = np.swapaxes(a, -1, -2) @ a
        points = np.linalg.solve(square, (np.swapaxes(a, -1, -2) @ (right * weights)[..., None]))[..., 0]
        depth = np.stack([camera.local(points)[..., 2] for camera in cameras], -1)
        weights = 1 / np.repeat(depth, 2, -1)
    return points


def joints(poses, person, bones):
    """Where the fitted body's joints are: each bone begins where its parent turns it to."""
    rig, scales = person["rig"], bones[person["track"]]
    heads, turns = [], []
    for index, bone in enumerate(poses["bones"]):
        x, y, z, w = rig["rotations"][index]
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        parent = bone.get("parent")
        if parent is None:
            heads.append(np.array(rig["translation"]))
        else:
            way = np.array(bone["head"]) - np.array(poses["bones"][parent]["head"])
            heads.append(heads[parent] + turns[parent] @ way * scales[index])
            turn = turns[parent] @ turn
        turns.append(turn)
    names = [bone["name"] for bone in poses["bones"]]
    return np.array([heads[names.index(f"{bone}_{side}")] for bone in BONES for side in "lr"])


class View:
    """What one camera tells of each person: pixels and, in its own directions, metres; rows are frames."""

    def __init__(self, name, path, calibration):
        with open(path) as file:
            poses = json.load(file)
        self.name = name
        (tag,) = (tag for tag in calibration.iter("camera") if tag.get("serial") == name)
        self.camera = Camera(tag, poses["video"]["width_px"])
        bones = {track["track"]: track.get("scales") for track in poses["tracks"]}
        shape, self.tracks = (len(poses["frames"]), len(LANDMARKS)), {}
        for index, frame in enumerate(poses["frames"]):
            for person in frame["people"]:
                if person.get("filled"):
                    continue
                empty = [np.full((*shape, size), np.nan) for size in (2, 3, 3)]
                pixels, world, body = self.tracks.setdefault(person["track"], empty)
                seen = np.array(person["landmarks_33"])[LANDMARKS]
                pixels[index] = np.where(seen[:, 2:] > SEEN, seen[:, :2], np.nan)
                world[index] = np.array(person["world_33"])[LANDMARKS]
                if "rig" in person:
                    body[index] = joints(poses, person, bones)


def similarity(found, wanted):
    """`found`, turned, scaled and moved to be nearest to `wanted` (Umeyama 1991)."""
    a, b = found - found.mean(0), wanted - wanted.mean(0)
    u, size, v = np.linalg.svd(b.T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    return a @ (u * sign @ v).T * (size * sign).sum() / (a**2).sum() + wanted.mean(0)


def errors(found, wanted):
    """PA-MPJPE and MPJPE of the frames in which enough joints are known, in mm."""
    best, plain = [], []
    for a, b in zip(found, wanted):
        known = np.isfinite(a).all(1) & np.isfinite(b).all(1)
        if known.sum() >= LEAST and known[HIPS].all():
            best.append(np.linalg.norm(similarity(a[known], b[known]) - b[known], axis=1).mean())
            plain.append(np.linalg.norm(a - a[HIPS].mean(0) - b + b[HIPS].mean(0), axis=1)[known].mean())
    return (1000 * np.mean(best), 1000 * np.mean(plain), len(best)) if best else (np.nan, np.nan, 0)


def off(cameras, pixels):
    """How far, in pixels, triangulated joints are from where they were seen: the mean of each joint and frame."""
    points = triangulate(cameras, pixels)
    return points, np.mean([np.linalg.norm(c.project(points) - p, axis=-1) for c, p in zip(cameras, pixels)], 0)


def truth(cameras, pixels):
    """Joints on which these cameras, or at least two of them, agree; and how well."""
    points, distance = off(cameras, pixels)
    doubtful = ~(distance <= MOST_PX)
    distance[doubtful] = np.inf
    for pair in itertools.combinations(range(len(cameras)), 2):
        fewer, nearer = off([cameras[i] for i in pair], [pixels[i] for i in pair])
        better = doubtful & (nearer < distance)
        points, distance = np.where(better[..., None], fewer, points), np.where(better, nearer, distance)
    wrong = ~(distance <= MOST_PX)
    points[wrong], distance[wrong] = np.nan, np.nan
    return points, distance


def people(views):
    """One track of each view for each person, best agreement first."""
    chosen, found = set(), []
    for tracks in itertools.product(*(view.tracks for view in views)):
        distance = truth([view.camera for view in views], [v.tracks[t][0] for v, t in zip(views, tracks)])[1]
        agreed = np.isfinite(distance).mean()
        if agreed > 0.5:
            found.append((-agreed, np.nanmean(distance), tracks))
    for _, distance, tracks in sorted(found):
        keys = set(enumerate(tracks))
        if not keys & chosen:
            chosen |= keys
            yield distance, tracks


def main(calibration, *files):
    calibration = xml.parse(calibration)
    views = [View(*file.split("=", 1), calibration) for file in files]
    for number, (distance, tracks) in enumerate(people(views), 1):
        print(f"person {number}: tracks {tracks}, seen alike within {distance:.1f} px")
        for index, view in enumerate(views):
            others = [(v.camera, v.tracks[t][0]) for i, (v, t) in enumerate(zip(views, tracks)) if i != index]
            points, distance = truth(*zip(*others))
            wanted = view.camera.local(points)
            _, world, body = view.tracks[tracks[index]]
            for what, found in (("landmarks", world), ("body", body)):
                best, plain, frames = errors(found, wanted)
                print(
                    f"  {view.name} {what:9}: PA-MPJPE {best:5.1f} mm, MPJPE {plain:5.1f} mm in {frames} frames; "
                    f"the others agree within {np.nanmean(distance):.1f} px"
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
