"""CUDA twin of primer/ch08_negative_sampling.py: skip-gram and CBOW blocks, noise.

Idea    a warp takes a place: its lanes share a dot product, so each row is read 128 bytes at a
        time; the m (K + 1) factors rate dl/ds stay in shared memory, and then each lane does its
        coordinates of all rows by itself, without a barrier.
Threads places run side by side, also those whose windows overlap, and words are shared: rows
        change by atomic additions, and are read without waiting (Hogwild).  A place's own reads
        come before its own writes, but another warp's writes may come between: with rows that no
        two places share, the result is the reference's up to rounding; else it differs as the
        order of the steps does.
Cost    a place reads its m + K + 1 rows three times, mostly from the cache, and adds to each once:
        d = 100, m = 6, K = 5 is 14 KB read and 4.8 KB of atomics for 22,000 flops: bound by memory
        where the tables are larger than the L2 cache, by atomics on rows of frequent words else.
Limits  W, U float32; NumPy's are taken there and back by each call, CuPy's stay.  Fewer than 2^31
        places a block; most (K + 33) floats of shared memory a warp, 48 KB at the most, where
        most is twice the largest window, or K + 1 + d floats for CBOW.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch08_negative_sampling import check_block

MODULE = cp.RawModule(code=cuda_source("ch08_negative_sampling"), options=("-std=c++17",))
SHARED = 48 * 1024                    # bytes of a block


def _run(name, floats, last, W, U, tokens, starts, windows, rates, negatives):
    """floats: of shared memory a warp; last: the kernel's last argument; both of most, K, d."""
    host = W, U
    if isinstance(W, cp.ndarray):
        host = np.empty(W.shape, W.dtype), np.empty(U.shape, U.dtype)  # what is checked: shapes
    *_, tokens, starts, windows, rates, negatives = check_block(*host, tokens, starts, windows,
                                                                rates, negatives)
    if W.dtype != np.float32:
        raise ValueError(f"W: this twin takes float32, got {W.dtype}")
    T, K, d = len(tokens), negatives.shape[1], W.shape[1]
    if not T:
        return 0.0, 0
    longest = int(np.diff(starts).max())
    windows = np.minimum(windows, longest)
    most = max(1, int(2 * windows.max()))
    size = 4 * floats(most, K, d)
    warps = min(4, SHARED // size)
    if not warps:
        raise ValueError(f"windows: {size} bytes of shared memory for a place, more than {SHARED}; "
                         "take a smaller window, fewer negatives or dimensions")
    tables = [cp.asarray(X) for X in (W, U)]
    losses, counts = cp.empty(T, cp.float32), cp.empty(T, cp.int32)    # (T,), (T,)
    MODULE.get_function(name)((-(-T // warps),), (32 * warps,), (
        *tables, cp.asarray(tokens, cp.int32), cp.asarray(starts, cp.int64),
        cp.asarray(windows, cp.int32), cp.asarray(rates, cp.float32), cp.asarray(negatives),
        losses, counts, np.int32(T), np.int32(len(starts) - 1), np.int32(K), np.int32(d),
        np.int32(last(most))), shared_mem=warps * size)
    if isinstance(W, np.ndarray):
        W[:], U[:] = tables[0].get(), tables[1].get()
    return float(losses.sum(dtype=cp.float64)), int(counts.sum())


def skipgram_block(W, U, tokens, starts, windows, rates, negatives):
    return _run("skipgram_places", lambda most, K, d: most * (K + 33), lambda most: most, W, U,
                tokens, starts, windows, rates, negatives)


def cbow_block(W, U, tokens, starts, windows, rates, negatives):
    return _run("cbow_places", lambda most, K, d: K + 1 + d, lambda most: 0, W, U, tokens, starts,
                windows, rates, negatives)


def cbow_block_irsoy(W, U, tokens, starts, windows, rates, negatives):
    return _run("cbow_places", lambda most, K, d: K + 1 + d, lambda most: 1, W, U, tokens, starts,
                windows, rates, negatives)


def draw_noise(table, shape, rng):
    thresholds, aliases = (cp.asarray(x) for x in table)               # (V,), (V,)
    bits = cp.asarray(rng.integers(0, 2 ** 64, shape, np.uint64))
    out = cp.empty(bits.shape, cp.int32)
    if bits.size:
        MODULE.get_function("draw_words")((-(-bits.size // 256),), (256,), (
            thresholds, aliases, bits, out, np.int64(bits.size), np.int32(aliases.size)))
    return out.get()


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments.  Texts of
    three words, the middle one's rate above 0, and no word twice: no step touches another's."""
    T, K, d = 12 * scale, 4, 32 + 4 * min(scale, 17)
    words = rng.permutation(T * (K + 1)).astype(np.int32)              # (V,)
    W, U = (rng.standard_normal((len(words), d)).astype(np.float32) / 8 for _ in range(2))
    rates = np.where(np.arange(T) % 3 == 1, 0.5, 0).astype(np.float32)
    corpus = (W, U, words[:T], np.arange(0, T + 1, 3), np.full(T, 1), rates,
              words[T:].reshape(T, K))
    thresholds = rng.integers(0, 2 ** 32, 50, np.uint32)
    table = thresholds, rng.integers(0, 50, 50).astype(np.int32)
    return {f"{name}, negatives": corpus for name in
            ("skipgram_block", "cbow_block", "cbow_block_irsoy")} | {
        "draw_noise": (table, (64 * scale, K), np.random.default_rng(1))}
