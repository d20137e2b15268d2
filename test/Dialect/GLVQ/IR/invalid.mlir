// Each diagnostic of the dialect: what is wrong, in terms of weights and codes.
// RUN: %glvq-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{a lattice has at least one dimension, got dim = 0}}
#a = #glvq.lattice<dim = 0, bits = 2, group = 96>

// -----

// expected-error @+1 {{a group of 20 columns is not a whole number of 8-dimensional lattice points; make `group` a multiple of `dim`}}
#a = #glvq.lattice<dim = 8, bits = 2, group = 20>

// -----

// expected-error @+1 {{a lattice coordinate is stored in 1 to 8 bits, got 9}}
#a = #glvq.lattice<dim = 8, bits = 9, group = 96>

// -----

// expected-error @+1 {{a lattice coordinate is stored in 1 to 8 bits, got 0}}
#a = #glvq.lattice<dim = 8, bits = 0, group = 96>

// -----

// expected-error @+1 {{a run of widths must hold at least one group, got 0}}
#a = #glvq.lattice<dim = 8, bits = [2 : 0], group = 96>

// -----

// expected-error @+1 {{runs of widths must be ascending, but 2 follows 3; store the groups sorted by width}}
#a = #glvq.lattice<dim = 8, bits = [3 : 1, 2 : 2], group = 96>

// -----

// expected-error @+1 {{two runs of width 2 follow each other; write them as one}}
#a = #glvq.lattice<dim = 8, bits = [2 : 1, 2 : 2], group = 96>

// -----

#a = #glvq.lattice<dim = 8, bits = [1 : 2, 3 : 2], group = 32>
// expected-error @+1 {{the runs of widths count 4 groups, but 96 columns make 3 groups of 32}}
func.func private @f(!glvq.weight<4x96xf32, #a>)

// -----

#a = #glvq.lattice<dim = 8, bits = [3 : 2, 1 : 1], group = 32>
// expected-error @+1 {{runs of widths must be ascending: the last group is not shorter than the others, so it can be stored in order}}
func.func private @f(!glvq.weight<4x96xf32, #a>)

// -----

// expected-error @+1 {{an encoded weight is a matrix (rows x columns), got 1 dimensions}}
func.func private @f(!glvq.weight<96xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>)

// -----

// expected-error @+1 {{an encoded weight stands for f16, bf16 or f32 numbers, not 'i8'}}
func.func private @f(!glvq.weight<4x96xi8, #glvq.lattice<dim = 8, bits = 2, group = 96>>)

// -----

// expected-error @+1 {{the number of columns of an encoded weight must be static}}
func.func private @f(!glvq.weight<4x?xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>)

// -----

// expected-error @+1 {{an encoded weight cannot be empty}}
func.func private @f(!glvq.weight<0x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>)

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%c: tensor<4x6xi32>, %s: tensor<4xf16>) {
  // expected-error @+1 {{has 3 parts (codes, generators, scales), got 2}}
  %w = glvq.assemble %c, %s : tensor<4x6xi32>, tensor<4xf16> to !glvq.weight<4x96xf32, #a>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%c: tensor<4x7xi32>, %g: tensor<1x8x8xf16>, %s: tensor<4xf16>) {
  // expected-error @+1 {{the codes of '!glvq.weight<4x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>' must be of type 'tensor<4x6xi32>', got 'tensor<4x7xi32>'}}
  %w = glvq.assemble %c, %g, %s : tensor<4x7xi32>, tensor<1x8x8xf16>, tensor<4xf16> to !glvq.weight<4x96xf32, #a>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%w: !glvq.weight<4x96xf32, #a>) {
  // expected-error @+1 {{the generators of '!glvq.weight<4x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>' must be of type 'tensor<1x8x8xf16>', got 'tensor<1x8x8xf32>'}}
  %0:3 = glvq.disassemble %w : !glvq.weight<4x96xf32, #a> to tensor<4x6xi32>, tensor<1x8x8xf32>, tensor<4xf16>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%d: tensor<4x97xf32>, %g: tensor<1x8x8xf16>, %s: tensor<4xf16>) {
  // expected-error @+1 {{a matrix of type 'tensor<4x97xf32>' cannot be encoded}}
  %w = glvq.encode %d, %g, %s : tensor<4x97xf32>, tensor<1x8x8xf16>, tensor<4xf16> to !glvq.weight<4x96xf32, #a>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%d: tensor<4x96xf32>, %g: tensor<1x8x8xf16>) {
  // expected-error @+1 {{has 2 parameters (generators, scales), got 1}}
  %w = glvq.encode %d, %g : tensor<4x96xf32>, tensor<1x8x8xf16> to !glvq.weight<4x96xf32, #a>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%w: !glvq.weight<4x96xf32, #a>) {
  // expected-error @+1 {{the weight stands for a 'tensor<4x96xf32>', not for a 'tensor<4x96xf16>'}}
  %d = glvq.decode %w : !glvq.weight<4x96xf32, #a> to tensor<4x96xf16>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%x: tensor<?x95xf32>, %w: !glvq.weight<4x96xf32, #a>, %y: tensor<?x4xf32>) {
  // expected-error @+1 {{the input has 95 columns, but the weight has 96}}
  %r = glvq.linear ins(%x, %w : tensor<?x95xf32>, !glvq.weight<4x96xf32, #a>) outs(%y : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%x: tensor<?x96xf32>, %w: !glvq.weight<4x96xf32, #a>, %y: tensor<?x5xf32>) {
  // expected-error @+1 {{the init has 5 columns, but the weight has 4 rows}}
  %r = glvq.linear ins(%x, %w : tensor<?x96xf32>, !glvq.weight<4x96xf32, #a>) outs(%y : tensor<?x5xf32>) -> tensor<?x5xf32>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%x: tensor<2x96xf32>, %w: !glvq.weight<4x96xf32, #a>, %y: tensor<3x4xf32>) {
  // expected-error @+1 {{the input has 2 rows, but the init has 3}}
  %r = glvq.linear ins(%x, %w : tensor<2x96xf32>, !glvq.weight<4x96xf32, #a>) outs(%y : tensor<3x4xf32>) -> tensor<3x4xf32>
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%x: memref<2x96xf32>, %c: tensor<4x6xi32>, %g: tensor<1x8x8xf16>, %s: tensor<4xf16>, %y: memref<2x4xf32>) {
  // expected-error @+1 {{operands must be all tensors or all memrefs}}
  glvq.matmul ins(%x : memref<2x96xf32>) codes(%c : tensor<4x6xi32>) params(%g, %s : tensor<1x8x8xf16>, tensor<4xf16>)
    outs(%y : memref<2x4xf32>) {code = #a}
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%x: tensor<2x96xf32>, %c: tensor<4x6xi32>, %g: tensor<1x8x8xf16>, %s: tensor<4xf16>, %y: tensor<2x4xf32>) {
  // expected-error @+1 {{on tensors there is one result, of the type of the init; on memrefs none}}
  glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<4x6xi32>) params(%g, %s : tensor<1x8x8xf16>, tensor<4xf16>)
    outs(%y : tensor<2x4xf32>) {code = #a}
  return
}

// -----

#a = #glvq.lattice<dim = 8, bits = 2, group = 96>
func.func @f(%x: tensor<2x96xf32>, %c: tensor<4x6xi32>, %g: tensor<1x8x8xf16>, %s: tensor<5xf16>, %y: tensor<2x4xf32>) {
  // expected-error @+1 {{must be of type 'tensor<4xf16>', got 'tensor<5xf16>'}}
  %r = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<4x6xi32>) params(%g, %s : tensor<1x8x8xf16>, tensor<5xf16>)
    outs(%y : tensor<2x4xf32>) {code = #a} -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x96xf32>) {
  // expected-error @+1 {{there is no dimension 2 in 'tensor<2x96xf32>'}}
  %r = glvq.hadamard %x dimension 2 : tensor<2x96xf32>
  return
}

// -----

func.func @f(%x: tensor<2x?xf32>) {
  // expected-error @+1 {{a rotation needs a static size of at least 1 along dimension 1 of 'tensor<2x?xf32>'}}
  %r = glvq.hadamard %x dimension 1 : tensor<2x?xf32>
  return
}

// -----

func.func @f(%x: tensor<2x96xf32>, %s: tensor<2xi32>) {
  // expected-error @+1 {{96 signs are stored in 3 words of 32, got 'tensor<2xi32>'}}
  %r = glvq.hadamard %x signs(%s : tensor<2xi32>) dimension 1 : tensor<2x96xf32>
  return
}

// -----

func.func @f(%w: !glvq.weight<32x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>, %i: tensor<5xi64>) {
  // expected-error @+1 {{gathers a 'tensor<5x96xf32>', not a 'tensor<4x96xf32>'}}
  %r = glvq.gather %w[%i] : !glvq.weight<32x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>, tensor<5xi64> to tensor<4x96xf32>
  return
}

// -----

// expected-error @+1 {{integers are packed in 1 to 8 bits, got 9}}
#c = #glvq.interleaved<bits = 9>

// -----

func.func @f(%c: tensor<40x2xi32>) {
  // expected-error @+1 {{32 fields of 3 bits are 3 words, the codes have 2}}
  %0 = glvq.interleave %c columns 32 bits 3 : tensor<40x2xi32> to tensor<3x48xi32>
  return
}

// -----

func.func @f(%c: tensor<40x3xi32>) {
  // expected-error @+1 {{gives a 'tensor<3x48xi32>', not a 'tensor<2x48xi32>'}}
  %0 = glvq.interleave %c columns 32 bits 3 : tensor<40x3xi32> to tensor<2x48xi32>
  return
}

// -----

func.func @f(%x: tensor<?x576xf32>, %c: tensor<40x36xi32>, %y: tensor<?x40xf32>) -> tensor<?x40xf32> {
  // expected-error @+1 {{the codes of '!glvq.weight<40x576xf32, #glvq.interleaved<bits = 2>>' must be of type 'tensor<3x576xi32>', got 'tensor<40x36xi32>'}}
  %r = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<40x36xi32>) outs(%y : tensor<?x40xf32>)
    {code = #glvq.interleaved<bits = 2>} -> tensor<?x40xf32>
  return %r : tensor<?x40xf32>
}
