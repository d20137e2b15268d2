# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Quality of methods on a real model: one table of perplexity, KL divergence,
bits, time and memory.

    rows = run("model", Protocol(text="wiki.test.raw", calibration="c4.txt"), plan(["trellis"], [2, 3, 4], seeds=3))

Every row is what a user would do: ``glvq quantize``, then ``glvq eval``, each in
a process of its own, whose time and peak memory are taken. Finished rows are kept
in a file, so that a table of many hours can be stopped and resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import GLVQError
from ..files import read_json
from ..report import save_plot

# Options of glvq quantize (after --bits, --seed and those of the protocol).
METHODS: dict[str, list[str]] = {
    "lattice": ["--code", "lattice"],
    "trellis": ["--code", "trellis"],
    "trellis-additive": ["--code", "trellis", "--nodes", "additive"],
    "trellis-16": ["--code", "trellis", "--taps", "16"],
    "trellis-measured": ["--code", "trellis", "--allocation", "measured"],
    "trellis-tuned": ["--code", "trellis", "--finetune"],
    "binary": ["--code", "binary"],
    "binary-16": ["--code", "binary", "--dim", "16"],
    "e8p": ["--code", "e8p"],
    "leech": ["--code", "leech"],
}

# One ingredient changed at a time, of the plain lattice.
ABLATION: dict[str, list[str]] = {
    "lattice, no rotation": ["--rotation", "none"],
    "lattice, inputs rotated": ["--rotation", "in"],
    "lattice, dimension 2": ["--dim", "2"],
    "lattice, dimension 4": ["--dim", "4"],
    "lattice, dimension 16": ["--dim", "16"],
    "lattice, sdba": ["--allocation", "sdba"],
    "lattice, measured": ["--allocation", "measured"],
    "lattice, 16 windows": ["--windows", "16"],
    "lattice, 128 windows": ["--windows", "128"],
}


@dataclass(frozen=True)
class Protocol:
    """What is the same for all rows. Without texts the model samples its own."""

    text: str | None = None
    calibration: str | None = None
    windows: int = 64
    length: int = 512
    eval_windows: int = 64
    head_bits: int = 0


@dataclass(frozen=True)
class Setting:
    """One row: a method (its options) at some bits with some seed."""

    method: str
    options: tuple[str, ...]
    bits: float
    seed: int


def plan(methods: Sequence[str], bits: Sequence[float], seeds: int) -> list[Setting]:
    """All rows of methods × bits × seeds, the first seed of everything first.
    Raises GLVQError for unknown methods; ``ablation`` names all of ABLATION."""
    known = {**METHODS, **ABLATION}
    names = [n for m in methods for n in (["lattice", *ABLATION] if m == "ablation" else [m])]
    for name in names:
        if name not in known:
            raise GLVQError(f"unknown method '{name}'; there are {', '.join(METHODS)}, and 'ablation'")
    names = list(dict.fromkeys(names))
    return [Setting(n, tuple(known[n]), b, s) for s in range(seeds) for n in names for b in bits]


def run(
    model: str | Path,
    protocol: Protocol,
    settings: Iterable[Setting],
    work: str | Path,
    keep: bool = False,
    advance: Callable[[int, str], None] = lambda n, description: None,
) -> list[dict]:
    """The rows of ``settings``: their fields, ``perplexity``, ``kl``,
    ``reference_perplexity``, ``bits_per_weight``, ``seconds`` (of quantization)
    and ``peak_mib``; or ``error`` where a method refuses its setting.

    ``work`` is a folder for finished rows and, with ``keep``, the checkpoints.
    Raises GLVQError when a row fails for another reason.
    """
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for setting in settings:
        identity = {"model": str(model), **asdict(protocol), **asdict(setting)}
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        file = work / f"row-{key}.json"
        if not file.exists():
            row = _row(Path(model), protocol, setting, work / f"checkpoint-{key}", keep)
            temporary = file.with_suffix(".tmp")
            temporary.write_text(json.dumps({**identity, **row}, indent=1) + "\n")
            temporary.replace(file)
        rows.append(read_json(file, f"{file} is missing"))
        advance(1, f"{setting.method}, {setting.bits:g} bits, seed {setting.seed}")
    return rows


def _row(model: Path, protocol: Protocol, setting: Setting, checkpoint: Path, keep: bool) -> dict:
    options = [*setting.options]
    if "--windows" not in options:
        options += ["--windows", str(protocol.windows)]
    if protocol.calibration:
        options += ["--calibration", protocol.calibration]
    common = ["--length", str(protocol.length), "--quiet", "--json"]
    quantize = [
        "quantize",
        str(model),
        "-o",
        str(checkpoint),
        "--bits",
        f"{setting.bits:g}",
        "--seed",
        str(setting.seed),
    ]
    # A stopped row goes on where it was.
    quantize += ["--head-bits", str(protocol.head_bits), "--force", "--resume", *options, *common]
    made, seconds, peak = _command(quantize)
    if isinstance(made, str):
        return {"error": made}
    score = ["eval", str(checkpoint), "--reference", str(model), "--windows", str(protocol.eval_windows), *common]
    score += ["--text", protocol.text] if protocol.text else ["--seed", str(setting.seed)]
    found, _, _ = _command(score)
    if isinstance(found, str):
        raise GLVQError(f"glvq {' '.join(score)}: {found}")
    if not keep:
        shutil.rmtree(checkpoint)
    return {
        "perplexity": found["perplexity"],
        "kl": found["KL divergence"],
        "reference_perplexity": found["reference perplexity"],
        "bits_per_weight": made["bits per weight"],
        "seconds": seconds,
        "peak_mib": peak,
    }


def _command(arguments: list[str]) -> tuple[dict | str, float, float]:
    """(its JSON, or the error it reports; seconds; peak MiB) of a glvq command."""
    start = time.perf_counter()
    # Files, not pipes: neither fills up while the other is read.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([sys.executable, "-m", "glvq", *arguments], stdout=out, stderr=err)
        # wait4 tells the peak memory of just this child.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        output, errors = out.read(), err.read()
    seconds, peak = time.perf_counter() - start, usage.ru_maxrss / 1024
    lines = [line for line in errors.splitlines() if line.startswith("glvq: error: ")]
    if process.returncode == 1 and lines:
        return lines[-1].removeprefix("glvq: error: "), seconds, peak
    if process.returncode:
        raise GLVQError(f"glvq {' '.join(arguments)} failed with status {process.returncode}:\n{errors[-2000:]}")
    return json.loads(output), seconds, peak


def table(rows: Sequence[dict]) -> list[dict]:
    """One entry for each method and number of bits: medians over the seeds, and
    the range of the perplexity."""
    groups: dict[tuple[str, float], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["bits"]), []).append(row)
    entries = []
    for (method, bits), group in groups.items():
        good = [row for row in group if "error" not in row]
        entry = {"method": method, "bits": bits, "seeds": len(good)}
        if good:
            for key in ("bits_per_weight", "perplexity", "kl", "reference_perplexity", "seconds", "peak_mib"):
                entry[key] = statistics.median(row[key] for row in good)
            entry["range"] = [min(r["perplexity"] for r in good), max(r["perplexity"] for r in good)]
        else:
            entry["error"] = group[0]["error"]
        entries.append(entry)
    return entries


def plot(entries: Sequence[dict], file: Path) -> None:
    """A PNG of perplexity and KL divergence over bits per weight."""
    methods: dict[str, list[dict]] = {}
    for entry in entries:
        if "perplexity" in entry:
            methods.setdefault(entry["method"], []).append(entry)

    def draw(axes: list) -> None:
        for axis, (key, label) in zip(axes, (("perplexity", "perplexity"), ("kl", "KL divergence, nats/token"))):
            for method, found in methods.items():
                found = sorted(found, key=lambda e: e["bits_per_weight"])
                axis.plot([e["bits_per_weight"] for e in found], [e[key] for e in found], marker="o", label=method)
            axis.set(xlabel="bits per weight, everything counted", ylabel=label, yscale="log")
            axis.grid(alpha=0.3, which="both")
        if methods:
            reference = next(iter(methods.values()))[0]["reference_perplexity"]
            axes[0].axhline(reference, color="black", linewidth=0.8, linestyle="--", label="reference")
            axes[0].legend(fontsize="small")

    save_plot(file, 2, draw)
