"""Numba twin of primer/ch12_fasttext.py: means, steps of both trainers and the classifier.

Idea    A word's rows are gathered once, as the window reaches it, and moved once, as it leaves;
        fastText does both for each pair.  In between its mean is in the nearest cache, and a place
        is chapter 8's three small matrix products over the window's means.  The next word's rows
        of Z, and the rows of U two places on, are asked for ahead (a prefetch).  A text of the
        classifier is chapter 7's place with one row, down its label's path or along all labels.
Threads documents, or texts, are shared out.  Rows of Z, U and A are read and written without locks
        (Hogwild): with one thread the same arguments give the same bits, with several they do not,
        since a thread may lose what another has just written.  Means have no race.
Limits  No quantised matrices.  2,000,000 buckets of 100 float32 numbers are 800 MB, and a place
        touches some 20 of these rows at random: that is almost half of the time.
"""
import functools
from itertools import pairwise

import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares, source_version
from kernels.ch07_hierarchical_softmax_numba import _ask, _descend, _judge, _path
from kernels.ch07_hierarchical_softmax_numba import _scores as _turns
from kernels.ch08_negative_sampling_numba import _place, _room, _words
from kernels.ch12_fasttext_rows_numba import subword_rows, text_rows  # noqa: F401
from primer.ch12_fasttext import check_block, check_texts

FAST = {"nogil": True, "cache": True, "error_model": "numpy",           # NaN as ever
        "fastmath": {"reassoc", "contract"}}
PART = {**FAST, "cache": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@njit(**PART)
def _mean(Z, rows, first, stop, H, i):                                 # eq. 12.3
    """The mean of rows of Z, three at a time -> H[i]."""
    share, last = Z.dtype.type(1 / max(stop - first, 1)), stop - (stop - first) % 3
    for k in range(H.shape[1]):
        H[i, k] = 0
    for p in range(first, last, 3):
        a, b, c = rows[p], rows[p + 1], rows[p + 2]
        for k in range(H.shape[1]):
            H[i, k] += Z[a, k] + Z[b, k] + Z[c, k]
    for p in range(last, stop):
        a = rows[p]
        for k in range(H.shape[1]):
            H[i, k] += Z[a, k]
    for k in range(H.shape[1]):
        H[i, k] *= share


@njit(**PART)
def _follow(Z, rows, first, stop, share, old, H, i):
    """Rows of Z move as H[i] has since old[i], times a share."""
    for k in range(H.shape[1]):
        old[i, k] = share * (H[i, k] - old[i, k])
    for p in range(first, stop):
        a = rows[p]
        for k in range(H.shape[1]):
            Z[a, k] += old[i, k]


@njit(**FAST)
def _mean_rows(Z, indptr, rows, H, first, stop):
    for i in range(first, stop):
        _mean(Z, rows, indptr[i], indptr[i + 1], H, i)


def mean_rows(Z, indptr, rows):
    if not isinstance(Z, np.ndarray):
        raise TypeError("Z: expected an array; quantised matrices are for the reference")
    indptr, rows = np.asarray(indptr, np.int64), np.asarray(rows)
    H = np.empty((len(indptr) - 1, Z.shape[1]), Z.dtype)               # (n, d)
    in_threads(lambda part: _mean_rows(Z, indptr, rows, H, *part), _parts(np.diff(indptr)))
    return H


def _parts(sizes):
    return [*pairwise(shares(sizes, numba.get_num_threads()))] if len(sizes) else [(0, 0)]


@njit(**PART)
def _skipgram(Z, U, tokens, starts, windows, rates, negatives, indptr, rows, reach, begin, end):
    ring, d, one = 2 * reach + 1, Z.shape[1], Z.dtype.type(1)
    means, before = np.empty((ring, d), Z.dtype), np.empty((ring, d), Z.dtype)
    H, every, S, G, words = _room(ring + 1, negatives, Z)
    near, total, count = every.copy(), 0.0, 0
    for document in range(begin, end):
        first, stop = starts[document], starts[document + 1]
        for t in range(first - reach, stop + reach):
            new, last = t + reach, t - reach
            if new < stop:                               # its word comes into reach
                w, a = tokens[new], new % ring
                _mean(Z, rows, indptr[w], indptr[w + 1], means, a)
                for k in range(d):
                    before[a, k] = means[a, k]
                if new + 1 < stop:
                    for p in range(indptr[tokens[new + 1]], indptr[tokens[new + 1] + 1]):
                        _ask(Z, np.int64(rows[p]))
            if first <= t < stop:
                m = 0
                for j in range(max(t - windows[t], first), min(t + windows[t] + 1, stop)):
                    near[m] = j % ring
                    m += j != t
                _words(U, tokens, negatives, t, words)
                total += _place(means, near, m, U, words, H, every, S, G, rates[t])
                count += m
            if last >= first:                            # none to come reaches this word
                w = tokens[last]
                _follow(Z, rows, indptr[w], indptr[w + 1], one, before, means, last % ring)
    return total, count


@njit(**PART)
def _cbow(Z, U, tokens, starts, windows, rates, negatives, indptr, rows, reach, begin, end):
    H, every, S, G, words = _room(2, negatives, Z)
    mean, before, one = np.zeros_like(H), np.zeros_like(H), Z.dtype.type(1)
    own, single = np.empty(np.diff(indptr).max() * 2 * reach, rows.dtype), np.int64(1)
    total, count = 0.0, 0
    for document in range(begin, end):
        first, stop = starts[document], starts[document + 1]
        for t in range(first, stop):
            n = 0
            for j in range(max(t - windows[t], first), min(t + windows[t] + 1, stop)):
                if j != t:
                    for p in range(indptr[tokens[j]], indptr[tokens[j] + 1]):
                        own[n] = rows[p]
                        n += 1
            if n == 0:
                continue
            _mean(Z, own, 0, n, mean, 0)
            for k in range(Z.shape[1]):
                before[0, k] = mean[0, k]
            _words(U, tokens, negatives, t, words)
            total += _place(mean, every, single, U, words, H, every, S, G, rates[t])
            _follow(Z, own, 0, n, one, before, mean, 0)
            count += 1
    return total, count


def _run(block, Z, U, *arguments):
    tokens, starts, windows, *more, (indptr, rows) = check_block(Z, U, *arguments)
    reach = int(min(windows.max(initial=1), np.diff(starts).max(initial=1)))
    done = in_threads(lambda part: block(
        Z, U, tokens, starts, np.minimum(windows, reach), *more, indptr, rows,
        reach, *part), _parts(np.diff(starts)))
    return sum(d[0] for d in done), sum(d[1] for d in done)


def skipgram_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _run(_blocks()[0], Z, U, tokens, starts, windows, rates, negatives, ngrams)


def cbow_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _run(_blocks()[1], Z, U, tokens, starts, windows, rates, negatives, ngrams)


@njit(**PART)
def _softmax_loss(S, G, L, width, label, rate):
    """-ln p(label) of scores S (12.6); rate dL/ds -> G (2, width), flat, 0 but in its first L."""
    largest, total = S[0], 0.0
    for j in range(L):
        largest = max(largest, S[j])
    for j in range(L):
        G[j] = np.exp(S[j] - largest)
        total += G[j]
    for j in range(L):
        G[j] *= rate / total
    for j in range(L, 2 * width):
        G[j] = 0
    G[label] -= rate
    return largest - S[label] + np.log(total)


@njit(**PART)
def _classify(hierarchical, Z, A, indptr, rows, labels, order, rates, ends, ids, codes, longest,
              begin, end):
    """Each label's path in ends, ids, codes; for the softmax, one path along all labels."""
    H, before, every = np.zeros_like(Z[:2]), np.zeros_like(Z[:2]), np.arange(2)
    S, way, signs = np.zeros(2 * longest + 2, Z.dtype), np.zeros(longest + 1, np.int64), np.zeros(
        longest + 1, Z.dtype)
    G, total, single, two = np.zeros_like(S), 0.0, np.int64(1), np.int64(2)
    for i in range(begin, end):
        label, first, stop = labels[order[i]], indptr[order[i]], indptr[order[i] + 1]
        _mean(Z, rows, first, stop, H, 0)
        for k in range(Z.shape[1]):
            before[0, k] = H[0, k]
        l = _path(label if hierarchical else 0, ends, ids, codes, way, signs)
        width = l + l % 2
        _turns(H, two, A, way, signs, width, S)
        if hierarchical:
            total += _judge(S, G, single, two, signs, l, width, rates[i])
        else:
            total += _softmax_loss(S, G, l, width, label, rates[i])
        _descend(H, every, single, A, way, width, G, width, single)
        _descend(A, way, l, before, every, two, G, single, width)
        _follow(Z, rows, first, stop, Z.dtype.type(1 / (stop - first)), before, H, 0)
    return total


@functools.cache
def _blocks():
    """As in chapter 8: compiled anew where a file has changed whose functions are in it."""
    version = source_version("ch07_hierarchical_softmax_numba", "ch08_negative_sampling_numba")

    @njit(**FAST)
    def skipgram(*arguments):
        return _skipgram(*arguments) if version else (0.0, 0)

    @njit(**FAST)
    def cbow(*arguments):
        return _cbow(*arguments) if version else (0.0, 0)

    @njit(**FAST)
    def classify(*arguments):
        return _classify(*arguments) if version else 0.0
    return skipgram, cbow, classify


def _run_texts(Z, A, arguments, tree=None):
    indptr, rows, labels, order, rates = check_texts(Z, A, *arguments, tree)
    ends, ids, codes = tree or (np.array([0, len(A)]), np.arange(len(A), dtype=np.int32),
                                np.zeros(len(A), np.int8))
    classify = _blocks()[2]
    return sum(in_threads(lambda part: classify(
        tree is not None, Z, A, indptr, rows, labels, order, rates, ends, ids, codes,
        np.diff(ends).max(), *part), _parts(np.diff(indptr)[order]))), len(order)


def classifier_block(Z, A, indptr, rows, labels, order, rates):
    return _run_texts(Z, A, (indptr, rows, labels, order, rates))


def hierarchical_block(Z, N, indptr, rows, labels, order, rates, tree):
    return _run_texts(Z, N, (indptr, rows, labels, order, rates), tree)
