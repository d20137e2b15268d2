"""The tokens that the Python side generates: greedy.py ARTEFACT COUNT TOKEN..."""

import sys

from glvq.generate import Sampling, TextGenerator

generator = TextGenerator(sys.argv[1])
generator.eos = set()  # the C example does not stop at end tokens
print(*generator.stream([int(token) for token in sys.argv[3:]], int(sys.argv[2]), Sampling()), sep="\n")
