"""Prints the PTX inside the gpu.binary of a module read from standard input."""

import re
import sys

text = re.search(r'assembly = "((?:[^"\\]|\\.)*)"', sys.stdin.read())[1]
unescaped = re.sub(r"\\([0-9A-Fa-f]{2}|.)", lambda m: chr(int(m[1], 16)) if len(m[1]) == 2 else m[1], text)
sys.stdout.write(unescaped.rstrip("\0"))
