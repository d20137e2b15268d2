//===- LeechSearch.cpp - Points of the Leech lattice near vectors ---------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// A point is fixed by its parity p, its Golay word c and integers k:
// x_i = p + 2 c_i + 4 k_i with sum k_i = p mod 2. For fixed (p, c) the nearest
// point rounds every coordinate and, when the sum has the wrong parity, takes
// the cheapest second choice. Costs are sums over three octets of positions
// with 256 words each, so that all 8192 pairs take three look-ups.
//
// In a codebook of shells the search has two steps. The unbounded costs at a
// vector scaled to the codebook's radius (a Lagrange multiplier for the norm)
// bound what a pair can give; the most promising ones are then solved exactly,
// class by class.
//
//===----------------------------------------------------------------------===//

#include "Multiversion.h"
#include "glvq/Lattice/Golay.h"
#include "glvq/Lattice/Leech.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

using namespace glvq::lattice;

static constexpr float infinity = std::numeric_limits<float>::infinity();
static constexpr unsigned numWords = GolayCode::numWords;
static constexpr unsigned numPairs = 2 * numWords;

//===----------------------------------------------------------------------===//
// Pairs of parity and word, without regard to the norm
//===----------------------------------------------------------------------===//

namespace {

/// What rounding x_i to r + 4 k gives, for r = 0 … 3.
struct Roundings {
  float cost[4][leechDim];    ///< squared error of the nearest k
  float penalty[4][leechDim]; ///< what the second nearest costs more
  int32_t k[4][leechDim];
  int32_t step[4][leechDim]; ///< from k to the second nearest: 1 or -1
};

/// The costs of the 256 words of each octet, for each p. Penalties are the
/// smallest ones; their sign bit is the parity of sum k_i.
struct OctetTables {
  float cost[2][3][256];
  float penalty[2][3][256];
};

void xorSign(float &value, uint32_t sign) {
  value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ sign);
}

GLVQ_MULTIVERSION void roundCoordinates(const float *x, Roundings &out) {
  for (int r = 0; r < 4; ++r)
    for (unsigned i = 0; i < leechDim; ++i) {
      float k = __builtin_roundevenf((x[i] - r) * 0.25f);
      float error = x[i] - (r + 4 * k);
      // (4 - |e|)^2 - e^2
      float magnitude = __builtin_fabsf(error);
      out.cost[r][i] = error * error;
      out.penalty[r][i] = 16 - 8 * magnitude;
      out.k[r][i] = static_cast<int32_t>(k);
      out.step[r][i] = error > 0 ? 1 : -1;
    }
}

GLVQ_MULTIVERSION void fillTables(const Roundings &in, OctetTables &out) {
  for (int p = 0; p < 2; ++p)
    for (int octet = 0; octet < 3; ++octet) {
      float *cost = out.cost[p][octet], *penalty = out.penalty[p][octet];
      cost[0] = 0;
      penalty[0] = 1e30f;
      for (int bit = 0; bit < 8; ++bit) {
        int i = octet * 8 + bit, half = 1 << bit;
        float cost0 = in.cost[p][i], cost1 = in.cost[p + 2][i];
        float penalty0 = in.penalty[p][i], penalty1 = in.penalty[p + 2][i];
        uint32_t sign0 = static_cast<uint32_t>(in.k[p][i]) << 31,
                 sign1 = static_cast<uint32_t>(in.k[p + 2][i]) << 31;
        for (int j = 0; j < half; ++j) {
          float c = cost[j], q = __builtin_fabsf(penalty[j]);
          uint32_t sign = std::bit_cast<uint32_t>(penalty[j]) & 0x80000000u;
          float q0 = q < penalty0 ? q : penalty0;
          float q1 = q < penalty1 ? q : penalty1;
          xorSign(q0, sign ^ sign0);
          xorSign(q1, sign ^ sign1);
          cost[j] = c + cost0;
          penalty[j] = q0;
          cost[half + j] = c + cost1;
          penalty[half + j] = q1;
        }
      }
    }
}

/// distances[p * 4096 + c]: of the nearest point with parity p and word c.
GLVQ_MULTIVERSION void measurePairs(const OctetTables &tables,
                                    const uint32_t *words, float *distances) {
  for (unsigned p = 0; p < 2; ++p) {
    const float *a = tables.cost[p][0], *b = tables.cost[p][1],
                *c = tables.cost[p][2];
    const float *qa = tables.penalty[p][0], *qb = tables.penalty[p][1],
                *qc = tables.penalty[p][2];
    uint32_t wanted = p << 31;
    for (unsigned i = 0; i < numWords; ++i) {
      uint32_t word = words[i];
      uint32_t low = word & 255, middle = word >> 8 & 255, high = word >> 16;
      float u = qa[low], v = qb[middle], w = qc[high];
      uint32_t parity = std::bit_cast<uint32_t>(u) ^
                        std::bit_cast<uint32_t>(v) ^
                        std::bit_cast<uint32_t>(w) ^ wanted;
      float x = __builtin_fabsf(u), y = __builtin_fabsf(v),
            z = __builtin_fabsf(w);
      y = x < y ? x : y;
      z = y < z ? y : z;
      float sum = a[low] + b[middle] + c[high];
      distances[p * numWords + i] = sum + (parity >> 31 ? z : 0.0f);
    }
  }
}

/// The nearest point of one pair.
LeechPoint roundPair(const Roundings &in, unsigned p, uint32_t word) {
  LeechPoint point;
  int parity = p, weakest = 0;
  float least = infinity;
  for (unsigned i = 0; i < leechDim; ++i) {
    unsigned r = p + 2 * (word >> i & 1);
    parity ^= in.k[r][i] & 1;
    if (in.penalty[r][i] < least) {
      least = in.penalty[r][i];
      weakest = i;
    }
    point[i] = static_cast<int8_t>(r + 4 * in.k[r][i]);
  }
  if (parity) {
    unsigned r = p + 2 * (word >> weakest & 1);
    point[weakest] += static_cast<int8_t>(4 * in.step[r][weakest]);
  }
  return point;
}

unsigned getNorm(const LeechPoint &point) {
  unsigned norm = 0;
  for (int v : point)
    norm += v * v;
  return norm;
}

} // namespace

float glvq::lattice::findNearestLeechPoint(std::span<const float, leechDim> x,
                                           LeechPoint &point) {
  Roundings roundings;
  OctetTables tables;
  std::array<float, numPairs> distances;
  const auto &words = GolayCode::get().getWords();
  roundCoordinates(x.data(), roundings);
  fillTables(roundings, tables);
  measurePairs(tables, words.data(), distances.data());
  unsigned best =
      std::min_element(distances.begin(), distances.end()) - distances.begin();
  point = roundPair(roundings, best / numWords, words[best % numWords]);
  return distances[best];
}

//===----------------------------------------------------------------------===//
// One pair, class by class
//===----------------------------------------------------------------------===//

namespace {

/// Prefix sums of sorted coordinates, and two penalties for the number of
/// negative ones:
///   odd: [k] the sum of the k largest, [25 + k] minus that of the k smallest;
///   even: [k] of the k largest |x| on the word, [25 + k] off it.
struct PrefixSums {
  static constexpr unsigned second = leechDim + 1;
  static constexpr unsigned penalties = 2 * second;
  alignas(64) float sums[64];
  float base; ///< <x, v> without the terms
};

/// The classes of one parity (and weight): <x, v> = base + 4 sum of
/// sums[terms[t][c]], since neighbouring values differ by 4.
struct ClassTable {
  unsigned numClasses = 0, numTerms = 0;
  std::vector<const LeechClass *> classes;
  std::vector<int32_t> terms; ///< [numTerms][numClasses]
  /// The score is inner * factor + offset, for each kind of search.
  std::vector<float> factors[2], offsets[2];

  void build();
  float evaluate(const PrefixSums &prefix, bool angular, unsigned &best) const;
};

constexpr unsigned maxClasses = 256;

unsigned countAtLeast(const std::vector<std::pair<uint8_t, uint8_t>> &counts,
                      int least) {
  unsigned n = 0;
  for (auto [value, count] : counts)
    n += value >= least ? count : 0;
  return n;
}

void ClassTable::build() {
  numClasses = classes.size();
  std::vector<std::vector<int32_t>> all;
  for (const LeechClass *c : classes) {
    std::vector<int32_t> list;
    if (c->odd) {
      // On the word, values are -1, 3, -5, 7, …: the base is -1.
      auto count = [&](int least, int residue) {
        unsigned n = 0;
        for (auto [value, number] : c->on)
          n += value >= least && value % 4 == residue ? number : 0;
        return n;
      };
      for (int value = 3; value <= 15; value += 4)
        list.push_back(count(value, 3));
      for (int value = 5; value <= 15; value += 4)
        list.push_back(PrefixSums::second + count(value, 1));
    } else {
      for (int value = 6; value <= 14; value += 4)
        list.push_back(countAtLeast(c->on, value));
      for (int value = 4; value <= 12; value += 4)
        list.push_back(PrefixSums::second + countAtLeast(c->off, value));
      if (c->weight) {
        assert(c->restOn == 2 && "the penalty is that of a 2");
        list.push_back(PrefixSums::penalties + c->negatives);
      }
    }
    // Empty sums are 0.
    std::erase_if(list, [](int32_t term) {
      return term == 0 || term == PrefixSums::second;
    });
    numTerms = std::max<unsigned>(numTerms, list.size());
    all.push_back(std::move(list));

    float norm = 16.0f * c->shell;
    factors[0].push_back(2);
    offsets[0].push_back(-norm);
    // The origin has no direction.
    factors[1].push_back(c->shell ? 1 / std::sqrt(norm) : 0);
    offsets[1].push_back(c->shell ? 0 : -infinity);
  }
  assert(numClasses <= maxClasses);
  terms.assign(numTerms * numClasses, 0);
  for (unsigned c = 0; c < numClasses; ++c)
    for (unsigned t = 0; t < all[c].size(); ++t)
      terms[t * numClasses + c] = all[c][t];
}

GLVQ_MULTIVERSION void scoreClasses(const float *sums, float base,
                                    const int32_t *terms, unsigned numTerms,
                                    unsigned numClasses, const float *factors,
                                    const float *offsets, float *scores) {
  for (unsigned c = 0; c < numClasses; ++c)
    scores[c] = sums[terms[c]];
  for (unsigned t = 1; t < numTerms; ++t)
    for (unsigned c = 0; c < numClasses; ++c)
      scores[c] += sums[terms[t * numClasses + c]];
  for (unsigned c = 0; c < numClasses; ++c)
    scores[c] = (base + 4 * scores[c]) * factors[c] + offsets[c];
}

float ClassTable::evaluate(const PrefixSums &prefix, bool angular,
                           unsigned &best) const {
  float scores[maxClasses];
  scoreClasses(prefix.sums, prefix.base, terms.data(), numTerms, numClasses,
               factors[angular].data(), offsets[angular].data(), scores);
  best = std::max_element(scores, scores + numClasses) - scores;
  return scores[best];
}

/// The coordinates by descending magnitude.
struct Sorted {
  uint8_t order[leechDim];
  float magnitude[leechDim];
  uint32_t negative = 0; ///< a bit for each position

  explicit Sorted(std::span<const float, leechDim> x) {
    std::iota(order, order + leechDim, 0);
    std::sort(order, order + leechDim, [&](unsigned a, unsigned b) {
      float u = std::abs(x[a]), v = std::abs(x[b]);
      return u > v || (u == v && a < b);
    });
    for (unsigned j = 0; j < leechDim; ++j)
      magnitude[j] = std::abs(x[order[j]]);
    for (unsigned i = 0; i < leechDim; ++i)
      negative |= static_cast<uint32_t>(x[i] < 0) << i;
  }
};

void sumOdd(const Sorted &x, uint32_t word, PrefixSums &out) {
  // y_i = x_i on the word and -x_i off it.
  uint32_t negative = x.negative ^ word ^ 0xffffff;
  float *top = out.sums, *bottom = out.sums + PrefixSums::second;
  unsigned n[2] = {0, 0};
  float sum[2] = {0, 0};
  top[0] = bottom[0] = 0;
  float *side[2] = {top, bottom};
  for (unsigned j = 0; j < leechDim; ++j) {
    unsigned s = negative >> x.order[j] & 1;
    sum[s] += x.magnitude[j];
    side[s][++n[s]] = sum[s];
  }
  // Beyond the positive ones, the k largest are all but the 24 - k smallest.
  float total = sum[0] - sum[1];
  for (unsigned k = n[0] + 1; k <= leechDim; ++k)
    top[k] = total + bottom[leechDim - k];
  for (unsigned k = n[1] + 1; k <= leechDim; ++k)
    bottom[k] = top[leechDim - k] - total;
  out.base = -total;
}

void sumEven(const Sorted &x, uint32_t word, PrefixSums &out) {
  float *side[2] = {out.sums + PrefixSums::second, out.sums};
  unsigned n[2] = {0, 0};
  float sum[2] = {0, 0};
  side[0][0] = side[1][0] = 0;
  float least = 0;
  for (unsigned j = 0; j < leechDim; ++j) {
    unsigned s = word >> x.order[j] & 1;
    sum[s] += x.magnitude[j];
    side[s][++n[s]] = sum[s];
    least = s ? x.magnitude[j] : least;
  }
  // A wrong parity of signs turns a 2 at the smallest coordinate; the unit of
  // the terms is 4.
  unsigned parity = std::popcount(word & x.negative) & 1;
  out.sums[PrefixSums::penalties + parity] = 0;
  out.sums[PrefixSums::penalties + (parity ^ 1)] = -least;
  out.base = 2 * sum[1];
}

/// The point of a class and word that the score of evaluate() belongs to.
LeechPoint buildPoint(const Sorted &x, const LeechClass &c, uint32_t word) {
  LeechPoint point{};
  auto expand = [](const auto &counts, std::vector<int> &values) {
    for (auto [value, count] : counts)
      values.insert(values.end(), count, value);
  };
  if (c.odd) {
    std::vector<int> values;
    expand(c.on, values);
    for (int &value : values)
      value = value % 4 == 3 ? value : -value;
    std::sort(values.begin(), values.end(), std::greater<>());
    // Positive y take the largest values from the front, negative ones the
    // smallest from the back.
    uint32_t negative = x.negative ^ word ^ 0xffffff;
    unsigned front = 0, back = leechDim;
    for (unsigned i : x.order) {
      int value = negative >> i & 1 ? values[--back] : values[front++];
      point[i] = static_cast<int8_t>(word >> i & 1 ? value : -value);
    }
    return point;
  }
  std::vector<int> values[2];
  expand(c.off, values[0]);
  expand(c.on, values[1]);
  unsigned n[2] = {0, 0}, weakest = 0;
  for (unsigned i : x.order) {
    unsigned s = word >> i & 1;
    int value = values[s][n[s]++];
    point[i] = static_cast<int8_t>(x.negative >> i & 1 ? -value : value);
    weakest = s ? i : weakest;
  }
  unsigned parity = std::popcount(word & x.negative) & 1;
  if (c.weight && parity != c.negatives)
    point[weakest] = static_cast<int8_t>(-point[weakest]);
  return point;
}

} // namespace

//===----------------------------------------------------------------------===//
// The search
//===----------------------------------------------------------------------===//

struct LeechSearch::Tables {
  unsigned first, last;
  ClassTable odd;
  std::array<ClassTable, 7> even; ///< by weight / 4
};

LeechSearch::LeechSearch(const LeechCodebook &codebook) {
  auto t = std::make_shared<Tables>();
  t->first = codebook.getFirstShell();
  t->last = codebook.getLastShell();
  for (size_t i = 0; i < codebook.getNumClasses(); ++i) {
    const LeechClass &c = codebook.getClass(i);
    (c.odd ? t->odd : t->even[c.weight / 4]).classes.push_back(&c);
  }
  t->odd.build();
  for (ClassTable &table : t->even)
    table.build();
  tables = std::move(t);
}

LeechPoint LeechSearch::find(std::span<const float, leechDim> x,
                             unsigned candidates, bool angular) const {
  const auto &words = GolayCode::get().getWords();
  float norm2 = 0;
  for (float v : x)
    norm2 += v * v;
  float outer2 = 16.0f * tables->last, inner2 = 16.0f * tables->first;

  Sorted sorted(x);
  float best = -infinity;
  const LeechClass *bestClass = nullptr;
  uint32_t bestWord = 0;
  auto evaluate = [&](unsigned pair) {
    uint32_t word = words[pair % numWords];
    PrefixSums prefix;
    const ClassTable *table;
    if (pair >= numWords) {
      sumOdd(sorted, word, prefix);
      table = &tables->odd;
    } else {
      sumEven(sorted, word, prefix);
      table = &tables->even[std::popcount(word) / 4];
    }
    if (!table->numClasses)
      return;
    unsigned c;
    float score = table->evaluate(prefix, angular, c);
    if (score > best) {
      best = score;
      bestClass = table->classes[c];
      bestWord = word;
    }
  };
  if (candidates == 0 || candidates >= numPairs) {
    for (unsigned pair = 0; pair < numPairs; ++pair)
      evaluate(pair);
    return buildPoint(sorted, *bestClass, bestWord);
  }

  // The multiplier 1 / t - 1 of the norm.
  constexpr float margin = 10;
  float t = 1;
  if (norm2 > 0) {
    float aim = std::sqrt((outer2 - margin) / norm2);
    if (angular || inner2 == outer2 || aim < 1)
      t = aim;
    else if (norm2 < inner2)
      t = std::sqrt(inner2 / norm2);
  }
  std::array<float, leechDim> y;
  for (unsigned i = 0; i < leechDim; ++i)
    y[i] = t * x[i];
  Roundings roundings;
  OctetTables octets;
  std::array<float, numPairs> distances;
  roundCoordinates(y.data(), roundings);
  fillTables(roundings, octets);
  measurePairs(octets, words.data(), distances.data());
  unsigned nearest =
      std::min_element(distances.begin(), distances.end()) - distances.begin();
  if (t == 1 && !angular) {
    LeechPoint point =
        roundPair(roundings, nearest / numWords, words[nearest % numWords]);
    unsigned norm = getNorm(point);
    if (norm >= inner2 && norm <= outer2)
      return point;
  }
  evaluate(nearest);

  // |y - v|^2 of a better point v is below this.
  float limit;
  if (angular) {
    // <y, v> > t best |v|. Shells well inside are not worth the effort.
    float along = t * best, radius = std::sqrt(outer2);
    limit = t * t * norm2 - 2 * along * radius + outer2;
  } else {
    float radius2 = t < 1 ? outer2 : inner2;
    limit = t * (t * norm2 + (1 / t - 1) * radius2 - best);
  }
  std::array<uint16_t, numPairs> list;
  unsigned size = 0;
  for (unsigned pair = 0; pair < numPairs; ++pair) {
    list[size] = static_cast<uint16_t>(pair);
    size += distances[pair] < limit && pair != nearest;
  }
  auto closer = [&](unsigned a, unsigned b) {
    return distances[a] < distances[b] ||
           (distances[a] == distances[b] && a < b);
  };
  if (size > candidates) {
    std::nth_element(list.begin(), list.begin() + candidates,
                     list.begin() + size, closer);
    size = candidates;
  }
  for (unsigned i = 0; i < size; ++i)
    evaluate(list[i]);
  if (!bestClass)
    // The codebook lacks the classes of all candidates; small ones do.
    return find(x, 0, angular);
  return buildPoint(sorted, *bestClass, bestWord);
}

LeechPoint LeechSearch::findNearest(std::span<const float, leechDim> x,
                                    unsigned candidates) const {
  return find(x, candidates, /*angular=*/false);
}

LeechPoint LeechSearch::findDirection(std::span<const float, leechDim> x,
                                      unsigned candidates) const {
  return find(x, candidates, /*angular=*/true);
}
