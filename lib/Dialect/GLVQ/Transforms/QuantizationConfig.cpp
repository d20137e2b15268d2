// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Reads the quantization config of a checkpoint. Its text comes from outside,
// so everything in it is checked before it reaches the IR.

#include "QuantizationConfig.h"
#include "mlir/AsmParser/AsmParser.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlir::glvq;

/// The version of the format that this file reads.
static constexpr int64_t kVersion = 1;

/// The name of a tensor of signs, or null if `key` is absent.
static FailureOr<StringAttr>
readSigns(MLIRContext *context, const llvm::json::Object &entry, StringRef key,
          function_ref<InFlightDiagnostic()> emitError) {
  const llvm::json::Value *value = entry.get(key);
  if (!value || value->kind() == llvm::json::Value::Null)
    return StringAttr();
  std::optional<StringRef> name = value->getAsString();
  if (!name || name->empty())
    return emitError() << "'" << key << "' is not the name of a tensor";
  return StringAttr::get(context, *name);
}

static FailureOr<QuantizedWeight>
readWeight(MLIRContext *context, const llvm::json::Value &value,
           function_ref<InFlightDiagnostic()> emitError) {
  const llvm::json::Object *entry = value.getAsObject();
  if (!entry)
    return emitError() << "is not an object";
  QuantizedWeight weight;
  if (const llvm::json::Array *shape = entry->getArray("shape"))
    for (const llvm::json::Value &size : *shape)
      weight.shape.push_back(size.getAsInteger().value_or(0));
  if (weight.shape.size() != 2 ||
      llvm::any_of(weight.shape, [](int64_t n) { return n <= 0; }))
    return emitError()
           << "'shape' is not [rows, columns], two positive integers";

  std::optional<StringRef> text = entry->getString("code");
  if (!text)
    return emitError() << "'code' is missing";
  // What the parser has to say has no location of its own; it becomes a note.
  std::string problem;
  Attribute attribute;
  {
    ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
      if (problem.empty())
        problem = diagnostic.str();
      return success();
    });
    size_t read = 0;
    attribute = parseAttribute(*text, context, Type(), &read);
    if (attribute && !text->drop_front(read).trim().empty()) {
      attribute = {};
      problem = "text follows the attribute";
    }
  }
  weight.code = dyn_cast_or_null<WeightCodeAttrInterface>(attribute);
  if (!weight.code) {
    InFlightDiagnostic error =
        emitError() << "unknown code '" << *text
                    << "', expected an attribute like "
                       "'#glvq.lattice<dim = 8, bits = 2, group = 96>'";
    if (!problem.empty())
      error.attachNote() << problem;
    return error;
  }

  if (const llvm::json::Value *transposed = entry->get("transposed")) {
    std::optional<bool> flag = transposed->getAsBoolean();
    if (!flag)
      return emitError() << "'transposed' is neither true nor false";
    weight.transposed = *flag;
  }
  for (auto [key, signs] : {std::pair("signs_in", &weight.signsIn),
                            std::pair("signs_out", &weight.signsOut)}) {
    FailureOr<StringAttr> name = readSigns(context, *entry, key, emitError);
    if (failed(name))
      return failure();
    *signs = *name;
  }
  return weight;
}

FailureOr<QuantizationConfig> mlir::glvq::readQuantizationConfig(
    MLIRContext *context, StringRef checkpoint,
    function_ref<InFlightDiagnostic()> emitError) {
  SmallString<128> path(checkpoint);
  llvm::sys::path::append(path, "config.json");
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!file)
    return emitError() << "cannot read '" << path
                       << "': " << file.getError().message();
  auto inFile = [&] { return emitError() << "'" << path << "': "; };

  llvm::Expected<llvm::json::Value> json =
      llvm::json::parse((*file)->getBuffer());
  if (!json)
    return inFile() << "bad JSON: " << llvm::toString(json.takeError());
  const llvm::json::Object *root = json->getAsObject();
  const llvm::json::Object *config =
      root ? root->getObject("quantization_config") : nullptr;
  if (!config)
    return inFile()
           << "no 'quantization_config': this is not a quantized checkpoint; "
              "make one with 'glvq quantize'";
  std::optional<StringRef> method = config->getString("quant_method");
  if (method != "glvq")
    return inFile() << "'quant_method' is '" << method.value_or("")
                    << "', expected 'glvq'";
  std::optional<int64_t> version = config->getInteger("version");
  if (version != kVersion) {
    InFlightDiagnostic error = inFile() << "'version' is ";
    if (version)
      error << *version;
    else
      error << "missing";
    return error << ", this compiler reads version " << kVersion
                 << "; quantize the model again";
  }
  const llvm::json::Object *weights = config->getObject("weights");
  if (!weights)
    return inFile() << "'quantization_config' has no 'weights'";

  // JSON objects have no order; the order of the names is deterministic.
  SmallVector<std::pair<StringRef, const llvm::json::Value *>> entries;
  for (const auto &[name, value] : *weights)
    entries.emplace_back(name, &value);
  llvm::sort(entries, llvm::less_first());
  QuantizationConfig result;
  for (auto [name, value] : entries) {
    FailureOr<QuantizedWeight> weight =
        readWeight(context, *value, [&, name = name] {
          return inFile() << "weight '" << name << "': ";
        });
    if (failed(weight))
      return failure();
    result.insert({StringAttr::get(context, name), *weight});
  }
  return result;
}
