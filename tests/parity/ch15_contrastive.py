"""Freeze torch and sentence-transformers -> tests/parity/ch15_contrastive.npz.

    python -m tests.parity.ch15_contrastive          needs torch and sentence-transformers

Each loss gets vectors of its own, in float64, with torch's gradients:
    in-batch    torch's cross_entropy of Q C^T / tau, with hard negatives
    MNRL        MultipleNegativesRankingLoss (cosine, scale 20: tau = 0.05), two columns and three
    cosine      CosineSimilarityLoss;   triplet  TripletLoss (Euclidean, margin 5)
    classes     SoftmaxLoss with its linear layer (whose bias is 0)
    sphere      pdist, as Wang and Isola's uniformity has it
Pooling: the library's modules, mean, CLS and max, of padded states.
"""
from pathlib import Path

import numpy as np


def main():
    import sentence_transformers
    import torch
    from sentence_transformers import losses
    from sentence_transformers.models import Pooling

    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(15)
    n, d = 5, 7
    A, B, N = rng.standard_normal((3, n, d))
    Y, labels = rng.uniform(-1, 1, n), rng.integers(0, 3, n)
    W = rng.standard_normal((3 * d, 3))
    keys = {"torch": torch.__version__, "sentence_transformers": sentence_transformers.__version__,
            "A": A, "B": B, "N": N, "Y": Y, "labels": labels, "W": W}

    class Given(torch.nn.Module):
        """A model whose embeddings are given."""

        device = torch.device("cpu")

        def forward(self, features):
            return features

    def frozen(name, function, *arrays):
        tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
        loss = function(*tensors)
        loss.backward()
        keys[name] = loss.item()
        keys.update({f"{name}_d{i}": t.grad.numpy() for i, t in enumerate(tensors)})

    def library(loss, target, *tensors):
        return loss([{"sentence_embedding": t} for t in tensors], target)

    def classes(u, v, w):
        weights = {"classifier.weight": w.T, "classifier.bias": torch.zeros(3)}
        columns = [{"sentence_embedding": u}, {"sentence_embedding": v}]
        return torch.func.functional_call(losses.SoftmaxLoss(Given(), d, 3), weights,
                                          (columns, torch.tensor(labels)))

    def in_batch(q, c):
        return torch.nn.functional.cross_entropy(q @ c.T / 0.7, torch.arange(n))

    def uniformity(x):
        return torch.pdist(x).pow(2).mul(-2).exp().mean().log()

    ranking = losses.MultipleNegativesRankingLoss(Given())
    frozen("in_batch", in_batch, A, np.concatenate([B, N]))
    frozen("mnrl", lambda *x: library(ranking, None, *x), A, B)
    frozen("mnrl_hard", lambda *x: library(ranking, None, *x), A, B, N)
    frozen("cosine", lambda *x: library(losses.CosineSimilarityLoss(Given()), torch.tensor(Y), *x),
           A, B)
    frozen("triplet", lambda *x: library(losses.TripletLoss(Given()), None, *x), A, B, N)
    frozen("classes", classes, A, B, W)
    frozen("uniformity", uniformity, A / np.linalg.norm(A, axis=1, keepdims=True))
    H, mask = rng.standard_normal((4, 6, d)), np.arange(6) < np.array([6, 1, 3, 4])[:, None]
    keys |= {"H": H, "mask": mask}
    for name in ("mean", "cls", "max"):
        features = {"token_embeddings": torch.tensor(H), "attention_mask": torch.tensor(mask)}
        features["attention_mask"] = features["attention_mask"].long()
        keys[f"pool_{name}"] = Pooling(d, pooling_mode=name)(features)["sentence_embedding"].numpy()
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **keys)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
