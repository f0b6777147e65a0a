"""Numba twin of primer/ch05_bm25.py: build the postings, search them for many queries.

Idea    building: impacts run by run of documents, then one counting sort from rows to words; a
        document and its impact lie side by side, so that one look-up reads one cache line.
        Searching: for each window of 64 documents, a bound is the sum of what each word can add
        there; only windows whose bound reaches the bar are opened, the likely winners first,
        since they raise it (block-max pruning: Ding and Suel 2011).  A frequent word has a row of
        one byte a document, its impact rounded up, so that 64 documents get a bound in a few
        vector instructions; impacts rounded down give the bar, the k-th best.  Only documents
        whose bound reaches the last bar, hardly more than k, are looked up in the lists.  Their
        scores are exact: the reference's float32 additions in its order.
Threads queries are dealt out to the threads (nogil).  Building: each thread owns a run of
        documents and, in each list, the place where they go.
Limits  words in more than one of 16 documents keep a byte a document; the lists of others are
        read whole.  An impact that is not above 0 (5.4) leaves nothing to pass over.
"""
import weakref
from typing import NamedTuple

import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from primer.ch05_bm25 import (
    Postings,
    check_k,
    check_queries,
    idf_lucene,
    length_ratios,
    saturation,
)

RUN = 1 << 15                         # entries whose impacts are computed at a time
SHIFT = 6                             # a window is 64 documents
SIZE, LAST = 1 << SHIFT, (1 << SHIFT) - 1
TINY = np.float32(1e-30)              # the bound of a word that is there but adds nothing


@njit(nogil=True, cache=True)
def _by_word(indptr, indices, impacts, first, stop, at, documents, out):
    """Write the entries of the rows first..stop to their words' lists, from `at` on."""
    for d in range(first, stop):
        for e in range(indptr[d], indptr[d + 1]):
            t = indices[e]
            p = at[t]
            documents[p], out[p] = d, impacts[e - indptr[first]]
            at[t] = p + 1


@njit(nogil=True, cache=True)
def _document_frequency(indices, columns):
    df = np.zeros(columns, np.int64)
    for t in indices:
        df[t] += 1
    return df


def build_postings(X, k1=1.2, b=0.75, idf=idf_lucene, saturate=saturation):
    n, V = X.shape
    r = length_ratios(X)                                               # (n,)
    bounds = shares(np.diff(X.indptr) + 1, numba.get_num_threads())
    runs = list(zip(bounds, bounds[1:], strict=False))
    df = in_threads(lambda ab: _document_frequency(X.indices[X.indptr[ab[0]]:X.indptr[ab[1]]], V),
                     runs)
    weight = idf(sum(df), n)                                           # (V,)
    indptr = np.concatenate([[0], np.cumsum(sum(df))])                 # (V + 1,)
    at = [indptr[:-1] + sum(df[:i]) for i in range(len(df))]           # where each thread writes
    pairs = np.empty(X.indices.size, [("document", np.int32), ("impact", np.float32)])
    documents, impacts = pairs["document"], pairs["impact"]
    saturate(np.ones(1), np.ones(1), k1, b)                            # bad k1, b: an error now

    def fill(i):
        rows = np.searchsorted(X.indptr, np.arange(*X.indptr[list(runs[i])], RUN)).clip(*runs[i])
        rows = np.unique([runs[i][0], *rows])
        for first, stop in zip(rows, [*rows[1:], runs[i][1]], strict=True):
            own = slice(X.indptr[first], X.indptr[stop])
            ratio = np.repeat(r[first:stop], np.diff(X.indptr[first:stop + 1]))
            P = weight[X.indices[own]] * saturate(X.data[own], ratio, k1, b)   # eq. 5.5
            _by_word(X.indptr, X.indices, P.astype(np.float32), first, stop, at[i], documents,
                     impacts)

    in_threads(fill, range(len(runs)))
    postings = Postings(indptr, documents, impacts, n)
    _windows(postings)
    return postings


class Windows(NamedTuple):
    """What each frequent word can add in each window of 64 documents, and to each document.

    row: (V,) int32, the word's row in the others or -1; start: (rows, windows + 1) int32, where in
    its list a window begins; ceiling: (rows, windows) float32, the largest impact in it, a little
    above 0 if it is less, 0 if the word is not in it; level: (rows, windows, 64) uint8 and scale:
    (rows,) float32, each impact is from (level - 1) * scale to level * scale, level 0 if the word
    is not there; positive: all impacts of all words are above 0.
    """

    row: np.ndarray
    start: np.ndarray
    ceiling: np.ndarray
    level: np.ndarray
    scale: np.ndarray
    positive: bool


@njit(nogil=True, cache=True)
def _fill_windows(indptr, documents, impacts, words, start, ceiling, level, scale):
    for row in range(words.size):
        first, stop = indptr[words[row]], indptr[words[row] + 1]
        scale[row] = max(impacts[first:stop].max() / 254, TINY)        # 254 + 1 fits a byte
        p = first
        for w in range(ceiling.shape[1]):
            start[row, w] = p - first
            while p < stop and documents[p] >> SHIFT == w:
                high = max(impacts[p], TINY)
                ceiling[row, w] = max(ceiling[row, w], high)
                level[row, w, documents[p] & LAST] = int(high / scale[row]) + 1
                p += 1
        start[row, ceiling.shape[1]] = stop - first


WINDOWS_OF = {}                            # address of impacts: (weak reference to them, Windows)


def _windows(postings):
    """The Windows of some postings, made once -> Windows."""
    key = id(postings.impacts)
    if key not in WINDOWS_OF or WINDOWS_OF[key][0]() is not postings.impacts:
        count = -(-postings.n >> SHIFT)
        df = np.diff(postings.indptr)
        words = np.flatnonzero(df > max(postings.n // 16, 1))          # frequent ones
        rows = words.size
        row = np.full(df.size, -1, np.int32)                           # (V,)
        row[words] = np.arange(rows)
        made = Windows(row, np.empty((rows, count + 1), np.int32),
                       np.zeros((rows, count), np.float32),
                       np.zeros((rows, count, SIZE), np.uint8), np.empty(rows, np.float32),
                       bool(np.min(postings.impacts, initial=np.inf) >= TINY))
        _fill_windows(*postings[:3], words, *made[1:5])
        alive = weakref.ref(postings.impacts, lambda _: WINDOWS_OF.pop(key, None))
        WINDOWS_OF[key] = (alive, made)
    return WINDOWS_OF[key][1]


@njit(nogil=True, cache=True)
def _insert(best, where, score, d):
    """Keep the k best, falling, ties by lower document; best[-1] is the one to beat."""
    j = best.size - 1
    while j > 0 and (where[j - 1] < 0 or score > best[j - 1]
                     or score == best[j - 1] and d < where[j - 1]):
        best[j], where[j] = best[j - 1], where[j - 1]
        j -= 1
    best[j], where[j] = score, d


@njit(nogil=True, cache=True)
def _rare_first(words, indptr):
    """A query's words, rare ones first, ties by id -> (words,)."""
    own = words.copy()
    for a in range(1, own.size):
        t, j = own[a], a
        df = indptr[t + 1] - indptr[t]
        while j > 0:
            other = indptr[own[j - 1] + 1] - indptr[own[j - 1]]
            if other < df or (other == df and own[j - 1] <= t):
                break
            own[j] = own[j - 1]
            j -= 1
        own[j] = t
    return own


@njit(nogil=True, cache=True)
def _bound(own, rare, indptr, documents, impacts, row, ceiling, total, bound):
    """What the words can add up to in each window -> (windows,) in bound, 0 where none is; what
    the first `rare` words, those without a row, add up to for each document, into total."""
    bound[:] = 0
    for t in own[:rare]:
        for p in range(indptr[t], indptr[t + 1]):
            w, j = documents[p] >> SHIFT, documents[p] & LAST
            s = total[w, j] + max(impacts[p], TINY)
            total[w, j] = s
            bound[w] = max(bound[w], s)
    for t in own[rare:]:
        high = ceiling[row[t]]
        for w in range(bound.size):
            bound[w] += high[w]


@njit(nogil=True, cache=True)
def _lift(leading, value):
    """Keep the k largest values, falling."""
    j = leading.size - 1
    if value > leading[j]:
        while j > 0 and leading[j - 1] < value:
            leading[j] = leading[j - 1]
            j -= 1
        leading[j] = value


@njit(nogil=True, cache=True)
def _open_windows(chosen, rows, level, scale, total, bound, slop, positive, leading, high,
                  found, ceilings, m):
    """Add the documents of the chosen windows that may be results to the m found, with the most
    that they can score -> the new m.  leading: the k best of the least that they score."""
    last, loss = leading.size - 1, scale[rows].sum()                   # rounded up by at most loss
    bar = leading[last] / slop
    for w in chosen:
        if bound[w] < bar:
            continue
        bound[w] = 0                                # once is enough
        for j in range(high.size):                  # (64,), no constant: so LLVM makes vectors
            high[j] = total[w, j]
        for r in rows:
            unit = scale[r]
            for j in range(high.size):
                high[j] += np.float32(level[r, w, j]) * unit
        hit = 0
        for j in range(high.size):
            hit |= np.int32(high[j] >= bar)
        if hit == 0:
            continue
        for j in range(high.size):
            if high[j] >= bar:
                found[m], ceilings[m] = w * SIZE + j, high[j]
                m += 1
                if positive:
                    _lift(leading, high[j] / slop - loss)
                    bar = leading[last] / slop
    return m


@njit(nogil=True, cache=True)
def _add(s, d, own, indptr, documents, impacts, row, start):
    """s and the document's impacts of some words, added in their order, in float32."""
    for t in own:
        p, end, r, w = indptr[t], indptr[t + 1], row[t], d >> SHIFT
        if r >= 0:
            p, end = p + start[r, w], p + start[r, w + 1]
        stop = end
        while p < end:
            middle = (p + end) >> 1
            if documents[middle] < d:
                p = middle + 1
            else:
                end = middle
        if p < stop and documents[p] == d:
            s += impacts[p]
    return s


@njit(nogil=True, cache=True)
def _search_some(starts, words, first, step, indptr, documents, impacts, row, start, ceiling,
                 level, scale, positive, where, best):
    """The queries first, first + step, ...; query i owns words[starts[i]:starts[i + 1]]."""
    windows, k = ceiling.shape[1], best.shape[1]
    bound, leading = np.empty(windows, np.float32), np.empty(k, np.float32)
    total, high = np.zeros((windows, SIZE), np.float32), np.empty(SIZE, np.float32)
    found, ceilings = np.empty(total.size, np.int32), np.empty(total.size, np.float32)
    for i in range(first, starts.size - 1, step):
        own = _rare_first(words[starts[i]:starts[i + 1]], indptr)
        rare = 0
        while rare < own.size and row[own[rare]] < 0:
            rare += 1
        slop = np.float32(1 + 1e-6 * (own.size + 1))        # what float32 sums may round away
        window = (row[own[rare:]], level, scale, total, bound, slop, positive, leading, high,
                  found, ceilings)
        _bound(own, rare, indptr, documents, impacts, row, ceiling, total, bound)
        leading[:] = TINY / 2
        for v in bound:
            _lift(leading, v)
        likely = np.flatnonzero(bound >= leading[-1])       # the likely winners first: they raise
        leading[:] = TINY / 2                               # the bar
        m = _open_windows(likely, *window, 0)
        m = _open_windows(np.flatnonzero(bound >= leading[-1] / slop), *window, m)
        known = rare if positive else 0             # the words whose sum total holds
        for d in found[:m][ceilings[:m] >= leading[-1] / slop]:
            s = total[d >> SHIFT, d & LAST] if known else np.float32(0)
            s = _add(s, d, own[known:], indptr, documents, impacts, row, start)
            if where[i, -1] < 0 or s > best[i, -1] or s == best[i, -1] and d < where[i, -1]:
                _insert(best[i], where[i], s, d)
        for t in own[:rare]:
            for p in range(indptr[t], indptr[t + 1]):
                total[documents[p] >> SHIFT, documents[p] & LAST] = 0


def search(postings, queries, k):
    k = check_k(k, postings.n)
    words, starts = check_queries(queries, len(postings.indptr) - 1)
    where = np.full((len(queries), k), -1, np.int64)                   # (m, k)
    best = np.zeros((len(queries), k), np.float32)                     # (m, k)
    threads = max(1, min(numba.get_num_threads(), len(queries)))
    fields = (*postings[:3], *_windows(postings))
    in_threads(lambda i: _search_some(starts, words, i, threads, *fields, where, best),
                range(threads))
    return where, best
