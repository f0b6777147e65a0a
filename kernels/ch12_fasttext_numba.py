"""Numba twin of primer/ch12_fasttext.py: means, steps of both trainers and the classifier.

Idea    A word's rows are gathered once, as the window reaches it, and moved once, as it leaves;
        fastText does both for each pair.  In between its mean is in the nearest cache, and a place
        is chapter 8's three small matrix products: scores four at a time, sums of three rows at a
        time.  The rows of U of the place after the next are asked for ahead (a prefetch).  The
        losses of a prediction are the logarithm of one product.
Threads documents, or texts, are shared out.  Rows of Z, U and A are read and written without locks
        (Hogwild): with one thread the same arguments give the same bits, with several they do not,
        since a thread may lose what another has just written.  Means have no race.
Limits  No quantised matrices.  2,000,000 buckets of 100 float32 numbers are 800 MB, and a place
        touches some 20 of these rows at random: that is almost half of the time.
"""
from itertools import pairwise

import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from kernels.ch07_hierarchical_softmax_numba import _prefetch
from kernels.ch12_fasttext_rows_numba import subword_rows, text_rows  # noqa: F401
from primer.ch12_fasttext import check_block, check_texts

FAST = {"nogil": True, "cache": True, "error_model": "numpy",           # NaN as ever
        "fastmath": {"reassoc", "contract"}}


@njit(**FAST)
def _descend(X, x, Z, rows, first, stop, weights, at, step):
    """X[x] -= rows of Z, three at a time, times weights[at], weights[at + step] ...: their sum."""
    last = stop - (stop - first) % 3
    for p in range(first, last, 3):
        a, b, c, u = rows[p], rows[p + 1], rows[p + 2], weights[at]
        v, w = weights[at + step], weights[at + 2 * step]
        for k in range(X.shape[1]):
            X[x, k] -= u * Z[a, k] + v * Z[b, k] + w * Z[c, k]
        at += 3 * step
    for p in range(last, stop):
        a, u = rows[p], weights[at]
        for k in range(X.shape[1]):
            X[x, k] -= u * Z[a, k]
        at += step


@njit(**FAST)
def _mean(Z, rows, first, stop, share, H, i):                          # eq. 12.3
    share[0] = -1 / max(stop - first, 1)
    for k in range(H.shape[1]):
        H[i, k] = 0
    _descend(H, i, Z, rows, first, stop, share, 0, 0)


@njit(**FAST)
def _follow(Z, rows, first, stop, share, old, H, i):
    """Rows of Z move as H[i] has since old[i], times a share."""
    for k in range(H.shape[1]):
        old[i, k] = share * (H[i, k] - old[i, k])
    for p in range(first, stop):
        a = rows[p]
        for k in range(H.shape[1]):
            Z[a, k] += old[i, k]


@njit(**FAST)
def _scores(H, near, m, C, U, ids, first, stop, S, wide):
    """m rows of H, copied to C; <h, u> for some of U -> S, flat, `wide` a row; four at a time."""
    for i in range(m):
        p = near[i]
        for k in range(H.shape[1]):
            C[p, k] = H[p, k]
    for i in range(0, m, 2):
        p, q = near[i], near[min(i + 1, m - 1)]          # an odd one is taken twice
        for j in range(first, stop, 2):
            a, b, e = ids[j], ids[min(j + 1, stop - 1)], i * wide + j - first
            s = t = u = v = S.dtype.type(0)
            for k in range(H.shape[1]):
                s += C[p, k] * U[a, k]
                t += C[p, k] * U[b, k]
                u += C[q, k] * U[a, k]
                v += C[q, k] * U[b, k]
            S[e], S[e + 1], S[e + wide], S[e + wide + 1] = s, t, u, v


@njit(**FAST)
def _steps(H, near, m, C, U, ids, first, stop, S, wide, rate):
    """From S, dL/ds, and C, the old rows of H: these rows move, then those of U (8.6)."""
    for e in range(m * wide):
        S[e] *= rate
    for i in range(m):
        _descend(H, near[i], U, ids, first, stop, S, i * wide, 1)
    for j in range(first, stop):
        _descend(U, ids[j], C, near, 0, m, S, j - first, wide)


@njit(**FAST)
def _mean_rows(Z, indptr, rows, H, first, stop):
    share = np.empty(1, Z.dtype)
    for i in range(first, stop):
        _mean(Z, rows, indptr[i], indptr[i + 1], share, H, i)


def mean_rows(Z, indptr, rows):
    if not isinstance(Z, np.ndarray):
        raise TypeError("Z: expected an array; quantised matrices are for the reference")
    indptr, rows = np.asarray(indptr, np.int64), np.asarray(rows)
    H = np.empty((len(indptr) - 1, Z.shape[1]), Z.dtype)               # (n, d)
    in_threads(lambda part: _mean_rows(Z, indptr, rows, H, *part), _parts(np.diff(indptr)))
    return H


def _parts(sizes):
    return [*pairwise(shares(sizes, numba.get_num_threads()))] if len(sizes) else [(0, 0)]


@njit(**FAST)
def _logistic_loss(S, signs, first, stop, m, wide):
    """(12.4), (7.3) from m rows of scores S, which become dL/ds; signs: below 0 for what is right.
    """
    one, loss, product = S.dtype.type(1), 0.0, 1.0
    for i in range(m):
        for j in range(first, stop):
            q = i * wide + j - first
            s, right = S[q], signs[j] < 0
            e = np.exp(-abs(s))
            product *= 1 + e
            loss += max(-s if right else s, 0)
            S[q] = (one if s >= 0 else e) / (one + e) - (one if right else 0)
        loss += np.log(product)
        product = 1.0
    return loss


@njit(**FAST)
def _ask(X, row):
    for k in range(0, X.shape[1], 16):                   # 64 bytes of float32
        _prefetch(X, row, k)


@njit(**FAST)
def _words(U, tokens, negatives, t, ids):
    """The word of place t, then its noise but for that word itself -> ids; how many."""
    if t + 2 < tokens.size:
        _ask(U, tokens[t + 2])
        for k in range(negatives.shape[1]):
            _ask(U, negatives[t + 2, k])
    ids[0], size = tokens[t], 1
    for k in range(negatives.shape[1]):
        ids[size] = negatives[t, k]
        size += ids[size] != ids[0]
    return size


@njit(**FAST)
def _place(H, near, m, C, U, ids, size, signs, rate, S):
    """Rows near[:m] of H predict ids[0] against the rest, and step (8.6); their old ones -> C."""
    _scores(H, near, m, C, U, ids, 0, size, S, ids.size)
    loss = _logistic_loss(S, signs, 0, size, m, ids.size)
    _steps(H, near, m, C, U, ids, 0, size, S, ids.size, rate)
    return loss


@njit(**FAST)
def _skipgram(Z, U, tokens, starts, windows, rates, negatives, indptr, rows, longest, reach,
              first_document, stop_document):
    K, d, ring, loss, predictions = negatives.shape[1], U.shape[1], 2 * reach + 1, 0.0, 0
    tables = np.empty((3, ring, d), Z.dtype)
    H, old, C = tables[0], tables[1], tables[2]
    near, ids = np.empty(ring, np.int64), np.empty(K + 2, np.int64)
    S, share, signs = np.zeros((ring + 1) * ids.size, Z.dtype), np.empty(1, Z.dtype), np.ones(K + 1)
    signs[0], one = -1, Z.dtype.type(1)
    for i in range(first_document, stop_document):
        for t in range(starts[i] - reach, starts[i + 1] + reach):
            new, last = t + reach, t - reach
            if new < starts[i + 1]:                      # its word comes into reach
                w, a = tokens[new], new % ring
                _mean(Z, rows, indptr[w], indptr[w + 1], share, H, a)
                for k in range(d):
                    old[a, k] = H[a, k]
            if starts[i] <= t < starts[i + 1]:
                m = 0
                for j in range(max(t - windows[t], starts[i]),
                               min(t + windows[t] + 1, starts[i + 1])):
                    near[m] = j % ring
                    m += j != t
                size = _words(U, tokens, negatives, t, ids)
                loss += _place(H, near, m, C, U, ids, size, signs, rates[t], S)
                predictions += m
            if last >= starts[i]:                        # none to come reaches this word
                w, a = tokens[last], last % ring
                _follow(Z, rows, indptr[w], indptr[w + 1], one, old, H, a)
    return loss, predictions


@njit(**FAST)
def _cbow(Z, U, tokens, starts, windows, rates, negatives, indptr, rows, longest, reach,
          first_document, stop_document):
    K, share, only, loss, predictions = (negatives.shape[1], np.empty(1, Z.dtype),
                                         np.zeros(1, np.int64), 0.0, 0)
    h, old, ids = np.empty_like(Z[:1]), np.empty_like(Z[:1]), np.empty(K + 2, np.int64)
    S, signs, own = (np.zeros(2 * ids.size, Z.dtype), np.ones(K + 1),
                     np.empty(longest * 2 * reach, np.int32))
    signs[0], one = -1, Z.dtype.type(1)
    for i in range(first_document, stop_document):
        for t in range(starts[i], starts[i + 1]):
            total = 0
            for j in range(max(t - windows[t], starts[i]), min(t + windows[t] + 1, starts[i + 1])):
                if j != t:
                    for p in range(indptr[tokens[j]], indptr[tokens[j] + 1]):
                        own[total] = rows[p]
                        total += 1
            if total == 0:
                continue
            _mean(Z, own, 0, total, share, h, 0)
            size = _words(U, tokens, negatives, t, ids)
            loss += _place(h, only, 1, old, U, ids, size, signs, rates[t], S)
            _follow(Z, own, 0, total, one, old, h, 0)
            predictions += 1
    return loss, predictions


def _run(block, Z, U, *arguments):
    tokens, starts, windows, *more, (indptr, rows) = check_block(Z, U, *arguments)
    reach = int(min(windows.max(initial=1), np.diff(starts).max(initial=1)))
    done = in_threads(lambda part: block(
        Z, U, tokens, starts, np.minimum(windows, reach), *more, indptr, rows,
        int(np.diff(indptr).max()), reach, *part), _parts(np.diff(starts)))
    return sum(d[0] for d in done), sum(d[1] for d in done)


def skipgram_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _run(_skipgram, Z, U, tokens, starts, windows, rates, negatives, ngrams)


def cbow_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _run(_cbow, Z, U, tokens, starts, windows, rates, negatives, ngrams)


@njit(**FAST)
def _softmax_loss(S, L, label):
    """-ln p(label) of scores S (12.6), which become dL/ds."""
    largest, own, total = S[0], S[label], 0.0
    for j in range(L):
        largest = max(largest, S[j])
    for j in range(L):
        S[j] = np.exp(S[j] - largest)
        total += S[j]
    for j in range(L):
        S[j] /= total
    S[label] -= 1
    return largest - own + np.log(total)


@njit(**FAST)
def _classify(Z, A, indptr, rows, labels, order, rates, ends, ids, turns, longest, low, high):
    """A tree's paths in ends, ids, turns; without a tree one path, of all labels; no turns."""
    h, old, wide = np.empty_like(Z[:1]), np.empty_like(Z[:1]), longest + 1
    S, share, only, loss = (np.zeros(2 * wide, Z.dtype), np.empty(1, Z.dtype),
                            np.zeros(1, np.int64), 0.0)
    for i in range(low, high):
        label, first, stop = labels[order[i]], indptr[order[i]], indptr[order[i] + 1]
        a, b = (ends[label], ends[label + 1]) if turns.size else (0, ids.size)
        _mean(Z, rows, first, stop, share, h, 0)
        _scores(h, only, 1, old, A, ids, a, b, S, wide)
        if turns.size:
            loss += _logistic_loss(S, turns, a, b, 1, wide)
        else:
            loss += _softmax_loss(S, b, label)
        _steps(h, only, 1, old, A, ids, a, b, S, wide, rates[i])
        _follow(Z, rows, first, stop, Z.dtype.type(1 / (stop - first)), old, h, 0)
    return loss


def _run_texts(Z, A, arguments, tree=None):
    indptr, rows, labels, order, rates = check_texts(Z, A, *arguments, tree)
    ends, ids, turns = tree or (np.array([0, len(A)]), np.arange(len(A), dtype=np.int32), [])
    turns = (2 * np.asarray(turns) - 1).astype(Z.dtype)                # -1 where the code is 0
    return sum(in_threads(lambda part: _classify(
        Z, A, indptr, rows, labels, order, rates, ends, ids, turns, int(np.diff(ends).max()),
        *part), _parts(np.diff(indptr)[order]))), len(order)


def classifier_block(Z, A, indptr, rows, labels, order, rates):
    return _run_texts(Z, A, (indptr, rows, labels, order, rates))


def hierarchical_block(Z, N, indptr, rows, labels, order, rates, tree):
    return _run_texts(Z, N, (indptr, rows, labels, order, rates), tree)
