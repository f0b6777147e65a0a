# %% [markdown]
# # 6. Word2vec: a word by the company it keeps
#
# **You will** let numbers for words fall out of a guessing game, see which pairs a window really
# gives, take the gradient apart, find out why averaging and updating must fit together, and draw a
# map of words that nobody labelled.
#
# **You need** chapter 1's cosine and PCA and chapter 3's `tokenize`.

# %%
import numpy as np

from primer.figures import ch06_word2vec as figures

vocabulary, tokens, starts = figures.addresses()
print(f"{len(starts) - 1:,} passages of addresses since 2000: {len(tokens):,} words, "
      f"{len(vocabulary)} different ones")

# %% [markdown]
# ## The picture
#
# Two models read these passages a few times. Each guesses, word after word: *CBOW* a word from its
# neighbours, *skip-gram* the neighbours from the word. Each word has 16 numbers, drawn by chance at
# the start; after each guess they move a little, so that it would have been better.

# %%
cbow, skipgram = figures.train_on_addresses(vocabulary, tokens, starts)
figures.word_map(skipgram[0], vocabulary)

# %% [markdown]
# The colours are ours; the places are the model's. It was told no meaning, only who stands near
# whom.

# %%
from primer.ch06_word2vec import nearest_words

for word in ("war", "tax", "schools", "million"):
    for name, (W, _, _) in (("CBOW", cbow), ("skip-gram", skipgram)):
        print(f"{word:8} {name:10}", ", ".join(w for w, _ in nearest_words(word, vocabulary, W)))

# %% [markdown]
# Words that occur fewer than 30 times are left out, and so are the 60 most frequent (*the*, *of*,
# ...), which would be everybody's neighbours; chapter 8 has a better way to thin them out.

# %% [markdown]
# ## Equation, code, number
#
# **Who is near?** The neighbours of a word are the $c$ words before it and the $c$ words after it,
# in the same document.

# %%
from primer import data
from primer.ch06_word2vec import count_vocabulary, encode_corpus, skipgram_pairs

documents = data.load_texts()["iguana"]["documents"]
small, counts = count_vocabulary(documents)
names = list(small)
sentence, ends = encode_corpus(documents, small)
print(small, counts)
print("tokens", sentence, "documents start at", ends[:-1])

# %%
figures.sliding_windows([names[i] for i in sentence], c=2)

# %%
centres, contexts = skipgram_pairs(sentence, ends, 2)
print(len(centres), "pairs:", ", ".join(f"{names[i]}-{names[o]}" for i, o in
                                        zip(centres[:9], contexts[:9], strict=True)), "...")

# %% [markdown]
# A document of $m > c$ words gives $2cm - c(c+1)$ pairs: here $24 - 6 = 18$. word2vec.c draws a new
# window from 1 to $c$ at each place, so that near words are neighbours more often than far ones:

# %%
from primer.ch06_word2vec import windows_word2vec_c

drawn = windows_word2vec_c(100_000, 4, np.random.default_rng(0))
a, b = skipgram_pairs(np.arange(100_000), [0, 100_000], drawn)
share = np.bincount(np.abs(a - b))[1:] / 200_000
print("share of neighbours kept at distance 1, 2, 3, 4:", share.round(2))

# %% [markdown]
# **(6.1)** Each word has two vectors: $v_w$, a row of $W$, for when it says something about others,
# and $u_w$, a row of $U$, for when it is guessed. What a vector $h$ says about word $j$ is the
# score $s_j = \langle u_j, h \rangle$; the softmax makes probabilities of scores.
#
# $$p(j \mid h) = \frac{e^{s_j}}{\sum_{k=1}^{V} e^{s_k}}$$
#
# Follow one score upwards, the others fixed: the probability goes from 0 to 1, and it is the
# difference from the others that counts. So the largest score may be taken out first, and
# $e^{1000}$ is never asked for:

# %%
from primer.ch06_word2vec import logsumexp, softmax

S = np.array([[0.0, np.log(3)], [1000.0, 1000.0 + np.log(3)]])
print(softmax(S).round(4), logsumexp(S).round(4))
with np.errstate(all="ignore"):
    print("without that:", np.exp(S[1]) / np.exp(S[1]).sum())

# %% [markdown]
# **(6.2)** Skip-gram's loss: for each of $T$ places, minus the logarithm of the probability of each
# neighbour.
#
# $$L = -\frac{1}{T} \sum_{t=1}^{T} \; \sum_{0 < |j| \le c} \ln p(w_{t+j} \mid v_{w_t})$$
#
# With $U = 0$ all words are alike: a pair costs $\ln V$. The sum has 18 pairs but is divided by 6
# places:

# %%
from primer.ch06_word2vec import initial_vectors, skipgram_loss

rng = np.random.default_rng(6)
W, U = initial_vectors(len(small), 3, rng, np.float64)
print(skipgram_loss(W, U, centres, contexts, T=6).round(4), "=", (18 / 6 * np.log(5)).round(4))

# %% [markdown]
# **(6.3)** CBOW turns it around: the mean $h_t$ of the neighbours' vectors predicts the word, one
# guess a place.
#
# $$L = -\frac{1}{n} \sum_t \ln p(w_t \mid h_t), \qquad
# h_t = \frac{1}{|C_t|} \sum_{w \in C_t} v_w$$
#
# The text also allows the sum in place of the mean (line 744). At the ends of a document $|C_t|$ is
# less than $2c$: the mean is over the words that are there.

# %%
from primer.ch06_word2vec import cbow_loss, cbow_windows, share_mean, share_sum

U = rng.standard_normal(U.shape)
W = rng.standard_normal(W.shape)
windows = cbow_windows(sentence, ends, 2)
print("sizes of the windows:", np.diff(windows[1]))
print("mean", cbow_loss(W, U, *windows, share_mean).round(4),
      " sum", cbow_loss(W, U, *windows, share_sum).round(4))

# %% [markdown]
# **(6.4), (6.5)** Which way is down? For one prediction of word $o$
#
# $$\frac{\partial L}{\partial s_j} = p(j \mid h) - [j = o], \qquad
# \frac{\partial L}{\partial u_j} = \frac{\partial L}{\partial s_j}\, h, \qquad
# \frac{\partial L}{\partial h} = \sum_j \frac{\partial L}{\partial s_j}\, u_j .$$
#
# Read the first: what was promised minus what came. Every word $j$ that was thought possible moves
# away from $h$, the right one towards it, and the moves add up to nothing.

# %%
from primer.ch06_word2vec import predict, predict_backward

loss, cache = predict(W[[1]], U, np.array([2]))
dH, dU = predict_backward(1.0, cache)
print("p - [j = o]:", (softmax(W[[1]] @ U.T)[0] - (np.arange(5) == 2)).round(3))
print("dL/dh:", dH[0].round(3), " sum of dL/du over the words:", dU.sum(axis=0).round(12) + 0.0)

# %% [markdown]
# In CBOW, $h$ is a mean, so each of its $|C|$ words gets $\partial L / \partial h$ divided by
# $|C|$. word2vec.c and Gensim average but do not divide; what they follow is not the slope of this
# loss. A central difference tells:

# %%
from primer.ch06_word2vec import cbow_loss_grad, context_vectors, context_vectors_backward

dW, dU = cbow_loss_grad(W, U, *windows)
direction, eps = rng.standard_normal(W.shape), 1e-6
slope = (cbow_loss(W + eps * direction, U, *windows)
         - cbow_loss(W - eps * direction, U, *windows)) / (2 * eps)
H, (shape, owner, words, each) = context_vectors(W, *windows[1:])
dH, _ = predict_backward(1 / len(windows[0]), predict(H, U, windows[0])[1])
undivided = context_vectors_backward(dH, (shape, owner, words, 1.0))
print("the slope:", slope.round(6), " ours:", (dW * direction).sum().round(6),
      " undivided:", (undivided * direction).sum().round(6))

# %% [markdown]
# **(6.6)** Descent: after each prediction, all vectors in it take a step against the gradient. The
# step gets shorter, in a straight line to zero, over the whole training.
#
# Where does that lead? A language of three kinds of words, in sentences of three words:

# %%
from primer.ch06_word2vec import train_skipgram

kinds = (["cat", "dog", "bird"], ["sees", "hears"], ["tree", "moon"])
rng = np.random.default_rng(6)
toy = [" ".join(rng.choice(words) for words in kinds) for _ in range(300)]
toy_words = {w: i for i, w in enumerate(sum(kinds, []))}
toy_corpus = encode_corpus(toy, toy_words)
print("; ".join(toy[:4]))
W, U, history = train_skipgram(*toy_corpus, *initial_vectors(7, 8, rng, np.float64), c=2, epochs=6,
                               rng=rng, rate=0.15)
print("mean loss of a pair in each epoch:", history.round(3), " ln 7 =", np.log(7).round(3))

# %% [markdown]
# What skip-gram learns is how often each word has which neighbour. Words with the same habits have
# the same row on the left, and about the same vector $v$ gives them the same row on the right: that
# is the whole secret.

# %%
figures.learned_and_counted(W, U, figures.counted(*toy_corpus, 7, 2), list(toy_words))

# %%
for word in ("cat", "sees", "moon"):
    print(word, [(w, round(s, 2)) for w, s in nearest_words(word, toy_words, W, 3)])

# %% [markdown]
# ## CBOW, skip-gram, or one after the other
#
# Line 883 mentions a hybrid: CBOW first, then skip-gram from its vectors. The curves of the
# addresses; mind that the two losses are of different guesses, one word from several, and from one.
# After six passes of CBOW, skip-gram begins below where four passes of its own have led.

# %%
from kernels import twin
from primer.ch06_word2vec import train_hybrid

fast = twin("ch06_word2vec", "numba")
rng = np.random.default_rng(6)
start = initial_vectors(len(vocabulary), 16, rng, np.float64)
hybrid = train_hybrid(tokens, starts, *start, 3, (6, 2), rng, (0.1, 0.04), windows_word2vec_c, fast)
figures.loss_curves({"CBOW": (0, cbow[2]), "skip-gram": (0, skipgram[2]),
                     "skip-gram after CBOW": (6, hybrid[2][1])}, len(vocabulary))

# %% [markdown]
# ## The twin
#
# `kernels/ch06_word2vec_numba.py` has the same functions, compiled. A step in NumPy passes over $U$
# five times and makes a matrix of its size; the twin passes twice and makes nothing. It is one
# thread: each step needs what the step before has left.

# %%
from primer import ch06_word2vec as chapter

V = len(vocabulary)
W, U = initial_vectors(V, 16, np.random.default_rng(0), np.float64)
pairs = [x[:2000] for x in fast.skipgram_pairs(tokens, starts, 3)]
rates = chapter.falling_rates(0.1, 0, 1, 2000)
slow, quick = (m.skipgram_epoch(W, U, *pairs, rates) for m in (chapter, fast))
for name, x, y in zip(("W", "U", "losses"), slow, quick, strict=True):
    print(f"{name:6} differ by less than 1e-12: {np.abs(x - y).max() < 1e-12}")
print("windows equal:", all(np.array_equal(x, y) for x, y in zip(
    chapter.cbow_windows(tokens, starts, 3), fast.cbow_windows(tokens, starts, 3), strict=True)))

# %% [markdown]
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(6):
    print(f"{row['line']:5} {row['verdict']:6} {row['claim'][:90]}")

# %% [markdown]
# **Line 865: four pairs for *iguana*, with *the*, *basked*, *on*, *rock*.** No window gives these
# four. They are the different words among five neighbours, from $c = 4$ on.

# %%
figures.growing_windows([names[i] for i in sentence], 1)

# %% [markdown]
# **Line 866: fewer updates under CBOW.** As the word that is predicted, *iguana* moves no input
# vector. But it is among the neighbours of all other words: five steps move $v_{iguana}$, just as
# many as in skip-gram. Each moves it by a share, $1/|C|$, and all words of a window alike.

# %%
targets, indptr, neighbours = cbow_windows(sentence, ends, 4)
iguana = small["iguana"]
print("skip-gram:", (skipgram_pairs(sentence, ends, 4)[0] == iguana).sum(), "steps; CBOW:",
      sum(iguana in own for own in np.split(neighbours, indptr[1:-1])), "steps")

# %% [markdown]
# **Line 805: one index for the word and for the sum.** Taken literally, each word gets
# $e^{u_i} / (V e^{u_i})$, so all get $1/V$. **Line 728: columns.** $v_w$ is a row of $W$
# ($V \times N$), $u_w$ a column of $W'$ ($N \times V$), as lines 798 and 799 say; our $U$ is
# $W'$ on its side. **Line 887: the inverse of the objective.** Its negative. **Line 836: $T$
# training samples.** $T$ places; the samples of skip-gram are the pairs.
#
# **Line 707: *bat* in two regions.** There is one row for *bat*, whatever stands beside it; it ends
# between its senses. Vectors that depend on the sentence come with chapters 13 and 14.

# %%
bat_documents = data.load_texts()["bat"]["documents"]
bat_words, _ = count_vocabulary(bat_documents)
bats, _ = encode_corpus(bat_documents, bat_words)
print("rows used for bat in the two sentences:", bats[bats == bat_words["bat"]])

# %% [markdown]
# ## Exercises
#
# **6.1** Write the softmax, each row by itself, so that no score is too large for it.

# %% tags=["exercise"]
def my_softmax(S):
    """Scores (n, V) -> probabilities (n, V)."""
    ### BEGIN SOLUTION
    E = np.exp(S - S.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)
    ### END SOLUTION


def my_logsumexp(S):
    """Scores (n, V) -> ln of the sum of exp (n,)."""
    ### BEGIN SOLUTION
    m = S.max(axis=1)
    return m + np.log(np.exp(S - m[:, None]).sum(axis=1))
    ### END SOLUTION

# %%
from primer.exercises import ch06_word2vec as exercises
from primer.exercises.kit import run_property

for p in exercises.softmax.properties:
    mine = {"softmax": my_softmax, "logsumexp": my_logsumexp}
    print(run_property(p, mine).status, "-", p.claim)

# %% [markdown]
# **6.2** List all pairs. Document `i` is `tokens[starts[i]:starts[i + 1]]`; the window is one
# number for all tokens, or one for each.

# %% tags=["exercise"]
def my_pairs(tokens, starts, window):
    """(T,), (n + 1,), a number or (T,) -> centres, contexts: int64, in the order of the text."""
    ### BEGIN SOLUTION
    reach, centres, contexts = np.broadcast_to(window, len(tokens)), [], []
    for first, stop in zip(starts, starts[1:], strict=False):
        for t in range(first, stop):
            for j in range(max(first, t - reach[t]), min(stop, t + reach[t] + 1)):
                if j != t:
                    centres.append(tokens[t])
                    contexts.append(tokens[j])
    return np.array(centres, np.int64), np.array(contexts, np.int64)
    ### END SOLUTION

# %%
for p in exercises.context.properties:
    print(run_property(p, {"skipgram_pairs": my_pairs}).status, "-", p.claim)

# %% [markdown]
# **6.3** Write CBOW's loss and gradient. A word may stand in a window twice.

# %% tags=["exercise"]
def my_cbow_loss(W, U, targets, indptr, contexts):
    """(6.3) -> float."""
    ### BEGIN SOLUTION
    H = np.stack([W[contexts[a:b]].mean(axis=0) for a, b in zip(indptr, indptr[1:], strict=False)])
    S = H @ U.T
    return (logsumexp(S) - S[np.arange(len(S)), targets]).mean()
    ### END SOLUTION


def my_cbow_loss_grad(W, U, targets, indptr, contexts, g=1.0):
    """Gradient of g L -> dW (V, d), dU (V, d)."""
    ### BEGIN SOLUTION
    dW, dU = np.zeros_like(W), np.zeros_like(U)
    for word, a, b in zip(targets, indptr, indptr[1:], strict=False):
        h = W[contexts[a:b]].mean(axis=0)
        error = softmax((U @ h)[None])[0] - (np.arange(len(U)) == word)
        dU += g / len(targets) * np.outer(error, h)
        for w in contexts[a:b]:
            dW[w] += g / len(targets) * (error @ U) / (b - a)
    return dW, dU
    ### END SOLUTION

# %%
for p in exercises.cbow.properties:
    mine = {"cbow_loss": my_cbow_loss, "cbow_loss_grad": my_cbow_loss_grad}
    print(run_property(p, mine).status, "-", p.claim)

# %% [markdown]
# **6.4** How much does the full softmax cost? Count the scores $s_j$ that one epoch computes over a
# corpus of one document of `T` words, with a fixed window `c` < `T`.

# %% tags=["exercise"]
def scores_in_an_epoch(T, c, V):
    """-> scores that skip-gram computes, scores that CBOW computes."""
    ### BEGIN SOLUTION
    return (2 * c * T - c * (c + 1)) * V, T * V
    ### END SOLUTION

# %%
many, fewer = scores_in_an_epoch(T=1_000_000, c=5, V=100_000)
print(f"skip-gram {many:.3e}, CBOW {fewer:.3e}: {many / fewer:.4f} times as many")
assert (many, fewer) == (999_997 * 10 ** 6, 10 ** 11)

# %% [markdown]
# More: `python -m primer start ch06`, then `python -m primer check`: 6 exercises, a step of
# descent among them.
#
# ## In practice
#
# * Nobody trains with the full softmax: with $10^5$ words a guess costs $10^5$ scores (line 921).
#   Chapter 7 guesses along a tree, about $\log_2 V$ yes-or-no questions; chapter 8 compares with a
#   few words drawn by chance.
# * After training, $W$ is kept and $U$ thrown away. Chapter 10 shows what is lost.
# * word2vec.c starts with a rate of 0.05 for CBOW and 0.025 for skip-gram, a window of 5, windows
#   drawn afresh at each place, and 100 dimensions.
# * Rare words are dropped before the windows are made, so that windows reach across the gaps. Put
#   another way: a window of 5 may span 20 words of the page.
# * A larger rate learns faster up to where it forgets; if the loss rises or turns to NaN, lower it.
#   `train_skipgram` stops with a message when numbers overflow.
#
# ## Sources
#
# The text, lines 615 to 922. Mikolov et al. 2013, *Efficient estimation of word representations in
# vector space* and *Distributed representations of words and phrases and their compositionality*;
# Rong 2014, *word2vec parameter learning explained*; Irsoy, Benton and Stratos 2020, *Corrected
# CBOW performs as well as skip-gram*.
