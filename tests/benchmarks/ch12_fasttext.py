"""fastText on one file: skip-gram with n-grams, and the classifier, two threads each.

Peer: fastText's own program, C++ with -O3 -march=native, `fasttext` on the PATH:

    git clone https://github.com/facebookresearch/fastText && cd fastText
    make && cp fasttext ~/bin          (its Makefile has -O3; add -march=native to CXXFLAGS)

Seconds are of an epoch: the program runs with one epoch and with more, so that reading the file,
its vocabulary, its tables and the writing of 800 MB cancel out; ours are timed from the first block
to the last, all draws included.  Before the ratio counts, on the same data:

    vectors     ours as a .bin, opened by fastText: its vectors of words, known and unseen, are ours
    quality     WordSim-353, SimLex-999, analogies; rare derived words of datasets/; words struck
                from the corpus: the share of them with a form of their own word, the first six
                letters, among the 5 nearest known words; mean of the seeds, ours may be 0.01 lower
    classifier  the half-century of passages of addresses held out; ours may be 0.003 lower

What favours the peer: its words are split at blanks, which is all that it can do; ours come as ids.
"""
import importlib.metadata
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numba
import numpy as np

from kernels import twin
from primer import data, formats
from primer.ch01_geometry import nearest
from primer.ch03_bow import tokenize
from primer.ch12_fasttext import (
    classify,
    initial_vectors,
    mean_rows,
    train_classifier,
    train_vectors,
    word_vector,
)
from primer.training.quality import quality, rare_words
from tests.benchmarks.corpus import corpus_file

THREADS, DIM, BUCKETS, RATE, SLACK = 2, 100, 2_000_000, 0.05, 0.01
fast, draws = twin("ch12_fasttext", "numba"), twin("ch08_negative_sampling", "numba")


def program():
    """The path of fastText's program, or an error that says how to build it."""
    path = shutil.which("fasttext")
    if path is None:
        raise FileNotFoundError("fasttext is not on the PATH; build it: git clone https://github."
                                "com/facebookresearch/fastText, make, and add its folder to PATH")
    return path


def fasttext(command, out, source, **options):
    """Run it -> seconds."""
    words = [w for name, value in options.items() for w in (f"-{name}", str(value))]
    start = time.perf_counter()
    subprocess.run([program(), command, "-input", source, "-output", out, "-thread", str(THREADS),
                    "-verbose", "0", *words], check=True)
    return time.perf_counter() - start


def seconds_of_an_epoch(command, folder, source, epochs, **options):
    """What an epoch more takes; the model of all epochs stays -> seconds."""
    one = fasttext(command, folder / "one", source, epoch=1, **options)
    return (fasttext(command, folder / "theirs", source, epoch=epochs, **options) - one) / (
        epochs - 1)


def encoded(source, min_count):
    """-> words, frequent first, tokens, starts, counts of a file with a text a line."""
    lines, counts = [line.split() for line in Path(source).read_text("utf-8").splitlines()], {}
    for line in lines:
        for w in line:
            counts[w] = counts.get(w, 0) + 1
    words = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: -counts[w])
    ids = {w: i for i, w in enumerate(words)}
    texts = [[ids[w] for w in line if w in ids] for line in lines]
    return (words, np.array([i for t in texts for i in t], np.int32),
            np.cumsum([0, *map(len, texts)]), np.array([counts[w] for w in words]))


def without(source, held, path):
    """The file without some words -> path."""
    with open(source, encoding="utf-8") as lines, open(path, "w", encoding="utf-8") as out:
        for line in lines:
            out.write(" ".join(w for w in line.split() if w not in held) + "\n")
    return path


def held_out(source, n=200):
    """Words of 7 letters and more with 20 to 200 uses, and a more frequent relative -> set."""
    words, _, _, counts = encoded(source, 20)
    stems, held = set(), []
    for w, c in zip(words, counts, strict=True):
        if len(w) >= 7 and w.isalpha():
            if w[:6] in stems and c <= 200:
                held.append(w)
            stems.add(w[:6])
    return set(held[:n])


def unseen_quality(held, words, vectors, vector_of):
    """Share of unseen words with a relative among the 5 nearest known ones."""
    known = [i for i, w in enumerate(words) if w != "</s>"]
    queries = np.array([vector_of(w) for w in sorted(held)])
    found, _ = nearest(queries, vectors[known], 5)
    return np.mean([any(words[known[i]][:6] == w[:6] for i in row)
                    for w, row in zip(sorted(held), found, strict=True)])


def check_file(folder, words, counts, tokens, Z, U):
    """Our .bin in fastText: `print-word-vectors` answers as we do."""
    about = formats.fasttext.ARGUMENTS | {"dim": DIM, "bucket": BUCKETS}
    path = folder / "ours.bin"
    formats.write_vectors(path, formats.FastText(about, words, counts, Z, U, tokens=tokens))
    asked = [*words[:50], "breathtakingly", "governmentalism", "naïveté"]
    done = subprocess.run([program(), "print-word-vectors", path], input="\n".join(asked),
                          text=True, capture_output=True, check=True)
    vocabulary = {w: i for i, w in enumerate(words)}
    for line in done.stdout.splitlines():
        word, *numbers = line.split()
        assert np.allclose(np.array(numbers, float), word_vector(Z, word, vocabulary), rtol=1e-4,
                           atol=1e-4), word


def row(what, size, bar, ours, theirs, reached, **more):
    packages = ("numpy", "numba")
    return {"what": what, "peer": "fastText C++", "size": size, "ours": ours, "peer_s": theirs,
            "ratio": theirs / ours, "bar": bar, "reached": theirs / ours >= bar and reached,
            "versions": {p: importlib.metadata.version(p) for p in packages}, **more}


def vectors_row(folder, words=10_000_000, epochs=3, seeds=(1, 2, 3)):
    source = corpus_file(words=words)
    held = held_out(source)
    source = without(source, held, folder / "corpus.txt")
    given = {"dim": DIM, "ws": 5, "neg": 5, "minn": 3, "maxn": 6, "minCount": 5, "bucket": BUCKETS,
             "t": 1e-3, "lr": RATE}
    one = fasttext("skipgram", folder / "one", source, epoch=1, **given)
    names, tokens, starts, counts = encoded(source, 5)
    rows = fast.subword_rows(names, 3, 6, BUCKETS)
    train_vectors(fast.skipgram_block, tokens[:100], np.array([0, 50, 100]), *initial_vectors(
        len(names), BUCKETS, DIM, np.random.default_rng(1)), rows, 5, 5, 1, 0, 1e-9, draws=draws)
    times, good = ([], []), ([], [])                          # compiled
    for seed in seeds:
        taken = fasttext("skipgram", folder / "theirs", source, epoch=epochs, seed=seed, **given)
        times[1].append((taken - one) / (epochs - 1))
        model = formats.read_fasttext(folder / "theirs.bin", outputs=False)
        good[1].append(qualities(model.words, model.word_vectors().vectors, model.word_vector,
                                 held))
        del model
        Z, U = initial_vectors(len(names), BUCKETS, DIM, np.random.default_rng(seed))
        start = time.perf_counter()
        train_vectors(fast.skipgram_block, tokens, starts, Z, U, rows, 5, 5, epochs, seed, RATE,
                      1e-3, draws=draws)
        times[0].append((time.perf_counter() - start) / epochs)
        ids = {w: i for i, w in enumerate(names)}
        good[0].append(qualities(names, mean_rows(Z, *rows),
                                 partial(word_vector, Z, vocabulary=ids), held))
        print(times, good, file=sys.stderr, flush=True)
    check_file(folder, names, counts, len(tokens), Z, U)
    mean, peer = (np.mean(side, axis=0) for side in good)
    return row("skip-gram, n-grams 3-6", f"{len(tokens) / 1e6:.1f}M words", 4,
               *map(statistics.median, times), bool(np.all(mean >= peer - SLACK)),
               quality=mean.round(4).tolist(), peer_quality=peer.round(4).tolist())


def qualities(words, vectors, vector_of, held):
    """WordSim-353, SimLex-999, analogies, the rare derived words, the words that were held out."""
    known = [i for i, w in enumerate(words) if w != "</s>"]
    own = formats.WordVectors([words[i] for i in known], vectors[known])
    return [*(value for value, *_ in quality(own).values()), rare_words(vector_of, own)[0],
            unseen_quality(held, words, vectors, vector_of)]


def labelled():
    """Passages, their half-centuries as labels from 0, those held out: each fifth year's."""
    texts, about = data.sotu_paragraphs()
    years = np.array([a["year"] for a in about])
    return [tokenize(t) for t in texts], np.unique(years // 50, return_inverse=True)[1], (
        years % 5 == 0)


def classifier_row(folder, epochs=25, d=100, buckets=200_000, rate=0.5):
    texts, labels, held = labelled()
    for name, own in (("train", ~held), ("test", held)):      # fastText keeps the order of the file
        order = np.random.default_rng(0).permutation(np.flatnonzero(own))
        (folder / name).write_text("".join(
            f"__label__{labels[i]} {' '.join(texts[i])}\n" for i in order), "utf-8")
    theirs = seconds_of_an_epoch("supervised", folder, folder / "train", epochs, dim=d,
                                 bucket=buckets, wordNgrams=2, lr=rate, loss="softmax")
    done = subprocess.run([program(), "test", folder / "theirs.bin", folder / "test"], text=True,
                          capture_output=True, check=True)
    their_accuracy = float(done.stdout.split("P@1")[1].split()[0])
    words = {w: i for i, w in enumerate(dict.fromkeys(
        w for i in np.flatnonzero(~held) for w in [*texts[i], "</s>"]))}
    train, test = (fast.text_rows([[*texts[i], "</s>"] for i in np.flatnonzero(own)], words, 0, 0,
                                  buckets, 2) for own in (~held, held))
    Z, A = initial_vectors(len(words), buckets, d, np.random.default_rng(1), labels.max() + 1)
    train_classifier(fast.classifier_block, Z.copy(), A.copy(), *train, labels[~held], 1, 1, 1e-9)
    start = time.perf_counter()
    train_classifier(fast.classifier_block, Z, A, *train, labels[~held], epochs, 1, rate)
    ours = (time.perf_counter() - start) / epochs
    accuracy = (classify(Z, A, *test).argmax(axis=1) == labels[held]).mean()
    return row("classifier, pairs of words", f"{(~held).sum():,} texts", 1, ours, theirs,
               accuracy >= their_accuracy - 0.003, accuracy=accuracy, accuracy_peer=their_accuracy)


def rows(words=10_000_000):
    """Two rows; compilation is kept apart."""
    program()
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    for measure in (classifier_row, lambda folder: vectors_row(folder, words)):
        with tempfile.TemporaryDirectory() as folder:
            yield measure(Path(folder))
