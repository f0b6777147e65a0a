r"""Chapter 8. Negative sampling: tell the words that are there from words drawn by chance.

    l(h, o, N) = -ln sig(<u_o, h>) - sum_{k in N, k not o} ln sig(-<u_k, h>)    one prediction (8.1)
    dl/ds_j    = sig(s_j) - [j = o];  dl/dh = sum_j dl/ds_j u_j;  dl/du_j = dl/ds_j h          (8.2)
    P(w)       = c_w^a / sum_w' c_w'^a,   a = 3/4                          the noise           (8.3)
    q(w)       = min(1, sqrt(t / f_w)),   f_w = c_w / N         kept, of an occurrence of w    (8.4)
    score(a b) = (c_ab - delta) / (c_a c_b)                     how much of a phrase           (8.5)
    x         <- x - r dl/dx  for all rows of a place at once,  r = rate max(1 - done, 1/10000)(8.6)

Symbols     T places, N words of the corpus before any is thinned out, V different ones, c_w: (V,)
            counts, f_w frequencies; v_w, u_w: (d,) rows of W, U: (V, d); h: (d,) predicts the word
            o; K words drawn as noise, N in (8.1), s_j = <u_j, h>, S their matrix, sig the sigmoid;
            m words in a place's window of c to each side, H: (m, d) their rows, G: (m, K + 1) the
            dl/ds; p: (V,) is P; t threshold, delta discount; r a step, done the share that is over.
Sources     the text, lines 951-1012, 1226-1229; Mikolov et al. 2013 (arXiv:1310.4546), sec. 2, 4;
            Vose 1991 (alias table); Recht et al. 2011 (Hogwild); Irsoy et al. 2020; word2vec.c.
We differ   One set of K words serves all m predictions of a place: three small matrix products;
            word2vec.c draws anew for each.  As there, each neighbour's v predicts the centre, and a
            draw that is o itself is skipped.  The text's discard probability (line 1000) is
            negative where f_w < t; (8.4) stops at 1.  word2vec.c's CBOW averages and hands all of
            dl/dh to each v_w, as cbow_block does; cbow_block_irsoy divides it (6.5).  Its sigmoid
            is a table that is 0.494 at 0; ours is exact.  word2phrase.c multiplies (8.5) by N.
Relations   With a = 1, (8.1) is least at s = PMI - ln K (10.3); skipping draws of o adds
            -ln(1 - p(o | v)).  With one word in the window CBOW is skip-gram.
Kernels     kernels/ch08_negative_sampling_numba.py, kernels/ch08_negative_sampling.cu.
"""
import sys
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from primer.ch01_geometry import as_labels
from primer.ch06_word2vec import (
    check_corpus,
    check_pairs,
    context_windows,
    count_vocabulary,
    initial_vectors,
    windows_word2vec_c,
)
from primer.ch07_hierarchical_softmax import sigmoid


def pair_loss(W, U, inputs, outputs, negatives):
    """(8.1), summed.  (V, d), (V, d), (n,) ids of v, (n,) ids o, (n, K) ids -> float."""
    return _pairs(W, U, inputs, outputs, negatives)[3].sum()


def pair_loss_grad(W, U, inputs, outputs, negatives, g=1.0):
    """Gradient of g l (8.2).  Arguments as pair_loss -> dW (V, d), dU (V, d)."""
    H, words, G, _ = _pairs(W, U, inputs, outputs, negatives)
    dW, dU = np.zeros_like(W), np.zeros_like(U)                                   # (V, d), (V, d)
    np.add.at(dW, inputs, g * np.einsum("nk,nkd->nd", G, U[words]))               # eq. 8.2
    np.add.at(dU, words, g * G[:, :, None] * H[:, None, :])     # a word drawn twice counts twice
    return dW, dU


def _pairs(W, U, inputs, outputs, negatives):
    W, U, inputs, outputs = check_pairs(W, U, inputs, outputs)
    words = np.column_stack([outputs, check_negatives(negatives, len(outputs), len(U))])
    losses, G = judge(np.einsum("nd,nkd->nk", W[inputs], U[words]), words)        # (n, K + 1)
    return W[inputs], words, G, losses


def judge(S, words):
    """Losses (8.1) and dl/ds (8.2) of scores, column 0 the right word's; draws of it do not count.
    (m, K + 1), ids (m or 1, K + 1) -> (m,), (m, K + 1)."""
    right = np.arange(S.shape[1]) == 0                                            # (K + 1,)
    skip = (words == words[:, :1]) & ~right                                       # (m, K + 1)
    losses = np.logaddexp(0, np.where(right, -S, S))                              # (m, K + 1)
    G = (sigmoid(S) - right).astype(S.dtype)                                      # eq. 8.2
    return np.where(skip, 0, losses).sum(axis=1), np.where(skip, 0, G)


def noise_distribution(counts, power=0.75):
    """P (8.3); power 0 is uniform, 1 as in the corpus.  (V,) -> (V,) float64, sum 1.  Raises
    ValueError for counts that are negative, not finite or all 0."""
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
        raise ValueError("counts: expected (V,) numbers from 0, not all 0")
    weights = np.where(counts > 0, counts, 0) ** power * (counts > 0)             # 0^0 is 0 here
    return weights / weights.sum()


def alias_table(p):
    """A column for each word, its lower part its own, the rest another's.  (V,) -> thresholds (V,)
    uint32: the lower part in 2^-32; aliases (V,) int32.  ValueError if p does not sum to 1."""
    p = np.asarray(p, np.float64)
    if p.ndim != 1 or not p.size or not p.min() >= 0 or not abs(p.sum() - 1) < 1e-9:
        raise ValueError("p: expected (V,) probabilities of sum 1")
    height, aliases = p * len(p), np.arange(len(p))                               # (V,), (V,)
    low, high = (np.flatnonzero((height < 1) == small).tolist() for small in (True, False))
    while low and high:
        small, large = low.pop(), high[-1]
        aliases[small] = large
        height[large] -= 1 - height[small]              # what fills the small one's column
        if height[large] < 1:
            low.append(high.pop())
    height[low + high] = 1                              # what is left differs by rounding only
    aliases[low + high] = low + high
    return np.minimum(height * 2 ** 32, 2 ** 32 - 1).astype(np.uint32), aliases.astype(np.int32)


def draw_noise(table, shape, rng):
    """Words by an alias table: 32 bits choose the column, 32 its part.  -> shape, int32."""
    thresholds, aliases = table
    bits = rng.integers(0, 2 ** 64, shape, np.uint64)
    column = (bits >> np.uint64(32)) * np.uint64(len(aliases)) >> np.uint64(32)   # in 0..V-1
    return np.where(bits.astype(np.uint32) < thresholds[column], column,
                    aliases[column]).astype(np.int32)


def keep_probability(counts, threshold=1e-5):
    """q (8.4), of the text and the paper.  (V,) counts, N their sum -> (V,) float64 in [0, 1]."""
    return np.minimum(1, np.sqrt(_rarity(counts, threshold)))                     # eq. 8.4


def keep_probability_word2vec_c(counts, threshold=1e-3):
    """sqrt(t / f) + t / f, at most 1: a little more than (8.4).  As keep_probability -> (V,)."""
    rarity = _rarity(counts, threshold)                                           # (V,)  t / f_w
    return np.minimum(1, np.sqrt(rarity) + rarity)


def _rarity(counts, threshold):
    if not threshold > 0:
        raise ValueError(f"threshold: expected a number above 0, got {threshold}")
    return threshold / np.maximum(noise_distribution(counts, 1), 1e-300)          # (V,)


def subsample(tokens, starts, keep, rng):
    """Thin out frequent words, before windows are cut: these reach further then.  (T,), (n + 1,),
    (V,) -> tokens (T',), starts (n + 1,), places (T',) int64: where each was before."""
    kept = rng.random(len(tokens), np.float32) < keep.astype(np.float32)[tokens]  # (T,)
    places = np.flatnonzero(kept)                                                 # (T',)
    return tokens[places], np.append(0, np.cumsum(kept))[starts], places


def check_negatives(negatives, rows, V):
    """-> (rows, K) int32.  ValueError, raised for another shape, K = 0, or no ids of V words."""
    if np.ndim(negatives) != 2 or len(negatives) != rows or not np.shape(negatives)[1]:
        raise ValueError(f"negatives: expected ({rows}, K), K from 1, got {np.shape(negatives)}")
    as_labels(np.ravel(negatives), "negatives", V)
    return np.ascontiguousarray(negatives, np.int32)


def check_block(W, U, tokens, starts, windows, rates, negatives):
    """-> the same, as arrays.  Raises ValueError for W, U that cannot be changed in place or are
    unlike, and for a corpus, rates or negatives that do not fit."""
    for name, X in (("W", W), ("U", U)):
        if not (isinstance(X, np.ndarray) and X.ndim == 2 and X.size and X.flags.carray and X.dtype
                == W.dtype and X.dtype in (np.float32, np.float64) and X.shape == W.shape):
            raise ValueError(f"{name}: expected an array (V, d) of floats, writeable, U as W")
    tokens, starts, windows = check_corpus(tokens, starts, windows)
    as_labels(tokens, "tokens", len(W))
    rates = np.ascontiguousarray(rates, W.dtype)
    if rates.shape != tokens.shape or not np.isfinite(rates).all():
        raise ValueError(f"rates: expected {tokens.shape} finite numbers, got {rates.shape}")
    return W, U, tokens, starts, windows, rates, check_negatives(negatives, len(tokens), len(W))


def skipgram_block(W, U, tokens, starts, windows, rates, negatives):
    """(8.6) place by place; W and U are changed in place.  (V, d), (V, d), (T,), (n + 1,), (T,),
    (T,), (T, K): one set a place -> sum of losses before the steps, number of predictions."""
    return _steps(lambda H: (H, 1), W, U, tokens, starts, windows, rates, negatives)


def cbow_block(W, U, tokens, starts, windows, rates, negatives):
    """The window's mean predicts the centre; each of its words takes all of dl/dh, as in
    word2vec.c.  Arguments as skipgram_block -> sum of losses, number of predictions."""
    return _steps(lambda H: (H.mean(axis=0)[None], 1), W, U, tokens, starts, windows, rates,
                  negatives)


def cbow_block_irsoy(W, U, tokens, starts, windows, rates, negatives):
    """The same down the true slope: each word takes dl/dh / m (6.5).  As cbow_block -> the same."""
    return _steps(lambda H: (H.mean(axis=0)[None], 1 / len(H)), W, U, tokens, starts, windows,
                  rates, negatives)


def _steps(inputs, *arguments):
    W, U, tokens, starts, windows, rates, negatives = check_block(*arguments)
    indptr, contexts = context_windows(tokens, starts, windows)
    total, count = 0.0, 0
    for t in np.flatnonzero(np.diff(indptr)):
        own, words = contexts[indptr[t]:indptr[t + 1]], np.append(tokens[t], negatives[t])
        H, share = inputs(W[own])                                                 # (m or 1, d)
        losses, G = judge(H @ U[words].T, words[None])                            # (m or 1, K + 1)
        G *= rates[t]
        np.subtract.at(W, own, share * (G @ U[words]))                            # eq. 8.6
        np.subtract.at(U, words, G.T @ H)
        total, count = total + float(losses.sum()), count + len(H)
    return total, count


def falling_rate(rate, done):
    """r when a share of the whole training is over (8.6).  (T,) -> (T,) float32."""
    return (rate * np.maximum(1 - done, 1e-4)).astype(np.float32)


def block_bounds(starts, size):
    """Cut a corpus into runs of whole documents of about `size` tokens.  (n + 1,) -> bounds."""
    ends = np.arange(size, starts[-1], size)
    return np.unique([0, *np.searchsorted(starts, ends), len(starts) - 1])


def draw_block(tokens, starts, keep, table, c, K, seed, twin=None, windows=windows_word2vec_c):
    """All that chance decides in a block, by a seed such as (seed, epoch, block).  tokens (T,),
    starts (n + 1,) -> tokens (T',), starts, windows (T',), negatives (T', K), places (T',)."""
    module, rng = twin or sys.modules[__name__], np.random.default_rng(seed)
    tokens, starts, places = module.subsample(tokens, starts, keep, rng)
    reach, negatives = windows(T := len(tokens), c, rng), module.draw_noise(table, (T, K), rng)
    return tokens, starts, reach, negatives, places


def train_skipgram(tokens, starts, W, U, c, K, epochs, seed, rate=0.025, twin=None, **more):
    """Skip-gram, from W and U.  -> new W, new U, history (epochs,): mean loss of a prediction, as
    it went.  more: sample (inf keeps all words), power, size (of a block, in tokens), windows."""
    return _train("skipgram_block", tokens, starts, W, U, c, K, epochs, seed, rate, twin, **more)


def train_cbow(tokens, starts, W, U, c, K, epochs, seed, rate=0.05, twin=None, **more):
    """CBOW, as train_skipgram.  -> new W, new U, history (epochs,)."""
    return _train("cbow_block", tokens, starts, W, U, c, K, epochs, seed, rate, twin, **more)


def _train(name, tokens, starts, W, U, c, K, epochs, seed, rate, twin, sample=1e-3, power=0.75,
           size=100_000, windows=windows_word2vec_c):
    run, W, U, history = getattr(twin or sys.modules[__name__], name), W.copy(), U.copy(), []
    counts = np.bincount(tokens, minlength=len(W))                                # (V,)
    keep, table = keep_probability_word2vec_c(counts, sample), alias_table(
        noise_distribution(counts, power))
    runs = list(pairwise(block_bounds(starts, size)))
    for epoch in tqdm(range(epochs), desc="epochs", leave=False, disable=None):
        totals = np.zeros(2)                            # losses, predictions
        for block, (a, b) in enumerate(runs):
            first, own = starts[a], starts[a:b + 1] - starts[a]
            *drawn, negatives, places = draw_block(tokens[first:starts[b]], own, keep, table, c, K,
                                                   (seed, epoch, block), twin, windows)
            done = (epoch + (first + places) / len(tokens)) / epochs              # (T',)
            totals += run(W, U, *drawn, falling_rate(rate, done), negatives)
        if not totals[1] or not np.isfinite(totals[0]):
            raise ValueError(f"rate: with {rate} the vectors grow without bound; take less"
                             if totals[1] else "tokens: no word has a neighbour")
        history.append(totals[0] / totals[1])
    return W, U, np.array(history)


def phrase_score(both, first, second, delta, N=1):
    """(8.5); N: 1 in the paper, the number of words in word2phrase.c.  (n,) each -> (n,)."""
    return N * (both - delta) / (first * second)                                  # eq. 8.5


def find_phrases(tokens, starts, V, delta, threshold):
    """Pairs of neighbours that score more than the threshold, with word2phrase.c's N.  (T,),
    (n + 1,) -> pairs (P, 2), scores (P,), the best first; ties by the words' ids."""
    tokens, starts, _ = check_corpus(tokens, starts, 1)
    inside = ~np.isin(np.arange(1, len(tokens)), starts)    # (T - 1,)  the next is in one document
    keys, both = np.unique((tokens[:-1] * V + tokens[1:])[inside], return_counts=True)
    pairs = np.column_stack(np.divmod(keys, V))                                   # (pairs, 2)
    scores = phrase_score(both, *np.bincount(tokens)[pairs].T, delta, len(tokens))
    best = np.argsort(-scores, kind="stable")[:np.sum(scores > threshold)]
    return pairs[best], scores[best]


def merge_phrases(tokens, starts, pairs, V):
    """From the left, each pair that is a phrase becomes one word, pairs[i] the word V + i.
    (T,), (n + 1,), (P, 2) -> tokens (T',), starts (n + 1,)."""
    tokens, starts, _ = check_corpus(tokens, starts, 1)
    names = {a * V + b: V + i for i, (a, b) in enumerate(pairs.tolist())}
    inside, keys = ~np.isin(np.arange(1, len(tokens)), starts), tokens[:-1] * V + tokens[1:]
    merged, stays, last = tokens.copy(), np.ones(len(tokens), bool), -2           # (T,), (T,)
    for t in np.flatnonzero(inside & np.isin(keys, list(names))):
        if t > last + 1:                                # a b c: of two that overlap, the first
            merged[t], stays[t + 1], last = names[keys[t]], False, t
    return merged[stays], np.append(0, np.cumsum(stays))[starts]


def join_phrases(tokens, starts, words, delta=5, thresholds=(100, 100)):
    """A pass for each threshold: the second finds phrases of up to four words.  words: V str ->
    tokens, starts, words; new words at the end, joined by _."""
    for threshold in thresholds:
        pairs, _ = find_phrases(tokens, starts, len(words), delta, threshold)
        tokens, starts = merge_phrases(tokens, starts, pairs, len(words))
        words = [*words, *(f"{words[a]}_{words[b]}" for a, b in pairs)]
    return tokens, starts, words


def add_words(W, U, vocabulary, documents, rng, min_count=1):
    """Rows for words that the vocabulary lacks, to go on with new documents.  (V, d), (V, d),
    dict word: id, n str -> W, U with the old rows as they were, vocabulary grown."""
    new = [w for w in count_vocabulary(documents, min_count)[0] if w not in vocabulary]
    more = initial_vectors(len(new), W.shape[1], rng, W.dtype)                    # (new, d) twice
    grown = vocabulary | {w: len(vocabulary) + i for i, w in enumerate(new)}
    return np.concatenate([W, more[0]]), np.concatenate([U, more[1]]), grown
