// Chapter 4: TF-IDF over CSR rows.  A group of `lanes` threads (4, 8, 16 or 32 of a warp) has a row.

// Where this thread's group stands: its row, and its first and last entries (none past row n).
__device__ __forceinline__ int own_row(const long long* __restrict__ indptr, int n, int lanes,
                                       long long* first, long long* stop)
{
  const int row = (int)(((long long)blockIdx.x * blockDim.x + threadIdx.x) / lanes);
  *first = row < n ? indptr[row] + threadIdx.x % lanes : 0;
  *stop = row < n ? indptr[row + 1] : 0;
  return row;
}

// Sum over the group, in every lane of it.  The whole warp takes part, so no thread leaves early.
__device__ __forceinline__ double group_sum(double x, int lanes)
{
  for (int step = lanes / 2; step > 0; step /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

// Eq. 4.2.  A thread an entry; integers, so the order of the atomics changes nothing.
extern "C" __global__ void __launch_bounds__(256)
document_frequency(const int* __restrict__ indices, int* df, long long entries)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e < entries)
    atomicAdd(&df[indices[e]], 1);
}

// The sum of each row.
extern "C" __global__ void __launch_bounds__(256)
row_sums(const long long* __restrict__ indptr, const double* __restrict__ data, double* sums,
         int n, int lanes)
{
  long long first, stop;
  const int row = own_row(indptr, n, lanes, &first, &stop);
  double total = 0;
  for (long long e = first; e < stop; e += lanes)
    total += data[e];
  total = group_sum(total, lanes);
  if (row < n && threadIdx.x % lanes == 0)
    sums[row] = total;
}

// Eq. 4.4, and 4.1 before it if `divide`.  The second reading of a row comes from the cache.
extern "C" __global__ void __launch_bounds__(256)
weigh(const long long* __restrict__ indptr, const int* __restrict__ indices,
      const double* __restrict__ data, const double* __restrict__ weight, double* out, int n,
      int lanes, int divide)
{
  long long first, stop;
  own_row(indptr, n, lanes, &first, &stop);
  double total = 0;
  if (divide)
    for (long long e = first; e < stop; e += lanes)
      total += data[e];
  total = group_sum(total, lanes);
  for (long long e = first; e < stop; e += lanes)
    out[e] = (divide ? data[e] / total : data[e]) * weight[indices[e]];
}

// Rows over their Euclidean length; a row of zeros stays zero.  One division a row: float64 has few
// units on most devices.
extern "C" __global__ void __launch_bounds__(256)
unit_rows(const long long* __restrict__ indptr, const double* __restrict__ data, double* out,
          int n, int lanes)
{
  long long first, stop;
  own_row(indptr, n, lanes, &first, &stop);
  double square = 0;
  for (long long e = first; e < stop; e += lanes)
    square += data[e] * data[e];
  square = group_sum(square, lanes);
  const double scale = square > 0 ? 1 / sqrt(square) : 1.0;
  for (long long e = first; e < stop; e += lanes)
    out[e] = data[e] * scale;
}
