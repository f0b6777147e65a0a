"""nbgrader's own commands, from source notebook to feedback, on every kind of submission."""
import csv
import importlib.util
import os
import subprocess
import sys

import nbformat
import pytest
import submissions

from primer.__main__ import main
from primer.exercises import assignments, sandbox

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None,
    reason="nbgrader is not installed: pip install -e '.[classroom]'")
TIMEOUT = 15                          # seconds for a cell: two kinds sleep


def nbgrader(course, *arguments):
    """Run one of its commands in the course's folder  ->  (exit status, what it said).  It looks
    for alembic on the PATH, as an activated environment has it."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=course, text=True,
                          env=os.environ | {"PATH": path},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course after `autograde`, in which a student was there before, and `recheck`."""
    course = tmp_path_factory.mktemp("course")
    toml = course / "ps9.toml"
    toml.write_text(submissions.TOML)
    assert main(["assignment", str(toml), "--to", str(course)]) == 0
    config = course / assignments.CONFIG
    config.write_text(config.read_text() + f"c.ExecutePreprocessor.timeout = {TIMEOUT}\n")
    for command in (["db", "student", "add", "good"], ["generate_assignment", "ps9", "--create"]):
        status, said = nbgrader(course, *command)
        assert status == 0, said
    handed_out = nbformat.read(course / "release/ps9/ps9.ipynb", 4)
    for kind, (edit, *_) in submissions.KINDS.items():
        submissions.hand_in(handed_out, edit, course / f"submitted/{kind}/ps9/ps9.ipynb")
    (course / "autograde.log").write_text(nbgrader(course, "autograde", "ps9", "--create")[1])
    assert main(["recheck", str(toml), "--folder", str(course)]) == 0
    return course


def rows(course):
    text = (course / "grades_ps9.csv").read_text("utf-8")
    return {r["student"]: r for r in csv.DictReader(text.splitlines())}


def test_what_is_handed_out_is_what_we_say(course):
    assignment = assignments.load(str(course / "ps9.toml"))
    notebook = nbformat.read(course / "release/ps9/ps9.ipynb", 4)
    assert {c.id: (c.cell_type, c.source) for c in notebook.cells} == assignments.released(
        assignment)


@pytest.mark.parametrize("kind", submissions.KINDS)
def test_a_submission_gets_its_grade(course, kind):
    _, points, theirs, remark = submissions.KINDS[kind]
    row = rows(course)[kind]
    assert float(row["total"]) == points, row
    assert float(row["nbgrader"] or 0) == (theirs or 0), row
    assert remark in row["remarks"]
    assert ("nbgrader" in row["remarks"]) == (theirs != points), row


def test_feedback_shows_the_table_and_the_hint(course):
    status, said = nbgrader(course, "generate_feedback", "ps9", "--student", "bug")
    assert status == 0, said
    page = (course / "feedback/bug/ps9/ps9.html").read_text()
    assert "log base 2 in place of the natural log" in page and "8.0" in page


@pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing() or "there is one")
def test_the_kernels_were_in_the_sandbox(course):
    edit = submissions.good(lucene=submissions.GOOD[submissions.LUCENE] + f"""
import os
print("course", os.path.exists({str(course / 'gradebook.db')!r}), os.getcwd())
""")
    handed_out = nbformat.read(course / "release/ps9/ps9.ipynb", 4)
    submissions.hand_in(handed_out, edit, course / "submitted/spy/ps9/ps9.ipynb")
    status, said = nbgrader(course, "autograde", "ps9", "--create", "--student", "spy")
    assert status == 0, said
    assert "course False /tmp" in (course / "autograded/spy/ps9/ps9.ipynb").read_text()
