"""Grade collected notebooks once more, outside the students' kernels, and compare with nbgrader.

A test cell runs in its student's process, so that the student's code can change the checker.  Here
only the answers are taken, and each exercise's run in a process of their own, in the sandbox where
there is one; the judge talks to it over pipes.  In that process the reference of the exercise is
not written, so that an import of it is worth nothing.

    grade("ps1", path)      one notebook                                     -> dict
    grades("ps1", course)   every student's, as many at a time as cores      -> list of dict
    write(rows, path)       as CSV, to the side and renamed
"""
import contextlib
import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from primer.exercises import assignments, handed_in, report, sandbox
from primer.exercises.student import Student

PATIENT = 3600.0                      # the judge's own alarm: a student's process has its own
LIMIT = 1200.0                        # seconds for one student
EFFORT = dataclasses.replace(report.EFFORTS["grading"], shrink_seconds=0, call_seconds=PATIENT)
GUARD = """
def _unwritten(*positional, **named):
    raise NotImplementedError

import sys, {module}
for _name in {functions}:
    getattr({module}, _name).__code__ = _unwritten.__code__
sys.modules["kernels"] = None
del _unwritten, _name, sys, {root}
"""
PART = "try:\n    exec(compile({source!r}, {name!r}, 'exec'))\nexcept BaseException:\n    pass\n"


def program(assignment, exercise, parts, patient=True):
    """What a student's process runs: the set-up, the reference made useless, the answers; one that
    fails leaves the others  ->  str."""
    module = exercise.reference
    return "\n".join([assignments.setup(assignment), GUARD.format(
        module=module, functions=list(exercise.functions), root=module.split(".")[0]),
        *(PART.format(source=handed_in.definitions(p, patient), name=p.id) for p in parts)])


def grade(name, path):
    """One notebook  ->  {"earned": {exercise: points}, "remarks": [str]}.  Raises ValueError for
    what is no notebook."""
    assignment, earned = assignments.load(name), {}
    parts = handed_in.answers(assignment, handed_in.read(path))
    remarks, patient = handed_in.remarks(assignment, parts), True
    for exercise in assignment.exercises:
        judged = judge(assignment, exercise, parts) if patient else None
        if judged is None:                            # nor will they for another exercise
            patient = False
            judged = judge(assignment, exercise, parts, patient)
        earned[exercise.id] = report.earned(judged, assignment.points[exercise.id])
    if not patient:
        remarks.append("a cell does not end, or ends its process: graded by its functions alone")
    return {"earned": earned, "remarks": remarks}


def judge(assignment, exercise, parts, patient=True):
    """An exercise's Report; None where the cells do not end.  patient=False: without what they run
    besides definitions."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers.py"
        file.write_text(program(assignment, exercise, parts, patient), "utf-8")
        wrap = () if sandbox.missing() else sandbox.wrap(folder)
        with Student(file, exercise.functions, wrap=wrap) as student:
            if student.loads() or not patient:
                return report.judge(exercise, student, EFFORT, hints=False)
    return None


def submissions(name, course):
    """COURSE/submitted/STUDENT/ps1/ps1.ipynb, or else STUDENT.ipynb in a folder
    ->  {student: path, which may not exist}.  Raises FileNotFoundError where there are none."""
    course = Path(course)
    found = {p.parent.name: p / f"{name}.ipynb" for p in course.glob(f"submitted/*/{name}")}
    found = found or {p.stem: p for p in course.glob("*.ipynb")}
    if not found:
        raise FileNotFoundError(
            f"--folder: expected {course}/submitted/STUDENT/{name}/{name}.ipynb (after `nbgrader "
            f"collect {name}` or `nbgrader zip_collect {name}`), or STUDENT.ipynb in {course}")
    return dict(sorted(found.items()))


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def grades(name, course, progress=iter):
    """A row for each student: student, exercises, total, nbgrader, remarks.  Whatever goes wrong
    with one is a remark in that one's row, whose points stay empty: grade it by hand."""
    assignment = assignments.load(name)
    handed = submissions(assignment.name, course)
    theirs, trouble = gradebook(assignment.name, course)
    sandbox.missing()                                 # tried once, before the threads ask
    with ThreadPoolExecutor(cores()) as pool:
        found = dict(zip(handed, progress(pool.map(lambda p: apart(name, p), handed.values())),
                         strict=True))
    for student in sorted(set(theirs) - set(found)):
        found[student] = {"earned": {}, "remarks": ["in the gradebook, but no notebook is here"]}
    return [row(assignment, student, one, theirs.get(student, {}) if theirs else None)
            for student, one in found.items()], trouble


def row(assignment, student, one, theirs):
    """A line of the CSV: the points of recheck, nbgrader's total, and where the two differ."""
    earned, remarks = one["earned"], list(one["remarks"])
    names = {e: f"{assignments.slug(report.find(e))}-test" for e in earned}
    if theirs is not None and earned and all(theirs.get(n) is None for n in names.values()):
        remarks.insert(0, "nbgrader did not finish this notebook")
    elif theirs is not None:
        remarks[:0] = [f"{e}: nbgrader {theirs.get(n) or 0:g}, recheck {earned[e]:g}"
                       for e, n in names.items() if abs((theirs.get(n) or 0) - earned[e]) > 0.011]
    return {"student": student, **{e: earned.get(e, "") for e in assignment.points},
            "total": round(sum(earned.values()), 2) if earned else "",
            "nbgrader": round(sum(v or 0 for v in theirs.values()), 2) if theirs else "",
            "remarks": "; ".join(remarks)}


def apart(name, path):
    """grade() in a process of its own, so that nothing of one student reaches another's grade."""
    if not path.exists():
        others = ", ".join(p.name for p in path.parent.glob("*")) or "nothing"
        return {"earned": {}, "remarks": [f"no {path.name} was handed in, there is {others}"]}
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, name, str(path)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | sandbox.ONE_THREAD | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(sandbox.ROOT),
                                                        os.environ.get("PYTHONPATH")]))})
    try:
        out, error = process.communicate(timeout=LIMIT)
        return json.loads(out)
    except subprocess.TimeoutExpired:
        process.terminate()                           # which ends the student's process too
        process.communicate()
        words = f"no end after {LIMIT / 60:.0f} minutes"
    except ValueError:
        words = (error.decode("utf-8", "replace").strip().splitlines() or ["no reason given"])[-1]
    return {"earned": {}, "remarks": [f"could not be graded, do it by hand: {words}"]}


def gradebook(name, course):
    """nbgrader's automatic points  ->  {student: {grade_id: points or None}}, why none or ""."""
    path = Path(course).resolve() / "gradebook.db"
    if not path.exists():
        return {}, f"there is no {path.name} in {course}"
    try:
        from nbgrader.api import Gradebook
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            with Gradebook(f"sqlite:///{path}") as book:
                return {s.student.id: {g.cell.name: g.auto_score for n in s.notebooks
                                       for g in n.grades}
                        for s in book.assignment_submissions(name)}, ""
    except ImportError:
        return {}, "nbgrader is not installed: pip install -e '.[classroom]'"
    except Exception as error:                        # of any layer below: grades matter more
        return {}, f"the gradebook cannot be read: {type(error).__name__}: {error}"


def write(rows, path):
    """The rows as CSV."""
    text = io.StringIO()
    out = csv.DictWriter(text, rows[0], lineterminator="\n")
    out.writeheader()
    out.writerows(rows)
    assignments.write_aside(path, text.getvalue())


def main(name, path):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        print(json.dumps(grade(name, path)))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
