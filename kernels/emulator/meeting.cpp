// meeting.cpp - where CUDA threads wait for each other: the barriers of a block, the operations of
// a warp, and the mistakes that people make with them.
#include "fibers.h"
#include <cstdio>

static int vote;                          // what the last barrier counted

// ---- what a kernel calls ----------------------------------------------------------------------
extern "C" int emu_barrier_result() { return vote; }
extern "C" void emu_barrier(int kind, int predicate, int line)
{
  Fiber &f = emu_fibers[emu_running];
  f.state = AT_BARRIER, f.op = kind, f.arg = predicate, f.line = line, f.pc = PC;
  emu_wait();
}
extern "C" u64 emu_warp_op(int op, u32 mask, u64 value, int arg, int width, int line)
{
  Fiber &f = emu_fibers[emu_running];
  if (!(mask >> (emu_running & 31) & 1)) {
    emu_report("WARP-MASK @%x: thread %d calls a warp operation whose mask %08x leaves it out\n",
               PC, emu_running, mask);
    emu_give_up();
  }
  f.state = IN_WARP, f.op = op, f.mask = mask, f.value = value, f.arg = arg, f.width = width;
  f.line = line, f.pc = PC;
  emu_wait();
  return f.result;
}
extern "C" void emu_trap(int)
{
  emu_report("TRAP @%x: %s thread %d stops\n", PC, emu_where(), emu_running);
  emu_give_up();
}

// ---- meeting ----------------------------------------------------------------------------------
static int source_lane(const Fiber &f, int lane)          // whose value does the lane get?
{
  int segment = lane & ~(f.width - 1), end = segment + f.width, from = lane;
  if (f.op == EMU_IDX) from = segment + (f.arg & (f.width - 1));
  if (f.op == EMU_UP) from = lane - f.arg >= segment ? lane - f.arg : lane;
  if (f.op == EMU_DOWN) from = lane + f.arg < end ? lane + f.arg : lane;
  if (f.op == EMU_XOR) from = (lane ^ f.arg) < end ? lane ^ f.arg : lane;
  return from;
}
// Do all lanes of a lane's mask wait in the same operation as it does?
static bool complete(const Fiber *warp, const Fiber &first)
{
  for (int lane = 0; lane < 32; lane++) {
    const Fiber &f = warp[lane];
    if ((first.mask >> lane & 1) && (&f >= emu_fibers + emu_threads || f.state != IN_WARP ||
                                     f.mask != first.mask || f.op != first.op ||
                                     f.line != first.line)) return false;
  }
  return true;
}
// The lanes of a mask are all there: they exchange and go on.
static void exchange(Fiber *warp, u32 mask)
{
  u32 ballot = 0;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) ballot |= (u32)(warp[lane].value & 1) << lane;
  for (int lane = 0; lane < 32; lane++) {
    if (!(mask >> lane & 1)) continue;
    Fiber &f = warp[lane];
    int from = source_lane(f, lane);
    bool inside = f.op == EMU_BALLOT || mask >> from & 1;
    f.result = f.op == EMU_BALLOT ? ballot : inside ? warp[from].value : 0x7fffdead7fffdeadull;
    if (!inside && emu_fresh(f.pc, f.pc))
      emu_report("WARP-LANE @%x: thread %d reads lane %d, which is not in mask %08x\n", f.pc,
                 (int)(&f - emu_fibers), from, mask);
  }
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) warp[lane].state = READY;
}
bool emu_release_warp(int w)
{
  Fiber *warp = emu_fibers + 32 * w;
  int lanes = std::min(32, emu_threads - 32 * w);
  u32 whole = lanes == 32 ? ~0u : (1u << lanes) - 1;
  bool any = false;
  for (int lane = 0; lane < lanes; lane++) {
    const Fiber &f = warp[lane];
    if (f.state != IN_WARP || !complete(warp, f)) continue;
    exchange(warp, f.mask);
    if (f.op == EMU_SYNC && (f.mask & whole) == whole)
      emu_warp_epochs[w]++;               // a shuffle orders no memory
    any = true;
  }
  return any;
}
bool emu_release_barrier()
{
  int waiting = 0, ended = 0;
  const Fiber *first = nullptr, *other = nullptr;
  for (int i = 0; i < emu_threads; i++) {
    const Fiber &f = emu_fibers[i];
    if (f.state == ENDED) { ended++; continue; }
    if (f.state != AT_BARRIER) return false;
    if (!first) first = &f;
    if (f.line != first->line || f.op != first->op) other = &f;
    waiting++;
  }
  if (!waiting) return false;
  if (ended || other) {
    char also[64] = "";
    if (other)
      snprintf(also, sizeof also, ", thread %d waits at another @%x", (int)(other - emu_fibers),
               other->pc);
    emu_report("BARRIER-DIVERGENCE %s: %d threads wait at a barrier @%x, %d have left the "
               "kernel%s\n", emu_where(), waiting, first->pc, ended, also);
    emu_stopped = true;
    return false;
  }
  vote = first->op == EMU_ALL;
  for (int i = 0; i < emu_threads; i++) {
    int p = emu_fibers[i].arg;
    vote = first->op == EMU_COUNT_IF ? vote + p : first->op == EMU_ALL ? vote & p : vote | p;
    emu_fibers[i].state = READY;
  }
  emu_block_epoch++;
  return true;
}
void emu_deadlock()                       // nobody can go on: who waits for whom?
{
  const Fiber *f = emu_fibers, *other = nullptr;
  while (f->state != IN_WARP) f++;
  for (const Fiber *g = f; g < emu_fibers + emu_threads && !other; g++) {
    const Fiber *warp = emu_fibers + (g - emu_fibers) / 32 * 32;
    for (int lane = 0; g->state == IN_WARP && lane < 32 && !other; lane++) {
      const Fiber *h = warp + lane;
      if ((g->mask >> lane & 1) && h < emu_fibers + emu_threads && h->state == IN_WARP &&
          (h->mask != g->mask || h->op != g->op || h->line != g->line)) f = g, other = h;
    }
  }
  if (other)
    emu_report("WARP-MISMATCH %s: threads %d (@%x, mask %08x) and %d (@%x, mask %08x) meet in "
               "different warp operations\n", emu_where(), (int)(f - emu_fibers), f->pc, f->mask,
               (int)(other - emu_fibers), other->pc, other->mask);
  else
    emu_report("DEADLOCK %s: thread %d waits in a warp operation @%x, mask %08x, for lanes that "
               "never come\n", emu_where(), (int)(f - emu_fibers), f->pc, f->mask);
  emu_stopped = true;
}
