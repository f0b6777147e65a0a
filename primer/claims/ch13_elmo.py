"""The text's statements on static and contextual vectors, tried: 219-232, 376-394, 1186-1293."""
import functools

import numpy as np

from primer import data
from primer.ch01_geometry import cosine
from primer.ch06_word2vec import context_windows
from primer.ch13_elmo import (
    bilm_loss_grad,
    both_ways,
    elmo_layers,
    initial_bilm,
    stack,
    train_bilm,
)
from primer.ch13_elmo_training import encode_sentence, language_vocabulary, pad, sentence_batches
from primer.claims import Claim

PLANTED = [                           # sentences of ours: the word in the middle has two senses
    ("we sat by the {} bank and {} it flow", "river stream", "saw heard"),
    ("she put the {} in the bank and {} the account", "money cash", "closed opened"),
]


def layers_of(sentences, word, seed=0):
    """All layers of a word in each sentence, from a model that has learnt nothing yet -> (J, n,
    2 d)."""
    vocabulary = language_vocabulary(sentences, 1)
    P = initial_bilm(len(vocabulary), 12, 2, np.random.default_rng(seed))
    return word_in(P, vocabulary, sentences, word)


def word_in(P, vocabulary, sentences, word):
    """All layers of the first place of a word in each sentence -> (J, n, 2 d)."""
    ids, lengths = pad([encode_sentence(s, vocabulary) for s in sentences])
    places = (ids == vocabulary[word]).argmax(axis=0)
    return elmo_layers(P, ids, lengths)[:, places, np.arange(len(sentences))]


def in_two_sentences(name, word, layer):
    """A word in the text's own sentences, at a layer: 0 is its row of a table -> statement."""
    one, two, *_ = layers_of(data.load_texts()[name]["documents"], word)[layer]
    return "identical" if np.array_equal(one, two) else "different"


def share_of_influence(way=None):
    """Of all pairs of places, how often the word at one moves the vector at the other -> float.
    way: of one direction alone."""
    P, T = initial_bilm(9, 12, 2, np.random.default_rng(0), dtype=np.float64), 6
    ids = np.arange(T)[:, None]

    def vectors(x):
        layers = stack(P, P["tokens"][x], [T], way)[0] if way else elmo_layers(P, x, [T])[1:]
        return layers[-1][:, 0]
    moved = np.zeros((T, T), bool)
    for j in range(T):
        other = ids.copy()
        other[j] = 8
        moved[:, j] = np.abs(vectors(other) - vectors(ids)).max(axis=1) > 0
    if way and np.array_equal(moved, np.tri(T, dtype=bool)):
        return "the words up to its own"
    return "the full sentence" if moved.all() else f"{moved.mean():.2f} of it"


@functools.cache
def planted_sentences():
    """-> sentences, sense of each: 0 or 1."""
    found = [(pattern.format(a, b), sense) for sense, (pattern, one, two) in enumerate(PLANTED)
             for a in one.split() for b in two.split()]
    return [s for s, _ in found], np.array([sense for _, sense in found])


def polysemy_gap():
    """Cosines of bank within a sense less those across, after a short training -> statement."""
    sentences, senses = planted_sentences()
    vocabulary, rng = language_vocabulary(sentences, 1), np.random.default_rng(0)
    P = initial_bilm(len(vocabulary), 16, 1, rng)
    train_bilm(P, sentence_batches([encode_sentence(s, vocabulary) for s in sentences], 8), 40, rng)
    gaps = []
    for X in word_in(P, vocabulary, sentences, "bank"):
        C = np.array([[cosine(a, b) for b in X] for a in X])
        same, own = senses[:, None] == senses, np.eye(len(X), dtype=bool)
        gaps.append(C[same & ~own].mean() - C[~same].mean())
    return "above 0" if abs(gaps[0]) < 1e-6 and gaps[1] > 0.05 else f"{gaps}"


def farthest_pair(window=2):
    """How far apart two words are at most that skip-gram sees together -> int."""
    indptr, contexts = context_windows(np.arange(20), np.array([0, 20]), window)
    return int(np.abs(contexts - np.repeat(np.arange(20), np.diff(indptr))).max())


def loss_needs(V=50):
    """Words whose scores a prediction of one word takes -> int."""
    P = initial_bilm(V, 4, 1, np.random.default_rng(0))
    ids, lengths = np.array([[0], [1]]), np.array([2])
    return int((bilm_loss_grad(P, both_ways(ids, lengths))[1]["outputs.b"] != 0).sum())


CLAIMS = [
    Claim(224, "one vector for a word regardless of usage: bank in two sentences, its row",
          "identical", lambda: in_two_sentences("bank", "bank", 0)),
    Claim(228, "bank in \"river bank\" and \"bank loan\", in a contextual encoder", "different",
          lambda: in_two_sentences("bank_phrases", "bank", 1),
          note="So without any training: other is not yet meaningful.  See line 394."),
    Claim(392, "what ELMo's vector of a word depends on", "the full sentence", share_of_influence),
    Claim(394, "contextual vectors of bank: cosines within a sense less those across", "above 0",
          polysemy_gap, note="In eight sentences of ours, after forty rounds of training on them."),
    Claim(1197, "bank in Word2Vec, in two sentences", "identical",
          lambda: in_two_sentences("bank", "bank", 0)),
    Claim(1209, "how far a fixed window of 2 reaches", 2, farthest_pair),
    Claim(1214, "book in Word2Vec, as a noun and as a verb", "nearly identical",
          lambda: in_two_sentences("book", "book", 0),
          note="Exactly: it is the same row."),
    Claim(1240, "light in \"light weight\" and \"light bulb\", static", "identical",
          lambda: in_two_sentences("light", "light", 0)),
    Claim(1264, "light in the same two, ELMo", "different",
          lambda: in_two_sentences("light", "light", 2)),
    Claim(1271, "what v_i = f(w_i, w_1 ... w_T) is conditioned on", "the full sentence",
          share_of_influence, note="f need not be a Transformer: here it is two LSTMs."),
    Claim(1280, "words whose scores one prediction takes, of a vocabulary of 50", 50, loss_needs,
          note="Chapter 13 pays it.  With 8,000 words it is most of a step, and feasible."),
    Claim(1293, "what a left-to-right model's (GPT's) vector is conditioned on",
          "the full sentence", lambda: share_of_influence("forward"),
          note="Right for ELMo and BERT.  A later word changes no earlier state."),
]
