"""CUDA twin of primer/ch02_lexicon.py, path_lengths: same name, same arguments, same answer.

Idea    One breadth-first search a source, as in the Numba twin: states (node, going up or down),
        so a node is entered at most twice: sources x edges, where the reference relaxes all edges
        again for each step of depth.  All nodes of one distance are expanded at once.  The lists
        of children are made on the device.
Threads A block searches for one source after another: the queue of its states lies in its own
        global memory, a barrier ends each level, the host waits for nothing in between.  Eight
        threads share an entry's edges.  Who enters a node is settled by one atomic each: atomicOr
        on its bit (going up), atomicCAS on its length (going down); a place in the queue comes
        from atomicAdd.  The order in the queue, and in the lists of children, depends on the
        threads; the lengths do not: all that is written in a level is the same number.
Cost    For each source: 4 n bytes of lengths written; for each node reached, at random, a sector
        of 32 bytes of its length (read and written back), of its list's bounds and of its edges,
        and 8 bytes of queue: about 150 n bytes, no arithmetic, so memory bounds it.  n = 117,791
        (WordNet), 1000 sources, all nodes reached: 18 GB, on T4 55 ms, A100 8.7 ms, H100 5.3 ms,
        RTX 4090 18 ms.  471 MB of answers over PCIe (25 GB/s) take 19 ms more.
        Lengths are reset, and the queue is read, by neighbouring threads side by side; a node's
        length is wherever its number is: that access is scattered, as the graph is.
Limits  n and edges below 2^30 (32-bit numbers on the device).  m x n answers are held at once,
        4 bytes each on the device, 8 on the host: ask for sources in batches.  The searches' own
        memory stays under 1 GB: fewer run at a time on large graphs.  A source keeps one
        multiprocessor busy: ask for many.  The host waits once a call.  The graph itself is not
        checked: its numbers must be nodes.
"""
import cupy as cp
import numpy as np

from kernels import cuda_source

MODULE = cp.RawModule(code=cuda_source("ch02_lexicon"), options=("-std=c++17",))
THREADS = 256
SCRATCH = 1 << 30                     # bytes of queues and marks at most, for all blocks together
BLOCKS = 2048                         # more than any GPU runs at a time


def path_lengths(indptr, indices, sources):
    n, sources = len(indptr) - 1, np.asarray(sources, np.int64)                   # (m,)
    if sources.size and not (0 <= sources.min() and sources.max() < n):
        raise ValueError(f"sources: expected node numbers from 0 to {n - 1}")
    m, edges = len(sources), len(indices)
    if max(n, edges) >= 1 << 30:
        raise ValueError(f"indptr, indices: expected under 2^30 nodes and edges, got {n}, {edges}")
    if not m:
        return np.zeros((0, n), np.int64)                                         # (0, n)
    indptr, indices, sources = (cp.asarray(np.asarray(a, np.int32))
                                for a in (indptr, indices, sources))
    start, children = _transpose(indptr, indices)                      # (n + 1,), (edges,)
    words = -(-n // 32)
    blocks = max(1, min(m, BLOCKS, SCRATCH // (4 * (2 * n + words))))
    queues = cp.empty((blocks, 2 * n), np.int32)
    marks = cp.empty((blocks, words), np.uint32)
    lengths = cp.empty((m, n), np.int32)                                          # (m, n)
    MODULE.get_function("search_paths")((blocks,), (THREADS,), (
        indptr, indices, start, children, sources, np.int32(n), np.int32(m), queues, marks,
        lengths))
    return lengths.get().astype(np.int64)                                         # (m, n)


def _transpose(indptr, indices):
    """CSR of children from CSR of parents -> start: (n + 1,), children: (edges,)."""
    n, edges = indptr.size - 1, indices.size
    start, children = cp.zeros(n + 1, np.int32), cp.empty(edges, np.int32)
    if not edges:
        return start, children
    MODULE.get_function("count_children")((-(-edges // THREADS),), (THREADS,), (
        indices, np.int32(edges), start[1:]))
    start = cp.cumsum(start, dtype=np.int32)                                      # (n + 1,)
    MODULE.get_function("list_children")((-(-n // THREADS),), (THREADS,), (
        indptr, indices, np.int32(n), start.copy(), children))
    return start, children


def examples(rng, scale=1):
    """Calls that `python -m primer gpu` checks and times: name, remark -> arguments."""
    n, m = 100 * scale, 32 + scale // 4
    parents = [rng.integers(0, i, min(i, k)) for i, k in enumerate(rng.choice([1, 1, 1, 2], n))]
    indptr = np.cumsum([0, *map(len, parents)], dtype=np.int64)                   # (n + 1,)
    return {"path_lengths": (indptr, np.concatenate(parents), rng.integers(0, n, m))}
