# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Import of any traceable module as `forward`."""

from __future__ import annotations

import torch
from torch_mlir import ir

from .errors import ImporterError
from .pieces import Piece, make_piece, merge_weights, new_context, program_piece
from .stitch import ModelModule, Slot


class _Sizes:
    """Names of dynamic sizes: those of the caller's `Dim`s, else d0, d1, …"""

    def __init__(self, dynamic_shapes, arguments):
        self.names = {}
        if dynamic_shapes is None:
            return
        specs = dynamic_shapes
        if isinstance(specs, dict):
            specs = [specs.get(a.name) for a in arguments]
        for spec, argument in zip(specs, arguments):
            if argument.shape is None or spec is None:
                continue
            dims = spec.items() if isinstance(spec, dict) else enumerate(spec)
            for index, dim in dims:
                name = getattr(dim, "__name__", None)
                if name and isinstance(argument.shape[index], str):
                    self.names[argument.shape[index]] = name

    def of(self, shape):
        if shape is None:
            return None
        return [s if isinstance(s, int) else self.names.setdefault(s, f"d{len(self.names)}") for s in shape]


def _refuse_other_types(parameters) -> None:
    other = {p.dtype for p in parameters if p.dtype.is_floating_point} - {torch.float32}
    if other:
        raise ImporterError(
            f"the module has weights of type {', '.join(sorted(map(str, other)))}; modules are compiled in float32, "
            "so convert it with module.float()"
        )


def import_module(module: torch.nn.Module, example_inputs, dynamic_shapes=None, description: dict | None = None) -> str:
    _refuse_other_types(module.parameters())
    training = module.training
    module.eval()
    context = new_context()
    try:
        with context, ir.Location.unknown(context):
            piece = make_piece(context, "forward", module, tuple(example_inputs), dynamic_shapes)
            merge_weights(piece, _checkpoint_names(module))
            inputs = [a for a in piece.arguments if a.kind == "input"]
            description = {"architecture": type(module).__name__, **(description or {})}
            return _forward_of(context, piece, _Sizes(dynamic_shapes, inputs), description)
    finally:
        module.train(training)


def _checkpoint_names(module: torch.nn.Module) -> dict[str, str]:
    """Name -> name in checkpoints: a tied tensor is stored once, under the first
    of its names."""
    names, first = {}, {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        names[name] = first.setdefault(id(tensor), name)
    return names


def import_program(program: torch.export.ExportedProgram, architecture: str) -> str:
    _refuse_other_types(program.state_dict.values())
    context = new_context()
    with context, ir.Location.unknown(context):
        piece = program_piece(context, "forward", program, architecture)
        return _forward_of(context, piece, _Sizes(None, []), {"architecture": architecture})


def _forward_of(context: ir.Context, piece: Piece, sizes: _Sizes, description: dict) -> str:
    """The module whose only entry is `piece`."""
    result = ModelModule(context)
    result.add(piece, visibility="public")
    arguments = [
        Slot("name" if a.kind == "weight" else "input", a.name, type, sizes.of(a.shape))
        for a, type in zip(piece.arguments, piece.argument_types)
    ]
    types = ir.FunctionType(ir.TypeAttr(piece.function.attributes["function_type"]).value).results
    results = [
        Slot("output", name, type, sizes.of(shape))
        for name, type, shape in zip(piece.result_names, types, piece.result_shapes)
    ]
    result.set_roles(piece.function, arguments, results)
    # What the export relied on; the runtime holds callers to it.
    ranges = {name: piece.ranges[symbol] for symbol, name in sizes.names.items() if symbol in piece.ranges}
    return result.text({**description, "sizes": ranges} if ranges else description)
