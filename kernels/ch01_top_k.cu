// Chapter 1: the k best of many scores, exactly: device functions for blocks of 256 threads.
//
// A key is one number of 64 bits, (2^31 + s) 2^32 - 1 - index, where s is what the bits of |score|
// say as an integer, with the sign of the score.  So the larger key is the better score or, of
// equal scores, the lower index: one comparison, no special case for ties.  0.0 and -0.0 tie, and
// both come back as 0.0; infinities are scores like others; NaN is not allowed; an index is below
// 2^32; 0 is the key of "nothing".
//
// A selector keeps the k best keys that its block was offered, sorted, in shared memory, and
// behind them a buffer.  A key that beats the k-th best so far, the bar, is appended; when the
// next round may not fit, the block sorts both and the bar rises.  Of n keys in random order only
// about k (1 + ln(n / k)) pass, so sorting is rare.  Which thread comes first decides the order in
// the buffer, never the result.
//
//     extern __shared__ Key memory[];                      // size + 2 of them, see below
//     TopK best = top_k_start(memory, k, size, 256);       // 256: keys a round, of all threads
//     for (int first = 0; first < n; first += 256) {       // all threads go round equally often
//       const int i = first + threadIdx.x;
//       bool full = i < n && top_k_offer(best, key_of(scores[i], i));
//       top_k_settle(best, full);                          // a barrier
//     }
//     top_k_finish(best, out);                             // out[0..k-1] falling, 0 where missing
//
// `size` is the least power of two with k + 256 places (32 at least), and the memory size + 2 keys:
// kernels/ch01_geometry_cuda.py has selector(k, round) -> size, bytes.  k up to TOP_K_LIMIT: more
// would leave no shared memory.  If each thread offers up to 4 keys between two settles, a round
// is 1024.

#define TOP_K_LIMIT 1024
typedef unsigned long long Key;

struct TopK {
  Key* keys;                            // (size,) shared: k kept ones, falling, then the buffer
  Key* bar;                             // shared: the k-th best so far
  unsigned* count;                      // shared: keys in the buffer
  int k, last;                          // last: a slot from here on makes the buffer too full
};

// The key of a score given by its bits: conversions that flush small numbers to 0 stay outside.
static __device__ Key key_of_bits(int bits, unsigned index)
{
  const int s = bits >= 0 ? bits : -(bits & 0x7fffffff);
  return ((Key)(0x80000000u + (unsigned)s) << 32) - 1 - index;
}

static __device__ Key key_of(float score, unsigned index)
{
  return key_of_bits(__float_as_int(score), index);
}

static __device__ unsigned index_of(Key key) { return ~(unsigned)key; }

static __device__ float score_of(Key key)
{
  const int s = (int)((unsigned)(key >> 32) - 0x7fffffffu);
  return __int_as_float(s >= 0 ? s : -s | (int)0x80000000);
}

// Bitonic sort, largest first.  size: a power of two, 32 or more.  All threads; ends in a barrier.
// Steps between places 32 or more apart go through shared memory, where a warp touches
// neighbours; the others stay in 32 places, and the registers of the warp that holds them.
static __device__ void sort_falling(Key* keys, int size)
{
  for (int width = 32; width <= size; width *= 2) {
    for (int gap = width / 2; gap >= 32; gap /= 2) {
      for (int i = threadIdx.x; i < size / 2; i += blockDim.x) {
        const int low = 2 * i - (i & (gap - 1));
        const Key a = keys[low], b = keys[low + gap];
        if ((a < b) == ((low & width) == 0)) {
          keys[low] = b;
          keys[low + gap] = a;
        }
      }
      __syncthreads();
    }
    for (int i = threadIdx.x; i < size; i += blockDim.x) {   // whole warps: 32 divides size
      Key key = keys[i];
      for (int w = width == 32 ? 2 : width; w <= width; w *= 2)
        for (int gap = min(w / 2, 16); gap > 0; gap /= 2) {
          const Key other = __shfl_xor_sync(0xffffffffu, key, gap);
          const bool larger = ((i & gap) == 0) == ((i & w) == 0);
          if ((other > key) == larger)
            key = other;
        }
      keys[i] = key;
    }
    __syncthreads();
  }
}

// An empty selector in `memory`.  All threads; ends in a barrier.
static __device__ TopK top_k_start(Key* memory, int k, int size, int round)
{
  const TopK best = {memory, memory + size, (unsigned*)(memory + size + 1), k, size - round};
  for (int i = threadIdx.x; i < k; i += blockDim.x)
    best.keys[i] = 0;
  if (threadIdx.x == 0)
    *best.bar = *best.count = 0;
  __syncthreads();
  return best;
}

// Any thread, any time within a round; true: the next round needs a merge first.
static __device__ bool top_k_offer(const TopK& best, Key key)
{
  if (key <= *best.bar)
    return false;
  const int slot = best.k + (int)atomicAdd(best.count, 1u);
  best.keys[slot] = key;
  return slot >= best.last;
}

// Sort what is kept and what is new.  All threads, after a barrier; ends in a barrier.
static __device__ void top_k_merge(const TopK& best)
{
  const int filled = best.k + (int)*best.count;
  int size = 32;
  while (size < filled)
    size *= 2;
  for (int i = filled + threadIdx.x; i < size; i += blockDim.x)
    best.keys[i] = 0;
  __syncthreads();                      // the padding is there, and all have read the count
  if (threadIdx.x == 0)
    *best.count = 0;
  sort_falling(best.keys, size);
  if (threadIdx.x == 0)
    *best.bar = best.keys[best.k - 1];
  __syncthreads();
}

// The end of a round.  All threads; `full`: what this thread's offers answered, with "or".
static __device__ void top_k_settle(const TopK& best, bool full)
{
  if (__syncthreads_or(full))
    top_k_merge(best);
}

// The k best, sorted, to global memory.  All threads; afterwards the memory is free again.
static __device__ void top_k_finish(const TopK& best, Key* out)
{
  __syncthreads();
  top_k_merge(best);
  for (int i = threadIdx.x; i < best.k; i += blockDim.x)
    out[i] = best.keys[i];
  __syncthreads();
}

// For a block of many selectors, whose keys lie in global memory and take turns in `area`: k kept
// and *count new keys, sorted there; the k best to `out`.  All threads; ends in a barrier.
static __device__ void merge_row(const Key* keys, int k, int* count, Key* bar, Key* area, Key* out)
{
  const int filled = k + *count;
  int size = 32;
  while (size < filled)
    size *= 2;
  for (int i = threadIdx.x; i < size; i += blockDim.x)
    area[i] = i < filled ? keys[i] : 0;
  __syncthreads();
  sort_falling(area, size);
  for (int i = threadIdx.x; i < k; i += blockDim.x)
    out[i] = area[i];
  if (threadIdx.x == 0) {
    *bar = area[k - 1];
    *count = 0;
  }
  __syncthreads();
}
