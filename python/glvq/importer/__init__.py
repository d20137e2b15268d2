# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""From torch modules to MLIR modules in the form of docs/ModelModule.md.

`import_causal_lm` is for decoder-only language models of Transformers,
`import_module` for any module that torch.export can trace, `import_program` for
what torch.export saved. Weights are named
arguments of the entry points, so neither needs their values: models built on
the meta device import as well.
"""

from __future__ import annotations

from .errors import ImporterError

__all__ = ["ImporterError", "import_causal_lm", "import_module", "import_program"]


def import_causal_lm(model) -> str:
    """The text of a module with `prefill` and `decode` for `model`.

    `model` is a `…ForCausalLM` of Transformers with float32 weights; see
    `decoder.supported_model_types`. Raises ImporterError otherwise.
    """
    from .causal_lm import import_causal_lm

    return import_causal_lm(model)


def import_module(module, example_inputs, dynamic_shapes=None, description=None) -> str:
    """The text of a module with the entry `forward` for a torch module.

    `example_inputs` is the tuple of positional arguments, `dynamic_shapes` as
    torch.export takes it. The inputs have the names of the parameters of
    `module.forward`, the results those of its result when that is a dictionary
    or a ModelOutput, else `output`, or `output.0`, `output.1`, …
    `description` adds to `glvq.model` (docs/ModelModule.md).
    """
    from .module import import_module

    return import_module(module, example_inputs, dynamic_shapes, description)


def import_program(program, architecture: str) -> str:
    """The same for a `torch.export.ExportedProgram`, whose weights have the
    names of its state dictionary; dynamic sizes are named d0, d1, …"""
    from .module import import_program

    return import_program(program, architecture)
