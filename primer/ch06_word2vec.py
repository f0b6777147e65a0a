r"""Chapter 6. Word2vec: learn a word's vector by predicting the words around it.

    p(j | h) = exp(s_j) / sum_k exp(s_k),   s_j = <u_j, h>    softmax over all V words       (6.1)
    L        = -1/T sum_t sum_{0 < |j| <= c} ln p(w_{t+j} | v_{w_t})              skip-gram  (6.2)
    L        = -1/n sum_t ln p(w_t | h_t),  h_t = 1/|C_t| sum_{w in C_t} v_w      CBOW       (6.3)
    dL/ds_j  = p(j | h) - [j = o]     of one prediction's L = -ln p(o | h)                   (6.4)
    dL/du_j  = dL/ds_j h;  dL/dh = sum_j dL/ds_j u_j;  in CBOW dL/dv_w = dL/dh / |C_t|       (6.5)
    x       <- x - r dL/dx,  r = rate max(1 - done, 1/10000)     a step of descent           (6.6)

Symbols     T words in the corpus, w_t the t-th; V different ones, d dimensions; v_w, u_w: (d,) a
            word's input and output vector, the rows of W, U: (V, d); c window, in words on each
            side; C_t the words within c of w_t in its document, without w_t; o the word to predict,
            h: (d,) what predicts it, n rows of H: (n, d), with scores S: (n, V); dH is dL/dH; done:
            the share of all steps that is over.
Sources     the text, lines 615-922; Mikolov et al. 2013 (arXiv:1301.3781), sec. 3, and
            (arXiv:1310.4546), eq. 1, 2; Rong 2014 (arXiv:1411.2738); word2vec.c.
We differ   The text's vectors are columns of W (line 728); by its own shapes v_w is a row (798).
            In line 805 one i names the word and runs through the sum; (6.1) has j and k.  L is the
            negative of its objective, no inverse (887).  T counts places, not pairs; offsets beyond
            a document's ends are skipped; n in (6.3) leaves out words without neighbours.
            word2vec.c predicts the centre from each neighbour; for CBOW it averages but adds the
            whole dL/dh to each v_w, as Gensim does (Irsoy et al. 2020, arXiv:2012.15332).
Relations   With one word in C_t (6.3) is (6.2).  v -> A v, u -> A^-T u leave all p as they are.
Kernels     kernels/ch06_word2vec_numba.py, ch06_word2vec.cu have the windows and the epochs.
"""
import sys
from collections import Counter

import numpy as np
from tqdm import tqdm

from primer.ch01_geometry import as_labels, as_rows, nearest
from primer.ch03_bow import check_documents, encode, tokenize


def count_vocabulary(documents, min_count=1):
    """Words that occur min_count times or more, frequent first, ties by first appearance.  n str
    -> dict word: id, counts (V,) int64.  Raises ValueError if there is no such word."""
    counts = Counter(word for d in check_documents(documents) for word in tokenize(d))
    kept = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: -counts[w])
    if not kept:
        raise ValueError(f"documents: no word occurs {min_count} times or more")
    return {w: i for i, w in enumerate(kept)}, np.array([counts[w] for w in kept], np.int64)


def encode_corpus(documents, vocabulary):
    """n str -> tokens (T,) int64 ids, starts (n + 1,): text i is tokens[starts[i]:starts[i + 1]].
    Unknown words are left out: windows reach across.  ValueError, raised if no word is known."""
    lists = [encode(tokenize(d), vocabulary) for d in check_documents(documents)]
    starts = np.cumsum([0, *map(len, lists)], dtype=np.int64)                     # (n + 1,)
    if not starts[-1]:
        raise ValueError("documents: none of their words is in the vocabulary")
    return np.concatenate(lists), starts                                          # (T,)


def windows_word2vec_c(T, c, rng):
    """At each of T places a window from 1 to c, all alike probable: near words count more.
    -> (T,) int64.  Raises ValueError for c < 1."""
    if c < 1:
        raise ValueError(f"window: expected at least 1, got {c}")
    return rng.integers(1, c + 1, T)


def check_corpus(tokens, starts, window):
    """-> tokens (T,), starts (n + 1,), windows (T,), from one or T.  ValueError for bad ones."""
    tokens = as_labels(tokens, "tokens", np.inf)
    starts = as_labels(starts, "starts", len(tokens) + 1)
    if not len(starts) or starts[0] or starts[-1] != len(tokens) or np.any(np.diff(starts) < 0):
        raise ValueError(f"starts: expected 0, rising, up to the {len(tokens)} tokens")
    if np.asarray(window).dtype.kind not in "iu" or np.any(np.less(window, 1)):
        raise ValueError(f"window: expected whole numbers from 1, got {window}")
    return tokens, starts, np.broadcast_to(np.asarray(window, np.int64), tokens.shape)


def context_windows(tokens, starts, window):
    """C_t of each place.  (T,), (n + 1,), one window or (T,) -> indptr (T + 1,), contexts (pairs,)
    int64: place t has contexts[indptr[t]:indptr[t + 1]].  ValueError as check_corpus."""
    tokens, starts, window = check_corpus(tokens, starts, window)
    indptr, pieces = np.zeros(len(tokens) + 1, np.int64), [tokens[:0]]            # (T + 1,)
    for first, stop in zip(starts, starts[1:], strict=False):
        for t in range(first, stop):
            pieces += [tokens[max(t - window[t], first):t],                       # (<= c,)
                       tokens[t + 1:min(t + window[t] + 1, stop)]]                # (<= c,)
            indptr[t + 1] = indptr[t] + len(pieces[-2]) + len(pieces[-1])
    return indptr, np.concatenate(pieces)


def skipgram_pairs(tokens, starts, window):
    """Each word with each of its neighbours.  As context_windows -> centres, contexts (pairs,).
    A document of m > c words gives 2 c m - c (c + 1) pairs."""
    indptr, contexts = context_windows(tokens, starts, window)
    return np.repeat(np.asarray(tokens, np.int64), np.diff(indptr)), contexts


def cbow_windows(tokens, starts, window):
    """Each word that has neighbours, and these.  As context_windows -> targets (n,), indptr
    (n + 1,), contexts (pairs,): targets[i] has contexts[indptr[i]:indptr[i + 1]]."""
    indptr, contexts = context_windows(tokens, starts, window)
    some = np.diff(indptr) > 0                                                    # (T,)
    return np.asarray(tokens, np.int64)[some], np.append(0, indptr[1:][some]), contexts


def logsumexp(S):
    """ln sum exp of each row: without its largest score, which could overflow.  (n, V) -> (n,)."""
    m = S.max(axis=-1, keepdims=True)                                             # (n, 1)
    return m[..., 0] + np.log(np.exp(S - m).sum(axis=-1))                         # (n,)


def softmax(S):
    """Probabilities of each row (6.1).  (n, V) -> (n, V)."""
    E = np.exp(S - S.max(axis=-1, keepdims=True))                                 # (n, V)
    return E / E.sum(axis=-1, keepdims=True)


def predict(H, U, words):
    """-ln p(word | h) of each row (6.1).  (n, d), (V, d), (n,) ids -> losses (n,), cache."""
    S = H @ U.T                                                                   # (n, V)
    return logsumexp(S) - S[np.arange(len(S)), words], (H, U, words, S)


def predict_backward(dlosses, cache):
    """(6.4), (6.5).  One number or (n,) -> dH (n, d), dU (V, d)."""
    H, U, words, S = cache
    dS = softmax(S)                                                               # (n, V)
    dS[np.arange(len(S)), words] -= 1                                             # eq. 6.4
    dS *= np.reshape(dlosses, (-1, 1))
    return dS @ U, dS.T @ H                                                       # eq. 6.5


def skipgram_loss(W, U, centres, contexts, T):
    """(6.2) over the pairs of a corpus of T words.  (V, d), (V, d), (pairs,), (pairs,) -> float."""
    W, U, centres, contexts = check_pairs(W, U, centres, contexts)
    return predict(W[centres], U, contexts)[0].sum() / T                          # eq. 6.2


def skipgram_loss_grad(W, U, centres, contexts, T, g=1.0):
    """Gradient of g L (6.2).  Arguments as skipgram_loss -> dW (V, d), dU (V, d)."""
    W, U, centres, contexts = check_pairs(W, U, centres, contexts)
    dH, dU = predict_backward(g / T, predict(W[centres], U, contexts)[1])
    dW = np.zeros_like(W)                                                         # (V, d)
    np.add.at(dW, centres, dH)              # dW[centres] += dH keeps one of equal words only
    return dW, dU


def share_mean(indptr):
    """1 / |C_t|: the vectors of a window are averaged (6.3).  (n + 1,) -> (n,)."""
    return 1 / np.diff(indptr)


def share_sum(indptr):
    """1: they are added up; line 744 has both.  (n + 1,) -> (n,)."""
    return np.ones(len(indptr) - 1)


def context_vectors(W, indptr, contexts, share=share_mean):
    """h_t of each window (6.3).  (V, d), (n + 1,), (pairs,) -> H (n, d), cache."""
    owner = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))                # (pairs,)
    each = share(indptr).astype(W.dtype)[:, None]                                 # (n, 1)
    H = np.zeros((len(each), W.shape[1]), W.dtype)                                # (n, d)
    np.add.at(H, owner, W[contexts])
    return H * each, (W.shape, owner, contexts, each)


def context_vectors_backward(dH, cache):
    """Each word of a window gets its share of dh (6.5).  (n, d) -> dW (V, d)."""
    shape, owner, contexts, each = cache
    dW = np.zeros(shape, dH.dtype)                                                # (V, d)
    np.add.at(dW, contexts, (dH * each)[owner])     # a word twice in a window gets it twice
    return dW


def cbow_loss(W, U, targets, indptr, contexts, share=share_mean):
    """(6.3).  (V, d), (V, d), (n,), (n + 1,), (pairs,) -> float."""
    W, U, targets, indptr, contexts = check_windows(W, U, targets, indptr, contexts)
    return predict(context_vectors(W, indptr, contexts, share)[0], U, targets)[0].mean()


def cbow_loss_grad(W, U, targets, indptr, contexts, g=1.0, share=share_mean):
    """Gradient of g L (6.3).  Arguments as cbow_loss -> dW (V, d), dU (V, d)."""
    W, U, targets, indptr, contexts = check_windows(W, U, targets, indptr, contexts)
    H, cache = context_vectors(W, indptr, contexts, share)
    dH, dU = predict_backward(g / len(targets), predict(H, U, targets)[1])
    return context_vectors_backward(dH, cache), dU


def check_pairs(W, U, centres, contexts):
    """Skip-gram's arguments as arrays -> the same.  Raises ValueError for W, U of unlike shapes or
    dtypes or with NaN, and for ids out of range."""
    W = as_rows(W, "W", least=1)
    U = as_rows(U, "U", W.shape[1])
    if len(U) != len(W) or U.dtype != W.dtype:
        raise ValueError(f"U: expected {W.dtype} {W.shape} as W, got {U.dtype} {U.shape}")
    centres = as_labels(centres, "centres", len(W))
    return W, U, centres, as_labels(contexts, "contexts", len(W), len(centres))


def check_windows(W, U, targets, indptr, contexts):
    """CBOW's arguments as arrays -> the same.  Raises ValueError as check_pairs, for no target, and
    for one without a context."""
    W, U, targets, _ = check_pairs(W, U, targets, targets)
    contexts = as_labels(contexts, "contexts", len(W))
    indptr = as_labels(indptr, "indptr", len(contexts) + 1, len(targets) + 1)
    if not len(targets) or indptr[0] or indptr[-1] != len(contexts) or np.diff(indptr).min() < 1:
        raise ValueError(f"indptr: expected 0 to {len(contexts)}, a context or more for a target")
    return W, U, targets, indptr, contexts


def predict_step(h, U, word, rate):
    """One step (6.6) of U, in place, for one prediction.  (d,), (V, d) -> its loss, dh (d,)."""
    scores = U @ h                                                                # (V,)
    error = softmax(scores)                                                       # (V,)
    error[word] -= 1                                                              # eq. 6.4
    dh = error @ U                          # (d,)  eq. 6.5, from U before its step
    U -= rate * np.outer(error, h)                                                # eq. 6.6
    return logsumexp(scores) - scores[word], dh


def _rates(rates, n, W):
    return as_rows(np.reshape(rates, (n, 1)), "rates")[:, 0].astype(W.dtype)      # (n,)


def skipgram_epoch(W, U, centres, contexts, rates):
    """One step a pair, in order.  As skipgram_loss, (pairs,) rates -> W, U, losses before steps."""
    W, U, centres, contexts = check_pairs(W, U, centres, contexts)
    W, U, rates = W.copy(), U.copy(), _rates(rates, len(centres), W)
    losses = np.empty(len(centres))                                               # (pairs,)
    for i, v in enumerate(centres):
        losses[i], dh = predict_step(W[v], U, contexts[i], rates[i])
        W[v] -= rates[i] * dh                                                     # eq. 6.6
    return W, U, losses


def cbow_epoch(W, U, targets, indptr, contexts, rates, share=share_mean):
    """One step a window, in order.  As cbow_loss, (n,) rates -> new W, new U, losses (n,)."""
    W, U, targets, indptr, contexts = check_windows(W, U, targets, indptr, contexts)
    W, U, rates = W.copy(), U.copy(), _rates(rates, len(targets), W)
    each, losses = share(indptr).astype(W.dtype), np.empty(len(targets))          # (n,), (n,)
    for i, word in enumerate(targets):
        own = contexts[indptr[i]:indptr[i + 1]]                                   # (|C|,)
        losses[i], dh = predict_step(each[i] * W[own].sum(axis=0), U, word, rates[i])
        np.subtract.at(W, own, rates[i] * each[i] * dh)                           # eq. 6.6
    return W, U, losses


def falling_rates(rate, epoch, epochs, n):
    """Learning rates of the n steps of an epoch, counted from 0 (6.6).  -> (n,)."""
    done = (epoch + np.arange(n) / max(n, 1)) / epochs                            # (n,)
    return rate * np.maximum(1 - done, 1e-4)                                      # eq. 6.6


def initial_vectors(V, d, rng, dtype=np.float32):
    """As word2vec.c starts: W uniform within 1 / (2 d) of 0, U zero.  -> W (V, d), U (V, d)."""
    return rng.uniform(-0.5 / d, 0.5 / d, (V, d)).astype(dtype), np.zeros((V, d), dtype)


def train_skipgram(tokens, starts, W, U, c, epochs, rng, rate=0.025, windows=None, twin=None):
    """Skip-gram, from W and U.  -> W, U, history (epochs,): mean loss of a pair, as it went.
    windows: draws those of each epoch, or None: c; twin: the module that runs, or None: this."""
    module = twin or sys.modules[__name__]
    return _train(module.skipgram_pairs, module.skipgram_epoch, tokens, starts, W, U, c, epochs,
                  rng, rate, windows)


def train_cbow(tokens, starts, W, U, c, epochs, rng, rate=0.05, windows=None, twin=None):
    """CBOW, as train_skipgram.  -> W, U, history (epochs,): mean loss of a window, as it went."""
    module = twin or sys.modules[__name__]
    return _train(module.cbow_windows, module.cbow_epoch, tokens, starts, W, U, c, epochs, rng,
                  rate, windows)


def _train(examples, run_epoch, tokens, starts, W, U, c, epochs, rng, rate, windows):
    history = []
    for epoch in tqdm(range(epochs), desc="epochs", leave=False, disable=None):
        batch = examples(tokens, starts, windows(len(tokens), c, rng) if windows else c)
        if not len(batch[0]):
            raise ValueError("tokens: no word has a neighbour")
        W, U, losses = run_epoch(W, U, *batch, falling_rates(rate, epoch, epochs, len(batch[0])))
        if not np.isfinite(losses).all():
            raise ValueError(f"rate: with {rate} the vectors grow without bound; take less")
        history.append(losses.mean())
    return W, U, np.array(history)


def train_hybrid(tokens, starts, W, U, c, epochs, rng, rates=(0.05, 0.025),
                 windows=None, twin=None):
    """CBOW for epochs[0], then skip-gram from its vectors for epochs[1] (line 883); rates alike.
    Otherwise as train_skipgram.  -> W, U, histories: a pair of arrays."""
    W, U, first = train_cbow(tokens, starts, W, U, c, epochs[0], rng, rates[0], windows, twin)
    W, U, then = train_skipgram(tokens, starts, W, U, c, epochs[1], rng, rates[1], windows, twin)
    return W, U, (first, then)


def nearest_words(word, vocabulary, W, k=5):
    """The k words of largest cosine, without the word itself.  str, dict, (V, d) -> list of (str,
    float).  Raises KeyError for an unknown word."""
    if word not in vocabulary:
        raise KeyError(f"{word!r} is none of the {len(vocabulary)} words")
    words, (own,) = sorted(vocabulary, key=vocabulary.get), encode([word], vocabulary)
    (found,), (cosines,) = nearest(W[[own]], W, k + 1)
    return [(words[i], float(s)) for i, s in zip(found, cosines, strict=True) if i != own][:k]
