"""Make tests/parity/ch14_bert_layers.npz: a Transformer's parts and an encoder as torch has them.

    python -m tests.parity.ch14_bert_layers      needs torch 2.13.0

All in float32: scaled_dot_product_attention, layer_norm, gelu, cross_entropy and AdamW, each with
its gradients; and states and some gradients of nn.TransformerEncoder, post- and pre-norm, on texts
with padding.  Weights are random, biases and scales too.
"""
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from primer.ch14_bert_encoder import initial_encoder

SEED = 14
B, H, T, D = 2, 3, 13, 8
HEADS, LAYERS, WIDE, INNER, WORDS = 4, 2, 16, 24, 20


def tensor(x):
    return torch.tensor(x, requires_grad=True)


def of_attention(r):
    inputs = r.standard_normal((4, B, H, T, D)).astype(np.float32)
    mask = np.arange(T) < np.array([[T], [T - 5]])
    out = {"attention_in": inputs, "attention_mask": mask}
    for name in ("plain", "masked", "causal"):
        Q, K, V = map(tensor, inputs[:3])
        allowed = torch.tensor(mask)[:, None, None] if name == "masked" else None
        O = F.scaled_dot_product_attention(Q, K, V, allowed, is_causal=name == "causal")
        O.backward(torch.tensor(inputs[3]))
        out[f"attention_{name}"] = np.stack([O.detach(), Q.grad, K.grad, V.grad])
    return out


def of_layers(r):
    X, dY = r.standard_normal((2, 6, 11)).astype(np.float32)
    scale, shift = r.standard_normal((2, 11)).astype(np.float32)
    labels = r.integers(0, 11, 6)
    out = {"X": X, "dY": dY, "scale": scale, "shift": shift, "labels": labels}
    x, s, b = map(tensor, (X, scale, shift))
    y = F.layer_norm(x, (11,), s, b, 1e-5)
    y.backward(torch.tensor(dY))
    out |= {f"norm_{k}": v.detach().numpy() for k, v in enumerate((y, x.grad, s.grad, b.grad))}
    for name, kind in (("gelu", "none"), ("tanh", "tanh")):
        x = tensor(X)
        y = F.gelu(x, approximate=kind)
        y.backward(torch.tensor(dY))
        out |= {f"{name}_0": y.detach().numpy(), f"{name}_1": x.grad.numpy()}
    x = tensor(X)
    losses = F.cross_entropy(x, torch.tensor(labels), reduction="none")
    losses.sum().backward()
    return out | {"losses_0": losses.detach().numpy(), "losses_1": x.grad.numpy()}


def of_adam(r, X, shift):
    W, b = tensor(X), tensor(shift)
    step = torch.optim.AdamW([{"params": [W], "weight_decay": 0.1},
                              {"params": [b], "weight_decay": 0.0}], 0.01, (0.9, 0.99), 1e-6)
    grads = [r.standard_normal((4, *x.shape)).astype(np.float32) for x in (X, shift)]
    for own, other in zip(*grads, strict=True):
        W.grad, b.grad = torch.tensor(own), torch.tensor(other)
        step.step()
    return {"adam_W_grads": grads[0], "adam_b_grads": grads[1], "adam_W": W.detach().numpy(),
            "adam_b": b.detach().numpy()}


NAMES = {"self_attn.in_proj_weight": "qkv", "self_attn.in_proj_bias": "qkv_bias",
         "self_attn.out_proj.weight": "out", "self_attn.out_proj.bias": "out_bias",
         "norm1.weight": "scale1", "norm1.bias": "shift1", "linear1.weight": "up",
         "linear1.bias": "up_bias", "linear2.weight": "down", "linear2.bias": "down_bias",
         "norm2.weight": "scale2", "norm2.bias": "shift2"}


def of_encoder(r):
    P = initial_encoder(WORDS, T, WIDE, LAYERS, INNER, r)
    P = {k: (x + 0.2 * r.standard_normal(x.shape)).astype(np.float32) for k, x in P.items()}
    ids, mask = r.integers(0, WORDS, (B, T)), np.arange(T) < np.array([[T], [T - 5]])
    dH = r.standard_normal((B, T, WIDE)).astype(np.float32)
    out = {f"encoder.{k}": x for k, x in P.items()} | {"ids": ids, "ids_mask": mask, "dH": dH}
    X = P["tokens"][ids] + P["positions"] + P["segments"][0]
    X = F.layer_norm(torch.tensor(X), (WIDE,), *(torch.tensor(P[f"embed.{n}"])
                                                 for n in ("scale", "shift")), 1e-12)
    for name in ("post", "pre"):
        layer = torch.nn.TransformerEncoderLayer(
            WIDE, HEADS, INNER, 0.0, "gelu", 1e-12, batch_first=True, norm_first=name == "pre")
        last = torch.nn.LayerNorm(WIDE, 1e-12) if name == "pre" else None
        model = torch.nn.TransformerEncoder(layer, LAYERS, last, enable_nested_tensor=False)
        own = dict(model.named_parameters())
        with torch.no_grad():
            for l in range(LAYERS):
                for theirs, ours in NAMES.items():
                    own[f"layers.{l}.{theirs}"].copy_(torch.tensor(P[f"{l}.{ours}"].T))
        states = model(X, src_key_padding_mask=torch.tensor(~mask))
        states.backward(torch.tensor(np.where(mask[..., None], dH, 0).astype(np.float32)))
        out[f"states_{name}"] = states.detach().numpy()
        for l, theirs in ((0, "self_attn.in_proj_weight"), (1, "linear2.weight"),
                          (1, "norm1.weight"), (0, "linear1.bias")):
            grad = own[f"layers.{l}.{theirs}"].grad.numpy()
            out[f"grad_{name}.{l}.{NAMES[theirs]}"] = np.ascontiguousarray(grad.T)
    return out


def main():
    r = np.random.default_rng(SEED)
    out = of_attention(r) | of_layers(r)
    out |= of_adam(r, out["X"], out["shift"]) | of_encoder(r)
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, torch=torch.__version__, **out)
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
