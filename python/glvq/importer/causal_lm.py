# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Import of decoder-only models: `prefill` and `decode`."""

from __future__ import annotations

import torch
from torch.export import Dim
from torch_mlir import ir

from .decoder import Decoder, compiler_attention, signature, take_apart
from .errors import ImporterError
from .pieces import Piece, make_piece, new_context
from .stitch import ModelModule, Slot

# Sizes of the example inputs. Export generalises from them to all sizes; they
# only need to be distinct, greater than 1, and to fit into each other.
_POSITION, _LENGTH, _CAPACITY = 3, 5, 17


class _WeightNames:
    """Names of tensors as in the checkpoint; tied tensors have one name."""

    def __init__(self, model):
        self.names = {}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self.names.setdefault(id(tensor), name)

    def of(self, module, path: str) -> str:
        """Name of the tensor at `path` below `module`."""
        owner, _, leaf = path.rpartition(".")
        tensor = getattr(module.get_submodule(owner), leaf)
        try:
            return self.names[id(tensor)]
        except KeyError:
            raise ImporterError(f"'{path}' of {type(module).__name__} is not a tensor of the model") from None


def model_description(model) -> dict:
    """`glvq.model`: what the manifest says of the model."""
    config = model.config
    generation = getattr(model, "generation_config", None)
    description = {
        "architecture": type(model).__name__,
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
    }

    def tokens(name):
        # What generation uses comes first, as in Transformers.
        for source in (generation, config):
            value = getattr(source, name, None)
            if value is not None:
                return list(value) if isinstance(value, (list, tuple)) else [value]
        return []

    if tokens("bos_token_id"):
        description["bos_token_id"] = tokens("bos_token_id")[0]
    description["eos_token_ids"] = tokens("eos_token_id")
    return description


def import_causal_lm(model) -> str:
    context = new_context()
    with compiler_attention(model), context, ir.Location.unknown(context):
        decoder = take_apart(model)
        module = ModelModule(context)
        names = _WeightNames(model)
        for entry in ("decode", "prefill"):
            _add_entry(module, entry, decoder, names)
        return module.text(model_description(model))


def _add_entry(module: ModelModule, entry: str, decoder: Decoder, names: _WeightNames) -> None:
    """Imports the parts for the entry and the entry that calls them."""
    dynamic = entry == "prefill"
    length, length_dim = (_LENGTH, Dim.DYNAMIC) if dynamic else (1, None)
    tokens = torch.zeros(1, length, dtype=torch.int64)
    hidden = torch.zeros(1, length, decoder.hidden_width)
    cache = torch.zeros(1, decoder.key_heads, _CAPACITY, decoder.head_width)
    along = {1: length_dim} if dynamic else None
    capacity = {2: Dim.DYNAMIC}
    step = ((tokens, _POSITION), (along, Dim.DYNAMIC))

    def piece(part: str, source, arguments, shapes) -> Piece:
        made = make_piece(module.context, f"{entry}_{part}", source, arguments, shapes)
        module.add(made)
        return made

    with_position = decoder.rotary is None
    embed = piece("embed", decoder.embed, *(step if with_position else ((tokens,), (along,))))
    angles, angle_shapes, rotary = (), (), None
    if decoder.rotary is not None:
        rotary = piece("rotary", decoder.rotary, *step)
        width = ir.RankedTensorType(
            ir.FunctionType(ir.TypeAttr(rotary.function.attributes["function_type"]).value).results[0]
        ).shape[2]
        # Export takes equal objects for one argument, so each is its own.
        angles = (torch.zeros(1, length, width), torch.zeros(1, length, width))
        angle_shapes = (along,) * 2
    # Each distinct layer once, numbered in order of appearance if there are more.
    kinds = [signature(layer) for layer in decoder.layers]
    distinct = list(dict.fromkeys(kinds))
    layers = {}
    for number, kind in enumerate(distinct):
        suffix = f"_{number}" if len(distinct) > 1 else ""
        layers[kind] = piece(
            f"layer{suffix}",
            decoder.layers[kinds.index(kind)],
            (hidden, *angles, _POSITION, cache.clone(), cache.clone()),
            (along, *angle_shapes, Dim.DYNAMIC, capacity, capacity),
        )
    head = piece("head", decoder.head, (hidden,), (along,))

    i64 = ir.IntegerType.get_signless(64)
    f32 = ir.F32Type.get()
    any_size = ir.ShapedType.get_dynamic_size()
    length_name = "tokens" if dynamic else 1
    tokens_type = ir.RankedTensorType.get([1, any_size if dynamic else 1], i64)
    cache_type = ir.RankedTensorType.get([1, decoder.key_heads, any_size, decoder.head_width], f32)
    cache_shape = [1, decoder.key_heads, "capacity", decoder.head_width]
    arguments = [Slot("input", "tokens", tokens_type, [1, length_name]), Slot("input", "position", i64)]
    states = [
        Slot("state", f"cache.{number}.{half}", cache_type, cache_shape)
        for number in range(len(decoder.layers))
        for half in ("key", "value")
    ]
    arguments += states

    # The calls in order: piece, the module whose weights it takes, and the
    # number of its layer.
    calls = [(embed, decoder.embed, None)]
    if rotary is not None:
        calls.append((rotary, decoder.rotary, None))
    calls += [(layers[kind], layer, n) for n, (kind, layer) in enumerate(zip(kinds, decoder.layers))]
    calls.append((head, decoder.head, None))
    known = {}
    for made, source, _ in calls:
        for argument, type in zip(made.arguments, made.argument_types):
            if argument.kind == "weight":
                name = names.of(source, argument.name)
                if known.setdefault(name, type) != type:
                    raise ImporterError(f"weight '{name}' is used both as {known[name]} and as {type}")
    arguments += [Slot("name", name, type, list(ir.RankedTensorType(type).shape)) for name, type in known.items()]

    vocabulary = ir.RankedTensorType(
        ir.FunctionType(ir.TypeAttr(head.function.attributes["function_type"]).value).results[0]
    ).shape[2]
    logits_type = ir.RankedTensorType.get([1, any_size if dynamic else 1, vocabulary], f32)
    results = [Slot("output", "logits", logits_type, [1, length_name, vocabulary]), *states]

    builder = module.entry(entry, arguments, results)
    current = {
        "tokens": builder.values["input", "tokens"],
        "position": builder.values["input", "position"],
    }
    new_states = []
    for made, source, number in calls:
        if number is not None:
            current["key"] = builder.values["state", f"cache.{number}.key"]
            current["value"] = builder.values["state", f"cache.{number}.value"]
        operands = [
            builder.values["name", names.of(source, a.name)] if a.kind == "weight" else current[a.name]
            for a in made.arguments
        ]
        outcome = builder.call(made, operands)
        if made is rotary:
            current["cos"], current["sin"] = outcome
        elif number is not None:
            current["hidden"] = outcome[0]
            new_states += outcome[1:]
        else:
            current["hidden"] = outcome[0]
    builder.finish([current["hidden"], *new_states])
