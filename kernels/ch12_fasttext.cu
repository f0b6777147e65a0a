// Chapter 12: fastText.  A warp takes item after item, a place of CBOW or a text: the mean of its
// rows predicts, then all rows move.  Skip-gram: it takes document after document, place by place.

#define WARP 32
#define FULL 0xffffffffu

static __device__ __forceinline__ float warp_sum(float x)
{
  for (int step = WARP / 2; step; step /= 2)
    x += __shfl_xor_sync(FULL, x, step);
  return x;
}

static __device__ __forceinline__ float warp_max(float x)
{
  for (int step = WARP / 2; step; step /= 2)
    x = fmaxf(x, __shfl_xor_sync(FULL, x, step));
  return x;
}

// What a warp knows of its item.  Others move the rows meanwhile: __ldcg reads what they left in
// L2, where the atomics are.
struct Item {
  const int* __restrict__ rows;         // (size,) of Z
  int size, d;
};

// Rows of A that are predicted at once: ids (n,), or null: 0, 1, 2, ...
struct Outputs {
  const int* __restrict__ ids;
  int n, d;
  __device__ long long operator[](int j) const { return (ids ? ids[j] : j) * (long long)d; }
};

// Eq. 12.3: h (d,) in shared memory; each lane has numbers k of its own, and alone uses them.
static __device__ void mean(const float* Z, const Item& item, float* h)
{
  for (int k = threadIdx.x % WARP; k < item.d; k += WARP) {
    float sum = 0;
    for (int p = 0; p < item.size; p++)
      sum += __ldcg(&Z[(long long)item.rows[p] * item.d + k]);
    h[k] = sum / item.size;
  }
}

// s_j = <a_j, h> to shared memory.
static __device__ void scores(const float* A, const Outputs& at, const float* h, float* s)
{
  const int lane = threadIdx.x % WARP;
  for (int j = 0; j < at.n; j++) {
    float sum = 0;
    for (int k = lane; k < at.d; k += WARP)
      sum += h[k] * __ldcg(&A[at[j] + k]);
    sum = warp_sum(sum);
    if (lane == 0)
      s[j] = sum;
  }
  __syncwarp();
}

// Eq. 12.4, 12.5: s becomes dL/ds.  weights: below 0 for what is right, 0 for what does not count.
static __device__ float logistic(const float* __restrict__ weights, int outputs, float* s)
{
  float loss = 0;
  for (int j = threadIdx.x % WARP; j < outputs; j += WARP) {
    const float x = s[j], e = expf(-fabsf(x)), sigma = (x >= 0 ? 1.0f : e) / (1 + e);
    const bool right = weights[j] < 0;
    loss += (right ? 1.0f : weights[j]) * (fmaxf(right ? -x : x, 0.0f) + log1pf(e));
    s[j] = right ? sigma - 1 : weights[j] * sigma;
  }
  __syncwarp();
  return warp_sum(loss);
}

// Eq. 12.6: the same for a softmax, in which `label` is right.
static __device__ float softmax(int label, int outputs, float* s)
{
  const int lane = threadIdx.x % WARP;
  float largest = s[0], total = 0;
  for (int j = lane; j < outputs; j += WARP)
    largest = fmaxf(largest, s[j]);
  largest = warp_max(largest);
  for (int j = lane; j < outputs; j += WARP)
    total += expf(s[j] - largest);
  total = warp_sum(total);
  const float loss = largest - s[label] + logf(total);
  __syncwarp();                         // all have read s[label]
  for (int j = lane; j < outputs; j += WARP)
    s[j] = expf(s[j] - largest) / total - (j == label ? 1.0f : 0.0f);
  __syncwarp();
  return loss;
}

// Eq. 12.5: all of dL/dh_k, to dh, is taken before a row of A moves.
static __device__ void follow(float* A, const Outputs& at, const float* h, const float* s,
                              float* dh, float rate)
{
  for (int k = threadIdx.x % WARP; k < at.d; k += WARP) {
    float sum = 0;
    for (int j = 0; j < at.n; j++)
      sum += s[j] * __ldcg(&A[at[j] + k]);
    for (int j = 0; j < at.n; j++)
      atomicAdd(&A[at[j] + k], -rate * s[j] * h[k]);
    dh[k] = sum;
  }
}

static __device__ void move(float* Z, const Item& item, const float* dh, float rate)
{
  for (int k = threadIdx.x % WARP; k < item.d; k += WARP)
    for (int p = 0; p < item.size; p++)
      atomicAdd(&Z[(long long)item.rows[p] * item.d + k], -rate * dh[k]);
}

// Item i has rows[row_ends[i]..row_ends[i + 1]], and predicts the same of ids and weights; if
// labelled, all `longest` rows of A, and a label.  divide: by the number of rows.  losses (n,).  Its
// shared memory: 2 d + longest floats a warp.  8 blocks: allowed fewer registers, it would spill.
extern "C" __global__ void __launch_bounds__(128, 8)
fasttext_items(float* Z, float* A, const long long* __restrict__ row_ends,
               const int* __restrict__ rows, const long long* __restrict__ id_ends,
               const int* __restrict__ ids, const float* __restrict__ weights,
               const int* __restrict__ labels, const float* __restrict__ rates, float* losses,
               int n, int d, int longest, int divide, int labelled)
{
  extern __shared__ float memory[];
  const int warps = blockDim.x / WARP, warp = threadIdx.x / WARP;
  float* h = memory + warp * (2 * d + longest);
  float* dh = h + d;
  float* s = dh + d;
  for (long long i = blockIdx.x * warps + warp; i < n; i += gridDim.x * warps) {
    const Item item = {rows + row_ends[i], (int)(row_ends[i + 1] - row_ends[i]), d};
    const long long first = labelled ? 0 : id_ends[i];
    const Outputs outputs = {labelled ? nullptr : ids + first,
                             labelled ? longest : (int)(id_ends[i + 1] - first), d};
    mean(Z, item, h);
    scores(A, outputs, h, s);
    const float loss = labelled ? softmax(labels[i], outputs.n, s)
                                : logistic(weights + first, outputs.n, s);
    follow(A, outputs, h, s, dh, rates[i]);
    __syncwarp();                       // s is written anew
    move(Z, item, dh, divide ? rates[i] / item.size : rates[i]);
    if (threadIdx.x % WARP == 0)
      losses[i] = loss;
  }
}

// A place that a warp is at: its m neighbours' slots of H and old, the words that they predict.
struct Place {
  float* H;                             // (ring, d): the means, as they move
  float* old;                           // (ring, d): as they were taken
  float* G;                             // (m, words): dL/ds
  float* column;                        // (words, WARP): numbers k of the rows of U, as they were
  float* weights;                       // (words,)
  int* ids;                             // (words,)
  int* near;                            // (m,)
  int m, words, d;
};

// A lane finds a neighbour, and a word.
static __device__ void look_around(Place& p, const int* __restrict__ tokens,
                                   const int* __restrict__ drawn, int t, int begin, int end,
                                   int ring)
{
  const int lane = threadIdx.x % WARP, centre = tokens[t];
  for (int j = lane; j < p.words; j += WARP) {
    p.ids[j] = j ? drawn[j - 1] : centre;
    p.weights[j] = j == 0 ? -1.0f : p.ids[j] != centre ? 1.0f : 0.0f;
  }
  p.m = end - begin - 1;
  for (int i = lane; i < p.m; i += WARP)
    p.near[i] = (begin + i + (begin + i >= t)) % ring;
  __syncwarp();
}

// Eq. 12.4, 8.6: the loss; then all that moves does so by what is old.
static __device__ float predict(float* U, const Place& p, float rate)
{
  const int lane = threadIdx.x % WARP;
  float loss = 0;
#pragma unroll 1
  for (int i = 0; i < p.m; i++) {
    float* s = p.G + i * p.words;
    scores(U, {p.ids, p.words, p.d}, p.H + p.near[i] * p.d, s);
    loss += logistic(p.weights, p.words, s);
  }
#pragma unroll 1
  for (int k = lane; k < p.d; k += WARP) {
#pragma unroll 1
    for (int j = 0; j < p.words; j++)
      p.column[j * WARP + lane] = __ldcg(&U[p.ids[j] * (long long)p.d + k]);
#pragma unroll 1
    for (int j = 0; j < p.words; j++) {
      float sum = 0;
#pragma unroll 1
      for (int i = 0; i < p.m; i++)
        sum += p.G[i * p.words + j] * p.H[p.near[i] * p.d + k];
      atomicAdd(&U[p.ids[j] * (long long)p.d + k], -rate * sum);
    }
#pragma unroll 1
    for (int i = 0; i < p.m; i++) {
      float sum = 0;
#pragma unroll 1
      for (int j = 0; j < p.words; j++)
        sum += p.G[i * p.words + j] * p.column[j * WARP + lane];
      p.H[p.near[i] * p.d + k] -= rate * sum;
    }
  }
  __syncwarp();                         // the next place is looked for
  return loss;
}

// Skip-gram: a warp goes through a document.  A word's mean is taken `reach` places before its own,
// and its rows follow that mean as many after it.  losses (T,), of a place.  Shared memory of a
// warp: `floats` of them.
extern "C" __global__ void __launch_bounds__(128, 8)
fasttext_documents(float* Z, float* U, const int* __restrict__ tokens,
                   const long long* __restrict__ starts, const int* __restrict__ windows,
                   const float* __restrict__ rates, const int* __restrict__ negatives,
                   const long long* __restrict__ indptr, const int* __restrict__ rows,
                   float* losses, int documents, int d, int K, int reach, int floats)
{
  extern __shared__ float memory[];
  const int warps = blockDim.x / WARP, warp = threadIdx.x / WARP, ring = 2 * reach + 1;
  Place p;
  p.words = K + 1;
  p.d = d;
  p.H = memory + warp * floats;
  p.old = p.H + ring * d;
  p.G = p.old + ring * d;
  p.column = p.G + 2 * reach * p.words;
  p.weights = p.column + p.words * WARP;
  p.ids = (int*)(p.weights + p.words);
  p.near = p.ids + p.words;
#pragma unroll 1
  for (int i = blockIdx.x * warps + warp; i < documents; i += gridDim.x * warps) {
    const int first = (int)starts[i], stop = (int)starts[i + 1];
#pragma unroll 1
    for (int t = first - reach; t < stop + reach; t++) {
      if (t + reach < stop) {
        const int w = tokens[t + reach], at = (t + reach) % ring * d;
        mean(Z, {rows + indptr[w], (int)(indptr[w + 1] - indptr[w]), d}, p.H + at);
        for (int k = threadIdx.x % WARP; k < d; k += WARP)
          p.old[at + k] = p.H[at + k];
      }
      if (t >= first && t < stop) {
        look_around(p, tokens, negatives + (long long)t * K, t, max(first, t - windows[t]),
                    min(stop, t + windows[t] + 1), ring);
        const float loss = predict(U, p, rates[t]);
        if (threadIdx.x % WARP == 0)
          losses[t] = loss;
      }
      if (t - reach >= first) {
        const int w = tokens[t - reach], at = (t - reach) % ring * d;
        for (int k = threadIdx.x % WARP; k < d; k += WARP)
          p.old[at + k] -= p.H[at + k];
        move(Z, {rows + indptr[w], (int)(indptr[w + 1] - indptr[w]), d}, p.old + at, 1);
      }
    }
  }
}
