"""Exercises of chapter 15: InfoNCE, unit length, the mean, SimCSE, hard negatives.

Vectors are drawn by a seed; sizes and temperatures are plain numbers.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer.exercises.ch06_word2vec import expect_slope
from primer.exercises.kit import Exercise, expect, expect_close, expect_refused

REFERENCE = "primer.ch15_contrastive"
SEEDS = st.integers(0, 9999)
TAUS = st.sampled_from([0.2, 0.5, 3.0])
FACTORS = st.sampled_from([1.0, -2.5])


def drawn(seed, n=4, more=2, d=3):
    """-> Q (n, d), C (n + more, d): the first n are near their queries."""
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((n, d))
    return Q, np.concatenate([Q + 0.5 * rng.standard_normal((n, d)),
                              rng.standard_normal((more, d))])


def states(seed, B=3, T=5, d=4):
    """-> H (B, T, d), its padding far from 0, mask (B, T) with 1 to T True."""
    rng = np.random.default_rng(seed)
    mask = np.arange(T) < rng.integers(1, T + 1, B)[:, None]
    mask[0] = np.arange(T) < 2
    return np.where(mask[:, :, None], rng.standard_normal((B, T, d)) - 1, 9.0), mask


def loss_by_hand(Q, C, tau, groups):
    """(15.2) over Python's numbers -> float."""
    total = 0.0
    for i, q in enumerate(Q.tolist()):
        s = [sum(a * b for a, b in zip(q, c, strict=True)) / tau for c in C.tolist()]
        there = [x for j, x in enumerate(s) if j == i or groups[j] != groups[i]]
        total += math.log(sum(math.exp(x - s[i]) for x in there))
    return total / len(Q)


loss = Exercise("ch15.loss", REFERENCE, ["info_nce", "info_nce_grad"], "One partner among many",
                "15.1, 15.2, 15.3")


@loss.property("candidates that are all alike cost ln m", seed=SEEDS, more=st.integers(0, 4),
               tau=TAUS, hint="each has probability 1 / m, hard negatives among them")
def all_alike(impl, seed, more, tau):
    Q, C = drawn(seed, more=more)
    expect_close(impl.info_nce(Q, np.tile(C[:1], (len(C), 1)), tau), math.log(len(C)), "ln m")


@loss.property("twice the temperature, twice the vectors: nothing changes", seed=SEEDS, tau=TAUS,
               hint="scores are divided by tau")
def temperature(impl, seed, tau):
    Q, C = drawn(seed)
    expect_close(impl.info_nce(2 * Q, C, 2 * tau), impl.info_nce(Q, C, tau), "the same loss")


@loss.property("one more negative always costs", seed=SEEDS, tau=TAUS,
               hint="hard negatives, the rows of C after the first n, are in each query's sum")
def one_more(impl, seed, tau):
    Q, C = drawn(seed, more=3)
    expect(impl.info_nce(Q, C, tau) > impl.info_nce(Q, C[:-1], tau), "the loss is larger")


@loss.property("a copy of a positive is no negative of its query", seed=SEEDS, tau=TAUS,
               hint="equal groups: left out of the sum; but a query's own positive never is")
def copies(impl, seed, tau):
    Q, C = drawn(seed, n=1)
    groups = np.arange(len(C))
    expect_close(impl.info_nce(Q, np.concatenate([C, C[:1]]), tau, np.append(groups, 0)),
                 impl.info_nce(Q, C, tau, groups), "as without the copy")
    expect_close(impl.info_nce(Q, C[:1], tau, groups[:1]), 0.0, "nothing to tell it from")


@loss.property("scores of 1000 are no trouble", seed=SEEDS,
               hint="take the largest score of a row out before exp")
def large_scores(impl, seed):
    Q, C = drawn(seed, more=0)
    Q = Q / np.linalg.norm(Q, axis=1, keepdims=True)
    expect_close(impl.info_nce(40 * Q, 40 * Q, 1.0), loss_by_hand(40 * Q, 40 * Q, 1.0, range(4)),
                 "a finite loss", atol=1e-9)


@loss.property("the gradient is the loss's slope, the loss comes with it", seed=SEEDS, tau=TAUS,
               g=FACTORS, hint="probabilities less 1 at the positive, over n; both sides over tau")
def slope(impl, seed, tau, g):
    Q, C = drawn(seed)
    groups = np.array([0, 1, 2, 0, 4, 1])
    value, *grads = impl.info_nce_grad(Q, C, tau, groups, g=g)
    expect_close(value, impl.info_nce(Q, C, tau, groups), "the loss, without g")
    expect_slope(lambda A, B: g * impl.info_nce(A, B, tau, groups), grads, Q, C,
                 seed + 1)


@loss.property("it agrees with a calculation by hand", seed=SEEDS, tau=TAUS, n=st.integers(1, 4),
               hint="the mean over queries of ln sum exp less the positive's score")
def by_hand(impl, seed, tau, n):
    Q, C = drawn(seed, n=n)
    groups = np.r_[:n, 0, n]
    expect_close(impl.info_nce(Q, C, tau, groups), loss_by_hand(Q, C, tau, groups), "eq. 15.2")


loss.mutant("scores", "Q @ C.T / tau", "Q @ C.T * tau", "the temperature is multiplied by")
loss.mutant("scores", "np.fill_diagonal(others, True)", "np.fill_diagonal(others, False)",
            "the positive is masked out of its own sum")
loss.mutant("scores", "groups[:n, None] != groups", "np.ones((n, len(C)), bool)",
            "a copy of the positive is a negative")
loss.mutant("info_nce", "logsumexp(S) - np.diagonal(S)",
            "logsumexp(S[:, :len(S)]) - np.diagonal(S)", "hard negatives are not in the sum")
loss.mutant("info_nce", "logsumexp(S) - np.diagonal(S)",
            "np.log(np.exp(S).sum(axis=1)) - np.diagonal(S)", "exp overflows")
loss.mutant("info_nce", "(logsumexp(S) - np.diagonal(S)).mean()",
            "(logsumexp(S) - np.diagonal(S)).sum()", "a sum over queries, not their mean")
loss.mutant("info_nce_grad", "dS @ np.asarray(C) / tau", "dS @ np.asarray(C)",
            "the gradient of Q lacks 1 / tau")
loss.mutant("info_nce_grad", "dS.T @ np.asarray(Q) / tau", "0 * C",
            "the candidates get no gradient")
loss.mutant("info_nce_grad", "softmax(S) - np.eye(n, m, dtype=S.dtype)", "softmax(S)",
            "1 is not taken off at the positive")

unit = Exercise("ch15.unit", REFERENCE, ["unit_vectors", "unit_vectors_backward"],
                "Onto the sphere", "15.4")


@unit.property("rows get length 1 and keep their direction", seed=SEEDS,
               hint="each row by its own length, the root of its squares")
def length_one(impl, seed):
    X, _ = drawn(seed)
    Z = impl.unit_vectors(X)[0]
    expect_close((Z ** 2).sum(axis=1), np.ones(len(X)), "length 1")
    expect_close((Z * X).sum(axis=1), np.sqrt((X ** 2).sum(axis=1)), "the same direction")


@unit.property("the gradient is the slope", seed=SEEDS,
               hint="the longer the row, the less its direction turns: over |x|")
def unit_slope(impl, seed):
    X, C = drawn(seed, more=0)
    dX = impl.unit_vectors_backward(C, impl.unit_vectors(X)[1])
    expect_slope(lambda A, _: (impl.unit_vectors(A)[0] * C).sum(), (dX, 0 * X), X, X,
                 seed + 1)


@unit.property("a row of zeros is refused", seed=SEEDS, hint="it has no direction: ValueError")
def no_direction(impl, seed):
    X, _ = drawn(seed)
    X[2] = 0
    expect_refused("a row of zeros", impl.unit_vectors, X)


unit.mutant("unit_vectors", "np.linalg.norm(X, axis=-1, keepdims=True)",
            "(X ** 2).sum(axis=-1, keepdims=True)", "divided by the squared length")
unit.mutant("unit_vectors", "np.linalg.norm(X, axis=-1, keepdims=True)",
            "np.linalg.norm(X, keepdims=True)", "divided by the length of the whole matrix")
unit.mutant("unit_vectors", "np.all(norms > 0)", "True", "zeros give NaN")
unit.mutant("unit_vectors_backward",
            "(dZ - (dZ * Z).sum(axis=-1, keepdims=True) * Z) / norms", "dZ / norms",
            "what lies along the row is left in")
unit.mutant("unit_vectors_backward",
            "(dZ - (dZ * Z).sum(axis=-1, keepdims=True) * Z) / norms",
            "dZ - (dZ * Z).sum(axis=-1, keepdims=True) * Z", "the length is forgotten")

mean = Exercise("ch15.mean", REFERENCE, ["mean_pool", "mean_pool_backward"],
                "The mean of the words that are there", "15.5")


@mean.property("padding counts for nothing", seed=SEEDS, hint="neither in the sum nor in the count")
def padding(impl, seed):
    H, mask = states(seed)
    X = impl.mean_pool(H, mask)[0]
    want = np.array([h[m].sum(axis=0) / m.sum() for h, m in zip(H, mask, strict=True)])
    expect_close(X, want, "the mean of each text's own states")


@mean.property("without a mask all states count", seed=SEEDS, hint="mask None: all True")
def no_mask(impl, seed):
    H, _ = states(seed)
    expect_close(impl.mean_pool(H)[0], H.sum(axis=1) / 5, "a fifth of the sum")


@mean.property("the gradient is the slope, and 0 for padding", seed=SEEDS,
               hint="each of a text's words gets 1 / (number of its words)")
def mean_slope(impl, seed):
    H, mask = states(seed)
    X, cache = impl.mean_pool(H, mask)
    R = np.random.default_rng(seed + 2).standard_normal(X.shape)
    dH = impl.mean_pool_backward(R, cache)
    expect_slope(lambda A, _: (R * impl.mean_pool(A, mask)[0]).sum(), (dH, 0 * H), H, H, seed + 1)
    expect_close(dH[~mask], np.zeros_like(dH[~mask]), "none for padding")


mean.mutant("mean_pool", "mask / mask.sum(axis=1, keepdims=True)",
            "np.ones(mask.shape) / mask.shape[1]", "padding is averaged in")
mean.mutant("mean_pool", "mask / mask.sum(axis=1, keepdims=True)", "mask / mask.shape[1]",
            "divided by T, with the padding")
mean.mutant("mean_pool", "mask / mask.sum(axis=1, keepdims=True)", "mask / 1.0",
            "the sum in place of the mean")
mean.mutant("mean_pool_backward", "shares[:, :, None] * dX[:, None, :]",
            "(shares > 0)[:, :, None] * dX[:, None, :]", "each word gets the whole gradient")
mean.mutant("mean_pool_backward", "shares[:, :, None] * dX[:, None, :]",
            "np.full_like(shares, 1 / shares.shape[1])[:, :, None] * dX[:, None, :]",
            "padding gets a gradient")

views = Exercise("ch15.simcse", REFERENCE, ["simcse", "simcse_grad"], "One text, two views", "15.6")


@views.property("a batch of one costs nothing", seed=SEEDS, tau=TAUS,
                hint="the sum goes over second views: the positive is one of them")
def batch_of_one(impl, seed, tau):
    X, Y = drawn(seed, n=1, more=0)
    expect_close(impl.simcse(X, Y, tau), 0.0, "nothing to tell it from", atol=1e-9)


@views.property("lengths are nothing", seed=SEEDS, tau=TAUS, hint="similarity is the cosine")
def lengths(impl, seed, tau):
    X, Y = drawn(seed, more=0)
    longer = np.array([[1.0], [2.0], [3.0], [0.5]])
    expect_close(impl.simcse(longer * X, Y * longer[::-1], tau), impl.simcse(X, Y, tau),
                 "the same loss")


@views.property("the gradient is the slope, through both views", seed=SEEDS, tau=TAUS, g=FACTORS,
                hint="(15.3), then (15.4) for each view")
def views_slope(impl, seed, tau, g):
    X, Y = drawn(seed, more=0)
    value, *grads = impl.simcse_grad(X, Y, tau, g=g)
    expect_close(value, impl.simcse(X, Y, tau), "the loss, without g")
    expect_slope(lambda A, B: g * impl.simcse(A, B, tau), grads, X, Y, seed + 1)


@views.property("it agrees with a calculation by hand", seed=SEEDS, tau=TAUS,
                hint="(15.2) of cosines: each first view among all second ones")
def views_by_hand(impl, seed, tau):
    X, Y = drawn(seed, more=0)
    Q, C = (x / np.sqrt((x ** 2).sum(axis=1, keepdims=True)) for x in (X, Y))
    expect_close(impl.simcse(X, Y, tau), loss_by_hand(Q, C, tau, range(4)), "eq. 15.6")


views.mutant("simcse", "info_nce(unit_vectors(X)[0], unit_vectors(Y)[0], tau)",
             "info_nce(X, Y, tau)", "norms are not taken: dot products, not cosines")
views.mutant("simcse", "info_nce(unit_vectors(X)[0], unit_vectors(Y)[0], tau)",
             "float((logsumexp(unit_vectors(X)[0] @ unit_vectors(X)[0].T / tau) - "
             "(unit_vectors(X)[0] * unit_vectors(Y)[0]).sum(axis=1) / tau).mean())",
             "the text's denominator: over the first views, the positive is not in it")
views.mutant("simcse", "info_nce(unit_vectors(X)[0], unit_vectors(Y)[0], tau)",
             "info_nce(unit_vectors(X)[0], unit_vectors(X)[0], tau)",
             "the first view is its own partner")
views.mutant("simcse", "info_nce(unit_vectors(X)[0], unit_vectors(Y)[0], tau)",
             "info_nce(unit_vectors(X)[0], unit_vectors(Y)[0], 0.05)",
             "the temperature cannot be chosen")
views.mutant("simcse_grad", "unit_vectors_backward(dC, other)", "0 * dC",
             "no gradient through the second view")
views.mutant("simcse_grad", "unit_vectors_backward(dQ, own)", "dQ",
             "the gradient skips the norm of the first view")

mining = Exercise("ch15.mining", REFERENCE, ["hard_negatives"], "Near, but wrong")


def mined(impl, seed, k, gap=None, n=3, m=7):
    """-> scores (n, m), positives (n,), what impl finds."""
    rng = np.random.default_rng(seed)
    Q, C = rng.standard_normal((n, 4)), rng.standard_normal((m, 4))
    positives = rng.permutation(m)[:n]
    found = impl.hard_negatives(Q, C, positives, k, *([] if gap is None else [gap]))
    return Q @ C.T, positives, found


@mining.property("the nearest first, and never the positive", seed=SEEDS, k=st.integers(1, 6),
                 hint="the largest dot products; leave the positive out before sorting")
def nearest_first(impl, seed, k):
    S, positives, found = mined(impl, seed, k)
    want = [[j for j in np.argsort(-s) if j != p][:k] for s, p in zip(S, positives, strict=True)]
    expect_close(found, np.array(want), "rows of C")


@mining.property("what is too near the positive may be one", seed=SEEDS, gap=st.floats(0, 1),
                 hint="keep s <= s_positive - gap")
def margin(impl, seed, gap):
    C = np.random.default_rng(seed).permutation(8).astype(float)
    positive = np.flatnonzero(C == 6)
    found = impl.hard_negatives(np.ones((1, 1)), C[:, None], positive, 3, gap + 1)
    want = sorted((c for c in C if c <= 6 - gap - 1), reverse=True)[:3]
    expect_close(C[found[0]], np.array(want), "the nearest that stay `gap` below the positive")


mining.mutant("hard_negatives", "out[rows, positives] = True", "out[rows, positives] = False",
              "the positive is its own hardest negative")
mining.mutant("hard_negatives", "np.where(out, np.inf, -S)", "np.where(out, np.inf, S)",
              "the farthest, which teach nothing")
mining.mutant("hard_negatives", "S + gap > S[rows, positives][:, None]",
              "S > S[rows, positives][:, None]",
              "all that are farther than the positive count, however near they come")
mining.mutant("hard_negatives", "S + gap > S[rows, positives][:, None]",
              "S + gap > S.max(axis=1, keepdims=True)", "the margin is taken from the nearest row")
