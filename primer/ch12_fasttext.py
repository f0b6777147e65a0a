r"""Chapter 12. fastText: a word is a bag of its n-grams, so that words never seen have vectors too.

    G_w  = runs of minn to maxn letters of "<w>", but < or > alone                          (12.1)
    f    = 2166136261;  f <- (f xor b) 16777619 mod 2^32 for each byte b      FNV-1a        (12.2)
    v_w  = 1/|R_w| sum_{r in R_w} z_r,  R_w = w's own row, if any, and V + f(g) mod B       (12.3)
    L    = sum_t sum_{j in C_t} l(v_{w_j}, w_t, N_t),  l of (8.1)              skip-gram    (12.4)
    dL/dz_r = dL/dh / |R|;  CBOW has for h the mean over all rows of C_t: one prediction     (12.5)
    p(l | x) = exp(<a_l, x>) / sum_m exp(<a_m, x>),  x the mean of a text's rows; L = -ln p (12.6)

Symbols     V words, d dimensions, B buckets; minn, maxn lengths in letters (code points); Z: (V +
            B, d) a row z_r for each word, then for each bucket; R or `rows`, of item i
            rows[indptr[i]:indptr[i + 1]], equal ones counted as often as they come; U: (V, d)
            output vectors; T places, w_t a word, C_t its neighbours, N_t its K noise words, c
            window; H: (n, d) means, dH dL/dH; A: (L, d) a row a_l for each of L labels; N: (L - 1,
            d) inner nodes of chapter 7's tree of labels.
Sources     the text, lines 1347-1385, 1558-1560; Bojanowski et al. 2017 (arXiv:1607.04606), sec. 3;
            Joulin et al. 2016 (arXiv:1607.01759), sec. 2; fastText's dictionary.cc, model.cc.
We differ   Line 1560 sums, the library averages; two n-grams of line 1365 are too long; the
            classifier is Joulin's, not Bojanowski's (1349).  fastText's hash takes bytes from 128
            on as signed: they flip the upper 24 bits too.  Its word steps move each row by all of
            dL/dh, |R| times (12.5), which its rates are made for; so do ours.  Its word predicts
            its neighbours, each against noise of its own, count^0.5; ours share a place's, so that
            they predict the word (8.6).  It gathers and moves rows for each pair; our v moves as
            their mean would, and they follow, once: the same but for rows that come twice.
Relations   maxn = 0: chapter 8.  A text is to its words as a word is to its n-grams: one mean,
            (12.3), in both.  (12.6) is chapter 6's CBOW with labels.
Kernels     kernels/ch12_fasttext_numba.py, ch12_fasttext_rows_numba.py, ch12_fasttext.cu.
"""
import re
from itertools import chain, pairwise

import numpy as np
from tqdm import tqdm

from primer import ch06_word2vec, ch07_hierarchical_softmax, ch08_negative_sampling
from primer.ch01_geometry import as_labels, as_rows
from primer.ch06_word2vec import check_corpus, context_windows, falling_rates, softmax
from primer.ch07_hierarchical_softmax import log_probabilities
from primer.ch08_negative_sampling import alias_table, block_bounds, draw_block, falling_rate

LETTER = re.compile(rb"[^\x80-\xbf][\x80-\xbf]*")       # a byte, and those of UTF-8 that go on
NUMBER = 116049371                                      # by which fastText mixes hashes of words
END_OF_LINE = "</s>"                                    # a word without n-grams


def ngrams(word, minn=3, maxn=6):
    """G_w (12.1), by first letter, then length.  str -> list of str."""
    letters = LETTER.findall(f"<{word}>".encode("utf-8", "surrogateescape"))
    return [b"".join(letters[i:i + n]).decode("utf-8", "surrogateescape")
            for i in range(len(letters)) for n in range(max(minn, 1), maxn + 1)
            if i + n <= len(letters) and not (n == 1 and i in (0, len(letters) - 1))]


def fnv1a(text):
    """f (12.2), bytes from 128 on taken as signed, as fastText does.  str -> int below 2^32."""
    number = 2166136261
    for byte in text.encode("utf-8", "surrogateescape"):
        signed = byte if byte < 128 else byte | 0xFFFFFF00
        number = (number ^ signed) * 16777619 & 0xFFFFFFFF                        # eq. 12.2
    return number


def ngram_buckets(word, minn, maxn, bucket):
    """f(g) mod B (12.2) of each n-gram g (12.1), in order; none of </s>.  str -> list of int."""
    return [] if word == END_OF_LINE else [fnv1a(g) % bucket for g in ngrams(word, minn, maxn)]


def word_ngram_buckets(words, n, bucket):
    """Hashes of the runs of 2 to n words, as fastText mixes them, mod B.  -> list of int."""
    hashes = [(fnv1a(w) ^ 1 << 31) - (1 << 31) for w in words]         # as signed numbers
    found = []
    for i, mixed in enumerate(hashes):
        for other in hashes[i + 1:i + n]:
            mixed = (mixed * NUMBER + other) % 2**64
            found.append(mixed % bucket)
    return found


def text_rows(texts, vocabulary, minn=0, maxn=0, bucket=0, word_ngrams=1):
    """R (12.3) of each text: rows of its known words, all words' n-grams, runs of 2 to word_ngrams
    words.  n lists, dict -> indptr (n + 1,), rows.  ValueError for n-grams without buckets."""
    if minn < 0 or maxn < 0 or bucket < (maxn >= max(minn, 1) or word_ngrams > 1):
        raise ValueError(f"minn, maxn, bucket: {minn}, {maxn}, {bucket} cannot hold n-grams")
    V, out = len(vocabulary), []
    for words in texts:
        out.append([vocabulary[w] for w in words if w in vocabulary])
        out[-1] += [V + b for w in words for b in ngram_buckets(w, minn, maxn, bucket)]
        out[-1] += [V + b for b in word_ngram_buckets(words, word_ngrams, bucket)]
    return np.cumsum([0, *map(len, out)], dtype=np.int64), np.array([*chain(*out)], np.int32)


def subword_rows(words, minn=3, maxn=6, bucket=2_000_000):
    """R_w (12.3) of each word of a vocabulary: a text of one word.  V str -> as text_rows."""
    return text_rows([[w] for w in words], {w: i for i, w in enumerate(words)}, minn, maxn, bucket)


def mean_rows(Z, indptr, rows):
    """The mean of each item's rows (12.3), or zeros.  (rows, d), (n + 1,), (total,) -> H (n, d).
    Z may be a quantised matrix."""
    size = np.diff(indptr)                                                        # (n,)
    picked = Z[rows]                                                              # (total, d)
    H = np.zeros((len(size), Z.shape[1]), picked.dtype)                           # (n, d)
    np.add.at(H, np.repeat(np.arange(len(size)), size), picked)
    return H * (1 / np.maximum(size, 1)).astype(H.dtype)[:, None]                 # eq. 12.3


def mean_rows_backward(dH, indptr, rows, n):
    """(12.5) of a table of n rows: a row's share, each time it stands there.  -> dZ (n, d)."""
    size = np.maximum(np.diff(indptr), 1)                                         # (items,)
    dZ = np.zeros((n, dH.shape[1]), dH.dtype)                                     # (n, d)
    np.add.at(dZ, rows, np.repeat(dH / size[:, None], np.diff(indptr), axis=0))   # eq. 12.5
    return dZ


def word_vector(Z, word, vocabulary, minn=3, maxn=6):
    """v_w (12.3) of any string.  (V + B, d) -> (d,).  Raises ValueError for one without a row."""
    indptr, rows = text_rows([[word]], vocabulary, minn, maxn, Z.shape[0] - len(vocabulary))
    if not len(rows):
        raise ValueError(f"word: {word!r} is unknown and has no n-gram of {minn} to {maxn} letters")
    return mean_rows(Z, indptr, rows)[0]                                          # (d,)


def place_loss(H, U, words):
    """(12.4): each of m vectors predicts the first word, the others are noise.  (m, d), (V, d),
    (K + 1,) -> loss, dL/dH (m, d), dL/dU[words] (K + 1, d)."""
    losses, G = ch08_negative_sampling.judge(H @ U[words].T, words[None])         # (m, K + 1)
    return float(losses.sum()), G @ U[words], G.T @ H


def skipgram_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    """Its neighbours' v predict each word (12.4); Z and U change in place.  A v is taken as the
    widest window reaches its word, and its rows follow it as the window leaves.  (V + B, d),
    (V, d), (T,), (documents + 1,), (T,), (T,), (T, K), (indptr, rows) -> sum of losses, pairs."""
    tokens, starts, windows, rates, negatives, own = _check(
        Z, U, tokens, starts, windows, rates, negatives, ngrams)
    ends, near = context_windows(np.arange(len(tokens)), starts, windows)         # places
    H = np.zeros((len(tokens), Z.shape[1]), Z.dtype)                              # (T, d)
    reach, old, total = min(windows.max(initial=0), len(tokens)), H.copy(), 0.0
    for first, stop in pairwise(starts):
        for t in range(first - reach, stop + reach):
            new, last = t + reach, t - reach
            if new < stop:
                H[new] = old[new] = Z[own[tokens[new]]].mean(axis=0)              # eq. 12.3
            if first <= t < stop:
                place, words = near[ends[t]:ends[t + 1]], np.append(tokens[t], negatives[t])
                loss, dH, dU = place_loss(H[place], U, words)
                H[place] -= rates[t] * dH                                         # eq. 8.6
                np.subtract.at(U, words, rates[t] * dU)
                total += loss
            if last >= first:                               # undivided, as fastText
                np.subtract.at(Z, own[tokens[last]], old[last] - H[last])
    return total, len(near)


def cbow_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    """The mean of all rows of its neighbours predicts each word.  As skipgram_block -> sum of
    losses, places with neighbours."""
    tokens, starts, windows, rates, negatives, own = _check(
        Z, U, tokens, starts, windows, rates, negatives, ngrams)
    (ends, near), total = context_windows(tokens, starts, windows), 0.0
    for t in (places := np.flatnonzero(np.diff(ends))):
        group = np.concatenate([own[w] for w in near[ends[t]:ends[t + 1]]])       # (|R|,)
        words = np.append(tokens[t], negatives[t])                                # (K + 1,)
        loss, dh, dU = place_loss(Z[group].mean(axis=0)[None], U, words)          # eq. 12.5
        np.subtract.at(Z, group, rates[t] * dh[0])
        np.subtract.at(U, words, rates[t] * dU)
        total += loss
    return total, len(places)


def _check(*arguments):
    *checked, (indptr, rows) = check_block(*arguments)
    return *checked, np.split(rows, indptr[1:-1])


def check_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    """-> all from tokens on.  Errors as check_tables, check_corpus, check_negatives, check_rows."""
    rates = check_tables(Z, U, rates)
    tokens, starts, windows = check_corpus(tokens, starts, windows)
    as_labels(tokens, "tokens", len(U), len(rates))
    negatives = ch08_negative_sampling.check_negatives(negatives, len(tokens), len(U))
    return tokens, starts, windows, rates, negatives, check_rows(*ngrams, len(Z), len(U))


def check_tables(Z, A, rates):
    """-> rates (n,) of their dtype.  Raises ValueError for other than two float arrays of rows."""
    for name, X in (("Z", Z), ("outputs", A)):
        if not isinstance(X, np.ndarray) or X.ndim != 2 or not X.size or X.dtype.kind != "f" or (
                (X.dtype, X.shape[1]) != (Z.dtype, Z.shape[1])):
            raise ValueError(f"{name}: expected an array of float rows, as long as Z's")
    return as_rows(np.reshape(rates, (-1, 1)), "rates")[:, 0].astype(Z.dtype)     # (n,)


def check_rows(indptr, rows, limit, n):
    """-> indptr (n + 1,) int64, rows int32.  Raises ValueError for an item without."""
    indptr, rows = np.asarray(indptr, np.int64), np.asarray(rows)
    if np.shape(indptr) != (n + 1,) or indptr[0] or indptr[n] != len(rows) or (
            np.diff(indptr) < 1).any():
        raise ValueError(f"indptr: expected 0 to {len(rows)}, a row or more for each of {n} items")
    as_labels(rows, "rows", limit)
    return indptr, rows.astype(np.int32, copy=False)


def initial_vectors(V, bucket, d, rng, outputs=None):
    """As fastText starts: Z uniform within 1 / d of 0, the outputs, V or as many as said, zero.
    -> Z (V + bucket, d), (outputs, d), float32.  Raises ValueError for V or d below 1."""
    if min(V, d) < 1 or bucket < 0:
        raise ValueError(f"V, d, bucket: expected 1, 1, 0 or more, got {V}, {d}, {bucket}")
    Z = rng.random((V + bucket, d), np.float32)                                   # (V + B, d)
    Z *= np.float32(2 / d)
    return np.subtract(Z, np.float32(1 / d), out=Z), np.zeros((outputs or V, d), np.float32)


def train_vectors(run_block, tokens, starts, Z, U, ngrams, c, K, epochs, seed, rate=0.05,
                  sample=1e-4, power=0.5, size=100_000, draws=None):
    """Skip-gram or CBOW by run_block, of about `size` tokens each; Z and U change in place.  ->
    history (epochs,): mean loss, as it went.  draws: a twin of chapter 8, or None: the chapter."""
    counts = np.bincount(tokens, minlength=len(U))                                # (V,)
    keep = ch08_negative_sampling.keep_probability_word2vec_c(counts, sample)    # (V,)
    table = alias_table(ch08_negative_sampling.noise_distribution(counts, power))
    runs, sums = list(pairwise(block_bounds(starts, size))), np.zeros((epochs, 2))
    for epoch, block in tqdm(list(np.ndindex(epochs, len(runs))), "blocks", disable=None):
        own = starts[runs[block][0]:runs[block][1] + 1]                           # of documents
        *drawn, negatives, places = draw_block(
            tokens[own[0]:own[-1]], own - own[0], keep, table, c, K, (seed, epoch, block), draws)
        done = (epoch + (own[0] + places) / len(tokens)) / epochs                 # (T',)
        sums[epoch] += run_block(Z, U, *drawn, falling_rate(rate, done), negatives, ngrams)
    return _mean(sums, rate)


def _mean(sums, rate):
    if not sums[:, 1].all():
        raise ValueError("tokens: no word has a neighbour")
    if not np.isfinite(sums).all():
        raise ValueError(f"rate: with {rate} the vectors grow without bound; take less")
    return sums[:, 0] / sums[:, 1]


def classifier_loss_grad(Z, A, indptr, rows, labels, g=1.0):
    """Mean of L (12.6) over n texts and its gradient, times g.  -> loss, dZ, dA."""
    losses, cache = ch06_word2vec.predict(mean_rows(Z, indptr, rows), A, labels)
    dH, dA = ch06_word2vec.predict_backward(g / len(losses), cache)
    return g * losses.mean(), mean_rows_backward(dH, indptr, rows, len(Z)), dA


def classifier_block(Z, A, indptr, rows, labels, order, rates):
    """A step for text order[i] at rates[i], one after another; Z and A change in place.  (rows, d),
    (L, d), (n + 1,), (total,), (n,), (m,), (m,) -> sum of losses, m."""
    return _classify(ch06_word2vec.predict_step, Z, A, indptr, rows, labels, order, rates)


def hierarchical_block(Z, N, indptr, rows, labels, order, rates, tree):
    """The same with chapter 7's tree of labels in place of the softmax.  -> sum of losses, m."""
    def step(h, N, label, rate):
        _, nodes, codes = ch07_hierarchical_softmax.paths_of([label], tree)
        loss, dh, dN = ch07_hierarchical_softmax.place_loss_grad(h[None], N[nodes], codes)
        N[nodes] -= rate * dN
        return loss, dh
    return _classify(step, Z, N, indptr, rows, labels, order, rates, tree)


def _classify(step, Z, A, *arguments):
    (indptr, rows, labels, order, rates), total = check_texts(Z, A, *arguments), 0.0
    for text, rate in zip(order, rates, strict=True):
        own = rows[indptr[text]:indptr[text + 1]]                                 # (|R|,)
        loss, dh = step(Z[own].mean(axis=0), A, labels[text], rate)
        np.subtract.at(Z, own, np.reshape(rate / len(own) * dh, -1))              # eq. 12.5
        total += float(loss)
    return total, len(order)


def check_texts(Z, A, indptr, rows, labels, order, rates, tree=None):
    """-> all from indptr to rates.  Raises ValueError as check_tables, for N of another tree."""
    rates, L = check_tables(Z, A, rates), len(A) if tree is None else len(tree.indptr) - 1
    if tree is not None and len(A) != L - 1:
        raise ValueError(f"N: expected {L - 1} rows for {L} labels, got {len(A)}")
    labels = as_labels(labels, "labels", L)
    return (*check_rows(indptr, rows, len(Z), len(labels)), labels,
            as_labels(order, "order", len(labels), len(rates)), rates)


def train_classifier(run_block, Z, A, indptr, rows, labels, epochs, seed, rate=0.1, **tree):
    """All texts in a new order an epoch, by classifier_block, or hierarchical_block with its tree;
    Z and A, or N, change in place.  -> history (epochs,): mean loss.  Errors as the blocks."""
    history, n = np.zeros((epochs, 2)), len(labels)
    for epoch in tqdm(range(epochs), "epochs", disable=None):
        order = np.random.default_rng([seed, epoch]).permutation(n)               # (n,)
        history[epoch] = run_block(Z, A, indptr, rows, labels, order,
                                   falling_rates(rate, epoch, epochs, n), **tree)
    return _mean(history, rate)


def classify(Z, A, indptr, rows):
    """Probability of each label (12.6).  -> (n, L).  Z and A may be quantised."""
    return softmax(mean_rows(Z, indptr, rows) @ A[:].T)                           # (n, L)


def classify_hierarchical(Z, N, indptr, rows, tree):
    """The same from the tree.  -> (n, L).  fastText's files hold -N, and one row more."""
    return np.exp(log_probabilities(mean_rows(Z, indptr, rows), N, tree))         # (n, L)
