"""Exercises of chapter 1: angles, offsets, neighbours, clusters, directions of most variance.

Numbers are small integers or halves, so that products and sums are exact and ties are true ties.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch01_geometry"
SMALL = st.integers(-4, 4).map(float)

def whole(shape, low=-4, high=4):
    """Arrays of whole numbers, drawn as bytes: one choice of Hypothesis, not one a number."""
    numbers = np.array([*range(high + 1), *range(-1, low - 1, -1)], np.float64)    # 0 comes first
    return st.binary(min_size=math.prod(shape), max_size=math.prod(shape)).map(
        lambda cells: numbers[np.frombuffer(cells, np.uint8) % len(numbers)].reshape(shape))

def matrices(rows=(1, 6), columns=(1, 4), count=1):
    """`count` matrices with equally long rows; a single one comes without a list."""
    one = st.tuples(st.integers(*rows), whole((rows[1], columns[1])))
    found = st.tuples(st.integers(*columns), *[one] * count).map(
        lambda drawn: [X[:n, :drawn[0]].copy() for n, X in drawn[1:]])
    return found.map(lambda found: found[0]) if count == 1 else found

def directions(count):
    """`count` vectors of one length, none of them zero."""
    return matrices(rows=(1, 1), count=count).map(
        lambda found: [X[0] + 9.0 * (not X.any()) for X in found])

def squared(x, y):
    return sum((p - q) ** 2 for p, q in zip(x.tolist(), y.tolist(), strict=True))

angles = Exercise("ch01.angles", REFERENCE, ["cosine", "euclidean"],
                  "Angle and distance", "1.1, 1.2, 1.3")

@angles.property("the cosine forgets lengths, and a flipped vector flips its sign",
                 pair=directions(2), s=st.sampled_from([0.01, 3.0, -2.0]),
                 hint="divide by the lengths of both vectors")
def forgets_lengths(impl, pair, s):
    a, b = pair
    expect_close(impl.cosine(s * a, b), np.sign(s) * impl.cosine(a, b), "cos(s a, b)")
    expect_close(impl.cosine(a, s * b), np.sign(s) * impl.cosine(a, b), "cos(a, s b)")

@angles.property("a vector has cosine 1 with itself; no cosine leaves [-1, 1]", pair=directions(2),
                 hint="<a, a> is the square of the length of a")
def is_bounded(impl, pair):
    a, b = pair
    expect_close(impl.cosine(a, a), 1.0, "the cosine of a with itself")
    expect(abs(impl.cosine(a, b)) <= 1 + 1e-9, "no cosine leaves [-1, 1]", cos=impl.cosine(a, b))

@angles.property("a distance is symmetric, moves along, and stretches with space",
                 pair=matrices(rows=(3, 3)), s=st.sampled_from([0.5, 2.0]),
                 hint="the root of a sum of squares of differences")
def is_a_distance(impl, pair, s):
    a, b, c = pair
    expect_close(impl.euclidean(a, b), impl.euclidean(b, a), "both ways")
    expect_close(impl.euclidean(a + c, b + c), impl.euclidean(a, b), "after moving both by c")
    expect_close(impl.euclidean(s * a, s * b), s * impl.euclidean(a, b), "after stretching")

@angles.property("they agree with a calculation by hand", flip=st.booleans(),
                 hint="(3, 4) is 5 long, (4, 3) too; 3*4 + 4*3 = 24")
def angles_by_hand(impl, flip):
    a, b = np.array([3.0, 4.0]), np.array([4.0, 3.0])
    a, b = (b, a) if flip else (a, b)
    expect_close(impl.cosine(a, b), 24 / 25, "the cosine of (3, 4) and (4, 3)")
    expect_close(impl.euclidean(a, b), math.sqrt(2), "their distance")

angles.mutant("cosine", '_unit(b[None, :], "b")[0]', "b", "the length of b is not divided out")
angles.mutant("_unit", 'np.sqrt(np.einsum("nd,nd->n", X, X, dtype=np.float64))',
              'np.einsum("nd,nd->n", X, X, dtype=np.float64)', "divided by the squared length")
angles.mutant("cosine", '_unit(a[None, :], "a")[0] @ _unit(b[None, :], "b")[0]',
              'abs(_unit(a[None, :], "a")[0] @ _unit(b[None, :], "b")[0])', "the sign is lost")
angles.mutant("euclidean", "np.sqrt(difference @ difference)", "difference @ difference",
              "the square of the distance")
angles.mutant("euclidean", "np.sqrt(difference @ difference)", "np.abs(difference).sum()",
              "the way along the axes, not the straight line")

offsets = Exercise("ch01.offsets", REFERENCE, ["analogy_vector", "one_hot"], "Offsets, one-hot")

@offsets.property("a is to b as a is to b, and a is to a as c is to c", triple=matrices((3, 3)),
                  hint="the step from a to b, taken from c")
def closes_the_parallelogram(impl, triple):
    a, b, c = triple
    expect_close(impl.analogy_vector(a, b, a), b, "a : b :: a : ?")
    expect_close(impl.analogy_vector(a, a, c), c, "a : a :: c : ?")

@offsets.property("two one-hot rows are the same, or sqrt(2) apart with dot product 0",
                  indices=st.lists(st.integers(0, 5), min_size=1, max_size=5),
                  hint="a row for each index, a column for each word")
def knows_nothing(impl, indices):
    H = impl.one_hot(np.array(indices), 6)
    expect(np.shape(H) == (len(indices), 6), "(n, V)", your_shape=np.shape(H))
    for i, j in np.ndindex(len(indices), len(indices)):
        same = indices[i] == indices[j]
        expect_close(float(H[i] @ H[j]), float(same), f"<row {i}, row {j}>")
        expect_close(squared(H[i], H[j]), 0.0 if same else 2.0, f"|row {i} - row {j}|^2")

@offsets.property("they agree with a calculation by hand", step=st.integers(0, 3),
                  hint="(5, 1) - (1, 1) + (1, 4) = (5, 4)")
def offsets_by_hand(impl, step):
    man, woman, king = np.array([1.0, 1 + step]), np.array([5.0, 1 + step]), np.array([1.0, 4])
    expect_close(impl.analogy_vector(man, woman, king), [5.0, 4.0], "man : woman :: king : ?")
    expect_close(impl.one_hot(np.array([2, 0]), 3), [[0.0, 0, 1], [1, 0, 0]], "one_hot([2, 0], 3)")

offsets.mutant("analogy_vector", 'as_vector(b, "b", len(a)) - a', 'a - as_vector(b, "b", len(a))',
               "the sign is wrong")
offsets.mutant("analogy_vector", 'as_vector(c, "c", len(a))', '0',
               "c is forgotten: a step without a start")
offsets.mutant("one_hot", "out[np.arange(len(indices)), indices] = 1", "out[:, indices] = 1",
               "all rows are 1 at all indices")
offsets.mutant("one_hot", "out[np.arange(len(indices)), indices] = 1",
               "out[np.arange(len(indices)), indices] = indices + 1", "the index in place of 1")

search = Exercise("ch01.search", REFERENCE, ["top_k", "nearest"], "The k best rows")

@search.property("it finds what sorting all scores finds; of equal ones the lower index",
                 pair=matrices(count=2), k=st.integers(1, 8),
                 hint="a stable sort keeps the order of equals; sort the negative scores")
def sorts_all(impl, pair, k):
    queries, X = pair
    indices, scores = impl.top_k(queries, X, k)
    for q, query in enumerate(queries):
        products = [float(query @ x) for x in X]
        order = sorted(range(len(X)), key=lambda i: (-products[i], i))[:k]
        expect(list(indices[q]) == order, "the best rows first", products=products,
               got=indices[q], expected=order)
        expect_close(scores[q], [products[i] for i in order], "their scores")

@search.property("nearest forgets the lengths of rows and of queries", pair=directions(4),
                 hint="rows of length 1 first, then top_k", s=st.sampled_from([1.0, 4.0]))
def nearest_forgets_lengths(impl, pair, s):
    a, b, c, query = pair
    _, before = impl.nearest(query[None], np.array([a, b, c]), 3)
    _, after = impl.nearest(s * query[None], np.array([2 * s * a, b, c]), 3)
    expect_close(after, before, "the scores after stretching the query and one row")
    expect_close(impl.nearest(a[None], a[None] * s, 1)[1], [[1.0]], "a row's cosine with itself")

@search.property("they agree with a calculation by hand", swap=st.booleans(),
                 hint="(4, 0) has the largest dot product with (1, 1), (2, 2) the largest cosine")
def search_by_hand(impl, swap):
    X = np.array([[4.0, 0.0], [2.0, 2.0], [1.0, 1.0], [-1.0, 0.0]])
    query = np.array([[1.0, 1.0]]) * (3 if swap else 1)
    expect(impl.top_k(query, X, 3)[0].tolist() == [[0, 1, 2]], "dot products 4, 4, 2, -1",
           got=impl.top_k(query, X, 3)[0])
    root = math.sqrt(0.5)
    expect_close(impl.nearest(query, X, 4)[1], [[1.0, 1.0, root, -root]], "the cosines, falling")

search.mutant("top_k", "-S", "S", "the worst rows come first")
search.mutant("top_k", 'np.argsort(-S, axis=1, kind="stable")[:, :k]',
              'np.argsort(S, axis=1, kind="stable")[:, ::-1][:, :k]',
              "of equal scores the higher index wins")
search.mutant("top_k", 'np.argsort(-S, axis=1, kind="stable")[:, :k]',
              'np.argsort(-S, axis=1, kind="stable")[:, 1:k + 1]', "the best row is left out")
search.mutant("top_k", "np.take_along_axis(S, order, axis=1)", "S[:, :order.shape[1]]",
              "scores stay in the order of the rows")
search.mutant("nearest", '_unit(X, "X")', "X", "the lengths of the rows still count")
search.mutant("nearest", '_unit(queries, "queries")', "queries", "queries' lengths still count")

clusters = Exercise("ch01.clusters", REFERENCE, ["kmeans_assign", "kmeans_update"],
                    "k-means", "1.4")

@clusters.property("each row goes to the nearest centroid, of equals to the lower",
                   pair=matrices(count=2), hint="distance, not dot product; argmin takes the first")
def goes_to_the_nearest(impl, pair):
    X, centroids = pair
    labels, gaps = impl.kmeans_assign(X, centroids)
    for i, x in enumerate(X):
        to = [squared(x, c) for c in centroids]
        expect(int(labels[i]) == to.index(min(to)), f"row {i} goes to the nearest", squared=to,
               label=labels[i])
        expect_close(float(gaps[i]), min(to), f"the squared distance of row {i}")

@clusters.property("each centroid moves to the mean of its rows", X=matrices(rows=(3, 6)),
                   labels=st.lists(st.integers(0, 2), min_size=6, max_size=6),
                   hint="a sum for each cluster, over the number of its rows")
def moves_to_the_mean(impl, X, labels):
    labels = np.array(labels[:len(X)])
    centroids = impl.kmeans_update(X, labels, 3)
    means = {j: X[labels == j].mean(axis=0) for j in set(labels.tolist())}
    gaps = [squared(x, means[j]) for x, j in zip(X, labels.tolist(), strict=True)]
    farthest = sorted(gaps)
    for j in range(3):
        if j in means:
            expect_close(centroids[j], means[j], f"centroid {j}")
            continue
        far = farthest.pop()
        expect(any((centroids[j] == x).all() and abs(gap - far) < 1e-9
                   for x, gap in zip(X, gaps, strict=True)),
               "an empty cluster moves to the row farthest from its mean", centroid=centroids[j],
               squared=gaps)

@clusters.property("they agree with a calculation by hand", move=SMALL,
                   hint="0 and 2 go to 0, 7 and 9 to 6; their means are 1 and 8")
def clusters_by_hand(impl, move):
    X = np.array([[0.0], [2.0], [7.0], [9.0]]) + move
    labels, gaps = impl.kmeans_assign(X, np.array([[0.0], [6.0]]) + move)
    expect_close(labels, [0, 0, 1, 1], "nearest to 0 or 6")
    expect_close(gaps, [0.0, 4.0, 1.0, 9.0], "squared distances")
    expect_close(impl.kmeans_update(X, np.array([0, 0, 1, 1]), 2), [[1 + move], [8 + move]],
                 "the means")

clusters.mutant("kmeans_assign", "((rows - centroid) ** 2).sum(axis=1)", "-(rows @ centroid)",
                "by similarity, not by distance: long centroids win")
clusters.mutant("kmeans_assign", "((rows - centroid) ** 2).sum(axis=1)",
                "np.abs(rows - centroid).sum(axis=1)", "distance along the axes, not squared")
clusters.mutant("kmeans_assign", "D.argmin(axis=1)", "D.argmax(axis=1)", "the farthest centroid")
clusters.mutant("kmeans_assign", "D.argmin(axis=1)",
                "D.shape[1] - 1 - D[:, ::-1].argmin(axis=1)", "of equals the higher centroid")
clusters.mutant("means_of", "np.maximum(counts, 1)", "np.maximum(len(X), 1) + 0 * counts",
                "divided by the number of all rows")
clusters.mutant("means_of", "-gap", "gap", "an empty cluster takes the row nearest to its mean")

axes = Exercise("ch01.axes", REFERENCE, ["pca"], "Directions of most variance", "1.5")

@axes.property("moving all rows moves the mean, and nothing else", X=matrices((2, 6), (2, 4)),
               move=SMALL, hint="subtract the mean of each column first")
def ignores_the_mean(impl, X, move):
    _, _, mean, variance = impl.pca(X, 1)
    projected, _, mean_after, variance_after = impl.pca(X + 2 * move, 1)
    expect_close(mean_after, mean + 2 * move, "the mean after a move")
    expect_close(variance_after, variance, "the variance after a move", atol=1e-6)
    expect_close(projected.mean(axis=0), [0.0], "projected rows lie around 0", atol=1e-6)

@axes.property("all directions together keep all distances and all variance",
               X=matrices((5, 6), (2, 4)), hint="variance has n - 1 below the fraction bar, and is "
               "the square of a singular value above it")
def loses_nothing(impl, X):
    projected, components, mean, variance = impl.pca(X, X.shape[1])
    expect_close(components @ components.T, np.eye(X.shape[1]), "orthonormal rows", atol=1e-6)
    expect_close(projected @ components + mean, X, "back from the projection", atol=1e-6)
    expect_close(float(np.sum(variance)), float(X.var(axis=0, ddof=1).sum()), "total variance",
                 atol=1e-6)
    expect(np.all(np.diff(variance) <= 1e-9), "variances fall", variance=variance)

@axes.property("it agrees with a calculation by hand", move=SMALL,
               hint="the rows lie on one line, along (3, 4) / 5")
def axes_by_hand(impl, move):
    X = np.array([[-3.0, -4.0], [0.0, 0.0], [3.0, 4.0]]) + move
    projected, components, mean, variance = impl.pca(X, 1)
    expect_close(components, [[0.6, 0.8]], "the direction")
    expect_close(projected, [[-5.0], [0.0], [5.0]], "the places along it", atol=1e-9)
    expect_close(mean, [move, move], "the mean")
    expect_close(variance, [25.0], "50 / (3 - 1)")

axes.mutant("pca", "X.mean(axis=0)", "0 * X.mean(axis=0)", "the rows are not centred")
axes.mutant("pca", "X.mean(axis=0)", "X.mean()", "one mean for all columns: the axis is mixed up")
axes.mutant("pca", "len(X) - 1", "len(X)", "divided by n, not n - 1")
axes.mutant("pca", "S[:d] ** 2", "S[:d]", "singular values in place of their squares")
axes.mutant("pca", "np.sign(C[np.arange(len(C)), largest])[:, None]",
            "-np.sign(C[np.arange(len(C)), largest])[:, None]", "the sign rule is turned round")
axes.mutant("pca", "C[:d].T", "C.T[:, -d:]", "the directions of least variance")

probe = Exercise("ch01.probe", REFERENCE, ["linear_probe", "probe_predict"], "A probe", "1.6")

def classes():
    """Rows and a class for each, from 0 to 2 -> X (n, d), y (n,)."""
    return st.tuples(matrices(rows=(2, 6)), whole((6,), 0, 2)).map(
        lambda drawn: (drawn[0], drawn[1][:len(drawn[0])].astype(int)))

@probe.property("scores of the classes add up to 1, whatever the row", given=classes(),
                hint="each row of Y adds up to 1, so W to 0 over the classes, and b to 1")
def scores_add_up(impl, given):
    W, b = impl.linear_probe(*given)
    expect_close((given[0] @ W + b).sum(axis=1), np.ones(len(given[0])), "the sum of a row")

@probe.property("moving all rows changes b only: it is not penalised", given=classes(), move=SMALL,
                hint="centre the rows before you solve")
def bias_is_free(impl, given, move):
    (X, y), (W, b) = given, impl.linear_probe(*given)
    moved, bias = impl.linear_probe(X + move, y)
    expect_close(moved, W, "W after the move", atol=1e-9)
    expect_close(bias, b - move * W.sum(axis=0), "b after the move", atol=1e-9)

@probe.property("(1.6) holds: (Z^T Z + ridge I) W = Z^T Y", given=classes(),
                ridge=st.sampled_from([0.5, 1.0, 4.0]), hint="Z: the centred rows; solve, not inv")
def solves(impl, given, ridge):
    (X, y), (W, b) = given, impl.linear_probe(*given, ridge)
    Z, Y = X - X.mean(axis=0), np.eye(y.max() + 1)[y]
    expect_close(Z.T @ (Z @ W) + ridge * W, Z.T @ Y, "equation 1.6", atol=1e-9)
    expect_close(X.mean(axis=0) @ W + b, Y.mean(axis=0), "the mean row gets the mean target")

@probe.property("the class with the largest score, of equals the lower", X=matrices(columns=(2, 2)),
                hint="argmax takes the first")
def largest_score(impl, X):
    W, b = np.array([[1.0, 1, 0], [0, 0, 1]]), np.array([0.0, 0, 1])
    expect_close(impl.probe_predict(X, W, b), np.array([2 * (y + 1 > x) for x, y in X.tolist()]),
                 "scores x, x, y + 1")

probe.mutant("linear_probe", "y_mean - x_mean @ W", "y_mean", "the bias forgets the mean row")
probe.mutant("linear_probe", "X - x_mean", "X", "the rows are not centred before solving")
probe.mutant("linear_probe", "X.dtype.type(ridge) * np.eye(X.shape[1], dtype=X.dtype)",
             "X.dtype.type(ridge)", "ridge is added to all of the matrix, not to its diagonal")
probe.mutant("probe_predict", "as_rows(X, 'X', len(W)) @ W + b", "as_rows(X, 'X', len(W)) @ W",
             "the bias is left out of the scores")
probe.mutant("probe_predict", "(as_rows(X, 'X', len(W)) @ W + b).argmax(axis=1)",
             "(as_rows(X, 'X', len(W)) @ W + b).argmax(axis=0)", "the wrong axis")
