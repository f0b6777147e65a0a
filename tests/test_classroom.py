"""Assignments without nbgrader: the notebooks, what a check is worth, precheck, recheck."""
import csv
import dataclasses
import importlib.util
import subprocess
import sys

import nbformat
import pytest
import submissions
from nbclient import NotebookClient

from primer.__main__ import main
from primer.exercises import assignments, check, handed_in, recheck, sandbox, student
from primer.exercises.kit import Effort, run_property

QUICK = Effort(examples=5, call_seconds=60)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The small problem set  ->  its .toml, its Assignment, the notebook as handed out."""
    path = tmp_path_factory.mktemp("set") / "ps9.toml"
    path.write_text(submissions.TOML)
    assignment = assignments.load(str(path))
    return str(path), assignment, submissions.handed_out(assignment)


def code(notebook, *kinds):
    """The sources of cells whose ids have one of these words."""
    return ["".join(c["source"]) for c in notebook["cells"] if any(k in c["id"] for k in kinds)]


def test_there_is_one_for_every_two_chapters():
    assert assignments.names() == [f"ps{i}" for i in range(1, 7)]


@pytest.mark.parametrize("name", [f"ps{i}" for i in range(1, 7)])
def test_a_notebook_is_whole_and_its_answers_are_right(name, tmp_path):
    assignment = assignments.load(name)
    first = 2 * int(name[2:]) - 1
    assert 4 <= len(assignment.points) <= 6
    assert {e[:4] for e in assignment.points} == {f"ch{first:02d}", f"ch{first + 1:02d}"}
    path = assignments.write(name, tmp_path)[0]
    before = path.read_bytes()
    assert assignments.write(name, tmp_path) == [path] and path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    ids = [c["id"] for c in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert ids == [c.metadata.nbgrader.grade_id for c in notebook.cells]
    names = {}
    for source in code(notebook, "setup", "-answer-"):
        exec(source, names)
    for exercise in assignment.exercises:
        for prop in exercise.properties:
            assert run_property(prop, names, QUICK).status == "passed", prop


def test_what_a_student_gets_has_no_answer_and_no_hidden_test(small):
    _, assignment, notebook = small
    text = "\n".join(code(notebook, ""))
    assert "###" not in text and "grading" not in text and "= half_way(" not in text
    stubs = code(notebook, "-answer-")
    assert len(stubs) == 3 and all(assignments.TODO in s for s in stubs)
    assert all("from primer.exercises import check" in s for s in code(notebook, "-test"))
    source = assignments.notebook(assignment)
    assert all("effort='grading'" in s for s in code(source, "-test"))
    assert "= half_way(" in "\n".join(code(source, "-answer-"))


@pytest.mark.parametrize("text, kind, words", [
    ("title = 'x'\n", ValueError, "KeyError: 'exercises'"),
    ("title = \n", ValueError, "expected a title and exercises"),
    ("title = 'x'\nexercises = []\n", ValueError, "no exercise"),
    ("title = 'x'\nexercises = [{id = 'ch05.idf', points = -1}]\n", ValueError, "above 0"),
    ("title = 'x'\nexercises = [{id = 'ch05.idf', points = 0.001}]\n", ValueError, "two decimals"),
    ("title = 'x'\nexercises = [{id = 'ch05.no', points = 1}]\n", LookupError, "ch05.idf"),
    ("title = 'x'\nexercises = [{id = 'ch05.idf', points = 1}, {id = 'ch05.idf', points = 1}]\n",
     ValueError, "two exercises ask for"),
])
def test_a_wrong_toml_is_refused(tmp_path, text, kind, words):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(kind, match=words):
        assignments.load(str(tmp_path / "x.toml"))


def test_an_unknown_assignment_names_the_others(capsys):
    assert main(["assignment", "ps99"]) == 1
    assert "ps1, ps2" in capsys.readouterr().err


# What a check is worth to nbgrader.

@pytest.mark.parametrize("points", [1, 0.1, 2.67, 5])
def test_points_are_a_python_float_of_at_most_the_maximum(points, capsys):
    names = {}
    exec("import numpy as np\n" + submissions.GOOD[submissions.SATURATION], names)
    for right in (True, False):
        function = names["saturation"] if right else lambda count, ratio, k1, b: count * 0.0
        found = check("ch05.saturation", function, points=points, effort=QUICK, hints=False)
        assert type(found) is float and 0 <= found <= points
        assert (found == points) == right
    with pytest.raises(ValueError, match="points: expected a number above 0"):
        check("ch05.saturation", names["saturation"], points=0)


def test_a_noisy_answer_writes_nothing_to_stderr_in_a_kernel():
    cells = [nbformat.v4.new_code_cell(source) for source in (
        "import numpy as np", submissions.NOISY,
        "from primer.exercises import check\n"
        "check('ch05.saturation', saturation, points=5)",
        "import logging, sys\nlogging.warning('after')\nprint('after', file=sys.stderr)")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120).execute()
    outputs = notebook.cells[2].outputs
    assert not [o for o in outputs if o.output_type == "stream"], outputs
    assert outputs[-1].data["text/plain"] == "5.0"
    assert "after" in str(notebook.cells[3].outputs)          # and only the check was silent


# Before it is handed in.

PRECHECKS = {
    "good": "every cell is in its place", "blank": "not written yet, worth nothing so far",
    "twice": "ch05-saturation-test is there 2 times, in cells 5, 6: keep the one",
    "deleted": "ch05-saturation-test is missing", "markdown": "is a markdown cell, expected code: "
    "select it and press Y", "edited": "has been changed, and is put back",
    "syntax": "line 1: expected ':': def saturation(count, length_ratio)",
    "windows": "every cell is in its place"}


@pytest.mark.parametrize("kind", PRECHECKS)
def test_precheck_says_what_to_do(kind, tmp_path, capsys):
    assignment = assignments.load("ps3")
    path = submissions.hand_in(submissions.handed_out(assignment), submissions.KINDS[kind][0],
                               tmp_path / "ps3 (1).ipynb")
    if kind in ("good", "blank", "windows"):
        assert main(["precheck", str(path)]) == 0
    else:
        with pytest.raises(SystemExit):
            main(["precheck", str(path)])
    assert PRECHECKS[kind] in capsys.readouterr().out


@pytest.mark.parametrize("name, text, words", [
    ("ps1.ipynb", "{", "expected a notebook"), ("ps1.ipynb", '{"cells": [1]}', "a notebook"),
    ("mine.ipynb", "{}", "expected a name as it was handed out"), ("ps1.ipynb", None, "No such")])
def test_precheck_refuses_what_is_no_notebook(tmp_path, capsys, name, text, words):
    if text:
        (tmp_path / name).write_text(text)
    assert main(["precheck", str(tmp_path / name)]) == 1
    assert words in capsys.readouterr().err


# Recheck.

@pytest.mark.parametrize("kind", submissions.KINDS)
def test_recheck_gives_the_right_grade(kind, small, tmp_path, monkeypatch):
    monkeypatch.setattr(recheck, "EFFORT", dataclasses.replace(recheck.EFFORT, examples=50))
    monkeypatch.setattr(student, "STARTING", 10.0)
    name, _, notebook = small
    edit, points, _, remark = submissions.KINDS[kind]
    found = recheck.grade(name, submissions.hand_in(notebook, edit, tmp_path / "x.ipynb"))
    assert sum(found["earned"].values()) == points, found
    if "nbgrader" in remark or not remark:
        remark = ""
        assert not any("reference" in r for r in found["remarks"])
    assert remark in "; ".join(found["remarks"])


@pytest.mark.parametrize("old, new, said", [
    ("weight", "w", True), ("total[d] +=", "total[d] = total[d] +", False)])
def test_a_copied_reference_is_said(tmp_path, old, new, said):
    assignment, name = assignments.load("ps3"), "ch05-scores-answer-scores"
    cells = {c["id"]: "".join(c["source"]) for c in assignments.notebook(assignment)["cells"]}
    edit = submissions.with_answers({name: cells[name].replace("###", "#").replace(old, new)})
    path = submissions.hand_in(submissions.handed_out(assignment), edit, tmp_path / "x.ipynb")
    parts = handed_in.answers(assignment, handed_in.read(path))
    found = handed_in.remarks(assignment, parts)
    assert len(found) == said and all("scores reads as the reference does" in r for r in found)


def test_a_cell_without_its_metadata_is_known_by_its_id(small, tmp_path):
    _, assignment, notebook = small
    edit = submissions.then(submissions.good(), submissions.forget_metadata)
    path = submissions.hand_in(notebook, edit, tmp_path / "x.ipynb")
    assert not handed_in.complaints(assignment, handed_in.read(path))


def test_one_student_never_costs_anothers_grade(small, tmp_path, capsys):
    name, _, notebook = small
    for kind in ("good", "bug"):
        submissions.hand_in(notebook, submissions.KINDS[kind][0],
                            tmp_path / f"submitted/{kind}-ö/ps9/ps9.ipynb")
    broken = tmp_path / "submitted/broken/ps9/ps9.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text('{"cells": 3}')
    other = tmp_path / "submitted/other/ps9/mine.ipynb"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    assert main(["recheck", name, "--folder", str(tmp_path)]) == 0
    text = (tmp_path / "grades_ps9.csv").read_text("utf-8")
    rows = {r["student"]: r for r in csv.DictReader(text.splitlines())}
    assert list(rows) == ["broken", "bug-ö", "good-ö", "other"]
    assert rows["good-ö"] == {"student": "good-ö", "ch05.saturation": "5.0", "ch05.idf": "4.0",
                              "total": "9.0", "nbgrader": "", "remarks": ""}
    assert rows["bug-ö"]["total"] == "8.0" and rows["broken"]["total"] == ""
    assert "expected a notebook" in rows["broken"]["remarks"]
    assert "no ps9.ipynb was handed in, there is mine.ipynb" in rows["other"]["remarks"]
    out = capsys.readouterr().out
    assert "not compared" in out and "4 students, 2 with a remark" in out


def test_a_folder_without_submissions_is_an_error(small, tmp_path, capsys):
    assert main(["recheck", small[0], "--folder", str(tmp_path)]) == 1
    assert "submitted/STUDENT/ps9/ps9.ipynb" in capsys.readouterr().err


def test_a_student_who_takes_forever_is_ended(small, tmp_path, monkeypatch):
    name, _, notebook = small
    path = submissions.hand_in(notebook, submissions.KINDS["endless"][0], tmp_path / "x.ipynb")
    monkeypatch.setattr(recheck, "LIMIT", 0.1)
    found = recheck.apart(name, path)
    assert found["earned"] == {} and "no end after" in found["remarks"][0]


# The sandbox.

in_sandbox = pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing() or "there is one")


@in_sandbox
def test_the_sandbox_shows_neither_files_nor_network(tmp_path):
    (tmp_path / "gradebook.db").write_text("secret")
    (tmp_path / "given").mkdir()
    program = f"""
import os, socket
print(os.path.exists({str(tmp_path / 'gradebook.db')!r}), os.path.exists({str(sys.argv[0])!r}),
      os.path.exists({str(tmp_path / 'given')!r}), os.path.exists(os.path.expanduser("~/.ssh")))
try:
    socket.create_connection(("127.0.0.1", 9), 1)
except OSError as error:
    print(type(error).__name__)
try:
    open({str(tmp_path / 'given/x')!r}, "w")
except OSError as error:
    print(error.strerror)
try:
    bytearray({sandbox.MEMORY} + 1)
except MemoryError:
    print("memory")
"""
    done = subprocess.run([*sandbox.wrap(tmp_path / "given"), sys.executable, "-c", program],
                          capture_output=True, text=True, timeout=60)
    shown, network, written, *memory = done.stdout.splitlines()
    assert shown.split()[0] == "False" and shown.split()[2:] == ["True", "False"], done
    assert network in ("ConnectionRefusedError", "OSError") and "Read-only" in written
    assert memory == ["memory"] * (sandbox.wrap()[0] == "prlimit")


def test_without_a_sandbox_the_grades_are_the_same_and_the_risk_is_named(small, tmp_path, capsys,
                                                                         monkeypatch):
    monkeypatch.setattr(sandbox, "missing", lambda: "bubblewrap is for Linux, this is elsewhere")
    path = submissions.hand_in(small[2], submissions.KINDS["exit"][0], tmp_path / "x.ipynb")
    assert sum(recheck.grade(small[0], path)["earned"].values()) == 4
    sandbox.configure(None)                           # leaves the config as it is
    told = capsys.readouterr().err
    assert "this is elsewhere" in told and "gradebook and the solutions" in told
    assert "container" in told


def test_the_gradebook_is_optional(tmp_path, monkeypatch):
    assert recheck.gradebook("ps9", tmp_path) == ({}, f"there is no gradebook.db in {tmp_path}")
    (tmp_path / "gradebook.db").write_text("no database")
    trouble = recheck.gradebook("ps9", tmp_path)[1]
    known = importlib.util.find_spec("nbgrader")
    assert ("cannot be read" if known else "not installed") in trouble


def test_a_claim_may_ask_for_the_students_own_error(tmp_path):
    (tmp_path / "x.py").write_text("def f(n):\n    raise ValueError('n: too small')\n")
    with student.Student(tmp_path / "x.py", ["f"]) as impl:
        with pytest.raises(ValueError, match="too small") as caught:
            impl.f(1)
    assert isinstance(caught.value, student.StudentError) and "line 2" in caught.value.where
