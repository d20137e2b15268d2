# Lattice, trellis and binary codes on the (emulated) GPU with f16 activations:
# glvq-fold-generator, kernels for folds and products of packed integers,
# against numpy versions of the formulas. Mixed widths, shorter last groups,
# batches of 1, 5 and 2.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 19 weights: folded products agree

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from emulated import EmulatedProgram
from helpers import Binary, Lattice, Trellis, add_products

rng = np.random.default_rng(3)


class LatticeWeight(Lattice):
    def parts(self):
        return {"codes": self.codes(), **self.params()}


weights = [Trellis(rng, *case) for case in [
    (12, 2, 128, 70, 41),
    (12, 1, 32, 96, 300),  # more rows than threads of a block
    (16, 3, 20, 77, 3),
    (1, 1, 8, 3, 3),
    (7, 2, 1, 5, 6),
    (12, [1, 1, 2, 3], 32, 128, 5),
    (12, [2, 2, 4, 1], 20, 75, 4),
]]  # fmt: skip
weights += [Binary(rng, *case) for case in [
    (8, 16, 32, 96, 4),
    (8, 12, 24, 50, 3),
    (8, [12, 12, 16, 24], 16, 64, 3),
]]  # fmt: skip
weights += [LatticeWeight(rng, *case) for case in [
    (8, 2, 96, 576, 70),
    (8, 2, 32, 96, 5),
    (8, 3, 32, 77, 4),
    (8, 4, 24, 50, 3),
    (8, 5, 40, 33, 3),  # one group, and a shorter one
    (1, 8, 40, 40, 3),
    (16, 1, 64, 100, 4),
    (8, [1, 2, 2, 3], 32, 128, 4),
    (8, [2, 4, 4, 1], 32, 100, 4),
]]  # fmt: skip

program = EmulatedProgram(sys.argv[1], "f16")
inputs = []
for number, w in enumerate(weights):
    x = rng.normal(size=((1, 5, 2)[number % 3], w.columns)).astype(np.float32)
    init = rng.normal(size=(len(x), w.rows)).astype(np.float32)
    inputs.append((x, init))
    add_products(program, w, x, init)
for w, (x, init), product in zip(weights, inputs, program.run()[1::2], strict=True):
    want = init + x @ w.decoded().T
    # Folded activations are rounded to halves.
    bound = 2e-4 + 2.0**-10 * np.sqrt(w.columns) * np.abs(w.decoded()).max() * np.abs(x).max()
    np.testing.assert_allclose(product, want, rtol=1e-4, atol=bound, err_msg=f"{w.code}, {w.rows} x {w.columns}")
print(f"{len(weights)} weights: folded products agree")
