"""Chapter 2: WordNet's graph, its measures, Lesk, the laws of opposites."""
import gzip
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import EDGE_SIZES, assert_close, every_backend, every_order, every_twin
from hypothesis import given
from hypothesis import strategies as st

from kernels import emulator
from primer import claims, data
from primer.ch02_lexicon import (
    ROOT,
    WordNet,
    are_directional,
    are_relational,
    content_words,
    depth,
    hypernym_arrays,
    hypernym_distances,
    information_content,
    kind_of_opposites,
    leacock_chodorow,
    lesk_overlaps,
    lowest_common_hypernyms,
    path_lengths,
    path_similarity,
    resnik,
    shortest_path_length,
    wu_palmer,
)
from primer.claims.ch02_lexicon import OPPOSITES, lesk_score
from primer.exercises.ch02_lexicon import ANIMALS, ancestors, hierarchies, places
from primer.figures import ch02_lexicon as figures
from primer.formats import read_wordnet, read_wordnet_excerpt

PARITY = json.loads((Path(__file__).parent / "parity/ch02_lexicon.json").read_text())


@pytest.fixture(scope="module")
def wn():
    return WordNet.excerpt()


def random_hierarchy(n, seed):
    """A dict of n numbered nodes with 0 to 3 parents each, ties and several roots included."""
    rng = random.Random(seed)
    return {i: rng.sample(range(i), min(i, rng.choice([0, 1, 1, 1, 2, 3]))) for i in range(n)}


# Equations, read aloud.

def spec_ways_up(parents, node, steps=0):
    """Every way from a node upwards -> list of (ancestor, steps)."""
    return [(node, steps)] + [w for p in parents[node] for w in spec_ways_up(parents, p, steps + 1)]


def spec_length(parents, a, b):
    """(2.1) over all pairs of ways that meet."""
    return min((i + j for c, i in spec_ways_up(parents, a) for d, j in spec_ways_up(parents, b)
                if c == d), default=math.inf)


@given(place=places(2))
def test_length_and_path_equal_the_equations(place):
    parents, a, b = place
    length = spec_length(parents, a, b)
    assert shortest_path_length(parents, a, b) == length
    assert_close(path_similarity(parents, a, b), 0.0 if length == math.inf else 1 / (1 + length))
    if length < math.inf:
        assert_close(leacock_chodorow(parents, a, b, 9), -math.log((1 + length) / 18))


@given(place=places(2, tree=True))
def test_wu_palmer_equals_the_equation_on_a_tree(place):
    parents, a, b = place
    up_a, up_b = dict(spec_ways_up(parents, a)), dict(spec_ways_up(parents, b))
    c = max((c for c in up_a if c in up_b), key=lambda c: len(spec_ways_up(parents, c)))
    nodes = len(spec_ways_up(parents, c))
    for choose in (min, max):
        assert_close(wu_palmer(parents, a, b, choose=choose),
                     2 * nodes / (up_a[c] + up_b[c] + 2 * nodes))


@given(place=places(2), counts=st.lists(st.integers(0, 5), min_size=7, max_size=7))
def test_resnik_equals_the_equation(place, counts):
    parents, a, b = place
    counts = {n: c + 1 for n, c in zip(parents, counts, strict=False)}
    want = 0.0
    for c in ancestors(parents, a) & ancestors(parents, b):
        below = sum(k for n, k in counts.items() if c in ancestors(parents, n))
        want = max(want, -math.log(below / sum(counts.values())))
    got = resnik(parents, a, b, information_content(parents, counts))
    assert_close(got, want, atol=1e-9)


@every_backend("ch02_lexicon", "path_lengths")
@given(parents=hierarchies())
def test_path_lengths_equal_the_equation(backend, parents):
    names, indptr, indices = hypernym_arrays(parents)
    want = [[spec_length(parents, a, b) for b in names] for a in names]
    want = np.array([[-1 if x == math.inf else x for x in row] for row in want], np.int64)
    assert_close(backend.path_lengths(indptr, indices, np.arange(len(names))), want)


# The text's examples.

@pytest.mark.parametrize("row", claims.rows(2), ids=lambda r: f"{r['line']} {r['claim'][:40]}")
def test_the_verdict_on_a_claim(row):
    wrong = {265, 308, 344, 1046}
    illustrative = {281, 289, 329, 339}
    assert row["verdict"] == ("wrong" if row["line"] in wrong else
                              "illustrative" if row["line"] in illustrative else "right")
    assert row["verdict"] == "right" or row["note"]


def test_the_two_banks_have_only_the_root_in_common(wn):
    river, money, house = "bank.n.01", "depository_financial_institution.n.01", "bank.n.09"
    assert lowest_common_hypernyms(wn.hypernyms, river, money) == ["entity.n.01"]
    assert lowest_common_hypernyms(wn.hypernyms, money, house) == ["entity.n.01"]  # a caution
    assert_close(wn.compare(path_similarity, river, money), 1 / 13)


def test_two_of_the_twelve_pairs_are_no_antonyms_in_wordnet(wn):
    pairs = [p for kind in OPPOSITES.values() for p in kind]
    missing = [p for p in pairs if p[1] not in {w for _, w, _ in wn.antonyms(p[0])}]
    assert len(pairs) == 12 and missing == [("happy", "sad"), ("teacher", "student")]


@pytest.mark.parametrize("sentence, word, pos, name", [
    ("I deposited money in the bank", "bank", "n", "depository_financial_institution.n.01"),
    ("We walked along the river bank", "bank", "n", "bank.n.01"),
    ("He swung the bat at the ball.", "bat", "n", "bat.n.05"),
    ("He will book a flight.", "book", None, "reserve.v.04"),
    ("She read a book.", "book", None, "book.n.01"),
    ("light weight", "light", None, "light.a.01"),
])
def test_lesk_on_the_texts_sentences(wn, sentence, word, pos, name):
    assert wn.lesk(sentence, word, pos).name == name


def test_lesk_is_undecided_where_the_text_is_and_takes_the_first_sense(wn):
    verbs = wn.synsets("bank", "v")
    assert not any(lesk_overlaps("She banked by the river", "bank", [s.gloss for s in verbs]))
    assert wn.lesk("She banked by the river", "bank", "v") == verbs[0]


def test_how_many_sentences_lesk_solves():
    assert lesk_score() == (16, 24)
    assert lesk_score("hypernyms", "hyponyms") == (19, 24)          # bank loan, savings bank, ...


def test_the_measures_of_the_docstring(wn):
    dog, cat = "dog.n.01", "cat.n.01"
    assert_close(wn.compare(wu_palmer, dog, dog), 0.9285714285714286)             # NLTK's way
    assert_close(wu_palmer(wn.hypernyms, dog, dog, choose=max), 1.0)
    assert_close(wn.compare(path_similarity, dog, cat), 0.2)
    assert lowest_common_hypernyms(wn.hypernyms, dog, cat) == ["carnivore.n.01"]
    assert depth(wn.hypernyms, dog) == 13 and depth(wn.hypernyms, dog, min) == 8
    assert (wn.taxonomy_depth("n"), wn.taxonomy_depth("v")) == (19, 13)


def test_senses_come_in_order_with_their_counts(wn):
    names = [name for name, _, _ in wn.sense_inventory("bank")]
    assert names[:2] == ["bank.n.01", "depository_financial_institution.n.01"]
    assert [count for _, count, _ in wn.sense_inventory("bank", "n")][:3] == [25, 20, 2]
    assert len(wn.synsets("bank", "n")) == 10 and len(wn.synsets("bank", "v")) == 8
    assert wn.synset("automobile.n.01").name == "car.n.01"
    assert wn.synsets("motor vehicle") == wn.synsets("Motor_vehicle ")


# Properties that no student sees.

@given(place=places(2))
def test_with_choose_max_wu_palmer_is_symmetric_and_one_only_for_itself(place):
    parents, a, b = place
    share = wu_palmer(parents, a, b, choose=max)
    assert 0 <= share <= 1 and (share == 1) == (a == b)
    assert_close(wu_palmer(parents, b, a, choose=max), share)
    assert 0 <= wu_palmer(parents, a, b) <= 1


@given(place=places(2))
def test_a_simulated_root_joins_everything_and_lengthens_nothing(place):
    parents, a, b = place
    plain, joined = (shortest_path_length(parents, a, b, root) for root in (False, True))
    assert joined < math.inf and joined <= plain and (joined == plain or plain == math.inf
                                                      or a != b)
    assert 0 < path_similarity(parents, a, b, True) <= 1
    assert 0 < wu_palmer(parents, a, b, True) <= 1
    assert lowest_common_hypernyms(parents, a, ROOT, True) == [ROOT]


@given(place=places(3))
def test_leacock_chodorow_orders_pairs_as_path_does(place):
    parents, a, b, c = place
    paths = path_similarity(parents, a, b), path_similarity(parents, a, c)
    logs = leacock_chodorow(parents, a, b, 7), leacock_chodorow(parents, a, c, 7)
    assert (paths[0] < paths[1]) == (logs[0] < logs[1])


@given(place=places(2))
def test_the_hypernym_relation_is_antisymmetric_and_the_path_symmetric(place):
    parents, a, b = place
    above, below = b in hypernym_distances(parents, a), a in hypernym_distances(parents, b)
    assert not (above and below) or a == b
    assert path_similarity(parents, a, b) == path_similarity(parents, b, a)


def test_the_relations_of_wordnet(wn):
    for name, s in wn.all.items():
        assert all(name in wn.hyponyms[p] for p in wn.hypernyms[name])
        assert all(name in wn.hypernyms[c] for c in wn.hyponyms[name])
        for own, target, other in s.pointers.get("antonyms", []):
            back = wn.all[target].pointers["antonyms"]
            assert [other, name, own] in back and target != name     # symmetric, irreflexive
    roots = [n for n, above in wn.hypernyms.items() if not above and n.split(".")[-2] == "n"]
    assert roots == ["entity.n.01"]
    assert "accelerator.n.01" in wn.meronyms["car.n.01"]
    assert wn.entailments["snore.v.01"] == ["sleep.v.01"]


def test_the_excerpt_holds_the_texts_words_and_its_licence():
    stored = json.loads(gzip.decompress(data.path("wordnet_excerpt").read_bytes()))
    assert "Princeton University" in stored["licence"] and "WordNet 3.1" in stored["licence"]
    words = ["bank", "head", "run", "bat", *(w for k in OPPOSITES.values() for p in k for w in p)]
    assert all(None not in names or word == "head"                # one coarse sense is left out
               for word in words for names in stored["senses"][word].values())


@given(words=st.lists(st.sampled_from("river bank the money boats boat".split()), max_size=5))
def test_lesk_sees_sets_of_words(words):
    text = " ".join(words)
    assert content_words(text) == content_words(text.upper() + " of the " + text)
    assert content_words("banks banking banked buses boss") == {"bank", "buse", "boss"}


def test_sense_counts_share_a_word_among_its_senses(wn):
    counts = wn.sense_counts({"bank": 10, "banks": 10, "qqq": 5}, "n", smoothing=0.0)
    assert_close(counts["bank.n.09"], 2.0)
    assert_close(sum(counts.values()), 20.0)
    assert sum(wn.sense_counts({}, "v").values()) == sum(s.pos == "v" for s in wn.all.values())


def test_information_of_the_addresses_is_least_at_the_root(wn):
    information = figures.noun_information(wn, ["The bank of the river", "a dog and a cat"])
    assert_close(information["entity.n.01"], 0.0, atol=1e-9)
    assert information["dog.n.01"] > information["animal.n.01"] > 0


@given(a=st.lists(st.booleans(), min_size=1, max_size=8))
def test_not_b_is_a_for_complementary_pairs_only(a):
    A = np.array(a)
    assert kind_of_opposites(A, ~A) == "complementary"
    gap = np.append(A, False)
    assert kind_of_opposites(gap, np.append(~A, False)) == "gradable"


# Parity: NLTK on the same database.

@pytest.mark.parametrize("i", range(0, 200, 25))
def test_measures_equal_nltk(wn, i):
    counts = {n: 1 + sum(s.counts) for n, s in wn.all.items()}
    information = {}
    for pos in "nv":
        own = {n: c for n, c in counts.items() if wn.all[n].pos == pos}
        information |= {n: v for n, v in information_content(wn.hypernyms, own).items() if n in own}
    for k in range(i, i + 25):
        a, b = PARITY["pairs"][k]
        assert_close(wn.compare(path_similarity, a, b), PARITY["path"][k])
        assert_close(wn.compare(wu_palmer, a, b), PARITY["wup"][k])
        taxonomy_depth = {"n": 19, "v": 13}[wn.synset(a).pos]
        assert_close(wn.compare(leacock_chodorow, a, b, taxonomy_depth), PARITY["lch"][k])
        assert_close(wn.compare(resnik, a, b, information), PARITY["res"][k])
        assert lowest_common_hypernyms(wn.hypernyms, a, b) == PARITY["lowest"][k]


# Bad input.

def test_unknown_names_get_the_nearest(wn):
    with pytest.raises(LookupError, match=r"bank\.n\.99.*nearest: bank\.n\.0"):
        wn.synset("bank.n.99")
    for bad in ("", "bank", "bank.n", "bank.n.x", "bank.n.²", "bank.x.01"):
        with pytest.raises(LookupError, match="synset: "):
            wn.synset(bad)
    with pytest.raises(LookupError, match="word: 'poodl' .*poodle"):
        wn.synsets("poodl")
    with pytest.raises(LookupError, match="node: 'dgo' .*dog"):
        shortest_path_length(ANIMALS, "cat", "dgo")
    with pytest.raises(LookupError, match="node"):
        information_content(ANIMALS, {"unicorn": 1})


@pytest.mark.parametrize("word, pos", [("", None), ("  ", "n"), ("bank", "x"), ("bank", "s"),
                                       ("bank", "")])
def test_a_word_and_a_part_of_speech_are_asked_for(wn, word, pos):
    with pytest.raises(ValueError, match="expected a word and a pos"):
        wn.synsets(word, pos)


def test_other_bad_input(wn):
    for measure in (leacock_chodorow, resnik):
        with pytest.raises(ValueError, match="one part of speech"):
            wn.compare(measure, "dog.n.01", "run.v.01", 19)
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="taxonomy_depth"):
            leacock_chodorow(ANIMALS, "cat", "dog", bad)
    with pytest.raises(LookupError, match="'poodle' has no sense as 'v'"):
        wn.lesk("the poodle barked", "poodle", "v")
    with pytest.raises(ValueError, match="pos: expected n, v, a, s or r, got 'x'"):
        wn.taxonomy_depth("x")
    with pytest.raises(ValueError, match="cycle"):
        depth({"a": ["b"], "b": ["a"]}, "a")
    for counts in ({}, {"cat": 0}, {"cat": -1, "dog": 2}, {"cat": math.nan}, {"cat": math.inf}):
        with pytest.raises(ValueError, match="counts"):
            information_content(ANIMALS, counts)
    for sentence in ("", "  ", "12 !"):
        with pytest.raises(ValueError, match="sentence: expected at least one word"):
            wn.lesk(sentence, "bank")
    for A, B in (([], []), ([True], [1]), ([True], [True, False]), ([[True]], [[False]])):
        with pytest.raises(ValueError, match="A, B"):
            kind_of_opposites(np.array(A), np.array(B))
    for A, B in (([[True, False]], [[True, False]]), ([[1]], [[1]]), ([True], [True])):
        with pytest.raises(ValueError, match="A, B"):
            are_relational(np.array(A), np.array(B))
    for there, back in (([0, 2], [1, 0]), ([0], [0, 1]), ([0.0], [0.0]), ([-1, 0], [1, 0])):
        with pytest.raises(ValueError, match="there, back"):
            are_directional(np.array(there), np.array(back))


def test_nothing_joins_what_shares_no_hypernym():
    parents = {"x": [], "y": [], "child": ["x", "y"]}
    assert shortest_path_length(parents, "x", "y") == math.inf
    assert path_similarity(parents, "x", "y") == wu_palmer(parents, "x", "y") == 0
    assert leacock_chodorow(parents, "x", "y", 2) == -math.inf
    assert resnik(parents, "x", "y", dict.fromkeys(parents, 1.0)) == 0
    assert lowest_common_hypernyms(parents, "x", "y") == []


# Files.

MINI = {
    "data.noun": "  1 notice\n"
    "00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | what is; \"an entity\"\n"
    "00000002 03 n 02 dog 0 Hot_dog 1 002 @ 00000001 n 0000 %p 00000003 n 0000 | a pet; \"he\"\n"
    "00000003 03 n 01 tail 0 001 #p 00000002 n 0000 | an end\n",
    "data.verb": "00000001 29 v 01 snore 0 000 00 | sleep loudly\n",
    "data.adj": "00000001 00 a 01 hot(p) 0 001 ! 00000002 a 0101 | not cold\n"
    "00000002 00 a 01 cold 0 001 ! 00000001 a 0101 | not hot\n"
    "00000003 00 s 01 hot 1 001 & 00000001 a 0000 | spicy\n",
    "data.adv": "",
    "index.noun": "  1 notice\nentity n 1 1 ~ 1 0 00000001\ndog n 1 1 @ 1 1 00000002\n"
    "hot_dog n 1 1 @ 1 0 00000002\ntail n 1 1 # 1 0 00000003\n",
    "index.verb": "snore v 1 0 1 0 00000001\n",
    "index.adj": "hot a 2 1 ! 2 0 00000001 00000003\ncold a 1 1 ! 1 0 00000002\n",
    "index.adv": "",
    "index.sense": "dog%1:03:00:: 00000002 1 7\nhot%5:00:01:hot:00 00000003 2 3\n",
}


def write_mini(folder, **changed):
    for name, text in (MINI | changed).items():
        (folder / name).write_text(text)
    return folder


def test_reading_the_dict_files(tmp_path):
    (tmp_path / "dict").mkdir()
    write_mini(tmp_path / "dict")
    synsets, senses = read_wordnet(tmp_path)               # the folder above does too
    dog, hot, spicy = synsets["dog.n.01"], synsets["hot.a.01"], synsets["hot.s.01"]
    assert dog.lemmas == ["dog", "Hot_dog"] and dog.counts == [7, 0] and dog.pos == "n"
    assert (dog.gloss, dog.examples) == ("a pet", ["he"])
    assert dog.pointers == {"hypernyms": ["entity.n.01"], "meronyms": ["tail.n.01"]}
    assert hot.lemmas == ["hot"] and hot.pointers == {"antonyms": [["hot", "cold.a.01", "cold"]]}
    assert spicy.counts == [3] and spicy.pointers == {"similar": ["hot.a.01"]}
    assert senses["hot"] == {"a": ["hot.a.01", "hot.s.01"]}
    assert WordNet(synsets, senses).hyponyms["entity.n.01"] == ["dog.n.01"]


@pytest.mark.parametrize("name, lines, cut", [
    ("data.noun", 3, 0), ("data.noun", 4, 20), ("data.noun", 4, 45), ("data.adj", 1, 0),
    ("index.noun", 3, 0), ("index.noun", 5, 9), ("index.sense", 1, 12)])
def test_a_truncated_database_is_refused(tmp_path, name, lines, cut):
    kept = MINI[name].splitlines(keepends=True)[:lines]
    kept[-1] = kept[-1][:cut] if cut else kept[-1]
    write_mini(tmp_path, **{name: "".join(kept)})
    with pytest.raises(ValueError, match="truncated"):
        read_wordnet(tmp_path)


def test_a_missing_or_truncated_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_wordnet(tmp_path)
    whole, other = data.path("wordnet_excerpt").read_bytes(), b'{"synsets": {"a": [1]}}'
    for number, content in enumerate((b"", whole[:1000], b"{}", gzip.compress(b"{}"),
                                      gzip.compress(other))):
        file = tmp_path / f"{number}.json.gz"
        file.write_bytes(content)
        with pytest.raises(ValueError, match="truncated"):
            read_wordnet_excerpt(file)


# Twins.

@every_twin("ch02_lexicon", "path_lengths")
@pytest.mark.parametrize("n", EDGE_SIZES)
def test_twin_equals_the_reference(backend, n):
    _, indptr, indices = hypernym_arrays(random_hierarchy(n, n))
    for sources in (np.arange(n), np.arange(n)[::-3], np.zeros(0, np.int64)):
        assert_close(backend.path_lengths(indptr, indices, sources),
                     path_lengths(indptr, indices, sources))


@every_twin("ch02_lexicon", "path_lengths")
def test_twin_on_wordnet(backend, wn):
    names, indptr, indices = hypernym_arrays(wn.hypernyms)
    sources = [names.index(n) for n in ("bank.n.01", "dog.n.01", "run.v.01", "dog.n.01")]
    got = backend.path_lengths(indptr, indices.astype(np.int32), sources)
    assert_close(got, path_lengths(indptr, indices, sources))
    assert got[1, names.index("cat.n.01")] == 4 and got[0, names.index("run.v.01")] == -1


@every_backend("ch02_lexicon", "path_lengths")
@pytest.mark.parametrize("sources", [[-1], [3], [0, 3]])
def test_a_source_must_be_a_node(backend, sources):
    _, indptr, indices = hypernym_arrays({"a": [], "b": ["a"], "c": ["a"]})
    with pytest.raises(ValueError, match="sources: expected node numbers from 0 to 2"):
        backend.path_lengths(indptr, indices, sources)


def hard_hierarchies():
    """A node with 600 children, a chain of 40, and two ways up of unlike length that cross."""
    star = {0: []} | {i: [0] for i in range(1, 600)}
    chain = {i: [i - 1] if i else [] for i in range(40)}
    crossing = {0: [], 1: [0], 2: [1], 3: [2], 4: [3, 0], 5: [4, 4, 1], 6: [5, 2], 7: [], 8: [7, 6]}
    return star, chain, crossing, random_hierarchy(300, 1)


@every_order
def test_no_order_of_threads_changes_a_length(order):
    twin = emulator.load("ch02_lexicon")
    for parents in hard_hierarchies():
        _, indptr, indices = hypernym_arrays(parents)
        sources = np.arange(len(parents) - 1, -1, -(len(parents) // 8))
        with emulator.running(**order):
            got = twin.path_lengths(indptr, indices, sources)
        assert_close(got, path_lengths(indptr, indices, sources))


@every_order
def test_cuda_searches_in_little_memory_and_waits_once(monkeypatch, order):
    """Two blocks, or one, search for nine sources, one after another; none for no source."""
    twin, (_, indptr, indices) = emulator.load("ch02_lexicon"), hypernym_arrays(
        random_hierarchy(129, 2))
    for name, value, sources in (("BLOCKS", 2, 9), ("SCRATCH", 0, 9), ("BLOCKS", 2, 0)):
        monkeypatch.setattr(twin, name, value)
        with emulator.running(**order) as log:
            got = twin.path_lengths(indptr, indices, np.arange(sources))
        assert_close(got, path_lengths(indptr, indices, np.arange(sources)))
        assert (log.count.downloads, log.count.launches) == ((1, 3) if sources else (0, 0))


# Figures.

def test_the_tour_is_short_and_shows_a_figure():
    parts = list(figures.tour())
    lines = [p for p in parts if isinstance(p, str)]
    assert 5 < len(lines) < 20 and all(len(line) <= 100 for line in lines)
    assert [name for name, _ in (p for p in parts if not isinstance(p, str))] == ["senses of bank"]
