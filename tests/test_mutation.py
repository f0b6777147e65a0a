"""Systematic mutation: what changes in a reference is caught by the exercise's properties, or is in
tests/survivors.toml with the reason why it changes no answer.

`python -m primer kills --systematic` prints the same.
"""
import functools
import tomllib
from pathlib import Path

import pytest

from primer.exercises import report
from primer.exercises.kit import catalogue
from primer.exercises.mutate import catcher, systematic

EXERCISES = {e.id: e for chapter in report.chapters() for e in catalogue(chapter)}
SURVIVORS = tomllib.loads((Path(__file__).parent / "survivors.toml").read_text("utf-8"))
SHARE = 0.95                          # of systematic mutants that are caught


@functools.cache
def outcomes(exercise_id):
    """Each change of an exercise's reference, and whether it is caught  ->  dict."""
    exercise = EXERCISES[exercise_id]
    properties = list(exercise.properties)
    return {label: bool(catcher(module, properties))
            for label, module in systematic(exercise)}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_change_is_caught_or_changes_nothing(exercise):
    survivors = {label for label, caught in outcomes(exercise).items() if not caught}
    told = SURVIVORS.get(exercise, {})
    assert survivors == told.keys(), "the table has the survivors, and no others"
    assert all(told.values()), "each with the reason"


def test_nearly_all_changes_are_caught():
    caught = [c for exercise in EXERCISES for c in outcomes(exercise).values()]
    assert SURVIVORS.keys() <= EXERCISES.keys()
    assert sum(caught) / len(caught) >= SHARE
