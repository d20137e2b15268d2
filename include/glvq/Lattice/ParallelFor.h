//===- ParallelFor.h - An executor passed to batched functions --*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The library starts no threads: who calls it brings them along. Results
// depend on neither their number nor their timing.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_PARALLELFOR_H
#define GLVQ_LATTICE_PARALLELFOR_H

#include <cstdint>
#include <functional>

namespace glvq::lattice {

/// Calls the function with 0 … count - 1, in any order and on any threads.
using ParallelFor =
    std::function<void(int64_t count, const std::function<void(int64_t)> &)>;

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_PARALLELFOR_H
