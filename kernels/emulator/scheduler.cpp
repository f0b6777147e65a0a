// scheduler.cpp - run the threads of a CUDA kernel, one at a time, on one thread of the CPU.
//
// Each CUDA thread is a fiber: a stack, and the registers saved on it.  A fiber runs until its
// thread waits for others, at a barrier or in a warp operation, or has ended; then the next one
// does.  Blocks run one after another.  So a run with the same order and seed is always the same,
// and a bug that shows once shows again.  The order is the test's: forward, backward, or another
// random one at every turn; `preempt` also changes to another thread in front of some atomics.
#include "fibers.h"
#include <cstdarg>
#include <cstdio>
#include <link.h>
#include <sys/mman.h>

#if defined(__x86_64__)
extern "C" void emu_switch(void **save, void *to);
asm(R"(
.text
.hidden emu_switch
.globl emu_switch
emu_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi); movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");
#endif

// ---- state ------------------------------------------------------------------------------------
static const size_t STACK = 128 << 10;
static const int MOST = 1024;             // threads in a block
Fiber emu_fibers[MOST];
static Context scheduler;
bool emu_stopped;
u32 emu_block_epoch, emu_warp_epochs[MOST / 32];
static char *shared;
static void (*kernel)(void **);
static void **arguments;
static u64 random_state;
static bool preempt;
static char messages[1 << 16];
static size_t written;
static int problems;
static std::set<u64> told;                // pairs of places that the report names
extern "C" {
EmuThread emu_now;
EmuGrid emu_grid;
__attribute__((weak)) extern char __start_emu_shared[], __stop_emu_shared[];
}
int emu_threads, emu_running;
u64 emu_code_start, emu_code_end, emu_block;
char *emu_stacks;
size_t emu_stack_bytes = STACK * MOST;

static u32 random_number()                // Marsaglia's xorshift64
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (u32)(random_state >> 32);
}
void emu_report(const char *format, ...)
{
  problems++;
  if (told.size() > 20 || written > sizeof messages - 1024) return;
  va_list list;
  va_start(list, format);
  written += vsnprintf(messages + written, sizeof messages - written, format, list);
  va_end(list);
}
bool emu_fresh(u32 pc, u32 other)
{
  if (told.insert((u64)pc << 32 | other).second) return true;
  problems++;
  return false;
}
void emu_wait()
{
  change(emu_fibers[emu_running].context, scheduler);
  emu_now = emu_fibers[emu_running].thread;
}
void emu_give_up()
{
  emu_stopped = true;
  for (;;) emu_wait();
}
static void run_thread()
{
  emu_now = emu_fibers[emu_running].thread;
  kernel(arguments);
  emu_fibers[emu_running].state = ENDED;
  for (;;) emu_wait();
}
const char *emu_where()                // the block, for a report
{
  static char text[64];
  snprintf(text, sizeof text, "block (%u,%u,%u)", emu_grid.bid.x, emu_grid.bid.y, emu_grid.bid.z);
  return text;
}

extern "C" void *emu_dyn_shared() { return shared; }
extern "C" void emu_atomic_point()
{
  static u32 spins;                       // who waits for another's atomic must let it run
  if ((preempt && random_number() % 4 == 0) || ++spins % 65536 == 0) emu_wait();
}

// ---- a block, a grid --------------------------------------------------------------------------
static void shuffle(std::vector<u64> &order)
{
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[random_number() % (i + 1)]);
}
static void run_block(std::vector<u64> &order, bool random)
{
  const unsigned x = emu_grid.bdim.x, y = emu_grid.bdim.y;
  for (unsigned i = 0; i < (unsigned)emu_threads; i++) {
    emu_fibers[i].state = READY;
    emu_fibers[i].thread = {{i % x, i / x % y, i / (x * y)}, i};
    const size_t apart = i % 61 * 576;              // else all stacks meet in the same cache lines
    make(emu_fibers[i].context, emu_stacks + STACK * i, STACK - apart, run_thread);
  }
  emu_block_epoch++;
  for (bool alive = true; alive;) {
    bool moved = false;
    alive = false;
    if (random) shuffle(order);
    for (u64 i : order) {
      if (emu_fibers[i].state == READY) {
        emu_running = (int)i;
        change(scheduler, emu_fibers[i].context);
        moved = true;
        if (emu_stopped) return;
      }
      alive |= emu_fibers[i].state != ENDED;
    }
    bool released = false;
    for (int w = 0; w * 32 < emu_threads && !emu_stopped; w++) released |= emu_release_warp(w);
    if (!released && !moved && !emu_stopped) released = emu_release_barrier();
    if (alive && !moved && !released && !emu_stopped) emu_deadlock();
    if (emu_stopped) return;
  }
}
static int find_code(dl_phdr_info *info, size_t, void *me)
{
  u64 end = 0;
  bool mine = false;
  for (int k = 0; k < info->dlpi_phnum; k++) {
    if (info->dlpi_phdr[k].p_type != PT_LOAD) continue;
    u64 low = info->dlpi_addr + info->dlpi_phdr[k].p_vaddr;
    u64 high = low + info->dlpi_phdr[k].p_memsz;
    mine |= (u64)me >= low && (u64)me < high;
    end = std::max(end, high);
  }
  if (mine) emu_code_start = info->dlpi_addr, emu_code_end = end;
  return mine;
}
static std::vector<u64> numbers(u64 n, bool backward)
{
  std::vector<u64> out(n);
  for (u64 i = 0; i < n; i++) out[i] = backward ? n - 1 - i : i;
  return out;
}
// grain: bytes of a cell of shared memory; order: 0 forward, 1 backward, 2 random.
// -> the number of problems; emu_messages() names them.
extern "C" int emu_launch(void (*start)(void **), void **args, const u32 *grid, const u32 *block,
                          size_t shared_bytes, int grain, int order, u64 seed, int preemptive,
                          int check, int requests)
{
  if (!emu_stacks) {
    emu_stacks = (char *)mmap(nullptr, emu_stack_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    dl_iterate_phdr(find_code, (void *)&emu_launch);
  }
  emu_grid = {{0, 0, 0}, {block[0], block[1], block[2]}, {grid[0], grid[1], grid[2]}};
  emu_threads = (int)(block[0] * block[1] * block[2]);
  kernel = start, arguments = args, preempt = preemptive, emu_stopped = false;
  random_state = seed * 0x9E3779B97F4A7C15ull + 88172645463325252ull;
  problems = 0, written = 0, messages[0] = 0, told.clear(), emu_block_epoch = 0;
  std::fill(emu_warp_epochs, emu_warp_epochs + MOST / 32, 0u);
  std::vector<char> space(shared_bytes + 8192);     // with room on both sides
  shared = (char *)(((u64)space.data() + 4096 + 15) & ~15ull);
  const size_t fixed = __start_emu_shared ? __stop_emu_shared - __start_emu_shared : 0;
  emu_check_start(shared, shared_bytes, grain, check);
  emu_traffic_start(requests);
  std::vector<u64> threads = numbers(emu_threads, order == 1);
  std::vector<u64> blocks = numbers((u64)grid[0] * grid[1] * grid[2], order == 1);
  if (order == 2) shuffle(blocks);
  const u64 old = flush_denormals();
  for (u64 k : blocks) {
    emu_grid.bid = {(u32)(k % grid[0]), (u32)(k / grid[0] % grid[1]), (u32)(k / grid[0] / grid[1])};
    emu_block = k;
    memset(shared, 0xff, shared_bytes);             // NaN, or -1: garbage, as on the GPU
    if (fixed) memset(__start_emu_shared, 0xff, fixed);
    emu_check_block();
    run_block(threads, order == 2);
    emu_traffic_block();
    if (emu_stopped) break;
  }
  restore(old);
  emu_check_end();
  return problems;
}
extern "C" const char *emu_messages() { return messages; }
