"""Rows are written without anybody who waits, whatever becomes of the database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.exc import DataError
from structlog.testing import capture_logs

from app.monitoring import names
from app.monitoring.traces import Monitor
from app.monitoring.writer import Writer

from app.checks import Degraded
from tests.monitoring.conftest import Noted
from tests.monitoring.ledgers import Books, Fragile, books, call, database, ended
from tests.monitoring.watching import monitor

__all__ = ["books", "database", "monitor"]
pytestmark = pytest.mark.anyio


async def test_a_call_has_a_row_while_it_goes_on_and_the_same_when_it_has_ended(
    books: Books,
) -> None:
    begun = call()
    books.ledger.put(begun)
    (open_row,) = await books.rows()
    assert (open_row.outcome, open_row.estimated) == (None, True)
    books.ledger.put(ended(begun, output_tokens=3))
    (row,) = await books.rows()
    assert row.id == begun.id
    assert (row.outcome, row.estimated, row.output_tokens) == ("stop", False, 3)
    assert row.cost_usd == Decimal("0.5")
    assert await books.ledger.check() == "0 rows wait, 0 are lost"


async def test_a_row_that_is_written_twice_counts_once(books: Books) -> None:
    row = ended(call())
    for _ in range(2):
        books.ledger.put(row)
        assert await books.spent() == {"": Decimal("0.5"), "alice": Decimal("0.5")}


async def test_who_calls_for_nobody_counts_for_all(books: Books) -> None:
    books.ledger.put(ended(call(principal=None)))
    assert await books.spent() == {"": Decimal("0.5")}


async def test_rows_are_kept_while_the_database_is_away(books: Books) -> None:
    books.database.is_away = True
    with capture_logs() as lines:
        for _ in range(3):
            books.ledger.put(ended(call()))
        while not books.ledger.is_away:
            await books.ledger.flush()
    assert [line["event"] for line in lines] == ["rows cannot be written"]
    with pytest.raises(Degraded, match="3 rows wait, 0 are lost"):
        await books.ledger.check()
    books.database.is_away = False
    assert len(await books.rows()) == 3
    assert not books.ledger.is_away


async def test_rows_beyond_a_bound_are_counted_and_said_to_be_lost(
    books: Books, noted: Noted
) -> None:
    books.database.is_away = True
    for _ in range(10_001):
        books.ledger.put(ended(call()))
    assert await books.ledger.check() == "10000 rows wait, 1 are lost"
    # What only begins then is no loss yet: it has a row when it has ended.
    books.ledger.put(call())
    assert noted.sums(names.LEDGER_LOST, "") == {None: 1}


async def test_what_is_left_is_written_when_the_service_stops(
    database: Fragile, monitor: Monitor
) -> None:
    books = Books(database, monitor)
    async with books.ledger.writing():
        books.ledger.put(ended(call()))
    assert len(await books.rows()) == 1


async def test_a_service_that_stops_without_its_database_says_what_it_loses(
    database: Fragile, monitor: Monitor, noted: Noted
) -> None:
    books = Books(database, monitor)
    database.is_away = True
    async with books.ledger.writing(closing_seconds=0.05):
        books.ledger.put(ended(call()))
    assert noted.sums(names.LEDGER_LOST, "") == {None: 1}


async def test_a_missing_table_is_a_reason(books: Books) -> None:
    await books.execute("ALTER TABLE monitoring.calls RENAME TO gone")
    books.ledger.put(ended(call()))
    while not books.ledger.is_away:
        await books.ledger.flush()
    with pytest.raises(Degraded, match="its tables are missing: python -m app migrate"):
        await books.ledger.check()
    await books.execute("ALTER TABLE monitoring.gone RENAME TO calls")
    assert len(await books.rows()) == 1


async def test_the_row_that_cannot_be_stored_is_found_in_a_few_steps() -> None:
    written: list[int] = []
    tries = 0

    async def write(rows: list[int]) -> None:
        nonlocal tries
        tries += 1
        if 60 in rows:
            raise DataError("", None, ValueError())
        written.extend(rows)

    writer = Writer[int]("numbers", write)
    async with writer.writing():
        for number in range(100):
            writer.put(number, number)
    assert written == [number for number in range(100) if number != 60]
    assert tries < 30


async def test_a_row_that_cannot_be_stored_keeps_no_other_from_it(
    books: Books, noted: Noted
) -> None:
    for model in ("first", "a\0b", "last"):
        books.ledger.put(ended(call(model=model)))
    assert [row.model for row in await books.rows()] == ["first", "last"]
    assert noted.sums(names.LEDGER_LOST, "") == {None: 1}


async def test_what_a_dead_process_left_open_is_closed_as_estimated(books: Books) -> None:
    dead = call(started_at=datetime.now(UTC) - timedelta(seconds=90), cost_usd=Decimal("0.1"))
    books.ledger.put(dead)
    books.ledger.put(call())
    await books.rows()
    await books.ledger.tidy()
    first, second = await books.rows()
    assert (first.outcome, first.estimated) == ("lost", True)
    assert second.outcome is None
    assert (await books.spent())[""] == Decimal("0.1")
    # It was not dead after all.
    books.ledger.put(ended(dead))
    assert (await books.rows())[0].outcome == "stop"
    assert (await books.spent())[""] == Decimal("0.5")


async def test_old_calls_are_dropped(books: Books) -> None:
    books.ledger.put(ended(call(started_at=datetime.now(UTC) - timedelta(days=401))))
    books.ledger.put(ended(call()))
    await books.rows()
    await books.ledger.tidy()
    assert len(await books.rows()) == 1


async def test_nothing_else_is_stopped_where_it_cannot_be_tidied(books: Books) -> None:
    books.database.is_away = True
    await books.ledger.tidy()
