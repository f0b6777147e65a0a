"""What is expected of answers: the one comparison of the house, and calls that are watched.

Needs no Hypothesis: a student's own process starts with this alone.
"""
import copy

import numpy as np


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


def expect_refused(claim, function, *arguments):
    """Raise Broken unless the call raises ValueError, here or in a student's own process."""
    try:
        got = function(*arguments)
    except Exception as error:
        if isinstance(error, NotImplementedError | Broken):
            raise
        kind = getattr(error, "kind", type(error).__name__)
        expect(kind == "ValueError", f"{claim}: raise a ValueError", your_error=error)
    else:
        expect(False, f"{claim}: raise a ValueError", your_answer=got)


class Guarded:
    """An implementation whose calls are remembered, and checked for changed arguments."""

    def __init__(self, source, names):
        self.calls, self.answers, self.running = [], [], None
        for name in names:
            function = source.get(name) if isinstance(source, dict) else getattr(source, name, None)
            setattr(self, name, self._guard(name, function))

    def _guard(self, name, function):
        def call(*args, **kwargs):
            if function is None:
                raise NotImplementedError(name)
            before = copy.deepcopy((args, kwargs))
            self.calls.append((name, *before))
            self.running = name
            out = function(*args, **kwargs)
            self.running = None
            self.answers.append((name, out))
            for now, then in zip((*args, *kwargs.values()), (*before[0], *before[1].values()),
                                 strict=True):
                if isinstance(now, np.ndarray) and now.tobytes() != then.tobytes():
                    raise Broken(f"{name} must not change the array it was given",
                                 {"before": then, "after": now})
            return out
        return call
