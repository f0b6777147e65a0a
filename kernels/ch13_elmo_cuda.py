"""CUDA twin of primer/ch13_elmo.py: an LSTM layer and back, the softmax's loss.

Idea    cuBLAS does the products, as BLAS does in the Numba twin: those over all words at once, and
        one a step.  A step's gates, cell and state are one kernel, a thread for each number of a
        state; so is the step back.  A row of the softmax is a block: largest score, sum, loss and
        errors, written over the scores.
Threads each writes its own numbers; a row's largest and sum go through eight numbers of shared
        memory.  No atomics: the same arguments give the same bits.
Cost    a step moves 4 B (11 d) bytes and back 4 B (16 d), beside U: some microseconds, most of them
        the launch, so a layer is bound by 2 T launches and T small products.  The softmax reads
        and writes its scores three times: n = 2048, V = 8000, 393 MB: T4 1.2 ms, A100 0.25 ms,
        H100 0.12 ms, RTX 4090 0.39 ms, beside 25 Gflop of products.  Reckoned, not measured.
Limits  float32 only.  A call takes its arrays up and down, and holds all n V scores.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer import ch13_elmo
from primer.ch13_elmo import check_layer, last_states

MODULE = cp.RawModule(code=cuda_source("ch13_elmo"), options=("-std=c++17",))
BLOCK = 256


def _up(*arrays):
    return tuple(cp.asarray(np.ascontiguousarray(x, np.float32)) for x in arrays)


def _launch(name, blocks, *arguments):
    MODULE.get_function(name)((blocks,), (BLOCK,), arguments)


def lstm(X, lengths, W, U, b, state=None):
    lengths, h, c = check_layer(X, lengths, W, U, b, state)
    (T, B, k), d = X.shape, len(U)
    own, weights, recurrent, bias, before, cell = _up(X, W, U, b, h, c)
    G = (own.reshape(-1, k) @ weights + bias).reshape(T, B, 4 * d)     # (T, B, 4 d)
    H, C = cp.empty((T, B, d), cp.float32), cp.empty((T, B, d), cp.float32)
    ends = cp.asarray(lengths.astype(np.int32))                        # (B,)
    for t in range(T):
        _launch("lstm_gates", -(-B * d // BLOCK), G[t], before @ recurrent, cell, ends, C[t], H[t],
                np.int32(t), np.int32(B), np.int32(d))
        before, cell = H[t], C[t]
    H, C, G = H.get(), C.get(), G.get()
    return H, last_states(H, C, lengths, (h, c)), (X, lengths, W, U, h, c, H, C, G)


def lstm_backward(dH, cache):
    X, _, W, U, h, c, H, C, G = cache
    (T, B, k), d = X.shape, len(U)
    dH, own, weights, recurrent, first, cell, H, C, G = _up(dH, X, W, U, h, c, H, C, G)
    dZ, dh, dc = cp.empty_like(G), cp.zeros_like(first), cp.zeros_like(cell)      # (T, B, 4 d)
    for t in reversed(range(T)):
        _launch("lstm_gates_backward", -(-B * d // BLOCK), dH[t], dh, dc, C[t - 1] if t else cell,
                C[t], G[t], dZ[t], np.int32(B), np.int32(d))
        dh = dZ[t] @ recurrent.T                                       # (B, d)
    rows = dZ.reshape(-1, 4 * d)                                       # (T B, 4 d)
    before = cp.concatenate([first[None], H[:-1]]).reshape(-1, d)      # (T B, d)
    found = ((rows @ weights.T).reshape(T, B, k), own.reshape(-1, k).T @ rows, before.T @ rows,
             rows.sum(axis=0), dh, dc)
    return tuple(x.get() for x in found)                              # sync: each once, at the end


def softmax_loss_grad(H, A, a, words, g=1.0):
    n, V = len(H), len(A)
    if not n:
        return ch13_elmo.softmax_loss_grad(H, A, a, words, g)
    rows, weights, bias = _up(H, A, a)
    S, losses = rows @ weights.T, cp.empty(n, cp.float32)              # (n, V), (n,)
    _launch("softmax_rows", n, S, bias, cp.asarray(np.asarray(words).astype(np.int32)),
            np.float32(g), losses, np.int32(V))
    found = losses, S @ weights, S.T @ rows, S.sum(axis=0)
    return tuple(x.get() for x in found)                              # sync: each once, at the end


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    T, B, k, d, V = 3, 4 * scale, 5 * scale, 9 * scale, 70 * scale
    X, W, U, b, dH = (rng.normal(0, 0.4, shape).astype(np.float32) for shape in (
        (T, B, k), (k, 4 * d), (d, 4 * d), (4 * d,), (T, B, d)))
    lengths = rng.integers(0, T + 1, B)
    layer = X, lengths, W, U, b, rng.normal(0, 0.4, (2, B, d)).astype(np.float32)
    H, A, a = (rng.normal(0, 0.4, shape).astype(np.float32) for shape in ((B, d), (V, d), (V,)))
    return {"lstm": layer, "lstm_backward": (dH, ch13_elmo.lstm(*layer)[2]),
            "softmax_loss_grad": (H, A, a, rng.integers(0, V, B), 0.5),
            "softmax_loss_grad, many words": (H[:2], np.tile(A, (5, 1)), np.tile(a, 5), [3, V])}
