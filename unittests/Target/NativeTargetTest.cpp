// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Which features the compiler may use on a machine.

#include "glvq/Target/NativeCode.h"

#include <gtest/gtest.h>

using namespace mlir;

namespace {

bool contains(const std::vector<std::string> &list, llvm::StringRef name) {
  return llvm::is_contained(list, name);
}

// A virtual machine shows the name of its CPU and hides some of its features:
// LLVM would take them from the name, so they are switched off.
TEST(NativeTarget, SwitchesOffWhatAMachineHides) {
  llvm::StringMap<bool> features{
      {"avx2", true},   {"fma", true},  {"avx", true},      {"avx512f", false},
      {"sse4a", false}, {"sse2", true}, {"amx-int8", false}};
  auto target = glvq::getTargetOfHost("znver5", features);
  ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
  EXPECT_EQ(target->cpu, "znver5");
  EXPECT_TRUE(contains(target->features, "avx2"));
  EXPECT_FALSE(contains(target->features, "avx512f"));
  EXPECT_TRUE(contains(target->hidden, "avx512f"));
  EXPECT_TRUE(contains(target->hidden, "sse4a"));
  // A CPU that never had it hides nothing.
  EXPECT_FALSE(contains(target->hidden, "amx-int8"));
  EXPECT_EQ(target->getFeatureString(),
            "+avx,+avx2,+fma,+sse2,-avx512f,-sse4a");
  EXPECT_EQ(target->getVectorWidth(), 8);
}

TEST(NativeTarget, HidesNothingOfItsOwnMachine) {
  auto target = glvq::getNativeTarget("native");
  ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
  for (const std::string &feature : target->hidden)
    EXPECT_FALSE(contains(target->features, feature)) << feature;
}

TEST(NativeTarget, RefusesUnknownNames) {
  auto target = glvq::getNativeTarget("z80");
  ASSERT_FALSE(bool(target));
  EXPECT_EQ(llvm::toString(target.takeError()).find("unknown CPU 'z80'"), 0u);
  auto host = glvq::getTargetOfHost("z80", {});
  ASSERT_FALSE(bool(host));
  EXPECT_NE(llvm::toString(host.takeError()).find("cpu:<name>"),
            std::string::npos);
}

} // namespace
