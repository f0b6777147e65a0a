"""What the emulator promises of a run: orders of threads, counts by hand, CUDA's words, its rules
of order, and what it says when it cannot run.  Both paths: g++ and NVIDIA's own compiler.
"""
import functools
import shutil

import numpy as np
import pytest
from conftest import needs

from kernels import emulator
from kernels.emulator import gpu, nvrtc

pytestmark = needs("emulated")
needs_nvrtc = needs("emulated", "nvrtc")
PTX = pytest.param("ptx", marks=needs_nvrtc)
every_path = pytest.mark.parametrize("path", ["g++", PTX])
f4, i4, u4 = np.float32, np.int32, np.uint32
KERNEL = 'extern "C" __global__ void '


@functools.cache
def module(code, path, traffic=False):
    return emulator.Module(code.replace("KERNEL ", KERNEL), path, traffic=traffic)


def launch(code, path, name, grid, block, *arrays, traffic=False, shared_mem=0, **order):
    """Run a kernel -> its Function."""
    function = module(code, path, traffic).get_function(name)
    function(grid, block, arrays, shared_mem=shared_mem, **order)
    return function


# ---- the order of threads ------------------------------------------------------------------------
TURNS = """
KERNEL turns(int* next, int* seen)
{
  const int i = blockIdx.x * 64 + threadIdx.x;
  seen[2 * i] = atomicExch(next, i);
  seen[2 * i + 1] = atomicExch(next, i);
}
"""


def turns(path, **order):
    """Who came before each of 4 x 64 threads, and who before its second turn -> (256, 2)."""
    seen = np.zeros((256, 2), i4)                                                   # (256, 2)
    launch(TURNS, path, "turns", (4,), (64,), np.array([-1], i4), seen, **order)
    return seen


@every_path
def test_forward_and_backward_are_what_they_say(path):
    t = np.arange(256)
    assert np.array_equal(turns(path, order="forward"), np.stack([t - 1, t], 1))
    assert np.array_equal(turns(path, order="backward"), np.stack([(t + 2) % 257 - 1, t], 1))


@every_path
def test_a_random_order_comes_back_with_its_seed(path):
    runs = [turns(path, order="random", seed=seed, preempt=preempt)
            for seed in (1, 2, 3) for preempt in (False, True)]
    again = [turns(path, order="random", seed=seed, preempt=preempt)
             for seed in (1, 2, 3) for preempt in (False, True)]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(runs, again, strict=True))
    assert len({run.tobytes() for run in runs}) == len(runs)


def test_random_orders_interleave():
    whole, parts = (turns("g++", order="random", seed=1, preempt=p) for p in (False, True))
    own = np.arange(256)
    assert (whole[:, 1] == own).all()            # a thread goes on until it waits ...
    assert 20 < (parts[:, 1] != own).sum()       # ... or is stopped before an atomic
    assert (np.abs(whole[:, 0] - own) > 1).mean() > .9 < (np.abs(parts[:, 0] - own) > 1).mean()
    firsts = [turns("g++", order="random", seed=seed)[:, 0].argmin() // 64 for seed in range(8)]
    assert len(set(firsts)) > 1                  # blocks, too, come in any order


# ---- counts by hand ------------------------------------------------------------------------------
COUNTED = """#line 1 "counted.cu"
KERNEL moves(const float* x, double* y, int* count)
{
  __shared__ float s[64];
  const int i = blockIdx.x * 64 + threadIdx.x;
  s[threadIdx.x] = x[i / 2];
  __syncthreads();
  y[i] = s[63 - threadIdx.x];
  if (threadIdx.x < 10) atomicAdd(count + 1, 1);
}
KERNEL asks(const float* x, float* y)
{
  __shared__ float s[33 * 32];
  const int t = threadIdx.x;
  float sum = x[t];
  sum += x[32 * t];
  sum += x[5];
  sum += x[t + 1];
  sum += ((const float4*)x)[t].w;
#pragma unroll 1
  for (int i = t; i < 33 * 32; i += 32) s[i] = sum;
  __syncthreads();
  sum += s[32 * t];
  sum += s[33 * t];
  sum += s[2 * t];
  sum += s[7];
  y[t] = sum;
  if (t < 16) y[t + 32] = 1;
}
KERNEL sums(const float* x, double* y, float a, int n)
{
  const int i = threadIdx.x;
  float total = 0;
#pragma unroll 1
  for (int k = 0; k < n; k++) total = fmaf(a, x[i], total * a);
  y[i] = (double)(total - a) / 3.0;
}
"""


@every_path
def test_bytes_are_those_counted_by_hand(path):
    x, y, count = np.ones(64, f4), np.zeros(128), np.zeros(2, i4)
    stats = launch(COUNTED, path, "moves", (2,), (64,), x, y, count).stats()
    assert count.tolist() == [0, 20] and (y == 1).all()
    assert stats["stored"] == 8 * 128 and stats["shared"] == (4 + 4) * 128
    assert stats["loaded"] == 4 * 128 + 4 * 20 and stats["atomic"] == 4 * 20    # it does both
    assert stats["distinct_read"] == 4 * 64 + 4 and stats["distinct_written"] == 8 * 128 + 4


@every_path
def test_requests_are_those_counted_by_hand(path):
    x, y = np.zeros(1024, f4), np.zeros(64, f4)
    function = launch(COUNTED, path, "asks", (1,), (32,), x, y, traffic=True)
    lines = COUNTED.splitlines()
    found = {(lines[int(r.where.split(":")[1])].split(";")[0].strip(), r.space):
             (r.requests, r.lanes, r.parts, r.bytes) for r in function.requests()}
    lanes, sectors = found.pop(("sum += ((const float4*)x)[t].w", "global"))[1:3]
    assert (lanes, sectors) == (32, 16)             # all four, or the one that is used
    assert found == {
        ("float sum = x[t]", "global"): (1, 32, 4, 128),            # 32 floats side by side
        ("sum += x[32 * t]", "global"): (1, 32, 32, 128),           # each in a sector of its own
        ("sum += x[5]", "global"): (1, 32, 1, 128),                 # all the same
        ("sum += x[t + 1]", "global"): (1, 32, 5, 128),             # over the end of a sector
        ("for (int i = t", "shared"): (33, 32, 1, 33 * 128),
        ("sum += s[32 * t]", "shared"): (1, 32, 32, 128),           # all lanes in one bank
        ("sum += s[33 * t]", "shared"): (1, 32, 1, 128),            # padded: all in another one
        ("sum += s[2 * t]", "shared"): (1, 32, 2, 128),
        ("sum += s[7]", "shared"): (1, 32, 1, 128),
        ("y[t] = sum", "global"): (1, 32, 4, 128),
        ("if (t < 16) y[t + 32] = 1", "global"): (1, 16, 2, 64)}


@needs_nvrtc
def test_operations_are_those_counted_by_hand():
    x, y, a = np.linspace(0, 1, 32, dtype=f4), np.zeros(32), f4(1.5)
    function = launch(COUNTED, "ptx", "sums", (1,), (32,), x, y, a, i4(7), traffic=True)
    assert function.stats()["flops"] == 32 * (7 * 3 + 1)            # a fused one counts as two
    assert function.stats()["flops64"] == 32                        # the atomicAdd to y
    total = np.zeros(32)
    for _ in range(7):
        total = 1.5 * x + total * 1.5
    np.testing.assert_allclose(y, (total - 1.5) / 3, 1e-5)


# ---- CUDA's words --------------------------------------------------------------------------------
FEATURES = """#line 1 "first.cu"
__device__ float half_of(float x) { return x * .5f; }
#line 1 "second.cu"
__constant__ float weights[3] = {1.5f, -2.f, .25f};
__constant__ int bias = -7;
__device__ int visits = 100;

KERNEL vectors(const float4* a, const int2* b, const uchar4* c, const double2* d, float4* out)
{
  const int t = threadIdx.x;
  const int2 q = make_int2(b[t].y, b[t].x);
  const uchar4 u = c[t];
  out[t] = make_float4(a[t].x + a[t].w, q.x - 10.f * q.y, u.x + 256.f * u.z,
                       (float)(d[t].x * d[t].y));
}
KERNEL bits(const int* x, const int* y, int* out, int n)
{
  const int t = threadIdx.x, a = x[t], b = y[t];
  const unsigned long long wide = (unsigned long long)(unsigned)a << 20;
  int k = 0;
  out[k++ * n + t] = __popc(a);                out[k++ * n + t] = __popcll(wide);
  out[k++ * n + t] = __clz(a);                 out[k++ * n + t] = __clzll((long long)wide);
  out[k++ * n + t] = __ffs(a);                 out[k++ * n + t] = __ffsll((long long)wide);
  out[k++ * n + t] = __dp4a(a, b, 5);
  out[k++ * n + t] = __float_as_int(__int_as_float(a & 0x3fffffff));
  out[k++ * n + t] = min(a, b);                out[k++ * n + t] = max(a, b);
  out[k++ * n + t] = (int)min(a, 7u);          out[k++ * n + t] = (int)max(7u, a);
  out[k++ * n + t] = (int)min((long long)a, 7LL);
}
KERNEL lanes(const int* x, int* out, double* far, int n)
{
  const int t = threadIdx.x, v = x[t];
  const unsigned all = 0xffffffffu;
  int k = 0;
  out[k++ * n + t] = __shfl_sync(all, v, t + 5);
  out[k++ * n + t] = __shfl_up_sync(all, v, 3);
  out[k++ * n + t] = __shfl_down_sync(all, v, 5);
  out[k++ * n + t] = __shfl_xor_sync(all, v, 17);
  out[k++ * n + t] = __shfl_sync(all, v, t + 3, 4);
  out[k++ * n + t] = __shfl_up_sync(all, v, 1, 4);
  out[k++ * n + t] = __shfl_down_sync(all, v, 2, 4);
  out[k++ * n + t] = __shfl_xor_sync(all, v, 3, 4);
  out[k++ * n + t] = (int)__ballot_sync(all, v > 20);
  out[k++ * n + t] = __any_sync(all, v == 63) + 2 * __all_sync(all, v < 64);
  far[t] = __shfl_xor_sync(all, x[t] * .5, 1);
  const unsigned some = __ballot_sync(all, v > 20);     // some lanes meet, others wait for all
  if (v > 20) __syncwarp(some);
  if (v > 20) out[k * n + t] = __shfl_sync(some, v, __ffs(some) - 1);
  out[k * n + t] += __popc(__ballot_sync(all, 1));
}
KERNEL votes(int* out)
{
  const int t = threadIdx.x;
  const int count = __syncthreads_count(t % 3 == 0), all = __syncthreads_and(t < 96) != 0;
  const int not_all = __syncthreads_and(t != 7) != 0, any = __syncthreads_or(t == 95) != 0;
  out[t] = count + 1000 * all + 2000 * not_all + 4000 * any + 8000 * (__syncthreads_or(0) != 0);
}
KERNEL atomics(int* i, unsigned* u, unsigned long long* l, float* f, double* d, int* old)
{
  __shared__ int s[4];
  __shared__ unsigned r[2];
  __shared__ float g[1];
  const int t = threadIdx.x;
  if (t < 4) s[t] = 0;
  if (t < 2) r[t] = 0;
  if (t == 0) g[0] = 0;
  __syncthreads();
  atomicAdd(i, t);           atomicSub(i + 1, t);           atomicMax(i + 2, t - 40);
  atomicMin(i + 3, t - 40);  atomicAnd(i + 4, ~(1 << t % 31));
  atomicOr(i + 5, 1 << t % 31);                             atomicXor(i + 6, t * 7);
  old[t] = atomicExch(i + 7, t);
  old[64 + t] = atomicCAS(i + 8, -1, t);
  atomicInc(u, 9);           atomicDec(u + 1, 9);           atomicMax(u + 2, 0x80000000u + t);
  atomicAdd(l, 1ull << 40);  atomicMax(l + 1, (unsigned long long)t << 33);
  atomicAdd(f, .5f);         atomicAdd(d, .25);
  atomicAdd(s, t);           atomicMax(s + 1, t);           atomicOr(s + 2, 1 << t % 31);
  atomicCAS(s + 3, 0, 5);    atomicInc(r, 9);               atomicAdd(r + 1, 2u);
  atomicAdd(g, .25f);
  __syncthreads();
  if (t < 4) old[128 + t] = s[t];
  if (t < 2) old[132 + t] = r[t];
  if (t == 0) old[134] = (int)g[0];
}
KERNEL tables(float* out, int* seen)
{
  __shared__ float fixed[2];
  extern __shared__ float asked[];
  const int t = threadIdx.x;
  asked[t] = half_of(weights[t % 3] + bias);
  if (t < 2) fixed[t] = 10 * t;
  __syncthreads();
  out[t] = asked[31 - t] + fixed[t & 1];
  seen[t] = atomicAdd(&visits, 1);
}
KERNEL places(int* out)
{
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + t] = 1000 * block + t;
}
KERNEL halves(const float* x, float* out) { out[threadIdx.x] = x[threadIdx.x] * .5f; }
"""


@every_path
def test_vectors(path):
    rng = np.random.default_rng(0)
    a, d = rng.random((8, 4), f4), rng.random((8, 2))
    b, c = rng.integers(-9, 9, (8, 2), i4), rng.integers(0, 256, (8, 4), np.uint8)
    out = np.zeros((8, 4), f4)
    launch(FEATURES, path, "vectors", (1,), (8,), a, b, c, d, out)
    want = np.stack([a[:, 0] + a[:, 3], b[:, 1] - f4(10) * b[:, 0], c[:, 0] + f4(256) * c[:, 2],
                     (d[:, 0] * d[:, 1]).astype(f4)], 1)
    assert np.array_equal(out, want.astype(f4))


@every_path
def test_bits(path):
    x = np.array([0, 1, -1, 2**31 - 1, -2**31, 96, -77, 0x01020304], i4)
    y = np.array([3, -3, 0x7f80ff01, -1, 5, 96, 2**30, -0x01020305], i4)
    out = np.zeros((13, 8), i4)                                                     # (13, 8)
    launch(FEATURES, path, "bits", (1,), (8,), x, y, out, i4(8))
    low = [int(v) & 0xffffffff for v in x]
    ones = [v.bit_count() for v in low]
    trailing = [(v & -v).bit_length() for v in low]
    dots = (x.view(np.int8).reshape(8, 4).astype(i4) * y.view(np.int8).reshape(8, 4)).sum(1) + 5
    assert out.tolist() == [
        ones, ones, [32 - v.bit_length() for v in low], [44 - v.bit_length() if v else 64
                                                         for v in low],
        trailing, [v + 20 if v else 0 for v in trailing], dots.tolist(),
        [v & 0x3fffffff for v in low],
        np.minimum(x, y).tolist(), np.maximum(x, y).tolist(), [min(v, 7) for v in low],
        np.array([max(v, 7) for v in low], u4).view(i4).tolist(), np.minimum(x, 7).tolist()]


@every_path
def test_lanes(path):
    t, x = np.arange(32), np.random.default_rng(3).permutation(64)[:32].astype(i4)
    out, far = np.zeros((11, 32), i4), np.zeros(32)                                 # (11, 32)
    for order in ("forward", "backward", "random"):
        out[10] = 0
        launch(FEATURES, path, "lanes", (1,), (32,), x, out, far, i4(32), order=order, seed=1)
        quad, some = t & ~3, x > 20
        sources = [(t + 5) % 32, np.where(t < 3, t, t - 3), np.where(t > 26, t, t + 5), t ^ 17,
                   quad + (t + 3) % 4, np.where(t % 4 < 1, t, t - 1),
                   np.where(t % 4 > 1, t, t + 2), t ^ 3]
        assert np.array_equal(out[:8], x[np.array(sources)])
        assert set(out[8].view(u4)) == {sum(1 << int(k) for k in t[some])}
        assert set(out[9]) == {2 + (63 in x)} and np.array_equal(far, x[t ^ 1] * .5)
        assert np.array_equal(out[10], np.where(some, x[some][0], 0) + 32)


@every_path
def test_votes(path):
    out = np.zeros(96, i4)
    launch(FEATURES, path, "votes", (1,), (96,), out)
    assert set(out) == {32 + 1000 + 4000}


@every_path
@pytest.mark.parametrize("order", emulator.ORDERS, ids=lambda o: "-".join(map(str, o.values())))
def test_atomics(path, order):
    i = np.array([0, 0, -99, 99, -1, 0, 0, -1, -1], i4)
    u, l = np.array([0, 5, 0], u4), np.zeros(2, np.uint64)
    f, d, old, t = np.zeros(1, f4), np.zeros(1), np.zeros(135, i4), np.arange(64)
    launch(FEATURES, path, "atomics", (1,), (64,), i, u, l, f, d, old, **order)
    assert i[:7].tolist() == [t.sum(), -t.sum(), 23, -40, -2**31, 2**31 - 1,
                              np.bitwise_xor.reduce(t * 7)]
    assert sorted([*old[:64], i[7]]) == [-1, *t]                  # every value was seen once
    assert sorted(old[64:128])[:2] == [-1, i[8]] and len(set(old[64:128])) == 2
    assert u.tolist() == [64 % 10, (5 - 64) % 10, 2**31 + 63]
    assert l.tolist() == [64 << 40, 63 << 33] and f[0] == 32 and d[0] == 16
    assert old[128:].tolist() == [t.sum(), 63, 2**31 - 1, 5, 64 % 10, 128, 16]


@every_path
def test_shared_constant_and_module_memory_in_several_files(path):
    t, out, seen = np.arange(32), np.zeros(32, f4), np.zeros(32, i4)
    launch(FEATURES, path, "tables", (1,), (32,), out, seen, shared_mem=4 * 32)
    want = (np.array([1.5, -2, .25])[(31 - t) % 3] - 7) / 2 + 10 * (t & 1)
    assert np.array_equal(out, want.astype(f4))
    assert np.array_equal(seen - seen[0], t) and seen[0] >= 100


@every_path
@pytest.mark.parametrize("grid, block", [((3, 2), (4, 8)), ((2, 2, 3), (3, 5, 2)), ((5,), (33,))])
def test_grids_and_blocks_of_several_dimensions(path, grid, block):
    blocks, threads = int(np.prod(grid)), int(np.prod(block))
    out = np.zeros((blocks, threads), i4)                                # (blocks, threads)
    launch(FEATURES, path, "places", grid, block, out, order="random", seed=5)
    assert np.array_equal(out, 1000 * np.arange(blocks)[:, None] + np.arange(threads))


@every_path
def test_denormal_numbers_are_zero_in_a_kernel_and_there_only(path):
    x, out = np.array([1e-38, 2**-126, 3e-39, 1, -1e-44], f4), np.full(5, 9, f4)
    launch(FEATURES, path, "halves", (1,), (5,), x, out)
    assert out.tolist() == [0, 0, 0, .5, 0]
    assert (x * f4(.5))[0] > 0                      # NumPy keeps them, before and after


# ---- CUDA's rules of order -----------------------------------------------------------------------
RULES = {   # what 64 threads do with x (global) and s (shared), and whether it is a race
    "nothing between": ("s[t] = t; y[t] = s[t ^ 1];", True),
    "a barrier": ("s[t] = t; __syncthreads(); y[t] = s[63 - t];", False),
    "a __syncwarp, in the warp": ("s[t] = t; __syncwarp(); y[t] = s[t ^ 1];", False),
    "a __syncwarp, another warp": ("s[t] = t; __syncwarp(); y[t] = s[63 - t];", True),
    "a shuffle": ("s[t] = t; y[t] = __shfl_sync(0xffffffffu, t, 0); y[t] += s[t ^ 1];", True),
    "a vote": ("s[t] = t; y[t] = __any_sync(0xffffffffu, t); y[t] += s[t ^ 1];", True),
    "a fence": ("s[t] = t; __threadfence(); y[t] = s[t ^ 1];", True),
    "one's own place": ("x[t] = t; __threadfence(); x[t] += 1;", False),
    "read, then written": ("y[t] = x[0]; if (t == 5) x[0] = 1;", True),
    "read, barrier, written": ("y[t] = x[0]; __syncthreads(); if (t == 5) x[0] = 1;", False),
    "read by some of those, written": (
        "y[t] = x[0]; __syncthreads(); if (t < 40) y[t] += x[0]; if (t == 50) x[0] = 1;", True),
    "read twice, barrier, written": (
        "y[t] = x[0]; __syncthreads(); if (t < 40) y[t] += x[0]; __syncthreads();"
        "if (t == 50) x[0] = 1; __syncthreads(); y[t] += x[0];", False),
    "read by a warp, __syncwarp, written": (
        "if (t < 32) { y[t] = x[0]; __syncwarp(); if (t == 5) x[0] = 1; }", False),
    "atomics": ("atomicAdd(x, 1); atomicMax(x, t);", False),
    "a volatile read beside an atomic": (
        "if (t) atomicAdd(x, 1); else y[0] = *(volatile int*)x;", False),
    "__ldcg beside an atomic": ("if (t) atomicAdd(x, 1); else y[0] = __ldcg(x);", False),
    "a plain read beside an atomic": ("if (t) atomicAdd(x, 1); else y[0] = x[0];", True),
    "a plain write beside an atomic": ("if (t) atomicAdd(x, 1); else x[0] = 7;", True),
    "__ldcg beside a plain write": ("if (t) y[t] = __ldcg(x); else x[0] = 7;", True),
    "two write the same": ("x[t / 2] = 7;", True),
    "bytes side by side": ("((unsigned char*)s)[t] = t; y[t] = ((unsigned char*)s)[t];", False),
}
ORDER = "".join(f"KERNEL rule_{k}(int* x, int* y)\n{{\n  __shared__ int s[64];\n"
                f"  const int t = threadIdx.x;\n  s[t] = 0;\n  __syncthreads();\n  {body}\n}}\n"
                for k, (body, _) in enumerate(RULES.values())) + """
KERNEL blocks(int* x, int* y)
{
  if (blockIdx.x == 0) x[threadIdx.x] = 1;
  __syncthreads();
  if (blockIdx.x == 1) y[threadIdx.x] = x[threadIdx.x];
}
"""


@every_path
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_order(rule, path):
    name = f"rule_{list(RULES).index(rule)}"
    for order in emulator.ORDERS:
        given = np.zeros(64, i4), np.zeros(64, i4)
        if RULES[rule][1]:
            with pytest.raises(emulator.KernelError, match="RACE"):
                launch(ORDER, path, name, (1,), (64,), *given, **order)
        else:
            launch(ORDER, path, name, (1,), (64,), *given, **order)


@every_path
def test_a_barrier_orders_no_other_block(path):
    for order in emulator.ORDERS:
        with pytest.raises(emulator.KernelError, match="RACE"):
            launch(ORDER, path, "blocks", (2,), (64,), np.zeros(64, i4), np.zeros(64, i4), **order)


# ---- what a run says -----------------------------------------------------------------------------
def test_the_log_tells_launches_and_transfers():
    twin = emulator.load("ch04_tfidf")
    (X,) = twin.examples(np.random.default_rng(0))["row_sums"]
    with emulator.running(traffic=True) as log, emulator.running() as inner:
        twin.row_sums(X)
        twin.document_frequency(X)
    assert [row.kernel for row in log.launches] == ["row_sums", "document_frequency"]
    assert log.launches == inner.launches and log.launches[0].block == (256, 1, 1)
    assert log.launches[1].stats["distinct_read"] >= 4 * X.indices.size
    assert sum(r.bytes for r in log.launches[0].requests) >= 8 * X.data.size
    assert log.count.launches == 2 and log.count.downloads == 2


def test_without_gpp_it_says_what_to_install(monkeypatch):
    emulator.compiler.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"apt-get install g\+\+"):
        emulator.compiler()
    with pytest.raises(RuntimeError, match=r"apt-get install g\+\+"):
        emulator.Module(f"// compiled by nobody, {np.random.default_rng().random()}\n")


@pytest.mark.parametrize("path, error, words", [
    ("g++", emulator.KernelError, r"(?s)wrong.cu:3:\d+: error: .nothing. was not declared"),
    pytest.param("ptx", ValueError, r'(?s)wrong.cu\(3\): error: identifier "nothing" is undefined',
                 marks=needs_nvrtc)])
def test_code_that_does_not_compile_is_told_with_its_line(path, error, words):
    code = f'#line 1 "wrong.cu"\n{KERNEL} wrong(int* x)\n{{\n  x[0] = nothing;\n}}\n'
    with pytest.raises(error, match=words):
        emulator.Module(code, path)


def test_wrong_settings_are_refused_and_leave_no_trace():
    before = dict(emulator._settings)
    with pytest.raises(TypeError, match="no setting speed; there are order, seed"):
        with emulator.running(speed=2):
            pass
    with pytest.raises(ValueError, match="'no such text' stands once in no kernel that ran"):
        with emulator.running(edits=(("no such text", "x"),), order="backward"):
            twin = emulator.load("ch04_tfidf")
            twin.row_sums(*twin.examples(np.random.default_rng(0))["row_sums"])
    with pytest.raises(ValueError, match="path: expected 'g[+][+]' or 'ptx', got 'sass'"):
        emulator.Module("", "sass")
    assert emulator._settings == before
    with pytest.raises(KeyError), emulator.running(order="backward", check=False):
        raise KeyError("what a test may raise")
    assert emulator._settings == before and not emulator._logs


# ---- the two paths -------------------------------------------------------------------------------
def leaves(x):
    """All numbers in a result -> list of arrays."""
    if isinstance(x, dict):
        return [np.array(list(x)), *leaves(tuple(x.values()))]
    return [leaf for part in x for leaf in leaves(part)] if isinstance(x, tuple) else [
        np.asarray(x)]


def apart(a, b):
    """How far apart two results are, in ulp of the array's largest number; all else is equal."""
    assert a.shape == b.shape and a.dtype == b.dtype
    if a.dtype.kind != "f" or not a.size:
        assert np.array_equal(a, b)
        return 0
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return float(np.abs(a - b).max() / np.spacing(np.abs(a).max()))


# Products that NVIDIA's compiler fuses with the sum: ulp.  All other results have the same bits.
# Losses are float32, but their sums are float64: an ulp of theirs is 2^29 of those.
ULP = {"kmeans_assign, float64": 2, "csr_dot": 2, "csr_dot, weights": 2, "csr_matmul": 2,
       "skipgram_epoch, float64": 2, **{f"tsne_loss_grad, {d} dimensions": 4 for d in (1, 2, 3)},
       **{f"both_passes, {name}": 4 for name in (
           "attention", "causal", "self_attention", "add_layer_norm", "bias_gelu",
           "cross_entropy")}, "adam_update": 1, "lstm": 2, "lstm_backward": 4,
       "softmax_loss_grad": 2, "softmax_loss_grad, many words": 2, "info_nce_grad, float64": 8,
       **dict.fromkeys(("skipgram_epoch", "cbow_epoch", "skipgram_block", "cbow_block",
                        "skipgram_block, negatives", "cbow_block, negatives",
                        "cbow_block_irsoy, negatives", "hierarchical_block", "classifier_block",
                        "adagrad_block", "info_nce", "info_nce_grad"),
                       2 << 29)}


@needs_nvrtc
def test_both_paths_agree():
    ran, fused, shipped = set(), set(), nvrtc.shipped()
    for name in dict.fromkeys(m.twin for m in shipped):
        twin = emulator.load(name.removesuffix("_cuda"))
        for call, given in twin.examples(np.random.default_rng(0)).items():
            results = []
            for path in ("g++", "ptx"):
                with emulator.running(path=path) as log:
                    results.append(leaves(gpu.called(getattr(twin, call.split(",")[0]), given)))
                ran.update((name, row.kernel) for row in log.launches)
            worst = max(apart(a, b) for a, b in zip(*results, strict=True))
            assert worst <= ULP.get(call, 0), f"{name}, {call}: {worst} ulp apart"
            fused.update([call] if worst else [])
    assert fused == set(ULP)
    assert {k for m in shipped for k in m.kernels} <= {kernel for _, kernel in ran}
