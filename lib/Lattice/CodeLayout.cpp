//===- CodeLayout.cpp - How the fields of lattice codes lie in words ------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/CodeLayout.h"

#include <algorithm>
#include <cassert>

using namespace glvq::lattice;

static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

std::optional<CodeLayout> CodeLayout::create(int64_t columns, int64_t dim,
                                             int64_t group,
                                             std::span<const WidthRun> runs,
                                             std::string *error) {
  auto fail = [&](std::string message) -> std::optional<CodeLayout> {
    if (error)
      *error = std::move(message);
    return std::nullopt;
  };
  if (columns < 1 || dim < 1 || group < 1)
    return fail("columns, dim and group must be positive");

  CodeLayout layout;
  layout.columns = columns;
  layout.dim = dim;
  layout.group = group;
  int64_t numSlots = ceilDiv(columns, group);
  for (const WidthRun &run : runs) {
    if (run.width < 1 || run.width > maxWidth)
      return fail("a width of " + std::to_string(run.width) +
                  " bits; widths are 1 to 8");
    if (run.slots < 1 ||
        run.slots > numSlots - static_cast<int64_t>(layout.widths.size()))
      return fail("the runs of widths do not add up to " +
                  std::to_string(numSlots) + " slots");
    layout.widths.insert(layout.widths.end(), run.slots, run.width);
  }
  if (layout.getNumSlots() != numSlots)
    return fail("the runs of widths cover " +
                std::to_string(layout.getNumSlots()) + " slots of " +
                std::to_string(numSlots));

  layout.fieldOffsets.push_back(0);
  layout.wordOffsets.push_back(0);
  for (int64_t slot = 0; slot < numSlots; ++slot) {
    int64_t fields = ceilDiv(layout.getSlotColumns(slot), dim) * dim;
    layout.fieldOffsets.push_back(layout.fieldOffsets.back() + fields);
    layout.wordOffsets.push_back(layout.wordOffsets.back() +
                                 ceilDiv(fields * layout.widths[slot], 32));
  }
  return layout;
}

int64_t CodeLayout::getSlotColumns(int64_t slot) const {
  return std::min(group, columns - slot * group);
}

bool CodeLayout::isMixed() const {
  return std::any_of(widths.begin(), widths.end(),
                     [&](unsigned width) { return width != widths.front(); });
}

void CodeLayout::pack(std::span<const uint8_t> fields,
                      std::span<int32_t> words) const {
  assert(static_cast<int64_t>(fields.size()) == getNumFields());
  assert(static_cast<int64_t>(words.size()) == getNumWords());
  for (int64_t slot = 0, e = getNumSlots(); slot < e; ++slot) {
    unsigned width = widths[slot], filled = 0;
    int64_t word = wordOffsets[slot];
    uint64_t buffer = 0;
    for (int64_t i = fieldOffsets[slot]; i < fieldOffsets[slot + 1]; ++i) {
      uint64_t field = fields[i] & ((1u << width) - 1);
      buffer |= field << filled;
      filled += width;
      if (filled >= 32) {
        words[word++] = static_cast<int32_t>(static_cast<uint32_t>(buffer));
        buffer >>= 32;
        filled -= 32;
      }
    }
    if (filled)
      words[word++] = static_cast<int32_t>(static_cast<uint32_t>(buffer));
    assert(word == wordOffsets[slot + 1]);
  }
}

void CodeLayout::unpack(std::span<const int32_t> words,
                        std::span<uint8_t> fields) const {
  assert(static_cast<int64_t>(fields.size()) == getNumFields());
  assert(static_cast<int64_t>(words.size()) == getNumWords());
  for (int64_t slot = 0, e = getNumSlots(); slot < e; ++slot) {
    unsigned width = widths[slot], filled = 0;
    int64_t word = wordOffsets[slot];
    uint64_t buffer = 0;
    for (int64_t i = fieldOffsets[slot]; i < fieldOffsets[slot + 1]; ++i) {
      if (filled < width) {
        buffer |= static_cast<uint64_t>(static_cast<uint32_t>(words[word++]))
                  << filled;
        filled += 32;
      }
      fields[i] = static_cast<uint8_t>(buffer & ((1u << width) - 1));
      buffer >>= width;
      filled -= width;
    }
  }
}

int64_t CodeLayout::getStorageBits(int64_t rows, bool hasCompander) const {
  int64_t slots = getNumSlots();
  return rows * getNumWords() * 32 + slots * dim * dim * 16 + rows * 16 +
         (isMixed() ? slots * 32 : 0) + (hasCompander ? slots * 64 : 0);
}
