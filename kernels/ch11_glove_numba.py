"""Numba twin of primer/ch11_glove.py: steps over the entries, counts of blocks and their sum.

Idea    a step needs no square root and no division: 1 / sqrt(1 + u^2) is a short series where u is
        small, and |u| <= rate f |e| |c|, with r <= 1, says beforehand whether it is.  So a pair is
        a dozen multiplications a dimension in float32, vectorised, and two streams of 2 (d + 1)
        numbers: vector, bias and their r lie side by side.  (Entries in tiles that fit the cache
        would be 1.6 times as fast again, but the order is then far from random: the cost of each
        epoch is 2 to 10 % higher, so it is not done.)  add_counts merges rows that are sorted.
Threads Hogwild: each has a run of the entries and writes rows without locks; two that meet in one
        row may lose a part of a step.  One thread: the same bits for the same arguments, equal to
        the reference to rounding.  Counting and adding: a thread owns the rows that it writes.
Limits  float32 and float64; for a large step (seldom in float32) root and division are taken.
"""
import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from kernels.ch10_factorization_numba import _count
from primer.ch03_bow import CSR
from primer.ch11_glove import check_alike, check_block, check_block_of_corpus

LEAST = 4096                          # entries: fewer are not worth a second thread
SUMS = {"reassoc", "contract"}        # sums in any order, but NaN and infinity as ever


@njit(nogil=True, cache=True, fastmath=SUMS)
def _steps(words, contexts, rows, columns, logs, weights, rate, small, series, first, stop):
    """The steps of the entries first..stop -> sum of f e^2 / 2; small: the largest u^2 for which
    three terms of the series are exact to rounding."""
    d, cost = words.shape[2] - 1, 0.0
    one, a1, a2, a3 = series
    for e in range(first, stop):
        w, r = words[rows[e], 0], words[rows[e], 1]
        c, s = contexts[columns[e], 0], contexts[columns[e], 1]
        error, ww, cc = w[d] + c[d] - logs[e], one - one, one - one
        for k in range(d):
            error += w[k] * c[k]                         # eq. 11.1
            ww += w[k] * w[k]
            cc += c[k] * c[k]
        g = weights[e] * error
        cost += g * error
        move = rate * g
        if move * move * max(ww, cc) < small:
            for k in range(d):
                x, y, p, q = w[k], c[k], r[k], s[k]
                u, v = move * y * p, move * x * q
                w[k], c[k] = x - u, y - v
                u *= u
                v *= v
                r[k] = p - p * u * (a1 - u * (a2 - u * a3))            # eq. 11.4
                s[k] = q - q * v * (a1 - v * (a2 - v * a3))
        else:
            for k in range(d):
                u, v = move * c[k] * r[k], move * w[k] * s[k]
                w[k] -= u
                c[k] -= v
                r[k] /= np.sqrt(one + u * u)
                s[k] /= np.sqrt(one + v * v)
        u, v = g * r[d], g * s[d]                        # biases: rate 1
        w[d] -= u
        c[d] -= v
        r[d] /= np.sqrt(one + u * u)
        s[d] /= np.sqrt(one + v * v)
    return cost / 2


def adagrad_block(words, contexts, rows, columns, logs, weights, rate=0.05):
    rows, columns, *values = check_block(words, contexts, rows, columns, logs, weights, rate)
    dtype, m = words.dtype.type, len(rows)
    logs, weights = (np.asarray(x, dtype) for x in values)               # (m,), (m,)
    small = dtype(1 / 64 if dtype == np.float32 else 1e-4)
    series = dtype(1), dtype(1 / 2), dtype(3 / 8), dtype(5 / 16)
    threads = min(numba.get_num_threads(), 1 + m // LEAST)
    bounds = np.linspace(0, m, threads + 1).astype(np.int64)
    costs = in_threads(lambda run: _steps(words, contexts, rows, columns, logs, weights,
                                          dtype(rate), small, series, *run),
                       list(zip(bounds, bounds[1:], strict=False)))
    return float(sum(costs)), m


def count_block(tokens, starts, V, window):
    tokens, starts = check_block_of_corpus(tokens, starts, V, window)
    window = min(int(window), max(len(tokens) - 1, 1))
    return _count(tokens, starts, V, 1 / np.arange(1, window + 1))


@njit(nogil=True, cache=True)
def _merge(indptr, columns, values, other, theirs, added, first, stop, begin, indices, data):
    """Rows first..stop of the sum: their lengths, one place on, to begin if data has no room; else
    what they hold, row i from begin[i] on."""
    for i in range(first, stop):
        a, b, n = indptr[i], other[i], begin[i] if data.size else 0
        while a < indptr[i + 1] or b < other[i + 1]:
            left = columns[a] if a < indptr[i + 1] else np.int32(2**31 - 1)
            right = theirs[b] if b < other[i + 1] else np.int32(2**31 - 1)
            if data.size:
                indices[n], data[n] = min(left, right), 0
                if left <= right:
                    data[n] += values[a]
                if right <= left:
                    data[n] += added[b]
            a, b, n = a + (left <= right), b + (right <= left), n + 1
        if not data.size:
            begin[i + 1] = n


def add_counts(X, Y):
    check_alike(X, Y)
    rows, indptr = X.shape[0], np.zeros(X.shape[0] + 1, np.int64)
    bounds = shares(np.diff(X.indptr) + np.diff(Y.indptr) + 1, numba.get_num_threads()) \
        if rows else np.zeros(1, np.int64)
    runs = list(zip(bounds, bounds[1:], strict=False))

    def merge(*out):
        if runs:
            in_threads(lambda run: _merge(*X[:3], *Y[:3], *run, indptr, *out), runs)
        return out
    merge(np.empty(0, np.int32), np.empty(0, X.data.dtype))              # how long each row is
    np.cumsum(indptr, out=indptr)
    return CSR(indptr, *merge(np.empty(indptr[-1], np.int32), np.empty(indptr[-1], X.data.dtype)),
               X.shape)
