"""What a student sees: reports as text and HTML, the mistake's name, stubs, the commands."""
import ast
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from primer import ch05_bm25
from primer.__main__ import main
from primer.exercises import check, check_property, feedback, report, stubs
from primer.exercises.kit import Effort, catalogue, expect, expect_close
from primer.exercises.mutate import build

CHAPTERS = report.chapters()
idf = report.find("ch05.idf")
RIGHT = {"idf_robertson": ch05_bm25.idf_robertson, "idf_lucene": ch05_bm25.idf_lucene}


def log2(df, n):
    return np.log2(1 + (n - df + 0.5) / (df + 0.5))


def test_a_right_answer_passes():
    got = report.judge(idf, RIGHT)
    assert got.passed and got.fraction == 1.0 and not got.diagnosis
    assert "4 of 4 properties hold" in str(got) and "ok  " in str(got)
    assert "try it" not in str(got) and "<table" not in got._repr_html_()


def test_a_wrong_answer_shows_one_small_input_the_call_the_hint_and_the_mistake():
    got = report.judge(idf, RIGHT | {"idf_lucene": log2})
    text = str(got)
    assert not got.passed and got.fraction == 0.75
    assert got.diagnosis == "log base 2 in place of the natural log"
    assert text.count("a small input that shows it") == 1 and text.endswith(got.diagnosis)
    assert "| your answer |" in text and "hint: natural logarithms" in text
    call = re.search(r"try it: (.*)", text)[1]
    assert eval(call, {"np": np, "idf_lucene": log2}).shape == (1,)


def test_no_name_without_hints_and_none_for_an_unknown_mistake():
    assert not report.judge(idf, RIGHT | {"idf_lucene": log2}, hints=False).diagnosis
    assert not report.judge(idf, RIGHT | {"idf_lucene": lambda df, n: log2(df, n) + 3}).diagnosis


@pytest.mark.parametrize("function, status, words", [
    (lambda df, n: np.array(df).nothing, "error", "nothing"),
    (lambda df, n: None, "broken", "None"), (lambda df, n: np.full(len(df), np.nan), "broken", ""),
    (lambda df, n: np.zeros((3, 4)), "broken", "shape"),
    (lambda df, n: df.fill(7), "broken", "must not change the array"),
    (lambda df, n: print("noise") or log2(df, n), "broken", "")])
def test_what_is_wrong_is_said(capsys, function, status, words):
    got = report.judge(idf, RIGHT | {"idf_lucene": function})
    bad = next(o for o in got.outcomes if o.status != "passed")
    assert bad.status == status and words in str(got) and "noise" not in capsys.readouterr().out
    assert got._repr_html_().count("<table") == 1


def test_an_endless_loop_is_said_and_the_rest_is_not_tried():
    def endless(df, n):
        while True:
            pass
    got = report.judge(idf, RIGHT | {"idf_robertson": endless}, Effort(call_seconds=0.3))
    assert [o.status for o in got.outcomes] == ["hang", "untried", "untried", "untried"]
    assert "an endless loop?" in str(got) and "slow" in got._repr_html_()


def test_unwritten_is_to_do():
    def stub(df, n):
        raise NotImplementedError
    got = report.judge(idf, {"idf_robertson": stub})
    assert {o.status for o in got.outcomes} == {"todo"}
    assert str(got) == "ch05.idf  Two of them (5.3, 5.4): to do: not written yet"
    assert "not written yet" in got._repr_html_()


def test_an_error_names_the_students_line(tmp_path):
    file = tmp_path / "student.py"
    file.write_text("def f(df, n):\n    return df.nothing\n")
    space = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    import linecache
    linecache.checkcache(str(file))
    text = str(report.judge(idf, RIGHT | {"idf_lucene": space["f"]}))
    assert "in line 2: return df.nothing" in text


def test_html_escapes_and_has_no_fixed_text_colour():
    got = report.judge(idf, RIGHT | {"idf_lucene": lambda df, n: "<b>&"})
    html = feedback.as_html(got)
    assert "<b>&" not in html.replace("<b>ch05", "") and "&lt;b&gt;&amp;" in html
    assert "background" not in html and "color:black" not in html


@pytest.mark.parametrize("value", [
    np.arange(3), np.array([[0.1, 1e300], [np.inf, -np.inf]]), np.zeros((0, 2)), np.float32([1.5]),
    np.array([True]), [1, (2,)], {"a": [np.int64(3)]}, "x'y", 1.5, None, np.linspace(0, 1, 2000)],
    ids=lambda v: str(v)[:20])
def test_code_gives_the_value_again(value):
    back = eval(feedback.code(value), {"np": np})
    if isinstance(value, np.ndarray):
        assert np.array_equal(back, value) and back.dtype == value.dtype
    else:
        assert back == value


def test_check_in_a_cell(capsys):
    check("ch05.idf", *RIGHT.values())
    assert "4 of 4" in capsys.readouterr().out
    with pytest.raises(report.NotYet) as caught:
        check("ch05.idf", ch05_bm25.idf_robertson, log2)
    assert caught.value._render_traceback_() == [str(caught.value)]
    earned = check("ch05.idf", ch05_bm25.idf_robertson, log2, points=4)
    assert earned == 3.0 and type(earned) is float
    assert capsys.readouterr().err == ""


def test_check_refuses_what_it_cannot_check():
    with pytest.raises(LookupError, match=r"ch05\.saturation, ch05\.idf"):
        check("ch05.nothing", log2)
    with pytest.raises(LookupError, match="ch01, ch02"):
        check("ch99.idf", log2)
    with pytest.raises(TypeError, match="expected idf_robertson, idf_lucene, got int"):
        check("ch05.idf", 3)


N = {"n": st.integers(1, 100)}


def test_a_students_property_is_judged_by_the_known_mistakes(capsys):
    def by_hand(impl, n):
        "agrees with ln(1 + (n - df + 1/2) / (df + 1/2))"
        expect_close(impl.idf_lucene(np.array([1]), n), [np.log(1 + (n - 0.5) / 1.5)], "eq. 5.3")

    caught = check_property("ch05.idf", by_hand, **N)
    text = capsys.readouterr().out
    assert caught == 3 / 6 and "catches 3 of 6" in text
    assert "caught  log base 2" in text and "missed  negative ones are cut off" in text


def test_a_property_that_rejects_a_right_answer_earns_nothing(capsys):
    def too_strict(impl, n):
        expect(impl.idf_lucene(np.array([n]), n)[0] > 0.1, "a tenth at least", n_documents=n)

    earned = check_property("ch05.idf", too_strict, **N)
    text = capsys.readouterr().out
    assert earned == 0.0 and type(earned) is float
    assert "It rejects a right answer: a tenth at least" in text and "| n           | 5" in text


def test_a_property_that_cannot_fail_catches_nothing(capsys):
    assert check_property("ch05.idf", lambda impl, n: None, **N) == 0.0
    assert "accepts the right answer and catches 0 of 6" in capsys.readouterr().out


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_stubs_compile_and_all_of_them_are_to_do(chapter):
    text = stubs.stub(chapter)
    names = {f for e in catalogue(chapter) for f in e.functions}
    assert text.count(stubs.TODO) == len(names)
    space = {"__name__": "stub"}
    exec(compile(text, chapter, "exec"), space)
    for exercise in catalogue(chapter):
        prop = exercise.properties[0]
        assert report.judge(exercise, space, Effort(examples=2)).outcomes[0].status == "todo", prop
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            assert ast.get_docstring(node)
    whole = stubs.with_solution_marks(text, names)
    assert whole.count("### BEGIN SOLUTION") == whole.count("### END SOLUTION") == len(names)


def run(capsys, *arguments):
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_students_walk(tmp_path, capsys):
    file = tmp_path / "work" / "ch05_bm25.py"
    code, out, _ = run(capsys, "start", "ch05", "--to", file.parent)
    assert code == 0 and "6 exercises" in out and (file.parent / "ch05_bm25.ipynb").exists()
    code, _, err = run(capsys, "start", "ch05", "--to", file.parent)
    assert code == 1 and "is not overwritten" in err
    code, out, _ = run(capsys, "check", file)
    assert code == 0 and out.count("to do") == 6 and "0 of 6 solved" in out
    right = Path(ch05_bm25.__file__).read_text("utf-8")
    file.write_text(right.replace("np.log(1 + (n", "np.log2(1 + (n"), encoding="utf-8")
    code, out, _ = run(capsys, "check", file, "ch05.idf")
    assert code == 1 and "log base 2 in place" in out and "try it: idf_lucene(" in out
    code, out, _ = run(capsys, "check", file, "ch05.idf", "--no-hints")
    assert code == 1 and "log base 2" not in out
    file.write_text(right, encoding="utf-8")
    code, out, _ = run(capsys, "progress", "--folder", file.parent)
    assert "3 of 4 hold when last checked; ch05_bm25.py has changed since" in out
    code, out, _ = run(capsys, "check", file)
    assert code == 0 and "6 of 6 solved" in out and "broken" not in out
    code, out, _ = run(capsys, "progress", "--folder", file.parent)
    assert code == 0 and "######  6 of 6" in out
    assert set(json.loads((file.parent / "progress.json").read_text())) == {
        e.id for e in catalogue("ch05_bm25")}


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c[:4] in ("ch03", "ch04", "ch10")])
def test_the_reference_in_a_students_place_solves_everything(chapter, tmp_path, capsys):
    source = importlib.import_module(f"primer.{chapter}").__file__
    file = tmp_path / f"{chapter}.py"
    file.write_text(Path(source).read_text("utf-8"), encoding="utf-8")
    code, out, err = run(capsys, "check", file)
    total = len(catalogue(chapter))
    assert code == 0 and f"{total} of {total} solved" in out, out + err


@pytest.mark.parametrize("data, words", [
    (b"x = 1\ndef f(:\n", "line 2: "), (b"\xff\xfe", "expected UTF-8"),
    (b"x = 1\n", "")])
def test_bad_files(tmp_path, capsys, data, words):
    file = tmp_path / "ch05_bm25.py"
    file.write_bytes(data)
    code, out, err = run(capsys, "check", file)
    if words:
        assert code == 1 and words in err and ("def f(:" in err) == (words == "line 2: ")
    else:
        assert code == 0 and out.count("to do") == 6         # the functions are missing


def test_commands_refuse_what_they_do_not_know(tmp_path, capsys):
    file = tmp_path / "ch05_bm25.py"
    for arguments, words in ((("check", file), "there is no"), (("start", "ch99"), "of no chapter"),
                             (("check", tmp_path / "x.py"), "")):
        code, _, err = run(capsys, *arguments)
        assert code == 1 and words in err and err.startswith("error: ")
    file.write_text("")
    code, _, err = run(capsys, "check", file, "ch04.idf")
    assert code == 1 and "ch04.idf is not of ch05_bm25.py" in err
    (tmp_path / "progress.json").write_text("no JSON")
    assert run(capsys, "progress", "--folder", tmp_path)[0] == 0


def test_kills_prints_the_matrix_and_the_share(capsys):
    code, out, _ = run(capsys, "kills", "ch03")
    assert code == 0 and "X" in out and report.find("ch03.words").mutants[0].mistake in out
    code, out, _ = run(capsys, "kills", "--systematic", "ch03")
    assert re.search(r"(\d+) of \1 changes are caught: 100.0%", out)


def test_a_mistake_that_stands_nowhere_is_said():
    mutant = type(idf.mutants[0])("idf_lucene", "df + 7", "df", "nowhere")
    with pytest.raises(LookupError, match="stands 0 times in idf_lucene, expected once"):
        build(idf, mutant)
