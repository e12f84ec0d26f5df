"""A server on this machine that receives what `notify` sends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SECRET = "a-path-that-is-secret"


@dataclass
class Received:
    """What arrived at an address, and the status that it answers with; without one, not at all."""

    url: str = ""
    status: int | None = 200
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, str]] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        lines = [line for head in self.heads for line in head.splitlines()]
        return [line.partition(": ")[2] for line in lines if line.startswith("Idempotency-Key")]


@asynccontextmanager
async def receiving(status: int | None = 200) -> AsyncIterator[Received]:
    """Listen on a free port of this machine."""
    received = Received(status=status)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].splitlines()[0])
        received.bodies.append(json.loads(await reader.readexactly(length)))
        received.heads.append(head)
        if received.status:
            location = f"Location: {received.url}/again\r\n"
            writer.write(f"HTTP/1.1 {received.status} So\r\n{location}".encode())
            writer.write(b"Content-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        received.url = f"http://127.0.0.1:{port}/{SECRET}"
        yield received
