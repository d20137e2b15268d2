# The device kernels of products, executed on the host (their own IR, with their
# own launches) against numpy: all widths, mixed ones, shorter last groups,
# columns that cut a lattice point, companders, odd numbers of rows and tokens.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 40 products agree

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from emulated import EmulatedProgram
from helpers import Lattice, tensor_type

rng = np.random.default_rng(11)
CASES = [(8, b, 32, 96, "none") for b in range(1, 9)]
CASES += [
    (8, 2, 96, 576, "none"),  # 128-bit loads
    (8, 3, 128, 1024, "none"),
    (8, 3, 40, 200, "none"),  # fields straddle words, segments are padded
    (8, 5, 24, 77, "none"),  # a shorter last group, which cuts a point
    (4, 7, 20, 33, "mu_law"),
    (1, 4, 16, 40, "none"),
    (3, 2, 12, 29, "affine"),
    (16, 2, 64, 100, "none"),
    (2, 3, 6, 1, "none"),  # one column
    (8, [1, 1, 2, 3], 32, 128, "none"),
    (8, [2, 2, 2, 4, 1], 32, 140, "none"),  # the shorter group breaks the order
    (8, [1, 3, 3, 7, 8], 24, 111, "mu_law"),
    (4, [5, 6, 6], 16, 48, "affine"),
]
while len(CASES) < 40:
    dim = int(rng.choice([1, 2, 4, 5, 8, 12]))
    group = dim * int(rng.integers(1, 9))
    columns = int(rng.integers(1, 150))
    widths = int(rng.integers(1, 9))
    if rng.random() < 0.5:
        widths = sorted(int(b) for b in rng.integers(1, 9, -(-columns // group)))
    CASES.append((dim, widths, group, columns, ["none", "mu_law", "affine"][len(CASES) % 3]))

program = EmulatedProgram(sys.argv[1])
expected = []
for number, (dim, widths, group, columns, compander) in enumerate(CASES):
    w = Lattice(rng, dim, widths, group, columns, int(rng.integers(1, 70)), compander)
    tokens = 1 if number % 3 == 0 else int(rng.integers(2, 10))
    x = rng.normal(size=(tokens, columns)).astype(np.float32)
    init = rng.normal(size=(tokens, w.rows)).astype(np.float32)
    codes, params = w.codes(), w.params()
    # Tokens are dynamic in every other program; so are the two ways to start.
    dynamic = (0,) if number % 2 else ()
    n = "?" if dynamic else tokens
    output, zero = f"tensor<{n}x{w.rows}xf32>", number % 4 < 2
    body = f"  %i = tensor.cast %init : {tensor_type(init)} to {output}\n"
    if zero:
        body += f"  %z = arith.constant 0.0 : f32\n  %j = linalg.fill ins(%z : f32) outs(%i : {output}) -> {output}\n"
    body += f"""  %result = glvq.matmul ins(%x : tensor<{n}x{columns}xf32>) codes(%codes : {tensor_type(codes)})
    params({", ".join("%" + p for p in params)} : {", ".join(tensor_type(p) for p in params.values())})
    outs({"%j" if zero else "%i"} : {output}) {{code = {w.code}}} -> {output}"""
    program.add(body, {"x": x, "codes": codes, **params, "init": init}, init, dynamic)
    expected.append((init * (not zero) + x @ w.decoded().T, f"{w.code}, {w.rows} x {columns}"))

for got, (want, where) in zip(program.run(), expected, strict=True):
    size = np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * size + 1e-5, err_msg=where)
print(f"{len(expected)} products agree")
