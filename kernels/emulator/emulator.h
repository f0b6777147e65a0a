// emulator.h - what the scheduler (scheduler.cpp), the checker (checker.cpp) and the bookkeeper of
// traffic (traffic.cpp) know of each other.  A kernel sees none of it: it is compiled with cuda.h.
#pragma once
#include "cuda.h"
#include <algorithm>
#include <map>
#include <set>
#include <vector>

typedef uint32_t u32;
typedef uint64_t u64;

// A place of the kernel's machine code: where the call that is running will return to.
#define PC ((u32)((u64)__builtin_return_address(0) - emu_code_start))

// ---- scheduler.cpp ----------------------------------------------------------------------------
struct Epochs { u32 block, warp; };       // how often the block's, the warp's threads have met
static inline Epochs emu_epochs();        // of the thread that runs
extern int emu_threads, emu_running;      // threads of a block; the number of the one that runs
extern u64 emu_code_start, emu_code_end;  // where the kernel's machine code and data lie
extern u64 emu_block;                     // the number of the block that runs
extern u32 emu_block_epoch, emu_warp_epochs[];
extern char *emu_stacks;
extern size_t emu_stack_bytes;            // of all threads together
void emu_report(const char *format, ...); // a line of the report
bool emu_fresh(u32 pc, u32 other);        // is this pair of places new?  Counts it in any case
[[noreturn]] void emu_give_up();          // leave the kernel after an error that cannot go on

// ---- checker.cpp ------------------------------------------------------------------------------
enum Space : uint8_t { GLOBAL, SHARED };
void emu_check_start(char *shared, size_t bytes, int grain, bool on);      // a launch
void emu_check_block();                                        // a block: its shared memory is new
void emu_check_end();

static inline Epochs emu_epochs() { return {emu_block_epoch, emu_warp_epochs[emu_running / 32]}; }

// ---- traffic.cpp ------------------------------------------------------------------------------
enum { LOADED, STORED, ATOMIC, IN_SHARED, DISTINCT_READ, DISTINCT_WRITTEN, FLOPS,
       FLOPS64, TRAFFIC };
extern u64 emu_traffic[TRAFFIC];          // bytes, and floating-point operations
extern "C" u64 emu_flops[2];               // in float32, in float64
void emu_traffic_start(bool requests);
void emu_request(Space space, char *p, size_t bytes, u32 pc);
void emu_traffic_block();
