"""The text's statements about words and their senses, lines 238-371, asked of WordNet.

Where the text calls two words synonyms or opposites and WordNet says nothing of the kind, that is
a finding about WordNet, not an error of the text: such rows are illustrative.
"""
from functools import cache

import numpy as np

from primer import data
from primer.ch02_lexicon import (
    WordNet,
    are_directional,
    are_relational,
    hypernym_distances,
    kind_of_opposites,
    lowest_common_hypernyms,
    path_similarity,
)
from primer.claims import Claim

OPPOSITES = {                                   # the text's pairs, lines 281-293
    "gradable": [("hot", "cold"), ("happy", "sad"), ("tall", "short")],
    "complementary": [("alive", "dead"), ("present", "absent"), ("true", "false")],
    "relational": [("buy", "sell"), ("parent", "child"), ("teacher", "student")],
    "directional": [("up", "down"), ("enter", "exit"), ("rise", "fall")],
}
SENSES = {                                      # the senses that data.load_texts() names
    "bank": {"institution": ["depository_financial_institution.n.01"],
             "riverside": ["bank.n.01"]},
    "head": {"body part": ["head.n.01"], "leader": ["head.n.04"],
             "front": ["head.n.05", "head.n.07", "forefront.n.01"]},
    "run": {"move": ["run.v.01"], "operate": ["function.v.01", "run.v.13"],
            "manage": ["operate.v.01"]},
    "bat": {"animal": ["bat.n.01"],
            "implement": ["squash_racket.n.01", "cricket_bat.n.01", "bat.n.05"]},
    "apple": {"fruit": ["apple.n.01"]},         # the company is not in WordNet
    "book": {"noun": ["book.n.01", "book.n.02"], "verb": ["reserve.v.04", "book.v.01"]},
    "light": {"not heavy": ["light.a.01"], "brightness": ["light.n.01", "light.n.02"]},
}
RIVERSIDE, INSTITUTION = "bank.n.01", "depository_financial_institution.n.01"


@cache
def wordnet():
    """The excerpt, read once -> WordNet."""
    return WordNet.excerpt()


def are_antonyms(a, b):
    """Whether WordNet ties two words as opposites -> bool."""
    return any(other.lower() == b for _, other, _ in wordnet().antonyms(a))


def common_synsets(a, b):
    """Names of the concepts that both words stand for -> list of str."""
    other = {s.name for s in wordnet().synsets(b)}
    return [s.name for s in wordnet().synsets(a) if s.name in other]


def sentences():
    """The text's sentences with a sense that WordNet has -> list of (sentence, word, right)."""
    out = []
    for key, entry in data.load_texts().items():
        word = key.split("_")[0]
        for sentence, sense in zip(entry["documents"], entry.get("senses", []), strict=False):
            if right := SENSES.get(word, {}).get(sense):
                out.append((sentence, word, right))
    return out


def lesk_score(*near):
    """How many of those sentences Lesk gets right -> (int, int): right, all."""
    wn, asked = wordnet(), sentences()
    graphs = [getattr(wn, relation) for relation in near]
    return sum(wn.lesk(s, word, near=graphs).name in right for s, word, right in asked), len(asked)


def scale(name):
    """A law of opposites on a small world -> the name or truth that chapter 2 computes."""
    degrees, statements = np.arange(-10, 45), np.array([True, False])
    buys = np.zeros((4, 4), bool)               # buys[x, y]: person x buys from person y
    buys[[0, 0, 2], [1, 3, 3]] = True
    floors = np.arange(6)
    return {"hot": kind_of_opposites(degrees >= 30, degrees <= 5),
            "true": kind_of_opposites(statements, ~statements),
            "buy": are_relational(buys, buys.T),
            "up": are_directional((floors + 1) % 6, (floors - 1) % 6)}[name]


def is_kind_of(below, above):
    return above in hypernym_distances(wordnet().hypernyms, below)


def found(kind):
    return ["-".join(pair) for pair in OPPOSITES[kind] if are_antonyms(*pair)]


def likeness(a, b):
    return wordnet().compare(path_similarity, a, b)


def lowest(a, b):
    return lowest_common_hypernyms(wordnet().hypernyms, a, b)


def has_sense(word, *glosses):
    """Whether each piece of text stands in the gloss of some sense of a word -> bool."""
    return all(any(g in s.gloss for s in wordnet().synsets(word)) for g in glosses)


CLAIMS = [
    Claim(240, "parts of speech that WordNet groups into synsets",
          ["adjective", "adverb", "noun", "verb"],
          lambda: sorted({{"n": "noun", "v": "verb", "r": "adverb"}.get(s.pos, "adjective")
                          for s in wordnet().all.values()})),
    Claim(242, "a poodle is a dog, a canine, a mammal, an animal; not the other way round",
          [True, False],
          lambda: [all(is_kind_of("poodle.n.01", f"{w}.n.0{k}") for w, k in
                       (("dog", 1), ("canine", 2), ("mammal", 1), ("animal", 1))),
                   is_kind_of("animal.n.01", "poodle.n.01")],
          note="The text's own example is lost; this is the usual one."),
    Claim(246, "coverage is limited: \"apple\", line 1205, has no sense of a company", True,
          lambda: not has_sense("apple", "company")),
    Claim(265, "car and automobile mean the same in all contexts: all their senses are shared",
          True, lambda: ({s.name for s in wordnet().synsets("car")}
                         == {s.name for s in wordnet().synsets("automobile")}),
          note="Misleading: they share one of 5 and 2 senses (a cable car is no automobile)."),
    Claim(266, "car and automobile name one concept", ["car.n.01"],
          lambda: common_synsets("car", "automobile")),
    Claim(269, "big and large are synonyms in some senses, not in all", [True, False],
          lambda: [bool(common_synsets("big", "large")),
                   len(common_synsets("big", "large")) == len(wordnet().synsets("big"))]),
    Claim(272, "childish and childlike differ in what they suggest", True,
          lambda: not common_synsets("childish", "childlike"),
          note="WordNet goes further: they share no synset."),
    Claim(275, "elevator and lift name one concept", ["elevator.n.01"],
          lambda: common_synsets("elevator", "lift")),
    Claim(281, "gradable opposites", ["hot-cold", "happy-sad", "tall-short"],
          lambda: found("gradable"), illustrative=True,
          note="WordNet ties happy to unhappy and sad to glad, not to each other."),
    Claim(283, "not hot is not yet cold", "gradable", lambda: scale("hot")),
    Claim(285, "complementary opposites", ["alive-dead", "present-absent", "true-false"],
          lambda: found("complementary")),
    Claim(286, "true and false leave no middle ground", "complementary", lambda: scale("true")),
    Claim(289, "relational opposites", ["buy-sell", "parent-child", "teacher-student"],
          lambda: found("relational"), illustrative=True,
          note="WordNet has no antonym for teacher or student."),
    Claim(290, "who sells to whom is who buys from whom, the roles swapped", True,
          lambda: scale("buy")),
    Claim(293, "directional opposites", ["up-down", "enter-exit", "rise-fall"],
          lambda: found("directional")),
    Claim(293, "a floor up and a floor down is where one was", True, lambda: scale("up")),
    Claim(297, "ends of a continuum", [True, True, True],
          lambda: [are_antonyms(*p) for p in
                   (("light", "dark"), ("good", "bad"), ("success", "failure"))]),
    Claim(300, "bat, the mammal and the implement, is one form of two concepts", True,
          lambda: has_sense("bat", "mammal", "club used for hitting")),
    Claim(308, "what both senses of bank are a kind of", "accumulation",
          lambda: ", ".join(w.split(".")[0] for w in lowest(RIVERSIDE, INSTITUTION)),
          note="Misleading: nothing is common to them but the root, and dictionaries class them as "
               "homonyms; yet a bank and its building share no more: a graph of kinds cannot tell."
          ),
    Claim(315, "head has the senses of body part, leader and front", [True, True, True],
          lambda: [n in wordnet().all for n in ("head.n.01", "head.n.04", "head.n.05")]),
    Claim(329, "the words around it determine the sense: sentences of the text that Lesk solves",
          "all", lambda: "{} of {}".format(*lesk_score()), illustrative=True,
          note="Readers manage all; overlap with glosses does not."),
    Claim(339, "happy and joyful name one concept", True,
          lambda: bool(common_synsets("happy", "joyful")), illustrative=True,
          note="Not in WordNet: it keeps them apart, each with its own opposite."),
    Claim(343, "increase-decrease and love-hate are opposites", [True, True],
          lambda: [are_antonyms("increase", "decrease"), are_antonyms("love", "hate")]),
    Claim(344, "true-false lies on an axis that can be graded", "gradable", lambda: scale("true"),
          note="It contradicts line 286: a complementary pair has no middle."),
    Claim(347, "bright can mean intelligent or full of light", True,
          lambda: has_sense("bright", "quickness and ease in learning", "having lots of light")),
    Claim(354, "begin and start share concepts, light and dark are opposites, paper is a material "
          "and an essay", [True, True, True],
          lambda: [bool(common_synsets("begin", "start")), are_antonyms("light", "dark"),
                   has_sense("paper", "a material", "an essay")]),
    Claim(1046, "proximity tells which of car and vehicle is the parent", True,
          lambda: likeness("car.n.01", "vehicle.n.01") != likeness("vehicle.n.01", "car.n.01"),
          note="Misleading: a similarity is symmetric; the hierarchy is antisymmetric."),
    Claim(1177, "dog to animal has a direction: the second is above the first, not below",
          [True, False], lambda: [is_kind_of("dog.n.01", "animal.n.01"),
                                  is_kind_of("animal.n.01", "dog.n.01")]),
    Claim(1214, "book is a noun and a verb", ["n", "v"],
          lambda: sorted({s.pos for s in wordnet().synsets("book")})),
]
