"""The catalogues are tested: right answers pass, each known mistake is caught, by each seed."""
import functools
from pathlib import Path

import pytest
from conftest import backends

from primer.exercises.kit import Effort, catalogue, run_property
from primer.exercises.mutate import build

CHAPTERS = sorted(p.stem for p in (Path(__file__).parents[1] / "primer/exercises").glob("ch*.py"))
EXERCISES = [(chapter, e) for chapter in CHAPTERS for e in catalogue(chapter)]
COMPILING = Effort(seconds=120, call_seconds=60)      # a twin's first call is slow, not endless
SEEDS = (0, 1, 2)                     # a mistake that only one seed catches is not caught


def cases():
    for chapter, e in EXERCISES:
        for p in e.properties:
            for backend in backends(chapter, *e.functions):
                yield pytest.param(p, *backend.values, id=f"{p}-{backend.id}", marks=backend.marks)


@pytest.mark.parametrize("prop, backend", list(cases()))
def test_a_right_answer_passes(prop, backend):
    outcome = run_property(prop, backend, COMPILING)
    if outcome.error:
        raise outcome.error
    assert outcome.status == "passed", f"{outcome.claim} for {outcome.inputs}"
    assert outcome.examples > 0


@functools.cache
def catches(prop, exercise_id, mutant, seed):
    exercise = next(e for _, e in EXERCISES if e.id == exercise_id)
    effort = Effort(seed=seed, shrink_seconds=0)
    return run_property(prop, build(exercise, mutant), effort).status != "passed"


@pytest.mark.parametrize("exercise, mutant", [
    pytest.param(e, m, id=f"{e.id}:{m.mistake}") for _, e in EXERCISES for m in e.mutants])
def test_each_mistake_is_caught(exercise, mutant):
    properties = list(exercise.properties)
    for seed in SEEDS:
        found = next((p for p in properties if catches(p, exercise.id, mutant, seed)), None)
        assert found, f"seed {seed}: no property of {exercise.id} notices: {mutant.mistake}"
        properties.sort(key=lambda p: p is not found)        # the likely one first: less to try


@pytest.mark.parametrize("exercise, prop", [
    pytest.param(e, p, id=str(p)) for _, e in EXERCISES for p in e.properties])
def test_each_property_catches_something(exercise, prop):
    assert any(catches(prop, exercise.id, m, 0) for m in exercise.mutants), \
        f"{prop} catches none of: {', '.join(m.mistake for m in exercise.mutants)}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_enough(chapter):
    assert len(catalogue(chapter)) >= 3
    assert sum(len(e.mutants) for e in catalogue(chapter)) >= 8
