"""Kernels to write: what is cut comes back as to do, ours pass, each planted mistake is named."""
import ast
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import missing, on_emulator

import kernels
from kernels import emulator
from primer.__main__ import main
from primer.exercises import commands, kernel_exercises, kernel_trials, report

HERE = Path(kernels.__file__).parent
CUDA = sorted(p.stem for p in HERE.glob("*.cu")
              if kernel_exercises.kernels_in(p.read_text("utf-8")))
each_cuda = pytest.mark.parametrize("stem", CUDA)
each_numba = pytest.mark.parametrize("stem", list(kernel_exercises.NUMBA))
with_numba = pytest.mark.skipif(bool(missing("numba")), reason=str(missing("numba")))


def student_file(folder, name, *edits):
    """A student's copy of one of our files, edited."""
    text = (HERE / name).read_text("utf-8")
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    (folder / name).write_text(text, "utf-8")
    return folder / name


def run(capsys, *arguments):
    """Exit status, standard output, standard error."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as stopped:
        status = stopped.code
    out = capsys.readouterr()
    return status, out.out, out.err


# ---- what is cut ---------------------------------------------------------------------------------
def test_every_chapter_has_both_kinds():
    stems = {p.stem.removesuffix("_numba") for p in HERE.glob("*_numba.py")}
    parts = {s for s in stems if report.module_of(s) not in report.chapters()}
    assert stems - parts == set(kernel_exercises.NUMBA)    # a part's loops need its other files
    for stem, names in kernel_exercises.NUMBA.items():
        code = (HERE / f"{stem}_numba.py").read_text()
        assert set(names) <= kernel_exercises.functions(ast.parse(code)).keys(), stem
    assert list(dict.fromkeys(s[:4] for s in CUDA)) == [c[:4] for c in report.chapters()]


def test_a_file_is_of_the_module_whose_twin_it_is():
    for stem, module in (("ch04_tfidf", "ch04_tfidf"), ("ch12_fasttext_rows", "ch12_fasttext"),
                         ("ch01_top_k", "ch01_geometry"),
                         ("ch14_bert_attention_tile", "ch14_bert_attention")):
        assert report.module_of(stem) == module


@on_emulator
@each_cuda
def test_cut_kernels_are_to_do(tmp_path, stem):
    files = kernel_exercises.start(stem[:4], "cuda", tmp_path)
    (file,) = [f for f in files if f.name == f"{stem}.cu"]
    results = kernel_exercises.check_cuda(file)
    assert [r.name for r in results] == list(kernel_exercises.kernels_in(
        (HERE / file.name).read_text("utf-8")))
    assert {r.status for r in results} == {"todo"}


@each_cuda
def test_cutting_leaves_the_rest(stem):
    ours = (HERE / f"{stem}.cu").read_text("utf-8")
    text = kernel_exercises.cut_cuda(ours)
    assert text.count(kernel_exercises.TODO) == len(kernel_exercises.kernels_in(ours))
    lost = set(ours.splitlines()) - set(text.splitlines())
    bodies = "".join(ours[a:b] for _, a, b in kernel_exercises.kernels_in(ours).values())
    assert lost and all(line in bodies for line in lost)


@each_cuda
def test_a_kernel_alone_has_ours_around_it(stem):
    ours = (HERE / f"{stem}.cu").read_text("utf-8")
    for kernel in kernel_exercises.kernels_in(ours):
        text = kernel_exercises.alone(kernel_exercises.cut_cuda(ours), ours, kernel, stem)
        assert kernel_exercises.unwritten(text) == {kernel}
        assert kernel_exercises.alone(ours, ours, kernel, stem) == ours
    assert kernel_exercises.unwritten(kernel_exercises.alone("", ours, "", stem)) == set()


@with_numba
@each_numba
def test_cut_loops_are_to_do(tmp_path, stem):
    files = kernel_exercises.start(stem[:4], "numba", tmp_path)
    (file,) = [f for f in files if f.name == f"{stem}_numba.py"]
    work = commands.read(file)
    ours = kernel_exercises.to_write(stem)
    assert ours and not work.written & set(ours)
    assert {*(f for e in work.exercises for f in e.functions), *work.others} - work.given == set(
        ours)
    reports = [commands.judged(e, None, work, False) for e in work.exercises]
    assert all(o.status == "todo" for r in reports for o in r.outcomes)
    results = kernel_exercises.check_numba(file, work.others)
    assert all(r.status == "todo" for r in results) and len(results) == len(work.others)
    assert commands.read(HERE / file.name).written >= set(ours)


@with_numba
def test_the_message_of_a_cut_loop():
    text = kernel_exercises.cut_numba((HERE / "ch11_glove_numba.py").read_text("utf-8"),
                                      "ch11_glove")
    assert "# your code here (roughly 3" in text and "lines); for adagrad_block\n" in text
    assert '"""The steps of the entries first..stop' in text


# ---- ours ----------------------------------------------------------------------------------------
@on_emulator
@each_cuda
def test_our_kernels_pass(tmp_path, stem):
    for result in kernel_exercises.check_cuda(student_file(tmp_path, f"{stem}.cu")):
        assert result.status == "right", result
        yours, ours = (part.split(", ours ") for part in result.lines[0].split(";")[:2])
        assert yours[0].split()[-2] == yours[1].split()[0] != "0"
        assert ours[0].split()[-1] == ours[1]


@with_numba
@pytest.mark.parametrize("stem, exercises, count", [("ch03_bow", ["ch03.product"], 1),
                                                    ("ch11_glove", [], 2)])
def test_our_loops_pass(tmp_path, capsys, stem, exercises, count):
    file = student_file(tmp_path, f"{stem}_numba.py")
    status, out, _ = run(capsys, "check", file, *exercises)
    assert status == 0 and f"{count} of {count} solved" in out and "no  " not in out


@each_numba
def test_every_loop_is_tried(stem):
    """A function that no exercise covers has an example."""
    chapter = report.chapter_of(stem[:4])
    covered = {f for e in commands.catalogue(chapter) for f in e.functions}
    names = {name.partition(",")[0] for name in kernel_trials.examples(chapter)}
    assert set(kernel_exercises.to_write(stem)) <= covered | names


# ---- mistakes ------------------------------------------------------------------------------------
ATOMIC = ("atomicAdd(&df[indices[e]], 1);", "df[indices[e]] += 1;")
SEVERAL = (ATOMIC, ("sums[row] = total;", "sums[row] = 2 * total;"),
           ("  if (divide)\n    for (long long e = first; e < stop;",
            "  if (divide)\n    for (long long e = first; e <= stop;"),
           ("const double scale = square > 0 ? 1 / sqrt(square) : 1.0;",
            "const double scale = sqroot(square);"))


@on_emulator
def test_each_mistake_is_named_and_others_do_not_matter(tmp_path, capsys):
    file = student_file(tmp_path, "ch04_tfidf.cu", *SEVERAL)
    found = {r.name: r for r in kernel_exercises.check_cuda(file)}
    text = file.read_text("utf-8").splitlines()
    line = {kernel: next(i for i, t in enumerate(text, 1) if words in t) for kernel, words in (
        ("document_frequency", ATOMIC[1]), ("weigh", "e <= stop"), ("unit_rows", "sqroot"))}
    lines = found["document_frequency"].lines
    assert lines[0].startswith("RACE df+0") and lines[0].count(
        f"ch04_tfidf.cu:{line['document_frequency']}") == 2
    assert lines[1] == f"line {line['document_frequency']}:  {ATOMIC[1]}"
    assert "the answer[0]: got" in found["row_sums"].lines[0]
    assert " numbers are wrong)" in found["row_sums"].lines[0]
    assert found["weigh"].status == "wrong"
    assert found["unit_rows"].status == "compiler"
    assert "sqroot" in found["unit_rows"].lines[0]
    assert found["unit_rows"].lines[1].startswith(f"line {line['unit_rows']}:  const double")
    status, out, _ = run(capsys, "check", file, "row_sums")
    assert status == 1 and "no   row_sums" in out and "0 of 1 solved" in out


@on_emulator
@pytest.mark.parametrize("stem, kernel, edit, words", [
    ("ch04_tfidf", "document_frequency", ("if (e < entries)", "if (e <= entries)"),
     "OUT-OF-BOUNDS read of 4 bytes"),
    ("ch02_lexicon", "search_paths",
     ("__syncthreads();                                    // the level", "// the level"),
     "RACE static shared"),
    ("ch02_lexicon", "search_paths", ("if (threadIdx.x == 0) grown[0] = 0;", ";"),
     "UNINITIALISED static shared"),
    ("ch02_lexicon", "search_paths", ("    __syncthreads();\n    for (int head",
                                      "    if (threadIdx.x < 9) __syncthreads();\n"
                                      "    for (int head"), "BARRIER-DIVERGENCE"),
    ("ch02_lexicon", "count_children", ("count + indices[edge], 1", "count + indices[edge] + 1, 1"),
     "what it left makes our list_children fail: RACE children"),
    ("ch07_hierarchical_softmax", "hierarchical_softmax", ("if (m)\n", "if (m < 0)\n"),
     "the answer, part 0: got"),
])
def test_a_mistake_is_named(tmp_path, stem, kernel, edit, words):
    (result,) = kernel_exercises.check_cuda(student_file(tmp_path, f"{stem}.cu", edit), [kernel])
    assert result.status == "wrong" and words in " ".join(result.lines), result


@on_emulator
def test_one_that_never_ends_is_stopped_and_the_next_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_exercises, "SECONDS", 5.0)
    file = student_file(tmp_path, "ch04_tfidf.cu", (
        ATOMIC[0], "for (volatile int x = 0; ; x = 1) ;"))
    first, second = kernel_exercises.check_cuda(file, ["document_frequency", "row_sums"])
    assert first.status == "endless" and "does it ever end?" in first.lines[0]
    assert second.status == "right"
    assert "slow document_frequency" in kernel_exercises.as_text([first])


@on_emulator
def test_a_wasteful_kernel_is_right_and_told_so(tmp_path):
    file = student_file(tmp_path, "ch04_tfidf.cu", (
        "const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;",
        "const long long e = (long long)threadIdx.x * gridDim.x + blockIdx.x;"))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    (result,) = kernel_exercises.check_cuda(file, ["document_frequency"])
    assert result.status == "right"
    yours, ours = (int(word.replace(",", "")) for word in result.lines[0].split(";")[0].split()
                   if word[0].isdigit())
    assert yours > 2 * ours


def test_the_first_difference():
    want = (np.arange(6.0).reshape(2, 3), ("a",))
    assert kernel_trials.different((want[0] + 1e-9, ("a",)), want) == ""
    got = want[0].copy()
    got[1, 0] = np.nan
    assert kernel_trials.different((got, ("a",)), want) == (
        "the answer, part 0[1, 0]: got nan, expected 3.0 (1 of 6 numbers are wrong)")
    assert "shape is (3,)" in kernel_trials.different(np.zeros(3), np.zeros(4))
    assert kernel_trials.different(3.0, 4.0) == "the answer: got 3.0, expected 4.0"
    assert "expected 2 parts" in kernel_trials.different(None, want)


@with_numba
def test_a_wrong_loop_and_one_that_raises(tmp_path):
    file = student_file(tmp_path, "ch02_lexicon_numba.py")
    tree = ast.parse(file.read_text("utf-8"))
    body = kernel_exercises.functions(tree)["path_lengths"].body[-1]
    text = file.read_text("utf-8").splitlines()
    text[body.lineno - 1:] = ["    return np.zeros((len(sources), len(indptr) - 1), np.int64)"]
    file.write_text("\n".join(text), "utf-8")
    (result,) = kernel_exercises.check_numba(file, ["path_lengths"])
    assert result.status == "wrong" and "the answer[0, " in result.lines[0]
    text[body.lineno - 1:] = ["    return no_such_name"]
    file.write_text("\n".join(text), "utf-8")
    (result,) = kernel_exercises.check_numba(file, ["path_lengths"])
    assert "no_such_name" in result.lines[0] and f"line {body.lineno}" in result.lines[1]


# ---- the command ---------------------------------------------------------------------------------
def test_start_writes_and_does_not_overwrite(tmp_path, capsys):
    for kind, files in (("cuda", ["ch12_fasttext.cu"]),
                        ("numba", ["ch12_fasttext_numba.py", "ch12_fasttext_rows_numba.py"])):
        status, out, _ = run(capsys, "start", "ch12", "--kernel", kind, "--to", tmp_path / kind)
        assert status == 0 and all(f"check {tmp_path / kind / f}" in out for f in files)
        assert sorted(p.name for p in (tmp_path / kind).iterdir()) == files
        status, _, error = run(capsys, "start", "ch12", "--kernel", kind, "--to", tmp_path / kind)
        assert status == 1 and "is not overwritten" in error
    status, _, error = run(capsys, "start", "ch14", "--kernel", "numba", "--to", tmp_path / "none")
    assert status == 1 and "try cuda" in error and not (tmp_path / "none").exists()


@pytest.mark.parametrize("name, text, arguments, words", [
    ("ch04_tfidf.cu", None, ["nothing"], "there is no nothing in ch04_tfidf.cu; there are doc"),
    ("ch01_top_k.cu", None, [], "is none of ch01_geometry.cu"),
    ("kernel.cu", "", [], "is of no chapter"),
    ("ch02_lexicon.cu", 'extern "C" __global__ void f(int n)\n{ if (n) { }', [],
     "line 2: the { of f is never closed"),
    ("ch04_other_numba.py", "", [], "is none of ch01_geometry_numba.py"),
    ("ch05_bm25_numba.py", None, ["ch05.idf"], "nothing of ch05.idf is in"),
])
def test_bad_input_is_named(tmp_path, capsys, name, text, arguments, words):
    (tmp_path / name).write_text((HERE / name).read_text("utf-8") if text is None else text)
    status, _, error = run(capsys, "check", tmp_path / name, *arguments)
    assert status == 1 and words in error
    status, _, error = run(capsys, "check", tmp_path / "ch03_bow.cu")
    assert status == 1 and "start ch03 --kernel cuda" in error


def test_without_a_compiler_it_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    emulator.compiler.cache_clear()
    try:
        file = student_file(tmp_path, "ch04_tfidf.cu")
        status, _, error = run(capsys, "check", file)
    finally:
        emulator.compiler.cache_clear()
    assert status == 1 and ("apt-get install g++" in error or "Linux only" in error)
