"""CUDA twin of primer/ch06_word2vec.py: windows, and epochs with the full softmax.

Idea    a step is parallel inside, over the V words and d columns; each needs the vectors that the
        one before has left.  It has three phases: scores; errors, with the step of U and dL/dh in
        one pass; the step of W and the next h.  Only the end of a launch makes blocks wait for
        each other, so where U is large a step is three launches over the whole device, and where
        it is small one block does thousands of steps in one launch.  A skip-gram pair is a window
        of one word.
Threads a warp owns every so-many-th row of U: it alone writes them, their scores, and its share of
        dL/dh.  Shares, and the sums of the softmax, are added in the order of the warps, with no
        atomics: the same arguments give the same bits.  A thread alone writes a column of W.
Cost    a step reads U twice and writes it once, 12 V d bytes and 8 V d operations in float32.
        V = 10,000 words of d = 100: 12 MB, 38 us on a T4, from memory; the other GPUs keep U in
        their L2 (A100 7.7 us, H100 3.6, RTX 4090 12 at memory's speed).  Three launches take some
        10 us and CuPy's Python about as much again: it pays from V d of about 10^6 on, where the
        Numba twin takes 0.4 ms.  Below V d = 2^16 a block, so one multiprocessor, does the steps:
        a CPU core is as fast there.  All this is reckoned, not measured.
        Windows: 8 bytes a word of C_t, written and sent to the host, which takes longest (16 GB/s):
        the Numba twin makes them in less time than that.
Limits  O(V d) a step, as in the reference: chapters 7 and 8 need not see all of U.  W, U, the
        windows and work of about V + 1024 d numbers stay on the device for an epoch.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch06_word2vec import (
    _rates,
    check_corpus,
    check_pairs,
    check_windows,
    initial_vectors,
    share_mean,
)

MODULE = cp.RawModule(code=cuda_source("ch06_word2vec"), options=("-std=c++17",))
BLOCK, LANES = 256, 8                 # threads of a block; of a place, as in the .cu
SMALL = 1 << 16                       # numbers in U, below which one block does all steps
STEPS = 1 << 14                       # of one block in a launch: a screen's GPU must not hang
ROWS, MOST_WARPS = 4, 1024            # of U, at least, for a warp; warps for one step
SCORES, OUTPUTS, INPUTS = 1, 2, 4     # phases of a step, as in the .cu


def context_windows(tokens, starts, window):
    tokens, starts, window = check_corpus(tokens, starts, window)
    T = len(tokens)
    if not T:
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    tokens, starts, window = (cp.asarray(np.ascontiguousarray(a, np.int64))
                              for a in (tokens, starts, np.minimum(window, T)))
    sizes = np.int64(starts.size - 1), np.int64(T)
    indptr = cp.zeros(T + 1, cp.int64)                                 # (T + 1,)
    MODULE.get_function("count_contexts")((-(-T // BLOCK),), (BLOCK,), (
        starts, window, indptr[1:], *sizes))
    indptr = cp.cumsum(indptr)
    contexts = cp.empty(int(indptr[-1].get()), cp.int64)               # (pairs,)
    MODULE.get_function("write_contexts")((-(-T * LANES // BLOCK),), (BLOCK,), (
        tokens, starts, window, indptr, contexts, *sizes))
    return indptr.get(), contexts.get()


def skipgram_pairs(tokens, starts, window):
    indptr, contexts = context_windows(tokens, starts, window)
    return np.repeat(np.asarray(tokens, np.int64), np.diff(indptr)), contexts


def cbow_windows(tokens, starts, window):
    indptr, contexts = context_windows(tokens, starts, window)
    some = np.diff(indptr) > 0                                         # (T,)
    return np.asarray(tokens, np.int64)[some], np.append(0, indptr[1:][some]), contexts


def _epoch(W, U, targets, indptr, contexts, rates, each):
    """Steps in order -> W (V, d), U (V, d), losses (n,)."""
    (V, d), n = W.shape, len(targets)
    if not n:
        return W.copy(), U.copy(), np.zeros(0)
    one_block = V * d <= SMALL
    warps = min(-(-V // ROWS), 32 if one_block else MOST_WARPS)
    warps = warps if one_block else -(-warps * 32 // BLOCK) * (BLOCK // 32)
    W, U, rates, each = (cp.asarray(np.ascontiguousarray(a, W.dtype)) for a in (W, U, rates, each))
    targets, indptr, contexts = (cp.asarray(np.ascontiguousarray(a, np.int64))
                                 for a in (targets, indptr, contexts))
    work = cp.empty((warps + 1) * d + V + 2 * warps, W.dtype)
    losses = cp.empty(n, W.dtype)                                      # (n,)
    kernel = MODULE.get_function("word2vec_steps_f32" if W.dtype == np.float32 else
                                 "word2vec_steps_f64")
    rows = ((1,), (32 * warps,)) if one_block else ((warps * 32 // BLOCK,), (BLOCK,))
    columns = rows if one_block else ((-(-d // 32),), (BLOCK,))

    def launch(shape, i, stop, phases):
        kernel(*shape, (W, U, targets, indptr, contexts, rates, each, work, losses, np.int32(V),
                        np.int32(d), np.int32(warps), np.int64(n), np.int64(i), np.int64(stop),
                        np.int32(phases)))

    launch(columns, -1, 0, INPUTS)                                     # h of the first window
    if one_block:
        for i in range(0, n, STEPS):
            launch(rows, i, min(i + STEPS, n), SCORES | OUTPUTS | INPUTS)
    else:
        for i in range(n):
            launch(rows, i, i + 1, SCORES)
            launch(rows, i, i + 1, OUTPUTS)
            launch(columns, i, i + 1, INPUTS)
    return W.get(), U.get(), losses.get().astype(np.float64)


def skipgram_epoch(W, U, centres, contexts, rates):
    W, U, centres, contexts = check_pairs(W, U, centres, contexts)
    n = len(centres)
    return _epoch(W, U, contexts, np.arange(n + 1), centres, _rates(rates, n, W), np.ones(n))


def cbow_epoch(W, U, targets, indptr, contexts, rates, share=share_mean):
    W, U, targets, indptr, contexts = check_windows(W, U, targets, indptr, contexts)
    return _epoch(W, U, targets, indptr, contexts, _rates(rates, len(targets), W), share(indptr))


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    T, V = 100 * scale, 30 * scale
    tokens, starts = rng.integers(0, V, T), np.array([0, T // 3, T])
    W, U = initial_vectors(V, 40, rng, np.float64)
    U += rng.standard_normal(U.shape) / 10
    few = min(T, 60)
    indptr = np.arange(0, 4 * few + 1, 4)
    contexts, rates = rng.integers(0, V, 4 * few), np.full(few, 0.1)
    small = W.astype(np.float32), U.astype(np.float32)
    return {"context_windows": (tokens, starts, 5),
            "cbow_epoch": (*small, tokens[:few], indptr, contexts, rates),
            "skipgram_epoch": (*small, tokens[:few], contexts[:few], rates),
            "skipgram_epoch, float64": (W, U, tokens[:few], contexts[:few], rates)}
