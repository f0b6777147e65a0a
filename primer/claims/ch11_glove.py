"""The text's statements on GloVe, recomputed: lines 1304-1337, 1438 and 1556."""
import numpy as np

from primer.ch01_geometry import cosine
from primer.ch03_bow import CSR, bag_of_words, encode, to_dense, tokenize
from primer.ch06_word2vec import encode_corpus
from primer.ch10_factorization import ppmi
from primer.ch11_glove import (
    GloVe,
    adagrad_block,
    count_block,
    initial_model,
    predicted_ratios,
    probability_ratios,
    shuffled_entries,
)
from primer.claims import Claim
from primer.data import load_sotu, load_texts


def counted(window, first=0, stop=2):
    """The cat on the mat and the dog on the log by 1 / distance -> vocabulary, CSR (7, 7)."""
    texts = load_texts()["cat_mat"]["documents"]
    vocabulary, _ = bag_of_words(texts)
    ids = [encode(tokenize(text), vocabulary) for text in texts[first:stop]]
    starts = np.cumsum([0, *map(len, ids)])
    return vocabulary, count_block(np.concatenate(ids), starts, len(vocabulary), window)


def direction():
    """X_ij: i in the context of j, or j in the context of i?  A symmetric window."""
    X = to_dense(counted(4)[1])
    return "i near j, or j near i: the same" if np.allclose(X, X.T) else "two different matrices"


def cat_and_mat():
    """Is the mat among the near ones of the cat, in its own sentence at a window of 10?"""
    vocabulary, X = counted(10, stop=1)
    row = to_dense(X)[vocabulary["cat"]]
    own = {w: row[i] for w, i in vocabulary.items() if row[i] > 0}
    return "higher" if own["mat"] > min(own.values()) else \
        "the lowest that is not 0: " + ", ".join(f"{w} {x:.2f}" for w, x in sorted(
            own.items(), key=lambda pair: -pair[1]))


def who_is_near():
    """Cosines of rows: dog and log, which stand together, or cat and dog, which do not?"""
    vocabulary, X = counted(4)
    found = []
    for M in (X, ppmi(X)):
        M = to_dense(M)
        found.append([cosine(M[vocabulary[a]], M[vocabulary[b]])
                      for a, b in (("dog", "log"), ("cat", "dog"))])
    if all(together > alike for together, alike in found):
        return "dog and log"
    return "cat and dog: " + ", ".join(f"{b:.2f} against {a:.2f}" for a, b in found)


def kinds_of_count():
    """What a model of GloVe learns from: the corpus, or its counts alone?"""
    one, other = np.array([0, 1, 2, 3, 0, 2]), np.array([2, 0, 3, 2, 1, 0])      # read backwards
    counts = [count_block(tokens, np.array([0, 6]), 4, 2) for tokens in (one, other)]
    return "from counts of the whole corpus" if np.array_equal(*map(to_dense, counts)) else \
        "from the order of the corpus"


def dense_gigabytes(V):
    """A dense V x V matrix of float32 -> gigabytes."""
    return V * V * 4 / 1e9


def growth():
    return "quadratically" if np.isclose(dense_gigabytes(2e5) / dense_gigabytes(1e5), 4) else \
        "otherwise"


def what_is_factorised():
    """Which cells have a say: all of them, or those with a count?  Addresses of 1990 to 1994."""
    texts = [p for a in load_sotu() if 1990 <= a["year"] <= 1994 for p in a["paragraphs"]]
    vocabulary, _ = bag_of_words(texts)
    X = count_block(*encode_corpus(texts, vocabulary), len(vocabulary), 10)
    share = len(shuffled_entries(X, np.random.default_rng(0))[0]) / len(vocabulary) ** 2
    return "the full matrix" if share > 0.5 else f"its entries above 0: {share:.1%} of the cells"


def kind_of_model():
    """Are counts only stored, or do vectors move against the error of a prediction?"""
    rng = np.random.default_rng(0)
    model = initial_model(2, 2, rng, np.float64)
    before = model.words.copy()
    adagrad_block(*model, [0], [1], [3.0], [1.0])
    moved = not np.array_equal(before, model.words)
    return "regression on counts, by gradient steps" if moved else "count-based"


def ratios():
    """Are ratios of probabilities differences of vectors?  Vectors that meet the counts exactly."""
    rng = np.random.default_rng(0)
    W, b = rng.normal(0, 0.5, (6, 3)), rng.normal(1, 0.5, 6)
    table = np.exp(W @ W.T + b[:, None] + b)
    part = np.ones((6, 2, 4))
    part[:, 0] = np.column_stack([W, b])
    X = CSR(np.arange(7) * 6, np.tile(np.arange(6), 6), table.ravel(), (6, 6))
    k, ratio = probability_ratios(X, 0, 1)
    predicted = predicted_ratios(GloVe(part, part), 0, 1, k, table.sum(axis=1))
    return "ratios of probabilities" if np.allclose(predicted, ratio) else "something else"


CLAIMS = [
    Claim(1304, "X_ij: word i in the context of word j, or the other way round",
          "i near j, or j near i: the same", direction,
          note="Symmetric windows; the paper defines X_ij as j in the context of i."),
    Claim(1314, "the count of cat and mat in \"The cat sat on the mat\"", "higher", cat_and_mat,
          note="Four tokens apart: 1/4 at windows from 4 on, 0 below."),
    Claim(1314, "which two words get close vectors", "dog and log", who_is_near,
          note="Words that share contexts, not words that stand together (cosines of count rows, "
               "of PPMI rows)."),
    Claim(1320, "what GloVe is trained on", "from counts of the whole corpus", kinds_of_count,
          note="A corpus with the same counts in another order gives the same model."),
    Claim(1337, "how the memory of the full matrix grows with the vocabulary", "quadratically",
          growth, note="Dense float32: 40 GB at 10^5 words, 640 GB at 4 10^5, 4 TB at 10^6."),
    Claim(1337, "what is factorised", "the full matrix", what_is_factorised,
          note="f(0) = 0: only entries that are not 0 are stored and visited."),
    Claim(1438, "what kind of model GloVe is", "count-based", kind_of_model,
          note="A log-bilinear regression whose data are counts: it predicts ln X and learns by "
               "gradient steps (line 1292 calls it static and predictive)."),
    Claim(1556, "what differences of GloVe's vectors model", "ratios of probabilities", ratios),
]
