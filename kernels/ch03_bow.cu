// Bag of words straight from UTF-8 bytes, by two hash tables; and products with its matrix.
//
// text: bytes, each word or document followed by a line feed, one more line feed in front.
// table: a slot holds the position of a word in the text, of all its places that were tried the
// first; slots change while others look, so they are read past the first-level cache (__ldcg) or by
// atomics.  The text itself is never written: bytes compared there are the last word on equality.

#define THREADS 256
#define BYTES 1024                                // of text, a block
#define FREE 0x7fffffff                           // a slot of the table that holds no word
#define NO_PAIR 0xffffffffffffffffull             // a slot of the pairs that holds none
#define ALL 0xffffffffu

// Number of bytes of the code point at i if it is a word character, else 0 (also within one).
__device__ __forceinline__ int letter_size(const unsigned char* text, int i,
                                           const unsigned* letters)
{
  const unsigned b = text[i];
  if (b < 128) return (b | 32) - 'a' < 26u || b - '0' < 10u || b == '_';
  if (b < 0xC0) return 0;
  const int size = b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
  unsigned code = b & (0x7F >> size);
  for (int j = 1; j < size; ++j) code = code << 6 | (text[i + j] & 0x3F);
  return letters[code >> 5] >> (code & 31) & 1 ? size : 0;
}

// ASCII letters in lower case; all others were lowered on the host.
__device__ __forceinline__ unsigned fold(unsigned b) { return b - 'A' < 26u ? b | 32 : b; }

// Does the character before i end where no word is?
__device__ __forceinline__ bool after_a_gap(const unsigned char* text, int i,
                                            const unsigned* letters)
{
  int j = i - 1;
  while ((text[j] & 0xC0) == 0x80) --j;           // back to where that character begins
  return !letter_size(text, j, letters);
}

struct Word { int end; unsigned hash; };          // hash: FNV-1a, stirred so that all bits count

__device__ __forceinline__ Word read_word(const unsigned char* text, int i,
                                          const unsigned* letters)
{
  unsigned hash = 2166136261u;
  for (int size = letter_size(text, i, letters); size; size = letter_size(text, i, letters))
    for (const int next = i + size; i < next; ++i) hash = (hash ^ fold(text[i])) * 16777619u;
  hash = (hash ^ hash >> 16) * 0x85EBCA6Bu;
  return {i, hash ^ hash >> 13};
}

// Are the `length` bytes at a the word at b, and does it end there?
__device__ __forceinline__ bool same_word(const unsigned char* text, int a, int b, int length,
                                          const unsigned* letters)
{
  for (int j = 0; j < length; ++j)
    if (fold(text[a + j]) != fold(text[b + j])) return false;
  return !letter_size(text, b + length, letters);
}

// The slot of the word at `begin`, or -1 if the table lacks it and may not grow.
__device__ __forceinline__ int slot_of(const unsigned char* text, const unsigned* letters,
                                       int begin, Word word, int* table, int slots, bool grow,
                                       bool& added)
{
  int slot = (int)((unsigned long long)word.hash * (unsigned)slots >> 32);
  for (;; slot = slot + 1 == slots ? 0 : slot + 1) {
    int held = __ldcg(table + slot);              // may be stale: free, or a later place
    if (held == FREE) {
      if (!grow) return -1;
      held = atomicCAS(table + slot, FREE, begin);
      added = held == FREE;
      if (added) return slot;
    }
    if (same_word(text, begin, held, word.end - begin, letters)) {
      if (begin < held) atomicMin(table + slot, begin);   // never if given: those are in front
      return slot;
    }
  }
}

// The last of the rows lo to hi that begins at or before position i.
__device__ __forceinline__ int row_of(const int* starts, int lo, int hi, int i)
{
  while (lo < hi) {
    const int middle = (int)(((long long)lo + hi + 1) / 2);
    if (starts[middle] <= i) lo = middle; else hi = middle - 1;
  }
  return lo;
}

// A place in a list for each thread that wants one: one atomic a warp.  All lanes must call.
__device__ __forceinline__ int place_for(bool wanted, int* used)
{
  const int lane = threadIdx.x % 32;
  const unsigned who = __ballot_sync(ALL, wanted);
  const int base = lane == 0 && who ? atomicAdd(used, __popc(who)) : 0;
  return __shfl_sync(ALL, base, 0) + __popc(who & ((1u << lane) - 1));
}

// Count the pair (row, slot).
__device__ __forceinline__ bool count_pair(unsigned long long key, unsigned long long* keys,
                                           int* counts, unsigned pairs)
{
  const unsigned long long mixed = (key ^ key >> 29) * 0x9E3779B97F4A7C15ull;
  unsigned at = (unsigned)((mixed >> 32) * pairs >> 32);
  for (;; at = at + 1 == pairs ? 0 : at + 1) {
    unsigned long long held = __ldcg(keys + at);  // free, or for good the key of one pair
    if (held == NO_PAIR) held = atomicCAS(keys + at, NO_PAIR, key);
    if (held == NO_PAIR || held == key) {
      atomicAdd(counts + at, 1);
      return held == NO_PAIR;
    }
  }
}

// Put the V words of a given vocabulary, bounds[v] to bounds[v + 1], into the table.  A word that
// no text can hold (a gap or a capital inside, or empty) is left out.
extern "C" __global__ void __launch_bounds__(256)
add_vocabulary(const unsigned char* __restrict__ text, const unsigned* __restrict__ letters,
               const int* __restrict__ bounds, const int* __restrict__ numbers, int V, int* table,
               int slots, int* ids)
{
  const int v = blockIdx.x * THREADS + threadIdx.x;
  if (v >= V) return;
  const int begin = bounds[v], end = bounds[v + 1] - 1;
  const Word word = read_word(text, begin, letters);
  if (begin == end || word.end != end) return;
  for (int i = begin; i < end; ++i)
    if (text[i] - 'A' < 26u) return;
  bool added = false;
  ids[slot_of(text, letters, begin, word, table, slots, true, added)] = numbers[v];
}

// Count each word of the n rows starts[r] to starts[r + 1].  sizes: new words, their bytes, pairs.
extern "C" __global__ void __launch_bounds__(256)
count_words(const unsigned char* __restrict__ text, const unsigned* __restrict__ letters,
            const int* __restrict__ starts, int n, int* table, int slots, int grow,
            unsigned long long* keys, int* counts, unsigned pairs, int* sizes)
{
  __shared__ int begins[BYTES / 2], rows[2], found[1], fresh[3];
  const int t = threadIdx.x, first = starts[0], size = starts[n];
  const int base = (first / BYTES + blockIdx.x) * BYTES;          // so that a warp reads one sector
  if (t < 2) rows[t] = row_of(starts, 0, n - 1, base + t * (BYTES - 1));
  if (t < 3) fresh[t] = 0;
  if (t == 0) found[0] = 0;
  __syncthreads();
  for (int i = base + t; i < base + BYTES + t; i += THREADS) {    // as often in each thread
    const bool begins_here = i >= first && i < size && letter_size(text, i, letters)
                             && after_a_gap(text, i, letters);
    const int place = place_for(begins_here, found);
    if (begins_here) begins[place] = i;
  }
  __syncthreads();
  for (int w = t; w < found[0]; w += THREADS) {      // a word a thread: no lane idles between words
    const int begin = begins[w];
    const Word word = read_word(text, begin, letters);
    bool added = false;
    const int slot = slot_of(text, letters, begin, word, table, slots, grow, added);
    if (slot < 0) continue;
    if (added) atomicAdd(fresh, 1);
    if (added) atomicAdd(fresh + 1, word.end - begin + 1);
    const long long row = row_of(starts, rows[0], rows[1], begin);
    if (count_pair(row << 32 | slot, keys, counts, pairs)) atomicAdd(fresh + 2, 1);
  }
  __syncthreads();
  if (t < 3 && fresh[t]) atomicAdd(sizes + t, fresh[t]);
}

// List the table's words in any order, first place << 32 | slot: sorted, they are the vocabulary.
extern "C" __global__ void __launch_bounds__(256)
list_words(const int* __restrict__ table, int slots, int* used, long long* words)
{
  const int slot = blockIdx.x * THREADS + threadIdx.x;
  const int held = slot < slots ? table[slot] : FREE;
  const int place = place_for(held != FREE, used);
  if (held != FREE) words[place] = (long long)held << 32 | slot;
}

// ids[slot] = number of its word; lengths: bytes of each word, its line feed too.
extern "C" __global__ void __launch_bounds__(256)
name_words(const unsigned char* __restrict__ text, const unsigned* __restrict__ letters,
           const long long* __restrict__ words, int V, int* ids, int* lengths)
{
  const int v = blockIdx.x * THREADS + threadIdx.x;
  if (v >= V) return;
  const int begin = (int)(words[v] >> 32);
  ids[(int)words[v]] = v;
  lengths[v] = read_word(text, begin, letters).end - begin + 1;
}

// Write the words in lower case, a line feed after each; eight threads a word.
extern "C" __global__ void __launch_bounds__(256)
copy_words(const unsigned char* __restrict__ text, const long long* __restrict__ words,
           const int* __restrict__ ends, int V, unsigned char* out)
{
  const int v = blockIdx.x * (THREADS / 8) + threadIdx.x / 8;
  if (v >= V) return;
  const int from = v ? ends[v - 1] : 0, last = ends[v] - 1, begin = (int)(words[v] >> 32);
  for (int i = from + threadIdx.x % 8; i <= last; i += 8)
    out[i] = i < last ? fold(text[begin + i - from]) : '\n';
}

// List the pairs in any order as row << 32 | word, with their counts.
extern "C" __global__ void __launch_bounds__(256)
list_pairs(const unsigned long long* __restrict__ keys, const int* __restrict__ counts,
           unsigned pairs, const int* __restrict__ ids, int* used, long long* entries,
           int* entry_counts)
{
  const unsigned at = blockIdx.x * THREADS + threadIdx.x;
  const unsigned long long key = at < pairs ? keys[at] : NO_PAIR;
  const int place = place_for(key != NO_PAIR, used);
  if (key == NO_PAIR) return;
  entries[place] = (long long)(key >> 32 << 32) | ids[(int)key];
  entry_counts[place] = counts[at];
}

// CSR of the entries in the order of `order`, rising; thread j: entry j, and where row j begins.
extern "C" __global__ void __launch_bounds__(256)
fill_rows(const long long* __restrict__ entries, const int* __restrict__ entry_counts,
          const long long* __restrict__ order, int nnz, int n, long long* indptr, int* indices,
          int* data)
{
  const int j = blockIdx.x * THREADS + threadIdx.x;
  if (j < nnz) {
    indices[j] = (int)entries[order[j]];
    data[j] = entry_counts[order[j]];
  }
  if (j > n) return;
  int lo = 0, hi = nnz;                           // the first entry of row j or of one after it
  while (lo < hi) {
    const int middle = lo + (hi - lo) / 2;
    if (entries[order[middle]] >> 32 < j) lo = middle + 1; else hi = middle;
  }
  indptr[j] = lo;
}

// out[row] = the row's entries times w, by the 32 lanes of a warp, always in the same order.
template <class T>
__device__ __forceinline__ void dot_row(const long long* indptr, const int* indices, const T* data,
                                        const double* w, int n, double* out)
{
  const int row = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= n) return;                           // the whole warp
  const long long last = indptr[row + 1];
  double total = 0;                               // the reference's own type, equal to 1e-9
  for (long long j = indptr[row] + lane; j < last; j += 32) total += data[j] * w[indices[j]];
  for (int apart = 16; apart; apart /= 2) total += __shfl_xor_sync(ALL, total, apart);
  if (lane == 0) out[row] = total;
}

extern "C" __global__ void __launch_bounds__(256)
csr_dot_counts(const long long* __restrict__ indptr, const int* __restrict__ indices,
               const int* __restrict__ data, const double* __restrict__ w, int n, double* out)
{
  dot_row(indptr, indices, data, w, n, out);
}

extern "C" __global__ void __launch_bounds__(256)
csr_dot_weights(const long long* __restrict__ indptr, const int* __restrict__ indices,
                const double* __restrict__ data, const double* __restrict__ w, int n, double* out)
{
  dot_row(indptr, indices, data, w, n, out);
}
