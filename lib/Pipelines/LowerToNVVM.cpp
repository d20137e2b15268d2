//===- LowerToNVVM.cpp - From encoded weights to GPU binaries -------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Conversion/Passes.h"
#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "glvq/Pipelines/Pipelines.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void glvq::buildLowerToNVVMPipeline(OpPassManager &pm,
                                    const LowerToNVVMOptions &options) {
  // Weights become their parts, and products with them glvq.matmul.
  pm.addPass(createFuseDecodePass());
  pm.addPass(createMaterializeWeightsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());

  // Tensors: kernels for what has them, the reference lowering for the rest.
  // Tensor cores multiply integers; on f32 generators stay with the weights.
  if (options.activations != "f32") {
    pm.addPass(createFoldGeneratorPass());
    pm.addPass(createCSEPass());
    pm.addPass(createSelectKernelConfigPass());
  }
  pm.addPass(createConvertGLVQToGPUPass({options.activations}));
  pm.addPass(createAttachNVVMTargetPass({options.chip, options.format}));
  pm.addPass(createConvertGLVQToLinalgPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());

  // Host: buffers, which kernels see by their addresses.
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  pm.addPass(bufferization::createOneShotBufferizePass(bufferize));
  bufferization::buildBufferDeallocationPipeline(
      pm, bufferization::BufferDeallocationPipelineOptions());
  // Clones of buffers are allocations too.
  pm.addPass(createConvertBufferizationToMemRefPass());
  pm.addPass(createAllocateOnDevicePass());
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());

  // Device.
  OpPassManager &device = pm.nest<gpu::GPUModuleOp>();
  device.addPass(memref::createExpandStridedMetadataPass());
  device.addPass(createCanonicalizerPass());
  device.addPass(createCSEPass());
  device.addPass(createSCFToControlFlowPass());
  device.addPass(createConvertGpuOpsToNVVMOps());
  device.addPass(createCanonicalizerPass());
  device.addPass(createCSEPass());
  device.addPass(createReconcileUnrealizedCastsPass());
  // Bitcode is for the emulator, which says where things go wrong.
  if (options.format == "llvm")
    device.addPass(createAddDebugScopesPass());
  GpuModuleToBinaryPassOptions binary;
  binary.compilationTarget = options.format;
  pm.addPass(createGpuModuleToBinaryPass(binary));
}

void glvq::registerLowerToNVVMPipeline() {
  PassPipelineRegistration<LowerToNVVMOptions>(
      "lower-glvq-to-nvvm",
      "Compile products with encoded weights, and rotations, for NVIDIA GPUs",
      buildLowerToNVVMPipeline);
}
