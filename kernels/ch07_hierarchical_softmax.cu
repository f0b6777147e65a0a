// Chapter 7: hierarchical softmax.  A warp trains place after place: the neighbours of a word, or
// their mean, predict it along its path.  A block is one warp: so the compiler sees that its lanes
// take the same turns, and needs no calls, which spill, to bring them together for a shuffle.

#define WARP 32
#define FULL 0xffffffffu

// Sum over the lanes of a warp: the same in each of them.
static __device__ __forceinline__ float warp_sum(float x)
{
  for (int step = WARP / 2; step; step /= 2)
    x += __shfl_xor_sync(FULL, x, step);
  return x;
}

// What a warp knows of its place: m vectors predict, along a path of l nodes.
struct Place {
  const long long* __restrict__ own;    // (neighbours,) words
  const int* __restrict__ nodes;        // (l,)
  const signed char* __restrict__ codes;
  int neighbours, l, d;
  float share;                          // 1 / neighbours
};

// Number k of what predicts: neighbour j's, or (j < 0) the mean.  Others step these rows meanwhile:
// __ldcg reads what they left in L2, where the atomics are.
static __device__ __forceinline__ float input(const float* W, const Place& p, int j, int k)
{
  if (j >= 0)
    return __ldcg(&W[p.own[j] * p.d + k]);
  float sum = 0;
#pragma unroll 1
  for (int i = 0; i < p.neighbours; i++)
    sum += __ldcg(&W[p.own[i] * p.d + k]);
  return sum * p.share;
}

// Eq. 7.3, 7.4: G (m, l) = rate (1 - d_i - sigma(s_ji)) in shared memory -> the sum of losses.
static __device__ __forceinline__ float errors(const float* W, const float* N, const Place& p,
                                               int m, bool mean, float rate, float* G)
{
  const int lane = threadIdx.x;
  for (int j = 0; j < m; j++)
    for (int i = 0; i < p.l; i++) {
      float s = 0;
#pragma unroll 1
      for (int k = lane; k < p.d; k += WARP)
        s += input(W, p, mean ? -1 : j, k) * __ldcg(&N[(long long)p.nodes[i] * p.d + k]);
      s = warp_sum(s);
      if (lane == 0)
        G[j * p.l + i] = s;
    }
  __syncwarp();
  float loss = 0;
  for (int g = lane; g < m * p.l; g += WARP) {
    const float s = G[g], e = expf(-fabsf(s)), turn = 1.0f - p.codes[g % p.l];
    G[g] = rate * (turn - __fdividef(s >= 0 ? 1.0f : e, 1 + e));    // 1 to 2: right to 2 ulp
    loss += fmaxf(s, 0.0f) - turn * s + log1pf(e);
  }
  __syncwarp();
  return warp_sum(loss);
}

// Eq. 7.5, 7.6 for the 32 numbers k of all rows: H and dH (m, 32) in shared memory, so that all
// steps are from vectors before any of them.  A lane has its own k: no other one needs to wait.
static __device__ __forceinline__ void step(float* W, float* N, const Place& p, int m, bool mean,
                                            const float* G, float* H, float* dH, int k)
{
  const int lane = threadIdx.x;
#pragma unroll 1
  for (int j = 0; j < m; j++) {
    H[j * WARP + lane] = input(W, p, mean ? -1 : j, k);
    dH[j * WARP + lane] = 0;
  }
  for (int i = 0; i < p.l; i++) {
    float* node = &N[(long long)p.nodes[i] * p.d + k];
    const float u = __ldcg(node);
    float du = 0;
#pragma unroll 1
    for (int j = 0; j < m; j++) {
      du += G[j * p.l + i] * H[j * WARP + lane];
      dH[j * WARP + lane] += G[j * p.l + i] * u;
    }
    atomicAdd(node, du);
  }
#pragma unroll 1
  for (int j = 0; j < p.neighbours; j++)
    atomicAdd(&W[p.own[j] * p.d + k], dH[(mean ? 0 : j * WARP) + lane]);
}

// losses (T,): of each place.  Shared memory: most (longest path + 64) floats.
extern "C" __global__ void __launch_bounds__(32)
hierarchical_softmax(float* W, float* N, const long long* __restrict__ tokens,
                     const long long* __restrict__ neighbours,
                     const long long* __restrict__ contexts, const float* __restrict__ rates,
                     const long long* __restrict__ indptr, const int* __restrict__ nodes,
                     const signed char* __restrict__ codes, float* losses, int T, int d,
                     int mean, int most)
{
  extern __shared__ float memory[];
  const int lane = threadIdx.x;
  float *H = memory, *dH = H + most * WARP, *G = dH + most * WARP;
  for (int t = blockIdx.x; t < T; t += gridDim.x) {
    const long long first = indptr[tokens[t]];
    const int near = (int)(neighbours[t + 1] - neighbours[t]);
    const Place p = {contexts + neighbours[t], nodes + first, codes + first, near,
                     (int)(indptr[tokens[t] + 1] - first), d, __fdividef(1.0f, max(near, 1))};
    const int m = p.neighbours == 0 ? 0 : mean ? 1 : p.neighbours;
    const float loss = errors(W, N, p, m, mean, rates[t], G);
    if (lane == 0)
      losses[t] = loss;
    if (m)
      for (int k = lane; k < d; k += WARP)
        step(W, N, p, m, mean, G, H, dH, k);
    __syncwarp();                       // G is written anew
  }
}
