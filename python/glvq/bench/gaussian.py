"""What every code family makes of fresh N(0, 1) data at 2 bits a weight.

    rows = run(samples=1_000_000, seed=0)

A code without scales of rows (binary, trellis) is measured alone: its numbers
were learned from other samples than those it is measured on, and counted as
stored once for a matrix of so many weights as there are samples. The
others are measured as a quantizer stores them, with the scales of rows of
960 weights. No code of 2 bits has an error below
2^-4 = 0.0625.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import GLVQError
from ..learning import ops

BOUND = 0.0625


@dataclass(frozen=True)
class Row:
    """``error`` is the mean squared error over the variance; ``at_two_bits`` is
    what it would be at exactly 2 bits, 6.02 dB a bit."""

    code: str
    bits: float
    error: float
    at_two_bits: float
    seconds: float


def _generator(seed: int):
    import torch

    return torch.Generator().manual_seed(seed)


def _error(x, decoded) -> float:
    return ((x - decoded).double().pow(2).mean() / x.double().pow(2).mean()).item()


def _quantizer(family: str, bits: int = 2, **settings) -> Callable:
    def measure(samples: int, seed: int) -> tuple[float, float]:
        import torch

        from ..quantizers import Matrix, make

        columns = 960
        x = torch.randn(max(1, samples // columns), columns, generator=_generator(seed))
        quantizer = make(family, **settings, group=columns)
        encoded = quantizer.quantize([Matrix(family, x, [bits])], None)[0]
        return _error(x, encoded.decoded), encoded.bits / x.numel()

    return measure


def _trellis(taps: int, bits: int = 2) -> Callable:
    def measure(samples: int, seed: int) -> tuple[float, float]:
        filter_ = ops().gaussian_taps(taps, bits)
        x = _sequences(samples, seed)
        states = ops().encode_trellis(x, filter_, bits)
        decoded = _linear_nodes(filter_)[states.long()]
        return _error(x, decoded), bits + ((taps - bits) * len(x) + 32 * taps) / x.numel()

    return measure


def _sequences(samples: int, seed: int):
    """Columns of 16384 weights, as long as those of large models."""
    import torch

    length = min(16384, samples)
    return torch.randn(max(1, samples // length), length, generator=_generator(seed))


def _linear_nodes(taps):
    import torch

    states = torch.arange(2 ** len(taps))
    return sum((2.0 * (states >> i & 1) - 1) * tap for i, tap in enumerate(taps))


def _additive(taps: int, bits: int = 2) -> Callable:
    """Two tables of 2^(taps/2) entries."""

    def measure(samples: int, seed: int) -> tuple[float, float]:
        half = 2 ** (taps // 2)
        tables = ops().gaussian_tables(taps, bits)
        x = _sequences(samples, seed)
        states = ops().encode_trellis(x, tables, bits).long()
        decoded = tables[0][states % half] + tables[1][states // half]
        return _error(x, decoded), bits + ((taps - bits) * len(x) + 32 * tables.numel()) / x.numel()

    return measure


def _binary(dim: int, survivors: int, rounds: int = 10, bits: int = 2) -> Callable:
    def measure(samples: int, seed: int) -> tuple[float, float]:
        import torch

        # The search of large points is slow; fewer are measured.
        numbers, samples = 16 * bits * dim**2 / samples, min(samples, 800_000 // dim)
        generator = ops().circulant_generator(dim, bits * dim)
        x = torch.randn(6000, dim, generator=_generator(seed + 1000))
        for _ in range(rounds):
            points = 2.0 * ops().encode_binary(x, generator, max(32, survivors // 8)) - 1
            normal = points.T @ points + 1e-3 * torch.eye(bits * dim) * len(points)
            right = points.T @ x + 1e-3 * len(points) * generator.T
            generator = torch.linalg.solve(normal, right).T.contiguous()
        generator = generator.half().float()
        x = torch.randn(max(1, samples // dim), dim, generator=_generator(seed))
        points = 2.0 * ops().encode_binary(x, generator, survivors) - 1
        return _error(x, points @ generator.T), bits + numbers

    return measure


# Name -> measure(samples, seed), which gives (error, bits).
CODES: dict[str, Callable[[int, int], tuple[float, float]]] = {
    "lattice 8": _quantizer("lattice", dim=8),
    "binary 8": _binary(8, 256),
    "binary 16": _binary(16, 512),
    "binary 32": _binary(32, 1024),
    "trellis 6": _trellis(6),
    "trellis 8": _trellis(8),
    "trellis 10": _trellis(10),
    "trellis 12": _trellis(12),
    "trellis 14": _trellis(14),
    "trellis 16": _trellis(16),
    "additive 16": _additive(16),
}


def _choose(codes: Sequence[str]) -> list[str]:
    for code in codes:
        if not any(name.startswith(code) for name in CODES):
            raise GLVQError(f"no code begins with '{code}'; there are {', '.join(CODES)}")
    return [name for name in CODES if not codes or any(name.startswith(code) for code in codes)]


def count(codes: Sequence[str] = ()) -> int:
    """How many codes run() measures. Raises GLVQError for an unknown one."""
    return len(_choose(codes))


def run(
    samples: int = 1_000_000,
    seed: int = 0,
    codes: Sequence[str] = (),
    advance: Callable[[int, str], Any] = lambda count, text: None,
) -> list[Row]:
    """Measures the codes of CODES whose name begins with one of ``codes`` (all of
    them without any). ``advance`` is told each that is done."""
    rows = []
    for name in _choose(codes):
        start = time.perf_counter()
        error, bits = CODES[name](samples, seed)
        rows.append(Row(name, bits, error, error * 4 ** (bits - 2), time.perf_counter() - start))
        advance(1, name)
    return rows


def report(rows: Sequence[Row]) -> dict:
    """What --json prints."""
    return {"source": "N(0, 1)", "bound": BOUND, "codes": [asdict(row) for row in rows]}


def plot(rows: Sequence[Row], file: Path) -> None:
    """A PNG of the errors above the bound."""
    from ..report import save_plot

    def draw(axes) -> None:
        names = [row.code for row in rows]
        axes[0].barh(names, [row.at_two_bits for row in rows])
        axes[0].axvline(BOUND, color="black", linestyle="--", label="rate-distortion bound")
        axes[0].invert_yaxis()
        axes[0].set(xlabel="mean squared error of N(0, 1) at 2 bits", xlim=(0.9 * BOUND, None))
        axes[0].legend(fontsize="small")

    save_plot(file, 1, draw)
