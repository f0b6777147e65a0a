"""Figures of chapter 15: temperature, vectors on a circle, the way of an encoder over the sphere.

An encoder learns from sentences of the addresses and from WordNet's glosses, without any label;
WordNet's graph then judges it: are glosses of neighbouring concepts nearer than others?  The tour
has a small one from random numbers, the notebook chapter 14's small BERT.
"""
import re

import numpy as np

from primer import data
from primer.ch02_lexicon import WordNet, path_similarity
from primer.ch03_bow import tokenize
from primer.ch06_word2vec import count_vocabulary, encode_corpus, softmax
from primer.ch09_analogy import spearman
from primer.ch14_bert_encoder import initial_encoder
from primer.ch15_contrastive import embed, simcse_grad, train_simcse, unit_vectors
from primer.ch15_contrastive_heads import alignment, uniformity
from primer.figures import BLACK, BLUE, COLOURS, MARKERS, ORANGE, new_figure, tidy
from primer.training import small_bert

SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
KINDS = ("above it", "beside it", "any other")      # how the second gloss's concept stands


def judged_glosses(n=300, seed=15):
    """Glosses of n nouns, each with those of the concept above, of one beside it under the same,
    and of any other -> list of str, pairs (3 n, 2) of places in it, likeness (3 n,) by paths."""
    wn, rng = WordNet.excerpt(), np.random.default_rng(seed)
    nouns = [name for name, s in wn.all.items()
             if s.pos == "n" and wn.hypernyms[name] and len(tokenize(s.gloss)) > 3]
    beside = {name: [b for b in wn.hyponyms[wn.hypernyms[name][0]] if b != name]
              for name in nouns}
    chosen = rng.choice([name for name in nouns if beside[name]], n, replace=False)
    pairs = [(str(a), str(b)) for a in chosen for b in
             (wn.hypernyms[a][0], rng.choice(beside[a]), rng.choice(nouns))]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    place = {name: i for i, name in enumerate(names)}
    return ([wn.all[name].gloss for name in names],
            np.array([[place[a], place[b]] for a, b in pairs]),
            np.array([path_similarity(wn.hypernyms, a, b) for a, b in pairs]))


def training_texts(number, first_year=1789, seed=15):
    """Sentences of the addresses since a year, and glosses, mixed -> list of str."""
    paragraphs, about = data.sotu_paragraphs()
    texts = [s for p, a in zip(paragraphs, about, strict=True) if a["year"] >= first_year
             for s in SENTENCE_END.split(p)]
    rng, glosses = np.random.default_rng(seed), [s.gloss for s in WordNet.excerpt().all.values()]
    half = [[some[i] for i in rng.permutation(len(some))[:number // 2]]
            for some in (texts, glosses)]
    return [text for pair in zip(*half, strict=True) for text in pair]


def word_encoder(texts, longest=24, min_count=2, d=32, seed=15):
    """A small encoder of words, from random numbers -> P, heads, encode: list of str -> lists of
    ids from 2 (0 is padding, 1 a text without a known word)."""
    vocabulary, _ = count_vocabulary(texts, min_count)

    def encode(texts):
        tokens, starts = encode_corpus(texts, vocabulary)
        return [(part[:longest] + 2).tolist() or [1] for part in np.split(tokens, starts[1:-1])]
    rng = np.random.default_rng(seed)
    return initial_encoder(len(vocabulary) + 2, longest, d, 1, 2 * d, rng), 4, encode


def small_bert_encoder(longest=30):
    """Chapter 14's small BERT, which has learned to fill blanks -> P, heads, encode."""
    model = small_bert.load()
    P = {k: x for k, x in model.P.items() if not k.startswith(("mlm", "nsp", "pool"))}
    return P, model.heads, lambda texts: [model.wordpiece.encode(t)[:longest] for t in texts]


def judge(X, pairs, likeness, alike=0.3):
    """-> mean squared distance of near pairs (15.10) as a share of that of any two rows, uniformity
    (15.11), Spearman of cosines and likeness."""
    a, b = X[pairs[:, 0]], X[pairs[:, 1]]
    near, mean, n = likeness > alike, X.mean(axis=0), len(X)
    apart = 2 * n / (n - 1) * (1 - mean @ mean)
    return (alignment(a[near], b[near]) / apart, uniformity(X),
            spearman((a * b).sum(axis=1), likeness))


def train_and_watch(P, heads, texts, glosses, pairs, likeness, dropout=0.1, batch=64, every=6,
                    rate=5e-4, tau=0.1, seed=15, ops=None):
    """SimCSE from a copy of P, one epoch, judged as it goes: texts, glosses lists of ids -> steps
    (k,), judged (k, 3), vectors of the glosses before and after."""
    P, seen = {k: x.copy() for k, x in P.items()}, []

    def watch(step):
        if step % every == 0:
            X = embed(P, heads, glosses, ops=ops).astype(np.float64)
            seen.append((step, X, judge(X, pairs, likeness)))
    train_simcse(P, heads, texts, 1, batch, np.random.default_rng(seed), rate, tau, dropout,
                 watch=watch, ops=ops)
    steps, vectors, judged = zip(*seen, strict=True)
    return np.array(steps), np.array(judged), (vectors[0], vectors[-1])


def temperature(cosines, taus=(1.0, 0.2, 0.05)):
    """Shares of the candidates at several temperatures -> Figure.  The first is the positive."""
    figure, all_axes = new_figure(columns=len(taus), width=9, height=3.2, sharey=True)
    for axes, tau in zip(all_axes, taus, strict=True):
        p = softmax(np.array([cosines]) / tau)[0]
        bars = axes.bar(range(len(p)), p, color=[ORANGE, *[BLUE] * (len(p) - 1)])
        axes.bar_label(bars, [f"{x:.2f}" for x in p], fontsize=8)
        axes.set(xticks=range(len(p)), xticklabels=[f"{c:g}" for c in cosines], ylim=(0, 1.08))
        tidy(axes, rf"$\tau$ = {tau:g}", "cosine of the candidate")
    all_axes[0].set_ylabel("its share")
    return figure


def spread_on_a_circle(n=24, steps=(0, 30, 400), noise=0.15, tau=0.2, rate=0.2, seed=15):
    """Free vectors in the plane, two noisy views a step (15.6) -> list of (step, Z (n, 2))."""
    rng = np.random.default_rng(seed)
    X, out = rng.normal((1, 1), 0.25, (n, 2)), []
    for step in range(max(steps) + 1):
        if step in steps:
            out.append((step, unit_vectors(X)[0]))
        views = X + noise * rng.standard_normal((2, n, 2))
        _, dX, dY = simcse_grad(*views, tau)
        X = unit_vectors(X - rate * (dX + dY))[0]
    return out


def circles(states):
    """Vectors on the circle at several steps -> Figure."""
    figure, all_axes = new_figure(columns=len(states), width=9, height=3.4)
    for axes, (step, Z) in zip(all_axes, states, strict=True):
        angles = np.linspace(0, 2 * np.pi, 200)
        axes.plot(np.cos(angles), np.sin(angles), color="#BBBBBB", linewidth=1)
        axes.plot(*Z.T, "o", color=BLUE, alpha=0.8)
        axes.set(xticks=[], yticks=[], aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.25, 1.25))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        tidy(axes, f"step {step}: uniformity {uniformity(Z):.2f}")
    return figure


def ways(runs):
    """Alignment against uniformity, and the judge's verdict, as encoders learn -> Figure.
    runs: dict name: (steps, judged)."""
    figure, (left, right) = new_figure(columns=2, width=9.6, height=4.2)
    for (name, (steps, judged)), colour, marker in zip(runs.items(), COLOURS, MARKERS,
                                                       strict=False):
        left.plot(judged[:, 1], judged[:, 0], color=colour, marker=marker, markersize=4, label=name)
        left.plot(*judged[0, 1::-1], "o", color=BLACK, markersize=8, fillstyle="none")
        right.plot(steps, judged[:, 2], color=colour, marker=marker, markersize=4, label=name)
    left.legend(fontsize=9)
    left.set_ylim(0.65, 0.9)
    right.set_ylim(0.15, 0.35)
    tidy(left, "From the ring: left is spread, low is near",
         "uniformity of all glosses", "alignment of near ones / of any two")
    tidy(right, "What WordNet says of the ranking", "step", "Spearman")
    return figure


def verdicts(vectors, pairs, names=("before", "after")):
    """Cosines of glosses by how their concepts stand, before and after -> Figure."""
    figure, all_axes = new_figure(columns=2, width=9, height=3.8, sharey=True)
    for axes, X, name in zip(all_axes, vectors, names, strict=True):
        cosines = (X[pairs[:, 0]] * X[pairs[:, 1]]).sum(axis=1).reshape(-1, len(KINDS))
        drawn = axes.boxplot(cosines, patch_artist=True, widths=0.6, medianprops={"color": BLACK},
                             flierprops={"markersize": 2})
        for box, colour in zip(drawn["boxes"], COLOURS, strict=False):
            box.set_facecolor(colour)
        axes.set_xticks(range(1, len(KINDS) + 1), KINDS)
        tidy(axes, name, "the other concept stands")
    all_axes[0].set_ylabel("cosine of two glosses")
    return figure


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    yield "temperature", temperature((0.8, 0.6, 0.5, 0.1, -0.2))
    states = spread_on_a_circle()
    yield ("24 vectors in a cone, two noisy views a step: uniformity "
           + ", ".join(f"{uniformity(Z):.2f}" for _, Z in states))
    yield "circles", circles(states)
    glosses, pairs, likeness = judged_glosses(100)
    texts = training_texts(960, 2005)
    P, heads, encode = word_encoder(texts)
    steps, judged, vectors = train_and_watch(P, heads, encode(texts), encode(glosses), pairs,
                                             likeness, every=15, rate=2e-3)
    near, spread, rank = (f"{a:.2f} -> {b:.2f}" for a, b in judged[[0, -1]].T)
    yield (f"SimCSE, {steps[-1]} steps over sentences and glosses: uniformity {spread}, near "
           f"glosses at {near} of any two's distance, Spearman with WordNet {rank}")
    yield "verdicts", verdicts(vectors, pairs)
