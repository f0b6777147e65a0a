"""Choosing a back end: what is there, what is not, and what is said."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close, missing, needs

import kernels
import primer.ch05_bm25
from kernels import emulator
from kernels.emulator import fake_cupy


def test_the_reference_is_a_back_end():
    assert kernels.twin("ch05_bm25", "numpy") is primer.ch05_bm25


def test_a_twin_is_a_module_with_the_same_functions():
    twin = kernels.twin("ch05_bm25", "numba")
    assert twin.__name__ == "kernels.ch05_bm25_numba" and callable(twin.search)


def test_an_unwritten_twin_is_an_error():
    with pytest.raises(ValueError, match="no 'fortran' twin; choose one of numpy, numba, cud"):
        kernels.twin("ch05_bm25", "fortran")
    with pytest.raises(ModuleNotFoundError):
        kernels.twin("ch99_none", "numpy")


@pytest.mark.parametrize("package, backend, words", [
    ("numba", "numba", "pip install numba"), ("cupy", "cuda", "pip install cupy-cuda12x nvidia")])
def test_a_twin_that_cannot_run_says_what_to_install(monkeypatch, package, backend, words):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"kernels.ch05_bm25_{backend}", raising=False)
    with pytest.raises(RuntimeError, match=words):
        kernels.twin("ch05_bm25", backend)


@pytest.mark.skipif(bool(missing("cupy")), reason=str(missing("cupy")))
def test_a_machine_without_a_gpu_is_offered_the_emulator(monkeypatch):
    monkeypatch.setattr(kernels, "has_gpu", lambda: False)
    with pytest.raises(RuntimeError, match='no NVIDIA GPU. twin."ch05_bm25", "emulated"'):
        kernels.twin("ch05_bm25", "cuda")


@needs("emulated")
def test_the_emulated_twin_is_the_cuda_twin(monkeypatch, capsys):
    monkeypatch.setattr(kernels, "_announced", set())
    twin = kernels.twin("ch05_bm25", "emulated")
    assert twin.__name__ == "kernels.ch05_bm25_cuda"
    assert twin.cp is fake_cupy.module and sys.modules.get("cupy") is not twin.cp
    assert sys.modules.get("kernels.ch05_bm25_cuda") is not twin
    kernels.twin("ch05_bm25", "emulated")
    assert capsys.readouterr().err.count("thread by thread") == 1


def test_the_emulator_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    emulator.compiler.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="apt-get install g|Linux only"):
            kernels.twin("ch05_bm25", "emulated")
    finally:
        emulator.compiler.cache_clear()


def test_compiling_is_announced_once(monkeypatch, capsys):
    monkeypatch.setattr(kernels, "_announced", set())
    for _ in range(2):
        kernels._announce("ch05_bm25", "Numba compiles")
    kernels._announce("ch04_tfidf", "Numba compiles", known=True)
    assert capsys.readouterr().err == "ch05_bm25: Numba compiles\n"


ONE_BLOCK = """
import numpy as np
from kernels.ch08_negative_sampling_numba import _blocks, skipgram_block
W, U = np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)
skipgram_block(W, U, [0, 1], [0, 2], [1, 1], [0.1, 0.1], [[2], [2]])
print(W[0, 0], len(_blocks()[0].stats.cache_hits), len(_blocks()[0].stats.cache_misses))
"""


@needs("numba")
def test_kept_kernels_are_compiled_anew_where_a_file_they_call_changes(tmp_path):
    """Chapter 8's blocks hold chapter 7's functions; its own file does not change here."""
    root, copies = Path(kernels.__file__).parents[1], shutil.ignore_patterns("__pycache__")
    for folder in ("kernels", "primer"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=copies)
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}

    def answer():
        return subprocess.run([sys.executable, "-c", ONE_BLOCK], cwd=tmp_path, env=env, text=True,
                              capture_output=True, check=True).stdout.split()
    down, kept, compiled = answer()
    assert (kept, compiled) == ("0", "1") and answer() == [down, "1", "0"]
    other = tmp_path / "kernels" / "ch07_hierarchical_softmax_numba.py"
    text = other.read_text().replace("X[x, k] -= (f", "X[x, k] += (f").replace(
        "X[x, k] -= f", "X[x, k] += f")
    other.write_text(text)
    up, kept, compiled = answer()
    assert (kept, compiled) == ("0", "1") and (float(up) - 1) * (float(down) - 1) < 0


def test_shares_cut_evenly():
    for sizes, threads in (([1], 4), ([1] * 10, 3), ([100, 1, 1], 2), (range(1, 50), 4)):
        bounds = kernels.shares(list(sizes), threads)
        assert bounds[0] == 0 and bounds[-1] == len(sizes) and len(bounds) <= threads + 1
        assert (np.diff(bounds) > 0).all()
    assert_close(kernels.shares([1] * 10, 2), np.array([0, 5, 10]))


def test_in_threads_keeps_the_order():
    assert kernels.in_threads(lambda x: x * x, range(9)) == [x * x for x in range(9)]
    assert kernels.in_threads(str, [7]) == ["7"]


@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_spread_does_all_of_it_once(n, threads):
    threads(2)
    done, shares = np.zeros(n, int), []

    def kernel(share, first, stop, add):
        done[first:stop] += add
        shares.append(share)
    kernels.spread(kernel, n, 10, 2)
    assert (done == 2).all() and sorted(shares) == list(range(2 if n >= 20 else 1))


def test_spread_tells_what_went_wrong(threads):
    threads(2)

    def kernel(share, first, stop):
        if share:
            raise ValueError("in the other thread")
    with pytest.raises(ValueError, match="in the other thread"):
        kernels.spread(kernel, 100, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_spread_has_threads_of_its_own_after_a_fork():
    code = """
import os, kernels
def spread():
    done = []
    kernels.spread(lambda share, *run: done.append(share), 100, 1)
    return sorted(done) == [0, 1]
assert spread()
child = os.fork()
if not child:
    os._exit(0 if spread() else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60,
                   cwd=Path(kernels.__file__).parents[1],
                   env={**os.environ, "NUMBA_NUM_THREADS": "2"})


def test_missing_names_the_module(monkeypatch):
    assert missing("numpy") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing("cupy") == "cupy is not installed"
    monkeypatch.setattr(kernels, "has_gpu", lambda: False)
    assert missing("cuda") == "there is no NVIDIA GPU that CuPy can use"
