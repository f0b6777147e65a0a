"""A text file as training reads it: its words numbered and counted, then the ids of the frequent
ones on disk.

One document a line, words between blanks, UTF-8, gunzipped where the name ends in .gz.  A few
megabytes of text are held at a time, and training maps the ids from the disk, so that the file may
be larger than memory.  Documents of more than LONGEST words are cut there.

    tokens.i32    ids of the known words, int32, one after another
    corpus.npz    words, counts and starts: written last, so that it vouches for both
"""
import os
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from primer.formats.files import LONGEST as LONGEST_WORD
from primer.formats.files import decoded, encoded, opened, replaced

LONGEST = 10_000                     # words of a document, as in gensim
PIECE = 1 << 22                      # bytes of text at a time
BLOCK = 1 << 20                      # numbers at a time
LINE_END = b"\0"


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


def number_words(path, target):
    """Write each word as a number, by first appearance, and the end of a line as 0, int32
    ->  the words as bytes, by their numbers from 1; how often each number was written."""
    numbers, counts = defaultdict(count().__next__), np.zeros(1, np.int64)
    numbers[LINE_END]
    with replaced(target) as file:
        for piece in pieces(path, "reading"):
            words = piece.replace(b"\n", b" %b " % LINE_END).split()
            ids = np.fromiter(map(numbers.__getitem__, words), np.int32, len(words))
            file.write(ids.tobytes())
            more = np.bincount(ids, minlength=len(numbers))           # (words so far,)
            more[:len(counts)] += counts
            counts = more
    return list(numbers)[1:], counts


def choose_words(path, words, counts, min_count):
    """The words that occur min_count times or more, frequent first, ties by first appearance, as
    chapter 6 counts them  ->  V str; (numbers,) the id of each number, or -1.

    Raises ValueError for less than two such words, words that are not UTF-8 or hold zero bytes.
    """
    if not words:
        raise ValueError(f"{path}: the corpus holds no word")
    own = counts[1:]                                                  # (words,)
    order = np.argsort(-own, kind="stable")
    kept = order[own[order] >= min_count]                             # (V,)
    if len(kept) < 2:
        most = decoded(words[order[0]], "replace", path)
        raise ValueError(f"{path}: {len(kept)} of its {len(words)} words occur {min_count} times "
                         f"or more, and two are needed; {most!r} occurs {own[order[0]]} times: "
                         "lower --min-count, or take a larger corpus")
    chosen = [decoded(words[i], "strict", path) for i in kept]
    for word in chosen:
        encoded(word)                # what no file could hold is an error now, not after training
    ids = np.full(len(counts), -1, np.int32)                          # (numbers,)
    ids[kept + 1] = np.arange(len(kept))
    return chosen, ids


def write_ids(numbered, ids, target):
    """Numbers of words become ids; the rare ones go  ->  starts (n + 1,) int64 of the documents."""
    numbers, total, ends = np.memmap(numbered, np.int32, "r"), 0, [np.zeros(1, np.int64)]
    with replaced(target) as file:
        for first in range(0, len(numbers), BLOCK):
            part = numbers[first:first + BLOCK]
            tokens = ids[part]
            known = tokens >= 0
            ends.append(total + np.cumsum(known)[part == 0])          # where lines end
            file.write(tokens[known].tobytes())
            total += np.count_nonzero(known)
    ends = np.unique(np.concatenate([*ends, [total]]))   # (n + 1,)  documents without words: none
    long = np.flatnonzero(np.diff(ends) > LONGEST)
    cuts = [np.arange(ends[i] + LONGEST, ends[i + 1], LONGEST) for i in long]
    return np.sort(np.concatenate([ends, *cuts]))        # (n + 1,)


def prepare(path, folder, min_count):
    """The corpus of a file, its ids in a folder; what is there already is used  ->  Corpus."""
    folder = Path(folder)
    whole, tokens, numbered = (folder / name for name in ("corpus.npz", "tokens.i32", "words.i32"))
    if not whole.exists():
        try:
            words, counts = number_words(path, numbered)
            words, ids = choose_words(path, words, counts, min_count)
            starts = write_ids(numbered, ids, tokens)
        finally:
            numbered.unlink(missing_ok=True)
        with replaced(whole) as file:
            np.savez(file, words=np.frombuffer("\n".join(words).encode(), np.uint8),
                     counts=np.sort(counts[1:])[::-1][:len(words)], starts=starts)
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
