"""`python -m primer neighbors|analogy`: ask a file of word vectors."""
import json

import numpy as np

from primer import data
from primer.ch01_geometry import nearest, unit_rows
from primer.formats import FastText, read_model


def neighbors(options):
    """The words nearest to each WORD by cosine; unknown ones too, if the file has n-grams."""
    vectors, model = opened(options.vectors)
    answers = []
    for word in options.words:
        known = word in vectors
        vector = vectors[word] if known or not model else model.word_vector(word)     # (d,)
        if not vector.any():
            raise ValueError(f"{word!r} has the vector 0, which is near to nothing")
        answers.append({"word": word, "known": known,
                        "neighbors": rank(vectors, vector, options.k, [word])})
    if options.json:
        print(json.dumps(answers, indent=1, ensure_ascii=False))
        return
    for answer in answers:
        print(answer["word"] + ("" if answer["known"] else "   (unknown: from its n-grams)"))
        show(answer["neighbors"])


def analogy(options):
    """A is to B as C is to which word?  3CosAdd (9.1): the nearest to b - a + c of unit vectors."""
    if len(options.words) != 3:
        raise ValueError(f"WORD: expected three, as in man king woman; got {len(options.words)}")
    vectors, _ = opened(options.vectors)
    a, b, c = unit_rows(np.stack([vectors[w] for w in options.words]).astype(np.float64))
    answers = rank(vectors, b - a + c, options.k, options.words)
    if options.json:
        print(json.dumps(answers, indent=1, ensure_ascii=False))
        return
    print("{} is to {} as {} is to".format(*options.words))
    show(answers)


def opened(path):
    """A file, or the register's glove-6b-50d  ->  WordVectors, FastText or None."""
    found = data.load_glove() if path == "glove-6b-50d" else read_model(path)
    return (found.word_vectors(), found) if isinstance(found, FastText) else (found, None)


def rank(vectors, vector, k, without):
    """Words by falling cosine, leaving some out  ->  list of dicts: rank, word, cosine."""
    if k < 1:
        raise ValueError(f"-k: expected at least 1, got {k}")
    rows = np.flatnonzero(vectors.vectors.any(axis=1))                # (V',)  0 is near to nothing
    found, cosines = nearest(vector[None].astype(np.float32), vectors.vectors[rows],
                             min(k + len(without), len(rows)))        # (1, k'), (1, k')
    best = [(vectors.words[rows[i]], round(float(s), 6)) for i, s in
            zip(found[0], cosines[0], strict=True)]
    best = [pair for pair in best if pair[0] not in without][:k]
    return [{"rank": n, "word": w, "cosine": s} for n, (w, s) in enumerate(best, 1)]


def show(answers):
    """Print them, a line each."""
    for answer in answers:
        print(f"{answer['rank']:>4}  {answer['cosine']:7.4f}  {answer['word']}")
