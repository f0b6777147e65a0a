"""Numba twin of primer/ch09_analogy.py: analogies, t-SNE's probabilities, its loss and gradient.

Idea    analogies: the cosines of each different question word with a tile of words are one matrix
        product, however many questions ask about it; a question then adds (or multiplies) three
        rows of it that lie in the cache, and keeps its best word: nothing of size m V, three
        products in place of 2 m D of them.
        t-SNE: P is stored once, and made and used a row at a time.  Each pair is met once, i < j,
        and gives to both; attraction, repulsion and the sum of all w come from the same pass
        (the gradient is 4 (attraction - repulsion / sum w)), with rows of Y at unit stride.
Threads analogies: each owns a run of the words, and keeps its own best for all questions; the runs
        are compared in order, so that ties go to the lower id.  Probabilities: each owns its rows.
        Gradient and loss: PARTS runs of rows with sums of their own, added up in order.  So any
        number of threads gives the same bits.
Limits  P is taken to be symmetric: its upper half is read.  PARTS 2 d n sums beside P.  Other
        orders of summation than the reference's: equal to rounding.
"""
import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from primer.ch09_analogy import check_map, check_perplexity, check_questions

SUMS = {"reassoc", "contract"}        # sums in any order, but NaN and infinity as ever
TILE = 1024                           # words at a time: three rows of cosines stay in the cache
PARTS = 16


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "contract"})       # cosines are no NaN
def _offer(C, slots, questions, first, eps, best, answers):
    """Offer the words first, first + 1, ... to all questions.  C (u, tile): their cosines."""
    s = np.empty(C.shape[1], np.float32)
    for q in range(questions.shape[0]):
        a, b, c = C[slots[q, 0]], C[slots[q, 1]], C[slots[q, 2]]
        if eps > 0:
            for j in range(s.size):
                s[j] = (b[j] + 1) / 2 * ((c[j] + 1) / 2) / ((a[j] + 1) / 2 + eps)     # eq. 9.2
        else:
            for j in range(s.size):
                s[j] = b[j] - a[j] + c[j]                                             # eq. 9.1
        largest = s[0]
        for j in range(s.size):
            largest = max(largest, s[j])
        if largest <= best[q]:
            continue
        for k in range(3):
            if 0 <= questions[q, k] - first < s.size:
                s[questions[q, k] - first] = -np.inf
        for j in range(s.size):
            if s[j] > best[q]:
                best[q] = s[j]
                answers[q] = first + j


def _best_words(W, questions, eps):
    W, questions = check_questions(W, questions)
    words, slots = np.unique(questions, return_inverse=True)           # (u,)
    slots, m = slots.reshape(questions.shape), len(questions)          # (m, 3)

    def run(part):
        best, answers = np.full(m, -np.inf, np.float32), np.zeros(m, np.int64)
        for first in range(part[0], part[1], TILE):
            C = np.clip(W[words] @ W[first:min(first + TILE, part[1])].T, -1, 1)      # (u, tile)
            _offer(C, slots, questions, first, eps, best, answers)
        return best, answers

    bounds = np.linspace(0, len(W), numba.get_num_threads() + 1).astype(int)
    parts = in_threads(run, [(a, b) for a, b in zip(bounds, bounds[1:], strict=False) if a < b])
    best = np.stack([b for b, _ in parts]).argmax(axis=0)              # (m,)  ties: the first part
    return np.stack([a for _, a in parts])[best, np.arange(m)]


def analogy_3cosadd(W, questions):
    return _best_words(W, questions, 0.0)


def analogy_3cosmul(W, questions, eps=0.001):
    if not eps > 0:
        raise ValueError(f"eps: expected a number above 0, got {eps}")
    return _best_words(W, questions, float(eps))


@njit(nogil=True, cache=True, fastmath=SUMS)
def _conditional(X, log_perplexity, first, stop, P):
    """p_j|i (9.4) of the rows first..stop."""
    n = X.shape[0]
    D, E = np.empty(n), np.empty(n)
    for i in range(first, stop):
        mean, least = 0.0, np.inf
        for j in range(n):
            D[j] = 0
            for k in range(X.shape[1]):
                gap = float(X[j, k]) - float(X[i, k])
                D[j] += gap * gap
            mean += D[j] / (n - 1)
            if j != i and D[j] < least:
                least = D[j]
        scale = mean if mean > 0 else 1.0
        low, high = -30.0, 30.0
        for _ in range(32):
            beta, total, spread = np.exp((low + high) / 2), 0.0, 0.0
            for j in range(n):
                x = beta * (D[j] - least) / scale
                E[j] = np.exp(-x) if j != i else 0.0
                total += E[j]
                spread += E[j] * x
            if log_perplexity < np.log(total) + spread / total:        # the entropy
                low = (low + high) / 2
            else:
                high = (low + high) / 2
        for j in range(n):
            P[i, j] = E[j] / total


@njit(nogil=True, cache=True)
def _symmetrise(P, first, stop):
    """P_ij = P_ji (9.4) for the rows first..stop and the columns behind them, in tiles."""
    n = P.shape[0]
    for top in range(first, stop, 32):
        for left in range(top, n, 32):
            for i in range(top, min(top + 32, stop)):
                for j in range(max(left, i), min(left + 32, n)):
                    P[i, j] = P[j, i] = (P[i, j] + P[j, i]) / (2 * n)


def _runs(n):
    """Runs of rows with about as many pairs i < j each -> list of (first, stop)."""
    bounds = shares(np.arange(n, 0, -1), PARTS)
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def joint_probabilities(X, perplexity):
    X = check_perplexity(X, perplexity)
    P = np.empty((len(X), len(X)), X.dtype)                            # (n, n)
    in_threads(lambda r: _conditional(X, np.log(perplexity), *r, P), _runs(len(X)))
    in_threads(lambda r: _symmetrise(P, *r), _runs(len(X)))
    return P


@njit(nogil=True, cache=True, fastmath=SUMS)
def _weights(Yt, i, w):
    """w_ij (9.5) for all j > i -> their sum.  Slices: only then does LLVM see unit stride."""
    total = Yt[0, 0] * 0
    w[:] = 1
    for k in range(Yt.shape[0]):
        own, y = Yt[k, i], Yt[k, i + 1:]
        for j in range(w.size):
            w[j] += (own - y[j]) * (own - y[j])
    for j in range(w.size):
        w[j] = 1 / w[j]
        total += w[j]
    return total


@njit(nogil=True, cache=True, fastmath=SUMS)
def _forces(P, Yt, first, stop, F):
    """Add the attraction F[0] (d, n) and repulsion F[1] of the pairs first <= i < stop, i < j
    -> sum of w."""
    total, memory = 0.0, np.full_like(Yt[0], 1)
    for i in range(first, stop):
        w, p = memory[i + 1:], P[i, i + 1:]
        total += _weights(Yt, i, w)
        for k in range(Yt.shape[0]):
            own, y = Yt[k, i], Yt[k, i + 1:]
            pull, push = F[0, k, i + 1:], F[1, k, i + 1:]
            pulled, pushed = F[0, k, i], F[1, k, i]
            for j in range(w.size):
                a = p[j] * w[j] * (own - y[j])
                pulled += a
                pull[j] -= a
            for j in range(w.size):
                b = w[j] * w[j] * (own - y[j])
                pushed += b
                push[j] -= b
            F[0, k, i], F[1, k, i] = pulled, pushed
    return total


def tsne_loss_grad(P, Y, g=1.0, exaggeration=1):
    P, Y = check_map(np.ascontiguousarray(P), Y)
    Yt, runs = Y.T.copy(), _runs(len(Y))                               # (d, n)
    F = np.zeros((len(runs), 2, *Yt.shape), Y.dtype)                   # (parts, 2, d, n)
    totals = in_threads(lambda k: _forces(P, Yt, *runs[k], F[k]), range(len(runs)))
    pull, push = F.sum(axis=0)                                         # (d, n)
    return (4 * g * (exaggeration * pull - push / (2 * sum(totals)))).T.astype(Y.dtype)


@njit(nogil=True, cache=True, fastmath=SUMS)
def _divergence(P, Yt, first, stop):
    """sum p, sum p ln(p / w), sum w over the pairs first <= i < stop, i < j."""
    mass, cross, total, memory = 0.0, 0.0, 0.0, np.full_like(Yt[0], 1)
    for i in range(first, stop):
        w, p = memory[i + 1:], P[i, i + 1:]
        total += _weights(Yt, i, w)
        for j in range(w.size):
            x = float(p[j])
            if x > 0:
                mass += x
                cross += x * np.log(x / w[j])
    return mass, cross, total


def tsne_loss(P, Y):
    P, Y = check_map(np.ascontiguousarray(P), Y)
    Yt = Y.T.copy()                                                    # (d, n)
    parts = in_threads(lambda r: _divergence(P, Yt, *r), _runs(len(Y)))
    mass, cross, total = np.sum(parts, axis=0)
    return float(2 * (cross + mass * np.log(2 * total)))
