"""What a runtime-only installation is made of: check_runtime.py PREFIX."""

import re
import subprocess
import sys
from pathlib import Path

prefix = Path(sys.argv[1])
size = sum(file.stat().st_size for file in prefix.rglob("*") if file.is_file() and not file.is_symlink())
assert size < 2e6, f"{size} bytes"

# libgcc_s is what libstdc++ itself needs.
allowed = {"linux-vdso", "ld-linux-x86-64", "libglvq_runtime", "libc", "libm", "libstdc++", "libgcc_s"}
for file in (prefix / "bin" / "glvq-run", next((prefix / "lib").glob("libglvq_runtime.so.*.*.*"))):
    listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=True).stdout
    assert "not found" not in listed, listed
    names = {Path(line.split()[0]).name.split(".so")[0] for line in listed.splitlines()}
    assert names <= allowed, f"{file} needs {names - allowed}"

# Only the C interface is exported, and the SONAME is its version.
library = prefix / "lib" / "libglvq_runtime.so"
header = (prefix / "include" / "glvq" / "Runtime" / "glvq_runtime.h").read_text()
symbols = subprocess.run(
    ["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True
).stdout
exported = {line.split()[-1] for line in symbols.splitlines()}
declared = set(re.findall(r"\b(glvq_\w+)\(", header))
assert exported == declared, exported ^ declared
abi = re.search(r"GLVQ_ABI_VERSION (\d+)", header)[1]
dynamic = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
assert f"Library soname: [libglvq_runtime.so.{abi}]" in dynamic
