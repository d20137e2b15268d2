# Products of packed integers on (emulated) tensor cores, against numpy. With
# activations of bytes the sums are integers, so results agree to the rounding of
# the last multiplication; of halves they agree to the rounding of the halves. All
# widths, every alignment of rows, ragged columns, odd rows, batches 1 to 70,
# configurations given by hand.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib int8 | FileCheck %s
# RUN: %PYTHON %s %mlir_lib f16 | FileCheck %s
# CHECK: 56 products agree

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from emulated import EmulatedProgram
from helpers import tensor_type

rng = np.random.default_rng(5)
# bits, rows, columns, tokens, configuration
CASES = [(b, 17, 96, 1, None) for b in range(1, 9)]
CASES += [(b, 40, 200, 3, None) for b in range(1, 9)]  # fields straddle words
CASES += [(b, 16, 1024, 8, None) for b in range(1, 9)]  # 128-bit loads
CASES += [
    (2, 5, 1, 1, None),  # one column
    (3, 1, 33, 2, None),  # one row
    (2, 33, 4096, 1, None),
    (2, 300, 576, 9, None),
    (4, 31, 1536, 70, None),
    (2, 100, 640, 7, {"tiles": 4, "split": 2, "unroll": 1}),
    (2, 100, 640, 7, {"tiles": 1, "split": 1, "unroll": 4}),
    (1, 50, 777, 16, {"tiles": 3, "split": 4}),
]
while len(CASES) < 56:
    CASES.append(
        (int(rng.integers(1, 9)), int(rng.integers(1, 80)), int(rng.integers(1, 700)), int(rng.integers(1, 20)), None)
    )


def pack(fields, bits):
    """Rows of fields as words: field c at bits c * bits, …"""
    rows, columns = fields.shape
    count = -(-columns * bits // 32)
    stream = np.zeros((rows, count * 32), np.uint8)
    for i in range(bits):
        stream[:, i : columns * bits : bits] = fields >> i & 1
    return np.packbits(stream, axis=1, bitorder="little").view(np.uint32)


def quantize(x):
    largest = np.abs(x).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        inverse = np.where(largest == 0, np.float32(0), np.float32(127) / largest)
    return np.rint(x * inverse).astype(np.int64), (largest / np.float32(127))


activations = sys.argv[2]
program = EmulatedProgram(sys.argv[1], activations)
expected = []
for number, (bits, rows, columns, tokens, config) in enumerate(CASES):
    fields = rng.integers(0, 2**bits, size=(rows, columns))
    codes = pack(fields, bits)
    x = rng.normal(size=(tokens, columns)).astype(np.float32)
    if number % 7 == 3:
        x[0] = 0
    init = rng.normal(size=(tokens, rows)).astype(np.float32)
    dynamic = (0,) if number % 2 else ()
    n = "?" if dynamic else tokens
    output, zero = f"tensor<{n}x{rows}xf32>", number % 4 < 2
    body = f"  %i = tensor.cast %init : {tensor_type(init)} to {output}\n"
    if zero:
        body += f"  %z = arith.constant 0.0 : f32\n  %j = linalg.fill ins(%z : f32) outs(%i : {output}) -> {output}\n"
    attribute = ""
    if config:
        attribute = ", glvq.kernel_config = {" + ", ".join(f"{k} = {v}" for k, v in config.items()) + "}"
    body += f"""  %result = glvq.matmul ins(%x : tensor<{n}x{columns}xf32>) codes(%codes : {tensor_type(codes)})
    outs({"%j" if zero else "%i"} : {output}) {{code = #glvq.integer<bits = {bits}>{attribute}}} -> {output}"""
    program.add(body, {"x": x, "codes": codes, "init": init}, init, dynamic)
    twice = (2 * fields - (2**bits - 1)).T
    if activations == "int8":
        q, factor = quantize(x)
        want = (factor * np.float32(0.5)) * (q @ twice).astype(np.float32)
        bound = 2e-5  # printMemrefF32 prints six digits
    else:
        # Every activation is rounded to eleven bits; the sums are in f32.
        want = x.astype(np.float64) @ twice / 2
        bound = (
            2e-5
            + np.abs(x) @ np.abs(twice / 2) * 2.0**-12
            + 2.0**bits * np.abs(x).sum(axis=1, keepdims=True) * 2.0**-20
        )
    expected.append((want + init * (not zero), bound, f"{bits} bits, {rows} x {columns}, {tokens} tokens"))

for got, (want, bound, where) in zip(program.run(), expected, strict=True):
    error = np.abs(got - want)
    allowed = bound + 2e-5 * np.abs(want)
    assert (error <= allowed).all(), f"{where}: off by {(error - allowed).max()}"
print(f"{len(expected)} products agree")
