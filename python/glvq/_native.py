"""Finds what CMake built: the tools and the extension module.

Looked for beside this file (an installed package), then in the build folder:
``$GLVQ_BUILD_DIR``, else ``build`` of the source tree.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from .errors import GLVQError

_PACKAGE = Path(__file__).resolve().parent


def build_dir() -> Path:
    """The CMake build folder in use; it need not exist."""
    return Path(os.environ.get("GLVQ_BUILD_DIR") or _PACKAGE.parents[1] / "build")


def tool(name: str) -> str:
    """Path of a C++ tool such as ``glvq-compile``."""
    candidates = (_PACKAGE / "bin" / name, build_dir() / "bin" / name)
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise GLVQError(f"{name} is not built; looked for {' and '.join(map(str, candidates))}. Run tools/setup")


def run_tool() -> None:
    """Becomes the C++ tool that this script is named after: the entry point of
    ``glvq-opt`` and its siblings in an installed package."""
    try:
        path = tool(Path(sys.argv[0]).name)
    except GLVQError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")
    os.execv(path, [path, *sys.argv[1:]])


def library(name: str) -> str:
    """Path of a shared library such as ``libglvq_learning.so``."""
    candidates = (_PACKAGE / "lib" / name, build_dir() / "lib" / name)
    for candidate in candidates:
        if candidate.exists():
            return str(candidate)
    raise GLVQError(f"{name} is not built; looked for {' and '.join(map(str, candidates))}. Run tools/setup")


@cache
def runtime() -> ModuleType:
    """The extension module ``glvq._runtime`` (python/Runtime.cpp)."""
    folders = (_PACKAGE, build_dir() / "python" / "glvq")
    for folder in folders:
        for file in sorted(folder.glob("_runtime.*so")):
            spec = importlib.util.spec_from_file_location("glvq._runtime", file)
            module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except ImportError as error:
                raise GLVQError(f"{file} cannot be loaded by this Python: {error}. Run tools/setup") from error
            sys.modules["glvq._runtime"] = module
            return module
    raise GLVQError(
        f"the extension module _runtime is not built; looked in {' and '.join(map(str, folders))}. Run tools/setup"
    )
