"""One class for each code family: how the weight of a linear layer becomes what
a checkpoint stores.

    quantizer = glvq.quantizers.make("lattice", dim=8)
    encoded, = quantizer.quantize([Matrix("q", weight, bits=[2])], hessian)

Everything that runs the learning (layer after layer, resuming, allocation of
bits, benchmarks) knows a code by this interface only. A new family is a new
subclass of Quantizer and one line in QUANTIZERS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, ClassVar

from .checkpoint import BinaryCode, E8PCode, LatticeCode, LeechCode, TrellisCode
from .errors import GLVQError


@dataclass
class Matrix:
    """A weight to quantize: ``dense`` is float32 ``[rows, columns]`` with
    y = x denseᵀ. ``bits`` is one width for all groups of columns, or one for
    each group. Signs (I32, docs/CheckpointFormat.md) rotate a side."""

    name: str
    dense: Any
    bits: Sequence[int]
    signs_in: Any = None
    signs_out: Any = None


@dataclass
class Encoded:
    """What a weight became. ``parts`` are the tensors to store under the names
    of the format, ``decoded`` is the float32 weight they stand for, in the
    model's basis; ``bits`` counts everything in ``parts``; ``proxy_error`` is
    tr(E H Eᵀ) / tr(W H Wᵀ)."""

    code: Any
    parts: dict[str, Any]
    decoded: Any
    bits: int
    proxy_error: float


class Quantizer(ABC):
    """A code family with its settings. Instances are small and immutable; two
    with equal settings() give the same bytes for the same input, whatever the
    number of threads."""

    family: ClassVar[str]
    # The widths that a group of columns can have.
    widths: ClassVar[range]

    @abstractmethod
    def group_of(self, columns: int) -> int:
        """The columns of a group in a matrix of so many."""

    def groups(self, columns: int) -> list[int]:
        """The columns of each group, the ragged last one included."""
        group = self.group_of(columns)
        return [min(group, columns - begin) for begin in range(0, columns, group)]

    @abstractmethod
    def storage_bits(self, rows: int, columns: int, bits: Sequence[int]) -> int:
        """What ``Encoded.bits`` will be."""

    def check(self, bits: Sequence[int]) -> None:
        """Raises GLVQError for settings and widths that do not fit."""
        for width in bits:
            if width not in self.widths:
                raise GLVQError(f"bits must be {self.widths[0]} to {self.widths[-1]}, not {width}")

    @abstractmethod
    def _quantize(self, matrix: Matrix, hessian) -> Encoded: ...

    def quantize(self, matrices: Sequence[Matrix], hessian) -> list[Encoded]:
        """Quantizes weights that read the same activations, whose second moment
        is ``hessian``, float32 ``[columns, columns]`` (None: the identity).

        The results are those of one after the other; a family may work on all
        at once. Raises GLVQError with the name of the weight.
        """
        return [self._named(matrix, hessian) for matrix in matrices]

    def quantize_layer(self, jobs: Sequence[tuple[Sequence[Matrix], Any]]) -> list[list[Encoded]]:
        """``quantize`` for each (matrices, Hessian) of a layer; a family may work
        on all of them at once, with the same results."""
        return [self.quantize(matrices, hessian) for matrices, hessian in jobs]

    def _named(self, matrix: Matrix, hessian) -> Encoded:
        try:
            return self._quantize(matrix, hessian)
        except RuntimeError as error:  # TORCH_CHECK of the operators
            raise GLVQError(f"weight '{matrix.name}' cannot be quantized: {str(error).splitlines()[0]}") from error

    def settings(self) -> dict:
        """All that the result depends on, for reports and resuming."""
        return {"code": self.family, **asdict(self)}


def default_group(columns: int, dim: int) -> int:
    """The columns of a group: the largest multiple of 32 (so that every slot
    fills whole words) and of ``dim``, up to 128, that leaves no ragged group;
    else the multiple of ``dim`` next to 128."""
    for group in range(128, 31, -32):
        if columns % group == 0 and group % dim == 0:
            return group
    return max(1, min(128, columns) // dim) * dim


def flat_runs(widths: Sequence[int], ragged: bool) -> list[int]:
    """[width, slots, width, slots, …] of groups of these widths, in the order of
    storage: ascending, a ragged last group in the last slot."""
    order = sorted(widths[:-1]) + [widths[-1]] if ragged else sorted(widths)
    runs: list[int] = []
    for width in order:
        if runs and runs[-2] == width:
            runs[-1] += 1
        else:
            runs += [width, 1]
    return runs


@dataclass(frozen=True)
class LatticeQuantizer(Quantizer):
    """#glvq.lattice: generators fitted in closed form, error feedback.
    ``group`` 0 chooses for each number of columns (default_group)."""

    dim: int = 8
    group: int = 0
    iterations: int = 5
    damping: float = 0.03

    family = "lattice"
    widths = range(1, 9)

    def group_of(self, columns: int) -> int:
        return self.group or default_group(columns, self.dim)

    def storage_bits(self, rows: int, columns: int, bits: Sequence[int]) -> int:
        from .learning import ops

        group = self.group_of(columns)
        widths = list(bits) if len(bits) > 1 else list(bits) * len(self.groups(columns))
        return ops().lattice_storage(rows, columns, self.dim, group, flat_runs(widths, columns % group != 0))[1]

    def check(self, bits: Sequence[int]) -> None:
        super().check(bits)
        if not 1 <= self.dim <= 32:
            raise GLVQError(f"the dimension of the lattice must be 1 to 32, not {self.dim}")
        if self.group < 0 or self.group % self.dim:
            raise GLVQError(f"the group must be a multiple of the dimension {self.dim}, not {self.group}")

    def _quantize(self, matrix: Matrix, hessian) -> Encoded:
        from .learning import ops

        rows, columns = matrix.dense.shape
        group = self.group_of(columns)
        signs = (matrix.signs_in, matrix.signs_out)
        codes, generators, scales, order, runs, proxy_error = ops().quantize_lattice(
            matrix.dense, hessian, *signs, list(matrix.bits), self.dim, group, self.iterations, damping=self.damping
        )
        decoded = ops().dequantize_lattice(
            codes, generators, scales, order, None, columns, self.dim, group, runs, "none", *signs
        )
        parts = {"codes": codes, "generators": generators, "scales": scales}
        if order.numel():
            parts["order"] = order
            code = LatticeCode(self.dim, group, tuple(zip(runs[::2], runs[1::2])))
        else:
            code = LatticeCode(self.dim, group, ((runs[0], None),))
        bits = ops().lattice_storage(rows, columns, self.dim, group, runs)[1]
        return Encoded(code, parts, decoded, bits, proxy_error)


@dataclass(frozen=True)
class TrellisQuantizer(Quantizer):
    """#glvq.trellis: one Viterbi search down each column, error feedback along
    the columns, filters and scales fitted in closed form. The time goes with
    2^taps. ``nodes`` additive learns two tables in place of a filter."""

    taps: int = 12
    nodes: str = "linear"
    group: int = 0
    iterations: int = 2
    damping: float = 0.03

    family = "trellis"
    widths = range(1, 5)

    def group_of(self, columns: int) -> int:
        return self.group or default_group(columns, 1)

    def storage_bits(self, rows: int, columns: int, bits: Sequence[int]) -> int:
        from .learning import ops

        group = self.group_of(columns)
        widths = list(bits) if len(bits) > 1 else list(bits) * len(self.groups(columns))
        runs = flat_runs(widths, columns % group != 0)
        return ops().trellis_storage(rows, columns, self.taps, group, runs, self.nodes == "additive")

    def check(self, bits: Sequence[int]) -> None:
        super().check(bits)
        if not max(bits) < self.taps <= 20:
            raise GLVQError(f"the taps of a trellis are more than the bits, and 20 at most, not {self.taps}")
        if self.nodes not in ("linear", "additive"):
            raise GLVQError(f"the nodes of a trellis are linear or additive, not {self.nodes}")
        if self.nodes == "additive" and self.taps % 2:
            raise GLVQError(f"additive nodes need an even number of taps, not {self.taps}")
        if self.group < 0:
            raise GLVQError(f"the group must not be negative, not {self.group}")

    def quantize_layer(self, jobs: Sequence[tuple[Sequence[Matrix], Any]]) -> list[list[Encoded]]:
        # The search down a column is sequential, so the weights of a layer
        # share the cores: the largest first, each on one thread.
        import torch

        todo = [(index, matrix, hessian) for index, (matrices, hessian) in enumerate(jobs) for matrix in matrices]
        todo.sort(key=lambda job: -job[1].dense.numel())
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            done = {(i, m.name): pool.submit(self._named, m, h) for i, m, h in todo}
            return [[done[i, m.name].result() for m in matrices] for i, (matrices, _) in enumerate(jobs)]

    def quantize(self, matrices: Sequence[Matrix], hessian) -> list[Encoded]:
        return self.quantize_layer([(matrices, hessian)])[0]

    def _quantize(self, matrix: Matrix, hessian) -> Encoded:
        from .learning import ops

        rows, columns = matrix.dense.shape
        group, additive = self.group_of(columns), self.nodes == "additive"
        codes, nodes, scales, group_scales, order, runs, proxy_error = ops().quantize_trellis(
            matrix.dense, hessian, matrix.signs_in, matrix.signs_out, list(matrix.bits), self.taps, group, additive,
            self.iterations, damping=self.damping, parallel=False,
        )  # fmt: skip
        mixed = order.numel() > 0
        code = TrellisCode(
            self.taps, group, tuple(zip(runs[::2], runs[1::2])) if mixed else ((runs[0], None),), self.nodes
        )
        parts = {"codes": codes, code.nodes_part: nodes, "scales": scales, "group_scales": group_scales}
        if mixed:
            parts["order"] = order
        decoded = code.dequantize(parts, columns, matrix.signs_in, matrix.signs_out)
        bits = ops().trellis_storage(rows, columns, self.taps, group, runs, additive)
        return Encoded(code, parts, decoded, bits, proxy_error)


@dataclass(frozen=True)
class BinaryQuantizer(Quantizer):
    """#glvq.binary: points of ``dim`` weights as projected hypercubes, found by
    a search with ``survivors`` beginnings, error feedback in blocks of ``dim``."""

    dim: int = 8
    group: int = 0
    survivors: int = 32
    iterations: int = 3
    damping: float = 0.03

    family = "binary"
    widths = range(1, 9)

    def group_of(self, columns: int) -> int:
        return self.group or default_group(columns, self.dim)

    def _point_bits(self, bits: Sequence[int]) -> list[int]:
        return [int(width * self.dim) for width in bits]

    def storage_bits(self, rows: int, columns: int, bits: Sequence[int]) -> int:
        from .learning import ops

        group = self.group_of(columns)
        widths = self._point_bits(bits if len(bits) > 1 else list(bits) * len(self.groups(columns)))
        return ops().binary_storage(rows, columns, self.dim, group, flat_runs(widths, columns % group != 0))

    def check(self, bits: Sequence[int]) -> None:
        super().check(bits)
        if not 1 <= self.dim <= 32:
            raise GLVQError(f"the dimension of a binary code must be 1 to 32, not {self.dim}")
        if self.group < 0 or self.group % self.dim:
            raise GLVQError(f"the group must be a multiple of the dimension {self.dim}, not {self.group}")

    def _quantize(self, matrix: Matrix, hessian) -> Encoded:
        from .learning import ops

        rows, columns = matrix.dense.shape
        group = self.group_of(columns)
        signs = (matrix.signs_in, matrix.signs_out)
        codes, generators, scales, group_scales, order, runs, proxy_error = ops().quantize_binary(
            matrix.dense, hessian, *signs, self._point_bits(matrix.bits), self.dim, group, self.survivors,
            self.iterations, damping=self.damping,
        )  # fmt: skip
        mixed = order.numel() > 0
        widths = [Fraction(width, self.dim) for width in runs[::2]]
        code = BinaryCode(self.dim, group, tuple(zip(widths, runs[1::2])) if mixed else ((widths[0], None),))
        parts = {"codes": codes, "generators": generators, "scales": scales, "group_scales": group_scales}
        if mixed:
            parts["order"] = order
        decoded = code.dequantize(parts, columns, *signs)
        bits = ops().binary_storage(rows, columns, self.dim, group, runs)
        return Encoded(code, parts, decoded, bits, proxy_error)


@dataclass(frozen=True)
class LeechQuantizer(Quantizer):
    """#glvq.leech: numbered points of the Leech lattice, the search of the
    nearest one among the ``candidates`` best Golay words, error feedback in
    blocks of 24 columns, scales in closed form.

    ``shells`` 0 lets the bits choose: shell 3 alone (1 bit), the ball of 13
    shells (2 bits), and that with a residual on shell 3 (3 bits). Otherwise
    shells, first, gain and residual, which docs/CheckpointFormat.md explains, fix
    the rate, and the bits are not looked at."""

    shells: int = 0
    first: int = 0
    gain: int = 0
    residual: int = 0
    group: int = 0
    candidates: int = 32
    refinements: int = 6
    damping: float = 0.03

    family = "leech"
    widths = range(1, 4)

    def _code(self, bits: Sequence[int], group: int) -> LeechCode:
        if self.shells:
            return LeechCode(self.shells, group, self.first, self.gain, self.residual)
        shells, first, residual = {1: (3, 3, 0), 2: (13, 0, 0), 3: (13, 0, 3)}[bits[0]]
        return LeechCode(shells, group, first, 0, residual)

    def group_of(self, columns: int) -> int:
        if self.group:
            return self.group
        # What fills the words best, and is next to 96.
        sizes = {g: self._code([2], g).parts(1, columns)["codes"][1][1] for g in range(24, 193, 24)}
        return min(sizes, key=lambda g: (sizes[g], abs(g - 96)))

    def storage_bits(self, rows: int, columns: int, bits: Sequence[int]) -> int:
        return self._code(bits, self.group_of(columns)).storage_bits(rows, columns)

    def check(self, bits: Sequence[int]) -> None:
        super().check(bits)
        if len(set(bits)) > 1:
            raise GLVQError("a Leech code has one rate for all groups of a weight; give one number of bits")
        if not self.shells and (self.first or self.gain or self.residual):
            raise GLVQError("first, gain and residual belong to a number of shells; give shells, too")
        if problem := self._code(bits, self.group or 24)._problem():
            raise GLVQError(f"a Leech code of shells {self.shells}, group {self.group}: {problem}")

    def _quantize(self, matrix: Matrix, hessian) -> Encoded:
        from .learning import ops

        rows, columns = matrix.dense.shape
        code = self._code(matrix.bits, self.group_of(columns))
        signs = (matrix.signs_in, matrix.signs_out)
        codes, scales, group_scales, gains, residual_scale, proxy_error = ops().quantize_leech(
            matrix.dense,
            hessian,
            *signs,
            code.shape,
            code.group,
            self.candidates,
            self.refinements,
            damping=self.damping,
        )
        parts = {"codes": codes, "scales": scales, "group_scales": group_scales}
        if code.gain:
            parts["gains"] = gains
        if code.residual:
            parts["residual_scale"] = residual_scale
        return Encoded(
            code, parts, code.dequantize(parts, columns, *signs), code.storage_bits(rows, columns), proxy_error
        )


@dataclass(frozen=True)
class E8PQuantizer(Quantizer):
    """#glvq.e8p, the code of QuIP#: the nearest of 2^16 points for 8 columns,
    error feedback in blocks of 8, scales in closed form."""

    group: int = 0
    refinements: int = 6
    damping: float = 0.03

    family = "e8p"
    widths = range(2, 3)

    def group_of(self, columns: int) -> int:
        return self.group or default_group(columns, 8)

    def storage_bits(self, rows: int, columns: int, bits: Sequence[int]) -> int:
        return E8PCode(self.group_of(columns)).storage_bits(rows, columns)

    def check(self, bits: Sequence[int]) -> None:
        if set(bits) != {2}:
            raise GLVQError(f"the code e8p has 2 bits a weight, not {', '.join(map(str, sorted(set(bits))))}")
        if self.group < 0 or self.group % 8:
            raise GLVQError(f"the group must be a multiple of 8, not {self.group}")

    def _quantize(self, matrix: Matrix, hessian) -> Encoded:
        from .learning import ops

        rows, columns = matrix.dense.shape
        code = E8PCode(self.group_of(columns))
        signs = (matrix.signs_in, matrix.signs_out)
        codes, scales, group_scales, proxy_error = ops().quantize_e8p(
            matrix.dense, hessian, *signs, code.group, self.refinements, damping=self.damping
        )
        parts = {"codes": codes, "scales": scales, "group_scales": group_scales}
        return Encoded(
            code, parts, code.dequantize(parts, columns, *signs), code.storage_bits(rows, columns), proxy_error
        )


QUANTIZERS: dict[str, type[Quantizer]] = {
    quantizer.family: quantizer
    for quantizer in (LatticeQuantizer, TrellisQuantizer, BinaryQuantizer, LeechQuantizer, E8PQuantizer)
}


def default_code(bits: float) -> str:
    """The family with the lowest error at so many bits (docs/Quality.md): a
    trellis where it has the widths, a lattice above."""
    return "trellis" if bits <= TrellisQuantizer.widths[-1] else "lattice"


def make(code: str, **settings) -> Quantizer:
    """The quantizer of a family by its name; settings it does not have, and
    those that are None, are an error and its default."""
    from .published import PublishedQuantizer

    families = {**QUANTIZERS, PublishedQuantizer.family: PublishedQuantizer}
    if code not in families:
        raise GLVQError(f"unknown code '{code}'; there are {', '.join(families)}")
    family = families[code]
    given = {key: value for key, value in settings.items() if value is not None}
    unknown = set(given) - set(getattr(family, "__dataclass_fields__", {}))
    if unknown:
        raise GLVQError(f"the code '{code}' has no setting '{sorted(unknown)[0]}'")
    return family(**given)
