"""Exercises: what a right answer must satisfy, and the mistakes that people make.

One catalogue a chapter (`ch05_bm25.py`), read by `kit.catalogue("ch05_bm25")`.  A student's cell:

    from primer.exercises import check
    check("ch05.saturation", saturation)
"""
from importlib import import_module


def __getattr__(name):
    if name in ("check", "check_property"):           # which load Hypothesis
        return getattr(import_module("primer.exercises.report"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
