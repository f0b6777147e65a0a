"""Chapter 6: word2vec with the full softmax: windows, skip-gram, CBOW, descent, training."""
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    EDGE_SIZES,
    assert_close,
    assert_gradient,
    backends,
    every_backend,
    every_twin,
)
from hypothesis import given
from hypothesis import strategies as st

from kernels import emulator
from primer import ch06_word2vec as chapter
from primer import claims, data
from primer.ch03_bow import bag_of_words
from primer.ch06_word2vec import (
    cbow_loss,
    cbow_loss_grad,
    context_vectors,
    context_vectors_backward,
    count_vocabulary,
    encode_corpus,
    falling_rates,
    initial_vectors,
    logsumexp,
    nearest_words,
    predict,
    predict_backward,
    share_mean,
    share_sum,
    skipgram_loss,
    skipgram_loss_grad,
    softmax,
    train_cbow,
    train_hybrid,
    train_skipgram,
    windows_word2vec_c,
)
from primer.exercises.ch06_word2vec import loss_by_hand

every_windows = every_backend("ch06_word2vec", "context_windows", "skipgram_pairs", "cbow_windows")
every_epoch = every_backend("ch06_word2vec", "skipgram_epoch", "cbow_epoch")
every_twin_windows = every_twin("ch06_word2vec", "context_windows", "skipgram_pairs")
every_twin_epoch = every_twin("ch06_word2vec", "skipgram_epoch", "cbow_epoch")
every_cuda_epoch = pytest.mark.parametrize("backend", [
    p for p in backends("ch06_word2vec", "cbow_epoch", orders=emulator.ORDERS)
    if hasattr(p.values[0], "SMALL")])
TEXTS = st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=5)
SHARES = (share_mean, share_sum)


def corpus(texts):
    """Lists of ids -> tokens (T,), starts (n + 1,)."""
    return np.array(sum(texts, []), np.int64), np.cumsum([0, *map(len, texts)])


def drawn(seed, V=6, d=4, n=9, dtype=np.float64):
    """-> W, U, targets (n,), indptr (n + 1,), contexts: windows of 1 to 5 words."""
    rng = np.random.default_rng(seed)
    W, U = rng.standard_normal((2, V, d)).astype(dtype)
    indptr = np.cumsum([0, *rng.integers(1, 6, n)])
    return W, U, rng.integers(0, V, n), indptr, rng.integers(0, V, indptr[-1])


# 1. The equation.

def spec_windows(texts, reach):
    """For each place, who is within its reach -> list of (word, neighbours)."""
    out, place = [], 0
    for text in texts:
        for t, word in enumerate(text):
            c = reach[place]
            out.append((word, [text[j] for j in range(len(text)) if 0 < abs(j - t) <= c]))
            place += 1
    return out


@every_windows
@given(texts=TEXTS, reach=st.lists(st.integers(1, 12), min_size=45, max_size=45))
def test_windows_are_the_equation(backend, texts, reach):
    tokens, starts = corpus(texts)
    for window in (np.array(reach[:len(tokens)], np.int64), 2):
        near = spec_windows(texts, np.full(45, 2) if np.ndim(window) == 0 else reach)
        indptr, contexts = backend.context_windows(tokens, starts, window)
        assert indptr.tolist() == [0, *np.cumsum([len(own) for _, own in near]).tolist()]
        assert contexts.tolist() == sum((own for _, own in near), [])
        assert indptr.dtype == contexts.dtype == np.int64
        centres, contexts = backend.skipgram_pairs(tokens, starts, window)
        assert centres.tolist() == [w for w, own in near for _ in own]
        targets, indptr, others = backend.cbow_windows(tokens, starts, window)
        assert targets.tolist() == [w for w, own in near if own]
        assert np.array_equal(others, contexts) and indptr.dtype == np.int64
        assert np.diff(indptr).tolist() == [len(own) for _, own in near if own]


@given(seed=st.integers(0, 999), T=st.integers(1, 20))
def test_skipgram_is_the_equation(seed, T):
    W, U, centres, _, contexts = drawn(seed)
    contexts = contexts[:len(centres)]
    want = sum(loss_by_hand(W[a], U, b) for a, b in zip(centres, contexts, strict=True)) / T
    assert_close(skipgram_loss(W, U, centres, contexts, T), want)


@pytest.mark.parametrize("share", SHARES)
@given(seed=st.integers(0, 999))
def test_cbow_is_the_equation(share, seed):
    W, U, targets, indptr, contexts = drawn(seed)
    want = []
    for word, a, b in zip(targets, indptr, indptr[1:], strict=False):
        h = np.zeros(W.shape[1])
        for w in contexts[a:b]:
            h += W[w] / (b - a if share is share_mean else 1)
        want.append(loss_by_hand(h, U, word))
    assert_close(cbow_loss(W, U, targets, indptr, contexts, share), np.mean(want))


def spec_epoch(W, U, examples, rates):
    """Steps of descent one number at a time: examples of (input ids, weight of each, word)."""
    V, d, losses = *W.shape, []
    for (ids, weight, word), rate in zip(examples, rates, strict=True):
        h = [sum(weight * W[w][k] for w in ids) for k in range(d)]
        s = [sum(U[j][k] * h[k] for k in range(d)) for j in range(V)]
        e = [math.exp(x - max(s)) for x in s]
        losses.append(-math.log(e[word] / sum(e)))
        error = [e[j] / sum(e) - (j == word) for j in range(V)]
        dh = [sum(error[j] * U[j][k] for j in range(V)) for k in range(d)]
        U = [[U[j][k] - rate * error[j] * h[k] for k in range(d)] for j in range(V)]
        W = [list(row) for row in W]
        for w in ids:
            W[w] = [W[w][k] - rate * weight * dh[k] for k in range(d)]
    return np.array(W), np.array(U), np.array(losses)


@every_epoch
@pytest.mark.parametrize("share", SHARES)
@given(seed=st.integers(0, 999))
def test_epochs_are_the_equation(backend, share, seed):
    W, U, targets, indptr, contexts = drawn(seed)
    rates = np.random.default_rng(seed).uniform(0, 0.5, len(targets))
    windows = [(own, 1 / len(own) if share is share_mean else 1.0, word) for word, own in
               zip(targets, np.split(contexts, indptr[1:-1]), strict=True)]
    got = backend.cbow_epoch(W, U, targets, indptr, contexts, rates, share)
    for a, b in zip(got, spec_epoch(W, U, windows, rates), strict=True):
        assert_close(a, b, rtol=1e-8)
    pairs = [([a], 1.0, b) for a, b in zip(targets, contexts, strict=False)]
    got = backend.skipgram_epoch(W, U, targets, contexts[:len(targets)], rates)
    for a, b in zip(got, spec_epoch(W, U, pairs, rates), strict=True):
        assert_close(a, b, rtol=1e-8)


# 2. The text's worked examples.

def iguana():
    documents = data.load_texts()["iguana"]["documents"]
    vocabulary, counts = count_vocabulary(documents)
    return vocabulary, counts, *encode_corpus(documents, vocabulary)


@every_windows
def test_the_pairs_of_iguana(backend):                                       # line 865 errs
    vocabulary, _, tokens, starts = iguana()
    words = list(vocabulary)
    for c, want in ((1, "the basked"), (2, "the basked on"), (3, "the basked on the"),
                    (4, "the basked on the rock"), (9, "the basked on the rock")):
        centres, contexts = backend.skipgram_pairs(tokens, starts, c)
        own = [words[i] for i in contexts[centres == vocabulary["iguana"]]]
        assert own == want.split() and own != "the basked on rock".split()
        assert c < 4 or list(dict.fromkeys(own)) == "the basked on rock".split()
    assert len(backend.skipgram_pairs(tokens, starts, 2)[0]) == 18           # T = 6 words


@every_windows
def test_cbow_predicts_iguana_once(backend):                                 # line 866
    vocabulary, _, tokens, starts = iguana()
    targets, indptr, contexts = backend.cbow_windows(tokens, starts, 4)
    (i,) = np.flatnonzero(targets == vocabulary["iguana"])
    assert indptr[i + 1] - indptr[i] == 5
    assert sum(vocabulary["iguana"] in own for own in np.split(contexts, indptr[1:-1])) == 5


def test_counts_and_their_order():
    vocabulary, counts, tokens, starts = iguana()
    assert list(vocabulary) == ["the", "iguana", "basked", "on", "rock"]
    assert counts.tolist() == [2, 1, 1, 1, 1] and counts.dtype == np.int64
    assert tokens.tolist() == [0, 1, 2, 3, 0, 4] and starts.tolist() == [0, 6]


def test_rare_words_go_and_windows_close_up():
    documents = ["a rare b", "b a", "", "b odd"]
    vocabulary, counts = count_vocabulary(documents, min_count=2)
    assert vocabulary == {"b": 0, "a": 1} and counts.tolist() == [3, 2]
    tokens, starts = encode_corpus(documents, vocabulary)
    assert tokens.tolist() == [1, 0, 0, 1, 0] and starts.tolist() == [0, 2, 4, 4, 5]
    centres, contexts = chapter.skipgram_pairs(tokens, starts, 1)
    assert list(zip(centres, contexts, strict=True)) == [(1, 0), (0, 1), (0, 1), (1, 0)]


def test_one_index_for_word_and_sum_says_nothing():                          # line 805 errs
    s = np.array([0.0, math.log(3)])
    assert_close(np.exp(s) / (2 * np.exp(s)), [0.5, 0.5])
    assert_close(softmax(s[None]), [[0.25, 0.75]])


def test_bat_has_one_vector():                                               # line 707 errs
    documents = data.load_texts()["bat"]["documents"]
    vocabulary, _ = count_vocabulary(documents)
    tokens, starts = encode_corpus(documents, vocabulary)
    assert [np.sum(tokens[a:b] == vocabulary["bat"]) for a, b in zip(starts, starts[1:],
                                                                     strict=False)] == [1, 1]


def test_the_claims_have_their_verdicts():
    rows = [(r["line"], r["verdict"]) for r in claims.rows(6)]
    assert sorted(n for n, v in rows if v == "wrong") == [707, 728, 805, 836, 865, 865, 866, 866,
                                                          887]
    assert {783, 793, 828, 844, 852, 866, 921} == {n for n, v in rows if v == "right"}


# 3. Properties.

@every_windows
@given(m=st.integers(0, 40), c=st.integers(1, 9))
def test_the_number_of_pairs(backend, m, c):
    centres, contexts = backend.skipgram_pairs(np.arange(m), [0, m], c)
    c = min(c, max(m - 1, 0))
    assert len(centres) == 2 * c * m - c * (c + 1)
    assert np.all(np.abs(centres - contexts) <= c) and not np.any(centres == contexts)
    assert Counter(zip(centres, contexts, strict=True)) == Counter(zip(contexts, centres,
                                                                       strict=True))


@given(seed=st.integers(0, 999))
def test_windows_of_word2vec_c_are_all_alike_probable(seed):
    drawn_windows = windows_word2vec_c(6000, 4, np.random.default_rng(seed))
    assert drawn_windows.shape == (6000,) and drawn_windows.dtype == np.int64
    assert set(drawn_windows) == {1, 2, 3, 4}
    assert np.all(np.abs(np.bincount(drawn_windows)[1:] - 1500) < 6 * math.sqrt(1500))


def test_a_near_word_counts_more_in_dynamic_windows():
    """A neighbour at distance j is kept with probability (c - j + 1) / c."""
    c, T = 4, 20_000
    windows = windows_word2vec_c(T, c, np.random.default_rng(0))
    centres, contexts = chapter.skipgram_pairs(np.arange(T), [0, T], windows)
    share = np.bincount(np.abs(centres - contexts))[1:] / (2 * T)
    assert_close(share, (c + 1 - np.arange(1, c + 1)) / c, atol=0.02)


@given(scores=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), shift=st.floats(-1e4, 1e4))
def test_softmax_ignores_a_shift_and_never_overflows(scores, shift):
    S = np.array([scores])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        P = softmax(S + shift)
    assert_close(P.sum(axis=1), [1.0])
    assert_close(P, softmax(S), rtol=1e-6, atol=1e-9)
    assert_close(np.exp(S - logsumexp(S)[:, None]), softmax(S), rtol=1e-9)


def test_softmax_is_for_any_number_of_axes():
    S = np.random.default_rng(0).standard_normal((2, 3, 4))
    assert_close(softmax(S)[1], softmax(S[1]))
    assert_close(logsumexp(S)[1, 2], logsumexp(S[1, 2]))
    assert softmax(S.astype(np.float32)).dtype == np.float32


@given(seed=st.integers(0, 999))
def test_a_change_of_basis_changes_no_probability(seed):
    W, U, targets, indptr, contexts = drawn(seed)
    A = np.random.default_rng(seed + 1).standard_normal((4, 4)) + 4 * np.eye(4)
    V, Y = W @ A.T, U @ np.linalg.inv(A)                     # v -> A v, u -> A^-T u
    assert_close(cbow_loss(V, Y, targets, indptr, contexts),
                 cbow_loss(W, U, targets, indptr, contexts), rtol=1e-7)
    assert_close(skipgram_loss(V, Y, targets, targets[::-1], 5),
                 skipgram_loss(W, U, targets, targets[::-1], 5), rtol=1e-7)


@given(seed=st.integers(0, 999), g=st.floats(-3, 3))
def test_one_neighbour_makes_cbow_skipgram(seed, g):
    W, U, targets, _, contexts = drawn(seed)
    n = len(targets)
    contexts, ones = contexts[:n], np.arange(n + 1)
    assert_close(cbow_loss(W, U, targets, ones, contexts),
                 skipgram_loss(W, U, contexts, targets, n))
    for a, b in zip(cbow_loss_grad(W, U, targets, ones, contexts, g),
                    skipgram_loss_grad(W, U, contexts, targets, n, g), strict=True):
        assert_close(a, b, atol=1e-12)


@every_epoch
@given(seed=st.integers(0, 999))
def test_one_neighbour_makes_a_cbow_epoch_a_skipgram_epoch(backend, seed):
    W, U, targets, _, contexts = drawn(seed)
    rates, n = np.full(len(targets), 0.2), len(targets)
    for a, b in zip(backend.cbow_epoch(W, U, targets, np.arange(n + 1), contexts[:n], rates),
                    backend.skipgram_epoch(W, U, contexts[:n], targets, rates), strict=True):
        assert_close(a, b)


@given(seed=st.integers(0, 999))
def test_each_word_of_a_window_gets_its_share(seed):
    W, _, _, indptr, contexts = drawn(seed)
    H, cache = context_vectors(W, indptr, contexts)
    dH = np.random.default_rng(seed).standard_normal(H.shape)
    want = np.zeros_like(W)
    for row, own in zip(dH, np.split(contexts, indptr[1:-1]), strict=True):
        for w in own:
            want[w] += row / len(own)
    assert_close(context_vectors_backward(dH, cache), want)


@every_epoch
def test_epochs_leave_their_arguments_as_they_are(backend):
    W, U, targets, indptr, contexts = drawn(0)
    before = [x.copy() for x in (W, U, targets, indptr, contexts)]
    rates = np.full(len(targets), 0.3)
    backend.cbow_epoch(W, U, targets, indptr, contexts, rates)
    backend.skipgram_epoch(W, U, targets, targets[::-1], rates)
    for a, b in zip((W, U, targets, indptr, contexts), before, strict=True):
        assert np.array_equal(a, b)


def test_rates_fall_over_all_epochs():
    rates = np.concatenate([falling_rates(0.1, e, 4, 5) for e in range(4)])
    assert_close(rates, 0.1 * (1 - np.arange(20) / 20))
    assert_close(falling_rates(0.1, 0, 1, 10**6)[-1], 0.1 * 1e-4)           # the floor
    assert falling_rates(0.1, 0, 1, 0).shape == (0,)


def test_vectors_start_small():
    W, U = initial_vectors(50, 10, np.random.default_rng(0))
    assert W.dtype == U.dtype == np.float32 and not U.any()
    assert 0.045 < np.abs(W).max() <= 0.05 and abs(W.mean()) < 0.005
    assert_close(skipgram_loss(W, U, [0, 1], [2, 3], 2), math.log(50), rtol=1e-6)


# 4. Gradients.

@given(seed=st.integers(0, 999), g=st.sampled_from([1.0, -1.7]))
def test_gradient_of_skipgram(seed, g):
    W, U, centres, _, contexts = drawn(seed)
    pairs = centres, contexts[:len(centres)], 7
    dW, dU = skipgram_loss_grad(W, U, *pairs, g=g)
    assert_gradient(lambda W: g * skipgram_loss(W, U, *pairs), dW, W, seed)
    assert_gradient(lambda U: g * skipgram_loss(W, U, *pairs), dU, U, seed)


@pytest.mark.parametrize("share", SHARES)
@given(seed=st.integers(0, 999), g=st.sampled_from([1.0, -1.7]))
def test_gradient_of_cbow(share, seed, g):
    W, U, *windows = drawn(seed)
    dW, dU = cbow_loss_grad(W, U, *windows, g=g, share=share)
    assert_gradient(lambda W: g * cbow_loss(W, U, *windows, share=share), dW, W, seed)
    assert_gradient(lambda U: g * cbow_loss(W, U, *windows, share=share), dU, U, seed)


@given(seed=st.integers(0, 999))
def test_gradient_of_a_prediction_with_a_factor_a_row(seed):
    H, U, words, _, _ = drawn(seed)
    words = words[:len(H)]
    factor = np.random.default_rng(seed).standard_normal(len(H))
    dH, dU = predict_backward(factor, predict(H, U, words)[1])
    assert_gradient(lambda H: (factor * predict(H, U, words)[0]).sum(), dH, H, seed)
    assert_gradient(lambda U: (factor * predict(H, U, words)[0]).sum(), dU, U, seed)


@given(seed=st.integers(0, 999))
def test_undivided_updates_are_no_gradient_of_the_mean(seed):
    """word2vec.c averages, then adds all of dL/dh to each word: off by |C| a window."""
    W, _, _, indptr, contexts = drawn(seed)
    H, (shape, owner, others, each) = context_vectors(W, indptr, contexts)
    dH = np.ones_like(H)
    right = context_vectors_backward(dH, (shape, owner, others, each))
    theirs = context_vectors_backward(dH, (shape, owner, others, np.ones_like(each)))
    assert_close(right.sum(), H.size)
    assert_close(theirs.sum(), W.shape[1] * len(contexts))


# 5. Parity with PyTorch; what it computes stands in tests/parity/ch06_word2vec.py.

@pytest.fixture(scope="module")
def frozen():
    with np.load(Path(__file__).parent / "parity/ch06_word2vec.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def sentences():
    documents = data.load_texts()["bank"]["documents"]
    return encode_corpus(documents, bag_of_words(documents)[0])


@every_epoch
def test_skipgram_equals_pytorch(backend, frozen, sentences):
    pairs = backend.skipgram_pairs(*sentences, 2)
    W, U = frozen["W"], frozen["U"]
    assert_close(skipgram_loss(W, U, *pairs, T=1), frozen["skipgram_loss"])
    for got, key in zip(skipgram_loss_grad(W, U, *pairs, T=1), ("dW", "dU"), strict=True):
        assert_close(got, frozen[f"skipgram_{key}"], atol=1e-11)
    epoch = backend.skipgram_epoch(W, U, *pairs, falling_rates(0.3, 0, 1, len(pairs[0])))
    for got, key in zip(epoch, ("W", "U", "losses"), strict=True):
        assert_close(got, frozen[f"skipgram_{key}"], atol=1e-10)


@every_epoch
@pytest.mark.parametrize("name, share", [("mean", share_mean), ("sum", share_sum)])
def test_cbow_equals_pytorch(backend, name, share, frozen, sentences):
    windows = backend.cbow_windows(*sentences, 2)
    W, U, n = frozen["W"], frozen["U"], len(windows[0])
    assert_close(n * cbow_loss(W, U, *windows, share), frozen[f"{name}_loss"])
    for got, key in zip(cbow_loss_grad(W, U, *windows, n, share), ("dW", "dU"), strict=True):
        assert_close(got, frozen[f"{name}_{key}"], atol=1e-11)
    epoch = backend.cbow_epoch(W, U, *windows, falling_rates(0.3, 0, 1, n), share)
    for got, key in zip(epoch, ("W", "U", "losses"), strict=True):
        assert_close(got, frozen[f"{name}_{key}"], atol=1e-10)


# 6. Twins.

@every_twin_windows
@pytest.mark.parametrize("T", EDGE_SIZES)
def test_twin_makes_the_same_windows(backend, T):
    rng = np.random.default_rng(T)
    tokens = rng.integers(0, 9, T)
    for starts in ([0, T], np.sort(np.r_[0, rng.integers(0, T + 1, 6), T])):
        for window in (1, 3, 200, windows_word2vec_c(T, 5, rng), np.full(T, 2, np.uint8)):
            for name in ("context_windows", "skipgram_pairs", "cbow_windows"):
                got = getattr(backend, name)(tokens, starts, window)
                for a, b in zip(got, getattr(chapter, name)(tokens, starts, window), strict=True):
                    assert np.array_equal(a, b) and a.dtype == b.dtype


TOLERANCE = {np.float64: 1e-9, np.float32: 3e-4}


@every_twin_epoch
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", EDGE_SIZES)
def test_twin_makes_the_same_steps(backend, size, dtype):
    """The size is that of V, then of d, then of the number of predictions."""
    for V, d, n in ((max(size, 1), 3, 20), (7, max(size, 1), 20), (7, 3, size)):
        W, U, targets, indptr, contexts = drawn(size, V, d, n, dtype)
        W, U = W / np.sqrt(dtype(d)), U / np.sqrt(dtype(d))
        rates = np.linspace(0.3, 0.1, n)
        calls = [("skipgram_epoch", (targets, contexts[:n], rates))]
        if n:
            calls += [("cbow_epoch", (targets, indptr, contexts, rates, s)) for s in SHARES]
        for name, arguments in calls:
            got = getattr(backend, name)(W, U, *arguments)
            for a, b in zip(got, getattr(chapter, name)(W, U, *arguments), strict=True):
                assert a.dtype == b.dtype
                assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@every_twin_epoch
def test_twin_takes_any_layout_and_repeats_itself(backend):
    W, U, targets, indptr, contexts = drawn(3, V=40, d=6, n=30)
    rates = np.full(30, 0.1)
    want = backend.cbow_epoch(W, U, targets, indptr, contexts, rates)
    for a, b in ((np.asfortranarray(W), np.asfortranarray(U)), (W, U)):
        again = backend.cbow_epoch(a, b, targets.astype(np.int32), indptr.tolist(), contexts, rates)
        assert all(x.tobytes() == y.tobytes() for x, y in zip(again, want, strict=True))
    W[0], U[0] = 500, 500                                    # scores that exp cannot take
    for x, y in zip(backend.skipgram_epoch(W, U, targets, contexts[:30], 0 * rates),
                    chapter.skipgram_epoch(W, U, targets, contexts[:30], 0 * rates), strict=True):
        assert_close(x, y)


@every_cuda_epoch
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_large_model_takes_three_launches_a_step(backend, dtype, monkeypatch):
    """The same numbers as one block's, and the same bits again."""
    monkeypatch.setattr(getattr(backend, "module", backend), "SMALL", 0)
    for V, d in ((1, 1), (130, 33), (300, 7)):
        W, U, targets, indptr, contexts = drawn(V, V, d, 6, dtype)
        rates = np.linspace(0.3, 0.1, 6)
        for name, arguments in (("skipgram_epoch", (targets, contexts[:6], rates)),
                                ("cbow_epoch", (targets, indptr, contexts, rates))):
            got, again = (getattr(backend, name)(W, U, *arguments) for _ in range(2))
            for a, b, c in zip(got, getattr(chapter, name)(W, U, *arguments), again, strict=True):
                assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
                assert a.tobytes() == c.tobytes()


@every_cuda_epoch
def test_one_block_goes_on_where_its_last_launch_ended(backend, monkeypatch):
    W, U, targets, indptr, contexts = drawn(5)
    rates = np.full(len(targets), 0.2)
    want = backend.cbow_epoch(W, U, targets, indptr, contexts, rates)
    monkeypatch.setattr(getattr(backend, "module", backend), "STEPS", 4)     # of 9: 4, 4, 1
    for a, b in zip(backend.cbow_epoch(W, U, targets, indptr, contexts, rates), want, strict=True):
        assert a.tobytes() == b.tobytes()


# Training.

GRAMMAR = {"who": ["cat", "dog", "bird"], "does": ["sees", "hears"], "what": ["tree", "moon"]}


def grammar(n, rng):
    """n sentences: who, what it does, what: every word of a kind stands where the others do."""
    return [" ".join(rng.choice(words) for words in GRAMMAR.values()) for _ in range(n)]


@pytest.fixture(scope="module")
def toy():
    documents = grammar(150, np.random.default_rng(6))
    vocabulary, _ = count_vocabulary(documents)
    return vocabulary, *encode_corpus(documents, vocabulary)


def trained(train, toy, backend, epochs, seed=0, **more):
    vocabulary, tokens, starts = toy
    rng = np.random.default_rng(seed)
    W, U = initial_vectors(len(vocabulary), 8, rng)
    return train(tokens, starts, W, U, 2, epochs, rng, twin=backend, **more)


@every_epoch
@pytest.mark.parametrize("train, epochs, more", [
    (train_skipgram, 6, {"rate": 0.15}), (train_cbow, 10, {"rate": 0.3}),
    (train_hybrid, (5, 3), {"rates": (0.3, 0.15)}),
    (train_skipgram, 8, {"rate": 0.15, "windows": windows_word2vec_c})])
def test_training_finds_the_kinds_of_words(backend, toy, train, epochs, more):
    W, U, history = trained(train, toy, backend, epochs, **more)
    assert W.dtype == np.float32 and np.isfinite(W).all() and np.isfinite(U).all()
    for own in history if train is train_hybrid else [history]:
        assert own[-1] < own[0] - 0.02
    for words in GRAMMAR.values():
        for word in words:
            found = [w for w, _ in nearest_words(word, toy[0], W, len(words) - 1)]
            assert set(found) == set(words) - {word}


def test_the_loss_comes_down_to_the_entropy(toy):
    """Skip-gram cannot do better than the conditional entropy of the pairs; it comes near."""
    _, tokens, starts = toy
    centres, contexts = chapter.skipgram_pairs(tokens, starts, 2)
    joint = np.zeros((len(toy[0]),) * 2)
    np.add.at(joint, (centres, contexts), 1 / len(centres))
    entropy = -sum(p * math.log(p / joint[a].sum()) for (a, _), p in np.ndenumerate(joint) if p)
    W, U, _ = trained(train_skipgram, toy, None, 6, rate=0.15)
    loss = skipgram_loss(W, U, centres, contexts, len(centres))
    assert entropy < loss < entropy + 0.03


@every_epoch
def test_training_repeats_itself(backend, toy):
    one, two = (trained(train_skipgram, toy, backend, 2, windows=windows_word2vec_c)
                for _ in range(2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
    other = trained(train_skipgram, toy, backend, 2, seed=1, windows=windows_word2vec_c)
    assert not np.array_equal(one[0], other[0])


def test_the_hybrid_is_cbow_then_skipgram(toy):
    W, U, (first, second) = trained(train_hybrid, toy, None, (2, 3))
    vocabulary, tokens, starts = toy
    rng = np.random.default_rng(0)
    A, B, one = train_cbow(tokens, starts, *initial_vectors(len(vocabulary), 8, rng), 2, 2, rng)
    A, B, two = train_skipgram(tokens, starts, A, B, 2, 3, rng)
    for got, want in ((W, A), (U, B), (first, one), (second, two)):
        assert np.array_equal(got, want)
    assert first.shape == (2,) and second.shape == (3,)


def test_nearest_words_leave_the_word_out():
    vocabulary = {"a": 0, "c": 2, "b": 1}
    W = np.array([[1.0, 0], [1, 1], [2, 0]])
    assert [w for w, _ in nearest_words("a", vocabulary, W, 5)] == ["c", "b"]
    assert_close([s for _, s in nearest_words("c", vocabulary, W, 2)], [1, math.sqrt(0.5)])
    with pytest.raises(KeyError, match="'d' is none of the 3 words"):
        nearest_words("d", vocabulary, W)


# Errors.

def test_an_empty_corpus_is_an_error():
    with pytest.raises(ValueError, match="documents: expected at least one"):
        count_vocabulary([])
    with pytest.raises(ValueError, match="documents: no word occurs 2 times"):
        count_vocabulary(["a b", ""], min_count=2)
    with pytest.raises(ValueError, match="documents: none of their words"):
        encode_corpus(["x y"], {"a": 0})
    with pytest.raises(TypeError, match="documents: expected a list"):
        count_vocabulary("one text")
    W, U = initial_vectors(2, 3, np.random.default_rng(0))
    for train in (train_skipgram, train_cbow):
        with pytest.raises(ValueError, match="tokens: no word has a neighbour"):
            train([0, 1], [0, 1, 2], W, U, 2, 1, None)


@every_windows
@pytest.mark.parametrize("window", [0, -1, 1.5, math.nan, [1, 0], "2"])
def test_a_window_is_at_least_one(backend, window):
    with pytest.raises(ValueError, match="window: expected"):
        backend.skipgram_pairs([0, 1], [0, 2], window)


@every_windows
def test_a_window_for_each_token_or_one_for_all(backend):
    with pytest.raises(ValueError):
        backend.skipgram_pairs([0, 1, 2], [0, 3], [1, 2])
    with pytest.raises(ValueError, match="window: expected"):
        windows_word2vec_c(3, 0, np.random.default_rng(0))


@every_windows
@pytest.mark.parametrize("starts", [[], [1, 3], [0, 2], [0, 2, 1, 3], [0, 4], [-1, 3]])
def test_starts_cover_the_tokens(backend, starts):
    with pytest.raises(ValueError, match="starts: expected"):
        backend.context_windows([0, 1, 2], starts, 1)


@every_windows
def test_tokens_are_ids(backend):
    with pytest.raises(TypeError, match="tokens: expected integers"):
        backend.skipgram_pairs([0.5, 1.0], [0, 2], 1)
    with pytest.raises(ValueError, match="tokens: expected integers"):
        backend.cbow_windows([-1, 1], [0, 2], 1)


@every_epoch
@pytest.mark.parametrize("centre, context", [(3, 0), (0, 3), (-1, 0), (0, -1)])
def test_ids_out_of_range_are_refused(backend, centre, context):
    W, U = np.ones((2, 3, 2))
    for call in (lambda: skipgram_loss(W, U, [centre], [context], 1),
                 lambda: backend.skipgram_epoch(W, U, [centre], [context], [0.1]),
                 lambda: cbow_loss(W, U, [centre], [0, 1], [context]),
                 lambda: backend.cbow_epoch(W, U, [centre], [0, 1], [context], [0.1])):
        with pytest.raises(ValueError, match="expected integers from 0 to 2"):
            call()


@every_epoch
def test_vectors_that_are_none_are_refused(backend):
    W, U = np.ones((2, 3, 2))
    bad = W.copy()
    bad[1, 1] = math.nan
    for W_, U_, words in ((bad, U, "W: expected finite"), (W, bad, "U: expected finite"),
                          (W, U[:2], "U: expected float64"), (W, U[:, :1], "U: expected rows"),
                          (W.astype(np.float32), U, "U: expected float32"),
                          (W[:0], U[:0], "W: expected at least 1")):
        for run in (lambda a, b: skipgram_loss_grad(a, b, [0], [0], 1),
                    lambda a, b: backend.skipgram_epoch(a, b, [0], [0], [0.1]),
                    lambda a, b: backend.cbow_epoch(a, b, [0], [0, 1], [0], [0.1])):
            with pytest.raises(ValueError, match=words):
                run(W_, U_)


@every_epoch
@pytest.mark.parametrize("indptr", [[0, 0, 2], [1, 1, 2], [0, 1, 1], [0, 2, 1], [0, 2], [0, 1, 3]])
def test_a_window_without_words_is_refused(backend, indptr):
    W, U = np.ones((2, 3, 2))
    for call in (lambda: cbow_loss(W, U, [0, 1], indptr, [1, 2]),
                 lambda: backend.cbow_epoch(W, U, [0, 1], indptr, [1, 2], [0.1, 0.1])):
        with pytest.raises(ValueError, match="indptr: expected"):
            call()
    with pytest.raises(ValueError, match="indptr: expected"):
        cbow_loss_grad(W, U, np.array([], int), [0], np.array([], int))


@every_epoch
@pytest.mark.parametrize("rates", [[0.1], [0.1, math.nan], [0.1, math.inf], 0.1])
def test_rates_are_one_a_step(backend, rates):
    W, U = np.ones((2, 3, 2))
    with pytest.raises(ValueError):
        backend.skipgram_epoch(W, U, [0, 1], [1, 2], rates)


@every_epoch
def test_a_rate_that_is_too_large_says_so(backend, toy):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="rate: with|finite"):
        trained(train_skipgram, toy, backend, 2, rate=1e30)
