"""Transactions, and what is said where there can be none."""

import asyncio
import socket

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.db.engine import Database, open_database
from app.db.migrate import migrate
from app.db.settings import DatabaseSettings

from app.errors import Unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def nowhere() -> str:
    """The address of a server that does not run, with a password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"postgresql://carol:hunter2@127.0.0.1:{free.getsockname()[1]}/data"


@pytest.fixture
async def things(database: Database) -> Database:
    """A database with an empty table."""
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE things (name text)"))
    return database


async def count(database: Database) -> int:
    async with database.begin() as connection:
        found: int = await connection.scalar(text("SELECT count(*) FROM things"))
        return found


ADD = text("INSERT INTO things VALUES ('a')")


async def test_what_a_transaction_wrote_is_there_after_it(things: Database) -> None:
    async with things.begin() as connection:
        await connection.execute(ADD)
    assert await count(things) == 1


async def test_nothing_is_left_of_a_transaction_that_raised(things: Database) -> None:
    async def write_and_fail() -> None:
        async with things.begin() as connection:
            await connection.execute(ADD)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    assert await count(things) == 0


async def test_nothing_is_left_of_a_transaction_that_was_cancelled(things: Database) -> None:
    written = asyncio.Event()

    async def write() -> None:
        async with things.begin() as connection:
            await connection.execute(ADD)
            written.set()
            await asyncio.Event().wait()

    writing = asyncio.create_task(write())
    await written.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await count(things) == 0


async def test_a_snapshot_sees_nothing_of_what_comes_later(things: Database) -> None:
    counted = text("SELECT count(*) FROM things")
    async with things.begin(snapshot=True) as connection:
        before = await connection.scalar(counted)
        async with things.begin() as other:
            await other.execute(ADD)
        assert await connection.scalar(counted) == before == 0
    assert await count(things) == 1


async def test_a_connection_has_no_snapshot_any_more_once_it_is_given_back(
    fresh_database: str,
) -> None:
    settings = DatabaseSettings(url=SecretStr(fresh_database), pool_size=1)
    async with open_database(settings) as database:
        for snapshot, isolation in ((True, "repeatable read"), (False, "read committed")):
            async with database.begin(snapshot=snapshot) as connection:
                shown = await connection.scalar(text("SHOW transaction_isolation"))
            assert shown == isolation


async def test_a_server_that_is_away_is_a_503_that_says_when_to_try_again(nowhere: str) -> None:
    async with open_database(DatabaseSettings(url=SecretStr(nowhere))) as database:
        with pytest.raises(Unavailable) as refused:
            await database.check()
    assert refused.value.status == 503
    assert refused.value.headers == {"Retry-After": "1"}
    assert "hunter2" not in refused.value.detail


async def test_connections_that_the_server_has_ended_are_replaced(
    things: Database, postgres: str
) -> None:
    assert await count(things) == 0
    async with open_database(DatabaseSettings(url=SecretStr(postgres))) as administrator:
        name = (await things.url()).database
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        async with administrator.begin() as connection:
            await connection.execute(text(ended), {"name": name})
    assert await count(things) == 0


async def test_tables_that_are_out_of_date_are_named_until_they_are_migrated(
    blank_database: str,
) -> None:
    async with open_database(DatabaseSettings(url=SecretStr(blank_database))) as database:
        with pytest.raises(Unavailable, match=r"The tables of dbos.* migrate\.$"):
            await database.check()
        await migrate(blank_database)
        assert str((await database.url()).database) in await database.check()


async def test_the_address_is_described_without_its_password(nowhere: str) -> None:
    settings = DatabaseSettings(url=SecretStr(nowhere))
    async with open_database(settings) as database:
        assert "hunter2" not in f"{settings!r} {settings.model_dump_json()} {await database.url()}"


async def test_a_pool_without_a_free_connection_is_a_503(fresh_database: str) -> None:
    settings = DatabaseSettings(url=SecretStr(fresh_database), pool_size=1)
    async with open_database(settings, wait_seconds=0.05) as database, database.begin():
        with pytest.raises(Unavailable, match="no connection is free") as refused:
            await database.check()
    assert refused.value.headers == {"Retry-After": "1"}
