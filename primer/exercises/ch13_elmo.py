"""Exercises of chapter 13: an LSTM's step and back, padded sequences, two models, their mix.

Weights and states are drawn by a seed; lengths are given, so that padding can be seen.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer import ch13_elmo
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch13_elmo"
SEEDS = st.integers(0, 9999)
LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any)
CLOSE = {"rtol": 2e-5, "atol": 2e-6}  # twins may compute in float32

def step_of(seed, B=2, d=3):
    """-> Z (B, 4 d), cells (B, d), some gates open or shut."""
    rng = np.random.default_rng(seed)
    return 2 * rng.standard_normal((B, 4 * d)), rng.standard_normal((B, d))

def layer_of(seed, lengths, k=3, d=2):
    """-> arguments of lstm; the padding holds numbers, too."""
    rng = np.random.default_rng(seed)
    B, T = len(lengths), max(lengths) + 1
    X, W, U, b = (rng.standard_normal(s) for s in ((T, B, k), (k, 4 * d), (d, 4 * d), (4 * d,)))
    return X, np.array(lengths), W, U, b, rng.standard_normal((2, B, d))

cell = Exercise("ch13.cell", REFERENCE, ["lstm_gates"], "A step of an LSTM", "13.1, 13.2")

@cell.property("no state is beyond 1, and gates are between 0 and 1, g between -1 and 1",
               seed=SEEDS, hint="three sigmoids and one tanh; h = o tanh(c)")
def bounded(impl, seed):
    h, c, gates = impl.lstm_gates(*step_of(seed))
    i, f, g, o = np.split(gates, 4, axis=1)
    expect(np.all(np.abs(h) < 1), "|h| < 1", your_answer=h)
    expect(all(np.all((x > 0) & (x < 1)) for x in (i, f, o)), "0 < i, f, o < 1", your_answer=gates)
    expect(np.all(np.abs(g) < 1), "-1 < g < 1", your_answer=g)

@cell.property("forget gate open, input gate shut: the cell stays as it is", seed=SEEDS,
               hint="the order of the quarters of z is i, f, g, o")
def remembers(impl, seed):
    Z, C = step_of(seed)
    Z[:, :3], Z[:, 3:6] = -50, 50
    expect_close(impl.lstm_gates(Z, C)[1], C, "the cell after the step")

@cell.property("it agrees with a calculation by hand", seed=SEEDS,
               hint="one number at a time: (13.1), then (13.2)")
def step_by_hand(impl, seed):
    Z, C = step_of(seed)
    h, c, gates = impl.lstm_gates(Z, C)
    for row in range(2):
        for k in range(3):
            i, f, o = (1 / (1 + math.exp(-Z[row, k + 3 * q])) for q in (0, 1, 3))
            g = math.tanh(Z[row, k + 6])
            new = f * C[row, k] + i * g
            expect_close([h[row, k], c[row, k]], [o * math.tanh(new), new], "h and c")
            expect_close(gates[row, k::3], np.array([i, f, g, o]), "the gates, in order")

ORDER = "np.split(Z, 4, axis=1)"
cell.mutant("lstm_gates", ORDER, "np.array(np.split(Z, 4, axis=1))[[0, 2, 1, 3]]",
            "gates in TensorFlow's order: i, g, f, o")
cell.mutant("lstm_gates", ORDER, "np.array(np.split(Z, 4, axis=1))[[3, 1, 2, 0]]",
            "input and output gate exchanged")
cell.mutant("lstm_gates", "np.tanh(g)", "sigmoid(g)", "a sigmoid where g has a tanh")
cell.mutant("lstm_gates", "sigmoid(f)", "np.tanh(f)", "a tanh where the forget gate has a sigmoid")
cell.mutant("lstm_gates", "o * np.tanh(c)", "o * c", "the tanh of the cell is left out")
cell.mutant("lstm_gates", "f * C + i * g", "f * C + (1 - f) * g",
            "the input gate is 1 - f: that is a GRU's")
cell.mutant("lstm_gates", "sigmoid(f)", "sigmoid(f + 1)",
            "1 is added to the forget gate's bias a second time")

back = Exercise("ch13.back", REFERENCE, ["lstm_gates_backward"], "The step back", "13.3")

def step_back(seed):
    """-> arguments of lstm_gates_backward, Z."""
    Z, before = step_of(seed)
    _, after, gates = ch13_elmo.lstm_gates(Z, before)
    dh, dc = np.random.default_rng(seed + 1).standard_normal((2, 2, 3))
    return (dh, dc, before, after, gates), Z

@back.property("it is the step's slope, along z and along the cell before", seed=SEEDS,
               hint="h depends on the cell, too: dc is more than what comes from the next step")
def slope(impl, seed):
    (dh, dc, before, after, gates), Z = step_back(seed)
    dZ, dbefore = impl.lstm_gates_backward(dh, dc, before, after, gates)
    rng, eps = np.random.default_rng(seed + 2), 1e-6
    for name, point, grad in (("z", Z, dZ), ("the cell before", before, dbefore)):
        line, values = rng.standard_normal(point.shape), []
        for sign in (1, -1):
            moved = point + sign * eps * line
            h, c, _ = ch13_elmo.lstm_gates(*((moved, before) if name == "z" else (Z, moved)))
            values.append(float((h * dh + c * dc).sum()))
        expect_close(float((grad * line).sum()), (values[0] - values[1]) / (2 * eps),
                     f"the slope along {name}", rtol=1e-5, atol=1e-6)

@back.property("it agrees with a calculation by hand", seed=SEEDS,
               hint="one number at a time: dc first, then the four of (13.3)")
def back_by_hand(impl, seed):
    (dh, dc, before, after, gates), _ = step_back(seed)
    dZ, dbefore = impl.lstm_gates_backward(dh, dc, before, after, gates)
    for row in range(2):
        for k in range(3):
            i, f, g, o = gates[row, k::3]
            t = math.tanh(after[row, k])
            cell = dc[row, k] + dh[row, k] * o * (1 - t * t)
            want = [cell * g * i * (1 - i), cell * before[row, k] * f * (1 - f),
                    cell * i * (1 - g * g), dh[row, k] * t * o * (1 - o)]
            expect_close(dZ[row, k::3], np.array(want), "dz")
            expect_close(float(dbefore[row, k]), float(cell * f), "dc of the step before")

back.mutant("lstm_gates_backward", "dc + dh * o * (1 - tanh ** 2)", "dc",
            "what h has from the cell is forgotten")
back.mutant("lstm_gates_backward", "dc + dh * o * (1 - tanh ** 2)", "dh * o * (1 - tanh ** 2)",
            "what comes from the next step's cell is forgotten")
back.mutant("lstm_gates_backward", "1 - tanh ** 2", "1 - after ** 2",
            "tanh's slope from c in place of tanh(c)")
back.mutant("lstm_gates_backward", "dc * before * f * (1 - f)", "dc * after * f * (1 - f)",
            "the cell after the step in place of the one before")
back.mutant("lstm_gates_backward", "dc * i * (1 - g ** 2)", "dc * i * g * (1 - g)",
            "the sigmoid's slope for g, which is a tanh")
back.mutant("lstm_gates_backward", "dh * tanh * o * (1 - o)", "dh * after * o * (1 - o)",
            "c in place of tanh(c) at the output gate")
back.mutant("lstm_gates_backward", "dc * f", "dc", "the way back does not pass the forget gate")

layer = Exercise("ch13.layer", REFERENCE, ["lstm"], "A layer over padded sequences", "13.1, 13.2")

@layer.property("padding has no states, and what stands there changes nothing", seed=SEEDS,
                lengths=LENGTHS, hint="a sequence is over at t = its length")
def padding_changes_nothing(impl, seed, lengths):
    X, *rest = layer_of(seed, lengths)
    H, state, _ = impl.lstm(X, *rest)
    outside = np.arange(len(X))[:, None] >= np.array(lengths)
    expect_close(H[outside], np.zeros((outside.sum(), 2)), "states in the padding", **CLOSE)
    Y = X.copy()
    Y[outside] = -7
    again, other, _ = impl.lstm(Y, *rest)
    expect_close(again, H, "the states with another padding", **CLOSE)
    expect_close(np.array(other), np.array(state), "the last states", **CLOSE)

@layer.property("the state at the end is that after each sequence's own last word", seed=SEEDS,
                lengths=LENGTHS, hint="shorter sequences end earlier; an empty one has its start")
def own_end(impl, seed, lengths):
    X, _, W, U, b, start = layer_of(seed, lengths)
    _, (h, c), _ = impl.lstm(X, np.array(lengths), W, U, b, start)
    for i, n in enumerate(lengths):
        one, cells = start[0][i:i + 1], start[1][i:i + 1]
        for t in range(n):
            one, cells, _ = ch13_elmo.lstm_gates(X[t, i:i + 1] @ W + one @ U + b, cells)
        expect_close(h[i], one[0], f"h after the last word of sequence {i}", **CLOSE)
        expect_close(c[i], cells[0], f"c after the last word of sequence {i}", **CLOSE)

@layer.property("it agrees with the steps one by one", seed=SEEDS, lengths=LENGTHS,
                hint="z = x W + h U + b, with h and c of the step before")
def steps_one_by_one(impl, seed, lengths):
    X, n, W, U, b, (h, c) = layer_of(seed, lengths)
    H = impl.lstm(X, n, W, U, b, (h, c))[0]
    for t in range(max(lengths)):
        h, c, _ = ch13_elmo.lstm_gates(X[t] @ W + h @ U + b, c)
        expect_close(H[t][t < n], h[t < n], f"the states at word {t}", **CLOSE)

layer.mutant("lstm", "t < lengths", "t <= lengths", "one step into the padding")
layer.mutant("lstm", "np.where(live, x, 0)", "x", "states go on through the padding")
layer.mutant("lstm", "lstm_gates(Z[t] + h @ U, c)", "lstm_gates(Z[t], c)",
             "the state is not fed back")
layer.mutant("lstm", "lstm_gates(Z[t] + h @ U, c)", "lstm_gates(Z[t] + c @ U, c)",
             "the cell is fed back in place of the state")
layer.mutant("lstm", "X @ W + b", "X @ W", "the bias is left out")
layer.mutant("lstm", "last_states(H, C, lengths, start)", "(H[-1], C[-1])",
             "the state at the end of the padding, not of the sequence")
layer.mutant("last_states", "lengths - 1", "lengths - 2", "the state after the last word but one")

turn = Exercise("ch13.reverse", REFERENCE, ["reverse_padded"], "Read backward")

@turn.property("twice is nothing", lengths=LENGTHS, hint="the padding stays where it is")
def twice(impl, lengths):
    X = np.arange((max(lengths) + 1) * len(lengths)).reshape(-1, len(lengths))
    n = np.array(lengths)
    expect_close(impl.reverse_padded(impl.reverse_padded(X, n), n), X, "turned twice")

@turn.property("the first word of each is its last", lengths=LENGTHS,
               hint="the last word of a sequence is at its length - 1, not at T - 1")
def first_is_last(impl, lengths):
    X = np.arange((max(lengths) + 1) * len(lengths)).reshape(-1, len(lengths))
    got = impl.reverse_padded(X, np.array(lengths))
    for i, n in enumerate(lengths):
        expect_close(got[:n, i], X[:n, i][::-1], f"sequence {i}, turned")
        expect_close(got[n:, i], X[n:, i], f"the padding of sequence {i}")

WHERE = "np.where(t < lengths, lengths - 1 - t, t)"
turn.mutant("reverse_padded", WHERE, "np.where(t < lengths, len(X) - 1 - t, t)",
            "turned about the end of the padding")
turn.mutant("reverse_padded", WHERE, "np.broadcast_to(len(X) - 1 - t, (len(X), X.shape[1]))",
            "X[::-1]: the padding comes first")
turn.mutant("reverse_padded", WHERE, "np.where(t < lengths, lengths - t, t)", "one place too far")

model = Exercise("ch13.models", REFERENCE, ["predictions"], "What each model predicts", "13.4")

def models(seed, lengths, V=7, d=3):
    """-> P of one layer, ids (T, B), lengths; padding is word 0, which also is a word."""
    rng = np.random.default_rng(seed)
    P = ch13_elmo.initial_bilm(V, d, 1, rng, dtype=np.float64)
    n = np.array([*lengths, 3])
    ids = rng.integers(0, V, (n.max() + 1, len(n)))
    return P, np.where(np.arange(len(ids))[:, None] < n, ids, 0), n

@model.property("each word but the first is predicted, once", seed=SEEDS, lengths=LENGTHS,
                hint="the first word has nothing before it, the padding is no word")
def each_once(impl, seed, lengths):
    P, ids, n = models(seed, lengths)
    H, words, *_ = impl.predictions(P, ids, n, "forward")
    want = [ids[t, i] for t in range(1, len(ids)) for i in range(len(n)) if t < n[i]]
    expect_close(words, np.array(want, np.int64), "the words, place by place")
    expect(len(H) == len(words), "one state a word", your_answer=len(H), expected=len(words))

@model.property("a state does not depend on the word that it predicts, nor on later ones",
                seed=SEEDS, at=st.integers(1, 2), hint="predict w_t from the state after w_{t-1}")
def does_not_see_it(impl, seed, at):
    P, ids, n = models(seed, [])
    other = ids.copy()
    other[at:3] = (other[at:3] + 1) % 7
    one, two = (impl.predictions(P, x, n, "forward")[0] for x in (ids, other))
    expect_close(two[:at], one[:at], f"the states that predict words 1 to {at}")

@model.property("it agrees with the layer's states", seed=SEEDS, lengths=LENGTHS,
                hint="state t - 1 predicts word t, in the direction's own layer")
def states_of_the_layer(impl, seed, lengths):
    P, ids, n = models(seed, lengths)
    for way in ("forward", "backward"):
        H = ch13_elmo.lstm(P["tokens"][ids], n, *(P[f"{way}.0.{x}"] for x in "WUb"))[0]
        want = [H[t - 1, i] for t in range(1, len(ids)) for i in range(len(n)) if t < n[i]]
        expect_close(impl.predictions(P, ids, n, way)[0], np.array(want), f"states, {way}")

@model.property("the state to carry on with is that before the last word", seed=SEEDS,
                lengths=LENGTHS, hint="the last word comes first in the next window")
def carries(impl, seed, lengths):
    P, ids, n = models(seed, lengths)
    ends = impl.predictions(P, ids, n, "forward")[2]
    weights = [P[f"forward.0.{x}"] for x in "WUb"]
    want = ch13_elmo.lstm(P["tokens"][ids], np.maximum(n - 1, 0), *weights)[1]
    expect_close(np.array(ends[0]), np.array(want), "h and c at the end")

model.mutant("predictions", "ids[1:][real]", "ids[:-1][real]",
             "the word that goes in is to be predicted: a copy")
model.mutant("predictions", "np.arange(len(ids) - 1)[:, None] < lengths - 1",
             "np.arange(len(ids) - 1)[:, None] < lengths", "the first place of the padding, too")
model.mutant("predictions", "np.arange(len(ids) - 1)[:, None] < lengths - 1",
             "np.arange(len(ids) - 1)[:, None] < len(ids)", "the padding is predicted")
model.mutant("predictions", "input_vectors(P, ids[:-1], letters)",
             "input_vectors(P, ids[1:], letters)", "the state has seen what it predicts")
model.mutant("predictions", "np.maximum(lengths - 1, 0)", "np.minimum(lengths, len(ids) - 1)",
             "the last word goes in twice where states are carried on")

mix = Exercise("ch13.mix", REFERENCE, ["scalar_mix", "scalar_mix_backward"], "Mix the layers",
               "13.5")

def mixture(seed):
    """-> layers (3, 2, 4), v (3,), gamma."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((3, 2, 4)), 2 * rng.standard_normal(3), float(rng.uniform(0.5, 2))

@mix.property("a v far above the others picks its layer", seed=SEEDS, pick=st.integers(0, 2),
              hint="s = softmax(v)")
def picks(impl, seed, pick):
    layers, _, gamma = mixture(seed)
    v = np.where(np.arange(3) == pick, 60.0, 0.0)
    expect_close(impl.scalar_mix(layers, v, gamma)[0], gamma * layers[pick], "the mix")

@mix.property("the gradient is the mix's slope", seed=SEEDS,
              hint="v acts through a softmax: ds, then s (ds - <s, ds>)")
def mix_slope(impl, seed):
    layers, v, gamma = mixture(seed)
    rng, eps = np.random.default_rng(seed + 1), 1e-6
    dout = rng.standard_normal((2, 4))
    grads = impl.scalar_mix_backward(dout, impl.scalar_mix(layers, v, gamma)[1])
    point = [layers, v, np.array(gamma)]
    for k, name in enumerate(("the layers", "v", "gamma")):
        line, values = rng.standard_normal(point[k].shape), []
        for sign in (1, -1):
            moved = [p + sign * eps * line if j == k else p for j, p in enumerate(point)]
            values.append(float((impl.scalar_mix(*moved)[0] * dout).sum()))
        expect_close(float(np.sum(grads[k] * line)), (values[0] - values[1]) / (2 * eps),
                     f"the slope along {name}", rtol=1e-5, atol=1e-6)

@mix.property("it agrees with a calculation by hand", seed=SEEDS, hint="(13.5), layer by layer")
def mix_by_hand(impl, seed):
    layers, v, gamma = mixture(seed)
    e = [math.exp(x) for x in v]
    want = sum(gamma * x / sum(e) * layer for x, layer in zip(e, layers, strict=True))
    expect_close(impl.scalar_mix(layers, v, gamma)[0], want, "equation 13.5")

mix.mutant("scalar_mix", "softmax(v)", "v / v.sum()", "the weights are divided, not softmaxed")
mix.mutant("scalar_mix", "softmax(v)", "np.exp(v)", "the weights do not add up to 1")
mix.mutant("scalar_mix", "gamma * mean", "mean", "gamma is left out")
mix.mutant("scalar_mix_backward", "s * (ds - s @ ds)", "ds", "the softmax has no way back")
mix.mutant("scalar_mix_backward", "s * (ds - s @ ds)", "s * (1 - s) * ds",
           "the softmax is taken for a sigmoid: only its diagonal")
mix.mutant("scalar_mix_backward", "gamma * np.tensordot(layers, dout, dout.ndim)",
           "np.tensordot(layers, dout, dout.ndim)", "gamma is missing on the way back to v")
