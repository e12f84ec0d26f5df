"""The ledger: a row for each call of a provider, failed and aborted ones too.

Nobody waits for it. A row is handed over when the call begins, and again with what it took when it
has ended; one task writes what has come meanwhile. Where the database is away rows are kept, up to
a bound, and written later.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from app.db.engine import Database
from app.monitoring.metrics import Metrics

from app.errors import ServiceError, Unavailable

# What comes within so long is written together.
_PAUSE_SECONDS: Final = 0.1
# A database that takes longer is away.
PATIENCE_SECONDS: Final = 10.0
_MOST_WAITING: Final = 10_000
_MOST_AT_ONCE: Final = 500
_log = structlog.stdlib.get_logger("app.monitoring")


@dataclass(frozen=True)
class Call:
    """A row. Until the call has ended (`outcome`) its tokens are what it takes at least."""

    id: UUID
    response_id: str | None
    principal: str | None
    feature: str | None
    prompt: str | None
    prompt_version: str | None
    provider: str
    model: str
    started_at: datetime
    input_tokens: int
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = True
    # None where nobody knows the price.
    cost_usd: Decimal | None = None
    price_list: str | None = None
    answered_by: str | None = None
    seconds: float | None = None
    # The reason why the answer ended, or the kind of what went wrong.
    outcome: str | None = None


class Ledger:
    """Takes rows at once, and writes them to `database` as soon as that is possible.

    A call that began more than `longest_seconds` ago, and has not ended, is of a dead process.
    """

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        *,
        longest_seconds: float,
        keep_days: int,
        retry_seconds: float = 1,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._tidying = {"seconds": longest_seconds, "days": keep_days}
        self._retry_seconds = retry_seconds
        self._waiting: dict[UUID, Call] = {}
        self._given, self._closing, self._round = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._size = _MOST_AT_ONCE
        self._lost = 0
        self._problem: str | None = None

    @property
    def is_away(self) -> bool:
        """Say whether the database could not be used the last time that it was needed."""
        return self._problem is not None

    def put(self, call: Call) -> None:
        """Take a row, in place of the one that the same call has; never waits."""
        if call.id in self._waiting or len(self._waiting) < _MOST_WAITING:
            self._waiting[call.id] = call
            self._given.set()
        elif call.outcome:
            self._lose(1)

    async def flush(self) -> None:
        """Wait until what has been put so far is written; a second at most."""
        now = list(self._waiting.values())
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while any(self._waiting.get(call.id) is call for call in now):
                    await self._round.wait()

    async def check(self, *, thorough: bool = False) -> str:
        """Say how many rows wait, and how many were lost; raise while none can be written."""
        state = f"{len(self._waiting)} rows wait, {self._lost} are lost"
        if self._problem:
            raise Unavailable(f"{self._problem} Of the ledger {state}.")
        return state

    async def tidy(self) -> None:
        """Close what dead processes left open, give back what they reserved, drop what is old."""
        try:
            async with self._database.begin() as connection:
                for statement in (_ABANDON, _FORGET, _FORGET_DAYS):
                    await connection.execute(text(statement), self._tidying)
        except (Unavailable, DBAPIError) as error:
            # Whoever does this has other work, too.
            _log.warning("the ledger is not tidied", error=type(error).__name__)

    async def write(self) -> None:
        """Write what comes, until there is nothing left and the ledger closes."""
        while self._waiting or not self._closing.is_set():
            if not self._waiting:
                self._given.clear()
                await self._given.wait()
                continue
            await self._pause(_PAUSE_SECONDS)
            calls = list(islice(self._waiting.values(), self._size))
            if not await self._write(calls):
                await asyncio.sleep(self._retry_seconds)
                continue
            for call in calls:
                # It may have ended meanwhile.
                if self._waiting[call.id] is call:
                    del self._waiting[call.id]
            self._round.set()
            self._round = asyncio.Event()

    def close(self) -> None:
        self._closing.set()
        self._given.set()

    def lose_the_rest(self) -> None:
        if self._waiting:
            self._lose(len(self._waiting))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _write(self, calls: list[Call]) -> bool:
        """Write rows; say whether that is settled, one way or the other."""
        rows = json.dumps([vars(call) for call in calls], default=str)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._database.begin() as connection:
                await connection.execute(text(_WRITE), {"rows": rows})
        except (DataError, IntegrityError) as error:
            _log.error("the ledger has a row that cannot be stored", error=type(error).__name__)
            # The others are written one by one, and this one is not.
            is_found, self._size = len(calls) == 1, 1
            if is_found:
                self._lose(1)
            return is_found
        except Exception as error:
            self._fail(error)
            return False
        self._size = _MOST_AT_ONCE
        if self._problem:
            _log.info("the ledger is written again")
        self._problem = None
        return True

    def _fail(self, error: Exception) -> None:
        why = error.detail if isinstance(error, ServiceError) else "The database fails."
        if why != self._problem:
            _log.error("the ledger cannot be written", why=why, error=type(error).__name__)
        self._problem = why

    def _lose(self, count: int) -> None:
        if not self._lost:
            _log.error("rows of the ledger are lost")
        self._lost += count
        self._metrics.lost.add(count)


@asynccontextmanager
async def writing(ledger: Ledger, closing_seconds: float = 5) -> AsyncGenerator[Ledger]:
    """Write what the ledger is given; leaving writes what is left, for a few seconds."""
    task = asyncio.create_task(ledger.write())
    try:
        yield ledger
    finally:
        ledger.close()
        await asyncio.wait({task}, timeout=closing_seconds)
        if task.cancel():
            await asyncio.wait({task}, timeout=closing_seconds)
        ledger.lose_the_rest()


_NAMES: Final = [field.name for field in fields(Call)]
_COLUMNS: Final = ", ".join(_NAMES)
_LOST: Final = "lost"
_DAY: Final = "CAST(started_at AT TIME ZONE 'UTC' AS date) AS day"
# What changes of a day is added to the row of all and to that of the principal, always in this
# order: no two statements wait for one another.
_COUNT: Final = """
    INSERT INTO monitoring.spending AS s (day, principal, usd)
    SELECT day, whose, sum(usd)
    FROM (SELECT * FROM written UNION ALL SELECT * FROM freed) AS changed
        CROSS JOIN LATERAL (VALUES (''), (principal)) AS counted (whose)
    WHERE whose IS NOT NULL
    GROUP BY day, whose HAVING sum(usd) <> 0 ORDER BY day, whose
    ON CONFLICT (day, principal) DO UPDATE SET usd = s.usd + excluded.usd"""
# A row that has ended is written once, however often it is sent: whoever was taken for dead is not.
_WRITE: Final = f"""
    WITH given AS (
        SELECT {_COLUMNS}
        FROM jsonb_populate_recordset(NULL::monitoring.calls, CAST(:rows AS jsonb))
    ), freed AS (
        DELETE FROM monitoring.reservations AS r USING given AS g
        WHERE r.id = g.id AND g.outcome IS NOT NULL
        RETURNING r.day, r.principal, - r.usd AS usd
    ), written AS (
        INSERT INTO monitoring.calls AS c ({_COLUMNS}) SELECT {_COLUMNS} FROM given
        ON CONFLICT (id) DO UPDATE SET ({_COLUMNS})
            = ({", ".join(f"excluded.{name}" for name in _NAMES)})
        WHERE c.outcome IS NULL OR c.outcome = '{_LOST}'
        RETURNING {_DAY}, principal,
            CASE WHEN outcome IS NULL THEN 0 ELSE COALESCE(cost_usd, 0) END AS usd
    ) {_COUNT}"""
_ABANDON: Final = f"""
    WITH freed AS (
        DELETE FROM monitoring.reservations WHERE expires_at < now()
        RETURNING day, principal, - usd AS usd
    ), written AS (
        UPDATE monitoring.calls SET outcome = '{_LOST}'
        WHERE outcome IS NULL AND started_at < now() - make_interval(secs => :seconds)
        RETURNING {_DAY}, principal, COALESCE(cost_usd, 0) AS usd
    ) {_COUNT}"""
_FORGET: Final = """
    DELETE FROM monitoring.calls WHERE id IN (
        SELECT id FROM monitoring.calls
        WHERE started_at < now() - make_interval(days => :days) LIMIT 1000)"""
_FORGET_DAYS: Final = (
    "DELETE FROM monitoring.spending WHERE day < now() - make_interval(days => :days)"
)
