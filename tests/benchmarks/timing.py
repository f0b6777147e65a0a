"""How the benchmarks take times: ours and the peer's in turn, on the machine as it is then."""
import gc
import statistics
import time


def interleaved(ours, theirs, repeats=5):
    """Seconds of each, run in turn after one warm-up each -> two medians."""
    times = [], []
    for repeat in range(repeats + 1):
        for function, taken in zip((ours, theirs), times, strict=True):
            gc.collect()
            start = time.perf_counter()
            result = function()
            if repeat:
                taken.append(time.perf_counter() - start)
            del result
    return [statistics.median(t) for t in times]
