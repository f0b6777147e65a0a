"""The device: what it costs the host, what its new memory holds, what it leaves undefined."""
import contextlib
import warnings
from dataclasses import dataclass

import numpy as np


@dataclass
class Count:
    """What happened; a download is a synchronisation too, and so is asking how many (nonzero)."""

    uploads: int = 0
    upload_bytes: int = 0
    downloads: int = 0
    download_bytes: int = 0
    synchronisations: int = 0
    operations: int = 0
    launches: int = 0


count = Count()
_counting = [count]
_underway = []                                                 # downloads not yet waited for


@contextlib.contextmanager
def counting():
    """with counting() as c: ...  c is the Count of what happens inside."""
    inside = Count()
    _counting.append(inside)
    try:
        yield inside
    finally:
        _counting[:] = [c for c in _counting if c is not inside]


def add(**numbers):
    """Count what happened, in each Count that is open."""
    for counted in _counting:
        for name, number in numbers.items():
            setattr(counted, name, getattr(counted, name) + number)


@contextlib.contextmanager
def quiet():
    """A GPU does not warn of overflow, division by zero or the mean of nothing."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def synchronise():
    """The host waits for the device; what was copied without waiting arrives."""
    add(synchronisations=1)
    for host, values in _underway:
        host[...] = values
    _underway.clear()


def downloaded(values, host):
    """Fill `host` with device values, at the next synchronisation; before it, it holds nothing."""
    add(downloads=1, download_bytes=values.nbytes)
    _underway.append((poison(host), values.copy()))
    return host


def uploaded(array):
    """A NumPy array that goes to the device now -> the same, counted."""
    add(uploads=1, upload_bytes=array.nbytes)
    return array


def poison(array):
    """What new device memory holds: NaN, or bytes of 0xCD, and never zeros by luck -> array."""
    if array.dtype.kind in "iu":
        array.reshape(-1).view(np.uint8).fill(0xCD)
    else:
        array.fill(True if array.dtype.kind == "b" else np.nan)
    return array


def conflict(places, sources):
    """Whether one place gets values of two sources -> bool.  places, sources: of one shape."""
    both = np.stack([places.ravel(), sources.ravel()], axis=1)                         # (m, 2)
    return len(np.unique(both, axis=0)) > len(np.unique(both[:, 0]))


def refuse_conflict(shape, key, value):
    """ValueError if a key of NumPy arrays takes two elements of `value` to one place."""
    places = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)[key]
    sources = np.arange(value.size).reshape(value.shape[-places.ndim:] or -1)
    if conflict(places, np.broadcast_to(sources, places.shape)):
        raise ValueError("two values for one place: which one wins is undefined on a GPU (an "
                         "index stands there twice; cp.add.at and its like add up)")


@contextlib.contextmanager
def in_range():
    """An index that is out of range is an error here."""
    try:
        yield
    except IndexError as error:
        raise IndexError(f"{error} (with an index array CuPy wraps around and says nothing)"
                         ) from None


class Pointer:
    """What `.data` gives: it exists, and points nowhere."""

    @property
    def ptr(self):
        """Refused: an address has no meaning here."""
        raise NotImplementedError("data.ptr: the emulator has no device addresses; pass the array "
                                  "itself to the kernel")
