// traffic.cpp - count what a kernel moves: bytes, the 32-byte sectors that its warps ask of the
// memory, and the passes that bank conflicts in shared memory cost.
//
// The lanes of a warp ask together when they are at the same place of the code for the same number
// of times.  Global memory answers in sectors of 32 bytes: four for a warp that reads 32 floats
// side by side, 32 where they lie far apart.  Shared memory has 32 banks of 4-byte words: a request
// takes as many passes as the busiest bank has different words to give.
#include "emulator.h"

struct Request { std::set<u64> parts; u32 lanes = 0; };
struct Total { u64 requests = 0, parts = 0, lanes = 0, bytes = 0; };
static bool wanted;
static std::map<u64, Request> open_requests[2];   // (place, warp, how often so far)
static std::map<u64, u32> times;                  // (place, thread) -> how often so far
static std::map<u32, Total> totals[2];            // by place
u64 emu_traffic[TRAFFIC];
extern "C" { u64 emu_flops[2]; }

void emu_traffic_start(bool requests)
{
  wanted = requests;
  std::fill(emu_traffic, emu_traffic + TRAFFIC, 0);
  emu_flops[0] = emu_flops[1] = 0;
  for (int space : {GLOBAL, SHARED}) totals[space].clear(), open_requests[space].clear();
  times.clear();
}
void emu_request(Space space, char *p, size_t bytes, u32 pc)
{
  if (!wanted) return;
  const u64 turn = times[(u64)pc << 32 | (u32)emu_running]++, unit = space == GLOBAL ? 32 : 4;
  Request &r = open_requests[space][(u64)pc << 32 | (u64)(emu_running / 32) << 26 |
                                    (turn & 0x3ffffff)];
  r.lanes++;
  for (u64 a = (u64)p / unit; a <= ((u64)p + bytes - 1) / unit; a++) r.parts.insert(a);
  totals[space][pc].bytes += bytes;
}
static u64 passes(const std::set<u64> &words)     // of shared memory
{
  u32 bank[32] = {}, busiest = 0;
  for (u64 word : words) busiest = std::max(busiest, ++bank[word % 32]);
  return busiest;
}
void emu_traffic_block()
{
  for (int space : {GLOBAL, SHARED}) {
    for (auto &[key, r] : open_requests[space]) {
      Total &t = totals[space][(u32)(key >> 32)];
      t.requests++, t.lanes += r.lanes;
      t.parts += space == GLOBAL ? r.parts.size() : passes(r.parts);
    }
    open_requests[space].clear();
  }
  times.clear();
  emu_traffic[FLOPS] = emu_flops[0], emu_traffic[FLOPS64] = emu_flops[1];
}
extern "C" const u64 *emu_stats() { return emu_traffic; }
// Rows of place, requests, sectors or passes, lanes, bytes, to out (rows, 5) -> rows there are.
extern "C" int emu_requests(int space, u64 *out, int rows)
{
  int n = 0;
  for (auto &[pc, t] : totals[space]) {
    const u64 row[5] = {pc, t.requests, t.parts, t.lanes, t.bytes};
    if (n < rows) std::copy(row, row + 5, out + 5 * n);
    n++;
  }
  return n;
}
