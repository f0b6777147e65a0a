// Chapter 1: tiles of products and distances, and exact ones: device functions for 256 threads.

#define ROWS 32                         // of a tile: queries, or rows that seek their centroid
#define COLUMNS 128                     // of a tile: rows to search, or centroids
#define SLICE 16                        // coordinates in shared memory at a time
#define STRIDE (COLUMNS + 4)            // of a tile's rows: float4 stays aligned
#define SIDE 32                         // of a tile in float64
#define FULL_WARP 0xffffffffu

// CuPy compiles with -ftz=true: float32 arithmetic and conversions flush numbers below 2^-126 to
// 0.  These two do not: the reference keeps them.
static __device__ double widen(double x) { return x; }

static __device__ double widen(float x)
{
  const int bits = __float_as_int(x);
  if (bits & 0x7f800000)
    return x;
  const double small = (bits & 0x7fffff) * 0x1p-149;
  return bits < 0 ? -small : small;
}

// The bits of x rounded to float32, half to even.
static __device__ int rounded_bits(double x)
{
  const double size = x < 0 ? -x : x;
  if (size >= 0x1p-126)
    return __float_as_int((float)x);
  const int bits = (int)(size * 0x1p149 + 0x1p52 - 0x1p52);      // whole numbers from 2^52 on
  return x < 0 ? bits | (int)0x80000000 : bits;
}

static __device__ double warp_sum(double x)
{
  for (int gap = 16; gap > 0; gap /= 2)
    x += __shfl_xor_sync(FULL_WARP, x, gap);
  return x;
}

// <x, y> or |x - y|^2 in float64 by one warp: all lanes get the same sum, in the same order.
template <bool GAPS>
static __device__ double warp_pair(const float* x, const float* y, int d)
{
  double sum = 0;
  for (int j = threadIdx.x & 31; j < d; j += 32) {
    const double a = widen(x[j]), b = widen(y[j]);
    sum += GAPS ? (a - b) * (a - b) : a * b;
  }
  return warp_sum(sum);
}

// How far a product (or half a square less a product) in float32 can be from the true one.
// g covers rounding, tiny what is flushed to 0; near overflow nothing is known.
static __device__ float slack(float length, float other, float g, float tiny)
{
  const float both = length * other;
  return both < 1e38f ? g * both + tiny * (length + other + 1) : __int_as_float(0x7f800000);
}

// tile[r * STRIDE + c] = <A_r, B_c> in float32; rows and columns that are missing give 0.
// Each thread holds 4 x 4 sums; a warp covers 8 rows x 64 columns, so that its float4 loads from
// shared memory take 1 + 2 passes for 16 multiply-adds a lane.  All threads; ends in a barrier.
static __device__ void multiply(const float* A, int rows, const float* B, int columns, int d,
                                float* tile)
{
  float* a = tile;                                         // (SLICE, 36): A's slice, transposed
  float* b = tile + SLICE * 36;                            // (SLICE, STRIDE): B's
  const int t = threadIdx.x, r = t >> 3, j = t & 7;        // loads: 4 rows x 8 neighbours a warp
  const int x = 4 * ((t & 15) + (t >> 1 & 16)), y = 4 * ((t >> 4 & 1) + 2 * (t >> 6));
  float s[4][4] = {};
  for (int first = 0; first < d; first += SLICE) {
    for (int i = j; i < SLICE; i += 8) {
      const bool in = first + i < d;
      a[i * 36 + r] = in && r < rows ? A[(long long)r * d + first + i] : 0.f;
      for (int m = r; m < COLUMNS; m += 32)
        b[i * STRIDE + m] = in && m < columns ? B[(long long)m * d + first + i] : 0.f;
    }
    __syncthreads();
#pragma unroll 4
    for (int i = 0; i < SLICE; i++) {
      const float4 p = *(const float4*)(a + i * 36 + y), q = *(const float4*)(b + i * STRIDE + x);
      const float u[4] = {p.x, p.y, p.z, p.w}, v[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
      for (int m = 0; m < 16; m++)
        s[m / 4][m % 4] = fmaf(u[m / 4], v[m % 4], s[m / 4][m % 4]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int m = 0; m < 4; m++)
    *(float4*)(tile + (y + m) * STRIDE + x) = make_float4(s[m][0], s[m][1], s[m][2], s[m][3]);
  __syncthreads();
}

// s = sums over A's and B's rows, SIDE x SIDE, in float64, from the first coordinate to the last:
// a thread holds rows y, y + 16 and columns x, x + 16.  tile: SIDE * (SIDE + 1), free afterwards.
template <class T, bool GAPS>
static __device__ void exact_sums(const T* A, int rows, const T* B, int columns, int d,
                                  double* tile, double (&s)[2][2])
{
  double* a = tile;                                        // (16, SIDE + 1)
  double* b = tile + 16 * (SIDE + 1);                      // (16, SIDE + 1)
  const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
  for (int m = 0; m < 4; m++)
    s[m / 2][m % 2] = 0;
  for (int first = 0; first < d; first += 16) {
    for (int r = y; r < SIDE; r += 16) {
      const bool in = first + x < d;
      a[x * (SIDE + 1) + r] = in && r < rows ? widen(A[(long long)r * d + first + x]) : 0;
      b[x * (SIDE + 1) + r] = in && r < columns ? widen(B[(long long)r * d + first + x]) : 0;
    }
    __syncthreads();
    for (int i = 0; i < 16; i++) {
      const double u[2] = {a[i * (SIDE + 1) + y], a[i * (SIDE + 1) + y + 16]};
      const double v[2] = {b[i * (SIDE + 1) + x], b[i * (SIDE + 1) + x + 16]};
#pragma unroll
      for (int m = 0; m < 4; m++) {
        const double e = u[m / 2] - v[m % 2];
        s[m / 2][m % 2] += GAPS ? e * e : u[m / 2] * v[m % 2];
      }
    }
    __syncthreads();
  }
}
