"""Two tasks for a pretrained encoder, from the addresses: an early sentence, a capital letter.

Chapter 14's notebook shows them; each takes some seconds.
"""
import numpy as np

from primer import data
from primer.ch14_bert import (
    class_scores,
    class_scores_backward,
    finetuning_step,
    initial_heads,
    tag_scores,
    tag_scores_backward,
)
from primer.ch14_bert_encoder import encode
from primer.ch14_bert_vocabulary import CLS, SEP, split_words
from primer.ch14_bert_wordpiece import batch, split_word
from primer.training import small_bert
from primer.training.steps import train


def padded(rows, wordpiece):
    """Sentences with [CLS] and [SEP] -> ids (B, T), mask (B, T)."""
    cls, sep = wordpiece.ids[CLS], wordpiece.ids[SEP]
    return batch([[cls, *row, sep] for row in rows])


def finetune(model, name, rows, labels, scores, backward, steps=60, size=16, ops=None):
    """A new head of two classes, through the whole encoder -> P; labels: one a row, or a list."""
    P = {k: x.copy() for k, x in model.P.items()}
    P = initial_heads(P, np.random.default_rng(14), [(name, 2)])

    def step(P, rng):
        own = rng.integers(0, len(rows), size)
        ids, mask = padded([rows[i] for i in own], model.wordpiece)
        return finetuning_step(P, model.heads, (ids, mask, labels(own, ids.shape)), name, scores,
                               backward, ops=ops)
    train(P, step, steps, 1e-3)
    return P


def share_right(P, model, name, rows, wanted, scores, ops=None):
    """-> float; wanted as `labels` of finetune."""
    ids, mask = padded(rows, model.wordpiece)
    H, _ = encode(P, model.heads, ids, mask, ops=ops, keep=False)
    S, _ = scores(P, H, name)
    labels = np.ravel(wanted(np.arange(len(rows)), ids.shape))
    return float(np.mean(S.argmax(axis=1)[labels >= 0] == labels[labels >= 0]))


def century_sentences(model, held_out, every, least=8):
    """Some sentences of the addresses, each labelled 1 if it is from before 1900 -> rows, labels
    of finetune, as many of each century."""
    years = np.array([address["year"] for address in data.load_sotu()])
    texts, owners = small_bert.addresses(held_out)
    found = small_bert.cut_sentences(model.wordpiece, texts[::every], owners[::every])
    early = years[found.owners] < 1900
    long = np.array([len(row) >= least for row in found.rows])
    n = min(np.sum(early & long), np.sum(~early & long))
    own = np.concatenate([np.flatnonzero(kind & long)[:n] for kind in (early, ~early)])
    return [found.rows[i] for i in own], lambda at, shape: early[own[at]].astype(int)


def finetune_century(model, ops=None):
    """Before 1900 or not: share right of held-out sentences -> dict name: (before, after)."""
    rows, labels = century_sentences(model, False, 12)
    judged, wanted = century_sentences(model, True, 5)
    out = {}
    for name, start in (("pretrained", model), ("from scratch", small_bert.untrained(model))):
        after = finetune(start, "early", rows, labels, class_scores, class_scores_backward, ops=ops)
        before = initial_heads(start.P, np.random.default_rng(14), [("early", 2)])
        out[name] = tuple(share_right(P, model, "early", judged, wanted, class_scores, ops)
                          for P in (before, after))
    return out


def capital_rows(model, held_out, every):
    """Passages as pieces; 1 where a word was written with a capital, -1 where that says nothing: a
    passage's first word, all but a word's first piece, no letter -> rows, labels of finetune."""
    rows, tags = [], []
    for text in small_bert.addresses(held_out)[0][::every]:
        row, tag = [], []
        for word in split_words(text, lower=False)[:30]:
            pieces = split_word(word.lower(), model.wordpiece.ids)
            first = word[0].isupper() if row and word[0].isalpha() else -1
            row += [model.wordpiece.ids[p] for p in pieces]
            tag += [int(first), *[-1] * (len(pieces) - 1)]
        rows.append(row)
        tags.append(tag)

    def labels(at, shape):
        out = np.full(shape, -1)                                           # (B, T)
        for row, i in zip(out, at, strict=True):
            row[1:len(tags[i]) + 1] = tags[i]
        return out
    return rows, labels


def finetune_capitals(model, ops=None):
    """-> lines: how often right on held-out passages, and one of them."""
    rows, labels = capital_rows(model, False, 8)
    judged, wanted = capital_rows(model, True, 8)
    P = finetune(model, "capital", rows, labels, tag_scores, tag_scores_backward, ops=ops)
    right = share_right(P, model, "capital", judged, wanted, tag_scores, ops)
    answers = wanted(np.arange(len(judged)), padded(judged, model.wordpiece)[0].shape)
    ids, mask = padded(judged[:1], model.wordpiece)
    H, _ = encode(P, model.heads, ids, mask, ops=ops, keep=False)
    capital = tag_scores(P, H, "capital")[0].argmax(axis=1)
    pieces = [model.wordpiece.vocabulary[i] for i in ids[0]]
    text = " ".join(p.capitalize() if c and not p.startswith("##") else p
                    for p, c in zip(pieces[1:-1], capital[1:-1], strict=True)).replace(" ##", "")
    return [f"right {right:.1%}; always small would be right "
            f"{np.mean(answers[answers >= 0] == 0):.1%}", text]
