# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Modules in the form of docs/ModelModule.md, built from pieces."""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import func, tensor

from .errors import ImporterError
from .pieces import Piece


def _shape_attribute(shape) -> ir.Attribute:
    i64 = ir.IntegerType.get_signless(64)
    return ir.ArrayAttr.get([ir.IntegerAttr.get(i64, s) if isinstance(s, int) else ir.StringAttr.get(s) for s in shape])


def attribute(value) -> ir.Attribute:
    """An attribute of a Python value: dictionary, list, string, bool or number."""
    if isinstance(value, dict):
        return ir.DictAttr.get({k: attribute(v) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return ir.ArrayAttr.get([attribute(v) for v in value])
    if isinstance(value, str):
        return ir.StringAttr.get(value)
    if isinstance(value, bool):
        return ir.BoolAttr.get(value)
    if isinstance(value, int):
        return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
    return ir.FloatAttr.get_f64(value)


@dataclass
class Slot:
    """An argument or result of an entry point: its role (`name`, `input`,
    `state`, `output`), what that role says, its type, and dimension names."""

    role: str
    name: str
    type: ir.Type
    shape: list[int | str] | None = None

    def attributes(self) -> ir.DictAttr:
        entries = {f"glvq.{self.role}": ir.StringAttr.get(self.name)}
        if self.shape is not None:
            entries["glvq.shape"] = _shape_attribute(self.shape)
        return ir.DictAttr.get(entries)


def coerce(value: ir.Value, type: ir.Type) -> ir.Value:
    """`value` as `type`, which may differ in what is known of its sizes."""
    if value.type == type:
        return value
    if not isinstance(type, ir.RankedTensorType) or not isinstance(value.type, ir.RankedTensorType):
        raise ImporterError(f"the parts of the model do not fit together: {value.type} is used as {type}")
    return tensor.CastOp(type, value).result


class ModelModule:
    """A module under construction. Use inside its context."""

    def __init__(self, context: ir.Context):
        self.context = context
        self.location = ir.Location.unknown(context)
        self.module = ir.Module.create(self.location)

    def add(self, piece: Piece, visibility: str = "private") -> None:
        """Moves the function of `piece` here."""
        piece.function.attributes["sym_visibility"] = ir.StringAttr.get(visibility)
        piece.function.detach_from_parent()
        self.module.body.append(piece.function)

    def set_roles(self, function: ir.Operation, arguments: list[Slot], results: list[Slot]) -> None:
        """Attaches the attributes of an entry point; checks what docs promise."""
        names = [a.name for a in arguments if a.role == "name"]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ImporterError(f"weight '{twice[0]}' would be two arguments")
        function.attributes["arg_attrs"] = ir.ArrayAttr.get([a.attributes() for a in arguments])
        function.attributes["res_attrs"] = ir.ArrayAttr.get([r.attributes() for r in results])
        if function.attributes["sym_visibility"].value == "public":
            del function.attributes["sym_visibility"]

    def entry(self, name: str, arguments: list[Slot], results: list[Slot]) -> EntryBuilder:
        """Starts an entry point; calls are added to what is returned."""
        with ir.InsertionPoint(self.module.body):
            op = func.FuncOp(name, ir.FunctionType.get([a.type for a in arguments], [r.type for r in results]))
        op.add_entry_block()
        op.operation.attributes["sym_visibility"] = ir.StringAttr.get("public")
        self.set_roles(op.operation, arguments, results)
        return EntryBuilder(op, arguments, results)

    def text(self, model: dict | None = None) -> str:
        """Verifies and prints."""
        if model is not None:
            self.module.operation.attributes["glvq.model"] = attribute(model)
        if not self.module.operation.verify():
            raise ImporterError("the imported module does not verify; please report this with the model's config.json")
        return self.module.operation.get_asm() + "\n"


class EntryBuilder:
    """Calls of pieces, one after the other, in an entry point."""

    def __init__(self, op, arguments: list[Slot], results: list[Slot]):
        self.op, self.results = op, results
        self.values = {(a.role, a.name): v for a, v in zip(arguments, op.arguments)}

    def call(self, piece: Piece, operands: list[ir.Value]) -> list[ir.Value]:
        with ir.InsertionPoint(self.op.entry_block):
            operands = [coerce(v, t) for v, t in zip(operands, piece.argument_types, strict=True)]
            type = ir.FunctionType(ir.TypeAttr(piece.function.attributes["function_type"]).value)
            symbol = ir.StringAttr(piece.function.attributes["sym_name"]).value
            return list(func.CallOp(type.results, symbol, operands).results)

    def finish(self, values: list[ir.Value]) -> None:
        with ir.InsertionPoint(self.op.entry_block):
            func.ReturnOp([coerce(v, r.type) for v, r in zip(values, self.results, strict=True)])
