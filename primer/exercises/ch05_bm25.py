"""Exercises of chapter 5: saturation, two idf, BM25 as a sum, the search, and keyword stuffing.

A corpus is a list of texts made of the words a, b, c, d; a query is a list of these words.
"""
import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from primer import ch05_bm25
from primer.ch03_bow import bag_of_words
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch05_bm25"
WORDS = "abcd"
CORPORA = st.lists(st.text(WORDS, max_size=7).map(" ".join), min_size=1, max_size=6)
QUERIES = st.text(WORDS, min_size=1, max_size=4).map(list)
COUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=5)
RATIOS = st.sampled_from([0.25, 0.5, 1.0, 1.5, 3.0])
K1S, BS = st.sampled_from([0.0, 0.5, 1.2, 2.0]), st.sampled_from([0.0, 0.25, 0.75, 1.0])

def counted(corpus, query):
    """Texts and words -> CSR (n, V), ids of the words that the corpus has."""
    vocabulary, X = bag_of_words(corpus)
    return X, np.array([vocabulary[w] for w in query if w in vocabulary], np.int64)

def by_formula(corpus, query, k1, b, idf):
    """BM25 of each text as the formula reads, over Python's lists -> list of float."""
    texts, out = [text.split() for text in corpus], []
    mean = sum(map(len, texts)) / len(texts)
    for text in texts:
        total = 0.0
        for word in query:
            f, df = text.count(word), sum(word in other for other in texts)
            if f:
                K = k1 * (1 - b + b * len(text) / mean)
                total += idf(df, len(texts)) * f * (k1 + 1) / (f + K)
        out.append(total)
    return out

def ln_robertson(df, n, more=0):
    return math.log(more + (n - df + 0.5) / (df + 0.5))

def ln_lucene(df, n):
    return ln_robertson(df, n, more=1)

saturation = Exercise("ch05.saturation", REFERENCE, ["saturation"], "A ratio with a ceiling", "5.2")

@saturation.property("a word that is not there is worth nothing, whatever k1 and b are",
                     ratio=st.just(0.0) | RATIOS, k1=K1S, b=BS,
                     hint="for k1 = 0 the formula reads 0 / 0; for an empty document at b = 1 too")
def absent_is_nothing(impl, ratio, k1, b):
    expect_close(impl.saturation(np.array([0, 2]), np.full(2, ratio), k1, b)[:1], [0.0],
                 "no occurrence, no worth")

@saturation.property("one more occurrence never scores less, and none reaches beyond k1 + 1",
                     counts=COUNTS, ratio=RATIOS, k1=K1S, b=BS,
                     hint="the count stands above and below the fraction bar")
def rises_to_a_ceiling(impl, counts, ratio, k1, b):
    counts, ratios = np.array(counts), np.full(len(counts), ratio)
    less, more = (impl.saturation(counts + c, ratios, k1, b) for c in (0, 1))
    expect(np.all(more >= less), "one more never scores less", before=less, after=more)
    expect(np.all(more <= k1 + 1 + 1e-9), "the ceiling is k1 + 1", worth=more, ceiling=k1 + 1)

@saturation.property("one occurrence in a document of mean length is worth exactly 1",
                     k1=K1S, b=BS, hint="what is 1 (k1 + 1) / (1 + k1)?")
def once_is_one(impl, k1, b):
    expect_close(impl.saturation(np.array([1]), np.array([1.0]), k1, b), [1.0], "1, for any k1, b")

@saturation.property("a longer document scores less for the same count; at b = 0 length is nothing",
                     count=st.integers(1, 20), ratio=RATIOS, b=st.sampled_from([0.25, 0.75, 1.0]),
                     hint="b weighs the length ratio, 1 - b the rest; both are below the bar")
def length_counts(impl, count, ratio, b):
    counts, ratios = np.full(2, count), np.array([ratio, ratio + 0.5])
    short, long = impl.saturation(counts, ratios, 1.2, b)
    expect(long < short, "the longer one scores less", shorter=short, longer=long)
    short, long = impl.saturation(counts, ratios, 1.2, 0.0)
    expect_close(long, short, "b = 0: length does not count")

@saturation.property("it agrees with a calculation by hand", counts=COUNTS, ratio=RATIOS, k1=K1S,
                     b=BS, hint="f (k1 + 1) / (f + k1 (1 - b + b r)), one number at a time")
def saturation_by_hand(impl, counts, ratio, k1, b):
    want = [f * (k1 + 1) / (f + k1 * (1 - b + b * ratio)) if f else 0.0 for f in counts]
    expect_close(impl.saturation(np.array(counts), np.full(len(counts), ratio), k1, b), want,
                 "equation 5.2")

LENGTH = "1 - b + b * np.asarray(length_ratio, np.float64)"
saturation.mutant("half_way", LENGTH, LENGTH.replace("b", "k1"), "k1 where b belongs")
saturation.mutant("half_way", LENGTH, LENGTH.replace("b *", "b /"), "the ratio is upside down")
saturation.mutant("half_way", LENGTH, "b + (1 - b) * np.asarray(length_ratio, np.float64)",
                  "b and 1 - b are swapped")
saturation.mutant("saturation", "count * (k1 + 1)", "count", "the factor k1 + 1 is missing")
saturation.mutant("saturation", "count + K", "1 + K",
                  "no count below the fraction bar: the ceiling is lost")
saturation.mutant("saturation", "count * (k1 + 1) / np.where(count > 0, count + K, 1)",
                  "np.log1p(count) / np.log(2) / (1 + 0 * K)", "a logarithm in place of the ratio")
saturation.mutant("saturation", "np.where(count > 0, count + K, 1)", "count + K",
                  "0 / 0 for a word that is not there")

idf = Exercise("ch05.idf", REFERENCE, ["idf_robertson", "idf_lucene"], "Two of them", "5.3, 5.4")
SIZES = st.integers(1, 1000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))

@idf.property("the rarer of two words weighs more", size=SIZES,
              hint="documents without the word above the bar, with it below")
def rarer_weighs_more(impl, size):
    n, df = size
    for f in (impl.idf_robertson, impl.idf_lucene):
        weight = f(np.array([df, 0.5 * df]), n)
        expect(df == 0 or weight[1] > weight[0], "half as many documents, a larger weight",
               weight=weight[0], of_the_rarer=weight[1])

@idf.property("Robertson's turns over at half of the documents: idf(n - df) = -idf(df)", size=SIZES,
              hint="the logarithm of odds: 1 : 1 gives 0")
def odds_turn_over(impl, size):
    n, df = size
    a, b = impl.idf_robertson(np.array([df, n - df]), n)
    expect_close(a, -b, "with and without the word, swapped", atol=1e-9)
    expect((a < 0) == (2 * df > n) or 2 * df == n, "negative for more than half", idf=a)

@idf.property("Lucene's is above 0 for every word, even one that every document holds", size=SIZES,
              hint="ln(1 + x) is above 0 where x is")
def never_negative(impl, size):
    n, df = size
    weight = impl.idf_lucene(np.array([df, n]), n)
    expect(np.all(weight > 0), "above 0", df=[df, n], your_answer=weight)

@idf.property("it agrees with a calculation by hand", size=SIZES,
              hint="natural logarithms; both counts get a half")
def idf_by_hand(impl, size):
    n, df = size
    expect_close(impl.idf_robertson(np.array([df]), n), [ln_robertson(df, n)], "equation 5.4")
    expect_close(impl.idf_lucene(np.array([df]), n), [ln_lucene(df, n)], "equation 5.3")

idf.mutant("idf_lucene", "1 + (n - df + 0.5) / (df + 0.5)", "(n - df + 0.5) / (df + 0.5)",
           "no 1 + in the logarithm: Lucene's is negative too")
idf.mutant("idf_robertson", "(n - df + 0.5) / (df + 0.5)", "(df + 0.5) / (n - df + 0.5)",
           "df and n - df are swapped")
idf.mutant("idf_lucene", "(n - df + 0.5) / (df + 0.5)", "(df + 0.5) / (n - df + 0.5)",
           "df and n - df are swapped, in Lucene's")
idf.mutant("idf_robertson", "(n - df + 0.5) / (df + 0.5)", "(n + 0.5) / (df + 0.5)",
           "all documents above the bar, not those without the word")
idf.mutant("idf_robertson", "np.log((n - df + 0.5) / (df + 0.5))",
           "np.maximum(np.log((n - df + 0.5) / (df + 0.5)), 0)", "negative ones are cut off at 0")
idf.mutant("idf_lucene", "np.log(1 + (n - df + 0.5) / (df + 0.5))",
           "np.log2(1 + (n - df + 0.5) / (df + 0.5))", "log base 2 in place of the natural log")

ranking = Exercise("ch05.scores", REFERENCE, ["length_ratios", "scores"], "BM25 by words", "5.1")

@ranking.property("the scores of two queries, put together, add up", corpus=CORPORA, query=QUERIES,
                  more=QUERIES, hint="a sum over the query's words; a repeated word counts again")
def queries_add_up(impl, corpus, query, more):
    X, ids = counted(corpus, query)
    _, others = counted(corpus, more)
    expect_close(impl.scores(X, np.concatenate([ids, others])),
                 impl.scores(X, ids) + impl.scores(X, others), "score(p + q) = score(p) + score(q)")

@ranking.property("k1 = 0: the sum of the idf of the words that are there", corpus=CORPORA,
                  query=QUERIES, hint="then neither count nor length matters; df counts documents")
def presence_only(impl, corpus, query):
    X, ids = counted(corpus, query)
    expect_close(impl.scores(X, ids, k1=0.0), by_formula(corpus, query, 0.0, 0.75, ln_lucene),
                 "sum of idf")

@ranking.property("every document twice: all lengths count as before", corpus=CORPORA,
                  hint="the mean over documents: of words and of distinct words it is another")
def mean_over_documents(impl, corpus):
    ratios = impl.length_ratios(counted(corpus, [])[0])
    expect_close(np.mean(ratios), float(any(corpus)), "the mean ratio is 1, 0 if all is empty")
    again = impl.length_ratios(counted(corpus + [" ".join([t, t]) for t in corpus], [])[0])
    expect_close(again[len(corpus):], 2 * again[:len(corpus)], "a text said twice is twice as long")

@ranking.property("it agrees with a calculation by hand", corpus=CORPORA, query=QUERIES, k1=K1S,
                  b=BS, hint="a loop over documents, in it one over the query's words")
def scores_by_hand(impl, corpus, query, k1, b):
    X, ids = counted(corpus, query)
    for ours, plain in ((ch05_bm25.idf_lucene, ln_lucene),
                        (ch05_bm25.idf_robertson, ln_robertson)):
        expect_close(impl.scores(X, ids, k1, b, ours), by_formula(corpus, query, k1, b, plain),
                     "equation 5.1", atol=1e-9)

ranking.mutant("length_ratios", "lengths.mean() or 1.0", "lengths.sum() / X.shape[1] or 1.0",
               "the mean over the words of the vocabulary, not over the documents")
ranking.mutant("length_ratios", "row_sums(X)", "1.0 * np.diff(X.indptr)",
               "length in distinct words: repetitions are left out")
ranking.mutant("scores", "document_frequency(X)",
               "np.minimum(np.bincount(X.indices, X.data, X.shape[1]), X.shape[0])",
               "df counts occurrences, not documents")
ranking.mutant("scores", "query", "np.unique(query)", "a word that the query repeats counts once")
ranking.mutant("scores", "X.data[entries]", "(X.data[entries] > 0)",
               "presence, not the count, is scored")
ranking.mutant("scores", "total[d] += weight[t] * saturate(X.data[entries], r[d], k1, b)",
               "total[d] = weight[t] * saturate(X.data[entries], r[d], k1, b)",
               "only the last word of the query counts")
ranking.mutant("scores", "weight[t] * saturate(X.data[entries], r[d], k1, b)",
               "saturate(X.data[entries], r[d], k1, b)", "idf is not used")

search = Exercise("ch05.search", REFERENCE, ["search"], "The k best, from the inverted index")

def answers(impl, corpus, query, k, idf=ch05_bm25.idf_lucene):
    """One query's answers -> (documents, scores), and what each document scores."""
    X, ids = counted(corpus, query)
    documents, best = impl.search(ch05_bm25.build_postings(X, idf=idf), [ids], k)
    expect(np.shape(documents) == np.shape(best) == (1, min(k, len(corpus))),
           "one row a query, min(k, n) columns", documents=documents, scores=best)
    return documents[0], best[0], ch05_bm25.scores(X, ids, idf=idf)

@search.property("best first, and each score is that of its document", corpus=CORPORA,
                 query=QUERIES, k=st.integers(1, 8), hint="argsort sorts upwards")
def best_first(impl, corpus, query, k):
    documents, best, all_scores = answers(impl, corpus, query, k)
    found = documents >= 0
    expect(np.all(np.diff(best[found]) <= 0), "falling scores", your_scores=best)
    expect_close(best[found], all_scores[documents[found]], "the documents' scores", rtol=1e-5)

@search.property("equal texts come in the order of their numbers", text=st.sampled_from("ab"),
                 copies=st.integers(2, 5), k=st.integers(1, 6),
                 hint="a stable sort keeps the order")
def ties_by_number(impl, text, copies, k):
    documents, _, _ = answers(impl, ["c", *[text] * copies], [text], k)
    want = [*range(1, copies + 1), *[-1] * k][:min(k, copies + 1)]
    expect(documents.tolist() == want, "lower number first, then -1", answer=documents, want=want)

@search.property("it agrees with sorting all scores, also negative ones", corpus=CORPORA,
                 query=QUERIES, k=st.integers(1, 8), hint="only documents that hold a word count")
def search_by_hand(impl, corpus, query, k):
    documents, best, all_scores = answers(impl, corpus, query, k, ch05_bm25.idf_robertson)
    holds = [i for i, text in enumerate(corpus) if set(query) & set(text.split())]
    gaps = np.diff(np.sort(all_scores[holds]))
    assume(np.all(gaps > 1e-5))                       # ties have a property of their own
    order = sorted(holds, key=lambda i: -all_scores[i])[:k]
    missing = len(documents) - len(order)
    expect(documents.tolist() == order + [-1] * missing, "the documents, then -1",
           answer=documents, want=order)
    expect_close(best, np.append(all_scores[order], np.zeros(missing)), "their scores, then 0",
                 rtol=1e-5, atol=1e-6)

SORTED = "np.argsort(-total[found], kind='stable')"
search.mutant("search", SORTED, "np.argsort(total[found], kind='stable')", "the worst come first")
search.mutant("search", SORTED, "np.argsort(total[found], kind='stable')[::-1]",
              "sorted upwards and turned: ties come highest number first")
search.mutant("search", f"found[{SORTED}[:k]]", f"{SORTED}[:k]",
              "places among the documents found, not the documents' numbers")
search.mutant("search", "np.flatnonzero(holds)", "np.arange(postings.n)",
              "documents that hold no word of the query answer too")
search.mutant("search", "np.flatnonzero(holds)", "np.flatnonzero(total > 0)",
              "documents with a negative score are left out")
search.mutant("search", "sorted(query, key=lambda t: (df[t], t))", "sorted(set(query))",
              "a word that the query repeats counts once, in the search")
search.mutant("search", "total[order]", "total[found][:len(order)]",
              "the scores stand in the order of the documents")
search.mutant("check_k", "min(int(k), n)", "int(k)", "more answers than documents")

stuffing = Exercise("ch05.stuffing", REFERENCE, ["stuffing_curve"], "What keyword stuffing buys")

@stuffing.property("it agrees with (5.2), each copy a word longer", copies=COUNTS, k1=K1S, b=BS,
                   length=st.integers(1, 200), mean=st.sampled_from([50, 100]), f=st.integers(1, 3),
                   hint="copies count above the bar and in the length; the mean stays")
def stuffing_by_hand(impl, copies, length, mean, f, k1, b):
    want = [(f + m) * (k1 + 1) / (f + m + k1 * (1 - b + b * (length + m) / mean)) for m in copies]
    expect_close(impl.stuffing_curve(np.array(copies), length, f, mean, k1, b), want, "(5.2)")

@stuffing.property("without a mean the document's own length is the mean: no copy, worth 1", k1=K1S,
                   b=BS, length=st.integers(1, 200), hint="its length before it was stuffed")
def unstuffed(impl, length, k1, b):
    expect_close(impl.stuffing_curve(np.array([0]), length, 1, None, k1, b), [1.0], "no copy")

stuffing.mutant("stuffing_curve", "length + copies", "length", "the document stays as long")
stuffing.mutant("stuffing_curve", "count + copies", "copies", "its own words are forgotten")
stuffing.mutant("stuffing_curve", "avgdl or length", "length + copies", "the mean grows too")
stuffing.mutant("stuffing_curve", "avgdl or length", "avgdl or 1.0", "where no mean is given, 1")

postings = Exercise("ch05.postings", REFERENCE, ["build_postings"], "Impacts, in advance", "5.5")

@postings.property("the impacts of a query's words, added up, are its score: (5.5) and (5.1)",
                   corpus=CORPORA, query=QUERIES, k1=K1S, b=BS,
                   hint="for each word its documents, rising, and what it is worth in each")
def impacts_add_up(impl, corpus, query, k1, b):
    X, ids = counted(corpus, query)
    made, got = impl.build_postings(X, k1, b), np.zeros(len(corpus))
    for t in ids:
        own = slice(made.indptr[t], made.indptr[t + 1])
        expect(np.all(np.diff(made.documents[own]) > 0), "documents rise", got=made.documents[own])
        got[made.documents[own]] += made.impacts[own]
    expect_close(got, by_formula(corpus, query, k1, b, ln_lucene), "the scores", rtol=1e-5)

@postings.property("a place for each word in a document, n documents", corpus=CORPORA,
                   hint="indptr says where each word's documents begin")
def as_many_as_entries(impl, corpus):
    made, texts = impl.build_postings(counted(corpus, [])[0]), [set(t.split()) for t in corpus]
    expect(made.n == len(corpus), "n: the number of documents", got=made.n)
    expect(len(made.documents) == len(made.impacts) == made.indptr[-1] == sum(map(len, texts)),
           "one entry for each", got=made)

postings.mutant("build_postings", "weight[X.indices]", "1.0", "idf is not in the impacts")
postings.mutant("build_postings", "r[row_of_entry(X)]", "r[X.indices % len(r)]",
                "the length of another document: the word's number is taken for the document's")
postings.mutant("build_postings", "Postings(indptr, documents, impacts, X.shape[0])",
                "Postings(indptr, documents, impacts, X.shape[1])", "n counts words, not documents")
