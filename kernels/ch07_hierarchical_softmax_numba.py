"""Numba twin of primer/ch07_hierarchical_softmax.py: Huffman's merges, and blocks of training.

Idea    All predictions of a place go down one path.  Its rows of N, each times its turn's sign, and
        the neighbours' vectors are fetched once into local memory; there three small products give
        the scores and the steps of both sides, and each row of N and W is written once.  Sums of
        2 x 3 and 3 x 1 vectors of 16 numbers stay in registers.  In Numba's own words such a loop
        would store each sum at each turn, since LLVM must think that the arrays overlap: `_load`,
        `_fma`, `_total` and `_store` say it in LLVM's, which has such vectors on any machine.  In
        float32 e^-|s| is arithmetic that LLVM vectorises, right to 3e-6 of its size.  A row's loss
        is one logarithm, of the product of its 1 + e^-|s|.
Threads each has a run of the block's places and steps W and N without locks (Hogwild; Niu et al.
        2011, arXiv:1106.5730): a step may be lost where two meet, and the root is everybody's.
        One thread gives the same bits each time; with several they differ a little.
Limits  Local memory for a place's neighbours and its path: (4 c + 2 l) d numbers a thread.
"""
import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from kernels import in_threads
from primer.ch07_hierarchical_softmax import _in_order, check_block, check_counts, paths_from_root

LANES = 16
SUMS = {"reassoc", "contract"}        # sums in any order, but NaN and infinity as ever


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


class _Lanes(types.Type):
    """LANES numbers of one dtype, in registers."""

    def __init__(self, dtype):
        super().__init__(f"Lanes({dtype})")
        self.dtype = dtype


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        number = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(number, LANES))


def _place(context, builder, signature, arguments):
    """Where A[i, k:k + LANES] begins -> pointer to a vector, bytes of a number."""
    kind = signature.args[0]
    A = context.make_array(kind)(context, builder, arguments[0])
    at = [context.cast(builder, x, t, types.intp)
          for x, t in zip(arguments[1:3], signature.args[1:3], strict=True)]
    number = context.get_value_type(kind.dtype)
    pointer = cgutils.get_item_pointer(context, builder, kind, A, at)
    vector = ir.VectorType(number, LANES).as_pointer()
    return builder.bitcast(pointer, vector), kind.dtype.bitwidth // 8


@intrinsic
def _load(typing, A, i, k):
    """A[i, k:k + LANES]"""
    def generate(context, builder, signature, arguments):
        pointer, size = _place(context, builder, signature, arguments)
        vector = builder.load(pointer)
        vector.align = size
        return vector
    return _Lanes(A.dtype)(A, i, k), generate


@intrinsic
def _store(typing, A, i, k, v):
    """A[i, k:k + LANES] = v"""
    def generate(context, builder, signature, arguments):
        pointer, size = _place(context, builder, signature, arguments)
        builder.store(arguments[3], pointer).align = size
        return context.get_dummy_value()
    return types.void(A, i, k, v), generate


@intrinsic
def _fma(typing, x, v, w):
    """x v + w; x a number, or LANES of them as v and w"""
    def generate(context, builder, signature, arguments):
        x, v, w = arguments
        if not isinstance(signature.args[0], _Lanes):
            none = ir.Constant(v.type, ir.Undefined)
            first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            x = builder.insert_element(none, x, ir.IntType(32)(0))
            x = builder.shuffle_vector(x, none, first)
        return builder.fadd(builder.fmul(x, v, ("contract",)), w, ("contract",))
    return v(x if isinstance(x, _Lanes) else v.dtype, v, w), generate


@intrinsic
def _total(typing, v):
    """The sum of LANES numbers"""
    def generate(context, builder, signature, arguments):
        v, step = arguments[0], LANES // 2
        while step:                                  # halves onto halves
            half = ir.VectorType(ir.IntType(32), step)
            none = ir.Constant(v.type, ir.Undefined)
            low, high = (builder.shuffle_vector(v, none, ir.Constant(half, [*range(i, i + step)]))
                         for i in (0, step))
            v, step = builder.fadd(low, high), step // 2
        return builder.extract_element(v, ir.IntType(32)(0))
    return v.dtype(v), generate


@njit(cache=True, nogil=True)
def _scores(H, m, U, l, nothing, S, width):
    """S = H U^T, S[width j + i], for m and l rounded up to 2 and 3."""
    for j in range(0, m, 2):
        for i in range(0, l, 3):
            a = b = c = d = e = f = _load(nothing, 0, 0)
            for k in range(0, H.shape[1], LANES):
                x, y = _load(H, j, k), _load(H, j + 1, k)
                p, q, r = _load(U, i, k), _load(U, i + 1, k), _load(U, i + 2, k)
                a, b, c = _fma(x, p, a), _fma(x, q, b), _fma(x, r, c)
                d, e, f = _fma(y, p, d), _fma(y, q, e), _fma(y, r, f)
            at, below = width * j + i, width * (j + 1) + i
            S[at], S[at + 1], S[at + 2] = _total(a), _total(b), _total(c)
            S[below], S[below + 1], S[below + 2] = _total(d), _total(e), _total(f)


@njit(cache=True, fastmath=SUMS, nogil=True)
def _exponentials(S, n, E):
    """E = e^-|s|: float32 as (e^(-|s| / 32))^32 with Taylor's sum around -3/8, |s| <= 24."""
    if S.itemsize == 8:
        for i in range(n):
            E[i] = np.exp(-abs(S[i]))
        return
    most, part, middle = np.float32(24), np.float32(-1 / 32), np.float32(3 / 8)
    c0, c1, c2, c3 = np.float32(np.exp(-3 / 8)), np.float32(1), np.float32(1 / 2), np.float32(1 / 6)
    c4, c5, c6, c7 = (np.float32(1 / 24), np.float32(1 / 120), np.float32(1 / 720),
                      np.float32(1 / 5040))
    for i in range(n):
        x = np.float32(min(abs(S[i]), most)) * part + middle
        p = c3 + x * (c4 + x * (c5 + x * (c6 + x * c7)))
        p = c0 * (c1 + x * (c1 + x * (c2 + x * p)))
        p *= p
        p *= p
        p *= p
        p *= p
        E[i] = p * p


@njit(cache=True, fastmath=SUMS, nogil=True)
def _errors(S, m, l, width, rate, E):
    """(7.3), (7.4): S, scores times signs, becomes rate sigma(-s) -> sum of losses."""
    loss, one, zero = 0.0, S.dtype.type(1), S.dtype.type(0)
    _exponentials(S, m * width, E)
    for j in range(m):
        product, linear = 1.0, zero
        for i in range(width * j, width * j + l):
            linear += max(-S[i], zero)
            product *= one + E[i]
        loss += linear + np.log(product)
    for i in range(m * width):
        S[i] = rate * (E[i] if S[i] >= zero else one) / (one + E[i])
    return loss


@njit(cache=True, fastmath=SUMS, nogil=True)
def _combine(G, m, l, down, right, U, nothing, out):
    """out[j] = sum_i G[down j + right i] U[i], for m rounded up to 3."""
    for j in range(0, m, 3):
        for k in range(0, U.shape[1], LANES):
            a = b = c = _load(nothing, 0, 0)
            at = down * j
            for i in range(l):
                u = _load(U, i, k)
                a = _fma(G[at], u, a)
                b = _fma(G[at + down], u, b)
                c = _fma(G[at + 2 * down], u, c)
                at += right
            _store(out, j, k, a)
            _store(out, j + 1, k, b)
            _store(out, j + 2, k, c)


@njit(cache=True, fastmath=SUMS, nogil=True)
def _gather(X, rows, signs, n, out):
    """out[i] = signs[i] X[rows[i]]"""
    for i in range(n):
        row, sign, own = X[rows[i]], signs[i], out[i]
        for k in range(row.size):
            own[k] = sign * row[k]


@njit(cache=True, fastmath=SUMS, nogil=True)
def _scatter(X, rows, signs, n, steps, stride):
    """X[rows[i]] += signs[i] steps[stride i], as (7.6)"""
    for i in range(n):
        row, sign, own = X[rows[i]], signs[i], steps[stride * i]
        for k in range(row.size):
            row[k] += sign * own[k]


@njit(cache=True, nogil=True)
def _neighbours(tokens, first, t, stop, own):
    m = 0
    for j in range(first, stop):
        if j != t:
            own[m] = tokens[j]
            m += 1
    return m


@njit(cache=True, fastmath=SUMS, nogil=True)
def _run(mean, W, N, tokens, starts, windows, rates, indptr, nodes, turns, most, longest, first,
         stop):
    """Places first to stop: the mean of the neighbours predicts (CBOW), or each of them."""
    H = np.zeros((most + 4, (W.shape[1] + LANES - 1) // LANES * LANES), W.dtype)
    U = np.zeros((longest + 4, H.shape[1]), W.dtype)
    S = np.zeros(len(H) * len(U), W.dtype)
    E, dH, dU, nothing = np.zeros_like(S), np.zeros_like(H), np.zeros_like(U), np.zeros_like(H[:1])
    own, share, ones = np.zeros(most, np.int32), np.ones(most, W.dtype), np.ones(most, W.dtype)
    same, following = np.int64(0), np.int64(1)       # no literals: one type, one compilation
    total, predictions, document = 0.0, 0, np.searchsorted(starts, first, "right") - 1
    for t in range(first, stop):
        while starts[document + 1] <= t:
            document += 1
        m = _neighbours(tokens, max(t - windows[t], starts[document]), t,
                        min(t + windows[t] + 1, starts[document + 1]), own)
        if m == 0:
            continue
        n, X = m, H
        _gather(W, own, ones, m, H)
        if mean:
            for j in range(m):
                share[j] = 1 / m
            _combine(share, following, m, same, following, H, nothing, dH)
            n, X = 1, dH
        path = slice(indptr[tokens[t]], indptr[tokens[t] + 1])
        way, signs, l = nodes[path], turns[path], indptr[tokens[t] + 1] - indptr[tokens[t]]
        _gather(N, way, signs, l, U)
        width = (l + 2) // 3 * 3
        _scores(X, n, U, l, nothing, S, width)
        total += _errors(S, n, l, width, rates[t], E)
        _combine(S, l, n, following, width, X, nothing, dU)                # eq. 7.5
        _combine(S, n, l, width, following, U, nothing, dH)
        _scatter(W, own, share, m, dH, same if mean else following)
        _scatter(N, way, signs, l, dU, following)
        predictions += n
    return total, predictions


def _block(mean, W, N, tokens, starts, windows, rates, tree):
    tokens, starts, windows, rates = check_block(W, N, tokens, starts, windows, rates, tree)
    most = min(2 * windows.max(initial=1), np.diff(starts).max(initial=1) - 1)    # neighbours
    bounds = np.linspace(0, len(tokens), numba.get_num_threads() + 1).astype(np.int64)
    turns = (1 - 2 * tree.codes).astype(W.dtype)                       # 1 left, -1 right
    done = in_threads(lambda part: _run(
        mean, W, N, tokens, starts, windows, rates, tree.indptr, tree.nodes, turns, most,
        np.diff(tree.indptr).max(), *part), list(zip(bounds[:-1], bounds[1:], strict=True)))
    losses, predictions = zip(*done, strict=True)
    return float(sum(losses)), sum(predictions)


def skipgram_block(W, N, tokens, starts, windows, rates, tree):
    return _block(False, W, N, tokens, starts, windows, rates, tree)


def cbow_block(W, N, tokens, starts, windows, rates, tree):
    return _block(True, W, N, tokens, starts, windows, rates, tree)
