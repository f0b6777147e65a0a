r"""Chapter 7. Hierarchical softmax: a word's probability is that of the turns on its way.

    merge the two rarest nodes, f = f_a + f_b, until one is left: the root         Huffman  (7.1)
    p(w | h)  = prod_i sigma((1 - 2 d_i) s_i),   s_i = <u_i, h>                             (7.2)
    L         = -ln p(w | h) = sum_i ln(1 + exp(-(1 - 2 d_i) s_i))                          (7.3)
    dL/ds_i   = sigma(s_i) - (1 - d_i)                                                      (7.4)
    dL/du_i   = dL/ds_i h;   dL/dh = sum_i dL/ds_i u_i                                      (7.5)
    x        <- x - r dL/dx,  L the sum over the predictions of one place                   (7.6)

Symbols     V words, leaves of a binary tree, f_w > 0 the count of one; i runs over the l_w inner
            nodes on the path from the root to w, d_i is the turn there, 0 left and 1 right;
            u_i: (d,) a node's vector, row of N: (V - 1, d), the last the root's; U: (l, d) those of
            a path; v_w: (d,) row of W: (V, d); h: (d,) what predicts, n rows of H: (n, d); dH is
            dL/dH; sigma(x) = 1 / (1 + e^-x); T words in the corpus, c window, r rate.
Sources     the text, lines 923-950, 1284-1285; Huffman 1952; Morin and Bengio 2005; Mikolov et al.
            2013 (arXiv:1310.4546), eq. 3; Rong 2014 (arXiv:1411.2738), sec. 3.1; word2vec.c.
We differ   The text's l is once the inner nodes (line 932), once the nodes with the leaf (936),
            which it calls the path's length (940): a path of l steps has l + 1 nodes.  What it
            calls a loss (944) is the likelihood; (7.3) is the loss.  It credits Mikolov et al. with
            the method in line 922, and Morin and Bengio in line 924.  Of equally rare nodes leaves
            or inner ones may go first; as word2vec.c: inner ones, and of words the later in order
            of count; the first of the two is the left one.  word2vec.c moves the nodes after each
            neighbour, skips a turn with |s| >= 6 and rounds sigma to a table; ours takes all of
            a place's gradients from the same vectors, exactly.  As there, in skip-gram the
            neighbours predict the centre, over one path, and CBOW's mean hands all of dL/dh to
            each neighbour, where its slope is dL/dh / |C_t| (6.5; Irsoy et al. 2020).
Relations   sum_w p(w | h) = 1 for any N.  Sigma's turns: d -> 1 - d with u -> -u changes no p.
            With entropy H = -sum_w p_w log2 p_w of the counts: H <= mean l_w < H + 1; the longest
            path has V - 1 nodes (Fibonacci counts).
Kernels     kernels/ch07_hierarchical_softmax_numba.py, ch07_hierarchical_softmax.cu: the blocks.
"""
import sys
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from primer.ch01_geometry import as_labels, as_rows
from primer.ch06_word2vec import check_corpus, context_windows, falling_rates, windows_word2vec_c


class Tree(NamedTuple):
    """Word w's path from the root: nodes[indptr[w]:indptr[w + 1]], rows of N, and codes, its turns.

    indptr: (V + 1,) int64; nodes: (total,) int32; codes: (total,) int8, 0 or 1.
    """

    indptr: np.ndarray
    nodes: np.ndarray
    codes: np.ndarray


def check_counts(counts):
    """-> counts (V,) int64.  TypeError, raised for other than integers, ValueError for none, one
    below 1, or a sum of 2^63 or more."""
    counts = as_labels(counts, "counts", 2.0 ** 63)
    if not len(counts) or counts.min() < 1 or counts.sum(dtype=np.float64) >= 2.0 ** 63:
        raise ValueError("counts: expected one or more from 1, with a sum below 2^63")
    return counts


def merge_rarest(counts):
    """Huffman's tree (7.1) from two queues: words, rarest first, and inner nodes, oldest first.
    (V,) -> parents (2 V - 1,) of words and inner nodes, -1 the root's; turns (2 V - 1,)."""
    V = len(counts)
    order = np.argsort(-counts, kind="stable")                                    # (V,)
    weight = counts[order].tolist()
    parents, turns = [-1] * (2 * V - 1), [0] * (2 * V - 1)
    leaf, inner = V - 1, V                            # the heads of the two queues
    for new in range(V, 2 * V - 1):
        weight.append(0)
        for turn in (0, 1):
            if leaf >= 0 and (inner == new or weight[leaf] < weight[inner]):
                child, leaf = leaf, leaf - 1
            else:                                     # a tie: the inner node
                child, inner = inner, inner + 1
            weight[new] += weight[child]
            parents[child], turns[child] = new, turn
    return _in_order(order, parents), _in_order(order, turns)


def _in_order(order, values):
    """From words in order of their counts to words as they came."""
    out = np.array(values, np.int64)                                              # (2 V - 1,)
    out[order] = out[:len(order)].copy()
    return out


def paths_from_root(parents, turns):
    """Every word's path.  (2 V - 1,), (2 V - 1,) -> Tree.  All words climb at once."""
    V = (len(parents) + 1) // 2
    depth = np.zeros(len(parents), np.int64)                                      # (2 V - 1,)
    for node in range(2 * V - 3, V - 1, -1):          # parents come after their children
        depth[node] = depth[parents[node]] + 1
    depth[:V] = depth[parents[:V]] + (V > 1)
    indptr = np.cumsum([0, *depth[:V]])                                           # (V + 1,)
    nodes, codes = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int8)
    at, now = indptr[1:] - 1, np.arange(V)                                        # (V,), (V,)
    while (climbing := parents[now] >= 0).any():
        at, now = at[climbing], now[climbing]
        nodes[at], codes[at] = parents[now] - V, turns[now]
        at, now = at - 1, parents[now]
    return Tree(indptr, nodes, codes)


def huffman_tree(counts):
    """The tree (7.1) with the least mean path.  (V,) integers -> Tree.  Errors as check_counts."""
    return paths_from_root(*merge_rarest(check_counts(counts)))


def mean_path_length(counts, tree):
    """Turns of a prediction, on average over the corpus.  (V,), Tree -> float."""
    return float(counts @ np.diff(tree.indptr) / counts.sum())


def entropy_bits(counts):
    """H: no tree has a shorter mean path.  (V,) -> float."""
    p = counts / counts.sum()                                                     # (V,)
    return float(-(p @ np.log2(p)))


def sigmoid(x):
    """1 / (1 + e^-x), without overflow.  Any shape -> the same."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x):
    """ln(1 + e^x), without overflow: -ln sigma(-x).  Any shape -> the same."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def paths_of(words, tree):
    """The turns of several words, end to end.  (n,) -> owner (total,) in 0..n-1, nodes, codes."""
    words = np.asarray(words, np.int64)
    first, length = tree.indptr[words], tree.indptr[words + 1] - tree.indptr[words]      # (n,)
    owner = np.repeat(np.arange(len(words)), length)                              # (total,)
    at = np.arange(len(owner)) + np.repeat(first - np.cumsum(length) + length, length)
    return owner, tree.nodes[at], tree.codes[at]


def predict(H, N, words, tree):
    """-ln p(word | h) of each row (7.3).  (n, d), (V - 1, d), (n,) -> losses (n,), cache."""
    H, N = check_vectors(H, N, tree)
    words = as_labels(words, "words", len(tree.indptr) - 1, len(H))
    owner, nodes, codes = paths_of(words, tree)
    s = (H[owner] * N[nodes]).sum(axis=1)                                         # (total,)
    losses = np.zeros(len(H), H.dtype)                                            # (n,)
    np.add.at(losses, owner, softplus((2 * codes - 1) * s))                       # eq. 7.3
    return losses, (H, N, owner, nodes, codes, s)


def predict_backward(dlosses, cache):
    """(7.4), (7.5).  One number or (n,) -> dH (n, d), dN (V - 1, d)."""
    H, N, owner, nodes, codes, s = cache
    ds = sigmoid(s) - (1 - codes)                                                 # eq. 7.4
    ds *= np.broadcast_to(dlosses, len(H))[owner]                                 # (total,)
    dH, dN = np.zeros_like(H), np.zeros_like(N)
    np.add.at(dH, owner, ds[:, None] * N[nodes])                                  # eq. 7.5
    np.add.at(dN, nodes, ds[:, None] * H[owner])      # all paths share the root
    return dH, dN


def log_probabilities(H, N, tree):
    """ln p of every word (7.2).  (n, d), (V - 1, d) -> (n, V); exp of a row adds up to 1."""
    H, N = check_vectors(H, N, tree)
    V = len(tree.indptr) - 1
    owner, nodes, codes = paths_of(np.arange(V), tree)
    out = np.zeros((len(H), V), H.dtype)                                          # (n, V)
    np.subtract.at(out.T, owner, softplus((2 * codes - 1) * (H @ N.T)[:, nodes]).T)
    return out


def check_vectors(H, N, tree):
    """H (n, d) and N as arrays -> the same.  ValueError as as_rows, and for shapes that do not
    fit; TypeError for unlike dtypes."""
    H = as_rows(H, "H")
    N = as_rows(N, "N", H.shape[1])
    if len(N) != len(tree.indptr) - 2:
        raise ValueError(f"N: expected {len(tree.indptr) - 2} rows, one less than words, "
                         f"got {len(N)}")
    if H.dtype != N.dtype:
        raise TypeError(f"N: expected {H.dtype} as H, got {N.dtype}")
    return H, N


def check_block(W, N, tokens, starts, windows, rates, tree):
    """A block's arguments -> tokens, starts, windows, rates (T,) of W's dtype.  ValueError and
    TypeError name the one that is wrong.  W, N must be arrays: they are changed in place."""
    V = len(tree.indptr) - 1
    for name, X, rows in (("W", W, V), ("N", N, V - 1)):
        if not isinstance(X, np.ndarray) or X.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: expected an array of float32 or float64")
        if X.ndim != 2 or len(X) != rows or not X.shape[1] or X.shape[1] != W.shape[1]:
            raise ValueError(f"{name}: expected {rows} rows of equal length, got {X.shape}")
    if W.dtype != N.dtype:
        raise TypeError(f"N: expected {W.dtype} as W, got {N.dtype}")
    tokens, starts, windows = check_corpus(tokens, starts, windows)
    as_labels(tokens, "tokens", V)
    rates = np.asarray(rates)
    if rates.shape != tokens.shape or not np.isfinite(rates).all():
        raise ValueError(f"rates: expected {len(tokens)} finite numbers, got shape {rates.shape}")
    return tokens, starts, windows, rates.astype(W.dtype)


def place_loss_grad(H, U, codes):
    """All rows of H predict the word at the end of one path.  (m, d), its nodes' vectors (l, d),
    its turns (l,) -> sum of their losses (7.3), dH (m, d), dU (l, d), from one set of scores."""
    S = H @ U.T                                                                   # (m, l)
    G = sigmoid(S) - (1 - codes).astype(H.dtype)                                  # eq. 7.4
    loss = softplus((2 * codes - 1) * S).sum(dtype=np.float64)
    return loss, G @ U, G.T @ H                                                   # eq. 7.5


def skipgram_block(W, N, tokens, starts, windows, rates, tree):
    """Each neighbour predicts the word of its place; W and N change in place, place after place.
    (V, d), (V - 1, d), (T,), (documents + 1,), (T,), (T,), Tree -> sum of losses, pairs."""
    tokens, starts, windows, rates = check_block(W, N, tokens, starts, windows, rates, tree)
    indptr, contexts = context_windows(tokens, starts, windows)
    total = 0.0
    for t, word in enumerate(tokens):
        own = contexts[indptr[t]:indptr[t + 1]]                                   # (m,)
        _, nodes, codes = paths_of([word], tree)
        loss, dH, dU = place_loss_grad(W[own], N[nodes], codes)
        np.subtract.at(W, own, rates[t] * dH)         # eq. 7.6; a word may be there twice
        N[nodes] -= rates[t] * dU                     # a node is not
        total += loss
    return float(total), len(contexts)


def cbow_block(W, N, tokens, starts, windows, rates, tree):
    """The mean of its neighbours predicts each word; each of them takes the whole step of the mean,
    as in word2vec.c.  As skipgram_block -> sum of losses, windows that are not empty."""
    tokens, starts, windows, rates = check_block(W, N, tokens, starts, windows, rates, tree)
    indptr, contexts = context_windows(tokens, starts, windows)
    total, some = 0.0, np.flatnonzero(np.diff(indptr))                            # (windows,)
    for t in some:
        own = contexts[indptr[t]:indptr[t + 1]]                                   # (m,)
        _, nodes, codes = paths_of(tokens[[t]], tree)
        h = W[own].mean(axis=0, keepdims=True)                                    # (1, d)
        loss, dh, dU = place_loss_grad(h, N[nodes], codes)
        np.subtract.at(W, own, rates[t] * dh)         # all of it to each, as word2vec.c
        N[nodes] -= rates[t] * dU
        total += loss
    return float(total), len(some)


def initial_vectors(V, d, rng, dtype=np.float32):
    """As word2vec.c starts: W uniform within 1 / (2 d) of 0, N zero.  -> W (V, d), N (V - 1, d).
    Raises ValueError for V or d below 1."""
    if V < 1 or d < 1:
        raise ValueError(f"V, d: expected at least 1 word and 1 dimension, got {V} and {d}")
    W = rng.uniform(-0.5 / d, 0.5 / d, (V, d)).astype(dtype)                      # (V, d)
    return W, np.zeros((V - 1, d), dtype)


def train_skipgram(tokens, starts, W, N, tree, c, epochs, rng, rate=0.025, twin=None):
    """Skip-gram from W and N, which stay, with a window of 1 to c drawn at each place.
    -> W, N, history (epochs,): mean loss of a pair, as it went.  twin: the module that runs."""
    module = twin or sys.modules[__name__]
    return _train(module.skipgram_block, tokens, starts, W, N, tree, c, epochs, rng, rate)


def train_cbow(tokens, starts, W, N, tree, c, epochs, rng, rate=0.05, twin=None):
    """CBOW, as train_skipgram.  -> W, N, history (epochs,): mean loss of a window."""
    module = twin or sys.modules[__name__]
    return _train(module.cbow_block, tokens, starts, W, N, tree, c, epochs, rng, rate)


def _train(run_block, tokens, starts, W, N, tree, c, epochs, rng, rate):
    W, N, history = W.copy(), N.copy(), []
    for epoch in tqdm(range(epochs), desc="epochs", leave=False, disable=None):
        windows = windows_word2vec_c(len(tokens), c, rng)                         # (T,)
        rates = falling_rates(rate, epoch, epochs, len(tokens)).astype(np.float32)
        total, predictions = run_block(W, N, tokens, starts, windows, rates, tree)
        if not predictions:
            raise ValueError("tokens: no word has a neighbour")
        if not np.isfinite(total):
            raise ValueError(f"rate: with {rate} the vectors grow without bound; take less")
        history.append(total / predictions)
    return W, N, np.array(history)
