"""The same as ordinary_matting.py by a careful author: cheap changes of layout, no spinning, decoding and encoding on threads.

usage: python tests/bench/careful_matting.py CLIP OUT.mkv [FRAMES]
"""

import queue
import sys
import threading

import cv2
import onnxruntime as ort

from measure import Meter
from ordinary_matting import encoder
from rvm import Rvm


def decode(capture, limit, frames):
    for _ in range(limit):
        ok, frame = capture.read()
        if not ok:
            break
        frames.put(cv2.dnn.blobFromImage(frame, 1 / 255.0, swapRB=True))
    frames.put(None)


def encode(mattes, ffmpeg):
    while (matte := mattes.get()) is not None:
        fgr, pha = matte
        inside = (pha[0, 0] > 0).astype("u1")
        planes = [cv2.convertScaleAbs(fgr[0, channel], alpha=255) * inside for channel in range(3)]
        ffmpeg.stdin.write(cv2.merge(planes + [cv2.convertScaleAbs(pha[0, 0], alpha=255)]).data)
    ffmpeg.stdin.close()
    ffmpeg.wait()


def main(clip, out, limit=sys.maxsize):
    capture = cv2.VideoCapture(clip)
    fps = capture.get(cv2.CAP_PROP_FPS)
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    net = Rvm(min(512 / max(width, height), 1), options)
    frames, mattes = queue.Queue(3), queue.Queue(3)
    meter = Meter()
    ffmpeg = encoder(width, height, fps, out)
    threads = [
        threading.Thread(target=decode, args=(capture, limit, frames)),
        threading.Thread(target=encode, args=(mattes, ffmpeg)),
    ]
    for thread in threads:
        thread.start()
    count = 0
    while (src := frames.get()) is not None:
        mattes.put(net(src))
        count += 1
    mattes.put(None)
    for thread in threads:
        thread.join()
    meter.report(count)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
