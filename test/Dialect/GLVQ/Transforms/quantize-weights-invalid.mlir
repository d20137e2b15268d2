// What a checkpoint can get wrong, each refused by name.

// RUN: rm -rf %t && split-file %s %t

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: glvq-quantize-weights needs the option 'checkpoint'

// RUN: mkdir -p %t/absent
// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/absent 2>&1 | FileCheck %s --check-prefix=ABSENT
// ABSENT: error: cannot read '{{.*}}config.json': No such file or directory

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/json 2>&1 | FileCheck %s --check-prefix=JSON
// JSON: error: '{{.*}}config.json': bad JSON:

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/plain 2>&1 | FileCheck %s --check-prefix=PLAIN
// PLAIN: error: '{{.*}}config.json': no 'quantization_config': this is not a quantized checkpoint

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/method 2>&1 | FileCheck %s --check-prefix=METHOD
// METHOD: error: '{{.*}}config.json': 'quant_method' is 'gptq', expected 'glvq'

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/version 2>&1 | FileCheck %s --check-prefix=VERSION
// VERSION: error: '{{.*}}config.json': 'version' is 7, this compiler reads version 1

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/noweights 2>&1 | FileCheck %s --check-prefix=NOWEIGHTS
// NOWEIGHTS: error: '{{.*}}config.json': 'quantization_config' has no 'weights'

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/code 2>&1 | FileCheck %s --check-prefix=CODE
// CODE: error: '{{.*}}config.json': weight 'up.weight': unknown code '#glvq.cube<dim = 8>'

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/otherattr 2>&1 | FileCheck %s --check-prefix=OTHERATTR
// OTHERATTR: error: '{{.*}}config.json': weight 'up.weight': unknown code 'unit'

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/noshape 2>&1 | FileCheck %s --check-prefix=NOSHAPE
// NOSHAPE: error: '{{.*}}config.json': weight 'up.weight': 'shape' is not [rows, columns]

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/shape 2>&1 | FileCheck %s --check-prefix=SHAPE
// SHAPE: error: weight 'up.weight': the checkpoint has a matrix of 96x64 floats, the model an argument of type 'tensor<64x96xf32>'
// SHAPE: note: the sizes are swapped: is "transposed" missing in config.json?

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/unknown 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: the checkpoint has the quantized weight 'down.weight', but no entry point has an argument of that name

// RUN: not %glvq-opt %t/external.mlir --glvq-quantize-weights=checkpoint=%t/good 2>&1 | FileCheck %s --check-prefix=EXTERNAL
// EXTERNAL: external.mlir:3:3: error: passes a quantized weight to '@kernel', which has no body to specialise; the weight would be used both quantized and not

// RUN: not %glvq-opt %t/entry.mlir --glvq-quantize-weights=checkpoint=%t/good 2>&1 | FileCheck %s --check-prefix=ENTRY
// ENTRY: error: passes a quantized weight to the entry point '@forward', which has quantized weights of its own

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/signs 2>&1 | FileCheck %s --check-prefix=SIGNS
// SIGNS: error: weight 'up.weight' needs 64 signs from 'glvq.signs.96', another weight 96

// RUN: not %glvq-opt %t/model.mlir --glvq-quantize-weights=checkpoint=%t/badsigns 2>&1 | FileCheck %s --check-prefix=BADSIGNS
// BADSIGNS: error: '{{.*}}config.json': weight 'up.weight': 'signs_in' is not the name of a tensor

//--- model.mlir
func.func @forward(%w: tensor<64x96xf32> {glvq.name = "up.weight"}) {
  return
}
//--- external.mlir
func.func private @kernel(tensor<64x96xf32>)
func.func @forward(%w: tensor<64x96xf32> {glvq.name = "up.weight"}) {
  call @kernel(%w) : (tensor<64x96xf32>) -> ()
  return
}
//--- entry.mlir
func.func @forward(%w: tensor<64x96xf32> {glvq.name = "up.weight"}) {
  return
}
func.func @again(%w: tensor<64x96xf32> {glvq.name = "up.weight"}) {
  call @forward(%w) : (tensor<64x96xf32>) -> ()
  return
}
//--- signs/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "up.weight": {"shape": [64, 96], "code": "#glvq.lattice<dim = 8, bits = 2, group = 32>",
                "signs_in": "glvq.signs.96", "signs_out": "glvq.signs.96"}}}}
//--- badsigns/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "up.weight": {"shape": [64, 96], "code": "#glvq.lattice<dim = 8, bits = 2, group = 32>", "signs_in": 7}}}}
//--- json/config.json
{"quantization_config": {"version": 1,
//--- plain/config.json
{"architectures": ["LlamaForCausalLM"]}
//--- method/config.json
{"quantization_config": {"quant_method": "gptq", "bits": 4}}
//--- version/config.json
{"quantization_config": {"quant_method": "glvq", "version": 7, "weights": {}}}
//--- noweights/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1}}
//--- code/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "up.weight": {"shape": [64, 96], "code": "#glvq.cube<dim = 8>"}}}}
//--- otherattr/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "up.weight": {"shape": [64, 96], "code": "unit"}}}}
//--- noshape/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "up.weight": {"shape": [64], "code": "#glvq.lattice<dim = 8, bits = 2, group = 32>"}}}}
//--- shape/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "up.weight": {"shape": [96, 64], "code": "#glvq.lattice<dim = 8, bits = 2, group = 32>"}}}}
//--- unknown/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "down.weight": {"shape": [64, 96], "code": "#glvq.lattice<dim = 8, bits = 2, group = 32>"}}}}
//--- good/config.json
{"quantization_config": {"quant_method": "glvq", "version": 1, "weights": {
  "up.weight": {"shape": [64, 96], "code": "#glvq.lattice<dim = 8, bits = 2, group = 32>"}}}}
