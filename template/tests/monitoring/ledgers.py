"""A ledger whose rows a test reads, and a database that can be away."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.settings import DatabaseSettings
from app.monitoring.budgets import Budgets
from app.monitoring.ledger import Call, Ledger
from app.monitoring.ledger_settings import LedgerSettings
from app.monitoring.metering import Metering
from app.monitoring.prices import Prices
from app.monitoring.traces import Monitor

from app.errors import Unavailable
from tests.monitoring.watching import monitor

__all__ = ["monitor"]


class Fragile(Database):
    """A database that is away for as long as a test says so."""

    is_away = False

    @asynccontextmanager
    async def begin(self, *, snapshot: bool = False) -> AsyncGenerator[AsyncConnection]:
        if self.is_away:
            raise Unavailable("The database cannot be used: it is away.")
        async with super().begin(snapshot=snapshot) as connection:
            yield connection


class Books:
    """All that belongs to a ledger."""

    def __init__(self, database: Fragile, monitor: Monitor, **settings: Any) -> None:
        self.database = database
        self.ledger = Ledger(
            database, monitor.metrics, longest_seconds=60, keep_days=400, retry_seconds=0.01
        )
        known = LedgerSettings(**settings)
        self.budgets = Budgets(database, self.ledger, monitor.metrics, known, longest_seconds=60)
        prices = Prices(known.prices_usd_per_million)
        self.metering = Metering(self.ledger, self.budgets, prices, monitor.metrics)

    async def execute(self, statement: str, **values: Any) -> Any:
        async with self.database.begin() as connection:
            return await connection.execute(text(statement), values)

    async def rows(self) -> list[Any]:
        """Return what is written, in the order that the calls began."""
        await self.ledger.flush()
        found = await self.execute("SELECT * FROM monitoring.calls ORDER BY started_at")
        return list(found)

    async def spent(self) -> dict[str, Decimal]:
        """Return what is spent or reserved, by whose budget it is of; that of all has no name."""
        await self.ledger.flush()
        found = await self.execute("SELECT principal, sum(usd) FROM monitoring.spending GROUP BY 1")
        return {row[0]: row[1] for row in found}


def call(principal: str | None = "alice", **more: Any) -> Call:
    """Return a call that goes on; `ended` ends it."""
    known: dict[str, Any] = {
        "id": uuid.uuid4(),
        "response_id": None,
        "feature": "chat",
        "prompt": "chat",
        "prompt_version": "1",
        "provider": "openai",
        "model": "gpt-5",
        "started_at": datetime.now(UTC),
        "input_tokens": 7,
    }
    return Call(principal=principal, **known | more)


def ended(begun: Call, usd: str | None = "0.5", outcome: str = "stop", **more: Any) -> Call:
    cost = None if usd is None else Decimal(usd)
    known = {"cost_usd": cost, "outcome": outcome, "estimated": False, "seconds": 0.1}
    return replace(begun, **known | more)


@pytest.fixture
async def database(fresh_database: str) -> AsyncIterator[Fragile]:
    settings = DatabaseSettings(url=SecretStr(fresh_database))
    database = Fragile(settings, 30)
    yield database
    await database.close()


@pytest.fixture
async def books(database: Fragile, monitor: Monitor) -> AsyncIterator[Books]:
    books = Books(database, monitor)
    async with books.ledger.writing(closing_seconds=0.1):
        yield books
