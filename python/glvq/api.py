"""What ``import glvq`` offers: quantize, compile, load.

    glvq.quantize("SmolLM2-135M", "smollm2-2bit", bits=2)
    glvq.compile("smollm2-2bit", "smollm2.glvq")
    model = glvq.load("smollm2.glvq")
    print(model.generate("What is gravity?", max_new_tokens=64))

Importing this module needs neither torch nor transformers; ``quantize`` and
``compile`` import them, ``load`` and what it returns never do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import GLVQError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .generate import TextGenerator
    from .quantizers import Quantizer

__all__ = ["CompiledModel", "compile", "load", "quantize"]


def quantize(
    model: str | PathLike | torch.nn.Module,
    output: str | PathLike,
    *,
    bits: float = 2,
    code: str | Quantizer | None = None,
    tokenizer: Any = None,
    calibration: str | None = None,
    inputs: Sequence[Sequence[Any]] | None = None,
    seed: int = 0,
    force: bool = False,
    progress: bool = False,
    **options: Any,
) -> dict:
    """Quantizes the linear layers of a model and writes a checkpoint folder.

    ``model``: a path (Hugging Face folder or GGUF file), a causal language model
    of Transformers, or any ``nn.Module``; the last needs ``inputs``, tuples of
    positional arguments to calibrate on. A model given as an object is left
    with the decoded weights.
    ``code``: family of the weight code, with its usual settings, or what
    ``glvq.quantizers.make`` returns for others; by default a trellis, and a
    lattice above 4 bits.
    ``calibration``: a text; without it a language model samples its own.
    ``options``: further ones of ``glvq.quantization.quantize_model`` (or
    ``quantize_module``), such as ``windows`` and ``length``.

    Returns the totals of the report: ``weights``, ``bits_per_weight``,
    ``calibration``, ``seconds``. Raises GLVQError for input that does not fit
    and for an output that exists, unless ``force``; nothing half-written stays.
    """
    from .quantization import quantize_model, quantize_module
    from .quantizers import make

    quantizer = make(code) if isinstance(code, str) else code
    common = dict(bits=bits, quantizer=quantizer, seed=seed, force=force, progress=progress, **options)
    if inputs is not None:
        if isinstance(model, str | PathLike):
            raise GLVQError("inputs calibrate a module; a model given by its path is calibrated on a text")
        return quantize_module(model, inputs, Path(output), **common)
    common["calibration"] = calibration
    if not isinstance(model, str | PathLike):
        if not hasattr(model, "config"):
            raise GLVQError(f"{type(model).__name__} is not a model of Transformers; give inputs to calibrate it on")
        return quantize_model(model, tokenizer, Path(output), **common)
    from . import models

    loaded = models.open(model)
    quantize_it = quantize_model
    if not loaded.is_causal_lm:
        from .encoders import quantize_encoder as quantize_it
    return quantize_it(loaded.model, tokenizer or loaded.tokenizer, Path(output), file=loaded.file, **common)


def compile(
    model: str | PathLike | torch.nn.Module,
    output: str | PathLike,
    example_inputs: Sequence[Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    checkpoint: str | PathLike | None = None,
    target: str = "cpu",
    activations: str = "int8",
    save_ir: str | PathLike | None = None,
    force: bool = False,
) -> Path:
    """Compiles a model ahead of time into the artefact folder ``output``.

    ``model``: the path of a quantized checkpoint, a Hugging Face folder, a GGUF
    file or a ``.pt2`` file, or an ``nn.Module`` with the ``example_inputs`` that
    torch.export traces it with (``dynamic_shapes`` as torch.export takes them).
    ``checkpoint``: what ``quantize`` wrote for that module or ``.pt2`` file.
    ``target``: ``cpu`` (this machine), ``cpu:x86-64-v3``, ``cpu:x86-64-v4`` or
    ``cpu:<LLVM CPU name>``.
    ``activations``: what products with quantized weights read: ``int8`` (fast) or
    ``f32`` (exact).
    ``save_ir``: a folder for the IR after each stage.

    Returns ``output``. Raises GLVQError with the compiler's diagnostics in its
    message; nothing is left at ``output`` then.
    """
    from . import compiler

    common = dict(target=target, activations=activations, save_ir=save_ir, force=force, quiet=True)
    if isinstance(model, str | PathLike):
        if example_inputs is not None:
            raise GLVQError("example inputs belong to a module; a model given by its path needs none")
        return compiler.compile_model(model, output, checkpoint=checkpoint, **common)
    if example_inputs is None:
        raise GLVQError(f"give example_inputs: without them {type(model).__name__} cannot be traced")
    return compiler.compile_module(
        model, tuple(example_inputs), output, dynamic_shapes=dynamic_shapes, checkpoint=checkpoint, **common
    )


def load(artefact: str | PathLike, threads: int = 0) -> CompiledModel:
    """Opens an artefact. ``threads``: of each call, 0 for one per CPU.

    Raises GLVQError naming the reason when the artefact is refused: damaged, of
    another version, or for a CPU with features that this one lacks.
    """
    return CompiledModel(artefact, threads)


class CompiledModel:
    """An opened artefact: callable, and for language models a text generator.

    Arrays go in and come out without copies: inputs are NumPy arrays or
    anything with ``__dlpack__`` (such as torch tensors on the CPU), results are
    NumPy arrays, which ``torch.from_dlpack`` takes over in turn.

    One model may be used by several threads at once.
    """

    def __init__(self, path: str | PathLike, threads: int = 0):
        from ._native import runtime

        self.path = Path(path)
        self.threads = threads
        try:
            self.artefact = runtime().Artefact(str(self.path), threads=threads)
        except (RuntimeError, ValueError, OSError) as error:
            raise GLVQError(str(error)) from error
        self._generator: TextGenerator | None = None

    def __repr__(self) -> str:
        return f"<glvq.CompiledModel {self.path} with {', '.join(e['name'] for e in self.entries)}>"

    @property
    def info(self) -> dict:
        """What the artefact says about its model: architecture, vocab_size, …"""
        return self.artefact.model

    @property
    def entries(self) -> list[dict]:
        """The entry points: ``{name, arguments: [{name, role, dtype, shape}]}``."""
        return self.artefact.entries

    def session(self, capacity: int = 0, threads: int = 0):
        """The states of one conversation, as ``session.run(entry, **inputs)``
        takes and updates them. ``capacity`` in tokens; 0: the model's context."""
        return self.artefact.session(capacity=capacity, threads=threads or self.threads)

    def __call__(self, *inputs: Any, **named: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Runs the entry ``forward``, or the artefact's only one.

        Inputs are positional in the entry's order, or by name. Returns the
        output, or ``{name: output}`` when there are several. Raises GLVQError
        for inputs that do not fit.
        """
        by_name = {entry["name"]: entry for entry in self.entries}
        entry = by_name.get("forward") or (next(iter(by_name.values())) if len(by_name) == 1 else None)
        if entry is None:
            raise GLVQError(
                f"{self.path} has the entries {', '.join(by_name)}: use generate, or a session and its run(entry, …)"
            )
        names = [argument["name"] for argument in entry["arguments"] if argument["role"] == "input"]
        if len(inputs) > len(names):
            raise GLVQError(f"{entry['name']} takes {len(names)} inputs ({', '.join(names)}), got {len(inputs)}")
        given = dict(zip(names, inputs))
        if twice := given.keys() & named.keys():
            raise GLVQError(f"{entry['name']} got the input '{sorted(twice)[0]}' twice")
        try:
            outputs = self.session().run(entry["name"], **given, **named)
        except (ValueError, TypeError, BufferError) as error:
            raise GLVQError(str(error)) from error
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    @property
    def generator(self) -> TextGenerator:
        """Tokenizer, chat template and token stream of a language model.

        Raises GLVQError when the artefact is not one of a language model.
        """
        if self._generator is None:
            from .generate import TextGenerator

            self._generator = TextGenerator(self.path, artefact=self.artefact)
        return self._generator

    def generate(
        self,
        prompt: str | Sequence[Mapping[str, str]] | Sequence[int],
        max_new_tokens: int = 128,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> str:
        """The model's continuation of a text, a conversation (a list of
        ``{"role": …, "content": …}``, rendered by the chat template) or token ids."""
        return "".join(
            self.stream(prompt, max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        )

    def stream(
        self,
        prompt: str | Sequence[Mapping[str, str]] | Sequence[int],
        max_new_tokens: int = 128,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """The same, piece by piece as the model writes it."""
        from .generate import Sampling

        generator = self.generator
        if isinstance(prompt, str):
            ids = generator.encode(prompt)
        elif all(isinstance(message, Mapping) for message in prompt):
            ids = generator.encode(generator.render_chat(list(prompt)), add_special_tokens=False)
        else:
            ids = [int(token) for token in prompt]
        return generator.stream_text(ids, max_new_tokens, Sampling(temperature, top_k, top_p, seed))
