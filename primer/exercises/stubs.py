"""Stubs, cut from the reference: its lines and comments stay, the bodies of an exercise go."""
import ast
import importlib
import inspect
import shutil
from pathlib import Path

from primer.exercises.kit import catalogue
from primer.exercises.report import chapter_of

ROOT = Path(__file__).parents[2]
TODO = "raise NotImplementedError"


def cut(source, names, replaced):
    """The source with replaced(body lines, indent, name) for the body of each named function;
    docstrings stay.  str, set of names  ->  str."""
    lines = source.splitlines(keepends=True)
    functions = [n for n in ast.parse(source).body
                 if isinstance(n, ast.FunctionDef) and n.name in names]
    for function in reversed(functions):              # from the end: line numbers stay right
        first = function.body[0]
        has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        start = first.end_lineno if has_docstring else first.lineno - 1
        body = lines[start:function.end_lineno]
        lines[start:function.end_lineno] = replaced(body, " " * first.col_offset, function.name)
    return "".join(lines)


def stub(chapter):
    """A chapter's module with the exercises' functions to fill in; those of its parts come last
    ->  str."""
    hints, parts = {}, {}
    for exercise in catalogue(chapter):
        hint = next((p.hint for p in exercise.properties if p.hint), "")
        for name in exercise.functions:
            hints.setdefault(name, (exercise.id, hint))
            parts.setdefault(exercise.reference, []).append(name)

    def body(lines, indent, name):
        count = sum(bool(line.strip()) for line in lines)
        identity, hint = hints[name]
        told = [f"# {identity}: roughly {count} line{'s' * (count > 1)}"]
        told += [f"# hint: {hint}"] * bool(hint)
        return [f"{indent}{line}\n" for line in (*told, TODO)]

    whole = f"primer.{chapter}"
    text = inspect.getsource(importlib.import_module(whole))
    for part in sorted(parts.keys() - {whole}):
        module = importlib.import_module(part)
        text += "".join(f"\n\n{inspect.getsource(getattr(module, name))}" for name in parts[part])
    return cut(text, set(hints), body)


def with_solution_marks(source, names):
    """The same cut as nbgrader marks it: its solution stays, between the marks  ->  str."""
    def body(lines, indent, name):
        return [f"{indent}### BEGIN SOLUTION\n", *lines[:-1], lines[-1].rstrip("\n") + "\n",
                f"{indent}### END SOLUTION\n"]
    return cut(source, names, body)


def start(name, folder="work"):
    """Copy a chapter's notebook and write its stubs; nothing is overwritten  ->  paths written.
    Raises LookupError for no chapter, FileExistsError where the stubs are there already."""
    chapter, folder = chapter_of(name), Path(folder)
    file, notebook = folder / f"{chapter}.py", folder / f"{chapter}.ipynb"
    if file.exists():
        raise FileExistsError(f"{file} is there already, and is not overwritten; to begin anew, "
                              "move it away")
    folder.mkdir(parents=True, exist_ok=True)
    with open(file, "x", encoding="utf-8") as out:
        out.write(stub(chapter))
    source = ROOT / "notebooks" / notebook.name
    if notebook.exists() or not source.exists():
        return [file]
    shutil.copyfile(source, notebook)
    return [file, notebook]
