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
import dataclasses
import functools
import importlib
import io
import os
import pickle
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

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable, UnsatisfiedAssumption

from primer.exercises.expectations import (
    Broken,
    Guarded,
    difference,
    expect,
    expect_close,
    expect_refused,
)

__all__ = ["Broken", "Effort", "Exercise", "Guarded", "Hang", "Mutant", "Outcome", "Property",
           "alarm", "catalogue", "difference", "expect", "expect_close", "expect_refused", "quiet",
           "run_property", "sample"]

TOGETHER = 10                         # inputs to an example of Hypothesis


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
    equations: str = ""               # the chapter's that it is about: "5.3, 5.4"
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
    status: str = "passed"            # passed | broken | error | hang | todo | untried
    claim: str = ""
    inputs: dict = field(default_factory=dict)
    shown: dict = field(default_factory=dict)
    call: tuple = ()                  # (function, arguments, keywords) that the claim is about
    error: BaseException | None = None
    examples: int = 0


class _Stop(BaseException):           # BaseException: Hypothesis lets it through at once
    pass


class Hang(BaseException):
    """A call took too long; its seconds."""


@contextlib.contextmanager
def quiet():
    """Swallow what an implementation prints and warns: the report is what people read."""
    with (warnings.catch_warnings(), np.errstate(all="ignore"),
          contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def alarm(seconds):
    """Raise Hang after `seconds` (main thread, not Windows, not inside a compiled loop)."""
    in_main = threading.current_thread() is threading.main_thread()
    if not (in_main and hasattr(signal, "setitimer")):
        yield
        return

    def ring(*_):
        raise Hang(seconds)

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
        kept, inputs = inputs, copy.deepcopy(inputs)
        self.impl.calls.clear()
        self.impl.answers.clear()
        self.outcome.examples += self.failed is None
        try:
            with quiet(), alarm(self.effort.call_seconds):
                self.outcome.property.check(self.impl, **inputs)
        except UnsatisfiedAssumption:
            raise
        except NotImplementedError:
            self._keep("todo", "not written yet", kept, None)
            raise _Stop from None
        except Hang as hang:
            if self.failed is None:                       # else: keep what we have
                self._keep("hang", f"no answer after {hang.args[0]:g} s: an endless loop?", kept,
                           None)
            raise _Stop from None
        except Broken as error:
            self._keep("broken", error.claim, kept, error)
            raise
        except Exception as error:
            if self.impl.running or not self.impl.answers:
                self._keep("error", f"{type(error).__name__}: {error}", kept, error)
            else:                                         # the property stumbles over an answer
                self._unusable(error, kept)
            raise

    def _unusable(self, error, inputs):
        name, answer = self.impl.answers[-1]
        claim = (f"{name} returned None: is a `return` missing?" if answer is None else
                 f"the answer of {name} is of another kind or shape than expected: {error}")
        self._keep("broken", claim, inputs, Broken(claim, {"your answer": answer}))

    def _keep(self, status, claim, inputs, error):
        self.failed = self.failed or time.perf_counter()
        out = self.outcome
        out.status, out.claim, out.inputs, out.error = status, claim, inputs, error
        out.shown = getattr(error, "shown", {})
        out.call = self.impl.calls[-1] if self.impl.calls else ()


def run_property(prop, source, effort=None):
    """Try one property on an implementation (a module, or a dict of functions) -> Outcome."""
    effort = effort or Effort()
    inputs = sample(prop, effort.examples, effort.seed)
    first, again = _Trial(prop, source, effort), None
    with contextlib.suppress(_Stop, Exception):
        for one in inputs:
            with contextlib.suppress(UnsatisfiedAssumption):
                first(**one)
    if first.outcome.status in ("broken", "error") and effort.shrink_seconds:
        again = _Trial(prop, source, dataclasses.replace(effort, seconds=effort.shrink_seconds))
        with contextlib.suppress(_Stop, Exception):
            _hypothesis(prop, 10 * effort.examples, effort.seed, again, prop.inputs, shrink=True)
    smaller = again and again.outcome.status in ("broken", "error")
    return again.outcome if smaller else first.outcome


@functools.lru_cache(2048)
def sample(prop, examples=Effort.examples, seed=0):
    """The inputs that a property is tried on, the simplest first, no two alike  ->  list of dict,
    to copy before use.  Most of what an example of Hypothesis takes is the same for one input and
    for ten."""
    drawn, one = [], st.fixed_dictionaries(prop.inputs)
    for together, excused in ((TOGETHER, Unsatisfiable), (1, ())):
        if len(drawn) < examples:                        # ten large ones may be too large
            many = {"many": st.lists(one, min_size=together, max_size=together)}
            with contextlib.suppress(excused):
                _hypothesis(prop, 2 + examples // together, seed,
                            lambda many: drawn.extend(many), many)
    found = {}
    for inputs in drawn:
        found.setdefault(_bytes(inputs), inputs)
    return list(found.values())[:examples]


def _bytes(value):
    """What tells alike from different: equal bytes."""
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return id(value)                                 # of a student's own kind


def _hypothesis(prop, examples, seed, visit, inputs, shrink=False):
    """Let Hypothesis draw inputs, and make the first that fails smaller."""
    def body(**inputs):               # it wants a plain function
        visit(**inputs)

    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    test = hypothesis.seed(zlib.crc32(str(prop).encode()) + seed)(given(**inputs)(body))
    test = settings(max_examples=examples, phases=phases, database=None, deadline=None,
                    derandomize=False, report_multiple_bugs=False, print_blob=False,
                    verbosity=Verbosity.quiet, suppress_health_check=list(HealthCheck))(test)
    with quiet():
        test()
