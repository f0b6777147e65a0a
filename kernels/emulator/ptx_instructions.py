"""One PTX instruction -> one C++ statement.

    translated("fma.rn.ftz.f32 %f4, %f1, %f2, %f3", scope)
    -> set(R_f4, (f32)(fused<f32>(get<f32>(R_f1), get<f32>(R_f2), get<f32>(R_f3))));

Read it from the end: FAMILIES says which function translates which opcode. Those that compute are
in ptx_arithmetic.py; here are memory, the threads of a warp or a block together, and jumps.
"""
from kernels.emulator.ptx_arithmetic import (
    CARRIED,
    FLOATS,
    INTEGERS,
    arithmetic,
    compare,
    convert,
    dot,
    move,
    select,
)
from kernels.emulator.ptx_operands import Instruction, members

SPACES = ("global", "shared", "local", "param", "const")
# Which cache is used changes nothing here; which order is promised changes what may race.
CACHES = ("ca", "cs", "lu", "nc", "wb", "weak", "uni", "L1::no_allocate", "L1::evict_first",
          "L1::evict_last", "L1::evict_normal", "L1::evict_unchanged", "L2::64B", "L2::128B",
          "L2::256B")
MARKED = ("volatile", "relaxed", "acquire", "release", "cg", "cv", "wt")
REACH = ("gpu", "cta", "sys", "cluster", "acq_rel")
ATOMICS = {"add": "atomicAdd", "min": "atomicMin", "max": "atomicMax", "and": "atomicAnd",
           "or": "atomicOr", "xor": "atomicXor", "exch": "atomicExch", "cas": "atomicCAS",
           "inc": "atomicInc", "dec": "atomicDec"}


def translated(text, scope):
    """One instruction -> C++; raises NotImplementedError for whatever it does not know."""
    op = Instruction(text, scope)
    if op.name not in FAMILIES:
        raise op.unknown()
    statement = FAMILIES[op.name](op)
    if op.modifiers:
        raise op.unknown()
    if op.guard:
        return f"if ({op.negated}{scope.register(op.guard)}) {{ {statement} }}"
    return statement


# ---- memory ------------------------------------------------------------------------------------
def _access(op):
    """What ld and st have in common -> space, marked (may race, as volatile), lanes, type."""
    space = op.take(*SPACES, default="generic")
    kind, lanes = op.type(), {"v2": 2, "v4": 4}.get(op.take("v2", "v4"), 1)
    op.expect(2)
    op.drop(*CACHES, *REACH)
    return space, op.drop(*MARKED), lanes, kind


def load(op):
    """ld: one value, or two or four neighbours at once."""
    space, marked, lanes, kind = _access(op)
    place, target = op.address(1, space), op.operands[0]
    if lanes == 1:
        return op.set(target, kind, f"*({'volatile ' * marked}{kind} *){place}")
    names = members(target)
    if len(names) != lanes:
        raise op.unknown()
    start = (f"volatile {kind} *at = (volatile {kind} *){place};" if marked else
             f"auto box = *(Vector<{kind}, {lanes}> *){place}; {kind} *at = box.at;")
    return f"{{ {start} " + " ".join(op.set(name, kind, f"at[{i}]")
                                     for i, name in enumerate(names)) + " }"


def store(op):
    """st: one value, or two or four neighbours at once."""
    space, marked, lanes, kind = _access(op)
    place = op.address(0, space)
    if lanes == 1:
        return f"*({'volatile ' * marked}{kind} *){place} = {op.value(1, kind)};"
    values = [op.scope.value(name, kind) for name in members(op.operands[1])]
    if len(values) != lanes:
        raise op.unknown()
    if marked:
        sets = (f"at[{i}] = {value};" for i, value in enumerate(values))
        return f"{{ volatile {kind} *at = (volatile {kind} *){place}; {' '.join(sets)} }}"
    box = f"Vector<{kind}, {lanes}>"
    return f"*({box} *){place} = {box}{{{{{', '.join(values)}}}}};"


def atomic(op):
    """atom gives the old value; red has no use for it."""
    space = op.take("global", "shared", default="generic")
    kind, what = op.type("u32", "s32", "b32", "f32", "u64", "s64", "b64", "f64"), op.take(*ATOMICS)
    op.drop(*REACH, *MARKED)
    first = 0 if op.name == "red" else 1                     # where the address stands
    if what is None:
        raise op.unknown()
    op.expect(first + (3 if what == "cas" else 2))
    values = [op.value(i, kind) for i in range(first + 1, len(op.operands))]
    call = f"{ATOMICS[what]}(({kind} *){op.address(first, space)}, {', '.join(values)})"
    flops = f"EMU_FLOPS({kind}, 1); " if kind[0] == "f" else ""
    return flops + (f"{call};" if first == 0 else op.set(op.operands[0], kind, call))


def change_space(op):
    """cvta: an address in a memory space <-> a generic one. Only shared memory differs here."""
    op.expect(2)
    kind, back, space = op.type("u64"), op.drop("to"), op.take(*SPACES)
    shift = f" {'-' if back else '+'} (u64)shared" if space == "shared" else ""
    return op.set(op.operands[0], kind, op.value(1, kind) + shift)


# ---- threads together --------------------------------------------------------------------------
def barrier(op):
    """bar.sync, bar.red (with a count, an and, an or over the block), bar.warp.sync."""
    op.drop("aligned")
    if op.drop("warp"):
        op.expect(1)
        op.drop("sync")
        return f"emu_warp_op(EMU_SYNC, {op.value(0, 'u32')}, 0, 0, 32, {op.line});"
    if op.drop("sync"):
        if op.operands != ["0"]:
            raise op.unknown()                               # a barrier of part of the block
        return f"emu_barrier(0, 0, {op.line});"
    op.expect(3)
    kind, what = op.type("u32", "pred"), op.take("popc", "and", "or")
    if not op.drop("red") or what is None or op.operands[1] != "0":
        raise op.unknown()
    number = {"popc": 1, "and": 2, "or": 3}[what]
    return (f"emu_barrier({number}, {op.value(2, 'pred')}, {op.line}); "
            + op.set(op.operands[0], kind, "emu_barrier_result()"))


def shuffle(op):
    """shfl.sync: a value of another lane, and whether that lane was in range."""
    op.expect(5)
    op.drop("sync")
    way = {"up": "UP", "down": "DOWN", "bfly": "XOR", "idx": "INDEX"}.get(
        op.take("up", "down", "bfly", "idx"))
    if op.type("b32") is None or way is None:
        raise op.unknown()
    value, lane, width, mask = (op.value(i, "u32") for i in range(1, 5))
    target, *inside = op.operands[0].split("|")
    return (f"{{ pred inside; u32 word = shuffle({way}, {value}, {lane}, {width}, {mask}, "
            f"{op.line}, inside); {op.set(target, 'u32', 'word')} "
            + " ".join(op.set(name, "pred", "inside") for name in inside) + " }")


def vote(op):
    """vote.sync: any, all, uni (all the same) or the ballot itself."""
    op.expect(3)
    op.drop("sync")
    kind, what = op.type("pred", "b32"), op.take("any", "all", "uni", "ballot")
    mask = op.value(2, "u32")
    ballot = f"ballot({mask}, {op.value(1, 'pred')}, {op.line})"
    if (what == "ballot") != (kind == "b32") or what is None:
        raise op.unknown()
    if what == "uni":
        ballot = f"u32 votes = {ballot}; "
        return f"{{ {ballot}" + op.set(op.operands[0], kind, f"!votes || votes == {mask}") + " }"
    return op.set(op.operands[0], kind, ballot + {
        "any": " != 0", "all": f" == {mask}", "ballot": ""}[what])


def match(op):
    """match.any.sync: the lanes that hold the same value."""
    op.expect(3)
    kind = op.type("b32", "b64")
    if not (op.drop("any") and op.drop("sync")):
        raise op.unknown()
    return op.set(op.operands[0], "u32",
                  f"match_any({op.value(1, kind)}, {op.value(2, 'u32')}, {op.line})")


def reduce(op):
    """redux.sync: one sum, minimum, ... over the lanes of a warp."""
    op.expect(3)
    op.drop("sync")
    kind, what = op.type("u32", "s32", "b32"), op.take("add", "min", "max", "and", "or", "xor")
    if what is None:
        raise op.unknown()
    return op.set(op.operands[0], kind,
                  f"reduce_{what}({op.value(1, kind)}, {op.value(2, 'u32')}, {op.line})")


def fence(op):
    """membar, fence: the runtime runs one thread at a time, so order is kept already."""
    op.drop("gl", "cta", "sys", "gpu", "acq_rel", "sc")
    return "__threadfence();"


# ---- control -----------------------------------------------------------------------------------
def label(name):
    """$L__BB0_2 -> L__BB0_2."""
    return name.replace("$", "")


def branch(op):
    """bra: go to a label."""
    op.expect(1)
    op.drop("uni")
    return f"goto {label(op.operands[0])};"


def branch_table(op):
    """brx.idx: the jump of a switch statement."""
    op.expect(2)
    op.drop("idx", "uni")
    targets = op.scope.tables.get(op.operands[1])
    if targets is None:
        raise op.unknown()
    cases = " ".join(f"case {i}: goto {label(t)};" for i, t in enumerate(targets))
    return f"switch ({op.value(0, 'u32')}) {{ {cases} }}"


def leave(op):
    """ret leaves the function, exit the kernel; trap stops with an error."""
    op.expect(0)
    op.drop("uni")
    if op.name == "exit" and not op.scope.kernel:
        raise op.unknown()
    return f"emu_trap({op.line}); return;" if op.name == "trap" else "return;"


def call(op):
    """call: a device function that was not inlined; it gets the addresses of its parameters."""
    op.drop("uni")
    parts = list(op.operands)
    given = members(parts.pop(0)) if parts[0][0] == "(" else []
    name, given = parts[0], given + (members(parts[1]) if len(parts) == 2 else [])
    if name not in op.scope.functions or len(parts) > 2:
        raise op.unknown()
    return f"call_{label(name)}({', '.join(op.scope.names[p] for p in given)});"


FAMILIES = dict.fromkeys([k.split(".")[0] for k in INTEGERS] + [*FLOATS, *CARRIED], arithmetic) | {
    "dp4a": dot, "setp": compare, "selp": select, "cvt": convert, "mov": move, "ld": load,
    "st": store, "atom": atomic, "red": atomic, "cvta": change_space, "bar": barrier,
    "barrier": barrier, "shfl": shuffle, "vote": vote, "match": match, "redux": reduce,
    "membar": fence, "fence": fence, "bra": branch, "brx": branch_table, "ret": leave,
    "exit": leave, "trap": leave, "call": call,
}
