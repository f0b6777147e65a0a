"""What the formats share: files that are there whole or not at all, and words as bytes."""
import gzip
import io
import os
import struct
import threading
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

BLOCK = 1 << 16
LONGEST = 1 << 16                  # bytes of a word: beyond, the file is not what it seems
BLANKS = b" \t\n\v\f\r\0"
GZIP_RATIO = 1032                  # deflate cannot shrink further


def is_gzip(path):
    """Whether the name ends in .gz  ->  bool."""
    return Path(path).suffix.lower() == ".gz"


@contextmanager
def opened(path):
    """Open for reading, gunzipped by the ending  ->  buffered binary file.

    Raises ValueError for a gzip that is damaged or cut off.
    """
    try:
        with open(path, "rb", buffering=BLOCK) as raw:
            if not is_gzip(path):
                yield raw
                return
            with io.BufferedReader(gzip.GzipFile(fileobj=raw), BLOCK) as file:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error}); truncated?") from error


@contextmanager
def replaced(path):
    """Open a file beside `path` for writing, gzipped by the ending  ->  binary file.

    It takes the name when it is whole and on the disk.  After any error, an interrupt too, it is
    gone, and what had the name before is untouched.
    """
    target = Path(os.path.realpath(path))
    side = target.with_name(f"{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(side, "wb", buffering=BLOCK) as raw:
            if is_gzip(path):                            # no name and no time: the same bytes again
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
                    yield file
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(side, target)
    except BaseException:
        side.unlink(missing_ok=True)
        raise


def check_size(path, at_least, what):
    """Raise ValueError, before memory is taken, if a file is too short for what it promises."""
    size = os.path.getsize(path)
    if at_least > size * (GZIP_RATIO if is_gzip(path) else 1):
        raise ValueError(f"{path}: {what} take at least {at_least} bytes, and the file has {size}; "
                         "truncated, or another format?")


def decoded(word, errors, place):
    """Bytes of a word  ->  str.  Raises ValueError if they are not UTF-8 and errors is strict."""
    try:
        return word.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: the word {word!r} is not UTF-8; errors='replace' or "
                         "'surrogateescape' reads it all the same") from error


def encoded(word, errors="strict"):
    """A word  ->  bytes.  Raises ValueError for one that no reader would give back: empty, with
    blanks, newlines or zero bytes, or not to be written in UTF-8."""
    try:
        out = word.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        raise ValueError(f"the word {word!r} cannot be in UTF-8 ({error.reason})") from error
    if not out or any(b in BLANKS for b in out):
        raise ValueError(f"the word {word!r} is empty or holds a blank, so that it cannot be told "
                         "from its numbers; replace blanks, by _ say")
    return out


class Bytes:
    """The bytes of an open file in their order; an end that comes too early is a ValueError."""

    def __init__(self, file, path):
        self.file, self.path, self.at = file, path, 0

    def wrong(self, what):
        """-> ValueError that names the file and the byte."""
        return ValueError(f"{self.path}, byte {self.at}: {what}")

    def numbers(self, kinds):
        """Numbers of the struct module's kinds, little-endian  ->  tuple."""
        data = self.file.read(struct.calcsize("<" + kinds))
        if len(data) < struct.calcsize("<" + kinds):
            raise self.wrong("the file ends too early; truncated?")
        self.at += len(data)
        return struct.unpack("<" + kinds, data)

    def array(self, kind, count, keep=True):
        """`count` numbers of a NumPy kind  ->  array; keep=False: read over them  ->  None."""
        size = count * np.dtype(kind).itemsize
        if count < 0:
            raise self.wrong(f"{count} numbers should come next")
        check_size(self.path, self.at + size, f"{self.at} bytes and the {count} numbers after them")
        out = np.empty(count if keep else 0, kind)
        view, have = memoryview(out.view("u1") if keep else bytearray(BLOCK)), 0
        while have < size:
            part = view[have:] if keep else view[:size - have]
            if not (got := self.file.readinto(part)):
                raise self.wrong("the file ends too early; truncated?")
            have, self.at = have + got, self.at + got
        return out.astype(np.dtype(kind).newbyteorder("="), copy=False) if keep else None

    def word(self):
        """The bytes up to a zero byte, which is read over  ->  bytes."""
        word = b""
        while (end := (ahead := self.file.peek()).find(b"\0")) < 0:
            word += self.file.read(len(ahead))
            if not ahead or len(word) > LONGEST:
                raise self.wrong(f"no zero byte ends the word {word[:20]!r}; truncated?")
        word += self.file.read(end + 1)[:-1]
        self.at += len(word) + 1
        return word
