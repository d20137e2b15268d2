"""The demo behind ./demo.sh: a real model, all the way to native code.

Takes SmolLM2-135M-Instruct (carried by a PyPI package), quantizes its decoder
linears, compiles it for this CPU, lets the artefact write text in a process
of its own that loads no torch, and prints a table beside the reference model.
Each step is the ``glvq`` command a user would type; it is shown as it runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from .errors import GLVQError

console = Console()


class Step:
    """Runs one command, echoes it, and remembers its time and peak memory."""

    def __init__(self):
        self.rows: list[tuple[str, float, float]] = []

    def run(self, name: str, *arguments: str, capture: bool = False) -> str:
        console.print(f"\n[bold]$ glvq {' '.join(arguments)}[/]", highlight=False, soft_wrap=True)
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "glvq", *arguments], stdout=subprocess.PIPE if capture else None, text=True
        )
        output = process.stdout.read() if capture else ""
        # wait4 tells the peak memory of just this child.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise GLVQError(f"glvq {arguments[0]} failed with status {process.returncode}")
        self.rows.append((name, time.perf_counter() - start, usage.ru_maxrss / 1024))
        return output


def _size(path: Path) -> float:
    """Megabytes of a file or folder."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(f.stat().st_size for f in files) / 1e6


def demo(
    bits: Annotated[int, typer.Option(help="Bits per weight: 2, 3 or 4.", min=2, max=4)] = 3,
    model: Annotated[Optional[Path], typer.Option(help="Another model: Hugging Face folder or GGUF file.")] = None,
    prompt: Annotated[str, typer.Option(help="What the model is asked.")] = "What is gravity?",
    text: Annotated[
        Optional[Path], typer.Option(help="Text file to measure on; without it the reference model samples one.")
    ] = None,
    calibration: Annotated[
        Optional[Path], typer.Option(help="Text file to calibrate on; without it the model samples one.")
    ] = None,
    calibration_windows: Annotated[int, typer.Option(help="Calibration windows of 512 tokens.", min=1)] = 16,
    eval_windows: Annotated[int, typer.Option(help="Evaluation windows of 512 tokens.", min=1)] = 8,
    max_tokens: Annotated[int, typer.Option(help="Tokens to generate.", min=1)] = 64,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for everything that is made.")] = Path(
        "build/demo"
    ),
):
    """SmolLM2-135M-Instruct, from its checkpoint to a low-bit native program that writes text."""
    from . import models

    source = model or models.default_model_path()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    quantized, artefact, plain = (
        output / f"model-{bits}bit",
        output / f"model-{bits}bit.glvq",
        output / "model-f32.glvq",
    )
    step = Step()

    calibrated = ["--calibration", str(calibration)] if calibration else []
    step.run(
        "quantize",
        "quantize",
        str(source),
        "-o",
        str(quantized),
        "--bits",
        str(bits),
        "--windows",
        str(calibration_windows),
        *calibrated,
    )
    step.run("compile", "compile", str(quantized), "-o", str(artefact))
    step.run("compile reference (f32)", "compile", str(source), "-o", str(plain))
    asked = ["--prompt", prompt, "--max-tokens", str(max_tokens), "--stats"]
    step.run("generate", "generate", str(artefact), *asked)
    step.run("generate, reference (f32)", "generate", str(plain), *asked)
    scored = ["--text", str(text)] if text else []
    shared = ["--reference", str(source), "--windows", str(eval_windows), "--json", *scored]
    low = json.loads(step.run("evaluate", "eval", str(quantized), *shared, capture=True))

    speeds = {}
    for name, path in (("low", artefact), ("plain", plain)):
        speeds[name] = _speed(path, max_tokens)

    report = json.loads((quantized / "quantization_report.json").read_text())
    table = Table(title=f"{Path(source).stem}: reference and {bits} bits")
    for heading in ("", "reference (f32)", f"glvq, {bits} bits"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("artefact size", f"{_size(plain):.0f} MB", f"{_size(artefact):.0f} MB")
    table.add_row("bits per quantized weight, everything included", "32", f"{report['bits_per_weight']:.3f}")
    table.add_row("perplexity", f"{low['reference perplexity']:.2f}", f"{low['perplexity']:.2f}")
    table.add_row("KL divergence to the reference, nats/token", "0", f"{low['KL divergence']:.4f}")
    table.add_row("decode, tokens/s", f"{speeds['plain'][0]:.1f}", f"{speeds['low'][0]:.1f}")
    table.add_row("start of generation to first token", f"{speeds['plain'][1]:.2f} s", f"{speeds['low'][1]:.2f} s")
    peak = {name: mebibytes for name, _, mebibytes in step.rows}
    table.add_row(
        "peak memory of generation (mapped weights included)",
        f"{peak['generate, reference (f32)']:.0f} MiB",
        f"{peak['generate']:.0f} MiB",
    )
    console.print()
    console.print(table)
    console.print(
        "Measured on "
        + (f"{text}" if text else "text sampled from the reference model itself (no text was given: use --text FILE)")
        + f", {eval_windows} windows of 512 tokens; calibrated on "
        + (f"{calibration}" if calibration else "text sampled from the model")
        + "."
    )
    times = Table(title="Time and peak memory of each step")
    times.add_column("step")
    times.add_column("seconds", justify="right")
    times.add_column("peak MiB", justify="right")
    for name, seconds, mebibytes in step.rows:
        times.add_row(name, f"{seconds:.1f}", f"{mebibytes:.0f}")
    console.print(times)
    console.print(f"Everything is in {output}; try: .venv/bin/glvq generate {artefact} --prompt 'Tell me a story.'")


def _speed(artefact: Path, tokens: int) -> tuple[float, float]:
    """Tokens per second and seconds to the first token, in a process without torch."""
    program = f"""
import sys, time
start = time.perf_counter()
from glvq.generate import Sampling, TextGenerator
generator = TextGenerator({str(artefact)!r})
first = None
for token in generator.stream(generator.encode("Once upon a time"), {max(tokens, 16)}, Sampling()):
    first = first or time.perf_counter() - start
assert "torch" not in sys.modules
print(generator.timing.tokens_per_second, first)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if result.returncode:
        raise GLVQError(f"timing {artefact} failed:\n{result.stderr}")
    speed, first = map(float, result.stdout.split())
    return speed, first


def main():
    """Entry point of ``python -m glvq.demo``."""
    try:
        typer.run(demo)
    except GLVQError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
