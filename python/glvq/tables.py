"""Embeddings and output heads in a few bits: every row with a scale of its own.

Tables are not rotated, and need no Hessian: they are read by single rows, and at
4 to 8 bits rounding to the nearest level is enough. The code is the lattice of
one dimension (docs/CheckpointFormat.md) with the same generator for all columns.
"""

from __future__ import annotations

from typing import Any

from .checkpoint import LatticeCode
from .errors import GLVQError

# The generator. Scales are half floats; with 2^-7 those of usual embeddings
# (the largest element of a row, about) stay clear of the subnormal ones.
_STEP = 2.0**-7
# Factors of the largest element tried as the end of the levels.
_CLIPPING = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)


def find_tables(model) -> dict[str, Any]:
    """Name -> parameter of the input embedding and of the output head, a tied
    one once."""
    names = {id(parameter): name for name, parameter in reversed(list(model.named_parameters()))}
    tables = {}
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        parameter = getattr(module, "weight", None)
        if parameter is not None and id(parameter) in names:
            tables[names[id(parameter)]] = parameter
    return tables


def check(bits: int) -> None:
    """Raises GLVQError for a width that tables do not take; 0 leaves them alone."""
    if bits and not 4 <= bits <= 8:
        raise GLVQError(f"embeddings and head take 4 to 8 bits, or 0 to stay as they are, not {bits}")


def table_code(columns: int, bits: int) -> LatticeCode:
    return LatticeCode(1, columns, ((bits, None),))


def pack_fields(fields, bits: int):
    """I32 [rows, words] of fields [rows, columns], least significant bit first."""
    import torch

    rows, columns = fields.shape
    words = -(-columns * bits // 32)
    stream = (fields.unsqueeze(-1) >> torch.arange(bits)) & 1
    stream = torch.nn.functional.pad(stream.reshape(rows, -1), (0, words * 32 - columns * bits))
    packed = (stream.reshape(rows, words, 32) << torch.arange(32)).sum(-1)
    return packed.to(torch.int32) if packed.numel() == 0 else (packed - ((packed >> 31) << 32)).to(torch.int32)


def quantize_table(weight, bits: int):
    """(parts, decoded, error) of a float32 matrix: the tensors `codes`,
    `generators`, `scales`, the matrix they stand for, and the squared error
    relative to the weight."""
    import torch

    center = (2**bits - 1) / 2
    clipping = _CLIPPING if bits < 8 else _CLIPPING[:1]
    codes, scales, decoded = [], [], torch.empty_like(weight)
    for begin in range(0, len(weight), 2048):
        rows = weight[begin : begin + 2048].float()
        largest = rows.abs().amax(1, keepdim=True)
        best = None
        for factor in clipping:
            scale = (largest * (factor / center / _STEP)).half()
            step = scale.float() * _STEP
            fields = (rows / step.clamp_min(1e-30) + center).round().clamp(0, 2**bits - 1)
            result = (fields - center) * step
            error = (result - rows).square().sum(1, keepdim=True)
            if best is None:
                best = [error, scale, fields, result]
            else:
                better = error < best[0]
                best = [torch.where(better, new, old) for new, old in zip((error, scale, fields, result), best)]
        codes.append(pack_fields(best[2].long(), bits))
        scales.append(best[1].squeeze(1))
        decoded[begin : begin + 2048] = best[3]
    parts = {
        "codes": torch.cat(codes),
        "generators": torch.full((1, 1, 1), _STEP, dtype=torch.float16),
        "scales": torch.cat(scales),
    }
    power = float(weight.double().square().sum())
    error = float((decoded - weight).double().square().sum()) / power if power else 0.0
    return parts, decoded, error
