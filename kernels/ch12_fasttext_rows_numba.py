"""Numba twin of primer/ch12_fasttext.py, the part about strings: n-grams, hashes, lists of rows.

Idea    A hash goes on from the shorter n-gram's: one step a byte, not one pass an n-gram.  Each
        word is hashed once, however often it stands in the texts; texts copy its buckets.
Threads one.  There is no race.
Limits  All words' n-grams lie in memory at the same time: 8 bytes each.
"""
import numpy as np
from numba import njit

from primer.ch12_fasttext import END_OF_LINE, NUMBER
from primer.ch12_fasttext import text_rows as _check

FAST = {"nogil": True, "cache": True}


@njit(**FAST)
def _mix(number, byte):
    return np.uint32((number ^ np.uint32(np.int8(byte))) * np.uint32(16777619))


@njit(**FAST)
def _ngrams(text, ends, plain, minn, maxn, bucket, grams, sizes, hashes):
    """Buckets of the n-grams of words, "<" and ">" around each, end to end in `text`."""
    at, first = 0, 0
    for w in range(ends.size):
        stop, before = ends[w], at
        number = np.uint32(2166136261)
        for p in range(first + 1, stop - 1):
            number = _mix(number, text[p])
        hashes[w] = np.int32(number)
        for i in range(first, stop if plain[w] else first):
            if i > first and text[i] & 0xC0 == 0x80:
                continue                                 # in the middle of a letter
            number, n, p = np.uint32(2166136261), 0, i
            while p < stop and n < maxn:
                number = _mix(number, text[p])
                p += 1
                if p < stop and text[p] & 0xC0 == 0x80:
                    continue
                n += 1
                if n >= minn and not (n == 1 and (i == first or p == stop)):
                    grams[at] = number % np.uint32(bucket)
                    at += 1
        sizes[w], first = at - before, stop


@njit(**FAST)
def _text_rows(ids, starts, own, grams, ends, hashes, V, bucket, n, rows, indptr):
    """Rows of texts of words `ids`, each with an own row or -1, and n-grams."""
    at = 0
    for text in range(starts.size - 1):
        first, stop = starts[text], starts[text + 1]
        for w in ids[first:stop]:
            rows[at] = own[w]
            at += own[w] >= 0
        for w in ids[first:stop]:
            for q in range(ends[w], ends[w + 1]):
                rows[at] = V + grams[q]
                at += 1
        for p in range(first, stop):
            mixed = np.uint64(hashes[ids[p]])
            for q in range(p + 1, min(p + n, stop)):
                mixed = mixed * np.uint64(NUMBER) + np.uint64(hashes[ids[q]])
                rows[at] = V + np.int64(mixed % np.uint64(bucket))
                at += 1
        indptr[text + 1] = at


def text_rows(texts, vocabulary, minn=0, maxn=0, bucket=0, word_ngrams=1):
    _check([], vocabulary, minn, maxn, bucket, word_ngrams)
    seen, bucket = {}, max(bucket, 1)
    ids = np.array([seen.setdefault(w, len(seen)) for words in texts for w in words], np.int64)
    pieces = [f"<{w}>".encode("utf-8", "surrogateescape") for w in seen]
    text, ends = np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces)])[1:]
    plain = np.array([w != END_OF_LINE for w in seen], np.bool_)
    own = np.array([vocabulary.get(w, -1) for w in seen], np.int64)
    grams = np.empty(max(maxn - max(minn, 1) + 1, 0) * text.size, np.int64)
    sizes, hashes = np.empty(len(seen), np.int64), np.empty(len(seen), np.int32)
    _ngrams(text, ends, plain, minn, maxn, bucket, grams, sizes, hashes)
    most = len(ids) * max(word_ngrams, 1) + sizes[ids].sum()
    indptr, rows = np.zeros(len(texts) + 1, np.int64), np.empty(most + 1, np.int32)
    _text_rows(ids, np.cumsum([0, *map(len, texts)], dtype=np.int64), own, grams,
               np.append(0, np.cumsum(sizes)), hashes, len(vocabulary), bucket, word_ngrams, rows,
               indptr)
    return indptr, rows[:indptr[-1]].copy()                            # (n + 1,), (total,)


def subword_rows(words, minn=3, maxn=6, bucket=2_000_000):
    return text_rows([[w] for w in words], {w: i for i, w in enumerate(words)}, minn, maxn, bucket)
