"""Figures of chapter 9: parallelograms, antonyms, a t-SNE map with its clusters, sentiment.

`tour` factorises the addresses since 1981 (chapter 10); the notebook takes them all.
"""
import re

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from primer import ch10_factorization, data
from primer.ch01_geometry import kmeans, pca, unit_rows
from primer.ch06_word2vec import count_vocabulary, encode_corpus
from primer.ch09_analogy import (
    analogy_3cosadd,
    analogy_3cosmul,
    analogy_accuracy,
    offset_consistency,
    polarity_agreement,
    sswe_network,
    train_sswe,
    tsne,
)
from primer.figures import BLACK, BLUE, COLOURS, MARKERS, ORANGE, VERMILION, new_figure, tidy
from primer.figures.ch06_word2vec import label_offsets

RELATIONS = {                         # pairs: a/b
    "plural": "nation/nations state/states law/laws war/wars year/years country/countries "
              "power/powers treaty/treaties tax/taxes right/rights duty/duties citizen/citizens "
              "man/men child/children job/jobs family/families school/schools cost/costs "
              "program/programs system/systems community/communities worker/workers",
    "gerund": "make/making give/giving take/taking build/building increase/increasing "
              "provide/providing work/working help/helping bring/bringing create/creating "
              "pay/paying fight/fighting grow/growing live/living",
    "past": "make/made give/gave take/took begin/began increase/increased receive/received "
            "provide/provided require/required pass/passed continue/continued become/became "
            "come/came see/saw know/knew find/found",
}
ANTONYMS = ("increase/decrease exports/imports east/west first/last strong/weak good/bad "
            "rich/poor war/peace right/wrong buy/sell")
TEXT_WORDS = {                        # the text's own pairs (lines 1031, 1032, 1052), by relation
    "female": [("man", "woman"), ("king", "queen"), ("uncle", "aunt")],
    "capital": [("France", "Paris"), ("Italy", "Rome")],
    "gerund": [("walk", "walking"), ("run", "running")],
}


def planted(noise=0.25, d=20, seed=9):
    """Vectors with one offset a relation, for the text's words -> vocabulary, W (14, d)."""
    rng, words, rows = np.random.default_rng(seed), [], []
    for pairs in TEXT_WORDS.values():
        offset = rng.standard_normal(d)
        for pair in pairs:
            words += pair
            start = 1.4 * rng.standard_normal(d)
            rows += [start, start + offset + noise * rng.standard_normal(d)]
    return {w: i for i, w in enumerate(words)}, np.array(rows)


def space(first_year=1790, min_count=20, window=2, d=100, iterations=4, twin=ch10_factorization):
    """Chapter 10's vectors of the addresses since a year: PPMI, smoothed, cut to d dimensions
    -> vocabulary, W (V, d)."""
    texts, about = data.sotu_paragraphs()
    texts = [t for t, a in zip(texts, about, strict=True) if a["year"] >= first_year]
    vocabulary, _ = count_vocabulary(texts, min_count)
    tokens, starts = encode_corpus(texts, vocabulary)
    C = twin.cooccurrence(np.split(tokens, starts[1:-1]), len(vocabulary), window)
    svd = ch10_factorization.truncated_svd(ch10_factorization.ppmi(C, 1, 0.75), d,
                                           np.random.default_rng(9), iterations=iterations,
                                           product=twin.csr_matmul)
    return vocabulary, ch10_factorization.embed(svd)[0]


def known(pairs, vocabulary):
    """Of a text such as "a/b c/d", the pairs whose words are both known -> list of (a, b)."""
    return [pair for pair in (tuple(p.split("/")) for p in pairs.split())
            if all(word in vocabulary for word in pair)]


def offsets_of(pairs, vocabulary, W):
    """Offset consistency of pairs of unit vectors, and its mean if they are paired anew."""
    A, B = (unit_rows(W[[vocabulary[w] for w in side]]) for side in zip(*pairs, strict=True))
    rng = np.random.default_rng(0)
    anew = [offset_consistency(A, B[rng.permutation(len(B))]) for _ in range(20)]
    return offset_consistency(A, B), np.mean(anew)


def questions_of(pairs):
    """Each pair asks for the second word of each other -> list of (a, b, c, d)."""
    return [(*one, *other) for one in pairs for other in pairs
            if not set(one) & set(other)]


def relation_lines(vocabulary, W):
    """Yields a line a relation: how parallel it is, and how many questions it answers."""
    for name, pairs in RELATIONS.items():
        pairs = known(pairs, vocabulary)
        own, anew = offsets_of(pairs, vocabulary, W)
        add, mul = (analogy_accuracy(W, vocabulary, questions_of(pairs), solve)[0]
                    for solve in (analogy_3cosadd, analogy_3cosmul))
        yield (f"{name:8} {len(pairs):2} pairs: consistency {own:.2f} (paired anew {anew:.2f}), "
               f"3CosAdd {add:.0%}, 3CosMul {mul:.0%} of {len(questions_of(pairs))} questions")


def parallelograms(panels):
    """Pairs as arrows, by the two directions in which their words vary most -> Figure.
    panels: (title, relations, vocabulary, W) each."""
    figure, all_axes = new_figure(columns=len(panels), width=5.4 * len(panels), height=4.6,
                                  squeeze=False)
    for axes, (title, relations, vocabulary, W) in zip(all_axes[0], panels, strict=True):
        words = [w for pairs in relations.values() for pair in pairs for w in pair]
        places = pca(W[[vocabulary[w] for w in words]], 2)[0]     # a linear map: parallels stay so
        labels = label_offsets(places, words, 330, 260)
        for i, word in enumerate(words):
            axes.annotate(word, places[i], xytext=labels[i][0], textcoords="offset points",
                          ha=labels[i][1], fontsize=9)
        i = 0
        for (name, pairs), colour, marker in zip(relations.items(), COLOURS, MARKERS,
                                                 strict=False):
            for k in range(len(pairs)):
                axes.annotate("", places[i + 1], places[i], arrowprops={
                    "arrowstyle": "-|>", "color": colour, "linewidth": 1.5, "shrinkB": 2})
                axes.plot(*places[i:i + 2].T, marker, color=colour, markersize=4,
                          label=name if k == 0 else None)
                i += 2
        axes.legend(fontsize=9)
        axes.margins(0.12)
        tidy(axes, title, "component 1", "component 2")
    return figure


def antonym_cosines(vocabulary, W, pairs=ANTONYMS, seed=9):
    """Cosines of opposites among those of words drawn by chance -> Figure."""
    pairs = known(pairs, vocabulary)
    X = unit_rows(W)
    values = [float(X[vocabulary[a]] @ X[vocabulary[b]]) for a, b in pairs]
    drawn = np.random.default_rng(seed).integers(0, len(X), (2, 4000))
    chance = (X[drawn[0]] * X[drawn[1]]).sum(axis=1)[drawn[0] != drawn[1]]
    figure, axes = new_figure(width=7.4, height=4.2)
    low, high = np.percentile(chance, [2.5, 97.5])
    axes.axvspan(low, high, color=BLUE, alpha=0.15)
    axes.text((low + high) / 2, len(pairs) - 0.4, "95 % of pairs\ndrawn by chance", color=BLUE,
              ha="center", va="bottom", fontsize=9)
    for y, i in enumerate(np.argsort(values)):
        axes.plot([0, values[i]], [y, y], color="#BBBBBB", linewidth=1)
        axes.plot(values[i], y, "o", color=ORANGE)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set(yticks=range(len(pairs)), ylim=(-0.6, len(pairs) + 0.7), xlim=(min(low, -0.3), 1))
    axes.set_yticklabels(["  ".join(pairs[i]) for i in np.argsort(values)])
    return tidy(axes, "Opposites are near each other", "cosine (−1 would be opposite directions)"
                ).figure


def cluster_map(vocabulary, W, frequent=30, n=350, K=7, iterations=500, labels=90, twin=None,
                seed=9):
    """t-SNE of n words, coloured by k-means in all dimensions -> Figure, KL, labels (n,)."""
    words, X = list(vocabulary)[frequent:frequent + n], unit_rows(W[frequent:frequent + n])
    _, clusters, *_ = kmeans(X, K, np.random.default_rng(seed))
    Y, kl = tsne(X, 2, None, perplexity=15, iterations=iterations, exaggerated=iterations // 4,
                 start=pca(X, 2)[0] * 1e-3, twin=twin)
    figure, axes = new_figure(width=9, height=6.6)
    for k in range(K):
        axes.plot(*Y[clusters == k].T, MARKERS[k % 7], color=COLOURS[k % 7], markersize=5)
    shown = np.linspace(0, len(words) - 1, min(labels, len(words))).astype(int)
    for i, (offset, side) in zip(shown, label_offsets(Y[shown], [words[i] for i in shown], 600,
                                                      440), strict=True):
        axes.annotate(words[i], Y[i], xytext=offset, textcoords="offset points", ha=side,
                      fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return tidy(axes, f"t-SNE of {len(words)} words; colour: cluster in all {W.shape[1]} "
                "dimensions").figure, kl, clusters


def opinion_windows(first_year, min_count=20, m=3, seed=9):
    """Windows of m words in sentences to which one half of the opinion words gives a polarity.

    -> vocabulary, windows (n, m), polarity (n,), signs (V,) of the other half, which never voted.
    """
    texts, about = data.sotu_paragraphs()
    sentences = [s for t, a in zip(texts, about, strict=True) if a["year"] >= first_year
                 for s in re.split(r"[.!?;]", t)]
    vocabulary, _ = count_vocabulary(sentences, min_count)
    tokens, starts = encode_corpus(sentences, vocabulary)
    opinions = data.load_opinions()
    valence = np.array([opinions.get(w, 0.0) for w in vocabulary])               # (V,)
    polar = np.random.default_rng(seed).permutation(np.flatnonzero(np.abs(valence) >= 1))
    votes, signs = np.zeros(len(valence)), np.zeros(len(valence), int)
    votes[polar[::2]], signs[polar[1::2]] = valence[polar[::2]], np.sign(valence[polar[1::2]])
    total = np.r_[0, np.cumsum(votes[tokens])]
    of_sentence = np.sign((total[starts[1:]] - total[starts[:-1]]).round(6)).astype(int)
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    inside = owner[:len(owner) - m + 1] == owner[m - 1:]
    windows, polarity = sliding_window_view(tokens, m)[inside], of_sentence[owner[m - 1:][inside]]
    return vocabulary, windows[polarity != 0], polarity[polarity != 0], signs


def train_opinions(V, windows, polarity, alphas=(1.0, 0.5), d=20, h=20, epochs=3, seed=9):
    """SSWE at some alphas, from the same start -> list of networks."""
    networks = []
    for alpha in alphas:
        rng = np.random.default_rng(seed)
        networks.append(sswe_network(V, d, windows.shape[1], h, rng))
        train_sswe(networks[-1], windows, polarity, epochs, rng, alpha=alpha)
    return networks


def opinion_maps(networks, signs, titles):
    """The words that never voted, by the direction that parts good from bad best -> Figure."""
    figure, all_axes = new_figure(columns=len(networks), width=4.8 * len(networks), height=3.6)
    for axes, network, title in zip(all_axes, networks, titles, strict=True):
        own = np.flatnonzero(signs)
        X, s = unit_rows(network["W"][own]), signs[own]
        at = X @ (X[s > 0].mean(axis=0) - X[s < 0].mean(axis=0))
        for value, name, colour, style in ((1, "good", BLUE, "-"), (-1, "bad", VERMILION, "--")):
            axes.hist(at[s == value], bins=np.linspace(at.min(), at.max(), 16), density=True,
                      histtype="step", color=colour, linestyle=style, linewidth=2, label=name)
        axes.legend(fontsize=9)
        axes.set_yticks([])
        share = polarity_agreement(network["W"], signs, 10)
        tidy(axes, f"{title}: {share:.0%} of 10 nearest agree",
             "along mean(good) − mean(bad), unit vectors", "density")
    return figure


def tour():
    """The chapter in a few seconds: yields lines to print and (name, Figure) pairs."""
    words, planted_W = planted()
    for a, b, c in (("man", "woman", "king"), ("France", "Paris", "Italy"),
                    ("walk", "walking", "run")):
        (x,) = analogy_3cosadd(planted_W, [[words[a], words[b], words[c]]])
        yield f"planted vectors: {a} is to {b} as {c} is to {list(words)[x]}"
    vocabulary, W = space(1981, 40, 2, 50, iterations=2)
    yield f"addresses since 1981, {len(vocabulary)} words, 50 dimensions"
    yield from relation_lines(vocabulary, W)
    yield "parallelograms", parallelograms([
        ("Planted", TEXT_WORDS, words, planted_W),
        ("Addresses since 1981", {n: known(RELATIONS[n], vocabulary)[:5]
                                  for n in ("plural", "gerund")}, vocabulary, W)])
    figure, kl, _ = cluster_map(vocabulary, W, n=250, iterations=300, labels=70)
    yield f"t-SNE of 250 words: KL {kl:.2f}"
    yield "t-SNE", figure
