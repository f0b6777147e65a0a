// Chapter 13: the gates of an LSTM's step and their gradient, the softmax's loss; cuBLAS does the
// products.  All arrays are rows in C's order.

static __device__ float sigmoid(float x)
{
  return 1 / (1 + expf(-x));
}

// A step (13.1, 13.2) for B sequences, a thread a number of a state.  Z: (B, 4 d), becomes the
// gates; more: h U; a sequence that is over gets zeros.
extern "C" __global__ void __launch_bounds__(256)
lstm_gates(float* Z, const float* __restrict__ more, const float* __restrict__ before,
           const int* __restrict__ lengths, float* C, float* H, int t, int B, int d)
{
  const int e = blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= B * d)
    return;
  const int row = e / d;
  const long long at = 4LL * d * row + e % d;
  float gate[4] = {0, 0, 0, 0}, c = 0, h = 0;
  if (t < lengths[row]) {
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const float z = Z[at + (long long)part * d] + more[at + (long long)part * d];
      gate[part] = part == 2 ? tanhf(z) : sigmoid(z);                     // eq. 13.1
    }
    c = gate[1] * before[e] + gate[0] * gate[2];                          // eq. 13.2
    h = gate[3] * tanhf(c);
  }
#pragma unroll
  for (int part = 0; part < 4; part++)
    Z[at + (long long)part * d] = gate[part];
  C[e] = c;
  H[e] = h;
}

// A step back (13.3); dc becomes that of the step before.  Gates of 0 give gradients of 0.
extern "C" __global__ void __launch_bounds__(256)
lstm_gates_backward(const float* __restrict__ dH, const float* __restrict__ dh, float* dc,
                    const float* __restrict__ before, const float* __restrict__ C,
                    const float* __restrict__ G, float* dZ, int B, int d)
{
  const int e = blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= B * d)
    return;
  const long long at = 4LL * d * (e / d) + e % d;
  const float i = G[at], f = G[at + d], g = G[at + 2LL * d], o = G[at + 3LL * d];
  const float up = dH[e] + dh[e], bent = tanhf(C[e]);
  const float cell = dc[e] + up * o * (1 - bent * bent);
  dZ[at] = cell * g * i * (1 - i);
  dZ[at + d] = cell * before[e] * f * (1 - f);
  dZ[at + 2LL * d] = cell * i * (1 - g * g);
  dZ[at + 3LL * d] = up * bent * o * (1 - o);
  dc[e] = cell * f;
}

// One number of 256 threads: their largest, or their sum, in all of them.  The room is free again
// after the next barrier.
template <bool largest>
static __device__ float of_all(float x, float* room)
{
  for (int apart = 16; apart; apart /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, x, apart);
    x = largest ? fmaxf(x, other) : x + other;
  }
  if (threadIdx.x % 32 == 0)
    room[threadIdx.x / 32] = x;
  __syncthreads();
  x = room[0];
  for (int warp = 1; warp < 8; warp++)
    x = largest ? fmaxf(x, room[warp]) : x + room[warp];
  return x;
}

// A block a row of scores (V): its loss, and the scores become g (p - 1 of the word) (13.4).
extern "C" __global__ void __launch_bounds__(256)
softmax_rows(float* S, const float* __restrict__ a, const int* __restrict__ words, float g,
             float* losses, int V)
{
  __shared__ float room[8];
  float* s = S + (long long)blockIdx.x * V;
  float most = __int_as_float(0xff800000), total = 0;
  for (int j = threadIdx.x; j < V; j += 256) {
    s[j] += a[j];
    most = fmaxf(most, s[j]);
  }
  most = of_all<true>(most, room);
  const int word = words[blockIdx.x];
  const float own = s[word];                      // a thread wrote it before the barrier in of_all
  __syncthreads();                                // all have it, before it is written over
  for (int j = threadIdx.x; j < V; j += 256) {
    s[j] = expf(s[j] - most);
    total += s[j];
  }
  total = of_all<false>(total, room);
  for (int j = threadIdx.x; j < V; j += 256)
    s[j] = g * (s[j] / total - (j == word));
  if (threadIdx.x == 0)
    losses[blockIdx.x] = most - own + logf(total);
}
