# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Import of any traceable module as `forward`."""

from __future__ import annotations

import inspect

import torch
from torch_mlir import ir

from .errors import ImporterError
from .pieces import make_piece, new_context
from .stitch import ModelModule, Slot


class _Sizes:
    """Names of dynamic sizes: those of the caller's `Dim`s, else d0, d1, …"""

    def __init__(self, dynamic_shapes, inputs, arguments):
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


def import_module(module: torch.nn.Module, example_inputs, dynamic_shapes=None) -> str:
    other = {p.dtype for p in module.parameters() if p.dtype.is_floating_point} - {torch.float32}
    if other:
        raise ImporterError(
            f"the module has weights of type {', '.join(sorted(map(str, other)))}; modules are compiled in float32, "
            "so convert it with module.float()"
        )
    training = module.training
    module.eval()
    context = new_context()
    try:
        with context, ir.Location.unknown(context):
            piece = make_piece(context, "forward", module, tuple(example_inputs), dynamic_shapes)
            result = ModelModule(context)
            result.add(piece, visibility="public")
            sizes = _Sizes(dynamic_shapes, example_inputs, [a for a in piece.arguments if a.kind == "input"])
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
            return result.text({"architecture": type(module).__name__})
    finally:
        module.train(training)
