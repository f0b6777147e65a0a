"""How a trainer's time grows with the corpus, the vocabulary, d and the threads, as one figure.

    python -m tests.benchmarks.scaling FILE.png

One epoch, the quickest of three, kernels compiled before; all else as `python -m primer train` has
it.
"""
import os
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from primer import training
from primer.training import corpus, job, models
from tests.benchmarks.corpus import corpus_file
from tests.benchmarks.trainers import options

TRAINERS = {
    "skip-gram": "word2vec", "CBOW": "word2vec --arch cbow",
    "skip-gram, hierarchical": "word2vec --loss hs", "GloVe": "glove", "fastText": "fasttext",
}
SWEEPS = {
    "words of corpus": [250_000, 500_000, 1_000_000],
    "different words": [1_000, 6_000, 36_000],
    "d": [50, 100, 200],
    "threads": [1, 2],
}
REPEATS = 3
USUAL = {"words of corpus": 500_000, "different words": None, "d": 100, "threads": 2}


def seconds(trainer, text, words, V, d, threads):
    """One epoch over the first words of a text  ->  seconds, without reading and compiling."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "text"
        head(text, part, words)
        own = options(f"{trainer} --corpus {part} --out {folder}/x.vec --epochs 1 --dim {d} "
                        f"--threads {threads}")
        training.numba_threads(threads)
        data = most_frequent(corpus.prepare(part, folder, 1 if V else 5), V)
        made, _ = getattr(models, own.model)(own, data, Path(folder))
        started = time.perf_counter()
        job.run(made, folder, 1, np.inf, keep=False)
        return time.perf_counter() - started


def head(text, part, words):
    with open(text) as source, open(part, "w") as out:
        while words > 0 and (line := source.readline()):
            out.write(line)
            words -= line.count(" ") + 1


def most_frequent(data, V):
    """The corpus with its V most frequent words only; V None: as it is."""
    if V is None or V >= len(data.words):
        return data
    kept = data.tokens < V                                            # (T,)
    starts = np.append(0, np.cumsum(kept))[data.starts]               # (n + 1,)
    return data._replace(words=data.words[:V], counts=data.counts[:V], tokens=data.tokens[kept],
                         starts=np.unique(starts))


def measured():
    """Seconds by trainer and sweep  ->  {(trainer, sweep): list}."""
    text, found = corpus_file(), {}
    with tqdm(total=len(TRAINERS) * sum(map(len, SWEEPS.values()))) as bar:
        for name, trainer in TRAINERS.items():
            seconds(trainer, text, 10_000, None, 100, 2)              # compiles
            for what, values in SWEEPS.items():
                found[name, what] = []
                for value in values:
                    bar.set_postfix_str(f"{name}, {what} {value}")
                    found[name, what].append(min(
                        seconds(trainer, text, *(USUAL | {what: value}).values())
                        for _ in range(REPEATS)))
                    bar.update()
    return found


def draw(found, path):
    """A row of plots for each trainer."""
    figure, axes = plt.subplots(len(TRAINERS), len(SWEEPS), figsize=(10, 11), sharey="row",
                                layout="constrained")
    for row, name in zip(axes, TRAINERS, strict=True):
        for axis, (what, values) in zip(row, SWEEPS.items(), strict=True):
            axis.plot(values, found[name, what], "o-")
            if what == "different words":
                axis.set_xscale("log")
            axis.set(xlabel=what, ylim=(0, None))
            axis.set_xticks(values, [f"{v:,}" for v in values], rotation=30)
            axis.minorticks_off()
        row[0].set_ylabel(f"{name}\nseconds an epoch")
    figure.savefig(path, dpi=70)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    draw(measured(), sys.argv[1])
