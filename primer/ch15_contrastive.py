r"""Chapter 15. Contrastive learning: tell a text's partner from all other texts of the batch.

    s_ij     = <q_i, c_j> / tau                                                         (15.1)
    L        = 1/n sum_i ( ln sum_{j in N_i} exp(s_ij)  -  s_ii )                       (15.2)
    dL/ds_ij = ( p_ij - [i = j] ) / n,   p_i = softmax of s_i over N_i                  (15.3)
    z        = x / |x|,     dL/dx = ( dL/dz - <dL/dz, z> z ) / |x|                      (15.4)
    mean pooling  x = sum_t m_t h_t / sum_t m_t;   CLS  h_1;   max  max over m_t = 1    (15.5)
    SimCSE   L of q_i = x_i / |x_i|, c_j = y_j / |y_j|: two dropout masks, one text     (15.6)

Symbols     n queries; candidate i of m >= n is the positive of query i, the others are in-batch
            negatives, from n on hard ones; N_i: i, and all candidates not of its group (a text
            that stands in a batch twice is not its own negative); d dimensions, tau temperature.
            Q: (n, d), C: (m, d); X, Y, Z: (n, d) vectors of texts; H: (B, T, d) states h_t of B
            texts, m_t their mask; dX, dZ: the loss's gradient by X, Z; P: parameters of chapter
            14's encoder; k negatives wanted.
Sources     the text, lines 1637-1671, 1832-1840, 2016-2030, 2108-2139.  (15.2) van den Oord et al.
            2018 (arXiv:1807.03748), in the batch: Henderson et al. 2017, sec. 4.4
            (arXiv:1705.00652).  (15.6) Gao et al. 2021, eq. 4 (arXiv:2104.08821).  dpr: Karpukhin
            et al. 2020, eq. 2 (arXiv:2004.04906).  hard_negatives: Moreira et al. 2024, sec. 3.2
            (arXiv:2407.15831), their margin.  Hybrid: Gao et al., sec. 4.1.
We differ   The text's SimCSE (2115) sums over z_j, the queries themselves, where SimCSE has z_j^+:
            what is divided is then no term of the sum, probabilities do not add up to 1, and a
            batch of one costs (1 - cos) / tau in place of 0.  Its mean (2136) divides by T, ours by
            the tokens that are there.  EmbeddingGemma's mask (1839) is 0 for equal queries; taken
            literally also for j = i: a group never leaves out its own query's positive.
            Gao et al. put an MLP above [CLS] in training only; here a pooled state is the vector.
Relations   (15.2) is chapter 6's softmax loss with texts for words.  With tau -> 0 it becomes the
            largest violation max_j s_ij - s_ii.  Losses of pairs and of triples, and what (15.2)
            does to the sphere, alignment and uniformity: primer/ch15_contrastive_heads.py.
Kernels     kernels/ch15_contrastive_numba.py, ch15_contrastive.cu: (15.2) and its gradient with no
            n x m matrix.
"""
import sys

import numpy as np
from tqdm import tqdm

from primer import ch14_bert_wordpiece as wordpiece
from primer.ch06_word2vec import logsumexp, softmax
from primer.ch14_bert_encoder import encode, encode_backward
from primer.ch14_bert_layers import adam_state, adam_step, clip_norm, warmup_rate


def check_batch(Q, C, tau, groups):
    """What all back ends refuse.  Q: (n, d), C: (m, d) -> Q, C of one dtype, tau, groups.
    Raises ValueError, which names the argument."""
    Q, C = (np.asarray(x) for x in (Q, C))
    dtype = np.float32 if Q.dtype == C.dtype == np.float32 else np.float64
    for name, x in (("Q", Q), ("C", C)):
        if x.ndim != 2 or not x.size or not np.isfinite(x).all():
            raise ValueError(f"{name}: expected rows of finite numbers, got shape {x.shape}"
                             + ", NaN or infinity among them" * (x.ndim == 2 and x.size > 0))
    if C.shape[1] != Q.shape[1] or len(C) < len(Q):
        raise ValueError(f"C: expected at least {len(Q)} rows of {Q.shape[1]} numbers, the first "
                         f"ones the queries' positives, got shape {C.shape}")
    if not 0 < tau < np.inf:
        raise ValueError(f"tau: expected a temperature above 0, got {tau}")
    groups = np.arange(len(C)) if groups is None else np.asarray(groups)
    if groups.shape != (len(C),) or groups.dtype.kind not in "iu":
        raise ValueError(f"groups: expected {len(C)} integers, one a row of C, got {groups!r}")
    return Q.astype(dtype, copy=False), C.astype(dtype, copy=False), float(tau), groups


def scores(Q, C, tau, groups=None):
    """All scores (15.1); -inf where a candidate is left out of N_i.  -> (n, m)."""
    Q, C, tau, groups = check_batch(Q, C, tau, groups)
    n = len(Q)
    others = groups[:n, None] != groups                          # (n, m)
    np.fill_diagonal(others, True)                               # a positive always counts
    return np.where(others, Q @ C.T / tau, Q.dtype.type(-np.inf))                    # eq. 15.1


def info_nce(Q, C, tau, groups=None):
    """The loss (15.2): minus the log-probability of the positive, a mean of queries.  -> float."""
    S = scores(Q, C, tau, groups)                                # (n, m)
    return float((logsumexp(S) - np.diagonal(S)).mean())         # eq. 15.2


def info_nce_grad(Q, C, tau, groups=None, g=1.0):
    """The loss, and the gradient of g times it (15.3).  -> float, dQ (n, d), dC (m, d)."""
    S = scores(Q, C, tau, groups)                                # (n, m)
    n, m = S.shape
    dS = g * (softmax(S) - np.eye(n, m, dtype=S.dtype)) / n      # (n, m)  eq. 15.3
    loss = float((logsumexp(S) - np.diagonal(S)).mean())
    return loss, dS @ np.asarray(C) / tau, dS.T @ np.asarray(Q) / tau


def dpr(Q, positives, negatives):
    """Dense passage retrieval: (15.2) of plain dot products, tau = 1, where each query's hard
    negatives serve the whole batch.  (n, d), (n, d), (h, d) -> float."""
    return info_nce(Q, np.concatenate([positives, negatives]), 1.0)


def dpr_grad(Q, positives, negatives, g=1.0):
    """The loss, and the gradient of g times it.  -> float, dQ, dpositives, dnegatives."""
    loss, dQ, dC = info_nce_grad(Q, np.concatenate([positives, negatives]), 1.0, g=g)
    return loss, dQ, dC[:len(positives)], dC[len(positives):]


def unit_vectors(X):
    """Each row at length 1 (15.4).  (n, d) -> Z (n, d), cache.  Raises ValueError for a zero."""
    norms = np.linalg.norm(X, axis=-1, keepdims=True)            # (n, 1)
    if not np.all(norms > 0):
        raise ValueError("X: a row of zeros, or NaN, has no direction")
    Z = X / norms                                                # (n, d)  eq. 15.4
    return Z, (Z, norms)


def unit_vectors_backward(dZ, cache):
    """What of dZ lies across z, over the length (15.4).  (n, d) -> dX (n, d)."""
    Z, norms = cache
    return (dZ - (dZ * Z).sum(axis=-1, keepdims=True) * Z) / norms                   # eq. 15.4


def simcse(X, Y, tau=0.05):
    """(15.6) of two views of the same texts, not yet at unit length.  (n, d) twice -> float."""
    return info_nce(unit_vectors(X)[0], unit_vectors(Y)[0], tau)


def simcse_grad(X, Y, tau=0.05, g=1.0, twin=None):
    """The loss, and the gradient of g times it, through both views.  -> float, dX, dY (n, d)."""
    (Q, own), (C, other) = unit_vectors(X), unit_vectors(Y)
    loss, dQ, dC = (twin or sys.modules[__name__]).info_nce_grad(Q, C, tau, g=g)
    return loss, unit_vectors_backward(dQ, own), unit_vectors_backward(dC, other)


# From the states of a text's tokens to one vector.

def check_mask(H, mask):
    """Which states count.  H: (B, T, d), mask: (B, T) or None: all -> (B, T) bool.
    Raises ValueError for another shape, and for a text without a token."""
    mask = np.ones(H.shape[:2], bool) if mask is None else np.asarray(mask, bool)    # (B, T)
    if H.ndim != 3 or mask.shape != H.shape[:2]:
        raise ValueError(f"mask: expected shape {H.shape[:2]} of H {H.shape}, got {mask.shape}")
    if not mask.any(axis=1).all():
        raise ValueError(f"mask: text {np.argmin(mask.any(axis=1))} has no token to pool")
    return mask


def mean_pool(H, mask=None):
    """The mean of the states that are there (15.5).  (B, T, d), (B, T) -> (B, d), cache."""
    mask = check_mask(H, mask)
    shares = (mask / mask.sum(axis=1, keepdims=True)).astype(H.dtype)                # (B, T)
    return np.einsum("bt,btd->bd", shares, H), shares            # eq. 15.5


def mean_pool_backward(dX, shares):
    """Each state that is there gets its share.  (B, d) -> (B, T, d)."""
    return shares[:, :, None] * dX[:, None, :]


def cls_pool(H, mask=None):
    """The state of the first token, [CLS] (15.5).  (B, T, d) -> (B, d), cache."""
    check_mask(H, mask)
    return H[:, 0].copy(), H.shape


def cls_pool_backward(dX, shape):
    """All of it to the first token.  (B, d) -> (B, T, d)."""
    dH = np.zeros(shape, dX.dtype)                               # (B, T, d)
    dH[:, 0] = dX
    return dH


def max_pool(H, mask=None):
    """The largest of each dimension (15.5).  (B, T, d), (B, T) -> (B, d), cache."""
    mask = check_mask(H, mask)
    places = np.where(mask[:, :, None], H, -np.inf).argmax(axis=1)[:, None]          # (B, 1, d)
    return np.take_along_axis(H, places, axis=1)[:, 0], (places, H.shape)


def max_pool_backward(dX, cache):
    """Each dimension's to the token that gave it, the first of equal ones.  -> (B, T, d)."""
    places, shape = cache
    dH = np.zeros(shape, dX.dtype)                               # (B, T, d)
    np.put_along_axis(dH, places, dX[:, None], axis=1)
    return dH


MEAN = mean_pool, mean_pool_backward
CLS = cls_pool, cls_pool_backward
MAX = max_pool, max_pool_backward


def hard_negatives(Q, C, positives, k, gap=-np.inf):
    """The k candidates nearest to each query, its positive aside.  positives: (n,) rows of C
    -> (n, k), nearest first; ties: the lower.

    gap: who does not stay so far below the positive's score may be a positive that nobody marked,
    and is left out.  Raises ValueError where fewer than k are left.
    """
    S = np.asarray(Q) @ np.asarray(C).T                          # (n, m)
    rows = np.arange(len(S))
    out = S + gap > S[rows, positives][:, None]                  # (n, m)
    out[rows, positives] = True
    if (left := (~out).sum(axis=1)).min() < k or k < 1:
        raise ValueError(f"k: expected 1 to {left.min()}, as many as query {left.argmin()} has "
                         f"candidates, got {k}")
    return np.argsort(np.where(out, np.inf, -S), axis=1, kind="stable")[:, :k]


# Training chapter 14's encoder.

def padded(texts):
    """Lists of token ids -> ids (B, T) int32, padded by 0, mask (B, T) bool.  ValueError: empty."""
    if not len(texts) or not all(len(text) for text in texts):
        raise ValueError("texts: expected one or more, each with a token")
    return wordpiece.batch(texts)                                # eq. 14.20


def embed(P, heads, texts, pool=MEAN, ops=None, batch=256):
    """Unit vectors of texts, lists of token ids, without dropout -> (n, d)."""
    order = np.argsort([len(t) for t in texts], kind="stable")
    out = np.empty((len(texts), P["tokens"].shape[1]), P["tokens"].dtype)            # (n, d)
    for first in range(0, len(order), batch):
        own = order[first:first + batch]
        ids, mask = padded([texts[i] for i in own])
        H, _ = encode(P, heads, ids, mask, ops=ops, keep=False)
        out[own] = unit_vectors(pool[0](H, mask)[0])[0]
    return out


def simcse_step(P, heads, ids, mask, tau, dropout, rng, pool=MEAN, ops=None, twin=None):
    """A batch, twice through the encoder with different dropout masks (15.6).
    ids, mask: (B, T) -> loss, gradients as P.  Raises ValueError for a batch of one."""
    B = len(ids)
    if B < 2:
        raise ValueError("ids: a batch of one has no negatives; give two texts or more")
    both = np.concatenate([mask, mask])                          # (2 B, T)
    H, layers = encode(P, heads, np.concatenate([ids, ids]), both, rate=dropout, rng=rng, ops=ops)
    X, cache = pool[0](H, both)                                  # (2 B, d)
    loss, *grads = simcse_grad(X[:B], X[B:], tau, twin=twin)
    return loss, encode_backward(pool[1](np.concatenate(grads), cache), layers)


def hybrid(contrastive, masked, weight):
    """Both objectives: L + weight L_masked.  Two of (loss, gradients) -> loss, gradients."""
    (loss, grads), (other, more) = contrastive, masked
    grads = dict(grads)
    for name, x in more.items():
        grads[name] = grads[name] + weight * x if name in grads else weight * x
    return loss + weight * other, grads


def train_simcse(P, heads, texts, epochs, batch, rng, rate=1e-3, tau=0.05, dropout=0.1, pool=MEAN,
                 masked=None, weight=0.1, watch=None, ops=None, twin=None):
    """SimCSE with Adam, P in place.  texts: lists of token ids -> losses of the steps.

    masked(P, ids, mask, rng) -> loss, gradients: a second objective (hybrid); watch(step) is called
    before each step and at the end.  Raises ValueError where a loss is not finite: P is then as
    it was before that step.
    """
    each = len(texts) // batch
    if batch < 2 or not each:
        raise ValueError(f"batch: expected 2 to {len(texts)}, the number of texts, got {batch}")
    state, steps, losses = adam_state(P), epochs * each, []
    for step in tqdm(range(steps), desc="steps", leave=False, disable=None):
        if step % each == 0:
            order = rng.permutation(len(texts))
        if watch:
            watch(step)
        ids, mask = padded([texts[i] for i in order[step % each * batch:][:batch]])
        loss, grads = simcse_step(P, heads, ids, mask, tau, dropout, rng, pool, ops, twin)
        if masked:
            loss, grads = hybrid((loss, grads), masked(P, ids, mask, rng), weight)
        if not np.isfinite(loss) or not np.isfinite(clip_norm(grads, 1.0)):
            raise ValueError(f"rate: with {rate} the loss is {loss} at step {step}; take less")
        adam_step(P, grads, state, warmup_rate(step, steps, rate, max(1, steps // 10)))
        losses.append(loss)
    if watch:
        watch(steps)
    return np.array(losses)
