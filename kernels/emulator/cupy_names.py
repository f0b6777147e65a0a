"""The frozen table of CuPy's names (cupy_names.json), read: what exists, and how it is called.

CuPy itself is not needed.  tests/makers/cupy_names.py makes the table and says what its words mean.
"""
import functools
import inspect
import json
from pathlib import Path

_TABLE = json.loads(Path(__file__).with_name("cupy_names.json").read_text(encoding="utf-8"))
VERSION, NUMPY_VERSION, NAMES = _TABLE["cupy"], _TABLE["numpy"], _TABLE["names"]
UFUNC_KEYWORDS = ("out=", "dtype=", "casting=")                # `where` is not among them
UFUNC_METHODS = {"at": "(a, indices, b=)", "outer": "(A, B, **kwargs)",
                 "reduce": "(array, axis=, dtype=, out=, keepdims=)",
                 "accumulate": "(array, axis=, dtype=, out=)",
                 "reduceat": "(array, indices, axis=, dtype=, out=)"}
LISTED = {name.rpartition(".")[0] for name in NAMES}           # owners whose members are known


def words_of(name):
    """The words of a name's line -> list of str, empty if CuPy lacks it.  "add" -> [ufunc, ...]."""
    return NAMES.get(name, "").partition(" (")[0].split() if name else []


def exists(name):
    """Does CuPy have `name`, such as "linalg.norm" or "add.at"?  -> bool, or None: unknown."""
    owner, _, member = name.rpartition(".")
    if name in NAMES:
        return True
    kind = words_of(owner)
    if kind[:1] == ["ufunc"]:
        return member in kind[3:] or member in ("nin", "nout", "nargs", "types", "__name__")
    if owner in LISTED:
        return False
    return False if not exists(owner) else None


def _parameter(word, position_only, keyword_only):
    """One `axis=` -> inspect.Parameter."""
    P = inspect.Parameter
    kind = (P.VAR_KEYWORD if word.startswith("**") else P.VAR_POSITIONAL if word.startswith("*")
            else P.KEYWORD_ONLY if keyword_only
            else P.POSITIONAL_ONLY if position_only else P.POSITIONAL_OR_KEYWORD)
    default = ... if word.endswith("=") else P.empty
    return P(word.strip("*="), kind, default=default)


def _parsed(text, position_only=0):
    """"(a, axis=, *, out=)" -> inspect.Signature; the first `position_only` take no keyword."""
    parameters, star = [], False
    for i, word in enumerate(w for w in text.strip("()").split(", ") if w):
        if word != "*":
            parameters.append(_parameter(word, i < position_only, star))
        star |= word.startswith("*")
    return inspect.Signature(parameters)


@functools.cache
def signature(name):
    """How `name` is called -> inspect.Signature, or None for what is not called, or not known."""
    owner, _, member = name.rpartition(".")
    kind = words_of(name)
    if kind[:1] == ["ufunc"]:
        inputs, outputs = int(kind[1]), int(kind[2])
        places = [f"in{i}" for i in range(inputs)] + [f"out{i}=" for i in range(outputs)]
        return _parsed(f"({', '.join([*places, '*', *UFUNC_KEYWORDS])})", inputs + outputs)
    if words_of(owner)[:1] == ["ufunc"] and member in words_of(owner):
        return _parsed(UFUNC_METHODS[member])
    text = NAMES.get(name, "").removeprefix("class ")
    return _parsed(text) if text.startswith("(") else None


def bind(name, arguments, keywords):
    """The call as CuPy would take it -> inspect.BoundArguments.  TypeError if CuPy refuses it."""
    try:
        return signature(name).bind(*arguments, **keywords)
    except TypeError as error:
        raise TypeError(f"cupy.{name}{_in_words(name)}: {error}") from None


def _in_words(name):
    """The signature for a message -> str."""
    return str(signature(name)).replace("=Ellipsis", "=...")
