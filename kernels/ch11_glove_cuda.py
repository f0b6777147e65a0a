"""CUDA twin of primer/ch11_glove.py: steps over the entries.

Idea    a warp an entry: neighbouring lanes have neighbouring dimensions, so each read and each
        atomic addition of a row is 128 bytes side by side.  On the device the rows hold sums of
        squares S = 1 / r^2 and not r: a sum grows by an atomic addition, and a root costs nothing.
Threads Hogwild: warps that meet in a row add to it by atomics, so nothing is lost, but a step may
        start from numbers that are some steps old.  Entries without a common word take the
        reference's steps to rounding.
Cost    an entry reads 4 rows of d + 1 float32 and adds to them, 32 (d + 1) bytes; 18 flops a
        dimension: memory bounds it.  d = 100 and 10^7 entries, 33 GB: T4 104 ms,
        A100 21 ms, H100 10 ms, RTX 4090 33 ms, if no row is found in a cache; the atomics of
        words that all warps want at once come on top.
Limits  float32 only.  A call takes the model up and down, 16 V (d + 1) bytes each way: give it
        long blocks.  Two waits a call.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch11_glove import GloVe, check_block, initial_model

MODULE = cp.RawModule(code=cuda_source("ch11_glove"), options=("-std=c++17",))
BLOCK = 256


def adagrad_block(words, contexts, rows, columns, logs, weights, rate=0.05):
    entries = check_block(words, contexts, rows, columns, logs, weights, rate)
    m, d = len(entries[0]), words.shape[2] - 1
    if not m:
        return 0.0, 0
    model = cp.asarray(np.concatenate([words, contexts]).astype(np.float32))       # (2 V, 2, d + 1)
    model[:, 1] = model[:, 1] ** -2                                    # (2 V, d + 1)  r to S
    costs = cp.empty(m, np.float32)                                    # (m,)
    MODULE.get_function("glove_steps")((-(-32 * m // BLOCK),), (BLOCK,), (
        *(cp.asarray(x.astype(kind)) for x, kind in zip(
            entries, (np.int32, np.int32, np.float32, np.float32), strict=True)),
        model, np.int32(len(words)), costs, np.int32(d), np.float32(rate), np.int32(m)))
    model[:, 1] = model[:, 1] ** -0.5                                  # (2 V, d + 1)
    words[:], contexts[:] = np.split(model.get(), [len(words)])
    return float(costs.sum(dtype=np.float64).get()), m


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments.

    No word stands there twice: then the order of the steps is no matter.
    """
    V, out = 60 * scale, {}
    for name, d in (("adagrad_block", 100), ("adagrad_block, few dimensions", 5)):
        model = GloVe(*(part * np.float32(d) for part in initial_model(V, d, rng)))
        for part in model:
            part[:, 1] = rng.uniform(0.2, 1, (V, d + 1))
        out[name] = (*model, rng.permutation(V), rng.permutation(V), rng.normal(2, 1, V),
                     rng.uniform(0.1, 1, V))
    return out
