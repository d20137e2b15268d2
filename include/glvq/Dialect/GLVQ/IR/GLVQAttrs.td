// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The families of weight codes.

#ifndef GLVQ_DIALECT_GLVQ_IR_GLVQATTRS_TD
#define GLVQ_DIALECT_GLVQ_IR_GLVQATTRS_TD

include "glvq/Dialect/GLVQ/IR/GLVQDialect.td"
include "glvq/Dialect/GLVQ/IR/GLVQInterfaces.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpAsmInterface.td"

def GLVQ_Compander : I32Enum<"Compander", "nonlinear scale between lattice points and weights", [
    I32EnumCase<"None", 0, "none">,
    I32EnumCase<"MuLaw", 1, "mu_law">,
    I32EnumCase<"Affine", 2, "affine">,
  ]> {
  let cppNamespace = "::mlir::glvq";
}

def GLVQ_LatticeAttr : AttrDef<GLVQ_Dialect, "Lattice", [
    DeclareAttrInterfaceMethods<GLVQ_WeightCodeAttrInterface,
      ["buildDecode", "buildEncode", "sliceStorage"]>,
    OpAsmAttrInterface]> {
  let mnemonic = "lattice";
  let summary = "Lattice points, with one learned generator matrix per group of columns";
  let description = [{
    The columns of the weight are cut into groups of `group`; the last one may
    be shorter. Every group has a generator matrix G (`dim` x `dim`); each run
    of `dim` columns of a row is a lattice point, stored as `dim` integers u of
    `bits` bits:

    y = G (u + 1/2 - 2^(bits-1)),   w = scale[row] F^-1(y)

    with the inverse of the compander F, w the weights:

    | compander | F^-1(y)                             | parameters (per group) |
    |-----------|-------------------------------------|------------------------|
    | `none`    | y                                   |                        |
    | `mu_law`  | S sgn(y) ((1 + mu)^abs(y) - 1) / mu | (mu, S)                |
    | `affine`  | y (a + b abs(y))                    | (a, b)                 |

    `bits` is one width for all groups, or a list of runs `width : groups`,
    widths ascending, in the order in which the groups are stored; slot s of the
    storage holds group `order[s]`, and a shorter last group the last slot.

    ```mlir
    #glvq.lattice<dim = 8, bits = 2, group = 96>
    #glvq.lattice<dim = 8, bits = [1 : 4, 2 : 24, 3 : 4], group = 128, compander = mu_law>
    ```

    The parts, for M rows, K columns and S = ceil(K / group) slots, are `codes`
    (i32 [M, words]), `generators` (f16 [S, dim, dim]), `scales` (f16 [M]),
    with mixed widths `order` (i32 [S]), with a compander `companders`
    (f32 [S, 2]); docs/CheckpointFormat.md has their exact layout.
  }];
  let parameters = (ins
    "int64_t":$dim,
    ArrayRefParameter<"::mlir::glvq::WidthRun", "width for all groups, or runs">:$bits,
    "int64_t":$group,
    DefaultValuedParameter<"::mlir::glvq::Compander", "::mlir::glvq::Compander::None">:$compander
  );
  let assemblyFormat = "`<` struct($dim, custom<Widths>($bits), $group, $compander) `>`";
  let builders = [
    // One width for all groups.
    AttrBuilder<(ins "int64_t":$dim, "int64_t":$bits, "int64_t":$group,
                     CArg<"::mlir::glvq::Compander", "::mlir::glvq::Compander::None">:$compander), [{
      return $_get($_ctxt, dim, ::llvm::ArrayRef(WidthRun{bits, 0}), group, compander);
    }]>
  ];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Alias in printed IR, e.g. `#lattice8_w2_g96`.
    ::mlir::OpAsmDialectInterface::AliasResult getAlias(::llvm::raw_ostream &os) const;

    /// Whether groups have several widths; then there is an `order` part.
    bool isMixed() const { return getBits().front().slots != 0; }
    bool hasCompander() const { return getCompander() != Compander::None; }

    /// Number of slots (groups) of a weight with so many columns.
    int64_t getNumSlots(int64_t columns) const;
    /// Width in bits of the fields of a slot.
    int64_t getWidthOfSlot(int64_t slot) const;
    /// Number of columns a slot holds: `group`, or less in the last one.
    int64_t getNumColumnsOfSlot(int64_t columns, int64_t slot) const;
    /// Number of i32 words a slot takes in each row.
    int64_t getNumWordsOfSlot(int64_t columns, int64_t slot) const;
    /// First i32 word of a slot within a row; for slot = number of slots the
    /// number of words of a row.
    int64_t getWordOffset(int64_t columns, int64_t slot) const;
    /// Number of i32 words of a row.
    int64_t getNumWords(int64_t columns) const {
      return getWordOffset(columns, getNumSlots(columns));
    }
  }];
}

#endif // GLVQ_DIALECT_GLVQ_IR_GLVQATTRS_TD
