r"""Chapter 1. Geometry: meaning as a place in space, and what can be done with places.

    <a, b>    = sum_i a_i b_i            the dot product; |a|^2 = <a, a>            (1.1)
    |a - b|^2 = <a, a> - 2 <a, b> + <b, b>                                          (1.2)
    cos(a, b) = <a, b> / (|a| |b|)                                                  (1.3)
    J         = sum_i min_j |x_i - m_j|^2     k-means: its inertia                  (1.4)
    X - mean  = U S C^T                       PCA: rows of C, the largest S first   (1.5)
    W         = (X^T X + ridge I)^-1 X^T Y    linear probe: Y one-hot classes y     (1.6)

Symbols     n rows, d dimensions, V vocabulary size, K clusters, k neighbours; a, b, c: (d,)
            vectors; X, A, B: (n, d) matrices of rows x_i; m_j: (d,) centroid of cluster j.
Sources     Cosine: Salton, Wong and Yang 1975.  Offsets: Mikolov, Yih and Zweig 2013, sec. 4.
            k-means: Lloyd 1982; its start: Arthur and Vassilvitskii 2007, sec. 2.2.
            PCA: Pearson 1901.  Ridge: Hoerl and Kennard 1970.
We differ   The text divides by lengths without a word about zero vectors: ours raise ValueError.
            Cosines are clipped to [-1, 1], which rounding can leave.  top_k is not queries @ X.T:
            BLAS sums in an order that depends on the place in the matrix, so equal rows would
            get unequal scores; ours are summed in float64, in one order, and rounded to X's dtype.
            An empty cluster moves to the row farthest from its own mean.
Relations   On unit rows (1.2) is 2 - 2 (1.3): dot, cosine and distance rank alike.  One-hot rows
            are sqrt(2) apart, with cosine 0.  Chapter 9 searches near b - a + c; 24 hurries top_k.
Kernels     kernels/ch01_geometry_numba.py, ch01_geometry.cu: top_k, nearest, kmeans and its steps.
"""
import numpy as np


def as_rows(X, name, dimensions=None, least=0):
    """X as a checked matrix.  (n, d) -> (n, d); float32 and float64 stay, integers -> float64.

    TypeError: another dtype.  ValueError: not 2-D, NaN or infinity, rows not of length
    `dimensions`, fewer rows than `least`.
    """
    X = np.asarray(X)
    if X.dtype.kind in "biu":
        X = X.astype(np.float64)
    if X.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: expected float32, float64 or integers, got {X.dtype}")
    if X.ndim != 2 or not X.shape[1]:
        raise ValueError(f"{name}: expected a matrix (rows, dimensions), got shape {X.shape}")
    if dimensions is not None and X.shape[1] != dimensions:
        raise ValueError(f"{name}: expected rows of length {dimensions}, got {X.shape[1]}")
    if len(X) < least:
        raise ValueError(f"{name}: expected at least {least} rows, got {len(X)}")
    if not np.isfinite(X).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return X


def as_vector(x, name, dimensions=None):
    """x as a checked vector.  (d,) -> (d,).  TypeError, ValueError as as_rows."""
    x = np.asarray(x)
    if x.ndim != 1:
        raise ValueError(f"{name}: expected one vector (dimensions,), got shape {x.shape}")
    return as_rows(x[None, :], name, dimensions)[0]


def dot(a, b):
    """Dot product (1.1): grows with alignment and with both lengths.  (d,), (d,) -> scalar."""
    a = as_vector(a, "a")
    return a @ as_vector(b, "b", len(a))


def euclidean(a, b):
    """Distance, the root of (1.2).  (d,), (d,) -> scalar."""
    a = as_vector(a, "a")
    difference = a - as_vector(b, "b", len(a))          # (d,)
    return np.sqrt(difference @ difference)


def cosine(a, b):
    """Cosine of the angle (1.3), in [-1, 1].  (d,), (d,) -> scalar.  ValueError: a zero vector."""
    a = as_vector(a, "a")
    b = as_vector(b, "b", len(a))
    return np.clip(_unit(a[None, :], "a")[0] @ _unit(b[None, :], "b")[0], -1, 1)


def unit_rows(X):
    """Each row divided by its length.  (n, d) -> (n, d).  ValueError: a row of zeros."""
    return _unit(as_rows(X, "X"), "X")


def _unit(X, name):
    norms = np.sqrt(np.einsum("nd,nd->n", X, X, dtype=np.float64))       # (n,)
    good = np.isfinite(norms) & (norms > 0)             # (n,)  not finite: the squares overflow
    if not good.all():
        row = int(good.argmin())
        raise ValueError(f"{name}: row {row} has length {norms[row]:g}, so it has no direction")
    return (X / norms[:, None]).astype(X.dtype)         # (n, d)


def pairwise_dot(A, B):
    """All dot products (1.1): one matrix product.  (n, d), (m, d) -> (n, m)."""
    A = as_rows(A, "A")
    return A @ as_rows(B, "B", A.shape[1]).T            # (n, m)


def pairwise_cosine(A, B):
    """All cosines (1.3): normalise, then multiply.  (n, d), (m, d) -> (n, m)."""
    A = as_rows(A, "A")
    B = as_rows(B, "B", A.shape[1])
    return np.clip(_unit(A, "A") @ _unit(B, "B").T, -1, 1)               # (n, m)


def pairwise_euclidean(A, B):
    """All distances (1.2), by differences.  (n, d), (m, d) -> (n, m)."""
    A = as_rows(A, "A")
    B = as_rows(B, "B", A.shape[1])
    out = np.empty((len(A), len(B)), np.result_type(A, B))               # (n, m)
    for i, a in enumerate(A):
        out[i] = np.sqrt(((a - B) ** 2).sum(axis=1))    # (m,)  the other side of 1.2 cancels
    return out


def mean_pairwise_cosine(X):
    """Mean cosine of two different rows: 0 when directions are spread out, 1 when all agree.
    (n, d) -> float, in O(n d): |sum of unit rows|^2 is the sum of all n^2 cosines, n of them 1.
    ValueError: fewer than two rows, a row of zeros.
    """
    X = as_rows(X, "X", least=2)
    n, total = len(X), _unit(X, "X").sum(axis=0, dtype=np.float64)       # total: (d,)
    return float((total @ total - n) / (n * (n - 1)))


def top_k(queries, X, k):
    """The k rows of X with the largest dot products (1.1), for each query; ties: lower index.
    (q, d), (n, d) -> indices (q, k) int64, scores (q, k), falling.  k above n gives all n rows.
    The plain version: it keeps all q n scores.  ValueError: k < 1.
    """
    queries = as_rows(queries, "queries")
    X = as_rows(X, "X", queries.shape[1])
    if k < 1:
        raise ValueError(f"k: expected at least 1 neighbour, got {k}")
    S = np.einsum("qd,nd->qn", queries.astype(np.float64), X.astype(np.float64))   # (q, n)
    S = S.astype(np.result_type(queries, X))
    order = np.argsort(-S, axis=1, kind="stable")[:, :k]                 # (q, k)  stable: ties
    return order.astype(np.int64), np.take_along_axis(S, order, axis=1)


def nearest(queries, X, k):
    """The k rows with the largest cosines (1.3): top_k of unit rows.  Shapes -> as top_k."""
    queries = as_rows(queries, "queries")
    X = as_rows(X, "X", queries.shape[1])
    return top_k(_unit(queries, "queries"), _unit(X, "X"), k)


def one_hot(indices, V):
    """Row i is 1 at indices[i], else 0.  (n,) integers in 0..V-1 -> (n, V) float64."""
    indices = as_labels(indices, "indices", V)
    out = np.zeros((len(indices), V))                   # (n, V)
    out[np.arange(len(indices)), indices] = 1
    return out


def as_labels(labels, name, limit, n=None):
    """labels as a checked vector of integers in 0..limit-1.  (n,) -> (n,) int64.

    TypeError: no integers.  ValueError: out of range, not a vector, not of length n.
    """
    labels = np.asarray(labels)
    if labels.size and labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {labels.dtype}")
    if labels.ndim != 1 or n not in (None, len(labels)):
        raise ValueError(f"{name}: expected {'one row of' if n is None else n} integers, "
                         f"got shape {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < limit:
        raise ValueError(f"{name}: expected integers from 0 to {limit - 1}")
    return labels.astype(np.int64)


def analogy_vector(a, b, c):
    """Where the answer of "a is to b as c is to ?" lies: b - a + c.  (d,) three times -> (d,)."""
    a = as_vector(a, "a")
    return as_vector(b, "b", len(a)) - a + as_vector(c, "c", len(a))


def kmeans_plus_plus(X, K, rng):
    """K rows of X as start: each next one drawn with probability ~ squared distance to the chosen.
    (n, d), K, numpy Generator -> (K, d).  ValueError: K outside 1..n.
    """
    X = as_rows(X, "X")
    n = len(X)
    if not 1 <= K <= n:
        raise ValueError(f"K: expected 1 to {n} clusters for {n} rows, got {K}")
    chosen = [int(rng.integers(n))]
    nearest_squared = np.full(n, np.inf)                # (n,)
    while len(chosen) < K:
        gap = ((X - X[chosen[-1]]) ** 2).sum(axis=1)    # (n,)
        nearest_squared = np.minimum(nearest_squared, gap)
        total = nearest_squared.sum()                   # 0: all rows are chosen or doubles of them
        p = nearest_squared / total if total > 0 else np.full(n, 1 / n)
        chosen.append(int(rng.choice(n, p=p)))
    return X[chosen]                                    # (K, d)


def kmeans_assign(X, centroids):
    """The nearest centroid of each row; ties: the lower one.
    (n, d), (K, d) -> labels (n,) int64, squared distances (n,).  ValueError: no centroids.
    """
    X = as_rows(X, "X")
    centroids = as_rows(centroids, "centroids", X.shape[1], least=1)
    rows, D = X.astype(np.float64), np.empty((len(X), len(centroids)))   # (n, d), (n, K)
    for j, centroid in enumerate(centroids):
        D[:, j] = ((rows - centroid) ** 2).sum(axis=1)  # (n,)  eq. 1.2
    labels = D.argmin(axis=1)                           # (n,)
    return labels, D.min(axis=1).astype(X.dtype)


def kmeans_update(X, labels, K):
    """The mean of each cluster; an empty one moves to the row farthest from its own mean.
    (n, d), (n,) integers in 0..K-1 -> (K, d).  Several empty clusters take the farthest rows in
    turn (ties: lower index).  ValueError: labels out of range or of another length, n < K.
    """
    X = as_rows(X, "X", least=max(K, 1))
    labels = as_labels(labels, "labels", K, len(X))
    sums = np.zeros((K, X.shape[1]))                    # (K, d)
    np.add.at(sums, labels, X)
    return means_of(X, labels, sums, np.bincount(labels, minlength=K))


def means_of(X, labels, sums, counts):
    """sums (K, d) / counts (K,), with a far row in each empty cluster's place -> (K, d)."""
    means = sums / np.maximum(counts, 1)[:, None]       # (K, d)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        gap = ((X - means[labels]) ** 2).sum(axis=1)    # (n,)
        means[empty] = X[np.argsort(-gap, kind="stable")[:len(empty)]]
    return means.astype(X.dtype)                        # (K, d)


def start_of(X, K, rng, start):
    """`start`, checked, or k-means++ if it is None -> (K, d).  ValueError: not K rows."""
    if start is None:
        return kmeans_plus_plus(X, K, rng)
    start = as_rows(start, "start", X.shape[1])
    if not 1 <= K == len(start):
        raise ValueError(f"start: expected K = {K} rows (1 or more), got {len(start)}")
    return start.astype(X.dtype)


def kmeans(X, K, rng, max_iterations=100, tolerance=0.0, start=None):
    """Lloyd's algorithm: assign, average, repeat; (1.4) never rises.
    (n, d) -> centroids (K, d), labels (n,) int64, inertia, history: the inertia before each update
    and at the end.  Stops when the centroids' squared moves add up to `tolerance` or less.
    `start` (K, d) replaces k-means++ and rng.
    """
    X, history = as_rows(X, "X"), []
    centroids = start_of(X, K, rng, start)              # (K, d)
    for _ in range(max_iterations):
        labels, squared = kmeans_assign(X, centroids)
        history.append(float(squared.sum(dtype=np.float64)))
        moved = kmeans_update(X, labels, K)             # (K, d)
        shift = ((moved - centroids) ** 2).sum()
        centroids = moved
        if shift <= tolerance:
            break
    labels, squared = kmeans_assign(X, centroids)
    history.append(float(squared.sum(dtype=np.float64)))
    return centroids, labels, history[-1], history


def pca(X, d):
    """The d directions in which centred rows vary most (1.5), by singular values.
    (n, D) -> projected (n, d), components (d, D), mean (D,), explained_variance (d,), with n - 1.
    Sign: each component's entry of largest size is positive.  ValueError: d not in 1..min(n, D).
    """
    X = as_rows(X, "X", least=2)
    if not 1 <= d <= min(X.shape):
        raise ValueError(f"d: expected 1 to {min(X.shape)} dimensions, got {d}")
    mean = X.mean(axis=0)                               # (D,)
    _, S, C = np.linalg.svd(X - mean, full_matrices=False)               # (r,), (r, D)  eq. 1.5
    largest = np.abs(C).argmax(axis=1)                  # (r,)
    C = C * np.sign(C[np.arange(len(C)), largest])[:, None]
    return (X - mean) @ C[:d].T, C[:d], mean, S[:d] ** 2 / (len(X) - 1)


def linear_probe(X, y, ridge=1.0):
    """Least squares on one-hot targets (1.6): can a straight line read the classes off the rows?
    (n, d), (n,) integers from 0 -> W (d, classes), b (classes,).  Rows and targets are centred, so
    the bias is not penalised.  ValueError: no rows, another length of y, ridge <= 0.
    """
    X = as_rows(X, "X", least=1)
    y = as_labels(y, "y", np.inf, len(X))
    if not ridge > 0:
        raise ValueError(f"ridge: expected a number above 0, got {ridge}")
    Y = one_hot(y, int(y.max()) + 1).astype(X.dtype)    # (n, classes)
    x_mean, y_mean = X.mean(axis=0), Y.mean(axis=0)     # (d,), (classes,)
    Z = X - x_mean                                      # (n, d)
    gram = Z.T @ Z + X.dtype.type(ridge) * np.eye(X.shape[1], dtype=X.dtype)       # (d, d)
    W = np.linalg.solve(gram, Z.T @ (Y - y_mean))       # (d, classes)  eq. 1.6
    return W, y_mean - x_mean @ W


def probe_predict(X, W, b):
    """The class with the largest score X W + b; ties: the lower.  (n, d) -> (n,) int64."""
    return (as_rows(X, "X", len(W)) @ W + b).argmax(axis=1)
