"""Freeze scikit-learn's TF-IDF in eight variants -> tests/parity/ch04_tfidf.npz.

    python -m tests.parity.ch04_tfidf                needs scikit-learn

Each array of weights is named by its switches: idf (smooth, plus_one), tf (raw, log), rows (l2,
none); all share the places of the entries.  Columns are in alphabetical order.
"""
from itertools import product
from pathlib import Path

import numpy as np

from tests.parity.ch03_bow import PATTERN, documents


def main():
    import sklearn
    from sklearn.feature_extraction.text import TfidfVectorizer

    frozen = {"version": sklearn.__version__, "documents": np.array(documents())}
    for idf, tf, rows in product(("smooth", "plus_one"), ("raw", "log"), ("l2", "none")):
        weigher = TfidfVectorizer(token_pattern=PATTERN, smooth_idf=idf == "smooth",
                                  sublinear_tf=tf == "log", norm="l2" if rows == "l2" else None)
        X = weigher.fit_transform(documents())
        X.sort_indices()
        frozen |= {"vocabulary": weigher.get_feature_names_out().astype(str),
                   "indptr": X.indptr, "indices": X.indices, f"{idf}_{tf}_{rows}": X.data}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **frozen)
    print(X.shape, X.nnz)


if __name__ == "__main__":
    main()
