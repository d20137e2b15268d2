# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Products with packed integers, by the kernels of one instruction set, compared with numpy.

Activations are integers up to 127 that every token reaches, so that rounding them to eight bits changes nothing and
results are exact; with f32 activations they are any numbers. With --oracle the interleaved form goes through
convert-glvq-to-linalg instead.
"""

import argparse
import itertools
import os
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from kernels import BUFFERIZE, TO_LLVM, call_returning, compile_module, relative_error  # noqa: E402

MARCH = {
    "vnni512": ("-march=x86-64-v4", "-mavx512vnni"),
    "vnni256": ("-march=x86-64-v4", "-mavx512vnni"),
    "avx2": ("-march=x86-64-v3",),
    "generic": ("-march=x86-64",),
}
# (rows, columns): whole tiles and blocks, remainders of both, less than one of either.
SHAPES = [(35, 84), (5, 31), (64, 160), (1, 1)]


def pack(fields, bits):
    """Rows of fields as words, field c at bits c bits …"""
    stream = (fields[:, :, None] >> np.arange(bits)) & 1
    stream = stream.reshape(len(fields), -1).astype(np.uint8)
    stream = np.pad(stream, ((0, 0), (0, -stream.shape[1] % 32)))
    return np.ascontiguousarray(np.packbits(stream, axis=1, bitorder="little").view("<i4"))


def function(name, rows, columns, bits):
    words = -(-columns * bits // 32)
    x, y, c = f"tensor<?x{columns}xf32>", f"tensor<?x{rows}xf32>", f"tensor<{rows}x{words}xi32>"
    return f"""
func.func @{name}(%x: {x}, %c: {c}, %y: {y} {{bufferization.writable = true}}) -> {y} attributes {{llvm.emit_c_interface}} {{
  %r = glvq.matmul ins(%x : {x}) codes(%c : {c}) outs(%y : {y}) {{code = #glvq.integer<bits = {bits}>}} -> {y}
  return %r : {y}
}}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dot", choices=MARCH)
    parser.add_argument("--activations", default="int8")
    parser.add_argument("--oracle", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(11)
    kernels = f"convert-glvq-to-vector{{dot={options.dot} activations={options.activations}}}"
    if options.oracle:
        passes = f"glvq-pack-codes,convert-glvq-to-linalg,{BUFFERIZE}"
    else:
        passes = f"glvq-pack-codes,{kernels},{BUFFERIZE},{kernels}"
    cases = [
        (f"multiply{i}", rows, columns, bits)
        for i, ((rows, columns), bits) in enumerate(itertools.product(SHAPES, range(1, 9)))
    ]
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(function(*case) for case in cases)
        library = compile_module(text, f"builtin.module({passes},{TO_LLVM})", folder, "k", ("-O1", *MARCH[options.dot]))
        count = failures = 0
        for (name, rows, columns, bits), tokens in itertools.product(cases, (0, 1, 2, 9)):
            fields = rng.integers(0, 2**bits, (rows, columns))
            weight = fields + 0.5 - 2.0 ** (bits - 1)
            if options.activations == "int8":
                x = rng.integers(-127, 128, (tokens, columns)).astype(np.float32)
                if tokens:
                    x[:, rng.integers(columns)] = rng.choice([-127, 127], tokens)
                y = rng.integers(-9, 10, (tokens, rows)).astype(np.float32)
                limit = 0
            else:
                x = rng.standard_normal((tokens, columns)).astype(np.float32)
                y = rng.standard_normal((tokens, rows)).astype(np.float32)
                limit = 1e-5
            want = y + x.astype(np.float64) @ weight.T
            got = call_returning(library, name, 2, x, pack(fields, bits), y) if tokens else y
            if tokens == 0:
                call_returning(library, name, 2, x, pack(fields, bits), y)
            elif not relative_error(got, want) <= limit:
                failures += 1
                print(
                    f"WRONG {bits} bits {rows}x{columns}, {tokens} tokens: relative error {relative_error(got, want):.2e}"
                )
            count += 1
        print(f"{count} products, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
