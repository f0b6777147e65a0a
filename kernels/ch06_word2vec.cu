// Chapter 6: windows, and steps of word2vec with the full softmax.

#define LANES 8                         // threads that write the context of a place
#define CHUNK 4                         // columns that a lane holds at a time
#define LOWEST __int_as_float(0xff800000)   // minus infinity

// ---- windows ------------------------------------------------------------------------------------

// Which words are in C_t: tokens[low] to tokens[high - 1], but for t itself.
struct Range {
  long long low, high;
};

static __device__ Range context_of(const long long* __restrict__ starts, long long texts,
                                   long long t, long long c)
{
  long long first = 0, stop = texts;    // the last text that begins at t or before it
  while (stop - first > 1) {
    const long long middle = (first + stop) / 2;
    if (starts[middle] <= t)
      first = middle;
    else
      stop = middle;
  }
  return {max(t - c, starts[first]), min(t + c + 1, starts[first + 1])};
}

// counts[t] = |C_t|; a thread a place.
extern "C" __global__ void __launch_bounds__(256)
count_contexts(const long long* __restrict__ starts, const long long* __restrict__ window,
               long long* counts, long long texts, long long T)
{
  const long long t = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= T)
    return;
  const Range near = context_of(starts, texts, t, window[t]);
  counts[t] = near.high - near.low - 1;
}

// contexts[indptr[t]...] = the words of C_t; LANES threads a place.
extern "C" __global__ void __launch_bounds__(256)
write_contexts(const long long* __restrict__ tokens, const long long* __restrict__ starts,
               const long long* __restrict__ window, const long long* __restrict__ indptr,
               long long* contexts, long long texts, long long T)
{
  const long long t = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / LANES;
  if (t >= T)
    return;
  const Range near = context_of(starts, texts, t, window[t]);
  for (long long j = near.low + threadIdx.x % LANES; j < near.high; j += LANES)
    if (j != t)
      contexts[indptr[t] + j - near.low - (j > t)] = tokens[j];
}

// ---- a step -------------------------------------------------------------------------------------

// A model in training.  Warp w of all `warps` owns the rows w, w + warps, ... of U, its own number
// in `most` and `sums`, and row w of dh.
template <class T>
struct Model {
  T *W, *U, *h, *dh, *scores, *most, *sums;
  int V, d, warps;
};

// work: h (d), dh (warps, d), scores (V), most (warps), sums (warps).
template <class T>
static __device__ Model<T> model_of(T* W, T* U, T* work, int V, int d, int warps)
{
  T* scores = work + (long long)(warps + 1) * d;
  return {W, U, work, work + d, scores, scores + V, scores + V + warps, V, d, warps};
}

template <class T>
static __device__ T warp_sum(T x)
{
  for (int step = 16; step > 0; step /= 2)
    x += __shfl_xor_sync(0xffffffff, x, step);
  return x;                             // the same in all lanes
}

static __device__ int my_warp()
{
  return (blockIdx.x * blockDim.x + threadIdx.x) / 32;
}

// Scores of a warp's rows (6.1), the largest of them, and sum exp(score - largest).
template <class T>
static __device__ void step_scores(const Model<T>& m)
{
  const int lane = threadIdx.x % 32, w = my_warp();
  T most = LOWEST, sum = 0;
  for (int j = w; j < m.V; j += m.warps) {
    const T* row = m.U + (long long)j * m.d;
    T x = 0;
    for (int k = lane; k < m.d; k += 32)
      x += row[k] * m.h[k];
    x = warp_sum(x);
    if (lane == 0)
      m.scores[j] = x;
    if (x > most) {
      sum = sum * exp(most - x) + 1;
      most = x;
    } else
      sum += exp(x - most);             // NaN, too, comes here, and stays
  }
  if (lane == 0) {
    m.most[w] = most;
    m.sums[w] = sum;
  }
}

// Scores become errors (6.4), a warp's rows of U take their step (6.6), and its share of dL/dh is
// summed from U before it (6.5).  Who owns the word's row writes the loss.
template <class T>
static __device__ void step_outputs(const Model<T>& m, long long word, T rate, T* loss)
{
  const int lane = threadIdx.x % 32, w = my_warp();
  T most = LOWEST, sum = 0;
  for (int p = lane; p < m.warps; p += 32)
    most = max(most, m.most[p]);
  for (int step = 16; step > 0; step /= 2)
    most = max(most, __shfl_xor_sync(0xffffffff, most, step));
  for (int p = lane; p < m.warps; p += 32)
    sum += m.sums[p] * exp(m.most[p] - most);
  sum = warp_sum(sum);
  for (long long j = w + (long long)lane * m.warps; j < m.V; j += 32LL * m.warps) {
    const T x = m.scores[j];
    m.scores[j] = exp(x - most) / sum - (j == word);
    if (j == word)
      *loss = most - x + log(sum);
  }
  __syncwarp();                         // errors come from other lanes
  for (int first = lane; first - lane < m.d; first += 32 * CHUNK) {
    T dh[CHUNK] = {}, h[CHUNK];
#pragma unroll
    for (int c = 0; c < CHUNK; c++)
      h[c] = first + 32 * c < m.d ? rate * m.h[first + 32 * c] : 0;
    for (int j = w; j < m.V; j += m.warps) {
      T* row = m.U + (long long)j * m.d + first;
      const T error = m.scores[j];
#pragma unroll
      for (int c = 0; c < CHUNK; c++)
        if (first + 32 * c < m.d) {
          const T u = row[32 * c];
          dh[c] += error * u;
          row[32 * c] = u - h[c] * error;
        }
    }
#pragma unroll
    for (int c = 0; c < CHUNK; c++)
      if (first + 32 * c < m.d)
        m.dh[(long long)w * m.d + first + 32 * c] = dh[c];
  }
}

// The windows: window i has the words contexts[indptr[i]]..., and each of them the weight each[i].
template <class T>
struct Windows {
  const long long* __restrict__ indptr;
  const long long* __restrict__ contexts;
  const T* __restrict__ rates;
  const T* __restrict__ each;
};

// dL/dh summed over all warps, in their order, and the step of window i's words (6.6); then h of
// window i + 1.  A block takes 32 columns at a time.  One thread a column writes to W, so that a
// word that stands twice in a window, or in the next one too, finds its own step.
template <class T>
static __device__ void step_inputs(const Model<T>& m, const Windows<T>& x, long long i, long long n)
{
  __shared__ T part[32][33];
  const int lane = threadIdx.x % 32, slice = threadIdx.x / 32, slices = blockDim.x / 32;
  for (int first = 32 * blockIdx.x; first < m.d; first += 32 * gridDim.x) {
    const int k = first + lane;
    T dh = 0;
    if (i >= 0 && k < m.d)
      for (int p = slice; p < m.warps; p += slices)
        dh += m.dh[(long long)p * m.d + k];
    part[slice][lane] = dh;
    __syncthreads();
    if (slice == 0 && k < m.d) {
      if (i >= 0) {
        for (int s = 1; s < slices; s++)
          dh += part[s][lane];
        for (long long p = x.indptr[i]; p < x.indptr[i + 1]; p++)
          m.W[x.contexts[p] * m.d + k] -= x.rates[i] * x.each[i] * dh;
      }
      if (i + 1 < n) {
        T h = 0;
        for (long long p = x.indptr[i + 1]; p < x.indptr[i + 2]; p++)
          h += m.W[x.contexts[p] * m.d + k];
        m.h[k] = h * x.each[i + 1];
      }
    }
    __syncthreads();                    // part is read, h written
  }
}

// ---- what is launched ---------------------------------------------------------------------------

// The phases (1 scores, 2 outputs, 4 inputs) of the steps i to stop - 1.  One block does all three
// of many steps, with a barrier after each; of many blocks, each launch does one phase of one step,
// for only a launch's end makes blocks wait for each other.  Inputs of step -1: h of window 0.
template <class T>
static __device__ void steps(const Model<T>& m, const Windows<T>& x,
                             const long long* __restrict__ targets, T* losses, long long n,
                             long long i, long long stop, int phases)
{
  for (; i < stop; i++) {
    if (phases & 1)
      step_scores(m);
    __syncthreads();
    if (phases & 2)
      step_outputs(m, targets[i], x.rates[i], losses + i);
    __syncthreads();
    if (phases & 4)
      step_inputs(m, x, i, n);          // ends with a barrier
  }
}

extern "C" __global__ void __launch_bounds__(1024)
word2vec_steps_f32(float* W, float* U, const long long* __restrict__ targets,
                   const long long* __restrict__ indptr, const long long* __restrict__ contexts,
                   const float* __restrict__ rates, const float* __restrict__ each, float* work,
                   float* losses, int V, int d, int warps, long long n, long long i,
                   long long stop, int phases)
{
  steps(model_of(W, U, work, V, d, warps), Windows<float>{indptr, contexts, rates, each}, targets,
        losses, n, i, stop, phases);
}

extern "C" __global__ void __launch_bounds__(1024)
word2vec_steps_f64(double* W, double* U, const long long* __restrict__ targets,
                   const long long* __restrict__ indptr, const long long* __restrict__ contexts,
                   const double* __restrict__ rates, const double* __restrict__ each, double* work,
                   double* losses, int V, int d, int warps, long long n, long long i,
                   long long stop, int phases)
{
  steps(model_of(W, U, work, V, d, warps), Windows<double>{indptr, contexts, rates, each}, targets,
        losses, n, i, stop, phases);
}
