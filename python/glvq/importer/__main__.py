# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""`python -m glvq.importer MODEL -o model.mlir [--checkpoint FOLDER]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import models
from ..errors import GLVQError
from . import import_causal_lm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m glvq.importer", description="Import a causal language model.")
    parser.add_argument("model", nargs="?", help="Hugging Face folder or GGUF file (default: packaged SmolLM2)")
    parser.add_argument("-o", "--output", default="-", help="the module's file (default: standard output)")
    parser.add_argument("--checkpoint", help="also write the weights as a plain float32 checkpoint folder")
    arguments = parser.parse_args()
    try:
        loaded = models.load(arguments.model or models.default_model_path())
        text = import_causal_lm(loaded.model)
        if arguments.checkpoint:
            models.save_checkpoint(loaded, arguments.checkpoint)
    except GLVQError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.output == "-":
        sys.stdout.write(text)
    else:
        Path(arguments.output).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
