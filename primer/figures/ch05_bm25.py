"""Figures of chapter 5: saturation, length, idf, keyword stuffing, ranks that change, shares.

`tour` searches the State of the Union addresses.
"""
import re

import numpy as np

from kernels import twin
from primer import data
from primer.ch03_bow import tokenize
from primer.ch05_bm25 import (
    BM25,
    idf_atire,
    idf_bm25plus,
    idf_lucene,
    idf_robertson,
    saturation,
    scores,
    stuffing_curve,
)
from primer.figures import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    MARKERS,
    ORANGE,
    PURPLE,
    VERMILION,
    new_figure,
    tidy,
)

QUERIES = ("gold and silver coinage", "landing a man on the moon",
           "health insurance for every family")


def label(axes, x, y, words, colour, **more):
    """Words in a line's colour, just behind the point (x, y)."""
    axes.annotate(words, (x, y), xytext=(5, 0), textcoords="offset points", color=colour,
                  va=more.pop("va", "center"), fontsize=9, annotation_clip=False, **more)


def saturation_curves(k1s=(0.0, 0.5, 1.2, 3.0)):
    """What f occurrences are worth beside raw and logarithmic counts; right, up to a million."""
    figure, (near, far) = new_figure(columns=2, width=10, height=4.2)
    f = np.linspace(1e-9, 15, 301)
    near.plot(f, f, color=BLACK, linestyle="--")
    label(near, 5, 5, "raw f", BLACK, va="top")
    near.plot(f[f > 0.37], 1 + np.log(f[f > 0.37]), color=PURPLE, linestyle="-.")
    label(near, 15, 1 + np.log(15), "1 + ln f", PURPLE)
    for k1, colour, marker in zip(k1s, COLOURS, MARKERS, strict=False):
        near.plot(f, saturation(f, 1.0, k1), color=colour, marker=marker, markevery=(20, 40),
                  markersize=5)
        label(near, 15, saturation(15.0, 1.0, k1), f"$k_1$ = {k1:g}", colour)
    near.set(xlim=(0, 15), ylim=(0, 5))
    tidy(near, "In a document of mean length", "occurrences f", "worth of f occurrences")
    f = np.logspace(0, 6, 121)
    far.plot(f, 1 + np.log(f), color=PURPLE, linestyle="-.")
    label(far, 1e4, 1 + np.log(1e4), "1 + ln f\nhas no ceiling", PURPLE, va="top")
    far.plot(f, saturation(f, 1.0), color=GREEN)
    far.axhline(2.2, color=GREEN, linestyle=":", linewidth=1.2)
    label(far, 3e2, 2.3, "BM25, $k_1$ = 1.2: below $k_1$ + 1 = 2.2", GREEN, va="bottom")
    far.set(xscale="log", ylim=(0, 15), xlim=(1, 1e6))
    tidy(far, "The same, to a million occurrences", "occurrences f (logarithmic)")
    return figure


def length_normalisation(bs=(0.0, 0.25, 0.5, 0.75, 1.0), count=3):
    """Worth of `count` occurrences against the length of the document, for several b."""
    figure, axes = new_figure(width=7, height=4.2)
    ratio = np.linspace(0, 5, 201)
    for b, colour, marker in zip(bs, COLOURS, MARKERS, strict=False):
        worth = saturation(count, ratio, 1.2, b)
        axes.plot(ratio, worth, color=colour, marker=marker, markevery=(20, 40), markersize=5)
        label(axes, 5, worth[-1], f"b = {b:g}", colour)
    axes.axvline(1, color=BLACK, linestyle=":", linewidth=1)
    axes.text(1.05, 0.04, "mean length: b does not matter", fontsize=9, va="bottom")
    axes.set(xlim=(0, 5), ylim=(0, 2.3))
    return tidy(axes, f"{count} occurrences in shorter and longer documents ($k_1$ = 1.2)",
                "length of the document / mean length", "worth of the occurrences").figure


def idf_variants(n=1000, few=10):
    """The idf against df; where Robertson's is negative is shaded.  Right: a small corpus."""
    figure, (large, small) = new_figure(columns=2, width=10, height=4.4)
    variants = (("Robertson (5.4)", idf_robertson, VERMILION, "-"),
                ("Lucene (5.3), the same as BM25L", idf_lucene, BLUE, "-"),
                ("ATIRE: ln(n / df)", idf_atire, ORANGE, "--"),
                ("BM25+: ln((n + 1) / df)", idf_bm25plus, PURPLE, ":"))
    for (name, idf, colour, line), marker in zip(variants, MARKERS, strict=False):
        if colour in (VERMILION, BLUE):                    # the others lie upon Lucene's
            large.plot(np.arange(1, n + 1), idf(np.arange(1, n + 1), n), color=colour)
        small.plot(np.arange(1, few + 1), idf(np.arange(1, few + 1), few), color=colour,
                   linestyle=line, marker=marker, markersize=5, label=name)
    label(large, 0.55 * n, 1.2, "Lucene (5.3): never negative", BLUE)
    label(large, 0.53 * n, -1.7, "Robertson (5.4)", VERMILION)
    for axes, size, bottom in ((large, n, -8), (small, few, -3.3)):
        axes.fill_between([size / 2, 1.05 * size], bottom, 0, color=VERMILION, alpha=0.12,
                          linewidth=0)
        axes.axhline(0, color=BLACK, linewidth=1)
        axes.axvline(size / 2, color=BLACK, linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1.03 * size), ylim=(bottom, 8 if axes is large else 3.3))
        tidy(axes, f"A word that df of n = {size} documents hold", "df (documents)")
    large.text(0.51 * n, -6.3, "(5.4) below 0:\na match lowers the score", fontsize=9, va="center")
    large.set_ylabel("idf (natural logarithm)")
    small.legend(loc="lower left", fontsize=9)
    return figure


def stuffing(length=100, k1s=(0.5, 1.2, 3.0)):
    """How many times better a document scores after pasting a keyword m more times."""
    figure, axes = new_figure(width=7.6, height=4.2)
    copies = np.unique(np.round(np.logspace(0, 4, 81)))
    for gain, words, colour, line in (
            ((1 + copies) / (length + copies) * length, f"relative tf\n(below × {length})", BLACK,
             "--"), (1 + np.log(1 + copies), "1 + ln f\n(no limit)", PURPLE, "-.")):
        axes.plot(copies, gain, color=colour, linestyle=line)
        label(axes, copies[-1], gain[-1], words, colour)
    for k1, colour in zip(k1s, COLOURS[1:], strict=False):
        gain = stuffing_curve(copies, length, k1=k1) / stuffing_curve(0, length, k1=k1)
        limit = (k1 + 1) / (1 + 0.75 * k1 / length)
        axes.plot(copies, gain, color=colour)
        axes.axhline(limit, color=colour, linestyle=":", linewidth=1.2)
        label(axes, copies[-1], limit, f"BM25, $k_1$ = {k1:g}: below × {limit:.2f}", colour)
    axes.set(xscale="log", yscale="log", xlim=(1, 1e4), ylim=(1, 150), yticks=[1, 2, 5, 10, 100],
             yticklabels=["1", "2", "5", "10", "100"])
    axes.minorticks_off()
    return tidy(axes, f"What stuffing buys: 1 keyword in {length} words, then more of it",
                "copies pasted (logarithmic)", "score / honest score (logarithmic)").figure


def rank_changes(panels, names, top=5):
    """Bump chart: ranks of the documents that are among the `top` of some setting.

    panels: list of (title, name and labels of the settings, scores (settings, n)); names: n labels.
    """
    figure, all_axes = new_figure(columns=len(panels), width=6 * len(panels), height=3.8,
                                  squeeze=False)
    ranks = [1 + np.argsort(np.argsort(-s, axis=1, kind="stable"), axis=1) for *_, s in panels]
    seen = np.flatnonzero(np.min([r.min(axis=0) for r in ranks], axis=0) <= top)
    for axes, (title, setting, labels, _), rank in zip(all_axes[0], panels, ranks, strict=True):
        for i, d in enumerate(seen):
            style = {"color": COLOURS[i % 7], "marker": MARKERS[(i + i // 7) % 7], "markersize": 8,
                     "linestyle": "-" if i < 7 else "--"}
            inside = rank[:, d] <= top
            axes.plot(np.minimum(rank[:, d], top + 0.8), markevery=np.flatnonzero(inside).tolist(),
                      **style)
            if inside[-1]:
                label(axes, len(labels) - 1, rank[-1, d], f"  {names[d]}", style["color"])
        first = np.argsort(rank[:, seen][0])[:top]
        axes.axhspan(top + 0.5, top + 1.2, facecolor="#EEEEEE", zorder=3)
        axes.text(0.05, top + 0.85, f"behind rank {top}", fontsize=8, va="center", zorder=4)
        axes.set(xticks=range(len(labels)), xticklabels=[f"{x:g}" for x in labels],
                 ylim=(top + 1.2, 0.6), yticks=range(1, top + 1),
                 yticklabels=[f"{names[d]}   {i}" for i, d in enumerate(seen[first], 1)])
        axes.grid(visible=False)
        tidy(axes, title, setting)
    return figure


def explained(shares, names):
    """Scores as stacked bars, a part for each matching word.  Lists of Share, one a document."""
    figure, axes = new_figure(width=8, height=1.4 + 0.45 * len(names))
    words = list(dict.fromkeys(s.word for own in shares for s in own))
    left = np.zeros(len(names))
    for word, colour, hatch in zip(words, COLOURS, ("", "//", "..", "xx", "--", "\\\\", "++"),
                                   strict=False):
        part = np.array([sum(s.impact for s in own if s.word == word) for own in shares])
        axes.barh(names, part, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.7,
                  label=word)
        left += part
    for row, total in enumerate(left):
        label(axes, total, row, f"{total:.2f}", BLACK)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.legend(ncols=len(words), loc="lower right", bbox_to_anchor=(1, 1), fontsize=9)
    return tidy(axes, "Why they match", "score: for each word its idf × saturation").figure


def snippet(text, query, width=60):
    """The stretch of a text around its longest word of the query -> str of at most `width`."""
    for word in sorted(set(tokenize(query)), key=len, reverse=True):
        if match := re.search(rf"\b{word}\b", text, re.IGNORECASE):
            start = max(0, min(match.start() - width // 2, len(text) - width))
            return text[start:start + width].partition(" ")[2].rpartition(" ")[0]
    return text[:width].rpartition(" ")[0]


def addresses_by_setting(query, bs=(0.0, 0.25, 0.5, 0.75, 1.0), k1s=(0.3, 0.6, 1.2, 3, 10)):
    """Scores of the 233 whole addresses for several b, and for several k1 -> panels, names."""
    addresses = data.load_sotu()
    index = BM25([" ".join(a["paragraphs"]) for a in addresses], bow=twin("ch03_bow", "numba"))
    ids = index.encode(query)
    by_b = np.array([scores(index.X, ids, 1.2, b) for b in bs])
    by_k1 = np.array([scores(index.X, ids, k1, 0.75) for k1 in k1s])
    panels = [("Length counts more and more ($k_1$ = 1.2)", "b", bs, by_b),
              ("Saturation sets in later (b = 0.75)", "$k_1$", k1s, by_k1)]
    return panels, [f"{a['president'].split()[-1]} {a['year']}" for a in addresses]


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    texts, about = data.sotu_paragraphs()
    index = BM25(texts, bow=twin("ch03_bow", "numba"), bm25=twin("ch05_bm25", "numba"))
    yield f"{len(texts):,} passages of the State of the Union, {len(index.words):,} words"
    found, best = index.search(QUERIES, k=3)
    for query, documents, row in zip(QUERIES, found, best, strict=True):
        yield f"{query}?"
        for d, score in zip(documents, row, strict=True):
            who = f"{about[d]['president']}, {about[d]['year']}"
            yield f"  {score:5.2f}  {who:<26} ... {snippet(texts[d], query)} ..."
    documents = index.search(QUERIES[:1], k=6)[0][0]
    yield "shares", explained(
        [index.explain(QUERIES[0], int(d)) for d in documents],
        [f"{about[d]['president']} {about[d]['year']}, §{about[d]['paragraph']}"
         for d in documents])
    yield "ranks", rank_changes(*addresses_by_setting("railroad land grants"))
    yield "saturation", saturation_curves()
    yield "idf", idf_variants()
    yield "stuffing", stuffing()
