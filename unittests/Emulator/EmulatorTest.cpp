// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Kernels in LLVM IR, run by the emulator, against what the PTX ISA says their
// instructions do.

#include "glvq/Emulator/Emulator.h"
#include "llvm/ADT/Twine.h"
#include "gtest/gtest.h"

#include <cmath>
#include <random>

using namespace glvq::emulator;

namespace {
/// A device with one kernel, named `k`; %t is the number of the thread.
class Device {
public:
  explicit Device(const std::string &body,
                  const std::string &declarations = "") {
    std::string ir =
        "target triple = \"nvptx64-nvidia-cuda\"\n"
        "declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()\n" +
        declarations +
        "\ndefine ptx_kernel void @k(ptr addrspace(1) %p, ptr addrspace(1) %q) "
        "{\n  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()\n" +
        body + "\n  ret void\n}\n";
    auto loaded = KernelModule::load(llvm::MemoryBufferRef(ir, "test"), memory);
    if (loaded)
      module = std::move(*loaded);
    else
      error = llvm::toString(loaded.takeError());
  }

  /// Runs one block; the message of the fault, or nothing.
  std::string run(void *p, void *q, uint32_t threads = 32) {
    if (!module)
      return error;
    void *arguments[] = {&p, &q};
    return llvm::toString(launch(*module->lookup("k"), {}, {threads, 1, 1}, 0,
                                 arguments, memory));
  }
  template <typename T>
  T *allocate(size_t count) {
    return static_cast<T *>(memory.allocate(count * sizeof(T), "array"));
  }

  Memory memory;
  std::unique_ptr<KernelModule> module;
  std::string error;
};

/// Loads the lane's six words at p as %w0, ….
std::string loadSix() {
  std::string text;
  for (int i = 0; i != 6; ++i) {
    std::string n = std::to_string(i);
    text += "  %o" + n + " = mul i32 %t, 6\n  %j" + n + " = add i32 %o" + n +
            ", " + n + "\n  %a" + n +
            " = getelementptr i32, ptr addrspace(1) %p, i32 %j" + n + "\n  %w" +
            n + " = load i32, ptr addrspace(1) %a" + n + "\n";
  }
  return text;
}

/// Stores the four fields of %d, of type `type`, at word 4 t of q.
std::string storeFour(const std::string &type) {
  std::string text = "  %first = mul i32 %t, 4\n";
  for (int i = 0; i != 4; ++i) {
    std::string n = std::to_string(i);
    text +=
        "  %r" + n + " = extractvalue {" + type + ", " + type + ", " + type +
        ", " + type + "} %d, " + n + "\n  %s" + n + " = add i32 %first, " + n +
        "\n  %b" + n + " = getelementptr i32, ptr addrspace(1) %q, i32 %s" + n +
        "\n  store " + type + " %r" + n + ", ptr addrspace(1) %b" + n + "\n";
  }
  return text;
}

/// Stores value number `i` of `count` of the lane.
std::string storeOne(const std::string &value, int i, int count) {
  std::string n = std::to_string(i);
  return "  %m" + n + " = mul i32 %t, " + std::to_string(count) + "\n  %k" + n +
         " = add i32 %m" + n + ", " + n + "\n  %b" + n +
         " = getelementptr i32, ptr addrspace(1) %q, i32 %k" + n +
         "\n  store i32 " + value + ", ptr addrspace(1) %b" + n + "\n";
}

/// An integer of at most eleven bits as a half.
uint16_t toHalf(int value) {
  if (!value)
    return 0;
  int exponent;
  double fraction = std::frexp(std::abs(value), &exponent);
  return (value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 |
         static_cast<int>((2 * fraction - 1) * 1024);
}

TEST(Emulator, ProductOfBytes) {
  std::mt19937 random(1);
  uint8_t a[16][32];
  int8_t b[32][8];
  for (auto &row : a)
    for (uint8_t &x : row)
      x = random();
  for (auto &row : b)
    for (int8_t &x : row)
      x = random();
  Device device(
      loadSix() +
          "  %d = call {i32, i32, i32, i32} "
          "@llvm.nvvm.mma.m16n8k32.row.col.u8.s8(i32 %w0, i32 %w1, i32 %w2, "
          "i32 %w3, i32 %w4, i32 %w5, i32 1, i32 2, i32 3, i32 4)\n" +
          storeFour("i32"),
      "declare {i32, i32, i32, i32} @llvm.nvvm.mma.m16n8k32.row.col.u8.s8(i32, "
      "i32, i32, i32, i32, i32, i32, i32, i32, i32)");
  auto *p = device.allocate<uint32_t>(32 * 6);
  auto *q = device.allocate<int32_t>(32 * 4);
  for (int lane = 0; lane != 32; ++lane)
    for (int word = 0; word != 6; ++word) {
      uint32_t bits = 0;
      for (int i = 0; i != 4; ++i) {
        // The element of A or B that register `word`, byte `i` holds.
        int k = 4 * (lane % 4) + i;
        uint8_t byte =
            word < 4 ? a[lane / 4 + 8 * (word % 2)][k + 16 * (word / 2)]
                     : static_cast<uint8_t>(b[k + 16 * (word - 4)][lane / 4]);
        bits |= uint32_t(byte) << 8 * i;
      }
      p[6 * lane + word] = bits;
    }
  ASSERT_EQ(device.run(p, q), "");
  for (int lane = 0; lane != 32; ++lane)
    for (int i = 0; i != 4; ++i) {
      int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      int32_t sum = i + 1;
      for (int k = 0; k != 32; ++k)
        sum += int32_t(a[row][k]) * b[k][column];
      EXPECT_EQ(q[4 * lane + i], sum) << row << ", " << column;
    }
}

TEST(Emulator, ProductOfHalves) {
  std::mt19937 random(2);
  int a[16][16], b[16][8];
  for (auto &row : a)
    for (int &x : row)
      x = static_cast<int>(random() % 65) - 32;
  for (auto &row : b)
    for (int &x : row)
      x = static_cast<int>(random() % 65) - 32;
  std::string casts;
  for (int i = 0; i != 6; ++i)
    casts += "  %h" + std::to_string(i) + " = bitcast i32 %w" +
             std::to_string(i) + " to <2 x half>\n";
  Device device(
      loadSix() + casts +
          "  %d = call {float, float, float, float} "
          "@llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half> %h0, <2 x half> "
          "%h1, <2 x half> %h2, <2 x half> %h3, <2 x half> %h4, <2 x half> "
          "%h5, float 0.0, float 0.0, float 0.0, float 0.5)\n" +
          storeFour("float"),
      "declare {float, float, float, float} "
      "@llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half>, <2 x half>, <2 x "
      "half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float)");
  auto *p = device.allocate<uint32_t>(32 * 6);
  auto *q = device.allocate<float>(32 * 4);
  for (int lane = 0; lane != 32; ++lane)
    for (int word = 0; word != 6; ++word) {
      uint32_t bits = 0;
      for (int i = 0; i != 2; ++i) {
        int k = 2 * (lane % 4) + i;
        int value = word < 4 ? a[lane / 4 + 8 * (word % 2)][k + 8 * (word / 2)]
                             : b[k + 8 * (word - 4)][lane / 4];
        bits |= uint32_t(toHalf(value)) << 16 * i;
      }
      p[6 * lane + word] = bits;
    }
  ASSERT_EQ(device.run(p, q), "");
  for (int lane = 0; lane != 32; ++lane)
    for (int i = 0; i != 4; ++i) {
      int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      float sum = i == 3 ? 0.5f : 0;
      for (int k = 0; k != 16; ++k)
        sum += a[row][k] * b[k][column];
      EXPECT_EQ(q[4 * lane + i], sum) << row << ", " << column;
    }
}

TEST(Emulator, LoadMatrix) {
  Device device(
      R"(
  %o = mul i32 %t, 16
  %g = getelementptr i8, ptr addrspace(1) %p, i32 %o
  %s = getelementptr i8, ptr addrspace(3) @shared, i32 %o
  %v = load <4 x i32>, ptr addrspace(1) %g, align 16
  store <4 x i32> %v, ptr addrspace(3) %s, align 16
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %d = call {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3) %s)
)" + storeFour("i32"),
      R"(@shared = internal addrspace(3) global [512 x i8] undef, align 16
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32) convergent
declare {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3)) convergent)");
  auto *p = device.allocate<uint16_t>(256);
  auto *q = device.allocate<uint32_t>(128);
  for (int i = 0; i != 256; ++i)
    p[i] = i;
  ASSERT_EQ(device.run(p, q), "");
  for (uint32_t lane = 0; lane != 32; ++lane)
    for (uint32_t matrix = 0; matrix != 4; ++matrix) {
      uint32_t first = 64 * matrix + 8 * (lane / 4) + 2 * (lane % 4);
      EXPECT_EQ(q[4 * lane + matrix], first | (first + 1) << 16);
    }
}

TEST(Emulator, ScalarInstructions) {
  Device device(R"(
  %a = getelementptr i32, ptr addrspace(1) %p, i32 %t
  %v = load i32, ptr addrspace(1) %a
  %dp = call i32 @llvm.nvvm.idp4a.u.s(i32 %v, i32 4278190081, i32 100)
  %prmt = call i32 @llvm.nvvm.prmt(i32 67305985, i32 %v, i32 38195)
  %up = call i32 @llvm.nvvm.shfl.sync.up.i32(i32 -1, i32 %t, i32 3, i32 0)
  %down = call i32 @llvm.nvvm.shfl.sync.down.i32(i32 -1, i32 %t, i32 3, i32 31)
  %index = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 -1, i32 %t, i32 5, i32 31)
  %sum = call i32 @llvm.nvvm.redux.sync.add(i32 %t, i32 -1)
)" + storeOne("%dp", 0, 6) +
                    storeOne("%prmt", 1, 6) + storeOne("%up", 2, 6) +
                    storeOne("%down", 3, 6) + storeOne("%index", 4, 6) +
                    storeOne("%sum", 5, 6),
                R"(
declare i32 @llvm.nvvm.idp4a.u.s(i32, i32, i32)
declare i32 @llvm.nvvm.prmt(i32, i32, i32)
declare i32 @llvm.nvvm.shfl.sync.up.i32(i32, i32, i32, i32) convergent
declare i32 @llvm.nvvm.shfl.sync.down.i32(i32, i32, i32, i32) convergent
declare i32 @llvm.nvvm.shfl.sync.idx.i32(i32, i32, i32, i32) convergent
declare i32 @llvm.nvvm.redux.sync.add(i32, i32) convergent)");
  auto *p = device.allocate<uint32_t>(32);
  auto *q = device.allocate<uint32_t>(32 * 6);
  for (uint32_t i = 0; i != 32; ++i)
    p[i] = 0x01020380 + i;
  ASSERT_EQ(device.run(p, q), "");
  for (uint32_t i = 0; i != 32; ++i) {
    const uint32_t *r = q + 6 * i;
    // The unsigned bytes of 0x01020380 + i by the signed ones of 0xff000001.
    EXPECT_EQ(r[0], 100 + (0x80 + i) - 1);
    // Nibbles 3 3 5 9, from the last: byte 3 twice, byte 1 of v, the sign of
    // byte 1.
    EXPECT_EQ(r[1], 0x00030404u);
    EXPECT_EQ(r[2], i < 3 ? i : i - 3);
    EXPECT_EQ(r[3], i > 28 ? i : i + 3);
    EXPECT_EQ(r[4], 5u);
    EXPECT_EQ(r[5], 496u);
  }
}

TEST(Emulator, WarpBarrierOrdersLanes) {
  // Lane 31 - t reads what lane t wrote.
  for (bool ordered : {true, false}) {
    Device device(std::string(R"(
  %s = getelementptr i32, ptr addrspace(3) @shared, i32 %t
  store i32 %t, ptr addrspace(3) %s
)") + (ordered ? "  call void @llvm.nvvm.bar.warp.sync(i32 -1)\n" : "") +
                      R"(
  %o = sub i32 31, %t
  %r = getelementptr i32, ptr addrspace(3) @shared, i32 %o
  %v = load i32, ptr addrspace(3) %r
)" + storeOne("%v", 0, 1),
                  R"(@shared = internal addrspace(3) global [32 x i32] undef
declare void @llvm.nvvm.bar.warp.sync(i32) convergent)");
    auto *q = device.allocate<uint32_t>(32);
    std::string fault = device.run(q, q);
    if (ordered) {
      EXPECT_EQ(fault, "");
      EXPECT_EQ(q[3], 28u);
    } else {
      EXPECT_NE(fault.find("kernel 'k', block (0, 0, 0), thread (0, 0, 0): "
                           "uninitialised read"),
                std::string::npos)
          << fault;
    }
  }
}

TEST(Emulator, UnknownFunction) {
  Device device("  call void @llvm.nvvm.nanosleep(i32 1)",
                "declare void @llvm.nvvm.nanosleep(i32)");
  EXPECT_EQ(device.error,
            "the emulator has no function for llvm.nvvm.nanosleep; add it to "
            "lib/Emulator/Intrinsics.cpp");
}

TEST(Emulator, InvalidIR) {
  Device device("  this is no instruction");
  EXPECT_NE(device.error.find("expected instruction opcode"), std::string::npos)
      << device.error;
}

TEST(Emulator, LaunchLimits) {
  Device device("");
  EXPECT_EQ(
      device.run(nullptr, nullptr, 2048),
      "kernel 'k': bad block (2048, 1, 1): 1 to 1024 threads are possible");
}
} // namespace
