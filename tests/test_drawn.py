"""Inputs kept from an earlier check: the same, judged the same, and never trusted blindly."""
import dataclasses

import numpy as np
import pytest
from conftest import assert_close

import primer.ch10_factorization
from primer.exercises import drawn, report
from primer.exercises.kit import Effort, catalogue, run_property
from primer.exercises.mutate import build

QUICK = report.EFFORTS["quick"]
(EXERCISE,) = (e for e in catalogue("ch10_factorization") if e.id == "ch10.pmi")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path))
    drawn.recall.cache_clear()
    yield tmp_path / "drawn"
    drawn.recall.cache_clear()


def assert_alike(a, b):
    """Nests of plain values and arrays, equal in kind and value."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_alike(x, y)
    elif isinstance(a, np.ndarray):
        assert_close(a, b, rtol=0, atol=0)
    else:
        assert a == b or a != a


@pytest.mark.parametrize("chapter", report.chapters())
def test_every_input_comes_back_as_it_was(chapter):
    exercise = catalogue(chapter)[-1]
    for prop in exercise.properties:
        inputs = drawn.sample(prop, exercise.reference, QUICK)
        drawn.keep(prop, QUICK, inputs)
        kept = drawn.recall(prop, QUICK)
        assert len(kept) == len(inputs) > 0
        for a, b in zip(kept, inputs, strict=True):
            assert_alike(a, b)


@pytest.mark.parametrize("mutant", [None, *EXERCISE.mutants], ids=lambda m: m and m.mistake)
def test_a_check_says_the_same_with_them(mutant, own_cache):
    source = build(EXERCISE, mutant) if mutant else primer.ch10_factorization
    fresh = report.judge(EXERCISE, source)
    report.prepare("ch10_factorization")
    assert list(own_cache.glob("ch10.pmi.*.json")) and str(report.judge(EXERCISE, source)) == str(
        fresh)


def test_what_fails_on_no_second_try_is_still_wrong():
    """Nondeterministic functions: Hypothesis may not see again what the kept input has shown."""
    prop, calls = EXERCISE.properties[0], []

    def moody(*arguments, **named):
        calls.append(1)
        right = primer.ch10_factorization.pmi(*arguments, **named)
        return right + 1 if len(calls) == 3 else right

    own = {f: getattr(primer.ch10_factorization, f) for f in EXERCISE.functions} | {"pmi": moody}
    before = drawn.sample(prop, EXERCISE.reference, QUICK)
    assert run_property(prop, own, QUICK, before).status != "passed"


def test_a_damaged_or_old_file_is_drawn_anew(own_cache, monkeypatch):
    prop = EXERCISE.properties[0]
    inputs = drawn.sample(prop, EXERCISE.reference, QUICK)
    drawn.keep(prop, QUICK, inputs)
    (file,) = own_cache.iterdir()
    for text in ("", "[", "[1]", '[{"x": {"name": ["os", "system"]}}]', '[{"x": {"array": "?"}}]'):
        file.write_text(text)
        drawn.recall.cache_clear()
        assert drawn.recall(prop, QUICK) == ()
    drawn._version.cache_clear()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "another")
    try:
        drawn.keep(prop, QUICK, inputs)
    finally:
        drawn._version.cache_clear()
    assert len(list(own_cache.iterdir())) == 1 and not file.exists()


def test_nothing_is_kept_of_a_property_of_somebodys_own(own_cache):
    prop = EXERCISE.properties[0]
    own = dataclasses.replace(prop, check=lambda impl, **inputs: None)
    drawn.keep(own, QUICK, [{"x": 1}])
    assert drawn.recall(own, QUICK) == () and not own_cache.exists()


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "file" / "below"))
    prop = EXERCISE.properties[0]
    drawn.keep(prop, Effort(), [{"x": 1}])
    assert drawn.recall(prop, Effort()) == ()


def test_grading_draws_by_itself(monkeypatch):
    monkeypatch.setattr(report, "recall", lambda *_: pytest.fail("read what a student can write"))
    assert report.judge(EXERCISE, primer.ch10_factorization, "grading").passed
