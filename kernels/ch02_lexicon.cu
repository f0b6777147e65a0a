// Shortest paths that go up a hierarchy and then down: breadth-first searches, one block a source.

#define LANES 8                // threads that share the edges of a node: 8 ints, 32 bytes, a sector

// count[p] += 1 for each edge to a parent p; one thread an edge.
extern "C" __global__ void __launch_bounds__(256)
count_children(const int* __restrict__ indices, int edges, int* count)
{
  const int edge = blockIdx.x * blockDim.x + threadIdx.x;
  if (edge < edges) atomicAdd(count + indices[edge], 1);
}

// Write each node into the lists of its parents; next[p]: the first free place of p's list.
// The order within a list depends on that of the threads; no distance depends on it.
extern "C" __global__ void __launch_bounds__(256)
list_children(const int* __restrict__ indptr, const int* __restrict__ indices, int n, int* next,
              int* children)
{
  const int node = blockIdx.x * blockDim.x + threadIdx.x;
  if (node >= n) return;
  const int last = indptr[node + 1];
  for (int k = indptr[node]; k < last; ++k)
    children[atomicAdd(next + indices[k], 1)] = node;
}

// lengths[i] = steps from sources[i] to each node, -1: no path.  A block takes every gridDim.x-th
// source; it owns 2 n entries of `queues` (v: going up, v + n: going down) and n bits of `marks`.
extern "C" __global__ void __launch_bounds__(256)
search_paths(const int* __restrict__ indptr, const int* __restrict__ indices,
             const int* __restrict__ start, const int* __restrict__ children,
             const int* __restrict__ sources, int n, int m, int* queues, unsigned* marks,
             int* lengths)
{
  __shared__ int grown[3];          // entries that a level adds; three in turn: one barrier a level
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, groups = blockDim.x / LANES;
  const int words = (n + 31) / 32;
  int* queue = queues + 2LL * n * blockIdx.x;
  unsigned* rose = marks + (long long)words * blockIdx.x; // bit v: v was met going up
  int level = 0;
  if (threadIdx.x == 0) grown[0] = 0;
  for (int i = blockIdx.x; i < m; i += gridDim.x) {
    int* length = lengths + (long long)n * i;
    const int source = sources[i];
    for (int v = threadIdx.x; v < n; v += blockDim.x) length[v] = v == source ? 0 : -1;
    for (int v = threadIdx.x; v < words; v += blockDim.x)
      rose[v] = v == source / 32 ? 1u << source % 32 : 0u;
    if (threadIdx.x == 0) queue[0] = source;
    __syncthreads();
    for (int head = 0, end = 1, steps = 1; head < end; ++steps, ++level) {
      int* added = grown + level % 3;
      if (threadIdx.x == 0) grown[(level + 1) % 3] = 0;   // its old value was read a level ago
      for (int e = head + group; e < end; e += groups) {  // queue[head..end): steps - 1 away
        const int entry = queue[e], node = entry < n ? entry : entry - n;
        const int above = entry < n ? indptr[node + 1] : 0;
        for (int k = entry < n ? indptr[node] + lane : 0; k < above; k += LANES) {
          const int parent = indices[k];
          const unsigned bit = 1u << parent % 32;
          if (atomicOr(rose + parent / 32, bit) & bit) continue;
          atomicCAS(length + parent, -1, steps);
          queue[end + atomicAdd(added, 1)] = parent;
        }
        const int below = start[node + 1];
        for (int k = start[node] + lane; k < below; k += LANES) {
          const int child = children[k];
          if (atomicCAS(length + child, -1, steps) == -1)
            queue[end + atomicAdd(added, 1)] = child + n;
        }
      }
      __syncthreads();                                    // the level is complete
      head = end;
      end += *added;
    }
  }
}
