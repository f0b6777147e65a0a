"""Numba twin of primer/ch10_factorization.py: both counts, CSR times dense, the Gibbs sweep.

Idea    counting: a counting sort lists the places of each word; the neighbours of all its places
        are added up in one dense row of V sums, which fits the cache; a mark for each 64 of them
        says where to look for sums when the row is written, so nothing is sorted.  A fence before
        each document ends a window that reaches it, so a place is one look into memory.  The
        reference sorts all pairs.  csr_matmul walks a row once for all columns, the sweep holds
        n_tw with the topics of one word side by side.
Threads each thread owns a run of words (of rows, in csr_matmul), about equally many pairs, and
        makes only their rows: any number of threads gives the same bits.  Plain counts are the
        reference's; 1 / distance is added in the order of the text, there by distance: they
        agree to rounding.  A Gibbs step depends on the step before it, so the sweep has one
        thread; with the same uniforms it takes the reference's steps exactly.
Limits  a thread needs V sums, and while it counts room for up to twice its rows.
"""
import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from primer.ch03_bow import CSR
from primer.ch10_factorization import Topics, check_sweep, flatten


@njit(nogil=True, cache=True)
def _places(tokens, documents, V):
    """The documents in a row, a fence of -1 before each and at the end, and the places of each word
    there, by a counting sort -> (T + n + 1,) int32, (T,) int32, starts (V + 1,)."""
    fenced, at = np.empty(tokens.size + documents.size, np.int32), 0
    places, starts = np.empty(tokens.size, np.int32), np.zeros(V + 2, np.int64)
    for i in range(documents.size - 1):
        fenced[at] = -1
        at += 1
        for t in range(documents[i], documents[i + 1]):
            fenced[at] = tokens[t]
            starts[tokens[t] + 2] += 1
            at += 1
    fenced[at] = -1
    for w in range(V):
        starts[w + 2] += starts[w + 1]
    for t in range(fenced.size):
        w = fenced[t]
        if w >= 0:
            places[starts[w + 1]] = t
            starts[w + 1] += 1
    return fenced, places, starts[:-1]


@njit(nogil=True, cache=True)
def _rows(fenced, places, starts, weights, first, stop):
    """The rows first..stop, a neighbour at distance k counting weights[k - 1] -> CSR's parts."""
    V, n = starts.size - 1, 0
    sums, met = np.zeros(V, weights.dtype), np.zeros(V // 64 + 1, np.uint8)
    lengths = np.empty(stop - first, np.int64)
    indices, data = np.empty(V, np.int32), np.empty(V, weights.dtype)
    for w in range(first, stop):
        for p in range(starts[w], starts[w + 1]):
            for step in range(-1, 2, 2):
                other = places[p]
                for k in range(weights.size):
                    other += step
                    c = fenced[other]
                    if c < 0:
                        break
                    sums[c] += weights[k]
                    met[c >> 6] = 1
        if n + V > indices.size:
            wide, more = np.empty(2 * n + V, np.int32), np.empty(2 * n + V, weights.dtype)
            for e in range(n):                         # slices compile for seconds
                wide[e], more[e] = indices[e], data[e]
            indices, data = wide, more
        begin = n
        for block in range(met.size):
            if met[block]:
                met[block] = 0
                for c in range(64 * block, min(64 * block + 64, V)):
                    if sums[c] != 0:
                        indices[n], data[n] = c, sums[c]
                        sums[c] = 0
                        n += 1
        lengths[w - first] = n - begin
    return lengths, indices[:n], data[:n]


def _count(tokens, starts, V, weights):
    fenced, places, first = _places(tokens, starts, V)                   # (T + n + 1,), (T,)
    bounds = shares(np.diff(first) + 1, numba.get_num_threads()) if V else np.zeros(2, np.int64)
    parts = in_threads(lambda run: _rows(fenced, places, first, weights, *run),
                       list(zip(bounds, bounds[1:], strict=False)))
    lengths, indices, data = (np.concatenate(part) for part in zip(*parts, strict=True))
    return CSR(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), indices, data, (V, V))


def _count_documents(documents, V, window, weigh):
    tokens, owners = flatten(documents, V, window)
    sizes = np.bincount(owners, minlength=len(documents))                # (n,)
    distances = np.arange(1, min(int(window), max(len(tokens) - 1, 1)) + 1)
    return _count(tokens, np.concatenate([[0], np.cumsum(sizes)]), V, weigh(distances))


def cooccurrence(documents, V, window):
    return _count_documents(documents, V, window, np.ones_like)


def cooccurrence_inverse_distance(documents, V, window):
    return _count_documents(documents, V, window, lambda k: 1 / k)


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
    check_sweep(state, words, owners, alpha, beta, uniforms)
    topics, by_document = state.topics.copy(), state.by_document.copy()
    of_word = np.ascontiguousarray(state.by_word.T).copy()               # (V, T)
    _sweep(topics, by_document, of_word, state.by_word.sum(axis=1), np.asarray(words, np.int64),
           np.asarray(owners, np.int64), float(alpha), float(beta), np.asarray(uniforms, float))
    return Topics(topics, by_document, np.ascontiguousarray(of_word.T))
