// fibers.h - a stack and the registers saved on it, and how to change from one to another.
#pragma once
#include "emulator.h"

// x86-64 by hand, a few ns a change; other processors by ucontext, half a microsecond.
#if defined(__x86_64__)
#include <xmmintrin.h>
extern "C" void emu_switch(void **save, void *to);     // in scheduler.cpp
struct Context { void *stack; };
static inline void make(Context &c, char *stack, size_t bytes, void (*start)())
{
  u64 *top = (u64 *)((u64)(stack + bytes) & ~15ull);
  *--top = 0;
  *--top = (u64)start;                            // where emu_switch returns to
  for (int i = 0; i < 6; i++) *--top = 0;         // the six registers that it takes back
  c.stack = top;
}
static inline void change(Context &from, Context &to) { emu_switch(&from.stack, to.stack); }
// CuPy always compiles with -ftz=true: denormal numbers count as zero.
static inline u64 flush_denormals()
{
  u32 old = _mm_getcsr();
  _mm_setcsr(old | 0x8040);
  return old;
}
static inline void restore(u64 old) { _mm_setcsr((u32)old); }
#else
#include <ucontext.h>
struct Context { ucontext_t u; };
static inline void make(Context &c, char *stack, size_t bytes, void (*start)())
{
  getcontext(&c.u);
  c.u.uc_stack = {stack, 0, bytes};
  c.u.uc_link = nullptr;
  makecontext(&c.u, start, 0);
}
static inline void change(Context &from, Context &to) { swapcontext(&from.u, &to.u); }
static inline u64 flush_denormals()
{
  u64 old = __builtin_aarch64_get_fpcr64();
  __builtin_aarch64_set_fpcr64(old | 1ull << 24);
  return old;
}
static inline void restore(u64 old) { __builtin_aarch64_set_fpcr64(old); }
#endif


enum State { READY, AT_BARRIER, IN_WARP, ENDED };
struct Fiber {                            // a CUDA thread
  Context context;
  State state;
  EmuThread thread;
  int line, op, arg, width;               // of what it waits in
  u32 mask, pc;
  u64 value, result;
};

// ---- scheduler.cpp ----------------------------------------------------------------------------
extern Fiber emu_fibers[];
extern bool emu_stopped;                  // an error ended the launch
void emu_wait();                          // let the others run
const char *emu_where();                  // the block that runs, for a report

// ---- meeting.cpp ------------------------------------------------------------------------------
bool emu_release_warp(int w);             // did some lanes that waited for each other go on?
bool emu_release_barrier();               // did the block?
void emu_deadlock();                      // report it
