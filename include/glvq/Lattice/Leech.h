//===- Leech.h - The Leech lattice as a code --------------------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Points are integers x in Z^24 with, for p = 0 or 1: all x_i = p mod 2,
// ((x - p) / 2 mod 2) a word of the Golay code and sum x_i = 4 p mod 8
// (sqrt(8) times the even unimodular lattice). |x|^2 = 16 m on shell m; shell
// 1 is empty.
//
// A codebook is the union of consecutive shells, with or without the origin.
// Its points are numbered without being stored (docs/LeechLattice.md): a class
// is a parity, a word weight and a multiset of |x_i|; within a class the
// number is made of the number of the Golay word, one combination for every
// value, and the free signs.
//
// Searching follows Adoul and Barth: within a class and a word the best point
// pairs sorted values with sorted coordinates, and sums over runs of equal
// values telescope into prefix sums.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_LEECH_H
#define GLVQ_LATTICE_LEECH_H

#include "glvq/Lattice/ParallelFor.h"
#include "glvq/Lattice/PointLayout.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace glvq::lattice {

constexpr unsigned leechDim = 24;
/// The shells the class tables are made for; 0 stands for the origin.
constexpr unsigned maxLeechShell = 13;

using LeechPoint = std::array<int8_t, leechDim>;

/// m of the shell that holds the point, or nothing for integers that are not a
/// point of the lattice.
std::optional<unsigned> getLeechShell(const LeechPoint &point);

/// C(n, k) for n <= 24.
uint32_t getBinomial(unsigned n, unsigned k);

/// Which positions of a point a combination chooses from.
enum class LeechSide : uint8_t { All, On, Off };

/// `count` of the `slots` positions left on a side have the absolute value
/// `value`.
struct LeechChoice {
  LeechSide side = LeechSide::All;
  uint8_t value = 0, slots = 0, count = 0;
};

/// The points of one shell with the same parity, weight of the word and
/// multiset of absolute values.
///
/// Even points have the values 2, 6, 10 on the word and 0, 4, 8, 12 off it,
/// with any signs, except that the sign at the word's last position makes the
/// number of negative ones on the word even or odd (`negatives`). Odd points
/// have their signs fixed: = 3 mod 4 on the word, = 1 mod 4 off it.
struct LeechClass {
  unsigned shell = 0;
  bool odd = false;
  unsigned weight = 0;    ///< of the word; 0 for odd classes, which use all
  unsigned negatives = 0; ///< even: the parity of negative values on the word
  /// (value, count) descending by value; even classes: on the word, then off.
  std::vector<std::pair<uint8_t, uint8_t>> on, off;
  /// The choices that number the arrangements; the smallest value of a side
  /// takes the positions that are left.
  std::array<LeechChoice, 4> choices;
  uint8_t restOn = 0, restOff = 0;
  unsigned signBits = 0;
  uint64_t size = 0;

  unsigned getNumWords() const;
  unsigned getFirstWord() const;
};

/// All classes of a shell, in the order of numbering.
const std::vector<LeechClass> &getLeechClasses(unsigned shell);

/// The union of the shells first … last. `first` 0 adds the origin to the
/// shells 2 … last.
class LeechCodebook {
public:
  LeechCodebook(unsigned first, unsigned last);

  static bool isValid(unsigned first, unsigned last) {
    return last >= 2 && last <= maxLeechShell && first != 1 && first <= last;
  }

  unsigned getFirstShell() const { return first; }
  unsigned getLastShell() const { return last; }
  uint64_t getSize() const { return size; }
  /// Bits that number a point.
  unsigned getIndexBits() const;

  size_t getNumClasses() const { return classes.size(); }
  const LeechClass &getClass(size_t i) const { return *classes[i]; }
  /// The number of the first point of class i.
  uint64_t getOffset(size_t i) const { return offsets[i]; }

  /// The point of a number below getSize().
  LeechPoint getPoint(uint64_t index) const;
  /// The number of a point, or nothing when it is not in the codebook.
  std::optional<uint64_t> getIndex(const LeechPoint &point) const;

private:
  unsigned first, last;
  uint64_t size;
  std::vector<const LeechClass *> classes;
  std::vector<uint64_t> offsets;
};

/// The lattice point nearest to x, exactly. Returns the squared distance.
/// Coordinates of x must be within ±120.
float findNearestLeechPoint(std::span<const float, leechDim> x,
                            LeechPoint &point);

/// Finds codebook points near given vectors. Keeps nothing between calls; one
/// object serves all threads.
class LeechSearch {
public:
  explicit LeechSearch(const LeechCodebook &codebook);

  /// What `candidates` defaults to. On Gaussian data 16 already give the
  /// errors of the exact search to five digits, 4 lose 0.3 %.
  static constexpr unsigned defaultCandidates = 32;

  /// The point with the smallest |x - v|^2. Exact among the points of the
  /// `candidates` most promising pairs of parity and Golay word (of 8192; 0
  /// stands for all of them).
  LeechPoint findNearest(std::span<const float, leechDim> x,
                         unsigned candidates = defaultCandidates) const;
  /// The point with the largest <x, v> / |v|, the origin excluded; exact among
  /// candidates as above.
  LeechPoint findDirection(std::span<const float, leechDim> x,
                           unsigned candidates = defaultCandidates) const;

private:
  struct Tables;

  LeechPoint find(std::span<const float, leechDim> x, unsigned candidates,
                  bool angular) const;

  std::shared_ptr<const Tables> tables;
};

/// How blocks of 24 numbers are coded: `#glvq.leech` of the dialect.
struct LeechCode {
  unsigned firstShell = 0, lastShell = maxLeechShell;
  /// Empty: a block is a point. 2^g gains, ascending: a block is the direction
  /// of a point (norm 1; not the origin, so that firstShell >= 2) times one of
  /// them.
  std::vector<float> gains;
  /// Not 0: the error of the first stage is coded as well, as a point of this
  /// shell times `residualScale`.
  unsigned residualShell = 0;
  float residualScale = 0;

  unsigned candidates = LeechSearch::defaultCandidates;

  /// Bits that number a gain.
  unsigned getGainBits() const;
  /// The widths of the fields of a block: the number of the point with that of
  /// the gain above it, and the number of the point of the residual.
  std::vector<unsigned> getFieldBits() const;
};

/// Encodes x, whole blocks of 24 floats, to the fields of each block. What
/// they stand for, in the units of x, goes to `decoded` (as long as x).
void encodeLeech(const LeechCode &code, std::span<const float> x,
                 std::span<uint64_t> fields, std::span<float> decoded,
                 const ParallelFor &parallelFor);

/// Decodes what encodeLeech() gives.
void decodeLeech(const LeechCode &code, std::span<const uint64_t> fields,
                 std::span<float> decoded, const ParallelFor &parallelFor);

/// The first block with the number of a point that the code does not have, or
/// nothing. decodeLeech() must not see one.
std::optional<int64_t> findBadLeechBlock(const LeechCode &code,
                                         std::span<const uint64_t> fields);

/// One row of a weight in storage: `words` are its packed codes, `groupScales`
/// one for each slot; `out` has layout.getColumns() elements. The numbers must
/// be good (see findBadLeechBlock).
void decodeLeechRow(const PointLayout &layout, const LeechCode &code,
                    std::span<const int32_t> words, float scale,
                    std::span<const float> groupScales, std::span<float> out);

/// The 2^bits gains for blocks of N(0, 1) and directions with the mean cosine
/// <x, v> / (|x| |v|): Lloyd's algorithm on the chi distribution with 24
/// degrees of freedom, scaled by the cosine.
std::vector<float> makeLeechGains(unsigned bits, double cosine);

/// A code with the gains and the scale of the residual that suit N(0, 1), and
/// the unit: x / unit is what encodeLeech() should be given. Both are found on
/// 512 pseudo-random blocks, always the same; a second or so, the first time.
struct GaussianLeechCode {
  LeechCode code;
  float unit = 1;
};
GaussianLeechCode makeGaussianLeechCode(unsigned firstShell, unsigned lastShell,
                                        unsigned gainBits,
                                        unsigned residualShell);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_LEECH_H
