"""Exercises of chapter 3: words, numbers for words, counts, and counts without their zeros."""
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from primer.ch03_bow import CSR, to_dense, tokenize
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch03_bow"
WORDS = ("the", "cat", "sat", "on", "mat", "dog", "a", "Ελλάδα", "naïve")
MARKS = (" ", ", ", ". ", "; ", "! ", "-", "\n", " ... ")

a_word = st.sampled_from(WORDS)
tokens = st.lists(a_word, max_size=8)
token_lists = st.lists(tokens, min_size=1, max_size=4)
texts = st.lists(st.tuples(a_word, st.sampled_from(MARKS)), max_size=8).map(
    lambda pieces: "".join(w + m for w, m in pieces))
corpora = st.lists(texts, min_size=1, max_size=4)
vocabularies = st.permutations(WORDS).flatmap(
    lambda order: st.integers(1, len(WORDS)).map(lambda k: {w: i for i, w in enumerate(order[:k])}))


def matrices():
    """Small tables of counts, mostly zeros -> strategy of (n, V) int32."""
    return st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(lambda shape: arrays(
        np.int32, shape, elements=st.sampled_from((0, 0, 0, 1, 2, 3))))


def compress(dense):
    """The CSR of a table, row by row."""
    columns = [np.flatnonzero(row) for row in dense]
    indptr = np.cumsum([0, *(c.size for c in columns)], dtype=np.int64)
    return CSR(indptr, np.concatenate(columns).astype(np.int32), dense[dense != 0], dense.shape)


def is_csr(X):
    """Broken unless the parts of X fit each other, so that the rest may rely on it."""
    indptr, indices, data, (n, V) = X
    fits = (len(indptr) == n + 1 and indptr[0] == 0 and (np.diff(indptr) >= 0).all()
            and indptr[-1] == len(data) == len(indices))
    expect(fits, "indptr: a 0, then where each row ends; n + 1 numbers in all", indptr=indptr,
           entries=len(data), shape=X.shape)
    for start, stop in zip(indptr, indptr[1:], strict=False):
        row = indices[start:stop]
        expect((np.diff([-1, *row, V]) > 0).all(), "columns from 0 to V - 1, rising in each row",
               row=row, shape=X.shape)


# ---- words --------------------------------------------------------------------------------------

words = Exercise("ch03.words", REFERENCE, ["tokenize"], "A text becomes a list of words", "3.1")


@words.property("every word comes out, in order, repeats included",
                pieces=st.lists(st.tuples(a_word, st.sampled_from(MARKS)), max_size=8),
                hint="find runs of word characters; punctuation belongs to no word")
def finds_each_word(impl, pieces):
    got = impl.tokenize("".join(w + m for w, m in pieces))
    expect(got == [w.lower() for w, _ in pieces], "the words between the marks", got=got,
           wanted=[w.lower() for w, _ in pieces])


@words.property("capitals make no difference", text=texts, hint="lower the text first")
def ignores_case(impl, text):
    got, want = impl.tokenize(text.upper()), [w.upper() for w in impl.tokenize(text)]
    expect([w.upper() for w in got] == want, "THE and the are one word", got=got)
    expect(all(w == w.lower() for w in got), "the words come out in lower case", got=got)


@words.property("it agrees with a calculation by hand", mark=st.sampled_from(MARKS),
                hint='"Man bites dog." has the words man, bites, dog')
def words_by_hand(impl, mark):
    got = impl.tokenize(f"Man bites dog{mark}A 2nd dog_1 bites man!")
    want = ["man", "bites", "dog", "a", "2nd", "dog_1", "bites", "man"]
    expect(got == want, "letters, digits and _ make words", got=got, want=want)


words.mutant("tokenize", "text.lower()", "text", "the case is kept: The and the are two words")
words.mutant("tokenize", "WORD.findall(text.lower())", "text.lower().split()",
             "punctuation stays on the words")
words.mutant("tokenize", "WORD.findall(text.lower())",
             "list(dict.fromkeys(WORD.findall(text.lower())))", "a repeated word comes out once")
words.mutant("tokenize", "WORD.findall(text.lower())", "re.findall('[a-z0-9_]+', text.lower())",
             "only a to z are taken for letters")
words.mutant("tokenize", "WORD.findall(text.lower())",
             "[w for w in WORD.findall(text.lower()) if len(w) > 1]", "one-letter words are lost")

# ---- one document -------------------------------------------------------------------------------

counts = Exercise("ch03.counts", REFERENCE, ["build_vocabulary", "count_vector"],
                  "A document becomes a vector", "3.2, 3.3")


@counts.property("words are numbered 0, 1, 2, ... as they first appear", documents=token_lists,
                 hint="a word that was met before keeps its number")
def numbers_by_appearance(impl, documents):
    got, want = impl.build_vocabulary(documents), {}
    for word in (w for document in documents for w in document):
        if word not in want:
            want[word] = len(want)
    expect(dict(got) == want, "the number of each word", got=got, want=want)
    expect(list(got) == list(want), "the order of the words", got=list(got))


@counts.property("the order of the words does not matter", words=tokens, vocabulary=vocabularies,
                 order=st.permutations(range(8)), hint="it is a bag: only how many of each")
def forgets_the_order(impl, words, vocabulary, order):
    mixed = [words[i] for i in order if i < len(words)]
    expect_close(impl.count_vector(mixed, vocabulary), impl.count_vector(words, vocabulary),
                 "mixing the words")


@counts.property("two documents in one: their counts add up", first=tokens, second=tokens,
                 vocabulary=vocabularies, hint="count how often, not whether")
def adds_up(impl, first, second, vocabulary):
    apart = [np.asarray(impl.count_vector(w, vocabulary)) for w in (first, second)]
    expect(all(len(x) == len(vocabulary) for x in apart), "one number for each word known",
           lengths=[len(x) for x in apart], vocabulary=vocabulary)
    expect_close(impl.count_vector(first + second, vocabulary), apart[0] + apart[1],
                 "counts of the whole")


@counts.property("a word that is not in the vocabulary changes nothing", words=tokens,
                 vocabulary=vocabularies, at=st.integers(0, 8), hint="leave it out")
def ignores_the_unknown(impl, words, vocabulary, at):
    more = [*words[:at], "zebra", *words[at:]]
    expect_close(impl.count_vector(more, vocabulary), impl.count_vector(words, vocabulary),
                 "with zebra, which the vocabulary lacks")


@counts.property("it agrees with a calculation by hand", repeats=st.integers(0, 3),
                 hint="the cat sat on the mat: the stands there twice")
def counts_by_hand(impl, repeats):
    documents = ["the cat sat on the mat".split(), "the dog sat on the log".split()]
    vocabulary = {"the": 0, "cat": 1, "sat": 2, "on": 3, "mat": 4, "dog": 5, "log": 6}
    got = impl.build_vocabulary(documents)
    expect(dict(got) == vocabulary, "the vocabulary", got=got, want=vocabulary)
    expect_close(impl.count_vector(documents[0] + ["cat"] * repeats, vocabulary),
                 np.array([2, 1 + repeats, 1, 1, 1, 0, 0]), "the counts of document 1")


counts.mutant("build_vocabulary", "dict.fromkeys(chain.from_iterable(token_lists))",
              "sorted(set(chain.from_iterable(token_lists)))", "the words are numbered by alphabet")
counts.mutant("build_vocabulary", "dict.fromkeys(chain.from_iterable(token_lists))",
              "chain.from_iterable(token_lists)", "a repeated word is numbered again")
counts.mutant("build_vocabulary", "enumerate(dict.fromkeys(chain.from_iterable(token_lists)))",
              "enumerate(dict.fromkeys(chain.from_iterable(token_lists)), 1)",
              "the numbers begin with 1")
counts.mutant("build_vocabulary", "chain.from_iterable(token_lists)",
              "chain.from_iterable(list(token_lists)[:-1])", "the last document is left out")
counts.mutant("encode", "[vocabulary[t] for t in tokens if t in vocabulary]",
              "[vocabulary.get(t, 0) for t in tokens]", "unknown words count as word 0")
counts.mutant("encode", "[vocabulary[t] for t in tokens if t in vocabulary]",
              "[vocabulary.get(t, len(vocabulary)) for t in tokens]",
              "unknown words are counted in a place of their own")
counts.mutant("encode", "[vocabulary[t] for t in tokens if t in vocabulary]",
              "[vocabulary[t] for t in tokens[:-1] if t in vocabulary]",
              "the last word of a document is not counted")
counts.mutant("encode", "[vocabulary[t] for t in tokens if t in vocabulary]",
              "list({vocabulary[t] for t in tokens if t in vocabulary})",
              "a word counts once, however often it stands there")
counts.mutant("count_vector", "len(vocabulary)", "0", "the vector ends with the last word found")

# ---- a corpus -----------------------------------------------------------------------------------

corpus = Exercise("ch03.corpus", REFERENCE, ["bag_of_words", "count_matrix"],
                  "A corpus becomes a matrix that keeps no zeros", "3.4")


@corpus.property("the matrix holds what counting one by one gives", documents=corpora,
                 vocabulary=vocabularies.map(lambda v: {w.lower(): i for w, i in v.items()}),
                 hint="row i: the columns and counts of document i; indptr says where it ends")
def equals_counting(impl, documents, vocabulary):
    X = impl.count_matrix(documents, vocabulary)
    is_csr(X)
    want = np.zeros((len(documents), len(vocabulary)), np.int64)
    for i, document in enumerate(documents):
        for word in tokenize(document):
            if word in vocabulary:
                want[i, vocabulary[word]] += 1
    expect_close(to_dense(X), want, "the matrix with its zeros")


@corpus.property("only what is not zero is kept", documents=corpora,
                 hint="np.unique(ids, return_counts=True) gives columns and counts of one row")
def keeps_no_zeros(impl, documents):
    vocabulary, X = impl.bag_of_words(documents)
    is_csr(X)
    expect((np.asarray(X.data) > 0).all(), "every count is at least 1", data=X.data)
    distinct = [len(set(tokenize(d))) for d in documents]
    expect_close(np.diff(X.indptr), np.array(distinct), "entries of each row")
    expect(X.shape == (len(documents), len(vocabulary)), "n documents, V words", shape=X.shape)


@corpus.property("it agrees with a calculation by hand", repeats=st.integers(0, 2),
                 hint="the counts by hand: [2 1 1 1 1 0 0] and [2 0 1 1 0 1 1]")
def corpus_by_hand(impl, repeats):
    documents = ["The cat sat on the mat.", "The dog sat on the log."]
    vocabulary, X = impl.bag_of_words(documents + ["Log!"] * repeats)
    expect(list(vocabulary) == ["the", "cat", "sat", "on", "mat", "dog", "log"],
           "the vocabulary", got=vocabulary)
    expect_close(X.indptr, np.array([0, 5, 10, *range(11, 11 + repeats)]), "indptr")
    expect_close(X.indices, np.array([0, 1, 2, 3, 4, 0, 2, 3, 5, 6] + [6] * repeats), "indices")
    expect_close(X.data, np.array([2, 1, 1, 1, 1, 2, 1, 1, 1, 1] + [1] * repeats), "data")


corpus.mutant("count_matrix",
              "[np.unique(encode(tokenize(d), vocabulary), return_counts=True) for d in documents]",
              "[np.unique(encode(tokenize(d), vocabulary), return_counts=True) "
              "for d in documents[:-1]]", "the last document is left out")
corpus.mutant("count_matrix", "[0, *(len(ids) for ids, _ in rows)]",
              "[len(ids) for ids, _ in rows]", "indptr lacks its leading 0")
corpus.mutant("count_matrix", "np.cumsum([0, *(len(ids) for ids, _ in rows)], dtype=np.int64)",
              "np.array([0, *(len(ids) for ids, _ in rows)], dtype=np.int64)",
              "indptr holds lengths, not where the rows end")
corpus.mutant("count_matrix", "[counts for _, counts in rows]",
              "[counts > 0 for _, counts in rows]", "multiplicity is lost: every count is 1")
corpus.mutant("count_matrix", "(len(rows), len(vocabulary))", "(len(vocabulary), len(rows))",
              "the shape is upside down")
corpus.mutant("count_matrix", "[ids for ids, _ in rows]", "[ids[::-1] for ids, _ in rows]",
              "columns and counts do not belong together")
corpus.mutant("bag_of_words", "build_vocabulary(tokenize(d) for d in documents)",
              "build_vocabulary(sorted(tokenize(d)) for d in documents)",
              "the words are numbered by alphabet")

# ---- a matrix times a vector --------------------------------------------------------------------

product = Exercise("ch03.product", REFERENCE, ["csr_dot"], "Multiply without touching a zero")


@product.property("it is the product with the zeros in it", table=matrices(),
                  w=arrays(np.float64, 5, elements=st.integers(-20, 20).map(lambda i: i / 4)),
                  hint="each entry times the weight of its column, summed over its row")
def equals_dense(impl, table, w):
    w = w[:table.shape[1]]
    expect_close(impl.csr_dot(compress(table), w), table @ w, "X w")


@product.property("a row without entries scores 0, also the last one", rows=st.integers(1, 4),
                  empty=st.integers(1, 3), hint="one answer for each row, not for each row in use")
def scores_empty_rows(impl, rows, empty):
    table = np.concatenate([np.ones((rows, 2), np.int32), np.zeros((empty, 2), np.int32)])
    expect_close(impl.csr_dot(compress(table), np.ones(2)), table.sum(axis=1).astype(float),
                 "scores")


@product.property("it agrees with a calculation by hand", a=st.integers(-3, 3),
                  b=st.integers(-3, 3), hint="row 1 is 2 0 1: 2 a + 1 c")
def product_by_hand(impl, a, b):
    X = compress(np.array([[2, 0, 1], [0, 3, 0]]))
    expect_close(impl.csr_dot(X, np.array([a, b, 5.0])), np.array([2.0 * a + 5, 3.0 * b]), "X w")


product.mutant("csr_dot", "X.data * w[X.indices]", "w[X.indices]", "the counts are not used")
product.mutant("csr_dot", "X.data * w[X.indices]", "X.data * np.resize(w, X.data.shape)",
               "entries meet weights in storage order, not by column")
product.mutant("csr_dot", "X.data * w[X.indices]", "X.data + w[X.indices]",
               "weights are added, not multiplied")
product.mutant("csr_dot", "np.bincount(row_of_entry(X), X.data * w[X.indices], "
               "minlength=X.shape[0])", "np.bincount(row_of_entry(X), X.data * w[X.indices])",
               "empty rows at the end get no score")
product.mutant("csr_dot", "row_of_entry(X)", "X.indices", "summed over columns, not over rows")

# ---- by word ------------------------------------------------------------------------------------

by_word = Exercise("ch03.by_word", REFERENCE, ["transpose"], "For each word, its documents")


@by_word.property("rows become columns", table=matrices(),
                  hint="sort the entries by column; those of one column keep their order")
def flips(impl, table):
    Y = impl.transpose(compress(table))
    is_csr(Y)
    expect_close(to_dense(Y), table.T, "the transpose with its zeros")


@by_word.property("twice is nothing", table=matrices())
def twice_is_nothing(impl, table):
    X = compress(table)
    back = impl.transpose(impl.transpose(X))
    expect(tuple(back.shape) == X.shape, "the shape comes back", shape=back.shape)
    for got, want, name in zip(back, X[:3], X._fields, strict=False):
        expect_close(got, want, f"{name} comes back")


@by_word.property("it agrees with a calculation by hand", count=st.integers(1, 9),
                  hint="word 0 stands in both documents, word 1 in none, word 2 in document 0")
def flips_by_hand(impl, count):
    Y = impl.transpose(compress(np.array([[4, 0, count], [5, 0, 0]])))
    expect_close(Y.indptr, np.array([0, 2, 2, 3]), "indptr: where each word's list ends")
    expect_close(Y.indices, np.array([0, 1, 0]), "indices: the documents")
    expect_close(Y.data, np.array([4, 5, count]), "data")


by_word.mutant("transpose", "np.argsort(X.indices, kind='stable')", "np.arange(X.indices.size)",
               "the entries are not sorted by column")
by_word.mutant("transpose", "X.data[order]", "X.data", "the counts stay where they were")
by_word.mutant("transpose", "row_of_entry(X)[order]", "row_of_entry(X)",
               "the rows stay where they were")
by_word.mutant("transpose", "X.shape[::-1]", "X.shape", "the shape is not turned")
