"""A research plans, looks into each question at once in workflows of their own, and reports."""

import asyncio
import json
from collections import Counter

import pytest
from pydantic_ai import Tool
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.usage import RequestUsage

from app.agent.durable import UNTRUSTED, Scope
from app.agent.research import Finding

from tests.agent.conftest import Notes, Office, Scripted, call, calling
from tests.workflows.conftest import until

pytestmark = pytest.mark.anyio

NATIVE = ModelProfile(supports_json_schema_output=True, default_structured_output_mode="native")
# What a provider says of an answer that is whole.
ENDED = {"finish_reason": "stop"}
QUESTIONS = ["What is a?", "What is b?", "What is c?"]


class Researcher:
    """A model that plans three questions, looks something up for each, and reports."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.looked_up: Counter[str] = Counter()
        self.looking = 0
        self.may_find = asyncio.Event()
        self.planned: list[str] = []
        self.fails_for = ""
        self.told_to_report = ""

    def answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        *_, said = (
            str(part.content)
            for message in messages
            for part in message.parts
            if isinstance(part, UserPromptPart)
        )
        if said == self.fails_for:
            raise ZeroDivisionError
        wanted = info.model_request_parameters.output_object
        called = len(messages) > 1
        self.asked[f"{wanted.name if wanted else ''} {said[:10]} {called}"] += 1
        if wanted and wanted.name == "Plan":
            self.planned.append(str(messages))
            return self._say(json.dumps({"questions": QUESTIONS}))
        if wanted and wanted.name == "Report":
            self.told_to_report = info.instructions or ""
            return self._say(json.dumps({"report": said}))
        if not called:
            return self._answer(ToolCallPart("look_up", {"what": said}))
        return self._say(f"Found {said}")

    def _say(self, text: str) -> ModelResponse:
        return self._answer(TextPart(text))

    def _answer(self, part: TextPart | ToolCallPart) -> ModelResponse:
        return ModelResponse([part], usage=self._usage(), provider_details=ENDED)

    def _usage(self) -> RequestUsage:
        return RequestUsage(input_tokens=10, output_tokens=1)

    async def look_up(self, what: str) -> str:
        """Look something up."""
        self.looked_up[what] += 1
        self.looking += 1
        try:
            await self.may_find.wait()
        finally:
            self.looking -= 1
        return f"A text about {what}"

    async def are_looking(self) -> bool:
        return self.looking == len(QUESTIONS)


@pytest.fixture
def researcher() -> Researcher:
    return Researcher()


@pytest.fixture
def equipped(office: Office, researcher: Researcher) -> Office:
    tools = [Tool[Scope](researcher.look_up, metadata={UNTRUSTED: True})]
    return office.given(FunctionModel(researcher.answer, profile=NATIVE), tools)


async def test_questions_are_looked_into_at_once_and_reported_on(
    equipped: Office, researcher: Researcher
) -> None:
    equipped = equipped.given(max_parallel_runs=1)
    run = await equipped.begin("Explain the letters.", agent="research")
    async with equipped.working():
        await until(researcher.are_looking)
        researcher.may_find.set()
        run = await equipped.ended(run)
    assert run.status == "completed"
    for question in QUESTIONS:
        assert f"Asked: {question}\nFound: Found {question}" in run.output
    # A plan, a report, and two answers for each question.
    assert (run.usage.input_tokens, run.usage.output_tokens) == (80, 8)
    assert (run.usage.requests, run.usage.tool_calls) == (8, 3)
    names = "SELECT name FROM dbos.workflow_status ORDER BY name"
    assert await equipped.column(names) == ["run", "search", "search", "search"]
    events = await equipped.events(run)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    parts = {event.data["part"] for event in events if event.kind == "step"}
    assert parts == {"plan", "search 1", "search 2", "search 3", "report"}
    for kind in ("tool.call", "tool.result"):
        parts = {event.data["part"] for event in events if event.kind == kind}
        assert parts == {"search 1", "search 2", "search 3"}
    assert [event.data["text"] for event in events if event.kind == "text"] == [run.output]


async def test_what_was_broken_off_goes_on_and_asks_nothing_again(
    equipped: Office, researcher: Researcher
) -> None:
    run = await equipped.begin("Explain the letters.", agent="research")
    async with equipped.working():
        await until(researcher.are_looking)
    assert researcher.looking == 0
    before = await equipped.events(run)
    researcher.may_find.set()
    run = await equipped.go_on(run)
    assert run.status == "completed"
    assert set(researcher.asked.values()) == {1}
    assert researcher.looked_up == dict.fromkeys(QUESTIONS, 2)
    assert (await equipped.events(run))[: len(before)] == before


async def test_a_research_that_is_cancelled_ends_its_searches(
    equipped: Office, researcher: Researcher
) -> None:
    run = await equipped.begin("Explain the letters.", agent="research")

    async def nobody_looks() -> bool:
        return researcher.looking == 0

    async with equipped.working():
        await until(researcher.are_looking)
        await equipped.runs.cancel("alice", run.id)
        await until(nobody_looks)
    assert (await equipped.read(run)).status == "cancelled"
    statuses = await equipped.column("SELECT status FROM dbos.workflow_status")
    assert set(statuses) == {"CANCELLED"}


async def test_a_search_of_agents_that_are_switched_off_asks_nothing(
    equipped: Office, researcher: Researcher
) -> None:
    run = await equipped.begin("Explain the letters.", agent="research")
    found = await equipped.given(enabled=False).work.search(str(run.id), 1, "alice", 99, 1, "a?")
    assert Finding.model_validate(found).answer == "Nothing: Agents were switched off."
    assert researcher.asked == {}


async def test_the_report_is_written_with_what_the_searches_have_taken(
    equipped: Office, researcher: Researcher
) -> None:
    """It has no tools that could be taken away: where its form is one, it still needs that."""
    researcher.may_find.set()
    run = await equipped.given(max_steps=4).do("Explain the letters.", agent="research")
    assert (run.status, run.usage.requests) == ("completed", 8)
    assert "No more tools" not in researcher.told_to_report


async def test_a_search_of_a_run_that_is_over_asks_nothing(
    equipped: Office, researcher: Researcher
) -> None:
    run = await equipped.begin("Explain the letters.", agent="research")
    await equipped.runs.cancel("alice", run.id)
    found = await equipped.work.search(str(run.id), 1, "alice", 99, 1, QUESTIONS[0])
    assert Finding.model_validate(found).answer == "Nothing: The run is over."
    assert researcher.asked == {}


async def test_what_looks_into_a_research_that_is_over_ends_without_a_fault(
    equipped: Office, researcher: Researcher
) -> None:
    await equipped.begin("Explain the letters.", agent="research")

    async def has_ended() -> bool:
        statuses = await equipped.column("SELECT status FROM dbos.workflow_status")
        return set(statuses) == {"SUCCESS"}

    async with equipped.working():
        await until(researcher.are_looking)
        await equipped.execute("UPDATE agent.runs SET status = 'failed'")
        researcher.may_find.set()
        await until(has_ended)


async def test_each_search_has_its_share_of_the_tokens_and_the_report_the_rest(
    equipped: Office, researcher: Researcher
) -> None:
    researcher.may_find.set()
    # A search has 70 of 300 tokens, an answer takes 11.
    run = await equipped.given(max_tokens=300).do("Explain the letters.", agent="research")
    assert (run.status, run.usage.input_tokens) == ("completed", 80)
    # Of 90 it has 21, one less than its two answers take; the report still has enough.
    run = await equipped.given(max_tokens=90).do("Explain the letters.", agent="research")
    assert (run.status, run.usage.input_tokens) == ("completed", 80)
    assert run.output.count("Found: Nothing: It would have taken more") == 3
    run = await equipped.given(max_tokens=20).do("Explain the letters.", agent="research")
    assert (run.status, run.error) == ("failed", "It would have taken more than a run may take.")


async def test_a_research_that_takes_too_long_fails_and_its_searches_end(
    equipped: Office, researcher: Researcher
) -> None:
    run = await equipped.begin("Explain the letters.", agent="research")

    async def has_ended() -> bool:
        statuses = await equipped.column("SELECT status FROM dbos.workflow_status")
        return set(statuses) == {"SUCCESS"}

    async with equipped.given(max_seconds=1).working():
        await until(has_ended)
    assert (await equipped.read(run)).error == "It would have taken more than a run may take."
    assert researcher.looking == 0


async def test_a_research_is_a_turn_of_its_conversation(
    equipped: Office, researcher: Researcher, scripted: Scripted, notes: Notes
) -> None:
    researcher.may_find.set()
    await equipped.do("Explain the letters.", agent="research", conversation_id="c")
    # What it says comes from what strangers wrote.
    model = scripted(calling(call("note", what="a")))
    tools = [*equipped.tools, notes.tool]
    run = await equipped.given(model, tools).do("Note it.", conversation_id="c")
    assert (run.status, notes.noted) == ("waiting_for_approval", [])
    said = str(model.calls[0].messages)
    assert "Explain the letters." in said
    assert f"Found {QUESTIONS[0]}" in said
    await equipped.runs.cancel("alice", run.id)

    await equipped.do("And their order?", agent="research", conversation_id="c")
    first, second = researcher.planned
    assert "Explain the letters." in second
    assert "And their order?" not in first


async def test_a_search_that_fails_finds_nothing(equipped: Office, researcher: Researcher) -> None:
    researcher.may_find.set()
    researcher.fails_for = QUESTIONS[1]
    run = await equipped.do("Explain the letters.", agent="research")
    assert run.status == "completed"
    assert f"Asked: {QUESTIONS[1]}\nFound: Nothing: Something failed here" in run.output
    assert f"Found: Found {QUESTIONS[0]}" in run.output


async def test_a_plan_that_is_none_fails(office: Office) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([TextPart('{"questions": []}')], provider_details=ENDED)

    run = await office.given(FunctionModel(answer, profile=NATIVE)).do("Explain.", agent="research")
    assert (run.status, run.error) == ("failed", "The model gave no answer that can be used.")
