# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""How many bits each group of columns gets.

- ``uniform``: the same for all; a fractional average mixes two widths evenly.
- ``sdba``: within each linear, as many groups get one bit more as get one bit
  less. Which: by salience; how many: by the divergence of the linear's outputs
  (SliM-LLM, and GLVQ after it).
- ``measured``: over all groups of all linears at once, so that the expected KL
  divergence of the model's predictions is least for a number of stored bits.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from .errors import GLVQError
from .quantizers import Matrix, Quantizer

ALLOCATIONS = ("uniform", "sdba", "measured")

# Rows of inputs that are kept of each linear when its allocation wants them.
SAMPLE = 256


class Allocation(ABC):
    """Gives the widths of the groups of a linear when it is its turn."""

    # Whether widths() needs the inputs of the linear.
    needs_inputs = False

    @abstractmethod
    def widths(self, matrix: Matrix, hessian, inputs) -> list[int]:
        """One width for all groups, or one for each. ``inputs`` are ``[rows,
        columns]`` of the activations that the linear reads."""


def check(quantizer: Quantizer, bits: float, allocation: str) -> None:
    """Raises GLVQError for a name that does not exist and averages that cannot
    be reached."""
    if allocation not in ALLOCATIONS:
        raise GLVQError(f"the allocation is one of {', '.join(ALLOCATIONS)}, not '{allocation}'")
    low = math.floor(bits)
    quantizer.check([low, math.ceil(bits)])
    if allocation == "sdba" and low <= quantizer.widths[0]:
        raise GLVQError(
            f"sdba takes a bit from some groups, so it needs {quantizer.widths[0] + 1} bits at least, not {bits:g}"
        )
    if allocation != "uniform" and low == bits:
        # Some groups get the width beside it.
        quantizer.check([low, low + 1] if low < quantizer.widths[-1] else [low - 1, low])


class Uniform(Allocation):
    """An average of ``bits`` over the columns of all linears. With a fraction the
    two widths next to it alternate; what a linear gets too much, the next gets
    less."""

    def __init__(self, quantizer: Quantizer, bits: float):
        self.quantizer, self.bits = quantizer, bits
        self._owed = 0.0

    def widths(self, matrix: Matrix, hessian, inputs) -> list[int]:
        low = math.floor(self.bits)
        if low == self.bits:
            return [low]
        rows, columns = matrix.dense.shape
        widths = []
        for size in self.quantizer.groups(columns):
            weights = rows * size
            self._owed += weights * (self.bits - low)
            more = self._owed >= weights / 2
            self._owed -= weights * more
            widths.append(low + more)
        return widths


class SDBA(Allocation):
    """Salience-determined bit allocation, as the code of SliM-LLM does it: the
    salience of a group is the sum of W² / U², U the diagonal of the upper
    Cholesky factor of H⁻¹; groups are sorted by it; k groups at either end
    change their width, with the k of least KL between the outputs of the linear
    before and after rounding its groups to the nearest of uniform levels."""

    needs_inputs = True

    def __init__(self, quantizer: Quantizer, bits: float, damping: float = 0.01):
        self.quantizer, self.base, self.damping = quantizer, Uniform(quantizer, bits), damping

    def widths(self, matrix: Matrix, hessian, inputs) -> list[int]:
        import torch

        rows, columns = matrix.dense.shape
        sizes = self.quantizer.groups(columns)
        base = self.base.widths(matrix, hessian, inputs)
        base = base if len(base) == len(sizes) else base * len(sizes)
        if hessian is None or inputs is None or len(sizes) < 2:
            return base
        # The groups are those of the rotated columns.
        weight, metric, x = (_rotated(t, matrix.signs_in) for t in (matrix.dense, hessian, inputs))
        metric = _rotated(metric.T, matrix.signs_in)
        metric.diagonal().add_(self.damping * metric.diagonal().mean())
        upper = torch.linalg.cholesky(torch.linalg.inv(metric.double()), upper=True).diagonal().float()
        salience = [float(s.sum()) for s in (weight / upper).square().split(sizes, 1)]
        order = sorted(range(len(sizes)), key=lambda g: (salience[g], g))

        exact = torch.log_softmax(x @ weight.T, -1)
        groups = list(zip(weight.split(sizes, 1), x.split(sizes, 1)))

        def output(group: int, width: int):
            return groups[group][1] @ round_to_nearest(groups[group][0], width).T

        plain = [output(g, base[g]) for g in range(len(sizes))]
        y = torch.stack(plain).sum(0)
        best, best_k = _divergence(exact, y), 0
        for k in range(1, len(sizes) // 2 + 1):
            low, high = order[k - 1], order[-k]
            if base[low] - 1 < self.quantizer.widths[0] or base[high] + 1 > self.quantizer.widths[-1]:
                break
            y = y + output(low, base[low] - 1) - plain[low] + output(high, base[high] + 1) - plain[high]
            divergence = _divergence(exact, y)
            if divergence < best:
                best, best_k = divergence, k
        widths = list(base)
        for k in range(best_k):
            widths[order[k]] -= 1
            widths[order[-1 - k]] += 1
        return widths


def round_to_nearest(weight, width: int):
    """Rows rounded to 2^width even levels between their least and their largest
    element; with one bit to mean ± mean |w - mean|."""
    import torch

    if width == 1:
        mean = weight.mean(1, keepdim=True)
        return mean + torch.sign(weight - mean) * (weight - mean).abs().mean(1, keepdim=True)
    low, high = weight.amin(1, keepdim=True).clamp_max(0), weight.amax(1, keepdim=True).clamp_min(0)
    step = ((high - low) / (2**width - 1)).clamp_min(1e-12)
    zero = (-low / step).round()
    return step * (((weight / step).round() + zero).clamp(0, 2**width - 1) - zero)


def _divergence(exact, outputs) -> float:
    """Mean over rows of KL(softmax(exact outputs) ‖ softmax(outputs))."""
    import torch

    return float((exact.exp() * (exact - torch.log_softmax(outputs, -1))).sum(-1).mean())


def _rotated(rows, signs):
    """The rows in the basis in which the columns of the weight are stored."""
    from .learning import ops

    rows = rows.float().contiguous()
    return rows.clone() if signs is None else ops().hadamard(rows, signs)


@dataclass
class Sensitivity:
    """What the groups of a linear cost. ``losses``: the KL divergence of the
    model, in nats per token, if the error of a group were its whole energy;
    times the error of the code at some width it is what that width costs."""

    name: str
    rows: int
    columns: int
    losses: list[float]

    def to_json(self) -> dict:
        return self.__dict__


def sensitivity(name: str, dense, hessian, signs_in, fisher: float, damping: float = 0.03) -> Sensitivity:
    """``fisher`` is E|g|² / rows with g the gradient of the log-likelihood by the
    outputs of the linear.

    Error feedback leaves of the error of column j what D_j of H = L D Lᵀ weighs,
    so a group costs ½ · fisher · E w² · rows · Σ D_j over its columns.
    """
    import torch

    rows, columns = dense.shape
    metric = _rotated(_rotated(hessian, signs_in).T, signs_in)
    metric.diagonal().add_(damping * metric.diagonal().mean().clamp_min(1e-20))
    try:
        d = torch.linalg.cholesky(metric.double()).diagonal().square()
    except RuntimeError as error:
        raise GLVQError(f"weight '{name}': its Hessian is not positive definite; calibrate on more text") from error
    return Sensitivity(name, rows, columns, (0.5 * fisher * dense.float().square().mean() * rows * d).tolist())


def code_errors(quantizer: Quantizer, widths: range, seed: int = 0) -> dict[int, float]:
    """The error of the real quantizer at each width, relative to the energy:
    measured on independent Gaussian weights, which rotated ones are close to."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(256, 256, generator=generator)
    errors = {}
    for width in widths:
        (encoded,) = quantizer.quantize([Matrix("gaussian", weight, [width])], None)
        errors[width] = float((encoded.decoded - weight).square().mean() / weight.square().mean())
    return errors


class Measured(Allocation):
    """Widths planned for the whole model (choose)."""

    def __init__(self, plan: dict[str, list[int]]):
        self.plan = plan

    def widths(self, matrix: Matrix, hessian, inputs) -> list[int]:
        widths = self.plan[matrix.name]
        return widths if len(set(widths)) > 1 else widths[:1]


def choose(
    quantizer: Quantizer, linears: list[Sensitivity], bits: float, errors: dict[int, float], other_bits: int = 0
) -> dict[str, list[int]]:
    """The widths of least total loss for which everything stored, ``other_bits``
    included, is at most ``bits`` per weight.

    Bits are given one at a time to the group that gains most from it per stored
    bit; as the gains of a group fall with its width, no other choice of the
    same size is better. Raises GLVQError if the narrowest widths are too wide.
    """
    lowest, highest = min(errors), max(errors)
    groups = {s.name: quantizer.groups(s.columns) for s in linears}
    weights = sum(s.rows * s.columns for s in linears)
    plan = {s.name: [lowest] * len(groups[s.name]) for s in linears}
    stored = {s.name: quantizer.storage_bits(s.rows, s.columns, plan[s.name]) for s in linears}
    budget = bits * weights - other_bits
    total = sum(stored.values())
    if total > budget:
        raise GLVQError(
            f"{bits:g} bits are too few: scales and tables included, {lowest} bits for each weight "
            f"take {(total + other_bits) / weights:.3f}"
        )

    by_name = {s.name: s for s in linears}
    group_losses = {}
    for s in linears:
        begins = [sum(groups[s.name][:g]) for g in range(len(groups[s.name]) + 1)]
        group_losses[s.name] = [sum(s.losses[a:b]) for a, b in zip(begins, begins[1:])]

    def gain(name: str, group: int) -> float:
        width = plan[name][group]
        saved = group_losses[name][group] * (errors[width] - errors[width + 1])
        return saved / (by_name[name].rows * groups[name][group])

    heap = [(-gain(name, g), name, g) for name in plan for g in range(len(plan[name]))] if lowest < highest else []
    heapq.heapify(heap)
    while heap:
        _, name, group = heapq.heappop(heap)
        s = by_name[name]
        plan[name][group] += 1
        grown = quantizer.storage_bits(s.rows, s.columns, plan[name])
        if total + grown - stored[name] > budget:
            plan[name][group] -= 1  # too large for what is left; a smaller group may fit
            continue
        total += grown - stored[name]
        stored[name] = grown
        if plan[name][group] < highest:
            heapq.heappush(heap, (-gain(name, group), name, group))
    return plan
