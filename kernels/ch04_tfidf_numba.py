"""Numba twin of primer/ch04_tfidf.py: document frequencies, weights, unit rows.

Idea    the entries are read once for each function and written once: no array of row numbers
        (8 bytes an entry) and no temporaries, which is where the reference spends its time.
Threads document_frequency: each thread counts its run of rows by itself, then the counts are
        added.  The rest: prange over rows, and each thread writes its rows' entries alone.
Limits  V counters of 8 bytes a thread.  tfidf asks the given term frequency and idf functions of
        the reference for their values, so any of its variants can be used.
"""
import numba
import numpy as np
from numba import njit, prange

from primer.ch04_tfidf import idf_plain, term_frequency_raw, term_frequency_relative


@njit(parallel=True, cache=True)
def _document_frequency(indices, columns, threads):
    counts = np.zeros((threads, columns), np.int64)
    for thread in prange(threads):
        for e in range(thread * indices.size // threads, (thread + 1) * indices.size // threads):
            counts[thread, indices[e]] += 1
    return counts.sum(axis=0)


def document_frequency(X):
    return _document_frequency(X.indices, X.shape[1], numba.get_num_threads())


@njit(parallel=True, cache=True)
def _row_sums(indptr, data):
    out = np.zeros(indptr.size - 1)
    for row in prange(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            out[row] += data[e]
    return out


def row_sums(X):
    return _row_sums(X.indptr, X.data)


@njit(parallel=True, cache=True)
def _weigh(indptr, indices, data, weight, divide):
    """data * weight of its column, over the row's sum if `divide`."""
    out = np.empty(data.size)
    for row in prange(indptr.size - 1):
        total = 0.0
        for e in range(indptr[row], indptr[row + 1]):
            total += data[e]
        for e in range(indptr[row], indptr[row + 1]):
            out[e] = (data[e] / total if divide else data[e]) * weight[indices[e]]
    return out


def weigh_columns(X, weight):
    weight = np.asarray(weight, np.float64)                            # (V,)
    if weight.shape != (X.shape[1],):
        raise ValueError(f"weight: expected shape ({X.shape[1]},), got {weight.shape}")
    return X._replace(data=_weigh(X.indptr, X.indices, X.data, weight, False))


def tfidf(X, term_frequency=term_frequency_relative, idf=idf_plain):
    weight = idf(document_frequency(X), X.shape[0])                    # (V,)
    if term_frequency in (term_frequency_relative, term_frequency_raw):
        relative = term_frequency is term_frequency_relative
        return X._replace(data=_weigh(X.indptr, X.indices, X.data, weight, relative))
    return weigh_columns(term_frequency(X), weight)


@njit(parallel=True, cache=True)
def _unit_rows(indptr, data):
    out = np.empty(data.size)
    for row in prange(indptr.size - 1):
        square = 0.0
        for e in range(indptr[row], indptr[row + 1]):
            square += float(data[e]) ** 2
        norm = np.sqrt(square) if square > 0 else 1.0
        for e in range(indptr[row], indptr[row + 1]):
            out[e] = data[e] / norm
    return out


def unit_rows(X):
    return X._replace(data=_unit_rows(X.indptr, X.data))
