"""From a model, a module or a quantized checkpoint to an artefact.

The import is Python (torch.export); everything after it is ``glvq-compile``,
which this module runs.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    checkpoint: str | Path | None = None,
    activations: str = "int8",
) -> Path:
    """Compiles ``source`` ahead of time into the folder ``output``.

    ``source``: a quantized checkpoint, a Hugging Face folder, a GGUF file, or a
    ``.pt2`` file of torch.export.save. Decoder-only language models get the
    entries ``prefill`` and ``decode``, all others ``forward``.
    ``target``: ``cpu`` (this machine), ``cpu:x86-64-v3``, ``cpu:x86-64-v4``, …
    ``checkpoint``: the folder that quantize_module wrote for the module in a
    ``.pt2`` file, whose own weights are not used then.
    ``activations``: what products with quantized weights read: ``int8``
    (rounded, with a factor for each token) or ``f32``.
    Raises GLVQError with the compiler's diagnostics; nothing is left at
    ``output`` then.
    """
    source, output = Path(source), Path(output)
    _check_target(target)
    refuse_existing(output, force)
    from . import checkpoint as quantized
    from . import encoders, importer, models

    with _Compilation(output, target, save_ir, force, quiet, activations) as compilation:
        if source.suffix == ".pt2":
            if checkpoint is not None:
                quantized.open(checkpoint)
            program = models.load_program(source)
            text = importer.import_program(program, source.stem)
            compilation.run(text, checkpoint or compilation.save_weights(program.state_dict))
            return output
        if checkpoint is not None:
            raise GLVQError(f"weights of their own are for .pt2 files only; {source} says itself where its weights are")
        loaded = models.load(source)
        if loaded.quantization is not None:
            # Whatever is wrong with it is known before the import, which takes seconds.
            quantized.open(source)
        checkpoint = source
        # Weight arguments are float32 and named as in named_parameters(); a
        # plain folder may name or type them otherwise.
        if loaded.quantization is None:
            checkpoint = compilation.scratch / "checkpoint"
            models.save_checkpoint(loaded, checkpoint)
        text = importer.import_causal_lm(loaded.model) if loaded.is_causal_lm else encoders.import_encoder(loaded.model)
        del loaded
        compilation.run(text, checkpoint)
    return output


def compile_module(
    module,
    example_inputs,
    output: str | Path,
    dynamic_shapes=None,
    checkpoint: str | Path | None = None,
    target: str = "cpu",
    save_ir: str | Path | None = None,
    force: bool = False,
    quiet: bool = False,
    activations: str = "int8",
) -> Path:
    """Compiles any nn.Module that torch.export can trace; its entry is ``forward``.

    ``example_inputs`` is the tuple of positional arguments, ``dynamic_shapes`` as
    torch.export takes it. ``checkpoint`` is the folder that quantize_module
    wrote for this module; without one the module's own weights are used. The
    rest, and the errors, are compile_model's.
    """
    _check_target(target)
    refuse_existing(Path(output), force)
    from . import checkpoint as quantized
    from . import importer

    if checkpoint is not None:
        quantized.open(checkpoint)
    with _Compilation(Path(output), target, save_ir, force, quiet, activations) as compilation:
        text = importer.import_module(module, example_inputs, dynamic_shapes)
        compilation.run(text, checkpoint or compilation.save_weights(module.state_dict()))
    return Path(output)


def _check_target(target: str) -> None:
    device = target.split(":", 1)[0]
    if device != "cpu":
        raise GLVQError(
            f"artefacts are made for cpu targets, not {target!r}; for GPU code use glvq-opt --lower-glvq-to-nvvm"
            if device == "cuda"
            else f"unknown target {target!r}; use cpu, cpu:x86-64-v3, cpu:x86-64-v4 or cpu:<LLVM CPU name>"
        )


class _Compilation:
    """A run of glvq-compile with a scratch folder for what it reads."""

    def __init__(self, output: Path, target: str, save_ir, force: bool, quiet: bool, activations: str):
        self.output, self.target, self.save_ir, self.force, self.quiet = output, target, save_ir, force, quiet
        self.activations = activations

    def __enter__(self) -> _Compilation:
        self._folder = tempfile.TemporaryDirectory(prefix="glvq-compile-")
        self.scratch = Path(self._folder.name)
        return self

    def __exit__(self, *exception) -> None:
        self._folder.cleanup()

    def save_weights(self, state: dict) -> Path:
        """Writes the tensors of a state dictionary as a checkpoint."""
        from .weightfiles import write_safetensors

        folder = self.scratch / "checkpoint"
        folder.mkdir()
        # Tied tensors have several names, and safetensors wants no shared memory.
        write_safetensors(folder / "model.safetensors", {name: tensor.clone() for name, tensor in state.items()})
        return folder

    def run(self, text: str, checkpoint: str | Path) -> None:
        module = self.scratch / "model.mlir"
        module.write_text(text)
        command = [tool("glvq-compile"), module, "--checkpoint", checkpoint, "-o", self.output, "--target", self.target]
        command += ["--activations", self.activations]
        for name in ATTACHED:
            if (Path(checkpoint) / name).exists():
                command += ["--attach", Path(checkpoint) / name]
        if self.save_ir:
            Path(self.save_ir).mkdir(parents=True, exist_ok=True)
            (Path(self.save_ir) / "0-imported.mlir").write_text(text)
            command += ["--save-ir", self.save_ir]
        if self.force:
            command.append("--force")
        with _process([str(word) for word in command], self.quiet) as process:
            errors = process.communicate()[1]
        if process.returncode:
            details = f":\n{errors.strip()}" if errors else ""
            raise GLVQError(f"glvq-compile failed with status {process.returncode}{details}")


@contextmanager
def _process(command: list[str], quiet: bool) -> Iterator[subprocess.Popen]:
    """A child that is told to end when this process is interrupted, and has the
    time to clean up then: subprocess.run would kill it."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE if quiet else None, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
