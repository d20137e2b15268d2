# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""The exception of the importer."""

from ..errors import GLVQError


class ImporterError(GLVQError):
    """A model that cannot be imported. The message says why and what to do."""
