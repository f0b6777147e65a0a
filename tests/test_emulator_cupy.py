"""The fake CuPy refuses what CuPy refuses, counts what is silent and slow, raises what a GPU leaves
undefined, and otherwise computes as NumPy does; the lint sees mistakes in host code."""
import ast
import importlib
import importlib.util
import inspect
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close, missing, required
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels.emulator import cupy_functions, cupy_names, fake_cupy, lint
from kernels.emulator.lint_kinds import Kinds

cp = fake_cupy.module
ROOT = Path(__file__).parents[1]
HOST = np.arange(6, dtype=np.float32).reshape(2, 3)
CODE = 'extern "C" __global__ void scale(const float* x, float* out, int n, float by) {}'


def device():
    """[[0, 1, 2], [3, 4, 5]] on the device."""
    return cp.asarray(HOST)


def outcome(expression, **values):
    """What a line of host code gives; h, d: the same array on the host and on the device."""
    return eval(expression, {"cp": cp, "np": np, "h": HOST.copy(), "d": device(), **values})


# What CuPy refuses.

@pytest.mark.parametrize("line, error, words", [
    ("d + h", TypeError, "Unsupported type <class 'numpy.ndarray'>"),
    ("h + d", TypeError, "Unsupported type <class 'numpy.ndarray'>"),
    ("d == h", TypeError, "Unsupported type"),
    ("d.__iadd__(h)", TypeError, "Unsupported type"),
    ("h.__iadd__(d)", TypeError, "Unsupported type"),
    ("d @ h.T", TypeError, "Unsupported type"),
    ("d + [1, 2, 3]", TypeError, "Unsupported type <class 'list'>"),
    ("cp.maximum(d, h)", TypeError, "Unsupported type"),
    ("cp.concatenate([d, h])", TypeError, "Unsupported type"),
    ("cp.where(d > 1, h, d)", TypeError, "Unsupported type"),
    ("d.dot(h.T)", TypeError, "Unsupported type|unsupported type"),
    ("d.__setitem__(slice(None), h)", TypeError, "Unsupported type"),
    ("h.__setitem__(slice(None), d)", TypeError, "Implicit conversion"),
    ("h[d]", TypeError, "Implicit conversion"),
    ("np.asarray(d)", TypeError, "Implicit conversion to a NumPy array is not allowed"),
    ("np.array([d, d])", TypeError, "Implicit conversion"),
    ("np.sum(d)", TypeError, "cp.sum"),
    ("np.exp(d)", TypeError, "cp.exp"),
    ("np.concatenate([d, d])", TypeError, "cp.concatenate"),
    ("cp.exp([1, 2])", TypeError, "Unsupported type <class 'list'>"),
    ("cp.sum([1, 2])", TypeError, "unsupported type <class 'list'>"),
    ("cp.geomspace(1, 2, 3)", AttributeError, "module 'cupy' has no attribute 'geomspace'"),
    ("cp.linalg.vector_norm(d)", AttributeError, "'cupy.linalg' has no attribute 'vector_norm'"),
    ("cp.cuda.Gpu", AttributeError, "no attribute 'Gpu'"),
    ("d.to_device", AttributeError, "no attribute 'to_device'"),
    ("cp.random.default_rng(0).normal()", AttributeError, "no attribute 'normal'"),
    ("cp.sum(d, where=d > 1)", TypeError, "unexpected keyword argument 'where'"),
    ("cp.max(d, initial=0)", TypeError, "unexpected keyword argument 'initial'"),
    ("d.max(initial=0)", TypeError, "unexpected keyword argument 'initial'"),
    ("cp.exp(d, where=d > 1)", TypeError, "unexpected keyword argument 'where'"),
    ("cp.sort(d, stable=True)", TypeError, "unexpected keyword argument 'stable'"),
    ("cp.argsort(d, kind='quicksort')", ValueError, "None or 'stable'"),
    ("d.sort(kind='mergesort')", ValueError, "None or 'stable'"),
    ("cp.lexsort((d[0], d[1]))", TypeError, "one array of rows"),
    ("cp.maximum.reduce(d)", NotImplementedError, "not supported yet"),
    ("cp.multiply.at(d, 0, 2)", NotImplementedError, "not supported yet"),
    ("cp.add.at(d.astype(cp.int16), 0, 1)", TypeError, "add.at only supports"),
    ("d.astype(cp.int32, casting='safe')", TypeError, "casting is not supported"),
    ("cp.array(['a'])", ValueError, "Unsupported dtype <U1"),
    ("cp.array([None])", ValueError, "Unsupported dtype object"),
    ("cp.zeros(3, 'S4')", ValueError, "Unsupported dtype"),
    ("cp.asarray(np.zeros(2, np.longdouble))", ValueError, "Unsupported dtype"),
    ("cp.asarray(np.zeros(2, 'i4, f4'))", ValueError, "Unsupported dtype"),
    ("cp.zeros(d[0, 0])", TypeError, "cannot be interpreted as an integer"),
    ("cp.zeros((2, d[0, 0]))", TypeError, "cannot be interpreted as an integer"),
    ("cp.arange(d[0, 0])", TypeError, "cannot be interpreted as an integer"),
    ("range(cp.asarray(3))", TypeError, "cannot be interpreted as an integer"),
    ("[1, 2, 3][cp.asarray(1)]", TypeError, "list indices"),
    ("hash(d)", TypeError, "unhashable"),
    ("bool(d)", ValueError, "ambiguous"),
    ("float(d)", TypeError, "only .* can be converted"),
    ("d.item()", ValueError, "size 1"),
    ("list(d[0, 0])", TypeError, "iteration over a 0-d array"),
    ("d.get(out=np.empty((2, 3)))", TypeError, "float64 array cannot be obtained from float32"),
    ("d.get(out=np.empty((3, 2), np.float32))", ValueError, "Shape mismatch"),
    ("d.set(np.zeros((2, 3)))", TypeError, "cannot be set to"),
    ("d.set([1, 2])", TypeError, "Only numpy.ndarray can be set"),
    ("d.reshape(4)", ValueError, "reshape"),
    ("d[0, 9]", IndexError, "out of bounds"),
    ("d.data.ptr", NotImplementedError, "no device addresses"),
    ("cp.ElementwiseKernel('T x', 'T y', 'y = x', 'k')", NotImplementedError, ".cu"),
    ("cp.fuse(np.exp)", NotImplementedError, ".cu"),
    ("cp.random.rand(3)", NotImplementedError, "random.rand"),
    ("cp.cuda.get_elapsed_time(None, None)", NotImplementedError, "no time passes"),
    ("cp.cuda.runtime.getDeviceProperties(0)", NotImplementedError, "getDeviceProperties"),
    ("cp.cuda.Device(1)", RuntimeError, "invalid device"),
])
def test_it_is_refused(line, error, words):
    with pytest.raises(error, match=words):
        outcome(line)


# What is silent and slow is counted.

@pytest.mark.parametrize("line, expected", [
    ("cp.asarray(h)", dict(uploads=1, upload_bytes=24)),
    ("cp.asarray(h, cp.float64)", dict(uploads=1, upload_bytes=48)),
    ("cp.asarray([1.0, 2.0])", dict(uploads=1, upload_bytes=16)),
    ("cp.ascontiguousarray(h.T)", dict(uploads=1, upload_bytes=24)),
    ("cp.asarray(d)", dict()),
    ("cp.asarray(d, cp.float32)", dict()),
    ("cp.array(d, copy=False)", dict()),
    ("cp.array(d)", dict(operations=1)),
    ("cp.zeros(1000)", dict(operations=1)),
    ("d.set(h)", dict(uploads=1, upload_bytes=24)),
    ("d[[0, 1, 1]]", dict(uploads=1, upload_bytes=24, operations=1)),
    ("d[np.array([0])]", dict(uploads=1, upload_bytes=8, operations=1)),
    ("d[1:]", dict(operations=1)),
    ("d.get()", dict(downloads=1, download_bytes=24, synchronisations=1)),
    ("cp.asnumpy(d)", dict(downloads=1, download_bytes=24, synchronisations=1)),
    ("cp.asnumpy(h)", dict()),
    ("d.get(blocking=False)", dict(downloads=1, download_bytes=24)),
    ("d.tolist()", dict(downloads=1, download_bytes=24, synchronisations=1)),
    ("repr(d)", dict(downloads=1, download_bytes=24, synchronisations=1)),
    ("f'{d.sum():.1f}'", dict(operations=1, downloads=1, download_bytes=4, synchronisations=1)),
    ("float(d.sum())", dict(operations=1, downloads=1, download_bytes=4, synchronisations=1)),
    ("bool(d.sum() > 0)", dict(operations=2, downloads=1, download_bytes=1, synchronisations=1)),
    ("[float(x) for x in d[0]]", dict(operations=4, downloads=3, download_bytes=12,
                                      synchronisations=3)),
    ("cp.nonzero(d)", dict(operations=1, synchronisations=1)),
    ("d.nonzero()", dict(operations=1, synchronisations=1)),
    ("cp.where(d)", dict(operations=1, synchronisations=1)),
    ("cp.where(d, d, 0)", dict(operations=1)),
    ("cp.unique(d)", dict(operations=1, synchronisations=1)),
    ("d[d > 1]", dict(operations=2, synchronisations=1)),
    ("d.__setitem__(d > 1, 0)", dict(operations=2, synchronisations=1)),
    ("d.sum() + d.max() * 2", dict(operations=4)),
    ("cp.cuda.Device().synchronize()", dict(synchronisations=1)),
    ("cp.cuda.Stream.null.synchronize()", dict(synchronisations=1)),
    ("cp.cuda.get_current_stream().record().synchronize()", dict(synchronisations=1)),
    ("cp.cuda.runtime.deviceSynchronize()", dict(synchronisations=1)),
    ("cp.result_type(d, cp.float64)", dict()),
])
def test_it_is_counted(line, expected):
    d = device()
    with fake_cupy.counting() as count:
        outcome(line, d=d)
    # outcome() makes a device array of its own, which is one upload of 24 bytes.
    own = fake_cupy.Count(**expected)
    own.uploads, own.upload_bytes = own.uploads + 1, own.upload_bytes + 24
    assert count == own


def test_counts_nest():
    with fake_cupy.counting() as outer:
        device()
        with fake_cupy.counting() as inner:
            device().get()
        assert outer.uploads == 2 and outer.downloads == 1             # known while it goes on
        device()
    assert inner.uploads == 1 and outer.uploads == 3 and fake_cupy.count.uploads >= 3


# What a GPU leaves undefined is raised, or shows.

@pytest.mark.parametrize("line, error", [
    ("d.__setitem__(cp.asarray([0, 0]), d)", ValueError),
    ("d.__setitem__((slice(None), cp.asarray([1, 1])), d[:, :2])", ValueError),
    ("d.put(cp.asarray([1, 1]), cp.asarray([5, 6]))", ValueError),
    ("cp.put(d, cp.asarray([1, 7]), cp.asarray([5, 6]))", ValueError),      # 7 wraps around to 1
    ("d[cp.asarray([2])]", IndexError),
    ("d.__setitem__(cp.asarray([2]), 0)", IndexError),
    ("cp.take(d, cp.asarray([9]))", IndexError),
    ("(d / 0).astype(cp.int32)", ValueError),
    ("cp.asarray([1e30]).astype(cp.int32)", ValueError),
])
def test_undefined_is_raised(line, error):
    with pytest.raises(error):
        outcome(line)


@pytest.mark.parametrize("line", [
    "d.__setitem__(cp.asarray([0, 0]), 1)", "d.__setitem__(cp.asarray([0, 0]), d[1])",
    "d.__setitem__(cp.asarray([1, 0]), d)", "d.put(cp.asarray([1, 1]), 5)",
    "cp.add.at(d, cp.asarray([0, 0]), d)", "d[cp.asarray([-1])]", "(d / 0).astype(cp.float64)"])
def test_defined_is_not_raised(line):
    outcome(line)


def test_new_memory_is_never_zero_by_luck():
    for dtype in (cp.float16, cp.float32, cp.float64, cp.complex64):
        for made in (cp.empty((2, 3), dtype), cp.empty_like(device(), dtype=dtype),
                     cp.ndarray((2, 3), dtype)):
            assert made.shape == (2, 3) and made.dtype == dtype and np.isnan(made.get()).all()
    for dtype in (cp.int8, cp.uint16, cp.int32, cp.int64):
        assert set(cp.empty(5, dtype).tobytes()) == {0xCD}
    assert cp.empty(3, bool).get().all() and cp.empty((0, 3)).shape == (0, 3)
    assert cp.empty((), cp.int32).item() == np.int32(-842150451)


def test_a_download_without_waiting_holds_nothing_yet():
    d = device()
    host = d.get(blocking=False)
    d += 1                                                     # the copy was asked for before
    assert np.isnan(host).all()
    cp.cuda.get_current_stream().synchronize()
    assert_close(host, HOST)
    out = np.empty((2, 3), np.float32)
    assert d.get(out=out) is out
    assert_close(out, HOST + 1)


# Views share memory; copies do not.

@pytest.mark.parametrize("view", [
    "d[1]", "d[1, 2]", "d[:, ::2]", "d[..., None]", "d.T", "d.reshape(3, 2)", "d.ravel()",
    "d.view(cp.int32)", "d[0:1][0]", "cp.asarray(d)", "d.transpose(1, 0)", "cp.ravel(d)",
    "d.astype(cp.float32, copy=False)", "cp.ascontiguousarray(d)", "d.squeeze()",
    "d.swapaxes(0, 1)",
    "cp.array(d, copy=False)", "cp.expand_dims(d, 0)"])
def test_views_share_memory(view):
    d = device()
    outcome(view, d=d).fill(7)
    assert (d.get().view(np.int32) == 7).any() or (d.get() == 7).any()


@pytest.mark.parametrize("copy", [
    "d.copy()", "d[cp.asarray([0, 1])]", "d[cp.asarray(1)]", "d.flatten()", "d.astype(cp.float32)",
    "cp.array(d)", "d[d >= 0]", "d + 0", "cp.ascontiguousarray(d.T)", "cp.copy(d)"])
def test_copies_do_not(copy):
    d = device()
    outcome(copy, d=d).fill(7)
    assert_close(d.get(), HOST)


def test_the_host_keeps_its_own_memory():
    h = HOST.copy()
    d = cp.asarray(h)
    d += 1
    host = d.get()
    d += 1
    assert_close(h, HOST)
    assert_close(host, HOST + 1)
    h[:] = 0
    assert_close(d.get(), HOST + 2)


def test_out_and_in_place_give_the_same_array():
    d, out = device(), cp.zeros((2, 3), cp.float32)
    assert cp.add(d, 1, out=out) is out and cp.multiply(out, 2, out) is out
    assert_close(out.get(), (HOST + 1) * 2)
    same = d
    d += 1
    d *= 2
    assert d is same
    assert d.sum(axis=0, out=cp.zeros(3, cp.float32)).shape == (3,)
    cp.copyto(out, d)
    d.sort()
    assert_close(out.get(), (HOST + 1) * 2)
    out[1] = d[0]
    assert_close(out.get()[1], (HOST[0] + 1) * 2)


def test_results_stay_on_the_device():
    d = device()
    for made in (d.sum(), cp.allclose(d, d), cp.count_nonzero(d), d[0, 0], np.float32(2) * d,
                 2 * d, d.argmax(), cp.array_equal(d, d), cp.linalg.norm(d), -d, d == 1):
        assert isinstance(made, fake_cupy.ndarray)
    assert all(isinstance(x, fake_cupy.ndarray) for x in (*cp.divmod(d, 2), *cp.linalg.svd(d)))
    assert (d.shape, d.ndim, d.size, d.nbytes, d.strides) == ((2, 3), 2, 6, 24, (12, 4))
    assert d.flags.c_contiguous and not d.T.flags.c_contiguous and len(d) == 2
    assert cp.get_array_module(d) is cp and cp.get_array_module(HOST) is np


def test_constants_types_and_what_import_gives():
    assert cp.float32 is np.float32 and cp.newaxis is None and cp.pi == np.pi
    assert np.isnan(cp.nan) and cp.inf == np.inf and cp.iinfo(cp.int32).max == 2**31 - 1
    assert cp.__name__ == "cupy" and cp.__version__ == cupy_names.VERSION and cp.__spec__
    assert cp.cuda.is_available() and cp.cuda.Device().compute_capability == "80"
    with cp.cuda.Device(0), cp.cuda.Stream(non_blocking=True) as stream:
        stream.wait_event(stream.record())
    with pytest.raises(cp.linalg.LinAlgError):
        cp.linalg.inv(cp.zeros((2, 2)))


def test_random_numbers_are_not_numpys():
    for name, arguments in (("random", (5,)), ("standard_normal", (5,)), ("integers", (0, 99, 5))):
        ours = getattr(cp.random.default_rng(7), name)(*arguments).get()
        again = getattr(cp.random.default_rng(7), name)(*arguments).get()
        theirs = getattr(np.random.default_rng(7), name)(*arguments)
        assert (ours == again).all() and (ours != theirs).any()
    out = cp.empty(3, cp.float32)
    assert cp.random.default_rng(0).random(out=out, dtype=cp.float32) is out
    assert not np.isnan(out.get()).any()
    assert cp.random.default_rng(0).uniform(0, 1, 4, dtype=cp.float32).dtype == np.float32


# Launching.

@pytest.fixture
def launched(monkeypatch):
    """What fake_cupy.launch was given, launch by launch."""
    calls = []
    monkeypatch.setattr(fake_cupy, "launch", lambda *a: calls.append(a))
    return calls


def test_a_launch_is_handed_on(launched):
    d, out = device(), cp.empty((2, 3), cp.float32)
    kernel = cp.RawModule(code=CODE, options=("-std=c++17",), backend="nvrtc").get_function("scale")
    kernel.max_dynamic_shared_size_bytes = 64 << 10
    with fake_cupy.counting() as count:
        kernel((1, 2), (32,), (d, out, np.int32(6), np.float32(2)), shared_mem=128)
    code, name, grid, block, args, shared, limit = launched[0]
    assert (code, name, grid, block, shared, limit) == (CODE, "scale", (1, 2, 1), (32, 1, 1), 128,
                                                        64 << 10)
    assert args[0] is d._array and args[1] is out._array and args[2:] == [6, 2]
    assert [type(a) for a in args[2:]] == [np.int32, np.float32]
    assert count == fake_cupy.Count(launches=1)


@pytest.mark.parametrize("call, error, words", [
    ("k((1,), (32,), (h, o, n, f))", TypeError, "argument 0: You are trying to pass a numpy."),
    ("k((1,), (32,), (d, o, n, np.zeros(1, np.float32)))", TypeError, "numpy.ndarray of shape"),
    ("k((1,), (32,), (d, o, 6, f))", TypeError, "argument 2: int 6: CuPy passes 8 bytes"),
    ("k((1,), (32,), (d, o, n, 2.0))", TypeError, "argument 3: float 2.0: CuPy passes a double"),
    ("k((1,), (32,), (d, o, True, f))", TypeError, "argument 2: bool"),
    ("k((1,), (32,), (d, o, None, f))", TypeError, "argument 2: NoneType"),
    ("k((1,), (32,), (d, [1], n, f))", TypeError, "argument 1: list"),
    ("k((1,), (32,), (d.T, o, n, f))", ValueError, "argument 0 is not C-contiguous"),
    ("k((1,), (32,), d)", TypeError, "args are a tuple"),
    ("k(1, (32,), (d, o, n, f))", TypeError, "Argument 'grid' has incorrect type"),
    ("k((1,), [32], (d, o, n, f))", TypeError, "Argument 'block' has incorrect type"),
    ("k((1.0,), (32,), (d, o, n, f))", TypeError, "whole numbers"),
    ("k((0,), (32,), (d, o, n, f))", ValueError, "would launch 1 in place of 0"),
    ("k((1,), (32,), (d, o, n, f), 99)", TypeError, "positional"),
    ("cp.RawModule()", TypeError, "Exactly one of `code` and `path`"),
    ("cp.RawModule(code, ())", TypeError, "positional"),
    ("cp.RawModule(code=b'x')", TypeError, "expected str, got bytes"),
    ("cp.RawModule(code=code, options=['-std=c++17'])", TypeError, "expected tuple, got list"),
    ("cp.RawModule(code=code, optoins=())", TypeError, "unexpected keyword argument 'optoins'"),
    ("cp.RawModule(path='ch05_bm25.cu')", NotImplementedError, "no files"),
    ("cp.RawModule(code='ch05_bm25.cu')", ValueError, "file's name"),
    ("cp.RawModule(code=code, backend='nvcc')", NotImplementedError, "nvrtc"),
    ("cp.RawModule(code=code, options=('-DN=3',))", NotImplementedError, "-DN=3"),
    ("cp.RawModule(code=code).get_function('scal')", RuntimeError, "named symbol not found"),
])
def test_a_wrong_launch_is_refused(launched, call, error, words):
    kernel = cp.RawModule(code=CODE).get_function("scale")
    with pytest.raises(error, match=re.escape(words)):
        outcome(call, k=kernel, o=cp.empty(6, cp.float32), n=np.int32(6), f=np.float32(2),
                code=CODE)
    assert not launched


def test_without_a_runner_a_launch_says_so():
    spec = importlib.util.spec_from_file_location("fresh_fake_cupy", fake_cupy.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    with pytest.raises(RuntimeError, match="no runner"):
        fresh.module.RawModule(code=CODE).get_function("scale")((1,), (1,), ())


# Otherwise it is NumPy.

NUMBERS = st.sampled_from([np.int32, np.int64, np.float32, np.float64, np.uint8, np.bool_])


@st.composite
def arrays(draw, dtypes=NUMBERS, low=-9, high=9, min_dims=0):
    """Small arrays: numbers of all kinds, also zeros, NaN and infinity."""
    dtype = np.dtype(draw(dtypes))
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=3, min_side=0, max_side=4))
    elements = {"b": st.booleans(), "u": st.integers(0, high), "i": st.integers(low, high),
                "f": st.sampled_from([*range(low, high), 0.5, -0.0, np.inf, np.nan])}[dtype.kind]
    return draw(hnp.arrays(dtype, shape, elements=elements))


def same(function, *host):
    """function(namespace, arrays) is the same on both sides: value, dtype and shape, or error."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)        # the mean of nothing
        try:
            want = function(np, *host)
        except (TypeError, ValueError, IndexError) as error:
            want = error
    if isinstance(want, Exception):
        with pytest.raises(type(want)):
            function(cp, *map(cp.asarray, host))
        return
    got = function(cp, *map(cp.asarray, host))
    assert isinstance(got, fake_cupy.ndarray)
    assert got.dtype == np.asarray(want).dtype and got.shape == np.shape(want)
    np.testing.assert_array_equal(got.get(), want)


OPERATORS = ["a + b", "a - b", "a * b", "a / b", "a // b", "a % b", "a < b", "a == b", "a >= b",
             "a & b", "a | b", "a ^ b", "a + 2", "2 * a", "1.5 - a", "-a", "abs(a)", "~a", "a ** 2",
             "np.float32(2) * a", "a != 0", "divmod(a, b)[0]"]
CALLS = ["xp.sum(a)", "xp.sum(a, axis=0)", "a.max(axis=-1)", "xp.cumsum(a)",
         "xp.argsort(a, axis=-1)",
         "xp.sort(a, axis=0)", "xp.where(a > 1, a, b)", "xp.concatenate([a.ravel(), b.ravel()])",
         "a.mean()", "xp.maximum(a, b)", "a.reshape(-1)[::-1]", "xp.stack([a, a])",
         "a.astype(bool)",
         "xp.clip(a, 0, 3)", "a.any()", "xp.isnan(a)", "xp.zeros_like(a)", "a.std()", "a.T @ a",
         "xp.unique(a)", "xp.argmax(a)", "xp.exp(a)", "xp.broadcast_to(b, a.shape)",
         "xp.outer(a, b)"]
COMPILED = {line: compile(line, line, "eval") for line in OPERATORS + CALLS}


@given(arrays(), arrays(), st.sampled_from(OPERATORS))
def test_operators_are_numpys(a, b, line):
    same(lambda xp, a, b: eval(COMPILED[line], {"xp": xp, "np": np, "a": a, "b": b}), a, b)


@given(arrays(), arrays(), st.sampled_from(CALLS))
def test_functions_are_numpys(a, b, line):
    if "sort" in line:                     # CuPy's order of equals is the stable one
        line = line.replace(")", ", kind='stable')") if "kind" not in line else line
    same(lambda xp, a, b: eval(line, {"xp": xp, "a": a, "b": b}), a, b)


@given(st.data())
def test_reading_by_an_index_is_numpys(data):
    a = data.draw(arrays(min_dims=1))
    key = data.draw(hnp.basic_indices(a.shape, allow_newaxis=True) | hnp.integer_array_indices(
        a.shape)) if a.size else (slice(None),)
    same(lambda xp, x: x[key], a)


@given(st.data())
def test_writing_by_an_index_is_numpys_or_refused(data):
    n = data.draw(st.integers(1, 6))
    index = data.draw(hnp.arrays(np.int64, data.draw(st.integers(0, 6)),
                                 elements=st.integers(-n, n - 1)))
    value = np.arange(index.size) * 10.0
    d, h = cp.zeros(n), np.zeros(n)
    if index.size > 1 and len(set(index % n)) < index.size:
        with pytest.raises(ValueError, match="two values for one place"):
            d[cp.asarray(index)] = cp.asarray(value)
        return
    d[cp.asarray(index)] = cp.asarray(value)
    h[index] = value
    assert_close(d.get(), h)


@given(arrays(st.sampled_from([np.int32, np.float32, np.float64]), min_dims=1), st.data())
def test_add_at_adds_up(a, data):
    index = data.draw(hnp.arrays(np.int64, 5, elements=st.integers(0, max(len(a) - 1, 0))))
    if not len(a):
        return
    d, h = cp.asarray(a), a.copy()
    cp.add.at(d, cp.asarray(index), 2)
    np.add.at(h, index, 2)
    np.testing.assert_array_equal(d.get(), h)


def test_every_plain_ufunc_is_numpys():
    tried = 0
    for name, kind in cupy_names.NAMES.items():
        theirs = getattr(np, name, None)
        if not kind.startswith("ufunc") or not isinstance(theirs, np.ufunc):
            continue
        for dtype in (np.float32, np.int32, np.bool_):
            host = [np.array([[1, 2, 1]], dtype), np.array([[1], [3]], dtype)][:theirs.nin]
            try:
                with np.errstate(all="ignore"):
                    want = theirs(*host)
            except TypeError:
                continue
            got = getattr(cp, name)(*map(cp.asarray, host))
            for g, w in zip(*[(x if isinstance(x, tuple) else (x,)) for x in (got, want)],
                            strict=True):
                np.testing.assert_array_equal(g.get(), w)
                assert g.dtype == w.dtype
            tried += 1
    assert tried > 150


# Mistakes in host code: each is found, in a run or by the lint; the unchanged control passes.

CONTROL = '''
import cupy as cp
import numpy as np

CODE = 'extern "C" __global__ void scale(const float* x, float* out, int n, float by) {}'
MODULE = cp.RawModule(code=CODE, options=("-std=c++17",))


def scaled(X, by, words, rounds=3):
    """The largest element of X times `by`, again and again; and where each row's is."""
    X = cp.asarray(X)
    n = X.size
    order = cp.asarray(words)
    out, best = cp.zeros(X.shape, cp.float32), cp.zeros(1, cp.float32)
    if n == 0:
        return best.get()
    for i in range(rounds):
        MODULE.get_function("scale")((-(-n // 32),), (32,), (X, out, np.int32(n), np.float32(by)))
        best += cp.max(out)
        X[order] = out
    return cp.concatenate([best, cp.argmax(X, axis=1).astype(cp.float32)]).get()
'''
MISTAKES = {                          # name: (old, new, what must be said)
    "host array as argument": ("X = cp.asarray(X)", "X = np.asarray(X)",
                               "argument 0: You are trying to pass a numpy.ndarray"),
    "Python int as argument": ("np.int32(n)", "n", "`n`, is a Python number"),
    "Python float as argument": ("np.float32(by)", "by", "float 2.0: CuPy passes a double"),
    "host and device mixed": ("best += cp.max(out)", "best += np.ones(1, np.float32)",
                              "Unsupported type"),
    "NumPy's function": ("cp.max(out)", "np.max(out)", "write cp.max"),
    "keyword that CuPy lacks": ("cp.max(out)", "cp.max(out, initial=0)", ":19: .* 'initial'"),
    "name that CuPy lacks": ("cp.concatenate(", "cp.block(", ":21: CuPy .* has no cupy.block"),
    "waiting in a loop": ("best += cp.max(out)", "best += float(cp.max(out))",
                          r":19: float\(\) of a device array in a loop"),
    "waiting in a loop, unseen": ("best += cp.max(out)", "best += [cp.max(out)][0].item()",
                                  "4 synchronisations"),
    "upload in a loop": ("X[order] = out", "X[cp.asarray(words)] = out", "5 uploads"),
    "silent upload in a loop": ("X[order]", "X[list(words)]", "5 uploads"),
    "one place twice": ("order = cp.asarray(words)", "order = cp.asarray(words * 0)",
                        "two values for one place"),
    "index out of range": ("order = cp.asarray(words)", "order = cp.asarray(words + 1)",
                           "out of bounds"),
    "memory never set": ("best = cp.zeros(X.shape, cp.float32), cp.zeros(", "best = cp.zeros("
                         "X.shape, cp.float32), cp.empty(", "wrong result"),
    "strides forgotten": ("(X, out, np", "(X.T, out, np", "not C-contiguous"),
    "rounded up to nothing": ("-(-n // 32)", "n // 32", "1 in place of 0"),
    "not waited for": (".get()\n", ".get(blocking=False)\n", "wrong result"),
    "device array returned": (".astype(cp.float32)]).get()", ".astype(cp.float32)])",
                              "wrong result"),
    "a kernel of CuPy's making": ("cp.max(out)", "cp.fuse(lambda x: x)(out)",
                                  "cupy.fuse: it cannot run without a GPU"),
}


def scale_on_cpu(code, name, grid, block, args, shared_mem, limit):
    """What the kernel does, for the host code's sake."""
    x, out, n, by = args
    out.reshape(-1)[:n] = x.reshape(-1)[:n] * by


def complaints(source, path, monkeypatch):
    """Everything that is said of host code -> list of str."""
    path.write_text(source)
    said = lint.check(path)
    monkeypatch.setattr(fake_cupy, "launch", scale_on_cpu)
    monkeypatch.setitem(sys.modules, "cupy", cp)
    X, words, names = HOST.copy(), np.array([1, 0]), {}
    try:
        with fake_cupy.counting() as count:
            exec(compile(source, path, "exec"), names)
            result = names["scaled"](X, 2.0, words)
    except Exception as error:
        return [*said, f"{type(error).__name__}: {error}"]
    if not isinstance(result, np.ndarray) or not np.array_equal(result, [70, 2, 2]):
        said.append(f"wrong result {result!r}")
    said += [f"{count.synchronisations} synchronisations"] * (count.synchronisations > 1)
    return said + [f"{count.uploads} uploads"] * (count.uploads > 2)


def test_right_host_code_passes(tmp_path, monkeypatch):
    assert complaints(CONTROL, tmp_path / "control_cuda.py", monkeypatch) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake, tmp_path, monkeypatch):
    old, new, words = MISTAKES[mistake]
    wrong = new.join(CONTROL.rsplit(old, 1))
    assert wrong != CONTROL
    said = complaints(wrong, tmp_path / "wrong_cuda.py", monkeypatch)
    assert any(re.search(words, line) for line in said), said


# The lint alone.

def linted(body, tmp_path):
    """What is said of lines of a function with h (host), d (device), n (number), k (kernel)."""
    head = ("import cupy as cp\nimport numpy as np\n"
            "def f(h, table, words):\n    d = cp.asarray(h)\n"
            "    n, k = len(h), cp.RawModule(code='').get_function('k')\n")
    path = tmp_path / "twin_cuda.py"
    path.write_text(head + "\n".join("    " + line for line in body.split("\n")))
    return [line.partition(f"{path}:")[2] for line in lint.check(path)]


@pytest.mark.parametrize("path", sorted((ROOT / "kernels").glob("*_cuda.py")), ids=lambda p: p.stem)
def test_no_twin_has_a_mistake_that_the_lint_sees(path):
    assert lint.check(path) == []


@pytest.mark.parametrize("body", [
    "for x in h:\n    x.get()", "while d.any():\n    d -= 1",
    "while True:\n    if d.max() > 1: break",
    "for i in h:\n    float(d[i])", "for i in h:\n    int(d.sum())", "[d[i].item() for i in h]",
    "for i in h:\n    cp.asnumpy(i)", "for i in h:\n    cp.cuda.Device().synchronize()",
    "for i in h:\n    print(f'{d}')", "for i in h:\n    cp.nonzero(d)", "for x in d:\n    bool(x)",
    "{i: d.tolist() for i in h}", "for i in h:\n    y = d * 2\n    y.get()",
    "for i in h:\n    assert d.all()", "for i in h:\n    v = 1 if d.any() else 2",
    "for i in h:\n    if not d.any(): pass", "for i in h:\n    max(d, 0)",
    "for i in h:\n    y = cp.zeros(3)\n    z = y.T[0]\n    float(z)"])
def test_waiting_in_a_loop_is_told(body, tmp_path):
    (line,) = linted(body, tmp_path)
    assert "in a loop" in line and "# sync: why" in line


def test_a_helper_that_waits_is_told(tmp_path):
    path = tmp_path / "twin_cuda.py"
    path.write_text("import cupy as cp\ndef low(x):\n    return cp.min(x).get()\n"
                    "def lower(x):\n    return low(x)\ndef top(X):\n    one = lower(X)\n"
                    "    return one, [lower(x) for x in X]\n")
    (line,) = lint.check(path)
    assert line.startswith(f"{path}:8: lower(), which waits for the device, in a loop")


@pytest.mark.parametrize("body", [
    "for x in h:\n    table.get('a')\n    table.get('a', x)\n    table.get(timeout=1)",
    "for x in h:\n    float(x)\n    x.item()\n    x.tolist()",
    "host = d.get()\nfor x in host:\n    float(x)", "float(d.sum())", "return d.get().tolist()",
    "d = d.get()\nfor i in range(3):\n    float(d[i])", "for x in d.tolist():\n    float(x)",
    "for i in h:\n    float(d[i])  # sync: the stop test needs it",
    "for i in h:\n    len(d), d.shape[0]",
    "for i in h:\n    if d.size > 3: pass", "for i in h:\n    if d is None: pass",
    "for i in h:\n    def g():\n        return d.get()",
    "y = h\nfor i in h:\n    y = y * 2\nfloat(y)",
    "for i in h:\n    d = d + 1\n    d *= 2", "[cp.sum(d, axis=i) for i in h]",
    "if table:\n    y = cp.zeros(3)\nelse:\n    y = h\nfor i in h:\n    float(y[i])",
    "k((n,), (32,), (d, np.int32(n), np.float32(1.5), *words))",
    "n = np.int32(n)\nk((1,), (32,), (d, n))", "cp.pad(d, 1, mode='edge')",
    "cp.einsum('i,i', d, d)",
    "cp.matmul(d, d, out=d)", "cp.add.at(d, 0, 1)", "cp.cuda.Stream(non_blocking=True).record()",
    "cp.random.default_rng(0).random(3)", "cp.sum(*words, **table)", "d.sum(axis=0).reshape(2, -1)",
    "xp = cp.get_array_module(d)\nfor i in h:\n    bool(xp)",
    "with table as d:\n    [int(d) for i in h]",
    "np.geomspace(1, 2, 3)", "words.vector_norm(h)"])
def test_no_false_alarms(body, tmp_path):
    assert linted(body, tmp_path) == []


@pytest.mark.parametrize("body, words", [
    ("cp.geomspace(1, 2)", "has no cupy.geomspace"), ("cp.linalg.svdvals(d)", "linalg.svdvals"),
    ("cp.cuda.Streams()", "no cupy.cuda.Streams"), ("d.to_device()", "no cupy.ndarray.to_device"),
    ("cp.maximum.reduce(d)", "no cupy.maximum.reduce"), ("cp.sum(d, where=d)", "'where'"),
    ("cp.exp(d, where=d)", "'where'"), ("d.max(initial=0)", "'initial'"), ("cp.zeros()", "missing"),
    ("cp.sum(*words, weights=1)", "'weights'"), ("cp.exp(d, d, d)", "too many"),
    ("cp.ReductionKernel('a', 'b', 'c', 'd', 'e', '0')", "cannot run without a GPU"),
    ("f = cp.fuse", "cannot run"), ("import cupyx", "cupyx"),
    ("from cupy import block", "cupy.block"),
    ("k((n,), (32,), (d, n))", "argument 1 of a kernel, `n`"),
    ("k((n,), (32,), args=(d, h.shape[0]))", "`h.shape[0]`"),
    ("k((1,), (1,), (d, -1.0))", "`-1.0`"),
    ("a, b = h.shape\nk((1,), (1,), (d, b - 1))", "`b - 1`"), ("k([n], (32,), (d,))", "grid"),
    ("k((n,), 32, (d,))", "block: CuPy takes a tuple")])
def test_the_lint_tells(body, words, tmp_path):
    (line,) = linted(body, tmp_path)
    assert words in line and re.match(r"\d+: ", line)


# The frozen table is the installed CuPy's.

def real_cupy():
    """The installed CuPy, which imports without a GPU; a printed skip if there is none."""
    why = missing("cupy")
    if why and required("cuda"):
        raise RuntimeError(f"REQUIRE names cuda, but {why}")
    if why:
        pytest.skip(why)
    return importlib.import_module("cupy")


def names_in_use():
    """The CuPy names that the project's host code uses -> dict name: where."""
    used = {}
    for path in sorted((ROOT / "kernels").glob("*_cuda.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kinds = Kinds(tree)
        for node in ast.walk(tree):
            dotted = kinds.dotted(node)
            if dotted:
                used[dotted] = f"{path.name}:{node.lineno}"
    return used


def test_the_table_is_the_installed_cupys():
    cupy = real_cupy()
    from tests.makers import cupy_names as maker
    installed, versions = maker.names(), (cupy.__version__, np.__version__)
    if versions == (cupy_names.VERSION, cupy_names.NUMPY_VERSION):
        changed = {(name, kind) for name, kind in {*installed.items()} ^ {*cupy_names.NAMES.items()}
                   if kind != "module"}                        # some are loaded when asked for
        assert not changed, f"run python -m tests.makers.cupy_names: {sorted(changed)}"
    for name, where in names_in_use().items():
        assert name in installed or not cupy_names.exists(name), f"{where}: CuPy has no {name}"


def test_the_names_in_use_are_in_the_table():
    unknown = {name: at for name, at in names_in_use().items() if cupy_names.exists(name) is False}
    assert not unknown


@pytest.mark.parametrize("line", [
    "cp.RawModule()", "cp.RawModule('x')", "cp.RawModule(code=b'x')",
    "cp.RawModule(code='__global__', options=[])", "cp.exp(1.0, where=True)", "cp.geomspace",
    "cp.sum(1.0, where=True)", "cp.max(1.0, initial=0)", "cp.sort(1.0, stable=True)",
    "cp.linalg.vector_norm", "cp.exp.at(None, 0)", "cp.maximum.reduce(None)", "cp.random.integers",
    "cp.random.Generator.normal", "cp.ndarray.to_device", "cp.exp()", "cp.zeros()",
    "cp.multiply.at(None, 0)", "cp.cuda.Gpu", "cp.concatenate(dim=1)"])
def test_the_real_one_refuses_it_too(line):
    real = real_cupy()
    with pytest.raises((TypeError, AttributeError, NotImplementedError)) as theirs:
        eval(line, {"cp": real})
    with pytest.raises(theirs.type):
        eval(line, {"cp": cp})


def same_parameters(function, name):
    """Does a function written by hand take what the table says?"""
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    theirs = list(cupy_names.signature(name).parameters.values())
    assert [p.name for p in own] == [p.name for p in theirs], name
    for p, q in zip(own, theirs, strict=True):
        assert p.kind == q.kind and (p.default is p.empty) == (q.default is q.empty), (name, p)


def test_functions_written_by_hand_have_cupys_parameters():
    for name in ("array", "asarray", "ascontiguousarray", "asfortranarray", "asnumpy", "astype",
                 "put"):
        same_parameters(getattr(cupy_functions, name), name)
    for name in ("get", "set", "item", "tolist", "tobytes", "astype", "copy", "argsort", "sort",
                 "put"):
        same_parameters(getattr(fake_cupy.ndarray, name), f"ndarray.{name}")
    for owner in ("Device", "Stream", "Event"):
        same_parameters(getattr(cp.cuda, owner), f"cuda.{owner}")
    same_parameters(cp.cuda.get_elapsed_time, "cuda.get_elapsed_time")
    same_parameters(cp.get_array_module, "get_array_module")


def test_the_table_is_small_and_sorted():
    text = (ROOT / "kernels/emulator/cupy_names.json").read_text(encoding="utf-8")
    assert len(text) < 60_000 and text.count("\n") > 800
    assert list(cupy_names.NAMES) == sorted(cupy_names.NAMES)
    for name in cupy_names.NAMES:
        cupy_names.signature(name)
