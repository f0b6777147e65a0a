r"""Chapter 11. GloVe: vectors whose dot products are the logarithms of counts.

    J        = sum over X_ij > 0 of f(X_ij) e_ij^2,  e_ij = <w_i, c_j> + b_i + a_j - ln X_ij(11.1)
    f(x)     = min(1, (x / x_max)^alpha)                                                    (11.2)
    dJ/dw_i  = sum_j 2 f e_ij c_j,   dJ/db_i = sum_j 2 f e_ij;   c_j and a_j alike          (11.3)
    a step   u = rate g r,   p <- p - u,   r <- r / sqrt(1 + u^2),   r = 1 at first         (11.4)
    P(k | i) = X_ik / X_i;   ln P(k | i) / P(k | j) = <w_i - w_j, c_k> if e = 0, b_i = ln X_i(11.5)
    v_i      = w_i + c_i                                                                    (11.6)

Symbols     X, Y: CSR (V, V) counts of word i and context j, nnz of them above 0, X_i a row's sum;
            W, C: (V, d) vectors w_i of words, c_j of contexts (the text's w with a tilde);
            b, a: (V,) their biases; e an error, f its weight; p a number that is learned, g = f e c
            (or f e w, or f e) half of its gradient at one entry, r its share of the rate.
Sources     the text, lines 1296-1346, 1436-1446, 1556-1557; Pennington, Socher and Manning 2014
            (doi:10.3115/v1/D14-1162): equations 8, 9; Stanford's glove.c 1.2; Duchi, Hazan and
            Singer 2011 (AdaGrad).
We differ   The text names f and gives no formula (line 1557); (11.2) is the paper's.  It sums over
            all i, j: f(0) = 0, so only entries that are stored count (line 1337 has the cost of
            the others).  The paper has one rate; glove.c 1.2 has a rate of 1 for biases, and so do
            we.  glove.c keeps S = 1 / r^2, S <- S + (rate g)^2, which is (11.4); it limits each g
            to 100, which we do not; it shuffles the entries once, as we do.  Its cost, and ours in
            training, is the mean of f e^2 / 2: J / (2 nnz).
Relations   Exchange words and contexts, and X with its transpose: the same J.  So is it for
            b + t, a - t, for W A, C A^-T.  f = 1 and biases fixed: (10.4) of ln X.
            S = 1 / r^2: AdaGrad at rate 1 whose sum of squares starts at 1 / rate^2.
Kernels     kernels/ch11_glove_numba.py, kernels/ch11_glove.cu: adagrad_block; the former also
            counts blocks of a corpus and adds them up.
"""
import sys
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from primer.ch01_geometry import as_labels
from primer.ch03_bow import row_of_entry
from primer.ch06_word2vec import check_corpus
from primer.ch10_factorization import (
    add_up,
    check_positive,
    cooccurrence_inverse_distance,
    marginals,
)


def count_block(tokens, starts, V, window):
    """(10.1) by 1 / distance, of a corpus or a block of it: whole documents, starts from 0.  (T,)
    ids, (n + 1,) -> CSR (V, V) float64.  ValueError as chapter 6's check_corpus, or an id >= V."""
    tokens, starts = check_block_of_corpus(tokens, starts, V, window)
    return cooccurrence_inverse_distance(np.split(tokens, starts[1:-1]), V, window)


def check_block_of_corpus(tokens, starts, V, window):
    """-> tokens (T,), starts (n + 1,).  Raises ValueError as count_block."""
    tokens, starts, _ = check_corpus(tokens, starts, window)
    if np.ndim(window) or tokens.size and tokens.max() >= V:
        raise ValueError(f"tokens: expected ids from 0 to {V - 1} and one window, got "
                         f"{tokens.max(initial=0)}, {window}")
    return tokens, starts


def add_counts(X, Y):
    """Sum of two matrices.  CSR (V, V) twice -> CSR (V, V).  ValueError for unlike shapes."""
    check_alike(X, Y)
    V = X.shape[1]
    cells = np.concatenate([row_of_entry(M) * V + M.indices for M in (X, Y)])     # (nnz X + nnz Y,)
    return add_up(cells, np.concatenate([X.data, Y.data]), V)


def check_alike(X, Y):
    """Two matrices of one shape -> None; else ValueError."""
    if X.shape != Y.shape:
        raise ValueError(f"Y: expected shape {X.shape}, got {Y.shape}")


def sum_counts(parts, twin=None):
    """Sum of many matrices that come one by one.  CSR (V, V) each -> CSR (V, V).

    Those at hand at least double in size from last to first, so that an entry is copied only
    about log2(parts) times, and all of them take at most about twice the place of the sum.
    Raises ValueError if there is none.
    """
    module, waiting = twin or sys.modules[__name__], []
    for part in parts:
        waiting.append(part)
        while len(waiting) > 1 and waiting[-2].data.size < 2 * waiting[-1].data.size:
            waiting.append(module.add_counts(waiting.pop(-2), waiting.pop()))
    if not waiting:
        raise ValueError("parts: expected at least one matrix of counts, got none")
    while len(waiting) > 1:
        waiting.append(module.add_counts(waiting.pop(-2), waiting.pop()))
    return waiting[0]


def cooccurrence_weight(x, x_max=100.0, alpha=0.75):
    """f (11.2): rare counts are noisy, and no count has a say above 1.  (n,) counts -> (n,).

    Raises ValueError for a count below 0 or not finite, for x_max or alpha <= 0.
    """
    x = np.asarray(x, np.float64)
    check_positive(x_max, "x_max"), check_positive(alpha, "alpha")
    if not (np.isfinite(x).all() and np.all(x >= 0)):
        raise ValueError("x: expected finite counts of at least 0")
    return np.minimum(1, (x / x_max) ** alpha)                                    # (n,)  eq. 11.2


def errors(W, C, b, a, X):
    """e of each stored count (11.1).  (V, d), (V, d), (V,), (V,), CSR (V, V) -> (nnz,)."""
    i, j = row_of_entry(X), X.indices                                             # (nnz,), (nnz,)
    return np.einsum("ed,ed->e", W[i], C[j]) + b[i] + a[j] - np.log(X.data)       # eq. 11.1


def glove_loss(W, C, b, a, X, x_max=100.0, alpha=0.75):
    """J (11.1).  (V, d), (V, d), (V,), (V,), CSR (V, V) -> float.  Errors: marginals'."""
    marginals(X)
    return (cooccurrence_weight(X.data, x_max, alpha) * errors(W, C, b, a, X) ** 2).sum()


def glove_loss_grad(W, C, b, a, X, x_max=100.0, alpha=0.75, g=1.0):
    """Gradient of g J (11.3).  As glove_loss -> dW (V, d), dC (V, d), db (V,), da (V,)."""
    marginals(X)
    i, j = row_of_entry(X), X.indices                                             # (nnz,), (nnz,)
    each = 2 * g * cooccurrence_weight(X.data, x_max, alpha) * errors(W, C, b, a, X)
    dW, dC = np.zeros_like(W), np.zeros_like(C)                                   # (V, d), (V, d)
    np.add.at(dW, i, each[:, None] * C[j])                                        # eq. 11.3
    np.add.at(dC, j, each[:, None] * W[i])
    return dW, dC, np.bincount(i, each, len(W)), np.bincount(j, each, len(C))


class GloVe(NamedTuple):
    """words, contexts: (V, 2, d + 1).  [i, 0]: the vector and its bias; [i, 1]: r of each (11.4).

    What a step needs of a word lies side by side in memory.
    """

    words: np.ndarray
    contexts: np.ndarray


def initial_model(V, d, rng, dtype=np.float32):
    """As glove.c starts: uniform within 1 / (2 d) of 0, r = 1.  -> GloVe.  ValueError: V, d < 1."""
    if V < 1 or d < 1:
        raise ValueError(f"V, d: expected at least 1 word and 1 dimension, got {V}, {d}")
    model = GloVe(np.ones((V, 2, d + 1), dtype), np.ones((V, 2, d + 1), dtype))
    for part in model:
        part[:, 0] = rng.uniform(-0.5 / d, 0.5 / d, (V, d + 1))                   # (V, d + 1)
    return model


def parameters(model):
    """What (11.1) needs, as views.  GloVe -> W (V, d), C (V, d), b (V,), a (V,)."""
    words, contexts = model
    return words[:, 0, :-1], contexts[:, 0, :-1], words[:, 0, -1], contexts[:, 0, -1]


def word_vectors(model):
    """v (11.6): of a symmetric X both parts say the same but for chance.  GloVe -> (V, d)."""
    W, C, _, _ = parameters(model)
    return W + C                                                                  # (V, d)  eq. 11.6


def probability_ratios(X, i, j):
    """P(k | i) / P(k | j) of each k near both (11.5).  CSR (V, V) -> k (m,) rising, (m,).

    Raises ValueError for words that are none of the V.
    """
    as_labels([i, j], "i, j", X.shape[0])
    (ki, pi), (kj, pj) = ((X.indices[rows], X.data[rows] / X.data[rows].sum()) for rows in
                          (slice(*X.indptr[[w, w + 1]]) for w in (i, j)))         # eq. 11.5
    shared, at, other = np.intersect1d(ki, kj, assume_unique=True, return_indices=True)
    return shared, pi[at] / pj[other]                                             # (m,), (m,)


def predicted_ratios(model, i, j, k, totals):
    """The same from the vectors (11.5).  GloVe, two words, k (m,), X_i (V,) -> (m,).

    Biases are as they are: what b_i lacks of ln X_i is put right.
    """
    W, C, b, _ = parameters(model)
    own = b - np.log(totals)                                                      # (V,)
    return np.exp(C[k] @ (W[i] - W[j]) + own[i] - own[j])                         # (m,)  eq. 11.5


def shuffled_entries(X, rng, x_max=100.0, alpha=0.75):
    """What the steps need of each count, in random order.  CSR (V, V) -> rows, columns (nnz,)
    int32, ln X, f(X) (nnz,) float32.  Raises ValueError as marginals and cooccurrence_weight."""
    marginals(X)
    order = rng.permutation(X.data.size)                                          # (nnz,)
    counts = X.data[order]                                                        # (nnz,)
    return (row_of_entry(X).astype(np.int32)[order], X.indices[order],
            np.log(counts).astype(np.float32),
            cooccurrence_weight(counts, x_max, alpha).astype(np.float32))


def adagrad_step(word, context, log, weight, rate=0.05):
    """One step (11.4) for one entry.  Rows (2, d + 1) of a GloVe, ln X, f -> word, context after
    it, f e^2 / 2 before it."""
    (w, share), (c, other) = word, context                                        # (d + 1,) each
    rates = np.append(np.full(len(w) - 1, rate), 1).astype(w.dtype)               # (d + 1,)
    error = w[:-1] @ c[:-1] + w[-1] + c[-1] - log                                 # eq. 11.1
    dw, dc = (weight * error * np.append(p[:-1], 1) for p in (c, w))              # eq. 11.3
    u, v = rates * dw * share, rates * dc * other        # both before either moves
    return (np.stack([w - u, share / np.sqrt(1 + u * u)]),                        # eq. 11.4
            np.stack([c - v, other / np.sqrt(1 + v * v)]), 0.5 * weight * error ** 2)


def check_block(words, contexts, rows, columns, logs, weights, rate):
    """The arguments of adagrad_block -> rows, columns, logs, weights.  ValueError as there."""
    if words.ndim != 3 or words.shape[1] != 2 or words.shape[2] < 2:
        raise ValueError(f"words: expected shape (V, 2, d + 1), got {words.shape}")
    if contexts.ndim != 3 or contexts.shape[1:] != words.shape[1:] or contexts.dtype != words.dtype:
        raise ValueError(f"contexts: expected {words.dtype} rows of shape {words.shape[1:]}, got "
                         f"{contexts.dtype} {contexts.shape[1:]}")
    rows = as_labels(rows, "rows", len(words))
    columns = as_labels(columns, "columns", len(contexts), len(rows))
    for name, values in (("logs", logs), ("weights", weights)):
        if np.shape(values) != rows.shape or not np.isfinite(values).all():
            raise ValueError(f"{name}: expected {len(rows)} finite numbers, one for each row")
    check_positive(rate, "rate")
    return rows, columns, np.asarray(logs), np.asarray(weights)


def adagrad_block(words, contexts, rows, columns, logs, weights, rate=0.05):
    """One step (11.4) for each entry, in order; changes words and contexts IN PLACE.  (V, 2, d + 1)
    of a GloVe, twice, (m,) of shuffled_entries, four times -> sum of f e^2 / 2: float, m.

    Each cost is that before its step.  Raises ValueError for unlike shapes, ids out of range, NaN,
    a rate <= 0.
    """
    entries, cost = check_block(words, contexts, rows, columns, logs, weights, rate), 0.0
    for i, j, log, weight in zip(*entries, strict=True):
        words[i], contexts[j], own = adagrad_step(words[i], contexts[j], log, weight, rate)
        cost += own
    return float(cost), len(rows)


def train_glove(X, model, epochs, rng, rate=0.05, x_max=100.0, alpha=0.75, twin=None):
    """Fit (11.1) from a model, which stays as it is.  CSR (V, V) -> GloVe, history (epochs,): mean
    of f e^2 / 2, as it went.  twin: the module that runs, or None: this.

    Raises ValueError for a model of other words, and if the vectors grow without bound.
    """
    if not len(model.words) == X.shape[0] == X.shape[1] == len(model.contexts):
        raise ValueError(f"model: expected {X.shape} words and contexts, got {len(model.words)}, "
                         f"{len(model.contexts)}")
    module, history = twin or sys.modules[__name__], []
    model, entries = GloVe(*(part.copy() for part in model)), shuffled_entries(X, rng, x_max, alpha)
    for _ in tqdm(range(epochs), desc="epochs", leave=False, disable=None):
        cost, count = module.adagrad_block(*model, *entries, rate)
        if not np.isfinite(cost):
            raise ValueError(f"rate: with {rate} the vectors grow without bound; take less")
        history.append(cost / count)
    return model, np.array(history)
