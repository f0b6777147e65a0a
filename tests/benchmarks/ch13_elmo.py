"""A training step of LSTM language models beside torch, the same model, batch and steps.

    one way    words, an LSTM of d, the full softmax: loss, gradients, clipping, AdaGrad
    ELMo       the same from both sides, words and softmax shared

torch has nn.Embedding, nn.LSTM, a linear layer, cross_entropy, clip_grad_norm_ and its fused
Adagrad; both sides get the same weights and ids.  Before anything is timed, losses of three steps
must agree to 1e-4, so all gradients and steps do.  Two threads each, float32.
"""
import importlib.metadata

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from kernels import twin
from primer.ch13_elmo import (
    adagrad,
    bilm_loss_grad,
    both_ways,
    clip_factor,
    initial_bilm,
    reverse_padded,
)
from tests.benchmarks.timing import interleaved

V, D, T, B, THREADS, RATE, START, LARGEST = 8000, 256, 64, 32, 2, 0.05, 1e-3, 1.0


class Models(torch.nn.Module):
    """Language models of torch's parts with our weights."""

    def __init__(self, P, ways):
        super().__init__()
        self.tokens = torch.nn.Embedding.from_pretrained(torch.tensor(P["tokens"]), freeze=False)
        self.outputs = torch.nn.Linear(D, V)
        self.lstms = torch.nn.ModuleList(torch.nn.LSTM(D, D) for _ in ways)
        with torch.no_grad():
            self.outputs.weight.copy_(torch.tensor(P["outputs"]))
            self.outputs.bias.copy_(torch.tensor(P["outputs.b"]))
            for way, layer in zip(ways, self.lstms, strict=True):
                layer.weight_ih_l0.copy_(torch.tensor(P[f"{way}.0.W"].T.copy()))
                layer.weight_hh_l0.copy_(torch.tensor(P[f"{way}.0.U"].T.copy()))
                layer.bias_ih_l0.copy_(torch.tensor(P[f"{way}.0.b"]))
                layer.bias_hh_l0.zero_()
        for layer in self.lstms:
            layer.bias_hh_l0.requires_grad_(False)           # b once, as ours
        self.optimiser = torch.optim.Adagrad([p for p in self.parameters() if p.requires_grad],
                                             lr=RATE, initial_accumulator_value=START, eps=0,
                                             fused=True)

    def step(self, reads):
        """-> the loss before the step."""
        self.optimiser.zero_grad()
        losses = [cross_entropy(self.outputs(layer(self.tokens(ids[:-1]))[0]).reshape(-1, V),
                                ids[1:].reshape(-1))
                  for layer, ids in zip(self.lstms, reads, strict=True)]
        loss = sum(losses) / len(losses)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters(), LARGEST)
        self.optimiser.step()
        return loss.item()


def our_step(P, sums, ids, lengths, ways, module):
    """-> the loss before the step."""
    loss, grads, _ = bilm_loss_grad(P, both_ways(ids, lengths)[:len(ways)], twin=module)
    factor = clip_factor(grads, LARGEST)
    for name, dx in grads.items():
        getattr(module, "adagrad", adagrad)(P[name], dx, sums[name], RATE, factor)
    return loss


def row(what, ways):
    """Ours and torch's step in turn -> dict."""
    rng, module = np.random.default_rng(0), twin("ch13_elmo", "numba")
    P = initial_bilm(V, D, 1, rng)
    ids, lengths = rng.zipf(1.3, (T + 1, B)) % V, np.full(B, T + 1)
    reads = [torch.tensor(ids), torch.tensor(reverse_padded(ids, lengths))][:len(ways)]
    theirs, sums = Models(P, ways), {name: np.full_like(x, START) for name, x in P.items()}
    for _ in range(3):
        np.testing.assert_allclose(our_step(P, sums, ids, lengths, ways, module),
                                   theirs.step(reads), rtol=1e-4)
    mine, peers = interleaved(lambda: our_step(P, sums, ids, lengths, ways, module),
                              lambda: theirs.step(reads), 9)
    return {"what": what, "peer": "torch", "size": f"d={D}, T={T}, B={B}, V={V:,}", "ours": mine,
            "peer_s": peers, "ratio": peers / mine, "bar": 1.0, "reached": peers >= mine,
            "versions": {p: importlib.metadata.version(p) for p in ("numpy", "numba", "torch")}}


def rows():
    """Two rows; compilation happens in the checks."""
    torch.set_num_threads(THREADS)
    yield row("LSTM language-model step", ("forward",))
    yield row("ELMo training step", ("forward", "backward"))
