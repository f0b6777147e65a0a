"""Exercises of chapter 2: walking a hierarchy, measuring in it, glosses, opposites.

A hierarchy is a dict: a node, then the nodes just above it, such as {"a": [], "b": ["a"]}.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer.ch02_lexicon import ROOT
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch02_lexicon"
LETTERS = "abcdefg"
ANIMALS = {"entity": [], "animal": ["entity"], "dog": ["animal", "pet"], "pet": ["animal"],
           "cat": ["animal"], "poodle": ["dog"], "mat": ["entity"]}

def hierarchies(tree=False):
    """Up to 7 nodes; each has parents among those before it, up to 3, or in a tree just one."""
    above = [st.lists(st.sampled_from(LETTERS[:i]), min_size=tree, max_size=1 if tree else 3,
                      unique=True) for i in range(1, len(LETTERS))]
    return st.one_of([st.tuples(*above[:i]) for i in range(len(LETTERS))]).map(
        lambda parents: dict(zip(LETTERS, [[], *parents], strict=False)))

def places(number, tree=False):
    """A hierarchy and some of its nodes -> strategy of (parents, node, ...)."""
    nodes = [st.sampled_from(range(len(LETTERS)))] * number
    return st.tuples(hierarchies(tree), *nodes).map(lambda place: (
        place[0], *[LETTERS[i % len(place[0])] for i in place[1:]]))

def ancestors(parents, node):
    """A node and all above it -> set: slow and plain."""
    return {node}.union(*(ancestors(parents, p) for p in parents[node]))

distances = Exercise("ch02.distances", REFERENCE, ["hypernym_distances"], "Up the hierarchy", "2.1")

@distances.property("a node is its own ancestor, no step away; the others are all above it",
                    place=places(1), hint="start with {node: 0} and look at what lies above")
def finds_all(impl, place):
    parents, node = place
    found = impl.hypernym_distances(parents, node)
    expect(found.get(node) == 0, "the node itself is 0 steps away", found=found)
    expect(set(found) == ancestors(parents, node), "it finds what lies above", found=found)

@distances.property("an ancestor is a step further than from the nearest parent", place=places(1),
                    hint="breadth first: the first time that you meet a node is the shortest way")
def one_more(impl, place):
    parents, node = place
    found = impl.hypernym_distances(parents, node)
    from_parents = [impl.hypernym_distances(parents, p) for p in parents[node]]
    for c in ancestors(parents, node) - {node}:
        nearest = min(d[c] for d in from_parents if c in d)
        expect(found.get(c) == nearest + 1, "one more than from a parent", ancestor=c, found=found)

@distances.property("a simulated root lies above all others, one step beyond the farthest",
                    place=places(1), hint="verbs have many roots: what would join them?")
def simulates_a_root(impl, place):
    bare, rooted = (impl.hypernym_distances(*place, root) for root in (False, True))
    want = {**bare, ROOT: max(bare.values()) + 1}
    expect(rooted == want, "the same, and the root", got=rooted, want=want)

@distances.property("it agrees with a calculation by hand", upside_down=st.booleans(),
                    hint="a poodle is a dog, and a dog is both an animal and a pet")
def distances_by_hand(impl, upside_down):
    parents = {n: p[::-1] for n, p in ANIMALS.items()} if upside_down else ANIMALS
    got = impl.hypernym_distances(parents, "poodle")
    want = {"poodle": 0, "dog": 1, "animal": 2, "pet": 2, "entity": 3}
    expect(got == want, "the steps up from poodle", got=got, want=want)

distances.mutant("hypernym_distances", "{node: 0}", "{node: 1}", "the start counts as a step")
distances.mutant("hypernym_distances", "above not in distances", "True",
                 "a longer way overwrites a shorter one")
UP = "_above(parents, below)"
distances.mutant("hypernym_distances", UP, f"{UP}[:1]", "only the first hypernym is followed")
distances.mutant("hypernym_distances", "distances[below] + 1", "distances[node] + 1",
                 "every ancestor is one step away")
distances.mutant("hypernym_distances", "max(distances.values()) + 1", "len(distances)",
                 "the simulated root is a step for every ancestor away")

paths = Exercise("ch02.paths", REFERENCE, [
    "shortest_path_length", "path_similarity", "leacock_chodorow"],
    "Up to a hypernym, and down", "2.1, 2.2")

@paths.property("the way is as long in both directions, and 0 only to oneself", place=places(2))
def is_symmetric(impl, place):
    parents, a, b = place
    there, back = (impl.shortest_path_length(parents, x, y) for x, y in ((a, b), (b, a)))
    expect(there == back, "there and back", there=there, back=back)
    expect((there == 0) == (a == b), "0 only to oneself", length=there)

@paths.property("a parent is one step away; what nothing joins is inf away", place=places(2),
                hint="two parents of one child are not joined by it: a way goes up, then down")
def steps_or_inf(impl, place):
    parents, a, b = place
    joined = ancestors(parents, a) & ancestors(parents, b)
    length = impl.shortest_path_length(parents, a, b)
    expect(math.isfinite(length) == bool(joined), "finite with a common hypernym", length=length)
    expect((length == 1) == (a in parents[b] or b in parents[a]), "1 to parents", length=length)

@paths.property("it agrees with a calculation by hand", swap=st.booleans(),
                hint="cat, animal, dog: two steps, three nodes, so 1/3")
def paths_by_hand(impl, swap):
    for a, b, steps in (("cat", "dog", 2), ("poodle", "mat", 4), ("dog", "dog", 0)):
        a, b = (b, a) if swap else (a, b)
        expect_close(impl.shortest_path_length(ANIMALS, a, b), steps, f"steps from {a} to {b}")
        expect_close(impl.path_similarity(ANIMALS, a, b), 1 / (steps + 1), f"{a} and {b}")

@paths.property("on a log scale: -ln((1 + steps) / (2 D)), equation 2.2", place=places(2),
                D=st.integers(1, 20), hint="the natural logarithm; nodes, not steps, above the bar")
def on_a_log_scale(impl, place, D):
    parents, a, b = place
    want = 1 / impl.path_similarity(parents, a, b) if ancestors(parents, a) & ancestors(
        parents, b) else math.inf
    got = impl.leacock_chodorow(parents, a, b, D)
    expect(abs(math.exp(-got) * 2 * D - want) < 1e-9 or got == -want, "exp(-lch) 2 D = 1 + steps",
           lch=got, nodes=want)

paths.mutant("leacock_chodorow", "2 * taxonomy_depth", "taxonomy_depth", "D in place of 2 D")
paths.mutant("leacock_chodorow", "1 + length", "max(length, 1)",
             "steps, not nodes: a node and its parent are the same")
paths.mutant("leacock_chodorow", "math.log(2 * taxonomy_depth) - math.log(1 + length)",
             "math.log2(2 * taxonomy_depth) - math.log2(1 + length)",
             "log base 2 in place of the natural one")
paths.mutant("shortest_path_length", "up_a[c] + up_b[c]", "max(up_a[c], up_b[c])",
             "the longer of the two ways up, not their sum")
paths.mutant("shortest_path_length", "up_a[c] + up_b[c]", "up_a[c] + up_b[c] + 1",
             "nodes are counted, not steps")
paths.mutant("shortest_path_length", "math.inf", "0", "what nothing joins is taken for the same")
paths.mutant("path_similarity", "1 + shortest_path_length(parents, a, b, simulate_root)",
             "2 + shortest_path_length(parents, a, b, simulate_root)",
             "two is added, so a node is not wholly like itself")

lowest = Exercise("ch02.lowest", REFERENCE, ["depth", "lowest_common_hypernyms", "wu_palmer"],
                  "How far down two nodes stay together", "2.3")

@lowest.property("a root has depth 0, others one more than their deepest parent", place=places(1))
def deeper_than_parents(impl, place):
    parents, node = place
    for choose in (max, min):
        want = 1 + choose((impl.depth(parents, p, choose) for p in parents[node]), default=-1)
        expect_close(impl.depth(parents, node, choose), want, f"the depth, {choose.__name__}")

@lowest.property("the answers lie above both, and no other common hypernym is deeper",
                 place=places(2), hint="a node counts among its own hypernyms")
def deepest_of_common(impl, place):
    parents, a, b = place
    common = ancestors(parents, a) & ancestors(parents, b)
    answer = impl.lowest_common_hypernyms(parents, a, b)
    expect(set(answer) <= common and bool(answer) == bool(common), "common ones", answer=answer)
    expect(not any(set(answer) & (ancestors(parents, c) - {c}) for c in common),
           "nothing common lies below an answer", answer=answer)

@lowest.property("in a tree, Wu and Palmer's share is 1 for a node and itself only, and symmetric",
                 place=places(2, tree=True))
def share_is_bounded(impl, place):
    parents, a, b = place
    share = impl.wu_palmer(parents, a, b)
    expect(0 < share <= 1 and (share == 1) == (a == b), "1 for oneself, else less", share=share)
    expect_close(impl.wu_palmer(parents, b, a), share, "the other way round")

@lowest.property("it agrees with a calculation by hand", swap=st.booleans(),
                 hint="cat and dog part at animal, node 2 from the root: 2*2 / (1 + 1 + 2*2)")
def lowest_by_hand(impl, swap):
    node = "poodle" if swap else "dog"
    steps = [impl.depth(ANIMALS, node, choose) - swap for choose in (max, min)]
    expect(steps == [3, 2], "the longest and the shortest chain up from dog", got=steps)
    parents = ANIMALS | {"dog": ["animal"]}
    for a, b, c, share in (("cat", "dog", "animal", 4 / 6), ("poodle", "cat", "animal", 4 / 7),
                           ("poodle", "mat", "entity", 2 / 6)):
        a, b = (b, a) if swap else (a, b)
        answer = impl.lowest_common_hypernyms(parents, a, b)
        expect(answer == [c], f"above {a} and {b}", answer=answer)
        expect_close(impl.wu_palmer(parents, a, b), share, f"{a} and {b}")
    expect_close(impl.wu_palmer({**parents, "rock": []}, "rock", "cat"), 0.0, "nothing joins them")

lowest.mutant("depth", "1 + depth(parents, p, choose)", "depth(parents, p, choose)",
              "every depth is 0: the step is not counted")
lowest.mutant("depth", "choose((1 + depth(parents, p, choose) for p in _above(parents, node)), "
              "default=0)", "1 + max((depth(parents, p) for p in _above(parents, node)), "
              "default=-1)", "the shortest chain is asked for, the longest is given")
lowest.mutant("lowest_common_hypernyms", "max(depths.values())", "min(depths.values())",
              "the highest common hypernym")
lowest.mutant("lowest_common_hypernyms", "depths[c] == max(depths.values())", "True",
              "all common hypernyms")
lowest.mutant("wu_palmer", "depth(parents, c) + 1", "depth(parents, c)", "steps, not nodes: 0/0")
lowest.mutant("wu_palmer", "2 * shared / (apart + 2 * shared)", "shared / (apart + shared)",
              "the shared way is counted once")

COUNTS = st.fixed_dictionaries({letter: st.integers(letter == "a", 2) for letter in LETTERS})
resnik = Exercise("ch02.resnik", REFERENCE, ["information_content", "resnik"], "Rarity", "2.4")

@resnik.property("the root of a tree tells nothing, what lies below more, the unseen inf",
                 parents=hierarchies(tree=True), counts=COUNTS,
                 hint="each count also goes to all that lies above")
def root_tells_nothing(impl, parents, counts):
    information = impl.information_content(parents, {n: counts[n] for n in parents})
    expect_close(information["a"], 0.0, "the root", atol=1e-9)
    for node in parents:
        seen = sum(counts[n] for n in parents if node in ancestors(parents, n))
        expect(math.isinf(information[node]) == (seen == 0), "inf where nothing was seen",
               node=node, seen=seen, information=information[node])
        expect(all(information[node] >= information[p] - 1e-9 for p in parents[node]),
               "never less than a parent", node=node, information=information)

@resnik.property("two nodes share at most what each tells, and all of it with themselves",
                 place=places(2), counts=COUNTS, hint="the most telling of what lies above both")
def shares(impl, place, counts):
    parents, a, b = place
    information = impl.information_content(parents, {n: counts[n] + 1 for n in parents})
    both = impl.resnik(parents, a, b, information)
    expect(both <= min(information[a], information[b]) + 1e-9, "at most what each tells", both=both)
    expect_close(impl.resnik(parents, a, a, information), information[a], "a node with itself")

@resnik.property("it agrees with a calculation by hand", times=st.integers(1, 9),
                 hint="6 of 8 uses are animals: -ln(6/8) is what cat and dog have in common")
def resnik_by_hand(impl, times):
    counts = {"cat": 2 * times, "dog": 3 * times, "poodle": times, "mat": 2 * times}
    information = impl.information_content(ANIMALS, counts)
    for node, share in (("animal", 6 / 8), ("pet", 4 / 8), ("poodle", 1 / 8), ("cat", 2 / 8)):
        expect_close(information[node], -math.log(share), node)
    expect_close(impl.resnik(ANIMALS, "cat", "poodle", information), -math.log(6 / 8), "resnik")

resnik.mutant("information_content", "math.log(total / below[n])", "math.log2(total / below[n])",
              "log base 2 in place of the natural log")
resnik.mutant("information_content", "math.log(total / below[n])", "math.log(below[n] / total)",
              "the sign is lost")
resnik.mutant("information_content", "hypernym_distances(parents, node)", "[node]",
              "counts stay where they are: nothing goes up")
resnik.mutant("information_content", "math.log(total / below[n]) if below[n] else math.inf",
              "math.log(total / max(below[n], 1))", "what was never seen counts as seen once")
resnik.mutant("resnik", "max((information[c] for c in common), default=0.0)",
              "min((information[c] for c in common), default=0.0)",
              "the least telling common hypernym")

WORDS = st.lists(st.sampled_from("river money boat deposit green".split()), min_size=1, max_size=4)
lesk = Exercise("ch02.lesk", REFERENCE, ["lesk_overlaps"], "Which gloss fits the sentence", "2.5")

@lesk.property("order and repetition of words do not matter", sentence=WORDS, gloss=WORDS,
               hint="compare sets of words")
def is_a_set(impl, sentence, gloss):
    got = impl.lesk_overlaps(" ".join(sentence[::-1] * 2), "bank", [" ".join(gloss * 3)])
    expect(got == [len(set(sentence) & set(gloss))], "different words in common", got=got)

@lesk.property("the word itself, the and of do not count", sentence=WORDS, gloss=WORDS,
               hint="every gloss of bank may say bank")
def not_the_word(impl, sentence, gloss):
    bare, full = (impl.lesk_overlaps(" ".join(more + sentence), "bank", [" ".join(more + gloss)])
                  for more in ([], ["the", "bank", "of"]))
    expect(bare == full, "the same overlap with and without", bare=bare, full=full)

@lesk.property("it agrees with a calculation by hand", loud=st.booleans(), more=st.integers(0, 9),
               hint="deposited and deposits are one word; so are Money and money")
def lesk_by_hand(impl, loud, more):
    sentence = "I deposited Money in the bank" + " today" * more
    got = impl.lesk_overlaps(sentence.upper() if loud else sentence, "bank",
                             ["sloping land", "it takes deposits, lends money", "money box"])
    expect(got == [0, 2, 1], "the overlaps", got=got)

lesk.mutant("lesk_overlaps", "content_words(sentence) - content_words(word)",
            "content_words(sentence)", "the word itself counts")
lesk.mutant("lesk_overlaps", "context & content_words(gloss)", "context | content_words(gloss)",
            "all words of both, not those in common")
lesk.mutant("content_words", "text.lower()", "text", "capitals make other words")
lesk.mutant("content_words", "ENDING.sub('', w)", "w", "endings are not stripped")
lesk.mutant("content_words", "w not in STOP_WORDS", "True", "words such as of count too")

TRUTHS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6)
opposites = Exercise("ch02.opposites", REFERENCE, [
    "kind_of_opposites", "are_relational", "are_directional"], "Four kinds of opposites", "2.6")

@opposites.property("opposites never hold together, and only complementary ones leave no middle",
                    table=TRUTHS, hint="not hot does not mean cold; not alive means dead")
def follows_the_truth_table(impl, table):
    want = ("no opposites" if (True, True) in table else
            "gradable" if (False, False) in table else "complementary")
    got = impl.kind_of_opposites(*np.array(table).T)
    expect(got == want, "the law that the table obeys", got=got, want=want)

@opposites.property("if B is the converse of A, then A is that of B; buy is no converse of buy",
                    pairs=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def swaps_roles(impl, pairs):
    A = np.zeros((4, 4), bool)
    A[tuple(np.array(sorted(pairs)).T)] = True
    expect(impl.are_relational(A, A.T) and impl.are_relational(A.T, A), "the roles swapped")
    expect(impl.are_relational(A, A) == all((y, x) in pairs for x, y in pairs),
           "only a symmetric relation is its own converse", pairs=sorted(pairs))

@opposites.property("it agrees with a calculation by hand, on a round of 5 places",
                    steps=st.integers(0, 4), hint="go there and come back: back[there]")
def comes_back(impl, steps):
    there, back = (np.arange(5) + steps) % 5, (np.arange(5) - steps) % 5
    expect(impl.are_directional(there, back), "so many steps on and as many back")
    expect(impl.are_directional(there, there) == (steps == 0), "twice the same way is no return")

opposites.mutant("kind_of_opposites", "(A & B).any()", "(A & B).all()", "both may hold at times")
opposites.mutant("kind_of_opposites", "(A | B).all()", "(A | B).any()", "one middle is allowed")
opposites.mutant("are_relational", "A.T", "A", "the roles are not swapped")
opposites.mutant("are_directional", "back[there]", "there[there]", "it never comes back")
