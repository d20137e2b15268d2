//===- Golay.cpp - The extended binary Golay code -------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Golay.h"

#include <algorithm>
#include <utility>

using namespace glvq::lattice;

const GolayCode &GolayCode::get() {
  static const GolayCode code;
  return code;
}

GolayCode::GolayCode() {
  constexpr uint32_t generator = 0xC75;
  for (unsigned message = 0; message < numWords; ++message) {
    uint32_t word = 0;
    for (unsigned bit = 0; bit < 12; ++bit)
      if (message >> bit & 1)
        word ^= generator << bit;
    if (std::popcount(word) % 2)
      word |= 1u << 23;
    words[message] = word;
  }
  std::sort(words.begin(), words.end(), [](uint32_t a, uint32_t b) {
    return std::pair(std::popcount(a), a) < std::pair(std::popcount(b), b);
  });
  for (unsigned i = 0; i < numWords; ++i)
    indices[words[i] & 4095] = static_cast<uint16_t>(i);
}

unsigned GolayCode::getCount(unsigned weight) {
  switch (weight) {
  case 0:
  case 24:
    return 1;
  case 8:
  case 16:
    return 759;
  case 12:
    return 2576;
  default:
    return 0;
  }
}

unsigned GolayCode::getFirst(unsigned weight) {
  unsigned first = 0;
  for (unsigned w = 0; w < weight; ++w)
    first += getCount(w);
  return first;
}
