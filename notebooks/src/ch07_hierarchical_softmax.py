# %% [markdown]
# # 7. Hierarchical softmax: twenty questions in place of a hundred thousand scores
#
# **You will** build Huffman's tree from word counts, read a word's probability off the turns on its
# way, see why these probabilities add up to 1 without anybody summing, train with it, and find
# where the promise of $O(\log V)$ holds and where it breaks.
#
# **You need** chapter 6: skip-gram, CBOW and the price of the full softmax.

# %%
import numpy as np

from primer.figures import ch07_hierarchical_softmax as figures

print(figures.EXAMPLE)

# %% [markdown]
# ## The picture
#
# Chapter 6 asked: which of $V$ words is it? and computed $V$ scores to answer. Here the words are
# the leaves of a tree, and the question becomes a few small ones: left or right? Each inner node
# has a vector of its own and answers by itself.

# %%
figures.huffman_figure(figures.EXAMPLE, "war")

# %% [markdown]
# ## Equation, code, number
#
# **(7.1)** Frequent words should be near the root, since the way to them is taken most often.
# Huffman: merge the two rarest nodes into one that counts as much as both; go on until one is left.

# %%
from primer.ch07_hierarchical_softmax import entropy_bits, huffman_tree, mean_path_length

words, counts = list(figures.EXAMPLE), np.array(list(figures.EXAMPLE.values()))
tree = huffman_tree(counts)
for w, word in enumerate(words):
    own = slice(tree.indptr[w], tree.indptr[w + 1])
    print(f"{word:6} {counts[w]:3}  nodes {str(tree.nodes[own]):10}  turns {tree.codes[own]}")

# %% [markdown]
# The tree is three arrays: `nodes` and `codes` of all paths, end to end, and `indptr`, where each
# path begins, as in chapter 3's sparse matrices. The root has the largest number, $V - 2$.
#
# No tree has a shorter mean path. No code has either: the mean is at least the entropy $H$ of the
# counts, and less than $H + 1$. And no place is left empty: the $2^{-l}$ add up to 1 (Kraft).

# %%
lengths = np.diff(tree.indptr)
print("mean path", mean_path_length(counts, tree), " entropy", round(entropy_bits(counts), 4),
      " sum of 2^-l", (2.0 ** -lengths).sum())

# %% [markdown]
# **Ties.** Of equally rare nodes, which first? Any choice is as good on average, but the trees
# differ. Ours are those of word2vec.c: inner nodes before words, and of words the one that comes
# later in order of count. The first of the two goes left.

# %%
for tied in ([1, 1, 1], [2, 1, 1]):
    t = huffman_tree(tied)
    print(tied, [t.codes[a:b].tolist() for a, b in zip(t.indptr, t.indptr[1:], strict=False)])

# %% [markdown]
# **(7.2)** At node $i$ with vector $u_i$, the score is $s_i = \langle u_i, h \rangle$, and going
# left has probability $\sigma(s_i) = 1 / (1 + e^{-s_i})$. Going right has the rest, $1 -
# \sigma(s_i) = \sigma(-s_i)$. With $d_i = 0$ for left and 1 for right:
#
# $$p(w \mid h) = \prod_{i=1}^{l_w} \sigma\big((1 - 2 d_i) \, s_i\big)$$
#
# At each node both ways together have probability 1, so all leaves together have it too, whatever
# the vectors. No normaliser is needed:

# %%
from primer.ch07_hierarchical_softmax import log_probabilities

rng = np.random.default_rng(7)
h, N = rng.standard_normal((1, 4)), rng.standard_normal((5, 4))
p = np.exp(log_probabilities(h, N, tree))[0]
print(dict(zip(words, p.round(3).tolist(), strict=True)), " sum", p.sum().round(12))

# %% [markdown]
# **(7.3)** The loss is $-\ln p$: a term for each turn.
#
# $$L = \sum_{i=1}^{l_w} \ln\big(1 + e^{-(1 - 2 d_i) s_i}\big)$$
#
# Training begins with all $u_i = 0$: each turn is a coin's toss and costs $\ln 2$, so that a
# prediction costs the mean path length, in bits.

# %%
from primer.ch07_hierarchical_softmax import predict, predict_backward

every = np.arange(len(words))
H = np.repeat(h, len(words), axis=0)
print("by the vectors:", predict(H, N, every, tree)[0].round(4))
print("at the start, in bits:", predict(H, 0 * N, every, tree)[0] / np.log(2))

# %% [markdown]
# **(7.4), (7.5)** Which way is down? The same simple difference as in chapter 6, once for each
# turn:
#
# $$\frac{\partial L}{\partial s_i} = \sigma(s_i) - (1 - d_i), \qquad
# \frac{\partial L}{\partial u_i} = \frac{\partial L}{\partial s_i} h, \qquad
# \frac{\partial L}{\partial h} = \sum_i \frac{\partial L}{\partial s_i} u_i$$
#
# A central difference agrees, and only the nodes on the way move:

# %%
losses, cache = predict(h, N, np.array([4]), tree)                # the word "war"
dh, dN = predict_backward(1.0, cache)
direction, eps = rng.standard_normal(N.shape), 1e-6
up, down = (predict(h, N + s * eps * direction, np.array([4]), tree)[0][0] for s in (1, -1))
print("slope", ((up - down) / (2 * eps)).round(6), " ours", (dN * direction).sum().round(6))
print("rows of N that move:", np.flatnonzero(np.abs(dN).sum(axis=1)))

# %% [markdown]
# **(7.6)** Training goes from place to place. All neighbours of a word predict it along *one* path
# (as in word2vec.c; over a text all pairs occur both ways round), so the path's vectors are fetched
# once, and all gradients of a place are taken from them before any of them moves. A *block* is a
# run of whole documents; it changes the tables in place. Here are the addresses since 2010, all
# their words first, then without the rare ones and the 60 most frequent.

# %%
from primer.ch06_word2vec import count_vocabulary

_, every_count = count_vocabulary(figures.passages())
figures.lengths_by_frequency(every_count, huffman_tree(every_count))

# %%
vocabulary, numbers, tokens, starts = figures.addresses()
big = huffman_tree(numbers)
print(f"{len(tokens):,} words, {len(vocabulary)} different: {mean_path_length(numbers, big):.2f} "
      f"turns a prediction")

# %%
from primer.ch06_word2vec import nearest_words

W, U, history = figures.train_on_addresses(vocabulary, big, tokens, starts, dtype=np.float64)
for word in ("war", "tax", "schools", "million"):
    print(f"{word:8}", ", ".join(w for w, _ in nearest_words(word, vocabulary, W)))

# %% [markdown]
# The dotted line is the start: the entropy's neighbourhood, where the model knows how frequent
# words are (the tree tells it) and nothing of their neighbours.

# %%
figures.loss_curve(history, mean_path_length(numbers, big) * np.log(2))

# %% [markdown]
# ## The twin
#
# `kernels/ch07_hierarchical_softmax_numba.py` makes three small matrix products of a place: scores,
# and the steps of both sides. It asks memory for the rows that come next before it needs them.
# Several threads work on W and N without waiting for each other (*Hogwild*): a step is lost now and
# then where two meet. With one thread the steps are the reference's. (With CBOW each neighbour
# takes the whole step of their mean, as in word2vec.c; its slope would be an equal share of it.)

# %%
from kernels import twin
from primer import ch07_hierarchical_softmax as chapter
from primer.ch06_word2vec import windows_word2vec_c

fast = twin("ch07_hierarchical_softmax", "numba")
T = int(starts[40])
block = (tokens[:T], starts[:41], windows_word2vec_c(T, 4, np.random.default_rng(0)),
         np.full(T, 0.05), big)
for name in ("skipgram_block", "cbow_block"):
    results = []
    for module in (chapter, fast):
        A, B = chapter.initial_vectors(len(vocabulary), 16, np.random.default_rng(1), np.float64)
        results.append((A, B, *getattr(module, name)(A, B, *block)))
    (A, B, loss, count), (C, D, other, also) = results
    print(f"{name}: {count} predictions, {also} predictions; differ by less than 1e-12:",
          max(np.abs(A - C).max(), np.abs(B - D).max()) < 1e-12)

# %% [markdown]
# The CUDA twin gives a warp to each place, and adds steps atomically. Rows near the root are
# everybody's, so it keeps few places under way at a time: too many steps from the same old vectors
# overshoot.
#
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(7):
    print(f"{row['line']:5} {row['verdict']:6} {row['claim'][:90]}")

# %% [markdown]
# **Lines 946 and 1285: $O(\log V)$.** On average over the corpus a path is as long as the entropy,
# and less than one turn more: under Zipf's law 11.5 turns for $10^5$ words, where a balanced tree
# has 16.6. That is *better* than $\log_2 V$. But there is no such bound for one word. If each count
# is the sum of the two before it, the tree is a comb, and the rarest word has $V - 1$ turns:

# %%
figures.huffman_figure(dict(zip("abcdefgh", [1, 1, 2, 3, 5, 8, 13, 21], strict=True)), "a")

# %%
figures.cost_of_a_prediction([10, 100, 1000, 10_000])

# %% [markdown]
# **Lines 932, 936, 940: what $L$ counts.** In line 932 the inner nodes of the path; in line 936 the
# nodes with the leaf, so that $L(w) - 1$ factors remain; line 940 calls it the path's length, which
# would leave out a factor. **Line 944: a loss.** The product is the likelihood; its negative
# logarithm is the loss. **Line 922: introduced by Mikolov et al.** Line 924 has it right: Morin and
# Bengio 2005.
#
# **And word2vec.c?** Its table of $\sigma$ has 1000 places for scores from $-6$ to 6. A place is
# found by $(s + 6) \cdot (1000 / 6 / 2)$, in whole numbers: by 83, not $83\tfrac{1}{3}$. So:

# %%
for s in (-5.9, 0.0, 5.9):
    table = chapter.sigmoid(np.float64(int((s + 6) * 83) * 12 / 1000 - 6))
    print(f"s = {s:4}  sigma {chapter.sigmoid(np.float64(s)):.4f}  its table {table:.4f}")

# %% [markdown]
# ## Exercises
#
# **7.1** Grow the tree. All you need is the lengths of the paths: merge, and add one turn to every
# word below.

# %% tags=["exercise"]
def path_lengths(counts):
    """Counts of V words -> turns to each of them (V,), with Huffman's merges; ties as you like."""
    ### BEGIN SOLUTION
    lengths = np.zeros(len(counts), np.int64)
    groups = [(int(c), [w]) for w, c in enumerate(counts)]
    while len(groups) > 1:
        groups.sort(key=lambda g: g[0])
        (a, left), (b, right), *groups = groups
        lengths[left + right] += 1
        groups.append((a + b, left + right))
    return lengths
    ### END SOLUTION

# %%
mine = path_lengths(counts)
print(mine, "mean", (counts * mine).sum() / counts.sum())
assert mine.tolist() == [1, 3, 3, 3, 4, 4]

# %% [markdown]
# **7.2** Write the loss along paths (7.3), safe for large scores. `paths_of` lays the paths of
# several words end to end: `owner` says whose turn it is.

# %% tags=["exercise"]
def my_predict(H, N, words, tree):
    """(n, d), (V - 1, d), (n,) -> losses (n,), and anything you like to keep."""
    ### BEGIN SOLUTION
    owner, nodes, codes = chapter.paths_of(words, tree)
    x = (2 * codes - 1) * (H[owner] * N[nodes]).sum(axis=1)
    terms = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return np.bincount(owner, terms, len(words)), None
    ### END SOLUTION

# %%
from primer.exercises import ch07_hierarchical_softmax as exercises
from primer.exercises.kit import run_property

for p in exercises.path.properties:
    print(run_property(p, {"predict": my_predict}).status, "-", p.claim)

# %% [markdown]
# **7.3** One place: all its neighbours, the rows of `H`, predict the same word.

# %% tags=["exercise"]
def my_place_loss_grad(H, U, codes):
    """(m, d), (l, d), (l,) -> sum of the losses, dH (m, d), dU (l, d)."""
    ### BEGIN SOLUTION
    S = H @ U.T
    G = 1 / (1 + np.exp(-S)) - (1 - codes)
    return np.log1p(np.exp((2 * codes - 1) * S)).sum(), G @ U, G.T @ H
    ### END SOLUTION

# %%
for p in exercises.place.properties:
    print(run_property(p, {"place_loss_grad": my_place_loss_grad}).status, "-", p.claim)

# %% [markdown]
# More: `python -m primer start ch07`, then `python -m primer check`: four exercises, the tree with
# word2vec.c's ties and the gradient among them.
#
# ## In practice
#
# * Hierarchical softmax is good for rare words, which have nodes of their own to learn by; negative
#   sampling (chapter 8) for frequent ones, and with few dimensions. Most people use the latter.
# * After training only $W$ is kept. A node's vector belongs to no word.
# * The model can say the probability of a word exactly, in $l_w$ steps; to *find* the most probable
#   word one must search the tree.
# * fastText offers it for classification with many labels (`-loss hs`): chapter 12.
# * Any binary tree will do. Morin and Bengio took theirs from WordNet; Huffman's is the cheapest,
#   and knows nothing of meaning.
#
# ## Sources
#
# The text, lines 923 to 950 and 1284 to 1285. Huffman 1952, *A method for the construction of
# minimum-redundancy codes*; Morin and Bengio 2005, *Hierarchical probabilistic neural network
# language model*; Mikolov et al. 2013, *Distributed representations of words and phrases and their
# compositionality*; Rong 2014, *word2vec parameter learning explained*; word2vec.c.
