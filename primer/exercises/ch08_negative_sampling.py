"""Exercises of chapter 8: the loss, the noise, thinning out, one place's step, phrases.

Vectors and ids are drawn by a seed; counts and texts are plain lists.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer.ch08_negative_sampling import check_corpus
from primer.exercises.ch06_word2vec import corpus, expect_slope
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch08_negative_sampling"
SEEDS = st.integers(0, 9999)
COUNTS = st.lists(st.integers(1, 1000), min_size=1, max_size=12)
TEXTS = st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=4)


def drawn(seed, n=4, K=3, V=6, d=3):
    """-> W, U, inputs (n,), outputs (n,), negatives (n, K); ids repeat, also a pair's own word."""
    rng = np.random.default_rng(seed)
    W, U = rng.standard_normal((2, V, d))
    return W, U, *rng.integers(0, V, (2, n)), rng.integers(0, V, (n, K))


def loss_by_hand(h, U, word, noise):
    """(8.1) over Python's numbers -> float."""
    def minus_log_sigmoid(x):
        return math.log1p(math.exp(-abs(x))) + max(-x, 0.0)
    scores = [sum(a * b for a, b in zip(u, h, strict=True)) for u in U.tolist()]
    return minus_log_sigmoid(scores[word]) + sum(
        minus_log_sigmoid(-scores[k]) for k in noise if k != word)


loss = Exercise("ch08.loss", REFERENCE, ["pair_loss", "pair_loss_grad"],
                "One word against K", "8.1, 8.2")


@loss.property("while U is 0, each word that counts costs ln 2", seed=SEEDS,
               hint="sig(0) = 1/2 for the right word and for each drawn one that is another")
def nothing_learned_yet(impl, seed):
    W, U, inputs, outputs, negatives = drawn(seed)
    count = len(outputs) + np.sum(negatives != outputs[:, None])
    expect_close(impl.pair_loss(W, 0 * U, inputs, outputs, negatives), count * math.log(2),
                 "as many ln 2 as words")


@loss.property("the order of the drawn words is nothing", seed=SEEDS,
               hint="the sum goes over all of them")
def order_is_nothing(impl, seed):
    W, U, inputs, outputs, negatives = drawn(seed)
    expect_close(impl.pair_loss(W, U, inputs, outputs, negatives[:, ::-1]),
                 impl.pair_loss(W, U, inputs, outputs, negatives), "the same loss")


@loss.property("scores of 1000 are no trouble", seed=SEEDS,
               hint="exp(1000) is infinite: -ln sig(x) = max(-x, 0) + ln(1 + exp(-|x|))")
def large_scores(impl, seed):
    W, U, inputs, outputs, negatives = drawn(seed)
    want = sum(loss_by_hand(W[a], 1000 * U, o, own) for a, o, own in
               zip(inputs, outputs, negatives, strict=True))
    expect_close(impl.pair_loss(W, 1000 * U, inputs, outputs, negatives), want, "a finite loss")


@loss.property("the gradient is the loss's slope", seed=SEEDS, g=st.sampled_from([1.0, -2.5]),
               hint="a word drawn twice gets two parts; the right word's part is sig(s) - 1")
def slope(impl, seed, g):
    W, U, *rest = drawn(seed)
    grads = impl.pair_loss_grad(W, U, *rest, g=g)
    expect_slope(lambda A, B: g * impl.pair_loss(A, B, *rest), grads, W, U, seed)


@loss.property("it agrees with a calculation by hand", seed=SEEDS, K=st.integers(1, 5),
               hint="-ln sig(s) of the right word, -ln sig(-s) of each other one")
def by_hand(impl, seed, K):
    W, U, inputs, outputs, negatives = drawn(seed, K=K)
    want = sum(loss_by_hand(W[a], U, o, own) for a, o, own in
               zip(inputs, outputs, negatives, strict=True))
    expect_close(impl.pair_loss(W, U, inputs, outputs, negatives), want, "equation 8.1")


loss.mutant("judge", "np.where(right, -S, S)", "np.where(right, S, -S)",
            "the signs are swapped: the right word is pushed away")
loss.mutant("judge", "(words == words[:, :1]) & ~right", "(words == words[:, :1]) & False",
            "a drawn word that is the right one counts against itself")
loss.mutant("judge", "(words == words[:, :1]) & ~right",
            "(words == words[:, :1]) & ~right | (np.arange(S.shape[1]) > 1)",
            "only the first of the drawn words counts")
loss.mutant("judge", "np.logaddexp(0, np.where(right, -S, S))",
            "np.log(1 + np.exp(np.where(right, -S, S)))", "exp overflows for a large score")
loss.mutant("judge", "sigmoid(S) - right", "sigmoid(S) + right", "1 is added in place of taken off")
loss.mutant("pair_loss_grad", "np.add.at(dU, words, g * G[:, :, None] * H[:, None, :])",
            "dU.__setitem__(words, g * G[:, :, None] * H[:, None, :])",
            "dU[words] = ...: of equal words only the last one counts")
loss.mutant("pair_loss_grad", "np.einsum('nk,nkd->nd', G, U[words])",
            "G[:, :1] * U[words[:, 0]]", "dl/dh has the right word's part only")

noise = Exercise("ch08.noise", REFERENCE, ["noise_distribution"], "Words by chance", "8.3")


@noise.property("it sums to 1, and a word that never occurs is never drawn", counts=COUNTS,
                power=st.sampled_from([0.0, 0.75, 1.0]), hint="divide by the sum of the powers")
def sums_to_one(impl, counts, power):
    p = impl.noise_distribution(np.array([*counts, 0]), power)
    expect_close(p.sum(), 1.0, "the sum")
    expect(p[-1] == 0, "a count of 0 gives 0", yours=p[-1])


@noise.property("power 1 is the corpus, 0 all alike", counts=COUNTS, hint="c^1 and c^0")
def the_ends(impl, counts):
    c = np.array(counts, float)
    expect_close(impl.noise_distribution(c, 1.0), c / c.sum(), "power 1")
    expect_close(impl.noise_distribution(c, 0.0), np.full(len(c), 1 / len(c)), "power 0")


@noise.property("16 times as frequent is drawn 8 times as often", count=st.integers(1, 99),
                hint="16^(3/4) = 8; without a power given, it is 3/4")
def flattened(impl, count):
    p = impl.noise_distribution(np.array([count, 16 * count]))
    expect_close(p[1] / p[0], 8.0, "the ratio")


noise.mutant("noise_distribution", "np.where(counts > 0, counts, 0) ** power * (counts > 0)",
             "counts", "the power 3/4 is left out")
noise.mutant("noise_distribution", "weights / weights.sum()", "weights / counts.sum()",
             "divided by the number of words, not by the sum of the powers")
noise.mutant("noise_distribution", "np.where(counts > 0, counts, 0) ** power * (counts > 0)",
             "np.where(counts > 0, counts, 0) ** power",
             "0^0 = 1: words that never occur are drawn")
noise.mutant("noise_distribution", "np.where(counts > 0, counts, 0) ** power * (counts > 0)",
             "counts ** 0.75", "the power cannot be chosen")
noise.mutant("noise_distribution", "np.where(counts > 0, counts, 0) ** power * (counts > 0)",
             "np.log1p(counts) * (counts > 0)", "a logarithm in place of the power")

thin = Exercise("ch08.thin", REFERENCE, ["keep_probability", "subsample"], "Thin out", "8.4")


@thin.property("probabilities are in [0, 1], and a more frequent word is kept less", counts=COUNTS,
               threshold=st.sampled_from([1e-5, 1e-3, 0.1, 2.0]),
               hint="sqrt(t / f) is above 1 for a rare word: stop there")
def antitone(impl, counts, threshold):
    q = impl.keep_probability(np.sort(counts), threshold)
    expect(np.all((q >= 0) & (q <= 1)), "in [0, 1]", yours=q)
    expect(np.all(np.diff(q) <= 0), "falling as counts rise", yours=q)


@thin.property("a word 100 times as frequent as t is kept once in 10", t=st.floats(1e-6, 1e-3),
               hint="the root of t / f, with f = count / all words; 1 - the root is what goes")
def one_in_ten(impl, t):
    f = 100 * t
    q = impl.keep_probability(np.array([f, 1 - f]), t)
    expect_close(q[0], 0.1, "sqrt(1 / 100)", rtol=1e-6)


@thin.property("texts stay apart, and places say where each word was", texts=TEXTS, seed=SEEDS,
               hint="starts must count what is left of the texts before")
def texts_stay_apart(impl, texts, seed):
    tokens, starts = corpus(texts)
    keep = np.array([0.2, 0.6, 1.0, 0.0])
    kept, bounds, places = impl.subsample(tokens, starts, keep, np.random.default_rng(seed))
    check_corpus(kept, bounds, 1)
    expect_close(kept, tokens[places], "tokens[places]")
    expect_close(np.diff(bounds), np.histogram(places, starts)[0] if len(places) else
                 np.zeros(len(texts), np.int64), "words left in each text")
    expect(not np.any(kept == 3) and np.sum(kept == 2) == np.sum(tokens == 2),
           "keep 0 leaves none, keep 1 all", kept=kept)


thin.mutant("keep_probability", "np.minimum(1, np.sqrt(_rarity(counts, threshold)))",
            "np.sqrt(_rarity(counts, threshold))", "probabilities above 1 for rare words")
thin.mutant("keep_probability", "np.minimum(1, np.sqrt(_rarity(counts, threshold)))",
            "np.maximum(0, 1 - np.sqrt(_rarity(counts, threshold)))",
            "what is discarded, in place of what is kept")
thin.mutant("keep_probability", "np.sqrt(_rarity(counts, threshold))",
            "_rarity(counts, threshold)", "the root is missing")
thin.mutant("subsample", "np.append(0, np.cumsum(kept))[starts]", "starts",
            "the starts of the whole texts are given for the thinned ones")
thin.mutant("subsample", "np.append(0, np.cumsum(kept))[starts]", "np.append(np.cumsum(kept), 0)"
            "[starts]", "off by one: a text's first word counts to the text before")
thin.mutant("subsample", "rng.random(len(tokens), np.float32) < keep.astype(np.float32)[tokens]",
            "(rng.random(len(keep), np.float32) < keep.astype(np.float32))[tokens]",
            "one chance a word of the vocabulary: all its occurrences stay or go")


@thin.property("each occurrence has its own chance", seed=SEEDS,
               hint="draw as many numbers as there are tokens, not as there are words")
def each_its_own(impl, seed):
    tokens = np.zeros(200, np.int64)
    kept, _, _ = impl.subsample(tokens, np.array([0, 200]), np.array([0.5]),
                                np.random.default_rng(seed))
    expect(50 < len(kept) < 150, "about half of 200", kept=len(kept))


phrases = Exercise("ch08.phrases", REFERENCE, ["phrase_score", "merge_phrases"],
                   "Words that stick", "8.5")


@phrases.property("words that always stand together score 1 / count, others less",
                  c=st.integers(1, 50), more=st.integers(1, 50),
                  hint="c_ab / (c_a c_b) while delta is 0")
def at_most(impl, c, more):
    expect_close(impl.phrase_score(c, c, c, 0), 1 / c, "always together")
    expect(impl.phrase_score(c, c + more, c, 0) < 1 / c, "a alone somewhere: less")


@phrases.property("delta takes off a rare pair's score", c=st.integers(1, 9),
                  hint="(c_ab - delta): a pair seen delta times scores 0")
def discounted(impl, c):
    expect_close(impl.phrase_score(c, c, c, c), 0.0, "c_ab = delta")
    expect_close(impl.phrase_score(3 * c, 2, 5, c, N=7), 1.4 * c, "by hand")


@phrases.property("pairs are joined from the left, none twice, none across texts", texts=TEXTS,
                  hint="a a a with the phrase a a is aa a; the last word of a text has no next one")
def joined(impl, texts):
    tokens, starts = corpus(texts)
    pairs = np.array([[1, 2], [0, 0], [2, 1]])
    want = []
    for text in texts:
        own, t = [], 0
        while t < len(text):
            found = [i for i, p in enumerate(pairs.tolist()) if text[t:t + 2] == p]
            own.append(4 + found[0] if found else text[t])
            t += 1 + len(found)
        want.append(own)
    got, bounds = impl.merge_phrases(tokens, starts, pairs, 4)
    expect_close(got, corpus(want)[0], "the words")
    expect_close(bounds, corpus(want)[1], "the starts")


phrases.mutant("phrase_score", "both - delta", "both", "the discount is forgotten")
phrases.mutant("phrase_score", "first * second", "first + second", "a sum in place of the product")
phrases.mutant("phrase_score", "N * (both - delta)", "(both - delta) / N", "divided by N")
phrases.mutant("merge_phrases", "t > last + 1", "True", "a word is used in two phrases")
phrases.mutant("merge_phrases", "inside & np.isin(keys, list(names))",
               "np.isin(keys, list(names))", "a phrase across the end of a text")
phrases.mutant("merge_phrases", "np.append(0, np.cumsum(stays))[starts]", "starts",
               "the old starts are given back")
phrases.mutant("merge_phrases", "names[keys[t]]", "V", "all phrases become one word")

rate = Exercise("ch08.rate", REFERENCE, ["falling_rate"], "A rate that falls", "8.6")
DONE = st.lists(st.integers(0, 10_000).map(lambda i: i / 10_000), min_size=1, max_size=6)


@rate.property("the whole rate at first, half of it half way, a little at the end",
               done=DONE, start=st.sampled_from([0.025, 0.05]), hint="r (1 - done), never nothing")
def from_whole_to_little(impl, done, start):
    got = impl.falling_rate(start, np.array([0.0, 0.5, 1.0]))
    expect_close(got, np.array([start, start / 2, start / 10_000]), "three places", rtol=1e-6)
    own = impl.falling_rate(start, np.sort(done))
    expect(np.all(np.diff(own) <= 0), "it falls", yours=own)


@rate.property("it agrees with (8.6)", done=DONE, start=st.sampled_from([0.025, 0.05]),
               hint="max(1 - done, 1/10000), of each number")
def rate_by_hand(impl, done, start):
    want = np.array([start * max(1 - x, 1e-4) for x in done])
    expect_close(impl.falling_rate(start, np.array(done)), want, "rate max(1 - done, 1/10000)",
                 rtol=1e-6)


rate.mutant("falling_rate", "np.maximum(1 - done, 1e-4)", "(1 - done)", "it ends at 0")
rate.mutant("falling_rate", "np.maximum(1 - done, 1e-4)", "np.maximum(done, 1e-4)", "it rises")
rate.mutant("falling_rate", "rate * np.maximum(1 - done, 1e-4)",
            "np.maximum(rate * (1 - done), 1e-4)",
            "the lowest rate is 1/10000 itself, not that part of the rate")
