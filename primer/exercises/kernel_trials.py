"""A student's kernels run here, in a process of their own, which kernel_exercises ends if need be.

It is told on its standard input what to try, and answers on its standard output, a message at a
time (student.send): ["runs", name] before a kernel or function is tried, ["done", name, what came
of it] after.  What came of it is a dict: status, words, and where in the chapter's examples.
"""
import copy
import importlib
import os
import sys
from contextlib import nullcontext
from unittest.mock import patch

import numpy as np

from kernels import emulator
from kernels.emulator.build import library
from primer.exercises.expectations import difference
from primer.exercises.student import load, place, receive, send

RTOL, ATOL = 1e-5, 1e-6               # as `python -m primer gpu` compares
SECTOR = 32                           # bytes
ORDERS = (emulator.ORDERS[0], emulator.ORDERS[2])              # one by one; random, changing places
COUNTED = {"order": "forward", "traffic": True}
ONE_WARP, ONE_THREAD = ", one warp", ", one thread"            # the reference's steps, in order


def larger(argument):
    """Rates that show; any other argument as it is."""
    rates = isinstance(argument, np.ndarray) and argument.dtype == np.float32 and (
        argument.ndim == 1 and 0 < argument.max() < 1e-3)
    return np.full_like(argument, 0.01) if rates else argument


def different(got, want, where="the answer"):
    """The first place where a result is not the reference's  ->  words, or "".  Results are nests
    of tuples and arrays."""
    if isinstance(want, dict):
        return "" if got == want else f"{where} is another dict"
    if isinstance(want, tuple):
        if not isinstance(got, tuple) or len(got) != len(want):
            return f"{where}: expected {len(want)} parts"
        names = getattr(want, "_fields", [f"part {i}" for i in range(len(want))])
        return next((words for name, g, w in zip(names, got, want, strict=True)
                     if (words := different(g, w, f"{where}, {name}"))), "")
    words = difference(got, want, RTOL, ATOL)
    got, want = np.asarray(got), np.asarray(want)
    if not words or got.shape != want.shape or got.dtype.kind != want.dtype.kind:
        return f"{where}: {words}" if words else ""
    wrong = ~np.isclose(got, want, RTOL, ATOL) if want.dtype.kind in "biufc" else got != want
    first = tuple(np.argwhere(wrong)[0].tolist())
    at = f"{where}[{', '.join(map(str, first))}]" if first else where
    many = f" ({wrong.sum()} of {wrong.size} numbers are wrong)" if first else ""
    return f"{at}: got {got[first]}, expected {want[first]}{many}"


def called(function, arguments):
    """The result, and the arrays among the arguments as they are then; the arguments stay."""
    own = copy.deepcopy(arguments)
    result = function(*own)
    return result, tuple(a for a in own if isinstance(a, np.ndarray))


def compare(chapter, function, name, arguments):
    """How a call differs from the reference's  ->  words, or ""."""
    reference = getattr(importlib.import_module(f"primer.{chapter}"), name.partition(",")[0])
    (got, after), (want, expected) = (called(f, arguments) for f in (function, reference))
    return different(got, want) or different(after, expected, "the arrays it was given")


# ---- CUDA ----------------------------------------------------------------------------------------
class Calls:
    """The examples of a chapter's CUDA twin with other text in place of a .cu file's; each is
    called once with each text and order."""

    def __init__(self, chapter, ours):
        self.chapter, self.ours, self.done = chapter, ours, {}
        self.twin = emulator.load(chapter)
        self.examples = self.twin.examples(np.random.default_rng(0))
        if hasattr(self.twin, "WARPS"):   # many at once: rates too small to show a wrong step
            self.examples |= {f"{name}{ONE_WARP}": tuple(map(larger, arguments))
                              for name, arguments in self.examples.items()}

    def compile(self, code):
        """Raises KernelError, with the compiler's words."""
        library(self.twin.MODULE.code.replace(self.ours, code), "g++", "80", True)

    def run(self, code, example, order):
        """What is wrong with it, in words, and the launches."""
        key = code, example, str(order)
        if key not in self.done:
            words, function = "", getattr(self.twin, example.partition(",")[0])
            warps = {"WARPS": 1} if example.endswith(ONE_WARP) else {}
            with (emulator.running(edits=((self.ours, code),), **order) as log,
                  patch.multiple(self.twin, **warps) if warps else nullcontext()):
                try:
                    words = compare(self.chapter, function, example, self.examples[example])
                except Exception as error:               # a wrong kernel may end in anything
                    kind = "" if isinstance(error, emulator.KernelError) else type(error).__name__
                    words = ": ".join(filter(None, (kind, str(error))))
            self.done[key] = words, log.launches
        return self.done[key]

    def judge(self, kernel, code):
        """A kernel in some text, which compiles  ->  status, words, example, order, figures."""
        names = [e for e in self.examples
                 if any(x.kernel == kernel for x in self.run(self.ours, e, COUNTED)[1])]
        for order in (*ORDERS, COUNTED):
            for example in names:
                if words := self.run(code, example, order)[0]:
                    return {"status": "wrong", "words": words, "example": example,
                            "order": order["order"]}
        return {"status": "right", "yours": self.figures(kernel, code, names),
                "ours": self.figures(kernel, self.ours, names)}

    def figures(self, kernel, code, names):
        """What a kernel asks of the memory in these examples  ->  bytes, sectors a request, extra
        passes for bank conflicts."""
        asked = [q for e in names for x in self.run(code, e, COUNTED)[1] if x.kernel == kernel
                 for q in x.requests]
        far, near = ([q for q in asked if q.space == s] for s in ("global", "shared"))
        sectors = round(sum(q.requests * q.parts for q in far))
        return {"bytes": SECTOR * sectors,
                "sectors": sectors / max(sum(q.requests for q in far), 1),
                "conflicts": round(sum(q.requests * (q.parts - 1) for q in near))}


def try_cuda(say, chapter, ours, items):
    """items: kernel -> the text that has it, and ours of the others."""
    calls = Calls(chapter, ours)
    for kernel, code in items.items():
        try:
            calls.compile(code)
        except emulator.KernelError as error:
            say(["done", kernel, {"status": "compiler", "words": str(error)}])
            continue
        say(["runs", kernel])
        say(["done", kernel, calls.judge(kernel, code)])


# ---- Numba ---------------------------------------------------------------------------------------
def more_examples(chapter, rng):
    """Calls of functions that the CUDA twins lack  ->  name -> arguments."""
    tokens, starts = rng.integers(0, 9, 60), np.array([0, 25, 25, 60])
    if chapter == "ch01_geometry":
        return {"kmeans": (rng.standard_normal((40, 5)), 3, np.random.default_rng(1))}
    if chapter == "ch06_word2vec":
        return {"cbow_windows": (tokens, starts, 3)}
    if chapter == "ch07_hierarchical_softmax":
        return {"merge_rarest": (np.sort(rng.integers(1, 50, 30))[::-1].copy(),)}
    if chapter == "ch11_glove":
        from primer.ch11_glove import count_block
        X, Y = (count_block(rng.integers(0, 9, 60), starts, 9, 3) for _ in range(2))
        return {"count_block": (tokens, starts, 9, 3), "add_counts": (X, Y)}
    if chapter == "ch12_fasttext":
        words = ["".join(rng.choice(list("abcd"), 5)) for _ in range(40)]
        known = {w: i for i, w in enumerate(dict.fromkeys(words[::2]))}
        return {"text_rows": ([words[:20], [], words[20:]], known, 2, 4, 50, 2),
                "subword_rows": (words, 3, 5, 100)}
    if chapter == "ch13_elmo":
        x, dx, sums = rng.uniform(0.5, 1, (3, 20, 3))
        return {"scatter_add": (x, tokens[:20], 9), "adagrad": (x, dx, sums, 0.1, 0.5)}
    return {}


def examples(chapter):
    """Calls that a Numba twin must answer as the reference does  ->  name, remark -> arguments."""
    rng = np.random.default_rng(0)
    return emulator.load(chapter).examples(rng) | more_examples(chapter, rng)


def compare_function(chapter, function, name):
    """A function on all its examples  ->  words of the first that differs, or ""; their number."""
    import numba
    own = {e: a for e, a in examples(chapter).items() if e.partition(",")[0] == name}
    steps = {f"{e}{ONE_THREAD}": tuple(map(larger, a)) for e, a in own.items()
             if any(larger(x) is not x for x in a)}
    for example, arguments in (own | steps).items():
        numba.set_num_threads(1 if example in steps else numba.config.NUMBA_NUM_THREADS)
        if words := compare(chapter, function, example, arguments):
            return f"{words}  (example: {example})", len(own | steps)
    return "", len(own | steps)


def try_numba(say, chapter, file, items):
    """Functions of a student's file on the examples."""
    module = None
    for name in items:
        say(["runs", name])
        try:
            module = module or load(file)
            words, calls = compare_function(chapter, getattr(module, name), name)
            found = {"status": "wrong" if words else "right", "words": words, "calls": calls}
        except BaseException as error:
            found = {"status": "wrong", "words": f"{type(error).__name__}: {error}"[:1500],
                     "line": place(error, file)}
        say(["done", name, found])


def serve():
    """Try what standard input asks for."""
    back = os.dup(1)
    os.dup2(2, 1)                                     # what kernels print is no answer
    kind, arguments = receive(0)
    {"cuda": try_cuda, "numba": try_numba}[kind](lambda message: send(back, message), **arguments)


if __name__ == "__main__":
    sys.exit(serve())
