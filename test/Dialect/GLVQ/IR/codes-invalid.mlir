// Each diagnostic of the trellis, binary and integer codes.
// RUN: %glvq-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{a trellis has 1 to 32 taps, got taps = 0}}
#a = #glvq.trellis<taps = 0, bits = 2, group = 96>

// -----

// expected-error @+1 {{a trellis has 1 to 32 taps, got taps = 33}}
#a = #glvq.trellis<taps = 33, bits = 2, group = 96>

// -----

// expected-error @+1 {{additive nodes need an even number of taps up to 24, got taps = 7}}
#a = #glvq.trellis<taps = 7, bits = 2, group = 96, nodes = additive>

// -----

// expected-error @+1 {{additive nodes need an even number of taps up to 24, got taps = 26}}
#a = #glvq.trellis<taps = 26, bits = 2, group = 96, nodes = additive>

// -----

// expected-error @+1 {{a group has at least one column, got group = 0}}
#a = #glvq.trellis<taps = 8, bits = 2, group = 0>

// -----

// expected-error @+1 {{a trellis spends 1 to 8 whole bits on a weight, got 3/2; mix widths for an average between them}}
#a = #glvq.trellis<taps = 8, bits = 3/2, group = 96>

// -----

// expected-error @+1 {{a trellis spends 1 to 8 whole bits on a weight, got 9}}
#a = #glvq.trellis<taps = 12, bits = 9, group = 96>

// -----

// expected-error @+1 {{a window of 2 bits cannot move 3 bits a row; a trellis needs as many taps as bits}}
#a = #glvq.trellis<taps = 2, bits = 3, group = 96>

// -----

// expected-error @+1 {{runs of widths must be ascending, but 2 follows 3; store the groups sorted by width}}
#a = #glvq.trellis<taps = 8, bits = [3 : 1, 2 : 2], group = 96>

// -----

#a = #glvq.trellis<taps = 8, bits = [1 : 2, 3 : 2], group = 32>
// expected-error @+1 {{the runs of widths count 4 groups, but 96 columns make 3 groups of 32}}
func.func private @f(!glvq.weight<4x96xf32, #a>)

// -----

// expected-error @+1 {{a point has at least one column, got dim = 0}}
#a = #glvq.binary<dim = 0, bits = 2, group = 96>

// -----

// expected-error @+1 {{a group of 20 columns is not a whole number of points of 8; make `group` a multiple of `dim`}}
#a = #glvq.binary<dim = 8, bits = 2, group = 20>

// -----

// expected-error @+1 {{5/3 bits for each of 8 columns are no whole number of bits of a point}}
#a = #glvq.binary<dim = 8, bits = 5/3, group = 16>

// -----

// expected-error @+1 {{a binary code spends up to 8 bits on a weight, got 17/2}}
#a = #glvq.binary<dim = 8, bits = 17/2, group = 16>

// -----

// expected-error @+1 {{a binary code spends up to 8 bits on a weight, got 0}}
#a = #glvq.binary<dim = 8, bits = 0, group = 16>

// -----

// expected-error @+1 {{a width has a positive denominator, got 0}}
#a = #glvq.binary<dim = 8, bits = 3/0, group = 16>

// -----

// expected-error @+1 {{runs of widths must be ascending, but 3/2 follows 2; store the groups sorted by width}}
#a = #glvq.binary<dim = 8, bits = [2 : 1, 3/2 : 2], group = 16>

// -----

// expected-error @+1 {{two runs of width 3/2 follow each other; write them as one}}
#a = #glvq.binary<dim = 8, bits = [3/2 : 1, 6/4 : 2], group = 16>

// -----

#a = #glvq.binary<dim = 8, bits = [3/2 : 2, 2 : 2], group = 32>
// expected-error @+1 {{the runs of widths count 4 groups, but 96 columns make 3 groups of 32}}
func.func private @f(!glvq.weight<4x96xf32, #a>)

// -----

// expected-error @+1 {{a lattice coordinate is stored in 1 to 8 bits, got 3/2}}
#a = #glvq.lattice<dim = 8, bits = 3/2, group = 96>

// -----

// expected-error @+1 {{integers are packed in 1 to 8 bits, got 9}}
#a = #glvq.integer<bits = 9>

// -----

!w = !glvq.weight<64x96xf32, #glvq.trellis<taps = 12, bits = 2, group = 128>>
func.func @parts(%c: tensor<64x6xi32>, %t: tensor<1x12xf32>, %s: tensor<64xf16>, %g: tensor<1xf16>) {
  // expected-error @+1 {{'glvq.assemble' op the codes of '!glvq.weight<64x96xf32, #glvq.trellis<taps = 12, bits = 2, group = 128>>' must be of type 'tensor<138x3xi32>', got 'tensor<64x6xi32>'}}
  %w = glvq.assemble %c, %t, %s, %g : tensor<64x6xi32>, tensor<1x12xf32>, tensor<64xf16>, tensor<1xf16> to !w
  return
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.binary<dim = 8, bits = 2, group = 96>>
func.func @parts(%c: tensor<64x6xi32>, %s: tensor<64xf16>) {
  // expected-error @+1 {{a weight stored as #glvq.binary<dim = 8, bits = 2, group = 96> has 4 parts (codes, generators, scales, group_scales), got 2}}
  %w = glvq.assemble %c, %s : tensor<64x6xi32>, tensor<64xf16> to !w
  return
}

// -----

func.func @fold(%x: tensor<2x?xf32>, %g: tensor<3x8x8xf16>) {
  // expected-error @+1 {{the number of columns of the input must be static}}
  %f = glvq.fold ins(%x : tensor<2x?xf32>) params(%g : tensor<3x8x8xf16>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>} -> tensor<2x96xf32>
  return
}

// -----

func.func @fold(%x: tensor<2x96xf32>, %g: tensor<3x8x8xf16>) {
  // expected-error @+1 {{activations cannot be folded for #glvq.lattice<dim = 8, bits = 2, group = 32, compander = mu_law>: it is not linear, or its slots do not follow each other without gaps}}
  %f = glvq.fold ins(%x : tensor<2x96xf32>) params(%g : tensor<3x8x8xf16>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32, compander = mu_law>} -> tensor<2x96xf32>
  return
}

// -----

func.func @fold(%x: tensor<2x96xf32>, %g: tensor<3x8x8xf16>) {
  // expected-error @+1 {{there is no run 1 of equal width; #glvq.lattice<dim = 8, bits = 2, group = 32> has 1}}
  %f = glvq.fold ins(%x : tensor<2x96xf32>) params(%g : tensor<3x8x8xf16>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>, run = 1 : i64} -> tensor<2x96xf32>
  return
}

// -----

func.func @fold(%x: tensor<2x96xf32>, %g: tensor<1x8x16xf16>) {
  // expected-error @+1 {{folding for #glvq.binary<dim = 8, bits = 2, group = 32> takes 2 parts (generators, group_scales), got 1}}
  %f = glvq.fold ins(%x : tensor<2x96xf32>) params(%g : tensor<1x8x16xf16>)
    {code = #glvq.binary<dim = 8, bits = 2, group = 32>} -> tensor<2x192xf32>
  return
}

// -----

func.func @fold(%x: tensor<2x96xf32>, %g: tensor<4xf16>) {
  // expected-error @+1 {{the group_scales must be of type 'tensor<3xf16>', got 'tensor<4xf16>'}}
  %f = glvq.fold ins(%x : tensor<2x96xf32>) params(%g : tensor<4xf16>)
    {code = #glvq.trellis<taps = 8, bits = 2, group = 32>} -> tensor<2x96xf32>
  return
}

// -----

func.func @fold(%x: tensor<2x96xf32>, %g: tensor<3xf16>) {
  // expected-error @+1 {{run 0 has 96 folded activations, not 97}}
  %f = glvq.fold ins(%x : tensor<2x96xf32>) params(%g : tensor<3xf16>)
    {code = #glvq.trellis<taps = 8, bits = 2, group = 32>} -> tensor<2x97xf32>
  return
}

// -----

func.func @fold(%x: tensor<2x96xf32>, %g: tensor<3xf16>) {
  // expected-error @+1 {{the result must have as many rows as the input}}
  %f = glvq.fold ins(%x : tensor<2x96xf32>) params(%g : tensor<3xf16>)
    {code = #glvq.trellis<taps = 8, bits = 2, group = 32>} -> tensor<3x96xf32>
  return
}

// -----

func.func @filter(%x: tensor<2x?xf32>, %t: tensor<1x8xf32>) {
  // expected-error @+1 {{the taps and all numbers of columns must be static}}
  %y = glvq.filter %x taps(%t : tensor<1x8xf32>) stride 2 : tensor<2x?xf32> to tensor<2x4xf32>
  return
}

// -----

func.func @filter(%x: tensor<2x14xf32>, %t: tensor<1x8xf32>) {
  // expected-error @+1 {{there are taps for 1 runs of equal width, none for run 2}}
  %y = glvq.filter %x taps(%t : tensor<1x8xf32>) stride 2 {run = 2 : i64} : tensor<2x14xf32> to tensor<2x4xf32>
  return
}

// -----

func.func @filter(%x: tensor<2x14xf32>, %t: tensor<1x2xf32>) {
  // expected-error @+1 {{a window of 2 cannot move 3 at once}}
  %y = glvq.filter %x taps(%t : tensor<1x2xf32>) stride 3 : tensor<2x14xf32> to tensor<2x4xf32>
  return
}

// -----

func.func @filter(%x: tensor<2x15xf32>, %t: tensor<1x8xf32>) {
  // expected-error @+1 {{4 results of 8 taps at a stride of 2 read 14 columns, not 15}}
  %y = glvq.filter %x taps(%t : tensor<1x8xf32>) stride 2 : tensor<2x15xf32> to tensor<2x4xf32>
  return
}

// -----

func.func @filter(%x: tensor<2x14xf32>, %t: tensor<1x8xf32>) {
  // expected-error @+1 {{the result must have as many rows as the input}}
  %y = glvq.filter %x taps(%t : tensor<1x8xf32>) stride 2 : tensor<2x14xf32> to tensor<1x4xf32>
  return
}
