"""Events have no gaps, the same is written once, and whoever is over writes nothing."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai.usage import RunUsage

from app.agent.store import Approval, RunOver, Store, storable

from tests.agent.conftest import Office

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(office: Office) -> Store:
    return Store(office.database)


async def test_ids_of_events_have_no_gap_whoever_writes_them(office: Office, store: Store) -> None:
    run = await office.begin()
    id = str(run.id)
    await store.begin(id, 1)
    await asyncio.gather(*(store.emit(id, 1, f"{n % 20}", "step", {"n": n}) for n in range(60)))
    events = await office.events(run)
    assert [event.id for event in events] == list(range(1, 22))
    assert {event.data["n"] % 20 for event in events[1:]} == set(range(20))


async def test_the_same_key_is_written_once_for_each_leg(office: Office, store: Store) -> None:
    run = await office.begin()
    id = str(run.id)
    await store.begin(id, 1)
    for number in range(3):
        await store.emit(id, 1, "a", "step", {"number": number})
        await store.begin(id, 1)
    await office.execute("UPDATE agent.runs SET leg = 2")
    await store.emit(id, 2, "a", "step", {"number": 9})
    events = await office.events(run)
    assert [(e.id, e.kind, e.data.get("number")) for e in events] == [
        (1, "run.started", None),
        (2, "step", 0),
        (3, "step", 9),
    ]


@pytest.mark.parametrize("status", ["queued", "waiting_for_approval", "completed", "cancelled"])
async def test_a_run_that_is_not_worked_on_takes_nothing(
    office: Office, store: Store, status: str
) -> None:
    run = await office.begin()
    id = str(run.id)
    await office.execute("UPDATE agent.runs SET status = :status", status=status)
    with pytest.raises(RunOver):
        await store.emit(id, 1, "a", "step", {})
    with pytest.raises(RunOver):
        await store.end(id, 1, RunUsage(), output="late")
    assert (await office.read(run)).output == ""
    assert await office.events(run) == []


async def test_another_leg_takes_nothing(office: Office, store: Store) -> None:
    run = await office.begin()
    id = str(run.id)
    assert await store.begin(id, 2) is None
    assert await store.begin(id, 1)
    with pytest.raises(RunOver):
        await store.emit(id, 2, "a", "step", {})
    with pytest.raises(RunOver):
        await store.end(id, 2, RunUsage(), error="No.")
    assert (await office.read(run)).status == "running"
    assert await store.begin("00000000-0000-0000-0000-000000000000", 1) is None


async def test_events_come_page_by_page_and_the_last_page_says_so(
    office: Office, store: Store
) -> None:
    run = await office.begin()
    id = str(run.id)
    await store.begin(id, 1)
    await asyncio.gather(*(store.emit(id, 1, f"{n}", "step", {}) for n in range(398)))
    assert not (await store.events(run.id, 399))[1]
    await store.end(id, 1, RunUsage(), output="Done.")
    sizes = [
        (len(found), last) for found, last in [await store.events(run.id, n) for n in (0, 200, 400)]
    ]
    assert sizes == [(200, False), (200, False), (0, True)]
    assert len([e async for page in office.runs.events("alice", run.id) for e in page]) == 400


async def test_a_run_ends_once(office: Office, store: Store) -> None:
    run = await office.begin()
    id = str(run.id)
    await store.begin(id, 1)
    ends = await asyncio.gather(
        *(store.end(id, 1, RunUsage(), output=f"{number}") for number in range(5)),
        *(store.end(id, 1, RunUsage(), error=f"{number}") for number in range(5)),
        return_exceptions=True,
    )
    assert [type(end) for end in ends].count(RunOver) == 9
    ended = await office.read(run)
    assert (ended.error is None) == (ended.status == "completed")
    assert await office.kinds(run) == ["run.started", f"run.{ended.status}"]


async def test_what_a_leg_asks_for_is_asked_once(office: Office, store: Store) -> None:
    run = await office.begin()
    id = str(run.id)
    await store.begin(id, 1)
    said: dict[str, Any] = {"tool": "note", "arguments": {"b": "\0"}, "digest": "d", "reason": "r"}
    asked = Approval(id=uuid4(), leg=1, call_id="a", expires_at=datetime.now(UTC), **said)
    await store.wait(id, 1, RunUsage(requests=1), [asked], [])
    with pytest.raises(RunOver):
        await store.wait(id, 1, RunUsage(requests=1), [asked], [])
    waiting = await office.read(run)
    assert (waiting.status, len(waiting.approvals)) == ("waiting_for_approval", 1)
    assert (await office.kinds(run)).count("approval.requested") == 1
    (found,) = waiting.approvals
    assert (found.call_id, found.status, found.arguments) == (
        "a",
        "waiting",
        {"b": "\N{REPLACEMENT CHARACTER}"},
    )


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\ud83d", "?"),
        ("ü 😀 \\u0000", "ü 😀 \\u0000"),
        (
            {"\0": ["\0", (1, 2.5, None, True)]},
            {"\N{REPLACEMENT CHARACTER}": ["\N{REPLACEMENT CHARACTER}", [1, 2.5, None, True]]},
        ),
        ([float("nan"), float("inf")], ["nan", "inf"]),
    ],
)
def test_what_postgres_cannot_store_is_replaced(given: Any, stored: Any) -> None:
    assert storable(given) == stored
