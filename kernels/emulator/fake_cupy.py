"""A CuPy for machines without a GPU: `module` stands in for cupy while a *_cuda.py twin runs.

Device arrays are NumPy arrays in boxes (cupy_array.py), functions are NumPy's under CuPy's names,
parameters and refusals (cupy_functions.py, cupy_names.json), and a launch is handed to `launch`,
which the emulator sets.  `count` counts transfers, waiting, operations and launches.

What it cannot know: time; streams that overlap; the memory of a device; how cuBLAS and CuPy's own
kernels round, and in which order they add (NumPy computes here); what CuPy does with a singular
matrix or a negative power of integers (NumPy's errors are raised); older CuPy's types of results.
It is stricter where CuPy would help in silence: np.f(device) for cp.f(device), lists and NumPy
arrays of one element in the place of device arrays, None for a null pointer, are refused.
"""
import importlib.machinery
import re
import types

import numpy as np

from kernels.emulator import cupy_functions as functions
from kernels.emulator import cupy_names as names
from kernels.emulator.cupy_array import box, ndarray, unbox
from kernels.emulator.cupy_device import Count, add, count, counting, synchronise

__all__ = ["Count", "count", "counting", "launch", "module", "ndarray"]
OPTIONS = re.compile(r"--?(std=|use_fast_math$|generate-line-info$|lineinfo$|G$|g$)")
ATTRIBUTES = {"MultiProcessorCount": 108, "WarpSize": 32, "MaxThreadsPerBlock": 1024,
              "MaxSharedMemoryPerBlock": 48 << 10, "MaxSharedMemoryPerBlockOptin": 163 << 10,
              "MaxSharedMemoryPerMultiprocessor": 164 << 10, "MaxRegistersPerBlock": 65536,
              "MaxThreadsPerMultiProcessor": 2048}             # an A100, compute capability 8.0
PEPPER = 0xC0DA                                                # other random numbers than NumPy's


def launch(code, name, grid, block, args, shared_mem, limit):
    """Run a kernel: replaced by the emulator.  args: NumPy arrays and scalars; limit: bytes of
    dynamic shared memory that the kernel may ask for."""
    raise RuntimeError("no runner: kernels.emulator sets fake_cupy.launch")


# Kernels.

class RawModule:
    """cupy.RawModule: CUDA C, and the kernels in it; compiled when one is launched."""

    def __init__(self, **keywords):
        given = dict(names.bind("RawModule", (), keywords).arguments)
        code, options = given.pop("code", None), given.pop("options", ())
        if given.pop("path", None) is not None or given.pop("backend", "nvrtc") != "nvrtc":
            raise NotImplementedError("RawModule: the emulator takes code=... for nvrtc, no files")
        if code is None:
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        for word, value, kind in (("code", code, str), ("options", options, tuple)):
            if not isinstance(value, kind):
                raise TypeError(f"Argument '{word}' has incorrect type (expected {kind.__name__}, "
                                f"got {type(value).__name__})")
        strange = [o for o in options if not OPTIONS.match(o)] + [k for k in given if given[k]]
        if strange:
            raise NotImplementedError(f"RawModule: the emulator ignores {', '.join(strange)}; say "
                                      "it in the code")
        if not re.search(r"\b__global__\b", code):
            raise ValueError("RawModule: code holds no __global__ function (is it a file's name?)")
        self.code, self.options, self.backend = code, options, "nvrtc"

    def get_function(self, name):
        """The kernel of that name."""
        if not re.search(rf"\b__global__\b[^;{{]*\b{re.escape(name)}\s*\(", self.code):
            raise RuntimeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        return Kernel(self.code, name)


class Kernel:
    """A kernel: kernel(grid, block, args, *, shared_mem=0, stream=None) launches it."""

    def __init__(self, code, name):
        self.code, self.name, self.__name__ = code, name, name
        self.max_dynamic_shared_size_bytes = 48 << 10

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        sizes = [self._sizes(*pair) for pair in (("grid", grid), ("block", block))]
        if not isinstance(args, (tuple, list)):
            raise TypeError(f"{self.name}: args are a tuple, not {type(args).__name__}")
        opened = [self._argument(i, value) for i, value in enumerate(args)]
        add(launches=1)
        launch(self.code, self.name, *sizes, opened, shared_mem, self.max_dynamic_shared_size_bytes)

    def _sizes(self, word, sizes):
        """(x, y, z) of a grid or block, as ints."""
        if not isinstance(sizes, tuple) or not 1 <= len(sizes) <= 3:
            raise TypeError(f"Argument '{word}' has incorrect type (expected tuple of one to three "
                            f"whole numbers, got {sizes!r})")
        if not all(isinstance(n, (int, np.integer)) for n in sizes):
            raise TypeError(f"{self.name}: {word} {sizes}: whole numbers only")
        if min(sizes) < 1:
            raise ValueError(f"{self.name}: {word} {sizes}: CuPy would launch 1 in place of 0; "
                             "return early if there is nothing to do")
        return tuple(int(n) for n in (*sizes, 1, 1)[:3])

    def _argument(self, i, value):
        """One argument as the kernel gets it: a NumPy array (device memory) or a NumPy scalar."""
        where = f"{self.name}: argument {i}"
        if isinstance(value, ndarray):
            if not value.flags.c_contiguous:
                raise ValueError(f"{where} is not C-contiguous: a kernel sees memory, no strides; "
                                 "use cp.ascontiguousarray")
            return value._array
        if isinstance(value, np.ndarray):
            raise TypeError(f"{where}: You are trying to pass a numpy.ndarray of shape "
                            f"{value.shape} as a kernel parameter; pass a cupy.ndarray")
        if isinstance(value, (np.number, np.bool_)):
            return value
        kind = {bool: "1 byte", int: "8 bytes", float: "a double"}.get(type(value))
        why = f"CuPy passes {kind}, unconverted; write np.int32(...), np.float32(...)"
        raise TypeError(f"{where}: {type(value).__name__} {value!r}: "
                        f"{why if kind else 'no array and no NumPy scalar'}")


# cupy.cuda: one device, and everything is done as soon as it is asked for.

class Device:
    """cupy.cuda.Device of the emulator's only device."""

    compute_capability, attributes = "80", ATTRIBUTES

    def __init__(self, device=0):
        if device not in (None, 0):
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def use(self):
        """Make it the current device, which it is."""

    def synchronize(self):
        """Wait for the device."""
        synchronise()


class Stream:
    """cupy.cuda.Stream; streams do not overlap here."""

    null, done = None, True

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def use(self):
        """Make it the current stream -> itself."""
        return self

    def synchronize(self):
        """Wait for what was asked of the stream."""
        synchronise()

    def record(self, event=None):
        """Record an event -> Event."""
        return event or Event()

    def wait_event(self, event):
        """Later work waits for the event, which is over."""


class Event:
    """cupy.cuda.Event."""

    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        """Note where the stream is."""

    def synchronize(self):
        """Wait for the event."""
        synchronise()


def get_elapsed_time(start_event, end_event):
    """Refused: an emulator has no times."""
    raise NotImplementedError("get_elapsed_time: no time passes in the emulator; measure on a GPU")


# cupy.random: the generator only.

class Generator:
    """cupy.random.Generator: CuPy's methods, deliberately with other numbers than NumPy's."""

    def __init__(self, seed=None):
        self._numpy = np.random.default_rng(None if seed is None else [int(seed), PEPPER])

    def __getattr__(self, name):
        full = f"random.Generator.{name}"
        if name.startswith("_") or not names.exists(full):
            raise AttributeError(f"'cupy.random.Generator' object has no attribute {name!r}")

        def call(*arguments, **keywords):
            bound = names.bind(full, arguments, keywords).arguments
            dtype = bound.pop("dtype", None) if name in ("beta", "uniform") else None
            add(operations=1)
            drawn = np.asarray(getattr(self._numpy, name)(**{k: unbox(v) for k, v in
                                                             bound.items()}))
            if bound.get("out") is not None:
                return bound["out"]
            return box(drawn if dtype is None else drawn.astype(dtype))
        return call


class _Module(types.ModuleType):
    """A module whose names that CuPy has, and the emulator lacks, say so when called."""

    def __getattr__(self, short):
        name = f"{self.__name__.partition('.')[2]}.{short}"
        if short.startswith("__") or not names.exists(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {short!r}")
        return functions.absent(name)


def _submodule(name, **contents):
    made = _Module(f"cupy.{name}")
    vars(made).update(contents)
    return made


def get_array_module(*args):
    """cupy if a device array is among the arguments, else NumPy."""
    return module if any(isinstance(x, ndarray) for x in args) else np


def _assemble():
    """The module that `import cupy` gives."""
    Stream.null = Stream(null=True)
    runtime = _submodule("cuda.runtime", deviceSynchronize=synchronise, getDeviceCount=lambda: 1,
                         getDevice=lambda: 0)
    cuda = _submodule("cuda", is_available=lambda: True, Device=Device, Stream=Stream, Event=Event,
                      get_current_stream=lambda: Stream.null, get_elapsed_time=get_elapsed_time,
                      get_device_id=lambda: 0, runtime=runtime)
    random = _submodule("random", Generator=Generator, default_rng=Generator)
    made = functions.Functions("", np)
    made.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    made.__version__ = names.VERSION
    for part in (functions.array, functions.asarray, functions.asnumpy, functions.astype,
                 functions.ascontiguousarray, functions.asfortranarray, functions.put,
                 get_array_module):
        setattr(made, part.__name__, part)
    made.asanyarray, made.ndarray, made.RawModule = functions.asarray, ndarray, RawModule
    made.linalg, made.fft = (functions.Functions(n, getattr(np, n)) for n in ("linalg", "fft"))
    made.random, made.cuda = random, cuda
    return made


module = _assemble()
