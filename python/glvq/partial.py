# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Work that takes hours and can be stopped at any moment.

    with Partial(output, settings, resume) as partial:
        if partial.has("layer-00000"): …

``OUTPUT.partial`` holds one pair of files for each finished piece: tensors, and
JSON with their hash. The JSON is written last and both by renaming, so a piece
is either finished or not there. The folder goes when the work is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path

from .errors import GLVQError
from .files import read_json


def partial_folder(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial")


class Partial:
    """The finished pieces of the work on ``output``.

    ``settings`` (JSON data) are all that the result depends on. Raises GLVQError
    when pieces are there but not to be resumed or replaced, belong to other
    settings, are damaged, or are being written by another process.
    """

    def __init__(self, output: Path, settings: dict, resume: bool = False, force: bool = False):
        self.folder = partial_folder(output)
        self._settings = json.loads(json.dumps(settings))
        self._names: set[str] = set()
        try:
            output.absolute().parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(exist_ok=True)
            self._lock = open(self.folder / "lock", "w")
        except OSError as error:
            raise GLVQError(f"{self.folder} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise GLVQError(f"another glvq is working on {output}; wait for it, or write elsewhere") from error
        try:
            self._start(output, resume, force)
        except BaseException:
            self._lock.close()
            raise

    def _start(self, output: Path, resume: bool, force: bool) -> None:
        settings_file = self.folder / "settings.json"
        finished = sorted(p.stem for p in self.folder.glob("*.json") if p != settings_file)
        if finished and not resume and not force:
            raise GLVQError(
                f"{self.folder} holds {len(finished)} finished pieces of an earlier run; "
                "go on with --resume, or start again with --force"
            )
        if not resume or not finished:
            for file in self.folder.iterdir():
                if file.name != "lock":
                    file.unlink()
            self._write(settings_file, json.dumps(self._settings, indent=1).encode())
            return
        begun = read_json(settings_file, f"{settings_file} is missing; start again with --force")
        for key in sorted(begun.keys() | self._settings.keys()):
            if begun.get(key) != self._settings.get(key):
                raise GLVQError(
                    f"{self.folder} was begun with another '{key}' ({_short(begun.get(key))}, now "
                    f"{_short(self._settings.get(key))}); resume with the same arguments, or start again with --force"
                )
        for name in finished:
            self._check(name)
        self._names = set(finished)

    def _damaged(self, file: Path, why: str) -> GLVQError:
        return GLVQError(f"{file} is damaged ({why}); start again with --force")

    def _check(self, name: str) -> None:
        marker, tensors = self.folder / f"{name}.json", self.folder / f"{name}.safetensors"
        try:
            expected = read_json(marker, f"{marker} is missing").get("sha256")
        except GLVQError as error:
            raise self._damaged(marker, "not valid JSON") from error
        if not tensors.exists():
            raise self._damaged(tensors, "missing")
        if _hash(tensors) != expected:
            raise self._damaged(tensors, "its hash differs")

    def _write(self, file: Path, data: bytes) -> None:
        temporary = file.with_name(file.name + ".tmp")
        try:
            with open(temporary, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, file)
        except OSError as error:
            raise GLVQError(f"{file} cannot be written: {error.strerror}") from error

    def has(self, name: str) -> bool:
        return name in self._names

    @property
    def empty(self) -> bool:
        return not self._names

    def put(self, name: str, tensors: dict, data: dict) -> None:
        """Stores a finished piece."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        file = self.folder / f"{name}.safetensors"
        temporary = file.with_name(file.name + ".tmp")
        try:
            save_file({key: value.contiguous() for key, value in tensors.items()}, temporary)
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            digest = _hash(temporary)
            os.replace(temporary, file)
        except (OSError, SafetensorError) as error:
            raise GLVQError(f"{file} cannot be written: {error}") from error
        self._write(self.folder / f"{name}.json", json.dumps({"sha256": digest, "data": data}).encode())
        self._names.add(name)

    def get(self, name: str) -> tuple[dict, dict]:
        """(tensors, data) of a finished piece; the tensors are mapped."""
        from safetensors import safe_open

        opened = safe_open(self.folder / f"{name}.safetensors", framework="pt")
        data = read_json(self.folder / f"{name}.json", f"{name} is missing")["data"]
        return {key: opened.get_tensor(key) for key in opened.keys()}, data

    def names(self, prefix: str) -> list[str]:
        """The finished pieces whose name begins so, in order."""
        return sorted(name for name in self._names if name.startswith(prefix))

    def discard(self, name: str) -> None:
        """Forgets a finished piece."""
        (self.folder / f"{name}.json").unlink()
        (self.folder / f"{name}.safetensors").unlink()
        self._names.discard(name)

    def remove(self) -> None:
        """Forgets everything: the work is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, kind, value, trace) -> None:
        # What fails before its first piece leaves nothing behind.
        if self.empty:
            self.remove()
        self._lock.close()


def _hash(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
