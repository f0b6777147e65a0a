"""Chapter 13: the LSTM there and back, two language models, the mix; twins; torch's own numbers."""
import inspect
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    assert_close,
    assert_gradient,
    emulated,
    every_backend,
    every_order,
    every_twin,
    on_emulator,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import emulator
from primer import ch13_elmo as chapter
from primer import claims
from primer.ch13_elmo import (
    bilm_loss_grad,
    both_ways,
    elmo_layers,
    initial_bilm,
    lstm,
    lstm_backward,
    lstm_gates,
    predictions,
    reverse_padded,
    scalar_mix,
    scalar_mix_backward,
    softmax_loss_grad,
    stack,
    train_bilm,
)
from primer.ch13_elmo_inputs import spelling
from primer.ch13_elmo_training import pad, sentence_batches, stream_batches
from primer.exercises.ch13_elmo import LENGTHS, layer_of, mixture

every_layer = every_backend("ch13_elmo", "lstm", "lstm_backward")
every_long_layer = every_backend("ch13_elmo", "lstm", "lstm_backward", orders=())
every_softmax = every_backend("ch13_elmo", "softmax_loss_grad")
every_twin_layer = every_twin("ch13_elmo", "lstm", "lstm_backward")
every_twin_softmax = every_twin("ch13_elmo", "softmax_loss_grad")
every_numba = every_twin("ch13_elmo", "adagrad", "scatter_add", orders=())

TOLERANCE = {np.dtype(np.float64): {"rtol": 1e-9, "atol": 1e-11},
             np.dtype(np.float32): {"rtol": 2e-4, "atol": 3e-6}}
SINGLE = TOLERANCE[np.dtype(np.float32)]


def tolerance(backend, x):
    return SINGLE if emulated(backend) else TOLERANCE[x.dtype]


def language(seed, lengths=(5, 3, 1, 4), V=8, d=4, layers=2, letters=False):
    """-> P in float64, ids (T, B), lengths."""
    r = np.random.default_rng(seed)
    P = initial_bilm(V, d if not letters else 16, layers, r, letters, np.float64)
    P["outputs.b"] += r.standard_normal(V)
    return P, *pad([r.integers(0, V, n) for n in lengths])


def words_of(V):
    return spelling([f"{'ab' * (k % 4)}{k}" for k in range(V)])


# 1. The equations.

def spec_lstm(X, lengths, W, U, b, state):
    """Each sequence for itself, number by number -> dict (t, row): h, last h, last c."""
    d, states, ends = len(U), {}, []
    for row, n in enumerate(lengths):
        h, c = (list(map(float, s[row])) for s in state)
        for t in range(n):
            z = [float(sum(X[t, row, j] * W[j, k] for j in range(len(W)))
                       + sum(h[j] * U[j, k] for j in range(d)) + b[k]) for k in range(4 * d)]
            old, h = c, [0.0] * d
            c = [0.0] * d
            for k in range(d):
                i, f, o = (1 / (1 + math.exp(-z[k + q * d])) for q in (0, 1, 3))
                c[k] = f * old[k] + i * math.tanh(z[k + 2 * d])
                h[k] = o * math.tanh(c[k])
            states[t, row] = h
        ends.append((h, c))
    return states, ends


@every_layer
@given(seed=st.integers(0, 999), lengths=LENGTHS)
def test_a_layer_is_the_equation(backend, seed, lengths):
    arguments = layer_of(seed, lengths)
    H, state, _ = backend.lstm(*arguments)
    states, ends = spec_lstm(*arguments)
    want = np.zeros(H.shape)
    for place, h in states.items():
        want[place] = h
    close = tolerance(backend, arguments[0])
    assert_close(H, want, **close)
    assert_close(np.array(state), np.array(ends).transpose(1, 0, 2), **close)


def spec_bilm(P, sequences):
    """The mean of -ln p over both directions, one layer, no batch, no padding -> float."""
    losses = []
    for way, step in (("forward", 1), ("backward", -1)):
        for s in sequences:
            h = c = np.zeros((1, P["outputs"].shape[1]))
            s = s[::step]
            for word, then in zip(s, s[1:], strict=False):
                x = P["tokens"][word][None]
                h, c, _ = lstm_gates(x @ P[f"{way}.0.W"] + h @ P[f"{way}.0.U"]
                                     + P[f"{way}.0.b"], c)
                e = np.exp(P["outputs"] @ h[0] + P["outputs.b"])
                losses.append(-math.log(e[then] / e.sum()))
    return float(np.mean(losses))


@given(seed=st.integers(0, 999), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_the_loss_is_the_equation(seed, lengths):
    P, ids, n = language(seed, [*lengths, 2], layers=1)
    got, _, _ = bilm_loss_grad(P, both_ways(ids, n))
    assert_close(got, spec_bilm(P, [ids[:m, i] for i, m in enumerate(n)]))


@every_softmax
@given(seed=st.integers(0, 999), n=st.integers(0, 4), V=st.integers(1, 40))
def test_errors_are_the_equation(backend, seed, n, V):
    r = np.random.default_rng(seed)
    H, A, a = r.standard_normal((n, 3)), r.standard_normal((V, 3)), r.standard_normal(V)
    words, g = r.integers(0, V, n), -0.7
    losses, dH, dA, da = backend.softmax_loss_grad(H, A, a, words, g)
    e = np.exp(H @ A.T + a)
    p = e / e.sum(axis=1, keepdims=True)
    close = tolerance(backend, H)
    assert_close(losses, np.array([-math.log(p[i, w]) for i, w in enumerate(words)]), **close)
    p[np.arange(n), words] -= 1
    for got, want in ((dH, g * p @ A), (dA, g * p.T @ H), (da, g * p.sum(axis=0))):
        assert_close(got, want, **close)


# 2. The text's statements.

def test_the_claims_have_their_verdicts():
    rows = claims.rows(13)
    assert [r["line"] for r in rows if r["verdict"] == "wrong"] == [1214, 1293]
    assert [r["line"] for r in rows if r["verdict"] == "right"] == [
        224, 228, 392, 394, 1197, 1209, 1240, 1264, 1271, 1280]


# 3. Properties.

@every_layer
@given(seed=st.integers(0, 999), lengths=LENGTHS)
def test_states_are_below_1_and_see_no_later_word(backend, seed, lengths):
    X, *rest = layer_of(seed, lengths)
    H = backend.lstm(X, *rest)[0]
    assert np.all(np.abs(H) <= 1)
    t = max(lengths) // 2
    Y = X.copy()
    Y[t:] -= 2
    assert_close(backend.lstm(Y, *rest)[0][:t], H[:t], **tolerance(backend, X))


@every_layer
@given(seed=st.integers(0, 999), cut=st.integers(1, 4))
def test_a_carried_state_goes_on(backend, seed, cut):
    """A text in two pieces, the second from the first one's last state, is the text."""
    X, _, W, U, b, start = layer_of(seed, [5, 5])
    X = X[:5]
    H, end, _ = backend.lstm(X, [5, 5], W, U, b, start)
    one, state, _ = backend.lstm(X[:cut], [cut] * 2, W, U, b, start)
    two, last, _ = backend.lstm(X[cut:], [5 - cut] * 2, W, U, b, state)
    close = tolerance(backend, X)
    assert_close(np.concatenate([one, two]), H, **close)
    assert_close(np.array(last), np.array(end), **close)


@given(seed=st.integers(0, 999))
def test_forward_sees_the_left_and_backward_the_right(seed):
    P, ids, n = language(seed)
    layers = elmo_layers(P, ids, n)
    assert layers.shape == (3, *ids.shape, 8)
    other = ids.copy()
    other[2, 0] = (other[2, 0] + 1) % 8
    moved = np.abs(elmo_layers(P, other, n) - layers)[:, :, 0] > 1e-12           # (J, T, 2 d)
    assert not moved[1:, :2, :4].any() and moved[1:, 2:5, :4].any(axis=2).all()
    assert not moved[1:, 3:, 4:].any() and moved[1:, :3, 4:].any(axis=2).all()
    assert not moved[0, [0, 1, 3, 4]].any() and moved[0, 2].any()
    assert not (elmo_layers(P, other, n) - layers)[:, :, 1:].any()               # other sequences


@given(seed=st.integers(0, 999))
def test_read_backward_with_swapped_weights_it_is_swapped(seed):
    P, ids, n = language(seed)
    swapped = {(name.replace("forward", "x").replace("backward", "forward").replace(
        "x", "backward")): x for name, x in P.items()}
    got = elmo_layers(swapped, reverse_padded(ids, n), n)
    want = np.stack([reverse_padded(x, n) for x in elmo_layers(P, ids, n)])
    assert_close(got, np.concatenate([want[..., 4:], want[..., :4]], axis=3))
    loss = bilm_loss_grad(P, both_ways(ids, n))[0]
    assert_close(bilm_loss_grad(swapped, both_ways(reverse_padded(ids, n), n))[0], loss)


@given(seed=st.integers(0, 999), more=st.integers(1, 4), fill=st.integers(0, 7))
def test_padding_changes_nothing(seed, more, fill):
    """More of it, and with other words in it: the same loss, gradients and layers."""
    P, ids, n = language(seed)
    wide = np.vstack([ids, np.zeros((more, 4), int)])
    wide = np.where(np.arange(len(wide))[:, None] < n, wide, fill)
    loss, grads, _ = bilm_loss_grad(P, both_ways(ids, n))
    other, more_grads, _ = bilm_loss_grad(P, both_ways(wide, n))
    assert_close(other, loss)
    for name in P:
        assert_close(more_grads[name], grads[name], atol=1e-11)
    layers = elmo_layers(P, wide, n)
    assert_close(layers[:, :len(ids)], elmo_layers(P, ids, n))
    assert not layers[:, len(ids):].any()


@given(seed=st.integers(0, 999))
def test_the_loss_is_the_mean_of_its_sequences(seed):
    P, ids, n = language(seed, (5, 3, 2))
    each = [bilm_loss_grad(P, both_ways(ids[:m, i:i + 1], [m]))[0] for i, m in enumerate(n)]
    assert_close(bilm_loss_grad(P, both_ways(ids, n))[0], float(each @ (n - 1) / (n - 1).sum()))


def test_a_second_layer_of_zeros_adds_nothing():
    P, ids, n = language(3)
    P["forward.1.W"][:], P["forward.1.U"][:], P["forward.1.b"][:] = 0, 0, 0
    X = P["tokens"][ids]
    one, two = stack(P, X, n, "forward")[0]
    assert_close(one, two)


@given(seed=st.integers(0, 999), pick=st.integers(0, 2))
def test_a_mix_is_between_its_layers(seed, pick):
    layers, v, gamma = mixture(seed)
    mixed = scalar_mix(layers, v, gamma)[0] / gamma
    assert np.all(mixed <= layers.max(axis=0) + 1e-12)
    assert np.all(mixed >= layers.min(axis=0) - 1e-12)
    assert_close(scalar_mix(layers, v + 3.0, gamma)[0], gamma * mixed)
    one_hot = np.where(np.arange(3) == pick, 700.0, 0.0)
    assert_close(scalar_mix(layers, one_hot)[0], layers[pick])


def test_a_batch_of_many_is_what_each_is_alone():
    P, ids, n = language(5, (6, 2, 4))
    whole = elmo_layers(P, ids, n)
    for i, m in enumerate(n):
        assert_close(elmo_layers(P, ids[:m, i:i + 1], [m])[:, :, 0], whole[:, :m, i])


def test_the_start_is_as_said():
    P = initial_bilm(50, 16, 2, np.random.default_rng(0))
    assert P.keys() == {"tokens", "outputs", "outputs.b", *(
        f"{way}.{l}.{x}" for way in ("forward", "backward") for l in (0, 1) for x in "WUb")}
    for way in chapter.WAYS:
        b = P[f"{way}.1.b"].reshape(4, 16)
        assert np.array_equal(b, np.repeat([[0], [1], [0], [0]], 16, axis=1))
        W, U = P[f"{way}.0.W"], P[f"{way}.0.U"]
        assert not np.array_equal(W, U) and 0.2 < np.abs(W).max() <= 0.25 >= np.abs(U).max() > 0.2
    assert all(x.dtype == np.float32 for x in P.values())
    assert "letters" in initial_bilm(9, 16, 1, np.random.default_rng(0), letters=True)


# 4. Gradients.

@every_long_layer
@given(seed=st.integers(0, 999), lengths=LENGTHS)
def test_gradient_of_a_layer(backend, seed, lengths):
    X, n, W, U, b, (h, c) = layer_of(seed, lengths)
    up = np.random.default_rng(seed + 1).standard_normal((*X.shape[:2], 2))
    grads = backend.lstm_backward(up, backend.lstm(X, n, W, U, b, (h, c))[2])
    point = [X, W, U, b, h, c]
    for k, x in enumerate(point):
        def along(p, k=k):
            X, W, U, b, h, c = (*point[:k], p, *point[k + 1:])
            return float((backend.lstm(X, n, W, U, b, (h, c))[0] * up).sum())
        assert_gradient(along, grads[k], x, seed, eps=1e-5, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("letters", [False, True])
@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_gradient_of_the_language_models(letters, seed):
    P, ids, n = language(seed, letters=letters)
    table = words_of(8) if letters else None
    _, grads, _ = bilm_loss_grad(P, both_ways(ids, n), letters=table, g=-1.3)
    assert grads.keys() == P.keys()
    for name in P:
        def along(x, name=name):
            return bilm_loss_grad(P | {name: x}, both_ways(ids, n), letters=table, g=-1.3)[0]
        assert_gradient(along, grads[name], P[name], seed, eps=1e-5, rtol=1e-6, atol=1e-8)


@given(seed=st.integers(0, 999))
def test_gradient_of_the_mix(seed):
    layers, v, gamma = mixture(seed)
    up = np.random.default_rng(seed).standard_normal(layers.shape[1:])
    dlayers, dv, dgamma = scalar_mix_backward(up, scalar_mix(layers, v, gamma)[1])
    for x, grad, at in ((layers, dlayers, lambda x: (x, v, gamma)),
                        (v, dv, lambda x: (layers, x, gamma)),
                        (np.array(gamma), np.array(dgamma), lambda x: (layers, v, float(x)))):
        def along(p, at=at):
            return float((scalar_mix(*at(p))[0] * up).sum())
        assert_gradient(along, grad, x, seed, eps=1e-5, rtol=1e-6, atol=1e-8)


# Training.

def pattern(r, n=60):
    """Sentences in which the word after a mark tells what stands before it, and back."""
    pairs = [(2, 4), (3, 5)]
    return [np.array([0, a, *r.integers(6, 8, 2), b, 1])
            for a, b in (pairs[k] for k in r.integers(0, 2, n))]


@every_long_layer
def test_training_learns_what_is_far_away(backend):
    """The last word follows from the first, three words before: no bigram knows it."""
    r = np.random.default_rng(0)
    batches = sentence_batches(pattern(r), 20)
    P = initial_bilm(8, 16, 1, r)
    history = train_bilm(P, batches, 60, r, rate=0.2, twin=backend)
    # each sentence: ln 2 for its kind and twice ln 2 for the two words between, a mean over 5
    least = 3 * math.log(2) / 5
    assert history.shape == (60,) and history[0] > 1.2 and history[-1] < least + 0.08
    test = sentence_batches(pattern(r, 200), 200)[0]
    assert bilm_loss_grad(P, both_ways(*test))[0] < least + 0.08


def test_training_from_letters_learns():
    """Words that end alike stand alike: what is learnt of some helps with one never seen."""
    r, stems = np.random.default_rng(0), ["bal", "cor", "dim", "fen", "gul", "hap"]
    words = ["<s>", "</s>", "sees", "seen", *(s + e for s in stems for e in ("o", "i"))]
    letters = spelling(words)

    def sentences(some):        # a word in -o sees, one in -i is seen
        return [np.array([0, words.index(stems[k] + "oi"[e]), 2 + e, 1]) for k in some
                for e in (0, 1) for _ in range(4)]
    P = initial_bilm(len(words), 16, 1, r, letters=True)
    train_bilm(P, sentence_batches(sentences(range(5)), 8), 40, r, 0.1, letters=letters)
    ids, lengths = pad(sentences([5]))                          # hapo, hapi: never seen
    H, told, *_ = predictions(P, ids, lengths, "forward", letters=letters)
    scores = (H @ P["outputs"].T + P["outputs.b"]).reshape(3, -1, len(words))[1]
    assert np.array_equal(scores[:, 2:4].argmax(axis=1) + 2, ids[2]) and len(told) == 24


def test_training_is_reproducible_and_changes_p_in_place():
    r = np.random.default_rng(1)
    batches, runs = sentence_batches(pattern(r), 20), []
    for _ in range(2):
        P = initial_bilm(8, 6, 2, np.random.default_rng(2))
        kept = {name: x.copy() for name, x in P.items()}
        history = train_bilm(P, batches, 2, np.random.default_rng(3))
        assert all(not np.array_equal(P[name], kept[name]) for name in P)
        runs.append((P, history))
    assert np.array_equal(runs[0][1], runs[1][1])
    assert all(np.array_equal(runs[0][0][name], runs[1][0][name]) for name in P)


def test_windows_with_states_carried_on_see_what_was_before():
    """The same text in windows: with the states the loss is that of the whole text."""
    P, *_ = language(4, layers=2)
    text = np.random.default_rng(0).integers(0, 8, 42)
    windows, whole = stream_batches(text, 2, 5), stream_batches(text, 2, 100)
    assert len(whole) == 1
    want, _, ends = bilm_loss_grad(P, both_ways(*whole[0]))
    states, total, alone = (None, None), 0.0, 0.0
    for k, window in enumerate(windows):
        ahead, back = both_ways(*window)[0], both_ways(*windows[-1 - k])[1]
        loss, _, states = bilm_loss_grad(P, (ahead, back), states)
        total += loss * (len(ahead[0]) + len(back[0]) - 2) / 2
        alone += bilm_loss_grad(P, both_ways(*window))[0] * (len(window[0]) - 1)
    assert_close(total / 20, want)
    assert abs(alone / 20 - want) > 1e-5
    for got, end in zip(states, ends, strict=True):
        assert_close(np.array(got), np.array(end))


def test_training_with_carried_states_learns_across_windows():
    """A text of period 7 in windows of 3: only a carried state can know what comes first."""
    text = np.tile([0, 1, 0, 2, 1, 0, 2, 2], 120)
    batches, losses = stream_batches(text, 4, 3), []
    for carry in (False, True):
        P = initial_bilm(3, 16, 1, np.random.default_rng(0))
        losses.append(train_bilm(P, batches, 12, np.random.default_rng(1), 0.2, carry=carry)[-1])
    assert losses[1] < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_last():
    r = np.random.default_rng(0)
    batches, P = sentence_batches(pattern(r), 20), initial_bilm(8, 6, 1, r)
    P["forward.0.U"][0, 0] = np.nan
    kept = {name: x.copy() for name, x in P.items()}
    with pytest.raises(FloatingPointError, match="epoch 0: the loss is nan"):
        train_bilm(P, batches, 3, r)
    assert all(np.array_equal(P[name], kept[name], equal_nan=True) for name in P)


# Errors.

@every_layer
def test_bad_layers_are_named(backend):
    X, n, W, U, b, state = layer_of(0, [3, 2])
    for change, words in (
            (dict(X=X[0]), "X: expected float words"), (dict(X=X[:0]), "X: expected float words"),
            (dict(X=X.astype(int)), "X: expected float words"),
            (dict(W=W[1:]), r"W: expected float64 of shape \(3, 8\)"),
            (dict(W=W.astype(np.float32)), "W: expected float64"),
            (dict(U=U[:, 1:]), r"U: expected float64 of shape \(2, 8\)"),
            (dict(b=b[1:]), r"b: expected float64 of shape \(8,\)"),
            (dict(lengths=[3]), "lengths: expected 2 integers"),
            (dict(lengths=[3, 5]), "lengths: expected integers from 0 to 4"),
            (dict(lengths=[3, -1]), "lengths: expected integers from 0 to 4"),
            (dict(state=state[:, :1]), r"state: expected two arrays \(2, 2\)")):
        arguments = dict(X=X, lengths=n, W=W, U=U, b=b, state=state) | change
        with pytest.raises(ValueError, match=words):
            backend.lstm(**arguments)


def test_bad_sequences_are_named():
    P, ids, n = language(0)
    for bad, lengths, words in (
            (ids[:0], n, "ids: expected words, sequences"), (ids[0], n, "ids: expected words, seq"),
            (ids, [1, 1, 0, 1], "lengths: expected a sequence of two words or more"),
            (ids, [9, 1, 1, 1], "lengths: expected integers from 0 to 5"),
            (ids, n[1:], "lengths: expected 4 integers"),
            (ids + 9, n, "ids: expected integers from 0 to 7"),
            (ids - 9, n, "ids: expected integers from 0")):
        with pytest.raises(ValueError, match=words):
            bilm_loss_grad(P, both_ways(bad, lengths))
        with pytest.raises(ValueError, match=words):
            elmo_layers(P, bad, lengths)
    for V, d, layers in ((0, 3, 1), (3, 0, 1), (3, 3, 0)):
        with pytest.raises(ValueError, match="V, d, layers: expected 1 or more"):
            initial_bilm(V, d, layers, np.random.default_rng(0))


# 5. Parity with torch; how it was made stands in tests/parity/ch13_elmo.py.

@pytest.fixture(scope="module")
def frozen():
    with np.load(Path(__file__).parent / "parity/ch13_elmo.npz", allow_pickle=False) as stored:
        return dict(stored)


@every_layer
def test_a_layer_equals_torchs(backend, frozen):
    """Packed sequences there, padded ones here: states, last states and all gradients."""
    weights = [frozen[name] for name in ("W", "U", "b")]
    start = frozen["h"], frozen["c"]
    H, end, cache = backend.lstm(frozen["X"], frozen["lengths"], *weights, start)
    close = {"rtol": 2e-5, "atol": 2e-6} if emulated(backend) else {"rtol": 1e-10}
    assert_close(H, frozen["H"], **close)
    assert_close(np.array(end), frozen["end"], **close)
    found = backend.lstm_backward(frozen["up"], cache)
    for name, got in zip(("X", "W", "U", "b", "h", "c"), found, strict=True):
        assert_close(got, frozen[f"d{name}"], **close)


def test_the_models_equal_torchs(frozen):
    """Two layers with a sum past the second, both directions, one softmax: loss and gradients."""
    P = {name.removeprefix("P/"): x for name, x in frozen.items() if name.startswith("P/")}
    loss, grads, _ = bilm_loss_grad(P, both_ways(frozen["ids"], frozen["read"]))
    assert_close(loss, float(frozen["loss"]), rtol=1e-11)
    assert grads.keys() == P.keys()
    for name in P:
        assert_close(grads[name], frozen[f"d/{name}"], rtol=1e-9)


@every_backend("ch13_elmo", "adagrad", orders=())
def test_steps_equal_torchs(backend, frozen):
    x, S = frozen["x"].copy(), np.full_like(frozen["x"], 0.1)
    for dx in frozen["steps"]:
        backend.adagrad(x, dx, S, 0.3)
    assert_close(x, frozen["stepped"], rtol=1e-9)


# 6. Twins.

def drawn_layer(T, B, k, d, dtype, seed=0):
    r = np.random.default_rng(seed)
    X, W, U, b = (r.normal(0, 0.5, s).astype(dtype) for s in ((T, B, k), (k, 4 * d), (d, 4 * d),
                                                              (4 * d,)))
    lengths = r.integers(0, T + 1, B)
    lengths[0] = T
    return X, lengths, W, U, b, r.normal(0, 0.5, (2, B, d)).astype(dtype)


def check_layer_of(backend, T, B, k, d, dtype):
    arguments = drawn_layer(T, B, k, d, dtype)
    up = np.random.default_rng(1).normal(0, 1, (T, B, d)).astype(dtype)
    (H, end, cache), (want, right, ours) = (m.lstm(*arguments) for m in (backend, chapter))
    close = tolerance(backend, H)
    assert_close(H, want, **close)
    assert_close(np.array(end), np.array(right), **close)
    assert H.dtype == dtype
    for got, part in zip(cache, ours, strict=True):
        assert_close(got, part, **close)
    for got, part in zip(backend.lstm_backward(up, cache), lstm_backward(up, ours), strict=True):
        assert got.dtype == dtype
        assert_close(got, part, rtol=close["rtol"], atol=10 * close["atol"])


@every_twin_layer
@pytest.mark.parametrize("d", [1, 31, 32, 33])
def test_twin_has_the_same_layer(backend, d):
    for T, B, k in ((1, 1, 1), (3, 9, 5)) if emulated(backend) else (
            (1, 1, 1), (3, 9, 5), (7, 33, 40)):
        check_layer_of(backend, T, B, k, d, np.float32)


@every_twin("ch13_elmo", "lstm", "lstm_backward", orders=())
@pytest.mark.parametrize("d", [1, 31, 33, 129])
def test_twin_has_the_same_layer_in_float64(backend, d):
    check_layer_of(backend, 6, 5, 7, d, np.float64)


@every_twin("ch13_elmo", "lstm", "lstm_backward", orders=())
def test_saturated_gates_and_nan(backend):
    """Sums far beyond where a gate is 0 or 1; and NaN stays NaN."""
    X, lengths, W, U, b, state = drawn_layer(4, 3, 5, 8, np.float32)
    for scale in (30, 1e4):
        check = [m.lstm(X * np.float32(scale), lengths, W, U, b, state)[0]
                 for m in (backend, chapter)]
        assert_close(*check, **SINGLE)
    X[0, 0, 0] = np.nan
    assert np.isnan(backend.lstm(X, lengths, W, U, b, state)[0][:, 0]).all()


@every_twin_softmax
@pytest.mark.parametrize("V", [1, 31, 32, 33, 127, 129, 257, 700])
def test_twin_has_the_same_errors(backend, V):
    for n in (1, 3) if emulated(backend) else (0, 1, 33):
        r = np.random.default_rng(V + n)
        H, A, a = (r.normal(0, 1, s).astype(np.float32) for s in ((n, 5), (V, 5), (V,)))
        words = r.integers(0, V, n)
        for got, want in zip(backend.softmax_loss_grad(H, A, a, words, 0.3),
                             softmax_loss_grad(H, A, a, words, 0.3), strict=True):
            assert got.dtype == np.float32
            assert_close(got, want, rtol=2e-4, atol=1e-5)


@every_numba
def test_blocks_and_threads_change_nothing(backend, threads, monkeypatch):
    """Small blocks of rows, a last one that is not full, one and two threads."""
    r = np.random.default_rng(0)
    H, A, a = (r.normal(0, 1, s) for s in ((70, 6), (900, 6), (900,)))
    words, found = r.integers(0, 900, 70), []
    want = softmax_loss_grad(H, A, a, words, 0.3)
    for room, count in ((1 << 22, 2), (900 * 16, 2), (900 * 16, 1), (1, 1)):
        threads(count)
        monkeypatch.setattr(backend, "ROOM", room)
        monkeypatch.setattr(backend, "LEAST", 100)
        found.append(backend.softmax_loss_grad(H, A, a, words, 0.3))
        for got, right in zip(found[-1], want, strict=True):
            assert_close(got, right, rtol=1e-10)
        again = backend.softmax_loss_grad(H, A, a, words, 0.3)
        assert all(x.tobytes() == y.tobytes() for x, y in zip(again, found[-1], strict=True))


@every_numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_twin_has_the_same_steps_and_sums(backend, dtype, threads, monkeypatch):
    monkeypatch.setattr(backend, "LEAST", 50)
    threads(2)
    r = np.random.default_rng(0)
    for shape in ((1,), (33, 7), (129,)):
        x, dx = (r.normal(0, 1, shape).astype(dtype) for _ in range(2))
        runs = [(x.copy(), np.full(shape, 0.1, dtype)) for _ in range(2)]
        for module, (own, S) in zip((backend, chapter), runs, strict=True):
            for _ in range(3):
                module.adagrad(own, dx, S, 0.3, 0.5)
        for got, want in zip(*runs, strict=True):
            assert_close(got, want, **TOLERANCE[np.dtype(dtype)])
        assert not np.array_equal(runs[0][0], x)
    for ids in (np.zeros((0, 3), int), r.integers(0, 4, (5, 3)), r.integers(0, 4, 9)):
        dX = r.normal(0, 1, (*ids.shape, 6)).astype(dtype)
        assert_close(backend.scatter_add(dX, ids, 4), chapter.scatter_add(dX, ids, 4),
                     **TOLERANCE[np.dtype(dtype)])


@every_twin("ch13_elmo", "lstm", "softmax_loss_grad", orders=())
@pytest.mark.parametrize("letters", [False, True])
def test_twin_has_the_same_models(backend, letters):
    P, ids, n = language(2, letters=letters)
    table = words_of(8) if letters else None
    P = {name: x.astype(np.float32) for name, x in P.items()}
    one, two = (bilm_loss_grad(P, both_ways(ids, n), letters=table, twin=m)
                for m in (backend, None))
    assert_close(one[0], two[0], rtol=1e-5)
    for name in P:
        assert_close(one[1][name], two[1][name], rtol=2e-4, atol=2e-6)


def test_twins_have_the_same_signatures():
    twin = emulator.load("ch13_elmo")
    for name in ("lstm", "lstm_backward", "softmax_loss_grad"):
        assert inspect.signature(getattr(twin, name)) == inspect.signature(getattr(chapter, name))


@every_order
def test_kernels_in_every_order(order):
    arguments = drawn_layer(3, 5, 4, 33, np.float32)
    up = np.ones((3, 5, 33), np.float32)
    r = np.random.default_rng(0)
    H, A, a = (r.normal(0, 1, s).astype(np.float32) for s in ((3, 5), (300, 5), (300,)))
    with emulator.running(**order):
        twin = emulator.load("ch13_elmo")
        got, _, cache = twin.lstm(*arguments)
        found = (got, *twin.lstm_backward(up, cache), *twin.softmax_loss_grad(H, A, a, [1, 299, 0]))
    got, _, cache = lstm(*arguments)
    want = (got, *lstm_backward(up, cache), *softmax_loss_grad(H, A, a, [1, 299, 0]))
    for x, y in zip(found, want, strict=True):
        assert_close(x, y, rtol=2e-4, atol=1e-5)


@on_emulator
@pytest.mark.parametrize("old, new", [
    ("if (e >= B * d)\n    return;\n  const int row", "if (e > B * d) return;\n  const int row"),
    ("    room[threadIdx.x / 32] = x;\n  __syncthreads();", "    room[threadIdx.x / 32] = x;\n"),
    ("  __syncthreads();                                // all have it", "  // all have it"),
    ("j < V; j += 256) {\n    s[j] += a[j];", "j <= V; j += 256) {\n    s[j] += a[j];")])
def test_a_kernel_without_its_bounds_or_barriers_is_found(old, new):
    r = np.random.default_rng(0)
    H, A, a = (r.normal(0, 1, s).astype(np.float32) for s in ((3, 5), (300, 5), (300,)))
    with pytest.raises(emulator.KernelError, match="RACE|OUT-OF-BOUNDS|UNINITIALISED"), \
            emulator.running(edits=((old, new),), order="random", seed=1, preempt=True):
        twin = emulator.load("ch13_elmo")
        twin.softmax_loss_grad(H, A, a, [1, 299, 0])
        twin.lstm(*drawn_layer(2, 5, 4, 33, np.float32))


def test_a_prediction_needs_the_words_before_it_only():
    """Each top state that predicts w_t is the same when w_t and all after it change."""
    P, ids, _ = language(9, (6, 6))
    n = np.array([6, 6])
    H = predictions(P, ids, n, "forward")[0].reshape(5, 2, -1)
    other = ids.copy()
    other[3:] = (other[3:] + 3) % 8
    moved = predictions(P, other, n, "forward")[0].reshape(5, 2, -1)
    assert_close(moved[:3], H[:3])
    assert np.abs(moved[3:] - H[3:]).min(axis=2).max() > 0
