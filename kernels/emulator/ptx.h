// ptx.h - what PTX says in one word and C++ does not: the helpers of the statements of ptx.py.
//
// A PTX register has a width and no type: the same 32 bits are a float for one instruction and an
// integer for the next.  So a register is an unsigned integer here, get<T> reads its bits as a T,
// and set writes them back.  The launcher sets the processor to flush denormal numbers to zero,
// as CuPy's option -ftz=true asks of the GPU; instructions that the processor would not flush
// call flush() themselves.
#pragma once
#include "cuda.h"
#include <cfenv>

extern "C" uint64_t emu_flops[2];      // in float32, in float64: the ptx path counts them
#define EMU_FLOPS(T, n) emu_flops[sizeof(T) == 8] += n

namespace ptx {
typedef uint8_t u8;   typedef int8_t s8;   typedef u8 b8;
typedef uint16_t u16; typedef int16_t s16; typedef u16 b16;
typedef uint32_t u32; typedef int32_t s32; typedef u32 b32; typedef float f32;
typedef unsigned long long u64;            typedef long long s64;
typedef u64 b64;      typedef double f64;  typedef bool pred;
typedef unsigned __int128 u128;

template <class T> constexpr u32 bits = sizeof(T) * 8;
template <class T> constexpr bool is_float = std::is_floating_point_v<T>;
template <class T> constexpr bool is_signed = std::is_signed_v<T>;
template <class T> using longest = std::conditional_t<is_signed<T>, s64, u64>;
template <class T> struct same { using type = T; };
template <class T> using given = typename same<T>::type;    // not deduced from this argument

// ---- registers, parameters, vectors ----------------------------------------------------------
template <class T, class R> EMU_INLINE T get(R reg) {       // the register's bits as a T
  if constexpr (is_float<T>) {
    static_assert(sizeof(T) == sizeof(R));
    T t;
    __builtin_memcpy(&t, &reg, sizeof t);
    return t;
  } else return (T)reg;
}
template <class R, class T> EMU_INLINE void set(R &reg, T t) {   // a short integer is extended
  if constexpr (is_float<T>) {
    static_assert(sizeof(T) == sizeof(R));
    __builtin_memcpy(&reg, &t, sizeof t);
  } else reg = (R)(longest<T>)t;
}
template <class T, int n> struct alignas(sizeof(T) * n) Vector { T at[n]; };   // ld.v4, st.v2
template <int align, int n> struct alignas(align) Bytes { char at[n]; };       // a struct argument

// ---- integers: all wrap round, so the sums are taken unsigned --------------------------------
template <class T> EMU_INLINE T high_product(T a, T b) {    // mul.hi
  if constexpr (sizeof(T) < 8) return (T)(((longest<T>)a * (longest<T>)b) >> bits<T>);
  else return (T)(((std::conditional_t<is_signed<T>, __int128, u128>)a * b) >> 64);
}
template <class T> EMU_INLINE T divisor(T a, given<T> b, int line) {
#ifndef __SANITIZE_THREAD__          // a checked build reports it at the division itself
  if (b == 0) emu_trap(line);
  if constexpr (is_signed<T>) if (b == -1 && a < 0 && a == (T)(0 - (u64)a)) emu_trap(line);
#endif
  return b;
}
template <class T> EMU_INLINE T shift_left(T a, u32 n) {    // a distance is not taken modulo 32
  return n < bits<T> ? (T)((u64)a << n) : 0;
}
template <class T> EMU_INLINE T shift_right(T a, u32 n) {   // a signed number fills with its sign
  return n < bits<T> ? (T)(a >> n) : is_signed<T> && a < 0 ? (T)-1 : 0;
}
EMU_INLINE u32 funnel_left(u32 low, u32 high, u32 n) {      // the upper word of high:low << n
  return n ? (u32)((((u64)high << 32 | low) << n) >> 32) : high;
}
EMU_INLINE u32 funnel_right(u32 low, u32 high, u32 n) {     // the lower word of high:low >> n
  return (u32)(((u64)high << 32 | low) >> n);
}
EMU_INLINE u32 at_most_32(u32 n) { return n < 32 ? n : 32; }
template <class T> EMU_INLINE u32 ones(T a) { return __builtin_popcountll((u64)a); }
template <class T> EMU_INLINE u32 leading_zeros(T a) {
  return a ? __builtin_clzll((u64)a) - (64 - bits<T>) : bits<T>;
}
template <class T> EMU_INLINE T reversed(T a) {             // brev
  T out = 0;
  for (u32 i = 0; i < bits<T>; i++) out = (T)(out << 1 | (a >> i & 1));
  return out;
}
template <class T> EMU_INLINE T field(T a, u32 pos, u32 len) {            // bfe
  pos &= 255, len &= 255;
  if (!len) return 0;
  u32 top = pos + len - 1 < bits<T> ? pos + len - 1 : bits<T> - 1;
  bool sign = is_signed<T> && (u64)a >> top & 1;
  u64 low = len < 64 ? ((u64)1 << len) - 1 : ~(u64)0;
  u64 out = pos < bits<T> ? (u64)(std::make_unsigned_t<T>)a >> pos & low : 0;
  u32 have = pos < bits<T> ? (bits<T> - pos < len ? bits<T> - pos : len) : 0;
  return (T)(sign && have < 64 ? out | ~(u64)0 << have : out);
}
template <class T> EMU_INLINE T insert(T a, T b, u32 pos, u32 len) {      // bfi: a into b
  pos &= 255, len &= 255;
  if (!len || pos >= bits<T>) return b;
  u64 mask = (len < 64 ? ((u64)1 << len) - 1 : ~(u64)0) << pos;
  return (T)((b & ~mask) | ((u64)a << pos & mask));
}
template <class T> EMU_INLINE u32 highest(T a) {            // bfind: where the leading bit is
  u64 u = (u64)(std::make_unsigned_t<T>)(is_signed<T> && a < 0 ? ~a : a);
  return u ? 63 - __builtin_clzll(u) : ~0u;
}
EMU_INLINE u32 permuted(u32 a, u32 b, u32 selector) {       // prmt: any 4 of the 8 bytes
  u64 both = (u64)b << 32 | a;
  u32 out = 0;
  for (u32 i = 0; i < 4; i++) {
    u32 pick = selector >> 4 * i & 15, byte = (u32)(both >> 8 * (pick & 7)) & 255;
    if (pick & 8) byte = byte & 128 ? 255 : 0;              // that byte's sign, eight times
    out |= byte << 8 * i;
  }
  return out;
}
EMU_INLINE u32 logic(u32 a, u32 b, u32 c, u32 table) {      // lop3: a truth table of three inputs
  u32 out = 0;
  for (u32 i = 0; i < 8; i++)
    if (table >> i & 1) out |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return out;
}
template <class A, class B> EMU_INLINE u32 dot4(A a, B b, u32 sum) {      // dp4a
  using a8 = std::conditional_t<is_signed<A>, s8, u8>;
  using b8 = std::conditional_t<is_signed<B>, s8, u8>;
  for (u32 i = 0; i < 32; i += 8) sum += (u32)((int)(a8)((u32)a >> i) * (int)(b8)((u32)b >> i));
  return sum;
}

// ---- floats ----------------------------------------------------------------------------------
EMU_INLINE f32 flush(f32 x) {                               // .ftz: a denormal number is a zero
  u32 word;
  set(word, x);
  return word & 0x7f800000 ? x : get<f32>(word & 0x80000000);
}
template <class T> EMU_INLINE T saturated(T x) { return x > 0 ? (x < 1 ? x : T(1)) : T(0); }
template <class T> EMU_INLINE T smaller(T a, T b) {         // a NaN gives way; -0 is below +0
  if (a != a || b != b) return a != a ? b : a;
  return a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
}
template <class T> EMU_INLINE T larger(T a, T b) {
  if (a != a || b != b) return a != a ? b : a;
  return a == b ? (std::signbit(a) ? b : a) : a > b ? a : b;
}
template <class T> EMU_INLINE T sum(T a, T b) { return a + b; }
template <class T> EMU_INLINE T difference(T a, T b) { return a - b; }
template <class T> EMU_INLINE T product(T a, T b) { return a * b; }
template <class T> EMU_INLINE T quotient(T a, T b) { return a / b; }
template <class T> EMU_INLINE T fused(T a, T b, T c) { return std::fma(a, b, c); }   // one rounding
template <class T> EMU_INLINE T reciprocal(T a) { return T(1) / a; }
template <class T> EMU_INLINE T root(T a) { return std::sqrt(a); }
template <class T> EMU_INLINE T inverse_root(T a) { return T(1) / std::sqrt(a); }
template <class T> EMU_INLINE T power_of_2(T a) { return std::exp2(a); }
template <class T> EMU_INLINE T log_2(T a) { return std::log2(a); }
template <class T> EMU_INLINE T sine(T a) { return std::sin(a); }
template <class T> EMU_INLINE T cosine(T a) { return std::cos(a); }
template <class T> EMU_INLINE T tangent_h(T a) { return std::tanh(a); }
template <class T> EMU_INLINE T with_sign(T a, T b) { return std::copysign(b, a); }   // copysign
template <class R, class T> EMU_INLINE R converted(T a) { return (R)a; }
// Round down, up or towards zero.  volatile keeps the operation between the two switches.
template <class R, class... A>
static __attribute__((noinline)) R directed(int mode, R (*operation)(A...), volatile A... a) {
  fesetround(mode);
  volatile R result = operation(a...);
  fesetround(FE_TONEAREST);
  return result;
}
template <class R, class T> EMU_INLINE R to_integer(T x) {  // cvt: saturates; NaN as PTX defines it
  constexpr R low = is_signed<R> ? (R)((u64)1 << (bits<R> - 1)) : 0, high = (R)~low;
  if (x != x) return sizeof(T) == 8 || sizeof(R) == 8 ? (R)((u64)1 << (bits<R> - 1)) : 0;
  return (double)x <= (double)low ? low : (double)x >= (double)high ? high : (R)x;
}

// ---- warps: every exchange goes through the scheduler's indexed shuffle or its ballot ----------
enum { UP, DOWN, XOR, INDEX };
// c holds the segment mask (bits 8-12) and the last lane (bits 0-4) that CUDA's width becomes.
EMU_INLINE u32 shuffle(int kind, u32 value, u32 b, u32 c, u32 mask, int line, bool &inside) {
  int lane = emu_now.linear & 31, segment = c >> 8 & 31, by = b & 31;
  int first = lane & segment, last = first | (c & 31 & ~segment);
  int from = kind == UP ? lane - by : kind == DOWN ? lane + by
           : kind == XOR ? lane ^ by : first | (by & ~segment);
  inside = kind == UP ? from >= last : from <= last;
  return (u32)emu_warp_op(EMU_IDX, mask, value, inside ? from : lane, 32, line);
}
EMU_INLINE u32 ballot(u32 mask, bool vote, int line) {
  return (u32)emu_warp_op(EMU_BALLOT, mask, vote, 0, 32, line);
}
template <class T> static u32 match_any(T value, u32 mask, int line) {    // who holds my value?
  u32 equal = mask;
  for (u32 i = 0; i < bits<T>; i++) {
    bool mine = (u64)value >> i & 1;
    u32 votes = ballot(mask, mine, line);
    equal &= mine ? votes : ~votes;
  }
  return equal;
}
template <class T, class F> static T reduce(T value, u32 mask, int line, F f) {   // redux.sync
  T out = 0;
  bool first = true;
  for (int lane = 0; lane < 32; lane++) {
    if (!(mask >> lane & 1)) continue;
    T other = (T)emu_warp_op(EMU_IDX, mask, (u64)value, lane, 32, line);
    out = first ? other : f(out, other);
    first = false;
  }
  return out;
}
template <class T> T reduce_add(T v, u32 m, int line) {
  return reduce(v, m, line, [](T a, T b) { return (T)((u64)a + (u64)b); });
}
template <class T> T reduce_min(T v, u32 m, int line) {
  return reduce(v, m, line, [](T a, T b) { return a < b ? a : b; });
}
template <class T> T reduce_max(T v, u32 m, int line) {
  return reduce(v, m, line, [](T a, T b) { return a > b ? a : b; });
}
template <class T> T reduce_and(T v, u32 m, int line) {
  return reduce(v, m, line, [](T a, T b) { return (T)(a & b); });
}
template <class T> T reduce_or(T v, u32 m, int line) {
  return reduce(v, m, line, [](T a, T b) { return (T)(a | b); });
}
template <class T> T reduce_xor(T v, u32 m, int line) {
  return reduce(v, m, line, [](T a, T b) { return (T)(a ^ b); });
}
}  // namespace ptx
