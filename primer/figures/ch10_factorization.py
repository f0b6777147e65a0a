"""Figures of chapter 10: counts, PMI against SGNS, singular values, a map of words, topics by year.

`tour` factorises the State of the Union addresses.
"""
import functools

import numpy as np

from kernels import twin
from primer import data
from primer.ch01_geometry import nearest, pca
from primer.ch03_bow import bag_of_words, build_vocabulary, encode, to_dense, tokenize
from primer.ch10_factorization import (
    cooccurrence,
    count_topics,
    embed,
    flatten,
    lsa,
    mixtures,
    perplexity,
    ppmi,
    sgns_cell_optimum,
    shifted_pmi,
    top_words,
    truncated_svd,
)
from primer.figures import (
    BLACK,
    BLUE,
    COLOURS,
    HEAT,
    MARKERS,
    ORANGE,
    VERMILION,
    new_figure,
    tidy,
)

COMMON, KEPT = 100, 4000              # words of the topics: neither the most frequent nor rare ones
GROUPS = (("money", ("gold", "silver", "coinage", "currency", "bank", "notes")),
          ("war", ("soldiers", "enemy", "army", "troops", "battle", "victory")),
          ("school", ("schools", "teachers", "students", "education", "college", "children")),
          ("land", ("farmers", "crops", "agricultural", "wheat", "farm", "cotton")),
          ("sea", ("ships", "vessels", "navy", "harbor", "naval", "coast")))


def counts_of_the_toy(documents, windows=(1, 4)):
    """The co-occurrence matrix of a few sentences for two windows, with its numbers."""
    vocabulary = bag_of_words(documents)[0]
    ids, words = [encode(tokenize(d), vocabulary) for d in documents], list(vocabulary)
    figure, panels = new_figure(columns=2, width=9, height=4.2)
    for axes, window in zip(panels, windows, strict=True):
        C = to_dense(cooccurrence(ids, len(words), window))
        axes.imshow(C, cmap=HEAT, vmin=0, vmax=4)
        for (w, c), count in np.ndenumerate(C):
            axes.text(c, w, count, ha="center", va="center",
                      color="white" if count < 2 else BLACK)
        axes.set(xticks=range(len(words)), xticklabels=words, yticks=range(len(words)),
                 yticklabels=words)
        axes.grid(visible=False)
        tidy(axes, f"Neighbours within {window} token{'s' * (window > 1)}", "context", "word")
    return figure


def optimum_and_pmi(C, negatives=5):
    """Each seen pair: where the loss of SGNS is least, over its PMI; plain and word2vec's noise."""
    figure, panels = new_figure(columns=2, width=9.6, height=4.4, sharey=True)
    for axes, power, colour, words in ((panels[0], 1.0, BLUE, "by frequency"),
                                       (panels[1], 0.75, ORANGE, "by frequency$^{0.75}$")):
        x = shifted_pmi(C, 1).data
        y = sgns_cell_optimum(C, negatives, power).data
        axes.plot(x, y, ".", color=colour, markersize=4, alpha=0.5, rasterized=True)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, ends - np.log(negatives), color=BLACK, linestyle="--", linewidth=1.2)
        axes.annotate(f"PMI - ln {negatives}", (ends[1], ends[1] - np.log(negatives)),
                      xytext=(-8, 0), textcoords="offset points", ha="right", va="bottom",
                      fontsize=9)
        tidy(axes, f"Negatives drawn {words}", "PMI of the pair (nats)")
    panels[0].set_ylabel("best $\\langle v_w, u_c\\rangle$ for SGNS")
    return figure


def singular_values(spectra):
    """Singular values by rank, one line for each name in a dict name: (d,)."""
    figure, axes = new_figure(width=7, height=4)
    for (name, S), colour, marker in zip(spectra.items(), COLOURS, MARKERS, strict=False):
        axes.plot(np.arange(1, S.size + 1), S / S[0], color=colour, marker=marker, markersize=5,
                  markevery=(0, 6), label=name)
    axes.set(ylim=(0, 1.03), xlim=(0, None))
    axes.legend()
    return tidy(axes, "How fast the rest gets small", "number of the singular value",
                "singular value / the first").figure


def word_map(vectors, vocabulary, groups=GROUPS, title="Words by their contexts"):
    """The words of some groups in the plane: the two main directions of their unit vectors."""
    figure, axes = new_figure(width=8.4, height=5.6)
    chosen = [(g, w) for g, (_, words) in enumerate(groups) for w in words if w in vocabulary]
    rows = vectors[[vocabulary[w] for _, w in chosen]]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    places = pca(rows, 2)[0]
    for g, (name, _) in enumerate(groups):
        own = [i for i, (other, _) in enumerate(chosen) if other == g]
        axes.plot(*places[own].T, linestyle="", marker=MARKERS[g], color=COLOURS[g], label=name)
        for i in own:
            axes.annotate(chosen[i][1], places[i], xytext=(5, 3), textcoords="offset points",
                          fontsize=8.5, color=COLOURS[g])
    axes.legend(loc="best")
    axes.margins(x=0.12)
    return tidy(axes, title, "first main direction", "second main direction").figure


def topics_by_year(years, theta, names):
    """Share of each topic in the addresses, smoothed over nine of them; stacked."""
    figure, axes = new_figure(width=9.6, height=4.8)
    window = np.ones(9) / 9
    smooth = np.stack([np.convolve(t, window) / np.convolve(np.ones(t.size), window)
                       for t in theta.T])[:, 4:-4]
    hatches = ("", "//", "..", "\\\\", "xx", "--", "++", "||", "oo", "**")
    areas = axes.stackplot(years, 100 * smooth, colors=[COLOURS[i % 7] for i in range(len(names))],
                           edgecolor="white", linewidth=0.4)
    for area, name, hatch in zip(areas, names, hatches, strict=False):
        area.set(hatch=hatch, label=name)
    axes.set(xlim=(years[0], years[-1]), ylim=(0, 100))
    axes.legend(*(part[::-1] for part in axes.get_legend_handles_labels()), loc="center left",
                bbox_to_anchor=(1, 0.5), fontsize=8.5, handlelength=2.5, handleheight=1.6)
    return tidy(axes, "What the presidents spoke about", "year",
                "share of the words (%, mean of nine addresses)").figure


def perplexities(trace):
    """Perplexity after each sweep."""
    figure, axes = new_figure(width=6.4, height=3.4)
    axes.plot(np.arange(len(trace)), trace, color=VERMILION)
    axes.set(xlim=(0, None))
    return tidy(axes, "From random topics to fitting ones", "sweeps", "perplexity (words)").figure


# ---- what they show: the addresses --------------------------------------------------------------

@functools.cache
def frequent_words(words=3000):
    """The passages, in ids of the most frequent words; others are left out -> dict, list of ids."""
    tokens = [tokenize(p) for p in data.sotu_paragraphs()[0]]
    everything = build_vocabulary(tokens)
    ids = [encode(t, everything) for t in tokens]
    order = np.argsort(-np.bincount(np.concatenate(ids)), kind="stable")[:words]
    names, new = list(everything), np.full(len(everything), -1)
    new[order] = np.arange(order.size)
    ids = [new[d] for d in ids]
    return {names[w]: i for i, w in enumerate(order)}, [d[d >= 0] for d in ids]


@functools.cache
def addresses_as_topics():
    """Whole addresses in words of middling frequency -> years, names of words, ids."""
    vocabulary, passages = frequent_words(COMMON + KEPT)
    addresses = data.load_sotu()
    starts = np.cumsum([0, *(len(a["paragraphs"]) for a in addresses)])
    ids = [np.concatenate(passages[a:b]) - COMMON for a, b in zip(starts, starts[1:], strict=False)]
    names = [w for w, i in vocabulary.items() if i >= COMMON]
    return [a["year"] for a in addresses], names, [d[d >= 0] for d in ids]


def fit_topics(T=8, sweeps=150, seed=0, alpha=0.1, beta=0.01):
    """LDA of the addresses -> years, words of each topic, theta (n, T), perplexities."""
    years, names, ids = addresses_as_topics()
    sweep, rng = twin("ch10_factorization", "numba").gibbs_sweep, np.random.default_rng(seed)
    words, owners = flatten(ids, len(names))
    state = count_topics(rng.integers(T, size=words.size), words, owners, (len(ids), T, len(names)))
    trace = [perplexity(state, words, owners, alpha, beta)]
    for step in range(sweeps):
        state = sweep(state, words, owners, alpha, beta, rng.random(words.size))
        if step % 5 == 4:
            trace.append(perplexity(state, words, owners, alpha, beta))
    theta, phi = mixtures(state, alpha, beta)
    order = np.argsort(theta.T @ years / theta.sum(axis=0), kind="stable")      # old to new
    vocabulary = {w: i for i, w in enumerate(names)}
    return years, top_words(phi[order], vocabulary, 6), theta[:, order], np.array(trace)


def word_space(window=4, d=50, seed=0, power=0.5):
    """Smoothed PPMI of the addresses and its word vectors -> vocabulary, M, (V, d), (d,)."""
    fast = twin("ch10_factorization", "numba")
    vocabulary, ids = frequent_words()
    M = ppmi(fast.cooccurrence(ids, len(vocabulary), window), 1, 0.75)
    svd = truncated_svd(M, d, np.random.default_rng(seed), iterations=6, product=fast.csr_matmul)
    return vocabulary, M, embed(svd, power)[0], svd.S


def neighbours_of(vectors, vocabulary, words, k=5):
    """The k words with the largest cosines, the word itself aside -> dict word: list of str."""
    names = list(vocabulary)
    found = nearest(vectors[[vocabulary[w] for w in words]], vectors, k + 1)[0]
    return {w: [names[i] for i in row if names[i] != w][:k]
            for w, row in zip(words, found, strict=True)}


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    vocabulary, M, vectors, S = word_space()
    yield f"PPMI of {len(vocabulary):,} words: {M.data.size:,} of {M.shape[0] ** 2:,} cells; to 50"
    for word, near in neighbours_of(vectors, vocabulary, ("gold", "soldiers", "schools")).items():
        yield f"  {word:<10} {', '.join(near)}"
    texts = data.load_texts()["cat_mat"]["documents"]
    yield "counts", counts_of_the_toy(texts)
    _, ids = frequent_words()
    yield "sgns", optimum_and_pmi(cooccurrence([d[d < 300] for d in ids[::20]], 300, 2))
    yield "singular_values", singular_values({"PPMI, smoothed contexts": S})
    yield "words", word_map(vectors, vocabulary)
    years, words, theta, trace = fit_topics()
    yield f"eight topics; perplexity {trace[0]:,.0f} at random, {trace[-1]:,.0f} after the sweeps:"
    for topic in words:
        yield f"  {', '.join(topic)}"
    yield "topics", topics_by_year(years, theta, [", ".join(topic[:4]) for topic in words])


def passages_space(passages, d=40, seed=0):
    """LSA of some texts -> vocabulary, documents (n, d), words (V, d), SVD."""
    vocabulary, X = bag_of_words(passages)
    product = twin("ch10_factorization", "numba").csr_matmul
    return vocabulary, *lsa(X, d, np.random.default_rng(seed), product=product)
