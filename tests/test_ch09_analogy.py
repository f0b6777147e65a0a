"""Chapter 9: analogies, offsets, clusters, t-SNE, sentiment-specific vectors, evaluation."""
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
    every_twin,
    on_emulator,
)
from hypothesis import given
from hypothesis import strategies as st

from kernels import emulator
from primer import ch09_analogy as chapter
from primer import claims, data
from primer.ch01_geometry import kmeans, pca
from primer.ch09_analogy import (
    analogy_3cosadd,
    analogy_accuracy,
    average_ranks,
    cluster_purity,
    joint_probabilities,
    offset_consistency,
    polarity_agreement,
    similarity_correlation,
    spearman,
    sswe_loss,
    sswe_loss_grad,
    sswe_network,
    sswe_scores,
    sswe_scores_backward,
    train_sswe,
    tsne,
    tsne_loss,
    tsne_loss_grad,
    tsne_step,
    word_ids,
)
from tests.makers import opinions as opinions_maker

every_analogy = every_backend("ch09_analogy", "analogy_3cosadd", "analogy_3cosmul")
every_affinity = every_backend("ch09_analogy", "joint_probabilities")
every_loss = every_backend("ch09_analogy", "tsne_loss")
every_gradient = every_backend("ch09_analogy", "tsne_loss_grad")
every_twin_analogy = every_twin("ch09_analogy", "analogy_3cosadd", "analogy_3cosmul")
every_twin_affinity = every_twin("ch09_analogy", "joint_probabilities")
every_twin_loss = every_twin("ch09_analogy", "tsne_loss")
every_twin_gradient = every_twin("ch09_analogy", "tsne_loss_grad")
SEEDS = st.integers(0, 999)


def planted(kinds, things, d, seed=0, noise=0.0):
    """Exact parallelograms, equal lengths: d numbers of the kind, d of the thing -> W (V, 2 d)."""
    rng = np.random.default_rng(seed)
    kind, thing = (X / np.linalg.norm(X, axis=1, keepdims=True)
                   for X in (rng.standard_normal((n, d)) for n in (kinds, things)))
    W = np.hstack([np.repeat(kind, things, axis=0), np.tile(thing, (kinds, 1))])
    return W + noise * rng.standard_normal(W.shape)


def all_questions(kinds, things):
    """Each pair of kinds with each pair of things -> (m, 4) ids."""
    return np.array([(k * things + t, j * things + t, k * things + s, j * things + s)
                     for k in range(kinds) for j in range(kinds) if j != k
                     for t in range(things) for s in range(things) if s != t])


def affinities(n, seed=0, dtype=np.float64):
    """A symmetric P with zeros in it, and a map -> P (n, n), Y (n, 2)."""
    rng = np.random.default_rng(seed)
    P = rng.uniform(0, 1, (n, n)) * (rng.random((n, n)) < 0.7)
    P = np.triu(P, 1) + np.triu(P, 1).T
    return (P / max(P.sum(), 1e-9)).astype(dtype), rng.standard_normal((n, 2)).astype(dtype)


# 1. The equations.

def cos(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(
        sum(x * x for x in a) * sum(y * y for y in b))


def spec_analogy(W, question, score):
    a, b, c = (W[i] for i in question)
    scores = {i: score(cos(x, a), cos(x, b), cos(x, c)) for i, x in enumerate(W)
              if i not in question}
    return max(scores, key=scores.get)


def spec_mul(a, b, c, eps=0.001):
    return (b + 1) / 2 * (c + 1) / 2 / ((a + 1) / 2 + eps)


@every_analogy
@given(seed=SEEDS)
def test_analogies_are_the_equations(backend, seed):
    rng = np.random.default_rng(seed)
    W, questions = rng.standard_normal((12, 3)), rng.integers(0, 12, (5, 3))
    for name, score in (("analogy_3cosadd", lambda a, b, c: b - a + c),
                        ("analogy_3cosmul", spec_mul)):
        got = getattr(backend, name)(W, questions)
        assert got.tolist() == [spec_analogy(W, q, score) for q in questions.tolist()]
        assert got.dtype == np.int64
    want = [spec_analogy(W, q, lambda *x: spec_mul(*x, 0.5)) for q in questions.tolist()]
    assert backend.analogy_3cosmul(W, questions, eps=0.5).tolist() == want


def spec_conditional(X, i, beta):
    """p_j|i for one beta -> list of n."""
    e = [0.0 if j == i else math.exp(-beta * sum((a - b) ** 2 for a, b in
                                                 zip(X[i], X[j], strict=True)))
         for j in range(len(X))]
    return [x / sum(e) for x in e]


def spec_joint(X, perplexity):
    """(9.4) by halving an interval of beta, a row at a time."""
    rows = []
    for i in range(len(X)):
        low, high = 1e-3, 100
        for _ in range(200):
            beta = math.sqrt(low * high)
            entropy = -sum(p * math.log(p) for p in spec_conditional(X, i, beta) if p)
            low, high = (beta, high) if entropy > math.log(perplexity) else (low, beta)
        rows.append(spec_conditional(X, i, beta))
    n = len(X)
    return np.array([[(rows[i][j] + rows[j][i]) / (2 * n) for j in range(n)] for i in range(n)])


@every_affinity
@pytest.mark.parametrize("seed, n, perplexity", [(0, 7, 3), (1, 12, 2.5), (2, 9, 7.5)])
def test_probabilities_are_the_equation(backend, seed, n, perplexity):
    X = np.random.default_rng(seed).standard_normal((n, 3))
    assert_close(backend.joint_probabilities(X, perplexity), spec_joint(X, perplexity), rtol=1e-6)


def spec_tsne(P, Y):
    """(9.5) pair by pair -> KL, gradient (n, d)."""
    n, d = Y.shape
    w = [[0.0 if i == j else 1 / (1 + sum((Y[i][k] - Y[j][k]) ** 2 for k in range(d)))
          for j in range(n)] for i in range(n)]
    Z = sum(map(sum, w))
    kl = sum(P[i][j] * math.log(P[i][j] * Z / w[i][j])
             for i in range(n) for j in range(n) if P[i][j] > 0)
    return kl, np.array([[4 * sum((P[i][j] - w[i][j] / Z) * w[i][j] * (Y[i][k] - Y[j][k])
                                  for j in range(n)) for k in range(d)] for i in range(n)])


@every_loss
@pytest.mark.parametrize("n", [2, 3, 11])
def test_the_divergence_is_the_equation(backend, n):
    P, Y = affinities(n, n)
    assert_close(backend.tsne_loss(P, Y), spec_tsne(P, Y)[0])


@every_gradient
@pytest.mark.parametrize("n", [2, 3, 11])
def test_the_gradient_of_tsne_is_the_equation(backend, n):
    tolerance = 2e-5 if emulated(backend) else 1e-9
    P, Y = affinities(n, n)
    assert_close(backend.tsne_loss_grad(P, Y), spec_tsne(P, Y)[1], tolerance, tolerance * 1e-2)
    assert_close(backend.tsne_loss_grad(P, Y, g=-2.5, exaggeration=12),
                 -2.5 * spec_tsne(12 * P, Y)[1], tolerance, tolerance * 1e-2)


def net(seed, V=7, D=3, m=3, h=4, n=6):
    """-> network, windows, corrupted, polarity."""
    rng = np.random.default_rng(seed)
    network = {k: 2 * x + 0.1 * rng.standard_normal(x.shape)
               for k, x in sswe_network(V, D, m, h, rng).items()}
    windows = rng.integers(0, V, (n, m))
    corrupted = windows.copy()
    corrupted[:, m // 2] = rng.integers(0, V, n)
    return network, windows, corrupted, rng.integers(-1, 2, n)


def spec_scores(network, window):
    x = [float(v) for w in window for v in network["W"][w]]
    hidden = [min(1, max(-1, sum(a * b for a, b in zip(row, x, strict=True)) + g))
              for row, g in zip(network["H"], network["g"], strict=True)]
    return [sum(a * b for a, b in zip(row, hidden, strict=True)) + u
            for row, u in zip(network["U"], network["u"], strict=True)]


@given(seed=SEEDS, alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_sswe_is_the_equation(seed, alpha):
    network, windows, corrupted, polarity = net(seed)
    total = 0
    for t, other, s in zip(windows, corrupted, polarity, strict=True):
        f, g = spec_scores(network, t), spec_scores(network, other)
        total += alpha * max(0, 1 - f[0] + g[0])
        total += (1 - alpha) * max(0, 1 - s * f[1] + s * g[1]) * (s != 0)
    assert_close(sswe_loss(network, windows, corrupted, polarity, alpha), total / len(windows))
    assert_close(sswe_scores(network, windows)[0], [spec_scores(network, t) for t in windows])


@given(x=st.lists(st.integers(-4, 4), min_size=1, max_size=12))
def test_ranks_are_counts_of_what_is_below(x):
    want = [sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x]
    assert_close(average_ranks(x), want)


@given(seed=SEEDS)
def test_offset_consistency_is_the_equation(seed):
    A, B = np.random.default_rng(seed).standard_normal((2, 5, 4))
    want = [cos(B[i] - A[i], B[j] - A[j]) for i in range(5) for j in range(i)]
    assert_close(offset_consistency(A, B), np.mean(want))


@given(labels=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=15))
def test_purity_is_its_words(labels):
    clusters, classes = zip(*labels, strict=True)
    right = sum(max(sum(p == (k, c) for p in labels) for c in set(classes)) for k in set(clusters))
    assert_close(cluster_purity(clusters, classes), right / len(labels))


# 2. The text's worked examples, on planted vectors: the text prints no numbers for its own.

WORDS = ["man", "woman", "king", "queen", "uncle", "aunt", "France", "Paris", "Italy", "Rome",
         "walk", "walking", "run", "running"]


def text_vectors(seed=0, d=12, noise=0.05):
    """Vectors with one offset a relation: female, capital, gerund -> vocabulary, W."""
    rng = np.random.default_rng(seed)
    offsets = rng.standard_normal((3, d))
    W = np.empty((len(WORDS), d))
    for pair in range(7):
        W[2 * pair] = 2 * rng.standard_normal(d)
        W[2 * pair + 1] = W[2 * pair] + offsets[0 if pair < 3 else 1 if pair < 5 else 2]
    return {w: i for i, w in enumerate(WORDS)}, W + noise * rng.standard_normal(W.shape)


@every_analogy
@pytest.mark.parametrize("question", [
    "man king woman queen", "man woman king queen", "man woman uncle aunt",      # 1031, 1032, 1160
    "France Paris Italy Rome", "walk walking run running"])                      # 1052, 1161
def test_the_texts_analogies(backend, question):
    vocabulary, W = text_vectors()
    a, b, c, d = (vocabulary[w] for w in question.split())
    for solve in (backend.analogy_3cosadd, backend.analogy_3cosmul):
        assert solve(W, [[a, b, c]]).tolist() == [d]
        assert solve(W, [[b, a, d]]).tolist() == [c]                             # and back again


def test_with_the_question_left_in_it_answers_itself():
    """Of all words c lies nearest to b - a + c, if offsets are short beside the noise (1183)."""
    questions = all_questions(2, 12)
    W = planted(2, 12, 20, noise=0.08) * np.repeat([0.2, 1], 20)
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    a, b, c, d = questions.T
    nearest = np.argmax((W[b] - W[a] + W[c]) @ W.T, axis=1)
    assert np.mean(nearest == c) > 0.8 and np.mean(nearest == d) < 0.2
    assert np.mean(analogy_3cosadd(W, questions[:, :3]) == d) > 0.95


def test_the_texts_offsets_are_parallel():                                       # 1032, 1052, 1184
    _, W = text_vectors()
    for pairs in (range(0, 6, 2), range(6, 10, 2), range(10, 14, 2)):
        A, B = W[list(pairs)], W[[i + 1 for i in pairs]]
        assert offset_consistency(A, B) > 0.98
        assert offset_consistency(A, B[::-1]) < 0.9


def test_the_texts_clusters():                                                   # 1164-1168
    rng = np.random.default_rng(0)
    centres = 4 * rng.standard_normal((3, 10))                  # animals, countries, emotions
    X, classes = np.repeat(centres, 4, axis=0) + rng.standard_normal((12, 10)), np.arange(12) // 4
    _, labels, *_ = kmeans(X, 3, rng)
    assert cluster_purity(labels, classes) == 1
    Y, _ = tsne(X, 2, rng, perplexity=3, iterations=400)
    assert cluster_purity(kmeans(Y, 3, rng)[1], classes) == 1
    assert cluster_purity(np.zeros(12, int), classes) == 1 / 3


def test_the_claims_have_their_verdicts():
    rows = [(r["line"], r["verdict"]) for r in claims.rows(9)]
    assert [n for n, v in rows if v == "wrong"] == [1045, 1149, 1154, 1178]
    assert [n for n, v in rows if v == "right"] == [1025, 1032, 1044, 1164, 1175, 1183, 1243, 1245]


# 3. Properties.

@every_analogy
@given(seed=SEEDS)
def test_exact_parallelograms_are_all_solved(backend, seed):
    W, questions = planted(3, 4, 3, seed), all_questions(3, 4)
    assert_close(offset_consistency(W[:4], W[4:8]), 1.0)
    assert np.array_equal(backend.analogy_3cosadd(W, questions[:, :3]), questions[:, 3])


@every_analogy
@given(seed=SEEDS, scale=st.sampled_from([0.01, 1.0, 300.0]))
def test_answers_turn_with_the_space(backend, seed, scale):
    rng = np.random.default_rng(seed)
    W, questions = rng.standard_normal((20, 6)), rng.integers(0, 20, (8, 3))
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    lengths = rng.uniform(0.1, 9, (20, 1))                                # unit rows are compared
    for solve in (backend.analogy_3cosadd, backend.analogy_3cosmul):
        want = solve(W, questions)
        assert np.all(want[:, None] != questions)
        assert np.array_equal(solve(scale * W @ Q, questions), want)
        assert np.array_equal(solve(lengths * W, questions), want)


@every_analogy
def test_ties_go_to_the_lower_id(backend):
    rng = np.random.default_rng(0)
    W = rng.integers(-3, 4, (9, 4)).astype(float) + 0.5
    W = np.concatenate([W, W, W])
    questions = rng.integers(0, 9, (30, 3))
    for solve in (backend.analogy_3cosadd, backend.analogy_3cosmul):
        answers = solve(W, questions)
        # a copy of a question's word may answer; of equal rows, the first that is no question word
        for own, x in zip(questions, answers, strict=True):
            assert x == next(i for i in range(27) if i not in own and np.array_equal(W[i], W[x]))


@every_analogy
def test_many_words_and_questions_come_in_batches(backend, monkeypatch):
    W, questions = planted(4, 700, 12, 1, 0.1), all_questions(4, 9)[:50, :3]
    want = analogy_3cosadd(W, questions)
    for module in (chapter, backend):
        monkeypatch.setattr(module, "BATCH", 1000, raising=False)
        monkeypatch.setattr(module, "TILE", 33, raising=False)
    assert np.array_equal(backend.analogy_3cosadd(W, questions), want)
    assert backend.analogy_3cosadd(W, questions[:0]).shape == (0,)


def test_unknown_words_are_counted_and_case_is_looked_up():
    vocabulary, W = text_vectors()
    asked = [q.split() for q in ("man woman king queen", "man woman king princess",
                                 "MAN woman King queen", "france paris Italy Rome",
                                 "walk run walking running")]
    assert analogy_accuracy(W, vocabulary, asked) == (1.0, 2)      # no "france": case of "France"
    ids, known = word_ids(asked, 4, vocabulary)
    assert known.tolist() == [True, False, True, False, True]
    assert ids[1].tolist() == [0, 1, 2, 3]
    rare = {w: i for w, i in vocabulary.items() if i < 6}          # frequent words alone
    assert analogy_accuracy(W[:6], rare, asked) == (1.0, 3)
    wrong = analogy_accuracy(W, vocabulary, asked[:1], lambda W, questions: questions[:, 0])
    assert wrong == (0.0, 0)


@given(seed=SEEDS)
def test_spearman_sees_order_alone(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 9, (2, 12)).astype(float)
    if len(set(x)) < 2 or len(set(y)) < 2:
        return
    rho = spearman(x, y)
    assert -1 <= rho <= 1
    assert_close(spearman(np.exp(x), 3 * y - 7), rho)
    assert_close(spearman(-x, y), -rho)
    assert_close(spearman(y, x), rho)
    assert_close(spearman(x, x), 1.0)


@every_affinity
@given(seed=SEEDS, n=st.integers(5, 25), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_probabilities_are_a_distribution(backend, seed, n, scale):
    rng = np.random.default_rng(seed)
    X, perplexity = rng.standard_normal((n, 3)), rng.uniform(1.5, n - 2)
    P = backend.joint_probabilities(X, perplexity)
    assert np.array_equal(P, P.T) and np.all(np.diag(P) == 0) and P.min() >= 0
    assert_close(P.sum(), 1.0)
    assert P.sum(axis=1).min() >= 1 / (2 * n)                   # no point is left alone
    assert_close(backend.joint_probabilities(scale * X + 5, perplexity), P, rtol=1e-5, atol=1e-9)


@every_affinity
def test_rows_on_each_other_are_no_trouble(backend):
    X = np.zeros((10, 2))
    assert_close(backend.joint_probabilities(X, 3), (1 - np.eye(10)) / 90)
    X[5:] = 1
    P = backend.joint_probabilities(X, 3)                       # 4 twins: more than 3 neighbours
    assert_close(P.sum(), 1.0)
    assert_close(P[:5, :5], (1 - np.eye(5)) / 40, rtol=1e-6)


@every_gradient
@given(seed=SEEDS)
def test_the_forces_add_up_to_nothing_and_turn_with_the_map(backend, seed):
    P, Y = affinities(8, seed)
    tolerance = 1e-5 if emulated(backend) else 1e-10
    dY = backend.tsne_loss_grad(P, Y)
    assert_close(dY.sum(axis=0), np.zeros(2), atol=tolerance)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((2, 2)))[0]
    assert_close(backend.tsne_loss_grad(P, Y @ Q + 3), dY @ Q, rtol=100 * tolerance,
                 atol=10 * tolerance)
    order = np.random.default_rng(seed).permutation(8)
    assert_close(backend.tsne_loss_grad(P[np.ix_(order, order)], Y[order]), dY[order],
                 rtol=100 * tolerance, atol=10 * tolerance)


@every_loss
@given(seed=SEEDS)
def test_the_divergence_is_never_below_zero(backend, seed):
    P, Y = affinities(8, seed)
    assert backend.tsne_loss(P, Y) > 0
    w = 1 / (1 + ((Y[:, None] - Y) ** 2).sum(axis=2)) * (1 - np.eye(8))
    assert_close(backend.tsne_loss(w / w.sum(), Y), 0.0, atol=1e-9)           # P = Q
    assert_close(tsne_loss_grad(w / w.sum(), Y), np.zeros((8, 2)), atol=1e-12)


def test_a_step_learns_which_way_it_goes():
    Y, ones = np.zeros((1, 3)), np.ones((1, 3))
    dY, velocity = np.array([[1.0, 1, 0]]), np.array([[-1.0, 1, 1]])
    Y, velocity, gains = tsne_step(Y, dY, velocity, ones, 0.5, 10)
    assert_close(gains, [[1.2, 0.8, 0.8]])                       # with, against, no gradient
    assert_close(velocity, [[-0.5 - 12, 0.5 - 8, 0.5]])
    assert_close(Y, velocity)
    assert_close(tsne_step(Y, dY, velocity, 0.001 * ones, 0, 1)[2][0, 2], 0.01)      # the floor


@every_gradient
def test_tsne_finds_the_clusters(backend):
    n, iterations = (20, 150) if emulated(backend) else (60, 300)
    rng = np.random.default_rng(0)
    classes = np.arange(n) % 3
    X = (6 * np.eye(8)[classes] + rng.standard_normal((n, 8))).astype(np.float32)
    if emulated(backend):
        backend = Both(backend)
    Y, kl = tsne(X, 2, np.random.default_rng(1), perplexity=5, iterations=iterations,
                 exaggerated=50, twin=backend)
    assert Y.dtype == np.float32 and np.isfinite(Y).all()
    P = joint_probabilities(X, 5)
    assert_close(kl, tsne_loss(P, Y), rtol=1e-3)
    assert kl < tsne_loss(P, 1e-4 * Y) - 0.3
    assert cluster_purity(kmeans(Y, 3, rng)[1], classes) > 0.94


class Both:
    """A twin that has the gradient alone, with the rest of the reference."""

    def __init__(self, twin):
        self.joint_probabilities, self.tsne_loss = joint_probabilities, tsne_loss
        self.tsne_loss_grad = twin.tsne_loss_grad


@every_loss
def test_a_run_repeats_itself(backend):
    X = np.random.default_rng(0).standard_normal((40, 4))
    runs = [tsne(X, 3, np.random.default_rng(7), perplexity=5, iterations=30, twin=backend)
            for _ in range(2)]
    assert runs[0][0].tobytes() == runs[1][0].tobytes() and runs[0][0].shape == (40, 3)


def test_the_start_is_taken_and_left_as_it_is():
    X, start = np.random.default_rng(0).standard_normal((20, 4)), pca(np.eye(20), 2)[0] * 1e-4
    before = start.copy()
    Y, _ = tsne(X, 2, None, perplexity=4, iterations=0, start=start)
    assert_close(Y, start)
    tsne(X, 2, None, perplexity=4, iterations=5, start=start)
    assert np.array_equal(start, before)


def opinions(rng, n=400):
    """Good and bad words that stand between the same words -> windows, polarity, (V,) signs."""
    polarity = rng.choice([-1, 1], n)
    middle = rng.integers(0, 4, n) + np.where(polarity > 0, 0, 4)          # 0-3 good, 4-7 bad
    windows = np.stack([rng.integers(8, 14, n), middle, rng.integers(8, 14, n)], axis=1)
    return windows, polarity, np.r_[np.ones(4, int), -np.ones(4, int), np.zeros(6, int)]


def test_sentiment_parts_what_stands_alike():                                    # 1243, 1245
    windows, polarity, signs = opinions(np.random.default_rng(0))
    agreement, histories = {}, {}
    for alpha in (1.0, 0.5):
        rng = np.random.default_rng(1)
        network = sswe_network(14, 6, 3, 8, rng)
        histories[alpha] = train_sswe(network, windows, polarity, 12, rng, alpha=alpha, batch=32)
        agreement[alpha] = polarity_agreement(network["W"], signs, 3)
    assert all(h[-1] < h[0] - 0.1 for h in histories.values())
    assert agreement[0.5] == 1 and agreement[1.0] < 0.8


def test_opinion_words_are_rated_and_can_be_made_again():
    opinions = data.load_opinions()
    assert len(opinions) == 2891 and all(-4 <= v <= 4 and v for v in opinions.values())
    assert opinions["good"] > 1 and opinions["bad"] < -1 and opinions["peace"] > 1
    lexicon = "".join(f"{w}\t{v}\t0.5\t[1, 2]\n" for w, v in opinions.items())
    made = opinions_maker.build(f":)\t2.0\t1\t[1]\nlol\t1.8\t1\t[1]\n{lexicon}", "MIT\n\nFree.")
    lines = made.decode().split("\n")
    assert lines[1:4] == ["# MIT", "#", "# Free."] and lines[-1] == ""
    assert {w: float(v) for w, v in (line.split("\t") for line in lines[4:-1])} == opinions


def test_polarity_agreement_counts_neighbours():
    W = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [1, 0.05]])
    signs = np.array([1, 1, -1, -1, -1, 0])                     # the last one is not asked
    assert_close(polarity_agreement(W, signs, 1), np.mean([1, 0, 0, 1, 1]))
    assert_close(polarity_agreement(np.ones((4, 2)), [1, 1, -1, -1], 3), 1 / 3)     # twins


# 4. Gradients.

@every_gradient
@given(seed=SEEDS, d=st.integers(1, 3))
def test_gradient_of_tsne(backend, seed, d):
    rng = np.random.default_rng(seed)
    P, Y = affinities(9, seed)[0], rng.standard_normal((9, d))
    if emulated(backend):
        assert_close(backend.tsne_loss_grad(P, Y), tsne_loss_grad(P, Y), 1e-4, 1e-6)
    else:
        assert_gradient(lambda Y: tsne_loss(P, Y), backend.tsne_loss_grad(P, Y), Y, seed)


@given(seed=SEEDS, g=st.sampled_from([1.0, -1.7]), alpha=st.sampled_from([0.0, 0.4, 1.0]))
def test_gradient_of_sswe(seed, g, alpha):
    network, *examples = net(seed)
    grads = sswe_loss_grad(network, *examples, alpha=alpha, g=g)
    assert list(grads) and set(grads) == set(network)
    for name, grad in grads.items():
        assert_gradient(lambda x, name=name: g * sswe_loss(network | {name: x}, *examples, alpha),
                        grad, network[name], seed)


@given(seed=SEEDS)
def test_gradient_of_the_scores(seed):
    network, windows, *_ = net(seed)
    dF = np.random.default_rng(seed).standard_normal((len(windows), 2))
    grads = sswe_scores_backward(dF, sswe_scores(network, windows)[1])
    for name, grad in grads.items():
        assert_gradient(lambda x, name=name: (dF * sswe_scores(network | {name: x},
                                                               windows)[0]).sum(),
                        grad, network[name], seed)


# 5. Parity with gensim, SciPy and scikit-learn; see tests/parity/ch09_analogy.py.

@pytest.fixture(scope="module")
def frozen():
    with np.load(Path(__file__).parent / "parity/ch09_analogy.npz", allow_pickle=False) as stored:
        return dict(stored)


@every_analogy
def test_gensim_gives_the_same_answers(backend, frozen):
    vocabulary = {w: i for i, w in enumerate(frozen["words"].tolist())}
    asked = frozen["questions"].tolist()
    ids, known = word_ids(asked, 4, vocabulary)
    assert 40 < known.sum() < len(asked)
    assert np.array_equal(backend.analogy_3cosadd(frozen["W"], ids[:, :3]), frozen["add_answers"])
    assert np.array_equal(backend.analogy_3cosmul(frozen["W"], ids[:, :3], eps=1e-6),
                          frozen["mul_answers"])
    accuracy, unknown = analogy_accuracy(frozen["W"], vocabulary, asked, backend.analogy_3cosadd)
    assert_close(accuracy, frozen["accuracy"])
    assert unknown == (~known).sum() and 0.5 < accuracy < 1


def test_gensim_gives_the_same_correlation(frozen):
    vocabulary = {w: i for i, w in enumerate(frozen["words"].tolist())}
    rho, unknown = similarity_correlation(frozen["W"], vocabulary, frozen["pairs"].tolist(),
                                          frozen["scores"])
    assert_close(rho, frozen["rho"], rtol=1e-5)
    assert_close(100 * unknown / len(frozen["pairs"]), frozen["oov_percent"])


def test_scipy_gives_the_same_correlation(frozen):
    assert_close(average_ranks(frozen["x"]), frozen["ranks"])
    assert_close(spearman(frozen["x"], frozen["y"]), frozen["spearman"])


@every_affinity
@pytest.mark.parametrize("perplexity", [5, 15])
def test_scikit_learn_gives_the_same_probabilities(backend, perplexity, frozen):
    P = backend.joint_probabilities(frozen["X"], perplexity)
    assert_close(P, frozen[f"P_{perplexity}"], rtol=1e-4, atol=1e-7)


@every_gradient
def test_scikit_learn_gives_the_same_gradient(backend, frozen):
    tolerance = 1e-4 if emulated(backend) else 1e-8
    grad = backend.tsne_loss_grad(frozen["P_15"], frozen["Y"])
    assert_close(grad, frozen["grad"], tolerance, tolerance * 1e-2)
    assert_close(tsne_loss(frozen["P_15"], frozen["Y"]), frozen["kl"], rtol=1e-8)


@every_loss
def test_scikit_learn_ends_at_the_same_divergence(backend, frozen):
    _, kl = tsne(frozen["X"], 2, None, perplexity=15, start=frozen["start"], twin=backend)
    assert abs(kl / frozen["run"] - 1) < 0.02


# 6. Twins.

@every_twin_analogy
@pytest.mark.parametrize("size", EDGE_SIZES)
def test_twin_gives_the_same_answers(backend, size):
    rng = np.random.default_rng(size)
    for V, d, m in ((max(size, 4), 3, 20), (50, max(size, 1), 20), (50, 4, size)):
        W, questions = rng.standard_normal((V, d)), rng.integers(0, V, (m, 3))
        for x in (W, W.astype(np.float32), np.asfortranarray(W)):
            for name in ("analogy_3cosadd", "analogy_3cosmul"):
                got, want = (getattr(b, name)(x, questions) for b in (backend, chapter))
                assert np.array_equal(got, want) and got.dtype == want.dtype


@every_twin_affinity
@pytest.mark.parametrize("n", [n for n in EDGE_SIZES if n > 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_twin_makes_the_same_probabilities(backend, n, dtype):
    X = np.random.default_rng(n).standard_normal((n, 5)).astype(dtype)
    got = backend.joint_probabilities(X, 9)
    assert got.dtype == dtype
    assert_close(got, joint_probabilities(X, 9), rtol=1e-7 if dtype is np.float64 else 1e-5)


@every_twin_gradient
@pytest.mark.parametrize("n", [n for n in EDGE_SIZES if n > 1] + [255, 257])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_twin_has_the_same_gradient(backend, n, dtype):
    P, Y = affinities(n, n, dtype)
    for d in (1, 2, 3):
        Y = np.random.default_rng(d).standard_normal((n, d)).astype(dtype)
        got = backend.tsne_loss_grad(P, Y)
        want = tsne_loss_grad(P.astype(np.float64), Y.astype(np.float64))
        tolerance = 1e-9 if dtype is np.float64 and not emulated(backend) else 1e-4
        assert got.dtype == dtype
        assert_close(got, want.astype(dtype), tolerance, tolerance * np.abs(want).max())


@every_twin_loss
@pytest.mark.parametrize("n", [n for n in EDGE_SIZES if n > 1])
def test_twin_has_the_same_divergence(backend, n):
    for dtype, rtol in ((np.float64, 1e-9), (np.float32, 1e-5)):
        P, Y = affinities(n, n, dtype)
        assert_close(backend.tsne_loss(P, Y), tsne_loss(P.astype(np.float64),
                                                        Y.astype(np.float64)), rtol)


@every_twin_gradient
def test_twin_takes_any_layout(backend):
    P, Y = affinities(40)
    want = backend.tsne_loss_grad(P, Y)
    assert np.array_equal(backend.tsne_loss_grad(np.asfortranarray(P), np.asfortranarray(Y)), want)
    assert np.array_equal(backend.tsne_loss_grad(P, np.repeat(Y, 2, axis=0)[::2]), want)


def test_threads_change_no_bit(monkeypatch):
    numba = pytest.importorskip("numba", reason="numba is not installed")
    from kernels import ch09_analogy_numba as backend
    rng = np.random.default_rng(0)
    X, W, questions = rng.standard_normal((90, 4)), planted(3, 30, 5), all_questions(3, 5)[:, :3]
    results, threads = [], numba.get_num_threads()
    try:
        for count in {1, threads}:
            numba.set_num_threads(count)
            P = backend.joint_probabilities(X, 9)
            results.append((P.tobytes(), backend.tsne_loss_grad(P, X[:, :2].copy()).tobytes(),
                            backend.analogy_3cosadd(W, questions).tobytes()))
    finally:
        numba.set_num_threads(threads)
    assert len(set(results)) == 1


@on_emulator
def test_the_device_keeps_probabilities_until_they_are_gone():
    backend = emulator.load("ch09_analogy")
    P, Y = affinities(33)
    before = len(backend.ON_DEVICE)
    for _ in range(3):
        backend.tsne_loss_grad(P, Y)
    assert len(backend.ON_DEVICE) == before + 1
    del P
    assert len(backend.ON_DEVICE) == before


# Errors.

@every_analogy
def test_questions_that_are_none(backend):
    W = np.eye(5)
    for solve in (backend.analogy_3cosadd, backend.analogy_3cosmul):
        for questions in ([0, 1, 2], [[0, 1]], [[0, 1, 2, 3]]):
            with pytest.raises(ValueError, match=r"questions: expected \(m, 3\)"):
                solve(W, questions)
        with pytest.raises(ValueError, match="questions: expected integers from 0 to 4"):
            solve(W, [[0, 1, 5]])
        with pytest.raises(TypeError, match="questions: expected integers"):
            solve(W, [[0.5, 1, 2]])
        with pytest.raises(ValueError, match="W: expected at least 4"):
            solve(W[:3], [[0, 1, 2]])
        with pytest.raises(ValueError, match="row 4 has length 0"):
            solve(np.diag([1.0, 1, 1, 1, 0]), [[0, 1, 2]])
        with pytest.raises(ValueError, match="W: expected finite"):
            solve(np.full((5, 2), math.nan), [[0, 1, 2]])
    for eps in (0, -1, math.nan):
        with pytest.raises(ValueError, match="eps: expected"):
            backend.analogy_3cosmul(W, [[0, 1, 2]], eps=eps)


def test_evaluations_without_anything_to_evaluate():
    with pytest.raises(ValueError, match="expected 4 words in each row"):
        analogy_accuracy(np.eye(4), {"a": 0}, [["a", "a", "a"]])
    with pytest.raises(ValueError, match="each of the 1 rows has a word that is unknown"):
        analogy_accuracy(np.eye(4), {"a": 0}, [["a", "b", "c", "d"]])
    with pytest.raises(ValueError, match="each of the 0 rows"):
        similarity_correlation(np.eye(4), {"a": 0}, [], [])
    with pytest.raises(ValueError, match="x, y: expected equally many"):
        similarity_correlation(np.eye(2), {"a": 0, "b": 1}, [["a", "b"]], [1.0])
    with pytest.raises((ValueError, IndexError)):
        similarity_correlation(np.eye(2), {"a": 0, "b": 1}, [["a", "b"]] * 2, [1.0])
    for x, y in (([], []), ([1, 2], [1]), ([1, 1], [1, 2]), ([1], [2])):
        with pytest.raises(ValueError, match="x, y: expected"):
            spearman(x, y)
    with pytest.raises(ValueError, match="x: expected finite"):
        spearman([1, math.nan], [1, 2])


def test_pairs_and_clusters_that_are_none():
    with pytest.raises(ValueError, match="A: expected at least 2"):
        offset_consistency(np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="B: expected shape"):
        offset_consistency(np.eye(2), np.ones((1, 2)))
    with pytest.raises(ValueError, match="row 0 has length 0"):
        offset_consistency(np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="labels: expected at least one"):
        cluster_purity([], [])
    with pytest.raises(ValueError, match="classes: expected 2"):
        cluster_purity([0, 1], [0])


@every_affinity
@pytest.mark.parametrize("perplexity", [0, 1, 9, 40, math.nan])
def test_a_perplexity_out_of_reach(backend, perplexity):
    with pytest.raises(ValueError, match="perplexity: expected above 1 and below 9"):
        backend.joint_probabilities(np.random.default_rng(0).standard_normal((10, 2)), perplexity)
    with pytest.raises(ValueError, match="X: expected at least 4"):
        backend.joint_probabilities(np.eye(3), 1.5)
    with pytest.raises(ValueError, match="X: expected finite"):
        backend.joint_probabilities(np.full((9, 2), math.nan), 1.5)


@every_gradient
def test_maps_that_do_not_fit(backend):
    P, Y = affinities(5)
    for A, B, words in ((P[:4, :4], Y, "P: expected float64"), (P, Y[:4], "P: expected"),
                        (P, Y.astype(np.float32), "P: expected float32"), (P, Y[0], "Y: expected"),
                        (P, np.full_like(Y, math.nan), "Y: expected finite"),
                        (P[:1, :1], Y[:1], "Y: expected at least 2")):
        with pytest.raises(ValueError, match=words):
            backend.tsne_loss_grad(A, B)


def test_polarities_that_are_none():
    network, windows, corrupted, polarity = net(0)
    for s, alpha in ((polarity[:2], 0.5), (2 * np.ones(6, int), 0.5), (polarity, 1.5),
                     (polarity, -0.1), (polarity, math.nan)):
        with pytest.raises(ValueError, match="expected a polarity"):
            sswe_loss(network, windows, corrupted, s, alpha)
