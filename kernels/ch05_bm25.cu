// Chapter 5: BM25.  Build the postings (rows become words), search them for many queries.
// After ch01_top_k.cu, whose selector keeps the k best.

#define TILE 2048                       // documents whose totals are in shared memory at a time
#define KEPT 128                        // words of a query whose places in their lists are kept
#define NEVER 0x7fffffff                // no document has this number

// ---- building -----------------------------------------------------------------------------------

// A warp a row: its number and sort key for each entry, and (4.2) counted.  A key has the word in
// its upper half and the entry in its lower one: sorted, they are the lists, documents rising.
extern "C" __global__ void __launch_bounds__(256)
bm25_keys(const long long* __restrict__ indptr, const int* __restrict__ indices, long long* keys,
          int* rows, int* df, int n)
{
  const int row = (int)(((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32);
  if (row >= n)
    return;
  const long long stop = indptr[row + 1];
  for (long long e = indptr[row] + threadIdx.x % 32; e < stop; e += 32) {
    keys[e] = (long long)indices[e] << 32 | e;
    rows[e] = row;
    atomicAdd(&df[indices[e]], 1);
  }
}

// A thread a posting: fetch the document and the impact (5.5) of its entry.
extern "C" __global__ void __launch_bounds__(256)
bm25_gather(const long long* __restrict__ keys, const int* __restrict__ rows,
            const float* __restrict__ impact_of_entry, int* documents, float* impacts,
            long long entries)
{
  const long long p = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (p >= entries)
    return;
  const unsigned e = (unsigned)keys[p];
  documents[p] = rows[e];
  impacts[p] = impact_of_entry[e];
}

// ---- searching ----------------------------------------------------------------------------------

// x * 2^24, also where x is so small that CuPy's compiler option -ftz=true would take it for 0.
// Sums of such numbers are never that small, so they are the reference's to the bit.
static __device__ float lifted(float x)
{
  const int bits = __float_as_int(x), mantissa = bits & 0x7fffff;
  if ((bits & 0x7f800000) != 0)
    return x * 0x1p24f;
  return (bits < 0 ? -mantissa : mantissa) * 0x1p-125f;
}

// The first place of a list with a document of at least d.
static __device__ long long lower_bound(const int* __restrict__ documents, long long first,
                                        long long stop, int d)
{
  while (first < stop) {
    const long long middle = (first + stop) / 2;
    if (documents[middle] < d)
      first = middle + 1;
    else
      stop = middle;
  }
  return first;
}

// What a block knows of its query: word w owns the postings from[w]..stop[w], rare words first.
// Of the first KEPT words, at[w] is the place where the next tile goes on, next[w] its document.
struct Query {
  const int* __restrict__ documents;
  const float* __restrict__ impacts;
  const long long* __restrict__ from;
  const long long* __restrict__ stop;
  int words;
  long long* at;
  int* next;
  float* total;                         // (TILE,) -0 where no word was met: -0 + x = x
};

static __device__ void start_query(const Query& q, int low)
{
  for (int slot = threadIdx.x; slot < TILE; slot += blockDim.x)
    q.total[slot] = -0.0f;
  for (int w = threadIdx.x; w < min(q.words, KEPT); w += blockDim.x) {
    q.at[w] = lower_bound(q.documents, q.from[w], q.stop[w], low);
    q.next[w] = q.at[w] < q.stop[w] ? q.documents[q.at[w]] : NEVER;
  }
  __syncthreads();
}

// Place p of a list that ends before `stop`: its document and impact, and the document after it.
struct Posting {
  int document, after;
  float impact;
};

static __device__ Posting fetch(const Query& q, long long p, long long stop)
{
  return {p < stop ? q.documents[p] : NEVER, p + 1 < stop ? q.documents[p + 1] : NEVER,
          p < stop ? lifted(q.impacts[p]) : 0.0f};
}

// Eq. 5.1 for the documents low..low + TILE - 1, word after word; false if they hold none.  The
// documents of one word are distinct, and a barrier parts two words: each total has one writer,
// and its additions are the reference's, in its order.
static __device__ bool add_words(const Query& q, int low)
{
  const int high = low + TILE;
  bool any = false;
  for (int w = 0; w < q.words; w++) {
    if (w < KEPT && q.next[w] >= high)
      continue;                         // the same for all threads: the word is not in this tile
    const long long stop = q.stop[w];
    long long p = w < KEPT ? q.at[w] : lower_bound(q.documents, q.from[w], stop, low);
    p += threadIdx.x;
    Posting now = fetch(q, p, stop);                      // on its way while others still add
    __syncthreads();                    // the word before is added, and all have read at[w]
    for (; now.document < high; now = fetch(q, p += blockDim.x, stop)) {
      q.total[now.document - low] += now.impact;
      if (w < KEPT && now.after >= high) {                // one thread: the tile's last posting
        q.at[w] = p + 1;
        q.next[w] = now.after;
      }
    }
    any = true;
  }
  if (any)
    __syncthreads();                    // all totals are complete
  return any;
}

// The total of a slot, which is made ready for the next tile; the key is 0 if no word was met.
static __device__ Key take(const Query& q, int slot, int low)
{
  const float x = q.total[slot];
  q.total[slot] = -0.0f;
  return __float_as_int(x) == (int)0x80000000 ? 0 : key_of(x, low + slot);
}

// packed: starts (queries + 1), from (words), stop (words); starts[i]..starts[i + 1] are query i's.
static __device__ Query query_of_block(const int* __restrict__ documents,
                                       const float* __restrict__ impacts,
                                       const long long* __restrict__ packed, int queries,
                                       long long words, int first_query, float* total,
                                       long long* at, int* next)
{
  const long long* starts = packed + first_query + blockIdx.y;
  const long long* from = packed + queries + 1 + starts[0];
  return {documents, impacts, from, from + words, (int)(starts[1] - starts[0]), at, next, total};
}

// Block x of a query owns the tiles first_tile(n, x)..first_tile(n, x + 1).
static __device__ int first_tile(int n, unsigned x)
{
  return (int)((n + TILE - 1LL) / TILE * x / gridDim.x);
}

// Block (x, y): query y's k best keys in the share of block x, to out (queries here, gridDim.x, k).
extern "C" __global__ void __launch_bounds__(256)
bm25_search(const int* __restrict__ documents, const float* __restrict__ impacts,
            const long long* __restrict__ packed, Key* out, int n, int queries, long long words,
            int first_query, int k, int size)
{
  extern __shared__ Key memory[];
  __shared__ float total[TILE];
  __shared__ long long at[KEPT];
  __shared__ int next[KEPT];
  const Query q = query_of_block(documents, impacts, packed, queries, words, first_query, total,
                                 at, next);
  const int end = first_tile(n, blockIdx.x + 1);
  TopK best = top_k_start(memory, k, size, 256);
  start_query(q, first_tile(n, blockIdx.x) * TILE);
  for (int tile = first_tile(n, blockIdx.x); tile < end; tile++)
    if (add_words(q, tile * TILE))
      for (int slot = threadIdx.x; slot < TILE; slot += 256)
        top_k_settle(best, top_k_offer(best, take(q, slot, tile * TILE)));
  top_k_finish(best, out + ((long long)blockIdx.y * gridDim.x + blockIdx.x) * k);
}

// The same for a k above the selector's limit: each document's key, 0 if it holds no word, to out
// (queries here, n).
extern "C" __global__ void __launch_bounds__(256)
bm25_search_all(const int* __restrict__ documents, const float* __restrict__ impacts,
                const long long* __restrict__ packed, Key* out, int n, int queries,
                long long words, int first_query)
{
  __shared__ float total[TILE];
  __shared__ long long at[KEPT];
  __shared__ int next[KEPT];
  const Query q = query_of_block(documents, impacts, packed, queries, words, first_query, total,
                                 at, next);
  const int end = first_tile(n, blockIdx.x + 1);
  start_query(q, first_tile(n, blockIdx.x) * TILE);
  for (int tile = first_tile(n, blockIdx.x); tile < end; tile++) {
    add_words(q, tile * TILE);
    Key* own = out + (long long)blockIdx.y * n + tile * TILE;
    for (int slot = threadIdx.x; slot < min(TILE, n - tile * TILE); slot += 256)
      own[slot] = take(q, slot, tile * TILE);     // add_words waits before it adds to them again
  }
}
