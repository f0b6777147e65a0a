"""Numba twin of primer/ch15_contrastive.py: InfoNCE and its gradient, a strip of queries at a time.

Idea    a strip of R queries sees all m candidates at once, so that its softmax is whole: no running
        maximum, and of the n x m scores only R m are ever there.  Three products a strip (scores,
        dQ, dC), by BLAS; between them one pass for the largest score of a row and one for exp and
        sum (chapter 14's), over numbers that are still in the cache.  exp goes to the products as
        it is, less the row's sum where the positive stands: 1 / sum scales the d columns of a
        strip, not its m.
Threads BLAS's own in the products; between them each row of a strip belongs to one thread.  dC is
        added up strip after strip: the same arguments give the same bits with as many threads.
Limits  4 R m bytes for the scores, 4096 d for a part of dC; R m is near 1.5 2^20, R at least 16.
        Scores beyond 1e38 are infinite here, as in the reference; exp is at least e^-87.
"""
import functools
import math

import numpy as np
from numba import njit

from kernels import source_version, spread
from kernels.ch14_bert_attention_tile_numba import PART, _exp_row, _largest
from primer.ch15_contrastive import check_batch

AT_ONCE, LEAST = 3 << 19, 16                     # scores of a strip; queries, at least
ROWS = 1024                                      # rows of dC at a time


@njit(**PART)
def _exp_rows(share, first, stop, S, own, losses, sums):
    """Rows of scores become exp(s - largest), and their sums; ln sum exp - own score.  Of the own
    one, at own + i, the sum is taken: over the sum, a row is then p - [i = j]."""
    for i in range(first, stop):
        row, score = S[i], S[i, own + i]
        largest = _largest(row)
        sums[i] = _exp_row(row, largest)
        losses[i] = math.log(sums[i]) + (largest - score)
        row[own + i] -= sums[i]                                  # eq. 15.3


@functools.cache
def _kernel():
    """Kept on disk under a checksum of the other file whose functions are in it."""
    version = source_version("ch14_bert_attention_tile_numba")

    @njit(nogil=True, cache=True)
    def exp_rows(*arguments):
        if version:
            _exp_rows(*arguments)
    return exp_rows


def _copies(groups, n):
    """(i, j) of candidates that are no negatives of i, j not i -> two arrays, i rising."""
    order = np.argsort(groups, kind="stable")                    # (m,)
    first = np.searchsorted(groups[order], groups[:n])           # (n,)
    stop = np.searchsorted(groups[order], groups[:n], side="right")
    rows = np.repeat(np.arange(n), stop - first)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(stop - first) - stop, stop - first)
    found = order[places]
    return rows[found != rows], found[found != rows]


def _strips(Q, C, tau, groups, losses):
    """Yields first, last, dS times its rows' sums (r, m), these sums (r,); fills losses (n,)."""
    n, m = len(Q), len(C)
    height = min(n, max(LEAST, AT_ONCE // m))
    S, sums = np.empty((height, m), Q.dtype), np.empty(height, Q.dtype)
    rows, columns = _copies(groups, n)
    for first in range(0, n, height):
        last = min(first + height, n)
        part, here = S[:last - first], slice(*np.searchsorted(rows, (first, last)))
        np.matmul(Q[first:last] / Q.dtype.type(tau), C.T, out=part)                  # eq. 15.1
        part[rows[here] - first, columns[here]] = -np.inf
        spread(_kernel(), len(part), LEAST, part, first, losses[first:last], sums)
        yield first, last, part, sums[:last - first]


def info_nce(Q, C, tau, groups=None):
    Q, C, tau, groups = check_batch(Q, C, tau, groups)
    losses = np.empty(len(Q))                                    # (n,)
    for _ in _strips(Q, C, tau, groups, losses):
        pass
    return float(losses.mean())


def info_nce_grad(Q, C, tau, groups=None, g=1.0):
    Q, C, tau, groups = check_batch(Q, C, tau, groups)
    n, each = len(Q), Q.dtype.type(g / (len(Q) * tau))
    losses, dQ, dC, part = np.empty(n), np.empty_like(Q), np.zeros_like(C), np.empty_like(C[:ROWS])
    for first, last, dS, sums in _strips(Q, C, tau, groups, losses):
        shares = (each / sums)[:, None]                          # (r, 1)
        own = np.matmul(dS, C, out=dQ[first:last])               # (r, d)
        own *= shares
        shares = shares * Q[first:last]                          # (r, d)
        for j in range(0, len(C), ROWS):                         # of dC, while they are near
            few = part[:len(C) - j]
            dC[j:j + ROWS] += np.matmul(dS[:, j:j + ROWS].T, shares, out=few)        # (<= ROWS, d)
    return float(losses.mean()), dQ, dC
