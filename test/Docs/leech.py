# The example of docs/LeechLattice.md, worked out from the text of that page.
# RUN: %PYTHON %s

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "Integration" / "GLVQToLinalg"))
import leech_points  # noqa: E402

page = (ROOT / "docs" / "LeechLattice.md").read_text()
number = int(re.search(r"^Number (\d+) of `shells = 13`", page, re.M)[1])
example = page[page.index("## Example") :]
stated = [int(v) for v in re.search(r"```\n(.*?)\n```", example, re.S)[1].split()]
assert leech_points.point(number, 0, 13) == stated

# The table of shells.
rows = re.findall(r"^\| (\d+) \| ([\d ]+) \| [\d.]+ \| (\d+) \|$", page, re.M)
assert len(rows) == 12
for shell, points, number_of_classes in rows:
    found = leech_points.classes(int(shell))
    assert sum(c.size for c in found) == int(points.replace(" ", "")), shell
    assert len(found) == int(number_of_classes), shell
