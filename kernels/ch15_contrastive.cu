// Chapter 15: InfoNCE: the softmax of a strip of scores, a block a query.  The products are BLAS's.

#define FULL_WARP 0xffffffffu
#define LOWEST __int_as_float(0xff800000)         // minus infinity

template <class T>
static __device__ T sum_of(T x, T y) { return x + y; }

template <class T>
static __device__ T larger(T x, T y) { return x > y ? x : y; }

// x of all threads, joined; the same in all of them.  The barriers also part two calls.
template <class T, T (*JOIN)(T, T)>
static __device__ T block_of(T x, T start)
{
  __shared__ T part[8];
  for (int gap = 16; gap > 0; gap /= 2)
    x = JOIN(x, __shfl_xor_sync(FULL_WARP, x, gap));
  if (threadIdx.x % 32 == 0)
    part[threadIdx.x / 32] = x;
  __syncthreads();
  x = start;
  for (int w = 0; w < blockDim.x / 32; w++)
    x = JOIN(x, part[w]);
  __syncthreads();
  return x;
}

// S (rows, m) becomes exp(s - the row's largest), 0 for what is no negative of its query (the same
// group, but not its own positive); sums of the rows, and the losses (15.2) of their queries.
template <class T>
static __device__ void exp_row(T* S, const long long* __restrict__ groups, T* sums, T* losses,
                               int first, int m)
{
  T* row = S + (long long)blockIdx.x * m;
  const int own = first + blockIdx.x;
  const long long group = groups[own];
  T largest = LOWEST, total = 0;
  const T score = row[own];
  for (int j = threadIdx.x; j < m; j += blockDim.x)
    if (j == own || groups[j] != group)
      largest = larger(largest, row[j]);
  largest = block_of<T, larger<T>>(largest, LOWEST);   // its barriers: all have read their score
  for (int j = threadIdx.x; j < m; j += blockDim.x) {
    const T e = j == own || groups[j] != group ? exp(row[j] - largest) : 0;
    row[j] = e;
    total += e;
  }
  total = block_of<T, sum_of<T>>(total, 0);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = total;
    losses[own] = log(total) + largest - score;
  }
}

extern "C" __global__ void __launch_bounds__(256)
exp_rows_f32(float* S, const long long* __restrict__ groups, float* sums, float* losses, int first,
             int m)
{
  exp_row(S, groups, sums, losses, first, m);
}

extern "C" __global__ void __launch_bounds__(256)
exp_rows_f64(double* S, const long long* __restrict__ groups, double* sums, double* losses,
             int first, int m)
{
  exp_row(S, groups, sums, losses, first, m);
}
