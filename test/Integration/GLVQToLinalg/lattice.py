# The reference decoder and encoder, executed on random weights of every kind
# (widths 1 to 8, mixed widths, shorter last groups, columns that cut a lattice
# point, companders) against numpy versions of the formulas.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 36 weights: decode, multiply and encode agree

import sys

import numpy as np
from helpers import Lattice, Program, tensor_type

rng = np.random.default_rng(2024)
CASES = [(8, b, 32, 96, "none") for b in range(1, 9)]
CASES += [
    (8, 3, 40, 200, "none"),  # fields straddle words, segments are padded
    (8, 5, 24, 77, "none"),  # a shorter last group, which cuts a point
    (4, 7, 20, 33, "mu_law"),
    (1, 4, 16, 40, "none"),
    (3, 2, 12, 29, "affine"),
    (16, 2, 64, 100, "none"),
    (8, 2, 96, 40, "none"),  # one group, and a shorter one
    (2, 3, 6, 1, "none"),  # one column
    (8, [1, 1, 2, 3], 32, 128, "none"),
    (8, [2, 2, 2, 4, 1], 32, 140, "none"),  # the shorter group breaks the order
    (8, [1, 3, 3, 7, 8], 24, 111, "mu_law"),
    (4, [5, 6, 6], 16, 48, "affine"),
    (8, [2, 3], 16, 20, "affine"),
    (8, [3, 3], 16, 32, "none"),  # one run, with an order all the same
]
while len(CASES) < 36:
    dim = int(rng.choice([1, 2, 4, 5, 8, 12]))
    group = dim * int(rng.integers(1, 9))
    columns = int(rng.integers(1, 150))
    slots = -(-columns // group)
    widths = int(rng.integers(1, 9))
    if rng.random() < 0.5:
        widths = sorted(int(b) for b in rng.integers(1, 9, slots))
    compander = ["none", "mu_law", "affine"][int(rng.integers(3))]
    CASES.append((dim, widths, group, columns, compander))

program = Program(sys.argv[1])
weights = []
for dim, widths, group, columns, compander in CASES:
    rows = int(rng.integers(1, 6))
    w = Lattice(rng, dim, widths, group, columns, rows, compander)
    dense = (w.decoded() * rng.uniform(0.7, 1.3, size=(rows, columns))).astype(np.float32)
    x = rng.normal(size=(int(rng.integers(1, 4)), columns)).astype(np.float32)
    init = rng.normal(size=(len(x), rows)).astype(np.float32)
    weights.append((w, dense, x, init))
    codes, params = w.codes(), w.params()
    names = ", ".join("%" + name for name in params)
    types = ", ".join(tensor_type(p) for p in params.values())
    codes_type = tensor_type(codes)
    matrix, output = f"tensor<{rows}x{columns}xf32>", f"tensor<?x{rows}xf32>"
    program.add(
        f"""  %w = glvq.assemble %codes, {names} : {codes_type}, {types} to {w.type}
  %result = glvq.decode %w : {w.type} to {matrix}""",
        {"codes": codes, **params},
        w.decoded().astype(np.float32),
    )
    program.add(
        f"""  %i = tensor.cast %init : tensor<{len(x)}x{rows}xf32> to {output}
  %result = glvq.matmul ins(%x : tensor<?x{columns}xf32>) codes(%codes : {codes_type})
    params({names} : {types}) outs(%i : {output}) {{code = {w.code}}} -> {output}""",
        {"x": x, "codes": codes, **params, "init": init},
        init,
        dynamic=(0,),
    )
    program.add(
        f"""  %w = glvq.encode %dense, {names} : {matrix}, {types} to {w.type}
  %result, %p:{len(params)} = glvq.disassemble %w : {w.type} to {codes_type}, {types}""",
        {"dense": dense, **params},
        codes,
    )

results = program.run()
num_close = num_fields = 0
for i, (w, dense, x, init) in enumerate(weights):
    decoded, product, codes = results[3 * i : 3 * i + 3]
    where = f"{w.code}, {w.rows} x {w.columns}"
    want = w.decoded()
    np.testing.assert_allclose(decoded, want, rtol=2e-5, atol=2e-5, err_msg=where)
    np.testing.assert_allclose(product, init + x @ want.T, rtol=1e-4, atol=2e-4, err_msg=where)
    for s, u in enumerate(w.unpack(codes)):
        half = 2 ** (w.widths[s] - 1)
        t = w.rounded(dense, s) - 0.5
        expected = np.clip(np.rint(t) + half, 0, 2 * half - 1)
        close = np.abs(np.abs(t - np.floor(t)) - 0.5) < 1e-3  # a tie, but for the last bits
        num_close, num_fields = num_close + close.sum(), num_fields + close.size
        np.testing.assert_array_equal(u[~close], expected[~close], err_msg=where)
assert num_close < 0.01 * num_fields
print(f"{len(weights)} weights: decode, multiply and encode agree")
