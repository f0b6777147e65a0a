"""Attention, forward and backward, and a training step of a BERT, beside torch.

Peer: torch on the CPU, float32, two threads.  Before anything is timed:

    attention  the same outputs and gradients, to 1e-4 of the largest
    BERT step  the same loss of three steps in a row, to 1e-4: the same start, batch and AdamW

attention is F.scaled_dot_product_attention, causal.  The BERT is nn.TransformerEncoder, post-norm,
GELU by erf, no dropout, tied scores, a loss on every 7th word (about 15 %, as BERT's masked words)
or on all words, and torch.optim.AdamW with fused=True.
"""
import importlib.metadata

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from kernels import twin
from primer.ch14_bert_encoder import encode, encode_backward, initial_encoder
from primer.ch14_bert_layers import adam_state
from tests.benchmarks.timing import interleaved

SEED = 0
B, H, T, D = 8, 8, 256, 64
LAYERS, WIDE, HEADS, INNER, TEXTS, WORDS, V = 4, 256, 4, 1024, 32, 64, 8000
RATE, DECAY = 1e-3, 0.01
NAMES = {"self_attn.in_proj_weight": "qkv", "self_attn.in_proj_bias": "qkv_bias",
         "self_attn.out_proj.weight": "out", "self_attn.out_proj.bias": "out_bias",
         "norm1.weight": "scale1", "norm1.bias": "shift1", "linear1.weight": "up",
         "linear1.bias": "up_bias", "linear2.weight": "down", "linear2.bias": "down_bias",
         "norm2.weight": "scale2", "norm2.bias": "shift2"}


def row(what, size, ours, theirs, repeats):
    mine, peers = interleaved(ours, theirs, repeats)
    return {"what": what, "peer": "torch", "size": size, "ours": mine, "peer_s": peers,
            "ratio": peers / mine, "bar": 1.0, "reached": peers >= mine,
            "versions": {p: importlib.metadata.version(p) for p in ("numpy", "numba", "torch")}}


def attention_row(module):
    Q, K, V, dout = np.random.default_rng(SEED).standard_normal((4, B, H, T, D)).astype(np.float32)
    leaves = [torch.tensor(X, requires_grad=True) for X in (Q, K, V)]
    above = torch.tensor(dout)

    def ours():
        out, cache = module.attention(Q, K, V, None, True)
        return out, *module.attention_backward(dout, cache)

    def theirs():
        out = F.scaled_dot_product_attention(*leaves, is_causal=True)
        return out, *torch.autograd.grad(out, leaves, above)

    for a, b in zip(ours(), theirs(), strict=True):
        b = b.detach().numpy()
        assert np.abs(a - b).max() < 1e-4 * np.abs(b).max(), "other numbers"
    return row("attention, both passes", f"{B} x {H} x {T} x {D}, causal", ours, theirs, 20)


class Bert(torch.nn.Module):
    """The same model of torch's parts."""

    def __init__(self, P):
        super().__init__()
        self.tokens = torch.nn.Embedding(V, WIDE)
        self.positions, self.segments = (torch.nn.Parameter(torch.tensor(P[n].copy()))
                                         for n in ("positions", "segments"))
        self.norm = torch.nn.LayerNorm(WIDE, 1e-12)
        layer = torch.nn.TransformerEncoderLayer(WIDE, HEADS, INNER, 0.0, "gelu", 1e-12,
                                                 batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        own = dict(self.encoder.named_parameters())
        with torch.no_grad():
            self.tokens.weight.copy_(torch.tensor(P["tokens"]))
            for l in range(LAYERS):
                for theirs, name in NAMES.items():
                    own[f"layers.{l}.{theirs}"].copy_(torch.tensor(P[f"{l}.{name}"].T))

    def forward(self, ids, places, labels):
        X = self.norm(self.tokens(ids) + self.positions[:ids.shape[1]] + self.segments[0])
        states = self.encoder(X).reshape(-1, WIDE)[places]
        return F.cross_entropy(states @ self.tokens.weight.T, labels)


def our_step(P, state, module, ids, places, labels):
    """A training step -> the loss before it."""
    H, cache = encode(P, HEADS, ids, ops=module)
    states = H.reshape(-1, WIDE)[places]                                          # (m, d)
    losses, scored = module.cross_entropy(states @ P["tokens"].T, labels)
    dS = module.cross_entropy_backward(1 / len(labels), scored, out=scored[0])    # (m, V)
    dH = np.zeros((TEXTS * WORDS, WIDE), np.float32)                              # (n, d)
    dH[places] = dS @ P["tokens"]
    grads = encode_backward(dH.reshape(TEXTS, WORDS, WIDE), cache)
    grads["tokens"] += dS.T @ states
    module.adam_step(P, grads, state, RATE, decay=DECAY)
    return losses.mean()


def bert_row(module, every):
    r = np.random.default_rng(SEED)
    P = initial_encoder(V, WORDS, WIDE, LAYERS, INNER, r)
    ids, places = r.integers(0, V, (TEXTS, WORDS)), np.arange(0, TEXTS * WORDS, every)
    labels, state = r.integers(0, V, len(places)), adam_state(P)
    model = Bert(P)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    adam = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY},
                              {"params": others, "weight_decay": 0.0}], RATE, fused=True)
    batch = [torch.tensor(x) for x in (ids, places, labels)]

    def ours():
        return our_step(P, state, module, ids, places, labels)

    def theirs():
        adam.zero_grad()
        loss = model(*batch)
        loss.backward()
        adam.step()
        return loss.item()

    for _ in range(3):
        one, other = ours(), theirs()
        assert abs(one / other - 1) < 1e-4, ("other losses", one, other)
    words = "all words" if every == 1 else f"every {every}th word"
    return row(f"BERT step, {words}", f"{LAYERS} layers, d={WIDE}, {TEXTS} x {WORDS}, V={V}", ours,
               theirs, 10)


def rows():
    """Three rows; compilation happens in the checks -> dicts."""
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    module = twin("ch14_bert_layers", "numba")
    with threadpool_limits(2):
        yield attention_row(module)
        yield bert_row(module, 7)
        yield bert_row(module, 1)
