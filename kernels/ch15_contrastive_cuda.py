"""CUDA twin of primer/ch15_contrastive.py: InfoNCE and its gradient, a strip of queries at a time.

Idea    as the Numba twin: a strip of R queries sees all m candidates, so its softmax is whole, and
        of the n x m scores only R m are ever there.  Products are cuBLAS's; between them one kernel
        turns scores into exp and sums in place.  1 / sum scales d columns, not m.
Threads a block a query; its threads write only their own places of the row.  Sums are joined in the
        order of the warps: the same arguments give the same bits.
Cost    6 n m d flops, and 20 n m bytes for the strip's numbers: written by one product, read twice
        and written once by the kernel, read by two products.  n = m = 4096, d = 256: 26 Gflop
        and 335 MB, of which an L2 of 40 MB and more keeps most: float32 3.2 ms on a T4, 1.3 A100,
        0.39 H100, 0.31 RTX 4090, reckoned, not measured.
Limits  4 R m bytes, R m near 2^24 and R at least 64.  Two waits a call: the loss, the gradients.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch15_contrastive import check_batch

MODULE = cp.RawModule(code=cuda_source("ch15_contrastive"), options=("-std=c++17",))
BLOCK, AT_ONCE, LEAST = 256, 1 << 24, 64          # threads; scores of a strip; queries, at least


def _upload(Q, C, tau, groups):
    """Checked and on the device: queries over tau, queries, candidates, groups."""
    Q, C, tau, groups = check_batch(Q, C, tau, groups)
    device = [cp.asarray(np.ascontiguousarray(x)) for x in (Q / Q.dtype.type(tau), Q, C)]
    return *device, cp.asarray(groups.astype(np.int64)), tau


def _strips(scaled, C, groups, losses):
    """Yields first, last, exp of the strip's scores (r, m), their sums (r,); fills losses (n,)."""
    n, m = len(scaled), len(C)
    height = min(n, max(LEAST, AT_ONCE // m))
    kernel = MODULE.get_function("exp_rows_f32" if C.dtype == np.float32 else "exp_rows_f64")
    sums = cp.empty(height, C.dtype)                                   # (height,)
    for first in range(0, n, height):
        last = min(first + height, n)
        S = scaled[first:last] @ C.T                                   # (r, m)  eq. 15.1
        kernel((last - first,), (BLOCK,), (S, groups, sums, losses, np.int32(first), np.int32(m)))
        yield first, last, S, sums[:last - first]


def info_nce(Q, C, tau, groups=None):
    scaled, _, C, groups, _ = _upload(Q, C, tau, groups)
    losses = cp.empty(len(scaled), C.dtype)                            # (n,)
    for _ in _strips(scaled, C, groups, losses):
        pass
    return float(losses.mean(dtype=np.float64).get())


def info_nce_grad(Q, C, tau, groups=None, g=1.0):
    scaled, Q, C, groups, tau = _upload(Q, C, tau, groups)
    n, each = len(Q), C.dtype.type(g / (len(Q) * tau))
    losses, dQ, dC = cp.empty(n, C.dtype), cp.empty_like(Q), cp.zeros_like(C)
    for first, last, E, sums in _strips(scaled, C, groups, losses):
        shares = (each / sums)[:, None]                                # (r, 1)
        dQ[first:last] = E @ C * shares - each * C[first:last]         # (r, d)  eq. 15.3
        dC += E.T @ (shares * Q[first:last])                           # (m, d)
    dC[:n] -= each * Q
    return float(losses.mean(dtype=np.float64).get()), dQ.get(), dC.get()


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    n, d = 40 * scale, 64
    Q = rng.standard_normal((n, d)).astype(np.float32)
    C = (np.concatenate([Q, Q[::2]]) + rng.standard_normal((n + n // 2, d)) / 4).astype(np.float32)
    groups = np.arange(len(C)) % (n - 3)
    return {"info_nce": (Q, C, 8.0), "info_nce_grad": (Q, C, 8.0, groups),
            "info_nce_grad, float64": (Q[:50].astype(np.float64), C[:70].astype(np.float64), 4.0)}
