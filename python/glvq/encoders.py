# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Transformers models that write no text: encoders of text and of images.

They become a plain `forward`, for which torch.export needs example inputs.
Those follow from the configuration: token ids with their mask (and segment
ids, if the model distinguishes segments), or pixels.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import GLVQError

# Sizes of the examples, distinct and greater than 1: export generalises them.
_BATCH, _LENGTH = 2, 7
# The largest batch. Export wants a bound, and this one never matters.
_MAX_BATCH = 65535


@dataclass
class Signature:
    """What to export: positional arguments, the dynamic dimensions of each as
    torch.export takes them, and what callers must keep to, as `glvq.model`
    says it (docs/ModelModule.md): ranges of values by input."""

    arguments: tuple[Any, ...]
    dynamic_shapes: tuple[dict, ...]
    values: dict[str, list[int]]


def longest(config) -> int | None:
    """Tokens that the model can read at once; None if nothing limits them."""
    limit = getattr(config, "max_position_embeddings", None)
    # RoBERTa's positions begin behind the padding token's.
    if limit and config.model_type in ("roberta", "xlm-roberta", "camembert"):
        limit -= config.pad_token_id + 1
    return limit


def signature(model) -> Signature:
    """The example call of a model. Raises GLVQError for models of other inputs."""
    import torch
    from torch.export import Dim

    name, config = type(model).__name__, model.config
    if getattr(config, "is_encoder_decoder", False):
        raise GLVQError(f"{name} is an encoder with a decoder; glvq compiles decoder-only models and encoders")
    batch = Dim("batch", min=1, max=_MAX_BATCH)
    parameters = list(inspect.signature(model.forward).parameters)
    if model.main_input_name == "input_ids":
        tokens = Dim("tokens", min=1, max=longest(config) or 1 << 20)
        ids = torch.zeros(_BATCH, _LENGTH, dtype=torch.int64)
        values = {"input_ids": [0, config.vocab_size - 1]}
        wanted = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        segments = getattr(config, "type_vocab_size", 0)
        if segments > 1:
            wanted["token_type_ids"] = torch.zeros_like(ids)  # export takes one tensor for one input
            values["token_type_ids"] = [0, segments - 1]
        # Positional arguments: those at the head of the signature.
        leading = [p for n, p in enumerate(parameters) if set(parameters[: n + 1]) <= set(wanted)]
        values = {n: v for n, v in values.items() if n in leading}
        return Signature(tuple(wanted[p] for p in leading), ({0: batch, 1: tokens},) * len(leading), values)
    if model.main_input_name == "pixel_values" and parameters[0] == "pixel_values" and hasattr(config, "image_size"):
        size = config.image_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        return Signature((torch.zeros(_BATCH, config.num_channels, height, width),), ({0: batch},), {})
    raise GLVQError(
        f"{name} takes '{model.main_input_name}', of which glvq knows no example; export it with "
        "torch.export.export, save the program with torch.export.save and compile the .pt2 file"
    )


def import_encoder(model) -> str:
    """The text of the module with `forward` for a Transformers encoder."""
    from . import importer

    call = signature(model)
    description = {"architecture": type(model).__name__}
    for key in ("vocab_size", "max_position_embeddings"):
        if hasattr(model.config, key):
            description[{"max_position_embeddings": "context_length"}.get(key, key)] = getattr(model.config, key)
    if call.values:
        description["values"] = call.values
    return importer.import_module(model, call.arguments, call.dynamic_shapes, description)


def calibration_inputs(
    model, tokenizer, text: str | None, windows: int, length: int, seed: int
) -> tuple[list[tuple], str]:
    """Calls that show an encoder's layers their activations, and what they are.

    Windows of a text; without one, of tokens drawn evenly from the vocabulary,
    as an encoder cannot write a text. Images are never made up.
    """
    import torch

    from .calibration import text_windows

    call, config = signature(model), model.config
    if model.main_input_name != "input_ids":
        raise GLVQError(
            f"{type(model).__name__} reads images; quantize it with glvq.quantization.quantize_module and images of yours"
        )
    limit = longest(config)
    if limit and length > limit:
        raise GLVQError(f"windows of {length} tokens exceed the model's context of {limit}; give a smaller --length")
    if text is not None:
        ids = text_windows(tokenizer, text, windows, length)
        source = f"{len(ids)} windows of {length} tokens of the given text"
    else:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(config.vocab_size, (windows, length), generator=generator)
        source = f"{len(ids)} windows of {length} random tokens"
    rest = [torch.full((1, length), int(argument.flatten()[0])) for argument in call.arguments[1:]]
    return [(window[None], *rest) for window in ids], source


def quantize_encoder(
    model,
    tokenizer,
    output: str | Path,
    calibration: str | None = None,
    windows: int = 64,
    length: int = 512,
    seed: int = 0,
    resume: bool = False,
    head_bits: int = 0,
    file=None,
    **options,
) -> dict:
    """quantize_model for encoders: quantizes the linears in their layers;
    embeddings, heads and norms stay, whatever ``head_bits``. ``options`` are
    quantize_module's; an encoder is in memory as a whole, so there is no
    ``file`` to walk through and nothing to ``resume``."""
    from .quantization import decoder_layers, quantize_module

    if resume:
        raise GLVQError("an encoder is quantized in one go; there is nothing to resume")
    prefix, _ = decoder_layers(model)
    inputs, source = calibration_inputs(model, tokenizer, calibration, windows, length, seed)
    return quantize_module(
        model,
        inputs,
        output,
        seed=seed,
        keep=lambda name: not name.startswith(f"{prefix}."),
        tokenizer=tokenizer,
        source=source,
        **options,
    )
