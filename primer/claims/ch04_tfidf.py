"""Chapter 4's claims: the sky and the sun, the cat, and the vectors given for the cat."""
from primer.ch01_geometry import cosine
from primer.ch03_bow import bag_of_words, to_dense
from primer.ch04_tfidf import (
    document_frequency,
    idf_plain,
    row_sums,
    term_frequency_relative,
    tfidf,
)
from primer.claims import Claim
from primer.data import load_texts

FIVE = ("Document 2 has four words, not five: its frequencies are fourths and sum to 1, where the "
        "text's sum to 4/5.")


def corpus(name):
    """One of the text's corpora -> vocabulary, CSR of counts."""
    return bag_of_words(load_texts()[name]["documents"])


def fraction(name, word, document):
    """Term frequency as the text writes it: count / words of the document."""
    vocabulary, X = corpus(name)
    return f"{to_dense(X)[document, vocabulary[word]]}/{row_sums(X)[document]:.0f}"


def frequency_and_idf(word):
    vocabulary, X = corpus("sky_sun")
    df = document_frequency(X)
    return [df[vocabulary[word]], idf_plain(df, X.shape[0])[vocabulary[word]]]


def weights(name, word):
    """TF-IDF of one word over the documents."""
    vocabulary, X = corpus(name)
    return to_dense(tfidf(X))[:, vocabulary[word]]


def idf_in_words(name, word):
    vocabulary, X = corpus(name)
    return f"log({X.shape[0]}/{document_frequency(X)[vocabulary[word]]})"


def are_higher(words, than):
    """Do these words weigh more in their documents than the others do?"""
    lowest = min(weights("sky_sun", w).max() for w in words)
    highest = max(weights("sky_sun", w).max() for w in than)
    return "higher" if lowest > highest else "not higher"


def growth():
    """What a second copy of a word does to its weight: the sky is blue, blue."""
    X = bag_of_words(["The sky is blue.", "The sky is blue blue."])[1]
    once, twice = to_dense(term_frequency_relative(X))[:, -1]
    return twice / once


W2V, GLOVE, FASTTEXT = [0.76, -0.21, 0.58], [0.81, -0.45, 0.30], [0.72, -0.25, 0.63]
SITTING, CHASING = [0.65, -0.34, 0.77], [0.78, -0.10, 0.89]
HYPOTHETICAL = "Three numbers made up by the text; computed: the cosine with "

CLAIMS = [
    Claim(476, "factor by which a second copy of a word raises its weight (1 of 4 words, 2 of 5)",
          2.0, growth,
          note="Misleading: true of raw counts; here a copy also lengthens the document."),
    *(Claim(line, f"frequency of {word} in document 1", text,
            lambda w=word: fraction("sky_sun", w, 0))
      for line, word, text in ((495, "the", "1/4"), (496, "sky", "1/4"), (497, "is", "1/4"),
                               (498, "blue", "1/4"), (499, "sun", "0/4"), (500, "bright", "0/4"))),
    *(Claim(line, f"frequency of {word} in document 2", text,
            lambda w=word: fraction("sky_sun", w, 1), note=FIVE)
      for line, word, text in ((495, "the", "1/5"), (496, "sky", "0/5"), (497, "is", "1/5"),
                               (498, "blue", "0/5"), (499, "sun", "1/5"), (500, "bright", "1/5"))),
    *(Claim(line, f"document frequency and idf of {word}", text,
            lambda w=word: frequency_and_idf(w), digits=3,
            note="The logarithm is the natural one." if line == 505 else "")
      for line, word, text in ((504, "the", [2, 0]), (505, "sky", [1, 0.693]), (506, "is", [2, 0]),
                               (507, "blue", [1, 0.693]), (508, "sun", [1, 0.693]),
                               (509, "bright", [1, 0.693]))),
    *(Claim(line, f"TF-IDF of {word} in documents 1 and 2", text,
            lambda w=word: weights("sky_sun", w), digits=3,
            note="1/4 of ln 2, as for sky and blue: document 2 has four words." if text[1] else "")
      for line, word, text in ((513, "the", [0, 0]), (514, "sky", [0.173, 0]), (515, "is", [0, 0]),
                               (516, "blue", [0.173, 0]), (517, "sun", [0, 0.139]),
                               (518, "bright", [0, 0.139]))),
    Claim(525, "idf of the and of is", [0, 0],
          lambda: [frequency_and_idf(w)[1] for w in ("the", "is")]),
    Claim(526, "weights of blue, sun and bright beside those of the and is", "higher",
          lambda: are_higher(("blue", "sun", "bright"), ("the", "is")),
          note="With the right denominator the four words of one document weigh the same."),
    Claim(1493, "frequency of cat in document 1", "1/5", lambda: fraction("cat_dog", "cat", 0)),
    Claim(1494, "idf of cat", "log(3/2)", lambda: idf_in_words("cat_dog", "cat")),
    Claim(1495, "TF-IDF of cat in document 1", "(1/5) * log(3/2)",
          lambda: f"({fraction('cat_dog', 'cat', 0)}) * {idf_in_words('cat_dog', 'cat')}",
          note="0.0811, by the natural logarithm."),
    Claim(1497, "TF-IDF of cat over the three documents", [0.18, 0, 0.18],
          lambda: weights("cat_dog", "cat"), digits=2,
          note="0.18 is the idf alone, and by base 10; times the frequencies 1/5 and 1/4 the two "
               "entries cannot be equal: the third document is shorter."),
    Claim(1505, "word2vec's vector of cat", W2V, lambda: cosine(W2V, GLOVE), illustrative=True,
          note=HYPOTHETICAL + "GloVe's, which lives in another space and cannot be compared. The "
                              'dots contradict "3-dimensional".'),
    Claim(1509, "GloVe's vector of cat", GLOVE, lambda: cosine(GLOVE, FASTTEXT),
          illustrative=True, note=HYPOTHETICAL + "fastText's, which lives in another space."),
    Claim(1514, "fastText's vector of cat", FASTTEXT, lambda: cosine(FASTTEXT, W2V),
          illustrative=True, note=HYPOTHETICAL + "word2vec's, which lives in another space."),
    Claim(1523, "BERT's vectors of a cat that sat and a cat that chased", [SITTING, CHASING],
          lambda: cosine(SITTING, CHASING), illustrative=True,
          note=HYPOTHETICAL + "each other: the two uses are said to differ, but are almost "
                              "parallel."),
    Claim(1526, "a static vector of cat beside BERT's two", [W2V, SITTING, CHASING],
          lambda: [cosine(W2V, v) for v in (SITTING, CHASING)], illustrative=True,
          note=HYPOTHETICAL + "the static one: both are almost parallel to it too."),
]
