# RUN: %PYTHON %s %glvq-opt
"""Every IR snippet in README.md and docs/ parses, and the README's "before"
becomes its "after" under the passes it names."""

import pathlib
import re
import subprocess
import sys

OPT = sys.argv[1:]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def snippets(path):
    return re.findall(r"^```mlir\n(.*?)^```", path.read_text(), re.M | re.S)


def opt(text, *flags):
    result = subprocess.run([*OPT, *flags], input=text, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stderr}\nin\n{text}"
    return result.stdout


count = 0
for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
    for text in snippets(page):
        opt(text)
        count += 1
before, after = snippets(ROOT / "README.md")[:2]
assert opt(before, "--glvq-fuse-decode", "--glvq-materialize-weights") == opt(after)
example = (ROOT / "examples" / "linear.mlir").read_text()
assert opt(example) == opt(before), "examples/linear.mlir is not the README's example"
assert count >= 2
