r"""Chapter 10. Factorization: count which words stand together, weigh the counts, cut the matrix.

    C_wc      = sum over tokens i, j of one document, 1 <= |i - j| <= window,
                of [w_i = w][w_j = c]              (or of 1 / |i - j| each)                (10.1)
    PMI(w, c) = ln( C_wc / (C_w P(c)) ),   P(c) = C_c^a / sum_c' C_c'^a                    (10.2)
    l(x)      = -C_wc ln sig(x) - K C_w P(c) ln sig(-x),   least at x = PMI(w, c) - ln K   (10.3)
    M         ~ U diag(S) Vt, vectors U S^p and V S^p;   no matrix of rank d is nearer     (10.4)
    q         -> q V S^(p - 1)                     which takes a row of M to its U S^p     (10.5)
    p(z_i = t | all others)  ~  (n_jt + alpha) (n_tw + beta) / (n_t + V beta)              (10.6)

Symbols     V words, n documents, N tokens, w a word, c its context, w_i the word at place i;
            C: CSR (V, V) counts, C_w, C_c row and column sums; a the contexts' exponent (1 plain,
            0.75 smoothed), K negatives, sig the sigmoid, x = <v_w, u_c>.  M, X, Q: CSR (m, V);
            B: (V, columns); d dimensions kept, U: (m, d), S: (d,), Vt: (d, V), in (10.4, 5) V its
            transpose, p an exponent.  T topics, z_i the topic of token i; n_jt, n_tw, n_t tokens
            of topic t in document j, of word w, in all; k words wanted.
Sources     the text, lines 157-167, 1054-1127; Church and Hanks 1990 (PMI); Levy and Goldberg 2014
            (10.3); Levy, Goldberg and Dagan 2015 (a, p; doi:10.1162/tacl_a_00134); Halko,
            Martinsson and Tropp 2011, algorithm 4.4 (doi:10.1137/090771806); Deerwester et al.
            1990 (LSA); Blei, Ng and Jordan 2003 (LDA); Griffiths and Steyvers 2004 (10.6);
We differ   The text calls LSA sparse, its width fixed by the vocabulary (line 1090): U S^p is dense
            and d is free (line 1073).  Counting and predicting are no opposites (line 1089): by
            (10.3) they share an optimum.  <v_w, u_c> = PMI - ln K (line 1100) needs a = 1, d large
            enough and a pair that was seen (unseen: -inf; here nothing is stored); with
            word2vec's a = 0.75 it is the smoothed PMI (line 1111).
Relations   PMI = 0 where C has rank 1.  cooccurrence_inverse_distance is GloVe's count (chapter
            11); P(c) is word2vec's noise (chapter 8); (10.4) of centred columns is PCA (chapter 1).
Kernels     kernels/ch10_factorization_numba.py, kernels/ch10_factorization.cu.
"""
from typing import NamedTuple

import numpy as np

from primer.ch03_bow import CSR, csr_dot, row_of_entry, transpose
from primer.ch04_tfidf import row_sums, tfidf


def flatten(documents, V, window=1):
    """All tokens in a row.  n arrays of word ids -> words (N,) int64, owners (N,) int64.  Raises
    ValueError for no document, an id not from 0 to V - 1, or a window not 1, 2, 3, ..."""
    if not (window >= 1 and window % 1 == 0):
        raise ValueError(f"window: expected a whole number of at least 1, got {window}")
    documents = [np.ravel(d) for d in documents]
    if not documents:
        raise ValueError("documents: expected at least one document, got none")
    ids = np.concatenate(documents)                                               # (N,)
    owners = np.repeat(np.arange(len(documents)), [len(d) for d in documents])    # (N,)
    bad = np.flatnonzero(~((ids >= 0) & (ids < V) & (ids % 1 == 0)))
    if bad.size:
        raise ValueError(f"documents[{owners[bad[0]]}]: expected word ids from 0 to {V - 1}, got "
                         f"{ids[bad[0]]}")
    return ids.astype(np.int64), owners


def count_by_distance(documents, V, window):
    """How often c stands `distance` tokens before or behind w, in one document.  n arrays of ids
    -> cells w V + c, distances, counts: (entries,) each, rising.  ValueError as flatten."""
    words, owners = flatten(documents, V, window)
    window, keys = min(int(window), max(len(words) - 1, 1)), [np.empty(0, np.int64)]
    for distance in range(1, window + 1):
        here, there = slice(len(words) - distance), slice(distance, len(words))
        same = owners[here] == owners[there]                                      # (pairs,)
        left, right = words[here][same], words[there][same]
        keys += [(w * V + c) * (window + 1) + distance for w, c in ((left, right), (right, left))]
    keys, counts = np.unique(np.concatenate(keys), return_counts=True)            # (entries,)
    return *np.divmod(keys, window + 1), counts


def add_up(cells, values, V):
    """Sum the values of equal cells, in their order -> CSR (V, V) of the values' type."""
    cells, which = np.unique(cells, return_inverse=True)                          # (nnz,)
    data = np.bincount(which, values, minlength=cells.size).astype(values.dtype)  # (nnz,)
    indptr = np.searchsorted(cells, np.arange(V + 1) * V).astype(np.int64)        # (V + 1,)
    return CSR(indptr, (cells % max(V, 1)).astype(np.int32), data, (V, V))        # eq. 10.1


def cooccurrence(documents, V, window):
    """A neighbour counts 1 (10.1), in its document.  n arrays of ids -> CSR (V, V) int64."""
    cells, _, counts = count_by_distance(documents, V, window)
    return add_up(cells, counts, V)


def cooccurrence_inverse_distance(documents, V, window):
    """A neighbour counts 1 / distance (10.1).  n arrays of ids -> CSR (V, V) float64."""
    cells, distances, counts = count_by_distance(documents, V, window)
    return add_up(cells, counts / distances, V)


def marginals(C):
    """Row sums C_w, column sums C_c.  CSR (V, V) -> (V,), (V,) float64.  A word without any has 0.
    Raises ValueError if C holds nothing, or a stored count that is not above 0 and finite."""
    if not C.data.size:
        raise ValueError("C: expected counts, got none: no two words stand together")
    if not (np.isfinite(C.data).all() and C.data.min() > 0):
        raise ValueError(f"C: expected finite stored counts above 0, got {C.data.min()}")
    return row_sums(C), np.bincount(C.indices, C.data, minlength=C.shape[1])      # (V,), (V,)


def context_distribution(C, context_power=1.0):
    """P(c) of (10.2); an exponent below 1 favours rare contexts.  CSR (V, V) -> (V,), sum 1."""
    weight = marginals(C)[1] ** check_positive(context_power, "context_power")    # (V,)
    return weight / weight.sum()


def check_positive(value, name):
    """A finite number above 0 -> itself; else ValueError."""
    if not 0 < value < np.inf:
        raise ValueError(f"{name}: expected a finite number above 0, got {value}")
    return value


def expected_counts(C, context_power=1.0):
    """C_w P(c) of each seen pair: its count if words and contexts met by chance.  CSR -> (nnz,)."""
    return marginals(C)[0][row_of_entry(C)] * context_distribution(C, context_power)[C.indices]


def pmi(C, context_power=1.0):
    """PMI of each seen pair (10.2), in nats.  CSR (V, V) -> CSR (V, V).  Errors: marginals'."""
    return C._replace(data=np.log(C.data / expected_counts(C, context_power)))    # eq. 10.2


def shifted_pmi(C, negatives, context_power=1.0):
    """PMI - ln K of each seen pair (10.3).  CSR (V, V) -> CSR (V, V).  ValueError for K <= 0."""
    M = pmi(C, context_power)
    return M._replace(data=M.data - np.log(check_positive(negatives, "negatives")))    # (nnz,)


def ppmi(C, negatives=1, context_power=1.0):
    """max(0, PMI - ln K), positive PMI for K = 1.  CSR (V, V) -> CSR (V, V) of what is above 0."""
    M = shifted_pmi(C, negatives, context_power)
    value = np.maximum(0, M.data)                                                 # (nnz,)
    kept = value != 0                                                             # (nnz,)
    indptr = np.concatenate([[0], np.cumsum(kept)])[M.indptr].astype(np.int64)    # (V + 1,)
    return CSR(indptr, M.indices[kept], value[kept], M.shape)


def sgns_cell_loss(scores, seen, drawn):
    """l(x) (10.3): scores x, seen C_wc, drawn K C_w P(c), (nnz,) each -> (nnz,)."""
    return seen * np.logaddexp(0, -scores) + drawn * np.logaddexp(0, scores)      # (nnz,)  eq. 10.3


def sgns_cell_loss_grad(scores, seen, drawn, g=1.0):
    """g dl/dx = g (drawn sig(x) - seen sig(-x)).  (nnz,) each -> (nnz,)."""
    up, down = (np.exp(-np.logaddexp(0, x)) for x in (-scores, scores))    # (nnz,)  sig(+-x)
    return g * (drawn * up - seen * down)


def sgns_cell_optimum(C, negatives, context_power=1.0):
    """Where the loss of SGNS on each seen pair is least, by bisection (10.3).  CSR -> CSR (V, V).

        dl/dx = K C_w P(c) sig(x) - C_wc sig(-x) = 0,   and sig(x) / sig(-x) = exp(x):
        exp(x) = C_wc / (K C_w P(c)),   x = PMI(w, c) - ln K
    The search does not use that: dl/dx rises, so its sign says where to go on.
    Raises ValueError for K <= 0 and as marginals."""
    drawn = check_positive(negatives, "negatives") * expected_counts(C, context_power)
    low, high = np.full(drawn.size, -64.0), np.full(drawn.size, 64.0)             # (nnz,)
    for _ in range(60):
        middle = (low + high) / 2
        falls = sgns_cell_loss_grad(middle, C.data, drawn) < 0                    # (nnz,)
        low, high = np.where(falls, middle, low), np.where(falls, high, middle)
    return C._replace(data=(low + high) / 2)


class SVD(NamedTuple):
    """U: (m, d), Vt: (d, V) with orthonormal columns and rows; S: (d,), falling, above 0."""
    U: np.ndarray
    S: np.ndarray
    Vt: np.ndarray


def csr_matmul(X, B):
    """Product with a dense matrix.  CSR (m, V), (V, columns) -> (m, columns).  Raises ValueError
    if B has another number of rows."""
    B = np.asarray(B, np.float64)
    if B.ndim != 2 or len(B) != X.shape[1]:
        raise ValueError(f"B: expected shape ({X.shape[1]}, columns), got {B.shape}")
    columns = [csr_dot(X, b) for b in B.T]
    return np.stack(columns, axis=1) if columns else np.empty((X.shape[0], 0))    # (m, columns)


def truncated_svd(M, d, rng, oversampling=10, iterations=20, product=csr_matmul):
    """The d largest singular triplets (10.4).  CSR (m, V) -> SVD.

        Q = basis of M G, G: (V, l) normal numbers, l = d + oversampling
        repeat: Q = basis of M (basis of M' Q)           it turns to the largest directions
        Q' M = W diag(S) Vt, which is small;  U = Q W;  keep d;  largest entry of a row of Vt > 0
    Exact if l >= rank; else direction i is off by about (S_l+1 / S_i)^(2 iterations + 1).
    Raises ValueError for NaN and for d below 1 or above the rank."""
    if not np.isfinite(M.data).all():
        raise ValueError("M: expected finite numbers, got NaN or infinity")
    if not 1 <= d <= min(M.shape):
        raise ValueError(f"d: expected 1 to min{M.shape} = {min(M.shape)} dimensions, got {d}")
    Mt, l = transpose(M), min(d + max(oversampling, 0), *M.shape)
    Q = np.linalg.qr(product(M, rng.standard_normal((M.shape[1], l))))[0]         # (m, l)
    for _ in range(iterations):
        Q = np.linalg.qr(product(M, np.linalg.qr(product(Mt, Q))[0]))[0]          # (m, l)
    W, S, Vt = np.linalg.svd(product(Mt, Q).T, full_matrices=False)               # eq. 10.4
    rank = int((max(M.shape) * np.finfo(float).eps * S[0] < S).sum())
    if d > rank:
        raise ValueError(f"d: expected at most the rank of M, {rank}, got {d}")
    signs = np.sign(Vt[np.arange(d), np.abs(Vt[:d]).argmax(axis=1)])              # (d,)
    return SVD(Q @ W[:, :d] * signs, S[:d], Vt[:d] * signs[:, None])


def embed(svd, power=0.5):
    """Vectors of rows, U S^p, and of columns, V S^p (10.4).  SVD -> (m, d), (V, d)."""
    return svd.U * svd.S ** power, svd.Vt.T * svd.S ** power                      # (m, d), (V, d)


def fold_in(Q, svd, power=0.5):
    """Vectors of rows that M did not have (10.5).  CSR (m, V) -> (m, d).  Errors: csr_matmul's."""
    return csr_matmul(Q, svd.Vt.T) * svd.S ** (power - 1)                         # (m, d)  eq. 10.5


def lsa(X, d, rng, power=0.5, iterations=20, product=csr_matmul):
    """Documents and words in one space: (10.4) of chapter 4's TF-IDF.  CSR (n, V) of counts ->
    documents (n, d), words (V, d), SVD.  p = 0.5: dot products are TF-IDF, cut to rank d."""
    svd = truncated_svd(tfidf(X), d, rng, iterations=iterations, product=product)
    return *embed(svd, power), svd


class Topics(NamedTuple):
    """topics: (N,) int64, z; by_document: (n, T) int64, n_jt; by_word: (T, V) int64, n_tw."""
    topics: np.ndarray
    by_document: np.ndarray
    by_word: np.ndarray


def count_topics(topics, words, owners, shape):
    """Tokens of each topic, by document and by word.  (N,) each, shape (n, T, V) -> Topics."""
    n, T, V = shape
    by_document, by_word = np.zeros((n, T), np.int64), np.zeros((T, V), np.int64)
    np.add.at(by_document, (owners, topics), 1)                                   # (n, T)
    np.add.at(by_word, (topics, words), 1)                                        # (T, V)
    return Topics(np.array(topics, np.int64), by_document, by_word)


def check_sweep(state, words, owners, alpha, beta, uniforms):
    """The arguments of a sweep -> None.  Raises ValueError for other lengths, alpha, beta <= 0."""
    check_positive(alpha, "alpha"), check_positive(beta, "beta")
    sizes = [len(part) for part in (state.topics, words, owners, uniforms)]
    if len(set(sizes)) > 1:
        raise ValueError(f"expected one topic, word, owner and uniform a token, got {sizes}")


def gibbs_sweep(state, words, owners, alpha, beta, uniforms):
    """Draw each token's topic anew, given all others (10.6).  Topics, (N,) three times -> Topics.
    uniforms: a number of [0, 1) a token.  Errors: check_sweep's."""
    check_sweep(state, words, owners, alpha, beta, uniforms)
    topics, by_document, by_word = (part.copy() for part in state)
    totals, V = by_word.sum(axis=1), by_word.shape[1]                             # (T,)
    for i, (w, j, u) in enumerate(zip(words, owners, uniforms, strict=True)):
        for counts in (by_document[j], by_word[:, w], totals):
            counts[topics[i]] -= 1
        sums = np.cumsum((by_document[j] + alpha) * (by_word[:, w] + beta) / (totals + V * beta))
        topics[i] = min(np.searchsorted(sums, u * sums[-1], "right"), len(sums) - 1)
        for counts in (by_document[j], by_word[:, w], totals):
            counts[topics[i]] += 1
    return Topics(topics, by_document, by_word)


def gibbs_sweep_by_document(state, words, owners, alpha, beta, uniforms):
    """(10.6) for all documents at once, each seeing the others as they were before the sweep:
    distributed LDA (Newman et al. 2009), near it if n_tw are large.  As gibbs_sweep -> Topics."""
    check_sweep(state, words, owners, alpha, beta, uniforms)
    topics = state.topics.copy()                                                  # (N,)
    for j in np.unique(owners):
        own = np.flatnonzero(owners == j)                                         # (tokens of j,)
        alone = state._replace(topics=state.topics[own])
        topics[own] = gibbs_sweep(alone, words[own], owners[own], alpha, beta, uniforms[own]).topics
    return count_topics(topics, words, owners, (len(state.by_document), *state.by_word.shape))


def mixtures(state, alpha, beta):
    """Topics of documents, words of topics; rows sum to 1.  Topics -> theta (n, T), phi (T, V)."""
    theta, phi = state.by_document + alpha, state.by_word + beta
    return theta / theta.sum(axis=1, keepdims=True), phi / phi.sum(axis=1, keepdims=True)


def perplexity(state, words, owners, alpha, beta):
    """exp(-mean ln p(word | document)): V for even guesses, 1 at best.  Topics -> float."""
    theta, phi = mixtures(state, alpha, beta)
    return float(np.exp(-np.log((theta[owners] * phi.T[words]).sum(axis=1)).mean()))


def top_words(phi, vocabulary, k):
    """The k likeliest words of each topic, ties by lower id.  (T, V) -> T lists of str."""
    names = list(vocabulary)
    return [[names[w] for w in np.argsort(-row, kind="stable")[:k]] for row in phi]


def lda(documents, V, T, rng, sweeps=100, alpha=0.1, beta=0.01, sweep=gibbs_sweep):
    """Fit T topics, from random ones.  n arrays of ids -> Topics.  ValueError: T < 1, no word."""
    words, owners = flatten(documents, V)
    if not (T >= 1 and len(words)):
        raise ValueError(f"expected at least 1 topic and 1 word, got {T} and {len(words)}")
    state = count_topics(rng.integers(T, size=len(words)), words, owners, (len(documents), T, V))
    for _ in range(sweeps):
        state = sweep(state, words, owners, alpha, beta, rng.random(len(words)))
    return state
