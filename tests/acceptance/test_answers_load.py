"""Two hundred answers on their way at once, and five connections to the database."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from stubs import ChatCompletions, Reply

from acceptance.databases import Postgres, data_folder, postgres
from acceptance.services import KEY, running, service_with
from answers import label
from conftest import Install
from projects import environment, python, run

AT_ONCE = 200
# So many look for their sources at the same time; all 200 could take longer than one waits for a
# connection.
BEGINNING = 20
FULL = service_with("openai", rag=True)
SENTENCE = "Deliveries reach the island of Fogo every second Tuesday."
DOCUMENT = {"title": "Deliveries", "text": SENTENCE}
ASKED = {"question": "When do deliveries reach Fogo?", "stream": True}
OTHERS: list[tuple[str, str, Any]] = [
    ("GET", "/v1/documents", None),
    ("POST", "/v1/search", {"query": "island deliveries"}),
    ("GET", "/health/ready", None),
]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(FULL))]


@dataclass
class HeldModel:
    """A provider that says a sentence, and goes on when it is released.

    The stub looks for its gate again and again, which for 200 answers would take a processor.
    """

    released: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.asked += 1
        wire = ChatCompletions(Reply(), json.loads(body))

        async def write(*events: bytes) -> None:
            data = b"".join(events)
            await send({"type": "http.response.body", "body": data, "more_body": True})

        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await write(*wire.start(), wire.piece("They come on Tuesdays. "))
        await self.released.wait()
        await write(wire.piece(f'<cite source="1">{SENTENCE}</cite>'), *wire.end())
        await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        config = uvicorn.Config(self, port=port, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        try:
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            yield
        finally:
            self.released.set()
            server.should_exit = True
            await task


def test_two_hundred_streams_hold_none_of_five_connections(
    install: Install, tmp_path: Path
) -> None:
    project = install(FULL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with data_folder() as folder, postgres(project, folder) as database:
        settings = {
            "DATABASE__URL": database.url,
            "DATABASE__POOL_SIZE": "5",
            "SECURITY__MAX_CONCURRENT_REQUESTS": str(AT_ONCE + 10),
            "LLM__MAX_CONCURRENCY": str(AT_ONCE),
            "LLM__MODEL": "openai-chat:held",
            "LLM__BASE_URL": f"http://127.0.0.1:{port}/v1",
        }
        run(python(project), "-m", "app", "migrate", cwd=tmp_path, env=environment(**settings))
        with running(project, tmp_path / "log", **settings) as service:
            asyncio.run(_ask_and_look(service.address, port, database))
        log = (tmp_path / "log").read_text()
        assert [line for line in log.splitlines() if '"level": "error"' in line] == []


async def _ask_and_look(address: str, port: int, database: Postgres) -> None:
    model = HeldModel()
    client = httpx2.AsyncClient(
        base_url=address,
        headers={"Authorization": f"Bearer {KEY}"},
        limits=httpx2.Limits(max_connections=None),
        timeout=60,
    )
    async with asyncio.timeout(120), client, model.serving(port):
        await _ingest(client)
        begun = asyncio.Semaphore(BEGINNING)
        async with asyncio.TaskGroup() as clients:
            answers = []
            for _ in range(AT_ONCE):
                await begun.acquire()
                answers.append(clients.create_task(_answer(client, begun)))
            for _ in range(BEGINNING):
                await begun.acquire()
            assert model.asked == AT_ONCE
            (now,) = await asyncio.to_thread(database.rows, "SELECT now() AS at")
            for method, path, body in OTHERS * 5:
                asked = time.monotonic()
                answer = await client.request(method, path, json=body)
                assert answer.status_code == 200, answer.text
                # Who waits for a connection that is held waits for five seconds, and in vain.
                assert time.monotonic() - asked < 2, path
            assert await asyncio.to_thread(database.rows, _OPEN_SINCE, now["at"]) == []
            assert not any(answer.done() for answer in answers)
            model.released.set()
        for task in answers:
            name, answered = task.result()
            assert name == "done"
            assert answered["answer"] == "They come on Tuesdays. [1]"
            assert [cited["quote"] for cited in answered["citations"]] == [SENTENCE]


async def _ingest(client: httpx2.AsyncClient) -> None:
    added = (await client.post("/v1/documents", json=DOCUMENT)).json()
    while added["status"] != "ready":
        assert added["status"] in ("queued", "running"), added
        await asyncio.sleep(0.05)
        added = (await client.get(f"/v1/documents/{added['id']}")).json()


async def _answer(client: httpx2.AsyncClient, begun: asyncio.Semaphore) -> tuple[str, Any]:
    """Read a stream to its end, and tell when its first words are there; return its last event."""
    name, data = "", None
    async with client.stream("POST", "/v1/answers", json=ASKED) as stream:
        assert stream.status_code == 200, await stream.aread()
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                waiting = name != "delta"
                name = line.removeprefix("event: ")
                if name == "delta" and waiting:
                    begun.release()
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
    return name, data


# The worker's engine has connections beside the pool, and a transaction on one that is its lock.
_OPEN_SINCE = """
    SELECT pid, state, query FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND application_name <> 'dbos_transact' AND xact_start < CAST(%s AS timestamptz)"""
