"""An OpenAI-compatible server for one artefact: ``glvq serve``.

    POST /v1/chat/completions, /v1/completions    GET /v1/models, /health

A fixed number of sessions answers at the same time; a request takes the free
one that has computed most of its prompt already. Requests beyond the sessions
wait, up to a limit, and are refused with 429 after that. A client that goes
away stops its generation.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .errors import GLVQError
from .generate import Conversation, Sampling, TextGenerator, Timing

log = logging.getLogger("glvq.serve")


@dataclass(frozen=True)
class Limits:
    """What one server gives away."""

    sessions: int = 2
    waiting: int = 32
    max_tokens: int = 4096
    body_bytes: int = 1 << 20


class RequestError(Exception):
    """A request that cannot be answered, as the OpenAI API says it."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def response(self) -> JSONResponse:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        body = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": body}, self.status)


@dataclass
class Job:
    """One request, checked: what to run and how to present it."""

    ids: list[int]
    max_tokens: int
    how: Sampling
    stop: list[str]
    stream: bool
    usage: bool
    model: str
    chat: bool
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    timing: Timing = field(default_factory=Timing)
    finish: str | None = None

    def __post_init__(self):
        self.id = f"{'chatcmpl' if self.chat else 'cmpl'}-{uuid.uuid4().hex}"

    def usage_record(self) -> dict:
        prompt, new = self.timing.prompt_tokens, self.timing.new_tokens
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}

    def body(self, text: str, finish: str | None = None, chunk: bool = False, first: bool = False) -> dict:
        """A response, or one chunk of a streamed one."""
        if not self.chat:
            choice: dict[str, Any] = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
            kind = "text_completion"
        elif chunk:
            delta = {"role": "assistant", "content": text} if first else {"content": text} if text else {}
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            kind = "chat.completion.chunk"
        else:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            kind = "chat.completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": [choice]}


class StopFilter:
    """Passes text on up to the first stop sequence, holding back what may be
    the beginning of one."""

    def __init__(self, stop: list[str]):
        self.stop, self.held, self.stopped = stop, "", False

    def push(self, piece: str) -> str:
        text = self.held + piece
        found = [at for at in (text.find(s) for s in self.stop) if at >= 0]
        if found:
            self.stopped, self.held = True, ""
            return text[: min(found)]
        # The longest end of the text that some stop sequence begins with.
        keep = max((n for s in self.stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        held, self.held = self.held, ""
        return held


class Server:
    """The application of one artefact; ``app`` is an ASGI application."""

    def __init__(self, generator: TextGenerator, name: str, limits: Limits = Limits(), api_key: str | None = None):
        self.generator, self.name, self.limits, self.api_key = generator, name, limits, api_key
        self.created = int(time.time())
        self.free: list[Conversation] = [generator.conversation() for _ in range(limits.sessions)]
        self.slots = asyncio.Semaphore(limits.sessions)
        self.waiting = 0
        self.cancelled: set[threading.Event] = set()
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", self.models),
                Route("/v1/models/{model:path}", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/completions", self.complete, methods=["POST"]),
            ],
            exception_handlers={
                RequestError: lambda request, error: error.response(),
                HTTPException: lambda request, error: RequestError(error.status_code, error.detail).response(),
                Exception: self.fail,
            },
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, app):
        yield
        # What the graceful time did not suffice for ends after its present token.
        for event in self.cancelled:
            event.set()

    def fail(self, request: Request, error: Exception) -> Response:
        log.exception("request failed", exc_info=error)
        return RequestError(500, "the server failed; its log says why").response()

    # Requests ---------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "free_sessions": len(self.free), "waiting": self.waiting})

    async def models(self, request: Request) -> Response:
        self._authorize(request)
        card = {"id": self.name, "object": "model", "created": self.created, "owned_by": "glvq"}
        wanted = request.path_params.get("model")
        if wanted is None:
            return JSONResponse({"object": "list", "data": [card]})
        if wanted != self.name:
            raise RequestError(
                404, f"there is no model '{wanted}'; this server has '{self.name}'", "model", "model_not_found"
            )
        return JSONResponse(card)

    async def chat(self, request: Request) -> Response:
        body = await self._read(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise RequestError(400, "messages must be a list of at least one message", "messages")
        conversation = [{"role": _role(m), "content": _content(m)} for m in messages]
        try:
            text = self.generator.render_chat(conversation)
        except GLVQError as error:
            raise RequestError(400, str(error), "messages") from error
        ids = self.generator.encode(text, add_special_tokens=False)
        return await self._answer(request, self._job(body, ids, chat=True))

    async def complete(self, request: Request) -> Response:
        body = await self._read(request)
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
            prompt = prompt[0]
        if isinstance(prompt, str):
            ids = self.generator.encode(prompt)
        elif isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
            ids = prompt
            vocabulary = int(self.generator.model.get("vocab_size") or 1 << 31)
            if not all(0 <= token < vocabulary for token in ids):
                raise RequestError(400, f"token ids must be 0 to {vocabulary - 1}", "prompt")
        else:
            raise RequestError(400, "prompt must be one string or one list of token ids", "prompt")
        return await self._answer(request, self._job(body, ids, chat=False))

    def _authorize(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key and not hmac.compare_digest(given.encode(), self.api_key.encode()):
            raise RequestError(401, "wrong or missing API key", code="invalid_api_key")

    async def _read(self, request: Request) -> dict:
        self._authorize(request)
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > self.limits.body_bytes:
                raise RequestError(413, f"the request is larger than {self.limits.body_bytes} bytes")
        try:
            body = json.loads(bytes(data))
        except ValueError as error:
            raise RequestError(400, f"the request is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise RequestError(400, "the request is not a JSON object")
        return body

    def _job(self, body: dict, ids: list[int], chat: bool) -> Job:
        model = body.get("model", self.name)
        if model != self.name:
            raise RequestError(
                404, f"there is no model '{model}'; this server has '{self.name}'", "model", "model_not_found"
            )
        for name, neutral in (
            ("n", 1), ("best_of", 1), ("logprobs", False), ("top_logprobs", 0), ("presence_penalty", 0), ("frequency_penalty", 0),
            ("logit_bias", {}), ("tools", []), ("functions", []), ("echo", False), ("suffix", ""),
        ):  # fmt: skip
            value = body.get(name)
            if value is not None and value != neutral:
                raise RequestError(400, f"{name} is not supported", name, "unsupported_parameter")
        if body.get("response_format", {"type": "text"}) != {"type": "text"}:
            raise RequestError(
                400, "only the response format text is supported", "response_format", "unsupported_parameter"
            )
        room = self.generator.context_length - len(ids)
        if room < 1:
            raise RequestError(
                400, f"the prompt has {len(ids)} tokens, the model's context {self.generator.context_length}",
                "messages" if chat else "prompt", "context_length_exceeded",
            )  # fmt: skip
        given = body.get("max_completion_tokens") if chat else None
        given = body.get("max_tokens") if given is None else given
        # Without a limit a chat may fill the context; a completion is 16 tokens, as in OpenAI's API.
        wanted = _number(given, "max_tokens", int, 1) if given is not None else (room if chat else 16)
        if given is not None and wanted > room:
            raise RequestError(
                400, f"{len(ids)} prompt tokens and {wanted} new ones exceed the model's context of {self.generator.context_length}",
                "max_tokens", "context_length_exceeded",
            )  # fmt: skip
        stop = body.get("stop") or []
        stop = [stop] if isinstance(stop, str) else stop
        if not isinstance(stop, list) or len(stop) > 4 or not all(isinstance(s, str) and s for s in stop):
            raise RequestError(400, "stop must be a string or a list of up to 4 strings that are not empty", "stop")
        options = body.get("stream_options") or {}
        temperature = _number(body.get("temperature"), "temperature", float, 0.0, 2.0, 1.0)
        top_p = _number(body.get("top_p"), "top_p", float, 0.0, 1.0, 1.0)
        seed = _number(body.get("seed"), "seed", int, default=None)
        how = Sampling(
            temperature if top_p > 0 else 0.0,  # nothing but the likeliest
            _number(body.get("top_k"), "top_k", int, 0, default=0),
            top_p or 1.0,
            (seed if seed is not None else uuid.uuid4().int) % (1 << 63),
        )
        stream = body.get("stream") or False
        if not isinstance(stream, bool) or not isinstance(options, dict):
            raise RequestError(400, "stream must be true or false, stream_options an object", "stream")
        return Job(
            ids,
            min(wanted, room, self.limits.max_tokens),
            how,
            stop,
            stream,
            bool(options.get("include_usage")),
            model,
            chat,
        )

    # Answers ----------------------------------------------------------------

    async def _answer(self, request: Request, job: Job) -> Response:
        if self.waiting >= self.limits.waiting:
            raise RequestError(
                429, f"{self.waiting} requests are waiting already; try again later", code="rate_limit_exceeded"
            )
        pieces = self._generate(job)
        if job.stream:
            # The first piece now: an error still gets a status of its own.
            first = await anext(pieces, None)
            return StreamingResponse(self._events(job, first, pieces), media_type="text/event-stream")
        text = ""
        try:
            async for piece in pieces:
                text += piece
                if await request.is_disconnected():
                    return Response(status_code=499)
        finally:
            await pieces.aclose()
        return JSONResponse({**job.body(text, job.finish), "usage": job.usage_record()})

    async def _events(self, job: Job, first: str | None, pieces) -> AsyncIterator[str]:
        """Server-sent events of a streamed answer."""

        def event(body: dict) -> str:
            return f"data: {json.dumps({**body, 'usage': None} if job.usage else body)}\n\n"

        try:
            if job.chat:
                yield event(job.body("", chunk=True, first=True))
            piece = first
            while piece is not None:
                yield event(job.body(piece, chunk=True))
                piece = await anext(pieces, None)
            yield event(job.body("", job.finish, chunk=True))
            if job.usage:
                yield f"data: {json.dumps({**job.body('', chunk=True), 'choices': [], 'usage': job.usage_record()})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            await pieces.aclose()

    async def _generate(self, job: Job) -> AsyncIterator[str]:
        """Pieces of text of one job; computes them on a thread of its own, in
        the free session that knows most of the prompt."""
        self.waiting += 1
        try:
            await self.slots.acquire()
        finally:
            self.waiting -= 1
        conversation = max(self.free, key=lambda c: c.common_prefix(job.ids))
        self.free.remove(conversation)
        loop, queue, cancel = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()
        self.cancelled.add(cancel)
        end = object()

        def work():
            try:
                for piece in self.generator.stream_text(job.ids, job.max_tokens, job.how, conversation, job.timing):
                    if cancel.is_set():
                        break
                    loop.call_soon_threadsafe(queue.put_nowait, piece)
                loop.call_soon_threadsafe(queue.put_nowait, end)
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                loop.call_soon_threadsafe(queue.put_nowait, error)

        worker = asyncio.ensure_future(run_in_threadpool(work))
        try:
            stops = StopFilter(job.stop)
            while (piece := await queue.get()) is not end:
                if isinstance(piece, Exception):
                    raise piece
                # A small model is faster than the loop: let it see who has left.
                await asyncio.sleep(0)
                if text := stops.push(piece):
                    yield text
                if stops.stopped:
                    break
            job.finish = "stop" if stops.stopped or job.timing.ended else "length"
            if text := stops.finish():
                yield text
        finally:
            cancel.set()
            # The session is free when its thread has seen that.
            worker.add_done_callback(lambda _: self._release(conversation, cancel))

    def _release(self, conversation: Conversation, cancel: threading.Event) -> None:
        self.cancelled.discard(cancel)
        self.free.append(conversation)
        self.slots.release()


def _role(message: Any) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str):
        raise RequestError(400, "every message needs a role", "messages")
    return "system" if role == "developer" else role


def _content(message: dict) -> str:
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise RequestError(400, "the content of a message must be text", "messages")
    return content


def _number(value, name: str, kind: type, low=None, high=None, default=None):
    if value is None:
        return default
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise RequestError(400, f"{name} must be a{' whole' if whole else ''} number", name)
    if (low is not None and value < low) or (high is not None and value > high) or value != value:
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        raise RequestError(400, f"{name} must be {bounds}, not {value}", name)
    return kind(value)


def serve(
    artefact: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: str | None = None,
    limits: Limits = Limits(),
    threads: int = 0,
    api_key: str | None = None,
    grace: int = 30,
) -> None:
    """Serves an artefact until SIGINT or SIGTERM; requests that are running then
    have ``grace`` seconds to end.

    Raises GLVQError when the artefact is not one of a language model or the
    address cannot be had.
    """
    import socket

    import uvicorn

    generator = TextGenerator(artefact, threads)
    server = Server(generator, name or Path(artefact).resolve().name.removesuffix(".glvq"), limits, api_key)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise GLVQError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    with listener:
        host, port = listener.getsockname()[:2]
        print(f"glvq: serving {server.name} on http://{host}:{port}/v1 (Ctrl-C stops it)", flush=True)
        config = uvicorn.Config(server.app, log_level="warning", timeout_graceful_shutdown=grace, lifespan="on")
        uvicorn.Server(config).run(sockets=[listener])
