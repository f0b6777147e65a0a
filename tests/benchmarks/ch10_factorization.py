"""Counts, truncated SVD and topics, on the State of the Union addresses.

Peers: SciPy for the counts (a sparse matrix for each distance, added up) and for the SVD (svds, by
ARPACK), scikit-learn for the SVD (TruncatedSVD, the same randomised method), and lda, which has the
same collapsed Gibbs sampler in C.  Before anything is timed:

    counts    the same matrix
    SVD       as much of |M|^2 kept in rank d: within 0.001 of scikit-learn's, which takes as many
              iterations (5, its default), and of ARPACK's, which is exact (ours: 20, our default)
    topics    after as many sweeps, perplexities of the corpus within 5% of each other: the two
              draw other random numbers

One thread each: ARPACK, with its many small products, is slower on two.
"""
import importlib.metadata
import logging

import numba
import numpy as np
import scipy.sparse as sp
from lda import LDA
from scipy.sparse.linalg import svds
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from kernels import twin
from primer import data
from primer.ch06_word2vec import count_vocabulary, encode_corpus
from primer.ch10_factorization import Topics, flatten, lda, perplexity, ppmi, truncated_svd
from tests.benchmarks.timing import interleaved

WINDOW, D, TOPICS, SWEEPS, SEED = 5, 50, 50, 10, 0
PASSAGES, FEWER = 4000, 500
ALPHA, BETA = 0.1, 0.01


def scipy_counts(documents, V):
    """The sum over distances of pairs, both ways -> CSR (V, V)."""
    words = np.concatenate([np.append(d, [V] * WINDOW) for d in documents])       # V: no word
    total = sp.csr_matrix((V + 1, V + 1), dtype=np.int64)
    for k in range(1, WINDOW + 1):
        ones = np.ones(len(words) - k, np.int64)
        total = total + sp.coo_matrix((ones, (words[:-k], words[k:])), (V + 1, V + 1)).tocsr()
    return (total + total.T).tocsr()[:V, :V]


def as_scipy(M):
    return sp.csr_matrix((M.data, M.indices, M.indptr), M.shape)


def kept(M, U, S, Vt):
    """Share of |M|^2 that the rank-d matrix keeps -> float."""
    inner = ((M @ Vt.T) * (U * S)).sum()                                          # <M, U S Vt>
    return (2 * inner - (S ** 2).sum()) / (M.data ** 2).sum()


def row(what, peer, size, ours, theirs, repeats=5):
    mine, peers = interleaved(ours, theirs, repeats)
    return {"what": what, "peer": peer, "size": size, "ours": mine, "peer_s": peers,
            "ratio": peers / mine, "bar": 1.0, "reached": peers >= mine,
            "versions": {p: importlib.metadata.version(p) for p in (
                "numpy", "numba", "scipy", "scikit-learn", "lda")}}


def sklearn_svd(own):
    model = TruncatedSVD(D, n_iter=5, random_state=SEED)
    US = model.fit_transform(own)                                                 # (V, d)
    return US / model.singular_values_, model.singular_values_, model.components_


def svd_rows(M, module):
    """Ours beside each of the two peers, on the same matrix -> dicts."""
    own = as_scipy(M)

    def ours(iterations):
        return truncated_svd(M, D, np.random.default_rng(SEED), iterations=iterations,
                             product=module.csr_matmul)

    for peer, iterations, theirs in (("scikit-learn", 5, lambda: sklearn_svd(own)),
                                     ("scipy svds", 20, lambda: svds(own, D, random_state=SEED))):
        one, other = kept(own, *ours(iterations)), kept(own, *theirs())
        assert abs(one - other) < 1e-3, (peer, one, other)
        yield row("truncated SVD", peer, f"PPMI, {own.nnz} entries, d={D}",
                  lambda iterations=iterations: ours(iterations), theirs, 3)


def topics(documents, V, module):
    """Ours, lda's, and what the perplexity of each state is."""
    words, owners = flatten(documents, V)
    counts = np.zeros((len(documents), V), np.int64)                              # (n, V)
    np.add.at(counts, (owners, words), 1)

    def ours():
        return lda(documents, V, TOPICS, np.random.default_rng(SEED), SWEEPS, ALPHA, BETA,
                   sweep=module.gibbs_sweep)

    def theirs():
        return LDA(TOPICS, SWEEPS, ALPHA, BETA, random_state=SEED, refresh=10**6).fit(counts)

    model = theirs()
    state = Topics(np.empty(0), model.ndz_, model.nzw_)
    one, other = (perplexity(s, words, owners, ALPHA, BETA) for s in (ours(), state))
    assert abs(one / other - 1) < 0.05, (one, other)
    return ours, theirs


def rows():
    """Four rows; compilation happens in the checks -> dicts."""
    logging.getLogger("lda").setLevel(logging.ERROR)
    numba.set_num_threads(1)
    with threadpool_limits(1):
        yield from measured(twin("ch10_factorization", "numba"))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def measured(module):
    texts = data.sotu_paragraphs()[0][:PASSAGES]
    vocabulary, _ = count_vocabulary(texts, min_count=10)
    V, (tokens, starts) = len(vocabulary), encode_corpus(texts, vocabulary)
    documents = np.split(tokens, starts[1:-1])
    C = module.cooccurrence(documents, V, WINDOW)
    assert (as_scipy(C) != scipy_counts(documents, V)).nnz == 0, "other counts"
    yield row("co-occurrence counts", "scipy", f"{len(tokens)} words, V={V}",
              lambda: module.cooccurrence(documents, V, WINDOW),
              lambda: scipy_counts(documents, V))
    yield from svd_rows(ppmi(C), module)
    ours, theirs = topics(documents[:FEWER], V, module)
    yield row("LDA, Gibbs sweeps", "lda", f"{SWEEPS} x {starts[FEWER]} words, T={TOPICS}", ours,
              theirs, 3)
