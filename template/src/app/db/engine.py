"""Connections to Postgres, made when they are first needed.

A connection belongs to whoever entered `begin`, for as long as that takes, and no longer: nothing
holds one while it waits for a model or for a client.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from psycopg.errors import InvalidSchemaName, UndefinedObject, UndefinedTable
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.embedded import EmbeddedPostgres
from app.db.migrate import migrate, outdated
from app.db.settings import DatabaseSettings

from app.errors import Unavailable

_log = structlog.stdlib.get_logger("app.db")


class Database:
    """One Postgres, and the connections of this process to it."""

    def __init__(self, settings: DatabaseSettings, wait_seconds: float) -> None:
        self._settings = settings
        self._wait_seconds = wait_seconds
        self._starting: asyncio.Task[EmbeddedPostgres] | None = None
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()
        self._is_current = False

    @asynccontextmanager
    async def begin(self, *, snapshot: bool = False) -> AsyncGenerator[AsyncConnection]:
        """Begin a transaction: committed in the end, or rolled back where the body raises.

        In a `snapshot` all statements see what was there when the first one began.
        Raises `Unavailable` where there is no database, or no free connection in time.
        """
        engine = await self._open()
        if snapshot:
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        try:
            async with engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, NoConnection) as error:
            busy = isinstance(error, NoConnection)
            cause = getattr(error, "orig", error)
            _log.warning("the database cannot be used", error=type(cause).__name__)
            why = "no connection is free" if busy else "it does not do what is asked"
            raise _unavailable(f"{why}; try again") from error
        except ProgrammingError as error:
            if not isinstance(error.orig, UndefinedTable | UndefinedObject | InvalidSchemaName):
                raise
            raise _unavailable("its tables are missing: python -m app migrate") from error

    async def url(self) -> URL:
        """Return its address with password, for psycopg; start it first where it is embedded."""
        return (await self._open()).url

    async def check(self, *, thorough: bool = False) -> str:
        """Say which database it is; raise where it is not there, or not migrated."""
        async with self.begin() as connection:
            await connection.execute(text("SELECT 1"))
            if not self._is_current and (behind := await connection.run_sync(outdated)):
                names = ", ".join(behind)
                raise Unavailable(f"The tables of {names} are out of date: python -m app migrate.")
        self._is_current = True
        url = self._settings.url and await self.url()
        return f"{url.host}, {url.database}" if url else f"embedded, in {self._settings.folder}"

    async def close(self) -> None:
        """Close the connections, and leave the embedded server."""
        async with self._opening:
            if self._engine:
                await self._engine.dispose()
            if self._starting:
                await asyncio.to_thread((await self._starting).leave)

    async def _open(self) -> AsyncEngine:
        async with self._opening:
            if not self._engine:
                given = self._settings.url
                url = given.get_secret_value() if given else await self._start()
                self._engine = _engine(url, self._settings.pool_size, self._wait_seconds)
        return self._engine

    async def _start(self) -> str:
        if not self._starting:
            starting = asyncio.to_thread(EmbeddedPostgres, self._settings.folder)
            self._starting = asyncio.create_task(starting)
        try:
            # Who asked may be cancelled meanwhile, and what has started must be stopped.
            url = (await asyncio.shield(self._starting)).url
        except Exception:
            self._starting = None
            raise
        await migrate(url)
        return url


def _engine(url: str, pool_size: int, wait_seconds: float) -> AsyncEngine:
    return create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_pre_ping=True,
        # No error may repeat what people wrote: it could be logged.
        hide_parameters=True,
        connect_args={"connect_timeout": 5},
    )


def _unavailable(why: str) -> Unavailable:
    return Unavailable(f"The database cannot be used: {why}.", headers={"Retry-After": "1"})


@asynccontextmanager
async def open_database(
    settings: DatabaseSettings, *, wait_seconds: float = 30
) -> AsyncGenerator[Database]:
    """Give the database that `settings` name, or an embedded one; nothing is started yet.

    Who needs a connection waits up to `wait_seconds` until one is free.
    """
    database = Database(settings, wait_seconds)
    try:
        yield database
    finally:
        await database.close()
