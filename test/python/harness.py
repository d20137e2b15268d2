# lm-evaluation-harness runs on a quantized checkpoint, on a task made of a local
# file, and sees the log-likelihoods that the model has.
# REQUIRES: torch, transformers, learning, lm_eval
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %s %t %S/../Inputs

import json
import os
import sys
from pathlib import Path

import glvq

sys.path.insert(0, sys.argv[2])
folder = Path(sys.argv[1])
# Nothing is fetched, and nothing is written outside the folder.
os.environ.update(
    HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=str(folder / "home"), TOKENIZERS_PARALLELISM="false"
)

import lm_eval  # noqa: E402
import tiny_chat_model  # noqa: E402
import torch  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

tiny_chat_model.make(folder / "model")
glvq.quantize(folder / "model", folder / "q", bits=3, windows=2, length=32)
questions = [
    {"question": "The sky is", "choices": [" blue", " loud", " square"], "answer": 0},
    {"question": "Two and two are", "choices": [" red", " four"], "answer": 1},
]
(folder / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
task = f"""
task: local_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""
(folder / "tasks").mkdir()
(folder / "tasks" / "local.yaml").write_text(task)
# The harness loads the checkpoint itself, by its path.
harness = HFLM(pretrained=str(folder / "q"), device="cpu", dtype="float32", batch_size=1)
assert type(harness.model.model.layers[0].mlp.up_proj).__name__ == "GLVQLinear"
results = lm_eval.simple_evaluate(
    harness, tasks=["local_choices"], task_manager=TaskManager(include_path=str(folder / "tasks")), bootstrap_iters=0
)
samples = {s["doc"]["question"]: s for s in results["samples"]["local_choices"]}
assert results["results"]["local_choices"]["acc,none"] in (0, 0.5, 1)


def log_likelihood(question, choice):
    prompt, whole = (harness.tokenizer.encode(text, add_special_tokens=False) for text in (question, question + choice))
    with torch.no_grad():
        logits = harness.model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logits[i - 1, whole[i]]) for i in range(len(prompt), len(whole)))


for q in questions:
    for choice, response in zip(q["choices"], samples[q["question"]]["filtered_resps"]):
        assert abs(float(response[0]) - log_likelihood(q["question"], choice)) < 1e-2
