"""The text's numbers against ours: one file a chapter, a list CLAIMS in each.

A claim says what the text says and how to recompute it; the verdict follows from the two, except
that numbers which the text itself calls hypothetical are "illustrative".
"""
import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Claim:
    """One number, table or statement of the text that can be recomputed.

    line      line of the text
    claim     what it is about, in our words
    text      what the text says: a number, a list, or a short statement
    compute   function without arguments -> what is right
    digits    decimals that the text prints, for comparing numbers
    """

    line: int
    claim: str
    text: object
    compute: object
    digits: int = 9
    note: str = ""
    illustrative: bool = False

    def row(self, chapter):
        """-> dict with the keys chapter, line, claim, text, computed, verdict, note."""
        computed = self.compute()
        if self.illustrative:
            verdict = "illustrative"
        else:
            verdict = "right" if _agree(self.text, computed, self.digits) else "wrong"
        return {"chapter": chapter, "line": self.line, "claim": self.claim, "text": self.text,
                "computed": _plain(computed), "verdict": verdict, "note": self.note}


def _plain(value):
    """JSON's types: NumPy numbers and arrays become Python's, rounded to 6 decimals."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value


def _agree(text, computed, digits):
    """Equal, where numbers may differ by half a unit of the last decimal that the text prints."""
    if isinstance(text, list | tuple):
        computed = list(computed)
        return len(text) == len(computed) and all(
            _agree(t, c, digits) for t, c in zip(text, computed, strict=True))
    if isinstance(text, int | float) and isinstance(computed, int | float | np.number):
        return abs(text - computed) <= 0.5 * 10.0 ** -digits * (1 + 1e-9)
    return text == computed


def chapters():
    """Names of the chapters that have claims, in order -> list of str."""
    return sorted(p.stem for p in Path(__file__).parent.glob("ch*.py"))


def rows(number=None):
    """The recomputed claims of one chapter (its number) or of all -> list of dicts."""
    out = []
    for name in chapters():
        chapter = int(name[2:4])
        if number is None or chapter == number:
            module = importlib.import_module(f"primer.claims.{name}")
            out += [claim.row(chapter) for claim in module.CLAIMS]
    return out


def short(value, width=60):
    """A value on one line, cut -> str."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= width else text[:width - 3] + "..."
