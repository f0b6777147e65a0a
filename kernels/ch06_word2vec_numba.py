"""Numba twin of primer/ch06_word2vec.py: windows, and epochs with the full softmax.

Idea    windows: counted first, then written to their places, with no slice made per word.
        A step passes over U twice in place of five times, first for the scores, then for dL/dh and
        the step at once, and makes nothing of U's size.  U is kept transposed meanwhile, so that
        every inner loop runs over all V words at unit stride, whatever d is.
Threads one: each step needs the vectors that the step before has left.  The same arguments give
        the same bits on the same machine; the NumPy reference sums in another order, so the two
        agree to rounding, which grows along an epoch.
Limits  V scores and d sums beside the copies of W and U.  A step is O(V d): chapters 7 and 8.
"""
import numpy as np
from numba import njit

from primer.ch06_word2vec import (
    _rates,
    check_corpus,
    check_pairs,
    check_windows,
    share_mean,
)

SUMS = {"reassoc", "contract"}        # sums in any order, but NaN and infinity as ever


@njit(cache=True)
def _context_windows(tokens, starts, window):
    indptr = np.zeros(tokens.size + 1, np.int64)
    for i in range(starts.size - 1):
        first, stop = starts[i], starts[i + 1]
        for t in range(first, stop):
            low, high = max(t - window[t], first), min(t + window[t] + 1, stop)
            indptr[t + 1] = indptr[t] + high - low - 1
    contexts = np.empty(indptr[-1], np.int64)
    for i in range(starts.size - 1):
        first, stop = starts[i], starts[i + 1]
        for t in range(first, stop):
            at = indptr[t]
            for j in range(max(t - window[t], first), min(t + window[t] + 1, stop)):
                if j != t:
                    contexts[at] = tokens[j]
                    at += 1
    return indptr, contexts


def context_windows(tokens, starts, window):
    return _context_windows(*check_corpus(tokens, starts, window))


def skipgram_pairs(tokens, starts, window):
    indptr, contexts = context_windows(tokens, starts, window)
    return np.repeat(np.asarray(tokens, np.int64), np.diff(indptr)), contexts


def cbow_windows(tokens, starts, window):
    indptr, contexts = context_windows(tokens, starts, window)
    some = np.diff(indptr) > 0                                         # (T,)
    return np.asarray(tokens, np.int64)[some], np.append(0, indptr[1:][some]), contexts


@njit(cache=True, fastmath=SUMS)
def _step(h, C, word, rate, scores, dh):
    """One step of C = U^T for one prediction; dL/dh, from C before its step, into dh -> loss."""
    scores[:] = 0
    for k in range(h.size):
        x, row = h[k], C[k]
        for j in range(scores.size):
            scores[j] += row[j] * x                      # eq. 6.1
    largest, own, total = scores[0], scores[word], 0.0
    for s in scores:
        largest = max(largest, s)
    for j in range(scores.size):
        scores[j] = np.exp(scores[j] - largest)
        total += scores[j]
    for j in range(scores.size):
        scores[j] /= total
    scores[word] -= 1                                    # eq. 6.4
    for k in range(h.size):
        move, x, row = rate * h[k], scores[0] * 0, C[k]
        for j in range(scores.size):
            x += scores[j] * row[j]                      # eq. 6.5
            row[j] -= move * scores[j]                   # eq. 6.6
        dh[k] = x
    return largest - own + np.log(total)


@njit(cache=True, fastmath=SUMS)
def _skipgram_epoch(W, C, centres, contexts, rates, losses):
    scores, dh, h = np.empty_like(C[0]), np.empty_like(W[0]), np.empty_like(W[0])
    for i in range(centres.size):
        v = centres[i]
        h[:] = W[v]
        losses[i] = _step(h, C, contexts[i], rates[i], scores, dh)
        for k in range(dh.size):
            W[v, k] -= rates[i] * dh[k]


def skipgram_epoch(W, U, centres, contexts, rates):
    W, U, centres, contexts = check_pairs(W, U, centres, contexts)
    W, C, losses = W.copy(), U.T.copy(), np.empty(len(centres))        # (V, d), (d, V), (pairs,)
    _skipgram_epoch(W, C, centres, contexts, _rates(rates, len(centres), W), losses)
    return W, C.T.copy(), losses


@njit(cache=True, fastmath=SUMS)
def _cbow_epoch(W, C, targets, indptr, contexts, rates, each, losses):
    scores, dh, h = np.empty_like(C[0]), np.empty_like(W[0]), np.empty_like(W[0])
    for i in range(targets.size):
        h[:] = 0
        for p in range(indptr[i], indptr[i + 1]):
            for k in range(h.size):
                h[k] += W[contexts[p], k]
        h *= each[i]
        losses[i] = _step(h, C, targets[i], rates[i], scores, dh)
        dh *= rates[i] * each[i]
        for p in range(indptr[i], indptr[i + 1]):
            for k in range(dh.size):
                W[contexts[p], k] -= dh[k]


def cbow_epoch(W, U, targets, indptr, contexts, rates, share=share_mean):
    W, U, targets, indptr, contexts = check_windows(W, U, targets, indptr, contexts)
    W, C, losses = W.copy(), U.T.copy(), np.empty(len(targets))        # (V, d), (d, V), (n,)
    _cbow_epoch(W, C, targets, indptr, contexts, _rates(rates, len(targets), W),
                share(indptr).astype(W.dtype), losses)
    return W, C.T.copy(), losses
