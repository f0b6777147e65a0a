"""Freeze scikit-learn's geometry of 400 digits -> tests/parity/ch01_geometry.npz.

    python -m tests.parity.ch01_geometry             needs scikit-learn
"""
from pathlib import Path

import numpy as np

from primer.data import load_digits

ROWS, QUERIES, K, D, RIDGE = 400, 20, 10, 5, 2.0


def rows():
    """The images as float64 rows and their labels -> (400, 64), (400,)."""
    images, labels = load_digits()
    return images[:ROWS].astype(np.float64), labels[:ROWS]


def main():
    import sklearn
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge
    from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances
    from sklearn.neighbors import NearestNeighbors

    X, labels = rows()
    distances, indices = NearestNeighbors(metric="cosine", algorithm="brute").fit(X).kneighbors(
        X[:QUERIES], 5)
    clusters = KMeans(K, init=X[:K], n_init=1, tol=0, algorithm="lloyd").fit(X)
    directions = PCA(D).fit(X)
    probe = Ridge(alpha=RIDGE).fit(X, np.eye(10)[labels])
    frozen = {
        "version": sklearn.__version__, "nearest": indices,
        "cosine": cosine_similarity(X[:QUERIES], X[-QUERIES:]),
        "euclidean": euclidean_distances(X[:QUERIES], X[-QUERIES:]),
        "nearest_cosine": 1 - distances, "labels": clusters.labels_,
        "centroids": clusters.cluster_centers_, "inertia": clusters.inertia_,
        "iterations": clusters.n_iter_, "projected": directions.transform(X),
        "components": directions.components_, "mean": directions.mean_,
        "explained_variance": directions.explained_variance_, "W": probe.coef_.T,
        "b": probe.intercept_}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **frozen)
    print({name: np.shape(values) for name, values in frozen.items()})


if __name__ == "__main__":
    main()
