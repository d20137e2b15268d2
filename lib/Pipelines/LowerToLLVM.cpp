// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// lower-glvq-to-llvm: from a model on tensors to the llvm dialect for a CPU.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "glvq/Conversion/Passes.h"
#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "glvq/Pipelines/Pipelines.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Dialect/Vector/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace {

void cleanUp(OpPassManager &pm) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

/// Tensors to buffers, every buffer freed, states updated in place.
void addBufferization(OpPassManager &pm) {
  pm.addPass(bufferization::createEmptyTensorEliminationPass());
  pm.addPass(bufferization::createEmptyTensorToAllocTensorPass());
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  pm.addPass(bufferization::createOneShotBufferizePass(bufferize));
  cleanUp(pm);
  // A layer returns the caches it was given; without this every call would
  // seem to make new ones. What it does make, its caller frees.
  pm.addPass(bufferization::createDropEquivalentBufferResultsPass());
  cleanUp(pm);
  bufferization::buildBufferDeallocationPipeline(
      pm, bufferization::BufferDeallocationPipelineOptions());
  pm.addPass(createConvertBufferizationToMemRefPass());
  cleanUp(pm);
}

} // namespace

void glvq::buildLowerToLLVMPipeline(OpPassManager &pm,
                                    const LowerToLLVMOptions &options) {
  // On tensors. The inputs of rotations are shared before rotations become
  // calls, which nothing would share.
  pm.addPass(createFuseDecodePass());
  cleanUp(pm);
  pm.addPass(createMaterializeWeightsPass());
  cleanUp(pm);
  pm.addPass(createFoldGeneratorPass());
  cleanUp(pm);
  pm.addPass(createPackCodesPass());
  ConvertGLVQToVectorPassOptions quantized;
  quantized.vectorLength = std::max<int64_t>(8, options.vectorWidth);
  quantized.activations = options.activations;
  quantized.dot = options.dot;
  pm.addPass(createConvertGLVQToVectorPass(quantized));
  pm.addPass(createBindEntryBuffersPass());
  pm.addNestedPass<func::FuncOp>(createFuseLinalgPass());
  pm.addPass(createLinalgFoldUnitExtentDimsPass());
  pm.addNestedPass<func::FuncOp>(createFuseLinalgPass());
  cleanUp(pm);

  // On buffers.
  addBufferization(pm);
  pm.addPass(createConvertGLVQToVectorPass(quantized));
  pm.addPass(createExpandCopiesPass());
  LinalgToVectorKernelsPassOptions kernels;
  kernels.vectorWidth = options.vectorWidth;
  kernels.grain = options.grain;
  pm.addPass(createLinalgToVectorKernelsPass(kernels));
  pm.addPass(createForallToParallelLoopPass());
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  pm.addPass(createLoopInvariantCodeMotionPass());
  cleanUp(pm);
  pm.addPass(createEmitEntryPointsPass());
  pm.addPass(createParallelLoopsToCallsPass());

  // To LLVM.
  pm.addPass(createConvertVectorToSCFPass());
  pm.addPass(createExpandDynamicShapesPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createSCFToControlFlowPass());
  cleanUp(pm);
  ConvertVectorToLLVMPassOptions vectors;
  vectors.reassociateFPReductions = true;
  pm.addPass(createConvertVectorToLLVMPass(vectors));
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  cleanUp(pm);
}

void glvq::registerLowerToLLVMPipeline() {
  PassPipelineRegistration<LowerToLLVMOptions>(
      "lower-glvq-to-llvm",
      "Lower a model, quantized or not, to the llvm dialect for a CPU",
      buildLowerToLLVMPipeline);
}
