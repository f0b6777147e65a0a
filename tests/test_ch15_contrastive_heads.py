"""Chapter 15: SBERT's three losses, alignment, uniformity, second moments."""
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close, assert_gradient
from hypothesis import given
from hypothesis import strategies as st

from primer.ch15_contrastive import info_nce, unit_vectors
from primer.ch15_contrastive_heads import (
    alignment,
    alignment_grad,
    classify_pairs,
    classify_pairs_backward,
    pair_features,
    regress_cosine,
    regress_cosine_backward,
    second_moment,
    second_moment_grad,
    triplet,
    triplet_backward,
    uniformity,
    uniformity_grad,
)

SEEDS = st.integers(0, 9999)
FACTORS = st.sampled_from([1.0, -1.7])


def drawn(seed, n=4, d=3):
    """-> three of (n, d), labels (n,) of 3, likeness (n,)."""
    rng = np.random.default_rng(seed)
    return (*rng.standard_normal((3, n, d)), rng.integers(0, 3, n), rng.uniform(-1, 1, n))


def sphere(seed, n=6, d=3):
    return unit_vectors(np.random.default_rng(seed).standard_normal((n, d)))[0]


# 1. The equations.

@given(seed=SEEDS)
def test_losses_are_the_equations(seed):
    U, V, N, labels, y = drawn(seed)
    W = np.random.default_rng(seed).standard_normal((9, 3))
    want = [0.0, 0.0, 0.0]
    for u, v, q, label, likeness in zip(U, V, N, labels, y, strict=True):
        s = [sum(x * w for x, w in zip([*u, *v, *abs(u - v)], column, strict=True))
             for column in W.T]
        want[0] += (math.log(sum(map(math.exp, s))) - s[label]) / 4
        cosine = sum(u * v) / math.sqrt(sum(u * u) * sum(v * v))
        want[1] += (cosine - likeness) ** 2 / 4
        want[2] += max(0, math.dist(u, v) - math.dist(u, q) + 0.5) / 4
    assert_close(classify_pairs(U, V, W, labels)[0], want[0])
    assert_close(regress_cosine(U, V, y)[0], want[1])
    assert_close(triplet(U, V, N, 0.5)[0], want[2])


@given(seed=SEEDS, t=st.sampled_from([0.5, 2.0]), alpha=st.sampled_from([1.0, 2.0, 3.0]))
def test_the_sphere_is_the_equations(seed, t, alpha):
    X, Y = sphere(seed), sphere(seed + 1)
    pairs = [(i, j) for i in range(6) for j in range(i)]
    want = math.log(sum(math.exp(-t * math.dist(X[i], X[j]) ** 2) for i, j in pairs) / 15)
    assert_close(uniformity(X, t), want)
    assert_close(alignment(X, Y, alpha),
                 sum(math.dist(x, y) ** alpha for x, y in zip(X, Y, strict=True)) / 6)
    assert_close(second_moment(X), sum((X[i] @ X[j]) ** 2 for i, j in pairs) / 15)


# 3. Properties.

@given(seed=SEEDS)
def test_each_pair_stands_alone(seed):                                        # line 1639 errs
    U, V, N, labels, y = drawn(seed)
    W = np.random.default_rng(seed).standard_normal((9, 3))
    losses = [classify_pairs(U[[i]], V[[i]], W, labels[[i]])[0] for i in range(4)]
    assert_close(classify_pairs(U, V, W, labels)[0], np.mean(losses))
    losses = [regress_cosine(U[[i]], V[[i]], y[[i]])[0] for i in range(4)]
    assert_close(regress_cosine(U, V, y)[0], np.mean(losses))
    losses = [triplet(U[[i]], V[[i]], N[[i]])[0] for i in range(4)]
    assert_close(triplet(U, V, N)[0], np.mean(losses))


def test_features_know_the_order_of_a_pair_only_in_their_first_parts():
    U, V, *_ = drawn(0)
    F, G = pair_features(U, V), pair_features(V, U)
    assert_close(F[:, :3], G[:, 3:6])
    assert_close(F[:, 6:], G[:, 6:])


@given(seed=SEEDS)
def test_a_triple_that_is_far_enough_costs_nothing(seed):
    U, V, *_ = drawn(seed)
    loss, cache = triplet(U, V, U + 100, margin=1.0)
    assert loss == 0 and not any(x.any() for x in triplet_backward(1.0, cache))
    assert_close(triplet(U, V, V, margin=0.7)[0], 0.7)


def test_equal_vectors_give_no_nan():
    U = np.ones((2, 3))
    for x in triplet_backward(1.0, triplet(U, U, U)[1]):
        assert_close(x, np.zeros((2, 3)))
    du, dv = regress_cosine_backward(1.0, regress_cosine(U, U, np.zeros(2))[1])
    assert_close(du, np.zeros((2, 3)), atol=1e-12)
    assert_close(dv, np.zeros((2, 3)), atol=1e-12)


@given(seed=SEEDS)
def test_lengths_are_nothing_to_the_cosine(seed):
    U, V, _, _, y = drawn(seed)
    assert_close(regress_cosine(3 * U, V / 5, y)[0], regress_cosine(U, V, y)[0])


@given(seed=SEEDS)
def test_turning_the_sphere_changes_nothing(seed):
    X = sphere(seed)
    R = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    assert_close(uniformity(X @ R), uniformity(X))
    assert_close(second_moment(X @ R), second_moment(X))
    assert_close(alignment(X @ R, X[::-1] @ R), alignment(X, X[::-1]))


def test_what_is_crowded_and_what_is_not():
    assert_close(uniformity(np.ones((3, 4)) / 2), 0.0)                        # all in one place
    assert_close(uniformity(np.array([[1.0, 0], [-1, 0]])), -8.0)             # two poles
    X = sphere(0, 2000, 256)
    assert_close(uniformity(X), -4.0, atol=0.05)                              # -2 t
    assert uniformity(sphere(0, 50, 3)) > uniformity(sphere(0, 50, 30))


def test_second_moments_do_not_make_a_uniform_sphere():                       # line 1853 errs
    axes, d = np.concatenate([np.eye(8), -np.eye(8)]), 8
    twice = np.concatenate([np.eye(8), np.eye(8)])
    for X in (axes, twice):
        assert_close(second_moment(X), (2 * d / d - 1) / (2 * d - 1))         # Welch's bound
        assert_close(second_moment_grad(X) - (second_moment_grad(X) * X).sum(
            axis=1, keepdims=True) * X, np.zeros_like(X), atol=1e-12)         # no way on the sphere
    assert uniformity(twice) > uniformity(axes) + 0.1
    assert second_moment(np.eye(8)) == 0
    assert second_moment(sphere(1, 16, 8)) > 1 / 15


def test_many_negatives_make_infonce_of_alignment_and_uniformity():
    """Wang and Isola, theorem 1: L - ln n is near alignment / (2 tau) - 1 / tau plus the mean of
    ln E exp(<x, y> / tau), for texts that are drawn alike."""
    rng, tau = np.random.default_rng(0), 0.5
    X = unit_vectors(rng.standard_normal((3000, 8)))[0]
    Y = unit_vectors(X + 0.2 * rng.standard_normal(X.shape))[0]
    others = np.log(np.exp(X @ Y.T / tau).mean(axis=1)).mean()
    assert_close(info_nce(X, Y, tau) - math.log(3000),
                 alignment(X, Y) / (2 * tau) - 1 / tau + others, atol=1e-9)
    assert_close(others, uniformity(X, 1 / (2 * tau)) + 1 / tau, atol=0.02)


# 4. Gradients.

@given(seed=SEEDS, g=FACTORS)
def test_gradients_of_pairs(seed, g):
    U, V, N, labels, y = drawn(seed)
    W = np.random.default_rng(seed).standard_normal((9, 3))
    cases = ((lambda u, v, w: classify_pairs(u, v, w, labels), classify_pairs_backward, (U, V, W)),
             (lambda u, v: regress_cosine(u, v, y), regress_cosine_backward, (U, V)),
             (lambda a, p, q: triplet(a, p, q, 0.7), triplet_backward, (U, V, N)))
    for loss, backward, arrays in cases:
        grads = backward(g, loss(*arrays)[1])
        for i, (x, dx) in enumerate(zip(arrays, grads, strict=True)):
            assert_gradient(lambda z, i=i, loss=loss, arrays=arrays: g * loss(
                *(z if j == i else a for j, a in enumerate(arrays)))[0], dx, x, seed + 1)


@given(seed=SEEDS, g=FACTORS, alpha=st.sampled_from([1.5, 2.0, 3.0]))
def test_gradients_of_the_sphere(seed, g, alpha):
    X, Y, *_ = drawn(seed)
    dX, dY = alignment_grad(X, Y, alpha, g)
    assert_gradient(lambda x: g * alignment(x, Y, alpha), dX, X, seed + 1)
    assert_gradient(lambda x: g * alignment(X, x, alpha), dY, Y, seed + 1)
    assert_gradient(lambda x: g * uniformity(x, alpha), uniformity_grad(X, alpha, g), X, seed + 1)
    assert_gradient(lambda x: g * second_moment(x), second_moment_grad(X, g), X, seed + 1)


# 5. Parity; what it computes stands in tests/parity/ch15_contrastive.py.

@pytest.fixture(scope="module")
def frozen():
    path = Path(__file__).parent / "parity/ch15_contrastive.npz"
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def test_pairs_equal_sentence_transformers(frozen):
    A, B, N = (frozen[k] for k in "ABN")
    for name, (loss, cache), backward in (
            ("cosine", regress_cosine(A, B, frozen["Y"]), regress_cosine_backward),
            ("triplet", triplet(A, B, N, margin=5.0), triplet_backward),
            ("classes", classify_pairs(A, B, frozen["W"], frozen["labels"]),
             classify_pairs_backward)):
        assert_close(loss, float(frozen[name]), rtol=1e-6)
        for i, x in enumerate(backward(1.0, cache)):
            assert_close(x, frozen[f"{name}_d{i}"], rtol=1e-5, atol=1e-7)


def test_uniformity_equals_torch(frozen):
    X = unit_vectors(frozen["A"])[0]
    assert_close(uniformity(X), float(frozen["uniformity"]))
    assert_close(uniformity_grad(X), frozen["uniformity_d0"])


# Errors.

def test_bad_input_is_refused():
    U, V, N, labels, y = drawn(0)
    W = np.ones((9, 3))
    for words, call in (
            ("V: expected", lambda: classify_pairs(U, V[:3], W, labels)),
            ("U: expected", lambda: classify_pairs(U * np.nan, V, W, labels)),
            ("labels: expected 4 of 0 to 2", lambda: classify_pairs(U, V, W, labels + 3)),
            ("labels: expected", lambda: classify_pairs(U, V, W, labels[:3])),
            ("y: expected 4", lambda: regress_cosine(U, V, y[:3])),
            ("without rows of zeros", lambda: regress_cosine(0 * U, V, y)),
            ("negatives: expected", lambda: triplet(U, V, N[:, :2])),
            ("margin: expected", lambda: triplet(U, V, N, -1.0)),
            ("margin: expected", lambda: triplet(U, V, N, np.nan)),
            ("Y: expected", lambda: alignment(U, V[:2])),
            ("X: expected two rows", lambda: uniformity(U[:1])),
            ("X: expected", lambda: uniformity(U, 0.0)),
            ("X: expected", lambda: uniformity(U[:0])),
            ("X: expected two", lambda: second_moment(U[:1]))):
        with pytest.raises(ValueError, match=words):
            call()
