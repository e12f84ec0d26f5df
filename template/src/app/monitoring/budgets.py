"""Budgets: what a day may cost, in USD, by UTC; for all together and for each principal.

What a call may cost at most is reserved before, in one transaction that every process waits for,
and given back with what it did cost. So calls that race never spend more than there is. Where the
database is away each process goes by what it last knew, and by what it has asked for since.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import ceil
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database
from app.monitoring.ledger import Call, Ledger
from app.monitoring.ledger_settings import LedgerSettings
from app.monitoring.metrics import Metrics
from app.monitoring.writer import PATIENCE_SECONDS

from app.errors import TooManyRequests, Unavailable

# Whose budget that of all is, in the table and here.
_ALL: Final = ""
_log = structlog.stdlib.get_logger("app.monitoring")


class OverBudget(TooManyRequests):
    code = "budget_exceeded"


class Budgets:
    """Holds calls to what may be spent."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        metrics: Metrics,
        settings: LedgerSettings,
        *,
        longest_seconds: float,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._metrics = metrics
        self._longest_seconds = longest_seconds
        self._limits: dict[str, Decimal] = {**settings.daily_budgets_usd}
        if settings.daily_budget_usd is not None:
            self._limits[_ALL] = settings.daily_budget_usd
        # Of the day that was last seen.
        self._used: tuple[date, dict[str, Decimal]] = (date.min, {})
        if limit := self._limits.get(_ALL):
            metrics.observe_budget(lambda: float(self._known(_today()).get(_ALL, 0) / limit))

    @property
    def are_set(self) -> bool:
        return bool(self._limits)

    async def reserve(self, call: Call, usd: Decimal) -> None:
        """Set aside what a call may cost; raise `OverBudget` where there is not as much left.

        Without a budget that it counts for nothing is done.
        """
        if not (limits := self._limits_of(call.principal)):
            return
        day, known = call.started_at.date(), self._known(call.started_at.date())
        try:
            if self._ledger.is_away:
                raise Unavailable("The ledger has just found that out.")
            async with asyncio.timeout(PATIENCE_SECONDS), self._database.begin() as connection:
                values = {
                    "id": call.id,
                    "day": day,
                    "principal": call.principal,
                    "whose": sorted({_ALL, call.principal or _ALL}),
                    "usd": usd,
                    "seconds": self._longest_seconds,
                }
                rows = (await connection.execute(text(_RESERVE), values)).all()
                used = {row.principal: row.usd for row in rows}
                self._refuse_beyond(limits, used, usd)
                known.update(used)
        except (Unavailable, DBAPIError, TimeoutError):
            _log.warning("a budget is kept from memory: the database is away")
            used = {whose: known.get(whose, Decimal(0)) + usd for whose in limits}
            self._refuse_beyond(limits, used, usd)
            known.update(used)

    async def share(self, principal: str | None) -> float:
        """Return which part is spent or reserved, of the budget that has least left."""
        if not (limits := self._limits_of(principal)):
            return 0.0
        known = self._known(_today())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._database.begin() as connection:
                values = {"day": _today(), "whose": list(limits)}
                rows = (await connection.execute(text(_USED), values)).all()
                known.update({row.principal: row.usd for row in rows})
        except (Unavailable, DBAPIError, TimeoutError):
            pass  # What is known then is all there is.
        return max(float(known.get(whose, 0) / limit) for whose, limit in limits.items())

    def _limits_of(self, principal: str | None) -> dict[str, Decimal]:
        """Return the budgets that a call of the principal counts for."""
        counted = {_ALL, principal or _ALL} & self._limits.keys()
        return {whose: self._limits[whose] for whose in counted}

    def _known(self, day: date) -> dict[str, Decimal]:
        if self._used[0] != day:
            self._used = (day, {})
        return self._used[1]

    def _refuse_beyond(
        self, limits: Mapping[str, Decimal], used: Mapping[str, Decimal], usd: Decimal
    ) -> None:
        for whose, limit in limits.items():
            if used[whose] > limit:
                self._known(_today())[whose] = used[whose] - usd
                self._metrics.refused.add(1)
                raise _over_budget(whose, limit)


def _over_budget(whose: str, limit: Decimal) -> OverBudget:
    budget = f"Your budget of {limit} USD" if whose else "The budget of this service"
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return OverBudget(
        f"{budget} for today is used up; the next day begins at midnight UTC.",
        headers={
            "Retry-After": str(ceil((midnight - now).total_seconds())),
            # To the SDKs of providers, which else try again within seconds.
            "X-Should-Retry": "false",
        },
    )


def _today() -> date:
    return datetime.now(UTC).date()


# The row of all comes first, here and in the ledger: whoever holds it waits for no one.
_RESERVE: Final = """
    WITH kept AS (
        INSERT INTO monitoring.reservations (id, day, principal, usd, expires_at)
        VALUES (:id, :day, :principal, :usd, now() + make_interval(secs => :seconds))
    )
    INSERT INTO monitoring.spending AS s (day, principal, usd)
    SELECT :day, whose, :usd FROM unnest(CAST(:whose AS text[])) AS whose ORDER BY whose
    ON CONFLICT (day, principal) DO UPDATE SET usd = s.usd + excluded.usd
    RETURNING principal, usd"""
_USED: Final = """
    SELECT principal, usd FROM monitoring.spending
    WHERE day = :day AND principal = ANY(CAST(:whose AS text[]))"""
