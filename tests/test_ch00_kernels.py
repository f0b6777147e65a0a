"""What notebook 0 says of its kernels, held as tests; the kernels are read from its source."""
import ast
from pathlib import Path

import numpy as np
import pytest
from conftest import needs
from matplotlib.figure import Figure

from kernels import emulator
from kernels.emulator import KernelError, Module
from primer.figures import ch00_kernels as figures

SOURCE = Path(__file__).parents[1] / "notebooks/src/ch00_kernels.py"
every_order = pytest.mark.parametrize("order", emulator.ORDERS, ids=lambda o: "-".join(
    map(str, o.values())))


def notebook_kernels():
    """CUDA C in the notebook: what it gives to words in CAPITALS -> dict name: text."""
    names = {}
    for node in ast.parse(SOURCE.read_text("utf-8")).body:
        name = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
        if name.isupper() and len(name) > 1:                 # X is a matrix
            names[name] = eval(ast.unparse(node.value), {}, names)
    return names


K = notebook_kernels()
on_emulator = needs("emulated")


def test_the_notebook_has_the_kernels_of_these_tests():
    assert set(K) == {"SCORE", "UNBOUNDED", "ATOMIC", "APPEND", "APPENDED", "RUNS", "RECORDS",
                      "BEST", "HASTY", "STRAIGHT", "TILE", "PADDED", "HOARD", "SHARE", "FREQUENCY",
                      "ROWS"}
    assert len(set(K.values())) == len(K), "a replace in the notebook changes nothing"


def lists(rng, n=300):
    """Postings of two words that share documents -> documents, impacts, scores, shared ones."""
    both = [np.sort(rng.choice(n, size, replace=False)) for size in (90, 70)]
    documents = np.concatenate(both).astype(np.int32)
    impacts = rng.random(documents.size, np.float32)
    want = np.zeros(n, np.float32)
    np.add.at(want, documents, impacts)
    return documents, impacts, want, np.intersect1d(*both).size


def score(code, documents, impacts, n, check=True, **order):
    scores = np.zeros(n, np.float32)
    Module(code, check=check).get_function("score")(
        (-(-documents.size // 32),), (32,), (documents, impacts, scores, np.int32(documents.size)),
        **order)
    return scores


@on_emulator
@every_order
def test_one_word_has_no_race_and_two_words_have(order):
    documents, impacts, want, shared = lists(np.random.default_rng(0))
    first = score(K["SCORE"], documents[:90], impacts[:90], want.size, **order)
    np.add.at(first, documents[90:], impacts[90:])
    assert np.array_equal(first, want)
    with pytest.raises(KernelError, match=rf"{shared} problem") as report:
        score(K["SCORE"], documents, impacts, want.size, **order)
    lines = K["SCORE"].splitlines()
    (load,), (store,) = ([i for i, text in enumerate(lines, 1) if part in text]
                         for part in ("old =", "= old"))
    assert f":{load}, write by" in str(report.value) and f":{store}\n" in str(report.value)


@on_emulator
def test_the_race_gives_the_right_numbers_in_a_serial_run():
    documents, impacts, want, shared = lists(np.random.default_rng(1))
    assert np.array_equal(score(K["SCORE"], documents, impacts, want.size, check=False), want)
    together = np.zeros_like(want)
    together[documents] += impacts                       # all load, then all store
    assert (together != want).sum() == shared > 0


@on_emulator
@every_order
def test_the_atomic_kernel_equals_numpy(order):
    documents, impacts, want, _ = lists(np.random.default_rng(2))
    assert np.array_equal(score(K["ATOMIC"], documents, impacts, want.size, **order), want)


@on_emulator
def test_a_missing_bound_is_reported():
    documents, impacts, want, _ = lists(np.random.default_rng(3))
    with pytest.raises(KernelError, match="OUT-OF-BOUNDS read .* past the end of documents"):
        score(K["UNBOUNDED"], documents[:75], impacts[:75], want.size)


def append(code, scores, check=True, **order):
    found, length = np.full(scores.size, -1, np.int32), np.zeros(1, np.int32)
    Module(code, check=check).get_function("append")(
        (-(-scores.size // 128),), (128,), (scores, found, length, np.int32(scores.size)), **order)
    return int(length[0]), np.unique(found[found >= 0]).size


@on_emulator
def test_the_race_of_the_list_loses_passages_where_others_may_run():
    scores = np.ones(256, np.float32)
    assert append(K["APPEND"], scores, check=False) == (256, 256)
    for seed in range(3):
        length, passages = append(K["APPEND"], scores, check=False, order="random", preempt=True,
                                  seed=seed)
        assert length == 256 > passages
    for order in emulator.ORDERS:
        assert append(K["APPENDED"], scores, **order) == (256, 256)
        with pytest.raises(KernelError, match=r"RACE length\+0"):
            append(K["APPEND"], scores, **order)


@on_emulator
@pytest.mark.parametrize("name, threads, sectors", [("ATOMIC", 1024, 4), ("RUNS", 32, 32),
                                                    ("RECORDS", 1024, 32)])
def test_sectors_a_request(name, threads, sectors):
    documents, impacts = np.arange(1024, dtype=np.int32), np.ones(1024, np.float32)
    lists = (documents, impacts)
    if name == "RECORDS":
        lists = (np.zeros(1024, {"names": list("dclpiwxs"), "formats": ["i4"] * 4 + ["f4"] * 4}),)
        lists[0]["d"], lists[0]["x"] = documents, impacts
    scores = np.zeros(1024, np.float32)
    kernel = Module(K[name], traffic=True).get_function("score")
    kernel((-(-threads // 32),), (32,), (*lists, scores, np.int32(1024)))
    assert np.array_equal(scores, np.ones(1024, np.float32))
    lines = K[name].splitlines()
    loads = [r for r in kernel.requests()
             if "atomicAdd" not in lines[int(r.where.rpartition(":")[2]) - 1]]
    assert len(loads) == 2 and {r.parts for r in loads} == {sectors}


def best(code, scores, check=True, **order):
    bests = np.zeros(-(-scores.size // 128), np.float32)
    Module(code, check=check).get_function("best")(
        (bests.size,), (128,), (scores, bests, np.int32(scores.size)), **order)
    return bests


@on_emulator
def test_without_its_barrier_a_block_is_right_backward_and_wrong_forward():
    scores = np.random.default_rng(4).random(384, np.float32)
    want = scores.reshape(3, 128).max(axis=1)
    for order in emulator.ORDERS:
        assert np.array_equal(best(K["BEST"], scores, **order), want)
        with pytest.raises(KernelError, match="RACE static shared"):
            best(K["HASTY"], scores, **order)
    assert np.array_equal(best(K["HASTY"], scores, check=False, order="backward"), want)
    assert not np.array_equal(best(K["HASTY"], scores, check=False, order="forward"), want)
    assert np.array_equal(best(K["BEST"], scores[:300], order="backward"),
                          [*want[:2], scores[256:300].max()])


@on_emulator
@pytest.mark.parametrize("name, sectors, passes", [
    ("STRAIGHT", [4, 32], []), ("TILE", [4, 4], [1, 32]), ("PADDED", [4, 4], [1, 1])])
def test_sectors_and_passes_of_a_tile(name, sectors, passes):
    X = np.random.default_rng(5).random((32, 32), np.float32)
    Y = np.zeros_like(X)
    kernel = Module(K[name], traffic=True).get_function("turn")
    kernel((1,), (32, 32), (X, Y))
    assert np.array_equal(Y, X.T)
    for space, want in (("global", sectors), ("shared", passes)):
        assert sorted(r.parts for r in kernel.requests() if r.space == space) == want


@on_emulator
def test_the_exercises_are_broken_as_they_say():
    x, n = np.ones(100, np.float32), np.int32(100)
    with pytest.raises(KernelError, match="OUT-OF-BOUNDS"):
        Module(K["SHARE"]).get_function("share")((4,), (32,), (x, np.float32(2), x * 0, n))
    words = np.zeros(100, np.int32)
    with pytest.raises(KernelError, match="RACE df"):
        Module(K["FREQUENCY"]).get_function("frequency")((1,), (128,), (words, words.copy() + 1, n))
    kernel = Module(K["ROWS"], traffic=True).get_function("rows")
    kernel((1,), (32,), (np.ones((32, 32), np.float32), np.zeros(32, np.float32), np.int32(32)))
    assert max(r.parts for r in kernel.requests() if r.space == "shared") == 32


def test_sectors_hold_the_places():
    lane = np.arange(32)
    assert figures.sectors(4 * lane).tolist() == [0, 1, 2, 3]
    assert figures.sectors(128 * lane).size == figures.sectors(32 * lane + 24).size == 32


def test_the_tour_draws_every_figure():
    drawn = [item for item in figures.tour() if not isinstance(item, str)]
    assert [name for name, _ in drawn] == ["threads", "sectors", "banks", "roofline"]
    assert all(isinstance(figure, Figure) for _, figure in drawn)


@pytest.mark.parametrize("postings, block, idle", [(75, 32, 21), (64, 64, 0), (1, 96, 95)])
def test_the_grid_shows_each_posting_once(postings, block, idle):
    axes = figures.thread_grid(postings, block).axes[0]
    shown = [t.get_text() for t in axes.texts if t.get_text().isdigit()]
    assert shown == [str(p) for p in range(postings)]
    assert sum(bool(p.get_hatch()) for p in axes.patches) == idle


def test_the_interleavings_say_which_are_right():
    played = [([("A", "loads 0"), ("A", "stores 1")], 1.0), ([("B", "loads 0")] * 2, 2.0)]
    words = [t.get_text() for t in figures.interleavings(played, right=1.0).axes[0].texts]
    assert "1: right" in words and "2: lost one" in words
