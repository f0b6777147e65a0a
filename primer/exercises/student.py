"""A student's file in a process of its own: calls go over pipes as JSON, never as pickles.

The judge makes the inputs and looks at the answers.  The student's code can neither change the
judge nor hang it: a call that takes too long ends with the process killed, compiled loops too.

    with Student("work/ch05_bm25.py", ["saturation"]) as impl:
        impl.saturation(2.0, 1.0)
"""
import ast
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from primer.exercises.expectations import Broken, Guarded
from primer.exercises.packing import Died, Hung, pack, receive, send, unpack

STARTING = 30.0                       # seconds more for the first call: imports, compilers
CAUGHT = (ValueError, TypeError, KeyError, IndexError, LookupError, ZeroDivisionError)


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
