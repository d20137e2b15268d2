//===- Ops.cpp - torch.ops.glvq -------------------------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The quantizers and their inverses as torch operators. Only this file sees
// torch; it includes as little of it as possible (torch/torch.h takes a
// minute).
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/BinaryEncoder.h"
#include "glvq/Lattice/BinaryLayout.h"
#include "glvq/Lattice/E8.h"
#include "glvq/Lattice/Hadamard.h"
#include "glvq/Lattice/Lattice.h"
#include "glvq/Lattice/Leech.h"
#include "glvq/Lattice/TrellisEncoder.h"
#include "glvq/Lattice/TrellisLayout.h"
#include "glvq/Learning/BinaryQuantizer.h"
#include "glvq/Learning/LatticeQuantizer.h"
#include "glvq/Learning/PointQuantizer.h"
#include "glvq/Learning/TrellisQuantizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

using namespace glvq;

namespace {

void parallelFor(int64_t count, const std::function<void(int64_t)> &body) {
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      body(i);
  });
}

template <typename T>
std::span<const T> view(const at::Tensor &tensor) {
  return {tensor.const_data_ptr<T>(), static_cast<size_t>(tensor.numel())};
}

at::Tensor toFloat(const at::Tensor &tensor) {
  return tensor.detach().to(at::kCPU, at::kFloat).contiguous();
}

at::Tensor toInt(const at::Tensor &tensor, const char *name) {
  TORCH_CHECK(tensor.scalar_type() == at::kInt, name, " must be int32");
  return tensor.detach().to(at::kCPU).contiguous();
}

/// Applies the rotation along the last dimension of a contiguous tensor, in
/// place.
void rotateRows(at::Tensor &x, const at::Tensor &signs, bool inverse) {
  int64_t size = x.size(-1);
  at::Tensor words = toInt(signs, "signs");
  TORCH_CHECK(words.dim() == 1 && words.numel() == (size + 31) / 32,
              "signs must have ", (size + 31) / 32, " words for ", size,
              " elements, not ", words.sizes());
  lattice::HadamardTransform transform(size);
  float *data = x.data_ptr<float>();
  std::span<const int32_t> packed = view<int32_t>(words);
  at::parallel_for(0, x.numel() / size, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::span<float> row(data + r * size, size);
      if (inverse)
        transform.applyInverse(row, packed);
      else
        transform.applyForward(row, packed);
    }
  });
}

/// x -> T x along `dimension` (or T^-1 x).
at::Tensor hadamard(const at::Tensor &x, const at::Tensor &signs,
                    int64_t dimension, bool inverse) {
  TORCH_CHECK(x.dim() > 0, "hadamard needs a tensor of at least one dimension");
  if (x.numel() == 0)
    return toFloat(x).clone();
  at::Tensor moved = toFloat(x).movedim(dimension, -1).contiguous().clone();
  rotateRows(moved, signs, inverse);
  return moved.movedim(-1, dimension).contiguous();
}

at::Tensor makeSigns(int64_t size, int64_t seed) {
  TORCH_CHECK(size > 0, "signs of ", size, " elements");
  std::vector<int32_t> words =
      lattice::makeSigns(size, static_cast<uint64_t>(seed));
  return at::tensor(at::ArrayRef<int32_t>(words), at::kInt);
}

std::vector<lattice::WidthRun> makeRuns(at::IntArrayRef flat,
                                        int64_t largest = 8) {
  TORCH_CHECK(flat.size() % 2 == 0, "runs are pairs (width, slots)");
  std::vector<lattice::WidthRun> runs;
  for (size_t i = 0; i < flat.size(); i += 2) {
    TORCH_CHECK(flat[i] >= 1 && flat[i] <= largest, "widths are 1 to ", largest,
                " bits, not ", flat[i]);
    runs.push_back({static_cast<unsigned>(flat[i]), flat[i + 1]});
  }
  return runs;
}

lattice::CodeLayout makeLayout(int64_t columns, int64_t dim, int64_t group,
                               at::IntArrayRef runs) {
  std::string error;
  auto layout =
      lattice::CodeLayout::create(columns, dim, group, makeRuns(runs), &error);
  TORCH_CHECK(layout, "lattice code: ", error);
  return *layout;
}

lattice::TrellisLayout makeTrellisLayout(int64_t rows, int64_t columns,
                                         int64_t taps, int64_t group,
                                         at::IntArrayRef runs) {
  TORCH_CHECK(taps >= 1 && taps <= lattice::TrellisLayout::maxTaps,
              "a trellis has 1 to 32 taps, not ", taps);
  std::string error;
  auto layout =
      lattice::TrellisLayout::create(rows, columns, static_cast<unsigned>(taps),
                                     group, makeRuns(runs), &error);
  TORCH_CHECK(layout, "trellis code: ", error);
  return *layout;
}

/// The widths of the runs are bits of a point.
lattice::BinaryLayout makeBinaryLayout(int64_t columns, int64_t dim,
                                       int64_t group, at::IntArrayRef runs) {
  TORCH_CHECK(dim >= 1, "a point has at least one column, not ", dim);
  std::string error;
  auto layout = lattice::BinaryLayout::create(
      columns, dim, group,
      makeRuns(runs, dim * lattice::BinaryLayout::maxWidth), &error);
  TORCH_CHECK(layout, "binary code: ", error);
  return *layout;
}

/// The order of the slots, checked; undefined if there is none.
at::Tensor makeOrder(const std::optional<at::Tensor> &order, int64_t slots,
                     int64_t columns, int64_t group) {
  if (!order || !order->numel())
    return {};
  at::Tensor result = toInt(*order, "order");
  TORCH_CHECK(result.sizes() == at::IntArrayRef({slots}), "order must be [",
              slots, "], not ", order->sizes());
  std::vector<bool> seen(slots);
  for (int32_t slot : view<int32_t>(result)) {
    TORCH_CHECK(slot >= 0 && slot < slots && !seen[slot],
                "order is not a permutation");
    seen[slot] = true;
  }
  TORCH_CHECK(columns % group == 0 || view<int32_t>(result).back() == slots - 1,
              "a ragged last group must have the last slot");
  return result;
}

std::span<const int32_t> viewOrder(const at::Tensor &order) {
  return order.defined() ? view<int32_t>(order) : std::span<const int32_t>();
}

/// A part as floats, of the shape it must have.
at::Tensor makePart(const at::Tensor &part, const char *name,
                    at::IntArrayRef shape) {
  TORCH_CHECK(part.sizes() == shape, name, " must be ", shape, ", not ",
              part.sizes());
  return toFloat(part);
}

/// W = D_out H_out W~ H_in D_in.
at::Tensor rotateBack(at::Tensor out, const std::optional<at::Tensor> &signsIn,
                      const std::optional<at::Tensor> &signsOut) {
  if (signsIn)
    rotateRows(out, *signsIn, /*inverse=*/true);
  if (signsOut) {
    out = out.t().contiguous();
    rotateRows(out, *signsOut, /*inverse=*/true);
    out = out.t().contiguous();
  }
  return out;
}

/// A weight and the Hessian of its inputs in the basis that is quantized:
/// W~ = T_out W T_in^T and H~ = T_in H T_in^T.
struct Rotated {
  Rotated(const at::Tensor &weight, const std::optional<at::Tensor> &hessian,
          const std::optional<at::Tensor> &signsIn,
          const std::optional<at::Tensor> &signsOut) {
    TORCH_CHECK(weight.dim() == 2, "the weight must be a matrix");
    rows = weight.size(0);
    columns = weight.size(1);
    TORCH_CHECK(rows > 0 && columns > 0, "the weight is empty");
    w = toFloat(weight).clone();
    if (hessian) {
      TORCH_CHECK(hessian->dim() == 2 && hessian->size(0) == columns &&
                      hessian->size(1) == columns,
                  "the Hessian must be ", columns, " x ", columns, ", not ",
                  hessian->sizes());
      h = toFloat(*hessian).clone();
    }
    if (signsIn) {
      // W T^T has the rows T w.
      rotateRows(w, *signsIn, /*inverse=*/false);
      if (h.defined()) {
        rotateRows(h, *signsIn, /*inverse=*/false);
        h = h.t().contiguous();
        rotateRows(h, *signsIn, /*inverse=*/false);
      }
    }
    if (signsOut) {
      w = w.t().contiguous();
      rotateRows(w, *signsOut, /*inverse=*/false);
      w = w.t().contiguous();
    }
  }

  std::span<const float> getWeight() const { return view<float>(w); }
  /// Empty for the identity.
  std::span<const float> getHessian() const {
    return h.defined() ? view<float>(h) : std::span<const float>();
  }

  int64_t rows, columns;
  at::Tensor w, h;
};

template <typename T>
at::Tensor makeTensor(const std::vector<T> &data, at::ScalarType type) {
  return at::tensor(at::ArrayRef<T>(data)).to(type);
}

std::vector<int64_t> flattenRuns(const std::vector<lattice::WidthRun> &runs) {
  std::vector<int64_t> flat;
  for (const lattice::WidthRun &run : runs) {
    flat.push_back(run.width);
    flat.push_back(run.slots);
  }
  return flat;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, std::vector<int64_t>,
           double>
quantizeLattice(const at::Tensor &weight,
                const std::optional<at::Tensor> &hessian,
                const std::optional<at::Tensor> &signsIn,
                const std::optional<at::Tensor> &signsOut, at::IntArrayRef bits,
                int64_t dim, int64_t group, int64_t iterations,
                int64_t finalRounds, double damping) {
  Rotated input(weight, hessian, signsIn, signsOut);
  learning::LatticeQuantizerOptions options;
  options.dim = dim;
  options.group = group;
  options.bits.assign(bits.begin(), bits.end());
  TORCH_CHECK(iterations >= 1 && finalRounds >= 0, "negative iterations");
  options.iterations = static_cast<unsigned>(iterations);
  options.finalRounds = static_cast<unsigned>(finalRounds);
  options.damping = damping;
  learning::LatticeQuantizerResult result;
  try {
    result =
        learning::quantizeLattice(input.getWeight(), input.rows, input.columns,
                                  input.getHessian(), options, parallelFor);
  } catch (const std::invalid_argument &error) {
    TORCH_CHECK(false, "quantize_lattice: ", error.what());
  }
  int64_t slots = result.generators.size() / (dim * dim);
  return {makeTensor(result.codes, at::kInt).view({input.rows, -1}),
          makeTensor(result.generators, at::kHalf).view({slots, dim, dim}),
          makeTensor(result.scales, at::kHalf),
          makeTensor(result.order, at::kInt),
          flattenRuns(result.runs),
          result.proxyError};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor,
           std::vector<int64_t>, double>
quantizeTrellis(const at::Tensor &weight,
                const std::optional<at::Tensor> &hessian,
                const std::optional<at::Tensor> &signsIn,
                const std::optional<at::Tensor> &signsOut, at::IntArrayRef bits,
                int64_t taps, int64_t group, bool additive, int64_t iterations,
                int64_t finalRounds, double damping, bool parallel) {
  Rotated input(weight, hessian, signsIn, signsOut);
  learning::TrellisQuantizerOptions options;
  TORCH_CHECK(taps >= 0 && iterations >= 1 && finalRounds >= 0,
              "negative taps or iterations");
  options.taps = static_cast<unsigned>(taps);
  options.additive = additive;
  options.group = group;
  options.bits.assign(bits.begin(), bits.end());
  options.iterations = static_cast<unsigned>(iterations);
  options.finalRounds = static_cast<unsigned>(finalRounds);
  options.damping = damping;
  auto serialFor = [](int64_t count, const std::function<void(int64_t)> &body) {
    for (int64_t i = 0; i < count; ++i)
      body(i);
  };
  learning::TrellisQuantizerResult result;
  try {
    result =
        learning::quantizeTrellis(input.getWeight(), input.rows, input.columns,
                                  input.getHessian(), options,
                                  parallel ? learning::ParallelFor(parallelFor)
                                           : learning::ParallelFor(serialFor));
  } catch (const std::invalid_argument &error) {
    TORCH_CHECK(false, "quantize_trellis: ", error.what());
  }
  int64_t runs = result.runs.size();
  at::Tensor nodes = makeTensor(result.nodes, at::kFloat);
  nodes = additive ? nodes.view({runs, 2, -1}) : nodes.view({runs, -1});
  at::Tensor codes = makeTensor(result.codes, at::kInt);
  if (runs == 1)
    codes = codes.view({-1, (input.columns + 31) / 32});
  return {codes,
          nodes,
          makeTensor(result.scales, at::kHalf),
          makeTensor(result.groupScales, at::kHalf),
          makeTensor(result.order, at::kInt),
          flattenRuns(result.runs),
          result.proxyError};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor,
           std::vector<int64_t>, double>
quantizeBinary(const at::Tensor &weight,
               const std::optional<at::Tensor> &hessian,
               const std::optional<at::Tensor> &signsIn,
               const std::optional<at::Tensor> &signsOut,
               at::IntArrayRef pointBits, int64_t dim, int64_t group,
               int64_t survivors, int64_t iterations, int64_t finalRounds,
               double damping) {
  Rotated input(weight, hessian, signsIn, signsOut);
  learning::BinaryQuantizerOptions options;
  TORCH_CHECK(survivors >= 0 && iterations >= 1 && finalRounds >= 0,
              "negative survivors or iterations");
  options.dim = dim;
  options.group = group;
  options.pointBits.assign(pointBits.begin(), pointBits.end());
  options.survivors = static_cast<unsigned>(survivors);
  options.iterations = static_cast<unsigned>(iterations);
  options.finalRounds = static_cast<unsigned>(finalRounds);
  options.damping = damping;
  learning::BinaryQuantizerResult result;
  try {
    result =
        learning::quantizeBinary(input.getWeight(), input.rows, input.columns,
                                 input.getHessian(), options, parallelFor);
  } catch (const std::invalid_argument &error) {
    TORCH_CHECK(false, "quantize_binary: ", error.what());
  }
  int64_t runs = result.runs.size();
  return {makeTensor(result.codes, at::kInt).view({input.rows, -1}),
          makeTensor(result.generators, at::kHalf).view({runs, dim, -1}),
          makeTensor(result.scales, at::kHalf),
          makeTensor(result.groupScales, at::kHalf),
          makeTensor(result.order, at::kInt),
          flattenRuns(result.runs),
          result.proxyError};
}

/// The states of sequences along the rows of x, [sequences, length]; nodes are
/// a filter [L] or tables [2, 2^(L/2)].
at::Tensor encodeTrellis(const at::Tensor &x, const at::Tensor &nodes,
                         int64_t bits) {
  at::Tensor data = toFloat(x), numbers = toFloat(nodes);
  TORCH_CHECK(data.dim() == 2, "x must be a matrix");
  bool additive = numbers.dim() == 2;
  int64_t half = numbers.size(-1);
  TORCH_CHECK(additive ? numbers.size(0) == 2 && half > 1 && half <= 1024 &&
                             (half & (half - 1)) == 0
                       : numbers.dim() == 1 && half >= 2 &&
                             half <= lattice::maxTrellisTaps,
              "nodes are a filter of 2 to ", lattice::maxTrellisTaps,
              " taps, or two tables of a power of two");
  lattice::TrellisEncoder encoder(
      additive ? lattice::makeAdditiveNodes(view<float>(numbers))
               : lattice::makeLinearNodes(view<float>(numbers)),
      static_cast<unsigned>(std::clamp<int64_t>(bits, 1, 8)));
  TORCH_CHECK(bits >= 1 && bits <= 8 && bits < encoder.getWindow(),
              "bits must be 1 to 8, and fewer than those of a window");
  at::Tensor states = at::empty(data.sizes(), at::kInt);
  auto *out = reinterpret_cast<uint32_t *>(states.data_ptr<int32_t>());
  int64_t length = data.size(1);
  at::parallel_for(0, data.size(0), 1, [&](int64_t begin, int64_t end) {
    lattice::TrellisEncoder::Scratch scratch;
    for (int64_t i = begin; i < end; ++i)
      encoder.encode(view<float>(data).subspan(i * length, length), {},
                     std::span<uint32_t>(out + i * length, length), scratch);
  });
  return states;
}

/// The bits of the points nearest to the rows of x, [points, d], for the
/// generator [d, n].
at::Tensor encodeBinary(const at::Tensor &x, const at::Tensor &generator,
                        int64_t survivors) {
  at::Tensor data = toFloat(x), b = toFloat(generator);
  TORCH_CHECK(data.dim() == 2 && b.dim() == 2 && b.size(0) == data.size(1) &&
                  b.size(1) >= 1,
              "x must be [points, d], the generator [d, n]");
  TORCH_CHECK(survivors >= 1, "survivors must be at least 1");
  int64_t dim = b.size(0), bits = b.size(1);
  lattice::BinaryEncoder encoder(view<float>(b), dim, bits, {},
                                 static_cast<unsigned>(survivors));
  at::Tensor points = at::empty({data.size(0), bits}, at::kByte);
  uint8_t *out = points.data_ptr<uint8_t>();
  at::parallel_for(0, data.size(0), 64, [&](int64_t begin, int64_t end) {
    lattice::BinaryEncoder::Scratch scratch;
    for (int64_t i = begin; i < end; ++i)
      encoder.encode(view<float>(data).subspan(i * dim, dim),
                     std::span<uint8_t>(out + i * bits, bits), scratch);
  });
  return points;
}

at::Tensor gaussianTaps(int64_t length, int64_t bits) {
  TORCH_CHECK(bits >= 1 && bits <= 4 && length > bits &&
                  length <= lattice::maxTrellisTaps,
              "bits are 1 to 4, taps more than those and at most ",
              lattice::maxTrellisTaps);
  return makeTensor(lattice::getGaussianTaps(static_cast<unsigned>(length),
                                             static_cast<unsigned>(bits)),
                    at::kFloat);
}

at::Tensor gaussianTables(int64_t window, int64_t bits) {
  TORCH_CHECK(bits >= 1 && bits <= 4 && window > bits && window % 2 == 0 &&
                  window <= lattice::maxTrellisTaps,
              "bits are 1 to 4, the window even, longer and at most ",
              lattice::maxTrellisTaps);
  return makeTensor(lattice::getGaussianTables(static_cast<unsigned>(window),
                                               static_cast<unsigned>(bits)),
                    at::kFloat)
      .view({2, -1});
}

at::Tensor circulantGenerator(int64_t dim, int64_t bits) {
  TORCH_CHECK(dim >= 1 && bits >= 1, "dim and bits must be positive");
  return makeTensor(lattice::makeCirculantGenerator(dim, bits), at::kFloat)
      .view({dim, bits});
}

at::Tensor dequantizeLattice(const at::Tensor &codes,
                             const at::Tensor &generators,
                             const at::Tensor &scales,
                             const std::optional<at::Tensor> &order,
                             const std::optional<at::Tensor> &companders,
                             int64_t columns, int64_t dim, int64_t group,
                             at::IntArrayRef runs, c10::string_view compander,
                             const std::optional<at::Tensor> &signsIn,
                             const std::optional<at::Tensor> &signsOut) {
  lattice::CodeLayout layout = makeLayout(columns, dim, group, runs);
  int64_t slots = layout.getNumSlots(), rows = codes.size(0);
  at::Tensor words = toInt(codes, "codes");
  TORCH_CHECK(words.dim() == 2 && words.size(1) == layout.getNumWords(),
              "codes must have ", layout.getNumWords(), " words a row, not ",
              codes.sizes());
  at::Tensor g = toFloat(generators), s = toFloat(scales);
  TORCH_CHECK(g.sizes() == at::IntArrayRef({slots, dim, dim}),
              "generators must be [", slots, ", ", dim, ", ", dim, "], not ",
              generators.sizes());
  TORCH_CHECK(s.sizes() == at::IntArrayRef({rows}), "scales must be [", rows,
              "], not ", scales.sizes());
  at::Tensor o = makeOrder(order, slots, columns, group), c;
  lattice::Compander kind = lattice::Compander::None;
  if (compander != "none") {
    TORCH_CHECK(compander == "mu_law" || compander == "affine",
                "unknown compander '", compander, "'");
    kind = compander == "mu_law" ? lattice::Compander::MuLaw
                                 : lattice::Compander::Affine;
    TORCH_CHECK(companders &&
                    companders->sizes() == at::IntArrayRef({slots, 2}),
                "companders must be [", slots, ", 2]");
    c = toFloat(*companders);
  }

  at::Tensor out = at::empty({rows, columns}, at::kFloat);
  float *data = out.data_ptr<float>();
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      lattice::decodeRow(layout,
                         view<int32_t>(words).subspan(r * layout.getNumWords(),
                                                      layout.getNumWords()),
                         view<float>(g), view<float>(s)[r], viewOrder(o), kind,
                         c.defined() ? view<float>(c)
                                     : std::span<const float>(),
                         std::span<float>(data + r * columns, columns));
  });
  return rotateBack(out, signsIn, signsOut);
}

at::Tensor dequantizeTrellis(const at::Tensor &codes, const at::Tensor &nodes,
                             const at::Tensor &scales,
                             const at::Tensor &groupScales,
                             const std::optional<at::Tensor> &order,
                             int64_t columns, int64_t taps, int64_t group,
                             at::IntArrayRef runs, bool additive,
                             const std::optional<at::Tensor> &signsIn,
                             const std::optional<at::Tensor> &signsOut) {
  TORCH_CHECK(scales.dim() == 1, "scales must be a vector");
  int64_t rows = scales.size(0);
  lattice::TrellisLayout layout =
      makeTrellisLayout(rows, columns, taps, group, runs);
  TORCH_CHECK(!additive || (taps % 2 == 0 &&
                            taps <= lattice::TrellisLayout::maxAdditiveTaps),
              "additive nodes need an even number of taps up to 24, not ",
              taps);
  int64_t numRuns = layout.getRuns().size(), slots = layout.getNumSlots();
  at::Tensor words = toInt(codes, "codes");
  TORCH_CHECK(words.numel() == layout.getNumWords(), "codes must have ",
              layout.getNumWords(), " words, not ", codes.sizes());
  at::Tensor n =
      additive ? makePart(nodes, "tables", {numRuns, 2, int64_t(1) << taps / 2})
               : makePart(nodes, "taps", {numRuns, taps});
  at::Tensor s = makePart(scales, "scales", {rows});
  at::Tensor g = makePart(groupScales, "group_scales", {slots});
  at::Tensor o = makeOrder(order, slots, columns, group);
  lattice::TrellisParameters parameters = {
      view<float>(n), additive, view<float>(s), view<float>(g), viewOrder(o)};
  at::Tensor out = at::empty({rows, columns}, at::kFloat);
  std::span<float> all(out.data_ptr<float>(), out.numel());
  parallelFor(slots, [&](int64_t slot) {
    lattice::decodeTrellisSlot(layout, view<int32_t>(words), parameters, slot,
                               all);
  });
  return rotateBack(out, signsIn, signsOut);
}

at::Tensor
dequantizeBinary(const at::Tensor &codes, const at::Tensor &generators,
                 const at::Tensor &scales, const at::Tensor &groupScales,
                 const std::optional<at::Tensor> &order, int64_t columns,
                 int64_t dim, int64_t group, at::IntArrayRef runs,
                 const std::optional<at::Tensor> &signsIn,
                 const std::optional<at::Tensor> &signsOut) {
  lattice::BinaryLayout layout = makeBinaryLayout(columns, dim, group, runs);
  int64_t rows = codes.size(0), numWords = layout.getNumWords();
  at::Tensor words = toInt(codes, "codes");
  TORCH_CHECK(words.dim() == 2 && words.size(1) == numWords, "codes must have ",
              numWords, " words a row, not ", codes.sizes());
  at::Tensor b = makePart(generators, "generators",
                          {layout.getNumRuns(), dim, layout.getMaxWidth()});
  at::Tensor s = makePart(scales, "scales", {rows});
  at::Tensor g = makePart(groupScales, "group_scales", {layout.getNumSlots()});
  at::Tensor o = makeOrder(order, layout.getNumSlots(), columns, group);
  at::Tensor out = at::empty({rows, columns}, at::kFloat);
  float *data = out.data_ptr<float>();
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      lattice::decodeBinaryRow(
          layout, view<int32_t>(words).subspan(r * numWords, numWords),
          view<float>(b), view<float>(s)[r], view<float>(g), viewOrder(o),
          std::span<float>(data + r * columns, columns));
  });
  return rotateBack(out, signsIn, signsOut);
}

/// (words a row, bits of all parts) of a lattice code.
std::tuple<int64_t, int64_t> latticeStorage(int64_t rows, int64_t columns,
                                            int64_t dim, int64_t group,
                                            at::IntArrayRef runs,
                                            bool hasCompander) {
  lattice::CodeLayout layout = makeLayout(columns, dim, group, runs);
  return {layout.getNumWords(), layout.getStorageBits(rows, hasCompander)};
}

/// Bits of all parts.
int64_t trellisStorage(int64_t rows, int64_t columns, int64_t taps,
                       int64_t group, at::IntArrayRef runs, bool additive) {
  return makeTrellisLayout(rows, columns, taps, group, runs)
      .getStorageBits(additive);
}

int64_t binaryStorage(int64_t rows, int64_t columns, int64_t dim, int64_t group,
                      at::IntArrayRef runs) {
  return makeBinaryLayout(columns, dim, group, runs).getStorageBits(rows);
}

//===----------------------------------------------------------------------===//
// Codes with fixed points
//===----------------------------------------------------------------------===//

/// The parameters of `#glvq.leech<shells, first, gain, residual>`, in this
/// order.
using LeechShape = std::array<unsigned, 4>;

LeechShape checkLeechShape(at::IntArrayRef shape) {
  TORCH_CHECK(shape.size() == 4,
              "a Leech code is given by shells, first, gain and residual");
  int64_t shells = shape[0], first = shape[1], gain = shape[2],
          residual = shape[3];
  TORCH_CHECK(shells >= 2 && shells <= lattice::maxLeechShell && first >= 0 &&
                  first != 1 && first <= shells,
              "a Leech code has shells 2 to ", lattice::maxLeechShell,
              ", from 0 or 2 on, not ", first, " to ", shells);
  TORCH_CHECK(gain >= 0 && gain <= 8, "gains have 0 to 8 bits, not ", gain);
  TORCH_CHECK(residual == 0 ||
                  (residual >= 2 && residual <= lattice::maxLeechShell),
              "the residual is coded on shell 2 to ", lattice::maxLeechShell,
              ", not ", residual);
  // The origin has no direction.
  if (gain && first == 0)
    first = 2;
  return {static_cast<unsigned>(shells), static_cast<unsigned>(first),
          static_cast<unsigned>(gain), static_cast<unsigned>(residual)};
}

lattice::LeechCode makeLeechCode(at::IntArrayRef shape,
                                 const std::optional<at::Tensor> &gains,
                                 const std::optional<at::Tensor> &scale) {
  auto [shells, first, gain, residual] = checkLeechShape(shape);
  lattice::LeechCode code;
  code.firstShell = first;
  code.lastShell = shells;
  code.residualShell = residual;
  if (gain) {
    TORCH_CHECK(gains && gains->numel() == int64_t(1) << gain,
                "gains must be [", 1 << gain, "]");
    at::Tensor g = toFloat(*gains);
    code.gains.assign(g.const_data_ptr<float>(),
                      g.const_data_ptr<float>() + g.numel());
  }
  if (residual) {
    TORCH_CHECK(scale && scale->numel() == 1, "residual_scale must be [1]");
    code.residualScale = scale->item().toFloat();
  }
  return code;
}

lattice::PointLayout makePointLayout(const at::Tensor &words, int64_t columns,
                                     int64_t dim, int64_t group,
                                     std::vector<unsigned> fieldBits) {
  std::string error;
  auto layout = lattice::PointLayout::create(columns, dim, group,
                                             std::move(fieldBits), &error);
  TORCH_CHECK(layout, "code: ", error);
  TORCH_CHECK(words.dim() == 2 && words.size(1) == layout->getNumWords(),
              "codes must have ", layout->getNumWords(), " words a row, not ",
              words.sizes());
  return *layout;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, double>
quantizePoints(const learning::PointCode &code, const Rotated &input,
               int64_t group, int64_t refinements, int64_t finalRounds,
               double damping) {
  learning::PointQuantizerOptions options;
  options.group = group;
  TORCH_CHECK(finalRounds >= 0 && refinements >= 0, "negative rounds");
  options.refinements = static_cast<unsigned>(refinements);
  options.finalRounds = static_cast<unsigned>(finalRounds);
  options.damping = damping;
  learning::PointQuantizerResult result;
  try {
    result = learning::quantizePoints(code, input.getWeight(), input.rows,
                                      input.columns, input.getHessian(),
                                      options, parallelFor);
  } catch (const std::invalid_argument &error) {
    TORCH_CHECK(false, "quantize: ", error.what());
  }
  return {makeTensor(result.codes, at::kInt).view({input.rows, -1}),
          makeTensor(result.scales, at::kHalf),
          makeTensor(result.groupScales, at::kHalf), result.proxyError};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, double>
quantizeLeech(const at::Tensor &weight,
              const std::optional<at::Tensor> &hessian,
              const std::optional<at::Tensor> &signsIn,
              const std::optional<at::Tensor> &signsOut, at::IntArrayRef shape,
              int64_t group, int64_t candidates, int64_t refinements,
              int64_t finalRounds, double damping) {
  auto [shells, first, gain, residual] = checkLeechShape(shape);
  TORCH_CHECK(candidates >= 0, "candidates must not be negative");
  lattice::GaussianLeechCode code =
      lattice::makeGaussianLeechCode(first, shells, gain, residual);
  code.code.candidates = static_cast<unsigned>(candidates);
  auto [codes, scales, groupScales, proxyError] =
      quantizePoints(learning::makeLeechPointCode(code),
                     Rotated(weight, hessian, signsIn, signsOut), group,
                     refinements, finalRounds, damping);
  std::vector<float> residualScale;
  if (residual)
    residualScale.push_back(code.code.residualScale);
  return {codes,
          scales,
          groupScales,
          makeTensor(code.code.gains, at::kFloat),
          makeTensor(residualScale, at::kFloat),
          proxyError};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, double>
quantizeE8P(const at::Tensor &weight, const std::optional<at::Tensor> &hessian,
            const std::optional<at::Tensor> &signsIn,
            const std::optional<at::Tensor> &signsOut, int64_t group,
            int64_t refinements, int64_t finalRounds, double damping) {
  return quantizePoints(learning::makeE8PPointCode(),
                        Rotated(weight, hessian, signsIn, signsOut), group,
                        refinements, finalRounds, damping);
}

/// Raises for numbers of points that the code does not have, and for padding
/// bits that are set.
void checkLeech(const at::Tensor &codes, int64_t columns, at::IntArrayRef shape,
                int64_t group) {
  auto [shells, first, gain, residual] = checkLeechShape(shape);
  lattice::LeechCode code;
  code.firstShell = first;
  code.lastShell = shells;
  code.gains.resize(gain ? size_t(1) << gain : 0);
  code.residualShell = residual;
  at::Tensor words = toInt(codes, "codes");
  lattice::PointLayout layout = makePointLayout(
      words, columns, lattice::leechDim, group, code.getFieldBits());
  std::vector<std::pair<int64_t, bool>> bad(words.size(0), {-1, true});
  at::parallel_for(0, words.size(0), 16, [&](int64_t begin, int64_t end) {
    std::vector<uint64_t> fields(layout.getNumPoints() * layout.getNumFields());
    for (int64_t r = begin; r < end; ++r) {
      bool clean =
          layout.unpack(view<int32_t>(words).subspan(r * layout.getNumWords(),
                                                     layout.getNumWords()),
                        fields);
      bad[r] = {lattice::findBadLeechBlock(code, fields).value_or(-1), clean};
    }
  });
  for (int64_t r = 0; r < words.size(0); ++r) {
    TORCH_CHECK(bad[r].first < 0, "row ", r, ", point ", bad[r].first,
                ": the number of a point is beyond the last of shell ", shells);
    TORCH_CHECK(bad[r].second, "row ", r, ": a padding bit is set");
  }
}

/// Checks the scales of a code with fixed points and decodes row by row.
at::Tensor
dequantizePoints(const lattice::PointLayout &layout, const at::Tensor &scales,
                 const at::Tensor &groupScales, int64_t rows,
                 const std::optional<at::Tensor> &signsIn,
                 const std::optional<at::Tensor> &signsOut,
                 const std::function<void(int64_t row, float scale,
                                          std::span<const float> groupScales,
                                          std::span<float> out)> &decodeRow) {
  at::Tensor s = toFloat(scales), g = toFloat(groupScales);
  TORCH_CHECK(s.sizes() == at::IntArrayRef({rows}), "scales must be [", rows,
              "], not ", scales.sizes());
  TORCH_CHECK(g.sizes() == at::IntArrayRef({layout.getNumSlots()}),
              "group_scales must be [", layout.getNumSlots(), "], not ",
              groupScales.sizes());
  int64_t columns = layout.getColumns();
  at::Tensor out = at::empty({rows, columns}, at::kFloat);
  float *data = out.data_ptr<float>();
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      decodeRow(r, view<float>(s)[r], view<float>(g),
                std::span<float>(data + r * columns, columns));
  });
  return rotateBack(out, signsIn, signsOut);
}

at::Tensor dequantizeLeech(const at::Tensor &codes, const at::Tensor &scales,
                           const at::Tensor &groupScales,
                           const std::optional<at::Tensor> &gains,
                           const std::optional<at::Tensor> &residualScale,
                           int64_t columns, at::IntArrayRef shape,
                           int64_t group,
                           const std::optional<at::Tensor> &signsIn,
                           const std::optional<at::Tensor> &signsOut) {
  checkLeech(codes, columns, shape, group);
  lattice::LeechCode code = makeLeechCode(shape, gains, residualScale);
  at::Tensor words = toInt(codes, "codes");
  lattice::PointLayout layout = makePointLayout(
      words, columns, lattice::leechDim, group, code.getFieldBits());
  return dequantizePoints(
      layout, scales, groupScales, words.size(0), signsIn, signsOut,
      [&](int64_t r, float scale, std::span<const float> g,
          std::span<float> out) {
        lattice::decodeLeechRow(
            layout, code,
            view<int32_t>(words).subspan(r * layout.getNumWords(),
                                         layout.getNumWords()),
            scale, g, out);
      });
}

at::Tensor dequantizeE8P(const at::Tensor &codes, const at::Tensor &scales,
                         const at::Tensor &groupScales, int64_t columns,
                         int64_t group,
                         const std::optional<at::Tensor> &signsIn,
                         const std::optional<at::Tensor> &signsOut) {
  at::Tensor words = toInt(codes, "codes");
  lattice::PointLayout layout =
      makePointLayout(words, columns, lattice::e8Dim, group, {16});
  return dequantizePoints(layout, scales, groupScales, words.size(0), signsIn,
                          signsOut,
                          [&](int64_t r, float scale, std::span<const float> g,
                              std::span<float> out) {
                            lattice::decodeE8PRow(layout,
                                                  view<int32_t>(words).subspan(
                                                      r * layout.getNumWords(),
                                                      layout.getNumWords()),
                                                  scale, g, out);
                          });
}

/// The widths of the fields of a point.
std::vector<int64_t> leechFields(at::IntArrayRef shape) {
  auto [shells, first, gain, residual] = checkLeechShape(shape);
  lattice::LeechCode code;
  code.firstShell = first;
  code.lastShell = shells;
  code.gains.resize(gain ? size_t(1) << gain : 0);
  code.residualShell = residual;
  std::vector<unsigned> bits = code.getFieldBits();
  return {bits.begin(), bits.end()};
}

} // namespace

TORCH_LIBRARY(glvq, library) {
  library.def("quantize_leech(Tensor weight, Tensor? hessian, Tensor? "
              "signs_in, Tensor? signs_out, int[] shape, int group, int "
              "candidates=32, int refinements=6, int final_rounds=2, float "
              "damping=0.03) -> "
              "(Tensor codes, Tensor scales, Tensor group_scales, Tensor "
              "gains, Tensor residual_scale, float proxy_error)");
  library.def("quantize_e8p(Tensor weight, Tensor? hessian, Tensor? signs_in, "
              "Tensor? signs_out, int group, int refinements=6, int "
              "final_rounds=2, float damping=0.03) -> (Tensor codes, Tensor "
              "scales, Tensor "
              "group_scales, float proxy_error)");
  library.def("check_leech(Tensor codes, int columns, int[] shape, int group) "
              "-> ()");
  library.def("dequantize_leech(Tensor codes, Tensor scales, Tensor "
              "group_scales, Tensor? gains, Tensor? residual_scale, int "
              "columns, int[] shape, int group, Tensor? signs_in, Tensor? "
              "signs_out) -> Tensor");
  library.def("dequantize_e8p(Tensor codes, Tensor scales, Tensor "
              "group_scales, int columns, int group, Tensor? signs_in, Tensor? "
              "signs_out) -> Tensor");
  library.def("leech_fields(int[] shape) -> int[]", &leechFields);
  library.def("quantize_lattice(Tensor weight, Tensor? hessian, Tensor? "
              "signs_in, Tensor? signs_out, int[] bits, int dim, int group, "
              "int iterations=5, int final_rounds=2, float damping=0.03) -> "
              "(Tensor codes, Tensor generators, Tensor scales, Tensor order, "
              "int[] runs, float proxy_error)");
  library.def("quantize_trellis(Tensor weight, Tensor? hessian, Tensor? "
              "signs_in, Tensor? signs_out, int[] bits, int taps, int group, "
              "bool additive=False, int iterations=2, int final_rounds=2, "
              "float damping=0.03, bool parallel=True) -> (Tensor codes, "
              "Tensor nodes, Tensor scales, Tensor group_scales, Tensor order, "
              "int[] runs, float proxy_error)");
  library.def("quantize_binary(Tensor weight, Tensor? hessian, Tensor? "
              "signs_in, Tensor? signs_out, int[] point_bits, int dim, int "
              "group, int survivors=32, int iterations=3, int final_rounds=2, "
              "float damping=0.03) -> (Tensor codes, Tensor generators, Tensor "
              "scales, Tensor group_scales, Tensor order, int[] runs, float "
              "proxy_error)");
  library.def("encode_trellis(Tensor x, Tensor nodes, int bits) -> Tensor");
  library.def("encode_binary(Tensor x, Tensor generator, int survivors) -> "
              "Tensor");
  library.def("gaussian_taps(int length, int bits) -> Tensor", &gaussianTaps);
  library.def("gaussian_tables(int window, int bits) -> Tensor",
              &gaussianTables);
  library.def("circulant_generator(int dim, int bits) -> Tensor",
              &circulantGenerator);
  library.def("dequantize_lattice(Tensor codes, Tensor generators, Tensor "
              "scales, Tensor? order, Tensor? companders, int columns, int "
              "dim, int group, int[] runs, str compander, Tensor? signs_in, "
              "Tensor? signs_out) -> Tensor");
  library.def("dequantize_trellis(Tensor codes, Tensor nodes, Tensor scales, "
              "Tensor group_scales, Tensor? order, int columns, int taps, int "
              "group, int[] runs, bool additive, Tensor? signs_in, Tensor? "
              "signs_out) -> Tensor");
  library.def("dequantize_binary(Tensor codes, Tensor generators, Tensor "
              "scales, Tensor group_scales, Tensor? order, int columns, int "
              "dim, int group, int[] runs, Tensor? signs_in, Tensor? "
              "signs_out) -> Tensor");
  library.def("hadamard(Tensor x, Tensor signs, int dimension=-1, bool "
              "inverse=False) -> Tensor");
  library.def("make_signs(int size, int seed) -> Tensor", &makeSigns);
  library.def("lattice_storage(int rows, int columns, int dim, int group, "
              "int[] runs, bool compander=False) -> (int words, int bits)",
              &latticeStorage);
  library.def("trellis_storage(int rows, int columns, int taps, int group, "
              "int[] runs, bool additive=False) -> int",
              &trellisStorage);
  library.def("binary_storage(int rows, int columns, int dim, int group, "
              "int[] runs) -> int",
              &binaryStorage);
}

TORCH_LIBRARY_IMPL(glvq, CPU, library) {
  library.impl("quantize_leech", &quantizeLeech);
  library.impl("quantize_e8p", &quantizeE8P);
  library.impl("check_leech", &checkLeech);
  library.impl("dequantize_leech", &dequantizeLeech);
  library.impl("dequantize_e8p", &dequantizeE8P);
  library.impl("quantize_lattice", &quantizeLattice);
  library.impl("quantize_trellis", &quantizeTrellis);
  library.impl("quantize_binary", &quantizeBinary);
  library.impl("encode_trellis", &encodeTrellis);
  library.impl("encode_binary", &encodeBinary);
  library.impl("dequantize_lattice", &dequantizeLattice);
  library.impl("dequantize_trellis", &dequantizeTrellis);
  library.impl("dequantize_binary", &dequantizeBinary);
  library.impl("hadamard", &hadamard);
}
