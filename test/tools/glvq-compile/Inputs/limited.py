"""Runs a command whose files cannot grow past a size, as on a full disk:
limited.py BYTES COMMAND..."""

import os
import resource
import sys

size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
os.execvp(sys.argv[2], sys.argv[2:])
