"""The operators of libglvq_learning, as ``ops()``."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from .errors import GLVQError

LIBRARY = "libglvq_learning.so"


@cache
def ops():
    """``torch.ops.glvq``: quantize_lattice, dequantize_lattice, hadamard, make_signs, lattice_storage.

    Looks for the library beside this package, in ``$GLVQ_BUILD_DIR/lib`` and in
    the ``build`` folder of the source tree.
    """
    import torch

    here = Path(__file__).resolve().parent
    folders = [here, here.parents[1] / "build" / "lib"]
    if "GLVQ_BUILD_DIR" in os.environ:
        folders.insert(0, Path(os.environ["GLVQ_BUILD_DIR"]) / "lib")
    for folder in folders:
        if (folder / LIBRARY).exists():
            try:
                torch.ops.load_library(str(folder / LIBRARY))
            except OSError as error:
                raise GLVQError(
                    f"{folder / LIBRARY} does not load ({error}); it was built against another torch, build it again"
                ) from error
            return torch.ops.glvq
    raise GLVQError(
        f"{LIBRARY} was not found in {', '.join(map(str, folders))}; build the target glvq_learning "
        "(GLVQ_ENABLE_LEARNING=ON) or set GLVQ_BUILD_DIR"
    )
