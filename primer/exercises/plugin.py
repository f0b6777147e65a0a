"""pytest --implementation work/ch05_bm25.py: the properties of a student's file, a test for each.

What is not written is skipped; what fails shows the kit's report and no traceback.  A plugin of
pytest, named in pyproject.toml; without the option it does nothing.
"""
from functools import cached_property
from pathlib import Path

import pytest


def pytest_addoption(parser):
    """The option."""
    parser.addoption("--implementation", metavar="FILE",
                     help="run the exercises of FILE, such as work/ch05_bm25.py, and nothing else")


def pytest_configure(config):
    """Collect the file alone.  Raises UsageError for one that is not there or is no chapter's."""
    if not (name := config.getoption("implementation")):
        return
    from primer.exercises import commands  # which loads Hypothesis
    try:
        if Path(name).suffix != ".py":
            raise ValueError(f"{name}: expected a .py file; python -m primer check tries a .cu")
        work = commands.read(Path(name))
    except (LookupError, OSError, ValueError) as error:
        raise pytest.UsageError(f"--implementation: {error}") from None
    config.args = [str(Path(name).resolve())]
    config.stash[WORK] = work


WORK = pytest.StashKey()


def pytest_pycollect_makemodule(module_path, parent):
    """The student's file holds no tests: ours in its place."""
    if WORK in parent.config.stash and [str(module_path)] == parent.config.args:
        return Implementation.from_parent(parent, path=module_path)


class Implementation(pytest.File):
    """A student's file, in a process of its own from the first test to the last."""

    @cached_property
    def student(self):
        """The process."""
        from primer.exercises.student import Student
        names = {f for e in self.work.exercises for f in e.functions}
        return Student(self.path, sorted(names))

    @property
    def work(self):
        """What it is about."""
        return self.config.stash[WORK]

    def collect(self):
        """A collector for each exercise, and one for functions that none covers."""
        for exercise in self.work.exercises:
            yield Exercise.from_parent(self, name=exercise.id, exercise=exercise)
        for name in self.work.others:
            yield OnExamples.from_parent(self, name=name)

    def teardown(self):
        """End the process."""
        if "student" in vars(self):
            self.student.close()


class Exercise(pytest.Collector):
    """An exercise: tried once, whole, when the first of its properties is asked for."""

    def __init__(self, exercise, **keywords):
        super().__init__(**keywords)
        self.exercise = exercise

    @cached_property
    def report(self):
        """What came of it."""
        from primer.exercises import commands
        return commands.judged(self.exercise, self.parent.student, self.parent.work, True)

    def collect(self):
        """A test for each property."""
        for i, prop in enumerate(self.exercise.properties):
            yield Property.from_parent(self, name=prop.name, number=i)


class Property(pytest.Item):
    """Does one property hold?"""

    def __init__(self, number, **keywords):
        super().__init__(**keywords)
        self.number = number

    def runtest(self):
        """Fails with the report of the exercise if this is the property that it shows."""
        from primer.exercises import feedback
        report = self.parent.report
        outcome = report.outcomes[self.number]
        if outcome.status == "todo":
            pytest.skip(f"{outcome.property.exercise}: not written yet")
        if outcome.status == "untried":
            pytest.skip(f"{outcome.property.exercise}: not tried after an endless loop")
        if outcome.status != "passed":
            first = outcome is feedback.first_problem(report)
            pytest.fail(str(report) if first else f"{outcome.property.claim}: {outcome.claim}",
                        pytrace=False)

    def reportinfo(self):
        """Where it stands: the file and the property."""
        return self.path, None, f"{self.parent.name}: {self.name}"


class OnExamples(pytest.Item):
    """Does a function of a Numba file equal the reference on the chapter's examples?"""

    def runtest(self):
        """As the command check does."""
        from primer.exercises import kernel_exercises
        (result,) = kernel_exercises.check_numba(self.path, [self.name])
        if result.status == "todo":
            pytest.skip(f"{self.name}: not written yet")
        if result.status != "right":
            pytest.fail("\n".join([self.name, *result.lines]), pytrace=False)

    def reportinfo(self):
        """Where it stands: the file and the function."""
        return self.path, None, self.name
