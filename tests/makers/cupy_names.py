"""Make kernels/emulator/cupy_names.json: what CuPy has, and how it is called.

    python -m tests.makers.cupy_names        needs CuPy, but no GPU (extra: cuda)

The emulator refuses what CuPy would refuse, on machines that have no CuPy.  A name's line says:

    "(a, axis=, *, out=)"       a function or method: its parameters, `=` marks a default
    "ufunc 2 1 at outer"        a universal function: inputs, outputs, and the methods that work
    "class (code, name, *)"     a class and what makes one
    "numpy float32"             the same object as NumPy's
    "number 3.14"               a constant
    "value", "module"           an attribute, a module
"""
import functools
import importlib
import inspect
import json
import types

import numpy as np

from primer import data

TARGET = data.DATASETS.parent / "kernels" / "emulator" / "cupy_names.json"
MODULES = ("", "linalg", "random", "fft", "cuda", "cuda.runtime")
CLASSES = ("ndarray", "RawModule", "random.Generator", "cuda.Device", "cuda.Stream", "cuda.Event")
GENERALISED = "(x1, x2, out=, *, axes=, axis=, casting=, dtype=, keepdims=, order=)"   # matmul
CORRECTIONS = {"RawModule": ("(code=, *,", "(*, code=,")}        # its docstring misplaces the star
METHODS = ("at", "reduce", "accumulate", "reduceat")
FORMS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


class _Nothing:
    """No array: what a ufunc's method that works trips over, after it has agreed to work."""


def from_signature(function):
    """The parameters that Python knows -> str, or None."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    words, star = [], False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not star:
            words.append("*")
        star |= p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        words.append(FORMS.get(p.kind, "") + p.name + "=" * (p.default is not p.empty))
    return words


def from_docstring(function):
    """The parameters in a compiled function's first line, `f(self, int axis=-1)` -> list of str."""
    line = (inspect.getdoc(function) or "").partition("\n")[0]
    if "(" not in line:
        return None
    depth, word, words = 0, "", []
    for letter in line[line.index("(") + 1:]:
        if letter == ")" and not depth:
            break
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            words, word = [*words, word], ""
        else:
            word += letter
    words = [w.strip() for w in (*words, word) if w.strip()]
    return [w.partition("=")[0].split()[-1] + "=" * ("=" in w) for w in words]


def parameters(function, bound=False):
    """"(a, axis=)" of a function; of a method without its self.  (*, **) if nothing is known."""
    words = from_signature(function)
    words = from_docstring(function) if words is None else words
    if words is None:
        words = ["*args", "**kwargs"]
    return f"({', '.join(words[1:] if bound and words[:1] == ['self'] else words)})"


def ufunc(function):
    """"ufunc 2 1 at outer": a method that works fails later, when it looks for an array."""
    works = ["outer"] * (function.nin == 2)
    for method in METHODS:
        try:
            getattr(function, method)(_Nothing(), [0])
        except NotImplementedError:
            continue
        except AttributeError:
            works.append(method)
    return " ".join(["ufunc", str(function.nin), str(function.nout), *sorted(works)])


def describe(cupy, name, value):
    """What stands on the name's line -> str."""
    short = name.rpartition(".")[2]
    for same in (short, getattr(value, "__name__", short)):
        if value is vars(np).get(same, _Nothing) and not isinstance(value, types.ModuleType):
            return f"numpy {same}"
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, type):
        return f"class {parameters(value)}".replace(*CORRECTIONS.get(name, ("", "")))
    if isinstance(value, cupy.ufunc):
        return ufunc(value)
    if type(value).__name__ == "_GUFunc":
        return GENERALISED
    if isinstance(value, float):
        return f"number {value}"
    return parameters(value) if callable(value) else "value"


def members(cupy, name, owner):
    """name.member of a class -> dict."""
    found = {}
    for member in dir(owner):
        value = getattr(owner, member)
        if member.startswith("_"):
            continue
        call = callable(value) and not isinstance(value, owner)
        found[f"{name}.{member}"] = parameters(value, bound=True) if call else "value"
    return found


def names():
    """All public names of the installed CuPy that the emulator should know -> dict."""
    cupy = importlib.import_module("cupy")
    owners = {name: functools.reduce(getattr, name.split("."), cupy) for name in CLASSES}
    found = {}                        # after the classes, since CuPy loads some of them when asked
    for module in MODULES:
        owner = importlib.import_module(f"cupy.{module}" if module else "cupy")
        for short in dir(owner):
            value = getattr(owner, short)
            foreign = isinstance(value, types.ModuleType) and "cupy" not in value.__name__
            if short.startswith("_") or foreign or short == "annotations":
                continue
            if module != "cuda.runtime" or callable(value):       # not its 200 constants
                name = f"{module}.{short}".lstrip(".")
                found[name] = describe(cupy, name, value)
    for name, owner in owners.items():
        found |= members(cupy, name, owner)
    return dict(sorted(found.items()))


def build():
    """The text of cupy_names.json, one name a line."""
    cupy = importlib.import_module("cupy")
    table = {"cupy": cupy.__version__, "numpy": np.__version__, "names": names()}
    return json.dumps(table, indent=0, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    text = build()
    TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET}  {len(text)} bytes, {text.count(chr(10))} lines")
