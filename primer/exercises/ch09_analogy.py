"""Exercises of chapter 9: analogies, offsets and ranks, t-SNE, sentiment in the loss.

Vectors are drawn by a seed; a question is three ids a, b, c.
"""
import math

import numpy as np
from hypothesis import strategies as st

from primer.ch09_analogy import sswe_network, sswe_scores
from primer.exercises.kit import Exercise, expect, expect_close

REFERENCE = "primer.ch09_analogy"
SEEDS = st.integers(0, 9999)
NUMBERS = st.lists(st.integers(-3, 3), min_size=1, max_size=9)

def vectors(seed, V=9, d=3, m=4):
    """-> W (V, d) of unlike lengths, questions (m, 3)."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((V, d)) * rng.uniform(0.2, 5, (V, 1))
    return W, rng.integers(0, V, (m, 3))

def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(
        sum(x * x for x in a) * sum(y * y for y in b))

def by_hand(W, questions, score):
    """The best word of each question over Python's numbers, question words left out -> list."""
    out = []
    for q in questions.tolist():
        scores = {i: score(*(cosine(x, W[w].tolist()) for w in q))
                  for i, x in enumerate(W.tolist()) if i not in q}
        out.append(max(scores, key=scores.get))
    return np.array(out)

add = Exercise("ch09.3cosadd", REFERENCE, ["analogy_3cosadd"], "a is to b as c is to ?", "9.1")

@add.property("no word of the question answers it", seed=SEEDS,
              hint="b - a + c lies near c: rule a, b and c out before you take the largest")
def no_question_word(impl, seed):
    W, questions = vectors(seed, V=5)
    answers = np.asarray(impl.analogy_3cosadd(W, questions))
    expect(not np.any(answers[:, None] == questions), "it is another word", answers=answers)

@add.property("parallelograms of equal sides are solved", seed=SEEDS,
              hint="d - c = b - a: which of the three is subtracted?")
def parallelograms_are_solved(impl, seed):
    rng = np.random.default_rng(seed)
    kind, thing = (x / np.linalg.norm(x, axis=1, keepdims=True)
                   for x in (rng.standard_normal((2, 3)), rng.standard_normal((4, 3))))
    W = np.hstack([np.repeat(kind, 4, axis=0), np.tile(thing, (2, 1))])
    questions = np.array([(t, 4 + t, s, 4 + s) for t in range(4) for s in range(4) if t != s])
    expect_close(impl.analogy_3cosadd(W, questions[:, :3]), questions[:, 3], "d of each question")

@add.property("the lengths of the vectors do not matter", seed=SEEDS,
              hint="cosines: unit vectors, those of a, b and c too")
def lengths_do_not_matter(impl, seed):
    W, questions = vectors(seed)
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    expect_close(impl.analogy_3cosadd(W, questions), impl.analogy_3cosadd(unit, questions),
                 "the same answers for unit vectors")

@add.property("it agrees with a calculation by hand", seed=SEEDS,
              hint="cos(x, b) - cos(x, a) + cos(x, c) for each x but a, b, c; the largest")
def add_by_hand(impl, seed):
    W, questions = vectors(seed)
    expect_close(impl.analogy_3cosadd(W, questions),
                 by_hand(W, questions, lambda a, b, c: b - a + c), "equation 9.1")

add.mutant("_best_words", "np.put_along_axis(S, own, -np.inf, axis=1)", "pass",
           "the question's own words may answer")
add.mutant("_best_words", "np.put_along_axis(S, own, -np.inf, axis=1)",
           "np.put_along_axis(S, own[:, 2:], -np.inf, axis=1)", "only c is ruled out")
add.mutant("analogy_3cosadd", "b - a + c", "a - b + c", "the offset is turned around")
add.mutant("analogy_3cosadd", "b - a + c", "b + a + c", "nothing is subtracted")
add.mutant("check_questions", "unit_rows(as_rows(W, 'W', least=4).astype(np.float64))",
           "as_rows(W, 'W', least=4).astype(np.float64)",
           "dot products of raw vectors: long ones win")
add.mutant("_best_words", "S.argmax(axis=1)", "S.argmin(axis=1)", "the farthest word")

mul = Exercise("ch09.3cosmul", REFERENCE, ["analogy_3cosmul"], "Multiply in place of adding", "9.2")

@mul.property("with a large eps, a does not count", seed=SEEDS,
              hint="eps is added to what you divide by")
def large_eps(impl, seed):
    W, questions = vectors(seed)
    expect_close(impl.analogy_3cosmul(W, questions, eps=1e9),
                 by_hand(W, questions, lambda a, b, c: (1 + b) * (1 + c)),
                 "the words nearest to b and c")

@mul.property("it agrees with a calculation by hand, for any eps", seed=SEEDS,
              eps=st.sampled_from([0.001, 0.1, 1.0]),
              hint="cosines are first taken from -1..1 to 0..1: (cos + 1) / 2")
def mul_by_hand(impl, seed, eps):
    W, questions = vectors(seed)
    expect_close(impl.analogy_3cosmul(W, questions, eps=eps),
                 by_hand(W, questions, lambda a, b, c: (b + 1) / 2 * (c + 1) / 2
                         / ((a + 1) / 2 + eps)), "equation 9.2")

mul.mutant("analogy_3cosmul", "(b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2 + eps)",
           "b * c / (a + eps)", "raw cosines: two negative ones make a good answer")
mul.mutant("analogy_3cosmul", "(b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2 + eps)",
           "(b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2)", "eps is forgotten")
mul.mutant("analogy_3cosmul", "(b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2 + eps)",
           "(a + 1) / 2 * ((c + 1) / 2) / ((b + 1) / 2 + eps)", "a and b are swapped")
mul.mutant("analogy_3cosmul", "(a + 1) / 2 + eps", "a + 1 + eps", "one of the halves is lost")
mul.mutant("_best_words", "np.put_along_axis(S, own, -np.inf, axis=1)", "pass",
           "the question's own words may answer a product")

ranks = Exercise("ch09.spearman", REFERENCE, ["average_ranks", "spearman"], "Do the orders agree?")

@ranks.property("ranks of n numbers add up to n (n + 1) / 2, with ties or without", x=NUMBERS,
                hint="equal numbers share the mean of the ranks that they take up together")
def ranks_add_up(impl, x):
    expect_close(float(np.sum(impl.average_ranks(x))), len(x) * (len(x) + 1) / 2, "the sum")

@ranks.property("only order counts: exp changes nothing, a minus turns it around",
                x=NUMBERS, seed=SEEDS, hint="Pearson's correlation, but of the ranks")
def only_order_counts(impl, x, seed):
    x = np.array([*x, 4, 5], float)
    y = np.random.default_rng(seed).permutation(len(x))
    rho = impl.spearman(x, y)
    expect_close(impl.spearman(np.exp(x), y), rho, "exp(x) in place of x")
    expect_close(impl.spearman(-x, y), -rho, "-x in place of x")

@ranks.property("it agrees with a calculation by hand", x=NUMBERS, seed=SEEDS,
                hint="rank: those below, plus half of its equals, plus one half")
def spearman_by_hand(impl, x, seed):
    x = [*x, 4, 5]
    y = np.random.default_rng(seed).integers(0, 4, len(x)).tolist()
    y[0], y[1] = 0, 3
    a, b = ([sum(w < v for w in z) + (sum(w == v for w in z) + 1) / 2 for v in z] for z in (x, y))
    expect_close(impl.average_ranks(x), a, "average ranks")
    mean = (len(x) + 1) / 2
    a, b = [v - mean for v in a], [v - mean for v in b]
    expect_close(impl.spearman(x, y), sum(p * q for p, q in zip(a, b, strict=True))
                 / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b)), "the correlation")

ranks.mutant("average_ranks", "np.cumsum(counts) - (counts - 1) / 2", "np.cumsum(counts)",
             "ties all get the highest rank")
ranks.mutant("average_ranks", "np.cumsum(counts) - (counts - 1) / 2",
             "np.arange(1.0, len(counts) + 1)", "the number of different values, not a rank")
ranks.mutant("spearman", "average_ranks(side) - (len(side) + 1) / 2",
             "np.asarray(side, float) - np.mean(side)", "Pearson's correlation of the numbers")
ranks.mutant("spearman", "average_ranks(side) - (len(side) + 1) / 2",
             "np.argsort(side) - (len(side) - 1) / 2", "argsort is taken for the rank")

parallel = Exercise("ch09.offsets", REFERENCE, ["offset_consistency"], "Parallel pairs", "9.3")

@parallel.property("parallel offsets have 1, however long they are", seed=SEEDS,
                   hint="a cosine forgets lengths; a pair with itself does not count")
def parallel_is_one(impl, seed):
    A, B = np.random.default_rng(seed).standard_normal((2, 4, 3))
    expect_close(impl.offset_consistency(A, A + np.outer([1, 2, 3, 4.0], B[0])), 1.0, "all along")

@parallel.property("it agrees with a calculation by hand", seed=SEEDS,
                   hint="each pair of pairs once: the cosine of their offsets; the mean of these")
def parallel_by_hand(impl, seed):
    A, B = np.random.default_rng(seed).standard_normal((2, 4, 3))
    found = [cosine((B - A)[i].tolist(), (B - A)[j].tolist()) for i in range(4) for j in range(i)]
    expect_close(impl.offset_consistency(A, B), sum(found) / 6, "equation 9.3")

parallel.mutant("offset_consistency", "as_rows(B, 'B') - A", "as_rows(B, 'B') + A", "sums")
parallel.mutant("offset_consistency", "as_rows(B, 'B') - A", "as_rows(B, 'B')",
                "the second words alone, not what leads to them")
parallel.mutant("offset_consistency", "mean_pairwise_cosine(as_rows(B, 'B') - A)",
                "(mean_pairwise_cosine(as_rows(B, 'B') - A) * (len(A) - 1) + 1) / len(A)",
                "each pair is compared with itself, too")

perplexity = Exercise("ch09.perplexity", REFERENCE, ["joint_probabilities"], "Who is near?", "9.4")

@perplexity.property("P is symmetric, has no diagonal and adds up to 1", seed=SEEDS,
                     hint="(p + p transposed) / (2 n); a point is not its own neighbour")
def a_distribution(impl, seed):
    X = np.random.default_rng(seed).standard_normal((8, 2))
    P = impl.joint_probabilities(X, 3.0)
    expect_close(P, P.T, "as it is transposed")
    expect_close(np.diag(P), np.zeros(8), "the diagonal")
    expect_close(float(P.sum()), 1.0, "the sum of all")

@perplexity.property("on a circle all points are alike: each row has the perplexity itself",
                     n=st.integers(6, 12), share=st.floats(0.3, 0.7),
                     hint="the entropy, in nats, is ln perplexity; a larger beta makes it smaller")
def rows_have_the_perplexity(impl, n, share):
    turn = 2 * np.pi * np.arange(n) / n
    want = 2 + share * (n - 4)
    P = impl.joint_probabilities(np.stack([np.cos(turn), np.sin(turn)], axis=1), want)
    p = n * P[0][P[0] > 0]                          # p_ij = p_ji, so P = p / n
    expect_close(float(np.exp(-(p * np.log(p)).sum())), want, "exp of the entropy", rtol=1e-5)

@perplexity.property("the unit of length does not matter", seed=SEEDS,
                     scale=st.sampled_from([1e-8, 1e8]),
                     hint="beta_i is found anew for each point, however far the others are")
def no_unit(impl, seed, scale):
    X = np.random.default_rng(seed).standard_normal((8, 2))
    expect_close(impl.joint_probabilities(scale * X, 3.0), impl.joint_probabilities(X, 3.0),
                 "the same P", rtol=1e-4, atol=1e-8)

@perplexity.property("equal points are equally near: no p is NaN", n=st.integers(5, 9),
                     hint="all squared distances are 0, and so is their mean")
def all_equal(impl, n):
    expect_close(impl.joint_probabilities(np.ones((n, 2)), 3.0),
                 (1 - np.eye(n)) / (n * (n - 1)), "1 / (n (n - 1)) off the diagonal", rtol=1e-6)

@perplexity.property("it agrees with a calculation by hand, also for a point far from all others",
                     seed=SEEDS, hint="equation 9.4; subtract each row's least distance before exp")
def perplexity_by_hand(impl, seed):
    X = np.random.default_rng(seed).standard_normal((6, 2))
    X[0] += 3000
    D = ((X[:, None] - X) ** 2).sum(axis=2) + np.diag([np.inf] * 6)
    D -= D.min(axis=1, keepdims=True)
    low, high = np.zeros((6, 1)), np.full((6, 1), 1e9)
    for _ in range(70):
        beta = (low + high) / 2
        w = np.exp(-beta * D)
        p = w / w.sum(axis=1, keepdims=True)
        too_flat = -(p * np.log(p + 1e-300)).sum(axis=1, keepdims=True) > math.log(2.5)
        low, high = np.where(too_flat, beta, low), np.where(too_flat, high, beta)
    expect_close(impl.joint_probabilities(X, 2.5), (p + p.T) / 12, "equation 9.4", rtol=1e-4,
                 atol=1e-8)

perplexity.mutant("joint_probabilities", "(P + P.T) / (2 * n)", "P / n",
                  "p_j|i is not made symmetric")
perplexity.mutant("joint_probabilities", "(P + P.T) / (2 * n)", "(P + P.T) / 2",
                  "each row adds up to 1, not all")
perplexity.mutant("joint_probabilities", "np.fill_diagonal(D, np.inf)", "pass",
                  "each point is its own nearest neighbour")
perplexity.mutant("joint_probabilities", "np.log(perplexity) < H", "np.log2(perplexity) < H",
                  "bits on one side, nats on the other")
perplexity.mutant("joint_probabilities", "np.log(perplexity) < H", "np.log(perplexity) > H",
                  "the bisection goes the wrong way")
perplexity.mutant("joint_probabilities", "np.where(mean > 0, mean, 1)", "1e-9", "a fixed unit")

forces = Exercise("ch09.tsne", REFERENCE, ["tsne_loss", "tsne_loss_grad"], "Pull and push", "9.5")

def a_map(seed, n=6):
    """-> P (n, n) with a zero in it, Y (n, 2)."""
    rng = np.random.default_rng(seed)
    P = np.triu(rng.uniform(0.1, 1, (n, n)), 1)
    P[0, 1] = 0
    return (P + P.T) / (2 * P.sum()), rng.standard_normal((n, 2))

@forces.property("the gradient is the loss's slope", seed=SEEDS, g=st.sampled_from([1.0, -2.5]),
                 hint="4, (P - Q), w, and the difference of the two points")
def slope(impl, seed, g):
    P, Y = a_map(seed)
    A, eps = np.random.default_rng(seed + 1).standard_normal(Y.shape), 1e-6
    want = g * (impl.tsne_loss(P, Y + eps * A) - impl.tsne_loss(P, Y - eps * A)) / (2 * eps)
    expect_close(float((impl.tsne_loss_grad(P, Y, g=g) * A).sum()), want,
                 "the slope along a direction", rtol=1e-5, atol=1e-8)

@forces.property("where Q is P, the loss is 0 and nothing moves", seed=SEEDS,
                 hint="Q is w over the sum of all w, both ways round, without the diagonal")
def at_rest(impl, seed):
    _, Y = a_map(seed)
    w = 1 / (1 + ((Y[:, None] - Y) ** 2).sum(axis=2)) * (1 - np.eye(len(Y)))
    expect_close(impl.tsne_loss(w / w.sum(), Y), 0.0, "KL", atol=1e-9)
    expect_close(impl.tsne_loss_grad(w / w.sum(), Y), np.zeros_like(Y), "the gradient", atol=1e-9)

@forces.property("the loss agrees with a calculation by hand", seed=SEEDS,
                 hint="0 ln 0 is 0; w is 1 / (1 + squared distance), not exp")
def divergence_by_hand(impl, seed):
    P, Y = a_map(seed)
    w = [[0 if i == j else 1 / (1 + sum((a - b) ** 2 for a, b in zip(p, q, strict=True)))
          for j, q in enumerate(Y.tolist())] for i, p in enumerate(Y.tolist())]
    total = sum(map(sum, w))
    want = sum(p * math.log(p * total / w[i][j]) for i, row in enumerate(P.tolist())
               for j, p in enumerate(row) if p)
    expect_close(impl.tsne_loss(P, Y), want, "equation 9.5")

forces.mutant("tsne_loss_grad", "4 * g", "2 * g", "2 in place of 4: each pair stands there twice")
forces.mutant("tsne_loss_grad", "4 * g * (exaggeration * P - w / w.sum()) * w",
              "4 * g * (exaggeration * P - w / w.sum())", "the factor w is lost: SNE's gradient")
forces.mutant("tsne_loss_grad", "w / w.sum()", "w / w.sum(axis=1, keepdims=True)",
              "Q is normalised row by row")
forces.mutant("tsne_loss_grad", "M.sum(axis=1, keepdims=True) * Y - M @ Y",
              "M @ Y - M.sum(axis=1, keepdims=True) * Y", "uphill: attraction pushes")
forces.mutant("_student", "1 / (1 + sum((y[:, None] - y) ** 2 for y in Y.T))",
              "np.exp(-sum((y[:, None] - y) ** 2 for y in Y.T))", "a Gaussian in the map too")
forces.mutant("_student", "np.fill_diagonal(w, 0)", "pass", "a point repels itself: w_ii = 1")

sswe = Exercise("ch09.sswe", REFERENCE, ["sswe_loss"], "Good and bad in the loss", "9.6")

@sswe.property("it agrees with a calculation by hand", seed=SEEDS, alpha=st.floats(0, 1),
               hint="two hinges; the second has s on both scores, and is 0 where s is 0")
def sswe_by_hand(impl, seed, alpha):
    rng, total = np.random.default_rng(seed), 0
    network = {k: 4 * x for k, x in sswe_network(6, 2, 3, 3, rng).items()}
    t = rng.integers(0, 6, (5, 3))
    other, s = rng.permutation(t), np.array([1, -1, 0, 1, -1])
    for (f, r), (g, q), sign in zip(sswe_scores(network, t)[0], sswe_scores(network, other)[0], s,
                                    strict=True):
        total += alpha * max(0, 1 - f + g)
        total += (1 - alpha) * max(0, 1 - sign * r + sign * q) if sign else 0
    expect_close(impl.sswe_loss(network, t, other, s, alpha), total / 5, "equation 9.6")

sswe.mutant("_margins", "1 - signs * (F - G)", "1 - (F - G)", "bad windows are pushed up too")
sswe.mutant("_margins", "np.abs(signs) * [alpha, 1 - alpha]", "np.array([[alpha, 1 - alpha]])",
            "windows without polarity cost 1 each")
sswe.mutant("sswe_loss", "np.maximum(0, margins)", "margins", "no hinge: it never has enough")
