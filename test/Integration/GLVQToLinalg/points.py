# The reference decoders of the codes with fixed points, executed on random
# numbers (all shells, gains, residuals, shorter last groups) against points
# worked out from the text of docs/LeechLattice.md.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 9 weights: decode and multiply agree

import random
import sys

import leech_points
import numpy as np
from helpers import Program, add_products


class Points:
    """A random weight; fields are [row][point][field]."""

    def __init__(self, rng, dim, group, columns, rows, widths):
        self.dim, self.group, self.columns, self.rows = dim, group, columns, rows
        self.widths = widths
        self.slots, self.points = -(-columns // group), -(-columns // dim)
        self.scales = rng.uniform(0.25, 2, size=rows).astype(np.float16)
        self.group_scales = rng.uniform(0.25, 2, size=self.slots).astype(np.float16)

    @property
    def type(self):
        return f"!glvq.weight<{self.rows}x{self.columns}xf32, {self.code}>"

    def parts(self):
        per_slot = self.group // self.dim
        rows = []
        for points in self.fields:
            words = []
            for first in range(0, self.points, per_slot):
                stream = shift = 0
                for fields in points[first : first + per_slot]:
                    for field, width in zip(fields, self.widths, strict=True):
                        stream |= field << shift
                        shift += width
                words += [stream >> (32 * w) & 0xFFFFFFFF for w in range(-(-shift // 32))]
            rows.append(words)
        codes = np.array(rows, dtype=np.uint32)
        return {"codes": codes, "scales": self.scales, "group_scales": self.group_scales, **self.more}

    def decoded(self):
        rows = []
        for points in self.fields:
            v = np.concatenate([self.point(fields) for fields in points])[: self.columns]
            rows.append(v * self.group_scales.astype(np.float64)[np.arange(self.columns) // self.group])
        return np.array(rows) * self.scales.astype(np.float64)[:, None]


class Leech(Points):
    def __init__(self, rng, shells, group, columns, rows, first=0, gain=0, residual=0):
        self.shells, self.gain, self.residual = shells, gain, residual
        self.first = 2 if gain and not first else first
        size = leech_points.size(self.first, shells)
        self.bits = (size - 1).bit_length()
        widths = [self.bits + gain]
        self.more = {}
        if gain:
            self.more["gains"] = rng.uniform(3, 6, size=2**gain).astype(np.float32)
        if residual:
            self.more["residual_scale"] = rng.uniform(0.3, 0.6, size=1).astype(np.float32)
            residual_size = leech_points.size(residual, residual)
            widths.append((residual_size - 1).bit_length())
        super().__init__(rng, 24, group, columns, rows, widths)
        options = {"first": first, "gain": gain, "residual": residual}
        more = "".join(f", {k} = {v}" for k, v in options.items() if v)
        self.code = f"#glvq.leech<shells = {shells}, group = {group}{more}>"

        draw = random.Random(shells)
        # All shells, however small, and the last number.
        bounds = [leech_points.size(self.first, m) for m in range(self.first, shells + 1)]

        def number():
            upper = draw.choice([b for b in bounds if b])
            return draw.choice([upper - 1, draw.randrange(upper)])

        def fields():
            result = [number() | draw.randrange(2**gain) << self.bits]
            return result + ([draw.randrange(residual_size)] if residual else [])

        self.fields = [[fields() for _ in range(self.points)] for _ in range(rows)]

    def point(self, fields):
        number = fields[0] & ((1 << self.bits) - 1)
        v = np.array(leech_points.point(number, self.first, self.shells), dtype=np.float64)
        if self.gain:
            v *= self.more["gains"][fields[0] >> self.bits] / np.linalg.norm(v)
        if self.residual:
            u = leech_points.point(fields[1], self.residual, self.residual)
            v += np.float64(self.more["residual_scale"][0]) * np.array(u)
        return v


class E8P(Points):
    def __init__(self, rng, group, columns, rows):
        super().__init__(rng, 8, group, columns, rows, [16])
        self.code, self.more = f"#glvq.e8p<group = {group}>", {}
        self.fields = [[[int(rng.integers(65536))] for _ in range(self.points)] for _ in range(rows)]

    def point(self, fields):
        return leech_points.e8p_point(fields[0])


if __name__ == "__main__":
    rng = np.random.default_rng(24)
    weights = [
        Leech(rng, 13, 96, 192, 24),
        Leech(rng, 13, 48, 100, 7),
        Leech(rng, 12, 96, 96, 6, gain=1),
        Leech(rng, 7, 72, 50, 5, gain=3, residual=2),
        Leech(rng, 3, 72, 190, 4, first=3),
        Leech(rng, 13, 48, 64, 6, residual=3),
        Leech(rng, 2, 24, 24, 1),
        E8P(rng, 96, 192, 8),
        E8P(rng, 24, 85, 5),
    ]
    program = Program(sys.argv[1])
    inputs = []
    for w in weights:
        x = rng.normal(size=(int(rng.integers(1, 4)), w.columns)).astype(np.float32)
        init = rng.normal(size=(len(x), w.rows)).astype(np.float32)
        inputs.append((x, init))
        add_products(program, w, x, init)
    results = program.run()
    for w, (x, init), decoded, product in zip(weights, inputs, results[::2], results[1::2], strict=True):
        where = f"{w.code}, {w.rows} x {w.columns}"
        want = w.decoded()
        np.testing.assert_allclose(decoded, want, rtol=1e-5, atol=1e-6, err_msg=where)
        np.testing.assert_allclose(product, init + x @ want.T, rtol=1e-4, atol=1e-3, err_msg=where)
    print(f"{len(weights)} weights: decode and multiply agree")
