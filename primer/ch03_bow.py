r"""Chapter 3. Bag of words: a document is the multiset of its words, a vector of counts.

    tokens(d)  = maximal runs of word characters of lower(d), in order           (3.1)
    V          = (w_1, ..., w_V): the distinct tokens, by first appearance       (3.2)
    x_d        = ( c(w_1, d), ..., c(w_V, d) ),  c = number of occurrences       (3.3)
    X          = the rows x_d; almost all zero, so only the rest is kept (CSR)   (3.4)

Symbols     n documents, V words in the vocabulary, d one document, X: (n, V) counts;
            nnz entries of X that are not zero.
Sources     the text, lines 404-473 and 1534-1535; Salton, Wong and Yang 1975
            (doi:10.1145/361219.361220).  Word characters: Unicode letters, digits, "_":
            Python's \w, as scikit-learn uses.
We differ   The text strips punctuation and splits at spaces: `split_on_spaces` does that and keeps
            "u.k" whole, where (3.1) gives "u", "k".  scikit-learn drops one-letter tokens and
            sorts its vocabulary; we keep the text's order, first appearance.
            The text (line 1535) calls "dog bites man" and "man bites dog" nearly identical:
            as bags of words they are identical.
Relations   A row is a document; a column is a word: its counts over the documents (line 1485).
            Chapter 4 weighs the entries, chapter 5 ranks by them.
Kernels     kernels/ch03_bow_numba.py, ch03_bow.cu count straight from bytes, multiply by X.
"""
import re
from itertools import chain
from typing import NamedTuple

import numpy as np

WORD = re.compile(r"\w+")


class CSR(NamedTuple):
    """Compressed sparse rows (3.4): row i owns the slice indptr[i]:indptr[i + 1] of the others.

    indptr: (n + 1,) int64; indices: (nnz,) int32 columns, rising in each row; data: (nnz,);
    shape: (n, V).
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple


def tokenize(text):
    """Words of a text (3.1).  str -> list of str.  TypeError if text is not a str."""
    if not isinstance(text, str):
        raise TypeError(f"text: expected a str, got {type(text).__name__}; decode bytes first")
    return WORD.findall(text.lower())


def split_on_spaces(text):
    """The text's own rule (line 408): split at spaces, strip punctuation.  str -> list of str."""
    stripped = (word.strip(".,;:!?\"'()[]“”‘’") for word in text.lower().split())
    return [word for word in stripped if word]


def ngrams(tokens, n):
    """Runs of n tokens, joined by a space: a bag of these keeps some order.  -> list of str.

    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1, got {n}")
    return [" ".join(tokens[i:i + n]) for i in range(len(tokens) - n + 1)]


def build_vocabulary(token_lists):
    """Number the distinct tokens by first appearance (3.2).  n lists of str -> dict word: id."""
    return {word: i for i, word in enumerate(dict.fromkeys(chain.from_iterable(token_lists)))}


def encode(tokens, vocabulary):
    """Ids of the known tokens, in order; unknown ones are left out.  -> (length,) int64."""
    return np.array([vocabulary[t] for t in tokens if t in vocabulary], dtype=np.int64)


def count_vector(tokens, vocabulary):
    """Count each known word (3.3).  list of str, dict -> (V,) int64.  Unknown words: no effect."""
    return np.bincount(encode(tokens, vocabulary), minlength=len(vocabulary))     # (V,)  eq. 3.3


def count_matrix(documents, vocabulary):
    """Count the known words of each document (3.4).  n str, dict -> CSR (n, V) int32 counts.

    Raises ValueError if there is no document or the vocabulary's numbers are not 0 to V - 1,
    TypeError if a document is not a str.
    """
    documents, vocabulary = check_documents(documents), check_vocabulary(vocabulary)
    rows = [np.unique(encode(tokenize(d), vocabulary), return_counts=True) for d in documents]
    indptr = np.cumsum([0, *(len(ids) for ids, _ in rows)], dtype=np.int64)       # (n + 1,)
    indices = np.concatenate([ids for ids, _ in rows]).astype(np.int32)           # (nnz,)
    data = np.concatenate([counts for _, counts in rows]).astype(np.int32)        # (nnz,)
    return CSR(indptr, indices, data, (len(rows), len(vocabulary)))


def bag_of_words(documents):
    """Vocabulary and counts of a corpus (3.1-3.4).  n str -> dict word: id, CSR (n, V).

    Raises ValueError if there is no document, TypeError if one is not a str.
    """
    documents = check_documents(documents)
    vocabulary = build_vocabulary(tokenize(d) for d in documents)
    return vocabulary, count_matrix(documents, vocabulary)


def check_documents(documents):
    """A list of at least one str -> the list.

    Raises ValueError if it is empty, TypeError, naming the first that is bad, if one is not a str.
    """
    if isinstance(documents, str | bytes):
        raise TypeError("documents: expected a list of texts, got one text; put it in a list")
    documents = list(documents)
    if not documents:
        raise ValueError("documents: expected at least one document, got none")
    for i, document in enumerate(documents):
        if not isinstance(document, str):
            raise TypeError(f"documents[{i}]: expected a str, got {type(document).__name__}; "
                            "decode bytes first")
    return documents


def check_vocabulary(vocabulary):
    """Words with the numbers 0 to V - 1, each once -> the dict; else ValueError."""
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("vocabulary: expected the numbers 0 to V - 1, each for one word")
    return vocabulary


def to_dense(X):
    """The matrix with its zeros.  CSR (n, V) -> (n, V)."""
    dense = np.zeros(X.shape, X.data.dtype)                                       # (n, V)
    dense[row_of_entry(X), X.indices] = X.data
    return dense


def row_of_entry(X):
    """The row that owns each stored entry.  CSR (n, V) -> (nnz,) int64."""
    return np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))                    # (nnz,)


def transpose(X):
    """Columns become rows: for each word, its documents.  CSR (n, V) -> CSR (V, n)."""
    order = np.argsort(X.indices, kind="stable")                                  # (nnz,)
    indptr = np.zeros(X.shape[1] + 1, np.int64)                                   # (V + 1,)
    np.cumsum(np.bincount(X.indices, minlength=X.shape[1]), out=indptr[1:])
    return CSR(indptr, row_of_entry(X)[order].astype(np.int32), X.data[order], X.shape[::-1])


def csr_dot(X, w):
    """Product with a vector: the score of each row.  CSR (n, V), (V,) -> (n,) float64.

    Raises ValueError if w does not have V entries.
    """
    w = np.asarray(w, np.float64)                                                 # (V,)
    if w.shape != (X.shape[1],):
        raise ValueError(f"w: expected shape ({X.shape[1]},), got {w.shape}")
    scores = np.bincount(row_of_entry(X), X.data * w[X.indices], minlength=X.shape[0])  # (n,)
    return scores.astype(np.float64)         # (of no entry at all, bincount makes integers)
