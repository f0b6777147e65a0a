"""Twins of the chapters' hot functions: same names, same arguments, same results, another back end.

    from kernels import twin
    bm25 = twin("ch05_bm25", "numba")       # a module, used just as primer.ch05_bm25 is

The reference in primer/ is never a silent stand-in: a twin that cannot run raises an error.
"""
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

BACKENDS = ("numpy", "numba", "cuda")
_HERE = Path(__file__).parent
_announced = set()


def available(chapter):
    """The back ends that are written for a chapter, "numpy" first -> list of str."""
    written = [b for b in BACKENDS[1:] if (_HERE / f"{chapter}_{b}.py").exists()]
    return ["numpy", *written]


def twin(chapter, backend):
    """The module that runs `chapter` (such as "ch05_bm25") on `backend`.

    Raises ValueError for a back end that the chapter does not have, and RuntimeError, with what
    to install, for one that this machine cannot run.
    """
    if backend == "numpy":
        return importlib.import_module(f"primer.{chapter}")
    if backend not in available(chapter):
        raise ValueError(f"backend: {chapter} has no {backend!r} twin; choose one of "
                         f"{', '.join(available(chapter))}")
    try:
        module = importlib.import_module(f"kernels.{chapter}_{backend}")
    except ImportError as error:
        raise RuntimeError(f"the {backend} twin of {chapter} cannot run here: {error}. "
                           f"Install it with: python -m pip install {backend}") from error
    if backend == "numba":
        _announce_compiling(chapter)
    return module


def _announce_compiling(chapter):
    """Say once that the first call will take a while: a silent ten seconds looks like a hang."""
    compiled = any((_HERE / "__pycache__").glob(f"{chapter}_numba.*.nbi"))
    if not compiled and chapter not in _announced:
        _announced.add(chapter)
        print(f"{chapter}: Numba compiles its kernels at first use (seconds, once)",
              file=sys.stderr, flush=True)


def in_threads(function, parts):
    """[function(p) for p in parts], side by side where the kernels let go of Python's lock."""
    if len(parts) == 1:
        return [function(parts[0])]
    import numba  # here, so that choosing a back end does not need it
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(function, parts))


def shares(sizes, threads):
    """Cut (m,) sizes into at most `threads` runs of about equal total -> bounds, 0 to m."""
    total = np.cumsum(sizes)
    cuts = np.searchsorted(total, total[-1] * np.arange(1, threads) / threads) + 1
    return np.unique([0, *cuts, len(sizes)])
