"""A provider that keeps an account of its own of what it is asked, whatever becomes of the answer.

Each request says in its last message how it is to be answered: `<how> <number>: text`.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]
# The model that never answers where a fallback is wanted.
FIRST, SECOND = "gpt-5", "gpt-5-mini"


def tokens(text: str) -> int:
    """Count as some tokenizer might: pieces of words, and what stands between them."""
    return len(re.findall(r"\w{1,5}|[^\w\s]", text))


@dataclass
class Entry:
    """One request. What was not `reported` nobody but this account knows."""

    how: str
    model: str
    input: int = 0
    output: int = 0
    cached: int = 0
    reported: bool = False


@dataclass
class Account:
    url: str = ""
    entries: list[Entry] = field(default_factory=list)
    # The requests that wait for their client to leave.
    held: set[str] = field(default_factory=set)
    # All that a stream says, by the request.
    sent: dict[str, str] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)

    def sums(self, *, reported: bool) -> tuple[int, int, int]:
        found = [entry for entry in self.entries if entry.reported is reported]
        return (
            sum(entry.input for entry in found),
            sum(entry.output for entry in found),
            sum(entry.cached for entry in found),
        )


@contextmanager
def running_account() -> Iterator[Account]:
    """Serve Chat Completions on a free port of the loopback interface."""
    account = Account()

    async def complete(request: Request) -> Response:
        return await _complete(account, await request.json(), request)

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        account.url = f"http://{host}:{port}/v1"
        yield account
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


async def _complete(account: Account, body: Json, request: Request) -> Response:
    texts = [_text(message["content"]) for message in body["messages"]]
    key, _, said = texts[-1].partition(": ")
    how = key.split()[0]
    entry = Entry(how, body["model"])
    account.entries.append(entry)
    if how == "retry" and key not in account.tried:
        account.tried.add(key)
        return JSONResponse({"error": {"message": "Busy.", "code": "server_error"}}, 500)
    if how == "fallback" and body["model"] == FIRST:
        return JSONResponse({"error": {"message": "Busy.", "code": "rate_limit_exceeded"}}, 429)
    entry.input = sum(map(tokens, texts))
    most: int = body.get("max_completion_tokens") or body["max_tokens"]
    pieces = re.findall(r"\S+\s*", said)[:most]
    if how == "whole" and "endless" in said:
        pieces = ["word "] * most
    if how == "hold":
        account.held.add(key)
        while not await request.is_disconnected():  # noqa: ASYNC110 - nobody else tells
            await asyncio.sleep(0.01)
        return Response()
    finish = "length" if len(pieces) == most else "stop"
    if not body.get("stream"):
        return JSONResponse(_whole(entry, pieces, finish))
    if how in ("cut", "leave"):
        pieces = pieces[: len(pieces) // 2 + 1]
    return StreamingResponse(_stream(account, entry, key, pieces), media_type="text/event-stream")


def _usage(entry: Entry, pieces: list[str]) -> Json:
    entry.reported = True
    entry.output = tokens("".join(pieces))
    entry.cached = entry.input // 2
    return {
        "prompt_tokens": entry.input,
        "completion_tokens": entry.output,
        "total_tokens": entry.input + entry.output,
        "prompt_tokens_details": {"cached_tokens": entry.cached},
    }


def _whole(entry: Entry, pieces: list[str], finish: str) -> Json:
    message = {"role": "assistant", "content": "".join(pieces)}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    head = {"id": "c1", "object": "chat.completion", "created": 1, "model": entry.model}
    return {**head, "choices": [choice], "usage": _usage(entry, pieces)}


async def _stream(
    account: Account, entry: Entry, key: str, pieces: list[str]
) -> AsyncIterator[bytes]:
    def event(delta: Json, finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": entry.model}
        return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n".encode()

    account.sent[key] = "".join(pieces)
    yield event({"role": "assistant", "content": ""})
    for piece in pieces:
        yield event({"content": piece})
    if entry.how == "leave":
        entry.output = tokens("".join(pieces))
        await asyncio.sleep(60)
    if entry.how == "cut":
        # As if it were whole, but nobody says why it ends.
        entry.output = tokens("".join(pieces))
        return
    yield event({}, "stop")
    yield event({}, choices=[], usage=_usage(entry, pieces))
    yield b"data: [DONE]\n\n"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
