"""The corpus of word vectors, and how good vectors are: small planted data, no network."""
import json
import re

import numpy as np
import pytest
from conftest import assert_close

from primer import data
from primer.__main__ import main
from primer.formats import WordVectors, write_vectors
from primer.training import quality
from tests.benchmarks import corpus

TEXTS = {"one": ["Café, don't 42 -- A_b!", "", "x " * 2500], "two": [f"word{chr(97 + i)} é" for i in
                                                                      range(9)]}


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """Two sources in place of the register's, and a cache of their own."""
    monkeypatch.setenv("PRIMER_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("PRIMER_CORPUS", raising=False)
    monkeypatch.setattr(corpus, "SOURCES", tuple(TEXTS))
    monkeypatch.setattr(corpus, "READERS", {name: TEXTS[name].__iter__ for name in TEXTS})
    monkeypatch.setattr(corpus.data, "entry", lambda name: {"sha256": name})
    return tmp_path / "cache"


def test_the_corpus_is_words_of_letters_in_lines_of_at_most_a_thousand(planted):
    everything = 5 + 2500 + 18
    path = corpus.corpus_file(everything)
    lines = path.read_text(encoding="ascii").splitlines()
    assert all(re.fullmatch("[a-z]+( [a-z]+)*", line) for line in lines)
    assert sorted(len(line.split()) for line in lines) == [2] * 9 + [5, 500, 1000, 1000]
    assert "cafe don t a b" in lines
    assert corpus.corpus_file(everything) == path and list(planted.iterdir()) == [path]


def test_a_corpus_is_cut_at_a_word_and_is_the_first_part_of_a_longer_one(planted):
    short, long = (corpus.corpus_file(n).read_text(encoding="ascii").split() for n in (700, 2000))
    assert len(short) == 700 and len(long) == 2000 and long[:700] == short
    with pytest.raises(ValueError, match="hold too few words: .* more were asked for"):
        corpus.corpus_file(10_000)
    assert len(list(planted.iterdir())) == 2                             # nothing half-made


def test_another_corpus_can_be_named(planted, monkeypatch, tmp_path):
    monkeypatch.setenv("PRIMER_CORPUS", str(tmp_path / "mine.txt"))
    assert corpus.corpus_file() == tmp_path / "mine.txt"


def test_every_source_is_in_the_register_and_has_a_reader():
    assert set(corpus.SOURCES) == set(corpus.READERS)
    for name in corpus.SOURCES:
        assert data.entry(name)["title"]


def test_rare_words_counts_those_that_vectors_lack(monkeypatch):
    """Of five lines two count: known has its vector, and "odd" lacks a word; one is right."""
    monkeypatch.setattr(quality.data, "derived_words", lambda: [
        ("r1", "b", "up", "left"), ("r2", "b", "up", "left"), ("known", "b", "up", "left"),
        ("r3", "b", "odd", "left"), ("r4", "b", "up", "odd")])
    vectors = WordVectors(["up", "left", "known"], [[0, 2], [-3, 0], [1, 1]])
    embed = {"r1": [0.1, 1], "r2": [-5, 1]}.__getitem__
    assert quality.rare_words(embed, vectors) == (0.5, 3, 5)
    monkeypatch.setattr(quality.data, "derived_words", lambda: [("known", "b", "up", "left")])
    with pytest.raises(ValueError, match="vectors: they have all rare words"):
        quality.rare_words(embed, vectors)


def test_quality_asks_chapter_9_with_the_frequent_words(monkeypatch, tmp_path, capsys):
    pairs, questions = [("a", "b"), ("a", "c"), ("b", "z")], {"s": [("a", "b", "c", "d")] * 3}
    monkeypatch.setattr(quality.data, "word_pairs", lambda name: (pairs, np.array([1.0, 2, 3])))
    monkeypatch.setattr(quality.data, "analogy_questions", lambda: questions)
    rows = np.array([[1, 0], [1, 0.1], [1, 1], [1, 1.1]])
    vectors = WordVectors("abcd", rows)
    found = quality.quality(vectors)
    assert found["analogies"] == (1.0, 0, 3) and found["wordsim353"][1:] == (1, 3)
    assert_close(found["simlex999"][0], -1.0)                       # a is nearer to b than to c
    with pytest.raises(ValueError, match="unknown"):
        quality.quality(vectors, restrict=3)                        # d is too rare to answer
    write_vectors(tmp_path / "x.vec", vectors)
    assert main(["evaluate", "--vectors", str(tmp_path / "x.vec"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["analogies"] == {"value": 1.0, "left_out": 0,
                                                                "of": 3}
    assert main(["evaluate", "--vectors", str(tmp_path / "x.vec")]) == 0
    assert "1 of 3 left out" in capsys.readouterr().out
