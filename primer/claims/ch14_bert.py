"""The text's statements on BERT and on words of many senses, recomputed: lines 1293 to 1571.

`seven_methods` gives a word its vectors by all of them; the text's numbers for "cat" (1485 to 1526)
stand in the claims of chapters 3 to 5.
"""
from functools import lru_cache

import numpy as np

from primer import ch12_fasttext, data
from primer.ch01_geometry import pairwise_cosine
from primer.ch03_bow import bag_of_words, encode, to_dense, tokenize
from primer.ch04_tfidf import tfidf
from primer.ch05_bm25 import scores
from primer.ch06_word2vec import initial_vectors, train_skipgram
from primer.ch11_glove import count_block, initial_model, train_glove, word_vectors
from primer.ch14_bert import mask_tokens, mean_loss, occurrence_vectors, polysemy_gap
from primer.ch14_bert_encoder import encode as encode_states
from primer.ch14_bert_encoder import initial_encoder
from primer.claims import Claim
from primer.training import small_bert

WORDS = ("bank", "bat", "apple", "book", "light")
BUCKETS = 100


def occurrences(word):
    """The text's sentences where a word has one of its senses -> list of str, list of senses."""
    entry = data.load_texts()[word]
    kept = [(text, sense) for text, sense in zip(entry["documents"], entry["senses"], strict=True)
            if sense != "ambiguous" and word in tokenize(text)]
    return [text for text, _ in kept], [sense for _, sense in kept]


@lru_cache
def static_vectors(documents, d=3, epochs=20, seed=14):
    """word2vec, GloVe and fastText, each trained on the documents (a tuple) alone -> dict name: a
    row for each word (V, d), and dict word: id."""
    vocabulary, _ = bag_of_words(documents)
    texts = [encode(tokenize(text), vocabulary) for text in documents]
    tokens, starts = np.concatenate(texts), np.cumsum([0, *map(len, texts)])
    V, rng = len(vocabulary), np.random.default_rng(seed)
    W, _, _ = train_skipgram(tokens, starts, *initial_vectors(V, d, rng), 2, epochs, rng, rate=0.1)
    glove, _ = train_glove(count_block(tokens, starts, V, 5), initial_model(V, d, rng), epochs, rng)
    ngrams = ch12_fasttext.subword_rows(list(vocabulary), 3, 6, BUCKETS)
    Z, U = ch12_fasttext.initial_vectors(V, BUCKETS, d, rng)
    ch12_fasttext.train_vectors(ch12_fasttext.skipgram_block, tokens, starts, Z, U, ngrams, 2, 5,
                                epochs, seed, sample=np.inf)
    return {"word2vec": W, "GloVe": word_vectors(glove),
            "fastText": ch12_fasttext.mean_rows(Z, *ngrams)}, vocabulary


def seven_methods(word, documents, model=None):
    """A word's vector at each of its occurrences, by each method -> dict name: (occurrences, its
    own dimensions).  BERT is the small one of datasets/, or `model`."""
    model = model or small_bert.load()
    vocabulary, X = bag_of_words(documents)
    column = vocabulary[word]
    own = [text for text in documents if word in tokenize(text)]
    static, ids = static_vectors(tuple(documents))
    vectors = {"bag of words": to_dense(X)[:, column].astype(float),
               "TF-IDF": to_dense(tfidf(X))[:, column], "BM25": scores(X, [column])}
    vectors |= {name: W[ids[word]] for name, W in static.items()}
    found = {name: np.tile(vector, (len(own), 1)) for name, vector in vectors.items()}
    return found | {"BERT": occurrence_vectors(model.P, model.heads, model.wordpiece, word, own)}


def static_gap(name):
    """Largest gap of the text's words by a static method -> float: 0, or its own wording."""
    gaps = []
    for word in WORDS:
        sentences, senses = occurrences(word)
        X = seven_methods(word, [*sentences, "no such thing here"])[name]
        gaps.append(polysemy_gap(X, senses))
    return max(gaps)


def states(ids, causal=False):
    """A small untrained encoder's last states: what depends on what needs no training.
    (B, T) ids -> (B, T, d) float64."""
    P = initial_encoder(40, 16, 16, 2, 32, np.random.default_rng(14), dtype=np.float64)
    P = {name: 10 * x if x.ndim > 1 else x for name, x in P.items()}
    return encode_states(P, 2, np.atleast_2d(ids), causal=causal)[0]


def words_that_matter(causal, T=6):
    """Which words of six change the state of the fourth -> list of places, from 1."""
    ids = np.arange(T)
    changed = [states(np.where(ids == i, 39, ids), causal)[0, 3] for i in range(T)]
    return [i + 1 for i, h in enumerate(changed) if not np.allclose(h, states(ids, causal)[0, 3])]


def what_gpt_sees_of_bank():
    """The last three words after "bank" in line 1372, for a decoder -> statement."""
    whole = states(np.arange(8), causal=True)[0, 4]      # he went to the BANK to withdraw money
    alone = states(np.arange(5), causal=True)[0, 4]
    return "the same vector without them" if np.allclose(whole, alone) else "another vector"


def the_rest_of_the_document():
    """The state of a sentence beside others of its document, and alone -> statement."""
    one, more = np.arange(5), np.arange(10).reshape(2, 5)
    same = np.allclose(states(one)[0], states(more)[0])
    return "the tokens of its own input" if same else "the larger document"


def bert_gap(word):
    """Of the small BERT of datasets/ -> "above 0", or the number."""
    model = small_bert.load()
    sentences, senses = occurrences(word)
    X = occurrence_vectors(model.P, model.heads, model.wordpiece, word, sentences)
    gap = polysemy_gap(X, senses)
    return "above 0" if gap > 1e-3 else gap


def two_vectors(first, second):
    """Cosine of the small BERT's "bank" in two of its sentences -> statement."""
    model = small_bert.load()
    X = occurrence_vectors(model.P, model.heads, model.wordpiece, "bank", [first, second])
    return "different vectors" if pairwise_cosine(X, X)[0, 1] < 0.999 else "the same"


def what_counts_for_mlm():
    """The loss with all scores at other places changed -> statement."""
    S, rng = np.random.default_rng(14).standard_normal((8, 10)), np.random.default_rng(15)
    labels = np.array([-1, 3, -1, -1, 7, -1, -1, -1])
    T = np.where((labels >= 0)[:, None], S, rng.standard_normal(S.shape))
    return "the hidden tokens" if mean_loss(S, labels)[0] == mean_loss(T, labels)[0] else "all"


def shown_at_hidden_places():
    """How many of ten tokens to be predicted stand in the input as they are -> float."""
    ids = np.random.default_rng(14).integers(5, 5000, (200, 100))
    inputs, places, labels = mask_tokens(ids, np.random.default_rng(15), 5000, 4, range(5))
    return 10 * np.mean(inputs.ravel()[places] == labels)


CLAIMS = [
    Claim(1293, "which of six words ELMo, BERT and GPT see at the fourth", [1, 2, 3, 4, 5, 6],
          lambda: words_that_matter(causal=True), note="Both ways in BERT, and in ELMo's two "
          "directions; a decoder such as GPT sees what is on the left alone."),
    Claim(1372, "\"bank\" of \"went to the bank to withdraw money\" by GPT, and without the last "
          "three words", "another vector", what_gpt_sees_of_bank,
          note="What tells the sense comes after the word, where a causal model cannot look."),
    *[Claim(line, f"{name}: gap of the text's words from sense to sense", 0,
            lambda name=name: static_gap(name), 6)
      for line, name in ((1399, "bag of words"), (1410, "TF-IDF"), (1419, "BM25"),
                         (1430, "word2vec"), (1441, "GloVe"), (1452, "fastText"))],
    Claim(1460, "which of six words BERT sees at the fourth", [1, 2, 3, 4, 5, 6],
          lambda: words_that_matter(causal=False)),
    Claim(1463, "\"bank\" by BERT at the river and with money", "different vectors",
          lambda: two_vectors("I went to the river bank", "I deposited money at the bank.")),
    *[Claim(1465, f"BERT: gap of {word!r} from sense to sense", "above 0",
            lambda word=word: bert_gap(word)) for word in WORDS],
    Claim(1524, "what a vector depends on, beside its sentence", "the larger document",
          the_rest_of_the_document, note="Nothing outside the input counts: 512 tokens at most in "
          "BERT. Two sentences of a document see each other only where they are one input."),
    Claim(1568, "\"bank\" by BERT, which approves a loan and which a boat reaches",
          "different vectors",
          lambda: two_vectors("the bank approved the loan", "the boat reached the river bank")),
    Claim(1571, "what the loss of masked language modelling counts", "the hidden tokens",
          what_counts_for_mlm),
    Claim(1571, "of ten tokens to be predicted, those that the input still shows", 0,
          shown_at_hidden_places, 0, note="One in ten stays as it is, one becomes another token, "
          "so that use, which has no [MASK], is not unlike training: what P is given is not quite "
          "x without M."),
]
