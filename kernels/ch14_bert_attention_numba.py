"""Numba twin of primer/ch14_bert_attention.py: attention without a (T, T) matrix, and back.

Idea    A head's keys and values (64 KB each at T = 256, D = 64) stay in the core's cache while its
        queries pass by, ROWS at a time: their scores, softmax and product with V are done before
        the next come.  Only ln sum exp of each row is kept; backward makes the scores anew.  Keys
        that are no words are left out when K and V are copied, so each query sees the first few of
        the rest, and causal attention does half of the work.  self_attention reads Q, K, V where
        the product before it wrote them, and backward writes their gradients side by side.
        Products are by hand (ch14_bert_attention_tile_numba.py): for BLAS they are too small.
Threads a head belongs to one thread, which alone writes what belongs to it.
Limits  float32 and float64.  With dropout the (T, T) matrix of what is kept is drawn, and stored.
"""
import functools
import math

import numpy as np
from numba import njit

from kernels import source_version, spread
from kernels.ch14_bert_attention_tile_numba import PART, SUMS, _exp, _exp_row, _largest, _product
from primer.ch14_bert_attention import both_passes as _both_passes
from primer.ch14_bert_attention import check_attention
from primer.ch14_bert_attention import dropout as _dropout
from primer.ch14_bert_attention import split_heads as _split_heads

ROWS, UNIT = 32, 16                   # queries at a time; keys and D are padded to a multiple of it
LEAST = 1 << 20                       # operations: fewer are not worth a second thread


@njit(**PART)
def _look(real, causal, queries, index, limit):
    """Which keys are words -> their number; query i may look at limit[i] of them, index[:limit[i]].
    """
    keys = 0
    for t in range(real.size):
        if real[t]:
            index[keys] = t
            keys += 1
        if causal:
            limit[t] = keys
    if not causal:
        limit[:queries] = keys
    return keys


@njit(**PART)
def _clear(X, first, stop):
    """X[first:stop] = 0, which Numba compiles in a tenth of the time."""
    for k in range(first, stop):
        X[k] = 0


@njit(**PART)
def _room(n, X):
    """n numbers of X's type."""
    return np.empty(n, X.dtype)


@njit(**PART)
def _copy(X, b, slot, index, scale, out, width):
    """out[i] = scale X[b, index[i], slot], with zeros to the end of its row; rows up to a multiple
    of four, as _product takes them."""
    for i in range(index.size):
        row, to = X[b, index[i], slot], out[i * width:(i + 1) * width]
        for k in range(row.size):
            to[k] = row[k] * scale
        _clear(to, row.size, width)
    _clear(out, index.size * width, -(-index.size // 4) * 4 * width)


@njit(**PART)
def _copy_columns(X, b, slot, index, out, width):
    """out[k, j] = X[b, index[j], slot, k], with zeros from the last j on; 16 rows stay near."""
    keys, D = index.size, X.shape[3]
    for first in range(0, keys, 16):
        some = index[first:first + 16]
        for k in range(D):
            to = out[k * width + first:k * width + first + some.size]
            for j in range(some.size):
                to[j] = X[b, some[j], slot, k]
    for k in range(D):
        _clear(out, k * width + keys, (k + 1) * width)


@njit(**PART, fastmath=SUMS)
def _slopes(S, dS, log, dout, out):
    """Of a row: S becomes A (14.7), and dS, which was dA, dS (14.8); sum A dA = <dout, out>."""
    along = log - log
    for k in range(out.size):
        along += dout[k] * out[k]
    for j in range(S.size):
        S[j] = _exp(S[j] - log)
        dS[j] = S[j] * (dS[j] - along)


@njit(**PART)
def _drop(S, keep, index, factor):
    """S = S keep / (1 - rate) in a row; nothing where keep is empty."""
    if keep.size:
        for j in range(S.size):
            S[j] = S[j] * factor if keep[index[j]] else 0


@njit(**PART)
def _forward(share, first, stop, Q, K, V, slots, real, causal, keep, factor, out, logs):
    """Heads first..stop: out (B, T, H, D), logs (B, H, T) = ln sum exp of their scores.

    Q, K, V: (B, T, any, D), head h in slots[0] + h, ...; real (B, T); keep (B, H, T, T) or 0's.
    """
    (_, T, H, D), K_T, one = out.shape, K.shape[1], Q.dtype.type(1)
    wide, tall = -(-D // UNIT) * UNIT, -(-K_T // UNIT) * UNIT
    scale, every = one / Q.dtype.type(math.sqrt(D)), np.arange(T)
    index, limit = np.empty(K_T, np.int64), np.empty(T, np.int64)
    columns, values, S = _room(D * tall, Q), _room(tall * wide, Q), _room(ROWS * tall, Q)
    near, O = _room(ROWS * wide, Q), _room(ROWS * wide, Q)
    for head in range(first, stop):
        b, h = head // H, head % H
        keys = _look(real[b], causal, T, index, limit)
        _copy_columns(K, b, slots[1] + h, index[:keys], columns, tall)
        _copy(V, b, slots[2] + h, index[:keys], one, values, wide)
        for q in range(0, T, ROWS):
            rows = min(ROWS, T - q)
            most = limit[q + rows - 1]
            even, span = -(-rows // 4) * 4, -(-most // UNIT) * UNIT
            _copy(Q, b, slots[0] + h, every[q:q + rows], scale, near, wide)
            _clear(S, 0, even * span)
            _clear(O, 0, even * wide)
            _product(S, span, near, wide, 1, columns, tall, even, span, D)
            for i in range(rows):
                seen = limit[q + i]
                row = S[i * span:i * span + seen]
                _clear(S, i * span + seen, (i + 1) * span)
                top = _largest(row) if seen else scale - scale
                total = _exp_row(row, top) if seen else one
                logs[b, h, q + i] = top + math.log(total)
                near[i] = one / total                    # the query is not needed any more
                _drop(row, keep[b, h, q + i], index, factor)
            _product(O, wide, S, span, 1, values, wide, even, wide, most)
            for i in range(rows):
                row, to = O[i * wide:i * wide + D], out[b, q + i, h]
                for k in range(to.size):
                    to[k] = row[k] * near[i]


@njit(**PART)
def _backward_rows(S, dS, span, b, h, q, rows, limit, index, keep, factor, logs, dout, out):
    """(14.8) of the queries q..q + rows; with dropout S is then A keep / (1 - rate)."""
    for i in range(rows):
        at, seen = i * span, i * span + limit[q + i]
        _clear(S, seen, at + span)
        _clear(dS, seen, at + span)
        _drop(dS[at:seen], keep[b, h, q + i], index, factor)
        _slopes(S[at:seen], dS[at:seen], logs[b, h, q + i], dout[b, q + i, h], out[b, q + i, h])
        _drop(S[at:seen], keep[b, h, q + i], index, factor)


@njit(**PART)
def _give(X, b, slot, index, sums, width):
    """X[b, index[i], slot] = sums[i]."""
    for i in range(index.size):
        row, own = X[b, index[i], slot], sums[i * width:(i + 1) * width]
        for k in range(row.size):
            row[k] = own[k]


@njit(**PART)
def _backward(share, first, stop, Q, K, V, slots, real, causal, keep, factor, out, logs, dout, dQ,
              dK, dV):
    """Gradients of heads first..stop, each where its input is; keys that are no words have 0."""
    (_, T, H, D), K_T, one = out.shape, K.shape[1], Q.dtype.type(1)
    wide, tall = -(-D // UNIT) * UNIT, -(-K_T // UNIT) * UNIT
    scale, every = one / Q.dtype.type(math.sqrt(D)), np.arange(T)
    index, limit = np.empty(K_T, np.int64), np.empty(T, np.int64)
    columns, values = _room(D * tall, Q), _room(D * tall, Q)
    rows_k, S, dS = _room(tall * wide, Q), _room(ROWS * tall, Q), _room(ROWS * tall, Q)
    sum_k, sum_v, sum_q = _room(tall * wide, Q), _room(tall * wide, Q), _room(ROWS * wide, Q)
    near, above = _room(ROWS * wide, Q), _room(ROWS * wide, Q)
    for head in range(first, stop):
        b, h = head // H, head % H
        keys = _look(real[b], causal, T, index, limit)
        _copy_columns(K, b, slots[1] + h, index[:keys], columns, tall)
        _copy_columns(V, b, slots[2] + h, index[:keys], values, tall)
        _copy(K, b, slots[1] + h, index[:keys], scale, rows_k, wide)
        _clear(sum_k, 0, sum_k.size)
        _clear(sum_v, 0, sum_v.size)
        for q in range(0, T, ROWS):
            rows = min(ROWS, T - q)
            most = limit[q + rows - 1]
            even, span = -(-rows // 4) * 4, -(-most // UNIT) * UNIT
            _copy(Q, b, slots[0] + h, every[q:q + rows], scale, near, wide)
            _copy(dout, b, h, every[q:q + rows], one, above, wide)
            _clear(S, 0, even * span)
            _clear(dS, 0, even * span)
            _clear(sum_q, 0, even * wide)
            _product(S, span, near, wide, 1, columns, tall, even, span, D)
            _product(dS, span, above, wide, 1, values, tall, even, span, D)
            _backward_rows(S, dS, span, b, h, q, rows, limit, index, keep, factor, logs, dout, out)
            _product(sum_v, wide, S, 1, span, above, wide, span, wide, rows)
            _product(sum_k, wide, dS, 1, span, near, wide, span, wide, rows)
            _product(sum_q, wide, dS, span, 1, rows_k, wide, even, wide, most)
            _give(dQ, b, slots[0] + h, every[q:q + rows], sum_q, wide)
        for t in range(K_T):
            _clear(dK[b, t, slots[1] + h], 0, D)
            _clear(dV[b, t, slots[2] + h], 0, D)
        _give(dK, b, slots[1] + h, index[:keys], sum_k, wide)
        _give(dV, b, slots[2] + h, index[:keys], sum_v, wide)


@functools.cache
def _kernels():
    """Kept on disk under a checksum of the other file whose functions are in them."""
    version = source_version("ch14_bert_attention_tile_numba")

    @njit(nogil=True, cache=True)
    def forward(*arguments):
        if version:
            _forward(*arguments)

    @njit(nogil=True, cache=True)
    def backward(*arguments):
        if version:
            _backward(*arguments)
    return forward, backward


def _attend(Q, K, V, slots, heads, mask, causal, rate, rng):
    """(B, T, any, D) three times, head h in slots[0] + h, ... -> out (B, T, H, D), cache."""
    (B, T, _, D), keys = Q.shape, K.shape[1]
    shape, dtype = (B, heads, T), Q.dtype
    real = np.ones((B, keys), bool) if mask is None else np.ascontiguousarray(mask)
    drop = _dropout(np.broadcast_to(dtype.type(0), (*shape, keys)), rate, rng)[1]
    keep = np.zeros((*shape, 0), bool) if drop is None else drop[0]
    out, logs = np.empty((B, T, heads, D), dtype), np.empty(shape, dtype)
    arguments = (Q, K, V, slots, real, bool(causal), keep, dtype.type(1 / (1 - rate)), out, logs)
    spread(_kernels()[0], B * heads, 1 + LEAST // (4 * T * keys * D + 1), *arguments)
    return out, arguments


def _attend_backward(dout, arguments, dQ, dK, dV):
    (B, T, H, D), keys = arguments[-2].shape, arguments[1].shape[1]
    spread(_kernels()[1], B * H, 1 + LEAST // (10 * T * keys * D + 1), *arguments,
           np.ascontiguousarray(dout), dQ, dK, dV)


def attention(Q, K, V, mask=None, causal=False, rate=0.0, rng=None):
    mask, (B, H, T, D) = check_attention(Q, K, V, mask, causal), Q.shape
    rows = [np.ascontiguousarray(X).reshape(B * H, -1, 1, D) for X in (Q, K, V)]
    mask = None if mask is None else np.repeat(mask, H, axis=0)                   # (B H, T)
    out, cache = _attend(*rows, (0, 0, 0), 1, mask, causal, rate, rng)
    return out.reshape(B, H, T, D), cache


def attention_backward(dout, cache):
    B, H, _, D = dout.shape
    grads = [np.empty_like(X) for X in cache[:3]]
    _attend_backward(dout.reshape(B * H, -1, 1, D), cache, *grads)
    return tuple(dX.reshape(B, H, -1, D) for dX in grads)


def self_attention(qkv, heads, mask=None, causal=False, rate=0.0, rng=None):
    B, T, width = qkv.shape
    check_attention(*_split_heads(qkv, heads), mask, causal)
    X = np.ascontiguousarray(qkv).reshape(B, T, 3 * heads, width // (3 * heads))
    out, cache = _attend(X, X, X, (0, heads, 2 * heads), heads, mask, causal, rate, rng)
    return out.reshape(B, T, width // 3), cache


def self_attention_backward(dout, cache):
    dqkv = np.empty_like(cache[0])                                     # (B, T, 3 H, D)
    _attend_backward(dout.reshape(cache[-2].shape), cache, dqkv, dqkv, dqkv)
    return dqkv.reshape(*dqkv.shape[:2], -1)


def both_passes(name, dout, *arguments, functions=None):
    return _both_passes(name, dout, *arguments, functions=functions or globals())
