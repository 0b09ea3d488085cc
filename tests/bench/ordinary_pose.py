"""A body drawn over the person in each frame, as most people write it: MediaPipe, pyrender, ffmpeg's standard input.

usage: python tests/bench/ordinary_pose.py CLIP OUT.mkv [FRAMES]
       (pip install mediapipe==0.10.14 'numpy<2' 'opencv-contrib-python<4.12' pyrender==0.1.45, then, as pyrender asks for one
       that fails without a display, pip install --no-deps -U PyOpenGL; and `darkroom models fetch pose/body`)

The body stands where the person is and is not posed: fitting it would cost more, and is not what is measured here. The renderer
is made once; 4D-Humans makes one for each frame, which costs more. Without a GPU, Mesa draws: PYOPENGL_PLATFORM chooses egl
(the default here) or osmesa.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

import numpy as np
import pyrender
import trimesh

from measure import Meter
from mediapipe_pose import estimator, frames, landmarks


def body():
    """Vertices, in metres with y up about the hips, and triangles of the body that Darkroom draws."""
    root = os.environ.get("DARKROOM_MODELS_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "darkroom", "models"
    )
    data = max(Path(root).glob("pose/body/*/body.safetensors"), key=lambda path: path.stat().st_mtime).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def tensor(name):
        start, end = header[name]["data_offsets"]
        kind = {"F32": "<f4", "U32": "<u4"}[header[name]["dtype"]]
        return np.frombuffer(data[8 + length + start : 8 + length + end], kind).reshape(header[name]["shape"])

    vertices = tensor("vertices") * [1, -1, -1]
    return vertices - vertices.mean(0), tensor("triangles").astype(np.int64)


class Renderer:
    """Draws the body over a frame, with the lights of 4D-Humans' renderer."""

    def __init__(self, width, height):
        self.size = np.array([width, height])
        self.focal = 1.2 * max(width, height)
        self.vertices, self.triangles = body()
        self.renderer = pyrender.OffscreenRenderer(width, height)
        colour = (0.65, 0.74, 0.86, 1.0)
        self.material = pyrender.MetallicRoughnessMaterial(metallicFactor=0.0, baseColorFactor=colour)

    def draw(self, frame, found):
        points = np.array([[p.x, p.y] for p in found.landmark]) * self.size
        hips, tall = points[23:25].mean(0), max(40.0, np.ptp(points[:, 1]))
        far = self.focal * 1.6 / tall
        x, y = (hips - self.size / 2) * far / self.focal
        mesh = trimesh.Trimesh(self.vertices + [x, -y, -far], self.triangles, process=False)
        scene = pyrender.Scene(bg_color=[0, 0, 0, 0], ambient_light=(0.3, 0.3, 0.3))
        scene.add(pyrender.Mesh.from_trimesh(mesh, material=self.material))
        centre = self.size / 2
        scene.add(pyrender.IntrinsicsCamera(self.focal, self.focal, *centre, zfar=1e6))
        for at in ([0, -1, 1], [0, 1, 1], [1, 1, 2]):
            place = np.eye(4)
            place[:3, 3] = at
            scene.add(pyrender.DirectionalLight(color=np.ones(3), intensity=2.0), pose=place)
        colour, depth = self.renderer.render(scene, flags=pyrender.RenderFlags.RGBA)
        # OSMesa drops alpha.
        alpha = colour[:, :, 3:] / np.float32(255) if colour.shape[2] == 4 else np.float32(depth > 0)[..., None]
        return (colour[:, :, 2::-1] * alpha + frame * (1 - alpha)).astype(np.uint8)


def main(clip, out, limit=sys.maxsize):
    pose, first = estimator(), next(frames(clip, 1))
    # H.264 in 4:2:0 has even sides.
    height, width = (side - side % 2 for side in first.shape[:2])
    renderer = Renderer(width, height)
    rate = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=r_frame_rate"]
    rate = subprocess.check_output([*rate, "-of", "csv=p=0", clip], text=True).strip()
    # The settings that Darkroom uses when nothing else is asked for.
    command = ["ffmpeg", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}"]
    command += ["-r", rate, "-i", "-", "-i", clip, "-map", "0:v", "-map", "1:a?", "-c:a", "copy", "-c:v", "libx264"]
    command += ["-pix_fmt", "yuv420p", "-crf", "20", "-preset", "faster", out]
    meter = Meter()
    ffmpeg = subprocess.Popen(command, stdin=subprocess.PIPE)
    count = 0
    for frame in frames(clip, limit):
        found, frame = landmarks(pose, frame), frame[:height, :width]
        drawn = renderer.draw(frame, found) if found else frame
        ffmpeg.stdin.write(np.ascontiguousarray(drawn).tobytes())
        count += 1
    ffmpeg.stdin.close()
    ffmpeg.wait()
    meter.report(count)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
