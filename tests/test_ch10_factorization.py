"""Chapter 10: co-occurrence, PMI and its shift, what SGNS factorises, truncated SVD, LSA, LDA."""
import functools
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import EDGE_SIZES, assert_close, assert_gradient, every_backend, every_twin
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from primer import ch10_factorization as chapter
from primer import claims, data
from primer.ch01_geometry import cosine
from primer.ch03_bow import CSR, bag_of_words, count_matrix, encode, to_dense, tokenize
from primer.ch04_tfidf import tfidf
from primer.ch10_factorization import (
    SVD,
    Topics,
    cooccurrence,
    cooccurrence_inverse_distance,
    count_topics,
    csr_matmul,
    embed,
    flatten,
    fold_in,
    gibbs_sweep,
    gibbs_sweep_by_document,
    lda,
    lsa,
    mixtures,
    perplexity,
    pmi,
    ppmi,
    sgns_cell_loss,
    sgns_cell_loss_grad,
    sgns_cell_optimum,
    shifted_pmi,
    top_words,
    truncated_svd,
)
from primer.exercises.ch03_bow import compress
from primer.exercises.ch10_factorization import tables
from primer.exercises.kit import Effort, catalogue, run_property
from primer.exercises.mutate import build

COUNTS = ("cooccurrence", "cooccurrence_inverse_distance")
every_count = every_backend("ch10_factorization", *COUNTS)
every_twin_count = every_twin("ch10_factorization", *COUNTS)
every_sweep = every_backend("ch10_factorization", "gibbs_sweep")
every_twin_sweep = every_twin("ch10_factorization", "gibbs_sweep")
every_parallel_sweep = every_backend("ch10_factorization", "gibbs_sweep_by_document")
every_long_parallel_sweep = every_backend("ch10_factorization", "gibbs_sweep_by_document",
                                          orders=())
every_twin_parallel_sweep = every_twin("ch10_factorization", "gibbs_sweep_by_document")
every_twin_product = every_twin("ch10_factorization", "csr_matmul")

V = 6
CORPORA = st.lists(st.lists(st.integers(0, V - 1), max_size=12), min_size=1, max_size=5)
WINDOWS = st.integers(1, 15)
POWERS = st.sampled_from([1.0, 0.75, 0.3])
MATRICES = arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 7)),
                  elements=st.integers(-4, 9).map(float))


def rng(seed=0):
    return np.random.default_rng(seed)


def rank_of(M):
    S = np.linalg.svd(M, compute_uv=False)
    return int((S > 1e-9).sum())


# 1. The equations.

def spec_counts(documents, V, window, near):
    """(10.1), one pair at a time -> (V, V)."""
    M = np.zeros((V, V))
    for d in documents:
        for i, j in itertools.permutations(range(len(d)), 2):
            if abs(i - j) <= window:
                M[d[i], d[j]] += 1 / abs(i - j) if near else 1
    return M


@every_count
@given(documents=CORPORA, window=WINDOWS)
def test_counts_are_the_equation(backend, documents, window):
    for name, near in zip(COUNTS, (False, True), strict=True):
        C = getattr(backend, name)(documents, V, window)
        assert C.data.dtype == (np.float64 if near else np.int64)
        assert C.indices.dtype == np.int32 and C.indptr.dtype == np.int64 and C.shape == (V, V)
        assert np.all(C.data > 0)
        for a, b in itertools.pairwise(C.indptr):
            assert np.all(np.diff(C.indices[a:b]) > 0)
        assert_close(to_dense(C).astype(float), spec_counts(documents, V, window, near))


def spec_pmi(table, a):
    """(10.2), one cell at a time -> dict (w, c): PMI."""
    noise = [float(column.sum()) ** a if column.sum() else 0.0 for column in table.T]
    return {(w, c): math.log(table[w, c] / (table[w].sum() * noise[c] / sum(noise)))
            for w, c in zip(*map(np.ndarray.tolist, np.nonzero(table)), strict=True)}


@given(table=tables(), a=POWERS, K=st.integers(1, 20))
def test_pmi_is_the_equation(table, a, K):
    want = spec_pmi(table, a)
    C = compress(table)
    assert_close(pmi(C, a).data, list(want.values()), atol=1e-10)
    assert_close(shifted_pmi(C, K, a).data, [x - math.log(K) for x in want.values()], atol=1e-10)
    cut = np.zeros(table.shape)
    for at, x in want.items():
        cut[at] = max(0.0, x - math.log(K))
    assert_close(to_dense(ppmi(C, K, a)), cut, atol=1e-10)


@given(x=st.floats(-30, 30), seen=st.floats(0, 50), drawn=st.floats(0, 50))
def test_the_cells_loss_is_the_equation(x, seen, drawn):
    def sig(x):
        return 1 / (1 + math.exp(-x))
    want = -seen * math.log(sig(x)) - drawn * math.log(sig(-x))
    assert_close(sgns_cell_loss(x, seen, drawn), want, rtol=1e-9, atol=1e-9)
    assert_close(sgns_cell_loss_grad(x, seen, drawn, 3.0), 3 * (drawn * sig(x) - seen * sig(-x)),
                 atol=1e-9)


def spec_step(z, i, words, owners, T, V, alpha, beta, u):
    """(10.6) of token i, with counts made anew -> its topic."""
    others, weights = [k for k in range(len(z)) if k != i], []
    for t in range(T):
        n_jt = sum(z[k] == t and owners[k] == owners[i] for k in others)
        n_tw = sum(z[k] == t and words[k] == words[i] for k in others)
        n_t = sum(z[k] == t for k in others)
        weights.append((n_jt + alpha) * (n_tw + beta) / (n_t + V * beta))
    sums = list(itertools.accumulate(weights))
    return next((t for t in range(T) if sums[t] > u * sums[-1]), T - 1)


def spec_sweep(topics, words, owners, T, V, alpha, beta, uniforms):
    """(10.6) over all tokens -> list of topics."""
    z = list(topics)
    for i, u in enumerate(uniforms):
        z[i] = spec_step(z, i, words, owners, T, V, alpha, beta, u)
    return z


def random_state(seed, n, T, V, N):
    """A random corpus and random topics -> Topics, words, owners, uniforms."""
    r = rng(seed)
    words, owners = r.integers(V, size=N), np.sort(r.integers(n, size=N))
    return count_topics(r.integers(T, size=N), words, owners, (n, T, V)), words, owners, r.random(N)


@every_sweep
@given(seed=st.integers(0, 10**6), n=st.integers(1, 4), T=st.integers(1, 5), N=st.integers(0, 15),
       alpha=st.sampled_from([0.1, 1.0]), beta=st.sampled_from([0.01, 0.5]))
def test_a_sweep_is_the_equation(backend, seed, n, T, N, alpha, beta):
    state, words, owners, uniforms = random_state(seed, n, T, V, N)
    got = backend.gibbs_sweep(state, words, owners, alpha, beta, uniforms)
    assert got.topics.tolist() == spec_sweep(state.topics, words, owners, T, V, alpha, beta,
                                             uniforms)


@every_parallel_sweep
@given(seed=st.integers(0, 10**6), n=st.integers(1, 4), T=st.integers(1, 5), N=st.integers(0, 15))
def test_a_sweep_by_document_is_the_equation(backend, seed, n, T, N):
    """A document's tokens one after another; the tokens of others stay in their old topics."""
    state, words, owners, uniforms = random_state(seed, n, T, V, N)
    want = state.topics.copy()
    for j in range(n):
        own = owners == j
        z = list(state.topics)
        for i in np.flatnonzero(own):
            z[i] = want[i] = spec_step(z, i, words, owners, T, V, 0.3, 0.2, uniforms[i])
    got = backend.gibbs_sweep_by_document(state, words, owners, 0.3, 0.2, uniforms)
    assert got.topics.tolist() == want.tolist() and got.topics.dtype == np.int64
    for part, same in zip(got, count_topics(want, words, owners, (n, T, V)), strict=True):
        assert np.array_equal(part, same) and part.dtype == same.dtype


# 2. The text's worked examples.

@functools.cache
def cat_mat(window, count=cooccurrence, first=0, stop=2):
    """The two sentences of line 416 counted -> names, CSR."""
    texts = data.load_texts()["cat_mat"]["documents"]
    vocabulary = bag_of_words(texts)[0]
    ids = [encode(tokenize(t), vocabulary) for t in texts[first:stop]]
    return vocabulary, count(ids, len(vocabulary), window)


def test_the_mat_is_what_stands_farthest_from_the_cat():                     # line 1314 errs
    vocabulary, C = cat_mat(10, cooccurrence_inverse_distance, stop=1)
    row = to_dense(C)[vocabulary["cat"]]
    assert_close([row[vocabulary[w]] for w in ("the", "sat", "on", "mat")],
                 [1 + 1 / 3, 1, 0.5, 0.25])
    assert row[row > 0].min() == 0.25
    vocabulary, C = cat_mat(2, cooccurrence_inverse_distance, stop=1)
    assert to_dense(C)[vocabulary["cat"], vocabulary["mat"]] == 0


def test_cat_and_dog_share_contexts_dog_and_log_do_not():                    # line 1314
    vocabulary, C = cat_mat(4, cooccurrence_inverse_distance)
    for M, near, far in ((C, 0.980, 0.914), (ppmi(C), 0.828, 0.417)):
        M = to_dense(M)
        assert_close(cosine(M[vocabulary["cat"]], M[vocabulary["dog"]]), near, atol=5e-4)
        assert_close(cosine(M[vocabulary["dog"]], M[vocabulary["log"]]), far, atol=5e-4)


def test_sgns_has_its_optimum_at_the_shifted_pmi():                          # line 1100
    vocabulary, C = cat_mat(2)
    assert_close(sgns_cell_optimum(C, 5).data, shifted_pmi(C, 5).data, atol=1e-10)
    at = vocabulary["cat"], vocabulary["sat"]
    assert_close(to_dense(sgns_cell_optimum(C, 5))[at], -1.2040, atol=5e-5)


def test_with_word2vecs_noise_it_is_the_smoothed_pmi():                      # line 1111
    vocabulary, C = cat_mat(2)
    best = sgns_cell_optimum(C, 5, 0.75)
    assert_close(best.data, shifted_pmi(C, 5, 0.75).data, atol=1e-10)
    assert_close(to_dense(best)[vocabulary["cat"], vocabulary["sat"]], -1.1295, atol=5e-5)
    assert np.abs(best.data - shifted_pmi(C, 5).data).max() > 0.05


def test_lsa_is_dense_and_its_width_is_free():                               # line 1090 errs
    X = bag_of_words(data.load_texts()["cat_dog"]["documents"])[1]
    for d in (1, 2, 3):
        documents, words, _ = lsa(X, d, rng())
        assert documents.shape == (3, d) and words.shape == (X.shape[1], d)
    documents, words, _ = lsa(X, 2, rng())
    assert np.mean(to_dense(tfidf(X)) == 0) > 0.5 and np.all(np.abs(documents) > 0.1)


def test_the_claims_have_their_verdicts():
    rows = claims.rows(10)
    assert [r["line"] for r in rows if r["verdict"] == "wrong"] == [1090, 1090, 1091, 1121]
    assert [r["line"] for r in rows if r["verdict"] == "right"] == [1071, 1073, 1080, 1096, 1100,
                                                                    1111]


# 3. Properties: counts and PMI.

@every_count
@given(documents=CORPORA, window=WINDOWS)
def test_the_total_is_twice_the_pairs(backend, documents, window):
    C = backend.cooccurrence(documents, V, window)
    pairs = sum(max(len(d) - distance, 0) for d in documents for distance in range(1, window + 1))
    assert C.data.sum() == 2 * pairs
    assert np.array_equal(to_dense(C), to_dense(C).T)


@every_count
@given(documents=CORPORA, window=WINDOWS, order=st.permutations(range(V)))
def test_numbering_words_otherwise_only_moves_cells(backend, documents, window, order):
    order = np.array(order)
    renamed = [order[np.array(d, int)] for d in documents]
    for name in COUNTS:
        count = getattr(backend, name)
        assert np.array_equal(to_dense(count(renamed, V, window))[np.ix_(order, order)],
                              to_dense(count(documents, V, window)))


@given(rows=arrays(np.int64, st.integers(1, 5), elements=st.integers(1, 50)),
       seed=st.integers(0, 9))
def test_independence_is_pmi_zero(rows, seed):
    table = np.outer(rows, rng(seed).integers(1, 50, 4))
    assert_close(pmi(compress(table)).data, np.zeros(table.size), atol=1e-12)
    assert ppmi(compress(table), 2).data.size == 0


@given(table=tables(square=True), a=POWERS, scale=st.sampled_from([0.5, 3, 1000]))
def test_pmi_is_symmetric_and_knows_no_scale(table, a, scale):
    both = compress(table + table.T)
    assert_close(to_dense(pmi(both)), to_dense(pmi(both)).T, atol=1e-12)
    assert_close(pmi(both._replace(data=both.data * scale), a).data, pmi(both, a).data, atol=1e-11)


@given(table=tables(), a=POWERS, K=st.integers(1, 9))
def test_a_larger_shift_leaves_less(table, a, K):
    C = compress(table)
    more, less = to_dense(ppmi(C, K, a)), to_dense(ppmi(C, K + 1, a))
    assert np.all(less <= more) and np.all(more <= to_dense(ppmi(C, 1, a))) and np.all(less >= 0)


@given(table=tables(), K=st.sampled_from([0.5, 1, 5, 20]), a=POWERS)
def test_the_optimum_is_the_shifted_pmi(table, K, a):
    C = compress(table)
    assert_close(sgns_cell_optimum(C, K, a).data, shifted_pmi(C, K, a).data, atol=1e-10)


def test_the_optimum_is_exact_for_huge_and_tiny_pmi():
    """Words that are seen once in 10^12, and always: the sigmoid must not be rounded away."""
    table = np.array([[10**12, 1], [0, 10**9]])
    for K in (1, 10**6):
        assert_close(sgns_cell_optimum(compress(table), K).data,
                     shifted_pmi(compress(table), K).data, rtol=1e-12, atol=1e-12)


@given(table=tables(), a=POWERS)
def test_the_noise_is_a_distribution(table, a):
    P = chapter.context_distribution(compress(table), a)
    assert_close(P.sum(), 1.0)
    assert np.array_equal(P > 0, table.sum(axis=0) > 0)
    plain = chapter.context_distribution(compress(table))
    assert P.max() <= plain.max() + 1e-12                    # an exponent below 1 flattens


# Properties: SVD and LSA.

@given(M=MATRICES, seed=st.integers(0, 9))
def test_svd_equals_lapack(M, seed):
    d = rank_of(M)
    assume(d)
    U, S, Vt = truncated_svd(compress(M), d, rng(seed))
    assert_close(S, np.linalg.svd(M, compute_uv=False)[:d], rtol=1e-10, atol=1e-10)
    assert_close(U * S @ Vt, M, atol=1e-9)
    assert_close(U.T @ U, np.eye(d), atol=1e-10)
    assert_close(Vt @ Vt.T, np.eye(d), atol=1e-10)
    assert np.all(np.abs(Vt).max(axis=1) == Vt.max(axis=1)) and np.all(np.diff(S) <= 1e-12)


@given(M=MATRICES, seed=st.integers(0, 9), d=st.integers(1, 6))
def test_no_matrix_of_that_rank_is_nearer(M, seed, d):
    """Eckart and Young: the error is the rest of the singular values."""
    assume(d <= rank_of(M))
    U, S, Vt = truncated_svd(compress(M), d, rng())
    error = np.linalg.norm(M - U * S @ Vt)
    rest = np.linalg.svd(M, compute_uv=False)[d:]
    assert_close(error, math.sqrt((rest ** 2).sum()), rtol=1e-7, atol=1e-7)
    r = rng(seed)
    for _ in range(5):
        Q = np.linalg.qr(r.standard_normal((M.shape[1], d)))[0]
        assert np.linalg.norm(M - M @ Q @ Q.T) >= error - 1e-9
        near = (U + 1e-3 * r.standard_normal(U.shape)) * S @ Vt
        assert np.linalg.norm(M - near) >= error - 1e-9


def decaying(n, ratio):
    """A random matrix with singular values 1, ratio, ratio^2, ... -> (n, n)."""
    r = rng(3)
    U, W = (np.linalg.qr(r.standard_normal((n, n)))[0] for _ in range(2))
    return U * ratio ** np.arange(n) @ W


def test_svd_converges_at_the_rate_of_its_docstring():
    """d + oversampling below the rank: more iterations come closer, to machine precision."""
    M = decaying(80, 0.9)
    want = np.linalg.svd(M)
    for iterations in (0, 1, 2, 4, 8):
        U = truncated_svd(compress(M), 5, rng(), 10, iterations).U
        outside = U - want[0][:, :5] * np.sum(U * want[0][:, :5], axis=0)
        rate = (want[1][15] / want[1][:5]) ** (2 * iterations + 1)
        assert np.all(np.linalg.norm(outside, axis=0) < 20 * rate)
        assert np.linalg.norm(outside[:, 0]) > rate[0] / 20            # not much better either
    exact = truncated_svd(compress(M), 5, rng(), 10, 80)
    assert_close(exact.S, want[1][:5], rtol=1e-12)
    assert_close(np.abs(np.sum(exact.U * want[0][:, :5], axis=0)), np.ones(5), atol=1e-12)


@given(M=MATRICES, p=st.sampled_from([0.0, 0.5, 1.0]))
def test_a_row_folds_to_its_vector(M, p):
    d = rank_of(M)
    assume(d)
    svd = truncated_svd(compress(M), d, rng())
    assert_close(fold_in(compress(M), svd, p), embed(svd, p)[0], atol=1e-7)
    assert_close(embed(svd, p)[0] @ embed(svd, 1 - p)[1].T, M, atol=1e-8)


def test_a_folded_document_lands_where_its_words_are():
    texts = ["cats dogs purr", "dogs cats", "purr cats", "stocks bonds", "bonds yield stocks rise",
             "stocks rise"]
    vocabulary, X = bag_of_words(texts)
    documents, words, svd = lsa(X, 2, rng(), power=1.0)
    query = fold_in(count_matrix(["dogs"], vocabulary), svd, 1.0)[0]
    near = [float(query @ d) / (np.linalg.norm(query) * np.linalg.norm(d)) for d in documents]
    assert min(near[:3]) > 0.9 > 0.1 > max(near[3:])     # the third one lacks the word dogs
    assert cosine(words[vocabulary["cats"]], words[vocabulary["dogs"]]) > 0.99


def test_synonyms_that_never_meet_are_near():
    """First-order: no cell.  Second-order: the same contexts, the same row, the same vector."""
    documents = [[0, 2, 3], [1, 2, 3], [4, 5, 6], [4, 6, 5]]
    C = cooccurrence(documents, 7, 2)
    vectors = embed(truncated_svd(ppmi(C), 4, rng()))[0]
    assert to_dense(C)[0, 1] == 0 and cosine(vectors[0], vectors[1]) > 0.999
    assert abs(cosine(vectors[0], vectors[4])) < 1e-6


# Properties: LDA.

@every_sweep
@given(seed=st.integers(0, 10**6), n=st.integers(1, 4), T=st.integers(1, 6), N=st.integers(0, 40))
def test_counts_stay_those_of_the_topics(backend, seed, n, T, N):
    state, words, owners, uniforms = random_state(seed, n, T, V, N)
    before = [part.copy() for part in state]
    got = backend.gibbs_sweep(state, words, owners, 0.3, 0.2, uniforms)
    want = count_topics(got.topics, words, owners, (n, T, V))
    for part, same, old, kept in zip(got, want, before, state, strict=True):
        assert np.array_equal(part, same) and part.dtype == np.int64
        assert np.array_equal(old, kept), "the state given must stay as it is"
    assert np.array_equal(got.by_document.sum(axis=1), np.bincount(owners, minlength=n))
    assert np.array_equal(got.by_word.sum(axis=0), np.bincount(words, minlength=V))


@given(seed=st.integers(0, 10**6), T=st.integers(1, 5), N=st.integers(1, 30))
def test_mixtures_sum_to_one_and_perplexity_is_bounded(seed, T, N):
    state, words, owners, _ = random_state(seed, 3, T, V, N)
    theta, phi = mixtures(state, 0.2, 0.1)
    assert_close(theta.sum(axis=1), np.ones(3))
    assert_close(phi.sum(axis=1), np.ones(T))
    want = -np.mean([math.log(sum(theta[j, t] * phi[t, w] for t in range(T)))
                     for w, j in zip(words, owners, strict=True)])
    assert_close(perplexity(state, words, owners, 0.2, 0.1), math.exp(want), rtol=1e-9)
    assert 1 <= perplexity(state, words, owners, 0.2, 0.1)
    even = count_topics(np.zeros(V, int), np.arange(V), np.zeros(V, int), (1, 1, V))
    assert_close(perplexity(even, np.arange(V), np.zeros(V, int), 1, 1), float(V))


def posterior(words, owners, n, T, V, alpha, beta):
    """p(z | w) of every assignment, from the Dirichlet integrals -> dict tuple: probability."""
    def dirichlet(counts, prior):
        return (sum(math.lgamma(c + prior) for c in counts)
                - math.lgamma(sum(counts) + prior * len(counts)))
    logs = {}
    for z in itertools.product(range(T), repeat=len(words)):
        state = count_topics(np.array(z), words, owners, (n, T, V))
        logs[z] = (sum(dirichlet(row, alpha) for row in state.by_document.tolist())
                   + sum(dirichlet(row, beta) for row in state.by_word.tolist()))
    top = max(logs.values())
    total = sum(math.exp(x - top) for x in logs.values())
    return {z: math.exp(x - top) / total for z, x in logs.items()}


def test_sweeps_draw_from_the_posterior():
    """Five tokens, 32 assignments: how often each comes up against the exact probability."""
    words, owners = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1])
    exact = posterior(words, owners, 2, 2, 3, 0.5, 0.4)
    r, state = rng(7), count_topics(np.zeros(5, int), words, owners, (2, 2, 3))
    met = dict.fromkeys(exact, 0)
    for _ in range(20_000):
        state = gibbs_sweep(state, words, owners, 0.5, 0.4, r.random(5))
        met[tuple(state.topics.tolist())] += 1
    got = np.array([met[z] / 20_000 for z in exact])
    assert np.abs(got - np.array(list(exact.values()))).sum() < 0.06


@every_sweep
def test_lda_finds_topics_that_were_planted(backend):
    r = rng(1)
    documents = [r.choice(np.arange(5) + 5 * (i % 2), 40) for i in range(30)]
    state = lda(documents, 10, 2, r, 40, sweep=backend.gibbs_sweep)
    words, owners = flatten(documents, 10)
    theta, phi = mixtures(state, 0.1, 0.01)
    sides = {frozenset(names) for names in top_words(phi, dict(zip("abcdefghij", range(10),
                                                                 strict=True)), 5)}
    assert sides == {frozenset("abcde"), frozenset("fghij")}
    assert np.all(theta.max(axis=1) > 0.95)
    assert perplexity(state, words, owners, 0.1, 0.01) < 5.5
    mixed = lda(documents, 10, 2, rng(1), 0)
    assert 8 < perplexity(mixed, words, owners, 0.1, 0.01) < 11


def test_top_words_break_ties_by_number():
    phi = np.array([[0.2, 0.4, 0.2, 0.2], [0.25, 0.25, 0.25, 0.25]])
    assert top_words(phi, {"a": 0, "b": 1, "c": 2, "d": 3}, 3) == [["b", "a", "c"], ["a", "b", "c"]]


# 4. Gradient.

@pytest.mark.parametrize("seed", range(5))
def test_gradient_of_the_cells_loss(seed):
    r = rng(seed)
    x, seen, drawn, g = r.normal(size=9) * 3, r.random(9) * 9, r.random(9) * 9, r.normal(size=9)
    assert_gradient(lambda x: float((g * sgns_cell_loss(x, seen, drawn)).sum()),
                    sgns_cell_loss_grad(x, seen, drawn, g), x, seed)


# Errors.

@every_count
def test_bad_corpora_are_named(backend):
    for name in COUNTS:
        count = getattr(backend, name)
        for window in (0, -1, 1.5, math.nan, math.inf):
            with pytest.raises(ValueError, match="window: expected a whole number of at least 1"):
                count([[0, 1]], 2, window)
        with pytest.raises(ValueError, match="documents: expected at least one"):
            count([], 2, 1)
        for bad in (-1, 2, 0.5, math.nan):
            with pytest.raises(ValueError, match=rf"documents\[1\]: .* 0 to 1, got {bad}"):
                count([[0], [1, bad]], 2, 1)
        equal_bits(count([[0, 1, 0]], 2, 2.0), count([[0, 1, 0]], 2, 2))
        equal_bits(count([[0, 1, 0]], 2, 10**15), count([[0, 1, 0]], 2, 2))
        assert count([[]], 0, 3).shape == (0, 0) and count([[], []], 4, 1).data.size == 0


@pytest.mark.parametrize("function", [pmi, ppmi, lambda C: shifted_pmi(C, 2),
                                      lambda C: sgns_cell_optimum(C, 2)])
def test_bad_counts_are_refused(function):
    with pytest.raises(ValueError, match="C: expected counts, got none"):
        function(cooccurrence([[0], [1]], 2, 1))
    C = cooccurrence([[0, 1, 0]], 2, 1)
    for bad in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="C: expected finite stored counts above 0"):
            function(C._replace(data=np.array([2.0, bad])))


def test_a_word_without_neighbours_has_an_empty_row():
    C = cooccurrence([[0, 1], [2]], 3, 1)
    for M in (pmi(C, 0.75), ppmi(C), sgns_cell_optimum(C, 5)):
        assert np.all(np.isfinite(M.data)) and M.indptr[2] == M.indptr[3]


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_bad_parameters_are_named(bad):
    C = cooccurrence([[0, 1, 0]], 2, 1)
    for function in (shifted_pmi, ppmi, sgns_cell_optimum):
        with pytest.raises(ValueError, match="negatives: expected"):
            function(C, bad)
    with pytest.raises(ValueError, match="context_power: expected"):
        pmi(C, bad)


@every_sweep
def test_a_sweep_refuses_bad_input(backend):
    state, words, owners, uniforms = random_state(0, 2, 3, V, 5)
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="alpha: expected"):
            backend.gibbs_sweep(state, words, owners, bad, 0.1, uniforms)
        with pytest.raises(ValueError, match="beta: expected"):
            backend.gibbs_sweep(state, words, owners, 0.1, bad, uniforms)
    with pytest.raises(ValueError, match="expected one topic, word, owner and uniform"):
        backend.gibbs_sweep(state, words, owners, 0.1, 0.1, uniforms[:4])


def test_lda_refuses_no_topics_and_no_words():
    for documents, T in (([[0, 1]], 0), ([[0, 1]], -2), ([[], []], 2)):
        with pytest.raises(ValueError, match="expected at least 1 topic and 1 word"):
            lda(documents, 2, T, rng())
    with pytest.raises(ValueError, match="documents: expected at least one"):
        lda([], 2, 2, rng())


def test_svd_refuses_bad_input():
    M = compress(np.outer([1.0, 2, 3], [1.0, 1, 2, 5]))
    for d in (0, -1, 4):
        with pytest.raises(ValueError, match="d: expected 1 to min"):
            truncated_svd(M, d, rng())
    with pytest.raises(ValueError, match="d: expected at most the rank of M, 1, got 2"):
        truncated_svd(M, 2, rng())
    with pytest.raises(ValueError, match="the rank of M, 0"):
        truncated_svd(compress(np.zeros((3, 3))), 1, rng())
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="M: expected finite numbers"):
            truncated_svd(M._replace(data=M.data * bad), 1, rng())
    svd = truncated_svd(M, 1, rng())
    with pytest.raises(ValueError, match="B: expected shape"):
        fold_in(compress(np.ones((1, 3))), svd)


# 5. Parity with NLTK, scikit-learn and LAPACK.

@pytest.fixture(scope="module")
def frozen():
    with np.load(Path(__file__).parent / "parity/ch10_factorization.npz",
                 allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def addresses():
    from parity.ch10_factorization import corpus
    return corpus()


@every_count
def test_equals_nltk(backend, addresses, frozen):
    vocabulary, documents = addresses
    C = backend.cooccurrence(documents, len(vocabulary), 4)
    at = frozen["rows"], frozen["columns"]
    assert np.array_equal(to_dense(C)[at], frozen["nltk"])
    assert np.count_nonzero(np.triu(to_dense(C))) == frozen["nltk"].size
    assert_close(to_dense(pmi(C))[at], frozen["pmi"], atol=1e-9)


def test_equals_scikit_learn_and_lapack(addresses, frozen):
    vocabulary, documents = addresses
    X = compress(np.stack([np.bincount(d, minlength=len(vocabulary)) for d in documents if len(d)]))
    svd = truncated_svd(tfidf(X), 8, rng(), iterations=60)
    assert_close(svd.S, frozen["arpack"], rtol=1e-8)
    assert_close(svd.S, frozen["svd"][:8], rtol=1e-8)
    assert_close(np.abs((svd.Vt * frozen["components"]).sum(axis=1)), np.ones(8), atol=1e-6)
    assert_close((svd.U * svd.S @ svd.Vt)[:, :5], frozen["vectors"], atol=1e-6)
    quick = truncated_svd(tfidf(X), 8, rng())                    # the default of 20 iterations
    assert_close(quick.S, frozen["svd"][:8], rtol=1e-4)


# 6. The twins: the same bits as the reference, but sums over 1 / distance in another order.

def equal_bits(got, want):
    for a, b in zip(got, want, strict=True):
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        else:
            assert a == b


def equal_counts(name, got, want):
    """The same cells and types; plain counts to the bit, weighted ones to rounding."""
    if name == "cooccurrence":
        equal_bits(got, want)
    else:
        equal_bits((*got[:2], got.shape), (*want[:2], want.shape))
        assert_close(got.data, want.data, rtol=1e-12)


def zipf(r, N, V):
    """N word ids, the frequencies falling as 1 / rank."""
    p = 1 / np.arange(1, V + 1)
    return r.choice(V, N, p=p / p.sum())


def cut(r, tokens, pieces):
    return np.split(tokens, np.sort(r.integers(0, len(tokens) + 1, pieces)))


@every_twin_count
@pytest.mark.parametrize("N", [*EDGE_SIZES, 2000])
@pytest.mark.parametrize("V", [1, 31, 33, 129])
def test_twin_counts_as_the_reference(backend, N, V):
    r = rng(N + V)
    documents = cut(r, zipf(r, N, V), N // 10)
    for window in (1, 2, 5, 10**6 if N < 200 else 50):
        for name in COUNTS:
            equal_counts(name, getattr(backend, name)(documents, V, window),
                         getattr(chapter, name)(documents, V, window))


@every_twin_count
@given(documents=CORPORA, window=WINDOWS)
def test_twin_counts_any_corpus_as_the_reference(backend, documents, window):
    for name in COUNTS:
        equal_counts(name, getattr(backend, name)(documents, V, window),
                     getattr(chapter, name)(documents, V, window))


@every_twin_count
@pytest.mark.parametrize("documents", [[[]], [[0]], [[3] * 100], [[], [0, 1], []]],
                         ids=["empty", "one word", "one word often", "empty around"])
def test_twin_counts_odd_corpora(backend, documents):
    for name, window in itertools.product(COUNTS, (1, 3)):
        equal_counts(name, getattr(backend, name)(documents, 4, window),
                     getattr(chapter, name)(documents, 4, window))


@every_twin_count
@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_number_of_threads_changes_no_bit(backend, count, threads):
    threads(1)
    r = rng(0)
    documents = cut(r, zipf(r, 5000, 300), 40)
    C = backend.cooccurrence_inverse_distance(documents, 300, 4)
    threads(count)
    equal_bits(backend.cooccurrence_inverse_distance(documents, 300, 4), C)
    B = r.standard_normal((300, 7))
    equal_bits([backend.csr_matmul(C, B)], [csr_matmul(C, B)])


@every_twin_product
@pytest.mark.parametrize("n", EDGE_SIZES)
@pytest.mark.parametrize("columns", [0, 1, 33])
def test_twin_multiplies_as_the_reference(backend, n, columns):
    r = rng(n)
    dense = r.standard_normal((n, 40)) * (r.random((n, 40)) < 0.2)
    X = compress(dense) if n else CSR(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0),
                                      (0, 40))
    B = r.standard_normal((40, columns))
    got = backend.csr_matmul(X, B)
    equal_bits([got], [csr_matmul(X, B)])
    assert_close(got, dense @ B, atol=1e-10)
    with pytest.raises(ValueError, match="B: expected shape"):
        backend.csr_matmul(X, B[1:])


@every_twin_product
def test_svd_by_the_twins_product(backend):
    M = compress(decaying(60, 0.8))
    equal_bits(truncated_svd(M, 4, rng(), product=backend.csr_matmul),
               truncated_svd(M, 4, rng()))


@every_twin_sweep
@pytest.mark.parametrize("N", EDGE_SIZES)
@pytest.mark.parametrize("T", [1, 2, 31, 33])
def test_twin_takes_the_same_steps(backend, N, T):
    state, words, owners, _ = random_state(N, 5, T, 20, N)
    r, other = rng(T), state
    for alpha, beta in ((0.1, 0.01), (1, 2.0), (5.0, 1e-6)):
        uniforms = np.where(r.random(N) < 0.1, r.choice([0.0, 1 - 2**-53], N), r.random(N))
        state = gibbs_sweep(state, words, owners, alpha, beta, uniforms)
        other = backend.gibbs_sweep(other, words, owners, alpha, beta, uniforms)
        equal_bits(other, state)


@every_twin_parallel_sweep
@pytest.mark.parametrize("N", EDGE_SIZES)
@pytest.mark.parametrize("T", [1, 2, 33])
def test_twin_sweeps_documents_as_the_reference(backend, N, T):
    state, words, owners, uniforms = random_state(N, 5, T, 20, N)
    mixed = rng(N).permutation(N)                          # documents need not be in one piece
    state = state._replace(topics=state.topics[mixed])
    arguments = words[mixed], owners[mixed], 0.1, 0.01, uniforms
    equal_bits(backend.gibbs_sweep_by_document(state, *arguments),
               gibbs_sweep_by_document(state, *arguments))


@every_long_parallel_sweep
def test_sweeps_by_document_find_planted_topics_too(backend):
    r = rng(1)
    documents = [r.choice(np.arange(5) + 5 * (i % 2), 40) for i in range(20)]
    state = lda(documents, 10, 2, r, 30, sweep=backend.gibbs_sweep_by_document)
    assert np.all(mixtures(state, 0.1, 0.01)[0].max(axis=1) > 0.95)
    words, owners = flatten(documents, 10)
    with pytest.raises(ValueError, match="alpha: expected"):
        backend.gibbs_sweep_by_document(state, words, owners, 0, 0.1, np.zeros(len(words)))
    with pytest.raises(ValueError, match="expected one topic, word, owner and uniform"):
        backend.gibbs_sweep_by_document(state, words, owners, 0.1, 0.1, np.zeros(3))


@every_twin_sweep
def test_twin_fits_the_same_topics(backend):
    r = rng(4)
    documents = cut(r, zipf(r, 1500, 60), 20)
    equal_bits(lda(documents, 60, 7, rng(), 5, sweep=backend.gibbs_sweep),
               lda(documents, 60, 7, rng(), 5))


# 7. Mutants: the catalogue's are caught in tests/test_exercises.py; here, told from one another.

PAIRS = [pytest.param(e, a, b, id=f"{e.id}: {a.mistake} / {b.mistake}")
         for e in catalogue("ch10_factorization") for a, b in itertools.combinations(e.mutants, 2)]


@functools.cache
def verdicts(exercise_id, mistake, seed):
    """Of each property, what it says of one mistake, and on which values -> tuple of str."""
    exercise = next(e for e in catalogue("ch10_factorization") if e.id == exercise_id)
    module = build(exercise, next(m for m in exercise.mutants if m.mistake == mistake))
    outcomes = [run_property(p, module, Effort(seed=seed, shrink_seconds=0))
                for p in exercise.properties]
    return tuple((o.status, o.claim, str(o.inputs), str(o.shown)) for o in outcomes)


@pytest.mark.parametrize("exercise, one, other", PAIRS)
def test_two_mistakes_do_not_look_alike(exercise, one, other):
    assert any(verdicts(exercise.id, one.mistake, seed) != verdicts(exercise.id, other.mistake,
                                                                    seed) for seed in range(5))


def test_a_right_answer_in_other_words_passes():
    """The control: NumPy's dense algebra in place of ours."""
    def embed(svd, power=0.5):
        weight = np.diag(svd.S ** power)
        return svd.U @ weight, svd.Vt.T @ weight

    def fold_in(Q, svd, power=0.5):
        return to_dense(Q) @ svd.Vt.T @ np.diag(svd.S ** power) @ np.diag(1 / svd.S)

    exercise = next(e for e in catalogue("ch10_factorization") if e.id == "ch10.vectors")
    for p in exercise.properties:
        assert run_property(p, {"embed": embed, "fold_in": fold_in}).status == "passed"


def test_named_results_unpack():
    assert SVD._fields == ("U", "S", "Vt")
    assert Topics._fields == ("topics", "by_document", "by_word")
