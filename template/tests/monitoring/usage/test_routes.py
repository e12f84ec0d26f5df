"""`GET /v1/usage`: what was spent, by whatever one wants to know."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import SecuritySettings, Settings
from tests.conftest import KEY
from tests.db.callers import BOBS_KEY, problem

PATH = "/v1/usage"
NOW = datetime.now(UTC) - timedelta(minutes=1)
ROW = """
    INSERT INTO monitoring.calls VALUES (
        gen_random_uuid(), 'id', %(principal)s, 'chat', 'chat', %(version)s, 'openai', %(model)s,
        %(model)s, %(at)s, 1, %(outcome)s, 100, 10, 50, 0, 5, %(estimated)s, %(usd)s, 'list')"""


def add(url: str, **given: Any) -> None:
    known = {"principal": "alice", "version": "1", "model": "gpt-5", "at": NOW}
    known |= {"outcome": "stop", "estimated": False, "usd": "0.25"}
    with psycopg.connect(url) as connection:
        connection.execute(ROW, known | given)


@pytest.fixture
def client(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service that Alice and Bob use, and Carol looks after."""
    monkeypatch.setenv("MONITORING__READERS", '["carol"]')
    keys = {"alice": KEY, "bob": BOBS_KEY, "carol": "a-third-key-that-is-for-tests"}
    settings = Settings(security=SecuritySettings(api_keys=keys))
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def get(client: TestClient, key: str = KEY, **query: Any) -> Any:
    answer = client.get(PATH, params=query, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_without_calls_nothing_was_spent(client: TestClient) -> None:
    found = get(client, group_by="model")
    assert (found["rows"], found["total_cost_usd"], found["unpriced_calls"]) == ([], 0, 0)
    (everything,) = get(client)["rows"]
    assert everything["calls"] == 0


def test_calls_are_added_up_by_what_is_asked_for(client: TestClient, fresh_database: str) -> None:
    add(fresh_database)
    add(fresh_database, version="2", estimated=True)
    add(fresh_database, model="my-own", usd=None, at=NOW - timedelta(days=1))
    add(fresh_database, outcome=None)
    found = get(client, group_by=["model", "day"])
    own, priced = sorted(found["rows"], key=lambda row: row["day"])
    assert priced == {
        "provider": "openai",
        "model": "gpt-5",
        "day": str(NOW.date()),
        "calls": 2,
        "input_tokens": 200,
        "output_tokens": 20,
        "cache_read_tokens": 100,
        "cache_write_tokens": 0,
        "reasoning_tokens": 10,
        "cost_usd": 0.5,
        "unpriced_calls": 0,
        "estimated": {"calls": 1, "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.25},
    }
    # An unknown price is none.
    assert (own["model"], own["cost_usd"], own["unpriced_calls"]) == ("my-own", None, 1)
    assert found["totals"]["calls"] == 3
    assert (found["total_cost_usd"], found["unpriced_calls"]) == (0.5, 1)
    by_prompt = get(client, group_by="prompt,feature")["rows"]
    counted = {(row["prompt"], row["prompt_version"], row["calls"]) for row in by_prompt}
    assert counted == {("chat", "1", 2), ("chat", "2", 1)}


def test_everybody_sees_their_own_and_readers_everything(
    client: TestClient, fresh_database: str
) -> None:
    add(fresh_database)
    add(fresh_database, principal="bob")
    add(fresh_database, principal=None)
    for key, seen in (
        (KEY, {"alice"}),
        (BOBS_KEY, {"bob"}),
        ("a-third-key-that-is-for-tests", {"alice", "bob", None}),
    ):
        found = get(client, key, group_by="principal")
        assert {row["principal"] for row in found["rows"]} == seen
        assert found["totals"]["calls"] == len(seen)


def test_whoever_works_without_keys_sees_everything(fresh_database: str) -> None:
    add(fresh_database)
    with TestClient(
        create_app(Settings()), base_url="http://localhost", client=("127.0.0.1", 1)
    ) as client:
        assert client.get(PATH).json()["totals"]["calls"] == 1


def test_a_date_that_ends_is_meant_as_a_whole(client: TestClient, fresh_database: str) -> None:
    for days in range(3):
        add(fresh_database, at=NOW - timedelta(days=days))
    day = str((NOW - timedelta(days=1)).date())
    assert get(client, **{"from": day, "to": day})["totals"]["calls"] == 1
    assert get(client, **{"from": day, "to": NOW.isoformat()})["totals"]["calls"] == 1
    assert get(client, **{"from": day.replace("-", ""), "to": day})["totals"]["calls"] == 1
    later = (NOW + timedelta(seconds=1)).isoformat()
    assert get(client, **{"from": day, "to": later})["totals"]["calls"] == 2


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"group_by": "person"}, "'principal', 'feature', 'model', 'prompt' or 'day'"),
        ({"from": "yesterday"}, "use a date or a time, such as 2026-11-30"),
        ({"to": "9999-12-31"}, "use a date or a time"),
        ({"from": "2026-11-30", "to": "2026-11-01"}, "name a time before the end"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    client: TestClient, query: dict[str, str], sentence: str
) -> None:
    assert sentence in problem(client.get(PATH, params=query), 422)["detail"]


def test_a_missing_table_is_said(client: TestClient, fresh_database: str) -> None:
    with psycopg.connect(fresh_database) as connection:
        connection.execute("DROP TABLE monitoring.calls")
    assert "its tables are missing" in problem(client.get(PATH), 503)["detail"]
