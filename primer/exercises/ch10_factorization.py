"""Exercises of chapter 10: neighbours, PMI and its shift, vectors from factors, a Gibbs sweep.

A corpus is a list of documents, each a list of word ids 0 to 4; a table is a matrix of counts.
"""
import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from primer.ch03_bow import to_dense
from primer.ch10_factorization import SVD, count_topics
from primer.exercises.ch01_geometry import whole
from primer.exercises.ch03_bow import compress
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch10_factorization"
V = 5
DOCUMENTS = st.lists(st.integers(0, V - 1), max_size=7)
CORPORA = st.lists(DOCUMENTS, min_size=1, max_size=4)
WINDOWS = st.integers(1, 4)
POWERS = st.sampled_from([1.0, 0.75, 0.5])

def tables(square=False):
    """Counts of up to 4 words and 4 contexts, at least one above 0 -> (m, V) int64."""
    sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))
    return st.tuples(sizes, whole((4, 4), -3, 9)).map(lambda drawn: np.maximum(
        drawn[1][:drawn[0][0], :drawn[0][not square]], 0).astype(np.int64)).filter(np.any)

def by_hand(table, a, K=1):
    """PMI - ln K of each cell, one number at a time; cells without a count: 0 -> (m, V)."""
    out, total = np.zeros(table.shape), sum(float(c) ** a for c in table.sum(axis=0) if c)
    for w, row in enumerate(table):
        for c, count in enumerate(row):
            if count:
                noise = float(table[:, c].sum()) ** a / total
                out[w, c] = math.log(count / (row.sum() * noise)) - math.log(K)
    return out

neighbours = Exercise("ch10.cooccurrence", REFERENCE, [
    "cooccurrence", "cooccurrence_inverse_distance"], "Who stands near whom", "10.1")

@neighbours.property("a window never reaches into the next document", documents=CORPORA,
                     window=WINDOWS, hint="count each document alone and add")
def documents_add_up(impl, documents, window):
    alone = [to_dense(impl.cooccurrence([d], V, window)) for d in documents]
    expect_close(to_dense(impl.cooccurrence(documents, V, window)), sum(alone),
                 "the sum over the documents")

@neighbours.property("both directions count: the matrix is symmetric", documents=CORPORA,
                     window=WINDOWS, hint="each pair is counted for its left and its right word")
def is_symmetric(impl, documents, window):
    for count in (impl.cooccurrence, impl.cooccurrence_inverse_distance):
        got = to_dense(count(documents, V, window))
        expect_close(got, got.T, "equal to its transpose")

@neighbours.property("a word is no neighbour of itself, unless it stands there twice",
                     order=st.permutations(range(V)), window=WINDOWS,
                     hint="the centre of the window does not count")
def centre_does_not_count(impl, order, window):
    got = to_dense(impl.cooccurrence([order], V, window))
    expect_close(np.diag(got), np.zeros(V, int), "all words are different")

@neighbours.property("a token in the middle of a long text has 2 x window neighbours",
                     window=WINDOWS, hint="how far does the window reach on each side?")
def reach(impl, window):
    got = to_dense(impl.cooccurrence([[0] * window + [1] + [0] * window + [0]], V, window))
    expect_close(got[1, 0], 2 * window, "neighbours of the one token of word 1")

@neighbours.property("it agrees with a calculation by hand", documents=CORPORA, window=WINDOWS,
                     hint="for each token i and each j of its document with 1 <= |i - j| <= window")
def counts_by_hand(impl, documents, window):
    plain, near = np.zeros((V, V), np.int64), np.zeros((V, V))
    for d in documents:
        for i, w in enumerate(d):
            for j, c in enumerate(d):
                if 1 <= abs(i - j) <= window:
                    plain[w, c] += 1
                    near[w, c] += 1 / abs(i - j)
    expect_close(to_dense(impl.cooccurrence(documents, V, window)), plain, "each neighbour: 1")
    expect_close(to_dense(impl.cooccurrence_inverse_distance(documents, V, window)), near,
                 "each neighbour: 1 / distance")

neighbours.mutant("count_by_distance", "int(window)", "int(window) - 1",
                  "the window is one token too short")
neighbours.mutant("count_by_distance", "int(window)", "int(window) + 1",
                  "the window is one token too long")
neighbours.mutant("count_by_distance", "range(1, window + 1)", "range(window + 1)",
                  "the centre counts as its own neighbour")
neighbours.mutant("count_by_distance", "owners[here] == owners[there]",
                  "owners[here] <= owners[there]", "windows cross from document to document")
neighbours.mutant("count_by_distance", "((left, right), (right, left))", "((left, right),)",
                  "only what follows is counted")
neighbours.mutant("cooccurrence_inverse_distance", "counts / distances", "counts / distances ** 2",
                  "divided by the distance twice")

association = Exercise("ch10.pmi", REFERENCE, ["pmi", "shifted_pmi", "ppmi"], "No chance", "10.2")
SUMS = st.lists(st.integers(1, 9), min_size=1, max_size=4)

@association.property("words that meet by chance have PMI 0", rows=SUMS, columns=SUMS,
                      hint="if C_wc = C_w C_c / total, what must the logarithm be of?")
def independent_is_zero(impl, rows, columns):
    got = impl.pmi(compress(np.outer(rows, columns)))
    expect_close(got.data, np.zeros(len(rows) * len(columns)), "counts of rank 1", atol=1e-9)

@association.property("a corpus of ten times the size has the same PMI", table=tables(),
                      times=st.integers(2, 10), a=POWERS, hint="is the total below the bar too?")
def ignores_size(impl, table, times, a):
    expect_close(impl.pmi(compress(table * times), a).data, impl.pmi(compress(table), a).data,
                 "all counts multiplied", atol=1e-9)

@association.property("more negatives lower every value, by ln K", table=tables(), a=POWERS,
                      K=st.integers(1, 20), hint="minus, and the natural logarithm")
def shift_is_down(impl, table, K, a):
    C = compress(table)
    expect_close(impl.shifted_pmi(C, K, a).data, impl.pmi(C, a).data - math.log(K), "PMI - ln K",
                 atol=1e-9)

@association.property("what is kept of the shifted PMI is above 0, and it is the same there",
                      table=tables(), K=st.integers(1, 20), a=POWERS,
                      hint="first shift, then cut at 0")
def kept_is_positive(impl, table, K, a):
    C = compress(table)
    got, shifted = impl.ppmi(C, K, a), impl.shifted_pmi(C, K, a)
    expect(np.all(got.data > 0), "nothing that is 0 or below is stored", your_answer=got.data)
    expect_close(to_dense(got), np.maximum(to_dense(shifted), 0), "max(0, PMI - ln K)", atol=1e-12)

@association.property("it agrees with a calculation by hand", table=tables(), a=POWERS,
                      K=st.integers(1, 9), hint="ln( C_wc / (C_w P(c)) ), one number at a time")
def pmi_by_hand(impl, table, a, K):
    C = compress(table)
    expect_close(to_dense(impl.pmi(C, a)), by_hand(table, a), "equation 10.2", atol=1e-9)
    expect_close(to_dense(impl.ppmi(C, K, a)), np.maximum(by_hand(table, a, K), 0),
                 "max(0, PMI - ln K)", atol=1e-9)

association.mutant("pmi", "np.log(C.data / expected_counts(C, context_power))",
                   "np.log2(C.data / expected_counts(C, context_power))",
                   "logarithms to base 2 in place of natural ones")
association.mutant("context_distribution", "weight / weight.sum()", "weight",
                   "the total is missing: counts, not probabilities, below the bar")
association.mutant("expected_counts", "marginals(C)[0][row_of_entry(C)]",
                   "C.data.sum()", "the word's frequency is left out")
association.mutant("context_distribution", "check_positive(context_power, 'context_power')", "1",
                   "the exponent 0.75 is left out")
association.mutant("shifted_pmi", "M.data - np.log(check_positive(negatives, 'negatives'))",
                   "M.data + np.log(check_positive(negatives, 'negatives'))",
                   "ln K is added, not subtracted")
association.mutant("shifted_pmi", "np.log(check_positive(negatives, 'negatives'))", "negatives",
                   "K is subtracted, not its logarithm")
association.mutant("ppmi", "np.maximum(0, M.data)",
                   "np.maximum(0, M.data + np.log(negatives)) - np.log(negatives)",
                   "cut at 0 before the shift, not after it")
association.mutant("ppmi", "np.maximum(0, M.data)", "np.abs(M.data)",
                   "negative values lose their sign in place of being dropped")

cell = Exercise("ch10.cell", REFERENCE, ["sgns_cell_loss", "sgns_cell_loss_grad"], "A cell", "10.3")
AMOUNTS = st.tuples(*[st.sampled_from([0.5, 1.0, 3.0, 8.0])] * 2)

@cell.property("it is least where exp(x) is seen over drawn: at PMI - ln K", amounts=AMOUNTS,
               hint="seen pulls up, drawn pulls down")
def least_at_the_optimum(impl, amounts):
    seen, drawn = (np.full(3, x) for x in amounts)
    x = math.log(amounts[0] / amounts[1]) + np.array([-0.5, 0.0, 0.5])
    slope, loss = (f(x, seen, drawn) for f in (impl.sgns_cell_loss_grad, impl.sgns_cell_loss))
    expect_close(slope[1], 0.0, "no slope there", atol=1e-9)
    expect(slope[0] < 0 < slope[2], "down to it, and up again", slopes=slope)
    expect(loss[1] < min(loss[0], loss[2]), "the least loss", losses=loss)

@cell.property("they agree with (10.3), one number at a time", amounts=AMOUNTS,
               x=st.integers(-20, 20), g=st.sampled_from([1.0, -2.0]),
               hint="sig(x) = 1 / (1 + exp(-x)); natural logarithms")
def cell_by_hand(impl, amounts, x, g):
    (seen, drawn), x = amounts, x / 4
    up, down = 1 / (1 + math.exp(-x)), 1 / (1 + math.exp(x))
    one = [np.array([v]) for v in (x, seen, drawn)]
    expect_close(impl.sgns_cell_loss(*one), [-seen * math.log(up) - drawn * math.log(down)], "l(x)")
    expect_close(impl.sgns_cell_loss_grad(*one, g=g), [g * (drawn * up - seen * down)], "g dl/dx")

cell.mutant("sgns_cell_loss", "drawn * np.logaddexp(0, scores)", "np.logaddexp(0, scores)",
            "the drawn pairs count once, however many they are")
cell.mutant("sgns_cell_loss", "np.logaddexp(0, -scores)", "np.logaddexp(0, scores)",
            "the sign of the sigmoid: a seen pair is pushed away")
cell.mutant("sgns_cell_loss_grad", "drawn * up - seen * down", "seen * down - drawn * up", "uphill")
cell.mutant("sgns_cell_loss_grad", "g * (drawn * up - seen * down)", "drawn * up - seen * down",
            "the factor from above is lost")

factors = Exercise("ch10.vectors", REFERENCE, ["embed", "fold_in"], "From factors", "10.4, 10.5")

def matrices():
    """A matrix of whole numbers of full rank -> (m, V) float64."""
    return st.tuples(st.integers(1, 4), st.integers(1, 4), whole((4, 4), 0, 9)).map(
        lambda drawn: drawn[2][:drawn[0], :drawn[1]].copy()).filter(
            lambda M: np.linalg.svd(M)[1].min() > 0.1)

EXPONENTS = st.sampled_from([0.0, 0.25, 0.5, 1.0])

def factorised(M):
    return SVD(*np.linalg.svd(M, full_matrices=False))

@factors.property("vectors of rows times vectors of columns give the matrix, for p = 1/2",
                  M=matrices(), hint="U S^p and V S^p: the exponents of S add up to 1")
def halves_make_the_matrix(impl, M):
    rows, columns = impl.embed(factorised(M), 0.5)
    expect_close(rows @ columns.T, M, "U S^1/2 (V S^1/2)'", atol=1e-9)

@factors.property("for p = 1 the dot products of rows are those of the matrix; for p = 0 rows lose "
                  "the singular values", M=matrices(), hint="S^p: to the power p, once")
def exponent_weighs(impl, M):
    svd = factorised(M)
    rows, columns = impl.embed(svd, 1.0)
    expect_close(rows @ rows.T, M @ M.T, "U S S U' = M M'", atol=1e-8)
    expect_close(columns @ columns.T, M.T @ M, "V S S V' = M' M", atol=1e-8)
    expect_close(impl.embed(svd, 0.0)[0], svd.U, "S^0 = 1", atol=1e-12)

@factors.property("a row of the matrix, folded in, lands on its own vector", M=matrices(),
                  p=EXPONENTS, hint="M V = U S: which power of S is still missing?")
def folds_to_itself(impl, M, p):
    svd = factorised(M)
    expect_close(impl.fold_in(compress(M), svd, p), impl.embed(svd, p)[0], "equation 10.5",
                 atol=1e-8)

factors.mutant("embed", "svd.U * svd.S ** power", "svd.U", "the singular values are left out")
factors.mutant("embed", "svd.U * svd.S ** power", "svd.U * svd.S ** (2 * power)",
               "the singular values are squared")
factors.mutant("embed", "svd.Vt.T * svd.S ** power", "svd.Vt.T * svd.S ** (1 - power)",
               "the columns get the rest of the exponent")
factors.mutant("fold_in", "svd.S ** (power - 1)", "svd.S ** power",
               "not divided by the singular values")

topics = Exercise("ch10.gibbs", REFERENCE, ["gibbs_sweep"], "One sweep over the topics", "10.6")
SIZES = st.integers(1, 3)

@st.composite
def states(draw):
    """A corpus, a topic for each token, and numbers of [0, 1) -> words, owners, T, z, uniforms."""
    n, T, N = draw(SIZES), draw(SIZES), draw(st.integers(1, 8))

    def ids(most):
        return draw(st.lists(st.integers(0, most - 1), min_size=N, max_size=N))
    return ids(V), sorted(ids(n)), T, ids(T), [u / 1000 for u in ids(1000)]

def start(state):
    words, owners, T, z, uniforms = (np.array(part) for part in state)
    first = count_topics(z, words, owners, (int(owners.max()) + 1, int(T), V))
    return first, words, owners, uniforms

@topics.property("the counts stay those of the topics that it returns", state=states(),
                 hint="take the token out of its old topic, count it in the new one")
def counts_follow(impl, state):
    first, words, owners, uniforms = start(state)
    got = impl.gibbs_sweep(first, words, owners, 0.5, 0.1, uniforms)
    shape = (*first.by_document.shape, V)
    want = count_topics(got.topics, words, owners, shape)
    expect_close(got.by_document, want.by_document, "tokens of each topic in each document")
    expect_close(got.by_word, want.by_word, "tokens of each topic of each word")

@topics.property("a single token forgets its old topic", word=st.integers(0, V - 1),
                 old=st.integers(0, 2), u=st.integers(0, 999),
                 hint="all others are no one: each of the three topics has the same chance")
def alone_is_free(impl, word, old, u):
    assume(u % 333 > 2)
    first = count_topics(np.array([old]), np.array([word]), np.array([0]), (1, 3, V))
    got = impl.gibbs_sweep(first, np.array([word]), np.array([0]), 0.5, 0.1, np.array([u / 1000]))
    expect_close(got.topics, np.array([3 * u // 1000]), "thirds of [0, 1)")

@topics.property("it agrees with a calculation by hand", state=states(),
                 alpha=st.sampled_from([0.1, 1.0]), beta=st.sampled_from([0.01, 0.5]),
                 hint="the weights (n_jt + alpha) (n_tw + beta) / (n_t + V beta) of the others")
def sweep_by_hand(impl, state, alpha, beta):
    first, words, owners, uniforms = start(state)
    z, T = first.topics.tolist(), first.by_word.shape[0]
    for i, (w, j, u) in enumerate(zip(words, owners, uniforms, strict=True)):
        others = [(z[k], words[k], owners[k]) for k in range(len(z)) if k != i]
        weights = [(sum(t == s and d == j for s, _, d in others) + alpha)
                   * (sum(t == s and v == w for s, v, _ in others) + beta)
                   / (sum(t == s for s, _, _ in others) + V * beta) for t in range(T)]
        sums = np.cumsum(weights)
        assume(np.abs(sums - u * sums[-1]).min() > 1e-9)
        z[i] = int((sums <= u * sums[-1]).sum())
    got = impl.gibbs_sweep(first, words, owners, alpha, beta, uniforms)
    expect_close(got.topics, np.array(z), "equation 10.6, token after token")

BY_DOCUMENT, BY_WORD = "by_document[j] + alpha", "by_word[:, w] + beta"
OWN = "(np.arange(len(totals)) == topics[i])"
topics.mutant("gibbs_sweep", BY_DOCUMENT, f"{BY_DOCUMENT} + {OWN}",
              "the token itself still counts in its document")
topics.mutant("gibbs_sweep", BY_WORD, f"{BY_WORD} + {OWN}",
              "the token itself still counts for its word")
topics.mutant("gibbs_sweep", "counts[topics[i]] -= 1", "counts[topics[i]] -= 0",
              "the token is never taken out: the counts grow")
topics.mutant("gibbs_sweep", BY_DOCUMENT, "1", "the document has no say")
topics.mutant("gibbs_sweep", BY_WORD, "1", "the word has no say")
topics.mutant("gibbs_sweep", "totals + V * beta", "totals + beta",
              "beta counted once, not once for each word of the vocabulary")
topics.mutant("gibbs_sweep", "u * sums[-1]", "u",
              "the weights are taken for probabilities: their sum is not 1")
