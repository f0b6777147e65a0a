"""Exercises of chapter 11: the weight of a count, the loss, an AdaGrad step, ratios.

Counts are tables of small numbers, compressed; vectors are drawn by a seed.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer import ch11_glove
from primer.ch10_factorization import cooccurrence
from primer.exercises.ch03_bow import compress
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch11_glove"
SEEDS = st.integers(0, 9999)
COUNTS = st.lists(st.integers(0, 300), min_size=1, max_size=8)
LIMITS = st.sampled_from([10.0, 100.0])
POWERS = st.sampled_from([0.75, 0.5])

def drawn(seed, V=4, d=3):
    """-> W, C (V, d), b, a (V,), X: about half of its cells are above 0, up to 200."""
    rng = np.random.default_rng(seed)
    table = rng.integers(1, 200, (V, V)) * (rng.random((V, V)) < 0.5)
    table[0, 1] = 7
    W, C = rng.standard_normal((2, V, d))
    return W, C, *rng.standard_normal((2, V)), compress(table)

def entry(seed, d=3):
    """-> word, context (2, d + 1) in mid-training, ln X, f."""
    rng = np.random.default_rng(seed)
    word, context = rng.standard_normal((2, 2, d + 1))
    word[1], context[1] = rng.uniform(0.2, 1, (2, d + 1))
    return word, context, float(rng.standard_normal()), float(rng.uniform(0.1, 1))

weight = Exercise("ch11.weight", REFERENCE, ["cooccurrence_weight"],
                  "How much a count has to say", "11.2")

@weight.property("no weight is below 0 or above 1, and no count has none", counts=COUNTS,
                 x_max=LIMITS, alpha=POWERS, hint="what happens above x_max?")
def from_zero_to_one(impl, counts, x_max, alpha):
    got = impl.cooccurrence_weight(np.array(counts), x_max, alpha)
    expect(np.all(got >= 0) and np.all(got <= 1), "0 <= f <= 1", your_answer=got)
    expect_close(impl.cooccurrence_weight(np.zeros(1), x_max, alpha), np.zeros(1), "f(0)")

@weight.property("from x_max on the weight is 1", more=st.integers(0, 500), x_max=LIMITS,
                 alpha=POWERS, hint="(x / x_max)^alpha reaches 1 at x_max")
def full_from_the_limit(impl, more, x_max, alpha):
    expect_close(impl.cooccurrence_weight(np.array([x_max, x_max + more]), x_max, alpha),
                 np.ones(2), "f at x_max and above")

@weight.property("it agrees with a calculation by hand", counts=COUNTS, x_max=LIMITS, alpha=POWERS,
                 hint="one count at a time: (x / x_max)^alpha, but at most 1")
def weight_by_hand(impl, counts, x_max, alpha):
    expect_close(impl.cooccurrence_weight(np.array(counts), x_max, alpha),
                 np.array([1.0 if x > x_max else (x / x_max) ** alpha for x in counts]),
                 "equation 11.2")

POWER = "np.minimum(1, (x / x_max) ** alpha)"
weight.mutant("cooccurrence_weight", POWER, "(x / x_max) ** alpha", "the limit of 1 is left out")
weight.mutant("cooccurrence_weight", POWER, "np.minimum(1, x / x_max)",
              "the exponent is left out")
weight.mutant("cooccurrence_weight", POWER, "np.maximum(1, (x / x_max) ** alpha)",
              "maximum in place of minimum")
weight.mutant("cooccurrence_weight", POWER, "np.minimum(1, x ** alpha / x_max)",
              "x_max is not raised to the power")

loss = Exercise("ch11.loss", REFERENCE, ["glove_loss", "glove_loss_grad"],
                "The loss and its slope", "11.1, 11.3")

@loss.property("it is 0 where all logarithms are met exactly", seed=SEEDS,
               hint="e = <w_i, c_j> + b_i + a_j - ln X_ij: is each of the four there?")
def exact_is_zero(impl, seed):
    W, C, b, a, X = drawn(seed)
    table = np.exp(W @ C.T + b[:, None] + a)
    exact = X._replace(data=table[ch11_glove.row_of_entry(X), X.indices])
    expect_close(impl.glove_loss(W, C, b, a, exact), 0.0, "J", atol=1e-12)

@loss.property("words and contexts exchanged, and the counts turned over: the same", seed=SEEDS,
               hint="both parts are treated alike")
def exchange(impl, seed):
    W, C, b, a, X = drawn(seed)
    table = np.zeros(X.shape)
    table[ch11_glove.row_of_entry(X), X.indices] = X.data
    expect_close(impl.glove_loss(C, W, a, b, compress(table.T)), impl.glove_loss(W, C, b, a, X),
                 "J of the transpose")

@loss.property("the gradient is the loss's slope", seed=SEEDS, g=st.sampled_from([1.0, -2.5]),
               hint="a word has many entries: each adds its part")
def slope(impl, seed, g):
    *point, X = drawn(seed)
    rng, eps = np.random.default_rng(seed), 1e-6
    grads = impl.glove_loss_grad(*point, X, g=g)
    expect([np.shape(x) for x in grads] == [p.shape for p in point], "shapes of W, C, b, a")
    for k, name in enumerate(("W", "C", "b", "a")):
        step = rng.standard_normal(point[k].shape)
        up, down = (g * impl.glove_loss(*point[:k], point[k] + sign * eps * step, *point[k + 1:], X)
                    for sign in (1, -1))
        expect_close(float((grads[k] * step).sum()), float(up - down) / (2 * eps),
                     f"the slope of J along a direction of {name}", rtol=1e-5, atol=1e-5)

@loss.property("it agrees with a calculation by hand", seed=SEEDS, x_max=LIMITS,
               hint="one stored count at a time; f(0) = 0, so the others have no say")
def loss_by_hand(impl, seed, x_max):
    W, C, b, a, X = drawn(seed)
    total = 0.0
    for i, j, x in zip(ch11_glove.row_of_entry(X), X.indices, X.data, strict=True):
        e = sum(W[i] * C[j]) + b[i] + a[j] - math.log(x)
        total += min(1.0, (x / x_max) ** 0.75) * e * e
    expect_close(impl.glove_loss(W, C, b, a, X, x_max), float(total), "equation 11.1")

loss.mutant("errors", "a[j]", "0", "the context's bias is left out")
loss.mutant("errors", "np.log(X.data)", "X.data", "the counts in place of their logarithms")
loss.mutant("errors", "np.log(X.data)", "np.log1p(X.data)", "ln(1 + X) in place of ln X")
loss.mutant("glove_loss", "errors(W, C, b, a, X) ** 2", "np.abs(errors(W, C, b, a, X))",
            "the error is not squared")
loss.mutant("glove_loss", "cooccurrence_weight(X.data, x_max, alpha)", "1.0",
            "all counts have the same say")
loss.mutant("glove_loss_grad", "2 * g * cooccurrence_weight(X.data, x_max, alpha)",
            "g * cooccurrence_weight(X.data, x_max, alpha)",
            "the 2 of the square is lost (glove.c's loss has a half)")
loss.mutant("glove_loss_grad", "np.add.at(dW, i, each[:, None] * C[j])",
            "dW.__setitem__(i, each[:, None] * C[j])",
            "dW[i] = ...: of a word's entries only the last one counts")
loss.mutant("glove_loss_grad", "np.add.at(dW, i, each[:, None] * C[j])",
            "np.add.at(dW, i, each[:, None] * W[i])", "the word's own vector in place of the other")

step = Exercise("ch11.step", REFERENCE, ["adagrad_step"], "An AdaGrad step for an entry", "11.4")

@step.property("the first step: against the gradient, with the full rate", seed=SEEDS,
               rate=st.sampled_from([0.05, 0.3]), hint="both gradients at the old vectors")
def first_step(impl, seed, rate):
    word, context, log, f = entry(seed)
    word[1] = context[1] = 1
    w, c = word[0], context[0]
    g = f * (w[:-1] @ c[:-1] + w[-1] + c[-1] - log)
    after, other, _ = impl.adagrad_step(word, context, log, f, rate)
    expect_close(after[0, :-1], w[:-1] - rate * g * c[:-1], "the word's vector")
    expect_close(other[0, :-1], c[:-1] - rate * g * w[:-1], "the context's vector")
    expect_close([after[0, -1], other[0, -1]], [w[-1] - g, c[-1] - g],
                 "the biases, whose rate is 1")

@step.property("the cost is that before the step: f e^2 / 2", seed=SEEDS,
               hint="half of (11.1)'s term")
def cost_before(impl, seed):
    word, context, log, f = entry(seed)
    w, c = word[0], context[0]
    e = w[:-1] @ c[:-1] + w[-1] + c[-1] - log
    expect_close(float(impl.adagrad_step(word, context, log, f, 0.1)[2]), float(f * e * e / 2),
                 "the cost of the entry")

@step.property("steps that move a number make its later steps shorter", seed=SEEDS,
               hint="r <- r / sqrt(1 + u^2): it never grows")
def shares_fall(impl, seed):
    word, context, log, f = entry(seed)
    for old, new in zip((word, context), impl.adagrad_step(word, context, log, f, 0.2),
                        strict=False):
        moved = np.abs(new[0] - old[0]) > 1e-3
        expect(np.all(new[1] <= old[1]) and np.all(new[1][moved] < old[1][moved]),
               "r falls where a number moves", before=old[1], after=new[1])

@step.property("it agrees with a calculation by hand", seed=SEEDS,
               hint="with S = 1 / r^2: p moves by rate g / sqrt(S), then S grows by (rate g)^2")
def step_by_hand(impl, seed):
    word, context, log, f = entry(seed)
    got, d = impl.adagrad_step(word, context, log, f, 0.2), word.shape[1] - 1
    g = f * (sum(word[0, :d] * context[0, :d]) + word[0, d] + context[0, d] - log)
    for mine, yours, other in ((word, got[0], context), (context, got[1], word)):
        for k in range(d + 1):
            move, S = (g if k == d else 0.2 * g * other[0, k]), 1 / mine[1, k] ** 2
            expect_close(float(yours[0, k]), float(mine[0, k] - move / math.sqrt(S)),
                         f"number {k} of the row")
            expect_close(float(yours[1, k]), 1 / math.sqrt(S + move ** 2), f"r of number {k}")

step.mutant("adagrad_step", "rates * dc * other", "rates * (dc - weight * error * u) * other",
            "the word moves before the context's gradient is taken")
step.mutant("adagrad_step", "share / np.sqrt(1 + u * u)", "share / (1 + u * u)",
            "the root is left out: the rate falls too fast")
step.mutant("adagrad_step", "share / np.sqrt(1 + u * u)", "share",
            "the rate never falls: no AdaGrad")
step.mutant("adagrad_step", "share / np.sqrt(1 + u * u)", "share / np.sqrt(1 + (rates * dw) ** 2)",
            "r is left out of the square: each step divides as the first one does")
step.mutant("adagrad_step", "np.append(np.full(len(w) - 1, rate), 1)", "np.full(len(w), rate)",
            "the biases get the vectors' rate")
step.mutant("adagrad_step", "w - u", "w + u", "uphill: the word's numbers go the wrong way")
step.mutant("adagrad_step", "0.5 * weight * error ** 2", "weight * error ** 2",
            "the cost without its half")
step.mutant("adagrad_step", "0.5 * weight * error ** 2", "0.5 * (weight * error) ** 2",
            "the weight is squared in the cost")
step.mutant("adagrad_step", "np.append(p[:-1], 1)", "p",
            "a bias's gradient is the other bias, not 1")

ratios = Exercise("ch11.ratios", REFERENCE, ["probability_ratios"],
                  "Ratios of probabilities", "11.5")
TEXTS = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=9), min_size=1, max_size=4)

def counted(documents):
    """-> CSR (5, 5); words 0 and 1 stand near word 2."""
    return cooccurrence([[0, 2, 1], *documents], 5, 2)

@ratios.property("the two words exchanged: the inverse", documents=TEXTS,
                 hint="P(k | i) above, P(k | j) below the bar")
def inverse(impl, documents):
    X = counted(documents)
    (k, one), (other, back) = impl.probability_ratios(X, 0, 1), impl.probability_ratios(X, 1, 0)
    expect_close(other, k, "the same contexts")
    expect_close(one * back, np.ones(len(k)), "the product of the two ratios")

@ratios.property("a word that is seen more often, with the same company, has the same ratios",
                 documents=TEXTS, times=st.integers(2, 9), hint="is each row divided by its sum?")
def how_often_is_no_matter(impl, documents, times):
    X = counted(documents)
    data = X.data.astype(float)
    data[X.indptr[0]:X.indptr[1]] *= times
    expect_close(impl.probability_ratios(X._replace(data=data), 0, 1)[1],
                 impl.probability_ratios(X, 0, 1)[1], "ratios of words 0 and 1")

@ratios.property("it agrees with a calculation by hand", documents=TEXTS,
                 hint="for each k that both have: (X_ik / X_i) / (X_jk / X_j)")
def ratios_by_hand(impl, documents):
    X = counted(documents)
    first, second = ({int(k): float(x) for k, x in zip(X.indices[a:b], X.data[a:b], strict=True)}
                     for a, b in ((X.indptr[0], X.indptr[1]), (X.indptr[1], X.indptr[2])))
    k, got = impl.probability_ratios(X, 0, 1)
    both = sorted(first.keys() & second.keys())
    expect_close(k, np.array(both), "contexts of both words")
    expect_close(got, np.array([first[c] / sum(first.values()) / (second[c] / sum(second.values()))
                                for c in both]), "equation 11.5")

ratios.mutant("probability_ratios", "X.data[rows] / X.data[rows].sum()", "X.data[rows] / 1.0",
              "counts in place of probabilities")
ratios.mutant("probability_ratios", "pi[at] / pj[other]", "pj[other] / pi[at]",
              "the ratio is upside down")
ratios.mutant("probability_ratios", "pi[at] / pj[other]", "pi[at] - pj[other]",
              "a difference in place of a ratio")
ratios.mutant("probability_ratios", "X.data[rows] / X.data[rows].sum()",
              "X.data[rows] / len(X.data[rows])",
              "divided by the number of contexts, not by their counts")

both = Exercise("ch11.vectors", REFERENCE, ["word_vectors", "predicted_ratios"],
                "What is kept", "11.6")

def trained(seed, V=4, d=3):
    """A model and the words' totals -> GloVe, (V,)."""
    rng = np.random.default_rng(seed)
    return ch11_glove.GloVe(*rng.standard_normal((2, V, 2, d + 1))), 1 + 9 * rng.random(V)

@both.property("words and contexts exchanged: the same vectors", seed=SEEDS,
               hint="a word has two vectors: both count alike")
def both_count(impl, seed):
    model, _ = trained(seed)
    turned = ch11_glove.GloVe(*model[::-1])
    expect_close(impl.word_vectors(turned), impl.word_vectors(model), "w + c = c + w")

@both.property("the vectors agree with a calculation by hand", seed=SEEDS,
               hint="(11.6): add; the last number of a row is its bias, and no part of the vector")
def vectors_by_hand(impl, seed):
    model, _ = trained(seed)
    want = [[p + q for p, q in zip(w[0][:-1], c[0][:-1], strict=True)]
            for w, c in zip(*(part.tolist() for part in model), strict=True)]
    expect_close(impl.word_vectors(model), want, "equation 11.6")

@both.property("the ratios that the vectors predict agree with (11.5)", seed=SEEDS,
               hint="ln P(k | i) is <w_i, c_k> + b_i + a_k - ln X_i: a_k goes out of the ratio")
def predicted_by_hand(impl, seed):
    model, totals = trained(seed)
    words, contexts = (part[:, 0] for part in model)
    P = np.exp(words[:, :-1] @ contexts[:, :-1].T + words[:, -1:] + contexts[:, -1])
    P /= totals[:, None]
    k = np.array([3, 0, 2])
    expect_close(impl.predicted_ratios(model, 0, 1, k, totals), P[0, k] / P[1, k], "equation 11.5")

both.mutant("word_vectors", "W + C", "W", "the contexts' vectors are thrown away")
both.mutant("word_vectors", "W + C", "(W + C) / 2", "the mean in place of the sum")
both.mutant("predicted_ratios", "b - np.log(totals)", "0 * b",
            "biases and totals are left out of the ratio")
both.mutant("predicted_ratios", "W[i] - W[j]", "W[i] + W[j]", "a sum in place of the difference")
