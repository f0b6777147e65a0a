"""Judge a student's functions: check("ch05.saturation", saturation), in a notebook or in a file.

    judge(exercise, source)         every property tried                      -> Report
    diagnose(exercise, source)      the one known mistake that answers alike  -> str
    check(id, *functions)           what a cell of a notebook calls
    check_property(id, f, n=...)    the other direction: a student's property, tried on mistakes
"""
import contextlib
import copy
import dataclasses
import functools
import importlib
import itertools
import logging
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from primer.exercises import feedback
from primer.exercises.expectations import Broken, Guarded
from primer.exercises.kit import (
    Effort,
    Exercise,
    Hang,
    Outcome,
    Property,
    UnsatisfiedAssumption,
    alarm,
    catalogue,
    quiet,
    run_property,
    sample,
)
from primer.exercises.mutate import build

KERNELS = Path(__file__).parents[2] / "kernels"
EFFORTS = {"quick": Effort(), "grading": Effort(examples=150, seed=1, seconds=30.0)}
REPLAYED = 40, 7                      # inputs a property that tell mistakes apart; their seed
DIFFERENT = 2                         # so many answers must be wrong before a mistake is named
PATIENCE = 5.0                        # seconds for a slow student's answers: fewer inputs then


class NotYet(AssertionError):
    """A property does not hold.  IPython shows its message alone."""

    def _render_traceback_(self):
        return [str(self)]


@dataclass(repr=False)
class Report:
    """An exercise, an Outcome for each property, and the name of the mistake or ""."""

    exercise: Exercise
    outcomes: list = field(default_factory=list)
    diagnosis: str = ""

    @property
    def passed(self):
        return all(o.status == "passed" for o in self.outcomes)

    @property
    def fraction(self):
        """The share of properties that hold."""
        return sum(o.status == "passed" for o in self.outcomes) / len(self.outcomes)

    def __str__(self):
        return feedback.as_text(self)

    __repr__ = __str__                # a dataclass's own would print every strategy

    def _repr_html_(self):
        return feedback.as_html(self)


def chapters():
    """Names of the chapters with exercises, not of their parts  ->  ["ch01_geometry", ...]."""
    found = sorted(p.stem for p in Path(__file__).parent.glob("ch[0-9][0-9]_*.py"))
    return [name for name in found if not any(name.startswith(f"{whole}_") for whole in found)]


def chapter_of(name):
    """"ch05", "ch05.idf" or "ch05_bm25"  ->  "ch05_bm25".  Raises LookupError for no chapter."""
    for chapter in chapters():
        if name == chapter or name.partition(".")[0] == chapter[:4]:
            return chapter
    raise LookupError(f"exercise: {name!r} is of no chapter; there are "
                      f"{', '.join(c[:4] for c in chapters())}")


def module_of(stem):
    """The module whose twin a file of kernels/ is of: a chapter, or a part of one that has a twin
    of its own  ->  str."""
    twins = sorted((p.stem.removesuffix("_cuda") for p in KERNELS.glob(f"{stem[:4]}_*_cuda.py")),
                   key=len)
    return ([chapter_of(stem[:4])] + [t for t in twins if f"{stem}_".startswith(f"{t}_")])[-1]


def find(exercise_id):
    """"ch05.idf"  ->  Exercise.  Raises LookupError, with the ids that there are."""
    known = catalogue(chapter_of(exercise_id))
    for exercise in known:
        if exercise.id == exercise_id:
            return exercise
    raise LookupError(f"exercise: there is no {exercise_id!r}; there are "
                      f"{', '.join(e.id for e in known)}")


def judge(exercise, source, effort="quick", hints=True):
    """Try every property of an exercise on a module, or a dict of functions  ->  Report."""
    effort, outcomes = EFFORTS[effort] if isinstance(effort, str) else effort, []
    for prop in exercise.properties:
        stuck = outcomes and outcomes[-1].status in ("hang", "untried")
        outcomes.append(Outcome(prop, "untried") if stuck else run_property(prop, source, effort))
        if outcomes[-1].status in ("broken", "error"):       # only the first is shown, and shrunk
            effort = dataclasses.replace(effort, shrink_seconds=0)
    report = Report(exercise, outcomes)
    if hints and any(o.status == "broken" for o in outcomes) and not any(
            o.status in ("hang", "error", "todo") for o in outcomes):
        report.diagnosis = diagnose(exercise, source)
    return report


def answer(prop, source, inputs):
    """What the functions return as a property tries its inputs  ->  list of (name, value).
    An error stands as its type's name."""
    impl, end = Guarded(source, prop.functions), []
    try:
        with quiet(), alarm(2.0):
            prop.check(impl, **copy.deepcopy(inputs))
    except (Broken, UnsatisfiedAssumption):
        pass
    except (Exception, Hang) as error:
        end = [("error", getattr(error, "kind", type(error).__name__))]
    return [*impl.answers, *end]


def _alike(a, b):
    """Whether two answers, arrays or numbers or nests of them, are equal to rounding."""
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return type(a) is type(b) and a == b
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    try:
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":
            return a.shape == b.shape and bool((a == b).all())
        return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
    except Exception:
        return False


@functools.cache
def replays(exercise_id):
    """What a diagnosis replays: each property's inputs in turn, and the right answers
    ->  list of (property, inputs, answer)."""
    exercise = find(exercise_id)
    reference = importlib.import_module(exercise.reference)
    drawn = [[(p, inputs) for inputs in sample(p, *REPLAYED)] for p in exercise.properties]
    return [(p, inputs, answer(p, reference, inputs))
            for turn in itertools.zip_longest(*drawn) for p, inputs in filter(None, turn)]


def diagnose(exercise, source):
    """The mistake of the catalogue whose answers are the student's on many fresh inputs  ->  str,
    "" for none, or for more than one."""
    cases = replays(exercise.id)
    wrong, right, until = [], [], time.perf_counter() + PATIENCE
    for prop, inputs, known in cases:
        own = answer(prop, source, inputs)
        (right if _alike(own, known) else wrong).append((prop, inputs, own))
        if time.perf_counter() > until:
            break
    if len(wrong) < DIFFERENT:
        return ""
    found = [m.mistake for m in exercise.mutants if _answers_as(build(exercise, m), wrong + right)]
    return found[0] if len(found) == 1 else ""


def _answers_as(module, seen):
    """Whether a module answers as the student did; where they were wrong comes first."""
    return all(_alike(answer(prop, module, inputs), own) for prop, inputs, own in seen)


def show(thing):
    """Display in a notebook, print elsewhere."""
    if "ipykernel" in sys.modules:
        from IPython.display import display
        display(thing)
    else:
        print(thing)


@contextlib.contextmanager
def no_stderr():
    """Nothing reaches stderr, not from a log nor from compiled code: nbgrader gives a cell that
    writes there 0 points."""
    logged, kept = logging.root.manager.disable, os.dup(2)
    logging.disable()
    try:
        with open(os.devnull, "w") as nowhere, quiet():
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        logging.disable(logged)


def check(exercise_id, *functions, effort="quick", points=None, hints=True):
    """Try the exercise's properties on functions, and show the report.

    Raises NotYet where one fails; or, with points, returns those that are earned: points times the
    share of properties that hold, a Python float.  Raises LookupError for an unknown exercise,
    TypeError for what is no function, ValueError for points that are no number above 0.
    """
    exercise = find(exercise_id)
    if points is not None and not points > 0:
        raise ValueError(f"points: expected a number above 0, got {points!r}")
    for function in functions:
        if not callable(function):
            raise TypeError(f"functions: expected {', '.join(exercise.functions)}, got "
                            f"{type(function).__name__}")
    by_name = {getattr(f, "__name__", ""): f for f in functions}
    if len(functions) == len(exercise.functions):        # whatever they are called
        by_name = dict(zip(exercise.functions, functions, strict=True)) | by_name
    with no_stderr() if points is not None else contextlib.nullcontext():
        report = judge(exercise, by_name, effort, hints)
    show(report)
    if points is not None:
        return earned(report, points)
    if not report.passed:
        raise NotYet("Not yet: the table above has the smallest input that fails.")


def earned(report, points):
    """What a report is worth  ->  a Python float: nbgrader takes the repr of any other for full
    points, and fails on one above the maximum."""
    return float(min(points, round(points * report.fraction, 2)))


def check_property(exercise_id, function, **inputs):
    """A student's property f(impl, ...), which raises by expect or expect_close: it must accept the
    right answer and catch the known mistakes.  inputs: a strategy for each argument.  Prints what
    it catches  ->  the share, a Python float; 0.0 where it rejects a right answer."""
    exercise = find(exercise_id)
    prop = Property(exercise.id, tuple(exercise.functions), function.__name__,
                    function.__doc__ or "your property", "", inputs, function)
    right = run_property(prop, importlib.import_module(exercise.reference))
    if right.status != "passed":
        print(f"It rejects a right answer: {right.claim}")
        print("\n".join(feedback.drawn(list(feedback.table(right)), "  ")))
        return 0.0
    effort = Effort(shrink_seconds=0)
    caught = [run_property(prop, build(exercise, m), effort).status != "passed"
              for m in exercise.mutants]
    print(f"It accepts the right answer and catches {sum(caught)} of {len(caught)} known mistakes:")
    for mutant, found in zip(exercise.mutants, caught, strict=True):
        print(f"  {'caught' if found else 'missed'}  {mutant.mistake}")
    return sum(caught) / len(caught)
