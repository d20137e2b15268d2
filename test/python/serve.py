# glvq serve, driven by the official OpenAI client: the same text as glvq generate,
# streamed and at once, several sessions, limits, errors with their codes, clients
# that go away, and a stop that lets running requests end.
# REQUIRES: compiler, torch, transformers, openai, starlette
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %S/../Inputs/tiny_chat_model.py %t/model
# RUN: %PYTHON -m glvq compile --quiet %t/model -o %t/tiny.glvq
# RUN: %PYTHON %s %t/tiny.glvq

import concurrent.futures
import http.client
import re
import signal
import subprocess
import sys
import time

import openai

import glvq
from glvq.serve import StopFilter

artefact = sys.argv[1]
model = glvq.load(artefact, threads=1)


def start(*options):
    command = [sys.executable, "-m", "glvq", "serve", artefact, "--port", "0", "--threads", "1", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url = re.search(r"http://\S+", process.stdout.readline())[0]
    return process, url


def refused(kind, action, *words):
    try:
        action()
    except kind as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError(f"not refused: {words}")


# Text before a stop sequence passes at once, unless it may begin one.
stops = StopFilter(["END", "ENOUGH"])
assert [stops.push("one E"), stops.push("N"), stops.push("d EN"), stops.push("OUGH x"), stops.stopped] == [
    "one ",
    "",
    "ENd ",
    "",
    True,
]
assert (stops := StopFilter(["ab"])).push("a") == "" and stops.finish() == "a"

process, url = start("--api-key", "secret", "--sessions", "2", "--waiting", "1")
client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
(card,) = client.models.list()
assert card.id == "tiny" and client.models.retrieve("tiny").owned_by == "glvq"
common = dict(model="tiny", temperature=0, max_tokens=12)
conversation = [{"role": "user", "content": "hello"}]
expected = model.generate(conversation, 12)

answer = client.chat.completions.create(messages=conversation, **common)
(choice,) = answer.choices
assert choice.message.content == expected and choice.finish_reason == "length", (choice, expected)
assert answer.usage.prompt_tokens == len(model.generator.encode(model.generator.render_chat(conversation)))
assert answer.usage.completion_tokens == 12 and answer.usage.total_tokens == answer.usage.prompt_tokens + 12

chunks = list(
    client.chat.completions.create(messages=conversation, stream=True, stream_options={"include_usage": True}, **common)
)
assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].usage.completion_tokens == 12
texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
assert "".join(texts) == expected and sum(map(bool, texts)) > 1
assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"

# A conversation that goes on, content in parts, and the plain completion.
longer = [*conversation, {"role": "assistant", "content": expected}, {"role": "user", "content": "more"}]
parts = [*longer[:2], {"role": "user", "content": [{"type": "text", "text": "mo"}, {"type": "text", "text": "re"}]}]
for messages in (longer, parts):
    assert client.chat.completions.create(messages=messages, **common).choices[0].message.content == model.generate(
        longer, 12
    )
ids = model.generator.encode("hello")
for prompt in ("hello", ids):
    completion = client.completions.create(prompt=prompt, **common)
    assert completion.choices[0].text == model.generate("hello", 12)
streamed = client.completions.create(prompt="hello", stream=True, **common)
assert "".join(c.choices[0].text for c in streamed) == model.generate("hello", 12)

# Stop sequences end an answer before themselves.
stop = expected[3:5]
cut = client.chat.completions.create(messages=conversation, stop=[stop], **common).choices[0]
assert cut.message.content == expected[: expected.index(stop)] and cut.finish_reason == "stop"

# Sampling depends on the seed only.
warm = dict(messages=conversation, model="tiny", temperature=1.5, max_tokens=12)
one, two, three = (client.chat.completions.create(seed=s, **warm).choices[0].message.content for s in (1, 1, 2))
assert one == two != three

# What cannot be answered says why.
refused(openai.AuthenticationError, lambda: openai.OpenAI(base_url=url, api_key="x").models.list(), "API key")
refused(openai.NotFoundError, lambda: client.completions.create(prompt="a", model="big"), "big", "tiny")
refused(openai.BadRequestError, lambda: client.completions.create(prompt="a", n=2, **common), "n is not supported")
refused(openai.BadRequestError, lambda: client.chat.completions.create(messages=[], **common), "at least one message")
refused(openai.BadRequestError, lambda: client.completions.create(prompt="a" * 300, **common), "context", "300")
refused(openai.BadRequestError, lambda: client.completions.create(prompt=[99999], **common), "token ids")
refused(
    openai.BadRequestError, lambda: client.completions.create(prompt="a", model="tiny", temperature=9), "temperature"
)
refused(openai.APIStatusError, lambda: client.completions.create(prompt="a" * (2 << 20), **common), "larger")
connection = http.client.HTTPConnection(url.split("/")[2])
connection.request("POST", "/v1/completions", b"{", {"Authorization": "Bearer secret"})
assert (response := connection.getresponse()).status == 400 and b"not JSON" in response.read()
connection.request("GET", "/v1/nothing")
assert (response := connection.getresponse()).status == 404 and b"Not Found" in response.read()

# Requests at the same time all get their own answer.
prompts = ["a", "bc", "def"]
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    answers = pool.map(lambda p: client.completions.create(prompt=p, **common).choices[0].text, prompts)
    assert list(answers) == [model.generate(p, 12) for p in prompts]

# A client that goes away frees its session.
for _ in range(3):
    stream = client.completions.create(prompt="hello", stream=True, model="tiny", temperature=1, max_tokens=200)
    next(iter(stream))
    stream.close()
deadline = time.monotonic() + 60
while client.get("/health".replace("/health", url.replace("/v1", "/health")), cast_to=object)["free_sessions"] < 2:
    assert time.monotonic() < deadline
    time.sleep(0.05)

# Beyond the sessions and the waiting place: 429.
busy = [
    client.completions.create(prompt="hello", stream=True, model="tiny", temperature=1, seed=s, max_tokens=240)
    for s in (1, 2)
]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    crowd = [pool.submit(lambda: client.completions.create(prompt="a", **common)) for _ in range(8)]
    statuses = [type(f.exception()).__name__ if f.exception() else "ok" for f in crowd]
assert set(statuses) <= {"ok", "RateLimitError"} and "ok" in statuses, statuses

# Stopping lets a running answer end.
for stream in busy:
    list(stream)
stream = client.completions.create(prompt="hello", stream=True, model="tiny", temperature=0, max_tokens=240)
events = iter(stream)
text = next(events).choices[0].text
process.send_signal(signal.SIGTERM)
text += "".join(c.choices[0].text for c in events)
assert text == model.generate("hello", 240)
assert process.wait(60) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)

# An address that is taken is named, not tried.
process, url = start()
port = url.split(":")[2].split("/")[0]
taken = subprocess.run(
    [sys.executable, "-m", "glvq", "serve", artefact, "--port", port], capture_output=True, text=True
)
assert taken.returncode == 1 and "cannot listen" in taken.stderr and "--port" in taken.stderr, taken
process.send_signal(signal.SIGINT)
process.wait(60)

# glvq chat: one conversation over several lines.
talk = subprocess.run(
    [sys.executable, "-m", "glvq", "chat", artefact, "--temperature", "0", "--max-tokens", "12", "--system", "be brief"],
    input="hello\nmore\n/reset\nhello\n", capture_output=True, text=True,
)  # fmt: skip
assert talk.returncode == 0, talk.stderr
beginning = [{"role": "system", "content": "be brief"}, *conversation]
first = model.generate(beginning, 12)
second = model.generate([*beginning, {"role": "assistant", "content": first}, {"role": "user", "content": "more"}], 12)
assert talk.stdout == f"{first}\n{second}\n{first}\n", (talk.stdout, first, second)
