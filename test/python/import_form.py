# The form of an imported model (docs/ModelModule.md): each distinct layer is
# one function that all its layers call, tied embeddings are one argument,
# nothing is checked or computed by opaque reshapes, constants stay small. The
# values of the weights play no role: the model is on the meta device.
# REQUIRES: torch_mlir, transformers
# RUN: %PYTHON %s > %t.mlir
# RUN: mlir-opt %t.mlir -o /dev/null
# RUN: FileCheck %s < %t.mlir
# RUN: FileCheck %s --check-prefix=CLEAN --implicit-check-not=tensor.reshape \
# RUN:   --implicit-check-not=cf. --implicit-check-not=math.fpowi --implicit-check-not=dense_resource < %t.mlir

import torch
import transformers

from glvq import importer

config = transformers.Qwen2Config(
    vocab_size=61,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    tie_word_embeddings=True,
    use_sliding_window=True,
    sliding_window=4,
    max_window_layers=2,
    bos_token_id=1,
    eos_token_id=2,
)
with torch.device("meta"):
    model = transformers.AutoModelForCausalLM.from_config(config)
print(importer.import_causal_lm(model))

# CHECK: module attributes {glvq.model = {architecture = "Qwen2ForCausalLM", bos_token_id = 1 : i64, context_length = 64 : i64, eos_token_ids = [2], vocab_size = 61 : i64}}
# CHECK: func.func private @decode_embed(%{{.*}}: tensor<61x32xf32>, %{{.*}}: tensor<1x1xi64>) -> tensor<1x1x32xf32>
# CHECK: func.func private @decode_rotary(%{{.*}}: i64) -> (tensor<1x1x8xf32>, tensor<1x1x8xf32>)
# CHECK: func.func private @decode_layer_0(
# CHECK: tensor.insert_slice {{.*}} : tensor<1x2x1x8xf32> into tensor<1x2x?x8xf32>
# Grouped attention: a product per head of keys, not per head of queries.
# CHECK: linalg.batch_matmul ins({{.*}} : tensor<2x2x8xf32>, tensor<2x8x?xf32>)
# CHECK: func.func private @decode_layer_1(
# CHECK: func.func private @decode_head(
# CHECK: func.func @decode(
# CHECK-SAME: tensor<1x1xi64> {glvq.input = "tokens", glvq.shape = [1, 1]}
# CHECK-SAME: i64 {glvq.input = "position"}
# CHECK-SAME: tensor<1x2x?x8xf32> {glvq.shape = [1, 2, "capacity", 8], glvq.state = "cache.0.key"}
# CHECK-SAME: {glvq.shape = [1, 2, "capacity", 8], glvq.state = "cache.2.value"}
# CHECK-SAME: tensor<61x32xf32> {glvq.name = "model.embed_tokens.weight", glvq.shape = [61, 32]}
# CHECK-SAME: tensor<32x32xf32> {glvq.name = "model.layers.0.self_attn.q_proj.weight", glvq.shape = [32, 32]}
# CHECK-NOT: lm_head
# CHECK-SAME: -> (tensor<1x1x61xf32> {glvq.output = "logits", glvq.shape = [1, 1, 61]}, tensor<1x2x?x8xf32> {glvq.shape = [1, 2, "capacity", 8], glvq.state = "cache.0.key"}
# CHECK: call @decode_embed
# CHECK-NEXT: call @decode_rotary
# CHECK-NEXT: call @decode_layer_0
# CHECK-NEXT: call @decode_layer_0
# CHECK-NEXT: call @decode_layer_1
# CHECK-NEXT: call @decode_head
# CHECK: func.func private @prefill_layer_0(
# CHECK: tensor.insert_slice {{.*}} : tensor<1x2x?x8xf32> into tensor<1x2x?x8xf32>
# CHECK: func.func @prefill(
# CHECK-SAME: tensor<1x?xi64> {glvq.input = "tokens", glvq.shape = [1, "tokens"]}
# CHECK-SAME: -> (tensor<1x?x61xf32> {glvq.output = "logits", glvq.shape = [1, "tokens", 61]}
# CLEAN: module
