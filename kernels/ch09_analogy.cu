// Chapter 9: the forces of t-SNE (9.5).  A thread has a point i, a block a range of the points j.
// __launch_bounds__(256, 3) allows 80 registers: with 256 alone some compilers take 32, and spill.

#define TILE 256                        // points j in shared memory at a time; threads of a block

// Of each i, over the points j of block row y: attraction (D), repulsion (D), sum of w, to
// sums (gridDim.y, 2 D + 1, n).  P is symmetric: row j, not row i, has neighbours for neighbours.
template <int D>
static __device__ void forces(const float* __restrict__ P, const float* __restrict__ Y,
                              float* sums, int n, float (*tile)[TILE])
{
  const int i = blockIdx.x * TILE + threadIdx.x, span = (n + gridDim.y - 1) / gridDim.y;
  const int end = min(n, (int)(blockIdx.y + 1) * span);
  float own[D], pull[D], push[D], total = 0;
#pragma unroll
  for (int k = 0; k < D; k++) {
    own[k] = i < n ? Y[k * n + i] : 0;
    pull[k] = push[k] = 0;
  }
  for (int from = blockIdx.y * span; from < end; from += TILE) {
    const int points = min(TILE, end - from);
    __syncthreads();                    // all have used the tile before
#pragma unroll
    for (int k = 0; k < D; k++)
      if ((int)threadIdx.x < points)
        tile[k][threadIdx.x] = Y[k * n + from + threadIdx.x];
    __syncthreads();
    if (i < n)
      for (int j = 0; j < points; j++) {
        float gap[D], squares = 1;
#pragma unroll
        for (int k = 0; k < D; k++) {
          gap[k] = own[k] - tile[k][j];
          squares += gap[k] * gap[k];
        }
        const float w = from + j == i ? 0.0f : 1.0f / squares;
        const float p = P[(long long)(from + j) * n + i];
        total += w;
#pragma unroll
        for (int k = 0; k < D; k++) {
          pull[k] += p * w * gap[k];
          push[k] += w * w * gap[k];
        }
      }
  }
  if (i >= n)
    return;
  sums += (long long)blockIdx.y * (2 * D + 1) * n + i;
#pragma unroll
  for (int k = 0; k < D; k++) {
    sums[(long long)k * n] = pull[k];
    sums[(long long)(D + k) * n] = push[k];
  }
  sums[2LL * D * n] = total;
}

extern "C" __global__ void __launch_bounds__(256, 3)
tsne_forces_1(const float* __restrict__ P, const float* __restrict__ Y, float* sums, int n)
{
  __shared__ float tile[1][TILE];
  forces<1>(P, Y, sums, n, tile);
}

extern "C" __global__ void __launch_bounds__(256, 3)
tsne_forces_2(const float* __restrict__ P, const float* __restrict__ Y, float* sums, int n)
{
  __shared__ float tile[2][TILE];
  forces<2>(P, Y, sums, n, tile);
}

extern "C" __global__ void __launch_bounds__(256, 3)
tsne_forces_3(const float* __restrict__ P, const float* __restrict__ Y, float* sums, int n)
{
  __shared__ float tile[3][TILE];
  forces<3>(P, Y, sums, n, tile);
}
