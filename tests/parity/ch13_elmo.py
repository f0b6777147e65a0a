"""torch's LSTM, bidirectional language model and AdaGrad, frozen.  Run with torch installed:

    python tests/parity/ch13_elmo.py          writes ch13_elmo.npz beside itself

The layer runs on packed sequences, so that torch never sees padding.  The models are put together
from nn.LSTM as Peters et al. describe them: two layers, the second adds to the first, each sentence
alone, turned around for the backward direction; the loss is the mean over both.  All in float64.
"""
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from primer.ch13_elmo import initial_bilm
from primer.ch13_elmo_training import pad

T, K, D, V = 5, 3, 4, 11
LENGTHS = [5, 4, 2, 1]


def layer_of(W, U, b):
    """An nn.LSTM with our weights: it has their transposes, and b twice."""
    layer = torch.nn.LSTM(len(W), len(U), dtype=torch.float64)
    for name, x in (("weight_ih_l0", W.T), ("weight_hh_l0", U.T), ("bias_ih_l0", b),
                    ("bias_hh_l0", 0 * b)):
        getattr(layer, name).data.copy_(torch.tensor(x.copy()))
    return layer


def gradients_of(layer):
    """-> dW, dU, db in our shapes."""
    return (layer.weight_ih_l0.grad.T.numpy(), layer.weight_hh_l0.grad.T.numpy(),
            layer.bias_ih_l0.grad.numpy())


def tensors(arrays):
    return {name: torch.tensor(x, requires_grad=True) for name, x in arrays.items()}


def one_layer(rng):
    """States, last states and gradients of <states, up>, of packed sequences -> dict."""
    B = len(LENGTHS)
    W, U, b = (rng.standard_normal(s) for s in ((K, 4 * D), (D, 4 * D), (4 * D,)))
    arrays = {"X": rng.standard_normal((T, B, K)), "h": rng.standard_normal((B, D)),
              "c": rng.standard_normal((B, D))}
    up, t, layer = rng.standard_normal((T, B, D)), tensors(arrays), layer_of(W, U, b)
    states, (h, c) = layer(pack_padded_sequence(t["X"], LENGTHS), (t["h"][None], t["c"][None]))
    H, _ = pad_packed_sequence(states, total_length=T)
    (H * torch.tensor(up)).sum().backward()
    return arrays | {"W": W, "U": U, "b": b, "lengths": np.array(LENGTHS), "up": up,
                     "H": H.detach().numpy(), "end": torch.cat([h, c]).detach().numpy(),
                     **{f"d{name}": x.grad.numpy() for name, x in t.items()},
                     **dict(zip(("dW", "dU", "db"), gradients_of(layer), strict=True))}


def two_models(rng):
    """The loss of a bidirectional language model, and its gradients -> dict."""
    P = initial_bilm(V, D, 2, rng, dtype=np.float64)
    P["outputs.b"] += rng.standard_normal(V)
    sentences = [rng.integers(0, V, n) for n in (5, 3, 4)]
    ids, lengths = pad(sentences)
    t = tensors({name: P[name] for name in ("tokens", "outputs", "outputs.b")})
    layers, losses = {}, []
    for way, step in (("forward", 1), ("backward", -1)):
        for l in (0, 1):
            layers[f"{way}.{l}"] = layer_of(*(P[f"{way}.{l}.{x}"] for x in "WUb"))
        for s in sentences:
            s = torch.tensor(s[::step].copy())
            one, _ = layers[f"{way}.0"](t["tokens"][s[:-1]][:, None])
            two, _ = layers[f"{way}.1"](one)
            scores = (one + two)[:, 0] @ t["outputs"].T + t["outputs.b"]
            losses.append(cross_entropy(scores, s[1:], reduction="none"))
    loss = torch.cat(losses).mean()
    loss.backward()
    grads = {name: x.grad.numpy() for name, x in t.items()} | {
        f"{name}.{x}": grad for name, layer in layers.items()
        for x, grad in zip("WUb", gradients_of(layer), strict=True)}
    return {"ids": ids, "read": lengths, "loss": loss.item(),
            **{f"P/{name}": x for name, x in P.items()},
            **{f"d/{name}": x for name, x in grads.items()}}


def steps(rng):
    """Three steps of torch's Adagrad, its sums from 0.1 -> dict."""
    x, grads = rng.standard_normal(7), rng.standard_normal((3, 7))
    own = torch.tensor(x, requires_grad=True)
    optimiser = torch.optim.Adagrad([own], lr=0.3, initial_accumulator_value=0.1, eps=0)
    for g in grads:
        own.grad = torch.tensor(g)
        optimiser.step()
    return {"x": x, "steps": grads, "stepped": own.detach().numpy()}


def main():
    rng = np.random.default_rng(13)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), version=np.array(torch.__version__),
                        **one_layer(rng), **two_models(rng), **steps(rng))


if __name__ == "__main__":
    main()
