"""The README.md of a quantized checkpoint: what it is, how good, how to run it.

Made from the folder's own files, so that it says nothing they do not. It holds
no dates or times: the same checkpoint has the same card.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path


def write(folder: Path) -> None:
    """Writes ``README.md`` into a folder that has its other files already."""
    (folder / "README.md").write_text(text(folder), encoding="utf-8")


def text(folder: Path) -> str:
    """The card of a checkpoint folder."""
    config = json.loads((folder / "config.json").read_text())
    weights = config["quantization_config"]["weights"]
    report = _read(folder / "quantization_report.json")
    tuning = _read(folder / "finetuning_report.json")
    architecture = (config.get("architectures") or ["module"])[0]
    language_model = architecture.endswith("ForCausalLM")

    head = ["---", "library_name: transformers", "tags: [glvq, quantized]"]
    if language_model:
        head.append("pipeline_tag: text-generation")
    lines = [*head, "---", "", f"# {architecture}, quantized by glvq", ""]
    families = Counter(entry["code"].split("<")[0].removeprefix("#glvq.") for entry in weights.values())
    named = ", ".join(f"{family} ({count})" for family, count in sorted(families.items()))
    lines += [
        "The weights are stored as points of learned codes and stay packed at run time.",
        "",
        "| | |",
        "|---|---|",
    ]
    rows = {
        "code families (weights)": named,
        "quantized linear layers": report.get("quantized_linears", len(weights)),
        "weights in them": f"{report['weights']:,}" if "weights" in report else None,
        "bits per weight, scales and tables included": _number(report.get("bits_per_weight")),
        "embeddings and head": _tables(report),
        "size of the weights file": f"{(folder / 'model.safetensors').stat().st_size / 1e6:.1f} MB",
        "calibration": report.get("calibration"),
        "mean proxy error tr(EHEᵀ)/tr(WHWᵀ)": _number(report.get("mean_proxy_error")),
        "seed": config["quantization_config"].get("seed"),
    }
    for name, value in tuning.items():
        if isinstance(value, (int, float, str)):
            rows[f"fine-tuning: {name}"] = _number(value) if isinstance(value, float) else value
    lines += [f"| {name} | {value} |" for name, value in rows.items() if value is not None]
    lines += ["", "`quantization_report.json` has the error and the bits of every layer.", ""]

    lines += ["## Use", ""]
    if language_model:
        lines += [
            "In torch, with the weights packed:",
            "",
            "```python",
            "import glvq",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("THIS FOLDER")',
            'tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")',
            "```",
            "",
            "Ahead of time, into a native program without Python or torch:",
            "",
            "```sh",
            "glvq compile 'THIS FOLDER' -o model.glvq",
            "glvq generate model.glvq --prompt 'What is gravity?'",
            "```",
        ]
    else:
        lines += ["```sh", "glvq inspect 'THIS FOLDER'", "```"]
    lines += [
        "",
        "Quantization loses some quality; measure it on your own task: `glvq eval 'THIS FOLDER' --text FILE --reference MODEL`.",
        "",
    ]
    return "\n".join(lines)


def _tables(report: dict) -> str | None:
    """Bits of embeddings and heads, if they are quantized."""
    tables = report.get("tables")
    if not tables:
        return None
    return ", ".join(f"`{t['name']}` at {t['bits_per_weight']:.2f} bits" for t in tables)


def _number(value) -> str | None:
    return None if value is None or not math.isfinite(value) else f"{value:.4g}"


def _read(file: Path) -> dict:
    return json.loads(file.read_text()) if file.exists() else {}
