"""Numba twin of primer/ch08_negative_sampling.py: skip-gram and CBOW blocks, thinning, noise.

Idea    All m predictions of a place share its K + 1 words, so a place is three small matrix
        products: scores in tiles of 2 x 2, whose rows are read once for four sums, then the rows
        of W and of U, each read and written once for six terms of its sum.  Only the rows of W are
        copied: when they are written, those of U are still old.  The rows of U that come two
        places later are asked for ahead (a prefetch): most of the time goes to waiting for
        memory.  The sigmoid is tanh's continued fraction, squared up: it differs from the exact
        one by less than 2e-7, and has no table, branch or exp.  The loss takes one logarithm a
        place: ln(1 + exp(-|s|)) = -ln sig(|s|), and the product of all sig(|s|) is at hand.
Threads documents are shared out, about equally many words a thread.  Rows are written without
        locks (Hogwild): two threads that meet in a row may lose a part of one step, which is rare
        as words are many, and harmless.  One thread gives the same bits each time, the reference's
        up to rounding; more threads do not, and are as good.
Limits  W, U float32.  A thread holds m rows, and m (K + 1) scores.
"""
import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from kernels.ch07_hierarchical_softmax_numba import _prefetch
from primer.ch08_negative_sampling import check_block

FAST = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}
F = np.float32
AHEAD = 2                             # places
NEVER = np.float32(-1e9)                       # the score of a word that does not count


@njit(**FAST)
def _ask(X, row):
    for k in range(0, X.shape[1], 16):                   # 64 bytes
        _prefetch(X, row, k)


@njit(**FAST)
def _sigmoids(S, G, n):
    """S (n,) -> G.  With t = tanh(s / 4) = p / q, sig(s) = 1/2 + t / (1 + t^2)."""
    for e in range(n):
        y = max(min(F(0.25) * S[e], F(4.2)), F(-4.2))    # beyond them it is 0 or 1
        z = y * y
        p = y * (F(135135) + z * (F(17325) + z * (F(378) + z)))
        q = F(135135) + z * (F(62370) + z * (F(3150) + z * F(28)))
        G[e] = F(0.5) + p * q / (p * p + q * q)


@njit(**FAST)
def _judge(S, G, m, width, words, rate):
    """Scores S (m, width), flat -> G, rate dl/ds (8.2), flat; returns the losses (8.1), added up.
    Words that do not count, the first one's like, get 0."""
    for j in range(1, width):
        if words[j] == words[0]:
            for i in range(m):
                S[i * width + j] = NEVER
    _sigmoids(S, G, m * width)
    total = 0.0
    for begin in range(0, m * width, 96):                # 2^-96 is still a number
        product, above = F(1), F(0)
        for e in range(begin, min(begin + 96, m * width)):
            product *= max(G[e], F(1) - G[e])
            above += max(S[e], F(0))
        total += above - np.log(product)
    for i in range(m):
        total -= S[i * width]                            # max(-s, 0) = max(s, 0) - s
        G[i * width] -= F(1)
    for e in range(m * width):
        G[e] *= rate
    for j in range(1, width):
        if words[j] == words[0]:
            for i in range(m):
                G[i * width + j] = 0
    return total


@njit(**FAST)
def _scores(A, m, B, words, width, S):
    """S[i, j] = <A[i], B[words[j]]>, flat; m and width even."""
    for i in range(0, m, 2):
        for j in range(0, width, 2):
            a, b = words[j], words[j + 1]
            s = t = u = v = F(0)
            for k in range(A.shape[1]):
                s += A[i, k] * B[a, k]
                t += A[i, k] * B[b, k]
                u += A[i + 1, k] * B[a, k]
                v += A[i + 1, k] * B[b, k]
            S[i * width + j], S[i * width + j + 1] = s, t
            S[i * width + width + j], S[i * width + width + j + 1] = u, v


@njit(**FAST)
def _descend(X, rows, m, B, others, n, G, down, across):
    """X[rows[i]] -= sum over j < n of G[i down + j across] B[others[j]], for i < m; n even."""
    for i in range(m):
        x, j, e = rows[i], 0, i * down
        while j + 6 <= n:
            a, b, c = others[j], others[j + 1], others[j + 2]
            p, q, r = others[j + 3], others[j + 4], others[j + 5]
            f, g, h = G[e], G[e + across], G[e + 2 * across]
            u, v, w = G[e + 3 * across], G[e + 4 * across], G[e + 5 * across]
            for k in range(X.shape[1]):
                X[x, k] -= (f * B[a, k] + g * B[b, k] + h * B[c, k]
                            + u * B[p, k] + v * B[q, k] + w * B[r, k])
            j += 6
            e += 6 * across
        while j < n:
            a, b, f, g = others[j], others[j + 1], G[e], G[e + across]
            for k in range(X.shape[1]):
                X[x, k] -= f * B[a, k] + g * B[b, k]
            j += 2
            e += 2 * across


@njit(**FAST)
def _neighbours(tokens, first, stop, t, window, own):
    """The words within the window of t -> own; how many."""
    m = 0
    for s in range(max(first, t - window), min(stop, t + window + 1)):
        if s != t:
            own[m] = tokens[s]
            m += 1
    return m


@njit(**FAST)
def _words(U, tokens, negatives, t, words):
    """The centre and its negatives -> words, and an odd one filled up with the centre."""
    K = negatives.shape[1]
    words[0] = words[words.size - 1] = tokens[t]
    for j in range(K):
        words[j + 1] = negatives[t, j]
    if t + AHEAD < tokens.size:
        _ask(U, tokens[t + AHEAD])
        for j in range(K):
            _ask(U, negatives[t + AHEAD, j])


@njit(**FAST)
def _skipgram(W, U, tokens, starts, windows, rates, negatives, most, begin, end):
    width, d = negatives.shape[1] + 1, W.shape[1]
    width += width % 2
    H, every = np.zeros((most, d), F), np.arange(most)
    S, G = np.empty(most * width, F), np.empty(most * width, F)
    own, words = np.empty(most, np.int64), np.empty(width, np.int64)
    total, count = 0.0, 0
    for document in range(begin, end):
        first, stop = starts[document], starts[document + 1]
        for t in range(first, stop):
            m = _neighbours(tokens, first, stop, t, windows[t], own)
            if m == 0:
                continue
            _words(U, tokens, negatives, t, words)
            for i in range(m):
                w = own[i]
                for k in range(d):
                    H[i, k] = W[w, k]
            even = m + m % 2                             # the row behind is old, and counts 0
            _scores(H, even, U, words, width, S)
            total += _judge(S, G, m, width, words, rates[t])
            for j in range(m * width, even * width):
                G[j] = 0
            _descend(W, own, m, U, words, width, G, width, 1)
            _descend(U, words, negatives.shape[1] + 1, H, every, even, G, 1, width)
            count += m
    return total, count


@njit(**FAST)
def _cbow(divided, W, U, tokens, starts, windows, rates, negatives, most, begin, end):
    width, d = negatives.shape[1] + 1, W.shape[1]
    width += width % 2
    h, dh, share = np.zeros((2, d), F), np.zeros((1, d), F), np.empty(most, F)
    S, G = np.empty(2 * width, F), np.empty(2 * width, F)
    own, words, zero = np.zeros(most, np.int64), np.empty(width, np.int64), np.zeros(1, np.int64)
    total, count = 0.0, 0
    for document in range(begin, end):
        first, stop = starts[document], starts[document + 1]
        for t in range(first, stop):
            m = _neighbours(tokens, first, stop, t, windows[t], own)
            if m == 0:
                continue
            _words(U, tokens, negatives, t, words)
            for k in range(d):
                h[0, k] = dh[0, k] = 0
            for i in range(m):
                share[i] = F(-1) / F(m)
            share[m] = 0
            _descend(h, zero, 1, W, own, m + m % 2, share, 0, 1)                  # the mean
            _scores(h, 2, U, words, width, S)
            total += _judge(S, G, 1, width, words, rates[t])
            _descend(dh, zero, 1, U, words, width, G, 0, 1)                       # -rate dl/dh
            for j in range(negatives.shape[1] + 1):
                w, g = words[j], G[j]
                for k in range(d):
                    U[w, k] -= g * h[0, k]
            g = F(1) / F(m) if divided else F(1)
            for k in range(d):
                dh[0, k] *= g
            for i in range(m):
                w = own[i]
                for k in range(d):
                    W[w, k] += dh[0, k]
            count += 1
    return total, count


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
    return _run(_skipgram, W, U, tokens, starts, windows, rates, negatives)


def cbow_block(W, U, tokens, starts, windows, rates, negatives):
    return _run(lambda *a: _cbow(False, *a), W, U, tokens, starts, windows, rates, negatives)


def cbow_block_irsoy(W, U, tokens, starts, windows, rates, negatives):
    return _run(lambda *a: _cbow(True, *a), W, U, tokens, starts, windows, rates, negatives)


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
