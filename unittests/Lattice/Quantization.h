//===- Quantization.h - What the tests of the quantizers share --*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_UNITTESTS_LATTICE_QUANTIZATION_H
#define GLVQ_UNITTESTS_LATTICE_QUANTIZATION_H

#include <cmath>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

inline void serial(int64_t count, const std::function<void(int64_t)> &body) {
  for (int64_t i = 0; i < count; ++i)
    body(i);
}

/// Three threads, and the pieces in another order.
inline void threaded(int64_t count, const std::function<void(int64_t)> &body) {
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (int64_t i = count - 1 - t; i >= 0; i -= 3)
        body(i);
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// E[x x^T] of correlated inputs: an AR(1) process.
inline std::vector<float> hessianOf(int64_t n, double rho) {
  std::vector<float> h(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      h[i * n + j] = static_cast<float>(std::pow(rho, std::abs(i - j)));
  return h;
}

inline double relativeLoss(const std::vector<float> &w,
                           const std::vector<float> &q, int64_t columns,
                           const std::vector<float> &h) {
  double lost = 0, all = 0;
  for (size_t r = 0; r < w.size() / columns; ++r)
    for (int64_t i = 0; i < columns; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        size_t a = r * columns + i, b = r * columns + j;
        double m = h.empty() ? i == j : h[i * columns + j];
        lost += (w[a] - q[a]) * m * (w[b] - q[b]);
        all += w[a] * m * w[b];
      }
  return lost / all;
}

#endif // GLVQ_UNITTESTS_LATTICE_QUANTIZATION_H
