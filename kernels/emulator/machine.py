"""A kernel on the CPU: check its arguments as CuPy and the driver would, run it, explain reports.

    module = Module(code)                                   # or path="ptx", check=False, ...
    module.get_function("bm25_gather")((blocks,), (256,), (keys, rows, ..., np.int64(n)))

Arrays are NumPy's and stand for device memory.  A checked launch works on copies with room on
both sides, so that an index that is a little wrong hits nothing else and is seen.
"""
import ctypes
import re
import subprocess
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from kernels.emulator.build import KernelError, declarations, library

ORDER = ("forward", "backward", "random")
TRAFFIC = ("loaded", "stored", "atomic", "shared", "distinct_read", "distinct_written", "flops",
           "flops64")
SHORT = re.compile(r"__shared__[^;]*\b(?:char|short|bool)\b|"      # shared memory in small pieces
                   r"\((?:un)?(?:signed )?(?:char|short|bool) ?\*\)")
MARGIN = 64 << 10                     # bytes in front of and behind an array
LARGEST_GRID = (2**31 - 1, 65535, 65535)


class Requests(NamedTuple):
    """What the warps asked of one kind of memory at one line of the source.

    space: "global" or "shared"; lanes: a request, of 32; parts: sectors of 32 bytes (global) or
    passes (shared) a request, at best 4 and 1 for 4-byte elements side by side.
    """

    where: str
    space: str
    requests: int
    lanes: float
    parts: float
    bytes: int


class Module:
    """Some CUDA C, compiled for the CPU.  path: "g++" or "ptx" (of `arch`, such as "80")."""

    def __init__(self, code, path="g++", arch="80", check=True, traffic=False):
        if path not in ("g++", "ptx"):
            raise ValueError(f"path: expected 'g++' or 'ptx', got {path!r}")
        self.check, self.traffic = check, traffic
        self.file = library(code, path, arch, check)
        self.lib = ctypes.CDLL(str(self.file))
        self.lib.emu_messages.restype = ctypes.c_char_p
        self.lib.emu_stats.restype = ctypes.POINTER(ctypes.c_uint64)
        self.lib.emu_static_shared.restype = ctypes.c_size_t
        self.grain = 1 if SHORT.search(code) else 4        # bytes that are watched together
        self.declared = {d.name: d for d in declarations(code)}

    def get_function(self, name):
        """The kernel of that name -> Function; KernelError if there is none."""
        if name not in self.declared:
            raise KernelError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        return Function(self, self.declared[name])

    def where(self, places):
        """Places of the machine code -> dict place: "file.cu:line".

        Of the functions inlined there, the innermost that is not the emulator's own.
        """
        if not places:
            return {}
        done = subprocess.run(["addr2line", "-a", "-i", "-e", str(self.file),
                               *(hex(p - 1) for p in places)], capture_output=True, text=True)
        out = {}
        for place, lines in zip(places, re.split(r"^0x[0-9a-f]+\n", done.stdout, flags=re.M)[1:],
                                strict=True):
            names = [PurePath(line.split(" ")[0]).name for line in lines.splitlines() if line]
            out[place] = next((n for n in names if not n.startswith(("cuda.h", "ptx.h"))), names[0])
        return out


class Function:
    """A kernel: function(grid, block, args, shared_mem=0) runs it."""

    def __init__(self, module, declared):
        self.module = module
        self.name, self.most_threads, self.parameters, self.types = declared
        self.start = ctypes.cast(getattr(module.lib, "emu_run_" + self.name), ctypes.c_void_p)

    def __call__(self, grid, block, args, *, shared_mem=0, limit=48 << 10, order="forward",
                 seed=0, preempt=False):
        """Run it.  limit: bytes of dynamic shared memory that a launch may ask for.

        Raises KernelError for a wrong launch, and for every problem that the checker found.
        """
        grid, block = ((*(int(n) for n in sizes), 1, 1)[:3] for sizes in (grid, block))
        self._check_launch(grid, block, shared_mem, limit)
        if len(args) != len(self.types):
            raise KernelError(f"{self.name} takes {len(self.types)} arguments, got {len(args)}")
        lib, memory = self.module.lib, _Memory(self.module)
        cells = [self._cell(i, value, memory) for i, value in enumerate(args)]
        pointers = (ctypes.c_void_p * len(cells))(*map(ctypes.addressof, cells))
        three = ctypes.c_uint32 * 3
        problems = lib.emu_launch(
            self.start, pointers, three(*grid), three(*block),
            ctypes.c_size_t(shared_mem + lib.emu_static_shared()), self.module.grain,
            ORDER.index(order),
            ctypes.c_uint64(seed), int(preempt), int(self.module.check), int(self.module.traffic))
        memory.bring_back(self.name)
        if problems:
            raise KernelError(f"{self.name}: {problems} problem(s)\n"
                              + self._explain(lib.emu_messages().decode()))

    def _check_launch(self, grid, block, shared_mem, limit):
        threads = block[0] * block[1] * block[2]
        if not 0 < threads <= 1024 or block[2] > 64 or min(grid) < 1 or any(
                n > most for n, most in zip(grid, LARGEST_GRID, strict=True)):
            raise KernelError(f"{self.name}: CUDA_ERROR_INVALID_VALUE: grid {grid}, block {block}")
        if threads > self.most_threads:
            raise KernelError(f"{self.name}: block of {threads} threads over its "
                              f"__launch_bounds__({self.most_threads})")
        if shared_mem > limit:
            raise KernelError(f"{self.name}: {shared_mem} bytes of dynamic shared memory over the "
                              f"limit of {limit}; set max_dynamic_shared_size_bytes first")

    def _cell(self, i, value, memory):
        """Where the driver would find argument i: a pointer, or the bytes of a number."""
        kind = self.types[i]
        where = f"{self.name}: argument {i} '{self.parameters[i]}' ({kind})"
        if not kind.startswith("*"):
            if not isinstance(value, np.generic) or kind not in ("?", value.dtype.str[1:]):
                raise KernelError(f"{where}: got {type(value).__name__}; pass np.dtype('{kind}')"
                                  ".type(...): CuPy converts nothing")
            return ctypes.create_string_buffer(value.tobytes(), value.itemsize)
        if not isinstance(value, np.ndarray):
            raise KernelError(f"{where}: expected an array, got {type(value).__name__}")
        element = kind.lstrip("*c")
        if element != "?" and value.dtype != np.dtype(element) and not (
                element == "u1" and value.dtype == bool):
            raise KernelError(f"{where}: array of {value.dtype}")
        if not value.flags.c_contiguous:
            raise KernelError(f"{where}: not C-contiguous")
        return ctypes.c_void_p(memory.place(value, i, where, kind.startswith("*c")))

    def _explain(self, text):
        places = sorted({int(p, 16) for p in re.findall(r"@([0-9a-f]+)", text)})
        lines = self.module.where(places)
        text = re.sub(r"@([0-9a-f]+)", lambda m: lines[int(m[1], 16)], text)
        text = re.sub(r"arg\[(\d+)\]", lambda m: self.parameters[int(m[1])], text)
        return text.replace("shared[1000]", "dynamic shared").replace("shared[1001]",
                                                                      "static shared")

    def stats(self):
        """What the last launch moved and computed -> dict of bytes, and flops (path "ptx")."""
        return dict(zip(TRAFFIC, self.module.lib.emu_stats()[:len(TRAFFIC)], strict=True))

    def requests(self):
        """Memory requests of the last launch (with traffic=True) -> list of Requests."""
        out, lib = [], self.module.lib
        for space, name in enumerate(("global", "shared")):
            n = lib.emu_requests(space, None, 0)
            rows = (ctypes.c_uint64 * (5 * n))()
            lib.emu_requests(space, rows, n)
            table = np.frombuffer(rows, np.uint64).reshape(n, 5).tolist()      # (n, 5)
            lines = self.module.where([row[0] for row in table])
            out += [Requests(lines[place], name, requests, lanes / requests, parts / requests, size)
                    for place, requests, parts, lanes, size in table if requests]
        return out


class _Memory:
    """The arrays of one launch, and the copies that a checked one works on."""

    def __init__(self, module):
        self.module, self.arrays = module, []              # array, its copy, where, constant

    def place(self, array, i, where, constant):
        """Address that stands for an array."""
        for k, (other, copy, *_) in enumerate(self.arrays):
            if other.ctypes.data == array.ctypes.data and other.nbytes == array.nbytes:
                self.arrays[k][3] &= constant
                return copy.ctypes.data
            if array.size and other.size and np.may_share_memory(array, other):
                raise KernelError(f"{where}: overlaps another argument; pass one of them")
        copy = self._guarded(array, i) if self.module.check else array
        self.arrays.append([array, copy, where, constant])
        return copy.ctypes.data

    def _guarded(self, array, i):
        room = np.full(array.nbytes + 2 * MARGIN + 256, 0xFF, np.uint8)
        start = MARGIN + -(room.ctypes.data + MARGIN) % 256                    # as CuPy aligns
        copy = room[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        self.module.lib.emu_region(ctypes.c_void_p(copy.ctypes.data), ctypes.c_size_t(array.nbytes),
                                   min(4, array.itemsize), i)
        return copy

    def bring_back(self, name):
        """Copy results to the arrays; KernelError if a constant one was written."""
        for array, copy, where, constant in self.arrays:
            if copy is array:
                continue
            if not constant:
                array[...] = copy
            elif array.tobytes() != copy.tobytes():
                raise KernelError(f"{where}: {name} wrote through a const pointer")
