//===- Multiversion.h - Functions built for every x86-64 level --*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// One build serves all x86-64 levels; the loader picks the version.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_MULTIVERSION_H
#define GLVQ_LATTICE_MULTIVERSION_H

#if defined(__x86_64__) && defined(__clang__)
#define GLVQ_MULTIVERSION                                                      \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define GLVQ_MULTIVERSION
#endif

#endif // GLVQ_LATTICE_MULTIVERSION_H
