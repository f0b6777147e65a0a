"""Numba twin of primer/ch14_bert_attention.py, what its loops are made of: products, exp, maxima.

Idea    A tile of C, 4 rows by 2 vectors, stays in registers while k runs: for each k two loads of
        B, four of A, and 8 multiply-adds.  LLVM does not find that in loops, so it is written in
        LLVM's own words.  exp is a polynomial of degree 7, times 2^n by whole-number arithmetic:
        it goes by vectors, as math.exp does not.
Threads one: what calls these has threads.
Limits  float32 and float64 (exp is math.exp there).  Vectors are of 32 bytes, so AVX-512 does half
        of what it could.
"""
import functools
import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

PART = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
SUMS = {"reassoc", "contract"}        # sums in any order, but NaN and infinity as ever


def _at(builder, array, place, *steps):
    """The address array + place + the sum of x y over pairs in steps."""
    products = [builder.mul(x, y) for x, y in steps]
    return builder.gep(array, [functools.reduce(builder.add, products, place)])


def _pair(builder, vector, address):
    """Where two vectors begin that lie side by side."""
    pointer = builder.bitcast(address, vector.as_pointer())
    return [pointer, builder.gep(pointer, [ir.IntType(64)(1)])]


def _all_lanes(builder, vector, number):
    """A vector of a number."""
    nothing = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(nothing, number, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, nothing, lanes)


def _emit(context, builder, signature, arguments):
    """LLVM's words for _tile."""
    _, c, width, _, a, row, column, _, b, height, depth = arguments
    C, A, B = (context.make_array(signature.args[k])(context, builder, arguments[k]).data
               for k in (0, 3, 7))
    number, word = context.get_value_type(signature.args[0].dtype), c.type
    size = context.get_abi_sizeof(number)
    vector = ir.VectorType(number, 32 // size)
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3),
        f"llvm.fmuladd.v{vector.count}f{8 * size}")
    places = [p for i in range(4)
              for p in _pair(builder, vector, _at(builder, C, c, (width, word(i))))]
    tile = [cgutils.alloca_once_value(builder, builder.load(p, align=size)) for p in places]
    with cgutils.for_range(builder, depth, intp=word) as loop:
        start = _at(builder, B, b, (height, loop.index))
        pair = [builder.load(p, align=size) for p in _pair(builder, vector, start)]
        for i in range(4):
            one = builder.load(_at(builder, A, a, (row, word(i)), (column, loop.index)))
            same = _all_lanes(builder, vector, one)
            for register, two in zip(tile[2 * i:2 * i + 2], pair, strict=True):
                builder.store(builder.call(multiply_add, [same, two, builder.load(register)]),
                              register)
    for register, place in zip(tile, places, strict=True):
        builder.store(builder.load(register), place, align=size)
    return context.get_dummy_value()


@intrinsic
def _tile(typing, C, c, width, A, a, row, column, B, b, height, depth):
    """C[i, j] += sum_k A[i, k] B[k, j] for 4 rows and 2 vectors of 32 bytes of C, in registers.

    C, A, B: numbers; c, a, b: where the tile's first lie.  C's rows are `width` apart, B's
    `height`; A[i, k] is at a + i row + k column.
    """
    n = types.int64
    return types.void(C, n, n, A, n, n, n, B, n, n, n), _emit


def _exp(x):
    """exp(x) of x <= 0; float32: to rounding, down to exp(-87)."""
    return math.exp(x)


@overload(_exp, jit_options={"fastmath": {"contract"}})
def _overload_exp(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    def exp(x):
        x = np.float32(-87) if x < np.float32(-87) else x              # NaN stays
        shifted = x * np.float32(1.44269504) + np.float32(12582912)    # n + 3 2^22: n in its bits
        n = shifted - np.float32(12582912)
        r = (x - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)
        y = np.float32(1 / 720) + r * np.float32(1 / 5040)
        y = np.float32(1 / 24) + r * (np.float32(1 / 120) + r * y)
        y = np.float32(1) + r * (np.float32(1) + r * (np.float32(0.5) + r * (
            np.float32(1 / 6) + r * y)))
        bits = np.int32((np.float32(shifted).view(np.int32) + 127) << 23)     # of 2^n
        return y * np.int32(bits).view(np.float32)
    return exp


@njit(**PART)
def _product(C, width, A, row, column, B, height, m, n, depth):
    """C += A B: the first m rows (to fours) and n columns (to two vectors) of it."""
    step = 64 // C.itemsize
    for j in range(0, n, step):
        for i in range(0, m, 4):
            _tile(C, i * width + j, width, A, i * row, row, column, B, j, height, depth)


def _largest(row):
    """The largest number of a row, NaN above all."""


@overload(_largest)
def _overload_largest(row):
    """Numbers' bits are in order as whole numbers, negative ones turned round: a loop that needs
    no rule for NaN, and so goes by vectors."""
    single = row.dtype == types.float32
    number, word = (np.float32, np.int32) if single else (np.float64, np.int64)
    sign, rest, lowest = word(8 * word().itemsize - 1), np.iinfo(word).max, np.iinfo(word).min

    def largest(row):
        bits, most = row.view(word), word(lowest)
        for j in range(bits.size):
            most = max(most, word(bits[j] ^ word(word(bits[j] >> sign) & rest)))
        return word(most ^ word(word(most >> sign) & rest)).view(number)
    return largest


@njit(**PART, fastmath=SUMS)
def _exp_row(row, most):
    """row = exp(row - most) -> its sum.  Rows are slices: a loop over all of one has indices that
    cannot be negative, and goes by vectors."""
    total = most - most
    for j in range(row.size):
        row[j] = _exp(row[j] - most)
        total += row[j]
    return total


@njit(**PART, fastmath=SUMS)
def _exp_sum(row, most):
    """sum exp(row - most)."""
    total = most - most
    for j in range(row.size):
        total += _exp(row[j] - most)
    return total
