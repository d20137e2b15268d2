// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The pipelines from a model module to code, as functions and as options of
// glvq-opt.

#ifndef GLVQ_PIPELINES_PIPELINES_H
#define GLVQ_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace mlir::glvq {

/// Options of `lower-glvq-to-llvm`.
struct LowerToLLVMOptions : PassPipelineOptions<LowerToLLVMOptions> {
  Option<int64_t> vectorWidth{
      *this, "vector-width",
      llvm::cl::desc("Elements of f32 in one vector register: 16 for AVX-512, "
                     "8 for AVX2, 4 for the least x86-64"),
      llvm::cl::init(16)};
  Option<int64_t> grain{
      *this, "grain",
      llvm::cl::desc("Multiply-adds from which a product is worth several "
                     "threads"),
      llvm::cl::init(1 << 16)};
  Option<std::string> activations{
      *this, "activations",
      llvm::cl::desc("What products with folded weights read: int8 (rounded, "
                     "with a factor for each token) or f32"),
      llvm::cl::init("int8")};
  Option<std::string> dot{
      *this, "dot",
      llvm::cl::desc("How bytes are multiplied: vnni512, vnni256, avx2 or "
                     "generic (any target)"),
      llvm::cl::init("generic")};
};

/// From a module as docs/ModelModule.md describes it, or of plain functions on
/// tensors, to the llvm dialect. Entries get the C interface of
/// docs/ArtefactFormat.md.
void buildLowerToLLVMPipeline(OpPassManager &pm,
                              const LowerToLLVMOptions &options);

/// Registers `lower-glvq-to-llvm`.
void registerLowerToLLVMPipeline();

struct LowerToNVVMOptions : PassPipelineOptions<LowerToNVVMOptions> {
  Option<std::string> chip{
      *this, "chip", llvm::cl::init("sm_80"),
      llvm::cl::desc(
          "GPU to compile for: sm_80, sm_89, sm_90, sm_100 or sm_120")};
  Option<std::string> format{
      *this, "format", llvm::cl::init("fatbin"),
      llvm::cl::desc(
          "what the binary will hold: llvm (bitcode), isa (PTX), bin "
          "(cubin) or fatbin; the last two need ptxas")};
  Option<std::string> activations{
      *this, "activations", llvm::cl::init("int8"),
      llvm::cl::desc(
          "What products with linear codes read: int8 (rounded, with "
          "a factor for each token), f16, or f32")};
};

/// Lowers products with encoded weights and rotations to a `gpu.binary` for an
/// NVIDIA GPU. The host part stays functions on memrefs that launch its
/// kernels.
void buildLowerToNVVMPipeline(OpPassManager &pm,
                              const LowerToNVVMOptions &options);
void registerLowerToNVVMPipeline();

} // namespace mlir::glvq

#endif // GLVQ_PIPELINES_PIPELINES_H
