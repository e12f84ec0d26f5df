"""Fifty clients at once, on raw sockets: `python load.py PORT KEY STREAMS` prints what they saw.

Each keeps its connection and asks again as soon as it has a whole answer. An answer that is not
whole is an error, never a fast one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from typing import cast

import uvloop
from stub import TOKENS

AT_ONCE = 50
MOST_SECONDS = 120
BODY = {"model": "openai-chat:stub", "stream": True}
QUESTION = {"role": "user", "content": "Count to forty, and say each number as a token."}


class Asking(asyncio.Protocol):
    """One client; `left` is the number of streams that all of them have yet to ask for."""

    def __init__(self, request: bytes, left: list[int], done: asyncio.Event) -> None:
        self.request, self.left, self.done = request, left, done
        self.parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        if not self.left[0]:
            self.transport.close()
            return
        self.left[0] -= 1
        self.parts.clear()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        if data.endswith(b"0\r\n\r\n"):
            answer = b"".join(self.parts)
            whole = answer.count(b'"content":') >= TOKENS and b"data: [DONE]" in answer
            if not whole or b" token%d" % (TOKENS - 1) not in answer:
                raise SystemExit(f"This is no whole answer:\n{answer.decode()}")
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set()


async def main(port: int, key: str, streams: int) -> None:
    body = json.dumps({**BODY, "messages": [QUESTION]}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    request, left, loop = head.encode() + body, [streams], asyncio.get_running_loop()
    ends = [asyncio.Event() for _ in range(AT_ONCE)]
    started = time.perf_counter()
    for end in ends:
        await loop.create_connection(partial(Asking, request, left, end), "127.0.0.1", port)
    async with asyncio.timeout(MOST_SECONDS):
        for end in ends:
            await end.wait()
    seconds, own = time.perf_counter() - started, time.process_time()
    print(json.dumps({"seconds": seconds, "client_cpu_seconds": own}))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
