"""Chapter 15: InfoNCE, unit length, pooling, SimCSE, hard negatives, training an encoder."""
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_close, assert_gradient, emulated, every_backend, every_twin
from hypothesis import given
from hypothesis import strategies as st

import kernels
from primer import ch15_contrastive as chapter
from primer import claims
from primer.ch14_bert import initial_heads, mask_tokens, pretraining_step
from primer.ch14_bert_encoder import initial_encoder
from primer.ch15_contrastive import (
    CLS,
    MAX,
    MEAN,
    check_batch,
    cls_pool,
    dpr,
    dpr_grad,
    embed,
    hard_negatives,
    hybrid,
    info_nce,
    info_nce_grad,
    max_pool,
    mean_pool,
    mean_pool_backward,
    padded,
    scores,
    simcse,
    simcse_grad,
    simcse_step,
    train_simcse,
    unit_vectors,
    unit_vectors_backward,
)
from primer.ch15_contrastive_heads import alignment, uniformity
from primer.exercises.ch15_contrastive import drawn, loss_by_hand, states
from primer.figures import ch15_contrastive as figures

BOTH = "info_nce", "info_nce_grad"
every_loss = every_backend("ch15_contrastive", *BOTH)
every_twin_loss = every_twin("ch15_contrastive", *BOTH)
every_fast_loss = every_twin("ch15_contrastive", *BOTH, orders=())
SEEDS = st.integers(0, 9999)


# 1. The equation.

@every_loss
@given(seed=SEEDS, n=st.integers(1, 5), more=st.integers(0, 4), tau=st.sampled_from([0.1, 1.0, 7]))
def test_the_loss_is_the_equation(backend, seed, n, more, tau):
    if emulated(backend) and seed % 8:
        return
    Q, C = drawn(seed, n=n, more=more)
    groups = np.random.default_rng(seed).integers(0, n + more, n + more)
    want = loss_by_hand(Q, C, tau, groups)
    assert_close(backend.info_nce(Q, C, tau, groups), want, atol=1e-10)
    assert_close(backend.info_nce_grad(Q, C, tau, groups)[0], want, atol=1e-10)


def test_the_gradient_is_the_equation():
    Q, C = drawn(15)
    S = scores(Q, C, 0.5)
    p = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
    dQ, dC = np.zeros_like(Q), np.zeros_like(C)
    for i in range(4):
        for j in range(6):
            ds = (p[i, j] - (i == j)) / 4
            dQ[i] += ds * C[j] / 0.5
            dC[j] += ds * Q[i] / 0.5
    _, got, other = info_nce_grad(Q, C, 0.5)
    assert_close(got, dQ)
    assert_close(other, dC)


# 2. The text's examples.

def test_simcse_of_one_text_is_0_and_not_what_is_printed():                   # line 2115 errs
    Z, positives = np.array([[1.0, 0.0]]), np.array([[0.8, 0.6]])
    assert_close(simcse(Z, positives, 0.05), 0.0, atol=1e-12)
    printed = math.log(math.exp(Z[0] @ Z[0] / 0.05)) - Z[0] @ positives[0] / 0.05
    assert_close(printed, 4.0)


def test_the_printed_denominator_makes_no_distribution():                     # line 2115 errs
    rng = np.random.default_rng(0)
    Z = unit_vectors(rng.standard_normal((6, 64)))[0]
    Y = unit_vectors(Z + 0.1 * rng.standard_normal(Z.shape))[0]
    own = np.exp((Z * Y).sum(axis=1) / 0.05)
    shares = own / np.exp(Z @ Z.T / 0.05).sum(axis=1)
    right = np.exp(scores(Z, Y, 0.05))
    assert np.all(shares + (right.sum(axis=1) - own) / right.sum(axis=1) < 0.999)
    assert_close(-np.log(own / right.sum(axis=1)).mean(), simcse(Z, Y, 0.05))


def test_hard_negatives_that_mask_the_positive_make_it_negative():            # line 1839, lost
    Q, C = drawn(3)
    S = scores(Q, C, 0.1)
    literal = (np.log(np.exp(np.where(np.eye(4, 6) > 0, -np.inf, S)).sum(axis=1))
               - np.diagonal(S)).mean()
    assert literal < 0 < info_nce(Q, C, 0.1, np.arange(6))


def test_the_claims_have_their_verdicts():
    rows = [(r["line"], r["verdict"]) for r in claims.rows(15)]
    assert {n for n, v in rows if v == "wrong"} == {1639, 1839, 1853, 2115}
    assert {n for n, v in rows if v == "right"} == {1654, 1839, 1840, 2024, 2026, 2122, 2128,
                                                    2136}


# 3. Properties.

@every_loss
@given(seed=SEEDS)
def test_a_common_order_is_nothing(backend, seed):
    if emulated(backend) and seed % 8:
        return
    Q, C = drawn(seed, n=5, more=3)
    order = np.random.default_rng(seed).permutation(5)
    both = np.concatenate([order, [6, 7, 5]])
    assert_close(backend.info_nce(Q[order], C[both], 0.5), backend.info_nce(Q, C, 0.5))


@every_loss
def test_a_common_shift_of_the_candidates_is_nothing(backend):
    Q, C = drawn(4, n=6)
    assert_close(backend.info_nce(Q, C + 3.0, 0.5), backend.info_nce(Q, C, 0.5))


@given(seed=SEEDS)
def test_the_loss_falls_with_the_positive_and_rises_with_a_negative(seed):
    Q, C = drawn(seed)
    _, _, dC = info_nce_grad(Q[:1], C, 1.0)
    assert dC[0] @ Q[0] < 0 and np.all(dC[1:] @ Q[0] > 0)


@given(seed=SEEDS)
def test_a_cold_loss_is_the_largest_violation(seed):
    Q, C = drawn(seed)
    S = Q @ C.T
    gap = (S.max(axis=1) - np.diagonal(S)).mean()
    assert_close(1e-4 * info_nce(Q, C, 1e-4), gap, atol=2e-3)


@given(seed=SEEDS)
def test_the_gradient_on_the_sphere_lies_across(seed):
    X, Y = drawn(seed, more=0)
    _, dX, dY = simcse_grad(X, Y, 0.2)
    assert_close((dX * X).sum(axis=1), np.zeros(4), atol=1e-9)
    assert_close((dY * Y).sum(axis=1), np.zeros(4), atol=1e-9)


def test_equal_queries_and_equal_texts_are_not_told_apart():
    """All copies of one text: with groups there is nothing to learn, without there is ln n."""
    Q = np.ones((4, 3))
    assert_close(info_nce(Q, Q, 1.0, np.zeros(4, int)), 0.0)
    assert_close(info_nce(Q, Q, 1.0), math.log(4))
    _, dQ, dC = info_nce_grad(Q, Q, 1.0, np.zeros(4, int))
    assert not dQ.any() and not dC.any()


def test_dpr_is_infonce_of_dot_products_at_1():
    Q, C = drawn(6)
    assert_close(dpr(Q, C[:4], C[4:]), loss_by_hand(Q, C, 1.0, range(6)))
    loss, dQ, dpositives, dnegatives = dpr_grad(Q, C[:4], C[4:], g=2.0)
    want = info_nce_grad(Q, C, 1.0, g=2.0)
    assert_close(loss, want[0])
    assert_close(dQ, want[1])
    assert_close(np.concatenate([dpositives, dnegatives]), want[2])


@given(seed=SEEDS)
def test_pooling_does_not_see_padding(seed):
    H, mask = states(seed)
    other = np.where(mask[:, :, None], H, -7.0)
    for pool in (mean_pool, cls_pool, max_pool):
        assert_close(pool(H, mask)[0], pool(other, mask)[0])
        assert pool(H.astype(np.float32), mask)[0].dtype == np.float32
    for i, length in enumerate(mask.sum(axis=1)):
        assert_close(mean_pool(H, mask)[0][i], mean_pool(H[[i], :length])[0][0])


@given(seed=SEEDS, k=st.integers(1, 5))
def test_hard_negatives_cost_more_than_random_ones(seed, k):
    rng = np.random.default_rng(seed)
    Q = unit_vectors(rng.standard_normal((6, 5)))[0]
    C = unit_vectors(rng.standard_normal((40, 5)))[0]
    positives = rng.permutation(40)[:6]
    hard = hard_negatives(Q, C, positives, k)
    easy = hard_negatives(-Q, C, positives, k)
    assert hard.shape == (6, k) and not np.any(hard == positives[:, None])
    assert np.all((Q @ C.T)[np.arange(6)[:, None], hard] >= (Q @ C.T)[np.arange(6)[:, None], easy])


def test_padding_is_the_encoders():
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.dtype == np.int32 and ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]


# 4. Gradients.

@given(seed=SEEDS, g=st.sampled_from([1.0, -1.7]), tau=st.sampled_from([0.1, 2.0]))
def test_gradients(seed, g, tau):
    Q, C = drawn(seed)
    groups = np.random.default_rng(seed).integers(0, 4, 6)
    _, dQ, dC = info_nce_grad(Q, C, tau, groups, g)
    assert_gradient(lambda x: g * info_nce(x, C, tau, groups), dQ, Q, seed + 1)
    assert_gradient(lambda x: g * info_nce(Q, x, tau, groups), dC, C, seed + 1)
    _, dX, dY = simcse_grad(Q, C[:4], tau, g)
    assert_gradient(lambda x: g * simcse(x, C[:4], tau), dX, Q, seed + 1)
    assert_gradient(lambda x: g * simcse(Q, x, tau), dY, C[:4], seed + 1)
    R = np.random.default_rng(seed).standard_normal(Q.shape)
    assert_gradient(lambda x: (R * unit_vectors(x)[0]).sum(),
                    unit_vectors_backward(R, unit_vectors(Q)[1]), Q, seed + 1)


@given(seed=SEEDS)
def test_gradients_of_pooling(seed):
    H, mask = states(seed)
    R = np.random.default_rng(seed).standard_normal((3, 4))
    for pool, backward in (MEAN, CLS, MAX):
        _, cache = pool(H, mask)
        assert_gradient(lambda x, pool=pool: (R * pool(x, mask)[0]).sum(), backward(R, cache), H,
                        seed + 1)
        assert backward(R.astype(np.float32), pool(H.astype(np.float32), mask)[1]).dtype == \
            np.float32


@pytest.fixture
def tiny():
    """An encoder in float64, 7 words, 2 layers -> P, heads."""
    return initial_encoder(7, 6, 8, 2, 12, np.random.default_rng(1), dtype=np.float64), 2


@pytest.mark.parametrize("pool", [MEAN, CLS, MAX])
def test_gradient_through_the_whole_encoder(tiny, pool):
    """With the same dropout masks: the generator is seeded anew for each call."""
    P, heads = tiny
    for x in P.values():
        x += 0.3 * np.random.default_rng(2).standard_normal(x.shape)
    ids, mask = padded([[2, 3, 4, 5], [5, 6], [3, 3, 6]])

    def loss(P):
        return simcse_step(P, heads, ids, mask, 0.3, 0.2, np.random.default_rng(3), pool)

    _, grads = loss(P)
    assert grads.keys() == P.keys()
    for name in ("tokens", "0.qkv", "1.down", "embed.scale"):
        assert_gradient(lambda x, name=name: loss(P | {name: x})[0], grads[name], P[name], 4,
                        rtol=1e-5)


# 5. Parity; what it computes stands in tests/parity/ch15_contrastive.py.

@pytest.fixture(scope="module")
def frozen():
    path = Path(__file__).parent / "parity/ch15_contrastive.npz"
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


@every_loss
def test_in_batch_equals_torch(backend, frozen):
    A, C = frozen["A"], np.concatenate([frozen["B"], frozen["N"]])
    loss, dQ, dC = backend.info_nce_grad(A, C, 0.7)
    assert_close(loss, float(frozen["in_batch"]))
    assert_close(dQ, frozen["in_batch_d0"])
    assert_close(dC, frozen["in_batch_d1"])


def test_simcse_equals_the_ranking_loss_of_sentence_transformers(frozen):
    loss, dX, dY = simcse_grad(frozen["A"], frozen["B"], 1 / 20)
    assert_close(loss, float(frozen["mnrl"]), rtol=1e-7)
    assert_close(dX, frozen["mnrl_d0"], rtol=1e-6)
    assert_close(dY, frozen["mnrl_d1"], rtol=1e-6)


def test_hard_negatives_equal_the_ranking_loss_of_sentence_transformers(frozen):
    (Q, own), (C, other) = (unit_vectors(x) for x in (
        frozen["A"], np.concatenate([frozen["B"], frozen["N"]])))
    loss, dQ, dC = info_nce_grad(Q, C, 1 / 20)
    assert_close(loss, float(frozen["mnrl_hard"]), rtol=1e-7)
    assert_close(unit_vectors_backward(dQ, own), frozen["mnrl_hard_d0"], rtol=1e-6)
    dC = unit_vectors_backward(dC, other)
    assert_close(dC[:5], frozen["mnrl_hard_d1"], rtol=1e-6)
    assert_close(dC[5:], frozen["mnrl_hard_d2"], rtol=1e-6)


def test_pooling_equals_that_of_sentence_transformers(frozen):
    for name, pool in (("mean", mean_pool), ("cls", cls_pool), ("max", max_pool)):
        assert_close(pool(frozen["H"], frozen["mask"])[0], frozen[f"pool_{name}"], rtol=1e-7)


# 6. Twins.

def batch(seed, n, more=0, d=7, dtype=np.float32):
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((n, d)).astype(dtype)
    C = np.concatenate([Q + rng.standard_normal((n, d)), rng.standard_normal((more, d))])
    return Q, C.astype(dtype), 1.5, rng.integers(0, n + more, n + more)


def assert_same(backend, Q, C, tau, groups, rtol, atol):
    for own in (None, groups):
        want = chapter.info_nce_grad(*(x.astype(np.float64) for x in (Q, C)), tau, own, g=-2.0)
        got = backend.info_nce_grad(Q, C, tau, own, g=-2.0)
        assert isinstance(got[0], float) and got[1].dtype == got[2].dtype == Q.dtype
        assert_close(backend.info_nce(Q, C, tau, own), want[0], rtol, atol)
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, rtol, atol)


@every_twin_loss
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 127, 129])
@pytest.mark.parametrize("more", [0, 5])
def test_twin_at_sizes_around_the_tile(backend, n, more):
    n = min(n, 34) if emulated(backend) else n
    assert_same(backend, *batch(n, n, more), rtol=1e-4, atol=1e-5)


@every_twin_loss
def test_twin_in_float64(backend):
    assert_same(backend, *batch(0, 20, 3, dtype=np.float64), rtol=1e-10, atol=1e-12)


@every_twin_loss
@pytest.mark.parametrize("n", [9, 16, 40])
def test_twin_in_several_strips(backend, n, monkeypatch):
    """Strips of 16 queries, the last one shorter or not."""
    module = getattr(backend, "module", backend)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    monkeypatch.setattr(module, "LEAST", 16)
    assert_same(backend, *batch(1, n, 3), rtol=1e-4, atol=1e-5)


@every_fast_loss
def test_twin_with_rows_that_are_no_multiple_of_a_vector(backend):
    for m in (511, 512, 513, 1100):
        assert_same(backend, *batch(2, 3, m - 3), rtol=1e-4, atol=1e-5)


@every_twin_loss
@pytest.mark.parametrize("size", [30.0, 1e3, 1e15])
def test_twin_with_large_scores(backend, size):
    Q, C, tau, groups = batch(3, 6, 2)
    Q[1] = 0                                                  # all scores equal
    want = chapter.info_nce_grad(size * Q.astype(float), C.astype(float), tau, groups)
    got = backend.info_nce_grad(np.float32(size) * Q, C, tau, groups)
    for a, b in zip(got, want, strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max() + 1e-20)


@every_fast_loss
def test_the_twin_stores_no_matrix(backend):
    """What NumPy takes from the system at most: far less than the n x m scores."""
    Q, C, tau, _ = batch(4, 4000, d=16)
    backend.info_nce_grad(Q, C, tau)
    tracemalloc.start()
    backend.info_nce_grad(Q, C, tau)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * 4000 * 4000 / 4


@every_fast_loss
def test_the_twin_repeats_itself_and_threads_change_nothing(backend, threads):
    results = []
    for number in (1, 1, 2):
        threads(number)
        results.append(backend.info_nce_grad(*batch(5, 300, 40)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)


# Training.

WORLD = "cat dog bird sees hears likes tree moon house red big old".split()


def texts(n, rng):
    """Texts of four words out of a world of 12; ids from 1."""
    kinds = [range(1, 4), range(4, 7), range(10, 13), range(7, 10)]
    return [[int(rng.choice(list(kind))) for kind in kinds] for _ in range(n)]


def small_encoder(seed=0):
    return initial_encoder(13, 8, 16, 1, 32, np.random.default_rng(seed)), 2


def test_simcse_spreads_the_texts_and_keeps_like_ones_together(pool=MEAN):
    rng = np.random.default_rng(15)
    P, heads = small_encoder()
    own = texts(64, rng)
    before = uniformity(embed(P, heads, own, pool))
    history = train_simcse(P, heads, own, 12, 32, rng, rate=3e-3, pool=pool)
    after = uniformity(embed(P, heads, own, pool))
    assert len(history) == 24 and history[-4:].mean() < history[:4].mean() - 0.3
    assert after < before - 0.5
    X = embed(P, heads, own, pool)
    near = [[w if i != 2 else 10 + (w - 9) % 3 for i, w in enumerate(t)] for t in own]
    far = X[rng.permutation(64)]
    assert alignment(X, embed(P, heads, near, pool)) < alignment(X, far)


def test_simcse_makes_sentence_vectors_of_the_small_bert():
    """Spread out, near glosses as near as before, WordNet's graph agrees more: from a BERT that
    learned to fill blanks, without labels."""
    ops = kernels.twin("ch14_bert_layers", "numba")
    glosses, pairs, likeness = figures.judged_glosses(200)
    P, heads, encode = figures.small_bert_encoder()
    own = encode(glosses)
    _, judged, _ = figures.train_and_watch(P, heads, encode(figures.training_texts(768)), own,
                                           pairs, likeness, every=12, ops=ops)
    (near, spread, rank), (near_after, spread_after, rank_after) = judged
    assert spread_after < spread - 1.2
    assert near_after < near
    assert rank_after > rank + 0.03


def test_hybrid_with_the_blanks_of_chapter_14():
    """SimCSE with masking beside it: both losses fall."""
    rng = np.random.default_rng(15)
    P, heads = small_encoder()
    P, own, losses = initial_heads(P, rng), texts(64, rng), []

    def masked(P, ids, mask, rng):
        inputs, places, labels = mask_tokens(ids, rng, 13, 12, [0], share=0.25)
        (loss,), grads = pretraining_step(P, heads, (inputs, mask, None, places, labels, None),
                                          rng=rng)
        losses.append(loss)
        return loss, grads
    before = uniformity(embed(P, heads, own))
    train_simcse(P, heads, own, 30, 32, rng, rate=1e-2, masked=masked, weight=1.0)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5
    assert uniformity(embed(P, heads, own)) < before - 0.5


def test_training_repeats_itself_and_hears_its_watchers():
    results, seen = [], []
    for _ in range(2):
        P, heads = small_encoder()
        history = train_simcse(P, heads, texts(20, np.random.default_rng(1)), 2, 8,
                               np.random.default_rng(2), watch=seen.append)
        results.append((history, P["tokens"]))
    assert seen == [0, 1, 2, 3, 4] * 2
    assert np.array_equal(results[0][0], results[1][0])
    assert results[0][1].tobytes() == results[1][1].tobytes()


@every_fast_loss
def test_training_on_the_twin_takes_the_same_steps(backend):
    results = []
    for module in (None, backend):
        P, heads = small_encoder()
        history = train_simcse(P, heads, texts(20, np.random.default_rng(1)), 2, 8,
                               np.random.default_rng(2), twin=module)
        results.append((history, P["tokens"]))
    assert_close(results[1][0], results[0][0], rtol=1e-4, atol=1e-5)
    assert_close(results[1][1], results[0][1], rtol=1e-2, atol=1e-4)


def test_without_dropout_the_views_are_one():
    P, heads = small_encoder()
    ids, mask = padded(texts(6, np.random.default_rng(0)))
    loss, _ = simcse_step(P, heads, ids, mask, 0.05, 0.0, np.random.default_rng(0))
    X = embed(P, heads, [list(i) for i in ids])
    assert_close(loss, simcse(X, X, 0.05), rtol=1e-4)


def test_hybrid_adds_the_other_objective():
    a = {"tokens": np.ones(2), "0.up": np.ones(1)}
    b = {"tokens": np.full(2, 3.0), "bias": np.ones(1)}
    loss, grads = hybrid((2.0, a), (10.0, b), 0.1)
    assert_close(loss, 3.0)
    assert {k: v.tolist() for k, v in grads.items()} == {
        "tokens": [1.3, 1.3], "0.up": [1.0], "bias": [0.1]}
    assert a["tokens"].tolist() == [1, 1]                     # its arguments stay


def test_training_with_a_second_objective_lowers_both():
    """The second one: a word's vector should have length 1 (a stand-in for masking's gradient)."""
    def lengths(P, ids, mask, rng):
        gaps = (P["tokens"] ** 2).sum(axis=1) - 1
        return float((gaps ** 2).mean()), {
            "tokens": (4 * gaps[:, None] * P["tokens"] / len(gaps)).astype(np.float32)}
    P, heads = small_encoder()
    start = lengths(P, None, None, None)[0]
    train_simcse(P, heads, texts(40, np.random.default_rng(1)), 20, 20, np.random.default_rng(2),
                 rate=1e-2, masked=lengths, weight=10.0)
    assert lengths(P, None, None, None)[0] < start / 4


def test_embedding_in_batches_changes_no_vector():
    P, heads = small_encoder()
    own = [t[:k] for t, k in zip(texts(9, np.random.default_rng(3)), [4, 1, 2, 4, 3, 1, 2, 2, 4],
                                 strict=True)]
    X = embed(P, heads, own)
    assert_close((X ** 2).sum(axis=1), np.ones(9, np.float32), rtol=1e-5)
    assert_close(embed(P, heads, own, batch=2), X, rtol=1e-4, atol=1e-6)
    assert_close(embed(P, heads, own[3:4])[0], X[3], rtol=1e-4, atol=1e-6)


# Errors.

@every_loss
def test_bad_batches_are_refused(backend):
    Q, C = drawn(0)
    for words, arguments in (
            ("Q: expected", (Q[:0], C, 1.0)), ("Q: expected", (Q[:, :0], C[:, :0], 1.0)),
            ("Q: expected .* NaN", (Q * np.nan, C, 1.0)),
            ("C: expected .* NaN", (Q, C * np.inf, 1.0)),
            ("C: expected at least 4", (Q, C[:3], 1.0)), ("C: expected", (Q, C[:, :2], 1.0)),
            ("Q: expected", (Q[0], C, 1.0)), ("tau: expected", (Q, C, 0.0)),
            ("tau: expected", (Q, C, np.nan)), ("tau: expected", (Q, C, -1.0)),
            ("groups: expected 6", (Q, C, 1.0, np.arange(5))),
            ("groups: expected", (Q, C, 1.0, np.zeros(6)))):
        for name in BOTH:
            with pytest.raises(ValueError, match=words):
                getattr(backend, name)(*arguments)


def test_mixed_types_become_float64():
    Q, C = drawn(0)
    assert check_batch(Q.astype(np.float32), C, 1.0, None)[0].dtype == np.float64
    assert check_batch(*(x.astype(np.float32) for x in (Q, C)), 1.0, None)[0].dtype == np.float32


def test_bad_pooling_is_refused():
    H = np.ones((2, 3, 4))
    for pool in (mean_pool, cls_pool, max_pool):
        with pytest.raises(ValueError, match="mask: text 1 has no token"):
            pool(H, [[True] * 3, [False] * 3])
        with pytest.raises(ValueError, match="mask: expected shape"):
            pool(H, [[True] * 3])
    assert_close(mean_pool_backward(np.ones((2, 4)), mean_pool(H)[1]), np.full((2, 3, 4), 1 / 3))
    with pytest.raises(ValueError, match="X: a row of zeros"):
        unit_vectors(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="texts: expected"):
        padded([[1], []])


def test_too_few_negatives_are_told():
    Q, C = drawn(0)
    with pytest.raises(ValueError, match="k: expected 1 to 5, as many as query 0"):
        hard_negatives(Q, C, np.arange(4), 6)
    with pytest.raises(ValueError, match="k: expected"):
        hard_negatives(Q, C, np.arange(4), 0)


def test_bad_training_is_refused():
    P, heads = small_encoder()
    own, rng = texts(6, np.random.default_rng(0)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="ids: a batch of one has no negatives"):
        simcse_step(P, heads, *padded(own[:1]), 0.05, 0.1, rng)
    for size in (1, 7):
        with pytest.raises(ValueError, match="batch: expected 2 to 6"):
            train_simcse(P, heads, own, 1, size, rng)


def test_a_loss_that_is_not_finite_stops_training_before_its_step():
    P, heads = small_encoder()
    last = []

    def watch(step):
        last.append({k: v.copy() for k, v in P.items()})

    def spoiled(P, ids, mask, rng):
        return (math.nan if len(last) == 3 else 0.0), {}
    with pytest.raises(ValueError, match="rate: with 0.001 the loss is nan at step 2"):
        train_simcse(P, heads, texts(8, np.random.default_rng(0)), 4, 4, np.random.default_rng(0),
                     masked=spoiled, watch=watch)
    assert all(np.array_equal(P[k], last[-1][k]) for k in P)
    assert any(not np.array_equal(last[0][k], last[-1][k]) for k in P)
