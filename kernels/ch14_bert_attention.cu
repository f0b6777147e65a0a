// Chapter 14: attention without a (T, T) matrix (14.7), and its gradients (14.8).
//
// Rows of D <= 128 numbers: X[b, t, slot], slot = h for Q, step + h for K, 2 step + h for V.  A warp
// has PER rows of its own and goes over all others, TILE at a time in shared memory: a lane has one
// of those for the scores, and the columns lane, lane + 32, ... for the sums.
// __launch_bounds__(128, 6) allows 80 registers: with 128 alone some compilers take 64, and spill.

#define ALL 0xffffffffu
#define TILE 32                         // rows in shared memory at a time, a lane each
#define WARPS 4
#define PER 2                           // rows of a warp
#define OWN (WARPS * PER)               // rows of a block
#define WIDE 4                          // columns of a lane: D <= 32 WIDE
#define LOWEST __int_as_float(0xff800000)   // minus infinity

// What all kernels take.  real: (B, keys); keep: (B, H, T, keys), if drops.
struct Shape {
  int H, T, keys, D, slots, step, causal, drops;
};

static __device__ float warp_sum(float x)
{
  for (int apart = 16; apart; apart /= 2)
    x += __shfl_xor_sync(ALL, x, apart);
  return x;
}

static __device__ float warp_max(float x)
{
  for (int apart = 16; apart; apart /= 2)
    x = fmaxf(x, __shfl_xor_sync(ALL, x, apart));
  return x;
}

// to[i] = scale X[b, first + i, slot] for `count` rows, to[] `width` apart; zeros beyond n.
static __device__ void fetch(const float* __restrict__ X, int b, int n, int slots, int slot, int D,
                             int first, int count, int width, float scale, float* to)
{
  for (int e = threadIdx.x; e < count * D; e += blockDim.x) {
    const int i = e / D, k = e % D;
    to[i * width + k] = first + i < n ?
      scale * X[(((long long)b * n + first + i) * slots + slot) * D + k] : 0;
  }
}

// sums[c] += sum over the tile's rows i of (weight of lane i) tile[i, lane + 32 c].
static __device__ void gather(float weight, const float* tile, int D, float (&sums)[WIDE])
{
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < TILE; i++) {
    const float w = __shfl_sync(ALL, weight, i);
#pragma unroll
    for (int c = 0; c < WIDE; c++)
      if (lane + 32 * c < D)
        sums[c] += w * tile[i * (D + 1) + lane + 32 * c];
  }
}

static __device__ float dot(const float* a, const float* b, int D)
{
  float x = 0;
  for (int k = 0; k < D; k++)
    x += a[k] * b[k];
  return x;
}

// May query t look at key j?
static __device__ bool looks(const Shape& s, const unsigned char* __restrict__ real, int b, int t,
                             int j)
{
  return t < s.T && j < s.keys && (!s.causal || j <= t) && real[(long long)b * s.keys + j];
}

// What dropout makes of a weight: keep / (1 - rate).
static __device__ float kept(const Shape& s, const unsigned char* __restrict__ keep, float factor,
                             int head, int t, int j)
{
  return !s.drops ? 1 : keep[((long long)head * s.T + t) * s.keys + j] ? factor : 0;
}

// out (B, T, H, D), logs (B, H, T) = ln sum exp of the scores.
extern "C" __global__ void __launch_bounds__(128, 6)
attention_forward(const float* __restrict__ Q, const float* __restrict__ K,
                  const float* __restrict__ V, const unsigned char* __restrict__ real,
                  const unsigned char* __restrict__ keep, float factor, float* out, float* logs,
                  int H, int T, int keys, int D, int slots, int step, int causal, int drops)
{
  extern __shared__ float memory[];
  const Shape s = {H, T, keys, D, slots, step, causal, drops};
  float* queries = memory;                        // (OWN, D)
  float* tile_k = queries + OWN * D;              // (TILE, D + 1)
  float* tile_v = tile_k + TILE * (D + 1);        // (TILE, D + 1)
  const int head = blockIdx.y, b = head / H, h = head % H, lane = threadIdx.x % 32;
  const int own = threadIdx.x / 32 * PER, first = blockIdx.x * OWN;
  const int last = causal ? min(keys, first + OWN) : keys;
  fetch(Q, b, T, slots, h, D, first, OWN, D, rsqrtf((float)D), queries);
  float top[PER], total[PER], O[PER][WIDE];
#pragma unroll
  for (int u = 0; u < PER; u++) {
    top[u] = LOWEST;
    total[u] = 0;
#pragma unroll
    for (int c = 0; c < WIDE; c++)
      O[u][c] = 0;
  }
  for (int from = 0; from < last; from += TILE) {
    __syncthreads();                              // all have used the tile before
    fetch(K, b, keys, slots, step + h, D, from, TILE, D + 1, 1, tile_k);
    fetch(V, b, keys, slots, 2 * step + h, D, from, TILE, D + 1, 1, tile_v);
    __syncthreads();
#pragma unroll
    for (int u = 0; u < PER; u++) {
      const int t = first + own + u, j = from + lane;
      const bool sees = looks(s, real, b, t, j);
      const float x = sees ? dot(queries + (own + u) * D, tile_k + lane * (D + 1), D) : LOWEST;
      const float most = fmaxf(top[u], warp_max(x));
      const float shrink = top[u] == LOWEST ? 0 : expf(top[u] - most);
      float p = sees ? expf(x - most) : 0;
      total[u] = total[u] * shrink + warp_sum(p);
      top[u] = most;
      p = sees ? p * kept(s, keep, factor, head, t, j) : 0;
#pragma unroll
      for (int c = 0; c < WIDE; c++)
        O[u][c] *= shrink;
      gather(p, tile_v, D, O[u]);
    }
  }
#pragma unroll
  for (int u = 0; u < PER; u++) {
    const int t = first + own + u;
    if (t >= T)
      continue;
    const float share = total[u] == 0 ? 0 : 1 / total[u];             // no key: zeros
#pragma unroll
    for (int c = 0; c < WIDE; c++)
      if (lane + 32 * c < D)
        out[(((long long)b * T + t) * H + h) * D + lane + 32 * c] = O[u][c] * share;   // eq. 14.7
    if (lane == 0)
      logs[(long long)head * T + t] = total[u] == 0 ? 0 : top[u] + logf(total[u]);
  }
}

// dQ, and along (B, H, T) = <dout, out>, the sum of A dA in (14.8).
extern "C" __global__ void __launch_bounds__(128, 6)
attention_queries(const float* __restrict__ Q, const float* __restrict__ K,
                  const float* __restrict__ V, const unsigned char* __restrict__ real,
                  const unsigned char* __restrict__ keep, float factor,
                  const float* __restrict__ out, const float* __restrict__ logs,
                  const float* __restrict__ dout, float* dQ, float* along, int H, int T, int keys,
                  int D, int slots, int step, int causal, int drops)
{
  extern __shared__ float memory[];
  const Shape s = {H, T, keys, D, slots, step, causal, drops};
  float* queries = memory;                        // (OWN, D)
  float* above = queries + OWN * D;               // (OWN, D)
  float* tile_k = above + OWN * D;                // (TILE, D + 1)
  float* tile_v = tile_k + TILE * (D + 1);        // (TILE, D + 1)
  const int head = blockIdx.y, b = head / H, h = head % H, lane = threadIdx.x % 32;
  const int own = threadIdx.x / 32 * PER, first = blockIdx.x * OWN;
  const int last = causal ? min(keys, first + OWN) : keys;
  const float scale = rsqrtf((float)D);
  fetch(Q, b, T, slots, h, D, first, OWN, D, scale, queries);
  fetch(dout, b, T, H, h, D, first, OWN, D, 1, above);
  __syncthreads();
  float sum[PER], log[PER], dq[PER][WIDE];
#pragma unroll
  for (int u = 0; u < PER; u++) {
    const int t = first + own + u;
    const float* row = out + (((long long)b * T + t) * H + h) * D;
    float x = 0;
    for (int k = lane; k < D && t < T; k += 32)
      x += above[(own + u) * D + k] * row[k];
    sum[u] = warp_sum(x);
    log[u] = t < T ? logs[(long long)head * T + t] : 0;
    if (lane == 0 && t < T)
      along[(long long)head * T + t] = sum[u];
#pragma unroll
    for (int c = 0; c < WIDE; c++)
      dq[u][c] = 0;
  }
  for (int from = 0; from < last; from += TILE) {
    __syncthreads();
    fetch(K, b, keys, slots, step + h, D, from, TILE, D + 1, 1, tile_k);
    fetch(V, b, keys, slots, 2 * step + h, D, from, TILE, D + 1, 1, tile_v);
    __syncthreads();
#pragma unroll
    for (int u = 0; u < PER; u++) {
      const int t = first + own + u, j = from + lane;
      float ds = 0;
      if (looks(s, real, b, t, j)) {
        const float x = dot(queries + (own + u) * D, tile_k + lane * (D + 1), D);
        const float da = dot(above + (own + u) * D, tile_v + lane * (D + 1), D);
        ds = expf(x - log[u]) * (da * kept(s, keep, factor, head, t, j) - sum[u]);    // eq. 14.8
      }
      gather(ds, tile_k, D, dq[u]);
    }
  }
#pragma unroll
  for (int u = 0; u < PER; u++)
#pragma unroll
    for (int c = 0; c < WIDE; c++)
      if (first + own + u < T && lane + 32 * c < D)
        dQ[(((long long)b * T + first + own + u) * slots + h) * D + lane + 32 * c] =
          dq[u][c] * scale;
}

// dK, dV: a warp has PER keys, a lane a query of the tile.
extern "C" __global__ void __launch_bounds__(128, 6)
attention_keys(const float* __restrict__ Q, const float* __restrict__ K,
               const float* __restrict__ V, const unsigned char* __restrict__ real,
               const unsigned char* __restrict__ keep, float factor,
               const float* __restrict__ logs, const float* __restrict__ dout,
               const float* __restrict__ along, float* dK, float* dV, int H, int T, int keys, int D,
               int slots, int step, int causal, int drops)
{
  extern __shared__ float memory[];
  const Shape s = {H, T, keys, D, slots, step, causal, drops};
  float* own_k = memory;                          // (OWN, D)
  float* own_v = own_k + OWN * D;                 // (OWN, D)
  float* tile_q = own_v + OWN * D;                // (TILE, D + 1)
  float* tile_o = tile_q + TILE * (D + 1);        // (TILE, D + 1)
  const int head = blockIdx.y, b = head / H, h = head % H, lane = threadIdx.x % 32;
  const int own = threadIdx.x / 32 * PER, first = blockIdx.x * OWN;
  fetch(K, b, keys, slots, step + h, D, first, OWN, D, 1, own_k);
  fetch(V, b, keys, slots, 2 * step + h, D, first, OWN, D, 1, own_v);
  float dk[PER][WIDE], dv[PER][WIDE];
#pragma unroll
  for (int u = 0; u < PER; u++)
#pragma unroll
    for (int c = 0; c < WIDE; c++)
      dk[u][c] = dv[u][c] = 0;
  for (int from = causal ? first / TILE * TILE : 0; from < T; from += TILE) {
    __syncthreads();
    fetch(Q, b, T, slots, h, D, from, TILE, D + 1, rsqrtf((float)D), tile_q);
    fetch(dout, b, T, H, h, D, from, TILE, D + 1, 1, tile_o);
    __syncthreads();
#pragma unroll
    for (int u = 0; u < PER; u++) {
      const int t = from + lane, j = first + own + u;
      float a = 0, ds = 0;
      if (looks(s, real, b, t, j)) {
        const long long at = (long long)head * T + t;
        const float x = dot(tile_q + lane * (D + 1), own_k + (own + u) * D, D);
        const float da = dot(tile_o + lane * (D + 1), own_v + (own + u) * D, D);
        const float factors = kept(s, keep, factor, head, t, j);
        a = expf(x - logs[at]);
        ds = a * (da * factors - along[at]);                           // eq. 14.8
        a *= factors;
      }
      gather(a, tile_o, D, dv[u]);
      gather(ds, tile_q, D, dk[u]);
    }
  }
#pragma unroll
  for (int u = 0; u < PER; u++)
#pragma unroll
    for (int c = 0; c < WIDE; c++)
      if (first + own + u < keys && lane + 32 * c < D) {
        const long long row = ((long long)b * keys + first + own + u) * slots + h;
        dK[(row + step) * D + lane + 32 * c] = dk[u][c];
        dV[(row + 2 * step) * D + lane + 32 * c] = dv[u][c];
      }
}
