"""Numba twin of primer/ch15_contrastive.py: InfoNCE and its gradient, a strip of queries at a time.

Idea    a strip of R queries sees all m candidates at once, so that its softmax is whole: no second
        pass, no running maximum, and of the n x m scores only R m are ever there.  Three products
        a strip (scores, dQ, dC), by BLAS; between them one pass for the largest score of a row and
        one for exp and sum, over numbers that are still in the cache.  exp goes to the products as
        it is: 1 / sum scales the d columns of a strip, not its m.  float32 has an exp of its own,
        a polynomial that LLVM vectorises; libm's is called number by number.
Threads BLAS's own in the products; between them each row of a strip belongs to one thread.  dC is
        added up strip after strip: the same arguments give the same bits with as many threads.
Limits  4 R m bytes for the scores, 4096 d for a part of dC; R m is near 2^21, R at least 16.
        Scores beyond 1e38 are infinite here, as in the reference.
"""
import numpy as np
from numba import njit

from kernels import spread
from primer.ch15_contrastive import check_batch

AT_ONCE, LEAST = 1 << 21, 16                     # scores of a strip; queries, at least
CHUNK, ROWS = 512, 1024                          # scores at a time; rows of dC
LOG2E, HALF, BIAS, ONE = (np.float32(x) for x in (1.4426950408889634, 0.5, 127, 1))
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
LOWEST, BITS = np.float32(-88), np.float32(1 << 23)
C2, C3, C4, C5, C6 = (np.float32(1 / x) for x in (2, 6, 24, 120, 720))


@njit(cache=True)
def _largest(row, lanes):
    """Of a row; the comparisons side by side, so that no order of them has to be given up."""
    width, m = lanes.size, row.size
    lanes[:] = row[0]
    for j in range(0, m - width + 1, width):
        part = row[j:j + width]
        for k in range(width):
            lanes[k] = part[k] if part[k] > lanes[k] else lanes[k]
    largest = row[0]
    for k in range(width):
        largest = lanes[k] if lanes[k] > largest else largest
    for j in range(m - m % width, m):
        largest = row[j] if row[j] > largest else largest
    return largest


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _powers(row, largest, bits):
    """row becomes exp(row - largest) / 2^k, and bits the number 2^k, 0 below e^-88."""
    for j in range(row.size):
        x = row[j] - largest
        x = x if x > LOWEST else LOWEST
        k = np.floor(x * LOG2E + HALF)
        r = (x - k * LN2_HIGH) - k * LN2_LOW
        row[j] = ONE + r * (ONE + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * C6)))))
        bits[j] = np.int32((k + BIAS) * BITS)


@njit(cache=True, fastmath={"reassoc", "contract"})
def _times(row, powers):
    total = row[0] * 0
    for j in range(row.size):
        row[j] *= powers[j]
        total += row[j]
    return total


@njit(cache=True, nogil=True)
def _exp_rows_f32(share, first, stop, S, own, losses, sums):
    """Rows of scores become exp(s - largest); ln sum exp - own score of each, and the sums."""
    for i in range(first, stop):
        row, total = S[i], 0.0
        lanes, bits = np.empty(32, np.float32), np.empty(CHUNK, np.int32)
        largest, powers = _largest(row, lanes), bits.view(np.float32)
        for j in range(0, row.size, CHUNK):
            part = row[j:j + CHUNK]
            _powers(part, largest, bits)
            total += _times(part, powers)
        sums[i], losses[i] = total, np.log(total) + largest - own[i]


@njit(cache=True, nogil=True)
def _exp_rows_f64(share, first, stop, S, own, losses, sums):
    for i in range(first, stop):
        row, total = S[i], 0.0
        largest = _largest(row, np.empty(32, np.float64))
        for j in range(row.size):
            row[j] = np.exp(row[j] - largest)
            total += row[j]
        sums[i], losses[i] = total, np.log(total) + largest - own[i]


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
    """Yields first, last, exp of the strip's scores (r, m), their sums (r,); fills losses (n,)."""
    n, m = len(Q), len(C)
    height = min(n, max(LEAST, AT_ONCE // m))
    S, sums = np.empty((height, m), Q.dtype), np.empty(height, Q.dtype)
    rows, columns = _copies(groups, n)
    exp_rows = _exp_rows_f32 if Q.dtype == np.float32 else _exp_rows_f64
    for first in range(0, n, height):
        last = min(first + height, n)
        part, here = S[:last - first], slice(*np.searchsorted(rows, (first, last)))
        np.matmul(Q[first:last] / Q.dtype.type(tau), C.T, out=part)                  # eq. 15.1
        part[rows[here] - first, columns[here]] = -np.inf
        own = np.diagonal(part, first).copy()                    # (r,)
        spread(exp_rows, len(part), LEAST, part, own, losses[first:last], sums)
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
    for first, last, E, sums in _strips(Q, C, tau, groups, losses):
        shares = (each / sums)[:, None]                          # (r, 1)
        own = np.matmul(E, C, out=dQ[first:last])                # (r, d)
        own *= shares
        own -= each * C[first:last]                              # eq. 15.3
        dC[first:last] -= each * Q[first:last]
        shares = shares * Q[first:last]                          # (r, d)
        for j in range(0, len(C), ROWS):                         # of dC, while they are near
            few = part[:len(C) - j]
            dC[j:j + ROWS] += np.matmul(E[:, j:j + ROWS].T, shares, out=few)         # (<= ROWS, d)
    return float(losses.mean()), dQ, dC
