//===- TrellisQuantizer.cpp - Trellis codes for one matrix ----------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Matrices are kept as MatrixKernels.h describes, in units of the scales of
// their rows. Columns are taken in blocks of 8, within one group: the feedback
// of all later columns to a block is one matrix product, that within a block
// follows the search of each column.
//
// What the closed-form fit of a filter needs of a weight is its state alone:
// sums over states (of the metric, and of the metric times the target) give
// the normal equations of filters and tables alike.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/TrellisQuantizer.h"
#include "MatrixKernels.h"
#include "glvq/Lattice/Lattice.h"
#include "glvq/Lattice/TrellisEncoder.h"
#include "glvq/Lattice/TrellisLayout.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

using namespace glvq;
using namespace glvq::learning;

namespace {

/// The error of 12 taps on N(0, 1), for the first guess of scales.
double expectedError(unsigned width) {
  return 0.31 * std::exp2(-2.0 * (width - 1));
}

class Quantizer {
public:
  Quantizer(std::span<const float> weight, int64_t rows, int64_t columns,
            std::span<const float> hessian,
            const TrellisQuantizerOptions &options,
            const ParallelFor &parallelFor);

  TrellisQuantizerResult run();

private:
  struct Block {
    int64_t first, size;
    std::vector<float> feedback, metric; ///< columns of L and H, [columns][size]
  };
  struct Group {
    int64_t begin, end;
    int64_t firstBlock, lastBlock;
    unsigned width;
    int64_t run;
    float scale = 0;
    double yy = 0, ty = 0; ///< sums of the last round, in the metric D
  };
  struct Run {
    std::vector<float> numbers;        ///< taps or tables
    std::vector<double> mass, targets; ///< by state, of the last round
  };

  void loadWeights(std::span<const float> weight);
  void factorHessian(std::span<const float> hessian);
  void guessScale(Group &group);
  double encode(bool guessScales);
  void refit();
  void refitRun(Run &run);
  void refitGroupScales();
  void refitRowScales();
  void multiplyMetric(const Lanes *x, Lanes *product);
  double getProxyError();
  std::vector<int32_t> packCodes();

  Lanes *getRow(std::vector<Lanes> &matrix, int64_t piece) {
    return &matrix[piece * columns];
  }

  const TrellisQuantizerOptions &options;
  const ParallelFor &parallelFor;
  int64_t rows, columns, numPieces;
  std::vector<Group> groups;
  std::vector<Block> blocks;
  std::vector<Run> filters; ///< by run of equal width
  std::vector<int64_t> slots;
  std::vector<lattice::WidthRun> runs;
  double unit = 1; ///< Of the row scales; the numbers of the code carry it.

  std::vector<double> pivots; ///< D
  /// [pieces][columns]: weights, W - W^, and nodes without scales.
  std::vector<Lanes> weights, errors, values;
  std::vector<Lanes> rowWeights, scales; ///< [pieces]
  std::vector<uint32_t> states;          ///< [columns][rows]
};

Quantizer::Quantizer(std::span<const float> weight, int64_t rows,
                     int64_t columns, std::span<const float> hessian,
                     const TrellisQuantizerOptions &options,
                     const ParallelFor &parallelFor)
    : options(options), parallelFor(parallelFor), rows(rows),
      columns(columns) {
  auto require = [](bool condition, const std::string &message) {
    if (!condition)
      throw std::invalid_argument(message);
  };
  require(rows > 0 && columns > 0, "the weight is empty");
  require(options.taps >= 2 && options.taps <= lattice::maxTrellisTaps,
          "taps must be 2 to " + std::to_string(lattice::maxTrellisTaps));
  require(!options.additive || options.taps % 2 == 0,
          "additive nodes need an even number of taps");
  require(options.group >= 1, "group must be positive");
  require(options.iterations >= 1, "iterations must be at least 1");
  require(static_cast<int64_t>(weight.size()) == rows * columns,
          "the weight does not have rows * columns elements");
  require(hessian.empty() ||
              static_cast<int64_t>(hessian.size()) == columns * columns,
          "the Hessian is not columns x columns");
  auto isFinite = [](float v) { return std::isfinite(v); };
  require(std::all_of(weight.begin(), weight.end(), isFinite),
          "the weight has elements that are not finite");
  require(std::all_of(hessian.begin(), hessian.end(), isFinite),
          "the Hessian has elements that are not finite");

  numPieces = (rows + numLanes - 1) / numLanes;
  int64_t numGroups = (columns + options.group - 1) / options.group;
  std::vector<unsigned> widths = options.bits;
  if (widths.size() == 1)
    widths.assign(numGroups, widths.front());
  require(static_cast<int64_t>(widths.size()) == numGroups,
          "bits must give one width, or one for each of the " +
              std::to_string(numGroups) + " groups");
  for (unsigned width : widths) {
    require(width >= 1 && width <= 4, "widths are 1 to 4 bits");
    require(width < options.taps, "taps must exceed the bits of a weight");
  }

  chooseSlots(widths, columns % options.group != 0, slots, runs);
  groups.resize(numGroups);
  for (int64_t g = 0; g < numGroups; ++g) {
    Group &group = groups[g];
    group.begin = g * options.group;
    group.end = std::min(columns, group.begin + options.group);
    group.width = widths[g];
    group.firstBlock = blocks.size();
    constexpr int64_t blockSize = 8;
    for (int64_t c = group.begin; c < group.end; c += blockSize)
      blocks.push_back({c, std::min(blockSize, group.end - c), {}, {}});
    group.lastBlock = blocks.size();
  }
  for (int64_t r = 0, slot = 0, e = runs.size(); r < e; ++r) {
    for (int64_t i = 0; i < runs[r].slots; ++i)
      groups[slots[slot++]].run = r;
    Run filter;
    if (options.additive)
      filter.numbers =
          lattice::getGaussianTables(options.taps, runs[r].width);
    else
      filter.numbers = lattice::getGaussianTaps(options.taps, runs[r].width);
    filters.push_back(std::move(filter));
  }
  loadWeights(weight);
  factorHessian(hessian);
}

void Quantizer::loadWeights(std::span<const float> weight) {
  weights.assign(numPieces * columns, Lanes{});
  errors.assign(numPieces * columns, Lanes{});
  values.assign(numPieces * columns, Lanes{});
  states.assign(columns * rows, 0);
  scales.assign(numPieces, Lanes{});
  rowWeights.assign(numPieces, Lanes{});
  std::vector<double> rms(rows);
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (float value : weight.subspan(r * columns, columns))
      sum += static_cast<double>(value) * value;
    total += sum;
    rms[r] = std::sqrt(sum / columns);
  }
  if (total > 0)
    unit = std::sqrt(total / (rows * columns));
  for (int64_t r = 0; r < rows; ++r) {
    // No row exceeds the mean by more than the root of the number of rows.
    float scale = roundToHalf(
        static_cast<float>(std::min(rms[r] / unit, 65504.0)));
    int64_t piece = r / numLanes, lane = r % numLanes;
    scales[piece][lane] = scale;
    rowWeights[piece][lane] = scale * scale;
    if (scale > 0)
      for (int64_t c = 0; c < columns; ++c)
        weights[piece * columns + c][lane] = static_cast<float>(
            weight[r * columns + c] / (scale * unit));
  }
}

void Quantizer::factorHessian(std::span<const float> hessian) {
  DampedHessian damped(hessian, columns, columns, options.damping, parallelFor);
  pivots.resize(columns);
  for (int64_t c = 0; c < columns; ++c) {
    double diagonal = damped.factor[c * columns + c];
    pivots[c] = diagonal * diagonal;
  }
  parallelFor(blocks.size(), [&](int64_t b) {
    Block &block = blocks[b];
    block.feedback.resize(columns * block.size);
    block.metric.resize(columns * block.size);
    for (int64_t k = 0; k < columns; ++k)
      for (int64_t i = 0; i < block.size; ++i) {
        int64_t c = block.first + i;
        block.metric[k * block.size + i] =
            static_cast<float>(damped.matrix[k * columns + c]);
        if (k > c)
          block.feedback[k * block.size + i] = static_cast<float>(
              damped.factor[k * columns + c] / damped.factor[c * columns + c]);
      }
  });
}

/// The scale of a group is that of its targets: weights, feedback of later
/// groups, and what is to be expected from columns of the group itself.
void Quantizer::guessScale(Group &group) {
  std::vector<double> power(numPieces);
  parallelFor(numPieces, [&](int64_t piece) {
    double sum = 0;
    Lanes targets[maxBlock];
    for (int64_t b = group.firstBlock; b < group.lastBlock; ++b) {
      const Block &block = blocks[b];
      std::copy_n(getRow(weights, piece) + block.first, block.size, targets);
      accumulateBlock(targets, block.feedback.data(), getRow(errors, piece),
                      group.end, columns, block.size);
      for (int64_t i = 0; i < block.size; ++i)
        sum += sumLanes(rowWeights[piece] * targets[i] * targets[i]);
    }
    power[piece] = sum;
  });
  double mass = 0;
  for (const Lanes &weight : rowWeights)
    mass += sumLanes(weight);
  double mean = 0;
  for (double sum : power)
    mean += sum;
  mean = mass > 0 ? mean / (mass * (group.end - group.begin)) : 0;
  double gain = 0;
  for (int64_t b = group.firstBlock; b < group.lastBlock; ++b) {
    const Block &block = blocks[b];
    for (int64_t k = block.first; k < group.end; ++k)
      for (int64_t i = 0; i < block.size; ++i) {
        double l = block.feedback[k * block.size + i];
        gain += l * l;
      }
  }
  gain *= expectedError(group.width) / (group.end - group.begin);
  group.scale = roundToHalf(
      static_cast<float>(std::sqrt(mean * (1 + std::min(gain, 1.0)))));
}

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
      guessScale(group);
    group.yy = group.ty = 0;
    const lattice::TrellisEncoder &encoder = encoders[group.run];
    Run &run = filters[group.run];
    double scale = group.scale, inverse = scale > 0 ? 1 / scale : 0;
    for (int64_t b = group.lastBlock - 1; b >= group.firstBlock; --b) {
      const Block &block = blocks[b];
      parallelFor(numPieces, [&](int64_t piece) {
        Lanes *t = &targets[piece * maxBlock];
        std::copy_n(getRow(weights, piece) + block.first, block.size, t);
        accumulateBlock(t, block.feedback.data(), getRow(errors, piece),
                        block.first + block.size, columns, block.size);
      });
      for (int64_t i = block.size - 1; i >= 0; --i) {
        int64_t c = block.first + i;
        for (int64_t piece = 0; piece < numPieces; ++piece) {
          Lanes t = targets[piece * maxBlock + i];
          const Lanes *error = getRow(errors, piece) + block.first;
          for (int64_t k = i + 1; k < block.size; ++k)
            t += block.feedback[(block.first + k) * block.size + i] * error[k];
          int64_t first = piece * numLanes, n = std::min(numLanes, rows - first);
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
          errors[at][lane] =
              weights[at][lane] - static_cast<float>(scale) * y;
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

/// The numbers of each run and the scales of its groups that fit the targets of
/// the last round best.
void Quantizer::refit() {
  for (Run &run : filters)
    refitRun(run);
  // Both fits would correct a common factor; it is left to the numbers.
  for (size_t r = 0; r < filters.size(); ++r) {
    double mass = 0, sum = 0;
    for (const Group &group : groups)
      if (group.run == static_cast<int64_t>(r)) {
        mass += group.scale * group.scale * group.yy;
        sum += group.scale * group.ty;
      }
    double common = mass > 0 && sum > 0 ? sum / mass : 1;
    for (Group &group : groups) {
      if (group.run != static_cast<int64_t>(r) || !(group.yy > 0) ||
          !(group.ty > 0))
        continue;
      group.scale =
          roundToHalf(static_cast<float>(group.ty / group.yy / common));
    }
  }
}

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

/// product = H x.
void Quantizer::multiplyMetric(const Lanes *x, Lanes *product) {
  std::fill_n(product, columns, Lanes{});
  for (const Block &block : blocks)
    accumulateBlock(product + block.first, block.metric.data(), x, 0, columns,
                    block.size);
}

/// The scales of all groups that minimise the true loss, with the codes and the
/// scales of rows as they are.
void Quantizer::refitGroupScales() {
  int64_t n = groups.size();
  std::vector<double> normals(numPieces * n * n), sums(numPieces * n);
  parallelFor(numPieces, [&](int64_t piece) {
    const Lanes *w = getRow(weights, piece), *y = getRow(values, piece);
    std::vector<Lanes> product(columns);
    auto gather = [&](const Lanes *x, int64_t g) {
      Lanes sum = {};
      for (int64_t c = groups[g].begin; c < groups[g].end; ++c)
        sum += x[c] * product[c];
      return static_cast<double>(sumLanes(rowWeights[piece] * sum));
    };
    for (int64_t h = 0; h < n; ++h) {
      std::fill(product.begin(), product.end(), Lanes{});
      for (const Block &block : blocks)
        accumulateBlock(&product[block.first], block.metric.data(), y,
                        groups[h].begin, groups[h].end, block.size);
      for (int64_t g = 0; g < n; ++g) {
        normals[(piece * n + g) * n + h] = gather(y, g);
        sums[piece * n + h] += gather(w, g);
      }
    }
  });
  std::vector<double> normal(n * n, 0.0), rhs(n, 0.0);
  for (int64_t piece = 0; piece < numPieces; ++piece) {
    for (int64_t i = 0; i < n * n; ++i)
      normal[i] += normals[piece * n * n + i];
    for (int64_t i = 0; i < n; ++i)
      rhs[i] += sums[piece * n + i];
  }
  double trace = 0;
  for (int64_t i = 0; i < n; ++i)
    trace += normal[i * n + i];
  for (int64_t i = 0; i < n; ++i) {
    normal[i * n + i] += 1e-6 * trace / n;
    rhs[i] += 1e-6 * trace / n * groups[i].scale;
  }
  if (!(trace > 0) || !lattice::solveSymmetric(normal, rhs, n))
    return;
  for (int64_t g = 0; g < n; ++g) {
    float scale = roundToHalf(static_cast<float>(rhs[g]));
    if (std::isfinite(scale) && scale > 0)
      groups[g].scale = scale;
  }
}

/// The scale of each row that minimises the true loss.
void Quantizer::refitRowScales() {
  parallelFor(numPieces, [&](int64_t piece) {
    Lanes *w = getRow(weights, piece), *e = getRow(errors, piece);
    const Lanes *y = getRow(values, piece);
    std::vector<Lanes> q(columns), product(columns);
    for (const Group &group : groups)
      for (int64_t c = group.begin; c < group.end; ++c)
        q[c] = group.scale * y[c];
    multiplyMetric(q.data(), product.data());
    Lanes wq = {}, qq = {};
    for (int64_t c = 0; c < columns; ++c) {
      wq += w[c] * product[c];
      qq += q[c] * product[c];
    }
    // The weights of a row are kept divided by its scale.
    Lanes ratio;
    for (int64_t lane = 0; lane < numLanes; ++lane) {
      float old = scales[piece][lane], factor = wq[lane] / qq[lane];
      float scale = old;
      if (std::isfinite(factor) && factor > 0)
        scale = roundToHalf(old * factor);
      if (!(scale > 0) || !std::isfinite(scale))
        scale = old;
      ratio[lane] = scale > 0 ? old / scale : 1;
      scales[piece][lane] = scale;
    }
    rowWeights[piece] /= ratio * ratio;
    for (int64_t c = 0; c < columns; ++c) {
      w[c] *= ratio;
      e[c] = w[c] - q[c];
    }
  });
}

double Quantizer::getProxyError() {
  std::vector<double> lost(numPieces), all(numPieces);
  parallelFor(numPieces, [&](int64_t piece) {
    std::vector<Lanes> product(columns);
    auto form = [&](const Lanes *x) {
      multiplyMetric(x, product.data());
      Lanes sum = {};
      for (int64_t c = 0; c < columns; ++c)
        sum += x[c] * product[c];
      return static_cast<double>(sumLanes(sum * rowWeights[piece]));
    };
    lost[piece] = form(getRow(errors, piece));
    all[piece] = form(getRow(weights, piece));
  });
  double sum = std::accumulate(all.begin(), all.end(), 0.0);
  return sum > 0 ? std::accumulate(lost.begin(), lost.end(), 0.0) / sum : 0;
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
    if (round + 1 < options.iterations)
      refit();
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
  for (int64_t group : slots) {
    result.groupScales.push_back(groups[group].scale);
    if (runs.size() > 1)
      result.order.push_back(static_cast<int32_t>(group));
  }
  for (int64_t row = 0; row < rows; ++row)
    result.scales.push_back(scales[row / numLanes][row % numLanes]);
  return result;
}

} // namespace

TrellisQuantizerResult glvq::learning::quantizeTrellis(
    std::span<const float> weight, int64_t rows, int64_t columns,
    std::span<const float> hessian, const TrellisQuantizerOptions &options,
    const ParallelFor &parallelFor) {
  return Quantizer(weight, rows, columns, hessian, options, parallelFor).run();
}
