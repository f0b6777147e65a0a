"""Chapter 14's other layers: equations, properties, gradients, parity, twins."""
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import EDGE_SIZES, assert_close, emulated, every_backend, every_twin, on_emulator
from hypothesis import given
from hypothesis import strategies as st
from test_ch14_bert_attention import assert_slope, dtypes

from kernels import emulator
from kernels.emulator import gpu
from primer import ch14_bert_layers as chapter
from primer.ch14_bert_layers import (
    adam_state,
    clip_norm,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    layer_norm,
    warmup_rate,
)

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-9}
seeds = st.integers(0, 2**32 - 1)
FROZEN = Path(__file__).parent / "parity/ch14_bert_layers.npz"


def close(got, want, dtype, scale=1):
    assert_close(got, np.asarray(want).astype(dtype), scale * TOLERANCE[dtype],
                 scale * TOLERANCE[dtype])


# 1. Equations, by loops.

def spec_norm(x, scale, shift, eps):
    mean = sum(x) / len(x)
    variance = sum((a - mean) ** 2 for a in x) / len(x)
    return [s * (a - mean) / math.sqrt(variance + eps) + b
            for a, s, b in zip(x, scale, shift, strict=True)]


@every_backend("ch14_bert_layers", "layer_norm")
@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_layer_norm_is_the_equation(backend, eps):
    for dtype in dtypes(backend):
        X, R = np.random.default_rng(0).standard_normal((2, 5, 7)).astype(dtype)
        scale, shift = np.random.default_rng(1).standard_normal((2, 7)).astype(dtype)
        close(backend.layer_norm(X, scale, shift, eps)[0],
              [spec_norm(x.tolist(), scale, shift, eps) for x in X], dtype)
        close(backend.add_layer_norm(X, R, scale, shift, eps)[0],
              [spec_norm(x.tolist(), scale, shift, eps) for x in X + R], dtype)


@every_backend("ch14_bert_layers", "bias_gelu")
def test_gelu_is_the_equation(backend):
    for dtype in dtypes(backend):
        x = np.linspace(-9, 9, 181).astype(dtype)[None]
        want = [[a * math.erfc(-a / math.sqrt(2)) / 2 for a in x[0].tolist()]]
        close(backend.gelu(x)[0], want, dtype, 0.1)
        b = np.full(181, 0.25, dtype)
        close(backend.bias_gelu(x - b, b)[0], want, dtype, 0.2)


@every_backend("ch14_bert_layers", "cross_entropy")
def test_cross_entropy_is_the_equation(backend):
    for dtype in dtypes(backend):
        S = np.random.default_rng(0).standard_normal((5, 7)).astype(dtype)
        labels = [0, 6, 3, 3, 1]
        p = [[math.exp(s) / sum(math.exp(t) for t in row) for s in row] for row in S.tolist()]
        losses, cache = backend.cross_entropy(S, labels)
        close(losses, [-math.log(row[j]) for row, j in zip(p, labels, strict=True)], dtype)
        each = np.arange(5.0)
        want = [[g * (q - (j == k)) for k, q in enumerate(row)]
                for g, row, j in zip(each, p, labels, strict=True)]
        close(backend.cross_entropy_backward(each, cache), want, dtype)
        close(backend.cross_entropy_backward(0.5, cache), np.array(want) / np.where(
            each, each, np.inf)[:, None] / 2 + (each == 0)[:, None] * (
                np.array(p) - np.eye(7)[labels]) / 2, dtype)


@every_backend("ch14_bert_layers", "adam_update")
def test_adam_is_the_algorithm(backend):
    """Kingma and Ba, algorithm 1, and Loshchilov and Hutter's decay, one number at a time."""
    for dtype in dtypes(backend):
        r = np.random.default_rng(0)
        x = r.standard_normal((3, 5)).astype(dtype)
        want, m, v = x.astype(float), np.zeros((3, 5)), np.zeros((3, 5))
        state = adam_state({"x": x})
        P = {"x": x}
        for t in range(1, 6):
            g = r.standard_normal((3, 5)).astype(dtype)
            backend.adam_step(P, {"x": g}, state, 0.1, (0.8, 0.9), 1e-3, 0.02)
            for i in np.ndindex(3, 5):
                m[i] = 0.8 * m[i] + 0.2 * g[i]
                v[i] = 0.9 * v[i] + 0.1 * g[i] ** 2
                step = m[i] / (1 - 0.8 ** t) / (math.sqrt(v[i] / (1 - 0.9 ** t)) + 1e-3)
                want[i] -= 0.1 * (step + 0.02 * want[i])
        close(x, want, dtype)
        assert state["t"] == 5


@every_backend("ch14_bert_layers", "gather")
def test_gather_and_scatter(backend):
    for dtype in dtypes(backend):
        E = np.random.default_rng(0).standard_normal((6, 3)).astype(dtype)
        ids = np.array([[1, 5, 1], [0, 1, 2]])
        assert_close(backend.gather(E, ids), E[ids], 0, 0)
        dX = np.random.default_rng(1).standard_normal((2, 3, 3)).astype(dtype)
        want = np.zeros((6, 3))
        for i in np.ndindex(2, 3):
            want[ids[i]] += dX[i]
        close(backend.scatter_add(dX, ids, 6), want, dtype)


@every_backend("ch14_bert_layers", "linear")
def test_linear(backend):
    for dtype in dtypes(backend):
        r = np.random.default_rng(0)
        X, W, b = (r.standard_normal(s).astype(dtype) for s in ((2, 3, 4), (4, 5), (5,)))
        Y, cache = backend.linear(X, W, b)
        close(Y, np.einsum("btd,do->bto", X, W) + b, dtype)
        close(backend.linear(X, W)[0], np.einsum("btd,do->bto", X, W), dtype)
        dX, dW, db = backend.linear_backward(np.ones_like(Y), cache)
        close(dX, np.broadcast_to(W.sum(1), X.shape), dtype)
        close(dW, np.broadcast_to(X.sum((0, 1))[:, None], W.shape), dtype)
        close(db, np.full(5, 6), dtype)
        assert backend.linear_backward(Y, backend.linear(X, W)[1])[2] is None
        with pytest.raises(ValueError, match="X: expected rows of length 4"):
            backend.linear(X[..., :3], W, b)


# 2. Known values.

def test_gelu_at_known_places():
    """Hendrycks and Gimpel's function: 0 at 0, x Phi(x) at 1 (Phi(1) = 0.8413447)."""
    assert_close(gelu(np.array([0.0, 1.0, -1.0]))[0], np.array([0, 0.84134475, -0.15865525]), 1e-7)
    x = np.linspace(-6, 6, 1001)
    gap = np.abs(gelu_tanh(x)[0] - gelu(x)[0]).max()
    assert 4e-4 < gap < 5e-4                             # what the docstring says of tanh's


def test_the_schedule():
    got = [warmup_rate(s, 10, 2.0, 4) for s in range(11)]
    want = [0, 0.5, 1, 1.5, 2, 10 / 6, 8 / 6, 1, 4 / 6, 2 / 6, 0]
    assert_close(np.array(got), np.array(want), 1e-12)
    assert warmup_rate(0, 5, 1.0, 0) == 1 and warmup_rate(5, 5, 1.0, 5) == 0
    for wrong in ((-1, 5, 1.0, 0), (6, 5, 1.0, 0), (1, 5, 1.0, 6)):
        with pytest.raises(ValueError, match="step, warmup"):
            warmup_rate(*wrong)


def test_clipping():
    grads = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert clip_norm(grads, 10) == 5 and grads["a"][0] == 3
    assert clip_norm(grads, 2.5) == 5
    assert_close(np.array([*grads["a"], grads["b"][0, 0]]), np.array([1.5, 0, 2]), 1e-12)
    with pytest.raises(ValueError, match="largest"):
        clip_norm(grads, 0)


# 3. Properties.

@given(seeds, st.floats(0.1, 50), st.floats(-50, 50))
def test_layer_norm_forgets_scale_and_shift_of_a_row(seed, a, c):
    X = np.random.default_rng(seed).standard_normal((3, 8))
    ones, zeros = np.ones(8), np.zeros(8)
    Y = layer_norm(X, ones, zeros)[0]
    assert_close(layer_norm(a * X + c, ones, zeros)[0], Y, 1e-6, 1e-6)
    assert_close(Y.mean(1), np.zeros(3), 0, 1e-9)
    assert_close(np.square(Y).sum(1), np.full(3, 8.0), 1e-6)


@every_backend("ch14_bert_layers", "layer_norm")
def test_a_constant_row_becomes_the_shift(backend):
    X, scale = np.full((2, 8), 3, np.float32), np.full(8, 2, np.float32)
    assert_close(backend.layer_norm(X, scale, scale / 4)[0], np.full((2, 8), 0.5, np.float32))


@given(seeds)
def test_gelu_of_both_signs_makes_up_the_number(seed):
    x = np.random.default_rng(seed).standard_normal(9) * 3
    assert_close(gelu(x)[0] - gelu(-x)[0], x, 1e-12, 1e-12)
    assert_close(gelu_tanh(x)[0] - gelu_tanh(-x)[0], x, 1e-12, 1e-12)


@every_backend("ch14_bert_layers", "cross_entropy")
def test_cross_entropy_takes_large_scores_and_writes_where_it_is_told(backend):
    S = np.array([[1e4, 0, -1e4], [-3e4, -3e4, -3e4]], np.float32)
    losses, cache = backend.cross_entropy(S, [1, 2])
    assert_close(losses, np.array([1e4, math.log(3)], np.float32), 1e-6, 2e-3)     # an ulp of 3e4
    want = backend.cross_entropy_backward(2.0, cache)
    assert_close(want.sum(1), np.zeros(2, np.float32), 0, 1e-6)
    losses, cache = backend.cross_entropy(S, [1, 2])
    assert backend.cross_entropy_backward(2.0, cache, out=S) is S
    assert_close(S, want, 0, 0)


@every_backend("ch14_bert_layers", "adam_update")
def test_adams_first_step_has_the_rates_length(backend):
    """m / sqrt(v) is the gradient's sign then, whatever its size."""
    for size in (1e-3, 1e3):
        x = np.zeros(50, np.float32)
        g = (np.random.default_rng(0).standard_normal(50) * size).astype(np.float32)
        backend.adam_update(x, g, np.zeros_like(x), np.zeros_like(x), 1, 0.1, eps=1e-12)
        assert_close(x, -0.1 * np.sign(g), 1e-4, 1e-6)


@every_backend("ch14_bert_layers", "adam_step")
def test_decay_is_of_matrices_only_and_apart_from_the_gradient(backend):
    P = {"W": np.full((2, 2), 4, np.float32), "b": np.full(2, 4, np.float32)}
    backend.adam_step(P, {k: np.zeros_like(x) for k, x in P.items()}, adam_state(P), 0.5, decay=0.1)
    assert_close(P["W"], np.full((2, 2), 3.8, np.float32), 1e-6)
    assert_close(P["b"], np.full(2, 4, np.float32), 1e-6)


@every_backend("ch14_bert_layers", "adam_step")
def test_bad_steps_are_named_and_change_nothing(backend):
    P = {"W": np.ones((2, 2), np.float32)}
    state, good = adam_state(P), {"W": np.ones((2, 2), np.float32)}
    for grads, rate, betas in (({"V": good["W"]}, 0.1, (0.9, 0.9)), (good, -0.1, (0.9, 0.9)),
                               ({"W": np.ones(2, np.float32)}, 0.1, (0.9, 0.9)),
                               (good, 0.1, (1.0, 0.9)), (good, float("nan"), (0.9, 0.9))):
        with pytest.raises(ValueError, match="grads|rate, betas"):
            backend.adam_step(P, grads, state, rate, betas)
    assert state["t"] == 0 and (P["W"] == 1).all() and not state["m"]["W"].any()


@every_backend("ch14_bert_layers", "gather")
def test_ids_outside_are_refused(backend):
    E = np.zeros((3, 2), np.float32)
    for ids in ([3], [-1]):
        with pytest.raises(ValueError, match="ids"):
            backend.gather(E, ids)
        with pytest.raises(ValueError, match="ids"):
            backend.scatter_add(E[:1], ids, 3)
        with pytest.raises(ValueError, match="labels"):
            backend.cross_entropy(E[:1], [2 if ids == [3] else -1])


# 4. Gradients.

def array(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


LAYERS = {                            # its function: inputs, what it needs besides
    "linear": ([array(1, 5, 4), array(2, 4, 3), array(3, 3)], ()),
    "layer_norm": ([array(1, 5, 6), array(2, 6), array(3, 6)], ()),
    "bias_gelu": ([array(1, 5, 6), array(2, 6)], ()),
    "gelu": ([array(1, 5, 6)], ()),
    "gelu_tanh": ([array(1, 5, 6)], ()),
    "cross_entropy": ([array(1, 5, 6)], ([0, 5, 2, 2, 3],)),
}


@every_backend("ch14_bert_layers", "linear", orders=())
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("seed", range(3))
def test_gradients(backend, name, seed):
    backend = backend if hasattr(backend, name) else chapter     # tanh's GELU has no twin
    inputs, rest = LAYERS[name]
    forward, backward = getattr(backend, name), getattr(backend, f"{name}_backward")
    Y, cache = forward(*inputs, *rest)
    dY = array(seed + 7, *Y.shape)
    grads = backward(dY, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    assert_slope(lambda *xs: (forward(*xs, *rest)[0] * dY).sum(), grads, inputs, seed)
    for k, x in enumerate(inputs):                       # each alone
        assert_slope(lambda x, k=k: (forward(*(x if i == k else y for i, y in enumerate(inputs)),
                                             *rest)[0] * dY).sum(), (grads[k],), (x,), seed)


@every_backend("ch14_bert_layers", "add_layer_norm", orders=())
def test_the_residual_has_the_same_gradient(backend):
    X, R, scale, shift, dY = (array(k, *s) for k, s in enumerate(
        ((5, 6), (5, 6), (6,), (6,), (5, 6))))
    dX, *_ = backend.add_layer_norm_backward(dY, backend.add_layer_norm(X, R, scale, shift)[1])
    for k in range(2):
        assert_slope(lambda x, k=k: (backend.add_layer_norm(
            *((x, R) if k == 0 else (X, x)), scale, shift)[0] * dY).sum(), (dX,), ((X, R)[k],), k)


def test_gather_and_scatter_are_each_others_transposes():
    E, ids, dX = array(0, 6, 3), np.array([1, 5, 1, 0]), array(1, 4, 3)
    assert_close(float((chapter.gather(E, ids) * dX).sum()),
                 float((E * chapter.scatter_add(dX, ids, 6)).sum()), 1e-12)


# 5. Parity with torch, frozen (tests/parity/ch14_bert_layers.py).

@every_backend("ch14_bert_layers", "layer_norm")
def test_torch_has_the_same(backend):
    frozen = np.load(FROZEN)
    X, dY = frozen["X"], frozen["dY"]
    scale, shift = frozen["scale"], frozen["shift"]
    Y, cache = backend.layer_norm(X, scale, shift, 1e-5)
    for got, want in zip((Y, *backend.layer_norm_backward(dY, cache)),
                         (frozen[f"norm_{k}"] for k in range(4)), strict=True):
        assert_close(got, want, 2e-5, 2e-6)
    Y, cache = backend.gelu(X)
    assert_close(Y, frozen["gelu_0"], 1e-5, 1e-6)
    assert_close(backend.gelu_backward(dY, cache), frozen["gelu_1"], 1e-5, 1e-6)
    losses, cache = backend.cross_entropy(X, frozen["labels"])
    assert_close(losses, frozen["losses_0"], 1e-5, 1e-6)
    assert_close(backend.cross_entropy_backward(1.0, cache), frozen["losses_1"], 1e-5, 1e-6)
    P = {"W": X.copy(), "b": shift.copy()}
    state = adam_state(P)
    for k in range(4):
        grads = {"W": frozen["adam_W_grads"][k], "b": frozen["adam_b_grads"][k]}
        backend.adam_step(P, grads, state, 0.01, (0.9, 0.99), 1e-6, 0.1)
    assert_close(P["W"], frozen["adam_W"], 1e-5, 1e-6)
    assert_close(P["b"], frozen["adam_b"], 1e-5, 1e-6)


def test_torch_has_the_same_tanh():
    frozen = np.load(FROZEN)
    Y, cache = gelu_tanh(frozen["X"])
    assert_close(Y, frozen["tanh_0"], 1e-5, 1e-6)
    assert_close(gelu_tanh_backward(frozen["dY"], cache), frozen["tanh_1"], 1e-5, 1e-6)


# 6. Twins.

CALLS = {
    "linear": lambda r, n, d: (r((n, d)), r((n, 7)), r((7, d)), r(d)),
    "layer_norm": lambda r, n, d: (r((n, d)), r((n, d)), r(d), r(d)),
    "add_layer_norm": lambda r, n, d: (r((n, d)), r((n, d)), r((n, d)), r(d), r(d)),
    "gelu": lambda r, n, d: (r((n, d)), r((n, d))),
    "bias_gelu": lambda r, n, d: (r((n, d)), r((n, d)), r(d)),
    "cross_entropy": lambda r, n, d: (r(n), r((n, d)), np.arange(n) % d),
}


@every_twin("ch14_bert_layers", "linear")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("n", EDGE_SIZES)
def test_twin_has_the_references_results(backend, name, n, threads):
    threads(2)
    for dtype in dtypes(backend):
        for d in (33,) if emulated(backend) else (3, 33, 1000):
            r = np.random.default_rng(n)
            dY, *given = CALLS[name](lambda s, dtype=dtype, r=r: r.standard_normal(s).astype(dtype),
                                     n, d)
            parts = zip(backend.both_passes(name, dY, *given),
                        chapter.both_passes(name, dY, *given), strict=True)
            for got, want in parts:
                assert got.dtype == want.dtype == dtype
                assert_close(got, want, TOLERANCE[dtype],
                             TOLERANCE[dtype] * max(1, np.abs(want).max(initial=0)))


@every_twin("ch14_bert_layers", "gather", orders=())
@pytest.mark.parametrize("n", [0, 1, 129, 5000])
def test_twin_gathers_and_scatters_with_threads(backend, n, threads):
    threads(2)
    r = np.random.default_rng(n)
    for dtype in dtypes(backend):
        E, dX = r.standard_normal((50, 40)).astype(dtype), r.standard_normal((n, 40)).astype(dtype)
        ids = r.integers(0, 50, n)
        assert_close(backend.gather(E, ids), E[ids], 0, 0)
        assert_close(backend.scatter_add(dX, ids, 50), chapter.scatter_add(dX, ids, 50),
                     1e-12, 1e-12)                       # in the same order


@every_twin("ch14_bert_layers", "adam_update", orders=())
def test_twin_steps_with_threads(backend, threads):
    threads(2)
    r = np.random.default_rng(0)
    for dtype in dtypes(backend):
        own, other = ([x.copy() for x in r.standard_normal((4, 300, 301)).astype(dtype)],), None
        own = list(own[0])
        own[3] = np.square(own[3])
        other = [x.copy() for x in own]
        backend.adam_update(*own, 7, 0.01, decay=0.1)
        chapter.adam_update(*other, 7, 0.01, decay=0.1)
        for a, b in zip(own, other, strict=True):
            assert_close(a, b, 1e-5, 1e-6)


@every_twin("ch14_bert_layers", "layer_norm", orders=())
def test_twin_lets_nan_through(backend):
    X = np.ones((3, 8), np.float32) * np.arange(8, dtype=np.float32)
    X[1, 2] = np.nan
    ones = np.ones(8, np.float32)
    for Y in (backend.layer_norm(X, ones, ones)[0], backend.gelu(X)[0],
              backend.cross_entropy(X, [0, 0, 0])[0]):
        assert np.isnan(Y[1]).any() and np.isfinite(Y[0]).all() and np.isfinite(Y[2]).all()


# 7. A control: the same in other words.

def test_another_way_to_write_it():
    X, dY = array(0, 4, 9), array(1, 4, 9)
    J = np.eye(9) - 1 / 9                                # the mean taken away, as a matrix
    Y, cache = layer_norm(X, np.ones(9), np.zeros(9))
    assert_close(Y, X @ J * 3 / np.linalg.norm(X @ J, axis=1)[:, None], 1e-9, 1e-9)
    dX = chapter.layer_norm_backward(dY, cache)[0]
    assert_close(dX.sum(1), np.zeros(4), 0, 1e-12)       # no slope along what is forgotten
    assert_close((dX * X).sum(1), np.zeros(4), 0, 1e-9)
    x = array(3, 20)
    slope = (gelu(x + 1e-6)[0] - gelu(x - 1e-6)[0]) / 2e-6
    assert_close(gelu_backward(np.ones(20), x), slope, 1e-7, 1e-8)


@on_emulator
@pytest.mark.parametrize("call, old, new", [
    ("scatter_add", "atomicAdd(dE + (long long)ids[e / d] * d + e % d, dX[e]);",
     "dE[(long long)ids[e / d] * d + e % d] += dX[e];"),
    ("both_passes, linear", "  __syncthreads();\n  if (line == 0", "  if (line == 0"),
    ("both_passes, add_layer_norm", " - mean - normal[row + k] * along", " - mean"),
    ("both_passes, add_layer_norm", "both ? A[e] * B[e] : A[e]", "A[e]"),
    ("both_passes, bias_gelu", "const float x = X[e] + b[e % d];\n  dX",
     "const float x = X[e];\n  dX"),
    ("both_passes, cross_entropy", " - (j == labels[i])", ""),
    ("adam_update", "kept2 * (g[e] * g[e] - v[e])", "kept2 * (g[e] - v[e])"),
])
def test_a_wrong_kernel_shows(call, old, new):
    """Without an atomic addition or a barrier it is a race; else the numbers are others."""
    twin, r = emulator.load("ch14_bert_layers"), np.random.default_rng(0)
    arguments = twin.examples(r)[call]
    if call == "scatter_add":
        arguments = (arguments[0], arguments[1] % 3, 3)         # rows that meet
    assert not gpu.compare("ch14_bert_layers", twin, call, arguments, "ours")
    with emulator.running(edits=((old, new),)):
        (words,) = gpu.compare("ch14_bert_layers", twin, call, arguments, "edited")
    assert ("RACE" in words) == ("atomic" in old or "sync" in old)
