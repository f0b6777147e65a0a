"""The text's statements on contrastive learning, recomputed: lines 1639 to 2136."""
import numpy as np

from primer.ch06_word2vec import softmax
from primer.ch15_contrastive import (
    info_nce,
    info_nce_grad,
    mean_pool,
    scores,
    simcse,
    simcse_grad,
    unit_vectors,
)
from primer.ch15_contrastive_heads import (
    classify_pairs,
    regress_cosine,
    second_moment,
    triplet,
    uniformity,
)
from primer.claims import Claim

TAU = 0.05


def views(n=6, d=8, noise=0.3, seed=15):
    """Two views of n texts, at unit length -> (n, d), (n, d)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return tuple(unit_vectors(X + noise * rng.standard_normal((n, d)))[0] for _ in range(2))


def objectives_of_sbert():
    """Does the loss of a pair (of a triple) depend on the others of the batch? -> statement."""
    rng = np.random.default_rng(1639)
    U, V, N = rng.standard_normal((3, 4, 5))
    W = rng.standard_normal((15, 3))

    def alone(loss, *columns):
        each = [loss(*(c[[i]] for c in columns))[0] for i in range(4)]
        return np.isclose(loss(*columns)[0], np.mean(each))
    apart = [alone(lambda u, v, y: classify_pairs(u, v, W, y), U, V, np.array([0, 2, 1, 0])),
             alone(regress_cosine, U, V, rng.uniform(-1, 1, 4)), alone(triplet, U, V, N)]
    return "classes, a scale, triples: each alone" if all(apart) else "contrastive"


def what_a_step_does(hard=False):
    """A small step down (15.2): how scores of partners and of others change -> statement."""
    Q, C = views()
    if hard:
        C = np.concatenate([C, views(seed=7)[0]])
    _, dQ, dC = info_nce_grad(Q, C, TAU)
    change = scores(Q - 1e-4 * dQ, C - 1e-4 * dC, TAU) - scores(Q, C, TAU)
    own = np.eye(*change.shape, dtype=bool)
    weights = softmax(scores(Q, C, TAU))
    others = (weights * change)[~own].sum() / weights[~own].sum()
    return "partners nearer, others farther" if change[own].mean() > 0 > others else "not so"


def weight_of_a_hard_negative():
    """The pull of a negative at cosine 0.7 over that of one at 0.1 -> statement."""
    Q, C = np.array([[1.0, 0]]), np.array([[0.9, 0], [0.7, 0], [0.1, 0]])
    p = softmax(scores(Q, C, TAU))[0]
    return "hard ones count" if p[1] > 1000 * p[2] else "all count alike"


def literal_mask():
    """The loss of (15.2) where equal queries leave out every j, i too -> float."""
    Q, C = views()
    S = scores(Q, C, TAU)
    same = (Q[:, None] == Q).all(axis=2)                          # i = j among them
    S_left = np.where(same, -np.inf, S)
    return float((np.log(np.exp(S_left).sum(axis=1)) - np.diagonal(S)).mean())


def sign_of_literal_mask():
    Q, C = views()
    kept = info_nce(Q, C, TAU, np.arange(len(C)))
    return "0 or more" if literal_mask() < 0 < kept else "below 0"


def least_second_moment(d=8):
    """Vectors that no spread-out regulariser moves: are they spread evenly? -> statement."""
    axes = np.concatenate([np.eye(d), -np.eye(d)])
    twice = np.concatenate([np.eye(d), np.eye(d)])
    least = np.isclose([second_moment(axes), second_moment(twice)], 1 / (2 * d - 1)).all()
    return "uniform" if not (least and uniformity(twice) > uniformity(axes) + 0.01) else \
        "balanced: any tight frame, even d places taken twice"


def total_over_candidates():
    """The shares of p+, hard negatives and the batch's other passages -> float."""
    Q, C = views()
    return float(softmax(scores(Q, np.concatenate([C, -C]), TAU)).sum(axis=1).mean())


def sharper():
    """The positive's share as tau falls -> statement."""
    Q, C = views()
    own = [np.diagonal(softmax(scores(Q, C, t))).mean() for t in (1, 0.3, 0.1, 0.03)]
    return "smaller is sharper" if np.all(np.diff(own) > 0) else "larger is sharper"


def denominator():
    """With which sum is exp(sim(z_i, z_i+)) a share of it? -> statement."""
    Z, positives = views()
    own = np.exp((Z * positives).sum(axis=1) / TAU)
    among = [np.any(np.isclose(own[:, None], np.exp(Z @ K.T / TAU)), axis=1).all()
             for K in (Z, positives)]
    return {(True, False): "z_j", (False, True): "z_j+"}[tuple(map(bool, among))]


def batch_of_one():
    """One text, a cosine of .8 between its views: there is nothing to tell apart -> float."""
    return simcse(np.array([[1.0, 0]]), np.array([[0.8, 0.6]]), TAU)


def negatives_in_a_batch(B=6):
    """Candidates with a share of their own, the positive aside, for each text -> int."""
    Z, positives = views(B)
    return int((softmax(scores(Z, positives, TAU)) > 0).sum(axis=1).max()) - 1


def geometry():
    """200 steps of SimCSE's gradient on vectors that lie in a cone -> statement."""
    rng = np.random.default_rng(2128)
    X = unit_vectors(rng.standard_normal((40, 8)) + 4)[0]           # (40, 8)
    before = uniformity(X)
    for _ in range(200):
        _, dX, dY = simcse_grad(*(X + 0.1 * rng.standard_normal((2, 40, 8))), 0.1)
        X = unit_vectors(X - 0.5 * (dX + dY))[0]
    return "spread out" if uniformity(X) < before - 1 else "as it was"


def mean_of_states():
    """1/T of the sum of a text's T states, and ours where it is padded -> statement."""
    H = np.random.default_rng(2136).standard_normal((1, 5, 4))
    ours = mean_pool(H, np.arange(5)[None] < 3)[0]
    return "the mean" if np.allclose(H[:, :3].sum(axis=1) / 3, ours) else "not so"


CLAIMS = [
    Claim(1639, "the objectives that SBERT was trained with", "contrastive", objectives_of_sbert,
          note="(15.7) a softmax of [u; v; |u - v|], (15.8) a squared error of the cosine, (15.9) "
               "triplets.  None compares a pair with the rest of the batch; the first two have no "
               "negatives at all."),
    Claim(1654, "what a small step down InfoNCE does", "partners nearer, others farther",
          what_a_step_does, note="The others weighted by their probability; the formula itself is "
                                 "lost there: (15.2)."),
    Claim(1839, "the same with hard negatives", "partners nearer, others farther",
          lambda: what_a_step_does(hard=True), note="Its formula is lost."),
    Claim(1839, "the lost formula as its paper prints it, a mask of 0 for equal queries, so also "
          "for j = i: its loss", "below 0", sign_of_literal_mask,
          note="-ln of what is no share of the sum.  A mask has to keep j = i, as `groups` does."),
    Claim(1840, "negatives at cosine .7 beside such at .1, tau = .05", "hard ones count",
          weight_of_a_hard_negative, note="exp(.6 / .05): 160,000 times as much."),
    Claim(1853, "how vectors lie that the spread-out regulariser leaves alone", "uniform",
          least_second_moment, note="(15.12) sees second moments only; (15.11) tells them apart."),
    Claim(2024, "tau and the distribution over candidates", "smaller is sharper", sharper,
          note="Where the positive is the nearest; else it loses its share to the nearest."),
    Claim(2026, "what the shares of the positive, hard negatives and the batch add up to", 1,
          total_over_candidates),
    Claim(2115, "whose sum exp(sim(z_i, z_i+) / tau) is a share of", "z_j", denominator,
          note="Gao et al., eq. 4, sum over z_j+.  Line 2267 has its positive in the sum."),
    Claim(2115, "the loss of a batch of one, cosine .8, tau .05", (1 - 0.8) / TAU, batch_of_one,
          note="As printed (1 - cos) / tau, though there is nothing to tell apart."),
    Claim(2122, "in-batch negatives of a text in a batch of 6", 5, negatives_in_a_batch,
          note="B - 1."),
    Claim(2128, "vectors in a cone after contrastive steps", "spread out", geometry),
    Claim(2136, "1/T of the sum of a text's T states", "the mean", mean_of_states,
          note="In a batch, T is the number of the text's own tokens, padding aside."),
]
