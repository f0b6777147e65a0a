# %% [markdown]
# # 1. Geometry: meaning as a place in space
#
# **You will** measure how near two points are in three ways and see them disagree, do sums with
# words, find the neighbours of a handwritten digit, let clusters form without a single label, draw
# 64 dimensions on paper, and read digits with nothing but straight lines.
#
# **You need** vectors, the dot product, and a little NumPy. All later chapters use this one.

# %%
import numpy as np

from primer import data

images, labels = data.load_digits()
X = images.astype(np.float64)
print(f"{len(X)} images of {X.shape[1]} pixels; image 10 shows a {labels[10]}")
print(images[10].reshape(8, 8))

# %% [markdown]
# An *embedding* turns a thing into a row of $d$ numbers, a point in space, such that like things
# lie close together. An image is a row of numbers already, so it can stand in for one until later
# chapters learn embeddings of words.

# %% [markdown]
# ## The picture
#
# The plainest vector for a word has a 1 at the word's own place and 0 elsewhere: *one-hot*. It says
# which word it is, and nothing else. A dense vector has fewer numbers, and they place the word. The
# text's own figure is missing (line 192); this is what it must have shown.

# %%
from primer.figures import ch01_geometry as figures

figures.one_hot_and_dense()

# %%
from primer.ch01_geometry import one_hot, pairwise_cosine, pairwise_euclidean

H = one_hot(np.arange(5), 5)
print(pairwise_euclidean(H, H).round(3))
print("cosines of different words:", np.unique(pairwise_cosine(H, H)[~np.eye(5, dtype=bool)]))

# %% [markdown]
# Line 172 is right: all words are equally distant, $\sqrt2$ apart, whatever the vocabulary. *Cat*
# is as far from *dog* as from *Tuesday*.

# %% [markdown]
# ## Equation, code, number
#
# **(1.1)** The dot product, $\langle a, b\rangle = \sum_i a_i b_i$: large if both are long and
# point the same way.
#
# **(1.2)** The distance, $|a-b|^2 = \langle a,a\rangle - 2\langle a,b\rangle + \langle b,b\rangle$.
#
# **(1.3)** The cosine of the angle, $\cos(a,b) = \langle a,b\rangle / (|a|\,|b|)$: only the
# direction counts.

# %%
from primer.ch01_geometry import cosine, dot, euclidean

a, b = np.array([3.0, 4.0]), np.array([4.0, 3.0])
print("dot", dot(a, b), " distance", euclidean(a, b).round(4), " cosine", cosine(a, b).round(4))
print("with b ten times as long:", dot(a, 10 * b), euclidean(a, 10 * b).round(4),
      cosine(a, 10 * b).round(4))

# %% [markdown]
# By hand: $3\cdot4 + 4\cdot3 = 24$; both are 5 long, so the cosine is $24/25$; the difference is
# $(1, -1)$, so the distance is $\sqrt2$.
#
# Which of four points is nearest to the tip of the arrow? Three measures, three winners. Once all
# vectors have length 1, (1.2) becomes $2 - 2\cos(a,b)$, and the three agree for good.

# %%
figures.three_measures()

# %%
from primer.ch01_geometry import pairwise_dot, unit_rows

U = unit_rows(X)
print("unit rows: |a - b|^2 = 2 - 2 cos:",
      np.allclose(pairwise_euclidean(U[:9], U) ** 2, 2 - 2 * pairwise_cosine(U[:9], U)))
first = pairwise_dot(X[:9], X).argmax(axis=1)
print("best dot product of images 0 to 8:", first, "- seldom the image itself!")

# %% [markdown]
# A zero vector has no direction, so its cosine does not exist. Ours says so; $0/0$ would give NaN
# and spoil every ranking after it.

# %%
try:
    cosine(a, np.zeros(2))
except ValueError as error:
    print(error)

# %% [markdown]
# ## Sums with words
#
# If the step from *man* to *woman* is the same as from *king* to *queen*, then
# $\mathrm{king} - \mathrm{man} + \mathrm{woman}$ ends at *queen*. (The text's lines 151 and 188
# lost this formula.) In the plane above the places were set by hand so that it holds; in
# chapter 9 they are learned.

# %%
from primer.ch01_geometry import analogy_vector, nearest

names = list(figures.WORDS)
places = np.array([figures.WORDS[name] for name in names])
v = analogy_vector(*(places[names.index(word)] for word in ("man", "woman", "king")))
print("king - man + woman =", v.round(2), "- nearest:", names[nearest(v[None], places, 1)[0][0, 0]])

# %% [markdown]
# ## Search: the $k$ nearest
#
# `nearest` makes all rows unit vectors and takes the `top_k` dot products. Equal scores come in the
# order of the rows, always: a search that shuffles ties cannot be tested.

# %%
queries = [np.flatnonzero(labels == digit)[3] for digit in (3, 5, 8, 9)]
found, scores = figures.other_neighbours(X, queries, 8)
figures.digit_neighbours(images, labels, queries, found, scores)

# %%
found, _ = figures.other_neighbours(X, np.arange(len(X)), 1)
same = labels[found[:, 0]] == labels
print(f"the nearest other image shows the same digit for {same.mean():.1%} (guessing: 10%)")

# %% [markdown]
# ## Clusters: k-means
#
# **(1.4)** Choose $K$ centroids $m_j$ that make $J = \sum_i \min_j |x_i - m_j|^2$ small. Two steps,
# in turn: each row goes to its nearest centroid; each centroid moves to the mean of its rows.
# Neither step can raise $J$.

# %%
rng = np.random.default_rng(3)
points = np.concatenate([rng.normal(place, 0.6, (60, 2)) for place in ((0, 0), (3, 0.5), (1.5, 3))])
figures.kmeans_steps(points, start=points[:3])

# %% [markdown]
# The same for the images, ten clusters, and no label in sight. `kmeans_plus_plus` chooses a start
# whose rows lie far apart.

# %%
from primer.ch01_geometry import kmeans

_, clusters, inertia, history = kmeans(X, 10, np.random.default_rng(0))
print(f"{len(history) - 1} iterations, J from {history[0]:,.0f} to {inertia:,.0f}")
print(f"{figures.purity(labels, clusters):.1%} of the images lie in a cluster of their own digit")

# %%
figures.cluster_table(labels, clusters)

# %% [markdown]
# Some digits have a cluster to themselves; others share one, or fall into two. k-means minimises
# distances of pixels, and nobody told it what a digit is.

# %% [markdown]
# ## Fewer dimensions: PCA
#
# **(1.5)** Move the mean to 0 and take the directions in which the rows vary most: the first rows
# of $C$ in $X - \mathrm{mean} = U S C^\top$. Two of them make a map.

# %%
from primer.ch01_geometry import pca

projected, components, mean, variance = pca(X, 64)
kept = variance.cumsum() / variance.sum()
for d in (1, 2, 10, 20, 40):
    print(f"{d:3} directions keep {kept[d - 1]:.1%} of the variance")

# %%
figures.digit_map(projected[::2], labels[::2], kept[1])       # every other image

# %% [markdown]
# ## A straight line between classes: the linear probe
#
# **(1.6)** $W = (X^\top X + \lambda I)^{-1} X^\top Y$, with one-hot classes $Y$: least squares that
# prefers small weights. How well a line can read a property off an embedding says how plainly the
# embedding holds it. Trained on the first 1200 images, tried on the other 597:

# %%
from primer.ch01_geometry import linear_probe, probe_predict

W, b = linear_probe(X[:1200], labels[:1200], ridge=1.0)
right = probe_predict(X[1200:], W, b) == labels[1200:]
print(f"W {W.shape}, b {b.shape}; {right.mean():.1%} of the unseen images are read right")

# %%
_, directions, centre, _ = pca(X[:1200], 64)
dimensions = (1, 2, 4, 8, 16, 32, 64)
accuracies = [figures.probe_accuracy((X - centre) @ directions[:d].T, labels) for d in dimensions]
figures.probe_curve(dimensions, accuracies, figures.probe_accuracy(X, labels))

# %% [markdown]
# A quarter of the directions is enough. That short vectors can hold nearly all that long ones hold
# is the idea behind chapters 10, 16 and 24.

# %% [markdown]
# ## One number for a whole space
#
# The mean cosine of all pairs tells whether a space is used, or whether all vectors crowd into a
# cone. It needs no loop over pairs: the squared length of the sum of unit rows is the sum of all
# $n^2$ cosines, and $n$ of them are 1.

# %%
from primer.ch01_geometry import mean_pairwise_cosine

cloud = np.random.default_rng(0).standard_normal((1000, 64))
for name, rows in (("random directions", cloud), ("the same, moved by 3", cloud + 3), ("digits", X),
                   ("digits minus their mean", X - X.mean(axis=0))):
    print(f"{name:24} {abs(mean_pairwise_cosine(rows)):6.3f}")

# %% [markdown]
# ## The twin
#
# `kernels/ch01_geometry_numba.py` has the same search and the same k-means for large data. It
# rounds all vectors to whole numbers of 16 bits, whose products are twice as fast, and asks of each
# product whether it can matter, with a margin for the rounding. Only what may, about one in a
# thousand, is computed exactly. So the answers are the same, ties included.

# %%
from kernels import twin
from primer.ch01_geometry import top_k

fast = twin("ch01_geometry", "numba")
doubled = np.concatenate([X, X])                        # each row has an equal
(slow_i, slow_s), (fast_i, fast_s) = (f(X[:200], doubled, 10) for f in (top_k, fast.top_k))
print("indices equal:", np.array_equal(slow_i, fast_i), " scores equal:",
      np.array_equal(slow_s, fast_s))

# %%
_, quick, quick_inertia, _ = fast.kmeans(X, 10, np.random.default_rng(0))
print("clusters equal:", np.array_equal(quick, clusters),
      " inertia equal:", np.isclose(quick_inertia, inertia))

# %% [markdown]
# Ties are harder than they look. A BLAS product adds in an order that depends on the place of a
# row in the matrix, so equal rows may get scores that differ in the last bit, and `queries @ X.T`
# shuffles them. `top_k` adds in one order for all. Here each row is the same:

# %%
row = np.random.default_rng(7).standard_normal(100).astype(np.float32)
equal = np.tile(row, (33, 1))
query = np.random.default_rng(8).standard_normal((3, 100)).astype(np.float32)
indices, best = top_k(query, equal, 3)
print("top_k:", indices.tolist(), " equal scores:", bool(np.ptp(best, axis=1).max() == 0))

# %% [markdown]
# ## What the text gets wrong
#
# Little, in this chapter. Its statements that can be recomputed:

# %%
from primer import claims

for claim in claims.rows(1):
    print(f"{claim['line']:5} {claim['verdict']:6} {claim['claim']}: {claim['computed']}")

# %% [markdown]
# Two things are left out. **Line 129** divides by lengths and does not say what happens at 0.
# **Line 398** lists cosine, dot product and distance as if it did not matter which; on rows of
# unequal length they are three different searches:

# %%
itself = np.eye(len(X), dtype=bool)
by_dot, by_cosine, by_distance = (
    np.where(itself, -np.inf, S).argmax(axis=1)
    for S in (pairwise_dot(X, X), pairwise_cosine(X, X), -pairwise_euclidean(X, X)))
for name, best in (("dot product", by_dot), ("cosine", by_cosine), ("distance", by_distance)):
    print(f"nearest by {name:12} same digit {(labels[best] == labels).mean():.1%},"
          f" same image as by cosine {(best == by_cosine).mean():.1%}")

# %% [markdown]
# ## Exercises
#
# **1.1** Write the cosine and the distance. What is the cosine of a zero vector?

# %% tags=["exercise"]
def my_cosine(a, b):
    """(1.3).  (d,), (d,) -> number; ValueError for a vector of zeros."""
    ### BEGIN SOLUTION
    lengths = np.sqrt(a @ a) * np.sqrt(b @ b)
    if lengths == 0:
        raise ValueError("a or b: a vector of zeros has no direction")
    return a @ b / lengths
    ### END SOLUTION


def my_euclidean(a, b):
    """The root of (1.2).  (d,), (d,) -> number."""
    ### BEGIN SOLUTION
    return np.sqrt(((a - b) ** 2).sum())
    ### END SOLUTION

# %%
from primer.exercises import ch01_geometry as exercises
from primer.exercises.kit import run_property

for p in exercises.angles.properties:
    mine = {"cosine": my_cosine, "euclidean": my_euclidean}
    print(run_property(p, mine).status, "-", p.claim)

# %% [markdown]
# **1.2** Write `top_k`. Of equal scores the lower index comes first: what does `argsort` do with
# equals, and what if you turn its answer round?

# %% tags=["exercise"]
def my_top_k(queries, X, k):
    """(q, d), (n, d) -> indices (q, k), scores (q, k), falling."""
    ### BEGIN SOLUTION
    S = queries @ X.T
    order = np.argsort(-S, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(S, order, axis=1)
    ### END SOLUTION


def my_nearest(queries, X, k):
    """The same by cosine."""
    ### BEGIN SOLUTION
    return my_top_k(unit_rows(queries), unit_rows(X), k)
    ### END SOLUTION

# %%
for p in exercises.search.properties:
    mine = {"top_k": my_top_k, "nearest": my_nearest}
    print(run_property(p, mine).status, "-", p.claim)

# %% [markdown]
# **1.3** Write the two steps of k-means. An empty cluster has no mean: let it move to the row that
# is farthest from the mean of its own cluster.

# %% tags=["exercise"]
def my_assign(X, centroids):
    """(n, d), (K, d) -> labels (n,), squared distances (n,)."""
    ### BEGIN SOLUTION
    D = ((X[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
    return D.argmin(axis=1), D.min(axis=1)
    ### END SOLUTION


def my_update(X, labels, K):
    """(n, d), (n,) -> centroids (K, d)."""
    ### BEGIN SOLUTION
    means = np.zeros((K, X.shape[1]))
    for j in np.unique(labels):
        means[j] = X[labels == j].mean(axis=0)
    far = np.argsort(-((X - means[labels]) ** 2).sum(axis=1), kind="stable")
    empty = np.setdiff1d(np.arange(K), labels)
    means[empty] = X[far[:len(empty)]]
    return means
    ### END SOLUTION

# %%
for p in exercises.clusters.properties:
    mine = {"kmeans_assign": my_assign, "kmeans_update": my_update}
    print(run_property(p, mine).status, "-", p.claim)

# %% [markdown]
# **1.4** A rotation changes every coordinate of every vector. Which of the three measures change?
# Return the largest change of each on the first 50 images, for a random rotation of 64 dimensions.

# %% tags=["exercise"]
def changes_under_rotation(X, seed=0):
    """-> largest change of dot products, of cosines, of distances."""
    ### BEGIN SOLUTION
    n, d = X.shape
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    return [np.abs(measure(X @ Q, X @ Q) - measure(X, X)).max()
            for measure in (pairwise_dot, pairwise_cosine, pairwise_euclidean)]
    ### END SOLUTION

# %%
change = changes_under_rotation(X[:50])
print("changes of dot product, cosine and distance:", np.round(change, 4) + 0)
assert len(change) == 3 and max(change) < 1e-5      # coordinates mean nothing to any of them

# %% [markdown]
# More: `python -m primer start ch01`, then `python -m primer check`: 6 exercises, PCA among them.
#
# ## In practice
#
# * Normalise once, when you store a vector; then a dot product is the cosine, and all three
#   measures rank alike. Ask of every model whether its vectors come normalised.
# * For up to some 100,000 vectors an exact search is fast enough, and never wrong. Libraries: faiss
#   `IndexFlatIP`, or this chapter's twin. Chapter 24 is about millions.
# * k-means finds round clusters of similar size; start it several times, with k-means++.
# * Fit PCA on the training rows only, and keep its mean: new rows must be moved by the same.
# * A probe's accuracy means something beside another probe's: on shuffled labels, on raw input.
#
# ## Sources
#
# The text, lines 117 to 205, 396 to 403 and 1611 to 1636. Salton, Wong and Yang 1975, *A vector
# space model for automatic indexing*; Mikolov, Yih and Zweig 2013, *Linguistic regularities in
# continuous space word representations*; Lloyd 1982, *Least squares quantization in PCM*; Arthur
# and Vassilvitskii 2007, *k-means++*; Pearson 1901; Hoerl and Kennard 1970, *Ridge regression*.
# The digits: Alpaydin and Kaynak 1998, UCI.
