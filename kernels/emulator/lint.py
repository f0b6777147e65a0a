"""Mistakes in the host code of a CUDA twin that can be seen without running it.

    check("kernels/ch05_bm25_cuda.py")  ->  ["kernels/ch05_bm25_cuda.py:41: ...", ...]

Names that CuPy lacks and keywords that its functions do not take; waiting for the device in a loop
(allowed on a line that says `# sync: why`); Python numbers among a kernel's arguments; kernels that
cannot run without a GPU.  Only what can be told is told: host values cause no complaint.
"""
import ast
from pathlib import Path

from kernels.emulator import cupy_names as names
from kernels.emulator.cupy_functions import OWN_KERNELS, WAITS
from kernels.emulator.lint_kinds import DEVICE, NUMBER, TO_HOST, Kinds, bound_names

CONVERSIONS = {"float", "int", "bool", "complex", "str", "repr", "print", "min", "max", "sum",
               "list", "tuple", "sorted", "any", "all"}        # each looks at the values
GET_KEYWORDS = ("stream", "order", "out", "blocking")          # other things have a get() too
ALLOWED = "# sync: "


def check(path):
    """The mistakes in a file of host code -> sorted list of "file:line: what"."""
    text = Path(path).read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    waiting = waiting_functions(tree)
    reader = Reader(tree, lines, waiting)
    reader.visit(tree)
    return [f"{path}:{line}: {what}" for line, what in sorted(set(reader.found))]


def waiting_functions(tree):
    """Functions of the module that wait for the device, or call one that does -> set of names."""
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    waiting = set()
    while True:
        more = set()
        for node in functions:
            reader = Reader(tree, [], waiting)
            reader.in_function(node, loops=1)                  # as if it were called in a loop
            if any("in a loop" in what for _, what in reader.found):
                more.add(node.name)
        if more <= waiting:
            return waiting
        waiting |= more


class Reader(ast.NodeVisitor):
    """Goes through the code in its order, and knows which names hold device arrays or numbers."""

    def __init__(self, tree, lines, waiting):
        self.kinds, self.lines, self.waiting = Kinds(tree), lines, waiting
        self.found, self.loops = [], 0

    def say(self, node, what):
        """Note a mistake."""
        self.found.append((node.lineno, what))

    def waits(self, node, what):
        """Note a wait for the device, if it stands in a loop and no comment allows it."""
        said = self.lines[node.lineno - 1:node.end_lineno]
        if self.loops and not any(ALLOWED in line for line in said):
            self.say(node, f"{what} in a loop: it waits for the device each time (say "
                           f"`{ALLOWED}why` if it must)")

    # Where code runs again and again.

    def in_function(self, node, loops=0):
        """A function's body, with names of its own."""
        outside, before = self.kinds.known, self.loops
        self.kinds.known, self.loops = {**outside, **self.kinds.parameters(node)}, loops
        for statement in node.body:
            self.visit(statement)
        self.kinds.known, self.loops = outside, before

    def visit_FunctionDef(self, node):
        for part in (*node.decorator_list, *node.args.defaults):
            self.visit(part)
        self.in_function(node)

    def visit_Lambda(self, node):
        outside = self.kinds.known
        self.kinds.known = {**outside, **self.kinds.parameters(node)}
        self.visit(node.body)
        self.kinds.known = outside

    def repeated(self, parts):
        """Code of a loop: a name means what it means before the loop and after a turn of it."""
        before, found = dict(self.kinds.known), self.found
        self.loops += 1
        self.found = []
        for part in parts:
            self.visit(part)
        self.kinds.merge(before)
        self.found = found
        for part in parts:
            self.visit(part)
        self.loops -= 1
        self.kinds.merge(before)

    def visit_For(self, node):
        self.visit(node.iter)
        self.kinds.bind(node.target, self.kinds.element(node.iter))
        self.repeated(node.body)
        for statement in node.orelse:
            self.visit(statement)

    def visit_While(self, node):
        self.repeated([ast.copy_location(ast.If(node.test, node.body, []), node.test)])
        for statement in node.orelse:
            self.visit(statement)

    def _comprehension(self, node):
        first, outside = node.generators[0], self.kinds.known
        self.visit(first.iter)
        self.kinds.known = dict(outside)
        self.loops += 1
        for part in node.generators:
            if part is not first:
                self.visit(part.iter)
            self.kinds.bind(part.target, self.kinds.element(part.iter))
            for test in part.ifs:
                self.truth(test)
                self.visit(test)
        for field in ("elt", "key", "value"):
            if hasattr(node, field):
                self.visit(getattr(node, field))
        self.loops -= 1
        self.kinds.known = outside

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    # What names come to mean.

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            self.kinds.assign(target, node.value)

    def visit_NamedExpr(self, node):
        self.visit(node.value)
        self.kinds.assign(node.target, node.value)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)
            self.kinds.assign(node.target, node.value)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        self.visit(node.target)
        if isinstance(node.target, ast.Name):
            self.kinds.bind(node.target, self.kinds.of(
                ast.copy_location(ast.BinOp(node.target, node.op, node.value), node)))

    def visit_If(self, node):
        self.truth(node.test)
        self.visit(node.test)
        before = dict(self.kinds.known)
        for statement in node.body:
            self.visit(statement)
        after, self.kinds.known = self.kinds.known, before
        for statement in node.orelse:
            self.visit(statement)
        self.kinds.merge(after)

    def visit_With(self, node):
        for item in node.items:
            self.visit(item.context_expr)
            for name in bound_names(item.optional_vars):
                self.kinds.known[name] = None
        for statement in node.body:
            self.visit(statement)

    # Where values are looked at.

    def truth(self, test):
        """A device array that decides a branch."""
        if self.kinds.of(test) == DEVICE:
            self.waits(test, f"`{ast.unparse(test)}` decides")

    def visit_IfExp(self, node):
        self.truth(node.test)
        self.generic_visit(node)

    def visit_Assert(self, node):
        self.truth(node.test)
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        for value in node.values[:-1]:                         # the last is looked at by who asks
            self.truth(value)
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, ast.Not):
            self.truth(node.operand)
        self.generic_visit(node)

    def visit_FormattedValue(self, node):
        if self.kinds.of(node.value) == DEVICE:
            self.waits(node.value, f"`{ast.unparse(node.value)}` is printed")
        self.generic_visit(node)

    # Names and calls.

    def visit_Import(self, node):
        for alias in node.names:
            if alias.name.split(".")[0] == "cupyx":
                self.say(node, "cupyx: the emulator does not have it")

    def visit_ImportFrom(self, node):
        if (node.module or "").split(".")[0] == "cupyx":
            self.say(node, "cupyx: the emulator does not have it")
        if (node.module or "").split(".")[0] == "cupy":
            for alias in node.names:
                self.name(node, self.kinds.aliases[alias.asname or alias.name])

    def name(self, node, dotted):
        """A name of CuPy's."""
        if names.exists(dotted) is False:
            self.say(node, f"CuPy {names.VERSION} has no cupy.{dotted}")
        if dotted in OWN_KERNELS:
            self.say(node, f"cupy.{dotted}: it cannot run without a GPU; write a kernel in the .cu "
                           "file")

    def visit_Attribute(self, node):
        dotted = self.kinds.dotted(node)
        if dotted is not None:
            self.name(node, dotted)
        else:
            method = f"ndarray.{node.attr}"
            if self.kinds.of(node.value) == DEVICE and not names.exists(method):
                self.say(node, f"CuPy {names.VERSION} has no cupy.{method}")
            self.visit(node.value)

    def visit_Call(self, node):
        self.generic_visit(node)
        dotted = self.kinds.dotted(node.func)
        if dotted is None and isinstance(node.func, ast.Attribute):
            if self.kinds.of(node.func.value) == DEVICE:
                dotted = f"ndarray.{node.func.attr}"
        if dotted and names.exists(dotted) and names.signature(dotted):
            self.arguments(node, dotted)
        self.synchronisation(node, dotted)
        if self.kinds.is_kernel(node.func):
            self.launch(node)

    def arguments(self, node, dotted):
        """Do the arguments fit the function?"""
        keywords = {k.arg: None for k in node.keywords if k.arg}
        open_ended = len(keywords) < len(node.keywords) or any(
            isinstance(a, ast.Starred) for a in node.args)
        try:
            if open_ended:
                names.signature(dotted).bind_partial(**keywords)
            else:
                names.bind(dotted, node.args, keywords)
        except TypeError as error:
            self.say(node, str(error))

    def synchronisation(self, node, dotted):
        """Calls that wait for the device."""
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        own = isinstance(node.func, ast.Name) and called not in self.kinds.known
        if own and called in self.waiting:
            self.waits(node, f"{called}(), which waits for the device,")
        elif dotted and (dotted == "asnumpy" or dotted in WAITS or last in TO_HOST):
            self.waits(node, f"{called}()")
        elif isinstance(node.func, ast.Attribute) and (
                last == "synchronize" or last == "get" and not node.args
                and all(k.arg in GET_KEYWORDS for k in node.keywords)):
            self.waits(node, f"{called}()")
        elif own and called in CONVERSIONS and any(
                self.kinds.of(a) == DEVICE for a in node.args):
            self.waits(node, f"{called}() of a device array")

    def launch(self, node):
        """kernel(grid, block, args): tuples, and no Python numbers among the arguments."""
        given = dict(zip(("grid", "block", "args"), node.args, strict=False))
        given |= {k.arg: k.value for k in node.keywords}
        for word in ("grid", "block"):
            if isinstance(given.get(word), ast.List | ast.ListComp | ast.Constant):
                self.say(given[word], f"{word}: CuPy takes a tuple")
        values = given.get("args")
        for i, value in enumerate(getattr(values, "elts", ())):
            if self.kinds.of(value) == NUMBER:
                self.say(value, f"argument {i} of a kernel, `{ast.unparse(value)}`, is a Python "
                                "number: write np.int32(...) or np.float32(...)")
