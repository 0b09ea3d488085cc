"""Writes handlers/matting/fixtures/parity.bin: three small frames of real footage and what onnxruntime in Python makes of
them, for the parity test of handlers/matting.

usage: python tests/bench/parity.py   (from the repository root, with requirements.txt installed and the model fetched)

Layout, little-endian: frames u8 [3,H,W,3], alpha u16 [3,H,W] (65535 is 1), foreground of the last frame u16 [3,H,W].
"""

import numpy as np

from rvm import Rvm, frames, to_planes

WIDTH, HEIGHT, COUNT, RATIO = 96, 160, 3, 0.6


def main():
    clip = frames("tests/media/pose2sim_SinglePerson_cam01.mp4", WIDTH, HEIGHT, COUNT, start=0.5, crop="720:1200:180:240")
    net = Rvm(RATIO)
    results = [net(to_planes(frame)) for frame in clip]
    alpha = np.stack([pha[0, 0] for _, pha in results])
    foreground = results[-1][0][0]
    quantise = lambda values: np.round(values.clip(0, 1) * 65535).astype("<u2").tobytes()
    with open("handlers/matting/fixtures/parity.bin", "wb") as out:
        out.write(clip.tobytes() + quantise(alpha) + quantise(foreground))
    print(f"coverage {alpha.mean():.4f}, between 0.05 and 0.95: {((alpha > 0.05) & (alpha < 0.95)).mean():.4f}")


if __name__ == "__main__":
    main()
