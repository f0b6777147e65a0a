# %% [markdown]
# # 8. Negative sampling: the words that are there, and words drawn by chance
#
# **You will** trade a guess among all words for a few yes-or-no questions, build the table that
# draws a word in one step, thin out *the* and *of*, train on half a million words in seconds, see
# what the vectors really add up to, and watch one word's two senses share a row.
#
# **You need** chapter 6; chapter 10 makes the last part of the picture whole.

# %%
import numpy as np

from primer.ch08_negative_sampling import train_cbow, train_skipgram
from primer.figures import ch08_negative_sampling as figures

words, counts, tokens, starts = figures.addresses()
print(f"addresses of 1861 to 1915: {len(tokens):,} words, {len(words):,} different ones")

# %% [markdown]
# ## The picture
#
# The full softmax of chapter 6 compares a guess with all words. Here each guess is compared with
# five words drawn by chance: *this word stood here; these five did not*. On these addresses that is
# six scores in place of some five thousand.

# %%
skipgram = figures.train_on_addresses(train_skipgram, tokens, starts, len(words), epochs=4)
cbow = figures.train_on_addresses(train_cbow, tokens, starts, len(words), epochs=4, rate=0.1)
figures.loss_curves({"skip-gram": skipgram[2], "CBOW": cbow[2]})

# %%
for name, (W, _, _) in (("skip-gram", skipgram), ("CBOW", cbow)):
    for word, found in figures.neighbours(W, words).items():
        print(f"{word:10} {name:10} {found}")

# %% [markdown]
# ## Equation, code, number
#
# **(8.1)** A vector $h$ predicts word $o$; $K$ words $N$ are drawn. With $\sigma(x) = 1/(1+e^{-x})$
#
# $$\ell = -\ln \sigma(\langle u_o, h\rangle) - \sum_{k \in N,\, k \neq o} \ln \sigma(-\langle u_k,
# h\rangle)$$
#
# While nothing is learned, all scores are 0 and each of the $K+1$ questions costs $\ln 2$. A draw
# that happens to be $o$ itself says nothing and is left out.

# %%
from primer.ch08_negative_sampling import pair_loss, pair_loss_grad

rng = np.random.default_rng(8)
W, U = rng.standard_normal((2, 6, 3))
print("6 ln 2 =", round(6 * np.log(2), 4),
      " loss:", pair_loss(W, 0 * U, [0], [1], [[2, 3, 4, 5, 2]]).round(4))
print("one draw is the word itself:", pair_loss(W, 0 * U, [0], [1], [[2, 3, 4, 5, 1]]).round(4))

# %% [markdown]
# **(8.2)** The slope of each score is what was promised minus what came, and only the rows of the
# words in question move:
#
# $$\frac{\partial \ell}{\partial s_j} = \sigma(s_j) - [j = o]$$

# %%
dW, dU = pair_loss_grad(W, U, [0], [1], [[2, 3, 3]])
print("rows of W that move:", np.flatnonzero(dW.any(axis=1)),
      " of U:", np.flatnonzero(dU.any(axis=1)))

# %% [markdown]
# **(8.3)** Which words are drawn? $P(w) \propto c_w^{3/4}$: between all alike and as in the corpus.

# %%
figures.noise_curves(counts, words)

# %% [markdown]
# A draw takes one step, however many words there are. *Walker's alias table* has a column of equal
# width for each word; a word that is rarer than the average does not fill its column, and one word
# that has too much fills it up. Choose a column, then one of its two parts:

# %%
from primer.ch08_negative_sampling import alias_table, draw_noise, noise_distribution

p = noise_distribution([90, 9, 1])
thresholds, aliases = alias_table(p)
for i, name in enumerate("abc"):
    print(f"column {name}: {thresholds[i] / 2**32:.3f} {name}, the rest {'abc'[aliases[i]]}")
drawn = draw_noise((thresholds, aliases), (100_000,), np.random.default_rng(0))
print("drawn", (np.bincount(drawn) / 100_000).round(2), " wanted", p.round(2))

# %% [markdown]
# **(8.4)** Frequent words are thinned out before windows are cut: an occurrence of a word of
# relative frequency $f$ stays with probability $\min(1, \sqrt{t/f})$. So windows reach further, and
# *the* does not use up the time. word2vec.c keeps a little more.

# %%
figures.keep_curves()

# %%
from primer.ch08_negative_sampling import keep_probability_word2vec_c, subsample

keep = keep_probability_word2vec_c(counts, 1e-3)
kept, _, _ = subsample(tokens, starts, keep, np.random.default_rng(0))
print(f"of {len(tokens):,} words {len(kept):,} stay; of 'the'",
      f"{(kept == 0).sum() / (tokens == 0).sum():.0%}, of {words[1000]!r}",
      f"{(kept == 1000).sum() / (tokens == 1000).sum():.0%}")

# %% [markdown]
# **(8.6)** A place is one word with its window of $m$ words. All its $m$ guesses share the $K$
# drawn words: the scores are then one small matrix product $H O^T$ ($m \times (K+1)$), and both
# gradients are two more. word2vec.c draws anew for each guess: 3 m (K + 1) products of vectors.
#
# Randomness is data here: what chance decides in a block of text is drawn first, by a seed made of
# (seed, epoch, block). NumPy, Numba and CUDA take the same steps.

# %%
from kernels import twin
from primer import ch08_negative_sampling as chapter
from primer.ch06_word2vec import initial_vectors

fast = twin("ch08_negative_sampling", "numba")
table = alias_table(noise_distribution(counts))
bounds = chapter.block_bounds(starts, 3000)
block = chapter.draw_block(tokens[:starts[bounds[1]]], starts[:bounds[1] + 1], keep, table, 5, 5,
                           (8, 0, 0))
*corpus, windows, negatives, places = block
print("words", corpus[0].shape, "windows", windows.shape, "drawn words", negatives.shape)
results = []
for module in (chapter, fast):
    W, U = initial_vectors(len(words), 32, np.random.default_rng(0))
    rates = np.full(len(windows), 0.05, np.float32)
    loss, guesses = module.skipgram_block(W, U, *corpus, windows, rates, negatives)
    results.append((W, U))
    print(f"{guesses} guesses, mean loss {loss / guesses:.4f}")
print("rows differ by less than 1e-6:",
      max(np.abs(a - b).max() for a, b in zip(*results, strict=True)) < 1e-6)

# %% [markdown]
# **(8.5)** Words that stick together become one word. Two passes find phrases of up to four:

# %%
from primer.ch08_negative_sampling import join_phrases

merged, bounds, grown = join_phrases(tokens, starts, words, 20, (200, 200))
print(f"{len(grown) - len(words)} phrases;", ", ".join(grown[len(words):][:8]))
print("longer ones:", ", ".join([w for w in grown[len(words):] if w.count("_") == 2][:6]))

# %% [markdown]
# ## What is learned: shifted PMI
#
# Let one score vary and all others be free: the loss of a cell is least at
# $\langle u_o, v_w \rangle = \mathrm{PMI}(w, o) - \ln K$ (chapter 10; with power 1, and without the
# draws of $o$ itself, which add $-\ln(1 - p(o \mid w))$). With as many dimensions as words and
# enough passes, the vectors get there:

# %%
rng, V, K = np.random.default_rng(8), 24, 2
topics = rng.dirichlet(np.full(V, 0.6), 6)
ids = np.array([rng.choice(V, 25, p=topics[t]) for t in rng.integers(0, 6, 4000)])
W, U = initial_vectors(V, V, rng)
W, U, _ = train_skipgram(ids.ravel(), np.arange(4001) * 25, 40 * W, U, 3, K, 15, 8, rate=0.06,
                         sample=np.inf, power=1.0, twin=fast,
                         windows=lambda T, c, rng: np.full(T, c))
C = np.zeros((V, V))
for j in (1, 2, 3):
    np.add.at(C, (ids[:, j:], ids[:, :-j]), 1)
C += C.T
often = C > 200
expected = np.outer(C.sum(axis=1), C.sum(axis=0)) / C.sum()
pmi = np.log(C[often] / expected[often]) - np.log(K)
print("correlation with PMI - ln K above 0.99:", np.corrcoef((W @ U.T)[often], pmi)[0, 1] > 0.99)

# %% [markdown]
# ## One row for two senses
#
# *bank* stands in texts about money and in texts about rivers. Train twice from one start: once
# with the two told apart, once merged. The merged row lies between the others, nearer to the one
# that is more frequent. What one sense means, the other one blurs (lines 1193 to 1214).

# %%
found = figures.bank_of_two_senses(fast)
figures.two_senses(found)

# %% [markdown]
# ## New words
#
# Line 1223 says that new text means starting anew. Rows can be added; the old ones stay, and
# training goes on:

# %%
from primer.ch08_negative_sampling import add_words

vocabulary = {w: i for i, w in enumerate(words)}
W, U, larger = add_words(skipgram[0], skipgram[1], vocabulary, ["the airship departed"],
                         np.random.default_rng(1))
print(len(vocabulary), "->", len(larger), "words; old rows as they were:",
      np.array_equal(W[:len(words)], skipgram[0]))

# %% [markdown]
# ## The twin
#
# `kernels/ch08_negative_sampling_numba.py` gathers the $m$ rows of $W$ into one block, reads the
# $K+1$ rows of $U$ where they are, and asks for those of a later place ahead of time. Threads share
# out the documents and write without locks (*Hogwild*): with many words they rarely meet in a row.
# With one thread each run gives the same bits. `kernels/ch08_negative_sampling.cu` gives a place to
# each warp.
#
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(8):
    print(f"{row['line']:5} {row['verdict']:6} {row['claim'][:80]}")

# %% [markdown]
# **Line 1000** discards with $1 - \sqrt{t/f}$, which is negative for $f < t$: at $f = 10^{-6}$,
# $t = 10^{-5}$ it is $-2.16$. **Line 1004**: pairs are not independent, they share rows; it works
# all the same. **Line 990**: the paper's 5 to 20 words are for small corpora; 2 to 5 do for large
# ones.
#
# ## Exercises
#
# **8.1** Write the noise distribution. A word that never occurs is never drawn, also with power 0.

# %% tags=["exercise"]
def my_noise(counts, power=0.75):
    """(V,) counts -> (V,) probabilities."""
    ### BEGIN SOLUTION
    counts = np.asarray(counts, float)
    weights = np.where(counts > 0, counts ** power, 0)
    return weights / weights.sum()
    ### END SOLUTION

# %%
from primer.exercises import ch08_negative_sampling as exercises
from primer.exercises.kit import run_property

for prop in exercises.noise.properties:
    print(run_property(prop, {"noise_distribution": my_noise}).status, "-", prop.claim)

# %% [markdown]
# **8.2** Write the loss of pairs, summed, and its gradient. A word may be drawn twice, or be the
# right one.

# %% tags=["exercise"]
def my_loss(W, U, inputs, outputs, negatives):
    """(V, d), (V, d), (n,), (n,), (n, K) -> float."""
    ### BEGIN SOLUTION
    total = 0.0
    for v, o, own in zip(inputs, outputs, negatives, strict=True):
        total += np.logaddexp(0, -U[o] @ W[v])
        total += sum(np.logaddexp(0, U[k] @ W[v]) for k in own if k != o)
    return total
    ### END SOLUTION


def my_loss_grad(W, U, inputs, outputs, negatives, g=1.0):
    """The same -> dW (V, d), dU (V, d)."""
    ### BEGIN SOLUTION
    dW, dU = np.zeros_like(W), np.zeros_like(U)
    for v, o, own in zip(inputs, outputs, negatives, strict=True):
        for j in [o, *(k for k in own if k != o)]:
            slope = g * (1 / (1 + np.exp(-U[j] @ W[v])) - (j == o))
            dW[v] += slope * U[j]
            dU[j] += slope * W[v]
    return dW, dU
    ### END SOLUTION

# %%
for prop in exercises.loss.properties:
    mine = {"pair_loss": my_loss, "pair_loss_grad": my_loss_grad}
    print(run_property(prop, mine).status, "-", prop.claim)

# %% [markdown]
# **8.3** A corpus of a million words, windows drawn from 1 to 5 as in word2vec.c, 5 drawn words.
# How many scores does an epoch of skip-gram take, leaving out the ends of texts; and how many with
# the full softmax over 100,000 words?

# %% tags=["exercise"]
def scores_in_an_epoch(T, c, K, V):
    """-> scores with K drawn words, scores with the full softmax."""
    ### BEGIN SOLUTION
    guesses = T * (c + 1)                  # a window is (1 + c) / 2 on the average, on both sides
    return guesses * (K + 1), guesses * V
    ### END SOLUTION

# %%
few, many = scores_in_an_epoch(1_000_000, 5, 5, 100_000)
print(f"{few:,} in place of {many:,}")
assert (few, many) == (36_000_000, 600_000_000_000)

# %% [markdown]
# More: `python -m primer start ch08`, then `python -m primer check`: 5 exercises.
#
# ## In practice
#
# * Skip-gram with 5 drawn words, window 5, $t = 10^{-3}$ for small and $10^{-5}$ for very large
#   corpora, 100 to 300 numbers a word: the settings that most published vectors have.
# * CBOW takes one step a place, so it is several times as fast; skip-gram is better at rare words.
# * More drawn words help small corpora. Shared among a window they are cheap: ten cost less than
#   five drawn anew for each guess.
# * The rate falls in a straight line over the whole training. Starting it anew for each part of a
#   corpus spoils what has been learned.
# * Rare words have poor vectors: leave out those that occur fewer than five times.
#
# ## Sources
#
# The text, lines 951 to 1012 and 1226 to 1229. Mikolov et al. 2013, *Distributed representations of
# words and phrases and their compositionality*; Goldberg and Levy 2014, *word2vec explained*; Levy
# and Goldberg 2014, *Neural word embedding as implicit matrix factorization*; Vose 1991, *A linear
# algorithm for generating random numbers with a given distribution*; Recht et al. 2011, *Hogwild*.
