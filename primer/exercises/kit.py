"""The kit: say what must hold of a function, try it on many inputs, keep the smallest that breaks.

    saturation = Exercise("ch05.saturation", "primer.ch05_bm25", ["saturation"], "Saturation")

    @saturation.property("one more occurrence never scores less", tf=st.integers(0, 50))
    def rises(impl, tf):                       # impl.saturation is the function under trial
        expect(impl.saturation(tf + 1.0, 1.0) >= impl.saturation(float(tf), 1.0), "it rises")

    saturation.mutant("saturation", "k1 + 1", "k1", "the factor (k1 + 1) lost its 1")

Inputs are plain values, so that a counterexample can be shown, pasted and replayed: a property
takes no `st.data()` and no random generator.
"""
import contextlib
import copy
import importlib
import io
import os
import signal
import tempfile
import threading
import time
import warnings
import zlib
from dataclasses import dataclass, field

import numpy as np

# Hypothesis keeps a cache in the current folder even without a database: not in a student's.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY",
                      os.path.join(tempfile.gettempdir(), "hypothesis-primer"))

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import UnsatisfiedAssumption


class Broken(AssertionError):
    """A claim that did not hold, with the values to show."""

    def __init__(self, claim, shown):
        super().__init__("\n".join([claim, *(f"    {k} = {v}" for k, v in shown.items())]))
        self.claim, self.shown = claim, shown


def expect(holds, claim, **shown):
    """Raise Broken unless `holds`; `shown` are the values that explain it."""
    if not holds:
        raise Broken(claim, shown)


def difference(got, want, rtol=1e-9, atol=1e-12):
    """The one comparison of the house -> "" or the first difference in words.

    Checks shape, dtype kind (of arrays), finiteness and values.  It never broadcasts, and NaN
    never passes.
    """
    if got is None:
        return "the function returned None: is a `return` missing?"
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return f"the shape is {got.shape}, expected {want.shape}"
    kind = {"u": "i"}
    if want.ndim and kind.get(got.dtype.kind, got.dtype.kind) != kind.get(want.dtype.kind,
                                                                            want.dtype.kind):
        return f"the dtype is {got.dtype}, expected {want.dtype}"
    if got.dtype.kind not in "biufc" or want.dtype.kind not in "biufc":
        return "" if np.array_equal(got, want) else "the values differ"
    if not np.isfinite(want).all():
        return "the expected value itself is not finite"
    if not np.isfinite(got).all():
        return "the answer holds NaN or infinity"
    if got.dtype.kind == "b" or want.dtype.kind == "b":
        return "" if np.array_equal(got, want) else "the values differ"
    gap = np.abs(np.subtract(got, want, dtype=np.result_type(got, want, np.float64)))
    if (gap <= atol + rtol * np.abs(want)).all():
        return ""
    return f"the values differ by up to {gap.max():.3g}"


def expect_close(got, want, claim, rtol=1e-9, atol=1e-12):
    """Raise Broken unless `got` equals `want` by `difference`."""
    words = difference(got, want, rtol, atol)
    if words:
        raise Broken(f"{claim}: {words}", {"your answer": got, "expected": want})


@dataclass(frozen=True)
class Mutant:
    """A typical mistake, as a patch `old -> new` on the syntax tree of one function."""

    function: str
    old: str
    new: str
    mistake: str


@dataclass(frozen=True, eq=False)
class Property:
    """What must hold of an exercise's functions, for every input that the strategies draw."""

    exercise: str
    functions: tuple
    name: str
    claim: str
    hint: str
    inputs: dict
    check: object

    def __str__(self):
        return f"{self.exercise}:{self.name}"


@dataclass
class Exercise:
    """Functions to write, properties that judge them, mutants that judge the properties."""

    id: str
    reference: str                    # the module with the right answer
    functions: list
    title: str
    properties: list = field(default_factory=list)
    mutants: list = field(default_factory=list)

    def property(self, claim, *, hint="", **inputs):
        """Decorator: `check(impl, **inputs)` raises Broken, by expect or expect_close."""
        def register(check):
            self.properties.append(Property(self.id, tuple(self.functions), check.__name__,
                                            claim, hint, inputs, check))
            return check
        return register

    def mutant(self, function, old, new, mistake):
        self.mutants.append(Mutant(function, old, new, mistake))


def catalogue(chapter):
    """The exercises of a chapter, easy to hard: those that its catalogue defines, in order."""
    module = importlib.import_module(f"primer.exercises.{chapter}")
    return [v for v in vars(module).values() if isinstance(v, Exercise)]


@dataclass(frozen=True)
class Effort:
    examples: int = 50                # what a student's own check runs
    seed: int = 0
    seconds: float = 20.0             # for one property
    call_seconds: float = 5.0         # for one example: longer is taken for an endless loop
    shrink_seconds: float = 3.0       # 0: do not look for a smaller counterexample


@dataclass
class Outcome:
    """What came of one property on one implementation; `inputs` is the smallest counterexample."""

    property: Property
    status: str = "passed"            # passed | broken | error | hang | todo
    claim: str = ""
    inputs: dict = field(default_factory=dict)
    shown: dict = field(default_factory=dict)
    call: tuple = ()                  # (function, arguments, keywords) that the claim is about
    error: BaseException | None = None
    examples: int = 0


class _Stop(BaseException):           # BaseException: Hypothesis lets it through at once
    pass


class _Hang(BaseException):
    pass


class Guarded:
    """An implementation whose calls are remembered, and checked for changed arguments."""

    def __init__(self, source, names):
        self.calls = []
        for name in names:
            function = source.get(name) if isinstance(source, dict) else getattr(source, name, None)
            setattr(self, name, self._guard(name, function))

    def _guard(self, name, function):
        def call(*args, **kwargs):
            if function is None:
                raise NotImplementedError(name)
            before = copy.deepcopy((args, kwargs))
            self.calls.append((name, *before))
            out = function(*args, **kwargs)
            for now, then in zip((*args, *kwargs.values()), (*before[0], *before[1].values()),
                                 strict=True):
                if isinstance(now, np.ndarray) and now.tobytes() != then.tobytes():
                    raise Broken(f"{name} must not change the array it was given",
                                 {"before": then, "after": now})
            return out
        return call


@contextlib.contextmanager
def _quiet():
    """Swallow what an implementation prints and warns: the report is what people read."""
    with (warnings.catch_warnings(), np.errstate(all="ignore"),
          contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _alarm(seconds):
    """Raise _Hang after `seconds` (main thread, not Windows, not inside a compiled loop)."""
    in_main = threading.current_thread() is threading.main_thread()
    if not (in_main and hasattr(signal, "setitimer")):
        yield
        return

    def ring(*_):
        raise _Hang

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


class _Trial:
    """One property on one implementation: the body that Hypothesis calls, and its memory."""

    def __init__(self, prop, source, effort):
        self.outcome = Outcome(prop, claim=prop.claim)
        self.impl = Guarded(source, prop.functions)
        self.effort, self.started, self.failed = effort, time.perf_counter(), None

    def __call__(self, **inputs):
        now = time.perf_counter()
        if self.failed is None and now - self.started > self.effort.seconds:
            raise _Stop                                   # slow, but not wrong so far
        if self.failed is not None and now - self.failed > self.effort.shrink_seconds:
            raise _Stop                                   # keep the smallest one seen so far
        kept = copy.deepcopy(inputs)
        self.impl.calls.clear()
        self.outcome.examples += self.failed is None
        try:
            with _quiet(), _alarm(self.effort.call_seconds):
                self.outcome.property.check(self.impl, **inputs)
        except UnsatisfiedAssumption:
            raise
        except NotImplementedError:
            self._keep("todo", "not written yet", kept, None)
            raise _Stop from None
        except _Hang:
            if self.failed is None:                       # else: keep what we have
                self._keep("hang", f"no answer after {self.effort.call_seconds:g} s: "
                                   "an endless loop?", kept, None)
            raise _Stop from None
        except Broken as error:
            self._keep("broken", error.claim, kept, error)
            raise
        except Exception as error:
            self._keep("error", f"{type(error).__name__}: {error}", kept, error)
            raise

    def _keep(self, status, claim, inputs, error):
        self.failed = self.failed or time.perf_counter()
        out = self.outcome
        out.status, out.claim, out.inputs, out.error = status, claim, inputs, error
        out.shown = getattr(error, "shown", {})
        out.call = self.impl.calls[-1] if self.impl.calls else ()


def run_property(prop, source, effort=None):
    """Try one property on an implementation (a module, or a dict of functions) -> Outcome."""
    effort = effort or Effort()
    trial = _Trial(prop, source, effort)

    def body(**inputs):               # Hypothesis wants a plain function
        trial(**inputs)

    phases = [Phase.generate, *([Phase.shrink] if effort.shrink_seconds else [])]
    test = seed(zlib.crc32(str(prop).encode()) + effort.seed)(given(**prop.inputs)(body))
    test = settings(max_examples=effort.examples, phases=phases, database=None, deadline=None,
                    derandomize=False, report_multiple_bugs=False, print_blob=False,
                    verbosity=Verbosity.quiet, suppress_health_check=list(HealthCheck))(test)
    try:
        with _quiet():
            test()
    except _Stop:
        pass
    except Exception:
        if trial.outcome.status == "passed":              # a trouble of Hypothesis itself
            raise
    return trial.outcome
