"""glvq: a compiler for lattice-quantized language models."""

__version__ = "0.1.0"
