"""A text file as training reads it: its words counted in one pass, their ids on disk in a second.

One document a line, words between blanks, UTF-8, gunzipped where the name ends in .gz.  Neither
pass holds more than a few megabytes of text, and training maps the ids from the disk, so that the
file may be larger than memory.  Documents of more than LONGEST words are cut there.

    tokens.i32    ids of the known words, int32, one after another
    corpus.npz    words, counts and starts: written last, so that it vouches for both
"""
import os
from array import array
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from primer.formats.files import LONGEST as LONGEST_WORD
from primer.formats.files import decoded, encoded, opened, replaced

LONGEST = 10_000                     # words of a document, as in gensim
PIECE = 1 << 22                      # bytes of text at a time


class Corpus(NamedTuple):
    """words: V str, frequent first; counts: (V,); tokens: (T,) int32 ids, on the disk; starts:
    (n + 1,), document i is tokens[starts[i]:starts[i + 1]]."""

    words: list
    counts: np.ndarray
    tokens: np.ndarray
    starts: np.ndarray


def pieces(path, words):
    """Yield the file's bytes, cut between words, with a progress bar that says `words`."""
    total = None if str(path).endswith(".gz") else os.path.getsize(path)
    with opened(path) as file, tqdm(total=total, desc=words, unit="B", unit_scale=True, leave=False,
                                    disable=None) as bar:
        rest = b""
        while block := file.read(PIECE):
            bar.update(len(block))
            block = rest + block
            cut = max(map(block.rfind, (b" ", b"\n", b"\t", b"\r"))) + 1
            rest = block[cut:]
            if len(rest) > LONGEST_WORD:
                raise ValueError(f"{path}: a word of more than {LONGEST_WORD} bytes, "
                                 f"{rest[:20]!r}...; is it a text file?")
            yield block[:cut]
        yield rest


def count_words(path, min_count):
    """The words that occur min_count times or more, frequent first, ties by first appearance, as
    chapter 6 counts them  ->  V str, (V,) int64.

    Raises ValueError for less than two such words, words that are not UTF-8 or hold zero bytes.
    """
    counts = Counter()
    for piece in pieces(path, "counting words"):
        counts.update(piece.split())
    if not counts:
        raise ValueError(f"{path}: the corpus holds no word")
    kept = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: -counts[w])
    if len(kept) < 2:
        (most, n), = counts.most_common(1)
        raise ValueError(f"{path}: {len(kept)} of its {len(counts)} words occur {min_count} times "
                         f"or more, and two are needed; {decoded(most, 'replace', path)!r} occurs "
                         f"{n} times: lower --min-count, or take a larger corpus")
    words = [decoded(w, "strict", path) for w in kept]
    for word in words:
        encoded(word)                # what no file could hold is an error now, not after training
    return words, np.array([counts[w] for w in kept], np.int64)


def encode_file(path, words, target):
    """Write the ids of the known words as int32  ->  starts (n + 1,) int64 of the documents."""
    ids = {word.encode(): i for i, word in enumerate(words)}
    ends, total = array("q", [0]), 0
    with replaced(target) as file:
        for piece in pieces(path, "encoding"):
            found = []
            for number, line in enumerate(piece.split(b"\n")):
                if number:                               # a newline came before: a document ends
                    ends.append(total + len(found))
                found += [ids[w] for w in line.split() if w in ids]
            file.write(np.array(found, np.int32).tobytes())
            total += len(found)
    ends.append(total)
    ends = np.unique(np.array(ends, np.int64))           # (n + 1,)  documents without words: none
    long = np.flatnonzero(np.diff(ends) > LONGEST)
    cuts = [np.arange(ends[i] + LONGEST, ends[i + 1], LONGEST) for i in long]
    return np.sort(np.concatenate([ends, *cuts]))        # (n + 1,)


def prepare(path, folder, min_count):
    """The corpus of a file, its ids in a folder; what is there already is used  ->  Corpus."""
    folder = Path(folder)
    whole, tokens = folder / "corpus.npz", folder / "tokens.i32"
    if not whole.exists():
        words, counts = count_words(path, min_count)
        starts = encode_file(path, words, tokens)
        with replaced(whole) as file:
            np.savez(file, words=np.frombuffer("\n".join(words).encode(), np.uint8),
                     counts=counts, starts=starts)
    with np.load(whole, allow_pickle=False) as stored:
        words = stored["words"].tobytes().decode().split("\n")
        return Corpus(words, stored["counts"], np.memmap(tokens, np.int32, "r"), stored["starts"])


def runs(starts, size):
    """Cut documents into runs of about `size` words  ->  list of (first, stop) documents."""
    bounds, first = [], 0
    while first < len(starts) - 1:
        stop = int(np.searchsorted(starts, starts[first] + size, "right")) - 1
        bounds.append((first, max(stop, first + 1)))
        first = bounds[-1][1]
    return bounds
