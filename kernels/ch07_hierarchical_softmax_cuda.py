"""CUDA twin of primer/ch07_hierarchical_softmax.py: blocks of training.

Idea    A warp a place: its lanes share the numbers of a vector, so rows of W and N are read and
        stepped 128 bytes at a time.  First all scores of the neighbours with the path, then, 32
        numbers of each row at a time, both sides' steps, from values that nobody has stepped
        meanwhile but other warps.
Threads WARPS of them, each taking every WARPS-th place, so that what trains at the same time is far
        apart in the text.  They step W and N by atomicAdd and read past the L1 cache: no step is
        lost, but a warp does not see those of others that are under way (Hogwild).  Rows near the
        root are everybody's, so WARPS is kept far below what a GPU could hold: too many steps from
        the same vectors overshoot.  With WARPS = 1 the steps are the reference's, in its order.
Cost    A place with m neighbours and a path of l nodes: 8 (m + l) d bytes of rows to and from L2,
        m l times d multiply-adds in each of three products, and (m + l) d atomics, which bound it:
        d = 100, m = 6, l = 10, 1600 atomics, about 1 us of one SM's L2 bandwidth.
Limits  float32.  The windows are cut on the host; W and N go up and come back at each call: give it
        large blocks.  A place's neighbours and path fit shared memory: m (l + 64) below 12,000.
        The loss of a place is summed in float32.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from kernels.ch06_word2vec_numba import context_windows
from primer import ch07_hierarchical_softmax as chapter
from primer.ch07_hierarchical_softmax import check_block

MODULE = cp.RawModule(code=cuda_source("ch07_hierarchical_softmax"), options=("-std=c++17",))
WARPS = 256                           # places under way at the same time, at most
SHARED = 48 * 1024                    # bytes of a block that any device has


def _block(mean, W, N, tokens, starts, windows, rates, tree):
    tokens, starts, windows, rates = check_block(W, N, tokens, starts, windows, rates, tree)
    if W.dtype != np.float32:
        raise TypeError(f"W: the CUDA twin trains float32, got {W.dtype}")
    indptr, contexts = context_windows(tokens, starts, windows)
    sizes = np.diff(indptr)                                            # (T,)
    predictions = int(np.count_nonzero(sizes) if mean else sizes.sum())
    if not predictions:
        return 0.0, 0
    most, longest = int(sizes.max()), int(np.diff(tree.indptr).max())
    each = 4 * (1 if mean else most) * (longest + 64)                  # bytes
    if each > SHARED:
        raise ValueError(f"windows: {most} neighbours and a path of {longest} nodes do not fit the "
                         "GPU's shared memory")
    W_, N_ = cp.asarray(W), cp.asarray(N)                              # (V, d), (V - 1, d)
    losses = cp.empty(len(tokens), cp.float32)                         # (T,)
    MODULE.get_function("hierarchical_softmax")((min(WARPS, len(tokens)),), (32,), (
        W_, N_, *map(cp.asarray, (tokens, indptr, contexts, rates, tree.indptr, tree.nodes,
                                      tree.codes)), losses,
        np.int32(len(tokens)), np.int32(W.shape[1]), np.int32(mean),
        np.int32(1 if mean else most)), shared_mem=each)
    W[:], N[:] = W_.get(), N_.get()
    return float(losses.get().sum(dtype=np.float64)), predictions


def skipgram_block(W, N, tokens, starts, windows, rates, tree):
    return _block(False, W, N, tokens, starts, windows, rates, tree)


def cbow_block(W, N, tokens, starts, windows, rates, tree):
    return _block(True, W, N, tokens, starts, windows, rates, tree)


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments.

    The rates are so small that the order of steps does not show; that each step is right is tested
    with one warp.
    """
    V, T = 40 * scale, 60 * scale
    tree = chapter.huffman_tree(rng.integers(1, 1000, V))
    W, N = (rng.standard_normal((rows, 33)).astype(np.float32) / 6 for rows in (V, V - 1))
    block = (W, N, rng.integers(0, V, T), np.array([0, T // 2, T]), rng.integers(1, 4, T),
             np.full(T, 1e-4, np.float32), tree)
    return {"skipgram_block": block, "cbow_block": block}
