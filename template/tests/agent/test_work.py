"""A run uses tools, asks people, keeps its limits, and says why it ended."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic_ai import ModelRetry, Tool
from pydantic_ai.exceptions import ModelAuthenticationError, ToolFailed, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ToolCallPart, ToolReturnPart

from app.agent.durable import Scope
from app.agent.runs import Decision
from app.agent.tools import calculator

from app.errors import BadRequest
from tests.agent.conftest import (
    Notes,
    Office,
    Scripted,
    call,
    calling,
    failing,
    reading,
    waiting,
)
from tests.llm.scripted import Turn

pytestmark = pytest.mark.anyio

TOO_MUCH = "It would have taken more than a run may take."


def told(messages: list[ModelMessage]) -> list[str]:
    """Return what the model was told that the tools returned."""
    parts = [part for message in messages for part in message.parts]
    return [part.model_response_str() for part in parts if isinstance(part, ToolReturnPart)]


async def test_a_run_uses_its_tools_and_answers(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    model = scripted(
        Turn(["I add."], [call("calculator", expression="1 + 1")], "tool_call"),
        calling(call("note", what="2")),
        "It is noted.",
    )
    office = office.given(model, [calculator.TOOL, notes.tool])
    run = await office.do("Add 1 and 1, and note it.")
    assert (run.status, run.output, run.error) == ("completed", "It is noted.", None)
    usage = {"requests": 3, "tool_calls": 2, "input_tokens": 21, "output_tokens": 9}
    assert run.usage.model_dump() == usage
    assert notes.noted == ["2"]
    assert await office.kinds(run) == [
        "run.started",
        *("step", "text", "tool.call", "tool.result"),
        *("step", "tool.call", "tool.result"),
        *("step", "text", "run.completed"),
    ]
    events = await office.events(run)
    assert events[3].data.keys() == {"call_id", "tool", "arguments"}
    assert events[4].data | {"call_id": ""} == {
        "call_id": "",
        "tool": "calculator",
        "outcome": "succeeded",
        "result": "2",
    }
    assert events[-1].data == {"output": "It is noted."}


async def test_several_calls_of_one_turn_are_made_in_their_order(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    calls = [call("note", what=str(number)) for number in range(5)]
    office = office.given(scripted(calling(*calls), "Done."), [notes.tool])
    assert (await office.do()).status == "completed"
    assert notes.noted == ["0", "1", "2", "3", "4"]
    assert len(set(notes.keys)) == 5


async def test_what_needs_an_approval_waits_for_it_and_is_then_done_once(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    office = office.given(scripted(calling(call("note", what="a"))), [notes.asking])
    run = await office.do()
    (asked,) = waiting(run)
    assert (run.status, asked.tool, asked.arguments) == (
        "waiting_for_approval",
        "note",
        {"what": "a"},
    )
    event = (await office.events(run))[-1]
    assert event.kind == "approval.requested"
    assert event.data["approval_id"] == str(asked.id)
    assert event.data["digest"] == asked.digest
    assert notes.noted == []

    assert (await office.decide(run, True)).status == "queued"
    # Another process goes on, which knows nothing but what the database has.
    office = office.given(scripted("Done."))
    run = await office.go_on(run)
    assert (run.status, run.output, notes.noted) == ("completed", "Done.", ["a"])
    assert run.approvals[0].status == "approved"
    assert run.usage.requests == 2
    assert [event.id for event in await office.events(run)] == list(range(1, 9))


@pytest.mark.parametrize("limit", [{"max_steps": 2}, {"max_tokens": 100}, {"max_tool_calls": 1}])
async def test_what_was_approved_is_done_also_where_a_limit_is_near(
    office: Office, notes: Notes, scripted: Scripted, limit: dict[str, int]
) -> None:
    turn = calling(call("note", what="a"), input_tokens=80, output_tokens=5)
    run = await office.given(scripted(turn), [notes.asking], **limit).do()
    await office.decide(run, True)
    last = scripted("Done.")
    run = await office.given(last, [notes.asking], **limit).go_on(run)
    assert (run.status, run.output, notes.noted) == ("completed", "Done.", ["a"])
    assert last.calls[0].parameters.function_tools == []


@pytest.mark.parametrize("why", ["denied", "expired"])
async def test_what_is_not_approved_is_not_done_and_the_model_is_told(
    office: Office, notes: Notes, scripted: Scripted, why: str
) -> None:
    office = office.given(scripted(calling(call("note", what="a"))), [notes.asking])
    run = await office.do()
    if why == "denied":
        await office.decide(run, False)
    else:
        await office.execute("UPDATE agent.runs SET expires_at = now() - interval '1 second'")
    model = scripted("I did not.")
    run = await office.given(model).go_on(run)
    assert (run.status, run.approvals[0].status, notes.noted) == ("completed", why, [])
    (refused,) = told(model.calls[0].messages)
    assert "Do not try it in another way." in refused
    assert "tool.call" not in await office.kinds(run)


async def test_a_run_goes_on_when_all_that_it_asked_was_decided(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    calls = [call("note", what="a"), call("calculator", expression="1 + 1"), call("note", what="b")]
    office = office.given(scripted(calling(*calls)), [notes.asking, calculator.TOOL])
    run = await office.do()
    assert await office.results(run) == ["2"]
    first, second = waiting(run)
    for asked, approved in ((first, True), (second, False)):
        assert (await office.read(run)).status == "waiting_for_approval"
        decision = Decision(approved=approved, digest=asked.digest)
        await office.runs.decide("alice", run.id, asked.id, decision)
    model = scripted("Done.")
    run = await office.given(model).go_on(run)
    assert run.status == "completed"
    assert notes.noted == [first.arguments["what"]]
    assert len(told(model.calls[0].messages)) == 3


async def test_what_was_approved_is_what_is_done(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    """Whoever can write to the messages cannot have something else done under an approval."""
    office = office.given(scripted(calling(call("note", what="harmless"))), [notes.asking])
    run = await office.do()
    await office.decide(run, True)
    await office.execute("UPDATE agent.runs SET history = replace(history, 'harmless', 'harmful')")
    await office.given(scripted("Done.")).go_on(run)
    assert notes.noted == []


async def test_the_last_step_has_no_tools_and_answers(office: Office, scripted: Scripted) -> None:
    model = scripted(calling(call("calculator", expression="1 + 1")), "It is 2.")
    run = await office.given(model, max_steps=2).do()
    assert (run.status, run.output) == ("completed", "It is 2.")
    first, last = (asked.parameters for asked in model.calls)
    assert [tool.name for tool in first.function_tools] == ["calculator"]
    assert last.function_tools == []
    instructions = [part.content for part in last.instruction_parts or ()]
    assert "No more tools can be called." in "\n".join(instructions)


async def test_the_last_tool_call_is_followed_by_an_answer(
    office: Office, scripted: Scripted
) -> None:
    turns = [calling(call("calculator", expression=f"1 + {number}")) for number in range(2)]
    model = scripted(*turns, "Done.")
    assert (await office.given(model, max_tool_calls=2).do()).status == "completed"
    assert model.calls[-1].parameters.function_tools == []


async def test_a_model_that_never_answers_fails_the_run(office: Office, scripted: Scripted) -> None:
    turns = [calling(call("calculator", expression=f"1 + {number}")) for number in range(4)]
    run = await office.given(scripted(*turns), max_steps=2).do()
    assert (run.status, run.error) == ("failed", "The model gave no answer that can be used.")
    assert await office.results(run) == ["1"]
    assert run.usage.requests == 4


async def test_tokens_are_limited_and_the_last_of_them_are_for_the_answer(
    office: Office, scripted: Scripted
) -> None:
    turn = calling(call("calculator", expression="1 + 1"), input_tokens=85, output_tokens=0)
    model = scripted(turn, Turn(["It is 2."], input_tokens=10))
    assert (await office.given(model, max_tokens=100).do()).status == "completed"
    assert model.calls[-1].parameters.function_tools == []

    run = await office.given(scripted(Turn(["No."], input_tokens=101)), max_tokens=100).do()
    assert (run.status, run.error, run.output) == ("failed", TOO_MUCH, "")
    assert run.usage.input_tokens == 101


async def test_seconds_are_limited_also_while_a_tool_works(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    notes.may_end.clear()
    office = office.given(scripted(calling(call("note", what="a"))), [notes.tool], max_seconds=1)
    run = await office.do()
    assert (run.status, run.error, notes.noted) == ("failed", TOO_MUCH, [])


@pytest.mark.parametrize("ids", [range(5), [0] * 5])
async def test_the_same_call_is_made_three_times_and_then_refused(
    office: Office, scripted: Scripted, ids: Sequence[int]
) -> None:
    turns = [calling(replace(call("read"), tool_call_id=f"call_{id}")) for id in ids]
    model = scripted(*turns, "I give up.")
    run = await office.given(model, [reading("1", "2", "3", "4")]).do()
    assert run.status == "completed"
    assert await office.results(run) == ["1", "2", "3"]
    assert "called it so before" in told(model.calls[-1].messages)[-1]


async def test_a_call_of_an_earlier_turn_does_not_count_as_repeated(
    office: Office, scripted: Scripted
) -> None:
    for number in range(5):
        model = scripted(calling(call("read")), "Done.")
        own = office.given(model, [reading(str(number))])
        run = await own.do(f"Read the {number}th.", conversation_id="c")
        assert await office.results(run) == [str(number)]


async def test_a_tool_says_what_the_model_did_wrong(office: Office, scripted: Scripted) -> None:
    tools = [
        failing(ModelRetry("Say it in French."), "retry"),
        failing(ToolFailed("It is closed."), "closed"),
    ]
    model = scripted(calling(call("retry"), call("closed")), "Never mind.")
    run = await office.given(model, tools).do()
    assert run.status == "completed"
    assert await office.results(run) == ["Say it in French.", "It is closed."]
    outcomes = [e.data["outcome"] for e in await office.events(run) if e.kind == "tool.result"]
    assert outcomes == ["failed", "failed"]


async def test_what_a_tool_raises_is_shown_to_nobody(
    office: Office,
    scripted: Scripted,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = scripted(calling(call("fail")), "It failed.")
    run = await office.given(model, [failing(OSError("password=hunter2"))]).do()
    assert run.status == "completed"
    assert await office.results(run) == ["The tool failed: go on without it."]
    seen = f"{await office.events(run)} {model.calls} {caplog.text} {capsys.readouterr()}"
    assert "hunter2" not in seen


async def test_a_tool_that_keeps_asking_for_another_call_ends_no_run(
    office: Office, scripted: Scripted
) -> None:
    turns = [calling(call("fail")) for _ in range(3)]
    model = scripted(*turns, "It cannot be done.")
    run = await office.given(model, [failing(ModelRetry("Again."))]).do()
    assert (run.status, run.output) == ("completed", "It cannot be done.")
    assert await office.results(run) == ["Again."] * 3


async def test_arguments_that_are_never_right_fail_the_run(
    office: Office, scripted: Scripted
) -> None:
    turns = [calling(call("calculator", wrong=number)) for number in range(3)]
    run = await office.given(scripted(*turns)).do()
    assert (run.status, run.error) == ("failed", "The model gave no answer that can be used.")


async def test_an_answer_that_was_cut_off_is_none(office: Office, scripted: Scripted) -> None:
    run = await office.given(scripted(Turn(["It is"], finish="length"))).do(conversation_id="c")
    assert (run.status, run.output) == ("failed", "")
    assert run.error == "The answer was cut off: it is longer than LLM__MAX_OUTPUT_TOKENS."
    assert await office.column("SELECT id FROM agent.conversations") == []


async def test_one_answer_has_no_more_calls_than_a_run_may_have(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    sums = [call("calculator", expression=f"1 + {number}") for number in range(5)]
    model = scripted(calling(*sums), "Enough.")
    run = await office.given(model, max_tool_calls=2).do()
    assert (run.status, await office.results(run)) == ("completed", ["1", "2"])
    refused = told(model.calls[-1].messages)[2:]
    assert ["No more tools can be called" in each for each in refused] == [True] * 3
    asking = [call("note", what=f"{number}") for number in range(5)]
    run = await office.given(scripted(calling(*asking)), [notes.asking], max_tool_calls=2).do()
    assert [approval.arguments["what"] for approval in run.approvals] == ["0", "1"]


async def test_of_the_same_calls_of_one_answer_three_are_made(
    office: Office, scripted: Scripted
) -> None:
    sums = [call("calculator", expression="1 + 1")] * 4
    calls = [replace(each, tool_call_id=f"{number}") for number, each in enumerate(sums)]
    run = await office.given(scripted(calling(*calls), "2")).do()
    assert await office.results(run) == ["2", "2", "2"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelAuthenticationError("m", "no"), "The provider refuses this service's key."),
        (UnexpectedModelBehavior("hunter2"), "The model's provider failed."),
        (BadRequest("It says \0."), "It says \N{REPLACEMENT CHARACTER}."),
        (ZeroDivisionError("hunter2"), "Something failed here; the logs of the worker have it."),
    ],
)
async def test_a_model_that_fails_ends_the_run_with_the_reason(
    office: Office, scripted: Scripted, error: Exception, reason: str
) -> None:
    run = await office.given(scripted(Turn(error=error))).do()
    assert (run.status, run.error, run.output) == ("failed", reason, "")
    assert (await office.events(run))[-1].data == {"error": reason}


@pytest.mark.parametrize(
    "returned",
    [
        *("a\0b", "half \ud83d of a pair", float("nan"), ["\0"], {"\0": 1}),
        *(ToolFailed("\0 \ud83d"), ModelRetry("\0 \ud83d"), BadRequest("\0 \ud83d")),
    ],
)
async def test_what_postgres_cannot_store_ends_no_run(
    office: Office, notes: Notes, scripted: Scripted, returned: Any
) -> None:
    def strange() -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    calls = [call("strange"), call("note", what="a\0b")]
    model = scripted(calling(*calls), "The answer\0.")
    tools = [Tool[Scope](strange), notes.asking]
    run = await office.given(model, tools).do(conversation_id="c")
    await office.decide(run, False)
    run = await office.given(model, tools).go_on(run)
    assert (run.status, run.output) == ("completed", "The answer\N{REPLACEMENT CHARACTER}.")
    assert await office.results(run)


async def test_what_the_model_says_that_is_no_text_ends_no_run(
    office: Office, scripted: Scripted
) -> None:
    strange = ToolCallPart("calculator", {"expression": "1 + 1"}, "\0 \ud83d")
    run = await office.given(scripted(calling(strange), "half \ud83d of a pair")).do()
    assert (run.status, run.output) == ("completed", "half ? of a pair")
    assert await office.results(run) == ["2"]


async def test_a_run_with_agents_switched_off_meanwhile_ends(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    queued = await office.begin()
    asking = office.given(scripted(calling(call("note", what="a"))), [notes.asking])
    async with asking.working():
        run = await asking.reaches(queued, "waiting_for_approval")
    await asking.decide(run, True)
    run = await asking.given(scripted(), enabled=False).go_on(run)
    assert (run.status, run.error) == ("failed", "Agents were switched off.")
    assert notes.noted == []


async def test_a_run_that_ended_the_process_each_time_is_given_up(
    office: Office, scripted: Scripted
) -> None:
    run = await office.begin()
    await office.execute("UPDATE agent.runs SET attempts = 10")
    run = await office.given(scripted()).go_on(run)
    assert (run.status, run.error) == ("failed", "The service ended each time it worked on this.")


async def test_a_run_of_a_conversation_reads_what_was_said_before(
    office: Office, scripted: Scripted
) -> None:
    await office.given(scripted("Hello Ada.")).do("I am Ada.", conversation_id="c")
    broken = office.given(scripted(Turn(error=UnexpectedModelBehavior("no"))))
    assert (await broken.do("And you?", conversation_id="c")).status == "failed"
    model = scripted("Ada.")
    await office.given(model).do("Who am I?", conversation_id="c")
    texts = str(model.calls[0].messages)
    assert "I am Ada." in texts
    assert "Hello Ada." in texts
    # What failed was not said.
    assert "And you?" not in texts
    for other in ({"conversation_id": "d"}, {"conversation_id": "c", "principal": "bob"}, {}):
        model = scripted("No idea.")
        await office.given(model).do("Who am I?", **other)
        assert "Ada" not in str(model.calls[0].messages)


async def test_no_more_runs_of_one_principal_work_at_once_than_may(
    office: Office, notes: Notes, scripted: Scripted
) -> None:
    notes.may_end.clear()
    turns = [calling(call("note", what="a"))] * 4
    office = office.given(
        scripted(*turns, *["Done."] * 4), [notes.tool], max_parallel_runs=1, max_steps=9
    )
    mine = [await office.begin() for _ in range(3)]
    his = await office.begin(principal="bob")
    async with office.working():
        await office.reaches(his, "running")
        await office.reaches(mine[0], "running")
        assert [(await office.read(run)).status for run in mine[1:]] == ["queued", "queued"]
        notes.may_end.set()
        for run in (*mine, his):
            assert (await office.ended(run)).status == "completed"
