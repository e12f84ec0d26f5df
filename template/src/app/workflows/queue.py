"""Give workflows to the workers, within the transaction that makes the work necessary.

So there is no work that nobody does, and none for what was never stored. This side runs nothing:
it writes to the tables of DBOS, which is the engine, and whoever works reads them.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from dbos import DBOSClient, EnqueueOptions
from opentelemetry.context import get_current
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database

# One version for all: an update of the service goes on with what an older one began.
VERSION: Final = "app"


class Queue:
    """What is to be done, in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._client: DBOSClient | None = None
        self._opening = asyncio.Lock()

    async def add(
        self,
        connection: AsyncConnection,
        workflow: str,
        workflow_id: str,
        *arguments: Any,
        partition: str | None = None,
    ) -> None:
        """Queue a workflow, when the transaction of `connection` commits; the same id only once.

        `partition` is for a workflow that limits how much of one runs at once.
        """
        client = await self._open()
        options: EnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": workflow,
            "workflow_id": workflow_id,
            "app_version": VERSION,
            # Nothing is noted where nobody traces.
            "otel_context": get_current(),
        }
        if partition is not None:
            options["queue_partition_key"] = partition
        await connection.run_sync(client.enqueue_in_transaction, options, *arguments)

    async def cancel(self, *workflow_ids: str) -> None:
        """Break off what runs of these, and what they have begun."""
        client = await self._open()
        await client.cancel_workflows_async(list(workflow_ids), cancel_children=True)

    async def remove(self, *workflow_ids: str) -> None:
        """Cancel what still runs of these, and forget that they, and what they began, ever were."""
        if workflow_ids:
            client = await self._open()
            await client.cancel_workflows_async(list(workflow_ids), cancel_children=True)
            await client.delete_workflows_async(list(workflow_ids), delete_children=True)

    def close(self) -> None:
        """Close the engine's own connections."""
        if self._client:
            self._client.destroy()

    async def _open(self) -> DBOSClient:
        async with self._opening:
            self._client = self._client or await self._connect()
        return self._client

    async def _connect(self) -> DBOSClient:
        url = (await self._database.url()).render_as_string(hide_password=False)
        return await asyncio.to_thread(
            DBOSClient,
            system_database_url=url,
            system_database_pool_size=1,
            lazy=True,
            retry_connection_errors=False,
        )


@contextmanager
def open_queue(database: Database) -> Generator[Queue]:
    """Give the queue in `database`; nothing is connected yet."""
    queue = Queue(database)
    try:
        yield queue
    finally:
        queue.close()
