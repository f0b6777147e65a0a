"""pytest --implementation FILE, run as a student runs it: from the project's folder."""
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import missing

from primer.exercises import plugin, stubs
from primer.exercises.kit import catalogue

ROOT = Path(__file__).parents[1]


def run(*arguments):
    """Exit status and what is printed."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """A student's chapter 5: a wrong idf, the rest to do."""
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
    unwritten = sum(len(e.properties) for e in catalogue("ch05_bm25") if e.id != "ch05.idf")
    assert re.search(rf"1 failed, 3 passed, {unwritten} skipped", out)
    assert "::ch05.idf::idf_by_hand FAILED" in out
    assert "hint: natural logarithms" in out and "try it: idf_robertson(" in out
    assert "ch05.saturation: not written yet" in out
    assert "plugin.py:" not in out.partition("FAILURES")[2].partition("short test summary")[0]


def test_with_processes_and_a_space_ours_pass():
    status, out = run("-n2", "--implementation", "primer/ch11_glove.py", "-k", "ch11.weight")
    assert status == 0 and re.search(r"\b[3-9] passed", out) and "skipped" not in out


@pytest.mark.skipif(bool(missing("numba")), reason=str(missing("numba")))
def test_a_numba_file(tmp_path):
    """A function that no exercise covers is compared with the reference."""
    file = tmp_path / "ch02_lexicon_numba.py"
    file.write_text("import numpy as np\ndef path_lengths(indptr, indices, sources):\n"
                    "    return np.zeros((len(sources), len(indptr) - 1), np.int64)\n", "utf-8")
    status, out = run("-n0", f"--implementation={file}")
    assert status == 1 and re.search(r"the answer\[0, \d+\]: got 0, expected [1-9-]", out)
    assert "1 failed" in out and "Traceback" not in out


class Config:
    """What the plugin asks of pytest's configuration."""

    def __init__(self, name):
        self.name, self.stash, self.args = name, pytest.Stash(), ["tests"]

    def getoption(self, option):
        assert option == "implementation"
        return self.name


@pytest.mark.parametrize("name, words", [
    ("work/ch05_no_such.py", "there is no work/ch05_no_such.py; one is made with: python -m primer "
     "start ch05"),
    ("primer/data.py", "FILE: 'data' is of no chapter; there are ch01"),
    ("kernels/ch05_bm25.cu", "expected a .py file"),
])
def test_a_file_that_is_none_is_named(monkeypatch, name, words):
    monkeypatch.chdir(ROOT)
    with pytest.raises(pytest.UsageError, match=f"--implementation: .*{re.escape(words)}"):
        plugin.pytest_configure(Config(name))


def test_without_the_option_nothing_changes():
    config = Config(None)
    plugin.pytest_configure(config)
    parent = SimpleNamespace(config=config)
    assert config.args == ["tests"]
    assert plugin.pytest_pycollect_makemodule(ROOT / "primer/ch05_bm25.py", parent) is None
