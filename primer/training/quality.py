"""How good word vectors are, as the field measures it: word similarity, analogies, rare words.

Word pairs and questions with an unknown word are left out and counted, and the words that answer
analogies are the first RESTRICT, the frequent ones: both as gensim does by default, but that gensim
takes 300,000.
"""
import json

import numpy as np

from primer import data
from primer.ch01_geometry import unit_rows
from primer.ch09_analogy import analogy_accuracy, similarity_correlation
from primer.training.lookup import opened

RESTRICT = 30_000
MEASURES = {"wordsim353": "Spearman, with people's scores", "simlex999": "the same",
            "analogies": "share answered right, by 3CosAdd"}


def quality(vectors, restrict=RESTRICT):
    """WordVectors, frequent words first -> dict name: (value, how many are unknown, of all)."""
    W, found = vectors.vectors, {}
    vocabulary = {word: i for i, word in enumerate(vectors.words)}
    for name in ("wordsim353", "simlex999"):
        pairs, scores = data.word_pairs(name)
        found[name] = *similarity_correlation(W, vocabulary, pairs, scores), len(pairs)
    few = {word: i for word, i in vocabulary.items() if i < restrict}
    questions = [q for section in data.analogy_questions().values() for q in section]
    found["analogies"] = *analogy_accuracy(W[:restrict], few, questions), len(questions)
    return found


def rare_words(embed, vectors):
    """Share of derived words nearer to the word of like meaning than to the other one.

    embed: word -> (d,), also for words that are not in the vectors; a word counts if they lack it
    and have the two others.  -> share, how many do not count, of how many.
    """
    rows = data.derived_words()
    used = [(w, a, u) for w, _, a, u in rows if w not in vectors and a in vectors and u in vectors]
    if not used:
        raise ValueError("vectors: they have all rare words, or too few of the others")
    words, alike, unlike = zip(*used, strict=True)
    own = unit_rows(np.array([embed(w) for w in words], np.float64))              # (n, d)
    A, B = (unit_rows(np.array([vectors[w] for w in column], np.float64))         # (n, d)
            for column in (alike, unlike))
    nearer = (own * (A - B)).sum(axis=1)                                          # (n,)
    return float((np.sign(nearer) / 2 + 0.5).mean()), len(rows) - len(used), len(rows)


def evaluate(options):
    """`python -m primer evaluate`: print what a file of vectors scores."""
    found = quality(opened(options.vectors)[0])
    if options.json:
        print(json.dumps({name: {"value": round(value, 6), "left_out": unknown, "of": n}
                          for name, (value, unknown, n) in found.items()}, indent=1))
        return
    for name, (value, unknown, n) in found.items():
        print(f"{name:12}{value:7.3f}  {MEASURES[name]}; {unknown} of {n} left out, a word of "
              "theirs is unknown")
