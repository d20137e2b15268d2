# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Random quantized products and rotations, compiled by the CPU kernels, run, and compared.

The reference is written from docs/CheckpointFormat.md alone, in float64 and without any code of
the compiler; with --oracle it is the lowering convert-glvq-to-linalg instead.
"""

import argparse
import ctypes
import itertools
import os
import subprocess
import sys
import tempfile

import numpy as np

TO_LLVM = (
    "convert-linalg-to-loops,canonicalize,cse,convert-scf-to-cf,expand-strided-metadata,"
    "lower-affine,convert-math-to-llvm,convert-math-to-libm,convert-vector-to-llvm,"
    "finalize-memref-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,convert-func-to-llvm,"
    "convert-cf-to-llvm,canonicalize,cse,reconcile-unrealized-casts"
)
BUFFERIZE = (
    "one-shot-bufferize{bufferize-function-boundaries "
    "function-boundary-type-conversion=identity-layout-map},"
    "buffer-deallocation-pipeline,convert-bufferization-to-memref"
)


def pipeline(vector_length, oracle=False):
    if oracle:
        first = f"convert-glvq-to-linalg,{BUFFERIZE}"
    else:
        kernels = f"convert-glvq-to-vector{{vector-length={vector_length}}}"
        first = f"{kernels},{BUFFERIZE},{kernels}"
    return f"builtin.module({first},{TO_LLVM})"


def compile_module(text, passes, folder, name, flags=("-O3", "-march=native")):
    """Text of a module to a loaded shared library, with the tools that PATH has."""
    tools = os.environ.get("LLVM_TOOLS_DIR", "/usr/lib/llvm-22/bin")
    source = os.path.join(folder, name + ".mlir")
    with open(source, "w") as f:
        f.write(text)
    lowered = subprocess.run(
        ["glvq-opt", source, "--pass-pipeline=" + passes], stdout=subprocess.PIPE, check=True
    ).stdout
    llvm = subprocess.run(
        [os.path.join(tools, "mlir-translate"), "--mlir-to-llvmir"],
        input=lowered,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    with open(os.path.join(folder, name + ".ll"), "wb") as f:
        f.write(llvm)
    library = os.path.join(folder, name + ".so")
    subprocess.run(
        [
            os.path.join(tools, "clang"),
            *flags,
            "-Wno-override-module",
            "-shared",
            "-fPIC",
            "-x",
            "ir",
            "-",
            "-o",
            library,
            "-lm",
        ],
        input=llvm,
        check=True,
    )
    return ctypes.CDLL(library)


def descriptor(array):
    """The memref descriptor of an array."""
    rank = array.ndim
    fields = [
        ("allocated", ctypes.c_void_p),
        ("aligned", ctypes.c_void_p),
        ("offset", ctypes.c_int64),
        ("sizes", ctypes.c_int64 * rank),
        ("strides", ctypes.c_int64 * rank),
    ]
    kind = type("Descriptor", (ctypes.Structure,), {"_fields_": fields})
    strides = [s // array.itemsize for s in array.strides]
    return kind(
        array.ctypes.data,
        array.ctypes.data,
        0,
        (ctypes.c_int64 * rank)(*array.shape),
        (ctypes.c_int64 * rank)(*strides),
    )


class Weight:
    """A random weight: rows x columns; widths is one width or a list of (width, slots)."""

    def __init__(self, rng, rows, columns, dim, bits, group, compander="none"):
        self.rows, self.columns, self.dim, self.group = rows, columns, dim, group
        self.slots = -(-columns // group)
        self.mixed = not isinstance(bits, int)
        self.widths = [w for w, n in bits for _ in range(n)] if self.mixed else [bits] * self.slots
        assert len(self.widths) == self.slots
        text = "[" + ", ".join(f"{w} : {n}" for w, n in bits) + "]" if self.mixed else bits
        self.code = f"#glvq.lattice<dim = {dim}, bits = {text}, group = {group}"
        self.code += ">" if compander == "none" else f", compander = {compander}>"

        ragged = columns % group
        order = rng.permutation(self.slots - (ragged != 0))
        self.order = np.append(order, [self.slots - 1] * (ragged != 0)).astype(np.int32)
        if not self.mixed:
            self.order = np.arange(self.slots, dtype=np.int32)
        self.generators = (rng.standard_normal((self.slots, dim, dim)) / dim).astype(np.float16)
        self.scales = rng.uniform(0.5, 1.5, rows).astype(np.float16)
        self.companders = rng.uniform(0.3, 1.5, (self.slots, 2)).astype(np.float32)
        if compander == "mu_law":
            self.companders[:, 0] *= 20
            # Keep |y| about 1, as the quantizer does.
            self.generators = (self.generators / 2.0 ** (np.array(self.widths) - 1)[:, None, None]).astype(np.float16)

        dense = np.zeros((rows, columns))
        segments = []
        for slot, width in enumerate(self.widths):
            begin = self.order[slot] * group
            n = min(group, columns - begin)
            points = -(-n // dim)
            fields = rng.integers(0, 2**width, (rows, points * dim))
            stream = (fields[:, :, None] >> np.arange(width)) & 1
            stream = stream.reshape(rows, -1).astype(np.uint8)
            stream = np.pad(stream, ((0, 0), (0, -stream.shape[1] % 32)))
            segments.append(np.packbits(stream, axis=1, bitorder="little").view("<i4"))
            z = fields.reshape(rows, points, dim) + 0.5 - 2.0 ** (width - 1)
            y = z @ self.generators[slot].astype(np.float64).T
            first, second = self.companders[slot].astype(np.float64)
            if compander == "mu_law":
                y = second * np.sign(y) * ((1 + first) ** np.abs(y) - 1) / first
            elif compander == "affine":
                y = y * (first + second * np.abs(y))
            dense[:, begin : begin + n] = y.reshape(rows, -1)[:, :n]
        self.codes = np.ascontiguousarray(np.concatenate(segments, axis=1), dtype=np.int32)
        self.dense = dense * self.scales.astype(np.float64)[:, None]
        self.params = [self.generators, self.scales]
        if self.mixed:
            self.params.append(self.order)
        if compander != "none":
            self.params.append(self.companders)

    def function(self, name):
        """IR of a function that multiplies with it, on buffers' tensors."""
        kinds = {"int32": "i32", "float16": "f16", "float32": "f32"}
        types = [
            "tensor<" + "x".join(map(str, p.shape)) + "x" + kinds[p.dtype.name] + ">"
            for p in [self.codes, *self.params]
        ]
        x, y = f"tensor<?x{self.columns}xf32>", f"tensor<?x{self.rows}xf32>"
        arguments = ", ".join(f"%p{i}: {t}" for i, t in enumerate(types))
        params = ", ".join(f"%p{i + 1}" for i in range(len(self.params)))
        return f"""
func.func @{name}(%x: {x}, {arguments}, %y: {y} {{bufferization.writable = true}}) -> {y}
    attributes {{llvm.emit_c_interface}} {{
  %r = glvq.matmul ins(%x : {x}) codes(%p0 : {types[0]}) params({params} : {", ".join(types[1:])})
         outs(%y : {y}) {{code = {self.code}}} -> {y}
  return %r : {y}
}}
"""


def call_returning(library, name, rank, *arrays):
    """Calls a function with one result, which may be one of its arguments' buffers or a new one."""
    result = descriptor(np.zeros((1,) * rank, np.float32))
    descriptors = [descriptor(a) for a in arrays]
    getattr(library, "_mlir_ciface_" + name)(ctypes.byref(result), *[ctypes.byref(d) for d in descriptors])
    shape = tuple(result.sizes)
    buffer = (ctypes.c_float * int(np.prod(shape))).from_address(result.aligned)
    return np.frombuffer(buffer, np.float32).reshape(shape).copy()


def rotation(shape, dimension, inverse, signed):
    n = shape[dimension]
    signs = -(-n // 32)
    name = "rotate_" + "_".join(map(str, shape)) + f"_{dimension}{'i' * inverse}{'s' * signed}"
    t = "tensor<" + "x".join(["?"] * dimension + [str(n)] + [str(s) for s in shape[dimension + 1 :]]) + "xf32>"
    text = f"""
func.func @{name}(%x: {t}, %s: tensor<{signs}xi32>) -> {t} attributes {{llvm.emit_c_interface}} {{
  %r = glvq.hadamard %x {f"signs(%s : tensor<{signs}xi32>) " if signed else ""}dimension {dimension}{
        " inverse" if inverse else ""
    } : {t}
  return %r : {t}
}}
"""
    return name, text


def rotate(x, signs, dimension, inverse):
    n = x.shape[dimension]
    power = n & -n
    odd = n // power
    h = np.ones((1, 1))
    while len(h) < power:
        h = np.block([[h, h], [h, -h]])
    angle = 2 * np.pi * np.outer(np.arange(odd), np.arange(odd)) / odd
    t = np.kron((np.cos(angle) + np.sin(angle)) / np.sqrt(odd), h / np.sqrt(power))
    bits = np.unpackbits(signs.view(np.uint8), bitorder="little")[:n]
    d = np.diag(1.0 - 2.0 * bits)
    t = d @ t if inverse else t @ d
    return np.moveaxis(np.tensordot(t, x.astype(np.float64), (1, dimension)), 0, dimension)


def relative_error(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max())


MATMULS = {
    # Every width, on whole and ragged slots, with rows beyond the last block.
    "widths": [(19, 200, 8, w, 96) for w in range(1, 9)] + [(8, 192, 8, w, 96) for w in range(1, 9)],
    "mixed": [
        (11, 512, 8, [(1, 2), (2, 3), (4, 3)], 64),
        (9, 300, 8, [(2, 2), (3, 5), (2, 1)], 40),
        (9, 300, 4, [(5, 1), (6, 2), (7, 5)], 40),
        (16, 448, 8, [(1, 3), (2, 7), (3, 4)], 32),
    ],
    # Points of odd sizes, columns that are no multiple of them, tiny rows and long slots.
    "odd": [
        (5, 37, 5, 3, 15),
        (3, 7, 4, 2, 8),
        (1, 1, 1, 1, 1),
        (7, 24, 24, 4, 24),
        (2, 50, 3, 7, 9),
        (4, 31, 16, 5, 16),
        (12, 1000, 8, 2, 1000),
        (10, 600, 8, 1, 600),
        (9, 2048, 16, 3, 1024),
        (8, 40, 2, 1, 4),
        (8, 333, 8, 8, 336),
        (17, 90, 6, 2, 12),
        (8, 777, 8, 1, 776),
    ],
    "companders": [
        (11, 200, 8, 2, 96, "mu_law"),
        (8, 100, 5, 3, 20, "mu_law"),
        (11, 200, 8, 4, 96, "affine"),
        (9, 300, 8, [(2, 2), (3, 5), (2, 1)], 40, "mu_law"),
        (3, 7, 4, 2, 8, "affine"),
        (9, 600, 16, 1, 608, "affine"),
    ],
}
ROTATIONS = [
    ((3, 576), 1, False, True),
    ((3, 576), 1, True, True),
    ((2, 1536), 1, False, True),
    ((2, 64), 1, False, False),
    ((1, 1), 1, False, True),
    ((2, 6), 1, True, True),
    ((2, 17), 1, False, True),
    ((1, 2048), 1, True, True),
    ((2, 3, 40), 2, False, True),
    ((3, 24, 5), 1, False, True),
    ((3, 24, 5), 1, True, True),
    ((12, 7), 0, True, False),
    ((1, 688), 1, False, True),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=[*MATMULS, "rotations"])
    parser.add_argument("--vector-length", type=int, default=16)
    parser.add_argument("--march", default="native")
    parser.add_argument("--oracle", action="store_true", help="run the reference lowering instead")
    parser.add_argument("--keep", help="folder for the compiled module")
    options = parser.parse_args()
    rng = np.random.default_rng(7)
    flags = ("-O1", "-march=" + options.march)
    failures = 0

    def judge(what, got, want, tolerance):
        nonlocal failures
        error = relative_error(got, want)
        if not error < tolerance:
            failures += 1
            print(f"WRONG {what}: relative error {error:.2e}")

    with tempfile.TemporaryDirectory() as folder:
        folder = options.keep or folder
        passes = pipeline(options.vector_length, options.oracle)
        if options.case == "rotations":
            cases = [(*rotation(*case), case) for case in ROTATIONS]
            library = compile_module("".join(t for _, t, _ in cases), passes, folder, "k", flags)
            for name, _, (shape, dimension, inverse, signed) in cases:
                n = shape[dimension]
                x = rng.standard_normal(shape).astype(np.float32)
                signs = rng.integers(-(2**31), 2**31, -(-n // 32)).astype(np.int32)
                got = call_returning(library, name, len(shape), x, signs)
                want = rotate(x, signs if signed else 0 * signs, dimension, inverse)
                judge(name, got, want, 1e-5)
            print(f"{len(cases)} rotations, {failures} wrong")
        else:
            weights = [Weight(rng, *case) for case in MATMULS[options.case]]
            text = "".join(w.function(f"multiply{i}") for i, w in enumerate(weights))
            library = compile_module(text, passes, folder, "k", flags)
            count = 0
            for (i, w), tokens in itertools.product(enumerate(weights), (1, 2, 3, 7)):
                x = rng.standard_normal((tokens, w.columns)).astype(np.float32)
                y = rng.standard_normal((tokens, w.rows)).astype(np.float32)
                want = y + x.astype(np.float64) @ w.dense.T
                got = call_returning(library, f"multiply{i}", 2, x, w.codes, *w.params, y)
                judge(f"{w.code} {w.rows}x{w.columns}, {tokens} tokens", got, want, 1e-4)
                count += 1
            print(f"{count} products, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
