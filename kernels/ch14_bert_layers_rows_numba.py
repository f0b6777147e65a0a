"""Numba twin of primer/ch14_bert_layers.py, its loops: over the rows first..stop of a thread.

Idea    One pass where a row fits the cache.  GELU's Phi is 1 - exp(-x^2 / 2) times a polynomial
        (Abramowitz and Stegun 7.1.26, within 1e-7), which shares its exp with the density that
        backward needs; all goes by vectors.
Threads `share` is a thread's number: its row of `sums`.
Limits  float32 and float64 (math.erfc and math.exp there).
"""
import functools
import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from kernels import source_version
from kernels.ch14_bert_attention_tile_numba import PART, SUMS, _exp, _exp_sum, _largest

FAST = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**FAST)
def _add_bias(share, first, stop, Y, b):
    for i in range(first, stop):
        for k in range(b.size):
            Y[i, k] += b[k]


@njit(**FAST)
def _add_rows(share, first, stop, X, sums):
    own = sums[share, 0]
    for i in range(first, stop):
        for k in range(own.size):
            own[k] += X[i, k]


@njit(**FAST, fastmath=SUMS)
def _norm(share, first, stop, X, R, scale, shift, eps, normal, spreads, Y):
    """Rows of X + R (R: none, or as X) -> normal, spreads, Y."""
    d = scale.size
    one = X.dtype.type(1) / X.dtype.type(d)
    for i in range(first, stop):
        row, x = normal[i], X[i]
        mean = square = one - one
        if R.size:
            r = R[i]
            for k in range(d):
                row[k] = x[k] + r[k]
        else:
            for k in range(d):
                row[k] = x[k]
        for k in range(d):
            mean += row[k]
        mean *= one
        for k in range(d):
            row[k] -= mean
            square += row[k] * row[k]
        spreads[i] = math.sqrt(square * one + eps)
        inverse = X.dtype.type(1) / spreads[i]
        y = Y[i]
        for k in range(d):
            row[k] *= inverse
            y[k] = row[k] * scale[k] + shift[k]                        # eq. 14.10


@njit(**FAST, fastmath=SUMS)
def _norm_backward(share, first, stop, dY, normal, spreads, scale, dX, sums):
    d = scale.size
    one, dscale, dshift = dY.dtype.type(1) / dY.dtype.type(d), sums[share, 0], sums[share, 1]
    for i in range(first, stop):
        dy, row, dx = dY[i], normal[i], dX[i]
        mean = along = one - one
        for k in range(d):
            g = dy[k] * scale[k]
            mean += g
            along += g * row[k]
        mean, along, inverse = mean * one, along * one, dY.dtype.type(1) / spreads[i]
        for k in range(d):
            dx[k] = (dy[k] * scale[k] - mean - row[k] * along) * inverse
        for k in range(d):
            dscale[k] += dy[k] * row[k]
            dshift[k] += dy[k]


def _normal(x):
    """Phi(x) (14.11), and the normal's density there."""


@overload(_normal, jit_options={"error_model": "numpy", "fastmath": {"contract"}})
def _overload_normal(x):
    below = np.float32
    if x != types.float32:
        return lambda x: (math.erfc(x * -math.sqrt(0.5)) / 2,
                          math.exp(x * x / -2) / math.sqrt(2 * math.pi))

    def normal(x):
        e = _exp(x * x * below(-0.5))
        t = below(1) / (below(1) + below(0.3275911 * 0.70710678) * abs(x))
        tail = below(0.254829592 / 2) + t * (below(-0.284496736 / 2) + t * (
            below(1.421413741 / 2) + t * (below(-1.453152027 / 2) + t * below(1.061405429 / 2))))
        tail *= t * e
        return below(1) - tail if x > 0 else tail, e * below(0.39894228)
    return normal


@njit(**PART, fastmath={"contract"})
def _gelu(share, first, stop, X, b, Y):
    """Rows of X + b (b: of no number, or a row)."""
    for i in range(first, stop):
        x, y = X[i], Y[i]
        for k in range(x.size):
            z = x[k] + b[k]
            y[k] = z * _normal(z)[0]                                   # eq. 14.11


@njit(**PART, fastmath={"contract"})
def _gelu_backward(share, first, stop, X, b, dY, dX, sums):
    own = sums[share, 0]
    for i in range(first, stop):
        x, dy, dx = X[i], dY[i], dX[i]
        for k in range(x.size):
            z = x[k] + b[k]
            below, density = _normal(z)
            g = dy[k] * (below + z * density)
            dx[k] = g
            own[k] += g


@njit(**PART)
def _losses(share, first, stop, S, labels, tops, totals, losses):
    for i in range(first, stop):
        tops[i] = _largest(S[i])
        totals[i] = _exp_sum(S[i], tops[i])
        losses[i] = math.log(totals[i]) + (tops[i] - S[i, labels[i]])  # eq. 6.1


@njit(**PART, fastmath={"contract"})
def _losses_backward(share, first, stop, labels, tops, totals, each, dS):
    """dS where it has S: a loop over S and dS that are one would not go by vectors."""
    for i in range(first, stop):
        row, top, g = dS[i], tops[i], each[i] / totals[i]
        for j in range(row.size):
            row[j] = _exp(row[j] - top) * g
        row[labels[i]] -= each[i]                                      # eq. 6.4


@functools.cache
def _kernels():
    """Kept on disk under a checksum of the other file whose functions are in them."""
    version = source_version("ch14_bert_attention_tile_numba")

    @njit(nogil=True, cache=True)
    def gelu(*arguments):
        if version:
            _gelu(*arguments)

    @njit(nogil=True, cache=True)
    def gelu_backward(*arguments):
        if version:
            _gelu_backward(*arguments)

    @njit(nogil=True, cache=True)
    def losses(*arguments):
        if version:
            _losses(*arguments)

    @njit(nogil=True, cache=True)
    def losses_backward(*arguments):
        if version:
            _losses_backward(*arguments)
    return gelu, gelu_backward, losses, losses_backward


@njit(**FAST)
def _gather(share, first, stop, E, ids, X):
    for i in range(first, stop):
        for k in range(E.shape[1]):
            X[i, k] = E[ids[i], k]


@njit(**FAST)
def _scatter(share, first, stop, dX, ids, dE):
    """Columns first..stop of all rows.  Slices: an index from `first` on might be negative, and a
    loop that must look for that does not go by vectors."""
    for i in range(ids.size):
        own, row = dE[ids[i], first:stop], dX[i, first:stop]
        for k in range(row.size):
            own[k] += row[k]


@njit(**FAST, fastmath={"contract"})
def _adam(share, first, stop, X, G, M, V, kept1, kept2, rate, scale, eps, decay):
    """rate: r / (1 - b1^t), scale: 1 / sqrt(1 - b2^t), decay: times r; out of the loop."""
    x, g, m, v = X[first:stop], G[first:stop], M[first:stop], V[first:stop]       # as _scatter's
    for i in range(x.size):
        mean = m[i] + kept1 * (g[i] - m[i])
        square = v[i] + kept2 * (g[i] * g[i] - v[i])
        m[i], v[i] = mean, square
        x[i] -= rate * (mean / (np.sqrt(square) * scale + eps)) + decay * x[i]    # eq. 14.12
