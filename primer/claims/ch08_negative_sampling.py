"""The text's numbers on negative sampling, recomputed: lines 964-1011, 1223."""
import numpy as np

from primer.ch06_word2vec import initial_vectors
from primer.ch08_negative_sampling import (
    add_words,
    keep_probability,
    noise_distribution,
    pair_loss_grad,
    sigmoid,
    skipgram_block,
)
from primer.claims import Claim

FEW, MANY, PER_DAY = (2, 5), (5, 20), 100e9            # Mikolov et al. 2013, sec. 2.2 and 5


def vectors(V=50, d=8, seed=8):
    """-> W, U: (V, d) float64."""
    return np.random.default_rng(seed).standard_normal((2, V, d)) / np.sqrt(d)


def rows_that_move(K=5):
    """Rows of W and of U in which one pair's gradient is not 0 -> list of int."""
    dW, dU = pair_loss_grad(*vectors(), [3], [7], np.arange(10, 10 + K)[None])
    return [int(x.any(axis=1).sum()) for x in (dW, dU)]


def discarded(f, t=1e-5):
    """1 - q (8.4) for a word of relative frequency f -> float."""
    return float(1 - keep_probability(np.array([f, 1 - f]), t)[0])


def sum_of_sigmoids():
    """Over all words, for one input -> statement."""
    W, U = vectors()
    total = sigmoid(U @ W[0]).sum()
    return "none: its numbers sum to 1" if abs(total - 1) < 1e-9 else "no distribution"


def order_of_two_pairs():
    """Does it matter which of two places comes first, if they share a word? -> statement."""
    results = []
    for order in ([0, 1, 2, 1], [2, 1, 0, 1]):
        W, U = vectors()
        skipgram_block(W, U, order, [0, 2, 4], 1, np.full(4, 0.5), np.full((4, 1), 9))
        results.append(W)
    same = np.allclose(*results, atol=1e-12)
    return "independent" if same else "a pair sees what the pairs before it changed"


def old_rows_after_growing():
    """What new words do to the vectors of old ones -> statement."""
    W, U = initial_vectors(2, 4, np.random.default_rng(0))
    grown, _, _ = add_words(W, U, {"a": 0, "b": 1}, ["a new word"], np.random.default_rng(1))
    return "kept: training goes on" if np.array_equal(grown[:2], W) else "started anew"


def days_of_the_paper(words=100e9):
    """The paper's speed, words a day, as a time -> statement."""
    return "about a day" if round(words / PER_DAY) == 1 else "hours"


CLAIMS = [
    Claim(964, "rows of W and of U that a pair and 5 negatives change, of 50 each", [1, 6],
          rows_that_move),
    Claim(979, "power 3/4: shares of words of frequency .9, .09, .01", [0.825, 0.147, 0.028],
          lambda: noise_distribution([0.9, 0.09, 0.01]).tolist(), 3,
          note="Frequent words are drawn less than they occur, rare ones more."),
    Claim(983, "a score of 5: sig(5), and sig(-5) of a drawn word's score", [1.0, 0.0],
          lambda: sigmoid(np.array([5.0, -5.0])).tolist(), 1),
    Claim(990, "negatives that one prediction needs: least and most", [5, 20],
          lambda: [min(FEW), max(MANY)], note="The paper (sec. 2.2): 5 to 20 for small data, 2 to "
          "5 are enough for large."),
    Claim(994, "sigmoids over the vocabulary", "no distribution", sum_of_sigmoids),
    Claim(1000, "share discarded at f = .07, .05, .01, .001 and t = 1e-5", [0.988, 0.986, 0.968,
          0.9], lambda: [discarded(f) for f in (0.07, 0.05, 0.01, 1e-3)], 3),
    Claim(1000, "share discarded at f = 1e-6", round(1 - np.sqrt(10), 2), lambda: discarded(1e-6),
          2, note="The formula is negative where f < t: such words all stay, max(0, .)."),
    Claim(1004, "pairs and their steps", "independent", order_of_two_pairs,
          note="They share rows.  Steps at the same time (Hogwild) work as words are many."),
    Claim(1006, "time for 100 billion words on one machine", "hours", days_of_the_paper,
          note="The paper (sec. 5): an optimised program on one machine takes more than 100 "
               "billion words a day."),
    Claim(1011, "scores of one prediction with 5 negatives", 6, lambda: rows_that_move()[1]),
    Claim(1223, "vectors of old words when new ones come", "started anew", old_rows_after_growing,
          note="New rows are added below the old ones, which stay."),
]
