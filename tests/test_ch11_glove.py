"""Chapter 11: GloVe: its weight, loss and steps, ratios of probabilities, counts of blocks."""
import inspect
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    EDGE_SIZES,
    assert_close,
    assert_gradient,
    emulated,
    every_backend,
    every_order,
    every_twin,
    on_emulator,
)
from hypothesis import given
from hypothesis import strategies as st

from kernels import emulator
from primer import ch11_glove as chapter
from primer import claims, data
from primer.ch03_bow import CSR, bag_of_words, encode, to_dense, tokenize
from primer.ch10_factorization import cooccurrence_inverse_distance, marginals
from primer.ch11_glove import (
    GloVe,
    adagrad_block,
    add_counts,
    cooccurrence_weight,
    count_block,
    errors,
    glove_loss,
    glove_loss_grad,
    initial_model,
    parameters,
    predicted_ratios,
    probability_ratios,
    shuffled_entries,
    sum_counts,
    train_glove,
    word_vectors,
)
from primer.exercises.ch03_bow import compress
from primer.exercises.ch11_glove import drawn
from primer.exercises.kit import catalogue, run_property

every_block = every_backend("ch11_glove", "adagrad_block")
every_long_block = every_backend("ch11_glove", "adagrad_block", orders=())
every_count = every_backend("ch11_glove", "count_block", "add_counts")
every_twin_block = every_twin("ch11_glove", "adagrad_block")
every_twin_count = every_twin("ch11_glove", "count_block", "add_counts")

TEXTS = st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=1, max_size=5)
TABLES = st.integers(0, 999).map(lambda seed: np.random.default_rng(seed).integers(-3, 4, (5, 5)))


def corpus(texts):
    """Lists of ids -> tokens (T,), starts (n + 1,)."""
    return np.array(sum(texts, []), np.int64), np.cumsum([0, *map(len, texts)])


def entries(seed, count=6, V=4, d=3):
    """-> a GloVe in mid-training, (rows, columns, logs, weights): some words stand there twice."""
    r = np.random.default_rng(seed)
    parts = r.standard_normal((2, V, 2, d + 1))
    parts[:, :, 1] = r.uniform(0.2, 1, (2, V, d + 1))
    return GloVe(*parts), (*r.integers(0, V, (2, count)), r.standard_normal(count),
                           r.uniform(0.1, 1, count))


def copied(model):
    return GloVe(*(part.copy() for part in model))


def equal_bits(got, want):
    for a, b in zip(got, want, strict=True):
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        else:
            assert a == b


# 1. The equations.

@given(seed=st.integers(0, 999), x_max=st.floats(1, 200), alpha=st.floats(0.1, 2))
def test_the_loss_is_the_equation(seed, x_max, alpha):
    W, C, b, a, X = drawn(seed)
    total, table = 0.0, to_dense(X)
    for i, j in itertools.product(range(4), range(4)):
        if table[i, j] > 0:
            e = sum(W[i, k] * C[j, k] for k in range(3)) + b[i] + a[j] - math.log(table[i, j])
            total += min(1.0, (table[i, j] / x_max) ** alpha) * e ** 2
    assert_close(glove_loss(W, C, b, a, X, x_max, alpha), total)


def spec_steps(model, rows, columns, logs, weights, rate):
    """As glove.c does it, with sums of squares S, one number at a time -> GloVe, cost."""
    d = model.words.shape[2] - 1
    w, c = model.words[:, 0].tolist(), model.contexts[:, 0].tolist()
    sw, sc = (1 / model.words[:, 1] ** 2).tolist(), (1 / model.contexts[:, 1] ** 2).tolist()
    cost = 0.0
    for i, j, log, f in zip(rows, columns, logs, weights, strict=True):
        diff = sum(w[i][k] * c[j][k] for k in range(d)) + w[i][d] + c[j][d] - log
        cost += 0.5 * f * diff * diff
        for k in range(d):
            one, two = rate * f * diff * c[j][k], rate * f * diff * w[i][k]
            w[i][k] -= one / math.sqrt(sw[i][k])
            c[j][k] -= two / math.sqrt(sc[j][k])
            sw[i][k] += one * one
            sc[j][k] += two * two
        for p, s, at in ((w, sw, i), (c, sc, j)):
            p[at][d] -= f * diff / math.sqrt(s[at][d])
            s[at][d] += (f * diff) ** 2
    out = [np.stack([np.array(p), 1 / np.sqrt(s)], axis=1) for p, s in ((w, sw), (c, sc))]
    return GloVe(*out), cost


@every_block
@given(seed=st.integers(0, 999), rate=st.sampled_from([0.01, 0.05, 0.3]))
def test_steps_are_the_equation(backend, seed, rate):
    model, steps = entries(seed, 1 if emulated(backend) else 12)
    want, cost = spec_steps(model, *steps, rate)
    got, count = backend.adagrad_block(*model, *steps, rate)
    assert count == len(steps[0])
    rtol = 2e-5 if emulated(backend) else 1e-9                    # float32 there
    assert_close(got, cost, rtol=rtol, atol=rtol / 100)
    for a, b in zip(model, want, strict=True):
        assert_close(a, b, rtol=rtol, atol=rtol / 100)


@every_count
@given(texts=TEXTS, window=st.integers(1, 12))
def test_counts_are_the_equation(backend, texts, window):
    want = np.zeros((6, 6))
    for text in texts:
        for i, j in itertools.permutations(range(len(text)), 2):
            if abs(i - j) <= window:
                want[text[i], text[j]] += 1 / abs(i - j)
    assert_close(to_dense(backend.count_block(*corpus(texts), 6, window)), want)


@every_count
@given(one=TABLES, two=TABLES)
def test_a_sum_is_the_sum(backend, one, two):
    one, two = np.maximum(one, 0) / 3, np.maximum(two, 0) / 7
    got = backend.add_counts(compress(one), compress(two))
    assert_close(to_dense(got), one + two)
    assert got.data.size == np.count_nonzero(one + two) and got.indptr.dtype == np.int64
    assert got.indices.dtype == np.int32
    for a, b in itertools.pairwise(got.indptr):
        assert np.all(np.diff(got.indices[a:b]) > 0)


# 2. The text's worked examples.

def cat_mat(window, stop=2):
    texts = data.load_texts()["cat_mat"]["documents"][:stop]
    vocabulary = bag_of_words(data.load_texts()["cat_mat"]["documents"])[0]
    return vocabulary, count_block(*corpus([encode(tokenize(t), vocabulary).tolist()
                                            for t in texts]), len(vocabulary), window)


def test_the_mat_is_what_stands_farthest_from_the_cat():                     # line 1314 errs
    vocabulary, X = cat_mat(10, stop=1)
    row = to_dense(X)[vocabulary["cat"]]
    assert_close([row[vocabulary[w]] for w in ("the", "sat", "on", "mat")],
                 [1 + 1 / 3, 1, 0.5, 0.25])
    assert row[row > 0].min() == 0.25


def test_the_matrix_is_symmetric_so_the_direction_is_no_matter():            # line 1304
    _, X = cat_mat(4)
    assert_close(to_dense(X), to_dense(X).T)


def test_the_claims_have_their_verdicts():
    rows = claims.rows(11)
    assert [r["line"] for r in rows if r["verdict"] == "wrong"] == [1314, 1314, 1337, 1438]
    assert [r["line"] for r in rows if r["verdict"] == "right"] == [1304, 1320, 1337, 1556]


# 3. Properties.

@given(x=st.lists(st.floats(0, 1e6), min_size=1, max_size=9), x_max=st.floats(0.1, 1e3),
       alpha=st.floats(0.05, 3))
def test_the_weight_rises_from_0_to_1(x, x_max, alpha):
    got = cooccurrence_weight(np.sort(x), x_max, alpha)
    assert np.all(got >= 0) and np.all(got <= 1) and np.all(np.diff(got) >= 0)
    assert_close(cooccurrence_weight([0, x_max, 2 * x_max], x_max, alpha), [0.0, 1.0, 1.0])


@given(seed=st.integers(0, 999))
def test_what_leaves_the_loss_as_it_is(seed):
    W, C, b, a, X = drawn(seed)
    J = glove_loss(W, C, b, a, X)
    assert_close(glove_loss(C, W, a, b, compress(to_dense(X).T)), J)
    assert_close(glove_loss(W, C, b + 1.7, a - 1.7, X), J)
    A = np.random.default_rng(seed + 1).standard_normal((3, 3)) + 3 * np.eye(3)
    assert_close(glove_loss(W @ A, C @ np.linalg.inv(A).T, b, a, X), J, rtol=1e-7)


@given(seed=st.integers(0, 999))
def test_exact_logarithms_cost_nothing(seed):
    W, C, b, a, X = drawn(seed)
    table = np.exp(W @ C.T + b[:, None] + a)
    exact = X._replace(data=table[to_dense(X) > 0])
    assert_close(errors(W, C, b, a, exact), np.zeros(X.data.size), atol=1e-12)
    for part in glove_loss_grad(W, C, b, a, exact):
        assert_close(part, np.zeros(part.shape), atol=1e-11)


@given(seed=st.integers(0, 999))
def test_cells_without_a_count_have_no_say(seed):
    """A word and a context more, with nothing: the same loss, and no gradient for them."""
    W, C, b, a, X = drawn(seed)
    wide = compress(np.pad(to_dense(X), (0, 1)))
    more = [np.concatenate([p, p[:1]]) for p in (W, C, b, a)]
    assert_close(glove_loss(*more, wide), glove_loss(W, C, b, a, X))
    for part in glove_loss_grad(*more, wide):
        assert not np.any(part[-1])


@every_block
@given(seed=st.integers(0, 999))
def test_steps_shrink_as_adagrads_do(backend, seed):
    """r is 1 / sqrt(1 + all (rate g)^2 so far): it never grows, and a step of 0 leaves it."""
    model, steps = entries(seed, 1)
    for part in model:
        part[:, 1] = 1
    for _ in range(3):
        before = copied(model)
        backend.adagrad_block(*model, *steps, 0.2)
        for a, b in zip(model, before, strict=True):
            assert np.all(a[:, 1] <= b[:, 1]) and np.all(a[:, 1] > 0)
    backend.adagrad_block(*model, *steps[:3], steps[3] * 0, 0.2)
    kept = copied(model)
    assert backend.adagrad_block(*model, *steps[:3], steps[3] * 0, 0.2) == (0.0, 1)
    equal_bits(model, kept)


def test_a_step_is_half_of_the_gradient_of_one_entry():
    model, (rows, columns, logs, weights) = entries(3, 1)
    for part in model:
        part[:, 1] = 1
    W, C, b, a = (p.copy() for p in parameters(model))
    table = np.zeros((4, 4))
    table[rows[0], columns[0]] = math.exp(logs[0])
    x_max = math.exp(logs[0]) / weights[0]                                  # f = x / x_max
    grads = glove_loss_grad(W, C, b, a, compress(table), x_max, 1.0, g=0.5)
    adagrad_block(*model, rows, columns, logs, weights, 0.01)
    for now, old, grad, rate in zip(parameters(model), (W, C, b, a), grads,
                                    (0.01, 0.01, 1, 1), strict=True):
        assert_close(now, old - rate * grad, rtol=1e-9)


def test_entries_are_all_there_once():
    X = drawn(1)[-1]
    rows, columns, logs, weights = shuffled_entries(X, np.random.default_rng(0))
    assert rows.dtype == columns.dtype == np.int32 and logs.dtype == weights.dtype == np.float32
    again = np.zeros((4, 4))
    again[rows, columns] = np.exp(logs)
    assert_close(again, to_dense(X).astype(float), rtol=1e-5)
    assert_close(weights, cooccurrence_weight(np.exp(logs)).astype(np.float32), rtol=1e-5)
    other = shuffled_entries(X, np.random.default_rng(1))
    assert not np.array_equal(other[0], rows) or not np.array_equal(other[1], columns)


@given(one=TEXTS, window=st.integers(1, 6), cut=st.integers(0, 5))
def test_blocks_add_up_to_the_corpus(one, window, cut):
    whole = count_block(*corpus(one), 6, window)
    cut = min(cut, len(one))
    parts = [count_block(*corpus(part or [[]]), 6, window) for part in (one[:cut], one[cut:])]
    got = sum_counts(iter(parts))
    assert_close(to_dense(got), to_dense(whole), rtol=1e-12)
    assert_close(to_dense(add_counts(*parts[::-1])), to_dense(whole), rtol=1e-12)


def some_blocks(r, count, V=40, cells=12):
    """Small tables of counts -> list of CSR."""
    out = []
    for _ in range(count):
        table = np.zeros((V, V))
        table[tuple(r.integers(0, V, (2, cells)))] = 1
        out.append(compress(table))
    return out


@every_count
def test_many_blocks_add_up_and_are_copied_seldom(backend):
    sizes, blocks = [], some_blocks(np.random.default_rng(0), 64)

    class Watched:
        def add_counts(self, X, Y):
            sizes.append(X.data.size + Y.data.size)
            return backend.add_counts(X, Y)
    got = sum_counts(iter(blocks), Watched())
    assert_close(to_dense(got), sum(map(to_dense, blocks)))
    assert sum(sizes) < 64 * 12 * 7                # log2(64) times, and no more
    assert sum_counts(blocks[:1]) is blocks[0]


def planted(V=30, d=4, seed=0):
    """A symmetric table of rank d and biases in its logarithms -> CSR."""
    r = np.random.default_rng(seed)
    W, b = r.normal(0, 0.7, (V, d)), r.normal(1.5, 0.5, V)
    return compress(np.exp(W @ W.T + b[:, None] + b))


@every_long_block
def test_training_finds_planted_logarithms(backend):
    """A table whose logarithms have rank d is met, and more exactly with more epochs."""
    X = planted(16)
    start = initial_model(16, 6, np.random.default_rng(1))
    kept = copied(start)
    model, history = train_glove(X, start, 120, np.random.default_rng(2), 0.1, twin=backend)
    equal_bits(start, kept)
    assert history.shape == (120,) and history[-1] < 2e-3 < 0.2 < history[0]
    W, C, b, a = parameters(model)
    assert np.corrcoef(errors(W, C, b, a, X) + np.log(X.data), np.log(X.data))[0, 1] > 0.99
    now = glove_loss(W, C, b, a, X) / (2 * X.data.size)
    assert history[-1] / 2 < now < history[-1]                     # it went on learning


def test_ratios_come_out_of_differences():
    """Line 1556: with exact vectors, <w_i - w_j, c_k> is the logarithm of the ratio."""
    X = planted()
    totals = marginals(X)[0]
    W, b = np.random.default_rng(0).normal(0, 0.7, (30, 4)), None
    r = np.random.default_rng(0)
    W, b = r.normal(0, 0.7, (30, 4)), r.normal(1.5, 0.5, 30)
    part = np.ones((30, 2, 5))
    part[:, 0] = np.column_stack([W, b])
    k, ratio = probability_ratios(X, 3, 8)
    assert_close(predicted_ratios(GloVe(part, part), 3, 8, k, totals), ratio, rtol=1e-9)
    part[:, 0, -1] = np.log(totals)
    assert_close(np.exp(part[k, 0, :-1] @ (W[3] - W[8])),
                 predicted_ratios(GloVe(part, part), 3, 8, k, totals), rtol=1e-9)


def test_vectors_are_the_sum_of_both():
    model = entries(0)[0]
    assert_close(word_vectors(model), model.words[:, 0, :3] + model.contexts[:, 0, :3])


def test_vectors_start_small():
    model = initial_model(50, 10, np.random.default_rng(0))
    for part in model:
        assert part.shape == (50, 2, 11) and part.dtype == np.float32 and np.all(part[:, 1] == 1)
        assert 0.045 < np.abs(part[:, 0]).max() <= 0.05 and abs(part[:, 0].mean()) < 0.005
    assert not np.array_equal(*model)


# 4. Gradients.

@given(seed=st.integers(0, 999), g=st.sampled_from([1.0, -1.7]), x_max=st.sampled_from([20., 100.]))
def test_gradient_of_the_loss(seed, g, x_max):
    *point, X = drawn(seed)
    grads = glove_loss_grad(*point, X, x_max, 0.6, g)
    for k in range(4):
        def along(p, k=k):
            return g * glove_loss(*point[:k], p, *point[k + 1:], X, x_max, 0.6)
        assert_gradient(along, grads[k], point[k], seed, atol=1e-5)


# Errors.

@every_block
def test_bad_entries_are_named(backend):
    model, (rows, columns, logs, weights) = entries(0)

    def block(words=model.words, contexts=model.contexts, rows=rows, columns=columns, logs=logs,
              weights=weights, rate=0.05):
        return backend.adagrad_block(words, contexts, rows, columns, logs, weights, rate)
    kept = copied(model)
    for arguments, words in (
            (dict(words=model.words[:, 0]), "words: expected shape"),
            (dict(contexts=model.contexts[:, :, 1:]), "contexts: expected float64 rows"),
            (dict(contexts=model.contexts.astype(np.float32)), "contexts: expected float64 rows"),
            (dict(rows=rows + 4), "rows: expected integers from 0 to 3"),
            (dict(columns=columns - 9), "columns: expected integers from 0 to 3"),
            (dict(columns=columns[1:]), "columns: expected 6 integers"),
            (dict(logs=logs[:2]), "logs: expected 6 finite"),
            (dict(logs=logs * math.nan), "logs: expected 6 finite"),
            (dict(weights=weights * math.inf), "weights: expected 6 finite"),
            *((dict(rate=bad), "rate: expected a finite number above 0")
              for bad in (0, -1, math.nan, math.inf))):
        with pytest.raises(ValueError, match=words):
            block(**arguments)
    equal_bits(model, kept)


def test_bad_counts_are_named():
    X = drawn(0)[-1]
    for V, d in ((0, 3), (3, 0), (-1, 2)):
        with pytest.raises(ValueError, match="V, d: expected at least 1"):
            initial_model(V, d, np.random.default_rng(0))
    model, r = initial_model(4, 2, np.random.default_rng(0)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="model: expected .4, 4. words and contexts, got 5, 5"):
        train_glove(X, initial_model(5, 2, r), 1, r)
    empty = CSR(np.zeros(5, np.int64), np.empty(0, np.int32), np.empty(0), (4, 4))
    with pytest.raises(ValueError, match="C: expected counts, got none"):
        train_glove(empty, model, 1, r)
    for bad in (0.0, -2.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="C: expected finite stored counts above 0"):
            train_glove(X._replace(data=np.r_[X.data[1:], bad]), model, 1, r)
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="x_max: expected a finite number above 0"):
            train_glove(X, model, 1, r, x_max=bad)
        with pytest.raises(ValueError, match="alpha: expected a finite number above 0"):
            cooccurrence_weight([1], alpha=bad)
    with pytest.raises(ValueError, match="x: expected finite counts"):
        cooccurrence_weight([-1.0])
    with pytest.raises(ValueError, match="i, j: expected integers from 0 to 3"):
        probability_ratios(X, 0, 4)
    with pytest.raises(ValueError, match="parts: expected at least one"):
        sum_counts([])


@every_long_block
def test_a_rate_that_is_too_large_is_named(backend):
    X, r = planted(), np.random.default_rng(0)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="rate: with 1000.0 the vec"):
        train_glove(X, initial_model(30, 6, r), 9, r, 1000.0, twin=backend)


@every_count
def test_bad_corpora_are_named(backend):
    for tokens, starts, window, words in (
            ([0, 1, 6], [0, 3], 2, "tokens: expected ids from 0 to 5"),
            ([0, -1], [0, 2], 2, "tokens: expected integers from 0"),
            ([0, 1], [0, 1], 2, "starts: expected 0, rising"),
            ([0, 1], [1, 2], 2, "starts: expected 0, rising"),
            ([0, 1], [0, 2], 0, "window: expected whole numbers from 1"),
            ([0, 1], [0, 2], 1.5, "window: expected whole numbers from 1"),
            ([0, 1], [0, 2], [1, 2], "one window")):
        with pytest.raises(ValueError, match=words):
            backend.count_block(np.array(tokens), np.array(starts), 6, window)
    with pytest.raises(ValueError, match="Y: expected shape .5, 5., got .4, 4."):
        backend.add_counts(compress(np.ones((5, 5))), compress(np.ones((4, 4))))


# 5. Parity with Stanford's programs; how it was made stands in tests/parity/ch11_glove.py.

@pytest.fixture(scope="module")
def frozen():
    with np.load(Path(__file__).parent / "parity/ch11_glove.npz", allow_pickle=False) as stored:
        return dict(stored)


@every_count
def test_counts_equal_stanfords(backend, frozen):
    V = len(frozen["words"])
    X = backend.count_block(frozen["tokens"], frozen["starts"], V, int(frozen["window"]))
    assert np.array_equal(chapter.row_of_entry(X), frozen["rows"])
    assert np.array_equal(X.indices, frozen["columns"])
    assert_close(X.data, frozen["counts"], rtol=1e-12)


@every_long_block
def test_steps_equal_stanfords(backend, frozen):
    """The same start and order: the same cost of each epoch, and the same numbers at the end."""
    model = GloVe(*(np.stack([p, np.ones_like(p)], axis=1) for p in frozen["start"]))
    order, x_max = frozen["order"], float(frozen["x_max"])
    steps = (frozen["rows"][order], frozen["columns"][order], np.log(frozen["counts"][order]),
             cooccurrence_weight(frozen["counts"][order], x_max))
    costs = [np.divide(*backend.adagrad_block(*model, *steps)) for _ in frozen["costs"]]
    serial = backend is chapter
    assert_close(costs, frozen["costs"], rtol=1e-5 if serial else 1e-2, atol=6e-7)
    if serial:
        for got, part in zip(model, (0, 1), strict=True):
            assert_close(got[:, 0], frozen["end"][part], atol=2e-6)
            assert_close(1 / got[:, 1] ** 2, frozen["gradsq"][part], rtol=1e-5, atol=2e-6)


# 6. Twins.

TOLERANCE = {np.float64: 1e-9, np.float32: 2e-4}


def alone(r, m, V):
    """m entries, no word and no context twice -> rows, columns, logs, weights."""
    return (r.permutation(V)[:m].astype(np.int32), r.permutation(V)[:m].astype(np.int32),
            r.normal(2, 1, m), r.uniform(0.01, 1, m))


def check_steps_of(backend, m, d, dtype):
    """No word twice: the order of the steps is no matter, nor are threads."""
    r = np.random.default_rng(m + d)
    mine = initial_model(140, d, r, dtype)
    for part in mine:
        part[:, 0] *= 2 * d
        part[:, 1] = r.uniform(0.1, 1, part[:, 1].shape)
    other, steps = copied(mine), alone(r, m, 140)
    for rate in (0.05, 1.0):                                 # the larger one leaves the series
        got, want = (b.adagrad_block(*model, *steps, rate) for b, model in ((backend, mine),
                                                                            (chapter, other)))
        assert got[1] == want[1] == m
        assert_close(got[0], want[0], rtol=TOLERANCE[dtype])
        for a, b in zip(mine, other, strict=True):
            assert a.dtype == dtype
            assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] / 10)


@every_twin_block
@pytest.mark.parametrize("m", EDGE_SIZES)
def test_twin_takes_the_same_steps(backend, m):
    for d in (1, 31) if emulated(backend) else (1, 2, 31, 32, 33, 100):
        check_steps_of(backend, m, d, np.float32)


@every_twin("ch11_glove", "adagrad_block", orders=())
@pytest.mark.parametrize("m", EDGE_SIZES)
def test_twin_takes_the_same_steps_in_float64(backend, m):
    for d in (1, 2, 31, 32, 33, 100):
        check_steps_of(backend, m, d, np.float64)


def crowd():
    """Many entries of few words, whose warps meet -> GloVe in float32, rows, columns, ..."""
    model, steps = entries(4, 64, V=3, d=33)
    return GloVe(*(part.astype(np.float32) for part in model)), steps


@every_order
def test_warps_that_meet_lose_nothing(order):
    """Steps so small that their order hardly matters: each number moves by the sum of all."""
    model, (*steps, weights) = crowd()
    want, _ = spec_steps(model, *steps, 1e-4 * weights, 1.0)
    before = copied(model)
    with emulator.running(**order):
        _, count = emulator.load("ch11_glove").adagrad_block(*model, *steps, 1e-4 * weights, 1.0)
    assert count == 64
    for got, right, old in zip(model, want, before, strict=True):
        moved, wanted = (x[:, 0].astype(float) - old[:, 0] for x in (got, right))
        assert_close(moved, wanted, rtol=0.02, atol=1e-4)
        assert np.abs(wanted).max() > 5e-3                 # a step that is lost would be seen


@on_emulator
@pytest.mark.parametrize("old, new", [
    ("atomicAdd(c + k, -back * rsqrtf(__ldcg(c + d + 1 + k)));",
     "c[k] -= back * rsqrtf(__ldcg(c + d + 1 + k));"),
    ("atomicAdd(w + d + 1 + k, move * move);", "w[d + 1 + k] += move * move;"),
    ("for (int k = lane; k <= d; k += 32) {", "for (int k = lane; k <= d + 1; k += 32) {")])
def test_a_kernel_without_its_atomics_or_bounds_is_found(old, new):
    model, steps = crowd()
    with pytest.raises(emulator.KernelError, match="RACE|OUT-OF-BOUNDS"), \
            emulator.running(edits=((old, new),)):
        emulator.load("ch11_glove").adagrad_block(*model, *steps)


@every_twin("ch11_glove", "adagrad_block", orders=())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_thread_is_reproducible_and_the_reference(backend, dtype, threads):
    threads(1)
    X, r = planted(), np.random.default_rng(0)
    steps = shuffled_entries(X, r)
    start = initial_model(30, 9, r, dtype)
    runs = [copied(start) for _ in range(3)]
    costs = [b.adagrad_block(*model, *steps, 0.1) for b, model in
             zip((backend, backend, chapter), runs, strict=True)]
    equal_bits([*runs[0], costs[0]], [*runs[1], costs[1]])
    assert_close(costs[0][0], costs[2][0], rtol=TOLERANCE[dtype])
    for a, b in zip(runs[0], runs[2], strict=True):
        assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@every_twin("ch11_glove", "adagrad_block", orders=())
def test_cut_into_blocks_it_is_the_same(backend, threads):
    threads(1)
    X, r = planted(), np.random.default_rng(0)
    steps, start = shuffled_entries(X, r), initial_model(30, 9, r)
    whole, cut = copied(start), copied(start)
    backend.adagrad_block(*whole, *steps)
    for first, stop in itertools.pairwise((0, 1, 400, 400, len(steps[0]))):
        backend.adagrad_block(*cut, *(part[first:stop] for part in steps))
    equal_bits(whole, cut)


@every_twin("ch11_glove", "adagrad_block", orders=())
def test_threads_cost_no_quality(backend, threads):
    X, r = planted(120), np.random.default_rng(0)
    start, found = initial_model(120, 6, r), []
    for n in (1, 2):
        threads(n)
        found.append(train_glove(X, start, 40, np.random.default_rng(1), 0.1, twin=backend)[1][-1])
    assert found[1] < 1.5 * found[0] + 1e-3


@every_twin_count
@pytest.mark.parametrize("T", [*EDGE_SIZES, 2000])
@pytest.mark.parametrize("V", [1, 33, 129])
def test_twin_counts_and_adds_as_the_reference(backend, T, V, threads):
    threads(2)
    r = np.random.default_rng(T + V)
    parts = []
    for _ in range(2):
        tokens = r.integers(0, V, T).astype(np.int32)
        starts = np.sort(np.r_[0, r.integers(0, T + 1, T // 10), T])
        for window in (1, 5, 10**6 if T < 200 else 30):
            got, want = (b.count_block(tokens, starts, V, window) for b in (backend, chapter))
            equal_bits((*got[:2], got.shape), (*want[:2], want.shape))
            assert_close(got.data, want.data, rtol=1e-12)
        parts.append(want)
    equal_bits(backend.add_counts(*parts), add_counts(*parts))


@every_twin_count
def test_twin_counts_a_file_in_place(backend, tmp_path):
    """Tokens may be a memory map of any integer type."""
    tokens = np.random.default_rng(0).integers(0, 50, 3000).astype(np.int32)
    tokens.tofile(tmp_path / "tokens")
    there = np.memmap(tmp_path / "tokens", np.int32, "r")
    starts = np.array([0, 1000, 1000, 3000])
    equal_bits(backend.count_block(there, starts, 50, 5), backend.count_block(
        tokens.astype(np.int64), starts, 50, 5))
    assert_close(backend.count_block(there, starts, 50, 5).data, cooccurrence_inverse_distance(
        np.split(tokens, starts[1:-1]), 50, 5).data, rtol=1e-12)


# 7. Mutants: the catalogue's are caught in tests/test_exercises.py; here the control, and ones that
# no student can make.

def test_a_right_answer_in_other_words_passes():
    """Dense algebra and sums of squares in place of ours."""
    def glove_loss(W, C, b, a, X, x_max=100.0, alpha=0.75):
        seen = to_dense(X) > 0
        E = (W @ C.T + b[:, None] + a)[seen] - np.log(X.data)
        return float(np.dot(np.clip((X.data / x_max) ** alpha, 0, 1), E * E))

    def adagrad_step(word, context, log, weight, rate=0.05):
        (w, r), (c, s) = word, context
        e = w[:-1] @ c[:-1] + w[-1] + c[-1] - log
        out = []
        for p, share, other in ((w, r, c), (c, s, w)):
            move = weight * e * np.r_[rate * other[:-1], 1]
            out.append(np.stack([p - move * share, (share ** -2 + move ** 2) ** -0.5]))
        return *out, weight * e * e / 2

    mine = {"glove_loss": glove_loss, "glove_loss_grad": chapter.glove_loss_grad,
            "adagrad_step": adagrad_step}
    for exercise in catalogue("ch11_glove"):
        if exercise.id in ("ch11.loss", "ch11.step"):
            for p in exercise.properties:
                assert run_property(p, mine).status == "passed", p.claim


@pytest.mark.parametrize("old, new", [("while len(waiting) > 1 and", "while len(waiting) > 9 and"),
                                      ("2 * waiting[-1].data.size", "0 * waiting[-1].data.size")])
def test_adding_up_without_doubling_copies_more(old, new):
    """The control of test_many_blocks_add_up_and_are_copied_seldom: its bound is not slack."""
    source = inspect.getsource(sum_counts)
    assert source.count(old) == 1
    names, sizes = dict(vars(chapter)), []
    exec(compile(source.replace(old, new), "mutant", "exec"), names)

    class Watched:
        def add_counts(self, X, Y):
            sizes.append(X.data.size + Y.data.size)
            return add_counts(X, Y)
    r = np.random.default_rng(0)
    names["sum_counts"](some_blocks(r, 64), Watched())
    assert sum(sizes) > 64 * 12 * 7
