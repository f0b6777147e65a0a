"""Freeze the scores of rank_bm25 and bm25s on the State of the Union -> tests/parity/ch05_bm25.npz.

    python -m tests.parity.ch05_bm25                 needs the extra `peers`; a quarter of a minute

What each library computes (f count, r length over mean length, K = k1 (1 - b + b r)); "absent"
is what it gives for a query's word that a document does not hold, where we and the papers give 0:

    key              idf(t)                         worth of a count              absent
    rank_okapi       (5.4); if below 0, 0.25        (5.2)                         0
                     times the mean of all idf
    rank_plus        ln((n + 1) / df)               (5.2) + 1                     idf
    rank_l           ln((n + 1) / (df + 1/2))       BM25L's TIMES f (no paper's)  0
    bm25s_robertson  (5.4); if below 0, 0           f / (f + K)                   0
    bm25s_lucene     (5.3)                          f / (f + K)                   0
    bm25s_atire      ln(n / df)                     (5.2)                         0
    bm25s_l          ln((n + 1) / (df + 1/2))       BM25L's                       BM25L's of f = 0
    bm25s_plus       ln((n + 1) / df)               (5.2) + 1                     idf

So the "robertson" of bm25s has neither Robertson's negative idf nor his (k1 + 1).  And in both
BM25+ the added 1 moves no rank, since every document gets idf for it; in the paper, and here, only
one that holds the word does.  All get k1 = 1.2, b = 0.75 (the defaults are 1.5 and 0.75),
delta = 1 (plus) or 0.5 (l; the default of bm25s for plus too) and chapter 3's tokens.
"""
from pathlib import Path

import numpy as np

from primer import data
from primer.ch03_bow import tokenize

K1, B = 1.2, 0.75
QUERIES = [                           # also words of most documents, repeated and unknown ones
    "gold and silver", "the state of the union", "atomic bomb", "freedom freedom of speech",
    "of the", "tariff tariff duties", "railroad land grants", "xyzzy peace treaty with spain"]
EVERY, TOP = 211, 10                  # kept: each 211th document, and the best of each query


def rank_bm25_scores(tokens):
    """key -> one array of n scores a query."""
    import rank_bm25
    for key, method, delta in (("rank_okapi", rank_bm25.BM25Okapi, {}),
                               ("rank_l", rank_bm25.BM25L, {"delta": 0.5}),
                               ("rank_plus", rank_bm25.BM25Plus, {"delta": 1.0})):
        index = method(tokens, k1=K1, b=B, **delta)
        yield key, [index.get_scores(tokenize(q)) for q in QUERIES]


def bm25s_scores(tokens):
    """key -> one array of n scores a query, in float64."""
    import bm25s
    for key, method, delta in (("bm25s_robertson", "robertson", 0.5),
                               ("bm25s_lucene", "lucene", 0.5), ("bm25s_atire", "atire", 0.5),
                               ("bm25s_l", "bm25l", 0.5), ("bm25s_plus", "bm25+", 1.0)):
        index = bm25s.BM25(k1=K1, b=B, delta=delta, method=method, dtype="float64")
        index.index(tokens, show_progress=False)
        yield key, [index.get_scores(tokenize(q)) for q in QUERIES]


def main():
    tokens = [tokenize(text) for text in data.sotu_paragraphs()[0]]
    scores = {key: np.array(of_query, np.float64)                     # (queries, n)
              for source in (rank_bm25_scores, bm25s_scores) for key, of_query in source(tokens)}
    best = [np.argsort(-s, axis=1, kind="stable")[:, :TOP] for s in scores.values()]
    kept = np.unique(np.concatenate([np.arange(0, len(tokens), EVERY), *map(np.ravel, best)]))
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, queries=np.array(QUERIES), documents=kept,
                        lucene_top=-np.sort(-scores["bm25s_lucene"], axis=1)[:, :TOP],
                        **{key: s[:, kept] for key, s in scores.items()})
    print(f"{path.name}: {len(kept)} documents, {len(QUERIES)} queries, "
          f"{path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
