"""Figures of chapter 7: the tree, code lengths by frequency, how wrong a turn is, a comb.

`tour` trains on the State of the Union addresses since 2010.
"""
import numpy as np

from kernels import twin
from primer import data
from primer.ch06_word2vec import count_vocabulary, encode_corpus, nearest_words
from primer.ch07_hierarchical_softmax import (
    entropy_bits,
    huffman_tree,
    initial_vectors,
    mean_path_length,
    train_skipgram,
)
from primer.figures import BLACK, BLUE, COLOURS, MARKERS, ORANGE, VERMILION, new_figure, tidy

EXAMPLE = {"the": 45, "of": 16, "and": 13, "union": 12, "war": 9, "bank": 5}


def turns_of(tree, word):
    """-> list of (node, turn)."""
    own = slice(tree.indptr[word], tree.indptr[word + 1])
    return list(zip(tree.nodes[own].tolist(), tree.codes[own].tolist(), strict=True))


def placed(tree):
    """Leaves from left to right, nodes between their children -> dict of (x, y) by path."""
    V = len(tree.indptr) - 1
    paths = {tuple(turn for _, turn in turns_of(tree, w)): w for w in range(V)}
    places = {path: (x, -len(path)) for x, path in enumerate(sorted(paths))}
    inner = {path[:i] for path in paths for i in range(len(path))}
    for path in sorted(inner, key=len, reverse=True):
        (left, _), (right, _) = places[path + (0,)], places[path + (1,)]
        places[path] = ((left + right) / 2, -len(path))
    return places, paths


def huffman_figure(counts, way=None):
    """The tree of a few words, one word's way in orange -> Figure.  dict word: count."""
    words, numbers = list(counts), np.array(list(counts.values()))
    tree = huffman_tree(numbers)
    places, leaves = placed(tree)
    shown = () if way is None else tuple(turn for _, turn in turns_of(tree, words.index(way)))
    figure, axes = new_figure(width=1.3 + 1.15 * len(words), height=4.6)
    for path, (x, y) in places.items():
        if path:
            above, on = places[path[:-1]], bool(shown) and path == shown[:len(path)]
            axes.plot((above[0], x), (above[1], y), color=ORANGE if on else "#999999",
                      linewidth=3 if on else 1.5, zorder=1)
            axes.text((above[0] + x) / 2, (above[1] + y) / 2, path[-1], ha="center", va="center",
                      fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        leaf = path in leaves
        below = numbers[[w for p, w in leaves.items() if p[:len(path)] == path]].sum()
        text = f"{words[leaves[path]]}\n{below}" if leaf else f"{below}"
        axes.text(x, y, text, ha="center", va="top" if leaf else "center", fontsize=10, zorder=2,
                  color=BLACK if leaf else "white",
                  bbox={"boxstyle": "round", "facecolor": "white" if leaf else BLUE,
                        "edgecolor": BLUE})
    deepest = min(y for _, y in places.values())
    axes.set(xlim=(-0.6, len(words) - 0.4), ylim=(deepest - 0.6, 0.4), xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    title = f"Mean path {mean_path_length(numbers, tree):.2f} turns, entropy " \
            f"{entropy_bits(numbers):.2f} bits"
    return tidy(axes, title + (f"; the way to {way!r}" if way else "")).figure


def lengths_by_frequency(counts, tree):
    """Path length of each word beside -log2 of its share, the mean and log2 V -> Figure."""
    figure, axes = new_figure(width=7.6, height=4.6)
    p, lengths = counts / counts.sum(), np.diff(tree.indptr)
    order = np.argsort(-counts, kind="stable")
    ranks = np.arange(1, len(counts) + 1)
    axes.step(ranks, lengths[order], where="mid", color=BLUE, label="turns to the word")
    axes.plot(ranks, -np.log2(p[order]), color=ORANGE, linestyle="--", linewidth=1.5,
              label="$-\\log_2$ of its share of the corpus")
    mean, bits, flat = mean_path_length(counts, tree), entropy_bits(counts), np.log2(len(counts))
    for y, words, colour, at in (
            (mean, f"mean over the corpus {mean:.2f}; entropy {bits:.2f}", BLACK, len(counts)),
            (flat, f"$\\log_2 V$ = {flat:.2f}, a balanced tree", VERMILION, 1)):
        axes.axhline(y, color=colour, linestyle=":", linewidth=1.4)
        axes.annotate(words, (at, y), xytext=(0, 3 if at == 1 else -3),
                      textcoords="offset points", ha="left" if at == 1 else "right",
                      va="bottom" if at == 1 else "top", color=colour, fontsize=9)
    axes.set_xscale("log")
    axes.set_ylim(0, lengths.max() + 1)
    axes.legend(loc="upper left", fontsize=9)
    return tidy(axes, f"Frequent words are near the root: V = {len(counts):,}",
                "rank of the word by frequency", "turns").figure


def cost_of_a_prediction(sizes, exponent=1.0):
    """Turns of a prediction against V: Zipf's counts, equal ones, Fibonacci's -> Figure."""
    figure, axes = new_figure(width=7.4, height=4.4)
    rows = {"full softmax: V scores": [(V, V) for V in sizes]}
    fibonacci = [1, 1]
    while len(fibonacci) < 90:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    rows["worst word, Fibonacci's counts: V - 1"] = [
        (V, int(np.diff(huffman_tree(fibonacci[:V]).indptr).max())) for V in (10, 30, 90)]
    for name, counts_of in (("equal counts: $\\log_2 V$", lambda V: np.ones(V, np.int64)),
                            ("Zipf's counts, mean", lambda V: np.maximum(
                                10 ** 9 / np.arange(1, V + 1) ** exponent, 1).astype(np.int64))):
        rows[name] = [(V, mean_path_length(counts_of(V), huffman_tree(counts_of(V))))
                      for V in sizes]
    for (name, points), colour, marker in zip(rows.items(), COLOURS, MARKERS, strict=False):
        axes.plot(*np.array(points).T, color=colour, marker=marker, label=name)
    axes.set(xscale="log", yscale="log")
    axes.legend(loc="upper left", fontsize=9)
    return tidy(axes, "What a prediction costs", "words in the vocabulary V",
                "scores to compute").figure


def loss_curve(history, start):
    """Mean loss of a pair, in turns' worth (bits), beside its start -> Figure."""
    figure, axes = new_figure(width=6.8, height=4.0)
    epochs = np.arange(1, len(history) + 1)
    axes.axhline(start / np.log(2), color=BLACK, linestyle=":", linewidth=1.2)
    axes.annotate("each turn a coin's toss: the mean path", (len(history), start / np.log(2)),
                  xytext=(0, -5), textcoords="offset points", ha="right", va="top", fontsize=9)
    axes.plot(epochs, history / np.log(2), color=BLUE, marker="o")
    axes.set_xticks(epochs[::1 + len(epochs) // 10])
    return tidy(axes, "Loss falls as the turns are learned", "epoch",
                "mean $-\\log_2 p$ of a pair, bits").figure


def passages(first_year=2010):
    """Of the addresses since a year -> list of str."""
    texts, about = data.sotu_paragraphs()
    return [t for t, a in zip(texts, about, strict=True) if a["year"] >= first_year]


def addresses(min_count=20, frequent=60):
    """The passages without their rare and their most frequent words -> vocabulary, counts, tokens,
    starts.  Chapter 8 thins the latter out by chance instead."""
    texts = passages()
    words, counts = count_vocabulary(texts, min_count)
    vocabulary = {word: i for i, word in enumerate(list(words)[frequent:])}
    return vocabulary, counts[frequent:], *encode_corpus(texts, vocabulary)


def train_on_addresses(vocabulary, tree, tokens, starts, d=32, c=4, epochs=30, rate=0.1, seed=7,
                       dtype=np.float32):
    """Skip-gram with the tree, by the twin -> W, N, history.  float64: other machines, which sum
    in another order, find the same words."""
    rng = np.random.default_rng(seed)
    start = initial_vectors(len(vocabulary), d, rng, dtype)
    return train_skipgram(tokens, starts, *start, tree, c, epochs, rng, rate,
                          twin("ch07_hierarchical_softmax", "numba"))


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    yield "tree", huffman_figure(EXAMPLE, "war")
    vocabulary, counts, tokens, starts = addresses()
    tree = huffman_tree(counts)
    yield (f"addresses since 2010: {len(tokens):,} words, {len(vocabulary)} different ones; "
           f"{mean_path_length(counts, tree):.2f} turns a prediction, not {len(vocabulary)} scores")
    _, every = count_vocabulary(passages())
    yield "lengths", lengths_by_frequency(every, huffman_tree(every))
    W, _, history = train_on_addresses(vocabulary, tree, tokens, starts, epochs=12, rate=0.2)
    for word in ("war", "tax", "schools", "million"):
        found = ", ".join(w for w, _ in nearest_words(word, vocabulary, W, 6))
        yield f"{word:<8} {found}"
    yield "loss", loss_curve(history, mean_path_length(counts, tree) * np.log(2))
