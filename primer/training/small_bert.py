"""A small BERT, trained from scratch on the State of the Union addresses of datasets/.

    python -m tests.makers.small_bert           trains it and writes datasets/small_bert.npz

Chapter 14's notebook, claims and figures use what that wrote: `load()`.
"""
import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from kernels import twin
from primer import data
from primer.ch06_word2vec import initial_vectors
from primer.ch08_negative_sampling import train_skipgram
from primer.ch14_bert import (
    initial_heads,
    mask_tokens,
    mlm_scores,
    pair_texts,
    pretraining_step,
)
from primer.ch14_bert_encoder import encode, initial_array, initial_encoder
from primer.ch14_bert_vocabulary import CLS, MASK, SEP, SPECIAL
from primer.ch14_bert_wordpiece import WordPiece, batch
from primer.training.steps import train

SENTENCE = re.compile(r"(?<=[.!?;:])\s+")
HELD_OUT = 20                        # every 20th address is for judging alone
PIECES = 30                          # of a sentence; longer ones are cut into several
ALONE = 0.25                         # share of texts that are one sentence, not two
AVERAGED = 20                        # steps in a row of the history that is stored


class Sentences(NamedTuple):
    """Sentences as ids, in the order of the addresses; owners: the address of each."""

    rows: list
    owners: np.ndarray
    wordpiece: WordPiece


class SmallBert(NamedTuple):
    """P: arrays of the encoder and its heads; history: losses, a row is the mean of 20 steps."""

    P: dict
    heads: int
    wordpiece: WordPiece
    history: np.ndarray


def addresses(held_out=False):
    """Passages of the addresses to learn from, or of those to be judged by  ->  list of str, list
    of address numbers."""
    found = [(text, number) for number, address in enumerate(data.load_sotu())
             for text in address["paragraphs"] if (number % HELD_OUT == HELD_OUT // 2) == held_out]
    return [text for text, _ in found], [number for _, number in found]


def cut_sentences(wordpiece, texts, owners, most=PIECES):
    """Passages to sentences of at most `most` pieces  ->  Sentences."""
    rows, own = [], []
    for text, owner in zip(texts, owners, strict=True):
        for sentence in SENTENCE.split(text):
            ids = np.array(wordpiece.encode(sentence)[1:-1], np.int32)            # (pieces,)
            for start in range(0, len(ids), most):
                rows.append(ids[start:start + most])
                own.append(owner)
    return Sentences(rows, np.array(own), wordpiece)


def draw_batch(sentences, size, rng, share=0.15):
    """Pairs, half of them as they follow each other, and some sentences alone (their `follows` is
    -1), masked  ->  what pretraining_step takes."""
    rows, owners, wordpiece = sentences
    n = len(rows)
    first, other, lots = rng.integers(0, n - 1, size), rng.integers(0, n, size), rng.random(size)
    same = owners[first] == owners[first + 1]
    follows = np.where(rng.random(size) < 0.5, 1, 0) * same
    other = np.where(owners[other] == owners[first], (other + n // 2) % n, other)
    second = np.where(follows == 1, first + 1, other)
    follows = np.where(lots < ALONE, -1, follows)
    cls, sep = wordpiece.ids[CLS], wordpiece.ids[SEP]
    pairs = [pair_texts(rows[i], rows[j], cls, sep) if kind >= 0 else
             (np.concatenate([[cls], rows[i], [sep]]), np.zeros(len(rows[i]) + 2, np.int32))
             for i, j, kind in zip(first, second, follows, strict=True)]
    ids, mask = batch([ids for ids, _ in pairs])                                  # (B, T)
    segments, _ = batch([segments for _, segments in pairs])
    inputs, places, labels = mask_tokens(ids, rng, len(wordpiece), wordpiece.ids[MASK],
                                         special_ids(wordpiece), share)
    return inputs, mask, segments, places, labels, follows


def special_ids(wordpiece):
    """The ids that are never hidden or drawn  ->  list of int."""
    return [wordpiece.ids[piece] for piece in SPECIAL]


def frequencies(sentences):
    """Share of each piece, one more of each  ->  (V,) float64."""
    counts = 1 + np.bincount(np.concatenate(sentences.rows),
                             minlength=len(sentences.wordpiece))                  # (V,)
    return counts / counts.sum()


def start(sentences, d=128, layers=2, seed=14, epochs=2):
    """A model before BERT's training  ->  P.

    Three minutes are short, so it begins better than BERT did: the pieces' vectors are chapter 8's
    skip-gram over the same sentences, the positions are sinusoids, the layers' matrices as large as
    BERT's are for their width, and all scores those of the frequencies.
    """
    rng = np.random.default_rng(seed)
    V, N = len(sentences.wordpiece), 2 * PIECES + 3
    P = initial_heads(initial_encoder(V, N, d, layers, 4 * d, rng), rng)
    for name, x in P.items():
        if x.ndim > 1 and name[0].isdigit():
            x *= np.sqrt(768 / d)
    tokens, starts = np.concatenate(sentences.rows), np.cumsum([0, *map(len, sentences.rows)])
    W, _, _ = train_skipgram(tokens, starts, *initial_vectors(V, d, rng), 5, 5, epochs, seed,
                             rate=0.05, twin=twin("ch08_negative_sampling", "numba"))
    W -= W.mean(axis=0)
    P["tokens"][:] = 0.04 / W.std() * W
    angles = np.arange(N)[:, None] * 30.0 ** (-2 * np.arange(d // 2) / d)         # (N, d / 2)
    P["positions"][:] = 0.04 * np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    P["mlm.bias"][:] = np.log(frequencies(sentences))
    return P


def pretrain(P, heads, sentences, steps, size=32, rate=2e-3, seed=14, file=None, ops=None):
    """MLM and next sentences, P in place  ->  history (steps, 2).  Of each sentence 30 % are hidden
    (Wettig et al. 2023): twice the guesses of BERT's 15 % for nearly the same work."""
    def step(P, rng):
        return pretraining_step(P, heads, draw_batch(sentences, size, rng, 0.3), ops=ops)
    return train(P, step, steps, rate, warmup=0.03, seed=seed, file=file, ops=ops)


def judge(P, heads, held_out, p, batches=40, size=32, seed=0, ops=None):
    """Hidden pieces of addresses never seen, with the model and with frequencies p alone  ->  dict:
    cross-entropy in nats and share of right first guesses, of both."""
    rng, losses, hits = np.random.default_rng(seed), [], []
    for _ in range(batches):
        inputs, mask, segments, places, labels, _ = draw_batch(held_out, size, rng)
        H, _ = encode(P, heads, inputs, mask, segments, ops=ops, keep=False)
        S, _ = mlm_scores(P, H, places, ops)
        most = S.max(axis=1, keepdims=True)                                       # (m, 1)
        right = S[np.arange(len(S)), labels] - most[:, 0]
        losses.append([np.log(np.exp(S - most).sum(axis=1)) - right, -np.log(p[labels])])
        hits.append([S.argmax(axis=1) == labels, labels == p.argmax()])
    (ours, unigram), (hit, common) = (np.concatenate(x, axis=1).mean(axis=1)
                                      for x in (losses, hits))
    return {"masked": sum(len(x[0]) for x in losses), "cross_entropy": float(ours),
            "unigram_cross_entropy": float(unigram), "accuracy": float(hit),
            "unigram_accuracy": float(common)}


def fill_blanks(model, text, k=5):
    """What the model expects at each [MASK] of a text  ->  a list a blank: (piece, probability)."""
    ids = np.array([model.wordpiece.encode(text)])                                # (1, T)
    places = np.flatnonzero(ids == model.wordpiece.ids[MASK])
    if not len(places):
        raise ValueError(f"text: expected a {MASK} in it, got {text!r}")
    H, _ = encode(model.P, model.heads, ids, keep=False)
    S, _ = mlm_scores(model.P, H, places)
    E = np.exp(S - S.max(axis=1, keepdims=True))                                  # (m, V)
    E /= E.sum(axis=1, keepdims=True)
    return [[(model.wordpiece.vocabulary[i], float(row[i]))
             for i in np.argsort(-row, kind="stable")[:k]] for row in E]


def untrained(model, seed=14):
    """The same sizes before training  ->  SmallBert."""
    rng = np.random.default_rng(seed)
    return model._replace(P={name: initial_array(name, x.shape, rng)
                             for name, x in model.P.items()})


def save(file, model):
    """One .npz: half precision, and the vocabulary, a piece a line."""
    words = np.frombuffer("\n".join(model.wordpiece.vocabulary).encode(), np.uint8)
    np.savez_compressed(file, vocabulary=words, heads=model.heads,
                        history=model.history.astype(np.float32),
                        **{f"P/{k}": x.astype(np.float16) for k, x in model.P.items()})


def load(file=None):
    """What save wrote, by itself that of datasets/  ->  SmallBert, P in float32."""
    return _load(file or data.path("small_bert"))


@lru_cache(2)
def _load(file):
    with np.load(file, allow_pickle=False) as stored:
        vocabulary = stored["vocabulary"].tobytes().decode().split("\n")
        P = {k[2:]: stored[k].astype(np.float32) for k in stored.files if k.startswith("P/")}
        return SmallBert(P, int(stored["heads"]), WordPiece(vocabulary), stored["history"])
