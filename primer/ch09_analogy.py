r"""Chapter 9. Analogy: in good vectors a relation is a direction, and a kind of word is a cluster.

    x* = argmax cos(x, b) - cos(x, a) + cos(x, c)       over all words x but a, b, c;  3CosAdd (9.1)
    x* = argmax [x, b] [x, c] / ([x, a] + eps),     [x, y] = (cos(x, y) + 1) / 2;      3CosMul (9.2)
    offset consistency = mean of cos(b_i - a_i, b_j - a_j) over the pairs i < j                (9.3)
    P_ij = (p_j|i + p_i|j) / (2 n),   p_j|i ~ exp(-beta_i |x_i - x_j|^2),  sum_j p_j|i = 1,
           with beta_i such that   -sum_j p_j|i ln p_j|i = ln perplexity                       (9.4)
    KL   = sum_ij P_ij ln(P_ij / Q_ij),   Q_ij = w_ij / sum w,   w_ij = 1 / (1 + |y_i - y_j|^2);
           dKL/dy_i = 4 sum_j (P_ij - Q_ij) w_ij (y_i - y_j)                            t-SNE  (9.5)
    L    = alpha max(0, 1 - f_0(t) + f_0(t')) + (1 - alpha) max(0, 1 - s f_1(t) + s f_1(t'))
           with f = U hardtanh(H [v_1 .. v_m] + g) + u                                   SSWE  (9.6)

Symbols     "a is to b as c is to x"; W: (V, D) word vectors, X: (n, D) any rows, A, B: (m, D) the
            words of m pairs; p_j|i: j as a neighbour of i, P: (n, n), q likewise for Y: (n, d), the
            map, with d 2 or 3; K clusters.  SSWE: t a window of m words, t' the same with another
            word in its middle, s = 1 or -1 its polarity, 0 none; the net W, H: (h, m D), g: (h,),
            U: (2, h), u: (2,); f_0 the language score, f_1 the sentiment score, F: (n, 2) both.
            dY, dF: gradients; k neighbours.
Sources     the text, lines 1013-1053, 1128-1185, 1242-1245; Mikolov, Yih and Zweig 2013; Levy and
            Goldberg 2014 (CoNLL); Fournier, Dupoux and Dunbar 2020 (9.3); van der Maaten and Hinton
            2008; Tang et al. 2014 (ACL), SSWE_u.
We differ   Antonyms are far apart in line 1045 and close in 1243: close, unless (9.6) parts them.
            The text lets a, b, c answer: they mostly would.  gensim has eps 1e-6, we the paper's
            0.001.  t-SNE starts as the paper; rate, gains and momentum are scikit-learn's, which
            starts from PCA.  Tang takes one window a step, here a batch.
Relations   (9.1) is chapter 1's analogy_vector and nearest, of unit rows; (9.2) is its sum in
            logarithms; parallelograms have (9.3) = 1; alpha = 1 is Collobert and Weston's ranking.
Kernels     kernels/ch09_analogy_numba.py: (9.1), (9.2), (9.4), (9.5); ch09_analogy.cu: (9.5).
"""
import sys

import numpy as np
from tqdm import tqdm

from primer.ch01_geometry import as_labels, as_rows, mean_pairwise_cosine, top_k, unit_rows

BATCH = 1 << 22                       # scores at a time: 32 MiB of float64


def check_questions(W, questions):
    """Unit rows in float64, and m questions a, b, c.  -> (V, D), (m, 3) int64.
    Raises ValueError for other shapes, ids out of range, a row of zeros, fewer than four words."""
    W = unit_rows(as_rows(W, "W", least=4).astype(np.float64))                     # (V, D)
    questions = np.asarray(questions)
    if questions.ndim != 2 or questions.shape[1] != 3:
        raise ValueError(f"questions: expected (m, 3) word ids, got shape {questions.shape}")
    return W, as_labels(questions.ravel(), "questions", len(W)).reshape(-1, 3)     # (m, 3)


def analogy_3cosadd(W, questions):
    """Who is to c as b is to a (9.1), without a, b, c.  (V, D), (m, 3) ids -> (m,) int64.
    Scores are compared as float32, so that the order of a sum decides nothing; ties: the lower id.
    """
    return _best_words(W, questions, lambda a, b, c: b - a + c)


def analogy_3cosmul(W, questions, eps=0.001):
    """The same by (9.2), where no large cosine drowns the others.  (V, D), (m, 3) ids -> (m,).
    Raises ValueError for eps <= 0, since a cosine may be -1, and as check_questions."""
    if not eps > 0:
        raise ValueError(f"eps: expected a number above 0, got {eps}")
    return _best_words(W, questions, lambda a, b, c:
                       (b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2 + eps))          # eq. 9.2


def _best_words(W, questions, score):
    W, questions = check_questions(W, questions)
    best = np.empty(len(questions), np.int64)                                      # (m,)
    step = max(1, BATCH // len(W))
    for first in range(0, len(questions), step):
        own = questions[first:first + step]                                        # (batch, 3)
        cosines = (np.clip(W[ids] @ W.T, -1, 1) for ids in own.T)                  # (batch, V) each
        S = score(*cosines).astype(np.float32)                                     # (batch, V)
        np.put_along_axis(S, own, -np.inf, axis=1)          # no word of the question is its answer
        best[first:first + step] = S.argmax(axis=1)
    return best


def word_ids(rows, words, vocabulary):
    """Words as they stand or, if unknown, in lower case.  Rows of so many words -> ids (m, words)
    of those all known, (m,) which these are.  ValueError for other lengths, or if none is left."""
    if any(len(row) != words for row in rows):
        raise ValueError(f"expected {words} words in each row")
    ids = np.array([[vocabulary.get(w, vocabulary.get(w.lower(), -1)) for w in row]
                    for row in rows], np.int64).reshape(-1, words)                 # (all, words)
    known = (ids >= 0).all(axis=1)                                                 # (all,)
    if not known.any():
        raise ValueError(f"each of the {len(ids)} rows has a word that is unknown")
    return ids[known], known


def analogy_accuracy(W, vocabulary, questions, solve=analogy_3cosadd):
    """Share of questions answered right.  (V, D), dict word: id, m rows a, b, c, d of words ->
    accuracy, unknown: how many questions were left out since a word of theirs is unknown.
    As word2vec and gensim leave them out.  W[:30000] with its words is gensim's restrict_vocab:
    rare words neither ask nor answer.  gensim ignores case; here a word is looked up as it stands,
    else in lower case."""
    ids, known = word_ids(questions, 4, vocabulary)                                # (m, 4)
    return float((solve(W, ids[:, :3]) == ids[:, 3]).mean()), int((~known).sum())


def average_ranks(x):
    """Ranks from 1; equal numbers share the mean of theirs.  (n,) -> (n,) float64."""
    _, which, counts = np.unique(as_rows(np.reshape(x, (-1, 1)), "x"), return_inverse=True,
                                 return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which.ravel()]                     # (n,)


def spearman(x, y):
    """Rank correlation: Pearson's, of average ranks.  (n,), (n,) -> float in [-1, 1].  Raises
    ValueError for unequal lengths, NaN, or a side whose numbers are all equal."""
    a, b = (average_ranks(side) - (len(side) + 1) / 2 for side in (x, y))          # (n,), (n,)
    if len(a) != len(b) or not (a.any() and b.any()):
        raise ValueError(f"x, y: expected equally many, not all alike, got {len(a)} and {len(b)}")
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1))


def similarity_correlation(W, vocabulary, pairs, scores):
    """Spearman of people's scores and cosines.  (V, D), dict, n pairs of words, (n,) -> rho,
    unknown: how many pairs were left out (words are looked up as in analogy_accuracy)."""
    ids, known = word_ids(pairs, 2, vocabulary)                                    # (left, 2)
    one, other = (unit_rows(np.asarray(W)[side].astype(float)) for side in ids.T)  # (left, D)
    return spearman(np.asarray(scores)[known], (one * other).sum(axis=1)), int((~known).sum())


def offset_consistency(A, B):
    """How parallel the offsets of m pairs are (9.3).  (m, D), (m, D) -> float in [-1, 1].
    Raises ValueError for unlike shapes, one pair alone, or a pair of equal vectors."""
    A = as_rows(A, "A", least=2)
    if np.shape(B) != A.shape:
        raise ValueError(f"B: expected shape {A.shape} as A, got {np.shape(B)}")
    return mean_pairwise_cosine(as_rows(B, "B") - A)                               # eq. 9.3


def cluster_purity(labels, classes):
    """Share of rows that are of their cluster's commonest class.  (n,), (n,) ids -> float.
    Raises ValueError for no rows."""
    labels = as_labels(labels, "labels", np.inf)
    classes = as_labels(classes, "classes", np.inf, len(labels))
    if not len(labels):
        raise ValueError("labels: expected at least one row")
    table = np.zeros((labels.max() + 1, classes.max() + 1), np.int64)              # (K, classes)
    np.add.at(table, (labels, classes), 1)
    return float(table.max(axis=1).sum() / len(labels))


def check_perplexity(X, perplexity):
    """-> X (n, D).  Raises ValueError for a perplexity that n - 1 neighbours cannot have."""
    X = as_rows(X, "X", least=4)
    if not 1 < perplexity < len(X) - 1:
        raise ValueError(f"perplexity: expected above 1 and below {len(X) - 1}, got {perplexity}")
    return X


def joint_probabilities(X, perplexity):
    """P (9.4), with ln beta_i found by bisection, in units of the mean squared distance.
    (n, D) -> (n, n) of X's dtype.  Of rows on each other, the perplexity may be out of reach."""
    X = check_perplexity(X, perplexity)
    n = len(X)
    D = np.stack([((X - x) ** 2).sum(axis=1) for x in X.astype(np.float64)])       # (n, n)
    mean = D.sum(axis=1, keepdims=True) / (n - 1)                                  # (n, 1)
    D /= np.where(mean > 0, mean, 1)
    np.fill_diagonal(D, np.inf)                                # no point is its own neighbour
    D -= D.min(axis=1, keepdims=True)                          # the same p, and no row is all 0
    low, high = np.full((n, 1), -30.0), np.full((n, 1), 30.0)                      # of ln beta
    for _ in range(32):
        middle = (low + high) / 2
        P = np.exp(-np.exp(middle) * D)                                            # (n, n)
        P /= P.sum(axis=1, keepdims=True)
        H = -(P * np.log(np.maximum(P, 1e-300))).sum(axis=1, keepdims=True)        # (n, 1)
        flat = np.log(perplexity) < H
        low, high = np.where(flat, middle, low), np.where(flat, high, middle)      # (n, 1)
    return ((P + P.T) / (2 * n)).astype(X.dtype)                                   # eq. 9.4


def check_map(P, Y):
    """-> the same.  ValueError for other shapes, unlike dtypes; that P is symmetric is trusted."""
    Y = as_rows(Y, "Y", least=2)
    if np.shape(P) != (len(Y), len(Y)) or P.dtype != Y.dtype:
        raise ValueError(f"P: expected {Y.dtype} {(len(Y), len(Y))}, got {P.dtype} {np.shape(P)}")
    return P, Y


def _student(Y):
    w = 1 / (1 + sum((y[:, None] - y) ** 2 for y in Y.T))                          # (n, n)
    np.fill_diagonal(w, 0)
    return w


def tsne_loss(P, Y):
    """KL (9.5) of the map.  (n, n), (n, d) -> float."""
    P, Y = check_map(P, Y)
    w = _student(Y)
    some = P > 0                            # p ln p is 0 for p = 0
    return float((P[some] * np.log(P[some] * w.sum() / w[some])).sum())            # eq. 9.5


def tsne_loss_grad(P, Y, g=1.0, exaggeration=1):
    """Gradient of g KL (9.5), with P so many times as large.  (n, n), (n, d) -> (n, d)."""
    P, Y = check_map(P, Y)
    w = _student(Y)
    M = 4 * g * (exaggeration * P - w / w.sum()) * w                               # (n, n)
    return M.sum(axis=1, keepdims=True) * Y - M @ Y                                # eq. 9.5


def tsne_step(Y, dY, velocity, gains, momentum, rate):
    """Descent with momentum and a rate for each number, which grows while its gradient keeps its
    sign.  (n, d) each -> the new Y, velocity, gains."""
    gains = np.where(dY * velocity < 0, gains + 0.2, np.maximum(gains * 0.8, 0.01))    # (n, d)
    velocity = momentum * velocity - rate * gains * dY                             # (n, d)
    return Y + velocity, velocity, gains


def tsne(X, d, rng, perplexity=30, iterations=1000, exaggerated=250, exaggeration=12, start=None,
         twin=None):
    """A map of X.  (n, D) -> Y (n, d) of X's dtype, KL.  P is 12 times too large for a while, so
    that clusters find together.  start: Y, or None: normal numbers / 10^4; twin as chapter 6's."""
    module = twin or sys.modules[__name__]
    P = module.joint_probabilities(X, perplexity)                                  # (n, n)
    rate = max(len(P) / exaggeration / 4, 50.0)
    Y = np.array(rng.standard_normal((len(P), d)) * 1e-4 if start is None else start, P.dtype)
    for momentum, factor, steps in ((0.5, exaggeration, min(exaggerated, iterations)),
                                    (0.8, 1, iterations - exaggerated)):
        velocity, gains = np.zeros_like(Y), np.ones_like(Y)                        # (n, d)
        for _ in tqdm(range(steps), desc="t-SNE", leave=False, disable=None):
            dY = module.tsne_loss_grad(P, Y, 1.0, factor)                          # (n, d)
            Y, velocity, gains = tsne_step(Y, dY, velocity, gains, momentum, rate)
    return Y, module.tsne_loss(P, Y)


def sswe_network(V, D, m, h, rng):
    """Small random numbers -> dict of W (V, D), H (h, m D), g (h,), U (2, h), u (2,)."""
    shapes = {"W": (V, D), "H": (h, m * D), "U": (2, h)}
    return {k: rng.uniform(-1, 1, s) / np.sqrt(s[1]) for k, s in shapes.items()} | {
        "g": np.zeros(h), "u": np.zeros(2)}


def sswe_scores(network, windows):
    """f (9.6).  dict, (n, m) ids -> F (n, 2), cache."""
    X = network["W"][windows].reshape(len(windows), -1)                            # (n, m D)
    Z = X @ network["H"].T + network["g"]                                          # (n, h)
    return np.clip(Z, -1, 1) @ network["U"].T + network["u"], (network, windows, X, Z)


def sswe_scores_backward(dF, cache):
    """dF (n, 2) -> dict of gradients, as the network."""
    network, windows, X, Z = cache
    dZ = dF @ network["U"] * (np.abs(Z) < 1)                                       # (n, h)
    dW = np.zeros_like(network["W"])                                               # (V, D)
    np.add.at(dW, windows, (dZ @ network["H"]).reshape(*windows.shape, -1))
    return {"W": dW, "H": dZ.T @ X, "g": dZ.sum(axis=0), "U": dF.T @ np.clip(Z, -1, 1),
            "u": dF.sum(axis=0)}


def _margins(network, windows, corrupted, polarity, alpha):
    windows, s = np.asarray(windows), np.asarray(polarity)                         # (n, m), (n,)
    if len(s) != len(windows) or not set(s.tolist()) <= {-1, 0, 1} or not 0 <= alpha <= 1:
        raise ValueError(f"expected a polarity -1, 0, 1 for each window, alpha 0 to 1, not {alpha}")
    signs = np.stack([np.ones(len(s)), s], axis=1)                                 # (n, 2)
    weights = np.abs(signs) * [alpha, 1 - alpha] / len(s)                          # (n, 2)
    (F, cache), (G, other) = (sswe_scores(network, t) for t in (windows, np.asarray(corrupted)))
    return 1 - signs * (F - G), signs, weights, cache, other


def sswe_loss(network, windows, corrupted, polarity, alpha=0.5):
    """Mean L (9.6), of its first part where s = 0.  dict, (n, m) ids, (n, m), (n,) -> float."""
    margins, _, weights, *_ = _margins(network, windows, corrupted, polarity, alpha)
    return float((weights * np.maximum(0, margins)).sum())                         # eq. 9.6


def sswe_loss_grad(network, windows, corrupted, polarity, alpha=0.5, g=1.0):
    """Gradient of g L (9.6).  Arguments as sswe_loss -> dict of gradients, as the network."""
    margins, signs, weights, cache, other = _margins(network, windows, corrupted, polarity, alpha)
    dF = -g * weights * (margins > 0) * signs                                      # (n, 2)
    one, two = sswe_scores_backward(dF, cache), sswe_scores_backward(-dF, other)
    return {k: one[k] + two[k] for k in one}


def train_sswe(network, windows, polarity, epochs, rng, rate=0.1, alpha=0.5, batch=256):
    """AdaGrad; each window's twin has a random word in its middle.  Changes the network in place.
    dict, (n, m), (n,) -> history (epochs,): mean loss, as it went."""
    squares, history = {k: np.full_like(x, 1e-8) for k, x in network.items()}, np.zeros(epochs)
    for epoch in tqdm(range(epochs), desc="epochs", leave=False, disable=None):
        for own in np.split(rng.permutation(len(windows)), range(batch, len(windows), batch)):
            t, twin, s = windows[own], windows[own].copy(), polarity[own]          # (batch, m)
            twin[:, t.shape[1] // 2] = rng.integers(0, len(network["W"]), len(own))
            history[epoch] += sswe_loss(network, t, twin, s, alpha) * len(own) / len(windows)
            for k, grad in sswe_loss_grad(network, t, twin, s, alpha).items():
                squares[k] += grad ** 2
                network[k] -= rate * grad / np.sqrt(squares[k])
    return history


def polarity_agreement(W, polarity, k):
    """Share of s among the k nearest of each word that has an s.  (V, D), (V,) s -> float."""
    own = np.flatnonzero(polarity)                                                 # (polar,)
    X, s = unit_rows(np.asarray(W)[own]), np.asarray(polarity)[own]                # (polar, D)
    found = top_k(X, X, k + 1)[0]                                                  # (polar, k + 1)
    return float(np.mean([(s[row[row != i][:k]] == s[i]).mean() for i, row in enumerate(found)]))
