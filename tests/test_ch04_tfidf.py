"""Chapter 4: term frequencies, idf and their product, cosine ranking; the twin's one pass."""
import itertools
import math
from pathlib import Path

import numba
import numpy as np
import pytest
from conftest import EDGE_SIZES, assert_close, every_backend, every_order, every_twin
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import primer.ch04_tfidf as reference
from kernels import emulator
from primer.ch03_bow import CSR, bag_of_words, count_matrix, to_dense, transpose
from primer.ch04_tfidf import (
    idf_plain,
    idf_plus_one,
    idf_smooth,
    term_frequency_log,
    term_frequency_raw,
    term_frequency_relative,
)
from primer.data import load_texts

FREQUENCIES = (term_frequency_raw, term_frequency_relative, term_frequency_log)
IDFS = (idf_plain, idf_plus_one, idf_smooth)
weighing = every_backend("ch04_tfidf", "tfidf", "weigh_columns", "unit_rows", "row_sums",
                         "document_frequency")
twin_weighing = every_twin("ch04_tfidf", "tfidf", "weigh_columns", "unit_rows")


@st.composite
def tables(draw):
    """Counts in which each word stands somewhere; documents may be empty -> (n, V) int32."""
    table = draw(arrays(np.int32, st.tuples(st.integers(1, 5), st.integers(1, 5)),
                        elements=st.sampled_from((0, 0, 1, 2, 5))))
    table[0] += table.sum(axis=0) == 0
    return table


def sparse(dense):
    """CSR of a table -> CSR."""
    rows, columns = np.nonzero(dense)
    indptr = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
    return CSR(indptr, columns.astype(np.int32), dense[rows, columns], dense.shape)


def corpus(name):
    return bag_of_words(load_texts()[name]["documents"])


# ---- equation -----------------------------------------------------------------------------------

def spec(table, frequency, idf):
    """Equations 4.1 to 4.4 read aloud, one scalar at a time."""
    n, V = table.shape
    out = np.zeros((n, V))
    for d, t in itertools.product(range(n), range(V)):
        count, length = int(table[d, t]), sum(int(c) for c in table[d])
        if not count:
            continue
        df = sum(1 for row in table if row[t])
        tf = {term_frequency_raw: count, term_frequency_relative: count / length,
              term_frequency_log: 1 + math.log(count)}[frequency]
        out[d, t] = tf * {idf_plain: math.log(n / df), idf_plus_one: math.log(n / df) + 1,
                          idf_smooth: math.log((1 + n) / (1 + df)) + 1}[idf]
    return out


@weighing
@pytest.mark.parametrize("idf", IDFS)
@pytest.mark.parametrize("frequency", FREQUENCIES)
@given(table=tables())
def test_weights_equal_the_equations(backend, frequency, idf, table):
    X = sparse(table)
    got = backend.tfidf(X, frequency, idf)
    assert got.data.dtype == np.float64
    assert_close(to_dense(got), spec(table, frequency, idf))
    assert got.indices is X.indices and got.shape == X.shape


@weighing
@given(table=tables())
def test_sums_and_frequencies_equal_the_equations(backend, table):
    sums, df = backend.row_sums(sparse(table)), backend.document_frequency(sparse(table))
    assert_close(sums, np.array([float(sum(row)) for row in table.tolist()]))
    assert_close(df, np.array([sum(c > 0 for c in column) for column in table.T.tolist()]))
    assert (sums.dtype, df.dtype) == (np.float64, np.int64)


@given(table=tables(), query=arrays(np.int32, 5, elements=st.integers(0, 2)))
def test_scores_equal_the_equation(table, query):
    query = query[None, :table.shape[1]]
    want = [float(d @ query[0]) / (math.hypot(*d) * math.hypot(*query[0]) or 1) for d in table]
    assert_close(reference.cosine_scores(sparse(table), sparse(query), 0), np.array(want))


# ---- worked examples ----------------------------------------------------------------------------

@weighing
def test_the_sky_and_the_sun(backend):
    """Lines 495-518, with document 2 divided by its four words, not by five: 0.1733, not 0.139."""
    vocabulary, X = corpus("sky_sun")
    assert list(vocabulary) == ["the", "sky", "is", "blue", "sun", "bright"]
    assert_close(to_dense(term_frequency_relative(X)),
                 np.array([[1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1]]) / 4)
    assert backend.document_frequency(X).tolist() == [2, 1, 2, 1, 1, 1]
    w = 0.17328679513998632                                           # ln 2 / 4
    assert_close(to_dense(backend.tfidf(X)),
                 np.array([[0, w, 0, w, 0, 0], [0, 0, 0, 0, w, w]]))
    assert round(math.log(2) / 5, 4) == 0.1386                        # the text's, wrong


@weighing
def test_the_cat(backend):
    """Line 1497: not [0.18, 0, 0.18].  0.18 is the idf alone, by base 10."""
    vocabulary, X = corpus("cat_dog")
    weighed = backend.tfidf(X)
    cat = to_dense(weighed)[:, vocabulary["cat"]]
    assert_close(cat, np.array([0.0811, 0, 0.1014]), rtol=0, atol=5e-5)
    assert_close(cat / np.linalg.norm(cat), np.array([0.6247, 0, 0.7809]), rtol=0, atol=5e-5)
    assert_close(to_dense(backend.unit_rows(weighed))[:, vocabulary["cat"]],
                 np.array([0.3110, 0, 0.3272]), rtol=0, atol=5e-5)
    default = backend.unit_rows(backend.tfidf(X, term_frequency_raw, idf_smooth))
    assert_close(to_dense(default)[:, vocabulary["cat"]], np.array([0.4331, 0, 0.4805]), rtol=0,
                 atol=5e-5)
    assert round(math.log10(3 / 2), 2) == 0.18


def test_weights_do_not_grow_in_proportion_to_the_count():
    """Line 476: true of the raw count only; one more copy also lengthens the document."""
    X = bag_of_words(["the sky is blue", "the sky is blue blue"])[1]
    for frequency, factor in ((term_frequency_raw, 2), (term_frequency_relative, 1.6)):
        once, twice = to_dense(frequency(X))[:, -1]
        assert_close(twice / once, factor)


def test_the_two_term_frequencies_of_the_text():
    """Lines 478 and 664 mean different ones: they differ by the document's length."""
    X = corpus("cat_dog")[1]
    raw, relative = (to_dense(f(X)) for f in (term_frequency_raw, term_frequency_relative))
    assert_close(raw, relative * np.array([[5], [5], [4]]))


def test_synonyms_are_alike_as_columns_but_not_as_queries():
    """Line 535: documents shared by two words make the words alike, and no query finds more."""
    documents = ["the car and the automobile", "a car, an automobile", "my automobile is red",
                 "bread and wine"]
    vocabulary, X = bag_of_words(documents)
    weighed, words = reference.tfidf(X), transpose(reference.tfidf(X))
    query = count_matrix(["car"], vocabulary)
    assert reference.cosine_scores(weighed, query, 0)[2] == 0
    alike = reference.cosine_scores(words, words, vocabulary["car"])
    assert alike[vocabulary["automobile"]] > 0.5 > alike[vocabulary["bread"]]


# ---- properties that no student sees ------------------------------------------------------------

@given(table=tables(), base=st.sampled_from((2.0, 10.0)))
def test_another_base_scales_all_weights_and_keeps_the_order(table, base):
    def idf(df, n):
        return idf_plain(df, n) / math.log(base)
    X = sparse(table)
    natural, other = reference.tfidf(X), reference.tfidf(X, idf=idf)
    assert_close(other.data * math.log(base), natural.data)
    assert_close(reference.cosine_scores(other, other, 0),
                 reference.cosine_scores(natural, natural, 0), atol=1e-9)


@weighing
@given(table=tables(), idf=st.sampled_from(IDFS), frequency=st.sampled_from(FREQUENCIES))
def test_weights_are_not_negative(backend, table, idf, frequency):
    weighed = backend.tfidf(sparse(table), frequency, idf)
    assert (weighed.data >= 0).all()
    lengths = np.sqrt((to_dense(backend.unit_rows(weighed)) ** 2).sum(axis=1))
    assert_close(lengths, (to_dense(weighed) != 0).any(axis=1).astype(float))


@given(table=tables())
def test_cosine_is_symmetric(table):
    X = reference.tfidf(sparse(table), idf=idf_smooth)
    scores = np.array([reference.cosine_scores(X, X, i) for i in range(len(table))])
    assert_close(scores, scores.T)
    assert_close(np.diag(scores), table.any(axis=1).astype(float))


def test_a_query_is_weighed_by_the_corpus():
    documents = ["the cat sat", "the dog sat", "dog chased the cat", "a mat"]
    vocabulary, X = bag_of_words(documents)
    idf = idf_plain(reference.document_frequency(X), X.shape[0])
    Q = reference.weigh_columns(
        term_frequency_relative(count_matrix(["the mat!", "unknown"], vocabulary)), idf)
    scores = reference.cosine_scores(reference.tfidf(X), Q, 0)
    ids, best = reference.rank(scores, 10)
    assert ids.tolist() == [3, 0, 1, 2] and best[0] > 0.5 > best[1]
    assert_close(best[1], best[2])
    assert not reference.cosine_scores(reference.tfidf(X), Q, 1).any()        # of no known word


def test_rank_breaks_ties_by_lower_number():
    scores = np.array([0.0, 1.0, 2.0, 1.0, 2.0, -1.0])
    for k, want in ((1, [2]), (2, [2, 4]), (3, [2, 4, 1]), (9, [2, 4, 1, 3])):
        ids, best = reference.rank(scores, k)
        assert ids.tolist() == want
        assert_close(best, scores[want])
    assert reference.rank(np.zeros(3), 2)[0].size == 0


def test_top_terms():
    vocabulary, X = bag_of_words(["b a a c", "", "a d"])
    assert reference.top_terms(X, 0, vocabulary, 2) == [("a", 2.0), ("b", 1.0)]
    assert reference.top_terms(X, 0, vocabulary, 9) == [("a", 2.0), ("b", 1.0), ("c", 1.0)]
    assert reference.top_terms(X, 1, vocabulary, 9) == []
    for document in (-1, 3):
        with pytest.raises(ValueError, match="document: expected 0 to 2"):
            reference.top_terms(X, document, vocabulary, 1)
    with pytest.raises(ValueError, match="k: expected at least 1"):
        reference.top_terms(X, 0, vocabulary, 0)


# ---- errors -------------------------------------------------------------------------------------

@pytest.mark.parametrize("idf", IDFS)
@pytest.mark.parametrize("df", [[4], [1, 4], [-1], [float("nan"), 1]])
def test_impossible_document_frequencies_are_refused(idf, df):
    with pytest.raises(ValueError, match="df: expected values from . to n = 3, got"):
        idf(np.array(df), 3)


@pytest.mark.parametrize("idf", IDFS)
def test_no_documents_are_refused(idf):
    with pytest.raises(ValueError, match="n: expected at least one document, got 0"):
        idf(np.array([]), 0)


@weighing
def test_a_word_that_stands_nowhere_has_no_plain_idf(backend):
    X = count_matrix(["a b"], {"a": 0, "zebra": 1})
    for idf in (idf_plain, idf_plus_one):
        with pytest.raises(ValueError, match="df: expected values from 1 to n = 1, got 0 to 1"):
            backend.tfidf(X, idf=idf)
    assert_close(backend.tfidf(X, idf=idf_smooth).data, np.array([1.0]))


@weighing
@pytest.mark.parametrize("weight", [np.ones(2), np.ones(4), np.ones((1, 3)), 2.0])
def test_weights_that_do_not_fit_are_refused(backend, weight):
    with pytest.raises(ValueError, match=r"weight: expected shape \(3,\), got"):
        backend.weigh_columns(sparse(np.ones((2, 3), np.int32)), weight)


def test_bad_queries_are_refused():
    X, wide = sparse(np.ones((2, 3), np.int32)), sparse(np.ones((2, 4), np.int32))
    with pytest.raises(ValueError, match="Q: expected 3 columns as X has, got 4"):
        reference.cosine_scores(X, wide, 0)
    for query in (-1, 2):
        with pytest.raises(ValueError, match=f"query: expected a row of Q, 0 to 1, got {query}"):
            reference.cosine_scores(X, X, query)


@pytest.mark.parametrize("k", [0, -3])
def test_the_best_none_are_refused(k):
    with pytest.raises(ValueError, match=f"k: expected at least 1, got {k}"):
        reference.rank(np.ones(3), k)


# ---- parity -------------------------------------------------------------------------------------

@weighing
@pytest.mark.parametrize("rows", ["l2", "none"])
@pytest.mark.parametrize("tf", ["raw", "log"])
@pytest.mark.parametrize("idf", ["smooth", "plus_one"])
def test_weights_are_scikit_learns(backend, idf, tf, rows):
    with np.load(Path(__file__).parent / "parity/ch04_tfidf.npz") as frozen:
        texts, words = frozen["documents"].tolist(), frozen["vocabulary"].tolist()
        theirs = CSR(frozen["indptr"], frozen["indices"], frozen[f"{idf}_{tf}_{rows}"],
                     (len(texts), len(words)))
    vocabulary, X = bag_of_words(texts)
    assert sorted(vocabulary) == words
    ours = backend.tfidf(X, getattr(reference, f"term_frequency_{tf}"),
                         getattr(reference, f"idf_{idf}"))
    ours = backend.unit_rows(ours) if rows == "l2" else ours
    assert_close(to_dense(ours)[:, [vocabulary[w] for w in words]], to_dense(theirs), rtol=1e-12)


# ---- twins --------------------------------------------------------------------------------------

def made_up(n, columns=33):
    """Counts of n documents; some are empty, and some words stand nowhere -> CSR."""
    rng = np.random.default_rng(n)
    table = rng.integers(1, 9, (n, columns)) * (rng.random((n, columns)) < 0.2)
    table[::5] = 0
    table[:, ::7] = 0
    return sparse(table.astype(np.int32))


@twin_weighing
@pytest.mark.parametrize("threads", [1, 2, 3, 50])
@pytest.mark.parametrize("n", EDGE_SIZES)
def test_twin_equals_the_reference(backend, monkeypatch, n, threads):
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    X = made_up(n)
    weight = np.random.default_rng(1).standard_normal(33)
    df = backend.document_frequency(X)
    assert np.array_equal(df, reference.document_frequency(X)) and df.dtype == np.int64
    assert_close(backend.row_sums(X), reference.row_sums(X))
    assert_close(backend.unit_rows(X).data, reference.unit_rows(X).data)
    assert_close(backend.weigh_columns(X, weight).data, reference.weigh_columns(X, weight).data)
    for frequency in FREQUENCIES if n else ():
        got, want = (m.tfidf(X, frequency, idf_smooth) for m in (backend, reference))
        assert_close(got.data, want.data, rtol=1e-13)
        assert_close(backend.unit_rows(got).data, reference.unit_rows(want).data, rtol=1e-13)


@twin_weighing
def test_set_num_threads_changes_nothing(backend):
    X, most = made_up(129), numba.get_num_threads()
    want = reference.unit_rows(reference.tfidf(X, idf=idf_smooth)).data
    try:
        for threads in range(1, most + 1):
            numba.set_num_threads(threads)
            assert_close(backend.unit_rows(backend.tfidf(X, idf=idf_smooth)).data, want, rtol=1e-13)
    finally:
        numba.set_num_threads(most)


@weighing
def test_zeros_that_are_stored_stay_zeros(backend):
    """A word in every document has weight 0 and keeps its entry; its row may have length 0."""
    X = bag_of_words(["the", "the cat", "the the", ""])[1]
    weighed = backend.tfidf(X, idf=lambda df, n: idf_plain(df, 3))
    assert_close(to_dense(weighed), np.array([[0, 0], [0, math.log(3) / 2], [0, 0], [0, 0]]))
    assert_close(to_dense(backend.unit_rows(weighed)), np.array([[0, 0], [0, 1], [0, 0], [0, 0.]]))


@weighing
def test_inputs_are_left_alone(backend):
    X = made_up(9)
    before = [part.copy() for part in X[:3]]
    backend.unit_rows(backend.tfidf(X, idf=idf_smooth))
    backend.weigh_columns(X, np.ones(33))
    for now, then in zip(X[:3], before, strict=True):
        assert np.array_equal(now, then)


@every_order
def test_cuda_gives_short_and_long_rows_their_groups(order):
    """4, 8, 16 or 32 threads a row, and rows that are longer than that."""
    twin = emulator.load("ch04_tfidf")
    with emulator.running(**order):
        for n, columns in ((1, 33), (31, 7), (33, 33), (127, 70), (129, 200), (9, 2000)):
            X = made_up(n, columns)
            assert np.array_equal(twin.document_frequency(X), reference.document_frequency(X))
            assert np.array_equal(twin.row_sums(X), reference.row_sums(X))
            got, want = (m.tfidf(X, idf=idf_smooth) for m in (twin, reference))
            assert np.array_equal(got.data, want.data)
            assert_close(twin.unit_rows(got).data, reference.unit_rows(want).data, rtol=1e-14)
