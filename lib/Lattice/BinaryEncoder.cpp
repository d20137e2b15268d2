//===- BinaryEncoder.cpp - K-best search for binary codes -----------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/BinaryEncoder.h"
#include "glvq/Lattice/Lattice.h"
#include "glvq/Lattice/TrellisEncoder.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <numbers>

using namespace glvq::lattice;

// One build serves all x86-64 levels; the loader picks the version.
#if defined(__x86_64__) && defined(__clang__)
#define GLVQ_MULTIVERSION                                                      \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define GLVQ_MULTIVERSION
#endif

/// Lambda, relative to a mean column of M B: large enough that the last rows
/// of R, beyond the rank of B, decide little.
static constexpr double regularization = 0.05;

BinaryEncoder::BinaryEncoder(std::span<const float> generator, int64_t dim,
                             int64_t bits, std::span<const float> root,
                             unsigned survivors)
    : dim(dim), bits(bits), stride((bits + 15) / 16 * 16), survivors(survivors),
      upper(bits * stride, 0.0f), projection(bits * dim) {
  assert(static_cast<int64_t>(generator.size()) == dim * bits && survivors);
  int64_t height = dim + bits;
  std::vector<double> a(bits * height, 0.0); // by columns
  double power = 0;
  for (int64_t c = 0; c < bits; ++c)
    for (int64_t i = 0; i < dim; ++i) {
      double sum = 0;
      if (root.empty())
        sum = generator[i * bits + c];
      else
        for (int64_t k = 0; k < dim; ++k)
          sum +=
              static_cast<double>(root[i * dim + k]) * generator[k * bits + c];
      a[c * height + i] = sum;
      power += sum * sum;
    }
  double lambda = regularization * power / bits;
  if (!(lambda > 0))
    lambda = 1;
  for (int64_t c = 0; c < bits; ++c)
    a[c * height + dim + c] = std::sqrt(lambda);

  // Gram-Schmidt, the column with the least rest first: the strong ones come
  // last, where the search begins.
  order.resize(bits);
  for (int64_t c = 0; c < bits; ++c)
    order[c] = c;
  auto dot = [&](int64_t x, int64_t y) {
    double sum = 0;
    for (int64_t i = 0; i < height; ++i)
      sum += a[x * height + i] * a[y * height + i];
    return sum;
  };
  for (int64_t k = 0; k < bits; ++k) {
    int64_t least = k;
    double leastNorm = dot(order[k], order[k]);
    for (int64_t c = k + 1; c < bits; ++c)
      if (double norm = dot(order[c], order[c]); norm < leastNorm) {
        least = c;
        leastNorm = norm;
      }
    std::swap(order[k], order[least]);
    // What was found of R belongs to the columns, so it moves with them.
    for (int64_t i = 0; i < stride; ++i)
      std::swap(upper[k * stride + i], upper[least * stride + i]);
    double norm = std::sqrt(leastNorm);
    double *q = &a[order[k] * height];
    for (int64_t i = 0; i < height; ++i)
      q[i] /= norm;
    upper[k * stride + k] = static_cast<float>(norm);
    for (int64_t c = k + 1; c < bits; ++c) {
      double along = dot(order[k], order[c]);
      upper[c * stride + k] = static_cast<float>(along);
      for (int64_t i = 0; i < height; ++i)
        a[order[c] * height + i] -= along * q[i];
    }
    for (int64_t j = 0; j < dim; ++j) {
      double sum = 0;
      if (root.empty())
        sum = q[j];
      else
        for (int64_t i = 0; i < dim; ++i)
          sum += q[i] * root[i * dim + j];
      projection[k * dim + j] = static_cast<float>(sum);
    }
  }
}

/// rest = parent -+ column, of `size` elements, a multiple of 16.
GLVQ_MULTIVERSION static void extend(const float *parents, const float *column,
                                     const uint64_t *children, int64_t count,
                                     int64_t stride, int64_t size,
                                     float *rests) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t child = static_cast<uint32_t>(children[i]);
    const float *parent = parents + (child >> 1) * stride;
    float sign = child & 1 ? 1.0f : -1.0f;
    float *rest = rests + i * stride;
    for (int64_t j = 0; j < size; j += 16)
      for (int64_t k = 0; k < 16; ++k)
        rest[j + k] = parent[j + k] - sign * column[j + k];
  }
}

void BinaryEncoder::encode(std::span<const float> target,
                           std::span<uint8_t> out, Scratch &s) const {
  assert(static_cast<int64_t>(target.size()) == dim &&
         static_cast<int64_t>(out.size()) == bits);
  const int64_t most = survivors;
  s.rests.resize(most * stride);
  s.next.resize(most * stride);
  s.metrics.resize(most);
  s.nextMetrics.resize(most);
  s.children.resize(2 * most);
  s.history.resize(bits * most);

  std::fill_n(s.rests.begin(), stride, 0.0f);
  for (int64_t k = 0; k < bits; ++k) {
    float sum = 0;
    for (int64_t j = 0; j < dim; ++j)
      sum += projection[k * dim + j] * target[j];
    s.rests[k] = sum;
  }
  s.metrics[0] = 0;
  int64_t count = 1;
  for (int64_t level = bits - 1; level >= 0; --level) {
    const float *column = &upper[level * stride];
    // A child is its parent and a bit; metrics are not negative, so their
    // order is that of their bits.
    for (int64_t i = 0; i < count; ++i)
      for (uint32_t bit = 0; bit < 2; ++bit) {
        float miss = s.rests[i * stride + level] -
                     (bit ? column[level] : -column[level]);
        float metric = s.metrics[i] + miss * miss;
        s.children[2 * i + bit] = uint64_t(std::bit_cast<uint32_t>(metric))
                                      << 32 |
                                  (static_cast<uint32_t>(i) << 1 | bit);
      }
    int64_t kept = std::min(2 * count, most);
    if (kept < 2 * count)
      std::nth_element(s.children.begin(), s.children.begin() + kept,
                       s.children.begin() + 2 * count);
    for (int64_t i = 0; i < kept; ++i) {
      s.history[level * most + i] = static_cast<uint32_t>(s.children[i]);
      s.nextMetrics[i] =
          std::bit_cast<float>(static_cast<uint32_t>(s.children[i] >> 32));
    }
    extend(s.rests.data(), column, s.children.data(), kept, stride,
           (level + 15) / 16 * 16, s.next.data());
    std::swap(s.rests, s.next);
    std::swap(s.metrics, s.nextMetrics);
    count = kept;
  }
  uint32_t best = static_cast<uint32_t>(
      std::min_element(s.metrics.begin(), s.metrics.begin() + count) -
      s.metrics.begin());
  for (int64_t level = 0; level < bits; ++level) {
    uint32_t child = s.history[level * most + best];
    out[order[level]] = child & 1;
    best = child >> 1;
  }
}

void glvq::lattice::decodeBinaryPoint(std::span<const float> generator,
                                      std::span<const uint8_t> bits,
                                      std::span<float> out) {
  size_t n = bits.size();
  for (size_t i = 0; i < out.size(); ++i) {
    float sum = 0;
    for (size_t j = 0; j < n; ++j)
      sum += bits[j] ? generator[i * n + j] : -generator[i * n + j];
    out[i] = sum;
  }
}

BinaryFit::BinaryFit(int64_t dim, int64_t bits)
    : dim(dim), bits(bits), normal(bits * bits, 0.0), rhs(dim * bits, 0.0) {}

void BinaryFit::add(std::span<const uint8_t> point,
                    std::span<const float> target, double weight) {
  for (int64_t i = 0; i < bits; ++i) {
    double *row = &normal[i * bits];
    double value = point[i] ? weight : -weight;
    for (int64_t j = 0; j < bits; ++j)
      row[j] += point[j] ? value : -value;
  }
  for (int64_t k = 0; k < static_cast<int64_t>(target.size()); ++k) {
    double *row = &rhs[k * bits];
    double value = weight * target[k];
    for (int64_t j = 0; j < bits; ++j)
      row[j] += point[j] ? value : -value;
  }
}

void BinaryFit::add(const BinaryFit &other) {
  for (size_t i = 0; i < normal.size(); ++i)
    normal[i] += other.normal[i];
  for (size_t i = 0; i < rhs.size(); ++i)
    rhs[i] += other.rhs[i];
}

bool BinaryFit::solve(std::span<float> generator) const {
  // The diagonal is the number of points.
  if (!(normal[0] > 0))
    return false;
  std::vector<double> a(bits * bits), b(bits);
  for (int64_t k = 0; k < dim; ++k) {
    a = normal;
    for (int64_t i = 0; i < bits; ++i) {
      double ridge = 1e-4 * normal[0];
      a[i * bits + i] += ridge;
      b[i] = rhs[k * bits + i] + ridge * generator[k * bits + i];
    }
    if (!solveSymmetric(a, b, bits))
      return false;
    for (int64_t i = 0; i < bits; ++i)
      generator[k * bits + i] = static_cast<float>(b[i]);
  }
  return true;
}

std::vector<float> glvq::lattice::makeCirculantGenerator(int64_t dim,
                                                         int64_t bits) {
  unsigned width = std::clamp<int64_t>((bits + dim - 1) / dim, 1, 4);
  std::vector<float> generator(dim * bits, 0.0f);
  // A point of one column is a weight: its bits are those of an integer.
  int64_t length = std::clamp<int64_t>(bits, width + 1, 16);
  std::vector<float> taps =
      getGaussianTaps(static_cast<unsigned>(length), width);
  for (int64_t row = 0; row < dim; ++row) {
    int64_t newest = (row + 1) * bits / dim - 1;
    for (int64_t i = 0; i < std::min(length, bits); ++i) {
      int64_t column = ((newest - i) % bits + bits) % bits;
      generator[row * bits + column] += taps[i];
    }
  }
  return generator;
}

std::vector<float>
glvq::lattice::learnGaussianGenerator(int64_t dim, int64_t bits,
                                      int64_t samples, unsigned rounds,
                                      unsigned survivors, uint64_t seed) {
  std::vector<float> generator = makeCirculantGenerator(dim, bits), target(dim);
  std::vector<uint8_t> point(bits);
  BinaryEncoder::Scratch scratch;
  for (unsigned round = 0; round < rounds; ++round) {
    BinaryEncoder encoder(generator, dim, bits, {}, survivors);
    BinaryFit fit(dim, bits);
    // SplitMix64 and Box-Muller: the same samples everywhere.
    uint64_t state = seed;
    auto uniform = [&] {
      uint64_t z = state += 0x9e3779b97f4a7c15;
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
      z = (z ^ z >> 27) * 0x94d049bb133111eb;
      return (static_cast<double>((z ^ z >> 31) >> 11) + 0.5) * 0x1p-53;
    };
    for (int64_t i = 0; i < samples; ++i) {
      for (float &x : target) {
        double radius = std::sqrt(-2 * std::log(uniform()));
        x = static_cast<float>(radius *
                               std::cos(2 * std::numbers::pi * uniform()));
      }
      encoder.encode(target, point, scratch);
      fit.add(point, target);
    }
    fit.solve(generator);
  }
  return generator;
}
