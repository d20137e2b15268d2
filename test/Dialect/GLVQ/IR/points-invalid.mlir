// Each diagnostic of the codes with fixed points.
// RUN: %glvq-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{points of the Leech lattice are on shells 2 to 13, got shells = 14}}
#a = #glvq.leech<shells = 14, group = 96>

// -----

// expected-error @+1 {{points of the Leech lattice are on shells 2 to 13, got shells = 1}}
#a = #glvq.leech<shells = 1, group = 96>

// -----

// expected-error @+1 {{the first shell is 0 (the origin) or 2 to 5, got first = 6}}
#a = #glvq.leech<shells = 5, group = 96, first = 6>

// -----

// expected-error @+1 {{the first shell is 0 (the origin) or 2 to 5, got first = 1}}
#a = #glvq.leech<shells = 5, group = 96, first = 1>

// -----

// expected-error @+1 {{a gain is stored in up to 8 bits, got gain = 9}}
#a = #glvq.leech<shells = 5, group = 96, gain = 9>

// -----

// expected-error @+1 {{a residual is stored on one of the shells 2 to 13, got residual = 1}}
#a = #glvq.leech<shells = 5, group = 96, residual = 1>

// -----

// expected-error @+1 {{a group of 100 columns is not a whole number of points of 24; make `group` a multiple of 24}}
#a = #glvq.leech<shells = 5, group = 100>

// -----

// expected-error @+1 {{a group of 12 columns is not a whole number of points of 8; make `group` a multiple of 8}}
#a = #glvq.e8p<group = 12>

// -----

func.func @parts(%c: tensor<4x5xi32>, %s: tensor<4xf16>, %g: tensor<1xf16>) {
  // expected-error @+1 {{the codes of '!glvq.weight<4x96xf32, #glvq.leech<shells = 13, group = 96>>' must be of type 'tensor<4x6xi32>', got 'tensor<4x5xi32>'}}
  %w = glvq.assemble %c, %s, %g : tensor<4x5xi32>, tensor<4xf16>, tensor<1xf16> to !glvq.weight<4x96xf32, #glvq.leech<shells = 13, group = 96>>
  return
}
