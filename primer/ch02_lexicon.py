r"""Chapter 2. WordNet: meaning as a graph that people wrote by hand.

    len(a, b)   = min over c of  up(a, c) + up(b, c),   up = fewest hypernym steps up       (2.1)
    path(a, b)  = 1 / (1 + len(a, b));  lch(a, b) = -ln( (1 + len(a, b)) / (2 D) )          (2.2)
    wup(a, b)   = 2 D(c) / ( len(a, c) + len(b, c) + 2 D(c) )                               (2.3)
    res(a, b)   = max over c of  IC(c),   IC(c) = -ln( f(c) / N )                           (2.4)
    lesk(w)     = the sense s of w whose gloss shares most words with the sentence          (2.5)
    gradable:   never A(x) and B(x), for some x neither;   complementary: B(x) = not A(x);
    relational: B(x, y) = A(y, x);                         directional:   B(A(x)) = x       (2.6)

Symbols     a, b synsets; c a common hypernym (each node counts among its own), in (2.3) the lowest;
            D(c) nodes on the longest chain from the root to c, D steps on the longest of all;
            f(c) count of all at or below c, N of all; s a sense of a word w; A, B two opposites,
            x, y what they are said of; n nodes, m sources.
Sources     the text, lines 238-371; WordNet: Miller 1995 (doi:10.1145/219717.219748); (2.3) Wu and
            Palmer 1994, (2.2) Leacock and Chodorow 1998, (2.4) Resnik 1995 (arXiv:cmp-lg/9511007),
            (2.5) Kilgarriff and Rosenzweig 2000, (2.6) Lyons 1977, Semantics, ch. 9.
We differ   The measures are NLTK's: instances count as hyponyms; where there are many roots (all
            but nouns) one more stands above them, a step over the *farthest* ancestor; (2.3) takes
            the common hypernym of greatest *shortest* depth, then its *longest* chain, so that
            wup(dog, dog) = 0.93 and wup(a, b) may differ from wup(b, a): choose=max mends both for
            nouns.  But no path is inf here, None there; f counts a synset once, NLTK once for each
            of several equally long ways up.  No base forms: "bank", not "banks".
            The text (344) lets true-false be graded, which it rightly calls complementary at 285;
            WordNet lacks two of its 12 pairs, happy-sad and teacher-student.  The two banks, one
            word with related meanings (305-309), have only the root above both; but so have the
            bank and its building: a graph of kinds cannot tell related meanings from others.
Relations   The measures of (2.2) order pairs alike.  With choose=max, (2.3) is 1 only if a = b.
Kernels     kernels/ch02_lexicon_numba.py, ch02_lexicon.cu: path_lengths, one search a source.
"""
import difflib
import math
import re
from collections import defaultdict

import numpy as np

from primer import data, formats

ROOT = "*ROOT*"                                  # simulated, above the many roots of the verbs
WORD = re.compile(r"[^\W\d_]+")
ENDING = re.compile(r"(?<=\w\w\w)(ing|ed|(?<!s)s)$")
STOP_WORDS = frozenset("""a an and are as at be been but by can do for from had has have he her him
    his i if in into is it its me my not of on one or our she so some such that the their them they
    this to up us was we were what when which who will with you your""".split())


# On any graph: `parents` is a dict, node: list of the nodes just above it.

def hypernym_distances(parents, node, simulate_root=False):
    """Steps up to each ancestor and to itself (2.1).  -> dict node: int.  LookupError: no node."""
    distances, queue = {node: 0}, [node]
    for below in queue:                          # breadth first: the list grows as we read it
        for above in _above(parents, below):
            if above not in distances:
                distances[above] = distances[below] + 1
                queue.append(above)
    if simulate_root and node != ROOT:
        distances[ROOT] = max(distances.values()) + 1
    return distances


def shortest_path_length(parents, a, b, simulate_root=False):
    """Steps from a to b over a common hypernym (2.1).  -> int, inf if they have none."""
    up_a = hypernym_distances(parents, a, simulate_root)
    up_b = hypernym_distances(parents, b, simulate_root)
    return min((up_a[c] + up_b[c] for c in up_a.keys() & up_b.keys()), default=math.inf)


def path_similarity(parents, a, b, simulate_root=False):
    """Inverse length, ends counted (2.2).  -> float in (0, 1], 0 if nothing joins them."""
    return 1 / (1 + shortest_path_length(parents, a, b, simulate_root))


def depth(parents, node, choose=max):
    """Steps from the root by the longest (choose=min: shortest) chain.  -> int, or ValueError."""
    try:
        return choose((1 + depth(parents, p, choose) for p in _above(parents, node)), default=0)
    except RecursionError:
        raise ValueError(f"parents: a cycle lies above {node!r}; expected a hierarchy") from None


def lowest_common_hypernyms(parents, a, b, simulate_root=False, choose=max):
    """The deepest nodes above both.  -> sorted list: several may be as deep, or none."""
    common = (hypernym_distances(parents, a, simulate_root).keys()
              & hypernym_distances(parents, b, simulate_root).keys())
    depths = {c: depth(parents, c, choose) for c in common}
    return sorted(c for c in common if depths[c] == max(depths.values()))


def wu_palmer(parents, a, b, simulate_root=False, choose=min):
    """Share of the way down that both have in common (2.3).  -> float in (0, 1], 0 if unjoined."""
    lowest = lowest_common_hypernyms(parents, a, b, simulate_root, choose)
    if not lowest:
        return 0.0
    c = a if a in lowest else lowest[0]
    shared = depth(parents, c) + 1               # D(c): nodes from the root to c, both counted
    apart = (shortest_path_length(parents, a, c, simulate_root)
             + shortest_path_length(parents, b, c, simulate_root))
    return 2 * shared / (apart + 2 * shared)


def leacock_chodorow(parents, a, b, taxonomy_depth, simulate_root=False):
    """Length on a log scale (2.2).  taxonomy_depth: D > 0, else ValueError  -> float, or -inf."""
    if not taxonomy_depth > 0:
        raise ValueError(f"taxonomy_depth: expected a positive number, got {taxonomy_depth}")
    length = shortest_path_length(parents, a, b, simulate_root)
    return math.log(2 * taxonomy_depth) - math.log(1 + length)


def information_content(parents, counts):
    """-ln of each node's share of all counts (2.4), else ValueError.  dict -> dict node: float."""
    below, total = defaultdict(float), sum(counts.values())
    if not 0 < total < math.inf or min(counts.values()) < 0:
        raise ValueError("counts: expected finite numbers >= 0, and one above 0")
    for node, count in counts.items():
        for above in hypernym_distances(parents, node):
            below[above] += count
    return {n: math.log(total / below[n]) if below[n] else math.inf for n in parents}


def resnik(parents, a, b, information):
    """Information in the most telling common hypernym (2.4).  -> float, 0 if there is none."""
    common = hypernym_distances(parents, a).keys() & hypernym_distances(parents, b).keys()
    return max((information[c] for c in common), default=0.0)


def hypernym_arrays(parents):
    """The graph as a CSR of parents.  dict -> names: n, indptr: (n + 1,), indices: (edges,)."""
    number = {name: i for i, name in enumerate(parents)}
    indptr = np.cumsum([0, *map(len, parents.values())], dtype=np.int64)                # (n + 1,)
    indices = np.array([number[p] for above in parents.values() for p in above], np.int64)
    return list(parents), indptr, indices


def path_lengths(indptr, indices, sources):
    """(2.1) from m nodes to all n.  sources: (m,), or ValueError  -> (m, n) int64, -1: no path."""
    n, sources = len(indptr) - 1, np.asarray(sources, np.int64)
    if sources.size and not (0 <= sources.min() and sources.max() < n):
        raise ValueError(f"sources: expected node numbers from 0 to {n - 1}")
    child = np.repeat(np.arange(n), np.diff(indptr))                                    # (edges,)
    D = np.full((n, len(sources)), n)            # (n, m)  n stands for: no path yet
    D[sources, np.arange(len(sources))] = 0
    for tail, head in ((child, indices), (indices, child)):      # up to each c, then down from it
        before = None
        while not np.array_equal(before, D):     # let each edge shorten the way to its head
            before = D.copy()
            np.minimum.at(D, head, before[tail] + 1)
    return np.where(D < n, D, -1).T                                                     # (m, n)


def _above(parents, node):
    if node not in parents and node != ROOT:
        raise _unknown("node", node, parents)
    return parents.get(node, ())


def _key(word):
    return word.strip().lower().replace(" ", "_")


def _unknown(what, name, known):
    near = difflib.get_close_matches(str(name), [k for k in known if str(k)[:1] == str(name)[:1]])
    return LookupError(f"{what}: {name!r} is not there; nearest: {', '.join(near) or 'none'}")


def content_words(text):
    """Words that carry meaning, crudely stripped of -s, -ed, -ing.  str -> set of str."""
    return {ENDING.sub("", w) for w in WORD.findall(text.lower()) if w not in STOP_WORDS}


def lesk_overlaps(sentence, word, glosses):
    """Words each gloss shares with the sentence, bar `word` (2.5).  -> list of int, ValueError."""
    if not WORD.search(sentence):
        raise ValueError(f"sentence: expected at least one word, got {sentence!r}")
    context = content_words(sentence) - content_words(word)
    return [len(context & content_words(gloss)) for gloss in glosses]


def kind_of_opposites(A, B):
    """The law (2.6) that holds in n > 0 situations.  A, B: (n,) bool, else ValueError  -> str."""
    A, B = np.asarray(A), np.asarray(B)
    if A.dtype != bool or B.dtype != bool or A.shape != B.shape or A.ndim != 1 or not A.size:
        raise ValueError("A, B: expected two bool arrays of one shape (n,), n > 0")
    if (A & B).any():
        return "no opposites"
    return "complementary" if (A | B).all() else "gradable"


def are_relational(A, B):
    """B says of (y, x) what A says of (x, y) (2.6).  (n, n) bool, else ValueError  -> bool."""
    A, B = np.asarray(A), np.asarray(B)
    if A.dtype != bool or B.dtype != bool or not A.shape == B.shape == (len(A), len(A)):
        raise ValueError("A, B: expected two bool arrays of one shape (n, n)")
    return np.array_equal(A.T, B)


def are_directional(there, back):
    """Each motion undoes the other (2.6).  (n,) int: places led to, else ValueError  -> bool."""
    there, back = np.asarray(there), np.asarray(back)
    stay = np.arange(len(there))
    if not all(m.dtype.kind == "i" and m.shape == stay.shape and np.isin(m, stay).all()
               for m in (there, back)):
        raise ValueError("there, back: expected two int arrays (n,) of places 0 to n - 1")
    return np.array_equal(back[there], stay) and np.array_equal(there[back], stay)


class WordNet:
    """`WordNet.excerpt()`, or `WordNet.full()` once fetched: a graph (dict) for each relation."""

    def __init__(self, synsets, senses):
        self.all = synsets                       # dict name: formats.Synset
        self.senses = senses                     # dict word: pos: names, None if not in the excerpt
        self.hypernyms, self.meronyms, self.entailments, self.similar = (
            {name: s.pointers.get(relation, []) for name, s in self.all.items()}
            for relation in ("hypernyms", "meronyms", "entailments", "similar"))
        self.hyponyms = {name: [] for name in self.all}
        for name, above in self.hypernyms.items():
            for p in above:
                self.hyponyms[p].append(name)

    @classmethod
    def excerpt(cls):
        """What is committed: the text's words, and all above them."""
        return cls(*formats.read_wordnet_excerpt(data.path("wordnet_excerpt")))

    @classmethod
    def full(cls):
        """All 117,791 synsets, after: python -m primer data get wordnet."""
        return cls(*formats.read_wordnet(data.path("wordnet")))

    def synset(self, name):
        """"car.n.01", or any other word for it: "auto.n.01".  -> Synset, else LookupError."""
        word, pos, number = [*name.rsplit(".", 2), "", ""][:3]
        senses = dict(enumerate(self.senses.get(word, {}).get(pos, []), 1))
        known = name if name in self.all else senses.get(int(number) if number.isdecimal() else 0)
        if known is None:
            raise _unknown("synset", name, self.all)
        return self.all[known]

    def synsets(self, word, pos=None):
        """Senses of a word, frequent first.  LookupError, ValueError (pos)  -> list of Synset."""
        word = _key(word)
        if not word or pos not in (None, "n", "v", "a", "r"):
            raise ValueError(f"expected a word and a pos (n, v, a, r), got {word!r} and {pos!r}")
        if word not in self.senses:
            raise _unknown("word", word, self.senses)
        return [self.all[n] for p in pos or "nvar" for n in self.senses[word].get(p, []) if n]

    def sense_inventory(self, word, pos=None):
        """-> list of (name, times seen so in the tagged corpus, gloss).  Raises as synsets does."""
        return [(s.name, s.counts[[x.lower() for x in s.lemmas].index(_key(word))], s.gloss)
                for s in self.synsets(word, pos)]

    def antonyms(self, word, pos=None):
        """Opposites tie words, not concepts.  -> list of (name, opposite word, its name)."""
        return [(s.name, other, target) for s in self.synsets(word, pos)
                for own, target, other in s.pointers.get("antonyms", ())
                if own.lower() == _key(word)]

    def compare(self, measure, a, b, *more):
        """A measure from above, with a simulated root but for nouns.  ValueError: pos  -> float."""
        a, b = self.synset(a), self.synset(b)
        if measure in (leacock_chodorow, resnik) and a.pos != b.pos:
            raise ValueError(f"a, b: expected one part of speech, got {a.name} and {b.name}")
        root = {"simulate_root": not a.pos == b.pos == "n"} if measure is not resnik else {}
        return measure(self.hypernyms, a.name, b.name, *more, **root)

    def taxonomy_depth(self, pos):
        """D of (2.2): steps on the longest chain, with the simulated root if any.  -> int."""
        depths = [depth(self.hypernyms, n) for n, s in self.all.items() if s.pos == pos]
        if not depths:
            raise ValueError(f"pos: expected n, v, a, s or r, got {pos!r}")
        return max(depths) + (pos != "n")

    def sense_counts(self, word_counts, pos="n", smoothing=1.0):
        """A word's count, shared out equally over its senses, for (2.4).  -> dict name: float."""
        counts = {name: smoothing for name, s in self.all.items() if s.pos == pos}
        for word, count in word_counts.items():
            known = word if word in self.senses else ENDING.sub("", word)
            names = self.senses.get(known, {}).get(pos, [])
            for name in filter(None, names):
                counts[name] += count / len(names)
        return counts

    def lesk(self, sentence, word, pos=None, near=()):
        """The sense whose gloss and examples fit best (2.5), of equals the first.  -> Synset.

        near: graphs such as wn.hyponyms, whose next synsets lend their texts too (extended Lesk).
        """
        senses, texts = self.synsets(word, pos), []
        if not senses:
            raise LookupError(f"word: {word!r} has no sense as {pos!r}")
        for s in senses:
            others = [self.all[n] for graph in near for n in graph[s.name]]
            texts.append(" ".join([s.gloss, *s.examples] + [
                t for o in others for t in (o.gloss, *o.examples, *o.lemmas)]))
        shared = lesk_overlaps(sentence, word, texts)
        return senses[shared.index(max(shared))]
