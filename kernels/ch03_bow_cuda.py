r"""CUDA twin of primer/ch03_bow.py: bag of words straight from bytes, and products with X.

Idea    All documents go up as one array of UTF-8 bytes; no str is made per token.  A block finds
        the starts of the words in 1024 bytes, gathers them, and gives each thread one: it hashes
        its word, finds its slot in a table, and counts (document, slot) in a second one.  What is
        used of the tables is then gathered and sorted: words by first place give the numbers,
        pairs by (document, number) the rows of X.  A slot holds the place of a word in the text,
        and words are compared there: no collision of hashes can merge two.  Documents that are
        not ASCII are lowered by Python first (its rules are Unicode's), and their letters told by
        a table of all code points.
Threads Many want one slot: atomicCAS from free decides, and a slot once taken keeps its word (its
        key), so a thread that walks on passes only words that differ.  The first place comes from
        atomicMin on the slot, counts from atomicAdd.  A plain look before each (past the first
        cache) saves most atomics: it may be stale, never wrong.  What lists the tables' entries
        does so in any order; the sorts undo that: the result does not depend on the threads.
Cost    bag_of_words, B bytes of text, W words, nnz entries: tables of 12 B bytes cleared and read
        once (24 B); a word touches 6 sectors at random (192 W bytes); the sort of the entries moves
        256 nnz, the rest 60 nnz bytes; the text itself, 2 B, is least.  English has W = B / 6,
        nnz = B / 10: 90 B bytes, memory bounds it.  B = 100 MB: 9 GB, on T4 28 ms, A100 4.4 ms,
        H100 2.7 ms, RTX 4090 9 ms; the way up over PCIe (25 GB/s) is 4 ms, down 3 ms.
        csr_dot: 16 bytes an entry (count, index, w; 20 if data is float64) for 2 flops in float64:
        memory bounds it.  nnz = 10^7: 0.16 GB, on T4 0.5 ms, A100 0.08 ms, H100 0.05 ms, RTX 4090
        0.16 ms.
        Text, tables when listed, entries and rows are read side by side; tables when looked up, and
        w, are not: that is what a hash table and a gather are.
Limits  texts and vocabulary under 2 GB together; tables take 12 bytes a byte of text, sized for the
        most words that there can be, so they never fill up.  A word is read by one thread: one of
        many kilobytes is slow.  Two waits a call: for the sizes, for the result; csr_dot: one.
"""
import functools
from itertools import chain

import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch03_bow import CSR, check_documents, check_vocabulary

MODULE = cp.RawModule(code=cuda_source("ch03_bow"), options=("-std=c++17",))
THREADS, BYTES = 256, 1024            # of a block; the bytes of text that it reads
LIMIT = 2**31 - 2 * BYTES             # places in the text are 32-bit numbers
FREE, NO_PAIR = np.int32(2**31 - 1), np.uint64(2**64 - 1)


@functools.cache
def _letters():
    """Is a code point a word character?  A bit each, Python's own answer -> (0x8800,) uint32."""
    bits = [chr(c).isalnum() or c == ord("_") for c in range(0x110000)]
    return np.packbits(bits, bitorder="little").view(np.uint32)


def _launch(name, threads, *arguments):
    MODULE.get_function(name)((-(-threads // THREADS),), (THREADS,), arguments)


def bag_of_words(documents):
    documents = check_documents(documents)
    text, letters, bounds, first = _upload(documents)
    slots = _slots((text.size - first) // 2)      # a word has a letter at least, and a gap behind
    table = cp.full(slots, FREE, np.int32)                                        # (slots,)
    pairs, sizes = _count(text, letters, bounds, first, table, grow=True)
    V, length, nnz, _ = sizes.get().tolist()                                      # the first wait
    if not V:
        return {}, _empty(len(documents), 0)
    order, lengths = cp.empty(V, np.int64), cp.empty(V, np.int32)                 # (V,)
    _launch("list_words", slots, table, np.int32(slots), sizes[3:], order)
    order.sort()
    _launch("name_words", V, text, letters, order, np.int32(V), table, lengths)
    ends = cp.cumsum(lengths, dtype=np.int32)                                     # (V,)
    out = cp.empty(8 * (len(documents) + 1) + 8 * nnz + length, np.uint8)         # (bytes,)
    _launch("copy_words", 8 * V, text, order, ends, np.int32(V), out[-length:])
    X, names = _result(out, pairs, table, (len(documents), V), nnz)
    return {word: i for i, word in enumerate(names.tobytes().decode().split("\n")[:-1])}, X


def count_matrix(documents, vocabulary):
    documents, vocabulary = check_documents(documents), check_vocabulary(vocabulary)
    text, letters, bounds, first = _upload(documents, vocabulary)
    V = len(vocabulary)
    slots = _slots(2 * V)                         # a third is taken: strangers find a gap soon
    table, ids = cp.full(slots, FREE, np.int32), cp.empty(slots, np.int32)        # (slots,)
    if V:
        numbers = cp.asarray(np.fromiter(vocabulary.values(), np.int32, V))       # (V,)
        _launch("add_vocabulary", V, text, letters, bounds, numbers, np.int32(V), table,
                np.int32(slots), ids)
    pairs, sizes = _count(text, letters, bounds[V:], first, table, grow=False)
    nnz = sizes.get().tolist()[2]                                                 # the first wait
    if not nnz:
        return _empty(len(documents), V)
    out = cp.empty(8 * (len(documents) + 1) + 8 * nnz, np.uint8)                  # (bytes,)
    return _result(out, pairs, ids, (len(documents), V), nnz)[0]


def _upload(documents, vocabulary=()):
    """The words of a vocabulary and the documents, a line feed after each and one in front.

    -> text (bytes,) uint8, letters, bounds of each (V + n + 1,) int32, the documents' first.
    """
    parts = chain((word if isinstance(word, str) else "" for word in vocabulary),
                  (d if d.isascii() else d.lower() for d in documents))
    parts = [part.encode("utf-8", "surrogatepass") for part in parts]
    bounds = np.cumsum([1, *(len(part) + 1 for part in parts)], dtype=np.int64)   # (V + n + 1,)
    if bounds[-1] > LIMIT:
        raise ValueError(f"documents: expected at most {LIMIT} bytes of UTF-8, the vocabulary's "
                         f"too, got {bounds[-1]}; count them in parts")
    text = b"\n".join([b"", *parts, b""])
    letters = np.zeros(1, np.uint32) if text.isascii() else _letters()
    return (cp.asarray(np.frombuffer(text, np.uint8)), cp.asarray(letters),
            cp.asarray(bounds.astype(np.int32)), int(bounds[len(parts) - len(documents)]))


def _slots(most):
    """Size of a table for at most that many entries: two thirds are taken in the worst case."""
    return most + most // 2 + 1


def _count(text, letters, starts, first, table, grow):
    """Count the words -> pairs: keys, counts (slots,); sizes: new words, their bytes, pairs."""
    slots, sizes = _slots((text.size - first) // 2), cp.zeros(4, np.int32)        # (4,)
    pairs = cp.full(slots, NO_PAIR, np.uint64), cp.zeros(slots, np.int32)         # (slots,) each
    blocks = -(-text.size // BYTES) - first // BYTES
    MODULE.get_function("count_words")((blocks,), (THREADS,), (
        text, letters, starts, np.int32(starts.size - 1), table, np.int32(table.size),
        np.int32(grow), *pairs, np.uint32(slots), sizes))
    return pairs, sizes


def _result(out, pairs, ids, shape, nnz):
    """Sort the pairs into rows, and fetch them -> CSR, what else stands in the buffer `out`."""
    (keys, counts), n = pairs, shape[0]
    entries, entry_counts = cp.empty(nnz, np.int64), cp.empty(nnz, np.int32)      # (nnz,)
    _launch("list_pairs", keys.size, keys, counts, np.uint32(keys.size), ids,
            cp.zeros(1, np.int32), entries, entry_counts)
    _launch("fill_rows", max(nnz, n + 1), entries, entry_counts, cp.argsort(entries),
            np.int32(nnz), np.int32(n), *_split(out, n, nnz)[:3])
    indptr, indices, data, rest = _split(out.get(), n, nnz)                       # the second wait
    return CSR(indptr, indices, data, shape), rest


def _split(buffer, n, nnz):
    """Views of one buffer, here or there: indptr (n + 1,), indices (nnz,), data (nnz,), rest."""
    a, b, c = 8 * (n + 1), 8 * (n + 1) + 4 * nnz, 8 * (n + 1) + 8 * nnz
    return (buffer[:a].view(np.int64), buffer[a:b].view(np.int32), buffer[b:c].view(np.int32),
            buffer[c:])


def _empty(n, V):
    """No entry at all -> CSR (n, V)."""
    return CSR(np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), (n, V))


def csr_dot(X, w):
    w = np.asarray(w, np.float64)                                                 # (V,)
    if w.shape != (X.shape[1],):
        raise ValueError(f"w: expected shape ({X.shape[1]},), got {w.shape}")
    n, counts = X.shape[0], X.data.dtype == np.int32
    if not X.data.size:
        return np.zeros(n)                                                        # (n,)
    out = cp.empty(n, np.float64)                                                 # (n,)
    _launch("csr_dot_counts" if counts else "csr_dot_weights", 32 * n,
            cp.asarray(np.asarray(X.indptr, np.int64)), cp.asarray(np.asarray(X.indices, np.int32)),
            cp.asarray(X.data if counts else X.data.astype(np.float64)), cp.asarray(w),
            np.int32(n), out)
    return out.get()


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    n, V = 40 * scale, 200 + 50 * scale
    lexicon = np.array([f"{'Wörd' if i % 40 == 7 else 'Word'}{i * 7919 % V}" for i in range(V)])
    drawn = lexicon[(V ** rng.random((n, 40))).astype(int)]                        # (n, 40)
    documents = [", ".join(row) for row in drawn.tolist()]
    vocabulary = {word.lower(): i for i, word in enumerate(lexicon[::2].tolist())}
    indptr = np.arange(n + 1, dtype=np.int64) * 40                                # (n + 1,)
    columns = rng.integers(0, V // 40, (n, 40), np.int32) + np.arange(40) * (V // 40)  # (n, 40)
    X = CSR(indptr, columns.astype(np.int32).ravel(), rng.integers(1, 9, 40 * n, np.int32), (n, V))
    return {"bag_of_words": (documents,), "count_matrix": (documents, vocabulary),
            "csr_dot": (X, rng.standard_normal(V)),
            "csr_dot, weights": (X._replace(data=X.data * 0.5), rng.standard_normal(V))}
