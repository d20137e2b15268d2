"""Runs IR on random data, and numpy versions of the formulas of
docs/CheckpointFormat.md, written from its text alone."""

import json
import os
import re
import subprocess

import numpy as np

LOWERING = [
    "--convert-glvq-to-linalg",
    "--canonicalize",
    "--one-shot-bufferize=bufferize-function-boundaries"
    " function-boundary-type-conversion=identity-layout-map",
    "--buffer-deallocation-pipeline",
    "--convert-bufferization-to-memref",
    "--convert-linalg-to-loops",
    "--convert-scf-to-cf",
    "--expand-strided-metadata",
    "--lower-affine",
    "--convert-math-to-llvm",
    "--convert-math-to-libm",
    "--convert-to-llvm",
    "--reconcile-unrealized-casts",
]

PRINTERS = """
func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}
func.func private @printMemrefI32(tensor<*xi32>) attributes {llvm.emit_c_interface}
"""
ELEMENTS = {"float32": "f32", "float16": "f16", "int32": "i32", "uint32": "i32"}


def tensor_type(array, dynamic=()):
    """The tensor type of an array, some of its dimensions dynamic."""
    sizes = ["?" if i in dynamic else str(n) for i, n in enumerate(array.shape)]
    return "tensor<" + "x".join(sizes + [ELEMENTS[array.dtype.name]]) + ">"


class Program:
    """A module of functions, and a main that calls each and prints its result."""

    def __init__(self, mlir_lib):
        self.mlir_lib = mlir_lib
        self.functions, self.calls = [], []
        self.libraries = []

    def add(self, body, arguments, result, dynamic=()):
        """A function of the named arrays; dimensions `dynamic` of `x` are
        dynamic. `body` gives `%result`, an array like `result`."""
        number = len(self.calls)
        signature, call, static = [], [], []
        for i, (name, array) in enumerate(arguments.items()):
            hidden = tensor_type(array, dynamic if name == "x" else ())
            value = f"%v{number}_{i}"
            literal = np.ascontiguousarray(array).tobytes().hex().upper()
            call.append(f'  {value} = arith.constant dense<"0x{literal}"> : {tensor_type(array)}')
            if hidden != tensor_type(array):
                call.append(f"  {value}d = tensor.cast {value} : {tensor_type(array)} to {hidden}")
                value += "d"
            signature.append((f"%{name}: {hidden}", hidden))
            static.append(value)
        out = tensor_type(result, dynamic)
        types = ", ".join(t for _, t in signature)
        self.functions.append(
            f"func.func @f{number}({', '.join(s for s, _ in signature)}) -> {out} "
            f"{{\n{body}\n  return %result : {out}\n}}"
        )
        element = ELEMENTS[result.dtype.name]
        call.append(f"  %r{number} = call @f{number}({', '.join(static)}) : ({types}) -> {out}")
        call.append(f"  %u{number} = tensor.cast %r{number} : {out} to tensor<*x{element}>")
        call.append(
            f"  call @printMemref{element.upper()}(%u{number}) : (tensor<*x{element}>) -> ()"
        )
        self.calls.append("\n".join(call))

    def lower(self, module):
        """The module in the llvm dialect."""
        lowered = subprocess.run(
            ["glvq-opt", *LOWERING], input=module, capture_output=True, text=True
        )
        assert lowered.returncode == 0, lowered.stderr
        return lowered.stdout

    def run(self):
        """Results of all functions, in order."""
        module = PRINTERS + "\n".join(self.functions)
        module += "\nfunc.func @main() {\n" + "\n".join(self.calls) + "\n  return\n}\n"
        lowered = self.lower(module)
        libraries = self.libraries + [
            os.path.join(self.mlir_lib, f"libmlir_{name}_utils.so")
            for name in ("runner", "c_runner")
        ]
        ran = subprocess.run(
            ["mlir-runner", "-O0", "-e", "main", "--entry-point-result=void"]
            + ["--shared-libs=" + ",".join(libraries)],
            input=lowered,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        blocks = re.split(r"Unranked Memref.*data =", ran.stdout)[1:]
        assert len(blocks) == len(self.calls), ran.stdout
        return [np.array(json.loads(block)) for block in blocks]


class Lattice:
    """A random weight under a lattice code, by the text of the format."""

    def __init__(self, rng, dim, widths, group, columns, rows, compander="none"):
        """`widths` is one number, or the width of each slot."""
        self.dim, self.group, self.columns, self.rows = dim, group, columns, rows
        self.compander = compander
        self.slots = -(-columns // group)
        self.mixed = not isinstance(widths, int)
        self.widths = list(widths) if self.mixed else [widths] * self.slots
        # Well conditioned, with a small diagonal now and then, so that
        # elimination without pivoting would fail.
        rotation = np.linalg.qr(rng.normal(size=(self.slots, dim, dim)))[0]
        size = np.array([2.0 ** (1 - b) for b in self.widths])[:, None, None]
        self.generators = (rotation * size).astype(np.float16)
        self.scales = rng.uniform(0.25, 2, size=rows).astype(np.float16)
        self.order = np.arange(self.slots, dtype=np.int32)
        if self.mixed:
            whole = self.slots - (1 if columns % group else 0)
            self.order[:whole] = rng.permutation(whole)
        if compander == "mu_law":
            pairs = [rng.uniform(1, 60, self.slots), rng.uniform(0.5, 2, self.slots)]
        else:
            pairs = [rng.uniform(0.5, 1, self.slots), rng.uniform(0, 0.5, self.slots)]
        self.companders = np.stack(pairs, axis=1).astype(np.float32)
        self.fields = [
            rng.integers(0, 2**b, size=(rows, self.num_fields(s)))
            for s, b in enumerate(self.widths)
        ]

    def num_columns(self, slot):
        return min(self.group, self.columns - slot * self.group)

    def num_fields(self, slot):
        return -(-self.num_columns(slot) // self.dim) * self.dim

    @property
    def code(self):
        if self.mixed:
            runs = []
            for width in self.widths:
                if runs and runs[-1][0] == width:
                    runs[-1][1] += 1
                else:
                    runs.append([width, 1])
            bits = "[" + ", ".join(f"{w} : {n}" for w, n in runs) + "]"
        else:
            bits = str(self.widths[0])
        return (
            f"#glvq.lattice<dim = {self.dim}, bits = {bits}, group = {self.group}, "
            f"compander = {self.compander}>"
        )

    @property
    def type(self):
        return f"!glvq.weight<{self.rows}x{self.columns}xf32, {self.code}>"

    def codes(self):
        """The packed fields, via big integers."""
        rows = []
        for m in range(self.rows):
            words = []
            for s, b in enumerate(self.widths):
                stream = sum(int(u) << (c * b) for c, u in enumerate(self.fields[s][m]))
                for w in range(-(-self.num_fields(s) * b // 32)):
                    words.append(stream >> (32 * w) & 0xFFFFFFFF)
            rows.append(words)
        return np.array(rows, dtype=np.uint32)

    def unpack(self, codes):
        """Fields of each slot from packed words."""
        fields, first = [], 0
        for s, b in enumerate(self.widths):
            n = -(-self.num_fields(s) * b // 32)
            rows = []
            for words in codes[:, first : first + n]:
                stream = sum((int(word) & 0xFFFFFFFF) << (32 * w) for w, word in enumerate(words))
                rows.append([stream >> (c * b) & (2**b - 1) for c in range(self.num_fields(s))])
            fields.append(np.array(rows))
            first += n
        assert first == codes.shape[1]
        return fields

    def params(self):
        parts = {"generators": self.generators, "scales": self.scales}
        if self.mixed:
            parts["order"] = self.order
        if self.compander != "none":
            parts["companders"] = self.companders
        return parts

    def expand(self, y, s):
        first, second = self.companders[s].astype(np.float64)
        if self.compander == "mu_law":
            return second * np.sign(y) * ((1 + first) ** np.abs(y) - 1) / first
        if self.compander == "affine":
            return y * (first + second * np.abs(y))
        return y

    def compress(self, w, s):
        first, second = self.companders[s].astype(np.float64)
        if self.compander == "mu_law":
            return np.sign(w) * np.log(1 + first * np.abs(w) / second) / np.log(1 + first)
        if self.compander == "affine":
            root = np.sqrt(first**2 + 4 * second * np.abs(w))
            return np.sign(w) * (root - first) / (2 * second)
        return w

    def decoded(self):
        w = np.zeros((self.rows, self.columns))
        for s, b in enumerate(self.widths):
            z = self.fields[s] - 2 ** (b - 1) + 0.5
            points = z.reshape(self.rows, -1, self.dim)
            y = points @ self.generators[s].astype(np.float64).T
            n = self.num_columns(s)
            start = self.order[s] * self.group
            w[:, start : start + n] = self.expand(y.reshape(self.rows, -1)[:, :n], s)
        return w * self.scales.astype(np.float64)[:, None]

    def rounded(self, dense, s):
        """G^-1 F(w / scale) of slot s before rounding, as z + 1/2."""
        n, start = self.num_columns(s), self.order[s] * self.group
        y = np.zeros((self.rows, self.num_fields(s)))
        scaled = dense[:, start : start + n] / self.scales.astype(np.float64)[:, None]
        y[:, :n] = self.compress(scaled, s)
        inverse = np.linalg.inv(self.generators[s].astype(np.float64))
        return (y.reshape(self.rows, -1, self.dim) @ inverse.T).reshape(self.rows, -1)


def hadamard(n):
    """The orthogonal matrix H_n = C_m (x) H_{2^k}, all at once."""
    power = n & -n
    m = n // power
    angle = 2 * np.pi * np.outer(np.arange(m), np.arange(m)) / m
    hartley = (np.cos(angle) + np.sin(angle)) / np.sqrt(m)
    sylvester = np.ones((1, 1))
    while len(sylvester) < power:
        sylvester = np.block([[sylvester, sylvester], [sylvester, -sylvester]])
    return np.kron(hartley, sylvester / np.sqrt(power))


def check_rotations(program, sizes, all_cases_up_to=None):
    """Runs rotations of the given sizes and compares with one dense matrix: both
    directions, along the first, the last and a middle dimension, with dynamic
    batches, with and without signs. Sizes beyond `all_cases_up_to` only along
    the last dimension. Prints how many agree."""
    rng = np.random.default_rng(7)
    expected = []
    for n in sizes:
        matrix = hadamard(n)
        if all_cases_up_to is None or n <= all_cases_up_to:
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(n), atol=1e-9)
        for case, inverse in enumerate((False, True, False, True)):
            if all_cases_up_to is not None and n > all_cases_up_to and case > 1:
                continue
            shape, dimension = [((n,), 0), ((2, n), 1), ((n, 3), 0), ((2, n, 2), 1)][case]
            x = rng.normal(size=shape).astype(np.float32)
            words = rng.integers(0, 2**32, size=-(-n // 32), dtype=np.uint32)
            signs = np.array([-1.0 if words[j // 32] >> (j % 32) & 1 else 1.0 for j in range(n)])
            if case == 2:
                signs[:] = 1
            rotation = signs[:, None] * matrix if inverse else matrix * signs
            dynamic = tuple(d for d in range(len(shape)) if d != dimension)
            attribute = "" if case == 2 else f"signs(%signs : tensor<{len(words)}xi32>)"
            program.add(
                f"  %result = glvq.hadamard %x {attribute} dimension {dimension} "
                f"{'inverse' if inverse else ''} : {tensor_type(x, dynamic)}",
                {"x": x, "signs": words},
                x,
                dynamic,
            )
            along = np.moveaxis(x.astype(np.float64), dimension, -1) @ rotation.T
            expected.append(np.moveaxis(along, -1, dimension))
    for got, want in zip(program.run(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    print(f"{len(expected)} rotations agree")
