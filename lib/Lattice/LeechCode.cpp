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
#include <map>
#include <mutex>
#include <numbers>
#include <random>

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

std::vector<unsigned> LeechCode::getFieldBits() const {
  std::vector<unsigned> bits = {
      LeechCodebook(firstShell, lastShell).getIndexBits() + getGainBits()};
  if (residualShell)
    bits.push_back(LeechCodebook(residualShell, residualShell).getIndexBits());
  return bits;
}

static void forBlocks(int64_t numBlocks, const ParallelFor &parallelFor,
                      const std::function<void(int64_t)> &body) {
  parallelFor((numBlocks + chunk - 1) / chunk, [&](int64_t c) {
    for (int64_t b = c * chunk, e = std::min(numBlocks, b + chunk); b < e; ++b)
      body(b);
  });
}

void glvq::lattice::encodeLeech(const LeechCode &code, std::span<const float> x,
                                std::span<uint64_t> fields,
                                std::span<float> decoded,
                                const ParallelFor &parallelFor) {
  int64_t numBlocks = x.size() / leechDim,
          numFields = code.residualShell ? 2 : 1;
  assert(x.size() % leechDim == 0 && decoded.size() == x.size() &&
         static_cast<int64_t>(fields.size()) == numBlocks * numFields);
  LeechCodebook codebook(code.firstShell, code.lastShell);
  LeechSearch search(codebook);
  unsigned indexBits = codebook.getIndexBits();
  std::optional<LeechCodebook> residual;
  std::optional<LeechSearch> residualSearch;
  if (code.residualShell) {
    residual.emplace(code.residualShell, code.residualShell);
    residualSearch.emplace(*residual);
  }
  forBlocks(numBlocks, parallelFor, [&](int64_t block) {
    auto in = x.subspan(block * leechDim).first<leechDim>();
    float *out = &decoded[block * leechDim];
    uint64_t *field = &fields[block * numFields];
    if (code.gains.empty()) {
      LeechPoint point = search.findNearest(in, code.candidates);
      field[0] = *codebook.getIndex(point);
      std::copy(point.begin(), point.end(), out);
    } else {
      LeechPoint point = search.findDirection(in, code.candidates);
      float inner = 0, norm2 = 0;
      for (unsigned i = 0; i < leechDim; ++i) {
        inner += in[i] * point[i];
        norm2 += static_cast<float>(point[i] * point[i]);
      }
      float along = inner / std::sqrt(norm2);
      uint64_t gain = 0;
      for (uint64_t g = 1; g < code.gains.size(); ++g)
        if (std::abs(code.gains[g] - along) <
            std::abs(code.gains[gain] - along))
          gain = g;
      field[0] = *codebook.getIndex(point) | gain << indexBits;
      scale(point, code.gains[gain], out);
    }
    if (!residual)
      return;
    std::array<float, leechDim> rest;
    for (unsigned i = 0; i < leechDim; ++i)
      rest[i] = (in[i] - out[i]) / code.residualScale;
    LeechPoint point = residualSearch->findNearest(rest, code.candidates);
    field[1] = *residual->getIndex(point);
    for (unsigned i = 0; i < leechDim; ++i)
      out[i] += code.residualScale * point[i];
  });
}

void glvq::lattice::decodeLeech(const LeechCode &code,
                                std::span<const uint64_t> fields,
                                std::span<float> decoded,
                                const ParallelFor &parallelFor) {
  int64_t numBlocks = decoded.size() / leechDim,
          numFields = code.residualShell ? 2 : 1;
  assert(static_cast<int64_t>(fields.size()) == numBlocks * numFields);
  LeechCodebook codebook(code.firstShell, code.lastShell);
  unsigned indexBits = codebook.getIndexBits();
  std::optional<LeechCodebook> residual;
  if (code.residualShell)
    residual.emplace(code.residualShell, code.residualShell);
  forBlocks(numBlocks, parallelFor, [&](int64_t block) {
    float *out = &decoded[block * leechDim];
    const uint64_t *field = &fields[block * numFields];
    uint64_t mask = (uint64_t(1) << indexBits) - 1;
    LeechPoint point = codebook.getPoint(field[0] & mask);
    if (code.gains.empty())
      std::copy(point.begin(), point.end(), out);
    else
      scale(point, code.gains[field[0] >> indexBits], out);
    if (!residual)
      return;
    point = residual->getPoint(field[1]);
    for (unsigned i = 0; i < leechDim; ++i)
      out[i] += code.residualScale * point[i];
  });
}

std::optional<int64_t>
glvq::lattice::findBadLeechBlock(const LeechCode &code,
                                 std::span<const uint64_t> fields) {
  LeechCodebook codebook(code.firstShell, code.lastShell);
  uint64_t mask = (uint64_t(1) << codebook.getIndexBits()) - 1,
           size = codebook.getSize();
  size_t numFields = code.residualShell ? 2 : 1;
  uint64_t residualSize =
      code.residualShell
          ? LeechCodebook(code.residualShell, code.residualShell).getSize()
          : 0;
  for (size_t i = 0; i < fields.size(); i += numFields)
    if ((fields[i] & mask) >= size ||
        (numFields > 1 && fields[i + 1] >= residualSize))
      return static_cast<int64_t>(i / numFields);
  return std::nullopt;
}

void glvq::lattice::decodeLeechRow(const PointLayout &layout,
                                   const LeechCode &code,
                                   std::span<const int32_t> words, float scale,
                                   std::span<const float> groupScales,
                                   std::span<float> out) {
  int64_t numPoints = layout.getNumPoints();
  std::vector<uint64_t> fields(numPoints * layout.getNumFields());
  std::vector<float> decoded(numPoints * leechDim);
  layout.unpack(words, fields);
  decodeLeech(code, fields, decoded,
              [](int64_t count, const std::function<void(int64_t)> &body) {
                for (int64_t i = 0; i < count; ++i)
                  body(i);
              });
  for (int64_t c = 0, e = layout.getColumns(); c < e; ++c)
    out[c] = scale * groupScales[c / layout.getGroup()] * decoded[c];
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

/// Pseudo-random N(0, 1), the same everywhere (Box and Muller's transform).
static std::vector<float> makeGaussian(size_t count) {
  std::mt19937_64 random(24);
  auto uniform = [&] { return ((random() >> 11) + 0.5) * 0x1p-53; };
  std::vector<float> x(count);
  for (size_t i = 0; i < count; i += 2) {
    double radius = std::sqrt(-2 * std::log(uniform()));
    double angle = 2 * std::numbers::pi * uniform();
    x[i] = static_cast<float>(radius * std::cos(angle));
    x[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return x;
}

static GaussianLeechCode findGaussianLeechCode(unsigned firstShell,
                                               unsigned lastShell,
                                               unsigned gainBits,
                                               unsigned residualShell) {
  constexpr size_t numBlocks = 512;
  std::vector<float> x = makeGaussian(numBlocks * leechDim);
  auto block = [&](size_t b) {
    return std::span<const float>(x).subspan(b * leechDim).first<leechDim>();
  };
  GaussianLeechCode result;
  result.code.firstShell = firstShell;
  result.code.lastShell = lastShell;

  auto encode = [&](float unit, std::vector<float> &decoded) {
    std::vector<float> scaled(x);
    for (float &v : scaled)
      v /= unit;
    std::vector<uint64_t> fields(numBlocks * result.code.getFieldBits().size());
    decoded.resize(x.size());
    encodeLeech(result.code, scaled, fields, decoded,
                [](int64_t count, const std::function<void(int64_t)> &body) {
                  for (int64_t i = 0; i < count; ++i)
                    body(i);
                });
  };
  auto measure = [&](float unit) {
    std::vector<float> decoded;
    encode(unit, decoded);
    double error = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      double e = x[i] - unit * decoded[i];
      error += e * e;
    }
    return error;
  };

  LeechCodebook codebook(firstShell, lastShell);
  if (gainBits || firstShell == lastShell) {
    // Only directions count.
    LeechSearch search(codebook);
    double cosine = 0, inner = 0;
    for (size_t b = 0; b < numBlocks; ++b) {
      LeechPoint point = search.findDirection(block(b));
      double xv = 0, xx = 0, vv = 0;
      for (unsigned i = 0; i < leechDim; ++i) {
        xv += block(b)[i] * point[i];
        xx += block(b)[i] * block(b)[i];
        vv += point[i] * point[i];
      }
      cosine += xv / std::sqrt(xx * vv);
      inner += xv / vv;
    }
    if (gainBits)
      result.code.gains = makeLeechGains(gainBits, cosine / numBlocks);
    else
      result.unit = static_cast<float>(inner / numBlocks);
  } else {
    // The radius of the ball is about the norm of a block. Golden section.
    double middle = 1.03 * std::sqrt(24.0 / (16.0 * lastShell));
    double low = 0.6 * middle, high = 1.3 * middle;
    constexpr double ratio = 0.6180339887498949;
    double a = high - ratio * (high - low), b = low + ratio * (high - low);
    double ea = measure(static_cast<float>(a)),
           eb = measure(static_cast<float>(b));
    for (int step = 0; step < 10; ++step) {
      if (ea < eb) {
        high = b;
        b = a;
        eb = ea;
        a = high - ratio * (high - low);
        ea = measure(static_cast<float>(a));
      } else {
        low = a;
        a = b;
        ea = eb;
        b = low + ratio * (high - low);
        eb = measure(static_cast<float>(b));
      }
    }
    result.unit = static_cast<float>((low + high) / 2);
  }
  if (residualShell) {
    std::vector<float> decoded;
    encode(result.unit, decoded);
    LeechSearch search{LeechCodebook(residualShell, residualShell)};
    double inner = 0;
    for (size_t b = 0; b < numBlocks; ++b) {
      std::array<float, leechDim> rest;
      for (unsigned i = 0; i < leechDim; ++i)
        rest[i] = block(b)[i] / result.unit - decoded[b * leechDim + i];
      LeechPoint point = search.findDirection(rest);
      for (unsigned i = 0; i < leechDim; ++i)
        inner += rest[i] * point[i];
    }
    result.code.residualShell = residualShell;
    result.code.residualScale =
        static_cast<float>(inner / numBlocks / (16.0 * residualShell));
  }
  return result;
}

GaussianLeechCode glvq::lattice::makeGaussianLeechCode(unsigned firstShell,
                                                       unsigned lastShell,
                                                       unsigned gainBits,
                                                       unsigned residualShell) {
  static std::mutex mutex;
  static std::map<std::array<unsigned, 4>, GaussianLeechCode> known;
  std::lock_guard lock(mutex);
  auto [entry, isNew] =
      known.try_emplace({firstShell, lastShell, gainBits, residualShell});
  if (isNew)
    entry->second =
        findGaussianLeechCode(firstShell, lastShell, gainBits, residualShell);
  return entry->second;
}
