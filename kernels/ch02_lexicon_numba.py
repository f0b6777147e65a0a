"""Numba twin of primer/ch02_lexicon.py, path_lengths: same name, same arguments, same answer.

Idea    The reference lets every edge shorten every path, again and again: sources x edges x depth.
        Here one breadth-first search a source enters a node at most twice, once on the way up and
        once on the way down: sources x edges.  A path may turn from up to down but not back, so
        the queue holds (node, direction); all steps cost 1, so it stays sorted by length and the
        first visit is the shortest.
Threads sources are independent: prange is over them; each thread writes row i of the answer, and
        its own queue and marks.
Limits  8-byte integers throughout; m x n answers are held at once: ask for sources in batches.
"""
import numpy as np
from numba import njit, prange


@njit(cache=True)
def _transpose(indptr, indices):
    """CSR of children from CSR of parents."""
    n = len(indptr) - 1
    start = np.zeros(n + 1, np.int64)
    for p in indices:
        start[p + 1] += 1
    start = np.cumsum(start)
    put, children = start[:-1].copy(), np.empty_like(indices)
    for node in range(n):
        for k in range(indptr[node], indptr[node + 1]):
            children[put[indices[k]]] = node
            put[indices[k]] += 1
    return start, children


@njit(parallel=True, cache=True)
def _search(indptr, indices, start, children, sources):
    n, m = len(indptr) - 1, len(sources)
    D = np.full((m, n), -1, np.int64)
    for i in prange(m):
        queue = np.empty(2 * n, np.int64)              # a node v going up is v, going down v + n
        rose = np.zeros(n, np.bool_)
        up = np.zeros(n, np.int64)                     # length when a node is met going up
        queue[0], head, tail = sources[i], 0, 1
        rose[sources[i]] = True
        D[i, sources[i]] = 0
        while head < tail:
            v = queue[head]
            head += 1
            length = D[i, v - n] if v >= n else up[v]
            if v < n:
                for k in range(indptr[v], indptr[v + 1]):
                    p = indices[k]
                    if not rose[p]:
                        rose[p] = True
                        up[p] = length + 1
                        if D[i, p] < 0:
                            D[i, p] = length + 1
                        queue[tail] = p
                        tail += 1
            node = v - n if v >= n else v
            for k in range(start[node], start[node + 1]):
                c = children[k]
                if D[i, c] < 0:
                    D[i, c] = length + 1
                    queue[tail] = c + n
                    tail += 1
    return D


def path_lengths(indptr, indices, sources):
    """(2.1) from m nodes to all n.  sources: (m,), or ValueError  -> (m, n) int64, -1: no path."""
    n, sources = len(indptr) - 1, np.asarray(sources, np.int64)
    if sources.size and not (0 <= sources.min() and sources.max() < n):
        raise ValueError(f"sources: expected node numbers from 0 to {n - 1}")
    indptr, indices = np.asarray(indptr, np.int64), np.asarray(indices, np.int64)
    return _search(indptr, indices, *_transpose(indptr, indices), sources)
