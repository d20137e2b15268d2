// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Registration of everything, for the tools. The only file that includes MLIR's
// InitAll headers: they are dear to compile.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "glvq/Conversion/Passes.h"
#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "glvq/InitAllDialects.h"
#include "glvq/InitAllPasses.h"
#include "glvq/Pipelines/Pipelines.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"

void mlir::glvq::registerAllDialects(DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  // Without these, gpu-module-to-binary has nothing to translate with.
  mlir::registerAllGPUToLLVMIRTranslations(registry);
  registry.insert<GLVQDialect>();
  registerBufferizableOpInterfaceExternalModels(registry);
}

void mlir::glvq::registerAllPasses() {
  mlir::registerAllPasses();
  registerGLVQConversionPasses();
  registerGLVQNativeCPUPasses();
  registerLowerToLLVMPipeline();
  registerLowerToNVVMPipeline();
  registerGLVQTransformsPasses();
}
