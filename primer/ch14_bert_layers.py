r"""Chapter 14. The other parts of a Transformer: each a function, and its derivative written out.

    y      = scale (x - mean x) / sqrt(var x + eps) + shift              layer norm        (14.10)
    y      = x Phi(x),  Phi(x) = erfc(-x / sqrt 2) / 2                   GELU              (14.11)
    m     <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;               Adam, step t
    x     <- x - r (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay x)               (14.12)
    r      = rate step / warmup, then rate (steps - step) / (steps - warmup)   warm-up     (14.13)

Symbols     n rows x; d numbers in a row; X, R, Y: (..., d); W: (d, out), b: (out,); V the
            vocabulary's size, S: (n, V) scores, E: (V, d) vectors.  P: a dict of parameters x, g
            their gradients, b1, b2 Adam's betas; dX, dY are dL/dX, dL/dY.
Sources     Ba et al. 2016 (arXiv:1607.06450); Hendrycks and Gimpel 2016 (arXiv:1606.08415);
            Kingma and Ba 2014 (arXiv:1412.6980), alg. 1; Loshchilov and Hutter 2017
            (arXiv:1711.05101), alg. 2; Devlin et al. 2018 (arXiv:1810.04805), A.2.
We differ   BERT's code has GELU by tanh at first, by erf later: both are here, by name.  The paper
            of Adam has no decay; ours is the decoupled one (AdamW), and leaves biases, scales and
            shifts alone, as BERT does; BERT's own Adam has no 1 - b^t.
Relations   cross_entropy is (6.1), its backward (6.4).  gather is a product with one-hot rows,
            scatter_add with their transpose.
Kernels     kernels/ch14_bert_layers_numba.py, kernels/ch14_bert_layers.cu.
"""
import math

import numpy as np

from primer.ch01_geometry import as_labels
from primer.ch06_word2vec import logsumexp, softmax
from primer.ch14_bert_attention import (  # noqa: F401  what is used of layers is here
    attention,
    attention_backward,
    attention_weights,
    causal_mask,
    dropout,
    dropout_backward,
    padding_mask,
    self_attention,
    self_attention_backward,
    split_heads,
)
from primer.ch14_bert_attention import both_passes as _both_passes


def rows_of(X):
    """All but the last axis as one.  (..., d) -> (n, d)."""
    return X.reshape(-1, X.shape[-1])


def linear(X, W, b=None):
    """X W + b.  (..., d), (d, out), (out,) or None -> Y (..., out), cache.

    Raises ValueError if X's rows are not as long as W's columns.
    """
    if X.shape[-1] != len(W):
        raise ValueError(f"X: expected rows of length {len(W)}, got {X.shape[-1]}")
    Y = rows_of(X) @ W                                                            # (n, out)
    if b is not None:
        Y += b
    return Y.reshape(*X.shape[:-1], W.shape[1]), (X, W, b)


def linear_backward(dY, cache):
    """(..., out) -> dX (..., d), dW (d, out), db (out,), or None where there was no b."""
    X, W, b = cache
    rows = rows_of(dY)                                                            # (n, out)
    return ((rows @ W.T).reshape(X.shape), rows_of(X).T @ rows,
            None if b is None else rows.sum(axis=0))


def layer_norm(X, scale, shift, eps=1e-12):
    """Each row without its mean, at length sqrt(d); then scaled (14.10).  (..., d), (d,), (d,) ->
    Y (..., d), cache."""
    centred = X - X.mean(axis=-1, keepdims=True)                                  # (..., d)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + X.dtype.type(eps))
    normal = centred / spread                                                     # (..., d)
    return normal * scale + shift, (normal, spread, scale)                        # eq. 14.10


def layer_norm_backward(dY, cache):
    """(..., d) -> dX (..., d), dscale (d,), dshift (d,)."""
    normal, spread, scale = cache
    dnormal = dY * scale                                                          # (..., d)
    along = (dnormal * normal).mean(axis=-1, keepdims=True)                       # (..., 1)
    dX = (dnormal - dnormal.mean(axis=-1, keepdims=True) - normal * along) / spread
    return dX, rows_of(dY * normal).sum(axis=0), rows_of(dY).sum(axis=0)


def add_layer_norm(X, R, scale, shift, eps=1e-12):
    """layer_norm(X + R): a residual and its norm in one.  (..., d) twice, (d,) twice -> Y (..., d),
    cache."""
    return layer_norm(X + R, scale, shift, eps)


def add_layer_norm_backward(dY, cache):
    """(..., d) -> dX (..., d), which is dR as well, dscale (d,), dshift (d,)."""
    return layer_norm_backward(dY, cache)


def normal_cdf(X):
    """Phi (14.11): the share of a standard normal below x.  Any shape -> the same."""
    return np.vectorize(math.erfc, otypes=[X.dtype])(X * -math.sqrt(0.5)) / 2


def gelu(X):
    """x Phi(x) (14.11).  Any shape -> Y, cache."""
    return X * normal_cdf(X), X                                                   # eq. 14.11


def gelu_backward(dY, cache):
    """dY (Phi(x) + x phi(x)), phi the normal's density.  Any shape -> dX."""
    X = cache
    return dY * (normal_cdf(X) + X * np.exp(X * X / -2) / math.sqrt(2 * math.pi))


def gelu_tanh(X):
    """GELU as BERT's first code has it, within 0.0005 of (14.11).  Any shape -> Y, cache."""
    T = np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X * X * X))
    return X * (1 + T) / 2, (X, T)


def gelu_tanh_backward(dY, cache):
    """Any shape -> dX."""
    X, T = cache
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * X * X)
    return dY * (1 + T + X * (1 - T * T) * slope) / 2


def bias_gelu(X, b):
    """gelu(X + b).  (..., d), (d,) -> Y (..., d), cache."""
    return gelu(X + b)


def bias_gelu_backward(dY, cache):
    """(..., d) -> dX (..., d), db (d,)."""
    dX = gelu_backward(dY, cache)
    return dX, rows_of(dX).sum(axis=0)


def cross_entropy(S, labels):
    """-ln of each label's probability (6.1).  (n, V), (n,) ids -> losses (n,), cache.

    Raises ValueError for ids outside 0..V-1.
    """
    labels = as_labels(labels, "labels", S.shape[1], len(S))
    return logsumexp(S) - S[np.arange(len(S)), labels], (S, labels)


def cross_entropy_backward(dlosses, cache, out=None):
    """(6.4).  One number or (n,) -> dS (n, V); out: where to write it, S itself if need be."""
    S, labels = cache
    each = np.reshape(np.asarray(dlosses, S.dtype), (-1, 1))                      # (n, 1)
    dS = softmax(S)                                                               # (n, V)
    dS[np.arange(len(S)), labels] -= 1                                            # eq. 6.4
    return np.multiply(dS, each, out=out)


def gather(E, ids):
    """Rows of E.  (V, d), (...) ids -> (..., d).  ValueError, raised for ids outside 0..V-1."""
    return E[as_labels(np.ravel(ids), "ids", len(E))].reshape(*np.shape(ids), E.shape[1])


def scatter_add(dX, ids, V):
    """Each row's gradient to the vector it came from; equal ids add up.  (..., d), (...) ->
    (V, d).  ValueError as gather."""
    dE = np.zeros((V, dX.shape[-1]), dX.dtype)                                    # (V, d)
    np.add.at(dE, as_labels(np.ravel(ids), "ids", V), rows_of(dX))
    return dE


def adam_state(P):
    """m = v = 0, t = 0.  dict of arrays -> dict "t", "m", "v"."""
    return {"t": 0, "m": {k: np.zeros_like(x) for k, x in P.items()},
            "v": {k: np.zeros_like(x) for k, x in P.items()}}


def check_adam(P, grads, rate, betas):
    """-> None.  ValueError, raised for a gradient of no parameter or of another shape, a rate < 0
    or betas outside [0, 1)."""
    for name, g in grads.items():
        if name not in P or np.shape(g) != P[name].shape:
            raise ValueError(f"grads[{name!r}]: expected {P[name].shape if name in P else 'none'}, "
                             f"got {np.shape(g)}")
    if not rate >= 0 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"rate, betas: expected rate >= 0, betas in [0, 1), got {rate}, {betas}")


def adam_update(x, g, m, v, t, rate, b1=0.9, b2=0.999, eps=1e-8, decay=0.0):
    """Step t = 1, 2, ... (14.12) of one array; changes x, m and v IN PLACE.  Same shapes -> x."""
    m += (1 - b1) * (g - m)
    v += (1 - b2) * (g * g - v)
    step = m / (1 - b1 ** t) / (np.sqrt(v / (1 - b2 ** t)) + eps)                 # as x
    x -= rate * (step + decay * x)                                                # eq. 14.12
    return x


def adam_step(P, grads, state, rate, betas=(0.9, 0.999), eps=1e-8, decay=0.0):
    """A step (14.12) of all that have gradients; changes P and state IN PLACE.  dicts of arrays,
    adam_state -> None.  decay: of matrices only.  Raises ValueError as check_adam.
    """
    each_update(adam_update, P, grads, state, rate, betas, eps, decay)


def each_update(update, P, grads, state, rate, betas, eps, decay):
    """adam_step, by adam_update of any back end -> None."""
    check_adam(P, grads, rate, betas)
    state["t"] += 1
    for name, g in grads.items():
        x = P[name]
        update(x, g, state["m"][name], state["v"][name], state["t"], rate, *betas, eps,
               decay if x.ndim > 1 else 0.0)


def warmup_rate(step, steps, rate, warmup):
    """Up in a straight line, then down to 0 at the last step (14.13).  step 0..steps ->
    float.  Raises ValueError for a step or warmup outside 0..steps."""
    if not 0 <= step <= steps or not 0 <= warmup <= steps:
        raise ValueError(f"step, warmup: expected 0 to {steps}, got {step}, {warmup}")
    if step < warmup:
        return rate * step / warmup
    return rate * (steps - step) / max(steps - warmup, 1)


def clip_norm(grads, largest):
    """Gradients as one vector no longer than `largest`, scaled IN PLACE.  dict of arrays -> its
    length before: float.  Raises ValueError for largest <= 0."""
    if not largest > 0:
        raise ValueError(f"largest: expected a number above 0, got {largest}")
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in grads.values()))
    if norm > largest:
        for g in grads.values():
            g *= g.dtype.type(largest / norm)
    return norm


def both_passes(name, dout, *arguments, functions=None):
    """As the one of attention's part, for the functions here.  -> Y, gradients."""
    return _both_passes(name, dout, *arguments, functions=functions or globals())
