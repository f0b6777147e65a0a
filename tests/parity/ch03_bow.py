"""Freeze scikit-learn's counts of 20 passages and some foreign texts -> tests/parity/ch03_bow.npz.

    python -m tests.parity.ch03_bow                  needs scikit-learn

The same tokens: its default pattern drops words of one letter, this one keeps them.
"""
from pathlib import Path

import numpy as np

from primer.data import sotu_paragraphs

PATTERN = r"(?u)\b\w+\b"
FOREIGN = [
    "ΟΔΥΣΣΕΥΣ, ΟΔΟΣ ΑΒΓΣ! σ Σ ς",                    # capital sigma becomes ς at a word's end only
    "İstanbul ISPARTA ılık DİYARBAKIR",              # I with a dot becomes i and a combining dot
    "自然言語処理は楽しい。 自然言語処理は楽しい！",     # words without spaces between
    "cafe\u0301 café naïve coöperate",               # the first with a combining accent
    "Straße STRASSE ǆ ǅ Ǆ ﬁre ﬁre 🙂word🙂 don't _a_ 3½ ١٢٣",
    "", "  ...  ",
]


def documents(n=20):
    return sotu_paragraphs()[0][:n] + FOREIGN


def main():
    import sklearn
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=PATTERN)
    X = counter.fit_transform(documents())
    X.sort_indices()
    np.savez_compressed(
        Path(__file__).with_suffix(".npz"), version=sklearn.__version__,
        documents=np.array(documents()), vocabulary=counter.get_feature_names_out().astype(str),
        indptr=X.indptr, indices=X.indices, data=X.data)
    print(X.shape, X.nnz)


if __name__ == "__main__":
    main()
