//===- PointLayout.cpp - How numbers of points lie in words ---------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/PointLayout.h"

#include <algorithm>
#include <cassert>
#include <numeric>

using namespace glvq::lattice;

std::optional<PointLayout> PointLayout::create(int64_t columns, int64_t dim,
                                               int64_t group,
                                               std::vector<unsigned> fieldBits,
                                               std::string *error) {
  auto fail = [&](std::string message) -> std::optional<PointLayout> {
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
  for (unsigned bits : fieldBits)
    if (bits < 1 || bits > 64)
      return fail("a field of " + std::to_string(bits) + " bits");
  PointLayout layout;
  layout.columns = columns;
  layout.dim = dim;
  layout.group = group;
  layout.pointBits = std::accumulate(fieldBits.begin(), fieldBits.end(), 0u);
  layout.fieldBits = std::move(fieldBits);
  return layout;
}

int64_t PointLayout::getNumWords() const {
  int64_t full = columns / group, left = columns - full * group;
  int64_t points = (left + dim - 1) / dim;
  return full * getWordsPerSlot() + (points * pointBits + 31) / 32;
}

void PointLayout::pack(std::span<const uint64_t> fields,
                       std::span<int32_t> words) const {
  assert(static_cast<int64_t>(fields.size()) ==
         getNumPoints() * getNumFields());
  assert(static_cast<int64_t>(words.size()) == getNumWords());
  std::fill(words.begin(), words.end(), 0);
  size_t next = 0;
  for (int64_t point = 0, e = getNumPoints(); point < e; ++point) {
    int64_t bit = getBitOffset(point);
    for (unsigned width : fieldBits) {
      uint64_t field = fields[next++];
      assert(width == 64 || field >> width == 0);
      for (int64_t end = bit + width; bit < end;) {
        unsigned shift = bit % 32;
        words[bit / 32] |=
            static_cast<int32_t>(static_cast<uint32_t>(field << shift));
        int64_t taken = std::min<int64_t>(32 - shift, end - bit);
        field = taken == 64 ? 0 : field >> taken;
        bit += taken;
      }
    }
  }
}

bool PointLayout::unpack(std::span<const int32_t> words,
                         std::span<uint64_t> fields) const {
  assert(static_cast<int64_t>(fields.size()) ==
         getNumPoints() * getNumFields());
  assert(static_cast<int64_t>(words.size()) == getNumWords());
  size_t next = 0;
  bool clean = true;
  int64_t padding = 0; // Bits from here to the next point belong to nobody.
  auto checkPadding = [&](int64_t end) {
    if (padding % 32 &&
        static_cast<uint32_t>(words[padding / 32]) >> (padding % 32))
      clean &= end == padding;
  };
  for (int64_t point = 0, e = getNumPoints(); point < e; ++point) {
    int64_t bit = getBitOffset(point);
    checkPadding(bit);
    for (unsigned width : fieldBits) {
      uint64_t field = 0;
      for (unsigned filled = 0; filled < width;) {
        unsigned shift = bit % 32;
        unsigned taken = std::min(32 - shift, width - filled);
        uint64_t piece = static_cast<uint32_t>(words[bit / 32]) >> shift;
        piece &= (uint64_t(1) << taken) - 1;
        field |= piece << filled;
        filled += taken;
        bit += taken;
      }
      fields[next++] = field;
    }
    padding = bit;
  }
  checkPadding(-1);
  return clean;
}
