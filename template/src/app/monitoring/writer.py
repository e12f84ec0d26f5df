"""Write rows behind the answers: nobody waits for the database, or fails with it.

A row is handed over and waits in memory, up to a bound, for one task that writes what has come
meanwhile. Where the database is away rows are kept, and written later.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice
from typing import Final, Generic, TypeVar

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from app.checks import Degraded
from app.errors import ServiceError, Unavailable

# A database that takes longer is away.
_PATIENCE_SECONDS: Final = 10.0
# What comes within so long is written together.
_PAUSE_SECONDS: Final = 0.1
_MOST_WAITING: Final = 10_000
_MOST_AT_ONCE: Final = 500
_log = structlog.stdlib.get_logger("app.monitoring")

Row = TypeVar("Row")


@contextmanager
def tolerating(what: str) -> Iterator[None]:
    """Have work that fails for the database's sake be left until later: others go on."""
    try:
        yield
    except (Unavailable, DBAPIError) as error:
        _log.warning(f"left until later: {what}", error=type(error).__name__)


class Writer(Generic[Row]):
    """Takes rows of `table` at once, and has them written by `write` as soon as that is possible.

    `lose` is told how many could not be written at all.
    """

    def __init__(
        self,
        table: str,
        write: Callable[[list[Row]], Awaitable[None]],
        *,
        lose: Callable[[int], None] = lambda count: None,
        retry_seconds: float = 1,
    ) -> None:
        self._table = table
        self._insert = write
        self._tell_lost = lose
        self._retry_seconds = retry_seconds
        self._waiting: dict[Hashable, Row] = {}
        self._given, self._closing, self._round = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._size = _MOST_AT_ONCE
        self._lost = 0
        self._problem: str | None = None

    @property
    def is_away(self) -> bool:
        """Say whether the database could not be used the last time that it was needed."""
        return self._problem is not None

    def put(self, key: Hashable, row: Row, *, counts: bool = True) -> None:
        """Take a row, in place of the one with this key that still waits; never waits itself.

        Where too many wait it is lost, which is told only of a row that `counts`.
        """
        if key in self._waiting or len(self._waiting) < _MOST_WAITING:
            self._waiting[key] = row
            self._given.set()
        elif counts:
            self._lose(1)

    async def flush(self, seconds: float = 1) -> None:
        """Wait until what has been put so far is written; so long at most."""
        now = list(self._waiting.items())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(self._waiting.get(key) is row for key, row in now):
                    await self._round.wait()

    def check(self) -> str:
        """Say how many rows wait or were lost; raise `Degraded` while none can be written."""
        state = f"{len(self._waiting)} rows wait, {self._lost} are lost"
        if self._problem:
            raise Degraded(f"{self._problem} Of {self._table} {state}.")
        return state

    @asynccontextmanager
    async def writing(self, closing_seconds: float = 5) -> AsyncGenerator[None]:
        """Write what is put, until the body ends; and then what is left, for a few seconds."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._closing.set()
            self._given.set()
            await asyncio.wait({task}, timeout=closing_seconds)
            if task.cancel():
                await asyncio.wait({task}, timeout=closing_seconds)
            if self._waiting:
                self._lose(len(self._waiting))

    async def _run(self) -> None:
        while self._waiting or not self._closing.is_set():
            if not self._waiting:
                self._given.clear()
                await self._given.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_SECONDS):
                    await self._closing.wait()
            some = list(islice(self._waiting.items(), self._size))
            if not await self._write([row for _, row in some]):
                continue
            for key, row in some:
                # Another one may have taken its place meanwhile.
                if self._waiting[key] is row:
                    del self._waiting[key]
            self._round.set()
            self._round = asyncio.Event()

    async def _write(self, rows: list[Row]) -> bool:
        """Write rows; say whether that is settled, one way or the other."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._insert(rows)
        except (DataError, IntegrityError) as error:
            # Fewer and fewer are written together, until it is known which one cannot be.
            self._size = max(1, len(rows) // 2)
            if len(rows) > 1:
                return False
            _log.error("a row cannot be stored", table=self._table, error=type(error).__name__)
            self._lose(1)
        except Exception as error:
            self._fail(error)
            await asyncio.sleep(self._retry_seconds)
            return False
        else:
            self._size = min(_MOST_AT_ONCE, 2 * self._size)
        if self._problem:
            _log.info("rows are written again", table=self._table)
        self._problem = None
        return True

    def _fail(self, error: Exception) -> None:
        why = error.detail if isinstance(error, ServiceError) else "The database fails."
        if why != self._problem:
            told = {"table": self._table, "why": why, "error": type(error).__name__}
            _log.error("rows cannot be written", **told)
        self._problem = why

    def _lose(self, count: int) -> None:
        if not self._lost:
            _log.error("rows are lost", table=self._table)
        self._lost += count
        self._tell_lost(count)
