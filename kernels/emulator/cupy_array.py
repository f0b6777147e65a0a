"""The device array of the fake CuPy: a NumPy array in a box, and what opening the box costs.

What CuPy refuses is refused; what it does silently and slowly (transfers, waiting) is counted; what
it leaves undefined (two values for one place, indices out of range, NaN as an integer) is raised.
"""
import functools
import operator

import numpy as np

from kernels.emulator import cupy_names as names
from kernels.emulator.cupy_device import (
    Pointer,
    add,
    conflict,
    downloaded,
    in_range,
    poison,
    quiet,
    refuse_conflict,
    synchronise,
    uploaded,
)

LARGEST = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}            # bytes of the kinds of dtypes
SCALARS = (bool, int, float, complex, np.bool_, np.number)
WAITS = {"nonzero", "compress", "choose"}                      # they need a size on the host
ABSENT = {"cstruct", "dump", "dumps", "flat", "mdspan", "reduced_view", "scatter_add", "base",
          "scatter_max", "scatter_min", "toDlpack", "tofile", "byteswap", "device"}
ARRAYS_ONLY = {"dot", "searchsorted", "take", "choose", "compress"}    # methods that take no list
NO_NUMPY = ("Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly.")


def box(result):
    """NumPy's results -> device arrays (scalars of 0 dimensions), also inside tuples and lists."""
    if isinstance(result, (np.ndarray, *SCALARS)):
        array = np.asarray(result)
        if array.dtype.itemsize > LARGEST.get(array.dtype.kind, 0) or not array.dtype.isnative:
            raise ValueError(f"Unsupported dtype {array.dtype}")
        device = object.__new__(ndarray)
        device._array = array
        return device
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*map(box, result))
    return type(result)(map(box, result)) if isinstance(result, (tuple, list)) else result


def unbox(value):
    """Device arrays, also inside tuples and lists -> what NumPy computes with."""
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}: a NumPy array among device arrays; "
                        "cp.asarray copies it to the device")
    if type(value) in (list, tuple):
        return type(value)(map(unbox, value))
    return value._array if isinstance(value, ndarray) else value


def run(function, arguments, keywords):
    """Compute on the device: one operation; a result that is `out` is the caller's own box."""
    add(operations=1)
    with quiet():
        result = function(*map(unbox, arguments), **{k: unbox(v) for k, v in keywords.items()})
    for given in (*arguments, *keywords.values()):
        if isinstance(given, ndarray) and given._array is result:
            return given
    return box(result)


def _open_key(key):
    """A key -> the same for NumPy, a tuple; and the arrays in it.  Host arrays are uploaded."""
    opened, arrays = [], []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, (np.ndarray, list)):               # CuPy says nothing, so it is counted
            part = uploaded(np.asarray(part, None if np.size(part) else np.int64))
        part = part._array if isinstance(part, ndarray) else part
        arrays += [part] if isinstance(part, (np.ndarray, bool, np.bool_)) else []
        opened.append(part)
    if any(np.asarray(a).dtype.kind == "b" for a in arrays):
        synchronise()                                          # how many are true?
    if not arrays and not any(part is Ellipsis for part in opened):
        opened.append(Ellipsis)                                # a view, even of one element
    return tuple(opened), arrays


class ndarray:
    """cupy.ndarray as far as the emulator goes; `_array` is the NumPy array inside."""

    __slots__ = ("_array", "__weakref__")
    __hash__ = None
    __array_priority__ = 100
    shape, ndim, size, dtype, nbytes, itemsize, strides, flags = (
        property(operator.attrgetter(f"_array.{name}")) for name in
        "shape ndim size dtype nbytes itemsize strides flags".split())
    T, mT, real, imag = (property(lambda self, name=name: box(getattr(self._array, name)))
                         for name in "T mT real imag".split())
    data = property(lambda self: Pointer())

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None or strides is not None or isinstance(shape, np.ndarray):
            raise NotImplementedError("cupy.ndarray: the emulator takes a shape, dtype and order")
        self._array = box(poison(np.empty(shape, dtype, order)))._array

    def __len__(self):
        return len(self._array)

    # To the host: each waits for the device.

    def get(self, stream=None, order="C", out=None, blocking=True):
        """A copy on the host; with blocking=False it holds nothing before a synchronisation."""
        if out is None:
            order = order if order != "A" else "F" if self.flags.fnc else "C"
            out = np.empty(self.shape, self.dtype, order)
        self._check_host(out, "Only numpy.ndarray can be obtained from cupy.ndarray",
                         "obtained from")
        downloaded(self._array, out)
        if blocking:
            synchronise()
        return out

    def _check_host(self, array, words, verb):
        if not isinstance(array, np.ndarray):
            raise TypeError(words)
        if array.dtype != self.dtype:
            raise TypeError(f"{array.dtype} array cannot be {verb} {self.dtype} array")
        if array.shape != self.shape:
            raise ValueError(f"Shape mismatch. device shape: {self.shape}, host: {array.shape}")

    def set(self, arr, stream=None):
        """Copy a NumPy array of the same shape and dtype into this one."""
        self._check_host(arr, "Only numpy.ndarray can be set to cupy.ndarray", "set to")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        self._array[...] = uploaded(arr)

    def item(self):
        """The only element, as a Python number."""
        return self.get().item()

    def tolist(self):
        """Nested lists of Python numbers."""
        return self.get().tolist()

    def tobytes(self, order="C"):
        """The bytes of the elements."""
        return self.get().tobytes(order)

    def __bool__(self):
        return bool(self.get())

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))             # a view a step, on the device

    def __format__(self, spec):
        return format(self.get(), spec)

    # Refused.

    def __array__(self, dtype=None, copy=None):
        raise TypeError(NO_NUMPY)

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        """np.float32(2) * device is CuPy's product; np.exp(device) is taken for a slip."""
        if any(isinstance(x, np.ndarray) for x in (*inputs, *keywords.get("out", ()))):
            raise TypeError(f"Unsupported type {np.ndarray}: NumPy and CuPy arrays in one {ufunc}")
        if ufunc in _OPERATOR and method == "__call__" and isinstance(inputs[0], np.generic):
            return run(ufunc, inputs, keywords)
        raise TypeError(f"np.{ufunc.__name__} of a device array: write cp.{ufunc.__name__}")

    def __array_function__(self, function, types, arguments, keywords):
        raise TypeError(f"np.{function.__name__} of a device array: write cp.{function.__name__}")

    # Indices.

    def __getitem__(self, key):
        add(operations=1)
        key, arrays = _open_key(key)
        with in_range():
            found = self._array[key]
        return box(np.array(found) if arrays else found)

    def __setitem__(self, key, value):
        if not isinstance(value, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(value)}: assign a number or a device array")
        add(operations=1)
        (key, arrays), value = _open_key(key), unbox(value)
        with in_range(), quiet():
            self._array[key] = value
        if arrays and np.size(value) > 1:
            refuse_conflict(self.shape, key, value)

    # Methods: those of the table, with its parameters.

    def __getattr__(self, name):
        if name.startswith("_") or not names.exists(f"ndarray.{name}"):
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        if name in ABSENT:
            raise NotImplementedError(f"the emulator has no cupy.ndarray.{name}")
        return functools.partial(self._call, name)

    def _call(self, name, *arguments, **keywords):
        names.bind(f"ndarray.{name}", arguments, keywords)
        if name in ARRAYS_ONLY and not isinstance(arguments[0], (ndarray, *SCALARS)):
            raise TypeError(f"cupy.ndarray.{name}: unsupported type {type(arguments[0])}; it takes "
                            "a device array")
        if name in WAITS:
            synchronise()
        if name == "ptp":                                      # NumPy 2 has the function only
            return run(np.ptp, (self, *arguments), keywords)
        return run(lambda x, *a, **k: getattr(x, name)(*a, **k), (self, *arguments), keywords)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        """Another type; NaN, infinity and what is too large for an integer are errors here."""
        if casting is not None or subok is not None:
            raise TypeError(f"{'casting' if subok is None else 'subok'} is not supported yet")
        with np.errstate(over="ignore", invalid="raise"):
            try:
                array = self._array.astype(dtype, order, copy=copy)
            except FloatingPointError as error:
                raise ValueError(f"{error}: what the integer is, is undefined on a GPU") from None
        if array is self._array:
            return self
        add(operations=1)
        return box(array)

    def copy(self, order="C"):
        """A copy on the device."""
        return self.astype(self.dtype, order)

    def argsort(self, axis=-1, kind=None):
        """CuPy's sorts are stable."""
        check_stable(kind)
        return run(np.argsort, (self, axis), {"kind": "stable"})

    def sort(self, axis=-1, kind=None):
        """Sort this array itself."""
        check_stable(kind)
        run(np.ndarray.sort, (self, axis), {"kind": "stable"})

    def put(self, indices, values, mode="wrap"):
        """Give the places `indices`, of the flattened array, the values."""
        at, size = np.ravel(unbox(indices)) % max(self.size, 1), np.size(unbox(values))
        if size > 1 and conflict(at, np.resize(np.arange(size), at.shape)):
            raise ValueError("put: two values for one place: which one wins is undefined on a GPU")
        run(np.put, (self, indices, values, mode), {})


def check_stable(kind):
    """ValueError for any order of equals but CuPy's."""
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


_OPERATOR = {np.add, np.subtract, np.multiply, np.true_divide, np.floor_divide, np.remainder,
             np.power, np.matmul, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.left_shift,
             np.right_shift, np.divmod, np.less, np.less_equal, np.greater, np.greater_equal,
             np.equal, np.not_equal}


def _binary(function, swapped=False):
    """x + y, x += y and the like; y is a device array or a number."""
    def operate(self, other):
        if not isinstance(other, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(other)}: {function.__name__} takes device "
                            "arrays and numbers")
        return run(function, (other, self) if swapped else (self, other), {})
    return operate


def _unary(function):
    return lambda self: run(function, (self,), {})


def _host(function):
    return lambda self: function(self.get())


for _name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split():
    _function = getattr(operator, f"__{_name}__")
    setattr(ndarray, f"__{_name}__", _binary(_function))
    setattr(ndarray, f"__r{_name}__", _binary(_function, swapped=True))
    if _name != "matmul":
        setattr(ndarray, f"__i{_name}__", _binary(getattr(operator, f"__i{_name}__")))
for _name in "lt le gt ge eq ne".split():
    setattr(ndarray, f"__{_name}__", _binary(getattr(operator, f"__{_name}__")))
ndarray.__divmod__, ndarray.__rdivmod__ = _binary(divmod), _binary(divmod, swapped=True)
for _name in "neg pos abs invert".split():
    setattr(ndarray, f"__{_name}__", _unary(getattr(operator, _name)))
for _function in (float, int, complex, repr, str):
    setattr(ndarray, f"__{_function.__name__}__", _host(_function))
