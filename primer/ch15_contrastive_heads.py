r"""Chapter 15. Losses of pairs and triples of texts, and how vectors lie on the sphere.

    SBERT, classes     p = softmax( W^T [u; v; |u - v|] ),   L = 1/n sum -ln p_label    (15.7)
    SBERT, a scale     L = 1/n sum ( cos(u, v) - y )^2                                  (15.8)
    triplets           L = 1/n sum max( 0, |a - p| - |a - q| + margin )                 (15.9)
    alignment          1/n sum_i |x_i - y_i|^alpha                                     (15.10)
    uniformity         ln( 2 / (n (n - 1)) sum_{i<j} exp(-t |x_i - x_j|^2) )           (15.11)
    second moment      2 / (n (n - 1)) sum_{i<j} <x_i, x_j>^2                          (15.12)

Symbols     n pairs or triples, d dimensions; U, V: (n, d) vectors u, v of a pair's two texts, X, Y
            of two views, at unit length in (15.10)-(15.12); A: (n, d) anchors a; W: (3 d, classes);
            y: the pairs' likeness from -1 to 1; alpha, t > 0.
Sources     (15.7)-(15.9) Reimers and Gurevych 2019, sec. 3 (arXiv:1908.10084).  (15.10), (15.11)
            Wang and Isola 2020, sec. 4.1 (arXiv:2005.10242).  (15.12) Zhang et al. 2017, their M_2
            (arXiv:1708.06320); Welch 1974 for how low it can be (doi:10.1109/TIT.1974.1055219).
We differ   The text (1639) calls SBERT's objectives contrastive: (15.7) and (15.8) look at one pair
            at a time, (15.9) at one triple; none compares with the batch.  Where a distance is 0,
            the gradient of (15.9) is 0, one of its subgradients.  A least (15.12) is not yet
            uniform, as the text has it of the spread-out regulariser (1853): any vectors with the
            same second moments in all directions reach it, 2 d of them on d axes, say.  (15.11)
            tells them apart.
Relations   With many negatives (15.2) falls with (15.10), and with (15.11) for t = 1 / (2 tau), up
            to constants: Wang and Isola, theorem 1.  On the sphere |x - y|^2 = 2 - 2 <x, y>.
Kernels     none: these are sums over pairs, or measures that training does not need.
"""
import numpy as np

from primer.ch06_word2vec import logsumexp, softmax


def check_pairs(*named):
    """Rows of finite numbers, all of one shape.  (name, (n, d)) each -> None.  ValueError else."""
    for name, x in named:
        if x.ndim != 2 or not x.size or x.shape != named[0][1].shape or not np.isfinite(x).all():
            raise ValueError(f"{name}: expected finite numbers of one shape (n, d), as all of "
                             f"{', '.join(other for other, _ in named)}; got shape {x.shape}")


def pair_features(U, V):
    """[u; v; |u - v|] of each pair.  (n, d) twice -> (n, 3 d)."""
    return np.concatenate([U, V, np.abs(U - V)], axis=1)


def classify_pairs(U, V, W, labels):
    """SBERT's softmax of a pair's features (15.7).  labels: (n,) -> float, cache.
    Raises ValueError for a label that is none of W's columns."""
    check_pairs(("U", U), ("V", V))
    labels = np.asarray(labels)
    if labels.shape != (len(U),) or labels.min() < 0 or labels.max() >= W.shape[1]:
        raise ValueError(f"labels: expected {len(U)} of 0 to {W.shape[1] - 1}")
    F = pair_features(U, V)                                      # (n, 3 d)
    S, rows = F @ W, np.arange(len(U))                           # (n, classes)
    loss = (logsumexp(S) - S[rows, labels]).mean()               # eq. 15.7
    return float(loss), (U, V, W, F, S, labels)


def classify_pairs_backward(g, cache):
    """Gradient of g times (15.7) -> dU (n, d), dV (n, d), dW (3 d, classes)."""
    U, V, W, F, S, labels = cache
    n, d = U.shape
    dS = softmax(S)                                              # (n, classes)
    dS[np.arange(n), labels] -= 1
    dS *= g / n
    dF = dS @ W.T                                                # (n, 3 d)
    apart = dF[:, 2 * d:] * np.sign(U - V)                       # (n, d)
    return dF[:, :d] + apart, dF[:, d:2 * d] - apart, F.T @ dS


def regress_cosine(U, V, y):
    """SBERT's squared error of the cosine (15.8).  y: (n,) -> float, cache.
    Raises ValueError for a vector of zeros, or another number of y."""
    check_pairs(("U", U), ("V", V))
    y = np.asarray(y, U.dtype)                                   # (n,)
    norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in (U, V)]               # (n, 1)
    if y.shape != (len(U),) or not all(np.all(r > 0) for r in norms):
        raise ValueError(f"y: expected {len(U)} numbers, and U and V without rows of zeros")
    units = U / norms[0], V / norms[1]                           # (n, d), (n, d)
    cosines = (units[0] * units[1]).sum(axis=1)                  # (n,)
    return float(((cosines - y) ** 2).mean()), (units, norms, cosines, y)            # eq. 15.8


def regress_cosine_backward(g, cache):
    """Gradient of g times (15.8) -> dU (n, d), dV (n, d)."""
    (u, v), (ru, rv), cosines, y = cache
    ds = (2 * g / len(y) * (cosines - y))[:, None]               # (n, 1)
    c = cosines[:, None]                                         # (n, 1)
    return ds * (v - c * u) / ru, ds * (u - c * v) / rv          # (n, d), (n, d)


def triplet(A, positives, negatives, margin=1.0):
    """A triple costs nothing once the negative is `margin` farther than the positive (15.9).
    (n, d) three times -> float, cache.  Raises ValueError for a margin below 0."""
    check_pairs(("A", A), ("positives", positives), ("negatives", negatives))
    if not margin >= 0:
        raise ValueError(f"margin: expected 0 or more, got {margin}")
    gaps = [A - x for x in (positives, negatives)]               # (n, d) each
    lengths = [np.linalg.norm(x, axis=1, keepdims=True) for x in gaps]               # (n, 1) each
    excess = lengths[0] - lengths[1] + margin                    # (n, 1)  eq. 15.9
    return float(np.maximum(excess, 0).mean()), (gaps, lengths, excess > 0)


def triplet_backward(g, cache):
    """Gradient of g times (15.9) -> dA, dpositives, dnegatives (n, d)."""
    gaps, lengths, active = cache
    near, far = (x * (active * g / len(x)) / np.where(r > 0, r, 1)
                 for x, r in zip(gaps, lengths, strict=True))    # (n, d), (n, d)
    return near - far, -near, far


def alignment(X, Y, alpha=2.0):
    """How far apart the two of a pair are (15.10): 0 is best.  (n, d) twice -> float."""
    check_pairs(("X", X), ("Y", Y))
    return float((((X - Y) ** 2).sum(axis=1) ** (alpha / 2)).mean())                 # eq. 15.10


def alignment_grad(X, Y, alpha=2.0, g=1.0):
    """Gradient of g times (15.10), alpha >= 2 or no distance 0 -> dX, dY (n, d)."""
    gaps = X - Y                                                 # (n, d)
    squares = (gaps ** 2).sum(axis=1, keepdims=True)             # (n, 1)
    dX = g * alpha / len(X) * squares ** (alpha / 2 - 1) * gaps  # (n, d)
    return dX, -dX


def _square_distances(X, t):
    check_pairs(("X", X))
    if len(X) < 2 or not t > 0:
        raise ValueError(f"X: expected two rows or more and t above 0, got {len(X)} and {t}")
    squares = (X ** 2).sum(axis=1)                               # (n,)
    D = np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0)  # (n, n)
    np.fill_diagonal(D, np.inf)                                  # nobody is a pair with itself
    return D


def uniformity(X, t=2.0):
    """How crowded the sphere is (15.11): lower is better, -2 t when spread over many dimensions.
    (n, d) -> float.  Raises ValueError for fewer than two rows."""
    S = -t * _square_distances(X, t).ravel()[None]               # (1, n n)
    return float(logsumexp(S)[0] - np.log(len(X) * (len(X) - 1)))                    # eq. 15.11


def uniformity_grad(X, t=2.0, g=1.0):
    """Gradient of g times (15.11) -> dX (n, d)."""
    D = -t * _square_distances(X, t)                             # (n, n)
    p = softmax(D.ravel()[None]).reshape(D.shape)                # (n, n)  shares of the sum
    return -4 * g * t * (p.sum(axis=1, keepdims=True) * X - p @ X)


def second_moment(X):
    """The mean squared cosine of two rows (15.12), at least (n / d - 1) / (n - 1) on the sphere.
    (n, d) -> float.  Raises ValueError for fewer than two rows."""
    check_pairs(("X", X))
    n = len(X)
    if n < 2:
        raise ValueError("X: expected two rows or more")
    G = (X @ X.T) ** 2                                           # (n, n)
    return float((G.sum() - np.trace(G)) / (n * (n - 1)))        # eq. 15.12


def second_moment_grad(X, g=1.0):
    """Gradient of g times (15.12) -> dX (n, d)."""
    n = len(X)
    G = X @ X.T                                                  # (n, n)
    np.fill_diagonal(G, 0)
    return 4 * g / (n * (n - 1)) * G @ X
