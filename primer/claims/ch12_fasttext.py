"""The text's numbers on fastText, recomputed: lines 1347-1385, 1558-1560."""
import numpy as np

from primer.ch12_fasttext import classify, initial_vectors, ngrams, text_rows, word_vector
from primer.claims import Claim

LISTED = ("breat", "eathtaking", "htakingly")


def some_of_fast():
    """Which of the three that the text lists are n-grams of fast, 3 to 6 -> list of str."""
    return [g for g in ("fas", "fast", "ast") if g in ngrams("fast", 3, 6)]


def all_of_fast():
    """Its n-grams without a boundary mark, sorted -> list of str."""
    return sorted(g for g in ngrams("fast", 3, 6) if not {"<", ">"} & set(g))


def which_of_breathtakingly(low=3, high=6):
    """Which of the listed are n-grams of the word -> list of str."""
    return [g for g in LISTED if g in ngrams("breathtakingly", low, high)]


def unseen_word_has_a_vector():
    """Does a word that no corpus had get one, other than another word's? -> statement."""
    Z, _ = initial_vectors(1, 1000, 4, np.random.default_rng(0))
    vectors = [word_vector(Z, word, {"the": 0}) for word in ("electroencephalogram", "cat")]
    apart = not np.allclose(*vectors)
    return "from its n-grams" if apart and np.isfinite(vectors).all() else "none"


def bank_in_two_sentences():
    """Do the rows of bank depend on its sentence? -> statement."""
    alone = text_rows([["bank"]], {}, 3, 6, 1000)[1]
    sentences = [text_rows([s.split()], {}, 3, 6, 1000)[1] for s in
                 ("to the bank to withdraw money", "by the river bank")]
    inside = all(set(alone) <= set(rows) for rows in sentences)
    return "the same embedding" if inside else "two"


def order_of_words():
    """Does the classifier tell two orders of the same words apart? -> list: words, with pairs."""
    Z, A = initial_vectors(4, 50, 3, np.random.default_rng(0), 2)
    A[0] = 1
    vocabulary = {w: i for i, w in enumerate(("man", "bites", "dog", "not"))}
    texts = [["man", "bites", "dog"], ["dog", "bites", "man"]]
    apart = []
    for n in (1, 2):
        p = classify(Z, A, *text_rows(texts, vocabulary, 0, 0, 50, n))
        apart.append("apart" if abs(p[0, 0] - p[1, 0]) > 1e-6 else "alike")
    return apart


def sum_of_ngrams():
    """The vector of a known word against the sum of its n-grams' rows -> statement."""
    Z, _ = initial_vectors(1, 1000, 4, np.random.default_rng(0))
    _, rows = text_rows([["bank"]], {"bank": 0}, 3, 6, 1000)
    total, vector = Z[rows[1:]].sum(axis=0), word_vector(Z, "bank", {"bank": 0})
    if np.allclose(vector, total, rtol=1e-5):
        return "the sum over n-grams"
    mean = np.allclose(vector * 11, total + Z[0], rtol=1e-5)
    return "the mean of them and the word's own row" if mean else "something else"


def rows_of(words, bucket):
    """How many rows of d numbers a model has, to one of words alone -> float."""
    return (words + bucket) / words


CLAIMS = [
    Claim(1349, "which paper has the classifier, beside the vectors",
          "Bojanowski et al. 2017", lambda: "Joulin et al. 2016",
          note="Bag of Tricks for Efficient Text Classification, arXiv:1607.01759; the paper on "
               "n-grams has no classifier."),
    Claim(1354, "n-grams of \"fast\", 3 to 6, among fas, fast, ast", ["fas", "fast", "ast"],
          some_of_fast),
    Claim(1354, "n-grams of \"fast\" without a boundary mark", ["ast", "fas", "fast"], all_of_fast,
          note="fastText has ten: those of <fast>, where <fa and st> tell ends from middles."),
    Claim(1356, "where the vector of a word never seen comes from", "from its n-grams",
          unseen_word_has_a_vector),
    Claim(1365, "n-grams of \"breathtakingly\" among the three that are listed", list(LISTED),
          which_of_breathtakingly, note="The others have 10 and 9 letters; 3 to 6 are hashed."),
    Claim(1365, "the same with n-grams of up to 10 letters", list(LISTED),
          lambda: which_of_breathtakingly(3, 10)),
    Claim(1372, "the embedding of \"bank\" in two sentences", "the same embedding",
          bank_in_two_sentences),
    Claim(1379, "two orders of the same words, in the classifier: words alone, and pairs too",
          ["alike", "apart"], order_of_words,
          note="Pairs see what is near; two words far apart stay unrelated, as the text says."),
    Claim(1381, "more rows than a model of 100,000 words alone, with fastText's buckets", "more",
          lambda: "more" if rows_of(100_000, 2_000_000) > 1 else "fewer",
          note="21 times as many with its 2,000,000 buckets, however many words there are."),
    Claim(1560, "the vector of a word", "the sum over n-grams", sum_of_ngrams, illustrative=True,
          note="So in the paper; the library averages, and G_w holds the word itself."),
]
CLAIMS.sort(key=lambda claim: claim.line)
