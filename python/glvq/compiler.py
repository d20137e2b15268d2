"""From a model or a quantized checkpoint to an artefact.

The import is Python (torch.export); everything after it is ``glvq-compile``,
which this module runs.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from ._native import tool
from .errors import GLVQError
from .files import refuse_existing

# Files that travel with the weights, when the checkpoint has them.
ATTACHED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)


def compile_model(
    source: str | Path,
    output: str | Path,
    target: str = "cpu",
    save_ir: str | Path | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Path:
    """Compiles ``source`` ahead of time into the folder ``output``.

    ``source``: a quantized checkpoint, a Hugging Face folder or a GGUF file.
    ``target``: ``cpu`` (this machine), ``cpu:x86-64-v3``, ``cpu:x86-64-v4``, …
    Raises GLVQError with the compiler's diagnostics; nothing is left at
    ``output`` then.
    """
    source, output = Path(source), Path(output)
    device = target.split(":", 1)[0]
    if device != "cpu":
        raise GLVQError(
            f"artefacts are made for cpu targets, not {target!r}; for GPU code use glvq-opt --lower-glvq-to-nvvm"
            if device == "cuda"
            else f"unknown target {target!r}; use cpu, cpu:x86-64-v3, cpu:x86-64-v4 or cpu:<LLVM CPU name>"
        )
    refuse_existing(output, force)

    from . import importer, models

    with tempfile.TemporaryDirectory(prefix="glvq-compile-") as scratch:
        loaded = models.load(source)
        checkpoint = source
        # Weight arguments are float32 and named as in named_parameters(); a
        # plain folder may name or type them otherwise.
        if loaded.quantization is None:
            checkpoint = Path(scratch) / "checkpoint"
            models.save_checkpoint(loaded, checkpoint)
        module = Path(scratch) / "model.mlir"
        module.write_text(importer.import_causal_lm(loaded.model))
        del loaded
        if save_ir:
            Path(save_ir).mkdir(parents=True, exist_ok=True)
            (Path(save_ir) / "0-imported.mlir").write_text(module.read_text())
        command = [tool("glvq-compile"), str(module), "--checkpoint", str(checkpoint), "-o", str(output), "--target", target]
        for name in ATTACHED:
            if (checkpoint / name).exists():
                command += ["--attach", str(checkpoint / name)]
        if save_ir:
            command += ["--save-ir", str(save_ir)]
        if force:
            command.append("--force")
        result = subprocess.run(command, stderr=subprocess.PIPE if quiet else None, text=True)
        if result.returncode:
            details = f":\n{result.stderr.strip()}" if result.stderr else ""
            raise GLVQError(f"glvq-compile failed with status {result.returncode}{details}")
    return output
