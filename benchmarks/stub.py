"""A model server that costs next to nothing: 40 tokens, 5 ms apart, as OpenAI streams them.

The variable `STREAM_TOKENS` says how many, where it is not 40.

Run as a process: `python stub.py PORT`. It writes prepared bytes and reads no JSON, so that what
is measured is the service before it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import cast

import uvloop

TOKENS = int(os.environ.get("STREAM_TOKENS", "40"))
SECONDS_A_TOKEN = 0.005


def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    """Return one event as a part of a chunked HTTP body."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    return framed(f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode())


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunk({"role": "assistant", "content": ""})
)
PIECES = [chunk({"content": f" token{number}"}) for number in range(TOKENS)]
END = chunk({}, "stop") + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.unread += data
        head, found, body = self.unread.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if found and len(body) >= int(length.split(b"\r\n")[0]):
            self.unread = b""
            self.transport.write(HEAD)
            self.loop.call_later(SECONDS_A_TOKEN, self.write_piece, 0)

    def write_piece(self, number: int) -> None:
        if self.transport.is_closing():
            return
        if number == TOKENS:
            self.transport.write(END)
            return
        self.transport.write(PIECES[number])
        self.loop.call_later(SECONDS_A_TOKEN, self.write_piece, number + 1)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
