"""Numba twin of primer/ch07_hierarchical_softmax.py: Huffman's merges, and blocks of training.

Idea    All m predictions of a place go down one path of l nodes, so a place is three small matrix
        products: scores in tiles of 2 x 2, whose rows are read once for four sums, then the rows
        of W and of N, each read and written once for six terms of its sum.  Only the rows of W are
        copied: when they are written, those of N are still old.  Odd ones are filled up with a
        turn that is sure, and so has no loss and no step.  The rows that come two places later are
        asked for ahead (a prefetch): much of the time goes to waiting for memory.  In float32 the
        sigmoid is tanh's continued fraction, squared up: within 2e-7 of the exact one, and without
        table, branch or exp.  The loss takes a logarithm for 96 turns: ln(1 + e^-|s|) is
        -ln sigma(|s|), and the product of these is at hand.
Threads each has a run of the block's places and steps W and N without locks (Hogwild; Niu et al.
        2011, arXiv:1106.5730): a step may be lost where two meet, and the root is everybody's.
        One thread gives the same bits each time; with several they differ a little.
Limits  A thread holds m rows of W, and m l scores.
"""
import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels import in_threads
from primer.ch07_hierarchical_softmax import _in_order, check_block, check_counts, paths_from_root

FAST = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}
PART = {**FAST, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}    # compiles in less time
AHEAD = 2                             # places
SURE = 1e9                            # the score of a turn that only fills up

@njit(cache=True)
def _merge(weight, parents, turns):
    """(7.1): weight (2 V - 1,) has the words' counts, falling, and gets those of the nodes."""
    V = (weight.size + 1) // 2
    leaf, inner = V - 1, V
    for new in range(V, 2 * V - 1):
        for turn in range(2):
            if leaf >= 0 and (inner == new or weight[leaf] < weight[inner]):
                child = leaf
                leaf -= 1
            else:
                child = inner
                inner += 1
            weight[new] += weight[child]
            parents[child], turns[child] = new, turn


def merge_rarest(counts):
    V, order = len(counts), np.argsort(-counts, kind="stable")         # (V,)
    weight, parents, turns = np.zeros((3, 2 * V - 1), np.int64)
    weight[:V], parents[:] = counts[order], -1
    _merge(weight, parents, turns)
    return _in_order(order, parents), _in_order(order, turns)


def huffman_tree(counts):
    return paths_from_root(*merge_rarest(check_counts(counts)))


@intrinsic
def _prefetch(typing, X, row, column):
    """Ask for the cache line of X[row, column], and do not wait."""
    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = [context.cast(builder, a, t, types.intp)
                 for a, t in zip(arguments[1:], signature.args[1:], strict=True)]
        at = cgutils.get_item_pointer(context, builder, signature.args[0], array, place)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], ir.FunctionType(
            ir.VoidType(), [byte, number, number, number]))
        builder.call(ask, [builder.bitcast(at, byte), number(0), number(3), number(1)])
        return context.get_dummy_value()
    return types.void(X, row, column), generate


@njit(**PART)
def _ask(X, row):
    for k in range(0, X.shape[1], 16):                   # 64 bytes
        _prefetch(X, row, k)


@njit(**PART)
def _ask_ahead(W, N, tokens, windows, indptr, nodes, t, stop):
    """The path's rows of a coming place, and the one neighbour's that was none before."""
    t += AHEAD
    if t < stop:
        for j in range(indptr[tokens[t]], indptr[tokens[t] + 1]):
            _ask(N, np.int64(nodes[j]))
        _ask(W, np.int64(tokens[min(t + windows[t], stop - 1)]))


@njit(**PART)
def _sigmoids(S, G, n):
    """S (n,) -> G.  In float32, t = tanh(s / 4) = p / q, and sigma(s) = 1/2 + t / (1 + t^2)."""
    if S.itemsize == 8:
        for e in range(n):
            G[e] = 1 / (1 + np.exp(-S[e]))
        return
    F = np.float32
    for e in range(n):
        y = max(min(F(0.25) * S[e], F(4.2)), F(-4.2))    # beyond them it is 0 or 1
        z = y * y
        p = y * (F(135135) + z * (F(17325) + z * (F(378) + z)))
        q = F(135135) + z * (F(62370) + z * (F(3150) + z * F(28)))
        G[e] = F(0.5) + p * q / (p * p + q * q)


@njit(**PART)
def _judge(S, G, m, even, signs, l, width, rate):
    """Scores times signs S (even, width), flat -> G, rate dL/ds (7.4); returns the losses (7.3),
    added up.  Only m rows and l columns count; the others get 0."""
    for i in range(m):
        for j in range(l, width):
            S[i * width + j] = SURE
    _sigmoids(S, G, m * width)
    total, zero, one = 0.0, S.dtype.type(0), S.dtype.type(1)
    for begin in range(0, m * width, 96):                # 2^-96 is still a number
        product, linear = one, zero
        for e in range(begin, min(begin + 96, m * width)):
            product *= max(G[e], one - G[e])
            linear += max(-S[e], zero)
        total += linear - np.log(product)
    for i in range(m):
        for j in range(width):
            G[i * width + j] = rate * signs[j] * (G[i * width + j] - one)
    for e in range(m * width, even * width):
        G[e] = 0
    return total


@njit(**PART)
def _scores(A, m, B, words, signs, width, S):
    """S[i, j] = signs[j] <A[i], B[words[j]]>, flat; m and width even."""
    for i in range(0, m, 2):
        for j in range(0, width, 2):
            a, b = words[j], words[j + 1]
            s = t = u = v = A.dtype.type(0)
            for k in range(A.shape[1]):
                s += A[i, k] * B[a, k]
                t += A[i, k] * B[b, k]
                u += A[i + 1, k] * B[a, k]
                v += A[i + 1, k] * B[b, k]
            e, f, g = i * width + j, signs[j], signs[j + 1]
            S[e], S[e + 1], S[e + width], S[e + width + 1] = f * s, g * t, f * u, g * v


@njit(**PART)
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


@njit(**PART)
def _neighbours(W, tokens, first, t, stop, own, H):
    """The words from first to stop without t's -> own, their rows -> H; returns how many."""
    m = 0
    for s in range(first, stop):
        if s != t:
            own[m] = x = tokens[s]
            for k in range(W.shape[1]):
                H[m, k] = W[x, k]
            m += 1
    return m


@njit(**PART)
def _path(word, indptr, nodes, codes, way, signs):
    """Its nodes -> way, +1 for a turn to the left and -1 to the right -> signs; returns l."""
    begin, l = indptr[word], indptr[word + 1] - indptr[word]
    for j in range(l):
        way[j], signs[j] = nodes[begin + j], 1 - 2 * codes[begin + j]
    way[l], signs[l] = way[max(l - 1, 0)], 0             # an odd one is filled up
    return l


@njit(**FAST)
def _run(mean, W, N, tokens, starts, windows, rates, indptr, nodes, codes, most, longest, first,
         stop):
    """Places first to stop: the mean of the neighbours predicts (CBOW), or each of them."""
    d = W.shape[1]
    H, dH, every = np.zeros((most + 2, d), W.dtype), np.zeros((1, d), W.dtype), np.arange(most + 2)
    S = np.zeros((most + 2) * (longest + 1), W.dtype)
    G = np.zeros_like(S)
    own, way, signs = every.copy(), np.zeros(longest + 1, np.int64), np.zeros(longest + 1, W.dtype)
    single = np.int64(1)                                 # no literals: one type, one compilation
    total, predictions, document = 0.0, 0, np.searchsorted(starts, first, "right") - 1
    for t in range(first, stop):
        while starts[document + 1] <= t:
            document += 1
        m = _neighbours(W, tokens, max(t - windows[t], starts[document]), t,
                        min(t + windows[t] + 1, starts[document + 1]), own, H)
        if m == 0:
            continue
        n = 1 if mean else m
        if mean:
            for i in range(1, m):
                for k in range(d):
                    H[0, k] += H[i, k]
            for k in range(d):
                H[0, k] /= m
                dH[0, k] = 0
        l = _path(tokens[t], indptr, nodes, codes, way, signs)
        _ask_ahead(W, N, tokens, windows, indptr, nodes, t, stop)
        even, width = n + n % 2, l + l % 2
        _scores(H, even, N, way, signs, width, S)
        total += _judge(S, G, n, even, signs, l, width, rates[t])
        X, rows = (dH, every) if mean else (W, own)
        _descend(X, rows, n, N, way, width, G, width, single)
        if mean:                                         # all of it to each
            for i in range(m):
                x = own[i]
                for k in range(d):
                    W[x, k] += dH[0, k]
        _descend(N, way, l, H, every, even, G, single, width)
        predictions += n
    return total, predictions


def _block(mean, W, N, tokens, starts, windows, rates, tree):
    tokens, starts, windows, rates = check_block(W, N, tokens, starts, windows, rates, tree)
    most = min(2 * windows.max(initial=1), np.diff(starts).max(initial=1) - 1)    # neighbours
    bounds = np.linspace(0, len(tokens), numba.get_num_threads() + 1).astype(np.int64)
    done = in_threads(lambda part: _run(
        mean, W, N, tokens, starts, windows, rates, *tree, most,
        np.diff(tree.indptr).max(), *part), list(zip(bounds[:-1], bounds[1:], strict=True)))
    losses, predictions = zip(*done, strict=True)
    return float(sum(losses)), sum(predictions)


def skipgram_block(W, N, tokens, starts, windows, rates, tree):
    return _block(False, W, N, tokens, starts, windows, rates, tree)


def cbow_block(W, N, tokens, starts, windows, rates, tree):
    return _block(True, W, N, tokens, starts, windows, rates, tree)
