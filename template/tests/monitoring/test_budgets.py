"""Budgets hold: before a call, between processes, and while the database is away."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.monitoring import names
from app.monitoring.budgets import OverBudget
from app.monitoring.traces import Monitor

from tests.monitoring.conftest import Noted
from tests.monitoring.ledgers import Books, Fragile, call, database, ended
from tests.monitoring.watching import monitor

__all__ = ["database", "monitor"]
pytestmark = pytest.mark.anyio
USD = Decimal


async def test_without_a_budget_nothing_is_asked(database: Fragile, monitor: Monitor) -> None:
    database.is_away = True
    books = Books(database, monitor, daily_budgets_usd={"bob": 1})
    await books.budgets.reserve(call(), USD(100))
    assert await books.budgets.share("alice") == 0


async def test_what_is_reserved_is_given_back_for_what_it_cost(
    database: Fragile, monitor: Monitor
) -> None:
    books = Books(database, monitor, daily_budget_usd=10)
    begun = call()
    await books.budgets.reserve(begun, USD(8))
    assert await books.spent() == {"": USD(8), "alice": USD(8)}
    assert await books.budgets.share("alice") == 0.8
    async with books.ledger.writing():
        books.ledger.put(begun)
        assert (await books.spent())[""] == USD(8)
        books.ledger.put(ended(begun, "0.5"))
        assert await books.spent() == {"": USD("0.5"), "alice": USD("0.5")}


async def test_what_a_call_reserved_that_has_ended_is_there_for_the_next(
    database: Fragile, monitor: Monitor, noted: Noted
) -> None:
    books = Books(database, monitor, daily_budget_usd=10)
    async with books.ledger.writing():
        for _ in range(4):
            begun = call()
            await books.budgets.reserve(begun, USD(8))
            books.ledger.put(ended(begun, "0.5"))
    assert await books.spent() == {"": USD(2), "alice": USD(2)}
    assert noted.sums(names.BUDGET_REFUSED, "") == {}


@pytest.mark.parametrize(
    ("budgets", "whose"),
    [
        ({"daily_budget_usd": 10}, "This service's budget"),
        ({"daily_budgets_usd": {"alice": 10}}, "Your budget of 10 USD"),
        ({"daily_budget_usd": 100, "daily_budgets_usd": {"alice": 10}}, "Your budget of 10 USD"),
    ],
    ids=["of all", "of one", "of both"],
)
async def test_beyond_a_budget_a_call_is_refused_until_midnight(
    database: Fragile, monitor: Monitor, noted: Noted, budgets: dict[str, Any], whose: str
) -> None:
    books = Books(database, monitor, **budgets)
    async with books.ledger.writing():
        books.ledger.put(ended(call(), "8"))
    with pytest.raises(OverBudget, match=whose) as refused:
        await books.budgets.reserve(call(), USD(3))
    # What was refused is not reserved.
    assert await books.spent() == {"": USD(8), "alice": USD(8)}
    await books.budgets.reserve(call(), USD(2))
    assert refused.value.status == 429
    headers = refused.value.headers or {}
    midnight = datetime.now(UTC) + timedelta(seconds=int(headers["Retry-After"]))
    assert midnight.hour == 0
    assert noted.sums(names.BUDGET_REFUSED, "") == {None: 1}


async def test_one_principal_does_not_use_up_what_is_anothers(
    database: Fragile, monitor: Monitor
) -> None:
    books = Books(database, monitor, daily_budgets_usd={"alice": 1, "bob": 1})
    await books.budgets.reserve(call("alice"), USD(1))
    await books.budgets.reserve(call("bob"), USD(1))
    with pytest.raises(OverBudget):
        await books.budgets.reserve(call("bob"), USD("0.001"))


async def test_each_day_begins_anew(database: Fragile, monitor: Monitor) -> None:
    books = Books(database, monitor, daily_budget_usd=1)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await books.budgets.reserve(call(started_at=yesterday), USD(1))
    await books.budgets.reserve(call(), USD(1))


async def test_calls_that_race_never_spend_more_than_there_is(
    database: Fragile, monitor: Monitor
) -> None:
    both = [Books(database, monitor, daily_budget_usd=10) for _ in range(2)]
    calls = [books.budgets.reserve(call(), USD("0.3")) for books in both for _ in range(30)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(result is None for result in results) == 33
    assert {type(result) for result in results} == {type(None), OverBudget}
    assert (await both[0].spent())[""] == USD("9.9")


async def test_what_a_dead_process_reserved_is_given_back(
    database: Fragile, monitor: Monitor
) -> None:
    books = Books(database, monitor, daily_budget_usd=10)
    await books.budgets.reserve(call(), USD(8))
    await books.ledger.tidy()
    assert (await books.spent())[""] == USD(8)
    await books.execute("UPDATE monitoring.reservations SET expires_at = now() - interval '1 s'")
    await books.ledger.tidy()
    assert (await books.spent())[""] == 0


async def test_while_the_database_is_away_a_process_goes_by_what_it_knows(
    database: Fragile, monitor: Monitor
) -> None:
    books = Books(database, monitor, daily_budget_usd=10)
    await books.budgets.reserve(call(), USD(8))
    database.is_away = True
    await books.budgets.reserve(call(), USD(1))
    with pytest.raises(OverBudget):
        await books.budgets.reserve(call(), USD(2))
    assert await books.budgets.share(None) == 0.9


async def test_what_was_reserved_from_memory_is_given_back_there(
    database: Fragile, monitor: Monitor
) -> None:
    database.is_away = True
    books = Books(database, monitor, daily_budget_usd=10)
    for _ in range(5):
        begun = call()
        await books.budgets.reserve(begun, USD(8))
        books.budgets.settle(ended(begun, "0.5"))
    assert await books.budgets.share(None) == 0.25


async def test_the_metric_says_which_part_of_a_day_is_used(
    database: Fragile, monitor: Monitor, noted: Noted
) -> None:
    books = Books(database, monitor, daily_budget_usd=10)
    begun = call()
    await books.budgets.reserve(begun, USD(8))
    assert noted.sums(names.BUDGET_USED, "") == {None: 0.8}
    async with books.ledger.writing():
        books.ledger.put(ended(begun, "1"))
        await books.ledger.flush()
    assert noted.sums(names.BUDGET_USED, "") == {None: 0.1}


async def test_a_call_that_is_refused_is_told_whether_a_smaller_one_would_do(
    database: Fragile, monitor: Monitor
) -> None:
    books = Books(database, monitor, daily_budget_usd=10)
    with pytest.raises(OverBudget, match="has not as much left as this call may cost"):
        await books.budgets.reserve(call(), USD(11))
    begun = call()
    await books.budgets.reserve(begun, USD(9))
    with pytest.raises(OverBudget, match="calls that go on: try again in a few seconds") as refused:
        await books.budgets.reserve(call(), USD(2))
    assert (refused.value.headers or {}) == {"Retry-After": "3"}
    async with books.ledger.writing():
        books.ledger.put(ended(begun, "10"))
    with pytest.raises(OverBudget, match="is used up"):
        await books.budgets.reserve(call(), USD("0.01"))


async def test_a_model_without_a_price_has_no_place_in_a_budget(
    database: Fragile, monitor: Monitor
) -> None:
    free = Books(database, monitor)
    free.metering.require_price("openai", "my-own", "http://localhost:11434/v1")
    books = Books(database, monitor, daily_budget_usd=10)
    books.metering.require_price("openai", "gpt-5", None)
    books.metering.require_price("function", "offline", None)
    with pytest.raises(ValueError, match="cannot hold 'my-own'"):
        books.metering.require_price("openai", "my-own", "http://localhost:11434/v1")
