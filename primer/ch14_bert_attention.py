r"""Chapter 14. Attention: each word looks at the others, and takes of them what it needs.

    A      = softmax(Q K^T / sqrt D),  O = A V;  A_ij = 0 where i may not look at j        (14.7)
    dS     = A o (dA - rows' sums of A o dA)                             softmax backward  (14.8)
    y      = x keep / (1 - rate),  keep = 1 with probability 1 - rate    dropout           (14.9)

Symbols     B texts of T places, H heads, D numbers a head, d = H D; Q, K, V: (B, H, T, D) queries,
            keys, values; S = Q K^T / sqrt D scores, A weights, O outputs; o: number by number; X,
            Y: any shape; dA is dL/dA, dY is dL/dY.
Sources     Vaswani et al. 2017 (arXiv:1706.03762), eq. 1; Srivastava et al. 2014 (dropout).
We differ   A query that may look at no key gets zeros: others give NaN, or the mean of what is
            forbidden.  BERT's code adds -10000 to forbidden scores; ours leaves them out.
Relations   (14.8) is the product of A's Jacobian with dA.  With one key A is 1.
Kernels     kernels/ch14_bert_attention_numba.py, kernels/ch14_bert_attention.cu: no (T, T) matrix
            is stored there.
"""
import math

import numpy as np

from primer.ch01_geometry import as_labels


def dropout(X, rate, rng):
    """Some numbers set to 0, the others made up for it (14.9).  Any shape -> Y, cache.

    rate 0 or rng None: X itself.  Raises ValueError for a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate: expected 0 <= rate < 1, got {rate}")
    if not rate or rng is None:
        return X, None
    keep = rng.random(X.shape, np.float32) >= rate                                # as X
    return X * keep * X.dtype.type(1 / (1 - rate)), (keep, rate)                  # eq. 14.9


def dropout_backward(dY, cache):
    """What was kept passes it on.  Any shape -> dX."""
    if cache is None:
        return dY
    keep, rate = cache
    return dY * keep * dY.dtype.type(1 / (1 - rate))


def padding_mask(lengths, T):
    """True where a text has a word.  (B,) -> (B, T) bool.  ValueError, raised for one beyond T."""
    lengths = as_labels(lengths, "lengths", T + 1)
    return np.arange(T) < lengths[:, None]                                        # (B, T)


def causal_mask(T):
    """Place i may look at 0..i.  -> (T, T) bool."""
    return np.tri(T, dtype=bool)


def check_attention(Q, K, V, mask, causal):
    """-> mask: (B, T) bool, or None.  ValueError, raised for shapes that do not fit."""
    B, H, T, D = K.shape
    if Q.ndim != 4 or Q.shape[:2] != (B, H) or Q.shape[3] != D or V.shape[:3] != (B, H, T):
        raise ValueError(f"Q, K, V: expected (B, H, T, D), got {Q.shape}, {K.shape}, {V.shape}")
    if causal and Q.shape[2] != T:
        raise ValueError(f"causal: expected as many queries as keys, got {Q.shape[2]} and {T}")
    if mask is not None and (np.shape(mask) != (B, T) or np.asarray(mask).dtype != bool):
        raise ValueError(f"mask: expected bool of shape {B, T}, got {np.asarray(mask).dtype} "
                         f"{np.shape(mask)}")
    return None if mask is None else np.asarray(mask)


def attention_weights(Q, K, mask=None, causal=False):
    """A (14.7).  (B, H, T, D) twice, mask (B, T) bool: which keys are words -> (B, H, T, T).

    A row without any key is 0.  Raises ValueError as check_attention.
    """
    mask = check_attention(Q, K, K, mask, causal)
    S = Q @ K.swapaxes(2, 3) / Q.dtype.type(math.sqrt(Q.shape[3]))                # (B, H, T, T)
    if mask is not None:
        S = np.where(mask[:, None, None], S, -np.inf)
    if causal:
        S = np.where(causal_mask(S.shape[3]), S, -np.inf)
    most = S.max(axis=3, keepdims=True, initial=-np.inf)                          # (B, H, T, 1)
    E = np.exp(S - np.where(most == -np.inf, 0, most))                            # (B, H, T, T)
    total = E.sum(axis=3, keepdims=True)                                          # (B, H, T, 1)
    return (E / np.where(total == 0, 1, total)).astype(Q.dtype)                   # eq. 14.7


def attention(Q, K, V, mask=None, causal=False, rate=0.0, rng=None):
    """A V (14.7), with dropout of the weights.  (B, H, T, D) three times, mask (B, T) bool -> O
    (B, H, T, D), cache.  Raises ValueError as check_attention, dropout."""
    check_attention(Q, K, V, mask, causal)
    A = attention_weights(Q, K, mask, causal)                                     # (B, H, T, T)
    kept, cache = dropout(A, rate, rng)
    return kept @ V, (Q, K, V, A, kept, cache)


def attention_backward(dout, cache):
    """(B, H, T, D) -> dQ, dK, dV, each as its own."""
    Q, K, V, A, kept, drop = cache
    dA = dropout_backward(dout @ V.swapaxes(2, 3), drop)                          # (B, H, T, T)
    dS = A * (dA - (A * dA).sum(axis=3, keepdims=True))                           # eq. 14.8
    dS /= Q.dtype.type(math.sqrt(Q.shape[3]))
    return dS @ K, dS.swapaxes(2, 3) @ Q, kept.swapaxes(2, 3) @ dout


def split_heads(X, heads):
    """Each head's share of a row.  (B, T, 3 d) -> Q, K, V, views (B, H, T, D).

    Raises ValueError if the heads do not share the row evenly.
    """
    B, T, width = X.shape
    if heads < 1 or width % (3 * heads):
        raise ValueError(f"heads: expected a divisor of {width // 3} dimensions, got {heads}")
    return X.reshape(B, T, 3, heads, -1).transpose(2, 0, 3, 1, 4)                 # (3, B, H, T, D)


def self_attention(qkv, heads, mask=None, causal=False, rate=0.0, rng=None):
    """Attention of a text on itself, all heads (14.7).  (B, T, 3 d): Q, K, V side by side -> O
    (B, T, d), cache.  ValueError as split_heads, attention."""
    B, T, width = qkv.shape
    O, cache = attention(*split_heads(qkv, heads), mask, causal, rate, rng)       # (B, H, T, D)
    return O.swapaxes(1, 2).reshape(B, T, width // 3), cache


def self_attention_backward(dout, cache):
    """(B, T, d) -> (B, T, 3 d)."""
    B, H, T, D = cache[0].shape
    each = attention_backward(dout.reshape(B, T, H, D).swapaxes(1, 2), cache)     # 3 (B, H, T, D)
    return np.stack(each).transpose(1, 3, 0, 2, 4).reshape(B, T, 3 * H * D)


def both_passes(name, dout, *arguments, functions=None):
    """A function of this part and its backward, called by name.  Y's gradient, what it takes -> Y,
    gradients.  functions: where they are, by name; None: here."""
    functions = functions or globals()
    Y, cache = functions[name](*arguments)
    grads = functions[f"{name}_backward"](dout, cache)
    return Y, *(grads if isinstance(grads, tuple) else (grads,))
