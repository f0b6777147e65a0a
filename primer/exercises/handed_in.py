"""What a student hands in, looked at and not run: its cells, its answers, what stands out in them.

    read("ps1.ipynb")                   its cells                              -> list of Cell
    complaints(assignment, cells)       what would go wrong when it is graded  -> list of str
    answers(assignment, cells)          the answers' sources                   -> list of Part
    remarks(assignment, parts)          what a teacher should look at          -> list of str
"""
import ast
import functools
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import NamedTuple

from primer.exercises import assignments

KEPT = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
RUN = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.Try, ast.With)   # may take long
SHORT = 2                             # so few statements are alike without a look at the reference
SUSPICIOUS = {"sys", "os", "subprocess", "importlib", "inspect", "gc", "ctypes", "builtins",
              "socket", "signal", "threading", "multiprocessing", "pathlib", "kernels"}
TRICKS = {"__import__", "exec", "eval", "open", "compile", "__code__", "__globals__", "__dict__",
          "__builtins__", "_getframe", "setattr", "getattr"}
MAGIC = re.compile(r"^(\s*)[%!?].*$", re.MULTILINE)


class Cell(NamedTuple):
    """A cell; id is its grade_id, or its own where the metadata has none."""

    number: int
    id: str
    kind: str
    source: str


class Part(NamedTuple):
    """An answer, or a code cell that the student added."""

    id: str
    source: str
    tree: ast.Module | None           # None: a syntax error
    error: str


def read(path):
    """The cells of a notebook.  Raises ValueError for what is none, OSError."""
    try:
        held = json.loads(Path(path).read_text("utf-8-sig"))
        return [Cell(i, str(c["metadata"].get("nbgrader", {}).get("grade_id") or c.get("id", "")),
                     c["cell_type"], "".join(c["source"]).replace("\r\n", "\n"))
                for i, c in enumerate(held["cells"], 1)]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a notebook (nbformat 4), got {type(error).__name__}: "
                         f"{error}") from None


def parsed(source):
    """A cell's syntax tree, IPython's %magics and !commands aside  ->  (tree or None, error)."""
    for text in (source, MAGIC.sub(r"\1pass", source)):
        try:
            return ast.parse(text), ""
        except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
            error = problem
    line = (getattr(error, "text", None) or "").strip()
    return None, f"line {getattr(error, 'lineno', '?')}: {error.args[0]}: {line}"


def complaints(assignment, cells):
    """What to mend before it is handed in, each with what to do  ->  list of str."""
    found = []
    for name, (kind, source) in assignments.released(assignment).items():
        mine = [c for c in cells if c.id == name]
        if len(mine) != 1:
            where = ", ".join(str(c.number) for c in mine)
            found.append(f"{name} is there {len(mine)} times, in cells {where}: keep the one with "
                         "your answer, delete the others" if mine else f"{name} is missing: undo "
                         "the deletion, or begin anew from the notebook as it was handed out and "
                         "copy your answers into it")
            continue
        cell = f"{name}, cell {mine[0].number},"
        if mine[0].kind != kind:
            found.append(f"{cell} is a {mine[0].kind} cell, expected {kind}: select it and press "
                         f"{'Y' if kind == 'code' else 'M'}")
        elif "-answer-" in name:
            found += [f"{cell} {error}" for error in [parsed(mine[0].source)[1]] if error]
        elif mine[0].source.strip() != source.strip():
            found.append(f"{cell} has been changed, and is put back when it is graded; it was:\n"
                         f"{source}")
    return found


def unwritten(assignment, cells):
    """The answers that are still as handed out  ->  list of ids."""
    stubs = assignments.released(assignment)
    return [c.id for c in cells if "-answer-" in c.id and c.id in stubs
            and c.source.strip() == stubs[c.id][1].strip()]


def answers(assignment, cells):
    """The answer cells, whatever their type is now, and code cells that the student added, in the
    notebook's order.  A stub counts only where nothing else has its id."""
    out, known = [], assignments.released(assignment)
    for cell in cells:
        added = cell.id not in known and cell.kind == "code"
        if added or cell.id in known and "-answer-" in cell.id:
            stub = not added and cell.source.strip() == known[cell.id][1].strip()
            if not stub or sum(c.id == cell.id for c in cells) == 1:
                out.append(Part(f"cell {cell.number}" if added else cell.id, cell.source,
                                *parsed(cell.source)))
    return out


def definitions(part, patient=True):
    """A part's functions, classes and imports; patient: also what may run long  ->  str."""
    kinds = KEPT + RUN * patient
    body = [n for n in part.tree.body if isinstance(n, kinds)] if part.tree else []
    return ast.unparse(ast.Module(body, []))


def remarks(assignment, parts):
    """Syntax errors, duplicates, imports that stand out, the reference imported or copied."""
    found = [f"{p.id}: {p.error}" for p in parts if p.error]
    ids = [p.id for p in parts]
    found += [f"{i} is there {ids.count(i)} times" for i in sorted({i for i in ids
                                                                    if ids.count(i) > 1})]
    for part in parts:
        if part.tree:
            found += [f"{part.id}: {words}" for words in _of_part(assignment, part.tree)]
    return found


def _of_part(assignment, tree):
    own, modules, aliases = set(assignment.functions), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = getattr(node, "module", None) or ""
            for alias in node.names:
                modules.add(origin or alias.name)
                if (origin or alias.name).split(".")[0] in ("primer", "kernels"):
                    aliases.add((alias.asname or alias.name).split(".")[0])
                    if origin and alias.name in own | {"*"}:
                        yield f"imports the reference: {alias.name} of {origin}"
        elif isinstance(node, ast.Attribute) and node.attr in own:
            root = ast.unparse(node).split(".")[0]
            if root in aliases:
                yield f"imports the reference: {ast.unparse(node)}"
    odd = sorted(m for m in modules if m.split(".")[0] in SUSPICIOUS
                 or m.startswith("primer.exercises"))
    odd += sorted({n for node in ast.walk(tree) for n in (getattr(node, "id", ""),
                                                          getattr(node, "attr", ""))} & TRICKS)
    if odd:
        yield f"look at its use of {', '.join(odd)}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in own:
            mine, count = _shape(node)
            module = next(e.reference for e in assignment.exercises if node.name in e.functions)
            if count > SHORT and mine == _reference_shape(module, node.name):
                yield f"{node.name} reads as the reference does, {count} statements, names aside"


@functools.cache
def _reference_shape(module, function):
    source = inspect.getsource(getattr(importlib.import_module(module), function))
    return _shape(ast.parse(source).body[0])[0]


def _shape(function):
    """A function's body with its own names numbered, docstring aside  ->  (str, statements)."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    local = {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
    local |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name)
              and isinstance(n.ctx, ast.Store)}
    text, number = ast.unparse(ast.Module(body, [])), {}

    def numbered(found):
        name = found.group()
        return f"_{number.setdefault(name, len(number))}" if name in local else name

    count = sum(isinstance(n, ast.stmt) for statement in body for n in ast.walk(statement))
    return re.sub(r"(?<![.\w])[A-Za-z_]\w*", numbered, text), count
