r"""Chapter 13. What training a language model needs: sentences side by side, and steps of AdaGrad.

    S <- S + q^2,   p <- p - rate q / sqrt(S),   q = dL/dp min(1, largest / |dL|)           (13.6)

Symbols     p a parameter, x: an array of them, dx: its gradient, S: as x, the sums of squares,
            small at first; |dL| the length of all gradients together; n sequences, B of them side
            by side, up to T words long: ids (T, B), lengths (B,).
Sources     bilm-tf, the code of Peters et al. 2018 (arXiv:1802.05365): rate 0.2, largest 10; Duchi,
            Hazan and Singer 2011; Pascanu, Mikolov and Bengio 2013 (arXiv:1211.5063): clipping.
We differ   bilm-tf's S starts at 1, but its gradient is that of 20 L, the steps of its windows;
            ours is that of L, and S starts lower.
Relations   (11.4) takes a root of S from before q came in; here, in bilm-tf and in torch, q is in.
            largest = infinity: no clipping.
Kernels     kernels/ch13_elmo_numba.py: adagrad, in one pass.
"""
import math

import numpy as np

from primer.ch03_bow import tokenize
from primer.ch06_word2vec import count_vocabulary

START, STOP, UNKNOWN = "<s>", "</s>", "<unk>"


def language_vocabulary(sentences, min_count=2):
    """Start, stop and unknown, then the words that occur min_count times, frequent first.  n str
    -> dict word: id.  ValueError as count_vocabulary."""
    words, _ = count_vocabulary(sentences, min_count)
    return {word: i for i, word in enumerate([START, STOP, UNKNOWN, *words])}


def encode_sentence(sentence, vocabulary):
    """Ids of a sentence between its marks; a word that is not known is <unk>.  -> (m + 2,)."""
    unknown = vocabulary[UNKNOWN]
    ids = (vocabulary.get(word, unknown) for word in tokenize(sentence))
    return np.array([vocabulary[START], *ids, vocabulary[STOP]], np.int64)        # (m + 2,)


def pad(sequences):
    """Sequences side by side, 0 below the shorter ones.  B arrays -> ids (T, B), lengths (B,).

    Raises ValueError for no sequence, or only empty ones.
    """
    lengths = np.array([len(s) for s in sequences], np.int64)                     # (B,)
    if not lengths.any():
        raise ValueError("sequences: expected some words, got none")
    ids = np.zeros((lengths.max(), len(lengths)), np.int64)                       # (T, B)
    for column, s in zip(ids.T, sequences, strict=True):
        column[:len(s)] = s
    return ids, lengths


def sentence_batches(sequences, B):
    """B sequences of about one length in each batch: little padding.  n arrays -> list of (ids,
    lengths)."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    return [pad([sequences[i] for i in order[at:at + B]]) for at in range(0, len(order), B)]


def stream_batches(tokens, B, T):
    """One text cut into B pieces that are read side by side, in windows of T predictions: each
    begins with the last word of the one before.  (n,) -> list of (ids (T + 1, B), lengths).

    A rest of less than B words is left out.  Raises ValueError for a text below 2 B words.
    """
    length = len(tokens) // B
    if length < 2 or T < 1:
        raise ValueError(f"tokens, T: expected {2 * B} words and 1, or more; got {len(tokens)}, "
                         f"{T}")
    columns = np.asarray(tokens, np.int64)[:length * B].reshape(B, length).T      # (n / B, B)
    windows = [columns[at:at + T + 1] for at in range(0, length - 1, T)]
    return [(ids, np.full(B, len(ids))) for ids in windows]


def clip_factor(grads, largest):
    """What makes all gradients together no longer than `largest` (13.6).  dict -> float; NaN for a
    gradient that is not finite.  Raises ValueError for largest <= 0."""
    if not largest > 0:
        raise ValueError(f"largest: expected a number above 0, got {largest}")
    length = math.sqrt(sum(float(np.vdot(x, x)) for x in grads.values()))
    return min(1.0, largest / length) if 0 < length < math.inf else 1.0 if length == 0 else math.nan


def adagrad(x, dx, S, rate, factor=1.0):
    """A step (13.6) with factor dx; x and S change IN PLACE.  Three arrays of one shape -> None.

    Raises ValueError for unlike shapes or a rate <= 0.
    """
    check_step(x, dx, S, rate)
    q = x.dtype.type(factor) * dx
    S += q * q
    x -= x.dtype.type(rate) * q / np.sqrt(S)                                      # eq. 13.6


def check_step(x, dx, S, rate):
    """The arguments of adagrad -> None.  ValueError as there."""
    if not x.shape == dx.shape == S.shape:
        raise ValueError(f"dx, S: expected shape {x.shape}, got {dx.shape}, {S.shape}")
    if not (x.flags.c_contiguous and S.flags.c_contiguous):
        raise ValueError("x, S: expected arrays in C's order")
    if not 0 < rate < np.inf:
        raise ValueError(f"rate: expected a finite number above 0, got {rate}")
