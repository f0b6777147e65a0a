"""Figures of chapter 6: sliding windows, learned against counted, loss curves, a map of words.

`tour` trains on the State of the Union addresses since 2000.
"""
import numpy as np

from kernels import twin
from primer import data
from primer.ch01_geometry import pca
from primer.ch06_word2vec import (
    count_vocabulary,
    encode_corpus,
    initial_vectors,
    nearest_words,
    skipgram_pairs,
    softmax,
    train_cbow,
    train_skipgram,
    windows_word2vec_c,
)
from primer.figures import (
    BLACK,
    BLUE,
    COLOURS,
    HEAT,
    MARKERS,
    ORANGE,
    new_figure,
    tidy,
)

FREQUENT = 60                         # words left out of the addresses: the, of, to, and, ...
GROUPS = {
    "war": ("war", "terror", "terrorists", "enemies", "troops", "iraq"),
    "money": ("tax", "taxes", "cuts", "budget", "spending", "deficit", "income"),
    "schools": ("schools", "students", "teachers", "education", "children"),
    "health": ("health", "care", "medicare", "insurance", "coverage"),
    "numbers": ("million", "billion", "000", "trillion"),
    "energy": ("energy", "oil", "gas", "clean", "power"),
}


def window_rows(words, rows, title):
    """A sentence, once a row, with one word's window -> Figure.  rows: (label, place, window)."""
    figure, axes = new_figure(width=9, height=0.8 + 0.42 * len(rows))
    for y, (label, t, c) in enumerate(rows):
        axes.text(-0.75, y, label, ha="right", va="center", fontsize=9)
        near = [j for j in range(len(words)) if 0 < abs(j - t) <= c]
        for j, word in enumerate(words):
            fill = ORANGE if j == t else BLUE if j in near else "#EEEEEE"
            axes.barh(y, 0.94, left=j - 0.47, height=0.8, color=fill)
            axes.text(j, y, word, ha="center", va="center",
                      color="white" if j in near else BLACK, weight="bold" if j == t else "normal")
        axes.text(len(words) - 0.4, y, f"{len(near)} pair{'s' * (len(near) != 1)}: "
                  + ", ".join(words[j] for j in near), va="center", fontsize=9)
    axes.set(xlim=(-0.6, len(words) + 3.4), ylim=(len(rows) - 0.5, -0.5), xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return tidy(axes, title).figure


def sliding_windows(words, c):
    """The window at every place of a sentence -> Figure."""
    return window_rows(words, [(f"t = {t + 1}", t, c) for t in range(len(words))],
                       f"Window {c}: orange predicts each blue (skip-gram), or all blue predict "
                       "orange (CBOW)")


def growing_windows(words, t, cs=(1, 2, 3, 4, 5)):
    """One word's pairs at several windows -> Figure."""
    return window_rows(words, [(f"c = {c}", t, c) for c in cs],
                       f"The pairs of {words[t]!r}, window by window")


def counted(tokens, starts, V, c):
    """How often each word has each neighbour, as shares of the word's pairs -> (V, V)."""
    P = np.zeros((V, V))
    np.add.at(P, skipgram_pairs(tokens, starts, c), 1)
    return P / P.sum(axis=1, keepdims=True)


def learned_and_counted(W, U, P, words):
    """p(o | i) of the model beside the shares of the corpus -> Figure."""
    figure, all_axes = new_figure(columns=2, width=9.6, height=4.5)
    for axes, M, title in zip(all_axes, (P, softmax(W @ U.T)),
                              ("Counted in the corpus", "Learned: softmax of $W U^T$"),
                              strict=True):
        axes.imshow(M, cmap=HEAT, vmin=0, vmax=P.max())
        for i, j in np.ndindex(M.shape):
            axes.text(j, i, f"{M[i, j]:.2f}".lstrip("0"), ha="center", va="center", fontsize=8,
                      color="white" if M[i, j] < P.max() / 2 else BLACK)
        axes.set(xticks=range(len(words)), yticks=range(len(words)))
        axes.set_xticklabels(words, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticklabels(words)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        tidy(axes, title, "neighbour")
    all_axes[0].set_ylabel("word")
    return figure


def loss_curves(histories, V):
    """Mean loss of a prediction, epoch by epoch -> Figure.  dict name: (epochs before, history)."""
    figure, axes = new_figure(width=7.4, height=4.2)
    longest = max(first + len(h) for first, h in histories.values())
    axes.axhline(np.log(V), color=BLACK, linestyle=":", linewidth=1.2)
    axes.annotate(f"all {V} words alike: ln {V} = {np.log(V):.2f}", (longest, np.log(V)),
                  xytext=(0, -5), textcoords="offset points", ha="right", va="top", fontsize=9)
    for (name, (first, history)), colour, marker in zip(histories.items(), COLOURS, MARKERS,
                                                        strict=False):
        epochs = first + 1 + np.arange(len(history))
        axes.plot(epochs, history, color=colour, marker=marker)
        axes.annotate(name, (epochs[-1], history[-1]), xytext=(8, 0), textcoords="offset points",
                      color=colour, va="center", fontsize=9, annotation_clip=False)
    axes.set(xticks=range(1, longest + 1, 1 + longest // 12), xlim=(0.8, longest + 0.2))
    return tidy(axes, "Loss falls as the vectors learn", "epoch", "mean $-\\ln p$ of an epoch"
                ).figure


def label_offsets(places, words, width, height):
    """A corner for each label where it covers no other and no point, as far as there is one.

    places (n, 2), the size of the axes in points -> n of (x, y) offset in points, alignment.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    points = (places - low) / (high - low) * (width, height)
    boxes, out = [(x - 4, x + 4, y - 4, y + 4) for x, y in points], []
    for (x, y), word in zip(points, words, strict=True):
        def box(dx, dy, x=x, y=y, word=word):
            size = 5.6 * len(word)
            left = x + dx - size * (dx < 0)
            return left, left + size, y + dy - 2, y + dy + 8

        def covered(corner, box=box):
            a, b, c, d = box(*corner)
            return sum(a < r and p < b and c < t and q < d for p, r, q, t in boxes)
        best = min(((6, 3), (6, -9), (-6, 3), (-6, -9), (6, 12), (-6, 12), (6, -18), (-6, -18)),
                   key=covered)
        boxes.append(box(*best))
        out.append((best, "left" if best[0] > 0 else "right"))
    return out


def word_map(W, vocabulary, groups=GROUPS):
    """The groups' words by the two directions in which they vary most -> Figure."""
    figure, axes = new_figure(width=8.8, height=6)
    shown = [(name, word) for name, words in groups.items() for word in words
             if word in vocabulary]
    X = W[[vocabulary[word] for _, word in shown]].astype(np.float64)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    places, _, _, variance = pca(X, 2)
    total = ((X - X.mean(axis=0)) ** 2).sum() / (len(X) - 1)
    labels = label_offsets(places, [word for _, word in shown], 470, 340)
    for name, colour, marker in zip(groups, COLOURS, MARKERS, strict=False):
        own = [i for i, (group, _) in enumerate(shown) if group == name]
        axes.plot(*places[own].T, marker, color=colour, markersize=7, label=name)
        for i in own:
            axes.annotate(shown[i][1], places[i], xytext=labels[i][0], ha=labels[i][1],
                          textcoords="offset points", color=colour, fontsize=9)
    axes.legend(loc="best", fontsize=9)
    axes.margins(x=0.08)
    return tidy(axes, f"{len(shown)} words by direction, {variance.sum() / total:.0%} of the "
                "variance", "component 1", "component 2").figure


def addresses(first_year=2000, min_count=30, frequent=FREQUENT):
    """The addresses since a year -> vocabulary, tokens, starts; without their most frequent words.

    Chapter 8 thins these out by chance in place of dropping them.
    """
    texts, about = data.sotu_paragraphs()
    texts = [t for t, a in zip(texts, about, strict=True) if a["year"] >= first_year]
    words = list(count_vocabulary(texts, min_count)[0])[frequent:]
    vocabulary = {word: i for i, word in enumerate(words)}
    return vocabulary, *encode_corpus(texts, vocabulary)


def train_on_addresses(vocabulary, tokens, starts, d=16, c=3, epochs=(8, 4), rates=(0.1, 0.04),
                       seed=6):
    """CBOW and skip-gram, each from the start, by the twin -> two of (W, U, history), in float64,
    so that other machines, which sum in another order, find the same words."""
    fast, out = twin("ch06_word2vec", "numba"), []
    for train, own, rate in zip((train_cbow, train_skipgram), epochs, rates, strict=True):
        rng = np.random.default_rng(seed)
        W, U = initial_vectors(len(vocabulary), d, rng, np.float64)
        out.append(train(tokens, starts, W, U, c, own, rng, rate, windows_word2vec_c, fast))
    return out


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    words = data.load_texts()["iguana"]["documents"][0].lower().split()
    yield "windows", sliding_windows(words, 2)
    vocabulary, tokens, starts = addresses()
    yield (f"addresses since 2000: {len(tokens):,} words, {len(vocabulary)} different ones, "
           f"without the {FREQUENT} most frequent; vectors of 16 numbers")
    cbow, skipgram = train_on_addresses(vocabulary, tokens, starts, epochs=(4, 2))
    for word in ("war", "tax", "schools", "million"):
        for name, (W, _, _) in (("CBOW", cbow), ("skip-gram", skipgram)):
            found = ", ".join(w for w, _ in nearest_words(word, vocabulary, W, 6))
            yield f"{word:<8} {name:<10} {found}"
    yield "loss", loss_curves({"CBOW": (0, cbow[2]), "skip-gram": (0, skipgram[2])},
                              len(vocabulary))
    yield "map", word_map(skipgram[0], vocabulary)
