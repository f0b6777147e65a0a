"""Chapter 14's attention: equation, properties, gradients, parity, twins."""
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import EDGE_SIZES, assert_close, emulated, every_backend, every_twin, on_emulator
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from kernels import emulator
from primer import ch14_bert_attention as chapter
from primer.ch14_bert_attention import (
    attention,
    attention_backward,
    attention_weights,
    causal_mask,
    dropout,
    dropout_backward,
    padding_mask,
    self_attention,
    self_attention_backward,
    split_heads,
)

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}
seeds = st.integers(0, 2**32 - 1)


def dtypes(backend):
    return (np.float32,) if emulated(backend) else (np.float32, np.float64)


def drawn(seed, B=2, H=2, T=5, D=4, keys=None, dtype=np.float64):
    """-> Q, K, V, dout, mask with at least one key a text."""
    r = np.random.default_rng(seed)
    Q, dout = (r.standard_normal((B, H, T, D)).astype(dtype) for _ in range(2))
    K, V = (r.standard_normal((B, H, keys or T, D)).astype(dtype) for _ in range(2))
    mask = r.random((B, keys or T)) < 0.7
    mask[:, r.integers(0, max(keys or T, 1), 1)[:keys or T]] = True
    return Q, K, V, dout, mask


# 1. Equation (14.7), (14.8), by loops.

def spec_weights(Q, K, mask, causal):
    B, H, T, D = Q.shape
    A = np.zeros((B, H, T, K.shape[2]))
    for b, h, i in np.ndindex(B, H, T):
        seen = [j for j in range(K.shape[2]) if (mask is None or mask[b, j])
                and (not causal or j <= i)]
        e = [math.exp(sum(float(x) * float(y) for x, y in zip(Q[b, h, i], K[b, h, j], strict=True))
                      / math.sqrt(D)) for j in seen]
        for j, x in zip(seen, e, strict=True):
            A[b, h, i, j] = x / sum(e)
    return A


@every_backend("ch14_bert_attention", "attention")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_equation(backend, masked, causal):
    for dtype in dtypes(backend):
        Q, K, V, _, mask = drawn(1, dtype=dtype)
        mask = mask if masked else None
        want = np.einsum("bhij,bhjd->bhid", spec_weights(Q, K, mask, causal), V)
        got, _ = backend.attention(Q, K, V, mask, causal)
        assert_close(got, want.astype(dtype), TOLERANCE[dtype], TOLERANCE[dtype])
        if backend is chapter:
            A = attention_weights(Q, K, mask, causal)
            assert_close(A, spec_weights(Q, K, mask, causal).astype(dtype), 1e-5, 1e-6)


def test_softmax_backward_is_its_jacobian():
    """(14.8) is J^T dA with J = diag(a) - a a^T, a row at a time; K = I gives dS as dQ."""
    r = np.random.default_rng(0)
    T = 5
    S, V = r.standard_normal((2, T, T))
    dO = r.standard_normal((T, T))
    Q, K = S[None, None] * math.sqrt(T), np.eye(T)[None, None]
    _, cache = attention(Q, K, V[None, None])
    dQ, _, _ = attention_backward(dO[None, None], cache)
    for i in range(T):
        a = np.exp(S[i]) / np.exp(S[i]).sum()
        want = (np.diag(a) - np.outer(a, a)) @ (V @ dO[i]) / math.sqrt(T)
        assert_close(dQ[0, 0, i], want, 1e-10, 1e-12)


# 2. Cases with an answer by hand.

@every_backend("ch14_bert_attention", "attention")
def test_alike_scores_give_the_mean(backend):
    V = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    Q = np.zeros_like(V)
    K = np.ones_like(V)
    assert_close(backend.attention(Q, K, V)[0], np.broadcast_to(V.mean(2, keepdims=True), V.shape),
                 1e-6, 1e-6)
    by_then = np.cumsum(V, axis=2) / np.arange(1, 4, dtype=np.float32)[:, None]
    assert_close(backend.attention(Q, K, V, None, True)[0], by_then, 1e-6, 1e-6)


@every_backend("ch14_bert_attention", "attention")
def test_a_query_without_keys_gets_zeros_and_gives_none(backend):
    Q, K, V, dout, _ = drawn(3, dtype=np.float32)
    mask = np.array([[False] * 5, [False, True, True, False, True]])
    out, cache = backend.attention(Q, K, V, mask, True)
    assert not out[0].any() and not out[1, :, 0].any() and out[1, :, 1].any()
    dQ, dK, dV = backend.attention_backward(dout, cache)
    assert not dQ[0].any() and not dQ[1, :, 0].any()
    assert not dK[0].any() and not dV[0].any() and not dV[1, :, ~mask[1]].any()


def test_masks():
    assert_close(padding_mask([2, 0, 3], 3), np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1]], bool))
    assert_close(causal_mask(3), np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], bool))
    for wrong in ([4], [-1], [1.5]):
        with pytest.raises((ValueError, TypeError)):
            padding_mask(wrong, 3)


# 3. Properties.

@given(seeds, st.booleans())
def test_rows_of_weights_sum_to_one(seed, causal):
    Q, K, _, _, mask = drawn(seed)
    mask[:, 0] = True
    A = attention_weights(Q, K, mask, causal)
    assert_close(A.sum(3), np.ones(A.shape[:3]), 1e-12)
    assert (A >= 0).all() and not A[~np.broadcast_to(mask[:, None, None], A.shape)].any()
    assert not causal or not np.triu(A, 1).any()


@every_backend("ch14_bert_attention", "attention")
@pytest.mark.parametrize("seed", range(3))
def test_what_comes_out_lies_among_the_values(backend, seed):
    """A convex combination: within the smallest and the largest of each column."""
    Q, K, V, _, _ = drawn(seed, dtype=np.float32)
    out, _ = backend.attention(Q * 9, K, V)
    assert (out >= V.min(2, keepdims=True) - 1e-5).all()
    assert (out <= V.max(2, keepdims=True) + 1e-5).all()


@every_backend("ch14_bert_attention", "attention")
def test_words_in_another_order_give_the_states_in_that_order(backend):
    Q, K, V, _, mask = drawn(5, T=9, dtype=np.float32)
    other = np.random.default_rng(5).permutation(9)
    got, _ = backend.attention(*(X[:, :, other] for X in (Q, K, V)), mask[:, other])
    assert_close(got, backend.attention(Q, K, V, mask)[0][:, :, other], 1e-5, 1e-6)


@every_backend("ch14_bert_attention", "attention")
def test_padding_has_no_effect(backend):
    Q, K, V, dout, mask = drawn(6, T=9, dtype=np.float32)
    out, cache = backend.attention(Q, K, V, mask)
    K2, V2 = (np.where(mask[:, None, :, None], X, np.float32(77)) for X in (K, V))
    out2, cache2 = backend.attention(Q, K2, V2, mask)
    assert_close(out2, out, 0, 0)
    for a, b in zip(backend.attention_backward(dout, cache),
                    backend.attention_backward(dout, cache2), strict=True):
        assert_close(b, a, 1e-6, 1e-6)


@every_backend("ch14_bert_attention", "attention")
def test_what_comes_later_changes_nothing_before(backend):
    Q, K, V, _, mask = drawn(7, T=40 if not emulated(backend) else 9, dtype=np.float32)
    at = Q.shape[2] // 2
    changed = [X.copy() for X in (Q, K, V)]
    for X in changed:
        X[:, :, at:] *= -3
    before = backend.attention(Q, K, V, mask, True)[0]
    after = backend.attention(*changed, mask, True)[0]
    assert_close(after[:, :, :at], before[:, :, :at], 0, 0)
    assert np.abs(after[:, :, at:] - before[:, :, at:]).max() > 0.1


@given(seeds)
def test_a_shift_of_all_keys_changes_nothing(seed):
    Q, K, V, _, mask = drawn(seed)
    shift = np.random.default_rng(seed).standard_normal((1, 1, 1, 4))
    assert_close(attention(Q, K + shift, V, mask)[0], attention(Q, K, V, mask)[0], 1e-9, 1e-10)


@every_backend("ch14_bert_attention", "attention")
def test_large_scores_do_not_overflow(backend):
    Q, K, V, dout, mask = drawn(8, dtype=np.float32)
    out, cache = backend.attention(Q * 1e4, K * 1e3, V, mask)
    assert np.isfinite(out).all()
    assert all(np.isfinite(g).all() for g in backend.attention_backward(dout, cache))
    best = np.where(mask[:, None, None], Q @ K.swapaxes(2, 3), -np.inf).argmax(3)
    assert_close(out, np.take_along_axis(V, best[..., None], 2), 1e-4, 1e-4)


@every_backend("ch14_bert_attention", "attention")
def test_nan_comes_out(backend):
    Q, K, V, _, _ = drawn(9, dtype=np.float32)
    Q[1, 0, 2, 1] = np.nan
    out, _ = backend.attention(Q, K, V)
    assert np.isnan(out[1, 0, 2]).all() and np.isfinite(out[0]).all()


@given(seeds, st.floats(0, 0.9))
def test_dropout_keeps_the_mean(seed, rate):
    X = np.random.default_rng(seed).standard_normal((40, 50))
    Y, cache = dropout(X, rate, np.random.default_rng(seed))
    kept = Y != 0
    assert_close(Y[kept], X[kept] / (1 - rate), 1e-12)
    assert abs(kept.mean() - (1 - rate)) < 5 * math.sqrt(rate * (1 - rate) / X.size) + 1e-9
    assert_close(dropout_backward(np.ones_like(X), cache), kept / (1 - rate), 1e-12)


def test_dropout_without_rate_or_rng_is_nothing():
    X = np.ones((3, 4))
    for rate, rng in ((0.0, np.random.default_rng(0)), (0.5, None)):
        Y, cache = dropout(X, rate, rng)
        assert Y is X and dropout_backward(X, cache) is X
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            dropout(X, rate, np.random.default_rng(0))


# 4. Gradients.

def assert_slope(f, grads, xs, seed, eps=1e-5):
    """<grads, v> is the central difference along a random direction of all inputs, at 1e-6."""
    r = np.random.default_rng(seed)
    vs = [r.standard_normal(x.shape) for x in xs]
    for x, g in zip(xs, grads, strict=True):
        assert g.shape == x.shape
    there, back = (f(*(x + s * eps * v for x, v in zip(xs, vs, strict=True))) for s in (1, -1))
    assert_close(float(sum((g * v).sum() for g, v in zip(grads, vs, strict=True))),
                 float(there - back) / (2 * eps), 1e-6, 1e-8)


@every_backend("ch14_bert_attention", "attention", orders=())
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_gradients(backend, causal, rate, seed):
    Q, K, V, dout, mask = drawn(seed, T=7)

    def f(*inputs):
        return (backend.attention(*inputs, mask, causal, rate, np.random.default_rng(1))[0]
                * dout).sum()
    _, cache = backend.attention(Q, K, V, mask, causal, rate, np.random.default_rng(1))
    grads = backend.attention_backward(dout, cache)
    assert_slope(f, grads, (Q, K, V), seed)
    for k in range(3):                                   # each alone
        assert_slope(lambda x, k=k: f(*(x if i == k else y for i, y in enumerate((Q, K, V)))),
                     (grads[k],), ((Q, K, V)[k],), seed + 9)


# 5. Parity: torch's scaled_dot_product_attention, in float32 (tests/parity/ch14_bert_layers.py).

@every_backend("ch14_bert_attention", "attention")
@pytest.mark.parametrize("name", ["plain", "masked", "causal"])
def test_torch_has_the_same(backend, name):
    frozen = np.load(Path(__file__).parent / "parity/ch14_bert_layers.npz")
    Q, K, V, dout = frozen["attention_in"]
    mask = frozen["attention_mask"] if name == "masked" else None
    out, cache = backend.attention(Q, K, V, mask, name == "causal")
    for got, want in zip((out, *backend.attention_backward(dout, cache)),
                         frozen[f"attention_{name}"], strict=True):
        assert_close(got, want, 2e-5, 2e-6)


# 6. Twins.

def equal_passes(backend, Q, K, V, dout, *arguments, seed=0):
    """Both passes, with the same draws, as the reference has them."""
    results = []
    for module in (backend, chapter):
        rest = (*arguments, np.random.default_rng(seed)) if len(arguments) == 3 else arguments
        out, cache = module.attention(Q, K, V, *rest)
        results.append((out, *module.attention_backward(dout, cache)))
    tolerance = TOLERANCE[Q.dtype.type]
    for got, want in zip(*results, strict=True):
        assert got.dtype == want.dtype
        assert_close(got, want, tolerance, tolerance)


@every_twin("ch14_bert_attention", "attention")
@pytest.mark.parametrize("T", EDGE_SIZES)
@pytest.mark.parametrize("causal", [False, True])
def test_twin_at_sizes_around_the_tile(backend, T, causal, threads):
    threads(2)
    T = min(T, 40) if emulated(backend) else T
    for dtype in dtypes(backend):
        Q, K, V, dout, mask = drawn(T, 1, 2, T, 9, dtype=dtype)
        equal_passes(backend, Q, K, V, dout, mask, causal)


@every_twin("ch14_bert_attention", "attention")
@pytest.mark.parametrize("D", [1, 16, 17, 64])
@pytest.mark.parametrize("keys", [1, 33])
def test_twin_with_other_keys_than_queries(backend, D, keys):
    for dtype in dtypes(backend):
        Q, K, V, dout, mask = drawn(D, 2, 1, 6, D, keys, dtype)
        equal_passes(backend, Q, K, V, dout, mask)
        equal_passes(backend, Q, K, V, dout)


@every_twin("ch14_bert_attention", "attention")
def test_twin_drops_what_the_reference_drops(backend):
    T = 10 if emulated(backend) else 70
    for dtype in dtypes(backend):
        Q, K, V, dout, mask = drawn(4, T=T, dtype=dtype)
        equal_passes(backend, Q, K, V, dout, mask, True, 0.4)


@every_backend("ch14_bert_attention", "self_attention")
def test_all_heads_at_once_are_each_alone(backend):
    for dtype in dtypes(backend):
        r = np.random.default_rng(0)
        B, T, heads, D = 2, 11, 3, 5
        qkv = r.standard_normal((B, T, 3 * heads * D)).astype(dtype)
        dout = r.standard_normal((B, T, heads * D)).astype(dtype)
        mask = padding_mask([11, 4], T)
        out, cache = backend.self_attention(qkv, heads, mask, True)
        dqkv = backend.self_attention_backward(dout, cache)
        for h in range(heads):
            parts = [qkv.reshape(B, T, 3, heads, D)[:, :, k, h][:, None] for k in range(3)]
            own = slice(h * D, (h + 1) * D)
            alone, memory = attention(*parts, mask, True)
            assert_close(out[:, :, own], alone[:, 0], 1e-5, 1e-6)
            for k, g in enumerate(attention_backward(dout[:, None, :, own], memory)):
                assert_close(dqkv.reshape(B, T, 3, heads, D)[:, :, k, h], g[:, 0], 1e-5, 1e-6)


@every_twin("ch14_bert_attention", "self_attention", orders=())
def test_one_thread_and_two_give_the_same_bits(backend, threads):
    r, found = np.random.default_rng(0), []
    qkv, dout = r.standard_normal((4, 96, 3 * 64)), r.standard_normal((4, 96, 64))
    for n in (1, 2):
        threads(n)
        out, cache = backend.self_attention(qkv, 4, None, True)
        found.append((out, backend.self_attention_backward(dout, cache)))
    for a, b in zip(*found, strict=True):
        assert_close(a, b, 0, 0)


@every_backend("ch14_bert_attention", "attention")
def test_bad_input_is_named(backend):
    Q, K, V, _, mask = drawn(0, dtype=np.float32)
    for arguments, words in (
            ((Q, K[:1], V), "Q, K, V"), ((Q, K, V[:, :, :2]), "Q, K, V"),
            ((Q[..., :2], K, V), "Q, K, V"), ((Q[:, :, :2], K, V, None, True), "causal"),
            ((Q, K, V, mask[:, :2]), "mask"), ((Q, K, V, mask.astype(int)), "mask"),
            ((Q, K, V, None, False, 1.0, np.random.default_rng(0)), "rate")):
        with pytest.raises(ValueError, match=words):
            backend.attention(*arguments)
    for heads in (0, 5, -1):
        with pytest.raises(ValueError, match="heads"):
            backend.self_attention(np.zeros((1, 2, 12), np.float32), heads)


def test_the_twins_exp_is_exact_to_some_units():
    """Also chapter 15's."""
    from kernels.ch14_bert_attention_tile_numba import _exp_row, _largest

    @njit
    def exp(row):
        most = _largest(row)
        return most, _exp_row(row, most)
    x = np.linspace(-87, 0, 100_001, dtype=np.float32)
    row = x.copy()
    most, total = exp(row)
    want = np.exp(x.astype(np.float64))
    assert most == 0 and abs(total / want.sum() - 1) < 1e-6
    assert np.abs(row / want - 1).max() < 3e-7
    row = np.float32([-np.inf, -1e30, -88, 0])
    exp(row)
    assert (row[:3] < 2e-38).all() and row[3] == 1


# 7. A control: the same in other words.

def test_another_way_to_write_it():
    Q, K, V, dout, mask = drawn(0, T=6)
    A = attention_weights(Q, K, mask)
    S = np.einsum("bhid,bhjd->bhij", Q, K) / 2
    E = np.exp(S) * mask[:, None, None]
    assert_close(A, E / E.sum(3)[..., None], 1e-10, 1e-12)
    qkv = np.stack([Q, K, V]).transpose(1, 3, 0, 2, 4).reshape(2, 6, -1)
    assert_close(np.stack(list(split_heads(qkv, 2))), np.stack([Q, K, V]), 0, 0)
    out, cache = self_attention(qkv, 2, mask)
    assert_close(out, (A @ V).swapaxes(1, 2).reshape(2, 6, -1), 1e-12, 1e-12)
    rows = dout.swapaxes(1, 2).reshape(2, 6, -1)
    assert_close(np.stack(list(split_heads(self_attention_backward(rows, cache), 2))),
                 np.stack(attention_backward(dout, attention(Q, K, V, mask)[1])), 1e-12, 1e-12)


@on_emulator
@pytest.mark.parametrize("old, new", [
    ("__syncthreads();                              // all have used the tile before", ""),
    ("(!s.causal || j <= t)", "(!s.causal || j < t)"),
    (" && real[(long long)b * s.keys + j]", ""),
    ("O[u][c] *= shrink;", ""),
    ("da * kept(s, keep, factor, head, t, j) - sum[u]", "da * kept(s, keep, factor, head, t, j)"),
    ("dv[u][c];\n", "dk[u][c];\n"),
    ("causal ? first / TILE * TILE : 0", "causal ? first + TILE : 0"),
])
def test_a_wrong_kernel_shows(old, new):
    """Without a barrier it is a race; else the numbers are others than the reference's."""
    twin = emulator.load("ch14_bert_attention")
    Q, K, V, dout, mask = drawn(2, 1, 1, 40, 5, dtype=np.float32)
    Q[:, :, :, 0] = K[:, :, :, 0] = np.linspace(0, 3, 40)      # the largest score comes late
    with emulator.running(edits=((old, new),)):
        try:
            got = twin.both_passes("attention", dout, Q, K, V, mask, True)
        except emulator.KernelError as error:
            assert "RACE" in str(error) and "syncthreads" in old
            return
    want = chapter.both_passes("attention", dout, Q, K, V, mask, True)
    assert max(np.abs(a - b).max() for a, b in zip(got, want, strict=True)) > 1e-3
