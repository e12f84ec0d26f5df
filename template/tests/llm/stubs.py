"""A local server that speaks as OpenAI and Anthropic do, and fails as they do.

A test scripts one `Reply` a request; the stub records what it was sent and whether the client
stayed. It runs on a thread of its own, so that a blocked service cannot block it too.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """How to answer one request; by default with two pieces of text and a finish reason."""

    pieces: tuple[str, ...] = ("Hello", " there.")
    # The name and the arguments, as JSON, of a tool that is called instead.
    tool_call: tuple[str, str] | None = None
    # A refusal instead of an answer; not for streams.
    refusal: str | None = None
    # In the words of the API that is asked; "default" is its word for a natural end, and without
    # one a stream ends as if it were whole.
    finish: str | None = "default"
    # An error instead of an answer, with its status; `code` is the provider's word for it.
    status: int = 200
    code: str = "server_error"
    message: str = "It went wrong."
    headers: Mapping[str, str] = field(default_factory=dict)
    # Streamed only, counted in pieces: send an error event, or cut the connection, after so many.
    error_after: int | None = None
    cut_after: int | None = None
    # Bytes that are no JSON instead of an answer.
    garbage: bool = False
    # Held back after so many pieces (an answer that is not streamed: wholly) until it is set, or
    # until the client leaves.
    gate: threading.Event | None = None
    gate_after: int = 0


@dataclass
class Received:
    """A request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: Json
    client_left: threading.Event = field(default_factory=threading.Event)


@dataclass
class Stub:
    """`url` is the server's root; OpenAI's base URL is `url + "/v1"`, Anthropic's is `url`."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)
    # Keys that `GET /v1/models` accepts; None accepts any.
    keys: frozenset[str] | None = None
    _arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def base_url(self, model: str) -> str:
        """Where `LLM__BASE_URL` has to point for `model`."""
        return self.openai_url if model.startswith("openai") else self.url

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def script(self, *replies: Reply) -> None:
        self.replies.extend(replies)

    def record(self, received: Received) -> None:
        self.received.append(received)
        self._arrived.release()

    async def arrival(self) -> Received:
        """Wait for the next request that has not been waited for."""
        assert await asyncio.to_thread(self._arrived.acquire, timeout=5), "no request arrived"
        return self.received[-1]

    def forget(self) -> list[Reply]:
        """Begin anew; return the replies that nobody asked for."""
        left = list(self.replies)
        self.received, self.replies, self.keys = [], deque(), None
        self._arrived = threading.Semaphore(0)
        return left


@contextmanager
def running_stub() -> Iterator[Stub]:
    """Serve a stub on a free port of the loopback interface."""
    stub = Stub()
    config = uvicorn.Config(_app(stub), port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        stub.url = f"http://{host}:{port}"
        yield stub
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def _app(stub: Stub) -> Starlette:
    def speaking(wire: Callable[[Reply, Json], "Wire"]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            body = await request.json()
            received = Received(request.url.path, dict(request.headers), body)
            stub.record(received)
            reply = stub.replies.popleft() if stub.replies else Reply()
            return Answer(reply, wire(reply, body), received)

        return answer

    async def models(request: Request) -> Response:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("x-api-key", bearer)
        if stub.keys is not None and key not in stub.keys:
            return JSONResponse({"error": {"message": f"Bad key {key}."}}, 401)
        return JSONResponse({"object": "list", "data": [], "has_more": False})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", speaking(ChatCompletions), methods=["POST"]),
            Route("/v1/responses", speaking(Responses), methods=["POST"]),
            Route("/v1/messages", speaking(Messages), methods=["POST"]),
            Route("/v1/models", models),
        ]
    )


class Wire(Protocol):
    """One API's format for one reply."""

    def whole(self) -> Json: ...
    def error(self) -> Json: ...
    def start(self) -> list[bytes]: ...
    def piece(self, text: str) -> bytes: ...
    def failure(self) -> bytes: ...
    def end(self) -> list[bytes]: ...


class Answer(Response):
    """Sends a reply piece by piece, and notices when the client leaves."""

    def __init__(self, reply: Reply, wire: Wire, received: Received) -> None:
        self.reply, self.wire, self.received = reply, wire, received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.received.client_left.set()

        answering = asyncio.create_task(self._answer(scope, receive, send))
        watching = asyncio.create_task(watch())
        await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in (answering, watching):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        with suppress(asyncio.CancelledError):
            await answering

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = self.reply
        streamed = self.received.body.get("stream")
        if not streamed or reply.status != 200:
            await self._gate(0)
        if reply.garbage:
            response: Response = Response(b"<html>busy</html>", media_type="application/json")
        elif reply.status != 200:
            response = JSONResponse(self.wire.error(), reply.status, headers=reply.headers)
        elif not streamed:
            response = JSONResponse(self.wire.whole())
        else:
            await self._stream(send)
            return
        await response(scope, receive, send)

    async def _stream(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def write(*events: bytes) -> None:
            body = b"".join(events)
            await send({"type": "http.response.body", "body": body, "more_body": True})

        reply = self.reply
        await write(*self.wire.start())
        for sent, text in enumerate((*reply.pieces, None)):
            await self._gate(sent)
            if sent == reply.cut_after:
                # The server closes the connection of an application that stops halfway.
                return
            if sent == reply.error_after:
                await write(self.wire.failure())
                break
            if text is not None:
                await write(self.wire.piece(text))
        else:
            await write(*self.wire.end())
        await send({"type": "http.response.body", "body": b""})

    async def _gate(self, sent: int) -> None:
        gate = self.reply.gate
        # Asked again and again, for it is set on another thread.
        while gate and sent == self.reply.gate_after and not gate.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _event(data: Json, name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


class ChatCompletions:
    """OpenAI's `/v1/chat/completions`."""

    def __init__(self, reply: Reply, body: Json) -> None:
        self.reply, self.body = reply, body
        self.usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        natural = "tool_calls" if reply.tool_call else "stop"
        self.finish = natural if reply.finish == "default" else reply.finish

    def _tool_calls(self) -> list[Json]:
        name, arguments = self.reply.tool_call or ("", "")
        function = {"name": name, "arguments": arguments}
        return [{"index": 0, "id": "call_1", "type": "function", "function": function}]

    def _chunk(self, delta: Json, finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return _event({**self._head("chat.completion.chunk"), "choices": choices, **more})

    def _head(self, kind: str) -> Json:
        return {"id": "c1", "object": kind, "created": 1, "model": self.body["model"]}

    def whole(self) -> Json:
        message: Json = {"role": "assistant", "content": "".join(self.reply.pieces)}
        if self.reply.tool_call:
            message = {"role": "assistant", "content": None, "tool_calls": self._tool_calls()}
        if self.reply.refusal:
            message = {"role": "assistant", "content": None, "refusal": self.reply.refusal}
        choices = [{"index": 0, "message": message, "finish_reason": self.finish}]
        return {**self._head("chat.completion"), "choices": choices, "usage": self.usage}

    def error(self) -> Json:
        reply = self.reply
        return {"error": {"message": reply.message, "type": reply.code, "code": reply.code}}

    def start(self) -> list[bytes]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def piece(self, text: str) -> bytes:
        if self.reply.tool_call:
            return self._chunk({"tool_calls": self._tool_calls()})
        return self._chunk({"content": text})

    def failure(self) -> bytes:
        return _event(self.error())

    def end(self) -> list[bytes]:
        events = [self._chunk({}, self.finish)] if self.finish else []
        if self.finish and (self.body.get("stream_options") or {}).get("include_usage"):
            head = self._head("chat.completion.chunk")
            events.append(_event({**head, "choices": [], "usage": self.usage}))
        return [*events, b"data: [DONE]\n\n"]


class Responses:
    """OpenAI's `/v1/responses`."""

    def __init__(self, reply: Reply, body: Json) -> None:
        self.reply, self.body = reply, body
        self.finish = "completed" if reply.finish == "default" else reply.finish
        self.count = 0

    def _item(self) -> Json:
        if self.reply.tool_call:
            name, arguments = self.reply.tool_call
            call = {"type": "function_call", "id": "f1", "call_id": "call_1", "status": "completed"}
            return {**call, "name": name, "arguments": arguments}
        text: Json = {"type": "output_text", "text": "".join(self.reply.pieces)}
        text["annotations"] = []
        if self.reply.refusal:
            text = {"type": "refusal", "refusal": self.reply.refusal}
        message = {"type": "message", "id": "m1", "role": "assistant", "status": "completed"}
        return {**message, "content": [text]}

    def _response(self, status: str) -> Json:
        response: Json = {"id": "r1", "object": "response", "created_at": 1, "status": status}
        response |= {"model": self.body["model"], "output": [], "tools": []}
        response |= {"parallel_tool_calls": True, "tool_choice": "auto", "error": None}
        if status == "failed":
            return {**response, "error": {"code": self.reply.code, "message": self.reply.message}}
        if status == "in_progress":
            return response
        details = {"input_tokens_details": {"cached_tokens": 0}}
        details |= {"output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10, **details}
        if status != "completed":
            response |= {"status": "incomplete", "incomplete_details": {"reason": status}}
        return {**response, "output": [self._item()], "usage": usage}

    def _typed(self, kind: str, **data: Any) -> bytes:
        self.count += 1
        return _event({"type": kind, "sequence_number": self.count, **data}, kind)

    def whole(self) -> Json:
        return self._response(self.finish or "completed")

    def error(self) -> Json:
        reply = self.reply
        return {"error": {"message": reply.message, "type": reply.code, "code": reply.code}}

    def start(self) -> list[bytes]:
        created = self._typed("response.created", response=self._response("in_progress"))
        item: Json = {"type": "message", "id": "m1", "role": "assistant"}
        item |= {"status": "in_progress", "content": []}
        if self.reply.tool_call:
            item = {**self._item(), "arguments": "", "status": "in_progress"}
        return [created, self._typed("response.output_item.added", output_index=0, item=item)]

    def piece(self, text: str) -> bytes:
        if self.reply.tool_call:
            kind, delta = "response.function_call_arguments.delta", self.reply.tool_call[1]
            return self._typed(kind, output_index=0, item_id="f1", delta=delta)
        kind, place = "response.output_text.delta", {"output_index": 0, "content_index": 0}
        return self._typed(kind, item_id="m1", delta=text, logprobs=[], **place)

    def failure(self) -> bytes:
        return self._typed("response.failed", response=self._response("failed"))

    def end(self) -> list[bytes]:
        if not self.finish:
            return []
        kind = "completed" if self.finish == "completed" else "incomplete"
        return [
            self._typed("response.output_item.done", output_index=0, item=self._item()),
            self._typed(f"response.{kind}", response=self._response(self.finish)),
        ]


class Messages:
    """Anthropic's `/v1/messages`."""

    def __init__(self, reply: Reply, body: Json) -> None:
        self.reply, self.body = reply, body
        natural = "tool_use" if reply.tool_call else "end_turn"
        self.finish = natural if reply.finish == "default" else reply.finish

    def _message(self, content: list[Json], finish: str | None, output_tokens: int) -> Json:
        head = {"id": "a1", "type": "message", "role": "assistant", "model": self.body["model"]}
        usage = {"input_tokens": 7, "output_tokens": output_tokens}
        stop = {"stop_reason": finish, "stop_sequence": None}
        return {**head, **stop, "content": content, "usage": usage}

    def _block(self, whole: bool) -> Json:
        if self.reply.tool_call:
            name, arguments = self.reply.tool_call
            block = {"type": "tool_use", "id": "call_1", "name": name}
            return {**block, "input": json.loads(arguments) if whole else {}}
        return {"type": "text", "text": "".join(self.reply.pieces) if whole else ""}

    def whole(self) -> Json:
        if self.reply.refusal:
            return self._message([], "refusal", 0)
        return self._message([self._block(True)], self.finish, 3)

    def error(self) -> Json:
        reported = {"type": self.reply.code, "message": self.reply.message}
        return {"type": "error", "error": reported}

    def start(self) -> list[bytes]:
        message = self._message([], None, 1)
        return [
            _event({"type": "message_start", "message": message}, "message_start"),
            self._at("content_block_start", content_block=self._block(False)),
        ]

    def _at(self, kind: str, **data: Any) -> bytes:
        return _event({"type": kind, "index": 0, **data}, kind)

    def piece(self, text: str) -> bytes:
        if self.reply.tool_call:
            delta = {"type": "input_json_delta", "partial_json": self.reply.tool_call[1]}
        else:
            delta = {"type": "text_delta", "text": text}
        return self._at("content_block_delta", delta=delta)

    def failure(self) -> bytes:
        return _event(self.error(), "error")

    def end(self) -> list[bytes]:
        stop = self._at("content_block_stop")
        if not self.finish:
            return [stop]
        delta = {"stop_reason": self.finish, "stop_sequence": None}
        usage = {"output_tokens": 3}
        done = {"type": "message_delta", "delta": delta, "usage": usage}
        return [
            stop,
            _event(done, "message_delta"),
            _event({"type": "message_stop"}, "message_stop"),
        ]
