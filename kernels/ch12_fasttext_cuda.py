"""CUDA twin of primer/ch12_fasttext.py: steps of both trainers and of the classifier.

Idea    CBOW and the classifier: an item is a place or a text; the mean of its rows of Z predicts
        rows of the outputs.  A warp an item: its lanes share the numbers of a row, so that rows are
        read and moved 128 bytes at a time.  Skip-gram: a warp a document; the means within reach
        are in shared memory, so that n-grams' rows are read once a word and moved once.
Threads WARPS of them, each taking every WARPS-th item.  They move rows by atomicAdd and read past
        the L1 cache: no step is lost, but a warp does not see those that are under way (Hogwild).
        Too many steps from the same vectors overshoot, so WARPS is kept far below what a GPU could
        hold.  With WARPS = 1 the steps are the reference's, in its order.
Cost    A word of R rows, m neighbours: 8 (R + K + 1) d bytes to and from L2 and 4 m (K + 1) d more
        for scores; (R + K + 1) d atomics bound it: d = 100, R = 20, m = 6, K = 5: 35 kB, 2,600
        atomics.  Rows of Z are at random places; those beyond L2 come from memory, 16 kB a word:
        10^6 words, 16 GB: 50 ms on a T4, 8 A100, 5 H100, 16 RTX 4090.
Limits  float32.  CBOW lists the rows of each place on the host.  Z and the outputs go up and come
        back at each call: give it large blocks.  A long document keeps one warp busy.  What a warp
        needs fits 48 KB of shared memory: the means of a window, or 2 d floats and the outputs.
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


def _launch(name, items, each, *arguments):
    """A warp for each item, WARPS of them at most; each: bytes of shared memory that it needs."""
    warps = min(WARPS_A_BLOCK, WARPS, SHARED // each)
    if not warps:
        raise ValueError(f"Z: {each} bytes of shared memory for a warp, more than {SHARED}; take "
                         "fewer dimensions or outputs, or a smaller window")
    MODULE.get_function(name)((min(WARPS // warps, -(-items // warps)),), (32 * warps,), arguments,
                              shared_mem=warps * each)


def _tables(Z, A):
    if Z.dtype != np.float32:
        raise TypeError(f"Z: the CUDA twin trains float32, got {Z.dtype}")
    return cp.asarray(Z), cp.asarray(A)


def _items(Z, A, rows, outputs, labels, rates, divide):
    """rows: ends, rows of Z; outputs: ends, rows of A, weights; or labels -> the losses' sum."""
    (Z_, A_), n, d = _tables(Z, A), len(rates), Z.shape[1]
    if not n:
        return 0.0
    ends, ids, weights = outputs or ([0], [0], [0])
    longest = len(A) if labels is not None else int(np.diff(ends).max())
    losses = cp.empty(n, cp.float32)                                   # (n,)
    _launch("fasttext_items", n, 4 * (2 * d + longest), Z_, A_, cp.asarray(rows[0], cp.int64),
            cp.asarray(rows[1], cp.int32), cp.asarray(ends, cp.int64), cp.asarray(ids, cp.int32),
            cp.asarray(weights, cp.float32), cp.asarray([0] if labels is None else labels,
                                                        cp.int32), cp.asarray(rates), losses,
            np.int32(n), np.int32(d), np.int32(longest), np.int32(divide),
            np.int32(labels is not None))
    Z[:], A[:] = Z_.get(), A_.get()
    return float(losses.get().sum(dtype=np.float64))


def skipgram_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    tokens, starts, windows, rates, negatives, (indptr, rows) = check_block(
        Z, U, tokens, starts, windows, rates, negatives, ngrams)
    (Z_, U_), T, d, K = _tables(Z, U), len(tokens), Z.shape[1], negatives.shape[1]
    if not T:
        return 0.0, 0
    longest = np.diff(starts).max()
    windows = np.minimum(windows, longest)                             # (T,)
    reach, losses = int(windows.max()), cp.empty(T, cp.float32)        # (T,)
    floats = 2 * (2 * reach + 1) * d + 2 * reach * (K + 2) + 34 * (K + 1)
    _launch("fasttext_documents", len(starts) - 1, 4 * floats, Z_, U_, cp.asarray(tokens, cp.int32),
            cp.asarray(starts, cp.int64), cp.asarray(windows, cp.int32), cp.asarray(rates),
            cp.asarray(negatives), cp.asarray(indptr), cp.asarray(rows), losses,
            np.int32(len(starts) - 1), np.int32(d), np.int32(K), np.int32(reach), np.int32(floats))
    Z[:], U[:] = Z_.get(), U_.get()
    at, owner = np.arange(T), np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    pairs = (np.minimum(windows, at - starts[owner])
             + np.minimum(windows, starts[owner + 1] - 1 - at)).sum()
    return float(losses.get().sum(dtype=np.float64)), int(pairs)


def cbow_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    tokens, starts, windows, rates, negatives, (indptr, rows) = check_block(
        Z, U, tokens, starts, windows, rates, negatives, ngrams)
    ends, near = context_windows(tokens, starts, windows)
    some = np.flatnonzero(np.diff(ends))                               # places with neighbours
    own, noise, n = tokens[some], negatives[some], len(some)
    word_ends, picked = _pick(indptr, rows, near)
    ids = np.column_stack([own, noise])                                # (n, K + 1)
    weights = np.column_stack([np.full(n, -1), own[:, None] != noise])
    outputs = np.arange(n + 1) * ids.shape[1], ids.ravel(), weights.ravel()
    return _items(Z, U, (word_ends[np.append(0, ends[1:][some])], picked), outputs, None,
                  rates[some], False), n


def classifier_block(Z, A, indptr, rows, labels, order, rates):
    indptr, rows, labels, order, rates = check_texts(Z, A, indptr, rows, labels, order, rates)
    return (_items(Z, A, _pick(indptr, rows, order), None, labels[order], rates, True),
            len(order))


def hierarchical_block(Z, N, indptr, rows, labels, order, rates, tree):
    indptr, rows, labels, order, rates = check_texts(Z, N, indptr, rows, labels, order, rates, tree)
    owner, nodes, codes = paths_of(labels[order], tree)
    ends = np.searchsorted(owner, np.arange(len(order) + 1))           # (n + 1,)
    outputs = ends, nodes, 2.0 * codes - 1
    return _items(Z, N, _pick(indptr, rows, order), outputs, None, rates, True), len(order)


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments.

    The rates are so small that the order of steps does not show; that each step is right is tested
    with one warp.
    """
    V, T, B, L = 40 * scale, 60 * scale, 100 * scale, 5
    words = [f"w{i}" for i in range(V)]
    Z = rng.standard_normal((V + B, 33)).astype(np.float32) / 6
    U, A = (rng.standard_normal((rows, 33)).astype(np.float32) for rows in (V, L))
    block = (Z, U, rng.integers(0, V, T), np.array([0, T // 2, T]), rng.integers(1, 4, T),
             np.full(T, 2e-6, np.float32), rng.integers(0, V, (T, 5)),
             chapter.subword_rows(words, bucket=B))
    texts = [rng.choice(words, 6).tolist() for _ in range(T)]
    labelled = (*chapter.text_rows(texts, {w: i for i, w in enumerate(words)}, bucket=B,
                                   word_ngrams=2), rng.integers(0, L, T), rng.permutation(T),
                np.full(T, 1e-4, np.float32))
    return {"skipgram_block": block, "cbow_block": block, "classifier_block": (Z, A, *labelled),
            "hierarchical_block": (Z, A[1:].copy(), *labelled,
                                   huffman_tree(np.arange(1, L + 1)))}
