r"""Numba twin of primer/ch03_bow.py: bag of words straight from bytes, and products with X.

Idea    one pass over the UTF-8 bytes: fold to lower case by a table of 256, hash, look up, count.
        No str object is made per token (10 million of them cost the reference most of its time),
        only one per distinct word at the end.  A word of up to eight bytes is its own key, so
        the look-up compares no bytes; longer ones are hashed and compared.  A word was met in
        this document if the place of its last entry lies behind the start of the row, so rows
        need no clearing.  Documents that are not ASCII are lowered by Python first (its rules
        are Unicode's) and their letters are told by a table of all code points.
Threads each thread owns a run of documents and a hash table (nogil); the tables are joined in
        the order of the documents, which gives the ids of first appearance.
Limits  a corpus is copied to bytes block by block (4 MB): beside it only the result is stored,
        up to twice, while the threads' parts are joined.
"""
import functools

import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from primer.ch03_bow import CSR, check_documents, check_vocabulary

BLOCK = 1 << 22                       # bytes that are read at a time
BEYOND = np.uint8(255)                # fold[b] of a byte that is not ASCII
LONG = np.uint64(1 << 63)             # marks the key of a word that must be compared by bytes
GOLDEN, PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x100000001B3)    # Fibonacci; FNV-1a
ZERO, ONE, EIGHT, TWENTY = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(20)
THIRTY_TWO, SIXTY_FOUR, LOW = np.uint64(32), np.uint64(64), np.uint64(0xFFFFFFFF)


@functools.cache
def _letters():
    """Is a code point a word character?  Python's own answer for each -> (0x110000,) uint8."""
    return np.array([chr(c).isalnum() or c == ord("_") for c in range(0x110000)], np.uint8)


@functools.cache
def _fold():
    """Lower case of each ASCII word character, 0 for what separates, BEYOND beyond -> (256,)."""
    word = [ord(chr(c).lower()) if chr(c).isalnum() or chr(c) == "_" else 0 for c in range(128)]
    return np.array(word + 128 * [BEYOND], np.uint8)


@njit(nogil=True, cache=True)
def _letter_at(text, i, stop, letters):
    """Decode the code point at byte i -> its number of bytes if it is a word character, else 0
    minus that number."""
    b = np.int64(text[i])
    size = 2 if b < 0xE0 else (3 if b < 0xF0 else 4)
    code = b & (0x7F >> size)
    for j in range(i + 1, min(i + size, stop)):
        code = (code << 6) | (np.int64(text[j]) & 0x3F)
    return size if letters[code] == 1 else -size


@njit(nogil=True, cache=True)
def _same_word(word, words, ends, text, start, stop, fold):
    """Is word number `word` the bytes text[start:stop]?  Asked only for words of over 8 bytes."""
    begin = ends[word - 1] + 1 if word else 0
    if ends[word] - begin != stop - start:
        return False
    for j in range(stop - start):
        b = text[start + j]
        if words[begin + j] != (fold[b] if b < 128 else b):
            return False
    return True


@njit(inline="always")
def _slot_of(table, key, words, ends, text, start, stop, fold):
    """The row of the table that holds the word text[start:stop], or the free one for it."""
    mask = np.uint64(table.shape[0] - 1)
    slot = (key * GOLDEN >> TWENTY) & mask
    while table[slot, 0] and (table[slot, 0] != key or key >= LONG and not _same_word(
            np.int64(table[slot, 1] & LOW), words, ends, text, start, stop, fold)):
        slot = (slot + ONE) & mask
    return slot


@njit(nogil=True, cache=True)
def _add_word(words, ends, n_words, begin, text, start, stop, fold):
    """Append the bytes text[start:stop], lowered, and a line feed."""
    for j in range(stop - start):
        b = text[start + j]
        words[begin + j] = fold[b] if b < 128 else b
    ends[n_words] = begin + stop - start
    words[ends[n_words]] = 10


@njit(nogil=True, cache=True)
def _rehash(table, out):
    """Every word of the table in its place in `out`, which has more rows."""
    mask = np.uint64(out.shape[0] - 1)
    for old in range(table.shape[0]):
        if table[old, 0]:
            slot = (table[old, 0] * GOLDEN >> TWENTY) & mask
            while out[slot, 0]:
                slot = (slot + ONE) & mask
            out[slot, 0], out[slot, 1] = table[old, 0], table[old, 1]


@njit(inline="always")
def _count_word(slot, row, n, first, table, indices, counts):
    """One more of the word in this document -> the number of entries after that."""
    last = np.int64(table[slot, 1] >> THIRTY_TWO) - 1
    if last >= row:                                    # met in this document
        counts[last - first] += 1
        return n
    indices[n - first], counts[n - first] = np.int32(table[slot, 1] & LOW), 1
    table[slot, 1] = (np.uint64(n + 1) << THIRTY_TWO) | (table[slot, 1] & LOW)
    return n + 1


@njit(nogil=True, cache=True)
def _count(text, starts, fold, letters, at, table, words, ends, indices, counts, lengths):
    """Count the words of the documents text[starts[d]:starts[d + 1]]; `_run` explains the rest.
    -> False when a table is full: make room and call again."""
    d, i, row, n_words, n, first = at[0], at[1], at[2], at[3], at[4], at[5]
    while d < starts.size - 1:
        start, key, shift = i, ZERO, ZERO
        while i < starts[d + 1]:
            c, size = fold[text[i]], 1
            if c == BEYOND:
                size = _letter_at(text, i, starts[d + 1], letters)
                for j in range(i, i + size):           # (empty if it separates: size < 0)
                    b = np.uint64(text[j])
                    key = key | b << shift if shift < SIXTY_FOUR else (key ^ b) * PRIME | LONG
                    shift = min(shift + EIGHT, SIXTY_FOUR)
            elif c and shift < SIXTY_FOUR:
                key |= np.uint64(c) << shift
                shift += EIGHT
            elif c:
                key = (key ^ np.uint64(c)) * PRIME | LONG
            if c and size > 0:                         # inside a word
                i += size
                continue
            if shift:                                  # the word text[start:i] is complete
                slot = _slot_of(table, key, words, ends, text, start, i, fold)
                if not table[slot, 0]:                 # a new one
                    begin = ends[n_words - 1] + 1 if n_words else 0
                    if (n_words == ends.size or 2 * n_words >= table.shape[0]
                            or begin + i - start >= words.size):
                        at[:] = np.array((d, start, row, n_words, n, first, i - start))
                        return False
                    _add_word(words, ends, n_words, begin, text, start, i, fold)
                    table[slot, 0], table[slot, 1] = key, np.uint64(n_words)
                    n_words += 1
                n = _count_word(slot, row, n, first, table, indices, counts)
            i += abs(size)
            start, key, shift = i, ZERO, ZERO
        lengths[d], row, d = n - row, n, d + 1
    at[:] = np.array((0, 0, n, n_words, n, n, 0))
    return True


@njit(nogil=True, cache=True)
def _place(ids, counts, rename, columns, indptr, indices, data):
    """Write a block's rows into X with new column numbers, rising in each row.

    Two counting sorts, by column and then by row: linear, where sorting each row is not.
    """
    at = np.zeros(columns + 1, np.int64)
    for e in range(ids.size):
        at[rename[ids[e]] + 1] += 1
    for c in range(columns):
        at[c + 1] += at[c]
    rows, by_column = np.empty(ids.size, np.int32), np.empty(ids.size, np.int64)
    for row in range(indptr.size - 1):
        for e in range(indptr[row] - indptr[0], indptr[row + 1] - indptr[0]):
            c = rename[ids[e]]
            rows[at[c]], by_column[at[c]] = row, np.int64(c) << 32 | counts[e]
            at[c] += 1
    free = indptr[:-1].copy()
    for p in range(ids.size):
        e = free[rows[p]]
        indices[e], data[e] = by_column[p] >> 32, by_column[p] & 0xFFFFFFFF
        free[rows[p]] += 1


def _room(at, table, words, ends):
    """Make room for words where less than half of an array is left (of the table: a quarter)."""
    n_words = at[3]
    if 4 * n_words >= table.shape[0]:
        bigger = np.zeros((2 * table.shape[0], 2), np.uint64)
        _rehash(table, bigger)
        table = bigger
    if 2 * n_words >= ends.size:
        ends = np.concatenate([ends, np.empty_like(ends)])
    while 2 * ((ends[n_words - 1] if n_words else 0) + at[6]) >= words.size:
        words = np.concatenate([words, np.empty_like(words)])
    return at, table, words, ends


def _blocks(documents):
    """Runs of documents as bytes, a line feed after each -> bytes, start of each, all ASCII?"""
    first = 0
    while first < len(documents):
        block, size, is_ascii = [], 0, True
        while first < len(documents) and size < BLOCK:
            document = documents[first]
            if not document.isascii():
                document, is_ascii = document.lower(), False
            block.append(document.encode("utf-8", "surrogatepass"))
            size += len(document)
            first += 1
        starts = np.cumsum([0, *(len(b) + 1 for b in block)], dtype=np.int64)
        yield np.frombuffer(b"\n".join([*block, b""]), np.uint8), starts, is_ascii


def _run(documents):
    """Count one thread's documents -> words (list of str), blocks (entries of each row, ids,
    counts).

    table: (slots, 2), a word's key and (its last entry + 1) << 32 | id, entries numbered from the
    first block on; words: bytes of all words, a line feed after each; ends: of each therein.
    at: document, byte, first entry of the document, words, entries so far, first entry of the
    block, bytes of the word at hand.
    """
    state = (np.zeros(7, np.int64), np.zeros((1 << 14, 2), np.uint64), np.empty(1 << 16, np.uint8),
             np.empty(1 << 12, np.int64))
    blocks, indices, counts = [], np.empty(0, np.int32), np.empty(0, np.int32)
    for text, starts, is_ascii in _blocks(documents):
        if indices.size < text.size // 2 + 1:
            indices, counts = np.empty((2, text.size // 2 + 1), np.int32)
        lengths = np.empty(starts.size - 1, np.int64)
        letters = np.empty(0, np.uint8) if is_ascii else _letters()
        while not _count(text, starts, _fold(), letters, *state, indices, counts, lengths):
            state = _room(*state)
        n = lengths.sum()
        blocks.append((lengths, indices[:n].copy(), counts[:n].copy()))
    at, _, words, ends = state
    text = words[:ends[at[3] - 1]].tobytes().decode() if at[3] else ""
    return text.split("\n") if at[3] else [], blocks


def bag_of_words(documents):
    vocabulary = {}
    return vocabulary, _matrix(check_documents(documents), vocabulary, grow=True)


def count_matrix(documents, vocabulary):
    return _matrix(check_documents(documents), check_vocabulary(vocabulary), grow=False)


def _only_known(block, rename):
    """A block without the words that are not to be counted (rename < 0)."""
    lengths, ids, counts = block
    known = rename[ids] >= 0
    upto = np.concatenate([[0], np.cumsum(known)])
    return np.diff(upto[np.concatenate([[0], np.cumsum(lengths)])]), ids[known], counts[known]


def _matrix(documents, vocabulary, grow):
    """Counts of the documents; new words enter the vocabulary if it may grow -> CSR (n, V)."""
    bounds = shares([len(d) + 1 for d in documents], numba.get_num_threads())
    parts = in_threads(_run, [documents[a:b] for a, b in zip(bounds, bounds[1:], strict=False)])
    blocks = []
    for words, own in parts:
        if grow:
            rename = [vocabulary.setdefault(word, len(vocabulary)) for word in words]
        else:
            rename = [vocabulary.get(word, -1) for word in words]
        rename = np.array(rename, np.int32)
        blocks += [(rename, *(block if grow else _only_known(block, rename))) for block in own]
    indptr = np.cumsum(np.concatenate([[0], *(lengths for _, lengths, _, _ in blocks)]))
    indices, data = np.empty((2, indptr[-1]), np.int32)
    rows = np.cumsum([0, *(lengths.size for _, lengths, _, _ in blocks)])

    def place(b):
        rename, _, ids, counts = blocks[b]
        own = indptr[rows[b]:rows[b + 1] + 1]
        _place(ids, counts, rename, len(vocabulary), own, indices, data)

    in_threads(place, range(len(blocks)))
    return CSR(indptr, indices, data, (len(documents), len(vocabulary)))


@njit(parallel=True, cache=True)
def _csr_dot(indptr, indices, data, w):
    out = np.empty(indptr.size - 1)
    for row in numba.prange(indptr.size - 1):
        total = 0.0
        for j in range(indptr[row], indptr[row + 1]):
            total += data[j] * w[indices[j]]
        out[row] = total
    return out


def csr_dot(X, w):
    w = np.asarray(w, np.float64)                                      # (V,)
    if w.shape != (X.shape[1],):
        raise ValueError(f"w: expected shape ({X.shape[1]},), got {w.shape}")
    return _csr_dot(X.indptr, X.indices, X.data, w)
