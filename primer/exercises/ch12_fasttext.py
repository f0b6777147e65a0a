"""Exercises of chapter 12: n-grams, their hash, means of rows, a place's loss, the classifier."""
import math

import numpy as np
from hypothesis import strategies as st

from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch12_fasttext"
SEEDS = st.integers(0, 9999)
WORDS = (st.text("abnéß日</s>", min_size=1, max_size=9)
         | st.sampled_from(["</s>", "banana", "naïve"]))
LENGTHS = st.tuples(st.integers(1, 4), st.integers(0, 3)).map(lambda t: (t[0], sum(t)))
TOLD_WORDS = ("breat", "eathtaking", "htakingly")        # line 1365


def drawn_block(seed, dtype=np.float64, d=3, T=9, V=6, bucket=8, K=4):
    """-> Z, U, tokens, starts, windows, rates, negatives, ngrams: what a block function takes."""
    rng = np.random.default_rng(seed)
    Z, U = (rng.standard_normal((rows, d)).astype(dtype) / dtype(max(1, d / 9))
            for rows in (V + bucket, V))
    indptr = np.append(0, np.cumsum(rng.integers(1, 6, V)))
    starts = np.sort(np.append(rng.integers(0, T + 1, 2), [0, T]))
    return (Z, U, rng.integers(0, V, T), starts, rng.integers(1, 4, T), rng.uniform(0, 0.2, T),
            rng.integers(0, V, (T, K)), (indptr, rng.integers(0, V + bucket, indptr[-1])))


def drawn_texts(seed, labels=4, n=7, d=3, dtype=np.float64, table=12):
    """-> Z, A, indptr, rows, labels, order, rates: what classifier_block takes."""
    rng = np.random.default_rng(seed)
    Z, A = (rng.standard_normal((rows, d)).astype(dtype) / dtype(max(1, d / 9))
            for rows in (table, labels))
    indptr = np.append(0, np.cumsum(rng.integers(1, 6, n)))
    return (Z, A, indptr, rng.integers(0, table, indptr[-1]), rng.integers(0, labels, n),
            rng.permutation(n), rng.uniform(0, 0.5, n))


def expect_slope(f, x, grad, seed, what):
    """A gradient against a central difference along one random direction."""
    direction, eps = np.random.default_rng(seed).standard_normal(x.shape), 1e-6
    want = (f(x + eps * direction) - f(x - eps * direction)) / (2 * eps)
    expect(np.shape(grad) == x.shape, f"{what} is as large as what it is the gradient of")
    expect_close(float((grad * direction).sum()), want, what, rtol=1e-5, atol=1e-7)


runs = Exercise("ch12.ngrams", REFERENCE, ["ngrams"], "What a word is made of", "12.1")


@runs.property("each n-gram is a piece of <word>, minn to maxn letters long", word=WORDS,
               lengths=LENGTHS, hint="letters, not bytes: é is one")
def pieces(impl, word, lengths):
    for gram in impl.ngrams(word, *lengths):
        expect(gram in f"<{word}>", "a piece of the marked word", gram=gram)
        expect(lengths[0] <= len(gram) <= lengths[1], "its length", gram=gram)


@runs.property("there are as many as places to begin, for each length", word=WORDS, lengths=LENGTHS,
               hint="the marks count as letters; a mark alone is no n-gram")
def as_many_as_places(impl, word, lengths):
    long = len(word) + 2
    want = sum(max(long - n + 1, 0) - 2 * (n == 1) for n in range(lengths[0], lengths[1] + 1))
    expect_close(len(impl.ngrams(word, *lengths)), want, "the number of n-grams")


@runs.property("the marks tell a beginning and an end from the middle", word=WORDS,
               hint="< before the word, > after it")
def marks(impl, word):
    grams = impl.ngrams(word, 3, 3)
    expect(grams[0].startswith("<") and grams[-1].endswith(">"), "first <.., last ..>", grams=grams)


BY_HAND = {("fast", 3, 6): "<fa <fas <fast <fast> fas fast fast> ast ast> st>",
           ("né", 1, 2): "n é <n né é>", ("a", 3, 6): "<a>", ("日本語", 4, 4): "<日本語 日本語>"}


@runs.property("it agrees with lists by hand", case=st.sampled_from(list(BY_HAND)),
               hint="write the word between its marks, and underline each run of letters")
def listed_by_hand(impl, case):
    got = impl.ngrams(*case)
    expect(sorted(got) == sorted(BY_HAND[case].split()), "these n-grams", yours=got,
           right=BY_HAND[case])


runs.mutant("ngrams", "f'<{word}>'", "f'{word}'",
            "no marks: beginnings and ends look like middles")
runs.mutant("ngrams", "f'<{word}>'", "f'<{word}'", "the mark at the end is missing")
runs.mutant("ngrams", "range(max(minn, 1), maxn + 1)", "range(max(minn, 1), maxn)",
            "the longest n-grams are missing")
runs.mutant("ngrams", "i + n <= len(letters)", "True",
            "short leftovers at the end count as n-grams")
runs.mutant("ngrams", "not (n == 1 and i in (0, len(letters) - 1))", "True",
            "a mark alone counts as an n-gram")
runs.mutant("ngrams", "range(len(letters))", "range(1, len(letters))",
            "n-grams that begin at < are missing")

hashed = Exercise("ch12.hash", REFERENCE, ["fnv1a", "ngram_buckets"],
                  "A row for every n-gram", "12.2")


@hashed.property("a hash goes on: that of a longer text follows from the shorter one's",
                 head=st.text("abc", max_size=5), last=st.sampled_from("abcxyÀ"),
                 hint="xor with the byte, then times 16777619, modulo 2^32")
def goes_on(impl, head, last):
    want = impl.fnv1a(head)
    for byte in last.encode():                        # one from 128 on stands for byte - 256
        want = (want ^ (byte - 256 * (byte > 127)) % 2**32) * 16777619 % 2**32
    expect_close(impl.fnv1a(head + last), want, "one more letter")


@hashed.property("every bucket is from 0 to B - 1", word=WORDS, bucket=st.integers(1, 50),
                 hint="modulo the number of buckets")
def in_range(impl, word, bucket):
    found = impl.ngram_buckets(word, 3, 6, bucket)
    expect(all(0 <= b < bucket for b in found), "buckets in range", yours=found)


@hashed.property("there is a bucket for each n-gram, but none for </s>, the end of a line",
                 word=WORDS, hint="</s> is a sign, not a word")
def one_for_each(impl, word):
    want = 0 if word == "</s>" else sum(max(len(word) + 3 - n, 0) for n in range(3, 7))
    expect_close(len(impl.ngram_buckets(word, 3, 6, 50)), want, "the number of buckets")


PUBLISHED = {"": 0x811C9DC5, "a": 0xE40C292C, "foobar": 0xBF9CF968, "é": 1023043777}


@hashed.property("it agrees with published values, and with fastText's for é",
                 text=st.sampled_from(list(PUBLISHED)),
                 hint="bytes from 128 on count as signed: they flip the upper 24 bits too")
def published(impl, text):
    expect_close(impl.fnv1a(text), PUBLISHED[text], "its FNV-1a")


hashed.mutant("fnv1a", "(number ^ signed) * 16777619", "(number * 16777619) ^ signed",
              "FNV-1 in place of FNV-1a: the product comes first")
hashed.mutant("fnv1a", "byte if byte < 128 else byte | 0xFFFFFF00", "byte",
              "the textbook's bytes: other rows than fastText's for é")
hashed.mutant("fnv1a", "16777619", "16777633", "a wrong prime")
hashed.mutant("fnv1a", "2166136261", "0", "it begins at 0: leading zero bytes vanish")
hashed.mutant("ngram_buckets", "fnv1a(g) % bucket", "fnv1a(g)", "the modulo is missing")
hashed.mutant("ngram_buckets", "word == END_OF_LINE", "False", "</s> has n-grams as a word has")

means = Exercise("ch12.means", REFERENCE, ["mean_rows", "mean_rows_backward"],
                 "From rows to vectors", "12.3, 12.5")


def drawn_items(seed):
    """-> Z (8, 3), indptr, rows: five items, one without rows, some rows twice in one."""
    rng = np.random.default_rng(seed)
    indptr = np.append(0, np.cumsum([*rng.integers(1, 6, 2), 0, *rng.integers(1, 6, 2)]))
    return rng.standard_normal((8, 3)), indptr, rng.integers(0, 8, indptr[-1])


@means.property("an item of equal rows has that row for its vector", seed=SEEDS,
                times=st.integers(1, 5), hint="a mean, not a sum")
def equal_rows(impl, seed, times):
    Z, _, _ = drawn_items(seed)
    got = impl.mean_rows(Z, np.array([0, times]), np.full(times, 3))
    expect_close(got[0], Z[3], "the mean of equal rows")


@means.property("the gradient is the slope", seed=SEEDS,
                hint="each row gets 1 / |R| of dh, once for each time it stands in the item")
def slope_of_means(impl, seed):
    Z, indptr, rows = drawn_items(seed)
    G = np.random.default_rng(seed + 1).standard_normal((len(indptr) - 1, 3))
    got = impl.mean_rows_backward(G, indptr, rows, len(Z))
    expect_slope(lambda Z: float((G * impl.mean_rows(Z, indptr, rows)).sum()), Z, got, seed, "dZ")


@means.property("it agrees with a calculation by hand", seed=SEEDS,
                hint="zeros for an item without rows")
def means_by_hand(impl, seed):
    Z, indptr, rows = drawn_items(seed)
    want = []
    for a, b in zip(indptr, indptr[1:], strict=False):
        total = [0.0, 0.0, 0.0]
        for r in rows[a:b]:
            total = [x + y for x, y in zip(total, Z[r], strict=True)]
        want.append([x / max(b - a, 1) for x in total])
    expect_close(impl.mean_rows(Z, indptr, rows), want, "equation 12.3")


means.mutant("mean_rows", "H * (1 / np.maximum(size, 1)).astype(H.dtype)[:, None]", "H",
             "a sum in place of the mean")
means.mutant("mean_rows", "np.add.at(H, np.repeat(np.arange(len(size)), size), picked)",
             "H.__setitem__(np.repeat(np.arange(len(size)), size), picked)",
             "the last row of each item, not their sum")
means.mutant("mean_rows_backward", "dH / size[:, None]", "dH",
             "the gradient is not divided by the number of rows")
means.mutant("mean_rows_backward",
             "np.add.at(dZ, rows, np.repeat(dH / size[:, None], np.diff(indptr), axis=0))",
             "dZ.__setitem__(rows, np.repeat(dH / size[:, None], np.diff(indptr), axis=0))",
             "dZ[rows] = ...: a row of several items keeps one gradient")

place = Exercise("ch12.place", REFERENCE, ["place_loss"],
                 "Neighbours that predict one word", "12.4")


def drawn_place(seed):
    """-> H (3, 4), U (5, 4), words (5,): noise is sometimes the word itself."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((3, 4)), rng.standard_normal((5, 4)), rng.integers(0, 5, 5)


@place.property("several neighbours are as many places of one neighbour", seed=SEEDS,
                hint="all take the same noise; losses and steps of U add up")
def one_by_one(impl, seed):
    H, U, words = drawn_place(seed)
    loss, dH, dU = impl.place_loss(H, U, words)
    alone = [impl.place_loss(H[[i]], U, words) for i in range(3)]
    expect_close(loss, sum(a[0] for a in alone), "the sum of their losses")
    expect_close(dH, np.concatenate([a[1] for a in alone]), "each one's own gradient")
    expect_close(dU, sum(a[2] for a in alone), "the sum of what they do to U")


@place.property("dH and dU are the slopes", seed=SEEDS,
                hint="sigma - 1 for the word, sigma for noise, 0 for noise that is the word")
def slope_of_a_place(impl, seed):
    H, U, words = drawn_place(seed)
    _, dH, own = impl.place_loss(H, U, words)
    dU = np.zeros_like(U)
    np.add.at(dU, words, own)
    expect_slope(lambda H: impl.place_loss(H, U, words)[0], H, dH, seed, "dH")
    expect_slope(lambda U: impl.place_loss(H, U, words)[0], U, dU, seed, "dU")


@place.property("it agrees with a calculation by hand", seed=SEEDS,
                hint="for each neighbour -ln sigma(s) of the word, -ln sigma(-s) of its noise")
def place_by_hand(impl, seed):
    H, U, (o, *noise) = drawn_place(seed)
    want = 0
    for h in H:
        s = [sum(a * b for a, b in zip(u, h, strict=True)) for u in U]
        want += math.log(1 + math.exp(-s[o]))
        want += sum(math.log(1 + math.exp(s[k])) for k in noise if k != o)
    expect_close(impl.place_loss(H, U, np.array([o, *noise]))[0], want, "equation 12.4")


place.mutant("place_loss", "words[None]", "np.arange(len(words))[None]",
             "noise that is the word itself is pushed away")
place.mutant("place_loss", "H @ U[words].T", "H @ U[words[::-1]].T",
             "the last word is taken for the right one")
place.mutant("place_loss", "losses.sum()", "losses.mean()", "the mean over neighbours, not the sum")
place.mutant("place_loss", "G @ U[words]", "G[:, :1] @ U[words[:1]]",
             "noise does not push the neighbours away")
place.mutant("place_loss", "G.T @ H", "G.T @ H / len(H)", "the step of U is a mean")

labels_of_texts = Exercise("ch12.classifier", REFERENCE, ["classifier_loss_grad"],
                           "A label for a text", "12.6")


@labels_of_texts.property("the gradient is the slope", seed=SEEDS, g=st.sampled_from([1.0, -2.5]),
                          hint="chapter 6's softmax on means of rows; the loss is a mean too")
def slope_of_the_classifier(impl, seed, g):
    Z, A, *texts = drawn_texts(seed)[:5]
    _, dZ, dA = impl.classifier_loss_grad(Z, A, *texts, g=g)
    expect_slope(lambda Z: g * impl.classifier_loss_grad(Z, A, *texts)[0], Z, dZ, seed, "dZ")
    expect_slope(lambda A: g * impl.classifier_loss_grad(Z, A, *texts)[0], A, dA, seed, "dA")


@labels_of_texts.property("texts together have the mean of their losses and gradients", seed=SEEDS,
                          hint="divide by the number of texts, once")
def mean_over_texts(impl, seed):
    Z, A, indptr, rows, labels, *_ = drawn_texts(seed)
    together = impl.classifier_loss_grad(Z, A, indptr, rows, labels)
    alone = [impl.classifier_loss_grad(Z, A, np.array([0, b - a]), rows[a:b], labels[[i]])
             for i, (a, b) in enumerate(zip(indptr, indptr[1:], strict=False))]
    for k, what in enumerate(("the mean loss", "dZ", "dA")):
        expect_close(together[k], sum(x[k] for x in alone) / len(labels), what)


@labels_of_texts.property("it agrees with a calculation by hand", seed=SEEDS,
                          hint="the mean of the text's rows, a score for each label, their softmax")
def text_by_hand(impl, seed):
    Z, A, indptr, rows, labels, *_ = drawn_texts(seed, n=1)
    x = [sum(Z[r][k] for r in rows) / len(rows) for k in range(Z.shape[1])]
    e = [math.exp(sum(a * b for a, b in zip(row, x, strict=True))) for row in A]
    loss, _, dA = impl.classifier_loss_grad(Z, A, indptr, rows, labels)
    expect_close(loss, -math.log(e[labels[0]] / sum(e)), "equation 12.6")
    expect_close(dA, [[(y / sum(e) - (j == labels[0])) * k for k in x] for j, y in enumerate(e)],
                 "p minus what is right, times the text's vector")


labels_of_texts.mutant("classifier_loss_grad", "g / len(losses)", "g",
                       "the gradient of the sum, beside the mean loss")
labels_of_texts.mutant("classifier_loss_grad", "g * losses.mean()", "g * losses.sum()",
                       "the sum of the losses, beside the gradient of their mean")
labels_of_texts.mutant("classifier_loss_grad", "mean_rows_backward(dH, indptr, rows, len(Z))",
                       "mean_rows_backward(dH, indptr, rows, len(Z)) * np.diff(indptr).max()",
                       "a text's rows get all of dL/dh, as in fastText's word steps")
labels_of_texts.mutant("classifier_loss_grad", "mean_rows(Z, indptr, rows)",
                       "mean_rows(Z, indptr, rows) * np.diff(indptr)[:, None]",
                       "a text's vector is the sum of its rows, not their mean")
