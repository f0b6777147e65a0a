r"""Chapter 14. The encoder: vectors of words, each changed by all the others, layer after layer.

    X_0    = norm(E_id + positions_i + segments_s)                                         (14.14)
    F(X)   = gelu(X U + u) D + c                         each word by itself               (14.15)
    X     <- norm(X + A(X));  X <- norm(X + F(X))        post-norm: BERT                   (14.16)
    X     <- X + A(norm X);   X <- X + F(norm X)         pre-norm: GPT-2, one more norm    (14.17)

Symbols     B texts of T words, d dimensions, L layers, f numbers between U: (d, f) and D: (f, d);
            N positions, V words in the vocabulary, E: (V, d); A(X) the attention (14.7) of all
            heads on X's queries, keys and values, times a matrix; P a dict name -> array;
            H: (B, T, d) what comes out; n = B T rows, l a layer's number; dX, dY, dH gradients.
Sources     Devlin et al. 2018 (arXiv:1810.04805), sec. 3; Vaswani et al. 2017 (arXiv:1706.03762),
            sec. 3; pre-norm: Radford et al. 2019, sec. 2.3, Xiong et al. 2020 (arXiv:2002.04745).
We differ   Q, K and V come from one matrix, "qkv": one product in place of three.  The weights are
            (in, out), the transposes of the files' (out, in).  BERT draws from a normal that is cut
            off at two deviations; ours is not cut.
Relations   The attention of a row on the others has no order in it: without positions the encoder
            of a shuffled text is the shuffled encoder.  causal=True makes it a decoder (GPT): what
            comes later leaves a state unchanged, and H E^T are scores of the next word.
Kernels     encode takes the module of the layers: kernels/ch14_bert_layers_numba.py is quick.
"""
import numpy as np

from primer import ch14_bert_layers as layers
from primer.ch01_geometry import as_labels


def initial_encoder(V, N, d, L, f, rng, segments=2, dtype=np.float32):
    """A start: normal of deviation 0.02, biases 0, scales 1.  -> P.

    Raises ValueError for a size below 1 (L: below 0).
    """
    if min(V, N, d, f, segments) < 1 or L < 0:
        raise ValueError(f"V, N, d, f, segments: expected at least 1, L: 0, got {V, N, d, f}, "
                         f"{segments}, {L}")
    shapes = {"tokens": (V, d), "positions": (N, d), "segments": (segments, d),
              "embed.scale": (d,), "embed.shift": (d,)}
    for l in range(L):
        shapes |= {f"{l}.qkv": (d, 3 * d), f"{l}.qkv_bias": (3 * d,), f"{l}.out": (d, d),
                   f"{l}.out_bias": (d,), f"{l}.scale1": (d,), f"{l}.shift1": (d,),
                   f"{l}.up": (d, f), f"{l}.up_bias": (f,), f"{l}.down": (f, d),
                   f"{l}.down_bias": (d,), f"{l}.scale2": (d,), f"{l}.shift2": (d,)}
    return {name: initial_array(name, shape, rng, dtype) for name, shape in shapes.items()}


def initial_array(name, shape, rng, dtype=np.float32):
    """One parameter's start: by its name and shape.  -> array."""
    if len(shape) > 1:
        return (0.02 * rng.standard_normal(shape)).astype(dtype)
    return np.full(shape, "scale" in name, dtype)


def final_norm(P):
    """What a pre-norm encoder has besides.  P -> dict "final.scale", "final.shift" (d,)."""
    ones = np.ones_like(P["embed.scale"])                                         # (d,)
    return {"final.scale": ones, "final.shift": np.zeros_like(ones)}


def depth(P):
    """L, the number of layers.  P -> int."""
    return sum(name.endswith(".qkv") for name in P)


def check_texts(P, ids, mask, segments):
    """-> ids (B, T), mask (B, T) bool or None, segments (B, T).  Raises ValueError for unlike
    shapes, no text, ids outside the vocabulary, texts longer than there are positions."""
    ids = np.asarray(ids)
    if ids.ndim != 2 or not ids.size:
        raise ValueError(f"ids: expected (texts, words), at least one of each, got {ids.shape}")
    if ids.shape[1] > len(P["positions"]):
        raise ValueError(f"ids: texts of {ids.shape[1]} words, but {len(P['positions'])} positions")
    as_labels(ids.ravel(), "ids", len(P["tokens"]))
    if mask is not None and (np.shape(mask) != ids.shape or np.asarray(mask).dtype != bool):
        raise ValueError(f"mask: expected bool of shape {ids.shape}, got {np.asarray(mask).dtype} "
                         f"{np.shape(mask)}")
    segments = np.zeros_like(ids) if segments is None else np.asarray(segments)
    if segments.shape != ids.shape:
        raise ValueError(f"segments: expected shape {ids.shape}, got {segments.shape}")
    as_labels(segments.ravel(), "segments", len(P["segments"]))
    return ids, None if mask is None else np.asarray(mask), segments


def embed(P, ids, segments, rate, rng, ops):
    """X_0 (14.14).  P, (B, T) twice -> (n, d), cache."""
    B, T = ids.shape
    X = ops.gather(P["tokens"], ids)                                              # (B, T, d)
    X += P["positions"][:T]
    X += ops.gather(P["segments"], segments)
    X, norm = ops.layer_norm(layers.rows_of(X), P["embed.scale"], P["embed.shift"])
    X, drop = ops.dropout(X, rate, rng)                                           # eq. 14.14
    return X, (ids, segments, norm, drop)


def embed_backward(dX, cache, P, grads, ops):
    """(n, d) -> None; adds to grads."""
    ids, segments, norm, drop = cache
    dX, dscale, dshift = ops.layer_norm_backward(ops.dropout_backward(dX, drop), norm)
    positions = np.zeros_like(P["positions"])                                     # (N, d)
    positions[:ids.shape[1]] = dX.reshape(*ids.shape, -1).sum(axis=0)
    grads |= {"embed.scale": dscale, "embed.shift": dshift, "positions": positions,
              "tokens": ops.scatter_add(dX, ids, len(P["tokens"])),
              "segments": ops.scatter_add(dX, segments, len(P["segments"]))}


def mix(P, l, X, attend, rate, rng, ops):
    """A(X): attention of all heads, and a matrix.  (n, d) -> (n, d), cache.

    attend: (qkv, rate, rng) -> O and its cache, for (n, 3 d).
    """
    qkv, inner = ops.linear(X, P[f"{l}.qkv"], P[f"{l}.qkv_bias"])                 # (n, 3 d)
    O, seen = attend(qkv, rate, rng)                                              # (n, d)
    Y, outer = ops.linear(O, P[f"{l}.out"], P[f"{l}.out_bias"])                   # (n, d)
    Y, drop = ops.dropout(Y, rate, rng)
    return Y, (inner, seen, outer, drop)


def mix_backward(dY, cache, l, grads, ops):
    """(n, d) -> dX (n, d); adds to grads."""
    inner, seen, outer, drop = cache
    dO, grads[f"{l}.out"], grads[f"{l}.out_bias"] = ops.linear_backward(
        ops.dropout_backward(dY, drop), outer)
    dqkv = ops.self_attention_backward(dO, seen)
    dX, grads[f"{l}.qkv"], grads[f"{l}.qkv_bias"] = ops.linear_backward(
        layers.rows_of(dqkv), inner)
    return dX


def feed_forward(P, l, X, rate, rng, ops):
    """F(X) (14.15).  (n, d) -> (n, d), cache."""
    Z, up = ops.linear(X, P[f"{l}.up"])                                           # (n, f)
    Z, bent = ops.bias_gelu(Z, P[f"{l}.up_bias"])
    Y, down = ops.linear(Z, P[f"{l}.down"], P[f"{l}.down_bias"])                  # (n, d)
    Y, drop = ops.dropout(Y, rate, rng)                                           # eq. 14.15
    return Y, (up, bent, down, drop)


def feed_forward_backward(dY, cache, l, grads, ops):
    """(n, d) -> dX (n, d); adds to grads."""
    up, bent, down, drop = cache
    dZ, grads[f"{l}.down"], grads[f"{l}.down_bias"] = ops.linear_backward(
        ops.dropout_backward(dY, drop), down)
    dZ, grads[f"{l}.up_bias"] = ops.bias_gelu_backward(dZ, bent)
    dX, grads[f"{l}.up"], _ = ops.linear_backward(dZ, up)
    return dX


def post_norm_block(P, l, X, attend, rate, rng, ops):
    """A layer of BERT (14.16).  (n, d) -> (n, d), cache, whose first is its backward."""
    Y, mixed = mix(P, l, X, attend, rate, rng, ops)
    X, norm1 = ops.add_layer_norm(X, Y, P[f"{l}.scale1"], P[f"{l}.shift1"])
    Y, fed = feed_forward(P, l, X, rate, rng, ops)
    X, norm2 = ops.add_layer_norm(X, Y, P[f"{l}.scale2"], P[f"{l}.shift2"])       # eq. 14.16
    return X, (post_norm_block_backward, mixed, norm1, fed, norm2)


def post_norm_block_backward(dX, cache, l, grads, ops):
    """(n, d) -> (n, d); adds to grads."""
    _, mixed, norm1, fed, norm2 = cache
    dX, grads[f"{l}.scale2"], grads[f"{l}.shift2"] = ops.add_layer_norm_backward(dX, norm2)
    dX += feed_forward_backward(dX, fed, l, grads, ops)          # both ways of the residual
    dX, grads[f"{l}.scale1"], grads[f"{l}.shift1"] = ops.add_layer_norm_backward(dX, norm1)
    dX += mix_backward(dX, mixed, l, grads, ops)
    return dX


def pre_norm_block(P, l, X, attend, rate, rng, ops):
    """A layer of GPT-2 (14.17).  (n, d) -> (n, d), cache, whose first is its backward."""
    Y, norm1 = ops.layer_norm(X, P[f"{l}.scale1"], P[f"{l}.shift1"])
    Y, mixed = mix(P, l, Y, attend, rate, rng, ops)
    Y += X
    X = Y
    Y, norm2 = ops.layer_norm(X, P[f"{l}.scale2"], P[f"{l}.shift2"])
    Y, fed = feed_forward(P, l, Y, rate, rng, ops)
    Y += X
    return Y, (pre_norm_block_backward, mixed, norm1, fed, norm2)                 # eq. 14.17


def pre_norm_block_backward(dX, cache, l, grads, ops):
    """(n, d) -> (n, d); adds to grads."""
    _, mixed, norm1, fed, norm2 = cache
    dY, grads[f"{l}.scale2"], grads[f"{l}.shift2"] = ops.layer_norm_backward(
        feed_forward_backward(dX, fed, l, grads, ops), norm2)
    dY += dX
    dX = dY
    dY, grads[f"{l}.scale1"], grads[f"{l}.shift1"] = ops.layer_norm_backward(
        mix_backward(dX, mixed, l, grads, ops), norm1)
    dY += dX
    return dY


def encode(P, heads, ids, mask=None, segments=None, causal=False, block=post_norm_block, rate=0.0,
           rng=None, ops=None, keep=True):
    """States of texts of ids (B, T), mask (B, T) bool: which are words -> H (B, T, d), cache.

    rate: of dropout, drawn from rng.  ops: the layers' module, or None: NumPy's.  keep=False: no
    cache, for use alone.  Raises ValueError as check_texts and, of heads, split_heads.
    """
    ids, mask, segments = check_texts(P, ids, mask, segments)
    ops, shape = ops or layers, (*ids.shape, P["tokens"].shape[1])

    def attend(qkv, rate, rng):
        O, cache = ops.self_attention(qkv.reshape(*ids.shape, -1), heads, mask, causal, rate, rng)
        return layers.rows_of(O), cache                                           # (n, d)

    X, embedded = embed(P, ids, segments, rate, rng, ops)                         # (n, d)
    blocks, final = [], None
    for l in range(depth(P)):
        X, cache = block(P, l, X, attend, rate, rng, ops)
        blocks += [cache] if keep else []
    if "final.scale" in P:
        X, final = ops.layer_norm(X, P["final.scale"], P["final.shift"])
    return X.reshape(shape), (P, ops, embedded, blocks, final) if keep else None


def encode_backward(dH, cache):
    """(B, T, d) -> grads: a dict like P."""
    P, ops, embedded, blocks, final = cache
    dX, grads = layers.rows_of(dH), {}                                            # (n, d)
    if final is not None:
        dX, grads["final.scale"], grads["final.shift"] = ops.layer_norm_backward(dX, final)
    for l in reversed(range(len(blocks))):
        dX = blocks[l][0](dX, blocks[l], l, grads, ops)
    embed_backward(dX, embedded, P, grads, ops)
    return grads
