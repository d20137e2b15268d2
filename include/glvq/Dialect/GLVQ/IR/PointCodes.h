// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// What the codes with fixed points (`#glvq.leech`, `#glvq.e8p`) stand for, as
// objects of the Lattice library. Not part of GLVQ.h: a header that sees both
// `mlir::glvq` and `::glvq` makes the short name ambiguous.

#ifndef GLVQ_DIALECT_GLVQ_IR_POINTCODES_H
#define GLVQ_DIALECT_GLVQ_IR_POINTCODES_H

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Lattice/Leech.h"

namespace mlir::glvq {

/// The points of the first field of a Leech code.
::glvq::lattice::LeechCodebook getCodebook(LeechAttr code);
/// Those of the second field; only with a residual.
::glvq::lattice::LeechCodebook getResidualCodebook(LeechAttr code);

::glvq::lattice::PointLayout getPointLayout(LeechAttr code, int64_t columns);
::glvq::lattice::PointLayout getPointLayout(E8PAttr code, int64_t columns);

} // namespace mlir::glvq

#endif // GLVQ_DIALECT_GLVQ_IR_POINTCODES_H
