"""Exercises of chapter 4: how often here, how rare elsewhere, and who is nearest to a query.

Tables of counts are made of whole numbers; each document holds at least one word.
"""
import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from primer.ch03_bow import to_dense
from primer.ch04_tfidf import term_frequency_raw
from primer.exercises.ch03_bow import compress
from primer.exercises.kit import Exercise, expect, expect_close, expect_refused

REFERENCE = "primer.ch04_tfidf"


@st.composite
def tables(draw):
    """Counts of up to 4 documents and 5 words; no document is empty -> (n, V) int32."""
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    table = draw(arrays(np.int32, shape, elements=st.integers(-4, 4)))
    table = np.maximum(table, 0)
    table[:, 0] += table.sum(axis=1) == 0
    return table


@st.composite
def frequencies(draw):
    """Document frequencies and the number of documents: df, n with 1 <= df <= n."""
    n = draw(st.integers(1, 1000))
    return draw(arrays(np.int64, st.integers(1, 5), elements=st.integers(1, n))), n


# ---- how often here -----------------------------------------------------------------------------

often = Exercise("ch04.term_frequency", REFERENCE,
                 ["term_frequency_relative", "term_frequency_log"], "How often here", "4.1")


@often.property("relative frequencies of a document sum to 1", table=tables(),
                hint="divide by the number of words of the document, repeats included")
def sums_to_one(impl, table):
    got = impl.term_frequency_relative(compress(table))
    expect_close(to_dense(got).sum(axis=1), np.ones(len(table)), "the sum of each row")


@often.property("a document written twice has the same relative frequencies", table=tables(),
                times=st.integers(2, 5), hint="count and length grow alike")
def ignores_length(impl, table, times):
    got = impl.term_frequency_relative(compress(table * np.int32(times)))
    expect_close(to_dense(got), to_dense(impl.term_frequency_relative(compress(table))),
                 "each word as many times as often")


@often.property("the logarithmic frequency of a single occurrence is 1", words=st.integers(1, 5),
                hint="ln 1 = 0: what has to be added?")
def one_is_one(impl, words):
    got = impl.term_frequency_log(compress(np.ones((2, words), np.int32)))
    expect_close(to_dense(got), np.ones((2, words)), "every word stands there once")


@often.property("it agrees with a calculation by hand", count=st.integers(1, 9),
                hint="the natural logarithm; the length of document 0 is count + 1")
def frequency_by_hand(impl, count):
    X = compress(np.array([[count, 0, 1], [0, 2, 2]], np.int32))
    got = impl.term_frequency_relative(X)
    expect_close(to_dense(got), np.array([[count / (count + 1), 0, 1 / (count + 1)], [0, .5, .5]]),
                 "count / length")
    want = [[1 + math.log(count), 0, 1], [0, 1 + math.log(2), 1 + math.log(2)]]
    expect_close(to_dense(impl.term_frequency_log(X)), np.array(want), "1 + ln(count)")


often.mutant("term_frequency_relative", "row_sums(X)[row_of_entry(X)]", "X.shape[1]",
             "divided by the size of the vocabulary, not by the length of the document")
often.mutant("term_frequency_relative", "row_sums(X)[row_of_entry(X)]",
             "np.diff(X.indptr)[row_of_entry(X)]", "repeats are not counted in the length")
often.mutant("term_frequency_relative", "row_sums(X)[row_of_entry(X)]", "X.data.sum()",
             "divided by the words of the whole corpus")
often.mutant("term_frequency_relative", "row_of_entry(X)", "-1",
             "every document is divided by the length of the last one")
often.mutant("term_frequency_log", "1 + np.log(X.data)", "np.log(X.data)",
             "the 1 is missing: a single occurrence weighs nothing")
often.mutant("term_frequency_log", "1 + np.log(X.data)", "np.log(1 + X.data)",
             "the 1 is inside the logarithm")

# ---- how many documents -------------------------------------------------------------------------

spread = Exercise("ch04.document_frequency", REFERENCE, ["document_frequency"],
                  "In how many documents", "4.2")


@spread.property("repeats in a document do not count", table=tables(),
                 hint="an entry of the matrix is one document that holds the word")
def counts_documents(impl, table):
    got = impl.document_frequency(compress(table))
    expect_close(got, (table > 0).sum(axis=0), "documents that hold each word")


@spread.property("a word that stands nowhere has 0, also the last one", table=tables(),
                 extra=st.integers(1, 3), hint="one answer for each word of the vocabulary")
def counts_nothing(impl, table, extra):
    wide = np.concatenate([table, np.zeros((len(table), extra), np.int32)], axis=1)
    got = impl.document_frequency(compress(wide))
    expect(np.shape(got) == (wide.shape[1],), "one answer for each word", got=got)
    expect_close(got[-extra:], np.zeros(extra, np.int64), "words that stand nowhere")


@spread.property("it agrees with a calculation by hand", repeats=st.integers(1, 9),
                 hint="count the rows that are not zero")
def spread_by_hand(impl, repeats):
    table = np.array([[repeats, 0, 1], [2, 0, 0], [1, 0, 1]], np.int32)
    expect_close(impl.document_frequency(compress(table)), np.array([3, 0, 2]), "df")


spread.mutant("document_frequency", "X.indices", "np.repeat(X.indices, X.data)",
              "occurrences are counted, not documents")
spread.mutant("document_frequency", "np.bincount(X.indices, minlength=X.shape[1])",
              "np.bincount(X.indices)", "words that stand nowhere get no answer")
spread.mutant("document_frequency", "np.bincount(X.indices, minlength=X.shape[1])",
              "np.diff(X.indptr)", "the wrong axis: words for each document")
spread.mutant("document_frequency", "X.indices", "X.indices[:X.indptr[-2]]",
              "the last document is left out")

# ---- how rare elsewhere -------------------------------------------------------------------------

rare = Exercise("ch04.idf", REFERENCE, ["idf_plain", "idf_plus_one", "idf_smooth"],
                "How rare elsewhere", "4.3")


@rare.property("a word in every document weighs 0, or 1 with the + 1", n=st.integers(1, 10_000),
               hint="what is n / df when df = n?")
def everywhere(impl, n):
    for name, want in (("idf_plain", 0.0), ("idf_plus_one", 1.0), ("idf_smooth", 1.0)):
        expect_close(getattr(impl, name)(np.array([n]), n), np.array([want]), name)


@rare.property("the rarer of two words weighs more", given=frequencies(),
               hint="the document frequency belongs below the fraction bar")
def rarer_weighs_more(impl, given):
    df, n = np.unique(given[0]), given[1]
    for name in ("idf_plain", "idf_plus_one", "idf_smooth"):
        weight = np.asarray(getattr(impl, name)(df, n))
        expect(weight.shape == df.shape, "one weight for each word", shape=weight.shape)
        expect((np.diff(weight) < 0).all(), f"{name} falls as df grows", df=df, weight=weight)


@rare.property("a word that stands nowhere: the smooth idf has an answer, the others refuse",
               n=st.integers(1, 100), hint="n / 0 is no number: raise ValueError")
def nowhere(impl, n):
    expect_close(impl.idf_smooth(np.array([0]), n), np.array([math.log(1 + n) + 1]), "idf_smooth")
    for function in (impl.idf_plain, impl.idf_plus_one):
        expect_refused("df = 0", function, np.array([0]), n)


@rare.property("it agrees with a calculation by hand", given=frequencies(),
               hint="the natural logarithm: ln 2 = 0.693; smooth: both counts get 1 more")
def rare_by_hand(impl, given):
    df, n = given
    expect_close(impl.idf_plain(df, n), np.array([math.log(n / d) for d in df]), "ln(n / df)")
    expect_close(impl.idf_plus_one(df, n), np.array([math.log(n / d) + 1 for d in df]),
                 "ln(n / df) + 1")
    expect_close(impl.idf_smooth(df, n),
                 np.array([math.log((1 + n) / (1 + d)) + 1 for d in df.tolist()]),
                 "ln((1 + n) / (1 + df)) + 1")


rare.mutant("idf_plain", "np.log(n / check_df(df, n, lowest=1))",
            "np.log10(n / check_df(df, n, lowest=1))", "log base 10 in place of the natural one")
rare.mutant("idf_plain", "n / check_df(df, n, lowest=1)", "check_df(df, n, lowest=1) / n",
            "the ratio is upside down")
rare.mutant("idf_plain", "check_df(df, n, lowest=1)", "check_df(df, n)",
            "a word that stands nowhere gets an infinite weight")
rare.mutant("idf_plus_one", "np.log(n / check_df(df, n, lowest=1)) + 1",
            "np.log(n / check_df(df, n, lowest=1))", "the + 1 is missing")
rare.mutant("idf_smooth", "(1 + n) / (1 + check_df(df, n))", "n / (1 + check_df(df, n))",
            "only df is smoothed, not n")
rare.mutant("idf_smooth", "np.log((1 + n) / (1 + check_df(df, n))) + 1",
            "np.log((1 + n) / (1 + check_df(df, n)))", "the final + 1 is missing")
rare.mutant("idf_smooth", "np.log((1 + n) / (1 + check_df(df, n)))",
            "np.log2((1 + n) / (1 + check_df(df, n)))", "log base 2 in place of the natural one")

# ---- the two together ---------------------------------------------------------------------------

weights = Exercise("ch04.tfidf", REFERENCE, ["tfidf", "weigh_columns", "unit_rows"],
                   "TF-IDF", "4.4")


@weights.property("a word in every document weighs 0", table=tables(),
                  hint="its idf is ln(n / n)")
def everywhere_is_zero(impl, table):
    table = np.concatenate([table[:, :1] * 0 + 2, table[:, table.any(axis=0)]], axis=1)
    got = to_dense(impl.tfidf(compress(table)))
    expect_close(got[:, 0], np.zeros(len(table)), "word 0 stands everywhere")


@weights.property("the corpus written twice weighs its words as before", table=tables(),
                  hint="idf: documents that hold the word, of all documents")
def duplicates(impl, table):
    once = to_dense(impl.tfidf(compress(table[:, table.any(axis=0)])))
    twice = np.concatenate([table, table])[:, table.any(axis=0)]
    expect_close(to_dense(impl.tfidf(compress(twice))), np.concatenate([once, once]), "weights")


@weights.property("unit rows have length 1; a row of zeros stays zero", table=tables(),
                  hint="divide each row by the root of its sum of squares, unless that is 0")
def has_length_one(impl, table):
    X = compress(table)._replace(data=compress(table).data * 1.0)
    X.data[X.indptr[len(table) - 1]:] = 0                # zeros that are stored, as tfidf does
    got = to_dense(impl.unit_rows(X))
    want = np.array([*np.ones(len(table) - 1), 0.0])
    expect_close(np.sqrt((got ** 2).sum(axis=1)), want, "lengths of the rows")


@weights.property("it agrees with a calculation by hand", word=st.integers(2, 9),
                  hint="the sky is blue / the sun is bright: 1/4 of ln 2 for sky")
def weights_by_hand(impl, word):
    X = compress(np.array([[1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1]], np.int32))
    w = math.log(2) / 4
    expect_close(to_dense(impl.tfidf(X)), np.array([[0, w, 0, w, 0, 0], [0, 0, 0, 0, w, w]]),
                 "the example of the text")
    twice = compress(np.array([[word, 0], [0, 1]], np.int32))
    expect_close(to_dense(impl.tfidf(twice, term_frequency_raw)),
                 np.array([[word * math.log(2), 0], [0, math.log(2)]]), "raw counts times ln 2")
    got = impl.weigh_columns(twice, np.array([0.5, 3.0]))
    expect_close(got.data, np.array([word / 2, 3.0]), "each column by its weight")
    got = impl.unit_rows(compress(np.array([[3.0, 4.0]])))
    expect_close(got.data, np.array([0.6, 0.8]), "3 4 has the length 5")


weights.mutant("weigh_columns", "X.data * weight[X.indices]", "X.data + weight[X.indices]",
               "weights are added, not multiplied")
weights.mutant("tfidf", "term_frequency(X)", "X", "the term frequency is not used: raw counts")
weights.mutant("tfidf", "document_frequency(X)", "np.ones(X.shape[1])",
               "every word is taken for one that stands in one document")
weights.mutant("unit_rows", "X.data.astype(np.float64) ** 2", "np.abs(X.data)",
               "the sum of absolute values (L1), with a root")
weights.mutant("unit_rows", "np.sqrt(row_sums(X._replace(data=X.data.astype(np.float64) ** 2)))",
               "row_sums(X._replace(data=np.abs(X.data)))", "L1: divided by the sum")
weights.mutant("unit_rows", "np.sqrt(row_sums(X._replace(data=X.data.astype(np.float64) ** 2)))",
               "row_sums(X._replace(data=X.data.astype(np.float64) ** 2))", "the root is missing")
weights.mutant("unit_rows", "norms[norms == 0] = 1", "pass", "a row of zeros is divided by 0")

# ---- the nearest to a query ---------------------------------------------------------------------

nearest = Exercise("ch04.ranking", REFERENCE, ["cosine_scores", "rank"], "Who is nearest", "4.5")


@nearest.property("a document has cosine 1 with itself, and no score is above 1", table=tables(),
                  row=st.integers(0, 3), hint="divide by both lengths")
def one_with_itself(impl, table, row):
    assume(row < len(table))
    X = compress(table)
    got = np.asarray(impl.cosine_scores(X, X, row))
    expect(got.shape == (len(table),), "one score for each document", got=got)
    expect_close(got[row], 1.0, "with itself")
    expect((got <= 1 + 1e-12).all() and (got >= 0).all(), "between 0 and 1", got=got)


@nearest.property("a document written twice scores the same", table=tables(),
                  times=st.integers(2, 9), hint="the length of a row must not matter")
def ignores_size(impl, table, times):
    longer = table * np.int32(times)
    Q = compress(table[:1])
    expect_close(impl.cosine_scores(compress(longer), Q, 0),
                 impl.cosine_scores(compress(table), Q, 0), "scores of longer documents")


@nearest.property("best first; of equals the lower number; nobody with score 0",
                  scores=arrays(np.float64, st.integers(0, 8), elements=st.integers(0, 2)),
                  k=st.integers(1, 9), hint="a stable sort keeps equals in their order")
def ranks(impl, scores, k):
    want = sorted((i for i in range(len(scores)) if scores[i] > 0), key=lambda i: -scores[i])[:k]
    ids, best = impl.rank(scores, k)
    expect(list(ids) == want, "the ids", got=ids, want=want)
    expect_close(best, scores[np.array(want, np.int64)], "their scores")


@nearest.property("it agrees with a calculation by hand", a=st.integers(1, 9),
                  b=st.integers(1, 9), hint="<q, d> / (|q| |d|)")
def nearest_by_hand(impl, a, b):
    X, Q = compress(np.array([[a, b], [0, 1]])), compress(np.array([[0, 1], [1, 1]]))
    want = np.array([(a + b) / math.hypot(a, b) / math.sqrt(2), 1 / math.sqrt(2)])
    expect_close(impl.cosine_scores(X, Q, 1), want, "with query 1, which is (1, 1)")


nearest.mutant("cosine_scores", "unit_rows(X)", "X", "long documents win: no division by |d|")
nearest.mutant("cosine_scores", "Q = unit_rows(Q)", "pass", "no division by |q|")
nearest.mutant("cosine_scores", "slice(Q.indptr[query], Q.indptr[query + 1])",
               "slice(Q.indptr[0], Q.indptr[1])", "always the first query")
nearest.mutant("rank", "np.argsort(-scores, kind='stable')", "np.argsort(scores, kind='stable')",
               "the worst come first")
nearest.mutant("rank", "np.argsort(-scores, kind='stable')",
               "np.argsort(scores, kind='stable')[::-1]", "of equals, the last comes first")
nearest.mutant("rank", "best[scores[best] > 0]", "best", "documents without any word are listed")
