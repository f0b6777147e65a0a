"""What `python -m primer gpu` does: prove every CUDA kernel, and time it if there is a GPU.

    with a GPU     each twin's `examples` run on it and must equal the reference; then every kernel
                   is timed, warm and with a flushed L2, beside the least time that its bytes and
                   flops allow (roofline.py)
    without one    the gates: the compiler's figures for eight architectures; the same calls on the
                   emulator, in four orders of threads and from the compiler's PTX, equal to the
                   reference; bytes and flops counted there.  Nothing is timed, and it says so.

Bytes count each element once that a kernel reads or writes in memory, however often it does: what
a perfect cache would leave.  Flops are those of the compiler's instructions; float64 ones count
apart, since most GPUs have few units for them.
"""
import contextlib
import copy
import importlib
import platform
import shutil
import statistics

import numpy as np

import kernels
from kernels import emulator
from kernels.emulator import nvrtc, roofline
from primer.exercises.expectations import difference

REPEATS = 20
FLUSH = 256 << 20                      # bytes: more than the L2 of any GPU
SCALE = 8                              # of the examples on a GPU: counting larger ones is slow


def survey():
    """What is on this machine -> dict; device is None where CuPy finds no GPU."""
    found = {"python": platform.python_version(), "numpy": np.__version__, "cupy": None,
             "nvrtc": None, "g++": shutil.which("g++") is not None, "driver": None,
             "device": None, "arch": None}
    with contextlib.suppress(RuntimeError):
        found["nvrtc"] = nvrtc.version()
    if cupy := kernels.installed_cupy():
        found["cupy"] = cupy.__version__
        found["driver"] = cupy.cuda.runtime.driverGetVersion() or None
        if cupy.cuda.is_available():
            about = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
            found["device"] = about["name"].decode()
            found["arch"] = f"{about['major']}{about['minor']}"
    return found


def report(progress=lambda items, words: items, scale=None):
    """Prove the kernels, time them if there is a GPU -> dict.

    It has measured, device, machine, failures (list of str) and kernels, a dict for each kernel
    and architecture.  progress(items, words) -> items, shown as they are worked on.  scale: size
    of the examples, by default 1 without a GPU and 8 with one.  Raises RuntimeError if NVRTC or
    g++ is missing, which count on a machine with a GPU too; ValueError for a scale below 1.
    """
    if scale is not None and scale < 1:
        raise ValueError(f"scale: expected at least 1, got {scale}")
    here = survey()
    measured = here["device"] is not None
    nvrtc.compiler()
    emulator.compiler()
    scale = scale or (SCALE if measured else 1)
    architectures = [here["arch"]] if measured else nvrtc.ARCHITECTURES
    rows, failures = [], []
    for module in progress(nvrtc.shipped(), "twins"):
        chapter = module.twin.removesuffix("_cuda")
        runs, wrong = (on_device if measured else on_emulator)(chapter, scale)
        failures += wrong
        for arch in architectures:
            for figures in nvrtc.compile_all(module.code, arch, module.options):
                rows.append(row(module, figures, runs.get(figures.kernel)))
    failures += [f"{r['file']}: {r['kernel']} on sm_{r['arch']}: {r['spills']} bytes spilled, "
                 f"{r['stack']} of stack" for r in rows if r["spills"] or r["stack"]]
    failures += [f"{r['file']}: no example launches {r['kernel']}"
                 for r in rows if r["bytes"] is None and r["arch"] == rows[0]["arch"]]
    return {"measured": measured, "device": here["device"], "machine": here,
            "failures": failures, "kernels": rows}


def row(module, figures, run):
    """The compiler's figures of a kernel and what its run gave -> dict."""
    run = run or {"function": None, "block": 256, "dynamic": 0, "bytes": None, "flops": None,
                  "flops64": None}
    full = nvrtc.occupancy(figures, run["block"], run["dynamic"])
    (file,) = [s for s in module.sources if figures.kernel in nvrtc.kernels_in(
        kernels.cuda_source(s))]
    out = {"file": f"{file}.cu", "kernel": figures.kernel, "arch": figures.arch,
           "registers": figures.registers, "spills": figures.spills, "stack": figures.stack,
           "shared": figures.shared + run["dynamic"], "occupancy": round(full.fraction, 3),
           "limit": full.limit, "function": run["function"], "bytes": run["bytes"],
           "flops": run["flops"], "flops64": run["flops64"], "bound_s": {}}
    if run["bytes"] is not None:
        out["bound_s"] = {name: max(roofline.bound(run["bytes"], run["flops"], name)[0],
                                    roofline.bound(0, run["flops64"], name, "float64")[0])
                          for name in roofline.PEAKS}
    return out | {key: run[key] for key in ("warm_s", "flushed_s") if key in run}


# ---- without a GPU -------------------------------------------------------------------------------
def on_emulator(chapter, scale):
    """Run a twin's examples in every order and from PTX -> runs of its kernels, failures."""
    twin, failures = emulator.load(chapter), []
    runs = counted(chapter, scale, failures)
    for order in emulator.ORDERS:
        for name, arguments in examples(twin, scale):
            how = "order " + " ".join(map(str, order.values()))
            with emulator.running(**order):
                failures += compare(chapter, twin, name, arguments, how)
    return runs, failures


def counted(chapter, scale, failures):
    """Bytes and flops of a twin's kernels, from its PTX -> dict by kernel of dict.

    A kernel that several functions launch is the one of the function that moves most.
    """
    twin, runs = emulator.load(chapter), {}
    for name, arguments in examples(twin, scale):
        with emulator.running(path="ptx") as log:
            failures += compare(chapter, twin, name, arguments, "ptx")
        for kernel in {launch.kernel for launch in log.launches}:
            own = [launch for launch in log.launches if launch.kernel == kernel]
            moved = sum(x.stats["distinct_read"] + x.stats["distinct_written"] for x in own)
            if kernel not in runs or moved > runs[kernel]["bytes"]:
                runs[kernel] = {
                    "function": name, "block": int(np.prod(own[0].block)),
                    "dynamic": max(x.shared for x in own), "bytes": moved,
                    "flops": sum(x.stats["flops"] for x in own),
                    "flops64": sum(x.stats["flops64"] for x in own)}
    return runs


def examples(twin, scale):
    """The calls that prove a twin -> (name, arguments) each."""
    return twin.examples(np.random.default_rng(0), scale).items()


def compare(chapter, twin, name, arguments, how):
    """Call a twin's function, "name" or "name, remark", and the reference -> what is wrong.

    Each gets arrays of its own, and what they are afterwards is compared as well: some functions
    work in place.
    """
    reference, function = importlib.import_module(f"primer.{chapter}"), name.partition(",")[0]
    try:
        words = unlike(*(called(getattr(m, function), arguments) for m in (twin, reference)))
    except Exception as error:                            # a wrong kernel may end in anything
        words = f"{type(error).__name__}: {error}"
    return [f"{chapter}.{name} ({how}): {words}"] if words else []


def called(function, arguments):
    """The result and what became of the arrays among the arguments, which stay as they are."""
    own = copy.deepcopy(arguments)
    return function(*own), tuple(a for a in own if isinstance(a, np.ndarray))


def unlike(got, want):
    """How a result differs from the reference's, part by part -> words, or ""."""
    if isinstance(want, dict):
        return "" if got == want else "another dict"
    if isinstance(want, tuple):
        if len(got) != len(want):
            return f"{len(got)} parts, not {len(want)}"
        return next((w for w in map(unlike, got, want) if w), "")
    return difference(got, want, 1e-5, 1e-6)


# ---- with one ------------------------------------------------------------------------------------
class Timed:
    """A module of kernels whose launches are timed; `flush` runs before each of them."""

    def __init__(self, cupy, module, flush=None):
        self.cupy, self.module, self.flush, self.events = cupy, module, flush, []

    def get_function(self, name):
        """The kernel, timed."""
        return TimedKernel(self, self.module.get_function(name), name)

    def seconds(self):
        """Time spent in each kernel since the last call -> dict."""
        self.cupy.cuda.Device().synchronize()
        out = {}
        for name, start, stop in self.events:
            took = self.cupy.cuda.get_elapsed_time(start, stop) / 1e3
            out[name] = out.get(name, 0.0) + took
        self.events.clear()
        return out


class TimedKernel:
    """A kernel between two events; attributes are the kernel's own."""

    def __init__(self, timed, kernel, name):
        vars(self).update(timed=timed, kernel=kernel, name=name)

    def __getattr__(self, name):
        return getattr(self.kernel, name)

    def __setattr__(self, name, value):
        setattr(self.kernel, name, value)

    def __call__(self, *arguments, **keywords):
        if self.timed.flush:
            self.timed.flush()
        start, stop = self.timed.cupy.cuda.Event(), self.timed.cupy.cuda.Event()
        start.record()
        self.kernel(*arguments, **keywords)
        stop.record()
        self.timed.events.append((self.name, start, stop))


def on_device(chapter, scale):
    """Check a twin's examples on the GPU, then time its kernels -> runs, list of failures."""
    twin, failures = kernels.twin(chapter, "cuda"), []
    for name, arguments in examples(twin, scale):
        failures += compare(chapter, twin, name, arguments, "on the GPU")
    runs = counted(chapter, scale, failures)
    timed_runs(twin, twin.cp, runs, scale)
    return runs, failures


def timed_runs(twin, cupy, runs, scale):
    """Add warm_s and flushed_s, medians of REPEATS calls, to the runs of a twin's kernels."""
    space, module = cupy.empty(FLUSH, cupy.uint8), twin.MODULE
    for key, flush in (("warm_s", None), ("flushed_s", lambda: space.fill(1))):
        for name, arguments in examples(twin, scale):
            twin.MODULE = timed = Timed(cupy, module, flush)
            try:
                seconds = []
                for _ in range(REPEATS + 1):             # the first one warms up
                    getattr(twin, name.partition(",")[0])(*arguments)
                    seconds.append(timed.seconds())
            finally:
                twin.MODULE = module
            for kernel in seconds[0]:
                if runs.get(kernel, {}).get("function") == name:
                    runs[kernel][key] = statistics.median(s[kernel] for s in seconds[1:])


# ---- for people ----------------------------------------------------------------------------------
def lines(found):
    """A report as text -> lines."""
    here, rows = found["machine"], found["kernels"]
    yield (f"Python {here['python']}, NumPy {here['numpy']}, CuPy {here['cupy'] or 'none'}, NVRTC "
           f"{here['nvrtc'] or 'none'}, driver {here['driver'] or 'none'}, "
           f"{'g++' if here['g++'] else 'no g++'}")
    yield f"GPU: {found['device'] or 'none'}"
    yield ""
    yield (f"{'kernel':<20}{'registers':>10}{'spills':>7}{'stack':>6}{'shared':>8}{'full':>6}"
           f"{'KB':>9}{'kflop':>9}" + "".join(f"{name + ' us':>13}" for name in roofline.PEAKS)
           + ("   warm us  flushed us" if found["measured"] else ""))
    for kernel in dict.fromkeys(r["kernel"] for r in rows):
        own = [r for r in rows if r["kernel"] == kernel]
        worst = {key: max(r[key] for r in own)
                 for key in ("registers", "spills", "stack", "shared")}
        one = own[0]
        yield (f"{kernel:<20}{worst['registers']:>10}{worst['spills']:>7}{worst['stack']:>6}"
               f"{worst['shared']:>8}{min(r['occupancy'] for r in own):>6.0%}"
               + (f"{one['bytes'] / 1e3:>9.1f}{(one['flops'] + one['flops64']) / 1e3:>9.1f}"
                  if one["bytes"] is not None else f"{'':>18}")
               + "".join(f"{s * 1e6:>13.3f}" for s in one["bound_s"].values())
               + "".join(f"{one[k] * 1e6:>12.2f}" for k in ("warm_s", "flushed_s") if k in one))
    yield ""
    archs = ", ".join(dict.fromkeys(f"sm_{r['arch']}" for r in rows))
    yield (f"Registers, spills, stack, shared (bytes): the most over {archs}.  Full: the lowest "
           "share of an SM's threads.\nKB, kflop: of the example.  us: the least time in which a "
           "device could move and compute that (the launch alone takes about 3).")
    yield from closing(found)


def closing(found):
    """What was done and what not -> lines."""
    yield ""
    for failure in found["failures"]:
        yield f"WRONG  {failure}"
    if found["measured"]:
        yield ("Measured on this GPU: each result was compared with the reference, then each "
               "kernel timed.")
    else:
        yield ("Not measured: there is no GPU here.  What ran instead: the compiler for all these "
               "architectures; every kernel on the CPU in four orders of threads and from its PTX, "
               "watched for races, bounds and barriers, and equal to the reference.")
