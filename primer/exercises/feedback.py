"""What a student reads: a report as text for a terminal, and as HTML for a notebook.

Only the first property that fails is shown whole: one thing at a time.
"""
import html
import traceback
from pathlib import Path

import numpy as np

MARK = {"passed": "ok  ", "broken": "no  ", "error": "err ", "hang": "slow", "todo": "todo",
        "untried": "-   "}
COLOUR = {"passed": "#2a8a4a", "todo": "#888", "untried": "#888"}     # on white and on black
FAULT = "#c05020"
OURS = str(Path(__file__).parents[1])                                 # the project's own lines
WIDTH = 88                                                            # of a line of the table


def short(value):
    """A value to look at, of a few lines  ->  str."""
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=6, threshold=40, separator=", ")
        return text + (f"   (shape {value.shape})" if value.ndim else "")
    if isinstance(value, float | np.floating):
        return f"{float(value):.8g}"
    text = str(value)
    return text if len(text) <= 400 else text[:397] + "..."


def code(value):
    """A value as an expression to paste  ->  str."""
    if isinstance(value, np.ndarray):
        with np.printoptions(threshold=10_000, floatmode="unique"):
            numbers = " ".join(np.array2string(value, separator=", ").split())
        if not value.size:
            return f"np.zeros({value.shape}, np.{value.dtype})"
        kind = "" if value.dtype in (np.float64, np.int64, bool) else f", dtype=np.{value.dtype}"
        return f"np.array({numbers}{kind})".replace("nan", "np.nan").replace("inf", "np.inf")
    if isinstance(value, np.generic):
        return code(value.item())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(code, value))})"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(code, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{code(k)}: {code(v)}" for k, v in value.items()) + "}"
    return value.__name__ if callable(value) else repr(value)


def try_it(outcome):
    """The call that a claim is about  ->  "idf(np.array([0]), 1)", or ""."""
    if not outcome.call:
        return ""
    name, positional, named = outcome.call
    given = [*map(code, positional), *(f"{k}={code(v)}" for k, v in named.items())]
    text = f"{name}({', '.join(given)})"
    return text if len(text) <= 1000 else ""


def where(error):
    """The line of the student's file that an error came from  ->  "line 7: x = y", or ""."""
    if getattr(error, "where", None) is not None:
        return error.where                               # it crossed from another process
    lines = [f for f in traceback.extract_tb(error.__traceback__)
             if not f.filename.startswith(OURS) and "site-packages" not in f.filename]
    return f"line {lines[-1].lineno}: {lines[-1].line}" if lines else ""


def table(outcome):
    """(name, value as text) of the counterexample, and of what the claim shows."""
    for name, value in outcome.inputs.items():
        pairs = value.items() if isinstance(value, dict) else [(name, value)]
        yield from ((str(k), short(v)) for k, v in pairs)
    yield from ((k.replace("_", " "), short(v)) for k, v in outcome.shown.items())


def drawn(pairs, indent):
    """A table of text  ->  list of lines."""
    cells = [(k, [part for line in v.splitlines() or [""] for part in
                  (line[i:i + WIDTH] for i in range(0, max(len(line), 1), WIDTH))])
             for k, v in pairs]
    if not cells:
        return []
    left = max(len(k) for k, _ in cells)
    right = max(len(line) for _, lines in cells for line in lines)
    rule = f"{indent}+-{'-' * left}-+-{'-' * right}-+"
    body = [f"{indent}| {k if i == 0 else '':<{left}} | {line:<{right}} |"
            for k, lines in cells for i, line in enumerate(lines)]
    return [rule, *body, rule]


def first_problem(report):
    return next((o for o in report.outcomes if o.status in ("broken", "error", "hang")), None)


def remarks(outcome):
    """What there is to say besides the table  ->  list of (label, text)."""
    line = where(outcome.error) if outcome.status == "error" else ""
    told = [("", outcome.claim if outcome.claim != outcome.property.claim else ""), ("in ", line)]
    return [(label, text) for label, text in told if text]


def heading(report):
    done = sum(o.status == "passed" for o in report.outcomes)
    words = f"{done} of {len(report.outcomes)} properties hold"
    if all(o.status == "todo" for o in report.outcomes):
        words = "to do: not written yet"
    exercise = report.exercise
    return f"{exercise.id}  {exercise.title}" + f" ({exercise.equations})" * bool(
        exercise.equations), words


def as_text(report):
    """The report for a terminal  ->  str."""
    out, problem = [": ".join(heading(report))], first_problem(report)
    if all(o.status == "todo" for o in report.outcomes):
        return out[0]
    for outcome in report.outcomes:
        out.append(f"  {MARK[outcome.status]} {outcome.property.claim}")
        if outcome is not problem:
            continue
        out += [f"         {label}{text}" for label, text in remarks(outcome)]
        lines = drawn(list(table(outcome)), "         ")
        out += ["         a small input that shows it:", *lines] if lines else []
        out += [f"         {label}: {text}" for label, text in
                (("try it", try_it(outcome)), ("hint", outcome.property.hint)) if text]
    if report.diagnosis:
        out.append(f"  It answers just as a version with this mistake would: {report.diagnosis}")
    return "\n".join(out)


def as_html(report):
    """The report for a notebook, in the colours of its theme  ->  str."""
    e, problem = html.escape, first_problem(report)
    title, words = heading(report)
    out = [f"<p><b>{e(title)}</b>: {e(words)}</p>"]
    for outcome in report.outcomes:
        colour = COLOUR.get(outcome.status, FAULT)
        out.append(f"<p style='margin:2px 0'><code style='color:{colour}'>{MARK[outcome.status]}"
                   f"</code> {e(outcome.property.claim)}</p>")
        if outcome is not problem:
            continue
        out += [f"<p style='margin:2px 2em'>{label}{e(text)}</p>"
                for label, text in remarks(outcome)]
        cells = "".join(f"<tr><th style='text-align:left'>{e(k)}</th><td style='text-align:left'>"
                        f"<pre style='margin:0'>{e(v)}</pre></td></tr>" for k, v in table(outcome))
        if cells:
            out.append("<table style='margin:2px 2em'><caption style='text-align:left'>a small "
                       f"input that shows it</caption>{cells}</table>")
        if try_it(outcome):
            out.append(f"<p style='margin:2px 2em'>try it: <code>{e(try_it(outcome))}</code></p>")
        if outcome.property.hint:
            out.append(f"<p style='margin:2px 2em'><i>hint: {e(outcome.property.hint)}</i></p>")
    if report.diagnosis:
        out.append("<p>It answers just as a version with this mistake would: "
                   f"<i>{e(report.diagnosis)}</i></p>")
    return "\n".join(out)
