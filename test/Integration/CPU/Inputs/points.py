# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Random weights of the codes with fixed points, multiplied by the CPU kernels and compared with
points worked out from the text of docs/LeechLattice.md, in float64.
"""

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GLVQToLinalg"))
from kernels import call_returning, compile_module, pipeline, relative_error  # noqa: E402
from points import E8P, Leech  # noqa: E402

KINDS = {"uint32": "i32", "float16": "f16", "float32": "f32"}


def tensor(array):
    return "tensor<" + "x".join(map(str, array.shape)) + f"x{KINDS[array.dtype.name]}>"


def function(name, weight):
    """IR of a function that multiplies with it, on buffers' tensors."""
    parts = list(weight.parts().values())
    x, y = f"tensor<?x{weight.columns}xf32>", f"tensor<?x{weight.rows}xf32>"
    arguments = ", ".join(f"%p{i}: {tensor(p)}" for i, p in enumerate(parts))
    params = ", ".join(f"%p{i}" for i in range(1, len(parts)))
    return f"""
func.func @{name}(%x: {x}, {arguments}, %y: {y} {{bufferization.writable = true}}) -> {y}
    attributes {{llvm.emit_c_interface}} {{
  %r = glvq.matmul ins(%x : {x}) codes(%p0 : {tensor(parts[0])})
    params({params} : {", ".join(map(tensor, parts[1:]))}) outs(%y : {y}) {{code = {weight.code}}} -> {y}
  return %r : {y}
}}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vector-length", type=int, default=16)
    options = parser.parse_args()
    rng = np.random.default_rng(8)
    weights = [
        Leech(rng, 13, 96, 192, 37),
        Leech(rng, 13, 48, 100, 16),
        Leech(rng, 12, 96, 96, 5, gain=1),
        Leech(rng, 7, 72, 50, 33, gain=3, residual=2),
        Leech(rng, 3, 72, 190, 4, first=3),
        Leech(rng, 13, 48, 64, 18, residual=3),
        Leech(rng, 2, 24, 24, 9),
        E8P(rng, 96, 192, 40),
        E8P(rng, 24, 85, 5),
    ]
    failures = count = 0
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(function(f"multiply{i}", w) for i, w in enumerate(weights))
        library = compile_module(text, pipeline(options.vector_length), folder, "k", ("-O1", "-march=native"))
        # The unit rows show the points themselves.
        for (i, w), tokens in itertools.product(enumerate(weights), (1, 3, 17, None)):
            x = np.eye(w.columns) if tokens is None else rng.standard_normal((tokens, w.columns))
            y = rng.standard_normal((len(x), w.rows)) * (tokens is not None)
            want = y + x @ w.decoded().T
            got = call_returning(
                library, f"multiply{i}", 2, x.astype(np.float32), *w.parts().values(), y.astype(np.float32)
            )
            error = relative_error(got, want)
            count += 1
            if not error < (1e-6 if tokens is None else 1e-5):
                failures += 1
                print(f"WRONG {w.code} {w.rows}x{w.columns}, {tokens} tokens: relative error {error:.2e}")
    print(f"{count} products, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
