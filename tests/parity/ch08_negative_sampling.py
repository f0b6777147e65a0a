"""Freeze Gensim's negative sampling and phrases -> tests/parity/ch08_negative_sampling.npz.

    python -m tests.parity.ch08_negative_sampling          needs gensim

Steps: Gensim trains an epoch on sentences of three words (window 1, one drawn word) at a constant
rate.  Its table of noise is set so that it always draws the same word, which stands in no sentence:
then nothing is left to chance, and no word is both a neighbour and drawn.  Skip-gram has sentences
of two words: there a place has one neighbour, so that steps taken one after the other, as Gensim
does, are steps taken at once.  Its sigmoid is a table of 1000 steps from -6 to 6.
Noise and thinning: Gensim's own table and sample_int.  Phrases: original_scorer, and a text joined.
"""
from pathlib import Path

import numpy as np

V, D, RATE = 8, 6, 0.05


def trained(Word2Vec, sentences, sg):
    """-> W, U before and after an epoch."""
    names = [[f"w{i}" for i in s] for s in sentences]
    model = Word2Vec(vector_size=D, window=1, negative=1, sample=0, min_count=1, sg=sg, workers=1,
                     seed=8, alpha=RATE, min_alpha=RATE, epochs=1)
    model.build_vocab([[f"w{i}"] * (V - i) for i in range(V)])          # w0 most frequent: id 0
    assert model.wv.index_to_key == [f"w{i}" for i in range(V)]
    model.cum_table[:] = 0
    model.cum_table[-1] = 2 ** 31 - 1                                   # always the last word
    rng = np.random.default_rng(8)
    model.wv.vectors[:] = rng.standard_normal((V, D)) / 2
    model.syn1neg[:] = rng.standard_normal((V, D)) / 2
    before = model.wv.vectors.copy(), model.syn1neg.copy()
    model.train(names, total_examples=len(names), epochs=1)
    return (*before, model.wv.vectors, model.syn1neg)


def main():
    import gensim
    from gensim.models import Word2Vec
    from gensim.models.phrases import Phrases, original_scorer

    rng, keys = np.random.default_rng(8), {"version": gensim.__version__}
    for name, sg, length in (("skipgram", 1, 2), ("cbow", 0, 3)):
        sentences = np.array([rng.permutation(V - 1)[:length] for _ in range(40)])
        keys |= {f"{name}_sentences": sentences} | {
            f"{name}_{k}": x for k, x in zip(("W0", "U0", "W", "U"),
                                             trained(Word2Vec, sentences, sg), strict=True)}
    counts = rng.integers(5, 3000, 30)
    model = Word2Vec(vector_size=2, min_count=1, sample=1e-2, negative=5)
    model.build_vocab_from_freq({f"w{i}": int(c) for i, c in enumerate(counts)})
    order = [int(w[1:]) for w in model.wv.index_to_key]
    keys |= {"counts": counts[order], "cumulated": model.cum_table,
             "sample_int": [model.wv.get_vecattr(w, "sample_int") for w in model.wv.index_to_key]}
    text = [[f"w{i}" for i in row] for row in rng.integers(0, 4, (60, 7))]
    phrases = Phrases(text, min_count=2, threshold=1.0, delimiter="_")
    keys |= {"scores": [original_scorer(a, b, c, 100, 5, 900) for a, b, c in
                        ((10, 20, 9), (7, 7, 7), (50, 30, 12))],
             "text": [[int(w[1:]) for w in row] for row in text],
             "joined": "|".join(" ".join(row) for row in phrases[text])}
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **keys)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
