"""Numba twin of primer/ch12_fasttext.py: hashes, means, steps of both trainers and the classifier.

Idea    A place gathers the rows of its n-grams once, for all its neighbours, and moves them once;
        fastText does both again for each neighbour.  Its noise words are shared too: their rows
        stay in the nearest cache.  Rows are summed four at a time: the sum is stored a quarter as
        often, and four misses of the cache are under way at once.  A pair's loss is the logarithm
        of one product.  A hash goes on from the shorter n-gram's; each word is hashed once.
Threads documents, or texts, are shared out.  Rows of Z, U and A are read and written without locks
        (Hogwild): with one thread the same arguments give the same bits, with several they do not,
        since a thread may lose what another has just written.  Means and hashes have no race.
Limits  No quantised matrices.  2,000,000 buckets of 100 float32 numbers are 800 MB, and a place
        touches some 20 of these rows at random.
"""
from itertools import pairwise

import numba
import numpy as np
from numba import njit

from kernels import in_threads, shares
from primer.ch12_fasttext import END_OF_LINE, NUMBER, check_block, check_texts
from primer.ch12_fasttext import text_rows as _check

FAST = {"nogil": True, "cache": True, "fastmath": {"reassoc", "contract"}}    # NaN as ever


@njit(**FAST)
def _mix(number, byte):
    return np.uint32((number ^ np.uint32(np.int8(byte))) * np.uint32(16777619))


@njit(**FAST)
def _ngrams(text, ends, plain, minn, maxn, bucket, grams, sizes, hashes):
    """Buckets of the n-grams of words, "<" and ">" around each, end to end in `text`."""
    at, first = 0, 0
    for w in range(ends.size):
        stop, before = ends[w], at
        number = np.uint32(2166136261)
        for p in range(first + 1, stop - 1):
            number = _mix(number, text[p])
        hashes[w] = np.int32(number)
        for i in range(first, stop if plain[w] else first):
            if i > first and text[i] & 0xC0 == 0x80:
                continue                                 # in the middle of a letter
            number, n, p = np.uint32(2166136261), 0, i
            while p < stop and n < maxn:
                number = _mix(number, text[p])
                p += 1
                if p < stop and text[p] & 0xC0 == 0x80:
                    continue
                n += 1
                if n >= minn and not (n == 1 and (i == first or p == stop)):
                    grams[at] = number % np.uint32(bucket)
                    at += 1
        sizes[w], first = at - before, stop


@njit(**FAST)
def _text_rows(ids, starts, own, grams, ends, hashes, V, bucket, n, rows, indptr):
    """Rows of texts of words `ids`, each with an own row or -1, and n-grams."""
    at = 0
    for text in range(starts.size - 1):
        first, stop = starts[text], starts[text + 1]
        for w in ids[first:stop]:
            rows[at] = own[w]
            at += own[w] >= 0
        for w in ids[first:stop]:
            for q in range(ends[w], ends[w + 1]):
                rows[at] = V + grams[q]
                at += 1
        for p in range(first, stop):
            mixed = np.uint64(hashes[ids[p]])
            for q in range(p + 1, min(p + n, stop)):
                mixed = mixed * np.uint64(NUMBER) + np.uint64(hashes[ids[q]])
                rows[at] = V + np.int64(mixed % np.uint64(bucket))
                at += 1
        indptr[text + 1] = at


def text_rows(texts, vocabulary, minn=0, maxn=0, bucket=0, word_ngrams=1):
    _check([], vocabulary, minn, maxn, bucket, word_ngrams)
    seen, bucket = {}, max(bucket, 1)
    ids = np.array([seen.setdefault(w, len(seen)) for words in texts for w in words], np.int64)
    pieces = [f"<{w}>".encode("utf-8", "surrogateescape") for w in seen]
    text, ends = np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces)])[1:]
    plain = np.array([w != END_OF_LINE for w in seen], np.bool_)
    own = np.array([vocabulary.get(w, -1) for w in seen], np.int64)
    grams = np.empty(max(maxn - max(minn, 1) + 1, 0) * text.size, np.int64)
    sizes, hashes = np.empty(len(seen), np.int64), np.empty(len(seen), np.int32)
    _ngrams(text, ends, plain, minn, maxn, bucket, grams, sizes, hashes)
    most = len(ids) * max(word_ngrams, 1) + sizes[ids].sum()
    indptr, rows = np.zeros(len(texts) + 1, np.int64), np.empty(most + 1, np.int32)
    _text_rows(ids, np.cumsum([0, *map(len, texts)], dtype=np.int64), own, grams,
               np.append(0, np.cumsum(sizes)), hashes, len(vocabulary), bucket, word_ngrams, rows,
               indptr)
    return indptr, rows[:indptr[-1]].copy()                            # (n + 1,), (total,)


def subword_rows(words, minn=3, maxn=6, bucket=2_000_000):
    return text_rows([[w] for w in words], {w: i for i, w in enumerate(words)}, minn, maxn, bucket)


@njit(**FAST)
def _sum(Z, rows, first, stop, weights, out):
    """The sum of weighted rows of Z, four at a time; one weight: it is for all."""
    out[:] = 0
    last, step = stop - (stop - first) % 4, weights.size > 1
    for p in range(first, last, 4):
        a, b, c, e = Z[rows[p]], Z[rows[p + 1]], Z[rows[p + 2]], Z[rows[p + 3]]
        q = step * (p - first)
        w, x, y, z = weights[q], weights[q + step], weights[q + 2 * step], weights[q + 3 * step]
        for k in range(out.size):
            out[k] += (w * a[k] + x * b[k]) + (y * c[k] + z * e[k])
    for p in range(last, stop):
        a, w = Z[rows[p]], weights[(p - first) * step]
        for k in range(out.size):
            out[k] += w * a[k]


@njit(**FAST)
def _mean(Z, rows, first, stop, share, h):                             # eq. 12.3
    share[0] = 1 / max(stop - first, 1)
    _sum(Z, rows, first, stop, share, h)


@njit(**FAST)
def _move(Z, rows, first, stop, dh):
    """Subtract dh from some rows of Z."""
    for p in range(first, stop):
        row = Z[rows[p]]
        for k in range(dh.size):
            row[k] -= dh[k]


@njit(**FAST)
def _score(h, U, ids, first, stop, s):
    """<u, h> of some rows of U."""
    last = stop - (stop - first) % 3
    for j in range(first, last, 3):                      # three at a time
        a, b, c, x, y, z = U[ids[j]], U[ids[j + 1]], U[ids[j + 2]], h[0] * 0, h[0] * 0, h[0] * 0
        for k in range(h.size):
            x += a[k] * h[k]
            y += b[k] * h[k]
            z += c[k] * h[k]
        s[j - first], s[j - first + 1], s[j - first + 2] = x, y, z
    for j in range(last, stop):
        a, x = U[ids[j]], h[0] * 0
        for k in range(h.size):
            x += a[k] * h[k]
        s[j - first] = x


@njit(**FAST)
def _step(h, U, ids, first, stop, ds, rate, dh):
    """dL/dh into dh, then the step of those rows of U: (12.5)."""
    _sum(U, ids, first, stop, ds, dh)
    for j in range(first, stop):
        row, w = U[ids[j]], rate * ds[j - first]
        for k in range(h.size):
            row[k] -= w * h[k]


@njit(**FAST)
def _mean_rows(Z, indptr, rows, H, first, stop):
    share = np.empty(1, Z.dtype)
    for i in range(first, stop):
        _mean(Z, rows, indptr[i], indptr[i + 1], share, H[i])


def mean_rows(Z, indptr, rows):
    if not isinstance(Z, np.ndarray):
        raise TypeError("Z: expected an array; quantised matrices are for the reference")
    indptr, rows = np.asarray(indptr, np.int64), np.asarray(rows)
    H = np.empty((len(indptr) - 1, Z.shape[1]), Z.dtype)               # (n, d)
    in_threads(lambda part: _mean_rows(Z, indptr, rows, H, *part), _parts(np.diff(indptr)))
    return H


def _parts(sizes):
    return [*pairwise(shares(sizes, numba.get_num_threads()))] if len(sizes) else [(0, 0)]


@njit(**FAST)
def _logistic_loss(s, signs, size):
    """(12.4), (7.3) from scores s, which become dL/ds; signs: below 0 for what is right."""
    one, loss, product = s.dtype.type(1), 0.0, 1.0
    for j in range(size):
        e = np.exp(-abs(s[j]))
        product *= 1 + e
        loss += max(s[j] if signs[j] > 0 else -s[j], 0)
        s[j] = (one if s[j] >= 0 else e) / (one + e) - (one if signs[j] < 0 else 0)
    return loss + np.log(product)


@njit(**FAST)
def _block(cbow, Z, U, tokens, starts, windows, rates, negatives, indptr, rows, longest, reach,
           first_document, stop_document):
    h, dh, moved = np.empty_like(Z[0]), np.empty_like(Z[0]), np.empty_like(Z[0])
    K, none, share = negatives.shape[1], np.int64(0), np.empty(1, Z.dtype)
    loss, predictions = 0.0, 0
    ids, signs, s = np.empty(K + 1, np.int32), np.ones(K + 1, Z.dtype), np.empty(K + 1, Z.dtype)
    own, signs[0] = np.empty(longest * (2 * reach if cbow else 1), np.int32), -1
    for i in range(first_document, stop_document):
        for t in range(starts[i], starts[i + 1]):
            low, high = max(t - windows[t], starts[i]), min(t + windows[t] + 1, starts[i + 1])
            if high - low == 1:
                continue
            total = none
            for j in range(low, high):
                if (j != t) == cbow:                     # it predicts
                    for p in range(indptr[tokens[j]], indptr[tokens[j] + 1]):
                        own[total] = rows[p]
                        total += 1
            _mean(Z, own, none, total, share, h)
            moved[:] = 0
            for j in range(low, high):
                if (j == t) == cbow:                     # to be predicted
                    ids[0], size = tokens[j], none + 1
                    for k in range(K):
                        ids[size] = negatives[t, k]
                        size += ids[size] != ids[0]
                    _score(h, U, ids, none, size, s)
                    loss += _logistic_loss(s, signs, size)
                    _step(h, U, ids, none, size, s, rates[t], dh)
                    for k in range(h.size):
                        dh[k] *= rates[t]
                        h[k] -= dh[k]
                        moved[k] += dh[k]
                    predictions += 1
            _move(Z, own, none, total, moved)
    return loss, predictions


def _run(cbow, Z, U, *arguments):
    tokens, starts, windows, *more, (indptr, rows) = check_block(Z, U, *arguments)
    reach = int(min(windows.max(initial=1), np.diff(starts).max(initial=1)))
    done = in_threads(lambda part: _block(
        cbow, Z, U, tokens, starts, np.minimum(windows, reach), *more, indptr, rows,
        int(np.diff(indptr).max()), reach, *part), _parts(np.diff(starts)))
    return sum(d[0] for d in done), sum(d[1] for d in done)


def skipgram_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _run(False, Z, U, tokens, starts, windows, rates, negatives, ngrams)


def cbow_block(Z, U, tokens, starts, windows, rates, negatives, ngrams):
    return _run(True, Z, U, tokens, starts, windows, rates, negatives, ngrams)


@njit(**FAST)
def _softmax_loss(s, L, label):
    """-ln p(label) of scores s (12.6), which become dL/ds."""
    largest, own, total = s[0], s[label], 0.0
    for j in range(L):
        largest = max(largest, s[j])
    for j in range(L):
        s[j] = np.exp(s[j] - largest)
        total += s[j]
    for j in range(L):
        s[j] /= total
    s[label] -= 1
    return largest - own + np.log(total)


@njit(**FAST)
def _classify(Z, A, indptr, rows, labels, order, rates, ends, ids, turns, longest, low, high):
    """A tree's paths in ends, ids, turns; without a tree one path, of all labels; no turns."""
    h, dh, s = np.empty_like(Z[0]), np.empty_like(Z[0]), np.empty(longest, Z.dtype)
    share, loss = np.empty(1, Z.dtype), 0.0
    for i in range(low, high):
        label, first, stop = labels[order[i]], indptr[order[i]], indptr[order[i] + 1]
        a, b = (ends[label], ends[label + 1]) if turns.size else (np.int64(0), ids.size)
        _mean(Z, rows, first, stop, share, h)
        _score(h, A, ids, a, b, s)
        if turns.size:
            loss += _logistic_loss(s, turns[a:b], b - a)
        else:
            loss += _softmax_loss(s, b, label)
        _step(h, A, ids, a, b, s, rates[i], dh)
        dh *= rates[i] / (stop - first)
        _move(Z, rows, first, stop, dh)
    return loss


def _run_texts(Z, A, arguments, tree=None):
    indptr, rows, labels, order, rates = check_texts(Z, A, *arguments, tree)
    ends, ids, turns = tree or (np.array([0, len(A)]), np.arange(len(A), dtype=np.int32), [])
    turns = (2 * np.asarray(turns) - 1).astype(Z.dtype)                # -1 where the code is 0
    return sum(in_threads(lambda part: _classify(
        Z, A, indptr, rows, labels, order, rates, ends, ids, turns, int(np.diff(ends).max()),
        *part), _parts(np.diff(indptr)[order]))), len(order)


def classifier_block(Z, A, indptr, rows, labels, order, rates):
    return _run_texts(Z, A, (indptr, rows, labels, order, rates))


def hierarchical_block(Z, N, indptr, rows, labels, order, rates, tree):
    return _run_texts(Z, N, (indptr, rows, labels, order, rates), tree)
