//===- PointQuantizer.cpp - Codes with fixed points for one matrix --------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Matrices are kept as MatrixKernels.h describes, in units of the scales of
// their rows.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/PointQuantizer.h"
#include "MatrixKernels.h"
#include "glvq/Lattice/E8.h"
#include "glvq/Lattice/Lattice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

using namespace glvq;
using namespace glvq::learning;

static void serialFor(int64_t count, const std::function<void(int64_t)> &body) {
  for (int64_t i = 0; i < count; ++i)
    body(i);
}

PointCode
glvq::learning::makeLeechPointCode(const lattice::GaussianLeechCode &code) {
  PointCode result;
  result.dim = lattice::leechDim;
  result.fieldBits = code.code.getFieldBits();
  result.unit = code.unit;
  result.encode = [leech = code.code](std::span<const float> x,
                                      std::span<uint64_t> fields,
                                      std::span<float> decoded) {
    lattice::encodeLeech(leech, x, fields, decoded, serialFor);
  };
  return result;
}

PointCode glvq::learning::makeE8PPointCode() {
  PointCode result;
  result.dim = lattice::e8Dim;
  result.fieldBits = {16};
  // The least error on N(0, 1), 0.0914, is at this unit.
  result.unit = 0.9667f;
  result.encode = [](std::span<const float> x, std::span<uint64_t> fields,
                     std::span<float> decoded) {
    std::vector<uint16_t> codes(fields.size());
    lattice::encodeE8P(x, codes, decoded, serialFor);
    std::copy(codes.begin(), codes.end(), fields.begin());
  };
  return result;
}

namespace {

class Quantizer {
public:
  Quantizer(const PointCode &code, std::span<const float> weight, int64_t rows,
            int64_t columns, std::span<const float> hessian,
            const PointQuantizerOptions &options,
            const ParallelFor &parallelFor);

  PointQuantizerResult run();

private:
  void loadWeights(std::span<const float> weight);
  void factorHessian(std::span<const float> hessian);
  void refine(const float *m, std::span<const float> x,
              std::span<uint64_t> fields, std::span<float> best);
  void encodeGroup(int64_t group);
  void multiplyMetric(const Lanes *x, int64_t begin, int64_t end,
                      Lanes *product);
  void refitGroupScales();
  void refitRowScales();
  double getProxyError();
  std::vector<int32_t> packCodes();

  int64_t getBegin(int64_t group) const { return group * options.group; }
  int64_t getEnd(int64_t group) const {
    return std::min(padded, (group + 1) * options.group);
  }
  Lanes *getRow(std::vector<Lanes> &matrix, int64_t piece) {
    return &matrix[piece * padded];
  }

  const PointCode &code;
  const PointQuantizerOptions &options;
  const ParallelFor &parallelFor;
  int64_t rows, columns, dim;
  int64_t padded; ///< columns, up to a multiple of dim
  int64_t numGroups, numPieces, numPoints, numFields;

  /// [pieces][padded]: weights, W - W^, and points without scales.
  std::vector<Lanes> weights, errors, values;
  std::vector<Lanes> rowWeights, scales; ///< [pieces]
  std::vector<float> groupScales;        ///< [groups]
  std::vector<uint64_t> fields;          ///< [rows][points][fields]
  std::vector<float> feedback, metric;   ///< L and H as [block][padded][dim]
  /// D over its mean eigenvalue, [block][dim][dim].
  std::vector<float> blockMetric;
};

Quantizer::Quantizer(const PointCode &code, std::span<const float> weight,
                     int64_t rows, int64_t columns,
                     std::span<const float> hessian,
                     const PointQuantizerOptions &options,
                     const ParallelFor &parallelFor)
    : code(code), options(options), parallelFor(parallelFor), rows(rows),
      columns(columns), dim(code.dim) {
  auto require = [](bool condition, const std::string &message) {
    if (!condition)
      throw std::invalid_argument(message);
  };
  checkMatrix(weight, rows, columns, hessian);
  require(options.group >= dim && options.group % dim == 0,
          "group must be a multiple of " + std::to_string(dim));

  numPoints = (columns + dim - 1) / dim;
  padded = numPoints * dim;
  numGroups = (columns + options.group - 1) / options.group;
  numPieces = (rows + numLanes - 1) / numLanes;
  numFields = code.fieldBits.size();
  loadWeights(weight);
  factorHessian(hessian);
  groupScales.resize(numGroups);
  fields.resize(rows * numPoints * numFields);
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
  DampedHessian h(hessian, columns, padded, options.damping, parallelFor);
  feedback.assign(padded * padded, 0.0f);
  metric.resize(padded * padded);
  blockMetric.resize(padded * dim);
  parallelFor(numPoints, [&](int64_t block) {
    int64_t first = block * dim;
    float *l = &feedback[block * padded * dim];
    float *m = &metric[block * padded * dim];
    for (int64_t k = 0; k < padded; ++k) {
      for (int64_t i = 0; i < dim; ++i)
        m[k * dim + i] = static_cast<float>(h.matrix[k * padded + first + i]);
      if (k < first + dim)
        continue;
      getBlockFeedback(h.factor, padded, k, first, dim, &l[k * dim]);
    }

    // D_b = C_bb C_bb^T.
    std::vector<double> d(dim * dim, 0.0);
    double trace = 0;
    for (int64_t i = 0; i < dim; ++i)
      for (int64_t j = 0; j < dim; ++j) {
        for (int64_t k = 0; k <= std::min(i, j); ++k)
          d[i * dim + j] += h.factor[(first + i) * padded + first + k] *
                            h.factor[(first + j) * padded + first + k];
        trace += i == j ? d[i * dim + j] : 0;
      }
    for (int64_t i = 0; i < dim * dim; ++i)
      blockMetric[block * dim * dim + i] =
          static_cast<float>(d[i] * dim / trace);
  });
}

/// Lowers (x - v)^T M (x - v) for the point v of a code, by the points nearest
/// to x' = v + step M (x - v). With a step below the inverse of the largest
/// eigenvalue |x' - v|^2 majorises the loss; the mean one is 1, and longer
/// steps often succeed. Keeps in `best` and `fields` what is best.
void Quantizer::refine(const float *m, std::span<const float> x,
                       std::span<uint64_t> fields, std::span<float> best) {
  std::vector<float> gradient(dim), moved(dim), point(best.begin(), best.end());
  std::vector<uint64_t> found(numFields);
  auto evaluate = [&](std::vector<float> &product) {
    float loss = 0;
    for (int64_t i = 0; i < dim; ++i) {
      float sum = 0;
      for (int64_t j = 0; j < dim; ++j)
        sum += m[i * dim + j] * (x[j] - point[j]);
      product[i] = sum;
      loss += sum * (x[i] - point[i]);
    }
    return loss;
  };
  float least = evaluate(gradient), step = 1;
  std::vector<float> next(dim);
  for (unsigned i = 0; i < options.refinements; ++i) {
    for (int64_t j = 0; j < dim; ++j)
      moved[j] = best[j] + step * gradient[j];
    code.encode(moved, found, point);
    if (std::equal(found.begin(), found.end(), fields.begin()))
      return; // Shorter steps lead nowhere else.
    float loss = evaluate(next);
    if (!(loss < least)) {
      step /= 2;
      continue;
    }
    least = loss;
    std::swap(gradient, next);
    std::copy(found.begin(), found.end(), fields.begin());
    std::copy(point.begin(), point.end(), best.begin());
  }
}

void Quantizer::encodeGroup(int64_t group) {
  int64_t begin = getBegin(group), end = getEnd(group);
  int64_t firstBlock = begin / dim, lastBlock = end / dim;
  auto getTarget = [&](int64_t piece, int64_t block, int64_t from, Lanes *t) {
    std::copy_n(getRow(weights, piece) + block * dim, dim, t);
    accumulateBlock(t, &feedback[block * padded * dim], getRow(errors, piece),
                    from, padded, dim);
  };
  // The power of the targets, but for the feedback within the group.
  std::vector<double> power(numPieces), mass(numPieces);
  parallelFor(numPieces, [&](int64_t piece) {
    Lanes t[maxBlock], sum = {};
    for (int64_t b = firstBlock; b < lastBlock; ++b) {
      getTarget(piece, b, end, t);
      for (int64_t i = 0; i < dim; ++i)
        sum += t[i] * t[i];
    }
    power[piece] = sumLanes(rowWeights[piece] * sum);
    mass[piece] = sumLanes(rowWeights[piece]);
  });
  double sum = std::accumulate(power.begin(), power.end(), 0.0);
  double all = std::accumulate(mass.begin(), mass.end(), 0.0);
  double used = static_cast<double>(std::min(end, columns) - begin);
  double sigma = all > 0 ? std::sqrt(sum / (all * used)) : 0;
  float scale = roundToHalf(static_cast<float>(code.unit * sigma));
  if (!(scale > 0) || !std::isfinite(scale))
    scale = roundToHalf(code.unit);
  groupScales[group] = scale;

  parallelFor(numPieces, [&](int64_t piece) {
    std::vector<float> x(numLanes * dim), decoded(numLanes * dim);
    std::vector<uint64_t> found(numLanes * numFields);
    Lanes t[maxBlock];
    Lanes *e = getRow(errors, piece), *w = getRow(weights, piece),
          *y = getRow(values, piece);
    int64_t firstRow = piece * numLanes;
    int64_t used = std::min(numLanes, rows - firstRow);
    for (int64_t b = lastBlock - 1; b >= firstBlock; --b) {
      getTarget(piece, b, (b + 1) * dim, t);
      for (int64_t i = 0; i < dim; ++i)
        for (int64_t lane = 0; lane < used; ++lane)
          x[lane * dim + i] = t[i][lane] / scale;
      code.encode(std::span(x).first(used * dim),
                  std::span(found).first(used * numFields),
                  std::span(decoded).first(used * dim));
      for (int64_t lane = 0; lane < used; ++lane)
        refine(&blockMetric[b * dim * dim],
               std::span(x).subspan(lane * dim, dim),
               std::span(found).subspan(lane * numFields, numFields),
               std::span(decoded).subspan(lane * dim, dim));
      for (int64_t lane = 0; lane < used; ++lane)
        std::copy_n(&found[lane * numFields], numFields,
                    &fields[((firstRow + lane) * numPoints + b) * numFields]);
      for (int64_t i = 0; i < dim; ++i) {
        Lanes value = {};
        for (int64_t lane = 0; lane < used; ++lane)
          value[lane] = decoded[lane * dim + i];
        y[b * dim + i] = value;
        e[b * dim + i] = w[b * dim + i] - scale * value;
      }
    }
  });
}

/// product = H x, of which only begin … end - 1 are not zero.
void Quantizer::multiplyMetric(const Lanes *x, int64_t begin, int64_t end,
                               Lanes *product) {
  std::fill_n(product, padded, Lanes{});
  for (int64_t b = 0; b < numPoints; ++b)
    accumulateBlock(product + b * dim, &metric[b * padded * dim], x, begin, end,
                    dim);
}

/// The scales of all groups that minimise the true loss, with the codes and
/// the scales of rows as they are.
void Quantizer::refitGroupScales() {
  int64_t n = numGroups;
  std::vector<double> normals(numPieces * n * n), sums(numPieces * n);
  parallelFor(numPieces, [&](int64_t piece) {
    const Lanes *w = getRow(weights, piece), *y = getRow(values, piece);
    std::vector<Lanes> product(padded);
    auto gather = [&](const Lanes *x, int64_t g) {
      Lanes sum = {};
      for (int64_t c = getBegin(g); c < getEnd(g); ++c)
        sum += x[c] * product[c];
      return static_cast<double>(sumLanes(rowWeights[piece] * sum));
    };
    for (int64_t h = 0; h < n; ++h) {
      multiplyMetric(y, getBegin(h), getEnd(h), product.data());
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
    rhs[i] += 1e-6 * trace / n * groupScales[i];
  }
  if (!(trace > 0) || !lattice::solveSymmetric(normal, rhs, n))
    return;
  for (int64_t g = 0; g < n; ++g) {
    float scale = roundToHalf(static_cast<float>(rhs[g]));
    if (std::isfinite(scale) && scale > 0)
      groupScales[g] = scale;
  }
}

/// The scale of each row that minimises the true loss.
void Quantizer::refitRowScales() {
  parallelFor(numPieces, [&](int64_t piece) {
    Lanes *w = getRow(weights, piece), *e = getRow(errors, piece);
    const Lanes *y = getRow(values, piece);
    std::vector<Lanes> q(padded), product(padded);
    for (int64_t g = 0; g < numGroups; ++g)
      for (int64_t c = getBegin(g); c < getEnd(g); ++c)
        q[c] = groupScales[g] * y[c];
    multiplyMetric(q.data(), 0, padded, product.data());
    Lanes wq = {}, qq = {};
    for (int64_t c = 0; c < padded; ++c) {
      wq += w[c] * product[c];
      qq += q[c] * product[c];
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
    std::vector<Lanes> product(padded);
    auto form = [&](const Lanes *x) {
      multiplyMetric(x, 0, padded, product.data());
      Lanes sum = {};
      for (int64_t c = 0; c < padded; ++c)
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
  auto layout = *lattice::PointLayout::create(columns, dim, options.group,
                                              code.fieldBits);
  int64_t words = layout.getNumWords(), perRow = numPoints * numFields;
  std::vector<int32_t> codes(rows * words);
  parallelFor(numPieces, [&](int64_t piece) {
    for (int64_t r = piece * numLanes,
                 e = std::min(rows, (piece + 1) * numLanes);
         r < e; ++r)
      layout.pack(std::span(fields).subspan(r * perRow, perRow),
                  std::span(codes).subspan(r * words, words));
  });
  return codes;
}

PointQuantizerResult Quantizer::run() {
  for (int64_t group = numGroups - 1; group >= 0; --group)
    encodeGroup(group);
  for (unsigned round = 0; round < options.finalRounds; ++round) {
    refitGroupScales();
    refitRowScales();
  }
  PointQuantizerResult result;
  result.proxyError = getProxyError();
  result.codes = packCodes();
  result.groupScales = groupScales;
  for (int64_t row = 0; row < rows; ++row)
    result.scales.push_back(scales[row / numLanes][row % numLanes]);
  return result;
}

} // namespace

PointQuantizerResult glvq::learning::quantizePoints(
    const PointCode &code, std::span<const float> weight, int64_t rows,
    int64_t columns, std::span<const float> hessian,
    const PointQuantizerOptions &options, const ParallelFor &parallelFor) {
  return Quantizer(code, weight, rows, columns, hessian, options, parallelFor)
      .run();
}
