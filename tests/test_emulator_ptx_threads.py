"""PTX, run as C++ on the CPU: memory of every kind, atomics, warps, blocks, and what is refused."""
import functools
import re

import numpy as np
import pytest
from conftest import assert_close, needs

from kernels import emulator
from kernels.emulator.ptx import translate

pytestmark = needs("emulated", "nvrtc")

every_arch = pytest.mark.parametrize("arch", ("70", "80", "90"))
MEMORY = """
__constant__ float weights[4] = {1.5f, -2.f, 0.25f, 1e-3f};
__constant__ unsigned char letters[5] = {200, 1, 2, 3, 255};
__constant__ int bias = -7;
__device__ int visits = 5;

extern "C" __global__ void vectors(const float4* f, const int2* i, const double2* d,
                                   const uchar4* c, const short4* s, float* out)
{
  const int t = threadIdx.x;
  const float4 p = f[t];
  const int2 q = i[t];
  const double2 r = d[t];
  const uchar4 u = c[t];
  const short4 v = s[t];
  float2 pair = make_float2(p.x + 2 * p.y + 3 * p.z + 4 * p.w, q.x - 3.f * q.y);
  ((float2*)out)[3 * t] = pair;
  ((float4*)out)[0] = ((float4*)out)[0];
  out[6 * t + 2] = (float)(r.x - r.y);
  out[6 * t + 3] = u.x + 256.f * u.w;
  out[6 * t + 4] = v.x - v.w;
  out[6 * t + 5] = __ldcg(f + t).z;
}
extern "C" __global__ void narrow(const signed char* a, const unsigned char* b, const short* c,
                                  const unsigned short* d, const long long* e, bool* f,
                                  long long* out, signed char* bytes, unsigned short* shorts)
{
  const int t = threadIdx.x;
  out[t] = a[t] + 1000LL * b[t] + 1000000LL * c[t] + 100000000000LL * d[t] + e[t] + f[t];
  bytes[t] = (signed char)(a[t] * b[t]);
  shorts[t] = (unsigned short)(c[t] - d[t]);
  f[t] = !f[t];
}
extern "C" __global__ void tables(const int* pick, float* out, int* seen)
{
  __shared__ float row[32];
  __shared__ unsigned char flag[3];
  __shared__ int tail[2];
  extern __shared__ double launch[];
  const int t = threadIdx.x;
  float mine[6];
  for (int k = 0; k < 6; k++) mine[k] = k * k + t;
  row[31 - t] = weights[pick[t] & 3] + bias + letters[t % 5];
  launch[t] = t * .5;
  if (t < 3) flag[t] = t + 1;
  if (t < 2) tail[t] = 10 * t;
  __syncthreads();
  out[t] = row[t] + mine[pick[t] % 6] + (float)launch[31 - t] + flag[t % 3] + tail[t & 1];
  seen[t] = atomicAdd(&visits, 1);
}
"""
THREADS = """
extern "C" __global__ void atomics(int* i, unsigned* u, unsigned long long* l, long long* s,
                                   float* f, double* d, int* old)
{
  __shared__ int block[3];
  const int t = threadIdx.x;
  if (t < 3) block[t] = t;
  __syncthreads();
  atomicAdd(i, t - 40);             atomicSub(i + 1, t);          atomicMax(i + 2, t - 40);
  atomicMin(i + 3, t - 40);         atomicAnd(i + 4, ~(1 << t % 31));
  atomicOr(i + 5, 1 << t % 31);     atomicXor(i + 6, t * 77777);
  atomicMax(u, 0x80000000u + t);    atomicMin(u + 1, 0x80000000u + t);
  atomicInc(u + 2, 9);              atomicDec(u + 3, 9);
  old[t] = atomicExch(i + 7, t);    old[64 + t] = atomicCAS(i + 8, t, t + 1);
  atomicAdd(l, 1ull << 40);         atomicMax(l + 1, (unsigned long long)t << 33);
  atomicMin(s, -((long long)t << 33));  atomicMax(s + 1, -5LL - t);
  atomicAnd(l + 2, ~(1ull << t));   atomicOr(l + 3, 1ull << t);
  atomicExch(l + 4, 7ull);          atomicCAS(l + 5, (unsigned long long)t, t + 1ull);
  atomicAdd(f, .5f);                atomicAdd(d, .25 * t);
  atomicAdd(block + t % 3, t);
  __syncthreads();
  if (t < 3) old[128 + t] = block[t];
}
extern "C" __global__ void warps(const int* x, const double* d, int* out, double* far, int n)
{
  const int t = threadIdx.x, v = x[t], all = 0xffffffff;
  int k = 0;
  out[k++ * n + t] = __shfl_sync(all, v, t * 7);
  out[k++ * n + t] = __shfl_up_sync(all, v, 3);
  out[k++ * n + t] = __shfl_down_sync(all, v, 5);
  out[k++ * n + t] = __shfl_xor_sync(all, v, 17);
  out[k++ * n + t] = __shfl_sync(all, v, t + 3, 4);
  out[k++ * n + t] = __shfl_up_sync(all, v, 1, 4);
  out[k++ * n + t] = __shfl_down_sync(all, v, 2, 4);
  out[k++ * n + t] = __shfl_xor_sync(all, v, 3, 4);
  out[k++ * n + t] = __ballot_sync(all, v > 50);
  out[k++ * n + t] = __any_sync(all, v == 63) + 2 * __all_sync(all, v < 64);
  out[k++ * n + t] = __match_any_sync(all, v & 3);
  far[t] = __shfl_xor_sync(all, d[t], 16);
  __syncwarp();
#if __CUDA_ARCH__ >= 800
  out[12 * n + t] = __reduce_add_sync(all, v) + __reduce_min_sync(all, v - 9);
  out[13 * n + t] = __reduce_xor_sync(all, (unsigned)v);
#endif
  if (t & 1) out[k * n + t] = __shfl_xor_sync(0xaaaaaaaa, v, 2);
}
extern "C" __global__ void blocks(const int* x, int* out, int n)
{
  const int t = threadIdx.x + blockDim.x * threadIdx.y;
  const int size = blockDim.x * blockDim.y, block = blockIdx.x + gridDim.x * blockIdx.y;
  int sum = 0;
  for (int i = block * size + t; i < n; i += size * gridDim.x * gridDim.y) sum += x[i];
  const int some = __syncthreads_or(t == 7) != 0, not_all = __syncthreads_and(t != 7) != 0;
  const int all = __syncthreads_and(sum > 0) != 0, many = __syncthreads_count(t % 3 == 0);
  atomicAdd(out, sum);
  if (t == 0) atomicAdd(out + 1, some + 2 * not_all + 10 * all + 100 * many);
}
__device__ __noinline__ int twice(int x, int* where) { *where += 1; return 2 * x; }
__device__ __noinline__ float series(float x, int n) { return n ? x * series(x, n - 1) + n : 1.f; }
extern "C" __global__ void calls(int* x, float* y)
{
  int count = 0, v = twice(threadIdx.x, &count);
  v = twice(v, &count);
  switch (threadIdx.x) {
    case 0: v += 100; break;   case 1: v *= 3; break;   case 2: v -= 12; break;
    case 3: v ^= 10; break;  case 4: v |= 256; break; case 5: v = -v; break;
    case 6: v = v << 3; break; case 7: v = v / 3; break;
  }
  y[threadIdx.x] = series(.5f, threadIdx.x % 5);
  x[threadIdx.x] = v + 10000 * count;
}
"""


@functools.cache
def module(arch):
    return emulator.Module(MEMORY + THREADS, "ptx", arch)


def run(arch, name, block, *arrays, grid=(1,), shared_mem=0):
    module(arch).get_function(name)(grid, block, arrays, shared_mem=shared_mem)


@every_arch
def test_vectors(arch):
    rng = np.random.default_rng(0)
    f, d = rng.random((8, 4), np.float32), rng.random((8, 2))
    i, c = rng.integers(-9, 9, (8, 2), np.int32), rng.integers(0, 256, (8, 4), np.uint8)
    s, out = rng.integers(-999, 999, (8, 4), np.int16), np.zeros((8, 6), np.float32)
    run(arch, "vectors", (8,), f, i, d, c, s, out)
    want = np.stack([f @ np.float32([1, 2, 3, 4]), i @ [1, -3], d[:, 0] - d[:, 1],
                     c[:, 0] + 256. * c[:, 3], 1. * s[:, 0] - s[:, 3], f[:, 2]], 1)
    assert_close(out, want.astype(np.float32), 1e-6, 1e-6)


@every_arch
def test_narrow_types_keep_their_signs(arch):
    rng = np.random.default_rng(1)
    a, b, c, d = (rng.integers(np.iinfo(k).min, np.iinfo(k).max, 32, k, endpoint=True)
                  for k in (np.int8, np.uint8, np.int16, np.uint16))
    e, f = rng.integers(-2**40, 2**40, 32), rng.random(32) < .5
    was, out = f.copy(), np.zeros(32, np.int64)
    bytes_, shorts = np.zeros(32, np.int8), np.zeros(32, np.uint16)
    run(arch, "narrow", (32,), a, b, c, d, e, f, out, bytes_, shorts)
    wide = [x.astype(np.int64) for x in (a, b, c, d)]
    assert np.array_equal(out, wide[0] + 1000 * wide[1] + 10**6 * wide[2] + 10**11 * wide[3]
                          + e + was)
    assert np.array_equal(bytes_, (wide[0] * wide[1]).astype(np.int8))
    assert np.array_equal(shorts, (wide[2] - wide[3]).astype(np.uint16))
    assert np.array_equal(f, ~was)


@every_arch
def test_shared_local_constant_and_module_memory(arch):
    t, pick = np.arange(32), np.random.default_rng(2).integers(0, 100, 32, np.int32)
    out, seen = np.zeros(32, np.float32), np.zeros(32, np.int32)
    run(arch, "tables", (32,), pick, out, seen, shared_mem=8 * 32)
    table = np.array([1.5, -2, .25, 1e-3])[pick & 3] - 7 + np.array([200, 1, 2, 3, 255])[t % 5]
    want = table[::-1] + (pick % 6)**2 + t + (31 - t) * .5 + t % 3 + 1 + 10 * (t & 1)
    assert_close(out, want.astype(np.float32), 1e-6)
    assert len(set(seen)) == 32 and (np.sort(seen) - seen.min() == t).all()


@every_arch
def test_atomics(arch):
    i, u = np.array([0, 0, -99, 99, -1, 0, 0, -1, 0], np.int32), np.array([0, 2**32 - 1, 0, 5],
                                                                          np.uint32)
    l, s = np.array([0, 0, 2**64 - 1, 0, 0, 0], np.uint64), np.array([0, -99], np.int64)
    f, d, old = np.zeros(1, np.float32), np.zeros(1), np.zeros(131, np.int32)
    run(arch, "atomics", (64,), i, u, l, s, f, d, old)
    t = np.arange(64)
    xor = np.bitwise_xor.reduce(t * 77777)
    assert i[:7].tolist() == [(t - 40).sum(), -t.sum(), 23, -40, -2**31, 2**31 - 1, xor]
    assert sorted([*old[:64], i[7]]) == [-1, *range(64)]              # every value was seen once
    assert u.tolist() == [2**31 + 63, 2**31, 64 % 10, (5 - 64) % 10]
    assert l.tolist() == [64 << 40, 63 << 33, 0, 2**64 - 1, 7, l[5]] and 1 <= l[5] <= 64
    assert s.tolist() == [-(63 << 33), -5] and f[0] == 32 and d[0] == t.sum() * .25
    assert old[128:].tolist() == [k + t[t % 3 == k].sum() for k in range(3)]


@every_arch
def test_warps(arch):
    t, x = np.arange(32), np.random.default_rng(3).permutation(64)[:32].astype(np.int32)
    out, far = np.zeros((14, 32), np.int32), np.zeros(32)
    run(arch, "warps", (32,), x, x * .5, out, far, np.int32(32))
    quad = t & ~3
    lanes = [t * 7 % 32, np.where(t < 3, t, t - 3), np.where(t > 26, t, t + 5), t ^ 17,
             quad + (t + 3) % 4, np.where(t % 4 < 1, t, t - 1), np.where(t % 4 > 1, t, t + 2),
             t ^ 3]
    assert np.array_equal(out[:8], x[np.array(lanes)])
    assert (out[8].view(np.uint32) == sum(1 << k for k in t if x[k] > 50)).all()
    assert (out[9] == (63 in x) + 2).all()
    groups = [sum(1 << int(k) for k in t if x[k] & 3 == v & 3) for v in x]
    assert out[10].view(np.uint32).tolist() == groups
    if arch != "70":
        assert (out[12] == x.sum() + x.min() - 9).all()
        assert (out[13] == np.bitwise_xor.reduce(x)).all()
    assert np.array_equal(out[11], np.where(t & 1, x[t ^ 2], 0)) and np.array_equal(
        far, x[t ^ 16] * .5)


@every_arch
def test_blocks_of_two_dimensions_and_grid_stride_loops(arch):
    x, out = np.arange(1, 1001, dtype=np.int32), np.zeros(2, np.int32)
    run(arch, "blocks", (8, 5), x, out, np.int32(1000), grid=(3, 2))
    assert out.tolist() == [x.sum(), 6 * (1 + 10 + 100 * 14)]


@every_arch
def test_device_functions_recursion_and_switch(arch):
    t, y = np.arange(8, dtype=np.int32), np.zeros(8, np.float32)
    x = t + 10
    run(arch, "calls", (8,), x, y)
    v = 4 * t
    want = [v[0] + 100, v[1] * 3, v[2] - 12, v[3] ^ 10, v[4] | 256, -v[5], v[6] << 3, v[7] // 3]
    assert (x - 20000).tolist() == want
    values = [1.]
    for n in range(1, 5):
        values.append(.5 * values[-1] + n)
    assert y.tolist() == [values[k % 5] for k in t]


@pytest.mark.parametrize("statement, instruction", [
    ('printf("%d", x[0]);', "call"), ("x[0] = __activemask();", "activemask"),
    ("x[0] = clock();", "clock"), ("__nanosleep(9);", "nanosleep"),
    ('asm volatile("bar.sync 1, 32;");', "bar.sync 1, 32"),
    ('asm volatile("prefetch.global.L2 [%0];" :: "l"(x));', "prefetch"),
    ('asm("{.reg .b16 h; cvt.rn.f16.f32 h, 0f3F800000; mov.b32 %0, {h, h};}" : "=r"(x[0]));',
     "f16")])
def test_what_is_unknown_is_refused_with_its_line(statement, instruction):
    code = f"""#line 1 "first.cu"
__device__ int one() {{ return 1; }}
#line 1 "second.cu"
extern "C" __global__ void refused(int* x)
{{
  {statement}
}}
"""
    with pytest.raises(NotImplementedError, match=f"second.cu:3: .*{instruction}"):
        translate(emulator.ptx_of(code, "80"))


def test_lines_of_several_files_and_bytes_of_shared_memory():
    code = """#line 1 "first.cu"
__device__ float half_of(float x) { return x * .5f; }
#line 1 "second.cu"
extern "C" __global__ void one(float* x) { __shared__ float s[8]; s[threadIdx.x] = x[0];
  __syncthreads(); x[1] = half_of(s[1]); }
extern "C" __global__ void two(float* x)
{ __shared__ double s[3]; s[threadIdx.x] = x[threadIdx.x]; __syncthreads(); x[1] = s[2]; }
"""
    text, names, static = translate(emulator.ptx_of(code, "80"))
    assert text.startswith('#include "ptx.h"\n')
    assert names == ["one", "two"] and static == 32        # the greater of both, in sixteens
    assert '#line 1 "first.cu"' in text and '#line 2 "second.cu"' in text
    assert not re.search(r'#line \d+ "[^"]*/', text)       # base names only


def test_a_race_is_reported_with_the_line_of_the_source():
    code = """extern "C" __global__ void race(int* x)
{
  x[0] += threadIdx.x;
}"""
    function = emulator.Module(code, "ptx", "80").get_function("race")
    with pytest.raises(emulator.KernelError, match=r"RACE.*:3"):
        function((1,), (32,), (np.zeros(1, np.int32),))
