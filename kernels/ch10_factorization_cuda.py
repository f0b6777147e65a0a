"""CUDA twin of primer/ch10_factorization.py: both counts, CSR times dense, the sweep by document.

Idea    counting is the reference's own plan, which suits a GPU: a 64-bit key for each pair (cell,
        and distance if it matters), one sort, and where the sorted keys change a new one begins; a
        cell's few distances are then added up near ones first, as the reference does.  csr_matmul
        gives a warp a row and 32 columns.  A sweep in which each document sees the others as they
        were gives a block to each; own changes are few, and found by a look over its tokens.
Threads every thread writes only its own places: no atomics, and the result does not depend on the
        order of the threads.  It is the reference's, to the bit, for counts.
Cost    counting T tokens within a window: 16 window T bytes of keys, moved about 16 times by the
        sort, then about 40 bytes a key: memory bound.  T = 10^7, window 5, 10^8 keys: 17 GB, T4
        53 ms, A100 11 ms, H100 5 ms, RTX 4090 17 ms.  csr_matmul: 12 bytes an entry and 8
        columns bytes of B at a random row; 2 columns flops in float64, which on a T4 and an RTX
        4090 (1/32 and 1/64 of the units) bound it.
Limits  about 90 window bytes of device memory a token: count longer corpora in blocks, and add them
        up (chapter 11).  V^2 (window + 1) < 2^63.  Three waits a call.  No twin of gibbs_sweep
        itself: each of its steps needs the one before.  A token of gibbs_sweep_by_document costs
        a look at all tokens of its document, and 16 topics bytes of shared memory: fewer than
        3000 topics.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch03_bow import CSR
from primer.ch10_factorization import check_sweep, count_topics, flatten

MODULE = cp.RawModule(code=cuda_source("ch10_factorization"), options=("-std=c++17",))
BLOCK = 256


def _launch(name, threads, *arguments):
    MODULE.get_function(name)((-(-threads // BLOCK),), (BLOCK,), arguments)


def _runs(keys, by):
    """Runs of keys that are equal when divided by `by` -> starts (m + 1,), first key of each."""
    n = keys.size
    begins = cp.empty(n, np.int32)                                       # (n,)
    _launch("cooc_begins", n, keys, begins, np.int64(n), np.int64(by))
    number = cp.cumsum(begins, dtype=np.int64)                           # (n,)
    m = int(number[-1:].get()[0])
    starts, found = cp.full(m + 1, n, np.int64), cp.empty(m, np.int64)   # (m + 1,), (m,)
    _launch("cooc_list", n, keys, number, starts, found, np.int64(n))
    return starts, found


def _count(documents, V, window, weighted):
    words, owners = flatten(documents, V, window)
    window = min(int(window), max(len(words) - 1, 1))
    sizes = np.bincount(owners, minlength=len(documents))                # (n,)
    near = np.minimum(sizes - 1, window).clip(0)                         # (n,)
    pairs = int((near * sizes - near * (near + 1) // 2).sum())
    dtype = np.float64 if weighted else np.int64
    if not pairs:
        return CSR(np.zeros(V + 1, np.int64), np.empty(0, np.int32), np.empty(0, dtype), (V, V))
    keys, apart = cp.empty(2 * len(words) * window, np.int64), window + 1 if weighted else 1
    _launch("cooc_keys", len(words) * window, cp.asarray(words.astype(np.int32)),
            cp.asarray(np.cumsum(sizes)[owners].astype(np.int32)), keys, np.int64(len(words)),
            np.int32(window), np.int64(V), np.int32(apart))
    keys = cp.sort(keys)[:2 * pairs]                                     # (2 pairs,)
    starts, found = _runs(keys, 1)
    if weighted:
        first, cells = _runs(found, apart)
        data = cp.empty(cells.size, np.float64)                          # (nnz,)
        _launch("cooc_sums", cells.size, found, starts, first, data, np.int64(cells.size),
                np.int32(apart))
    else:
        cells, data = found, cp.diff(starts)                             # (nnz,), (nnz,)
    cells = cells.get() // apart
    indptr = np.searchsorted(cells, np.arange(V + 1) * V).astype(np.int64)         # (V + 1,)
    return CSR(indptr, (cells % V).astype(np.int32), data.get(), (V, V))


def cooccurrence(documents, V, window):
    return _count(documents, V, window, False)


def cooccurrence_inverse_distance(documents, V, window):
    return _count(documents, V, window, True)


def csr_matmul(X, B):
    B = np.ascontiguousarray(B, np.float64)
    if B.ndim != 2 or len(B) != X.shape[1]:
        raise ValueError(f"B: expected shape ({X.shape[1]}, columns), got {B.shape}")
    n, columns = X.shape[0], B.shape[1]
    if not n * columns * X.data.size:
        return np.zeros((n, columns))                                    # (m, columns)
    out = cp.empty((n, columns), np.float64)                             # (m, columns)
    _launch("csr_matmul", n * (-(-columns // 32)) * 32, cp.asarray(X.indptr.astype(np.int64)),
            cp.asarray(X.indices.astype(np.int32)), cp.asarray(X.data.astype(np.float64)),
            cp.asarray(B), out, np.int32(n), np.int32(columns))
    return out.get()


def gibbs_sweep_by_document(state, words, owners, alpha, beta, uniforms):
    check_sweep(state, words, owners, alpha, beta, uniforms)
    (n, T), V = state.by_document.shape, state.by_word.shape[1]
    owners, topics = np.asarray(owners), state.topics.astype(np.int32)               # (N,), (N,)
    if len(topics):
        order = np.argsort(owners, kind="stable")                                    # (N,)
        starts = np.searchsorted(owners[order], np.arange(n + 1)).astype(np.int64)   # (n + 1,)
        new = cp.asarray(topics[order])                                              # (N,)
        MODULE.get_function("gibbs_document")((n,), (32,), (
            cp.asarray(np.asarray(words, np.int32)[order]), cp.asarray(starts), new.copy(), new,
            cp.asarray(state.by_document.astype(np.int32)),
            cp.asarray(np.ascontiguousarray(state.by_word.T, np.int32)),
            cp.asarray(state.by_word.sum(axis=1).astype(np.int32)),
            cp.asarray(np.asarray(uniforms, np.float64)[order]), np.float64(alpha),
            np.float64(beta), np.float64(V * beta), np.int32(T)), shared_mem=16 * T)
        topics[order] = new.get()
    return count_topics(topics, words, owners, (n, T, V))


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    V = 40 * scale
    documents = [(V ** rng.random(60)).astype(np.int64) - 1 for _ in range(8 * scale)]
    nnz = np.sort(rng.integers(0, 9, V))                                 # (V,)
    indices = np.concatenate([np.sort(rng.permutation(V)[:k]) for k in nnz]).astype(np.int32)
    X = CSR(np.r_[0, np.cumsum(nnz)], indices, rng.standard_normal(indices.size), (V, V))
    owners = np.repeat(np.arange(8 * scale), 40)
    tokens, T = rng.integers(0, V, owners.size), 10
    state = count_topics(rng.integers(0, T, owners.size), tokens, owners, (8 * scale, T, V))
    return {"gibbs_sweep_by_document": (state, tokens, owners, 0.1, 0.01, rng.random(owners.size)),
            "cooccurrence": (documents, V, 5), "cooccurrence_inverse_distance": (documents, V, 5),
            "csr_matmul": (X, rng.standard_normal((V, 40)))}
