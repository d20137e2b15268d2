// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-bind-entry-buffers: the boundary of entries in terms of buffers. Done
// before bufferization, so that its analysis sees which buffers may be written
// and updates states in place.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_BINDENTRYBUFFERSPASS
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;

namespace {

constexpr StringLiteral kName = "glvq.name";
constexpr StringLiteral kInput = "glvq.input";
constexpr StringLiteral kState = "glvq.state";
constexpr StringLiteral kOutput = "glvq.output";
constexpr StringLiteral kShape = "glvq.shape";
constexpr StringLiteral kPacked = "glvq.packed";

/// The role of an argument or result in the manifest, and the attribute of
/// docs/ModelModule.md that gives it its name.
struct Role {
  StringRef role;
  StringAttr name;
};

FailureOr<Role> getRole(DictionaryAttr attrs) {
  static constexpr std::pair<StringLiteral, StringLiteral> roles[] = {
      {kName, "weight"},
      {kInput, "input"},
      {kState, "state"},
      {kOutput, "output"}};
  if (attrs)
    for (auto [key, role] : roles)
      if (auto name = attrs.getAs<StringAttr>(key))
        return Role{role, name};
  return failure();
}

bool isEntry(func::FuncOp func) {
  if (!func.isPublic() || func.isExternal())
    return false;
  for (unsigned i = 0, e = func.getNumArguments(); i < e; ++i)
    if (succeeded(getRole(func.getArgAttrDict(i))))
      return true;
  for (unsigned i = 0, e = func.getNumResults(); i < e; ++i)
    if (succeeded(getRole(func.getResultAttrDict(i))))
      return true;
  return false;
}

MemRefType getBufferType(RankedTensorType type) {
  return MemRefType::get(type.getShape(), type.getElementType());
}

struct BindEntryBuffers
    : glvq::impl::BindEntryBuffersPassBase<BindEntryBuffers> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (isEntry(func) && failed(bind(func)))
        return signalPassFailure();
  }

  LogicalResult bind(func::FuncOp func) {
    MLIRContext *context = &getContext();
    if (!func.getBody().hasOneBlock())
      return func.emitOpError("is an entry of several blocks; turn its control "
                              "flow into structured (scf) form");
    if (auto uses = SymbolTable::getSymbolUses(func, getOperation());
        uses && !uses->empty())
      return func.emitOpError("is an entry that the module itself calls; call "
                              "a private function that both share");

    Block &body = func.getBody().front();
    OpBuilder b(&body, body.begin());
    SmallVector<Attribute> described;
    llvm::StringMap<Value> states;

    auto describe = [&](const Role &role, Type type, DictionaryAttr attrs) {
      SmallVector<NamedAttribute> entry = {
          b.getNamedAttr("role", b.getStringAttr(role.role)),
          b.getNamedAttr("name", role.name),
          b.getNamedAttr("type", TypeAttr::get(type))};
      if (Attribute shape = attrs.get(kShape))
        entry.push_back(b.getNamedAttr("shape", shape));
      if (Attribute packed = attrs.get(kPacked))
        entry.push_back(b.getNamedAttr("packed", packed));
      described.push_back(b.getDictionaryAttr(entry));
    };

    for (BlockArgument arg : body.getArguments()) {
      DictionaryAttr attrs = func.getArgAttrDict(arg.getArgNumber());
      FailureOr<Role> role = getRole(attrs);
      if (failed(role))
        return func.emitOpError("argument #")
               << arg.getArgNumber()
               << " of an entry has none of glvq.name, glvq.input, glvq.state";
      if (auto type = dyn_cast<RankedTensorType>(arg.getType())) {
        bool isState = role->role == "state";
        arg.setType(getBufferType(type));
        auto tensor = bufferization::ToTensorOp::create(b, func.getLoc(), type,
                                                        arg, /*restrict=*/true,
                                                        /*writable=*/isState);
        arg.replaceAllUsesExcept(tensor, tensor);
        if (isState && !states.try_emplace(role->name.getValue(), arg).second)
          return func.emitOpError("has two arguments for the state ")
                 << role->name;
      } else if (!arg.getType().isIntOrFloat()) {
        return func.emitOpError("argument #")
               << arg.getArgNumber() << " of an entry has type "
               << arg.getType() << "; expected a ranked tensor or a number"
               << (role->role == "weight"
                       ? " (glvq-materialize-weights takes weights apart)"
                       : "");
      }
      describe(*role, arg.getType(), attrs);
    }

    Operation *terminator = body.getTerminator();
    b.setInsertionPoint(terminator);
    SmallVector<Attribute> argAttrs;
    for (unsigned i = 0, e = func.getNumArguments(); i < e; ++i)
      argAttrs.push_back(func.getArgAttrDict(i) ? func.getArgAttrDict(i)
                                                : DictionaryAttr::get(context));
    for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
      DictionaryAttr attrs = func.getResultAttrDict(i);
      FailureOr<Role> role = getRole(attrs);
      if (failed(role) || (role->role != "output" && role->role != "state"))
        return func.emitOpError("result #")
               << i << " of an entry has neither glvq.output nor glvq.state";
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type)
        return func.emitOpError("result #")
               << i << " of an entry has type " << value.getType()
               << "; expected a ranked tensor";
      Value destination;
      if (role->role == "state") {
        destination = states.lookup(role->name.getValue());
        if (!destination)
          return func.emitOpError("result #")
                 << i << " is the new value of the state " << role->name
                 << ", which no argument holds";
        if (destination.getType() != getBufferType(type))
          return func.emitOpError("the state ")
                 << role->name << " changes its type from "
                 << destination.getType() << " to " << getBufferType(type);
      } else {
        destination = body.addArgument(getBufferType(type), func.getLoc());
        argAttrs.push_back(attrs);
        describe(*role, destination.getType(), attrs);
      }
      bufferization::MaterializeInDestinationOp::create(
          b, func.getLoc(), /*result=*/Type(), value, destination,
          /*restrict=*/true, /*writable=*/true);
    }
    terminator->setOperands({});
    func.setFunctionType(
        b.getFunctionType(body.getArgumentTypes(), TypeRange()));
    func.setResAttrsAttr({});
    func.setArgAttrsAttr(b.getArrayAttr(argAttrs));
    func->setAttr(glvq::kEntryArgumentsAttrName, b.getArrayAttr(described));
    return success();
  }
};

} // namespace
