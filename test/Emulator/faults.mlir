// What a GPU does not forgive is found, and named: the kernel, the block, the
// thread, the place in the source, the instruction.
//
// RUN: %glvq-opt %s --lower-glvq-to-nvvm=format=llvm -o %t.mlir
// RUN: glvq-emulate %t.mlir --entry=correct
// RUN: not glvq-emulate %t.mlir --entry=out_of_bounds 2>&1 | FileCheck %s --check-prefix=BOUNDS
// RUN: not glvq-emulate %t.mlir --entry=out_of_shared 2>&1 | FileCheck %s --check-prefix=SHARED
// RUN: not glvq-emulate %t.mlir --entry=host_memory 2>&1 | FileCheck %s --check-prefix=HOST
// RUN: not glvq-emulate %t.mlir --entry=misaligned 2>&1 | FileCheck %s --check-prefix=ALIGN
// RUN: not glvq-emulate %t.mlir --entry=divergent_barrier 2>&1 | FileCheck %s --check-prefix=BARRIER
// RUN: not glvq-emulate %t.mlir --entry=two_barriers 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: not glvq-emulate %t.mlir --entry=divergent_shuffle 2>&1 | FileCheck %s --check-prefix=SHUFFLE
// RUN: not glvq-emulate %t.mlir --entry=inactive_lane 2>&1 | FileCheck %s --check-prefix=LANE
// RUN: not glvq-emulate %t.mlir --entry=write_write 2>&1 | FileCheck %s --check-prefix=WW
// RUN: not glvq-emulate %t.mlir --entry=read_write 2>&1 | FileCheck %s --check-prefix=RW
// RUN: not glvq-emulate %t.mlir --entry=write_read 2>&1 | FileCheck %s --check-prefix=WR
// RUN: not glvq-emulate %t.mlir --entry=uninitialised 2>&1 | FileCheck %s --check-prefix=INIT
// RUN: not glvq-emulate %t.mlir --entry=missing_wait 2>&1 | FileCheck %s --check-prefix=WAIT
// RUN: not glvq-emulate %t.mlir --entry=empty_grid 2>&1 | FileCheck %s --check-prefix=GRID

!shared = memref<64xf32, #gpu.address_space<workgroup>>

module attributes {gpu.container_module} {
  gpu.module @kernels {
    // Reverses 64 elements through shared memory, and adds up those of a warp.
    gpu.func @correct(%p: !llvm.ptr<1>) workgroup(%s: !shared {llvm.align = 16 : i64}) kernel
        attributes {known_block_size = array<i32: 64, 1, 1>} {
      %c63 = arith.constant 63 : index
      %i = gpu.thread_id x
      %i64 = arith.index_cast %i : index to i64
      %a = llvm.getelementptr %p[%i64] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
      %v = llvm.load %a : !llvm.ptr<1> -> f32
      memref.store %v, %s[%i] : !shared
      gpu.barrier
      %j = arith.subi %c63, %i : index
      %w = memref.load %s[%j] : !shared
      %one = arith.constant 1 : i32
      %width = arith.constant 32 : i32
      %other, %valid = gpu.shuffle xor %w, %one, %width : f32
      %sum = arith.addf %w, %other : f32
      llvm.store %sum, %a : f32, !llvm.ptr<1>
      gpu.return
    }

    // BOUNDS: glvq emulator: kernel 'out_of_bounds', block (0, 0, 0), thread (1, 0, 0): out-of-bounds store of 4 bytes at offset 256 of 'device allocation 0', which has 256 bytes
    // BOUNDS-NEXT: at {{.*}}:[[@LINE+8]]:7: store float
    gpu.func @out_of_bounds(%p: !llvm.ptr<1>) kernel {
      %i = gpu.thread_id x
      %c63 = arith.constant 63 : index
      %j = arith.addi %i, %c63 : index
      %j64 = arith.index_cast %j : index to i64
      %a = llvm.getelementptr %p[%j64] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
      %zero = arith.constant 0.0 : f32
      llvm.store %zero, %a : f32, !llvm.ptr<1>
      gpu.return
    }

    // SHARED: kernel 'out_of_shared', block (0, 0, 0), thread (32, 0, 0): out-of-bounds store of 4 bytes at offset 256 of the 256 bytes of shared memory
    gpu.func @out_of_shared(%p: !llvm.ptr<1>) workgroup(%s: !shared {llvm.align = 16 : i64}) kernel {
      %i = gpu.thread_id x
      %two = arith.constant 2 : index
      %j = arith.muli %i, %two : index
      %zero = arith.constant 0.0 : f32
      memref.store %zero, %s[%j] : !shared
      gpu.barrier
      %v = memref.load %s[%i] : !shared
      llvm.store %v, %p : f32, !llvm.ptr<1>
      gpu.return
    }

    // HOST: kernel 'correct', block (0, 0, 0), thread (0, 0, 0): out-of-bounds load of 4 bytes

    // ALIGN: kernel 'misaligned', block (0, 0, 0), thread (1, 0, 0): misaligned load of 16 bytes: the address is 4 past a multiple of 16
    // ALIGN-NEXT: at {{.*}}:[[@LINE+5]]:{{[0-9]+}}: {{.*}} = load <4 x float>
    gpu.func @misaligned(%p: !llvm.ptr<1>) kernel {
      %i = gpu.thread_id x
      %i64 = arith.index_cast %i : index to i64
      %a = llvm.getelementptr %p[%i64] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
      %v = llvm.load %a {alignment = 16} : !llvm.ptr<1> -> vector<4xf32>
      llvm.store %v, %p {alignment = 4} : vector<4xf32>, !llvm.ptr<1>
      gpu.return
    }

    // BARRIER: kernel 'divergent_barrier', block (0, 0, 0), thread ({{[0-9]+}}, 0, 0): divergent barrier: thread {{[0-9]+}} never reaches it, it has returned
    // BARRIER-NEXT: at {{.*}}:[[@LINE+6]]:{{[0-9]+}}: {{.*}}call void @llvm.nvvm.barrier
    gpu.func @divergent_barrier(%p: !llvm.ptr<1>) kernel {
      %i = gpu.thread_id x
      %c40 = arith.constant 40 : index
      %some = arith.cmpi ult, %i, %c40 : index
      scf.if %some {
        gpu.barrier
      }
      gpu.return
    }

    // TWO: kernel 'two_barriers', block (0, 0, 0), thread ({{[0-9]+}}, 0, 0): divergent barrier: another lane of the warp is in the barrier at {{.*}} call void @llvm.nvvm.barrier
    gpu.func @two_barriers(%p: !llvm.ptr<1>) kernel {
      %i = gpu.thread_id x
      %c40 = arith.constant 40 : index
      %some = arith.cmpi ult, %i, %c40 : index
      %zero = arith.constant 0.0 : f32
      scf.if %some {
        llvm.store %zero, %p : f32, !llvm.ptr<1>
        gpu.barrier
      } else {
        gpu.barrier
      }
      gpu.return
    }

    // SHUFFLE: kernel 'divergent_shuffle', block (0, 0, 0), thread ({{[0-9]+}}, 0, 0): divergent warp: thread {{[0-9]+}} never reaches it, it has returned
    // SHUFFLE-NEXT: at {{.*}} call float @llvm.nvvm.shfl.sync.bfly.f32
    gpu.func @divergent_shuffle(%p: !llvm.ptr<1>) kernel {
      %i = gpu.thread_id x
      %c40 = arith.constant 40 : index
      %some = arith.cmpi ult, %i, %c40 : index
      scf.if %some {
        %v = llvm.load %p : !llvm.ptr<1> -> f32
        %one = arith.constant 1 : i32
        %width = arith.constant 32 : i32
        %other, %valid = gpu.shuffle xor %v, %one, %width : f32
        llvm.store %other, %p : f32, !llvm.ptr<1>
      }
      gpu.return
    }

    // LANE: kernel 'inactive_lane', block (0, 0, 0), thread ({{[0-9]+}}, 0, 0): shuffle from inactive lane {{.*}}: the mask is 0x0000ffff
    gpu.func @inactive_lane(%p: !llvm.ptr<1>) kernel {
      %i = gpu.thread_id x
      %c16 = arith.constant 16 : index
      %some = arith.cmpi ult, %i, %c16 : index
      scf.if %some {
        %v = llvm.load %p : !llvm.ptr<1> -> f32
        %offset = arith.constant 16 : i32
        %clamp = arith.constant 31 : i32
        %mask = arith.constant 0xffff : i32
        %other = nvvm.shfl.sync bfly %mask, %v, %offset, %clamp : f32 -> f32
        llvm.store %other, %p : f32, !llvm.ptr<1>
      }
      gpu.return
    }

    // WW: kernel 'write_write', block (0, 0, 0), thread ({{[0-9]+}}, 0, 0): race on byte {{[0-9]+}} of shared memory: this store and a store of thread {{[0-9]+}} with no barrier between them
    // WW-NEXT: at {{.*}}:[[@LINE+5]]:7: store float
    gpu.func @write_write(%p: !llvm.ptr<1>) workgroup(%s: !shared {llvm.align = 16 : i64}) kernel {
      %c0 = arith.constant 0 : index
      %v = llvm.load %p : !llvm.ptr<1> -> f32
      gpu.barrier
      memref.store %v, %s[%c0] : !shared
      gpu.barrier
      %w = memref.load %s[%c0] : !shared
      llvm.store %w, %p : f32, !llvm.ptr<1>
      gpu.return
    }

    // A store after another thread's read, and a read after its store.
    // RW: kernel 'read_write', block (0, 0, 0), thread (0, 0, 0): race on byte 0 of shared memory: this store and a load of thread 63 with no barrier between them
    gpu.func @read_write(%p: !llvm.ptr<1>) workgroup(%s: !shared {llvm.align = 16 : i64}) kernel {
      %c0 = arith.constant 0 : index
      %c63 = arith.constant 63 : index
      %i = gpu.thread_id x
      %v = llvm.load %p : !llvm.ptr<1> -> f32
      memref.store %v, %s[%i] : !shared
      gpu.barrier
      %last = arith.cmpi eq, %i, %c63 : index
      scf.if %last {
        %w = memref.load %s[%c0] : !shared
        llvm.store %w, %p : f32, !llvm.ptr<1>
      } else {
        %twice = arith.addf %v, %v : f32
        memref.store %twice, %s[%i] : !shared
      }
      gpu.barrier
      %x = memref.load %s[%i] : !shared
      llvm.store %x, %p : f32, !llvm.ptr<1>
      gpu.return
    }
    // WR: kernel 'write_read', block (0, 0, 0), thread ({{[0-9]+}}, 0, 0): race on byte {{[0-9]+}} of shared memory: this load and a store of thread {{[0-9]+}} with no barrier between them
    gpu.func @write_read(%p: !llvm.ptr<1>) workgroup(%s: !shared {llvm.align = 16 : i64}) kernel {
      %c1 = arith.constant 1 : index
      %c64 = arith.constant 64 : index
      %i = gpu.thread_id x
      %v = llvm.load %p : !llvm.ptr<1> -> f32
      memref.store %v, %s[%i] : !shared
      %j = arith.addi %i, %c64 : index
      %k = arith.subi %j, %c1 : index
      %l = arith.remui %k, %c64 : index
      gpu.barrier
      memref.store %v, %s[%i] : !shared
      %w = memref.load %s[%l] : !shared
      llvm.store %w, %p : f32, !llvm.ptr<1>
      gpu.return
    }

    // INIT: kernel 'uninitialised', block (0, 0, 0), thread ({{[0-9]+}}, 0, 0): uninitialised read: nobody has written byte {{[0-9]+}} of shared memory
    gpu.func @uninitialised(%p: !llvm.ptr<1>) workgroup(%s: !shared {llvm.align = 16 : i64}) kernel {
      %c32 = arith.constant 32 : index
      %i = gpu.thread_id x
      %v = llvm.load %p : !llvm.ptr<1> -> f32
      %half = arith.cmpi ult, %i, %c32 : index
      scf.if %half {
        memref.store %v, %s[%i] : !shared
      }
      gpu.barrier
      %w = memref.load %s[%i] : !shared
      llvm.store %w, %p : f32, !llvm.ptr<1>
      gpu.return
    }

    // WAIT: kernel 'missing_wait', block (0, 0, 0), thread (0, 0, 0): load of byte {{[0-9]+}} of shared memory, which cp.async is still writing: a wait is missing
    gpu.func @missing_wait(%p: !llvm.ptr<1>) workgroup(%s: !shared {llvm.align = 16 : i64}) kernel {
      %i = gpu.thread_id x
      %first = memref.extract_aligned_pointer_as_index %s : !shared -> index
      %address = arith.index_cast %first : index to i64
      %base = llvm.inttoptr %address : i64 to !llvm.ptr<3>
      %i64 = arith.index_cast %i : index to i64
      %to = llvm.getelementptr %base[%i64] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, f32
      %from = llvm.getelementptr %p[%i64] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
      nvvm.cp.async.shared.global %to, %from, 4, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
      nvvm.cp.async.commit.group
      %v = llvm.load %to : !llvm.ptr<3> -> f32
      llvm.store %v, %from : f32, !llvm.ptr<1>
      nvvm.cp.async.wait.group 0
      gpu.return
    }

    // GRID: kernel 'correct': bad grid (0, 1, 1): 1 to 2^31-1, 65535 and 65535 blocks are possible
  }

  func.func @correct() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@correct blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @out_of_bounds() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@out_of_bounds blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @out_of_shared() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@out_of_shared blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @misaligned() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@misaligned blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @divergent_barrier() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@divergent_barrier blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @two_barriers() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@two_barriers blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @divergent_shuffle() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@divergent_shuffle blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @inactive_lane() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@inactive_lane blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @write_write() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@write_write blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @read_write() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@read_write blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @write_read() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@write_read blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @uninitialised() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@uninitialised blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @missing_wait() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@missing_wait blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @host_memory() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloca() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@correct blocks in (%one, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
  func.func @empty_grid() {
    %one = arith.constant 1 : index
    %zero = arith.constant 0 : index
    %threads = arith.constant 64 : index
    %0 = memref.alloc() : memref<64xf32>
    %1 = memref.extract_aligned_pointer_as_index %0 : memref<64xf32> -> index
    %2 = arith.index_cast %1 : index to i64
    %p = llvm.inttoptr %2 : i64 to !llvm.ptr<1>
    gpu.launch_func @kernels::@correct blocks in (%zero, %one, %one) threads in (%threads, %one, %one)
      args(%p : !llvm.ptr<1>)
    return
  }
}
