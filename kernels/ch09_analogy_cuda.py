"""CUDA twin of primer/ch09_analogy.py, tsne_loss_grad: the step that t-SNE repeats.

Idea    attraction, repulsion and the sum of all w come from one pass over P, so that the gradient,
        4 (attraction - repulsion / sum w), needs no second one.  256 points of the map at a time
        lie in shared memory.  P is symmetric: in place of its row i, thread i reads column i, and
        neighbouring threads read neighbouring numbers.
Threads a thread owns a point, a block 256 of them and a range of the others; its sums are its own,
        and the ranges are added up afterwards, in order: no atomics, equal bits each time.
Cost    4 n^2 bytes of P and about 18 flops a pair (d = 2): memory bound everywhere.  n = 2,000,
        16 MB: 50 us on a T4, 8 on an A100, 5 on an H100, 16 on an RTX 4090, less where P stays in
        the cache; n = 20,000, 1.6 GB: 5 ms, 0.8, 0.5, 1.6.
Limits  float32, whatever the type of P: 1e-5 of the largest entry.  d up to 3, n < 2^31 / 3.  P
        goes up once and stays while it is alive; changed in place it is not seen.  The host waits
        once a step, for the (n, d) gradient.
"""
import weakref

import cupy as cp
import numpy as np

from kernels import cuda_source
from primer import ch09_analogy

MODULE = cp.RawModule(code=cuda_source("ch09_analogy"), options=("-std=c++17",))
BLOCK = 256                           # as in the .cu
BLOCKS = 1024                         # enough to fill any device
ON_DEVICE = {}                        # address of P: (weak reference, P on the device)


def _on_device(P):
    stored, key = ON_DEVICE.get(id(P)), id(P)
    if not (stored and stored[0]() is P):
        ON_DEVICE[key] = (weakref.ref(P, lambda _: ON_DEVICE.pop(key, None)),
                          cp.asarray(P, cp.float32, order="C"))
    return ON_DEVICE[key][1]


def tsne_loss_grad(P, Y, g=1.0, exaggeration=1):
    P, Y = ch09_analogy.check_map(P, Y)
    n, d = Y.shape
    if d > 3:
        raise ValueError(f"Y: the kernels have maps of up to 3 dimensions, got {d}")
    tiles = -(-n // BLOCK)
    splits = max(1, min(tiles, BLOCKS // tiles))
    sums = cp.empty((splits, 2 * d + 1, n), cp.float32)                # (splits, 2 d + 1, n)
    MODULE.get_function(f"tsne_forces_{d}")((tiles, splits), (BLOCK,), (
        _on_device(P), cp.asarray(np.ascontiguousarray(Y.T, np.float32)), sums, np.int32(n)))
    sums = sums.sum(axis=0)                                            # (2 d + 1, n)
    dY = exaggeration * sums[:d] - sums[d:2 * d] / sums[2 * d].sum()   # (d, n)
    return (4 * g * dY).get().T.astype(Y.dtype)


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    n = 60 + 200 * scale
    P = ch09_analogy.joint_probabilities(rng.standard_normal((n, 8)).astype(np.float32), 20)
    return {f"tsne_loss_grad, {d} dimensions":
            (P, rng.standard_normal((n, d)).astype(np.float32)) for d in (1, 2, 3)}
