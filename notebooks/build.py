"""Build the notebooks: src/chNN_x.py (percent format) -> chNN_x.ipynb, executed; never back.

    python notebooks/build.py                  all of them
    python notebooks/build.py ch05 ch06        these
    python notebooks/build.py --check          write nothing; fail where a notebook is stale

A rebuild under the same versions gives the same bytes: cell ids, counts and kernel metadata are
pinned, nothing that depends on the clock, the folder or the memory's layout is kept, and the
kernel runs with one thread, a fixed hash seed, no network, no fetched data and an empty folder.

Exercises.  What is stored is what a student opens, and its outputs are what running just that
gives.  Lines from `### BEGIN SOLUTION` to `### END SOLUTION` become a NotImplementedError; a later
cell that calls such a function and ends with an assert is put into a try, so that it says "right"
or "not written yet" (run_property says "todo" by itself).  So run-all reaches the end before any
exercise is written.  The solutions stay in the source, and the tests run them.

Figures.  The first code cell gets `%matplotlib inline`: without it a Figure made outside pyplot
shows as text, here and at a student's.
"""
import argparse
import ast
import difflib
import os
import re
import sys
import tempfile
import textwrap
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION", re.DOTALL | re.MULTILINE)
STUB = r"\1raise NotImplementedError  # your code here"
INLINE = "%matplotlib inline"
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Runs before the first cell and is not stored.  No bbox "tight": the size in pixels would hang on
# the fonts' measures; no Software entry: it names matplotlib's version.
SETUP = """
import socket as _socket
import matplotlib_inline.backend_inline
def _offline(*args, **kwargs):
    raise OSError("a notebook runs offline: use the committed data")
_socket.getaddrinfo = _socket.create_connection = _offline
get_ipython().run_line_magic("config", "InlineBackend.print_figure_kwargs = "
    "{'dpi': 80, 'bbox_inches': None, 'metadata': {'Software': None}}")
"""


def sources(names=()):
    """The source files whose names begin with one of `names`, all for none -> list of Path."""
    found = sorted((HERE / "src").glob("ch*.py"))
    unknown = [n for n in names if not any(s.stem.startswith(n) for s in found)]
    if unknown:
        raise SystemExit(f"no source begins with {', '.join(unknown)}; there are: "
                         f"{', '.join(s.stem for s in found) or 'none'}")
    return [s for s in found if not names or s.stem.startswith(tuple(names))]


def read(source, solved=False):
    """The cells of a source as they are stored, or with its solutions -> notebook, no outputs.

    Raises ValueError for a BEGIN SOLUTION without its END: the solution would be given away.
    """
    notebook = nbformat.v4.new_notebook(metadata=METADATA)
    notebook.nbformat_minor = 5
    exercises, begun = [], False
    for i, cell in enumerate(jupytext.reads(source.read_text("utf-8"), fmt="py:percent").cells):
        text = cell.source.strip("\n")
        if cell.cell_type == "code" and not solved:
            text, own = SOLUTION.sub(STUB, text), text
            exercises += re.findall(r"^def (\w+)", own, re.MULTILINE) if own != text else []
            if re.search(r"### (?:BEGIN|END) SOLUTION", text):
                raise ValueError(f"a SOLUTION mark without its partner:\n{text}")
            text = guard(text, exercises)
        if cell.cell_type == "code" and not begun:
            begun, text = True, text if INLINE in text else f"{INLINE}\n{text}"
        new = getattr(nbformat.v4, f"new_{cell.cell_type}_cell")
        tags = {k: v for k, v in cell.metadata.items() if k == "tags"}
        notebook.cells.append(new(text, id=f"{source.stem[:4]}-{i:03d}", metadata=tags))
    return notebook


def guard(text, exercises):
    """A cell that ends with an assert about an exercise, made kind to one who has not begun."""
    used = [name for name in exercises if re.search(rf"\b{name}\b", text)]
    body = ast.parse(text).body if used else []
    if not body or not isinstance(body[-1], ast.Assert):
        return text
    own = max((s.end_lineno for s in body if isinstance(s, ast.FunctionDef)), default=0)
    lines = text.split("\n")                     # the definitions stay, what follows is tried
    tried = textwrap.indent("\n".join(lines[own:]).strip("\n"), "    ")
    return "\n".join([*lines[:own], *[""] * 2 * bool(own), "try:", tried, '    print("right")',
                      "except NotImplementedError:",
                      f'    print("{" or ".join(used)}: not written yet")'])


def run(notebook):
    """Execute in a fresh kernel and an empty folder; the outputs stay in the notebook, tidied."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SETUP))
    with tempfile.TemporaryDirectory() as folder:
        settings = {**dict.fromkeys(THREADS, "1"), "PYTHONHASHSEED": "0",
                    "IPYTHONDIR": os.path.join(folder, ".ipython"),     # nobody's own settings
                    "PRIMER_DATA": os.path.join(folder, "data")}        # nor fetched data
        client = NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False,
                                extra_arguments=["--IPKernelApp.log_level=40"])
        client.execute(cwd=folder, env={**os.environ, **settings})
    del notebook.cells[0]
    notebook.metadata = nbformat.from_dict(METADATA)
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            count += 1
            cell.execution_count, cell.outputs = count, tidy(cell, count)
            cell.metadata.pop("execution", None)
    return notebook


def tidy(cell, count):
    """A cell's outputs without stderr and what changes from run to run -> list of outputs.

    Raises ValueError for what must not be stored: a warning, an error, a widget, an address.
    """
    kept = []
    for output in cell.outputs:
        data, stderr = output.get("data", {}), output.get("name") == "stderr"
        words = output.get("text", "") + data.get("text/plain", "")
        for bad, pattern, where in (("warns", r"\w+Warning: .*", words if stderr else ""),
                                    ("prints an address in memory", r".*\bat 0x\w+", words),
                                    ("shows a widget", r"\S*jupyter\.widget\S*", " ".join(data)),
                                    ("ends in an error", r"error", output.output_type)):
            if found := re.search(pattern, where):
                raise ValueError(f"cell {cell.id} {bad}: {found.group()}")
        if stderr:
            continue
        if "image/png" in data:
            data.pop("text/plain", None)
        if "execution_count" in output:
            output.execution_count = count
        if "text" in output and kept and "text" in kept[-1]:
            kept[-1].text += output.text       # where stdout is cut in two depends on the clock
        else:
            kept.append(output)
    return kept


def build(source):
    """Execute a source -> the text of its .ipynb."""
    try:
        notebook = run(read(source))
    except ValueError as error:
        raise SystemExit(f"{source.name}: {error}") from None
    except CellExecutionError as error:
        raise SystemExit(f"{source.name} stops before its end:\n{error}\n(If an exercise is not "
                         "written yet: use it in a cell that ends with an assert.)") from None
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4) + "\n"


def main(arguments=None):
    """The command line -> 1 if --check found a stale notebook, else 0."""
    parser = argparse.ArgumentParser(description="Build the notebooks from their sources.")
    parser.add_argument("chapters", nargs="*", help="such as ch05; all, if none is named")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where stale")
    options = parser.parse_args(arguments)
    stale = 0
    for source in sources(options.chapters):
        new, target = build(source), HERE / f"{source.stem}.ipynb"
        old = target.read_text("utf-8") if target.exists() else ""
        if not options.check:
            target.write_text(new, "utf-8", newline="\n")
        print(f"{target.name}: {len(new.encode()) / 1000:.0f} KB, "
              f"{'as it was' if old == new else 'stale' if options.check else 'written'}")
        if options.check and old != new:
            stale = 1
            changes = difflib.unified_diff(old.split("\n"), new.split("\n"), n=0, lineterm="")
            print("\n".join(line[:160] for line in list(changes)[2:12]))
    return stale


if __name__ == "__main__":
    sys.exit(main())
