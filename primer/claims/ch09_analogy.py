"""The text's statements on relations in vectors, tried: lines 1025-1053, 1143-1185, 1242-1245."""
import functools
from itertools import product

import numpy as np

from primer.ch01_geometry import cosine, kmeans
from primer.ch06_word2vec import count_vocabulary, encode_corpus, skipgram_pairs
from primer.ch09_analogy import (
    analogy_3cosadd,
    cluster_purity,
    offset_consistency,
    polarity_agreement,
    sswe_network,
    train_sswe,
)
from primer.ch10_factorization import cooccurrence, embed, ppmi, truncated_svd
from primer.claims import Claim

SENTENCE = "The cat sat on the mat"
SLOTS = [                             # sentences of ours: words of one brace stand alike
    ("the {} is {} today", "soup tea coffee bath", "hot cold"),
    ("my {} felt {} about the news", "father mother teacher doctor", "happy joyful"),
    ("a {} book has a {} end", "good bad", "short long"),
    ("the {} bought a {} with new wheels", "farmer driver", "car automobile"),
    ("every {} eats and {} at night", "dog cat horse cow", "sleeps rests"),
    ("the people of {} speak the language of {}", "france germany italy", "spain portugal"),
]
GROUPS = ["dog cat horse cow", "france germany italy spain", "happy joyful", "car automobile"]


@functools.cache
def vectors():
    """Chapter 10's vectors of all sentences that the slots allow -> dict word: (d,)."""
    documents = [pattern.format(a, b) for pattern, one, other in SLOTS
                 for a, b in product(one.split(), other.split())]
    vocabulary, _ = count_vocabulary(documents)
    tokens, starts = encode_corpus(documents, vocabulary)
    M = ppmi(cooccurrence(np.split(tokens, starts[1:-1]), len(vocabulary), 2))
    W, _ = embed(truncated_svd(M, 16, np.random.default_rng(0)))
    return {w: W[i] for w, i in vocabulary.items()}


def angle(a, b):
    """How two words of the sentences lie to each other -> statement."""
    c = cosine(vectors()[a], vectors()[b])
    return "near each other" if c > 0.7 else "opposite directions" if c < -0.7 else "apart"


def planted(noise=0.0, kinds=2, things=8, seed=0):
    """Exact parallelograms of unit rows, or nearly -> W, questions (m, 4)."""
    rng = np.random.default_rng(seed)
    kind, thing = (x / np.linalg.norm(x, axis=1, keepdims=True)
                   for x in (rng.standard_normal((n, 10)) for n in (kinds, things)))
    W = np.hstack([np.repeat(kind, things, axis=0), np.tile(thing, (kinds, 1))])
    questions = [(t, things + t, s, things + s) for t in range(things) for s in range(things)
                 if t != s]
    return W + noise * rng.standard_normal(W.shape), np.array(questions)


def solved():
    """Share of analogies that parallel offsets solve -> float."""
    W, questions = planted()
    return float(np.mean(analogy_3cosadd(W, questions[:, :3]) == questions[:, 3]))


def consistency():
    W, _ = planted()
    return offset_consistency(W[:8], W[8:])


def similar_contexts():
    """Cosine of two words that stand in the same contexts, in equal numbers -> float."""
    return cosine(vectors()["happy"], vectors()["joyful"])


def purity():
    """Do k-means clusters of the sentences' words keep the text's groups together? -> float."""
    words = [w for group in GROUPS for w in group.split()]
    classes = np.repeat(np.arange(len(GROUPS)), [len(g.split()) for g in GROUPS])
    X = np.array([vectors()[w] / np.linalg.norm(vectors()[w]) for w in words])
    best = min((kmeans(X, len(GROUPS), np.random.default_rng(seed)) for seed in range(8)),
               key=lambda found: found[2])
    return cluster_purity(best[1], classes)


def neighbours_of_cat(c):
    """The words within c of cat, in order -> list of str."""
    vocabulary, _ = count_vocabulary([SENTENCE])
    centres, contexts = skipgram_pairs(*encode_corpus([SENTENCE], vocabulary), c)
    return [list(vocabulary)[o] for o in contexts[centres == vocabulary["cat"]]]


def where_cat_helps_mat():
    """Windows at which cat is among the neighbours of mat -> statement."""
    first = min(c for c in range(1, 6) if "mat" in neighbours_of_cat(c))
    return "at any window" if first == 1 else f"from window {first} on"


def sentiment(seed=0):
    """Good and bad words in the same places, with and without polarity in the loss -> statement."""
    rng = np.random.default_rng(seed)
    polarity = rng.choice([-1, 1], 300)
    middle = rng.integers(0, 4, 300) + np.where(polarity > 0, 0, 4)
    windows = np.stack([rng.integers(8, 14, 300), middle, rng.integers(8, 14, 300)], axis=1)
    signs, found = np.r_[np.ones(4, int), -np.ones(4, int), np.zeros(6, int)], []
    for alpha in (1.0, 0.5):
        rng = np.random.default_rng(1)
        network = sswe_network(14, 6, 3, 8, rng)
        train_sswe(network, windows, polarity, 12, rng, alpha=alpha, batch=32)
        found.append(polarity_agreement(network["W"], signs, 3))
    return "separates words by sentiment" if found[1] > 0.9 > found[0] + 0.1 else f"{found}"


CLAIMS = [
    Claim(1025, "cosine of words whose contexts are alike", 1.0, similar_contexts, digits=2,
          note="In sentences of ours where two words stand in the same places."),
    Claim(1032, "consistency of offsets that are the same for all pairs", 1.0, consistency),
    Claim(1044, "synonyms: happy and joyful", "near each other", lambda: angle("happy", "joyful"),
          note="They are exchangeable; so are opposites: see line 1045."),
    Claim(1045, "antonyms: good and bad", "opposite directions", lambda: angle("good", "bad"),
          note="Opposites stand in the same places, so their vectors are near each other, as lines "
               "297, 370, 403 and 1243 say.  In the addresses, increase and decrease have cosine "
               "0.71 (window 2, 100 dimensions)."),
    Claim(1149, "windows at which predicting mat reinforces its relation to cat in \"The cat sat "
          "on the mat\"", "at any window", where_cat_helps_mat,
          note="Misleading: at the usual dynamic windows most predictions of mat leave cat out."),
    Claim(1154, "what skip-gram predicts from cat in \"The cat sat on the mat\"",
          ["the", "sat", "on", "mat"], lambda: neighbours_of_cat(4),
          note="\"the\" stands there twice and is predicted twice; mat needs window 4."),
    Claim(1164, "purity of k-means clusters for groups of words that stand alike", 1.0, purity),
    Claim(1175, "synonyms: car and automobile", "near each other",
          lambda: angle("car", "automobile")),
    Claim(1178, "antonyms: hot and cold", "opposite directions", lambda: angle("hot", "cold"),
          note="\"Large angular separation\": as line 1045."),
    Claim(1183, "share of analogies that consistent offsets solve", 1.0, solved,
          note="With a, b, c left out of the answers, which the text does not say: where offsets "
               "are short beside the noise, c itself is nearest to b - a + c."),
    Claim(1243, "where co-occurrence puts antonyms: good and bad", "near each other",
          lambda: angle("good", "bad")),
    Claim(1245, "what polarity in the loss (SSWE) does to words that stand alike",
          "separates words by sentiment", sentiment),
]
