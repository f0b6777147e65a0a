"""Our trainers and gensim's on one file, for the benchmarks of chapters 7 and 8.

Both get the same settings, and gensim its fastest way, corpus_file.  There each of w workers counts
only the words that it has seen itself, so that within each of E epochs the rate falls by 1/w of
what it should: its mean is (E + 1 - 1/w) / E of what it is with one worker.  Ours starts that much
higher, to learn at the same mean rate.  Timed is all from the file to the vectors in memory,
without compiling: ours as `python -m primer train` runs it, ids on the disk included.  Quality is
what primer/training/quality.py measures, the mean over the seeds.
"""
import argparse
import gc
import importlib.metadata
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from primer import training
from primer.formats import WordVectors
from primer.training import corpus, job, models
from primer.training.quality import quality
from tests.benchmarks.corpus import corpus_file

SEEDS, EPOCHS, THREADS = (1, 2, 3), 3, min(2, training.numba_threads())
SLACK = 0.01                          # what a quality may be below the peer's


def options(arguments):
    """What `python -m primer train` makes of its arguments."""
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    found = parser.parse_args(arguments.split())
    training.complete(found)
    return found


def train(arguments, text, seed=1, epochs=EPOCHS):
    """-> seconds, seconds of the steps alone, WordVectors or FastText."""
    with tempfile.TemporaryDirectory() as folder:
        own = options(f"{arguments} --corpus {text} --out {folder}/x.vec --epochs {epochs} "
                      f"--seed {seed} --threads {THREADS}")
        training.numba_threads(THREADS)
        start = time.perf_counter()
        data = corpus.prepare(text, folder, own.min_count)
        made, result = getattr(models, own.model)(own, data, Path(folder))
        begun = time.perf_counter()
        job.run(made, folder, seed, np.inf, keep=False)
        end = time.perf_counter()
        return end - start, end - begun, result()


def gensims(text, seed, **own):
    """-> seconds, seconds of the steps alone, WordVectors."""
    from gensim.models import Word2Vec
    model = Word2Vec(vector_size=100, window=5, sample=1e-3, min_count=5, workers=THREADS,
                     seed=seed, **own)
    start = time.perf_counter()
    model.build_vocab(corpus_file=str(text))
    begun = time.perf_counter()
    model.train(corpus_file=str(text), total_words=model.corpus_total_words,
                total_examples=model.corpus_count, epochs=EPOCHS)
    end = time.perf_counter()
    return end - start, end - begun, WordVectors(model.wv.index_to_key, model.wv.vectors)


def beside_gensim(what, arguments, bar, words, alpha, **own):
    """A row of the benchmarks: ours and gensim's in turn, a seed each."""
    text = corpus_file(words)
    arguments += f" --lr {alpha * (EPOCHS + 1 - 1 / THREADS) / EPOCHS}"
    train(arguments, corpus_file(words // 100), epochs=1)             # compiles
    times, good = ([], []), ([], [])
    for seed in SEEDS:
        for side, run in enumerate((lambda s: train(arguments, text, s),
                                    lambda s: gensims(text, s, alpha=alpha, **own))):
            gc.collect()
            *taken, vectors = run(seed)
            times[side].append(taken)
            good[side].append([value for value, *_ in quality(vectors).values()])
    (ours, steps), (theirs, their_steps) = ([statistics.median(t) for t in zip(*side, strict=True)]
                                            for side in times)
    mean, peer = (np.mean(side, axis=0) for side in good)
    return {"what": what, "peer": "gensim", "size": f"{words:,} words, {EPOCHS} epochs",
            "ours": ours, "peer_s": theirs, "ratio": theirs / ours, "bar": bar,
            "reached": bool(theirs / ours >= bar and np.all(mean >= peer - SLACK)),
            "ratio_of_steps": their_steps / steps, "quality": mean.round(4).tolist(),
            "peer_quality": peer.round(4).tolist(),
            "versions": {p: importlib.metadata.version(p) for p in ("numpy", "numba", "gensim")}}
