# %% [markdown]
# # 9. Analogy: relations as directions, kinds as clusters
#
# **You will** answer "man is to woman as king is to ...?" with arrows, measure how parallel such
# arrows are in vectors of real speeches, draw a t-SNE map whose every step you understand, see that
# opposites are neighbours, and part them by putting sentiment into the loss.
#
# **You need** chapter 1 (cosine, k-means, PCA), chapter 6 (windows), and the vectors of chapter 10.

# %%
import numpy as np

from kernels import twin
from primer import ch09_analogy as ch09
from primer import claims
from primer.ch01_geometry import kmeans, unit_rows
from primer.figures import ch09_analogy as figures

small, planted = figures.planted()
vocabulary, W = figures.space(twin=twin("ch10_factorization", "numba"))
print(f"{len(small)} words planted; {len(vocabulary):,} words of 231 years of State of the Union "
      f"addresses, {W.shape[1]} dimensions (PPMI and SVD)")

# %% [markdown]
# ## The picture
#
# If a relation is one offset, each pair that stands in it is an arrow, and the arrows are parallel.
# On the left the offsets were planted, with some noise; on the right nobody planted anything.

# %%
figures.parallelograms([
    ("Planted", figures.TEXT_WORDS, small, planted),
    ("Addresses since 1790", {name: figures.known(figures.RELATIONS[name], vocabulary)[:5]
                              for name in ("plural", "gerund")}, vocabulary, W)])

# %% [markdown]
# PCA is a linear map: parallel arrows stay parallel in it. So what is crooked on the right is
# crooked in the space, or points out of the page.
#
# ## Equation, code, number
#
# **(9.1) 3CosAdd.** "$a$ is to $b$ as $c$ is to $x$": walk the arrow from $a$ to $b$, starting at
# $c$, and take the word nearest to where you arrive. For unit vectors that is
#
# $$x^* = \arg\max_{x \notin \{a, b, c\}} \cos(x, b) - \cos(x, a) + \cos(x, c)$$

# %%
names = list(small)
for question in ("man woman king", "man woman uncle", "France Paris Italy", "walk walking run"):
    (x,) = ch09.analogy_3cosadd(planted, [[small[w] for w in question.split()]])
    print(f"{question} -> {names[x]}")

# %% [markdown]
# Three words are ruled out: $a$, $b$ and $c$. The text does not say so, and everyone does it. See
# what happens otherwise, in the addresses, for the gerund:

# %%
pairs = figures.known(figures.RELATIONS["gerund"], vocabulary)
ids = np.array([[vocabulary[w] for w in q] for q in figures.questions_of(pairs)])
X = unit_rows(W)
a, b, c, d = ids.T
free = np.argmax((X[b] - X[a] + X[c]) @ X.T, axis=1)
print(f"{len(ids)} questions. With all words allowed the answer is c: {np.mean(free == c):.0%}, "
      f"b: {np.mean(free == b):.0%}, d: {np.mean(free == d):.0%}")
print(f"without a, b and c it is d: {np.mean(ch09.analogy_3cosadd(W, ids[:, :3]) == d):.0%}")

# %% [markdown]
# So part of what looks like arithmetic is that words of one root are neighbours anyway.
#
# **(9.2) 3CosMul.** In a sum one large cosine can drown the other two. Levy and Goldberg (2014)
# multiply, with cosines moved to $0 \ldots 1$:
#
# $$x^* = \arg\max \frac{[x, b]\,[x, c]}{[x, a] + \epsilon}, \qquad [x, y] = (\cos(x, y) + 1) / 2$$
#
# **(9.3) Offset consistency.** The mean cosine of the offsets of two pairs: 1 if all arrows are
# parallel. Beside it, the same with the second words shuffled: arrows from a singular to somebody
# else's plural are not quite unrelated either.

# %%
for line in figures.relation_lines(vocabulary, W):
    print(line)

# %% [markdown]
# Real offsets are a good deal more parallel than chance, and far from parallel. 1.7 million words
# are few: word2vec's own vectors, of 100 billion, answer about three quarters of its questions.
#
# ### Evaluation as the field does it
#
# A question with an unknown word does not count, and how many there were must be said. gensim asks
# only about the most frequent 300,000 words (`restrict_vocab`): for that, pass the first rows of
# $W$. Similarity is judged by Spearman's correlation: of *ranks*, ties sharing the mean of theirs.

# %%
asked = [("make", "making", "give", "giving"), ("nation", "nations", "king", "kings"),
         ("Law", "laws", "right", "rights"), ("walk", "walking", "google", "googling")]
accuracy, unknown = ch09.analogy_accuracy(W, vocabulary, asked)
print(f"accuracy {accuracy:.2f} of {len(asked) - unknown} questions, {unknown} left out")
print("ranks of 3, 1, 3, 9:", ch09.average_ranks([3, 1, 3, 9]))
people = {("war", "wars"): 9, ("war", "peace"): 5, ("gold", "silver"): 8, ("gold", "school"): 1}
rho, unknown = ch09.similarity_correlation(W, vocabulary, people, list(people.values()))
print(f"Spearman {rho:.2f}, {unknown} pairs left out")

# %% [markdown]
# ## A map of neighbours: t-SNE
#
# PCA keeps large distances. t-SNE keeps *neighbours*. **(9.4)** Say how likely point $i$ is to pick
# $j$ as its neighbour, by a Gaussian whose width is such that it has about `perplexity` neighbours
# (the entropy is $\ln$ perplexity; the width is found by bisection); then make it symmetric:
# $P_{ij} = (p_{j|i} + p_{i|j}) / 2n$.

# %%
few = X[[vocabulary[w] for w in ("war", "wars", "peace", "gold", "silver", "school", "schools")]]
P = ch09.joint_probabilities(few, 2.5)
print((100 * P).round(1))
print("sum", P.sum().round(6), " symmetric", np.array_equal(P, P.T))

# %% [markdown]
# **(9.5)** In the map, likenesses $Q$ come from $w_{ij} = 1 / (1 + |y_i - y_j|^2)$, with heavy
# tails, so that those who are no neighbours may go far away. KL$(P \| Q)$ falls along
#
# $$\frac{\partial \mathrm{KL}}{\partial y_i} = 4 \sum_j (P_{ij} - Q_{ij})\,w_{ij}\,(y_i - y_j)$$
#
# which pulls where $P$ is too large and pushes where $Q$ is. Check it by differences:

# %%
rng = np.random.default_rng(0)
Y, V = rng.standard_normal((2, len(few), 2))
by_difference = (ch09.tsne_loss(P, Y + 1e-6 * V) - ch09.tsne_loss(P, Y - 1e-6 * V)) / 2e-6
print(f"slope by difference {by_difference:.6f}, by (9.5) "
      f"{(ch09.tsne_loss_grad(P, Y) * V).sum():.6f}")

# %% [markdown]
# The descent has momentum, a rate of its own for each number, and at first a $P$ that is 12 times
# too large, so that neighbours find together before the map is crowded. Here are 350 frequent words
# (without the 30 most frequent). The colours come from k-means in all 100 dimensions, which knows
# nothing of the map:

# %%
fast = twin("ch09_analogy", "numba")
figure, kl, clusters = figures.cluster_map(vocabulary, W, twin=fast)
figure

# %% [markdown]
# Read such maps with care: who is near whom is meant; how far apart clusters are, and how large
# they look, is not.
#
# **Clusters.** Do they agree with kinds that we name? *Purity* is the share of words that are of
# their cluster's commonest kind:

# %%
kinds = {"months": "january march april june july september october november december",
         "countries": "france spain russia china japan mexico cuba germany",
         "numbers": "two three four five six seven eight nine ten",
         "money": "tax taxes tariff revenue revenues debt deficit budget expenditures"}
words = [(w, k) for k, kind in enumerate(kinds.values()) for w in kind.split() if w in vocabulary]
Z, classes = X[[vocabulary[w] for w, _ in words]], np.array([k for _, k in words])
found = min((kmeans(Z, 4, np.random.default_rng(seed)) for seed in range(10)), key=lambda f: f[2])
print(f"{len(words)} words, purity {ch09.cluster_purity(found[1], classes):.2f}; "
      f"all in one cluster {ch09.cluster_purity(0 * classes, classes):.2f}")

# %% [markdown]
# ## Opposites are neighbours
#
# Words are near that stand in the same places. Opposites do: what can increase can decrease. Lines
# 1045 and 1178 of the text expect them in opposite directions; lines 297 and 1243 know better.

# %%
figures.antonym_cosines(vocabulary, W)

# %% [markdown]
# **(9.6) SSWE** (Tang et al. 2014) parts them by a second task. A small net reads a window $t$ and
# gives two scores: $f_0$, is this a real window (or one with a random word in its middle, $t'$),
# and $f_1$, does it come from a good or a bad sentence, $s = \pm 1$:
#
# $$L = \alpha \max(0, 1 - f_0(t) + f_0(t')) + (1 - \alpha) \max(0, 1 - s f_1(t) + s f_1(t'))$$
#
# Where do $s$ come from? Tang took tweets with smileys. Here half of the words that people rated
# (VADER's lexicon) vote on the sentences of the addresses since 1961; the other half never votes,
# and we look where *they* end up.

# %%
words, windows, polarity, signs = figures.opinion_windows(1961)
good, bad = np.sum(signs > 0), np.sum(signs < 0)
print(f"{len(windows):,} windows, {np.mean(polarity > 0):.0%} from good sentences; {good} good and "
      f"{bad} bad words that never voted: by chance, "
      f"{(good * (good - 1) + bad * (bad - 1)) / ((good + bad) * (good + bad - 1)):.0%} agree")
networks = figures.train_opinions(len(words), windows, polarity)
figures.opinion_maps(networks, signs, ["Language alone", "With sentiment"])

# %% [markdown]
# The titles say how many of a word's ten nearest (among words that never voted) have its sign. The
# axis is chosen with the signs of these very words, on both sides alike; the counts are not.
#
# ## The twin
#
# `kernels/ch09_analogy_numba.py` meets each pair of points once and needs nothing of the size of
# $P$ but $P$: pull, push and the sum of all $w$ come from one pass. Analogies share one table of
# cosines among all questions. `kernels/ch09_analogy.cu` does the step of t-SNE on a GPU, 256 points
# in shared memory at a time.

# %%
P = fast.joint_probabilities(X[:200], 20)
Y = rng.standard_normal((200, 2))
print("P:", np.allclose(P, ch09.joint_probabilities(X[:200], 20), rtol=1e-6, atol=0),
      " gradient:", np.allclose(fast.tsne_loss_grad(P, Y), ch09.tsne_loss_grad(P, Y)),
      " analogies:", np.array_equal(fast.analogy_3cosmul(W, ids[:, :3]),
                                    ch09.analogy_3cosmul(W, ids[:, :3])))

# %% [markdown]
# ## What the text gets wrong

# %%
for row in claims.rows(9):
    if row["verdict"] == "wrong":
        print(f"line {row['line']}: {row['claim']}\n    the text: {row['text']}; "
              f"right: {row['computed']}\n    {row['note']}")

# %% [markdown]
# Lines 1046 and 1177 would have proximity, or one axis, say who is the parent of whom: proximity is
# the same in both directions (chapter 2 counts it as wrong).
#
# ## Exercises
#
# **9.1** Solve analogies (9.1). Unit vectors first; and who may not answer?

# %%
from primer.exercises import ch09_analogy as exercises
from primer.exercises.kit import run_property


def try_out(exercise, **functions):
    for p in exercise.properties:
        print(f"{run_property(p, functions).status:8}", p.claim)


# %% tags=["exercise"]
def my_analogy(W, questions):
    """(V, D), (m, 3) ids a, b, c -> (m,) ids."""
    ### BEGIN SOLUTION
    X = W / np.linalg.norm(W, axis=1, keepdims=True)
    answers = []
    for a, b, c in questions:
        scores = X @ (X[b] - X[a] + X[c])
        scores[[a, b, c]] = -np.inf
        answers.append(scores.argmax())
    return np.array(answers)
    ### END SOLUTION

# %%
try_out(exercises.add, analogy_3cosadd=my_analogy)

# %% [markdown]
# **9.2** Ranks, with ties, and Spearman's correlation.

# %% tags=["exercise"]
def my_ranks(x):
    """(n,) -> (n,) from 1; equal numbers share the mean of theirs."""
    ### BEGIN SOLUTION
    x = np.asarray(x)
    return (x < x[:, None]).sum(axis=1) + ((x == x[:, None]).sum(axis=1) + 1) / 2
    ### END SOLUTION


def my_spearman(x, y):
    """(n,), (n,) -> float."""
    ### BEGIN SOLUTION
    return np.corrcoef(my_ranks(x), my_ranks(y))[0, 1]
    ### END SOLUTION

# %%
try_out(exercises.ranks, average_ranks=my_ranks, spearman=my_spearman)

# %% [markdown]
# **9.3** The gradient of t-SNE (9.5).

# %% tags=["exercise"]
def my_gradient(P, Y, g=1.0):
    """(n, n), (n, 2) -> (n, 2)."""
    ### BEGIN SOLUTION
    gaps = Y[:, None] - Y
    w = 1 / (1 + (gaps ** 2).sum(axis=2)) * (1 - np.eye(len(Y)))
    return 4 * g * (((P - w / w.sum()) * w)[:, :, None] * gaps).sum(axis=1)
    ### END SOLUTION

# %%
try_out(exercises.forces, tsne_loss=ch09.tsne_loss, tsne_loss_grad=my_gradient)

# %% [markdown]
# **9.4** A benchmark asks each pair of a relation about each other pair. How many questions do `m`
# pairs give, and how many words must have vectors?

# %% tags=["exercise"]
def size_of_a_section(m):
    """-> questions, words, if all words differ."""
    ### BEGIN SOLUTION
    return m * (m - 1), 2 * m
    ### END SOLUTION

# %%
print("23 pairs:", size_of_a_section(23))
assert size_of_a_section(23) == (506, 46)

# %% [markdown]
# More: `python -m primer start ch09`, then `python -m primer check`: 7 exercises, 3CosMul and
# perplexity among them.
#
# ## In practice
#
# * Say with which vocabulary you asked, and how many questions were left out. A smaller vocabulary
#   makes every benchmark easier.
# * An accuracy says little about offsets unless you know what the nearest neighbour of $c$ would
#   have scored (Linzen 2016; Fournier, Dupoux and Dunbar 2020).
# * scikit-learn's `TSNE` starts from PCA, learns at $n / 48$, at least 50, and by default
#   approximates the push (Barnes-Hut) from $O(n^2)$ to $O(n \log n)$; what is here is its
#   `method="exact"`. Use a PCA start, several perplexities, and do not read distances between
#   clusters.
# * For sentiment today, fine-tune a model that reads the sentence (chapter 14). The idea stays:
#   what the loss does not ask for, the vectors will not tell.
#
# ## Sources
#
# The text, lines 1013 to 1053, 1128 to 1185, 1242 to 1245. Mikolov, Yih and Zweig 2013, *Linguistic
# regularities in continuous space word representations*; Levy and Goldberg 2014, *Linguistic
# regularities in sparse and explicit word representations*; Linzen 2016, *Issues in evaluating
# semantic spaces using word analogies*; Fournier, Dupoux and Dunbar 2020, *Analogies minus analogy
# test*; van der Maaten and Hinton 2008, *Visualizing data using t-SNE*; Tang et al. 2014, *Learning
# sentiment-specific word embedding for Twitter sentiment classification*; Hutto and Gilbert 2014,
# *VADER*.
