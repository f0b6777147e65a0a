"""Chapter 3's claims: the two worked examples, word order, sizes."""
from primer.ch01_geometry import cosine
from primer.ch03_bow import (
    bag_of_words,
    build_vocabulary,
    count_vector,
    split_on_spaces,
    to_dense,
    tokenize,
    transpose,
)
from primer.claims import Claim
from primer.data import load_texts


def documents(name):
    return load_texts()[name]["documents"]


def words(name, i):
    return tokenize(documents(name)[i])


def vocabulary(name):
    return list(bag_of_words(documents(name))[0])


def vector(name, i):
    """Row i of the corpus's matrix, its zeros included."""
    return to_dense(bag_of_words(documents(name))[1])[i]


def same_counts(name):
    rows = to_dense(bag_of_words(documents(name))[1])
    return "the same" if (rows[0] == rows[1]).all() else "different"


def likeness(name):
    """How alike two documents are as bags of words, split by the text's own rule."""
    lists = [split_on_spaces(d) for d in documents(name)]
    known = build_vocabulary(lists)
    found = cosine(*(count_vector(words, known) for words in lists))
    return "similar" if 0.5 < found < 1 else f"cosine {found:.4f}"


def dimension(size):
    """Numbers in the vector of a short document, over a vocabulary of `size` words."""
    known = {f"word{i}": i for i in range(size)}
    return len(count_vector(["word7", "word7", "word42"], known))


def column(name, word):
    """The counts of one word over the documents."""
    known, X = bag_of_words(documents(name))
    return to_dense(transpose(X))[known[word]]


def share(old, new):
    """Do the later documents begin with the earlier ones?"""
    first, second = documents(old), documents(new)
    return "the same documents" if second[:len(first)] == first else "other documents"


CLAIMS = [
    Claim(422, "words of document 1", ["the", "cat", "sat", "on", "the", "mat"],
          lambda: words("cat_mat", 0)),
    Claim(423, "words of document 2", ["the", "dog", "sat", "on", "the", "log"],
          lambda: words("cat_mat", 1)),
    Claim(427, "vocabulary of the two documents",
          ["the", "cat", "sat", "on", "mat", "dog", "log"], lambda: vocabulary("cat_mat"),
          note="The order is that of first appearance; many libraries sort."),
    Claim(431, "counts of document 1 (again in 436)", [2, 1, 1, 1, 1, 0, 0],
          lambda: vector("cat_mat", 0)),
    Claim(432, "counts of document 2 (again in 437)", [2, 0, 1, 1, 0, 1, 1],
          lambda: vector("cat_mat", 1)),
    Claim(444, "counts of a sentence with cat and mat exchanged", "the same",
          lambda: same_counts("word_order")),
    Claim(469, "counts of the two sentences about Apple and a startup", "similar",
          lambda: likeness("startup"),
          note="Six words are shared, of eight and of seven: the cosine is 6 / sqrt(56), 0.80."),
    Claim(471, "numbers in a vector over 100,000 words", 100_000, lambda: dimension(100_000),
          note="All but one or two are zero here, which is why only the others are stored."),
    Claim(1472, "the documents about the cat, and those of lines 416-417", "the same documents",
          lambda: share("cat_mat", "cat_dog"),
          note='The later ones lack the leading "The", and a third one is new, so lengths, '
               "counts and document frequencies differ."),
    Claim(1478, "vocabulary of the three documents",
          ["cat", "sat", "on", "the", "mat", "dog", "log", "chased"],
          lambda: vocabulary("cat_dog")),
    Claim(1480, "counts of the first of three documents", [1, 1, 1, 1, 1, 0, 0, 0],
          lambda: vector("cat_dog", 0)),
    Claim(1481, "counts of the second of three documents", [0, 1, 1, 1, 0, 1, 1, 0],
          lambda: vector("cat_dog", 1)),
    Claim(1482, "counts of the third of three documents", [1, 0, 0, 1, 0, 1, 0, 1],
          lambda: vector("cat_dog", 2)),
    Claim(1485, "counts of cat over the three documents", [1, 0, 1],
          lambda: column("cat_dog", "cat"),
          note="A document is a row of the matrix; a word is a column."),
    Claim(1535, 'counts of "dog bites man" and "man bites dog"', "nearly the same",
          lambda: same_counts("dog_bites_man"),
          note="Misleading: the two bags are not nearly but exactly the same; the order is gone."),
]
