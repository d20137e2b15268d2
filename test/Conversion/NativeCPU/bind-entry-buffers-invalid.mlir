// Each way an entry can break docs/ModelModule.md has its message.
// RUN: %glvq-opt %s --glvq-bind-entry-buffers --split-input-file --verify-diagnostics

// expected-error@+1 {{argument #1 of an entry has none of glvq.name, glvq.input, glvq.state}}
func.func @unnamed(%x: tensor<4xf32> {glvq.input = "x"}, %y: tensor<4xf32>) {
  return
}

// -----

// expected-error@+1 {{result #0 of an entry has neither glvq.output nor glvq.state}}
func.func @result(%x: tensor<4xf32> {glvq.input = "x"}) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// expected-error@+1 {{result #0 is the new value of the state "c", which no argument holds}}
func.func @state(%x: tensor<4xf32> {glvq.input = "x"}) -> (tensor<4xf32> {glvq.state = "c"}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error@+1 {{argument #0 of an entry has type 'tensor<*xf32>'; expected a ranked tensor or a number}}
func.func @unranked(%x: tensor<*xf32> {glvq.input = "x"}) {
  return
}

// -----

// expected-error@+1 {{is an entry that the module itself calls}}
func.func @called(%x: tensor<4xf32> {glvq.input = "x"}) {
  return
}
func.func private @caller(%x: tensor<4xf32>) {
  call @called(%x) : (tensor<4xf32>) -> ()
  return
}
