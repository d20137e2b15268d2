//===- BinaryLayout.cpp - How the bits of binary codes lie in words -------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/BinaryLayout.h"

#include <algorithm>
#include <cassert>

using namespace glvq::lattice;

static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

std::optional<BinaryLayout> BinaryLayout::create(int64_t columns, int64_t dim,
                                                 int64_t group,
                                                 std::span<const WidthRun> runs,
                                                 std::string *error) {
  auto fail = [&](std::string message) -> std::optional<BinaryLayout> {
    if (error)
      *error = std::move(message);
    return std::nullopt;
  };
  if (columns < 1 || dim < 1 || group < 1)
    return fail("columns, dim and group must be positive");
  if (group % dim)
    return fail("a group of " + std::to_string(group) +
                " columns is not a whole number of points of " +
                std::to_string(dim));

  BinaryLayout layout;
  layout.columns = columns;
  layout.dim = dim;
  layout.group = group;
  int64_t numSlots = ceilDiv(columns, group);
  for (const WidthRun &run : runs) {
    if (run.width < 1 || run.width > maxWidth * dim)
      return fail("points of " + std::to_string(run.width) +
                  " bits; points of " + std::to_string(dim) +
                  " columns have 1 to " + std::to_string(maxWidth * dim));
    if (run.slots < 1 || run.slots > numSlots - layout.getNumSlots())
      return fail("the runs of widths do not add up to " +
                  std::to_string(numSlots) + " slots");
    for (int64_t i = 0; i < run.slots; ++i) {
      int64_t slot = layout.getNumSlots();
      layout.slots.push_back(
          {run.width, layout.numRuns, layout.numBits, layout.numWords});
      int64_t bits = layout.getSlotPoints(slot) * run.width;
      layout.numBits += bits;
      layout.numWords += ceilDiv(bits, 32);
    }
    ++layout.numRuns;
  }
  if (layout.getNumSlots() != numSlots)
    return fail("the runs of widths cover " +
                std::to_string(layout.getNumSlots()) + " slots of " +
                std::to_string(numSlots));
  return layout;
}

unsigned BinaryLayout::getMaxWidth() const {
  return std::max_element(
             slots.begin(), slots.end(),
             [](const Slot &a, const Slot &b) { return a.width < b.width; })
      ->width;
}

int64_t BinaryLayout::getSlotColumns(int64_t slot) const {
  return std::min(group, columns - slot * group);
}

int64_t BinaryLayout::getSlotPoints(int64_t slot) const {
  return ceilDiv(getSlotColumns(slot), dim);
}

void BinaryLayout::pack(std::span<const uint8_t> bits,
                        std::span<int32_t> words) const {
  assert(static_cast<int64_t>(bits.size()) == numBits);
  assert(static_cast<int64_t>(words.size()) == numWords);
  std::fill(words.begin(), words.end(), 0);
  for (int64_t slot = 0, e = getNumSlots(); slot < e; ++slot)
    for (int64_t i = 0, n = getSlotPoints(slot) * slots[slot].width; i < n; ++i)
      words[slots[slot].word + i / 32] |= static_cast<int32_t>(
          static_cast<uint32_t>(bits[slots[slot].bit + i] & 1) << i % 32);
}

void BinaryLayout::unpack(std::span<const int32_t> words,
                          std::span<uint8_t> bits) const {
  assert(static_cast<int64_t>(bits.size()) == numBits);
  assert(static_cast<int64_t>(words.size()) == numWords);
  for (int64_t slot = 0, e = getNumSlots(); slot < e; ++slot)
    for (int64_t i = 0, n = getSlotPoints(slot) * slots[slot].width; i < n; ++i)
      bits[slots[slot].bit + i] =
          static_cast<uint32_t>(words[slots[slot].word + i / 32]) >> i % 32 & 1;
}

int64_t BinaryLayout::getStorageBits(int64_t rows) const {
  int64_t numSlots = getNumSlots();
  return rows * numWords * 32 + numRuns * dim * getMaxWidth() * 16 + rows * 16 +
         numSlots * 16 + (isMixed() ? numSlots * 32 : 0);
}

void glvq::lattice::decodeBinaryRow(const BinaryLayout &layout,
                                    std::span<const int32_t> words,
                                    std::span<const float> generators,
                                    float scale,
                                    std::span<const float> groupScales,
                                    std::span<const int32_t> order,
                                    std::span<float> out) {
  int64_t dim = layout.getDim(), stride = layout.getMaxWidth();
  assert(static_cast<int64_t>(generators.size()) ==
         layout.getNumRuns() * dim * stride);
  std::vector<uint8_t> bits(layout.getNumBits());
  layout.unpack(words, bits);
  for (int64_t slot = 0, e = layout.getNumSlots(); slot < e; ++slot) {
    unsigned width = layout.getWidth(slot);
    const float *b = &generators[layout.getRun(slot) * dim * stride];
    const uint8_t *point = &bits[layout.getBitOffset(slot)];
    int64_t column = (order.empty() ? slot : order[slot]) * layout.getGroup();
    for (int64_t c = 0, n = layout.getSlotColumns(slot); c < n;
         c += dim, point += width)
      for (int64_t i = 0; i < dim && c + i < n; ++i) {
        float sum = 0;
        for (unsigned k = 0; k < width; ++k)
          sum += point[k] ? b[i * stride + k] : -b[i * stride + k];
        out[column + c + i] = scale * groupScales[slot] * sum;
      }
  }
}
