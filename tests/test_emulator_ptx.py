"""PTX, run as C++ on the CPU, computes what Python's exact integers compute.

Each table has a row for an expression: its CUDA C, and its value in Python. A table becomes one
kernel, whose threads write a row of results each; NVRTC compiles it, and the emulator runs the
PTX. Hypothesis chooses the bits that go in.
"""
import functools

import numpy as np
import pytest
from conftest import needs
from hypothesis import given
from hypothesis import strategies as st
from ptx_tables import assembly, evaluate, kernel

from kernels import emulator

pytestmark = needs("emulated", "nvrtc")

ARCHS = ("70", "80", "90")
ASSEMBLY = {                               # instructions that CUDA C has no word for
    "shl": ("shl.b32", 2), "shr": ("shr.u32", 2), "sar": ("shr.s32", 2), "prmt": ("prmt.b32", 3),
    "bfe": ("bfe.s32", 3), "bfeu": ("bfe.u32", 3), "bfi": ("bfi.b32", 4),
    "bfind": ("bfind.s32", 1), "bfindu": ("bfind.u32", 1)}


def bits_of(x, width):
    """An integer's low bits, the lowest first."""
    return [x >> i & 1 for i in range(width)]


def number(bits):
    return sum(bit << i for i, bit in enumerate(bits))


def extract(x, pos, length, width, signed):
    """Bit field extract, bit by bit."""
    bits, pos, length = bits_of(x, width), pos & 255, length & 255
    sign = bits[min(pos + length - 1, width - 1)] if signed and length else 0
    return number([bits[pos + i] if i < length and pos + i < width else sign
                   for i in range(width)])


def deposit(x, into, pos, length, width=32):
    """Bit field insert, bit by bit."""
    out, bits, pos, length = bits_of(into, width), bits_of(x, width), pos & 255, length & 255
    for i in range(length):
        if pos + i < width:
            out[pos + i] = bits[i]
    return number(out)


def permute(a, b, selector):
    """prmt: four of eight bytes; bit 3 of a selector asks for the byte's sign eight times."""
    both = (a % 2**32 | b % 2**32 << 32).to_bytes(8, "little")
    out = []
    for i in range(4):
        pick = selector >> 4 * i & 15
        byte = both[pick & 7]
        out.append(255 * (byte >> 7) if pick & 8 else byte)
    return int.from_bytes(bytes(out), "little")


def signed(x, width):
    x %= 2**width
    return x - 2**width if x >> width - 1 else x


def quotient(a, b):
    """Division that cuts towards zero, as C does and Python does not."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0


def bytes_of(x):
    return [signed(x >> s, 8) for s in (0, 8, 16, 24)]


def leading(x, width):
    return width - (x % 2**width).bit_length()


def table_of_integers(width, suffix):
    """Rows for int or long long: CUDA C -> value as an integer of any size (cut to `width`)."""
    size = width - 1
    return {
        "a + b": lambda a, b, c: a + b, "a - b": lambda a, b, c: a - b,
        "a * b": lambda a, b, c: a * b, "a * b + c": lambda a, b, c: a * b + c,
        "-a": lambda a, b, c: -a, "~a": lambda a, b, c: ~a,
        "b > 0 ? a / b : 0": lambda a, b, c: quotient(a, b) if b > 0 else 0,
        "b > 0 ? a % b : 0": lambda a, b, c: a - b * quotient(a, b) if b > 0 else 0,
        "a / 7": lambda a, b, c: quotient(a, 7), "a % 10": lambda a, b, c: a - 10 * quotient(a, 10),
        "min(a, b)": lambda a, b, c: min(a, b), "max(a, b)": lambda a, b, c: max(a, b),
        "a & b | c": lambda a, b, c: a & b | c, "a ^ b ^ c": lambda a, b, c: a ^ b ^ c,
        "(a & b) | (b & c) | (a & c)": lambda a, b, c: (a & b) | (b & c) | (a & c),
        f"a << (b & {size})": lambda a, b, c: a << (b & size),
        f"a >> (b & {size})": lambda a, b, c: a >> (b & size),
        "a < b ? c : a": lambda a, b, c: c if a < b else a,
        "(a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * (a != b)":
            lambda a, b, c: (a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * (a != b),
        "a && b || !c": lambda a, b, c: bool(a and b or not c),
        "(a < b) != (b < c)": lambda a, b, c: (a < b) != (b < c),
        f"__popc{suffix}(a)": lambda a, b, c: (a % 2**width).bit_count(),
        f"__clz{suffix}(a)": lambda a, b, c: leading(a, width),
        f"__ffs{suffix}(a)": lambda a, b, c: (a & -a).bit_length(),
        f"__brev{suffix}(a)": lambda a, b, c: number(bits_of(a, width)[::-1]),
        "(signed char)a + (short)b": lambda a, b, c: signed(a, 8) + signed(b, 16),
        "(unsigned char)a * (unsigned short)b": lambda a, b, c: a % 2**8 * (b % 2**16),
        "(short)((short)a * (short)b)": lambda a, b, c: signed(signed(a, 16) * signed(b, 16), 16),
    }


INT = table_of_integers(32, "") | {
    "(unsigned)a / ((unsigned)b | 1)": lambda a, b, c: a % 2**32 // (b % 2**32 | 1),
    "(unsigned)a % ((unsigned)b | 1)": lambda a, b, c: a % 2**32 % (b % 2**32 | 1),
    "(unsigned)a >> (b & 31)": lambda a, b, c: a % 2**32 >> (b & 31),
    "(unsigned)a < (unsigned)b": lambda a, b, c: a % 2**32 < b % 2**32,
    "max((unsigned)a, (unsigned)b)": lambda a, b, c: max(a % 2**32, b % 2**32),
    "abs(a)": lambda a, b, c: abs(a),
    "__mulhi(a, b)": lambda a, b, c: a * b >> 32,
    "__umulhi(a, b)": lambda a, b, c: (a % 2**32) * (b % 2**32) >> 32,
    "__mulhi(a, b) + c": lambda a, b, c: (a * b >> 32) + c,
    "((long long)a * b + c) >> 7": lambda a, b, c: a * b + c >> 7,
    "((unsigned long long)(unsigned)a * (unsigned)b) >> 9":
        lambda a, b, c: (a % 2**32) * (b % 2**32) >> 9,
    "__sad(a, b, c)": lambda a, b, c: abs(a - b) + c,
    "__usad(a, b, c)": lambda a, b, c: abs(a % 2**32 - b % 2**32) + c,
    "__byte_perm(a, b, c)": lambda a, b, c: permute(a, b, c & 0x7777),
    "__dp4a(a, b, c)": lambda a, b, c: sum(map(int.__mul__, bytes_of(a), bytes_of(b))) + c,
    "__dp4a((unsigned)a, (unsigned)b, (unsigned)c)": lambda a, b, c: sum(
        x % 256 * (y % 256) for x, y in zip(bytes_of(a), bytes_of(b), strict=True)) + c,
    "__funnelshift_l(a, b, c)": lambda a, b, c: (b << 32 | a % 2**32) << c % 32 >> 32,
    "__funnelshift_r(a, b, c)": lambda a, b, c: (b << 32 | a % 2**32) >> c % 32,
    "__funnelshift_lc(a, b, c)":
        lambda a, b, c: (b << 32 | a % 2**32) << min(c % 2**32, 32) >> 32,
    "__funnelshift_rc(a, b, c)": lambda a, b, c: (b << 32 | a % 2**32) >> min(c % 2**32, 32),
    "shl(a, b)": lambda a, b, c: a << min(b % 2**32, 32),
    "shr(a, b)": lambda a, b, c: a % 2**32 >> min(b % 2**32, 32),
    "sar(a, b)": lambda a, b, c: a >> min(b % 2**32, 32),
    "bfe(a, b, c)": lambda a, b, c: extract(a, b, c, 32, True),
    "bfeu(a, b, c)": lambda a, b, c: extract(a, b, c, 32, False),
    "bfi(a, b, c, c >> 8)": lambda a, b, c: deposit(a, b, c, c >> 8),
    "bfind(a)": lambda a, b, c: (a ^ a >> 31).bit_length() - 1,
    "bfindu(a)": lambda a, b, c: (a % 2**32).bit_length() - 1,
    "prmt(a, b, c)": permute,
}
LONG = table_of_integers(64, "ll") | {
    "(unsigned long long)a / ((unsigned long long)b | 1)":
        lambda a, b, c: a % 2**64 // (b % 2**64 | 1),
    "(unsigned long long)a >> (b & 63)": lambda a, b, c: a % 2**64 >> (b & 63),
    "llabs(a)": lambda a, b, c: abs(a),
    "__mul64hi(a, b)": lambda a, b, c: a * b >> 64,
    "__umul64hi(a, b)": lambda a, b, c: (a % 2**64) * (b % 2**64) >> 64,
    "(int)a": lambda a, b, c: signed(a, 32), "(unsigned)a": lambda a, b, c: a % 2**32,
}
EDGES = (0, 1, -1, 2, 7, 30, 31, 32, 33, 63, 64, 255, 256, 2**31 - 1, -2**31, 2**31, 2**32 - 1,
         2**63 - 1, -2**63)


@functools.cache
def module(arch):
    """All integer tables of this file, compiled once an architecture."""
    words = "".join(assembly(name, *row) for name, row in ASSEMBLY.items())
    return emulator.Module(words + kernel("ints", "int", "int", INT)
                           + kernel("longs", "long long", "long long", LONG), "ptx", arch)


def columns(width):
    """Strategy: three columns of signed integers, edge values among them."""
    word = st.integers(-2**(width - 1), 2**(width - 1) - 1) | st.sampled_from(EDGES)
    return st.lists(st.tuples(word, word, word), min_size=1, max_size=40)


def check_integers(arch, name, rows, width, values):
    values = [[signed(x, width) for x in row] for row in values]
    kind = np.dtype(f"i{width // 8}")
    arrays = [np.array(column, kind) for column in zip(*values, strict=True)]
    got = evaluate(module(arch), name, arrays, kind, rows)
    for k, (code, function) in enumerate(rows.items()):
        for i, row in enumerate(values):
            want = signed(int(function(*row)), width)
            assert got[k, i] == want, f"{code} of {row}: {got[k, i]}, wanted {want}"


@pytest.mark.parametrize("arch", ARCHS)
@given(columns(32))
def test_integers_of_32_bits(arch, values):
    check_integers(arch, "ints", INT, 32, values)


@pytest.mark.parametrize("arch", ARCHS)
@given(columns(64))
def test_integers_of_64_bits(arch, values):
    check_integers(arch, "longs", LONG, 64, values)


def test_division_by_zero_is_reported_with_its_line():
    code = """extern "C" __global__ void divide(int* x)
{
  x[0] = 7 / x[1];
}"""
    function = emulator.Module(code, "ptx", "80").get_function("divide")
    with pytest.raises(emulator.KernelError, match=":3|line 3"):
        function((1,), (1,), (np.zeros(2, np.int32),))
