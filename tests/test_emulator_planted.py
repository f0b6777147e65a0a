"""Mistakes planted in the project's own kernels: each is reported, with its line of the source.

A row of BUGS edits a kernel, runs the chapter's function in every order of threads, through g++
and through NVIDIA's compiler, and names the report: its kind, and texts of the edited source.
Where a text stands (where it ends, if it has several lines) is the place to be reported; of a race
both places.  The same calls without an edit are silent and equal the reference.

TOYS are kernels of a few lines, for what the project's own have no room to do.  LAUNCHES are calls
that are refused before a thread runs.
"""
import functools
import re
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from conftest import assert_close, missing, needs

import kernels
from kernels import emulator
from kernels.emulator.build import library

pytestmark = needs("emulated")
PATHS = ("g++", "ptx")
ONCE = ("g++",)           # PTX reports it too, as another row shows of this kind: compiling is slow
needs_nvrtc = needs("emulated", "nvrtc")
every_path = pytest.mark.parametrize("path", ["g++", pytest.param("ptx", marks=needs_nvrtc)])


class Bug(NamedTuple):
    """A mistake: in which call of which chapter, what is edited, and what the report says.

    at: texts of the edited source; paths: where it can show; host: names of the twin, replaced.
    """

    name: str
    chapter: str
    call: str
    edit: tuple
    kind: str
    at: tuple
    paths: tuple = PATHS
    host: dict = {}


def barrier(before):
    """The text of a barrier that stands behind another text."""
    return before + "\n  __syncthreads();"


ATOMIC = ("atomicAdd(&df[indices[e]], 1);", "df[indices[e]] += 1;")
ADDED, TAKEN = "q.total[now.document - low] += now.impact;", "const float x = q.total[slot];"
TILE_IS_READ = "const float4 p = *(const float4*)"
FINISH = "{\n  __syncthreads();\n  top_k_merge(best);"
PLACE = "return __shfl_sync(ALL, base, 0)"
BUGS = (
    # ---- atomics
    Bug("an atomic is missing", "ch04_tfidf", "document_frequency", ATOMIC, "RACE", ATOMIC[1:]),
    Bug("an atomic is missing in a loop", "ch05_bm25", "build_postings", ATOMIC, "RACE",
        ATOMIC[1:], ONCE),
    Bug("a counter is not atomic", "ch02_lexicon", "path_lengths",
        ("queue[end + atomicAdd(added, 1)] = parent;", "queue[end + (*added)++] = parent;"),
        "RACE", ("(*added)++",)),
    Bug("check, then set", "ch03_bow", "bag_of_words",
        ("held = atomicCAS(table + slot, FREE, begin);",
         "held = __ldcg(table + slot); if (held == FREE) table[slot] = begin;"),
        "RACE", ("table[slot] = begin;",), ONCE),
    Bug("a plain read beside atomics", "ch03_bow", "count_matrix",
        ("unsigned long long held = __ldcg(keys + at);", "unsigned long long held = keys[at];"),
        "RACE", ("held = keys[at];", "held = atomicCAS(keys + at, NO_PAIR, key);")),
    Bug("every lane writes the whole row", "ch04_tfidf", "weigh_columns",
        ("e += lanes)\n    out[e] = (divide", "e++)\n    out[e] = (divide"), "RACE",
        ("out[e] = (divide ? data[e] / total",)),
    # ---- barriers
    Bug("no barrier between write and read", "ch05_bm25", "search",
        ("if (any)\n    __syncthreads();", "if (any)\n    ;"), "RACE", (ADDED,)),
    Bug("no barrier between read and write", "ch05_bm25", "search",
        ("__syncthreads();                    // the word before", "// the word before"), "RACE",
        ("long long p = w < KEPT ? q.at[w]", "q.at[w] = p + 1;")),
    Bug("no barrier after setting to zero", "ch03_bow", "count_matrix",
        (barrier("if (t == 0) found[0] = 0;"), "if (t == 0) found[0] = 0;"), "RACE",
        ("if (t == 0) found[0] = 0;", "atomicAdd(used, __popc(who)) : 0;"), ONCE),
    Bug("some threads return before a barrier", "ch03_bow", "bag_of_words",
        ("size = starts[n];", "size = starts[n]; if (t >= n) return;"), "BARRIER-DIVERGENCE",
        (barrier("if (t == 0) found[0] = 0;"),)),
    Bug("a barrier in a divergent branch", "ch05_bm25", "search",
        (FINISH, FINISH.replace("__sync", "if (threadIdx.x < best.k)\n    __sync")),
        "BARRIER-DIVERGENCE",
        ("if (threadIdx.x < best.k)\n    __syncthreads();", "__syncthreads();                 "
         "     // the padding is there, and all have read the count")),
    Bug("two barriers that are not the same", "ch05_bm25", "search",
        ("if (any)\n    __syncthreads();", "if (threadIdx.x < 100)\n    __syncthreads();\n  else\n"
         "    __syncthreads();"), "BARRIER-DIVERGENCE",
        ("if (threadIdx.x < 100)\n    __syncthreads();", "else\n    __syncthreads();")),
    Bug("no __syncwarp between lanes", "ch01_geometry", "kmeans_assign",
        ("__syncwarp();                     // all lanes", "// all lanes"), "RACE",
        ("float bound = bounds[r];", "bounds[r] = bound;"), ONCE),
    # ---- memory
    Bug("a load without its bound", "ch05_bm25", "search",
        ("{p < stop ? q.documents[p] : NEVER, p + 1", "{q.documents[p], p + 1"), "OUT-OF-BOUNDS",
        ("{q.documents[p], p + 1",), ONCE),
    Bug("<= for <", "ch04_tfidf", "document_frequency", ("if (e < entries)", "if (e <= entries)"),
        "OUT-OF-BOUNDS", (ATOMIC[0],)),
    Bug("a store one place too far", "ch04_tfidf", "row_sums",
        ("sums[row] = total;", "sums[row + 1] = total;"), "OUT-OF-BOUNDS", ("sums[row + 1]",)),
    Bug("an index of -1", "ch02_lexicon", "path_lengths",
        ("children[atomicAdd(next + indices[k], 1)]",
         "children[atomicAdd(next + indices[k], 1) - 1]"), "OUT-OF-BOUNDS", ("1) - 1] = node",)),
    Bug("far out of bounds", "ch05_bm25", "build_postings",
        ("(unsigned)keys[p];", "(unsigned)(keys[p] >> 8);"), "OUT-OF-BOUNDS",
        ("documents[p] = rows[e];",), ONCE),
    Bug("dynamic shared memory too small", "ch05_bm25", "search", (), "OUT-OF-BOUNDS",
        ("*best.bar = *best.count = 0;",), host={"_selector": lambda k: (512, 8 * 512)}),
    Bug("shared memory that nobody set", "ch05_bm25", "search",
        ("slot += blockDim.x)\n    q.total[slot] = -0.0f;", "slot += blockDim.x)\n    ;"),
        "UNINITIALISED", (TAKEN,)),
    # An array's size is nowhere in PTX, where all of a block's arrays are one piece.
    Bug("a shared array too short", "ch02_lexicon", "path_lengths",
        ("__shared__ int grown[3];", "__shared__ int grown[2];"), "UNDEFINED",
        ("grown[(level + 1) % 3] = 0;",), paths=("g++",)),
    Bug("float4 at an odd place", "ch01_geometry", "top_k",
        ("#define STRIDE (COLUMNS + 4)", "#define STRIDE (COLUMNS + 1)"), "UNDEFINED",
        (TILE_IS_READ,), ONCE),
    # ---- warps
    Bug("some lanes leave before a vote", "ch03_bow", "bag_of_words",
        ("const int place = place_for(key != NO_PAIR, used);\n  if (key == NO_PAIR) return;",
         "if (key == NO_PAIR) return;\n  const int place = place_for(true, used);"),
        "DEADLOCK", ("__ballot_sync(ALL, wanted)",)),
    Bug("a lane that its mask leaves out", "ch03_bow", "bag_of_words",
        ("__ballot_sync(ALL, wanted)", "__ballot_sync(0xffffu, wanted)"), "WARP-MASK",
        ("__ballot_sync(0xffffu",)),
    Bug("a lane outside of the mask is read", "ch03_bow", "bag_of_words",
        (PLACE, "if (!wanted) return 0;\n  return __shfl_sync(who, base, 0)"), "WARP-LANE",
        ("__shfl_sync(who, base, 0)",)),
    Bug("two warp operations that are not the same", "ch03_bow", "count_matrix",
        (PLACE, "int first;\n  if (lane < 16) first = __shfl_sync(ALL, base, 0);\n"
         "  else first = __shfl_xor_sync(ALL, base, lane);\n  return first"), "WARP-MISMATCH",
        ("if (lane < 16) first =", "else first =")),
    # ---- arithmetic
    # PTX says what too far a shift gives: 0.
    Bug("a shift too far", "ch02_lexicon", "path_lengths",
        ("1u << parent % 32;", "1u << parent;"), "UNDEFINED", ("1u << parent;",), paths=("g++",)),
    Bug("a division by zero", "ch02_lexicon", "path_lengths",
        ("grown + level % 3;", "grown + level % (steps - 1);"), "UNDEFINED",
        ("level % (steps - 1);",)),
)
CALLS = tuple(dict.fromkeys((bug.chapter, bug.call) for bug in BUGS))


# ---- the project's kernels -----------------------------------------------------------------------
def arguments(chapter, call):
    """A call's arguments, as `python -m primer gpu` would make them -> tuple."""
    given = emulator.load(chapter).examples(np.random.default_rng(0))[call]
    if chapter == "ch01_geometry":                     # a few blocks are enough
        given = given[0][:200], given[1][:200], *given[2:]
    if (chapter, call) == ("ch05_bm25", "search"):     # and for the word whose list is the last
        postings, queries, k = given
        given = postings, [*queries, np.array([np.flatnonzero(np.diff(postings.indptr))[-1]])], k
    return given


def edited(bug):
    """The CUDA C of a bug's chapter with the bug in it, with a #line at each file's head."""
    code = emulator.load(bug.chapter).MODULE.code
    assert not bug.edit or code.count(bug.edit[0]) == 1
    return code.replace(*bug.edit) if bug.edit else code


def place(code, text):
    """Where a text that stands once in CUDA C ends -> "file.cu:line"."""
    assert code.count(text) == 1, text
    before = code[:code.index(text) + len(text)]
    head = list(re.finditer(r'^#line 1 "(.*)"\n', before, re.M))[-1]
    return f"{head[1]}:{before.count(chr(10), head.end()) + 1}"


def reported(error, kind, places):
    """Whether one line of a report is of that kind and names all the places."""
    return any(line.startswith(kind) and all(re.search(rf"\b{re.escape(p)}\b", line)
                                             for p in places) for line in str(error).splitlines())


def assert_same(got, want):
    """The twin's answer is the reference's: numbers to float32's rounding, all else exactly."""
    if isinstance(want, dict):
        assert list(got.items()) == list(want.items())
    elif isinstance(want, tuple):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            assert_same(a, b)
    else:
        assert_close(got, want, 1e-6, 1e-12)


@pytest.fixture(scope="module", autouse=True)
def compiled(request):
    """Compile what the selected tests will run, side by side: half the time on two processors."""
    jobs = set()
    for item in request.session.items:
        given = getattr(getattr(item, "callspec", None), "params", {})
        if item.module is not request.module or (given.get("path") == "ptx" and missing("nvrtc")):
            continue
        if {"bug", "chapter"} & set(given):
            code = (edited(given["bug"]) if "bug" in given else
                    emulator.load(given["chapter"]).MODULE.code)
            jobs.add((code, given["path"], "80", True))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda job: library(*job), sorted(jobs)))


def each_path(bugs):
    return pytest.mark.parametrize("bug, path", [
        pytest.param(bug, path, id=f"{bug.name}-{path}", marks=[needs_nvrtc] * (path == "ptx"))
        for bug in bugs for path in bug.paths])


@each_path(BUGS)
def test_a_planted_bug_is_reported_with_its_line(bug, path, monkeypatch):
    twin, given, code = emulator.load(bug.chapter), arguments(bug.chapter, bug.call), edited(bug)
    for name, value in bug.host.items():
        monkeypatch.setattr(twin, name, value)
    places = [place(code, text) for text in bug.at]
    for order in emulator.ORDERS:
        with emulator.running(path=path, edits=(bug.edit,) if bug.edit else (), **order):
            with pytest.raises(emulator.KernelError) as error:
                getattr(twin, bug.call)(*given)
        assert reported(error.value, bug.kind, places), (order, bug.kind, places, str(error.value))


@every_path
def test_a_missing_atomic_leaves_the_numbers_right(path):
    twin, given = emulator.load("ch04_tfidf"), arguments("ch04_tfidf", "document_frequency")
    want = kernels.twin("ch04_tfidf", "numpy").document_frequency(*given)
    for order in emulator.ORDERS:
        with emulator.running(path=path, edits=(ATOMIC,), check=False, **order):
            assert_same(twin.document_frequency(*given), want)       # what no comparison can find
        with emulator.running(path=path, edits=(ATOMIC,), **order):
            with pytest.raises(emulator.KernelError, match="RACE"):
                twin.document_frequency(*given)


@every_path
@pytest.mark.parametrize("chapter, call", CALLS, ids=[call for _, call in CALLS])
def test_the_unchanged_kernels_are_silent_and_right(chapter, call, path):
    given = arguments(chapter, call)
    want = getattr(kernels.twin(chapter, "numpy"), call)(*given)
    for order in emulator.ORDERS:
        with emulator.running(path=path, **order) as log:
            assert_same(getattr(emulator.load(chapter), call)(*given), want)
        assert log.launches


def test_the_table_is_as_wide_as_promised():
    kinds = {row.kind for row in (*BUGS, *TOYS)}
    assert len(BUGS) >= 24 and len({bug.name for bug in BUGS}) == len(BUGS)
    assert kinds == {"RACE", "OUT-OF-BOUNDS", "UNINITIALISED", "BARRIER-DIVERGENCE", "WARP-MASK",
                     "WARP-LANE", "WARP-MISMATCH", "DEADLOCK", "TRAP", "UNDEFINED", "ENDLESS"}


# ---- small kernels -------------------------------------------------------------------------------
class Toy(NamedTuple):
    """A kernel of SMALL, launched as 2 blocks of 64 threads, and its report.

    orders: those of emulator.ORDERS that must show it, of forward and backward.
    """

    kernel: str
    kind: str
    at: tuple
    orders: tuple = ("forward", "backward")
    paths: tuple = PATHS


SMALL = """#line 1 "small.cu"
KERNEL past_a_shared_array(float* x, int n)
{
  __shared__ float s[80];
  s[2 * threadIdx.x] = 1;
  __syncthreads();
  x[blockIdx.x * 64 + threadIdx.x] = s[0];
}
KERNEL blocks_write_the_same(float* x, int n)
{
  x[threadIdx.x] = threadIdx.x;
}
KERNEL shifts_in_place(float* x, int n)
{
  const int i = blockIdx.x * 64 + threadIdx.x;
  if (i + 1 < n) x[i] = x[i + 1];
}
KERNEL fence_for_a_barrier(float* x, int n)
{
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  __threadfence_block();
  x[blockIdx.x * 64 + threadIdx.x] = s[63 - threadIdx.x];
}
KERNEL half_a_warp_shuffles(float* x, int n)
{
  float v = threadIdx.x;
  if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(0xffffffffu, v, 8);
  x[blockIdx.x * 64 + threadIdx.x] = v;
}
KERNEL odd_float4(float* x, int n)
{
  const float4 v = *(const float4*)(x + threadIdx.x / 4 * 4 + 1);
  x[n / 2 + blockIdx.x * 64 + threadIdx.x] = v.x + v.w;
}
KERNEL traps(float* x, int n)
{
  if (threadIdx.x == 40 && x[threadIdx.x] == 0)
    __trap();
}
KERNEL waits_for_the_last_block(float* x, int n)
{
  if (blockIdx.x == 1)
    atomicExch(x, 1.f);
  else
    while (__ldcg(x) == 0) ;
}
""".replace("KERNEL", 'extern "C" __global__ void')
TOYS = (
    # PTX knows no arrays: there it is the end of the block's shared memory that is passed, as much
    # as the module's most demanding kernel has.
    Toy("past_a_shared_array", "UNDEFINED", ("s[2 * threadIdx.x] = 1;",), paths=("g++",)),
    Toy("past_a_shared_array", "OUT-OF-BOUNDS", ("s[2 * threadIdx.x] = 1;",), paths=("ptx",)),
    Toy("blocks_write_the_same", "RACE", ("x[threadIdx.x] = threadIdx.x;",)),
    Toy("shifts_in_place", "RACE", ("x[i] = x[i + 1];",)),
    Toy("fence_for_a_barrier", "RACE", ("s[threadIdx.x] = threadIdx.x;", "= s[63 - threadIdx.x]")),
    Toy("half_a_warp_shuffles", "DEADLOCK", ("v += __shfl_xor_sync",)),
    Toy("odd_float4", "UNDEFINED", ("const float4 v =",)),
    Toy("traps", "TRAP", ("__trap();",)),
    # The block that waits must run first (a GPU, too, promises no order of blocks).  Seconds: it
    # takes 2^28 accesses, which the same code counts on both paths.
    Toy("waits_for_the_last_block", "ENDLESS", ("while (__ldcg(x) == 0) ;",), ("forward",),
        ("g++",)),
)


@functools.cache
def small(path):
    return emulator.Module(SMALL, path)


@pytest.mark.parametrize("toy, path", [
    pytest.param(toy, path, id=f"{toy.kernel}-{path}", marks=[needs_nvrtc] * (path == "ptx"))
    for toy in TOYS for path in toy.paths])
def test_a_small_bug_is_reported_with_its_line(toy, path):
    places = [place(SMALL, text) for text in toy.at]
    for order in ("forward", "backward"):
        function, x = small(path).get_function(toy.kernel), np.zeros(256, np.float32)
        if order not in toy.orders:
            function((2,), (64,), (x, np.int32(256)), order=order)
            continue
        with pytest.raises(emulator.KernelError) as error:
            function((2,), (64,), (x, np.int32(256)), order=order)
        assert reported(error.value, toy.kind, places), (order, places, str(error.value))


# ---- launches ------------------------------------------------------------------------------------
def gather(name="bm25_gather", block=256, shared_mem=0, extra=(), **changes):
    """Launch a kernel of chapter 5 on four postings, with some of its arguments changed."""
    cp, module = emulator.load("ch05_bm25").cp, emulator.load("ch05_bm25").MODULE
    given = {"keys": cp.arange(4), "rows": cp.zeros(4, np.int32),
             "impact_of_entry": cp.ones(4, np.float32), "documents": cp.zeros(4, np.int32),
             "impacts": cp.zeros(4, np.float32), "entries": np.int64(4)}
    assert set(changes) <= set(given)
    given |= {key: change(given[key], cp) for key, change in changes.items()}
    module.get_function(name)((1,), (block,), (*given.values(), *extra), shared_mem=shared_mem)
    return given


WRITES = ("impacts[p] = impact_of_entry[e];", "impacts[p] = ((float*)impact_of_entry)[e] = 2;")
LAUNCHES = {
    "a block over its launch bounds": (dict(block=512), "512 threads over its __launch_bounds__"),
    "a block of more threads than there are": (dict(block=2048), "CUDA_ERROR_INVALID_VALUE"),
    "float64 for float*": (dict(impacts=lambda a, cp: a.astype(np.float64)),
                           r"argument 4 'impacts' \(\*f4\): array of float64"),
    "a Python int": (dict(entries=lambda a, cp: 4), "int 4: CuPy passes 8 bytes, unconverted"),
    "a Python float": (dict(entries=lambda a, cp: 4.0), "float 4.0: CuPy passes a double"),
    "a number of another width": (dict(entries=lambda a, cp: np.int32(4)),
                                  r"argument 5 'entries' \(i8\): got int32"),
    "a number for an array": (dict(rows=lambda a, cp: np.int32(4)), "expected an array, got int32"),
    "an array for a number": (dict(entries=lambda a, cp: cp.arange(1)), "got ndarray"),
    "an array of the host": (dict(rows=lambda a, cp: np.zeros(4, np.int32)), "pass a cupy.ndarray"),
    "an array with gaps": (dict(rows=lambda a, cp: cp.zeros(8, np.int32)[::2]), "C-contiguous"),
    "too much dynamic shared memory": (dict(shared_mem=(48 << 10) + 1),
                                       "49153 bytes of dynamic shared memory over the limit"),
    "an argument too many": (dict(extra=(np.int32(1),)), "takes 6 arguments, got 7"),
    "a kernel that there is not": (dict(name="bm25_scatter"), "NOT_FOUND.*bm25_scatter"),
}


def test_the_launch_that_the_others_change_is_right():
    given = gather()
    assert given["impacts"].get().tolist() == [1] * 4


@pytest.mark.parametrize("changes, words", LAUNCHES.values(), ids=LAUNCHES)
def test_a_wrong_launch_is_refused(changes, words):
    with pytest.raises((emulator.KernelError, RuntimeError, TypeError, ValueError), match=words):
        gather(**changes)


def test_arguments_that_overlap_are_refused():
    both = emulator.load("ch05_bm25").cp.zeros(6, np.int32)
    with pytest.raises(emulator.KernelError, match="'documents'.*overlaps another argument"):
        gather(rows=lambda a, cp: both[:4], documents=lambda a, cp: both[2:])
    gather(rows=lambda a, cp: both[:3], documents=lambda a, cp: both[3:], entries=lambda a, cp:
           np.int64(3))


@every_path
def test_writing_through_a_const_pointer_is_refused(path):
    with emulator.running(path=path, edits=(WRITES,)):
        with pytest.raises(emulator.KernelError, match="'impact_of_entry'.*const pointer"):
            gather()
