"""Skip-gram and CBOW with negative sampling on a file of text, beside Gensim's Word2Vec.

Both read the same file (one document a line), with Gensim's fastest way, corpus_file, and get the
same settings: d = 100, window 5, 5 drawn words, sample 1e-3, words of 5 occurrences or more, rate
0.025, three epochs, two threads.  Timed is the training: vocabularies are counted before, and our
tokens lie in memory then.  Quality: Spearman's correlation on WordSim-353 and SimLex-999, and the
share of Google's analogies solved, by Gensim's copies and evaluation for both; mean of the seeds.

    python -m tests.benchmarks ch08                        the two rows
    python -m tests.benchmarks.ch08_negative_sampling FILE.png     the figure: how time grows
"""
import importlib.metadata
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numba
import numpy as np

from kernels import twin
from primer.ch03_bow import tokenize
from primer.ch06_word2vec import count_vocabulary, encode_corpus, initial_vectors
from primer.ch08_negative_sampling import train_cbow, train_skipgram
from primer.figures import COLOURS, new_figure, tidy
from tests.benchmarks import corpus as texts

D, WINDOW, K, SAMPLE, LEAST, RATE, EPOCHS, SEEDS = 100, 5, 5, 1e-3, 5, 0.025, 3, (1, 2, 3)
BARS = {"skip-gram": 4, "CBOW": 1.5}
SLACK = 0.01                          # what a quality may be below the peer's


def corpus_file(words):
    """The benchmarks' corpus, a document a line -> Path."""
    if hasattr(texts, "corpus_file"):
        return texts.corpus_file(words=words)
    path = Path(tempfile.gettempdir()) / f"primer-corpus-{words}.txt"
    path.write_text("\n".join(" ".join(tokenize(d)) for d in texts.corpus(words // 105)) + "\n")
    return path


def threads():
    return min(2, numba.config.NUMBA_NUM_THREADS)


def read(path):
    """-> list of str: words by id; tokens (T,) int32, starts (n + 1,)."""
    lines = path.read_text().splitlines()
    vocabulary, _ = count_vocabulary(lines, LEAST)
    tokens, starts = encode_corpus(lines, vocabulary)
    return list(vocabulary), tokens.astype(np.int32), starts


def ours(train, words, tokens, starts, seed, epochs=EPOCHS, d=D):
    """-> seconds, W."""
    fast, start = twin("ch08_negative_sampling", "numba"), time.perf_counter()
    W, U = initial_vectors(len(words), d, np.random.default_rng(seed))
    W, _, _ = train(tokens, starts, W, U, WINDOW, K, epochs, seed, rate=RATE, sample=SAMPLE,
                    twin=fast)
    return time.perf_counter() - start, W


def gensims(sg, path, seed):
    """-> seconds, KeyedVectors."""
    from gensim.models import Word2Vec
    model = Word2Vec(vector_size=D, window=WINDOW, negative=K, sample=SAMPLE, min_count=LEAST,
                     sg=sg, alpha=RATE, min_alpha=RATE * 1e-4, workers=threads(), seed=seed)
    model.build_vocab(corpus_file=str(path))
    start = time.perf_counter()
    model.train(corpus_file=str(path), total_words=model.corpus_total_words,
                total_examples=model.corpus_count, epochs=EPOCHS)
    return time.perf_counter() - start, model.wv


def quality(vectors):
    """KeyedVectors -> [WordSim-353, SimLex-999, analogies], by Gensim's own evaluation."""
    from gensim.test.utils import datapath
    similar = [vectors.evaluate_word_pairs(datapath(name))[1][0]
               for name in ("wordsim353.tsv", "simlex999.txt")]
    analogies = vectors.evaluate_word_analogies(datapath("questions-words.txt"))[0]
    return [*map(float, similar), float(analogies)]


def keyed(words, W):
    from gensim.models import KeyedVectors
    vectors = KeyedVectors(W.shape[1])
    vectors.add_vectors(words, W)
    return vectors


def rows(words=10_000_000):
    """A row each for skip-gram and CBOW; runs in turn, a seed each, after one short warm-up."""
    numba.set_num_threads(threads())
    path = corpus_file(words)
    corpus = names, tokens, starts = read(path)
    for what, train, sg in (("skip-gram", train_skipgram, 1), ("CBOW", train_cbow, 0)):
        ours(train, names, tokens[:starts[20]], starts[:21], 0, epochs=1)
        own, other, good, theirs = [], [], [], []
        for seed in SEEDS:
            seconds, W = ours(train, *corpus, seed)
            own.append(seconds)
            good.append(quality(keyed(names, W)))
            seconds, vectors = gensims(sg, path, seed)
            other.append(seconds)
            theirs.append(quality(vectors))
        mean, peer = np.mean(good, axis=0), np.mean(theirs, axis=0)
        print(f"{what}: WordSim, SimLex, analogies {mean.round(3)}, Gensim {peer.round(3)}")
        taken, theirs_s = statistics.median(own), statistics.median(other)
        yield {"what": f"{what}, negative sampling", "peer": "gensim",
               "size": f"{len(tokens):,} words x {EPOCHS}", "ours": taken, "peer_s": theirs_s,
               "ratio": theirs_s / taken, "bar": BARS[what],
               "reached": bool(theirs_s / taken >= BARS[what] and np.all(mean >= peer - SLACK)),
               "quality": mean.round(4).tolist(), "peer_quality": peer.round(4).tolist(),
               "versions": {p: importlib.metadata.version(p) for p in ("numpy", "numba", "gensim")}}


def seconds_of(T, V, d, cores, train=train_skipgram):
    """One epoch over T words drawn by Zipf's law from V different ones, in texts of 100 words."""
    numba.set_num_threads(cores)
    p = 1 / (np.arange(V) + 2.7)
    tokens = np.random.default_rng(0).choice(V, T, p=p / p.sum()).astype(np.int32)
    return ours(train, range(V), tokens, np.arange(0, T + 1, 100), 0, epochs=1, d=d)[0]


def scaling():
    """Time of an epoch against the corpus, V, d and the threads -> Figure."""
    base, figure = {"T": 400_000, "V": 20_000, "d": 100, "cores": 1}, new_figure(2, 2, 9.6, 7)
    figure, all_axes = figure
    seconds_of(1000, 50, 10, 1), seconds_of(1000, 50, 10, 1, train_cbow)
    for axes, (key, values, label) in zip(all_axes.ravel(), (
            ("T", (100_000, 200_000, 400_000, 800_000), "words of the corpus"),
            ("V", (2_000, 20_000, 200_000), "different words"), ("d", (25, 50, 100, 200, 400), "d"),
            ("cores", tuple(range(1, threads() + 1)), "threads")), strict=True):
        for name, train, colour in (("skip-gram", train_skipgram, COLOURS[0]),
                                    ("CBOW", train_cbow, COLOURS[1])):
            taken = [min(seconds_of(**base | {key: v}, train=train) for _ in range(2))
                     for v in values]
            axes.loglog(values, taken, color=colour, marker="o", label=name)
        axes.set_xticks(values, [f"{v:,}" for v in values])
        axes.minorticks_off()
        tidy(axes, f"Time against {label}", label, "seconds an epoch")
    all_axes[0, 0].legend(fontsize=9)
    return figure


if __name__ == "__main__":
    scaling().savefig(sys.argv[1])
