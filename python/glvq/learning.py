"""The operators of libglvq_learning, as ``ops()``."""

from __future__ import annotations

from functools import cache

from ._native import library
from .errors import GLVQError


@cache
def ops():
    """``torch.ops.glvq``: quantize_lattice, dequantize_lattice, hadamard, make_signs, lattice_storage.

    Raises GLVQError when the library is not built, or for another torch.
    """
    import torch

    path = library("libglvq_learning.so")
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise GLVQError(
            f"{path} does not load ({error}); it was built against another torch, build it again"
        ) from error
    return torch.ops.glvq
