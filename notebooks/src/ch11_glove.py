# %% [markdown]
# # 11. GloVe: vectors whose dot products are the logarithms of counts
#
# **You will** count who stands near whom, see why ratios of probabilities say more than
# probabilities, fit vectors to the logarithms of the counts with a step size of its own for each
# number, and find that the step needs no square root.
#
# **You need** chapter 10's co-occurrence counts and chapter 6's idea of a step of descent.

# %%
import numpy as np

from primer.figures import ch11_glove as figures

vocabulary, tokens, starts, X = figures.addresses()
print(f"{len(starts) - 1:,} passages of State of the Union addresses, {len(tokens):,} words, "
      f"{len(vocabulary):,} different ones; {X.data.size:,} counts above 0")

# %% [markdown]
# ## The picture
#
# Each word gets 50 numbers as a word and 50 as a context, and they are moved until the dot product
# of a word and a context says how often the two stand together. Sentences are not looked at any
# more: only counts.

# %%
from primer.ch11_glove import word_vectors
from primer.figures.ch10_factorization import word_map

model, history = figures.train_on_addresses(X, d=50, epochs=12)
W = word_vectors(model)
word_map(W.astype(float), vocabulary, title="Words by their contexts: GloVe")

# %%
from primer.ch06_word2vec import nearest_words

for word in ("treasury", "war", "railroad", "gold", "schools", "million"):
    print(f"{word:10}", ", ".join(w for w, _ in nearest_words(word, vocabulary, W, 6)))

# %% [markdown]
# ## Equation, code, number
#
# **The counts.** $X_{ij}$ says how often word $j$ stands near word $i$: a neighbour at distance
# $k$ counts $1/k$ (chapter 10).

# %%
from primer import data
from primer.ch03_bow import bag_of_words, encode, to_dense, tokenize
from primer.ch11_glove import count_block

texts = data.load_texts()["cat_mat"]["documents"]
words, _ = bag_of_words(texts)
ids = [encode(tokenize(t), words) for t in texts]
small = count_block(np.concatenate(ids), np.cumsum([0, *map(len, ids)]), len(words), 4)
print(texts, list(words))
print(to_dense(small).round(2))

# %% [markdown]
# **(11.5)** Why logarithms, and why differences? Take *war* and *peace*, and the probability of
# finding some third word near each of them:
#
# $$P(k \mid i) = \frac{X_{ik}}{X_i}, \qquad
# \ln \frac{P(k \mid \text{war})}{P(k \mid \text{peace})} \approx
# \langle w_{\text{war}} - w_{\text{peace}},\, c_k \rangle$$
#
# Words that go with neither or with both have a ratio of about 1. *During* and *against* go with
# war, *treaty* with peace. A ratio is a difference of logarithms, so if dot products are
# logarithms of counts, then **differences of vectors carry the meaning**.

# %%
figures.ratio_bars(X, model, vocabulary)

# %% [markdown]
# The vectors have the directions right and are less extreme: 50 numbers a word cannot meet 1.7
# million logarithms, and rare counts were told to speak softly. That is the next equation.
#
# **(11.1), (11.2)** The loss is a weighted sum of squares over the counts that are not 0:
#
# $$J = \sum_{X_{ij} > 0} f(X_{ij})\, e_{ij}^2, \qquad
# e_{ij} = \langle w_i, c_j \rangle + b_i + a_j - \ln X_{ij}, \qquad
# f(x) = \min\!\left(1, (x / x_{max})^{\alpha}\right)$$
#
# The biases $b_i$ and $a_j$ take up how frequent a word is. The text names $f$ and does not give it
# (line 1557). A count of 0.2 is an accident; but *of the* should not have the only say either.

# %%
figures.weights_and_shares(X)

# %%
from primer.ch11_glove import cooccurrence_weight, glove_loss

print("f(0, 1, 10, 100, 1000) =", cooccurrence_weight([0, 1, 10, 100, 1000]).round(4))
rng = np.random.default_rng(11)
V, d = len(words), 3
point = [rng.normal(0, 0.5, shape) for shape in ((V, d), (V, d), V, V)]
print("J at a random place:", glove_loss(*point, small).round(4))

# %% [markdown]
# **(11.3)** The gradient: at each count, the word moves along the context's vector and the context
# along the word's. A central difference agrees:

# %%
from primer.ch11_glove import glove_loss_grad

grads = glove_loss_grad(*point, small)
steps, eps = [rng.standard_normal(p.shape) for p in point], 1e-6
up, down = (glove_loss(*(p + sign * eps * s for p, s in zip(point, steps, strict=True)), small)
            for sign in (1, -1))
print("slope", ((up - down) / (2 * eps)).round(6), " gradient",
      sum((g * s).sum() for g, s in zip(grads, steps, strict=True)).round(6))

# %% [markdown]
# **(11.4)** AdaGrad. Frequent words are in many counts and rare words in few. So each number keeps
# its own step size: what has moved much moves less. In Stanford's program each has a sum of squares
# $S$, one to begin with, and a step is $u = \text{rate} \cdot g / \sqrt{S}$, then
# $S \leftarrow S + (\text{rate} \cdot g)^2$.
#
# Write $r = 1/\sqrt{S}$. Then $u = \text{rate} \cdot g \cdot r$, and the new $r$ is
#
# $$r \leftarrow \frac{1}{\sqrt{1/r^2 + (\text{rate} \cdot g)^2}} = \frac{r}{\sqrt{1 + u^2}} .$$
#
# The step itself says how much its own size shrinks. And as $u$ is small,
# $1/\sqrt{1 + u^2} = 1 - \frac{1}{2} u^2 + \frac{3}{8} u^4 - \frac{5}{16} u^6 + \dots$: no root and
# no division. The compiled twin takes the first terms, and that makes it more than three times as
# fast as the same loop with roots.

# %%
u = np.array([0.3, 0.1, 0.03])
exact = 1 / np.sqrt(1 + u**2)
series = 1 - u**2 * (1 / 2 - u**2 * (3 / 8 - u**2 * 5 / 16))
print("off by", [f"{x:.0e}" for x in np.abs(series / exact - 1)], "where u is", u)

# %%
from primer.ch11_glove import adagrad_step

word = np.array([[0.1, -0.2, 0.0], [1.0, 1.0, 1.0]])             # w and b; r
context = np.array([[0.3, 0.1, 0.0], [1.0, 1.0, 1.0]])
for _ in range(3):
    word, context, cost = adagrad_step(word, context, np.log(5.0), 0.3, rate=0.5)
    print("cost", round(cost, 3), " w, b", word[0].round(3), " r", word[1].round(3))

# %% [markdown]
# Epoch after epoch over all counts, in random order, the cost falls. More numbers a word fit
# better, which is not yet to say that they mean more.

# %%
histories = {"50 numbers a word": history}
for size in (20, 5):
    histories[f"{size} numbers a word"] = figures.train_on_addresses(X, d=size, epochs=12)[1]
figures.cost_curves(histories)

# %% [markdown]
# **(11.6)** In a symmetric matrix words and contexts are the same thing counted twice; the two
# vectors of a word differ by their random starts. Their sum is used.
#
# ## A corpus larger than memory
#
# Counts of blocks add up. And a corpus of ten times the size has not ten times as many different
# pairs, so an epoch gets cheaper, word for word, the more there is to read:

# %%
from primer.ch11_glove import sum_counts

cuts = np.linspace(0, len(starts) - 1, 6).astype(int)
blocks = (count_block(tokens[starts[a]:starts[b]], starts[a:b + 1] - starts[a], len(vocabulary), 2)
          for a, b in zip(cuts[:3], cuts[1:4], strict=True))
whole = count_block(tokens[:starts[cuts[3]]], starts[:cuts[3] + 1], len(vocabulary), 2)
total = sum_counts(blocks)
print("three blocks add up to the whole:", np.array_equal(total.indices, whole.indices)
      and np.allclose(total.data, whole.data))

# %%
figures.growth(tokens, starts, len(vocabulary))

# %% [markdown]
# ## The twin
#
# `kernels/ch11_glove_numba.py` takes the same steps, on several threads without locks (*Hogwild*):
# two threads that meet in one word may lose part of a step, which is seldom and does little harm.
# On one thread it takes the reference's very steps:

# %%
from kernels import twin
from primer import ch11_glove as chapter
from primer.ch11_glove import GloVe, initial_model, shuffled_entries

entries = [part[:2000] for part in shuffled_entries(X, np.random.default_rng(0), 10.0)]
start = initial_model(len(vocabulary), 20, np.random.default_rng(1), np.float64)
slow, quick = (GloVe(*(part.copy() for part in start)) for _ in range(2))
fast = twin("ch11_glove", "numba")
costs = chapter.adagrad_block(*slow, *entries), fast.adagrad_block(*quick, *entries)
print("costs differ by less than 1e-9:", abs(costs[0][0] - costs[1][0]) < 1e-9)
print("words differ by less than 1e-12:", np.abs(slow.words - quick.words).max() < 1e-12)

# %% [markdown]
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(11):
    print(f"{row['line']:5} {row['verdict']:6} {row['claim'][:80]}")

# %% [markdown]
# **Line 1314: *cat* and *mat* have a high count because they are close.** They are the two ends of
# what can be near in that sentence: four words apart, the smallest count in the row. And **vectors
# get close when words share contexts**, not when they stand together: *cat* and *dog*, which never
# meet, have the more similar rows.

# %%
from primer.ch01_geometry import cosine

rows = to_dense(small)
print({w: round(float(rows[words["cat"], i]), 2) for w, i in words.items()
       if rows[words["cat"], i]})
for a, b in (("cat", "dog"), ("dog", "log")):
    print(a, b, "together:", rows[words[a], words[b]] > 0, " cosine of their rows:",
          round(float(cosine(rows[words[a]], rows[words[b]])), 3))

# %% [markdown]
# **Line 1337: the full matrix is factorised.** 400,000 words would need 640 GB in float32. As
# $f(0) = 0$, only counts above 0 are kept and visited, here

# %%
print(f"{X.data.size / X.shape[0] ** 2:.0%} of the cells, though only the {X.shape[0]:,} most "
      "frequent words were counted")

# %% [markdown]
# **Line 1438: GloVe is count-based.** Its data are counts, but it is a regression: it predicts
# $\ln X_{ij}$ and learns by steps against its errors, as word2vec does.
#
# ## Exercises
#
# **11.1** Write the weight of a count.

# %% tags=["exercise"]
def my_weight(x, x_max=100.0, alpha=0.75):
    """(11.2).  Counts (n,) -> (n,)."""
    ### BEGIN SOLUTION
    return np.where(x < x_max, (x / x_max) ** alpha, 1.0)
    ### END SOLUTION

# %%
from primer.exercises import ch11_glove as exercises
from primer.exercises.kit import run_property

for p in exercises.weight.properties:
    print(run_property(p, {"cooccurrence_weight": my_weight}).status, "-", p.claim)

# %% [markdown]
# **11.2** One AdaGrad step for one count. `word` and `context` are (2, d + 1): the vector and its
# bias, and $r$ of each. Both gradients are taken at the old vectors; biases have a rate of 1.

# %% tags=["exercise"]
def my_step(word, context, log, weight, rate=0.05):
    """-> the new word, the new context, f e^2 / 2 before the step."""
    ### BEGIN SOLUTION
    (w, r), (c, s) = word, context
    e = w[:-1] @ c[:-1] + w[-1] + c[-1] - log
    u = weight * e * np.append(rate * c[:-1], 1) * r
    v = weight * e * np.append(rate * w[:-1], 1) * s
    return (np.array([w - u, r / np.sqrt(1 + u**2)]), np.array([c - v, s / np.sqrt(1 + v**2)]),
            weight * e**2 / 2)
    ### END SOLUTION

# %%
for p in exercises.step.properties:
    print(run_property(p, {"adagrad_step": my_step}).status, "-", p.claim)

# %% [markdown]
# **11.3** Ratios of probabilities: for two words $i$, $j$, all contexts $k$ that both have.

# %% tags=["exercise"]
def my_ratios(X, i, j):
    """-> k rising (m,), P(k | i) / P(k | j) (m,).  X: CSR."""
    ### BEGIN SOLUTION
    P = to_dense(X) / to_dense(X).sum(axis=1, keepdims=True).clip(1e-300)
    k = np.flatnonzero((P[i] > 0) & (P[j] > 0))
    return k, P[i, k] / P[j, k]
    ### END SOLUTION

# %%
for p in exercises.ratios.properties:
    print(run_property(p, {"probability_ratios": my_ratios}).status, "-", p.claim)

# %% [markdown]
# More: `python -m primer start ch11`, then `python -m primer check`: 5 exercises, the loss and its
# gradient among them.
#
# ## In practice
#
# * Few train GloVe themselves: vectors from billions of words are free. 400,000 words with 50
#   numbers each are in the register, and can be laid beside ours:

# %%
try:
    real = data.load_glove()
except data.DataError as missing:
    print(missing)
else:
    real_words = {word: i for i, word in enumerate(real.words)}
    for word in ("treasury", "war", "railroad", "gold"):
        print(f"{word:10}", ", ".join(w for w, _ in nearest_words(word, real_words,
                                                                  real.vectors, 6)))

# %% [markdown]
# * Stanford's values: window 15, $x_{max} = 100$, $\alpha = 3/4$, rate 0.05, 50 to 100 epochs;
#   their demo on 17 million words has $x_{max} = 10$.
# * The order of the counts must be random. Sorted, or in blocks that fit the cache, an epoch takes
#   less time and does less good.
# * A new corpus, or new words, means new counts: blocks can be added, but vectors are then fitted
#   anew. A word that was never counted has no vector (chapter 12 makes one from its letters), and a
#   word with two senses has one (chapter 14).
# * Stanford's `cooccur` doubles the first count if its sort buffer stays empty, as it does for a
#   small vocabulary: do not be surprised when comparing.
#
# ## Sources
#
# The text, lines 1296 to 1346, 1436 to 1446, 1556 and 1557. Pennington, Socher and Manning 2014,
# *GloVe: global vectors for word representation*; Stanford's `glove.c` and `cooccur.c` 1.2; Duchi,
# Hazan and Singer 2011, *Adaptive subgradient methods for online learning and stochastic
# optimization*.
