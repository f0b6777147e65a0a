"""Exercises of the kind "write a kernel": Numba or CUDA C, on any machine with g++ and Linux.

    start("ch05", "cuda", folder)   ours, with the kernels cut out       -> paths written
    check_cuda(file, kernels)       each kernel alone, ours around it    -> list of Result
    check_numba(work)               functions that no exercise covers    -> list of Result

A student's kernel runs under the emulator's checker with the chapter's own launch code, on its
examples, in a process that is ended where a kernel never ends (kernel_trials.py).
"""
import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import kernels
from primer.exercises.report import chapter_of, module_of
from primer.exercises.stubs import cut
from primer.exercises.student import Died, Hung, receive, send

HERE = Path(kernels.__file__).parent
SECONDS, COMPILING = 60.0, 300.0      # for a kernel in all its examples, some 100 times ours
TODO = "your code here"
NUMBA = {                             # the jitted functions to write: loops that can be read alone
    "ch01_geometry": ("_dot", "_gap", "_offer", "_move"),
    "ch02_lexicon": ("_transpose", "_search"),
    "ch03_bow": ("_same_word", "_rehash", "_place", "_csr_dot"),
    "ch04_tfidf": ("_document_frequency", "_row_sums", "_weigh", "_unit_rows"),
    "ch05_bm25": ("_by_word", "_document_frequency", "_insert", "_lift", "_add"),
    "ch06_word2vec": ("_context_windows", "_step"),
    "ch07_hierarchical_softmax": ("_merge", "_path", "_scores", "_descend"),
    "ch08_negative_sampling": ("_neighbours", "_scores", "_place", "_thin", "_draw"),
    "ch09_analogy": ("_offer", "_conditional", "_symmetrise", "_weights"),
    "ch10_factorization": ("_rows", "_multiply", "_sweep"),
    "ch11_glove": ("_steps", "_merge"),
    "ch12_fasttext": ("_mean", "_follow", "_softmax_loss"),
    "ch12_fasttext_rows": ("_mix", "_ngrams", "_text_rows"),
    "ch13_elmo": ("_squash", "_gates", "_gates_backward", "_softmax_rows", "_adagrad"),
    "ch15_contrastive": ("_exp_rows",),
}
SILENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
KERNEL = re.compile(r'extern\s+"C"\s+__global__[^{};]*?(\w+)\s*\([^(){}]*\)\s*\{')


class Result(NamedTuple):
    """What came of a kernel or function: status todo, right, wrong, compiler or endless."""

    name: str
    status: str
    lines: list


# ---- CUDA C, as text -----------------------------------------------------------------------------
def without_comments(code):
    """The same places and lines; comments and strings but "C" are spaces."""
    return SILENT.sub(lambda m: m[0] if m[0] == '"C"' else re.sub(r"[^\n]", " ", m[0]), code)


def kernels_in(code):
    """Name -> places (start, end of the opening brace, the closing brace) of each kernel.
    Raises ValueError where a brace is never closed."""
    plain, found = without_comments(code), {}
    for kernel in KERNEL.finditer(plain):
        depth = 1
        for brace in re.compile("[{}]").finditer(plain, kernel.end()):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                found[kernel[1]] = kernel.start(), kernel.end(), brace.start()
                break
        else:
            raise ValueError(f"line {code.count(chr(10), 0, kernel.end()) + 1}: the {{ of "
                             f"{kernel[1]} is never closed")
    return found


def cut_cuda(code):
    """CUDA C with its kernels to fill in; comments, signatures and other functions stay."""
    for _, start, stop in reversed(kernels_in(code).values()):
        count = sum(bool(line.strip()) for line in code[start:stop].splitlines())
        code = (f"{code[:start]}\n  // {TODO} (roughly {count} line{'s' * (count > 1)})\n"
                f"{code[stop:]}")
    return code


def unwritten(code):
    """The kernels whose bodies hold nothing but comments  ->  set of names."""
    plain = without_comments(code)
    return {name for name, (_, start, stop) in kernels_in(code).items()
            if not plain[start:stop].strip()}


def alone(code, ours, kernel, stem):
    """A student's text with our kernels in place of its others; lines keep their numbers."""
    mine = kernels_in(ours)
    for name, (start, _, stop) in reversed(kernels_in(code).items()):
        if name == kernel or name not in mine:
            continue
        first, _, last = mine[name]
        if code[start:stop] != ours[first:last]:
            line = code.count("\n", 0, stop) + 1
            code = f'{code[:start]}{ours[first:last]}\n#line {line} "{stem}.cu"\n{code[stop:]}'
    lacking = mine.keys() - kernels_in(code).keys()
    return "\n".join([code, *(f"{ours[mine[k][0]:mine[k][2]]}}}" for k in mine if k in lacking)])


# ---- Numba, as text ------------------------------------------------------------------------------
def cut_numba(code, stem):
    """A Numba twin with the jitted functions of NUMBA to fill in."""
    tree = ast.parse(code)
    needed = {f: reached(tree, f) for f in public(tree)}
    users = {name: [f for f in needed if name in needed[f]] for name in NUMBA[stem]}

    def body(lines, indent, name):
        count = sum(bool(line.strip()) for line in lines)
        return [f"{indent}# {TODO} (roughly {count} line{'s' * (count > 1)}); for "
                f"{', '.join(users[name])}\n", f"{indent}raise NotImplementedError\n"]
    return cut(code, set(NUMBA[stem]), body)


def functions(tree):
    """The functions at the top of a file, by name."""
    return {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}


def public(tree):
    """Names of those that others call."""
    return [name for name in functions(tree) if not name.startswith("_")]


def reached(tree, name):
    """The file's functions that one names, directly or not, and itself  ->  set of names."""
    own, found, ahead = functions(tree), set(), [name]
    while ahead:
        name = ahead.pop()
        if name in own and name not in found:
            found.add(name)
            ahead += [n.id for n in ast.walk(own[name]) if isinstance(n, ast.Name)]
    return found


def to_write(stem):
    """Public functions of our twin that need one of NUMBA's  ->  list of names."""
    tree = ast.parse((HERE / f"{stem}_numba.py").read_text("utf-8"))
    return [f for f in public(tree) if reached(tree, f) & set(NUMBA[stem])]


def written(tree):
    """Functions of a student's Numba file that need nothing that is still to do  ->  set.

    Read from the text: what Numba says of a function that only raises depends on who calls it.
    """
    todo = {name for name, f in functions(tree).items()
            if isinstance(f.body[-1], ast.Raise) and "NotImplemented" in ast.unparse(f.body[-1])
            and len(f.body) <= 1 + (ast.get_docstring(f) is not None)}
    return {f for f in functions(tree) if not reached(tree, f) & todo}


# ---- what the commands call ----------------------------------------------------------------------
def sources(chapter, kind):
    """Our files of a chapter with something to write  ->  name of the student's -> its text."""
    out, name = {}, f"{chapter}*_numba.py" if kind == "numba" else f"{chapter[:4]}_*.cu"
    for path in sorted(HERE.glob(name)):
        code = path.read_text("utf-8")
        if kind == "numba" and (stem := path.stem.removesuffix("_numba")) in NUMBA:
            out[path.name] = cut_numba(code, stem)
        elif kind == "cuda" and kernels_in(code):
            out[path.name] = heading(path, len(kernels_in(code))) + cut_cuda(code)
    return out


def heading(path, count):
    """The first lines of a .cu to fill in  ->  str."""
    module = module_of(path.stem)
    twin = (HERE / f"{module}_cuda.py").read_text("utf-8")
    used = re.findall(r'"(\w+)"', re.search(r"cuda_source\(([^)]*)\)", twin)[1])
    before = [f"kernels/{name}.cu" for name in used[:used.index(path.stem)]]
    return (f"// To fill in: {count} kernels.  kernels/{module}_cuda.py launches them: there are "
            "their grids, blocks\n// and arguments.\n" + (
                f"// In front of this file stands {' and '.join(before)}.\n" if before else "")
            + "// What you leave empty is ours when the others are checked.\n\n")


def start(name, kind, folder):
    """Write a chapter's kernels to fill in  ->  paths.  Raises LookupError where there are none,
    FileExistsError where one of the files is there already."""
    if not (texts := sources(chapter_of(name), kind)):
        raise LookupError(f"--kernel: {name} has no loops to fill in; try cuda")
    paths = [Path(folder) / file for file in texts]
    if taken := [path for path in paths if path.exists()]:
        raise FileExistsError(f"{taken[0]} is there already, and is not overwritten; move it away")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, texts.values(), strict=True):
        with open(path, "x", encoding="utf-8") as out:
            out.write(text)
    return paths


def check_cuda(file, names=()):
    """Each kernel of a student's file, alone among ours  ->  Results.  Raises ValueError for a
    file that is no chapter's or lacks a kernel, RuntimeError without g++ or Linux."""
    chapter, stem = chapter_of(file.stem[:4]), file.stem
    if not (HERE / f"{stem}.cu").exists() or not (
            mine := kernels_in(ours := (HERE / f"{stem}.cu").read_text("utf-8"))):
        raise ValueError(f"FILE: {file.name} is none of "
                         f"{', '.join(sources(chapter, 'cuda'))}, the chapter's kernels")
    code = file.read_text("utf-8-sig")
    try:
        todo = unwritten(code) | mine.keys() - kernels_in(code).keys()
    except ValueError as error:
        raise ValueError(f"{file}, {error}") from None
    if unknown := set(names) - mine.keys():
        raise ValueError(f"KERNEL: there is no {sorted(unknown)[0]} in {file.name}; there are "
                         f"{', '.join(mine)}")
    kernels.twin(module_of(stem), "emulated")         # an error now that says what is missing
    asked = [name for name in mine if not names or name in names]
    codes = {k: alone(code, ours, k, stem) for k in asked if k not in todo}
    found = tried("cuda", codes, chapter=module_of(stem), ours=ours)
    return [Result(k, *told(k, found[k], f"{stem}.cu", code.splitlines())) if k in found else
            Result(k, "todo", []) for k in asked]


def check_numba(file, names):
    """Public functions of a student's Numba file on the chapter's examples  ->  Results."""
    stem, own = file.stem.removesuffix("_numba"), written(ast.parse(file.read_text("utf-8-sig")))
    found = tried("numba", [f for f in names if f in own], chapter=module_of(stem),
                  file=str(file.resolve()))
    return [Result(f, *told(f, found[f], file.name, [])) if f in found else Result(f, "todo", [])
            for f in names]


def tried(kind, items, **request):
    """Ask the other side, again after each time that it must be ended  ->  name -> dict."""
    found = {}
    while left := [name for name in items if name not in found]:
        with subprocess.Popen([sys.executable, "-m", "primer.exercises.kernel_trials"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            send(process.stdin.fileno(), [kind, request | {"items": {k: items[k] for k in left}
                                                           if kind == "cuda" else left}])
            running, limit = left[0], COMPILING
            try:
                while len(found) < len(items):
                    word, running, *result = receive(process.stdout.fileno(), limit)
                    limit = COMPILING if result else SECONDS
                    if result:
                        found[running] = result[0]
            except Hung:
                found[running] = {"status": "endless",
                                  "words": f"stopped after {limit:g} s: does it ever end?"}
            except Died:
                found[running] = {"status": "wrong", "words": "the process ended while it ran"}
            process.kill()
    return found


# ---- for people ----------------------------------------------------------------------------------
def told(name, found, file, source):
    """What came of a kernel in words  ->  status, lines."""
    words, status = found.get("words", ""), found["status"]
    if status == "right":
        return status, [figures(found)] if "ours" in found else [
            f"equal to the reference in {found['calls']} of {found['calls']} examples"]
    if status == "compiler":
        errors = re.findall(r"^(\S+?):(\d+):\d+: (?:fatal )?error: (.*)", words, re.M)
        return status, [line for place, n, what in errors[:3] or [("", "0", words[:800])]
                        for line in (what, *shown(f"{place}:{n}", file, source))]
    report = re.match(r"(\w+): \d+ problem\(s\)\n(.*)", words)
    if report and "ENDLESS" in report[2]:
        status = "endless"
    if report and report[1] == name:
        lines = [report[2], *shown(report[2], file, source)]
    else:
        lines = [f"what it left makes our {report[1]} fail: {report[2]}" if report else words]
    lines += [f"in {found['line']}"] if found.get("line") else []
    if "example" in found:
        lines.append(f"example: {found['example']}, order of threads: {found['order']}")
    return status, lines


def shown(text, file, source):
    """The lines of a student's file that a text names as "file.cu:14"."""
    for n in dict.fromkeys(map(int, re.findall(rf"{re.escape(file)}:(\d+)", text))):
        if 0 < n <= len(source):
            yield f"line {n}:  {source[n - 1].strip()}"


def figures(found):
    """Bytes, sectors and conflicts of two kernels side by side."""
    yours, ours = found["yours"], found["ours"]
    return (f"moves {yours['bytes']:,} bytes, ours {ours['bytes']:,}; sectors a request: "
            f"{yours['sectors']:.1f}, ours {ours['sectors']:.1f}; passes lost to bank conflicts: "
            f"{yours['conflicts']:,}, ours {ours['conflicts']:,}")


def as_text(results):
    """Results for a terminal  ->  str."""
    mark = {"right": "ok  ", "todo": "todo", "endless": "slow"}
    return "\n".join(f"  {mark.get(r.status, 'no  ')} {r.name}" + "".join(
        f"\n         {line}" for line in r.lines) for r in results)
