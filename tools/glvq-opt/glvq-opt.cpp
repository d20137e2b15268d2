// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Runs passes and pipelines on IR: the tool of tests and of curious users.

#include "glvq/InitAllDialects.h"
#include "glvq/InitAllPasses.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::glvq::registerAllDialects(registry);
  mlir::glvq::registerAllPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "glvq optimizer driver\n", registry));
}
