"""CUDA twin of primer/ch12_fasttext.py: steps of both trainers and of the classifier.

Idea    One kernel for all: an item is a place or a text; the mean of its rows of Z predicts rows of
        the outputs.  A warp an item: its lanes share the numbers of a row, so that rows are read
        and moved 128 bytes at a time, n-grams' rows once a place, not once a pair.
Threads WARPS of them, each taking every WARPS-th item.  They move rows by atomicAdd and read past
        the L1 cache: no step is lost, but a warp does not see those that are under way (Hogwild).
        Too many steps from the same vectors overshoot, so WARPS is kept far below what a GPU could
        hold.  With WARPS = 1 the steps are the reference's, in its order.
Cost    A place of R rows and m neighbours: 8 (R + m (K + 1)) d bytes to and from L2, a multiply-add
        for each 3 of them, and (R + m (K + 1)) d atomics, which bound it: d = 100, R = 20, m = 6,
        K = 5: 45 kB, 5,600 atomics.  Rows of Z are at random places; those beyond L2 come from
        memory, 16 kB a place: 10^6 places, 16 GB: 50 ms on a T4, 8 A100, 5 H100, 16 RTX 4090.
Limits  float32.  Which rows an item has is listed on the host; Z and the outputs go up and come
        back at each call: give it large blocks.  d and the outputs of a place fit shared memory:
        2 d and they below 12,000.  The loss of an item is summed in float32.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from kernels.ch06_word2vec_numba import context_windows
from primer import ch12_fasttext as chapter
from primer.ch07_hierarchical_softmax import huffman_tree, paths_of
from primer.ch12_fasttext import check_block, check_texts

MODULE = cp.RawModule(code=cuda_source("ch12_fasttext"), options=("-std=c++17",))
WARPS = 512                           # items under way at the same time, at most
WARPS_A_BLOCK = 4
SHARED = 48 * 1024                    # bytes of a block that any device has


def _pick(indptr, values, items):
    """The values of some items, end to end -> ends (n + 1,), values (total,)."""
    size = np.diff(indptr)[items]                                      # (n,)
    ends = np.append(0, np.cumsum(size))                               # (n + 1,)
    at = np.arange(ends[-1]) + np.repeat(indptr[items] - ends[:-1], size)
    return ends, values[at]


def _steps(Z, A, rows, outputs, labels, rates, group, divide):
    """rows: ends, rows of Z; outputs: ends, rows of A, weights; or labels -> the losses' sum."""
    n, d = len(rates), Z.shape[1]
    if Z.dtype != np.float32:
        raise TypeError(f"Z: the CUDA twin trains float32, got {Z.dtype}")
    if not n:
        return 0.0
    ends, ids, weights = outputs or ([0], [0], [0])
    longest = len(A) if labels is not None else group or int(np.diff(ends).max())
    each = 4 * (2 * d + longest)                                           # bytes a warp
    warps = min(WARPS_A_BLOCK, WARPS, SHARED // each)
    if not warps:
        raise ValueError(f"Z: {d} dimensions and {longest} outputs do not fit the GPU's shared "
                         "memory")
    Z_, A_, losses = cp.asarray(Z), cp.asarray(A), cp.empty(n, cp.float32)
    MODULE.get_function("fasttext_steps")((min(WARPS // warps, -(-n // warps)),), (32 * warps,), (
        Z_, A_, cp.asarray(rows[0], cp.int64), cp.asarray(rows[1], cp.int32),
        cp.asarray(ends, cp.int64), cp.asarray(ids, cp.int32), cp.asarray(weights, cp.float32),
        cp.asarray([0] if labels is None else labels, cp.int32), cp.asarray(rates), losses,
        np.int32(n), np.int32(d), np.int32(longest), np.int32(group), np.int32(divide),
        np.int32(labels is not None)), shared_mem=warps * each)
    Z[:], A[:] = Z_.get(), A_.get()
    return float(losses.get().sum(dtype=np.float64))


def _block(cbow, Z, U, *arguments):
    tokens, starts, windows, rates, negatives, (indptr, rows) = check_block(Z, U, *arguments)
    ends, near = context_windows(tokens, starts, windows)
    m, K = np.diff(ends), negatives.shape[1]                           # (T,)
    some = np.flatnonzero(m)                                           # places with neighbours
    tokens, rates, negatives, m, ends = (tokens[some], rates[some], negatives[some], m[some],
                                         np.append(0, ends[1:][some]))
    word_ends, words = (ends, near) if cbow else (np.arange(len(some) + 1), tokens)
    pick_ends, picked = _pick(indptr, rows, words)
    row_ends = pick_ends[word_ends]                                    # (n + 1,)
    if cbow:
        m, near = np.ones_like(m), tokens
    owner, ends = np.repeat(np.arange(len(some)), m), np.append(0, np.cumsum(m))
    noise = negatives[owner]                                           # (pairs, K)
    outputs = ((K + 1) * ends, np.column_stack([near, noise]).ravel(),
               np.column_stack([np.full(len(near), -1), near[:, None] != noise]).ravel())
    return (_steps(Z, U, (row_ends, picked), outputs, None, rates, K + 1, False), int(m.sum()))


def skipgram_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _block(False, Z, U, tokens, starts, windows, rates, negatives, ngrams)


def cbow_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _block(True, Z, U, tokens, starts, windows, rates, negatives, ngrams)


def classifier_block(Z, A, indptr, rows, labels, order, rates):
    indptr, rows, labels, order, rates = check_texts(Z, A, indptr, rows, labels, order, rates)
    return (_steps(Z, A, _pick(indptr, rows, order), None, labels[order], rates, 0, True),
            len(order))


def hierarchical_block(Z, N, indptr, rows, labels, order, rates, tree):
    indptr, rows, labels, order, rates = check_texts(Z, N, indptr, rows, labels, order, rates, tree)
    owner, nodes, codes = paths_of(labels[order], tree)
    ends = np.searchsorted(owner, np.arange(len(order) + 1))           # (n + 1,)
    outputs = ends, nodes, 2.0 * codes - 1
    return _steps(Z, N, _pick(indptr, rows, order), outputs, None, rates, 0, True), len(order)


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments.

    The rates are so small that the order of steps cannot be seen, nor that the reference runs on
    vectors which the twin has moved; that the steps are right is tested with one warp.
    """
    V, T, B, L = 40 * scale, 60 * scale, 100 * scale, 5
    words = [f"w{i}" for i in range(V)]
    Z = rng.standard_normal((V + B, 33)).astype(np.float32) / 6
    U, A = (rng.standard_normal((rows, 33)).astype(np.float32) for rows in (V, L))
    block = (Z, U, rng.integers(0, V, T), np.array([0, T // 2, T]), rng.integers(1, 4, T),
             np.full(T, 1e-9, np.float32), rng.integers(0, V, (T, 5)),
             chapter.subword_rows(words, bucket=B))
    texts = [rng.choice(words, 6).tolist() for _ in range(T)]
    labelled = (*chapter.text_rows(texts, {w: i for i, w in enumerate(words)}, bucket=B,
                                   word_ngrams=2), rng.integers(0, L, T), rng.permutation(T),
                np.full(T, 1e-9, np.float32))
    return {"skipgram_block": block, "cbow_block": block, "classifier_block": (Z, A, *labelled),
            "hierarchical_block": (Z, A[1:].copy(), *labelled,
                                   huffman_tree(np.arange(1, L + 1)))}
