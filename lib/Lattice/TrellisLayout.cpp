//===- TrellisLayout.cpp - How the bits of trellis codes lie in words -----===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/TrellisLayout.h"

#include <algorithm>
#include <cassert>

using namespace glvq::lattice;

std::optional<TrellisLayout>
TrellisLayout::create(int64_t rows, int64_t columns, unsigned taps,
                      int64_t group, std::span<const WidthRun> widths,
                      std::string *error) {
  auto fail = [&](std::string message) -> std::optional<TrellisLayout> {
    if (error)
      *error = std::move(message);
    return std::nullopt;
  };
  if (rows < 1 || columns < 1 || group < 1)
    return fail("rows, columns and group must be positive");
  if (taps < 1 || taps > maxTaps)
    return fail("a trellis of " + std::to_string(taps) +
                " taps; taps are 1 to 32");

  TrellisLayout layout;
  layout.rows = rows;
  layout.columns = columns;
  layout.taps = taps;
  layout.group = group;
  int64_t numSlots = layout.getNumSlots(), slot = 0, word = 0;
  for (const WidthRun &width : widths) {
    if (width.width < 1 || width.width > CodeLayout::maxWidth)
      return fail("a width of " + std::to_string(width.width) +
                  " bits; widths are 1 to 8");
    if (width.width > taps)
      return fail("a width of " + std::to_string(width.width) +
                  " bits needs as many taps, got " + std::to_string(taps));
    if (width.slots < 1 || width.slots > numSlots - slot)
      return fail("the runs of widths do not add up to " +
                  std::to_string(numSlots) + " slots");
    Run run;
    run.width = width.width;
    run.firstSlot = slot;
    run.numSlots = width.slots;
    run.columns =
        std::min(columns, (slot + width.slots) * group) - slot * group;
    run.bitRows = rows * width.width + taps - width.width;
    run.rowWords = (run.columns + 31) / 32;
    run.firstWord = word;
    layout.runs.push_back(run);
    slot += width.slots;
    word += run.bitRows * run.rowWords;
  }
  if (slot != numSlots)
    return fail("the runs of widths cover " + std::to_string(slot) +
                " slots of " + std::to_string(numSlots));
  return layout;
}

int64_t TrellisLayout::getNumWords() const {
  const Run &last = runs.back();
  return last.firstWord + last.bitRows * last.rowWords;
}

int64_t TrellisLayout::getSlotColumns(int64_t slot) const {
  return std::min(group, columns - slot * group);
}

const TrellisLayout::Run &TrellisLayout::getRun(int64_t slot) const {
  auto run = std::find_if(runs.begin(), runs.end(), [&](const Run &run) {
    return slot < run.firstSlot + run.numSlots;
  });
  assert(run != runs.end() && "slot beyond the last");
  return *run;
}

void TrellisLayout::setColumn(const Run &run, int64_t column,
                              std::span<const uint8_t> bits,
                              std::span<int32_t> words) const {
  assert(static_cast<int64_t>(bits.size()) == run.bitRows);
  assert(static_cast<int64_t>(words.size()) == getNumWords());
  unsigned place = column % 32;
  int64_t word = run.firstWord + column / 32;
  for (int64_t r = 0; r < run.bitRows; ++r, word += run.rowWords) {
    auto value = static_cast<uint32_t>(words[word]) & ~(uint32_t(1) << place);
    value |= static_cast<uint32_t>(bits[r] & 1) << place;
    words[word] = static_cast<int32_t>(value);
  }
}

void TrellisLayout::getColumn(const Run &run, int64_t column,
                              std::span<const int32_t> words,
                              std::span<uint8_t> bits) const {
  assert(static_cast<int64_t>(bits.size()) == run.bitRows);
  assert(static_cast<int64_t>(words.size()) == getNumWords());
  int64_t word = run.firstWord + column / 32;
  for (int64_t r = 0; r < run.bitRows; ++r, word += run.rowWords)
    bits[r] = static_cast<uint32_t>(words[word]) >> column % 32 & 1;
}

int64_t TrellisLayout::getStorageBits(bool additive) const {
  int64_t nodes = additive ? int64_t(2) << taps / 2 : taps;
  int64_t slots = getNumSlots();
  return getNumWords() * 32 + static_cast<int64_t>(runs.size()) * nodes * 32 +
         rows * 16 + slots * 16 + (isMixed() ? slots * 32 : 0);
}

void glvq::lattice::decodeTrellisSlot(const TrellisLayout &layout,
                                      std::span<const int32_t> words,
                                      const TrellisParameters &parameters,
                                      int64_t slot, std::span<float> out) {
  const TrellisLayout::Run &run = layout.getRun(slot);
  unsigned taps = layout.getTaps(), half = taps / 2;
  auto index = static_cast<size_t>(&run - layout.getRuns().data());
  size_t size = parameters.additive ? size_t(2) << half : taps;
  assert(parameters.nodes.size() == layout.getRuns().size() * size);
  std::span<const float> nodes = parameters.nodes.subspan(index * size, size);
  int64_t group = parameters.order.empty() ? slot : parameters.order[slot];
  int64_t first = group * layout.getGroup();
  int64_t inRun = (slot - run.firstSlot) * layout.getGroup();

  std::vector<uint8_t> bits(run.bitRows);
  for (int64_t j = 0, e = layout.getSlotColumns(slot); j < e; ++j) {
    layout.getColumn(run, inRun + j, words, bits);
    // Bit i of the window is the one taps[i] belongs to: the newest is bit 0.
    uint64_t window = 0;
    for (unsigned r = 0; r < taps - run.width; ++r)
      window = window << 1 | bits[r];
    for (int64_t t = 0; t < layout.getRows(); ++t) {
      for (unsigned i = 0; i < run.width; ++i)
        window = window << 1 | bits[run.width * t + taps - run.width + i];
      window &= (uint64_t(1) << taps) - 1;
      float sum = 0;
      if (parameters.additive) {
        uint64_t low = window & ((uint64_t(1) << half) - 1);
        sum = nodes[low] + nodes[(size_t(1) << half) + (window >> half)];
      } else {
        for (unsigned i = 0; i < taps; ++i)
          sum += window >> i & 1 ? nodes[i] : -nodes[i];
      }
      out[t * layout.getColumns() + first + j] =
          parameters.scales[t] * parameters.groupScales[slot] * sum;
    }
  }
}
