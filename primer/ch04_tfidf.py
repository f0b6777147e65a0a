r"""Chapter 4. TF-IDF: a word counts for more the oftener it stands here and the rarer elsewhere.

    tf(t, d)     = f_td / sum_t' f_t'd          (relative; also raw f_td and 1 + ln f_td)   (4.1)
    df(t)        = number of documents that hold t                                          (4.2)
    idf(t)       = ln( n / df(t) )              (plain; also the smooth ones below)         (4.3)
    tfidf(t, d)  = tf(t, d) idf(t)                                                          (4.4)
    score(q, d)  = <q, d> / ( |q| |d| )         cosine of the two weighted rows             (4.5)

Symbols     n documents, V words, t a word, d a document, q a query, f_td count of t in d,
            X: CSR (n, V) of chapter 3, Q: CSR (m, V) queries; k results wanted; ln the natural
            logarithm.
Sources     the text, lines 474-547, 659-666, 1537-1538; Salton and Buckley 1988
            (doi:10.1016/0306-4573(88)90021-0); Sparck Jones 1972 (idf).
            Smooth idf: scikit-learn's TfidfTransformer documentation.
We differ   The text divides document 2 of its example by 5; it has four words, so its weights
            are 0.1733, not 0.139 (lines 495-518).  It says (line 476) that the weight grows
            proportionally with the count: true of the raw tf only, since one more copy of a word
            also lengthens the document (1/4 becomes 2/5, a factor 1.6).  Its vector for "cat",
            [0.18, 0, 0.18] (line 1497), is [0.0811, 0, 0.1014].
Relations   scikit-learn's TfidfVectorizer = raw tf, idf_smooth, unit rows.
            The idf of chapter 5 replaces ln(n / df) by odds.
Kernels     kernels/ch04_tfidf_numba.py, ch04_tfidf.cu: df, weights, row norms, a pass each.
"""
import numpy as np

from primer.ch03_bow import csr_dot, row_of_entry


def row_sums(X):
    """Sum of each row; of counts: the documents' lengths in words.  CSR (n, V) -> (n,) float64."""
    sums = np.bincount(row_of_entry(X), X.data, minlength=X.shape[0])             # (n,)
    return sums.astype(np.float64)           # (of no entry at all, bincount makes integers)


def term_frequency_raw(X):
    """f_td itself (the text, line 664).  CSR (n, V) -> CSR (n, V) float64."""
    return X._replace(data=X.data.astype(np.float64))


def term_frequency_relative(X):
    """Count over document length (4.1; the text, line 478).  CSR (n, V) -> CSR (n, V) float64."""
    return X._replace(data=X.data / row_sums(X)[row_of_entry(X)])                 # (nnz,)  eq. 4.1


def term_frequency_log(X):
    """1 + ln f_td (Salton and Buckley 1988, table 1).  CSR (n, V) -> CSR (n, V) float64."""
    return X._replace(data=1 + np.log(X.data))                                    # (nnz,)


def document_frequency(X):
    """In how many documents each word stands (4.2).  CSR (n, V) -> (V,) int64."""
    return np.bincount(X.indices, minlength=X.shape[1])                           # (V,)  eq. 4.2


def idf_plain(df, n):
    """ln(n / df) (4.3; the text, line 480).  df: (V,) -> (V,).  0 if the word is everywhere.

    A word that stands nowhere (df = 0) has no idf: ValueError, as for df > n.
    """
    return np.log(n / check_df(df, n, lowest=1))                                  # (V,)  eq. 4.3


def idf_plus_one(df, n):
    """ln(n / df) + 1 (scikit-learn with smooth_idf=False).  df: (V,) -> (V,)."""
    return np.log(n / check_df(df, n, lowest=1)) + 1                              # (V,)


def idf_smooth(df, n):
    """ln((1 + n) / (1 + df)) + 1 (scikit-learn's default): as if one more document held every
    word.  df: (V,) -> (V,), defined for df = 0 too."""
    return np.log((1 + n) / (1 + check_df(df, n))) + 1                            # (V,)


def check_df(df, n, lowest=0):
    """Document frequencies between `lowest` and n -> float64; else ValueError."""
    df = np.asarray(df, np.float64)
    if n < 1:
        raise ValueError(f"n: expected at least one document, got {n}")
    if df.size and not (df.min() >= lowest and df.max() <= n):
        raise ValueError(f"df: expected values from {lowest} to n = {n}, "
                         f"got {df.min():g} to {df.max():g}")
    return df


def weigh_columns(X, weight):
    """Multiply each column by its weight (4.4).  CSR (n, V), (V,) -> CSR (n, V) float64.

    Raises ValueError if there is not one weight for each column.
    """
    weight = np.asarray(weight, np.float64)                                       # (V,)
    if weight.shape != (X.shape[1],):
        raise ValueError(f"weight: expected shape ({X.shape[1]},), got {weight.shape}")
    return X._replace(data=X.data * weight[X.indices])                            # (nnz,)  eq. 4.4


def tfidf(X, term_frequency=term_frequency_relative, idf=idf_plain):
    """Weigh each count of a corpus (4.4).  CSR (n, V) of counts -> CSR (n, V) float64.

    A query is weighed by the corpus's idf: weigh_columns(term_frequency(Q), idf(df, n)).
    """
    return weigh_columns(term_frequency(X), idf(document_frequency(X), X.shape[0]))


def unit_rows(X):
    """Scale rows to Euclidean length 1; a row of zeros stays zero.  CSR (n, V) -> CSR (n, V)."""
    norms = np.sqrt(row_sums(X._replace(data=X.data.astype(np.float64) ** 2)))    # (n,)
    norms[norms == 0] = 1                                                         # 0 / 1 = 0
    return X._replace(data=X.data / norms[row_of_entry(X)])                       # (nnz,)


def cosine_scores(X, Q, query):
    """Cosine of one query row with every document (4.5).  CSR (n, V), CSR (m, V) -> (n,).

    A document or query of zeros has no direction: its score is 0.  Raises ValueError if Q has
    other columns than X, or no such row.
    """
    if X.shape[1] != Q.shape[1]:
        raise ValueError(f"Q: expected {X.shape[1]} columns as X has, got {Q.shape[1]}")
    if not 0 <= query < Q.shape[0]:
        raise ValueError(f"query: expected a row of Q, 0 to {Q.shape[0] - 1}, got {query}")
    Q = unit_rows(Q)
    own = slice(Q.indptr[query], Q.indptr[query + 1])
    q = np.zeros(Q.shape[1])                                                      # (V,)
    q[Q.indices[own]] = Q.data[own]
    return csr_dot(unit_rows(X), q)                                               # (n,)  eq. 4.5


def rank(scores, k):
    """The k best documents with a score above 0, ties by lower number.  (n,) -> ids, scores.

    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    best = np.argsort(-scores, kind="stable")[:k]                                 # (<= k,)
    best = best[scores[best] > 0]
    return best, scores[best]


def top_terms(X, document, vocabulary, k):
    """Keywords: a row's heaviest words, ties by lower id.  CSR (n, V) -> list of (str, float).

    Raises ValueError if there is no such document, or for k < 1.
    """
    if not 0 <= document < X.shape[0]:
        raise ValueError(f"document: expected 0 to {X.shape[0] - 1}, got {document}")
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    own = slice(X.indptr[document], X.indptr[document + 1])
    words = list(vocabulary)
    order = np.argsort(-X.data[own], kind="stable")[:k]
    return [(words[X.indices[own][i]], float(X.data[own][i])) for i in order]
