# Rotations of many sizes, along every dimension and with dynamic batches, against
# one dense matrix.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib | FileCheck %s
# CHECK: 40 rotations agree

import sys

from helpers import Program, check_rotations

check_rotations(Program(sys.argv[1]), (1, 2, 3, 7, 12, 36, 64, 97, 576, 515))
