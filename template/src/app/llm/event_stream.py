"""Answer for as long as the client is there, and stream events to it as they come.

A client that leaves ends the work for it at once. Everything runs in the task of the request, with
one more that listens and keeps the connection alive: none for each event.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import ServiceError

Write = Callable[[bytes], Awaitable[None]]
Produce = Callable[[Write], Awaitable[None]]
Failed = Callable[[ServiceError], bytes]

HEARTBEAT = b": ping\n\n"


@asynccontextmanager
async def while_connected(gone: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Run the body until `gone` returns; what is left of the body is then cancelled and skipped."""

    async def watch() -> None:
        await gone()
        presence.reschedule(0)

    try:
        async with asyncio.timeout(None) as presence:
            watching = asyncio.create_task(watch())
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError:
        if not presence.expired():
            raise


async def disconnected(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events, written by `produce`, with a comment every `heartbeat_seconds`.

    The status is sent with whatever comes first. What `produce` raises before is answered as
    anywhere else; later a `ServiceError` becomes the event that `failed` makes of it.
    """

    media_type = "text/event-stream"

    def __init__(self, produce: Produce, failed: Failed, heartbeat_seconds: float = 10) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self._produce = produce
        self._failed = failed
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def write(events: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                head = {"status": self.status_code, "headers": self.raw_headers}
                await send({"type": "http.response.start", **head})
            await send({"type": "http.response.body", "body": events, "more_body": True})

        async def attend() -> None:
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await disconnected(receive)
                    return
                except TimeoutError:
                    await write(HEARTBEAT)

        async with while_connected(attend):
            try:
                await self._produce(write)
            except ServiceError as error:
                if not started:
                    raise
                await write(self._failed(error))
            except Exception:
                if started:
                    await write(self._failed(ServiceError("Something failed here.")))
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})
