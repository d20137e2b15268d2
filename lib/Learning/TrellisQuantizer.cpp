//===- TrellisQuantizer.cpp - Trellis codes for one matrix ----------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The feedback of all later columns to a block of 8 is one matrix product;
// that within a block follows the search of each column.
//
// What the closed-form fit of a filter needs of a weight is its state alone:
// sums over states (of the metric, and of the metric times the target) give
// the normal equations of filters and tables alike.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/TrellisQuantizer.h"
#include "ScaledMatrix.h"
#include "glvq/Lattice/Lattice.h"
#include "glvq/Lattice/TrellisEncoder.h"
#include "glvq/Lattice/TrellisLayout.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

using namespace glvq;
using namespace glvq::learning;

namespace {

/// The error of 12 taps on N(0, 1), for the first guess of scales.
double expectedError(unsigned width) {
  return 0.31 * std::exp2(-2.0 * (width - 1));
}

class Quantizer : ScaledMatrix {
public:
  Quantizer(std::span<const float> weight, int64_t rows, int64_t columns,
            std::span<const float> hessian,
            const TrellisQuantizerOptions &options,
            const ParallelFor &parallelFor)
      : ScaledMatrix(weight, rows, columns, hessian, options.group,
                     options.bits, /*blockSize=*/8, /*feedbackOfBlocks=*/false,
                     options.damping, parallelFor),
        options(options), states(columns * rows) {
    for (const lattice::WidthRun &run : runs) {
      Run filter;
      filter.numbers = options.additive
                           ? lattice::getGaussianTables(options.taps, run.width)
                           : lattice::getGaussianTaps(options.taps, run.width);
      filters.push_back(std::move(filter));
    }
    pivots.resize(columns);
    for (int64_t c = 0; c < columns; ++c)
      pivots[c] = factor[c * columns + c] * factor[c * columns + c];
  }

  TrellisQuantizerResult run();

private:
  struct Run {
    std::vector<float> numbers;        ///< taps or tables
    std::vector<double> mass, targets; ///< by state, of the last round
  };

  double encode(bool guessScales);
  void refitRun(Run &run);
  std::vector<int32_t> packCodes();

  const TrellisQuantizerOptions &options;
  std::vector<Run> filters;     ///< by run of equal width
  std::vector<double> pivots;   ///< D
  std::vector<uint32_t> states; ///< [columns][rows]
};

/// Encodes all columns and returns the loss in the metric of the targets,
/// which is that of the weights.
double Quantizer::encode(bool guessScales) {
  std::vector<lattice::TrellisEncoder> encoders;
  for (size_t r = 0; r < filters.size(); ++r) {
    Run &run = filters[r];
    encoders.emplace_back(options.additive
                              ? lattice::makeAdditiveNodes(run.numbers)
                              : lattice::makeLinearNodes(run.numbers),
                          runs[r].width);
    run.mass.assign(size_t(1) << options.taps, 0.0);
    run.targets.assign(size_t(1) << options.taps, 0.0);
  }
  std::vector<float> metric(rows), target(rows), scaled(rows);
  for (int64_t r = 0; r < rows; ++r)
    metric[r] = rowWeights[r / numLanes][r % numLanes];
  std::vector<Lanes> targets(numPieces * maxBlock);
  lattice::TrellisEncoder::Scratch scratch;

  double loss = 0;
  for (int64_t g = groups.size() - 1; g >= 0; --g) {
    Group &group = groups[g];
    if (guessScales)
      guessScale(group, expectedError(group.width));
    group.yy = group.ty = 0;
    const lattice::TrellisEncoder &encoder = encoders[group.run];
    Run &run = filters[group.run];
    double scale = group.scale, inverse = scale > 0 ? 1 / scale : 0;
    for (int64_t b = group.lastBlock - 1; b >= group.firstBlock; --b) {
      const Block &block = blocks[b];
      parallelFor(numPieces, [&](int64_t piece) {
        getTargets(block, piece, block.first + block.size,
                   &targets[piece * maxBlock]);
      });
      for (int64_t i = block.size - 1; i >= 0; --i) {
        int64_t c = block.first + i;
        for (int64_t piece = 0; piece < numPieces; ++piece) {
          Lanes t = targets[piece * maxBlock + i];
          const Lanes *error = getRow(errors, piece) + block.first;
          for (int64_t k = i + 1; k < block.size; ++k)
            t += block.feedback[(block.first + k) * block.size + i] * error[k];
          int64_t first = piece * numLanes,
                  n = std::min(numLanes, rows - first);
          for (int64_t lane = 0; lane < n; ++lane) {
            target[first + lane] = t[lane];
            scaled[first + lane] = static_cast<float>(t[lane] * inverse);
          }
        }
        std::span<uint32_t> column(&states[c * rows], rows);
        encoder.encode(scaled, metric, column, scratch);
        double yy = 0, ty = 0, tt = 0;
        for (int64_t r = 0; r < rows; ++r) {
          float y = encoder.getNode(column[r]);
          int64_t at = r / numLanes * columns + c, lane = r % numLanes;
          values[at][lane] = y;
          errors[at][lane] = weights[at][lane] - static_cast<float>(scale) * y;
          double weighted = pivots[c] * metric[r], t = target[r];
          yy += weighted * y * y;
          ty += weighted * t * y;
          tt += weighted * t * t;
          run.mass[column[r]] += weighted * scale * scale;
          run.targets[column[r]] += weighted * scale * t;
        }
        group.yy += yy;
        group.ty += ty;
        loss += tt - scale * (2 * ty - scale * yy);
      }
    }
  }
  return loss;
}

/// The numbers of a run that fit the targets of the last round best.
void Quantizer::refitRun(Run &run) {
  int64_t n = run.numbers.size();
  std::vector<double> normal(n * n, 0.0), rhs(n, 0.0);
  uint32_t half = 1u << (options.taps / 2);
  for (uint32_t s = 0, e = 1u << options.taps; s < e; ++s) {
    double mass = run.mass[s], target = run.targets[s];
    if (mass == 0)
      continue;
    if (options.additive) {
      uint32_t low = s & (half - 1), high = half + s / half;
      rhs[low] += target;
      rhs[high] += target;
      normal[low * n + low] += mass;
      normal[high * n + high] += mass;
      normal[low * n + high] += mass;
      normal[high * n + low] += mass;
      continue;
    }
    for (int64_t i = 0; i < n; ++i) {
      double sign = (s >> i & 1) ? 1 : -1;
      rhs[i] += sign * target;
      for (int64_t j = 0; j < n; ++j)
        normal[i * n + j] += (s >> j & 1) ? sign * mass : -sign * mass;
    }
  }
  // A weak pull to the present numbers: entries that no weight uses, and the
  // constant that two tables may exchange, stay.
  double trace = 0;
  for (int64_t i = 0; i < n; ++i)
    trace += normal[i * n + i];
  if (!(trace > 0))
    return;
  for (int64_t i = 0; i < n; ++i) {
    double ridge = 1e-3 * trace / n;
    normal[i * n + i] += ridge;
    rhs[i] += ridge * run.numbers[i];
  }
  if (lattice::solveSymmetric(normal, rhs, n))
    std::copy(rhs.begin(), rhs.end(), run.numbers.begin());
}

std::vector<int32_t> Quantizer::packCodes() {
  auto layout = *lattice::TrellisLayout::create(rows, columns, options.taps,
                                                options.group, runs);
  std::vector<int32_t> codes(layout.getNumWords(), 0);
  std::vector<uint8_t> bits;
  int64_t slot = 0;
  for (const lattice::TrellisLayout::Run &run : layout.getRuns()) {
    int64_t column = 0;
    bits.resize(run.bitRows);
    for (int64_t i = 0; i < run.numSlots; ++i) {
      const Group &group = groups[slots[slot++]];
      for (int64_t c = group.begin; c < group.end; ++c) {
        const uint32_t *state = &states[c * rows];
        // The first window whole, then the new bits of each.
        for (int64_t b = 0; b < options.taps; ++b)
          bits[options.taps - 1 - b] = state[0] >> b & 1;
        for (int64_t t = 1; t < rows; ++t)
          for (int64_t b = 0; b < run.width; ++b)
            bits[run.width * t + options.taps - 1 - b] = state[t] >> b & 1;
        layout.setColumn(run, column++, bits, codes);
      }
    }
  }
  return codes;
}

TrellisQuantizerResult Quantizer::run() {
  double best = std::numeric_limits<double>::infinity();
  std::vector<uint32_t> bestStates;
  std::vector<Lanes> bestErrors, bestValues;
  std::vector<Group> bestGroups;
  std::vector<Run> bestFilters;
  for (unsigned round = 0; round < options.iterations; ++round) {
    double loss = encode(/*guessScales=*/round == 0);
    if (loss < best) {
      best = loss;
      bestStates = states;
      bestErrors = errors;
      bestValues = values;
      bestGroups = groups;
      bestFilters = filters;
    }
    if (round + 1 < options.iterations) {
      for (Run &run : filters)
        refitRun(run);
      refitToTargets();
    }
  }
  states = std::move(bestStates);
  errors = std::move(bestErrors);
  values = std::move(bestValues);
  groups = std::move(bestGroups);
  filters = std::move(bestFilters);
  for (unsigned round = 0; round < options.finalRounds; ++round) {
    refitGroupScales();
    refitRowScales();
  }

  TrellisQuantizerResult result;
  result.proxyError = getProxyError();
  result.runs = runs;
  result.codes = packCodes();
  for (const Run &run : filters)
    for (float number : run.numbers)
      result.nodes.push_back(static_cast<float>(number * unit));
  result.groupScales = getGroupScales();
  result.scales = getRowScales();
  result.order = getOrder();
  return result;
}

} // namespace

TrellisQuantizerResult
glvq::learning::quantizeTrellis(std::span<const float> weight, int64_t rows,
                                int64_t columns, std::span<const float> hessian,
                                const TrellisQuantizerOptions &options,
                                const ParallelFor &parallelFor) {
  auto require = [](bool condition, const std::string &message) {
    if (!condition)
      throw std::invalid_argument(message);
  };
  require(options.taps >= 2 && options.taps <= lattice::maxTrellisTaps,
          "taps must be 2 to " + std::to_string(lattice::maxTrellisTaps));
  require(!options.additive || options.taps % 2 == 0,
          "additive nodes need an even number of taps");
  require(options.iterations >= 1, "iterations must be at least 1");
  for (unsigned width : options.bits) {
    require(width >= 1 && width <= 4, "widths are 1 to 4 bits");
    require(width < options.taps, "taps must exceed the bits of a weight");
  }
  return Quantizer(weight, rows, columns, hessian, options, parallelFor).run();
}
