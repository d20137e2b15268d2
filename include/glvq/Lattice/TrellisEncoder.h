//===- TrellisEncoder.h - Viterbi search for trellis codes ------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// A trellis code of k bits a weight stands for the sequence
//
//   y[t] = nodes[s[t]],   s[t + 1] = (2^k s[t] + u[t + 1]) mod 2^L,
//
// a window of L bits that moves by k bits with every weight; bit 0 of a state
// is the newest. With taps the node of a state is linear in its bits,
// nodes[s] = sum_i taps[i] (2 bit_i(s) - 1), and the code is a convolution of
// the bits: it decodes without a table, and folds into the activations. With
// additive nodes it is the sum of two table entries, one for each half of L.
//
// The encoder finds the best sequence for given targets (Viterbi, 1967; for
// quantization: Marcellin and Fischer, "Trellis coded quantization", 1990).
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_TRELLISENCODER_H
#define GLVQ_LATTICE_TRELLISENCODER_H

#include <cstdint>
#include <new>
#include <span>
#include <vector>

namespace glvq::lattice {

/// The longest window that the encoder takes: 2^20 states.
constexpr unsigned maxTrellisTaps = 20;

/// The node of every state of a filter, 2^taps.size() values.
std::vector<float> makeLinearNodes(std::span<const float> taps);

/// The node of every state of two tables of 2^(L/2) entries, one after the
/// other: tables[0][low half of the window] + tables[1][high half].
std::vector<float> makeAdditiveNodes(std::span<const float> tables);

/// Taps for N(0, 1) data with `bits` = 1 to 4 bits a weight, in units of its
/// standard deviation: built in for even lengths from 6 on (found by
/// benchmarks/trellis-search.cpp), else the next shorter ones followed by
/// zeros. `length` is `bits` + 1 to maxTrellisTaps.
std::vector<float> getGaussianTaps(unsigned length, unsigned bits);

/// The two tables, of 2^(window/2) entries each, for such data: learned ones
/// for 16 bits and 2 bits a weight, else those of the taps, for a fit to start
/// from.
std::vector<float> getGaussianTables(unsigned window, unsigned bits);

/// Begins arrays at a cache line, so that vectors of 64 bytes never
/// straddle two.
template <typename T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U> &) {}
  T *allocate(size_t count) {
    return static_cast<T *>(
        ::operator new(count * sizeof(T), std::align_val_t(64)));
  }
  void deallocate(T *data, size_t) {
    ::operator delete(data, std::align_val_t(64));
  }
  bool operator==(const AlignedAllocator &) const { return true; }
};
using AlignedFloats = std::vector<float, AlignedAllocator<float>>;

class TrellisEncoder {
public:
  /// Memory that encode() needs, for one thread at a time.
  struct Scratch {
    AlignedFloats metrics;
    std::vector<uint8_t> decisions;
  };

  /// `nodes` has 2^L elements, 1 <= bits <= 8 and bits <= L.
  TrellisEncoder(std::span<const float> nodes, unsigned bits);

  unsigned getBits() const { return bits; }
  /// L, the bits of a window.
  unsigned getWindow() const { return window; }
  float getNode(uint32_t state) const { return nodes[state]; }

  /// Writes the states of the sequence with the least
  ///
  ///   sum_t weights[t] (targets[t] - nodes[states[t]])^2
  ///
  /// and returns that sum. The first state is free, so a sequence of n weights
  /// stands for k n + L - k bits. `weights` may be empty for ones; it is not
  /// negative. The result is exact unless the sequence is so long that its
  /// decisions exceed 32 MiB: then they are made in pieces, each with a look
  /// ahead of 16 windows, after which the survivors have merged.
  double encode(std::span<const float> targets, std::span<const float> weights,
                std::span<uint32_t> states, Scratch &scratch) const;

private:
  unsigned bits, window;
  std::vector<float> nodes;
  /// The nodes as [new bits][older bits], as the vectorised search reads them.
  AlignedFloats transposed;
};

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_TRELLISENCODER_H
