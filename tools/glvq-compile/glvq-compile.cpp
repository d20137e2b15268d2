// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// From an imported module and a checkpoint to an artefact, ahead of time.

#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "glvq/InitAllDialects.h"
#include "glvq/Pipelines/Pipelines.h"
#include "glvq/Target/ArtefactWriter.h"
#include "glvq/Target/EntryPoints.h"
#include "glvq/Target/NativeCode.h"
#include "glvq/Target/WeightsWriter.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/Timing.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/WithColor.h"

#include <chrono>
#include <csignal>

using namespace mlir;
namespace cl = llvm::cl;

namespace {

constexpr StringLiteral kOverview =
    R"(compile a model for one CPU, ahead of time

  glvq-compile model.mlir --checkpoint DIR -o ARTEFACT

model.mlir is what the importer writes (python -m glvq.importer): plain MLIR whose
weights are arguments with the names of the checkpoint's tensors. DIR holds these
tensors: a Hugging Face folder, or a quantized checkpoint of `glvq quantize`, whose
weights then stay encoded in the artefact. ARTEFACT is a folder that glvq-run,
`glvq generate` and the C library libglvq_runtime run with no compiler at hand.

`glvq compile MODEL -o ARTEFACT` does the import as well.
)";

struct CommandLine {
  cl::OptionCategory category{"glvq-compile options"};
  cl::opt<std::string> input{cl::Positional, cl::desc("<model.mlir>"),
                             cl::Required, cl::cat(category)};
  cl::opt<std::string> checkpoint{
      "checkpoint",
      cl::desc(
          "Folder with the weights (and config.json, when they are quantized)"),
      cl::value_desc("dir"), cl::Required, cl::cat(category)};
  cl::opt<std::string> output{"o", cl::desc("The artefact to write; a folder"),
                              cl::value_desc("artefact"), cl::Required,
                              cl::cat(category)};
  cl::opt<std::string> target{
      "target",
      cl::desc("cpu (this machine), cpu:generic, cpu:x86-64-v3, cpu:x86-64-v4, "
               "or cpu:<name> "
               "with a CPU name of LLVM"),
      cl::value_desc("device"), cl::init("cpu"), cl::cat(category)};
  cl::opt<std::string> activations{
      "activations",
      cl::desc("Activations of products with folded weights: int8 (rounded, "
               "with a factor for each token; fast) or f32"),
      cl::value_desc("type"), cl::init("int8"), cl::cat(category)};
  cl::list<std::string> attach{
      "attach",
      cl::desc(
          "Copy a file into the artefact, such as tokenizer.json; repeatable"),
      cl::value_desc("file"), cl::cat(category)};
  cl::opt<std::string> saveIR{
      "save-ir", cl::desc("Write the module after each stage to this folder"),
      cl::value_desc("dir"), cl::cat(category)};
  cl::opt<bool> force{"force", cl::desc("Replace an artefact that exists"),
                      cl::cat(category)};
  cl::opt<bool> quiet{"quiet", cl::desc("Print errors only"),
                      cl::cat(category)};
};

/// Names the steps and their times on a terminal.
class Progress {
public:
  explicit Progress(bool quiet)
      : enabled(!quiet && llvm::sys::Process::StandardErrIsDisplayed()) {}
  ~Progress() { finish(); }

  void step(const Twine &what) {
    finish();
    if (!enabled)
      return;
    start = std::chrono::steady_clock::now();
    running = true;
    llvm::errs() << what << " ... ";
  }

  void finish() {
    if (!running)
      return;
    running = false;
    std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    llvm::errs() << llvm::format("%.1f s\n", seconds.count());
  }

private:
  bool enabled;
  bool running = false;
  std::chrono::steady_clock::time_point start;
};

/// The way from a module to an artefact. Each step reports what went wrong and
/// fails; files are in place only after the last one.
class Compilation {
public:
  Compilation(const CommandLine &options, MLIRContext &context)
      : options(options), context(context), progress(options.quiet) {}

  LogicalResult run();

private:
  LogicalResult report(llvm::Error error) {
    if (!error)
      return success();
    progress.finish();
    llvm::WithColor::error(llvm::errs(), "glvq-compile")
        << llvm::toString(std::move(error)) << '\n';
    return failure();
  }
  LogicalResult report(const Twine &message) {
    return report(
        llvm::createStringError(llvm::inconvertibleErrorCode(), message));
  }
  template <typename T>
  LogicalResult report(llvm::Expected<T> &expected) {
    return report(expected.takeError());
  }

  LogicalResult
  runPasses(ModuleOp module,
            llvm::function_ref<LogicalResult(OpPassManager &)> build);
  FailureOr<bool> isQuantized();
  /// Writes the text of a stage when --save-ir asks for it.
  template <typename IR>
  LogicalResult saveIR(StringRef name, const IR &ir);

  const CommandLine &options;
  MLIRContext &context;
  Progress progress;
};

} // namespace

template <typename IR>
LogicalResult Compilation::saveIR(StringRef name, const IR &ir) {
  if (options.saveIR.empty())
    return success();
  if (std::error_code code = llvm::sys::fs::create_directories(options.saveIR))
    return report("cannot create " + options.saveIR + ": " + code.message());
  SmallString<256> path(options.saveIR);
  llvm::sys::path::append(path, name);
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (!code) {
    if constexpr (std::is_same_v<IR, ModuleOp>)
      ModuleOp(ir).print(os, OpPrintingFlags().elideLargeElementsAttrs());
    else
      ir.print(os, nullptr);
    os.close();
    code = os.error();
    os.clear_error();
  }
  return code ? report("cannot write " + path + ": " + code.message())
              : success();
}

LogicalResult Compilation::runPasses(
    ModuleOp module, llvm::function_ref<LogicalResult(OpPassManager &)> build) {
  auto pm = PassManager::on<ModuleOp>(&context);
  if (failed(applyPassManagerCLOptions(pm)))
    return failure();
  DefaultTimingManager timing;
  applyDefaultTimingManagerCLOptions(timing);
  TimingScope scope = timing.getRootScope();
  pm.enableTiming(scope);
  if (failed(build(pm)))
    return failure();
  return pm.run(module);
}

FailureOr<bool> Compilation::isQuantized() {
  SmallString<256> path(options.checkpoint);
  llvm::sys::path::append(path, "config.json");
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return false;
  llvm::Expected<llvm::json::Value> config =
      llvm::json::parse((*buffer)->getBuffer());
  if (!config)
    return report(path + ": " + llvm::toString(config.takeError()));
  llvm::json::Object *object = config->getAsObject();
  return object && object->getObject("quantization_config");
}

LogicalResult Compilation::run() {
  StringRef device = options.target, cpu;
  std::tie(device, cpu) = device.split(':');
  if (device != "cpu")
    return report("unknown target '" + options.target +
                  "'; artefacts are made for cpu, cpu:x86-64-v3, cpu:x86-64-v4 "
                  "or cpu:<name> "
                  "(for GPU code use glvq-opt --lower-glvq-to-nvvm)");
  llvm::Expected<glvq::NativeTarget> target =
      glvq::getNativeTarget(cpu.empty() ? "native" : cpu);
  if (!target)
    return report(target);
  if (options.activations != "int8" && options.activations != "f32")
    return report("unknown activations '" + options.activations +
                  "'; use int8 or f32");
  if (!llvm::sys::fs::is_directory(options.checkpoint))
    return report("checkpoint " + options.checkpoint + " is not a folder");
  llvm::Expected<glvq::ArtefactWriter> writer =
      glvq::ArtefactWriter::create(options.output, options.force);
  if (!writer)
    return report(writer);

  progress.step("Reading " + options.input);
  OwningOpRef<ModuleOp> module =
      parseSourceFile<ModuleOp>(options.input, ParserConfig(&context));
  if (!module)
    return report(
        options.input +
        " cannot be read; it must be a module as the importer writes it");
  FailureOr<llvm::json::Value> model = llvm::json::Value(llvm::json::Object());
  if (auto attr =
          module->getOperation()->getAttrOfType<DictionaryAttr>("glvq.model"))
    model = glvq::toJSON(attr);
  if (failed(model))
    return report("glvq.model holds a value that a manifest cannot");

  FailureOr<bool> quantized = isQuantized();
  if (failed(quantized))
    return failure();
  if (*quantized) {
    progress.step("Reading the codes of the weights");
    auto build = [&](OpPassManager &pm) {
      glvq::QuantizeWeightsPassOptions passOptions;
      passOptions.checkpoint = options.checkpoint;
      pm.addPass(glvq::createQuantizeWeightsPass(passOptions));
      return success();
    };
    if (failed(runPasses(*module, build)))
      return report("the module does not fit the quantized checkpoint " +
                    options.checkpoint);
    if (failed(saveIR("1-quantized.mlir", *module)))
      return failure();
  }

  progress.step("Lowering to " + target->cpu + " code");
  glvq::LowerToLLVMOptions lowering;
  lowering.vectorWidth = target->getVectorWidth();
  lowering.activations = options.activations.getValue();
  lowering.dot = target->getDotProduct().str();
  if (failed(runPasses(*module, [&](OpPassManager &pm) {
        glvq::buildLowerToLLVMPipeline(pm, lowering);
        return success();
      })))
    return report("lowering failed; --save-ir and "
                  "--mlir-print-ir-after-failure show where");
  if (failed(saveIR("2-llvm.mlir", *module)))
    return failure();
  FailureOr<std::vector<glvq::EntryPoint>> entries =
      glvq::collectEntryPoints(*module);
  if (failed(entries))
    return failure();

  // Weights first: a checkpoint that does not fit is known before the long
  // step.
  progress.step("Writing weights");
  if (failed(
          report(glvq::writeWeights(*entries, options.checkpoint,
                                    writer->addFile("weights.safetensors")))))
    return failure();

  progress.step("Generating code");
  llvm::LLVMContext llvmContext;
  auto llvmModule = glvq::translateToLLVMIR(*module, llvmContext, *target);
  if (!llvmModule)
    return report(llvmModule);
  module = {}; // a large model's module is no longer needed
  if (failed(saveIR("3-optimized.ll", **llvmModule)))
    return failure();
  std::string library = writer->addFile("model.so");
  std::string object = library + ".o";
  if (failed(report(glvq::emitObject(**llvmModule, *target, object))) ||
      failed(report(glvq::linkSharedLibrary({object}, library))))
    return failure();
  llvm::sys::fs::remove(object);

  progress.step("Writing " + options.output);
  for (const std::string &file : options.attach)
    if (failed(report(writer->attach(file))))
      return failure();
  llvm::json::Array entryArray;
  for (const glvq::EntryPoint &entry : *entries)
    entryArray.push_back(glvq::toJSON(entry));
  llvm::json::Object manifest{{"target", glvq::toJSON(*target)},
                              {"model", std::move(*model)},
                              {"entries", std::move(entryArray)}};
  return report(writer->commit(std::move(manifest)));
}

/// Ends the process as the signal would have, but leaves nothing half-written.
static void cleanUpAndDie(int signal) {
  glvq::removeUnfinishedArtefacts();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  // What is ignored (nohup) stays ignored.
  for (int signal : {SIGHUP, SIGINT, SIGTERM})
    if (std::signal(signal, cleanUpAndDie) == SIG_IGN)
      std::signal(signal, SIG_IGN);
  // A crash of the compiler leaves nothing either.
  llvm::sys::AddSignalHandler([](void *) { glvq::removeUnfinishedArtefacts(); },
                              nullptr);
  // Past a limit of the file size, writing shall fail and be reported, not
  // kill.
  std::signal(SIGXFSZ, SIG_IGN);

  CommandLine options;
  cl::HideUnrelatedOptions(options.category);
  registerAsmPrinterCLOptions();
  registerMLIRContextCLOptions();
  registerPassManagerCLOptions();
  registerDefaultTimingManagerCLOptions();
  // Wrong usage is told apart from wrong input by the exit status.
  std::string usage;
  llvm::raw_string_ostream usageErrors(usage);
  if (!cl::ParseCommandLineOptions(argc, argv, kOverview, &usageErrors)) {
    llvm::errs() << usage;
    return 2;
  }

  DialectRegistry registry;
  glvq::registerAllDialects(registry);
  MLIRContext context(registry);
  // A user wants the message, not the whole function it is about.
  context.printOpOnDiagnostic(false);
  llvm::SourceMgr sourceManager;
  SourceMgrDiagnosticHandler handler(sourceManager, &context);
  return failed(Compilation(options, context).run()) ? 1 : 0;
}
