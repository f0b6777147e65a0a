"""Skip-gram with hierarchical softmax on 10 million words, beside gensim (trainers.py says how)."""
from tests.benchmarks.trainers import beside_gensim


def rows(words=10_000_000):
    """One row."""
    yield beside_gensim("skip-gram, hierarchical", "word2vec --loss hs", 2, words, sg=1, hs=1,
                        negative=0, alpha=0.025)
