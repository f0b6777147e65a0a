// Chapter 14: what lies between the matrix products of a Transformer.

#define ALL 0xffffffffu
#define LOWEST __int_as_float(0xff800000)   // minus infinity
#define LINES 8                         // rows that a block of column_sums reads at a time

static __device__ float warp_sum(float x)
{
  for (int apart = 16; apart; apart /= 2)
    x += __shfl_xor_sync(ALL, x, apart);
  return x;
}

// Y += b, by rows; a thread a number.
extern "C" __global__ void __launch_bounds__(256)
add_bias(float* Y, const float* __restrict__ b, int d, long long numbers)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e < numbers)
    Y[e] += b[e % d];
}

// sums[k] = sum_i A[i, k], or of A[i, k] B[i, k] if `both`.  A block has 32 columns.
extern "C" __global__ void __launch_bounds__(256)
column_sums(const float* __restrict__ A, const float* __restrict__ B, float* sums, int n, int d,
            int both)
{
  __shared__ float parts[LINES][32];
  const int lane = threadIdx.x % 32, line = threadIdx.x / 32, k = blockIdx.x * 32 + lane;
  float x = 0;
  for (int i = line; i < n && k < d; i += LINES) {
    const long long e = (long long)i * d + k;
    x += both ? A[e] * B[e] : A[e];
  }
  parts[line][lane] = x;
  __syncthreads();
  if (line == 0 && k < d) {
    for (int other = 1; other < LINES; other++)
      x += parts[other][lane];
    sums[k] = x;
  }
}

// Layer norm of X + R, or of X where there is no `residual` (14.10); a warp a row.
extern "C" __global__ void __launch_bounds__(256)
norm_rows(const float* __restrict__ X, const float* __restrict__ R, const float* __restrict__ scale,
          const float* __restrict__ shift, float eps, float* normal, float* spreads, float* Y, int n,
          int d, int residual)
{
  const int i = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (i >= n)
    return;                             // the whole warp
  const long long row = (long long)i * d;
  float mean = 0, square = 0;
  for (int k = lane; k < d; k += 32)
    mean += residual ? X[row + k] + R[row + k] : X[row + k];
  mean = warp_sum(mean) / d;
  for (int k = lane; k < d; k += 32) {
    const float x = (residual ? X[row + k] + R[row + k] : X[row + k]) - mean;
    normal[row + k] = x;                // its own lane reads it again
    square += x * x;
  }
  const float spread = sqrtf(warp_sum(square) / d + eps);
  for (int k = lane; k < d; k += 32) {
    const float x = normal[row + k] / spread;
    normal[row + k] = x;
    Y[row + k] = x * scale[k] + shift[k];
  }
  if (lane == 0)
    spreads[i] = spread;
}

// dX of it; a warp a row.
extern "C" __global__ void __launch_bounds__(256)
norm_backward(const float* __restrict__ dY, const float* __restrict__ normal,
              const float* __restrict__ spreads, const float* __restrict__ scale, float* dX, int n,
              int d)
{
  const int i = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (i >= n)
    return;
  const long long row = (long long)i * d;
  float mean = 0, along = 0;
  for (int k = lane; k < d; k += 32) {
    const float g = dY[row + k] * scale[k];
    mean += g;
    along += g * normal[row + k];
  }
  mean = warp_sum(mean) / d;
  along = warp_sum(along) / d;
  for (int k = lane; k < d; k += 32)
    dX[row + k] = (dY[row + k] * scale[k] - mean - normal[row + k] * along) / spreads[i];
}

// Y = gelu(X + b) (14.11); a thread a number.
extern "C" __global__ void __launch_bounds__(256)
gelu_rows(const float* __restrict__ X, const float* __restrict__ b, float* Y, int d,
          long long numbers)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= numbers)
    return;
  const float x = X[e] + b[e % d];
  Y[e] = x * (0.5f * erfcf(x * -0.70710678f));
}

extern "C" __global__ void __launch_bounds__(256)
gelu_backward(const float* __restrict__ X, const float* __restrict__ b,
              const float* __restrict__ dY, float* dX, int d, long long numbers)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= numbers)
    return;
  const float x = X[e] + b[e % d];
  dX[e] = dY[e] * (0.5f * erfcf(x * -0.70710678f) + x * (0.39894228f * expf(-0.5f * x * x)));
}

// losses[i] = ln sum_j exp(S[i, j]) - S[i, labels[i]] (6.1), by the row's largest and the sum of
// exp(S - largest), which are kept; a warp a row.
extern "C" __global__ void __launch_bounds__(256)
label_losses(const float* __restrict__ S, const int* __restrict__ labels, float* tops,
             float* totals, float* losses, int n, int V)
{
  const int i = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (i >= n)
    return;
  const float* row = S + (long long)i * V;
  float top = LOWEST, total = 0;
  for (int j = lane; j < V; j += 32)
    top = fmaxf(top, row[j]);
  for (int apart = 16; apart; apart /= 2)
    top = fmaxf(top, __shfl_xor_sync(ALL, top, apart));
  for (int j = lane; j < V; j += 32)
    total += expf(row[j] - top);
  total = warp_sum(total);
  if (lane == 0) {
    tops[i] = top;
    totals[i] = total;
    losses[i] = logf(total) + (top - row[labels[i]]);
  }
}

// dS = (exp(S - top) / total - [j = label]) each (6.4); a thread a number; dS may be S.
extern "C" __global__ void __launch_bounds__(256)
label_backward(const float* S, const int* __restrict__ labels, const float* __restrict__ tops,
               const float* __restrict__ totals, const float* __restrict__ each, float* dS, int V,
               long long numbers)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= numbers)
    return;
  const int i = (int)(e / V), j = (int)(e % V);
  dS[e] = (expf(S[e] - tops[i]) / totals[i] - (j == labels[i])) * each[i];
}

// X[i] = E[ids[i]]; a thread a number.
extern "C" __global__ void __launch_bounds__(256)
gather_rows(const float* __restrict__ E, const int* __restrict__ ids, float* X, int d,
            long long numbers)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e < numbers)
    X[e] = E[(long long)ids[e / d] * d + e % d];
}

// dE[ids[i]] += dX[i]; a thread a number.
extern "C" __global__ void __launch_bounds__(256)
scatter_rows(const float* __restrict__ dX, const int* __restrict__ ids, float* dE, int d,
             long long numbers)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e < numbers)
    atomicAdd(dE + (long long)ids[e / d] * d + e % d, dX[e]);
}

// A step of Adam (14.12), rate over 1 - b1^t, scale 1 / sqrt(1 - b2^t), decay times r; a thread a
// number.
extern "C" __global__ void __launch_bounds__(256)
adam_update(float* x, const float* __restrict__ g, float* m, float* v, float kept1, float kept2,
            float rate, float scale, float eps, float decay, long long numbers)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= numbers)
    return;
  m[e] += kept1 * (g[e] - m[e]);
  v[e] += kept2 * (g[e] * g[e] - v[e]);
  x[e] -= rate * (m[e] / (sqrtf(v[e]) * scale + eps)) + decay * x[e];
}
