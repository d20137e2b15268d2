# Lattice codes on the (emulated) GPU with f16 activations:
# glvq-fold-generator, the fold kernel, products of packed integers, and
# scales, against the reference lowering of the same products.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 12 folded products agree

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from emulated import EmulatedProgram
from helpers import Lattice, tensor_type

rng = np.random.default_rng(3)
program = EmulatedProgram(sys.argv[1], "f16")
expected = []
CASES = [
    (8, 2, 96, 576),
    (8, 4, 32, 77),  # a shorter last group, which cuts a point
    (4, 3, 32, 100),
    (8, 1, 32, 40),
    (8, [2, 2, 2, 4], 32, 128),
    (4, [1, 3, 3, 8], 32, 128),
]
for number, (dim, widths, group, columns) in enumerate(CASES * 2):
    w = Lattice(rng, dim, widths, group, columns, int(rng.integers(1, 70)))
    tokens = 1 if number % 3 == 0 else int(rng.integers(2, 10))
    x = rng.normal(size=(tokens, columns)).astype(np.float32)
    init = rng.normal(size=(tokens, w.rows)).astype(np.float32)
    dynamic = (0,) if number % 2 else ()
    n = "?" if dynamic else tokens
    output = f"tensor<{n}x{w.rows}xf32>"
    codes, params = w.codes(), w.params()
    body = f"""  %i = tensor.cast %init : {tensor_type(init)} to {output}
  %result = glvq.matmul ins(%x : tensor<{n}x{columns}xf32>) codes(%codes : {tensor_type(codes)})
    params({", ".join("%" + p for p in params)} : {", ".join(tensor_type(p) for p in params.values())})
    outs(%i : {output}) {{code = {w.code}}} -> {output}"""
    program.add(body, {"x": x, "codes": codes, **params, "init": init}, init, dynamic)
    expected.append((init + x @ w.decoded().T, f"{w.code}, {w.rows} x {columns}"))

for got, (want, where) in zip(program.run(), expected, strict=True):
    np.testing.assert_allclose(got, want, rtol=4e-3, atol=4e-3 * np.abs(want).max(), err_msg=where)
print(f"{len(expected)} folded products agree")
