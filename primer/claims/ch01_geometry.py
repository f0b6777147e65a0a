"""The text's statements on geometry that can be recomputed: lines 129-203 and 1631."""
import numpy as np

from primer import data
from primer.ch01_geometry import (
    nearest,
    one_hot,
    pairwise_cosine,
    pairwise_euclidean,
)
from primer.claims import Claim


def other_pairs(matrix):
    """The entries of a square matrix off its diagonal -> (n (n - 1),)."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


def scale_of_a_cosine():
    """Cosines of rows that are stretched by positive factors, against those before."""
    rng = np.random.default_rng(1)
    A, B = rng.standard_normal((2, 20, 8))
    stretched = pairwise_cosine(A * rng.uniform(0.01, 100, (20, 1)), 7 * B)
    return "no influence" if np.allclose(stretched, pairwise_cosine(A, B)) else "some"


def one_hot_distances(V=50):
    found = np.unique(other_pairs(pairwise_euclidean(one_hot(np.arange(V), V),
                                                     one_hot(np.arange(V), V))))
    return "all equally distant" if len(found) == 1 else f"{len(found)} distances"


def one_hot_neighbours(V=50):
    """Largest cosine of two different words: is any word more similar than another?"""
    H = one_hot(np.arange(V), V)
    return float(np.ptp(other_pairs(pairwise_cosine(H, H)))), float(pairwise_cosine(H, H)[0, 1])


def rotated_digits():
    """Do cosines need any one coordinate?  Rotate the axes at random: each one is mixed anew."""
    X = data.load_digits()[0][:300].astype(np.float64)
    Q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))
    same = np.allclose(pairwise_cosine(X @ Q, X @ Q), pairwise_cosine(X, X))
    return "spread over many coordinates" if same else "tied to single coordinates"


def neighbour_accuracy():
    """How often the nearest other image shows the same digit: by angle, and by length alone."""
    images, labels = data.load_digits()
    X = images.astype(np.float64)
    by_angle = nearest(X, X, 2)[0]                      # (n, 2): itself and another
    other = np.where(by_angle[:, 0] == np.arange(len(X)), by_angle[:, 1], by_angle[:, 0])
    lengths = np.linalg.norm(X, axis=1)
    gaps = np.abs(lengths[:, None] - lengths)           # (n, n)
    np.fill_diagonal(gaps, np.inf)
    return (labels[other] == labels).mean(), (labels[gaps.argmin(axis=1)] == labels).mean()


def angle_or_length():
    angle, length = neighbour_accuracy()
    return "angle" if angle > length else "length"


CLAIMS = [
    Claim(129, "what the scale of a vector does to its cosines (again in 203, 1631)",
          "no influence", scale_of_a_cosine,
          note="For positive factors; a negative one flips the sign, and a zero vector has no "
               "cosine at all, which the formula does not say."),
    Claim(172, "distances between one-hot words", "all equally distant", one_hot_distances,
          note="Each pair is sqrt(2) = 1.414 apart, whatever V is."),
    Claim(172, "cosines of different one-hot words: their range, and their value", [0, 0],
          one_hot_neighbours, note="So no word is more similar to a word than any other."),
    Claim(185, "where the likeness of two vectors is found", "spread over many coordinates",
          rotated_digits,
          note="Cosines of 300 images of digits are the same after a random rotation, which mixes "
               "all coordinates: geometry alone names none of them."),
    Claim(203, "what tells more about relatedness, angle or length", "angle", angle_or_length,
          note="Of 1797 images of digits 99% have a nearest neighbour by angle of the same digit, "
               "12% by length alone.  The text says so of word vectors; these are pixels."),
]
