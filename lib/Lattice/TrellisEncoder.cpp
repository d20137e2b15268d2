//===- TrellisEncoder.cpp - Viterbi search for trellis codes --------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// All states that share their L - k newest bits j have the same successors, so
// one metric for each of these J = 2^(L-k) groups is kept: the best of its
// K = 2^k members, which differ in the k oldest bits p. A step computes for
// each state s = K j + u, entered from group j, metric[j] + w (x - node)^2,
// and takes the minimum over the p of s = p J + j'.
//
// The vectorised form walks j = p Q + q, Q = 2^(L-2k), with 16 q at a time in
// the lanes: then the K candidates for the group j' = K q + u lie at the same
// lane of K vectors, and only the K results have to be interleaved.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/TrellisEncoder.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <iterator>

using namespace glvq::lattice;

// One build serves all x86-64 levels; the loader picks the version.
#if defined(__x86_64__) && defined(__clang__)
#define GLVQ_MULTIVERSION                                                      \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define GLVQ_MULTIVERSION
#endif
#define GLVQ_INLINE inline __attribute__((always_inline))

std::vector<float> glvq::lattice::makeLinearNodes(std::span<const float> taps) {
  std::vector<float> nodes(size_t(1) << taps.size());
  for (size_t state = 0; state < nodes.size(); ++state) {
    float sum = 0;
    for (size_t i = 0; i < taps.size(); ++i)
      sum += (state >> i & 1) ? taps[i] : -taps[i];
    nodes[state] = sum;
  }
  return nodes;
}

std::vector<float>
glvq::lattice::makeAdditiveNodes(std::span<const float> tables) {
  size_t half = tables.size() / 2;
  assert(std::has_single_bit(half) && 2 * half == tables.size());
  std::vector<float> nodes(half * half);
  for (size_t high = 0; high < half; ++high)
    for (size_t low = 0; low < half; ++low)
      nodes[high * half + low] = tables[low] + tables[half + high];
  return nodes;
}

namespace {

/// Filters for N(0, 1), by length and width; error on fresh data in the
/// comment. One bit a weight gains next to nothing from a filter: its best
/// linear code is the sign.
struct GaussianTaps {
  unsigned length, bits;
  float taps[16];
};

constexpr GaussianTaps gaussianTaps[] = {
    {6,
     1, // 0.3618
     {-0.2645f, -0.7360f, 0.1551f, -0.0932f, 0.1072f, 0.0789f}},
    {8,
     1, // 0.3594
     {0.0049f, -0.3139f, -0.0043f, 0.0494f, -0.7015f, -0.0335f, -0.1165f,
      0.2355f}},
    {6,
     2, // 0.0867
     {-0.4245f, 0.5079f, 0.0253f, 0.3210f, -0.6935f, -0.4342f}},
    {8,
     2, // 0.0804
     {0.4475f, -0.5130f, 0.2421f, 0.2255f, 0.1839f, -0.2772f, -0.5370f,
      -0.4371f}},
    {10,
     2, // 0.0789
     {0.382f, -0.393f, -0.200f, -0.280f, -0.366f, -0.103f, -0.114f, 0.451f,
      -0.479f, -0.389f}},
    {12,
     2, // 0.0771
     {0.426f, 0.585f, -0.367f, 0.001f, -0.143f, 0.170f, -0.162f, 0.318f, 0.083f,
      0.249f, 0.434f, -0.305f}},
    {14,
     2, // 0.0760
     {0.4470f, -0.5623f, -0.0947f, 0.2628f, 0.1676f, 0.1309f, 0.2882f, -0.0154f,
      0.2776f, 0.0269f, 0.0527f, -0.1128f, -0.4001f, -0.4557f}},
    {16,
     2, // 0.0756
     {0.5381f, -0.5104f, -0.1676f, -0.1265f, -0.0681f, -0.2460f, 0.3216f,
      0.1107f, 0.1166f, -0.1913f, -0.1180f, 0.2160f, -0.0655f, -0.1595f,
      -0.4440f, -0.3263f}},
    {6,
     3, // 0.0243
     {-0.3258f, -0.5375f, 0.6409f, -0.2391f, 0.5744f, 0.4436f}},
    {8,
     3, // 0.0223
     {-0.4328f, 0.6303f, -0.2979f, 0.1165f, -0.2497f, -0.2995f, -0.5188f,
      -0.5574f}},
    {10,
     3, // 0.0214
     {0.1980f, -0.4556f, 0.1390f, -0.4071f, 0.2347f, 0.5824f, -0.0753f,
      -0.2776f, 0.4681f, 0.2649f}},
    {12,
     3, // 0.0194
     {-.2851f, -.5050f, -.3226f, -.3202f, .1307f, .2838f, -.3622f, .2759f,
      .1117f, .1819f, -.3473f, .4470f}},
    {6,
     4, // 0.0075
     {0.1499f, 0.3044f, 0.8439f, 0.6433f, -0.4220f, -0.5413f}},
    {8,
     4, // 0.0062
     {0.4529f, -0.4301f, -0.1270f, 0.1612f, -0.2563f, -0.5762f, 0.7099f,
      0.3691f}},
    {10,
     4, // 0.0057
     {-0.1387f, 0.1208f, -0.3686f, 0.5891f, -0.2057f, 0.1255f, -0.1139f,
      -0.3587f, -0.7131f, -0.5429f}},
    {12,
     4, // 0.0052
     {0.2166f, -0.1272f, -0.5972f, -0.3061f, -0.3741f, 0.3253f, -0.2978f,
      0.0906f, 0.3424f, 0.2236f, -0.2016f, 0.4332f}},
};

#include "GaussianTables.inc"

} // namespace

std::vector<float> glvq::lattice::getGaussianTaps(unsigned length,
                                                  unsigned bits) {
  assert(bits >= 1 && bits <= 4 && length > bits && length <= maxTrellisTaps);
  std::vector<float> taps(length, 0.0f);
  const GaussianTaps *best = nullptr;
  for (const GaussianTaps &entry : gaussianTaps)
    if (entry.bits == bits && entry.length <= length &&
        (!best || entry.length > best->length))
      best = &entry;
  if (best) {
    std::copy_n(best->taps, best->length, taps.begin());
    return taps;
  }
  // Windows shorter than all of those: the bits of a uniform quantizer, and
  // older ones at a tenth, for a fit to start from.
  double step =
      std::sqrt((1 - std::exp2(-2.0 * bits)) * 3 / (std::exp2(2.0 * bits) - 1));
  for (unsigned i = 0; i < length; ++i)
    taps[i] = static_cast<float>(i < bits ? step * std::exp2(i) : 0.1 * step);
  return taps;
}

std::vector<float> glvq::lattice::getGaussianTables(unsigned window,
                                                    unsigned bits) {
  assert(window % 2 == 0);
  if (window == 16 && bits == 2)
    return {std::begin(gaussianTables16), std::end(gaussianTables16)};
  std::vector<float> taps = getGaussianTaps(window, bits);
  std::span<const float> both = taps;
  std::vector<float> tables = makeLinearNodes(both.first(window / 2)),
                     high = makeLinearNodes(both.subspan(window / 2));
  tables.insert(tables.end(), high.begin(), high.end());
  return tables;
}

//===----------------------------------------------------------------------===//
// Search
//===----------------------------------------------------------------------===//

namespace {

constexpr int64_t numLanes = 16;
using Lanes = float __attribute__((vector_size(numLanes * sizeof(float))));
using Indices = int32_t __attribute__((vector_size(numLanes * 4)));
using Bytes = uint8_t __attribute__((vector_size(numLanes)));

/// Floats between the metrics of two steps: at a distance of a power of two,
/// loads of one would wait for stores to the other.
constexpr int64_t metricPadding = 64;

/// A metric that no path has: a group that cannot be reached.
constexpr float unreachable = 1e30f;

/// The steps [0, count) of a search.
struct SearchArgs {
  unsigned bits, window;
  int64_t count;
  const float *targets;
  const float *weights; ///< or null for ones
  const float *nodes;   ///< by state; [u][j] for the vectorised form
  float *metrics;     ///< 2 J + padding: on entry and return the first J count
  uint8_t *decisions; ///< [count][J]: the p of each group
};

/// Metrics grow with time; only their differences matter.
GLVQ_INLINE void renormalize(float *metrics, int64_t size) {
  float least = metrics[0];
  for (int64_t j = 1; j < size; ++j)
    least = metrics[j] < least ? metrics[j] : least;
  for (int64_t j = 0; j < size; ++j)
    metrics[j] -= least;
}
constexpr int64_t renormalizeEvery = 64;

/// out = the elements of v[0] … v[n - 1] in turn: a perfect shuffle.
template <int N>
GLVQ_INLINE void interleave(Lanes *v) {
  if constexpr (N > 1) {
    // Even and odd vectors, each interleaved, then both.
    Lanes even[N / 2], odd[N / 2];
    for (int i = 0; i < N / 2; ++i) {
      even[i] = v[2 * i];
      odd[i] = v[2 * i + 1];
    }
    interleave<N / 2>(even);
    interleave<N / 2>(odd);
    for (int i = 0; i < N / 2; ++i) {
      v[2 * i] = __builtin_shufflevector(even[i], odd[i], 0, 16, 1, 17, 2, 18,
                                         3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      v[2 * i + 1] =
          __builtin_shufflevector(even[i], odd[i], 8, 24, 9, 25, 10, 26, 11, 27,
                                  12, 28, 13, 29, 14, 30, 15, 31);
    }
  }
}

template <unsigned Bits>
GLVQ_INLINE void searchLanes(const SearchArgs &args) {
  constexpr int64_t k = int64_t(1) << Bits;
  const int64_t groups = int64_t(1) << (args.window - Bits);
  const int64_t q = groups >> Bits;
  const float *nodes = args.nodes;
  float *in = args.metrics, *out = args.metrics + groups + metricPadding;
  for (int64_t t = 0, count = args.count; t < count; ++t) {
    float weight = args.weights ? args.weights[t] : 1.0f;
    // w (x - c)^2 without the part that is the same for all.
    Lanes square = weight - Lanes{};
    Lanes cross = -2 * weight * args.targets[t] - Lanes{};
    uint8_t *__restrict decisions = args.decisions + t * groups;
    for (int64_t lane = 0; lane < q; lane += numLanes) {
      Lanes metric[k], result[k];
      for (int64_t p = 0; p < k; ++p)
        __builtin_memcpy(&metric[p], in + p * q + lane, sizeof(Lanes));
      for (int64_t u = 0; u < k; ++u) {
        Lanes best;
        Indices from = {};
        for (int64_t p = 0; p < k; ++p) {
          Lanes c;
          __builtin_memcpy(&c, nodes + u * groups + p * q + lane,
                           sizeof(Lanes));
          Lanes cost = c * (square * c + cross) + metric[p];
          if (p == 0) {
            best = cost;
            continue;
          }
          Indices less = cost < best;
          best = less ? cost : best;
          from = less ? static_cast<int32_t>(p) - Indices{} : from;
        }
        result[u] = best;
        Bytes narrow = __builtin_convertvector(from, Bytes);
        __builtin_memcpy(decisions + u * q + lane, &narrow, sizeof(narrow));
      }
      interleave<k>(result);
      __builtin_memcpy(out + lane * k, result, sizeof(result));
    }
    if ((t + 1) % renormalizeEvery == 0)
      renormalize(out, groups);
    std::swap(in, out);
  }
  if (in != args.metrics)
    std::copy_n(in, groups, args.metrics);
}

GLVQ_MULTIVERSION void search1(const SearchArgs &args) { searchLanes<1>(args); }
GLVQ_MULTIVERSION void search2(const SearchArgs &args) { searchLanes<2>(args); }
GLVQ_MULTIVERSION void search3(const SearchArgs &args) { searchLanes<3>(args); }
GLVQ_MULTIVERSION void search4(const SearchArgs &args) { searchLanes<4>(args); }

/// Any width and window: short windows and many bits.
GLVQ_MULTIVERSION void searchAny(const SearchArgs &args) {
  const int64_t groups = int64_t(1) << (args.window - args.bits);
  const int64_t k = int64_t(1) << args.bits;
  float *in = args.metrics, *out = args.metrics + groups + metricPadding;
  for (int64_t t = 0; t < args.count; ++t) {
    float weight = args.weights ? args.weights[t] : 1.0f;
    float cross = -2 * weight * args.targets[t];
    uint8_t *decisions = args.decisions + t * groups;
    for (int64_t j = 0; j < groups; ++j) {
      out[j] = 2 * unreachable;
      for (int64_t p = 0; p < k; ++p) {
        int64_t state = p * groups + j;
        float c = args.nodes[state];
        float cost = c * (weight * c + cross) + in[state >> args.bits];
        if (cost < out[j]) {
          out[j] = cost;
          decisions[j] = static_cast<uint8_t>(p);
        }
      }
    }
    if ((t + 1) % renormalizeEvery == 0)
      renormalize(out, groups);
    std::swap(in, out);
  }
  if (in != args.metrics)
    std::copy_n(in, groups, args.metrics);
}

/// Whether the lanes are full: 2^(L - 2k) is a multiple of their number.
bool isVectorized(unsigned window, unsigned bits) {
  return bits <= 4 && window >= 2 * bits + 4;
}

} // namespace

TrellisEncoder::TrellisEncoder(std::span<const float> nodes, unsigned bits)
    : bits(bits), window(std::countr_zero(nodes.size())),
      nodes(nodes.begin(), nodes.end()) {
  assert(std::has_single_bit(nodes.size()) && bits >= 1 && bits <= 8 &&
         bits <= window && window <= maxTrellisTaps);
  if (!isVectorized(window, bits))
    return;
  size_t groups = nodes.size() >> bits;
  transposed.resize(nodes.size());
  for (size_t state = 0; state < nodes.size(); ++state)
    transposed[(state & ((1u << bits) - 1)) * groups + (state >> bits)] =
        nodes[state];
}

double TrellisEncoder::encode(std::span<const float> targets,
                              std::span<const float> weights,
                              std::span<uint32_t> states,
                              Scratch &scratch) const {
  const int64_t count = targets.size();
  assert(states.size() == targets.size() &&
         (weights.empty() || weights.size() == targets.size()));
  if (count == 0)
    return 0;
  const bool vectorized = !transposed.empty();
  const int64_t groups = int64_t(1) << (window - bits);
  const int64_t q = std::max<int64_t>(1, groups >> bits);

  // Steps whose decisions are held at once.
  constexpr int64_t memory = 32 << 20;
  const int64_t ahead = 16 * ((window + bits - 1) / bits);
  const int64_t piece = std::max(memory / groups, 4 * ahead);
  scratch.metrics.resize(2 * groups + metricPadding);
  scratch.decisions.resize(std::min(count, piece) * groups);

  auto decision = [&](int64_t t, uint32_t group) -> uint32_t {
    const uint8_t *row = &scratch.decisions[t * groups];
    if (!vectorized)
      return row[group];
    uint32_t u = group & ((1u << bits) - 1);
    return row[u * q + (group >> bits)];
  };

  std::fill_n(scratch.metrics.begin(), groups, 0.0f);
  for (int64_t begin = 0; begin < count;) {
    int64_t size = std::min(piece, count - begin);
    SearchArgs args{bits,
                    window,
                    size,
                    targets.data() + begin,
                    weights.empty() ? nullptr : weights.data() + begin,
                    vectorized ? transposed.data() : nodes.data(),
                    scratch.metrics.data(),
                    scratch.decisions.data()};
    if (!vectorized)
      searchAny(args);
    else if (bits == 1)
      search1(args);
    else if (bits == 2)
      search2(args);
    else if (bits == 3)
      search3(args);
    else
      search4(args);

    bool last = begin + size == count;
    int64_t kept = last ? size : size - ahead;
    uint32_t group = static_cast<uint32_t>(
        std::min_element(scratch.metrics.begin(),
                         scratch.metrics.begin() + groups) -
        scratch.metrics.begin());
    for (int64_t t = size - 1; t >= 0; --t) {
      uint32_t state =
          decision(t, group) * static_cast<uint32_t>(groups) + group;
      if (t < kept)
        states[begin + t] = state;
      group = state >> bits;
    }
    begin += kept;
    if (!last) {
      // The next piece goes on from the last state that was decided.
      std::fill_n(scratch.metrics.begin(), groups, unreachable);
      scratch.metrics[states[begin - 1] & (groups - 1)] = 0;
    }
  }

  double loss = 0;
  for (int64_t t = 0; t < count; ++t) {
    double miss = targets[t] - nodes[states[t]];
    loss += (weights.empty() ? 1.0 : weights[t]) * miss * miss;
  }
  return loss;
}
