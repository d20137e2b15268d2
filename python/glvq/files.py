"""Reading and refusing files, with errors that name them."""

from __future__ import annotations

import json
from pathlib import Path

from .errors import GLVQError


def read_json(file: Path, missing: str) -> dict:
    """The object in a JSON file. Raises GLVQError when the file is not there
    (``missing`` is the message then) or holds anything else."""
    if not file.exists():
        raise GLVQError(missing)
    try:
        value = json.loads(file.read_text(encoding="utf8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GLVQError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise GLVQError(f"{file} is not a JSON object")
    return value


def refuse_existing(output: Path, force: bool) -> None:
    """Raises GLVQError if ``output`` exists, unless it is to be replaced."""
    if output.exists() and not force:
        raise GLVQError(f"{output} exists; choose another folder, or replace it with --force")
