//===- Memory.cpp - What kernels may touch --------------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Emulator/Emulator.h"
#include "llvm/ADT/STLExtras.h"

#include <cstdlib>
#include <cstring>

using namespace glvq::emulator;

Memory::~Memory() {
  for (void *pointer : owned)
    std::free(pointer);
}

void *Memory::allocate(size_t bytes, llvm::StringRef name) {
  constexpr size_t alignment = 256;
  size_t size = (bytes + alignment - 1) / alignment * alignment;
  void *pointer = std::aligned_alloc(alignment, size ? size : alignment);
  if (!pointer)
    return nullptr;
  std::memset(pointer, 0xff, size);
  owned.push_back(pointer);
  add(pointer, bytes, name);
  return pointer;
}

bool Memory::release(void *pointer) {
  auto it = llvm::find(owned, pointer);
  if (it == owned.end())
    return false;
  owned.erase(it);
  remove(pointer);
  std::free(pointer);
  return true;
}

void Memory::add(const void *pointer, size_t bytes, llvm::StringRef name) {
  auto begin = reinterpret_cast<uintptr_t>(pointer);
  ranges[begin] = {begin + bytes, name.str()};
}

void Memory::remove(const void *pointer) {
  ranges.erase(reinterpret_cast<uintptr_t>(pointer));
}

const Memory::Range *Memory::find(uintptr_t address, uintptr_t &begin) const {
  auto it = ranges.upper_bound(address);
  if (it == ranges.begin())
    return nullptr;
  --it;
  begin = it->first;
  return &it->second;
}
