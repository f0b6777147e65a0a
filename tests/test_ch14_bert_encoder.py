"""Chapter 14's encoder: equation, properties, gradients, parity, every back end of its layers."""
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close, emulated, every_backend
from test_ch14_bert_attention import assert_slope, spec_weights
from test_ch14_bert_layers import spec_norm

from primer.ch14_bert_encoder import (
    depth,
    encode,
    encode_backward,
    final_norm,
    initial_encoder,
    post_norm_block,
    pre_norm_block,
)

BLOCKS = {"post": post_norm_block, "pre": pre_norm_block}
V, N, D, LAYERS, F, HEADS = 11, 9, 8, 2, 12, 2
every_block = pytest.mark.parametrize("name", BLOCKS)


def model(name="post", dtype=np.float64, seed=0):
    """An encoder with numbers that show everywhere: biases, scales, shifts, large weights."""
    r = np.random.default_rng(seed)
    P = initial_encoder(V, N, D, LAYERS, F, r, dtype=dtype)
    P |= final_norm(P) if name == "pre" else {}
    return {k: (x + 0.3 * r.standard_normal(x.shape)).astype(dtype) for k, x in P.items()}


def texts(seed=0, B=3, T=6):
    r = np.random.default_rng(seed)
    mask = np.arange(T) < np.array([T, T - 2, 1])[:B, None]
    return r.integers(0, V, (B, T)), mask, r.integers(0, 2, (B, T))


# 1. Equations (14.14) to (14.17), a word at a time.

def spec_layer_norm(X, scale, shift):
    return np.array([spec_norm(x, scale, shift, 1e-12) for x in X])


def spec_attention(P, l, X, mask, causal):
    """(T, d) -> (T, d)."""
    qkv = X @ P[f"{l}.qkv"] + P[f"{l}.qkv_bias"]
    out, size = [], D // HEADS
    for h in range(HEADS):
        Q, K, U = (qkv[:, k * D + h * size:k * D + (h + 1) * size] for k in range(3))
        A = spec_weights(Q[None, None], K[None, None], mask[None], causal)[0, 0]
        out.append(A @ U)
    return np.hstack(out) @ P[f"{l}.out"] + P[f"{l}.out_bias"]


def spec_feed_forward(P, l, X):
    Z = X @ P[f"{l}.up"] + P[f"{l}.up_bias"]
    Z = np.array([[z * math.erfc(-z / math.sqrt(2)) / 2 for z in row] for row in Z])
    return Z @ P[f"{l}.down"] + P[f"{l}.down_bias"]


def spec_encode(P, name, ids, mask, segments, causal):
    X = np.array([P["tokens"][w] + P["positions"][i] + P["segments"][s]
                  for i, (w, s) in enumerate(zip(ids, segments, strict=True))])
    X = spec_layer_norm(X, P["embed.scale"], P["embed.shift"])
    for l in range(LAYERS):
        one, two = ((P[f"{l}.scale{k}"], P[f"{l}.shift{k}"]) for k in (1, 2))
        if name == "post":
            X = spec_layer_norm(X + spec_attention(P, l, X, mask, causal), *one)
            X = spec_layer_norm(X + spec_feed_forward(P, l, X), *two)
        else:
            X = X + spec_attention(P, l, spec_layer_norm(X, *one), mask, causal)
            X = X + spec_feed_forward(P, l, spec_layer_norm(X, *two))
    return spec_layer_norm(X, P["final.scale"], P["final.shift"]) if name == "pre" else X


@every_backend("ch14_bert_layers", "linear", orders=())
@every_block
@pytest.mark.parametrize("causal", [False, True])
def test_the_encoder_is_its_equations(backend, name, causal):
    P, (ids, mask, segments) = model(name), texts()
    H, cache = encode(P, HEADS, ids, mask, segments, causal, BLOCKS[name], ops=backend)
    for b in range(len(ids)):
        assert_close(H[b], spec_encode(P, name, ids[b], mask[b], segments[b], causal), 1e-8, 1e-9)
    assert cache is not None
    alone, nothing = encode(P, HEADS, ids, mask, segments, causal, BLOCKS[name], keep=False)
    assert_close(alone, H, 1e-9, 1e-10)
    assert nothing is None


# 2. A start, and its sizes.

def test_the_start_is_as_bert_has_it():
    P = initial_encoder(300, 20, 16, 3, 64, np.random.default_rng(0))
    assert depth(P) == 3 and depth(initial_encoder(3, 2, 4, 0, 4, np.random.default_rng(0))) == 0
    for name, x in P.items():
        assert x.dtype == np.float32
        if x.ndim == 2:
            assert abs(x.std() / 0.02 - 1) < 0.2 and abs(x.mean()) < 0.005, name
        else:
            assert (x == ("scale" in name)).all(), name
    # BERT base: 110 million (Devlin et al., sec. 3), 85 in its layers
    d, f, shapes = 768, 3072, initial_encoder(2, 1, 4, 1, 16, np.random.default_rng(0))
    sizes = {"qkv": 3 * d * d, "qkv_bias": 3 * d, "out": d * d, "out_bias": d, "up": d * f,
             "up_bias": f, "down": f * d, "down_bias": d, "scale1": d, "shift1": d, "scale2": d,
             "shift2": d}
    assert {n.removeprefix("0.") for n in shapes if n[0] == "0"} == set(sizes)
    assert 12 * sum(sizes.values()) + (30522 + 512 + 2 + 2) * d == pytest.approx(109e6, rel=0.003)


# 3. Properties.

@every_block
def test_without_positions_order_is_no_matter(name):
    P, (ids, mask, segments) = model(name), texts()
    P["positions"][:] = 0
    other = np.random.default_rng(1).permutation(ids.shape[1])
    H, _ = encode(P, HEADS, ids, mask, segments, block=BLOCKS[name])
    shuffled, _ = encode(P, HEADS, ids[:, other], mask[:, other], segments[:, other],
                         block=BLOCKS[name])
    assert_close(shuffled, H[:, other], 1e-9, 1e-10)
    P = model(name)
    H, _ = encode(P, HEADS, ids, mask, segments, block=BLOCKS[name])
    shuffled, _ = encode(P, HEADS, ids[:, other], mask[:, other], segments[:, other],
                         block=BLOCKS[name])
    assert np.abs(shuffled - H[:, other]).max() > 0.01


@every_backend("ch14_bert_layers", "linear", orders=())
@every_block
def test_later_words_change_nothing_before_in_a_decoder(backend, name):
    P, (ids, _, _) = model(name), texts()
    changed = ids.copy()
    changed[:, 4:] = (changed[:, 4:] + 3) % V
    for causal in (True, False):
        before, after = (encode(P, HEADS, x, causal=causal, block=BLOCKS[name], ops=backend)[0]
                         for x in (ids, changed))
        gap = np.abs(before - after)
        assert (gap[:, :4].max() == 0) == causal and gap[:, 4:].max() > 0.01


@every_backend("ch14_bert_layers", "linear", orders=())
@every_block
def test_padding_changes_nothing(backend, name):
    """A text alone, without padding, has the states that it has in a batch."""
    P, (ids, mask, segments) = model(name), texts()
    H, _ = encode(P, HEADS, ids, mask, segments, block=BLOCKS[name], ops=backend)
    for b, n in enumerate(mask.sum(1)):
        own, _ = encode(P, HEADS, ids[b:b + 1, :n], None, segments[b:b + 1, :n],
                        block=BLOCKS[name], ops=backend)
        assert_close(own[0], H[b, :n], 1e-9, 1e-10)
    changed = np.where(mask, ids, (ids + 1) % V)
    assert_close(encode(P, HEADS, changed, mask, segments, block=BLOCKS[name],
                        ops=backend)[0][mask], H[mask], 1e-12, 1e-12)


def test_segments_default_to_the_first():
    P, (ids, mask, _) = model(), texts()
    assert_close(encode(P, HEADS, ids, mask)[0],
                 encode(P, HEADS, ids, mask, np.zeros_like(ids))[0], 0, 0)
    assert np.abs(encode(P, HEADS, ids, mask, np.ones_like(ids))[0]
                  - encode(P, HEADS, ids, mask)[0]).max() > 0.01


def test_dropout_draws_from_its_rng_only_while_training():
    P, (ids, mask, _) = model(), texts()
    runs = [encode(P, HEADS, ids, mask, rate=0.3, rng=np.random.default_rng(s))[0]
            for s in (0, 0, 1)]
    assert_close(runs[1], runs[0], 0, 0)
    assert np.abs(runs[2] - runs[0]).max() > 0.01
    assert_close(encode(P, HEADS, ids, mask, rate=0.3)[0], encode(P, HEADS, ids, mask)[0], 0, 0)


# 4. Gradients, of every parameter.

@every_backend("ch14_bert_layers", "linear", orders=())
@every_block
@pytest.mark.parametrize("causal, rate", [(False, 0.0), (True, 0.2)])
def test_gradients(backend, name, causal, rate):
    P, (ids, mask, segments) = model(name), texts()
    dH = np.random.default_rng(5).standard_normal((*ids.shape, D))
    names = list(P)

    def states(*arrays):
        return encode(dict(zip(names, arrays, strict=True)), HEADS, ids, mask, segments, causal,
                      BLOCKS[name], rate, np.random.default_rng(2), backend)
    _, cache = states(*P.values())
    before = dH.copy()
    grads = encode_backward(dH, cache)
    assert_close(dH, before, 0, 0)                       # dH is the caller's
    assert grads.keys() == P.keys()
    assert_slope(lambda *xs: (states(*xs)[0] * dH).sum(), [grads[n] for n in names],
                 list(P.values()), 0)
    for k, n in enumerate(names):
        assert_slope(lambda x, k=k: (states(*(x if i == k else y for i, y in enumerate(
            P.values())))[0] * dH).sum(), [grads[n]], [P[n]], k)


# 5. Parity with torch's TransformerEncoderLayer, frozen (tests/parity/ch14_bert_layers.py).

@every_backend("ch14_bert_layers", "linear", orders=())
@every_block
def test_torch_has_the_same(backend, name):
    frozen = np.load(Path(__file__).parent / "parity/ch14_bert_layers.npz")
    P = {k.removeprefix("encoder."): frozen[k] for k in frozen.files if k.startswith("encoder.")}
    P |= final_norm(P) if name == "pre" else {}
    ids, mask = frozen["ids"], frozen["ids_mask"]
    H, cache = encode(P, 4, ids, mask, block=BLOCKS[name], ops=backend)
    assert_close(H[mask], frozen[f"states_{name}"][mask], 1e-4, 1e-5)
    dH = np.where(mask[..., None], frozen["dH"], 0).astype(np.float32)
    grads = encode_backward(dH, cache)
    for n in ("0.qkv", "1.down", "1.scale1", "0.up_bias"):
        want = frozen[f"grad_{name}.{n}"]
        assert_close(grads[n], want, 1e-3, 1e-4 * np.abs(want).max())


# 6. Every back end of the layers, in float32.

@every_backend("ch14_bert_layers", "linear")
@every_block
def test_back_ends_agree(backend, name):
    P, (ids, mask, segments) = model(name, np.float32), texts()
    if emulated(backend):
        ids, mask, segments = ids[:2, :4], mask[:2, :4], segments[:2, :4]
    dH = np.random.default_rng(5).standard_normal((*ids.shape, D)).astype(np.float32)
    results = []
    for ops in (backend, None):
        H, cache = encode(P, HEADS, ids, mask, segments, block=BLOCKS[name], rate=0.1,
                          rng=np.random.default_rng(3), ops=ops)
        results.append((H, encode_backward(dH, cache)))
    (H, grads), (wanted, others) = results
    assert_close(H, wanted, 1e-4, 1e-5)
    for n in grads:
        assert grads[n].dtype == np.float32
        assert_close(grads[n], others[n], 1e-3, 1e-4)


# Bad input.

def test_bad_input_is_named():
    P, (ids, mask, segments) = model(), texts()
    long = np.zeros((1, N + 1), int)
    for arguments, words in (
            ((HEADS, long), "10 words, but 9 positions"), ((HEADS, ids + V), "ids"),
            ((HEADS, ids - V), "ids"), ((HEADS, ids[0]), "ids"), ((HEADS, ids[:, :0]), "ids"),
            ((HEADS, ids[:0]), "ids"), ((3, ids), "heads"), ((HEADS, ids, mask[:2]), "mask"),
            ((HEADS, ids, mask * 1), "mask"), ((HEADS, ids, mask, segments + 2), "segments"),
            ((HEADS, ids, mask, segments[:, :2]), "segments")):
        with pytest.raises(ValueError, match=words):
            encode(P, *arguments)
    with pytest.raises((ValueError, TypeError), match="ids"):
        encode(P, HEADS, ids * 0.5)
    for sizes in ((0, 1, 4, 1, 4), (3, 0, 4, 1, 4), (3, 1, 0, 1, 4), (3, 1, 4, -1, 4)):
        with pytest.raises(ValueError, match="at least 1"):
            initial_encoder(*sizes, np.random.default_rng(0))
