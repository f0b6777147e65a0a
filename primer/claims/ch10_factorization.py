"""The text's statements on counts, PMI, SGNS and LSA, recomputed: lines 1071-1121."""
import numpy as np

from primer.ch01_geometry import cosine
from primer.ch03_bow import bag_of_words, encode, to_dense, tokenize
from primer.ch04_tfidf import tfidf
from primer.ch10_factorization import (
    cooccurrence,
    embed,
    lsa,
    pmi,
    ppmi,
    sgns_cell_optimum,
    shifted_pmi,
    truncated_svd,
)
from primer.claims import Claim
from primer.data import load_sotu, load_texts

CARE = ("the doctor treats a patient in the hospital", "the physician treats a patient at night",
        "a doctor gives medicine to the sick", "a physician gives advice to the sick",
        "the farmer sells corn at a market", "a farmer grows corn and wheat",
        "a merchant sells wheat at the market")


def counted(documents, window):
    """Texts -> vocabulary, co-occurrence counts, ids of each text."""
    vocabulary = bag_of_words(documents)[0]
    ids = [encode(tokenize(text), vocabulary) for text in documents]
    return vocabulary, cooccurrence(ids, len(vocabulary), window), ids


def toy(window=2):
    """The cat on the mat and the dog on the log, counted -> CSR (7, 7)."""
    return counted(load_texts()["cat_mat"]["documents"], window)[1]


def counting_by_hand():
    """Is each entry the number of times that the two words are near?  The text's corpus."""
    vocabulary, C, ids = counted(load_texts()["cat_mat"]["documents"], 2)
    M = np.zeros(C.shape, int)
    for d in ids:
        for i, w in enumerate(d):
            for j in range(max(i - 2, 0), min(i + 3, len(d))):
                M[w, d[j]] += i != j
    return "count(w_i, w_j)" if np.array_equal(M, to_dense(C)) else "something else"


def share_of_pairs():
    """Of all pairs of words in the addresses of 1990 to 1994, how many stand together?"""
    texts = [p for a in load_sotu() if 1990 <= a["year"] <= 1994 for p in a["paragraphs"]]
    vocabulary, C, _ = counted(texts, 5)
    share = C.data.size / len(vocabulary) ** 2
    return "extremely sparse" if share < 0.02 else f"{share:.0%} of the cells are not 0"


def order_of_words():
    """Do dog bites man and man bites dog differ in TF-IDF?"""
    X = to_dense(tfidf(bag_of_words([*load_texts()["dog_bites_man"]["documents"], "cat"])[1]))
    return "insensitive to word order" if np.array_equal(X[0], X[1]) else "sensitive"


def lsa_of_the_text():
    """LSA of the text's three documents on cat and dog, two dimensions -> documents, words."""
    X = bag_of_words(load_texts()["cat_dog"]["documents"])[1]
    return lsa(X, 2, np.random.default_rng(0))[:2]


def density():
    zeros = np.mean([np.mean(np.abs(part) < 1e-12) for part in lsa_of_the_text()])
    return "sparse" if zeros > 0.5 else "dense"


def widths():
    """Dimensions of the word vectors that a 7 x 7 matrix gives, as one asks for 1, 2, 4."""
    found = [embed(truncated_svd(toy(), d, np.random.default_rng(0)))[0].shape[1]
             for d in (1, 2, 4)]
    return "fixed by the vocabulary" if len(set(found)) == 1 else "tunable"


def gap(context_power=1.0, smoothed=1.0):
    """Largest distance of the optimum of SGNS from the shifted PMI, 5 negatives, over all cells."""
    best = sgns_cell_optimum(toy(), 5, context_power).data
    return np.abs(best - shifted_pmi(toy(), 5, smoothed).data).max()


def what_is_learned():
    return "the same association values" if gap() < 1e-9 else "different values"


def of_probabilities():
    """PMI from P(w, c), P(w), P(c) of lines 1105 to 1107, against (10.2)."""
    P = to_dense(toy()) / toy().data.sum()
    seen = P > 0
    want = np.log(P[seen] / np.outer(P.sum(axis=1), P.sum(axis=0))[seen])
    same = np.allclose(to_dense(pmi(toy()))[seen], want, rtol=1e-12, atol=1e-12)
    return "log P(w,c) / (P(w) P(c))" if same else "another formula"


def noise_of_word2vec():
    if gap(0.75, 0.75) < 1e-9 < gap(0.75, 1.0):
        return "smoothed and shifted PMI"
    return "shifted PMI" if gap(0.75, 1.0) < 1e-9 else "neither"


def synonyms_by_counting():
    """Is physician, which never stands near doctor, the word most like it?  PPMI of CARE."""
    vocabulary, C, _ = counted(CARE, 3)
    M, doctor = to_dense(ppmi(C)), vocabulary["doctor"]
    others = [word for word in vocabulary if word != "doctor"]
    nearest = max(others, key=lambda word: cosine(M[doctor], M[vocabulary[word]]))
    apart = to_dense(C)[doctor, vocabulary["physician"]] == 0
    return "achievable" if apart and nearest == "physician" else "not achievable"


CLAIMS = [
    Claim(1071, "an entry of the co-occurrence matrix", "count(w_i, w_j)", counting_by_hand),
    Claim(1073, "co-occurrence counts of the addresses of 1990 to 1994, window 5",
          "extremely sparse", share_of_pairs),
    Claim(1080, "TF-IDF of dog bites man and man bites dog", "insensitive to word order",
          order_of_words),
    Claim(1090, "vectors of a count-based model: LSA", "sparse", density,
          note="TF-IDF rows are sparse; what LSA makes of them, U S^p, has hardly a zero."),
    Claim(1090, "dimensions of a count-based model's vectors", "fixed by the vocabulary", widths,
          note="True of raw rows.  The number of singular values that one keeps is free, as line "
               "1073 says itself: svd(M)[:, :d]."),
    Claim(1090, "dimensions of a predictive model's vectors", "100 to 300", lambda: "free",
          illustrative=True, note="A custom, which line 1126 follows: nothing fixes d."),
    Claim(1091, "what prediction (SGNS) finds beside what counting finds, for a seen pair",
          "different values", what_is_learned,
          note="Lines 1095 to 1111 say it themselves: the optimum of the predictive loss is the "
               "count's PMI - ln K.  They differ in what the cut to d dimensions weighs."),
    Claim(1096, "PMI from the three probabilities (the formula is lost in the text)",
          "log P(w,c) / (P(w) P(c))", of_probabilities),
    Claim(1100, "largest gap of the optimum of SGNS from PMI - log k, 5 negatives", 0.0, gap,
          note="If negatives are drawn by frequency, d is large enough and the pair was seen: an "
               "unseen pair has PMI -inf."),
    Claim(1111, "what SGNS factorises with word2vec's noise, count^0.75",
          "smoothed and shifted PMI", noise_of_word2vec,
          note="So line 1100 holds for the exponent 1 only: cat and sat, window 2, 5 negatives: "
               "-1.2040 by the formula, -1.1295 by the noise of line 979."),
    Claim(1121, "whether counts find that doctor and physician are alike (sentences of ours)",
          "not achievable", synonyms_by_counting,
          note="Rows of PPMI do: the two never stand together, but their neighbours are the same. "
               "It is the hypothesis of line 158, and older than prediction."),
]
