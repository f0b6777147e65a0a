"""Twins of the chapters' hot functions: same names, same arguments, same results, another back end.

    from kernels import twin
    bm25 = twin("ch05_bm25", "numba")       # a module, used just as primer.ch05_bm25 is

"cuda" needs an NVIDIA GPU; "emulated" is the same twin on the CPU, thread by thread, with a report
of each race (kernels/emulator).  The reference in primer/ is never a silent stand-in: a twin that
cannot run raises an error.
"""
import functools
import importlib
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# NumPy's BLAS lets its threads spin for 30 ms after a product, on the cores that the next kernel's
# threads want: 2^22 ticks, two milliseconds, are enough.  Heard where NumPy is not loaded yet.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "22")

import numpy as np

BACKENDS = ("numpy", "numba", "cuda", "emulated")
_HERE = Path(__file__).parent
_announced = set()


def available(chapter):
    """The back ends that are written for a chapter, "numpy" first -> list of str."""
    written = [b for b in BACKENDS[1:3] if (_HERE / f"{chapter}_{b}.py").exists()]
    return ["numpy", *written, *(["emulated"] if "cuda" in written else [])]


def twin(chapter, backend):
    """The module that runs `chapter` (such as "ch05_bm25") on `backend`.

    Raises ValueError for a back end that the chapter does not have, and RuntimeError, with what
    to install or use, for one that this machine cannot run.
    """
    if backend == "numpy":
        return importlib.import_module(f"primer.{chapter}")
    if backend not in available(chapter):
        raise ValueError(f"backend: {chapter} has no {backend!r} twin; choose one of "
                         f"{', '.join(available(chapter))}")
    if backend == "emulated":
        return _emulated(chapter)
    try:
        module = importlib.import_module(f"kernels.{chapter}_{backend}")
    except ImportError as error:
        package = {"cuda": "cupy-cuda12x nvidia-cuda-nvrtc-cu12"}.get(backend, backend)
        raise RuntimeError(f"the {backend} twin of {chapter} cannot run here: {error}. "
                           f"Install it with: python -m pip install {package}") from error
    if backend == "cuda" and not has_gpu():
        raise RuntimeError(f"the cuda twin of {chapter} cannot run here: CuPy finds no NVIDIA GPU. "
                           f'twin("{chapter}", "emulated") runs its kernels on the CPU, checked')
    if backend == "numba":
        _announce(chapter, "Numba compiles its kernels at first use (seconds, once)",
                  any((_HERE / "__pycache__").glob(f"{chapter}_numba.*.nbi")))
    return module


def installed_cupy():
    """The module cupy, or None where it is not installed."""
    try:
        import cupy
    except ImportError:
        return None
    return cupy


def has_gpu():
    """Is there an NVIDIA GPU that CuPy can use? -> bool."""
    cupy = installed_cupy()
    return cupy is not None and cupy.cuda.is_available()


def _emulated(chapter):
    from kernels import emulator
    emulator.compiler()                       # an error now that says what to install
    _announce(chapter, "CUDA kernels run on the CPU, thread by thread, checked (compiled at first "
                       "use)")
    return emulator.load(chapter)


def cuda_source(*names):
    """CUDA C of the files kernels/NAME.cu, one after another, each with its own line numbers.

    A kernel that needs device functions of an earlier chapter names that file first.
    """
    return "".join(f'#line 1 "{name}.cu"\n{(_HERE / f"{name}.cu").read_text()}' for name in names)


def source_version(*names):
    """A checksum of the files kernels/NAME.py: a function that closes over it is compiled anew
    where one of them has changed.

    Numba keeps compiled code by the age of the function's own file, and by the values it closes
    over; that of functions from other files is in it, but their age is not.
    """
    return zlib.crc32(b"".join((_HERE / f"{name}.py").read_bytes() for name in names))


def _announce(chapter, words, known=False):
    """Say once what the first call will take: a silent ten seconds looks like a hang."""
    if not known and (chapter, words) not in _announced:
        _announced.add((chapter, words))
        print(f"{chapter}: {words}", file=sys.stderr, flush=True)


def in_threads(function, parts):
    """[function(p) for p in parts], side by side where the kernels let go of Python's lock."""
    if len(parts) == 1:
        return [function(parts[0])]
    import numba  # here, so that choosing a back end does not need it
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(function, parts))


def spread(kernel, n, least, *arguments):
    """kernel(share, first, stop, *arguments) over 0..n, a run a thread, each of `least` or more.

    For kernels of microseconds: the threads stay, and the caller's does the first run itself.  The
    kernel lets go of Python's lock and spreads nothing itself.
    """
    import numba
    shares = max(min(numba.get_num_threads(), n // least), 1)
    bounds = [n * share // shares for share in range(shares + 1)]
    others = [_pool(shares - 1).submit(kernel, share, *bounds[share:share + 2], *arguments)
              for share in range(1, shares)]
    kernel(0, 0, bounds[1], *arguments)
    for other in others:
        other.result()


@functools.cache
def _pool(threads):
    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)    # a fork has no threads


def shares(sizes, threads):
    """Cut (m,) sizes into at most `threads` runs of about equal total -> bounds, 0 to m."""
    total = np.cumsum(sizes)
    cuts = np.searchsorted(total, total[-1] * np.arange(1, threads) / threads) + 1
    return np.unique([0, *cuts, len(sizes)])
