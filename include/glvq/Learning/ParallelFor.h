//===- ParallelFor.h - How the quantizers use threads -----------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LEARNING_PARALLELFOR_H
#define GLVQ_LEARNING_PARALLELFOR_H

#include <cstdint>
#include <functional>

namespace glvq::learning {

/// Calls the function with 0 … count - 1, in any order and on any threads.
using ParallelFor =
    std::function<void(int64_t count, const std::function<void(int64_t)> &)>;

} // namespace glvq::learning

#endif // GLVQ_LEARNING_PARALLELFOR_H
