"""The text's numbers on word2vec, recomputed: lines 635-921."""
import numpy as np

from primer import data
from primer.ch01_geometry import one_hot
from primer.ch06_word2vec import (
    cbow_windows,
    count_vocabulary,
    encode_corpus,
    predict,
    skipgram_epoch,
    skipgram_loss,
    skipgram_loss_grad,
    skipgram_pairs,
    softmax,
)
from primer.claims import Claim


def sentence(name="iguana"):
    """An example of the text -> vocabulary, its words by id, tokens, starts."""
    documents = data.load_texts()[name]["documents"]
    vocabulary, _ = count_vocabulary(documents)
    return vocabulary, list(vocabulary), *encode_corpus(documents, vocabulary)


def contexts_of_iguana(c):
    """Its neighbours at window c, in order -> list of str."""
    vocabulary, words, *corpus = sentence()
    centres, contexts = skipgram_pairs(*corpus, c)
    return [words[o] for o in contexts[centres == vocabulary["iguana"]]]


def which_window_gives(listed):
    """The windows at which iguana's neighbours are these words -> statement."""
    found = [c for c in range(1, 10) if contexts_of_iguana(c) == listed]
    counts = [len(contexts_of_iguana(c)) for c in (1, 2, 3, 4, 5)]
    return f"windows {found}" if found else f"no window: c = 1 to 5 give {counts} pairs"


def predictions_of_iguana(c=4):
    """How often CBOW predicts it, and the size of that context -> [int, int]."""
    vocabulary, _, *corpus = sentence()
    targets, indptr, _ = cbow_windows(*corpus, c)
    own = targets == vocabulary["iguana"]
    return [int(own.sum()), int(np.diff(indptr)[own].sum())]


def moves_of_iguana(c=4):
    """In how many steps its input vector moves in an epoch: skip-gram, CBOW -> [int, int]."""
    vocabulary, _, *corpus = sentence()
    iguana = vocabulary["iguana"]
    centres, _ = skipgram_pairs(*corpus, c)
    _, indptr, contexts = cbow_windows(*corpus, c)
    windows = np.split(contexts, indptr[1:-1])
    return [int((centres == iguana).sum()), sum(iguana in w for w in windows)]


def fewer_in_cbow():
    skipgram, cbow = moves_of_iguana()
    return "fewer times than in skip-gram" if cbow < skipgram else f"as often: {cbow} times"


def examples(c=2):
    """Words, pairs of skip-gram, predictions of CBOW in the iguana's sentence -> list of int."""
    _, _, *corpus = sentence()
    return [len(corpus[0]), len(skipgram_pairs(*corpus, c)[0]), len(cbow_windows(*corpus, c)[0])]


def compared(count):
    """A number of predictions beside the number of words -> statement."""
    words = examples()[0]
    return "as many as words" if count == words else f"{count}, for {words} words"


def least_pairs_of_a_word():
    """Fewest neighbours of a place in texts of three words or more, window 2 or more."""
    fewest = min(np.bincount(skipgram_pairs(np.arange(T), [0, T], c)[0]).min()
                 for T in range(3, 10) for c in range(2, 6))
    return "several" if fewest > 1 else f"from {fewest}"


def random_tables(V=7, d=4, seed=6):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((V, d)), rng.standard_normal((V, d))


def total_probability():
    """Over all words, for random vectors -> float."""
    W, U = random_tables()
    return float(softmax(W[:1] @ U.T).sum())


def where_vectors_stand():
    """Which row or column of W (V, N) and W' (N, V) a one-hot word picks out -> statement."""
    W, U = random_tables()
    x, W_prime = one_hot([3], len(W))[0], U.T
    row = np.array_equal(x @ W, W[3])
    column = np.array_equal(W_prime @ x, W_prime[:, 3]) and np.array_equal(W_prime[:, 3], U[3])
    return "rows of W, columns of W'" if row and column else "columns of both"


def index_of_the_sum():
    """Line 805 with its one index, which makes e^{u_i} / (V e^{u_i}), against (6.1)."""
    s = np.array([0.0, np.log(3)])
    one = np.exp(s) / (len(s) * np.exp(s))
    right = softmax(s[None])[0]
    return "one index, i" if np.allclose(one, right) else \
        f"two: scores 0, ln 3 give {right.round(2).tolist()}, with one index {one.tolist()}"


def loss_against_objective():
    """What the loss is to the objective that is maximised -> statement."""
    W, U = random_tables()
    centres, contexts = np.array([0, 1, 1]), np.array([1, 0, 2])
    objective = np.log(softmax(W[centres] @ U.T)[np.arange(3), contexts]).sum() / 3
    loss = skipgram_loss(W, U, centres, contexts, 3)
    return "its negative" if np.isclose(loss, -objective) else "its inverse"


def vectors_of_bat():
    """Does a prediction from bat depend on the sentence that it stands in? -> statement."""
    vocabulary, _, tokens, starts = sentence("bat")
    W, U = random_tables(len(vocabulary))
    rows = [W[tokens[a:b]][tokens[a:b] == vocabulary["bat"]] for a, b in
            zip(starts, starts[1:], strict=False)]
    losses = [predict(r, U, np.array([0]))[0] for r in rows]
    return "one vector for both" if np.array_equal(*rows) and np.array_equal(*losses) else \
        "two regions"


def step_is_downhill():
    """Does a short step of descent lower every loss, for a pair of random vectors? -> statement."""
    W, U = random_tables()
    dW, dU = skipgram_loss_grad(W, U, [1], [2], 1)
    _, _, (before,) = skipgram_epoch(W, U, [1], [2], [0.0])
    after = skipgram_loss(W - 0.01 * dW, U - 0.01 * dU, [1], [2], 1)
    return "by descent on both tables" if after < before else "not so"


def cost(V, K=5):
    """Scores of a step with K noise words, as a share of the V of the full softmax -> float."""
    return (K + 1) / V


CLAIMS = [
    Claim(707, "where \"bat\" lies, for its two sentences", "two regions", vectors_of_bat,
          note="A word has one vector, a compromise between its senses; what comes before a "
               "sentence's softmax is the same row of W both times (the text says so in line "
               "1201)."),
    Claim(728, "where v_w and u_w stand in W (V x N) and W' (N x V)", "columns of both",
          where_vectors_stand, note="Lines 798 and 799 have it right."),
    Claim(793, "how both tables are learned", "by descent on both tables", step_is_downhill,
          note="Under the full softmax a step moves one row of W, but all of W'."),
    Claim(805, "indices in the softmax: one for the word and for the sum", "one index, i",
          index_of_the_sum, note="e^{u_i} / sum_i e^{u_i} binds i twice; line 820 sums over w'.  "
                                 "And u_i is a score there, u_w a vector."),
    Claim(828, "what the probabilities of all words add up to", 1, total_probability),
    Claim(783, "training instances of CBOW in \"The iguana basked on the rock\"",
          "as many as words", lambda: compared(examples()[2])),
    Claim(836, "training samples of skip-gram in \"The iguana basked on the rock\", window 2",
          "as many as words", lambda: compared(examples()[1]),
          note="2 c T - c (c + 1) pairs for T > c: 1/T is no mean over them."),
    Claim(844, "pairs from each occurrence of a word", "several", least_pairs_of_a_word,
          note="From window 2 and three words on; a text of two words gives one each, a text of "
               "one word none."),
    Claim(852, "the same sentence: whose epoch has fewer steps", "CBOW",
          lambda: "CBOW" if examples()[2] < examples()[1] else "skip-gram",
          note="6 against 18; about 1 to 2 c in a long text."),
    Claim(865, "pairs of iguana in the sentence", ["the", "basked", "on", "rock"],
          lambda: contexts_of_iguana(4),
          note="A neighbour counts as often as it stands there: five pairs, two of them with "
               "\"the\".  The four are the different words at c >= 4."),
    Claim(865, "the window at which iguana has these four pairs", "windows [4]",
          lambda: which_window_gives(["the", "basked", "on", "rock"]),
          note="c = 3 gives four, but \"the\" twice and no \"rock\"."),
    Claim(866, "times that CBOW predicts iguana", 1, lambda: predictions_of_iguana()[0]),
    Claim(866, "words in the context that predicts iguana", 4,
          lambda: predictions_of_iguana()[1], note="At c >= 4: \"the\" stands there twice."),
    Claim(866, "steps of an epoch that move the input vector of iguana, under CBOW (window 4)",
          "fewer times than in skip-gram", fewer_in_cbow,
          note="5 and 5: as the target it moves no input vector at all, but it is one of the "
               "words of every other window.  Its share of each step is 1 / |C| (6.5)."),
    Claim(887, "what the loss is to the objective", "its inverse", loss_against_objective,
          note="-L.  Line 1549 has the minus, without 1/T, under the same name."),
    Claim(921, "scores a step with V from 10^5 to 10^7: the full softmax against K = 5 noise words",
          "intractable", lambda: "intractable" if cost(1e5) < 1e-3 else "as cheap",
          note="6 / V: 6e-5 to 6e-7 of the work."),
]
CLAIMS.sort(key=lambda claim: claim.line)
