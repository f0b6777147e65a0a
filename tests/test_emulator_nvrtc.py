"""The compiler's gate: every kernel that ships, for every architecture, and what it must report.

No GPU, no driver and no CuPy is needed, only NVRTC. Each module of a twin is compiled once for
each architecture, two at a time, and the figures are kept for the tests of this file.
"""
import functools
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import needs

from kernels import cuda_source
from kernels.emulator import nvrtc, roofline
from kernels.emulator.nvrtc import ARCHITECTURES, Figures, Occupancy

KERNELS = Path(nvrtc.__file__).parent.parent
REGISTERS = 64                            # of a thread: an SM holds half of its threads or more
MORE_REGISTERS = {                        # kernel: what its __launch_bounds__ allow
    "top_k_f32": 80, "assign_f32": 80, "scores_f32": 80,       # float64 sums of float32 tiles
    "attention_forward": 80, "attention_queries": 80, "attention_keys": 80}    # two rows' sums
STATIC_SHARED = 48 << 10


needs_nvrtc = needs("nvrtc")
every_module = pytest.mark.parametrize("module", [
    pytest.param(m, id=f"{m.twin}-{'+'.join(m.sources)}") for m in nvrtc.shipped()])


@functools.cache
def compiled(code, options=nvrtc.OPTIONS):
    """The figures of a source's kernels on every architecture -> list of Figures."""
    with ThreadPoolExecutor(2) as pool:                        # NVRTC runs beside Python
        each = pool.map(lambda arch: nvrtc.compile_all(code, arch, options), ARCHITECTURES)
        return [figures for one in each for figures in one]


# ---- what ships ----------------------------------------------------------------------------------
@needs_nvrtc
@every_module
def test_every_kernel_compiles_for_every_architecture(module):
    found = [(f.arch, f.kernel) for f in compiled(module.code, module.options)]
    assert found == [(arch, kernel) for arch in ARCHITECTURES for kernel in module.kernels]
    assert module.kernels


@needs_nvrtc
@every_module
def test_no_kernel_spills_or_has_a_stack(module):
    wrong = [f for f in compiled(module.code, module.options) if f.spills or f.stack]
    assert not wrong


@needs_nvrtc
@every_module
def test_registers_and_shared_memory_are_bounded(module):
    wrong = [f for f in compiled(module.code, module.options)
             if f.registers > MORE_REGISTERS.get(f.kernel, REGISTERS) or f.shared > STATIC_SHARED]
    assert not wrong


@needs_nvrtc
@every_module
def test_a_block_fits_and_leaves_room_for_others(module):
    wrong = [(f, full) for f in compiled(module.code, module.options)
             if (full := nvrtc.occupancy(f, threads_of(module.code, f.kernel))).fraction < 1 / 3]
    assert not wrong                                           # three blocks of 256 on an A100


@needs_nvrtc
@every_module
def test_the_compiler_has_no_warnings(module):
    _, log = nvrtc.cubin_of(module.code, "70", module.options)
    assert "warning" not in log, log


@needs_nvrtc
@every_module
def test_float64_arithmetic_is_meant(module):
    wrong = [(kernel, f"{file}:{line}") for kernel, file, line in
             nvrtc.doubles(nvrtc.ptx_of(module.code, "80", module.options))
             if not means_doubles(module.code, file, line)]
    assert not wrong


def threads_of(code, kernel):
    """The threads that a kernel's __launch_bounds__ allow."""
    return int(re.search(rf"__launch_bounds__\((\d+)[^)]*\)\s*{kernel}\s*\(", code)[1])


def means_doubles(code, file, line):
    """Whether the function at a line says double, or is a template that a kernel gave a double;
    line 0 is in the compiler's own exp or log, and what makes a double for it has a line."""
    if not line:
        return True
    lines = re.split(r'^#line 1 "(.*)"\n', code, flags=re.M)
    text = lines[lines.index(file) + 1].splitlines()
    start = max((i for i in range(line) if re.match(r"(template|static|extern|__device__)\b",
                                                    text[i])), default=0)
    if start and text[start - 1].startswith("template"):
        start -= 1
    function = "\n".join(text[start:line])
    return re.search(r"\bdouble\b", function) or function.startswith("template <class")


def test_every_cu_file_is_in_a_module():
    used = {source for module in nvrtc.shipped() for source in module.sources}
    assert {path.stem for path in KERNELS.glob("*.cu")} == used
    assert {module.twin for module in nvrtc.shipped()} <= {p.stem for p in KERNELS.glob("*.py")}


# ---- reading the twins ---------------------------------------------------------------------------
TWIN = """
import cupy as cp
from kernels import cuda_source
{}
def search(x):
    return MODULE.get_function("bm25_search")
"""


def twins(folder, text):
    (folder / "ch99_new_cuda.py").write_text(TWIN.format(text))
    return [(m.sources, m.options) for m in nvrtc.shipped(folder)]


@pytest.mark.parametrize("text, expected", [
    ("MODULE = cp.RawModule(code=cuda_source('ch02_lexicon'))", [(("ch02_lexicon",), ())]),
    ("FILES, O = ('ch01_top_k', 'ch05_bm25'), 1\nFILES = ['ch01_top_k', 'ch05_bm25']\n"
     "O = ('-std=c++17',)\nCODE = cuda_source(*FILES)\nMODULE = cp.RawModule(code=CODE, options=O)",
     [(("ch01_top_k", "ch05_bm25"), ("-std=c++17",))]),
    ("MODULE = cp.RawModule(code=cuda_source('ch02_lexicon'))\n"
     "OTHER = cp.RawModule(code=cuda_source('ch03_bow'))",
     [(("ch02_lexicon",), ()), (("ch03_bow",), ())]),
    ("", []),
])
def test_a_twin_is_read_not_imported(tmp_path, text, expected):
    assert twins(tmp_path, text) == expected


@pytest.mark.parametrize("text", [
    "MODULE = cp.RawModule(code='void k() {}')",
    "MODULE = cp.RawModule(path='ch02_lexicon.cu')",
    "MODULE = cp.RawModule(code=cuda_source(NAME))",
    "MODULE = cp.RawModule(code=cuda_source('ch02_lexicon'), options=flags())",
    "KERNEL = cp.RawKernel('void k() {}', 'k')",
])
def test_a_module_that_cannot_be_read_is_an_error(tmp_path, text):
    with pytest.raises(ValueError, match=r"ch99_new_cuda.py:4: write RawModule\(code=cuda_source"):
        twins(tmp_path, text)


def test_kernels_are_found_in_the_code():
    assert nvrtc.kernels_in("""
// __global__ void no(int x) as a comment
extern "C" __global__ void __launch_bounds__(256, 3)
one(const float* x) { }
extern "C" __global__ void two (int n) { }
static __device__ void three(int n) { }
""") == ("one", "two")
    assert "bm25_search" in nvrtc.kernels_in(cuda_source("ch05_bm25"))


# ---- planted mistakes ----------------------------------------------------------------------------
SPILLING = """
  float a[64];
#pragma unroll
  for (int i = 0; i < 64; i++) a[i] = x[i * n + threadIdx.x];
  for (int r = 0; r < n; r++) {
#pragma unroll
    for (int i = 0; i < 64; i++) a[i] = a[i] * a[(i + 1) % 64] + a[(i + 7) % 64];
  }
#pragma unroll
  for (int i = 0; i < 64; i++) x[i * n + threadIdx.x] = a[i];
}
"""
INDEXED = """ float a[64];
  for (int i = 0; i < 64; i++) a[i] = x[i];
  for (int i = 0; i < n; i++) a[i & 63] += a[i * 7 & 63];
"""
HEAD = 'extern "C" __global__ void __launch_bounds__(1024, 1) k(float* x, int n) {'
NAMED = '#line 1 "planted.cu"\n' + HEAD


@needs_nvrtc
@pytest.mark.parametrize("code", [
    HEAD + SPILLING,
    "__device__ __noinline__ void f(float* x, int n) {" + SPILLING + HEAD + " f(x, n); }"])
def test_a_spilling_kernel_is_reported(code):
    figures = compiled(code)
    assert len(figures) == len(ARCHITECTURES)
    assert all(f.spills > 100 and f.stack > 0 for f in figures)
    harmless = HEAD + " x[threadIdx.x] = n; }"
    assert not any(f.spills for f in compiled(harmless))


@needs_nvrtc
@pytest.mark.parametrize("code", [
    HEAD + INDEXED + " x[threadIdx.x] = a[n & 63]; }",
    "__device__ __noinline__ float f(float* x, int n) {" + INDEXED + " return a[n & 63]; }\n" + HEAD
    + " x[threadIdx.x] = f(x, n); }"])
def test_an_array_with_a_computed_index_is_a_stack_without_spills(code):
    assert all(f.stack >= 256 and f.spills == 0 for f in compiled(code))


@needs_nvrtc
@pytest.mark.parametrize("body, lines", [
    ("\n  x[0] = x[0] * 0.1;\n}", [2]),
    ("\n  float y = x[1];\n  if (y > 0.1) x[0] = 1;\n}", [3]),
    ("\n  x[0] = x[0] * 0.1f;\n}", []),
])
def test_a_double_literal_is_reported_with_its_line(body, lines):
    found = nvrtc.doubles(nvrtc.ptx_of(NAMED + body, "80"))
    assert found == [("k", "planted.cu", line) for line in lines]
    assert not any(means_doubles(NAMED + body, file, line) for _, file, line in found)


@needs_nvrtc
def test_moving_doubles_is_not_arithmetic():
    code = """#line 1 "planted.cu"
extern "C" __global__ void copy(const double* x, double* y) { y[threadIdx.x] = x[threadIdx.x]; }
extern "C" __global__ void add(double* x) { x[threadIdx.x] += x[threadIdx.x + 1]; }
"""
    found = nvrtc.doubles(nvrtc.ptx_of(code, "80"))
    assert found == [("add", "planted.cu", 2)] and means_doubles(code, "planted.cu", 2)


@needs_nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_too_much_shared_memory_does_not_compile(arch):
    body = " __shared__ float s[{}]; s[threadIdx.x] = x[0]; __syncthreads(); x[n] = s[n]; }}"
    with pytest.raises(ValueError, match=r"too much shared data \(0x14000 bytes, 0xc000 max\)"):
        nvrtc.compile_all(HEAD + body.format(20480), arch)
    (fits,) = nvrtc.compile_all(HEAD + body.format(12288), arch)
    assert fits.shared == STATIC_SHARED and fits.barriers == 1 and fits.cubin_bytes > 1000


@needs_nvrtc
@pytest.mark.parametrize("make", [nvrtc.ptx_of, nvrtc.compile_all])
def test_an_error_names_the_line_of_the_file(make):
    code = '#line 1 "first.cu"\n__device__ int f() { return 1; }\n' + NAMED + "\n  x[0] = y;\n}"
    with pytest.raises(ValueError) as error:
        make(code, "70")
    assert 'planted.cu(2): error: identifier "y" is undefined' in str(error.value)
    assert "deprecated" not in str(error.value) and "-arch=" in str(error.value)


@needs_nvrtc
def test_the_log_holds_no_warning_about_old_architectures_but_others():
    cubin, log = nvrtc.cubin_of(HEAD + " int unused; x[0] = n; }", "70")
    assert cubin[:4] == b"\x7fELF" and "deprecated" not in log and "unused" in log


@needs_nvrtc
def test_ptx_is_for_its_architecture_and_flushes_denormals_as_cupy_does():
    ptx = nvrtc.ptx_of(NAMED + " x[n] = x[0] + x[1]; }", "90")
    assert ".target sm_90" in ptx and "add.ftz.f32" in ptx and re.search(r"\.loc\s+1 1 ", ptx)
    with pytest.raises(ValueError, match="gpu-architecture"):
        nvrtc.ptx_of(HEAD + " }", "30")


def test_a_missing_compiler_says_what_to_install(monkeypatch):
    monkeypatch.setattr(nvrtc, "candidates", lambda: ["libno_such_library.so.12"])
    with pytest.raises(RuntimeError, match="pip install nvidia-cuda-nvrtc-cu12"):
        nvrtc.compiler.__wrapped__()


# ---- occupancy -----------------------------------------------------------------------------------
@pytest.mark.parametrize("arch, registers, shared, threads, dynamic, fraction, limit", [
    ("80", 32, 0, 256, 0, 1.0, "threads"),          # 65536 / 32 = 2048 threads
    ("80", 64, 0, 256, 0, 0.5, "registers"),
    ("80", 128, 0, 256, 0, 0.25, "registers"),
    ("80", 16, 0, 32, 0, 0.5, "blocks"),            # 32 blocks of a warp, of 64 warps
    ("80", 33, 0, 256, 0, 0.75, "registers"),       # 33 count as 40: 48 warps, 6 blocks
    ("80", 80, 0, 256, 0, 0.375, "registers"),      # 6 warps a quarter, 24 warps, 3 blocks
    ("80", 32, 40 << 10, 256, 0, 0.5, "shared"),    # 4 blocks of 41 KiB are the 164
    ("80", 32, 0, 256, 41 << 10, 0.375, "shared"),  # 3 blocks of 42
    ("80", 32, 0, 256, 163 << 10, 0.125, "shared"),
    ("80", 32, 0, 256, 164 << 10, 0.0, "shared"),   # not even one
    ("70", 32, 48 << 10, 256, 0, 0.25, "shared"),   # nothing is kept back: 2 blocks
    ("75", 64, 0, 256, 0, 1.0, "threads"),          # 1024 threads only
    ("75", 32, 0, 32, 0, 0.5, "blocks"),
    ("86", 32, 0, 32, 0, 1 / 3, "blocks"),          # 16 of 48 warps
    ("89", 32, 0, 32, 0, 0.5, "blocks"),            # 24 of 48
    ("86", 40, 0, 256, 0, 1.0, "threads"),          # 1536 threads of 42 registers
    ("86", 48, 0, 256, 0, 5 / 6, "registers"),
    ("90", 32, 0, 256, 56 << 10, 0.5, "shared"),    # 4 blocks of 57 KiB are the 228
    ("100", 32, 0, 1024, 0, 1.0, "threads"),
    ("120", 32, 0, 1024, 0, 2 / 3, "threads"),      # 1 of 1024 where 1536 would fit
    ("80", 255, 0, 256, 0, 0.125, "registers"),
    ("80", 255, 0, 288, 0, 0.0, "registers"),       # 9 warps of 8192, and there are 65536
    ("80", 32, 0, 1025, 0, 0.0, "threads"),
])
def test_occupancy_by_hand(arch, registers, shared, threads, dynamic, fraction, limit):
    figures = Figures("k", arch, registers, 0, 0, shared, 1, 0)
    assert nvrtc.occupancy(figures, threads, dynamic) == Occupancy(pytest.approx(fraction), limit)


def test_every_architecture_has_its_limits():
    assert set(nvrtc.LIMITS) == set(ARCHITECTURES)


# ---- roofline ------------------------------------------------------------------------------------
@pytest.mark.parametrize("bytes, flops, device, seconds, why", [
    (0.8e9, 0.1e9, "T4", 2.5e-3, "memory"),
    (0.8e9, 0.1e9, "A100", 0.8e9 / 2039e9, "memory"),
    (3.35e6, 67e9, "H100", 1e-3, "compute"),
    (1008e6, 82.6e6, "RTX 4090", 1e-3, "memory"),
    (0, 8.1e9, "T4", 1e-3, "compute"),
])
def test_the_bound_by_hand(bytes, flops, device, seconds, why):
    assert roofline.bound(bytes, flops, device) == (pytest.approx(seconds), why)
    assert roofline.bound(bytes, flops, roofline.PEAKS[device])[1] == why


def test_the_bound_of_other_arithmetic():
    assert roofline.bound(0, 9.7e9, "A100", "float64") == (pytest.approx(1e-3), "compute")
    with pytest.raises(ValueError, match="T4, A100, H100, RTX 4090"):
        roofline.bound(1, 1, "V100")


@pytest.mark.parametrize("device, clock, float32, float64, int32", [
    ("T4", 1.59e9, 64, 2, 64), ("A100", 1.41e9, 64, 32, 64),
    ("H100", 1.98e9, 128, 64, 64), ("RTX 4090", 2.52e9, 128, 2, 64)])
def test_peaks_are_units_times_clock(device, clock, float32, float64, int32):
    peaks = roofline.PEAKS[device]
    rate = peaks.processors * 2 * clock                        # a multiply-add is two operations
    for peak, units in ((peaks.float32, float32), (peaks.float64, float64), (peaks.int32, int32)):
        assert peak == pytest.approx(rate * units, rel=0.02)
