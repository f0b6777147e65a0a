"""Assignments: notebooks/assignments/psN.toml  ->  the source notebook that nbgrader hands out.

    load("ps1")             title, exercises and points             -> Assignment
    notebook(assignment)    the instructor's notebook, as JSON      -> dict
    released(assignment)    its cells as a student gets them        -> {id: (type, source)}

A notebook is generated, never written by hand: its answers are cut from the reference, its text
and its tests come from the catalogue.  Neither nbformat nor nbgrader is needed for it.  The id of
a cell is its grade_id, so that a cell is still known where a tool has dropped the metadata.
"""
import ast
import builtins
import importlib
import inspect
import json
import re
import shutil
import symtable
import tomllib
from dataclasses import dataclass
from pathlib import Path

from primer.exercises import report, stubs
from primer.formats.files import replaced

FOLDER = stubs.ROOT / "notebooks/assignments"
CONFIG = "nbgrader_config.py"
TODO = f"{stubs.TODO}  # your code here"              # what nbgrader puts for a solution
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(r"^ *### BEGIN HIDDEN TESTS\n.*?^ *### END HIDDEN TESTS\n",
                    re.DOTALL | re.MULTILINE)
INTRODUCTION = """# {title}

{total:g} points in {count} exercises. Write your answers in the cells that say
`raise NotImplementedError`; cells of your own may stand beside them. A test cell shows the smallest
input that fails and returns the points so far: an exercise's points are shared evenly by its
claims. When it is graded, other and more inputs are tried.

Before you hand in: Kernel > Restart and Run All, save, `python -m primer precheck {name}.ipynb`.
Copy no cell that is here and delete none."""
TEST = """from primer.exercises import check

earned = check({call}, points={points})
### BEGIN HIDDEN TESTS
earned = check({call}, points={points}, effort='grading')
### END HIDDEN TESTS
earned"""


@dataclass(frozen=True)
class Assignment:
    """points: the maximum of each exercise's id, in the notebook's order."""

    name: str
    title: str
    points: dict

    @property
    def exercises(self):
        return [report.find(e) for e in self.points]

    @property
    def functions(self):
        """The names that a student writes."""
        return [f for e in self.exercises for f in e.functions]


def names():
    """The assignments made ready  ->  ["ps1", ...]."""
    return sorted(p.stem for p in FOLDER.glob("ps*.toml"))


def load(name):
    """"ps1", or the path of a .toml of one's own  ->  Assignment.  Raises LookupError for no such
    name, or no such exercise in it, ValueError for a file that is not as expected."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise LookupError(f"assignment: there is no {name!r}, there are "
                          f"{', '.join(names()) or f'none in {FOLDER}: use a clone'}")
    try:
        held = tomllib.loads(path.read_text("utf-8"))
        rows = [(row["id"], row["points"]) for row in held["exercises"]]
        found = Assignment(path.stem, held["title"], dict(rows))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a title and exercises = [{{id = \"ch05.idf\", points = "
                         f"4}}, ...], got {type(error).__name__}: {error}") from None
    wrong = [p for _, p in rows if type(p) not in (int, float) or not 0 < p == round(p, 2)]
    if wrong or not rows:
        raise ValueError(f"{path}: points: expected numbers above 0 with at most two decimals, got "
                         f"{wrong[0] if wrong else 'no exercise'}")
    functions = found.functions
    twice = [f for f in functions if functions.count(f) > 1]
    if twice or len(rows) > len(found.points):
        raise ValueError(f"{path}: two exercises ask for {twice[0] if twice else 'the same'}")
    return found


def slug(exercise):
    return exercise.id.replace(".", "-")


def answer_id(exercise, function):
    return f"{slug(exercise)}-answer-{function}"


def _cell(kind, identity, source, **flags):
    graded = {"grade": False, "grade_id": identity, "locked": True, "schema_version": 3,
              "solution": False, "task": False} | flags
    cell = {"cell_type": kind, "id": identity, "metadata": {"nbgrader": graded},
            "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def notebook(assignment):
    """The instructor's notebook: answers between solution marks, tests with a hidden part."""
    told = INTRODUCTION.format(title=assignment.title, name=assignment.name,
                               total=sum(assignment.points.values()), count=len(assignment.points))
    cells = [_cell("markdown", "title", told), _cell("code", "setup", setup(assignment))]
    for exercise, points in zip(assignment.exercises, assignment.points.values(), strict=True):
        claims = "\n".join(f"- {p.claim}" for p in exercise.properties)
        cells.append(_cell("markdown", f"{slug(exercise)}-text", f"## {exercise.title}\n\n"
                           f"`{exercise.id}`, {points:g} points. What must hold:\n\n{claims}"))
        module = importlib.import_module(exercise.reference)
        for name in exercise.functions:
            source = inspect.getsource(getattr(module, name)).rstrip("\n")
            cells.append(_cell("code", answer_id(exercise, name),
                               stubs.with_solution_marks(source, {name}).rstrip("\n"),
                               locked=False, solution=True))
        call = ", ".join([repr(exercise.id), *exercise.functions])
        cells.append(_cell("code", f"{slug(exercise)}-test", TEST.format(call=call, points=points),
                           grade=True, points=points))
    return {"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}}


def setup(assignment):
    """The imports that the answers need, the answers themselves aside  ->  str.
    Raises ValueError where two chapters mean different things by a name."""
    own, lines, meant = set(assignment.functions), {"": ["import numpy as np"]}, {}
    for exercise in assignment.exercises:
        module = importlib.import_module(exercise.reference)
        bound = _imports(module)
        for name in sorted(_globals(module, exercise.functions) - own):
            thing = getattr(module, name)
            if meant.setdefault(name, thing) is not thing:
                raise ValueError(f"{assignment.name}: {name} of {exercise.reference} is another "
                                 "than an earlier exercise's: put them into two assignments")
            origin, line = bound.get(name, (exercise.reference, name))
            if line not in lines.setdefault(origin, []):
                lines[origin].append(line)
    first = "\n".join(sorted(lines.pop("")))
    froms = [f"from {m} import {', '.join(sorted(n))}" for m, n in sorted(lines.items())]
    return "\n".join([first, "", *map(_folded, froms)])


def _folded(line, width=88):
    """A long `from m import a, b` over several lines, in brackets."""
    if len(line) <= width:
        return line
    head, _, tail = line.partition(" import ")
    return f"{head} import (\n" + "".join(f"    {n},\n" for n in tail.split(", ")) + ")"


def _imports(module):
    """What a module's imports bind  ->  {name: (module, "name" or "name as other")}."""
    found = {}
    for node in ast.parse(inspect.getsource(module)).body:
        for alias in getattr(node, "names", []) if isinstance(node, ast.Import | ast.ImportFrom) \
                else []:
            origin = getattr(node, "module", "")
            found[alias.asname or alias.name] = (origin, ("" if origin else "import ")
                                                 + ast.unparse(alias))
    return found


def _globals(module, functions):
    """The module's names that its functions use, defaults included  ->  set of str."""
    def walk(table):
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
                yield symbol.get_name()
        for child in table.get_children():
            yield from walk(child)

    used = {n for f in functions for n in walk(symtable.symtable(
        inspect.getsource(getattr(module, f)), f, "exec"))}
    return {n for n in used if hasattr(module, n) and not hasattr(builtins, n)}


def released(assignment):
    """The cells as nbgrader hands them out: solutions and hidden tests cut
    ->  {grade_id: (cell type, source)}."""
    cut = {}
    for cell in notebook(assignment)["cells"]:
        source = SOLUTION.sub(rf"\1{TODO}", "".join(cell["source"]))
        cut[cell["id"]] = cell["cell_type"], HIDDEN.sub("", source)
    return cut


def write(name, course):
    """Write COURSE/source/ps1/ps1.ipynb, to the side and renamed, and a config where the course has
    none  ->  paths written.  The same bytes each time."""
    course, assignment = Path(course), load(name)
    made, name = notebook(assignment), assignment.name
    path = course / "source" / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    config = course / CONFIG
    if config.exists():
        return [path]
    shutil.copyfile(FOLDER / CONFIG, config)
    return [path, config]


def write_aside(path, text):
    """Write a whole file to the side, then rename it: no reader sees half of it."""
    with replaced(path) as out:
        out.write(text.encode("utf-8"))
