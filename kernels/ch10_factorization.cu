// Chapter 10: co-occurrence counts by a sort of all pairs, CSR times dense, a sweep by document.

#define NEVER 0x7fffffffffffffffll                // sorts behind every key

// Thread (t, k): place t and the one k behind it are neighbours if both are in one document
// (that of t ends at ends[t]): a key for each of the two, cell * apart + distance if apart > 1.
extern "C" __global__ void __launch_bounds__(256)
cooc_keys(const int* __restrict__ words, const int* __restrict__ ends, long long* keys,
          long long places, int window, long long V, int apart)
{
  const long long p = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (p >= places * window)
    return;
  const long long t = p / window;
  const int k = (int)(p % window) + 1;
  long long one = NEVER, other = NEVER;
  if (t + k < ends[t]) {
    const long long w = words[t], c = words[t + k], distance = apart > 1 ? k : 0;
    one = (w * V + c) * apart + distance;
    other = (c * V + w) * apart + distance;
  }
  keys[2 * p] = one;
  keys[2 * p + 1] = other;
}

// begins[e] = 1 where sorted keys, divided by `by`, change.
extern "C" __global__ void __launch_bounds__(256)
cooc_begins(const long long* __restrict__ keys, int* begins, long long n, long long by)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e < n)
    begins[e] = e == 0 || keys[e] / by != keys[e - 1] / by;
}

// number: begins, summed up.  Key number i is written once: where it begins, and what it is.
extern "C" __global__ void __launch_bounds__(256)
cooc_list(const long long* __restrict__ keys, const long long* __restrict__ number,
          long long* places, long long* found, long long n)
{
  const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= n || (e > 0 && number[e] == number[e - 1]))
    return;
  places[number[e] - 1] = e;
  found[number[e] - 1] = keys[e];
}

// A cell's different keys are side by side, near ones first: its sum of count / distance, the
// reference's additions in its order.  starts (m + 1,): of the runs of equal keys.
extern "C" __global__ void __launch_bounds__(256)
cooc_sums(const long long* __restrict__ found, const long long* __restrict__ starts,
          const long long* __restrict__ first, double* sums, long long cells, int apart)
{
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= cells)
    return;
  long long e = first[i], begin = starts[e];
  const long long least = found[e] / apart * apart;                   // distance 0 of the cell
  double total = 0;
  for (const long long last = first[i + 1]; e < last; e++) {
    const long long end = starts[e + 1];
    total += (double)(end - begin) / (double)(int)(found[e] - least);
    begin = end;
  }
  sums[i] = total;
}

// out (n, columns): a warp has a row and 32 columns, so that it reads B and writes side by side.
extern "C" __global__ void __launch_bounds__(256)
csr_matmul(const long long* __restrict__ indptr, const int* __restrict__ indices,
           const double* __restrict__ data, const double* __restrict__ B, double* out, int n,
           int columns)
{
  const long long warp = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int strips = (columns + 31) / 32;
  const long long row = warp / strips, j = warp % strips * 32 + threadIdx.x % 32;
  if (row >= n || j >= columns)
    return;
  double total = 0;
  for (long long e = indptr[row]; e < indptr[row + 1]; e++)
    total += data[e] * B[(long long)indices[e] * columns + j];
  out[row * columns + j] = total;
}

// Block j draws the topics of document j, tokens starts[j] to starts[j + 1], one after another
// (10.6), against by_word (V, topics) and totals as they were before the sweep and its own changes.
// old: topics before, z: a copy of them, which becomes the topics after.
extern "C" __global__ void __launch_bounds__(32)
gibbs_document(const int* __restrict__ words, const long long* __restrict__ starts,
               const int* __restrict__ old, int* z, const int* __restrict__ by_document,
               const int* __restrict__ by_word, const int* __restrict__ totals,
               const double* __restrict__ uniforms, double alpha, double beta, double all,
               int topics)
{
  extern __shared__ double weights[];             // (topics,), and two rows of counts behind them
  int* here = (int*)(weights + topics);           // of the document, now
  int* moved = here + topics;                     // own tokens of the same word: now less before
  const long long first = starts[blockIdx.x];
  const int tokens = (int)(starts[blockIdx.x + 1] - first);
  words += first, old += first, z += first, uniforms += first;
  const int* before = by_document + (long long)blockIdx.x * topics;
  for (int t = threadIdx.x; t < topics; t += 32)
    here[t] = before[t];
  for (int i = 0; i < tokens; i++) {
    for (int t = threadIdx.x; t < topics; t += 32)
      moved[t] = 0;
    __syncwarp();
#pragma unroll 1
    for (int k = threadIdx.x; k < tokens; k += 32)
      if (words[k] == words[i]) {
        if (k != i)
          atomicAdd(moved + z[k], 1);
        atomicAdd(moved + old[k], -1);
      }
    if (threadIdx.x == 0)
      here[z[i]]--;
    __syncwarp();
#pragma unroll 1
    for (int t = threadIdx.x; t < topics; t += 32)
      weights[t] = (here[t] + alpha) * (by_word[(long long)words[i] * topics + t] + moved[t] + beta)
                   / (totals[t] + here[t] - before[t] + all);
    __syncwarp();
    if (threadIdx.x == 0) {                       // sums in the reference's order
#pragma unroll 1
      for (int t = 1; t < topics; t++)
        weights[t] += weights[t - 1];
      const double bar = uniforms[i] * weights[topics - 1];
      int t = 0;
      while (t < topics - 1 && weights[t] <= bar)
        t++;
      z[i] = t;
      here[t]++;
    }
    __syncwarp();
  }
}
