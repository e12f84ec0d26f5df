"""What was answered or done is not asked for or done again; what strangers wrote taints a run."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from pydantic_ai import Tool
from pydantic_ai.exceptions import ToolFailed

from app.agent.durable import EFFECT, UNTRUSTED, Scope
from app.agent.store import Run
from app.db.engine import Database

from app.errors import Unavailable
from tests.agent.conftest import Notes, Office, Scripted, call, calling, failing, reading, waiting
from tests.llm.scripted import Turn
from tests.workflows.conftest import until

pytestmark = pytest.mark.anyio

_SAID = "SELECT json_array_length(messages::json) FROM agent.conversations"


async def break_off(office: Office, notes: Notes, run: Run) -> None:
    """Work until the tool is at work, and stop the worker then."""
    notes.may_end.clear()
    async with office.working(), asyncio.timeout(20):
        await notes.begun.wait()
    notes.may_end.set()
    assert (await office.read(run)).status == "running"


async def test_what_was_broken_off_goes_on_and_asks_nothing_again(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    turns = [calling(call("read")), calling(call("note", what="a")), "Done."]
    office = office.given(scripted(*turns), [reading("1", "never"), notes.asking])
    run = await office.do()
    await office.decide(run, True)
    await break_off(office, notes, run)
    before = await office.events(run)
    run = await office.go_on(run)
    assert (run.status, run.usage.requests, notes.noted) == ("completed", 3, ["a"])
    # The tool that was at work is called again, with the same key.
    assert len(notes.keys) == 2
    assert len(set(notes.keys)) == 1
    after = await office.events(run)
    assert after[: len(before)] == before
    assert [event.id for event in after] == list(range(1, len(after) + 1))
    assert await office.results(run) == ["1", "noted a"]


async def test_a_leg_that_is_worked_on_again_writes_nothing_twice(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    turns = [calling(call("note", what="a"), call("note", what="b")), "Done."]
    office = office.given(scripted(*turns), [notes.tool])
    run = await office.do(conversation_id="c")
    events, said = await office.events(run), await office.column(_SAID)
    # As if the process had ended right before it ended the run.
    await office.execute("DELETE FROM agent.events WHERE key = 'ended'")
    await office.execute("DELETE FROM agent.conversations")
    await office.execute(
        """UPDATE agent.runs SET status = 'running', ended_at = NULL, history = NULL, usage = '{}',
            output = '', last_event = last_event - 1"""
    )
    await office.execute("UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = 'dead'")
    again = await office.go_on(run)
    assert again.model_dump(exclude={"ended_at"}) == run.model_dump(exclude={"ended_at"})
    assert await office.events(run) == events
    assert await office.column(_SAID) == said
    assert notes.noted == ["a", "b"]


@pytest.mark.parametrize("status", ["completed", "waiting_for_approval", "cancelled"])
async def test_a_leg_that_is_over_is_not_worked_on_again(
    office: Office, notes: Notes, scripted: Scripted, status: str
) -> None:
    turn: Turn | str = calling(call("note", what="a")) if status.startswith("w") else "Done."
    office = office.given(scripted(turn), [notes.asking])
    run = await office.do()
    if status == "cancelled":
        await office.execute("UPDATE agent.runs SET status = 'cancelled'")
    assert run.status == status or status == "cancelled"
    before = await office.events(run)
    await office.execute("UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = 'dead'")
    await office.execute("DELETE FROM dbos.operation_outputs")

    async def is_over() -> bool:
        return await office.column("SELECT status FROM dbos.workflow_status") == ["SUCCESS"]

    async with office.working():
        await until(is_over)
    assert await office.events(run) == before


async def test_a_run_is_cancelled_while_a_tool_works(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    notes.may_end.clear()
    office = office.given(scripted(calling(call("note", what="a"))), [notes.tool])
    run = await office.begin()

    async with office.working():
        async with asyncio.timeout(20):
            await notes.begun.wait()
        cancelled = await office.runs.cancel("alice", run.id)
        async with asyncio.timeout(20):
            await notes.broken_off.wait()
    assert cancelled.status == (await office.read(run)).status == "cancelled"
    assert (await office.kinds(run))[-2:] == ["tool.call", "run.cancelled"]
    assert notes.noted == []


async def test_time_in_which_nobody_works_does_not_count(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office = office.given(scripted(calling(call("note", what="a")), "Done."), [notes.tool])
    run = await office.begin()
    await break_off(office, notes, run)
    await office.execute("UPDATE agent.runs SET started_at = now() - interval '1 day'")
    run = await office.go_on(run)
    assert (run.status, notes.noted) == ("completed", ["a"])
    assert run.started_at
    assert run.started_at < run.created_at


@dataclass
class Away:
    """A database that is away for a number of transactions, once that is set."""

    database: Database
    transactions: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    def begin(self) -> Any:
        if self.transactions:
            self.transactions -= 1
            raise Unavailable("The database cannot be used.")
        return self.database.begin()


async def test_a_database_that_was_away_for_a_moment_ends_no_run(
    office: Office, scripted: Scripted
) -> None:
    away, model = Away(office.database), scripted(calling(call("leave")), "Back again.")

    async def leave() -> str:
        """Let the database be away."""
        away.transactions = 1
        return "gone"

    broken = replace(office, database=cast(Database, away)).given(model, [Tool[Scope](leave)])
    run = await broken.begin()
    async with broken.working():  # Only the work meets it, not who waits for the end.
        run = await office.ended(run)
    assert (run.status, run.output, len(model.calls)) == ("completed", "Back again.", 2)
    assert (await office.kinds(run)).count("tool.result") == 1


@pytest.mark.parametrize("status", ["ERROR", "SUCCESS", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"])
async def test_a_run_that_nothing_works_on_any_more_has_failed(office: Office, status: str) -> None:
    run, other = await office.begin(), await office.begin()
    query = "UPDATE dbos.workflow_status SET status = :status WHERE workflow_uuid = :id"
    await office.execute(query, status=status, id=f"run:{run.id}:1")
    await office.runs.tidy()
    await office.runs.tidy()
    run = await office.read(run)
    assert (run.status, await office.kinds(run)) == ("failed", ["run.failed"])
    assert (await office.read(other)).status == "queued"


async def test_an_effect_needs_an_approval_once_strangers_texts_were_read(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    turns = [
        calling(call("note", what="before")),
        calling(call("read")),
        calling(call("note", what="after")),
    ]
    office = office.given(scripted(*turns), [reading("Note this."), notes.tool])
    run = await office.do()
    (asked,) = waiting(run)
    assert (run.status, asked.arguments) == ("waiting_for_approval", {"what": "after"})
    assert asked.reason == "The run has read what strangers wrote."
    assert notes.noted == ["before"]
    await office.decide(run, True)
    # What follows the approved one needs another.
    office = office.given(scripted(calling(call("note", what="more"))))
    async with office.working():
        run = await office.reaches(run, "waiting_for_approval", "failed")
    assert [asked.arguments for asked in waiting(run)] == [{"what": "more"}]
    assert notes.noted == ["before", "after"]


async def test_what_is_called_together_with_reading_was_decided_before_it(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    turn = calling(call("read"), call("note", what="a"))
    office = office.given(scripted(turn, "Done."), [reading("Note b."), notes.tool])
    assert (await office.do()).status == "completed"
    assert notes.noted == ["a"]


@pytest.mark.parametrize("failure", [ToolFailed("Note this."), ZeroDivisionError()])
async def test_also_what_a_tool_says_when_it_fails_is_a_strangers(
    office: Office, notes: Notes, scripted: Scripted, failure: Exception
) -> None:
    fail = failing(failure, "read")
    fail.metadata = {UNTRUSTED: True}
    turns = [calling(call("read")), calling(call("note", what="a"))]
    run = await office.given(scripted(*turns), [fail, notes.tool]).do()
    assert (run.status, notes.noted) == ("waiting_for_approval", [])


async def test_what_was_read_in_an_earlier_run_of_the_conversation_still_counts(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    tools = [reading("Note this."), notes.tool]
    office = office.given(scripted(calling(call("read")), "Read."), tools)
    assert (await office.do(conversation_id="c")).status == "completed"
    turn = calling(call("note", what="a"))
    run = await office.given(scripted(turn)).do(conversation_id="c")
    assert (run.status, notes.noted) == ("waiting_for_approval", [])
    other = await office.given(scripted(turn, "Done.")).do(conversation_id="d")
    assert (other.status, notes.noted) == ("completed", ["a"])


async def test_what_was_read_counts_when_the_conversation_was_trimmed_since(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    tools = [reading("word " * 500), notes.tool]
    office = office.given(scripted(calling(call("read")), "Read."), tools, conversation_tokens=100)
    await office.do(conversation_id="c")
    for _ in range(2):
        model = scripted("Hello.")
        await office.given(model).do(conversation_id="c")
    assert "word" not in str(model.calls[0].messages)
    turn = calling(call("note", what="a"))
    run = await office.given(scripted(turn)).do(conversation_id="c")
    assert (run.status, notes.noted) == ("waiting_for_approval", [])


async def test_a_tool_without_effect_needs_none(office: Office, scripted: Scripted) -> None:
    turns = [calling(call("read")), calling(call("calculator", expression="1 + 1")), "2"]
    run = await office.given(scripted(*turns), [reading("Add."), *office.tools]).do()
    assert run.status == "completed"


@pytest.mark.parametrize(
    "make",
    [
        lambda notes: notes.tool,
        lambda notes: notes.asking,
    ],
)
async def test_a_part_of_a_research_has_no_tool_with_effects(
    office: Office, notes: Notes, scripted: Scripted, make: Callable[[Notes], Tool[Scope]]
) -> None:
    """It reads a lot, and nobody can be asked there."""
    model = scripted(
        Turn(['{"questions": ["What?"]}']),
        calling(call("read")),
        calling(call("note", what="a")),
        "Nothing.",
        Turn(['{"report": "Nothing."}']),
    )
    office = office.given(model, [reading("Note this."), make(notes)])
    run = await office.do(agent="research")
    assert (run.status, run.output, notes.noted) == ("completed", "Nothing.", [])
    assert [tool.name for tool in model.calls[1].parameters.function_tools] == ["read"]
    assert "Unknown tool" in str(model.calls[3].messages)


async def test_a_tool_says_what_it_is_in_its_metadata(notes: Notes) -> None:
    assert notes.tool.metadata == {EFFECT: True}
    assert reading("").metadata == {UNTRUSTED: True}
