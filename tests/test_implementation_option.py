"""pytest --implementation FILE, run as a student runs it: from the project's folder."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing

ROOT = Path(__file__).parents[1]


def run(*arguments):
    """Exit status and what is printed."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """A student's chapter 5: a wrong idf, the rest to do."""
    from primer.exercises import stubs
    file = stubs.start("ch05", tmp_path_factory.mktemp("work"))[0]
    head, middle, rest = re.split(r"(?<=\n)(?=def idf_robertson|def idf_lucene)",
                                  file.read_text("utf-8"))
    middle = middle.replace(stubs.TODO, "return np.log2((n - df + 0.5) / (df + 0.5))")
    rest = rest.replace(stubs.TODO, "return np.log1p((n - df + 0.5) / (df + 0.5))", 1)
    file.write_text(head + middle + rest, "utf-8")
    return file


def test_a_wrong_function_fails_with_the_report_and_the_unwritten_are_skipped(half_done):
    status, out = run("-n0", "-v", f"--implementation={half_done}")
    assert status == 1 and "Traceback" not in out and "Error" not in out
    assert re.search(r"1 failed, 3 passed, 13 skipped", out)
    assert "::ch05.idf::idf_by_hand FAILED" in out
    assert "hint: natural logarithms" in out and "try it: idf_robertson(" in out
    assert "ch05.saturation: not written yet" in out
    assert "plugin.py:" not in out.partition("FAILURES")[2].partition("short test summary")[0]


def test_with_processes_and_a_space_ours_pass():
    status, out = run("-n2", "--implementation", "primer/ch05_bm25.py")
    assert status == 0 and re.search(r"\b17 passed", out) and "skipped" not in out


@pytest.mark.skipif(bool(missing("numba")), reason=str(missing("numba")))
def test_a_numba_file(tmp_path):
    from primer.exercises import kernel_exercises
    (file,) = kernel_exercises.start("ch02", "numba", tmp_path)
    assert re.search(r"1 skipped", run("-n0", f"--implementation={file}")[1])
    status, out = run("-n0", "-v", "--implementation", "kernels/ch02_lexicon_numba.py")
    assert status == 0 and "ch02_lexicon_numba.py::path_lengths PASSED" in out


@pytest.mark.parametrize("name, words", [
    ("work/ch05_no_such.py", "there is no work/ch05_no_such.py; one is made with: python -m primer "
     "start ch05"),
    ("primer/data.py", "FILE: 'data' is of no chapter; there are ch01"),
    ("kernels/ch05_bm25.cu", "expected a .py file"),
])
def test_a_file_that_is_none_is_named(name, words):
    status, out = run("-n0", "--implementation", name)
    assert status == pytest.ExitCode.USAGE_ERROR and f"ERROR: --implementation: {words}" in out \
        or f"ERROR: --implementation: {name}: {words}" in out


def test_without_the_option_nothing_is_collected_for_it():
    status, out = run("-n0", "--collect-only", "-q", "tests/test_formats.py", "primer/ch05_bm25.py")
    assert "ch05.idf" not in out and "tests/test_formats.py::" in out
