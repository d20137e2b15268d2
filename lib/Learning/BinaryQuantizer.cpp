//===- BinaryQuantizer.cpp - Binary codes for one matrix ------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/BinaryQuantizer.h"
#include "ScaledMatrix.h"
#include "glvq/Lattice/BinaryEncoder.h"
#include "glvq/Lattice/BinaryLayout.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

using namespace glvq;
using namespace glvq::learning;

namespace {

class Quantizer : ScaledMatrix {
public:
  Quantizer(std::span<const float> weight, int64_t rows, int64_t columns,
            std::span<const float> hessian,
            const BinaryQuantizerOptions &options,
            const ParallelFor &parallelFor)
      : ScaledMatrix(weight, rows, columns, hessian, options.group,
                     options.pointBits, options.dim, /*feedbackOfBlocks=*/true,
                     options.damping, parallelFor),
        options(options) {
    for (const Group &group : groups)
      for (int64_t b = group.firstBlock; b < group.lastBlock; ++b) {
        pointOffsets.push_back(rowBits);
        rowBits += group.width;
      }
    points.resize(rows * rowBits);
    for (const lattice::WidthRun &run : runs) {
      generators.push_back(
          lattice::makeCirculantGenerator(options.dim, run.width));
      roundGenerator(generators.back());
    }
  }

  BinaryQuantizerResult run();

private:
  /// Sums of one piece of rows in a round.
  struct Sums {
    std::vector<lattice::BinaryFit> fits; ///< by run
    double loss = 0, yy = 0, ty = 0;      ///< of the group at work
  };

  static void roundGenerator(std::vector<float> &generator) {
    for (float &value : generator)
      value = roundToHalf(value);
  }
  double encode(bool guessScales, std::vector<Sums> &sums);
  void encodePiece(const Group &group, int64_t piece,
                   std::span<const lattice::BinaryEncoder> encoders,
                   Sums &sums);
  std::vector<int32_t> packCodes();

  std::span<uint8_t> getPoint(int64_t row, int64_t block, int64_t bits) {
    return std::span<uint8_t>(points).subspan(
        row * rowBits + pointOffsets[block], bits);
  }

  const BinaryQuantizerOptions &options;
  std::vector<std::vector<float>> generators; ///< by run, [dim][n]
  std::vector<int64_t> pointOffsets;          ///< by block, in a row of bits
  int64_t rowBits = 0;
  std::vector<uint8_t> points; ///< [rows][rowBits]
};

/// C_bb^T of a block: the root of its metric.
std::vector<float> getRoot(const std::vector<double> &factor, int64_t columns,
                           int64_t first, int64_t size) {
  std::vector<float> root(size * size, 0.0f);
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = i; j < size; ++j)
      root[i * size + j] =
          static_cast<float>(factor[(first + j) * columns + first + i]);
  return root;
}

void Quantizer::encodePiece(const Group &group, int64_t piece,
                            std::span<const lattice::BinaryEncoder> encoders,
                            Sums &sums) {
  const int64_t bits = group.width;
  std::span<const float> generator = generators[group.run];
  const float scale = group.scale, inverse = scale > 0 ? 1 / scale : 0;
  lattice::BinaryEncoder::Scratch scratch;
  std::vector<float> target(options.dim), value(options.dim);
  sums.loss = sums.yy = sums.ty = 0;
  for (int64_t b = group.lastBlock - 1; b >= group.firstBlock; --b) {
    const Block &block = blocks[b];
    Lanes targets[maxBlock];
    getTargets(block, piece, block.first + block.size, targets);
    std::vector<float> root = getRoot(factor, columns, block.first, block.size);
    double metric = 0;
    for (float entry : root)
      metric += static_cast<double>(entry) * entry;
    metric /= block.size;
    for (int64_t lane = 0; lane < numLanes; ++lane) {
      int64_t row = piece * numLanes + lane;
      if (row >= rows)
        break;
      std::span<float> t(target.data(), block.size),
          y(value.data(), block.size);
      for (int64_t i = 0; i < block.size; ++i)
        t[i] = targets[i][lane] * inverse;
      std::span<uint8_t> point = getPoint(row, b, bits);
      encoders[b - group.firstBlock].encode(t, point, scratch);
      lattice::decodeBinaryPoint(generator.first(block.size * bits), point, y);
      double weight = rowWeights[piece][lane], yy = 0, ty = 0;
      for (int64_t i = 0; i < block.size; ++i) {
        int64_t at = piece * columns + block.first + i;
        values[at][lane] = y[i];
        errors[at][lane] = weights[at][lane] - scale * y[i];
        yy += y[i] * y[i];
        ty += y[i] * targets[i][lane];
        double miss = 0;
        for (int64_t j = i; j < block.size; ++j)
          miss += root[i * block.size + j] * (targets[j][lane] - scale * y[j]);
        sums.loss += weight * miss * miss;
      }
      sums.yy += weight * metric * yy;
      sums.ty += weight * metric * ty;
      // Points cut off by the last column would fit the missing rows to zero.
      if (block.size == options.dim)
        sums.fits[group.run].add(point, t, weight * metric * scale * scale);
    }
  }
}

/// Encodes all columns and returns the loss in the metric of the targets,
/// which is that of the weights.
double Quantizer::encode(bool guessScales, std::vector<Sums> &sums) {
  sums.assign(numPieces, {});
  for (Sums &piece : sums)
    for (const lattice::WidthRun &run : runs)
      piece.fits.emplace_back(options.dim, run.width);
  double loss = 0;
  for (int64_t g = groups.size() - 1; g >= 0; --g) {
    Group &group = groups[g];
    if (guessScales)
      guessScale(group, std::min(1.0, 1.4 * std::exp2(-2.0 * group.width /
                                                      options.dim)));
    std::vector<lattice::BinaryEncoder> encoders;
    for (int64_t b = group.firstBlock; b < group.lastBlock; ++b) {
      const Block &block = blocks[b];
      encoders.emplace_back(std::span<const float>(generators[group.run])
                                .first(block.size * group.width),
                            block.size, group.width,
                            getRoot(factor, columns, block.first, block.size),
                            options.survivors);
    }
    parallelFor(numPieces, [&](int64_t piece) {
      encodePiece(group, piece, encoders, sums[piece]);
    });
    group.yy = group.ty = 0;
    for (const Sums &piece : sums) {
      loss += piece.loss;
      group.yy += piece.yy;
      group.ty += piece.ty;
    }
  }
  return loss;
}

std::vector<int32_t> Quantizer::packCodes() {
  auto layout =
      *lattice::BinaryLayout::create(columns, options.dim, options.group, runs);
  std::vector<int32_t> codes(rows * layout.getNumWords());
  parallelFor(numPieces, [&](int64_t piece) {
    std::vector<uint8_t> bits(layout.getNumBits());
    for (int64_t row = piece * numLanes,
                 e = std::min(rows, (piece + 1) * numLanes);
         row < e; ++row) {
      auto out = bits.begin();
      for (int64_t slot : slots) {
        const Group &group = groups[slot];
        for (int64_t b = group.firstBlock; b < group.lastBlock; ++b)
          out = std::ranges::copy(getPoint(row, b, group.width), out).out;
      }
      layout.pack(bits, std::span<int32_t>(codes).subspan(
                            row * layout.getNumWords(), layout.getNumWords()));
    }
  });
  return codes;
}

BinaryQuantizerResult Quantizer::run() {
  double best = std::numeric_limits<double>::infinity();
  std::vector<uint8_t> bestPoints;
  std::vector<Lanes> bestErrors, bestValues;
  std::vector<Group> bestGroups;
  std::vector<std::vector<float>> bestGenerators;
  std::vector<Sums> sums;
  for (unsigned round = 0; round < options.iterations; ++round) {
    double loss = encode(/*guessScales=*/round == 0, sums);
    if (loss < best) {
      best = loss;
      bestPoints = points;
      bestErrors = errors;
      bestValues = values;
      bestGroups = groups;
      bestGenerators = generators;
    }
    if (round + 1 == options.iterations)
      break;
    for (size_t r = 0; r < runs.size(); ++r) {
      lattice::BinaryFit fit(options.dim, runs[r].width);
      for (const Sums &piece : sums)
        fit.add(piece.fits[r]);
      fit.solve(generators[r]);
      roundGenerator(generators[r]);
    }
    refitToTargets();
  }
  points = std::move(bestPoints);
  errors = std::move(bestErrors);
  values = std::move(bestValues);
  groups = std::move(bestGroups);
  generators = std::move(bestGenerators);
  for (unsigned round = 0; round < options.finalRounds; ++round) {
    refitGroupScales();
    refitRowScales();
  }

  BinaryQuantizerResult result;
  result.proxyError = getProxyError();
  result.runs = runs;
  result.codes = packCodes();
  unsigned largest = 0;
  for (const lattice::WidthRun &run : runs)
    largest = std::max(largest, run.width);
  for (size_t r = 0; r < runs.size(); ++r)
    for (int64_t i = 0; i < options.dim; ++i)
      for (unsigned c = 0; c < largest; ++c)
        result.generators.push_back(
            c < runs[r].width ? generators[r][i * runs[r].width + c] : 0.0f);
  result.groupScales = getGroupScales();
  result.scales = getRowScales();
  for (float &scale : result.scales) {
    scale = roundToHalf(static_cast<float>(scale * unit));
    require(std::isfinite(scale), "the weight is too large for float16");
  }
  result.order = getOrder();
  return result;
}

} // namespace

BinaryQuantizerResult
glvq::learning::quantizeBinary(std::span<const float> weight, int64_t rows,
                               int64_t columns, std::span<const float> hessian,
                               const BinaryQuantizerOptions &options,
                               const ParallelFor &parallelFor) {
  auto require = [](bool condition, const std::string &message) {
    if (!condition)
      throw std::invalid_argument(message);
  };
  require(options.dim >= 1 && options.dim <= maxBlock, "dim must be 1 to 32");
  require(options.group >= options.dim && options.group % options.dim == 0,
          "group must be a multiple of dim");
  require(options.iterations >= 1, "iterations must be at least 1");
  require(options.survivors >= 1, "survivors must be at least 1");
  for (unsigned bits : options.pointBits)
    require(bits >= 1 && bits <= 8 * options.dim,
            "points have 1 to 8 bits for each column");
  return Quantizer(weight, rows, columns, hessian, options, parallelFor).run();
}
