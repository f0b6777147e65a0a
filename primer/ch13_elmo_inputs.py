r"""Chapter 13. What goes in: a word's row of a table, or a vector made of its letters.

    y_m = tanh max_p a_pm,   a_pm = <F_m, (e_p, ..., e_{p+w-1})> + b_m     a filter, w wide (13.7)
    x   = t r + (1 - t) y,   t = sigma(y W_t + b_t),   r = max(0, y W_r + b_r)    highway   (13.8)

Symbols     n words of up to M letters (bytes and two marks), S: (n, M) their ids, 0 after the end;
            V words in a table, d dimensions; e numbers a letter, e_p those at place p, E: (259, e)
            of all letters; m: a filter, F: (w e, filters) those of one width with biases b:
            (filters,), d = filters of all widths together, Y: (n, d) what they found; W: (d, 2 d)
            of the highway; P dict of parameters by name; dX, dy: gradients dL/dX, dL/dy.
Sources     Kim, Jernite, Sontag and Rush 2016 (arXiv:1508.06615), sec. 2.2, 2.3; Peters et al. 2018
            (arXiv:1802.05365), sec. 3.4; Srivastava, Greff and Schmidhuber 2015 (arXiv:1505.00387).
We differ   The text does not say what goes in.  A window lies inside the word; in AllenNLP's ELMo
            the letters after the end have a vector and take part, so its vectors depend on M.  Only
            a word shorter than a filter is filled up, with zeros.  One highway, as in Kim et al.
            (Peters et al.: two), and no projection after it: as many filters as dimensions.
Relations   With t = 0 x is y; the order of the filters is no matter.  Chapter 12 sums vectors of
            n-grams; a filter scores each n-gram, and the best one counts.
Kernels     kernels/ch13_elmo_numba.py has scatter_add; each different word of a batch is spelt
            once, which costs little beside (13.1).
"""
import numpy as np

from primer.ch07_hierarchical_softmax import sigmoid

LETTERS = 259                         # nothing, begin, end, and the 256 bytes
BEGIN, END, FIRST = 1, 2, 3
WIDTHS = (1, 2, 3, 4, 5)


def scatter_add(dX, ids, V):
    """Gradient of the rows X = E[ids].  (..., d), (...) -> dE (V, d)."""
    dE = np.zeros((V, dX.shape[-1]), dX.dtype)                                    # (V, d)
    np.add.at(dE, ids, dX)                  # dE[ids] += dX keeps one of equal words only
    return dE


def input_vectors(P, ids, letters=None):
    """x of each word: its row, or, with the letters (V, M) of all words, spelt (13.8).  P, any
    shape -> (..., d), cache.  Raises ValueError for a word that has no row, or no letters."""
    V = len(P["tokens"] if letters is None else letters)
    if np.max(ids, initial=0) >= V:
        raise ValueError(f"ids: expected words from 0 to {V - 1}, got {np.max(ids)}")
    if letters is None:
        return P["tokens"][ids], (None, ids, len(P["tokens"]))
    words, places = np.unique(ids, return_inverse=True)                           # each once
    X, cache = spell(P, letters[words])                                           # (words, d)
    places = places.reshape(np.shape(ids))
    return X[places], (cache, places, len(words))


def input_vectors_backward(dX, cache, scatter=scatter_add):
    """(..., d) -> dict of gradients by name: "tokens", or those of the letters."""
    spelt, places, rows = cache
    dE = scatter(dX, places, rows)                                                # (V or words, d)
    return {"tokens": dE} if spelt is None else spell_backward(dE, spelt)


def spelling(words, most=24):
    """Letters of words: begin, UTF-8 bytes, end, then 0; long words are cut.  n str -> S (n, M).

    Raises ValueError for no word or most < 3.
    """
    if not len(words) or most < 3:
        raise ValueError(f"words, most: expected words and at least 3 letters, got {len(words)}, "
                         f"{most}")
    rows = [[BEGIN, *(FIRST + byte for byte in w.encode()[:most - 2]), END] for w in words]
    S = np.zeros((len(rows), max(*map(len, rows), max(WIDTHS))), np.int32)        # (n, M)
    for row, letters in zip(S, rows, strict=True):
        row[:len(letters)] = letters
    return S


def convolve(E, S, F, b):
    """Each filter's largest answer (13.7).  (259, e), (n, M), (w e, filters), (filters,) ->
    (n, filters), cache.  Raises ValueError where M is below w."""
    (n, M), e = S.shape, E.shape[1]
    w = len(F) // e
    if M < w:
        raise ValueError(f"S: expected at least {w} letters, as wide as the filters, got {M}")
    letters = np.where((S > 0)[..., None], E[S], 0)                               # (n, M, e)
    windows = np.lib.stride_tricks.sliding_window_view(letters, w, axis=1)
    windows = windows.swapaxes(2, 3).reshape(n, M - w + 1, w * e)                 # (n, M-w+1, w e)
    last = np.maximum((S > 0).sum(axis=1) - w, 0)                                 # (n,)
    inside = np.arange(M - w + 1) <= last[:, None]                                # (n, M-w+1)
    A = np.where(inside[..., None], windows @ F + b, -np.inf)                     # eq. 13.7
    best = A.argmax(axis=1)                                                       # (n, filters)
    y = np.tanh(A.max(axis=1))                                                    # (n, filters)
    return y, (E, S, F, windows, best, y)


def convolve_backward(dy, cache):
    """Only the window that won learns (13.7).  (n, filters) -> dE (259, e), dF (w e, filters),
    db (filters,)."""
    E, S, F, windows, best, y = cache
    n, e = len(S), E.shape[1]
    da, rows = dy * (1 - y ** 2), np.arange(n)[:, None]                           # (n, filters)
    dF = np.einsum("nm,nmk->km", da, windows[rows, best])                         # (w e, filters)
    dletters = np.zeros((*S.shape, e), E.dtype)                                   # (n, M, e)
    for j in range(len(F) // e):
        part = F[j * e:(j + 1) * e].T                                             # (filters, e)
        np.add.at(dletters, (rows, best + j), da[..., None] * part)
    dE = np.zeros_like(E)                                                         # (259, e)
    np.add.at(dE, S, np.where((S > 0)[..., None], dletters, 0))
    return dE, dF, da.sum(axis=0)


def highway(Y, W, b):
    """A part of each number goes through, the rest is rectified (13.8).  (n, d), (d, 2 d) of W_t
    and W_r, (2 d,) -> (n, d), cache."""
    t, r = np.split(Y @ W + b, 2, axis=1)                                         # (n, d) twice
    t, r = sigmoid(t), np.maximum(r, 0)
    return t * r + (1 - t) * Y, (Y, W, t, r)                                      # eq. 13.8


def highway_backward(dX, cache):
    """(13.8).  (n, d) -> dY (n, d), dW (d, 2 d), db (2 d,)."""
    Y, W, t, r = cache
    dZ = np.hstack([dX * (r - Y) * t * (1 - t), dX * t * (r > 0)])                # (n, 2 d)
    return dX * (1 - t) + dZ @ W.T, Y.T @ dZ, dZ.sum(axis=0)


def spell(P, S):
    """Vectors of words from their letters (13.7, 13.8).  P, (n, M) -> (n, d), cache."""
    found = [convolve(P["letters"], S, P[f"filters.{w}"], P[f"filters.{w}.b"])
             for w in WIDTHS if f"filters.{w}" in P]
    X, cache = highway(np.hstack([y for y, _ in found]), P["highway"], P["highway.b"])
    return X, ([own for _, own in found], cache)


def spell_backward(dX, cache):
    """(13.7, 13.8).  (n, d) -> dict of gradients by the names of P."""
    found, own = cache
    dY, dW, db = highway_backward(dX, own)
    grads, first = {"highway": dW, "highway.b": db, "letters": 0}, 0
    for one in found:
        E, _, F, *_ = one
        w, stop = len(F) // E.shape[1], first + F.shape[1]
        dE, dF, dbias = convolve_backward(dY[:, first:stop], one)
        grads["letters"] = grads["letters"] + dE
        grads[f"filters.{w}"], grads[f"filters.{w}.b"], first = dF, dbias, stop
    return grads


def initial_letters(d, e, rng, dtype=np.float32):
    """Parameters for d filters, widths 1 to 5, more for wide ones as in Kim et al.  -> dict.

    The highway starts with t near 0.12: it lets y through.  Raises ValueError for d below 15.
    """
    if d < sum(WIDTHS) or e < 1:
        raise ValueError(f"d, e: expected {sum(WIDTHS)} and 1 or more, got {d}, {e}")
    counts = [d * w // sum(WIDTHS) for w in WIDTHS]
    counts[-1] += d - sum(counts)
    P = {"letters": rng.normal(0, 0.5, (LETTERS, e)),
         "highway": rng.normal(0, d ** -0.5, (d, 2 * d)),
         "highway.b": np.repeat([-2.0, 0.0], d)}
    for w, count in zip(WIDTHS, counts, strict=True):
        P[f"filters.{w}"] = rng.normal(0, (w * e) ** -0.5, (w * e, count))
        P[f"filters.{w}.b"] = np.zeros(count)
    return {name: x.astype(dtype) for name, x in P.items()}
