"""The table of responses: written behind the answers, whatever the database does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database, open_database
from app.db.migrate import migrate
from app.db.settings import DatabaseSettings
from app.monitoring.quality.responses import Response, Responses, open_responses

from tests.db.conftest import blank_database, database
from tests.workflows.conftest import until

__all__ = ["blank_database", "database"]
pytestmark = pytest.mark.anyio

RESPONSE = Response(
    id="chatcmpl-1",
    principal="alice",
    feature="chat",
    model="scripted",
    prompt="chat",
    prompt_version="1",
    created_at=datetime.now(UTC),
    input_chars=3,
    output_chars=7,
    refused=False,
    scores={"refusal": 1.0, "length": 0.0},
    topic=[0.6, 0.8],
    request=None,
    response=None,
)


async def rows(database: Database) -> list[dict[str, Any]]:
    async with database.begin() as connection:
        found = await connection.execute(text("SELECT * FROM monitoring.responses ORDER BY id"))
        return [dict(row) for row in found.mappings()]


async def write(database: Database, *responses: Response) -> list[dict[str, Any]]:
    async with open_responses(database, 90) as table:
        for response in responses:
            table.add(response)
        await table.flush()
    return await rows(database)


async def test_a_response_is_a_row(database: Database) -> None:
    (row,) = await write(database, RESPONSE)
    assert row.pop("topic") == pytest.approx([0.6, 0.8])
    assert {**row, "topic": RESPONSE.topic} == {**vars(RESPONSE), "rating": None, "comment": None}


async def test_of_one_id_the_last_one_counts(database: Database) -> None:
    scores = {"refusal": 0.0}
    later = replace(
        RESPONSE, created_at=datetime.now(UTC), refused=True, scores=scores, model="second"
    )
    (row,) = await write(database, RESPONSE, later, RESPONSE)
    assert (row["model"], row["refused"], row["scores"]) == ("second", True, scores)


async def test_more_of_a_response_is_added_to_it(database: Database) -> None:
    more = replace(RESPONSE, created_at=datetime.now(UTC), refused=None, scores={"citations": 0.5})
    refused = replace(RESPONSE, refused=True)
    (row,) = await write(database, refused, more)
    assert row["refused"]
    assert row["scores"] == {**RESPONSE.scores, "citations": 0.5}


async def test_more_may_be_all_there_is(database: Database) -> None:
    (row,) = await write(database, replace(RESPONSE, refused=None, scores={}))
    assert (row["refused"], row["scores"]) == (False, {})


async def test_what_was_added_is_written_before_it_closes(database: Database) -> None:
    async with open_responses(database, 90) as table:
        for number in range(450):
            table.add(replace(RESPONSE, id=str(number)))
    assert len(await rows(database)) == 450


async def test_what_is_old_is_forgotten(database: Database) -> None:
    old = replace(RESPONSE, id="old", created_at=datetime.now(UTC) - timedelta(days=91))
    await write(database, RESPONSE, old)
    async with open_responses(database, 90) as table:
        await table.tidy()
    assert [row["id"] for row in await rows(database)] == [RESPONSE.id]


@asynccontextmanager
async def unmigrated(url: str) -> AsyncIterator[Database]:
    async with open_database(DatabaseSettings(url=SecretStr(url))) as database:
        yield database


async def test_rows_wait_for_the_table(blank_database: str) -> None:
    async def is_told() -> bool:
        return bool(logs)

    async with unmigrated(blank_database) as database:
        table = Responses(database, 90, retry_seconds=0.01)
        with capture_logs() as logs:
            async with table.writing():
                table.add(RESPONSE)
                await until(is_told)
                await migrate(blank_database)
                await table.flush()
        assert any("tables are missing" in line.get("why", "") for line in logs)
        assert len(await rows(database)) == 1


async def test_what_cannot_be_stored_is_dropped_and_logged(database: Database) -> None:
    with capture_logs() as logs:
        broken, whole = replace(RESPONSE, response="canary\0"), replace(RESPONSE, id="whole")
        async with open_responses(database, 90) as table:
            table.add(broken)
            await table.flush()
            table.add(whole)
    assert [row["id"] for row in await rows(database)] == ["whole"]
    told = [line["event"] for line in logs if line["log_level"] == "error"]
    assert told == ["a row cannot be stored", "rows are lost"]
    assert "canary" not in str(logs)
