"""What every test file uses: Hypothesis settings, back ends, the one comparison."""
import functools
import importlib.util
import inspect
import os

import numpy as np
import pytest
from hypothesis import settings

import kernels
from kernels import emulator
from kernels.emulator import nvrtc
from primer.exercises.kit import difference

# deadline=None: a first call compiles, and compile time is no flaw of the function.
settings.register_profile("default", deadline=None, max_examples=50, derandomize=True,
                          database=None)
settings.register_profile("grade", deadline=None, max_examples=200, derandomize=True,
                          database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process is left with one of them at the end."""
    long = ("test_notebooks.py", "test_exercises.py", "test_mutation.py", "test_ch01_geometry.py")
    items.sort(key=lambda item: long.index(item.path.name) if item.path.name in long else len(long))


def missing(backend):
    """Why a back end, or what else a test needs, cannot run here, or None."""
    if backend in ("emulated", "nvrtc"):
        try:
            (emulator if backend == "emulated" else nvrtc).compiler()
        except RuntimeError as error:
            return str(error)
        return None
    if backend == "cuda":
        return None if kernels.has_gpu() else "there is no NVIDIA GPU that CuPy can use"
    return None if importlib.util.find_spec(backend) else f"{backend} is not installed"


def required(name):
    """Whether REQUIRE names it; "cuda" asks for all that proves the CUDA twins without a GPU."""
    return name in os.environ.get("REQUIRE", "").split(",")


def needs(*tools):
    """Mark for tests that need "emulated" or "nvrtc": a printed skip without it.

    Raises RuntimeError if REQUIRE names cuda and one is missing.
    """
    why = next(filter(None, map(missing, tools)), None)
    if why and required("cuda"):
        raise RuntimeError(f"REQUIRE asks for cuda, but {why}")
    return pytest.mark.skipif(bool(why), reason=str(why))


on_emulator = needs("emulated")
every_order = pytest.mark.parametrize("order", [           # of threads, on both paths
    pytest.param(order | {"path": path}, id="-".join([path, *map(str, order.values())]),
                 marks=needs("emulated", *more))
    for path, more in (("g++", ()), ("ptx", ("nvrtc",))) for order in emulator.ORDERS])


class InOrder:
    """An emulated twin whose kernels always run in one of the emulator's orders of threads."""

    def __init__(self, module, order):
        vars(self).update(module=module, order=order)

    def __getattr__(self, name):
        value = getattr(self.module, name)
        if not inspect.isfunction(value):
            return value

        @functools.wraps(value)
        def ordered(*arguments, **keywords):
            with emulator.running(**self.order):
                return value(*arguments, **keywords)
        return ordered

    def __setattr__(self, name, value):
        setattr(self.module, name, value)

    def __delattr__(self, name):
        delattr(self.module, name)


def emulated(backend):
    """Whether a back end is a CUDA twin on the emulator, thousands of times slower than others."""
    return isinstance(backend, InOrder)


def backends(chapter, *functions, orders=emulator.ORDERS[:1]):
    """pytest parameters: every module that implements `functions` of a chapter, numpy first.

    The CUDA twin runs on the emulator, once for each of the orders, and on a GPU if there is one.
    A back end that cannot run here is a printed skip, or an error if REQUIRE names it.
    """
    out = []
    for name in kernels.available(chapter):
        if name == "cuda" and missing(name):
            continue                                         # "emulated" comes next
        why = missing(name)
        if why and required("cuda" if name == "emulated" else name):
            raise RuntimeError(f"REQUIRE asks for {name}, but {why}")
        if why:
            out.append(pytest.param(None, id=name, marks=pytest.mark.skip(reason=why)))
            continue
        module = kernels.twin(chapter, name)
        if not all(hasattr(module, f) for f in functions):
            continue
        if name == "emulated":
            out += [pytest.param(InOrder(module, order), id="-".join(
                map(str, (name, *order.values())))) for order in orders]
        else:
            out.append(pytest.param(module, id=name))
    return out


def every_backend(chapter, *functions, orders=emulator.ORDERS[:1]):
    """Decorator: run the test with `backend` = each module that has the functions.
    orders=(): work that takes the emulator too long."""
    return pytest.mark.parametrize("backend", backends(chapter, *functions, orders=orders))


def every_twin(chapter, *functions, orders=emulator.ORDERS):
    """Decorator: the same without the reference, and emulated ones in every order of threads;
    sizes that people get wrong go with it.  orders=(): large data, not for the emulator."""
    return pytest.mark.parametrize("backend", backends(chapter, *functions, orders=orders)[1:])


@pytest.fixture
def threads():
    """Sets Numba's number of threads, for this test only."""
    numba = pytest.importorskip("numba")
    before = numba.get_num_threads()
    yield lambda n: numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(before)


EDGE_SIZES = (0, 1, 31, 32, 33, 127, 129)         # around a warp and a block


def assert_close(got, want, rtol=1e-9, atol=1e-12):
    """Shape, dtype kind, finiteness and values; no broadcasting, and NaN never passes."""
    words = difference(got, want, rtol, atol)
    assert not words, f"{words}\n  got    {np.asarray(got)!r}\n  wanted {np.asarray(want)!r}"


def assert_gradient(f, grad, x, seed, eps=1e-6, rtol=1e-5, atol=1e-7):
    """Central difference along one random direction v:  <grad, v> = d/dt f(x + t v)."""
    v = np.random.default_rng(seed).standard_normal(x.shape)
    assert grad.shape == x.shape, f"gradient {grad.shape} of an input {x.shape}"
    assert_close(float((grad * v).sum()), (f(x + eps * v) - f(x - eps * v)) / (2 * eps),
                 rtol, atol)
