// Chapter 11: GloVe: an AdaGrad step (11.4) for each entry, a warp an entry.
//
// The model: the rows of all words, then of all contexts; in each d numbers and a bias, then their
// sums of squares S = 1 / r^2.  Warps meet in rows: they add by atomics, and read past the
// first-level cache, so what they see may be some steps old, never torn.

#define ALL 0xffffffffu

// costs[e] = f e^2 / 2 of entry e, before its step.
extern "C" __global__ void __launch_bounds__(256)
glove_steps(const int* __restrict__ rows, const int* __restrict__ columns,
            const float* __restrict__ logs, const float* __restrict__ weights, float* model,
            int words, float* costs, int d, float rate, int entries)
{
  const long long e = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (e >= entries)
    return;                                       // the whole warp
  float* w = model + 2LL * (d + 1) * rows[e];
  float* c = model + 2LL * (d + 1) * (words + (long long)columns[e]);
  float error = 0;
  for (int k = lane; k < d; k += 32)
    error += __ldcg(w + k) * __ldcg(c + k);
  for (int apart = 16; apart; apart /= 2)
    error += __shfl_xor_sync(ALL, error, apart);
  error += __ldcg(w + d) + __ldcg(c + d) - logs[e];                   // eq. 11.1
  const float g = weights[e] * error;
  __syncwarp();                                   // all lanes have the biases as they were
  for (int k = lane; k <= d; k += 32) {
    const float move = k < d ? rate * g * __ldcg(c + k) : g;          // biases: rate 1
    const float back = k < d ? rate * g * __ldcg(w + k) : g;
    atomicAdd(w + k, -move * rsqrtf(__ldcg(w + d + 1 + k)));          // eq. 11.4
    atomicAdd(c + k, -back * rsqrtf(__ldcg(c + d + 1 + k)));
    atomicAdd(w + d + 1 + k, move * move);
    atomicAdd(c + d + 1 + k, back * back);
  }
  if (lane == 0)
    costs[e] = 0.5f * g * error;
}
