"""What quantization did, as data: one row per weight and the totals."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


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
