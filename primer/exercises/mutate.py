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
