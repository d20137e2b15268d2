//===- LatticeQuantizer.cpp - Learned lattice codes for one matrix --------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Matrices are kept as MatrixKernels.h describes.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/LatticeQuantizer.h"
#include "MatrixKernels.h"
#include "glvq/Lattice/Lattice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

using namespace glvq;
using namespace glvq::learning;

namespace {

constexpr int64_t maxDim = maxBlock;

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// How one block is rounded: y = projection t, then nearest plane with the
/// upper triangular R, from A = C^T G = Q R and projection = Q^T C^T, where
/// C C^T is the metric of the block.
struct BlockRounding {
  float projection[maxDim * maxDim];
  float upper[maxDim * maxDim];
  float inverseDiagonal[maxDim];
};

/// What encoding one piece of a group needs and gives.
struct EncodeArgs {
  int64_t dim, numBlocks, begin; ///< the group's blocks; its first column
  const float *const *panels;    ///< L, one [columns][dim] panel per block
  const BlockRounding *rounding;
  const float *generator;
  float limit; ///< the largest |z + 1/2|
  Lanes rowWeights;
  const Lanes *weights; ///< of the group
  const Lanes *targets; ///< weights + feedback of later groups
  Lanes *errors;        ///< of all columns; those of the group are written
  Lanes *values;        ///< z + 1/2 of the group
  float *zz, *tz;       ///< per block sums of z z^T and t z^T
  double loss;
};

template <int64_t D>
GLVQ_INLINE void encode(EncodeArgs &args) {
  constexpr int64_t N = D ? D : maxDim;
  const int64_t d = D ? D : args.dim;
  Lanes loss = {};
  for (int64_t block = args.numBlocks - 1; block >= 0; --block) {
    int64_t first = block * d;
    Lanes t[N], y[N], z[N];
    for (int64_t i = 0; i < d; ++i)
      t[i] = args.targets[first + i];
    accumulate<D>(t, args.panels[block], args.errors, args.begin + first + d,
                  args.begin + args.numBlocks * d, d);
    const BlockRounding &r = args.rounding[block];
    for (int64_t i = 0; i < d; ++i) {
      y[i] = r.projection[i * d] * t[0];
      for (int64_t j = 1; j < d; ++j)
        y[i] += r.projection[i * d + j] * t[j];
    }
    for (int64_t i = d - 1; i >= 0; --i) {
      Lanes rest = y[i];
      for (int64_t j = i + 1; j < d; ++j)
        rest -= r.upper[i * d + j] * z[j];
      Lanes center = rest * r.inverseDiagonal[i];
      for (int64_t lane = 0; lane < numLanes; ++lane) {
        float v = __builtin_floorf(center[lane]) + 0.5f;
        v = v < -args.limit ? -args.limit : v;
        z[i][lane] = v > args.limit ? args.limit : v;
      }
      Lanes miss = rest - r.upper[i * d + i] * z[i];
      loss += args.rowWeights * miss * miss;
    }
    for (int64_t i = 0; i < d; ++i) {
      Lanes q = args.generator[i * d] * z[0];
      for (int64_t j = 1; j < d; ++j)
        q += args.generator[i * d + j] * z[j];
      args.errors[args.begin + first + i] = args.weights[first + i] - q;
      args.values[first + i] = z[i];
    }
    float *zz = args.zz + first * d, *tz = args.tz + first * d;
    for (int64_t j = 0; j < d; ++j) {
      Lanes weighted = args.rowWeights * z[j];
      for (int64_t i = 0; i < d; ++i)
        tz[i * d + j] = sumLanes(t[i] * weighted);
      for (int64_t i = 0; i <= j; ++i)
        zz[i * d + j] = zz[j * d + i] = sumLanes(z[i] * weighted);
    }
  }
  args.loss = sumLanes(loss);
}

GLVQ_MULTIVERSION void encodePiece(EncodeArgs &args) {
  if (args.dim == 8)
    encode<8>(args);
  else
    encode<0>(args);
}

/// out[i * n + j] = sum over lanes of weights * a[i] * b[j], for j < n.
GLVQ_MULTIVERSION void outerProducts(const Lanes *a, int64_t m, const Lanes *b,
                                     int64_t n, const Lanes &weights,
                                     float *out) {
  for (int64_t i = 0; i < m; ++i) {
    Lanes weighted = weights * a[i];
    for (int64_t j = 0; j < n; ++j)
      out[i * n + j] = sumLanes(weighted * b[j]);
  }
}

//===----------------------------------------------------------------------===//
// The quantizer
//===----------------------------------------------------------------------===//

class Quantizer {
public:
  Quantizer(std::span<const float> weight, int64_t rows, int64_t columns,
            std::span<const float> hessian,
            const LatticeQuantizerOptions &options,
            const ParallelFor &parallelFor);

  LatticeQuantizerResult run();

private:
  void loadWeights(std::span<const float> weight);
  void factorHessian(std::span<const float> hessian);

  void makeRounding(int64_t group, std::span<const float> generator);
  void encodeGroup(int64_t group);
  void refitGenerator(int64_t group);
  void refitScales();
  double getProxyError();
  std::vector<int32_t> packCodes();

  int64_t getBegin(int64_t group) const { return group * options.group; }
  int64_t getEnd(int64_t group) const {
    return std::min(padded, (group + 1) * options.group);
  }
  std::span<float> getGenerator(int64_t group) {
    return std::span<float>(generators).subspan(group * dim * dim, dim * dim);
  }
  Lanes *getRow(std::vector<Lanes> &matrix, int64_t piece) {
    return &matrix[piece * padded];
  }
  void setHalf(std::span<float> generator, std::span<const float> value) {
    for (size_t i = 0; i < value.size(); ++i)
      generator[i] = roundToHalf(value[i]);
  }

  const LatticeQuantizerOptions &options;
  const ParallelFor &parallelFor;
  int64_t rows, columns, dim;
  int64_t padded; ///< columns, up to a multiple of dim
  int64_t numGroups, numPieces;
  std::vector<unsigned> widths; ///< per column group
  std::vector<int64_t> slots;   ///< the group of each slot
  std::vector<lattice::WidthRun> runs;

  std::vector<Lanes> weights, errors, values; ///< [pieces][padded]
  std::vector<Lanes> rowWeights, scales;      ///< [pieces]
  std::vector<float> generators;              ///< by column group
  std::vector<double> factor;                 ///< C of the damped H = C C^T
  std::vector<float> feedback, metric; ///< L and H as [block][padded][dim]
  std::vector<BlockRounding> rounding; ///< of the group at work
};

Quantizer::Quantizer(std::span<const float> weight, int64_t rows,
                     int64_t columns, std::span<const float> hessian,
                     const LatticeQuantizerOptions &options,
                     const ParallelFor &parallelFor)
    : options(options), parallelFor(parallelFor), rows(rows), columns(columns),
      dim(options.dim) {
  auto require = [](bool condition, const std::string &message) {
    if (!condition)
      throw std::invalid_argument(message);
  };
  checkMatrix(weight, rows, columns, hessian);
  require(dim >= 1 && dim <= maxDim, "dim must be 1 to 32");
  require(options.group >= dim && options.group % dim == 0,
          "group must be a multiple of dim");
  require(options.iterations >= 1, "iterations must be at least 1");

  padded = (columns + dim - 1) / dim * dim;
  numGroups = (columns + options.group - 1) / options.group;
  numPieces = (rows + numLanes - 1) / numLanes;
  widths = options.bits;
  if (widths.size() == 1)
    widths.assign(numGroups, widths.front());
  require(static_cast<int64_t>(widths.size()) == numGroups,
          "bits must give one width, or one for each of the " +
              std::to_string(numGroups) + " groups");
  for (unsigned width : widths)
    require(width >= 1 && width <= lattice::CodeLayout::maxWidth,
            "widths are 1 to 8 bits");

  chooseSlots(widths, columns % options.group != 0, slots, runs);
  loadWeights(weight);
  factorHessian(hessian);
  generators.resize(numGroups * dim * dim);
}

void Quantizer::loadWeights(std::span<const float> weight) {
  weights.assign(numPieces * padded, Lanes{});
  errors.assign(numPieces * padded, Lanes{});
  values.assign(numPieces * padded, Lanes{});
  scales.assign(numPieces, Lanes{});
  rowWeights.assign(numPieces, Lanes{});
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c)
      sum += static_cast<double>(weight[r * columns + c]) *
             weight[r * columns + c];
    double rms = std::sqrt(sum / columns);
    if (rms > 65504)
      throw std::invalid_argument("row " + std::to_string(r) +
                                  " of the weight is too large for float16");
    float scale = roundToHalf(static_cast<float>(rms));
    int64_t piece = r / numLanes, lane = r % numLanes;
    scales[piece][lane] = scale;
    rowWeights[piece][lane] = scale * scale;
    total += static_cast<double>(scale) * scale;
    if (scale > 0)
      for (int64_t c = 0; c < columns; ++c)
        weights[piece * padded + c][lane] = weight[r * columns + c] / scale;
  }
  // Only ratios matter; around 1 they are far from the limits of float.
  float mean = total > 0 ? static_cast<float>(total / rows) : 1;
  for (Lanes &w : rowWeights)
    w /= mean;
}

void Quantizer::factorHessian(std::span<const float> hessian) {
  DampedHessian damped(hessian, columns, padded, options.damping, parallelFor);
  const std::vector<double> &h = damped.matrix;
  factor = std::move(damped.factor);

  int64_t numBlocks = padded / dim;
  feedback.assign(padded * padded, 0.0f);
  metric.resize(padded * padded);
  parallelFor(numBlocks, [&](int64_t block) {
    int64_t first = block * dim;
    float *l = &feedback[block * padded * dim];
    float *m = &metric[block * padded * dim];
    for (int64_t k = 0; k < padded; ++k) {
      for (int64_t i = 0; i < dim; ++i)
        m[k * dim + i] = static_cast<float>(h[k * padded + first + i]);
      if (k < first + dim)
        continue;
      getBlockFeedback(factor, padded, k, first, dim, &l[k * dim]);
    }
  });
}

void Quantizer::makeRounding(int64_t group, std::span<const float> generator) {
  int64_t numBlocks = (getEnd(group) - getBegin(group)) / dim;
  rounding.resize(numBlocks);
  std::vector<double> q(dim * dim), r(dim * dim);
  for (int64_t block = 0; block < numBlocks; ++block) {
    int64_t first = getBegin(group) + block * dim;
    auto c = [&](int64_t i, int64_t j) {
      return j <= i ? factor[(first + i) * padded + first + j] : 0.0;
    };
    // The columns of A = C^T G, made orthonormal one after the other.
    std::fill(r.begin(), r.end(), 0.0);
    double largest = 0;
    for (int64_t j = 0; j < dim; ++j) {
      for (int64_t i = 0; i < dim; ++i) {
        double sum = 0;
        for (int64_t k = i; k < dim; ++k)
          sum += c(k, i) * generator[k * dim + j];
        q[i * dim + j] = sum;
      }
      for (int64_t p = 0; p < j; ++p) {
        double along = 0;
        for (int64_t i = 0; i < dim; ++i)
          along += q[i * dim + p] * q[i * dim + j];
        r[p * dim + j] = along;
        for (int64_t i = 0; i < dim; ++i)
          q[i * dim + j] -= along * q[i * dim + p];
      }
      double norm = 0;
      for (int64_t i = 0; i < dim; ++i)
        norm += q[i * dim + j] * q[i * dim + j];
      norm = std::sqrt(norm);
      largest = std::max(largest, norm);
      bool usable = norm > 1e-9 * largest;
      r[j * dim + j] = usable ? norm : 0;
      for (int64_t i = 0; i < dim; ++i)
        q[i * dim + j] = usable ? q[i * dim + j] / norm : 0;
    }
    BlockRounding &out = rounding[block];
    for (int64_t i = 0; i < dim; ++i) {
      for (int64_t j = 0; j < dim; ++j) {
        double sum = 0;
        for (int64_t k = 0; k <= j; ++k)
          sum += q[k * dim + i] * c(j, k);
        out.projection[i * dim + j] = static_cast<float>(sum);
        out.upper[i * dim + j] = static_cast<float>(r[i * dim + j]);
      }
      double diagonal = r[i * dim + i];
      out.inverseDiagonal[i] =
          diagonal > 0 ? static_cast<float>(1 / diagonal) : 0;
    }
  }
}

void Quantizer::encodeGroup(int64_t group) {
  int64_t begin = getBegin(group), end = getEnd(group), size = end - begin;
  int64_t numBlocks = size / dim, square = dim * dim;
  unsigned width = widths[group];

  // Targets: the weights and the feedback of the groups already encoded.
  std::vector<Lanes> targets(numPieces * size);
  std::vector<double> power(numPieces);
  parallelFor(numPieces, [&](int64_t piece) {
    double sum = 0;
    for (int64_t b = 0; b < numBlocks; ++b) {
      Lanes *t = &targets[piece * size + b * dim];
      for (int64_t i = 0; i < dim; ++i)
        t[i] = weights[piece * padded + begin + b * dim + i];
      accumulateBlock(t, &feedback[(begin / dim + b) * padded * dim],
                      getRow(errors, piece), end, padded, dim);
      for (int64_t i = 0; i < dim; ++i)
        sum += sumLanes(rowWeights[piece] * t[i] * t[i]);
    }
    power[piece] = sum;
  });
  double sum = 0, mass = 0;
  for (int64_t piece = 0; piece < numPieces; ++piece) {
    sum += power[piece];
    mass += sumLanes(rowWeights[piece]);
  }
  int64_t used = std::min(end, columns) - begin;
  double sigma = mass > 0 ? std::sqrt(sum / (mass * used)) : 1;

  // The rotated weights are close to Gaussian: start at the best uniform
  // quantizer for it.
  std::vector<float> generator(square, 0.0f), best, fitted(square);
  float step =
      roundToHalf(static_cast<float>(sigma * lattice::gaussianStep(width)));
  for (int64_t i = 0; i < dim; ++i)
    generator[i * dim + i] = step;

  std::vector<const float *> panels(numBlocks);
  for (int64_t b = 0; b < numBlocks; ++b)
    panels[b] = &feedback[(begin / dim + b) * padded * dim];
  std::vector<float> zz(numPieces * numBlocks * square), tz(zz.size());
  std::vector<double> losses(numPieces);
  std::vector<Lanes> bestErrors(numPieces * size), bestValues(bestErrors);
  double bestLoss = std::numeric_limits<double>::infinity();
  for (unsigned iteration = 0; iteration < options.iterations; ++iteration) {
    makeRounding(group, generator);
    parallelFor(numPieces, [&](int64_t piece) {
      EncodeArgs args;
      args.dim = dim;
      args.numBlocks = numBlocks;
      args.begin = begin;
      args.panels = panels.data();
      args.rounding = rounding.data();
      args.generator = generator.data();
      args.limit = static_cast<float>(1 << width) / 2 - 0.5f;
      args.rowWeights = rowWeights[piece];
      args.weights = getRow(weights, piece) + begin;
      args.targets = &targets[piece * size];
      args.errors = getRow(errors, piece);
      args.values = getRow(values, piece) + begin;
      args.zz = &zz[piece * numBlocks * square];
      args.tz = &tz[piece * numBlocks * square];
      encodePiece(args);
      losses[piece] = args.loss;
    });
    double loss = std::accumulate(losses.begin(), losses.end(), 0.0);
    if (loss < bestLoss) {
      bestLoss = loss;
      best = generator;
      for (int64_t piece = 0; piece < numPieces; ++piece) {
        std::copy_n(getRow(errors, piece) + begin, size,
                    &bestErrors[piece * size]);
        std::copy_n(getRow(values, piece) + begin, size,
                    &bestValues[piece * size]);
      }
    }
    if (iteration + 1 == options.iterations)
      break;

    lattice::GeneratorFit fit(dim);
    std::vector<double> d(square), s(square), v(square);
    for (int64_t b = 0; b < numBlocks; ++b) {
      int64_t first = begin + b * dim;
      for (int64_t i = 0; i < dim; ++i)
        for (int64_t j = 0; j < dim; ++j) {
          double value = 0;
          for (int64_t k = 0; k <= std::min(i, j); ++k)
            value += factor[(first + i) * padded + first + k] *
                     factor[(first + j) * padded + first + k];
          d[i * dim + j] = value;
        }
      std::fill(s.begin(), s.end(), 0.0);
      std::fill(v.begin(), v.end(), 0.0);
      std::vector<double> t(square, 0.0);
      for (int64_t piece = 0; piece < numPieces; ++piece)
        for (int64_t i = 0; i < square; ++i) {
          s[i] += zz[(piece * numBlocks + b) * square + i];
          t[i] += tz[(piece * numBlocks + b) * square + i];
        }
      for (int64_t i = 0; i < dim; ++i)
        for (int64_t k = 0; k < dim; ++k)
          for (int64_t j = 0; j < dim; ++j)
            v[i * dim + j] += d[i * dim + k] * t[k * dim + j];
      fit.addQuadratic(d, s);
      fit.addLinear(v);
    }
    if (!fit.solve(fitted))
      break;
    setHalf(generator, fitted);
  }
  if (best.empty())
    best = generator; // Only when the loss is NaN, which finite input excludes.
  else
    for (int64_t piece = 0; piece < numPieces; ++piece) {
      std::copy_n(&bestErrors[piece * size], size,
                  getRow(errors, piece) + begin);
      std::copy_n(&bestValues[piece * size], size,
                  getRow(values, piece) + begin);
    }
  std::copy(best.begin(), best.end(), getGenerator(group).begin());
}

void Quantizer::refitGenerator(int64_t group) {
  int64_t begin = getBegin(group), end = getEnd(group), size = end - begin;
  int64_t numBlocks = size / dim, square = dim * dim;
  std::vector<float> zz(numPieces * size * size);
  std::vector<float> rz(numPieces * numBlocks * square);
  // The gradient with this group's point taken out: H e over the other columns
  // and H w over the group's.
  parallelFor(numPieces, [&](int64_t piece) {
    Lanes gradient[maxDim];
    for (int64_t b = 0; b < numBlocks; ++b) {
      const float *panel = &metric[(begin / dim + b) * padded * dim];
      std::fill_n(gradient, dim, Lanes{});
      accumulateBlock(gradient, panel, getRow(errors, piece), 0, begin, dim);
      accumulateBlock(gradient, panel, getRow(weights, piece), begin, end, dim);
      accumulateBlock(gradient, panel, getRow(errors, piece), end, padded, dim);
      outerProducts(gradient, dim, getRow(values, piece) + begin + b * dim, dim,
                    rowWeights[piece], &rz[(piece * numBlocks + b) * square]);
    }
    const Lanes *z = getRow(values, piece) + begin;
    outerProducts(z, size, z, size, rowWeights[piece],
                  &zz[piece * size * size]);
  });
  std::vector<double> s(size * size, 0.0);
  for (int64_t piece = 0; piece < numPieces; ++piece)
    for (int64_t i = 0; i < size * size; ++i)
      s[i] += zz[piece * size * size + i];

  lattice::GeneratorFit fit(dim);
  std::vector<double> h(square), block(square);
  for (int64_t a = 0; a < numBlocks; ++a) {
    std::fill(block.begin(), block.end(), 0.0);
    for (int64_t piece = 0; piece < numPieces; ++piece)
      for (int64_t i = 0; i < square; ++i)
        block[i] += rz[(piece * numBlocks + a) * square + i];
    fit.addLinear(block);
    for (int64_t b = 0; b < numBlocks; ++b) {
      const float *panel = &metric[(begin / dim + b) * padded * dim];
      for (int64_t i = 0; i < dim; ++i)
        for (int64_t j = 0; j < dim; ++j) {
          h[i * dim + j] = panel[(begin + a * dim + i) * dim + j];
          block[i * dim + j] = s[(a * dim + i) * size + b * dim + j];
        }
      fit.addQuadratic(h, block);
    }
  }
  std::vector<float> fitted(square);
  if (!fit.solve(fitted))
    return;
  std::span<float> generator = getGenerator(group);
  setHalf(generator, fitted);
  parallelFor(numPieces, [&](int64_t piece) {
    for (int64_t c = begin; c < end; c += dim) {
      const Lanes *z = getRow(values, piece) + c;
      for (int64_t i = 0; i < dim; ++i) {
        Lanes q = {};
        for (int64_t j = 0; j < dim; ++j)
          q += generator[i * dim + j] * z[j];
        getRow(errors, piece)[c + i] = getRow(weights, piece)[c + i] - q;
      }
    }
  });
}

void Quantizer::refitScales() {
  parallelFor(numPieces, [&](int64_t piece) {
    Lanes *w = getRow(weights, piece), *e = getRow(errors, piece);
    std::vector<Lanes> q(padded);
    for (int64_t c = 0; c < padded; ++c)
      q[c] = w[c] - e[c];
    Lanes wq = {}, qq = {}, product[maxDim];
    for (int64_t c = 0; c < padded; c += dim) {
      std::fill_n(product, dim, Lanes{});
      accumulateBlock(product, &metric[c * padded], q.data(), 0, padded, dim);
      for (int64_t i = 0; i < dim; ++i) {
        wq += w[c + i] * product[i];
        qq += q[c + i] * product[i];
      }
    }
    Lanes ratio;
    learning::refitScales(scales[piece], wq, qq, ratio);
    rowWeights[piece] /= ratio * ratio;
    for (int64_t c = 0; c < padded; ++c) {
      w[c] *= ratio;
      e[c] = w[c] - q[c];
    }
  });
}

double Quantizer::getProxyError() {
  std::vector<double> lost(numPieces), all(numPieces);
  parallelFor(numPieces, [&](int64_t piece) {
    auto form = [&](const Lanes *x) {
      Lanes sum = {}, product[maxDim];
      for (int64_t c = 0; c < padded; c += dim) {
        std::fill_n(product, dim, Lanes{});
        accumulateBlock(product, &metric[c * padded], x, 0, padded, dim);
        for (int64_t i = 0; i < dim; ++i)
          sum += x[c + i] * product[i];
      }
      return static_cast<double>(sumLanes(sum * rowWeights[piece]));
    };
    lost[piece] = form(getRow(errors, piece));
    all[piece] = form(getRow(weights, piece));
  });
  double sum = std::accumulate(all.begin(), all.end(), 0.0);
  return sum > 0 ? std::accumulate(lost.begin(), lost.end(), 0.0) / sum : 0;
}

std::vector<int32_t> Quantizer::packCodes() {
  auto layout = *lattice::CodeLayout::create(columns, dim, options.group, runs);
  std::vector<int32_t> codes(rows * layout.getNumWords());
  parallelFor(numPieces, [&](int64_t piece) {
    std::vector<uint8_t> fields(layout.getNumFields());
    for (int64_t lane = 0; lane < numLanes; ++lane) {
      int64_t row = piece * numLanes + lane;
      if (row >= rows)
        break;
      for (size_t slot = 0; slot < slots.size(); ++slot) {
        int64_t group = slots[slot], begin = getBegin(group);
        float half = static_cast<float>(1 << widths[group]) / 2;
        for (int64_t i = 0, e = getEnd(group) - begin; i < e; ++i)
          fields[layout.getFieldOffset(slot) + i] = static_cast<uint8_t>(
              values[piece * padded + begin + i][lane] - 0.5f + half);
      }
      layout.pack(fields,
                  std::span<int32_t>(codes).subspan(row * layout.getNumWords(),
                                                    layout.getNumWords()));
    }
  });
  return codes;
}

LatticeQuantizerResult Quantizer::run() {
  for (int64_t group = numGroups - 1; group >= 0; --group)
    encodeGroup(group);
  for (unsigned round = 0; round < options.finalRounds; ++round) {
    for (int64_t group = 0; group < numGroups; ++group)
      refitGenerator(group);
    refitScales();
  }

  LatticeQuantizerResult result;
  result.proxyError = getProxyError();
  result.runs = runs;
  result.codes = packCodes();
  for (int64_t group : slots) {
    std::span<const float> generator = getGenerator(group);
    result.generators.insert(result.generators.end(), generator.begin(),
                             generator.end());
    if (runs.size() > 1)
      result.order.push_back(static_cast<int32_t>(group));
  }
  for (int64_t row = 0; row < rows; ++row)
    result.scales.push_back(scales[row / numLanes][row % numLanes]);
  return result;
}

} // namespace

LatticeQuantizerResult
glvq::learning::quantizeLattice(std::span<const float> weight, int64_t rows,
                                int64_t columns, std::span<const float> hessian,
                                const LatticeQuantizerOptions &options,
                                const ParallelFor &parallelFor) {
  return Quantizer(weight, rows, columns, hessian, options, parallelFor).run();
}
