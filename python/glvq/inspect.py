"""What is inside a quantized checkpoint or an artefact."""

from __future__ import annotations

import math
from pathlib import Path

from .errors import GLVQError
from .files import read_json

# The version of docs/ArtefactFormat.md that is described here.
ARTEFACT_VERSION = 1
# Bits of the safetensors types that parts are stored in.
BITS = {"I32": 32, "F16": 16, "F32": 32}


def describe(path: str | Path) -> tuple[dict, list[dict]]:
    """Returns a summary and one row per quantized weight or entry point.

    Raises GLVQError when ``path`` is neither a checkpoint nor an artefact.
    """
    path = Path(path)
    if (path / "manifest.json").exists():
        return _artefact(path)
    if (path / "config.json").exists():
        return _checkpoint(path)
    raise GLVQError(f"{path} is neither an artefact (no manifest.json) nor a checkpoint (no config.json)")


def _artefact(path: Path) -> tuple[dict, list[dict]]:
    file = path / "manifest.json"
    manifest = read_json(file, f"{path} has no manifest.json")
    if manifest.get("format") != "glvq-artefact":
        raise GLVQError(f"{file} is not the manifest of a glvq artefact")
    if manifest.get("version") != ARTEFACT_VERSION:
        raise GLVQError(
            f"{path} has version {manifest.get('version')} of the artefact format, this glvq reads {ARTEFACT_VERSION}; "
            "compile it again"
        )
    try:
        return _read_manifest(path, manifest)
    except KeyError as error:
        raise GLVQError(f"{file} is malformed: something has no {error}; compile the model again") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise GLVQError(f"{file} is malformed ({error}); compile the model again") from error


def _read_manifest(path: Path, manifest: dict) -> tuple[dict, list[dict]]:
    target = manifest["target"]
    summary = {
        "artefact": str(path),
        "producer": str(manifest["producer"]),
        "target": f"{target['device']} {target['cpu']}",
        **{f"model {key}": value for key, value in manifest.get("model", {}).items()},
        "bytes": sum(file["bytes"] for file in manifest["files"].values()),
    }
    rows = []
    for entry in manifest["entries"]:
        of = {
            role: [a for a in entry["arguments"] if a["role"] == role]
            for role in ("input", "state", "weight", "output")
        }
        rows.append(
            {
                "entry": entry["name"],
                "inputs": ", ".join(_argument(a) for a in of["input"]),
                "states": len(of["state"]),
                "weights": len(of["weight"]),
                "outputs": ", ".join(_argument(a) for a in of["output"]),
            }
        )
    return summary, rows


def _argument(argument: dict) -> str:
    if argument.get("scalar"):
        return f"{argument['name']} {argument['dtype']}"
    return f"{argument['name']} {argument['dtype']}[{', '.join(map(str, argument['shape']))}]"


def _checkpoint(path: Path) -> tuple[dict, list[dict]]:
    from . import checkpoint

    config = read_json(path / "config.json", f"{path} has no config.json")
    if (config.get("quantization_config") or {}).get("quant_method") != "glvq":
        return {
            "checkpoint": str(path),
            "architecture": ", ".join(config.get("architectures", [])),
            "quantized": "no",
        }, []
    opened = checkpoint.open(path)
    errors = _errors(path)
    rows, bits, weights = [], 0, 0
    for weight in opened.weights.values():
        count = weight.shape[0] * weight.shape[1]
        own = sum(math.prod(shape) * BITS[dtype] for dtype, shape in weight.parts().values())
        rows.append(
            {
                "weight": weight.name,
                "shape": "x".join(map(str, weight.shape)),
                "code": str(weight.code),
                "bits per weight": round(own / count, 4),
                "error": errors.get(weight.name, "-"),
            }
        )
        bits, weights = bits + own, weights + count
    summary = {
        "checkpoint": str(path),
        "architecture": ", ".join(config.get("architectures", [])),
        "quantized weights": weights,
        "bits per weight": round(bits / max(weights, 1), 4),
        "bytes": sum(f.stat().st_size for f in path.glob("*.safetensors")),
    }
    return summary, rows


def _errors(path: Path) -> dict[str, float]:
    """Relative squared error of each weight, as the report of its quantization
    has it: in the metric of the inputs for linears, plain for tables."""
    file = path / "quantization_report.json"
    report = read_json(file, "") if file.exists() else {}
    rows = [*report.get("linears", []), *report.get("tables", [])]
    return {row["name"]: float(f"{row.get('proxy_error', row.get('relative_error')):.3g}") for row in rows}
