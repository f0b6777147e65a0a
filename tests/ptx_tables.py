"""A table of expressions, CUDA C -> Python, as a kernel: thread i writes column i of results."""
import numpy as np


def kernel(name, element, result, rows):
    """CUDA C of a kernel that evaluates every row's expression in a, b and c."""
    lines = "\n".join(f"  out[{k}LL * n + i] = {code};" for k, code in enumerate(rows))
    return f"""
extern "C" __global__ void {name}(const {element}* x, const {element}* y, const {element}* z,
                                  {result}* out, int n)
{{
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const {element} a = x[i], b = y[i], c = z[i];
{lines}
}}
"""


def assembly(name, instruction, operands):
    """CUDA C of a device function on ints that is one instruction of PTX."""
    letters = "abcd"[:operands]
    places = ", ".join(f"%{i}" for i in range(operands + 1))
    inputs = ", ".join(f'"r"({x})' for x in letters)
    return f"""
__device__ int {name}({", ".join(f"int {x}" for x in letters)})
{{
  int out;
  asm("{instruction} {places};" : "=r"(out) : {inputs});
  return out;
}}
"""


def evaluate(module, name, columns, dtype, rows):
    """Run the table's kernel on three columns (n,) -> (rows, n) results."""
    n = len(columns[0])
    out = np.zeros((len(rows), n), dtype)                                          # (rows, n)
    module.get_function(name)((-(-n // 32),), (32,), (*columns, out, np.int32(n)))
    return out
