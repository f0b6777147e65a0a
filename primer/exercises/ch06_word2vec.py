"""Exercises of chapter 6: softmax, windows, skip-gram, CBOW, one step of descent.

A text is a list of word ids; vectors and pairs are drawn by a seed.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer import ch06_word2vec
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch06_word2vec"
SEEDS = st.integers(0, 9999)
SCORES = st.integers(1, 4).flatmap(lambda n: st.lists(
    st.lists(st.integers(-4, 4), min_size=n, max_size=n), min_size=1, max_size=4))
TEXTS = st.lists(st.lists(st.integers(0, 5), max_size=7), min_size=1, max_size=4)
WINDOWS = st.integers(1, 4)

def vectors(seed, V=5, d=3):
    """-> a generator, W (V, d), U (V, d)."""
    rng = np.random.default_rng(seed)
    return rng, rng.standard_normal((V, d)), rng.standard_normal((V, d))

def pairs(seed, count=6):
    """-> W, U, centres, contexts: a few pairs of five words, some of them more than once."""
    rng, W, U = vectors(seed)
    return W, U, *rng.integers(0, len(W), (2, count))

def windows(seed, count=4):
    """-> W, U, targets, indptr, contexts: of 1 to 4 words each, some of them twice."""
    rng, W, U = vectors(seed)
    indptr = np.cumsum([0, *rng.integers(1, 5, count)])
    return W, U, rng.integers(0, 5, count), indptr, rng.integers(0, 5, indptr[-1])

def loss_by_hand(h, U, word):
    """-ln p(word | h) over Python's numbers -> float."""
    scores = [sum(a * b for a, b in zip(u, h, strict=True)) for u in U.tolist()]
    return math.log(sum(map(math.exp, scores))) - scores[word]

def expect_slope(loss, grads, W, U, seed):
    """The gradients against central differences along one random direction."""
    rng, eps = np.random.default_rng(seed), 1e-6
    A, B = rng.standard_normal(W.shape), rng.standard_normal(U.shape)
    want = (loss(W + eps * A, U + eps * B) - loss(W - eps * A, U - eps * B)) / (2 * eps)
    expect([np.shape(x) for x in grads] == [W.shape, U.shape], "dW as W, dU as U")
    expect_close(float((grads[0] * A).sum() + (grads[1] * B).sum()), want,
                 "the slope of the loss along a direction", rtol=1e-5, atol=1e-7)

softmax = Exercise("ch06.softmax", REFERENCE, ["logsumexp", "softmax"], "A safe softmax", "6.1")

@softmax.property("each row's probabilities add up to 1", scores=SCORES,
                  hint="one row is one prediction: along which axis do you sum?")
def rows_add_up(impl, scores):
    expect_close(impl.softmax(np.array(scores, float)).sum(axis=1), np.ones(len(scores)), "1 a row")

@softmax.property("a number added to a row changes no probability, however large it is",
                  scores=SCORES, large=st.sampled_from([-1000.0, 0.0, 1000.0]),
                  hint="exp(1000) is infinite; take each row's own maximum out first")
def a_shift_is_nothing(impl, scores, large):
    S = np.array(scores, float)
    offset = large * np.arange(len(S))
    expect_close(impl.softmax(S + offset[:, None]), impl.softmax(S), "the same probabilities")
    expect_close(impl.logsumexp(S + offset[:, None]), impl.logsumexp(S) + offset,
                 "the logarithm of the sum moves along")

@softmax.property("it agrees with a calculation by hand", scores=SCORES,
                  hint="exp of each score; their sum; the ratio")
def softmax_by_hand(impl, scores):
    S, E = np.array(scores, float), [[math.exp(s) for s in row] for row in scores]
    expect_close(impl.logsumexp(S), [math.log(sum(row)) for row in E], "ln sum exp")
    expect_close(impl.softmax(S), [[e / sum(row) for e in row] for row in E], "equation 6.1")

softmax.mutant("softmax", "E.sum(axis=-1, keepdims=True)", "E.sum(axis=0, keepdims=True)",
               "the wrong axis: columns add up to 1")
softmax.mutant("softmax", "S - S.max(axis=-1, keepdims=True)", "S",
               "the largest score is not taken out: exp overflows")
softmax.mutant("softmax", "S.max(axis=-1, keepdims=True)", "S.max()",
               "the largest score of all rows is taken out: a low row becomes 0 / 0")
softmax.mutant("logsumexp", "m[..., 0] + np.log(np.exp(S - m).sum(axis=-1))",
               "np.log(np.exp(S - m).sum(axis=-1))", "the maximum is not added again")

context = Exercise("ch06.windows", REFERENCE, ["skipgram_pairs"], "Who is whose neighbour")

def corpus(texts):
    """Lists of ids -> tokens (T,), starts (n + 1,)."""
    return np.array(sum(texts, []), np.int64), np.cumsum([0, *map(len, texts)])

@context.property("texts together give the pairs that they give one by one", texts=TEXTS, c=WINDOWS,
                  hint="a window ends where its text does, on both sides")
def windows_stay_in_their_text(impl, texts, c):
    together = np.array(impl.skipgram_pairs(*corpus(texts), c))
    alone = [impl.skipgram_pairs(*corpus([text]), c) for text in texts]
    expect_close(together, np.concatenate(alone, axis=1), "the same pairs, text by text")

@context.property("m different words: 2 c m - c (c + 1) pairs, none of a word with itself",
                  m=st.integers(2, 12), c=WINDOWS,
                  hint="c words on the left, c on the right, without the one in the middle")
def as_many_as_there_should_be(impl, m, c):
    centres, contexts = impl.skipgram_pairs(*corpus([list(range(m))]), c)
    expect(not np.any(centres == contexts), "no word is its own neighbour", centres=centres,
           contexts=contexts)
    c = min(c, m - 1)
    expect(len(centres) == 2 * c * m - c * (c + 1), "the number of pairs", yours=len(centres),
           right=2 * c * m - c * (c + 1))

@context.property("if a is a neighbour of b, b is one of a, as often", texts=TEXTS, c=WINDOWS,
                  hint="as far to the right as to the left")
def neighbours_are_mutual(impl, texts, c):
    centres, contexts = impl.skipgram_pairs(*corpus(texts), c)
    one, other = (sorted(zip(x.tolist(), y.tolist(), strict=True))
                  for x, y in ((centres, contexts), (contexts, centres)))
    expect(one == other, "turn all pairs around, and they are the same", pairs=one, turned=other)

@context.property("it agrees with a calculation by hand, also where each word has its own window",
                  texts=TEXTS, reach=st.lists(WINDOWS, min_size=28, max_size=28),
                  hint="for each t: for each j with |j - t| <= window[t], j not t, in t's text")
def windows_by_hand(impl, texts, reach):
    tokens, starts = corpus(texts)
    want = [(tokens[t], tokens[j]) for first, stop in zip(starts, starts[1:], strict=False)
            for t in range(first, stop) for j in range(first, stop) if 0 < abs(j - t) <= reach[t]]
    expect_close(np.array(impl.skipgram_pairs(tokens, starts, np.array(reach[:len(tokens)], int))),
                 np.array(want, np.int64).reshape(-1, 2).T, "centres in order, neighbours in order")

context.mutant("context_windows", "min(t + window[t] + 1, stop)", "min(t + window[t], stop)",
               "one word too few on the right: the end of a slice does not count")
context.mutant("context_windows", "t - window[t]", "t - window[t] + 1",
               "one word too few on the left")
context.mutant("context_windows", "max(t - window[t], first)", "max(t - window[t], 0)",
               "on the left, windows reach into the text before")
context.mutant("context_windows", "min(t + window[t] + 1, stop)", "t + window[t] + 1",
               "on the right, windows reach into the next text")
context.mutant("context_windows", "max(t - window[t], first)", "t - window[t]",
               "a start below 0 counts from the end")
context.mutant("context_windows", "tokens[t + 1:min(t + window[t] + 1, stop)]",
               "tokens[t:min(t + window[t] + 1, stop)]", "the word is its own neighbour")
context.mutant("skipgram_pairs",
               "(np.repeat(np.asarray(tokens, np.int64), np.diff(indptr)), contexts)",
               "(contexts, np.repeat(np.asarray(tokens, np.int64), np.diff(indptr)))",
               "centres and contexts are swapped")

skipgram = Exercise("ch06.skipgram", REFERENCE, ["skipgram_loss", "skipgram_loss_grad"],
                    "From a word to its neighbours", "6.2, 6.4, 6.5")

@skipgram.property("while U is 0, a pair costs ln V, and the sum is divided by T once", seed=SEEDS,
                   T=st.integers(1, 9), hint="T counts the words of the corpus, not the pairs")
def nothing_learned_yet(impl, seed, T):
    W, U, centres, contexts = pairs(seed)
    expect_close(impl.skipgram_loss(W, 0 * U, centres, contexts, T),
                 len(centres) * math.log(len(W)) / T, "pairs times ln V over T")

@skipgram.property("the gradient is the loss's slope", seed=SEEDS, g=st.sampled_from([1.0, -2.5]),
                   hint="a word that is the centre of several pairs gets the sum of their parts")
def skipgram_slope(impl, seed, g):
    W, U, centres, contexts = pairs(seed)
    grads = impl.skipgram_loss_grad(W, U, centres, contexts, 4, g=g)
    expect_slope(lambda A, B: g * impl.skipgram_loss(A, B, centres, contexts, 4), grads, W, U, seed)

@skipgram.property("it agrees with a calculation by hand", seed=SEEDS, T=st.integers(1, 9),
                   hint="one pair at a time: all V scores, ln sum exp, minus the context's score")
def skipgram_by_hand(impl, seed, T):
    W, U, centres, contexts = pairs(seed)
    want = sum(loss_by_hand(W[a], U, b) for a, b in zip(centres, contexts, strict=True)) / T
    expect_close(impl.skipgram_loss(W, U, centres, contexts, T), want, "equation 6.2")

skipgram.mutant("skipgram_loss", "predict(W[centres], U, contexts)[0].sum()",
                "predict(W[centres], U, contexts)[0].mean()",
                "divided twice: by the pairs, and by T")
skipgram.mutant("skipgram_loss", "predict(W[centres], U, contexts)",
                "predict(W[contexts], U, centres)", "the centre is predicted from its neighbour")
skipgram.mutant("predict", "logsumexp(S) - S[np.arange(len(S)), words]",
                "S[np.arange(len(S)), words] - logsumexp(S)",
                "the logarithm of the probability without its minus")
skipgram.mutant("predict_backward", "dS[np.arange(len(S)), words] -= 1", "pass",
                "the 1 of the right word is not subtracted")
skipgram.mutant("predict_backward", "softmax(S)", "softmax(S.T).T",
                "the wrong axis: a softmax over the pairs")
skipgram.mutant("skipgram_loss_grad", "np.add.at(dW, centres, dH)",
                "dW.__setitem__(centres, dW[centres] + dH)",
                "dW[centres] += dH: of equal centres only the last one counts")
skipgram.mutant("skipgram_loss_grad", "g / T", "g / len(centres)",
                "the gradient is divided by the pairs, the loss by T")

cbow = Exercise("ch06.cbow", REFERENCE, ["cbow_loss", "cbow_loss_grad"],
                "From the neighbours to the word", "6.3, 6.5")

@cbow.property("with one neighbour it is skip-gram on that pair", seed=SEEDS,
               hint="the mean of one vector is the vector")
def one_neighbour_is_skipgram(impl, seed):
    W, U, centres, targets = pairs(seed)
    n = len(targets)
    expect_close(impl.cbow_loss(W, U, targets, np.arange(n + 1), centres),
                 ch06_word2vec.skipgram_loss(W, U, centres, targets, n), "the mean loss of a pair")

@cbow.property("a word said several times is the word said once", seed=SEEDS,
               times=st.integers(2, 5), hint="a mean, by the number of words that are there")
def copies_change_nothing(impl, seed, times):
    W, U, centres, targets = pairs(seed, 2)
    once = impl.cbow_loss(W, U, targets, np.array([0, 1, 2]), centres)
    more = impl.cbow_loss(W, U, targets, np.array([0, times, times + 1]),
                          np.repeat(centres, [times, 1]))
    expect_close(more, once, "the mean of equal vectors")

@cbow.property("the gradient is the loss's slope", seed=SEEDS, g=st.sampled_from([1.0, -2.5]),
               hint="h is a mean: each of the |C| words gets dL/dh / |C|, one said twice two parts")
def cbow_slope(impl, seed, g):
    W, U, *rest = windows(seed)
    grads = impl.cbow_loss_grad(W, U, *rest, g=g)
    expect_slope(lambda A, B: g * impl.cbow_loss(A, B, *rest), grads, W, U, seed)

@cbow.property("it agrees with a calculation by hand", seed=SEEDS,
               hint="one window at a time: the mean of its vectors, then as in skip-gram")
def cbow_by_hand(impl, seed):
    W, U, targets, indptr, contexts = windows(seed)
    losses = [loss_by_hand(sum(W[w] for w in contexts[a:b]) / (b - a), U, o)
              for o, a, b in zip(targets, indptr, indptr[1:], strict=False)]
    expect_close(impl.cbow_loss(W, U, targets, indptr, contexts), sum(losses) / len(losses),
                 "equation 6.3")

cbow.mutant("context_vectors_backward", "dH * each", "dH",
            "the gradient is not divided by the number of words (as in word2vec.c)")
cbow.mutant("context_vectors", "H * each", "H", "a sum in place of the mean")
cbow.mutant("share_mean", "np.diff(indptr)", "np.diff(indptr).max() + 0 * np.diff(indptr)",
            "divided by 2 c, also where fewer words are there")
cbow.mutant("context_vectors_backward", "np.add.at(dW, contexts, (dH * each)[owner])",
            "dW.__setitem__(contexts, (dH * each)[owner])",
            "of equal words only the last one counts")
cbow.mutant("cbow_loss",
            "predict(context_vectors(W, indptr, contexts, share)[0], U, targets)[0].mean()",
            "predict(context_vectors(W, indptr, contexts, share)[0], U, targets)[0].sum()",
            "the sum over the windows, not their mean")

step = Exercise("ch06.step", REFERENCE, ["skipgram_epoch"], "One pair, one step", "6.6")

@step.property("one pair: both tables move against the gradient at the old vectors", seed=SEEDS,
               rate=st.sampled_from([0.0, 0.1, 1.0]),
               hint="take dL/dh before you change U, or it is the gradient of another place")
def one_step(impl, seed, rate):
    W, U, centres, contexts = pairs(seed, 1)
    dW, dU = ch06_word2vec.skipgram_loss_grad(W, U, centres, contexts, 1)
    new_W, new_U, _ = impl.skipgram_epoch(W, U, centres, contexts, np.array([rate]))
    expect_close(new_U, U - rate * dU, "U after the step")
    expect_close(new_W, W - rate * dW, "W after the step")

@step.property("many pairs are one after another, each with its own rate", seed=SEEDS,
               hint="the second pair sees what the first has changed")
def one_after_another(impl, seed):
    W, U, centres, contexts = pairs(seed)
    rates = np.linspace(0.5, 0.1, len(centres))
    got = impl.skipgram_epoch(W, U, centres, contexts, rates)
    losses = []
    for i in range(len(centres)):
        losses.append(ch06_word2vec.skipgram_loss(W, U, centres[i:i + 1], contexts[i:i + 1], 1))
        dW, dU = ch06_word2vec.skipgram_loss_grad(W, U, centres[i:i + 1], contexts[i:i + 1], 1)
        W, U = W - rates[i] * dW, U - rates[i] * dU
    expect_close(got[2], losses, "each loss, from before its step")
    expect_close(got[0], W, "W at the end")
    expect_close(got[1], U, "U at the end")

step.mutant("predict_step", "error @ U", "error @ (U - rate * np.outer(error, h))",
            "U is changed before dL/dh is taken")
step.mutant("predict_step", "U -= rate * np.outer(error, h)", "U += rate * np.outer(error, h)",
            "uphill: the output vectors go the wrong way")
step.mutant("predict_step", "error[word] -= 1", "error[word] = -1",
            "1 is put in the place of p - 1")
step.mutant("skipgram_epoch", "W[v] -= rates[i] * dh", "W[contexts[i]] -= rates[i] * dh",
            "the context's row is changed, not the centre's")
step.mutant("skipgram_epoch", "rates[i] * dh", "rates[0] * dh", "the rate does not fall")

rates = Exercise("ch06.rates", REFERENCE, ["falling_rates"],
                 "Rates that fall over all epochs", "6.6")
EPOCHS = st.sampled_from([(0, 1), (0, 2), (1, 2), (2, 5), (4, 5)])

@rates.property("epochs together are one long one", epochs=st.integers(1, 5), n=st.integers(1, 6),
                hint="what is done: whole epochs, and the part of this one, by all epochs")
def epochs_follow(impl, epochs, n):
    got = np.concatenate([impl.falling_rates(0.5, e, epochs, n) for e in range(epochs)])
    expect_close(got, impl.falling_rates(0.5, 0, 1, epochs * n), "one epoch of all steps")

@rates.property("it agrees with (6.6), one step at a time", at=EPOCHS,
                n=st.sampled_from([0, 1, 9, 20_000, 50_000]), rate=st.sampled_from([0.025, 0.05]),
                hint="never below a ten-thousandth of the rate")
def rates_by_hand(impl, at, n, rate):
    want = [rate * max(1 - (at[0] + i / n) / at[1], 1e-4) for i in (0, n // 2, n - 1) if n]
    got = np.asarray(impl.falling_rates(rate, *at, n))
    expect(got.shape == (n,), "a rate for each of the n steps", your_shape=got.shape)
    expect_close(got[[0, n // 2, n - 1]] if n else got, np.array(want), "equation 6.6")

rates.mutant("falling_rates", "np.maximum(1 - done, 1e-4)", "(1 - done)", "no lowest rate")
rates.mutant("falling_rates", "(epoch + np.arange(n) / max(n, 1)) / epochs",
             "epoch / epochs + 0 * np.arange(n)", "one rate for the whole epoch")
rates.mutant("falling_rates", "(epoch + np.arange(n) / max(n, 1)) / epochs",
             "np.arange(n) / max(n, 1)", "each epoch begins with the full rate again")
rates.mutant("falling_rates", "np.maximum(1 - done, 1e-4)", "np.maximum(done, 1e-4)",
             "the rate rises")
