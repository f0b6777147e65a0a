"""NVIDIA's own compiler, on a machine without a GPU: what it makes of the project's CUDA C.

NVRTC is the compiler that CuPy calls at the first launch. It is one library, and it needs neither
a GPU nor a driver nor CuPy. So every module that ships is compiled here as CuPy would compile it,
for every architecture that is supported, to the GPU's machine code, and ptxas, the assembler in
it, tells what each kernel takes:

    for module in shipped():                        # ch05_bm25_cuda: ch01_top_k.cu, ch05_bm25.cu
        for f in compile_all(module.code, "80", module.options):
            print(f, occupancy(f, threads_per_block=256))

    registers   of a thread. An SM, one of the GPU's processors, has 65536, for all its threads.
    spills      bytes of registers that found no place and live in memory: slow.
    stack       bytes of local memory of a thread, such as an array with a computed index: slow,
                and reported without a single spill.
    shared      bytes of shared memory that are declared in the code; a launch may add to them.

Limits. The machine code is made, never run. How fast it is follows from none of these figures: a
low occupancy can be the faster choice. Threads are counted as launched, so a kernel's
__launch_bounds__ is the caller's to keep. Clusters and a second barrier in a block are not
considered.
"""
import ast
import ctypes
import ctypes.util
import functools
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from kernels import cuda_source
from kernels.emulator.ptx import FILE, LOCATION

ARCHITECTURES = ("70", "75", "80", "86", "89", "90", "100", "120")
OPTIONS = ("-std=c++17",)                 # what the twins ask of CuPy
AS_CUPY = ("-ftz=true", "--device-as-default-execution-space")      # what CuPy 14.2 adds
WINDOWS = sys.platform == "win32"
NAME = "nvrtc64_120_0.dll" if WINDOWS else "libnvrtc.so.12"
INSTALL = ("NVRTC, NVIDIA's compiler, is not installed. Install it with: python -m pip install "
           "nvidia-cuda-nvrtc-cu12 (or with all of the CUDA extra: pip install -e '.[cuda]')")
DEPRECATED = re.compile(r"^nvrtc: warning: Architectures prior to .*\n?", re.M)


class Figures(NamedTuple):
    """What ptxas says of a kernel; spills, stack, shared and cubin_bytes are in bytes."""
    kernel: str
    arch: str
    registers: int
    spills: int
    stack: int
    shared: int
    barriers: int
    cubin_bytes: int                      # of the whole module


class Occupancy(NamedTuple):
    """Threads that an SM holds at a time, as a share of what it could, and what limits them."""
    fraction: float
    limit: str                            # "threads", "blocks", "registers" or "shared"


class Module(NamedTuple):
    """A module of kernels, as a twin builds it."""
    twin: str                             # ch05_bm25_cuda
    sources: tuple                        # names of .cu files, in their order
    options: tuple
    kernels: tuple

    @property
    def code(self):
        """The CUDA C that is compiled."""
        return cuda_source(*self.sources)


# ---- the library ---------------------------------------------------------------------------------
def candidates():
    """Where NVRTC may be -> list of str: pip's wheel first, then the system."""
    try:
        wheel = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:                         # there is no package nvidia at all
        wheel = None
    folders = list(wheel.submodule_search_locations) if wheel else []
    found = [Path(folder, "bin" if WINDOWS else "lib", NAME) for folder in folders]
    system = ctypes.util.find_library(NAME.removesuffix(".dll")) if WINDOWS else NAME
    return [*map(str, filter(Path.exists, found)), *([system] if system else [])]


@functools.cache
def compiler():
    """NVRTC -> ctypes.CDLL. Raises RuntimeError, with what to install, where it is missing."""
    for path in candidates():
        try:
            if WINDOWS and os.path.isabs(path):         # it looks for its second half by name
                for other in Path(path).parent.glob("nvrtc-builtins*.dll"):
                    ctypes.CDLL(str(other))
            nvrtc = ctypes.CDLL(path)
            nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
            return nvrtc
        except OSError:
            continue
    raise RuntimeError(INSTALL)


def version():
    """NVRTC's version -> str such as "12.9". Raises RuntimeError where it is missing."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    compiler().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def fetch(program, product):
    """Something that NVRTC holds for a program: "PTX", "CUBIN" or "ProgramLog" -> bytes."""
    size = ctypes.c_size_t()
    getattr(compiler(), f"nvrtcGet{product}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(compiler(), f"nvrtcGet{product}")(program, buffer)
    return buffer.raw


def make(code, options, product):
    """Compile CUDA C to a product -> (bytes, log). Raises ValueError with the log, which names
    file:line, for code that does not compile, and RuntimeError where NVRTC is missing."""
    nvrtc, program = compiler(), ctypes.c_void_p()
    words = [word.encode() for word in options]
    status = nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0,
                                      None, None)
    if status:
        raise ValueError(nvrtc.nvrtcGetErrorString(status).decode())
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(words),
                                           (ctypes.c_char_p * len(words))(*words))
        log = fetch(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        log = DEPRECATED.sub("", log).strip()           # of sm_70; no option silences it
        if status:
            raise ValueError(f"{nvrtc.nvrtcGetErrorString(status).decode()}: {' '.join(options)}"
                             f"\n{log}")
        return fetch(program, product), log
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


# ---- what it makes -------------------------------------------------------------------------------
def ptx_of(code, arch, options=OPTIONS):
    """CUDA C -> PTX for an architecture such as "80"; its .loc lines name the lines of the .cu.

    Raises ValueError with the compiler's log for code that does not compile.
    """
    ptx, _ = make(code, (*options, *AS_CUPY, f"-arch=compute_{arch}", "-lineinfo"), "PTX")
    return ptx.rstrip(b"\0").decode()


def cubin_of(code, arch, options=OPTIONS):
    """CUDA C -> (machine code for an architecture, bytes; the log, with the words of ptxas).

    Raises ValueError with the compiler's log for code that does not compile.
    """
    return make(code, (*options, *AS_CUPY, f"-arch=sm_{arch}", "--ptxas-options=-v"), "CUBIN")


def compile_all(code, arch, options=OPTIONS):
    """Compile CUDA C to machine code -> a Figures for each kernel, in the order of the source.

    Spills and stack include the device functions that a kernel calls and that are not inlined.
    Raises ValueError with the compiler's log for code that does not compile.
    """
    cubin, log = cubin_of(code, arch, options)
    parts = re.split(r"Compiling entry function '(\w+)' for .*", log)
    found = []
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        found.append(Figures(
            name, arch, number(text, r"Used (\d+) registers"), spilled(parts[0] + text),
            max(number(text, r"(\d+) bytes stack"), number(text, r"(\d+) bytes cumulative stack")),
            number(text, r"(\d+) bytes smem"), number(text, r"used (\d+) barriers"), len(cubin)))
    order = kernels_in(code)
    return sorted(found, key=lambda f: order.index(f.kernel) if f.kernel in order else len(order))


def spilled(text):
    """Bytes that are spilled, stored and loaded, in a part of the log."""
    return sum(map(int, re.findall(r"(\d+) bytes spill", text)))


def number(text, pattern):
    """The number that a pattern finds in a log, 0 if ptxas does not mention it."""
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def doubles(ptx):
    """float64 arithmetic in PTX -> list of (kernel or function, file, line of the source).

    A literal such as 0.5 in the place of 0.5f makes it, and on most GPUs it is 32 or 64 times
    slower than float32. Loads, stores and moves are not arithmetic.
    """
    files, place, function, found = dict(FILE.findall(ptx)), ("", ""), "", []
    for text in ptx.splitlines():
        if head := re.search(r"\.(?:entry|func)\s+(?:\([^)]*\)\s*)?(\w+)", text):
            function = head[1]
        elif location := LOCATION.search(text):
            place = location.groups()
        elif (words := re.match(r"\s*(?:@!?%\w+\s+)?(\w+)\S*\.f64\b", text)) and words[1] not in (
                "ld", "ldu", "st", "mov", "shfl", "selp"):
            name = Path(files.get(place[0], "kernel.cu")).name
            found.append((function, name, int(place[1] or 0)))
    return list(dict.fromkeys(found))


# ---- how many threads an SM holds ----------------------------------------------------------------
# Per SM: threads, blocks, KiB of shared memory; per block: KiB that the driver keeps for itself,
# and the bytes by which shared memory is given out.  CUDA C++ Programming Guide, "Technical
# Specifications per Compute Capability"; the same in NVIDIA's libcu++, cuda/__device/arch_traits.h.
# The steps in which things are given out, and how to count: cuda_occupancy.h of CUDA 13.0.
LIMITS = {
    "70": (2048, 32, 96, 0, 256), "75": (1024, 16, 64, 0, 256), "80": (2048, 32, 164, 1, 128),
    "86": (1536, 16, 100, 1, 128), "89": (1536, 24, 100, 1, 128), "90": (2048, 32, 228, 1, 128),
    "100": (2048, 32, 228, 1, 128), "120": (1536, 24, 100, 1, 128)}
REGISTERS, PARTS, STEP = 65536, 4, 256    # of an SM; its quarters; given to a warp in such steps
MOST_THREADS, MOST_REGISTERS = 1024, 255  # of a block; of a thread


def occupancy(figures, threads_per_block, dynamic_shared=0):
    """How full blocks of a kernel can make an SM -> Occupancy; 0.0 if not even one block fits.

    Each quarter of an SM has its own registers and takes whole warps. Where two things limit
    alike, the first of threads, blocks, registers, shared is named.  An architecture that LIMITS
    lacks, such as 87, counts as the one before it.
    """
    known = max((a for a in LIMITS if int(a) <= int(figures.arch)), key=int, default="70")
    threads, blocks, kib, kept, step = LIMITS[known]
    warps = -(-threads_per_block // 32)
    a_warp = -(-max(figures.registers, 1) * 32 // STEP) * STEP                 # registers
    shared = -(-(figures.shared + dynamic_shared + kept * 1024) // step) * step
    fits = threads_per_block <= MOST_THREADS
    held = {"threads": threads // (warps * 32) if fits else 0, "blocks": blocks,
            "registers": REGISTERS // PARTS // a_warp * PARTS // warps,
            "shared": kib * 1024 // shared if shared else blocks}
    if figures.registers > MOST_REGISTERS:
        held["registers"] = 0
    limit = min(held, key=held.get)
    return Occupancy(held[limit] * warps * 32 / threads, limit)


# ---- what ships ----------------------------------------------------------------------------------
def kernels_in(code):
    """Names of the kernels in CUDA C, in their order -> tuple of str."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/|__launch_bounds__\s*\([^)]*\)", " ", code, flags=re.S)
    return tuple(re.findall(r"__global__\s+void\s+(\w+)\s*\(", code))


def shipped(folder=Path(__file__).parent.parent):
    """Every module of kernels that a twin chNN_x_cuda.py builds -> list of Module.

    The twins are read, not imported, so CuPy is not needed. Raises ValueError, with file:line,
    for a module whose sources cannot be read off the page.
    """
    out = []
    for path in sorted(Path(folder).glob("ch*_cuda.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        values = {target.id: node.value for node in tree.body if isinstance(node, ast.Assign)
                  for target in node.targets if isinstance(target, ast.Name)}
        calls = [node for node in ast.walk(tree) if called(node) in ("RawModule", "RawKernel")]
        for call in sorted(calls, key=lambda node: node.lineno):
            try:
                sources, options = composed(call, values)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"{path.name}:{call.lineno}: write RawModule(code=cuda_source('chNN_x', ...), "
                    "options=(...)), so that the compiler's gate can read it") from error
            out.append(Module(path.stem, sources, options, kernels_in(cuda_source(*sources))))
    return out


def called(node):
    """The last name of what a piece of Python calls: cp.RawModule(...) -> "RawModule"."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", None))


def composed(call, values):
    """RawModule(code=cuda_source("a", *MORE), options=O) -> (names of sources, options)."""
    def read(node):
        return values.get(node.id, node) if isinstance(node, ast.Name) else node

    given = {keyword.arg: read(keyword.value) for keyword in call.keywords}
    source = given["code"]
    if called(call) != "RawModule" or called(source) != "cuda_source" or source.keywords:
        raise ValueError("code")
    names = []
    for node in source.args:
        several = isinstance(node, ast.Starred)
        value = ast.literal_eval(read(node.value if several else node))
        names += value if several else [value]
    return tuple(names), tuple(ast.literal_eval(given["options"])) if "options" in given else ()
