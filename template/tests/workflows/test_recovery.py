"""What dead processes left is done by others; what a living one does is not touched."""

import asyncio

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.workflows.queue import Queue
from app.workflows.recovery import present
from app.workflows.worker import Worker, Workflow

from tests.workflows.conftest import EAGER, add, until

pytestmark = pytest.mark.anyio


async def begun_by(executor: str, database: Database, queue: Queue) -> None:
    """Leave a workflow as a process does that has begun it: its id is the executor's."""
    await add(database, queue, executor, executor)
    begin = """UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = :executor
        WHERE workflow_uuid = :executor"""
    async with database.begin() as connection:
        await connection.execute(text(begin), {"executor": executor})


async def test_only_what_dead_processes_left_is_taken_over(
    database: Database, queue: Queue
) -> None:
    ran: list[str] = []

    async def run(executor: str) -> None:
        ran.append(executor)

    async def all_dead() -> bool:
        return {"dead", "dead too"} <= set(ran)

    async def all_of_them() -> bool:
        return {"dead", "dead too", "living"} <= set(ran)

    for executor in ("living", "dead", "dead too"):
        await begun_by(executor, database, queue)
    async with Worker(database, EAGER, [Workflow("work", run)]).working():
        async with present(await database.url(), "living"):
            await until(all_dead)
            assert "living" not in ran
        await until(all_of_them)
    assert sorted(ran) == ["dead", "dead too", "living"]


async def test_a_process_is_present_until_its_connection_ends(database: Database) -> None:
    url = await database.url()
    async with present(url, "one"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), present(url, "one"):
                pass
    async with asyncio.timeout(5), present(url, "one"):
        pass


async def test_a_worker_whose_presence_was_ended_begins_again_as_another(
    database: Database, queue: Queue
) -> None:
    ran = asyncio.Event()

    async def run() -> None:
        ran.set()

    holders = """SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE locktype = 'advisory' AND datname = current_database()"""

    async def holder() -> int | None:
        async with database.begin() as connection:
            pid: int | None = await connection.scalar(text(holders))
            return pid

    async def another() -> bool:
        return await holder() not in (None, first)

    async def is_present() -> bool:
        return await holder() is not None

    async with Worker(database, EAGER, [Workflow("work", run)]).working():
        await until(is_present)
        first = await holder()
        async with database.begin() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
        await until(another)
        await add(database, queue, "one")
        async with asyncio.timeout(20):
            await ran.wait()
