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
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import Database
from app.monitoring.ledger import Call, Ledger
from app.monitoring.ledger_settings import LedgerSettings
from app.monitoring.metrics import Metrics

from app.errors import TooManyRequests, Unavailable

# Whose budget that of all is, in the table and here.
_ALL: Final = ""
# Calls wait for it: a database that takes longer is away.
_PATIENCE_SECONDS: Final = 2.0
_log = structlog.stdlib.get_logger("app.monitoring")


class OverBudget(TooManyRequests):
    """`may_pass` where it is only what calls have reserved, and they will hardly need it."""

    code = "budget_exceeded"
    may_pass = False


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
        self._spending = ledger.spending
        # What was reserved while the database was away, by call.
        self._remembered: dict[UUID, Decimal] = {}
        if limit := self._limits.get(_ALL):
            metrics.observe_budget(lambda: float(self._spending.of(_today(), _ALL) / limit))

    @property
    def are_set(self) -> bool:
        return bool(self._limits)

    async def reserve(self, call: Call, usd: Decimal) -> None:
        """Set aside what a call may cost; raise `OverBudget` where there is not as much left.

        Without a budget that it counts for nothing is done.
        """
        refusal = await self._refused(call, usd)
        if refusal and refusal.may_pass and not self._ledger.is_away:
            # Calls that have ended here hold what they reserved until their rows are written.
            await self._ledger.flush()
            refusal = await self._refused(call, usd)
        if refusal:
            self._metrics.refused.add(1)
            raise refusal

    async def _refused(self, call: Call, usd: Decimal) -> OverBudget | None:
        try:
            await self._reserve(call, usd)
        except OverBudget as refusal:
            return refusal
        return None

    async def _reserve(self, call: Call, usd: Decimal) -> None:
        if not (limits := self._limits_of(call.principal)):
            return
        day = call.started_at.date()
        try:
            if self._ledger.is_away:
                raise Unavailable("The ledger has just found that out.")
            async with asyncio.timeout(_PATIENCE_SECONDS), self._database.begin() as connection:
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
                if (whose := self._note(day, limits, used, usd)) is not None:
                    values = {"day": day, "whose": whose}
                    spent = used[whose] - await connection.scalar(text(_RESERVED), values)
                    raise self._refusal(whose, limits[whose] - spent, usd)
        except (Unavailable, DBAPIError, TimeoutError):
            _log.warning("a budget is kept from memory: the database is away")
            used = {whose: self._spending.of(day, whose) + usd for whose in limits}
            if (whose := self._note(day, limits, used, usd)) is not None:
                raise self._refusal(whose, limits[whose] - used[whose] + usd, usd) from None
            self._remembered[call.id] = usd

    def settle(self, call: Call) -> None:
        """Give back what was reserved without the database, for what the call did cost."""
        if reserved := self._remembered.pop(call.id, None):
            day, change = call.started_at.date(), (call.cost_usd or 0) - reserved
            for whose in self._limits_of(call.principal):
                self._spending.note(day, whose, self._spending.of(day, whose) + change)

    async def share(self, principal: str | None) -> float:
        """Return which part is spent or reserved, of the budget that has least left."""
        if not (limits := self._limits_of(principal)):
            return 0.0
        day = _today()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._database.begin() as connection:
                values = {"day": day, "whose": list(limits)}
                for row in await connection.execute(text(_USED), values):
                    self._spending.note(day, row.principal, row.usd)
        except (Unavailable, DBAPIError, TimeoutError):
            pass  # What is known then is all there is.
        return max(float(self._spending.of(day, who) / limit) for who, limit in limits.items())

    def _limits_of(self, principal: str | None) -> dict[str, Decimal]:
        """Return the budgets that a call of the principal counts for."""
        counted = {_ALL, principal or _ALL} & self._limits.keys()
        return {whose: self._limits[whose] for whose in counted}

    def _note(
        self, day: date, limits: Mapping[str, Decimal], used: Mapping[str, Decimal], usd: Decimal
    ) -> str | None:
        """Note what is used with this call; where that is too much, without it, and say of whom."""
        beyond = next((whose for whose, limit in limits.items() if used[whose] > limit), None)
        for whose, sum_usd in used.items():
            self._spending.note(day, whose, sum_usd if beyond is None else sum_usd - usd)
        return beyond

    def _refusal(self, whose: str, unspent: Decimal, usd: Decimal) -> OverBudget:
        limit = self._limits[whose]
        mine = f"Your budget of {limit} USD" if whose else "This service's budget"
        if unspent >= usd:
            why = "is reserved by calls that go on: try again in a few seconds."
            refusal = OverBudget(f"{mine} for today {why}", headers={"Retry-After": "3"})
            refusal.may_pass = True
            return refusal
        why = "has not as much left as this call may cost: ask for a shorter answer, or wait until"
        if unspent <= 0:
            why = "is used up: wait until"
        return OverBudget(
            f"{mine} for today {why} midnight UTC.",
            headers={
                "Retry-After": str(_seconds_until_midnight()),
                # To the SDKs of providers, which else try again within seconds.
                "X-Should-Retry": "false",
            },
        )


def _seconds_until_midnight() -> int:
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return ceil((midnight - now).total_seconds())


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
# With what has just been reserved.
_RESERVED: Final = """
    SELECT COALESCE(sum(usd), 0) FROM monitoring.reservations
    WHERE day = :day AND (:whose = '' OR principal = :whose)"""
_USED: Final = """
    SELECT principal, usd FROM monitoring.spending
    WHERE day = :day AND principal = ANY(CAST(:whose AS text[]))"""
