//===- Leech.cpp - Shells, classes and numbers of Leech points ------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Leech.h"
#include "glvq/Lattice/Golay.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdlib>

using namespace glvq::lattice;

uint32_t glvq::lattice::getBinomial(unsigned n, unsigned k) {
  static const auto table = [] {
    std::array<std::array<uint32_t, leechDim + 1>, leechDim + 1> t{};
    for (unsigned i = 0; i <= leechDim; ++i) {
      t[i][0] = 1;
      for (unsigned j = 1; j <= i; ++j)
        t[i][j] = t[i - 1][j - 1] + t[i - 1][j];
    }
    return t;
  }();
  assert(n <= leechDim);
  return k <= n ? table[n][k] : 0;
}

//===----------------------------------------------------------------------===//
// Classes
//===----------------------------------------------------------------------===//

unsigned LeechClass::getNumWords() const {
  return odd ? GolayCode::numWords : GolayCode::getCount(weight);
}

unsigned LeechClass::getFirstWord() const {
  return odd ? 0 : GolayCode::getFirst(weight);
}

namespace {

using Counts = std::vector<std::pair<uint8_t, uint8_t>>;

/// All multisets of `slots` values of `base`, base + step, … whose squares sum
/// to `norm`, few large values first.
void enumerate(unsigned slots, unsigned norm, int value, unsigned base,
               unsigned step, Counts &chosen,
               const std::function<void(const Counts &)> &found) {
  if (value < static_cast<int>(base)) {
    if (slots == 0 && norm == 0)
      found(chosen);
    return;
  }
  unsigned square = value * value;
  for (unsigned count = 0; count <= slots && count * square <= norm; ++count) {
    if (count)
      chosen.emplace_back(value, count);
    enumerate(slots - count, norm - count * square, value - step, base, step,
              chosen, found);
    if (count)
      chosen.pop_back();
  }
}

void enumerate(unsigned slots, unsigned norm, unsigned base, unsigned step,
               const std::function<void(const Counts &)> &found) {
  int largest = base;
  while (static_cast<unsigned>((largest + step) * (largest + step)) <= norm)
    largest += step;
  Counts chosen;
  enumerate(slots, norm, largest, base, step, chosen, found);
}

/// Fills in the choices of one side, `numChoices` of them, and returns the
/// value that takes the rest.
uint8_t addChoices(LeechSide side, const Counts &counts, unsigned slots,
                   LeechChoice *choices, size_t numChoices) {
  assert(counts.size() <= numChoices + 1 && "more values than choices");
  for (size_t i = 0; i < numChoices; ++i) {
    // A choice without a value takes nothing.
    bool used = i + 1 < counts.size();
    uint8_t value = used ? counts[i].first : 0,
            count = used ? counts[i].second : 0;
    choices[i] = {side, value, static_cast<uint8_t>(slots), count};
    slots -= count;
  }
  return counts.empty() ? 0 : counts.back().first;
}

void finish(LeechClass &c, std::vector<LeechClass> &classes) {
  if (c.odd) {
    c.restOn = c.restOff =
        addChoices(LeechSide::All, c.on, leechDim, c.choices.data(), 4);
  } else {
    c.restOn = addChoices(LeechSide::On, c.on, c.weight, c.choices.data(), 2);
    c.restOff = addChoices(LeechSide::Off, c.off, leechDim - c.weight,
                           c.choices.data() + 2, 2);
    c.signBits = c.weight ? c.weight - 1 : 0;
    for (auto [value, count] : c.off)
      c.signBits += value ? count : 0;
  }
  c.size = c.getNumWords();
  for (const LeechChoice &choice : c.choices)
    c.size *= getBinomial(choice.slots, choice.count);
  c.size <<= c.signBits;
  classes.push_back(c);
}

std::vector<LeechClass> makeClasses(unsigned shell) {
  std::vector<LeechClass> classes;
  unsigned norm = 16 * shell;
  auto sum = [](const Counts &counts) {
    unsigned s = 0;
    for (auto [value, count] : counts)
      s += value * count;
    return s;
  };
  for (unsigned weight : {0u, 8u, 12u, 16u, 24u})
    for (unsigned onNorm = 4 * weight; onNorm <= norm; onNorm += 4)
      enumerate(weight, onNorm, 2, 4, [&](const Counts &on) {
        enumerate(leechDim - weight, norm - onNorm, 0, 4,
                  [&](const Counts &off) {
                    LeechClass c;
                    c.shell = shell;
                    c.weight = weight;
                    // Every sign on the word moves the sum by 4 mod 8.
                    c.negatives = (sum(on) + sum(off)) / 4 % 2;
                    c.on = on;
                    c.off = off;
                    if (weight || !c.negatives)
                      finish(c, classes);
                  });
      });
  enumerate(leechDim, norm, 1, 2, [&](const Counts &counts) {
    // With signs fixed by the word (of a weight divisible by 4) the sum is 4
    // times the number of values = +-3 mod 8: it is 4 mod 8 when that number
    // is odd, hence when the number of the others is.
    unsigned number = 0;
    for (auto [value, count] : counts)
      if (value % 8 == 1 || value % 8 == 7)
        number += count;
    if (number % 2 == 0)
      return;
    LeechClass c;
    c.shell = shell;
    c.odd = true;
    c.on = counts;
    finish(c, classes);
  });
  return classes;
}

} // namespace

const std::vector<LeechClass> &glvq::lattice::getLeechClasses(unsigned shell) {
  static const auto all = [] {
    std::array<std::vector<LeechClass>, maxLeechShell + 1> classes;
    for (unsigned m = 0; m <= maxLeechShell; ++m)
      classes[m] = makeClasses(m);
    return classes;
  }();
  assert(shell <= maxLeechShell);
  return all[shell];
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

namespace {

/// What a point says about its class and its place in it.
struct Parsed {
  bool odd;
  uint32_t word;
  unsigned norm;
};

std::optional<Parsed> parse(const LeechPoint &point) {
  Parsed parsed{point[0] % 2 != 0, 0, 0};
  int sum = 0;
  for (unsigned i = 0; i < leechDim; ++i) {
    int x = point[i];
    if ((x % 2 != 0) != parsed.odd)
      return std::nullopt;
    parsed.word |= static_cast<uint32_t>((x - parsed.odd) / 2 & 1) << i;
    parsed.norm += x * x;
    sum += x;
  }
  if (!GolayCode::get().contains(parsed.word) ||
      (sum & 7) != (parsed.odd ? 4 : 0))
    return std::nullopt;
  return parsed;
}

bool isActive(LeechSide side, bool onWord) {
  return side == LeechSide::All || (side == LeechSide::On) == onWord;
}

} // namespace

std::optional<unsigned> glvq::lattice::getLeechShell(const LeechPoint &point) {
  std::optional<Parsed> parsed = parse(point);
  if (!parsed)
    return std::nullopt;
  return parsed->norm / 16;
}

LeechCodebook::LeechCodebook(unsigned first, unsigned last)
    : first(first), last(last), size(0) {
  assert(isValid(first, last));
  for (unsigned m = first; m <= last; ++m)
    for (const LeechClass &c : getLeechClasses(m)) {
      classes.push_back(&c);
      offsets.push_back(size);
      size += c.size;
    }
}

unsigned LeechCodebook::getIndexBits() const {
  return std::bit_width(size - 1);
}

LeechPoint LeechCodebook::getPoint(uint64_t index) const {
  assert(index < size);
  size_t number = std::upper_bound(offsets.begin(), offsets.end(), index) -
                  offsets.begin() - 1;
  const LeechClass &c = *classes[number];
  uint64_t local = index - offsets[number];
  uint64_t signs = local & ((uint64_t(1) << c.signBits) - 1);
  local >>= c.signBits;
  std::array<uint32_t, 4> ranks;
  std::array<LeechChoice, 4> left = c.choices;
  for (int i = 3; i >= 0; --i) {
    uint32_t radix = getBinomial(left[i].slots, left[i].count);
    ranks[i] = static_cast<uint32_t>(local % radix);
    local /= radix;
  }
  uint32_t word = GolayCode::get().getWord(c.getFirstWord() + local);

  LeechPoint point;
  unsigned negatives = 0;
  for (unsigned i = 0; i < leechDim; ++i) {
    bool onWord = word >> i & 1;
    int value = onWord ? c.restOn : c.restOff;
    for (unsigned j = 0; j < 4; ++j) {
      LeechChoice &choice = left[j];
      if (!isActive(choice.side, onWord))
        continue;
      // Combinations without the first of the positions left come first.
      uint32_t without = getBinomial(choice.slots - 1, choice.count);
      --choice.slots;
      if (ranks[j] >= without) {
        ranks[j] -= without;
        --choice.count;
        value = choice.value;
        break;
      }
    }
    bool negative;
    if (c.odd) {
      negative = (value % 4 == 3) != onWord;
    } else if (word >> i == 1) {
      // The last position of the word.
      negative = negatives % 2 != c.negatives;
    } else {
      negative = value && (signs & 1);
      signs >>= value != 0;
      negatives += negative && onWord;
    }
    point[i] = static_cast<int8_t>(negative ? -value : value);
  }
  return point;
}

std::optional<uint64_t> LeechCodebook::getIndex(const LeechPoint &point) const {
  std::optional<Parsed> parsed = parse(point);
  if (!parsed || parsed->norm / 16 > last || parsed->norm / 16 < first)
    return std::nullopt;
  // The counts of the point, as a class keeps them.
  std::array<std::array<uint8_t, 16>, 2> histogram{};
  for (unsigned i = 0; i < leechDim; ++i)
    ++histogram[!parsed->odd && !(parsed->word >> i & 1)][std::abs(point[i])];
  auto matches = [&](const Counts &counts, unsigned side) {
    return std::all_of(counts.begin(), counts.end(), [&](auto pair) {
      return histogram[side][pair.first] == pair.second;
    });
  };
  unsigned weight = parsed->odd ? 0 : std::popcount(parsed->word);
  size_t number = 0;
  for (;; ++number) {
    assert(number < classes.size() && "a point of the shells has a class");
    const LeechClass &c = *classes[number];
    // A class's counts add up to all positions, so that equal counts of its
    // values leave no other ones.
    if (c.shell == parsed->norm / 16 && c.odd == parsed->odd &&
        c.weight == weight && matches(c.on, 0) && matches(c.off, 1))
      break;
  }

  const LeechClass &c = *classes[number];
  uint64_t signs = 0;
  unsigned numSigns = 0;
  std::array<uint32_t, 4> ranks{};
  std::array<LeechChoice, 4> left = c.choices;
  for (unsigned i = 0; i < leechDim; ++i) {
    bool onWord = parsed->word >> i & 1;
    unsigned value = std::abs(point[i]);
    for (unsigned j = 0; j < 4; ++j) {
      LeechChoice &choice = left[j];
      if (!isActive(choice.side, onWord))
        continue;
      uint32_t without = getBinomial(choice.slots - 1, choice.count);
      --choice.slots;
      if (choice.count && value == choice.value) {
        ranks[j] += without;
        --choice.count;
        break;
      }
    }
    if (!c.odd && value && parsed->word >> i != 1)
      signs |= static_cast<uint64_t>(point[i] < 0) << numSigns++;
  }
  uint64_t local = GolayCode::get().getIndex(parsed->word) - c.getFirstWord();
  for (unsigned j = 0; j < 4; ++j)
    local =
        local * getBinomial(c.choices[j].slots, c.choices[j].count) + ranks[j];
  return offsets[number] + (local << c.signBits | signs);
}
