"""CUDA twin of primer/ch14_bert_layers.py: what lies between the matrix products.

Idea    each kernel reads its inputs once or, where a row is needed twice, from the cache: bias and
        GELU, residual and norm, softmax and loss are one each.  cuBLAS does the products.
Threads a warp has a row, or a thread a number.  Sums over rows: a block has 32 columns, all rows of
        them, added in order.  scatter_add: atomics, so sums of equal ids are in no order.
Cost    memory bounds all: bytes a number: add_layer_norm 20, its backward 28, bias_gelu 8,
        backward 16, cross_entropy 8, backward 8, Adam 28: n = 2,048 rows of 1,024, GELU 17 MB:
        T4 52 us, A100 11, H100 5, RTX 4090 17.  Reckoned, not measured.  The bus, at 16 GB/s,
        takes 20 times as long: every call here brings its arrays and takes them back.
Limits  float32.  Each call waits for its results.  Dropout is NumPy's, the chapter's own.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from kernels.ch14_bert_attention_cuda import (  # noqa: F401  what is used of layers is here
    attention,
    attention_backward,
    self_attention,
    self_attention_backward,
)
from primer.ch01_geometry import as_labels
from primer.ch14_bert_layers import adam_state, clip_norm, dropout, dropout_backward  # noqa: F401
from primer.ch14_bert_layers import both_passes as _both_passes
from primer.ch14_bert_layers import each_update as _each_update
from primer.ch14_bert_layers import rows_of as _rows_of

MODULE = cp.RawModule(code=cuda_source("ch14_bert_layers"), options=("-std=c++17",))
BLOCK = 256


def _up(X, name="X"):
    """To the device: float32 as it is.  ValueError: another dtype."""
    if X.dtype != np.float32:
        raise ValueError(f"{name}: this twin takes float32, got {X.dtype}")
    return cp.asarray(np.ascontiguousarray(X))


def _launch(name, threads, *arguments):
    if threads:
        MODULE.get_function(name)((-(-threads // BLOCK),), (BLOCK,), arguments)


def _column_sums(A, B=None):
    """On the device, (n, d) -> (d,)."""
    n, d = A.shape
    sums = cp.empty(d, cp.float32)                                     # (d,)
    MODULE.get_function("column_sums")((-(-d // 32),), (BLOCK,), (
        A, A if B is None else B, sums, np.int32(n), np.int32(d), np.int32(B is not None)))
    return sums


def linear(X, W, b=None):
    if X.shape[-1] != len(W):
        raise ValueError(f"X: expected rows of length {len(W)}, got {X.shape[-1]}")
    rows, weights = _up(_rows_of(X)), _up(W, "W")                      # (n, d), (d, out)
    Y = rows @ weights                                                 # (n, out)
    if b is not None:
        _launch("add_bias", Y.size, Y, _up(b, "b"), np.int32(len(b)), np.int64(Y.size))
    return Y.get().reshape(*X.shape[:-1], W.shape[1]), (rows, weights, b is not None, X.shape)


def linear_backward(dY, cache):
    X, W, biased, shape = cache
    rows = _up(_rows_of(dY), "dY")                                     # (n, out)
    db = _column_sums(rows).get() if biased else None
    return (rows @ W.T).get().reshape(shape), (X.T @ rows).get(), db


def _any_norm(X, R, scale, shift, eps):
    rows = _up(_rows_of(X))                                            # (n, d)
    n, d = rows.shape
    other = rows if R is None else _up(_rows_of(R), "R")
    normal, spreads, Y = cp.empty_like(rows), cp.empty(n, cp.float32), cp.empty_like(rows)
    scale = _up(scale, "scale")
    _launch("norm_rows", 32 * n, rows, other, scale, _up(shift, "shift"), np.float32(eps), normal,
            spreads, Y, np.int32(n), np.int32(d), np.int32(R is not None))
    return Y.get().reshape(X.shape), (normal, spreads, scale)


def layer_norm(X, scale, shift, eps=1e-12):
    return _any_norm(X, None, scale, shift, eps)


def add_layer_norm(X, R, scale, shift, eps=1e-12):
    if X.shape != R.shape:
        raise ValueError(f"R: expected shape {X.shape} as X, got {R.shape}")
    return _any_norm(X, R, scale, shift, eps)


def layer_norm_backward(dY, cache):
    normal, spreads, scale = cache
    rows, (n, d) = _up(_rows_of(dY), "dY"), normal.shape               # (n, d)
    dX = cp.empty_like(rows)
    _launch("norm_backward", 32 * n, rows, normal, spreads, scale, dX, np.int32(n), np.int32(d))
    return (dX.get().reshape(dY.shape), _column_sums(rows, normal).get(),
            _column_sums(rows).get())


def add_layer_norm_backward(dY, cache):
    return layer_norm_backward(dY, cache)


def bias_gelu(X, b):
    rows, b = _up(_rows_of(X)), _up(b, "b")                            # (n, d), (d,)
    Y = cp.empty_like(rows)
    _launch("gelu_rows", Y.size, rows, b, Y, np.int32(b.size), np.int64(Y.size))
    return Y.get().reshape(X.shape), (rows, b)


def bias_gelu_backward(dY, cache):
    X, b = cache
    dX = cp.empty_like(X)                                              # (n, d)
    _launch("gelu_backward", X.size, X, b, _up(_rows_of(dY), "dY"), dX, np.int32(b.size),
            np.int64(X.size))
    return dX.get().reshape(dY.shape), _column_sums(dX).get()


def gelu(X):
    return bias_gelu(X, np.zeros(X.shape[-1], X.dtype))


def gelu_backward(dY, cache):
    return bias_gelu_backward(dY, cache)[0]


def cross_entropy(S, labels):
    labels = as_labels(labels, "labels", S.shape[1], len(S)).astype(np.int32)
    labels, scores, (n, V) = cp.asarray(labels), _up(S, "S"), S.shape
    tops, totals, losses = (cp.empty(n, cp.float32) for _ in range(3))             # (n,) each
    _launch("label_losses", 32 * n, scores, labels, tops, totals, losses, np.int32(n), np.int32(V))
    return losses.get(), (scores, labels, tops, totals)


def cross_entropy_backward(dlosses, cache, out=None):
    S, labels, tops, totals = cache
    each = cp.asarray(np.array(np.broadcast_to(dlosses, len(S)), np.float32))      # (n,)
    dS = cp.empty_like(S)
    _launch("label_backward", S.size, S, labels, tops, totals, each, dS,
            np.int32(S.shape[1]), np.int64(S.size))
    if out is None:
        return dS.get()
    out[:] = dS.get()
    return out


def gather(E, ids):
    flat = as_labels(np.ravel(ids), "ids", len(E)).astype(np.int32)    # (n,)
    X = cp.empty((len(flat), E.shape[1]), cp.float32)                  # (n, d)
    _launch("gather_rows", X.size, _up(E, "E"), cp.asarray(flat), X, np.int32(E.shape[1]),
            np.int64(X.size))
    return X.get().reshape(*np.shape(ids), E.shape[1])


def scatter_add(dX, ids, V):
    rows = _up(_rows_of(dX), "dX")                                     # (n, d)
    dE = cp.zeros((V, rows.shape[1]), cp.float32)                      # (V, d)
    flat = cp.asarray(as_labels(np.ravel(ids), "ids", V).astype(np.int32))
    _launch("scatter_rows", rows.size, rows, flat, dE, np.int32(rows.shape[1]),
            np.int64(rows.size))
    return dE.get()


def adam_update(x, g, m, v, t, rate, b1=0.9, b2=0.999, eps=1e-8, decay=0.0):
    X, M, S = _up(x, "x"), _up(m, "m"), _up(v, "v")
    numbers = (1 - b1, 1 - b2, rate / (1 - b1 ** t), (1 - b2 ** t) ** -0.5, eps, rate * decay)
    _launch("adam_update", X.size, X, _up(g, "g"), M, S, *map(np.float32, numbers),
            np.int64(X.size))
    x[...], m[...], v[...] = X.get(), M.get(), S.get()
    return x


def adam_step(P, grads, state, rate, betas=(0.9, 0.999), eps=1e-8, decay=0.0):
    _each_update(adam_update, P, grads, state, rate, betas, eps, decay)


def both_passes(name, dout, *arguments, functions=None):
    return _both_passes(name, dout, *arguments, functions=functions or globals())


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    n, d, V = 40 * scale, 48, 50 * scale
    X, R, dY, g, m = rng.standard_normal((5, n, d)).astype(np.float32)
    scales, shifts = rng.standard_normal((2, d)).astype(np.float32)
    S, ids = rng.standard_normal((n, V)).astype(np.float32), rng.permutation(V)[:n]
    W = rng.standard_normal((d, 33)).astype(np.float32)
    return {"both_passes, linear": ("linear", dY[:, :33].copy(), X, W, shifts[:33]),
            "both_passes, add_layer_norm": ("add_layer_norm", dY, X, R, scales, shifts),
            "both_passes, bias_gelu": ("bias_gelu", dY, X, shifts),
            "both_passes, cross_entropy": ("cross_entropy", dY[:, 0].copy(), S, ids),
            "gather": (X, ids[:n // 2] % n), "scatter_add": (X, ids, V),
            "adam_update": (X, g, m, np.square(R), 3, 0.01, 0.9, 0.999, 1e-8, 0.1)}
