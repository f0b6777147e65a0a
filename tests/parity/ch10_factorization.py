"""Freeze NLTK's counts and PMI, scikit-learn's SVD -> tests/parity/ch10_factorization.npz.

    python -m tests.parity.ch10_factorization        needs the extra `peers`; a few seconds

Corpus: the addresses of 2001 to 2004, of which the 150 most frequent words (ties by first
appearance) are counted, window 4; words in between are left out before the window is laid.

    pmi          NLTK's BigramAssocMeasures.pmi of our counts, which it takes as a contingency
                 table (n_ii, (n_ix, n_xi), n_xx) and to base 2; times ln 2
    nltk         the counts themselves: BigramCollocationFinder with window_size 5, which counts
                 a pair once, in its order; added to its transpose
    svd          singular values of NumPy's full SVD of the passages' TF-IDF; vectors: cut to 8,
                 the product's first five columns
    arpack       singular values of scikit-learn's TruncatedSVD, algorithm "arpack"; components
"""
from pathlib import Path

import numpy as np

from primer import data
from primer.ch03_bow import build_vocabulary, encode, tokenize

WORDS, WINDOW, D = 150, 4, 8


def corpus():
    """-> vocabulary, ids of each passage."""
    passages = [p for a in data.load_sotu() if 2001 <= a["year"] <= 2004 for p in a["paragraphs"]]
    tokens = [tokenize(p) for p in passages]
    everything = build_vocabulary(tokens)
    frequency = np.bincount(np.concatenate([encode(t, everything) for t in tokens]))
    kept = np.sort(np.argsort(-frequency, kind="stable")[:WORDS])
    words = list(everything)
    vocabulary = {words[w]: i for i, w in enumerate(kept)}
    return vocabulary, [encode(t, vocabulary) for t in tokens]


def main():
    from nltk.collocations import BigramAssocMeasures, BigramCollocationFinder
    from sklearn.decomposition import TruncatedSVD
    vocabulary, documents = corpus()
    V = len(vocabulary)
    counts = np.zeros((V, V), np.int64)
    for d in documents:
        found = BigramCollocationFinder.from_words(d.tolist(), window_size=WINDOW + 1)
        for (w, c), count in found.ngram_fd.items():
            counts[w, c] += count
            counts[c, w] += count
    sums, total = counts.sum(axis=1), counts.sum()
    pmi = np.zeros((V, V))
    for w, c in zip(*np.nonzero(counts), strict=True):
        pmi[w, c] = BigramAssocMeasures.pmi(
            int(counts[w, c]), (int(sums[w]), int(sums[c])), int(total)) * np.log(2)
    X = np.stack([np.bincount(d, minlength=V) for d in documents if len(d)])
    weights = X / X.sum(axis=1, keepdims=True) * np.log(len(X) / (X > 0).sum(axis=0))
    U, S, Vt = np.linalg.svd(weights, full_matrices=False)
    theirs = TruncatedSVD(D, algorithm="arpack", random_state=0).fit(weights)
    path = Path(__file__).with_suffix(".npz")
    rows, columns = np.nonzero(np.triu(counts))
    np.savez_compressed(path, rows=rows.astype(np.int32), columns=columns.astype(np.int32),
                        nltk=counts[rows, columns], pmi=pmi[rows, columns],
                        svd=S, vectors=(U[:, :D] * S[:D]) @ Vt[:D, :5],
                        arpack=theirs.singular_values_, components=theirs.components_)
    print(f"{path.name}: {len(rows)} pairs, {X.shape} TF-IDF, "
          f"{path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
