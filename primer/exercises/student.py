"""A student's file in a process of its own: calls go over pipes as JSON, never as pickles.

The judge makes the inputs and looks at the answers.  The student's code can neither change the
judge nor hang it: a call that takes too long ends with the process killed, compiled loops too.

    with Student("work/ch05_bm25.py", ["saturation"]) as impl:
        impl.saturation(2.0, 1.0)
"""
import ast
import base64
import collections
import dataclasses
import importlib
import importlib.util
import json
import os
import select
import signal
import struct
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np

from primer.exercises.expectations import Broken, Guarded

LIMIT = 1 << 26                       # bytes of a message
STARTING = 30.0                       # seconds more for the first call: imports, compilers
PLAIN = (bool, int, float, str, type(None))
CAUGHT = (ValueError, TypeError, KeyError, IndexError, LookupError, ZeroDivisionError)
HARMLESS = ("abs", "float", "int", "len", "max", "min", "sorted", "str", "sum")


class StudentError(RuntimeError):
    """What a student's function raised: its type's name, and the line where."""

    def __init__(self, kind, words, where):
        super().__init__(f"{kind}: {words}" if kind else words)
        self.kind, self.where = kind, where


def raised(kind, words, where):
    """A StudentError that is a ValueError too where the student's was: a claim may ask for it."""
    error = next((e for e in CAUGHT if e.__name__ == kind), None)
    bases = (StudentError, error) if error else (StudentError,)
    return type("StudentError", bases, {})(kind, words, where)


class Hung(Exception):
    pass


class Died(Exception):
    pass


def pack(value):
    """Plain values, arrays, generators and the chapters' own records  ->  what JSON can hold.
    Raises TypeError for anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcU":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": data, "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, np.generic):
        return {"number": pack(np.asarray(value))}
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, PLAIN):
        return {"plain": value}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, np.random.Generator):
        return {"generator": value.bit_generator.state}
    if (record := _record(value)) is not None:
        return {"record": [type(value).__module__, type(value).__qualname__],
                "values": [pack(v) for v in record]}
    if isinstance(value, tuple) and hasattr(value, "_fields"):      # of a class of the file itself
        return {"named": [type(value).__name__, *value._fields], "values": [*map(pack, value)]}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            items = sorted(value, key=repr) if kind in (set, frozenset) else value
            return {"items": [pack(v) for v in items], "kind": kind.__name__}
    if isinstance(value, np.ndarray):
        return {"objects": [pack(v) for v in value.ravel()], "shape": value.shape}
    if isinstance(value, dict):
        return {"dict": [[pack(k), pack(v)] for k, v in value.items()]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if _is_known(value):
        return {"name": [value.__module__, value.__qualname__]}
    raise TypeError(f"a {type(value).__name__} cannot be looked at from outside")


def _is_known(value):
    """Whether it is a function or type of the project, or one of Python's harmless ones."""
    module = getattr(value, "__module__", None) or ""
    return callable(value) and (module.startswith("primer.") or module == "math"
                                or module == "builtins" and value.__name__ in HARMLESS)


def _record(value):
    """The fields of a chapter's named tuple or dataclass, or None."""
    if not type(value).__module__.startswith("primer."):
        return None
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tuple(value)
    if dataclasses.is_dataclass(value):
        return [getattr(value, f.name) for f in dataclasses.fields(value)]
    return None


def unpack(held):
    """What pack made of a value  ->  the value.  Only names of primer are looked up."""
    if "array" in held:
        data = np.frombuffer(base64.b64decode(held["array"]), np.dtype(held["dtype"]))
        return data.reshape(held["shape"]).copy()
    if "number" in held:
        return unpack(held["number"])[()]
    if "float" in held:
        return float(held["float"])
    if "complex" in held:
        return complex(*held["complex"])
    if "generator" in held:
        kind = getattr(np.random, held["generator"]["bit_generator"])
        generator = np.random.Generator(kind())
        generator.bit_generator.state = held["generator"]
        return generator
    if "name" in held or "record" in held:
        module, name = held.get("name") or held["record"]
        found = (getattr(importlib.import_module(module), name)
                 if module.startswith("primer.") or module in ("builtins", "math") else None)
        is_record = isinstance(found, type) and (hasattr(found, "_fields")
                                                 or dataclasses.is_dataclass(found))
        if not _is_known(found) or "record" in held and not is_record:
            raise TypeError(f"a {module}.{name} cannot be looked at from outside")
        return found(*map(unpack, held["values"])) if "record" in held else found
    if "named" in held:
        name, *fields = held["named"]
        return collections.namedtuple(name, fields, module="student")(
            *map(unpack, held["values"]))
    if "items" in held:
        kind = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[held["kind"]]
        return kind(map(unpack, held["items"]))
    if "objects" in held:
        out = np.empty(len(held["objects"]), object)
        out[:] = [*map(unpack, held["objects"])]
        return out.reshape(held["shape"])
    if "dict" in held:
        return {unpack(k): unpack(v) for k, v in held["dict"]}
    return range(*held["range"]) if "range" in held else held["plain"]


def send(pipe, message):
    data = json.dumps(message).encode()
    data = struct.pack("<I", len(data)) + data
    while data:
        data = data[os.write(pipe, data):]


def receive(pipe, seconds=None):
    """One message.  Raises Hung after some seconds, Died where the other side has ended."""
    def read(n):
        out = b""
        while len(out) < n:
            if seconds is not None and not select.select([pipe], [], [], seconds)[0]:
                raise Hung
            piece = os.read(pipe, n - len(out))
            if not piece:
                raise Died
            out += piece
        return out

    (size,) = struct.unpack("<I", read(4))
    if size > LIMIT:
        raise Died
    return json.loads(read(size))


class Student:
    """Behaves as a module with the named functions.  seconds: for a call, STARTING more where the
    file names Numba and a function may compile; wrap: a command to run the process under.
    """

    def __init__(self, file, names, seconds=5.0, wrap=()):
        self._file, self._seconds, self._wrap = str(Path(file).resolve()), seconds, tuple(wrap)
        self._process, self._compiles = None, "numba" in Path(file).read_text("utf-8", "replace")
        for name in names:
            setattr(self, name, self._function(name))
        self._start()                                 # imports while the judge does, too

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start(self):
        self._ready, self._called = False, set()
        self._process = subprocess.Popen(
            [*self._wrap, sys.executable, "-m", __name__, self._file], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=os.name != "nt")

    def close(self):
        if self._process is None:
            return
        if os.name == "nt":
            self._process.kill()
        else:
            os.killpg(self._process.pid, signal.SIGKILL)         # what it has started, too
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None

    def loads(self):
        """Wait until the file has been run  ->  bool, False where that does not end well."""
        try:
            self._wait()
        except (Hung, Died, OSError, ValueError):
            self.close()
        return self._process is not None

    def _wait(self):
        if self._process is None:
            self._start()
        if not self._ready:
            receive(self._process.stdout.fileno(), STARTING)
            self._ready = True

    def _ask(self, name, positional, named):
        self._wait()
        compiling = STARTING if self._compiles and name not in self._called else 0
        self._called.add(name)
        send(self._process.stdin.fileno(), [name, pack(positional), pack(named)])
        return receive(self._process.stdout.fileno(), self._seconds + compiling)

    def _function(self, name):
        def call(*positional, **named):
            try:
                kind, value = self._ask(name, positional, named)
            except Hung:
                ready = self._ready
                self.close()
                from primer.exercises.kit import Hang
                raise Hang(self._seconds if ready else STARTING) from None
            except (Died, OSError, json.JSONDecodeError):
                self.close()
                raise StudentError("", "the process ended while your function ran", "") from None
            except BaseException:                     # an alarm in mid-call: pipes out of step
                self.close()
                raise
            if kind == "todo":
                raise NotImplementedError(name)
            if kind == "broken":
                raise Broken(value[0], unpack(value[1]))
            if kind == "error":
                raise raised(*value)
            return unpack(value)
        return call


def load(file):
    """A student's file as a module, run once.  Raises what it raises; SyntaxError names its line.
    """
    text = Path(file).read_text("utf-8-sig")
    if "numba" in text:               # what it compiles is kept apart from what the twins do
        from primer import data
        os.environ.setdefault("NUMBA_CACHE_DIR", str(data.cache() / "numba"))
    module = sys.modules["student"] = type(sys)("student")       # Numba looks it up by its name
    module.__file__ = str(file)
    exec(compile(ast.parse(text, str(file)), str(file), "exec"), module.__dict__)
    return module


def place(error, file):
    """The last line of the file that an error went through  ->  "line 7: x = y", or ""."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    return f"line {lines[-1].lineno}: {lines[-1].line}" if lines else ""


def serve(file):
    """The other side: say that the file is loaded, then answer calls until the judge ends."""
    back, asked = os.dup(1), os.dup(0)
    os.dup2(2, 1)                                     # what a student prints is no answer
    os.close(0)
    sys.stdin = open(os.devnull)
    try:
        module, broken = load(file), None
    except BaseException as error:
        module, broken = None, error
    send(back, "ready")
    while True:
        try:
            name, positional, named = receive(asked)
        except Died:
            return
        try:
            if broken:
                raise broken
            impl = Guarded(module, [name])
            out = getattr(impl, name)(*unpack(positional), **unpack(named))
            answer = ["ok", pack(out)]
        except NotImplementedError:
            answer = ["todo", ""]
        except Broken as error:
            answer = ["broken", [error.claim, pack(error.shown)]]
        except BaseException as error:
            answer = ["error", [type(error).__name__, str(error)[:500], place(error, file)]]
        send(back, answer)


if __name__ == "__main__":
    serve(sys.argv[1])
