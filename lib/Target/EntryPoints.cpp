// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// From the attribute `glvq.entry_arguments` to the manifest's "entries".

#include "glvq/Target/EntryPoints.h"

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "glvq/Lattice/Interleave.h"
#include "glvq/Runtime/CpuFeatures.h"
#include "glvq/Target/NativeCode.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::glvq;

/// The manifest's name of an element type; "" when it has none.
static std::string dtypeOf(Type type) {
  if (type.isInteger(1))
    return "bool";
  if (type.isUnsignedInteger(8))
    return "u8";
  for (unsigned width : {8, 16, 32, 64})
    if (type.isInteger(width))
      return "i" + std::to_string(width);
  return llvm::TypeSwitch<Type, std::string>(type)
      .Case<Float16Type>([](Type) { return "f16"; })
      .Case<BFloat16Type>([](Type) { return "bf16"; })
      .Case<Float32Type>([](Type) { return "f32"; })
      .Case<Float64Type>([](Type) { return "f64"; })
      .Default([](Type) { return ""; });
}

static FailureOr<EntryArgument> readArgument(Operation *op,
                                             DictionaryAttr attr) {
  EntryArgument argument;
  auto name = attr.getAs<StringAttr>("name");
  auto role = attr.getAs<StringAttr>("role");
  auto typeAttr = attr.getAs<TypeAttr>("type");
  if (!name || !role || !typeAttr)
    return op->emitOpError(
               "has an argument description without name, role or type: ")
           << attr;
  argument.name = name.str();
  argument.role = role.str();
  auto refuse = [&]() {
    return op->emitOpError("argument '")
           << argument.name << "' of type " << typeAttr.getValue();
  };

  auto shaped = dyn_cast<ShapedType>(typeAttr.getValue());
  argument.scalar = !shaped;
  argument.dtype =
      dtypeOf(shaped ? shaped.getElementType() : typeAttr.getValue());
  if (argument.dtype.empty())
    return refuse()
           << " cannot be described in a manifest: unknown element type";
  if (argument.scalar)
    return argument;
  if (!shaped.hasRank())
    return refuse() << " must have a rank";

  if (auto packed = attr.getAs<DictionaryAttr>("packed")) {
    auto source = packed.getAs<StringAttr>("source");
    auto number = [&](StringRef key) {
      auto value = packed.getAs<IntegerAttr>(key);
      return value ? value.getInt() : -1;
    };
    EntryArgument::Packed from{source ? source.str() : "",
                               number("offset"),
                               number("stride"),
                               number("rows"),
                               number("words"),
                               number("columns"),
                               number("bits")};
    int64_t tiles =
        llvm::divideCeil(from.rows, ::glvq::lattice::kInterleavedRows);
    if (!source || from.offset < 0 || from.stride < from.words ||
        from.rows < 1 || from.words < 1 || from.columns < 1 || from.bits < 1 ||
        from.bits > 8 || !shaped.hasStaticShape() || shaped.getRank() != 2 ||
        shaped.getDimSize(0) != tiles ||
        shaped.getDimSize(1) !=
            ::glvq::lattice::kInterleavedRows *
                ::glvq::lattice::getInterleavedWords(from.columns, from.bits))
      return refuse() << " cannot be stored as glvq.packed says: " << packed;
    argument.packed = from;
  }
  auto names = attr.getAs<ArrayAttr>("shape");
  if (names && int64_t(names.size()) != shaped.getRank())
    return refuse() << " has a glvq.shape of another rank: " << names;
  for (auto [i, size] : llvm::enumerate(shaped.getShape())) {
    EntryArgument::Dimension dimension{size, ""};
    if (ShapedType::isDynamic(size)) {
      auto dimensionName =
          names ? dyn_cast<StringAttr>(names[i]) : StringAttr();
      if (!dimensionName)
        return refuse()
               << " needs a glvq.shape that names its dynamic dimension " << i;
      dimension.name = dimensionName.str();
    }
    argument.shape.push_back(std::move(dimension));
  }
  return argument;
}

FailureOr<std::vector<EntryPoint>>
mlir::glvq::collectEntryPoints(ModuleOp module) {
  std::vector<EntryPoint> entries;
  for (Operation &op : *module.getBody()) {
    auto described = op.getAttrOfType<ArrayAttr>(kEntryArgumentsAttrName);
    if (!described)
      continue;
    EntryPoint entry;
    entry.symbol = SymbolTable::getSymbolName(&op).str();
    StringRef name = entry.symbol;
    name.consume_front(kEntrySymbolPrefix);
    entry.name = name.str();
    for (Attribute attr : described) {
      FailureOr<EntryArgument> argument =
          readArgument(&op, cast<DictionaryAttr>(attr));
      if (failed(argument))
        return failure();
      entry.arguments.push_back(std::move(*argument));
    }
    entries.push_back(std::move(entry));
  }
  if (entries.empty())
    return module.emitError(
        "has no entry points: no public function's arguments have glvq.name, "
        "glvq.input or glvq.state (docs/ModelModule.md)");
  return entries;
}

llvm::json::Value mlir::glvq::toJSON(const EntryPoint &entry) {
  llvm::json::Array arguments;
  for (const EntryArgument &argument : entry.arguments) {
    llvm::json::Object object{{"role", argument.role},
                              {"name", argument.name},
                              {"dtype", argument.dtype}};
    if (argument.scalar) {
      object["scalar"] = true;
    } else {
      llvm::json::Array shape;
      for (const EntryArgument::Dimension &dimension : argument.shape) {
        if (dimension.name.empty())
          shape.push_back(dimension.size);
        else
          shape.push_back(dimension.name);
      }
      object["shape"] = std::move(shape);
    }
    arguments.push_back(std::move(object));
  }
  return llvm::json::Object{{"name", entry.name},
                            {"symbol", entry.symbol},
                            {"arguments", std::move(arguments)}};
}

llvm::json::Value mlir::glvq::toJSON(const NativeTarget &target) {
  llvm::json::Array features;
  for (const std::string &feature : target.features)
    if (::glvq::isCodeFeature(feature))
      features.push_back(feature);
  return llvm::json::Object{{"device", "cpu"},
                            {"triple", target.triple},
                            {"cpu", target.cpu},
                            {"features", std::move(features)}};
}

FailureOr<llvm::json::Value> mlir::glvq::toJSON(Attribute attribute) {
  using Result = FailureOr<llvm::json::Value>;
  return llvm::TypeSwitch<Attribute, Result>(attribute)
      .Case<StringAttr>(
          [](StringAttr attr) { return Result(llvm::json::Value(attr.str())); })
      .Case<BoolAttr>([](BoolAttr attr) {
        return Result(llvm::json::Value(attr.getValue()));
      })
      .Case<IntegerAttr>([](IntegerAttr attr) -> Result {
        if (attr.getValue().getSignificantBits() > 64)
          return failure();
        return Result(llvm::json::Value(attr.getValue().getSExtValue()));
      })
      .Case<FloatAttr>([](FloatAttr attr) {
        return Result(llvm::json::Value(attr.getValueAsDouble()));
      })
      .Case<DenseI64ArrayAttr>([](DenseI64ArrayAttr attr) {
        llvm::json::Array array;
        for (int64_t value : attr.asArrayRef())
          array.push_back(value);
        return Result(llvm::json::Value(std::move(array)));
      })
      .Case<ArrayAttr>([](ArrayAttr attr) -> Result {
        llvm::json::Array array;
        for (Attribute element : attr) {
          Result value = toJSON(element);
          if (failed(value))
            return failure();
          array.push_back(std::move(*value));
        }
        return Result(llvm::json::Value(std::move(array)));
      })
      .Case<DictionaryAttr>([](DictionaryAttr attr) -> Result {
        llvm::json::Object object;
        for (NamedAttribute member : attr) {
          Result value = toJSON(member.getValue());
          if (failed(value))
            return failure();
          object[member.getName().str()] = std::move(*value);
        }
        return Result(llvm::json::Value(std::move(object)));
      })
      .Default([](Attribute) { return Result(failure()); });
}
