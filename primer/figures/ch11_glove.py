"""Figures of chapter 11: who has a say, ratios of probabilities, falling costs, growing counts.

`tour` trains on the State of the Union addresses.
"""
import numpy as np

from kernels import twin
from primer.ch06_word2vec import nearest_words
from primer.ch10_factorization import marginals
from primer.ch11_glove import (
    cooccurrence_weight,
    initial_model,
    predicted_ratios,
    probability_ratios,
    train_glove,
    word_vectors,
)
from primer.figures import BLACK, BLUE, COLOURS, MARKERS, ORANGE, new_figure, tidy
from primer.figures.ch10_factorization import frequent_words

WORDS, WINDOW, X_MAX = 2000, 8, 10.0  # x_max for a small corpus, as Stanford's demo has it
COMPANY = ("against", "during", "after", "congress", "the", "american", "maintain", "toward",
           "security", "treaty")


def weights_and_shares(X, x_max=X_MAX):
    """f for some exponents, and which counts the loss looks at -> Figure."""
    figure, (left, right) = new_figure(columns=2, width=10, height=3.9)
    x = np.linspace(0, 2 * x_max, 201)
    for alpha, colour, style in ((0.5, BLUE, "--"), (0.75, ORANGE, "-"), (1.0, BLACK, ":")):
        left.plot(x, cooccurrence_weight(x, x_max, alpha), style, color=colour,
                  label=rf"$\alpha = {alpha:g}$")
    left.legend(loc="lower right")
    tidy(left, rf"The weight of a count, $x_{{max}} = {x_max:g}$", "count x", "f(x)")
    counts = np.sort(X.data)
    some = np.unique(np.searchsorted(counts, np.geomspace(counts[0], counts[-1], 300)))
    for name, part, colour, style in (
            ("entries (all alike)", np.ones_like(counts), BLUE, "--"),
            ("weighted by f", cooccurrence_weight(counts, x_max), ORANGE, "-"),
            ("weighted by the count", counts, BLACK, ":")):
        share = np.cumsum(part) / part.sum()
        right.plot(counts[some], 100 * share[some], style, color=colour, label=name)
    right.set(xscale="log", ylim=(0, 102))
    right.legend(loc="lower right")
    tidy(right, "Who has a say in the loss", "counts up to x", "share (%)")
    return figure


def ratio_bars(X, model, vocabulary, one="war", other="peace", company=COMPANY):
    """P(k | one) / P(k | other), counted and by the vectors, for some words k -> Figure."""
    i, j = vocabulary[one], vocabulary[other]
    found, ratio = probability_ratios(X, i, j)
    counted = dict(zip(found.tolist(), ratio.tolist(), strict=True))
    words = [w for w in company if vocabulary.get(w) in counted]
    k = np.array([vocabulary[w] for w in words])
    predicted = predicted_ratios(model, i, j, k, marginals(X)[0])
    figure, axes = new_figure(width=8, height=4.4)
    y = np.arange(len(k))
    axes.axvline(1, color=BLACK, linewidth=1)
    for values, colour, marker, name in (
            ([counted[int(c)] for c in k], BLUE, "o", "counted"),
            (predicted, ORANGE, "D", "from the vectors")):
        axes.plot(values, y, marker, color=colour, markersize=7, label=name)
    axes.set(xscale="log", yticks=y, yticklabels=words, ylim=(len(k) - 0.5, -0.5))
    axes.legend(loc="lower right")
    return tidy(axes, f"Words k: right of 1 they go with {one}, left of it with {other}",
                f"P(k | {one}) / P(k | {other})").figure


def cost_curves(histories):
    """Mean of f e^2 / 2, epoch by epoch -> Figure.  dict name: history."""
    figure, axes = new_figure(width=7.4, height=4)
    for (name, history), colour, marker in zip(histories.items(), COLOURS, MARKERS, strict=False):
        axes.plot(1 + np.arange(len(history)), history, color=colour, marker=marker, markersize=5,
                  label=name)
    axes.set_ylim(0, None)
    axes.legend(loc="upper right")
    return tidy(axes, "The cost falls", "epoch", "mean of $f e^2 / 2$").figure


def growth(tokens, starts, V, windows=(2, 5, 10), pieces=6):
    """How many counts above 0 a growing corpus has -> Figure.  An epoch's time grows with them."""
    figure, axes = new_figure(width=7.4, height=4)
    count = twin("ch11_glove", "numba").count_block
    ends = [(len(starts) - 1) * k // pieces for k in range(1, pieces + 1)]
    sizes = starts[ends] / 1e6
    axes.plot(sizes, 2 * windows[-1] * sizes, color=BLACK, linestyle=":")
    axes.annotate(f"all pairs within {windows[-1]}", (sizes[1], 2 * windows[-1] * sizes[1]),
                  xytext=(0, 8), textcoords="offset points", ha="right", fontsize=9)
    for window, colour, marker in zip(windows, COLOURS, MARKERS, strict=False):
        nnz = [count(tokens[:starts[e]], starts[:e + 1], V, window).data.size / 1e6 for e in ends]
        axes.plot(sizes, nnz, color=colour, marker=marker, label=f"different, window {window}")
    axes.set(xlim=(0, None), yscale="log", ylim=(0.05, None))
    axes.legend(loc="lower right")
    return tidy(axes, "An epoch visits each count once, however often it was counted",
                "words of the corpus (millions)", "counts above 0 (millions)").figure


def addresses(words=WORDS, window=WINDOW):
    """All addresses in their most frequent words -> vocabulary, tokens, starts, X."""
    vocabulary, ids = frequent_words(words)
    tokens, starts = np.concatenate(ids).astype(np.int32), np.cumsum([0, *map(len, ids)])
    return vocabulary, tokens, starts, twin("ch11_glove", "numba").count_block(
        tokens, starts, words, window)


def train_on_addresses(X, d=40, epochs=6, seed=11, dtype=np.float32, rate=0.1):
    """By the twin -> GloVe, history."""
    rng = np.random.default_rng(seed)
    start = initial_model(X.shape[0], d, rng, dtype)
    return train_glove(X, start, epochs, rng, rate, X_MAX, twin=twin("ch11_glove", "numba"))


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    vocabulary, _, _, X = addresses(1500, 5)
    model, history = train_on_addresses(X, d=24)
    yield (f"{X.data.size:,} counts above 0 of {len(vocabulary):,} words, window 5; vectors of 24 "
           f"numbers; cost {history[0]:.3f} to {history[-1]:.3f} in {len(history)} epochs")
    W = word_vectors(model)
    for word in ("treasury", "war", "railroad", "schools", "million"):
        found = ", ".join(w for w, _ in nearest_words(word, vocabulary, W, 6))
        yield f"  {word:<10} {found}"
    yield "weights", weights_and_shares(X)
    yield "cost", cost_curves({"24 numbers a word": history})
