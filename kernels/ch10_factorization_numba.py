"""Numba twin of primer/ch10_factorization.py: both counts, CSR times dense, the Gibbs sweep.

Idea    counting: a counting sort lists the places of each word; the neighbours of all its places
        are added up in one dense row of V counters (times window, for 1 / distance), which fits
        the cache, and only the counters that were touched are sorted and written.  The reference
        sorts all pairs.  A first pass finds how long each row is, so the result is written in
        place.  csr_matmul walks a row once for all columns, the sweep holds n_tw with the topics
        of one word side by side.
Threads each thread owns a run of words (of rows, in csr_matmul), about equally many pairs, and
        writes only their rows: any number of threads gives the same bits, the reference's.
        A Gibbs step depends on the step before it, so the sweep has one thread; with the
        same uniforms it takes the reference's steps exactly.
Limits  a thread needs V (V times window for 1 / distance) counters.
"""
import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from primer.ch03_bow import CSR
from primer.ch10_factorization import Topics, check_positive, flatten


@njit(nogil=True, cache=True)
def _row_lengths(words, begin, end, places, starts, window, first, stop, lengths):
    """Number of different neighbours of the words first..stop -> lengths."""
    met = np.full(lengths.size, -1, np.int32)          # the last word that had c as a neighbour
    for w in range(first, stop):
        length = 0
        for place in places[starts[w]:starts[w + 1]]:
            for other in range(max(place - window, begin[place]),
                               min(place + window + 1, end[place])):
                if other != place and met[words[other]] != w:
                    met[words[other]] = w
                    length += 1
        lengths[w] = length


@njit(nogil=True, cache=True)
def _fill_rows(words, begin, end, places, starts, window, first, stop, indptr, indices, data):
    """Write the rows first..stop of plain counts."""
    counts = np.zeros(indptr.size - 1, np.int64)
    for w in range(first, stop):
        n = indptr[w]
        for place in places[starts[w]:starts[w + 1]]:
            for other in range(max(place - window, begin[place]),
                               min(place + window + 1, end[place])):
                c = words[other]
                if other != place:
                    if counts[c] == 0:
                        indices[n] = c
                        n += 1
                    counts[c] += 1
        own = indices[indptr[w]:n]
        own.sort()
        for e in range(own.size):
            data[indptr[w] + e] = counts[own[e]]
            counts[own[e]] = 0


@njit(nogil=True, cache=True)
def _fill_weighted(words, begin, end, places, starts, window, first, stop, indptr, indices, data):
    """The same of sums over the distances, near ones first, of count / distance."""
    counts = np.zeros((indptr.size - 1, window + 1), np.int32)       # [c, 0] counts them all
    for w in range(first, stop):
        n = indptr[w]
        for place in places[starts[w]:starts[w + 1]]:
            for other in range(max(place - window, begin[place]),
                               min(place + window + 1, end[place])):
                c = words[other]
                if other != place:
                    if counts[c, 0] == 0:
                        indices[n] = c
                        n += 1
                    counts[c, 0] += 1
                    counts[c, abs(other - place)] += 1
        own = indices[indptr[w]:n]
        own.sort()
        for e in range(own.size):
            total = 0.0
            for distance in range(1, window + 1):
                total += counts[own[e], distance] / distance
            counts[own[e]] = 0
            data[indptr[w] + e] = total


@njit(nogil=True, cache=True)
def _places(words, starts):
    """The places of each word, in order, by a counting sort -> (N,) int32."""
    at, places = starts[:-1].copy(), np.empty(words.size, np.int32)
    for place in range(words.size):
        places[at[words[place]]] = place
        at[words[place]] += 1
    return places


def _count(documents, V, window, fill, dtype):
    words, owners = flatten(documents, V, window)
    window = min(int(window), max(len(words) - 1, 1))
    starts = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=V))])       # (V + 1,)
    ends = np.cumsum(np.bincount(owners, minlength=len(documents)))                  # (n,)
    begin = np.concatenate([[0], ends])[owners].astype(np.int32)                     # (N,)
    where = (words.astype(np.int32), begin, ends[owners].astype(np.int32),
             _places(words, starts), starts, window)
    bounds = shares(np.diff(starts) + 1, numba.get_num_threads()) if V else np.zeros(1, np.int64)
    runs = list(zip(bounds, bounds[1:], strict=False))
    lengths = np.zeros(V, np.int64)
    indptr = np.zeros(V + 1, np.int64)
    if runs:
        in_threads(lambda run: _row_lengths(*where, *run, lengths), runs)
    np.cumsum(lengths, out=indptr[1:])
    indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], dtype)
    if runs:
        in_threads(lambda run: fill(*where, *run, indptr, indices, data), runs)
    return CSR(indptr, indices, data, (V, V))


def cooccurrence(documents, V, window):
    return _count(documents, V, window, _fill_rows, np.int64)


def cooccurrence_inverse_distance(documents, V, window):
    return _count(documents, V, window, _fill_weighted, np.float64)


@njit(nogil=True, cache=True)
def _multiply(indptr, indices, data, B, first, stop, out):
    for i in range(first, stop):
        own = out[i]                                   # rows of their own: the loop is vectorised
        for e in range(indptr[i], indptr[i + 1]):
            x, row = data[e], B[indices[e]]
            for j in range(own.size):
                own[j] += x * row[j]


def csr_matmul(X, B):
    B = np.ascontiguousarray(B, np.float64)
    if B.ndim != 2 or len(B) != X.shape[1]:
        raise ValueError(f"B: expected shape ({X.shape[1]}, columns), got {B.shape}")
    out = np.zeros((X.shape[0], B.shape[1]))                             # (m, columns)
    if X.shape[0]:
        bounds = shares(np.diff(X.indptr) + 1, numba.get_num_threads())
        in_threads(lambda run: _multiply(*X[:3], B, *run, out),
                   list(zip(bounds, bounds[1:], strict=False)))
    return out


@njit(nogil=True, cache=True)
def _sweep(topics, by_document, of_word, totals, words, owners, alpha, beta, uniforms):
    V, T = of_word.shape
    sums = np.empty(T)
    for i in range(words.size):
        w, j, t = words[i], owners[i], topics[i]
        by_document[j, t] -= 1
        of_word[w, t] -= 1
        totals[t] -= 1
        total = 0.0
        for s in range(T):
            total += (by_document[j, s] + alpha) * (of_word[w, s] + beta) / (totals[s] + V * beta)
            sums[s] = total
        t, bar = 0, uniforms[i] * total
        while t < T - 1 and sums[t] <= bar:
            t += 1
        topics[i] = t
        by_document[j, t] += 1
        of_word[w, t] += 1
        totals[t] += 1


def gibbs_sweep(state, words, owners, alpha, beta, uniforms):
    check_positive(alpha, "alpha"), check_positive(beta, "beta")
    topics, by_document = state.topics.copy(), state.by_document.copy()
    if not len(topics) == len(words) == len(owners) == len(uniforms):
        raise ValueError(f"expected one topic, word, owner and uniform a token, got {len(topics)}, "
                         f"{len(words)}, {len(owners)}, {len(uniforms)}")
    of_word = np.ascontiguousarray(state.by_word.T).copy()               # (V, T)
    _sweep(topics, by_document, of_word, state.by_word.sum(axis=1), np.asarray(words, np.int64),
           np.asarray(owners, np.int64), float(alpha), float(beta), np.asarray(uniforms, float))
    return Topics(topics, by_document, np.ascontiguousarray(of_word.T))
