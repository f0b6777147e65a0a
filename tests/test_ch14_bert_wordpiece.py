"""WordPiece: its training by brute force, its cuts by hand and beside the tokenizers library."""
import json
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close, required
from hypothesis import given
from hypothesis import strategies as st

from primer import ch14_bert_vocabulary as vocabulary
from primer import ch14_bert_wordpiece as wordpiece
from primer import data
from primer.ch14_bert_vocabulary import (
    SPECIAL,
    clean_letter,
    count_words,
    doubling_gain,
    fold_letter,
    is_punctuation,
    joining_gain,
    log_likelihood,
    split_words,
    train_wordpiece,
)
from primer.ch14_bert_wordpiece import WordPiece, batch, room, split_word
from tests.parity import ch14_bert_wordpiece as parity

FROZEN = np.load(Path(__file__).parent / "parity/ch14_bert_wordpiece.npz", allow_pickle=False)
PIECES = bytes(FROZEN["pieces"]).decode().split("\n")
WHOLE = WordPiece(PIECES)
TEXTS = parity.sentences() + parity.HARD
SMALL = [*SPECIAL, "un", "##aff", "##able", "##a", "able", "a", "a##b", ",", "cat", "##s"]


def unpacked(name):
    """Lists of ids from the frozen file."""
    ids = FROZEN[name].tolist()
    return [ids[a:b] for a, b in pairwise(FROZEN[f"{name}_starts"])]


# ---- equation and worked examples ---------------------------------------------------------------


def test_the_longest_piece_first():
    """Devlin's code has this very example."""
    assert split_word("unaffable", SMALL) == ["un", "##aff", "##able"]
    assert split_word("a", SMALL) == ["a"] and split_word("ab", SMALL) == ["[UNK]"]
    assert split_word("unaffablex", SMALL) == ["[UNK]"]
    assert split_word("cats", SMALL) == ["cat", "##s"]
    assert split_word("ableable", SMALL) == ["able", "##able"]


def test_words_of_100_letters_and_of_101():
    known = {"a", "##a"}
    assert split_word("a" * 100, known) == ["a", *["##a"] * 99]
    assert split_word("a" * 101, known) == ["[UNK]"]


def test_greedy_is_not_likeliest():
    """A longer first piece can leave a rest that nothing spells."""
    assert split_word("abc", {"a", "ab", "##bc", "##b"}) == ["[UNK]"]


@given(st.text("ab", min_size=1, max_size=12), st.sets(st.text("ab", min_size=1, max_size=3)),
       st.sets(st.text("ab", min_size=1, max_size=3)))
def test_a_cut_spells_its_word(word, heads, rests):
    known = heads | {f"##{r}" for r in rests}
    pieces = split_word(word, known)
    if pieces == ["[UNK]"]:
        return
    assert "".join(p.removeprefix("##") for p in pieces) == word and set(pieces) <= known
    left = word
    for i, piece in enumerate(pieces):               # none longer was known
        longer = [h for h in (heads if i == 0 else rests) if left.startswith(h)]
        own = piece.removeprefix("##")
        assert own == max(longer, key=len)
        left = left[len(own):]


@pytest.mark.parametrize("text, words", [
    ("Hello, World!", ["hello", ",", "world", "!"]), ("Ça naïve É", ["ca", "naive", "e"]),
    ("it's $5+x", ["it", "'", "s", "$", "5", "+", "x"]), ("中文a字", ["中", "文", "a", "字"]),
    ("a\u200bb\u00a0c\x00d\te", ["ab", "cd", "e"]), ("ΟΔΟΣ", ["οδοσ"]), ("İI", ["ii"]),
    ("カナ", ["カナ"]), ("", []), (" \n", []), ("\ufffd", []), ("Straße", ["straße"])])
def test_words(text, words):
    assert split_words(text) == words


def test_words_with_capitals():
    assert split_words("Ça va, Zoë?", lower=False) == ["Ça", "va", ",", "Zoë", "?"]


def test_counts_of_words():
    texts = [*parity.HARD, "a  b\tc\x85d\x0be, a-b", "x" * 101]
    for lower in (True, False):
        assert count_words(texts, lower) == Counter(
            w for t in texts for w in split_words(t, lower) if len(w) <= 100)
    assert count_words([]) == {}


def test_letters():
    assert [clean_letter(c) for c in "a\t\x07\u3000中"] == ["a", " ", "", " ", " 中 "]
    assert [fold_letter(c) for c in "A\u0301,"] == ["a", "", " , "]
    assert [c for c in "$`_a1¿ €" if is_punctuation(c)] == ["$", "`", "_", "¿"]


# ---- the tokenizer ------------------------------------------------------------------------------


def test_ids_by_hand():
    tokenizer = WordPiece(SMALL)
    at = {p: i for i, p in enumerate(SMALL)}
    assert tokenizer.encode("Cats, unaffable") == [
        at[p] for p in ("[CLS]", "cat", "##s", ",", "un", "##aff", "##able", "[SEP]")]
    assert tokenizer.tokens("cats zzz") == ["cat", "##s", "[UNK]"]
    assert tokenizer.encode("cats, cats", most=4) == [at[p] for p in
                                                      ("[CLS]", "cat", "##s", "[SEP]")]
    assert tokenizer.encode("cats", most=2) == tokenizer.encode("") == [2, 3]
    assert tokenizer.tokens("a[MASK]a [mask]") == ["a", "[MASK]", "a", "[UNK]", "[UNK]", "[UNK]"]
    assert tokenizer.decode(tokenizer.encode("Cats, [MASK] able") + [0, 0]) == "cats , [MASK] able"
    assert len(tokenizer) == len(SMALL) and tokenizer.ids == at


def test_pairs_by_hand():
    tokenizer = WordPiece(SMALL)
    ids, segments = tokenizer.encode_pair("cats", "a")
    assert [SMALL[i] for i in ids] == ["[CLS]", "cat", "##s", "[SEP]", "a", "[SEP]"]
    assert segments == [0, 0, 0, 0, 1, 1]


def test_batches():
    ids, mask = batch([[2, 7, 3], [2, 3], [9]])
    assert_close(ids, np.array([[2, 7, 3], [2, 3, 0], [9, 0, 0]], np.int32))
    assert_close(mask, np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], bool))
    assert batch([[5], [6, 7]], pad=4)[0].tolist() == [[5, 4], [6, 7]]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=5))
def test_a_batch_gives_its_lists_back(lists):
    if not any(lists):
        with pytest.raises(ValueError, match="at least one list"):
            batch(lists)
        return
    ids, mask = batch(lists, pad=-1)
    assert [row[m].tolist() for row, m in zip(ids, mask, strict=True)] == lists
    assert (ids[~mask] == -1).all() and ids.shape[1] == max(map(len, lists))


@given(st.text(max_size=40))
def test_any_text_has_ids_and_they_can_be_cut(text):
    tokenizer = WHOLE
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.ids["[CLS]"] and ids[-1] == tokenizer.ids["[SEP]"]
    assert [tokenizer.vocabulary[i] for i in ids[1:-1]] == tokenizer.tokens(text)
    for most in (2, 3, 7):
        short = tokenizer.encode(text, most)
        assert short == (ids if len(ids) <= most else [*ids[:most - 1], ids[-1]])


def test_many_words_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(wordpiece, "REMEMBERED", 3)
    tokenizer = WordPiece(SMALL)
    for _ in range(2):
        assert tokenizer.tokens("a able cat cats un a") == [
            "a", "able", "cat", "cat", "##s", "un", "a"]
    assert len(tokenizer._known) <= 3


@pytest.mark.parametrize("call, error, words", [
    (lambda t: t.encode(b"a"), TypeError, "text: expected a str, got bytes"),
    (lambda t: t.encode("a", 1), ValueError, "most: expected 2 or more.* got 1"),
    (lambda t: t.encode_pair("a", "a", 2), ValueError, "most: expected 3"),
    (lambda t: t.encode_pair("a", None), TypeError, "text"),
    (lambda t: t.decode([0, 99]), ValueError, "ids: expected 0 to 14, got 99"),
    (lambda t: t.decode([-1]), ValueError, "got -1"),
    (lambda t: room(0, 2, 5), ValueError, "most"),
    (lambda t: WordPiece(["a", *SPECIAL[:3]]), ValueError, r"\[SEP\], \[MASK\] not in it"),
    (lambda t: WordPiece([*SPECIAL, "a", "b", "a"]), ValueError, "'a' stands twice"),
    (lambda t: batch([]), ValueError, "lists"),
    (lambda t: train_wordpiece([], 9), ValueError, "documents: expected at least one word"),
    (lambda t: train_wordpiece([" "], 9), ValueError, "documents"),
    (lambda t: train_wordpiece(["ab"], 6), ValueError, "size: expected 7 or more.* got 6"),
    (lambda t: train_wordpiece([3], 6), TypeError, "text"),
    (lambda t: count_words([b"a"]), TypeError, "text"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(WordPiece(SMALL))


# ---- training -----------------------------------------------------------------------------------


def pieces_of(words):
    return [[w[0], *(f"##{c}" for c in w[1:])] for w in words]


def joined(pieces, a, b):
    """a, b -> ab, from the left, in all words."""
    out = []
    for word in pieces:
        done, rest = [], list(word)
        while rest:
            if rest[:2] == [a, b]:
                done, rest = [*done, a + b.removeprefix("##")], rest[2:]
            else:
                done, rest = [*done, rest[0]], rest[1:]
        out.append(done)
    return out


def likelihood(pieces):
    """L of (14.18), a term a token."""
    counts = Counter(p for word in pieces for p in word)
    N = sum(counts.values())
    return sum(np.log(counts[p] / N) for word in pieces for p in word)


def best_gain(pieces):
    """By trying all pairs."""
    before = likelihood(pieces)
    pairs = {q for word in pieces for q in pairwise(word)}
    return max(likelihood(joined(pieces, *pair)) - before for pair in pairs)


WORDS = ("low lower lowest newer newest wide wider widest www xxiii aaaa aaa banana bananas "
         "new low low lower nana").split()


def test_the_log_likelihood():
    pieces = pieces_of(WORDS)
    counts = Counter(p for word in pieces for p in word)
    assert_close(log_likelihood(list(counts.values())), float(likelihood(pieces)))
    assert log_likelihood([5]) == 0 and log_likelihood([0, 5]) == 0


@pytest.mark.parametrize("pair", [("l", "##o"), ("##e", "##r"), ("##w", "##w"), ("##a", "##a"),
                                  ("##n", "##a"), ("a", "##a")])
def test_gains_are_what_joining_gains(pair):
    """By brute force: count again after joining; once more where the piece is there already."""
    before, after = pieces_of(WORDS), joined(pieces_of(WORDS), *pair)
    ab = pair[0] + pair[1].removeprefix("##")
    for extra in (0, 3):
        old, new = (p + [[ab]] * extra for p in (before, after))
        c = [Counter(p for word in x for p in word) for x in (old, new)]
        n, N = c[1][ab] - extra, sum(c[0].values())
        gain = (doubling_gain(n, c[0][pair[0]], extra, N) if pair[0] == pair[1] else
                joining_gain(n, c[0][pair[0]], c[0][pair[1]], extra, N))
        assert n > 0
        assert_close(float(gain), float(likelihood(new) - likelihood(old)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("words", [WORDS, ["aaaa"] * 3 + ["aa", "baab"], ["abcabc", "bca", "abc"],
                                   ["x"], ["ab", "ab", "cd"]])
def test_training_takes_the_best_pair_each_time(words, monkeypatch):
    gains, own = [], vocabulary._Spelling.join_best

    def join_best(self):
        pieces = [[self.names[p] for p in word] for word, times in
                  zip(self.words, self.times, strict=True) for _ in range(times)]
        before, out = log_likelihood(self.c), own(self)
        gain = log_likelihood(self.c) - before
        if out is None:
            assert gain == 0 and (max(map(len, pieces)) == 1 or best_gain(pieces) < 1e-9)
        else:
            gains.append((gain, best_gain(pieces)))
        return out
    monkeypatch.setattr(vocabulary._Spelling, "join_best", join_best)
    found = train_wordpiece([" ".join(words)], 5 + 2 * 26 + 30)
    taken, best = np.reshape(gains, (-1, 2)).T
    assert_close(taken, best, rtol=1e-9, atol=1e-9)
    assert found[:5] == list(SPECIAL) and len(set(found)) == len(found)
    assert len(taken) or words == ["x"]


def test_the_counts_stay_right():
    """After any number of joinings they are what counting anew gives."""
    spelling = vocabulary._Spelling(Counter(WORDS))
    for _ in range(12):
        assert spelling.join_best()
        words = [[spelling.names[p] for p in word] for word in spelling.words]
        anew = Counter()
        for word, times in zip(words, spelling.times, strict=True):
            for piece in word:
                anew[piece] += times
        assert {n: c for n, c in zip(spelling.names, spelling.c, strict=False) if c} == anew
        assert spelling.N == sum(anew.values())
        pairs = Counter()
        for word, times in zip(words, spelling.times, strict=True):
            for a, b in set(pairwise(word)):
                both = a + b.removeprefix("##")
                pairs[a, b] += times * (joined([word], a, b)[0].count(both) - word.count(both))
        own = {(spelling.names[a], spelling.names[b]): int(spelling.table[3, slot])
               for (a, b), slot in spelling.pairs.items() if spelling.table[3, slot]}
        assert own == pairs


def test_training_on_real_text():
    documents = parity.sentences()[100:250]
    pieces = train_wordpiece(documents, 400)
    assert len(pieces) == 400 and pieces[:5] == list(SPECIAL) and len(set(pieces)) == 400
    assert {"the", "of", "##ing", "##tion"} <= set(pieces)
    tokenizer = WordPiece(pieces)
    lengths = []
    for size in (100, 400):
        tokenizer = WordPiece(pieces[:size])
        assert all("[UNK]" not in tokenizer.tokens(d) for d in documents)
        lengths.append(sum(len(tokenizer.tokens(d)) for d in documents))
    assert lengths[1] < 0.7 * lengths[0]
    assert train_wordpiece(documents, 400) == pieces
    assert train_wordpiece(documents, 120) == pieces[:120]


def test_training_ends_where_nothing_is_left_to_join():
    assert train_wordpiece(["ab ab"], 100) == [*SPECIAL, "##b", "a", "ab"]
    assert train_wordpiece(["a"], 100) == [*SPECIAL, "a"]
    assert "B" in train_wordpiece(["B b"], 100, lower=False)


# ---- parity -------------------------------------------------------------------------------------


def other_ids(texts, lists):
    """Texts whose ids are not the library's -> list of (text, ours, the library's)."""
    tokenizer, ids = WordPiece(PIECES), FROZEN["piece_ids"].tolist()
    return [(text, own, want) for text, want in zip(texts, lists, strict=True)
            if (own := [ids[i] for i in tokenizer.encode(text, parity.MOST)]) != want]


def test_ids_of_the_library():
    """1,000 sentences of all lengths and the hard texts: a part of MiniLM's vocabulary, its ids."""
    lists = unpacked("ids")
    assert len(lists) == len(TEXTS) > 1050 and max(map(len, lists)) == parity.MOST
    assert not other_ids(TEXTS, lists)


def test_ids_of_the_library_with_capitals():
    tokenizer = WordPiece(PIECES, lower=False)
    assert [tokenizer.encode(t, parity.MOST) for t in parity.HARD] == unpacked("cased")


def test_pairs_of_the_library():
    tokenizer = WordPiece(PIECES)
    pairs = [tokenizer.encode_pair(a, b, parity.PAIR)
             for a, b in pairwise(parity.HARD)]
    assert [list(ids) for ids, _ in pairs] == unpacked("pair")
    assert [segments for _, segments in pairs] == unpacked("segment")


ODD = {0x166D, 0x1734, 0x111C9, 0x11938}


def younger(code, kind):
    """The library's tables are of Unicode 8: of what came later it knows nothing, or Python's knows
    nothing yet; some letters have changed their kind."""
    category = unicodedata.category(chr(code))
    return (kind == 0 and category in ("Mn", "Cf", "Po", "Ps", "Pe", "Pd")
            or kind == 4 and category == "Cn" or code in ODD)


def test_every_letter_of_unicode():
    """As the library has it, at all places where its answer changes, and many more."""
    starts = FROZEN["run_starts"]
    kinds = np.repeat(FROZEN["run_kinds"], np.diff(starts, append=0x110000))
    codes = {*range(0x3400), *starts, *(starts[1:] - 1), *range(0, 0x110000, 13)}
    wrong = [code for code in sorted(map(int, codes)) if not 0xD800 <= code < 0xE000
             and parity.kind_of(split_words(f"a{chr(code)}b"), chr(code)) != kinds[code]]
    assert len(wrong) < 500
    assert all(younger(code, kinds[code]) for code in wrong), [
        (hex(c), unicodedata.name(chr(c), ""), kinds[c]) for c in wrong
        if not younger(c, kinds[c])]


def test_the_whole_vocabulary_where_it_is_fetched():
    try:
        folder = data.path("minilm")
    except data.DataError as error:
        if required("minilm"):
            raise
        pytest.skip(str(error))
    about = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    tokenizer = WordPiece(sorted(about, key=about.get))
    assert [tokenizer.encode(t, parity.MOST) for t in TEXTS] == unpacked("ids")


# ---- mutants ------------------------------------------------------------------------------------


MISTAKES = {                           # name: what to set in the module
    "accents stay": ("fold_letter", lambda c: f" {c} " if is_punctuation(c) else c.lower()),
    "capitals stay": ("fold_letter", lambda c: fold_letter(c) if fold_letter(c) != c.lower()
                      or unicodedata.category(c) == "Mn" else c),
    "punctuation stays in words": ("is_punctuation", lambda c: c == "."),
    "only ASCII punctuation": ("is_punctuation", lambda c: c.isascii() and is_punctuation(c)),
    "only Unicode's punctuation": (
        "is_punctuation", lambda c: unicodedata.category(c)[0] == "P"),
    "Chinese is not cut": ("CJK", ()), "words may be longer": ("LONGEST", 1000),
    "control characters stay": ("clean_letter", lambda c: clean_letter(c) or c),
    "control characters are blanks": ("clean_letter", lambda c: clean_letter(c) or " "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_tokenizer_gets_other_ids(mistake, monkeypatch):
    name, value = MISTAKES[mistake]
    for module in (vocabulary, wordpiece):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)
    vocabulary._tables.cache_clear()
    try:
        hard = len(parity.HARD)
        assert other_ids(parity.HARD, unpacked("ids")[-hard:])
    finally:
        monkeypatch.undo()
        vocabulary._tables.cache_clear()


def test_a_wrong_cut_gets_other_ids(monkeypatch):
    """The shortest piece first; [UNK] for the rest only; pieces without ##."""
    def shortest(word, known):
        pieces, start = [], 0
        while start < len(word):
            ends = [e for e in range(start + 1, len(word) + 1)
                    if (word[start:e] if not start else f"##{word[start:e]}") in known]
            if not ends:
                return ["[UNK]"]
            pieces.append(word[start:ends[0]] if not start else f"##{word[start:ends[0]]}")
            start = ends[0]
        return pieces

    def rest(word, known):
        pieces = split_word(word, known)
        return [word[0], "[UNK]"] if pieces == ["[UNK]"] and word[0] in known else pieces
    hard = len(parity.HARD)
    for wrong in (shortest, rest):
        monkeypatch.setattr(wordpiece, "split_word", wrong)
        assert other_ids(parity.HARD, unpacked("ids")[-hard:])
