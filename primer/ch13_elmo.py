r"""Chapter 13. ELMo: a word's vector is what two language models, one from each side, make of it.

    i, f, o = sigma(z_i, z_f, z_o),   g = tanh(z_g),   z = x_t W + h_{t-1} U + b            (13.1)
    c_t = f c_{t-1} + i g,   h_t = o tanh(c_t)                          an LSTM's step      (13.2)
    dc  = dc_t + dh_t o (1 - tanh(c_t)^2),   dc_{t-1} = f dc,   dz_i = dc g i (1 - i),
    dz_f = dc c_{t-1} f (1 - f),  dz_g = dc i (1 - g^2),  dz_o = dh_t tanh(c_t) o (1 - o)   (13.3)
    L   = -1/2n sum_t [ln p(w_t | w_1 ... w_{t-1}) + ln p(w_t | w_{t+1} ... w_T)],
          p = softmax(A h + a), h the top state beside w_t, on its left or on its right     (13.4)
    ELMo_t = gamma sum_j s_j h_{t,j},  s = softmax(v),  h_{t,0} = (x_t, x_t)                (13.5)

Symbols     B sequences of up to T words side by side, time first: ids (T, B), lengths (B,), the
            rest is padding; X: (T, B, k) inputs x, H, C: (T, B, d) states h and cells c of a layer,
            W: (k, 4 d), U: (d, 4 d), b: (4 d,) its weights for z = (z_i, z_f, z_g, z_o), rows of Z,
            an array (B, 4 d); A: (V, d), a: (V,) the softmax over V words, n of them predicted by
            rows of H; v: (J,) a number a layer; P dict of parameters by name; dH is dL/dH, and so
            on; g: in (13.1) a gate, elsewhere an upstream factor.
Sources     the text, lines 219-232, 376-394, 1186-1293; Peters et al. 2018 (arXiv:1802.05365),
            eq. 1, sec. 3; Hochreiter and Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735); Gers,
            Schmidhuber and Cummins 2000 (the forget gate); Jozefowicz, Zaremba and Sutskever 2015
            (its bias of 1).
We differ   The text has no formula for ELMo.  Peters et al. add both directions up; L is the mean
            over both, so exp(L) is a perplexity.  They project the cells, clip them, drop out, sum
            a sample of the softmax: none of it here.  torch.nn.LSTM has b twice, its W and U
            transposed, the same order of gates; TensorFlow's order is i, g, f, o, and it adds 1 to
            z_f: here that 1 is where b starts.
Relations   Read backward with the two directions' weights swapped: the same states, swapped.
            |h| < 1.  s picks one layer as its v grows.  f = 1, i = o = 1 is a sum over time.
            A word has one x (chapters 6 to 12 end here), but as many h_t as it has sentences.
Kernels     kernels/ch13_elmo_numba.py, kernels/ch13_elmo.cu: lstm, lstm_backward and
            softmax_loss_grad; the former also scatter_add and adagrad.
"""
import sys

import numpy as np
from tqdm import tqdm

from primer.ch01_geometry import as_labels
from primer.ch06_word2vec import logsumexp, softmax
from primer.ch07_hierarchical_softmax import sigmoid
from primer.ch13_elmo_inputs import (
    initial_letters,
    input_vectors,
    input_vectors_backward,
    scatter_add,
)
from primer.ch13_elmo_training import adagrad, clip_factor

WAYS = ("forward", "backward")


def lstm_gates(Z, C):
    """A step of B sequences from z (13.1, 13.2).  (B, 4 d), (B, d) -> h, c (B, d), gates (B, 4 d):
    i, f, g, o side by side."""
    i, f, g, o = np.split(Z, 4, axis=1)                                           # (B, d) each
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)                   # eq. 13.1
    c = f * C + i * g                                                             # eq. 13.2
    return o * np.tanh(c), c, np.concatenate([i, f, g, o], axis=1)


def lstm_gates_backward(dh, dc, before, after, gates):
    """The step's gradient (13.3).  (B, d) twice, c_{t-1} and c_t (B, d), (B, 4 d) -> dZ (B, 4 d),
    dc_{t-1} (B, d)."""
    i, f, g, o = np.split(gates, 4, axis=1)                                       # (B, d) each
    tanh = np.tanh(after)
    dc = dc + dh * o * (1 - tanh ** 2)                                            # eq. 13.3
    return np.concatenate([dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g ** 2),
                           dh * tanh * o * (1 - o)], axis=1), dc * f


def lstm(X, lengths, W, U, b, state=None):
    """A layer over padded sequences.  (T, B, k), (B,), weights, state: h, c (B, d) at first or
    None: zeros -> H (T, B, d), state after each sequence's last word, cache.

    In the padding states, cells and gates are 0, so nothing of it comes back either.  Raises
    ValueError for unlike shapes, lengths beyond T, no word or no sequence.
    """
    lengths, h, c = check_layer(X, lengths, W, U, b, state)
    start, Z = (h, c), X @ W + b                                                  # (T, B, 4 d)
    H, C, G = np.empty((2, len(X), *h.shape), X.dtype), None, np.empty_like(Z)
    H, C = H                                                                      # (T, B, d) each
    for t in range(len(X)):
        h, c, gates = lstm_gates(Z[t] + h @ U, c)
        live = (t < lengths)[:, None]                                             # (B, 1)
        H[t], C[t], G[t] = (np.where(live, x, 0) for x in (h, c, gates))
        h, c = H[t], C[t]
    return H, last_states(H, C, lengths, start), (X, lengths, W, U, *start, H, C, G)


def last_states(H, C, lengths, start):
    """h, c (B, d) after the last word; of an empty sequence, what it started with.  -> the two."""
    rows, some = np.arange(len(lengths)), (lengths > 0)[:, None]                  # (B,), (B, 1)
    return tuple(np.where(some, X[lengths - 1, rows], x)
                 for X, x in zip((H, C), start, strict=True))


def lstm_backward(dH, cache):
    """Back through time (13.3).  (T, B, d) -> dX (T, B, k), dW, dU, db, and dh, dc (B, d) of the
    state at the start."""
    X, _, W, U, h, c, H, C, G = cache
    dZ, dh, dc = np.empty_like(G), np.zeros_like(h), np.zeros_like(c)             # (T, B, 4 d)
    for t in reversed(range(len(X))):
        dZ[t], dc = lstm_gates_backward(dH[t] + dh, dc, C[t - 1] if t else c, C[t], G[t])
        dh = dZ[t] @ U.T                                                          # (B, d)
    rows, before = dZ.reshape(-1, dZ.shape[2]), np.concatenate([h[None], H[:-1]])  # (T, B, d)
    return (dZ @ W.T, X.reshape(-1, X.shape[2]).T @ rows,
            before.reshape(-1, before.shape[2]).T @ rows, rows.sum(axis=0), dh, dc)


def check_layer(X, lengths, W, U, b, state):
    """The arguments of lstm -> lengths (B,), h, c (B, d).  ValueError as there."""
    d = len(U)
    if np.ndim(X) != 3 or not X.size or X.dtype.kind != "f":
        raise ValueError(f"X: expected float words, sequences, dimensions, got {np.shape(X)}")
    for name, x, shape in (("W", W, (X.shape[2], 4 * d)), ("U", U, (d, 4 * d)), ("b", b, (4 * d,))):
        if np.shape(x) != shape or x.dtype != X.dtype:
            raise ValueError(f"{name}: expected {X.dtype} of shape {shape}, got {x.dtype} "
                             f"{np.shape(x)}")
    lengths = as_labels(lengths, "lengths", len(X) + 1, X.shape[1])
    state = np.zeros((2, X.shape[1], d), X.dtype) if state is None else state
    if np.shape(state) != (2, X.shape[1], d):
        raise ValueError(f"state: expected two arrays {(X.shape[1], d)}, got {np.shape(state)}")
    return lengths, *(np.asarray(x, X.dtype) for x in state)


def reverse_padded(X, lengths):
    """Each sequence's own words last to first; its padding stays behind them.  (T, B, ...), (B,)
    -> the same shape.  Twice is nothing, and it is its own gradient."""
    t = np.arange(len(X))[:, None]                                                # (T, 1)
    places = np.where(t < lengths, lengths - 1 - t, t)                            # (T, B)
    return X[places, np.arange(X.shape[1])]


def layers_of(P, way):
    """How many layers a direction has  -> int."""
    return sum(name.startswith(f"{way}.") and name.endswith(".W") for name in P)


def stack(P, X, lengths, way, states=None, twin=None):
    """All layers of a direction; from the second on each adds to the one below.  P, (T, B, d),
    (B,) -> list of (T, B, d), states and caches of the layers."""
    layer, outputs, ends, caches = (twin or sys.modules[__name__]).lstm, [], [], []
    for l in range(layers_of(P, way)):
        weights = (P[f"{way}.{l}.{name}"] for name in "WUb")
        H, end, cache = layer(X, lengths, *weights, states and states[l])
        X = X + H if l else H                                                     # (T, B, d)
        outputs.append(X), ends.append(end), caches.append(cache)
    return outputs, ends, caches


def stack_backward(dtop, caches, way, twin=None):
    """Gradient from the top layer down.  (T, B, d), caches -> dX (T, B, d), dict by name."""
    back, grads, d = (twin or sys.modules[__name__]).lstm_backward, {}, dtop
    for l, cache in reversed(list(enumerate(caches))):
        dX, *own = back(d, cache)
        grads |= {f"{way}.{l}.{name}": x for name, x in zip("WUb", own, strict=False)}
        d = dX + d if l else dX                                                   # (T, B, d)
    return d, grads


def softmax_loss_grad(H, A, a, words, g=1.0):
    """-ln p(word | h) of each row (13.4), and the gradient of g times their sum.  (n, d), (V, d),
    (V,), (n,) ids -> losses (n,), dH (n, d), dA (V, d), da (V,)."""
    scores, rows = H @ A.T + a, np.arange(len(H))                                 # (n, V)
    losses = logsumexp(scores) - scores[rows, words]                              # (n,)
    dS = softmax(scores)                                                          # (n, V)
    dS[rows, words] -= 1
    dS *= g
    return losses, dS @ A, dS.T @ H, dS.sum(axis=0)


def predictions(P, ids, lengths, way, states=None, letters=None, twin=None):
    """What a language model has to predict, in its order of reading: each word from those before.
    P, (T, B), (B,) -> top states H (n, d), words (n,), states, and a cache.

    The last word is never an input, so a state can be carried to where it comes first.
    """
    real = np.arange(len(ids) - 1)[:, None] < lengths - 1                         # (T - 1, B)
    X, cache = input_vectors(P, ids[:-1], letters)                                # (T - 1, B, d)
    outputs, ends, caches = stack(P, X, np.maximum(lengths - 1, 0), way, states, twin)
    return outputs[-1][real], ids[1:][real], ends, (cache, caches, real, outputs[-1])


def predictions_backward(dH, cache, way, twin=None):
    """From the top states that predict down to what goes in.  (n, d) -> dict by name."""
    inputs, caches, real, top = cache
    dtop = np.zeros_like(top)                                                     # (T - 1, B, d)
    dtop[real] = dH
    dX, grads = stack_backward(dtop, caches, way, twin)
    scatter = getattr(twin, "scatter_add", scatter_add)
    return grads | input_vectors_backward(dX, inputs, scatter)


def both_ways(ids, lengths):
    """What each direction reads.  (T, B), (B,) -> two pairs (ids, lengths).  ValueError as
    check_sequences."""
    ids, lengths = check_sequences(ids, lengths)
    return (ids, lengths), (reverse_padded(ids, lengths), lengths)


def check_sequences(ids, lengths, V=np.inf):
    """-> ids (T, B), lengths (B,) int64.  Raises ValueError for lengths beyond T, ids beyond V, and
    where no sequence has two words."""
    ids = np.asarray(ids)
    if ids.ndim != 2 or not ids.size:
        raise ValueError(f"ids: expected words, sequences, got shape {ids.shape}")
    as_labels(ids.ravel(), "ids", V)
    lengths = as_labels(lengths, "lengths", len(ids) + 1, ids.shape[1])
    if lengths.max() < 2:
        raise ValueError("lengths: expected a sequence of two words or more: nothing to predict")
    return ids.astype(np.int64, copy=False), lengths


def bilm_loss_grad(P, reads, states=(None, None), letters=None, twin=None, g=1.0):
    """g L (13.4) and its gradient.  P, what each direction reads (both_ways; the first alone is a
    language model as any), their states -> loss, dict by name, states.  What both have, words and
    softmax, gets both gradients.  Raises ValueError as check_sequences."""
    reads = [check_sequences(*read, len(P["outputs"])) for read in reads]
    found = [predictions(P, *read, way, state, letters, twin)
             for read, way, state in zip(reads, WAYS, states, strict=False)]
    rows, words, ends, caches = zip(*found, strict=True)
    H, words = np.concatenate(rows), np.concatenate(words)                        # (n, d), (n,)
    losses, dH, dA, da = (twin or sys.modules[__name__]).softmax_loss_grad(
        H, P["outputs"], P["outputs.b"], words, g / len(words))
    grads = {"outputs": dA, "outputs.b": da}
    for d, cache, way in zip(np.split(dH, [len(rows[0])]), caches, WAYS, strict=False):
        own = predictions_backward(d, cache, way, twin)
        grads |= {name: grads[name] + x if name in grads else x for name, x in own.items()}
    return g * float(losses.mean(dtype=np.float64)), grads, ends


def elmo_layers(P, ids, lengths, letters=None, twin=None):
    """h_{t,j} of all layers, (x, x) first, then both directions side by side.  P, (T, B), (B,) ->
    (J, T, B, 2 d), 0 in the padding."""
    ids, lengths = check_sequences(ids, lengths, len(P["outputs"]))
    X, _ = input_vectors(P, ids, letters)
    X = X * (np.arange(len(ids))[:, None] < lengths)[..., None]                   # (T, B, d)
    ahead, *_ = stack(P, X, lengths, "forward", None, twin)
    back, *_ = stack(P, reverse_padded(X, lengths), lengths, "backward", None, twin)
    pairs = [(X, X), *((f, reverse_padded(r, lengths)) for f, r in zip(ahead, back, strict=True))]
    return np.stack([np.concatenate(pair, axis=2) for pair in pairs])


def scalar_mix(layers, v, gamma=1.0):
    """ELMo's vector (13.5): a task learns which layers serve it.  (J, ..., d), (J,) -> (..., d),
    cache."""
    s = softmax(v)                                                                # (J,)
    mean = np.tensordot(s, layers, 1)                                             # (..., d)
    return gamma * mean, (layers, s, mean, gamma)                                 # eq. 13.5


def scalar_mix_backward(dout, cache):
    """(13.5).  (..., d) -> dlayers (J, ..., d), dv (J,), dgamma float."""
    layers, s, mean, gamma = cache
    ds = gamma * np.tensordot(layers, dout, dout.ndim)                            # (J,)
    dlayers = np.multiply.outer(gamma * s, dout)                                  # (J, ..., d)
    return dlayers, s * (ds - s @ ds), float((mean * dout).sum())


def initial_bilm(V, d, layers, rng, letters=False, dtype=np.float32):
    """A model of V words, d numbers a state: W, U within 1 / sqrt(d), the forget gate open; words
    are rows, or of letters of 16 numbers.  -> P.  Raises ValueError for V, d, layers below 1."""
    if min(V, d, layers) < 1:
        raise ValueError(f"V, d, layers: expected 1 or more, got {V}, {d}, {layers}")
    P = {"outputs": rng.normal(0, 0.1 * d ** -0.5, (V, d)), "outputs.b": np.zeros(V)}
    P |= initial_letters(d, 16, rng) if letters else {"tokens": rng.normal(0, 0.3, (V, d))}
    for way in WAYS:
        for l in range(layers):
            W, U = rng.uniform(-d ** -0.5, d ** -0.5, (2, d, 4 * d))              # (d, 4 d) each
            P |= {f"{way}.{l}.W": W, f"{way}.{l}.U": U,
                  f"{way}.{l}.b": np.repeat([0.0, 1.0, 0.0, 0.0], d)}
    return {name: x.astype(dtype) for name, x in P.items()}


def train_bilm(P, batches, epochs, rng, rate=0.1, largest=1.0, start=1e-4, carry=False,
               letters=None, twin=None):
    """AdaGrad (13.6), S from start, on batches (ids, lengths); P changes in place.  -> history
    (epochs,): mean L, as it went.

    carry: batches are windows of one text in order, and states go on from each to the next, the
    backward ones from the last window to the first.  Raises FloatingPointError, with P as it was
    before that step, if L or its gradient is not finite.
    """
    module, history, last = twin or sys.modules[__name__], np.zeros(epochs), len(batches) - 1
    reads = [both_ways(*batch) for batch in batches]
    sums = {name: np.full_like(x, start) for name, x in P.items()}
    for epoch in tqdm(range(epochs), desc="epochs", leave=False, disable=None):
        states = (None, None)
        for k in range(last + 1) if carry else rng.permutation(last + 1):
            both = reads[k][0], reads[last - k if carry else k][1]
            loss, grads, ends = bilm_loss_grad(P, both, states, letters, twin)
            states, factor = ends if carry else states, clip_factor(grads, largest)
            if not np.isfinite(loss * factor):
                raise FloatingPointError(f"epoch {epoch}: the loss is {loss}; take a rate below "
                                         f"{rate}")
            for name, x in P.items():
                getattr(module, "adagrad", adagrad)(x, grads[name], sums[name], rate, factor)
            history[epoch] += loss / (last + 1)
    return history
