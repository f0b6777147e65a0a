"""Chapter 5: BM25, its variants, the inverted index, and a search that passes over documents."""
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import EDGE_SIZES, assert_close, every_backend, every_order, every_twin, on_emulator
from hypothesis import given
from hypothesis import strategies as st

from kernels import emulator
from primer import ch05_bm25 as chapter
from primer import claims, data
from primer.ch03_bow import bag_of_words, csr_dot, to_dense
from primer.ch04_tfidf import document_frequency, idf_plain, row_sums, term_frequency_relative
from primer.ch05_bm25 import (
    BM25,
    Postings,
    idf_atire,
    idf_bm25l,
    idf_bm25plus,
    idf_lucene,
    idf_robertson,
    saturation,
    saturation_bm25l,
    saturation_bm25plus,
    saturation_lucene,
    scores,
    stuffing_curve,
)

IDFS = (idf_lucene, idf_robertson, idf_atire, idf_bm25plus, idf_bm25l)
SATURATIONS = (saturation, saturation_lucene, saturation_bm25plus, saturation_bm25l)
K1, B = 1.2, 0.75
every_search = every_backend("ch05_bm25", "build_postings", "search")
every_twin_search = every_twin("ch05_bm25", "build_postings", "search")
fast_twin_search = every_twin("ch05_bm25", "build_postings", "search", orders=())

WORDS = [f"w{i}" for i in range(8)]
CORPORA = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1,
                   max_size=12)
QUERIES = st.lists(st.sampled_from(WORDS), max_size=5)
K1S, BS = st.sampled_from([0.0, 0.3, 1.2, 5.0]), st.sampled_from([0.0, 0.4, 0.75, 1.0])


def counted(corpus, *queries):
    """Texts and queries, lists of words -> CSR (n, V), the queries' known words as ids."""
    vocabulary, X = bag_of_words(corpus)
    return X, [np.array([vocabulary[w] for w in q if w in vocabulary], np.int64) for q in queries]


# 1. The equation.

def spec_idf(name, df, n):
    """Each idf for one word."""
    return {"idf_lucene": lambda: math.log(1 + (n - df + 0.5) / (df + 0.5)),
            "idf_robertson": lambda: math.log((n - df + 0.5) / (df + 0.5)),
            "idf_atire": lambda: math.log(n / df),
            "idf_bm25plus": lambda: math.log((n + 1) / df),
            "idf_bm25l": lambda: math.log((n + 1) / (df + 0.5))}[name]()


def spec_saturation(name, f, r, k1, b):
    """Each worth of one count f > 0, with the parameters delta of the papers."""
    K = k1 * (1 - b + b * r)
    c = f / (1 - b + b * r)
    return {"saturation": f * (k1 + 1) / (f + K),
            "saturation_lucene": f / (f + K),
            "saturation_bm25plus": 1.0 + f * (k1 + 1) / (f + K),
            "saturation_bm25l": (k1 + 1) * (c + 0.5) / (k1 + c + 0.5)}[name]


def spec(corpus, query, k1=K1, b=B, idf="idf_lucene", saturate="saturation"):
    """(5.1), one document and one word at a time -> list of n float."""
    texts = [text.split() for text in corpus]
    avgdl = sum(map(len, texts)) / len(texts)
    out = []
    for text in texts:
        total = 0.0
        for t in query:
            f, df = text.count(t), sum(t in other for other in texts)
            if f:
                total += (spec_idf(idf, df, len(texts))
                          * spec_saturation(saturate, f, len(text) / avgdl, k1, b))
        out.append(total)
    return out


@pytest.mark.parametrize("saturate", SATURATIONS)
@pytest.mark.parametrize("idf", IDFS)
@given(corpus=CORPORA, query=QUERIES, k1=K1S, b=BS)
def test_scores_are_the_equation(idf, saturate, corpus, query, k1, b):
    X, (ids,) = counted(corpus, query)
    assert_close(scores(X, ids, k1, b, idf, saturate),
                 spec(corpus, query, k1, b, idf.__name__, saturate.__name__), atol=1e-11)


@every_search
@given(corpus=CORPORA, query=QUERIES, k1=K1S, b=BS, idf=st.sampled_from(IDFS),
       saturate=st.sampled_from(SATURATIONS))
def test_search_finds_the_scores_of_the_equation(backend, corpus, query, k1, b, idf, saturate):
    X, (ids,) = counted(corpus, query)
    postings = backend.build_postings(X, k1, b, idf, saturate)
    documents, best = backend.search(postings, [ids], len(corpus))
    holds = [i for i, text in enumerate(corpus) if set(query) & set(text.split())]
    found = documents[0][documents[0] >= 0]
    assert sorted(found.tolist()) == holds
    want = np.array(spec(corpus, query, k1, b, idf.__name__, saturate.__name__))
    assert_close(best[0, :len(found)], want[found], rtol=1e-5, atol=1e-5)
    assert np.all(np.diff(best[0, :len(found)]) <= 0)
    assert np.all(documents[0, len(found):] == -1) and np.all(best[0, len(found):] == 0)


# 2. The text's worked examples.

def test_further_occurrences_add_less():                                     # line 565
    assert_close(saturation(np.array([1, 2, 3, 5, 10, 100]), 1.0),
                 [1, 1.375, 1.5714, 1.7742, 1.9643, 2.1739], atol=5e-5)


def test_the_scale_is_a_ratio_and_no_logarithm():                            # line 552 errs
    assert_close(saturation(1e6, 1.0), 2.2, atol=1e-5)
    assert math.log(1 + 1e6) > 13.8
    assert 2.19 < saturation(1e3, 1.0) < saturation(1e9, 1.0) < 2.2


def solar(avgdl, k1=K1, b=B):
    """Lines 562, 563: worth of "solar energy" and "advantages" in A (300 words), B (1000)."""
    return (saturation(np.array([4, 3]), 300 / avgdl, k1, b),
            saturation(np.array([10, 1]), 1000 / avgdl, k1, b))


def test_solar_energy_advantages():                                          # lines 561-568
    a, b = solar(650)
    assert_close(a, [1.8662, 1.7764], atol=5e-5)
    assert_close(b, [1.8828, 0.8195], atol=5e-5)
    assert_close((a[1] - b[1]) / (b[0] - a[0]), 57.694, atol=5e-4)           # idf that B needs
    for k1 in (0.1, 1.2, 2.0, 9.0):
        a, b = solar(500, k1)
        assert_close(a[0], b[0])                                             # a tie at exactly 500
        assert solar(499, k1)[0][0] > solar(499, k1)[1][0]
        assert solar(501, k1)[0][0] < solar(501, k1)[1][0]


def test_chocolate_cake_recipe():                                            # lines 582-592
    assert_close([15 / 1000, 10 / 100], [0.015, 0.1])
    for avgdl, ratio in ((100, 1.446), (550, 1.079), (1000, 1.0395)):
        a, b = saturation(np.array([10, 15]), np.array([100, 1000]) / avgdl)
        assert_close(a / b, ratio, atol=5e-4)
    assert_close(saturation(np.array([10, 15]), np.array([100, 1000]) / 550), [2.1025, 1.9485],
                 atol=5e-5)


def test_keyword_stuffing_is_bounded():                                      # line 612
    assert_close(stuffing_curve([0, 1, 5, 20, 1000], 100), [1, 1.371, 1.822, 2.064, 2.178],
                 atol=5e-4)
    limit = 2.2 / (1 + 1.2 * 0.75 / 100)
    assert_close(limit, 2.1804, atol=5e-5)
    assert_close(stuffing_curve(1e12, 100), limit)
    assert_close(stuffing_curve(0, 100, avgdl=50), saturation(1, 2.0))


def test_robertsons_idf_turns_negative():                                    # line 672
    df = np.array([4, 5, 6, 10])
    assert_close(idf_robertson(df, 10), [0.368, 0, -0.368, -3.045], atol=5e-4)
    assert_close(idf_lucene(df, 10), [0.894, 0.693, 0.526, 0.047], atol=5e-4)


def test_a_match_in_most_documents_lowers_the_score():                       # line 676 errs
    X, (cat,) = counted(data.load_texts()["cat_dog"]["documents"], ["cat"])
    assert scores(X, cat, idf=idf_robertson).argmax() == 1                   # the one without
    assert scores(X, cat).argmin() == 1


def test_cat_in_three_documents():                                           # line 1501 errs
    X, (cat,) = counted(data.load_texts()["cat_dog"]["documents"], ["cat"])
    assert_close(scores(X, cat), [0.4567, 0, 0.4992], atol=5e-5)
    assert_close(scores(X, cat, idf=idf_robertson), [-0.4963, 0, -0.5425], atol=5e-5)
    for k1 in (0.0, 0.1, 1.2, 10.0, 1e6):
        for b in (0.0, 0.5, 0.75, 1.0):
            first, _, third = scores(X, cat, k1, b)
            assert third >= first and first <= math.log(1.6) + 1e-12


def test_the_two_printed_formulas_are_one():                                 # lines 672, 1541
    for f in (1, 3, 50):
        for r in (0.2, 1.0, 4.0):
            K = 1.2 * ((1 - 0.75) + 0.75 * r)
            assert_close(saturation(f, r), (1.2 + 1) * f / (K + f))


def test_the_claims_have_their_verdicts():
    rows = [(r["line"], r["verdict"]) for r in claims.rows(5)]
    assert {line for line, v in rows if v == "wrong"} == {552, 676}
    assert {line for line, v in rows if v == "illustrative"} == {561, 566, 567, 568, 1501}
    assert {565, 585, 586, 588, 589, 590, 612, 672, 1541} == {n for n, v in rows if v == "right"}


# 3. Properties.

@given(n=st.integers(1, 1000), share=st.floats(0, 1))
def test_idf_of_bm25l_is_lucenes(n, share):
    df = np.array([round(share * n)])
    assert_close(idf_bm25l(df, n), idf_lucene(df, n), atol=1e-11)
    if df[0]:
        assert_close(idf_atire(df, n), idf_plain(df, n))
        assert idf_bm25plus(df, n) > idf_atire(df, n)


@given(count=st.integers(1, 50), ratio=st.floats(0, 9), k1=K1S, b=st.sampled_from([0.0, 0.4, 0.75]))
def test_saturations_of_one_count(count, ratio, k1, b):
    s = saturation(np.array([count]), ratio, k1, b)
    assert_close(saturation_lucene(np.array([count]), ratio, k1, b) * (k1 + 1), s)
    assert_close(saturation_bm25plus(np.array([count]), ratio, k1, b, delta=0.7), s + 0.7)
    assert_close(saturation_bm25l(np.array([count]), ratio, k1, b, delta=0.0), s)
    assert saturation_bm25l(np.array([count]), ratio, k1, b) >= s


@pytest.mark.parametrize("saturate", SATURATIONS)
def test_an_absent_word_adds_nothing(saturate):
    with np.errstate(all="raise"):
        for k1 in (0.0, 1.2):
            for b in (0.0, 0.75, 1.0):
                assert_close(saturate(np.array([0, 0]), np.array([0.0, 2.0]), k1, b), [0.0, 0.0])


@given(corpus=CORPORA, query=QUERIES)
def test_k1_without_bound_leaves_the_relative_frequency(corpus, query):
    """s / (k1 + 1) -> f / K, so at b = 1 the score is proportional to chapter 4's tf times idf."""
    X, (ids,) = counted(corpus, query)
    k1 = 1e9
    weight = np.zeros(X.shape[1])
    np.add.at(weight, ids, idf_lucene(document_frequency(X), X.shape[0])[ids])
    relative = csr_dot(term_frequency_relative(X), weight) * row_sums(X).mean()
    assert_close(scores(X, ids, k1, b=1.0), relative, rtol=1e-6)


@given(corpus=CORPORA, query=QUERIES, order=st.permutations(range(12)))
def test_the_order_of_documents_does_not_matter(corpus, query, order):
    order = [i for i in order if i < len(corpus)]
    X, (ids,) = counted(corpus, query)
    Y, (others,) = counted([corpus[i] for i in order], query)
    assert_close(scores(Y, others), scores(X, ids)[order], atol=1e-12)


@every_search
@given(corpus=CORPORA, queries=st.lists(QUERIES, max_size=4), idf=st.sampled_from(IDFS))
def test_fewer_answers_are_the_first_of_more(backend, corpus, queries, idf):
    X, ids = counted(corpus, *queries)
    postings = backend.build_postings(X, idf=idf)
    documents, best = backend.search(postings, ids, len(corpus) + 3)
    assert documents.shape == best.shape == (len(queries), len(corpus))
    assert documents.dtype == np.int64 and best.dtype == np.float32
    for k in range(1, len(corpus)):
        fewer, less = backend.search(postings, ids, k)
        assert np.array_equal(fewer, documents[:, :k]) and np.array_equal(less, best[:, :k])


@every_search
@given(corpus=CORPORA, query=QUERIES, more=QUERIES)
def test_a_query_answers_alike_alone_and_among_others(backend, corpus, query, more):
    X, (ids, others) = counted(corpus, query, more)
    postings = backend.build_postings(X)
    alone = backend.search(postings, [ids], 3)
    among = backend.search(postings, [others, ids, ids[::-1], others], 3)
    for got, want in zip(among, alone, strict=True):
        assert np.array_equal(got[1], want[0]) and np.array_equal(got[2], want[0])


@every_search
@given(corpus=CORPORA, query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
       idf=st.sampled_from(IDFS), saturate=st.sampled_from(SATURATIONS))
def test_shares_add_up_to_the_score(backend, corpus, query, idf, saturate):
    index = BM25(corpus, idf=idf, saturate=saturate, bm25=backend)
    documents, best = index.search([" ".join(query)], k=5)
    for d, score in zip(documents[0], best[0], strict=True):
        if d >= 0:
            shares = index.explain(" ".join(query), int(d))
            assert_close(float(score), sum(s.impact for s in shares), rtol=1e-5, atol=1e-5)
            text = corpus[d].split()
            assert [s.word for s in shares] == [w for w in query if w in text]
            assert all(s.count == text.count(s.word) for s in shares)
            assert all(s.impact == s.idf * s.saturation for s in shares)


@every_search
def test_postings_list_each_words_documents(backend):
    X, _ = counted(["a b a", "", "b", "c a"])
    postings = backend.build_postings(X)
    assert postings.indptr.tolist() == [0, 2, 4, 5] and postings.indptr.dtype == np.int64
    assert postings.documents.tolist() == [0, 3, 0, 2, 3] and postings.documents.dtype == np.int32
    assert postings.impacts.dtype == np.float32 and postings.n == 4
    dense = np.zeros(X.shape[::-1])
    dense[np.repeat(np.arange(3), np.diff(postings.indptr)), postings.documents] = postings.impacts
    assert_close(dense.T, np.stack([scores(X, [t]) for t in range(3)], axis=1), rtol=1e-6)
    assert np.array_equal(dense.T > 0, to_dense(X) > 0)


def test_the_index_answers_texts():
    index = BM25(["The cat sat.", "A dog; a dog!", ""])
    documents, best = index.search(["DOG", "unknown words", "", "cat dog"], k=2)
    assert documents.tolist() == [[1, -1], [-1, -1], [-1, -1], [1, 0]]
    assert best[0, 0] > 0 and np.all(best[1:3] == 0)
    assert index.explain("dog dog horse", 1) == [index.explain("dog", 1)[0]] * 2
    assert index.explain("horse", 1) == index.explain("cat", 2) == []
    assert BM25([""]).search(["anything"])[0].tolist() == [[-1]]


@every_search
def test_no_query_no_answer(backend):
    X, _ = counted(["a b", "b"])
    documents, best = backend.search(backend.build_postings(X), [], 2)
    assert documents.shape == best.shape == (0, 2)


# Errors.

BAD_K1, BAD_B = (-0.1, math.nan, math.inf, -math.inf), (-0.01, 1.01, math.nan, math.inf)


@pytest.mark.parametrize("name, value", [*(("k1", v) for v in BAD_K1), *(("b", v) for v in BAD_B)])
def test_bad_parameters_are_named(name, value):
    X, (ids,) = counted(["a b", "b"], ["a"])
    for saturate in SATURATIONS:
        with pytest.raises(ValueError, match=f"{name}: expected"):
            saturate(np.array([1]), np.array([1.0]), **{name: value})
        with pytest.raises(ValueError, match=f"{name}: expected"):
            scores(X, ids, saturate=saturate, **{name: value})
    with pytest.raises(ValueError, match=f"{name}: expected"):
        chapter.half_way(1.0, **({"k1": 1.2, "b": 0.75} | {name: value}))
    with pytest.raises(ValueError, match=f"{name}: expected"):
        stuffing_curve([1], 10, **{name: value})
    with pytest.raises(ValueError, match=f"{name}: expected"):
        BM25(["a"], **{name: value})


@every_search
@pytest.mark.parametrize("corpus", [["a b", "b"], [""]])
@pytest.mark.parametrize("name, value", [("k1", -1.0), ("k1", math.nan), ("b", 1.5),
                                         ("b", math.nan)])
def test_bad_parameters_build_no_postings(backend, corpus, name, value):
    X, _ = counted(corpus)
    for saturate in SATURATIONS:
        with pytest.raises(ValueError, match=f"{name}: expected"):
            backend.build_postings(X, saturate=saturate, **{name: value})


@pytest.mark.parametrize("idf", IDFS)
def test_a_bad_df_is_refused(idf):
    for df in ([-1], [11], [3, math.nan]):
        with pytest.raises(ValueError, match="df: expected"):
            idf(np.array(df), 10)
    with pytest.raises(ValueError, match="n: expected"):
        idf(np.array([0]), 0)
    assert idf(np.array([]), 3).shape == (0,)


@pytest.mark.parametrize("idf", [idf_atire, idf_bm25plus])
def test_two_idf_want_words_that_stand_somewhere(idf):
    with pytest.raises(ValueError, match="df: expected values from 1"):
        idf(np.array([0, 2]), 3)


@every_search
@pytest.mark.parametrize("k", [0, -1, -10**9, math.nan])
def test_k_is_at_least_one(backend, k):
    X, (ids,) = counted(["a b", "b"], ["a"])
    with pytest.raises(ValueError, match="k: expected"):
        backend.search(backend.build_postings(X), [ids], k)


@every_search
@pytest.mark.parametrize("bad", [-1, 2, 10**12])
def test_a_query_holds_ids_of_words(backend, bad):
    X, (ids,) = counted(["a b", "b"], ["a"])
    with pytest.raises(ValueError, match=rf"queries\[2\]: expected word ids .* 0 to 1, got {bad}"):
        backend.search(backend.build_postings(X), [ids, ids[:0], np.array([0, bad])], 1)


def test_a_document_of_no_length_cannot_be_stuffed():
    for length in (0, -3, math.nan):
        with pytest.raises(ValueError, match="length: expected"):
            stuffing_curve(1, length)


def test_an_index_refuses_what_is_no_list_of_texts():
    with pytest.raises(ValueError, match="documents: expected at least one"):
        BM25([])
    with pytest.raises(TypeError, match="documents: expected a list"):
        BM25("one text")
    with pytest.raises(TypeError, match=r"documents\[1\]: expected a str"):
        BM25(["a", 3])
    index = BM25(["a", "b"])
    with pytest.raises(TypeError, match="queries: expected a list of texts"):
        index.search("a")
    with pytest.raises(TypeError, match="text: expected a str"):
        index.search([b"a"])
    with pytest.raises(ValueError, match="k: expected"):
        index.search(["a"], k=0)


@pytest.mark.parametrize("document", [-1, 2, 100])
def test_no_explanation_for_a_document_that_is_not_there(document):
    with pytest.raises(ValueError, match=f"document: expected 0 to 1, got {document}"):
        BM25(["a", "b"]).explain("a", document)


# 5. Parity with rank_bm25 and bm25s; what each computes stands in tests/parity/ch05_bm25.py.

@pytest.fixture(scope="module")
def addresses():
    """All passages of the State of the Union -> vocabulary, CSR."""
    return bag_of_words(data.sotu_paragraphs()[0])


@pytest.fixture(scope="module")
def frozen():
    with np.load(Path(__file__).parent / "parity/ch05_bm25.npz", allow_pickle=False) as stored:
        return dict(stored)


def idf_okapi(df, n):
    weight = idf_robertson(df, n)
    return np.where(weight < 0, 0.25 * weight.mean(), weight)


def idf_not_negative(df, n):
    return np.maximum(idf_robertson(df, n), 0)


def times_count(count, ratio, k1, b):
    return count * saturation_bm25l(count, ratio, k1, b)


PAIRS = {                             # key: our idf and worth, and theirs of a word that is absent
    "rank_okapi": (idf_okapi, saturation, 0.0),
    "rank_l": (idf_bm25l, times_count, 0.0),
    "rank_plus": (idf_bm25plus, saturation_bm25plus, 1.0),
    "bm25s_robertson": (idf_not_negative, saturation_lucene, 0.0),
    "bm25s_lucene": (idf_lucene, saturation_lucene, 0.0),
    "bm25s_atire": (idf_atire, saturation, 0.0),
    "bm25s_l": (idf_bm25l, saturation_bm25l, (K1 + 1) * 0.5 / (K1 + 0.5)),
    "bm25s_plus": (idf_bm25plus, saturation_bm25plus, 1.0),
}


def present(count, ratio, k1, b):
    return np.ones(len(count))


@pytest.mark.parametrize("key", PAIRS)
def test_equals_the_library(key, addresses, frozen):
    (vocabulary, X), (idf, saturate, absent) = addresses, PAIRS[key]
    for query, theirs in zip(frozen["queries"], frozen[key], strict=True):
        ids = chapter.encode(chapter.tokenize(str(query)), vocabulary)
        ours = scores(X, ids, K1, B, idf, saturate)
        if absent:
            all_idf = idf(document_frequency(X), X.shape[0])[ids].sum()
            ours += absent * (all_idf - scores(X, ids, K1, B, idf, present))
        assert_close(ours[frozen["documents"]], theirs, rtol=1e-9, atol=1e-10)


def test_equals_okapi_itself_where_no_idf_is_negative(addresses, frozen):
    vocabulary, X = addresses
    df, compared = document_frequency(X), 0
    for query, theirs in zip(frozen["queries"], frozen["rank_okapi"], strict=True):
        ids = chapter.encode(chapter.tokenize(str(query)), vocabulary)
        if np.all(df[ids] <= X.shape[0] / 2):
            assert_close(scores(X, ids, K1, B, idf_robertson)[frozen["documents"]], theirs,
                         atol=1e-10)
            compared += 1
    assert 3 <= compared < len(frozen["queries"])


def test_the_delta_of_their_bm25plus_moves_no_rank(addresses, frozen):
    """Present or absent, each document gets idf: theirs is plain BM25 and a constant a query."""
    vocabulary, X = addresses
    for query, theirs in zip(frozen["queries"], frozen["rank_plus"], strict=True):
        ids = chapter.encode(chapter.tokenize(str(query)), vocabulary)
        gap = theirs - scores(X, ids, K1, B, idf_bm25plus)[frozen["documents"]]
        assert_close(gap, np.full(len(gap), idf_bm25plus(document_frequency(X), X.shape[0])[
            ids].sum()), rtol=1e-9)


@every_search
def test_search_finds_the_best_of_bm25s(backend, addresses, frozen):
    vocabulary, X = addresses
    postings = backend.build_postings(X, K1, B, idf_lucene, saturation_lucene)
    ids = [chapter.encode(chapter.tokenize(str(q)), vocabulary) for q in frozen["queries"]]
    top = frozen["lucene_top"]
    documents, best = backend.search(postings, ids, top.shape[1])
    assert_close(best, top, rtol=2e-6)
    for d, own, q in zip(documents, best, ids, strict=True):
        assert_close(own, scores(X, q, saturate=saturation_lucene)[d], rtol=2e-6)


# 6. The twins: the same bits as the reference.

def equal_bits(got, want):
    """The same shapes, types and bits, field by field."""
    for a, b in zip(got, want, strict=True):
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape
            assert a.tobytes() == b.tobytes(), f"differ at {np.argwhere(a != b)[:5].tolist()}"
        else:
            assert a == b


def random_texts(rng, n, words, length):
    """Texts of words whose frequencies fall as 1 / rank; some empty, some twice, one word in all
    of a third of the corpora."""
    p = 1 / np.arange(1, words + 1)
    texts = [" ".join(f"w{w}" for w in rng.choice(words, rng.integers(0, 2 * length + 1), p=p /
                                                  p.sum())) for _ in range(n)]
    for i in rng.integers(0, n, n // 4):
        texts[i] = texts[rng.integers(0, n)]
    return [f"{t} always" for t in texts] if rng.random() < 1 / 3 else texts


def random_queries(rng, X, m, longest):
    """Words of the corpus, drawn as often as they stand in it or evenly, with repetitions."""
    tokens = np.repeat(X.indices, X.data).astype(np.int64)
    if not tokens.size:
        return [np.empty(0, np.int64)] * m
    out = [np.empty(0, np.int64)]
    for _ in range(m - 1):
        pool = tokens if rng.random() < 0.7 else np.arange(X.shape[1])
        out.append(rng.choice(pool, rng.integers(1, longest + 1)))
    return out


@every_twin_search
@pytest.mark.parametrize("n", sorted({*EDGE_SIZES, 63, 64, 65, 300} - {0}))
def test_twin_equals_reference_around_its_blocks(backend, n):
    rng = np.random.default_rng(n)
    _, X = bag_of_words(random_texts(rng, n, 50, 12))
    postings, own = chapter.build_postings(X), backend.build_postings(X)
    equal_bits(own, postings)
    queries = random_queries(rng, X, 8, 5)
    for k in (2, 500):
        equal_bits(backend.search(own, queries, k), chapter.search(postings, queries, k))


@fast_twin_search
@pytest.mark.parametrize("idf", IDFS)
@pytest.mark.parametrize("n", sorted({*EDGE_SIZES, 63, 64, 65, 300} - {0}))
def test_twin_equals_reference(backend, n, idf):
    rng = np.random.default_rng(n)
    _, X = bag_of_words(random_texts(rng, n, 50, 12))
    for saturate in SATURATIONS:
        postings = chapter.build_postings(X, idf=idf, saturate=saturate)
        own = backend.build_postings(X, idf=idf, saturate=saturate)
        equal_bits(own, postings)
        queries = random_queries(rng, X, 30, 5)
        for k in (1, 2, 10, 500):
            want = chapter.search(postings, queries, k)
            equal_bits(backend.search(own, queries, k), want)
            equal_bits(backend.search(postings, queries, k), want)


@every_twin_search
@pytest.mark.parametrize("m", EDGE_SIZES)
def test_twin_equals_reference_for_many_queries(backend, m):
    rng = np.random.default_rng(m)
    _, X = bag_of_words(random_texts(rng, 200, 80, 20))
    postings = backend.build_postings(X)
    queries = random_queries(rng, X, m, 4)[:m]
    equal_bits(backend.search(postings, queries, 7), chapter.search(postings, queries, 7))


@fast_twin_search
@pytest.mark.parametrize("seed", range(40))
def test_twin_equals_reference_on_random_corpora(backend, seed):
    rng = np.random.default_rng(seed)
    n, words = int(rng.integers(1, 700)), int(rng.choice([1, 3, 30, 400]))
    _, X = bag_of_words(random_texts(rng, n, words, int(rng.choice([1, 5, 40]))))
    k1, b, idf = rng.choice([0.0, 0.9, 1.2, 8.0]), rng.choice([0.0, 0.75, 1.0]), IDFS[seed % 5]
    postings = backend.build_postings(X, k1, b, idf)
    equal_bits(postings, chapter.build_postings(X, k1, b, idf))
    queries = random_queries(rng, X, 25, int(rng.choice([1, 3, 50])))
    for k in (1, 3, 10, n, n + 1):
        equal_bits(backend.search(postings, queries, k), chapter.search(postings, queries, k))


@fast_twin_search
@pytest.mark.parametrize("texts", [
    [""], ["", "", ""], ["a"], ["a"] * 200, ["", *["a b"] * 130, ""], ["a b", *["b"] * 150],
    ["a " * 300, *["a"] * 100], [f"w{i}" for i in range(100)], [f"x w{i % 7}" for i in range(140)],
], ids=["empty", "all empty", "one word", "all equal", "equal and empty", "one rare word",
        "one long text", "all distinct", "one word everywhere"])
@pytest.mark.parametrize("idf", IDFS)
def test_twin_equals_reference_on_odd_corpora(backend, texts, idf):
    _, X = bag_of_words(texts)
    postings = backend.build_postings(X, idf=idf)
    equal_bits(postings, chapter.build_postings(X, idf=idf))
    rng = np.random.default_rng(0)
    queries = random_queries(rng, X, 12, 6)
    if X.shape[1]:
        queries += [np.zeros(1, np.int64), np.zeros(5, np.int64),
                    np.arange(X.shape[1])[::-1].copy()]
    for k in (1, 2, 64, 1000):
        equal_bits(backend.search(postings, queries, k), chapter.search(postings, queries, k))


@pytest.fixture
def threads():
    """Sets Numba's number of threads, for this test only."""
    numba = pytest.importorskip("numba")
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@fast_twin_search
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_number_of_threads_changes_no_bit(backend, count, threads):
    import numba
    threads(min(count, numba.config.NUMBA_NUM_THREADS))
    rng = np.random.default_rng(count)
    for n in (1, 2, 3, 500):
        _, X = bag_of_words(random_texts(rng, n, 60, 15))
        postings = backend.build_postings(X, idf=idf_robertson)
        equal_bits(postings, chapter.build_postings(X, idf=idf_robertson))
        queries = random_queries(rng, X, 40, 6)
        for k in (1, 10):
            equal_bits(backend.search(postings, queries, k), chapter.search(postings, queries, k))


@every_twin_search
def test_twin_leaves_nothing_behind_between_indexes(backend):
    """Two indexes asked in turn, the first one also after the second is gone."""
    rng = np.random.default_rng(5)
    made = []
    for n in (70, 300, 70):
        _, X = bag_of_words(random_texts(rng, n, 40, 10))
        made.append((backend.build_postings(X), random_queries(rng, X, 20, 4)))
    for _ in range(2):
        for postings, queries in made:
            equal_bits(backend.search(postings, queries, 5), chapter.search(postings, queries, 5))
        made.pop()


def crafted(rng, n, words, values):
    """Postings with impacts drawn from a few values, long and short lists -> Postings."""
    lists = [np.sort(rng.choice(n, int(rng.integers(0, n + 1) ** rng.choice([0.3, 0.7, 1.0])),
                                replace=False)) for _ in range(words)]
    indptr = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    documents = np.concatenate(lists).astype(np.int32)
    impacts = rng.choice(np.asarray(values, np.float32), documents.size).astype(np.float32)
    return Postings(indptr, documents, impacts, n)


ONE, STEP = np.float32(1), np.float32(2**-23)                       # the next float32 is 1 + STEP
NEAR_TIES = {
    "one value": [1],
    "last bits": [ONE, ONE + STEP, ONE - STEP / 2, ONE + 2 * STEP],
    "rounded away": [1, 2**-24, 2**-25, 1 + 2**-23],                # 1 + 2^-24 = 1 in float32
    "far apart": [1e-6, 1, 3e6],
    "one near 0": [2**-149, 1e-38, 1e-30, 1e-7],
    "zeros": [0, 0, 1],
    "thirds": [1 / 3, 2 / 3, 1 / 7],
    "below 0": [-1, -ONE - STEP, -ONE + STEP / 2],
    "both signs": [-1, 1, ONE + STEP, -ONE - STEP, 0, 1e-7],
    "they cancel": [-3, -2, 3, 2, 1e-6, -1e-6],
}


@fast_twin_search
@pytest.mark.parametrize("case", NEAR_TIES)
@pytest.mark.parametrize("seed", range(6))
def test_no_near_tie_is_lost_at_the_last_place(backend, case, seed):
    """What may be passed over is decided by bounds: a rounded sum must not fall on their wrong
    side.  Here scores differ in their last bits, or not at all, around the k-th place."""
    rng = np.random.default_rng([seed, *case.encode()])
    for n in (5, 64, 130, 900):
        postings = crafted(rng, n, 25, NEAR_TIES[case])
        queries = [rng.integers(0, 25, rng.integers(1, m + 1)) for m in [2, 3, 3, 5, 8, 20, 50] * 3]
        for k in (1, 2, 10, 50):
            equal_bits(backend.search(postings, queries, k), chapter.search(postings, queries, k))


@every_twin_search
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400), words=st.integers(1, 12),
       k=st.integers(1, 20), bits=st.integers(0, 3))
def test_twin_equals_reference_on_any_postings(backend, seed, n, words, k, bits):
    rng = np.random.default_rng(seed)
    values = (rng.integers(1, 2 + bits, 4) + rng.integers(0, 3, 4) * float(STEP)) * rng.choice(
        [1, 1, 1, -1], 4)
    postings = crafted(rng, n, words, values)
    queries = [rng.integers(0, words, rng.integers(0, 7)) for _ in range(8)]
    equal_bits(backend.search(postings, queries, k), chapter.search(postings, queries, k))


@fast_twin_search
def test_twin_equals_reference_on_the_addresses(backend, addresses):
    _, X = addresses
    postings = backend.build_postings(X)
    equal_bits(postings, chapter.build_postings(X))
    rng = np.random.default_rng(0)
    for longest, k in ((3, 10), (8, 1), (50, 100)):
        queries = random_queries(rng, X, 25, longest)
        equal_bits(backend.search(postings, queries, k), chapter.search(postings, queries, k))


@every_twin_search
def test_arguments_stay_as_they_are(backend):
    rng = np.random.default_rng(1)
    _, X = bag_of_words(random_texts(rng, 100, 30, 10))
    postings, queries = backend.build_postings(X), random_queries(rng, X, 10, 4)
    before = [a.tobytes() for a in (*X[:3], *postings[:3], *queries)]
    backend.search(postings, queries, 3)
    backend.build_postings(X, k1=0.5)
    assert before == [a.tobytes() for a in (*X[:3], *postings[:3], *queries)]


@pytest.fixture(scope="module")
def cuda():
    """The CUDA twin, run by the emulator; what it keeps on its device is thrown away afterwards."""
    return emulator.load("ch05_bm25")


@every_order
def test_cuda_search_around_tiles_and_blocks(cuda, monkeypatch, order):
    """2048 documents are a tile; a block may have several, and a launch not all queries.  Below
    128 words of a query have their places kept; above 1024 results, the keys are sorted."""
    rng = np.random.default_rng(3)
    with emulator.running(**order):
        for n, k in ((1, 1), (33, 5), (2047, 10), (2048, 1024), (2049, 1025), (5000, 10),
                     (5000, 5000)):
            postings = crafted(rng, n, 30, NEAR_TIES["both signs"])
            queries = [rng.integers(0, 30, m) for m in (0, 1, 3, 150 if n == 2049 else 5)]
            want = chapter.search(postings, queries, k)
            for blocks, candidates in ((1, 1), (2048, 1 << 25)):
                monkeypatch.setattr(cuda, "BLOCKS", blocks)
                monkeypatch.setattr(cuda, "CANDIDATES", candidates)
                equal_bits(cuda.search(postings, queries, k), want)


@every_order
def test_cuda_builds_the_same_postings(cuda, order):
    with emulator.running(**order):
        for n in {*EDGE_SIZES, 300} - {0}:
            _, X = bag_of_words(random_texts(np.random.default_rng(n), n, 60, 30))
            equal_bits(cuda.build_postings(X, idf=idf_robertson),
                       chapter.build_postings(X, idf=idf_robertson))


@on_emulator
def test_cuda_takes_the_postings_up_once_and_waits_once(cuda):
    postings = crafted(np.random.default_rng(0), 3000, 9, [1, 2])
    queries = [np.array([1, 2]), np.array([3])]
    for uploads in (3, 1):
        with emulator.running() as log:
            cuda.search(postings, queries, 10)
        assert (log.count.uploads, log.count.downloads) == (uploads, 1)
    kept = len(cuda.ON_DEVICE)
    del postings
    assert len(cuda.ON_DEVICE) == kept - 1
