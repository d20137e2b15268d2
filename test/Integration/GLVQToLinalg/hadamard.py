# Rotations of many sizes, along every dimension and with dynamic batches, against
# one dense matrix.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 40 rotations agree

import sys

import numpy as np
from helpers import Program, hadamard, tensor_type

rng = np.random.default_rng(7)
program, expected = Program(sys.argv[1]), []
for n in (1, 2, 3, 7, 12, 36, 64, 97, 576, 515):
    for case, inverse in enumerate((False, True, False, True)):
        shape, dimension = [((n,), 0), ((2, n), 1), ((n, 3), 0), ((2, n, 2), 1)][case]
        x = rng.normal(size=shape).astype(np.float32)
        words = rng.integers(0, 2**32, size=-(-n // 32), dtype=np.uint32)
        signs = np.array([-1.0 if words[j // 32] >> (j % 32) & 1 else 1.0 for j in range(n)])
        if case == 2:
            signs[:] = 1
        matrix = hadamard(n)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(n), atol=1e-9)
        matrix = np.diag(signs) @ matrix if inverse else matrix @ np.diag(signs)
        dynamic = tuple(d for d in range(len(shape)) if d != dimension)
        kind = tensor_type(x, dynamic)
        attribute = "" if case == 2 else f"signs(%signs : tensor<{len(words)}xi32>)"
        program.add(
            f"  %result = glvq.hadamard %x {attribute} dimension {dimension} "
            f"{'inverse' if inverse else ''} : {kind}",
            {"x": x, "signs": words},
            x,
            dynamic,
        )
        along = np.moveaxis(x.astype(np.float64), dimension, -1) @ matrix.T
        expected.append(np.moveaxis(along, -1, dimension))

for got, want in zip(program.run(), expected, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
print(f"{len(expected)} rotations agree")
