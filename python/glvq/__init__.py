"""glvq: a compiler for lattice-quantized language models.

``quantize`` a model, ``compile`` it ahead of time, ``load`` what came out.
"""

import importlib.abc as _abc
import importlib.util as _util
import sys as _sys

from .api import CompiledModel, compile, load, quantize
from .errors import GLVQError

__version__ = "0.1.0"
__all__ = ["CompiledModel", "GLVQError", "compile", "load", "quantize"]


class _WhenImported(_abc.MetaPathFinder):
    """Registers glvq with Transformers as soon as something imports the part of
    it that quantizers register with. Importing that here would make every
    program that runs an artefact load torch."""

    _NAME = "transformers.quantizers.auto"

    def find_spec(self, name, path=None, target=None):
        if name != self._NAME:
            return None
        _sys.meta_path.remove(self)
        spec = _util.find_spec(name)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module):
            execute(module)
            from . import huggingface  # noqa: F401 - importing it registers

        spec.loader.exec_module = execute_and_register
        return spec


if _WhenImported._NAME in _sys.modules:
    from . import huggingface as _huggingface  # noqa: F401
else:
    _sys.meta_path.insert(0, _WhenImported())
