"""How the benchmarks take times: ours and the peer's in turn, on the machine as it is then.

Threads that wait for work spin for a while; a pause before each run, so that those of the one do
not slow the other.
"""
import gc
import statistics
import time

PAUSE = 0.1                           # seconds


def interleaved(ours, theirs, repeats=5):
    """Seconds of each, run in turn after one warm-up each -> two medians."""
    times = [], []
    for repeat in range(repeats + 1):
        for function, taken in zip((ours, theirs), times, strict=True):
            gc.collect()
            time.sleep(PAUSE)
            start = time.perf_counter()
            result = function()
            if repeat:
                taken.append(time.perf_counter() - start)
            del result
    return [statistics.median(t) for t in times]
