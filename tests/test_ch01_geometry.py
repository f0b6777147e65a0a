"""Chapter 1: three measures, exact search, offsets, k-means, PCA, linear probe."""
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    EDGE_SIZES,
    assert_close,
    assert_gradient,
    emulated,
    every_backend,
    every_order,
    every_twin,
    on_emulator,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from parity.ch01_geometry import QUERIES, RIDGE, K, rows

from kernels import emulator
from primer import ch01_geometry as chapter
from primer import claims, data
from primer.ch01_geometry import (
    analogy_vector,
    cosine,
    dot,
    euclidean,
    kmeans_plus_plus,
    linear_probe,
    mean_pairwise_cosine,
    one_hot,
    pairwise_cosine,
    pairwise_dot,
    pairwise_euclidean,
    pca,
    probe_predict,
    unit_rows,
)

every_search = every_backend("ch01_geometry", "top_k", "nearest")
every_kmeans = every_backend("ch01_geometry", "kmeans_assign", "kmeans_update", "kmeans")
every_search_twin = every_twin("ch01_geometry", "top_k", "nearest")
every_kmeans_twin = every_twin("ch01_geometry", "kmeans_assign", "kmeans_update", "kmeans")
every_dtype = pytest.mark.parametrize("dtype", (np.float32, np.float64))
SMALL = st.integers(-4, 4).map(float)
VECTOR = arrays(np.float64, 3, elements=st.floats(-100, 100, width=16))


def matrices(least=0, most=7, columns=4):
    """Strategy of (n, columns), least <= n <= most, of small whole numbers."""
    return st.integers(least, most).flatmap(
        lambda n: arrays(np.float64, (n, columns), elements=SMALL))


def directions(least=1, most=7):
    """The same, with no row of zeros."""
    return matrices(least, most).map(lambda X: X + [5.0, 0, 0, 0])


def spec_dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def spec_squared(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


# 1. The equations.

@given(a=VECTOR, b=VECTOR)
def test_the_measures_equal_the_equations(a, b):
    assert_close(dot(a, b), spec_dot(a, b), atol=1e-9)                   # eq. 1.1
    assert_close(euclidean(a, b), math.sqrt(spec_squared(a, b)))         # eq. 1.2
    a, b = a + [101, 0, 0], b + [0, 101, 0]
    length = math.sqrt(spec_dot(a, a)) * math.sqrt(spec_dot(b, b))
    assert_close(cosine(a, b), spec_dot(a, b) / length)                  # eq. 1.3


@given(A=directions(), B=directions())
def test_all_pairs_equal_single_pairs(A, B):
    for pairwise, single in ((pairwise_dot, dot), (pairwise_cosine, cosine),
                             (pairwise_euclidean, euclidean)):
        assert_close(pairwise(A, B), np.array([[single(a, b) for b in B] for a in A]), atol=1e-9)


@every_search
@given(queries=matrices(), X=matrices(), k=st.integers(1, 9))
def test_top_k_equals_a_sort(backend, queries, X, k):
    indices, scores = backend.top_k(queries, X, k)
    assert indices.shape == scores.shape == (len(queries), min(k, len(X)))
    for query, found, best in zip(queries, indices, scores, strict=True):
        products = [spec_dot(query, x) for x in X]
        want = sorted(range(len(X)), key=lambda i: (-products[i], i))[:k]
        assert found.tolist() == want and best.tolist() == [products[i] for i in want]


@every_kmeans
@given(X=matrices(), centroids=matrices(1, 5))
def test_the_inertia_equals_the_equation(backend, X, centroids):
    labels, squared = backend.kmeans_assign(X, centroids)
    each = [[spec_squared(x, m) for m in centroids] for x in X]
    assert labels.tolist() == [row.index(min(row)) for row in each]
    assert_close(float(squared.sum()), float(sum(min(row) for row in each)))      # eq. 1.4


@given(X=matrices(6, 6, 3))
def test_pca_equals_the_eigenvectors_of_the_covariance(X):
    _, components, mean, variance = pca(X, 3)
    covariance = np.zeros((3, 3))
    for x in X:
        covariance += np.outer(x - mean, x - mean) / (len(X) - 1)
    assert_close(covariance @ components.T, components.T * variance, atol=1e-9)   # eq. 1.5


@given(X=matrices(3, 7, 3), y=st.lists(st.integers(0, 2), min_size=7, max_size=7))
def test_the_probe_is_where_the_gradient_is_zero(X, y):
    """(1.6) minimises |X W + b - Y|^2 + ridge |W|^2, by its normal equations and numerically."""
    y = np.array(y[:len(X)])
    W, b = linear_probe(X, y, ridge=0.5)
    Y = one_hot(y, y.max() + 1)

    def loss(W):
        return ((X @ W + b - Y) ** 2).sum() + 0.5 * (W ** 2).sum()

    gradient = 2 * (X.T @ (X @ W + b - Y) + 0.5 * W)
    assert_close(gradient, np.zeros_like(W), atol=1e-9)
    assert_close(X.sum(axis=0) @ W + len(X) * b, Y.sum(axis=0), atol=1e-9)
    assert_gradient(loss, gradient, W, seed=0, rtol=0, atol=1e-6)


# 2. Worked examples of the text.

def test_the_texts_statements():
    assert [(row["line"], row["verdict"]) for row in claims.rows(1)] == [
        (129, "right"), (172, "right"), (172, "right"), (185, "right"), (203, "right")]


@pytest.mark.parametrize("V", (2, 7, 100))
def test_one_hot_words_are_equally_distant(V):
    """Line 172: each pair of words is sqrt(2) apart, and has cosine 0."""
    H = one_hot(np.arange(V), V)
    others = ~np.eye(V, dtype=bool)
    assert_close(pairwise_euclidean(H, H)[others], np.full(V * V - V, math.sqrt(2)))
    assert_close(pairwise_cosine(H, H), np.eye(V))
    assert mean_pairwise_cosine(H) == 0


def test_the_lost_example_of_lines_151_and_188():
    """king - man + woman, in a plane where one coordinate is royal and the other is gender."""
    man, woman, king, queen = np.array([[0.0, -1], [0, 1], [1, -1], [1, 1]])
    assert_close(analogy_vector(man, woman, king), queen)
    assert_close(analogy_vector(man, king, woman), queen)


def test_digits_lie_with_their_kind():
    from primer.figures.ch01_geometry import other_neighbours, probe_accuracy, purity
    images, labels = data.load_digits()
    X = images.astype(np.float64)
    found, scores = other_neighbours(X, np.arange(600), 3)
    assert (found != np.arange(600)[:, None]).all() and (np.diff(scores) <= 0).all()
    assert (labels[found[:, 0]] == labels[:600]).mean() > 0.97
    clusters = chapter.kmeans(X, 10, np.random.default_rng(0))[1]
    assert 0.7 < purity(labels, clusters) < 1 and 0.85 < probe_accuracy(X, labels) < 0.95


# 3. Properties that no student sees.

@given(X=directions(), scale=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=7, max_size=7))
def test_unit_rows(X, scale):
    U = unit_rows(X)
    assert_close((U * U).sum(axis=1), np.ones(len(X)))
    assert_close(unit_rows(X * np.array(scale[:len(X)])[:, None]), U)
    assert_close(unit_rows(U), U)


@given(A=directions(), B=directions(), seed=st.integers(0, 99))
def test_a_common_rotation_changes_nothing(A, B, seed):
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))
    for pairwise in (pairwise_dot, pairwise_cosine, pairwise_euclidean):
        assert_close(pairwise(A @ Q, B @ Q), pairwise(A, B), atol=1e-6)


@given(A=directions(), B=directions())
def test_unit_vectors_have_one_ranking(A, B):
    A, B = unit_rows(A), unit_rows(B)
    assert_close(pairwise_euclidean(A, B) ** 2, 2 - 2 * pairwise_cosine(A, B), atol=1e-9)
    assert_close(pairwise_dot(A, B), pairwise_cosine(A, B), atol=1e-9)


def test_a_distance_of_near_neighbours_keeps_its_digits():
    """|a|^2 - 2 <a, b> + |b|^2 would give 0 here, or worse."""
    a = np.array([[1e8, 1.0]])
    assert_close(pairwise_euclidean(a, a + [[0.0, 0.5]]), np.array([[0.5]]))


@given(X=directions(2))
def test_mean_pairwise_cosine_equals_the_mean_over_pairs(X):
    cosines = [cosine(X[i], X[j]) for i in range(len(X)) for j in range(len(X)) if i != j]
    assert_close(mean_pairwise_cosine(X), float(np.mean(cosines)), atol=1e-9)


def test_mean_pairwise_cosine_knows_spread_from_cone():
    X = np.random.default_rng(0).standard_normal((500, 64))
    assert abs(mean_pairwise_cosine(X)) < 0.01
    assert 0.85 < mean_pairwise_cosine(X + 3) < 0.95                     # a cone: 9 / (9 + 1)
    assert_close(mean_pairwise_cosine(np.ones((3, 2))), 1.0)


@every_search
@given(queries=directions(), X=directions(), order=st.permutations(range(7)))
def test_the_order_of_rows_does_not_matter(backend, queries, X, order):
    order = [i for i in order if i < len(X)]
    assert_close(backend.nearest(queries, X[order], 3)[1], backend.nearest(queries, X, 3)[1])
    assert_close(backend.nearest(queries, X, 3)[1],
                 np.sort(pairwise_cosine(queries, X), axis=1)[:, ::-1][:, :3], atol=1e-9)


@every_search
@every_dtype
def test_equal_rows_tie_wherever_they_stand(backend, dtype):
    """A BLAS product gives equal rows scores that differ in the last bit: these must not."""
    rng = np.random.default_rng(7)
    sizes = (64, 5), (100, 33), (128, 127), (300, 1025)
    for d, n in sizes[:2 if emulated(backend) else None]:
        X = np.tile(rng.standard_normal(d).astype(dtype), (n, 1))
        indices, scores = backend.top_k(rng.standard_normal((3, d)).astype(dtype), X, 4)
        assert indices.tolist() == [[0, 1, 2, 3]] * 3 and np.ptp(scores, axis=1).max() == 0
        labels, squared = backend.kmeans_assign(X, X + dtype(0.5))
        assert labels.max() == 0 and np.ptp(squared) == 0


@every_search
def test_scores_that_a_blas_product_cannot_tell_apart_are_ranked(backend):
    """The later rows are better, by little more than the rounding of a float32 score."""
    Q, x = np.split(np.random.default_rng(3).uniform(1, 2, (51, 300)).astype(np.float32), [50])
    X = np.repeat(x, 12, axis=0)
    X[6:, 0] += np.spacing(np.float32(900))
    exact = (Q.astype(np.float64) @ X[[0, 6]].T.astype(np.float64)).astype(np.float32)
    best = np.where(exact[:, 1] > exact[:, 0], 6, 0)
    assert (best == 6).sum() > 30 and backend.top_k(Q, X, 1)[0][:, 0].tolist() == best.tolist()


@every_search
def test_products_beyond_float32_are_still_ranked(backend):
    """2^130 - 2^130 + 5 * 2^80 is no number in float32, but it is the best score."""
    big, unit = 2.0 ** 65, 2.0 ** 80
    X = np.array([[0, 0, 3 * unit], [big, -big, 5 * unit], [0, 0, 4 * unit]], np.float32)
    indices, scores = backend.top_k(np.array([[big, big, 1]], np.float32), X, 1)
    assert indices.tolist() == [[1]] and scores.tolist() == [[5 * unit]]


@every_kmeans
@given(X=matrices(3, 9), seed=st.integers(0, 9))
def test_inertia_never_rises(backend, X, seed):
    centroids, labels, inertia, history = backend.kmeans(X, 3, np.random.default_rng(seed))
    assert (np.diff(history) <= 1e-9 * (1 + history[0])).all() and history[-1] == inertia
    again, squared = backend.kmeans_assign(X, centroids)
    assert again.tolist() == labels.tolist()
    assert_close(float(squared.sum()), inertia, atol=1e-9)


@every_kmeans
def test_kmeans_stops(backend):
    X, rng = np.random.default_rng(0).standard_normal((60, 2)), np.random.default_rng(1)
    start = X[:4]
    centroids, labels, _, history = backend.kmeans(X, 4, rng, max_iterations=0, start=start)
    assert_close(centroids, start)
    assert len(history) == 1 and labels.tolist() == backend.kmeans_assign(X, start)[0].tolist()
    assert len(backend.kmeans(X, 4, rng, max_iterations=2, start=start)[3]) == 3
    assert len(backend.kmeans(X, 4, rng, tolerance=1e9, start=start)[3]) == 2
    far = backend.kmeans(X, 4, rng, start=start)
    assert_close(backend.kmeans(X, 4, rng, start=far[0])[0], far[0])


@every_kmeans
def test_empty_clusters_move_to_the_farthest_rows(backend):
    X = np.array([[0.0], [1.0], [2.0], [9.0], [-7.0]])
    labels = np.zeros(5, np.int64)
    assert_close(backend.kmeans_update(X, labels, 3), np.array([[1.0], [9.0], [-7.0]]))
    assert_close(backend.kmeans_update(X, labels + 1, 3), np.array([[9.0], [1.0], [-7.0]]))
    start = np.array([[1.0], [50.0], [60.0]])
    centroids, labels, inertia, _ = backend.kmeans(X, 3, None, start=start)
    assert sorted(centroids.ravel().tolist()) == [-7.0, 1.0, 9.0] and inertia == 2.0


def test_kmeans_plus_plus_draws_by_squared_distance():
    X = np.array([[0.0], [0.0], [1.0], [3.0]])
    rng, second = np.random.default_rng(0), []
    while len(second) < 3000:
        first, then = kmeans_plus_plus(X, 2, rng)[:, 0]
        if first == 0:
            second.append(then)
    assert abs(np.mean(np.array(second) == 3) - 0.9) < 0.02 and 0.0 not in second
    assert_close(kmeans_plus_plus(np.ones((3, 2)), 3, rng), np.ones((3, 2)))      # only doubles
    chosen = kmeans_plus_plus(X, 3, rng)
    assert sorted(chosen[:, 0].tolist()) == [0.0, 1.0, 3.0]


@given(X=matrices(4, 7), d=st.integers(1, 4))
def test_fewer_directions_are_the_first_of_more(X, d):
    projected, components, mean, variance = pca(X, d)
    all_projected, all_components, _, all_variance = pca(X, 4)
    assert_close(projected, all_projected[:, :d])
    assert_close(components, all_components[:d])
    assert_close(variance, all_variance[:d])
    assert_close(projected.var(axis=0, ddof=1), variance, atol=1e-9)


def test_a_probe_reads_what_a_line_divides():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 5))
    y = (X @ [1.0, -2, 0, 0.5, 0] > 0).astype(int)
    W, b = linear_probe(X, y)
    assert W.shape == (5, 2) and b.shape == (2,)
    assert (probe_predict(X, W, b) == y).mean() > 0.95
    shifted = linear_probe(X + 7, y)
    assert_close(shifted[0], W, rtol=1e-6)
    assert probe_predict(np.zeros((1, 2)), np.zeros((2, 3)), np.zeros(3)).tolist() == [0]   # a tie
    xor = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    assert (probe_predict(xor, *linear_probe(xor, np.array([0, 1, 1, 0]))) == 0).all()


@every_dtype
def test_dtypes_stay(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 3)).astype(dtype), np.arange(12) % 3
    results = [dot(X[0], X[1]), euclidean(X[0], X[1]), cosine(X[0], X[1]), unit_rows(X),
               pairwise_dot(X, X), pairwise_cosine(X, X), pairwise_euclidean(X, X),
               analogy_vector(*X[:3]), kmeans_plus_plus(X, 2, rng), *pca(X, 2),
               *linear_probe(X, y)]
    assert {np.asarray(r).dtype for r in results} == {np.dtype(dtype)}
    assert dot([1, 2], [3, 4]) == 11 and dot([1, 2], [3, 4]).dtype == np.float64


# Errors.

NAN, ZERO = np.array([1.0, np.nan]), np.zeros(2)
ONE, TWO = np.ones(2), np.ones((2, 2))
BAD = [
    (cosine, (ZERO, ONE), "a: row 0"), (cosine, (ONE, ZERO), "b: row 0"),
    (cosine, (NAN, ONE), "a: expected"), (cosine, (ONE, NAN), "b: expected"),
    (cosine, (ONE * 1e200, ONE), "a: row 0 has length inf"), (cosine, (ONE, TWO), "b: expected"),
    (dot, (ONE, np.ones(3)), "b: expected rows of length 2"), (dot, (ONE, NAN), "b: expected"),
    (dot, (np.inf * ONE, ONE), "a: expected finite"), (euclidean, (TWO, ONE), "a: expected one"),
    (euclidean, (ONE, NAN), "b: expected"), (analogy_vector, (ONE, NAN, ONE), "b: expected"),
    (analogy_vector, (ONE, ONE, np.ones(3)), "c: expected"),
    (unit_rows, (np.array([[1.0, 0], [0, 0]]),), "X: row 1"), (unit_rows, (ONE,), "X: expected"),
    (unit_rows, (TWO[:, :0],), "X: expected a matrix"),
    (pairwise_dot, (TWO, np.ones((2, 3))), "B: expected"),
    (pairwise_cosine, (TWO, 0 * TWO), "B: row 0"), (pairwise_cosine, (0 * TWO, TWO), "A: row 0"),
    (pairwise_euclidean, (TWO, np.ones((2, 3))), "B: expected"),
    (mean_pairwise_cosine, (TWO[:1],), "X: expected at least 2"),
    (mean_pairwise_cosine, (0 * TWO,), "X: row 0"),
    (one_hot, ([0, 3], 3), "indices: expected integers from 0 to 2"),
    (one_hot, ([-1], 3), "indices: expected"), (one_hot, ([[0]], 3), "indices: expected"),
    (kmeans_plus_plus, (TWO, 0, None), "K: expected"), (kmeans_plus_plus, (TWO, 3, None), "K: exp"),
    (pca, (TWO, 3), "d: expected"), (pca, (TWO, 0), "d: expected"), (pca, (TWO[:1], 1), "X: exp"),
    (linear_probe, (TWO[:0], []), "X: expected at least 1"), (linear_probe, (TWO, [0]), "y: exp"),
    (linear_probe, (TWO, [0, -1]), "y: expected"), (linear_probe, (TWO, [0, 1], 0), "ridge: exp"),
    (probe_predict, (np.ones((2, 3)), TWO, ONE), "X: expected"),
]


@pytest.mark.parametrize("function, arguments, words", BAD,
                         ids=[f"{f.__name__}-{i}" for i, (f, *_) in enumerate(BAD)])
def test_bad_input_is_named(function, arguments, words):
    with pytest.raises(ValueError, match=words):
        function(*arguments)


@pytest.mark.parametrize("function, arguments, words", [
    (dot, (["a"], ["b"]), "a: expected float32"), (one_hot, ([0.5], 3), "indices: expected"),
    (unit_rows, (TWO.astype(complex),), "X: exp"), (unit_rows, (TWO.astype("f2"),), "X: exp"),
    (linear_probe, (TWO, [0.0, 1.0]), "y: expected")])
def test_bad_types_are_named(function, arguments, words):
    with pytest.raises(TypeError, match=words):
        function(*arguments)


@every_search
def test_bad_searches_are_named(backend):
    for search in (backend.top_k, backend.nearest):
        for arguments, words in (((TWO, TWO, 0), "k: expected"), ((ONE, TWO, 1), "queries: exp"),
                                 ((TWO, np.ones((2, 3)), 1), "X: expected rows of length 2"),
                                 ((NAN[None], TWO, 1), "queries: expected finite"),
                                 ((TWO[:, :0], TWO[:, :0], 1), "queries: expected a matrix"),
                                 ((TWO, np.inf * TWO, 1), "X: expected finite")):
            with pytest.raises(ValueError, match=words):
                search(*arguments)
        with pytest.raises(TypeError, match="X: expected"):
            search(TWO, TWO.astype(complex), 1)
    with pytest.raises(ValueError, match="queries: row 0"):
        backend.nearest(0 * TWO, TWO, 1)
    with pytest.raises(ValueError, match="X: row 1"):
        backend.nearest(TWO, np.array([[1.0, 0], [0, 0]]), 1)


@every_kmeans
def test_bad_clusters_are_named(backend):
    rng, labels = np.random.default_rng(0), np.array([0, 1])
    for function, arguments, words in (
            (backend.kmeans_assign, (TWO, TWO[:0]), "centroids: expected at least 1"),
            (backend.kmeans_assign, (TWO, np.ones((2, 3))), "centroids: expected"),
            (backend.kmeans_assign, (np.nan * TWO, TWO), "X: expected finite"),
            (backend.kmeans_assign, (TWO, np.nan * TWO), "centroids: expected finite"),
            (backend.kmeans_update, (TWO, labels, 3), "X: expected at least 3"),
            (backend.kmeans_update, (TWO, labels, 1), "labels: expected"),
            (backend.kmeans_update, (TWO, labels[:1], 2), "labels: expected 2 integers"),
            (backend.kmeans, (TWO, 0, rng), "K: expected"),
            (backend.kmeans, (TWO, 3, rng), "expected"),
            (backend.kmeans, (TWO[:0], 1, rng), "expected"),
            (backend.kmeans, (TWO, 2, rng, 9, 0.0, TWO[:1]), "start: expected K = 2"),
            (backend.kmeans, (TWO, 2, rng, 9, 0.0, np.ones((2, 3))), "start: expected rows")):
        with pytest.raises(ValueError, match=words):
            function(*arguments)
    with pytest.raises(TypeError, match="labels: expected integers"):
        backend.kmeans_update(TWO, labels + 0.5, 2)


# 5. Parity with scikit-learn.

@pytest.fixture(scope="module")
def frozen():
    with np.load(Path(__file__).parent / "parity/ch01_geometry.npz") as stored:
        return dict(stored)


def test_parity_of_measures(frozen):
    X, _ = rows()
    assert_close(pairwise_cosine(X[:QUERIES], X[-QUERIES:]), frozen["cosine"])
    assert_close(pairwise_euclidean(X[:QUERIES], X[-QUERIES:]), frozen["euclidean"])


@every_search
def test_parity_of_search(frozen, backend):
    X, _ = rows()
    indices, scores = backend.nearest(X[:QUERIES], X, 5)
    assert_close(scores, frozen["nearest_cosine"])
    assert_close(indices, frozen["nearest"])


@every_kmeans
def test_parity_of_kmeans(frozen, backend):
    X, _ = rows()
    centroids, labels, inertia, history = backend.kmeans(X, K, None, start=X[:K])
    assert_close(inertia, float(frozen["inertia"]))
    assert_close(centroids, frozen["centroids"], atol=1e-9)
    assert_close(labels, frozen["labels"])
    assert len(history) - 1 == frozen["iterations"]


def test_parity_of_pca_and_probe(frozen):
    X, y = rows()
    names = ("projected", "components", "mean", "explained_variance")
    for name, got in zip(names, pca(X, len(frozen["components"])), strict=True):
        assert_close(got, frozen[name], rtol=1e-6, atol=1e-8)
    for name, got in zip("Wb", linear_probe(X, y, RIDGE), strict=True):
        assert_close(got, frozen[name], rtol=1e-6, atol=1e-9)


# 6. Twins.

def clouds(n, d, dtype, seed=0):
    """n rows of small halves, the later half a copy of the first, one row of zeros."""
    X = np.random.default_rng(seed).integers(-3, 4, (n, d)) / 2
    X[n // 2:2 * (n // 2)] = X[:n // 2]
    X[:1] = 0
    return X.astype(dtype)


@every_search_twin
@every_dtype
@pytest.mark.parametrize("n", (*EDGE_SIZES, 5000))
@pytest.mark.parametrize("q", (0, 1, 2, 33, 129))
def test_a_search_twin_equals_the_reference(backend, dtype, n, q):
    n, few = (min(n, 300), 1) if emulated(backend) else (n, 3)
    for X, Q in ((clouds(n, 5, dtype), clouds(q, 5, dtype, 1)),
                 (np.random.default_rng(n).standard_normal((n, 17)).astype(dtype),
                  np.random.default_rng(q).standard_normal((q, 17)).astype(dtype)))[:few]:
        for k in (10, 1, 200)[:few]:
            want, got = chapter.top_k(Q, X, k), backend.top_k(Q, X, k)
            assert_close(got[0], want[0])
            assert_close(got[1], want[1], rtol=1e-12 if dtype is np.float64 else 1e-6)
            assert [a.dtype for a in got] == [a.dtype for a in want]


@every_search_twin
def test_a_search_twin_takes_rows_as_they_come(backend):
    rng = np.random.default_rng(0)
    X, Q = rng.standard_normal((7, 300)), rng.standard_normal((40, 7))[::2]
    X.flags.writeable = False
    for a, b in ((Q, X.T), (Q.astype(np.float32), X.T), (Q, X.T.astype(np.float32)),
                 (np.rint(3 * Q).astype(int), np.rint(3 * X.T).astype(int))):
        want, got = chapter.top_k(a, b, 4), backend.top_k(a, b, 4)
        assert_close(got[0], want[0])
        assert_close(got[1], want[1], rtol=1e-6)
        assert got[1].dtype == want[1].dtype


@every_search_twin
@pytest.mark.parametrize("d", (1, 2, 3, 9, 20_001))
def test_a_search_twin_crosses_its_blocks(backend, d):
    """Of queries; and, for long rows, strips that hold only a few of them."""
    d = min(d, 600) if emulated(backend) else d
    X, Q = clouds(130, d, np.float32), clouds(70, d, np.float32, 1)
    for got, want in zip(backend.top_k(Q, X, 5), chapter.top_k(Q, X, 5), strict=True):
        assert_close(got, want)
    for got, want in zip(backend.kmeans_assign(X, Q), chapter.kmeans_assign(X, Q), strict=True):
        assert_close(got, want, rtol=1e-6)


@every_search_twin
@every_dtype
@pytest.mark.parametrize("scale", (0.0, 2.0**-80, 2.0**-9, 2.0**20, 2.0**80))
def test_a_search_twin_does_not_mind_scales(backend, dtype, scale):
    """Rows of very different lengths, and of lengths whose squares leave float32."""
    X = clouds(70, 5, dtype)
    X[::9] *= dtype(scale)
    Q = clouds(33, 5, dtype, 1)
    Q[::5] *= dtype(scale)
    with np.errstate(over="ignore"):
        want, got = chapter.top_k(Q, X, 6), backend.top_k(Q, X, 6)
        assert got[0].tolist() == want[0].tolist() and got[1].tolist() == want[1].tolist()
        want, got = chapter.kmeans_assign(X, Q), backend.kmeans_assign(X, Q)
        assert got[0].tolist() == want[0].tolist()


@every_search_twin
@every_dtype
@pytest.mark.parametrize("scale", (2.0**-140, 2.0**-70, 2.0**100))
def test_a_search_twin_takes_tiny_and_huge_spaces(backend, dtype, scale):
    X = clouds(70, 5, dtype) * dtype(scale)
    with np.errstate(over="ignore"):
        want, got = chapter.top_k(clouds(33, 5, dtype, 1), X, 6), backend.top_k(
            clouds(33, 5, dtype, 1), X, 6)
        assert got[0].tolist() == want[0].tolist() and got[1].tolist() == want[1].tolist()
        want, got = chapter.kmeans_assign(X, X[20:40]), backend.kmeans_assign(X, X[20:40])
        assert got[0].tolist() == want[0].tolist()


@every_kmeans_twin
@every_dtype
@pytest.mark.parametrize("n", (*EDGE_SIZES, 4000))
@pytest.mark.parametrize("K", (1, 2, 31, 33))
def test_a_kmeans_twin_equals_the_reference(backend, dtype, n, K):
    tolerance = dict.fromkeys(("rtol", "atol"), 1e-9 if dtype is np.float64 else 1e-5)
    n, few, most = (min(n, 300), 1, 2) if emulated(backend) else (n, 2, 6)
    for X in (np.random.default_rng(n).standard_normal((n, 17)).astype(dtype),
              clouds(n, 3, dtype))[:few]:
        centroids = np.concatenate([X[::-1][:K], X[:1] + dtype(0.25), X[:1] * 0 + 1])[:K]
        if n:
            want, got = chapter.kmeans_assign(X, centroids), backend.kmeans_assign(X, centroids)
            assert_close(got[0], want[0])
            assert_close(got[1], want[1], **tolerance)
            assert [a.dtype for a in got] == [a.dtype for a in want]
        if n >= K:
            assert_close(backend.kmeans_update(X, want[0], K), chapter.kmeans_update(X, want[0], K),
                         **tolerance)
            two = [m.kmeans(X, K, np.random.default_rng(5), most) for m in (chapter, backend)]
            for want, got in zip(*two, strict=True):
                assert_close(got, want, **tolerance)
            assert two[0][0].dtype == two[1][0].dtype == dtype


@every_kmeans_twin
def test_a_kmeans_twin_is_exact_far_from_the_origin(backend):
    """There short integers cannot tell the centroids apart: all of them rival, none is lost."""
    X = (np.random.default_rng(0).integers(0, 9, (200, 4)) + 1e6).astype(np.float32)
    for got, want in zip(backend.kmeans_assign(X, X[:20]), chapter.kmeans_assign(X, X[:20]),
                         strict=True):
        assert_close(got, want)
    assert backend.kmeans_assign(X[:0], X[:2])[0].shape == (0,)


@every_kmeans_twin
def test_a_kmeans_twin_survives_overflow(backend):
    X = np.array([[1e25, 0], [0, 1e25], [1e25, 1e24]], np.float32)
    with np.errstate(over="ignore"):                    # squared distances beyond float32
        got, want = backend.kmeans_assign(X, X[:2]), chapter.kmeans_assign(X, X[:2])
    assert got[0].tolist() == want[0].tolist() == [0, 1, 0]


@every_order
def test_a_cuda_twin_crosses_its_blocks(order):
    """Shares of rows that are merged, buffers that fill, more neighbours than a selector keeps,
    centroids beyond one tile, all with ties; and a merge of fewer keys than it is asked for."""
    twin = emulator.load("ch01_geometry")
    X, Q = clouds(2100, 3, np.float32), clouds(2, 3, np.float32, 1)
    with emulator.running(**order):
        for q, x, k in ((Q, X, 3), (Q, X[:1100], 1030), (Q.astype(np.float64), X[:1100], 3)):
            for got, want in zip(twin.top_k(q, x, k), chapter.top_k(q, x, k), strict=True):
                assert_close(got, want)
        for x in (X[:70], X[:70].astype(np.float64)):
            for got, want in zip(twin.kmeans_assign(x, X[900:1100]),
                                 chapter.kmeans_assign(x, X[900:1100]), strict=True):
                assert_close(got, want)
        labels = np.arange(2100) % 7 // 3
        assert_close(twin.kmeans_update(X, labels, 3), chapter.kmeans_update(X, labels, 3))
        keys = np.arange(2048 * 5, dtype=np.uint64).reshape(1, -1)
        merged = twin._merge_top_k(twin.cp.asarray(keys[:, ::-1].copy()), 900).get()
        assert (merged == keys[:, :-901:-1]).all()
        assert twin._merge_top_k(twin.cp.asarray(keys[:, :2]), 4).get().tolist() == [[1, 0, 0, 0]]


@on_emulator
@every_dtype
def test_a_cuda_twin_takes_device_arrays(dtype):
    """They are not uploaded, one download brings the answer, and bad numbers are found there."""
    twin = emulator.load("ch01_geometry")
    X = np.random.default_rng(0).standard_normal((140, 3)).astype(dtype)
    Q, D = twin.cp.asarray(X[:4]), twin.cp.asarray(X)
    for name, device, host in (("top_k", (Q, D, 5), (X[:4], X, 5)), ("nearest", (Q, D, 5),
                               (X[:4], X, 5)), ("kmeans_assign", (D, Q), (X, X[:4]))):
        with emulator.running() as log:
            found = getattr(twin, name)(*device)
        assert (log.count.uploads, log.count.downloads) == (0, 1)
        for got, want in zip(found, getattr(chapter, name)(*host), strict=True):
            assert_close(got, want, rtol=1e-6)
        X[7] = np.nan
        with pytest.raises(ValueError, match="X: expected finite"):
            getattr(twin, name)(*(twin.cp.asarray(X) if a is D else a for a in device))
        X[7] = D[7].get()
    with emulator.running() as log:
        history = twin.kmeans(D, 3, None, 4, start=X[:3])[3]
    assert log.count.downloads == len(history)                # one an iteration, and the labels
    with pytest.raises(ValueError, match="X: row 139"):
        twin.nearest(Q, twin.cp.asarray(np.concatenate([X[:139], 0 * X[:1]])), 2)
