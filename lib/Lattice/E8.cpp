//===- E8.cpp - The padded E8 codebook (E8P) ------------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/E8.h"
#include "Multiversion.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <utility>
#include <vector>

using namespace glvq::lattice;

static constexpr unsigned numPatterns = 256;

const std::array<uint32_t, numPatterns> &glvq::lattice::getE8PTable() {
  static const auto table = [] {
    // (four times the norm, twice the absolute values)
    std::vector<std::pair<unsigned, std::array<uint8_t, e8Dim>>> patterns;
    for (unsigned digits = 0; digits < 1u << (2 * e8Dim); ++digits) {
      std::array<uint8_t, e8Dim> twice;
      unsigned norm = 0;
      for (unsigned i = 0; i < e8Dim; ++i) {
        twice[i] = 1 + 2 * (digits >> (2 * i) & 3);
        norm += twice[i] * twice[i];
      }
      if (norm <= 48)
        patterns.emplace_back(norm, twice);
    }
    std::sort(patterns.begin(), patterns.end());
    std::array<uint32_t, numPatterns> result{};
    for (unsigned k = 0; k < numPatterns; ++k) {
      unsigned sum = 0;
      for (unsigned i = 0; i < e8Dim; ++i) {
        result[k] |= static_cast<uint32_t>(patterns[k].second[i]) << (4 * i);
        sum += patterns[k].second[i];
      }
      result[k] |= static_cast<uint32_t>(sum / 2 % 2) << 31;
    }
    return result;
  }();
  return table;
}

std::array<float, e8Dim> glvq::lattice::getE8PPoint(uint16_t code) {
  uint32_t pattern = getE8PTable()[code & 255];
  uint32_t signs = code >> 8 & 127;
  signs |= (std::popcount(signs) + (pattern >> 31)) % 2 << 7;
  float shift = code >> 15 ? 0.25f : -0.25f;
  std::array<float, e8Dim> point;
  for (unsigned i = 0; i < e8Dim; ++i) {
    float value = static_cast<float>(pattern >> (4 * i) & 7) / 2;
    point[i] = (signs >> i & 1 ? -value : value) + shift;
  }
  return point;
}

namespace {

struct Patterns {
  alignas(64) float values[e8Dim][numPatterns];
  float norms[numPatterns];
  float odd[numPatterns]; ///< 1 where the sum is odd, else 0

  Patterns() {
    for (unsigned k = 0; k < numPatterns; ++k) {
      uint32_t pattern = getE8PTable()[k];
      norms[k] = 0;
      odd[k] = static_cast<float>(pattern >> 31);
      for (unsigned i = 0; i < e8Dim; ++i) {
        values[i][k] = static_cast<float>(pattern >> (4 * i) & 7) / 2;
        norms[k] += values[i][k] * values[i][k];
      }
    }
  }
};

/// scores[k] = 2 <x, v> - |v|^2 of the best signs of each pattern. The signs
/// follow x, but for the cheapest one when their parity is wrong.
GLVQ_MULTIVERSION void scorePatterns(const Patterns &patterns,
                                     const float *magnitudes, float parity,
                                     float *scores) {
  for (unsigned k = 0; k < numPatterns; ++k) {
    float sum = 0, least = 1e30f;
    for (unsigned i = 0; i < e8Dim; ++i) {
      float product = magnitudes[i] * patterns.values[i][k];
      sum += product;
      least = product < least ? product : least;
    }
    float wrong = patterns.odd[k] != parity ? 4.0f : 0.0f;
    scores[k] = 2 * sum - wrong * least - patterns.norms[k];
  }
}

} // namespace

uint16_t glvq::lattice::findNearestE8P(std::span<const float, e8Dim> x) {
  static const Patterns patterns;
  float best = 0;
  unsigned bestCode = 0;
  for (unsigned shift = 0; shift < 2; ++shift) {
    float magnitudes[e8Dim], norm2 = 0;
    unsigned negative = 0;
    for (unsigned i = 0; i < e8Dim; ++i) {
      float y = x[i] - (shift ? 0.25f : -0.25f);
      negative |= static_cast<unsigned>(y < 0) << i;
      magnitudes[i] = std::abs(y);
      norm2 += y * y;
    }
    unsigned parity = std::popcount(negative) % 2;
    float scores[numPatterns];
    scorePatterns(patterns, magnitudes, static_cast<float>(parity), scores);
    unsigned k = std::max_element(scores, scores + numPatterns) - scores;
    // |y - v|^2 = |y|^2 - score
    float distance = norm2 - scores[k];
    if (shift && distance >= best)
      continue;
    best = distance;
    if (patterns.odd[k] != static_cast<float>(parity)) {
      unsigned weakest = 0;
      for (unsigned i = 1; i < e8Dim; ++i)
        if (magnitudes[i] * patterns.values[i][k] <
            magnitudes[weakest] * patterns.values[weakest][k])
          weakest = i;
      negative ^= 1u << weakest;
    }
    bestCode = k | (negative & 127) << 8 | shift << 15;
  }
  return static_cast<uint16_t>(bestCode);
}

void glvq::lattice::encodeE8P(std::span<const float> x,
                              std::span<uint16_t> codes,
                              std::span<float> decoded,
                              const ParallelFor &parallelFor) {
  assert(x.size() == codes.size() * e8Dim && decoded.size() == x.size());
  constexpr int64_t chunk = 128;
  int64_t numBlocks = codes.size();
  parallelFor((numBlocks + chunk - 1) / chunk, [&](int64_t c) {
    for (int64_t b = c * chunk, e = std::min(numBlocks, b + chunk); b < e;
         ++b) {
      codes[b] = findNearestE8P(x.subspan(b * e8Dim).first<e8Dim>());
      auto point = getE8PPoint(codes[b]);
      std::copy(point.begin(), point.end(), &decoded[b * e8Dim]);
    }
  });
}

void glvq::lattice::decodeE8PRow(const PointLayout &layout,
                                 std::span<const int32_t> words, float scale,
                                 std::span<const float> groupScales,
                                 std::span<float> out) {
  std::vector<uint64_t> codes(layout.getNumPoints());
  layout.unpack(words, codes);
  for (int64_t p = 0, e = layout.getNumPoints(); p < e; ++p) {
    auto point = getE8PPoint(static_cast<uint16_t>(codes[p]));
    float factor = scale * groupScales[p / layout.getPointsPerSlot()];
    int64_t begin = p * e8Dim;
    for (int64_t c = begin,
                 end = std::min<int64_t>(begin + e8Dim, layout.getColumns());
         c < end; ++c)
      out[c] = factor * point[c - begin];
  }
}
