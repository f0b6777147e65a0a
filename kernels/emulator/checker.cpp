// checker.cpp - watch every load and store of a kernel: inside its arrays? after a write? in order?
//
// g++ -fsanitize=thread puts a call such as __tsan_write4(p) in front of each access, meant for
// ThreadSanitizer's own library.  That one is not linked: the calls come here, so that CUDA's rules
// of order hold.  (Linux's KCSAN does the same for the kernel's rules.)  Two accesses of different
// threads to one place, one of them a write, are in order if between them
//     all threads of their block met at a barrier, or all lanes of their warp in a __syncwarp,
// and they need none if both are atomic, or one is a marked read (volatile, __ldcg) and the other
// an atomic.  Else they race, whatever order this run happened to take: that is why a race is found
// even where it does no harm to the numbers.
//
// For each element of an array, and word of shared memory, a cell remembers the last write and
// a summary of the reads since.  The summary keeps one reader: in rare mixes a race is missed that
// another order of threads shows, so tests run several.
#include "emulator.h"
#include <cstdio>

struct Mark { u64 block; u32 thread, pc; Epochs at; };    // who did it, where in the code, when
enum Readers : uint8_t { NONE, ONE, OF_A_WARP, OF_A_BLOCK, OF_MANY };
struct Reads { Mark last = {}; Readers who = NONE; };     // since the last write
struct Cell {
  Mark write = {};
  Reads plain, marked;                                    // marked: but for atomics, in order, too
  bool written = false, atomic = false, initialised = false, was_read = false, was_written = false;
};
struct Region {                                           // an array, or a piece of shared memory
  char *low, *high;
  Space space;
  int grain, number;                                      // bytes a cell; which argument it is
  std::vector<Cell> cells;
};
static const int LAUNCHED = 1000, FIXED = 1001;           // numbers of the shared regions
static const u64 ENDLESS = 1ull << 28;                    // accesses in one block
static std::vector<Region> regions;
static bool checking;
static u64 accesses;
extern "C" __attribute__((weak)) char __start_emu_shared[], __stop_emu_shared[];

// ---- order ------------------------------------------------------------------------------------
static bool same_block(const Mark &m) { return m.block == emu_block; }
static bool mine(const Mark &m) { return same_block(m) && m.thread == (u32)emu_running; }
static bool same_warp(const Mark &m)
{
  return same_block(m) && m.thread / 32 == (u32)emu_running / 32;
}
// Was that certainly over before what the running thread does now?
static bool before(const Mark &m, Readers who)
{
  if (who == ONE && mine(m)) return true;
  if (who == OF_MANY || !same_block(m)) return false;
  if (m.at.block < emu_epochs().block) return true;
  return who != OF_A_BLOCK && same_warp(m) && m.at.warp < emu_epochs().warp;
}
static void race(const Region &r, size_t cell, u32 pc, bool write, const Mark &m, bool other_wrote)
{
  if (!emu_fresh(pc, m.pc)) return;
  char other[96] = "others, too";                         // the summary keeps one reader: me
  if (!mine(m))
    snprintf(other, sizeof other, "block %llu thread %u", (unsigned long long)m.block, m.thread);
  emu_report("RACE %s[%d]+%zu: %s by block %llu thread %d @%x, %s by %s @%x\n",
             r.space == SHARED ? "shared" : "arg", r.number, cell * r.grain,
             write ? "write" : "read", (unsigned long long)emu_block, emu_running, pc,
             other_wrote ? "write" : "read", other, m.pc);
}
static void note_read(Reads &r, const Mark &now)
{
  Readers who = ONE;                                      // those before need not be remembered
  if (r.who != NONE && !before(r.last, r.who)) {
    if (!same_block(r.last) || r.who == OF_MANY) who = OF_MANY;
    else if (mine(r.last)) who = r.who;
    else who = std::max(r.who, same_warp(r.last) ? OF_A_WARP : OF_A_BLOCK);
  }
  r = {now, who};
}
static void touch(Region &r, size_t i, u32 pc, bool write, bool marked)
{
  Cell &c = r.cells[i];
  const Mark now = {emu_block, (u32)emu_running, pc, emu_epochs()};
  if (!write && r.space == SHARED && !c.initialised && emu_fresh(pc, 0)) {
    emu_report("UNINITIALISED shared[%d]+%zu read by thread %d @%x\n", r.number, i * r.grain,
               emu_running, pc);
    c.initialised = true;
  }
  if (c.written && !(marked && c.atomic) && !before(c.write, ONE)) {
    race(r, i, pc, write, c.write, true);
    c.written = false;
  }
  if (write) {
    for (Reads *reads : {&c.plain, &c.marked}) {
      if (marked && reads == &c.marked) break;
      if (reads->who != NONE && !before(reads->last, reads->who))
        race(r, i, pc, true, reads->last, false);
      reads->who = NONE;
    }
    c.write = now, c.written = c.initialised = c.was_written = true;
    c.atomic = marked;
  } else {
    note_read(marked ? c.marked : c.plain, now);
    c.was_read = true;
  }
}

// ---- bounds -----------------------------------------------------------------------------------
static void out_of_bounds(char *p, size_t n, bool write, u32 pc)
{
  const Region *nearest = nullptr;                        // the culprit, most likely
  auto gap = [&](const Region &r) { return p >= r.high ? p - r.high : r.low - p; };
  for (auto &r : regions) if (!nearest || gap(r) < gap(*nearest)) nearest = &r;
  char culprit[96] = "no array at all";
  if (nearest)
    snprintf(culprit, sizeof culprit, "%td bytes %s %s[%d] of %td bytes",
             p < nearest->low ? nearest->low - p : std::max(p - nearest->high, std::ptrdiff_t{0}),
             p < nearest->low ? "before" : "past the end of",
             nearest->space == SHARED ? "shared" : "arg", nearest->number,
             nearest->high - nearest->low);
  emu_report("OUT-OF-BOUNDS %s of %zu bytes by block (%u,%u,%u) thread %d @%x: %s\n",
             write ? "write" : "read", n, emu_grid.bid.x, emu_grid.bid.y, emu_grid.bid.z,
             emu_running, pc, culprit);
  emu_give_up();
}
static Region *region_of(char *p)
{
  static size_t last;                                     // most often the same as the time before
  if (last < regions.size() && p >= regions[last].low && p < regions[last].high)
    return &regions[last];
  for (last = 0; last < regions.size(); last++)
    if (p >= regions[last].low && p < regions[last].high) return &regions[last];
  return nullptr;
}
static void access(void *place, size_t n, bool write, bool marked, u32 pc)
{
  char *p = (char *)place;
  if (!checking || (p >= emu_stacks && p < emu_stacks + emu_stack_bytes)) return;    // its own
  Region *r = region_of(p);
  if (!r && (u64)p >= emu_code_start && (u64)p < emu_code_end) return;               // constants
  if (!r || p + n > r->high) out_of_bounds(p, n, write, pc);
  if (++accesses == ENDLESS) {
    emu_report("ENDLESS block %u: thread %d @%x still runs after %llu accesses of its block\n",
               emu_grid.bid.x, emu_running, pc, (unsigned long long)ENDLESS);
    emu_give_up();
  }
  emu_traffic[r->space == SHARED ? IN_SHARED : !write ? LOADED : marked ? ATOMIC : STORED] += n;
  if (!(marked && write)) emu_request(r->space, p, n, pc);
  const size_t first = (p - r->low) / r->grain, last = (p + n - 1 - r->low) / r->grain;
  for (size_t i = first; i <= last; i++) touch(*r, i, pc, write, marked);
}

// ---- a launch, a block ------------------------------------------------------------------------
extern "C" void emu_region(char *low, size_t bytes, int grain, int number)
{
  regions.push_back({low, low + bytes, GLOBAL, grain, number, std::vector<Cell>(bytes / grain)});
}
static void add_shared(char *low, char *high, int grain, int number)
{
  if (low < high) regions.push_back({low, high, SHARED, grain, number, {}});
}
void emu_check_start(char *shared, size_t bytes, int grain, bool on)
{
  checking = on;
  add_shared(shared, shared + bytes, grain, LAUNCHED);
  if (__start_emu_shared) add_shared(__start_emu_shared, __stop_emu_shared, grain, FIXED);
}
void emu_check_block()
{
  accesses = 0;
  if (checking)
    for (auto &r : regions) if (r.space == SHARED) r.cells.assign((r.high - r.low) / r.grain + 1, Cell());
}
void emu_check_end()
{
  checking = false;
  for (auto &r : regions)
    for (auto &c : r.cells) {
      if (r.space == SHARED) break;
      emu_traffic[DISTINCT_READ] += c.was_read * r.grain;
      emu_traffic[DISTINCT_WRITTEN] += c.was_written * r.grain;
    }
  regions.clear();
}

// ---- the calls that g++ -fsanitize=thread makes -----------------------------------------------
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_atomic_thread_fence(int) {}
void __tsan_read_range(void *p, size_t n) { access(p, n, false, false, PC); }
void __tsan_write_range(void *p, size_t n) { access(p, n, true, false, PC); }
#define ACCESSES(SIZE)                                                                      \
  void __tsan_read##SIZE(void *p) { access(p, SIZE, false, false, PC); }                    \
  void __tsan_write##SIZE(void *p) { access(p, SIZE, true, false, PC); }                    \
  void __tsan_unaligned_read##SIZE(void *p) { access(p, SIZE, false, false, PC); }          \
  void __tsan_unaligned_write##SIZE(void *p) { access(p, SIZE, true, false, PC); }          \
  void __tsan_volatile_read##SIZE(void *p) { access(p, SIZE, false, true, PC); }            \
  void __tsan_volatile_write##SIZE(void *p) { access(p, SIZE, true, true, PC); }            \
  void __tsan_unaligned_volatile_read##SIZE(void *p) { access(p, SIZE, false, true, PC); }  \
  void __tsan_unaligned_volatile_write##SIZE(void *p) { access(p, SIZE, true, true, PC); }
ACCESSES(1) ACCESSES(2) ACCESSES(4) ACCESSES(8) ACCESSES(16)
#define ATOMICS(BITS, T)                                                                    \
  T __tsan_atomic##BITS##_load(const volatile T *p, int)                                    \
  {                                                                                         \
    access((void *)p, sizeof(T), false, true, PC);                                          \
    return *p;                                                                              \
  }                                                                                         \
  bool __tsan_atomic##BITS##_compare_exchange_strong(volatile T *p, T *was, T to, int, int) \
  {                                                                                         \
    access((void *)p, sizeof(T), true, true, PC);                                           \
    if (*p == *was) { *p = to; return true; }                                               \
    *was = *p;                                                                              \
    return false;                                                                           \
  }
ATOMICS(32, u32) ATOMICS(64, u64)

// ---- and those of -fsanitize=bounds,alignment,shift,integer-divide-by-zero --------------------
struct Source { const char *file; u32 line, column; };
static void undefined(const Source *s, const char *what)
{
  const char *slash = strrchr(s->file, '/');
  emu_report("UNDEFINED %s:%u: %s, block (%u,%u,%u) thread %d\n", slash ? slash + 1 : s->file,
             s->line, what, emu_grid.bid.x, emu_grid.bid.y, emu_grid.bid.z, emu_running);
  emu_give_up();
}
void __ubsan_handle_out_of_bounds(Source *s, u64 index)
{
  char text[64];
  snprintf(text, sizeof text, "index %lld outside the array", (long long)index);
  undefined(s, text);
}
void __ubsan_handle_type_mismatch_v1(Source *s, u64 p)
{
  char text[64];
  snprintf(text, sizeof text, "misaligned address ...%03llx", (unsigned long long)(p & 0xfff));
  undefined(s, text);
}
void __ubsan_handle_shift_out_of_bounds(Source *s, u64, u64) { undefined(s, "shift too far"); }
void __ubsan_handle_divrem_overflow(Source *s, u64, u64)
{
  undefined(s, "integer division by zero");
}
}
