"""Figures of chapter 14: masks, where heads look, blanks filled, "bank" in ten sentences.

`tour` uses the small BERT of datasets/, which `python -m tests.makers.small_bert` trained.
"""
from types import SimpleNamespace

import numpy as np

from primer import ch14_bert_layers as layers
from primer import data
from primer.ch01_geometry import pca
from primer.ch14_bert import occurrence_vectors, polysemy_gap, sense_separation
from primer.ch14_bert_encoder import encode
from primer.claims.ch14_bert import WORDS, occurrences, seven_methods
from primer.figures import BLACK, BLUE, HEAT, ORANGE, new_figure, tidy
from primer.formats.encoders import read_encoder
from primer.training import small_bert

BLANKS = ("The Congress of the United [MASK] has passed the bill.",
          "The expenditures for the fiscal [MASK] were larger.",
          "The treaty with [MASK] has been ratified by the Senate.",
          "I submit it to the consideration of [MASK].")
RECORDED = (((3.0, 2.32), (-2.65, 0.61), (3.07, 0.41), (-2.36, 0.45), (-2.52, 0.53), (3.19, 2.25),
             (2.38, -2.81), (-3.01, 0.41), (-3.55, -1.13), (2.45, -3.04)), 0.224, 0.136)
# of MiniLM's ten "bank": summary(bank_vectors(minilm(), ...)) of register entry minilm, 0.1.2


def attention_maps(model, text):
    """Where each word of a text looks -> pieces, A: (L, H, T, T)."""
    ids = np.array([model.wordpiece.encode(text)])                         # (1, T)
    seen = []

    def watched(qkv, heads, *more):
        Q, K, _ = layers.split_heads(qkv, heads)
        seen.append(layers.attention_weights(Q, K)[0])                     # (H, T, T)
        return layers.self_attention(qkv, heads, *more)

    ops = SimpleNamespace(**{**vars(layers), "self_attention": watched})
    encode(model.P, model.heads, ids, ops=ops, keep=False)
    return [model.wordpiece.vocabulary[i] for i in ids[0]], np.array(seen)


def attention_figure(model, text, shown=((0, 0), (0, 1), (1, 0), (1, 1))):
    """Some heads' maps, layer and head -> Figure."""
    pieces, A = attention_maps(model, text)
    figure, axes = new_figure(1, len(shown), width=3.1 * len(shown), height=3.7, sharey=True)
    for panel, (layer, head) in zip(axes, shown, strict=True):
        panel.imshow(A[layer, head], cmap=HEAT, vmin=0, vmax=1)
        panel.grid(False)
        panel.set_xticks(range(len(pieces)), pieces, rotation=90, fontsize=9)
        tidy(panel, f"layer {layer + 1}, head {head + 1}", "looks at")
    axes[0].set_yticks(range(len(pieces)), pieces, fontsize=9)
    axes[0].set_ylabel("the word")
    return figure


def mask_figure(T=8, length=6, seed=14):
    """The same scores under three masks -> Figure."""
    Q, K = np.random.default_rng(seed).standard_normal((2, 1, 1, T, 8))
    padding = layers.padding_mask([length], T)
    panels = (("all see all", None, False), (f"padding from {length + 1} on", padding, False),
              ("causal: nothing later", None, True))
    figure, axes = new_figure(1, 3, width=9.6, height=3.6)
    for panel, (name, mask, causal) in zip(axes, panels, strict=True):
        panel.imshow(layers.attention_weights(Q, K, mask, causal)[0, 0], cmap=HEAT, vmin=0, vmax=1)
        panel.grid(False)
        panel.set_xticks(range(T), range(1, T + 1))
        panel.set_yticks(range(T), range(1, T + 1))
        tidy(panel, name, "key", "query")
    return figure


def blanks_figure(model, texts=BLANKS, k=5):
    """What is expected at a blank -> Figure."""
    figure, axes = new_figure(2, 2, width=9.6, height=5.2)
    for panel, text in zip(axes.flat, texts, strict=True):
        (found,) = small_bert.fill_blanks(model, text, k)
        panel.barh(range(k), [p for _, p in found], color=BLUE)
        panel.set_yticks(range(k), [piece for piece, _ in found])
        panel.invert_yaxis()
        panel.set_xlim(0, 1)
        panel.grid(axis="y", visible=False)
        tidy(panel, "", "probability")
        panel.set_title(text.replace("[MASK]", "____"), loc="left", size=9, weight="bold")
    return figure


def history_figure(model, unigram):
    """The loss of hidden pieces while it trained -> Figure."""
    figure, axes = new_figure(width=7.4, height=4.0)
    at = (np.arange(len(model.history)) + 0.5) * small_bert.AVERAGED
    axes.plot(at, model.history[:, 0], color=BLUE, label="hidden pieces")
    axes.plot(at, model.history[:, 1], color=ORANGE, linestyle="--", label="next sentence")
    axes.axhline(unigram, color=BLACK, linestyle=":", linewidth=1.2)
    axes.annotate("frequencies alone", (at[-1], unigram), ha="right", va="bottom", fontsize=9)
    axes.set_ylim(0, None)
    axes.legend(fontsize=9)
    return tidy(axes, "It first learns frequencies, then to look around", "step", "loss, nats"
                ).figure


def bank_sentences():
    """The text's eight sentences of one meaning, and two of its phrases -> texts, senses."""
    texts, senses = occurrences("bank")
    more = data.load_texts()["bank_phrases"]
    return texts + more["documents"][:2], senses + more["senses"][:2]


def bank_vectors(model, sentences):
    """-> X (n, d) of "bank"."""
    return occurrence_vectors(model.P, model.heads, model.wordpiece, "bank", sentences)


def summary(X, senses):
    """-> places on two axes (n, 2), gap, separation."""
    return pca(X, 2)[0], polysemy_gap(X, senses), sense_separation(X, senses)


def bank_figure(found, senses):
    """Ten "bank" on two axes, a panel for each model.  dict name: summary -> Figure."""
    figure, axes = new_figure(1, len(found), width=4.8 * len(found), height=4.2)
    for panel, (name, (Y, gap, parted)) in zip(np.atleast_1d(axes), found.items(), strict=True):
        for sense, colour, marker in (("institution", BLUE, "o"), ("riverside", ORANGE, "s")):
            own = [i for i, s in enumerate(senses) if s == sense]
            panel.scatter(*np.array(Y)[own].T, color=colour, marker=marker, s=60, label=sense)
        for i, (x, y) in enumerate(Y):
            panel.annotate(str(i + 1), (x, y), xytext=(5, 4), textcoords="offset points",
                           fontsize=8)
        panel.legend(fontsize=8)
        tidy(panel, f"{name}: gap {gap:.2f}, separation {parted:+.2f}", "first axis", "second axis")
    return figure


def minilm():
    """MiniLM as a SmallBert, or None where it was not fetched, or cannot be read here."""
    try:
        found = read_encoder(data.path("minilm"))
    except (data.DataError, RuntimeError):
        return None
    return small_bert.SmallBert(found.P, found.heads, found.tokenizer, None)


def minilm_figure():
    """The ten "bank" by MiniLM, now or as recorded -> Figure."""
    sentences, senses = bank_sentences()
    model = minilm()
    if model is None:
        return bank_figure({"MiniLM, recorded": RECORDED}, senses)
    return bank_figure({"MiniLM": summary(bank_vectors(model, sentences), senses)}, senses)


def gaps(model):
    """Gap of each of the text's words by each method -> dict method: list of float."""
    out = {}
    for word in WORDS:
        sentences, senses = occurrences(word)
        for name, X in seven_methods(word, [*sentences, "no such thing here"], model).items():
            out.setdefault(name, []).append(polysemy_gap(X, senses))
    return out


def cat_table(model, documents=None):
    """The text's comparison with real numbers -> list of lines, a method each."""
    documents = documents or data.load_texts()["cat_dog"]["documents"]
    lines = []
    for name, X in seven_methods("cat", documents, model).items():
        first, second = ("[" + ", ".join(f"{x:.3f}" for x in row[:3])
                         + (f", ... {len(row)}]" if len(row) > 3 else "]") for row in X)
        lines.append(f"{name:<13} {first:<34} {'the same' if first == second else second}")
    return lines


def tour():
    """The chapter in a few seconds: yields lines to print and (name, Figure) pairs."""
    model = small_bert.load()
    yield (f"a small BERT: {len(model.wordpiece):,} pieces, "
           f"{sum(x.size for x in model.P.values()):,} numbers, trained on the addresses")
    for text in BLANKS:
        (found,) = small_bert.fill_blanks(model, text, 3)
        yield f"{text}  ->  " + ", ".join(f"{piece} {p:.2f}" for piece, p in found)
    sentences, senses = bank_sentences()
    X = bank_vectors(model, sentences)
    yield (f"bank: gap {polysemy_gap(X, senses):.2f} from sense to sense, separation "
           f"{sense_separation(X, senses):+.2f}; a static vector has 0 and 0")
    yield "masks", mask_figure()
    yield "blanks", blanks_figure(model)
    before = bank_vectors(small_bert.untrained(model), sentences)
    yield "bank", bank_figure({"untrained": summary(before, senses),
                               "trained": summary(X, senses)}, senses)
    yield "attention", attention_figure(model, "The bank approved the loan.")
