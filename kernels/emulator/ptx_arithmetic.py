"""PTX instructions that make one value of others: arithmetic, comparison, choice, conversion.

The plain ones are rows of two tables, INTEGERS and FLOATS; ptx.h explains the C++ words in them.
A register has no type, so the same `add` is a row of either, by the type that it names.
"""
from kernels.emulator.ptx_operands import members

# opcode: (type of the result, types of the operands, C++). t: the instruction's type, w: twice as
# wide. A sum wraps round, so it is taken in u64 and cut to the result's width.
INTEGERS = {
    "add": ("t", "tt", "(u64){a} + (u64){b}"),
    "sub": ("t", "tt", "(u64){a} - (u64){b}"),
    "mul.lo": ("t", "tt", "(u64){a} * (u64){b}"),
    "mul.hi": ("t", "tt", "high_product<{t}>({a}, {b})"),
    "mul.wide": ("w", "tt", "(u64){a} * (u64){b}"),
    "mad.lo": ("t", "ttt", "(u64){a} * (u64){b} + (u64){c}"),
    "mad.hi": ("t", "ttt", "(u64)high_product<{t}>({a}, {b}) + (u64){c}"),
    "mad.wide": ("w", "ttw", "(u64){a} * (u64){b} + (u64){c}"),
    "div": ("t", "tt", "{a} / divisor<{t}>({a}, {b}, {line})"),
    "rem": ("t", "tt", "{a} % divisor<{t}>({a}, {b}, {line})"),
    "min": ("t", "tt", "{a} < {b} ? {a} : {b}"),
    "max": ("t", "tt", "{a} > {b} ? {a} : {b}"),
    "neg": ("t", "t", "0 - (u64){a}"),
    "abs": ("t", "t", "{a} < 0 ? 0 - (u64){a} : (u64){a}"),
    "sad": ("t", "ttt", "(u64){c} + ({a} < {b} ? (u64){b} - (u64){a} : (u64){a} - (u64){b})"),
    "and": ("t", "tt", "{a} & {b}"),
    "or": ("t", "tt", "{a} | {b}"),
    "xor": ("t", "tt", "{a} ^ {b}"),
    "not": ("t", "t", "~{a}"),
    "cnot": ("t", "t", "{a} == 0"),
    "shl": ("t", "ti", "shift_left<{t}>({a}, {b})"),
    "shr": ("t", "ti", "shift_right<{t}>({a}, {b})"),
    "shf.l.wrap": ("i", "iii", "funnel_left({a}, {b}, {c} & 31)"),
    "shf.r.wrap": ("i", "iii", "funnel_right({a}, {b}, {c} & 31)"),
    "shf.l.clamp": ("i", "iii", "funnel_left({a}, {b}, at_most_32({c}))"),
    "shf.r.clamp": ("i", "iii", "funnel_right({a}, {b}, at_most_32({c}))"),
    "popc": ("i", "t", "ones<{t}>({a})"),
    "clz": ("i", "t", "leading_zeros<{t}>({a})"),
    "brev": ("t", "t", "reversed<{t}>({a})"),
    "bfe": ("t", "tii", "field<{t}>({a}, {b}, {c})"),
    "bfi": ("t", "ttii", "insert<{t}>({a}, {b}, {c}, {d})"),
    "bfind": ("i", "t", "highest<{t}>({a})"),
    "bfind.shiftamt": ("i", "t", "leading_zeros<{t}>({a}) - ({a} == 0) * (1 + bits<{t}>)"),
    "prmt": ("i", "iii", "permuted({a}, {b}, {c})"),
    "lop3": ("i", "iiii", "logic({a}, {b}, {c}, {d})"),
}
# Sums of numbers of several words: .cc keeps the carry, the opcodes here add it.
CARRIED = {"addc": "add", "subc": "sub", "madc": "mad"}
# opcode: (C++ function, how many operands, floating-point operations)
FLOATS = {
    "add": ("sum", 2, 1), "sub": ("difference", 2, 1), "mul": ("product", 2, 1),
    "div": ("quotient", 2, 1), "fma": ("fused", 3, 2), "mad": ("fused", 3, 2),
    "min": ("smaller", 2, 1), "max": ("larger", 2, 1), "neg": ("-", 1, 0),
    "abs": ("std::fabs", 1, 0), "copysign": ("with_sign", 2, 0),
    "rcp": ("reciprocal", 1, 1), "sqrt": ("root", 1, 1), "rsqrt": ("inverse_root", 1, 1),
    "ex2": ("power_of_2", 1, 1), "lg2": ("log_2", 1, 1), "tanh": ("tangent_h", 1, 1),
    "sin": ("sine", 1, 1), "cos": ("cosine", 1, 1),
}
ORDERED = {"eq": "{a} == {b}", "ne": "{a} < {b} || {a} > {b}", "lt": "{a} < {b}",
           "le": "{a} <= {b}", "gt": "{a} > {b}", "ge": "{a} >= {b}"}      # False with a NaN
UNORDERED = {"equ": "!({a} < {b} || {a} > {b})", "neu": "{a} != {b}", "ltu": "!({a} >= {b})",
             "leu": "!({a} > {b})", "gtu": "!({a} <= {b})", "geu": "!({a} < {b})",
             "num": "{a} == {a} && {b} == {b}", "nan": "{a} != {a} || {b} != {b}"}   # else True
UNSIGNED = {"lo": "{a} < {b}", "ls": "{a} <= {b}", "hi": "{a} > {b}", "hs": "{a} >= {b}"}
JOINS = {"and": "&", "or": "|", "xor": "^"}
COMPARISONS = ORDERED | UNORDERED | UNSIGNED
DIRECTIONS = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}
TO_WHOLE = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}


def arithmetic(op):
    """add, mul, min, shl ...: by the type, a row of FLOATS or of INTEGERS."""
    kind = op.type()
    if op.name in CARRIED or "cc" in op.modifiers:
        return _carried(op, kind)
    return _float(op, kind) if kind[0] == "f" else _integer(op, kind)


def _integer(op, kind):
    parts = [op.name, op.take("lo", "hi", "wide", "l", "r", "shiftamt"), op.take("wrap", "clamp")]
    key = ".".join(filter(None, parts))
    if key not in INTEGERS or (kind == "pred" and key not in ("and", "or", "xor", "not")):
        raise op.unknown()
    to, types, template = INTEGERS[key]
    if key == "not" and kind == "pred":
        template = "!{a}"                       # ~true is true
    op.expect(len(types) + 1)
    kinds = {"t": kind, "i": "u32"}
    if "w" in to + types:
        kinds["w"] = kind[0] + str(2 * int(kind[1:]))
    values = {"abcd"[i]: op.value(i + 1, kinds[t]) for i, t in enumerate(types)}
    return op.set(op.operands[0], kinds[to], template.format(t=kind, line=op.line, **values))


def _carried(op, kind):
    keep, part, what = op.drop("cc"), op.take("lo", "hi"), CARRIED.get(op.name, op.name)
    if what not in CARRIED.values() or bool(part) != (what == "mad") or (
            kind not in ("u32", "s32", "u64", "s64")):
        raise op.unknown()
    op.expect(4 if part else 3)
    word, first = "u" + kind[1:], op.value(1, kind)
    last = op.value(len(op.operands) - 1, word)
    if part == "lo":
        first = f"((u64){first} * (u64){op.value(2, kind)})"
    if part == "hi":
        first = f"high_product<{kind}>({first}, {op.value(2, kind)})"
    sign = "-" if what == "sub" else "+"
    code = f"(u128)({word}){first} {sign} {last}" + f" {sign} carry" * (op.name in CARRIED)
    after = f" carry = whole >> bits<{kind}> & 1;" * keep
    return f"{{ u128 whole = {code}; {op.set(op.operands[0], kind, 'whole')}{after} }}"


def _float(op, kind):
    if op.name not in FLOATS:
        raise op.unknown()
    function, count, flops = FLOATS[op.name]
    op.expect(count + 1)
    op.drop("rn", "approx", "full")             # the CPU's are exact, or nearly: see the limits
    direction, flushed, clamped = op.take(*DIRECTIONS), op.drop("ftz"), op.drop("sat")
    values = ", ".join(op.value(i + 1, kind) for i in range(count))
    bare = op.name in ("neg", "abs")
    name = function if bare else f"{function}<{kind}>"
    if direction and bare:
        raise op.unknown()
    code = f"directed({DIRECTIONS[direction]}, {name}, {values})" if direction else (
        f"{name}({values})")
    if flushed and op.name in ("neg", "abs", "min", "max") and kind == "f32":
        code = f"flush({code})"                 # all others flush by the processor's own switch
    if clamped:
        code = f"saturated({code})"
    return (f"EMU_FLOPS({kind}, {flops}); " if flops else "") + op.set(op.operands[0], kind, code)


def dot(op):
    """dp4a: four products of bytes and a sum."""
    op.expect(4)
    b, a = op.type("u32", "s32"), op.type("u32", "s32")
    to = "s32" if "s32" in (a, b) else "u32"
    return op.set(op.operands[0], to, f"dot4({op.value(1, a)}, {op.value(2, b)}, "
                                      f"{op.value(3, 'u32')})")


def compare(op):
    """setp: a comparison, perhaps joined to an earlier one; a second target gets its contrary."""
    op.expect(3, 4)
    kind = op.type()
    op.drop("ftz")
    word, join = op.take(*COMPARISONS), op.take(*JOINS)
    if word is None or (word in UNORDERED) > (kind[0] == "f") or bool(join) != (
            len(op.operands) == 4):
        raise op.unknown()
    test = "(" + COMPARISONS[word].format(a=op.value(1, kind), b=op.value(2, kind)) + ")"
    joined = f" {JOINS[join]} {op.value(3, 'pred')}" if join else ""
    target, *second = op.operands[0].split("|")
    if not second:
        return op.set(target, "pred", test + joined)
    return (f"{{ pred first = {test}{joined}, second = !{test}{joined}; "
            f"{op.set(target, 'pred', 'first')} {op.set(second[0], 'pred', 'second')} }}")


def select(op):
    """selp: one of two values."""
    op.expect(4)
    kind = op.type()
    return op.set(op.operands[0], kind, f"{op.value(3, 'pred')} ? {op.value(1, kind)} : "
                                        f"{op.value(2, kind)}")


def convert(op):
    """cvt between integers and floats of all widths, with its roundings and saturations."""
    op.expect(2)
    source, to = op.type(), op.type()
    whole, direction = op.take(*TO_WHOLE), op.take("rn", *DIRECTIONS)
    flushed, clamped = op.drop("ftz"), op.drop("sat")
    from_float, to_float = source[0] == "f", to[0] == "f"
    needs_whole, may_whole = from_float and not to_float, from_float and source == to
    if bool(whole) != needs_whole and not (whole and may_whole) or clamped and not to_float:
        raise op.unknown()
    code = op.value(1, source)
    if flushed and source == "f32":
        code = f"flush({code})"
    if whole:
        code = f"{TO_WHOLE[whole]}({code})"
    if needs_whole:
        code = f"to_integer<{to}>({code})"
    elif direction in DIRECTIONS:
        code = f"directed({DIRECTIONS[direction]}, converted<{to}, {source}>, {code})"
    else:
        code = f"({to})({code})"
    if clamped:
        code = f"saturated({code})"
    return op.set(op.operands[0], to, f"flush({code})" if flushed and to == "f32" else code)


def move(op):
    """mov, also from and to the parts of a register: mov.b64 %rd1, {%r1, %r2}."""
    op.expect(2)
    kind, target, source = op.type(), *op.operands
    if target[0] == "{":
        names = members(target)
        part = int(kind[1:]) // len(names)
        sets = (op.set(name, f"b{part}", f"whole >> {part * i}") for i, name in enumerate(names))
        return f"{{ {kind} whole = {op.value(1, kind)}; {' '.join(sets)} }}"
    if source[0] == "{":
        names = members(source)
        part = int(kind[1:]) // len(names)
        words = (f"(u64){op.scope.value(name, f'b{part}')} << {part * i}"
                 for i, name in enumerate(names))
        return op.set(target, kind, " | ".join(words))
    return op.set(target, kind, op.value(1, kind))
