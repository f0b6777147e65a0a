"""Figures of chapter 12: n-grams of a word, kin of unseen words, a classifier of centuries.

`tour` trains on a part of the State of the Union addresses.
"""
import numpy as np

from kernels import twin
from primer import data
from primer.ch01_geometry import nearest, pairwise_cosine
from primer.ch03_bow import tokenize
from primer.ch06_word2vec import count_vocabulary, encode_corpus
from primer.ch12_fasttext import (
    classify,
    initial_vectors,
    mean_rows,
    ngram_buckets,
    ngrams,
    subword_rows,
    train_classifier,
    train_vectors,
    word_vector,
)
from primer.figures import BLACK, BLUE, HEAT, ORANGE, VERMILION, new_figure, tidy

HELD = ("railroads", "treasurer", "unconstitutional", "manufactured", "governmental", "taxing")
UNSEEN = ("railroadz", "breathtakingly", "governmentalism")
KIN = ("railroad", "railroads", "treasury", "treasurer", "constitutional", "unconstitutional",
       "tax", "taxing")
BUCKETS = 20_000


def pieces(word, minn=3, maxn=6, listed=()):
    """A word's n-grams, each below the letters that it covers -> Figure.  listed: said to be ones.
    """
    text, grams = f"<{word}>", ngrams(word, minn, maxn)
    rows = []                                      # of (first, length), none of them overlapping
    spans = [(text.index(g), len(g), g in grams) for g in listed]
    spans += [(i, n, True) for n in range(minn, maxn + 1) for i in range(len(text) - n + 1)
              if (i, n) not in [s[:2] for s in spans]]
    for first, size, real in sorted(spans, key=lambda s: (s[1], s[0])):
        for row in rows:
            if row[-1][0] + row[-1][1] <= first and row[-1][1] == size:
                row.append((first, size, real))
                break
        else:
            rows.append([(first, size, real)])
    figure, axes = new_figure(width=8.6, height=1 + 0.25 * len(rows))
    for y, row in enumerate(rows):
        for first, size, real in row:
            piece = text[first:first + size]
            told = piece in listed
            axes.barh(y, size - 0.12, left=first + 0.06, height=0.78,
                      color=ORANGE if told and real else VERMILION if told else BLUE)
            axes.text(first + size / 2, y, piece, ha="center", va="center", fontsize=8,
                      family="monospace", color="white")
    for i, letter in enumerate(text):
        axes.text(i + 0.5, -1.1, letter, ha="center", va="center", fontsize=12, family="monospace",
                  color=BLACK if letter not in "<>" else ORANGE)
    axes.set(xlim=(0, len(text)), ylim=(len(rows) - 0.4, -1.8), xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return tidy(axes, f"{len(grams)} n-grams of {minn} to {maxn} letters of {word!r}").figure


def addresses(held=HELD, every=1, min_count=10):
    """Every k-th passage of the addresses, in which no word held out is known -> vocabulary,
    tokens, starts."""
    texts = data.sotu_paragraphs()[0][::every]
    words = [w for w in count_vocabulary(texts, min_count)[0] if w not in held]
    vocabulary = {w: i for i, w in enumerate(words)}
    return vocabulary, *encode_corpus(texts, vocabulary)


def train_on_addresses(vocabulary, tokens, starts, d=48, epochs=3, seed=12, bucket=BUCKETS,
                       lengths=(3, 6)):
    """Skip-gram with n-grams, by the twin -> Z, U, and the vectors of all words (V, d)."""
    Z, U = initial_vectors(len(vocabulary), bucket, d, np.random.default_rng(seed))
    ngram_rows = subword_rows(list(vocabulary), *lengths, bucket)
    train_vectors(twin("ch12_fasttext", "numba").skipgram_block, tokens, starts, Z, U, ngram_rows,
                  5, 5, epochs, seed, 0.1, 1e-3)
    return Z, U, mean_rows(Z, *ngram_rows)


def neighbours(word, Z, vocabulary, X, k=5):
    """The known words nearest to any string, without itself -> list of (str, float)."""
    words = list(vocabulary)
    (found,), (cosines,) = nearest(word_vector(Z, word, vocabulary)[None], X, k + 1)
    return [(words[i], float(c)) for i, c in zip(found, cosines, strict=True)
            if words[i] != word][:k]


def kin(Z, vocabulary, words):
    """Cosines of words, known or not -> Figure."""
    X = np.array([word_vector(Z, w, vocabulary) for w in words])
    C = pairwise_cosine(X, X)
    figure, axes = new_figure(width=6.8, height=5.6)
    axes.imshow(C, cmap=HEAT, vmin=0, vmax=1)
    for i, j in np.ndindex(C.shape):
        axes.text(j, i, f"{C[i, j]:.1f}".replace("0.", "."), ha="center", va="center", fontsize=8,
                  color="white" if C[i, j] < 0.6 else BLACK)
    names = [w if w in vocabulary else f"{w} *" for w in words]
    axes.set(xticks=range(len(words)), yticks=range(len(words)), yticklabels=names)
    axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return tidy(axes, "Cosines; * never seen in training").figure


def contributions(Z, word, other, vocabulary, k=12):
    """Which n-grams of an unseen word bring it near another: the terms of the dot product with the
    other's direction, largest first -> Figure."""
    grams = ngrams(word)
    rows = [len(vocabulary) + b for b in ngram_buckets(word, 3, 6, len(Z) - len(vocabulary))]
    v, u = word_vector(Z, word, vocabulary), word_vector(Z, other, vocabulary)
    terms = Z[rows] @ u / (len(rows) * np.linalg.norm(v) * np.linalg.norm(u))
    best = np.argsort(-terms)[:k]
    figure, axes = new_figure(width=6.4, height=4)
    axes.barh(range(len(best)), terms[best], color=BLUE)
    axes.set(yticks=range(len(best)), ylim=(len(best) - 0.4, -0.6))
    axes.set_yticklabels([grams[i] for i in best], family="monospace")
    return tidy(axes, f"{word!r} to {other!r}: cosine {terms.sum():.2f}, its largest parts",
                "part of the cosine").figure


def half_centuries(every=1, year=50):
    """Passages and their half-centuries -> texts, labels, names, and a mask of those held out: the
    addresses of each fifth year."""
    texts, about = data.sotu_paragraphs()
    texts, years = texts[::every], np.array([a["year"] for a in about[::every]])
    names, labels = np.unique(years // year * year, return_inverse=True)
    return [tokenize(t) for t in texts], labels, names, years % 5 == 0


def train_centuries(texts, labels, held, n=2, d=16, epochs=5, rate=0.5, bucket=BUCKETS, seed=12):
    """The classifier by the twin, on those not held out -> probabilities of all texts."""
    fast = twin("ch12_fasttext", "numba")
    words = dict.fromkeys(w for t, h in zip(texts, held, strict=True) if not h for w in t)
    vocabulary = {w: i for i, w in enumerate(words)}
    items = fast.text_rows(texts, vocabulary, 0, 0, bucket, n)
    Z, A = initial_vectors(len(words), bucket, d, np.random.default_rng(seed), labels.max() + 1)
    own = np.flatnonzero(~held)
    size = np.diff(items[0])[own]
    indptr = np.append(0, np.cumsum(size))
    rows = np.concatenate([items[1][items[0][i]:items[0][i + 1]] for i in own])
    history = train_classifier(fast.classifier_block, Z, A, indptr, rows, labels[own], epochs, seed,
                               rate)
    return classify(Z, A, *items), history


def confusion(P, labels, names, held):
    """Which half-century the held-out passages are taken for -> Figure."""
    L = len(names)
    counts = np.zeros((L, L))
    np.add.at(counts, (labels[held], P[held].argmax(axis=1)), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    figure, axes = new_figure(width=6, height=5)
    axes.imshow(shares, cmap=HEAT, vmin=0, vmax=1)
    for i, j in np.ndindex(shares.shape):
        axes.text(j, i, f"{shares[i, j]:.0%}", ha="center", va="center", fontsize=9,
                  color="white" if shares[i, j] < 0.6 else BLACK)
    ticks = [f"{y}-{y + 49}" for y in names]
    axes.set(xticks=range(L), yticks=range(L), yticklabels=ticks)
    axes.set_xticklabels(ticks, rotation=30, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    right = np.trace(counts) / counts.sum()
    return tidy(axes, f"Half-century of {int(counts.sum()):,} unseen passages: {right:.0%} right",
                "predicted", "true").figure


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    yield "pieces", pieces("railroadz")
    vocabulary, tokens, starts = addresses(every=6)
    yield (f"addresses: {len(tokens):,} words, {len(vocabulary):,} different ones; held out: "
           f"{', '.join(HELD)}")
    Z, _, X = train_on_addresses(vocabulary, tokens, starts, d=32, epochs=2)
    for word in (*HELD[:4], UNSEEN[0]):
        yield f"{word:<18} {', '.join(w for w, _ in neighbours(word, Z, vocabulary, X))}"
    yield "kin", kin(Z, vocabulary, KIN)
