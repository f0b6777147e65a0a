"""Freeze fastText's own answers -> tests/parity/ch12_fasttext.npz.

    pip install fasttext-wheel && python -m tests.parity.ch12_fasttext        a few seconds

fastText 0.9.2 trains on 400 passages of the addresses: a skip-gram model and three classifiers of
the half-century, by softmax with pairs of words, by hierarchical softmax, and the first one
quantised.  Keys, MODEL one of skipgram, softmax, hierarchical, quantised:

    file/MODEL               the bytes of the .bin or .ftz, whose rows of n-grams are few (BUCKETS)
    grams/WORD, rows/WORD    get_subwords: the n-grams, and their rows
    vectors                  get_word_vector of WORDS, most of them unknown to the model
    lines, labels            LINES of the texts that are classified; the labels, by row
    predicted/MODEL          their probabilities, (lines, labels)
"""
import tempfile
from pathlib import Path

import numpy as np

from primer import data, formats
from primer.ch03_bow import tokenize

BUCKETS = 300
WORDS = ["government", "breathtakingly", "unconstitutional", "x", "Ünïcode", "日本語",
         "governments"]


def passages():
    """-> 400 lists of words, 400 labels."""
    texts, about = data.sotu_paragraphs()
    step = len(texts) // 400
    return [tokenize(t) for t in texts[::step][:400]], [
        f"__label__{a['year'] // 50 * 50}" for a in about[::step][:400]]


def main():
    import fasttext
    texts, labels = passages()
    frozen, lines = {"words": WORDS}, [" ".join(words) for words in texts]
    about = {"dim": 4, "bucket": BUCKETS, "thread": 1, "verbose": 0, "minCount": 12}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain").write_text("\n".join(lines) + "\n", "utf-8")
        (folder / "labelled").write_text("".join(
            f"{label} {line}\n" for label, line in zip(labels, lines, strict=True)), "utf-8")
        models = {"skipgram": fasttext.train_unsupervised(str(folder / "plain"), epoch=3, minn=3,
                                                          maxn=6, **about)}
        for name, loss, n in (("softmax", "softmax", 2), ("hierarchical", "hs", 1),
                              ("quantised", "softmax", 2)):
            models[name] = fasttext.train_supervised(str(folder / "labelled"), epoch=20, lr=0.5,
                                                     loss=loss, wordNgrams=n, **about)
        models["quantised"].quantize(dsub=2)
        for name, model in models.items():
            path = folder / f"{name}.{'ftz' if name == 'quantised' else 'bin'}"
            model.save_model(str(path))
            frozen[f"file/{name}"] = np.frombuffer(path.read_bytes(), np.uint8)
            if name == "skipgram":
                continue
            names = formats.read_fasttext(path).labels
            frozen["labels"] = names
            frozen[f"predicted/{name}"] = np.array([[dict(
                (label, p) for p, label in model.f.predict(line + "\n", -1, 0.0, "strict"))[label]
                for label in names] for line in lines[:20]])
    for word in WORDS:
        frozen[f"grams/{word}"], rows = models["skipgram"].get_subwords(word)
        frozen[f"rows/{word}"] = rows
    frozen["vectors"] = np.array([models["skipgram"].get_word_vector(w) for w in WORDS])
    frozen["lines"] = lines[:20]
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **frozen)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB, {len(frozen)} arrays")


if __name__ == "__main__":
    main()
