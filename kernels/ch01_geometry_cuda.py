"""CUDA twin of primer/ch01_geometry.py: exact search and k-means.

Idea    A tile of products is taken in float32, in shared memory and registers, and asks one thing
        of each pair: can it matter?  In top_k the product must come near the k-th best so far, in
        kmeans_assign the centroid must rival the nearest.  A margin (slack in ch01_tiles.cu)
        covers all that rounding can do; what passes is summed again in float64, always in one
        order, so that equal rows tie exactly.  The q n scores are never stored.  A score and its
        index are one number of 64 bits, so that the larger number is the better neighbour.
Threads top_k: a block has 32 queries and a share of the rows, a warp 4 of the queries, whose keys
        it alone appends; the shares' best are merged.  kmeans_assign: a warp has 4 rows.
        kmeans_update: rows sorted by (label, row), each sum by one block in that order.  Nothing
        depends on the order of threads: results are the same bit for bit in every run.
Cost    Products: 2 q n d flops (2 n K d in kmeans), 4 n d bytes for each 32 queries; all cards are
        bound by arithmetic.  q = 10^4, n = 10^6, d = 128, 2.6 Tflop: at least 316 ms on a T4, 131
        A100, 38 H100, 31 RTX 4090.  A single query reads 4 n d bytes, 512 MB: 1.6 ms, 0.42 A100,
        0.15 H100, 0.51 RTX 4090.  On top, k (1 + ln(n / k)) float64 products a query and share.
Limits  n below 2^30.  CuPy arrays pass as queries, X and centroids: that their numbers are finite
        is found on the device, and told with the results.  float64 input has all its products in
        float64 (1/64 of the speed on an RTX 4090) and stores 2^24 scores at a time; so has float32
        with k above 1024.  The margin grows with the lengths of rows: far from the origin all pairs
        pass, exactly and slowly.  kmeans waits for the device once an iteration, for the stop test,
        and once more where a cluster is empty; k-means++ runs on the host.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch01_geometry import _unit, as_labels, as_rows, means_of, start_of

MODULE = cp.RawModule(code=cuda_source("ch01_top_k", "ch01_tiles", "ch01_geometry"),
                      options=("-std=c++17",))
BLOCK, ROWS, COLUMNS, SIDE = 256, 32, 128, 32     # as in the .cu files
TOP_K_LIMIT = 1024                                # the largest k of a selector
BLOCKS = 512                                      # as many fill a GPU
AT_ONCE, QUERIES = 2**24, 2**14                   # scores stored at a time; queries of one launch
SIGN, SIZE, LOW = np.uint64(2**63), np.int64(2**63 - 1), np.uint64(2**32 - 1)     # bits of keys


def _launch(name, blocks, *arguments, shared=0):
    """A Python integer goes as int32."""
    arguments = tuple(np.int32(a) if isinstance(a, int) else a for a in arguments)
    MODULE.get_function(name)((blocks,), (BLOCK,), arguments, shared_mem=shared)


def _rows(X, name, proofs, dimensions=None, least=0):
    """as_rows; of a device array it checks all but the numbers, and adds the proof of these."""
    if not isinstance(X, cp.ndarray):
        return as_rows(X, name, dimensions, least)
    like = np.broadcast_to(np.zeros((), X.dtype), X.shape)             # its shape, without memory
    as_rows(like[:least] if X.ndim == 2 else like, name, dimensions, least)
    X = X.astype(cp.float64) if X.dtype.kind in "biu" else X           # (n, d)
    proofs.append((cp.isfinite(X).all(), as_rows, X, name))
    return X


def _unit_rows(X, name, proofs):
    if not isinstance(X, cp.ndarray):
        return _unit(X, name)
    norms = cp.sqrt((X.astype(cp.float64) ** 2).sum(axis=1))           # (n,)
    good = cp.isfinite(norms) & (norms > 0)                            # (n,)
    proofs.append((good.all(), _unit, X, name))
    return (X / cp.where(good, norms, 1)[:, None]).astype(X.dtype)     # (n, d)


def _upload(X, dtype):
    if isinstance(X, cp.ndarray):
        return cp.ascontiguousarray(X.astype(dtype, copy=False))
    return cp.asarray(np.ascontiguousarray(X, dtype))


def _download(arrays, proofs=()):
    """Device arrays -> host arrays, in one transfer.  A proof that failed raises its error."""
    parts = [*arrays, *(holds.reshape(1) for holds, *_ in proofs)]
    packed = cp.concatenate([cp.ascontiguousarray(a).ravel().view(cp.uint8) for a in parts]).get()
    ends = np.cumsum([a.nbytes for a in parts])
    found = [packed[end - a.nbytes:end].view(a.dtype).reshape(a.shape)
             for a, end in zip(parts, ends, strict=True)]
    for holds, (_, check, X, name) in zip(found[len(arrays):], proofs, strict=True):
        if not holds[0]:
            check(X.get(), name)                        # sync: it raises
    return found[:len(arrays)]


def _selector(k, each_round=BLOCK):
    """Places of a selector of ch01_top_k.cu, and its bytes of shared memory."""
    size = max(32, 1 << (k + each_round - 1).bit_length())
    return size, 8 * (size + 2)


def _merge_top_k(keys, k):
    """The k largest keys of each row, falling, then 0.  (q, c) uint64 on the device -> (q, k)."""
    q, c = keys.shape
    found = cp.zeros((q, k), cp.uint64)                                # (q, k)
    if k > TOP_K_LIMIT:
        found[:, :c] = cp.sort(keys, axis=1)[:, ::-1][:, :k]
    if k > TOP_K_LIMIT or not found.size or not c:
        return found
    keys, each = cp.ascontiguousarray(keys), 4 * BLOCK
    size, shared = _selector(k, each)
    splits = max(1, min(BLOCKS // q, c // max(each, 8 * k)))
    if splits > 1:                                                     # else one block would read c
        part = -(-c // splits // each) * each
        splits = -(-c // part)
        some = cp.empty((q, splits * k), cp.uint64)                    # (q, splits k)
        _launch("merge_top_k", q * splits, keys, some, c, k, size, part, splits, shared=shared)
        keys, c = some, splits * k
    _launch("merge_top_k", q, keys, found, c, k, size, c, 1, shared=shared)
    return found


def _margins(d):
    """g and tiny of slack() in ch01_tiles.cu; inf: of so long a sum float32 says nothing."""
    error = (d + 16) * 2.0**-24
    return (np.float32(1.01 * error / (1 - error) if error < 0.5 else np.inf),
            np.float32(d * 2.0**-124))


def _lengths(X):
    out = cp.empty(len(X), cp.float32)                                 # (n,)
    _launch("lengths_f32", -(-len(X) // 8), X, out, *X.shape)
    return out


def _scores(Q, X):
    """Strips of queries with all their scores in float64: yields first, last, (queries, n)."""
    (q, d), n, strip = Q.shape, len(X), max(1, AT_ONCE // len(X))
    for first in range(0, q, strip):
        now = min(strip, q - first)
        S = cp.empty((now, n))                                         # (now, n)
        _launch(f"scores_f{8 * X.itemsize}", -(-now // SIDE) * -(-n // SIDE),
                Q[first:first + now], X, S, now, n, d)
        yield first, first + now, S


def _keys(Q, X, k):
    """The k best keys of each float32 query, on the device -> (q, k) uint64."""
    (q, d), n = Q.shape, len(X)
    found = cp.empty((q, k), cp.uint64)                                # (q, k)
    if k > TOP_K_LIMIT:
        for first, last, S in _scores(Q, X):
            keys = cp.empty(S.shape, cp.uint64)                        # (now, n)
            _launch("keys_of_scores", -(-S.size // BLOCK), S, keys, np.int64(S.size), n)
            found[first:last] = _merge_top_k(keys, k)
        return found
    size, (q_lengths, x_lengths) = _selector(k, COLUMNS)[0], map(_lengths, (Q, X))
    for first in range(0, q, QUERIES):
        now = min(QUERIES, q - first)
        tiles = -(-now // ROWS)
        splits = max(1, min(BLOCKS // tiles, n // max(1024, 8 * k)))
        part = -(-n // splits // COLUMNS) * COLUMNS
        splits = -(-n // part)
        work = cp.empty((tiles * splits, ROWS, size), cp.uint64)       # (blocks, ROWS, size)
        some = cp.empty((now, splits * k), cp.uint64)                  # (now, splits k)
        _launch("top_k_f32", tiles * splits, Q[first:first + now], X, q_lengths[first:first + now],
                x_lengths, work, some, now, n, d, k, size, part, splits, *_margins(d),
                shared=8 * size)
        found[first:first + now] = some if splits == 1 else _merge_top_k(some, k)
    return found


def _exact(Q, X, k):
    """The k best rows of each float64 query, not yet in order -> indices, scores (q, k)."""
    indices = cp.empty((len(Q), k), cp.int64)                          # (q, k)
    scores = cp.empty((len(Q), k))                                     # (q, k)
    places = cp.arange(len(X), dtype=cp.uint64) ^ LOW                  # (n,)  the lower the better
    for first, last, S in _scores(Q, X):
        bits = S.view(cp.int64)                                        # (now, n)
        order = cp.where(bits < 0, -(bits & SIZE), bits)               # (now, n)  -0.0 ties with 0
        keys = cp.where(cp.isnan(S), -SIZE, order).view(cp.uint64) ^ SIGN          # NaN comes last
        bar = _merge_top_k(keys, k)[:, k - 1:]                          # (now, 1)
        keys = cp.where(keys > bar, places | SIGN, places * (keys == bar))         # (now, n)
        indices[first:last] = ((_merge_top_k(keys, k) & LOW) ^ LOW).astype(cp.int64)
        scores[first:last] = cp.take_along_axis(S, indices[first:last], axis=1)
    return indices, scores


def _decode(keys):
    """Keys of ch01_top_k.cu on the host -> indices int64, scores float32, of the same shape."""
    s = (keys >> np.uint64(32)).astype(np.int64) - (2**31 - 1)
    bits = np.where(s < 0, 2**31 - s, s).astype(np.uint32)
    return ((keys & LOW) ^ LOW).astype(np.int64), bits.view(np.float32)


def _search(queries, X, k, proofs):
    dtype, k = np.result_type(queries.dtype, X.dtype), min(k, len(X))
    if not len(queries) * k:
        return tuple(np.empty((len(queries), k), t) for t in (np.int64, dtype))
    Q, X = _upload(queries, dtype), _upload(X, dtype)
    if dtype == np.float32:
        return _decode(*_download([_keys(Q, X, k)], proofs))
    indices, scores = _download(_exact(Q, X, k), proofs)               # by index, the best first
    order = np.argsort(-scores, axis=1, kind="stable")                 # (q, k)
    return tuple(np.take_along_axis(a, order, axis=1) for a in (indices, scores))


def _arguments(queries, X, k):
    proofs = []
    queries = _rows(queries, "queries", proofs)
    X = _rows(X, "X", proofs, queries.shape[1])
    if k < 1:
        raise ValueError(f"k: expected at least 1 neighbour, got {k}")
    return queries, X, k, proofs


def top_k(queries, X, k):
    return _search(*_arguments(queries, X, k))


def nearest(queries, X, k):
    queries, X, k, proofs = _arguments(queries, X, k)
    return _search(_unit_rows(queries, "queries", proofs), _unit_rows(X, "X", proofs), k, proofs)


def _assign(X, centroids, lengths):
    """Device arrays of one dtype -> labels (n,) int32, squared distances (n,), on the device."""
    (n, d), K = X.shape, len(centroids)
    labels, squared = cp.empty(n, cp.int32), cp.empty(n, X.dtype)      # (n,), (n,)
    if not n:
        return labels, squared
    if X.dtype == np.float64:
        _launch("assign_f64", -(-n // SIDE), X, centroids, labels, squared, n, K, d)
    else:
        _launch("assign_f32", -(-n // ROWS), X, centroids, lengths, _lengths(centroids), labels,
                squared.view(cp.int32), n, K, d, *_margins(d))
    return labels, squared


def kmeans_assign(X, centroids):
    proofs = []
    X = _rows(X, "X", proofs)
    centroids = _rows(centroids, "centroids", proofs, X.shape[1], least=1)
    dtype, own = np.result_type(X.dtype, centroids.dtype), X.dtype
    X = _upload(X, dtype)
    lengths = _lengths(X) if len(X) and dtype == np.float32 else None
    labels, squared = _assign(X, _upload(centroids, dtype), lengths)
    squared, labels = _download([squared, labels], proofs)             # 8-byte numbers first
    return labels.astype(np.int64), squared.astype(own)


def _sums(X, labels, K):
    """Sums (K, d) float64 and sizes (K,) float64 of the clusters, on the device."""
    n, d = X.shape
    keys = cp.sort(labels.astype(cp.int64) * n + cp.arange(n))         # (n,)  by label, then by row
    starts = cp.searchsorted(keys, cp.arange(K + 1) * n)               # (K + 1,)
    tiles = -(-d // 32)
    parts = max(1, min(BLOCKS // (K * tiles), n // (64 * K)))
    sums = cp.empty((parts, K, d))                                     # (parts, K, d)
    _launch(f"sums_f{8 * X.itemsize}", parts * K * tiles, X, keys % n, starts, sums, K, d, parts)
    return sums.sum(axis=0), cp.diff(starts).astype(cp.float64)


def _means(X, labels, sums, counts):
    """means_of; only an empty cluster asks for X and labels, from where they are."""
    if counts.all():
        return means_of(np.empty((0, X.shape[1]), X.dtype), None, sums, counts)
    host = (a.get() if isinstance(a, cp.ndarray) else a for a in (X, labels))     # sync: two
    return means_of(*host, sums, counts)


def kmeans_update(X, labels, K):
    proofs = []
    X = _rows(X, "X", proofs, least=max(K, 1))
    labels = as_labels(labels, "labels", K, len(X))
    sums, counts = _download(_sums(_upload(X, X.dtype), cp.asarray(labels), K), proofs)
    return _means(X, labels, sums, counts)


def kmeans(X, K, rng, max_iterations=100, tolerance=0.0, start=None):
    proofs, history = [], []
    X = _rows(X, "X", proofs, least=max(K, 1))
    device = _upload(X, X.dtype)                                       # (n, d)
    host = X.get() if start is None and isinstance(X, cp.ndarray) else X
    centroids = start_of(host, K, rng, start)                          # (K, d)
    lengths = _lengths(device) if X.dtype == np.float32 else None
    for _ in range(max_iterations):
        labels, squared = _assign(device, cp.asarray(centroids), lengths)
        sums, counts, inertia = _download(                  # sync: the stop test is the host's
            [*_sums(device, labels, K), squared.sum(dtype=cp.float64)], proofs)
        history.append(float(inertia))
        moved = _means(X, labels, sums, counts)    # sync: only if a cluster is empty
        shift = ((moved - centroids) ** 2).sum()
        centroids = moved
        if shift <= tolerance:
            break
    labels, squared = _assign(device, cp.asarray(centroids), lengths)
    squared, labels = _download([squared, labels], proofs)
    history.append(float(squared.sum(dtype=np.float64)))
    return centroids, labels.astype(np.int64), history[-1], history


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    d, K = 16 if scale < 10 else 64, min(20 * scale, 64)
    X = rng.standard_normal((2100 * scale, d)).astype(np.float32)      # (n, d)
    Q, wide = X[:8 * min(scale, 8)] + np.float32(0.5), X[:1000].astype(np.float64)
    labels = rng.integers(0, K, len(X))
    return {"top_k": (Q, X, 10), "top_k, large k": (Q[:3], X[:1100], TOP_K_LIMIT + 1),
            "top_k, float64": (Q[:3].astype(np.float64), wide, 3),
            "kmeans_assign": (X, X[:K]), "kmeans_assign, float64": (wide, wide[:K]),
            "kmeans_update": (X, labels, K), "kmeans_update, float64": (wide, labels[:1000], K)}
