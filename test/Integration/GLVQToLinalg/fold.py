# Products whose generator was folded into the activations, executed through
# the reference lowering of what remains, against numpy versions of the
# formulas: every linear code, mixed widths, shorter last groups, slots whose
# fields leave the ends of words free, batches of 1, 5 and 2.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 26 weights: folded products agree

import subprocess
import sys

import numpy as np
from helpers import Binary, Lattice, Program, Trellis, add_products

rng = np.random.default_rng(3)


class LatticeWeight(Lattice):
    def parts(self):
        return {"codes": self.codes(), **self.params()}


weights = [Trellis(rng, *case) for case in [
    (12, 2, 128, 70, 9),
    (12, 1, 32, 96, 5),
    (16, 3, 20, 77, 3),
    (8, 8, 5, 11, 2),
    (1, 1, 8, 3, 3),
    (7, 2, 1, 5, 6),
    (12, [1, 1, 2, 3], 32, 128, 5),
    (12, [2, 2, 4, 1], 20, 75, 4),
    (6, [3, 3], 16, 32, 3),
]]  # fmt: skip
weights += [Binary(rng, *case) for case in [
    (8, 16, 32, 96, 4),
    (8, 12, 24, 50, 3),
    (32, 64, 64, 100, 2),
    (4, 7, 20, 33, 3),
    (1, 2, 5, 12, 2),
    (8, [12, 12, 16, 24], 16, 64, 3),
    (4, [2, 8, 5], 12, 30, 3),
    (2, [3, 3], 6, 12, 2),
]]  # fmt: skip
weights += [LatticeWeight(rng, *case) for case in [
    (8, 2, 32, 96, 5),
    (8, 3, 32, 77, 4),
    (8, 4, 24, 50, 3),
    (8, 5, 40, 33, 3),  # one group, and a shorter one
    (1, 8, 40, 40, 3),
    (3, 2, 12, 29, 3),  # 24 bits in each word
    (16, 1, 64, 100, 4),
    (8, [1, 2, 2, 3], 32, 128, 4),
    (8, [2, 4, 4, 1], 32, 100, 4),
]]  # fmt: skip

program = Program(sys.argv[1], ["--glvq-fold-generator", "--cse"])
inputs = []
for number, w in enumerate(weights):
    x = rng.normal(size=((1, 5, 2)[number % 3], w.columns)).astype(np.float32)
    init = rng.normal(size=(len(x), w.rows)).astype(np.float32)
    inputs.append((x, init))
    add_products(program, w, x, init)
# Nothing is left unfolded: the codes of all products are integers.
folded = subprocess.run(
    ["glvq-opt", "--glvq-fold-generator", "--mlir-print-op-generic"],
    input="\n".join(program.functions),
    capture_output=True,
    text=True,
)
assert folded.returncode == 0, folded.stderr
products = [line for line in folded.stdout.splitlines() if '"glvq.matmul"' in line]
assert products and all("#integer" in line or "#glvq.integer" in line for line in products)

results = program.run()
for w, (x, init), product in zip(weights, inputs, results[1::2], strict=True):
    want = init + x @ w.decoded().T
    np.testing.assert_allclose(product, want, rtol=1e-4, atol=1e-3, err_msg=f"{w.code}, {w.rows} x {w.columns}")
print(f"{len(weights)} weights: folded products agree")
