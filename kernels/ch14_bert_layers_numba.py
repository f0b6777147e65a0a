"""Numba twin of primer/ch14_bert_layers.py: what lies between the matrix products.

Idea    BLAS does the products; between them the time is lost to memory: each function here reads
        its inputs once and writes its results once, with bias, residual, norm and sums over rows in
        the same pass.  Cross-entropy keeps two numbers of a row, and may write dS where S was.  The
        loops are in ch14_bert_layers_rows_numba.py.
Threads each has a run of rows, which it alone writes, and sums over rows of its own, added at the
        end; scatter_add: of columns.  So results depend on the number of threads by rounding only.
Limits  float32 and float64.  Dropout is NumPy's, the chapter's own: its time is drawing.
"""
import numba
import numpy as np

from kernels import spread
from kernels.ch14_bert_attention_numba import (  # noqa: F401  what is used of layers is here
    attention,
    attention_backward,
    self_attention,
    self_attention_backward,
)
from kernels.ch14_bert_layers_rows_numba import (
    _adam,
    _add_bias,
    _add_rows,
    _gather,
    _kernels,
    _norm,
    _norm_backward,
    _scatter,
)
from primer.ch01_geometry import as_labels as _as_labels
from primer.ch14_bert_layers import adam_state, clip_norm, dropout, dropout_backward  # noqa: F401
from primer.ch14_bert_layers import both_passes as _both_passes
from primer.ch14_bert_layers import each_update as _each_update
from primer.ch14_bert_layers import rows_of as _rows_of

LEAST = 1 << 20                       # numbers: fewer are not worth a second thread


def _spread(kernel, X, *arguments):
    """Rows of X, to threads."""
    spread(kernel, len(X), 1 + LEAST // X.shape[1], *arguments)


def _sums(d, dtype, k=1):
    """Where each thread adds up its rows -> (threads, k, d) zeros."""
    return np.zeros((numba.get_num_threads(), k, d), dtype)


def linear(X, W, b=None):
    if X.shape[-1] != len(W):
        raise ValueError(f"X: expected rows of length {len(W)}, got {X.shape[-1]}")
    Y = _rows_of(X) @ W                                                # (n, out)
    if b is not None:
        _spread(_add_bias, Y, Y, b)
    return Y.reshape(*X.shape[:-1], W.shape[1]), (X, W, b)


def linear_backward(dY, cache):
    X, W, b = cache
    rows, db = np.ascontiguousarray(_rows_of(dY)), None                # (n, out)
    if b is not None:
        sums = _sums(len(b), rows.dtype)
        _spread(_add_rows, rows, rows, sums)
        db = sums.sum(axis=(0, 1))                                     # (out,)
    turned = W.flags.f_contiguous and not W.flags.c_contiguous         # tied: W = E^T, so dE = dW^T
    dW = (rows.T @ _rows_of(X)).T if turned else _rows_of(X).T @ rows  # (d, out), as W lies
    return (rows @ W.T).reshape(X.shape), dW, db


def _any_norm(X, R, scale, shift, eps):
    rows, dtype = np.ascontiguousarray(_rows_of(X)), X.dtype
    other = np.empty((0, 0), dtype) if R is None else np.ascontiguousarray(_rows_of(R))
    normal, spreads, Y = np.empty_like(rows), np.empty(len(rows), dtype), np.empty_like(rows)
    _spread(_norm, rows, rows, other, scale, shift, dtype.type(eps), normal, spreads, Y)
    return Y.reshape(X.shape), (normal, spreads, scale)


def layer_norm(X, scale, shift, eps=1e-12):
    return _any_norm(X, None, scale, shift, eps)


def add_layer_norm(X, R, scale, shift, eps=1e-12):
    if X.shape != R.shape:
        raise ValueError(f"R: expected shape {X.shape} as X, got {R.shape}")
    return _any_norm(X, R, scale, shift, eps)


def layer_norm_backward(dY, cache):
    normal, spreads, scale = cache
    rows = np.ascontiguousarray(_rows_of(dY))                          # (n, d)
    dX, sums = np.empty_like(rows), _sums(len(scale), rows.dtype, 2)
    _spread(_norm_backward, rows, rows, normal, spreads, scale, dX, sums)
    dscale, dshift = sums.sum(axis=0)
    return dX.reshape(dY.shape), dscale, dshift


def add_layer_norm_backward(dY, cache):
    return layer_norm_backward(dY, cache)


def bias_gelu(X, b):
    rows = np.ascontiguousarray(_rows_of(X))                           # (n, d)
    Y = np.empty_like(rows)
    _spread(_kernels()[0], rows, rows, b, Y)
    return Y.reshape(X.shape), (rows, b)


def bias_gelu_backward(dY, cache):
    X, b = cache
    rows = np.ascontiguousarray(_rows_of(dY))                          # (n, d)
    dX, sums = np.empty_like(rows), _sums(len(b), rows.dtype)
    _spread(_kernels()[1], rows, X, b, rows, dX, sums)
    return dX.reshape(dY.shape), sums.sum(axis=(0, 1))


def gelu(X):
    return bias_gelu(X, np.zeros(X.shape[-1], X.dtype))


def gelu_backward(dY, cache):
    return bias_gelu_backward(dY, cache)[0]


def cross_entropy(S, labels):
    labels, S = _as_labels(labels, "labels", S.shape[1], len(S)), np.ascontiguousarray(S)
    tops, totals, losses = np.empty((3, len(S)), S.dtype)              # (n,), (n,), (n,)
    _spread(_kernels()[2], S, S, labels, tops, totals, losses)
    return losses, (S, labels, tops, totals)


def cross_entropy_backward(dlosses, cache, out=None):
    S, labels, *sums = cache
    each = np.array(np.broadcast_to(dlosses, len(S)), S.dtype)         # (n,)
    dS = S.copy() if out is None else out                              # (n, V)
    if dS is not S and out is not None:
        dS[:] = S
    _spread(_kernels()[3], dS, labels, *sums, each, dS)
    return dS


def gather(E, ids):
    flat = _as_labels(np.ravel(ids), "ids", len(E))
    X = np.empty((len(flat), E.shape[1]), E.dtype)                     # (n, d)
    _spread(_gather, X, E, flat, X)
    return X.reshape(*np.shape(ids), E.shape[1])


def scatter_add(dX, ids, V):
    rows = np.ascontiguousarray(_rows_of(dX))                          # (n, d)
    dE = np.zeros((V, rows.shape[1]), rows.dtype)                      # (V, d)
    spread(_scatter, rows.shape[1], 1 + LEAST // max(len(rows), 1), rows,
           _as_labels(np.ravel(ids), "ids", V), dE)
    return dE


def adam_update(x, g, m, v, t, rate, b1=0.9, b2=0.999, eps=1e-8, decay=0.0):
    if not all(a.flags.c_contiguous for a in (x, m, v)):
        raise ValueError("x, m, v: expected each in one piece of memory")
    numbers = (1 - b1, 1 - b2, rate / (1 - b1 ** t), (1 - b2 ** t) ** -0.5, eps, rate * decay)
    flat = [a.reshape(-1) for a in (x, np.ascontiguousarray(g, x.dtype), m, v)]
    spread(_adam, x.size, LEAST, *flat, *map(x.dtype.type, numbers))
    return x


def adam_step(P, grads, state, rate, betas=(0.9, 0.999), eps=1e-8, decay=0.0):
    _each_update(adam_update, P, grads, state, rate, betas, eps, decay)


def both_passes(name, dout, *arguments, functions=None):
    return _both_passes(name, dout, *arguments, functions=functions or globals())
