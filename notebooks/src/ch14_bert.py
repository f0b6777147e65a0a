# %% [markdown]
# # 14. BERT: hide some words, and learn to say which from both sides
#
# **You will** see where the heads of a Transformer look, put a mask on its scores, hide words and
# guess them, watch *bank* part into two groups, put all seven methods of the text side by side, and
# teach a pretrained encoder a task in seconds.
#
# **You need** chapters 3 to 6, 11 and 12 for the comparison; a gradient (6.4) for the losses.
#
# The model here is a small one of our own: two layers, 128 numbers a piece, trained from scratch
# on the addresses of this repository by `python -m tests.makers.small_bert`, in under three minutes
# on two cores. That is too long for a notebook, so its numbers are stored in `datasets/`. Every
# twentieth address was kept from it: those judge it.

# %%
import numpy as np

from primer.figures import ch14_bert as figures
from primer.training import small_bert

model = small_bert.load()
print(f"{len(model.wordpiece):,} pieces, {sum(x.size for x in model.P.values()):,} numbers,",
      f"{model.heads} heads")

# %% [markdown]
# ## The picture
#
# What belongs in a blank? The answer needs what stands to the left and to the right. The model was
# never told grammar or facts; it was shown some hundred thousand blanks.

# %%
figures.blanks_figure(model)

# %% [markdown]
# Words become *pieces* first: common words whole, rare ones in parts (14.18 to 14.20).

# %%
for text in ("The bank approved the loan.", "A bat flew over the iPhone."):
    print(" ".join(model.wordpiece.tokens(text)))

# %% [markdown]
# ## Equation, code, number
#
# **(14.7)** Each word asks a question $q$, and each word answers with a key $k$; the weights are
#
# $$A = \mathrm{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right)$$
#
# and what is taken from the words is $A V$. A *mask* says which keys count. Padding is no word; a
# decoder such as GPT may not look at what comes later.

# %%
figures.mask_figure()

# %% [markdown]
# Each layer has several heads, and they look at different things. Rows are the words that look.

# %%
figures.attention_figure(model, "The bank of the river was high.")

# %% [markdown]
# A causal encoder does not change a word's state when a later word changes; BERT does. So line 1293
# of the text, which says that GPT too sees the full sentence, errs.

# %%
from primer.claims.ch14_bert import words_that_matter

print("the fourth word's state, causal, depends on words", words_that_matter(causal=True))
print("                        both ways, on words       ", words_that_matter(causal=False))

# %% [markdown]
# **(14.1)** Of each text's pieces 15 % are to be guessed, at least one. Eight in ten of them become
# `[MASK]`, one becomes another piece, one stays: in use there is no `[MASK]`, and every state must
# be ready to be asked.

# %%
from primer.ch14_bert import mask_tokens

text = "During the last fiscal year the receipts of the Treasury from all sources were larger " \
       "than the expenditures of the Government, and the public debt has been reduced."
ids = np.array([model.wordpiece.encode(text)])
special = small_bert.special_ids(model.wordpiece)
inputs, places, labels = mask_tokens(ids, np.random.default_rng(8), len(model.wordpiece),
                                     model.wordpiece.ids["[MASK]"], special)
pieces = np.array(model.wordpiece.vocabulary)
print(" ".join(pieces[inputs[0]]))
print("to be guessed:", ", ".join(pieces[labels]))

# %% [markdown]
# **(14.2)** The state of each such place is bent, normed, and compared with the vectors of all
# pieces, the very ones that come in at the bottom. The loss is the mean over the hidden places, and
# nothing else counts.
#
# $$\ell_{\mathrm{MLM}} = \frac{1}{|M|}\sum_{i \in M} -\ln \mathrm{softmax}\big(E\,\mathrm{norm}(
# \mathrm{gelu}(h_i A + a)) + b\big)_{x_i}$$

# %%
from primer.ch14_bert import mean_loss, mlm_scores
from primer.ch14_bert_encoder import encode

H, _ = encode(model.P, model.heads, inputs)
S, _ = mlm_scores(model.P, H, places)
print("guessed:", ", ".join(pieces[S.argmax(axis=1)]))
print("mean loss", round(mean_loss(S, labels)[0], 2), " a guess among all:",
      round(float(np.log(len(pieces))), 2))

# %% [markdown]
# Which pieces were hidden in addresses that it never saw? Beside it the *unigram* model, which
# knows how frequent each piece is, and nothing of what stands beside a blank:

# %%
held_out = small_bert.cut_sentences(model.wordpiece, *small_bert.addresses(held_out=True))
p = small_bert.frequencies(held_out)
found = small_bert.judge(model.P, model.heads, held_out, p, batches=3)
print(f"{found['masked']} hidden pieces   BERT / frequencies alone")
print(f"right at the first guess  {found['accuracy']:.0%} / {found['unigram_accuracy']:.0%}")
print(f"loss in nats              {found['cross_entropy']:.1f} / "
      f"{found['unigram_cross_entropy']:.1f}")

# %% [markdown]
# While it trained, with 30 % hidden: in three minutes each sentence must teach more. Its pieces'
# vectors began as chapter 8's skip-gram of the same sentences. Then attention finds out where to
# look (head 1 above: at the next word), and the loss falls far below what frequencies can do.
# The second loss, *does B follow A?* (14.3), starts at $\ln 2$ and has hardly begun to fall.

# %%
figures.history_figure(model, found["unigram_cross_entropy"])

# %% [markdown]
# ## One word, many meanings
#
# **(14.5)** The *gap* is the mean of $1 - \cos$ between the vectors of one word in different
# senses. A static method has one vector for the word, so its gap is 0 whatever it was trained on.
# For the text's words:

# %%
print(f"{'':13}" + "".join(f"{word:>8}" for word in figures.WORDS))
for name, row in figures.gaps(model).items():
    print(f"{name:<13}" + "".join(f"{max(gap, 0):8.2f}" for gap in row))

# %% [markdown]
# A gap alone proves little: an encoder with random numbers has one too, since each vector depends
# on the words around it, whatever they are. **(14.6)** *Separation* is the test: are two *bank* of
# one sense closer than two of different senses? Ten of the text's sentences, before and after:

# %%
sentences, senses = figures.bank_sentences()
for i, (sentence, sense) in enumerate(zip(sentences, senses, strict=True), 1):
    print(f"{i:2} {sense:<12} {sentence}")

# %%
models = {"untrained": small_bert.untrained(model), "trained": model}
figures.bank_figure({name: figures.summary(figures.bank_vectors(own, sentences), senses)
                     for name, own in models.items()}, senses)

# %% [markdown]
# The same with MiniLM, six layers trained on a billion pairs of sentences, if you have fetched it
# (`python -m primer data get minilm`); else what was recorded when we ran it.

# %%
figures.minilm_figure()

# %% [markdown]
# ## Seven methods, one word
#
# The text's *cat* in *Cat sat on the mat* and *Cat chased the dog*, with real numbers: counts over
# the three documents, three static methods trained on them with 3 numbers a word, and our BERT.

# %%
for line in figures.cat_table(model):
    print(line)

# %% [markdown]
# ## Fine-tuning: a task in seconds
#
# **(14.3)** A new matrix over the first state, and a few steps through the whole encoder. Here: is
# a sentence from before 1900? Once from our pretrained model, once from random numbers.

# %%
from kernels import twin
from primer.training import finetuning

fast = twin("ch14_bert_layers", "numba")
accuracies = finetuning.finetune_century(model, fast)
for name, (before, after) in accuracies.items():
    print(f"{name:<12} right before {before:.0%}, after 60 steps {after:.0%}")

# %% [markdown]
# **(14.4)** A class for each token instead: which words were written with a capital letter?
# WordPiece has taken capitals away; the context gives them back.

# %%
for line in finetuning.finetune_capitals(model, fast):
    print(line)

# %% [markdown]
# ## The twin
#
# The matrix products are BLAS's; what lies between them costs as much in NumPy.
# `kernels/ch14_bert_layers_numba.py` does each of those steps in one pass over memory, attention
# without ever storing the table of weights. A training step of the same sizes, by both:

# %%
from primer.ch14_bert import pretraining_step

batch = small_bert.draw_batch(held_out, 8, np.random.default_rng(1))
(a, grads), (b, theirs) = (pretraining_step(model.P, model.heads, batch, ops=ops)
                           for ops in (None, fast))
print("losses alike:", np.allclose(a, b, rtol=1e-4), " gradients alike:",
      all(np.allclose(grads[k], theirs[k], rtol=1e-2, atol=1e-4) for k in grads))

# %% [markdown]
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(14):
    print(f"{row['line']:5} {row['verdict']:6} {row['claim'][:80]}")

# %% [markdown]
# **Line 1293**: GPT sees what is on the left alone. **Line 1372** has GPT tell the *bank* of
# "went to the bank to withdraw money": the words that tell come after it. **Line 1524**: nothing
# outside the input counts, no "larger document". **Line 1571**: one in ten hidden places still
# shows its word, so the model is not quite given $x$ without $M$.
#
# ## Exercises
#
# **14.1** Hide words as (14.1) says.

# %% tags=["exercise"]
def my_mask(ids, rng, V, mask_id, special, share=0.15):
    """(B, T) ids -> inputs (B, T), places (m,) of the flattened ids, rising, labels (m,)."""
    ### BEGIN SOLUTION
    ids = np.asarray(ids)
    places = []
    for row, text in enumerate(ids):
        words = np.flatnonzero(~np.isin(text, special))
        if len(words):
            count = max(1, int(np.rint(share * len(words))))
            places += [row * ids.shape[1] + i for i in rng.choice(words, count, replace=False)]
    places = np.sort(np.array(places, int))
    inputs, labels = ids.copy(), ids.ravel()[places]
    others = np.setdiff1d(np.arange(V), special)
    for place in places:
        lot = rng.random()
        if lot < 0.8:
            inputs.flat[place] = mask_id
        elif lot < 0.9:
            inputs.flat[place] = rng.choice(others)
    return inputs, places, labels
    ### END SOLUTION

# %%
from primer.exercises import ch14_bert as exercises
from primer.exercises.kit import run_property

for prop in exercises.masking.properties:
    print(run_property(prop, {"mask_tokens": my_mask}).status, "-", prop.claim)

# %% [markdown]
# **14.2** Write the weights of attention.

# %% tags=["exercise"]
def my_weights(Q, K, mask=None, causal=False):
    """(B, H, T, D) twice, mask (B, T) bool: which keys are words -> (B, H, T, T)."""
    ### BEGIN SOLUTION
    S = Q @ K.swapaxes(2, 3) / np.sqrt(Q.shape[3])
    seen = np.ones(S.shape, bool)
    if mask is not None:
        seen &= mask[:, None, None]
    if causal:
        seen &= np.tri(S.shape[3], dtype=bool)
    S = np.where(seen, S, -np.inf)
    most = S.max(axis=3, keepdims=True)
    E = np.exp(S - np.where(np.isfinite(most), most, 0))
    total = E.sum(axis=3, keepdims=True)
    return E / np.where(total == 0, 1, total)
    ### END SOLUTION

# %%
for prop in exercises.look.properties:
    print(run_property(prop, {"attention_weights": my_weights}).status, "-", prop.claim)

# %% [markdown]
# **14.3** How many numbers has BERT base: 30,522 pieces, 512 positions, 2 segments, 12 layers,
# $d = 768$, 3,072 between the two matrices of each layer? Count the encoder without its heads.

# %% tags=["exercise"]
def count_numbers(V, N, segments, L, d, f):
    """-> int."""
    ### BEGIN SOLUTION
    embeddings = (V + N + segments) * d + 2 * d
    attention = 4 * (d * d + d)
    forward = d * f + f + f * d + d
    return embeddings + L * (attention + forward + 4 * d)
    ### END SOLUTION

# %%
print(f"{count_numbers(30_522, 512, 2, 12, 768, 3_072):,}")
assert count_numbers(30_522, 512, 2, 12, 768, 3_072) == 108_891_648

# %% [markdown]
# More: `python -m primer start ch14`, then `python -m primer check`: 7 exercises.
#
# ## In practice
#
# * Nobody pretrains BERT for a task: take a pretrained one and fine-tune it, 2 to 4 passes at
#   2e-5 to 5e-5. Larger rates forget what was learned.
# * For the vector of a *sentence* take one that was trained for that (chapter 15): BERT's own mean
#   or first state is a poor one.
# * Later models dropped the next sentence (RoBERTa): it is easy, and teaches topics at most. More
#   than 15 % hidden also works.
# * Cost grows with the square of the length in attention alone; for texts of some hundred words
#   the matrices of the layers cost more.
# * Pad to the longest text of a batch, not to 512, and put texts of like length together.
#
# ## Sources
#
# The text, lines 1386 to 1610. Vaswani et al. 2017, *Attention is all you need*; Devlin et al.
# 2019, *BERT*; Liu et al. 2019, *RoBERTa*; Ethayarajh 2019, *How contextual are contextualized
# word representations?*; Schuster and Nakajima 2012 (WordPiece).
