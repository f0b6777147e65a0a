"""The corpus of the benchmarks of chapters 3 to 5: 100,000 documents, 10 million real words.

Windows of consecutive words, drawn with a seed from the State of the Union addresses: the words,
their frequencies and neighbours are real, the documents overlap.
"""
import re

import numpy as np

from primer import data


def corpus(n=100_000, words=105, seed=0):
    """n windows of words // 2 to 3 * words // 2 words -> list of n str."""
    text = " ".join(data.sotu_paragraphs()[0]).split()
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(text) - 2 * words, n)                # (n,)
    lengths = rng.integers(words // 2, 3 * words // 2 + 1, n)         # (n,)
    return [" ".join(text[a:a + k]) for a, k in zip(starts, lengths, strict=True)]


def corpus_file(words=10_000_000):
    """The documents of `corpus` as a file, one a line: words between spaces -> Path."""
    path = data.cache() / f"corpus-{words}.txt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (" ".join(re.findall(r"\w+", d.lower())) for d in corpus(words // 105))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
