"""Numba twin of primer/ch01_geometry.py: exact search and k-means, by whole numbers of 16 bits.

Idea    Vectors rounded to 16-bit integers take half the bytes of float32, and one instruction
        multiplies and adds twice as many.  So all products are taken of integers first, ROWS x
        LANES at a time with their sums in registers, and each is asked one thing: can it matter?
        In top_k it must come near the k-th best so far, in k-means it must rival the row's
        present cluster.  A margin covers all that rounding can do (_slack), so nothing is lost;
        what passes, about one in a thousand, is computed again in float64, in one order, so that
        equal rows tie exactly.  k-means changes a cluster's sum for rows that come or go, and its
        inertia is sum |x|^2 + sum_j (count_j |m_j|^2 - 2 <m_j, sum_j>).
Threads In top_k each takes other queries, in k-means other rows, and writes only theirs.  Sums are
        changed by one thread, in the order of the rows: no result depends on the threads.
Limits  The integers take 2 n d bytes.  The margin grows with the longest row: outliers, or data
        far from the origin, cost time (not exactness): subtract the mean before k-means.
"""
import numpy as np
from llvmlite import ir
from numba import get_num_threads, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from primer.ch01_geometry import _unit, as_labels, as_rows, means_of, start_of

ROWS, LANES = 4, 16                   # products taken together: rows x queries, or x centroids
STRIP = 2**17                         # integers that stay in a core's cache while queries pass
FULL = 32_000                         # the length of the longest vector in integers
NEVER, ALWAYS = 2**31 - 1, -2**31     # limits that no product reaches, that each product reaches
REORDER = {"reassoc", "contract"}     # a sum's order is free; NaN and infinity stay what they are


@intrinsic
def _multiply(typing_context, codes, block, out):
    """out (ROWS, LANES) int32 = codes (ROWS, d) int16 times block (d / 2, LANES, 2) int16, said in
    LLVM's vectors: Numba has no word for sums that stay in registers.  Two products and their sum
    become one instruction, vpmaddwd, or vpdpwssd, which adds them to the total too."""
    def generate(context, builder, signature, arguments):
        i32, i64 = ir.IntType(32), ir.IntType(64)
        total, twice = ir.VectorType(i32, LANES), ir.VectorType(i32, 2 * LANES)
        shorts = ir.VectorType(ir.IntType(16), 2 * LANES)
        zeros, even, odd = (ir.Constant(total, list(places)) for places in (
            [0] * LANES, range(0, 2 * LANES, 2), range(1, 2 * LANES, 2)))
        X, P, S = (context.make_array(kind)(context, builder, array)
                   for kind, array in zip(signature.args, arguments, strict=True))
        x, p, s = (builder.bitcast(array.data, kind.as_pointer())
                   for array, kind in ((X, i32), (P, shorts), (S, total)))
        pairs = builder.extract_value(P.shape, 0)
        sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(ROWS)]
        with cgutils.for_range(builder, pairs) as loop:
            lanes = builder.load(builder.gep(p, [loop.index]), align=4)
            lanes = builder.sext(lanes, twice)          # two coordinates of LANES vectors
            for r, value in enumerate(sums):
                at = builder.add(builder.mul(pairs, ir.Constant(i64, r)), loop.index)
                pair = builder.load(builder.gep(x, [at]), align=2)       # the same two of a row
                pair = builder.insert_element(zeros, pair, ir.Constant(i32, 0))
                pair = builder.bitcast(builder.shuffle_vector(pair, pair, zeros), shorts)
                both = builder.mul(builder.sext(pair, twice), lanes)
                both = builder.add(builder.shuffle_vector(both, both, even),
                                   builder.shuffle_vector(both, both, odd))
                builder.store(builder.add(builder.load(value), both), value)
        for r, value in enumerate(sums):
            builder.store(builder.load(value), builder.gep(s, [ir.Constant(i64, r)]), align=4)
        return context.get_dummy_value()

    return types.void(codes, block, out), generate


@njit(cache=True, fastmath=REORDER)
def _dot(x, y):
    total = 0.0
    for j in range(len(x)):
        total += np.float64(x[j]) * np.float64(y[j])
    return total


@njit(cache=True, fastmath=REORDER)
def _gap(x, y):
    total = 0.0
    for j in range(len(x)):
        difference = np.float64(x[j]) - np.float64(y[j])
        total += difference * difference
    return total


@njit(cache=True, parallel=True)
def _squared_gaps(X, centroids, labels):
    out = np.empty(len(X))
    for i in prange(len(X)):
        out[i] = _gap(X[i], centroids[labels[i]])
    return out


@njit(cache=True, parallel=True)
def _round(X, scale, codes):
    for i in prange(len(X)):
        for j in range(X.shape[1]):
            codes[i, j] = np.int16(np.rint(X[i, j] * scale))


def _measure(X, name, dimensions=None, least=0):
    """as_rows in one pass, which also finds lengths -> X in one block, |x| of each row (n,)."""
    X = np.ascontiguousarray(X)
    if X.dtype not in (np.float32, np.float64) or X.ndim != 2 or not X.shape[1]:
        X = as_rows(X, name)                            # converts integers, or raises
    squares = _squared_gaps(X, np.zeros((1, X.shape[1]), X.dtype), np.zeros(len(X), np.int64))
    if not np.isfinite(squares.sum()) or len(X) < least or dimensions not in (None, X.shape[1]):
        as_rows(X, name, dimensions, least)             # raises, unless only the squares overflow
    return X, np.sqrt(squares)


def _scale(lengths):
    """What makes vectors of these lengths FULL long; 0, and then all pass, if nothing can."""
    return FULL / np.where((lengths > 1e-30) & (lengths < np.inf), lengths, np.inf)


def _codes(X, longest):
    """X as int16, with zeros up to a multiple of ROWS rows and an even number of coordinates."""
    n, d = X.shape
    codes = np.zeros((-(-n // ROWS) * ROWS, d + d % 2), np.int16)
    _round(X, X.dtype.type(_scale(longest)), codes)
    return codes


def _blocks(X, lengths):
    """X as int16 in the order in which _multiply reads it: (blocks, d / 2, LANES, 2)."""
    n, d = X.shape
    codes = np.zeros((-(-n // LANES) * LANES, d + d % 2), np.int16)
    codes[:n, :d] = np.rint(X * _scale(lengths)[:, None])
    return np.ascontiguousarray(codes.reshape(-1, LANES, (d + 1) // 2, 2).swapaxes(1, 2))


def _slack(d):
    """How far a product of codes can be from the true one, if each coordinate is off by 0.51."""
    off = 0.51 * np.sqrt(d)
    return int(2 * FULL * off + 3 * off * off) + 300    # 300: to spare


@njit(cache=True)
def _passing(products, limits):
    passed = np.int32(0)                                # an integer sum becomes vectors
    for j in range(LANES):
        passed += np.int32(products[j] >= limits[j])
    return passed


@njit(cache=True)
def _offer(row, x, Q, products, limits, scales, slack, scores, indices, kept):
    """Row x to those queries of a block whose limit its product reaches; kept[q] rows are in."""
    k, rounded = scores.shape[1], np.empty(1, scores.dtype)
    for q in range(len(Q)):
        if products[q] < limits[q]:
            continue
        rounded[0], at = _dot(Q[q], x), kept[q]
        while at > 0 and rounded[0] > scores[q, at - 1]:         # of equals the earlier stays ahead
            at -= 1
        if at == k:
            continue
        kept[q] = min(kept[q] + 1, k)
        for j in range(kept[q] - 1, at, -1):
            scores[q, j], indices[q, j] = scores[q, j - 1], indices[q, j - 1]
        scores[q, at], indices[q, at] = rounded[0], row
        if kept[q] == k:                                # the least product that may still matter
            least = np.floor(scores[q, -1] * scales[q]) - slack
            limits[q] = np.int32(least if ALWAYS < least < NEVER else ALWAYS)


@njit(cache=True, parallel=True)
def _search(Q, X, blocks, codes, scales, slack, group, scores, indices):
    """Each thread leads `group` blocks of queries past strips of rows."""
    strip = max(1, STRIP // codes.shape[1] // ROWS) * ROWS
    for g in prange(-(-len(blocks) // group)):
        low, high = np.int64(g) * group, min(np.int64(g + 1) * group, len(blocks))
        products, kept = np.empty((ROWS, LANES), np.int32), np.zeros((high - low, LANES), np.int64)
        limits = np.full((high - low, LANES), np.int32(ALWAYS))
        for q in range(len(Q), high * LANES):           # idle lanes of the last block
            limits[-1, q % LANES] = NEVER
        for first in range(0, len(codes), strip):
            for b in range(low, high):
                own = slice(b * LANES, min((b + 1) * LANES, len(Q)))
                for i in range(first, min(first + strip, len(codes)), ROWS):
                    _multiply(codes[i:i + ROWS], blocks[b], products)
                    for row in range(i, min(i + ROWS, len(X))):
                        if _passing(products[row - i], limits[b - low]):
                            _offer(row, X[row], Q[own], products[row - i], limits[b - low],
                                   scales[own], slack, scores[own], indices[own], kept[b - low])


def top_k(queries, X, k):
    queries, lengths = _measure(queries, "queries")
    X, x_lengths = _measure(X, "X", queries.shape[1])
    if k < 1:
        raise ValueError(f"k: expected at least 1 neighbour, got {k}")
    k = min(k, len(X))
    indices = np.empty((len(queries), k), np.int64)     # (q, k)
    scores = np.empty((len(queries), k), np.result_type(queries, X))
    if scores.size:
        blocks, codes = _blocks(queries, lengths), _codes(X, x_lengths.max())
        scales = _scale(lengths) * _scale(x_lengths.max())               # (q,)
        _search(queries, X, blocks, codes, scales, _slack(X.shape[1]),
                min(4, -(-len(blocks) // get_num_threads())), scores, indices)
    return indices, scores


def nearest(queries, X, k):
    return top_k(_unit(as_rows(queries, "queries"), "queries"), _unit(as_rows(X, "X"), "X"), k)


@njit(cache=True)
def _nearest(x, products, r, centroids, half, slack, guess):
    """The centroid of least half |m|^2 - <x, m>, row r of products; `guess`: what it was, or -1."""
    limit, rivals = np.int32(NEVER - 1), np.int32(0)
    if guess >= 0:
        b, lane = guess // LANES, guess % LANES
        limit = np.int32(half[b, lane] - products[b, r, lane] + 2 * slack)
        for b in range(len(half)):
            for lane in range(LANES):
                rivals += np.int32(np.int32(half[b, lane] - products[b, r, lane]) <= limit)
        if rivals == 1:                                 # only itself: still the nearest
            return guess
    best, smallest = 0, np.inf
    for j in range(len(centroids)):
        value = np.int32(half[j // LANES, j % LANES] - products[j // LANES, r, j % LANES])
        if value <= limit:
            limit, gap = min(limit, np.int32(value + 2 * slack)), _gap(x, centroids[j])
            if gap < smallest:                          # of equals the lower centroid stays
                best, smallest = j, gap
    return best


@njit(cache=True, parallel=True)
def _assign(X, codes, centroids, blocks, half, slack, labels):
    """Each thread brings the labels of other strips of rows up to date."""
    strip = max(1, STRIP // codes.shape[1] // ROWS) * ROWS
    for s in prange(-(-len(codes) // strip)):
        products, first = np.empty((len(blocks), ROWS, LANES), np.int32), np.int64(s) * strip
        for i in range(first, min(first + strip, len(codes)), ROWS):
            for b in range(len(blocks)):
                _multiply(codes[i:i + ROWS], blocks[b], products[b])
            for row in range(i, min(i + ROWS, len(X))):
                labels[row] = _nearest(X[row], products, row - i, centroids, half, slack,
                                       labels[row])


@njit(cache=True)
def _move(X, old, labels, sums, counts):
    """Rows whose label changed join the new cluster's sum and leave the old one's (-1: none)."""
    for i in range(len(X)):
        if labels[i] != old[i]:
            for cluster, sign in ((labels[i], 1), (old[i], -1)):
                if cluster >= 0:
                    x, total = X[i], sums[cluster]
                    counts[cluster] += sign
                    for j in range(len(x)):
                        total[j] += sign * x[j]


def _sweep(X, codes, centroids, longest, labels):
    """Bring labels (n,) up to these centroids (K, d)."""
    blocks = _blocks(centroids, np.full(len(centroids), longest))
    squares = np.einsum("kd,kd->k", centroids, centroids, dtype=np.float64)
    half = np.full(len(blocks) * LANES, NEVER, np.int32)         # idle lanes rival nobody
    half[:len(centroids)] = np.rint(np.minimum(squares, 1e300) * _scale(longest)**2 / 2)
    _assign(X, codes, centroids, blocks, half.reshape(-1, LANES), _slack(X.shape[1]), labels)


def kmeans_assign(X, centroids):
    X, lengths = _measure(X, "X")
    centroids, reaches = _measure(centroids, "centroids", X.shape[1], least=1)
    longest, labels = max(lengths.max(initial=0), reaches.max()), np.full(len(X), -1)
    _sweep(X, _codes(X, longest), centroids, longest, labels)
    return labels, _squared_gaps(X, centroids, labels).astype(X.dtype)


def kmeans_update(X, labels, K):
    X, _ = _measure(X, "X", least=max(K, 1))
    labels = as_labels(labels, "labels", K, len(X))
    sums, counts = np.zeros((K, X.shape[1])), np.zeros(K, np.int64)
    _move(X, np.full(len(X), -1), labels, sums, counts)
    return means_of(X, labels, sums, counts)


def kmeans(X, K, rng, max_iterations=100, tolerance=0.0, start=None):
    X, lengths = _measure(X, "X", least=max(K, 1))
    centroids, history = np.ascontiguousarray(start_of(X, K, rng, start)), []
    longest = max(lengths.max(), _measure(centroids, "start")[1].max())
    codes, total = _codes(X, longest), (lengths**2).sum()
    labels, sums, counts = np.full(len(X), -1), np.zeros(centroids.shape), np.zeros(K, np.int64)
    for _ in range(max_iterations):
        old = labels.copy()
        _sweep(X, codes, centroids, longest, labels)
        _move(X, old, labels, sums, counts)
        inertia = total + np.einsum("k,kd,kd", counts, centroids, centroids, dtype=np.float64)
        history.append(max(0.0, float(inertia - 2 * (centroids * sums).sum())))
        moved = means_of(X, labels, sums, counts)       # (K, d)
        shift = ((moved - centroids) ** 2).sum()
        centroids = moved
        if shift <= tolerance:
            break
    _sweep(X, codes, centroids, longest, labels)
    history.append(float(_squared_gaps(X, centroids, labels).sum()))
    return centroids, labels, history[-1], history
