"""CUDA twin of primer/ch05_bm25.py: build the postings, search them for many queries.

Idea    building: the lists are one sort of 64-bit keys, word and entry.  Searching: the totals of
        2048 documents at a time stay in shared memory, so that a query's postings come from
        memory once, neighbours to neighbouring threads, and no total ever goes there; the k best
        are selected where the totals are (ch01_top_k.cu).
Threads a block owns a range of the documents of one query and takes them tile by tile.  It adds
        word after word with a barrier between them; the documents of one word are distinct, so
        each total has one writer, no atomics are needed, and the float32 additions are the
        reference's in its order: equal bits.
Cost    search: 8 bytes and 1 addition a posting of the query's words, whatever k; memory bound
        everywhere.  1000 queries of 10^5 postings each, 0.8 GB: 2.5 ms on a T4, 0.39 A100,
        0.24 H100, 0.79 RTX 4090, if no list is found in a cache.
        build_postings: about 230 bytes an entry, 128 in the sort's eight passes and 64 to fetch
        its document and impact from random places; 10^8 entries, 23 GB: 72 ms, 11, 6.9, 23.  The
        bus, 16 bytes an entry, takes 100 ms at 16 GB/s.
Limits  build_postings: idf and saturate are Python functions, so the impacts are computed on the
        host, while the device sorts, and it waits for the device twice: for the frequencies, and
        for the lists.  Every posting is read: no document is passed over (the Numba twin does).
        Postings go up once and stay while they are alive; changed in place they are not seen.
        Impacts are below 2^100, and not NaN; n < 2^31 - 4096; the first 128 words of a query keep
        their places in their lists, later ones search them anew for each tile.
"""
import weakref

import cupy as cp
import numpy as np

from kernels import cuda_source
from kernels.ch01_geometry_cuda import TOP_K_LIMIT, _decode, _merge_top_k, _selector
from kernels.ch04_tfidf_cuda import _corpus
from primer import ch05_bm25
from primer.ch03_bow import row_of_entry
from primer.ch05_bm25 import (
    Postings,
    check_k,
    check_queries,
    idf_lucene,
    length_ratios,
    saturation,
)

MODULE = cp.RawModule(code=cuda_source("ch01_top_k", "ch05_bm25"), options=("-std=c++17",))
BLOCK = 256
TILE = 2048                           # as in the .cu
BLOCKS = 2048                         # enough to fill any device
CANDIDATES = 1 << 25                  # keys at a time: 256 MiB
ON_DEVICE = {}                        # address of impacts: (weak references, arrays on the device)


def _sorted_keys(X):
    """Queue the sort of the entries by word -> keys (nnz,), rows (nnz,), and df (V,) at once."""
    df = cp.zeros(X.shape[1], cp.int32)                                # (V,)
    keys, rows = cp.empty(X.indices.size, cp.int64), cp.empty(X.indices.size, cp.int32)
    if X.indices.size:
        MODULE.get_function("bm25_keys")(
            (-(-X.shape[0] * 32 // BLOCK),), (BLOCK,),
            (cp.asarray(X.indptr, cp.int64), cp.asarray(X.indices, cp.int32), keys, rows, df,
             np.int32(X.shape[0])))
    df = df.get().astype(np.int64)                                     # (V,)
    return cp.sort(keys), rows, df                  # it sorts while the host goes on


def build_postings(X, k1=1.2, b=0.75, idf=idf_lucene, saturate=saturation):
    n, nnz = X.shape[0], X.indices.size
    keys, rows, df = _sorted_keys(X)
    weight = idf(df, n)                                                # (V,)
    r = length_ratios(X)                                               # (n,)
    P = weight[X.indices] * saturate(X.data, r[row_of_entry(X)], k1, b)           # (nnz,)  eq. 5.5
    lists = cp.empty((2, nnz), cp.int32)            # documents; the bits of their impacts
    documents, impacts = lists[0], lists[1].view(cp.float32)           # (nnz,)
    if nnz:
        MODULE.get_function("bm25_gather")(
            (-(-nnz // BLOCK),), (BLOCK,),
            (keys, rows, cp.asarray(P, cp.float32), documents, impacts, np.int64(nnz)))
    host = lists.get()                                                 # (2, nnz)
    postings = Postings(np.concatenate([[0], np.cumsum(df)]), host[0], host[1].view(np.float32), n)
    _remember(postings, documents, impacts)
    return postings


def _remember(postings, *arrays):
    key = id(postings.impacts)
    alive = (weakref.ref(postings.impacts, lambda _: ON_DEVICE.pop(key, None)),
             weakref.ref(postings.documents))
    ON_DEVICE[key] = (alive, arrays)


def _on_device(postings):
    """Documents and impacts of some postings on the device, taken there once."""
    stored = ON_DEVICE.get(id(postings.impacts))
    if not (stored and stored[0][0]() is postings.impacts
            and stored[0][1]() is postings.documents):
        _remember(postings, cp.asarray(postings.documents, cp.int32),
                  cp.asarray(postings.impacts, cp.float32))
    return ON_DEVICE[id(postings.impacts)][1]


def _pack(postings, words, starts):
    """Starts (m + 1,), and for each word, rare ones first, where its list begins and ends."""
    df = np.diff(postings.indptr)                                      # (V,)
    query = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    words = words[np.lexsort((words, df[words], query))]
    return cp.asarray(np.concatenate([starts, postings.indptr[words], postings.indptr[words + 1]]))


def _best_keys(postings, packed, m, words, k):
    """The k best keys of each query, on the device; 0 where there are fewer.  -> (m, k) uint64."""
    n, name, selecting, shared = postings.n, "bm25_search_all", (), 0
    splits = max(1, min(-(-n // TILE), BLOCKS // m))                   # of a query's documents
    each = n                                                           # keys of a query
    if k <= TOP_K_LIMIT:
        name, each, (size, shared) = "bm25_search", splits * k, _selector(k)
        selecting = np.int32(k), np.int32(size)
    found = cp.empty((m, k), cp.uint64)                                # (m, k)
    at_once = min(m, 65535, max(1, CANDIDATES // each))                # queries
    for first in range(0, m, at_once):
        now = min(at_once, m - first)
        keys = cp.empty((now, each), cp.uint64)                        # (now, each)
        MODULE.get_function(name)((splits, now), (BLOCK,), (
            *_on_device(postings), packed, keys, np.int32(n), np.int32(m), np.int64(words),
            np.int32(first), *selecting), shared_mem=shared)
        found[first:first + now] = keys if selecting and splits == 1 else _merge_top_k(keys, k)
    return found


def search(postings, queries, k):
    k, m = check_k(k, postings.n), len(queries)
    words, starts = check_queries(queries, len(postings.indptr) - 1)
    if not k or not words.size:
        return np.full((m, k), -1, np.int64), np.zeros((m, k), np.float32)
    keys = _best_keys(postings, _pack(postings, words, starts), m, words.size, k).get()
    documents, scores = _decode(keys)                                  # (m, k), (m, k)
    scores = scores * np.float32(2**-24)                               # undoes lifted()
    return np.where(keys, documents, -1), np.where(keys, scores, np.float32(0))


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    X = _corpus(rng, 200 * scale, 400 + 100 * scale, 40)
    queries = [rng.choice(X.indices, 3).astype(np.int64) for _ in range(4 + scale)]
    postings = ch05_bm25.build_postings(X)
    many = Postings(postings.indptr, postings.documents, postings.impacts, 2100 + X.shape[0])
    return {"build_postings": (X,), "search": (postings, queries, 10),
            "search, large k": (many, queries[:2], TOP_K_LIMIT + 1)}
