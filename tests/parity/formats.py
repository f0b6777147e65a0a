"""Freeze word vectors as gensim and fastText write and read them -> tests/parity/formats.npz.

    pip install gensim fasttext-wheel && python -m tests.parity.formats        a few seconds

file/NAME    a file that the library wrote, byte by byte: 20 words, 5 numbers each
words/NAME   what it answers for `words`, and for `unknown` words where it can
input/NAME, output/NAME, row/NAME    its matrices; of quantised ones each row of the input
predicted/NAME  the probabilities of all labels for the text `line`, in the order of labels
sum/NAME     SHA-256 of what our writers make of the vectors; `check` has let the libraries read
             those same bytes and compared the numbers

gensim reads no supervised and no quantised models.  Versions that made the committed file:
gensim 4.4.0, fasttext-wheel 0.9.2 (fastText 0.9.2), NumPy 2.4.6.
"""
import hashlib
import tempfile
from pathlib import Path

import numpy as np

from primer import formats

WORDS = ["the", "cat", "sat", "on", "mat", "a", "dog", "log", "naïve", "köln", "日本", "smile😀",
         "and", "of", "to", "in", "42", "-0.5", "don't", "e\u0301tude"]
UNKNOWN = ["cats", "日本語", "x", "naïvely"]
LINE = "the cat sat on unknown"


def corpus(folder, labels):
    """A file of 1200 lines of words by Zipf's law, each after one of the labels -> path."""
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, len(WORDS) + 1)
    label = [f"__label__{i % labels} " if labels else "" for i in range(1200)]
    lines = [first + " ".join(rng.choice(WORDS, 8, p=p / p.sum())) for first in label]
    path = folder / f"corpus{labels}.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def made_by_gensim(folder, frozen):
    """gensim's files of the same vectors, and of a model of its own."""
    from gensim.models import FastText, KeyedVectors
    from gensim.models.fasttext import save_facebook_model
    kv = KeyedVectors(5)
    kv.add_vectors(WORDS, np.random.default_rng(1).standard_normal((20, 5)).astype(np.float32))
    kv.save_word2vec_format(folder / "gensim.vec")
    kv.save_word2vec_format(folder / "gensim.glove", write_header=False)
    kv.save_word2vec_format(folder / "gensim.bin", binary=True)
    for name in ("gensim.vec", "gensim.glove", "gensim.bin"):
        frozen[f"words/{name}"] = kv[WORDS]
    text = [line.split() for line in Path(corpus(folder, 0)).read_text("utf-8").splitlines()]
    model = FastText(text, vector_size=5, min_count=1, bucket=40, min_n=2, max_n=4, workers=1)
    save_facebook_model(model, str(folder / "gensim_model.bin"))
    frozen["words/gensim_model.bin"] = model.wv[WORDS + UNKNOWN]


def made_by_fasttext(folder, frozen):
    """fastText's models: unsupervised, supervised, and two quantised ones, one of them pruned."""
    import fasttext
    about = {"dim": 5, "minCount": 1, "thread": 1, "epoch": 2, "verbose": 0, "minn": 2, "maxn": 3}
    models = {"skipgram.bin": fasttext.train_unsupervised(corpus(folder, 0), bucket=40, **about)}
    for name, labels, more, quantised in (
            ("supervised.bin", 3, {"bucket": 50, "wordNgrams": 2}, None),
            ("pruned.ftz", 3, {"bucket": 400, "wordNgrams": 2}, {"cutoff": 270, "qnorm": True}),
            ("output.ftz", 256, {"bucket": 260}, {"qout": True, "dsub": 3})):
        models[name] = fasttext.train_supervised(corpus(folder, labels), lr=1.0, **more, **about)
        if quantised:
            models[name].quantize(**quantised)
    for name, model in models.items():
        model.save_model(str(folder / name))
        frozen[f"words/{name}"] = np.array([model.get_word_vector(w) for w in WORDS + UNKNOWN])
        if name.endswith(".bin"):
            frozen[f"input/{name}"] = np.array(model.get_input_matrix())
            frozen[f"output/{name}"] = np.array(model.get_output_matrix())
        else:
            rows = formats.read_fasttext(folder / name).inputs.shape[0]
            frozen[f"row/{name}"] = np.array([model.get_input_vector(i) for i in range(rows)])
        if name != "skipgram.bin":
            p = {label: p for p, label in model.f.predict(LINE + "\n", -1, 0.0, "strict")}
            frozen[f"predicted/{name}"] = np.array([p[label] for label in model.get_labels()])


def check(folder, frozen):
    """Let the libraries read what our writers write, and keep the checksums of that."""
    import fasttext
    from gensim.models import KeyedVectors
    from gensim.models.fasttext import load_facebook_model
    vectors = formats.read_vectors(folder / "gensim.vec")
    for ending, how in ((".vec", {}), (".glove", {"no_header": True}), (".bin", {"binary": True}),
                        (".vec.gz", {}), (".bin.gz", {"binary": True})):
        ours = folder / f"ours{ending}"
        formats.write_vectors(ours, vectors)
        theirs = KeyedVectors.load_word2vec_format(ours, **how)
        assert theirs.index_to_key == WORDS and np.array_equal(theirs.vectors, vectors.vectors)
        if not ending.endswith(".gz"):                   # its bytes depend on the version of zlib
            frozen[f"sum/gensim{ending}"] = sha256(ours)
    for name in ("skipgram.bin", "supervised.bin", "gensim_model.bin"):
        ours = folder / f"ours_{name}"
        formats.write_vectors(ours, formats.read_fasttext(folder / name))
        theirs = fasttext.load_model(str(ours))
        words = frozen[f"words/{name}"]
        for word, vector in zip(WORDS + UNKNOWN, words, strict=True):
            np.testing.assert_allclose(theirs.get_word_vector(word), vector, rtol=1e-5, atol=1e-7)
        if name != "supervised.bin":
            wv = load_facebook_model(str(ours)).wv
            np.testing.assert_allclose(wv[WORDS + UNKNOWN], words, rtol=1e-5, atol=1e-7)
        frozen[f"sum/{name}"] = sha256(ours)


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def main():
    frozen = {"words": np.array(WORDS), "unknown": np.array(UNKNOWN), "line": LINE}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_by_gensim(folder, frozen)
        made_by_fasttext(folder, frozen)
        for file in [key.split("/")[1] for key in frozen if key.startswith("words/")]:
            frozen[f"file/{file}"] = np.frombuffer((folder / file).read_bytes(), np.uint8)
        check(folder, frozen)
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, **frozen)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
