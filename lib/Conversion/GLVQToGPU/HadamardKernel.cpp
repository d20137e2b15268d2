//===- HadamardKernel.cpp - Random rotations of activations ---------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "glvq/Lattice/Hadamard.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace mlir::glvq;
using namespace mlir::glvq::gpukernels;

using Kind = KernelParameter::Kind;

/// The m values (cos + sin)(2 pi t / m) / sqrt(n) as a constant of the module.
/// They carry the scale of the whole rotation.
static LLVM::GlobalOp getHartleyTable(KernelBuilder &b, gpu::GPUModuleOp module,
                                      int64_t odd, int64_t size) {
  std::string name = ("hartley_" + Twine(odd) + "_" + Twine(size)).str();
  if (auto table = module.lookupSymbol<LLVM::GlobalOp>(name))
    return table;
  SmallVector<float> values;
  for (int64_t t = 0; t != odd; ++t)
    values.push_back(::glvq::lattice::getHartleyEntry(t, odd) /
                     std::sqrt(double(size)));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(module.getBody());
  return LLVM::GlobalOp::create(
      b, LLVM::LLVMArrayType::get(b.f32(), odd), /*isConstant=*/true,
      LLVM::Linkage::Internal, name,
      DenseElementsAttr::get(RankedTensorType::get({odd}, b.f32()),
                             ArrayRef<float>(values)),
      /*alignment=*/4, globalSpace);
}

void gpukernels::buildHadamardKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                                     StringRef name, int64_t size, bool inverse,
                                     bool hasSigns, Type elementType) {
  int64_t levels = llvm::countr_zero(static_cast<uint64_t>(size));
  int64_t odd = size >> levels;
  bool shared = size <= maxSharedHadamard;

  OpBuilder::InsertionGuard guard(b);
  LLVM::GlobalOp table = getHartleyTable(b, module, odd, size);
  SmallVector<KernelParameter> parameters = {{Kind::Input}};
  if (hasSigns)
    parameters.push_back({Kind::Input});
  llvm::append_range(parameters,
                     ArrayRef<KernelParameter>{{Kind::Output}, {Kind::Size}});
  SmallVector<Type> workgroup;
  if (shared)
    workgroup.push_back(
        MemRefType::get({size}, b.f32(), MemRefLayoutAttrInterface(),
                        gpu::AddressSpaceAttr::get(
                            b.getContext(), gpu::AddressSpace::Workgroup)));
  gpu::GPUFuncOp kernel = b.startKernel(module, name, parameters, workgroup);
  Value inner = kernel.getArgument(parameters.size() - 1);
  Value signs = hasSigns ? Value(kernel.getArgument(1)) : Value();

  // Element i of this block's vector is i * inner elements after its first.
  Value block = b.blockId();
  Value innerWide = b.widen(inner);
  Value first = arith::AddIOp::create(
      b,
      arith::MulIOp::create(
          b, arith::MulIOp::create(b, b.widen(b.div(block, inner)), innerWide),
          arith::ConstantIntOp::create(b, b.getI64Type(), size)),
      b.widen(b.rem(block, inner)));
  auto offset = [&](Value i) -> Value {
    return arith::MulIOp::create(b, b.widen(i), innerWide);
  };
  Value x = b.address(kernel.getArgument(0), elementType, first);
  Value y =
      b.address(kernel.getArgument(parameters.size() - 2), elementType, first);

  // Vectors too long for shared memory are worked on in the output itself.
  auto loadWork = [&](Value i) -> Value {
    if (!shared)
      return b.load(y, elementType, offset(i));
    return memref::LoadOp::create(b, kernel.getWorkgroupAttributions()[0],
                                  b.toIndex(i));
  };
  auto storeWork = [&](Value value, Value i) {
    if (!shared)
      return b.store(value, y, elementType, offset(i));
    memref::StoreOp::create(b, value, kernel.getWorkgroupAttributions()[0],
                            b.toIndex(i));
  };
  auto applySign = [&](Value value, Value i) -> Value {
    Value word = b.load(signs, b.i32(), b.div(i, 32));
    Value bit = arith::ShRUIOp::create(b, word, b.rem(i, 32));
    Value sign = b.shl(bit, 31);
    Value bits = arith::BitcastOp::create(b, b.i32(), value);
    return arith::BitcastOp::create(b, b.f32(),
                                    arith::XOrIOp::create(b, bits, sign));
  };

  Value thread = b.threadId(), threads = b.constant(blockSize);
  Value zero = b.constant(int64_t(0)), one = b.constant(int64_t(1));
  Value tableAddress = LLVM::AddressOfOp::create(b, table);

  // The odd factor, from the input: w[a, c] = sum_e table[a e mod odd] x[e, c].
  b.loop(thread, b.constant(size), threads, {}, [&](Value i, ValueRange) {
    Value a = b.shr(i, levels);
    Value column = b.bitAnd(i, (int64_t(1) << levels) - 1);
    Value sum = b.loop(zero, b.constant(odd), one, {b.constant(0.0f), zero},
                       [&](Value e, ValueRange state) -> SmallVector<Value> {
                         Value source = b.add(b.shl(e, levels), column);
                         Value value = b.load(x, elementType, offset(source));
                         if (signs && !inverse)
                           value = applySign(value, source);
                         Value next = b.add(state[1], a);
                         Value wrapped = b.sub(next, b.constant(odd));
                         next = b.select(b.less(next, odd), next, wrapped);
                         return {b.fma(b.load(tableAddress, b.f32(), state[1]),
                                       value, state[0]),
                                 next};
                       })[0];
    storeWork(sum, i);
    return SmallVector<Value>();
  });
  gpu::BarrierOp::create(b);

  // One butterfly level for each factor of two.
  for (int64_t level = 0; level != levels; ++level) {
    b.loop(thread, b.constant(size / 2), threads, {}, [&](Value i, ValueRange) {
      Value low = b.add(b.shl(b.shr(i, level), level + 1),
                        b.bitAnd(i, (int64_t(1) << level) - 1));
      Value high = b.add(low, int64_t(1) << level);
      Value u = loadWork(low), v = loadWork(high);
      storeWork(b.addf(u, v), low);
      storeWork(b.subf(u, v), high);
      return SmallVector<Value>();
    });
    gpu::BarrierOp::create(b);
  }

  bool signsLeft = signs && inverse;
  if (!shared && !signsLeft)
    return;
  b.loop(thread, b.constant(size), threads, {}, [&](Value i, ValueRange) {
    Value value = loadWork(i);
    if (signsLeft)
      value = applySign(value, i);
    b.store(value, y, elementType, offset(i));
    return SmallVector<Value>();
  });
}
