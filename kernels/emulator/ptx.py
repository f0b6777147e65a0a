"""Run what the compiler really made of a kernel: NVRTC's PTX, rewritten as C++.

PTX is the assembly language of NVIDIA's GPUs: one instruction a line, any number of registers,
jumps to labels. NVRTC, the compiler inside CUDA, writes it without a GPU in sight. By then it has
fused multiplications with additions, unrolled loops, turned expf into a power of two and computed
every address. So a result that the .cu gives through g++ is checked again in the compiler's own
arithmetic, on the same fibers and under the same checker of races and bounds:

    CUDA C  --NVRTC-->  PTX  --translate-->  C++  --g++-->  machine code with the checker's hooks

    ld.global.f32 %f1, [%rd4+8];        set(R_f1, (f32)(*(f32 *)((char *)(get<u64>(R_rd4) + 8))));
    fma.rn.f32 %f3, %f1, %f2, %f3;      set(R_f3, (f32)(fused<f32>(get<f32>(R_f1), ...)));
    @%p1 bra $L__BB0_2;                 if (R_p1) { goto L__BB0_2; }

One PTX instruction becomes one C++ statement (ptx_instructions.py), a register becomes a local
variable, a label stays a label, and each `.loc` of the compiler becomes a `#line`, so reports
name lines of the .cu. This file reads the frame around the instructions: modules, functions,
variables.

Memory. A block's shared memory is one piece, the variables of fixed size first and the array of
the launch behind them; a shared address is an offset into it. Global memory is the machine's.
Local arrays and parameters lie on the fiber's own stack.

Limits. The last step, from PTX to the GPU's own instructions, is not run. Approximate functions
(ex2.approx, rsqrt.approx, div.full) are those of the C library, as good as or better than the
GPU's. Denormal floats are flushed for the whole run, as CuPy's -ftz=true asks: so doubles are,
too, and instructions without .ftz. A NaN may carry other bits. No half-precision, no tensor
cores, no asynchronous copies, no textures, no clock, no printf.
"""
import re
from pathlib import PurePosixPath

from kernels.emulator.ptx_instructions import label, translated
from kernels.emulator.ptx_operands import REGISTER_BYTES, Scope

FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]+)".*$', re.M)
NOISE = re.compile(r"//[^\n]*|/\*.*?\*/|\.section\s+\S+\s*\{[^}]*\}"
                   r"|^\s*\.(?:version|target|address_size)\b[^\n]*$", re.M | re.S)
FUNCTION = re.compile(r"(?:\.(?:visible|weak|extern)\s+)*\.(entry|func)\s*"
                      r"(?:\(([^)]*)\)\s*)?([\w$]+)\s*(?:\(([^)]*)\))?", re.S)
VARIABLE = re.compile(r"(?:\.(?:visible|weak|extern)\s+)*\.(const|global|shared|local|param)\s+"
                      r"(?:\.align\s+(\d+)\s+)?\.(\w+)\s+"
                      r"(?:\.ptr\s+(?:\.[a-z]+\s+)?(?:\.align\s+\d+\s+)?)?"
                      r"([\w$]+)\s*(?:\[(\d*)\])?(?:\s*=\s*(.*))?", re.S)
STATEMENT = re.compile(r"\s*(\.loc\b[^\n]*|[{}]|[$\w]+:|[^;]+;)")
REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.*)", re.S)
LOCATION = re.compile(r"\.loc\s+(\d+)\s+(\d+)")
WORDS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}       # bytes -> C++ type of plain bits


def translate(ptx):
    """PTX of a module -> (C++ text, names of its kernels, bytes of static shared memory).

    Raises NotImplementedError, with the source line, for what the emulator does not know.
    """
    files = {number: PurePosixPath(path).name for number, path in FILE.findall(ptx)}
    parts = list(split_module(NOISE.sub("", FILE.sub("", ptx))))
    functions = [(FUNCTION.match(head), body) for head, body in parts if body is not None]
    variables = [variable(head) for head, body in parts
                 if body is None and not FUNCTION.match(head)]
    shared, static = lay_out_shared(variables, functions)
    data = [v for v in variables if v["space"] in ("const", "global")]
    scope = Scope({v["name"]: "data_" + label(v["name"]) for v in data}, {})
    scope.functions = {head[3] for head, _ in functions if head[1] == "func"}
    out = ['#include "ptx.h"', "namespace ptx {", *map(define_data, data)]
    out += [signature(head) + ";" for head, _ in functions if head[1] == "func"]
    for head, body in functions:
        scope.shared = shared[head[3]]
        out += write_function(head, body, scope, files)
    names = [head[3] for head, _ in functions if head[1] == "entry"]
    out += ["}  // namespace ptx",
            *(f"static constexpr auto &{name} = ptx::entry_{name};" for name in names)]
    return "\n".join(out) + "\n", names, static


# ---- the module --------------------------------------------------------------------------------
def split_module(text):
    """Top level of a module -> pairs (head, body): a function's, or (declaration, None)."""
    at = 0
    while found := re.compile(r"[;{]").search(text, at):
        head = text[at:found.start()].strip()
        if found[0] == "{" and not head.endswith("="):
            at = closing_brace(text, found.end())
            yield head, text[found.end():at - 1]
        else:
            end = text.index(";", found.start())
            yield text[at:end].strip(), None
            at = end + 1


def closing_brace(text, at):
    """Where the block that is open at `at` ends (behind its brace)."""
    depth = 1
    while depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return at


def variable(text):
    """A declaration -> dict of space, align, kind, name, count (None: size of the launch), init."""
    found = VARIABLE.fullmatch(text)
    if not found or found[3] not in REGISTER_BYTES:
        raise NotImplementedError(f"the emulator does not know the PTX variable {text[:80]}")
    space, align, kind, name, count, init = found.groups()
    size = REGISTER_BYTES[kind]
    count = 1 if count is None else int(count) if count else None
    return {"space": space, "align": int(align or size), "kind": kind, "name": name,
            "count": count, "bytes": size * (count or 0), "init": init}


def define_data(v):
    """A __constant__ or __device__ variable as a C++ array of plain bits."""
    words = re.sub(r"\b0[fFdD](?=[0-9a-fA-F])", "0x", v["init"] or "").strip("{} \n")
    size = REGISTER_BYTES[v["kind"]]
    try:
        values = [int(w.strip(" \nU"), 0) % 256**size for w in words.split(",") if w]
    except ValueError as error:                         # such as the address of another variable
        raise NotImplementedError(f"initial value of {v['name']}: {v['init'][:60]}") from error
    if v["count"] is None:
        raise NotImplementedError(f"variable {v['name']} of unknown size")
    return (f"alignas({v['align']}) static {WORDS[size]} data_{label(v['name'])}[{v['count']}] = "
            f"{{{', '.join(map(hex, values))}}};")


def lay_out_shared(variables, functions):
    """Offsets in shared memory -> ({function: {variable: offset}}, bytes before the launch's).

    Variables of the module and of device functions come first; those of different kernels take
    the same place, since one kernel runs at a time.
    """
    in_body = {head[3]: [variable(text.rstrip(";")) for text in statements(body)
                         if text.startswith(".shared")] for head, body in functions}
    everywhere = [v for v in variables if v["space"] == "shared"]
    launched = [v["name"] for v in everywhere if v["count"] is None]
    fixed = [v for v in everywhere if v["count"] is not None]
    fixed += [v for head, _ in functions if head[1] == "func" for v in in_body[head[3]]]
    common, end = place(fixed, 0)
    offsets, static = {}, end
    for head, _ in functions:
        own, last = place(in_body[head[3]] if head[1] == "entry" else [], end)
        offsets[head[3]] = common | own
        static = max(static, last)
    static = -(-static // 16) * 16
    return {f: at | dict.fromkeys(launched, static) for f, at in offsets.items()}, static


def place(variables, at):
    """Put variables one behind another, aligned, from offset `at` -> (offsets, end)."""
    offsets = {}
    for v in variables:
        at = -(-at // v["align"]) * v["align"]
        offsets[v["name"]] = at
        at += v["bytes"]
    return offsets, at


# ---- a function ----------------------------------------------------------------------------------
def parameters(head, group):
    """The variables in the brackets of a function's head."""
    return [variable(text.strip()) for text in (head[group] or "").split(",") if text.strip()]


def signature(head):
    """C++ head: a kernel takes its arguments, a device function their addresses."""
    if head[1] == "func":
        names = [f"char *P_{label(v['name'])}" for v in parameters(head, 2) + parameters(head, 4)]
        return f"static void call_{label(head[3])}({', '.join(names)})"
    names = []
    for v in parameters(head, 4):
        struct = v["count"] > 1 or v["kind"] == "b8"
        kind = f"Bytes<{v['align']}, {v['bytes']}>" if struct else v["kind"]
        names.append(f"{kind} A_{label(v['name'])}")
    return f"static void entry_{head[3]}({', '.join(names)})"


def write_function(head, body, scope, files):
    """A kernel or a device function -> lines of C++."""
    own = Scope(scope.names, scope.shared)
    own.functions, own.kernel = scope.functions, head[1] == "entry"
    out = [signature(head) + " {", "  char *const shared = (char *)emu_dyn_shared();",
           "  bool carry = false;"]
    for v in parameters(head, 2) + parameters(head, 4):
        name = label(v["name"])
        own.names[v["name"]] = f"P_{name}"
        if own.kernel:
            out.append(f"  char *const P_{name} = (char *)&A_{name};")
    outer, before = [], None
    for text in statements(body):
        if text == "{":
            outer.append(dict(own.registers))
        elif text == "}":
            own.registers = outer.pop()                 # a block's registers end with it
        elif found := LOCATION.match(text):
            own.file, own.line = files.get(found[1], "kernel.cu"), int(found[2])
        out += write_statement(text, before, own)
        before = text
    return [*out, "}"]


def statements(body):
    """Cut a function's body into statements, labels, braces and `.loc` lines."""
    at = 0
    while found := STATEMENT.match(body, at):
        yield found[1].strip()
        at = found.end()
    if body[at:].strip():
        raise NotImplementedError(f"the emulator cannot read the PTX {body[at:].strip()[:80]}")


def write_statement(text, before, scope):
    """One statement of PTX -> lines of C++; `before` is the statement above it."""
    if text in "{}":
        return [text]
    if text.endswith(":"):
        return [f"{label(text)};"]
    code = text.rstrip(";").strip()
    if code.startswith(".branchtargets"):
        targets = code.removeprefix(".branchtargets").split(",")
        scope.tables[before[:-1]] = [t.strip() for t in targets]
        return []
    if found := REGISTERS.fullmatch(code):
        return declare_registers(found[1], found[2], scope)
    if code.startswith((".loc\t", ".loc ", ".pragma", ".shared")):
        return []                                       # .shared: see lay_out_shared
    if code.startswith((".local", ".param")):
        v = variable(code)
        scope.names[v["name"]] = f"V_{label(v['name'])}"
        return [f"  alignas({max(v['align'], 8)}) char V_{label(v['name'])}[{v['bytes']}];"]
    line = [f'#line {scope.line} "{scope.file}"'] if scope.line else []
    return [*line, f"  {translated(code, scope)}    // {' '.join(code.split())}"]


def declare_registers(kind, names, scope):
    """`.reg .b32 %r<9>` or `.reg .pred p, q` -> lines of C++."""
    out = []
    for name in map(str.strip, names.split(",")):
        family, many = re.fullmatch(r"([%\w$]+)(?:<(\d+)>)?", name).groups()
        if kind not in REGISTER_BYTES:
            raise scope.error(f".reg .{kind} {names}")
        scope.registers[family + ("<>" if many else "")] = REGISTER_BYTES[kind]
        each = [f"{family}{i}" for i in range(int(many))] if many else [family]
        word = "bool" if kind == "pred" else WORDS[REGISTER_BYTES[kind]]
        out.append(f"  {word} " + ", ".join(f"{scope.register(r)} = 0" for r in each) + ";")
    return out
