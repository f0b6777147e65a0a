"""Plots of chapter 3: what is counted, how few words do most of the work, how many are new."""
import numpy as np

from primer.ch03_bow import bag_of_words, to_dense
from primer.data import sotu_paragraphs
from primer.figures import BLACK, BLUE, HEAT, ORANGE, VERMILION, new_figure, tidy

THOUSANDS = "{x:,.0f}"


def counts(documents):
    """Heat map of a small corpus: a row a document, a column a word -> Figure."""
    vocabulary, X = bag_of_words(documents)
    table = to_dense(X)                                               # (n, V)
    figure, axes = new_figure(width=7.2, height=1.3 + 0.5 * len(documents))
    axes.imshow(table, cmap=HEAT, aspect="auto", vmin=0)
    for (i, j), count in np.ndenumerate(table):
        axes.text(j, i, str(count), ha="center", va="center",
                  color="white" if count <= table.max() / 2 else BLACK)
    axes.set_xticks(range(len(vocabulary)), vocabulary)
    axes.set_yticks(range(len(documents)), documents)
    axes.set_xticks(np.arange(1, len(vocabulary)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(documents)) - 0.5, minor=True)
    axes.tick_params(which="both", length=0)
    axes.grid(False)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.spines[:].set_visible(False)
    tidy(axes, "How often each word stands in each document", "word, by first appearance")
    return figure


def zipf(X, vocabulary, marked=("the", "people", "treasury")):
    """Occurrences against rank, both logarithmic; some words by name -> Figure.

    X: CSR (n, V) of counts.
    """
    total = np.bincount(X.indices, X.data, minlength=X.shape[1])      # (V,)
    total = total[total > 0]
    order = np.argsort(-total, kind="stable")
    rank = np.arange(1, order.size + 1)
    figure, axes = new_figure()
    axes.loglog(rank, total[order], color=BLUE, label="words of the corpus")
    axes.loglog(rank, total[order[0]] / rank, color=ORANGE, linestyle="--",
                label="Zipf: commonest / rank")
    words = list(vocabulary)
    for word in marked:
        at = int(np.flatnonzero(order == words.index(word))[0])
        axes.plot(at + 1, total[order[at]], "o", color=VERMILION)
        axes.annotate(word, (at + 1, total[order[at]]), (6, 5), textcoords="offset points")
    once = (total == 1).sum()
    axes.annotate(f"{once:,} words stand\nthere only once", (order.size - once / 2, 1),
                  (0.62, 0.3), textcoords="axes fraction", ha="right",
                  arrowprops={"arrowstyle": "->", "color": BLACK})
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.xaxis.set_major_formatter(THOUSANDS)
    axes.legend(loc="upper right")
    tidy(axes, f"Of the {X.shape[0]:,} x {X.shape[1]:,} counts, {zeros(X):.2%} are zero",
         "rank of the word", "occurrences")
    return figure


def zeros(X):
    """Share of the matrix that is zero and not stored.  CSR (n, V) -> float."""
    return 1 - X.data.size / (X.shape[0] * X.shape[1])


def growth(X):
    """Distinct words against words read, with Heaps' law fitted -> Figure.  CSR (n, V) of counts.

    Words are numbered by first appearance, so the largest number so far tells how many are known.
    """
    ends = X.indptr[1:][np.diff(X.indptr) > 0] - 1                    # last entry of each row
    known = np.maximum.accumulate(X.indices[ends]) + 1                # (<= n,)
    read = np.cumsum(X.data)[ends]
    beta, log_k = np.polyfit(np.log(read), np.log(known), 1)
    figure, axes = new_figure()
    axes.plot(read / 1e6, known, color=BLUE, label="distinct words so far")
    axes.plot(read / 1e6, np.exp(log_k) * read ** beta, color=ORANGE, linestyle="--",
              label=f"Heaps: {np.exp(log_k):.0f} x words$^{{{beta:.2f}}}$")
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.legend(loc="lower right")
    tidy(axes, "New words never stop coming", "words read, in millions", "words in the vocabulary")
    return figure


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    documents, _ = sotu_paragraphs()
    vocabulary, X = bag_of_words(documents)
    words = list(vocabulary)
    total = np.bincount(X.indices, X.data)                            # (V,)
    best = np.argsort(-total, kind="stable")[:6]
    yield (f"State of the Union, 1790 to 2021: {X.shape[0]:,} passages, {X.data.sum():,} words, "
           f"{X.shape[1]:,} of them distinct")
    yield (f"the matrix has {X.shape[0] * X.shape[1]:,} counts, {zeros(X):.2%} of them zero: "
           f"{X.data.size:,} are stored")
    yield "commonest: " + ", ".join(f"{words[w]} {total[w]:,.0f}" for w in best)
    yield "word_frequencies", zipf(X, vocabulary)
    yield "vocabulary_growth", growth(X)
