"""Figures of chapter 8: the noise, what is kept, falling losses, a word of two senses.

`tour` trains on the State of the Union addresses from 1861 to 1915.
"""
import numpy as np

from kernels import twin
from primer import data
from primer.ch06_word2vec import count_vocabulary, encode_corpus, initial_vectors, nearest_words
from primer.ch08_negative_sampling import (
    join_phrases,
    keep_probability,
    keep_probability_word2vec_c,
    noise_distribution,
    train_skipgram,
)
from primer.figures import BLACK, BLUE, COLOURS, MARKERS, ORANGE, new_figure, tidy

ASKED = ("treasury", "war", "railroad")


def addresses(first_year=1861, last_year=1915, min_count=10):
    """The addresses of some years -> words by id, counts, tokens, starts."""
    texts, about = data.sotu_paragraphs()
    texts = [t for t, a in zip(texts, about, strict=True) if first_year <= a["year"] <= last_year]
    vocabulary, counts = count_vocabulary(texts, min_count)
    return list(vocabulary), counts, *encode_corpus(texts, vocabulary)


def train_on_addresses(train, tokens, starts, V, d=32, epochs=3, rate=0.05, seed=8):
    """From the start, by the twin -> W, U, history."""
    W, U = initial_vectors(V, d, np.random.default_rng(seed))
    return train(tokens, starts, W, U, 5, 5, epochs, seed, rate=rate,
                 twin=twin("ch08_negative_sampling", "numba"))


def neighbours(W, words, asked=ASKED, k=6):
    """-> dict word: its k nearest, as one str."""
    vocabulary = {w: i for i, w in enumerate(words)}
    return {word: ", ".join(w for w, _ in nearest_words(word, vocabulary, W, k)) for word in asked}


def noise_curves(counts, words, powers=(0.0, 0.75, 1.0)):
    """Probability of a draw by rank, at several powers -> Figure."""
    figure, axes = new_figure(width=7.4, height=4.2)
    ranks = np.arange(1, len(counts) + 1)
    for power, colour in zip(powers, COLOURS, strict=False):
        p = noise_distribution(counts, power)
        axes.loglog(ranks, p, color=colour, label=f"a = {power:g}: {words[0]!r} {p[0]:.2%}, "
                    f"{words[-1]!r} {p[-1]:.4%}")
    axes.legend(fontsize=9, loc="lower left")
    return tidy(axes, "The noise: power 3/4 lies between uniform and the corpus",
                "rank of a word, frequent first", "probability of a draw").figure


def keep_curves(threshold=1e-3):
    """What is kept by frequency, the paper's and word2vec.c's -> Figure."""
    figure, axes = new_figure(width=7.4, height=4.2)
    f = np.logspace(-5, -0.5, 300)
    rest = np.array([1.0])
    for name, keep, colour, line in (
            ("text and paper: $\\sqrt{t/f}$", keep_probability, BLUE, "-"),
            ("word2vec.c: $\\sqrt{t/f} + t/f$", keep_probability_word2vec_c, ORANGE, "--")):
        kept = [keep(np.concatenate([[x], rest - x]), threshold)[0] for x in f]
        axes.semilogx(f, kept, color=colour, linestyle=line, label=name)
    axes.semilogx(f[f < 4 * threshold], np.sqrt(threshold / f[f < 4 * threshold]), color=BLACK,
                  linestyle=":", linewidth=1.2, label="without the limit of 1 (line 1000)")
    axes.axvline(threshold, color=BLACK, linewidth=0.8)
    axes.annotate("f = t", (threshold, 0.05), xytext=(4, 0), textcoords="offset points")
    axes.set_ylim(0, 1.6)
    axes.legend(fontsize=9)
    return tidy(axes, f"Thinning out at t = {threshold:g}", "relative frequency f of a word",
                "probability that an occurrence stays").figure


def loss_curves(histories, K=5):
    """Mean loss of a prediction, epoch by epoch -> Figure.  dict name: history."""
    figure, axes = new_figure(width=7.4, height=4.2)
    start = (K + 1) * np.log(2)
    axes.axhline(start, color=BLACK, linestyle=":", linewidth=1.2)
    axes.annotate(f"nothing learned: {K + 1} ln 2 = {start:.2f}", (1, start), xytext=(0, -12),
                  textcoords="offset points", fontsize=9)
    for (name, history), colour, marker in zip(histories.items(), COLOURS, MARKERS, strict=False):
        axes.plot(1 + np.arange(len(history)), history, color=colour, marker=marker, label=name)
    axes.set_xticks(1 + np.arange(max(map(len, histories.values()))))
    axes.legend(fontsize=9)
    return tidy(axes, "Loss falls as the vectors learn", "epoch", "mean loss of a prediction"
                ).figure


def planted_bank(share, rng, n=3000):
    """Texts of two topics of 20 words; 'bank' stands in both: in money's for a `share` of its
    times -> ids (n, 8) with the senses told apart: 40 in money's, 41 in the river's."""
    money = rng.random(n) < share
    ids = rng.integers(0, 20, (n, 8)) + np.where(money, 0, 20)[:, None]
    ids[np.arange(n), rng.integers(0, 8, n)] = np.where(money, 40, 41)
    return ids


def bank_of_two_senses(fast, shares=(0.1, 0.3, 0.5, 0.7, 0.9), d=16, seed=8):
    """Train with the senses apart, and merged, from one start -> for each share of money: (share,
    cosines of the merged vector with the two senses', its cosine with their best mixture)."""
    out = []
    for share in shares:
        rng = np.random.default_rng(seed)
        ids = planted_bank(share, rng)
        starts, start = np.arange(len(ids) + 1) * 8, initial_vectors(42, d, rng)
        start[0][41] = start[0][40]                      # one start for both senses, and merged
        vectors = [train_skipgram(t.ravel(), starts, *start, 4, 5, 4, seed, rate=0.05,
                                  sample=np.inf, twin=fast)[0].astype(np.float64)
                   for t in (ids, np.minimum(ids, 40))]
        senses, merged = vectors[0][40:], vectors[1][40]             # (2, d), (d,)
        weights = np.linalg.lstsq(senses.T, merged, rcond=None)[0]   # (2,)
        lengths = np.linalg.norm(senses, axis=1) * np.linalg.norm(merged)
        mixture = weights @ senses
        out.append((share, (senses @ merged / lengths).tolist(),
                    float(mixture @ merged / np.linalg.norm(mixture) / np.linalg.norm(merged))))
    return out


def two_senses(found):
    """Cosines of the merged vector, by the share of one sense -> Figure."""
    figure, axes = new_figure(width=7.4, height=4.2)
    shares = [share for share, _, _ in found]
    for i, (name, colour, marker) in enumerate((("bank, money", BLUE, "o"),
                                                ("bank, river", ORANGE, "s"))):
        axes.plot(shares, [cosines[i] for _, cosines, _ in found], color=colour, marker=marker,
                  label=f"with {name}")
    axes.plot(shares, [m for _, _, m in found], color=BLACK, linestyle=":", marker="^",
              label="with the best mixture of the two")
    axes.set_ylim(-0.15, 1.05)
    axes.legend(fontsize=9, loc="lower center")
    return tidy(axes, "One row for both senses: a mixture, by their shares",
                "share of the occurrences that mean money", "cosine of the merged vector").figure


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    words, counts, tokens, starts = addresses()
    yield (f"addresses 1861 to 1915: {len(tokens):,} words, {len(words):,} different ones; "
           "skip-gram, window 5, 5 drawn words, 32 numbers a word")
    W, _, history = train_on_addresses(train_skipgram, tokens, starts, len(words))
    for word, found in neighbours(W, words).items():
        yield f"{word:<9} {found}"
    _, _, grown = join_phrases(tokens, starts, words, 20, (200, 200))
    yield "phrases   " + ", ".join([w for w in grown[len(words):] if w.count("_") == 2][:4])
    yield "noise", noise_curves(counts, words)
    yield "kept", keep_curves()
    yield "loss", loss_curves({"skip-gram": history})
