# %% [markdown]
# # 12. fastText: words are made of pieces
#
# **You will** cut words into n-grams, hash them to rows, give a vector to a word that nobody ever
# wrote, train on the addresses with words held out and find their kin, and let the same mean of
# rows tell centuries apart.
#
# **You need** chapter 6's skip-gram, chapter 8's noise, and chapter 7's tree for one section.

# %%
import numpy as np

from primer.figures import ch12_fasttext as figures

figures.pieces("railroadz")

# %% [markdown]
# ## The picture
#
# *railroadz* is a slip of the pen: no dictionary has it. But most of its pieces are those of
# *railroad*, and of *railroads*. Give each piece a vector, call the mean of a word's pieces the
# word's vector, train it as chapter 8 does, and a slip lands near what was meant.
#
# Six words are struck from the vocabulary before training, although the addresses have them:

# %%
vocabulary, tokens, starts = figures.addresses(every=2)
Z, U, X = figures.train_on_addresses(vocabulary, tokens, starts)
print(f"{len(tokens):,} words, {len(vocabulary):,} different ones; Z has {len(Z):,} rows")
for word in (*figures.HELD, *figures.UNSEEN):
    assert word not in vocabulary
    found = figures.neighbours(word, Z, vocabulary, X)
    print(f"{word:18}", ", ".join(w for w, _ in found))

# %%
figures.kin(Z, vocabulary, figures.KIN)

# %% [markdown]
# ## Equation, code, number
#
# **(12.1)** $G_w$: every run of $minn$ to $maxn$ letters of the word between its marks `<` and `>`.
# The marks tell a beginning and an end from the middle: *ing>* is an ending, *ing* is anything.

# %%
from primer.ch12_fasttext import ngrams

print(ngrams("fast"))
print(len(ngrams("breathtakingly")), "n-grams of breathtakingly;", ngrams("né", 1, 2))

# %% [markdown]
# A word of $m$ letters has $\sum_n \max(0, m + 2 - n + 1)$ of them.
#
# **(12.2)** There are far more n-grams than anyone wants rows for. So a hash chooses the row:
# FNV-1a, one xor and one product a byte, modulo $2^{32}$; then modulo the number of buckets. Two
# n-grams in one bucket share a row; with 2,000,000 buckets that is rare and harmless.

# %%
from primer.ch12_fasttext import fnv1a, ngram_buckets

print(f"{fnv1a('foobar'):#010x}", ngram_buckets("fast", 3, 6, 2_000_000)[:4])
some = {g for w in list(vocabulary)[:3000] for g in ngrams(w)}
for bucket in (20_000, 200_000, 2_000_000):
    shared = len(some) - len({fnv1a(g) % bucket for g in some})
    print(f"{len(some):,} n-grams in {bucket:>9,} buckets: {shared / len(some):.1%} add no row")

# %% [markdown]
# A detail that decides whether you can read fastText's files: its C++ takes each byte as *signed*.
# For ASCII nothing changes. For the two bytes of *é* the upper 24 bits flip as well, and the
# textbook's FNV-1a points at other rows.
#
# **(12.3)** A word's rows $R_w$ are its own, if it is known, and those of its n-grams. Its vector
# is their mean.
#
# $$v_w = \frac{1}{|R_w|} \sum_{r \in R_w} z_r$$

# %%
from primer.ch12_fasttext import mean_rows, text_rows

for word in ("railroad", "railroads"):
    indptr, rows = text_rows([[word]], vocabulary, 3, 6, figures.BUCKETS)
    own = bool((rows < len(vocabulary)).any())
    print(f"{word:10} {len(rows)} rows, its own among them: {own};",
          "vector", mean_rows(Z, indptr, rows)[0, :3].round(2), "...")

# %% [markdown]
# Which pieces bring *railroads* to *railroad*? The cosine is a sum over n-grams:

# %%
figures.contributions(Z, "railroads", "railroad", vocabulary)

# %% [markdown]
# **(12.4)** Neighbours predict the word between them, against noise, as in chapter 8; only that
# their vectors are now means.
#
# $$L = \sum_t \sum_{j \in C_t} \Big[ \ln(1 + e^{-\langle u_o, h \rangle})
#     + \sum_{k \ne o} \ln(1 + e^{\langle u_k, h \rangle}) \Big],
#     \qquad h = v_{w_j},\ o = w_t$$

# %%
from primer.ch12_fasttext import place_loss

rng = np.random.default_rng(12)
H, outputs = rng.standard_normal((2, 3)), rng.standard_normal((6, 3))
loss, dH, dU = place_loss(H, outputs, np.array([1, 0, 1, 5]))
print("loss", round(loss, 4))
print("of the word 1 and the noise 0, 1, 5:", dU.round(3), sep="\n")

# %% [markdown]
# Word 1 was drawn as noise for itself: that draw does not count.
#
# **(12.5)** Which way is down? $h$ is a mean, so each row gets $1/|R|$ of $\partial L/\partial h$.
# fastText gives every row *all* of it, and its usual rate of 0.05 is meant for that. Measured along
# the slope, its steps are $|R|$ times as long:

# %%
from primer.ch12_fasttext import mean_rows_backward

rows, table = np.array([0, 2, 5, 6]), rng.standard_normal((8, 3))
eps, line = 1e-6, rng.standard_normal((8, 3))


def at(T):
    return place_loss(T[rows].mean(axis=0)[None], outputs, np.array([1, 0, 3]))[0]


dh = place_loss(table[rows].mean(axis=0)[None], outputs, np.array([1, 0, 3]))[1]
ours = mean_rows_backward(dh, np.array([0, 4]), rows, 8)
slope = (at(table + eps * line) - at(table - eps * line)) / (2 * eps)
undivided = np.zeros_like(table)
undivided[rows] = dh
print(f"slope {slope:.5f}  (12.5) {(ours * line).sum():.5f}  fastText's "
      f"{(undivided * line).sum():.5f}")

# %% [markdown]
# **(12.6)** Take a text for the word and its words for the n-grams: the mean of their rows, and a
# softmax over labels. That is the whole classifier. Which half-century is a passage from? Addresses
# of every fifth year are held out.

# %%
texts, labels, names, held = figures.half_centuries(every=2)
for n in (1, 2):
    P, losses = figures.train_centuries(texts, labels, held, n)
    right = (P[held].argmax(axis=1) == labels[held]).mean()
    print(f"words{' and pairs' if n == 2 else '':10} loss {losses[0]:.3f} to {losses[-1]:.3f}; "
          f"{right:.3f} of {held.sum():,} right")
print("always the most frequent:", (np.bincount(labels[held]).max() / held.sum()).round(3))

# %%
figures.confusion(P, labels, names, held)

# %% [markdown]
# It errs towards the neighbours in time. Runs of words have no vocabulary at all: they are hashed,
# as n-grams are.
#
# With very many labels the softmax is slow. Chapter 7's tree of labels takes its place:

# %%
from primer.ch07_hierarchical_softmax import huffman_tree, mean_path_length

counts = np.bincount(labels)
tree = huffman_tree(counts)
print("passages", counts, " turns to each label", np.diff(tree.indptr),
      f" on average {mean_path_length(counts, tree):.2f} in place of {len(counts)} scores")

# %% [markdown]
# ## Files
#
# A model of ours can be written as fastText's `.bin`, and read back; fastText's own, quantised ones
# included, are read by `primer.formats`. A small real one that was quantised, 2 numbers to a byte,
# its labels predicted by our `classify`, beside fastText's probabilities that were kept:

# %%
import tempfile
from pathlib import Path

import primer
from primer import formats
from primer.ch12_fasttext import classify

parity = Path(primer.__file__).parents[1] / "tests/parity/ch12_fasttext.npz"
with np.load(parity) as kept, tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "model.ftz"
    path.write_bytes(kept["file/quantised"].tobytes())
    model, theirs = formats.read_fasttext(path), kept["predicted/quantised"]
    line = [*str(kept["lines"][0]).split(), "</s>"]
known = {w: i for i, w in enumerate(model.words)}
items = text_rows([line], known, 0, 0, model.arguments["bucket"], model.arguments["wordNgrams"])
p = classify(model.inputs, model.outputs, *items)[0]
print(type(model.inputs).__name__, model.inputs.shape, "codes", model.inputs.codes.shape)
for label, ours, other in zip(model.labels, p, theirs[0], strict=True):
    print(f"{label}  {ours:.3f}  {other:.3f}")

# %% [markdown]
# ## The twin
#
# In fastText a word predicts each of its neighbours, and for each it gathers the word's rows, some
# 20, and moves them. But when all rows move by the same step, so does their mean. So ours takes a
# word's mean once, as the window reaches it, lets the mean move from place to place, and its rows
# follow once, as the window leaves. One set of noise words serves a place, so its neighbours
# predict the word: each mean then meets the noise of many places. The other way round a mean would
# meet the same five words six times over; tried on ten million words, that cost a quarter of the
# analogies. And not all of a place's pairs may push one and the same mean from where it was: tried
# at a rate of 0.1, the vectors grew without bound.
# `kernels/ch12_fasttext_numba.py` makes the same steps as the reference:

# %%
from kernels import twin
from primer import ch12_fasttext as chapter
from primer.exercises.ch12_fasttext import drawn_block

fast = twin("ch12_fasttext", "numba")
one, two = drawn_block(5, np.float32, d=20, T=200), drawn_block(5, np.float32, d=20, T=200)
slow, quick = chapter.skipgram_block(*one), fast.skipgram_block(*two)
print("pairs", slow[1], quick[1], " losses differ by less than 1e-4:",
      abs(slow[0] / quick[0] - 1) < 1e-4, " rows by less than 1e-5:",
      np.abs(one[0] - two[0]).max() < 1e-5)

# %% [markdown]
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(12):
    print(f"{row['line']:5} {row['verdict']:12} {row['claim'][:80]}")

# %% [markdown]
# **Line 1365: two of three are no n-grams.** They are pieces of the word, but ten and nine letters
# long. Orange is one; red are those that 3 to 6 letters exclude.

# %%
figures.pieces("breathtakingly", 3, 6, ("breat", "eathtaking", "htakingly"))

# %% [markdown]
# **Line 1349: the classifier's paper.** Bojanowski et al. have the vectors; Joulin et al. 2016 have
# the classifier. **Line 1560: a sum.** So in the paper. The library averages, and counts the word's
# own row: the direction is the same, the length is not, so cosines agree and dot products do not.
#
# **Line 1372: one vector for *bank*.** Right: the rows of a word do not depend on its sentence.

# %% [markdown]
# ## Exercises
#
# **12.1** Cut a word into its n-grams.

# %% tags=["exercise"]
def my_ngrams(word, minn=3, maxn=6):
    """str -> list of str; a mark alone is none."""
    ### BEGIN SOLUTION
    text = f"<{word}>"
    return [text[i:i + n] for i in range(len(text)) for n in range(max(minn, 1), maxn + 1)
            if i + n <= len(text) and not (n == 1 and i in (0, len(text) - 1))]
    ### END SOLUTION

# %%
from primer.exercises import ch12_fasttext as exercises
from primer.exercises.kit import run_property

for check in exercises.runs.properties:
    print(run_property(check, {"ngrams": my_ngrams}).status, "-", check.claim)

# %% [markdown]
# **12.2** Hash them. Bytes from 128 on count as signed.

# %% tags=["exercise"]
def my_fnv1a(text):
    """str -> int below 2^32."""
    ### BEGIN SOLUTION
    number = 2166136261
    for byte in text.encode():
        number ^= byte if byte < 128 else byte + 0xFFFFFF00
        number = number * 16777619 % 2**32
    return number
    ### END SOLUTION


def my_buckets(word, minn, maxn, bucket):
    """str -> list of int; none for </s>."""
    ### BEGIN SOLUTION
    return [] if word == "</s>" else [my_fnv1a(g) % bucket for g in ngrams(word, minn, maxn)]
    ### END SOLUTION

# %%
for check in exercises.hashed.properties:
    mine = {"fnv1a": my_fnv1a, "ngram_buckets": my_buckets}
    print(run_property(check, mine).status, "-", check.claim)

# %% [markdown]
# **12.3** Take the means of rows, and their gradient. A row may stand in an item twice; an item may
# have none.

# %% tags=["exercise"]
def my_mean_rows(Z, indptr, rows):
    """(rows, d), (n + 1,), (total,) -> (n, d)."""
    ### BEGIN SOLUTION
    return np.array([Z[rows[a:b]].sum(axis=0) / max(b - a, 1)
                     for a, b in zip(indptr, indptr[1:], strict=False)])
    ### END SOLUTION


def my_mean_rows_backward(dH, indptr, rows, n):
    """(n, d) -> gradient of a table of n rows."""
    ### BEGIN SOLUTION
    dZ = np.zeros((n, dH.shape[1]))
    for dh, a, b in zip(dH, indptr, indptr[1:], strict=False):
        for r in rows[a:b]:
            dZ[r] += dh / (b - a)
    return dZ
    ### END SOLUTION

# %%
for check in exercises.means.properties:
    mine = {"mean_rows": my_mean_rows, "mean_rows_backward": my_mean_rows_backward}
    print(run_property(check, mine).status, "-", check.claim)

# %% [markdown]
# More: `python -m primer start ch12`, then `python -m primer check`: five exercises, a place's loss
# and the classifier among them.
#
# ## In practice
#
# * n-grams help where words are many and rare: Turkish, Finnish, German compounds, slips of the
#   pen. For frequent English words they bring spelling where you want meaning: the nearest words
#   of *manufactured* are its own forms. `-minn 0 -maxn 0` is plain word2vec.
# * Most of the file is buckets: 2,000,000 times 100 numbers are 800 MB, whatever the corpus. Small
#   corpora do with far fewer; quantise (`.ftz`) what you ship.
# * The classifier is the first thing to try on a text classification task. Rate 0.1 to 1, 5 to 25
#   epochs, pairs of words; shuffle the texts (ours does).
# * Its tokens are what stands between blanks. Lower-case and split off punctuation the same way in
#   training and in use.
# * A vector for every string includes strings that mean nothing. Look at the cosines.
#
# ## Sources
#
# The text, lines 1347 to 1385, 1558 to 1560. Bojanowski, Grave, Joulin and Mikolov 2017,
# *Enriching word vectors with subword information*; Joulin, Grave, Bojanowski and Mikolov 2016,
# *Bag of tricks for efficient text classification*; Joulin et al. 2016, *FastText.zip*; Fowler,
# Noll and Vo, *FNV*.
