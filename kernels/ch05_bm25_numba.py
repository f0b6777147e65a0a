"""Numba twin of primer/ch05_bm25.py: build the postings, search them for many queries.

Idea    building: impacts run by run of documents, then one counting sort from rows to words; a
        document and its impact lie side by side, so that one look-up reads one cache line.
        Searching: for each window of 64 documents, a bound is the sum of what each word can add
        there; only windows whose bound reaches the bar, the k-th best score so far, are opened,
        the likely winners first, since they raise it (block-max pruning: Ding and Suel 2011).
        In a window, a document is scored when it is met in the rarest of its lists, and only if
        its impact there and what the words still to come can add reach the bar (MaxScore: Turtle
        and Flood 1995).  The scores stay exact: the reference's float32 additions in its order.
Threads queries are dealt out to the threads (nogil).  Building: each thread owns a run of
        documents and, in each list, the place where they go.
Limits  words in more than one of 64 documents keep 8 bytes a window; the lists of others are
        read whole.  A negative idf (5.4) leaves nothing to pass over.
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
    """What each frequent word can add in each window of 64 documents.

    row: (V,) int32, the word's row in the others or -1; start: (rows, windows + 1) int32, where in
    its list a window begins; ceiling: (rows, windows) float32, the largest impact in it, a little
    above 0 if it is less, 0 if the word is not in it.
    """

    row: np.ndarray
    start: np.ndarray
    ceiling: np.ndarray


@njit(nogil=True, cache=True)
def _fill_windows(indptr, documents, impacts, words, start, ceiling):
    for row in range(words.size):
        p, stop = indptr[words[row]], indptr[words[row] + 1]
        for w in range(ceiling.shape[1]):
            start[row, w] = p - indptr[words[row]]
            while p < stop and documents[p] >> SHIFT == w:
                ceiling[row, w] = max(ceiling[row, w], impacts[p], TINY)
                p += 1
        start[row, ceiling.shape[1]] = stop - indptr[words[row]]


WINDOWS_OF = {}                            # address of impacts: (weak reference to them, Windows)


def _windows(postings):
    """The Windows of some postings, made once -> Windows."""
    key = id(postings.impacts)
    if key not in WINDOWS_OF or WINDOWS_OF[key][0]() is not postings.impacts:
        count = -(-postings.n >> SHIFT)
        df = np.diff(postings.indptr)
        words = np.flatnonzero(df > max(count, 1))                     # frequent ones
        row = np.full(df.size, -1, np.int32)                           # (V,)
        row[words] = np.arange(words.size)
        made = Windows(row, np.empty((words.size, count + 1), np.int32),
                       np.zeros((words.size, count), np.float32))
        _fill_windows(*postings[:3], words, *made[1:])
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
def _bound(words, indptr, documents, impacts, row, ceiling, bound):
    """What the words can add up to in each window -> (windows,) in bound, 0 where none is."""
    bound[:] = 0
    for t in words:
        if row[t] >= 0:
            own = ceiling[row[t]]
            for w in range(bound.size):
                bound[w] += own[w]
        else:
            p, stop = indptr[t], indptr[t + 1]
            while p < stop:
                w, high = documents[p] >> SHIFT, TINY
                while p < stop and documents[p] >> SHIFT == w:
                    high = max(high, impacts[p])
                    p += 1
                bound[w] += high


@njit(nogil=True, cache=True)
def _kth_largest(values, leading):
    """The k-th largest value above 0, or 0 if there are fewer.  leading: (k,) scratch."""
    leading[:] = 0
    last = leading.size - 1
    bar = leading[last]
    for v in values:
        if v > bar:
            j = last
            while j > 0 and leading[j - 1] < v:
                leading[j] = leading[j - 1]
                j -= 1
            leading[j] = v
            bar = leading[last]
    return bar


@njit(nogil=True, cache=True)
def _open_window(w, words, indptr, documents, impacts, row, start, ceiling, first, stop, rest):
    """Where each word's documents of window w lie (first:stop), and what the words from i on can
    add there (rest: one more than words)."""
    rest[words.size] = 0
    for i in range(words.size - 1, -1, -1):
        r = row[words[i]]
        if r >= 0:
            p = indptr[words[i]]
            first[i], stop[i] = p + start[r, w], p + start[r, w + 1]
            high = np.float64(ceiling[r, w])
        else:                                       # a short list: find the window by bisection
            p, end = indptr[words[i]], indptr[words[i] + 1]
            while p < end:
                middle = (p + end) >> 1
                if documents[middle] >> SHIFT < w:
                    p = middle + 1
                else:
                    end = middle
            first[i], end, high = p, indptr[words[i] + 1], 0.0
            while p < end and documents[p] >> SHIFT == w:
                high = max(high, np.float64(impacts[p]))
                p += 1
            stop[i] = p
        rest[i] = rest[i + 1] + high


@njit(nogil=True, cache=True)
def _score_windows(low, high, words, indptr, documents, impacts, row, start, ceiling, bound, slop,
                   first, stop, at, rest, where, best):
    """Score the documents of the windows with low <= bound < high that can be results.

    A document is scored when it is met in the rarest of its lists, if its impact there and what
    the words still to come can add reach the bar.
    """
    last, m = best.size - 1, words.size
    bar = best[last] if where[last] >= 0 else -np.inf
    for w in range(bound.size):
        if not (low <= bound[w] < high) or bound[w] * slop < bar or bound[w] == 0:
            continue
        _open_window(w, words, indptr, documents, impacts, row, start, ceiling, first, stop, rest)
        for i in range(m):
            if rest[i] * slop < bar:
                break                               # no word is left that lifts a new document
            least = bar - rest[i + 1] - (abs(bar) + rest[i + 1]) * (slop - 1)
            at[:] = first                           # the last look-up in each list
            for p in range(first[i], stop[i]):
                if impacts[p] < least:
                    continue
                s, d, j = impacts[p], documents[p], 0
                while j < m:                        # the other words of this document
                    if j != i:
                        while at[j] < stop[j] and documents[at[j]] < d:
                            at[j] += 1
                        if at[j] < stop[j] and documents[at[j]] == d:
                            if j < i:
                                break               # it was met in a rarer list
                            s += impacts[at[j]]
                        if j > i and s + rest[j + 1] + (abs(s) + rest[j + 1]) * (slop - 1) < bar:
                            break
                    j += 1
                if j == m and (where[last] < 0 or s > bar or s == bar and d < where[last]):
                    _insert(best, where, s, d)
                    if where[last] >= 0:
                        bar = best[last]
                        least = bar - rest[i + 1] - (abs(bar) + rest[i + 1]) * (slop - 1)


@njit(nogil=True, cache=True)
def _search_some(starts, words, first, step, indptr, documents, impacts, row, start, ceiling,
                 where, best):
    """The queries first, first + step, ...; query i owns words[starts[i]:starts[i + 1]]."""
    bound = np.empty(ceiling.shape[1], np.float32)
    leading = np.empty(best.shape[1], np.float32)
    for i in range(first, starts.size - 1, step):
        own = words[starts[i]:starts[i + 1]].copy()
        for a in range(1, own.size):                # rare words first, ties by id
            t, j = own[a], a
            df = indptr[t + 1] - indptr[t]
            while j > 0:
                other = indptr[own[j - 1] + 1] - indptr[own[j - 1]]
                if other < df or (other == df and own[j - 1] <= t):
                    break
                own[j] = own[j - 1]
                j -= 1
            own[j] = t
        scratch = (np.empty(own.size, np.int64), np.empty(own.size, np.int64),
                   np.empty(own.size, np.int64), np.empty(own.size + 1, np.float64))
        slop = 1 + 2e-7 * (own.size + 1)            # what float32 sums may round away
        _bound(own, indptr, documents, impacts, row, ceiling, bound)
        likely = _kth_largest(bound, leading)       # the likely winners first: they raise the bar
        _score_windows(likely, np.inf, own, indptr, documents, impacts, row, start, ceiling, bound,
                       slop, *scratch, where[i], best[i])
        _score_windows(0.0, likely, own, indptr, documents, impacts, row, start, ceiling, bound,
                       slop, *scratch, where[i], best[i])


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
