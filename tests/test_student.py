"""A student's file in a process of its own: whatever it does, the judge lives and says what."""
import collections
import math
import os

import numpy as np
import pytest

from primer.ch03_bow import CSR, csr_dot
from primer.exercises.kit import Broken, Hang
from primer.exercises.student import Student, StudentError, load, pack, unpack


@pytest.mark.parametrize("value", [
    None, True, 3, -0.5, "naïve 日", math.inf, -math.inf, 1 + 2j, (1,), [], [1, (2, [3.5])],
    {"a": [1], 2: None}, {(1, 2): "x"}, {1, 2}, frozenset("ab"), range(2, 9, 3)])
def test_plain_values_come_back(value):
    back = unpack(pack(value))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("array", [
    np.arange(6.0).reshape(2, 3), np.float32([np.nan, np.inf, -0.0]), np.zeros((0, 3), np.int32),
    np.array(2.5), np.array([True, False]), np.array(["é", "日本"]), np.arange(6).reshape(2, 3).T,
    np.array([1 + 2j])], ids=repr)
def test_arrays_come_back(array):
    back = unpack(pack(array))
    assert back.dtype == array.dtype and back.shape == array.shape
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f") and back.flags.writeable


def test_scalars_objects_generators_records_and_functions_come_back():
    assert type(unpack(pack(np.float32(0.1)))) is np.float32
    objects = np.empty(2, object)
    objects[:] = [[1], "b"]
    assert unpack(pack(objects)).tolist() == [[1], "b"]
    rng = np.random.default_rng(3)
    again = unpack(pack(rng))
    assert again.random() == rng.random()
    X = CSR(np.array([0, 1]), np.array([2]), np.array([3.0]), (1, 4))
    assert isinstance(unpack(pack(X)), CSR) and unpack(pack(X)).shape == (1, 4)
    own = collections.namedtuple("Own", "a b")(1, np.ones(2))      # a class of the student's file
    assert unpack(pack(own)).b.sum() == 2 and len(unpack(pack(own))) == 2
    assert unpack(pack(csr_dot)) is csr_dot and unpack(pack(max)) is max
    assert math.isnan(unpack(pack(math.nan)))


@pytest.mark.parametrize("value", [object(), os.system, lambda: 0, open])
def test_what_cannot_be_looked_at_is_said(value):
    if value is open:
        value = iter([1])
    with pytest.raises(TypeError, match="cannot be looked at"):
        pack(value)


@pytest.mark.parametrize("message", [
    {"name": ["os", "system"]}, {"record": ["subprocess", "Popen"], "values": [{"plain": "ls"}]},
    {"record": ["builtins", "eval"], "values": [{"plain": "1"}]},
    {"record": ["primer.exercises.student", "load"], "values": [{"plain": "x.py"}]},
    {"name": ["primer.exercises.kit", "os"]}, {"name": ["builtins", "eval"]},
    {"generator": {"bit_generator": "seed"}}, {"array": "AAAA", "dtype": "|O", "shape": [1]},
    {"array": "AAAAAAAA8D8=", "dtype": "<f8", "shape": [10**12]}, {}, {"items": [], "kind": "type"},
    {"array": 5, "dtype": "<f8", "shape": []}, {"dict": [1]}, [], "array", None],
    ids=lambda m: str(m)[:40])
def test_hostile_messages_are_refused(message):
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError)):
        unpack(message)


HEAD = "import numpy as np\n"
BODIES = {                            # what f(x) does, and what the judge then says
    "prints": ("print('noise' * 1000)\n    return x + 1", 2),
    "warns": ("np.log(np.zeros(1))\n    return x + 1", 2),
    "none": ("pass", None),
    "nan": ("return np.full(2, np.nan)", "nan"),
    "shape": ("return np.zeros((3, 4))", (3, 4)),
    "unicode": ("größe = x + 1\n    return größe", 2),
}


@pytest.fixture
def written(tmp_path):
    def write(body, name="student.py", **how):
        file = tmp_path / name
        file.write_bytes(f"{HEAD}\ndef f(x):\n    {body}\n".encode(), **how)
        return file
    return write


@pytest.mark.parametrize("what", BODIES)
def test_what_a_function_gives_back_arrives(written, what):
    body, want = BODIES[what]
    with Student(written(body), ["f"]) as impl:
        got = impl.f(1)
    if want == "nan":
        assert np.isnan(got).all() and got.shape == (2,)
    else:
        assert (np.shape(got) if isinstance(want, tuple) else got) == want


@pytest.mark.parametrize("body, kind, words", [
    ("return f(x)", "RecursionError", "recursion"), ("1 / 0", "ZeroDivisionError", "division"),
    ("raise ValueError('größe')", "ValueError", "größe"),
    ("raise SystemExit(3)", "SystemExit", "3"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt", "Key"),
    ("return open(__file__)", "TypeError", "cannot be looked at"),
    ("import os; os._exit(0)", "", "the process ended"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "", "the process ended"),
    ("return x.nothing", "AttributeError", "nothing")])
def test_an_error_is_said_with_its_line_and_the_next_call_is_answered(written, body, kind, words):
    file = written(f"if x is None: return 'well'\n    {body}")
    with Student(file, ["f"]) as impl:
        with pytest.raises(StudentError, match=words) as caught:
            impl.f(1)
        assert caught.value.kind == kind
        if kind and kind != "TypeError":
            assert "line 5: " in caught.value.where
        assert impl.f(None) == "well"


def test_an_endless_loop_is_ended_and_the_next_call_is_answered(written):
    with Student(written("while x: pass\n    return 'well'"), ["f"], seconds=0.5) as impl:
        assert impl.f(0) == "well"
        with pytest.raises(Hang):
            impl.f(1)
        assert impl.f(0) == "well"


def test_an_endless_compiled_loop_is_ended(tmp_path):
    pytest.importorskip("numba")
    file = tmp_path / "student.py"
    file.write_text("import numba\n\n@numba.njit\ndef f(x):\n    n = 0\n    while x > 0:\n"
                    "        n += 1\n        x = 1 + n % 2\n    return n\n")
    with Student(file, ["f"], seconds=0.5) as impl:
        assert impl.f(0) == 0                             # compiled now
        with pytest.raises(Hang):
            impl.f(1)


def test_changed_arguments_are_said_with_both_values(written):
    with Student(written("x[0] = 9\n    return x"), ["f"]) as impl:
        with pytest.raises(Broken, match="must not change the array") as caught:
            impl.f(np.zeros(2))
    assert caught.value.shown["before"].tolist() == [0, 0]
    assert caught.value.shown["after"].tolist() == [9, 0]


def test_a_stub_and_a_missing_function_are_to_do(written):
    with Student(written("raise NotImplementedError"), ["f", "g"]) as impl:
        for function in (impl.f, impl.g):
            with pytest.raises(NotImplementedError):
                function(1)


def test_what_the_file_itself_raises_is_said(tmp_path):
    file = tmp_path / "student.py"
    file.write_text("import no_such_module\n")
    with Student(file, ["f"]) as impl, pytest.raises(StudentError, match="no_such") as caught:
        impl.f(1)
    assert caught.value.where == "line 1: import no_such_module"


@pytest.mark.parametrize("change", [
    lambda text: b"\xef\xbb\xbf" + text.encode(), lambda text: text.replace("\n", "\r\n").encode()],
    ids=["BOM", "Windows line ends"])
def test_files_from_other_editors_are_read(tmp_path, change):
    file = tmp_path / "tâche.py"
    file.write_bytes(change("# größe\n\ndef f(x):\n    return x + 1\n"))
    assert load(file).f(1) == 2
    with Student(file, ["f"]) as impl:
        assert impl.f(1) == 2


def test_the_students_process_cannot_read_the_judges_and_is_gone_at_the_end(written):
    file = written("import sys, os\n    sys.stdout.write('[\"ok\", 1]')\n    "
                   "return [sys.stdin.read(), os.getpid()]")
    with Student(file, ["f"]) as impl:
        text, pid = impl.f(1)
        assert text == "" and pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
