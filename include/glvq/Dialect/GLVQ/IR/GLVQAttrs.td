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
      ["buildDecode", "buildEncode", "sliceStorage", "getFoldedRuns", "getFoldParts",
       "buildFold", "buildFoldedProduct"]>,
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

def GLVQ_TrellisNodes : I32Enum<"TrellisNodes", "how a window of bits becomes a number", [
    I32EnumCase<"Linear", 0, "linear">,
    I32EnumCase<"Additive", 1, "additive">,
  ]> {
  let cppNamespace = "::mlir::glvq";
}

def GLVQ_TrellisAttr : AttrDef<GLVQ_Dialect, "Trellis", [
    DeclareAttrInterfaceMethods<GLVQ_WeightCodeAttrInterface,
      ["buildDecode", "sliceStorage", "getFoldedRuns", "getFoldParts", "buildFold",
       "buildFoldedProduct"]>,
    OpAsmAttrInterface]> {
  let mnemonic = "trellis";
  let summary = "A filter over the bits of a column, which overlap from row to row";
  let description = [{
    The bits of a column form one sequence down the rows. Every weight reads a
    window of `taps` = L of them, and the window moves `bits` = k from a row to
    the next, so that a weight costs k bits and sees L:

    w[t][j] = scales[t] group_scales[slot of j]
              sum_i taps[i] (2 bit(k t + L - 1 - i, j) - 1)

    With `nodes = additive` the sum is that of two tables instead,
    tables[0][low] + tables[1][high], with bit(k t + L - 1 - i, j) as bit i of
    the number low + 2^(L/2) high.

    The columns are cut into groups of `group`; the last one may be shorter.
    `bits` is one width, or runs of them, as for the lattice. The k of a window
    is at most L.

    ```mlir
    #glvq.trellis<taps = 12, bits = 2, group = 128>
    #glvq.trellis<taps = 12, bits = [1 : 4, 2 : 24], group = 128, nodes = additive>
    ```

    The parts, for M rows, K columns, S = ceil(K / group) slots and R runs, are
    `codes` (i32 [k M + L - k, ceil(K / 32)]; with runs of widths i32 [words],
    one run after the other), `taps` (f32 [R, L]) or `tables`
    (f32 [R, 2, 2^(L/2)]), `scales` (f16 [M]), `group_scales` (f16 [S]), and
    with runs of widths `order` (i32 [S]).
  }];
  let parameters = (ins
    "int64_t":$taps,
    ArrayRefParameter<"::mlir::glvq::WidthRun", "width for all groups, or runs">:$bits,
    "int64_t":$group,
    DefaultValuedParameter<"::mlir::glvq::TrellisNodes", "::mlir::glvq::TrellisNodes::Linear">:$nodes
  );
  let assemblyFormat = "`<` struct($taps, custom<Widths>($bits), $group, $nodes) `>`";
  let builders = [
    // One width for all groups.
    AttrBuilder<(ins "int64_t":$taps, "int64_t":$bits, "int64_t":$group,
                     CArg<"::mlir::glvq::TrellisNodes", "::mlir::glvq::TrellisNodes::Linear">:$nodes), [{
      return $_get($_ctxt, taps, ::llvm::ArrayRef(WidthRun{bits, 0}), group, nodes);
    }]>
  ];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Alias in printed IR, e.g. `#trellis12_w2_g128`.
    ::mlir::OpAsmDialectInterface::AliasResult getAlias(::llvm::raw_ostream &os) const;

    /// Whether widths are given by runs; then there is an `order` part, and
    /// the codes are one row of words.
    bool isMixed() const { return getBits().front().slots != 0; }
    bool isAdditive() const { return getNodes() == TrellisNodes::Additive; }

    /// The runs of slots of a weight with so many columns.
    ::llvm::SmallVector<::mlir::glvq::SlotRun> getRuns(int64_t columns) const;
    /// Rows of bits of a run; dynamic if `rows` is.
    int64_t getNumBitRows(const SlotRun &run, int64_t rows) const;
    /// Words of a row of bits of a run.
    static int64_t getNumRowWords(const SlotRun &run) { return (run.columns + 31) / 32; }
  }];
}

def GLVQ_BinaryAttr : AttrDef<GLVQ_Dialect, "Binary", [
    DeclareAttrInterfaceMethods<GLVQ_WeightCodeAttrInterface,
      ["buildDecode", "sliceStorage", "getFoldedRuns", "getFoldParts", "buildFold",
       "buildFoldedProduct"]>,
    OpAsmAttrInterface]> {
  let mnemonic = "binary";
  let summary = "Sums of columns of a rectangular generator, with signs";
  let description = [{
    Every run of `dim` = d columns of a row is a point of n = `bits` d bits b,
    which stand for

    w = scales[row] group_scales[slot] B (2 b - 1)

    with a generator B of d x n for each run of slots of one width. So `bits`
    need not be whole, but n must be: `bits = 3/2` with d = 8 is n = 12.
    Groups, slots and runs of widths are as for the lattice.

    ```mlir
    #glvq.binary<dim = 8, bits = 2, group = 128>
    #glvq.binary<dim = 8, bits = [3/2 : 4, 2 : 24], group = 128>
    ```

    The parts, for M rows, K columns, S = ceil(K / group) slots and R runs, are
    `codes` (i32 [M, words]), `generators` (f16 [R, d, n], n the largest),
    `scales` (f16 [M]), `group_scales` (f16 [S]), and with runs of widths
    `order` (i32 [S]).
  }];
  let parameters = (ins
    "int64_t":$dim,
    ArrayRefParameter<"::mlir::glvq::WidthRun", "width for all groups, or runs">:$bits,
    "int64_t":$group
  );
  let assemblyFormat = "`<` struct($dim, custom<Widths>($bits), $group) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Alias in printed IR, e.g. `#binary8_w3_2_g128`.
    ::mlir::OpAsmDialectInterface::AliasResult getAlias(::llvm::raw_ostream &os) const;

    /// Whether widths are given by runs; then there is an `order` part.
    bool isMixed() const { return getBits().front().slots != 0; }

    /// The runs of slots of a weight with so many columns.
    ::llvm::SmallVector<::mlir::glvq::SlotRun> getRuns(int64_t columns) const;
    /// Bits of a point: n.
    int64_t getPointBits(const WidthRun &bits) const {
      return bits.width * getDim() / bits.denominator;
    }
    /// The largest n of all runs.
    int64_t getMaxPointBits() const;
    /// Number of i32 words a slot takes in each row.
    int64_t getNumWordsOfSlot(int64_t columns, const WidthRun &bits, int64_t slot) const;
    /// Number of i32 words of a row.
    int64_t getNumWords(int64_t columns) const;
  }];
}

def GLVQ_PackedIntegerAttr : AttrDef<GLVQ_Dialect, "PackedInteger", [
    DeclareAttrInterfaceMethods<GLVQ_WeightCodeAttrInterface, ["buildDecode", "sliceStorage"]>,
    OpAsmAttrInterface]> {
  let mnemonic = "integer";
  let summary = "Packed integers as they are";
  let description = [{
    A weight is the integer u of its field of `bits` bits, around zero:

    w = u + 1/2 - 2^(bits-1)

    so `bits = 1` is -1/2 or +1/2. What `glvq-fold-generator` leaves of a
    linear code. The only part is `codes` (i32 [M, ceil(K bits / 32)]): field c
    of a row occupies its bits c bits, … from the least significant bit of the
    first word on.

    ```mlir
    #glvq.integer<bits = 2>
    ```
  }];
  let parameters = (ins "int64_t":$bits);
  let assemblyFormat = "`<` struct($bits) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Alias in printed IR, e.g. `#integer2`.
    ::mlir::OpAsmDialectInterface::AliasResult getAlias(::llvm::raw_ostream &os) const;

    /// Number of i32 words of a row.
    int64_t getNumWords(int64_t columns) const { return (columns * getBits() + 31) / 32; }
  }];
}

def GLVQ_LeechAttr : AttrDef<GLVQ_Dialect, "Leech", [
    DeclareAttrInterfaceMethods<GLVQ_WeightCodeAttrInterface, ["buildDecode", "sliceStorage"]>,
    OpAsmAttrInterface]> {
  let mnemonic = "leech";
  let summary = "Points of the Leech lattice, given by their numbers";
  let description = [{
    Every run of 24 columns of a row is a point v of the Leech lattice:

    w = scales[row] group_scales[slot] v

    The points are those of the shells up to `shells` (norm 16 `shells`): from
    the origin on, or from shell `first` on. docs/LeechLattice.md has the map
    between points and numbers, which needs no stored codebook. With
    `gain` = g > 0 the direction of the point (not the origin) times one of 2^g
    gains takes its place; with `residual` = r > 0 a point u of shell r alone
    is added:

    v := gains[i] v / |v|,   v := v + residual_scale u

    ```mlir
    #glvq.leech<shells = 13, group = 96>
    #glvq.leech<shells = 12, group = 96, gain = 1>
    #glvq.leech<shells = 3, group = 96, first = 3>
    #glvq.leech<shells = 13, group = 96, residual = 3>
    ```

    These have 2, 2, 1 and 3 bits a weight. The parts, for M rows, K columns and
    S = ceil(K / group) slots, are `codes` (i32 [M, words]), `scales` (f16 [M]),
    `group_scales` (f16 [S]), with gains `gains` (f32 [2^g]), with a residual
    `residual_scale` (f32 [1]).
  }];
  let parameters = (ins
    "int64_t":$shells,
    "int64_t":$group,
    DefaultValuedParameter<"int64_t", "0">:$first,
    DefaultValuedParameter<"int64_t", "0">:$gain,
    DefaultValuedParameter<"int64_t", "0">:$residual
  );
  let assemblyFormat = "`<` struct($shells, $group, $first, $gain, $residual) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Alias in printed IR, e.g. `#leech13_g96`.
    ::mlir::OpAsmDialectInterface::AliasResult getAlias(::llvm::raw_ostream &os) const;
  }];
}

def GLVQ_E8PAttr : AttrDef<GLVQ_Dialect, "E8P", [
    DeclareAttrInterfaceMethods<GLVQ_WeightCodeAttrInterface, ["buildDecode", "sliceStorage"]>,
    OpAsmAttrInterface]> {
  let mnemonic = "e8p";
  let summary = "Points of the padded E8 codebook of QuIP#";
  let description = [{
    Every run of 8 columns of a row is one of 2^16 points v of E8 + 1/4:

    w = scales[row] group_scales[slot] v

    ```mlir
    #glvq.e8p<group = 96>
    ```

    The parts, for M rows, K columns and S = ceil(K / group) slots, are `codes`
    (i32 [M, words]), `scales` (f16 [M]) and `group_scales` (f16 [S]).
  }];
  let parameters = (ins "int64_t":$group);
  let assemblyFormat = "`<` struct($group) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Alias in printed IR, e.g. `#e8p_g96`.
    ::mlir::OpAsmDialectInterface::AliasResult getAlias(::llvm::raw_ostream &os) const;
  }];
}

def GLVQ_InterleavedAttr : AttrDef<GLVQ_Dialect, "Interleaved", [
    DeclareAttrInterfaceMethods<GLVQ_WeightCodeAttrInterface, ["buildDecode"]>,
    OpAsmAttrInterface]> {
  let mnemonic = "interleaved";
  let summary = "Packed integers in the order that CPU kernels read";
  let description = [{
    The weights of `#glvq.integer<bits>`, w = u + 1/2 - 2^(bits-1), with sixteen
    rows side by side. The only part is `codes` (i32 [ceil(M / 16), 16 W]) with
    W = bits ceil(K / 32) words for each row; word 16 w + r of a tile is word w of
    its row r. In each `bits` words, of 32 columns, the bytes i of the words
    are a stream of the fields of the columns i, 4 + i, …, 28 + i, from the
    least significant bit of the first word's byte on. Fields beyond the
    weight are 0.

    ```mlir
    #glvq.interleaved<bits = 2>
    ```
  }];
  let parameters = (ins "int64_t":$bits);
  let assemblyFormat = "`<` struct($bits) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Alias in printed IR, e.g. `#interleaved2`.
    ::mlir::OpAsmDialectInterface::AliasResult getAlias(::llvm::raw_ostream &os) const;
  }];
}

#endif // GLVQ_DIALECT_GLVQ_IR_GLVQATTRS_TD
