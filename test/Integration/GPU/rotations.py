# The device kernel of rotations, executed on the host against one dense matrix:
# odd factors, powers of two, both directions, every dimension, and a size that
# does not fit into shared memory.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 38 rotations agree

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from emulated import EmulatedProgram
from helpers import hadamard, tensor_type

rng = np.random.default_rng(7)
program, expected = EmulatedProgram(sys.argv[1]), []
for n in (1, 2, 3, 7, 12, 36, 64, 97, 576, 12800):
    for case, inverse in enumerate((False, True, False, True)):
        if n > 12288 and case > 1:
            continue
        shape, dimension = [((n,), 0), ((2, n), 1), ((n, 3), 0), ((2, n, 2), 1)][case]
        x = rng.normal(size=shape).astype(np.float32)
        words = rng.integers(0, 2**32, size=-(-n // 32), dtype=np.uint32)
        signs = np.array([-1.0 if words[j // 32] >> (j % 32) & 1 else 1.0 for j in range(n)])
        if case == 2:
            signs[:] = 1
        matrix = np.diag(signs) @ hadamard(n) if inverse else hadamard(n) @ np.diag(signs)
        dynamic = tuple(d for d in range(len(shape)) if d != dimension)
        attribute = "" if case == 2 else f"signs(%signs : tensor<{len(words)}xi32>)"
        program.add(
            f"  %result = glvq.hadamard %x {attribute} dimension {dimension} "
            f"{'inverse' if inverse else ''} : {tensor_type(x, dynamic)}",
            {"x": x, "signs": words},
            x,
            dynamic,
        )
        along = np.moveaxis(x.astype(np.float64), dimension, -1) @ matrix.T
        expected.append(np.moveaxis(along, -1, dimension))

for got, want in zip(program.run(), expected, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
print(f"{len(expected)} rotations agree")
