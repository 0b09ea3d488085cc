"""What a script cost: printed as one line of JSON, the form that `darkroom bench` reads."""

import json
import resource
import time


def cpu_secs():
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Meter:
    """Counts from its making on: make it after imports and model loading, report once the encoder has ended."""

    def __init__(self):
        self.startup_cpu_secs = cpu_secs()
        self.started = time.perf_counter()

    def report(self, frames):
        wall_secs = time.perf_counter() - self.started
        # The sum of both processes' peaks: Python's and that of the ffmpeg it feeds.
        peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        result = {
            "frames": frames,
            "fps": round(frames / wall_secs, 3),
            "cpu_secs": round(cpu_secs() - self.startup_cpu_secs, 3),
            "startup_cpu_secs": round(self.startup_cpu_secs, 3),
            "wall_secs": round(wall_secs, 3),
            "peak_rss_mib": round(sum(peaks) / 1024, 1),
        }
        print(json.dumps(result), flush=True)
