# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Dense products through lower-glvq-to-llvm, run through the C interface, against numpy.

Every case is compiled into one module as an entry of its own, then run without a thread pool, and
with one that splits each loop in uneven parts, backwards: results must be equal to the bit.
"""

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

X, W, WT, Y = (
    "(b, m, n, k) -> (b, m, k)",
    "(b, m, n, k) -> (b, n, k)",
    "(b, m, n, k) -> (b, k, n)",
    "(b, m, n, k) -> (b, m, n)",
)


def entry(name, form, dims, static, weight):
    """An entry y[b,m,n] = Σ x[b,m,k] w, with `static` sizes known to the compiler."""
    b, m, n, k = (str(d) if s else "?" for d, s in zip(dims, static))
    x = f"tensor<{b}x{m}x{k}xf32>"
    w = f"tensor<{b}x{n}x{k}x{weight}>" if form == "dot" else f"tensor<{b}x{k}x{n}x{weight}>"
    y = f"tensor<{b}x{m}x{n}xf32>"
    n_dim = 1 if form == "dot" else 2
    sizes = [f"%d{i}" for i, s in enumerate(static[:3]) if not s]
    extend = "%e = arith.extf %v : f16 to f32" if weight == "f16" else "%e = arith.addf %v, %zero : f32"
    return f"""
func.func @{name}(%x: {x} {{glvq.input = "x"}}, %w: {w} {{glvq.name = "w"}}) -> ({y} {{glvq.output = "y"}}) {{
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %cn = arith.constant {n_dim} : index
  %d0 = tensor.dim %x, %c0 : {x}
  %d1 = tensor.dim %x, %c1 : {x}
  %d2 = tensor.dim %w, %cn : {w}
  %empty = tensor.empty({", ".join(sizes)}) : {y}
  %init = linalg.fill ins(%zero : f32) outs(%empty : {y}) -> {y}
  %y = linalg.generic {{indexing_maps = [affine_map<{X}>, affine_map<{W if form == "dot" else WT}>, affine_map<{Y}>],
      iterator_types = ["parallel", "parallel", "parallel", "reduction"]}} ins(%x, %w : {x}, {w}) outs(%init : {y}) {{
  ^bb0(%u: f32, %v: {weight}, %acc: f32):
    {extend}
    %p = arith.mulf %u, %e : f32
    %s = arith.addf %p, %acc : f32
    linalg.yield %s : f32
  }} -> {y}
  return %y : {y}
}}"""


def descriptor(array):
    rank = array.ndim

    class Descriptor(ctypes.Structure):
        _fields_ = [
            ("allocated", ctypes.c_void_p),
            ("aligned", ctypes.c_void_p),
            ("offset", ctypes.c_int64),
            ("sizes", ctypes.c_int64 * rank),
            ("strides", ctypes.c_int64 * rank),
        ]

    strides = [s // array.itemsize for s in array.strides]
    address = array.ctypes.data
    return Descriptor(address, address, 0, (ctypes.c_int64 * rank)(*array.shape), (ctypes.c_int64 * rank)(*strides))


def call(library, name, arrays):
    descriptors = [descriptor(a) for a in arrays]
    pointers = (ctypes.c_void_p * len(arrays))(*(ctypes.addressof(d) for d in descriptors))
    getattr(library, f"glvq_entry_{name}")(pointers)


BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
calls = 0


@HOOK
def uneven(body, context, count):
    global calls
    calls += 1
    cuts = sorted({0, count // 3, count - 1, count})
    for begin, end in reversed(list(zip(cuts, cuts[1:]))):
        BODY(body)(context, begin, end)


def main():
    opt, width = sys.argv[1:3]
    rng = np.random.default_rng(0)
    cases = []
    for form in ("dot", "axpy"):
        for dims in (
            (1, 1, 64, 48),
            (1, 1, 33, 17),
            (1, 7, 20, 64),
            (3, 3, 9, 16),
            (2, 5, 100, 5),
            (1, 4, 8, 1),
            (1, 13, 130, 40),
        ):
            for static in ((1, 1, 1, 1), (0, 0, 0, 0)):
                for weight in ("f32", "f16"):
                    cases.append((f"f{len(cases)}", form, dims, static, weight))
    with tempfile.TemporaryDirectory() as folder:
        source, lowered, library = (str(Path(folder) / n) for n in ("in.mlir", "out.ll", "model.so"))
        Path(source).write_text("\n".join(entry(*case) for case in cases))
        passes = f"--lower-glvq-to-llvm=vector-width={width} grain=1"
        ir = subprocess.run([opt, source, passes], check=True, stdout=subprocess.PIPE)
        subprocess.run(["mlir-translate", "--mlir-to-llvmir", "-o", lowered], input=ir.stdout, check=True)
        subprocess.run(
            [
                "clang",
                "-O1",
                "-march=native",
                "-shared",
                "-fPIC",
                "-Wno-override-module",
                lowered,
                "-o",
                library,
                "-lm",
            ],
            check=True,
        )
        code = ctypes.CDLL(library)
        hook = ctypes.c_void_p.in_dll(code, "glvq_parallel_for")
        wrong = 0
        for name, form, (b, m, n, k), _, weight in cases:
            x = rng.standard_normal((b, m, k)).astype(np.float32)
            w = rng.standard_normal((b, n, k) if form == "dot" else (b, k, n)).astype(weight.replace("f", "float"))
            y, split = np.full((2, b, m, n), np.nan, np.float32)
            hook.value = None
            call(code, name, (x, w, y))
            hook.value = ctypes.cast(uneven, ctypes.c_void_p).value
            call(code, name, (x, w, split))
            wide = w.astype(np.float64)
            expected = x.astype(np.float64) @ (wide.transpose(0, 2, 1) if form == "dot" else wide)
            close = np.allclose(y, expected, rtol=1e-5, atol=1e-5 * k)
            if not close or not np.array_equal(y, split):
                print(
                    f"{form} {(b, m, n, k)} {weight}: error {np.abs(y - expected).max()}, split equal: {np.array_equal(y, split)}"
                )
                wrong += 1
        print(f"{len(cases)} products, {wrong} wrong, pool used: {calls > 0}")


main()
