"""CUDA C -> a library for the CPU: g++ compiles the .cu behind cuda.h, or what NVRTC made of it.

    path "g++"  CUDA C as it stands.  One construct has no word in C++ and is rewritten:
                extern __shared__ float s[];    float *s = (float *)emu_dyn_shared();
    path "ptx"  CUDA C -> NVRTC -> PTX -> C++ (ptx.py): the compiler's own arithmetic and addresses

A checked build has the checker's calls in front of each load and store (-fsanitize=thread) and
traps for bad indices, addresses and shifts; no sanitizer's library is linked, since checker.cpp
answers the calls.  Libraries lie in the cache under a hash of all that went into them.
"""
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from kernels.emulator.nvrtc import ptx_of
from kernels.emulator.ptx import translate
from primer import data

HERE = Path(__file__).parent
RUNTIME = ("scheduler", "meeting", "checker", "traffic")
TYPES = {"float": "f4", "double": "f8", "int": "i4", "unsigned": "u4", "unsigned int": "u4",
         "short": "i2", "unsigned short": "u2", "char": "i1", "signed char": "i1",
         "unsigned char": "u1", "bool": "b1", "long long": "i8", "unsigned long long": "u8",
         "uint": "u4", "uchar": "u1", "ushort": "u2"}
HEADERS = ("cuda.h", "ptx.h", "fibers.h", "emulator.h")
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+(?:void\s+)?'
                    r'(?:__launch_bounds__\s*\(([^,)]+)[^)]*\)\s*)?(?:void\s+)?'
                    r'(\w+)\s*\(([^)]*)\)')
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?"
                     r"([\w ]+?)\s*\b(\w+)\s*\[\s*\]\s*;")
BASE = ("-std=c++17", "-gdwarf-4", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
PLAIN = (*BASE, "-O2")
CHECKED = (*BASE, "-O1", "-fno-tree-vectorize", "-fno-tree-slp-vectorize",
           "-fno-tree-loop-distribute-patterns", "-fsanitize=thread",
           "--param=tsan-instrument-func-entry-exit=0", "--param=tsan-distinguish-volatile=1",
           "-fsanitize=bounds,alignment,shift,integer-divide-by-zero")


class Declared(NamedTuple):
    """A kernel as its source declares it.

    threads: the most that a block may have; types: a parameter each, "f4" for a float, "*i8" for
    an array of long long, "*cf4" of const float or float4, "?" where the name is not known.
    """

    name: str
    threads: int
    parameters: list
    types: list


def declarations(code):
    """The kernels in some CUDA C -> list of Declared."""
    plain = re.sub(r"//[^\n]*|/\*.*?\*/", "", code, flags=re.S)
    names = dict(re.findall(r"#define\s+(\w+)\s+(\d+)", plain))
    names |= {new: old for old, new in re.findall(r"typedef\s+([\w ]+?)\s+(\w+);", plain)}
    out = []
    for threads, name, text in KERNEL.findall(plain):
        parts = [re.fullmatch(r"(.*?[\s*&])(\w+)", p.strip(), re.S).groups()
                 for p in text.split(",") if p.strip()]
        out.append(Declared(name, int(names.get(threads.strip(), threads or 1024)),
                            [p for _, p in parts], [_type(t, names) for t, _ in parts]))
    return out


def _type(text, names):
    """C++'s words for a type -> the code of Declared.types."""
    star = "*" if "*" in text else ""
    words = re.sub(r"\b__restrict__\b|\*", " ", text).split()
    const = "c" if star and "const" in words else ""
    word = " ".join(w for w in words if w != "const")
    word = re.sub(r"(?<=[a-z])[234]$", "", names.get(word, word))          # float4: of float
    return f"{star}{const}{TYPES.get(word, '?')}"


def library(code, path, arch, check):
    """The shared library that runs some CUDA C; compiled unless the cache has it -> Path.

    Raises KernelError with the compiler's words if it does not compile, RuntimeError if there is
    no g++.
    """
    flags = CHECKED if check else PLAIN
    text, names, static = _from_ptx(code, arch) if path == "ptx" else _from_cuda(code)
    text += f'\nextern "C" size_t emu_static_shared() {{ return {static}; }}\n' + "".join(
        f"EMU_EXPORT({name})\n" for name in names)
    target = folder() / f"kernel-{_hash(text, *flags, *_runtime_texts())}.so"
    if not target.exists():
        compiler()
        with tempfile.TemporaryDirectory(dir=folder()) as work:
            source, part = Path(work) / "kernel.cpp", Path(work) / "kernel.o"
            source.write_text(text)
            _run("g++", *flags, f"-I{HERE}", "-c", source, "-o", part)
            _run("g++", "-shared", part, *_runtime(), "-o", Path(work) / "kernel.so")
            os.replace(Path(work) / "kernel.so", target)
    return target


@cache
def compiler():
    """Raise RuntimeError, with what to install, unless g++ for Linux is here -> its path."""
    found = shutil.which("g++")
    if os.name != "posix" or not Path("/proc").exists():
        raise RuntimeError("the emulator runs on Linux only (in a container or WSL elsewhere)")
    if not found or not shutil.which("addr2line"):
        raise RuntimeError("the emulator needs g++ and addr2line; install them, such as with: "
                           "apt-get install g++")
    return found


def folder():
    """Where compiled kernels are kept; made if it is not there -> Path."""
    place = data.cache() / "kernels"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _from_cuda(code):
    body = DYNAMIC.sub(r"\1* \2 = (\1*)emu_dyn_shared();", code)
    names = [d.name for d in declarations(code)]
    return f'#include "cuda.h"\n#line 1 "kernel.cu"\n{body}\n', names, 0


def _from_ptx(code, arch):
    return translate(ptx_of(code, arch))


def _runtime():
    """The emulator itself, compiled -> list of Path."""
    key, parts = _hash(*_runtime_texts()), []
    for name in RUNTIME:
        part = folder() / f"{name}-{key}.o"
        if not part.exists():
            with tempfile.TemporaryDirectory(dir=folder()) as work:
                _run("g++", *PLAIN, "-c", HERE / f"{name}.cpp", "-o", Path(work) / part.name)
                os.replace(Path(work) / part.name, part)
        parts.append(part)
    return parts


@cache
def _runtime_texts():
    return tuple((HERE / name).read_text() for name in (*HEADERS, *(f"{n}.cpp" for n in RUNTIME)))


def _hash(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]


def _run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise KernelError("does not compile as C++:\n" + done.stderr[:4000])


class KernelError(RuntimeError):
    """A kernel is wrong: how it is declared, launched, or what it did; with lines of its source."""
