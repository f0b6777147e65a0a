"""Skip-gram with hierarchical softmax on 10 million words, beside gensim.

Both read the same file of one document a line and train on every word that occurs 5 times, with
d = 100, windows drawn from 1 to 5, one epoch, a rate that falls from 0.025, and two threads: gensim
in its fastest way, `corpus_file`.  Timed is training alone, gensim's with the reading of its file,
which it does meanwhile; vocabulary and tree come before.  Not thinned out (sample=0): that is
chapter 8's.  Before the times count, both must predict alike: the mean loss of pairs of the first
documents, exact and under each one's own tree, and ours must not be above the peer's by more than
0.05 nats.
"""
import gc
import importlib.metadata
import statistics
import time

import numba
import numpy as np

from kernels import twin
from primer import ch07_hierarchical_softmax as chapter
from primer.ch06_word2vec import falling_rates, windows_word2vec_c
from primer.ch07_hierarchical_softmax import Tree, initial_vectors, predict
from tests.benchmarks.corpus import corpus_file

D, WINDOW, RATE, LEAST = 100, 5, 0.025, 5
THREADS = min(2, numba.config.NUMBA_NUM_THREADS)
BLOCK = 100_000                       # tokens of a block, about


def encoded(path, vocabulary):
    """A corpus file -> tokens (T,) int32, starts (n + 1,)."""
    tokens, starts = [], [0]
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            own = [vocabulary[w] for w in line.split() if w in vocabulary]
            tokens.append(np.array(own, np.int32))
            starts.append(starts[-1] + len(own))
    return np.concatenate(tokens), np.array(starts)


def our_training(fast, tokens, starts, tree, seed=1):
    """One epoch, block after block -> W, N."""
    rng = np.random.default_rng(seed)
    W, N = initial_vectors(len(tree.indptr) - 1, D, rng)
    rates = falling_rates(RATE, 0, 1, len(tokens)).astype(np.float32)            # (T,)
    cuts = np.unique(np.searchsorted(starts, np.arange(0, starts[-1], BLOCK)))
    for first, stop in zip(cuts, [*cuts[1:], len(starts) - 1], strict=True):
        own = slice(starts[first], starts[stop])
        windows = windows_word2vec_c(own.stop - own.start, WINDOW, rng)
        fast.skipgram_block(W, N, tokens[own], starts[first:stop + 1] - own.start, windows,
                            rates[own], tree)
    return W, N


def gensim_model(path, seed=1):
    from gensim.models import Word2Vec
    model = Word2Vec(sg=1, hs=1, negative=0, sample=0, vector_size=D, window=WINDOW,
                     min_count=LEAST, alpha=RATE, workers=THREADS, epochs=1, seed=seed)
    model.build_vocab(corpus_file=str(path))
    return model


def gensim_training(model, path, start):
    """One epoch from some vectors: its own init_weights keeps what it has learned."""
    model.wv.vectors[:], model.syn1[:] = start, 0
    model.train(corpus_file=str(path), total_examples=model.corpus_count,
                total_words=model.corpus_total_words, epochs=1)
    return model


def gensim_tree(model):
    """-> Tree of its paths."""
    points, codes = (([model.wv.get_vecattr(w, kind) for w in model.wv.index_to_key])
                     for kind in ("point", "code"))
    return Tree(np.cumsum([0, *map(len, codes)]), np.concatenate(points).astype(np.int32),
                np.concatenate(codes).astype(np.int8))


def mean_loss(W, N, tree, tokens, starts, documents=200):
    """Of the pairs at distance 1 and 2 in the first documents -> float."""
    starts = starts[:documents + 1]
    own = tokens[:starts[-1]].astype(np.int64)
    indptr, contexts = chapter.context_windows(own, starts, 2)
    words = np.repeat(own, np.diff(indptr))
    return float(np.mean([predict(W[contexts[a:a + 5000]], N, words[a:a + 5000], tree)[0].mean()
                          for a in range(0, len(words), 5000)]))


def rows(words=10_000_000, repeats=3):
    """One row; compilation happens before."""
    numba.set_num_threads(THREADS)
    path, fast = corpus_file(words), twin("ch07_hierarchical_softmax", "numba")
    model = gensim_model(path)
    counts = np.array([model.wv.get_vecattr(w, "count") for w in model.wv.index_to_key])
    tokens, starts = encoded(path, model.wv.key_to_index)
    tree = fast.huffman_tree(counts)
    our_training(fast, tokens[:starts[50]], starts[:51], tree)
    fresh = model.wv.vectors.copy()
    times = [], []
    for _ in range(repeats):
        for train, taken in zip((lambda: our_training(fast, tokens, starts, tree),
                                 lambda: gensim_training(model, path, fresh)), times, strict=True):
            gc.collect()
            start = time.perf_counter()
            result = train()
            taken.append(time.perf_counter() - start)
            if isinstance(result, tuple):
                W, N = result
    loss = mean_loss(W, N, tree, tokens, starts)
    peer = mean_loss(model.wv.vectors, model.syn1[:len(N)], gensim_tree(model), tokens, starts)
    assert loss < peer + 0.05, f"mean loss {loss:.3f}, gensim's {peer:.3f}"
    ours, theirs = map(statistics.median, times)
    yield {"what": "skip-gram, hierarchical softmax", "peer": "gensim",
           "size": f"{len(tokens)} words, V = {len(counts)}, d = {D}, {THREADS} threads; mean loss "
                   f"{loss:.3f}, peer's {peer:.3f}",
           "ours": ours, "peer_s": theirs, "ratio": theirs / ours, "bar": 2,
           "reached": theirs / ours >= 2,
           "versions": {p: importlib.metadata.version(p) for p in ("numpy", "numba", "gensim")}}
