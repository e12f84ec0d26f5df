"""Take over what dead processes have left, and only that.

DBOS notes which process runs a workflow, but nobody looks whether that process lives. So each one
holds an advisory lock of its own, which Postgres frees when its connection ends: whoever can take
the lock of another knows that it is dead, and queues its workflows again.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from dbos import DBOS
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

_log = structlog.stdlib.get_logger("app.workflows")
_KEY = "hashtextextended('worker ' || :executor, 0)"


class Presence:
    """Shows that the process `executor` lives, for as long as its connection does."""

    def __init__(self, connection: AsyncConnection, executor: str) -> None:
        self._connection = connection
        self._executor = executor

    async def recover(self) -> None:
        """Queue what dead processes left; raise where this one's connection has ended."""
        query = "SELECT DISTINCT executor_id FROM dbos.workflow_status WHERE status = 'PENDING'"
        executors = await self._connection.scalars(text(query))
        for executor in set(executors) - {self._executor}:
            if await self._ask(f"SELECT pg_try_advisory_lock({_KEY})", executor):
                try:
                    await _requeue(executor)
                finally:
                    await self._ask(f"SELECT pg_advisory_unlock({_KEY})", executor)

    async def _ask(self, query: str, executor: str) -> bool | None:
        result: bool | None = await self._connection.scalar(text(query), {"executor": executor})
        return result

    async def show(self) -> None:
        await self._ask(f"SELECT true FROM pg_advisory_lock({_KEY})", self._executor)


async def _requeue(executor: str) -> None:
    left = await DBOS.list_workflows_async(
        executor_id=executor, status="PENDING", load_input=False, load_output=False
    )
    by_queue: dict[str | None, list[str]] = defaultdict(list)
    for workflow in left:
        by_queue[workflow.queue_name].append(workflow.workflow_id)
    for queue, ids in by_queue.items():
        await DBOS.resume_workflows_async(ids, queue_name=queue)
    _log.warning("workflows of a process that has ended are queued again", count=len(left))


@asynccontextmanager
async def present(url: URL, executor: str) -> AsyncGenerator[Presence]:
    """Hold the lock of `executor` on a connection of its own to the Postgres at `url`."""
    engine = create_async_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
    )
    async with engine.connect() as connection:
        presence = Presence(connection, executor)
        await presence.show()
        yield presence
