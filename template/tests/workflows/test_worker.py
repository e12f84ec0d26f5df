"""Workflows run, are broken off, and go on."""

import asyncio
from contextlib import suppress

import pytest
from dbos import DBOS
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database, open_database
from app.db.migrate import migrate
from app.db.settings import DatabaseSettings
from app.workflows.queue import Queue
from app.workflows.settings import WorkerSettings
from app.workflows.worker import Worker, Workflow

from app.errors import Unavailable
from tests.db.conftest import blank_database
from tests.workflows.conftest import EAGER, add, statuses, until

__all__ = ["blank_database"]
pytestmark = pytest.mark.anyio


class Work:
    """Does two steps and notes each; the second waits until it may be done."""

    def __init__(self, *, may_end: bool = True) -> None:
        self.noted: list[str] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        if may_end:
            self.may_end.set()

    async def run(self, argument: str) -> None:
        await DBOS.run_step_async({"name": "first"}, self.first, argument)
        await DBOS.run_step_async({"name": "second"}, self.second, argument)

    async def first(self, argument: str) -> None:
        self.noted.append(f"first {argument}")

    async def second(self, argument: str) -> None:
        self.noted.append(f"second {argument}")
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.noted.append("broken off")
            raise


def worker_of(database: Database, work: Work, settings: WorkerSettings = EAGER) -> Worker:
    return Worker(database, settings, [Workflow("work", work.run)])


async def test_a_chore_that_fails_stops_no_workflow(database: Database, queue: Queue) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    work, chores = Work(may_end=False), Work()
    await add(database, queue, "one", "a")
    done = [fail, lambda: chores.first("chore")]
    worker = Worker(database, EAGER, [Workflow("work", work.run)], done)
    with capture_logs() as logs:
        async with worker.working():
            async with asyncio.timeout(20):
                await work.begun.wait()
            count = len(chores.noted)

            async def goes_on() -> bool:
                return len(chores.noted) > count + 1

            await until(goes_on)
            assert "broken off" not in work.noted
    assert "a chore failed" in {line["event"] for line in logs}


async def test_what_is_queued_runs_with_its_arguments(database: Database, queue: Queue) -> None:
    work = Work()
    await add(database, queue, "one", "a")
    async with worker_of(database, work).working():
        await add(database, queue, "two", "b")

        async def both() -> bool:
            return await statuses(database) == {"one": "SUCCESS", "two": "SUCCESS"}

        await until(both)
    assert sorted(work.noted) == ["first a", "first b", "second a", "second b"]


async def test_what_nobody_waits_for_is_looked_for_less_often(
    database: Database, queue: Queue
) -> None:
    work, rare = Work(), Work()
    async with database.begin() as connection:
        await queue.add(connection, "rare", "rare", "r")
    both = [Workflow("work", work.run), Workflow("rare", rare.run, poll_factor=100_000)]
    async with Worker(database, EAGER, both).working():
        for name in "abc":
            work.begun.clear()
            await add(database, queue, name, name)
            async with asyncio.timeout(20):
                await work.begun.wait()
    assert rare.noted == []


async def test_what_a_stopped_worker_breaks_off_goes_on_after_its_last_step(
    database: Database, queue: Queue
) -> None:
    work = Work(may_end=False)
    await add(database, queue, "one", "a")
    async with worker_of(database, work).working(), asyncio.timeout(20):
        await work.begun.wait()
    assert work.noted == ["first a", "second a", "broken off"]
    work.may_end.set()
    async with worker_of(database, work).working():

        async def done() -> bool:
            return await statuses(database) == {"one": "SUCCESS"}

        await until(done)
    assert work.noted == ["first a", "second a", "broken off", "second a"]


async def test_a_stopped_worker_leaves_the_event_loop_its_threads(database: Database) -> None:
    async with worker_of(database, Work()).working():
        await until(lambda: launched(database))
    assert await asyncio.to_thread(lambda: "done") == "done"


async def launched(database: Database) -> bool:
    """Tell whether a worker is present."""
    async with database.begin() as connection:
        query = "SELECT count(*) FROM dbos.queues WHERE name = 'work'"
        return bool(await connection.scalar(text(query)))


async def test_a_workflow_that_fails_is_noted_and_ends_nothing_else(
    database: Database, queue: Queue
) -> None:
    async def run(divisor: int) -> None:
        assert 1 / divisor

    await add(database, queue, "one", 0)
    await add(database, queue, "two", 1)
    async with Worker(database, EAGER, [Workflow("work", run)]).working():

        async def both() -> bool:
            return await statuses(database) == {"one": "ERROR", "two": "SUCCESS"}

        await until(both)


async def test_a_worker_stops_also_where_its_cancellation_got_lost() -> None:
    """As it may in a wait for the database, in Python 3.11."""
    asked = asyncio.Event()

    class Deaf(Database):
        async def check(self, *, thorough: bool = False) -> str:
            asked.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            raise Unavailable("It is away.")

    worker = Worker(Deaf(DatabaseSettings(), 1), EAGER, [])
    async with asyncio.timeout(10), worker.working():
        await asked.wait()


async def test_no_more_run_at_once_than_are_allowed(database: Database, queue: Queue) -> None:
    running, most = 0, 0

    async def run(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    for number in range(6):
        await add(database, queue, f"number-{number}", number)
    settings = EAGER.model_copy(update={"concurrency": 2})
    async with Worker(database, settings, [Workflow("work", run)]).working():

        async def all_done() -> bool:
            return set((await statuses(database)).values()) == {"SUCCESS"}

        await until(all_done)
    assert most == 2


async def test_a_worker_says_why_it_cannot_work_and_begins_when_it_can(
    blank_database: str,
) -> None:
    settings = DatabaseSettings(url=SecretStr(blank_database))
    async with open_database(settings) as database:
        worker = worker_of(database, Work())

        async def problem() -> str | None:
            try:
                await worker.check()
            except Unavailable as error:
                return error.detail
            return None

        async def unusable() -> bool:
            return await problem() is not None

        async def usable() -> bool:
            return await problem() is None

        async with worker.working():
            await until(unusable)
            assert "out of date" in str(await problem())
            await migrate(blank_database)
            await until(usable)


async def test_a_service_without_a_worker_says_who_works(database: Database) -> None:
    settings = WorkerSettings(in_process=False)
    assert "poe worker" in await worker_of(database, Work(), settings).check()
