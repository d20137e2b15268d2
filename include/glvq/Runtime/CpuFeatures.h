// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// CPU features by their LLVM names: what an artefact may ask for, and whether
// this machine has it.

#ifndef GLVQ_RUNTIME_CPUFEATURES_H
#define GLVQ_RUNTIME_CPUFEATURES_H

#include <string_view>

namespace glvq {

/// Whether `feature` ("avx512f", …) is one whose instructions a code generator
/// may emit unasked. Only such features are recorded in a manifest; system and
/// tuning features never decide whether code runs.
bool isCodeFeature(std::string_view feature);

/// Whether this machine, including its operating system, supports `feature`.
/// False for a name that is not a code feature.
bool hostHasFeature(std::string_view feature);

/// "x86_64", "aarch64", … : the first part of the triple of this process.
std::string_view hostArchitecture();

} // namespace glvq

#endif // GLVQ_RUNTIME_CPUFEATURES_H
