"""What a PTX instruction is made of, and what its operands are called in C++.

    @%p1 fma.rn.ftz.f32 %f4, %f1, %f2, 0f3F800000;
    guard  name.modifiers   operands: registers, here then the bits of 1.0

A register named %f4 becomes a C++ variable R_f4 of 32 plain bits. An instruction decides how to
read them: `get<f32>(R_f4)`. A variable in shared memory is an offset into the block's memory, and
one in local, constant or global memory is a C++ array, which is also its address.

Nothing is guessed. An instruction's family takes (`take`) the modifiers that it understands, and
whatever is left over raises NotImplementedError with the source line; so does an unknown operand.
"""
import re

REGISTER_BYTES = {"pred": 1, "b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "b32": 4,
                  "u32": 4, "s32": 4, "f32": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8}
INSTRUCTION = re.compile(r"(?:@(!?)([%\w$]+)\s+)?([a-z]\w*)((?:\.[\w:]+)*)\s*(.*)", re.S)
ADDRESS = re.compile(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]")
NUMBER = re.compile(r"(-?)(0[xX][0-9a-fA-F]+|\d+)U?")

SPECIAL = {f"%{ptx}.{axis}": f"{cpp}.{axis}" for axis in "xyz" for ptx, cpp in (
    ("tid", "emu_now.tid"), ("ntid", "emu_grid.bdim"),
    ("ctaid", "emu_grid.bid"), ("nctaid", "emu_grid.gdim"))}
SPECIAL |= {"%laneid": "(emu_now.linear & 31)", "WARP_SZ": "32"}


class Scope:
    """Names that a statement can see, and the source line that it belongs to."""

    def __init__(self, data, shared):
        self.names = dict(data)             # PTX variable -> the C++ array that holds it
        self.shared = dict(shared)          # PTX variable -> its offset in shared memory, bytes
        self.functions = set()              # device functions that may be called
        self.tables = {}                    # label of a jump table -> labels to jump to
        self.registers = {}                 # register, or the letters before <n> -> bytes
        self.kernel = True                  # False inside a device function
        self.file, self.line = "kernel.cu", 0

    def error(self, text):
        """NotImplementedError that says which line of CUDA C led to which PTX."""
        return NotImplementedError(
            f"{self.file}:{self.line}: the emulator does not know the PTX {' '.join(text.split())}")

    def register(self, name):
        """The C++ variable of a register: %f4 -> R_f4."""
        if self.register_bytes(name) is None:
            raise self.error(f"register {name}")
        return "R_" + name.lstrip("%")

    def register_bytes(self, name):
        """How wide a register is, or None for what is no register."""
        family = re.sub(r"\d+$", "<>", name)
        return self.registers.get(name, self.registers.get(family))

    def value(self, text, kind):
        """An operand, read as type `kind` -> C++ expression."""
        if text[:2] in ("0f", "0F", "0d", "0D"):
            word = "u32" if text[1] in "fF" else "u64"
            return f"get<{kind}>(({word})0x{text[2:]}ull)"
        if text in SPECIAL:
            return f"({kind}){SPECIAL[text]}"
        if self.register_bytes(text) is not None:
            return f"get<{kind}>({self.register(text)})"
        if text[0] == "!" and kind == "pred":
            return f"!{self.value(text[1:], kind)}"
        if number := NUMBER.fullmatch(text):
            n = int(number[1] + number[2], 0) % 2**64
            word = {"f32": "u32", "f64": "u64"}.get(kind, kind)
            return f"get<{kind}>(({word})0x{n:x}ull)"
        return f"({kind})({self.symbol(text)})"

    def symbol(self, name):
        """The address of a variable: inside the shared memory, or the machine's."""
        if name in self.shared:
            return f"{self.shared[name]}ull"
        if name in self.names:
            return f"(u64){self.names[name]}"
        raise self.error(f"operand {name}")

    def address(self, text, space):
        """`[%rd1+8]` in a memory space -> C++ expression of type char *."""
        parts = ADDRESS.fullmatch(text)
        if not parts:
            raise self.error(f"address {text}")
        wide = "u32" if self.register_bytes(parts[1]) == 4 else "u64"
        place = f"{self.value(parts[1], wide)} + ({int(parts[2] or '0', 0)})"
        return f"(shared + (u32)({place}))" if space == "shared" else f"((char *)({place}))"


class Instruction:
    """One instruction, taken apart; `scope` knows its registers."""

    def __init__(self, text, scope):
        parts = INSTRUCTION.fullmatch(text)
        if not parts:
            raise scope.error(text)
        self.text, self.scope, self.line = text, scope, scope.line
        self.negated, self.guard, self.name = parts[1], parts[2], parts[3]
        self.modifiers = parts[4].split(".")[1:]
        self.operands = split_operands(parts[5])

    def take(self, *words, default=None):
        """The first modifier that is one of `words`, taken off; else `default`."""
        for word in self.modifiers:
            if word in words:
                self.modifiers.remove(word)
                return word
        return default

    def drop(self, *words):
        """Take off modifiers that change nothing here; True if there was one."""
        found = [m for m in self.modifiers if m in words]
        self.modifiers = [m for m in self.modifiers if m not in words]
        return bool(found)

    def type(self, *allowed):
        """The type, which stands last among the modifiers left."""
        if not self.modifiers or self.modifiers[-1] not in (allowed or REGISTER_BYTES):
            raise self.unknown()
        return self.modifiers.pop()

    def unknown(self):
        """The error for an instruction that has no translation."""
        return self.scope.error(f"instruction {self.text}")

    def value(self, i, kind):
        """Operand `i` as a C++ expression of type `kind`."""
        return self.scope.value(self.operands[i], kind)

    def address(self, i, space):
        """Operand `i`, an address in brackets, as a C++ expression of type char *."""
        return self.scope.address(self.operands[i], space)

    def expect(self, *counts):
        """Raise if the number of operands is none of `counts`."""
        if len(self.operands) not in counts:
            raise self.unknown()

    def set(self, target, kind, expression):
        """C++ that writes `expression`, as type `kind`, to a register ("_" takes no value)."""
        if target == "_":
            return f"(void)({expression});"
        return f"set({self.scope.register(target)}, ({kind})({expression}));"


def split_operands(text):
    """Cut at the commas outside of brackets -> list of str; braces stay on."""
    out, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "{[(") - (c in "}])")
        if c == "," and depth == 0:
            out.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*out, last] if last else out


def members(text):
    """`{%r1, %r2}` or `(a, b)` -> ["%r1", "%r2"]."""
    return split_operands(text.strip()[1:-1])
