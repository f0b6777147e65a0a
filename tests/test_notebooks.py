"""The built notebooks are what their sources give, run anywhere, and are kind to students.

Source cells and text outputs are compared strictly, figures by presence and size in pixels: fonts
differ by a pixel between versions of Matplotlib.  Each notebook runs once, in one kernel: first
as it is stored, with its exercises not written, then once more with the solutions.
"""
import base64
import functools
import importlib.util
import re
import time
from pathlib import Path

import nbformat
import pytest
from conftest import needs
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]
BYTES, SECONDS = 500_000, 60
CLOCK = re.compile(r"perf_counter|process_time|time\.time\(|%time|%%time|import timeit|%prun")
TIMING = re.compile(r"\d ?(?:ms|µs|us|ns|seconds?|minutes?)\b|\d\.\d+ ?s\b")
UNSOLVED = re.compile(r"not written yet|\b(?:todo|broken)\b")


def load_build():
    spec = importlib.util.spec_from_file_location("notebooks_build", ROOT / "notebooks/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()
TOOLS = {"ch00_kernels": ("emulated", "nvrtc")}        # what a notebook needs besides Python
each_source = pytest.mark.parametrize("source", [
    pytest.param(s, id=s.stem, marks=needs(*TOOLS.get(s.stem, ()))) for s in build.sources()])


def stored(source):
    path = build.HERE / f"{source.stem}.ipynb"
    assert path.exists(), f"not built: run  python notebooks/build.py {source.stem[:4]}"
    return nbformat.read(path, as_version=4)


@functools.cache
def fresh(source):
    """Run a source as stored, then its solutions -> (notebook, cells with solutions, seconds)."""
    notebook, solved = build.read(source), build.read(source, solved=True)
    length = len(notebook.cells)
    changed = [i for i, (a, b) in enumerate(zip(notebook.cells, solved.cells, strict=True))
               if a.source != b.source]
    notebook.cells += solved.cells[min(changed, default=length):]
    for cell in notebook.cells[length:]:
        cell.id += "-solved"
    start = time.perf_counter()
    try:
        build.run(notebook)
    except CellExecutionError as error:
        pytest.fail(f"{source.name} stops before its end, with its stubs or its solutions:\n"
                    f"{re.sub(chr(27) + r'.[0-9;]*m', '', str(error))}", pytrace=False)
    seconds = time.perf_counter() - start
    tail = notebook.cells[length:]
    del notebook.cells[length:]
    return notebook, tail, seconds


def png_size(data):
    """Width and height in pixels, from the header of a PNG in base 64 -> (int, int)."""
    header = base64.b64decode(data)[16:24]
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")


def content(output):
    """What is compared of an output: text as it is, of a figure its size -> dict."""
    data = {"stream": output.text} if "text" in output else dict(output.get("data", {}))
    return {kind: png_size(value) if kind == "image/png" else value
            for kind, value in data.items()}


def differences(old, new):
    """Where two lists of cells differ, in words; ids, sources and outputs -> list of str."""
    if [c.id for c in old] != [c.id for c in new]:
        return [f"{len(old)} cells stored, {len(new)} from the source"]
    found = []
    for a, b in zip(old, new, strict=True):
        if (a.cell_type, a.source, a.metadata) != (b.cell_type, b.source, b.metadata):
            found.append(f"{a.id} holds\n{a.source}\nwhere the source gives\n{b.source}")
        before = [content(o) for o in a.get("outputs", [])]
        after = [content(o) for o in b.get("outputs", [])]
        if before != after:
            found.append(f"{a.id} stores\n{before}\nwhere running it gives\n{after}")
    return found


def without_outputs(cells):
    return [nbformat.from_dict({**c, "outputs": []}) for c in cells]


def complaints(notebook, size):
    """What a stored notebook must not be or hold -> list of str."""
    found = [f"{size} bytes, more than {BYTES}: fewer or smaller figures"] * (size > BYTES)
    if notebook.metadata != build.METADATA:
        found.append(f"other metadata than build.py pins: {notebook.metadata}")
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if [c.execution_count for c in code] != list(range(1, len(code) + 1)):
        found.append("execution counts are not 1, 2, 3, ...: run build.py, not the notebook")
    for cell in code:
        if CLOCK.search(cell.source):
            found.append(f"{cell.id} takes times: that is for tests/benchmarks/")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{cell.id} ends in {output.ename}")
            if "widget" in " ".join(output.get("data", {})):
                found.append(f"{cell.id} stores a widget: use plain tqdm")
            if output.get("name") == "stderr":
                found.append(f"{cell.id} stores stderr")
            if time_said := TIMING.search(str(content(output))):
                found.append(f"{cell.id} prints a time, {time_said.group()!r}")
    return found


def unsolved(tail):
    """What the cells with solutions say of a solution that is none -> list of str."""
    said = [(c.id, UNSOLVED.search(str(content(o)))) for c in tail for o in c.get("outputs", [])]
    return [f"{name} says {found.group()!r} of the solution" for name, found in said if found]


REBUILD = "Run  python notebooks/build.py  and commit what it writes."


def refuse(wrong, advice=""):
    if wrong:
        pytest.fail("\n".join([*wrong, advice]), pytrace=False)


@each_source
def test_the_stored_cells_are_the_sources(source):
    refuse(differences(without_outputs(stored(source).cells),
                       without_outputs(build.read(source).cells)), REBUILD)


@each_source
def test_it_stores_nothing_but_what_should_be(source):
    size = (build.HERE / f"{source.stem}.ipynb").stat().st_size
    refuse(complaints(stored(source), size))


@each_source
def test_running_it_gives_the_stored_outputs(source):
    notebook, _, seconds = fresh(source)
    refuse(differences(stored(source).cells, notebook.cells), REBUILD)
    assert seconds < SECONDS, f"{seconds:.0f} s: shorten it, a minute is too long for a reader"


@each_source
def test_its_solutions_solve_its_exercises(source):
    _, tail, _ = fresh(source)
    assert tail, "no exercise: mark a solution with ### BEGIN SOLUTION and ### END SOLUTION"
    refuse(unsolved(tail))


def test_every_built_notebook_has_a_source():
    sources = {source.stem for source in build.sources()}
    orphans = [p.name for p in build.HERE.glob("*.ipynb") if p.stem not in sources]
    assert not orphans, f"delete them, or write their sources in notebooks/src/: {orphans}"


# The machinery itself, on a small source with all that a notebook may hold.

SOURCE = '''\
# %% [markdown]
# # 99. A try

# %%
import os, socket, sys
from primer.figures import new_figure

# %%
figure, axes = new_figure(width=5, height=3)
figure

# %%
for i in range(3):
    print(i)
    print("progress", file=sys.stderr, flush=True)
try:
    socket.create_connection(("example.org", 80))
except OSError as error:
    print(error, os.listdir())

# %%
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %%
assert double(2) == 4

# %%
{1, 2}
'''


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    source = tmp_path_factory.mktemp("src") / "ch99_try.py"
    source.write_text(SOURCE)
    return source


@pytest.fixture(scope="module")
def built(planted):
    return nbformat.reads(build.build(planted), as_version=4)


def test_a_rebuild_gives_the_same_bytes(planted, built):
    assert build.build(planted) == nbformat.writes(built) + "\n"


def test_a_figure_outside_pyplot_is_stored_as_png(built):
    (output,) = built.cells[2].outputs
    assert set(output.data) == {"image/png"} and png_size(output.data["image/png"]) == (400, 240)
    assert b"Software" not in base64.b64decode(output.data["image/png"])
    assert "%matplotlib inline" in built.cells[1].source


def test_stdout_is_stored_in_one_piece_and_stderr_not(built):
    (output,) = built.cells[3].outputs
    assert output.text == "0\n1\n2\na notebook runs offline: use the committed data ['.ipython']\n"


def test_an_exercise_is_stored_as_a_stub_and_run_all_reaches_the_end(built):
    stub, check, last = built.cells[4:]
    assert stub.source == ('def double(x):\n    """Twice x."""\n'
                           '    raise NotImplementedError  # your code here')
    assert check.source.startswith("try:\n    assert double(2) == 4\n")
    assert check.outputs[0].text == "double: not written yet\n"
    assert last.outputs[0].data["text/plain"] == "{1, 2}" and last.id == "ch99-006"
    assert not complaints(built, 10_000)


def test_the_solutions_run_after_the_stubs(planted, built):
    notebook, tail, _ = fresh(planted)
    assert not differences(built.cells, notebook.cells)
    assert [c.source for c in tail][1:] == ["assert double(2) == 4", "{1, 2}"]
    assert not tail[1].outputs and not unsolved(tail)
    assert unsolved(built.cells) == ["ch99-005 says 'not written yet' of the solution"]


def test_a_definition_stays_outside_the_try():
    text = "def one():\n    raise NotImplementedError\n\n\nassert one() == 1"
    head = text.partition("assert")[0]
    assert build.guard(text, ["one"]).startswith(head + "try:\n    assert one() == 1\n")
    assert build.guard("one()", ["one"]) == "one()"
    assert build.guard("# one", ["one"]) == "# one"


def test_a_cell_that_dies_without_its_solution_is_refused(tmp_path):
    source = tmp_path / "ch99_dies.py"
    source.write_text(SOURCE.replace("assert double(2) == 4", "double(2)"))
    with pytest.raises(SystemExit, match="an exercise is not written yet"):
        build.build(source)


def test_a_mark_without_its_partner_is_refused(tmp_path):
    source = tmp_path / "ch99_mark.py"
    source.write_text(SOURCE.replace("### END SOLUTION", "### THE END"))
    with pytest.raises(ValueError, match="without its partner"):
        build.read(source)


@pytest.mark.parametrize("output, words", [
    (dict(output_type="stream", name="stderr", text="RuntimeWarning: overflow"), "warns"),
    (dict(output_type="execute_result", data={"text/plain": "<f at 0x7f3a>"}), "address"),
    (dict(output_type="display_data",
          data={"application/vnd.jupyter.widget-view+json": {}}), "widget"),
    (dict(output_type="error", ename="KeyError"), "error"),
])
def test_build_refuses_what_must_not_be_stored(output, words):
    cell = nbformat.from_dict({"id": "ch99-000", "source": "", "outputs": [output]})
    with pytest.raises(ValueError, match=words):
        build.tidy(cell, 1)


def test_a_name_without_a_source_is_refused():
    with pytest.raises(SystemExit, match="no source begins with ch77"):
        build.sources(["ch77"])


def test_differences_sees_sources_texts_and_sizes(built):
    def changed(index, **new):
        other = nbformat.from_dict(built)
        other.cells[index].update(new)
        return differences(built.cells, other.cells)

    picture = base64.b64encode(bytes(16) + bytes([0, 0, 1, 0, 0, 0, 1, 0])).decode()
    assert not differences(built.cells, nbformat.from_dict(built).cells)
    assert "where the source gives" in changed(6, source="{1, 3}")[0]
    assert "(256, 256)" in changed(2, outputs=[nbformat.v4.new_output(
        "display_data", {"image/png": picture})])[0]
    assert "running it gives\n[]" in changed(2, outputs=[])[0]
    assert "'1\\n'" in changed(3, outputs=[nbformat.v4.new_output("stream", text="1\n")])[0]
    assert "7 cells stored, 6" in differences(built.cells, built.cells[:-1])[0]


@pytest.mark.parametrize("index, new, words", [
    (1, {"execution_count": 7}, "execution counts"),
    (1, {"source": "start = time.perf_counter()"}, "takes times"),
    (3, {"outputs": [nbformat.v4.new_output("stream", text="took 3.2 s")]}, "prints a time"),
    (3, {"outputs": [nbformat.v4.new_output("stream", name="stderr", text="x")]}, "stderr"),
    (3, {"outputs": [nbformat.v4.new_output("error", ename="KeyError")]}, "KeyError"),
    (3, {"outputs": [nbformat.v4.new_output("display_data", {"x/widget": "x"})]}, "widget"),
])
def test_complaints_sees(built, index, new, words):
    bad = nbformat.from_dict(built)
    bad.cells[index].update(new)
    assert words in "\n".join(complaints(bad, 10_000))
    assert "bytes" in complaints(built, BYTES + 1)[0]
