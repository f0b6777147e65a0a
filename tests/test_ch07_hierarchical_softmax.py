"""Chapter 7: hierarchical softmax: Huffman's tree, paths, losses, blocks of training."""
import contextlib
import heapq
import math
from functools import cache
from itertools import combinations
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
    on_emulator,
)
from hypothesis import given
from hypothesis import strategies as st

from kernels import twin
from primer import ch07_hierarchical_softmax as chapter
from primer import claims, data
from primer.ch06_word2vec import (
    count_vocabulary,
    encode_corpus,
    falling_rates,
    nearest_words,
    windows_word2vec_c,
)
from primer.ch07_hierarchical_softmax import (
    Tree,
    entropy_bits,
    huffman_tree,
    initial_vectors,
    log_probabilities,
    mean_path_length,
    merge_rarest,
    paths_of,
    place_loss_grad,
    predict,
    predict_backward,
    sigmoid,
    softplus,
    train_cbow,
    train_skipgram,
)
from primer.exercises.ch07_hierarchical_softmax import loss_by_hand, tree_of_word2vec_c

every_tree = every_backend("ch07_hierarchical_softmax", "huffman_tree", "merge_rarest")
every_block = every_backend("ch07_hierarchical_softmax", "skipgram_block", "cbow_block")
every_twin_tree = every_twin("ch07_hierarchical_softmax", "huffman_tree")
every_twin_block = every_twin("ch07_hierarchical_softmax", "skipgram_block", "cbow_block")
BLOCKS = ("skipgram_block", "cbow_block")
COUNTS = st.lists(st.one_of(st.integers(1, 4), st.integers(1, 1000)), min_size=1, max_size=25)
EXAMPLE = [45, 13, 12, 16, 9, 5]


def path(tree, word):
    """-> list of (node, turn)."""
    own = slice(*tree.indptr[word:word + 2])
    return list(zip(tree.nodes[own].tolist(), tree.codes[own].tolist(), strict=True))


def drawn(seed, V=9, d=4, T=14, dtype=np.float64, documents=2, largest=0.3):
    """-> W, N, tokens (T,), starts, windows (T,), rates (T,), tree."""
    rng = np.random.default_rng(seed)
    W, N = rng.standard_normal((V, d)).astype(dtype), rng.standard_normal((V - 1, d)).astype(dtype)
    starts = np.sort(np.r_[0, rng.integers(0, T + 1, documents - 1), T])
    return (W, N, rng.integers(0, V, T), starts, rng.integers(1, 4, T),
            rng.uniform(0, largest, T).astype(dtype), huffman_tree(rng.integers(1, 99, V)))


@contextlib.contextmanager
def in_order(backend):
    """One thread, one warp: the steps come in the order of the text."""
    threads, warps = numba.get_num_threads(), getattr(backend, "WARPS", None)
    numba.set_num_threads(1)
    if warps:
        backend.WARPS = 1
    try:
        yield
    finally:
        numba.set_num_threads(threads)
        if warps:
            backend.WARPS = warps


def run(backend, name, block):
    """A block on copies, its steps in order -> (sum of losses, predictions), W, N."""
    with in_order(backend):
        return run_freely(backend, name, block)


def run_freely(backend, name, block):
    W, N = block[0].copy(), block[1].copy()
    return getattr(backend, name)(W, N, *block[2:]), W, N


# 1. The equation.

@every_tree
@given(counts=COUNTS)
def test_the_tree_is_that_of_word2vec_c(backend, counts):
    """The C program's loop takes counts in falling order; ours, any."""
    order = sorted(range(len(counts)), key=lambda w: -counts[w])
    tree = backend.huffman_tree(counts)
    for word, (nodes, codes) in zip(order, tree_of_word2vec_c([counts[w] for w in order]),
                                    strict=True):
        assert path(tree, word) == list(zip(nodes, codes, strict=True))
    assert (tree.indptr.dtype, tree.nodes.dtype, tree.codes.dtype) == (np.int64, np.int32, np.int8)


@given(seed=st.integers(0, 999))
def test_the_loss_is_the_equation(seed):
    W, N, words, *_, tree = drawn(seed)
    H = W[np.random.default_rng(seed).integers(0, len(W), len(words))]
    want = [loss_by_hand(h, N, path(tree, w)) for h, w in zip(H, words, strict=True)]
    assert_close(predict(H, N, words, tree)[0], want)
    every = [[-loss_by_hand(h, N, path(tree, w)) for w in range(len(W))] for h in H[:3]]
    assert_close(log_probabilities(H[:3], N, tree), every)


def spec_block(mean, W, N, tokens, starts, windows, rates, tree):
    """Place after place, one number at a time -> (sum of losses, predictions), W, N."""
    W, N, total, predictions = W.tolist(), N.tolist(), 0.0, 0
    document = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    for t, word in enumerate(tokens):
        near = [tokens[j] for j in range(len(tokens)) if 0 < abs(j - t) <= windows[t]
                and document[j] == document[t]]
        H = [list(W[w]) for w in near]
        if mean and near:
            H = [[sum(column) / len(near) for column in zip(*H, strict=True)]]
        steps = []
        for j, h in enumerate(H):
            total += loss_by_hand(np.array(h), np.array(N), path(tree, word))
            predictions += 1
            for node, turn in path(tree, word):
                ds = 1 / (1 + math.exp(-np.dot(N[node], h))) - (1 - turn)
                steps += [("N", node, [ds * x for x in h])]
                targets = near if mean else [near[j]]
                steps += [("W", w, [ds * x for x in N[node]]) for w in targets]
        for table, row, gradient in steps:
            old = (W if table == "W" else N)
            old[row] = [x - rates[t] * g for x, g in zip(old[row], gradient, strict=True)]
    return (total, predictions), np.array(W), np.array(N)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
@given(seed=st.integers(0, 999))
def test_blocks_are_the_equation(backend, name, seed):
    block = drawn(seed, dtype=np.float32 if emulated(backend) else np.float64)
    tolerance = 2e-5 if emulated(backend) else 1e-10
    want = spec_block(name == "cbow_block", *(x.astype(np.float64) for x in block[:2]), *block[2:])
    got = run(backend, name, block)
    for a, b in zip(got[1:], want[1:], strict=True):
        assert_close(a, b, rtol=tolerance, atol=tolerance)
    assert_close(got[0][0], want[0][0], rtol=tolerance)
    assert got[0][1] == want[0][1] and type(got[0][0]) is float


# 2. The text's worked example (it has none with numbers: lines 927, 946).

@every_tree
def test_six_counts(backend):
    tree = backend.huffman_tree(EXAMPLE)
    assert np.diff(tree.indptr).tolist() == [1, 3, 3, 3, 4, 4]
    assert_close(mean_path_length(np.array(EXAMPLE), tree), 2.24)
    assert_close(entropy_bits(np.array(EXAMPLE)), 2.2199, atol=5e-5)
    assert len(np.unique(tree.nodes)) == 5 and all(path(tree, w)[0][0] == 4 for w in range(6))


@every_tree
def test_the_longest_path_has_a_node_for_every_other_word(backend):         # line 946
    counts = [1, 1]
    while len(counts) < 90:
        counts.append(counts[-1] + counts[-2])
    for V in (2, 10, 90):                            # 90 of them add up to almost 2^63
        lengths = np.diff(backend.huffman_tree(counts[:V]).indptr)
        assert sorted(lengths) == [*range(1, V), V - 1]


@every_tree
@pytest.mark.parametrize("counts, codes", [
    ([1, 1, 1], [[0], [1, 1], [1, 0]]),              # no inner node yet: the last two words meet
    ([2, 1, 1], [[1], [0, 1], [0, 0]]),              # a word and a node of weight 2: the node first
    ([1, 1, 1, 1], [[1, 1], [1, 0], [0, 1], [0, 0]]),
    ([1, 1, 2], [[0, 1], [0, 0], [1]])])             # not in order
def test_ties(backend, counts, codes):
    tree = backend.huffman_tree(counts)
    assert [[turn for _, turn in path(tree, w)] for w in range(len(counts))] == codes


def test_the_path_in_the_two_ways_of_the_text():                            # lines 932, 936, 940
    """Factors: the inner nodes; nodes with the leaf are one more, and so `L(w) - 1` factors."""
    tree = huffman_tree(EXAMPLE)
    p = np.exp(log_probabilities(np.ones((1, 2)), np.ones((5, 2)), tree))[0]
    short = [math.prod(sigmoid(np.float64(2 * (1 - 2 * turn))) for _, turn in path(tree, w)[:-1])
             for w in range(6)]
    assert_close(p.sum(), 1.0)
    assert sum(short) > 1.2                          # a factor less is no probability


def test_the_claims_have_their_verdicts():
    rows = [(r["line"], r["verdict"]) for r in claims.rows(7)]
    assert {n for n, v in rows if v == "wrong"} == {922, 940, 944, 946, 1285}
    assert {927, 929, 933, 936, 946, 947, 950, 1010} == {n for n, v in rows if v == "right"}


# 3. Properties.

@every_tree
@given(counts=COUNTS)
def test_the_tree_is_full_and_within_a_bit_of_the_entropy(backend, counts):
    tree, V = backend.huffman_tree(counts), len(counts)
    lengths = np.diff(tree.indptr)
    assert sum(2.0 ** -lengths) == 1                                         # Kraft: no gap
    codes = ["".join(str(turn) for _, turn in path(tree, w)) for w in range(V)]
    assert not any(b.startswith(a) for a, b in zip(sorted(codes), sorted(codes)[1:], strict=False))
    assert set(tree.nodes.tolist()) == set(range(V - 1)) and set(tree.codes.tolist()) <= {0, 1}
    mean, bound = mean_path_length(np.array(counts), tree), entropy_bits(np.array(counts))
    assert bound - 1e-9 <= mean < bound + 1
    for a, b in combinations(range(V), 2):
        assert counts[a] <= counts[b] or lengths[a] <= lengths[b]            # rarer, never shorter
    assert all(a[0] > b[0] for w in range(V) for a, b in
               zip(path(tree, w), path(tree, w)[1:], strict=False))          # the root is V - 2


@cache
def least_cost(weights):
    """The least sum of merged weights over all orders of merging."""
    if len(weights) == 1:
        return 0
    out = []
    for a, b in combinations(range(len(weights)), 2):
        rest = [w for i, w in enumerate(weights) if i not in (a, b)]
        both = weights[a] + weights[b]
        out.append(both + least_cost(tuple(sorted([*rest, both]))))
    return min(out)


@every_tree
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_no_other_tree_is_better(backend, counts):
    tree = backend.huffman_tree(counts)
    assert np.array(counts) @ np.diff(tree.indptr) == least_cost(tuple(sorted(counts)))


@every_tree
@given(counts=COUNTS)
def test_a_heap_finds_a_tree_as_good(backend, counts):
    heap, cost = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        heapq.heappush(heap, both := heapq.heappop(heap) + heapq.heappop(heap))
        cost += both
    assert np.array(counts) @ np.diff(backend.huffman_tree(counts).indptr) == cost


@given(seed=st.integers(0, 999), size=st.sampled_from([0.1, 1.0, 30.0]))
def test_probabilities_add_up_to_one(seed, size):
    W, N, *_, tree = drawn(seed)
    logs = log_probabilities(size * W, N, tree)
    assert_close(np.exp(logs).sum(axis=1), np.ones(len(W)), rtol=1e-9)
    assert (logs <= 0).all()


@given(seed=st.integers(0, 999))
def test_left_and_right_are_a_convention(seed):
    """A node's turns changed and its vector negated: the same probabilities."""
    W, N, *_, tree = drawn(seed)
    rng = np.random.default_rng(seed)
    flipped = rng.random(len(N)) < 0.5
    other = Tree(tree.indptr, tree.nodes, np.where(flipped[tree.nodes], 1 - tree.codes, tree.codes))
    assert_close(log_probabilities(W, np.where(flipped[:, None], -N, N), other),
                 log_probabilities(W, N, tree))


def test_large_scores_neither_overflow_nor_vanish():
    with np.errstate(all="raise", under="ignore"):
        assert_close(softplus(np.array([-1e4, 0, 1e4])), [0, math.log(2), 1e4])
        assert_close(sigmoid(np.array([-1e4, 0, 1e4])), [0, 0.5, 1])
    assert_close(sigmoid(np.array([-2.0, 3])), [1 / (1 + math.exp(2)), 1 / (1 + math.exp(-3))])
    assert_close(softplus(np.array([-2.0, 3])), np.log1p(np.exp([-2.0, 3])))
    assert sigmoid(np.float32([1])).dtype == softplus(np.float32([1])).dtype == np.float32


def test_zero_nodes_make_all_turns_alike():
    """The start: a word costs ln 2 a turn, so the mean loss is the mean path times ln 2."""
    counts = np.array(EXAMPLE)
    tree = huffman_tree(counts)
    W, N = initial_vectors(6, 5, np.random.default_rng(0))
    assert W.dtype == N.dtype == np.float32 and N.shape == (5, 5) and not N.any()
    assert 0.08 < np.abs(W).max() <= 0.1
    losses, _ = predict(W, N, np.arange(6), tree)
    assert_close(losses, np.float32(np.log(2)) * np.diff(tree.indptr), rtol=1e-6)
    assert_close(counts @ losses / counts.sum(), mean_path_length(counts, tree) * math.log(2),
                 rtol=1e-6)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
@given(seed=st.integers(0, 999))
def test_a_rate_of_zero_changes_nothing(backend, name, seed):
    block = list(drawn(seed, dtype=np.float32))
    block[5] = 0 * block[5]
    (loss, predictions), W, N = run(backend, name, block)
    assert np.array_equal(W, block[0]) and np.array_equal(N, block[1])
    assert (loss > 0) == (predictions > 0)


@every_block
@given(seed=st.integers(0, 999))
def test_with_one_neighbour_cbow_is_skipgram(backend, seed):
    """Documents of two words, and of one, which has no neighbour."""
    block = list(drawn(seed, dtype=np.float32, T=11))
    block[3] = np.array([0, 2, 4, 5, 5, 7, 9, 11])
    one, two = (run(backend, name, block) for name in BLOCKS)
    assert one[0][1] == two[0][1] == 10
    for a, b in zip(one[1:], two[1:], strict=True):
        assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert_close(one[0][0], two[0][0], rtol=1e-5)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_whole_documents_follow_one_another(backend, name):
    block = drawn(3, dtype=np.float32, T=30, documents=4)
    W, N, tokens, starts, windows, rates, tree = block
    want = run(backend, name, block)
    A, B, done = W.copy(), N.copy(), []
    for first, stop in ((0, 1), (1, len(starts) - 1)):
        own = slice(starts[first], starts[stop])
        with in_order(backend):
            done.append(getattr(backend, name)(A, B, tokens[own], starts[first:stop + 1]
                                               - own.start, windows[own], rates[own], tree))
    assert np.array_equal(A, want[1]) and np.array_equal(B, want[2])
    assert sum(n for _, n in done) == want[0][1]
    assert_close(sum(loss for loss, _ in done), want[0][0], rtol=1e-6)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
def test_nothing_to_predict(backend, name):
    tree = huffman_tree([5, 3, 1])
    W, N = initial_vectors(3, 4, np.random.default_rng(0))
    for tokens, starts in (([], [0]), ([], [0, 0]), ([2, 1], [0, 1, 2])):
        A, B = W.copy(), N.copy()
        assert getattr(backend, name)(A, B, np.array(tokens, np.int32), starts,
                                      np.ones(len(tokens), np.int64), np.ones(len(tokens)),
                                      tree) == (0.0, 0)
        assert np.array_equal(A, W) and np.array_equal(B, N)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
def test_a_vocabulary_of_one_word_is_certain(backend, name):
    tree = huffman_tree([7])
    W, N = initial_vectors(1, 3, np.random.default_rng(0))
    assert N.shape == (0, 3) and tree.indptr.tolist() == [0, 0]
    rest = [0, 0, 0], [0, 3], [1, 1, 1], np.full(3, 0.1, np.float32), tree
    loss, predictions = getattr(backend, name)(W, N, *rest)
    assert loss == 0 and predictions == (4 if name == "skipgram_block" else 3)
    assert_close(log_probabilities(W, N, tree), np.zeros((1, 1), np.float32))


# 4. Gradients.

@given(seed=st.integers(0, 999))
def test_gradient_of_predictions(seed):
    W, N, words, *_, tree = drawn(seed)
    rng = np.random.default_rng(seed)
    H, factor = rng.standard_normal((len(words), 4)), rng.standard_normal(len(words))
    dH, dN = predict_backward(factor, predict(H, N, words, tree)[1])
    assert_gradient(lambda H: (factor * predict(H, N, words, tree)[0]).sum(), dH, H, seed)
    assert_gradient(lambda N: (factor * predict(H, N, words, tree)[0]).sum(), dN, N, seed)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
@given(seed=st.integers(0, 99))
def test_a_place_steps_down_its_slope(backend, name, seed):
    """One place, the others without a step: W and N move by the rate times the loss's gradient;
    with CBOW W by the mean's, as often as there are neighbours."""
    if emulated(backend):
        return                                       # float32: test_blocks_are_the_equation
    W, N, tokens, _, _, _, tree = drawn(seed, T=5)
    rates = np.array([0, 0, 0.25, 0, 0])
    rest = tokens, [0, 5], [1, 1, 2, 1, 1], rates, tree
    _, A, B = run(backend, name, (W, N, *rest))
    near = tokens[[0, 1, 3, 4]]

    def loss(W, N):
        H = W[near].mean(axis=0, keepdims=True) if name == "cbow_block" else W[near]
        return predict(H, N, np.full(len(H), tokens[2]), tree)[0].sum()
    step = 0.25 * (len(near) if name == "cbow_block" else 1)
    assert_gradient(lambda W: loss(W, N), (W - A) / step, W, seed)
    assert_gradient(lambda N: loss(W, N), (N - B) / 0.25, N, seed)


@given(seed=st.integers(0, 999))
def test_a_place_is_predictions_along_one_path(seed):
    W, N, words, _, _, _, tree = drawn(seed)
    H = W[:5]
    losses, cache = predict(H, N, np.full(5, words[0]), tree)
    dH, dN = predict_backward(1.0, cache)
    _, nodes, codes = paths_of(words[:1], tree)
    loss, got, dU = place_loss_grad(H, N[nodes], codes)
    assert_close(loss, losses.sum())
    assert_close(got, dH)
    assert_close(dU, dN[nodes])


# 5. Parity: tests/parity/ch07_hierarchical_softmax.py says what was frozen.

@pytest.fixture(scope="module")
def frozen():
    path = Path(__file__).parent / "parity/ch07_hierarchical_softmax.npz"
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


@every_tree
def test_the_tree_equals_that_of_the_c_program(backend, frozen):
    tree = backend.huffman_tree(frozen["counts"])
    assert np.array_equal(tree.indptr, frozen["c_indptr"])
    assert np.array_equal(tree.nodes, frozen["c_nodes"])
    assert np.array_equal(tree.codes, frozen["c_codes"])


def test_the_tree_costs_as_much_as_gensims(frozen):
    """Its heap breaks ties in another way: the same cost, other paths."""
    counts = frozen["gensim_counts"]
    ours = np.diff(huffman_tree(counts).indptr)
    assert counts @ ours == counts @ frozen["gensim_lengths"]
    assert not np.array_equal(ours, frozen["gensim_lengths"])


def sigmoid_of_gensim(x):
    """Its table, and word2vec.c's: 1000 / 6 / 2 in whole numbers is 83; sigma(0) = 0.494."""
    return sigmoid(np.floor((x + 6) * 83) * 12 / 1000 - 6).astype(x.dtype)


@every_block
@pytest.mark.parametrize("name", BLOCKS)
def test_a_pass_equals_gensims(backend, frozen, name, monkeypatch):
    """Pairs of words, so that a place has one neighbour and both take the same steps: with its
    table just the same, with our sigma nearly so."""
    tolerance = 0.02
    if backend is chapter:
        monkeypatch.setattr(chapter, "sigmoid", sigmoid_of_gensim)
        tolerance = 1e-5
    tree = Tree(*(frozen[f"gensim_{key}"] for key in ("indptr", "nodes", "codes")))
    W, N, tokens = frozen["W"].copy(), frozen["N"].copy(), frozen["tokens"]
    with in_order(backend):
        _, steps = getattr(backend, name)(W, N, tokens, np.arange(0, len(tokens) + 1, 2),
                                          np.ones(len(tokens), np.int64), frozen["rates"], tree)
    assert steps == len(tokens)
    for got, kind in ((W, "W"), (N, "N")):
        want = frozen[f"{name.partition('_')[0]}_{kind}"]
        assert np.abs(want - frozen[kind]).max() > 0.3               # it has moved far
        assert_close(got, want, rtol=0, atol=tolerance)


# 6. Twins.

@every_twin_tree
@pytest.mark.parametrize("V", [*EDGE_SIZES[1:], 3000])
def test_twin_merges_alike(backend, V):
    for counts in (np.random.default_rng(V).integers(1, 50, V), np.ones(V, np.int64),
                   np.random.default_rng(V).zipf(1.3, V).clip(1, 10**9)):
        for a, b in zip(backend.merge_rarest(counts), merge_rarest(counts), strict=True):
            assert np.array_equal(a, b) and a.dtype == b.dtype
        for a, b in zip(backend.huffman_tree(counts), huffman_tree(counts), strict=True):
            assert np.array_equal(a, b) and a.dtype == b.dtype


@every_twin_block
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("size", EDGE_SIZES)
def test_twin_takes_the_same_steps(backend, name, size):
    """The size is that of V, then of d, then of T, then of the window."""
    few = min(size, 33) if emulated(backend) else size
    for V, d, T, c in ((max(size, 2), 3, 20, 3), (7, max(size, 1), 12, 3), (7, 3, few, 3),
                       (7, 3, few, max(size, 1))):
        block = list(drawn(size, V, d, T, np.float32, documents=3, largest=0.2 / min(c, 20)))
        block[:2] = [x / np.float32(math.sqrt(d)) for x in block[:2]]
        block[4] = np.full(T, c)
        want, got = run(chapter, name, block), run(backend, name, block)
        assert got[0][1] == want[0][1]
        assert_close(got[0][0], want[0][0], rtol=2e-5)
        for a, b in zip(got[1:], want[1:], strict=True):
            assert a.dtype == np.float32
            assert_close(a, b, rtol=1e-4, atol=1e-4)


@every_twin_block
@pytest.mark.parametrize("name", BLOCKS)
def test_twin_keeps_large_scores(backend, name):
    """Scores of hundreds: the loss grows with them, and nothing overflows."""
    block = list(drawn(5, dtype=np.float32, largest=1e-6))
    block[:2] = [15 * x for x in block[:2]]
    want, got = run(chapter, name, block), run(backend, name, block)
    assert want[0][0] > 1000 * math.log(2)
    assert_close(got[0][0], want[0][0], rtol=1e-5)


def repeated(documents, seed=0, V=40, d=8):
    """Many documents of neighbours in a ring of words, each word near its number's -> block."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, V, documents)[:, None]
    tokens = ((first + np.cumsum(rng.integers(0, 3, (documents, 8)), axis=1)) % V).ravel()
    starts = np.arange(0, tokens.size + 1, 8)
    W, N = initial_vectors(V, d, rng)
    tree = huffman_tree(np.bincount(tokens, minlength=V))
    return [W, N, tokens, starts, np.full(tokens.size, 3), np.full(tokens.size, 0.1, np.float32),
            tree]


@every_block
@pytest.mark.parametrize("name", BLOCKS)
def test_threads_that_do_not_wait_learn_as_well(backend, name):
    """Hogwild: not the same numbers, but the same loss, within a few percent."""
    block = repeated(60 if emulated(backend) else 300)
    want, got = run(chapter, name, block), run_freely(backend, name, block)
    assert got[0][1] == want[0][1]
    for _, W, N in (got, want):
        assert np.isfinite(W).all() and np.isfinite(N).all()
    resting = [*block[2:5], 0 * block[5], block[6]]
    before, after, reached = (getattr(chapter, name)(W.copy(), N.copy(), *resting)[0] for W, N in
                              (block[:2], want[1:], got[1:]))
    assert after < 0.98 * before
    assert abs(reached - after) < (0.25 if emulated(backend) else 0.1) * (before - after)


@every_twin_block
@pytest.mark.parametrize("name", BLOCKS)
def test_one_thread_repeats_itself(backend, name):
    block = drawn(8, V=30, d=7, T=40, dtype=np.float32)
    one, two = run(backend, name, block), run(backend, name, block)
    assert one[0] == two[0] and all(a.tobytes() == b.tobytes()
                                    for a, b in zip(one[1:], two[1:], strict=True))


@on_emulator
def test_windows_too_large_for_the_gpu_are_named():
    module = twin("ch07_hierarchical_softmax", "emulated")
    block = list(drawn(0, T=300, dtype=np.float32))
    block[4] = np.full(300, 200)
    with pytest.raises(ValueError, match="windows: .* neighbours and a path of"):
        run(module, "skipgram_block", block)
    assert run(module, "cbow_block", block)[0][1] == 300
    with pytest.raises(TypeError, match="W: the CUDA twin trains float32"):
        run(module, "cbow_block", drawn(0))


# Training.

@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(7)
    kinds = (["cat", "dog", "bird"], ["sees", "hears"], ["tree", "moon"])
    documents = [" ".join(rng.choice(words) for words in kinds) for _ in range(400)]
    vocabulary, counts = count_vocabulary(documents)
    return kinds, vocabulary, huffman_tree(counts), *encode_corpus(documents, vocabulary)


@pytest.mark.parametrize("backend", [None, "numba"])
@pytest.mark.parametrize("train, epochs, rate", [(train_skipgram, 8, 0.2), (train_cbow, 16, 0.4)])
def test_training_finds_the_kinds_of_words(toy, train, epochs, rate, backend):
    kinds, vocabulary, tree, tokens, starts = toy
    rng = np.random.default_rng(7)
    start = initial_vectors(len(vocabulary), 10, rng)
    before = [x.copy() for x in start]
    W, N, history = train(tokens, starts, *start, tree, 2, epochs, rng, rate,
                          backend and twin("ch07_hierarchical_softmax", backend))
    assert history.shape == (epochs,) and history[-1] < history[0] - 0.02
    assert all(np.array_equal(a, b) for a, b in zip(start, before, strict=True))
    for words in kinds:
        for word in words:
            found = [w for w, _ in nearest_words(word, vocabulary, W, len(words) - 1)]
            assert set(found) == set(words) - {word}


def test_training_is_blocks_with_falling_rates_and_drawn_windows(toy):
    _, vocabulary, tree, tokens, starts = toy
    W, N = initial_vectors(len(vocabulary), 6, np.random.default_rng(1))
    got = train_skipgram(tokens, starts, W, N, tree, 3, 2, np.random.default_rng(5), rate=0.1)
    A, B, rng = W.copy(), N.copy(), np.random.default_rng(5)
    for epoch in range(2):
        windows = windows_word2vec_c(len(tokens), 3, rng)
        loss, pairs = chapter.skipgram_block(A, B, tokens, starts, windows,
                                             falling_rates(0.1, epoch, 2, len(tokens)), tree)
        assert_close(got[2][epoch], loss / pairs, rtol=1e-6)
    assert_close(got[0], A, rtol=1e-5, atol=1e-6)
    assert_close(got[1], B, rtol=1e-5, atol=1e-6)


def test_training_on_the_text(toy):
    documents = data.load_texts()["iguana"]["documents"]
    vocabulary, counts = count_vocabulary(documents)
    tree, rng = huffman_tree(counts), np.random.default_rng(0)
    start = initial_vectors(len(vocabulary), 3, rng)
    tokens, starts = encode_corpus(documents, vocabulary)
    *_, history = train_skipgram(tokens, starts, *start, tree, 2, 300, rng, 0.3)
    assert history[-50:].mean() < history[:50].mean() - 0.1


# Errors.

@every_tree
@pytest.mark.parametrize("counts, error", [
    ([], ValueError), ([3, 0], ValueError), ([-1, 2], ValueError), ([1.5, 2.0], TypeError),
    ([math.nan, 1.0], TypeError), ([[1, 2]], ValueError), ([2 ** 62, 2 ** 62], ValueError)])
def test_counts_are_whole_numbers_from_one(backend, counts, error):
    with pytest.raises(error, match="counts: expected"):
        backend.huffman_tree(counts)


GOOD = {"W": np.zeros((3, 2), np.float32), "N": np.zeros((2, 2), np.float32),
        "tokens": [0, 1, 2], "starts": [0, 3], "windows": [1, 1, 1], "rates": [0.1, 0.1, 0.1],
        "tree": Tree(np.array([0, 1, 3, 5]), np.array([1, 1, 0, 1, 0], np.int32),
                     np.array([0, 1, 0, 1, 1], np.int8))}
BAD = [("W", np.zeros((4, 2), np.float32)), ("W", np.zeros((3, 0), np.float32)),
       ("W", np.zeros(3, np.float32)), ("W", [[0.0, 0]] * 3), ("W", np.zeros((3, 2), np.int64)),
       ("N", np.zeros((3, 2), np.float32)), ("N", np.zeros((2, 3), np.float32)),
       ("N", np.zeros((2, 2))), ("N", [[0.0, 0]] * 2), ("tokens", [0, 1, 3]),
       ("tokens", [0, -1, 2]), ("tokens", [0.0, 1, 2]), ("starts", [0, 2]), ("starts", [1, 3]),
       ("window", [0, 1, 1]), ("window", [1.0, 1, 1]), ("rates", [0.1, 0.1]),
       ("rates", [0.1, math.nan, 0.1]), ("rates", 0.1)]


@every_block
@pytest.mark.parametrize("name, value", BAD, ids=[f"{n}-{i}" for i, (n, _) in enumerate(BAD)])
def test_a_bad_argument_is_named(backend, name, value):
    arguments = GOOD | {"windows" if name == "window" else name: value}
    for block in BLOCKS:
        with pytest.raises((TypeError, ValueError), match=f"{name}: expected"):
            getattr(backend, block)(**arguments)


def test_vectors_that_do_not_fit_are_named():
    tree = huffman_tree([2, 1, 1])
    H, N = np.ones((2, 3)), np.ones((2, 3))
    for arguments, error, words in (
            ((H, N[:1], [0, 1]), ValueError, "N: expected 2 rows"),
            ((H, N[:, :2], [0, 1]), ValueError, "N: expected rows of length 3"),
            ((H, N.astype(np.float32), [0, 1]), TypeError, "N: expected float64"),
            ((H * np.nan, N, [0, 1]), ValueError, "H: expected finite"),
            ((H, N, [0, 3]), ValueError, "words: expected integers from 0 to 2"),
            ((H, N, [0]), ValueError, "words: expected 2 integers")):
        with pytest.raises(error, match=words):
            predict(*arguments, tree)
    for V, d in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="V, d: expected at least 1"):
            initial_vectors(V, d, None)


def test_training_says_what_is_wrong(toy):
    _, vocabulary, tree, tokens, starts = toy
    start = initial_vectors(len(vocabulary), 4, np.random.default_rng(0))
    for train in (train_skipgram, train_cbow):
        with pytest.raises(ValueError, match="tokens: no word has a neighbour"):
            train([0, 1], [0, 1, 2], *start, tree, 2, 1, np.random.default_rng(0))
        with pytest.raises(ValueError, match="window: expected at least 1"):
            train(tokens, starts, *start, tree, 0, 1, np.random.default_rng(0))
        with np.errstate(all="ignore"), pytest.raises(ValueError, match="rate: with 1e"):
            train(tokens, starts, *start, tree, 2, 3, np.random.default_rng(0), 1e30)


@given(words=st.lists(st.integers(0, 5), max_size=8))
def test_paths_of_words_lie_end_to_end(words):
    tree = huffman_tree(EXAMPLE)
    owner, nodes, codes = paths_of(np.array(words, np.int64), tree)
    want = [(i, *turn) for i, w in enumerate(words) for turn in path(tree, w)]
    assert list(zip(owner.tolist(), nodes.tolist(), codes.tolist(), strict=True)) == want
