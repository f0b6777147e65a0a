"""Figures of chapter 13: states over a sentence, what surprises whom, one word in many sentences.

`tour` trains two small language models on sentences of the State of the Union addresses.
"""
import re

import numpy as np

from kernels import twin
from primer import data
from primer.ch01_geometry import linear_probe, nearest, pca, probe_predict
from primer.ch03_bow import tokenize
from primer.ch06_word2vec import logsumexp
from primer.ch13_elmo import (
    both_ways,
    elmo_layers,
    initial_bilm,
    lstm,
    predictions,
    train_bilm,
)
from primer.ch13_elmo_training import encode_sentence, language_vocabulary, pad, sentence_batches
from primer.figures import BLACK, BLUE, COLOURS, HEAT, MARKERS, ORANGE, new_figure, tidy

SENTENCE = "the congress of the united states may adjourn on the first day of may next"
BANKS = ("bank", "river", "loan", "loans", "deposited", "boat")
HELD = 10                             # every so-many-th sentence is held out
SIGNS = {                             # word -> sense: words before it, words after it
    "may": {"month": ({"in", "last"}, {"last", "next"}),
            "verb": ({"it", "we", "you", "i", "they", "which", "congress", "as", "that"},
                     {"be", "have", "not", "well"})},
    "interest": {"of money": ({"the annual", "bearing", "paying", "accrued"},
                              {"on", "rates", "charges", "payments", "bearing", "at"}),
                 "in a matter": ({"public", "national", "common", "deep", "deepest", "special",
                                  "mutual", "vital", "general", "lively", "peculiar"}, {"in"})},
    "present": {"now": ({"the", "at"}, {"time", "condition", "year", "state"}),
                "give": ({"to", "i", "will", "not", "they"}, {"to", "you", "for"})},
    "march": {"month": ({"in", "last", "of"}, {"last", "next"}),
              "walk": ({"the", "to", "onward", "our", "a", "their", "forward"}, set())},
}


def addresses(every=1, longest=25, min_count=12, also=()):
    """Short sentences of every so-many-th address, and those of the others that have one of the
    words `also` -> list of str, vocabulary, ids of each."""
    sentences = []
    for number, address in enumerate(data.load_sotu()):
        if number % every and not also:
            continue
        for s in re.split(r"(?<=[.;?!])\s+", " ".join(address["paragraphs"])):
            words = tokenize(s)
            if 3 < len(words) <= longest and (number % every == 0 or not set(also).isdisjoint(
                    words)):
                sentences.append(s.strip())
    vocabulary = language_vocabulary(sentences, min_count)
    return sentences, vocabulary, [encode_sentence(s, vocabulary) for s in sentences]


def split(sequences):
    """-> those to learn from, those held out."""
    return ([s for i, s in enumerate(sequences) if i % HELD],
            [s for i, s in enumerate(sequences) if not i % HELD])


def train_on_addresses(sequences, V, d=64, layers=2, epochs=3, batch=32, seed=13, backend="numba",
                       rate=0.3):
    """By the twin -> P, history."""
    rng = np.random.default_rng(seed)
    P = initial_bilm(V, d, layers, rng)
    batches = sentence_batches(sequences, batch)
    module = None if backend == "numpy" else twin("ch13_elmo", backend)
    return P, train_bilm(P, batches, epochs, rng, rate, twin=module)


def unigram_loss(sequences, held, V):
    """Loss of a word where nothing is known of its neighbours, but how often it is -> float."""
    counts = np.bincount(np.concatenate([s[1:] for s in sequences] + [s[:-1] for s in sequences]),
                         minlength=V) + 0.5
    told = np.concatenate([s[1:] for s in held] + [s[:-1] for s in held])
    return float(-np.log(counts / counts.sum())[told].mean())


def held_out_loss(P, held, batch=64):
    """Mean loss of each direction over sentences that it has not learnt from -> (2,)."""
    sums, count = np.zeros(2), 0
    for ids, lengths in sentence_batches(held, batch):
        for k, losses in enumerate(word_losses(P, ids, lengths)):
            sums[k] += losses.sum()
        count += len(losses)
    return sums / count


def word_losses(P, ids, lengths):
    """-ln p of each word that is predicted, forward, then backward -> two (n,)."""
    found = []
    for read, way in zip(both_ways(ids, lengths), ("forward", "backward"), strict=True):
        H, words, *_ = predictions(P, *read, way)
        scores = H @ P["outputs"].T + P["outputs.b"]
        found.append(logsumexp(scores) - scores[np.arange(len(H)), words])
    return found


def loss_curve(history, unigram, held):
    """Mean loss of a word, epoch by epoch -> Figure."""
    figure, axes = new_figure(width=7, height=3.8)
    axes.axhline(unigram, color=BLACK, linestyle=":")
    axes.annotate("how often words are, no neighbours", (1, unigram), xytext=(0, 5),
                  textcoords="offset points", fontsize=9)
    axes.plot(1 + np.arange(len(history)), history, color=BLUE, marker="o", label="as it learns")
    axes.plot([len(history)], [np.mean(held)], color=ORANGE, marker="D", linestyle="",
              label="held-out sentences")
    axes.set(xticks=1 + np.arange(len(history)), ylim=(None, unigram * 1.05))
    axes.legend(loc="lower left")
    return tidy(axes, "A word costs less where its neighbours are known", "epoch",
                "mean loss (nats)").figure


def sentence_states(P, vocabulary, sentence=SENTENCE, units=24):
    """States and forget gates of the first forward layer, word by word -> Figure."""
    ids = encode_sentence(sentence, vocabulary)
    weights = [P[f"forward.0.{name}"] for name in "WUb"]
    H, _, (*_, C, G) = lstm(P["tokens"][ids][:, None], [len(ids)], *weights)
    d = H.shape[2]
    some = np.argsort(-H[:, 0].std(axis=0))[:units]
    figure, parts = new_figure(rows=2, width=10, height=6.4, sharex=True)
    for axes, values, name, limits in (
            (parts[0], H[:, 0, some].T, "states $h_t$", (-1, 1)),
            (parts[1], G[:, 0, d:2 * d][:, some].T, "forget gates $f_t$", (0, 1))):
        image = axes.imshow(values, cmap=HEAT, aspect="auto", vmin=limits[0], vmax=limits[1])
        axes.grid(visible=False)
        axes.set_yticks([])
        figure.colorbar(image, ax=axes, pad=0.01)
        tidy(axes, name, "", f"{units} of {d} numbers")
    name_places(parts[1], sentence, vocabulary)
    return figure


def name_places(axes, sentence, vocabulary):
    """The words below the axis, those that are not known in brackets."""
    words = [w if w in vocabulary else f"({w})" for w in tokenize(sentence)]
    axes.set_xticks(range(len(words) + 2))
    axes.set_xticklabels(["<s>", *words, "</s>"], rotation=40, ha="right", rotation_mode="anchor")


def surprises(P, vocabulary, sentence=SENTENCE):
    """What each word costs the model that comes from its left, and the other -> Figure."""
    ids, lengths = pad([encode_sentence(sentence, vocabulary)])
    left, right = word_losses(P, ids, lengths)
    figure, axes = new_figure(width=10, height=4)
    x = np.arange(len(left) + 1)
    axes.bar(x[1:] - 0.2, left, 0.4, color=BLUE, label="from the left")
    axes.bar(x[:-1] + 0.2, right[::-1], 0.4, color=ORANGE, label="from the right")
    name_places(axes, sentence, vocabulary)
    axes.legend()
    return tidy(axes, "What each word costs the two models", "", "$-\\ln p$ (nats)").figure


def occurrences(P, vocabulary, sentences, word, most=400):
    """A word where it first stands in each sentence, in all layers -> (J, n, 2 d), the n sentences,
    places (n,)."""
    some = [s for s in sentences if word in tokenize(s)][:most]
    ids, lengths = pad([encode_sentence(s, vocabulary) for s in some])
    places = (ids == vocabulary[word]).argmax(axis=0)
    return elmo_layers(P, ids, lengths)[:, places, np.arange(len(some))], some, places


def around(sentence, place, reach=4):
    """The words about a place (which counts <s>) -> str."""
    words = tokenize(sentence)
    at = place - 1
    return " ".join([*words[max(at - reach, 0):at], words[at].upper(),
                     *words[at + 1:at + 1 + reach]])


def in_many_sentences(layers, senses, names, word):
    """A word's vectors, layer by layer, in their two main directions -> Figure.  senses: (n,)."""
    figure, parts = new_figure(columns=len(layers), width=3.6 * len(layers), height=3.9)
    for j, (axes, X) in enumerate(zip(parts, layers.astype(np.float64), strict=True)):
        spread = X.std(axis=0).max() > 1e-6
        Y = pca(X, 2)[0] if spread else np.zeros((len(X), 2))
        for k, name in enumerate(names):
            own = Y[senses == k]
            axes.plot(own[:, 0], own[:, 1], MARKERS[k], color=COLOURS[k], markersize=4.5,
                      linestyle="", alpha=0.75, label=f"{name} ({len(own)})")
        axes.set(xticks=[], yticks=[])
        tidy(axes, f"layer {j}" + ("" if spread else ": all the same"), "first direction",
             "second" if not j else "")
    parts[-1].legend(loc="best", fontsize=9)
    figure.suptitle(f'"{word}" in {len(senses)} sentences', weight="bold", x=0.01, ha="left")
    return figure


def probe_accuracies(layers, senses, seed=0):
    """How well a line through a layer tells the senses apart, in sentences not fitted -> (J,)."""
    order = np.random.default_rng(seed).permutation(len(senses))
    fit, rest = order[::2], order[1::2]
    found = []
    for X in layers.astype(np.float64):
        W, b = linear_probe(X[fit], senses[fit], 10.0)
        found.append(float((probe_predict(X[rest], W, b) == senses[rest]).mean()))
    return found


def nearest_uses(layers, sentences, places, query, k=4, layer=1):
    """The uses of a word whose vectors are nearest to one of them -> list of (str, cosine)."""
    X = layers[layer]
    near, cosines = nearest(X[query:query + 1], X, k + 1)
    return [(around(sentences[i], places[i]), float(c))
            for i, c in zip(near[0], cosines[0], strict=True) if i != query][:k]


def clear_senses(word, sentences, places):
    """Which sense of SIGNS a word has, by the word before or after it -> (n,), -1: not clear."""
    found = []
    for sentence, place in zip(sentences, places, strict=True):
        words = ["", *tokenize(sentence), ""]
        before, after = words[place - 1], words[place + 1]
        dated = after.isdigit() or before.isdigit()
        marks = [(name == "month" and dated) or before in left or after in right
                 for name, (left, right) in SIGNS[word].items()]
        found.append(marks.index(True) if sum(marks) == 1 else -1)
    return np.array(found)


def text_banks(P, vocabulary, word="bank"):
    """Cosines of bank in the text's own sentences, layer by layer -> Figure."""
    entry = data.load_texts()["bank"]
    pairs = [(d, s) for d, s in zip(entry["documents"], entry["senses"], strict=True)
             if word in tokenize(d)]
    pairs.sort(key=lambda pair: pair[1])
    layers, some, _ = occurrences(P, vocabulary, [d for d, _ in pairs], word)
    figure, parts = new_figure(columns=len(layers), width=13, height=4.6, sharey=True)
    for j, (axes, X) in enumerate(zip(parts, layers, strict=True)):
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
        axes.imshow(X @ X.T, cmap=HEAT, vmin=0, vmax=1)
        for a, b in np.ndindex(len(X), len(X)):
            axes.text(b, a, f"{100 * X[a] @ X[b]:.0f}", ha="center", va="center", fontsize=8,
                      color="white" if X[a] @ X[b] < 0.6 else BLACK)
        axes.grid(visible=False)
        axes.set(xticks=[], yticks=range(len(X)))
        axes.set_yticklabels(some, fontsize=8)
        tidy(axes, f"layer {j}")
    return figure


def tour():
    """The chapter in half a minute: yields lines to print and (name, Figure) pairs."""
    sentences, vocabulary, sequences = addresses(every=15, longest=20, min_count=8)
    learn, held = split(sequences)
    P, history = train_on_addresses(learn, len(vocabulary), 24, 1, 2, backend="numpy")
    yield (f"{len(sentences):,} sentences of the addresses, {len(vocabulary):,} different words; "
           f"two LSTMs of 24 numbers")
    ahead, back = held_out_loss(P, held)
    yield (f"a word costs {unigram_loss(learn, held, len(vocabulary)):.2f} nats by how often it "
           f"is, {ahead:.2f} after the words on its left, {back:.2f} before those on its right")
    yield "surprises", surprises(P, vocabulary)
    yield "states", sentence_states(P, vocabulary, units=16)
