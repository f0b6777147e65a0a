"""Exact search against faiss, k-means against scikit-learn: equal answers first, then times.

The rows are made here, as `size` says: directions at random, and a mixture of Gaussian clusters.
faiss gets its index before the clock starts; ours gets the plain rows.  Before each timing all
threads rest, since those of BLAS and OpenMP go on spinning for a while after a call and would slow
down whoever comes next.
"""
import platform
import statistics
import time
import warnings

import faiss
import numba
import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from kernels import twin
from primer.ch01_geometry import unit_rows

ROWS, DIMENSIONS, QUERIES, NEIGHBOURS = 100_000, 128, 1000, 10
CLUSTERS, ITERATIONS = 100, 20
THREADS, REPEATS, REST = 2, 9, 0.1
VERSIONS = {"python": platform.python_version(), "numpy": np.__version__,
            "numba": numba.__version__, "faiss": faiss.__version__,
            "scikit-learn": sklearn.__version__}


def mixture(rng, n, spread):
    """Rows around CLUSTERS random centres -> (n, d) float32."""
    centres = rng.standard_normal((CLUSTERS, DIMENSIONS))
    noise = spread * rng.standard_normal((n, DIMENSIONS))
    return (centres[rng.integers(CLUSTERS, size=n)] + noise).astype(np.float32)


def medians(*functions):
    """Median seconds of each: warm, one after the other, REPEATS times."""
    times = [[] for _ in functions]
    for repeat in range(REPEATS + 1):
        for function, seconds in zip(functions, times, strict=True):
            time.sleep(REST)
            start = time.perf_counter()
            function()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def row(what, peer, size, ours, theirs):
    mine, peers = medians(ours, theirs)
    return {"what": what, "peer": peer, "size": size, "ours": mine, "peer_s": peers,
            "ratio": peers / mine, "bar": 1.0, "reached": peers >= mine, "versions": VERSIONS}


def search(geometry, rows, name):
    """Cosine top 10: the same neighbours, but where two scores are closer than rounding."""
    X, queries = np.split(unit_rows(rows), [ROWS])
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(X)
    theirs, neighbours = index.search(queries, NEIGHBOURS)
    indices, scores = geometry.top_k(queries, X, NEIGHBOURS)
    np.testing.assert_allclose(scores, theirs, rtol=0, atol=1e-6)
    for q, place in zip(*np.nonzero(indices != neighbours), strict=True):
        exact = X[[indices[q, place], neighbours[q, place]]].astype(np.float64) @ queries[q]
        assert abs(exact[0] - exact[1]) < 1e-6, f"query {q}, place {place}: other neighbours"
    return row("exact cosine top 10", "faiss IndexFlatIP",
               f"{QUERIES} queries, {ROWS} x {DIMENSIONS}, {name}",
               lambda: geometry.top_k(queries, X, NEIGHBOURS),
               lambda: index.search(queries, NEIGHBOURS))


def clusters(geometry, X):
    """Lloyd's algorithm from the same centroids, for the same number of iterations."""
    start = X[:CLUSTERS]

    def ours():
        return geometry.kmeans(X, CLUSTERS, None, max_iterations=ITERATIONS, start=start)

    def theirs():
        return KMeans(CLUSTERS, init=start, n_init=1, max_iter=ITERATIONS, tol=0,
                      algorithm="lloyd").fit(X)

    model, (centroids, _, inertia, history) = theirs(), ours()
    assert model.n_iter_ == len(history) - 1 == ITERATIONS
    np.testing.assert_allclose(inertia, model.inertia_, rtol=1e-5)
    np.testing.assert_allclose(centroids, model.cluster_centers_, rtol=0, atol=0.05)
    return row(f"k-means, {ITERATIONS} iterations", "sklearn KMeans",
               f"{ROWS} x {DIMENSIONS}, K={CLUSTERS}, mixture", ours, theirs)


def rows():
    """The measurements, on two threads each -> dicts."""
    rng = np.random.default_rng(0)
    faiss.omp_set_num_threads(THREADS)
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    geometry = twin("ch01_geometry", "numba")
    with threadpool_limits(THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)        # a fixed number is wanted
        noise = rng.standard_normal((ROWS + QUERIES, DIMENSIONS), dtype=np.float32)
        yield search(geometry, noise, "random")
        yield search(geometry, mixture(rng, ROWS + QUERIES, 1.0), "mixture")
        yield clusters(geometry, mixture(rng, ROWS, 2.0))
