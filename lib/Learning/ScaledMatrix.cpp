//===- ScaledMatrix.cpp - A matrix under quantization with scales ---------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "ScaledMatrix.h"
#include "glvq/Lattice/Lattice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

using namespace glvq;
using namespace glvq::learning;

void ScaledMatrix::require(bool condition, const std::string &message) {
  if (!condition)
    throw std::invalid_argument(message);
}

ScaledMatrix::ScaledMatrix(std::span<const float> weight, int64_t rows,
                           int64_t columns, std::span<const float> hessian,
                           int64_t group, std::vector<unsigned> widths,
                           int64_t blockSize, bool feedbackOfBlocks,
                           double damping, const ParallelFor &parallelFor)
    : parallelFor(parallelFor), rows(rows), columns(columns) {
  checkMatrix(weight, rows, columns, hessian);
  require(group >= 1, "group must be positive");

  numPieces = (rows + numLanes - 1) / numLanes;
  int64_t numGroups = (columns + group - 1) / group;
  if (widths.size() == 1)
    widths.assign(numGroups, widths.front());
  require(static_cast<int64_t>(widths.size()) == numGroups,
          "bits must give one width, or one for each of the " +
              std::to_string(numGroups) + " groups");

  chooseSlots(widths, columns % group != 0, slots, runs);
  groups.resize(numGroups);
  for (int64_t g = 0; g < numGroups; ++g) {
    Group &entry = groups[g];
    entry.begin = g * group;
    entry.end = std::min(columns, entry.begin + group);
    entry.width = widths[g];
    entry.firstBlock = blocks.size();
    for (int64_t c = entry.begin; c < entry.end; c += blockSize)
      blocks.push_back({c, std::min(blockSize, entry.end - c), {}, {}});
    entry.lastBlock = blocks.size();
  }
  for (int64_t r = 0, slot = 0, e = runs.size(); r < e; ++r)
    for (int64_t i = 0; i < runs[r].slots; ++i)
      groups[slots[slot++]].run = r;
  loadWeights(weight);
  factorHessian(hessian, feedbackOfBlocks, damping);
}

void ScaledMatrix::loadWeights(std::span<const float> weight) {
  weights.assign(numPieces * columns, Lanes{});
  errors.assign(numPieces * columns, Lanes{});
  values.assign(numPieces * columns, Lanes{});
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
    // A power of two: the factor changes no digit.
    unit = std::exp2(std::round(std::log2(total / (rows * columns)) / 2));
  for (int64_t r = 0; r < rows; ++r) {
    // No row exceeds the mean by more than the root of the number of rows.
    float scale =
        roundToHalf(static_cast<float>(std::min(rms[r] / unit, 65504.0)));
    int64_t piece = r / numLanes, lane = r % numLanes;
    scales[piece][lane] = scale;
    rowWeights[piece][lane] = scale * scale;
    if (scale > 0)
      for (int64_t c = 0; c < columns; ++c)
        weights[piece * columns + c][lane] =
            static_cast<float>(weight[r * columns + c] / (scale * unit));
  }
}

void ScaledMatrix::factorHessian(std::span<const float> hessian,
                                 bool feedbackOfBlocks, double damping) {
  DampedHessian damped(hessian, columns, columns, damping, parallelFor);
  factor = std::move(damped.factor);
  parallelFor(blocks.size(), [&](int64_t b) {
    Block &block = blocks[b];
    int64_t first = block.first, size = block.size;
    block.feedback.assign(columns * size, 0.0f);
    block.metric.resize(columns * size);
    for (int64_t k = 0; k < columns; ++k) {
      for (int64_t i = 0; i < size; ++i)
        block.metric[k * size + i] =
            static_cast<float>(damped.matrix[k * columns + first + i]);
      if (!feedbackOfBlocks) {
        for (int64_t i = 0; i < size && first + i < k; ++i)
          block.feedback[k * size + i] =
              static_cast<float>(factor[k * columns + first + i] /
                                 factor[(first + i) * columns + first + i]);
        continue;
      }
      if (k < first + size)
        continue;
      getBlockFeedback(factor, columns, k, first, size,
                       &block.feedback[k * size]);
    }
  });
}

void ScaledMatrix::getTargets(const Block &block, int64_t piece, int64_t begin,
                              Lanes *targets) {
  std::copy_n(getRow(weights, piece) + block.first, block.size, targets);
  accumulateBlock(targets, block.feedback.data(), getRow(errors, piece), begin,
                  columns, block.size);
}

/// The scale of a group is that of its targets: weights, feedback of later
/// groups, and what is to be expected from columns of the group itself.
void ScaledMatrix::guessScale(Group &group, double expectedError) {
  std::vector<double> power(numPieces);
  parallelFor(numPieces, [&](int64_t piece) {
    double sum = 0;
    Lanes targets[maxBlock];
    for (int64_t b = group.firstBlock; b < group.lastBlock; ++b) {
      const Block &block = blocks[b];
      getTargets(block, piece, group.end, targets);
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
        double l = k > block.first + i ? block.feedback[k * block.size + i] : 0;
        gain += l * l;
      }
  }
  gain *= expectedError / (group.end - group.begin);
  group.scale = roundToHalf(
      static_cast<float>(std::sqrt(mean * (1 + std::min(gain, 1.0)))));
}

void ScaledMatrix::refitToTargets() {
  for (int64_t r = 0, e = runs.size(); r < e; ++r) {
    double mass = 0, sum = 0;
    for (const Group &group : groups)
      if (group.run == r) {
        mass += group.scale * group.scale * group.yy;
        sum += group.scale * group.ty;
      }
    double common = mass > 0 && sum > 0 ? sum / mass : 1;
    for (Group &group : groups)
      if (group.run == r && group.yy > 0 && group.ty > 0)
        group.scale =
            roundToHalf(static_cast<float>(group.ty / group.yy / common));
  }
}

/// product = H x.
void ScaledMatrix::multiplyMetric(const Lanes *x, Lanes *product) {
  std::fill_n(product, columns, Lanes{});
  for (const Block &block : blocks)
    accumulateBlock(product + block.first, block.metric.data(), x, 0, columns,
                    block.size);
}

/// The scales of all groups that minimise the true loss, with the codes and the
/// scales of rows as they are.
void ScaledMatrix::refitGroupScales() {
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
void ScaledMatrix::refitRowScales() {
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
    Lanes ratio;
    learning::refitScales(scales[piece], wq, qq, ratio);
    rowWeights[piece] /= ratio * ratio;
    for (int64_t c = 0; c < columns; ++c) {
      w[c] *= ratio;
      e[c] = w[c] - q[c];
    }
  });
}

double ScaledMatrix::getProxyError() {
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

std::vector<float> ScaledMatrix::getGroupScales() const {
  std::vector<float> result;
  for (int64_t group : slots)
    result.push_back(groups[group].scale);
  return result;
}

std::vector<float> ScaledMatrix::getRowScales() const {
  std::vector<float> result;
  for (int64_t row = 0; row < rows; ++row)
    result.push_back(scales[row / numLanes][row % numLanes]);
  return result;
}

std::vector<int32_t> ScaledMatrix::getOrder() const {
  if (runs.size() == 1)
    return {};
  return std::vector<int32_t>(slots.begin(), slots.end());
}
