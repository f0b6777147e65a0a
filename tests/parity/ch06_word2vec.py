"""Freeze PyTorch's word2vec on some sentences of the text -> tests/parity/ch06_word2vec.npz.

    python -m tests.parity.ch06_word2vec             needs torch

Everything is float64 and PyTorch's own: nn.Embedding and nn.EmbeddingBag (mean, sum) for the input
vectors, nn.Linear for the output ones, cross_entropy for the loss, autograd for gradients, and for
an epoch torch.optim.SGD with a LambdaLR that falls to 1/10000.  The pairs are made by itertools
from all places within reach.  Keys: skipgram_*, mean_*, sum_*: loss, dW, dU, and W, U, losses
after one epoch.
"""
from itertools import product
from pathlib import Path

import numpy as np

from primer import data
from primer.ch03_bow import bag_of_words, tokenize

C, D, RATE, SEED = 2, 5, 0.3, 6


def neighbours(lists):
    """-> [(id of a word, ids of its neighbours)], place by place."""
    out = []
    for ids in lists:
        near = {t: [] for t in range(len(ids))}
        for t, j in product(range(len(ids)), repeat=2):
            if 0 < abs(t - j) <= C:
                near[t].append(ids[j])
        out += [(ids[t], near[t]) for t in near]
    return out


def frozen(torch, name, layer, W, U, examples):
    """Loss, gradients and one epoch of a model: layer(ids) of each example predicts its word."""
    from torch.nn.functional import cross_entropy

    def fresh():
        inputs, outputs = layer(), torch.nn.Linear(D, len(U), bias=False, dtype=torch.float64)
        with torch.no_grad():
            inputs.weight.copy_(torch.tensor(W))
            outputs.weight.copy_(torch.tensor(U))
        return inputs, outputs

    def loss_of(inputs, outputs, ids, word):
        return cross_entropy(outputs(inputs(torch.tensor([ids]))).reshape(1, -1),
                             torch.tensor([word]))

    inputs, outputs = fresh()
    total = sum(loss_of(inputs, outputs, *e) for e in examples)
    total.backward()
    out = {f"{name}_loss": total.item(), f"{name}_dW": inputs.weight.grad.numpy().copy(),
           f"{name}_dU": outputs.weight.grad.numpy().copy()}
    inputs, outputs = fresh()
    descent = torch.optim.SGD([inputs.weight, outputs.weight], lr=RATE)
    falling = torch.optim.lr_scheduler.LambdaLR(
        descent, lambda i: max(1 - i / len(examples), 1e-4))
    losses = []
    for example in examples:
        descent.zero_grad()
        loss = loss_of(inputs, outputs, *example)
        loss.backward()
        descent.step()
        falling.step()
        losses.append(loss.item())
    return out | {f"{name}_W": inputs.weight.detach().numpy(),
                  f"{name}_U": outputs.weight.detach().numpy(), f"{name}_losses": losses}


def main():
    import torch

    documents = data.load_texts()["bank"]["documents"]
    vocabulary, _ = bag_of_words(documents)
    near = neighbours([[vocabulary[w] for w in tokenize(d)] for d in documents])
    rng = np.random.default_rng(SEED)
    W, U = rng.standard_normal((2, len(vocabulary), D))
    keys = {"W": W, "U": U, "version": torch.__version__}
    single = [([word], other) for word, own in near for other in own]
    several = [(own, word) for word, own in near if own]
    for name, examples, layer in (
            ("skipgram", single, lambda: torch.nn.Embedding(len(W), D, dtype=torch.float64)),
            *((mode, several, lambda mode=mode: torch.nn.EmbeddingBag(
                len(W), D, mode=mode, dtype=torch.float64)) for mode in ("mean", "sum"))):
        keys |= frozen(torch, name, layer, W, U, examples)
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **keys)
    print(f"{path.name}: {len(single)} pairs, {len(several)} windows, {len(vocabulary)} words, "
          f"{path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
