"""Databases of a service to measure, on an embedded Postgres, and documents ingested into them.

Runs in the environment of a generated service, whose own code does all of it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from app.db.embedded import EmbeddedPostgres
from app.db.migrate import migrate
from app.rag.documents import NewDocument

from app.resources import open_resources
from app.settings import Settings
from app.telemetry import configure_logs

MOST_SECONDS = 300
_PAGE_BYTES = 8_192


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server with its data below `folder` through the body; give its address.

    It has a quarter of the machine's memory, as its manual says, where it comes with 128 MB.
    """
    configure_logs("ERROR", "console")
    server = EmbeddedPostgres(folder / "data")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // _PAGE_BYTES
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET shared_buffers = {pages}")
    server.leave()
    server = EmbeddedPostgres(folder / "data")
    try:
        yield server.url
    finally:
        server.leave()


def create(server: str, name: str) -> str:
    """Create a database with the service's tables; return its address."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url: str = make_url(server).set(database=name).render_as_string(hide_password=False)
    asyncio.run(migrate(url))
    return url


def drop(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def resources(url: str, **rag: Any) -> Any:
    """Open what the service holds open, with these settings of the documents."""
    settings = {"embedding_model": "offline", **rag}
    return open_resources(Settings(_env_file=None, database={"url": url}, rag=settings))


async def ingest(service: Any, texts: Sequence[str]) -> tuple[dict[str, int], float]:
    """Ingest texts by the queue and the worker; return document -> place, and seconds.

    The seconds go from the first document that is given in until the last one can be found.
    """
    async with service.worker.working(), asyncio.timeout(MOST_SECONDS):
        # The worker has started when it has the first one ready; that is not counted.
        await _wait(service, [await _add(service, "The first of all documents.", "warm")])
        started = time.perf_counter()
        ids = [await _add(service, text, str(place)) for place, text in enumerate(texts)]
        await _wait(service, ids)
        seconds = time.perf_counter() - started
    return {str(id): place for place, id in enumerate(ids)}, seconds


async def _add(service: Any, text: str, source: str) -> Any:
    new = NewDocument(title="", content=text.encode(), media_type="text/plain", source_id=source)
    return (await service.documents.add("ann", new)).id


async def _wait(service: Any, ids: Sequence[Any]) -> None:
    pending = list(ids)
    while pending:
        await asyncio.sleep(0.1)
        await service.worker.check()
        for document in await service.documents.find("ann", pending):
            if document.status == "failed":
                raise RuntimeError(f"A document failed: {document.error}")
            if document.status == "ready":
                pending.remove(document.id)
