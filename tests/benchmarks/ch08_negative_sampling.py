"""Negative sampling on 10 million words, beside gensim (trainers.py says how)."""
from tests.benchmarks.trainers import beside_gensim


def rows(words=10_000_000):
    """Two rows, both with five noise words."""
    yield beside_gensim("skip-gram, negative", "word2vec", 4, words, sg=1, negative=5, alpha=0.025)
    yield beside_gensim("CBOW, negative", "word2vec --arch cbow", 1.5, words, sg=0, negative=5,
                        alpha=0.05)
