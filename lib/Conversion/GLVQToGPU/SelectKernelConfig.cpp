//===- SelectKernelConfig.cpp - How kernels share their work --------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The choice is data: an attribute of the product, which this pass writes and
// the conversion reads, and which whoever knows better may write before.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "glvq/Conversion/Passes.h"
#include "llvm/ADT/StringSwitch.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_SELECTKERNELCONFIGPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;
using namespace mlir::glvq::gpukernels;

static constexpr StringLiteral configName = "glvq.kernel_config";
static constexpr int64_t numWarps = blockSize / 32;

static IntegerMatmulConfig selectConfig(const IntegerLayout &layout) {
  IntegerMatmulConfig config = {};
  // Two tiles use the activations twice. Their words and sums have to fit into
  // registers.
  config.tiles = layout.unitWords <= 4 ? 2 : 1;
  config.unroll = layout.unitFields <= 64 ? 2 : 1;
  // Every warp that shares a row has a step to do.
  config.split = 1;
  while (config.split < numWarps && 2 * config.split <= layout.steps)
    config.split *= 2;
  return config;
}

FailureOr<IntegerMatmulConfig>
gpukernels::getKernelConfig(MatmulOp op, const IntegerLayout &layout) {
  IntegerMatmulConfig config = selectConfig(layout);
  Attribute attribute = op->getAttr(configName);
  if (!attribute)
    return config;
  auto dictionary = dyn_cast<DictionaryAttr>(attribute);
  if (!dictionary)
    return op.emitOpError("expected '")
           << configName << "' to be a dictionary of tiles, split and unroll";
  for (NamedAttribute entry : dictionary) {
    int64_t *value = llvm::StringSwitch<int64_t *>(entry.getName().getValue())
                         .Case("tiles", &config.tiles)
                         .Case("split", &config.split)
                         .Case("unroll", &config.unroll)
                         .Default(nullptr);
    auto number = dyn_cast<IntegerAttr>(entry.getValue());
    if (!value || !number)
      return op.emitOpError("has '")
             << configName << "' with " << entry.getName() << " = "
             << entry.getValue()
             << "; expected are the numbers tiles, split and unroll";
    *value = number.getInt();
  }
  if (config.tiles < 1 || config.tiles > 4 || config.unroll < 1 ||
      config.unroll > 8 || config.split < 1 || config.split > numWarps ||
      !llvm::isPowerOf2_64(config.split))
    return op.emitOpError("has an impossible '")
           << configName
           << "': tiles are 1 to 4, unroll is 1 to 8, and split is 1, 2, 4 or "
              "8";
  return config;
}

namespace {
struct SelectKernelConfig
    : public glvq::impl::SelectKernelConfigPassBase<SelectKernelConfig> {
  void runOnOperation() override {
    Builder b(&getContext());
    WalkResult result = getOperation()->walk([&](MatmulOp op) {
      auto code = dyn_cast<PackedIntegerAttr>(op.getCode());
      if (!code)
        return WalkResult::advance();
      IntegerLayout layout(code.getBits(), op.getWeightType().getNumColumns(),
                           Activations::Int8);
      FailureOr<IntegerMatmulConfig> config = getKernelConfig(op, layout);
      if (failed(config))
        return WalkResult::interrupt();
      op->setAttr(
          configName,
          b.getDictionaryAttr(
              {b.getNamedAttr("tiles", b.getI64IntegerAttr(config->tiles)),
               b.getNamedAttr("split", b.getI64IntegerAttr(config->split)),
               b.getNamedAttr("unroll", b.getI64IntegerAttr(config->unroll))}));
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
