"""CUDA twin of primer/ch14_bert_attention.py: attention without a (T, T) matrix, and back.

Idea    rows of K and V come to shared memory 32 at a time and are used by all queries of a block;
        the softmax is corrected as it goes, by the largest score so far, so a score is never
        written.  Backward makes the scores anew, twice: once a query at a time for dQ, once a key
        at a time for dK and dV, so nobody adds to another's sum.
Threads a warp has two queries (or keys), a lane a key of the tile for the scores, and every 32nd
        column for the sums.  No atomics: the same arguments give the same bits.
Cost    4 D flops a pair of words forward, 14 D backward (the reference: 4 D, 8 D and a (T, T)
        matrix), in float32: B 8, H 8, T 256, D 64, causal, 2.4 GFLOP: at the peak T4 0.3 ms, A100
        0.12, H100 0.04, RTX 4090 0.03; the sums read shared memory once a multiplication, which
        makes it about four times as long.  Reckoned, not measured.  The bus takes longer.
Limits  float32, D up to 128.  What backward needs stays on the device; each call waits once.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch14_bert_attention import both_passes as _both_passes
from primer.ch14_bert_attention import check_attention
from primer.ch14_bert_attention import dropout as _dropout
from primer.ch14_bert_attention import split_heads as _split_heads

MODULE = cp.RawModule(code=cuda_source("ch14_bert_attention"), options=("-std=c++17",))
BLOCK, OWN, TILE, WIDEST = 128, 8, 32, 128                             # as in the .cu


def _launch(name, rows, shape, heads, *arguments):
    """A block has OWN of the rows of a head; shape: T, keys, D, slots, step, causal, drops."""
    if not rows * heads[0] * heads[1]:
        return
    D = shape[2]
    shared = 4 * (2 * OWN * D + 2 * TILE * (D + 1))
    MODULE.get_function(name)((-(-rows // OWN), heads[0] * heads[1]), (BLOCK,), (
        *arguments, np.int32(heads[1]), *map(np.int32, shape)), shared_mem=shared)


def _attend(Q, K, V, heads, step, mask, causal, rate, rng):
    """(B, T, slots, D) three times -> out (B, T, H, D) on the device, cache."""
    (B, T, slots, D), keys = Q.shape, K.shape[1]
    if Q.dtype != np.float32 or D > WIDEST:
        raise ValueError(f"Q: this twin takes float32 and D <= {WIDEST}, got {Q.dtype}, {D}")
    drop = _dropout(np.broadcast_to(np.float32(0), (B, heads, T, keys)), rate, rng)[1]
    real = cp.asarray((np.ones((B, keys), bool) if mask is None else mask).astype(np.uint8))
    keep = real if drop is None else cp.asarray(drop[0].astype(np.uint8))
    factor = np.float32(1 / (1 - rate))
    shape = (T, keys, D, slots, step, int(causal), int(drop is not None))
    out, logs = cp.empty((B, T, heads, D), cp.float32), cp.empty((B, heads, T), cp.float32)
    _launch("attention_forward", T, shape, (B, heads), Q, K, V, real, keep, factor, out, logs)
    return out, (Q, K, V, real, keep, factor, out, logs, shape)


def _attend_backward(dout, cache, dQ, dK, dV):
    """dout (B, T, H, D); writes dQ, dK, dV, all on the device."""
    *inputs, out, logs, shape = cache
    B, T, H, _ = out.shape
    along = cp.empty_like(logs)                                        # (B, H, T)
    _launch("attention_queries", T, shape, (B, H), *inputs, out, logs, dout, dQ, along)
    _launch("attention_keys", shape[1], shape, (B, H), *inputs, logs, dout, along, dK, dV)


def attention(Q, K, V, mask=None, causal=False, rate=0.0, rng=None):
    mask, (B, H, T, D) = check_attention(Q, K, V, mask, causal), Q.shape
    rows = [cp.asarray(np.ascontiguousarray(X).reshape(B * H, -1, 1, D)) for X in (Q, K, V)]
    mask = None if mask is None else np.repeat(mask, H, axis=0)        # (B H, T)
    out, cache = _attend(*rows, 1, 0, mask, causal, rate, rng)
    return out.get().reshape(B, H, T, D), cache


def attention_backward(dout, cache):
    B, H, T, D = dout.shape
    above = cp.asarray(np.ascontiguousarray(dout).reshape(B * H, T, 1, D))
    grads = [cp.empty_like(X) for X in cache[:3]]
    _attend_backward(above, cache, *grads)
    dQ, dK, dV = grads
    return (dQ.get().reshape(B, H, T, D), dK.get().reshape(B, H, -1, D),
            dV.get().reshape(B, H, -1, D))


def self_attention(qkv, heads, mask=None, causal=False, rate=0.0, rng=None):
    B, T, width = qkv.shape
    check_attention(*_split_heads(qkv, heads), mask, causal)
    X = cp.asarray(np.ascontiguousarray(qkv).reshape(B, T, 3 * heads, width // (3 * heads)))
    out, cache = _attend(X, X, X, heads, heads, mask, causal, rate, rng)
    return out.get().reshape(B, T, width // 3), cache


def self_attention_backward(dout, cache):
    out = cache[-3]
    dqkv = cp.empty_like(cache[0])                                     # (B, T, 3 H, D)
    above = cp.asarray(np.ascontiguousarray(dout).reshape(out.shape))
    _attend_backward(above, cache, dqkv, dqkv, dqkv)
    B, T = out.shape[:2]
    return dqkv.get().reshape(B, T, -1)


def both_passes(name, dout, *arguments, functions=None):
    return _both_passes(name, dout, *arguments, functions=functions or globals())


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    B, H, T, D = 2, 2, 16 * scale + 3, 20
    Q, K, V, dout = rng.standard_normal((4, B, H, T, D)).astype(np.float32)
    mask = np.arange(T) < np.array([[T], [T - 9]])
    qkv = rng.standard_normal((B, T, 3 * H * D)).astype(np.float32)
    above = rng.standard_normal((B, T, H * D)).astype(np.float32)
    return {"both_passes, attention": ("attention", dout, Q, K, V, mask),
            "both_passes, causal": ("attention", dout, Q, K, V, None, True),
            "both_passes, self_attention": ("self_attention", above, qkv, H, mask, True)}
