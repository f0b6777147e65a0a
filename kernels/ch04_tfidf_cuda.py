"""CUDA twin of primer/ch04_tfidf.py: document frequencies, weights, unit rows.

Idea    entries are read and written in place: no array of row numbers (8 bytes an entry) and no
        temporaries.  A row is summed by a group of threads, as many as a row of mean length needs
        (4 to 32), with shuffles; its second reading comes from the cache.
Threads document_frequency: one an entry, integer atomics, so no order of threads shows.  The
        rest: a group of threads owns a row, reads neighbouring entries, and alone writes them.
Cost    tfidf: 36 bytes an entry, 4 to count its word, 12 to make its count a float64, 20 to weigh
        it (idf comes from the cache).  Memory bound, so float64, exact like the reference, costs
        no more than its bytes: 10^8 entries, 3.6 GB: 11 ms on a T4, 1.8 A100, 1.1 H100, 3.6
        RTX 4090.  Nearest to the other bound is the T4, with 1/32 of its units for float64: about
        9 ms for the divisions.  The bus carries 16 bytes an entry, 100 ms at 16 GB/s: the real
        bound of a call on NumPy arrays.
        document_frequency: 4 bytes an entry and an atomic; those of a word that stands everywhere
        queue up in the cache.  row_sums 8 bytes, weigh_columns 20, unit_rows 16.
Limits  unit_rows: sums in another order than the reference's, and entries times 1 / length: a few
        ulp.  The rest has its bits if the counts are integers.  tfidf waits for the device twice:
        idf is a Python function and needs the frequencies; it, and a term frequency other than
        raw or relative, run on the host.  n < 2^31 rows.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source
from primer.ch03_bow import CSR
from primer.ch04_tfidf import (
    idf_plain,
    idf_smooth,
    term_frequency_raw,
    term_frequency_relative,
)

MODULE = cp.RawModule(code=cuda_source("ch04_tfidf"), options=("-std=c++17",))
BLOCK = 256


def _rows(name, X, *arrays, flags=()):
    """Launch a kernel that gives each row a group of threads."""
    n, mean = X.shape[0], X.data.size / X.shape[0]
    lanes = next((size for size in (4, 8, 16) if mean <= size), 32)
    grid = (-(-n * lanes // BLOCK),)
    MODULE.get_function(name)(grid, (BLOCK,), (cp.asarray(X.indptr, cp.int64), *arrays,
                                               np.int32(n), np.int32(lanes), *flags))


def _on_device(X):
    """The entries as float64 (nnz,); the bus carries them in their own type."""
    return cp.asarray(X.data).astype(cp.float64, copy=False)


def _count(indices, columns):
    """Words on the device (nnz,) -> how often each stands there (V,) int32, on the device."""
    df = cp.zeros(columns, cp.int32)                                   # (V,)
    if indices.size:
        MODULE.get_function("document_frequency")(
            (-(-indices.size // BLOCK),), (BLOCK,), (indices, df, np.int64(indices.size)))
    return df


def document_frequency(X):
    return _count(cp.asarray(X.indices, cp.int32), X.shape[1]).get().astype(np.int64)


def row_sums(X):
    if not X.data.size:
        return np.zeros(X.shape[0])
    sums = cp.empty(X.shape[0], cp.float64)                            # (n,)
    _rows("row_sums", X, _on_device(X), sums)
    return sums.get()


def _weigh(X, indices, weight, divide):
    """Entries (over their row's sum if `divide`) times the weight of their column -> CSR."""
    if not X.data.size:
        return X._replace(data=np.empty(0))
    out = cp.empty(X.data.size, cp.float64)                            # (nnz,)
    _rows("weigh", X, indices, _on_device(X), cp.asarray(weight), out, flags=(np.int32(divide),))
    return X._replace(data=out.get())


def weigh_columns(X, weight):
    weight = np.asarray(weight, np.float64)                            # (V,)
    if weight.shape != (X.shape[1],):
        raise ValueError(f"weight: expected shape ({X.shape[1]},), got {weight.shape}")
    return _weigh(X, cp.asarray(X.indices, cp.int32), weight, False)


def tfidf(X, term_frequency=term_frequency_relative, idf=idf_plain):
    indices = cp.asarray(X.indices, cp.int32)                          # (nnz,)
    df = _count(indices, X.shape[1]).get().astype(np.int64)            # (V,)
    weight = np.asarray(idf(df, X.shape[0]), np.float64)               # (V,)
    relative = term_frequency is term_frequency_relative
    if not relative and term_frequency is not term_frequency_raw:
        X = term_frequency(X)
    return _weigh(X, indices, weight, relative)


def unit_rows(X):
    if not X.data.size:
        return X._replace(data=np.empty(0))
    out = cp.empty(X.data.size, cp.float64)                            # (nnz,)
    _rows("unit_rows", X, _on_device(X), out)
    return X._replace(data=out.get())


def _corpus(rng, n, V, length):
    """Counts of n made-up documents, words drawn as often as 1 / rank -> CSR (n, V)."""
    words = np.minimum(np.exp(rng.random(n * length) * np.log(V)) - 1, V - 1)      # (n length,)
    keys = np.repeat(np.arange(n), length) * V + words.astype(np.int64)
    keys, counts = np.unique(keys, return_counts=True)                 # (nnz,)
    indptr = np.searchsorted(keys, np.arange(n + 1) * V).astype(np.int64)
    return CSR(indptr, (keys % V).astype(np.int32), counts.astype(np.int32), (n, V))


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    X = _corpus(rng, 200 * scale, 400 + 100 * scale, 40)
    return {"document_frequency": (X,), "row_sums": (X,), "unit_rows": (X,),
            "weigh_columns": (X, rng.random(X.shape[1])),
            "tfidf": (X, term_frequency_relative, idf_smooth)}
