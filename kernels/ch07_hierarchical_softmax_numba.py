"""Numba twin of primer/ch07_hierarchical_softmax.py: Huffman's merges, and blocks of training.

Idea    All predictions of a place go down one path.  Its rows of N, each times its turn's sign, and
        the neighbours' vectors are fetched once into local memory; there three small products give
        the scores and the steps of both sides, and each row of N and W is written once.  Sums of
        3 x 16 numbers stay in registers: written in Numba's own terms such a loop would store each
        of them at each turn, since LLVM must think that the arrays overlap, so `_load`, `_fma` and
        `_store` say it in LLVM's, with vectors of 16 numbers on any machine.  In float32 e^-|s| is
        arithmetic that LLVM vectorises, right to 3e-6 of its size (word2vec.c's table: to 1e-2).
        A row's loss is one logarithm, of the product of its 1 + e^-|s|.
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
          for x, t in zip(arguments[1:3], signature.args[1:3])]
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
    """x v + w, of a number and two vectors"""
    def generate(context, builder, signature, arguments):
        x, v, w = arguments
        none = ir.Constant(v.type, ir.Undefined)
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
        x = builder.shuffle_vector(builder.insert_element(none, x, ir.IntType(32)(0)), none, first)
        return builder.fadd(builder.fmul(x, v, ("contract",)), w, ("contract",))
    return v(v.dtype, v, w), generate


@njit(cache=True, fastmath=SUMS, nogil=True)
def _scores(H, m, U, l, S, width):
    """S = H U^T, S[width j + i], for m and l rounded up to 2 and 4."""
    for j in range(0, m, 2):
        a, b = H[j], H[j + 1]
        for i in range(0, l, 4):
            p, q, r, s = U[i], U[i + 1], U[i + 2], U[i + 3]
            ap = aq = ar = as_ = bp = bq = br = bs = S.dtype.type(0)
            for k in range(a.size):
                ap += a[k] * p[k]
                aq += a[k] * q[k]
                ar += a[k] * r[k]
                as_ += a[k] * s[k]
                bp += b[k] * p[k]
                bq += b[k] * q[k]
                br += b[k] * r[k]
                bs += b[k] * s[k]
            at = width * j + i
            S[at], S[at + 1], S[at + 2], S[at + 3] = ap, aq, ar, as_
            at += width
            S[at], S[at + 1], S[at + 2], S[at + 3] = bp, bq, br, bs


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
def _copy(row, factor, out):
    for k in range(row.size):
        out[k] = factor * row[k]


@njit(cache=True, fastmath=SUMS, nogil=True)
def _add(row, factor, out):
    for k in range(out.size):
        out[k] += factor * row[k]


@njit(cache=True, fastmath=SUMS, nogil=True)
def _predict_step(H, m, N, nodes, codes, rate, U, S, E, nothing, dH, dU):
    """m rows of H predict the word at the end of a path; steps of N -> sum of losses, dH."""
    l, one = nodes.size, N.dtype.type(1)
    for i in range(l):
        _copy(N[nodes[i]], -one if codes[i] else one, U[i])
    width = (l + 3) // 4 * 4
    _scores(H, m, U, l, S, width)
    loss = _errors(S, m, l, width, rate, E)
    _combine(S, m, l, width, 1, U, nothing, dH)                        # eq. 7.5
    _combine(S, l, m, 1, width, H, nothing, dU)
    for i in range(l):
        _add(dU[i], -one if codes[i] else one, N[nodes[i]])            # eq. 7.6
    return loss


@njit(cache=True, fastmath=SUMS, nogil=True)
def _run(mean, W, N, tokens, starts, windows, rates, indptr, nodes, codes, most, longest, first,
         stop):
    """Places first to stop: the mean of the neighbours predicts (CBOW), or each of them."""
    d, one = W.shape[1], W.dtype.type(1)
    H = np.zeros((most + 4, (d + LANES - 1) // LANES * LANES), W.dtype)
    U = np.zeros((longest + 4, H.shape[1]), W.dtype)
    S = np.zeros(len(H) * len(U), W.dtype)
    E, dH, dU = np.zeros_like(S), np.zeros_like(H), np.zeros_like(U)
    nothing, own = np.zeros((1, LANES), W.dtype), np.zeros(most, np.int64)
    total, predictions, document = 0.0, 0, np.searchsorted(starts, first, "right") - 1
    for t in range(first, stop):
        while starts[document + 1] <= t:
            document += 1
        m = 0
        for j in range(max(t - windows[t], starts[document]),
                       min(t + windows[t] + 1, starts[document + 1])):
            if j != t:
                own[m] = tokens[j]
                m += 1
        if m == 0:
            continue
        n, share = (1, one / W.dtype.type(m)) if mean else (m, one)
        H[0] = 0
        for j in range(m):
            if mean:
                _add(W[own[j]], share, H[0, :d])
            else:
                _copy(W[own[j]], one, H[j])
        path = slice(indptr[tokens[t]], indptr[tokens[t] + 1])
        total += _predict_step(H, n, N, nodes[path], codes[path], rates[t], U, S, E, nothing, dH,
                               dU)
        for j in range(m):
            _add(dH[0 if mean else j], share, W[own[j]])
        predictions += n
    return total, predictions


def _block(mean, W, N, tokens, starts, windows, rates, tree):
    tokens, starts, windows, rates = check_block(W, N, tokens, starts, windows, rates, tree)
    most = min(2 * windows.max(initial=1), np.diff(starts).max(initial=1) - 1)    # neighbours
    bounds = np.linspace(0, len(tokens), numba.get_num_threads() + 1).astype(np.int64)
    done = in_threads(lambda part: _run(
        mean, W, N, tokens, starts, windows, rates, *tree, most, np.diff(tree.indptr).max(),
        *part), list(zip(bounds[:-1], bounds[1:], strict=True)))
    losses, predictions = zip(*done, strict=True)
    return float(sum(losses)), sum(predictions)


def skipgram_block(W, N, tokens, starts, windows, rates, tree):
    return _block(False, W, N, tokens, starts, windows, rates, tree)


def cbow_block(W, N, tokens, starts, windows, rates, tree):
    return _block(True, W, N, tokens, starts, windows, rates, tree)
