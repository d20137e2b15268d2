"""Runs IR on random data, and numpy versions of the formulas of
docs/CheckpointFormat.md, written from its text alone."""

import json
import os
import re
import subprocess
from fractions import Fraction

import numpy as np

LOWERING = [
    "--convert-glvq-to-linalg",
    "--canonicalize",
    "--one-shot-bufferize=bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map",
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

    RUNNER = ["mlir-runner", "-O0", "-e", "main", "--entry-point-result=void"]

    def __init__(self, mlir_lib, passes=()):
        """`passes` run before the reference lowering."""
        self.mlir_lib, self.passes = mlir_lib, passes
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
        call.append(f"  call @printMemref{element.upper()}(%u{number}) : (tensor<*x{element}>) -> ()")
        self.calls.append("\n".join(call))

    def lower(self, module):
        """The module in the llvm dialect."""
        lowered = subprocess.run(["glvq-opt", *self.passes, *LOWERING], input=module, capture_output=True, text=True)
        assert lowered.returncode == 0, lowered.stderr
        return lowered.stdout

    def run(self):
        """Results of all functions, in order."""
        module = PRINTERS + "\n".join(self.functions)
        module += "\nfunc.func @main() {\n" + "\n".join(self.calls) + "\n  return\n}\n"
        lowered = self.lower(module)
        libraries = self.libraries + [
            os.path.join(self.mlir_lib, f"libmlir_{name}_utils.so") for name in ("runner", "c_runner")
        ]
        ran = subprocess.run(
            [*self.RUNNER, "--shared-libs=" + ",".join(libraries)],
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
        self.fields = [rng.integers(0, 2**b, size=(rows, self.num_fields(s))) for s, b in enumerate(self.widths)]

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
        return f"#glvq.lattice<dim = {self.dim}, bits = {bits}, group = {self.group}, compander = {self.compander}>"

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


def random_order(rng, slots, ragged):
    """A permutation of slots that leaves a shorter last one in its place."""
    order = np.arange(slots, dtype=np.int32)
    whole = slots - ragged
    order[:whole] = rng.permutation(whole)
    return order


def bits_text(widths, mixed, text=str):
    """The parameter `bits`: one width, or the runs of the widths of slots."""
    if not mixed:
        return text(widths[0])
    runs = []
    for width in widths:
        if runs and runs[-1][0] == width:
            runs[-1][1] += 1
        else:
            runs.append([width, 1])
    return "[" + ", ".join(f"{text(w)} : {n}" for w, n in runs) + "]"


def runs_of(widths, mixed):
    """(width, first slot, number of slots) of each run."""
    if not mixed:
        return [(widths[0], 0, len(widths))]
    runs = []
    for slot, width in enumerate(widths):
        if runs and runs[-1][0] == width:
            runs[-1] = (width, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((width, slot, 1))
    return runs


class Trellis:
    """A random weight under a trellis code, by the text of the format."""

    def __init__(self, rng, taps, widths, group, columns, rows, additive=False):
        self.taps, self.group, self.columns, self.rows = taps, group, columns, rows
        self.additive = additive
        self.slots = -(-columns // group)
        self.mixed = not isinstance(widths, int)
        self.widths = list(widths) if self.mixed else [widths] * self.slots
        self.runs = runs_of(self.widths, self.mixed)
        shape = (len(self.runs), 2, 2 ** (taps // 2)) if additive else (len(self.runs), taps)
        self.nodes = rng.normal(size=shape).astype(np.float32)
        self.scales = rng.uniform(0.25, 2, size=rows).astype(np.float16)
        self.group_scales = rng.uniform(0.25, 2, size=self.slots).astype(np.float16)
        self.order = random_order(rng, self.slots, columns % group != 0) if self.mixed else np.arange(self.slots)
        self.bits = []
        for k, first, count in self.runs:
            width = min(columns, (first + count) * group) - first * group
            self.bits.append(rng.integers(0, 2, size=(k * rows + taps - k, width)))

    @property
    def code(self):
        nodes = ", nodes = additive" if self.additive else ""
        return f"#glvq.trellis<taps = {self.taps}, bits = {bits_text(self.widths, self.mixed)}, group = {self.group}{nodes}>"

    @property
    def type(self):
        return f"!glvq.weight<{self.rows}x{self.columns}xf32, {self.code}>"

    def parts(self):
        runs = []
        for bits in self.bits:
            words = np.zeros((len(bits), -(-bits.shape[1] // 32)), dtype=np.uint32)
            for j in range(bits.shape[1]):
                words[:, j // 32] |= bits[:, j].astype(np.uint32) << np.uint32(j % 32)
            runs.append(words)
        codes = np.concatenate([w.reshape(-1) for w in runs]) if self.mixed else runs[0]
        parts = {"codes": codes, "tables" if self.additive else "taps": self.nodes}
        parts |= {"scales": self.scales, "group_scales": self.group_scales}
        if self.mixed:
            parts["order"] = self.order.astype(np.int32)
        return parts

    def decoded(self):
        w = np.zeros((self.rows, self.columns))
        for r, (k, first, count) in enumerate(self.runs):
            bits, nodes = self.bits[r], self.nodes[r].astype(np.float64)
            values = np.zeros((self.rows, bits.shape[1]))
            for t in range(self.rows):
                window = bits[k * t : k * t + self.taps][::-1]  # the newest first
                if self.additive:
                    number = sum(bit << i for i, bit in enumerate(window))
                    half = 2 ** (self.taps // 2)
                    values[t] = nodes[0][number % half] + nodes[1][number // half]
                else:
                    values[t] = nodes @ (2.0 * window - 1)
            for s in range(first, first + count):
                n = min(self.group, self.columns - s * self.group)
                start, own = self.order[s] * self.group, (s - first) * self.group
                w[:, start : start + n] = values[:, own : own + n] * np.float64(self.group_scales[s])
        return w * self.scales.astype(np.float64)[:, None]


class Binary:
    """A random weight under a binary code, by the text of the format."""

    def __init__(self, rng, dim, widths, group, columns, rows):
        """`widths` are bits of a point: one number, or that of each slot."""
        self.dim, self.group, self.columns, self.rows = dim, group, columns, rows
        self.slots = -(-columns // group)
        self.mixed = not isinstance(widths, int)
        self.widths = list(widths) if self.mixed else [widths] * self.slots
        self.runs = runs_of(self.widths, self.mixed)
        largest = max(self.widths)
        self.generators = rng.normal(size=(len(self.runs), dim, largest)).astype(np.float16)
        for r, (n, _, _) in enumerate(self.runs):
            self.generators[r, :, n:] = 0
        self.scales = rng.uniform(0.25, 2, size=rows).astype(np.float16)
        self.group_scales = rng.uniform(0.25, 2, size=self.slots).astype(np.float16)
        self.order = random_order(rng, self.slots, columns % group != 0) if self.mixed else np.arange(self.slots)
        self.bits = [
            rng.integers(0, 2, size=(rows, -(-min(group, columns - s * group) // dim), n))
            for s, n in enumerate(self.widths)
        ]

    @property
    def code(self):
        def width(n):
            fraction = Fraction(n, self.dim)
            return (
                str(fraction.numerator) if fraction.denominator == 1 else f"{fraction.numerator}/{fraction.denominator}"
            )

        return (
            f"#glvq.binary<dim = {self.dim}, bits = {bits_text(self.widths, self.mixed, width)}, group = {self.group}>"
        )

    @property
    def type(self):
        return f"!glvq.weight<{self.rows}x{self.columns}xf32, {self.code}>"

    def parts(self):
        rows = []
        for m in range(self.rows):
            words = []
            for bits in self.bits:
                flat = bits[m].reshape(-1)
                stream = sum(int(bit) << i for i, bit in enumerate(flat))
                words += [stream >> (32 * w) & 0xFFFFFFFF for w in range(-(-len(flat) // 32))]
            rows.append(words)
        parts = {"codes": np.array(rows, dtype=np.uint32), "generators": self.generators}
        parts |= {"scales": self.scales, "group_scales": self.group_scales}
        if self.mixed:
            parts["order"] = self.order.astype(np.int32)
        return parts

    def decoded(self):
        w = np.zeros((self.rows, self.columns))
        for r, (n, first, count) in enumerate(self.runs):
            generator = self.generators[r, :, :n].astype(np.float64)
            for s in range(first, first + count):
                y = (2.0 * self.bits[s] - 1) @ generator.T
                start, width = self.order[s] * self.group, min(self.group, self.columns - s * self.group)
                values = y.reshape(self.rows, -1)[:, :width] * np.float64(self.group_scales[s])
                w[:, start : start + width] = values
        return w * self.scales.astype(np.float64)[:, None]


class Integer:
    """A random weight of packed integers."""

    def __init__(self, rng, bits, columns, rows):
        self.bits, self.columns, self.rows = bits, columns, rows
        self.fields = rng.integers(0, 2**bits, size=(rows, columns))

    @property
    def code(self):
        return f"#glvq.integer<bits = {self.bits}>"

    @property
    def type(self):
        return f"!glvq.weight<{self.rows}x{self.columns}xf32, {self.code}>"

    def parts(self):
        rows = []
        for fields in self.fields:
            stream = sum(int(u) << (c * self.bits) for c, u in enumerate(fields))
            rows.append([stream >> (32 * w) & 0xFFFFFFFF for w in range(-(-self.columns * self.bits // 32))])
        return {"codes": np.array(rows, dtype=np.uint32)}

    def decoded(self):
        return self.fields + 0.5 - 2.0 ** (self.bits - 1)


def add_products(program, weight, x, init):
    """Functions that decode the weight, and multiply by it."""
    parts = weight.parts()
    values = ", ".join("%" + name for name in parts)
    types = ", ".join(tensor_type(p) for p in parts.values())
    matrix, output = f"tensor<{weight.rows}x{weight.columns}xf32>", f"tensor<?x{weight.rows}xf32>"
    program.add(
        f"""  %w = glvq.assemble {values} : {types} to {weight.type}
  %result = glvq.decode %w : {weight.type} to {matrix}""",
        parts,
        weight.decoded().astype(np.float32),
    )
    params = {name: part for name, part in parts.items() if name != "codes"}
    operands = ""
    if params:
        operands = f"params({', '.join('%' + n for n in params)} : {', '.join(map(tensor_type, params.values()))})"
    program.add(
        f"""  %i = tensor.cast %init : {tensor_type(init)} to {output}
  %result = glvq.matmul ins(%x : tensor<?x{weight.columns}xf32>) codes(%codes : {tensor_type(parts["codes"])})
    {operands} outs(%i : {output}) {{code = {weight.code}}} -> {output}""",
        {"x": x, **parts, "init": init},
        init,
        dynamic=(0,),
    )
