"""Exercises of chapter 14: what is hidden, the losses, heads, many senses; attention and the norm.

Scores, states and parameters are drawn by a seed; sizes are plain numbers.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer.exercises.ch14_bert_layers import SEEDS, expect_slopes, look, norm
from primer.exercises.kit import Exercise, expect, expect_close

__all__ = ["classes", "head", "look", "loss", "masking", "norm", "senses"]
REFERENCE = "primer.ch14_bert"
SPECIAL, MASK = [0, 1, 2, 3, 4], 4


def drawn_texts(seed, B=4, T=14, V=30):
    """Texts of their own lengths, padded with 0, between 2 and 3 -> (B, T) ids."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, V, (B, T))
    for row, length in zip(ids, rng.integers(1, T - 1, B), strict=True):
        row[0], row[length + 1], row[length + 2:] = 2, 3, 0
    return ids


def drawn_heads(seed, d=3, V=7, C=4, T=3):
    """P of the heads, every number drawn, and states -> dict, H (2, T, d)."""
    rng = np.random.default_rng(seed)
    shapes = {"tokens": (V, d), "mlm.dense": (d, d), "mlm.dense_bias": (d,), "mlm.scale": (d,),
              "mlm.shift": (d,), "mlm.bias": (V,), "pool": (d, d), "pool_bias": (d,),
              "nsp": (d, C), "nsp_bias": (C,)}
    return {k: rng.standard_normal(s) for k, s in shapes.items()}, rng.standard_normal((2, T, d))


masking = Exercise("ch14.masking", REFERENCE, ["mask_tokens"], "Hide some words", "14.1")


@masking.property("labels are what stood there, and all else stays", seed=SEEDS,
                  hint="copy the ids, then change the chosen places alone")
def all_else_stays(impl, seed):
    ids = drawn_texts(seed)
    inputs, places, labels = impl.mask_tokens(ids, np.random.default_rng(seed), 30, MASK, SPECIAL)
    expect(inputs.shape == ids.shape and np.all(np.diff(places) > 0), "rising places of (B, T)",
           places=places)
    expect_close(labels, ids.ravel()[places], "the labels")
    rest = np.setdiff1d(np.arange(ids.size), places)
    expect_close(inputs.ravel()[rest], ids.ravel()[rest], "places that are not chosen")


@masking.property("15 % of each text's own words, at least one, and no special token", seed=SEEDS,
                  hint="count the words of each text without [CLS], [SEP] and [PAD]")
def of_each_text(impl, seed):
    ids = drawn_texts(seed, T=40)
    _, places, labels = impl.mask_tokens(ids, np.random.default_rng(seed), 30, MASK, SPECIAL)
    expect(not np.isin(labels, SPECIAL).any(), "special tokens are never hidden", hidden=labels)
    words = (~np.isin(ids, SPECIAL)).sum(axis=1)
    want = np.maximum(1, np.rint(0.15 * words)).astype(int)
    expect_close(np.bincount(places // 40, minlength=len(ids)), want, "hidden in each text")


@masking.property("of ten, eight become [MASK], one another token, one stays", seed=SEEDS,
                  hint="one number between 0 and 1 a place: below 0.8, below 0.9, or above")
def eight_one_one(impl, seed):
    ids = np.random.default_rng(seed).integers(5, 9999, (30, 200))
    inputs, places, labels = impl.mask_tokens(ids, np.random.default_rng(seed), 9999, MASK, SPECIAL)
    new = inputs.ravel()[places]
    shares = np.array([np.mean(new == MASK), np.mean((new != MASK) & (new != labels)),
                       np.mean(new == labels)])
    expect(np.all(np.abs(shares - [0.8, 0.1, 0.1]) < 0.06), "about 0.8, 0.1, 0.1", yours=shares)
    others = new[(new != MASK) & (new != labels)]
    expect(len(np.unique(others)) > len(others) / 2, "each of these is drawn anew", others=others)
    expect(len(np.unique(places % 200)) > 100, "each text has its own places", places=places % 200)


@masking.property("what is put in is a word, or [MASK]", seed=SEEDS,
                  hint="draw the other token from the ids that are not special")
def put_in(impl, seed):
    ids = np.random.default_rng(seed).integers(5, 8, (20, 40))
    inputs, _, _ = impl.mask_tokens(ids, np.random.default_rng(seed), 8, MASK, SPECIAL)
    expect(np.all(inputs >= MASK), "none of 0 to 3", lowest=inputs.min())


masking.mutant("mask_tokens", "~np.isin(ids, special)", "np.isin(ids, ids)",
               "[CLS], [SEP] and padding are hidden too")
masking.mutant("mask_tokens", "share * total", "share * ids.shape[1]",
               "15 % of the padded length, not of the text's own words")
masking.mutant("mask_tokens", "np.maximum(1, np.rint(share * total))", "np.rint(share * total)",
               "nothing is hidden in a short text")
masking.mutant("mask_tokens", "lots < split[0]", "lots < 2", "all that is hidden becomes [MASK]")
masking.mutant("mask_tokens", "lots < sum(split)", "lots < 2",
               "none stays as it is: use has no such places")
masking.mutant("mask_tokens", "rng.choice(np.setdiff1d(np.arange(V), special), len(places))",
               "rng.integers(0, V, len(places))", "a special token may be drawn for a word")
masking.mutant("mask_tokens", "rng.choice(np.setdiff1d(np.arange(V), special), len(places))",
               "np.full(len(places), rng.choice(np.setdiff1d(np.arange(V), special)))",
               "one token is drawn for all places")
masking.mutant("mask_tokens", "rng.random(ids.shape)", "rng.random(ids.shape[1])",
               "the same places in each text")
masking.mutant("mask_tokens", "ids.copy()", "np.full_like(ids, mask_id)",
               "what was not chosen is hidden as well")

loss = Exercise("ch14.loss", REFERENCE, ["mean_loss", "mean_loss_backward"],
                "Only the hidden words count", "14.2, 14.4")


def drawn_scores(seed, n=6, C=4):
    """-> S (n, C), labels (n,): some are -1, some 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, C, n)
    labels[rng.permutation(n)[:n // 2]] = -1
    labels[labels.argmax()] = 0
    return rng.standard_normal((n, C)), labels


@loss.property("a row without a label does not count", seed=SEEDS,
               hint="choose the rows with a label of 0 or more; the gradient of others is 0")
def without_a_label(impl, seed):
    S, labels = drawn_scores(seed)
    other = np.where((labels < 0)[:, None], 5 * S + 1, S)
    one, cache = impl.mean_loss(S, labels)
    expect_close(impl.mean_loss(other, labels)[0], one, "other scores there, the same loss")
    dS = impl.mean_loss_backward(cache)
    expect_close(dS[labels < 0], np.zeros((np.sum(labels < 0), 4)), "the gradient there")


@loss.property("the gradient is the slope of g times the loss", seed=SEEDS,
               g=st.sampled_from([1.0, -2.5]), hint="softmax less one-hot, divided by the number "
               "of rows that count, times g")
def slope_of_the_mean(impl, seed, g):
    S, labels = drawn_scores(seed)
    dS = impl.mean_loss_backward(impl.mean_loss(S, labels)[1], g)
    expect_slopes(lambda x: g * impl.mean_loss(x["S"], labels)[0], {"S": dS}, {"S": S}, seed)


@loss.property("it agrees with a calculation by hand", seed=SEEDS,
               hint="ln of the sum of exp, less the label's score; the mean of those")
def mean_by_hand(impl, seed):
    S, labels = drawn_scores(seed)
    each = [math.log(sum(map(math.exp, row))) - row[y]
            for row, y in zip(S.tolist(), labels, strict=True) if y >= 0]
    expect_close(impl.mean_loss(S, labels)[0], sum(each) / len(each), "equation 14.4")


loss.mutant("mean_loss", "losses.mean()", "losses.sum()", "the sum, not the mean")
loss.mutant("mean_loss", "losses.mean()", "losses.sum() / len(S)",
            "divided by all rows, not by those that count")
loss.mutant("mean_loss", "labels >= 0", "labels > 0", "the class 0 is taken for no label")
loss.mutant("mean_loss_backward", "g / len(kept)", "g", "the gradient of the sum")
loss.mutant("mean_loss_backward", "g / len(kept)", "g / len(S)",
            "the gradient divided by all rows")
loss.mutant("mean_loss_backward", "g / len(kept)", "1 / len(kept)", "g is forgotten")
loss.mutant("mean_loss_backward", "dS[kept] = own", "dS[:len(kept)] = own",
            "the gradient goes to the first rows")

head = Exercise("ch14.head", REFERENCE, ["mlm_scores", "mlm_scores_backward"],
                "Which word was it?", "14.2")


def gelu_by_hand(x):
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


@head.property("a word's score is its vector times the bent, normed state, and its bias",
               seed=SEEDS, hint="dense, gelu, layer norm, then the rows of tokens")
def score_by_hand(impl, seed):
    P, H = drawn_heads(seed, T=2)
    S, _ = impl.mlm_scores(P, H, np.array([1, 3]))
    for row, place in zip(S, (1, 3), strict=True):
        y = H.reshape(4, 3)[place] @ P["mlm.dense"] + P["mlm.dense_bias"]
        y = np.array([gelu_by_hand(v) for v in y])
        y = (y - y.mean()) / math.sqrt(y.var() + 1e-12) * P["mlm.scale"] + P["mlm.shift"]
        expect_close(row, P["tokens"] @ y + P["mlm.bias"], "equation 14.2", rtol=1e-6)


@head.property("gradients are slopes, of the states and of each array", seed=SEEDS,
               hint="tokens serve as the last matrix: their gradient is (V, d)")
def head_slopes(impl, seed):
    P, H = drawn_heads(seed, T=2)
    G, places = np.random.default_rng(seed).standard_normal((2, 7)), np.array([1, 3])
    dH, grads = impl.mlm_scores_backward(G, impl.mlm_scores(P, H, places)[1])
    own = {k: P[k] for k in P if k.startswith("mlm") or k == "tokens"}
    expect_slopes(lambda x: float((G * impl.mlm_scores({**P, **x}, x["H"], places)[0]).sum()),
                  {"H": dH, **grads}, {"H": H, **own}, seed)


head.mutant("mlm_scores", "P['mlm.scale']", "np.ones_like(P['mlm.scale'])",
            "the norm's scale is left out")
head.mutant("mlm_scores", "P['mlm.bias']", "0 * P['mlm.bias']", "the words' bias is left out")
head.mutant("mlm_scores", "P['mlm.dense_bias']", "0 * P['mlm.dense_bias']",
            "the dense bias is left out")
head.mutant("mlm_scores", "H.reshape(-1, H.shape[-1])[places]",
            "H.reshape(-1, H.shape[-1])[:len(places)]", "the first rows, not those of the places")
head.mutant("mlm_scores_backward", "dH.reshape(-1, shape[-1])[places] = rows",
            "dH.reshape(-1, shape[-1])[:len(places)] = rows",
            "the gradient goes to the first rows")
head.mutant("mlm_scores_backward", "ops.bias_gelu_backward(dY, bent)", "(dY, dY.sum(axis=0))",
            "the derivative of gelu is left out")
head.mutant("mlm_scores_backward", "dE.T", "0 * dE.T", "tokens get no gradient from the output")

classes = Exercise("ch14.classes", REFERENCE, ["class_scores", "class_scores_backward"],
                   "A text by its first state", "14.3")


@classes.property("the scores come from the first token's state alone", seed=SEEDS,
                  hint="H[:, 0] is the state of [CLS]")
def first_alone(impl, seed):
    P, H = drawn_heads(seed)
    other = np.concatenate([H[:, :1], 3 * H[:, 1:] - 1], axis=1)
    expect_close(impl.class_scores(P, other)[0], impl.class_scores(P, H)[0], "other words after it")
    dH, _ = impl.class_scores_backward(np.ones((2, 4)), impl.class_scores(P, H)[1])
    expect_close(dH[:, 1:], np.zeros((2, 2, 3)), "the gradient of the others")


@classes.property("it agrees with a calculation by hand", seed=SEEDS,
                  hint="tanh(h P + p) C + c")
def classes_by_hand(impl, seed):
    P, H = drawn_heads(seed)
    pooled = [[math.tanh(P["pool_bias"][j] + sum(h[i] * P["pool"][i, j] for i in range(3)))
               for j in range(3)] for h in H[:, 0]]
    expect_close(impl.class_scores(P, H)[0], np.array(pooled) @ P["nsp"] + P["nsp_bias"],
                 "equation 14.3")


@classes.property("gradients are slopes, of the states and of each array", seed=SEEDS,
                  hint="the derivative of tanh is 1 - tanh^2")
def class_slopes(impl, seed):
    P, H = drawn_heads(seed)
    G = np.random.default_rng(seed).standard_normal((2, 4))
    dH, grads = impl.class_scores_backward(G, impl.class_scores(P, H)[1])
    own = {k: P[k] for k in ("pool", "pool_bias", "nsp", "nsp_bias")}
    expect_slopes(lambda x: float((G * impl.class_scores({**P, **x}, x["H"])[0]).sum()),
                  {"H": dH, **grads}, {"H": H, **own}, seed)


classes.mutant("class_scores", "H[:, 0]", "H.mean(axis=1)", "the mean of the states, not the first")
classes.mutant("class_scores", "H[:, 0]", "H[:, -1]", "the last token's state, as a decoder's")
classes.mutant("class_scores", "np.tanh(Y)", "np.maximum(Y, 0)", "another bend than tanh")
classes.mutant("class_scores_backward", "1 - pooled ** 2", "1 - pooled",
               "the derivative of tanh without its square")
classes.mutant("class_scores_backward", "1 - pooled ** 2", "pooled * (1 - pooled)",
               "the derivative of the sigmoid")
classes.mutant("class_scores_backward", "dH[:, 0] = first",
               "dH[:] = first[:, None] / dH.shape[1]", "the gradient is shared by all tokens")

senses = Exercise("ch14.senses", REFERENCE, ["polysemy_gap", "sense_separation"],
                  "One word, many meanings", "14.5, 14.6")


def drawn_senses(seed, n=6):
    """-> X (n, 4), n labels of three senses, each stands twice."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)), [int(s) for s in rng.permutation([0, 0, 1, 1, 2, 2])]


@senses.property("a static vector has no gap, and no separation", seed=SEEDS,
                 hint="1 - cos of equal vectors is 0")
def static(impl, seed):
    X, labels = drawn_senses(seed)
    expect_close(impl.polysemy_gap(np.tile(X[0], (6, 1)), labels), 0.0, "the gap", atol=1e-9)
    expect_close(impl.sense_separation(np.tile(X[0], (6, 1)), labels), 0.0, "apart", atol=1e-9)


@senses.property("senses at right angles: gap 1, separation 1; opposite ones: 2 and 2",
                 seed=SEEDS, hint="pairs of one sense do not count for the gap")
def right_angles(impl, seed):
    labels = np.random.default_rng(seed).permutation([0, 0, 0, 1])
    X = np.eye(2)[labels]
    expect_close([impl.polysemy_gap(X, labels), impl.sense_separation(X, labels)], [1.0, 1.0],
                 "right angles")
    X = np.where(labels[:, None] == 0, 1.0, -1.0) * [[3.0, 4.0]]
    expect_close([impl.polysemy_gap(X, labels), impl.sense_separation(X, labels)], [2.0, 2.0],
                 "opposite")


@senses.property("it agrees with a calculation by hand", seed=SEEDS,
                 hint="the mean over pairs of two senses, and over pairs of one, i not j")
def senses_by_hand(impl, seed):
    X, labels = drawn_senses(seed)
    cosine = {(i, j): float(X[i] @ X[j] / np.linalg.norm(X[i]) / np.linalg.norm(X[j]))
              for i in range(6) for j in range(i)}
    apart = [c for (i, j), c in cosine.items() if labels[i] != labels[j]]
    alike = [c for (i, j), c in cosine.items() if labels[i] == labels[j]]
    expect_close(impl.polysemy_gap(X, labels), 1 - sum(apart) / len(apart), "equation 14.5")
    expect_close(impl.sense_separation(X, labels),
                 sum(alike) / len(alike) - sum(apart) / len(apart), "equation 14.6")


senses.mutant("polysemy_gap", "_cosines(X, senses)[0]", "np.concatenate(_cosines(X, senses))",
              "pairs of one sense count as well")
senses.mutant("polysemy_gap", "1 - _cosines(X, senses)[0]", "_cosines(X, senses)[0]",
              "the cosine itself: large where the senses are close")
senses.mutant("sense_separation", "within.mean() - between.mean()",
              "between.mean() - within.mean()", "the wrong way round")
senses.mutant("_cosines", "pairwise_cosine(X, X)", "X @ X.T",
              "products in place of cosines: long vectors count for more")
senses.mutant("_cosines", "np.triu_indices(len(X), 1)", "np.triu_indices(len(X))",
              "each vector is compared with itself too")
senses.mutant("_cosines", "senses[i] == senses[j]", "senses[i] == senses[0]",
              "all are compared with the first one's sense")
