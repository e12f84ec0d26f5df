"""Streams as the server sees them: what is sent when, and what happens to the work."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from app.llm.event_stream import HEARTBEAT, EventStream, Write

from app.errors import ServiceError, Unavailable


class Connection:
    """The two ends that a server gives an application."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.wrote = asyncio.Event()
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.wrote.set()

    @property
    def events(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]

    async def run(self, stream: EventStream) -> None:
        await asyncio.wait_for(stream({"type": "http"}, self.receive, self.send), 5)


def failed(error: ServiceError) -> bytes:
    return f"error: {error.code}".encode()


def stream(produce: Any, **seconds: float) -> EventStream:
    return EventStream(produce, failed, **seconds)


@pytest.fixture
def connection() -> Connection:
    return Connection()


async def test_events_are_sent_one_by_one_and_the_end_after_them(connection: Connection) -> None:
    async def produce(write: Write) -> None:
        await write(b"one")
        await write(b"two")

    await connection.run(stream(produce))
    assert connection.sent[0]["status"] == 200
    assert connection.events == [b"one", b"two", b""]
    assert [message.get("more_body") for message in connection.sent[1:]] == [True, True, False]


async def test_no_proxy_may_hold_or_keep_a_stream(connection: Connection) -> None:
    async def produce(write: Write) -> None:
        await write(b"one")

    await connection.run(stream(produce))
    headers = dict(connection.sent[0]["headers"])
    assert headers == {
        b"cache-control": b"no-store",
        b"content-type": b"text/event-stream; charset=utf-8",
        b"x-accel-buffering": b"no",
    }


async def test_a_failure_before_the_first_event_still_has_a_status(connection: Connection) -> None:
    async def produce(write: Write) -> None:
        raise Unavailable("Not now.")

    with pytest.raises(Unavailable):
        await connection.run(stream(produce))
    assert connection.sent == []


async def test_a_failure_after_the_first_event_is_an_event(connection: Connection) -> None:
    async def produce(write: Write) -> None:
        await write(b"one")
        raise Unavailable("Not now.")

    await connection.run(stream(produce))
    assert connection.events == [b"one", b"error: unavailable", b""]


async def test_an_unexpected_failure_is_an_event_that_reveals_nothing(
    connection: Connection,
) -> None:
    async def produce(write: Write) -> None:
        await write(b"one")
        raise RuntimeError("internal")

    with pytest.raises(RuntimeError):
        await connection.run(stream(produce))
    assert connection.events == [b"one", b"error: internal_error"]


async def test_silence_is_filled_with_comments(connection: Connection) -> None:
    async def produce(write: Write) -> None:
        await write(b"one")
        while len(connection.events) < 3:
            connection.wrote.clear()
            await connection.wrote.wait()
        await write(b"two")

    await connection.run(stream(produce, heartbeat_seconds=0.01))
    assert connection.events == [b"one", HEARTBEAT, HEARTBEAT, b"two", b""]


async def test_a_stream_that_begins_late_begins_with_comments(connection: Connection) -> None:
    async def produce(write: Write) -> None:
        await connection.wrote.wait()
        raise Unavailable("Not now.")

    await connection.run(stream(produce, heartbeat_seconds=0.01))
    assert connection.events == [HEARTBEAT, b"error: unavailable", b""]


async def test_a_client_that_leaves_ends_the_work(connection: Connection) -> None:
    cancelled = asyncio.Event()

    async def produce(write: Write) -> None:
        await write(b"one")
        connection.left.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await connection.run(stream(produce))
    assert cancelled.is_set()
    assert connection.events == [b"one"]


async def test_a_server_that_stops_is_not_mistaken_for_a_client_that_leaves(
    connection: Connection,
) -> None:
    async def produce(write: Write) -> None:
        await write(b"one")
        await asyncio.Event().wait()

    serving = asyncio.create_task(connection.run(stream(produce)))
    await connection.wrote.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_nothing_runs_on_after_a_stream(connection: Connection) -> None:
    async def produce(write: Write) -> None:
        await write(b"one")

    before = asyncio.all_tasks()
    await connection.run(stream(produce))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
