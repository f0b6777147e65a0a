// Chapter 8: negative sampling.  A warp takes a place: scores, then the rows of W and of U.
// Loops are not unrolled: their addresses would take more registers than there are.

#define WARP 32
#define ALL 0xffffffffu

static __device__ float warp_total(float x)
{
  for (int gap = WARP / 2; gap > 0; gap /= 2)
    x += __shfl_xor_sync(ALL, x, gap);
  return x;
}

// The document that holds place t: the last one that starts at or before it.
static __device__ int document_of(const long long* __restrict__ starts, int documents, int t)
{
  int low = 0, high = documents;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (starts[middle] <= t)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// What a warp knows of its place: m neighbours from `begin` on, without t; K + 1 words.
struct Place {
  const int* __restrict__ tokens;
  const int* __restrict__ drawn;        // the place's (K,)
  int t, begin, m, words;
};

static __device__ Place place_of_warp(const int* __restrict__ tokens,
                                      const long long* __restrict__ starts,
                                      const int* __restrict__ windows,
                                      const int* __restrict__ negatives, int documents, int t, int K)
{
  const int i = document_of(starts, documents, t), c = windows[t];
  const int begin = max((int)starts[i], t - c), end = (int)min(starts[i + 1], (long long)t + c + 1);
  return {tokens, negatives + (long long)t * K, t, begin, end - begin - 1, K + 1};
}

static __device__ int neighbour(const Place& p, int i)
{
  const int s = p.begin + i;
  return p.tokens[s < p.t ? s : s + 1];
}

static __device__ int word(const Place& p, int j) { return j ? p.drawn[j - 1] : p.tokens[p.t]; }

// rate dl/ds (8.2) of a score, and its loss (8.1); 0 for a draw that is the centre.
static __device__ float judge(const Place& p, int j, float s, float rate, float& loss)
{
  if (j && word(p, j) == word(p, 0))
    return 0;
  const float e = expf(-fabsf(s)), x = j ? s : -s;
  loss += fmaxf(x, 0.0f) + log1pf(e);
  return rate * ((s < 0 ? e : 1) / (1 + e) - (j ? 0 : 1));
}

// Skip-gram (8.6).  Shared memory of a warp: G (most, K + 1), then a column of H (most, 32).  Once
// G is there, coordinates are independent: a lane takes k, k + 32, ... by itself, keeps its column
// of the rows of W, and writes when all that it writes from is old.  Rows are shared with other
// warps: additions are atomic, reads are not in their order (Hogwild).
extern "C" __global__ void __launch_bounds__(128)
skipgram_places(float* W, float* U, const int* __restrict__ tokens,
                const long long* __restrict__ starts, const int* __restrict__ windows,
                const float* __restrict__ rates, const int* __restrict__ negatives, float* losses,
                int* counts, int T, int documents, int K, int d, int most)
{
  extern __shared__ float memory[];
  const int lane = threadIdx.x % WARP, t = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (t >= T)
    return;                             // the whole warp
  const Place p = place_of_warp(tokens, starts, windows, negatives, documents, t, K);
  float* G = memory + (long long)(threadIdx.x / WARP) * most * (p.words + WARP);
  float* H = G + most * p.words + lane;
  float loss = 0;
#pragma unroll 1
  for (int i = 0; i < p.m; i++)
#pragma unroll 1
    for (int j = 0; j < p.words; j++) {
      const float* v = W + (long long)neighbour(p, i) * d;
      const float* u = U + (long long)word(p, j) * d;
      float s = 0;
#pragma unroll 1
      for (int k = lane; k < d; k += WARP)
        s += __ldcg(v + k) * __ldcg(u + k);
      s = judge(p, j, warp_total(s), rates[t], loss);
      if (lane == 0)
        G[i * p.words + j] = s;
    }
  __syncwarp();                         // all lanes see G
#pragma unroll 1
  for (int k = lane; k < d; k += WARP) {
#pragma unroll 1
    for (int i = 0; i < p.m; i++)
      H[i * WARP] = __ldcg(W + (long long)neighbour(p, i) * d + k);
#pragma unroll 1
    for (int i = 0; i < p.m; i++) {
      float x = 0;
#pragma unroll 1
      for (int j = 0; j < p.words; j++)
        x += G[i * p.words + j] * __ldcg(U + (long long)word(p, j) * d + k);
      atomicAdd(W + (long long)neighbour(p, i) * d + k, -x);
    }
#pragma unroll 1
    for (int j = 0; j < p.words; j++) {
      float x = 0;
#pragma unroll 1
      for (int i = 0; i < p.m; i++)
        x += G[i * p.words + j] * H[i * WARP];
      atomicAdd(U + (long long)word(p, j) * d + k, -x);
    }
  }
  if (lane == 0) {
    losses[t] = loss;
    counts[t] = p.m;
  }
}

// CBOW.  Shared memory of a warp: G (K + 1), then h (d).  divided: each word takes dl/dh / m.
extern "C" __global__ void __launch_bounds__(128)
cbow_places(float* W, float* U, const int* __restrict__ tokens,
            const long long* __restrict__ starts, const int* __restrict__ windows,
            const float* __restrict__ rates, const int* __restrict__ negatives, float* losses,
            int* counts, int T, int documents, int K, int d, int divided)
{
  extern __shared__ float memory[];
  const int lane = threadIdx.x % WARP, t = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (t >= T)
    return;
  const Place p = place_of_warp(tokens, starts, windows, negatives, documents, t, K);
  if (lane == 0) {
    losses[t] = 0;
    counts[t] = p.m > 0;
  }
  if (p.m == 0)
    return;
  float* G = memory + (threadIdx.x / WARP) * (p.words + d);
  float* h = G + p.words;
#pragma unroll 1
  for (int k = lane; k < d; k += WARP) {
    float x = 0;
#pragma unroll 1
    for (int i = 0; i < p.m; i++)
      x += __ldcg(W + (long long)neighbour(p, i) * d + k);
    h[k] = x / p.m;
  }
  float loss = 0;
#pragma unroll 1
  for (int j = 0; j < p.words; j++) {
    const float* u = U + (long long)word(p, j) * d;
    float s = 0;
#pragma unroll 1
    for (int k = lane; k < d; k += WARP)
      s += h[k] * __ldcg(u + k);
    s = judge(p, j, warp_total(s), rates[t], loss);
    if (lane == 0)
      G[j] = s;
  }
  __syncwarp();
#pragma unroll 1
  for (int k = lane; k < d; k += WARP) {
    float x = 0;
#pragma unroll 1
    for (int j = 0; j < p.words; j++)
      x += G[j] * __ldcg(U + (long long)word(p, j) * d + k);
#pragma unroll 1
    for (int j = 0; j < p.words; j++)
      atomicAdd(U + (long long)word(p, j) * d + k, -G[j] * h[k]);
    if (divided)
      x /= p.m;
#pragma unroll 1
    for (int i = 0; i < p.m; i++)
      atomicAdd(W + (long long)neighbour(p, i) * d + k, -x);
  }
  if (lane == 0)
    losses[t] = loss;
}

// A word of the alias table for each 64 bits: the upper half chooses the column, the lower its part.
extern "C" __global__ void __launch_bounds__(256)
draw_words(const unsigned* __restrict__ thresholds, const int* __restrict__ aliases,
           const unsigned long long* __restrict__ bits, int* out, long long n, int V)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= n)
    return;
  const int column = (int)((bits[e] >> 32) * (unsigned long long)V >> 32);
  out[e] = (unsigned)bits[e] < thresholds[column] ? column : aliases[column];
}
