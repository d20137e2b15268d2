//===- LatticeProduct.cpp - Products with packed lattice weights ----------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// y = x W^T for a weight that stays packed, as the operator that
// torch.ops.glvq.linear uses. Decoding is linear, so no weight is decoded: the
// generators are applied to the activations once, x' = G^T x for each point,
// and what remains is a product with the stored half-integers.
//
// Only a block of rows is unpacked at a time, so that the memory needed beside
// the packed weight stays constant.
//
//===----------------------------------------------------------------------===//

#include "MatrixKernels.h"
#include "glvq/Lattice/CodeLayout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

using namespace glvq;

namespace {

/// Eight fields of W bits at a time are W whole bytes.
template <unsigned W>
inline __attribute__((always_inline)) void
unpackSegment(const uint8_t *bytes, int64_t numBytes, int64_t numFields,
              float *out) {
  constexpr float offset = 0.5f - static_cast<float>(1 << W) / 2;
  // The narrower type has twice as many lanes.
  using Bits = std::conditional_t<W <= 4, uint32_t, uint64_t>;
  constexpr Bits mask = (1u << W) - 1;
  for (int64_t f = 0, byte = 0; f < numFields; f += 8, byte += W) {
    Bits bits = 0;
    if (byte + static_cast<int64_t>(sizeof(bits)) <= numBytes)
      std::memcpy(&bits, bytes + byte, sizeof(bits));
    else
      std::memcpy(&bits, bytes + byte, numBytes - byte);
    float values[8];
    for (unsigned i = 0; i < 8; ++i)
      values[i] =
          static_cast<float>(static_cast<int32_t>((bits >> (i * W)) & mask)) +
          offset;
    std::memcpy(out + f, values,
                sizeof(float) * std::min<int64_t>(8, numFields - f));
  }
}

/// The values z + 1/2 of one row: `out` has layout.getNumFields() elements.
GLVQ_MULTIVERSION void unpackRow(const lattice::CodeLayout &layout,
                                 const int32_t *words, float *out) {
  for (int64_t slot = 0, e = layout.getNumSlots(); slot < e; ++slot) {
    auto *bytes = reinterpret_cast<const uint8_t *>(words) +
                  4 * layout.getWordOffset(slot);
    int64_t fields = layout.getSlotFields(slot);
    unsigned width = layout.getWidth(slot);
    int64_t numBytes = (fields * width + 31) / 32 * 4;
    float *to = out + layout.getFieldOffset(slot);
    switch (width) {
#define GLVQ_WIDTH(W)                                                          \
  case W:                                                                      \
    unpackSegment<W>(bytes, numBytes, fields, to);                             \
    break;
      GLVQ_WIDTH(1)
      GLVQ_WIDTH(2)
      GLVQ_WIDTH(3)
      GLVQ_WIDTH(4)
      GLVQ_WIDTH(5)
      GLVQ_WIDTH(6)
      GLVQ_WIDTH(7)
      GLVQ_WIDTH(8)
#undef GLVQ_WIDTH
    }
  }
}

GLVQ_MULTIVERSION float dot(const float *a, const float *b, int64_t n) {
  using Lanes = float __attribute__((vector_size(64)));
  Lanes sums[2] = {};
  int64_t k = 0;
  for (; k + 32 <= n; k += 32)
    for (int64_t u = 0; u < 2; ++u) {
      Lanes x, y;
      std::memcpy(&x, a + k + 16 * u, sizeof(x));
      std::memcpy(&y, b + k + 16 * u, sizeof(y));
      sums[u] += x * y;
    }
  Lanes all = sums[0] + sums[1];
  float sum = 0;
  for (int64_t i = 0; i < 16; ++i)
    sum += all[i];
  for (; k < n; ++k)
    sum += a[k] * b[k];
  return sum;
}

/// x' of one token: for each point, x'_j = sum_i G[i][j] x_i over the columns
/// that exist. `folded` has layout.getNumFields() elements.
GLVQ_MULTIVERSION void fold(const lattice::CodeLayout &layout,
                            const float *generators, const int32_t *order,
                            const float *x, float *folded) {
  const int64_t dim = layout.getDim();
  std::memset(folded, 0, sizeof(float) * layout.getNumFields());
  for (int64_t slot = 0, e = layout.getNumSlots(); slot < e; ++slot) {
    int64_t columns = layout.getSlotColumns(slot);
    const float *from = x + (order ? order[slot] : slot) * layout.getGroup();
    float *to = folded + layout.getFieldOffset(slot);
    const float *generator = generators + slot * dim * dim;
    for (int64_t c = 0; c < columns; c += dim)
      for (int64_t i = 0, n = std::min(dim, columns - c); i < n; ++i)
        for (int64_t j = 0; j < dim; ++j)
          to[c + j] += generator[i * dim + j] * from[c + i];
  }
}

lattice::CodeLayout makeLayout(int64_t columns, int64_t dim, int64_t group,
                               at::IntArrayRef flat) {
  TORCH_CHECK(flat.size() % 2 == 0, "runs are pairs (width, slots)");
  std::vector<lattice::WidthRun> runs;
  for (size_t i = 0; i < flat.size(); i += 2) {
    TORCH_CHECK(flat[i] >= 1 && flat[i] <= lattice::CodeLayout::maxWidth,
                "widths are 1 to 8 bits, not ", flat[i]);
    runs.push_back({static_cast<unsigned>(flat[i]), flat[i + 1]});
  }
  std::string error;
  auto layout = lattice::CodeLayout::create(columns, dim, group, runs, &error);
  TORCH_CHECK(layout, "lattice code: ", error);
  return *layout;
}

/// Tokens up to which a row is multiplied as it is unpacked; above, blocks of
/// rows go to BLAS.
constexpr int64_t fewTokens = 3;
/// Floats of an unpacked block of rows.
constexpr int64_t blockFloats = 1 << 20;

at::Tensor linearLattice(const at::Tensor &x, const at::Tensor &codes,
                         const at::Tensor &generators, const at::Tensor &scales,
                         const std::optional<at::Tensor> &order, int64_t dim,
                         int64_t group, at::IntArrayRef runs) {
  TORCH_CHECK(x.dim() == 2, "x must be [tokens, columns], not ", x.sizes());
  int64_t tokens = x.size(0), columns = x.size(1), rows = scales.numel();
  lattice::CodeLayout layout = makeLayout(columns, dim, group, runs);
  int64_t slots = layout.getNumSlots(), fields = layout.getNumFields();
  TORCH_CHECK(codes.scalar_type() == at::kInt &&
                  codes.sizes() ==
                      at::IntArrayRef({rows, layout.getNumWords()}),
              "codes must be int32 [", rows, ", ", layout.getNumWords(),
              "], not ", codes.scalar_type(), " ", codes.sizes());
  TORCH_CHECK(generators.sizes() == at::IntArrayRef({slots, dim, dim}),
              "generators must be [", slots, ", ", dim, ", ", dim, "], not ",
              generators.sizes());
  at::Tensor words = codes.contiguous();
  at::Tensor g = generators.to(at::kFloat).contiguous();
  at::Tensor s = scales.to(at::kFloat).contiguous();
  at::Tensor activations = x.to(at::kFloat).contiguous();
  at::Tensor slotOrder;
  if (order && order->numel()) {
    slotOrder = order->to(at::kInt).contiguous();
    TORCH_CHECK(slotOrder.sizes() == at::IntArrayRef({slots}),
                "order must be [", slots, "], not ", order->sizes());
    std::vector<bool> seen(slots);
    for (int64_t i = 0; i < slots; ++i) {
      int32_t slot = slotOrder.const_data_ptr<int32_t>()[i];
      TORCH_CHECK(slot >= 0 && slot < slots && !seen[slot],
                  "order is not a permutation");
      seen[slot] = true;
    }
    TORCH_CHECK(columns % group == 0 ||
                    slotOrder.const_data_ptr<int32_t>()[slots - 1] == slots - 1,
                "a ragged last group must have the last slot");
  }

  at::Tensor folded = at::empty({tokens, fields}, at::kFloat);
  at::Tensor y = at::empty({tokens, rows}, at::kFloat);
  if (!y.numel())
    return y;
  auto *foldedData = folded.data_ptr<float>();
  at::parallel_for(0, tokens, 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      fold(layout, g.const_data_ptr<float>(),
           slotOrder.defined() ? slotOrder.const_data_ptr<int32_t>() : nullptr,
           activations.const_data_ptr<float>() + t * columns,
           foldedData + t * fields);
  });

  const int32_t *wordData = words.const_data_ptr<int32_t>();
  int64_t numWords = layout.getNumWords();
  if (tokens <= fewTokens) {
    const float *scaleData = s.const_data_ptr<float>();
    float *out = y.data_ptr<float>();
    at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
      std::vector<float> row(fields);
      for (int64_t r = begin; r < end; ++r) {
        unpackRow(layout, wordData + r * numWords, row.data());
        for (int64_t t = 0; t < tokens; ++t)
          out[t * rows + r] =
              scaleData[r] * dot(row.data(), foldedData + t * fields, fields);
      }
    });
    return y;
  }
  int64_t blockRows =
      std::min(rows, std::max<int64_t>(16, blockFloats / fields));
  at::Tensor block = at::empty({blockRows, fields}, at::kFloat);
  float *blockData = block.data_ptr<float>();
  for (int64_t first = 0; first < rows; first += blockRows) {
    int64_t count = std::min(blockRows, rows - first);
    at::parallel_for(0, count, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        unpackRow(layout, wordData + (first + r) * numWords,
                  blockData + r * fields);
    });
    at::Tensor out = y.narrow(1, first, count);
    at::mm_out(out, folded, block.narrow(0, 0, count).t());
  }
  return y.mul_(s);
}

} // namespace

TORCH_LIBRARY_FRAGMENT(glvq, library) {
  library.def("linear_lattice(Tensor x, Tensor codes, Tensor generators, "
              "Tensor scales, Tensor? order, int dim, int group, int[] runs) "
              "-> Tensor");
}

TORCH_LIBRARY_IMPL(glvq, CPU, library) {
  library.impl("linear_lattice", &linearLattice);
}
