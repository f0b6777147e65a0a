"""Numba twin of primer/ch08_negative_sampling.py: skip-gram and CBOW blocks, thinning, noise.

Idea    All m predictions of a place share its K + 1 words, so a place is three small matrix
        products: scores in tiles of 2 x 2, whose rows are read once for four sums, then the rows
        of W and of U, each read and written once for six terms of its sum.  Only the rows of W are
        copied: when they are written, those of U are still old.  The rows of U that come two
        places later are asked for ahead (a prefetch): most of the time goes to waiting for
        memory.  Sigmoid and loss are chapter 7's.
Threads documents are shared out, about equally many words a thread.  Rows are written without
        locks (Hogwild): two threads that meet in a row may lose a part of one step, which is rare
        as words are many, and harmless.  One thread gives the same bits each time, the reference's
        up to rounding; more threads do not, and are as good.
Limits  W, U float32.  A thread holds m rows, and m (K + 1) scores.
"""
import functools

import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares, source_version
from kernels.ch07_hierarchical_softmax_numba import _ask, _descend, _sigmoids
from primer.ch08_negative_sampling import check_block

FAST = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}
PART = {**FAST, "cache": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
INLINE = {**PART, "inline": "always"}                    # calls of these would cost 6 %
F = np.float32
AHEAD = 2                             # places
NEVER = np.float32(-1e9)                       # the score of a word that does not count


@njit(**INLINE)
def _scores(A, m, B, words, width, S):
    """S[i, j] = <A[i], B[words[j]]>, flat; m and width even."""
    for i in range(0, m, 2):
        for j in range(0, width, 2):
            a, b = words[j], words[j + 1]
            s = t = u = v = A.dtype.type(0)
            for k in range(A.shape[1]):
                s += A[i, k] * B[a, k]
                t += A[i, k] * B[b, k]
                u += A[i + 1, k] * B[a, k]
                v += A[i + 1, k] * B[b, k]
            S[i * width + j], S[i * width + j + 1] = s, t
            S[i * width + width + j], S[i * width + width + j + 1] = u, v


@njit(**INLINE)
def _judge(S, G, m, even, width, words, rate):
    """Scores S (even, width), flat -> G, rate dl/ds (8.2), flat; returns the losses (8.1), added
    up.  Only m rows count, and words other than the first one: the others get 0."""
    zero, one = S.dtype.type(0), S.dtype.type(1)
    for j in range(1, width):
        if words[j] == words[0]:
            for i in range(m):
                S[i * width + j] = NEVER
    _sigmoids(S, G, m * width)
    total = 0.0
    for begin in range(0, m * width, 96):                # 2^-96 is still a number
        product, above = one, zero
        for e in range(begin, min(begin + 96, m * width)):
            product *= max(G[e], one - G[e])
            above += max(S[e], zero)
        total += above - np.log(product)
    for i in range(m):
        total -= S[i * width]                            # max(-s, 0) = max(s, 0) - s
        G[i * width] -= one
    for e in range(m * width):
        G[e] *= rate
    for j in range(1, width):
        if words[j] == words[0]:
            for i in range(m):
                G[i * width + j] = 0
    for e in range(m * width, even * width):
        G[e] = 0
    return total


@njit(**INLINE)
def _place(W, own, m, U, words, H, every, S, G, rate):
    """Rows own[:m] of W predict words[0] against the others, and all take their step; the last of
    an odd number of words fills up.  H, every, S, G: room.  Returns the losses, added up."""
    width, even, single = words.size, m + m % 2, np.int64(1)           # no literals: one type
    for i in range(m):
        w = own[i]
        for k in range(W.shape[1]):
            H[i, k] = W[w, k]
    _scores(H, even, U, words, width, S)                 # the row behind is old, and counts 0
    total = _judge(S, G, m, even, width, words, rate)
    _descend(W, own, m, U, words, width, G, width, single)
    _descend(U, words, width, H, every, even, G, single, width)
    return total


@njit(**PART)
def _room(most, negatives, like):
    """-> H, every, S, G of _place for up to `most` rows, even, and its words (K + 1, made even)."""
    width = negatives.shape[1] + 1
    width += width % 2
    H, S = np.zeros((most, like.shape[1]), like.dtype), np.zeros(most * width, like.dtype)
    return H, np.arange(most), S, np.zeros_like(S), np.empty(width, np.int64)


@njit(**INLINE)
def _words(U, tokens, negatives, t, words):
    """The centre and its negatives -> words, and an odd one filled up with the centre."""
    K = negatives.shape[1]
    words[0] = words[words.size - 1] = tokens[t]
    for j in range(K):
        words[j + 1] = negatives[t, j]
    if t + AHEAD < tokens.size:
        _ask(U, np.int64(tokens[t + AHEAD]))
        for j in range(K):
            _ask(U, np.int64(negatives[t + AHEAD, j]))


@njit(**PART)
def _neighbours(tokens, first, stop, t, window, own):
    """The words within the window of t -> own; how many."""
    m = 0
    for s in range(max(first, t - window), min(stop, t + window + 1)):
        if s != t:
            own[m] = tokens[s]
            m += 1
    return m


@njit(**PART)
def _skipgram(W, U, tokens, starts, windows, rates, negatives, most, begin, end):
    H, every, S, G, words = _room(most, negatives, W)
    own, total, count = every.copy(), 0.0, 0
    for document in range(begin, end):
        first, stop = starts[document], starts[document + 1]
        for t in range(first, stop):
            m = _neighbours(tokens, first, stop, t, windows[t], own)
            if m:
                _words(U, tokens, negatives, t, words)
                total += _place(W, own, m, U, words, H, every, S, G, rates[t])
                count += m
    return total, count


@njit(**PART)
def _cbow(divided, W, U, tokens, starts, windows, rates, negatives, most, begin, end):
    (H, every, S, G, words), single = _room(2, negatives, W), np.int64(1)
    X, share, own = np.zeros((2, W.shape[1]), F), np.empty(most, F), np.zeros(most, np.int64)
    total, count = 0.0, 0
    for document in range(begin, end):
        first, stop = starts[document], starts[document + 1]
        for t in range(first, stop):
            m = _neighbours(tokens, first, stop, t, windows[t], own)
            if m == 0:
                continue
            _words(U, tokens, negatives, t, words)
            for k in range(W.shape[1]):
                X[0, k] = 0
            for i in range(m):
                share[i] = F(-1) / F(m)
            share[m] = 0
            _descend(X, every, single, W, own, m + m % 2, share, single, single)  # the mean
            _scores(X, H.shape[0], U, words, words.size, S)
            total += _judge(S, G, single, single, words.size, words, rates[t])
            for k in range(W.shape[1]):
                H[0, k] = 0
            _descend(H, every, single, U, words, words.size, G, single, single)   # -rate dl/dh
            for j in range(words.size):
                w, g = words[j], G[j]
                for k in range(W.shape[1]):
                    U[w, k] -= g * X[0, k]
            g = F(1) / F(m) if divided else F(1)
            for k in range(W.shape[1]):
                H[0, k] *= g
            for i in range(m):
                w = own[i]
                for k in range(W.shape[1]):
                    W[w, k] += H[0, k]
            count += 1
    return total, count


@functools.cache
def _blocks():
    """Numba keeps compiled code by its file's age and by the values in a closure: by `version`,
    so it is compiled anew where chapter 7 has changed, whose functions are in it."""
    version = source_version("ch07_hierarchical_softmax_numba")

    @njit(**FAST)
    def skipgram(*arguments):
        return _skipgram(*arguments) if version else (0.0, 0)

    @njit(**FAST)
    def cbow(*arguments):
        return _cbow(*arguments) if version else (0.0, 0)
    return skipgram, cbow


def _run(kernel, W, U, tokens, starts, windows, rates, negatives):
    W, U, tokens, starts, windows, rates, negatives = check_block(
        W, U, tokens, starts, windows, rates, negatives)
    if W.dtype != F:
        raise ValueError(f"W: this twin takes float32, got {W.dtype}")
    if not tokens.size:
        return 0.0, 0
    longest = np.diff(starts).max()                                    # words of a document
    windows = np.minimum(windows, longest)
    most = int(2 * min(windows.max(), longest)) + 2
    bounds = shares(np.diff(starts), numba.get_num_threads())
    done = in_threads(lambda run: kernel(W, U, tokens, starts, windows, rates, negatives, most,
                                         *run), list(zip(bounds, bounds[1:], strict=False)))
    return float(sum(total for total, _ in done)), int(sum(count for _, count in done))


def skipgram_block(W, U, tokens, starts, windows, rates, negatives):
    return _run(_blocks()[0], W, U, tokens, starts, windows, rates, negatives)


def cbow_block(W, U, tokens, starts, windows, rates, negatives):
    cbow = _blocks()[1]
    return _run(lambda *a: cbow(False, *a), W, U, tokens, starts, windows, rates, negatives)


def cbow_block_irsoy(W, U, tokens, starts, windows, rates, negatives):
    cbow = _blocks()[1]
    return _run(lambda *a: cbow(True, *a), W, U, tokens, starts, windows, rates, negatives)


@njit(**FAST)
def _thin(tokens, starts, chances, keep, kept, bounds, places):
    n = 0
    for i in range(starts.size - 1):
        for t in range(starts[i], starts[i + 1]):
            if chances[t] < keep[tokens[t]]:
                kept[n] = tokens[t]
                places[n] = t
                n += 1
        bounds[i + 1] = n
    return n


def subsample(tokens, starts, keep, rng):
    kept, places = np.empty_like(tokens), np.empty(len(tokens), np.int64)         # (T,), (T,)
    bounds = np.zeros(len(starts), np.int64)                                      # (n + 1,)
    n = _thin(tokens, starts, rng.random(len(tokens), F), keep.astype(F), kept, bounds, places)
    return kept[:n], bounds, places[:n]


@njit(**FAST)
def _draw(thresholds, aliases, bits, out):
    V = np.uint64(aliases.size)
    for e in range(bits.size):
        column = ((bits[e] >> np.uint64(32)) * V) >> np.uint64(32)
        own = np.uint32(bits[e]) < thresholds[column]
        out[e] = np.int32(column) if own else aliases[column]


def draw_noise(table, shape, rng):
    bits, out = rng.integers(0, 2 ** 64, shape, np.uint64), np.empty(shape, np.int32)
    _draw(*table, bits.reshape(-1), out.reshape(-1))
    return out
