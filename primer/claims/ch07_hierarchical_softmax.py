"""The text's statements on hierarchical softmax, recomputed: lines 922-950, 1285."""
import numpy as np

from primer.ch07_hierarchical_softmax import (
    entropy_bits,
    huffman_tree,
    log_probabilities,
    mean_path_length,
    paths_of,
    predict,
    sigmoid,
)
from primer.claims import Claim

COUNTS = np.array([45, 13, 12, 16, 9, 5])
WORDS = 100_000                       # the smaller end of line 921
INTRODUCED = {"Morin and Bengio": 2005, "Mikolov et al.": 2013}         # years, as line 924 has it


def random_model(d=3):
    """Six words with random vectors -> h (1, d), N (5, d), tree."""
    rng = np.random.default_rng(7)
    return rng.standard_normal((1, d)), rng.standard_normal((5, d)), huffman_tree(COUNTS)


def who_introduced_it():
    return min(INTRODUCED, key=INTRODUCED.get)


def leaves():
    """Words whose path is no part of another one's, among six -> statement."""
    tree = huffman_tree(COUNTS)
    codes = ["".join(map(str, tree.codes[a:b])) for a, b in
             zip(tree.indptr, tree.indptr[1:], strict=False)]
    inner = sum(any(b != a and b.startswith(a) for b in codes) for a in codes)
    return "a leaf" if not inner else f"{inner} of them are inner nodes"


def sum_of_products():
    """Products of the turns' probabilities, over all words -> float."""
    h, N, tree = random_model()
    return float(np.exp(log_probabilities(h, N, tree)).sum())


def left_is_zero():
    """p with turn 0 left, sigma(s), and 1 right, 1 - sigma(s), against (7.2) -> statement."""
    h, N, tree = random_model()
    owner, nodes, codes = paths_of(np.arange(6), tree)
    p = sigmoid(N[nodes] @ h[0])
    product = np.ones(6)
    np.multiply.at(product, owner, np.where(codes == 0, p, 1 - p))
    same = np.allclose(product, np.exp(log_probabilities(h, N, tree)))
    return "sigma left, 1 - sigma right" if same else "otherwise"


def factors():
    """How many factors make the probabilities of all words add up to 1, if a word's path has L
    nodes with its leaf, or L steps -> statement for the L(w) - 1 factors of line 936."""
    h, N, tree = random_model()
    right = predict(np.repeat(h, 6, axis=0), N, np.arange(6), tree)[0]
    steps = np.diff(tree.indptr)
    owner, nodes, codes = paths_of(np.arange(6), tree)
    last = tree.indptr[1:] - 1
    turns = sigmoid((1 - 2 * codes) * (N[nodes] @ h[0]))
    sums = {"nodes, the leaf among them": np.exp(-right).sum(),
            "steps from the root": (np.exp(-right) / turns[last]).sum()}
    assert len(owner) == steps.sum()
    return next(what for what, total in sums.items() if np.isclose(total, 1))


def what_the_product_is():
    """Does the product grow as the word gets more probable? -> statement."""
    h, N, tree = random_model()
    word = 3
    own = slice(tree.indptr[word], tree.indptr[word + 1])
    better = N.copy()
    better[tree.nodes[own]] += 0.1 * (1 - 2 * tree.codes[own][:, None]) * h
    grows = log_probabilities(h, better, tree)[0, word] > log_probabilities(h, N, tree)[0, word]
    return "a likelihood, to be maximised" if grows else "a loss"


def zipf_counts(V=WORDS):
    return np.maximum(10 ** 7 // np.arange(1, V + 1), 1)


def cost_under_zipf():
    """Turns of a prediction on average, beside ln's bound log2 V -> statement."""
    counts = zipf_counts()
    mean = mean_path_length(counts, huffman_tree(counts))
    assert entropy_bits(counts) <= mean < entropy_bits(counts) + 1
    return "O(log V) on average" if mean < np.log2(len(counts)) else f"{mean:.1f} turns"


def worst_path(V=10):
    """The longest path for Fibonacci's counts -> statement."""
    counts = [1, 1]
    while len(counts) < V:
        counts.append(counts[-1] + counts[-2])
    longest = int(np.diff(huffman_tree(counts).indptr).max())
    return "O(log V)" if longest <= np.log2(V) + 1 else f"up to V - 1: {longest} for {V} words"


def turns_of(frequent):
    """Turns to the most frequent or the rarest of Zipf's words, beside the mean -> statement."""
    counts = zipf_counts(1000)
    tree = huffman_tree(counts)
    own = np.diff(tree.indptr)[0 if frequent else -1]
    return "shorter" if own < mean_path_length(counts, tree) else "longer"


CLAIMS = [
    Claim(922, "who introduced hierarchical softmax", "Mikolov et al.", who_introduced_it,
          note="Line 924 says it right: Morin and Bengio 2005, with a tree from WordNet; Mikolov "
               "et al. 2013 used it, with Huffman's tree."),
    Claim(927, "what a word is in the tree", "a leaf", leaves),
    Claim(929, "what the products of the turns' probabilities of all words add up to", 1,
          sum_of_products, note="For any vectors: no sum over V is needed to make it so."),
    Claim(933, "the turns: 0 is left, 1 is right", "sigma left, 1 - sigma right", left_is_zero),
    Claim(936, "what L(w) counts, if L(w) - 1 factors make a probability",
          "nodes, the leaf among them", factors,
          note="Line 932's L counts the inner nodes only: one less."),
    Claim(940, "what L(w) counts, if L(w) - 1 factors make a probability",
          "steps from the root", factors,
          note="It calls L(w) the path's length.  A path of l steps passes l inner nodes and has l "
               "factors; with one less the probabilities of six words add up to 2 or so."),
    Claim(944, "what the product of the turns is", "a loss", what_the_product_is,
          note="The loss is its negative logarithm (7.3)."),
    Claim(946, f"cost of a prediction, {WORDS} words under Zipf's law", "O(log V) on average",
          cost_under_zipf, note="11.5 turns, within a bit above the entropy of 11.5; a balanced "
                                "tree has log2 V = 16.6."),
    Claim(946, "cost of a prediction, the worst word", "O(log V)", worst_path,
          note="Counts that grow as Fibonacci's numbers make a comb."),
    Claim(947, "the path of the most frequent word, beside the mean", "shorter",
          lambda: turns_of(True)),
    Claim(950, "the path of the rarest word, beside the mean", "longer", lambda: turns_of(False)),
    Claim(1010, f"the table's cost of hierarchical softmax, {WORDS} words under Zipf's law",
          "O(log V) on average", cost_under_zipf),
    Claim(1285, "cost of a prediction in a Huffman tree, whatever the counts and the word",
          "O(log V)", worst_path, note="On average over the corpus the entropy and less than a bit "
                                       "more, at most log2 V + 1; for one word up to V - 1."),
]
