"""Work the queues, in this process: the service's own or one that does nothing else.

DBOS runs the workflows as tasks of this process's event loop, and writes down each step that is
done. A worker that stops breaks off what it runs; it, or another, goes on after the last step.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig
from dbos import error as dbos
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database
from app.workflows.queue import VERSION
from app.workflows.recovery import present
from app.workflows.settings import WorkerSettings

from app.errors import ServiceError, Unavailable

Run = Callable[..., Coroutine[Any, Any, Any]]
_log = structlog.stdlib.get_logger("app.workflows")
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Workflow:
    """What is run for each entry of the queue `name`; it may be broken off and begun again.

    With `partition_concurrency` each entry is in a partition, of which so many run at once. What
    nobody waits for is looked for less often, every `poll_seconds` of the settings `poll_factor`
    times: looking is most of what a process costs that has nothing to do.
    """

    name: str
    run: Run
    partition_concurrency: int | None = None
    poll_factor: int = 1


class Worker:
    """Runs workflows from `database`. There is one in a process, for DBOS is one."""

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        workflows: Sequence[Workflow],
        chores: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        self._database = database
        self._settings = settings
        self._workflows = workflows
        # Done every now and then, by each process that works.
        self._chores = chores
        self._tasks: set[asyncio.Task[Any]] = set()
        self._problem: str | None = None

    async def check(self, *, thorough: bool = False) -> str:
        """Say who works; raise while this process should, and cannot."""
        if self._problem:
            raise Unavailable(self._problem)
        return "this process" if self._settings.in_process else "another process: poe worker"

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Work until the body ends; start again where the database was away."""
        working = asyncio.create_task(self._keep_working())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait({working})

    async def _keep_working(self) -> None:
        while not _is_cancelled():
            try:
                await self._work()
            except ServiceError as error:
                self._problem = error.detail
                _log.warning("the worker cannot work", why=self._problem)
            except DBAPIError as error:
                self._problem = "The database cannot be used."
                _log.warning("the worker cannot work", error=type(error).__name__)
            except Exception:
                self._problem = "The worker failed; its logs say why."
                _log.exception("the worker failed")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _work(self) -> None:
        await self._database.check()
        url, executor = await self._database.url(), uuid.uuid4().hex
        async with present(url, executor) as presence:
            try:
                self._launch(url.render_as_string(hide_password=False), executor)
                for workflow in self._workflows:
                    await DBOS.register_queue_async(
                        workflow.name,
                        worker_concurrency=self._settings.concurrency,
                        partition_concurrency=workflow.partition_concurrency,
                        polling_interval_sec=self._settings.poll_seconds * workflow.poll_factor,
                        on_conflict="always_update",
                    )
                self._problem = None
                while not _is_cancelled():
                    await presence.recover()
                    for chore in self._chores:
                        await _do(chore)
                    await asyncio.sleep(self._settings.recover_seconds)
            finally:
                await self._stop()

    def _launch(self, url: str, executor: str) -> None:
        config = DBOSConfig(
            name="app",
            system_database_url=url,
            sys_db_pool_size=self._settings.concurrency + len(self._workflows),
            executor_id=executor,
            application_version=VERSION,
            run_migrations=False,
            log_level="WARNING",
        )
        # Its own handler would keep it from beginning where logs cannot be written.
        logs = logging.getLogger("dbos")
        logs.handlers, logs.propagate = [logging.NullHandler()], True
        logs.addFilter(_is_no_removal)
        DBOS(config=config)
        for workflow in self._workflows:
            DBOS.workflow(name=workflow.name)(self._noted(workflow.run))
        DBOS.listen_queues([workflow.name for workflow in self._workflows])
        # Blocks for a moment, but the loop that it is called from is where workflows then run.
        DBOS.launch()

    def _noted(self, run: Run) -> Run:
        async def run_noted(*arguments: Any) -> Any:
            task = asyncio.ensure_future(run(*arguments))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return await task

        return run_noted

    async def _stop(self) -> None:
        """Break off what runs: nothing of it may go on when the database has been closed."""
        threads = ThreadPoolExecutor()
        loop = asyncio.get_running_loop()
        # DBOS has put its own threads in their place, and ends those.
        loop.set_default_executor(threads)
        stopping = loop.run_in_executor(threads, partial(DBOS.destroy, destroy_registry=True))
        while not stopping.done() or self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait({stopping, *self._tasks}, timeout=0.05)
        # What was still running may have put them back.
        loop.set_default_executor(threads)
        await stopping


async def _do(chore: Callable[[], Awaitable[object]]) -> None:
    """Do a chore; what is wrong with one stops no workflow."""
    try:
        await chore()
    except (ServiceError, DBAPIError):
        raise
    except Exception:
        _log.exception("a chore failed")


def _is_cancelled() -> bool:
    """Say whether this task has been cancelled, also where nobody was told.

    psycopg waits with `wait_for`, and that of Python 3.11 loses a cancellation which comes together
    with data (bpo-42130).
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_no_removal(record: logging.LogRecord) -> bool:
    """Drop what DBOS logs for a workflow that was removed, or broken off by a stop."""
    removed = dbos.DBOSAwaitedWorkflowCancelledError | dbos.DBOSNonExistentWorkflowError
    if record.exc_info and isinstance(record.exc_info[1], removed):
        return False
    return not record.getMessage().startswith("Asyncio task cancelled")
