// Chapter 1 on a GPU: exact search and k-means.  After ch01_top_k.cu and ch01_tiles.cu.
//
// Products of float32 rows are taken in float32, a tile of ROWS x COLUMNS at a time, and only ask
// whether a pair can matter; those that can are summed again in float64, always in one order.
// float64 input has every sum in float64.  __launch_bounds__(256, 3) allows 80 registers: with 256
// alone the compiler of some architectures wants fewer, and spills.

// out[(query * splits + split) * k ...]: the k best keys of one query among `part` rows.
// grid: query tiles * splits.  A warp asks for 4 queries which rows can matter; their keys go to
// `work` (blocks, ROWS, size), which the block sorts in shared memory when one is full.
extern "C" __global__ void __launch_bounds__(256, 3)
top_k_f32(const float* __restrict__ Q, const float* __restrict__ X,
          const float* __restrict__ q_lengths, const float* __restrict__ x_lengths, Key* work,
          Key* out, int q, int n, int d, int k, int size, int part, int splits, float g, float tiny)
{
  extern __shared__ Key area[];                            // (size,)
  __shared__ __align__(16) float tile[ROWS * STRIDE];
  __shared__ Key bars[ROWS];
  __shared__ int counts[ROWS];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, room = size - k - COLUMNS;
  const int split = blockIdx.x % splits, query = blockIdx.x / splits * ROWS;
  const int rows = min(ROWS, q - query), end = min(n, (split + 1) * part);
  Q += (long long)query * d;
  work += (long long)blockIdx.x * ROWS * size;
  for (int r = warp; r < rows; r += 8)
    for (int i = lane; i < k; i += 32)
      work[(long long)r * size + i] = 0;
  if (threadIdx.x < ROWS) {
    bars[threadIdx.x] = 0;
    counts[threadIdx.x] = 0;
  }
  for (int from = split * part; from < end; from += COLUMNS) {
    multiply(Q, rows, X + (long long)from * d, min(COLUMNS, end - from), d, tile);
    bool full = false;
#pragma unroll 1
    for (int r = 4 * warp; r < min(4 * warp + 4, rows); r++) {
      const Key bar = bars[r];
      const float length = q_lengths[query + r], best = score_of(bar);
      const float limit = bar ? best - fabsf(best) * 0x1p-22f - tiny : __int_as_float(0xff800000);
#pragma unroll 1
      for (int c = lane; c < COLUMNS; c += 32) {
        const int i = from + c;
        bool may = i < end;
        if (may)
          may = !(tile[r * STRIDE + c] + slack(length, x_lengths[i], g, tiny) < limit);
        unsigned rivals = __ballot_sync(FULL_WARP, may);
        for (; rivals; rivals &= rivals - 1) {
          const int row = i - lane + __ffs((int)rivals) - 1;
          const double sum = warp_pair<false>(Q + (long long)r * d, X + (long long)row * d, d);
          const Key key = key_of_bits(rounded_bits(sum), row);
          if (lane == 0 && key > bar) {
            const int slot = atomicAdd(counts + r, 1);
            work[(long long)r * size + k + slot] = key;
            full |= slot >= room;       // the next tile may not fit
          }
        }
      }
    }
    if (__syncthreads_or(full))
      for (int r = 0; r < rows; r++)
        if (counts[r] > room)
          merge_row(work + (long long)r * size, k, counts + r, bars + r, area,
                    work + (long long)r * size);
  }
  for (int r = 0; r < rows; r++)
    merge_row(work + (long long)r * size, k, counts + r, bars + r, area,
              out + ((long long)(query + r) * splits + split) * k);
}

// out[b * k ...]: the k best of block b's `part` of c keys a row.  grid: rows * splits.
extern "C" __global__ void __launch_bounds__(256)
merge_top_k(const Key* __restrict__ keys, Key* out, int c, int k, int size, int part, int splits)
{
  extern __shared__ Key memory[];
  const TopK best = top_k_start(memory, k, size, 4 * 256);
  const int split = blockIdx.x % splits, end = min(c, (split + 1) * part);
  keys += (long long)(blockIdx.x / splits) * c;
  for (int from = split * part; from < end; from += 4 * 256) {
    bool full = false;
#pragma unroll
    for (int m = 0; m < 4; m++) {
      const int i = from + 256 * m + threadIdx.x;
      if (i < end)
        full |= top_k_offer(best, keys[i]);
    }
    top_k_settle(best, full);
  }
  top_k_finish(best, out + (long long)blockIdx.x * k);
}

// S (q, n) = all dot products, in float64.  grid: tiles of S.
template <class T>
static __device__ void score(const T* Q, const T* X, double* S, int q, int n, int d, double* tile)
{
  const int across = (n + SIDE - 1) / SIDE;
  const int r = blockIdx.x / across * SIDE, c = blockIdx.x % across * SIDE;
  double s[2][2];
  exact_sums<T, false>(Q + (long long)r * d, q - r, X + (long long)c * d, n - c, d, tile, s);
  const int x = c + (threadIdx.x & 15), y = r + (threadIdx.x >> 4);
#pragma unroll
  for (int m = 0; m < 4; m++)
    if (y + m / 2 * 16 < q && x + m % 2 * 16 < n)
      S[(long long)(y + m / 2 * 16) * n + x + m % 2 * 16] = s[m / 2][m % 2];
}

extern "C" __global__ void __launch_bounds__(256, 3)
scores_f32(const float* __restrict__ Q, const float* __restrict__ X, double* S, int q, int n, int d)
{
  __shared__ double tile[SIDE * (SIDE + 1)];
  score(Q, X, S, q, n, d, tile);
}

extern "C" __global__ void __launch_bounds__(256)
scores_f64(const double* __restrict__ Q, const double* __restrict__ X, double* S, int q, int n,
           int d)
{
  __shared__ double tile[SIDE * (SIDE + 1)];
  score(Q, X, S, q, n, d, tile);
}

// Scores in float64 -> keys of their float32 values.
extern "C" __global__ void __launch_bounds__(256)
keys_of_scores(const double* __restrict__ S, Key* keys, long long count, int n)
{
  const long long i = blockIdx.x * 256ll + threadIdx.x;
  if (i < count)
    keys[i] = key_of_bits(rounded_bits(S[i]), (unsigned)(i % n));
}

// Nearest centroid of each row: a warp has 4 rows, and sums in float64 for centroids whose
// |m|^2 / 2 - <x, m> in float32 may be the least.  Ties: the lower centroid.  grid: n / ROWS.
extern "C" __global__ void __launch_bounds__(256, 3)
assign_f32(const float* __restrict__ X, const float* __restrict__ M,
           const float* __restrict__ x_lengths, const float* __restrict__ m_lengths, int* labels,
           int* squared, int n, int K, int d, float g, float tiny)
{
  __shared__ __align__(16) float tile[ROWS * STRIDE];
  __shared__ double gaps[ROWS];         // the nearest centroid so far: its squared distance,
  __shared__ int found[ROWS];           // its number, and what its value in float32 cannot exceed
  __shared__ float bounds[ROWS];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int first = blockIdx.x * ROWS, rows = min(ROWS, n - first);
  X += (long long)first * d;
  if (threadIdx.x < ROWS) {
    bounds[threadIdx.x] = __int_as_float(0x7f800000);
    gaps[threadIdx.x] = bounds[threadIdx.x];
    found[threadIdx.x] = 0;
  }
  for (int from = 0; from < K; from += COLUMNS) {
    multiply(X, rows, M + (long long)from * d, min(COLUMNS, K - from), d, tile);
#pragma unroll 1
    for (int r = 4 * warp; r < min(4 * warp + 4, rows); r++) {
      const float length = x_lengths[first + r];
      float bound = bounds[r];
      double least = gaps[r];
      int label = found[r];
      for (int pass = 0; pass < 2; pass++) {        // first the bound, then those that reach it
#pragma unroll 1
        for (int j = from + lane; j < from + COLUMNS; j += 32) {
          const float reach = j < K ? m_lengths[j] : 0.f;
          const float value = 0.5f * reach * reach - tile[r * STRIDE + j - from];
          const float far = length + reach;         // float64 rounds far^2 too, 2^-29 as much
          const float margin = slack(far, reach + far * 0x1p-29f, g, tiny);
          if (pass == 0) {
            if (j < K)
              bound = fminf(bound, value + margin);
            continue;
          }
          unsigned rivals = __ballot_sync(FULL_WARP, j < K && !(value - margin > bound));
          for (; rivals; rivals &= rivals - 1) {
            const int i = j - lane + __ffs((int)rivals) - 1;
            const double gap = warp_pair<true>(X + (long long)r * d, M + (long long)i * d, d);
            label = gap < least ? i : label;        // of equals the lower centroid stays
            least = gap < least ? gap : least;
          }
        }
        for (int step = 16; step > 0; step /= 2)
          bound = fminf(bound, __shfl_xor_sync(FULL_WARP, bound, step));
      }
      __syncwarp();                     // all lanes have read the state
      if (lane == 0) {
        bounds[r] = bound;
        gaps[r] = least;
        found[r] = label;
      }
    }
    __syncthreads();                    // the tile is free again, and the state is there
  }
  if (threadIdx.x < rows) {
    labels[first + threadIdx.x] = found[threadIdx.x];
    squared[first + threadIdx.x] = rounded_bits(gaps[threadIdx.x]);
  }
}

// The same for float64: every squared distance in full.  grid: n / SIDE.
extern "C" __global__ void __launch_bounds__(256)
assign_f64(const double* __restrict__ X, const double* __restrict__ M, int* labels,
           double* squared, int n, int K, int d)
{
  __shared__ double tile[SIDE * (SIDE + 1)];
  __shared__ double gaps[SIDE];
  __shared__ int found[SIDE];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, first = blockIdx.x * SIDE;
  const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
  if (threadIdx.x < SIDE) {
    gaps[threadIdx.x] = 0;
    found[threadIdx.x] = -1;
  }
  for (int from = 0; from < K; from += SIDE) {
    double s[2][2];
    exact_sums<double, true>(X + (long long)first * d, n - first, M + (long long)from * d, K - from,
                             d, tile, s);
#pragma unroll
    for (int m = 0; m < 4; m++)
      tile[(y + m / 2 * 16) * (SIDE + 1) + x + m % 2 * 16] = s[m / 2][m % 2];
    __syncthreads();
    for (int r = 4 * warp; r < 4 * warp + 4; r++) {
      double gap = tile[r * (SIDE + 1) + lane];
      int j = from + lane < K ? from + lane : 0x7fffffff;
      for (int step = 16; step > 0; step /= 2) {
        const double other = __shfl_xor_sync(FULL_WARP, gap, step);
        const int i = __shfl_xor_sync(FULL_WARP, j, step);
        if (i < 0x7fffffff && (j == 0x7fffffff || other < gap || (other == gap && i < j))) {
          gap = other;
          j = i;
        }
      }
      if (lane == 0 && (found[r] < 0 || gap < gaps[r])) {
        gaps[r] = gap;
        found[r] = j;
      }
    }
    __syncthreads();
  }
  if (threadIdx.x < min(SIDE, n - first)) {
    labels[first + threadIdx.x] = found[threadIdx.x];
    squared[first + threadIdx.x] = gaps[threadIdx.x];
  }
}

// Lengths of rows, rounded up.  A warp has a row.
extern "C" __global__ void __launch_bounds__(256)
lengths_f32(const float* __restrict__ X, float* lengths, int n, int d)
{
  const int i = blockIdx.x * 8 + (threadIdx.x >> 5);
  if (i >= n)
    return;
  double sum = 0;
  for (int j = threadIdx.x & 31; j < d; j += 32) {
    const double x = widen(X[(long long)i * d + j]);
    sum += x * x;
  }
  sum = warp_sum(sum);
  if ((threadIdx.x & 31) == 0)
    lengths[i] = (float)(sqrt(sum) * (1 + 0x1p-22));
}

// sums (parts, K, d): of part p of cluster j's rows, order[starts[j] ... starts[j + 1] - 1].  A warp
// adds every 8th row of 32 columns, then the 8 warps' sums are added, always in this order.
// grid: parts * K * column tiles.
template <class T>
static __device__ void add_rows(const T* X, const long long* order, const long long* starts,
                                double* sums, int K, int d, int parts, double* own)
{
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, tiles = (d + 31) / 32;
  const int c = blockIdx.x % tiles * 32 + lane, p = blockIdx.x / tiles / K;
  const int j = blockIdx.x / tiles % K;
  const long long low = starts[j], count = starts[j + 1] - low;
  double sum = 0;
  if (c < d)
    for (long long i = low + count * p / parts + warp; i < low + count * (p + 1) / parts; i += 8)
      sum += widen(X[order[i] * d + c]);
  own[threadIdx.x] = sum;
  __syncthreads();
  if (warp > 0 || c >= d)
    return;
  for (int w = 1; w < 8; w++)
    sum += own[32 * w + lane];
  sums[((long long)p * K + j) * d + c] = sum;
}

extern "C" __global__ void __launch_bounds__(256)
sums_f32(const float* __restrict__ X, const long long* __restrict__ order,
         const long long* __restrict__ starts, double* sums, int K, int d, int parts)
{
  __shared__ double own[8 * 32];
  add_rows(X, order, starts, sums, K, d, parts, own);
}

extern "C" __global__ void __launch_bounds__(256)
sums_f64(const double* __restrict__ X, const long long* __restrict__ order,
         const long long* __restrict__ starts, double* sums, int K, int d, int parts)
{
  __shared__ double own[8 * 32];
  add_rows(X, order, starts, sums, K, d, parts, own);
}
