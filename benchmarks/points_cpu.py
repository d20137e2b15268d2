#!/usr/bin/env python3
# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Decoding Leech and E8P codes on one core: the vectorised CPU kernel (a product with one token)
beside the scalar decoder of the Lattice library, in weights per second.

Needs glvq-opt and the LLVM tools, and the learning library for the scalar numbers.
"""

import argparse
import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "test" / "Integration" / "CPU" / "Inputs")]
from glvq import _native  # noqa: E402
from glvq.quantizers import Matrix, make  # noqa: E402
from kernels import compile_module, descriptor, pipeline  # noqa: E402

CASES = {
    "leech, 13 shells": ("leech", {}),
    "leech, 12 shells and gain": ("leech", {"shells": 12, "gain": 1}),
    "leech, shell 3": ("leech", {"shells": 3, "first": 3}),
    "e8p": ("e8p", {}),
}
KINDS = {"int32": "i32", "float16": "f16", "float32": "f32"}


def best(call, seconds):
    """The shortest time of a call, tried for so many seconds."""
    end, least = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--columns", type=int, default=1536)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each number")
    args = parser.parse_args()
    os.environ["PATH"] = f"{_native.build_dir() / 'bin'}:{os.environ['PATH']}"
    torch.set_num_threads(1)
    weight = torch.randn(args.rows, args.columns, generator=torch.Generator().manual_seed(0))
    for name, (family, settings) in CASES.items():
        encoded = make(family, **settings).quantize([Matrix("w", weight, [2])], None)[0]
        parts = [p.numpy() for p in encoded.parts.values()]
        types = ["tensor<" + "x".join(map(str, p.shape)) + f"x{KINDS[p.dtype.name]}>" for p in parts]
        x, y = f"tensor<1x{args.columns}xf32>", f"tensor<1x{args.rows}xf32>"
        text = f"""
func.func @multiply(%x: {x}, {", ".join(f"%p{i}: {t}" for i, t in enumerate(types))},
                    %y: {y} {{bufferization.writable = true}}) -> {y} attributes {{llvm.emit_c_interface}} {{
  %r = glvq.matmul ins(%x : {x}) codes(%p0 : {types[0]})
    params({", ".join(f"%p{i}" for i in range(1, len(parts)))} : {", ".join(types[1:])})
    outs(%y : {y}) {{code = {encoded.code}}} -> {y}
  return %r : {y}
}}
"""
        token, out = np.ones((1, args.columns), np.float32), np.zeros((1, args.rows), np.float32)
        with tempfile.TemporaryDirectory() as folder:
            library = compile_module(text, pipeline(16), folder, "k")
            descriptors = [descriptor(a) for a in (np.zeros((1, 1), np.float32), token, *parts, out)]
            pointers = [ctypes.byref(d) for d in descriptors]
            vector = best(lambda: library._mlir_ciface_multiply(*pointers), args.seconds)
        scalar = best(lambda: encoded.code.dequantize(encoded.parts, args.columns), args.seconds)
        rates = [weight.numel() / seconds / 1e9 for seconds in (vector, scalar)]
        print(f"{name:26} vector {rates[0]:7.3f}   scalar {rates[1]:7.3f}   10^9 weights/s")


if __name__ == "__main__":
    main()
