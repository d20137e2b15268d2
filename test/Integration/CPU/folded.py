# Every linear code by the kernels of a CPU: folded activations, products with
# packed integers, filters of trellises; for vectors of 16 and 8 lanes and
# activations of f32, against numpy versions of the formulas. Additive trellises,
# which are decoded, too.
# REQUIRES: compiler, avx512
# RUN: %PYTHON %s %glvq_source/test/Integration | FileCheck %s
# CHECK: 16 lanes: 96 products, 0 wrong
# CHECK: 8 lanes: 96 products, 0 wrong

import os
import sys
import tempfile

sys.path[:0] = [os.path.join(sys.argv[1], "GLVQToLinalg"), os.path.join(sys.argv[1], "CPU", "Inputs")]

import numpy as np
from helpers import Binary, Lattice, Trellis, tensor_type
from kernels import BUFFERIZE, TO_LLVM, call_returning, compile_module, relative_error


class LatticeWeight(Lattice):
    def parts(self):
        return {"codes": self.codes(), **self.params()}


rng = np.random.default_rng(17)
weights = [Trellis(rng, *case) for case in [
    (12, 2, 128, 70, 41),
    (12, 1, 32, 96, 37),
    (16, 3, 20, 77, 50),
    (6, 4, 32, 33, 33),
    (8, 8, 5, 11, 17),
    (1, 1, 8, 3, 3),
    (32, 2, 64, 40, 18),
    (7, 2, 1, 5, 16),  # groups of one column
    (12, [1, 1, 2, 3], 32, 128, 35),
    (12, [2, 2, 4, 1], 20, 75, 34),
    (12, 2, 32, 70, 69, True),
    (6, 3, 24, 24, 32, True),
    (16, 1, 128, 40, 5, True),
    (4, [1, 2, 2], 16, 45, 37, True),
]]  # fmt: skip
weights += [Binary(rng, *case) for case in [
    (8, 16, 32, 96, 5),
    (8, 12, 24, 50, 3),
    (32, 64, 64, 100, 2),
    (4, 7, 20, 33, 3),
    (1, 2, 5, 12, 2),
    (8, [12, 12, 16, 24], 16, 64, 3),
    (4, [2, 8, 5], 12, 30, 3),
]]  # fmt: skip
weights += [LatticeWeight(rng, *case) for case in [
    (8, 2, 32, 96, 5),
    (8, 3, 32, 77, 4),
    (8, 4, 24, 50, 3),
    (8, 5, 40, 33, 3),
    (1, 8, 40, 40, 3),
    (3, 2, 12, 29, 3),
    (16, 1, 64, 100, 4),
    (20, 2, 80, 100, 4),
    (8, [1, 2, 2, 3], 32, 128, 4),
    (8, [2, 4, 4, 1], 32, 100, 4),
    (24, 4, 24, 50, 2),
]]  # fmt: skip


def function(name, weight):
    parts = weight.parts()
    x, y = f"tensor<?x{weight.columns}xf32>", f"tensor<?x{weight.rows}xf32>"
    arguments = ", ".join(f"%{n}: {tensor_type(p)}" for n, p in parts.items())
    params = {n: p for n, p in parts.items() if n != "codes"}
    return f"""
func.func @{name}(%x: {x}, {arguments}, %y: {y} {{bufferization.writable = true}}) -> {y} attributes {{llvm.emit_c_interface}} {{
  %r = glvq.matmul ins(%x : {x}) codes(%codes : {tensor_type(parts["codes"])})
    params({", ".join("%" + n for n in params)} : {", ".join(map(tensor_type, params.values()))})
    outs(%y : {y}) {{code = {weight.code}}} -> {y}
  return %r : {y}
}}
"""


text = "".join(function(f"multiply{i}", w) for i, w in enumerate(weights))
for lanes in (16, 8):
    kernels = (
        f"convert-glvq-to-vector{{vector-length={lanes} activations=f32 dot={'vnni512' if lanes == 16 else 'avx2'}}}"
    )
    passes = f"builtin.module(glvq-fold-generator,cse,glvq-pack-codes,{kernels},{BUFFERIZE},{kernels},{TO_LLVM})"
    flags = ("-O1", "-march=native" if lanes == 16 else "-march=x86-64-v3")
    wrong = count = 0
    with tempfile.TemporaryDirectory() as folder:
        library = compile_module(text, passes, folder, f"k{lanes}", flags)
        for i, w in enumerate(weights):
            for tokens in (1, 0, 5):
                x = rng.standard_normal((tokens, w.columns)).astype(np.float32)
                y = rng.standard_normal((tokens, w.rows)).astype(np.float32)
                want = y + x.astype(np.float64) @ w.decoded().T
                got = call_returning(library, f"multiply{i}", 2, x, *w.parts().values(), y)
                count += 1
                if got.shape != want.shape or (tokens and not relative_error(got, want) < 1e-4):
                    wrong += 1
                    print(
                        f"WRONG {w.code} {w.rows}x{w.columns}, {tokens} tokens: {got.shape}",
                        relative_error(got, want) if tokens else "",
                    )
    print(f"{lanes} lanes: {count} products, {wrong} wrong")
