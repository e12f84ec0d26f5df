"""Runs are begun once, are decided on once, and belong to one principal."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from app.agent.runs import Conflict, Decision, NewRun, digest_of
from app.agent.store import Run

from app.errors import Forbidden, InvalidRequest, NotFound, TooManyRequests, Unavailable
from tests.agent.conftest import Notes, Office, Scripted, call, calling, waiting
from tests.workflows.conftest import outcomes, statuses

pytestmark = pytest.mark.anyio


async def waiting_run(office: Office, notes: Notes, scripted: Scripted) -> tuple[Office, Run]:
    """Return a run that waits for an approval, and the office that it waits in."""
    turn = calling(call("note", what="a"))
    office = office.given(scripted(turn), [notes.asking])
    return office, await office.do()


async def test_a_run_is_queued_with_the_transaction_that_begins_it(office: Office) -> None:
    run = await office.begin("Add 1 and 1.")
    assert (run.status, run.input, run.output, run.error) == ("queued", "Add 1 and 1.", "", None)
    assert await statuses(office.database) == {f"run:{run.id}:1": "ENQUEUED"}


async def test_the_same_key_begins_the_same_run(office: Office) -> None:
    first = await office.begin("One.", key="k")
    assert await office.begin("One.", key="k") == first
    assert (await office.begin("One.", key="l")).id != first.id
    assert (await office.begin("One.", key=None)).id != first.id
    assert len(await statuses(office.database)) == 3


async def test_a_key_is_each_principals_own(office: Office) -> None:
    first = await office.begin("One.", key="k")
    assert (await office.begin("One.", "bob", key="k")).id != first.id


@pytest.mark.parametrize(
    "other", [{"input": "Two."}, {"agent": "research"}, {"conversation_id": "c"}]
)
async def test_the_same_key_for_another_request_is_refused(
    office: Office, other: dict[str, Any]
) -> None:
    await office.begin("One.", key="k")
    with pytest.raises(InvalidRequest, match="choose a new one"):
        await office.begin(**{"input": "One.", "key": "k", **other})
    assert len(await statuses(office.database)) == 1


async def test_a_key_is_claimed_before_anything_is_refused(office: Office) -> None:
    one = office.given(max_open_runs=1)
    first = await one.begin("One.", key="k", conversation_id="c")
    assert (await one.begin("One.", key="k", conversation_id="c")).id == first.id
    off = office.given(enabled=False)
    assert (await off.begin("One.", key="k", conversation_id="c")).id == first.id


async def test_a_key_finds_its_run_also_when_that_has_ended(office: Office) -> None:
    run = await office.do("What is 1 + 1?", key="k")
    assert run.status == "completed"
    assert await office.begin("What is 1 + 1?", key="k") == run


async def test_what_is_begun_ten_times_at_once_with_one_key_is_one_run(office: Office) -> None:
    runs = await outcomes(*(office.begin("One.", key="k") for _ in range(10)))
    assert len({run.id for run in runs}) == 1
    assert len(await statuses(office.database)) == 1


async def test_nobody_slips_past_the_limit(office: Office) -> None:
    office = office.given(max_open_runs=3)
    found = await outcomes(*(office.begin() for _ in range(10)))
    refused = [one for one in found if isinstance(one, TooManyRequests)]
    assert len(refused) == 7
    assert refused[0].headers == {"Retry-After": "5"}
    assert len(await office.runs.list("alice")) == 3
    assert (await office.begin(principal="bob")).status == "queued"


async def test_a_run_that_has_ended_makes_room(office: Office) -> None:
    office = office.given(max_open_runs=1)
    run = await office.begin()
    with pytest.raises(TooManyRequests):
        await office.begin()
    await office.runs.cancel("alice", run.id)
    assert await office.begin()


async def test_a_conversation_has_one_open_run(office: Office) -> None:
    found = await outcomes(*(office.begin(conversation_id="c") for _ in range(5)))
    assert [isinstance(one, Conflict) for one in found].count(True) == 4
    assert await office.begin(conversation_id="another")
    assert await office.begin(principal="bob", conversation_id="c")
    assert await office.begin()


async def test_with_agents_switched_off_none_begins(office: Office) -> None:
    office = office.given(enabled=False)
    with pytest.raises(Unavailable, match="switched off"):
        await office.begin()
    assert await statuses(office.database) == {}


@pytest.mark.parametrize("input", ["", " \n", "a\0b", "x" * 20_001])
def test_what_cannot_be_done_is_refused(input: str) -> None:
    with pytest.raises(ValueError, match="input"):
        NewRun(input=input)


async def test_runs_are_listed_page_by_page_to_their_principal(office: Office) -> None:
    mine = [await office.begin(f"Number {number}.") for number in range(3)]
    his = await office.begin(principal="bob")
    first = await office.runs.list("alice", 2)
    assert [*first, *await office.runs.list("alice", 2, first[-1].id)] == mine[::-1]
    with pytest.raises(NotFound):
        await office.runs.list("alice", 2, his.id)


async def test_only_one_of_two_racing_decisions_counts(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office, run = await waiting_run(office, notes, scripted)
    (asked,) = waiting(run)
    decisions = [Decision(approved=number % 2 == 0, digest=asked.digest) for number in range(6)]
    found = await outcomes(
        *(office.runs.decide("alice", run.id, asked.id, decision) for decision in decisions)
    )
    assert [isinstance(one, Conflict) for one in found].count(True) == 5
    (after,) = [one for one in found if isinstance(one, Run)]
    assert after.status == "queued"
    assert after.approvals[0].status in ("approved", "denied")
    assert set(await statuses(office.database)) == {f"run:{run.id}:1", f"run:{run.id}:2"}


async def test_a_decision_is_on_what_was_looked_at(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office, run = await waiting_run(office, notes, scripted)
    (asked,) = waiting(run)
    assert asked.digest == digest_of("note", {"what": "a"}) != digest_of("note", {"what": "b"})
    wrong = Decision(approved=True, digest=digest_of("note", {"what": "b"}))
    with pytest.raises(Conflict, match="looked at"):
        await office.runs.decide("alice", run.id, asked.id, wrong)
    assert await office.read(run) == run


async def test_what_was_not_decided_in_time_cannot_be_approved(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office, run = await waiting_run(office, notes, scripted)
    await office.execute("UPDATE agent.runs SET expires_at = now() - interval '1 second'")
    with pytest.raises(Conflict, match="in time"):
        await office.decide(run, True)
    assert (await office.read(run)).status == "waiting_for_approval"


async def test_what_is_anothers_or_nothing_is_not_found(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office, run = await waiting_run(office, notes, scripted)
    (asked,) = waiting(run)
    other = await office.begin()
    decision, runs = Decision(approved=True, digest=asked.digest), office.runs
    for refused in (
        runs.get("bob", run.id),
        runs.get("alice", uuid4()),
        runs.cancel("bob", run.id),
        runs.cancel("alice", uuid4()),
        runs.decide("bob", run.id, asked.id, decision),
        runs.decide("alice", run.id, uuid4(), decision),
        runs.decide("alice", uuid4(), asked.id, decision),
        # An approval of another run.
        runs.decide("alice", other.id, asked.id, decision),
        anext(runs.events("bob", run.id)),
    ):
        with pytest.raises(NotFound):
            await refused
    assert await office.read(run) == run


async def test_where_approvers_are_named_they_alone_decide(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office, run = await waiting_run(office, notes, scripted)
    office = office.given(approvers=["carol"])
    with pytest.raises(Forbidden, match="AGENT__APPROVERS"):
        await office.decide(run, True, "alice")
    with pytest.raises(NotFound):
        await office.decide(run, True, "bob")
    assert await office.runs.get("carol", run.id) == run
    assert [e.kind for e in await anext(office.runs.events("carol", run.id))] == [
        "run.started",
        "step",
        "approval.requested",
    ]
    with pytest.raises(NotFound):
        await office.runs.cancel("carol", run.id)
    await office.begin(principal="carol")
    assert await office.runs.list("carol", waiting=True) == [run]
    assert await office.runs.list("carol", after=run.id, waiting=True) == []
    assert await office.runs.list("alice", waiting=True) == [run]
    assert await office.runs.list("bob", waiting=True) == []
    decided = await office.decide(run, True, "carol")
    assert (decided.status, decided.approvals[0].decided_by) == ("queued", "carol")
    assert await office.runs.list("carol", waiting=True) == []


async def test_a_queued_run_is_cancelled_before_it_begins(office: Office) -> None:
    run = await office.begin()
    cancelled = await office.runs.cancel("alice", run.id)
    assert (cancelled.status, await office.kinds(run)) == ("cancelled", ["run.cancelled"])
    assert cancelled.ended_at is not None
    assert await statuses(office.database) == {f"run:{run.id}:1": "CANCELLED"}
    assert await office.runs.cancel("alice", run.id) == cancelled


async def test_a_waiting_run_is_cancelled_and_then_cannot_be_decided_on(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office, run = await waiting_run(office, notes, scripted)
    cancelled = await office.runs.cancel("alice", run.id)
    assert [approval.status for approval in cancelled.approvals] == ["cancelled"]
    decision = Decision(approved=True, digest=cancelled.approvals[0].digest)
    with pytest.raises(Conflict, match="any more"):
        await office.runs.decide("alice", run.id, cancelled.approvals[0].id, decision)
    assert (await office.kinds(run))[-1] == "run.cancelled"
    assert notes.noted == []


async def test_a_run_that_has_ended_stays_as_it_is(office: Office) -> None:
    run = await office.do("What is 1 + 1?")
    before = await office.events(run)
    assert await office.runs.cancel("alice", run.id) == run
    assert await office.events(run) == before


async def test_tidying_denies_what_nobody_decided(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office, run = await waiting_run(office, notes, scripted)
    await office.runs.tidy()
    assert await office.read(run) == run
    await office.execute("UPDATE agent.runs SET expires_at = now() - interval '1 second'")
    await outcomes(*(office.runs.tidy() for _ in range(3)))
    late = await office.read(run)
    assert (late.status, late.approvals[0].status) == ("queued", "expired")
    assert len(await statuses(office.database)) == 2


async def test_tidying_forgets_what_was_kept_long_enough(office: Office) -> None:
    office = office.given(retention_days=3)
    old = await office.do("What is 1 + 1?", conversation_id="old")
    await office.do("What is 1 + 2?", agent="research")
    await office.execute("UPDATE agent.runs SET ended_at = ended_at - interval '73 hours'")
    await office.execute(
        "UPDATE agent.conversations SET updated_at = updated_at - interval '73 hours'"
    )
    new = await office.do("What is 2 + 2?", conversation_id="new")
    open_run = await office.begin()
    await office.execute("UPDATE agent.runs SET created_at = created_at - interval '1 year'")
    await office.runs.tidy()
    assert {run.id for run in await office.runs.list("alice")} == {new.id, open_run.id}
    assert await office.column("SELECT id FROM agent.conversations") == ["new"]
    assert await office.events(old) == []
    # Nor does the engine know what was said.
    kept = {f"run:{run.id}:1" for run in (new, open_run)}
    assert (await statuses(office.database)).keys() == kept
    steps = "SELECT DISTINCT workflow_uuid FROM dbos.operation_outputs"
    assert await office.column(steps) == [f"run:{new.id}:1"]


async def test_events_are_read_on_from_any_id(office: Office) -> None:
    run = await office.do("What is 1 + 1?")
    every = await office.events(run)
    assert [event.id for event in every] == list(range(1, len(every) + 1))
    for after in range(len(every) + 2):
        read = [e async for page in office.runs.events("alice", run.id, after) for e in page]
        assert read == every[after:]


async def test_events_come_as_they_happen_until_the_run_ends(office: Office) -> None:
    run = await office.begin("What is 1 + 1?")
    read: list[str] = []
    async with asyncio.timeout(20):
        reader = office.runs.events("alice", run.id)
        assert await anext(reader) == []
        async with office.working():
            async for page in reader:
                read += [event.kind for event in page]
    assert read == await office.kinds(run)
    assert read[-1] == "run.completed"


async def test_what_is_cancelled_several_times_at_once_ends_once(office: Office) -> None:
    run = await office.begin()
    await outcomes(*(office.runs.cancel("alice", run.id) for _ in range(3)))
    assert await office.kinds(run) == ["run.cancelled"]
