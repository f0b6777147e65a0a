"""The house style, as far as a program can see it; each complaint says what to do.

A rule is a function File -> list of complaints, and belongs to the files that its pattern matches:
one test for each pair of them, so that `-k ch05` finds all about chapter 5.  Rules read syntax
trees and import nothing, so that they also hold for twins that cannot run here.  At the end each
rule meets a planted file that breaks it, and a good file that does not.
"""
import ast
import fnmatch
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE_LINES, FUNCTION_LINES, EQUATIONS = 300, 40, 6
HEADINGS = ("Symbols", "Sources", "We differ", "Relations", "Kernels")
TWIN_HEADINGS = ("Idea", "Threads", "Limits")
OUTLINE = ("you will", "you need", "exercise", "in practice", "sources")
LAYOUT = {                            # what a folder may hold besides files that begin with chNN
    ".": {"pyproject.toml", "README.md", "LICENSE", "primer", "kernels", "notebooks", "tests",
          "datasets"},
    "primer": {"__init__.py", "__main__.py", "claims", "data.py", "fetch.py", "formats",
               "figures", "exercises", "training"},
    "kernels": {"__init__.py", "emulator"},
    "notebooks": {"build.py", "readme.png", "scaling.png", "src", "assignments"},
}
PIECES = ("tests/test_{}.py", "primer/exercises/{}.py", "primer/claims/{}.py",
          "primer/figures/{}.py", "notebooks/src/{}.py", "notebooks/{}.ipynb")
SWITCHES = {"method", "mode", "variant"}
EVERYWHERE = {"g", "x", "xp"}         # the upstream factor of a gradient, any input, a namespace
CHEAP = {"compile", "array", "arange", "frozenset", "set", "tuple", "dict", "list", "range", "zip",
         "enumerate", "sorted", "split", "log", "sqrt", "exp", "float", "int", "finfo", "iinfo",
         "float32", "float64", "int32", "int64", "uint8", "uint32", "uint64", "zeros", "ones",
         "full", "namedtuple", "Path", "parent", "resolve", "with_suffix", "len", "fromkeys",
         "local", "Lock", "RLock", "RawModule", "cuda_source"}       # CuPy compiles at a launch
FORBIDDEN = {                         # written so that no pattern finds itself
    r"(?<![\w.~])/(?:work|farm|root|tmp|home)/[a-z.]": "a path of one machine",
    r"[.]\./shared|\bshared/[a-z]*[.]?(?:text|notes|proto|DES)": "a folder outside the project",
    r"[.]library\b": "a folder outside the project",
    r"\b(?:DESIGN|HOUSE|inventory)[.]md\b|\bprimer[.]txt\b": "a file outside the project",
    r"registry[.]npmjs[.]org|files[.]pythonhosted[.]org|\bpypi[.]org|proxy[.]golang[.]org":
        "the host of a package registry",
}


@dataclass
class File:
    """A file of the project, read once; `root` is the project's folder."""

    path: Path
    root: Path = ROOT

    @property
    def name(self):
        return self.path.relative_to(self.root).as_posix()

    @property
    def number(self):
        """The chapter's number, or None."""
        found = re.match(r"ch(\d\d)_", self.path.name.removeprefix("test_"))
        return int(found[1]) if found else None

    @property
    def module(self):
        """What a twin or a test belongs to: ch05_bm25 of kernels/ch05_bm25_numba.py, and of a part
        of that twin in a file of its own, kernels/ch05_bm25_rows_numba.py."""
        stem = self.path.stem.removeprefix("test_")
        name = re.sub(r"_(numba|cuda)$", "", stem)
        return self._whole(name) if name != stem else name

    @property
    def chapter(self):
        """The module that the chapter's other files are named after: ch14_bert of
        primer/ch14_bert.py, and of its part primer/ch14_bert_layers.py."""
        return self._whole(self.module) if self.path.parent.name == "primer" else self.module

    def _whole(self, name):
        whole = name.rpartition("_")[0]
        there = [(self.root / f"primer/{n}.py").exists() for n in (name, whole)]
        part = there[1] and (self.path.parent.name == "primer" or not there[0])
        return whole if part else name

    def parts(self):
        """All files of the chapter's mathematics -> list of File."""
        found = sorted((self.root / "primer").glob(f"{self.chapter}*.py"))
        return [f for p in found if (f := File(p, self.root)).chapter == self.chapter]

    @cached_property
    def text(self):
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self):
        return ast.parse(self.text)

    @cached_property
    def docstring(self):
        return ast.get_docstring(self.tree) or ""

    @cached_property
    def head(self):
        """The docstring above Sources: title, equations, symbols."""
        return self.docstring.partition("\nSources")[0]

    def functions(self, public=False):
        """Functions of the module's top level -> list of ast.FunctionDef."""
        return [n for n in self.tree.body if isinstance(n, ast.FunctionDef)
                and not (public and n.name.startswith("_"))]


def parameters(function):
    """All parameters of a function but self -> dict name: default's node, or None."""
    a = function.args
    names = [p.arg for p in (*a.posonlyargs, *a.args)]
    defaults = dict(zip(names[len(names) - len(a.defaults):], a.defaults, strict=True))
    defaults |= {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)}
    return {n: defaults.get(n) for n in (*names, *(p.arg for p in a.kwonlyargs)) if n != "self"}


def imported(file):
    """Modules that a file imports anywhere, `from a import b` as a.b -> list of str."""
    found = []
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


# Rules.

def is_short(file):
    lines = file.text.count("\n")
    found = [f"{lines} lines, more than {FILE_LINES}: split the idea, or say it more plainly"]
    return found if lines > FILE_LINES else []


def has_short_functions(file):
    return [f"{node.name} has {lines} lines, more than {FUNCTION_LINES}: split it"
            for node in ast.walk(file.tree) if isinstance(node, ast.FunctionDef)
            if (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES]


def missing_headings(file, headings):
    at = [re.search(rf"^{h}\b", file.docstring, re.MULTILINE) for h in headings]
    found = [f"the docstring lacks the heading {h!r}" for h, m in zip(headings, at, strict=True)
             if not m]
    places = [m.start() for m in at if m]
    if places != sorted(places):
        found.append(f"the docstring's headings stand in another order than {headings}")
    return found


def has_the_headings(file):
    title = f"Chapter {file.number}. "
    found = [] if file.docstring.startswith(title) else [f"the docstring begins with {title!r}"]
    return found + missing_headings(file, HEADINGS)


def has_the_twin_headings(file):
    return missing_headings(file, TWIN_HEADINGS)


def numbers_its_equations(file):
    """(N.1), (N.2), ... above Symbols, each used below; a comment names only those there are."""
    top, n = file.docstring.partition("\nSymbols")[0], file.number
    own = re.findall(r"\((\d+)\.(\d+)\)\s*$", top, re.MULTILINE)
    found = [f"equation ({a}.{b}) in chapter {n}: number it ({n}.k)" for a, b in own if int(a) != n]
    numbers = [int(b) for a, b in own if int(a) == n]
    every = sorted(int(k) for part in file.parts() for k in re.findall(
        rf"\({n}\.(\d+)\)\s*$", part.docstring.partition("\nSymbols")[0], re.MULTILINE))
    if not 1 <= len(numbers) <= EQUATIONS or every != list(range(1, len(every) + 1)) or (
            numbers != list(range(numbers[0], numbers[0] + len(numbers)))):
        found.append(f"number the equations, at the ends of their lines, ({n}.1), ({n}.2), ..., one"
                     f" to {EQUATIONS} a file, on through a chapter's parts; there are {numbers}")
    below = "\n".join(file.text.split("\n")[file.tree.body[0].end_lineno:])
    cited = {int(k) for k in re.findall(rf"eqs?\. {n}\.(\d+)", below)}
    found += [f"a comment names eq. {n}.{k}, which the docstring does not have"
              for k in sorted(cited - set(every))]
    for first, last in re.findall(rf"\b{n}\.(\d+)\s?-\s?{n}\.(\d+)", below):
        cited |= set(range(int(first), int(last) + 1))
    cited |= {int(k) for k in re.findall(rf"\b{n}\.(\d+)\b", below)}
    return found + [f"no function says that it is ({n}.{k})" for k in numbers if k not in cited]


def documents_its_functions(file):
    """What, shapes in `->` shape out, and each error that the body raises."""
    found = []
    for node in file.functions(public=True):
        words = ast.get_docstring(node) or ""
        if not words:
            found.append(f"{node.name} has no docstring: what (equation).  shapes -> shapes")
        elif "->" not in words.partition("\n\n")[0]:
            found.append(f"{node.name}: the docstring's first paragraph lacks `->` and what comes "
                         "out")
        for error in sorted({r.exc.func.id for r in ast.walk(node) if isinstance(r, ast.Raise)
                             and isinstance(r.exc, ast.Call) and isinstance(r.exc.func, ast.Name)}):
            if words and error not in words:
                found.append(f"{node.name} raises {error}: its docstring says when")
    for owner in (n for n in file.tree.body if isinstance(n, ast.ClassDef)):
        for node in (owner, *(n for n in owner.body if isinstance(n, ast.FunctionDef))):
            if not node.name.startswith("_") and not ast.get_docstring(node):
                found.append(f"{owner.name}: {node.name} has no docstring")
    return found


def comments_its_shapes(file):
    return [] if "# (" in file.text else ["no line ends with a shape, such as  # (n, d)"]


def uses_words_for_names(file):
    """A name is a word; a parameter may be a letter that the docstring's head defines."""
    found = []
    for node in file.functions(public=True):
        if len(node.name) < 3:
            found.append(f"{node.name}: name it with the field's word")
        for name in parameters(node):
            letter = re.fullmatch(r"[A-Za-z]{1,2}\d?", name) and name not in EVERYWHERE
            if letter and not re.search(rf"(?<![A-Za-z]){name}(?![A-Za-z0-9])", file.head):
                found.append(f"{node.name}({name}): use a word, or define {name} under Symbols")
            if name in SWITCHES:
                found.append(f"{node.name}({name}): no switches; one function for each variant, "
                             "its source in its name")
    return found


def imports_only_earlier_chapters(file):
    found = []
    for name in imported(file):
        parts = name.split(".")
        other = re.match(r"ch(\d\d)_", parts[1]) if len(parts) > 1 else None
        own_part = len(parts) > 1 and parts[1].startswith(f"{file.chapter}_")
        if parts[0] == "primer" and other and int(other[1]) >= file.number and not own_part:
            found.append(f"imports {parts[1]}: a chapter builds on earlier ones only")
        elif parts[0] not in {"numpy", "tqdm", "primer", *sys.stdlib_module_names}:
            found.append(f"imports {parts[0]}: a chapter needs NumPy and earlier chapters only")
    return found


def does_nothing_at_import(file):
    """Only the docstring, imports, definitions and constants at the top level."""
    found = []
    for node in file.tree.body:
        line = f"line {node.lineno}"
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            called = [ast.unparse(c.func) for c in ast.walk(node) if isinstance(c, ast.Call)]
            found += [f"{line}: {name} = ...: a module holds constants, in CAPITALS" for name in
                      names if not (name.lstrip("_").isupper() or name.startswith("__"))]
            found += [f"{line}: calls {name} at import: do it in a function" for name in called
                      if name.rpartition(".")[2] not in CHEAP]
        elif not (isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
                  or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            found.append(f"{line}: `{ast.unparse(node).splitlines()[0]}` runs at import: do it in "
                         "a function")
    return found


def signatures(file):
    """Functions that a chapter has, also those it imports -> dict name: ast.FunctionDef."""
    found = {}
    for node in file.tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("primer.ch"):
            earlier = File(file.root / f"{node.module.replace('.', '/')}.py", file.root)
            theirs = signatures(earlier) if earlier.path.exists() else {}
            found |= {a.asname or a.name: theirs[a.name] for a in node.names if a.name in theirs}
    return found | {node.name: node for node in file.functions()}


def answers_as_the_chapter_does(file):
    """A twin's public functions: the chapter's names, parameters and (literal) defaults."""
    found, reference = [], File(file.root / f"primer/{file.module}.py", file.root)
    if not reference.path.exists():
        return [f"a twin of {reference.name}, which does not exist"]
    theirs = signatures(reference)
    for node in file.functions(public=True):
        if node.name == "examples" and file.path.stem.endswith("_cuda"):
            continue                               # what `python -m primer gpu` calls
        if node.name not in theirs:
            found.append(f"{node.name} is not in {reference.name}: name it _{node.name}, or add it")
            continue
        own, other = parameters(node), parameters(theirs[node.name])
        if list(own) != list(other):
            found.append(f"{node.name}({', '.join(own)}): the chapter has ({', '.join(other)})")
            continue
        for name, default in own.items():
            both = [d.value if isinstance(d, ast.Constant) else d and "..."
                    for d in (default, other[name])]
            if both[0] != both[1]:
                found.append(f"{node.name}({name}={both[0]}): the chapter has {both[1]}")
    return found


def imports_no_cupy(file):
    if file.path.stem.endswith("_cuda") or file.name == "kernels/__init__.py":    # is it there?
        return []
    return [f"imports {m}: only *_cuda.py may" for m in imported(file) if m.split(".")[0] == "cupy"]


def imports_no_pyplot(file):
    return [f"imports {m}: use primer.figures.new_figure, there is nothing to close then"
            for m in imported(file) if m.startswith("matplotlib.pyplot")]


def has_all_its_pieces(file):
    return [f"{name} is missing" for name in (piece.format(file.chapter) for piece in PIECES)
            if not (file.root / name).exists()]


def names_files_that_exist(file):
    return [f"names {name}, which does not exist" for name in
            re.findall(r"\b(?:kernels|primer|tests|datasets)/[\w/]+\.\w+", file.docstring)
            if not (file.root / name).exists()]


def belongs_to_a_chapter(file):
    if file.number == 0:                           # how to read a kernel: no chapter of the text
        return []
    name = f"ch{file.number:02}_*" if file.path.suffix == ".cu" else file.chapter    # of many parts
    exists = any((file.root / "primer").glob(f"{name}.py"))
    return [] if exists else [f"there is no primer/{file.chapter}.py: name it as its chapter"]


def has_a_tour(file):
    tours = [n for n in file.functions() if n.name == "tour"]
    if tours and any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(tours[0])):
        return []
    return ["needs a generator tour() that yields lines and (name, Figure) pairs"]


def has_claims(file):
    names = {n.id for n in ast.walk(file.tree) if isinstance(n, ast.Name)}
    return [] if "CLAIMS" in names else ["needs CLAIMS = [Claim(...), ...]"]


def has_rows(file):
    return [] if "rows" in {n.name for n in file.functions()} else ["needs a generator rows()"]


def follows_the_outline(file):
    words = file.text.casefold()
    return [f"says nothing like {part!r}: the outline has it" for part in OUTLINE
            if part not in words]


def is_plain_cuda(file):
    found = ["has an #include: NVRTC compiles it without"] * ("#include" in file.text)
    kernels = re.findall(r"__global__[^{;]*", file.text)
    return found + [f"give `{' '.join(k.split())[:60]}` __launch_bounds__" for k in kernels
                    if "__launch_bounds__" not in k]


def stays_inside(file):
    """No paths of a machine, no files outside the project, no hosts of registries."""
    return [f"line {file.text[:m.start()].count(chr(10)) + 1}: {m.group()!r} is {what}"
            for pattern, what in FORBIDDEN.items() for m in re.finditer(pattern, file.text)]


def links_to_files_that_exist(file):
    links = re.findall(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)", file.text)
    found = []
    for link in (a or b for a, b in links):
        if re.match(r"[a-z]+:|#", link):
            continue
        target = (file.path.parent / link.partition("#")[0]).resolve()
        if not target.is_relative_to(file.root.resolve()) or not target.exists():
            found.append(f"links to {link}, which does not exist")
    return found


def lists_every_chapter(file):
    rows = [line for line in file.text.splitlines() if line.startswith("|")]
    return [f"the chapter table has no row for {p.stem}"
            for p in sorted((file.root / "primer").glob("ch*_*.py"))
            if File(p, file.root).chapter == p.stem and not any(p.stem in row for row in rows)]


CHAPTERS, TWINS, ANY_PYTHON = "primer/ch*.py", "kernels/ch*.py", ("*.py",)
CODE = ("primer/*.py", "primer/*/*.py", "kernels/*.py", "kernels/*/*.py", "notebooks/build.py")
RULES = {
    is_short: (*CODE, "kernels/*.cu"),
    has_short_functions: CODE,
    has_the_headings: (CHAPTERS,),
    has_the_twin_headings: (TWINS,),
    numbers_its_equations: (CHAPTERS,),
    documents_its_functions: (CHAPTERS,),
    comments_its_shapes: (CHAPTERS,),
    uses_words_for_names: (CHAPTERS,),
    imports_only_earlier_chapters: (CHAPTERS,),
    does_nothing_at_import: (CHAPTERS, TWINS, "primer/figures/ch*.py"),
    answers_as_the_chapter_does: (TWINS,),
    imports_no_cupy: ANY_PYTHON,
    imports_no_pyplot: ("primer/*.py", "primer/*/*.py"),
    has_all_its_pieces: (CHAPTERS,),
    names_files_that_exist: (CHAPTERS, TWINS),
    belongs_to_a_chapter: (TWINS, "kernels/ch*.cu", "tests/test_ch*.py", "primer/*/ch*.py",
                           "notebooks/src/ch*.py", "notebooks/ch*.ipynb", "tests/*/ch*.py"),
    has_a_tour: ("primer/figures/ch*.py",),
    has_claims: ("primer/claims/ch*.py",),
    has_rows: ("tests/benchmarks/ch*.py",),
    follows_the_outline: ("notebooks/src/ch*.py",),
    is_plain_cuda: ("kernels/*.cu",),
    stays_inside: ("*",),
    links_to_files_that_exist: ("README.md",),
    lists_every_chapter: ("README.md",),
}
BINARY = {".npz", ".gz", ".png", ".npy", ".bin", ".zip", ".pdf", ".pyc"}


@functools.cache
def ignore_patterns(root):
    """Names that .gitignore keeps out, at the top and anywhere -> two sets of str."""
    path = root / ".gitignore"
    lines = path.read_text().split() if path.exists() else []
    top = {line.strip("/") for line in lines if line.startswith("/")} | {".git"}
    return top, {line.strip("/") for line in lines if not line.startswith("/")}


def ignored(path, root=ROOT):
    """Whether git would not see a file or folder (.gitignore with plain names, as ours is)."""
    top, anywhere = ignore_patterns(root)
    return (path.parent == root and path.name in top
            or any(fnmatch.fnmatch(path.name, pattern) for pattern in anywhere))


def files(root=ROOT):
    """The project's text files -> list of File."""
    found = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if not ignored(here / name, root)]
        found += [here / name for name in names if not ignored(here / name, root)]
    return [File(path, root) for path in sorted(found) if path.suffix not in BINARY]


def applies(rule, name):
    """Whether a rule is for a file; a pattern's * stays within one folder, except alone."""
    for pattern in RULES[rule]:
        deep = "/" not in pattern and pattern.startswith("*")
        if fnmatch.fnmatch(name, pattern) and (deep or name.count("/") == pattern.count("/")):
            return True
    return False


@pytest.mark.parametrize("rule, file", [
    pytest.param(rule, file, id=f"{file.name}-{rule.__name__}")
    for file in files() for rule in RULES if applies(rule, file.name)])
def test_a_file(rule, file):
    if wrong := rule(file):
        pytest.fail("\n".join([f"{file.name}:", *wrong]), pytrace=False)


def strangers(folder, root=ROOT):
    """What a folder holds that the layout does not name, empty folders aside -> list of str."""
    return [p.name for p in sorted((root / folder).glob("*"))
            if not (p.name in LAYOUT[folder] or p.name.startswith(".") or ignored(p, root)
                    or folder != "." and re.match(r"ch\d\d_", p.name)
                    or p.is_dir() and not any(f.is_file() for f in p.rglob("*")))]


@pytest.mark.parametrize("folder", LAYOUT)
def test_a_folder_holds_only_what_the_layout_names(folder):
    if wrong := strangers(folder):
        pytest.fail(f"{folder}: move, or add to LAYOUT: {', '.join(wrong)}", pytrace=False)


def test_datasets_hold_no_python():
    assert not list((ROOT / "datasets").rglob("*.py")), "move it to tests/makers/"


def test_there_is_a_readme():
    assert (ROOT / "README.md").exists(), "write README.md, with a row a chapter in its table"


# Each rule catches what it is for, and only that.

GOOD = {
    "primer/ch98_older.py": 'def norm(X):\n    """|X|.  (n,) -> ()."""\n    return X\n',
    "primer/ch99_new.py": '''r"""Chapter 99. A title that is a sentence.

    a = b c           (99.1)
    d = e             (99.2)

Symbols     n rows; X: (n,), k1 >= 0.
Sources     a paper.
We differ   nowhere.
Relations   to (98.1).
Kernels     kernels/ch99_new_numba.py.
"""
import re

import numpy as np

from primer.ch98_older import norm

WORD = re.compile("a")


class Index:
    """Built once."""

    def __init__(self, X):
        self.X = X

    def find(self):
        """Look."""
        return self.X


def scale(X, k1=1.2):
    """Product (99.1).  X: (n,) -> (n,).  Raises ValueError for k1 < 0."""
    if k1 < 0:
        raise ValueError("k1")
    return k1 * np.asarray(X)                                         # (n,)  eq. 99.1


def shift(X):
    """Sum (99.2).  X: (n,) -> (n,)."""
    return X + norm(X)
''',
    "kernels/ch99_new_numba.py": '''"""Twin.

Idea    one pass.
Threads one.
Limits  none.
"""
from numba import njit


@njit(cache=True)
def scale(X, k1=1.2):
    return _inner(X, k1)


def norm(X):
    return X


@njit
def _inner(X, k1):
    return X * k1
''',
    "kernels/ch99_new.cu":
        'extern "C" __global__ void __launch_bounds__(128) scale(float *x) { }\n',
    "primer/exercises/ch99_new.py": "", "tests/test_ch99_new.py": "",
    "primer/claims/ch99_new.py": "CLAIMS = []\n",
    "primer/figures/ch99_new.py": 'def tour():\n    """Half a minute."""\n    yield "hello"\n',
    "notebooks/src/ch99_new.py":
        "# **You will** see. **You need** 98.\n# ## Exercises\n# ## In practice\n# ## Sources\n",
    "notebooks/ch99_new.ipynb": "{}\n",
    "tests/benchmarks/ch99_new.py": "def rows():\n    yield {}\n",
    "primer/ch99_new_more.py": '''r"""Chapter 99. A part of it.

    c = d             (99.3)

Symbols     X: (n,).
Sources     a paper.
We differ   nowhere.
Relations   to (99.1).
Kernels     none.
"""
from primer.ch98_older import norm


def total(X):
    """Sum (99.3).  (n,) -> ()."""
    return norm(X).sum()                               # ()  eq. 99.3
''',
    "README.md": "| 98 | [ch98_older](primer/ch98_older.py) |\n"
                 "| 99 | [ch99_new](primer/ch99_new.py#top) |\n[web](https://example.org)\n",
    ".gitignore": "__pycache__/\n/build/\n",
}
NEW, TWIN = "primer/ch99_new.py", "kernels/ch99_new_numba.py"
PART = "primer/ch99_new_more.py"
PLANTED = [                    # rule, file, what stands there, what replaces it, the complaint
    (is_short, NEW, "import re\n", "import re\n" + "\n" * 300, "lines, more than 300"),
    (has_short_functions, NEW, "    return X +", "    X = 1\n" * 40 + "    return X +", "shift"),
    (has_the_headings, NEW, "We differ ", "Also ", "lacks the heading 'We differ'"),
    (has_the_headings, NEW, "Chapter 99", "Chapter 98", "begins with 'Chapter 99. '"),
    (has_the_headings, NEW, "Symbols     n", "Kernels\nSymbols     n", "another order"),
    (has_the_twin_headings, TWIN, "Limits ", "End ", "lacks the heading 'Limits'"),
    (numbers_its_equations, NEW, "c           (99.1)", "c  (98.1)", "number it (99.k)"),
    (numbers_its_equations, NEW, "e             (99.2)", "e  (99.3)", "there are [1, 3]"),
    (numbers_its_equations, NEW, "eq. 99.1", "eq. 99.7", "names eq. 99.7"),
    (numbers_its_equations, NEW, "Sum (99.2)", "Sum", "no function says that it is (99.2)"),
    (numbers_its_equations, PART, "99.3", "99.4", "on through a chapter's parts"),
    (imports_only_earlier_chapters, PART, "ch98_older", "ch99_new", "earlier ones"),
    (documents_its_functions, NEW, '    """Sum (99.2).  X: (n,) -> (n,)."""\n', "", "no docstring"),
    (documents_its_functions, NEW, "Sum (99.2).  X: (n,) -> (n,).", "Sum (99.2).", "lacks `->`"),
    (documents_its_functions, NEW, "  Raises ValueError for k1 < 0.", "", "raises ValueError"),
    (documents_its_functions, NEW, '        """Look."""\n', "", "find has no docstring"),
    (comments_its_shapes, NEW, "# (n,)  eq", "# eq", "no line ends with a shape"),
    (uses_words_for_names, NEW, "def shift(X)", "def shift(q)", "define q under Symbols"),
    (uses_words_for_names, NEW, "def shift(X)", "def sh(X)", "field's word"),
    (uses_words_for_names, NEW, "def shift(X)", "def shift(X, method='l2')", "no switches"),
    (imports_only_earlier_chapters, NEW, "primer.ch98_older", "primer.ch99_old", "earlier ones"),
    (imports_only_earlier_chapters, NEW, "import re\n", "import scipy.sparse\n", "imports scipy"),
    (does_nothing_at_import, NEW, "\nWORD =", "\nprint('hello')\nWORD =", "runs at import"),
    (does_nothing_at_import, NEW, "WORD =", "word =", "in CAPITALS"),
    (does_nothing_at_import, NEW, 're.compile("a")', 'open("a").read()', "calls open at import"),
    (does_nothing_at_import, NEW, "\nWORD =", "\nfor i in range(3):\n    pass\nWORD =", "for i in"),
    (answers_as_the_chapter_does, TWIN, "def norm(", "def length(", "length is not in"),
    (answers_as_the_chapter_does, TWIN, "def norm(X", "def norm(rows", "the chapter has (X)"),
    (answers_as_the_chapter_does, TWIN, "scale(X, k1=1.2)", "scale(X, k1)", "scale(k1=None)"),
    (answers_as_the_chapter_does, TWIN, "scale(X, k1=1.2)", "scale(X, k1=1.5)", "has 1.2"),
    (imports_no_cupy, NEW, "import re\n", "import cupy as cp\n", "only *_cuda.py may"),
    (imports_no_pyplot, "primer/figures/ch99_new.py", "def tour",
     "from matplotlib import pyplot\n\n\ndef tour", "nothing to close"),
    (has_all_its_pieces, NEW, None, ("ch99_new", "ch99_other"), "ch99_other.ipynb is missing"),
    (names_files_that_exist, NEW, "kernels/ch99_new_numba", "kernels/ch99_numba", "does not exist"),
    (belongs_to_a_chapter, TWIN, None, ("ch99_new", "ch97_new"), "no primer/ch97_new.py"),
    (belongs_to_a_chapter, TWIN, None, ("ch99_new", "ch99_new_a_b"), "no primer/ch99_new_a_b.py"),
    (has_a_tour, "primer/figures/ch99_new.py", "yield", "return", "needs a generator tour()"),
    (has_claims, "primer/claims/ch99_new.py", "CLAIMS", "claims", "needs CLAIMS"),
    (has_rows, "tests/benchmarks/ch99_new.py", "rows", "lines", "needs a generator rows()"),
    (follows_the_outline, "notebooks/src/ch99_new.py", "You need", "Know", "'you need'"),
    (is_plain_cuda, "kernels/ch99_new.cu", "extern", "#include <x>\nextern", "#include"),
    (is_plain_cuda, "kernels/ch99_new.cu", "__launch_bounds__(128) ", "", "give `__global__"),
    (links_to_files_that_exist, "README.md", "/ch99_new.py#top", "/ch99.py", "ch99.py"),
    (lists_every_chapter, "README.md", "| 98 | [ch98_older", "98 | [ch98_older", "ch98_older"),
    *[(stays_inside, NEW, "a paper.", words, "line 7: ") for words in (
        "/wo" + "rk/main", "see ../sha" + "red/notes", "inventory" + ".md", ".libr" + "ary/env",
        "https://pypi" + ".org/simple", "/home" + "/me/x")],
]


@pytest.fixture
def project(tmp_path):
    """A tiny good project -> its folder."""
    for name, text in GOOD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_good_project_has_no_complaints(project):
    unfinished = "primer/ch98_older.py"            # there to be imported, not to be judged
    met = {rule for rule in RULES for file in files(project) if file.name != unfinished
           if applies(rule, file.name) and not rule(file)}
    wrong = [(file.name, rule(file)) for rule in RULES for file in files(project)
             if file.name != unfinished and applies(rule, file.name) and rule(file)]
    assert not wrong and met == set(RULES)
    assert not any(strangers(folder, project) for folder in LAYOUT)


def test_every_rule_has_a_planted_mistake():
    assert {rule for rule, *_ in PLANTED} == set(RULES)


@pytest.mark.parametrize("rule, name, old, new, words", PLANTED,
                         ids=[f"{p[0].__name__}:{p[4]}" for p in PLANTED])
def test_a_rule_catches_its_planted_mistake(project, rule, name, old, new, words):
    path = project / name
    if old is None:                                # the mistake is in the file's name
        path = path.rename(path.with_name(path.name.replace(*new)))
    else:
        assert path.read_text().count(old) >= 1
        path.write_text(path.read_text().replace(old, new))
    assert words in "\n".join(rule(File(path, project)))


def test_a_stranger_is_seen(project):
    for name in ("notes.txt", "primer/utils.py", "build/x.o", "primer/__pycache__/x.pyc"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x")
    (project / "empty").mkdir()
    assert strangers(".", project) == ["notes.txt"]
    assert strangers("primer", project) == ["utils.py"]


def test_patterns_stay_within_a_folder():
    assert applies(has_the_headings, "primer/ch05_bm25.py")
    assert not applies(has_the_headings, "primer/figures/ch05_bm25.py")
    assert applies(stays_inside, "datasets/a/b.txt") and applies(imports_no_cupy, "tests/x/y.py")
    assert not applies(has_rows, "tests/benchmarks/__main__.py")


# The runner of the benchmarks, on planted ones.

ROWS = """
import os
def rows():
    print("loading")
    yield dict(what="search", peer="other", size="9 x 9", ours=0.5, peer_s=1.0, ratio=2.0, bar=1.5,
               reached=os.environ["NUMBA_NUM_THREADS"] == "2", versions={"numpy": "2.0"})
"""


def run_benchmarks(folder, text, *arguments):
    shutil.copy(ROOT / "tests/benchmarks/__main__.py", folder)
    (folder / "ch99_new.py").write_text(text)
    return subprocess.run([sys.executable, folder / "__main__.py", *arguments],
                          capture_output=True, text=True, timeout=60)


def test_benchmarks_print_rows_or_only_json(tmp_path):
    table = run_benchmarks(tmp_path, ROWS)
    assert table.returncode == 0 and re.search(r"search .*other.* 2\.00", table.stdout)
    done = run_benchmarks(tmp_path, ROWS, "ch99", "--json")
    (row,) = json.loads(done.stdout)
    assert row["chapter"] == "ch99_new" and row["reached"] is True
    assert "loading" in done.stderr


@pytest.mark.parametrize("text, code, words", [
    ("import no_such_peer\n", 1, "pip install -e '.[peers]'"),
    ("def rows():\n    yield {'what': 'x'}\n", 1, "lacks peer, size"),
    ("import primer.no_such_module\n", 1, "ModuleNotFoundError"),
])
def test_benchmarks_say_what_is_missing(tmp_path, text, code, words):
    done = run_benchmarks(tmp_path, text)
    assert done.returncode == code and words in done.stderr
    assert ("peers" in done.stderr) == ("peers" in words)


def test_benchmarks_refuse_an_unknown_name(tmp_path):
    done = run_benchmarks(tmp_path, ROWS, "ch05")
    assert done.returncode == 2 and "ch99_new" in done.stderr
