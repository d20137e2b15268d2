"""What quantization did, as data: one row per weight and the totals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .errors import GLVQError
from .files import read_json


@dataclass
class Report:
    """``bits`` of a row count its own parts (codes, generators, scales, order);
    the signs of the rotations, shared by the model, are counted in the total.
    Embeddings and heads (``tables``) are listed apart: bits per weight are those of
    the linears, as elsewhere in the literature."""

    calibration: str
    seed: int
    rows: list[dict] = field(default_factory=list)
    tables: list[dict] = field(default_factory=list)
    shared_bits: int = 0

    def add(self, name: str, shape: tuple[int, int], code: str, bits: int, proxy_error: float) -> None:
        self.rows.append(self._row(name, shape, code, bits, proxy_error=proxy_error))

    def add_table(self, name: str, shape: tuple[int, int], code: str, bits: int, error: float) -> None:
        """``error``: squared, relative to the weight."""
        self.tables.append(self._row(name, shape, code, bits, relative_error=error))

    @staticmethod
    def _row(name: str, shape: tuple[int, int], code: str, bits: int, **errors: float) -> dict:
        per_weight = bits / (shape[0] * shape[1])
        return {"name": name, "shape": list(shape), "code": code, "bits_per_weight": per_weight, **errors, "bits": bits}

    def summary(self) -> dict:
        weights = sum(r["shape"][0] * r["shape"][1] for r in self.rows)
        bits = sum(r["bits"] for r in self.rows) + self.shared_bits
        return {
            "weights": weights,
            "quantized_linears": len(self.rows),
            "bits_per_weight": bits / weights if weights else 0.0,
            "mean_proxy_error": sum(r["proxy_error"] for r in self.rows) / max(1, len(self.rows)),
            "calibration": self.calibration,
            "seed": self.seed,
        }

    def write(self, folder: Path) -> None:
        """``quantization_report.json``. It holds no times, so that the same input
        and seed give the same bytes."""
        data = {**self.summary(), "linears": self.rows, "tables": self.tables}
        (folder / "quantization_report.json").write_text(json.dumps(data, indent=1) + "\n")


def plot_report(folder: Path, file: Path) -> None:
    """A PNG of a checkpoint's report: proxy error and bits per weight of every
    linear, over the layers of the model.

    Raises GLVQError when the checkpoint has no report or matplotlib is missing.
    """
    data = read_json(folder / "quantization_report.json", f"{folder} has no quantization_report.json to plot")
    # One line for each kind of linear: the name without the layer's number.
    kinds: dict[str, list[tuple[int, dict]]] = {}
    for row in data["linears"]:
        layer, kind = _split_name(row["name"])
        kinds.setdefault(kind, []).append((layer, row))

    def draw(axes) -> None:
        panels = (("proxy_error", "proxy error", "log"), ("bits_per_weight", "bits per weight", "linear"))
        for axis, (key, label, scale) in zip(axes, panels):
            for kind, rows in kinds.items():
                axis.plot([layer for layer, _ in rows], [row[key] for _, row in rows], marker=".", label=kind)
            axis.set(ylabel=label, yscale=scale)
            axis.grid(alpha=0.3)
        axes[0].set_title(f"{folder.name}: {data['bits_per_weight']:.3f} bits per weight")
        axes[1].set_xlabel("layer")
        axes[0].legend(fontsize="small", ncols=2)

    save_plot(file, 2, draw)


def _split_name(name: str) -> tuple[int, str]:
    """(layer, kind) of ``model.layers.7.mlp.up_proj.weight``: (7, mlp.up_proj)."""
    parts = name.removesuffix(".weight").split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    if not numbers:
        return 0, ".".join(parts)
    return int(parts[numbers[0]]), ".".join(parts[numbers[0] + 1 :])


def save_plot(file: Path, panels: int, draw: Callable[[list], None]) -> None:
    """Writes a PNG of so many panels, one below the other, that ``draw`` fills.

    Raises GLVQError when matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise GLVQError("plots need matplotlib; pip install matplotlib") from error
    # A Figure of its own needs neither a display nor global state.
    figure = Figure(figsize=(9, 3.2 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False)
    draw(list(axes[:, 0]))
    try:
        figure.savefig(file, dpi=120, format="png")
    except OSError as error:
        raise GLVQError(f"{file} cannot be written: {error.strerror}") from error
