# %% [markdown]
# # 0. How to read a kernel
#
# **You will** read one loop, the adding up of BM25 scores, as NumPy, as Numba and as CUDA C; write
# kernels here and run them without a GPU; see a race that gives the right numbers and is wrong all
# the same; count what a warp asks of the memory, before and after a repair; and know the least time
# that a kernel can take on a device you do not own.
#
# **You need** NumPy. No CUDA, no GPU: the kernels run on the CPU, thread by thread, under a
# checker. That takes Linux and `g++`. One section also uses NVIDIA's compiler, if it is installed.
# This is no chapter of the text: chapter 5 explains where the scores come from, here they are only
# added up.

# %%
import re

import numpy as np

from kernels import emulator
from primer import data
from primer.ch05_bm25 import BM25

texts = data.sotu_paragraphs()[0][::4]
index = BM25(texts)
postings = index.postings
print(f"{len(texts):,} passages of the State of the Union, {len(index.words):,} words")

# %% [markdown]
# ## The picture
#
# An inverted index keeps for each word its *postings*: the passages that hold it, and what it adds
# to the score of each (its *impact*). To search is to run through the postings of the query's words
# and add up.

# %%
def postings_of(*words):
    """The postings of some words, one list after another -> documents int32, impacts float32."""
    own = [slice(*postings.indptr[t:t + 2]) for t in (index.vocabulary[w] for w in words)]
    return (np.concatenate([postings.documents[s] for s in own]),
            np.concatenate([postings.impacts[s] for s in own]))


documents, impacts = postings_of("bank")
print(f"bank: {documents.size} postings, the first of them")
for d, x in list(zip(documents, impacts, strict=True))[:4]:
    print(f"  passage {d:4}: {x:.3f}")

# %% [markdown]
# A GPU runs one function, the **kernel**, thousands of times side by side. Each run is a
# **thread**. All get the same arguments; a thread only knows its own number, and picks its share of
# the work by it. Here: one thread, one posting.
#
# Threads come in **blocks**, all of one size, and the blocks of a launch are its **grid**. So the
# number has two parts, and every kernel begins by putting them together:
#
# ```c
# p = blockIdx.x * blockDim.x + threadIdx.x       // which block * threads in a block + which thread
# ```
#
# The hardware cuts each block into **warps** of 32 threads that do the same step at the same time.
# The last block is seldom full: threads without a posting must do nothing.

# %%
from primer.figures import ch00_kernels as figures

block = 32
grid = -(-documents.size // block)                 # blocks, rounded up
figures.thread_grid(documents.size, block, shown=(1, 5))

# %% [markdown]
# A block of 64 is two warps. The same posting then has another block and another thread number:

# %%
figures.thread_grid(documents.size, 64, shown=(0, 37))

# %% [markdown]
# ## Equation, code, number
#
# A passage's score is the sum of the impacts of the query's words in it:
#
# $$\mathrm{score}(d) = \sum_{w \in \mathrm{query}} \mathrm{impact}(w, d) \qquad (5.1)$$
#
# For one word, in NumPy:

# %%
want = np.zeros(postings.n, np.float32)
want[documents] += impacts
print("best passage:", want.argmax(), " score:", want.max().round(3))

# %% [markdown]
# What the line hides is a loop, one turn a posting. No turn needs another's result:

# %%
scores = np.zeros(postings.n, np.float32)
for p in range(documents.size):
    scores[documents[p]] += impacts[p]
print("equal:", np.array_equal(scores, want))

# %% [markdown]
# Numba compiles the loop as it stands. `prange` deals its turns out to the CPU's threads, a long
# run of neighbouring turns to each.

# %%
from numba import njit, prange


@njit(parallel=True)
def score_numba(documents, impacts, scores):
    for p in prange(documents.size):
        scores[documents[p]] += impacts[p]


scores = np.zeros(postings.n, np.float32)
score_numba(documents, impacts, scores)
print("equal:", np.array_equal(scores, want))

# %% [markdown]
# CUDA C goes to the end of this road. There is no loop any more: the grid is the loop, and the
# kernel is the body of one turn. Read it from the outside in:
#
# * `__global__ void`: a kernel; started from outside, returns nothing. `extern "C"` keeps its name.
# * `const int* documents`: an array in the GPU's memory. It comes without a length, so the length
#   is an argument of its own.
# * `p`: the thread's number, as above. `if (p < postings)`: the *bound check*, for the idle
#   threads.
# * `scores[d] += impacts[p]`, in two lines: a thread **loads** the old score, then **stores** the
#   new one. They are two steps, as we shall see.

# %%
SCORE = r'''extern "C" __global__
void score(const int* documents, const float* impacts, float* scores, int postings)
{
  const int p = blockIdx.x * blockDim.x + threadIdx.x;
  if (p < postings) {
    const float old = scores[documents[p]];
    scores[documents[p]] = old + impacts[p];
  }
}
'''
kernel = emulator.Module(SCORE).get_function("score")
scores = np.zeros(postings.n, np.float32)
kernel((grid,), (block,), (documents, impacts, scores, np.int32(documents.size)))
print(f"{grid} blocks of {block} threads.  equal:", np.array_equal(scores, want))

# %% [markdown]
# The last call is CuPy's, word for word. On a GPU only the line before it changes, to
# `cupy.RawModule(code=SCORE).get_function("score")`. The emulator compiles the same text with
# `g++`, runs its threads one after another, and watches each load and store. `np.int32(...)` is
# needed: a kernel takes bytes as they come, and a Python integer has eight of them.
#
# What if the bound check is forgotten? On a GPU, the idle threads read and write whatever lies
# behind the arrays, often without any error. The checker says so:

# %%
def launch(code, name, grid, block, *arguments, check=True, **how):
    """Run a kernel -> what the checker has to say."""
    try:
        emulator.Module(code, check=check).get_function(name)((grid,), (block,), arguments, **how)
    except emulator.KernelError as error:
        return re.sub(r"kernel\.c\w+:", "line ", str(error)).strip()
    return "no complaint" if check else "not checked"


def listing(code):
    """A kernel with the numbers of its lines."""
    print("\n".join(f"{i:3}  {line}" for i, line in enumerate(code.splitlines(), 1)))


UNBOUNDED = SCORE.replace("if (p < postings) {", "{")
print(launch(UNBOUNDED, "score", grid, block, documents, impacts, np.zeros_like(want),
             np.int32(documents.size)))

# %%
listing(UNBOUNDED)

# %% [markdown]
# ## A race
#
# In one word's list all passages differ, so that no two threads met. Now two words, two lists, one
# launch: the same kernel over both lists at once. Some passages hold both words, and two threads
# add to one score.

# %%
documents, impacts = postings_of("gold", "silver")
both = np.flatnonzero(np.bincount(documents, minlength=postings.n) == 2)
grid, size = -(-documents.size // block), np.int32(documents.size)
want = np.zeros(postings.n, np.float32)
np.add.at(want, documents, impacts)
print(f"{documents.size} postings, {both.size} passages hold both words")

# %% [markdown]
# We run it unchecked and compare, as a test would:

# %%
scores = np.zeros(postings.n, np.float32)
said = launch(SCORE, "score", grid, block, documents, impacts, scores, size, check=False)
print(said, " equal:", np.array_equal(scores, want))

# %% [markdown]
# The numbers are right, and the kernel is wrong. They are right because here one thread ends before
# the next begins. On a GPU the threads run together. Two threads, A and B, two steps each: these
# are the six orders in which it can go, worked out one by one.

# %%
from itertools import permutations


def play(order, a=1.0, b=2.0):
    """Two threads add a and b to one score, a step at a time -> what happened, final score."""
    score, old, given, said = 0.0, {}, {"A": a, "B": b}, []
    for thread in order:
        if thread not in old:
            old[thread] = score
            said.append((thread, f"loads {score:g}"))
        else:
            score = old[thread] + given[thread]
            said.append((thread, f"stores {score:g}"))
    return said, score


orders = sorted(set(permutations("AABB")))
figures.interleavings([play(order) for order in orders], right=1.0 + 2.0)

# %%
lost = sum(play(order)[1] != 3 for order in orders)
print(f"{lost} of {len(orders)} orders lose an addition")

# %% [markdown]
# NumPy shows what comes out when *all* loads go before all stores: `scores[documents] += impacts`
# does just that, which is why NumPy has `np.add.at` besides. (Numba's loop above has the same race,
# now that documents repeat.)

# %%
together = np.zeros(postings.n, np.float32)
together[documents] += impacts
print(f"{(together < want).sum()} of {both.size} scores are too low")

# %% [markdown]
# A test by numbers waits for bad luck. The **checker** does not: it asks of each pair of accesses
# to one place, one of them a store, whether anything puts them in order. Nothing does here: one
# problem for each passage with both words. The report names an example, its place in the array (in
# bytes), the threads and both lines (6 loads, 7 stores), whatever order the run happened to take:

# %%
for order in emulator.ORDERS:
    said = launch(SCORE, "score", grid, block, documents, impacts, np.zeros_like(want), size,
                  **order)
    print(*order.values(), said, sep="  ")
listing(SCORE)

# %% [markdown]
# The repair is one word. `atomicAdd` loads, adds and stores in one step that no other thread can
# part:

# %%
ATOMIC = r'''extern "C" __global__
void score(const int* documents, const float* impacts, float* scores, int postings)
{
  const int p = blockIdx.x * blockDim.x + threadIdx.x;
  if (p < postings) {
    const int d = documents[p];
    const float x = impacts[p];
    atomicAdd(&scores[d], x);
  }
}
'''
for order in emulator.ORDERS:
    scores = np.zeros(postings.n, np.float32)
    said = launch(ATOMIC, "score", grid, block, documents, impacts, scores, size, **order)
    print(*order.values(), said, " equal:", np.array_equal(scores, want))

# %% [markdown]
# It does not say *who* adds first. For two words that is no matter, $0 + a + b = 0 + b + a$. From
# three on the sums are rounded differently, and a search is no longer the same from run to run:

# %%
three = postings_of("gold", "silver", "coin")
sums = []
for order in ("forward", "backward"):
    sums.append(np.zeros(postings.n, np.float32))
    launch(ATOMIC, "score", -(-three[0].size // block), block, *three, sums[-1],
           np.int32(three[0].size), order=order)
print(f"{(sums[0] != sums[1]).sum()} scores differ in their last bits, "
      f"none by more than {np.abs(sums[0] - sums[1]).max():.0e}")

# %% [markdown]
# ### A race that does show
#
# Which passages were met? Each thread with a score appends its number to a list: it reads the
# length, writes behind the end, and then makes the list longer, with an atomic.

# %%
APPEND = r'''extern "C" __global__
void append(const float* scores, int* list, int* length, int n)
{
  const int d = blockIdx.x * blockDim.x + threadIdx.x;
  if (d < n && scores[d] > 0) {
    const int slot = *length;
    list[slot] = d;
    atomicAdd(length, 1);
  }
}
'''


def met(code, **how):
    """Make the list with a kernel -> the checker's words, length, different passages in it."""
    found, length = np.full(postings.n, -1, np.int32), np.zeros(1, np.int32)
    said = launch(code, "append", -(-postings.n // 128), 128, want, found, length,
                  np.int32(postings.n), **how)
    return said, f"length {length[0]}, passages {np.unique(found[found >= 0]).size}"


print("one after another:", *met(APPEND, check=False))
for seed in (1, 2, 3):
    print("changing sometimes:",
          *met(APPEND, check=False, order="random", preempt=True, seed=seed))

# %% [markdown]
# One after another, all is well. With `preempt=True` the emulator sometimes lets other threads run
# just before an atomic: then two threads have read the same length and take the same slot, and
# passages are lost. The length is right each time: an atomic protects its own step, not what a
# thread decided before it. The checker needs no luck:

# %%
print(met(APPEND)[0])
listing(APPEND)

# %% [markdown]
# `atomicAdd` gives back what was there before. Who takes the slot from that has it alone:

# %%
APPENDED = APPEND.replace("*length;", "atomicAdd(length, 1);", 1).replace(
    "    atomicAdd(length, 1);\n  }", "  }")
for order in emulator.ORDERS:
    print(*order.values(), *met(APPENDED, **order))
listing(APPENDED)

# %% [markdown]
# ## What a warp asks for
#
# The 32 threads (*lanes*) of a warp load at the same time: one **request** of 32 addresses. Memory
# answers in **sectors** of 32 bytes, whether one byte of them is wanted or all. Lanes that ask for
# neighbours share sectors: 32 floats side by side are 128 bytes, four sectors. That is called
# *coalescing*, and it is decided by one line of the kernel.
#
# Three kernels for the same job, 2,048 postings of *of*. The first is as above. In the second each
# thread takes a run of 32 postings, as a CPU's threads would (and `prange` did):

# %%
documents, impacts = (a[:2048] for a in postings_of("of"))
RUNS = r'''extern "C" __global__
void score(const int* documents, const float* impacts, float* scores, int postings)
{
  const int first = (blockIdx.x * blockDim.x + threadIdx.x) * 32;
  for (int p = first; p < first + 32 && p < postings; p++) {
    const int d = documents[p];
    const float x = impacts[p];
    atomicAdd(&scores[d], x);
  }
}
'''

# %% [markdown]
# The third keeps all that belongs to a posting together, as an object would: an *array of
# structs*. The arrays above are a *struct of arrays*.

# %%
RECORDS = r'''struct Posting {
  int document, count, length, place;
  float idf, worth, impact, spare;
};

extern "C" __global__
void score(const Posting* all, float* scores, int postings)
{
  const int p = blockIdx.x * blockDim.x + threadIdx.x;
  if (p < postings) {
    const int d = all[p].document;
    const float x = all[p].impact;
    atomicAdd(&scores[d], x);
  }
}
'''
names = ["document", "count", "length", "place", "idf", "worth", "impact", "spare"]
records = np.zeros(documents.size, {"names": names, "formats": ["i4"] * 4 + ["f4"] * 4})
records["document"], records["impact"] = documents, impacts
print(f"{records.itemsize} bytes a record")

# %% [markdown]
# `traffic=True` counts. A kernel's `.requests()` has a row for each place of the code that loads or
# stores: how many requests, lanes and sectors a request. What the atomic needs depends on the data
# (where the scores lie); the rest is the kernel's doing.

# %%
def traffic(code, threads, *arguments):
    """Run with 64 threads a block -> dict line of the kernel: its row of requests; the scores."""
    scores = np.zeros(postings.n, np.float32)
    kernel = emulator.Module(code, traffic=True).get_function("score")
    kernel((-(-threads // 64),), (64,), (*arguments, scores, np.int32(arguments[0].size)))
    lines = code.splitlines()
    rows = {lines[int(r.where.rpartition(":")[2]) - 1].strip(): r for r in kernel.requests()}
    return dict(sorted(rows.items(), reverse=True)), scores


kinds = {"side by side": traffic(ATOMIC, 2048, documents, impacts),
         "runs of 32": traffic(RUNS, 2048 // 32, documents, impacts),
         "records": traffic(RECORDS, 2048, records)}
for name, (rows, got) in kinds.items():
    print(f"{name}: equal {np.array_equal(got, kinds['side by side'][1])}")
    for line, r in rows.items():
        print(f"  {line:31} {r.requests} requests of {r.lanes:.0f} lanes, "
              f"{r.parts:4.1f} sectors each")

# %% [markdown]
# Same result, same number of requests, four sectors or 32 each. Here are the addresses that the
# lanes of one warp ask for in one step, and the sectors that must come:

# %%
lane = np.arange(32)
asked = {"side by side": 4 * lane, "runs of 32": 4 * 32 * lane,
         "records": records.itemsize * lane + records.dtype.fields["impact"][1]}
loads = {name: [r.parts for line, r in rows.items() if "impact" in line]
         for name, (rows, _) in kinds.items()}
figures.what_a_warp_asks([(name, asked[name], *loads[name]) for name in asked])

# %% [markdown]
# A cache can save some of it: the next step of a run asks for the neighbour, in the same sector, if
# that is still there. The kernel that needs no luck asks side by side. The rule to remember:
# **neighbouring threads, neighbouring addresses**; `threadIdx.x` stands in an index alone, not
# multiplied.
#
# And the scores? *Of* is in nearly every passage, so that the lanes of a warp add to scores that
# lie close. Those of *gold* do not, and no order of the threads can mend that:

# %%
documents, impacts = (a[:64] for a in postings_of("gold"))
rows, _ = traffic(ATOMIC, 64, documents, impacts)
for line, r in rows.items():
    print(f"{line:31} {r.parts:4.1f} sectors each")

# %% [markdown]
# ## Shared memory, and waiting for each other
#
# Every block has a small memory of its own, close to its processor: `__shared__`. Threads of a
# block use it to work together, and `__syncthreads()` is where they wait until all have come: what
# was written before it can be read after it. Here a block finds its best score: 128 threads, then
# 64 that keep the better of two, then 32, ... (The idle threads stay, with a score of 0: at a
# barrier *all* threads of a block must meet.)

# %%
BEST = r'''extern "C" __global__
void best(const float* scores, float* bests, int n)
{
  __shared__ float own[128];
  const int d = blockIdx.x * blockDim.x + threadIdx.x, t = threadIdx.x;
  own[t] = d < n ? scores[d] : 0;
  for (int half = 64; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) {
      const float other = own[t + half];
      if (other > own[t])
        own[t] = other;
    }
  }
  if (t == 0)
    bests[blockIdx.x] = own[0];
}
'''


def block_bests(code, **how):
    """Each block's best score, by a kernel -> the checker's words, bests."""
    blocks = -(-postings.n // 128)
    bests = np.zeros(blocks, np.float32)
    said = launch(code, "best", blocks, 128, want, bests, np.int32(postings.n), **how)
    return said, bests


padded = np.zeros(-(-postings.n // 128) * 128, np.float32)
padded[:postings.n] = want
right = padded.reshape(-1, 128).max(axis=1)
for order in emulator.ORDERS:
    said, got = block_bests(BEST, **order)
    print(*order.values(), said, " equal:", np.array_equal(got, right))

# %% [markdown]
# Take the barrier away. Now the order decides: run backward, each thread finds its partner's work
# done, and every number is right. Forward, nothing is done yet. A test that happened to run
# backward would pass:

# %%
HASTY = BEST.replace("    __syncthreads();\n", "")
for order in ("backward", "forward"):
    said, got = block_bests(HASTY, order=order, check=False)
    print(f"{order}, {said}: {(got == right).sum()} of {right.size} blocks right")

# %% [markdown]
# The checker reports it in either order: shared memory that is read before anything was written
# there, and races, with the place in the array, the threads and the lines.

# %%
for order in ("backward", "forward"):
    print(order, block_bests(HASTY, order=order)[0], sep=": ")

# %%
listing(HASTY)

# %% [markdown]
# ### Turning a tile over
#
# Impacts lie passage by passage (a row a passage, a column a word) and are wanted word by word: a
# transposition. Straight from memory to memory, either the loads or the stores of a warp are strewn
# over 32 sectors. So a block takes a tile of 32 x 32 into shared memory, row by row, reads it there
# column by column, and both sides are coalesced.
#
# Shared memory has a rule of its own. Its words of 4 bytes are dealt out to 32 **banks** in turn,
# and a bank serves one word at a time. A request takes as many **passes** as its busiest bank has
# words to give. A row of the tile has one word in each bank: one pass. A column, with 32 words
# between one and the next, has all of its words in *one* bank. The repair looks like a misprint: a
# column more, that nobody uses.

# %%
STRAIGHT = r'''extern "C" __global__
void turn(const float* x, float* y)
{
  const int row = threadIdx.y, column = threadIdx.x;
  y[32 * column + row] = x[32 * row + column];
}
'''
TILE = r'''extern "C" __global__
void turn(const float* x, float* y)
{
  __shared__ float tile[32][32];
  const int row = threadIdx.y, column = threadIdx.x;
  tile[row][column] = x[32 * row + column];
  __syncthreads();
  y[32 * row + column] = tile[column][row];
}
'''
PADDED = TILE.replace("[32][32]", "[32][33]")

# %% [markdown]
# A block can have two dimensions (and a grid, too): 32 x 32 threads here. Threads are counted along
# `x` first, so a warp is a row, `threadIdx.x` from 0 to 31.

# %%
X = want[:1024].reshape(32, 32)


def turned(code):
    """Turn X over -> the rows of .requests()."""
    Y = np.zeros_like(X)
    kernel = emulator.Module(code, traffic=True).get_function("turn")
    kernel((1,), (32, 32), (X, Y))
    assert np.array_equal(Y, X.T)
    return kernel.requests()


passes = {}
for name, code in {"straight": STRAIGHT, "tile": TILE, "padded tile": PADDED}.items():
    rows = turned(code)
    for space, unit in (("global", "sectors"), ("shared", "passes")):
        counts = [round(r.parts) for r in rows if r.space == space]
        if counts:
            print(f"{name:12} {space} memory: {' and '.join(map(str, counts))} {unit} a request")
            passes[name] = max(counts)

# %%
figures.banks([("32 columns", 32, passes["tile"]), ("33 columns", 33, passes["padded tile"])],
              column=5)

# %% [markdown]
# Each colour is a bank. On the left the column in the box has one colour: its 32 words queue at one
# bank. On the right each row begins a bank later, and the column meets every bank once.

# %% [markdown]
# ## What the compiler made of it
#
# A processor of a GPU (an *SM*) holds many warps at a time, and while one waits for memory it runs
# another. How many it can hold depends on what a thread takes: an SM has 65,536 **registers** and
# some shared memory for all of them. **Occupancy** is the share of its places that are taken. A
# thread that needs more registers than there are **spills** the rest to memory. NVIDIA's own
# compiler tells, and it needs no GPU.

# %%
from kernels.emulator import nvrtc

HOARD = BEST.replace("own[128]", "own[8192]")
kernels = (("score", ATOMIC, 256), ("best", BEST, 128), ("best, 8192 floats", HOARD, 128),
           ("turn", PADDED, 1024))
try:
    for name, code, threads in kernels:
        (f,) = nvrtc.compile_all(code, "80")
        print(f"{name}: {f.registers} registers a thread, {f.spills} bytes spilled, "
              f"{f.shared} bytes shared a block")
        for device, arch in (("T4", "75"), ("A100", "80"), ("H100", "90"), ("RTX 4090", "89")):
            full = nvrtc.occupancy(*nvrtc.compile_all(code, arch), threads)
            print(f"    {device:8} {full.fraction:4.0%} full, {full.limit} run out first")
except RuntimeError as missing:
    print(missing)

# %% [markdown]
# Registers are not what limits these kernels. Hoarding shared memory would be; and blocks of 1,024
# threads are where an SM has places for 1,536, because only whole blocks go in. The project's
# kernels say `__launch_bounds__(256)` or the like, a promise that no block is larger, and its tests
# hold their registers, spills and occupancy to bounds.
#
# ## How fast could it be?
#
# A kernel moves bytes and does sums, at the same time. It is no faster than the slower of the two:
# bytes / bandwidth, or operations / peak. This bound, the **roofline**, needs only the datasheet.
# What moves for each posting, we have counted:

# %%
def each(rows, n=2048):
    """Bytes of the sectors that come for a posting, and of what was asked for."""
    return (sum(r.requests * r.parts * 32 for r in rows.values()) / n,
            sum(r.bytes for r in rows.values()) / n)


for name, (rows, _) in kinds.items():
    print("{}: {:.1f} bytes of sectors a posting, {:.0f} asked for, 1 addition".format(
        name, *each(rows)))

# %% [markdown]
# For a hundred million postings, the least time in milliseconds if no cache helps (the atomic's
# sectors are counted once, as loads):

# %%
from kernels.emulator.roofline import PEAKS, bound

n = 100_000_000
print(f"{'':14}" + "".join(f"{device:>10}" for device in PEAKS))
for name, (rows, _) in kinds.items():
    least = [bound(bytes=n * each(rows)[0], flops=n, device=device) for device in PEAKS]
    print(f"{name:14}" + "".join(f"{1000 * t:10.2f}" for t, _ in least), " limited by",
          *{why for _, why in least})

# %%
figures.roofline(PEAKS, {name: 1 / each(rows)[0] for name, (rows, _) in kinds.items()})

# %% [markdown]
# One addition for a dozen bytes lies far to the left, under the slope: the arithmetic is idle, and
# only fewer bytes make it faster. A laptop cannot time a GPU; it can count bytes.
#
# ## The twin
#
# The project's own kernel, `kernels/ch05_bm25.cu`, puts these pieces together. A block takes 2,048
# passages of a query and keeps *their* scores in shared memory, so that the scattered additions
# never reach the memory. It adds word after word with a barrier in between: within a word all
# documents differ, so that no atomics are needed, and the order of the sums is fixed.
# `twin("ch05_bm25", "emulated")` runs all of it here, launch code included.

# %%
from kernels import twin
from primer.ch05_bm25 import search

gpu = twin("ch05_bm25", "emulated")
queries = [index.encode(q) for q in ("gold and silver coinage", "landing a man on the moon")]
slow = search(postings, queries, 3)
with emulator.running() as log:
    quick = gpu.search(postings, queries, 3)
print("documents equal:", np.array_equal(slow[0], quick[0]),
      " scores equal, bit for bit:", slow[1].tobytes() == quick[1].tobytes())
for d in quick[0][:, 0]:
    print(f"  {texts[d][:75]}...")

# %%
for one in log.launches:
    print(f"{one.kernel}: grid {one.grid}, block {one.block}, atomics: {one.stats['atomic']} bytes")

# %% [markdown]
# Does the checker guard a kernel of this size, too? We take its barriers away, one at a time, and
# search again. A report in short, the lines of the two accesses:

# %%
from kernels import cuda_source

code = cuda_source("ch01_top_k", "ch05_bm25")
lines = cuda_source("ch05_bm25").splitlines()[1:]                # without the file's name
for line in (x for x in lines if "__syncthreads();" in x and code.count(x) == 1):
    try:
        with emulator.running(edits=((line, ""),)):
            gpu.search(postings, queries, 3)
        print("not seen:", line.strip())
    except emulator.KernelError as error:
        report = str(error).splitlines()[1]
        print("without", " ".join(line.split()))
        for number in re.findall(r"ch05_bm25\.cu:(\d+)", report):
            print(f"  {report.split()[0]}  {lines[int(number) - 1].partition('//')[0].strip()}")

# %% [markdown]
# Who owns a GPU runs `python -m primer gpu`: each kernel is compared with the reference on the
# device, then timed beside its roofline. Without a GPU the same command compiles all of them and
# runs them as here.

# %% [markdown]
# ## Exercises
#
# Three broken kernels. For each: run it, read the report, write it right. The check runs yours in
# four orders of threads under the checker; a complaint comes with its line.

# %%
def results(code, name, grid, block, *arguments):
    """Run in every order; the last argument but one is written -> list of what came out."""
    out = []
    for order in emulator.ORDERS:
        *given, result, n = arguments
        result = result.copy()
        emulator.Module(code).get_function(name)((grid,), (block,), (*given, result, n), **order)
        out.append(result)
    return out

# %% [markdown]
# **0.1 A bound.** Each score is divided by the best one. It works for 128 passages, not for 100.
# *Hint:* which threads of the last block have no passage, and what do they write?

# %%
SHARE = r'''extern "C" __global__
void share(const float* scores, float best, float* shares, int n)
{
  const int d = blockIdx.x * blockDim.x + threadIdx.x;
  shares[d] = scores[d] / best;
}
'''
for n in (128, 100):
    print(n, launch(SHARE, "share", 4, 32, want[:n], np.float32(2), np.zeros(n, np.float32),
                    np.int32(n)), sep=": ")

# %% tags=["exercise"]
def bounded():
    """SHARE, mended -> str of CUDA C."""
    ### BEGIN SOLUTION
    return SHARE.replace("  shares[d]", "  if (d < n)\n    shares[d]")
    ### END SOLUTION

# %%
sizes = (1, 31, 32, 33, 100, 128)
assert all(np.array_equal(got, want[:n] / np.float32(2)) for n in sizes for got in results(
    bounded(), "share", -(-n // 32), 32, want[:n], np.float32(2), np.zeros(n, np.float32),
    np.int32(n)))

# %% [markdown]
# **0.2 A race.** In how many passages does each word occur? A thread takes an entry of the count
# matrix. *Hint:* two passages with the same word. Is the result of one thread's work needed by
# another, or need they only not part each other's steps?

# %%
FREQUENCY = r'''extern "C" __global__
void frequency(const int* words, int* df, int n)
{
  const int e = blockIdx.x * blockDim.x + threadIdx.x;
  if (e < n)
    df[words[e]] += 1;
}
'''
entries = index.X.indices[:1000].astype(np.int32)
df = np.zeros(len(index.words), np.int32)
said = launch(FREQUENCY, "frequency", 8, 128, entries, df, np.int32(1000), check=False)
print(said, " equal:", np.array_equal(df, np.bincount(entries, minlength=df.size)))
print(launch(FREQUENCY, "frequency", 8, 128, entries, df, np.int32(1000)))

# %% tags=["exercise"]
def unraced():
    """FREQUENCY, mended -> str of CUDA C."""
    ### BEGIN SOLUTION
    return FREQUENCY.replace("df[words[e]] += 1;", "atomicAdd(&df[words[e]], 1);")
    ### END SOLUTION

# %%
assert all(np.array_equal(got, np.bincount(entries, minlength=df.size)) for got in results(
    unraced(), "frequency", 8, 128, entries, np.zeros_like(df), np.int32(1000)))

# %% [markdown]
# **0.3 Bank conflicts.** One warp adds up the 32 rows of a tile, a row a lane. The sums are right,
# the loads from memory are side by side, but each load from the tile takes 32 passes. *Hint:* which
# words do the 32 lanes ask for in one turn of the second loop, and which banks are they in? There
# are two good answers: another shape of the tile, or another order of each lane's sum.

# %%
ROWS = r'''extern "C" __global__
void rows(const float* x, float* sums, int n)
{
  __shared__ float tile[32 * 32];
  const int lane = threadIdx.x;
  for (int row = 0; row < n; row++)
    tile[32 * row + lane] = x[32 * row + lane];
  __syncthreads();
  float sum = 0;
  for (int column = 0; column < 32; column++)
    sum += tile[32 * lane + column];
  sums[lane] = sum;
}
'''
counts = np.arange(1024, dtype=np.float32).reshape(32, 32)         # whole numbers: sums are exact


def most_passes(code):
    """The most passes that a request to shared memory takes."""
    kernel = emulator.Module(code, traffic=True).get_function("rows")
    kernel((1,), (32,), (counts, np.zeros(32, np.float32), np.int32(32)))
    return max(r.parts for r in kernel.requests() if r.space == "shared")


print(f"{most_passes(ROWS):.0f} passes")

# %% tags=["exercise"]
def unconflicted():
    """ROWS, mended -> str of CUDA C."""
    ### BEGIN SOLUTION
    return ROWS.replace("32 * 32]", "32 * 33]").replace("tile[32 * row", "tile[33 * row").replace(
        "tile[32 * lane", "tile[33 * lane")
    ### END SOLUTION

# %%
assert most_passes(unconflicted()) == 1 and all(
    np.array_equal(got, counts.sum(axis=1)) for got in results(
        unconflicted(), "rows", 1, 32, counts, np.zeros(32, np.float32), np.int32(32))), \
    f"{most_passes(unconflicted()):.0f} passes at most, 1 is wanted; or the sums are wrong"

# %% [markdown]
# ## In practice
#
# * Read a kernel in this order: who is this thread (`blockIdx`, `threadIdx`); is it needed at all
#   (the bound); what does it load, and are its neighbours' loads next to it; who else writes where
#   it writes; where do all wait.
# * On a device, `compute-sanitizer` looks for bad accesses and for races in shared memory; it finds
#   none between blocks. Nsight Compute shows sectors, passes and occupancy, measured.
# * What no emulator shows: time; the caches; a GPU's weaker promises on the order of stores. So
#   "no complaint" is not a proof: it covers the inputs and the orders that were run.
# * Write the NumPy line first, keep it, and compare. Each kernel here has its reference beside it.
#
# ## Sources
#
# NVIDIA, *CUDA C++ Programming Guide* (threads, shared memory, atomics) and *Best Practices Guide*
# (coalescing, banks). Harris 2007, *Optimizing parallel reduction in CUDA*; Ruetsch and
# Micikevicius 2009, *Optimizing matrix transpose in CUDA*; Serebryany and Iskhodzhanov 2009,
# *ThreadSanitizer: data race detection in practice*; Williams, Waterman and Patterson 2009,
# *Roofline: an insightful visual performance model*.
