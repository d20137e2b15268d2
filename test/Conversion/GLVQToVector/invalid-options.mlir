// RUN: not %glvq-opt %s --convert-glvq-to-vector=dot=amx 2>&1 | FileCheck %s --check-prefix=DOT
// RUN: not %glvq-opt %s --convert-glvq-to-vector=activations=int4 2>&1 | FileCheck %s --check-prefix=ACTIVATIONS
// DOT: error: dot must be vnni512, vnni256, avx2 or generic, not amx
// ACTIVATIONS: error: activations must be int8 or f32, not int4
