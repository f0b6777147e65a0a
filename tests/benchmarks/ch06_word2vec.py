"""Word2vec with the full softmax, on the State of the Union addresses.

Peers: NLTK's skipgrams for the windows, and for the steps what a user of SciPy would write: two
matrix-vector products and an outer product of BLAS, without a copy of U.  Before anything is timed:

    windows   NLTK gives each pair once, left word first: those of ours whose context comes after
              its centre, so it writes half as many; both take ids and give ids
    steps     the same vectors and losses after all steps, up to float32's rounding

One thread each: a step of the full softmax needs what the step before has left.
"""
import importlib.metadata

import numpy as np
import scipy.linalg.blas as blas
from nltk.util import skipgrams
from threadpoolctl import threadpool_limits

from kernels import twin
from primer import data
from primer.ch06_word2vec import count_vocabulary, encode_corpus, falling_rates
from tests.benchmarks.timing import interleaved

WINDOW, D, STEPS, SEED = 5, 100, 300, 0


def nltk_pairs(texts):
    """Each text's pairs, left word first -> (pairs, 2)."""
    return np.array([pair for text in texts for pair in skipgrams(text, 2, WINDOW - 1)])


def blas_epoch(W, U, centres, contexts, rates):
    """As skipgram_epoch, with U' in Fortran's order, so that BLAS changes it in place."""
    W, C, losses = W.copy(), np.asfortranarray(U.T), np.empty(len(centres))       # C: (d, V)
    for i, v in enumerate(centres):
        h = W[v].copy()                                                           # (d,)
        scores = blas.sgemv(1, C, h, trans=1)                                     # (V,)
        largest = scores.max()
        error = np.exp(scores - largest)                                          # (V,)
        total = error.sum()
        losses[i] = largest - scores[contexts[i]] + np.log(total)
        error /= total
        error[contexts[i]] -= 1
        dh = blas.sgemv(1, C, error)                                              # (d,)
        C = blas.sger(-rates[i], h, error, a=C, overwrite_a=1)
        W[v] -= rates[i] * dh
    return W, C.T, losses


def row(what, peer, size, ours, theirs):
    mine, peers = interleaved(ours, theirs)
    return {"what": what, "peer": peer, "size": size, "ours": mine, "peer_s": peers,
            "ratio": peers / mine, "bar": 1.0, "reached": peers >= mine,
            "versions": {p: importlib.metadata.version(p) for p in ("numpy", "numba", "scipy",
                                                                    "nltk")}}


def rows():
    """Two rows; compilation happens in the checks."""
    word2vec, rng = twin("ch06_word2vec", "numba"), np.random.default_rng(SEED)
    documents = data.sotu_paragraphs()[0]
    vocabulary, _ = count_vocabulary(documents, min_count=3)
    tokens, starts = encode_corpus(documents, vocabulary)
    texts = [tokens[a:b].tolist() for a, b in zip(starts, starts[1:], strict=False)]
    some, ends, V = tokens[:starts[1000]], starts[:1001], len(vocabulary)
    centres, contexts = word2vec.skipgram_pairs(some, ends, WINDOW)
    left, right = nltk_pairs(texts[:1000]).T                                      # (pairs,) each
    both = np.concatenate([left * V + right, right * V + left])
    assert np.array_equal(np.sort(centres * V + contexts), np.sort(both)), "other pairs"
    yield row("skip-gram pairs", "nltk", f"{len(some)} words",
              lambda: word2vec.skipgram_pairs(some, ends, WINDOW), lambda: nltk_pairs(texts[:1000]))
    W, U = rng.standard_normal((2, V, D), np.float32) / 10
    drawn = rng.integers(len(centres), size=STEPS)
    arguments = (W, U, centres[drawn], contexts[drawn],
                 falling_rates(0.05, 0, 1, STEPS).astype(np.float32))
    with threadpool_limits(1):
        for a, b in zip(word2vec.skipgram_epoch(*arguments), blas_epoch(*arguments), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        yield row("full softmax, steps", "scipy", f"{STEPS} x V={V}, d={D}",
                  lambda: word2vec.skipgram_epoch(*arguments), lambda: blas_epoch(*arguments))
