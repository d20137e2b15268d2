# The device kernel of rotations, executed on the host against one dense matrix:
# odd factors, powers of two, both directions, every dimension, and a size that
# does not fit into shared memory.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 38 rotations agree

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from emulated import EmulatedProgram
from helpers import check_rotations

# 12288 floats fill the shared memory of a block.
check_rotations(EmulatedProgram(sys.argv[1]), (1, 2, 3, 7, 12, 36, 64, 97, 576, 12800), all_cases_up_to=12288)
