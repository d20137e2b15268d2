# Loading: folders (one file, shards, half precision, a base model's prefix),
# quantized checkpoints without weights, and GGUF files; saving gives a folder
# that loads as the same model. Every broken input is refused by name.
# REQUIRES: torch_mlir, transformers
# RUN: %PYTHON %s %t

import json
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from glvq import models
from glvq.errors import GLVQError

work = Path(sys.argv[1])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)


def refusal(path):
    try:
        models.load(path)
    except GLVQError as error:
        return str(error)
    raise AssertionError(f"{path} is not refused")


def expect(message, *parts):
    for part in parts:
        assert part in message, message


def logits(model):
    with torch.no_grad():
        return model(torch.arange(7)[None], use_cache=False).logits


torch.manual_seed(0)
tiny = dict(vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
config = transformers.LlamaConfig(**tiny, intermediate_size=48, tie_word_embeddings=True, max_position_embeddings=64)
source = transformers.LlamaForCausalLM(config).eval()
source.save_pretrained(work / "plain")
source.save_pretrained(work / "sharded", max_shard_size="10KB")
assert (work / "sharded" / "model.safetensors.index.json").exists()
for name in ("plain", "sharded"):
    loaded = models.load(work / name)
    assert loaded.tokenizer is None and loaded.quantization is None
    assert torch.equal(logits(loaded.model), logits(source)), name
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight

# Half precision is widened; a checkpoint of the model without its head loads.
shutil.copytree(work / "plain", work / "half")
tensors = load_file(work / "plain" / "model.safetensors")
save_file({k.removeprefix("model."): v.bfloat16() for k, v in tensors.items()}, work / "half" / "model.safetensors")
loaded = models.load(work / "half")
assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
assert (logits(loaded.model) - logits(source)).abs().max() < 0.05

models.save_checkpoint(loaded, work / "saved")
again = models.load(work / "saved")
assert torch.equal(logits(again.model), logits(loaded.model))
assert "lm_head.weight" not in load_file(work / "saved" / "model.safetensors")

# A quantized checkpoint: its configuration is enough.
shutil.copytree(work / "plain", work / "quantized")
(work / "quantized" / "model.safetensors").unlink()
settings = json.loads((work / "plain" / "config.json").read_text())
weights = {"model.layers.0.self_attn.q_proj.weight": {"shape": [32, 32]}}
settings["quantization_config"] = {"quant_method": "glvq", "version": 1, "weights": weights}
(work / "quantized" / "config.json").write_text(json.dumps(settings))
loaded = models.load(work / "quantized")
assert loaded.quantization["weights"] == weights and loaded.model.lm_head.weight.is_meta

# Broken folders.
expect(refusal(work / "nothing"), "nothing does not exist")
(work / "empty").mkdir()
expect(refusal(work / "empty"), "empty is not a model folder: it has no config.json")


def broken(name, **changes):
    shutil.copytree(work / "plain", work / name)
    if changes:
        settings = json.loads((work / "plain" / "config.json").read_text())
        (work / name / "config.json").write_text(json.dumps({**settings, **changes}))
    return work / name


folder = broken("json")
(folder / "config.json").write_text("{")
expect(refusal(folder), "config.json is not valid JSON")
expect(refusal(broken("kind", model_type="warp_drive")), "unknown model_type 'warp_drive'")
expect(refusal(broken("encoder", model_type="vit")), "no architecture 'LlamaForCausalLM' for the model_type 'vit'")
expect(refusal(broken("class", architectures=["LlamaForPoetry"])), "no architecture 'LlamaForPoetry'")
expect(refusal(broken("foreign", quantization_config={"quant_method": "gptq"})), "quantized by 'gptq'")
expect(refusal(broken("wide", hidden_size=64)), "has the shape", "but the configuration says")
expect(refusal(broken("deep", num_hidden_layers=3)), "tensor 'model.layers.2.", "is missing in the file")
folder = broken("cut")
data = (folder / "model.safetensors").read_bytes()
(folder / "model.safetensors").write_bytes(data[: len(data) // 2])
expect(refusal(folder), "model.safetensors is truncated or not a safetensors file")
(folder / "model.safetensors").unlink()
expect(refusal(folder), "has no model.safetensors")
shutil.copytree(work / "sharded", work / "gap")
next((work / "gap").glob("model-00002-*.safetensors")).unlink()
expect(refusal(work / "gap"), "model-00002-of-", "is missing; model.safetensors.index.json lists it")

# GGUF: written here from the model, with llama.cpp's order of rows in queries
# and keys. `architecture` and `drop` make the broken ones.
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(file, architecture="llama", drop=()):
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(64)
    writer.add_block_count(2)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(61)
    # A byte-level vocabulary with one merge: the first printable characters.
    tokens = ["<unk>", "<s>", "</s>"] + [chr(c) for c in range(ord("!"), ord("!") + 57)] + ["!!"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * 58)
    writer.add_token_merges(["! !"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, tensor in tensors.items():
        data = tensor.float().numpy()
        if name == "model.embed_tokens.weight":
            name = "token_embd.weight"
        elif name == "model.norm.weight":
            name = "output_norm.weight"
        else:
            _, _, layer, rest = name.split(".", 3)
            rest = rest.removesuffix(".weight")
            heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(rest)
            if heads:
                data = data.reshape(heads, 2, data.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(data.shape)
            name = f"blk.{layer}.{NAMES[rest]}.weight"
        if name not in drop:
            writer.add_tensor(name, np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


loaded = models.load(write_gguf(work / "good.gguf"))
assert (logits(loaded.model) - logits(source)).abs().max() < 1e-5
assert loaded.tokenizer.decode(loaded.tokenizer("A+B")["input_ids"]) == "A+B"
models.save_checkpoint(loaded, work / "from-gguf")
assert torch.equal(logits(models.load(work / "from-gguf").model), logits(loaded.model))
assert (work / "from-gguf" / "tokenizer.json").exists()

(work / "text.gguf").write_text("not a model")
expect(refusal(work / "text.gguf"), "neither a folder with config.json nor a GGUF file")
data = (work / "good.gguf").read_bytes()
for part in (6, 100, len(data) // 2, len(data) - 64):
    (work / "cut.gguf").write_bytes(data[:part])
    expect(refusal(work / "cut.gguf"), "cut.gguf is truncated or not a valid GGUF file")
expect(refusal(write_gguf(work / "other.gguf", architecture="warp")), "architecture 'warp'", "supported in GGUF files")
message = refusal(write_gguf(work / "hole.gguf", drop={"blk.1.attn_k.weight"}))
expect(message, "tensor 'model.layers.1.self_attn.k_proj.weight' of the model is missing")
