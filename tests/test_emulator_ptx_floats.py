"""PTX, run as C++ on the CPU, rounds as IEEE 754 asks: arithmetic, conversions, NaN, functions.

Rows of CUDA C and their values in NumPy, as in test_emulator_ptx.py. -ftz=true, which CuPy always
gives, flushes denormal floats to zero, so the oracle does too.
"""
import functools
import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import needs
from hypothesis import given
from hypothesis import strategies as st
from ptx_tables import evaluate, kernel

from kernels import emulator

pytestmark = needs("emulated", "nvrtc")

ARCHS = ("70", "80", "90")
TINY = np.finfo(np.float32).tiny


def flush(x):
    """A denormal float becomes a zero of its sign."""
    return np.where(np.abs(x) < TINY, np.copysign(np.float32(0), x), x)


def fused(a, b, c):
    """a b + c with one rounding: the double sum is made odd where it lost bits."""
    product = a.astype(np.float64) * b                                             # exact
    total = product + c
    back = total - product
    lost = (product - (total - back)) + (c - back)
    even = total.view(np.int64) % 2 == 0
    odd = np.nextafter(total, np.copysign(np.inf, lost))
    return np.where(np.isfinite(total) & (lost != 0) & even, odd, total).astype(np.float32)


def lesser(a, b):
    return np.where(a == b, np.where(np.signbit(a), a, b), np.fmin(a, b))


def greater(a, b):
    return np.where(a == b, np.where(np.signbit(a), b, a), np.fmax(a, b))


FLOAT = {
    "a + b": lambda a, b, c: a + b, "a - b": lambda a, b, c: a - b,
    "a * b": lambda a, b, c: a * b, "a / b": lambda a, b, c: a / b, "-a": lambda a, b, c: -a,
    "__frcp_rn(a)": lambda a, b, c: np.float32(1) / a,
    "sqrtf(a)": lambda a, b, c: np.sqrt(a), "fabsf(a)": lambda a, b, c: np.abs(a),
    "fmaf(a, b, c)": fused,
    "__fadd_rn(__fmul_rn(a, b), c)": lambda a, b, c: flush(a * b) + c,
    "fminf(a, b)": lambda a, b, c: lesser(a, b), "fmaxf(a, b)": lambda a, b, c: greater(a, b),
    "floorf(a)": lambda a, b, c: np.floor(a), "ceilf(a)": lambda a, b, c: np.ceil(a),
    "truncf(a)": lambda a, b, c: np.trunc(a), "rintf(a)": lambda a, b, c: np.rint(a),
    "__saturatef(a)": lambda a, b, c: np.where(a > 0, np.minimum(a, 1), 0),
    "(float)((double)a * b + c)": lambda a, b, c: a.astype(float) * b + c,
    "(a < b) + 2.f * (a <= b) + 4.f * (a == b)":
        lambda a, b, c: 1. * (a < b) + 2 * (a <= b) + 4 * (a == b),
    "(a > b) + 2.f * (a >= b) + 4.f * (a != b)":
        lambda a, b, c: 1. * (a > b) + 2 * (a >= b) + 4 * (a != b),
    "!(a < b) + 2.f * !(a <= b) + 4.f * !(a == b)":
        lambda a, b, c: 1. * ~(a < b) + 2 * ~(a <= b) + 4 * ~(a == b),
    "isnan(a) + 2.f * isinf(a) + 4.f * (a == a && b == b)":
        lambda a, b, c: 1. * np.isnan(a) + 2 * np.isinf(a) + 4 * ((a == a) & (b == b)),
}
CONTRACTED = {"a * b + c": fused}           # alone: another use of a * b would prevent it
COMPARED = {f"compare_{word}(a, b)": function for word, function in {
    "eq": lambda a, b: a == b, "ne": lambda a, b: (a < b) | (a > b), "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "equ": lambda a, b: ~((a < b) | (a > b)), "neu": lambda a, b: ~(a == b),
    "ltu": lambda a, b: ~(a >= b), "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b), "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    "nan": lambda a, b: np.isnan(a) | np.isnan(b)}.items()}
FLOAT_BITS = {
    "__float_as_int(a)": lambda a, b, c: a.view(np.int32),
    "__float_as_int(__int_as_float(__float_as_int(a) ^ 1))":
        lambda a, b, c: a.view(np.int32) ^ 1,
    "__float_as_int(copysignf(a, b))": lambda a, b, c: np.copysign(a, b).view(np.int32),
    "__float_as_int(a < b ? c : a)":
        lambda a, b, c: np.where(flush(a) < flush(b), c, a).view(np.int32),
}
DOUBLE = {
    "a + b": lambda a, b, c: a + b, "a - b": lambda a, b, c: a - b,
    "a * b": lambda a, b, c: a * b, "a / b": lambda a, b, c: a / b,
    "sqrt(fabs(a))": lambda a, b, c: math.sqrt(abs(a)),
    "fma(a, b, c)": lambda a, b, c: float(Fraction(a) * Fraction(b) + Fraction(c)),
    "floor(a)": lambda a, b, c: float(math.floor(a)), "rint(a)": lambda a, b, c: float(round(a)),
    "fmin(a, b)": lambda a, b, c: min(a, b), "a < b": lambda a, b, c: float(a < b),
    "(float)a": lambda a, b, c: towards(a, None), "__double2float_rz(a)":
        lambda a, b, c: towards(a, 0), "__double2float_ru(a)": lambda a, b, c: towards(a, np.inf),
}


def towards(x, where):
    """The float next to a number in a direction (None: the nearest) -> as a Python float."""
    near = np.float32(x)
    if where is None or float(near) == x:
        return float(near)
    beyond = abs(float(near)) > abs(x) if where == 0 else (float(near) > x) == (where < 0)
    wanted = np.float32(where)
    return float(np.nextafter(near, wanted) if beyond else near)


DIRECTED = {f"__f{name}_r{letter}({code})":
            lambda a, b, c, f=f, to=to: towards(f(float(a), float(b), float(c)), to)
            for letter, to in (("z", 0), ("d", -np.inf), ("u", np.inf))
            for name, code, f in (("add", "a, b", lambda a, b, c: a + b),
                                  ("mul", "a, b", lambda a, b, c: a * b),
                                  ("div", "a, b", lambda a, b, c: a / b),
                                  ("sqrt", "fabsf(a)", lambda a, b, c: math.sqrt(abs(a))),
                                  ("rcp", "a", lambda a, b, c: 1 / a))}
TO_INTEGER = {f"(long long)__{source}2{kind}_r{letter}(a)": (how, width, signed)
              for source in ("float", "double")
              for kind, width, signed in (("int", 32, 1), ("uint", 32, 0), ("ll", 64, 1),
                                          ("ull", 64, 0))
              for letter, how in (("n", round), ("z", math.trunc), ("d", math.floor),
                                  ("u", math.ceil))}
FROM_INTEGER = {f"__{kind}2float_r{letter}(({word})a)": (width, signed, to)
                for kind, word, width, signed in (
                    ("int", "int", 32, 1), ("uint", "unsigned", 32, 0),
                    ("ll", "long long", 64, 1), ("ull", "unsigned long long", 64, 0))
                for letter, to in (("n", None), ("z", 0), ("d", -np.inf), ("u", np.inf))}
NEAR = {                                    # within a few units of the last place
    "expf(a)": np.exp, "exp2f(a)": np.exp2, "expm1f(a)": np.expm1, "tanhf(a)": np.tanh,
    "sinf(a)": np.sin, "cosf(a)": np.cos, "erff(a)": np.vectorize(math.erf),
    "logf(fabsf(a))": lambda a: np.log(abs(a)), "log2f(fabsf(a))": lambda a: np.log2(abs(a)),
    "log1pf(fabsf(a))": lambda a: np.log1p(abs(a)), "rsqrtf(fabsf(a))": lambda a: abs(a)**-.5,
    "powf(fabsf(a), 2.3f)": lambda a: abs(a)**np.float64(np.float32(2.3)),
    "sinf(a * 1e9f)": lambda a: np.sin(np.float64(np.float32(a) * np.float32(1e9))),
    "__expf(a)": np.exp, "__fdividef(1.f, a)": lambda a: 1 / a,
}
NEAR_DOUBLE = {
    "exp(a)": np.exp, "log(fabs(a))": lambda a: np.log(abs(a)), "tanh(a)": np.tanh,
    "sin(a)": np.sin, "sin(a * 1e15)": lambda a: np.sin(a * 1e15),  # sums of several words
    "pow(fabs(a), 2.3)": lambda a: abs(a)**2.3, "erf(a)": np.vectorize(math.erf),
    "rsqrt(fabs(a))": lambda a: abs(a)**-.5, "cbrt(a)": np.cbrt,
}


def comparison(word):
    """CUDA C of one comparison, and 2 more if it and a != 0 hold, 4 if it fails and a != 0."""
    return f"""
__device__ int compare_{word}(float a, float b)
{{
  int out;
  asm("{{.reg .pred p, q, r, s; .reg .b32 x, y;"
      "setp.neu.ftz.f32 s, %1, 0f00000000;"
      "setp.{word}.ftz.f32 p, %1, %2; setp.{word}.and.ftz.f32 q|r, %1, %2, s;"
      "selp.b32 %0, 1, 0, p; selp.b32 x, 2, 0, q; selp.b32 y, 4, 0, r; @q add.s32 %0, %0, x;"
      "@!q add.s32 %0, %0, y;}}" : "=r"(out) : "f"(a), "f"(b));
  return out;
}}
"""


@functools.cache
def module(arch):
    """All tables of this file, compiled once an architecture."""
    words = [code[8:].split("(")[0] for code in COMPARED]
    return emulator.Module("".join(map(comparison, words)) + "".join((
        kernel("contracted", "float", "float", CONTRACTED),
        kernel("compared", "float", "int", COMPARED),
        kernel("floats", "float", "float", FLOAT), kernel("words", "float", "int", FLOAT_BITS),
        kernel("doubles", "double", "double", DOUBLE),
        kernel("directed", "float", "float", DIRECTED),
        kernel("to_integer", "double", "long long", TO_INTEGER),
        kernel("from_integer", "long long", "float", FROM_INTEGER),
        kernel("near", "float", "float", NEAR),
        kernel("near_double", "double", "double", NEAR_DOUBLE))), "ptx", arch)


def floats(*arrays):
    return [np.array(a, np.uint32).view(np.float32) for a in zip(*arrays, strict=True)]


near_one = st.integers(0x3E000000, 0x41FFFFFF)          # an eighth to 32: sums that round
word = near_one | near_one.map(lambda x: x | 1 << 31) | st.integers(0, 2**32 - 1) | (
    st.sampled_from([                                               # zeros, one, denormal, huge,
        0, 1 << 31, 0x3F800000, 0xBF800000, 1, 0x7FFFFF, 0x800000, 0x80000001, 0x7F7FFFFF,
        0x7F800000, 0xFF800000, 0x7FC00000, 0x3F000000, 0x4B000001]))   # infinite, NaN, half, odd
triples = st.lists(st.tuples(word, word, word), min_size=1, max_size=40)
moderate = st.floats(2**-10, 2**10, width=32).flatmap(lambda x: st.sampled_from([x, -x]))


@pytest.mark.parametrize("arch", ARCHS)
@given(triples)
def test_floats_round_once_and_flush(arch, words):
    columns = floats(*words)
    got = evaluate(module(arch), "floats", columns, np.float32, FLOAT)             # (rows, n)
    with np.errstate(all="ignore"):
        for k, (code, function) in enumerate(FLOAT.items()):
            want = flush(np.asarray(function(*map(flush, columns))).astype(np.float32))
            near_flush = (np.abs(want) == TINY) & (got[k] == 0)     # rounded up to the border
            same = (got[k].view(np.int32) == want.view(np.int32)) | (
                np.isnan(got[k]) & np.isnan(want)) | near_flush
            assert same.all(), f"{code} of {[x[~same] for x in columns]}: {got[k][~same]}, " \
                               f"wanted {want[~same]}"
    bits = evaluate(module(arch), "words", columns, np.int32, FLOAT_BITS)
    for k, function in enumerate(FLOAT_BITS.values()):
        assert np.array_equal(bits[k], function(*columns))          # moves change no bit
    truths = evaluate(module(arch), "compared", columns, np.int32, COMPARED)
    a, b = map(flush, columns[:2])
    for k, (code, function) in enumerate(COMPARED.items()):
        holds, some = function(a, b), a != 0
        assert np.array_equal(truths[k], holds + np.where(some, np.where(holds, 2, 4), 0)), code


def test_a_contracted_sum_rounds_once():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 1000)).astype(np.float32)                     # (n,)
    once, = evaluate(module("80"), "contracted", (a, b, c), np.float32, CONTRACTED)
    assert np.array_equal(once, fused(a, b, c))                     # so NVRTC did fuse
    assert (once != a * b + c).mean() > 0.1


@given(st.lists(st.tuples(*[st.floats(-1e60, 1e60, allow_subnormal=False).filter(
    lambda x: x == 0 or abs(x) > 1e-60)] * 3), min_size=1, max_size=30))
def test_doubles_are_exact(values):
    values = [(a or 1.0, b or 2.0, c) for a, b, c in values]
    columns = [np.array(x) for x in zip(*values, strict=True)]
    got = evaluate(module("80"), "doubles", columns, np.float64, DOUBLE)
    with np.errstate(all="ignore"):
        for k, (code, function) in enumerate(DOUBLE.items()):
            for i, row in enumerate(values):
                want = function(*row)
                assert got[k, i] == want or 0 < abs(want) < 2.3e-38, f"{code} of {row}"


@given(st.lists(st.tuples(moderate, moderate), min_size=1, max_size=30))
def test_roundings_towards_zero_down_and_up(values):
    values = [(a, b, 1.0) for a, b in values]
    columns = [np.array(x, np.float32) for x in zip(*values, strict=True)]
    got = evaluate(module("80"), "directed", columns, np.float32, DIRECTED)
    for k, (code, function) in enumerate(DIRECTED.items()):
        for i, row in enumerate(values):
            assert got[k, i] == np.float32(function(*row)), f"{code} of {row}: {got[k, i]!r}"


@given(st.lists(st.floats(-2.**64, 2.**64, width=32) | moderate | st.sampled_from(
    [.5, 1.5, 2.5, -.5, -1.5, 2.**31, -2.**31, 2.**32, 2.**63, -2.**63, 2.**64, np.inf, -np.inf,
     np.nan]), min_size=1, max_size=30))
def test_floats_to_integers_saturate(values):
    a = np.array(values)                                                            # (n,)
    got = evaluate(module("80"), "to_integer", (a, a, a), np.int64, TO_INTEGER)
    for k, (code, (how, width, signed)) in enumerate(TO_INTEGER.items()):
        low, high = (-2**(width - 1), 2**(width - 1) - 1) if signed else (0, 2**width - 1)
        for i, x in enumerate(a):
            if np.isnan(x):
                want = 0 if "float2" in code and width == 32 else (-1)**signed * 2**(width - 1)
            elif np.isinf(x):
                want = high if x > 0 else low
            else:
                x = float(flush(np.float32(x))) if "float2" in code else float(x)
                want = min(max(how(Fraction(x)), low), high)
            assert int(got[k, i]) % 2**64 == want % 2**64, f"{code} of {x}: {got[k, i]}"


@given(st.lists(st.integers(-2**63, 2**63 - 1) | st.integers(-2**33, 2**33), min_size=1,
                max_size=30))
def test_integers_to_floats(values):
    a = np.array(values, np.int64)                                                  # (n,)
    got = evaluate(module("80"), "from_integer", (a, a, a), np.float32, FROM_INTEGER)
    for k, (code, (width, signed, to)) in enumerate(FROM_INTEGER.items()):
        for i, x in enumerate(values):
            x = x % 2**width
            x -= 2**width * (signed and x >> width - 1)
            assert float(got[k, i]) == nearest(x, to), f"{code} of {x}: {got[k, i]}"


def nearest(x, to):
    """An integer as a float of 24 bits, rounded in a direction (None: nearest, ties to even)."""
    shift = max(abs(x).bit_length() - 24, 0)
    how = {None: round, 0: math.trunc, -np.inf: math.floor, np.inf: math.ceil}[to]
    return float(how(Fraction(x, 2**shift)) * 2**shift)


@pytest.mark.parametrize("name, table, kind, rtol", [
    ("near", NEAR, np.float32, 8e-7), ("near_double", NEAR_DOUBLE, np.float64, 4e-15)])
@pytest.mark.parametrize("arch", ARCHS)
def test_functions(arch, name, table, kind, rtol):
    a = np.concatenate([np.linspace(-9, 9, 150), np.geomspace(1e-5, 9, 50)]).astype(kind)   # (n,)
    got = evaluate(module(arch), name, (a, a, a), kind, table)
    for k, (code, function) in enumerate(table.items()):
        np.testing.assert_allclose(got[k], function(a.astype(np.float64)), rtol=rtol, atol=rtol,
                                   err_msg=code)
