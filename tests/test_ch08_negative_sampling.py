"""Chapter 8: negative sampling: loss, noise, thinning out, blocks, training, phrases."""
import math
from pathlib import Path

import numba
import numpy as np
import pytest
from conftest import (
    EDGE_SIZES,
    assert_close,
    assert_gradient,
    emulated,
    every_backend,
    every_twin,
)
from hypothesis import given
from hypothesis import strategies as st

from primer import ch08_negative_sampling as chapter
from primer import claims
from primer.ch06_word2vec import initial_vectors, nearest_words, skipgram_pairs
from primer.ch08_negative_sampling import (
    add_words,
    alias_table,
    block_bounds,
    draw_block,
    falling_rate,
    find_phrases,
    join_phrases,
    keep_probability,
    keep_probability_word2vec_c,
    merge_phrases,
    noise_distribution,
    pair_loss,
    pair_loss_grad,
    phrase_score,
    sigmoid,
    train_cbow,
    train_skipgram,
)
from primer.ch10_factorization import cooccurrence, shifted_pmi
from primer.exercises.ch06_word2vec import corpus
from primer.exercises.ch08_negative_sampling import drawn, loss_by_hand

BLOCKS = ("skipgram_block", "cbow_block", "cbow_block_irsoy")
every_block = every_backend("ch08_negative_sampling", *BLOCKS)
every_twin_block = every_twin("ch08_negative_sampling", *BLOCKS)
every_fast_block = every_twin("ch08_negative_sampling", *BLOCKS, orders=())
every_noise = every_backend("ch08_negative_sampling", "draw_noise")
every_thinning = every_backend("ch08_negative_sampling", "subsample")


def block(seed, T=24, V=9, d=5, K=3, c=3, texts=4, dtype=np.float32):
    """-> all arguments of a block: words stand in many windows, and are drawn beside themselves."""
    rng = np.random.default_rng(seed)
    W, U = (rng.standard_normal((V, d)) / math.sqrt(d)).astype(dtype), None
    U = (rng.standard_normal((V, d)) / math.sqrt(d)).astype(dtype)
    starts = np.sort(np.r_[0, rng.integers(0, T + 1, texts - 1), T])
    return (W, U, rng.integers(0, V, T).astype(np.int32), starts, rng.integers(1, c + 1, T),
            rng.uniform(0, 0.5, T).astype(dtype), rng.integers(0, V, (T, K)).astype(np.int32))


def apart(seed, n, d, K):
    """Texts of three words, only the middle one's rate above 0, each word once in all: the order
    of the steps is nothing."""
    rng = np.random.default_rng(seed)
    T = 3 * n
    words = rng.permutation(T * (K + 1) or 1).astype(np.int32)
    W, U = (rng.standard_normal((2, len(words), d)) / math.sqrt(d)).astype(np.float32)
    rates = np.where(np.arange(T) % 3 == 1, 0.3, 0).astype(np.float32)
    return (W, U, words[:T], np.arange(0, T + 1, 3), np.ones(T, np.int64), rates,
            words[T:T * (K + 1)].reshape(T, K))


# 1. The equation.

def spec_block(name, W, U, tokens, starts, windows, rates, negatives):
    """(8.6) one number at a time -> W, U, losses, predictions."""
    W, U, total, count = W.astype(float), U.astype(float), 0.0, 0
    for first, stop in zip(starts, starts[1:], strict=False):
        for t in range(first, stop):
            own = [tokens[s] for s in range(first, stop) if 0 < abs(s - t) <= windows[t]]
            if not own:
                continue
            noise = [k for k in negatives[t] if k != tokens[t]]
            inputs = [W[w] for w in own] if name == "skipgram_block" else [
                sum(W[w] for w in own) / len(own)]
            share = 1 / len(own) if name == "cbow_block_irsoy" else 1
            dW, dU = np.zeros_like(W), np.zeros_like(U)
            for i, h in enumerate(inputs):
                total, count = total + loss_by_hand(h, U, tokens[t], noise), count + 1
                for word, label in [(tokens[t], 1), *((k, 0) for k in noise)]:
                    g = 1 / (1 + math.exp(-sum(U[word] * h))) - label
                    dU[word] += g * h
                    for w in [own[i]] if name == "skipgram_block" else own:
                        dW[w] += g * U[word] * share
            W, U = W - rates[t] * dW, U - rates[t] * dU
    return W, U, total, count


@every_fast_block
@pytest.mark.parametrize("name", BLOCKS)
@given(seed=st.integers(0, 999), K=st.integers(1, 7), c=st.integers(1, 9))
def test_blocks_are_the_equation(backend, name, seed, K, c):
    numba.set_num_threads(1)
    arguments = block(seed, K=K, c=c)
    *want, total, count = spec_block(name, *arguments)
    for module in (chapter, backend):
        own = tuple(a.copy() for a in arguments)
        got = getattr(module, name)(*own)
        assert got[1] == count and isinstance(got[0], float)
        assert_close(got[0], total, rtol=2e-5)
        for a, b in zip(own, want, strict=False):
            assert_close(a, b, rtol=2e-4, atol=2e-5)
        for a, b in zip(own[2:], arguments[2:], strict=True):
            assert np.array_equal(a, b)                       # only W and U change


@given(seed=st.integers(0, 9))
def test_the_reference_is_the_equation_in_float64(seed):
    for name in BLOCKS:
        own = block(seed, dtype=np.float64)
        *want, total, _ = spec_block(name, *own)
        assert_close(getattr(chapter, name)(*own)[0], total)
        assert_close(own[0], want[0])
        assert_close(own[1], want[1])


# 2. The text's examples.

def test_noise_of_the_text():                                                 # line 979
    assert_close(noise_distribution([90, 9, 1]), [0.825, 0.147, 0.028], atol=5e-4)


def test_the_discard_probability_of_the_text():                               # line 1000 errs
    f = np.array([0.07, 0.05, 0.01, 1e-3, 1e-4, 1e-5, 1e-6])
    text = 1 - np.sqrt(1e-5 / f)
    assert_close(text, [0.98805, 0.98586, 0.96838, 0.9, 0.68377, 0, -2.16228], atol=1e-5)
    q = keep_probability(np.append(f, 1 - f.sum()) * 1e9, 1e-5)[:-1]
    assert_close(1 - q, np.maximum(text, 0), rtol=1e-6, atol=1e-9)


def test_the_claims_have_their_verdicts():
    rows = [(r["line"], r["verdict"]) for r in claims.rows(8)]
    assert {n for n, v in rows if v == "wrong"} == {990, 1000, 1004, 1006, 1223}
    assert {n for n, v in rows if v == "right"} >= {964, 979, 983, 994, 1000, 1011}


# 3. Properties.

@given(x=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9))
def test_sigmoid_never_overflows(x):
    x = np.array(x)
    with np.errstate(over="raise", invalid="raise"):
        assert_close(sigmoid(x) + sigmoid(-x), np.ones(len(x)))
    assert_close(sigmoid(np.clip(x, -30, 30)), 1 / (1 + np.exp(-np.clip(x, -30, 30))))
    assert sigmoid(np.float32([3])).dtype == np.float32


@given(seed=st.integers(0, 999))
def test_only_the_rows_of_the_pair_move(seed):
    W, U, inputs, outputs, negatives = drawn(seed, n=1, V=12)
    dW, dU = pair_loss_grad(W, U, inputs, outputs, negatives)
    assert set(np.flatnonzero(dW.any(axis=1))) == set(inputs)
    assert set(np.flatnonzero(dU.any(axis=1))) == {outputs[0], *negatives[0]}
    assert pair_loss(W, U, inputs, outputs, negatives) > 0


@given(seed=st.integers(0, 999), counts=st.lists(st.integers(0, 500), min_size=1, max_size=40),
       power=st.sampled_from([0.0, 0.75, 1.0]))
def test_an_alias_table_holds_its_distribution(seed, counts, power):
    p = noise_distribution([*counts, 1], power)
    thresholds, aliases = alias_table(p)
    assert thresholds.dtype == np.uint32 and aliases.dtype == np.int32
    own = np.where(aliases == np.arange(len(p)), 1.0, thresholds / 2 ** 32)
    held = (own + np.bincount(aliases, 1 - own, len(p))) / len(p)
    assert_close(held, p, atol=1e-9)


@every_noise
@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_draws_follow_the_distribution(backend, power):
    """Chi squared, 29 degrees of freedom: above 66 once in 10,000 times."""
    p, n = noise_distribution(np.arange(1, 31) ** 2, power), 1000 if emulated(backend) else 30_000
    words = backend.draw_noise(alias_table(p), (n // 5, 5), np.random.default_rng(8))
    assert words.shape == (n // 5, 5) and words.dtype == np.int32
    expected = n * p
    assert (((np.bincount(words.ravel(), minlength=30) - expected) ** 2) / expected).sum() < 66


@every_noise
def test_one_word_is_always_drawn(backend):
    table = alias_table(noise_distribution([0, 3, 0]))
    assert np.all(backend.draw_noise(table, (50, 2), np.random.default_rng(0)) == 1)
    assert backend.draw_noise(table, (0, 2), np.random.default_rng(0)).shape == (0, 2)


@given(counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=30),
       t=st.sampled_from([1e-5, 1e-3, 1.0]))
def test_keeping(counts, t):
    counts = np.array([*counts, 1])
    q, c = keep_probability(counts, t), keep_probability_word2vec_c(counts, t)
    assert np.all((0 < q) & (q <= c) & (c <= 1))
    f = counts / counts.sum()
    assert np.all(q[f <= t] == 1)
    for own, want in ((q, np.sqrt(t / f[-1])), (c, np.sqrt(t / f[-1]) + t / f[-1])):
        assert_close(own[-1], min(1, want))
    assert np.all(keep_probability(counts, np.inf) == 1)


@every_thinning
def test_thinning_keeps_its_share(backend):
    rng = np.random.default_rng(0)
    tokens, keep = rng.integers(0, 4, 40_000).astype(np.int32), np.array([0.1, 0.5, 0.9, 1.0])
    starts = np.array([0, 10_000, 10_000, 40_000])
    kept, bounds, places = backend.subsample(tokens, starts, keep, rng)
    assert kept.dtype == np.int32 and places.dtype == bounds.dtype == np.int64
    assert np.array_equal(tokens[places], kept) and np.all(np.diff(places) > 0)
    share = np.bincount(kept) / np.bincount(tokens)
    assert_close(share, keep, atol=6 * 0.5 / math.sqrt(10_000))
    assert bounds.tolist() == np.searchsorted(places, starts).tolist()


@every_block
@given(seed=st.integers(0, 99))
def test_one_neighbour_makes_cbow_skipgram(backend, seed):
    """In texts of two words, a window has one word."""
    W, U, tokens, _, windows, rates, negatives = block(seed, T=2 if emulated(backend) else 12)
    results = []
    for name in BLOCKS:
        own = W.copy(), U.copy()
        loss = getattr(backend, name)(*own, tokens, np.arange(0, len(tokens) + 1, 2), windows,
                                      0 * rates if emulated(backend) else rates, negatives)
        results.append((*own, loss[0]))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_close(a, b, rtol=1e-4, atol=1e-5)


@every_block
def test_a_draw_of_the_centre_does_not_count(backend):
    W, U, tokens, starts, windows, rates, negatives = apart(1, 4, 6, 2)
    negatives[:, 1] = tokens
    for name in BLOCKS:
        one, two = (W.copy(), U.copy()), (W.copy(), U.copy())
        a = getattr(backend, name)(*one, tokens, starts, windows, rates, negatives)
        b = getattr(backend, name)(*two, tokens, starts, windows, rates, negatives[:, :1])
        assert_close(a[0], b[0], rtol=1e-5)
        for x, y in zip(one, two, strict=True):
            assert_close(x, y, atol=1e-6)


@every_block
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_large_scores_stay_finite(backend, size):
    arguments = apart(2, 3, 8, 3)
    arguments[1][:] *= size
    want = tuple(a.copy() for a in arguments)
    for name in BLOCKS:
        own = tuple(a.copy() for a in arguments)
        assert_close(getattr(backend, name)(*own)[0], getattr(chapter, name)(*want)[0], rtol=1e-4)
        assert np.isfinite(own[0]).all() and np.isfinite(own[1]).all()
        want = tuple(a.copy() for a in arguments)


def test_rates_fall_to_a_floor():
    assert_close(falling_rate(0.1, np.array([0, 0.5, 0.9999999, 1])), np.float32(
        [0.1, 0.05, 1e-5, 1e-5]), rtol=1e-6)


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=20), size=st.integers(1, 30))
def test_blocks_are_whole_documents(lengths, size):
    starts = np.cumsum([0, *lengths])
    bounds = block_bounds(starts, size)
    assert bounds[0] == 0 and bounds[-1] == len(lengths) and np.all(np.diff(bounds) > 0)
    assert np.all(np.diff(starts[bounds]) < size + max(lengths) + 1)


# 4. Gradients.

@given(seed=st.integers(0, 999), g=st.sampled_from([1.0, -1.7]))
def test_gradient(seed, g):
    W, U, *rest = drawn(seed)
    dW, dU = pair_loss_grad(W, U, *rest, g=g)
    assert_gradient(lambda W: g * pair_loss(W, U, *rest), dW, W, seed)
    assert_gradient(lambda U: g * pair_loss(W, U, *rest), dU, U, seed)


@given(seed=st.integers(0, 99))
def test_irsoys_step_goes_down_the_slope_and_word2vec_c_does_not(seed):
    """One place, a small rate: the change of W over the rate is the gradient, or m times that."""
    W, U, _, _, _, _, _ = block(seed, dtype=np.float64)
    tokens, negatives = np.array([0, 1, 2, 3, 4]), np.tile([5, 6], (5, 1))
    rates = np.where(np.arange(5) == 2, 1e-3, 0)
    moved = {}
    for name in BLOCKS[1:]:
        own = W.copy(), U.copy()
        getattr(chapter, name)(*own, tokens, [0, 5], 2, rates, negatives)
        moved[name] = (own[0] - W) / -1e-3
    def loss(W):
        h = np.concatenate([W[[0, 1, 3, 4]].mean(axis=0)[None], W[1:]])
        return pair_loss(h, U, [0], [2], [[5, 6]])
    assert_gradient(loss, moved["cbow_block_irsoy"], W, seed)
    assert_close(moved["cbow_block"], 4 * moved["cbow_block_irsoy"], rtol=1e-6)


# 5. Parity with Gensim; what it computes stands in tests/parity/ch08_negative_sampling.py.

@pytest.fixture(scope="module")
def frozen():
    path = Path(__file__).parent / "parity/ch08_negative_sampling.npz"
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def gensims_sigmoid(x):
    """A table of 1000 steps from -6 to 6; like word2vec.c it is read at 83 steps a unit, 1000 / 12
    without its fraction, so that sig(0) is 0.494."""
    at = np.clip((np.asarray(x) + 6) * 83, 0, 999).astype(int)
    return 1 / (1 + np.exp(6 - at * 12 / 1000))


@every_fast_block
@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_steps_equal_gensims(backend, name, frozen, monkeypatch):
    """With its table of the sigmoid to rounding; the exact sigmoid stays near."""
    numba.set_num_threads(1)
    sentences = frozen[f"{name}_sentences"]
    n, length = sentences.shape

    def steps(module, atol):
        W, U = frozen[f"{name}_W0"].copy(), frozen[f"{name}_U0"].copy()
        getattr(module, f"{name}_block")(
            W, U, sentences.ravel(), np.arange(n + 1) * length, 1, np.full(n * length, 0.05),
            np.full((n * length, 1), len(W) - 1))
        for own, key in ((W, "W"), (U, "U")):
            theirs, start = frozen[f"{name}_{key}"], frozen[f"{name}_{key}0"]
            assert np.abs(theirs - start).max() > 0.2                 # it has moved
            assert_close(own, theirs, rtol=0, atol=atol)

    steps(chapter, 0.02)
    steps(backend, 0.02)
    monkeypatch.setattr(chapter, "sigmoid", gensims_sigmoid)
    steps(chapter, 1e-6)


def test_noise_and_thinning_equal_gensims(frozen):
    p = noise_distribution(frozen["counts"])
    assert_close(np.cumsum(p), frozen["cumulated"] / (2 ** 31 - 1), atol=1e-9)
    assert_close(keep_probability_word2vec_c(frozen["counts"], 1e-2),
                 np.minimum(frozen["sample_int"] / (2 ** 32 - 1), 1), rtol=1e-6)


def test_phrases_equal_gensims(frozen):
    assert_close(phrase_score(*np.array([[10, 20, 9], [7, 7, 7], [50, 30, 12]]).T[[2, 0, 1]], 5,
                              100), frozen["scores"])
    text = frozen["text"]
    tokens, starts, words = join_phrases(text.ravel(), np.arange(61) * 7,
                                         ["w0", "w1", "w2", "w3"], 2, (0.0, ))
    assert tokens.size < text.size and len(words) > 4
    N, V = text.size, len({*text.ravel()}) + len(np.unique(
        [text[:, :-1].ravel() * 4 + text[:, 1:].ravel()]))   # Gensim's factor: words and pairs seen
    tokens, starts, words = join_phrases(text.ravel(), np.arange(61) * 7,
                                         ["w0", "w1", "w2", "w3"], 2, (1.0 * N / V,))
    names = [" ".join(words[i] for i in tokens[a:b]) for a, b in zip(starts, starts[1:],
                                                                     strict=False)]
    assert "|".join(names) == str(frozen["joined"])


# 6. Twins.

@every_twin_block
@pytest.mark.parametrize("size", EDGE_SIZES)
@pytest.mark.parametrize("name", BLOCKS)
def test_twin_takes_the_same_steps(backend, name, size):
    """The size is that of d, then of K, then of the number of texts."""
    for n, d, K in ((2, max(size, 1), 3), (2, 3, max(size, 1)), (size, 3, 2)):
        if emulated(backend) and n * K > 70:
            continue
        arguments = apart(size, n, d, K)
        own, other = (tuple(a.copy() for a in arguments) for _ in range(2))
        got, want = getattr(backend, name)(*own), getattr(chapter, name)(*other)
        assert got[1] == want[1]
        assert_close(got[0], want[0], rtol=1e-5)
        for a, b in zip(own[:2], other[:2], strict=True):
            assert_close(a, b, rtol=1e-5, atol=1e-6)


@every_twin_block
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("c", [1, 5, 40])
def test_twin_takes_one_wide_step(backend, name, c):
    """One place has a rate: all of its window moves, and nothing else."""
    W, U, tokens, starts, windows, rates, negatives = block(c, T=2 * c + 1, V=30, d=33, K=4,
                                                            texts=1)
    windows[c], rates[:] = 2 * c, np.where(np.arange(2 * c + 1) == c, 0.3, 0)
    windows[np.arange(2 * c + 1) != c] = 1
    own, other = ((W.copy(), U.copy()) for _ in range(2))
    getattr(backend, name)(*own, tokens, starts, windows, rates, negatives)
    getattr(chapter, name)(*other, tokens, starts, windows, rates, negatives)
    for a, b in zip(own, other, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


@every_noise
def test_twin_draws_the_same_words(backend):
    for V in (1, 2, 33, 1000):
        table = alias_table(noise_distribution(np.arange(1, V + 1)))
        for shape in ((1, 1), (129, 2)):
            got = backend.draw_noise(table, shape, np.random.default_rng(V))
            assert np.array_equal(got, chapter.draw_noise(table, shape, np.random.default_rng(V)))


@every_thinning
@pytest.mark.parametrize("T", EDGE_SIZES)
def test_twin_thins_the_same(backend, T):
    rng = np.random.default_rng(T)
    tokens, keep = rng.integers(0, 5, T), rng.random(5)
    starts = np.sort(np.r_[0, rng.integers(0, T + 1, 3), T])
    for a, b in zip(backend.subsample(tokens, starts, keep, np.random.default_rng(1)),
                    chapter.subsample(tokens, starts, keep, np.random.default_rng(1)),
                    strict=True):
        assert np.array_equal(a, b) and a.dtype == b.dtype


@every_fast_block
@pytest.mark.parametrize("name", BLOCKS)
def test_one_thread_repeats_itself_and_two_come_near(backend, name):
    arguments, results = block(3, T=4000, V=300, d=16, texts=60), []
    for threads in (1, 1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        own = tuple(a.copy() for a in arguments)
        results.append((*own[:2], getattr(backend, name)(*own)))
    numba.set_num_threads(1)
    (W, U, loss), again, two = results
    assert W.tobytes() == again[0].tobytes() and U.tobytes() == again[1].tobytes()
    assert loss == again[2] and two[2][1] == loss[1]
    assert_close(two[2][0], loss[0], rtol=0.02)


# Training.

GRAMMAR = (("cat", "dog", "bird"), ("sees", "hears"), ("tree", "moon"))


def grammar(n, rng):
    """n texts: who, what it does, what -> ids, starts, words."""
    words = sum(GRAMMAR, ())
    ids = np.array([[words.index(rng.choice(kind)) for kind in GRAMMAR] for _ in range(n)])
    return ids.ravel(), np.arange(n + 1) * 3, words


@every_backend("ch08_negative_sampling", "subsample")
@pytest.mark.parametrize("train", [train_skipgram, train_cbow])
def test_training_finds_the_kinds_of_words(backend, train):
    numba.set_num_threads(1)
    tokens, starts, words = grammar(150, np.random.default_rng(8))
    W, U = initial_vectors(7, 8, np.random.default_rng(8))
    results = [train(tokens, starts, W, U, 2, 4, 12, 8, rate=0.4, sample=np.inf, size=200,
                     twin=backend) for _ in range(2)]
    (W, _, history), again = results
    assert W.tobytes() == again[0].tobytes() and history[-1] < history[0] - 0.1
    vocabulary = {w: i for i, w in enumerate(words)}
    for kind in GRAMMAR:
        for word in kind:
            found = {w for w, _ in nearest_words(word, vocabulary, W, len(kind) - 1)}
            assert found == set(kind) - {word}


@pytest.mark.parametrize("power", [1.0, 0.75])
def test_skipgram_factorises_shifted_pmi(power):
    """Planted: topics of words.  With as many dimensions as words, the scores are PMI - ln K."""
    from kernels import ch08_negative_sampling_numba as fast
    numba.set_num_threads(1)
    rng, V, n, K = np.random.default_rng(8), 24, 4000, 2
    topics = rng.dirichlet(np.full(V, 0.6), 6)
    ids = np.array([rng.choice(V, 25, p=topics[t]) for t in rng.integers(0, 6, n)])
    tokens, starts = ids.ravel(), np.arange(n + 1) * 25
    W, U = initial_vectors(V, V, rng)
    W, U, _ = train_skipgram(tokens, starts, 40 * W, U, 3, K, 25, 8, rate=0.06, sample=np.inf,
                             power=power, twin=fast,
                             windows=lambda T, c, rng: np.full(T, c))
    C = cooccurrence(list(ids), V, 3)
    M = shifted_pmi(C, K, power)
    rows, columns = np.repeat(np.arange(V), np.diff(M.indptr)), M.indices
    scores = (W @ U.T)[rows, columns]
    share = C.data / np.bincount(rows, C.data)[rows]         # p(o | v); draws of o do not count
    own = M.data - np.log(1 - share)
    often = C.data > 200
    assert often.mean() > 0.7
    assert np.corrcoef(scores[often], M.data[often])[0, 1] > 0.99
    assert np.corrcoef(scores[often], own[often])[0, 1] > 0.99
    assert np.abs(scores - own)[often].mean() < 0.15


def test_a_word_of_two_senses_lies_between_them():
    """Trained once with the senses told apart, once merged, from the same start."""
    from kernels import ch08_negative_sampling_numba as fast
    from primer.figures.ch08_negative_sampling import bank_of_two_senses
    numba.set_num_threads(1)
    rare, even, often = bank_of_two_senses(fast, shares=(0.1, 0.5, 0.9))
    assert min(even[1]) > 0.5                                # with money's, with the river's
    assert rare[1][0] < even[1][0] < often[1][0] and rare[1][1] > even[1][1] > often[1][1]
    assert min(mixture for _, _, mixture in (rare, even, often)) > 0.85


def test_new_words_leave_old_rows_alone():
    rng = np.random.default_rng(0)
    W, U = rng.standard_normal((2, 3, 4)).astype(np.float32)
    vocabulary = {"a": 0, "b": 1, "c": 2}
    X, Y, grown = add_words(W, U, vocabulary, ["b new", "new c other"], rng, min_count=1)
    assert grown == vocabulary | {"new": 3, "other": 4} and len(vocabulary) == 3
    assert np.array_equal(X[:3], W) and np.array_equal(Y[:3], U) and X.dtype == np.float32
    assert X.shape == Y.shape == (5, 4) and not Y[3:].any() and np.abs(X[3:]).max() <= 0.125
    X, Y, same = add_words(W, U, vocabulary, ["a"], rng)
    assert X.shape == (3, 4) and same == vocabulary


def test_training_goes_on_with_new_words():
    """A new word that stands where an old one does comes to lie beside it."""
    tokens, starts, words = grammar(300, np.random.default_rng(8))
    vocabulary = {w: i for i, w in enumerate(words)}
    W, U, _ = train_skipgram(tokens, starts, *initial_vectors(7, 8, np.random.default_rng(8)), 2, 4,
                             12, 8, rate=0.15, sample=np.inf)
    W, U, vocabulary = add_words(W, U, vocabulary, ["fox sees tree"], np.random.default_rng(1))
    more, starts, _ = grammar(200, np.random.default_rng(9))
    more = np.where((more == 0) & (np.arange(600) % 2 == 0), vocabulary["fox"], more)
    W, U, _ = train_skipgram(more, starts, W, U, 2, 4, 12, 8, rate=0.1, sample=np.inf)
    assert {w for w, _ in nearest_words("fox", vocabulary, W, 3)} == {"cat", "dog", "bird"}


def test_two_passes_find_longer_phrases():
    texts = [[0, 1, 2, 3], [4, 0, 1, 2], [0, 1, 2, 4], [5, 3], [3, 4], [5, 4, 5]] * 5
    tokens, starts, words = join_phrases(*corpus(texts), list("nycts."), delta=2,
                                         thresholds=(2.5, 2.5))
    assert words[:6] == list("nycts.") and "n_y_c" in words
    assert starts[-1] == len(tokens) and tokens.max() < len(words)
    pairs, scores = find_phrases(*corpus(texts), 6, 2, 2.5)
    counts = np.bincount(corpus(texts)[0])
    a, b = pairs[0]
    together = sum(t[i:i + 2] == [a, b] for t in texts for i in range(len(t)))
    assert_close(scores[0], len(corpus(texts)[0]) * (together - 2) / counts[a] / counts[b])
    assert np.all(np.diff(scores) <= 0) and scores[-1] > 2.5
    assert merge_phrases(*corpus(texts), pairs[:0], 6)[0].tolist() == sum(texts, [])


# Errors.

def test_bad_counts_are_refused():
    for counts in ([], [0, 0], [1, -1], [1, math.nan], [[1]], [math.inf]):
        with pytest.raises(ValueError, match="counts: expected"):
            noise_distribution(counts)
    for p in ([], [0.5, 0.4], [1.5, -0.5], [[1.0]], [math.nan]):
        with pytest.raises(ValueError, match="p: expected"):
            alias_table(p)
    for t in (0, -1, math.nan):
        for keep in (keep_probability, keep_probability_word2vec_c):
            with pytest.raises(ValueError, match="threshold: expected"):
                keep([1, 2], t)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
def test_bad_blocks_are_refused(backend, name):
    good = dict(zip("W U tokens starts windows rates negatives".split(), block(0), strict=True))
    for key, value, words in (
            ("W", good["W"][:, :0], "W: expected"), ("W", good["W"].astype(int), "W: expected"),
            ("U", good["U"][1:], "U: expected"), ("U", np.asfortranarray(good["U"]), "U: expected"),
            ("U", good["U"].astype(float), "U: expected"), ("W", [[1.0]], "W: expected"),
            ("starts", [0, 3], "starts: expected"), ("windows", 0, "window: expected"),
            ("tokens", good["tokens"] + 5, "tokens: expected"),
            ("rates", good["rates"][1:], "rates: expected"),
            ("rates", good["rates"] * math.nan, "rates: expected"),
            ("negatives", good["negatives"][:, :0], "negatives: expected .*, K from 1"),
            ("negatives", good["negatives"][1:], "negatives: expected"),
            ("negatives", good["negatives"] + 7, "negatives: expected")):
        with pytest.raises(ValueError, match=words):
            getattr(backend, name)(**good | {key: value})


@every_twin_block
def test_twins_are_for_float32(backend):
    with pytest.raises(ValueError, match="W: this twin takes float32"):
        backend.skipgram_block(*block(0, dtype=np.float64))


@every_block
@pytest.mark.parametrize("name", BLOCKS)
def test_no_neighbours_no_loss(backend, name):
    W, U, _, _, _, _, _ = block(0)
    for T in (0, 3):
        own = W.copy(), U.copy()
        assert getattr(backend, name)(*own, np.zeros(T, np.int32), np.arange(T + 1), 2, np.ones(T),
                                      np.ones((T, 2), np.int32)) == (0.0, 0)
        assert np.array_equal(own[0], W) and np.array_equal(own[1], U)


def test_bad_training_is_refused():
    W, U = initial_vectors(3, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="tokens: no word has a neighbour"):
        train_skipgram(np.array([0, 1]), np.array([0, 1, 2]), W, U, 2, 1, 1, 0)
    with pytest.raises(ValueError, match="negatives: expected"):
        train_cbow(np.array([0, 1]), np.array([0, 2]), W, U, 2, 0, 1, 0)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="rate: with 1e"):
        train_skipgram(np.array([0, 1, 2, 1] * 9), np.array([0, 36]), W, U, 2, 1, 3, 0, rate=1e38,
                       sample=np.inf)
    with pytest.raises(ValueError, match="tokens: expected"):
        train_skipgram(np.array([0, 5]), np.array([0, 2]), W, U, 2, 1, 1, 0, sample=np.inf)


def test_a_block_can_be_drawn_again():
    tokens, starts = np.arange(50) % 7, np.array([0, 20, 50])
    table, keep = alias_table(noise_distribution(np.ones(7))), np.full(7, 0.8)
    one, two, other = (draw_block(tokens, starts, keep, table, 3, 4, (1, 0, b)) for b in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[3][:20], other[3][:20])
    words, bounds, windows, negatives, places = one
    assert np.array_equal(words, tokens[places]) and bounds[-1] == len(words)
    assert negatives.shape == (len(words), 4) and set(windows) <= {1, 2, 3}
    assert len(skipgram_pairs(words, bounds, windows)[0]) > 0
