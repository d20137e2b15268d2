//===- LeechCode.cpp - Blocks coded as Leech points or directions ---------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Leech.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

using namespace glvq::lattice;

/// Blocks of one call of the executor's function.
static constexpr int64_t chunk = 32;

unsigned LeechCode::getGainBits() const {
  assert(gains.empty() || std::has_single_bit(gains.size()));
  return gains.empty() ? 0 : std::bit_width(gains.size()) - 1;
}

static void scale(const LeechPoint &point, float gain, float *out) {
  float norm2 = 0;
  for (int v : point)
    norm2 += static_cast<float>(v * v);
  float factor = gain / std::sqrt(norm2);
  for (unsigned i = 0; i < leechDim; ++i)
    out[i] = factor * point[i];
}

void glvq::lattice::encodeLeech(const LeechCode &code, std::span<const float> x,
                                std::span<uint64_t> indices,
                                std::span<float> decoded,
                                const ParallelFor &parallelFor) {
  assert(x.size() == indices.size() * leechDim && decoded.size() == x.size());
  LeechCodebook codebook(code.firstShell, code.lastShell);
  LeechSearch search(codebook);
  unsigned indexBits = codebook.getIndexBits();
  int64_t numBlocks = indices.size();
  auto encode = [&](int64_t block) {
    auto in = x.subspan(block * leechDim).first<leechDim>();
    float *out = &decoded[block * leechDim];
    if (code.gains.empty()) {
      LeechPoint point = search.findNearest(in, code.candidates);
      indices[block] = *codebook.getIndex(point);
      std::copy(point.begin(), point.end(), out);
      return;
    }
    LeechPoint point = search.findDirection(in, code.candidates);
    float inner = 0, norm2 = 0;
    for (unsigned i = 0; i < leechDim; ++i) {
      inner += in[i] * point[i];
      norm2 += static_cast<float>(point[i] * point[i]);
    }
    float along = inner / std::sqrt(norm2);
    uint64_t gain = 0;
    for (uint64_t g = 1; g < code.gains.size(); ++g)
      if (std::abs(code.gains[g] - along) < std::abs(code.gains[gain] - along))
        gain = g;
    indices[block] = *codebook.getIndex(point) | gain << indexBits;
    scale(point, code.gains[gain], out);
  };
  parallelFor((numBlocks + chunk - 1) / chunk, [&](int64_t c) {
    for (int64_t b = c * chunk, e = std::min(numBlocks, b + chunk); b < e; ++b)
      encode(b);
  });
}

void glvq::lattice::decodeLeech(const LeechCode &code,
                                std::span<const uint64_t> indices,
                                std::span<float> decoded,
                                const ParallelFor &parallelFor) {
  assert(decoded.size() == indices.size() * leechDim);
  LeechCodebook codebook(code.firstShell, code.lastShell);
  unsigned indexBits = codebook.getIndexBits();
  int64_t numBlocks = indices.size();
  parallelFor((numBlocks + chunk - 1) / chunk, [&](int64_t c) {
    for (int64_t b = c * chunk, e = std::min(numBlocks, b + chunk); b < e;
         ++b) {
      float *out = &decoded[b * leechDim];
      uint64_t mask = (uint64_t(1) << indexBits) - 1;
      LeechPoint point = codebook.getPoint(indices[b] & mask);
      if (code.gains.empty())
        std::copy(point.begin(), point.end(), out);
      else
        scale(point, code.gains[indices[b] >> indexBits], out);
    }
  });
}

std::vector<float> glvq::lattice::makeLeechGains(unsigned bits, double cosine) {
  // The density of the norm, r^23 exp(-r^2 / 2), on a fine grid around its
  // mode sqrt(23); beyond, nothing is left in double precision.
  constexpr int numSteps = 24000;
  constexpr double step = 0.0005;
  std::vector<double> mass(numSteps), moment(numSteps);
  double sum = 0, first = 0;
  for (int i = 0; i < numSteps; ++i) {
    double r = (i + 0.5) * step;
    mass[i] = std::exp(23 * std::log(r / std::sqrt(23.0)) - (r * r - 23) / 2);
    moment[i] = mass[i] * r;
    sum += mass[i];
    first += moment[i];
  }
  size_t count = size_t(1) << bits;
  std::vector<double> levels(count);
  for (size_t i = 0; i < count; ++i)
    levels[i] = first / sum + 3.0 * (i + 0.5 - count / 2.0) / count;
  for (int round = 0; round < 500; ++round) {
    std::vector<double> m(count, 0.0), f(count, 0.0);
    size_t level = 0;
    for (int i = 0; i < numSteps; ++i) {
      double r = (i + 0.5) * step;
      while (level + 1 < count && 2 * r > levels[level] + levels[level + 1])
        ++level;
      m[level] += mass[i];
      f[level] += moment[i];
    }
    for (size_t i = 0; i < count; ++i)
      if (m[i] > 0)
        levels[i] = f[i] / m[i];
  }
  std::vector<float> gains(count);
  for (size_t i = 0; i < count; ++i)
    gains[i] = static_cast<float>(levels[i] * cosine);
  return gains;
}
