# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""From one torch module to one MLIR function.

A `Piece` is what torch.export and torch-mlir make of a module: one function of
upstream dialects whose parameters are arguments. Pieces that belong together
share an `ir.Context`, so that `stitch` can move them into one module. All
rewriting is done on the IR with torch-mlir's bindings, never on its text.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from dataclasses import dataclass, field

import sympy
import torch
from torch.export.graph_signature import InputKind
from torch_mlir import fx, ir
from torch_mlir.dialects import arith
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.extras.fx_decomp_util import get_decomposition_table
from torch_mlir.extras.fx_importer import FxImporter
from torch_mlir.passmanager import PassManager

from .errors import ImporterError

# What `docs/ModelModule.md` allows in a model module.
ALLOWED_DIALECTS = frozenset({"affine", "arith", "builtin", "cf", "complex", "func", "linalg", "math", "scf", "tensor"})

# Tensors that are neither parameters nor in the checkpoint (inverse frequencies
# of rotary embeddings, position ids) are written into the module up to this
# many elements. A larger one is a weight in disguise.
MAX_CONSTANT_ELEMENTS = 4096


@dataclass
class Argument:
    """An argument of a piece: an `input` (named as in `forward`) or a `weight`
    (named by its path in the exported module). `shape` has an integer or a
    symbol of the export per dimension, and is None for scalars."""

    kind: str
    name: str
    shape: list[int | str] | None


@dataclass
class Piece:
    """A function, still in the module it was imported into."""

    function: ir.Operation
    arguments: list[Argument]
    result_names: list[str]
    result_shapes: list[list[int | str] | None]
    # By symbol: the least and the largest size that the code is right for, if any.
    ranges: dict[str, tuple[int, int]]
    module: ir.Module = field(repr=False)

    @property
    def argument_types(self) -> list[ir.Type]:
        return [a.type for a in self.function.regions[0].blocks[0].arguments]


def new_context() -> ir.Context:
    """A context in which pieces can be made."""
    context = ir.Context()
    torch_dialect.register_dialect(context)
    return context


@contextlib.contextmanager
def _quiet():
    """Export and decomposition warn about their own deprecated parts."""
    loggers = [logging.getLogger(n) for n in ("torch.export", "torch.fx", "torch._export")]
    levels = [(logger, logger.level) for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in levels:
                logger.setLevel(level)


def materialized(module: torch.nn.Module) -> torch.nn.Module:
    """`module`, or a copy of it on the CPU when parameters have no storage.

    Export looks at shapes only, so the copy stays uninitialised: on Linux its
    pages are never touched.
    """
    if not any(t.is_meta for t in module.parameters()):
        return module
    module = copy.deepcopy(module)
    persistent = set(module.state_dict(keep_vars=True))
    for name, buffer in module.named_buffers():
        if buffer.is_meta and name not in persistent:
            raise ImporterError(
                f"buffer '{name}' is not in the checkpoint and has no value, because the model was "
                "built without weights; load the model with its weights"
            )
    return module._apply(lambda t: torch.empty_like(t, device="cpu") if t.is_meta else t)


def _symbolic(value) -> list[int | str] | None:
    """Sizes of a traced tensor: integers, or the text of the symbol."""
    if not isinstance(value, torch.Tensor):
        return None
    return [s if isinstance(s, int) else str(s.node.expr) for s in value.shape]


def _cumsum(x, dim, *, dtype=None):
    """Running sums as products with a triangle of ones: torch-mlir has a scan of
    its own dialect for them. For short sums, such as positions in a text."""
    n = x.shape[dim]
    index = torch.arange(n, device=x.device)
    x = x.to(dtype or (x.dtype if x.dtype.is_floating_point else torch.int64)).movedim(dim, -1)
    return torch.where(index[:, None] >= index, x.unsqueeze(-2), 0).sum(-1).movedim(-1, dim)


def _decompositions() -> dict:
    """torch-mlir's, and torch's own for GELU: torch-mlir's lowering of the tanh
    form has sqrt(2/pi) as 0.797724 (it is 0.797885), an error of 1e-4."""
    return {
        **get_decomposition_table(),
        **torch._decomp.get_decompositions([torch.ops.aten.gelu]),
        torch.ops.aten.cumsum.default: _cumsum,
    }


def _strip_assertions(program: torch.export.ExportedProgram) -> None:
    """Removes what export inserts to check at run time.

    These are relations between positions, lengths and capacities that
    `docs/ModelModule.md` makes the caller's duty; the runtime checks them once
    per call and not once per layer.
    """
    checks = {
        torch.ops.aten._assert_scalar.default,
        torch.ops.aten._assert_async.msg,
        torch.ops.aten.sym_constrain_range.default,
        torch.ops.aten.sym_constrain_range_for_size.default,
        torch.ops.aten._assert_tensor_metadata.default,
    }
    graph = program.graph_module.graph
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and node.target in checks:
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _expand_small_powers(program: torch.export.ExportedProgram) -> None:
    """Squares and cubes as products: norms and GELU have them, and a product is
    exact, fast and vectorises, a call of pow is none of it."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target != torch.ops.aten.pow.Tensor_Scalar or node.args[1] not in (2, 3):
            continue
        base, exponent = node.args
        with graph.inserting_before(node):
            product = base
            for _ in range(int(exponent) - 1):
                product = graph.call_function(torch.ops.aten.mul.Tensor, (product, base))
                product.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def _reassociation(source, target):
    """Groups of dimensions of two shapes (without units) that have equal
    products: `[(dimensions of source, dimensions of target), …]`, or None."""
    groups, i, j = [], 0, 0
    while i < len(source) or j < len(target):
        if i == len(source) or j == len(target):
            return None
        left, right, i0, j0 = source[i], target[j], i, j
        i, j = i + 1, j + 1
        # The side that divides the other takes its next dimension.
        while left != right:
            if (left / right).is_integer and j < len(target):
                right *= target[j]
                j += 1
            elif i < len(source):
                left *= source[i]
                i += 1
            else:
                return None
        groups.append((list(range(i0, i)), list(range(j0, j))))
    return groups


def _split_dynamic_views(program: torch.export.ExportedProgram) -> None:
    """Views of dynamic shapes as merges and splits of dimensions.

    torch-mlir lowers those to collapse_shape and expand_shape. A view whose
    sizes are computed would become tensor.reshape, which is opaque to fusion.
    """
    graph = program.graph_module.graph
    views = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default, torch.ops.aten.reshape.default}

    def size(s):
        return sympy.Integer(s) if isinstance(s, int) else s.node.expr

    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in views:
            continue
        source, value = node.args[0].meta["val"], node.meta["val"]
        if all(isinstance(s, int) for s in (*source.shape, *value.shape)):
            continue
        before = [size(s) for s in source.shape if size(s) != 1]
        after = [size(s) for s in value.shape if size(s) != 1]
        groups = _reassociation(before, after)
        if groups is None:
            continue
        sizes = [s for s in value.shape if size(s) != 1]

        with graph.inserting_before(node):

            def emit(target, arguments, compute):
                made = graph.call_function(target, arguments)
                made.meta = {"val": compute(arguments[0].meta["val"])}
                return made

            current = node.args[0]
            for d in reversed(range(source.dim())):
                if size(source.shape[d]) == 1:
                    current = emit(torch.ops.aten.squeeze.dim, (current, d), lambda v: v.squeeze(d))
            # From the last group to the first, so that numbers stay valid.
            for left, right in reversed(groups):
                if len(left) > 1:
                    current = emit(
                        torch.ops.aten.flatten.using_ints,
                        (current, left[0], left[-1]),
                        lambda v: v.flatten(left[0], left[-1]),
                    )
                for n, d in enumerate(right[:-1]):
                    rest = sizes[d + 1]
                    for s in sizes[d + 2 : right[-1] + 1]:
                        rest = rest * s
                    outer = sizes[d]
                    if not isinstance(outer, int):
                        break
                    current = emit(
                        torch.ops.aten.unflatten.int,
                        (current, left[0] + n, [outer, -1]),
                        lambda v: v.unflatten(left[0] + n, (outer, rest)),
                    )
                else:
                    continue
                break
            else:
                for d in range(value.dim()):
                    if size(value.shape[d]) == 1:
                        current = emit(torch.ops.aten.unsqueeze.default, (current, d), lambda v: v.unsqueeze(d))
                node.replace_all_uses_with(current)
                graph.erase_node(node)
    graph.eliminate_dead_code()


def _ranges(program: torch.export.ExportedProgram) -> dict[str, tuple[int, int]]:
    """What the export assumed of each dynamic size, where it assumed anything."""
    largest = 2**31 - 1

    def bound(value, otherwise: int) -> int:
        return int(value) if value.is_finite and abs(value) <= largest else otherwise

    ranges = {
        str(symbol): (max(0, bound(range.lower, 0)), bound(range.upper, largest))
        for symbol, range in program.range_constraints.items()
    }
    return {symbol: range for symbol, range in ranges.items() if range != (0, largest)}


def _result_names(program: torch.export.ExportedProgram, count: int) -> list[str]:
    """`output`, the keys of a dictionary-like result, or `output.N`."""
    tree = torch.utils._pytree.tree_unflatten(list(range(count)), program.call_spec.out_spec)
    if isinstance(tree, int):
        return ["output"]
    names = [f"output.{i}" for i in range(count)]
    if hasattr(tree, "items"):
        for key, value in tree.items():
            if isinstance(value, int):
                names[value] = key
            else:
                leaves = torch.utils._pytree.tree_leaves(value)
                for n, leaf in enumerate(leaves):
                    names[leaf] = f"{key}.{n}"
    elif isinstance(tree, (tuple, list)) and count == 1:
        names = ["output"]
    return names


def make_piece(
    context: ir.Context,
    name: str,
    module: torch.nn.Module,
    arguments: tuple,
    dynamic_shapes=None,
) -> Piece:
    """Imports `module`, called with `arguments`, as a function called `name`.

    `dynamic_shapes` is torch.export's. Raises ImporterError when torch cannot
    export the module, when torch-mlir has no lowering for it, or when the
    result is not of upstream dialects.
    """
    module = materialized(module)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(module, arguments, dynamic_shapes=dynamic_shapes, strict=False)
    except Exception as e:
        # The first paragraph says what; what follows is advice to debug torch.
        reason = str(e).split("\n\n")[0]
        raise ImporterError(f"torch.export cannot trace '{name}' ({type(module).__name__}): {reason}") from e
    return program_piece(context, name, program, type(module).__name__)


def program_piece(context: ir.Context, name: str, program: torch.export.ExportedProgram, origin: str) -> Piece:
    """Imports an exported program as a function called `name`; `origin` says
    in errors where it comes from. Raises ImporterError like make_piece."""
    try:
        with _quiet(), torch.no_grad():
            program = program.run_decompositions(_decompositions())
    except Exception as e:
        reason = str(e).split("\n\n")[0]
        raise ImporterError(f"torch.export cannot decompose '{name}' ({origin}): {reason}") from e
    _strip_assertions(program)
    _expand_small_powers(program)
    _split_dynamic_views(program)

    # Parameters, buffers and constants become arguments like all others. What
    # is not in the checkpoint comes back as a constant below.
    placeholders = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    entries: list[Argument] = []
    constants: list[torch.Tensor | None] = []
    for spec in program.graph_signature.input_specs:
        target, kind = spec.target, spec.kind
        constant = None
        if kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            if kind == InputKind.CONSTANT_TENSOR or (kind == InputKind.BUFFER and spec.persistent is False):
                constant = program.constants[target]
            spec.kind, spec.target, spec.persistent = InputKind.USER_INPUT, None, None
        elif kind != InputKind.USER_INPUT:
            raise ImporterError(f"'{name}' has an input of kind {kind.name}, which a model module cannot have")
        entries.append(
            Argument(
                "input" if kind == InputKind.USER_INPUT else "weight",
                spec.arg.name if kind == InputKind.USER_INPUT else target,
                _symbolic(placeholders[spec.arg.name].meta.get("val")),
            )
        )
        constants.append(constant)

    outputs = next(n for n in program.graph.nodes if n.op == "output").args[0]
    result_shapes = [_symbolic(o.meta.get("val")) for o in outputs]
    result_names = _result_names(program, len(outputs))

    try:
        with _quiet():
            imported = fx.export_and_import(
                program,
                fx_importer=FxImporter(context=context),
                output_type="linalg-on-tensors",
                func_name=name,
                decomposition_table={},
                # Else they would be decomposed into the views they come from.
                backend_legal_ops=["aten.flatten.using_ints", "aten.unflatten.int"],
            )
    except Exception as e:
        raise ImporterError(f"torch-mlir cannot lower '{name}' ({origin}): {e}") from e

    function = next(op for op in imported.body.operations if op.operation.name == "func.func").operation
    with context, ir.Location.unknown(context):
        _erase_assertions(function)
        kept = _settle_arguments(name, function, entries, constants)
        PassManager.parse("builtin.module(func.func(canonicalize,cse))").run(imported.operation)
        function = next(op for op in imported.body.operations if op.operation.name == "func.func").operation
        # Cleaning up may have taken the last use of an argument.
        kept = _settle_arguments(name, function, kept, [None] * len(kept))
        _check_dialects(name, function)
    return Piece(function, kept, result_names, result_shapes, _ranges(program), imported)


def _walk(operation: ir.Operation):
    """All operations below `operation`, outer before inner."""
    for region in operation.regions:
        for block in region.blocks:
            for op in list(block.operations):
                yield op.operation
                yield from _walk(op.operation)


def _erase_assertions(function: ir.Operation) -> None:
    """Erases what torch-mlir checks of tokens and sizes: see `_strip_assertions`."""
    for op in [op for op in _walk(function) if op.name == "cf.assert"]:
        op.erase()


def _settle_arguments(name, function, entries, constants) -> list[Argument]:
    """Turns arguments with a value into constants and drops unused ones."""
    block = function.regions[0].blocks[0]
    kept = []
    for index in reversed(range(len(entries))):
        argument = block.arguments[index]
        used = next(iter(argument.uses), None) is not None
        value = constants[index]
        if used and value is None:
            kept.append(entries[index])
            continue
        if used:
            if value.numel() > MAX_CONSTANT_ELEMENTS:
                raise ImporterError(
                    f"'{entries[index].name}' of '{name}' is not in the checkpoint and too large for a constant "
                    f"({value.numel()} elements); register it as a persistent buffer"
                )
            with ir.InsertionPoint.at_block_begin(block):
                literal = ir.DenseElementsAttr.get(value.detach().contiguous().numpy(), type=argument.type)
                argument.replace_all_uses_with(arith.ConstantOp(argument.type, literal).result)
        block.erase_argument(index)
    kept.reverse()
    old = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    function.attributes["function_type"] = ir.TypeAttr.get(
        ir.FunctionType.get([a.type for a in block.arguments], old.results)
    )
    for attribute in ("arg_attrs", "res_attrs", "torch.assume_strict_symbolic_shapes", "llvm.emit_c_interface"):
        if attribute in function.attributes:
            del function.attributes[attribute]
    return kept


def merge_weights(piece: Piece, names: dict[str, str]) -> None:
    """Renames weights; those that get the same name become one argument. Use
    inside the context of the piece."""
    block, merged = piece.function.regions[0].blocks[0], {}
    for argument, value in zip(piece.arguments, block.arguments):
        if argument.kind == "weight":
            argument.name = names.get(argument.name, argument.name)
            first = merged.setdefault(argument.name, value)
            if first != value:
                value.replace_all_uses_with(first)
    piece.arguments = _settle_arguments("", piece.function, piece.arguments, [None] * len(piece.arguments))


def _check_dialects(name: str, function: ir.Operation) -> None:
    foreign = sorted({op.name for op in _walk(function) if op.name.split(".")[0] not in ALLOWED_DIALECTS})
    if foreign:
        raise ImporterError(
            f"'{name}' needs operations that are not upstream MLIR: {', '.join(foreign)}; "
            "rewrite the part of the model they come from (an explicit mask instead of a computed one, "
            "slice_scatter instead of index_put)"
        )
