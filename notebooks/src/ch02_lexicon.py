# %% [markdown]
# # 2. WordNet: meaning that people wrote by hand
#
# **You will** walk a graph of some 5,600 concepts from *poodle* up to *entity*, measure in four
# ways how alike two concepts are, find out which *bank* the presidents meant, and put four kinds
# of opposites to the test.
#
# **You need** Python's dicts. Chapter 1's cosine is what all this competes with.

# %%
import numpy as np

from primer.ch02_lexicon import WordNet

wn = WordNet.excerpt()
print(len(wn.all), "of WordNet's 117,791 synsets;", len(wn.senses), "words")

# %% [markdown]
# ## The picture
#
# A *synset* is one concept, with all the words for it. A word stands for several: these are the
# noun senses of *bank* and what each is a kind of, by *hypernyms* (arrows to the more general).
# Blue and orange: the two senses that the text names (lines 306 and 307).

# %%
from primer.figures import ch02_lexicon as figures

figures.sense_tree(wn)

# %% [markdown]
# A name such as `car.n.01` is a word, its part of speech and the number of its sense. Any word of
# the synset will do.

# %%
car = wn.synset("automobile.n.01")
print(car.name, car.lemmas)
print(car.gloss, "|", car.examples)

# %% [markdown]
# The other way round: the senses of a word, most frequent first, with the number of times that a
# corpus, tagged by hand, has the word in this sense.

# %%
for name, count, gloss in wn.sense_inventory("bat", "n"):
    print(f"{name:20} {count:2}  {gloss[:70]}")

# %% [markdown]
# Each relation is a dict: `wn.hypernyms`, `wn.hyponyms` (the inverse), `wn.meronyms` (parts),
# `wn.entailments`. Opposites tie words, not concepts, so they are asked for by word.

# %%
print("parts of a car:  ", *wn.meronyms["car.n.01"][:5])
print("to snore entails:", *wn.entailments["snore.v.01"])
print("opposites of hot:", wn.antonyms("hot"))

# %% [markdown]
# Up from *poodle*, each is a kind of the one above (the example is missing at line 242 of the
# text; this is the usual one). *Dog* has a second hypernym: the hierarchy is no tree.

# %%
figures.hypernym_chain(wn, "poodle.n.01")

# %% [markdown]
# ## Equation, code, number
#
# **(2.1)** How far apart are two nodes? Go up to something that lies above both, then down:
# $\mathrm{len}(a, b) = \min_c\; \mathrm{up}(a, c) + \mathrm{up}(b, c)$.
# All measures here work on any dict of parents, so start with a small one.

# %%
from primer.ch02_lexicon import ROOT, hypernym_distances, path_similarity, shortest_path_length

small = {"entity": [], "animal": ["entity"], "pet": ["animal"], "cat": ["pet"],
         "dog": ["pet", "animal"], "poodle": ["dog"]}
print(hypernym_distances(small, "poodle"))
print("poodle to cat:", shortest_path_length(small, "poodle", "cat"), "steps")

# %% [markdown]
# **(2.2)** Turned into a similarity: $1 / (1 + \mathrm{len})$; or, on a log scale and relative to
# the depth $D$ of the whole hierarchy, Leacock and Chodorow's $-\ln \frac{1 + \mathrm{len}}{2 D}$.

# %%
from primer.ch02_lexicon import leacock_chodorow

D = wn.taxonomy_depth("n")
for other in ("dog.n.01", "iguana.n.01", "car.n.01"):
    path = wn.compare(path_similarity, "cat.n.01", other)
    log = wn.compare(leacock_chodorow, "cat.n.01", other, D)
    print(f"cat, {other:12} path {path:.3f}  lch {log:.3f}")

# %% [markdown]
# **(2.3)** Wu and Palmer ask how far down from the root the two stay together: with $D(c)$ nodes
# down to their lowest common hypernym $c$, it is
# $2 D(c) / (\mathrm{len}(a, c) + \mathrm{len}(b, c) + 2 D(c))$.

# %%
from primer.ch02_lexicon import lowest_common_hypernyms, wu_palmer

for a, b in (("cat.n.01", "dog.n.01"), ("cat.n.01", "car.n.01"), ("dog.n.01", "dog.n.01")):
    (c,) = lowest_common_hypernyms(wn.hypernyms, a, b)
    print(f"{a}, {b}: {c}, {wn.compare(wu_palmer, a, b):.3f}")

# %% [markdown]
# A dog is not quite like itself? This is NLTK's convention, which many papers used: it takes the
# common hypernym of greatest *shortest* depth, and there *canine* beats *dog*, which is also a
# domestic animal and so has a short way up. Taking the longest chain all the way mends it.

# %%
print(wu_palmer(wn.hypernyms, "dog.n.01", "dog.n.01", choose=max))

# %% [markdown]
# **(2.4)** Resnik counts: what is frequent tells little. Each word of a corpus is shared out over
# its senses and passed up; a node with a share $p$ of everything carries $-\ln p$. Two nodes have
# in common what the most telling node above both carries. The corpus: all addresses on the State
# of the Union.

# %%
from primer import data

texts, about = data.sotu_paragraphs()
information = figures.noun_information(wn, texts)
for name in ("entity.n.01", "person.n.01", "animal.n.01", "dog.n.01", "iguana.n.01"):
    print(f"{name:12} {information[wn.synset(name).name]:6.2f} nats")

# %% [markdown]
# All four side by side. Path and Leacock-Chodorow rank alike; Wu-Palmer and Resnik see that two
# animals part later than an animal and a car.

# %%
figures.similarity_maps(wn, information)

# %% [markdown]
# ## The twin
#
# Comparing one node with all others is the hot loop. As arrays (the parents of node $i$ are one
# slice), `path_lengths` does it for many nodes at once; its twin searches breadth first, one thread
# a source.

# %%
from kernels import twin
from primer.ch02_lexicon import hypernym_arrays, path_lengths

names, indptr, indices = hypernym_arrays(wn.hypernyms)
sources = [names.index(n) for n in ("cat.n.01", "bank.n.01", "king.n.01")]
lengths = twin("ch02_lexicon", "numba").path_lengths(indptr, indices, sources)
print(lengths.shape, np.array_equal(lengths, path_lengths(indptr, indices, sources)))

# %%
for source, row in zip(sources, lengths, strict=True):
    near = [i for i in np.argsort(np.where(row < 0, 99, row), kind="stable")[1:7]]
    print(names[source], "->", ", ".join(f"{names[i]} {row[i]}" for i in near))

# %% [markdown]
# ## Which sense?
#
# **(2.5)** Lesk: take the sense whose gloss and examples share most words with the sentence. Of
# equals, the first, most frequent one.

# %%
for sentence in ("I deposited money in the bank", "We walked along the river bank"):
    sense = wn.lesk(sentence, "bank", "n")
    print(f"{sentence:32} {sense.name:36} {sense.gloss[:40]}")

# %% [markdown]
# On all sentences of the text that have a known sense, by the gloss alone and with the glosses of
# the kin just above and below:

# %%
from primer.claims.ch02_lexicon import lesk_score

print("gloss alone: {} of {}".format(*lesk_score()))
print("with kin:    {} of {}".format(*lesk_score("hypernyms", "hyponyms")))

# %% [markdown]
# No wonder: *The engine runs smoothly* shares no word with *perform as expected when applied*. A
# count of common words knows nothing of likeness; that is what the rest of this book is about.

# %%
print(wn.lesk("The engine runs smoothly", "run", "v").gloss)
print(wn.synset("function.v.01").gloss)

# %% [markdown]
# Still, it sorts sentences at scale: which bank did the presidents speak of? Money, mostly. Take
# the rest with care: the first sense also gets each sentence that no gloss fits better, so only ten
# or so of its 79 are about rivers, and most of the crumbs below are mistakes.

# %%
from collections import Counter

found = figures.senses_in_addresses(wn, "bank")
for name, number in Counter(name for name, _, _ in found).most_common():
    print(f"{number:3}  {figures.short(name):35} {figures.cut(wn.synset(name).gloss, 55)}")

# %%
for _, year, sentence in [f for f in found if f[0] == "bank.n.01"][:4]:
    print(year, sentence[:100])

# %% [markdown]
# ## Opposites
#
# **(2.6)** The text's four kinds (lines 281 to 293) obey four laws. Hot and cold are never both
# true, but a mild day is neither; whatever is not true is false. The ticks say where WordNet ties
# the two words.

# %%
from primer.claims.ch02_lexicon import OPPOSITES, are_antonyms

figures.four_opposites(OPPOSITES, are_antonyms)

# %%
from primer.ch02_lexicon import are_directional, are_relational, kind_of_opposites

degrees = np.arange(-10, 40)
print("hot, cold:  ", kind_of_opposites(degrees >= 30, degrees <= 5))
print("true, false:", kind_of_opposites(np.array([True, False]), np.array([False, True])))

# %%
buys = np.array([[False, True], [False, False]])        # the first person buys from the second
print("buy, sell:", are_relational(buys, buys.T))
print("on, back: ", are_directional(np.array([1, 2, 0]), np.array([2, 0, 1])))

# %% [markdown]
# ## What the text gets wrong
#
# Where it speaks of words and WordNet can be asked, most holds. These do not, or need a caution:

# %%
from primer import claims

for row in claims.rows(2):
    if row["verdict"] == "wrong":
        print(f"line {row['line']}: {row['claim']}\n    the text: {row['text']}; "
              f"computed: {row['computed']}\n    {row['note']}")

# %% [markdown]
# The caution works both ways: the bank and *its own building* are no nearer in this graph.

# %%
river, money, house = "bank.n.01", "depository_financial_institution.n.01", "bank.n.09"
for other in (river, house):
    print(money, other, lowest_common_hypernyms(wn.hypernyms, money, other))

# %% [markdown]
# ## Exercises
#
# **2.1** Steps up to each ancestor. Nodes may have several parents; take the shortest way. A
# simulated `ROOT`, as verbs have one, lies one step beyond the farthest.

# %% tags=["exercise"]
def steps_up(parents, node, simulate_root=False):
    """dict node: list of parents, node -> dict ancestor: fewest steps, the node itself 0."""
    ### BEGIN SOLUTION
    steps, queue = {node: 0}, [node]
    for below in queue:
        for above in parents[below]:
            if above not in steps:
                steps[above] = steps[below] + 1
                queue.append(above)
    if simulate_root:
        steps[ROOT] = max(steps.values()) + 1
    return steps
    ### END SOLUTION

# %%
from primer.exercises.ch02_lexicon import distances
from primer.exercises.kit import run_property

for p in distances.properties:
    print(run_property(p, {"hypernym_distances": steps_up}).status, "-", p.claim)

# %% [markdown]
# **2.2** Are two concepts *co-hyponyms*, different kinds of the same thing, such as cat and dog?
# Neither may lie above the other.

# %% tags=["exercise"]
def are_siblings(parents, a, b):
    """Whether a and b are two nodes with a parent in common, neither above the other -> bool."""
    ### BEGIN SOLUTION
    common = set(parents[a]) & set(parents[b])
    above = b in hypernym_distances(parents, a) or a in hypernym_distances(parents, b)
    return bool(common) and not above
    ### END SOLUTION

# %%
siblings = [are_siblings(small, *p) for p in (("cat", "dog"), ("cat", "poodle"), ("pet", "dog"))]
print(siblings, are_siblings(small, "cat", "cat"))
assert siblings == [True, False, False] and not are_siblings(small, "cat", "cat")

# %% [markdown]
# **2.3** Which relation could *teacher* and *student* stand in, as the text says (line 289)? Write
# the converse of a relation given as pairs, so that `x` teaches `y` becomes `y` studies with `x`.

# %% tags=["exercise"]
def converse(pairs):
    """set of (x, y) -> set of (y, x)."""
    ### BEGIN SOLUTION
    return {(y, x) for x, y in pairs}
    ### END SOLUTION

# %%
teaches = {("Ann", "Bob"), ("Ann", "Cid"), ("Bob", "Dan")}
studies = converse(teaches)
print(sorted(studies))
assert studies == {("Bob", "Ann"), ("Cid", "Ann"), ("Dan", "Bob")} and converse(studies) == teaches

# %% [markdown]
# More: `python -m primer start ch02`, then `python -m primer check`: 6 exercises.
#
# ## In practice
#
# * `python -m primer data get wordnet` fetches the whole database; then `WordNet.full()` is used
#   just as `WordNet.excerpt()` is here.
# * NLTK (`nltk.corpus.wordnet`) has the same measures, base forms (*banks* to *bank*) and other
#   languages. Ours equal NLTK's on the same database: the tests compare 200 pairs.
# * Look at several senses: the similarity of two *words* is usually taken as the greatest over
#   their senses.
# * Princeton no longer develops WordNet; Open English WordNet does.
#
# ## Sources
#
# The text, lines 238 to 371. Miller 1995, *WordNet: a lexical database for English*; Wu and Palmer
# 1994; Leacock and Chodorow 1998; Resnik 1995; Lesk 1986; Kilgarriff and Rosenzweig 2000; Lyons
# 1977, *Semantics*, chapter 9.
