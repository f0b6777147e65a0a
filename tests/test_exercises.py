"""The catalogues are proved: right answers pass, each known mistake is caught, by each seed, and
named.  Mutants meet the inputs that a student's own check draws, without Hypothesis in between.
"""
import importlib
import re

import pytest
from conftest import backends

from primer import ch05_bm25
from primer.exercises import report
from primer.exercises.drawn import catcher, catches, sample
from primer.exercises.kit import Effort, catalogue, run_property
from primer.exercises.mutate import build

CHAPTERS = report.chapters()
EXERCISES = [(chapter, e) for chapter in CHAPTERS for e in catalogue(chapter)]
each_exercise = pytest.mark.parametrize("exercise", [pytest.param(e, id=e.id)
                                                     for _, e in EXERCISES])
each_mistake = pytest.mark.parametrize("exercise, mutant", [
    pytest.param(e, m, id=f"{e.id}:{m.mistake}") for _, e in EXERCISES for m in e.mutants])
COMPILING = Effort(seconds=120, call_seconds=60)      # a twin's first call is slow, not endless
SEEDS = (0, 1, 2)                     # a mistake that only one seed catches is not caught


def cases():
    for chapter, e in EXERCISES:
        part = e.reference != f"primer.{chapter}"         # its CUDA twin takes float32 alone, and
        more = {"orders": ()} if part else {}             # has tests of its own
        for p in e.properties:
            for backend in backends(e.reference.removeprefix("primer."), *e.functions, **more):
                yield pytest.param(p, *backend.values, id=f"{p}-{backend.id}", marks=backend.marks)


@pytest.mark.parametrize("prop, backend", list(cases()))
def test_a_right_answer_passes(prop, backend):
    outcome = run_property(prop, backend, COMPILING)
    if outcome.error:
        raise outcome.error
    assert outcome.status == "passed", f"{outcome.claim} for {outcome.inputs}"
    assert outcome.examples > 0


@each_mistake
def test_each_mistake_is_caught(exercise, mutant):
    properties = list(exercise.properties)
    for seed in SEEDS:
        assert catcher(exercise, build(exercise, mutant), properties, seed), \
            f"seed {seed}: no property of {exercise.id} notices: {mutant.mistake}"


@pytest.mark.parametrize("exercise, prop", [
    pytest.param(e, p, id=str(p)) for _, e in EXERCISES for p in e.properties])
def test_each_property_catches_something(exercise, prop):
    assert any(catcher(exercise, build(exercise, m), [prop]) for m in exercise.mutants), \
        f"{prop} catches none of: {', '.join(m.mistake for m in exercise.mutants)}"


@each_mistake
def test_the_diagnosis_names_the_mistake(exercise, mutant):
    assert report.diagnose(exercise, build(exercise, mutant)) == mutant.mistake


@each_exercise
def test_the_diagnosis_names_nothing_in_a_right_answer(exercise):
    assert not report.diagnose(exercise, importlib.import_module(exercise.reference))


def test_replayed_inputs_are_those_of_a_students_check():
    exercise = report.find("ch05.idf")
    for prop in exercise.properties:
        tried = []

        def lucene(df, n, seen=tried):
            seen.append((df.tolist(), n))
            return ch05_bm25.idf_lucene(df, n)

        watched = {"idf_robertson": ch05_bm25.idf_robertson, "idf_lucene": lucene}
        run_property(prop, watched)
        straight, tried[:] = list(tried), []
        assert not catches(prop, watched, sample(prop, exercise.reference, Effort()))
        assert tried == straight


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_enough(chapter):
    assert len(catalogue(chapter)) >= 3
    assert sum(len(e.mutants) for e in catalogue(chapter)) >= 8
    assert all(e.properties and len(e.mutants) >= 2 for e in catalogue(chapter))
    assert len({e.id for e in catalogue(chapter)}) == len(catalogue(chapter))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_equation_has_an_exercise(chapter):
    def equations(module):
        return set(re.findall(rf"\(({int(chapter[2:4])}\.\d+)\)\s*$",
                              importlib.import_module(module).__doc__, re.MULTILINE))
    own, parts = equations(f"primer.{chapter}"), {e.reference for e in catalogue(chapter)}
    told = {n for e in catalogue(chapter) for n in e.equations.split(", ") if n}
    assert len(own) >= 4 and own <= told <= own.union(*map(equations, parts))
