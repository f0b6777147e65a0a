"""Exercises of chapter 14 over a Transformer's parts: where to look, and each row at one length.

The rest of the chapter's are in ch14_bert.py, which makes these part of its catalogue.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer.exercises.kit import Exercise, expect, expect_close

SEEDS = st.integers(0, 9999)


def expect_slopes(value, grads, arrays, seed):
    """The slope of value(arrays) along one direction of all arrays is that of grads.  dicts."""
    expect(set(grads) >= set(arrays), "a gradient for each array", yours=sorted(grads),
           expected=sorted(arrays))
    rng = np.random.default_rng([seed, 1])               # not the numbers that were drawn before
    along = {k: rng.standard_normal(x.shape) for k, x in arrays.items()}
    at = [value({k: x + h * along[k] for k, x in arrays.items()}) for h in (1e-6, -1e-6)]
    want = (at[0] - at[1]) / 2e-6
    got = 0.0
    for k, x in arrays.items():
        expect(np.shape(grads[k]) == x.shape, f"the gradient of {k} has its shape",
               yours=np.shape(grads[k]), expected=x.shape)
        got += float((grads[k] * along[k]).sum())
    expect_close(got, want, "along one direction", rtol=1e-5, atol=1e-7)


look = Exercise("ch14.attention", "primer.ch14_bert_attention", ["attention_weights"],
                "Where to look", "14.7")


def drawn_heads_of(seed, T=5, D=3):
    """-> Q, K: (2, 2, T, D), mask (2, T): the second text is shorter by two."""
    Q, K = np.random.default_rng(seed).standard_normal((2, 2, 2, T, D))
    return Q, K, np.arange(T) < np.array([[T], [T - 2]])


@look.property("a word's weights sum to 1; padding has none", seed=SEEDS,
               hint="minus infinity for the scores of keys that are no words, before the softmax")
def sums_to_one(impl, seed):
    Q, K, mask = drawn_heads_of(seed)
    A = impl.attention_weights(Q, K, mask)
    expect_close(A.sum(axis=3), np.ones((2, 2, 5)), "each row", rtol=1e-6)
    expect_close(A[1, :, :, 3:], np.zeros((2, 5, 2)), "the padding's columns")


@look.property("causal: nothing of what comes later", seed=SEEDS,
               hint="place i looks at 0..i: the lower triangle, its diagonal included")
def causal(impl, seed):
    Q, K, _ = drawn_heads_of(seed)
    A = impl.attention_weights(Q, K, None, True)
    expect_close(A, np.tril(A), "zeros above the diagonal")
    short = impl.attention_weights(Q[:, :, :3], K[:, :, :3], None, True)
    expect_close(A[:, :, :3, :3], short, "the first three words, alone", rtol=1e-6)


@look.property("a row with nothing to look at is 0, and large scores are no trouble", seed=SEEDS,
               hint="take a row's largest score off first; divide by 1 where the sum is 0")
def no_key(impl, seed):
    Q, K, mask = drawn_heads_of(seed)
    A = impl.attention_weights(1000 * Q, K, mask & [[False], [True]])
    expect_close(A[0], np.zeros((2, 5, 5)), "no key")
    expect_close(A[1].sum(axis=2), np.ones((2, 5)), "each row of the other text", rtol=1e-6)


@look.property("it agrees with a calculation by hand", seed=SEEDS,
               hint="exp(<q, k> / sqrt(D)), divided by its sum over the keys")
def weights_by_hand(impl, seed):
    Q, K, mask = drawn_heads_of(seed)
    A = impl.attention_weights(Q, K, mask)
    for i in range(5):
        e = [math.exp(float(Q[1, 0, i] @ K[1, 0, j]) / math.sqrt(3)) for j in range(3)]
        expect_close(A[1, 0, i, :3], np.array(e) / sum(e), "equation 14.7", rtol=1e-6)


look.mutant("attention_weights", "Q.dtype.type(math.sqrt(Q.shape[3]))", "Q.dtype.type(1)",
            "not divided by the root of D")
look.mutant("attention_weights", "Q.dtype.type(math.sqrt(Q.shape[3]))", "Q.dtype.type(Q.shape[3])",
            "divided by D, not by its root")
look.mutant("attention_weights", "np.where(mask[:, None, None], S, -np.inf)", "S",
            "padding is looked at")
look.mutant("attention_weights", "np.where(mask[:, None, None], S, -np.inf)",
            "np.where(mask[:, None, None], S, 0)", "a score of 0 in place of minus infinity")
look.mutant("attention_weights", "causal_mask(S.shape[3])", "causal_mask(S.shape[3]).T",
            "the other triangle: only what comes later")
look.mutant("attention_weights", "causal_mask(S.shape[3])", "np.tri(S.shape[3], k=1, dtype=bool)",
            "one word too many: the next")
look.mutant("attention_weights", "np.where(total == 0, 1, total)", "total",
            "0 / 0 where there is nothing to look at")
look.mutant("attention_weights", "E.sum(axis=3, keepdims=True)", "E.sum(axis=2, keepdims=True)",
            "the softmax runs over the queries")
look.mutant("attention_weights", "np.exp(S - np.where(most == -np.inf, 0, most))", "np.exp(S)",
            "exp overflows for a large score")

norm = Exercise("ch14.norm", "primer.ch14_bert_layers", ["layer_norm", "layer_norm_backward"],
                "Each row at one length", "14.10")


def drawn_rows(seed, n=4, d=5):
    """-> X (n, d), scale (d,), shift (d,), dY (n, d)."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)), *rng.standard_normal((2, d)),
            rng.standard_normal((n, d)))


@norm.property("each row has mean 0 and variance 1", seed=SEEDS,
               hint="by row (the last axis): less its mean, divided by its deviation")
def mean_and_variance(impl, seed):
    X, _, _, _ = drawn_rows(seed)
    Y, _ = impl.layer_norm(X, np.ones(5), np.zeros(5))
    expect_close(Y.mean(axis=1), np.zeros(4), "the means", atol=1e-6)
    expect_close(Y.var(axis=1), np.ones(4), "the variances", rtol=1e-5)


@norm.property("a x + b has the same norm as x, for a above 0", seed=SEEDS,
               hint="the variance is that of the row without its mean")
def scale_and_shift(impl, seed):
    X, scale, shift, _ = drawn_rows(seed)
    expect_close(impl.layer_norm(3 * X + 2, scale, shift)[0],
                 impl.layer_norm(X, scale, shift)[0], "3 x + 2", rtol=1e-5, atol=1e-6)


@norm.property("it agrees with a calculation by hand", seed=SEEDS,
               eps=st.sampled_from([1e-12, 0.5]),
               hint="eps is added to the variance, under the root; scale first, then shift")
def norm_by_hand(impl, seed, eps):
    X, scale, shift, _ = drawn_rows(seed)
    want = [[scale[k] * (x - sum(row) / 5) / math.sqrt(
        sum((v - sum(row) / 5) ** 2 for v in row) / 5 + eps) + shift[k]
        for k, x in enumerate(row)] for row in X.tolist()]
    expect_close(impl.layer_norm(X, scale, shift, eps)[0], np.array(want), "equation 14.10",
                 rtol=1e-5, atol=1e-6)


@norm.property("gradients are slopes", seed=SEEDS,
               hint="dX is at right angles to the ones and to the normed row, divided by the "
                    "deviation")
def norm_slopes(impl, seed):
    X, scale, shift, dY = drawn_rows(seed)
    grads = impl.layer_norm_backward(dY, impl.layer_norm(X, scale, shift)[1])
    names = ("X", "scale", "shift")
    expect_slopes(lambda x: float((dY * impl.layer_norm(*(x[k] for k in names))[0]).sum()),
                  dict(zip(names, grads, strict=True)),
                  dict(zip(names, (X, scale, shift), strict=True)), seed)


norm.mutant("layer_norm", "X.mean(axis=-1, keepdims=True)", "X.mean(axis=0, keepdims=True)",
            "the mean of each column: batch norm")
norm.mutant("layer_norm", "np.square(centred)", "np.square(X)",
            "the mean square in place of the variance")
norm.mutant("layer_norm", "normal * scale + shift", "(normal + shift) * scale",
            "shifted first, then scaled")
norm.mutant("layer_norm", "np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + "
            "X.dtype.type(eps))", "np.sqrt(np.square(centred).mean(axis=-1, keepdims=True)) + eps",
            "eps is added to the deviation, not to the variance")
norm.mutant("layer_norm", "np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + "
            "X.dtype.type(eps))", "np.square(centred).mean(axis=-1, keepdims=True) + eps",
            "divided by the variance")
norm.mutant("layer_norm_backward", "dY * scale", "dY", "the scale is forgotten on the way back")
norm.mutant("layer_norm_backward", "dnormal - dnormal.mean(axis=-1, keepdims=True) - normal * "
            "along", "dnormal - dnormal.mean(axis=-1, keepdims=True)",
            "the deviation is taken for a constant")
norm.mutant("layer_norm_backward", "dnormal - dnormal.mean(axis=-1, keepdims=True) - normal * "
            "along", "dnormal - normal * along", "the mean is taken for a constant")
