// cuda.h - CUDA C's words, said in C++, so that g++ compiles a .cu file as it stands.
//
// A __global__ function becomes an ordinary one, and threadIdx a variable that the scheduler sets
// (scheduler.cpp): it runs each CUDA thread as a fiber, one at a time, and changes to another one
// where threads wait for each other.  Loads and stores need no word here: g++ announces them to
// the checker (checker.cpp).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define EMU_INLINE static inline __attribute__((always_inline))

// ---- language ---------------------------------------------------------------------------------
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("emu_shared")))  // all lie side by side there

struct dim3 { unsigned x, y, z; };
#define EMU_VECTORS(T, N)                                                                  \
  struct __align__(sizeof(T) * 2) N##2 { T x, y; };                                        \
  struct N##3 { T x, y, z; };                                                              \
  struct __align__(sizeof(T) * 4 > 16 ? 16 : sizeof(T) * 4) N##4 { T x, y, z, w; };        \
  static inline N##2 make_##N##2(T x, T y) { return {x, y}; }                              \
  static inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                      \
  static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTORS(float, float) EMU_VECTORS(double, double) EMU_VECTORS(int, int)
EMU_VECTORS(unsigned, uint) EMU_VECTORS(short, short) EMU_VECTORS(unsigned short, ushort)
EMU_VECTORS(signed char, char) EMU_VECTORS(unsigned char, uchar)
EMU_VECTORS(long long, longlong) EMU_VECTORS(unsigned long long, ulonglong)

// ---- where a thread is, and what the scheduler does for it ------------------------------------
struct EmuThread { uint3 tid; unsigned linear; };              // the thread that runs now
struct EmuGrid { uint3 bid; dim3 bdim, gdim; };                // the block that runs now
enum { EMU_PLAIN, EMU_COUNT_IF, EMU_ALL, EMU_ANY };            // barriers
enum { EMU_SYNC, EMU_IDX, EMU_UP, EMU_DOWN, EMU_XOR, EMU_BALLOT };      // warp operations
extern "C" {
extern EmuThread emu_now;
extern EmuGrid emu_grid;
void emu_barrier(int kind, int predicate, int line);
int emu_barrier_result();
uint64_t emu_warp_op(int kind, unsigned mask, uint64_t value, int arg, int width, int line);
void *emu_dyn_shared();
void emu_atomic_point();                                       // others may run before this atomic
void emu_trap(int line);
}
#define threadIdx (emu_now.tid)
#define blockIdx (emu_grid.bid)
#define blockDim (emu_grid.bdim)
#define gridDim (emu_grid.gdim)
static constexpr int warpSize = 32;
#define __trap() emu_trap(__LINE__)

// ---- the threads of a block -------------------------------------------------------------------
#define __syncthreads() emu_barrier(EMU_PLAIN, 0, __LINE__)
#define EMU_VOTE(kind, p) (emu_barrier(kind, !!(p), __LINE__), emu_barrier_result())
#define __syncthreads_count(p) EMU_VOTE(EMU_COUNT_IF, p)
#define __syncthreads_and(p) EMU_VOTE(EMU_ALL, p)
#define __syncthreads_or(p) EMU_VOTE(EMU_ANY, p)
EMU_INLINE void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EMU_INLINE void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// ---- the lanes of a warp: all of a mask meet, exchange, go on ---------------------------------
template <class T> EMU_INLINE T emu_shfl(int kind, unsigned mask, T v, int arg, int width, int line)
{
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "__shfl_*_sync takes 4- and 8-byte types");
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &v, sizeof v);
  bits = emu_warp_op(kind, mask, bits, arg, width, line);
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}
EMU_INLINE int emu_width(int width = 32) { return width; }
EMU_INLINE unsigned emu_mask(unsigned mask = 0xffffffffu) { return mask; }
#define EMU_SHFL(kind, m, v, a, ...) emu_shfl(kind, m, v, a, emu_width(__VA_ARGS__), __LINE__)
#define __shfl_sync(m, v, a, ...) EMU_SHFL(EMU_IDX, m, v, a, __VA_ARGS__)
#define __shfl_up_sync(m, v, a, ...) EMU_SHFL(EMU_UP, m, v, a, __VA_ARGS__)
#define __shfl_down_sync(m, v, a, ...) EMU_SHFL(EMU_DOWN, m, v, a, __VA_ARGS__)
#define __shfl_xor_sync(m, v, a, ...) EMU_SHFL(EMU_XOR, m, v, a, __VA_ARGS__)
#define EMU_WARP(kind, m, v) emu_warp_op(kind, m, v, 0, 32, __LINE__)
#define __syncwarp(...) ((void)EMU_WARP(EMU_SYNC, emu_mask(__VA_ARGS__), 0))
#define __ballot_sync(m, p) ((unsigned)EMU_WARP(EMU_BALLOT, m, !!(p)))
#define __any_sync(m, p) (__ballot_sync(m, p) != 0)
#define __all_sync(m, p) (__ballot_sync(m, p) == (unsigned)(m))

// ---- atomics, with no promise of order, as on the GPU -----------------------------------------
template <class T> struct emu_same { using type = T; };
template <class T> using emu_given = typename emu_same<T>::type;   // not deduced from this argument
template <class T, class F> EMU_INLINE T emu_rmw(T *p, F change)
{
  using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  emu_atomic_point();
  Word was = __atomic_load_n((Word *)p, __ATOMIC_RELAXED), to;
  T a, b;
  do {
    __builtin_memcpy(&a, &was, sizeof a);
    b = change(a);
    __builtin_memcpy(&to, &b, sizeof b);
  } while (!__atomic_compare_exchange_n((Word *)p, &was, to, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  return a;
}
#define EMU_ATOMIC(NAME, RESULT)                                                           \
  template <class T> EMU_INLINE T NAME(T *p, emu_given<T> v)                               \
  {                                                                                        \
    return emu_rmw(p, [=](T a) { return (T)(RESULT); });                                   \
  }
EMU_ATOMIC(atomicAdd, a + v)
EMU_ATOMIC(atomicSub, a - v)
EMU_ATOMIC(atomicMax, a > v ? a : v)
EMU_ATOMIC(atomicMin, a < v ? a : v)
EMU_ATOMIC(atomicAnd, a & v)
EMU_ATOMIC(atomicOr, a | v)
EMU_ATOMIC(atomicXor, a ^ v)
EMU_ATOMIC(atomicExch, v)
EMU_ATOMIC(atomicInc, a >= v ? 0 : a + 1)
EMU_ATOMIC(atomicDec, a == 0 || a > v ? v : a - 1)
template <class T> EMU_INLINE T atomicCAS(T *p, emu_given<T> compare, emu_given<T> v)
{
  return emu_rmw(p, [=](T a) { return a == compare ? v : a; });
}

// ---- loads, bits, arithmetic ------------------------------------------------------------------
template <class T> EMU_INLINE T __ldg(const T *p) { return *p; }
template <class T> EMU_INLINE T __ldcg(const T *p)                // marked: it may race
{
  if constexpr (std::is_class_v<T>) {
    T v;
    using Part = decltype(v.x);
    for (unsigned i = 0; i < sizeof(T) / sizeof(Part); i++)
      ((Part *)&v)[i] = ((const volatile Part *)p)[i];
    return v;
  } else return *(const volatile T *)p;
}
EMU_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
EMU_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
EMU_INLINE int __clz(int x) { return x ? __builtin_clz(x) : 32; }
EMU_INLINE int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
EMU_INLINE int __ffs(int x) { return __builtin_ffs(x); }
EMU_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }
EMU_INLINE int __dp4a(int a, int b, int c)
{
  for (int i = 0; i < 32; i += 8) c += (int)(int8_t)(a >> i) * (int)(int8_t)(b >> i);
  return c;
}
template <class To, class From> EMU_INLINE To emu_bits(From x)
{
  To to;
  static_assert(sizeof to == sizeof x);
  __builtin_memcpy(&to, &x, sizeof to);
  return to;
}
#define __int_as_float(x) emu_bits<float>((int)(x))
#define __uint_as_float(x) emu_bits<float>((unsigned)(x))
#define __float_as_int(x) emu_bits<int>((float)(x))
#define __float_as_uint(x) emu_bits<unsigned>((float)(x))
#define __longlong_as_double(x) emu_bits<double>((long long)(x))
#define __double_as_longlong(x) emu_bits<long long>((double)(x))
EMU_INLINE float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
EMU_INLINE double rsqrt(double x) { return 1.0 / std::sqrt(x); }
EMU_INLINE float __fdividef(float a, float b) { return a / b; }
#define __expf(x) std::exp((float)(x))               // macros: the C library has these names
#define __logf(x) std::log((float)(x))
template <class A, class B> EMU_INLINE std::common_type_t<A, B> min(A a, B b)
{
  return b < a ? b : a;
}
template <class A, class B> EMU_INLINE std::common_type_t<A, B> max(A a, B b)
{
  return a < b ? b : a;
}

// ---- launching: void **args, as cuLaunchKernel takes them -------------------------------------
template <class... A, size_t... I>
__attribute__((no_sanitize("thread"))) static void emu_call(void (*kernel)(A...), void **args,
                                                            std::index_sequence<I...>)
{
  kernel(*static_cast<std::remove_const_t<A> *>(args[I])...);
}
template <class... A>
__attribute__((no_sanitize("thread"))) static void emu_start(void (*kernel)(A...), void **args)
{
  emu_call(kernel, args, std::index_sequence_for<A...>{});
}
#define EMU_EXPORT(NAME) extern "C" void emu_run_##NAME(void **args) { emu_start(NAME, args); }
