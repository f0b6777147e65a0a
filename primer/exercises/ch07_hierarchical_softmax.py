"""Exercises of chapter 7: Huffman's tree, the probability along a path, its gradient, one step.

Vectors are drawn by a seed; a tree is made from counts.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer import ch07_hierarchical_softmax
from primer.ch07_hierarchical_softmax import huffman_tree
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch07_hierarchical_softmax"
SEEDS = st.integers(0, 9999)
COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=9)
FEW = st.lists(st.integers(1, 9), min_size=2, max_size=6)


def path_of(tree, word):
    """-> list of (node, turn)."""
    own = slice(tree.indptr[word], tree.indptr[word + 1])
    return list(zip(tree.nodes[own].tolist(), tree.codes[own].tolist(), strict=True))


def tree_of_word2vec_c(counts):
    """The C program's loop, for counts in falling order -> a pair (nodes, turns) a word."""
    V = len(counts)
    count, parent, binary = [*counts, *[math.inf] * V], [0] * (2 * V), [0] * (2 * V)
    leaf, inner = V - 1, V
    for new in range(V, 2 * V - 1):
        least = []
        for _ in range(2):
            if leaf >= 0 and count[leaf] < count[inner]:
                least.append(leaf)
                leaf -= 1
            else:
                least.append(inner)
                inner += 1
        count[new] = count[least[0]] + count[least[1]]
        parent[least[0]] = parent[least[1]] = new
        binary[least[1]] = 1
    out = []
    for node in range(V):
        nodes, turns = [], []
        while node != 2 * V - 2:
            nodes, turns = [parent[node] - V, *nodes], [binary[node], *turns]
            node = parent[node]
        out.append((nodes, turns))
    return out


def loss_by_hand(h, N, path):
    """-ln p over Python's numbers, a turn at a time -> float."""
    total = 0.0
    for node, turn in path:
        s = sum(a * b for a, b in zip(N[node].tolist(), h.tolist(), strict=True))
        total += math.log1p(math.exp(s if turn else -s))
    return total


def drawn(seed, V=6, d=3, n=5):
    """-> H (n, d), N (V - 1, d), words (n,), tree: some words more than once."""
    rng = np.random.default_rng(seed)
    H, N = rng.standard_normal((n, d)), rng.standard_normal((V - 1, d))
    return H, N, rng.integers(0, V, n), huffman_tree(rng.integers(1, 40, V))


tree = Exercise("ch07.tree", REFERENCE, ["huffman_tree"], "Huffman's tree", "7.1")


@tree.property("no word stands on another one's path, and no place is left empty", counts=COUNTS,
               hint="each inner node has exactly two children: sum of 2^-length is 1")
def full(impl, counts):
    made = impl.huffman_tree(np.array(counts))
    lengths = np.diff(made.indptr)
    expect(len(lengths) == len(counts), "a path for each word", paths=len(lengths))
    expect(made.indptr[0] == 0 and made.indptr[-1] == len(made.nodes) == len(made.codes),
           "paths fill nodes and codes from 0 on", indptr=made.indptr, nodes=made.nodes)
    expect(sum(2.0 ** -lengths) == 1, "the sum of 2^-length is 1", lengths=lengths)


@tree.property("on average no tree has shorter paths", counts=COUNTS,
               hint="always merge the two rarest: a merged node counts as much as both together")
def shortest(impl, counts):
    weights, cost = sorted(counts), 0
    while len(weights) > 1:
        a, b, *rest = weights
        cost += a + b
        weights = sorted([*rest, a + b])
    lengths = np.diff(impl.huffman_tree(np.array(counts)).indptr)
    expect_close(int(np.array(counts) @ lengths), cost, "the sum of count times length")


@tree.property("every path begins at the root, number V - 2, and goes to younger nodes",
               counts=COUNTS, hint="from the leaf you climb: turn the path around")
def from_the_root(impl, counts):
    made = impl.huffman_tree(np.array(counts))
    for word in range(len(counts) * (len(counts) > 1)):
        nodes = [node for node, _ in path_of(made, word)]
        expect(nodes[0] == len(counts) - 2, "the first node is the root", nodes=nodes)
        expect(nodes == sorted(set(nodes), reverse=True), "numbers fall on the way down",
               nodes=nodes)


@tree.property("it is the tree of word2vec.c, ties and all", counts=COUNTS,
               hint="of equal weights the inner node goes first, of words the later one; the first "
                    "of the two is the left one")
def as_word2vec_c(impl, counts):
    counts = sorted(counts, reverse=True)
    made = impl.huffman_tree(np.array(counts))
    for word, (nodes, turns) in enumerate(tree_of_word2vec_c(counts)):
        expect(path_of(made, word) == list(zip(nodes, turns, strict=True)),
               f"the path of word {word}", got=path_of(made, word),
               wanted=list(zip(nodes, turns, strict=True)))


@tree.property("the order in which the words come does not matter", counts=COUNTS, seed=SEEDS,
               hint="sort by count, and give each path back to its word")
def any_order(impl, counts, seed):
    counts = np.array(sorted(set(counts), reverse=True))
    order = np.random.default_rng(seed).permutation(len(counts))
    lengths = np.diff(impl.huffman_tree(counts).indptr)
    shuffled = np.diff(impl.huffman_tree(counts[order]).indptr)
    expect(np.array_equal(lengths[order], shuffled), "the same length for the same count",
           in_order=lengths[order], shuffled=shuffled)


tree.mutant("merge_rarest", "np.argsort(-counts, kind='stable')", "np.arange(len(counts))",
            "the words are taken as they come, not in order of their counts")
tree.mutant("merge_rarest", "weight[new] += weight[child]", "weight[new] = weight[child]",
            "a merged node weighs as much as one child, not as both")
tree.mutant("merge_rarest", "weight[leaf] < weight[inner]", "weight[leaf] <= weight[inner]",
            "of equal weights the word goes first")
tree.mutant("merge_rarest", "weight[leaf] < weight[inner]", "True",
            "all words before any inner node")
tree.mutant("merge_rarest", "new, turn", "new, 1 - turn", "left and right are exchanged")
tree.mutant("merge_rarest", "_in_order(order, parents)", "np.array(parents, np.int64)",
            "paths are not given back to their words")
tree.mutant("paths_from_root", "Tree(indptr, nodes, codes)",
            "Tree(indptr, *(np.concatenate([x[a:b][::-1] for a, b in zip([0, *indptr], indptr)]) "
            "for x in (nodes, codes)))", "paths begin at the leaf, not at the root")

tree.mutant("paths_from_root", "depth[parents[:V]] + (V > 1)", "depth[parents[:V]]",
            "the turn to the leaf itself is not counted")

path = Exercise("ch07.path", REFERENCE, ["predict"], "The probability along a path", "7.2, 7.3")


@path.property("the probabilities of all words add up to 1", seed=SEEDS, counts=FEW,
               hint="at each node the two turns are sigma(s) and 1 - sigma(s) = sigma(-s)")
def adds_up(impl, seed, counts):
    V, rng = len(counts), np.random.default_rng(seed)
    H, N = np.repeat(rng.standard_normal((1, 3)), V, axis=0), rng.standard_normal((V - 1, 3))
    losses, _ = impl.predict(H, N, np.arange(V), huffman_tree(counts))
    expect_close(float(np.exp(-np.asarray(losses)).sum()), 1.0, "the sum over the words")


@path.property("a zero vector leaves each turn to chance", counts=FEW,
               hint="sigma(0) = 1/2: a path of l nodes has p = 2^-l")
def by_chance(impl, counts):
    V, made = len(counts), huffman_tree(counts)
    losses, _ = impl.predict(np.zeros((V, 2)), np.ones((V - 1, 2)), np.arange(V), made)
    expect_close(losses, np.log(2) * np.diff(made.indptr), "ln 2 a turn")


@path.property("scores of thousands do not overflow", seed=SEEDS,
               hint="ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)")
def safe(impl, seed):
    H, N, words, made = drawn(seed)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses, _ = impl.predict(3000 * H, N, words, made)
    expect(np.isfinite(losses).all() and (np.asarray(losses) >= 0).all(), "finite and not below 0",
           losses=losses)


@path.property("it agrees with a calculation by hand", seed=SEEDS,
               hint="a turn to the left (0) has sigma(s), to the right (1) sigma(-s)")
def path_by_hand(impl, seed):
    H, N, words, made = drawn(seed)
    want = [loss_by_hand(h, N, path_of(made, w)) for h, w in zip(H, words, strict=True)]
    expect_close(impl.predict(H, N, words, made)[0], want, "equation 7.3")


path.mutant("predict", "2 * codes - 1", "1 - 2 * codes", "the probability of the wrong turns")
path.mutant("predict", "(2 * codes - 1) * s", "-s", "always the probability of going left")
path.mutant("predict", "softplus((2 * codes - 1) * s)",
            "-np.log(1 / (1 + np.exp((2 * codes - 1) * s)))",
            "the plain formula: e^1000 is infinite")
path.mutant("predict", "H[owner] * N[nodes]", "H[owner] * N[::-1][nodes]",
            "nodes are counted from the root")
path.mutant("paths_of", "tree.indptr[words + 1] - tree.indptr[words]",
            "np.maximum(tree.indptr[words + 1] - tree.indptr[words] - 1, 1)",
            "L(w) - 1 factors, with L(w) taken for the inner nodes: the last turn is missing")

slope = Exercise("ch07.gradient", REFERENCE, ["predict_backward"],
                 "The gradient along a path", "7.4, 7.5")


@slope.property("the gradient is the loss's slope", seed=SEEDS, g=st.sampled_from([1.0, -2.5]),
                hint="dL/ds is sigma(s) minus 1 where the turn is left; rows that several words "
                     "share, as the root, get the sum")
def is_the_slope(impl, seed, g):
    H, N, words, made = drawn(seed)
    predict = ch07_hierarchical_softmax.predict
    dH, dN = impl.predict_backward(g, predict(H, N, words, made)[1])
    rng, eps = np.random.default_rng(seed), 1e-6
    A, B = rng.standard_normal(H.shape), rng.standard_normal(N.shape)
    expect([np.shape(dH), np.shape(dN)] == [H.shape, N.shape], "dH as H, dN as N")
    want = g * sum(sign * predict(H + sign * eps * A, N + sign * eps * B, words, made)[0].sum()
                   for sign in (1, -1)) / (2 * eps)
    expect_close(float((dH * A).sum() + (dN * B).sum()), want, "the slope along a direction",
                 rtol=1e-5, atol=1e-7)


@slope.property("only nodes on the way move", seed=SEEDS,
                hint="one word: its path has l nodes, all the other rows of dN are 0")
def sparse(impl, seed):
    H, N, words, made = drawn(seed, n=1)
    cache = ch07_hierarchical_softmax.predict(H, N, words, made)[1]
    _, dN = impl.predict_backward(1.0, cache)
    moved = {int(i) for i in np.flatnonzero(np.abs(dN).sum(axis=1))}
    expect(moved == {node for node, _ in path_of(made, words[0])}, "rows that move",
           got=moved, path=path_of(made, words[0]))


slope.mutant("predict_backward", "sigmoid(s) - (1 - codes)", "sigmoid(s) - codes",
             "the 1 stands at the turn to the right")
slope.mutant("predict_backward", "sigmoid(s) - (1 - codes)", "(1 - codes) - sigmoid(s)",
             "the sign of word2vec.c's g, which is added: uphill")
slope.mutant("predict_backward", "np.add.at(dN, nodes, ds[:, None] * H[owner])",
             "dN.__setitem__(nodes, ds[:, None] * H[owner])",
             "of the words that share a node only the last one counts")
slope.mutant("predict_backward", "np.broadcast_to(dlosses, len(H))[owner]", "1",
             "the factor from above is lost")
slope.mutant("predict_backward", "np.zeros_like(N)", "N.copy()",
             "dN begins with N in place of zeros")
slope.mutant("predict_backward", "ds[:, None] * N[nodes]", "ds[:, None] * N[nodes] / len(ds)",
             "divided by the number of turns")

place = Exercise("ch07.place", REFERENCE, ["place_loss_grad"], "All neighbours of a place", "7.6")


def drawn_place(seed):
    """-> H (m, d), U (l, d), turns (l,)."""
    rng = np.random.default_rng(seed)
    m, l, d = rng.integers(1, 5, 3)
    return rng.standard_normal((m, d)), rng.standard_normal((l, d)), rng.integers(0, 2, l)


@place.property("the loss is the sum of the rows' losses, a turn at a time", seed=SEEDS,
                hint="m rows, l turns: m l terms ln(1 + e^x), with x = s to the right, -s to the "
                     "left")
def place_by_hand(impl, seed):
    H, U, turns = drawn_place(seed)
    way = list(enumerate(turns.tolist()))
    expect_close(impl.place_loss_grad(H, U, turns)[0], sum(loss_by_hand(h, U, way) for h in H),
                 "the sum of equation 7.3, as (7.6) has it")


@place.property("dH and dU are its slope", seed=SEEDS,
                hint="G = sigma(S) - (1 - d): dH = G U, dU = G^T H, sums over the other side")
def place_slope(impl, seed):
    H, U, turns = drawn_place(seed)
    _, dH, dU = impl.place_loss_grad(H, U, turns)
    rng, eps = np.random.default_rng(seed), 1e-6
    A, B = rng.standard_normal(H.shape), rng.standard_normal(U.shape)
    expect([np.shape(dH), np.shape(dU)] == [H.shape, U.shape], "dH as H, dU as U")
    loss = ch07_hierarchical_softmax.place_loss_grad
    want = (loss(H + eps * A, U + eps * B, turns)[0]
            - loss(H - eps * A, U - eps * B, turns)[0]) / (2 * eps)
    expect_close(float((dH * A).sum() + (dU * B).sum()), want, "the slope along a direction",
                 rtol=1e-5, atol=1e-7)


place.mutant("place_loss_grad", "G.T @ H", "G.T @ H / len(H)",
             "the mean over the neighbours in place of the sum")
place.mutant("place_loss_grad", "G @ U", "-G @ U", "uphill: the neighbours go the wrong way")
place.mutant("place_loss_grad", "1 - codes", "codes",
             "left and right are exchanged in the gradient")
place.mutant("place_loss_grad", "(2 * codes - 1) * S", "S", "the loss of going left, always")
place.mutant("place_loss_grad", "sigmoid(S)", "S", "the score in place of its sigma")
