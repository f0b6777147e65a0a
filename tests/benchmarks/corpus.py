"""The corpus of the benchmarks of chapters 3 to 5: 100,000 documents, 10 million real words.

Windows of consecutive words, drawn with a seed from the State of the Union addresses: the words,
their frequencies and neighbours are real, the documents overlap.
"""
import tempfile
from pathlib import Path

import numpy as np

from primer import data
from primer.ch03_bow import tokenize


def corpus(n=100_000, words=105, seed=0):
    """n windows of words // 2 to 3 * words // 2 words -> list of n str."""
    text = " ".join(data.sotu_paragraphs()[0]).split()
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(text) - 2 * words, n)                # (n,)
    lengths = rng.integers(words // 2, 3 * words // 2 + 1, n)         # (n,)
    return [" ".join(text[a:a + k]) for a, k in zip(starts, lengths, strict=True)]


def corpus_file(words=10_000_000):
    """The same as a file of chapter 3's tokens, a document a line, made once -> Path."""
    path = Path(tempfile.gettempdir()) / f"primer-benchmark-{words}.txt"
    if not path.exists():
        lines = (" ".join(tokenize(d)) for d in corpus(max(words // 105, 1)))
        path.with_suffix(".part").write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.with_suffix(".part").replace(path)
    return path
