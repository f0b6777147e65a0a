"""GloVe beside Stanford's C programs: counting a corpus, and an epoch over the same counts.

The programs vocab_count, cooccur, shuffle and glove (version 1.2) must be on the PATH.  Both sides
get the corpus file of 10 million words, window 5, d = 100, x_max = 100, and two threads; cooccur
has only one.

    counting   from the file to counts: ours reads, encodes and counts in blocks of documents that
               are added up; cooccur reads, looks words up, counts, sorts and writes.  Its counts
               and ours are the same cells, and equal to rounding.
    an epoch   over the same shuffled counts, from starts of the same distribution.  The time of
               glove's epoch is the difference of two runs, of 1 and of 1 + EPOCHS epochs, so that
               reading the vocabulary and writing vectors does not count.  The costs of each epoch
               must be within 1 % of each other.
"""
import importlib.metadata
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numba
import numpy as np

from kernels import twin
from primer.ch11_glove import cooccurrence_weight, initial_model, sum_counts
from tests.benchmarks.corpus import corpus_file

WORDS, WINDOW, D, MIN_COUNT, EPOCHS, REPEATS, THREADS = 10_000_000, 5, 100, 5, 3, 3, 2
PROGRAMS = ("vocab_count", "cooccur", "shuffle", "glove")
RECORD = np.dtype([("row", "<i4"), ("column", "<i4"), ("count", "<f8")])
BLOCK = 2_000_000                     # words of a block of documents


def run(program, *options, **files):
    """One of the programs -> what it said, seconds."""
    start = time.perf_counter()
    done = subprocess.run([program, *map(str, options)], check=True, stderr=subprocess.PIPE,
                          **files)
    return done.stderr.decode(), time.perf_counter() - start


def count_file(path, vocabulary):
    """Counts of a file, a document a line, in blocks -> CSR (V, V)."""
    fast = twin("ch11_glove", "numba")

    def blocks():
        tokens, ends = [], [0]
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                tokens += [vocabulary[w] for w in line.split() if w in vocabulary]
                ends.append(len(tokens))
                if len(tokens) > BLOCK:
                    yield np.array(tokens, np.int32), np.array(ends)
                    tokens, ends = [], [0]
        yield np.array(tokens, np.int32), np.array(ends)
    return sum_counts((fast.count_block(t, e, len(vocabulary), WINDOW) for t, e in blocks()), fast)


def cooccur(path, folder):
    """Stanford's counts -> seconds, records."""
    with open(path, "rb") as corpus, open(folder / "counts.bin", "wb") as out:
        _, seconds = run("cooccur", "-memory", 4, "-window-size", WINDOW, "-verbose", 0,
                         "-vocab-file", folder / "vocab.txt", "-overflow-file", folder / "overflow",
                         stdin=corpus, stdout=out)
    return seconds, np.fromfile(folder / "counts.bin", RECORD)


def measured(what, peer, size, ours, theirs, bar):
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    return {"what": what, "peer": peer, "size": size, "ours": ours, "peer_s": theirs,
            "ratio": theirs / ours, "bar": bar, "reached": theirs / ours >= bar,
            "versions": {"GloVe": "1.2"} | {p: importlib.metadata.version(p)
                                            for p in ("numpy", "numba")}}


def counting(path, folder, vocabulary):
    """The row of counting."""
    count_file(path, dict(list(vocabulary.items())[:50]))                # compiles
    ours, theirs = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        X = count_file(path, vocabulary)
        ours.append(time.perf_counter() - start)
        seconds, records = cooccur(path, folder)
        theirs.append(seconds)
    rows = np.repeat(np.arange(len(vocabulary)), np.diff(X.indptr))
    assert np.array_equal(rows, records["row"] - 1), "other cells"
    assert np.array_equal(X.indices, records["column"] - 1), "other cells"
    np.testing.assert_allclose(X.data, records["count"], rtol=1e-11)  # 10^5 terms or more
    return measured("co-occurrence counting", "cooccur", f"{WORDS:,} words, window {WINDOW}",
                    ours, theirs, 1)


def epochs(folder, V):
    """The row of an epoch."""
    with open(folder / "counts.bin", "rb") as counts, open(folder / "shuffled.bin", "wb") as out:
        run("shuffle", "-memory", 4, "-verbose", 0, "-seed", 1, "-temp-file", folder / "temporary",
            stdin=counts, stdout=out)
    records = np.fromfile(folder / "shuffled.bin", RECORD)
    entries = (records["row"] - 1, records["column"] - 1,
               np.log(records["count"]).astype(np.float32),
               cooccurrence_weight(records["count"]).astype(np.float32))
    step, ours, theirs = twin("ch11_glove", "numba").adagrad_block, [], []
    step(*initial_model(V, D, np.random.default_rng(0)), *(part[:9] for part in entries))
    for repeat in range(REPEATS):
        model, costs = initial_model(V, D, np.random.default_rng(repeat)), []
        for _ in range(1 + EPOCHS):
            start = time.perf_counter()
            costs.append(np.divide(*step(*model, *entries)))
            ours.append(time.perf_counter() - start)
        runs = [run("glove", "-input-file", folder / "shuffled.bin", "-vocab-file",
                    folder / "vocab.txt", "-save-file", folder / "vectors", "-threads", THREADS,
                    "-vector-size", D, "-x-max", 100, "-verbose", 0, "-seed", repeat + 1, "-iter",
                    n) for n in (1, 1 + EPOCHS)]
        theirs.append((runs[1][1] - runs[0][1]) / EPOCHS)
        told = [float(c) for c in re.findall(r"cost: ([\d.]+)", runs[1][0])]
        np.testing.assert_allclose(costs, told, rtol=0.01)
    return measured("GloVe, an epoch", "glove", f"{len(records):,} counts, d={D}", ours, theirs, 4)


def rows():
    """The two measurements -> dicts.  Raises FileNotFoundError without the programs."""
    if missing := [p for p in PROGRAMS if not shutil.which(p)]:
        raise FileNotFoundError(
            f"{', '.join(missing)}: not on the PATH.  Build Stanford's programs: git clone "
            "https://github.com/stanfordnlp/GloVe, make -C GloVe, and put GloVe/build on the PATH")
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    path = corpus_file(words=WORDS)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with open(path, "rb") as lines, open(folder / "vocab.txt", "wb") as out:
            run("vocab_count", "-min-count", MIN_COUNT, "-verbose", 0, stdin=lines, stdout=out)
        names = (folder / "vocab.txt").read_text(encoding="utf-8").split()[::2]
        vocabulary = {name: i for i, name in enumerate(names)}
        yield counting(path, folder, vocabulary)
        yield epochs(folder, len(vocabulary))
