# Every snippet of README.md and docs/ does what the page says.
# RUN: %PYTHON %s ir %glvq-opt
# RUN: %PYTHON %s commands
"""IR snippets parse, and the README's "before" becomes its "after" under the
passes it names. In `sh` blocks, which may take minutes, the programs, files and
options exist. `console` and `python` blocks are run by Inputs/console.py."""

import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)


def check_ir(opt_command):
    def opt(text, *flags):
        result = subprocess.run([*opt_command, *flags], input=text, capture_output=True, text=True)
        assert result.returncode == 0, f"{result.stderr}\nin\n{text}"
        return result.stdout

    count = 0
    for page in PAGES:
        for text in snippets(page, "mlir"):
            opt(text)
            count += 1
    before, after = snippets(ROOT / "README.md", "mlir")[:2]
    assert opt(before, "--glvq-fuse-decode", "--glvq-materialize-weights") == opt(after)
    example = (ROOT / "examples" / "linear.mlir").read_text()
    assert opt(example) == opt(before), "examples/linear.mlir is not the README's example"
    assert count >= 2


def check_commands():
    import typer.main

    from glvq.cli import app

    group = typer.main.get_command(app)

    def check_glvq(words, where):
        command, words = group, list(words)
        while words and hasattr(command, "commands"):
            name = words.pop(0)
            if name.startswith("-"):
                assert name == "--help", f"{where}: glvq has no option {name}"
                return
            assert name in command.commands, f"{where}: glvq has no command {name}"
            command = command.commands[name]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
            "--help"
        }
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.split("=")[0] in known, f"{where}: glvq {command.name} has no option {word}"

    count = 0
    for page in PAGES:
        for text in snippets(page, "sh"):
            for line in text.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s(?:&&|\|)\s", line):
                    words = shlex.split(part, comments=True)
                    if not words:
                        continue
                    program = words[0]
                    where = f"{page.name}: {part.strip()}"
                    if pathlib.Path(program).name == "glvq":
                        check_glvq(words[1:], where)
                    elif program.startswith("./") or program.startswith("tools/"):
                        assert (ROOT / program).exists(), f"{where}: no such file"
                    count += 1
    assert count >= 10


if sys.argv[1] == "ir":
    check_ir(sys.argv[2:])
else:
    check_commands()
