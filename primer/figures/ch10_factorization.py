"""Figures of chapter 10: counts, PMI against SGNS, singular values, a map of words, topics by year.

`tour` factorises the State of the Union addresses.
"""
import functools

import numpy as np

from kernels import twin
from primer import data
from primer.ch01_geometry import nearest, pca
from primer.ch03_bow import CSR, bag_of_words, build_vocabulary, encode, to_dense, tokenize
from primer.ch10_factorization import (
    cooccurrence,
    count_topics,
    embed,
    flatten,
    lsa,
    marginals,
    mixtures,
    perplexity,
    pmi,
    ppmi,
    sgns_cell_optimum,
    top_words,
    truncated_svd,
)
from primer.figures import (
    BLACK,
    COLOURS,
    HEAT,
    MARKERS,
    VERMILION,
    YELLOW,
    new_figure,
    tidy,
)

COMMON, KEPT = 150, 4000              # words of the topics: neither the most frequent nor rare ones
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
    figure, panels = new_figure(columns=2, width=10.4, height=4.4, sharey=True)
    frequency = np.log10(marginals(C)[1])[C.indices]
    x = pmi(C).data
    for axes, power, words in ((panels[0], 1.0, "by frequency"),
                               (panels[1], 0.75, "by frequency to the power 0.75")):
        dots = axes.scatter(x, sgns_cell_optimum(C, negatives, power).data, c=frequency, s=5,
                            cmap=HEAT, rasterized=True)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, ends - np.log(negatives), color=VERMILION, linestyle="--", linewidth=1.5)
        axes.annotate(f"PMI - ln {negatives}", (ends[1], ends[1] - np.log(negatives)),
                      xytext=(-12, -2), textcoords="offset points", ha="right", color=VERMILION)
        tidy(axes, f"Negatives drawn {words}", "PMI of the pair (nats)")
    panels[0].set_ylabel("best $\\langle v_w, u_c\\rangle$ for SGNS")
    figure.colorbar(dots, ax=panels, label="count of the context (powers of ten)")
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


def place_labels(axes, places, words, colours):
    """Write each word beside its point, at the first of some places where it covers nothing."""
    scale = 72 * np.array(axes.figure.get_size_inches()) * 0.85      # points of the whole axes
    low = np.array([axes.get_xlim()[0], axes.get_ylim()[0]])
    span = np.array([axes.get_xlim()[1], axes.get_ylim()[1]]) - low
    at = (places - low) / span * scale                               # (points, 2) in points
    taken = [np.array([x - 4, y - 4, x + 4, y + 4]) for x, y in at]
    for i, word in enumerate(words):
        width, spots = 5.2 * len(word), []
        for dx, dy in ((6, -4), (-6 - width, -4), (-width / 2, 6), (-width / 2, -13), (5, 5),
                       (5, -13), (-5 - width, 5), (-5 - width, -13), (8, 14), (8, -22),
                       (-8 - width, 14), (-8 - width, -22)):
            box = np.array([at[i, 0] + dx, at[i, 1] + dy, at[i, 0] + dx + width, at[i, 1] + dy + 9])
            hits = sum((box[:2] < other[2:]).all() and (other[:2] < box[2:]).all()
                       for other in taken)
            spots.append((hits, len(spots), dx, dy, box))
        _, _, dx, dy, box = min(spots, key=lambda spot: spot[:2])
        taken.append(box)
        axes.annotate(word, places[i], xytext=(dx, dy), textcoords="offset points", fontsize=8.5,
                      color=colours[i])


def word_map(vectors, vocabulary, groups=GROUPS, title="Words by their contexts"):
    """The words of some groups in the plane: the two main directions of their unit vectors."""
    figure, axes = new_figure(width=8.4, height=5.6)
    chosen = [(g, w) for g, (_, words) in enumerate(groups) for w in words if w in vocabulary]
    rows = vectors[[vocabulary[w] for _, w in chosen]]
    places = pca(rows / np.linalg.norm(rows, axis=1, keepdims=True), 2)[0]
    for g, (name, _) in enumerate(groups):
        own = [i for i, (other, _) in enumerate(chosen) if other == g]
        axes.plot(*places[own].T, linestyle="", marker=MARKERS[g], color=COLOURS[g], label=name)
    axes.margins(x=0.14, y=0.08)
    place_labels(axes, places, [w for _, w in chosen], [COLOURS[g] for g, _ in chosen])
    axes.legend(loc="best")
    return tidy(axes, title, "first main direction", "second main direction").figure


def topics_by_year(years, theta, names):
    """Share of each topic in the addresses, smoothed over nine of them; stacked."""
    figure, axes = new_figure(width=9.6, height=4.8)
    window = np.ones(9) / 9
    smooth = np.stack([np.convolve(t, window) / np.convolve(np.ones(t.size), window)
                       for t in theta.T])[:, 4:-4]
    hatches = ("", "//", "", "//", "", "//", "", "//", "xx", "..")
    colours = (*COLOURS[:6], YELLOW, "#999999")
    areas = axes.stackplot(years, 100 * smooth, edgecolor="white", linewidth=0.4,
                           colors=[colours[i % 8] for i in range(len(names))])
    for area, name, hatch in zip(areas, names, hatches, strict=False):
        area.set(hatch=hatch, label=name)
    axes.set(xlim=(years[0], years[-1]), ylim=(0, 100))
    axes.legend(*(part[::-1] for part in axes.get_legend_handles_labels()), loc="center left",
                bbox_to_anchor=(1, 0.5), fontsize=8.5, handlelength=2.5, handleheight=1.6)
    return tidy(axes, "What the presidents spoke about", "year",
                "share of the words (%, mean of nine addresses)").figure


def perplexities(trace, every=5):
    """Perplexity before the first sweep and after each `every` of them."""
    figure, axes = new_figure(width=6.4, height=3.4)
    axes.plot(every * np.arange(len(trace)), trace, color=VERMILION, marker="o", markersize=4)
    axes.set(xlim=(0, None))
    return tidy(axes, "From random topics to fitting ones", "sweeps", "perplexity (words)").figure


# ---- what they show: the addresses --------------------------------------------------------------

@functools.cache
def passages_as_ids():
    """All passages, words numbered by falling frequency -> names, list of ids."""
    tokens = [tokenize(p) for p in data.sotu_paragraphs()[0]]
    names = build_vocabulary(tokens)
    ids = [encode(t, names) for t in tokens]
    order = np.argsort(-np.bincount(np.concatenate(ids)), kind="stable")
    new, words = np.argsort(order), list(names)
    return [words[w] for w in order], [new[d] for d in ids]


def frequent_words(words=3000):
    """The passages in the most frequent words; others are left out -> vocabulary, list of ids."""
    names, ids = passages_as_ids()
    return {w: i for i, w in enumerate(names[:words])}, [d[d < words] for d in ids]


def fit_topics(T=10, sweeps=60, seed=0, alpha=0.1, beta=0.01):
    """LDA of the passages, in words of middling frequency -> years, words of each topic, the
    topics' shares in each address (n, T), perplexities before, and after each fifth sweep."""
    vocabulary, ids = frequent_words(COMMON + KEPT)
    plain = np.array([i >= COMMON and w.isalpha() and len(w) > 2 for w, i in vocabulary.items()])
    names, new = [w for w, i in vocabulary.items() if plain[i]], np.cumsum(plain) - 1
    words, owners = flatten([new[d[plain[d]]] for d in ids], len(names))
    sweep, rng = twin("ch10_factorization", "numba").gibbs_sweep, np.random.default_rng(seed)
    state = count_topics(rng.integers(T, size=words.size), words, owners, (len(ids), T, len(names)))
    trace = [perplexity(state, words, owners, alpha, beta)]
    for step in range(sweeps):
        state = sweep(state, words, owners, alpha, beta, rng.random(words.size))
        if step % 5 == 4:
            trace.append(perplexity(state, words, owners, alpha, beta))
    addresses = data.load_sotu()
    starts = np.cumsum([0, *(len(a["paragraphs"]) for a in addresses[:-1])])
    shares, years = np.add.reduceat(state.by_document, starts), [a["year"] for a in addresses]
    shares = shares / shares.sum(axis=1, keepdims=True)                         # (n, T)
    order = np.argsort(shares.T @ years / shares.sum(axis=0), kind="stable")    # old to new
    vocabulary, phi = {w: i for i, w in enumerate(names)}, mixtures(state, alpha, beta)[1]
    return years, top_words(phi[order], vocabulary, 6), shares[:, order], np.array(trace)


def word_space(window=4, d=50, seed=0, power=0.5, iterations=6):
    """Smoothed PPMI of the addresses and its word vectors -> vocabulary, M, (V, d), (d,)."""
    fast = twin("ch10_factorization", "numba")
    vocabulary, ids = frequent_words()
    M = ppmi(fast.cooccurrence(ids, len(vocabulary), window), 1, 0.75)
    svd = truncated_svd(M, d, np.random.default_rng(seed), iterations=iterations,
                        product=fast.csr_matmul)
    return vocabulary, M, embed(svd, power)[0], svd.S


def neighbours_of(vectors, vocabulary, words, k=5):
    """The k words with the largest cosines, the word itself aside -> dict word: list of str."""
    names = list(vocabulary)
    found = nearest(vectors[[vocabulary[w] for w in words]], vectors, k + 1)[0]
    return {w: [names[i] for i in row if names[i] != w][:k]
            for w, row in zip(words, found, strict=True)}


def passage_space(words=4000, d=50, seed=0):
    """LSA of the passages in frequent words -> vocabulary, documents (n, d), words (V, d), SVD."""
    vocabulary, ids = frequent_words(words)
    tokens, owners = flatten(ids, words)
    cells, counts = np.unique(owners * words + tokens, return_counts=True)
    X = CSR(np.searchsorted(cells, words * np.arange(len(ids) + 1)), cells % words, counts,
            (len(ids), words))
    return vocabulary, *lsa(X, d, np.random.default_rng(seed), iterations=4,
                            product=twin("ch10_factorization", "numba").csr_matmul)


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    vocabulary, M, vectors, S = word_space(iterations=2)
    yield (f"PPMI of {len(vocabulary):,} words: {M.data.size:,} of {M.shape[0] ** 2:,} cells; "
           "50 dimensions")
    for word, near in neighbours_of(vectors, vocabulary, ("gold", "soldiers", "schools")).items():
        yield f"  {word:<10} {', '.join(near)}"
    yield "counts", counts_of_the_toy(data.load_texts()["cat_mat"]["documents"])
    _, ids = frequent_words()
    yield "sgns", optimum_and_pmi(cooccurrence([d[d < 300] for d in ids[::20]], 300, 2))
    yield "singular_values", singular_values({"PPMI of words and contexts": S})
    yield "words", word_map(vectors, vocabulary, title="Words by their contexts: PPMI and SVD")
    years, words, shares, trace = fit_topics(sweeps=30)
    yield f"ten topics; perplexity {trace[0]:,.0f} at random, {trace[-1]:,.0f} after 30 sweeps:"
    for topic in words:
        yield f"  {', '.join(topic)}"
    yield "topics", topics_by_year(years, shares, [", ".join(topic[:4]) for topic in words])
