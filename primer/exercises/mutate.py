"""Mutants: the reference with one mistake, patched on its syntax tree.

The tree, not the text: a mutant follows reformatting and comments, and when the reference is
rewritten it fails with "found 0 times" in place of quietly testing nothing.
"""
import ast
import importlib
import inspect
import linecache
import types


def _parse_one(text):
    (node,) = ast.parse(text).body
    return node.value if isinstance(node, ast.Expr) else node


class _Swap(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new, self.hits = ast.dump(_parse_one(old)), new, 0

    def visit(self, node):
        if isinstance(node, ast.expr | ast.stmt) and ast.dump(node) == self.old:
            self.hits += 1
            return ast.copy_location(_parse_one(self.new), node)
        return self.generic_visit(node)


def build(exercise, mutant):
    """The reference module with one mistake in it -> module.

    Raises LookupError unless `mutant.old` stands in the function exactly once.
    """
    reference = importlib.import_module(exercise.reference)
    tree = ast.parse(inspect.getsource(reference))
    function = next((n for n in ast.walk(tree)
                     if isinstance(n, ast.FunctionDef) and n.name == mutant.function), None)
    if function is None:
        raise LookupError(f"{exercise.id}: no function {mutant.function} to put a mistake in")
    swap = _Swap(mutant.old, mutant.new)
    function.body = [swap.visit(statement) for statement in function.body]
    if swap.hits != 1:
        raise LookupError(f"{exercise.id}: `{mutant.old}` stands {swap.hits} times in "
                          f"{mutant.function}, expected once")
    return _execute(ast.fix_missing_locations(tree), reference.__name__, mutant.mistake)


def _execute(tree, name, mistake):
    """The whole module runs, so that callers of the patched function see the mistake too."""
    text, file = ast.unparse(tree), f"<{name} with a mistake: {mistake}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)   # for tracebacks
    module = types.ModuleType(name)
    exec(compile(text, file, "exec"), module.__dict__)
    return module


# One change at a time, everywhere: what no property notices is a gap, or changes nothing.
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
         ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
         ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}


def _spots(function):
    """The nodes of a function that a systematic mutant changes."""
    for statement in function.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue                                                  # the docstring
        for node in ast.walk(statement):
            if isinstance(node, ast.Raise | ast.JoinedStr):
                continue
            if (isinstance(node, ast.BinOp) and type(node.op) in SWAPS
                    or isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS
                    or isinstance(node, ast.Constant) and type(node.value) in (int, float)):
                yield node


def systematic(exercise):
    """Each operator, comparison and number of an exercise's functions changed, one at a time
    ->  ("function: before -> after", module), ..."""
    reference = importlib.import_module(exercise.reference)
    text = inspect.getsource(reference)

    def function(tree, name):
        return next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name),
                    None)

    for name in exercise.functions:
        own = function(ast.parse(text), name)
        for i in range(len(list(_spots(own))) if own else 0):
            tree = ast.parse(text)
            node = list(_spots(function(tree, name)))[i]
            before = ast.unparse(node)
            if isinstance(node, ast.BinOp):
                node.op = SWAPS[type(node.op)]()
            elif isinstance(node, ast.Compare):
                node.ops[0] = SWAPS[type(node.ops[0])]()
            else:
                node.value += 1
            label = f"{name}: {before} -> {ast.unparse(node)}"
            yield label, _execute(ast.fix_missing_locations(tree), reference.__name__, label)
