# %% [markdown]
# # 13. ELMo: a word means what its sentence makes of it
#
# **You will** step through an LSTM, go back through time by hand, read sentences of unlike lengths
# side by side, train two language models on the addresses, one from each side, and see one word
# take as many vectors as it has sentences.
#
# **You need** chapter 6's softmax and chapter 11's AdaGrad. The gradient of (13.3) takes pencil and
# paper once.

# %%
import numpy as np

from primer.figures import ch13_elmo as figures

sentences, vocabulary, sequences = figures.addresses(every=9, also=figures.BANKS)
learn, held = figures.split(sequences)
P, history = figures.train_on_addresses(learn, len(vocabulary))
print(f"{len(sentences):,} sentences, {sum(map(len, learn)):,} words to learn from, "
      f"{len(vocabulary):,} different ones")

# %% [markdown]
# ## The picture
#
# In chapters 6 to 12 a word was a row of a table: one vector, whatever the sentence. *Interest* on
# a debt and *interest* in a matter are the same row. Here is *interest* in all addresses, where the
# word beside it tells which is meant. Layer 0 is the row. Layers 1 and 2 are what two language
# models, one reading from each side, have in mind as they reach the word. Nobody told them what
# money is.

# %%
everything = figures.addresses()[0]
layers, some, places = figures.occurrences(P, vocabulary, everything, "interest")
senses = figures.clear_senses("interest", some, places)
clear = senses >= 0
names = list(figures.SIGNS["interest"])
figures.in_many_sentences(layers[:, clear], senses[clear], names, "interest")

# %% [markdown]
# ## Equation, code, number
#
# **(13.1), (13.2)** A recurrent network reads a word at a time and keeps a state. An LSTM keeps
# two: $c$, which is added to and not squashed, and $h$, which it shows. Three gates between 0 and 1
# say what is written ($i$), what is kept ($f$) and what is shown ($o$).
#
# $$c_t = f \odot c_{t-1} + i \odot g, \qquad h_t = o \odot \tanh(c_t)$$

# %%
from primer.ch13_elmo import lstm_gates

d, C = 2, np.array([[0.9, -0.5]])
z_i, z_f, z_g, z_o = [-4, 4], [4, -4], [1, 1], [0, 4]
h, c, gates = lstm_gates(np.array([[*z_i, *z_f, *z_g, *z_o]], float), C)
print("i f g o", gates.reshape(4, d).round(3).tolist())
print("the first cell is kept, the second overwritten by tanh(1) = 0.762:", c.round(3))
print("h", h.round(3))

# %% [markdown]
# Over a sentence: states on top, forget gates below. Where a column of gates is dark, the past is
# dropped.

# %%
figures.sentence_states(P, vocabulary)

# %% [markdown]
# **(13.3)** The way back. Two gradients come in: one with the state $h_t$, one along the cell from
# the next step. The cell's way back is multiplied by $f$ alone, not by a matrix and a slope: with
# $f$ near 1 a gradient lives through a hundred steps. That is why the bias of the forget gate
# starts at 1.

# %%
from primer.ch13_elmo import lstm, lstm_backward

rng = np.random.default_rng(13)
T, k, d = 60, 3, 8
X, W, U = rng.standard_normal((T, 1, k)), rng.normal(0, 0.3, (k, 4 * d)), rng.normal(
    0, 0.3, (d, 4 * d))
for forget in (-1.0, 1.0, 3.0):
    b = np.repeat([0.0, forget, 0.0, 0.0], d)
    up = np.zeros((T, 1, d))
    up[-1] = 1
    dX = lstm_backward(up, lstm(X, [T], W, U, b)[2])[0]
    sizes = np.abs(dX[:, 0]).max(axis=1)
    print(f"bias of the forget gate {forget:4}: the last state's gradient at the last word "
          f"{sizes[-1]:.0e}, 20 words before {sizes[-21]:.0e}, at the first {sizes[0]:.0e}")

# %% [markdown]
# Is it right? Along a random line in all parameters, against the difference of two losses:

# %%
from primer.ch13_elmo import bilm_loss_grad, both_ways, initial_bilm
from primer.ch13_elmo_training import pad

small = initial_bilm(9, 5, 2, rng, dtype=np.float64)
ids, lengths = pad([rng.integers(0, 9, n) for n in (6, 3, 1, 4)])
loss, grads, _ = bilm_loss_grad(small, both_ways(ids, lengths))
line, eps = {name: rng.standard_normal(x.shape) for name, x in small.items()}, 1e-5
ends = [bilm_loss_grad({n: x + s * eps * line[n] for n, x in small.items()},
                       both_ways(ids, lengths))[0] for s in (1, -1)]
slope = sum((grads[name] * line[name]).sum() for name in small)
print(f"loss {loss:.6f}; slope {(ends[0] - ends[1]) / (2 * eps):.8f}, (13.3) {slope:.8f}")

# %% [markdown]
# Sentences have unlike lengths, and stand side by side with padding below. Three things must hold:
# no state in the padding, the state at the end is that of the *sentence's* end, and to read
# backward is to turn each sentence about itself, not the whole column:

# %%
from primer.ch13_elmo import reverse_padded

print(ids.T)
print("turned about themselves:", reverse_padded(ids, lengths).T, sep="\n")

# %% [markdown]
# **(13.4)** Each model predicts each word from those that it has read. Their loss is the mean over
# both, and $e^L$ is a perplexity.

# %%
unigram = figures.unigram_loss(learn, held, len(vocabulary))
ahead, back = figures.held_out_loss(P, held)
print(f"held out: {unigram:.2f} nats a word by frequency alone, {ahead:.2f} from the left, "
      f"{back:.2f} from the right")
print(f"perplexity {np.exp(unigram):.0f} and {np.exp((ahead + back) / 2):.0f}")
figures.loss_curve(history, unigram, (ahead, back))

# %% [markdown]
# What is easy from the left may be hard from the right: *united* tells *states*, and *states*
# tells *united*; but *the* is told by what follows it. A word in brackets is not in the vocabulary:
# to the model it is one of many that are rare, and "some rare word" is a cheap guess.

# %%
figures.surprises(P, vocabulary)

# %% [markdown]
# **(13.5)** A task takes a mix of all layers, with weights that it learns: $s$ is a softmax, so it
# starts as the mean and can end as a choice.

# %%
from primer.ch13_elmo import scalar_mix

mixed, cache = scalar_mix(layers, np.zeros(3))
print("equal weights: the mean of the layers,", np.allclose(mixed, layers.mean(axis=0), atol=1e-5))
for j, share in enumerate(figures.probe_accuracies(layers[:, clear], senses[clear])):
    print(f"layer {j}: a line tells the two apart in {share:.0%} of sentences it was not fitted to")
print("always the more frequent:", f"{np.bincount(senses[clear]).max() / clear.sum():.0%}")

# %% [markdown]
# Uses that are near each other in layer 1:

# %%
for sense in (0, 1):
    query = int(np.flatnonzero(senses == sense)[3])
    print(figures.around(some[query], places[query]))
    for words, cosine in figures.nearest_uses(layers, some, places, query):
        print(f"   {cosine:.2f}  {words}")

# %% [markdown]
# The text's own sentences with *bank*: cosines in hundredths. Riverside banks are rare in the
# addresses, and this model is small and has read for seconds: see how far it gets.

# %%
figures.text_banks(P, vocabulary)

# %% [markdown]
# ## Letters
#
# ELMo reads letters, so no word is unknown to it. **(13.7)** Filters of one to five letters slide
# over a word between its marks; of each filter the largest answer counts. **(13.8)** A highway lets
# a part of each number through.

# %%
from primer.ch13_elmo_inputs import initial_letters, spell, spelling

words = ["deposit", "deposited", "redeposited", "embiggens"]
print(spelling(words)[:, :12])
letters = initial_letters(60, 16, np.random.default_rng(1))
Y, _ = spell(letters, spelling(words))
Y /= np.linalg.norm(Y, axis=1, keepdims=True)
print("cosines before any training:", (Y @ Y[0]).round(2))

# %% [markdown]
# ## The twin
#
# BLAS multiplies. What is left, gates and softmax, would pass over memory a dozen times; the twin
# does each row once, while it is in the nearest cache, and holds a block of scores in place of all:

# %%
from kernels import twin
from primer import ch13_elmo as chapter

fast = twin("ch13_elmo", "numba")
reads = both_ways(*pad(learn[:8]))
one, two = (bilm_loss_grad(P, reads, twin=module) for module in (chapter, fast))
print("losses agree to 1e-5:", abs(one[0] - two[0]) < 1e-5, " gradients to 1e-5:",
      all(np.abs(one[1][name] - two[1][name]).max() < 1e-5 for name in P))

# %% [markdown]
# ## What the text gets wrong

# %%
from primer import claims

for row in claims.rows(13):
    print(f"{row['line']:5} {row['verdict']:12} {row['claim'][:84]}")

# %% [markdown]
# **Line 1293: GPT beside ELMo and BERT.** A model that reads from the left knows nothing of what
# follows. Its vectors are contextual, but of half a sentence. **Line 1214: nearly identical.** A
# row of a table is identical with itself.

# %% [markdown]
# ## Exercises
#
# **13.1** The step: gates in the order $i, f, g, o$.

# %% tags=["exercise"]
def my_gates(Z, C):
    """(B, 4 d), (B, d) -> h, c (B, d), gates (B, 4 d)."""
    ### BEGIN SOLUTION
    d = C.shape[1]
    gates = 1 / (1 + np.exp(-Z))
    gates[:, 2 * d:3 * d] = np.tanh(Z[:, 2 * d:3 * d])
    i, f, g, o = np.split(gates, 4, axis=1)
    c = f * C + i * g
    return o * np.tanh(c), c, gates
    ### END SOLUTION

# %%
from primer.exercises import ch13_elmo as exercises
from primer.exercises.kit import run_property

for check in exercises.cell.properties:
    print(run_property(check, {"lstm_gates": my_gates}).status, "-", check.claim)

# %% [markdown]
# **13.2** Turn padded sequences about themselves.

# %% tags=["exercise"]
def my_reverse(X, lengths):
    """(T, B), (B,) -> (T, B)."""
    ### BEGIN SOLUTION
    out = X.copy()
    for column, n in enumerate(lengths):
        out[:n, column] = X[:n, column][::-1]
    return out
    ### END SOLUTION

# %%
for check in exercises.turn.properties:
    print(run_property(check, {"reverse_padded": my_reverse}).status, "-", check.claim)

# %% [markdown]
# **13.3** Mix the layers, and go back.

# %% tags=["exercise"]
def my_mix(layers, v, gamma=1.0):
    """(J, ..., d), (J,) -> (..., d), what the way back needs."""
    ### BEGIN SOLUTION
    s = np.exp(v - v.max())
    s /= s.sum()
    mean = sum(weight * layer for weight, layer in zip(s, layers, strict=True))
    return gamma * mean, (layers, s, mean, gamma)
    ### END SOLUTION


def my_mix_backward(dout, cache):
    """(..., d) -> dlayers, dv, dgamma."""
    ### BEGIN SOLUTION
    layers, s, mean, gamma = cache
    ds = np.array([gamma * (layer * dout).sum() for layer in layers])
    return np.array([gamma * x * dout for x in s]), s * (ds - (s * ds).sum()), (mean * dout).sum()
    ### END SOLUTION

# %%
for check in exercises.mix.properties:
    mine = {"scalar_mix": my_mix, "scalar_mix_backward": my_mix_backward}
    print(run_property(check, mine).status, "-", check.claim)

# %% [markdown]
# More: `python -m primer start ch13`, then `python -m primer check`: six exercises, the step back
# and a padded layer among them.
#
# ## In practice
#
# * ELMo was trained on a thousand million words, two layers of 4,096 cells, for weeks. Its weights
#   were frozen, and each task learnt its own mix: lower layers for grammar, higher ones for sense.
# * Sort sentences by length before you batch them, and shuffle the batches: padding costs time.
# * Clip gradients by their length together. One long sentence can undo an epoch.
# * Carry states on only over text in its order, and never across a padding.
# * An LSTM takes a step for each word, one after another; a Transformer (chapter 14) takes all
#   words at once. That, more than quality, is why BERT replaced ELMo within a year.
#
# ## Sources
#
# The text, lines 219 to 232, 376 to 394, 1186 to 1293. Peters, Neumann, Iyyer, Gardner, Clark, Lee
# and Zettlemoyer 2018, *Deep contextualized word representations*; Hochreiter and Schmidhuber 1997,
# *Long short-term memory*; Gers, Schmidhuber and Cummins 2000, *Learning to forget*; Kim, Jernite,
# Sontag and Rush 2016, *Character-aware neural language models*; Jozefowicz, Zaremba and Sutskever
# 2015, *An empirical exploration of recurrent network architectures*.
