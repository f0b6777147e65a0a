"""Plots of chapter 2: the senses of a word, a chain of hypernyms, four measures, four opposites."""
import re
from collections import Counter

import numpy as np

from primer import data
from primer.ch02_lexicon import (
    WordNet,
    depth,
    information_content,
    leacock_chodorow,
    path_similarity,
    resnik,
    wu_palmer,
)
from primer.ch03_bow import tokenize
from primer.figures import BLUE, HEAT, ORANGE, new_figure, tidy

GREY = "#666666"
RIVERSIDE, INSTITUTION = "bank.n.01", "depository_financial_institution.n.01"
WORDS = ("cat.n.01", "dog.n.01", "poodle.n.01", "horse.n.01", "iguana.n.01", "king.n.01",
         "queen.n.02", "car.n.01", "vehicle.n.01", "mat.n.01")
SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")


def short(name):
    """"savings_bank.n.02" -> "savings bank 2"."""
    word, _, number = name.rsplit(".", 2)
    return f"{word.replace('_', ' ')} {int(number)}"


def cut(text, length):
    """At most so many characters, cut between words."""
    return text if len(text) <= length else text[:length - 3].rsplit(" ", 1)[0] + " ..."


def bare(axes):
    """No ticks, no frame -> the axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return axes


def boxed(axes, x, y, text, colour=GREY):
    axes.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3,
              bbox={"boxstyle": "round", "fc": "white", "ec": colour})


# The senses of a word, and all above them.

def chain_down(wn, name):
    """From the root down to a synset, by a longest way -> list of names."""
    chain = [name]
    while above := wn.hypernyms[chain[0]]:
        chain.insert(0, max(above, key=lambda p: depth(wn.hypernyms, p)))
    return chain


def sense_tree(wn, word="bank", marked=(RIVERSIDE, INSTITUTION), counts=None):
    """The noun senses of a word as leaves of a tree; a way without a fork is one line -> Figure.

    counts: dict name: number, printed with the senses.
    """
    senses = [s.name for s in wn.synsets(word, "n")]
    chains = [chain_down(wn, name) for name in senses]
    below = tree_of(chains)
    rows, last = iter(range(len(chains))), max(
        sum(len(below.get(n, ())) > 1 for n in chain) for chain in chains)
    figure, axes = new_figure(width=10, height=0.46 * len(chains) + 1)
    colours = dict(zip(marked, (BLUE, ORANGE), strict=False))

    def draw(node, x):                                          # -> the row that it stands in
        while len(below.get(node, ())) == 1:
            (node,) = below[node]
        if node not in below:
            row = next(rows)
            number = f"  ({counts.get(node, 0)})" if counts is not None else ""
            axes.plot(last, row, "o", color=colours.get(node, GREY), zorder=4)
            axes.text(last + 0.08, row, f"{word} {senses.index(node) + 1}{number}", va="center",
                      fontsize=9, weight="bold")
            axes.text(last + 1.05, row, cut(wn.all[node].gloss, 62), va="center", fontsize=8)
            return row
        ends = [(child, draw(child, x + 1)) for child in below[node]]
        row = sum(r for _, r in ends) / len(ends)
        for child, r in ends:
            single = leaf(child, below)
            axes.plot([x, x + 0.5, x + 0.5, last if single else x + 1], [row, row, r, r],
                      color=GREY, lw=1, zorder=1)
            if single and child not in senses:
                axes.text(x + 0.54, r - 0.07, short(child), fontsize=8, color=GREY)
        boxed(axes, x, row, short(node))
        return row

    draw(chains[0][0], 0)
    axes.set_xlim(-0.4, last + 4.0)
    axes.invert_yaxis()
    tidy(bare(axes), f"The {len(chains)} noun senses of \"{word}\", and what they are kinds of")
    return figure


def tree_of(chains):
    """Chains from one root -> dict node: dict of the nodes below it, in order."""
    below = {}
    for chain in chains:
        for parent, child in zip(chain, chain[1:], strict=False):
            below.setdefault(parent, {})[child] = None
    return below


def leaf(node, below):
    """Whether no fork lies below a node."""
    while len(below.get(node, ())) == 1:
        (node,) = below[node]
    return node not in below


def hypernym_chain(wn, name="poodle.n.01"):
    """From a synset up to the root, by a longest way, with what each step means -> Figure."""
    chain = chain_down(wn, name)
    figure, axes = new_figure(width=9, height=0.36 * len(chain) + 0.8)
    for row, node in enumerate(chain):
        aside = [short(p) for p in wn.hypernyms[node] if row and p != chain[row - 1]]
        axes.text(0.62, row, cut(wn.all[node].gloss, 72)
                  + (f"   [also a kind of {aside[0]}]" if aside else ""), va="center", fontsize=8)
        boxed(axes, 0, row, short(node), BLUE if node == name else GREY)
        axes.text(-0.62, row, str(row), va="center", ha="right", fontsize=9, color=GREY)
        if row:
            axes.annotate("", (0, row - 0.68), (0, row - 0.32),
                          arrowprops={"arrowstyle": "->", "color": GREY})
    axes.set_xlim(-0.8, 5.2)
    axes.set_ylim(len(chain) - 0.4, -0.6)
    tidy(bare(axes), f"Each is a kind of the one above: depth of {short(name)} = {len(chain) - 1}")
    return figure


# Four measures, four opposites.

def similarity_maps(wn, information, names=WORDS):
    """All pairs by path, Wu-Palmer, Leacock-Chodorow and Resnik -> Figure of four heat maps."""
    figure, axes = new_figure(2, 2, width=10, height=9)
    measures = (("Path", path_similarity, ()), ("Wu and Palmer", wu_palmer, ()),
                ("Leacock and Chodorow", leacock_chodorow, (wn.taxonomy_depth("n"),)),
                ("Resnik (nats)", resnik, (information,)))
    labels = [short(n)[:-2] for n in names]
    for ax, (title, measure, more) in zip(axes.flat, measures, strict=True):
        S = np.array([[wn.compare(measure, a, b, *more) for b in names] for a in names])  # (n, n)
        image = ax.imshow(S, cmap=HEAT)
        figure.colorbar(image, ax=ax, shrink=0.85)
        ax.set_xticks(range(len(names)), labels, rotation=60, ha="right", fontsize=9)
        ax.set_yticks(range(len(names)), labels, fontsize=9)
        ax.grid(False)
        for i, j in np.ndindex(S.shape):
            ax.text(j, i, f"{S[i, j]:.1f}" if S.max() > 1.5 else f"{S[i, j]:.2f}".lstrip("0"),
                    ha="center", va="center", fontsize=6.5,
                    color="white" if S[i, j] < (S.min() + S.max()) / 2 else "black")
        tidy(ax, title)
    return figure


def four_opposites(opposites, tied):
    """The law of each kind in a small world, and the text's pairs -> Figure.

    opposites: dict kind: pairs; tied: function (a, b) -> whether WordNet has them as antonyms.
    """
    figure, axes = new_figure(2, 2, width=10, height=4.6)
    axes = dict(zip(("gradable", "complementary", "relational", "directional"), axes.flat,
                    strict=True))
    laws = {"gradable": "never both; for some, neither", "complementary": "B = not A",
            "relational": "B(x, y) = A(y, x)", "directional": "B(A(x)) = x"}
    draw_scale(axes["gradable"], 0.35, 0.65, "cold", "hot", "neither: not hot, and not cold")
    draw_scale(axes["complementary"], 0.5, 0.5, "false", "true", "")
    draw_roles(axes["relational"])
    draw_motions(axes["directional"])
    for kind, ax in axes.items():
        pairs = "     ".join(f"{a} / {b} {'✓' if tied(a, b) else '✗'}" for a, b in opposites[kind])
        tidy(bare(ax), f"{kind.capitalize()}:  {laws[kind]}", pairs)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
    figure.supxlabel("✓ WordNet ties the two words as antonyms     ✗ it does not", fontsize=9)
    return figure


def draw_scale(axes, low, high, left, right, middle):
    """A line from 0 to 1 where `left` holds up to low, `right` from high on."""
    axes.barh(0.5, low, height=0.3, color=BLUE)
    axes.barh(0.5, 1 - high, left=high, height=0.3, color=ORANGE)
    axes.text(low / 2, 0.5, left, ha="center", va="center", color="white", weight="bold")
    axes.text((1 + high) / 2, 0.5, right, ha="center", va="center", weight="bold")
    axes.text((low + high) / 2, 0.5, middle.replace(": ", ":\n"), ha="center", va="center",
              fontsize=9)


def draw_roles(axes):
    """Two people; the one buys from the other, who sells to the first."""
    for x, who in ((0.22, "x"), (0.78, "y")):
        boxed(axes, x, 0.5, who)
    for y, start, end, colour, words in ((0.62, 0.27, 0.73, BLUE, "x buys from y"),
                                         (0.38, 0.73, 0.27, ORANGE, "y sells to x")):
        axes.annotate("", (end, y), (start, y), arrowprops={"arrowstyle": "->", "color": colour,
                                                            "lw": 2})
        axes.text(0.5, y + (0.05 if y > 0.5 else -0.05), words, ha="center", fontsize=9,
                  va="bottom" if y > 0.5 else "top")


def draw_motions(axes):
    """Five places; one step up, one step down, and one is where one was."""
    axes.plot(np.linspace(0.1, 0.9, 5), np.full(5, 0.5), "o", color=GREY, ms=9)
    for curve, start, end, colour, words in ((-0.5, 0.3, 0.5, BLUE, "up"),
                                             (-0.5, 0.5, 0.3, ORANGE, "down")):
        axes.annotate("", (end, 0.5), (start, 0.5), arrowprops={
            "arrowstyle": "->", "color": colour, "lw": 2, "shrinkA": 6, "shrinkB": 6,
            "connectionstyle": f"arc3,rad={curve}"})
        axes.text(0.4, 0.72 if words == "up" else 0.28, words, ha="center", va="center",
                  fontsize=9)
    axes.text(0.29, 0.43, "x", ha="right", va="top")


def noun_information(wn, texts):
    """Information content of the nouns, from the words of some texts -> dict name: float."""
    counts = Counter(word for text in texts for word in tokenize(text))
    return information_content(wn.hypernyms, wn.sense_counts(counts, "n"))


def senses_in_addresses(wn, word="bank"):
    """Lesk, with the kin's glosses, on each sentence of the State of the Union that has the word.

    -> list of (sense's name, year, sentence).
    """
    texts, about = data.sotu_paragraphs()
    has_word, near = re.compile(rf"\b{word}s?\b", re.I), (wn.hypernyms, wn.hyponyms)
    return [(wn.lesk(sentence, word, "n", near).name, a["year"], sentence)
            for text, a in zip(texts, about, strict=True) if has_word.search(text)
            for sentence in SENTENCE_END.split(text) if has_word.search(sentence)]


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    wn = WordNet.excerpt()
    yield "What does \"bank\" mean?  WordNet lists the senses, with how often each was seen:"
    for name, count, gloss in wn.sense_inventory("bank", "n")[:4]:
        yield f"  {count:3}  {short(name):34} {cut(gloss, 60)}"
    found = senses_in_addresses(wn, "bank")
    counts = Counter(name for name, _, _ in found)
    yield f"{len(found)} sentences of the State of the Union have the word.  Each goes to the sense"
    yield "with whose gloss, and next kin's, it shares most words (Lesk 1986):"
    for name, number in counts.most_common(3):
        year, sentence = next((y, s) for n, y, s in found if n == name)
        near = re.search(r"\b.{0,16}\bbanks?\b.{0,16}\b", sentence, re.I)[0]
        yield f"  {number:3}  {short(name):34} {year}: ... {near} ..."
    yield "(The first sense also gets each sentence that no gloss fits better.)"
    yield "The senses and what they are kinds of; in brackets, the presidents' sentences:"
    yield "senses of bank", sense_tree(wn, counts=counts)
