"""Choosing a back end: what is there, what is not, and what is said."""
import sys

import numpy as np
import pytest
from conftest import assert_close, missing

import kernels
import primer.ch05_bm25


def test_the_reference_is_a_back_end():
    assert kernels.twin("ch05_bm25", "numpy") is primer.ch05_bm25


def test_a_twin_is_a_module_with_the_same_functions():
    twin = kernels.twin("ch05_bm25", "numba")
    assert twin.__name__ == "kernels.ch05_bm25_numba" and callable(twin.search)


def test_an_unwritten_twin_is_an_error():
    with pytest.raises(ValueError, match="no 'cuda' twin; choose one of numpy, numba"):
        kernels.twin("ch05_bm25", "cuda")
    with pytest.raises(ValueError, match="no 'fortran' twin"):
        kernels.twin("ch05_bm25", "fortran")
    with pytest.raises(ModuleNotFoundError):
        kernels.twin("ch99_none", "numpy")


def test_a_twin_that_cannot_run_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "kernels.ch05_bm25_numba", raising=False)
    with pytest.raises(RuntimeError, match="pip install numba"):
        kernels.twin("ch05_bm25", "numba")


def test_compiling_is_announced_once(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(kernels, "_HERE", tmp_path)
    monkeypatch.setattr(kernels, "_announced", set())
    for _ in range(2):
        kernels._announce_compiling("ch05_bm25")
    assert capsys.readouterr().err.count("compiles") == 1


def test_shares_cut_evenly():
    for sizes, threads in (([1], 4), ([1] * 10, 3), ([100, 1, 1], 2), (range(1, 50), 4)):
        bounds = kernels.shares(list(sizes), threads)
        assert bounds[0] == 0 and bounds[-1] == len(sizes) and len(bounds) <= threads + 1
        assert (np.diff(bounds) > 0).all()
    assert_close(kernels.shares([1] * 10, 2), np.array([0, 5, 10]))


def test_in_threads_keeps_the_order():
    assert kernels.in_threads(lambda x: x * x, range(9)) == [x * x for x in range(9)]
    assert kernels.in_threads(str, [7]) == ["7"]


def test_missing_names_the_module(monkeypatch):
    assert missing("numpy") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing("cuda") == "cupy is not installed"
