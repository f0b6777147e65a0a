"""Makes ch14_bert.npz: BERT's heads and their losses by torch, derivatives by its autograd.

    python -m tests.parity.ch14_bert      needs torch (extra: peers)
"""
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F


def drawn(seed=14, V=11, d=6, C=3):
    """-> P and H as torch's, float64, with gradients; labels of MLM (-1: none), of classes."""
    rng = np.random.default_rng(seed)
    shapes = {"tokens": (V, d), "mlm.dense": (d, d), "mlm.dense_bias": (d,), "mlm.scale": (d,),
              "mlm.shift": (d,), "mlm.bias": (V,), "pool": (d, d), "pool_bias": (d,),
              "nsp": (d, C), "nsp_bias": (C,)}
    P = {k: torch.tensor(rng.standard_normal(s), requires_grad=True) for k, s in shapes.items()}
    H = torch.tensor(rng.standard_normal((2, 3, d)), requires_grad=True)
    return P, H, np.array([4, -1, 0, 10, -1, 4]), np.array([2, 0])


def taken(P, H):
    """Gradients by name, and none left -> dict."""
    found = {k: x.grad.numpy().copy() for k, x in {**P, "H": H}.items() if x.grad is not None}
    for x in [*P.values(), H]:
        x.grad = None
    return found


def main():
    P, H, labels, classes = drawn()
    Y = F.gelu(F.linear(H.reshape(6, -1), P["mlm.dense"].T, P["mlm.dense_bias"]))
    Y = F.layer_norm(Y, Y.shape[-1:], P["mlm.scale"], P["mlm.shift"], 1e-12)
    mlm = F.cross_entropy(F.linear(Y, P["tokens"], P["mlm.bias"]), torch.tensor(labels),
                          ignore_index=-1)
    mlm.backward()
    out = {"mlm": mlm.item(), **{f"mlm/{k}": x for k, x in taken(P, H).items()}}
    pooled = torch.tanh(F.linear(H[:, 0], P["pool"].T, P["pool_bias"]))
    own = F.cross_entropy(F.linear(pooled, P["nsp"].T, P["nsp_bias"]), torch.tensor(classes))
    own.backward()
    out |= {"class": own.item(), **{f"class/{k}": x for k, x in taken(P, H).items()}}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), labels=labels, classes=classes,
                        H=H.detach().numpy(), torch=torch.__version__, **out,
                        **{f"P/{k}": x.detach().numpy() for k, x in P.items()})


if __name__ == "__main__":
    main()
