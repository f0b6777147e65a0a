"""Chapter 3: tokens, vocabularies, counts without their zeros; the twin counts the same bytes."""
import re
from pathlib import Path

import numba
import numpy as np
import pytest
from conftest import (
    EDGE_SIZES,
    assert_close,
    backends,
    emulated,
    every_backend,
    every_order,
    every_twin,
    on_emulator,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import primer.ch03_bow as reference
from kernels import emulator
from primer.ch01_geometry import cosine
from primer.data import load_texts, sotu_paragraphs

counting = every_backend("ch03_bow", "bag_of_words", "count_matrix")
twin_counting = every_twin("ch03_bow", "bag_of_words", "count_matrix")
numba_counting = pytest.mark.parametrize("backend", [         # it has blocks and threads of the CPU
    p for p in backends("ch03_bow", "bag_of_words", "count_matrix") if p.id == "numba"])

words = st.sampled_from("the The cat sat on mat dog log a i u.k don't naïve ΟΔΟΣ İz 猫".split())
documents = st.lists(st.lists(words, max_size=9).map(" ".join), min_size=1, max_size=5)
any_character = st.characters(codec=None, exclude_categories=())          # surrogates too
any_documents = st.lists(st.text(any_character, max_size=30), min_size=1, max_size=5)

ZOO = {                               # what people get wrong -> its words
    "ΟΔΥΣΣΕΥΣ, ΟΔΟΣ": ["οδυσσευς", "οδος"],                  # capital sigma at a word's end is ς
    "Σ ΑΣ ΣΑ": ["σ", "ας", "σα"],
    "İstanbul": ["i", "stanbul"],                             # a combining dot is no letter
    "ISPARTA ılık": ["isparta", "ılık"],
    "自然言語処理。楽しい": ["自然言語処理", "楽しい"],
    "cafe\u0301 café": ["cafe", "café"],                      # nor is a combining accent
    "नमस्ते": ["नमस", "त"],                                    # nor an Indic vowel sign
    "Straße STRASSE": ["straße", "strasse"],
    "\ud800a\udfff b\udc80c": ["a", "b", "c"],                # lone surrogates
    "🙂word🙂 👩‍🚀": ["word"],
    "𝐀𝐛 𐐀": ["𝐀𝐛", "𐐨"],                                     # beyond 16 bits
    "½ ١٢٣ x² Ⅷ ①": ["½", "١٢٣", "x²", "ⅷ", "①"],
    "don't _a_ 3.14 e-mail": ["don", "t", "_a_", "3", "14", "e", "mail"],
    "a\nb\tc\x00d\x1ce\u2028f\u00a0g\u200bh": list("abcdefgh"),
    "": [],
    "  ... \ud83d": [],
}


def assert_same(got, want):
    """Two CSR with the same numbers and the same dtypes."""
    assert got.shape == want.shape
    for name in ("indptr", "indices", "data"):
        ours, theirs = getattr(got, name), getattr(want, name)
        assert ours.dtype == theirs.dtype, f"{name}: {ours.dtype}, expected {theirs.dtype}"
        assert np.array_equal(ours, theirs), name


def assert_same_bag(got, want):
    assert list(got[0].items()) == list(want[0].items())
    assert_same(got[1], want[1])


def sparse(dense):
    """CSR of a table -> CSR."""
    rows, columns = np.nonzero(dense)
    indptr = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
    return reference.CSR(indptr, columns.astype(np.int32), dense[rows, columns], dense.shape)


# ---- equation -----------------------------------------------------------------------------------

def spec(corpus):
    """Equations 3.1 to 3.4 read aloud, one character and one word at a time."""
    lists = []
    for text in corpus:
        lists.append([""])
        for c in text.lower():
            if c.isalnum() or c == "_":
                lists[-1][-1] += c
            elif lists[-1][-1]:
                lists[-1].append("")
    lists = [[w for w in found if w] for found in lists]
    vocabulary = []
    for w in (w for found in lists for w in found):
        if w not in vocabulary:
            vocabulary.append(w)
    return lists, vocabulary, [[found.count(w) for w in vocabulary] for found in lists]


@counting
@given(corpus=documents | any_documents)
def test_equals_the_equations(backend, corpus):
    lists, order, counts = spec(corpus)
    assert [reference.tokenize(d) for d in corpus] == lists
    vocabulary, X = backend.bag_of_words(corpus)
    assert list(vocabulary) == order and list(vocabulary.values()) == list(range(len(order)))
    assert X.shape == (len(corpus), len(order))
    assert_close(reference.to_dense(X), np.array(counts, np.int64).reshape(X.shape))
    for found, row in zip(lists, counts, strict=True):
        assert_close(reference.count_vector(found, vocabulary), np.array(row, np.int64))


@every_backend("ch03_bow", "csr_dot")
@given(table=arrays(np.int32, st.tuples(st.integers(0, 5), st.integers(0, 5)),
                    elements=st.integers(0, 2)), seed=st.integers(0, 99))
def test_product_equals_the_sum(backend, table, seed):
    w = np.random.default_rng(seed).integers(-8, 8, table.shape[1]) / 4
    want = [sum(int(row[j]) * w[j] for j in range(len(w))) for row in table]
    got = backend.csr_dot(sparse(table), w)
    assert got.dtype == np.float64
    assert_close(got, np.array(want, np.float64).reshape(len(table)))


# ---- worked examples ----------------------------------------------------------------------------

@counting
def test_two_documents_of_the_text(backend):
    vocabulary, X = backend.bag_of_words(load_texts()["cat_mat"]["documents"])
    assert list(vocabulary) == ["the", "cat", "sat", "on", "mat", "dog", "log"]
    assert reference.to_dense(X).tolist() == [[2, 1, 1, 1, 1, 0, 0], [2, 0, 1, 1, 0, 1, 1]]


@counting
def test_cat_is_a_column(backend):
    vocabulary, X = backend.bag_of_words(load_texts()["cat_dog"]["documents"])
    assert reference.to_dense(X).tolist() == [[1, 1, 1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 1, 1, 0],
                                              [1, 0, 0, 1, 0, 1, 0, 1]]
    assert reference.to_dense(reference.transpose(X))[vocabulary["cat"]].tolist() == [1, 0, 1]


@counting
@pytest.mark.parametrize("name", ["word_order", "dog_bites_man"])
def test_order_is_lost(backend, name):
    """The text (line 1535) calls two such bags nearly identical: they are identical."""
    first, second = reference.to_dense(backend.bag_of_words(load_texts()[name]["documents"])[1])
    assert_close(first, second)


def test_the_startup_sentences_are_similar():
    """Split as the text does, at spaces: six words are shared, of eight and of seven."""
    lists = [reference.split_on_spaces(d) for d in load_texts()["startup"]["documents"]]
    assert "u.k" in lists[0] and list(map(len, lists)) == [8, 7]
    vocabulary = reference.build_vocabulary(lists)
    first, second = (reference.count_vector(t, vocabulary) for t in lists)
    assert_close(cosine(first, second), 6 / np.sqrt(56))
    assert ((first > 0) & (second > 0)).sum() == 6 and len(vocabulary) == 9
    assert reference.tokenize("a U.K. startup") == ["a", "u", "k", "startup"]


# ---- properties that no student sees ------------------------------------------------------------

@pytest.mark.parametrize("text", ZOO, ids=ascii)
def test_words_of_the_zoo(text):
    assert reference.tokenize(text) == ZOO[text]


@counting
def test_the_whole_zoo(backend):
    vocabulary, X = backend.bag_of_words(ZOO)
    assert list(vocabulary) == list(dict.fromkeys(w for found in ZOO.values() for w in found))
    assert_close(np.diff(X.indptr), np.array([len(set(found)) for found in ZOO.values()]))


@counting
@given(corpus=documents, order=st.permutations(range(5)))
def test_documents_do_not_touch_each_other(backend, corpus, order):
    vocabulary, X = backend.bag_of_words(corpus)
    order = [i for i in order if i < len(corpus)]
    mixed = backend.count_matrix([corpus[i] for i in order], vocabulary)
    assert_close(reference.to_dense(mixed), reference.to_dense(X)[order])


@counting
@given(corpus=documents, known=st.permutations("the cat the猫 猫 zebra ΟΔΟΣ οδος".split()))
def test_a_foreign_vocabulary_keeps_its_numbers(backend, corpus, known):
    """Words outside it change nothing; words that no text can hold (capitals) count 0."""
    vocabulary = {w: i for i, w in enumerate(known)}
    X = backend.count_matrix(corpus, vocabulary)
    want = [[reference.tokenize(d).count(w) for w in known] for d in corpus]
    assert_close(reference.to_dense(X), np.array(want))
    assert (X.data > 0).all() and list(vocabulary) == known
    assert backend.count_matrix(corpus, {}).shape == (len(corpus), 0)


def test_a_vocabulary_in_another_order_than_its_numbers():
    assert reference.count_vector(["b"], {"b": 1, "a": 0}).tolist() == [0, 1]


@given(corpus=documents)
def test_encode_and_back(corpus):
    lists = [reference.tokenize(d) for d in corpus]
    vocabulary = reference.build_vocabulary(lists)
    back = list(vocabulary)
    for tokens in lists:
        assert [back[i] for i in reference.encode(tokens, vocabulary)] == tokens
        assert reference.encode([*tokens, "zebra"], vocabulary).dtype == np.int64


@given(tokens=st.lists(words, max_size=8), n=st.integers(1, 4))
def test_ngrams(tokens, n):
    runs = reference.ngrams(tokens, n)
    assert len(runs) == max(0, len(tokens) - n + 1)
    assert all(run == " ".join(tokens[i:i + n]) for i, run in enumerate(runs))
    assert reference.ngrams(tokens, 1) == tokens


def test_pairs_of_words_keep_some_order():
    bags = [set(reference.ngrams(reference.tokenize(d), 2))
            for d in load_texts()["dog_bites_man"]["documents"]]
    assert not bags[0] & bags[1]


@given(table=arrays(np.int32, st.tuples(st.integers(0, 6), st.integers(0, 6)),
                    elements=st.integers(0, 2)))
def test_round_trips_of_the_matrix(table):
    X = sparse(table)
    assert_close(reference.to_dense(X), table)
    Y = reference.transpose(X)
    assert_same(Y, sparse(np.ascontiguousarray(table.T)))
    assert_same(reference.transpose(Y), X)
    assert_close(reference.row_of_entry(X), np.nonzero(table)[0])


# ---- errors -------------------------------------------------------------------------------------

@counting
def test_no_document_is_refused(backend):
    for call in (backend.bag_of_words, lambda d: backend.count_matrix(d, {})):
        with pytest.raises(ValueError, match="documents: expected at least one document, got none"):
            call([])


@counting
@pytest.mark.parametrize("bad, name", [(b"bytes", "bytes"), (None, "NoneType"), (3.5, "float"),
                                       (["a"], "list")])
def test_a_document_that_is_no_str_is_refused(backend, bad, name):
    words = re.escape(f"documents[1]: expected a str, got {name}; decode bytes first")
    for call in (backend.bag_of_words, lambda d: backend.count_matrix(d, {})):
        with pytest.raises(TypeError, match=words):
            call(["a text", bad])
    with pytest.raises(TypeError, match=f"text: expected a str, got {name}"):
        reference.tokenize(bad)


@counting
@pytest.mark.parametrize("text", ["one text", b"one text"])
def test_one_text_in_place_of_a_list_is_refused(backend, text):
    for call in (backend.bag_of_words, lambda d: backend.count_matrix(d, {})):
        with pytest.raises(TypeError, match="documents: expected a list of texts, got one text"):
            call(text)


@counting
@pytest.mark.parametrize("vocabulary", [{"a": 1}, {"a": 0, "b": 0}, {"a": -1, "b": 0}, {"a": 9}])
def test_a_vocabulary_with_other_numbers_is_refused(backend, vocabulary):
    with pytest.raises(ValueError, match="vocabulary: expected the numbers 0 to V - 1"):
        backend.count_matrix(["a b"], vocabulary)


@every_backend("ch03_bow", "csr_dot")
@pytest.mark.parametrize("w", [np.ones(2), np.ones(4), np.ones((3, 1)), 1.0])
def test_a_vector_that_does_not_fit_is_refused(backend, w):
    with pytest.raises(ValueError, match=r"w: expected shape \(3,\), got"):
        backend.csr_dot(sparse(np.ones((2, 3), np.int32)), w)


@pytest.mark.parametrize("n", [0, -1])
def test_runs_of_nothing_are_refused(n):
    with pytest.raises(ValueError, match=f"n: expected at least 1, got {n}"):
        reference.ngrams(["a"], n)


# ---- parity -------------------------------------------------------------------------------------

@counting
def test_counts_are_scikit_learns(backend):
    with np.load(Path(__file__).parent / "parity/ch03_bow.npz") as frozen:
        texts, sorted_words = frozen["documents"].tolist(), frozen["vocabulary"].tolist()
        theirs = reference.CSR(*(frozen[k] for k in ("indptr", "indices", "data")),
                               (len(texts), len(sorted_words)))
    vocabulary, X = backend.bag_of_words(texts)
    assert sorted(vocabulary) == sorted_words
    columns = [vocabulary[w] for w in sorted_words]
    assert_close(reference.to_dense(X)[:, columns], reference.to_dense(theirs))


# ---- twins --------------------------------------------------------------------------------------

def made_up(n, seed, size=40):
    """n texts of 0 to 2 * size words of 1 to 12 letters, some of them not ASCII."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefgABCéŁΣσ猫𝐀_7"))
    lexicon = ["".join(rng.choice(letters, k)) for k in rng.integers(1, 13, 200)]
    lexicon += ["abcdefgh", "abcdefghi", "abcdefgé", "abcdefghé", "abcdefghiabcdefgh"]   # 8 bytes
    marks = np.array([" ", ", ", "\n", "-", "🙂"])
    return ["".join(lexicon[w] + marks[m] for w, m in zip(
        rng.integers(0, len(lexicon), k), rng.integers(0, 5, k), strict=True))
        for k in rng.integers(0, 2 * size, n)]


def assert_twin_counts(twin, texts):
    """Exactly the reference's vocabulary, matrix and dtypes; also for a foreign vocabulary."""
    want = reference.bag_of_words(texts)
    assert_same_bag(twin.bag_of_words(texts), want)
    foreign = {w: i for i, w in enumerate(["zebra", *list(want[0])[::-2]])}
    assert_same(twin.count_matrix(texts, foreign), reference.count_matrix(texts, foreign))


@twin_counting
@pytest.mark.parametrize("n", EDGE_SIZES[1:])
def test_twin_counts_the_same(backend, n):
    assert_twin_counts(backend, made_up(n, n))


@twin_counting
@given(corpus=any_documents)
def test_twin_counts_the_same_of_anything(backend, corpus):
    assert_twin_counts(backend, corpus)


@numba_counting
@pytest.mark.parametrize("threads", [1, 2, 3, 7, 200])
@pytest.mark.parametrize("block", [1, 64, 500, 1 << 22])
def test_threads_and_blocks_change_nothing(backend, monkeypatch, threads, block):
    monkeypatch.setattr(backend, "BLOCK", block)
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    assert_twin_counts(backend, ["", *made_up(33, block, size=8), ""])


@numba_counting
def test_set_num_threads_changes_nothing(backend):
    texts, most = made_up(129, 5), numba.get_num_threads()
    try:
        for threads in range(1, most + 1):
            numba.set_num_threads(threads)
            assert_twin_counts(backend, texts)
    finally:
        numba.set_num_threads(most)


@numba_counting
@pytest.mark.parametrize("around", [-1, 0, 1])
def test_documents_around_the_block_size(backend, monkeypatch, around):
    monkeypatch.setattr(backend, "BLOCK", 64)
    line = "word " * 12                                               # 60 characters
    texts = [line + "x" * (4 + around), "next", line + "y" * (4 + around), "é" * (64 + around)]
    assert_twin_counts(backend, texts * 3)


@twin_counting
@pytest.mark.parametrize("letter", ["x", "é", "猫"])
def test_a_huge_word(backend, letter):
    """Over 100 KB, longer than the room first made; another that differs in the last letter."""
    huge = letter * (3_000 if emulated(backend) else 150_000)
    assert_twin_counts(backend, [f"a {huge} b", f"{huge}z c {huge.upper()}", huge, "a b c"])


@twin_counting
def test_more_words_than_the_table_first_holds(backend):
    texts = [" ".join(f"w{i}" if i % 2 else f"longer_word_{i}" for i in range(a, a + 4000))
             for a in range(0, 4_000 if emulated(backend) else 40_000, 2000)]
    assert_twin_counts(backend, texts)
    assert_twin_counts(backend, [" ".join(texts)])


@twin_counting
def test_two_words_with_one_key(backend):
    """The key of a long word has its highest bit set, so what differs there and nowhere else is
    lost: the eighth byte m or m + 128, the first bytes made to fit.  Only the bytes tell."""
    one, other = "abcdefgmé", "1bcdefg\ud4e9"
    assert len(one.encode()) == len(other.encode()) == 10
    assert_twin_counts(backend, [f"{one} {other} {other}", other, one])


@twin_counting
def test_real_text(backend):
    assert_twin_counts(backend, sotu_paragraphs()[0][::40])


@twin_counting
def test_texts_without_words(backend):
    assert_twin_counts(backend, ["", " ", "...", "\u0301", "\n"])
    assert_twin_counts(backend, [""])


@twin_counting
def test_any_iterable_of_texts_will_do(backend):
    want = reference.bag_of_words(["a b", "b"])
    for texts in (("a b", "b"), iter(["a b", "b"]), {1: "a b", 2: "b"}.values(),
                  np.array(["a b", "b"])):
        assert_same_bag(backend.bag_of_words(texts), want)


@every_twin("ch03_bow", "csr_dot")
@pytest.mark.parametrize("n", EDGE_SIZES)
@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_twin_multiplies_the_same(backend, n, dtype):
    rng = np.random.default_rng(n)
    X = sparse((rng.integers(0, 9, (n, 33)) * (rng.random((n, 33)) < 0.2)).astype(dtype))
    w = rng.standard_normal(33)
    assert_close(backend.csr_dot(X, w), reference.csr_dot(X, w))
    assert_close(backend.csr_dot(X, np.arange(33)), reference.csr_dot(X, np.arange(33)))


# ---- the CUDA twin, on the emulator --------------------------------------------------------------

def around_a_block():
    """Words and letters that lie across the 1024 bytes of a block; one word all over, many rows."""
    across = [f"{'x' * (1019 + k)} é猫𝐀b sat {'y' * 1100}" for k in range(6)]
    return ["", *across, *["the"] * 300, *["a", ""] * 200, "the cat THE Cat the", " the"]


@every_order
def test_no_order_of_threads_changes_a_count(order):
    twin = emulator.load("ch03_bow")
    with emulator.running(**order):
        assert_twin_counts(twin, around_a_block())
        assert_twin_counts(twin, made_up(33, 7, size=8))
        assert_twin_counts(twin, ["a"] * 1500)          # as many pairs as the bytes can hold, and
        assert_twin_counts(twin, [" ".join("_9876543210zyxwvutsrqponmlkjihgfedcbA")])   # words


@every_order
def test_no_order_of_threads_changes_a_product(order):
    twin, rng = emulator.load("ch03_bow"), np.random.default_rng(3)
    table = rng.integers(1, 9, (41, 129)) * (rng.random((41, 129)) < rng.random((41, 1)) ** 3)
    table[[0, 7, 40]] = 0
    w = rng.standard_normal(129)
    for dtype in (np.int32, np.int64, np.float32, np.float64):
        X = sparse(table.astype(dtype))
        with emulator.running(**order):
            assert_close(twin.csr_dot(X, w), reference.csr_dot(X, w))
    with emulator.running(**order):
        assert_close(twin.csr_dot(sparse(np.zeros((3, 129), np.int32)), w), np.zeros(3))


@on_emulator
def test_cuda_leaves_out_what_no_text_can_hold():
    """Capitals, gaps and emptiness in the vocabulary count 0; so does what is no str."""
    known = ["the", "The", "", "u.k", "a\nthe", "É", "é", "\ud800", 7, None, b"the", "οδος", "u"]
    texts = ["The the É é u.k a\nthe 7 None", "ΟΔΟΣ \ud800 the", ""]
    vocabulary = {word: i for i, word in enumerate(known)}
    want = reference.count_matrix(texts, vocabulary)
    assert_same(emulator.load("ch03_bow").count_matrix(texts, vocabulary), want)


@on_emulator
def test_cuda_waits_twice_at_most():
    """Once for the sizes, once for the result; a product only once."""
    twin, texts = emulator.load("ch03_bow"), made_up(33, 1)
    vocabulary, X = reference.bag_of_words(texts)
    for call, waits, launches in (
            (lambda: twin.bag_of_words(texts), 2, 6), (lambda: twin.bag_of_words(["", "."]), 1, 1),
            (lambda: twin.count_matrix(texts, vocabulary), 2, 4),
            (lambda: twin.csr_dot(X, np.ones(len(vocabulary))), 1, 1)):
        with emulator.running() as log:
            call()
        assert (log.count.downloads, log.count.launches) == (waits, launches)


@on_emulator
def test_cuda_refuses_texts_beyond_its_numbers(monkeypatch):
    twin = emulator.load("ch03_bow")
    monkeypatch.setattr(twin, "LIMIT", 20)
    assert list(twin.bag_of_words(["word " * 3])[0]) == ["word"]
    for call in (lambda: twin.bag_of_words(["word " * 4]),
                 lambda: twin.count_matrix(["word"], {"x" * 20: 0})):
        with pytest.raises(ValueError, match="documents: expected at most 20 bytes of UTF-8.*got"):
            call()
