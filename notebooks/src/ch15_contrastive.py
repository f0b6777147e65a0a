# %% [markdown]
# # 15. Contrastive learning: a text's partner among all the others
#
# **You will** turn an encoder of words into an encoder of sentences without a single label, find
# out what the temperature does, mend the text's formula of SimCSE, mine hard negatives, and watch
# vectors leave their narrow cone and spread over a sphere.
#
# **You need** chapter 1's cosine, chapter 6's softmax and chapter 14's encoder.

# %%
import numpy as np

from kernels import twin
from primer.figures import ch15_contrastive as figures

glosses, pairs, likeness = figures.judged_glosses()
P, heads, encode = figures.small_bert_encoder()
texts, own = encode(figures.training_texts(1536)), encode(glosses)
print(f"{len(texts):,} sentences and glosses to learn from, {len(glosses)} glosses to judge by:")
for (a, b), y in zip(pairs[:3], likeness, strict=False):
    print(f"  {y:.2f}  {glosses[a][:46]!r} | {glosses[b][:46]!r}")

# %% [markdown]
# ## The picture
#
# Chapter 14's small BERT has learned to fill blanks. Now it reads these texts in batches of 64.
# Each text goes through it *twice*, each time with other numbers dropped out; each first view must
# find its second view among all 64. Nobody says what any text means. WordNet's graph is only the
# judge: two glosses count as near if their concepts are neighbours in it.

# %%
fast = twin("ch14_bert_layers", "numba")
steps, judged, vectors = figures.train_and_watch(P, heads, texts, own, pairs, likeness, ops=fast)
for name, row in zip(("before", "after "), judged[[0, -1]], strict=True):
    print(f"{name}  near glosses at {row[0]:.2f} of any two's distance, uniformity {row[1]:.1f}, "
          f"Spearman with WordNet {row[2]:.2f}")
figures.verdicts(vectors, pairs)

# %% [markdown]
# Before, all glosses point more or less the same way. After, they fill the sphere, and neighbours
# stand out more. The judge is strict, for neighbours share few words; what do counts of words
# reach, chapters 3 and 4?

# %%
from primer.ch15_contrastive import unit_vectors

counts = np.zeros((len(own), len(P["tokens"])))
for row, text in zip(counts, own, strict=True):
    np.add.at(row, text, 1)
idf = np.log(len(own) / np.maximum((counts > 0).sum(axis=0), 1))
for name, X in (("bag of words", counts), ("TF-IDF", counts * idf)):
    print(f"{name:12}  Spearman {figures.judge(unit_vectors(X)[0], pairs, likeness)[2]:.2f}")

# %% [markdown]
# The mean of a masked model's states begins where counting ends, and two dozen steps of SimCSE
# lift it above. SimCSE itself starts from a BERT of 110 million numbers and reads a million
# sentences, at half our temperature of 0.1.
#
# ## Equation, code, number
#
# **(15.1), (15.2)** A query $q_i$ has one positive $c_i$ among $m$ candidates: the other positives
# of the batch, and hard negatives behind them. InfoNCE is the softmax loss of finding it.
#
# $$s_{ij} = \langle q_i, c_j \rangle / \tau, \qquad
# L = \frac{1}{n} \sum_i \Big( \ln \sum_{j \in N_i} e^{s_{ij}} - s_{ii} \Big)$$

# %%
from primer.ch15_contrastive import info_nce

rng = np.random.default_rng(15)
Q = unit_vectors(rng.standard_normal((4, 8)))[0]
C = unit_vectors(Q + 0.2 * rng.standard_normal((4, 8)))[0]
print("partners near:", round(info_nce(Q, C, 0.1), 3), " all alike:",
      round(info_nce(Q, np.tile(C[:1], (4, 1)), 0.1), 3), "= ln 4 =", np.log(4).round(3))

# %% [markdown]
# The temperature $\tau$ says how much a difference of cosines counts. Orange is the positive:

# %%
figures.temperature((0.8, 0.6, 0.5, 0.1, -0.2))

# %% [markdown]
# **(15.3)** The gradient, once more what was promised minus what came. A negative pushes in
# proportion to its share: at $\tau = 0.05$ the nearest one does nearly all of it. That is why
# *hard* negatives teach most.

# %%
from primer.ch15_contrastive import info_nce_grad, scores

loss, dQ, dC = info_nce_grad(Q[:1], C, 0.05)
print("scores", scores(Q[:1], C, 0.05).round(1)[0])
print("push or pull on each candidate, along q:", (dC @ Q[0]).round(4) + 0.0)

# %% [markdown]
# A text that stands in a batch twice is its own worst negative. `groups` names equal texts, and
# leaves copies out, but never a query's own positive:

# %%
twice = np.concatenate([C, C[:1]])
print("with a copy of the positive among the negatives:", round(info_nce(Q[:1], twice, 0.05), 3),
      " left out:", round(info_nce(Q[:1], twice, 0.05, np.array([0, 1, 2, 3, 0])), 3))

# %% [markdown]
# **(15.4)** Cosines need unit length, and the gradient has to pass through that division: what lies
# along a vector cannot turn it, and is taken out.
#
# $$z = \frac{x}{|x|}, \qquad
# \frac{\partial L}{\partial x} = \frac{1}{|x|}
# \Big( \frac{\partial L}{\partial z} - \langle \tfrac{\partial L}{\partial z}, z \rangle z \Big)$$
#
# **(15.5)** The encoder gives a state for each token; *pooling* makes one vector of them: their
# mean, the state of the first token, or the largest number of each dimension. Padding must not
# count.

# %%
from primer.ch15_contrastive import cls_pool, max_pool, mean_pool

H = np.array([[[1.0, -2.0], [3.0, -4.0], [9.0, 9.0]]])       # two tokens and padding
mask = np.array([[True, True, False]])
for pool in (mean_pool, cls_pool, max_pool):
    print(f"{pool.__name__:9}", pool(H, mask)[0][0], " the padding counted:", pool(H)[0][0])

# %% [markdown]
# **(15.6)** SimCSE: queries and candidates are two dropout views of the same texts. The whole
# training is a loop of: two views, mean, unit length, InfoNCE, and back. Free vectors in the plane,
# two noisy views a step, show what it does: they flee each other until the circle is full.

# %%
figures.circles(figures.spread_on_a_circle())

# %% [markdown]
# ## Alignment and uniformity
#
# Wang and Isola: with many negatives, InfoNCE is two wishes. Partners should be near
# (15.10: $\frac1n \sum |x_i - y_i|^2$), and all together should fill the sphere
# (15.11: $\ln$ of the mean of $e^{-2 |x_i - x_j|^2}$). Alignment alone is easy, everything in one
# place; so is uniformity alone.

# %%
from primer.ch15_contrastive_heads import alignment, uniformity

for name, X in (("one place", np.tile(Q[:1], (4, 1))), ("four axes", np.eye(4, 8)),
                ("four random", Q)):
    print(f"{name:12} uniformity {uniformity(X):6.2f}")
print("alignment of Q and C:", round(alignment(Q, C), 3))

# %% [markdown]
# The encoder's way, with dropout and, for comparison, without it, where both views are one vector.
# As the sphere fills, near texts move apart too, so the figure has their distance as a share of
# that of any two. The way leads from the cone over the sphere, and near glosses do not lose each
# other. Without dropout there is nothing that a view has to be robust against: near glosses stay
# farther apart, and the ranking gains less. Over a million sentences, Gao et al. find, it is lost.

# %%
runs = {"dropout 0.1": (steps, judged)}
runs["no dropout"] = figures.train_and_watch(P, heads, texts, own, pairs, likeness, dropout=0.0,
                                             ops=fast)[:2]
figures.ways(runs)

# %% [markdown]
# ## With labels: SBERT, triplets, DPR
#
# Where pairs are labelled there are other losses (`primer/ch15_contrastive_heads.py`): SBERT's
# softmax of $[u; v; |u-v|]$ for classes such as *entails* (15.7), the squared error of the cosine
# for a scale (15.8), and triplets (15.9), which ask only for an order.

# %%
from primer.ch15_contrastive_heads import classify_pairs, regress_cosine, triplet

U, W = Q[:2], C[:2]
print("classes ", round(classify_pairs(U, W, np.zeros((24, 3)), np.array([0, 2]))[0], 3),
      "= ln 3, nothing learned yet")
print("a scale ", round(regress_cosine(U, W, np.array([1.0, 1.0]))[0], 3))
print("triplets", round(triplet(U, W, Q[2:], margin=1.0)[0], 3))

# %% [markdown]
# DPR, for questions and passages, is (15.2) of plain dot products with $\tau = 1$: the passages of
# the other questions are negatives, and a hard one for each question is added. `hard_negatives`
# finds them: the nearest that are not the positive, and, with a `gap`, not so near that they are
# probably right answers nobody marked.

# %%
from primer.ch15_contrastive import hard_negatives

X = vectors[1]
questions = pairs[::3, 0][:40]
hard = hard_negatives(X[questions], X, questions, 1, gap=0.2)[:, 0]
for q, h in list(zip(questions, hard, strict=True))[:3]:
    print(f"{glosses[q][:40]:40} | {glosses[h][:40]}")

# %% [markdown]
# Masked words and contrast can be trained together: `hybrid` adds both losses and both gradients,
# with a weight. `train_simcse` takes chapter 14's masking as its second objective.
#
# ## The twin
#
# The $n \times m$ scores are the trouble: at $n = m = 4096$, 64 MB, several times over. The twin
# takes a strip of queries at a time. A strip sees all candidates, so that its softmax is whole, its
# gradients are taken while it is in the cache, and it is forgotten.

# %%
from primer import ch15_contrastive as chapter

strips = twin("ch15_contrastive", "numba")
big, partners = (unit_vectors(rng.standard_normal((700, 64)).astype(np.float32))[0]
                 for _ in range(2))
for name, a, b in zip(("loss", "dQ", "dC"), strips.info_nce_grad(big, partners, 0.05),
                      chapter.info_nce_grad(big, partners, 0.05), strict=True):
    print(f"{name:4} differ by less than 1e-5: {np.abs(a - b).max() < 1e-5}")

# %% [markdown]
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(15):
    print(f"{row['line']:5} {row['verdict']:6} {row['claim'][:88]}")

# %% [markdown]
# **Line 2115: SimCSE's denominator.** The sum goes over $z_j$, the first views, themselves; the
# positive $z_i^+$ is not among them, but $z_i$ is. What is divided is no term of the sum, and the
# probabilities do not add up to 1. A batch of one has nothing to tell apart, yet costs something:

# %%
from primer.ch15_contrastive import simcse

z, partner = np.array([[1.0, 0.0]]), np.array([[0.8, 0.6]])
printed = np.log(np.exp(z @ z.T / 0.05).sum()) - (z * partner).sum() / 0.05
print("as printed:", printed.round(3), "  over the second views:", simcse(z, partner, 0.05))

# %% [markdown]
# **Line 1639: SBERT trained with contrastive objectives.** Two of its three losses look at one pair
# alone, the third at one triple. **Line 1839** has lost its formula; in the paper it masks equal
# queries. Taken literally that masks $j = i$, the positive itself, and the loss falls below 0.
# **Line 1853: the spread-out regulariser makes vectors uniform.** It sees second moments only:

# %%
from primer.ch15_contrastive_heads import second_moment

for name, X in (("16 on 8 axes", np.concatenate([np.eye(8), -np.eye(8)])),
                ("8 places taken twice", np.concatenate([np.eye(8), np.eye(8)]))):
    print(f"{name:22} second moment {second_moment(X):.4f}, the least there is: {1 / 15:.4f}; "
          f"uniformity {uniformity(X):.2f}")

# %% [markdown]
# ## Exercises
#
# **15.1** Write InfoNCE. `C` has the positives first, then hard negatives; no score is too large.

# %% tags=["exercise"]
def my_info_nce(Q, C, tau, groups=None):
    """(n, d), (m, d), tau, groups (m,) or None -> float."""
    ### BEGIN SOLUTION
    groups = np.arange(len(C)) if groups is None else groups
    S = Q @ C.T / tau
    total = 0.0
    for i, s in enumerate(S):
        there = (groups != groups[i]) | (np.arange(len(C)) == i)
        most = s[there].max()
        total += most + np.log(np.exp(s[there] - most).sum()) - s[i]
    return total / len(Q)
    ### END SOLUTION


def my_info_nce_grad(Q, C, tau, groups=None, g=1.0):
    """-> the loss, dQ (n, d), dC (m, d) of g times it."""
    ### BEGIN SOLUTION
    n, m = len(Q), len(C)
    groups = np.arange(m) if groups is None else groups
    S = Q @ C.T / tau
    own = np.eye(n, m, dtype=bool)
    S[(groups[:n, None] == groups) & ~own] = -np.inf
    E = np.exp(S - S.max(axis=1, keepdims=True))
    dS = g * (E / E.sum(axis=1, keepdims=True) - own) / n
    return my_info_nce(Q, C, tau, groups), dS @ C / tau, dS.T @ Q / tau
    ### END SOLUTION

# %%
from primer.exercises import ch15_contrastive as exercises
from primer.exercises.kit import run_property

for p in exercises.loss.properties:
    mine = {"info_nce": my_info_nce, "info_nce_grad": my_info_nce_grad}
    print(run_property(p, mine).status, "-", p.claim)

# %% [markdown]
# **15.2** Write the mean that leaves padding out, and its gradient. What you return as a cache is
# up to you.

# %% tags=["exercise"]
def my_mean_pool(H, mask=None):
    """(B, T, d), (B, T) or None -> (B, d), cache."""
    ### BEGIN SOLUTION
    mask = np.ones(H.shape[:2]) if mask is None else mask.astype(float)
    count = mask.sum(axis=1)[:, None]
    return (H * mask[:, :, None]).sum(axis=1) / count, (mask, count)
    ### END SOLUTION


def my_mean_pool_backward(dX, cache):
    """(B, d) -> (B, T, d)."""
    ### BEGIN SOLUTION
    mask, count = cache
    return mask[:, :, None] * (dX / count)[:, None]
    ### END SOLUTION

# %%
for p in exercises.mean.properties:
    mine = {"mean_pool": my_mean_pool, "mean_pool_backward": my_mean_pool_backward}
    print(run_property(p, mine).status, "-", p.claim)

# %% [markdown]
# **15.3** How many bytes do the scores of a batch of `n` queries with one hard negative each take
# in float32, and how many a strip of `r` queries?

# %% tags=["exercise"]
def bytes_of_scores(n, r):
    """-> bytes of all scores, bytes of a strip's."""
    ### BEGIN SOLUTION
    return 4 * n * 2 * n, 4 * r * 2 * n
    ### END SOLUTION

# %%
whole, strip = bytes_of_scores(n=4096, r=128)
print(f"{whole / 1e6:.0f} MB, {strip / 1e6:.1f} MB")
assert (whole, strip) == (134_217_728, 4_194_304)

# %% [markdown]
# More: `python -m primer start ch15`, then `python -m primer check`: 5 exercises, SimCSE and mining
# among them.
#
# ## In practice
#
# * Batches are large (512 for SimCSE, thousands and more for retrievers), because each batch is its
#   own set of negatives. Gradients can be cached so that the encoder sees small batches.
# * SimCSE starts from BERT, uses [CLS], a dropout of 0.1 and $\tau = 0.05$, and trains one pass
#   over a million sentences. Pretrained sentence encoders such as MiniLM use the mean.
# * A wrong negative hurts more than a missing one: remove equal texts, and keep a gap below the
#   positive when mining.
# * Vectors that were trained with cosines are compared with cosines.
#
# ## Sources
#
# The text, lines 1637 to 1671, 1832 to 1840, 2016 to 2030, 2108 to 2139. van den Oord et al. 2018,
# *Representation learning with contrastive predictive coding*; Reimers and Gurevych 2019,
# *Sentence-BERT*; Karpukhin et al. 2020, *Dense passage retrieval*; Wang and Isola 2020,
# *Understanding contrastive representation learning through alignment and uniformity on the
# hypersphere*; Gao, Yao and Chen 2021, *SimCSE*.
