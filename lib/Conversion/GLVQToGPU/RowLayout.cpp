//===- RowLayout.cpp - The units in which kernels read a row --------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "RowLayout.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace mlir::glvq;
using namespace mlir::glvq::gpukernels;

/// Fields that a lane unpacks at once, at most.
static constexpr int64_t maxUnitFields = 64;

RowLayout RowLayout::get(LatticeAttr code, int64_t columns) {
  RowLayout layout;
  layout.dim = code.getDim();
  layout.group = code.getGroup();
  layout.columns = columns;
  layout.words = code.getNumWords(columns);

  for (int64_t slot = 0, end = code.getNumSlots(columns); slot != end; ++slot) {
    int64_t width = code.getWidthOfSlot(slot);
    int64_t slotColumns = code.getNumColumnsOfSlot(columns, slot);
    if (!layout.runs.empty() && layout.runs.back().width == width &&
        layout.runs.back().columns == slotColumns) {
      ++layout.runs.back().slots;
      continue;
    }
    SlotRun run = {};
    run.width = width;
    run.firstSlot = slot;
    run.slots = 1;
    run.columns = slotColumns;
    run.fields = llvm::alignTo(slotColumns, layout.dim);
    run.slotWords = code.getNumWordsOfSlot(columns, slot);
    run.wordOffset = code.getWordOffset(columns, slot);
    layout.runs.push_back(run);
  }

  int64_t mostUnits = 1;
  for (SlotRun &run : layout.runs) {
    bool flat = run.slots == 1 || run.slotWords * 32 % run.width == 0;
    run.segments = flat ? 1 : run.slots;
    run.segmentWords = flat ? run.slots * run.slotWords : run.slotWords;
    // Every row, segment and unit has to start at a multiple of the vector.
    int64_t alignment = std::gcd(layout.words, run.wordOffset);
    if (run.segments > 1)
      alignment = std::gcd(alignment, run.segmentWords);
    run.vectorWords = std::gcd<int64_t>(alignment, 4);
    int64_t pattern = run.width / std::gcd<int64_t>(run.width, 32);
    // Longer units would keep too many activations in registers.
    while (run.vectorWords > 1 &&
           std::lcm(pattern, run.vectorWords) * 32 / run.width > maxUnitFields)
      run.vectorWords /= 2;
    run.unitWords = std::lcm(pattern, run.vectorWords);
    run.unitFields = run.unitWords * 32 / run.width;
    run.segmentUnits = llvm::divideCeil(run.segmentWords, run.unitWords);
    mostUnits = std::max(mostUnits, run.units());
  }
  layout.lanes = std::min<int64_t>(llvm::PowerOf2Ceil(mostUnits), 32);

  layout.foldedSize = 0;
  for (SlotRun &run : layout.runs) {
    run.foldedOffset = layout.foldedSize;
    layout.foldedSize +=
        llvm::alignTo(run.units(), layout.lanes) * run.unitFields;
  }
  return layout;
}

int64_t RowLayout::getManyTokens() const {
  int64_t longest = 0;
  for (const SlotRun &run : runs)
    longest = std::max(longest, run.unitFields);
  return longest > 32 ? 2 : 4;
}
