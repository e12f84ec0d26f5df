"""Work belongs to what asked for it, however much later it is done, and by whom."""

from typing import Any

import pytest

from app.db.engine import Database
from app.db.settings import DatabaseSettings
from app.monitoring import names
from app.monitoring.traces import Monitor
from app.monitoring.workflows import monitored
from app.workflows.queue import Queue
from app.workflows.worker import Worker, Workflow

from app.errors import Unavailable
from tests.monitoring.conftest import Noted, attributes
from tests.monitoring.watching import monitor
from tests.workflows.conftest import EAGER, add, database, queue, statuses, until

__all__ = ["database", "monitor", "queue"]
pytestmark = pytest.mark.anyio


async def done(
    database: Database, monitor: Monitor, *, fails: bool = False, origins: Database | None = None
) -> None:
    """Do what is queued, until there is nothing left."""

    async def run(argument: str) -> None:
        with monitor.watch(names.EXECUTE_TOOL, argument, {}):
            if fails:
                raise ValueError("canary")

    async def all_is_done() -> bool:
        return not {"ENQUEUED", "PENDING"} & set((await statuses(database)).values())

    workflow = monitored(Workflow("work", run), monitor, origins or database)
    async with Worker(database, EAGER, [workflow]).working():
        await until(all_is_done)


async def test_work_goes_on_with_the_trace_of_what_asked_for_it(
    database: Database, queue: Queue, monitor: Monitor, noted: Noted
) -> None:
    with monitor.watch(names.EXECUTE_TOOL, "request", {}):
        await add(database, queue, "one", "a")
    await done(database, monitor)
    work = noted.span("invoke_workflow work")
    assert noted.parent(work) == "execute_tool request"
    assert noted.parent(noted.span("execute_tool a")) == "invoke_workflow work"
    assert attributes(work)[names.WORKFLOW_ID] == "one"
    assert noted.counts(names.AGENT_DURATION, names.WORKFLOW) == {"work": 1}


async def test_work_that_nobody_traced_begins_a_trace(
    database: Database, queue: Queue, monitor: Monitor, noted: Noted
) -> None:
    await add(database, queue, "one", "a")
    await done(database, monitor)
    assert noted.parent(noted.span("invoke_workflow work")) is None


async def test_work_is_done_also_where_nobody_can_say_who_asked_for_it(
    database: Database, queue: Queue, monitor: Monitor
) -> None:
    await add(database, queue, "one", "a")

    class Away(Database):
        def begin(self, *, snapshot: bool = False) -> Any:
            raise Unavailable("The database cannot be used.")

    away = Away(DatabaseSettings(), 1)
    await done(database, monitor, origins=away)
    assert await statuses(database) == {"one": "SUCCESS"}


async def test_work_that_fails_is_noted_without_what_it_says(
    database: Database, queue: Queue, monitor: Monitor, noted: Noted
) -> None:
    await add(database, queue, "one", "a")
    await done(database, monitor, fails=True)
    assert attributes(noted.span("invoke_workflow work"))[names.ERROR] == "ValueError"
    assert "canary" not in noted.everything()
