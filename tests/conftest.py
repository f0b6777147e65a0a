"""What every test file uses: Hypothesis settings, back ends, the one comparison."""
import importlib
import importlib.util
import os

import numpy as np
import pytest
from hypothesis import settings

import kernels
from primer.exercises.kit import difference

# deadline=None: a first call compiles, and compile time is no flaw of the function.
settings.register_profile("default", deadline=None, max_examples=50, derandomize=True,
                          database=None)
settings.register_profile("grade", deadline=None, max_examples=200, derandomize=True,
                          database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def missing(backend):
    """Why a back end cannot run here, or None."""
    module = {"numpy": "numpy", "numba": "numba", "cuda": "cupy"}[backend]
    return None if importlib.util.find_spec(module) else f"{module} is not installed"


def backends(chapter, *functions):
    """pytest parameters: every module that implements `functions` of a chapter, numpy first.

    A back end that cannot run here is a printed skip, or an error if REQUIRE names it.
    """
    out = []
    for name in kernels.available(chapter):
        why = missing(name)
        if why and name in os.environ.get("REQUIRE", ""):
            raise RuntimeError(f"REQUIRE names {name}, but {why}")
        if why:
            out.append(pytest.param(None, id=name, marks=pytest.mark.skip(reason=why)))
            continue
        module = importlib.import_module(
            f"primer.{chapter}" if name == "numpy" else f"kernels.{chapter}_{name}")
        if all(hasattr(module, f) for f in functions):
            out.append(pytest.param(module, id=name))
    return out


def every_backend(chapter, *functions):
    """Decorator: run the test with `backend` = each module that has the functions."""
    return pytest.mark.parametrize("backend", backends(chapter, *functions))


def every_twin(chapter, *functions):
    """Decorator: the same without the reference; sizes that people get wrong go with it."""
    return pytest.mark.parametrize("backend", backends(chapter, *functions)[1:])


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
