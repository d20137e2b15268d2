// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-quantize-weights: from a plain model and a quantized checkpoint to the
// same model on encoded weights. Entry points are retyped in place; functions
// they call are specialised by cloning, as a function may be reached with
// weights of different codes, or of none.

#include "QuantizationConfig.h"
#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_QUANTIZEWEIGHTSPASS
#include "glvq/Dialect/GLVQ/Transforms/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

static constexpr StringLiteral kNameAttr = "glvq.name";

/// I32 words that hold `n` signs.
static RankedTensorType getSignsType(MLIRContext *context, int64_t n) {
  return RankedTensorType::get({llvm::divideCeilSigned(n, 32)},
                               IntegerType::get(context, 32));
}

namespace {

/// How one argument of a function becomes a weight. The signs are numbers of
/// further arguments, counted within the function: two functions whose weights
/// share signs in the same way are one function.
struct ArgumentPlan {
  WeightType type;
  bool transposed = false;
  std::optional<unsigned> signsIn, signsOut;

  /// For comparison: equal plans have the same attribute.
  Attribute getKey(Builder &builder) const {
    if (!type)
      return builder.getUnitAttr();
    auto number = [&](std::optional<unsigned> slot) -> Attribute {
      return builder.getI64IntegerAttr(slot ? static_cast<int64_t>(*slot) : -1);
    };
    return builder.getArrayAttr({TypeAttr::get(type),
                                 builder.getBoolAttr(transposed),
                                 number(signsIn), number(signsOut)});
  }
};

/// How a function is specialised.
struct FunctionPlan {
  /// One for each argument the function has.
  SmallVector<ArgumentPlan> arguments;
  /// Types of the signs, which become further arguments.
  SmallVector<RankedTensorType> signs;

  bool hasWeights() const {
    return llvm::any_of(arguments, [](const ArgumentPlan &plan) {
      return plan.type != nullptr;
    });
  }

  Attribute getKey(Builder &builder) const {
    return builder.getArrayAttr(
        llvm::map_to_vector(arguments, [&](const ArgumentPlan &plan) {
          return plan.getKey(builder);
        }));
  }
};

class WeightQuantizer {
public:
  WeightQuantizer(ModuleOp module, const QuantizationConfig &config)
      : module(module), symbols(module), config(config),
        builder(module.getContext()) {}

  LogicalResult run();

  unsigned numWeights = 0, numSpecialised = 0;

private:
  /// Plans an entry point by the names of its arguments. The names of its
  /// signs are appended to `signNames`.
  LogicalResult planEntry(func::FuncOp entry, FunctionPlan &plan,
                          SmallVectorImpl<StringAttr> &signNames);

  /// Retypes the arguments of `function`, adds those for the signs, and makes
  /// the uses fit: decoded for ops, as they are for calls.
  LogicalResult apply(func::FuncOp function, const FunctionPlan &plan,
                      ArrayRef<StringAttr> signNames = {});

  /// Redirects a call that passes weights of `caller` to a specialised callee.
  LogicalResult specialiseCall(func::CallOp call, const FunctionPlan &caller,
                               ValueRange signs);

  /// The callee for a plan, made when first asked for.
  FailureOr<func::FuncOp> getSpecialised(func::FuncOp callee,
                                         const FunctionPlan &plan);

  /// The matrix the checkpoint describes, as the model uses it.
  Value buildDense(Location loc, Value weight, const ArgumentPlan &plan,
                   ValueRange signs);

  /// Private functions that nothing calls any more, now that their clones are.
  void eraseUnused();

  ModuleOp module;
  SymbolTable symbols;
  const QuantizationConfig &config;
  OpBuilder builder;
  DenseMap<std::pair<Attribute, Attribute>, func::FuncOp> specialised;
  llvm::SetVector<func::FuncOp> originals;
  /// Entry points that have weights: they are not what they were.
  DenseSet<Operation *> retyped;
};

} // namespace

LogicalResult WeightQuantizer::run() {
  SmallVector<func::FuncOp> entries;
  DenseSet<StringAttr> seen;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function.isPublic() || function.isExternal())
      continue;
    entries.push_back(function);
    for (unsigned i : llvm::seq(function.getNumArguments()))
      if (auto name = function.getArgAttrOfType<StringAttr>(i, kNameAttr))
        seen.insert(name);
  }
  // Before anything changes: a checkpoint of another model is the likely cause.
  SmallVector<StringAttr> missing;
  for (const auto &[name, weight] : config)
    if (!seen.contains(name))
      missing.push_back(name);
  if (!missing.empty()) {
    InFlightDiagnostic error = module.emitError()
                               << "the checkpoint has the quantized weight '"
                               << missing.front().getValue() << "'";
    if (missing.size() > 1)
      error << " and " << missing.size() - 1 << " more";
    return error << ", but no entry point has an argument of that name; is "
                    "this checkpoint of "
                    "this model?";
  }

  // All plans before any change: errors leave the module as it was, and entry
  // points that call each other are seen unchanged.
  SmallVector<FunctionPlan> plans(entries.size());
  SmallVector<SmallVector<StringAttr>> signNames(entries.size());
  for (auto [entry, plan, names] : llvm::zip_equal(entries, plans, signNames)) {
    if (failed(planEntry(entry, plan, names)))
      return failure();
    if (plan.hasWeights())
      retyped.insert(entry);
  }
  for (auto [entry, plan, names] : llvm::zip_equal(entries, plans, signNames))
    if (failed(apply(entry, plan, names)))
      return failure();
  eraseUnused();
  return success();
}

LogicalResult
WeightQuantizer::planEntry(func::FuncOp entry, FunctionPlan &plan,
                           SmallVectorImpl<StringAttr> &signNames) {
  llvm::SmallMapVector<StringAttr, std::pair<int64_t, unsigned>, 4> slots;
  auto getSlot = [&](StringAttr signs, int64_t size,
                     StringAttr weight) -> FailureOr<std::optional<unsigned>> {
    if (!signs)
      return std::optional<unsigned>();
    auto [it, isNew] = slots.insert({signs, {size, plan.signs.size()}});
    if (isNew) {
      plan.signs.push_back(getSignsType(entry.getContext(), size));
      signNames.push_back(signs);
    } else if (it->second.first != size) {
      return entry.emitError("weight '")
             << weight.getValue() << "' needs " << size << " signs from '"
             << signs.getValue() << "', another weight " << it->second.first;
    }
    return std::optional<unsigned>(it->second.second);
  };

  for (unsigned i : llvm::seq(entry.getNumArguments())) {
    ArgumentPlan &argument = plan.arguments.emplace_back();
    auto name = entry.getArgAttrOfType<StringAttr>(i, kNameAttr);
    auto *it = name ? config.find(name) : config.end();
    if (it == config.end())
      continue;
    const QuantizedWeight &weight = it->second;
    Type given = entry.getArgument(i).getType();
    auto tensor = dyn_cast<RankedTensorType>(given);
    SmallVector<int64_t, 2> shape(weight.shape);
    if (weight.transposed)
      std::swap(shape[0], shape[1]);
    if (!tensor || !isa<FloatType>(tensor.getElementType()) ||
        tensor.getShape() != ArrayRef<int64_t>(shape)) {
      InFlightDiagnostic error = entry.emitError("weight '")
                                 << name.getValue()
                                 << "': the checkpoint has a matrix of "
                                 << shape[0] << "x" << shape[1] << " floats"
                                 << (weight.transposed ? " (transposed)" : "")
                                 << ", the model an argument of type " << given;
      if (tensor && !weight.transposed && tensor.getRank() == 2 &&
          tensor.getDimSize(0) == shape[1] && tensor.getDimSize(1) == shape[0])
        error.attachNote() << "the sizes are swapped: is \"transposed\" "
                              "missing in config.json?";
      return error;
    }
    argument.type = WeightType::getChecked(
        [&] { return entry.emitError("weight '") << name.getValue() << "': "; },
        entry.getContext(), ArrayRef<int64_t>(weight.shape),
        tensor.getElementType(), weight.code);
    if (!argument.type)
      return failure();
    argument.transposed = weight.transposed;
    FailureOr<std::optional<unsigned>> in = getSlot(weight.signsIn,
                                                    weight.shape[1], name),
                                       out = getSlot(weight.signsOut,
                                                     weight.shape[0], name);
    if (failed(in) || failed(out))
      return failure();
    argument.signsIn = *in;
    argument.signsOut = *out;
    ++numWeights;
  }
  return success();
}

LogicalResult WeightQuantizer::apply(func::FuncOp function,
                                     const FunctionPlan &plan,
                                     ArrayRef<StringAttr> signNames) {
  if (!plan.hasWeights())
    return success();
  MLIRContext *context = function.getContext();
  Block &body = function.getBody().front();
  unsigned numArguments = function.getNumArguments();
  for (auto [i, type] : llvm::enumerate(plan.signs)) {
    NamedAttrList attrs;
    if (i < signNames.size())
      attrs.set(kNameAttr, signNames[i]);
    if (failed(function.insertArgument(numArguments + i, type,
                                       attrs.getDictionary(context),
                                       function.getLoc())))
      return failure();
  }
  ValueRange signs =
      ValueRange(function.getArguments()).drop_front(numArguments);

  // The clones of callees must not be found by the walk below, so calls are
  // collected first.
  llvm::SetVector<func::CallOp> calls;
  builder.setInsertionPointToStart(&body);
  SmallVector<Type> types(function.getArgumentTypes());
  for (auto [i, argument] : llvm::enumerate(plan.arguments)) {
    if (!argument.type)
      continue;
    BlockArgument value = body.getArgument(i);
    SmallVector<OpOperand *> plainUses;
    for (OpOperand &use : value.getUses()) {
      if (auto call = dyn_cast<func::CallOp>(use.getOwner()))
        calls.insert(call);
      else
        plainUses.push_back(&use);
    }
    value.setType(argument.type);
    types[i] = argument.type;
    if (plainUses.empty())
      continue;
    Value dense = buildDense(value.getLoc(), value, argument, signs);
    for (OpOperand *use : plainUses)
      use->set(dense);
  }
  function.setType(
      FunctionType::get(context, types, function.getResultTypes()));

  // In the order of the program, so that clones are numbered in it.
  SmallVector<func::CallOp> ordered;
  function.walk([&](func::CallOp call) {
    if (calls.contains(call))
      ordered.push_back(call);
  });
  for (func::CallOp call : ordered)
    if (failed(specialiseCall(call, plan, signs)))
      return failure();
  return success();
}

LogicalResult WeightQuantizer::specialiseCall(func::CallOp call,
                                              const FunctionPlan &caller,
                                              ValueRange signs) {
  auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
  if (callee && retyped.contains(callee))
    return call.emitError("passes a quantized weight to the entry point '@")
           << call.getCallee()
           << "', which has quantized weights of its own; call a private "
           << "function from both";
  if (!callee || callee.isExternal())
    return call.emitError("passes a quantized weight to '@")
           << call.getCallee()
           << "', which has no body to specialise; the weight would be used "
           << "both quantized and not";

  FunctionPlan plan;
  SmallVector<Value> operands(call.getOperands());
  llvm::SmallMapVector<unsigned, unsigned, 4>
      slots; // caller's number -> callee's
  auto getSlot = [&](std::optional<unsigned> slot) -> std::optional<unsigned> {
    if (!slot)
      return std::nullopt;
    auto [it, isNew] = slots.insert({*slot, plan.signs.size()});
    if (isNew) {
      plan.signs.push_back(caller.signs[*slot]);
      operands.push_back(signs[*slot]);
    }
    return it->second;
  };
  for (Value operand : call.getOperands()) {
    ArgumentPlan &argument = plan.arguments.emplace_back();
    if (!isa<WeightType>(operand.getType()))
      continue;
    // Weights are only ever arguments of the entry block.
    argument = caller.arguments[cast<BlockArgument>(operand).getArgNumber()];
    argument.signsIn = getSlot(argument.signsIn);
    argument.signsOut = getSlot(argument.signsOut);
  }

  FailureOr<func::FuncOp> clone = getSpecialised(callee, plan);
  if (failed(clone))
    return failure();
  builder.setInsertionPoint(call);
  auto newCall = func::CallOp::create(builder, call.getLoc(), *clone, operands);
  newCall->setDiscardableAttrs(call->getDiscardableAttrDictionary());
  call.replaceAllUsesWith(newCall.getResults());
  call.erase();
  return success();
}

FailureOr<func::FuncOp>
WeightQuantizer::getSpecialised(func::FuncOp callee, const FunctionPlan &plan) {
  // The function itself for a key, as names can be taken by others later.
  func::FuncOp &clone =
      specialised[{callee.getSymNameAttr(), plan.getKey(builder)}];
  if (clone)
    return clone;
  func::FuncOp result = callee.clone();
  clone = result; // before its body is visited: it may call itself
  result.setName((callee.getName() + "_quantized").str());
  result.setPrivate();
  symbols.insert(result, std::next(callee->getIterator()));
  originals.insert(callee);
  ++numSpecialised;
  if (failed(apply(result, plan)))
    return failure();
  return result;
}

Value WeightQuantizer::buildDense(Location loc, Value weight,
                                  const ArgumentPlan &plan, ValueRange signs) {
  Value dense =
      DecodeOp::create(builder, loc, plan.type.getDecodedType(), weight);
  auto rotateBack = [&](std::optional<unsigned> slot, int64_t dimension) {
    if (slot)
      dense = HadamardOp::create(builder, loc, dense.getType(), dense,
                                 signs[*slot], dimension,
                                 /*inverse=*/true);
  };
  rotateBack(plan.signsIn, 1);
  rotateBack(plan.signsOut, 0);
  if (!plan.transposed)
    return dense;
  Value empty = tensor::EmptyOp::create(
      builder, loc,
      ArrayRef<int64_t>{plan.type.getNumColumns(), plan.type.getNumRows()},
      plan.type.getElementType());
  return linalg::TransposeOp::create(builder, loc, dense, empty,
                                     ArrayRef<int64_t>{1, 0})
      ->getResult(0);
}

void WeightQuantizer::eraseUnused() {
  // An original may be called by another one only.
  for (bool changed = true; changed;) {
    changed = false;
    SymbolTableCollection tables;
    SymbolUserMap users(tables, module);
    for (func::FuncOp function : llvm::to_vector(originals)) {
      if (function.isPublic())
        continue;
      // Its own calls do not keep a recursive function.
      if (!llvm::all_of(users.getUsers(function), [&](Operation *user) {
            return function->isAncestor(user);
          }))
        continue;
      originals.remove(function);
      symbols.erase(function);
      changed = true;
      break;
    }
  }
}

namespace {
struct QuantizeWeightsPass
    : glvq::impl::QuantizeWeightsPassBase<QuantizeWeightsPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (checkpoint.empty()) {
      module.emitError("glvq-quantize-weights needs the option 'checkpoint', "
                       "the folder of a "
                       "quantized checkpoint");
      return signalPassFailure();
    }
    FailureOr<QuantizationConfig> config = readQuantizationConfig(
        &getContext(), checkpoint, [&] { return module.emitError(); });
    if (failed(config))
      return signalPassFailure();
    WeightQuantizer quantizer(module, *config);
    if (failed(quantizer.run()))
      return signalPassFailure();
    numWeights += quantizer.numWeights;
    numSpecialised += quantizer.numSpecialised;
  }
};
} // namespace
