"""Mutants: the reference with one mistake, patched on its syntax tree.

The tree, not the text: a mutant follows reformatting and comments, and when the reference is
rewritten it fails with "found 0 times" in place of quietly testing nothing.
"""
import ast
import collections
import copy
import functools
import importlib
import inspect
import types

from primer.exercises.expectations import Guarded
from primer.exercises.kit import Effort, Hang, UnsatisfiedAssumption, alarm, quiet, sample


def _parse_one(text):
    (node,) = ast.parse(text).body
    return node.value if isinstance(node, ast.Expr) else node


class _Swap(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new, self.hits = ast.dump(_parse_one(old)), new, 0

    def visit(self, node):
        is_line = isinstance(node, ast.Expr)
        if not isinstance(node, ast.expr | ast.stmt) or self.old != ast.dump(
                node.value if is_line else node):
            return self.generic_visit(node)
        self.hits += 1
        new = _parse_one(self.new)
        return ast.copy_location(ast.Expr(new) if is_line and isinstance(new, ast.expr) else new,
                                 node)


@functools.cache
def _source(reference):
    return inspect.getsource(importlib.import_module(reference))


def _function(tree, name):
    return next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name),
                None)


def build(exercise, mutant):
    """The reference module with one mistake in it, made once -> module.

    Raises LookupError unless `mutant.old` stands in the function exactly once.
    """
    return _built(exercise.id, exercise.reference, mutant)


@functools.cache
def _built(exercise_id, reference, mutant):
    tree = ast.parse(_source(reference))
    function = _function(tree, mutant.function)
    if function is None:
        raise LookupError(f"{exercise_id}: no function {mutant.function} to put a mistake in")
    swap = _Swap(mutant.old, mutant.new)
    function.body = [swap.visit(statement) for statement in function.body]
    if swap.hits != 1:
        raise LookupError(f"{exercise_id}: `{mutant.old}` stands {swap.hits} times in "
                          f"{mutant.function}, expected once")
    ast.fix_missing_locations(function)
    return _execute(tree, reference, mutant.mistake)


def _execute(tree, name, mistake):
    """The whole module runs, so that callers of the patched function see the mistake too."""
    module = types.ModuleType(name)
    exec(compile(tree, f"<{name} with a mistake: {mistake}>", "exec"), module.__dict__)
    return module


# One change at a time, everywhere: what no property notices is a gap, or changes nothing.
SWAPS = {ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add, ast.Mult), ast.Mult: (ast.Div, ast.Add),
         ast.Div: (ast.Mult, ast.Sub), ast.FloorDiv: (ast.Mult, ast.Add), ast.Mod: (ast.Mult,),
         ast.Pow: (ast.Mult, ast.Add), ast.MatMult: (ast.Mult,), ast.BitXor: (ast.BitOr,),
         ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.And: (ast.Or,), ast.Or: (ast.And,),
         ast.USub: (ast.UAdd,), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
         ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Eq: (ast.NotEq,),
         ast.NotEq: (ast.Eq,)}


def _spares(node):
    """Whether a change in there would be of no consequence to an answer: words, what refuses bad
    input (an exercise is about good input), and np.clip, here a guard against rounding."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return name == "clip" or name.startswith(("check_", "as_"))
    return (isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr)
            or isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)
            or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _spots(node, around=None):
    """(node, its parent) for what a systematic mutant changes."""
    if _spares(node):
        return
    ops = [node.op] if hasattr(node, "op") else getattr(node, "ops", [])
    is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    if is_number or any(type(op) in SWAPS for op in ops) and not (
            isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)):
        yield node, around
    for child in ast.iter_child_nodes(node):
        yield from _spots(child, node)


def _changes(node):
    """(where, key, new): one change each, made by where[key] = new."""
    if isinstance(node, ast.Constant):
        yield vars(node), "value", node.value + 1
    elif isinstance(node, ast.Compare):
        yield from ((node.ops, i, new()) for i, op in enumerate(node.ops)
                    for new in SWAPS.get(type(op), ()))
    else:
        yield from ((vars(node), "op", new()) for new in SWAPS[type(node.op)])


def systematic(exercise):
    """Each operator, comparison, sign and number changed, one at a time, in an exercise's functions
    and in those that its known mistakes stand in  ->  ("function: before -> after", module), ..."""
    tree, met = ast.parse(_source(exercise.reference)), collections.Counter()
    for name in dict.fromkeys([*exercise.functions, *(m.function for m in exercise.mutants)]):
        own = None if name.startswith("check_") else _function(tree, name)
        for node, around in [s for line in (own.body if own else ()) for s in _spots(line)]:
            shown = around if hasattr(node, "value") and isinstance(around, ast.expr) else node
            before = ast.unparse(shown)
            for where, key, new in _changes(node):
                old, where[key] = where[key], new
                label = f"{name}: {before} -> {ast.unparse(shown)}"
                module = _execute(tree, exercise.reference, label)
                where[key] = old
                met[label] += 1
                yield label + f" (no. {met[label]})" * (met[label] > 1), module


def catches(prop, source, inputs):
    """Whether a property does not hold on one of these inputs: what run_property would find, in a
    tenth of its time  ->  bool."""
    impl = Guarded(source, prop.functions)
    for one in inputs:
        try:
            with quiet(), alarm(Effort.call_seconds):
                prop.check(impl, **copy.deepcopy(one))
        except UnsatisfiedAssumption:
            pass
        except (Exception, Hang):
            return True
    return False


def catcher(module, properties, seed=0):
    """The first of the properties that notices a mistake with a student's effort, or None; it is
    moved to the front, as it is likely to notice the next one."""
    found = next((p for p in properties if catches(p, module, sample(p, seed=seed))), None)
    properties.sort(key=lambda p: p is not found)
    return found
