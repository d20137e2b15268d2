"""Runs the console and python blocks of a page, in order, in one folder, and
compares what they print: console.py FOLDER SOURCE BUILD PAGE.

A `console` block has lines `$ command`, each followed by what it prints: a line
`…` stands for any lines, `…` within a line for any text. A command must succeed.
`python` blocks run as programs. $MODEL is FOLDER/tiny, $SOURCE the source tree,
$BUILD the build folder; `examples` of the source tree is where the commands run."""

import os
import pathlib
import re
import subprocess
import sys

FOLDER, SOURCE, BUILD = (pathlib.Path(argument) for argument in sys.argv[1:4])


def matches(expected, printed):
    """Whether printed lines are the expected ones, with `…` for anything."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*"
        else:
            # Tables are padded: runs of spaces are one.
            words = [r"\s*" if word == "" else re.escape(word).replace("…", ".*") for word in line.strip().split(" ")]
            pattern += r"\s*" + r"\s+".join(words) + r"[^\S\n]*\n"
    return re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else printed + "\n")


def run(page, folder):
    folder.mkdir()
    (folder / "examples").symlink_to(SOURCE / "examples")
    shims = folder / "bin"
    shims.mkdir()
    (shims / "glvq").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m glvq "$@"\n')
    (shims / "glvq").chmod(0o755)
    environment = {
        **os.environ, "MODEL": str(FOLDER / "tiny"), "SOURCE": str(SOURCE), "BUILD": str(BUILD),
        "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", "NO_COLOR": "1",
    }  # fmt: skip
    text = (SOURCE / "docs" / page).read_text()
    blocks = re.findall(r"^```(console|python)\n(.*?)^```", text, re.M | re.S)
    assert blocks, f"{page} has no blocks"
    for kind, block in blocks:
        if kind == "python":
            script = folder / "block.py"
            script.write_text(block)
            result = subprocess.run(
                [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert result.returncode == 0, f"{page}: {result.stderr}\nin\n{block}"
            continue
        steps = [step.splitlines() for step in re.split(r"^\$ ", block, flags=re.M)[1:]]
        for command, *expected in steps:
            result = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert result.returncode == 0, (
                f"{page}: {command}: status {result.returncode}\n{result.stdout}{result.stderr}"
            )
            printed = result.stdout + result.stderr if not result.stdout else result.stdout
            assert not expected or matches(expected, printed), (
                f"{page}: {command} printed\n{printed}\ninstead of\n" + "\n".join(expected)
            )


run(sys.argv[4], FOLDER / sys.argv[4])
