"""The ledger: a row for each call of a provider, failed and aborted ones too.

Nobody waits for it (`writer.py`). A row is handed over when the call begins, and again with what it
took when it has ended.
"""

import json
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import text

from app.db.engine import Database
from app.monitoring.metrics import Metrics
from app.monitoring.writer import Writer, tolerating


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


class Spending:
    """What is spent or reserved, in USD, as this process has last seen it: of the newest day."""

    def __init__(self) -> None:
        self._day = date.min
        self._usd: dict[str, Decimal] = {}

    def of(self, day: date, whose: str) -> Decimal:
        return self._usd.get(whose, Decimal(0)) if day == self._day else Decimal(0)

    def note(self, day: date, whose: str, usd: Decimal) -> None:
        if day > self._day:
            self._day, self._usd = day, {}
        if day == self._day:
            self._usd[whose] = usd


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
        self.spending = Spending()
        self._database = database
        self._tidying = {"seconds": longest_seconds, "days": keep_days}
        self._writer = Writer[Call](
            "the ledger", self._write, lose=metrics.lost.add, retry_seconds=retry_seconds
        )
        self.writing = self._writer.writing
        self.flush = self._writer.flush

    @property
    def is_away(self) -> bool:
        """Say whether the database could not be used the last time that it was needed."""
        return self._writer.is_away

    def put(self, call: Call) -> None:
        """Take a row, in place of the one that the same call has; never waits."""
        self._writer.put(call.id, call, counts=call.outcome is not None)

    async def check(self, *, thorough: bool = False) -> str:
        """Say how many rows wait, and how many were lost; raise while none can be written."""
        return self._writer.check()

    async def tidy(self) -> None:
        """Close what dead processes left open, give back what they reserved, drop what is old."""
        with tolerating("to tidy the ledger"):
            async with self._database.begin() as connection:
                for statement in (_ABANDON, _FORGET, _FORGET_DAYS):
                    await connection.execute(text(statement), self._tidying)

    async def _write(self, calls: list[Call]) -> None:
        rows = json.dumps([vars(call) for call in calls], default=str)
        async with self._database.begin() as connection:
            changed = (await connection.execute(text(_WRITE), {"rows": rows})).all()
        for row in changed:
            self.spending.note(row.day, row.principal, row.usd)


_NAMES: Final = [field.name for field in fields(Call)]
_COLUMNS: Final = ", ".join(_NAMES)
_LOST: Final = "lost"
_DAY: Final = "CAST(started_at AT TIME ZONE 'UTC' AS date) AS day"
# What changes of a day is added to the row of all and to that of the principal, always in this
# order: no two statements wait for one another.
_COUNT: Final = """
    INSERT INTO monitoring.spending AS s (day, principal, usd)
    SELECT day, whose, sum(usd)
    FROM changed
        CROSS JOIN LATERAL (VALUES (''), (principal)) AS counted (whose)
    WHERE whose IS NOT NULL
    GROUP BY day, whose HAVING sum(usd) <> 0 ORDER BY day, whose
    ON CONFLICT (day, principal) DO UPDATE SET usd = s.usd + excluded.usd
    RETURNING day, principal, usd"""
# A row that has ended is written once, however often it is sent: whoever was taken for dead is not.
_WRITE: Final = f"""
    WITH given AS (
        SELECT {_COLUMNS}
        FROM jsonb_populate_recordset(NULL::monitoring.calls, CAST(:rows AS jsonb))
    ), freed AS (
        DELETE FROM monitoring.reservations AS r USING given AS g
        WHERE r.id = g.id AND g.outcome IS NOT NULL
        RETURNING r.day, r.principal, - r.usd AS usd
    ), revived AS (
        SELECT CAST(c.started_at AT TIME ZONE 'UTC' AS date) AS day, c.principal,
            - COALESCE(c.cost_usd, 0) AS usd
        FROM monitoring.calls AS c JOIN given AS g USING (id)
        WHERE c.outcome = '{_LOST}'
    ), written AS (
        INSERT INTO monitoring.calls AS c ({_COLUMNS}) SELECT {_COLUMNS} FROM given
        ON CONFLICT (id) DO UPDATE SET ({_COLUMNS})
            = ({", ".join(f"excluded.{name}" for name in _NAMES)})
        WHERE c.outcome IS NULL OR c.outcome = '{_LOST}'
        RETURNING {_DAY}, principal,
            CASE WHEN outcome IS NULL THEN 0 ELSE COALESCE(cost_usd, 0) END AS usd
    ), changed AS (
        SELECT * FROM written UNION ALL SELECT * FROM freed UNION ALL SELECT * FROM revived
    ) {_COUNT}"""
_ABANDON: Final = f"""
    WITH freed AS (
        DELETE FROM monitoring.reservations WHERE expires_at < now()
        RETURNING day, principal, - usd AS usd
    ), written AS (
        UPDATE monitoring.calls SET outcome = '{_LOST}'
        WHERE outcome IS NULL AND started_at < now() - make_interval(secs => :seconds)
        RETURNING {_DAY}, principal, COALESCE(cost_usd, 0) AS usd
    ), changed AS (SELECT * FROM written UNION ALL SELECT * FROM freed) {_COUNT}"""
_FORGET: Final = """
    DELETE FROM monitoring.calls WHERE id IN (
        SELECT id FROM monitoring.calls
        WHERE started_at < now() - make_interval(days => :days) LIMIT 1000)"""
_FORGET_DAYS: Final = (
    "DELETE FROM monitoring.spending WHERE day < now() - make_interval(days => :days)"
)
