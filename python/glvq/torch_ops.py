"""Operators on packed weights for torch programs, over all code families.

    torch.ops.glvq.linear(x, code, parts, rows, signs_in, signs_out, bias)
    torch.ops.glvq.embedding(ids, code, parts, rows, columns, signs_in, signs_out)
    torch.ops.glvq.dequantize(code, parts, rows, columns, signs_in, signs_out)

``code`` is the text of the code attribute, ``parts`` the tensors that store the
weight in the order of docs/CheckpointFormat.md, ``rows`` x ``columns`` the shape
[out, in]. They run on the CPU, have shapes for torch.compile and torch.export,
and ``linear`` has a gradient with respect to ``x`` and ``bias``.

Importing this module registers them.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from .checkpoint import LatticeCode, WeightCode
from .learning import ops

_SIGNS = "Tensor? signs_in, Tensor? signs_out"
_library = torch.library.Library("glvq", "FRAGMENT")
_library.define(f"dequantize(str code, Tensor[] parts, int rows, int columns, {_SIGNS}) -> Tensor")
_library.define(f"linear(Tensor x, str code, Tensor[] parts, int rows, {_SIGNS}, Tensor? bias) -> Tensor")
_library.define(f"embedding(Tensor ids, str code, Tensor[] parts, int rows, int columns, {_SIGNS}) -> Tensor")


@lru_cache(maxsize=4096)
def _code_and_names(text: str, rows: int, columns: int):
    code = WeightCode.parse(text)
    return code, tuple(code.parts(rows, columns))


def _unpack(text: str, parts, rows: int, columns: int):
    """(code, {name: part}); raises ValueError when the number is wrong."""
    code, names = _code_and_names(text, rows, columns)
    if len(parts) != len(names):
        raise ValueError(f"{text} is stored in {', '.join(names)}: {len(names)} parts, not {len(parts)}")
    return code, dict(zip(names, parts))


def _dequantize(text, parts, rows, columns, signs_in, signs_out):
    code, part = _unpack(text, parts, rows, columns)
    return code.dequantize(part, columns, signs_in, signs_out)


def _linear(x, text, parts, rows, signs_in, signs_out, bias):
    columns = x.shape[-1]
    code, part = _unpack(text, parts, rows, columns)
    tokens = x.reshape(-1, columns).float()
    if signs_in is not None:
        tokens = ops().hadamard(tokens, signs_in)
    if isinstance(code, LatticeCode) and code.compander == "none":
        y = ops().linear_lattice(
            tokens, part["codes"], part["generators"], part["scales"], part.get("order"),
            code.dim, code.group, code.flat_runs(columns),
        )  # fmt: skip
    else:
        y = tokens @ code.dequantize(part, columns).t()
    if signs_out is not None:
        y = ops().hadamard(y, signs_out, -1, True)
    if bias is not None:
        y = y + bias
    return y.to(x.dtype).reshape(*x.shape[:-1], rows)


def _embedding(ids, text, parts, rows, columns, signs_in, signs_out):
    code, part = _unpack(text, parts, rows, columns)
    flat = ids.reshape(-1)
    if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < rows:
        raise IndexError(f"token ids must be 0 to {rows - 1}")
    by_row = [name for name, tensor in part.items() if name in ("codes", "scales") and tensor.shape[0] == rows]
    if by_row == ["codes", "scales"] and signs_out is None:
        # The rows are stored one by one: only those asked for are decoded.
        rows_of = {name: tensor[flat] if name in by_row else tensor for name, tensor in part.items()}
        decoded = code.dequantize(rows_of, columns, signs_in)
    else:
        decoded = code.dequantize(part, columns, signs_in, signs_out)[flat]
    return decoded.reshape(*ids.shape, columns)


_library.impl("dequantize", _dequantize, "CPU")
_library.impl("linear", _linear, "CPU")
_library.impl("embedding", _embedding, "CPU")


@torch.library.register_fake("glvq::dequantize", lib=_library)
def _(code, parts, rows, columns, signs_in, signs_out):
    return parts[0].new_empty((rows, columns), dtype=torch.float32)


@torch.library.register_fake("glvq::linear", lib=_library)
def _(x, code, parts, rows, signs_in, signs_out, bias):
    return x.new_empty((*x.shape[:-1], rows))


@torch.library.register_fake("glvq::embedding", lib=_library)
def _(ids, code, parts, rows, columns, signs_in, signs_out):
    return ids.new_empty((*ids.shape, columns), dtype=torch.float32)


def _remember(ctx, inputs, output):
    x, ctx.code, parts, ctx.rows, signs_in, signs_out, bias = inputs
    ctx.columns, ctx.has_bias = x.shape[-1], bias is not None
    ctx.has_signs = (signs_in is not None, signs_out is not None)
    ctx.save_for_backward(*parts, *(s for s in (signs_in, signs_out) if s is not None))


def _backward(ctx, grad):
    saved = list(ctx.saved_tensors)
    signs_out = saved.pop() if ctx.has_signs[1] else None
    signs_in = saved.pop() if ctx.has_signs[0] else None
    # y = x W^T + b with a W that does not learn.
    weight = torch.ops.glvq.dequantize(ctx.code, saved, ctx.rows, ctx.columns, signs_in, signs_out)
    grad_x = grad @ weight.to(grad.dtype)
    grad_bias = grad.reshape(-1, ctx.rows).sum(0) if ctx.has_bias else None
    return grad_x, None, [None] * len(saved), None, None, None, grad_bias


torch.library.register_autograd("glvq::linear", _backward, setup_context=_remember, lib=_library)
