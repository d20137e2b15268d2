//===- trellis-search.cpp - Searches taps and tables for trellis codes ----===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Made the filters of TrellisEncoder.cpp. From many random starts, encoding of
// N(0, 1) samples alternates with the closed-form least-squares fit of the
// taps (or of both tables of additive nodes); the best of a first, short round
// go on with more data, and the winner is scored on fresh data.
//
//   trellis-search WINDOW BITS STARTS [SAMPLES [additive]]
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Lattice.h"
#include "glvq/Lattice/TrellisEncoder.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>

using namespace glvq::lattice;

namespace {

struct Candidate {
  std::vector<float> numbers; ///< taps, or both tables
  double loss = 1e30;
};

class Search {
public:
  Search(unsigned window, unsigned bits, bool additive)
      : window(window), bits(bits), additive(additive) {}

  std::vector<float> sample(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> data(count);
    for (float &x : data)
      x = normal(random);
    return data;
  }

  /// Random numbers of the variance that a code should have, 1 - 2^(-2 bits).
  Candidate start() {
    double variance = 1 - std::exp2(-2.0 * bits);
    size_t count = additive ? size_t(2) << (window / 2) : window;
    double share = additive ? 2 : window;
    std::normal_distribution<float> normal(
        0, static_cast<float>(std::sqrt(variance / share)));
    Candidate candidate;
    candidate.numbers.resize(count);
    for (float &x : candidate.numbers)
      x = normal(random);
    return candidate;
  }

  double encode(const Candidate &candidate, const std::vector<float> &data) {
    TrellisEncoder encoder(additive ? makeAdditiveNodes(candidate.numbers)
                                    : makeLinearNodes(candidate.numbers),
                           bits);
    states.resize(data.size());
    return encoder.encode(data, {}, states, scratch) / data.size();
  }

  /// Keeps the best numbers of some rounds of encoding and fitting.
  void improve(Candidate &candidate, const std::vector<float> &data,
               int rounds) {
    Candidate current = candidate;
    candidate.loss = 1e30;
    for (int round = 0; round < rounds; ++round) {
      current.loss = encode(current, data);
      if (current.loss < candidate.loss)
        candidate = current;
      fit(current, data);
    }
  }

private:
  void fit(Candidate &candidate, const std::vector<float> &data) {
    int64_t n = candidate.numbers.size();
    std::vector<double> normal(n * n, 0.0), rhs(n, 0.0);
    uint32_t half = 1u << (window / 2);
    for (size_t t = 0; t < data.size(); ++t) {
      uint32_t s = states[t];
      if (additive) {
        uint32_t low = s & (half - 1), high = half + s / half;
        rhs[low] += data[t];
        rhs[high] += data[t];
        normal[low * n + low] += 1;
        normal[high * n + high] += 1;
        normal[low * n + high] += 1;
        normal[high * n + low] += 1;
        continue;
      }
      for (int64_t i = 0; i < n; ++i) {
        double sign = (s >> i & 1) ? 1 : -1;
        rhs[i] += sign * data[t];
        for (int64_t j = 0; j < n; ++j)
          normal[i * n + j] += (s >> j & 1) ? sign : -sign;
      }
    }
    // Tables may differ by a constant, and entries may be unused.
    for (int64_t i = 0; i < n; ++i)
      normal[i * n + i] += additive ? 0.5 : 1e-6 * data.size();
    if (additive)
      for (int64_t i = 0; i < n; ++i)
        rhs[i] += 0.5 * candidate.numbers[i];
    if (solveSymmetric(normal, rhs, n))
      for (int64_t i = 0; i < n; ++i)
        candidate.numbers[i] = static_cast<float>(rhs[i]);
  }

  unsigned window, bits;
  bool additive;
  std::mt19937_64 random{20251};
  std::vector<uint32_t> states;
  TrellisEncoder::Scratch scratch;
};

} // namespace

int main(int argc, char **argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: trellis-search WINDOW BITS STARTS [SAMPLES "
                         "[additive]]\n");
    return 2;
  }
  unsigned window = std::atoi(argv[1]), bits = std::atoi(argv[2]);
  int starts = std::atoi(argv[3]);
  size_t samples = argc > 4 ? std::atol(argv[4]) : 30000;
  bool additive = argc > 5 && std::string_view(argv[5]) == "additive";
  if (window < 2 || window > maxTrellisTaps || bits < 1 || bits > 8 ||
      bits >= window || starts < 1 || samples < 100 ||
      (additive && window % 2)) {
    std::fprintf(stderr, "trellis-search: the arguments do not fit\n");
    return 2;
  }
  Search search(window, bits, additive);
  std::vector<float> few = search.sample(samples / 10),
                     many = search.sample(samples),
                     fresh = search.sample(2 * samples);
  std::vector<Candidate> candidates;
  for (int i = 0; i < starts; ++i) {
    candidates.push_back(search.start());
    search.improve(candidates.back(), few, 8);
  }
  auto better = [](const Candidate &a, const Candidate &b) {
    return a.loss < b.loss;
  };
  std::sort(candidates.begin(), candidates.end(), better);
  candidates.resize(std::min<size_t>(candidates.size(), 2 + starts / 16));
  for (Candidate &candidate : candidates) {
    search.improve(candidate, many, additive ? 20 : 8);
    candidate.loss = search.encode(candidate, fresh);
  }
  const Candidate &best =
      *std::min_element(candidates.begin(), candidates.end(), better);
  std::printf("L=%u k=%u%s: MSE %.5f on %zu fresh samples\n", window, bits,
              additive ? " additive" : "", best.loss, fresh.size());
  for (float x : best.numbers)
    std::printf(" %.4ff,", x);
  std::printf("\n");
}
