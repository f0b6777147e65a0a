"""cupy, cupy.linalg and cupy.fft: NumPy's functions with CuPy's names, parameters and refusals.

A device array goes where CuPy takes an array, a host number where it takes a size; CuPy's own
functions, that NumPy lacks, are not here.
"""
import types

import numpy as np

from kernels.emulator import cupy_names as names
from kernels.emulator.cupy_array import SCALARS, box, check_stable, ndarray, run, unbox
from kernels.emulator.cupy_device import add, poison, synchronise, uploaded

HOST = {"can_cast", "common_type", "iscomplexobj", "isrealobj", "isscalar", "may_share_memory",
        "min_scalar_type", "ndim", "result_type", "shape", "shares_memory", "size"}   # no device
SIZES = {"N", "M", "axes", "axis", "axis1", "axis2", "axisa", "axisb", "axisc", "decimals",
         "destination", "dimensions", "dims", "indices_or_sections", "k", "kth", "minlength",
         "ndim", "newshape", "num", "offset", "pad_width", "repeats", "reps", "shape", "shift",
         "source", "start", "stop", "step", "dtype", "order", "operands", "range", "n", "s",
         "norm", "d", "ndmin"}                                 # host numbers, tuples, strings
ENDS = {"linspace", "logspace"}                                # their start and stop may be arrays
WAITS = {"argwhere", "bincount", "choose", "compress", "extract", "flatnonzero", "histogram",
         "histogram2d", "histogramdd", "intersect1d", "nanmax", "nanmin", "nonzero",
         "ravel_multi_index", "setdiff1d", "setxor1d", "trim_zeros", "union1d", "unique",
         "unique_all", "unique_counts", "unique_inverse", "unique_values"}     # they look at values
ABSENT = {"apply_along_axis", "apply_over_axes", "array2string", "array_repr", "array_str",
          "format_float_positional", "format_float_scientific", "from_dlpack", "frombuffer",
          "fromfile", "fromfunction", "fromiter", "fromstring", "genfromtxt", "load", "loadtxt",
          "piecewise", "put_along_axis", "save", "savetxt", "savez", "savez_compressed",
          "vectorize"}
OWN_KERNELS = {"ElementwiseKernel", "ReductionKernel", "RawKernel", "fuse"}
ADDS = "i4 i8 u4 u8 f2 f4 f8".split()                          # dtypes that have the atomics
AT = {"add": ADDS, "subtract": ["i4", "u4"], "maximum": [t for t in ADDS if t != "f2"]}
AT["minimum"] = AT["maximum"]
AT |= dict.fromkeys(["bitwise_and", "bitwise_or", "bitwise_xor"], ["i4", "i8", "u4", "u8"])


class Functions(types.ModuleType):
    """A module of CuPy's; each name is looked up in the table when it is first used."""

    def __init__(self, name, numpy_module):
        super().__init__(f"cupy.{name}" if name else "cupy")
        self._name, self._numpy = name, numpy_module

    def __getattr__(self, short):
        name = f"{self._name}.{short}".lstrip(".")
        if short.startswith("__") or not names.exists(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {short!r}")
        value = make(name, getattr(self._numpy, short, None))
        setattr(self, short, value)
        return value


def make(name, numpy_object):
    """The fake of one name -> constant, type, function or ufunc."""
    kind = names.words_of(name)
    if kind[:1] == ["numpy"]:
        return getattr(np, kind[1])                            # the same object as NumPy's
    if kind[:1] == ["number"]:
        return float(kind[1])
    if name.rpartition(".")[2] in ABSENT or not callable(numpy_object):
        return absent(name)
    if isinstance(numpy_object, type):
        return numpy_object                                    # an exception, or finfo
    return ufunc(name, numpy_object) if kind[:1] == ["ufunc"] else function(name, numpy_object)


def absent(name):
    """A function that cannot be called here -> function that raises NotImplementedError."""
    why = "the emulator does not have it"
    if name in OWN_KERNELS:
        why = "the emulator runs kernels of .cu files only: write one, launch it with RawModule"

    def refuse(*arguments, **keywords):
        raise NotImplementedError(f"cupy.{name}: {why}")
    refuse.__name__ = name
    return refuse


def function(name, numpy_function):
    """A function of device arrays, checked and counted -> function."""
    short = name.rpartition(".")[2]

    def call(*arguments, **keywords):
        bound = names.bind(name, arguments, keywords)
        if short in HOST:
            return numpy_function(*unbox(arguments), **keywords)
        for parameter, value in bound.arguments.items():
            check(name, parameter, value)
        if short in WAITS or short == "where" and len(arguments) + len(keywords) == 1:
            synchronise()
        return _run(short, numpy_function, arguments, keywords)
    call.__name__ = short
    return call


def _run(short, numpy_function, arguments, keywords):
    """The call itself; where CuPy is more definite than NumPy, as CuPy."""
    if short in ("sort", "argsort"):                           # (a, axis=-1, kind=None)
        arguments, kind = arguments[:2], keywords.pop("kind", (*arguments, None, None)[2])
        check_stable(kind)
        keywords["kind"] = "stable"
    if short in ("empty", "empty_like"):
        add(operations=1)
        return box(poison(np.array(numpy_function(*unbox(arguments), **keywords))))
    return run(numpy_function, arguments, keywords)


def check(name, parameter, value):
    """TypeError if CuPy would refuse the value there, or copy it to the device in silence."""
    where = f"cupy.{name}: {parameter}"
    if isinstance(value, np.ndarray):
        raise TypeError(f"{where}: Unsupported type {np.ndarray}; cp.asarray copies it to the "
                        "device")
    size = parameter in SIZES and not (name in ENDS and parameter in ("start", "stop"))
    if isinstance(value, (list, tuple)):
        for part in value:
            check(name, parameter, part)
        if not size and value and not all(isinstance(v, (ndarray, list, tuple)) for v in value):
            raise TypeError(f"{where}: unsupported type {type(value)}; it takes a device array")
        if name == "lexsort":
            raise TypeError(f"{where}: CuPy takes one array of rows here, no {type(value)}")
    elif size and isinstance(value, ndarray) and parameter != "operands":
        raise TypeError(f"{where}: 'cupy.ndarray' object cannot be interpreted as an integer")


def ufunc(name, numpy_ufunc):
    """A universal function with those of its methods that CuPy has -> function."""
    def call(*arguments, **keywords):
        names.bind(name, arguments, keywords)
        for value in (*arguments, *keywords.values()):
            if isinstance(value, (list, tuple, np.ndarray)):
                raise TypeError(f"cupy.{name}: Unsupported type {type(value)}")
        return run(numpy_ufunc, arguments, keywords)

    call.__name__ = name
    call.nin, call.nout, call.nargs = numpy_ufunc.nin, numpy_ufunc.nout, numpy_ufunc.nargs
    for method in names.UFUNC_METHODS:
        setattr(call, method, _method(name, method, numpy_ufunc))
    return call


def _method(name, method, numpy_ufunc):
    def call(*arguments, **keywords):
        if method not in names.words_of(name):
            raise NotImplementedError(f"`cupy_{name}.{method}` is not supported yet")
        bound = names.bind(f"{name}.{method}", arguments, keywords).arguments
        if method == "at":
            return _at(name, numpy_ufunc, **bound)
        return run(getattr(numpy_ufunc, method), arguments, keywords)
    return call


def _at(name, numpy_ufunc, a, indices, b=None):
    """add.at and its like: by atomics, so an index may stand there twice."""
    if a.dtype.str[1:] not in AT[name]:
        raise TypeError(f"cupy.{name}.at only supports {', '.join(AT[name])} as data type")
    if not isinstance(b, (ndarray, *SCALARS)):
        raise TypeError(f"cupy.{name}.at: Unsupported type {type(b)}")
    run(numpy_ufunc.at, (a, indices, b), {})


# What copies to the device, or off it.

def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *,
          blocking=False):
    """cupy.array: from the host it is an upload."""
    if isinstance(obj, ndarray):
        made = obj.astype(obj.dtype if dtype is None else dtype, order, copy=bool(copy))
        if copy is False and made is not obj:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        missing = ndmin - made.ndim
        return made.reshape((1,) * missing + made.shape) if missing > 0 else made
    if isinstance(obj, (list, tuple)) and any(isinstance(x, ndarray) for x in obj):
        if not all(isinstance(x, ndarray) for x in obj):
            raise TypeError("cupy.array: host numbers and device arrays in one list")
        return run(np.array, (obj, dtype), {"ndmin": ndmin})
    host = np.asarray(obj)
    order = "F" if order == "F" or order in "AK" and host.flags.fnc else "C"
    made = box(np.array(host, dtype, order=order, ndmin=ndmin))
    uploaded(made._array)
    return made


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """cupy.asarray: of a device array it is no copy."""
    return array(a, dtype, copy, order or "K")


def ascontiguousarray(a, dtype=None):
    """cupy.ascontiguousarray."""
    return array(a, dtype, None, "C")


def asfortranarray(a, dtype=None):
    """cupy.asfortranarray."""
    return array(a, dtype, None, "F")


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """cupy.asnumpy: of a device array it is a download."""
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    host = np.asarray(a, order=order)
    if out is None:
        return host
    out[...] = host
    return out


def astype(x, dtype, *, copy=True):
    """cupy.astype."""
    return x.astype(dtype, copy=copy)


def put(a, ind, v, mode="wrap"):
    """cupy.put."""
    a.put(ind, v, mode)
