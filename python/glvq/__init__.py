"""glvq: a compiler for lattice-quantized language models.

``quantize`` a model, ``compile`` it ahead of time, ``load`` what came out.
"""

from .api import CompiledModel, compile, load, quantize
from .errors import GLVQError

__version__ = "0.1.0"
__all__ = ["CompiledModel", "GLVQError", "compile", "load", "quantize"]
