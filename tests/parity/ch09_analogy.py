"""Make tests/parity/ch09_analogy.npz: analogies, correlations and t-SNE as other libraries do them.

    python -m tests.parity.ch09_analogy          needs gensim, scikit-learn and SciPy

gensim     the answers of most_similar and most_similar_cosmul, the accuracy over a file of
           questions, and the correlation over a file of pairs: some words unknown, some in capitals
SciPy      Spearman's correlation of numbers with ties
scikit-learn  P, KL and gradient of exact t-SNE (float64, but that its distances are float32), and
           the KL of a whole run.
"""
import tempfile
from pathlib import Path

import numpy as np

SEED = 9


def planted(rng, kinds=4, things=10, d=8, noise=0.3):
    """Words such as k2t7: a vector of its kind plus one of its thing, and noise -> words, W."""
    kind, thing = rng.standard_normal((kinds, d)), rng.standard_normal((things, d))
    words = [f"k{k}t{t}" for k in range(kinds) for t in range(things)]
    W = (kind[:, None] + thing).reshape(-1, d) + noise * rng.standard_normal((len(words), d))
    return words, W.astype(np.float32)


def questions(rng, m=80):
    """a is to b as c is to d: two things, each of the same two kinds; some words unknown."""
    rows = []
    for _ in range(m):
        (k, j), (t, s) = rng.choice(4, 2, replace=False), rng.choice(11, 2, replace=False)
        row = [f"k{k}t{t}", f"k{j}t{t}", f"k{k}t{s}", f"k{j}t{s}"]      # t10 is unknown
        rows.append([w.upper() for w in row] if rng.random() < 0.2 else row)
    return rows


def of_gensim(rng):
    from gensim.models import KeyedVectors

    words, W = planted(rng)
    vectors = KeyedVectors(W.shape[1])
    vectors.add_vectors(words, W)
    asked = questions(rng)
    known = [[w.lower() for w in row] for row in asked if not any("t10" in w.lower() for w in row)]
    answers = {f"{name}_answers": [words.index(solve(positive=[b, c], negative=[a], topn=1)[0][0])
                                   for a, b, c, _ in known]
               for name, solve in (("add", vectors.most_similar),
                                   ("mul", vectors.most_similar_cosmul))}
    pairs = [[words[i], words[j]] for i, j in rng.integers(0, len(words), (60, 2))]
    pairs += [["k0t10", words[3]], [words[4], "nowhere"]]
    scores = rng.integers(0, 11, len(pairs)) / 2
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "questions.txt"
        file.write_text(": one\n" + "\n".join(map(" ".join, asked)) + "\n")
        accuracy, _ = vectors.evaluate_word_analogies(str(file))
        file.write_text("\n".join(f"{a}\t{b}\t{s}" for (a, b), s in zip(pairs, scores,
                                                                        strict=True)) + "\n")
        _, spearman, oov = vectors.evaluate_word_pairs(str(file))
    return answers | {"words": words, "W": W, "questions": asked, "accuracy": accuracy,
                      "pairs": pairs, "scores": scores, "rho": spearman[0], "oov_percent": oov}


def of_scikit_learn(rng):
    from scipy.spatial.distance import pdist, squareform
    from sklearn.manifold import TSNE
    from sklearn.manifold._t_sne import _joint_probabilities, _kl_divergence

    X = rng.standard_normal((60, 5)) + np.repeat(3 * np.eye(5)[:3], 20, axis=0)
    keys = {"X": X}
    for perplexity in (5, 15):
        D = squareform(pdist(X, "sqeuclidean")).astype(np.float32)
        P = _joint_probabilities(D, perplexity, 0)
        keys[f"P_{perplexity}"] = squareform(P)
    Y = rng.standard_normal((60, 2))
    kl, grad = _kl_divergence(Y.ravel(), P, 1, 60, 2)
    start = rng.standard_normal((60, 2)) * 1e-4
    run = TSNE(2, perplexity=15, method="exact", init=start.astype(np.float32),
               max_iter=1000).fit(X).kl_divergence_
    return keys | {"Y": Y, "kl": kl, "grad": grad.reshape(60, 2), "start": start, "run": run}


def main():
    import gensim
    import scipy
    import sklearn

    rng = np.random.default_rng(SEED)
    x, y = rng.integers(0, 6, (2, 40)).astype(float)
    keys = of_gensim(rng) | of_scikit_learn(rng) | {
        "x": x, "y": y, "spearman": scipy.stats.spearmanr(x, y).statistic,
        "ranks": scipy.stats.rankdata(x),
        "versions": [gensim.__version__, scipy.__version__, sklearn.__version__]}
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **keys)
    print(f"{path.name}: accuracy {keys['accuracy']:.3f}, rho {keys['rho']:.3f}, "
          f"KL {keys['kl']:.3f}, {keys['run']:.3f} at the end, {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
