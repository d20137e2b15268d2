# The reference decoders of the trellis, binary and integer codes, executed on
# random weights (widths and sizes of every kind, mixed widths, shorter last
# groups, additive nodes) against numpy versions of the formulas.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 34 weights: decode and multiply agree

import sys

import numpy as np
from helpers import Binary, Integer, Program, Trellis, add_products

rng = np.random.default_rng(11)
weights = [Trellis(rng, *case) for case in [
    (12, 2, 128, 70, 9),
    (12, 1, 32, 96, 5),
    (16, 3, 20, 77, 3),
    (8, 4, 32, 33, 4),
    (8, 8, 5, 11, 2),
    (1, 1, 8, 3, 3),
    (32, 2, 64, 40, 1),
    (7, 2, 1, 5, 6),  # groups of one column
    (12, [1, 1, 2, 3], 32, 128, 5),
    (12, [2, 2, 4, 1], 20, 75, 4),  # the shorter group breaks the order
    (6, [3, 3], 16, 32, 3),  # one run, with an order all the same
    (12, 2, 32, 70, 5, True),
    (6, 3, 24, 24, 4, True),
    (4, [1, 2, 2], 16, 45, 3, True),
]]  # fmt: skip
weights += [Binary(rng, *case) for case in [
    (8, 16, 32, 96, 4),
    (8, 12, 24, 50, 3),  # 3/2 bits
    (8, 8, 128, 40, 2),
    (32, 64, 64, 100, 2),
    (4, 7, 20, 33, 3),
    (1, 2, 5, 12, 2),
    (3, 24, 9, 20, 2),
    (8, [12, 12, 16, 24], 16, 64, 3),
    (4, [2, 8, 5], 12, 30, 3),
    (2, [3, 3], 6, 12, 2),
]]  # fmt: skip
weights += [Integer(rng, bits, columns, 3) for bits, columns in
            [(1, 70), (2, 33), (3, 50), (4, 8), (5, 77), (6, 1), (7, 19), (8, 21), (1, 1), (3, 32)]]  # fmt: skip

program = Program(sys.argv[1])
inputs = []
for w in weights:
    x = rng.normal(size=(int(rng.integers(1, 4)), w.columns)).astype(np.float32)
    init = rng.normal(size=(len(x), w.rows)).astype(np.float32)
    inputs.append((x, init))
    add_products(program, w, x, init)
results = program.run()
for w, (x, init), decoded, product in zip(weights, inputs, results[::2], results[1::2], strict=True):
    where = f"{w.code}, {w.rows} x {w.columns}"
    want = w.decoded()
    np.testing.assert_allclose(decoded, want, rtol=2e-5, atol=2e-5, err_msg=where)
    np.testing.assert_allclose(product, init + x @ want.T, rtol=1e-4, atol=1e-3, err_msg=where)
print(f"{len(weights)} weights: decode and multiply agree")
