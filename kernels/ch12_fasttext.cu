// Chapter 12: fastText.  A warp takes item after item, a place of the corpus or a text: the mean of
// its rows predicts, then all rows move.

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

// Eq. 12.5: all of dL/dh_k is taken before a row of A moves; then these rows and h, and what h has
// moved is added up.
static __device__ void follow(float* A, const Outputs& at, float* h, const float* s, float* moved,
                              float rate)
{
  for (int k = threadIdx.x % WARP; k < at.d; k += WARP) {
    float dh = 0;
    for (int j = 0; j < at.n; j++)
      dh += s[j] * __ldcg(&A[at[j] + k]);
    for (int j = 0; j < at.n; j++)
      atomicAdd(&A[at[j] + k], -rate * s[j] * h[k]);
    h[k] -= rate * dh;
    moved[k] += rate * dh;
  }
}

static __device__ void move(float* Z, const Item& item, const float* moved, float share)
{
  for (int k = threadIdx.x % WARP; k < item.d; k += WARP)
    for (int p = 0; p < item.size; p++)
      atomicAdd(&Z[(long long)item.rows[p] * item.d + k], -share * moved[k]);
}

// Item i has rows[row_ends[i]..row_ends[i + 1]], and predicts the same of ids and weights, `group`
// at once, or all if it is 0; if labelled, all `longest` rows of A, and a label.  divide: by the
// number of rows.  losses (n,).  Its shared memory: 2 d + longest floats a warp.  8 blocks: allowed
// fewer registers, it would spill.
extern "C" __global__ void __launch_bounds__(128, 8)
fasttext_steps(float* Z, float* A, const long long* __restrict__ row_ends,
               const int* __restrict__ rows, const long long* __restrict__ id_ends,
               const int* __restrict__ ids, const float* __restrict__ weights,
               const int* __restrict__ labels, const float* __restrict__ rates, float* losses,
               int n, int d, int longest, int group, int divide, int labelled)
{
  extern __shared__ float memory[];
  const int warps = blockDim.x / WARP, warp = threadIdx.x / WARP;
  float* h = memory + warp * (2 * d + longest);
  float* moved = h + d;
  float* s = moved + d;
  for (long long i = blockIdx.x * warps + warp; i < n; i += gridDim.x * warps) {
    const Item item = {rows + row_ends[i], (int)(row_ends[i + 1] - row_ends[i]), d};
    const long long first = labelled ? 0 : id_ends[i], stop = labelled ? longest : id_ends[i + 1];
    const int step = group ? group : (int)(stop - first);
    float loss = 0;
    for (int k = threadIdx.x % WARP; k < d; k += WARP)
      moved[k] = 0;
    mean(Z, item, h);
    for (long long at = first; at < stop; at += step) {
      const Outputs outputs = {labelled ? nullptr : ids + at, step, d};
      scores(A, outputs, h, s);
      loss += labelled ? softmax(labels[i], step, s) : logistic(weights + at, step, s);
      follow(A, outputs, h, s, moved, rates[i]);
      __syncwarp();                     // s is written anew
    }
    move(Z, item, moved, divide ? 1.0f / item.size : 1.0f);
    if (threadIdx.x % WARP == 0)
      losses[i] = loss;
  }
}
