// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The randomised Hadamard rotation on a CPU: H D x, or D H x, with H = C_m (x)
// H_{2^k}.
//
// A vector is copied to scratch memory (with its signs, going forward); the
// butterflies of H_{2^k} run there, up to three stages for each pass over the
// memory, the first pass also those within a vector register; C_m is a small
// dense product on the way out, with the factor 1/sqrt(2^k).

#include "KernelBuilder.h"
#include "glvq/Lattice/Hadamard.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;
using namespace mlir::glvq;

namespace {
class HadamardKernel {
public:
  HadamardKernel(KernelBuilder &b, func::FuncOp function, int64_t dimension,
                 bool inverse, int64_t vectorLength);
  void build();

private:
  Value withSigns(Value vector, Value element);
  Value crossLanes(Value vector, int64_t distance);
  void butterflies(MutableArrayRef<Value> values);
  void transform(Value work);
  void finish(Value work,
              function_ref<void(Value vector, Value element)> store);

  Value getHartleyMatrix();

  KernelBuilder &b;
  ModuleOp module;
  Value input, signs, result, matrix;
  int64_t dimension, size, power, odd, lanes;
  bool inverse;
};
} // namespace

HadamardKernel::HadamardKernel(KernelBuilder &b, func::FuncOp function,
                               int64_t dimension, bool inverse,
                               int64_t vectorLength)
    : b(b), module(function->getParentOfType<ModuleOp>()),
      input(function.getArgument(0)),
      signs(function.getNumArguments() == 3 ? function.getArgument(1)
                                            : Value()),
      result(function.getArguments().back()), dimension(dimension),
      inverse(inverse) {
  size = cast<MemRefType>(input.getType()).getDimSize(dimension);
  power = size & -size;
  odd = size / power;
  lanes = std::min(power, vectorLength);
}

/// Negates the elements from `element` on whose sign is -1. A vector lies
/// within one word.
Value HadamardKernel::withSigns(Value vector, Value element) {
  SmallVector<int32_t> shift;
  for (int64_t lane = 0; lane < lanes; ++lane)
    shift.push_back(31 - lane);
  Value wordIndex = arith::DivUIOp::create(b, element, b.idx(32));
  Value bit = arith::RemUIOp::create(b, element, b.idx(32));
  Value word = b.broadcast(lanes, b.load(signs, wordIndex));
  bit = b.broadcast(lanes, arith::IndexCastOp::create(b, b.getI32Type(), bit));
  Value toTop = arith::SubIOp::create(b, b.constant(shift), bit);
  Value flip = arith::ShLIOp::create(b, word, toTop);
  flip = arith::AndIOp::create(
      b, flip, b.splat(lanes, std::numeric_limits<int32_t>::min()));
  Value bits = arith::BitcastOp::create(b, b.ints(lanes), vector);
  bits = arith::XOrIOp::create(b, bits, flip);
  return arith::BitcastOp::create(b, b.floats(lanes), bits);
}

/// One stage between lanes: (a, b) to (a + b, a - b).
Value HadamardKernel::crossLanes(Value vector, int64_t distance) {
  SmallVector<int64_t> partner;
  SmallVector<float> sign;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    partner.push_back(lane ^ distance);
    sign.push_back(lane & distance ? -1.0f : 1.0f);
  }
  Value other = vector::ShuffleOp::create(b, vector, vector, partner);
  return b.fma(vector, b.constant(sign), other);
}

/// All stages between some vectors; their number is a power of two.
void HadamardKernel::butterflies(MutableArrayRef<Value> values) {
  for (size_t distance = 1; distance < values.size(); distance *= 2)
    for (size_t i = 0; i < values.size(); ++i)
      if (!(i & distance)) {
        Value lower = values[i], upper = values[i + distance];
        values[i] = arith::AddFOp::create(b, lower, upper);
        values[i + distance] = arith::SubFOp::create(b, lower, upper);
      }
}

/// H_{2^k} sqrt(2^k), in place, of each run of 2^k elements.
void HadamardKernel::transform(Value work) {
  auto pass = [&](int64_t stride, int64_t numVectors, bool withinVectors) {
    b.loop(0, size, stride * numVectors, [&](Value base) {
      b.loop(0, stride, lanes, [&](Value offset) {
        Value first = b.add(base, offset);
        SmallVector<Value> values;
        for (int64_t i = 0; i < numVectors; ++i)
          values.push_back(b.loadVector(lanes, work, b.add(first, i * stride)));
        if (withinVectors)
          for (Value &value : values)
            for (int64_t distance = 1; distance < lanes; distance *= 2)
              value = crossLanes(value, distance);
        butterflies(values);
        for (auto [i, value] : llvm::enumerate(values))
          b.storeVector(value, work, b.add(first, i * stride));
      });
    });
  };
  int64_t stride = lanes;
  for (bool first = true; first || stride < power; first = false) {
    int64_t numVectors = std::min<int64_t>(8, power / stride);
    pass(stride, numVectors, first);
    stride *= numVectors;
  }
}

/// Applies C_m and the factor 1/sqrt(2^k), and gives the result away vector by
/// vector.
void HadamardKernel::finish(Value work,
                            function_ref<void(Value, Value)> store) {
  auto emit = [&](Value vector, Value element) {
    store(inverse && signs ? withSigns(vector, element) : vector, element);
  };
  if (odd == 1) {
    double scale = 1 / std::sqrt(static_cast<double>(size));
    Value factor = b.splat(lanes, static_cast<float>(scale));
    b.loop(0, size, lanes, [&](Value i) {
      emit(arith::MulFOp::create(b, b.loadVector(lanes, work, i), factor), i);
    });
    return;
  }

  // As many columns at once as there are, up to four vectors, so that an
  // element of the matrix is used several times.
  int64_t tile = std::min<int64_t>(4, power / lanes);
  b.loop(0, power, tile * lanes, [&](Value column) {
    b.loop(0, odd, 1, [&](Value i) {
      SmallVector<Value> zeros(tile, b.splat(lanes, 0.0f));
      auto step = [&](Value j, ValueRange sums) {
        Value factor = b.broadcast(lanes, b.load(matrix, {i, j}));
        SmallVector<Value> next;
        for (auto [q, sum] : llvm::enumerate(sums)) {
          Value place = b.add(b.add(b.mul(j, power), column), q * lanes);
          next.push_back(b.fma(factor, b.loadVector(lanes, work, place), sum));
        }
        return next;
      };
      SmallVector<Value> sums = zeros;
      if (odd <= 15)
        for (int64_t j = 0; j < odd; ++j)
          sums = step(b.idx(j), sums);
      else
        sums = b.loop(b.idx(0), b.idx(odd), 1, zeros, step);
      for (auto [q, sum] : llvm::enumerate(sums))
        emit(sum, b.add(b.add(b.mul(i, power), column), q * lanes));
    });
  });
}

/// C_m sqrt(m) times 1/sqrt(m 2^k), as a constant of the module.
Value HadamardKernel::getHartleyMatrix() {
  double scale = 1 / std::sqrt(static_cast<double>(size));
  SmallVector<float> hartley;
  for (int64_t i = 0; i < odd; ++i)
    for (int64_t j = 0; j < odd; ++j)
      hartley.push_back(static_cast<float>(
          ::glvq::lattice::getHartleyEntry(i * j, odd) * scale));
  std::string name = ("__glvq_hartley_" + Twine(odd) + "_" + Twine(size)).str();
  auto type = MemRefType::get({odd, odd}, b.getF32Type());
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto values = DenseElementsAttr::get(
        RankedTensorType::get({odd, odd}, b.getF32Type()), ArrayRef(hartley));
    memref::GlobalOp::create(b, name, b.getStringAttr("private"), type, values,
                             /*constant=*/true, b.getI64IntegerAttr(64));
  }
  return memref::GetGlobalOp::create(b, type, name);
}

void HadamardKernel::build() {
  if (odd > 1)
    matrix = getHartleyMatrix();
  auto type = cast<MemRefType>(input.getType());
  // All dimensions but the rotated one, as one loop.
  SmallVector<int64_t> outer;
  Value count = b.idx(1);
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (d != dimension) {
      outer.push_back(d);
      count = b.createOrFold<arith::MulIOp>(count, b.dim(input, d));
    }
  bool contiguous = dimension == type.getRank() - 1;

  b.parallel(count, [&](Value vectorIndex) {
    SmallVector<Value> place(type.getRank());
    Value rest = vectorIndex;
    for (int64_t d : llvm::reverse(outer)) {
      Value extent = b.dim(input, d);
      place[d] = arith::RemUIOp::create(b, rest, extent);
      rest = arith::DivUIOp::create(b, rest, extent);
    }
    auto at = [&](Value element) {
      SmallVector<Value> indices = place;
      indices[dimension] = element;
      return indices;
    };
    Value work = b.scratch(size);
    if (!contiguous)
      b.loop(0, size, 1, [&](Value i) {
        memref::StoreOp::create(b, b.load(input, at(i)), work, i);
      });
    bool signsFirst = signs && !inverse;
    if (contiguous || signsFirst)
      b.loop(0, size, lanes, [&](Value i) {
        Value x = contiguous ? b.loadVector(lanes, input, at(i))
                             : b.loadVector(lanes, work, i);
        b.storeVector(signsFirst ? withSigns(x, i) : x, work, i);
      });
    transform(work);
    if (contiguous) {
      finish(work, [&](Value vector, Value i) {
        b.storeVector(vector, result, at(i));
      });
    } else {
      Value done = b.scratch(size);
      finish(work,
             [&](Value vector, Value i) { b.storeVector(vector, done, i); });
      b.loop(0, size, 1, [&](Value i) {
        memref::StoreOp::create(b, b.load(done, i), result, at(i));
      });
      b.release(done);
    }
    b.release(work);
  });
}

void mlir::glvq::buildHadamardKernel(KernelBuilder &b, func::FuncOp function,
                                     int64_t dimension, bool inverse,
                                     int64_t vectorLength) {
  HadamardKernel(b, function, dimension, inverse, vectorLength).build();
}
