"""Word vectors in files: bytes by hand, round trips, bad input, what gensim and fastText wrote."""
import gzip
import hashlib
import os
import struct
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from primer import formats
from primer.formats import FastText, WordVectors, read_vectors, write_vectors
from primer.formats import fasttext as ft
from primer.formats import files as whole

PARITY = np.load(Path(__file__).parent / "parity/formats.npz", allow_pickle=False)
FILES = [key.removeprefix("file/") for key in PARITY if key.startswith("file/")]
TWO = WordVectors(["a", "bé"], [[1, -0.5], [0.1, -0.0]])
HAND = {                           # the same two words, by hand from each format's description
    ".vec": b"2 2\na 1 -0.5\nb\xc3\xa9 0.100000001 -0\n",
    ".txt": b"2 2\na 1 -0.5\nb\xc3\xa9 0.100000001 -0\n",
    ".glove": b"a 1 -0.5\nb\xc3\xa9 0.100000001 -0\n",
    ".bin": b"2 2\na \x00\x00\x80\x3f\x00\x00\x00\xbf\n"
            b"b\xc3\xa9 \xcd\xcc\xcc\x3d\x00\x00\x00\x80\n",
}
WHOLE = gzip.compress(HAND[".vec"], mtime=0)


def written(folder, ending, content):
    """A file of these bytes -> path."""
    path = Path(folder) / f"file{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    return path


def assert_same(got, want):
    """The same words and the same bits, so that -0.0 is not 0.0."""
    assert got.words == want.words
    assert got.vectors.dtype == np.float32 and got.vectors.shape == want.vectors.shape
    assert got.vectors.tobytes() == want.vectors.tobytes()


# ---- the holder ---------------------------------------------------------------------------------


def test_word_vectors():
    v = WordVectors(("cat", "Paris"), np.eye(2))
    assert len(v) == 2 and "cat" in v and "dog" not in v and v.index("Paris") == 1
    assert v.vectors.dtype == np.float32
    assert_close(v["Paris"], np.array([0, 1], np.float32))
    mine = np.ones((1, 3), np.float32)
    assert WordVectors(["a"], mine).vectors is mine                  # no copy


@pytest.mark.parametrize("word, near", [
    ("paris", "'paris'; did you mean Paris?"), ("ca", "did you mean cat"),
    ("qqqqq", "none of the 2 words is near"), (3, "no word 3; none")])
def test_an_unknown_word_gets_the_nearest_words(word, near):
    v = WordVectors(["cat", "Paris"], np.eye(2))
    for call in (v.index, v.__getitem__):
        with pytest.raises(KeyError, match=near.replace("?", r"\?")):
            call(word)


@pytest.mark.parametrize("words, vectors, what", [
    (["a", "b"], np.eye(3), "2 words and an array .3, 3."), (["a"], np.ones(1), "one row for each"),
    (["a", "b", "a"], np.eye(3), "'a' stands twice")])
def test_word_vectors_refuses(words, vectors, what):
    with pytest.raises(ValueError, match=what):
        WordVectors(words, vectors)


# ---- bytes by hand ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", HAND)
def test_bytes_by_hand(tmp_path, ending):
    assert_same(read_vectors(written(tmp_path, ending, HAND[ending])), TWO)
    write_vectors(tmp_path / f"ours{ending}", TWO)
    assert (tmp_path / f"ours{ending}").read_bytes() == HAND[ending]


@pytest.mark.parametrize("ending, content", [
    (".vec", b"2 2 \na 1 -0.5 \nb\xc3\xa9 0.1 -0 \n"),               # word2vec.c ends with a blank
    (".vec", b"2 2\r\na 1.0e0 -5E-1\r\nb\xc3\xa9  .1 -0.0"),         # Windows, no last newline
    (".txt", HAND[".glove"]), (".glove", HAND[".glove"][:-1]),
    (".bin", HAND[".bin"].replace(b"\xbf\n", b"\xbf")[:-1]),         # gensim: no newlines
    (".BIN", HAND[".bin"][:-1])])
def test_variants_that_others_write(tmp_path, ending, content):
    assert_same(read_vectors(written(tmp_path, ending, content)), TWO)


def test_words_with_blanks_inside_are_read(tmp_path):
    """GloVe's largest file has ". . ." and addresses with a blank."""
    v = read_vectors(written(tmp_path, ".txt", b"the 1 2\n. . . 3 4\nat x@y.z 5 6\n"))
    assert v.words == ["the", ". . .", "at x@y.z"] and v.vectors[:, 1].tolist() == [2, 4, 6]


def test_words_are_split_at_ascii_blanks_only(tmp_path):
    odd = "a\u00a0b", "\u2028", "\u0085x", "\u3000"
    for ending in HAND:
        write_vectors(tmp_path / f"odd{ending}", WordVectors(odd, np.ones((4, 2))))
        assert read_vectors(tmp_path / f"odd{ending}").words == list(odd)


def test_a_binary_word_loses_one_newline_and_nothing_else(tmp_path):
    v = read_vectors(written(tmp_path, ".bin", b"2 1\n\tx 1234\n\n\r 1234"))
    assert v.words == ["\tx", "\n\r"]


@pytest.mark.parametrize("content", [b"0 3\n", b"0 3"])
def test_no_words(tmp_path, content):
    assert read_vectors(written(tmp_path, ".vec", content)).vectors.shape == (0, 3)
    write_vectors(tmp_path / "none.bin", WordVectors([], np.ones((0, 3))))
    assert (tmp_path / "none.bin").read_bytes() == b"0 3\n"
    assert len(read_vectors(tmp_path / "none.bin")) == 0


# ---- round trips --------------------------------------------------------------------------------

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters=whole.BLANKS.decode())
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=6, unique=True)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def matrices(rows, d):
    return hnp.arrays(np.float32, (rows, d), elements=NUMBERS)


@pytest.mark.parametrize("ending", [e + gz for e in HAND for gz in ("", ".gz")])
@given(data=st.data(), words=WORDS, d=st.integers(1, 5))
def test_round_trip(ending, data, words, d):
    v = WordVectors(words, data.draw(matrices(len(words), d)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{ending}"
        write_vectors(path, v)
        assert_same(read_vectors(path), v)
        assert os.listdir(folder) == [path.name]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=50, max_size=50))
def test_any_float32_comes_back_from_text(bits):
    row = np.array(bits, np.uint32).view(np.float32)
    v = WordVectors(["x"], row[np.isfinite(row)][None])
    with tempfile.TemporaryDirectory() as folder:
        write_vectors(Path(folder) / "v.vec", v)
        assert_same(read_vectors(Path(folder) / "v.vec"), v)


def test_a_broken_word_comes_back_byte_by_byte(tmp_path):
    raw = b"1 1\n\xff\xc3x 1\n"
    v = read_vectors(written(tmp_path, ".vec", raw), errors="surrogateescape")
    with pytest.raises(ValueError, match="cannot be in UTF-8"):
        write_vectors(tmp_path / "again.vec", v)
    write_vectors(tmp_path / "again.vec", v, errors="surrogateescape")
    assert (tmp_path / "again.vec").read_bytes() == raw
    assert read_vectors(tmp_path / "file.vec", errors="replace").words == ["\ufffd\ufffdx"]


def test_gzip_has_no_time_in_it(tmp_path):
    for name in ("a.vec.gz", "b.vec.gz"):
        write_vectors(tmp_path / name, TWO)
    assert (tmp_path / "a.vec.gz").read_bytes() == (tmp_path / "b.vec.gz").read_bytes()
    assert (tmp_path / "a.vec.gz").read_bytes()[3:8] == bytes(5)     # no name, no time
    assert gzip.decompress((tmp_path / "a.vec.gz").read_bytes()) == HAND[".vec"]


# ---- bad input ----------------------------------------------------------------------------------

BAD = [                            # ending, content, what the message says
    (".vec", b"", "line 1: the header should be two whole numbers"),
    (".vec", b"a 1 2\n", "line 1: the header .* not b'a 1 2"),
    (".vec", b"-1 2\n", "line 1: the header"), (".vec", b"2\n", "line 1: the header"),
    (".vec", b"1 0\na\n", "line 1: vectors of 0 numbers"),
    (".vec", b"2 2\na 1 2\n\xff\xff\xff\xff\n", "line 3: a word and 2 numbers"),
    (".vec", b"3 2\na 1 2\nb 3.25 4.125\n", "line 3: the file ends after 2 of 3 words; truncated"),
    (".vec", b"1 2\na 1 2\nb 3 4\n", "line 3: the header promises 1 words, and here is one more"),
    (".vec", b"2 2\na 1 2\nb 3\n", "line 3: a word and 2 numbers .* not 2 fields; truncated"),
    (".vec", b"2 2\na 1 2\nb 3 4 5\n", "line 3: a word and 2 numbers .* not 4 fields"),
    (".vec", b"2 2\na 1 2\nb\t3\t4\n", "line 3: a word and 2 numbers"),
    (".vec", b"2 2\na 1 2\n\nb 3 4\n", "line 3: a word and 2 numbers .* not 0 fields"),
    (".vec", b"2 2\na 1 2\nb 3 x\n", "line 3: could not convert .*'x'"),
    (".vec", b"2 2\na 1 2\nb 1_0 4\n", "line 3: no number: b'1_0'"),
    (".vec", b"2 2\na 1 2\nb 0x1 4\n", "line 3: could not convert"),
    (".vec", b"2 2\na 1 2\nb nan 4\n", "line 3: the vector of 'b' has NaN or infinity"),
    (".vec", b"2 2\na 1 2\nb 3 -inf\n", "line 3: the vector of 'b' has NaN or infinity"),
    (".vec", b"2 2\na 1 2\nb 1e39 4\n", "line 3: the vector of 'b' has NaN or infinity"),
    (".vec", b"2 2\na 1 2\n 3 4 \n", "line 3: a row without a word"),
    (".vec", b"2 2\na 1 2\n\xff 3 4\n", r"line 3: the word b'\\xff' is not UTF-8; errors="),
    (".vec", b"999999999999 300\na 1\n", "take at least .* and the file has 21; truncated"),
    (".vec", b"9999999999999999 3\n", "line 1: the header"),
    (".glove", b"", "line 1: a word and numbers are needed; an empty file"),
    (".glove", b"a\n", "line 1: a word and numbers are needed"),
    (".glove", b"a 1 2\nb 3\n", "line 2: a word and 2 numbers"),
    (".txt", b"a 1 2\nb 3 4 5\n", "line 2: a word and 2 numbers"),
    (".txt", b". . 1 2\n", "line 1: could not convert"),
    (".bin", b"", "begins with b'', neither fastText's magic number nor"),
    (".bin", b"x 1\n", "begins with b'x 1.n', neither"),
    (".bin", b"2 1\na 1234\nb 123", "byte 16: the file ends after 1 of 2 words; truncated"),
    (".bin", b"1 1\na 1234\nb 1234", "byte 10: b'b 1234' follows the last of 1 words"),
    (".bin", b"1 1\na \x00\x00\x80\x7f", "byte 4: the vector of 'a' has NaN or infinity"),
    (".bin", b"2 1\na 1234\n\xfe 1234\n", r"byte 10: the word b'\\xfe' is not UTF-8"),
    (".bin", b"1 1\n" + b"a" * 200_000, "byte 4: a word of more than 65536 bytes"),
    (".bin", b"9 9\na 1234", "take at least 333 bytes, and the file has 10; truncated"),
    (".bin", b"1 1\n 1234\n", "byte 4: a row without a word"),
    (".ftz", b"1 1\na 1234\n", "neither fastText's magic number"),
    (".npy", b"", "ending should be one of .vec .txt .glove .bin .ftz"),
    (".gz", b"", "ending should be one of"),
]


@pytest.mark.parametrize("ending, content, what", BAD, ids=range(len(BAD)))
def test_bad_input(tmp_path, ending, content, what):
    path = written(tmp_path, ending, content)
    with pytest.raises(ValueError, match=what) as caught:
        read_vectors(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("ending", HAND)
def test_of_a_word_that_stands_twice_the_first_is_kept(tmp_path, ending):
    """As gensim does."""
    rows = [("a", [1, 2]), ("b", [3, 4]), ("a", [5, 6]), ("c", [7, 8]), ("a", [9, 9])]
    header = b"" if ending == ".glove" else b"5 2\n"
    line = (lambda w, r: struct.pack("<c1x2f", w, *r).replace(b"\0", b" ", 1)) if ending == ".bin" \
        else (lambda w, r: b"%s %d %d\n" % (w, *r))
    path = written(tmp_path, ending, header + b"".join(line(w.encode(), r) for w, r in rows))
    with pytest.warns(UserWarning, match="2 rows have a word that came before; the first of each"):
        v = read_vectors(path)
    assert_same(v, WordVectors(["a", "b", "c"], [[1, 2], [3, 4], [7, 8]]))


@pytest.mark.parametrize("ending", HAND)
@pytest.mark.parametrize("word", ["", "a b", "a\n", "\tx", "a\rb", "a\x00b", "\x0b", "\ud800"])
def test_words_that_no_reader_would_give_back_are_refused(tmp_path, ending, word):
    with pytest.raises(ValueError, match="the word "):
        write_vectors(tmp_path / f"x{ending}", WordVectors(["ok", word], np.eye(2)))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("ending", HAND)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_not_written(tmp_path, ending, number):
    with pytest.raises(ValueError, match="the vector of 'b' has NaN or infinity"):
        write_vectors(tmp_path / f"x{ending}", WordVectors(["a", "b"], [[1], [number]]))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("content", [
    WHOLE[:-9], WHOLE[:15], b"", HAND[".vec"], WHOLE[:-5] + b"\0\0\0\0\0"],
    ids=["cut in its end", "cut in its head", "empty", "plain", "wrong sum"])
def test_a_damaged_gzip(tmp_path, content):
    path = tmp_path / "file.vec.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a whole gzip file|line 1: the header|take at least"):
        read_vectors(path)


@pytest.mark.parametrize("ending", [*HAND, ".ftz", ".vec.gz"])
@given(content=st.one_of(
    st.binary(max_size=60),
    st.builds(lambda h, t: h + t, st.sampled_from([b"2 1\n", b"1 2\n", struct.pack(
        "<2i", ft.MAGIC, 12)]), st.binary(max_size=60)),
    st.text("ab 12.-\n", max_size=40).map(str.encode)))
def test_any_bytes_are_read_or_refused_by_name(ending, content):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)                 # words that stand twice
        path = written(folder, ending, content)
        try:
            assert isinstance(read_vectors(path), WordVectors)
        except ValueError as error:
            assert str(path) in str(error)


# ---- whole or not at all ------------------------------------------------------------------------


class Broken:
    """Rows that break off."""

    words, vectors = ["a", "b", "c"], np.ones((3, 2), np.float32)

    def __init__(self, error):
        def rows():
            yield "a"
            raise error
        self.words = rows()


@pytest.mark.parametrize("ending", [*HAND, ".vec.gz"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "full"), MemoryError()])
def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path, ending, error):
    path = written(tmp_path, ending, b"old")
    before = path.read_bytes()
    with pytest.raises(type(error)):
        write_vectors(path, Broken(error))
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_a_full_disk_is_noticed_before_the_old_file_goes(tmp_path, monkeypatch):
    path = written(tmp_path, ".vec", b"old")

    def full(_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(whole.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_vectors(path, TWO)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [path.name]


def test_a_link_stays_a_link(tmp_path):
    target = written(tmp_path, ".vec", b"old")
    try:
        (tmp_path / "link.vec").symlink_to(target)
    except OSError:
        pytest.skip("no symbolic links here")
    write_vectors(tmp_path / "link.vec", TWO)
    assert (tmp_path / "link.vec").is_symlink() and target.read_bytes() == HAND[".vec"]


def test_missing_files_are_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_vectors(tmp_path / "none.vec")
    with pytest.raises(FileNotFoundError):
        write_vectors(tmp_path / "none" / "x.vec", TWO)


@pytest.mark.parametrize("ending", [*HAND, ".vec.gz"])
def test_memory_is_the_matrix_and_a_block(tmp_path, ending):
    rng = np.random.default_rng(0)
    v = WordVectors([str(i) for i in range(500)], rng.standard_normal((500, 500)))
    write_vectors(tmp_path / f"v{ending}", v)
    read_vectors(tmp_path / f"v{ending}")                            # imports, caches
    tracemalloc.start()
    read_vectors(tmp_path / f"v{ending}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < v.vectors.nbytes + 500_000             # 1 MB and a block, of 3 MB of text


# ---- fastText -----------------------------------------------------------------------------------

INPUT = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]              # two words, two buckets


def by_hand(version=12, entries=(2, 1), types=(0, 0, 1), pruned=None, inputs=None, outputs=None,
            arguments=(3, 5, 5, 1, 5, 1, 3, 3, 2, 2, 3, 100, 1e-4)):
    """A supervised model of the words a, é and the label __label__x -> bytes."""
    names = [b"a", b"\xc3\xa9", b"__label__x"]
    out = struct.pack("<ii", 793712314, version) + struct.pack("<12id", *arguments)
    out += struct.pack("<iiiqq", sum(entries), *entries, 7, -1 if pruned is None else len(pruned))
    for name, count, kind in zip(names, (4, 2, 1), types, strict=True):
        out += name + b"\0" + struct.pack("<qb", count, kind)
    out += b"".join(struct.pack("<ii", *pair) for pair in pruned or ())
    out += b"\0" + struct.pack("<qq12f", 4, 3, *sum(INPUT, [])) if inputs is None else inputs
    return out + (b"\0" + struct.pack("<qq3f", 1, 3, 1, 0, -1) if outputs is None else outputs)


def quantised(rows=4, d=3, size=None, quantiser=(3, 2, 2, 1), normed=1):
    """Parts of 2 and 1 numbers; centroid i is (i, i/2) and (-i); norm i is i/4 -> bytes."""
    numbers = [x for i in range(256) for x in (i, i / 2)] + [-i for i in range(256)]
    codes = [1, 2, 3, 4, 5, 6, 255, 0][:2 * rows if size is None else size]
    out = struct.pack("<bbqqi", 1, normed, rows, d, len(codes))
    out += bytes(codes) + struct.pack("<4i768f", *quantiser, *numbers)
    if normed:
        out += bytes([4, 8, 0, 1][:rows]) + struct.pack("<4i", 1, 1, 1, 1)
        out += struct.pack("<256f", *[i / 4 for i in range(256)])
    return out


def test_fasttext_by_hand(tmp_path):
    path = written(tmp_path, ".bin", by_hand())
    model = formats.read_fasttext(path)
    assert model.words == ["a", "é"] and model.labels == ["__label__x"] and model.tokens == 7
    assert model.counts.tolist() == [4, 2] and model.label_counts.tolist() == [1]
    assert model.arguments == dict(zip(ft.ARGUMENTS, (3, 5, 5, 1, 5, 1, 3, 3, 2, 2, 3, 100, 1e-4),
                                       strict=True))
    assert_close(model.inputs, np.array(INPUT, np.float32))
    assert_close(model.outputs, np.array([[1, 0, -1]], np.float32))
    write_vectors(tmp_path / "again.bin", model)
    assert (tmp_path / "again.bin").read_bytes() == by_hand()
    assert formats.read_fasttext(path, outputs=False).outputs is None


def test_quantised_by_hand(tmp_path):
    """Pruned: of the n-grams only bucket 1 is left, in row 1 after the words."""
    want = np.array([[1, .5, -2], [6, 3, -8], [0, 0, 0], [63.75, 31.875, 0]], np.float32)
    model = formats.read_fasttext(written(tmp_path, ".ftz", by_hand(
        inputs=quantised(), outputs=b"\1" + quantised(1, normed=0)[1:], pruned=[(1, 1), (0, 0)])))
    assert model.inputs.shape == (4, 3) and model.pruned == {1: 1, 0: 0}
    assert_close(model.inputs[np.arange(4)], want)
    assert_close(model.inputs[3], want[3])
    assert_close(model.outputs[:], np.array([[1, .5, -2]], np.float32))
    with pytest.raises(ValueError, match="input matrix should be an array"):
        write_vectors(tmp_path / "x.bin", model)
    with pytest.raises(ValueError, match="quantised models are only read"):
        write_vectors(tmp_path / "x.ftz", model)
    write_vectors(tmp_path / "x.vec", model)
    assert_same(read_vectors(tmp_path / "x.vec"), model.word_vectors())
    assert_same(read_vectors(tmp_path / "file.ftz"), model.word_vectors())


def test_pruning_can_leave_no_ngram(tmp_path):
    two = b"\0" + struct.pack("<qq6f", 2, 3, *INPUT[0], *INPUT[1])
    model = formats.read_fasttext(written(tmp_path, ".bin", by_hand(inputs=two, pruned=())))
    assert model.pruned == {} and model.subword_rows("a") == [0]


def spec_hash(text):
    """FNV-1a, 32 bits, of signed bytes."""
    h = 2166136261
    for byte in text.encode():
        h = (h ^ (byte - 256 if byte > 127 else byte) % 2**32) * 16777619 % 2**32
    return h


def test_the_hash_is_fnv_1a():
    """0xBF9CF968 stands in Fowler, Noll and Vo's list for "foobar"."""
    assert spec_hash("foobar") == 0xBF9CF968 == ft.ngram_buckets("foobar", 6, 6, 2**32)[1]


@given(st.text(LETTERS, min_size=1, max_size=7), st.integers(0, 4), st.integers(-1, 5),
       st.integers(1, 50))
def test_ngrams_as_loops(word, minn, maxn, bucket):
    marked = f"<{word}>"
    want = []
    for i in range(len(marked)):
        for n in range(max(minn, 1), min(maxn, len(marked) - i) + 1):
            if n > 1 or 0 < i < len(marked) - 1:                     # not < and > of the ends
                want.append(spec_hash(marked[i:i + n]) % bucket)
    assert ft.ngram_buckets(word, minn, maxn, bucket) == want


def test_word_vectors_of_a_model():
    """minn 2, maxn 3: a has <a, <a>, a> ; pruning leaves out what it does not name."""
    about = dict(ft.ARGUMENTS, dim=3, bucket=2, minn=2, maxn=3)
    inputs = np.array(INPUT, np.float32)
    model = FastText(about, ["a", "</s>"], [1, 1], inputs, None)
    rows = [2 + spec_hash(gram) % 2 for gram in ("<a", "<a>", "a>")]
    assert model.subword_rows("a") == [0, *rows] and model.subword_rows("</s>") == [1]
    assert_close(model.word_vector("a"), inputs[[0, *rows]].mean(0), rtol=1e-6)
    assert_close(model.word_vector("</s>"), inputs[1])
    model.pruned = {}
    assert model.subword_rows("a") == [0] and model.subword_rows("b") == []
    assert_close(model.word_vector("b"), np.zeros(3, np.float32))
    assert_close(FastText(dict(about, bucket=0), ["a"], [1], inputs[:1], None).word_vector("a"),
                 inputs[0])


@given(data=st.data(), words=WORDS, d=st.integers(1, 4), bucket=st.integers(0, 4),
       supervised=st.booleans())
def test_fasttext_round_trip(data, words, d, bucket, supervised):
    model = FastText(
        dict(ft.ARGUMENTS, dim=d, bucket=bucket, model=ft.SUPERVISED if supervised else ft.CBOW),
        words, np.arange(len(words)), data.draw(matrices(len(words) + bucket, d)),
        data.draw(matrices(2 if supervised else len(words), d)),
        *([["__label__ä", "__label__b"], [2**40, 1]] if supervised else []), tokens=9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.bin.gz"
        write_vectors(path, model)
        again = formats.read_fasttext(path)
        assert vars(again).keys() == vars(model).keys()
        for name in ("arguments", "words", "labels", "tokens", "pruned"):
            assert getattr(again, name) == getattr(model, name), name
        for name in ("counts", "label_counts", "inputs", "outputs"):
            assert_close(getattr(again, name), np.asarray(getattr(model, name),
                         np.int64 if "counts" in name else np.float32))


DIM4 = (4, 5, 5, 1, 5, 1, 3, 3, 2, 2, 3, 100, 1e-4)
NAN = b"\0" + struct.pack("<qq3f", 1, 3, 1, float("nan"), 0)
BAD_MODELS = [
    (by_hand(version=11), "version 11 of fastText's format; version 12 is known"),
    (by_hand(version=13), "version 13"),
    (b"\0" * 90, "begins with .* neither fastText's magic number"),
    (by_hand() + b"x", "byte 229: b'x' follows the end"),
    (by_hand(entries=(3, 0)), "entry 2 has type 1"),
    (by_hand(types=(1, 0, 0)), "entry 0 has type 1"),
    (by_hand(entries=(4, -1)), "3 entries, 4 words, -1 labels"),
    (by_hand(entries=(2**30, 2**30 - 1)), "entries of the dictionary take at least"),
    (by_hand(arguments=DIM4), r"input matrix has shape .4, 3.; .* need .4, 4."),
    (by_hand(pruned=[(0, 0)]), r"input matrix has shape .4, 3.; .* need .3, 3."),
    (by_hand(pruned=[(0, 2), (1, 0)]), "a pruned n-gram's row lies outside"),
    (by_hand(pruned=[(0, -1), (1, 0)]), "negative bucket or row"),
    (by_hand(inputs=b"\0" + struct.pack("<qq", -1, -3)), "a matrix of -1 rows and -3 columns"),
    (by_hand(inputs=b"\0" + struct.pack("<qq", 2**40, 3)), "take at least .* and the file has"),
    (by_hand(inputs=quantised(size=7)), "7 codes for 4 rows of 2 parts"),
    (by_hand(inputs=quantised(quantiser=(3, 2, 2, 2))), "a quantiser of 3 numbers in 2 parts of 2"),
    (by_hand(inputs=quantised(quantiser=(3, 1, 0, 1))), "a quantiser of"),
    (by_hand(inputs=quantised(3)), r"input matrix has shape .3, 3.; .* need .4, 3."),
    (by_hand(outputs=NAN), "NaN or infinity"),
    (by_hand(outputs=b"\0" + struct.pack("<qq6f", 2, 3, *range(6))), "output matrix has shape"),
]


@pytest.mark.parametrize("content, what", BAD_MODELS, ids=range(len(BAD_MODELS)))
def test_bad_models(tmp_path, content, what):
    path = written(tmp_path, ".bin", content)
    with pytest.raises(ValueError, match=what) as caught:
        formats.read_fasttext(path) if content[0] else read_vectors(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match="magic number"):
        formats.read_fasttext(written(tmp_path, ".vec", HAND[".vec"] * 9))


def test_a_word_of_a_model_that_is_not_utf8(tmp_path):
    path = written(tmp_path, ".bin", by_hand().replace(b"\xc3\xa9", b"\xc3x"))
    with pytest.raises(ValueError, match=r"byte \d+: the word b'\\xc3x' is not UTF-8; errors="):
        formats.read_fasttext(path)
    model = formats.read_fasttext(path, errors="surrogateescape")
    assert len(model.subword_rows(model.words[1])) == 6              # the letters <, \xc3, x, >
    write_vectors(tmp_path / "again.bin", model, errors="surrogateescape")
    assert (tmp_path / "again.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("change, what", [
    ({"counts": [1]}, "a count for each"), ({"words": ["a", "a"]}, "none of them twice"),
    ({"words": ["a", "b c"]}, "'b c' is empty or holds a blank"), ({"pruned": {}}, "no pruned"),
    ({"outputs": None}, "output matrix should be an array .1, 3., not None"),
    ({"inputs": np.full((4, 3), np.inf, np.float32)}, "input matrix has NaN"),
    ({"inputs": np.ones((5, 3), np.float32)}, "input matrix should be .* .4, 3., not .5, 3.")])
def test_models_that_are_not_written(tmp_path, change, what):
    model = formats.read_fasttext(written(tmp_path, ".bin", by_hand()))
    vars(model).update(change)
    with pytest.raises(ValueError, match=what):
        write_vectors(tmp_path / "x.bin", model)
    assert os.listdir(tmp_path) == ["file.bin"]


# ---- what gensim and fastText wrote -------------------------------------------------------------


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """The committed files, unpacked -> folder."""
    folder = tmp_path_factory.mktemp("frozen")
    for name in FILES:
        (folder / name).write_bytes(PARITY[f"file/{name}"].tobytes())
    return folder


@pytest.mark.parametrize("name", FILES)
def test_their_files_are_read_alike(frozen, name):
    words, want = PARITY["words"].tolist(), PARITY[f"words/{name}"]
    v = read_vectors(frozen / name)
    assert set(words) == set(v.words) - {"</s>"}
    exact = {} if "model" in name else {"rtol": 0, "atol": 0}        # gensim sums in another order
    if name.endswith(".ftz"):
        exact = {"rtol": 1e-6}
    got = [v[word] for word in words]
    if f"input/{name}" in PARITY or f"row/{name}" in PARITY or "model" in name:
        model = formats.read_fasttext(frozen / name)
        got += [model.word_vector(word) for word in PARITY["unknown"].tolist()]
        exact = exact or {"rtol": 1e-6}
    assert_close(np.array(got), want, **exact)


@pytest.mark.parametrize("name", [name for name in FILES if f"output/{name}" in PARITY])
def test_matrices_are_read_alike(frozen, name):
    model = formats.read_fasttext(frozen / name)
    assert_close(model.inputs, PARITY[f"input/{name}"], rtol=0, atol=0)
    assert_close(model.outputs, PARITY[f"output/{name}"], rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in FILES if f"row/{name}" in PARITY])
def test_quantised_rows_are_read_alike(frozen, name):
    model = formats.read_fasttext(frozen / name)
    assert (model.pruned is not None) == (name == "pruned.ftz")
    assert_close(model.inputs[:], PARITY[f"row/{name}"], rtol=1e-6)


def spec_line_rows(model, line):
    """Rows of a text: its words' and their n-grams', then its word n-grams' (fastText)."""
    rows, hashes = [], []
    for word in [*line.split(), "</s>"]:
        rows += model.subword_rows(word)
        hashes.append(spec_hash(word) - (2**32 if spec_hash(word) >= 2**31 else 0))
    for i, h in enumerate(hashes):
        for other in hashes[i + 1:i + model.arguments["wordNgrams"]]:
            h = (h * 116049371 + other) % 2**64
            bucket = h % model.arguments["bucket"]
            if model.pruned is None or bucket in model.pruned:
                rows.append(len(model.words) + (model.pruned or {bucket: bucket})[bucket])
    return rows


@pytest.mark.parametrize("name", [name for name in FILES if f"predicted/{name}" in PARITY])
def test_a_supervised_model_predicts_alike(frozen, name):
    """All that the file holds, end to end: its labels, both matrices, what pruning left."""
    model = formats.read_fasttext(frozen / name)
    hidden = model.inputs[spec_line_rows(model, str(PARITY["line"]))].mean(0)
    scores = np.exp(model.outputs[:] @ hidden)
    want = PARITY[f"predicted/{name}"]
    assert len(model.labels) == len(want) and model.arguments["loss"] == ft.SOFTMAX
    assert_close(scores / scores.sum(), want.astype(np.float32), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [k.removeprefix("sum/") for k in PARITY if k.startswith("sum/")])
def test_our_bytes_are_those_that_the_libraries_have_read(frozen, tmp_path, name):
    model = f"output/{name}" in PARITY or "model" in name
    source = formats.read_fasttext(frozen / name) if model else read_vectors(frozen / "gensim.vec")
    write_vectors(tmp_path / name, source)
    assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == str(PARITY[f"sum/{name}"])
    if model:                                                        # and as they wrote it
        assert (tmp_path / name).read_bytes() == (frozen / name).read_bytes()


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("gensim.vec",
                                                                         "gensim.glove")])
def test_a_file_that_ends_too_early_is_an_error(frozen, tmp_path, name):
    content = (frozen / name).read_bytes()
    read = read_vectors if name == "gensim.bin" else formats.read_fasttext
    step = max(1, len(content) // 500)
    for size in [*range(0, len(content), step), len(content) - 1]:
        with pytest.raises(ValueError, match=r"file\.bin"):
            read(written(tmp_path, ".bin", content[:size]))


@pytest.mark.parametrize("name", ["skipgram.bin", "pruned.ftz"])
def test_a_byte_that_flips_is_read_or_refused_by_name(frozen, tmp_path, name):
    content = bytearray((frozen / name).read_bytes())
    for at in [*range(600), *range(600, len(content), 101)]:
        content[at] ^= 0x80
        path = written(tmp_path, ".bin", bytes(content))
        try:
            formats.read_fasttext(path)
        except ValueError as error:
            assert str(path) in str(error), at
        content[at] ^= 0x80
