"""Plots of chapter 4: weights beside counts, idf against df, the words of a president."""
import numpy as np

from primer.ch03_bow import bag_of_words, to_dense
from primer.ch04_tfidf import (
    document_frequency,
    idf_plain,
    idf_plus_one,
    idf_smooth,
    term_frequency_relative,
    tfidf,
    top_terms,
)
from primer.data import load_sotu
from primer.figures import BLACK, COLOURS, HEAT, MARKERS, new_figure, tidy

CHOSEN = ("George Washington", "James Polk", "Abraham Lincoln", "Franklin D Roosevelt",
          "Lyndon B Johnson", "George W Bush")


def weights(documents):
    """Counts, relative frequencies and TF-IDF of a small corpus, side by side -> Figure."""
    vocabulary, X = bag_of_words(documents)
    names = [f"document {i + 1}" for i in range(len(documents))]
    figure, all_axes = new_figure(1, 3, width=9.6, height=1.4 + 0.32 * len(vocabulary),
                                  sharey=True)
    panels = (("count", X, "{:.0f}"), ("count / length", term_frequency_relative(X), "{:.2f}"),
              ("TF-IDF", tfidf(X), "{:.3f}"))
    for axes, (title, Y, form) in zip(all_axes, panels, strict=True):
        table = to_dense(Y).T                                         # (V, n)
        axes.imshow(table, cmap=HEAT, aspect="auto", vmin=0)
        for (i, j), value in np.ndenumerate(table):
            axes.text(j, i, form.format(value) if value else "0", ha="center", va="center",
                      color="white" if value <= 0.6 * table.max() else BLACK)
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(vocabulary)), list(vocabulary))
        axes.set_xticks(np.arange(1, len(names)) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, len(vocabulary)) - 0.5, minor=True)
        axes.tick_params(which="both", length=0)
        axes.grid(False)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.spines[:].set_visible(False)
        tidy(axes, title)
    return figure


def idf_variants(n=1000):
    """The three idf functions against the document frequency -> Figure."""
    df = np.unique(np.geomspace(1, n, 200).astype(int))
    figure, axes = new_figure()
    variants = (("plain: ln(n / df)", idf_plain), ("plus one: ln(n / df) + 1", idf_plus_one),
                ("smooth: ln((1 + n) / (1 + df)) + 1", idf_smooth))
    for (label, idf), colour, marker in zip(variants, COLOURS, MARKERS, strict=False):
        axes.semilogx(df, idf(df, n), color=colour, marker=marker, markevery=24, label=label)
    axes.set_xticks([1, 10, 100, 1000] if n == 1000 else [1, n])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=-0.3)
    axes.legend(loc="upper right")
    tidy(axes, f"A word in all {n:,} documents weighs 0, or 1", "documents that hold the word",
         "idf")
    return figure


def words_of(tables):
    """Bars of each document's heaviest words -> Figure.  tables: dict name: list of (word, weight).
    """
    columns = 3
    rows = -(-len(tables) // columns)
    most = max(len(table) for table in tables.values())
    figure, all_axes = new_figure(rows, columns, width=9.6, height=rows * (0.9 + 0.24 * most),
                                  squeeze=False)
    for axes, (name, table) in zip(all_axes.flat, tables.items(), strict=False):
        words, weight = zip(*table, strict=True)
        axes.barh(words, 1000 * np.array(weight), color=COLOURS[0])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        tidy(axes, name)
    for axes in all_axes.flat[len(tables):]:
        axes.set_visible(False)
    figure.supxlabel("TF-IDF, in thousandths", fontsize=10)
    return figure


def by_president():
    """All addresses of a president as one document -> dict president: str, oldest first."""
    texts = {}
    for address in load_sotu():
        texts.setdefault(address["president"], []).extend(address["paragraphs"])
    return {name: "\n".join(parts) for name, parts in texts.items()}


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    texts = by_president()
    vocabulary, X = bag_of_words(texts.values())
    weighed, names = tfidf(X), list(texts)
    everywhere = (document_frequency(X) == len(names)).sum()
    yield (f"{len(names)} presidents, one document each: {everywhere} of {X.shape[1]:,} words stand"
           " in all of them and weigh 0; the heaviest words of some:")
    tables = {name: top_terms(weighed, names.index(name), vocabulary, 6) for name in CHOSEN}
    for name, table in tables.items():
        yield f"{name + ':':<22}{', '.join(word for word, _ in table)}"
    yield "words_of_presidents", words_of(tables)
