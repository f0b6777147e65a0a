"""CUDA kernels on a machine without a GPU: compiled, run, watched, and their traffic counted.

    from kernels import emulator
    bm25 = emulator.load("ch05_bm25")              # the CUDA twin; its cupy is the emulator's
    with emulator.running(order="random", seed=1, path="ptx") as log:
        bm25.search(postings, queries, 10)         # KernelError if the checker finds anything
    log.count.downloads, log.launches[0].stats

Four gates, each a file to read by itself:

    compile  nvrtc.py: NVIDIA's compiler makes machine code for eight architectures
    run      build.py, machine.py: g++ compiles the .cu as it stands (cuda.h); scheduler.cpp and
             meeting.cpp run its threads, checker.cpp watches each load and store
    ptx      ptx.py: what NVIDIA's compiler made of it, on the same scheduler and checker
    host     fake_cupy.py: the rest of the twin, with CuPy's names, signatures and refusals;
             lint.py reads what no test happens to run

What they cannot see: README.md, in this folder.
"""
import contextlib
import importlib
import sys
import threading
from functools import lru_cache
from typing import NamedTuple

from kernels.emulator import fake_cupy
from kernels.emulator.build import KernelError, compiler
from kernels.emulator.machine import Module
from kernels.emulator.nvrtc import ptx_of

__all__ = ["KernelError", "Launch", "Log", "Module", "ORDERS", "compiler", "load", "ptx_of",
           "running"]
ORDERS = (dict(order="forward"), dict(order="backward"),
          dict(order="random", seed=1, preempt=True), dict(order="random", seed=2, preempt=True))
_settings = dict(order="forward", seed=0, preempt=False, path="g++", arch="80", check=True,
                 traffic=False, edits=())
_logs = []
_twins = {}                                        # what `load` imported, by module name
_lock = threading.RLock()


class Launch(NamedTuple):
    """A kernel that ran; stats: bytes moved; requests: by line, if traffic was asked for."""

    kernel: str
    grid: tuple
    block: tuple
    shared: int
    stats: dict
    requests: list


class Log(NamedTuple):
    """What happened in a `running` block: launches (list), and a count of transfers and waiting."""

    launches: list
    count: fake_cupy.Count


@contextlib.contextmanager
def running(**changes):
    """How kernels run inside the block -> Log.

    order "forward", "backward" or "random" (with a seed; preempt=True: also change threads before
    atomics), path "g++" or "ptx" (arch "80"), check, traffic, edits: pairs (old, new) of source
    text that stands once in a kernel's code, to see what a mistake does.  Raises TypeError for a
    name that is no setting, ValueError for an edit that met no code.
    """
    unknown = set(changes) - set(_settings)
    if unknown:
        raise TypeError(f"running: no setting {', '.join(sorted(unknown))}; there are "
                        f"{', '.join(_settings)}")
    before, met = dict(_settings), set()
    _settings.update(changes)
    with fake_cupy.counting() as count:
        log = Log([], count)
        _logs.append((log, met))
        try:
            yield log
        finally:
            _settings.update(before)
            _logs.pop()
    if lost := set(changes.get("edits", ())) - met:
        raise ValueError(f"edits: {sorted(lost)[0][0]!r} stands once in no kernel that ran")


@lru_cache(maxsize=512)
def _module(code, path, arch, check, traffic):
    return Module(code, path, arch, check, traffic)


def _launch(code, name, grid, block, args, shared_mem, limit):
    """What fake_cupy calls for a launch: run it as the settings say, and write it down."""
    s = _settings
    for edit in s["edits"]:
        if code.count(edit[0]) == 1:
            code = code.replace(*edit)
            for _, met in _logs:
                met.add(edit)
    function = _module(code, s["path"], s["arch"], s["check"], s["traffic"]).get_function(name)
    function(grid, block, args, shared_mem=shared_mem, limit=limit, order=s["order"],
             seed=s["seed"], preempt=s["preempt"])
    if _logs:
        requests = function.requests() if s["traffic"] else []
        launch = Launch(name, grid, block, shared_mem, function.stats(), requests)
        for log, _ in _logs:
            log.launches.append(launch)


fake_cupy.launch = _launch


def load(chapter):
    """The CUDA twin of a chapter such as "ch05_bm25", for the emulator -> module.

    It is a module of its own, whose `cupy` is the emulator's; the one that
    `import kernels.ch05_bm25_cuda` gives, for a device, stays apart.
    """
    with _lock:
        ours = {"cupy": fake_cupy.module, **_twins}
        theirs = {n: sys.modules.pop(n) for n in list(sys.modules) if n == "cupy" or _is_twin(n)}
        sys.modules.update(ours)
        try:
            return importlib.import_module(f"kernels.{chapter}_cuda")
        finally:
            _twins.update({n: m for n, m in sys.modules.items() if _is_twin(n)})
            for name in [n for n in sys.modules if n == "cupy" or _is_twin(n)]:
                del sys.modules[name]
            sys.modules.update(theirs)


def _is_twin(name):
    return name.startswith("kernels.ch") and name.endswith("_cuda")
