r"""Chapter 5. BM25: rank documents for a query; a repeated word counts less and less.

    score(q, d)  = sum over t in q of  idf(t) s( f_td, |d| / avgdl )                       (5.1)
    s(f, r)      = f (k1 + 1) / ( f + k1 (1 - b + b r) )         rises to k1 + 1           (5.2)
    idf(t)       = ln( 1 + (n - df + 1/2) / (df + 1/2) )         Lucene's, never negative  (5.3)
    idf(t)       = ln( (n - df + 1/2) / (df + 1/2) )             Robertson's odds          (5.4)
    P(t, d)      = idf(t) s( f_td, |d| / avgdl )                 an impact, known before q (5.5)

Symbols     n documents, V words, t a word of the query q (repeats count again), f_td its count
            in document d, f for short; |d| length in words, avgdl mean length, r = |d| / avgdl,
            df document frequency; k1 >= 0 how late s saturates, 0 <= b <= 1 how far length counts;
            X: CSR (n, V) counts of chapter 3; k results wanted.
Sources     the text, lines 548-614, 669-676, 1540-1541; Robertson and Zaragoza 2009
            (doi:10.1561/1500000019), eq. 3.15.  Variants: Kamphuis et al. 2020
            (doi:10.1007/978-3-030-45442-5_4), table 1: Lucene, ATIRE, BM25L, BM25+.
            Lv and Zhai 2011: BM25+ (doi:10.1145/2063576.2063584) and BM25L
            (doi:10.1145/2009916.2010070).
We differ   The text calls the scale of the term frequency logarithmic (line 552); (5.2) is a ratio
            with a ceiling.  Its idf is (5.4), negative for a word of more than half of the
            documents: then a match lowers the score (line 672).  We default to (5.3).
            rank_bm25 puts 0.25 times the mean idf in place of negative ones, multiplies BM25L by
            f, and its BM25+ also gives words that are absent a score, as bm25s does; in the
            papers, and here, they add 0.
Relations   k1 = 0: the sum of the idf of the words present.  b = 0: length does not count.
            k1 -> infinity at b = 1: proportional to relative tf, chapter 4's (4.4).
            BM25L's idf, ln((n + 1) / (df + 1/2)), is (5.3) written in another way.
Kernels     kernels/ch05_bm25_numba.py, ch05_bm25.cu build the postings, search them in batches.
"""
from typing import NamedTuple

import numpy as np

from primer import ch03_bow
from primer.ch03_bow import encode, row_of_entry, tokenize, transpose
from primer.ch04_tfidf import check_df, document_frequency, row_sums


def idf_robertson(df, n):
    """ln((n - df + 1/2) / (df + 1/2)) (5.4).  df: (V,) -> (V,).  Negative for df > n / 2."""
    df = check_df(df, n)
    return np.log((n - df + 0.5) / (df + 0.5))                                    # (V,)  eq. 5.4


def idf_lucene(df, n):
    """ln(1 + (n - df + 1/2) / (df + 1/2)) (5.3).  df: (V,) -> (V,).  Always positive."""
    df = check_df(df, n)
    return np.log(1 + (n - df + 0.5) / (df + 0.5))                                # (V,)  eq. 5.3


def idf_atire(df, n):
    """ln(n / df) (Trotman et al. 2012).  df: (V,) -> (V,).  Raises ValueError for df = 0."""
    return np.log(n / check_df(df, n, lowest=1))                                  # (V,)


def idf_bm25plus(df, n):
    """ln((n + 1) / df) (Lv and Zhai 2011).  df: (V,) -> (V,).  Raises ValueError for df = 0."""
    return np.log((n + 1) / check_df(df, n, lowest=1))                            # (V,)


def idf_bm25l(df, n):
    """ln((n + 1) / (df + 1/2)) (Lv and Zhai 2011).  df: (V,) -> (V,)."""
    return np.log((n + 1) / (check_df(df, n) + 0.5))                              # (V,)


def saturation(count, length_ratio, k1=1.2, b=0.75):
    """What `count` occurrences are worth (5.2).  (nnz,), (nnz,) -> (nnz,).

    length_ratio is |d| / avgdl.  Raises ValueError for k1 < 0 or b outside [0, 1].
    """
    K = half_way(length_ratio, k1, b)                                             # (nnz,)
    return count * (k1 + 1) / np.where(count > 0, count + K, 1)                   # (nnz,)  eq. 5.2


def saturation_lucene(count, length_ratio, k1=1.2, b=0.75):
    """(5.2) without the factor k1 + 1, which moves no rank (Lucene 8).  (nnz,) -> (nnz,)."""
    return count / np.where(count > 0, count + half_way(length_ratio, k1, b), 1)  # (nnz,)


def saturation_bm25plus(count, length_ratio, k1=1.2, b=0.75, delta=1.0):
    """(5.2) + delta: a word that is present is worth at least delta.  (nnz,) -> (nnz,)."""
    return saturation(count, length_ratio, k1, b) + delta * (np.asarray(count) > 0)    # (nnz,)


def saturation_bm25l(count, length_ratio, k1=1.2, b=0.75, delta=0.5):
    """Saturates c + delta, c = f / (1 - b + b r): kinder to long documents.  (nnz,) -> (nnz,)."""
    half_way(length_ratio, k1, b)                                                 # checks k1, b
    c = count / np.where(count > 0, half_way(length_ratio, 1.0, b), 1)            # (nnz,)
    return np.where(count > 0, (k1 + 1) * (c + delta) / (k1 + c + delta), 0.0)    # (nnz,)


def half_way(length_ratio, k1, b):
    """k1 (1 - b + b r): the count at which (5.2) is half way up.  (nnz,) -> (nnz,).

    Raises ValueError for k1 < 0 or b outside [0, 1].
    """
    if not 0 <= k1 < np.inf:
        raise ValueError(f"k1: expected a number of at least 0, got {k1}")
    if not 0 <= b <= 1:
        raise ValueError(f"b: expected a number from 0 to 1, got {b}")
    return k1 * (1 - b + b * np.asarray(length_ratio, np.float64))


def length_ratios(X):
    """|d| / avgdl of each document; 0 if no document has a word.  CSR (n, V) -> (n,)."""
    lengths = row_sums(X)                                                         # (n,)
    return lengths / (lengths.mean() or 1.0)                                      # (n,)


def scores(X, query, k1=1.2, b=0.75, idf=idf_lucene, saturate=saturation):
    """BM25 of every document, word by word (5.1).  CSR (n, V), (words,) ids -> (n,) float64."""
    r = length_ratios(X)                                                          # (n,)
    weight = idf(document_frequency(X), X.shape[0])                               # (V,)
    total = np.zeros(X.shape[0])                                                  # (n,)
    for t in query:
        entries = np.flatnonzero(X.indices == t)
        d = row_of_entry(X)[entries]                                              # its documents
        total[d] += weight[t] * saturate(X.data[entries], r[d], k1, b)            # eq. 5.1
    return total


class Postings(NamedTuple):
    """Inverted index: word t owns the slice indptr[t]:indptr[t + 1] of documents and impacts.

    indptr: (V + 1,) int64; documents: (nnz,) int32, rising for each word; impacts: (nnz,)
    float32 (5.5); n: number of documents.
    """

    indptr: np.ndarray
    documents: np.ndarray
    impacts: np.ndarray
    n: int


def build_postings(X, k1=1.2, b=0.75, idf=idf_lucene, saturate=saturation):
    """All impacts (5.5), by word.  CSR (n, V) of counts -> Postings.

    Raises ValueError for k1 < 0 or b outside [0, 1].
    """
    r = length_ratios(X)                                                          # (n,)
    weight = idf(document_frequency(X), X.shape[0])                               # (V,)
    P = weight[X.indices] * saturate(X.data, r[row_of_entry(X)], k1, b)           # (nnz,)  eq. 5.5
    indptr, documents, impacts, _ = transpose(X._replace(data=P.astype(np.float32)))
    return Postings(indptr, documents, impacts, X.shape[0])


def search(postings, queries, k):
    """The k best documents of each query.  m arrays of word ids -> documents, scores: (m, k).

    Only documents that hold a word of the query count; ties go to the lower number.  Where there
    are fewer than k, documents is -1 and scores 0.  k above n is lowered to n; ValueError for
    k < 1 or an id that is no word's.  Words are added rare ones first, in float32, so that every
    back end gives the same bits.
    """
    k = check_k(k, postings.n)
    check_queries(queries, len(postings.indptr) - 1)
    documents = np.full((len(queries), k), -1, np.int64)                          # (m, k)
    best = np.zeros((len(queries), k), np.float32)                                # (m, k)
    df = np.diff(postings.indptr)                                                 # (V,)
    for i, query in enumerate(queries):
        total = np.zeros(postings.n, np.float32)                                  # (n,)
        holds = np.zeros(postings.n, bool)                                        # (n,)
        for t in sorted(query, key=lambda t: (df[t], t)):
            own = slice(postings.indptr[t], postings.indptr[t + 1])
            total[postings.documents[own]] += postings.impacts[own]               # eq. 5.1
            holds[postings.documents[own]] = True
        found = np.flatnonzero(holds)
        order = found[np.argsort(-total[found], kind="stable")[:k]]               # (<= k,)
        documents[i, :len(order)], best[i, :len(order)] = order, total[order]
    return documents, best


def check_queries(queries, V):
    """m arrays of word ids -> one array of all ids, starts: (m + 1,).

    Raises ValueError, naming the first bad query, if an id is not from 0 to V - 1.
    """
    starts = np.cumsum([0, *(len(q) for q in queries)], dtype=np.int64)           # (m + 1,)
    words = np.concatenate([np.empty(0, np.int64), *queries]).astype(np.int64)
    bad = np.flatnonzero((words < 0) | (words >= V))
    if bad.size:
        raise ValueError(f"queries[{np.searchsorted(starts, bad[0], 'right') - 1}]: expected word "
                         f"ids from 0 to {V - 1}, got {words[bad[0]]}")
    return words, starts


def check_k(k, n):
    """A number of results from 1 -> at most n; else ValueError."""
    if not k >= 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    return min(int(k), n)


def stuffing_curve(copies, length, count=1, avgdl=None, k1=1.2, b=0.75):
    """(5.2) after pasting a word into a document `copies` more times.  (m,) -> (m,).

    length, count are the document's before that; avgdl is its length if not given.  Each copy
    also lengthens the document, so the limit is (k1 + 1) / (1 + k1 b / avgdl).  Raises
    ValueError if the length is not above 0.
    """
    if not length > 0:
        raise ValueError(f"length: expected at least one word, got {length}")
    copies = np.asarray(copies, np.float64)                                       # (m,)
    return saturation(count + copies, (length + copies) / (avgdl or length), k1, b)    # (m,)


class Share(NamedTuple):
    """Why a document scores: one word's part, impact = idf * saturation (5.5)."""

    word: str
    count: int
    idf: float
    saturation: float
    impact: float


class BM25:
    """A corpus to search: built once, asked often.

    bow and bm25 are the modules that do the work: the references (None) or `kernels.twin`s.
    """

    def __init__(self, documents, k1=1.2, b=0.75, idf=idf_lucene, saturate=saturation,
                 bow=None, bm25=None):
        self.vocabulary, self.X = (bow or ch03_bow).bag_of_words(documents)
        build, self._search = (bm25.build_postings, bm25.search) if bm25 else (build_postings,
                                                                               search)
        self.postings = build(self.X, k1, b, idf, saturate)
        self.weight = lambda df: float(idf(np.array([df]), self.X.shape[0])[0])
        self.saturate = lambda count, ratio: float(saturate(np.array([count]), ratio, k1, b)[0])
        self.words = list(self.vocabulary)

    def encode(self, query):
        """Known words of a query -> (words,) int64 ids; unknown ones cannot match."""
        return encode(tokenize(query), self.vocabulary)

    def search(self, queries, k=10):
        """Texts -> documents (m, k), scores (m, k), padded with -1 and 0 as `search` says."""
        if isinstance(queries, str):
            raise TypeError("queries: expected a list of texts, got one text; put it in a list")
        return self._search(self.postings, [self.encode(q) for q in queries], k)

    def explain(self, query, document):
        """Each matching word's part in a document's score (5.5) -> list of Share.

        A word that the query repeats comes as often.  Raises ValueError if there is no such
        document.
        """
        if not 0 <= document < self.X.shape[0]:
            raise ValueError(f"document: expected 0 to {self.X.shape[0] - 1}, got {document}")
        own = slice(self.X.indptr[document], self.X.indptr[document + 1])
        counts = dict(zip(self.X.indices[own].tolist(), self.X.data[own].tolist(), strict=True))
        ratio = float(length_ratios(self.X)[document])
        shares = []
        for t in self.encode(query).tolist():
            if t in counts:
                df = int(self.postings.indptr[t + 1] - self.postings.indptr[t])
                idf, worth = self.weight(df), self.saturate(counts[t], ratio)
                shares.append(Share(self.words[t], counts[t], idf, worth, idf * worth))
        return shares
