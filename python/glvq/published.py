"""GLVQ as it was published (arXiv 2510.20984), to compare with.

Each group of columns has a square generator G and a compander F. In turn, its
weights are companded, rounded to points (Babai's rounding, clamped), and G and
the parameters of F are fitted to tr(E H Eᵀ), E the error of the group and H the
second moment of its inputs. There is no rotation and no error feedback.

What the paper leaves open, and what is done here:

* The range of integers and an offset: z + 1/2 with z of ``bits`` bits, as all
  lattices of this project (without the offset the error of 2 bits on Gaussian
  data rises from 0.119 to 0.149).
* The size of the first G, the Cholesky factor of the covariance of the companded
  weights: times the step of the best uniform quantizer of Gaussian data.
* The normalisation before the mu-law: the largest absolute weight of the group.
* The update of G: the least squares in closed form, in the companded domain and
  in the metric H, drawn to the first G by ``pull`` (lambda of the paper, relative
  to the mean diagonal of the normal equations). Learning rates do not exist.
* The update of mu (or of a and b of the affine compander): one Gauss-Newton
  step; mu stays in [10, 255], as published.
* Spectral bounds: the singular values of G stay within ``spectrum`` times the
  least and the largest of the first G.
* The round with the least loss is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .checkpoint import COMPANDERS, LatticeCode
from .errors import GLVQError
from .quantizers import Encoded, LatticeQuantizer, Matrix, flat_runs

# The step of the best uniform quantizer of N(0, 1), by bits: lattice::gaussianStep.
STEPS = (1.5958, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)
MU = (10.0, 255.0)


@dataclass(frozen=True)
class PublishedQuantizer(LatticeQuantizer):
    """``--method glvq``: dimension 2 to 32, ``start`` cholesky or identity."""

    dim: int = 8
    group: int = 128
    iterations: int = 12
    damping: float = 0.01
    compander: str = "mu_law"
    start: str = "cholesky"
    pull: float = 1e-6
    spectrum: float = 10.0

    family = "glvq"

    def group_of(self, columns: int) -> int:
        # Groups of whole points, as many columns as asked for at most.
        return max(self.dim, min(self.group, columns) // self.dim * self.dim)

    def storage_bits(self, rows: int, columns: int, bits: Sequence[int]) -> int:
        from .learning import ops

        group = self.group_of(columns)
        widths = list(bits) if len(bits) > 1 else list(bits) * len(self.groups(columns))
        runs = flat_runs(widths, columns % group != 0)
        return ops().lattice_storage(rows, columns, self.dim, group, runs, self.compander != "none")[1]

    def check(self, bits: Sequence[int]) -> None:
        super().check(bits)
        if self.compander not in COMPANDERS:
            raise GLVQError(f"the compander must be one of {', '.join(COMPANDERS)}, not {self.compander}")
        if self.start not in ("cholesky", "identity"):
            raise GLVQError(f"the first generator must be cholesky or identity, not {self.start}")
        if self.iterations < 1 or self.spectrum < 1 or self.pull < 0:
            raise GLVQError("iterations and spectrum are at least 1, and pull is not negative")

    def _quantize(self, matrix: Matrix, hessian) -> Encoded:
        import torch

        from .learning import ops

        weight = matrix.dense.detach().float()
        if not weight.isfinite().all():
            raise RuntimeError("the weight has elements that are not finite")
        rows, columns = weight.shape
        h = torch.eye(columns) if hessian is None else hessian.float().clone()
        if not h.isfinite().all():
            raise RuntimeError("the Hessian has elements that are not finite")
        signs_in, signs_out = matrix.signs_in, matrix.signs_out
        if signs_in is not None:
            weight = ops().hadamard(weight, signs_in, 1)
            h = ops().hadamard(ops().hadamard(h, signs_in, 0), signs_in, 1)
        if signs_out is not None:
            weight = ops().hadamard(weight, signs_out, 0)
        h.diagonal().add_(self.damping * float(h.diagonal().mean()) or 1.0)

        group = self.group_of(columns)
        begins = range(0, columns, group)
        widths = list(matrix.bits) * (1 if len(matrix.bits) > 1 else len(begins))
        if len(widths) != len(begins):
            raise RuntimeError(f"bits must give one width, or one for each of the {len(begins)} groups")
        coded = []
        for begin, width in zip(begins, widths):
            own = slice(begin, min(columns, begin + group))
            coded.append(_code_group(weight[:, own], h[own, own], width, self))

        ragged = columns % group != 0
        order = sorted(range(len(begins) - ragged), key=lambda g: (widths[g], g)) + [len(begins) - 1] * ragged
        runs = flat_runs(widths, ragged)
        mixed = len(runs) > 2
        code = LatticeCode(
            self.dim, group, tuple(zip(runs[::2], runs[1::2])) if mixed else ((runs[0], None),), self.compander
        )
        parts = {
            "codes": torch.cat([_pack(coded[g].fields, widths[g]) for g in order], 1),
            "generators": torch.stack([coded[g].generator for g in order]),
            "scales": torch.ones(rows, dtype=torch.float16),
        }
        if mixed:
            parts["order"] = torch.tensor(order, dtype=torch.int32)
        if self.compander != "none":
            parts["companders"] = torch.tensor([coded[g].parameters for g in order])
        error = weight - code.dequantize(parts, columns)
        power = float(((weight @ h) * weight).sum())
        proxy_error = float(((error @ h) * error).sum()) / power if power > 0 else 0.0
        decoded = code.dequantize(parts, columns, signs_in, signs_out)
        return Encoded(code, parts, decoded, self.storage_bits(rows, columns, widths), proxy_error)


@dataclass
class _Group:
    fields: object  # uint8 [rows, fields], those of padding columns included
    generator: object  # float16 [dim, dim]
    parameters: tuple[float, float]  # of the compander


def _compress(x, kind: str, first: float, second: float):
    """F(x): the inverse of _expand."""
    if kind == "mu_law":
        return (x / second).sign() * (first * (x / second).abs()).log1p() / math.log1p(first)
    if kind == "affine":
        if abs(second) < 1e-6 * abs(first):
            return x / first
        root = (first**2 + 4 * second * x.abs()).clamp(min=0).sqrt()
        return x.sign() * (root - first) / (2 * second)
    return x


def _expand(y, kind: str, first: float, second: float):
    """F⁻¹(y), and its derivatives by the learned parameters."""
    if kind == "mu_law":
        power = (y.abs() * math.log1p(first)).exp()
        by_mu = y.sign() * second * (y.abs() * power / (1 + first) / first - (power - 1) / first**2)
        return second * y.sign() * (power - 1) / first, [by_mu]
    if kind == "affine":
        return y * (first + second * y.abs()), [y, y * y.abs()]
    return y, []


def _code_group(w, h, width: int, options: PublishedQuantizer) -> _Group:
    """Alternates rounding and fitting on one group: w [rows, columns]."""
    import torch

    dim, kind = options.dim, options.compander
    rows, columns = w.shape
    points = -(-columns // dim)
    padding = points * dim - columns
    # Columns that pad the last point: zeros that weigh nothing.
    w = torch.nn.functional.pad(w, (0, padding))
    h = torch.nn.functional.pad(h, (0, padding, 0, padding))
    largest, spread = float(w.abs().max()), float(w.pow(2).mean().sqrt())
    if not largest > 0:
        zeros = torch.zeros(dim, dim, dtype=torch.float16)
        return _Group(torch.zeros(rows, points * dim, dtype=torch.uint8), zeros, (MU[0], 1.0))
    if kind == "mu_law":
        kurtosis = float((w / spread).pow(4).mean()) - 3
        parameters = (min(MU[1], max(MU[0], 100 * math.tanh(kurtosis / 10))), largest)
    else:
        parameters = (spread if kind == "affine" else 1.0, 0.0)

    x = _compress(w, kind, *parameters)
    samples = x[:, : columns // dim * dim].reshape(-1, dim) if columns >= dim else x.reshape(-1, dim)
    covariance = (samples.T @ samples / len(samples)).double()
    mean = float(covariance.diagonal().mean())
    covariance.diagonal().add_(1e-6 * mean)
    if options.start == "cholesky":
        first = torch.linalg.cholesky(covariance).float() * STEPS[width - 1]
    else:
        first = torch.eye(dim) * math.sqrt(mean) * STEPS[width - 1]
    bounds = torch.linalg.svdvals(first)
    least, most = float(bounds[-1]) / options.spectrum, float(bounds[0]) * options.spectrum

    half, generator = 2 ** (width - 1), first
    best, best_loss = None, math.inf
    blocks = h.reshape(points, dim, points, dim)
    for _ in range(options.iterations):
        stored = generator.half().float()
        inverse = torch.linalg.pinv(stored.double()).float()
        x = _compress(w, kind, *parameters).reshape(rows, points, dim)
        z = (x @ inverse.T).floor().clamp(-half, half - 1) + 0.5
        value, slopes = _expand((z @ stored.T).reshape(rows, -1), kind, *parameters)
        error = w - value
        weighted = error @ h
        loss = float((weighted * error).sum())
        if loss < best_loss:
            best_loss = loss
            best = _Group((z + half - 0.5).reshape(rows, -1).to(torch.uint8), generator.half(), parameters)

        # sum over c, c' of H_cc' (x) S_cc' acting on G equals sum of (H t)_c z_c.
        flat = z.reshape(rows, -1)
        moments = (flat.T @ flat).reshape(points, dim, points, dim)
        normal = torch.einsum("cadb,ckdl->akbl", blocks, moments).reshape(dim * dim, dim * dim).double()
        metric = (h @ x.reshape(rows, -1).T @ flat).reshape(points, dim, points, dim)
        right = torch.einsum("cack->ak", metric).reshape(-1).double()
        ridge = max(options.pull, 1e-9) * float(normal.diagonal().mean())
        normal.diagonal().add_(ridge)
        generator = torch.linalg.solve(normal, right + ridge * first.double().reshape(-1)).reshape(dim, dim).float()
        u, s, v = torch.linalg.svd(generator)
        generator = u @ torch.diag(s.clamp(least, most)) @ v

        if slopes:
            normal = torch.tensor([[float((a @ h * b).sum()) for a in slopes] for b in slopes], dtype=torch.float64)
            right = torch.tensor([float((weighted * a).sum()) for a in slopes], dtype=torch.float64)
            normal.diagonal().mul_(1 + 1e-6).add_(1e-30)
            step = torch.linalg.solve(normal, right).tolist()
            if kind == "mu_law":
                parameters = (min(MU[1], max(MU[0], parameters[0] + step[0])), largest)
            elif parameters[0] + step[0] > 0:
                # F⁻¹ must grow over the range of y.
                a = parameters[0] + step[0]
                floor = -a / (3 * float(_compress(w, "affine", a, 0.0).abs().max()))
                parameters = (a, max(floor, parameters[1] + step[1]))
    return best


def _pack(fields, width: int):
    """Fields [rows, n] to words [rows, ceil(n width / 32)], little end first."""
    import torch

    rows = len(fields)
    bits = (fields[:, :, None] >> torch.arange(width, dtype=torch.uint8)) & 1
    bits = torch.nn.functional.pad(bits.reshape(rows, -1), (0, -fields.shape[1] * width % 32))
    words = (bits.reshape(rows, -1, 32).long() << torch.arange(32)).sum(-1)
    return (words - (words >= 2**31).long() * 2**32).int()
