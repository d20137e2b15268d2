//===- Intrinsics.cpp - What stands for the instructions of a GPU ---------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// One function for each intrinsic of NVPTX that kernels use, by the text of the
// PTX ISA. Each takes the operands of the intrinsic and the site of its call.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace glvq::emulator;
using llvm::bit_cast;
using llvm::formatv;

namespace {
//===----------------------------------------------------------------------===//
// Small floats
//===----------------------------------------------------------------------===//

float fromHalf(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
  if (magnitude >= 0x7c00) // infinity, NaN
    return bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  // As a float with the bias of a half; the product corrects the bias, and
  // makes subnormal numbers what they are.
  float scaled = bit_cast<float>(magnitude << 13) * 0x1p112f;
  return bit_cast<float>(bit_cast<uint32_t>(scaled) | sign);
}

uint16_t toHalf(float value) {
  llvm::APFloat number(value);
  bool inexact;
  number.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven,
                 &inexact);
  return number.bitcastToAPInt().getZExtValue();
}

float fromBFloat(uint16_t bits) {
  return bit_cast<float>(uint32_t(bits) << 16);
}

float half0(uint32_t pair) { return fromHalf(pair); }
float half1(uint32_t pair) { return fromHalf(pair >> 16); }
uint32_t pairOf(float low, float high) {
  return toHalf(low) | uint32_t(toHalf(high)) << 16;
}

//===----------------------------------------------------------------------===//
// Special registers
//===----------------------------------------------------------------------===//

Machine &machine() { return Machine::get(); }

uint32_t tidX(Site) { return machine().thread().index.x; }
uint32_t tidY(Site) { return machine().thread().index.y; }
uint32_t tidZ(Site) { return machine().thread().index.z; }
uint32_t ntidX(Site) { return machine().block.x; }
uint32_t ntidY(Site) { return machine().block.y; }
uint32_t ntidZ(Site) { return machine().block.z; }
uint32_t ctaidX(Site) { return machine().blockIndex.x; }
uint32_t ctaidY(Site) { return machine().blockIndex.y; }
uint32_t ctaidZ(Site) { return machine().blockIndex.z; }
uint32_t nctaidX(Site) { return machine().grid.x; }
uint32_t nctaidY(Site) { return machine().grid.y; }
uint32_t nctaidZ(Site) { return machine().grid.z; }
uint32_t laneId(Site) { return machine().thread().lane(); }
uint32_t warpSizeRegister(Site) { return warpSize; }

//===----------------------------------------------------------------------===//
// Barriers and what lanes tell each other
//===----------------------------------------------------------------------===//

void barrierAll(uint32_t id, Site site) {
  if (id != 0)
    machine().fail(site, "named barriers are not emulated");
  machine().barrier(site);
}
void barrier0(Site site) { machine().barrier(site); }
void warpBarrier(uint32_t mask, Site site) {
  machine().collective(site, mask,
                       [](Thread *warp) { machine().orderWarp(warp->warp()); });
}
void fence(Site) {}

enum class Shuffle { Butterfly, Index, Up, Down };

/// The lane that `lane` reads from, and whether it is in range (else the lane
/// itself). `clamp` is the operand c: the segment mask and the clamp.
std::pair<uint32_t, bool> getSource(Shuffle mode, uint32_t lane,
                                    uint32_t operand, uint32_t clamp) {
  uint32_t segment = clamp >> 8 & 31, limit = clamp & 31;
  uint32_t first = lane & segment, last = first | (limit & ~segment);
  operand &= 31;
  uint32_t source = lane;
  bool valid = false;
  switch (mode) {
  case Shuffle::Butterfly:
    source = lane ^ operand;
    valid = source <= last;
    break;
  case Shuffle::Index:
    source = first | (operand & ~segment);
    valid = source <= last;
    break;
  case Shuffle::Up:
    source = lane - operand;
    valid = static_cast<int32_t>(source) >= static_cast<int32_t>(last);
    break;
  case Shuffle::Down:
    source = lane + operand;
    valid = source <= last;
    break;
  }
  return {valid ? source : lane, valid};
}

template <Shuffle mode>
uint32_t *shuffle(uint32_t mask, uint32_t value, uint32_t operand,
                  uint32_t clamp, Site site) {
  Thread &self = machine().thread();
  self.in[0] = value;
  self.in[1] = operand;
  self.in[2] = clamp;
  machine().collective(site, mask, [=](Thread *warp) {
    for (uint32_t lane = 0; lane != warpSize; ++lane) {
      if (!(mask >> lane & 1))
        continue;
      auto [source, valid] =
          getSource(mode, lane, warp[lane].in[1], warp[lane].in[2]);
      if (!(mask >> source & 1))
        machine().fail(site,
                       formatv("shuffle from inactive lane {0}: the mask is "
                               "{1:x8}",
                               source, mask),
                       &warp[lane]);
      warp[lane].out[0] = warp[source].in[0];
      warp[lane].out[1] = valid;
    }
  });
  return self.out;
}
template <Shuffle mode>
uint32_t shuffleI32(uint32_t mask, uint32_t value, uint32_t operand,
                    uint32_t clamp, Site site) {
  return *shuffle<mode>(mask, value, operand, clamp, site);
}
template <Shuffle mode>
float shuffleF32(uint32_t mask, float value, uint32_t operand, uint32_t clamp,
                 Site site) {
  return bit_cast<float>(
      *shuffle<mode>(mask, bit_cast<uint32_t>(value), operand, clamp, site));
}
struct ShuffleResult {
  uint32_t value;
  bool valid;
};
template <Shuffle mode>
void shuffleI32P(ShuffleResult *result, uint32_t mask, uint32_t value,
                 uint32_t operand, uint32_t clamp, Site site) {
  uint32_t *out = shuffle<mode>(mask, value, operand, clamp, site);
  *result = {out[0], out[1] != 0};
}
template <Shuffle mode>
void shuffleF32P(ShuffleResult *result, uint32_t mask, float value,
                 uint32_t operand, uint32_t clamp, Site site) {
  shuffleI32P<mode>(result, mask, bit_cast<uint32_t>(value), operand, clamp,
                    site);
}

/// Combines the values of the lanes of `mask`.
template <typename T, typename Combine>
uint32_t reduce(uint32_t value, uint32_t mask, Site site, Combine combine) {
  Thread &self = machine().thread();
  self.in[0] = value;
  machine().collective(site, mask, [=](Thread *warp) {
    bool first = true;
    T sum = 0;
    for (uint32_t lane = 0; lane != warpSize; ++lane)
      if (mask >> lane & 1) {
        T next = static_cast<T>(warp[lane].in[0]);
        sum = first ? next : combine(sum, next);
        first = false;
      }
    for (uint32_t lane = 0; lane != warpSize; ++lane)
      warp[lane].out[0] = static_cast<uint32_t>(sum);
  });
  return self.out[0];
}
uint32_t reduceAdd(uint32_t value, uint32_t mask, Site site) {
  return reduce<uint32_t>(value, mask, site,
                          [](uint32_t a, uint32_t b) { return a + b; });
}
uint32_t reduceMin(uint32_t value, uint32_t mask, Site site) {
  return reduce<int32_t>(value, mask, site,
                         [](int32_t a, int32_t b) { return std::min(a, b); });
}
uint32_t reduceMax(uint32_t value, uint32_t mask, Site site) {
  return reduce<int32_t>(value, mask, site,
                         [](int32_t a, int32_t b) { return std::max(a, b); });
}
uint32_t reduceUMin(uint32_t value, uint32_t mask, Site site) {
  return reduce<uint32_t>(
      value, mask, site, [](uint32_t a, uint32_t b) { return std::min(a, b); });
}
uint32_t reduceUMax(uint32_t value, uint32_t mask, Site site) {
  return reduce<uint32_t>(
      value, mask, site, [](uint32_t a, uint32_t b) { return std::max(a, b); });
}

uint32_t ballot(uint32_t mask, uint32_t predicate, Site site) {
  uint32_t bit = predicate ? uint32_t(1) << machine().thread().lane() : 0;
  return reduce<uint32_t>(bit, mask, site,
                          [](uint32_t a, uint32_t b) { return a | b; });
}
bool voteAny(uint32_t mask, uint32_t predicate, Site site) {
  return ballot(mask, predicate, site) != 0;
}
bool voteAll(uint32_t mask, uint32_t predicate, Site site) {
  return ballot(mask, predicate, site) == mask;
}

//===----------------------------------------------------------------------===//
// Matrices. Lane l has the group g = l / 4 and the place t = l % 4 in it; how
// the elements of fragments lie is in the PTX ISA, "Matrix Fragments for
// mma.m16n8k16" and the like.
//===----------------------------------------------------------------------===//

/// D = A B + C with A of bytes (16 x 32), B of bytes (32 x 8).
template <bool unsignedA, bool unsignedB, bool saturate>
void mma16832(uint32_t *result, uint32_t a0, uint32_t a1, uint32_t a2,
              uint32_t a3, uint32_t b0, uint32_t b1, uint32_t c0, uint32_t c1,
              uint32_t c2, uint32_t c3, Site site) {
  Thread &self = machine().thread();
  uint32_t operands[] = {a0, a1, a2, a3, b0, b1, c0, c1, c2, c3};
  std::copy(std::begin(operands), std::end(operands), self.in);
  machine().collective(site, ~uint32_t(0), [](Thread *warp) {
    auto element = [](uint32_t word, int byte, bool isUnsigned) -> int16_t {
      auto bits = static_cast<uint8_t>(word >> 8 * byte);
      return isUnsigned ? bits : static_cast<int8_t>(bits);
    };
    alignas(64) int16_t a[16][32], b[8][32];
    for (uint32_t lane = 0; lane != warpSize; ++lane) {
      const uint32_t *in = warp[lane].in;
      uint32_t g = lane / 4, t = lane % 4;
      for (int i = 0; i != 4; ++i)
        for (int byte = 0; byte != 4; ++byte)
          a[g + 8 * (i & 1)][16 * (i >> 1) + 4 * t + byte] =
              element(in[i], byte, unsignedA);
      for (int i = 0; i != 2; ++i)
        for (int byte = 0; byte != 4; ++byte)
          b[g][16 * i + 4 * t + byte] = element(in[4 + i], byte, unsignedB);
    }
    int32_t products[16][8];
    for (int row = 0; row != 16; ++row)
      for (int column = 0; column != 8; ++column) {
        int32_t sum = 0;
        for (int k = 0; k != 32; ++k)
          sum += int32_t(a[row][k]) * b[column][k];
        products[row][column] = sum;
      }
    for (uint32_t lane = 0; lane != warpSize; ++lane)
      for (int i = 0; i != 4; ++i) {
        int32_t product =
            products[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)];
        uint32_t c = warp[lane].in[6 + i];
        int64_t exact = int64_t(static_cast<int32_t>(c)) + product;
        warp[lane].out[i] =
            saturate ? static_cast<uint32_t>(
                           std::clamp<int64_t>(exact, INT32_MIN, INT32_MAX))
                     : c + static_cast<uint32_t>(product);
      }
  });
  std::copy_n(self.out, 4, result);
}

/// D = A B + C with A (16 x depth) and B (depth x 8) of 16-bit floats. Operands
/// are the words of A, B and C, in this order. The hardware sums up in an order
/// and precision of its own; here it is the exact sum of products, rounded
/// once.
template <int depth, bool isBFloat, bool halfC, bool halfD>
void mmaFloat(uint32_t *result) {
  constexpr int wordsA = depth / 4, wordsB = depth / 8;
  machine();
  Thread &self = machine().thread();
  machine().collective(self.site, ~uint32_t(0), [](Thread *warp) {
    auto element = [](uint32_t word, int i) {
      auto bits = static_cast<uint16_t>(word >> 16 * i);
      return isBFloat ? fromBFloat(bits) : fromHalf(bits);
    };
    float a[16][depth], b[8][depth];
    for (uint32_t lane = 0; lane != warpSize; ++lane) {
      const uint32_t *in = warp[lane].in;
      uint32_t g = lane / 4, t = lane % 4;
      for (int word = 0; word != wordsA; ++word)
        for (int i = 0; i != 2; ++i)
          a[g + 8 * (word & 1)][8 * (word >> 1) + 2 * t + i] =
              element(in[word], i);
      for (int word = 0; word != wordsB; ++word)
        for (int i = 0; i != 2; ++i)
          b[g][8 * word + 2 * t + i] = element(in[wordsA + word], i);
    }
    for (uint32_t lane = 0; lane != warpSize; ++lane) {
      const uint32_t *c = warp[lane].in + wordsA + wordsB;
      float sums[4];
      for (int i = 0; i != 4; ++i) {
        int row = lane / 4 + 8 * (i >> 1), column = 2 * (lane % 4) + (i & 1);
        double sum =
            halfC ? fromHalf(c[i / 2] >> 16 * (i & 1)) : bit_cast<float>(c[i]);
        for (int k = 0; k != depth; ++k)
          sum += double(a[row][k]) * b[column][k];
        sums[i] = static_cast<float>(sum);
      }
      for (int i = 0; i != 4; ++i)
        if (!halfD)
          warp[lane].out[i] = bit_cast<uint32_t>(sums[i]);
        else if (i % 2 == 0)
          warp[lane].out[i / 2] = pairOf(sums[i], sums[i + 1]);
    }
  });
  std::copy_n(self.out, halfD ? 2 : 4, result);
}

void setOperands(std::initializer_list<uint32_t> operands, Site site) {
  std::copy(operands.begin(), operands.end(), machine().thread().in);
  machine().thread().site = site;
}
template <bool isBFloat>
void mma16816F32(uint32_t *result, uint32_t a0, uint32_t a1, uint32_t a2,
                 uint32_t a3, uint32_t b0, uint32_t b1, float c0, float c1,
                 float c2, float c3, Site site) {
  setOperands({a0, a1, a2, a3, b0, b1, bit_cast<uint32_t>(c0),
               bit_cast<uint32_t>(c1), bit_cast<uint32_t>(c2),
               bit_cast<uint32_t>(c3)},
              site);
  mmaFloat<16, isBFloat, false, false>(result);
}
void mma16816F16(uint32_t *result, uint32_t a0, uint32_t a1, uint32_t a2,
                 uint32_t a3, uint32_t b0, uint32_t b1, uint32_t c0,
                 uint32_t c1, Site site) {
  setOperands({a0, a1, a2, a3, b0, b1, c0, c1}, site);
  mmaFloat<16, false, true, true>(result);
}
template <bool isBFloat>
void mma1688F32(uint32_t *result, uint32_t a0, uint32_t a1, uint32_t b0,
                float c0, float c1, float c2, float c3, Site site) {
  setOperands({a0, a1, b0, bit_cast<uint32_t>(c0), bit_cast<uint32_t>(c1),
               bit_cast<uint32_t>(c2), bit_cast<uint32_t>(c3)},
              site);
  mmaFloat<8, isBFloat, false, false>(result);
}
void mma1688F16(uint32_t *result, uint32_t a0, uint32_t a1, uint32_t b0,
                uint32_t c0, uint32_t c1, Site site) {
  setOperands({a0, a1, b0, c0, c1}, site);
  mmaFloat<8, false, true, true>(result);
}

/// `count` matrices of 8 x 8 16-bit elements; lane 8 m + r gives the address of
/// row r of matrix m.
template <int count, bool transposed>
void ldmatrix(uint32_t *result, const char *address, Site site) {
  Thread &self = machine().thread();
  auto bits = reinterpret_cast<uintptr_t>(address);
  std::memcpy(self.in, &bits, sizeof(bits));
  constexpr uint32_t sharedSpace = 3, rowBytes = 16;
  if (self.lane() < 8 * count)
    machine().check(address, rowBytes, rowBytes, Access::Load, sharedSpace,
                    site);
  machine().collective(site, ~uint32_t(0), [](Thread *warp) {
    for (int matrix = 0; matrix != count; ++matrix) {
      uint16_t elements[8][8];
      for (int row = 0; row != 8; ++row) {
        const char *source;
        std::memcpy(&source, warp[8 * matrix + row].in, sizeof(source));
        std::memcpy(elements[row], source, rowBytes);
      }
      for (uint32_t lane = 0; lane != warpSize; ++lane) {
        int g = lane / 4, t = lane % 4;
        uint32_t low = transposed ? elements[2 * t][g] : elements[g][2 * t];
        uint32_t high =
            transposed ? elements[2 * t + 1][g] : elements[g][2 * t + 1];
        warp[lane].out[matrix] = low | high << 16;
      }
    }
  });
  std::copy_n(self.out, count, result);
}
template <bool transposed>
uint32_t ldmatrix1(const char *address, Site site) {
  uint32_t result;
  ldmatrix<1, transposed>(&result, address, site);
  return result;
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

template <uint32_t bytes>
void copyAsync(char *target, const char *source, Site site) {
  machine().copyAsync(target, source, bytes, bytes, site);
}
template <uint32_t bytes>
void copyAsyncPart(char *target, const char *source, uint32_t copied,
                   Site site) {
  if (copied > bytes)
    machine().fail(site, formatv("cp.async of {0} bytes from a source of {1}",
                                 bytes, copied));
  machine().copyAsync(target, source, bytes, copied, site);
}
void commitCopies(Site) { machine().commitCopies(); }
void waitForGroups(uint32_t left, Site) { machine().waitForCopies(left); }
void waitForAll(Site) {
  machine().commitCopies();
  machine().waitForCopies(0);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

template <bool unsignedA, bool unsignedB>
uint32_t dp4a(uint32_t a, uint32_t b, uint32_t c, Site) {
  for (int i = 0; i != 4; ++i) {
    auto byteA = static_cast<uint8_t>(a >> 8 * i);
    auto byteB = static_cast<uint8_t>(b >> 8 * i);
    int32_t x = unsignedA ? byteA : static_cast<int8_t>(byteA);
    int32_t y = unsignedB ? byteB : static_cast<int8_t>(byteB);
    c += static_cast<uint32_t>(x * y);
  }
  return c;
}
/// Bytes of {b, a}, selected by four nibbles; their top bit spreads the sign.
uint32_t permute(uint32_t a, uint32_t b, uint32_t selector, Site) {
  uint64_t bytes = uint64_t(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i != 4; ++i) {
    uint32_t select = selector >> 4 * i & 15;
    auto byte = static_cast<uint8_t>(bytes >> 8 * (select & 7));
    if (select & 8)
      byte = byte & 0x80 ? 0xff : 0;
    result |= uint32_t(byte) << 8 * i;
  }
  return result;
}

/// The approximations of the hardware are within a few units in the last place
/// of what the host computes.
float exp2Float(float x, Site) { return std::exp2(x); }
float log2Float(float x, Site) { return std::log2(x); }
float reciprocal(float x, Site) { return 1 / x; }
float reciprocalRoot(float x, Site) { return 1 / std::sqrt(x); }
float squareRoot(float x, Site) { return std::sqrt(x); }
float sine(float x, Site) { return std::sin(x); }
float cosine(float x, Site) { return std::cos(x); }
float tangentHyperbolic(float x, Site) { return std::tanh(x); }
float divide(float x, float y, Site) { return x / y; }
float fusedMultiplyAdd(float x, float y, float z, Site) {
  return std::fma(x, y, z);
}
float absolute(float x, Site) { return std::fabs(x); }
float maximum(float x, float y, Site) { return std::fmax(x, y); }
float minimum(float x, float y, Site) { return std::fmin(x, y); }
int32_t toIntNearest(float x, Site) {
  if (std::isnan(x))
    return 0;
  return static_cast<int32_t>(
      std::clamp(std::nearbyint(double(x)), -0x1p31, 0x1p31 - 1));
}
uint16_t exp2Half(uint16_t x, Site) { return toHalf(std::exp2(fromHalf(x))); }
uint32_t exp2HalfPair(uint32_t x, Site) {
  return pairOf(std::exp2(half0(x)), std::exp2(half1(x)));
}
uint32_t fmaHalfPair(uint32_t x, uint32_t y, uint32_t z, Site) {
  // A product of halves is exact in a float, but its sum is not: doubles.
  auto one = [](float a, float b, float c) {
    return static_cast<float>(double(a) * b + c);
  };
  return pairOf(one(half0(x), half0(y), half0(z)),
                one(half1(x), half1(y), half1(z)));
}
uint32_t absHalfPair(uint32_t x, Site) { return x & 0x7fff7fff; }

template <typename Function>
void *erase(Function *function) {
  return reinterpret_cast<void *>(function);
}

llvm::StringMap<void *> makeTable() {
  llvm::StringMap<void *> table;
  auto add = [&](llvm::StringRef name, auto *function) {
    table[name] = erase(function);
  };
  add("read.ptx.sreg.tid.x", tidX);
  add("read.ptx.sreg.tid.y", tidY);
  add("read.ptx.sreg.tid.z", tidZ);
  add("read.ptx.sreg.ntid.x", ntidX);
  add("read.ptx.sreg.ntid.y", ntidY);
  add("read.ptx.sreg.ntid.z", ntidZ);
  add("read.ptx.sreg.ctaid.x", ctaidX);
  add("read.ptx.sreg.ctaid.y", ctaidY);
  add("read.ptx.sreg.ctaid.z", ctaidZ);
  add("read.ptx.sreg.nctaid.x", nctaidX);
  add("read.ptx.sreg.nctaid.y", nctaidY);
  add("read.ptx.sreg.nctaid.z", nctaidZ);
  add("read.ptx.sreg.laneid", laneId);
  add("read.ptx.sreg.warpsize", warpSizeRegister);

  add("barrier0", barrier0);
  add("barrier.cta.sync.aligned.all", barrierAll);
  add("barrier.cta.sync.all", barrierAll);
  add("bar.warp.sync", warpBarrier);
  add("membar.cta", fence);
  add("membar.gl", fence);
  add("membar.sys", fence);

  auto addShuffle = [&]<Shuffle mode>(const std::string &name) {
    add(name + ".i32", shuffleI32<mode>);
    add(name + ".f32", shuffleF32<mode>);
    add(name + ".i32p", shuffleI32P<mode>);
    add(name + ".f32p", shuffleF32P<mode>);
  };
  addShuffle.operator()<Shuffle::Butterfly>("shfl.sync.bfly");
  addShuffle.operator()<Shuffle::Index>("shfl.sync.idx");
  addShuffle.operator()<Shuffle::Up>("shfl.sync.up");
  addShuffle.operator()<Shuffle::Down>("shfl.sync.down");
  add("redux.sync.add", reduceAdd);
  add("redux.sync.min", reduceMin);
  add("redux.sync.max", reduceMax);
  add("redux.sync.umin", reduceUMin);
  add("redux.sync.umax", reduceUMax);
  add("vote.ballot.sync", ballot);
  add("vote.any.sync", voteAny);
  add("vote.all.sync", voteAll);

  const std::string mma = "mma.m16n8k32.row.col.", clamped = mma + "satfinite.";
  add(mma + "s8", mma16832<false, false, false>);
  add(mma + "s8.u8", mma16832<false, true, false>);
  add(mma + "u8.s8", mma16832<true, false, false>);
  add(mma + "u8", mma16832<true, true, false>);
  add(clamped + "s8", mma16832<false, false, true>);
  add(clamped + "s8.u8", mma16832<false, true, true>);
  add(clamped + "u8.s8", mma16832<true, false, true>);
  add(clamped + "u8", mma16832<true, true, true>);
  add("mma.m16n8k16.row.col.f32.f32", mma16816F32<false>);
  add("mma.m16n8k16.row.col.f16.f16", mma16816F16);
  add("mma.m16n8k16.row.col.bf16", mma16816F32<true>);
  add("mma.m16n8k8.row.col.f32.f32", mma1688F32<false>);
  add("mma.m16n8k8.row.col.f16.f16", mma1688F16);
  add("mma.m16n8k8.row.col.bf16", mma1688F32<true>);
  const std::string load = "ldmatrix.sync.aligned.m8n8.";
  add(load + "x1.b16", ldmatrix1<false>);
  add(load + "x2.b16", ldmatrix<2, false>);
  add(load + "x4.b16", ldmatrix<4, false>);
  add(load + "x1.trans.b16", ldmatrix1<true>);
  add(load + "x2.trans.b16", ldmatrix<2, true>);
  add(load + "x4.trans.b16", ldmatrix<4, true>);

  const std::string copy = "cp.async.";
  add(copy + "ca.shared.global.4", copyAsync<4>);
  add(copy + "ca.shared.global.8", copyAsync<8>);
  add(copy + "ca.shared.global.16", copyAsync<16>);
  add(copy + "cg.shared.global.16", copyAsync<16>);
  add(copy + "ca.shared.global.4.s", copyAsyncPart<4>);
  add(copy + "ca.shared.global.8.s", copyAsyncPart<8>);
  add(copy + "ca.shared.global.16.s", copyAsyncPart<16>);
  add(copy + "cg.shared.global.16.s", copyAsyncPart<16>);
  add(copy + "commit.group", commitCopies);
  add(copy + "wait.group", waitForGroups);
  add(copy + "wait.all", waitForAll);

  add("idp4a.s.s", dp4a<false, false>);
  add("idp4a.s.u", dp4a<false, true>);
  add("idp4a.u.s", dp4a<true, false>);
  add("idp4a.u.u", dp4a<true, true>);
  add("prmt", permute);
  for (const char *name : {"ex2.approx.f", "ex2.approx.ftz.f", "ex2.approx.f32",
                           "ex2.approx.ftz.f32"})
    add(name, exp2Float);
  add("ex2.approx.f16", exp2Half);
  add("ex2.approx.v2f16", exp2HalfPair);
  add("ex2.approx.f16x2", exp2HalfPair);
  for (const char *name : {"lg2.approx.f", "lg2.approx.ftz.f"})
    add(name, log2Float);
  for (const char *name : {"rcp.approx.ftz.f", "rcp.rn.f", "rcp.rn.ftz.f"})
    add(name, reciprocal);
  for (const char *name : {"rsqrt.approx.f", "rsqrt.approx.ftz.f"})
    add(name, reciprocalRoot);
  for (const char *name :
       {"sqrt.approx.f", "sqrt.approx.ftz.f", "sqrt.rn.f", "sqrt.rn.ftz.f"})
    add(name, squareRoot);
  add("sin.approx.f", sine);
  add("cos.approx.f", cosine);
  add("tanh.approx.f32", tangentHyperbolic);
  for (const char *name : {"div.approx.f", "div.full", "div.rn.f"})
    add(name, divide);
  add("fma.rn.f", fusedMultiplyAdd);
  add("fma.rn.f16x2", fmaHalfPair);
  for (const char *name : {"fabs.f32", "fabs.ftz.f32"})
    add(name, absolute);
  add("fabs.v2f16", absHalfPair);
  add("fmax.f", maximum);
  add("fmin.f", minimum);
  add("f2i.rn", toIntNearest);
  return table;
}
} // namespace

void *glvq::emulator::lookupIntrinsic(llvm::StringRef name) {
  static const llvm::StringMap<void *> table = makeTable();
  // Overloads on pointers end in their address space: .p3
  auto [stem, suffix] = name.rsplit('.');
  unsigned space;
  if (suffix.consume_front("p") && !suffix.getAsInteger(10, space))
    name = stem;
  return table.lookup(name);
}
