"""Numba twin of primer/ch13_elmo.py: an LSTM layer and back, the softmax's loss, sums over rows.

Idea    BLAS does the products: x W of all words at once, h U a step at a time, and what is summed
        over time (dW, dU, dX) once in the end.  In between all four gates, the cell and the state
        are one pass over a row that stays in the nearest cache, with tanh as chapter 7's continued
        fraction; the gates are written over z.  The softmax never holds all n V scores: a block of
        rows at a time becomes probabilities and then errors where it lies, with exp as a polynomial
        and a power of two, while dA adds up.  AdaGrad reads and writes each array once.
Threads BLAS has its own.  Rows of the softmax, and pieces of an array in AdaGrad, are shared out;
        each thread writes its own alone, and a sum over threads has a fixed order, so the same
        arguments and number of threads give the same bits.  A step of the LSTM is too short to
        share: one thread.
Limits  float32 within 1e-6 of the exact gates and probabilities, float64 exact; a block holds
        ROOM numbers.
"""
import numba
import numpy as np
from numba import njit

from kernels import spread
from primer.ch13_elmo import check_layer, last_states
from primer.ch13_elmo_training import check_step

FAST = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}
ROOM = 1 << 22                        # scores of a block of the softmax
LEAST = 1 << 15                       # numbers: fewer are not worth a second thread


@njit(**FAST)
def _squash(x, half):
    """tanh of each of x, or, with half = 1/2, sigma(x) = (1 + tanh(x / 2)) / 2, in place.
    In float32, with t = tanh(y) = p / q, tanh(2 y) = 2 t / (1 + t^2)."""
    if x.itemsize == 8:
        for k in range(x.size):
            x[k] = np.tanh(half * x[k]) * half + (1 - half)
        return
    F = np.float32
    add, scale, quarter = F(1) - half, F(2) * half, half * F(0.5)
    for k in range(x.size):
        y = max(min(quarter * x[k], F(4.2)), F(-4.2))
        z = y * y
        p = y * (F(135135) + z * (F(17325) + z * (F(378) + z)))
        q = F(135135) + z * (F(62370) + z * (F(3150) + z * F(28)))
        x[k] = scale * (p * q) / (p * p + q * q) + add


@njit(**FAST)
def _gates(Z, more, before, lengths, t, C, H):
    """A step (13.1, 13.2) from Z (B, 4 d) and h U: Z becomes the gates, C and H the cells and
    states; rows of sequences that are over become 0."""
    B, d = H.shape
    half, whole = Z.dtype.type(0.5), Z.dtype.type(1)
    for b in range(B):
        z, c, h = Z[b], C[b], H[b]
        if t >= lengths[b]:
            z[:], c[:], h[:] = 0, 0, 0
            continue
        own, old = more[b], before[b]
        for k in range(4 * d):
            z[k] += own[k]
        i, f, g, o = z[:d], z[d:2 * d], z[2 * d:3 * d], z[3 * d:]
        _squash(z[:2 * d], half)
        _squash(g, whole)
        _squash(o, half)
        for k in range(d):
            c[k] = f[k] * old[k] + i[k] * g[k]               # eq. 13.2
        for k in range(d):
            h[k] = c[k]
        _squash(h, whole)
        for k in range(d):
            h[k] *= o[k]


@njit(**FAST)
def _gates_backward(dH, dh, dc, before, C, G, dZ):
    """A step back (13.3); dc becomes that of the step before.  Where gates are 0, all becomes 0."""
    B, d = dc.shape
    up, tanh, one = np.empty(d, C.dtype), np.empty(d, C.dtype), C.dtype.type(1)
    for b in range(B):
        own, other, old, cell, out, z = dH[b], dh[b], before[b], C[b], dc[b], dZ[b]
        i, f, g, o = G[b, :d], G[b, d:2 * d], G[b, 2 * d:3 * d], G[b, 3 * d:]
        zi, zf, zg, zo = z[:d], z[d:2 * d], z[2 * d:3 * d], z[3 * d:]
        for k in range(d):
            tanh[k] = cell[k]
            up[k] = own[k] + other[k]
        _squash(tanh, one)
        for k in range(d):
            out[k] += up[k] * o[k] * (one - tanh[k] * tanh[k])
        for k in range(d):
            zo[k] = up[k] * tanh[k] * o[k] * (one - o[k])
        for k in range(d):
            zi[k] = out[k] * g[k] * i[k] * (one - i[k])
        for k in range(d):
            zg[k] = out[k] * i[k] * (one - g[k] * g[k])
        for k in range(d):
            zf[k] = out[k] * old[k] * f[k] * (one - f[k])
        for k in range(d):
            out[k] *= f[k]


def lstm(X, lengths, W, U, b, state=None):
    lengths, h, c = check_layer(X, lengths, W, U, b, state)
    (T, B, k), d = X.shape, len(U)
    G = np.matmul(X.reshape(-1, k), W).reshape(T, B, 4 * d)            # (T, B, 4 d)
    G += b
    H, C, more = np.empty((T, B, d), X.dtype), np.empty((T, B, d), X.dtype), np.empty_like(G[0])
    U, h, c = (np.ascontiguousarray(x) for x in (U, h, c))
    for t in range(T):
        np.matmul(H[t - 1] if t else h, U, out=more)
        _gates(G[t], more, C[t - 1] if t else c, lengths, t, C[t], H[t])
    return H, last_states(H, C, lengths, (h, c)), (X, lengths, W, U, h, c, H, C, G)


def lstm_backward(dH, cache):
    X, _, W, U, h, c, H, C, G = cache
    dH, back = np.ascontiguousarray(dH, X.dtype), np.ascontiguousarray(U.T)       # (4 d, d)
    dZ, dh, dc = np.empty_like(G), np.zeros_like(h), np.zeros_like(c)  # (T, B, 4 d), (B, d) twice
    for t in reversed(range(len(X))):
        _gates_backward(dH[t], dh, dc, C[t - 1] if t else c, C[t], G[t], dZ[t])
        np.matmul(dZ[t], back, out=dh)
    rows = dZ.reshape(-1, dZ.shape[2])                                 # (T B, 4 d)
    before = np.concatenate([h[None], H[:-1]]).reshape(-1, len(U))     # (T B, d)
    return (np.matmul(rows, W.T).reshape(X.shape), np.matmul(X.reshape(len(rows), -1).T, rows),
            np.matmul(before.T, rows), np.matmul(np.ones(len(rows), rows.dtype), rows), dh, dc)


@njit(**FAST)
def _largest(s, a, lanes):
    """a is added to s; the largest of the sums.  Lanes in turn: one would wait for itself."""
    whole = s.size - s.size % lanes.size
    lanes[:] = s[0] + a[0]
    for at in range(0, whole, lanes.size):
        own, other = s[at:at + lanes.size], a[at:at + lanes.size]
        for k in range(lanes.size):
            x = own[k] + other[k]
            own[k] = x
            lanes[k] = x if x > lanes[k] else lanes[k]
    most = lanes[0]
    for k in range(lanes.size):
        most = max(most, lanes[k])
    for j in range(whole, s.size):
        s[j] += a[j]
        most = max(most, s[j])
    return most


@njit(**FAST)
def _exponentials(s, most):
    """e^(s - most), in place, and their sum: in float32 2^(n + r) = 2^n 2^r with |r| <= 1/2."""
    total = s[0] - s[0]
    if s.itemsize == 8:
        for j in range(s.size):
            s[j] = np.exp(s[j] - most)
            total += s[j]
        return total
    F = np.float32
    for j in range(s.size):
        x = s[j] - most
        y = (F(-87) if x < F(-87) else x) * F(1.4426950408889634)        # NaN stays
        n = np.floor(y + F(0.5))
        r = y - n
        p = F(1) + r * (F(0.693147182) + r * (F(0.240226463) + r * (F(0.0555032887) + r * (
            F(0.00961817) + r * (F(0.00133336) + r * F(0.000154035))))))
        p *= np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(F)
        s[j] = p
        total += p
    return total


@njit(**FAST)
def _softmax_rows(share, first, stop, S, a, words, g, losses, sums):
    """Scores of rows first..stop -> their losses; S becomes g (p - 1 of the word), the thread's
    row of sums its sum."""
    lanes, da = np.empty(32, S.dtype), sums[share]
    for i in range(first, stop):
        s, w = S[i], words[i]
        most = _largest(s, a, lanes)
        own = s[w]
        total = _exponentials(s, most)
        losses[i] = most - own + np.log(total)
        each = g / total
        for j in range(s.size):
            s[j] *= each
        s[w] -= g
        for j in range(s.size):
            da[j] += s[j]


def softmax_loss_grad(H, A, a, words, g=1.0):
    n, V, words = len(H), len(A), np.asarray(words)
    rows, kind = max(1, min(ROOM // V, n)), H.dtype.type
    losses, dH, dA = np.empty(n, H.dtype), np.empty_like(H), np.zeros_like(A)     # (n,), (n, d) ...
    room, more = np.empty((rows, V), H.dtype), np.empty_like(A)        # (rows, V), (V, d)
    sums = np.zeros((numba.get_num_threads(), V), H.dtype)             # (threads, V)
    for at in range(0, n, rows):
        part = H[at:at + rows]
        S = np.matmul(part, A.T, out=room[:len(part)])                 # (rows, V)
        spread(_softmax_rows, len(part), 1 + LEAST // V, S, a, words[at:at + rows], kind(g),
               losses[at:at + rows], sums)
        np.matmul(S, A, out=dH[at:at + rows])
        dA = np.matmul(S.T, part, out=dA) if not at else np.add(
            dA, np.matmul(S.T, part, out=more), out=dA)
    return losses, dH, dA, sums.sum(axis=0)


@njit(**FAST)
def _scatter_add(dX, ids, dE):
    for i in range(ids.size):
        row, x = dE[ids[i]], dX[i]
        for k in range(row.size):
            row[k] += x[k]


def scatter_add(dX, ids, V):
    dE, d = np.zeros((V, dX.shape[-1]), dX.dtype), dX.shape[-1]        # (V, d)
    _scatter_add(np.ascontiguousarray(dX).reshape(-1, d), np.ravel(ids), dE)
    return dE


@njit(**FAST)
def _adagrad(share, first, stop, X, dX, S, rate, factor):
    """Slices: an index from `first` on might be negative, and a loop that must look for that does
    not go by vectors."""
    x, dx, s = X[first:stop], dX[first:stop], S[first:stop]
    for k in range(x.size):
        q = factor * dx[k]
        square = s[k] + q * q
        s[k] = square
        x[k] -= rate * q / np.sqrt(square)                             # eq. 13.6


def adagrad(x, dx, S, rate, factor=1.0):
    check_step(x, dx, S, rate)
    kind = x.dtype.type
    flat = [array.reshape(-1) for array in (x, dx, S)]                 # views: they are contiguous
    spread(_adagrad, x.size, LEAST, *flat, kind(rate), kind(factor))
