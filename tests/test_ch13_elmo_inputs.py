"""Chapter 13, what goes in: rows of a table and their gradient, vectors made of letters."""
import math

import numpy as np
import pytest
from conftest import assert_close, assert_gradient
from hypothesis import given
from hypothesis import strategies as st

from primer.ch13_elmo_inputs import (
    BEGIN,
    END,
    FIRST,
    WIDTHS,
    convolve,
    convolve_backward,
    highway,
    highway_backward,
    initial_letters,
    input_vectors,
    input_vectors_backward,
    scatter_add,
    spell,
    spell_backward,
    spelling,
)

WORDS = st.lists(st.text("abcé ", max_size=9), min_size=1, max_size=4)


def drawn(seed, e=3, w=2, filters=4):
    r = np.random.default_rng(seed)
    return r.standard_normal((259, e)), r.standard_normal((w * e, filters)), r.standard_normal(
        filters)


# 1. The equations.

@given(words=WORDS, w=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_filter_is_the_equation(words, w, seed):
    E, F, b = drawn(seed, w=w)
    got = convolve(E, spelling(words), F, b)[0]
    for i, word in enumerate(words):
        letters = [E[BEGIN], *(E[FIRST + byte] for byte in word.encode()), E[END]]
        letters += [np.zeros(3)] * (w - len(letters))
        for m in range(4):
            best = max(sum(letters[p + j] @ F[3 * j:3 * j + 3, m] for j in range(w)) + b[m]
                       for p in range(len(letters) - w + 1))
            assert_close(float(got[i, m]), math.tanh(best), rtol=1e-10)


@given(seed=st.integers(0, 999))
def test_a_highway_is_the_equation(seed):
    r = np.random.default_rng(seed)
    Y, W, b = r.standard_normal((2, 3)), r.standard_normal((3, 6)), r.standard_normal(6)
    got = highway(Y, W, b)[0]
    for i, k in np.ndindex(2, 3):
        t = 1 / (1 + math.exp(-(Y[i] @ W[:, k] + b[k])))
        r = max(0.0, Y[i] @ W[:, k + 3] + b[k + 3])
        assert_close(float(got[i, k]), float(t * r + (1 - t) * Y[i, k]))


def test_letters_are_bytes_between_marks():
    S = spelling(["a", "né", "abcdefgh"], most=6)
    assert S.tolist() == [[1, 100, 2, 0, 0, 0], [1, 113, 198, 172, 2, 0],
                          [1, 100, 101, 102, 103, 2]]


# 3. Properties.

@given(words=WORDS, more=st.integers(0, 6), seed=st.integers(0, 99))
def test_what_stands_beside_a_word_changes_nothing(words, more, seed):
    """Longer words in the same batch, or more padding: the same vectors."""
    P = initial_letters(16, 4, np.random.default_rng(seed), np.float64)
    alone = [spell(P, spelling([w]))[0][0] for w in words]
    S = spelling([*words, "a" * 20])
    assert_close(spell(P, np.pad(S, ((0, 0), (0, more))))[0][:-1], np.array(alone))


@given(seed=st.integers(0, 99))
def test_a_row_a_word_or_letters(seed):
    r = np.random.default_rng(seed)
    P, ids = {"tokens": r.standard_normal((5, 3))}, r.integers(0, 5, (4, 2))
    assert_close(input_vectors(P, ids)[0], P["tokens"][ids])
    P, letters = initial_letters(15, 4, r, np.float64), spelling(["a", "bb", "ccc", "dd", "aab"])
    X, _ = input_vectors(P, ids, letters)
    for place in np.ndindex(4, 2):
        assert_close(X[place], spell(P, letters[ids[place]][None])[0][0])


def test_a_word_never_seen_has_a_vector():
    P = initial_letters(20, 8, np.random.default_rng(0))
    one, two = spell(P, spelling(["embiggens", "embiggened"]))[0]
    assert np.isfinite(one).all() and np.abs(one - two).max() > 1e-3


def test_start():
    P = initial_letters(31, 8, np.random.default_rng(0))
    counts = [P[f"filters.{w}"].shape for w in WIDTHS]
    assert counts == [(8, 2), (16, 4), (24, 6), (32, 8), (40, 11)]
    assert np.array_equal(P["highway.b"], np.repeat([-2, 0], 31).astype(np.float32))
    X, (_, (Y, *_)) = spell(P, spelling(["one", "two"]))
    assert X.shape == (2, 31) and np.abs(X - Y).max() < 0.6


# 4. Gradients.

@given(seed=st.integers(0, 999), w=st.integers(1, 4))
def test_gradient_of_the_filters(seed, w):
    point, S = list(drawn(seed, w=w)), spelling(["abba", "c", "", "baab"])
    up = np.random.default_rng(seed).standard_normal((4, 4))
    grads = convolve_backward(up, convolve(point[0], S, *point[1:])[1])
    for k in range(3):
        def along(p, k=k):
            E, F, b = (*point[:k], p, *point[k + 1:])
            return float((convolve(E, S, F, b)[0] * up).sum())
        assert_gradient(along, grads[k], point[k], seed, eps=1e-6, rtol=1e-6, atol=1e-8)
    assert not grads[0][0].any()                          # the padding's letter is none


@given(seed=st.integers(0, 999))
def test_gradient_of_the_highway(seed):
    r = np.random.default_rng(seed)
    point = [r.standard_normal((3, 4)), r.standard_normal((4, 8)), r.standard_normal(8)]
    up = r.standard_normal((3, 4))
    grads = highway_backward(up, highway(*point)[1])
    for k in range(3):
        def along(p, k=k):
            return float((highway(*point[:k], p, *point[k + 1:])[0] * up).sum())
        assert_gradient(along, grads[k], point[k], seed, eps=1e-6, rtol=1e-6, atol=1e-8)


@given(seed=st.integers(0, 999))
def test_gradient_of_words(seed):
    """A word that stands there twice gets both."""
    r, letters = np.random.default_rng(seed), spelling(["a", "bb", "abc"])
    P, ids = initial_letters(15, 3, r, np.float64), np.array([[0, 2], [2, 1]])
    up = r.standard_normal((2, 2, 15))
    grads = input_vectors_backward(up, input_vectors(P, ids, letters)[1])
    assert grads.keys() == P.keys()
    for name in P:
        def along(x, name=name):
            return float((input_vectors(P | {name: x}, ids, letters)[0] * up).sum())
        assert_gradient(along, grads[name], P[name], seed, eps=1e-6, rtol=1e-6, atol=1e-8)
    X = up.reshape(4, 15)
    want = np.array([X[0], X[3], X[1] + X[2]])
    assert_close(scatter_add(up, ids, 3), want)
    assert spell_backward(want, spell(P, letters)[1]).keys() == P.keys()


# Errors.

def test_bad_input_is_named():
    for words, most in (([], 9), (["a"], 2)):
        with pytest.raises(ValueError, match="words, most: expected words"):
            spelling(words, most)
    P = initial_letters(15, 4, np.random.default_rng(0)) | {"tokens": np.ones((2, 15))}
    for letters in (None, spelling(["a", "b"])):
        with pytest.raises(ValueError, match="ids: expected words from 0 to 1, got 2"):
            input_vectors(P, np.array([[0, 2]]), letters)
    E, F, b = drawn(0, w=4)
    with pytest.raises(ValueError, match="S: expected at least 4 letters, as wide as the filters"):
        convolve(E, np.ones((2, 3), np.int32), F, b)
    for d, e in ((14, 3), (20, 0)):
        with pytest.raises(ValueError, match="d, e: expected 15 and 1 or more"):
            initial_letters(d, e, np.random.default_rng(0))
