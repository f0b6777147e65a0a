"""What a name or an expression of host code holds, as far as its text tells.

A device array, a Python number, a shape (a tuple of numbers), a kernel; or None: it cannot be told.
"""
import ast

from kernels.emulator import cupy_names as names
from kernels.emulator.cupy_functions import HOST

DEVICE, NUMBER, SHAPE, KERNEL = "device", "number", "shape", "kernel"
TO_HOST = {"get", "item", "tolist", "tobytes"}                 # methods that bring values back
NO_ARRAY = HOST | {"array2string", "array_repr", "array_str", "asnumpy", "clear_memo", "copyto",
                   "fill_diagonal", "get_array_module", "get_default_memory_pool",
                   "get_default_pinned_memory_pool", "memoize", "place", "put", "putmask", "save",
                   "savez", "show_config"}
SEVERAL = {"array_split", "atleast_1d", "atleast_2d", "atleast_3d", "average", "broadcast_arrays",
           "divmod", "dsplit", "frexp", "gradient", "histogram", "histogram2d", "histogramdd",
           "hsplit", "ix_", "linspace", "meshgrid", "modf", "nonzero", "split", "unique",
           "unique_all", "unique_counts", "unique_inverse", "unravel_index", "vsplit", "where",
           "linalg.eig", "linalg.eigh", "linalg.lstsq", "linalg.qr", "linalg.slogdet", "linalg.svd",
           "ndarray.nonzero", "polyfit"}                       # results may be several arrays
NUMBERS = {"len", "int", "float", "bool", "round", "ord"}      # builtins that give a number


def bound_names(target):
    """The names that a target binds -> list of str."""
    return [n.id for n in ast.walk(target) if isinstance(n, ast.Name)] if target else []


class Kinds:
    """Names and what they hold at this point; `aliases` are local names of CuPy's."""

    def __init__(self, tree):
        self.known, self.aliases = {}, {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for a in node.names:
                    if a.name.split(".")[0] == "cupy":
                        dotted = a.name.partition(".")[2] if a.asname else ""
                        self.aliases[a.asname or "cupy"] = dotted
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cupy":
                inside = node.module.partition(".")[2]
                for a in node.names:
                    self.aliases[a.asname or a.name] = f"{inside}.{a.name}".lstrip(".")

    def dotted(self, node):
        """cp.linalg.norm -> "linalg.norm", whatever cp is called; None if it is not CuPy's."""
        if isinstance(node, ast.Name):
            own = node.id in self.aliases and node.id not in self.known
            return self.aliases[node.id] if own else None
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return None if owner is None else f"{owner}.{node.attr}".lstrip(".")
        return None

    # Binding.

    def parameters(self, node):
        """What a function's parameters hold: a number if that is the default -> dict."""
        a = node.args
        plain = [*a.posonlyargs, *a.args]
        held = dict.fromkeys(p.arg for p in (*plain, *a.kwonlyargs))
        pairs = [*zip(plain[len(plain) - len(a.defaults):], a.defaults, strict=True),
                 *zip(a.kwonlyargs, a.kw_defaults, strict=True)]
        for parameter, default in pairs:
            held[parameter.arg] = self.of(default) if default is not None else None
        return held | dict.fromkeys(p.arg for p in (a.vararg, a.kwarg) if p)

    def bind(self, target, kind):
        """A name, or several that are alike, holds a kind from now on."""
        if isinstance(target, ast.Name):
            self.known[target.id] = kind
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.bind(part, kind)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, None)

    def assign(self, target, value):
        """target = value; pairs of tuples one by one."""
        if isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                for part, own in zip(target.elts, [self.of(v) for v in value.elts], strict=True):
                    self.bind(part, own)
                return
            self.bind(target, self.element(value))
        else:
            self.bind(target, self.of(value))

    def merge(self, other):
        """After a branch: a name holds what it holds on both ways."""
        one = self.known
        self.known = {name: one.get(name) if one.get(name) == other.get(name) else None
                      for name in {**other, **one}}

    # Telling.

    def of(self, node):
        """What an expression holds -> DEVICE, NUMBER, SHAPE, KERNEL or None."""
        tell = getattr(self, f"_{type(node).__name__}", None)
        return tell(node) if tell else None

    def element(self, node):
        """What each of the values holds that an expression gives one by one."""
        kind = self.of(node)
        if kind in (DEVICE, SHAPE):
            return DEVICE if kind == DEVICE else NUMBER
        if isinstance(node, ast.Call):
            if self.dotted(node.func) in SEVERAL:
                return DEVICE
            if isinstance(node.func, ast.Name) and node.func.id == "range":
                return NUMBER
        return None

    def is_kernel(self, node):
        """module.get_function("name"), or a name for it."""
        return self.of(node) == KERNEL

    def _Name(self, node):
        return self.known.get(node.id)

    def _Constant(self, node):
        return NUMBER if isinstance(node.value, int | float | complex) else None

    def _Attribute(self, node):
        if node.attr in ("size", "ndim", "nbytes", "itemsize") and self.dotted(node) is None:
            return NUMBER
        if node.attr == "shape":
            return SHAPE
        own = self.of(node.value) == DEVICE and node.attr in ("T", "mT", "real", "imag")
        return DEVICE if own else None

    def _Subscript(self, node):
        kind = self.of(node.value)
        if kind == SHAPE:
            return SHAPE if isinstance(node.slice, ast.Slice) else NUMBER
        return kind if kind == DEVICE else None

    def _alike(self, *nodes):
        """DEVICE if one is, NUMBER if all are."""
        kinds = [self.of(n) for n in nodes]
        if DEVICE in kinds:
            return DEVICE
        return NUMBER if all(k == NUMBER for k in kinds) else None

    def _BinOp(self, node):
        return self._alike(node.left, node.right)

    def _UnaryOp(self, node):
        if isinstance(node.op, ast.Not):
            return NUMBER
        return self._alike(node.operand)

    def _Compare(self, node):
        if any(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops):
            return NUMBER
        return self._alike(node.left, *node.comparators)

    def _IfExp(self, node):
        one, other = self.of(node.body), self.of(node.orelse)
        return one if one == other else None

    def _BoolOp(self, node):
        kinds = {self.of(v) for v in node.values}
        return kinds.pop() if len(kinds) == 1 else None

    def _Call(self, node):
        dotted = self.dotted(node.func)
        if dotted is not None:
            array = names.NAMES.get(dotted, "").startswith(("(", "ufunc"))
            inside = dotted.partition(".")[0] in ("cuda", "random")
            own = array and not inside and dotted not in NO_ARRAY | SEVERAL
            if dotted == "where" and len(node.args) == 3:
                own = True
            return DEVICE if own else None
        if isinstance(node.func, ast.Name):
            known = node.func.id in NUMBERS and node.func.id not in self.known
            return NUMBER if known else None
        if not isinstance(node.func, ast.Attribute):
            return None
        if node.func.attr == "get_function":
            return KERNEL
        if self.of(node.func.value) == DEVICE:
            method = f"ndarray.{node.func.attr}"
            own = names.exists(method) and node.func.attr not in TO_HOST and method not in SEVERAL
            return DEVICE if own else None
        return None
