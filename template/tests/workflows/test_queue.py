"""What is queued is what was committed, once."""

import pytest

from app.db.engine import Database
from app.workflows.queue import Queue

from tests.workflows.conftest import add, statuses

pytestmark = pytest.mark.anyio


async def test_what_was_added_waits_for_a_worker(database: Database, queue: Queue) -> None:
    await add(database, queue, "one")
    assert await statuses(database) == {"one": "ENQUEUED"}


async def test_what_was_added_in_a_transaction_that_rolled_back_was_never_there(
    database: Database, queue: Queue
) -> None:
    async def add_and_fail() -> None:
        async with database.begin() as connection:
            await queue.add(connection, "work", "one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await add_and_fail()
    assert await statuses(database) == {}


async def test_what_has_the_same_id_is_there_once(database: Database, queue: Queue) -> None:
    await add(database, queue, "one")
    await add(database, queue, "one")
    assert await statuses(database) == {"one": "ENQUEUED"}


async def test_what_was_removed_leaves_no_trace(database: Database, queue: Queue) -> None:
    await add(database, queue, "one")
    await add(database, queue, "two")
    await queue.remove("one", "never-there")
    assert await statuses(database) == {"two": "ENQUEUED"}
