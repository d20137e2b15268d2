"""Makes a Hugging Face folder of a tiny random chat model, tokenizer and chat
template included: tiny_chat_model.py FOLDER [key=value of the configuration]."""

import json
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def make(folder, **changes):
    """Writes the folder; returns the model. Every byte is a token, so any text
    can be encoded and any token decoded."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIAL + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", additional_special_tokens=SPECIAL[1:]
    )
    wrapped.chat_template = TEMPLATE
    settings = dict(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, initializer_range=0.3,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{**settings, **changes})
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return model


if __name__ == "__main__":
    make(Path(sys.argv[1]), **{key: json.loads(value) for key, value in (a.split("=", 1) for a in sys.argv[2:])})
