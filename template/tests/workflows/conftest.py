"""What the tests of workflows share: a queue, and what to wait for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.db.engine import Database, open_database
from app.db.settings import DatabaseSettings
from app.workflows.queue import Queue, open_queue
from app.workflows.settings import WorkerSettings

# Looks for work all the time, for a test waits for it.
EAGER = WorkerSettings(poll_seconds=0.02, recover_seconds=0.05)


@pytest.fixture
async def database(fresh_database: str) -> AsyncIterator[Database]:
    async with open_database(DatabaseSettings(url=SecretStr(fresh_database))) as database:
        yield database


@pytest.fixture
def queue(database: Database) -> Iterator[Queue]:
    with open_queue(database) as queue:
        yield queue


async def add(database: Database, queue: Queue, workflow_id: str, *arguments: Any) -> None:
    """Queue a workflow called `work`."""
    async with database.begin() as connection:
        await queue.add(connection, "work", workflow_id, *arguments)


async def statuses(database: Database) -> dict[str, str]:
    """Return what DBOS has noted, by workflow id."""
    query = text("SELECT workflow_uuid, status FROM dbos.workflow_status")
    async with database.begin() as connection:
        return {row.workflow_uuid: row.status for row in await connection.execute(query)}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - nobody is told what changes in a database
            await asyncio.sleep(0.02)


async def outcomes(*asked: Coroutine[Any, Any, Any]) -> list[Any]:
    """Do all of them at once; return what each returned or raised."""
    return await asyncio.gather(*asked, return_exceptions=True)
