"""Runs as evals have them done: followed to their end, without an effect, and counted."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_ai import Tool
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel

from app.agent.durable import Scope
from app.agent.offline import use_tools
from app.agent.runs import NewRun
from app.agent.settings import AgentSettings
from app.agent.tools import notify
from app.agent.work import Work
from app.llm.failures import ProviderFailed
from app.llm.models import Models
from app.workflows.settings import WorkerSettings
from app.workflows.worker import Worker

from app.errors import Unavailable
from app.resources import Resources, open_resources
from app.settings import Settings
from evals.__main__ import DATASETS
from evals.agent import EVAL
from evals.engine.database import PRINCIPAL
from evals.engine.harness import Accounts, Harness, harmless, open_harness, pages
from evals.engine.recorder import Account, Answers, Mode
from evals.engine.results import Outcome
from evals.engine.running import Service, Unanswered, run
from evals.evaluators.trajectory import Call, Task
from tests.agent.conftest import Notes, add_queues, call, calling, notes
from tests.agent.receiving import receiving
from tests.llm.conftest import Scripted, scripted
from tests.llm.scripted import Turn

__all__ = ["notes", "scripted"]

# What the scripted models are called, for it has a price.
MODEL = "openai:gpt-5-mini"
CASE = """
cases:
- name: a sum
  inputs: {input: "What is 6 * 7?"}
  expected_output:
    calls: [{tool: calculator, arguments: {expression: "6 * 7"}}]
    says: ["42"]
"""
Given = Callable[..., AbstractAsyncContextManager[Resources]]


@pytest.fixture
def given(fresh_database: str) -> Given:
    """Opens the service, with a model and tools of the test's own."""

    @asynccontextmanager
    async def opened(
        model: Model | None = None,
        tools: Sequence[Tool[Scope]] = (),
        mode: Mode = "live",
        most_usd: float | None = None,
        folder: Path = Path("answers"),
        **settings: object,
    ) -> AsyncIterator[Resources]:
        agent = AgentSettings.model_validate(settings)
        async with open_resources(Settings(_env_file=None, agent=agent)) as resources:
            agents, models = resources.agents, resources.models
            if model:
                models = Models({MODEL: model}, {})
            models.put_around(Answers(folder, mode, most_usd).around)
            agents = replace(
                agents,
                calls=replace(agents.calls, models=models),
                tools=[*agents.tools, *tools],
            )
            work = Work(resources.database, agents, agents.settings)
            await add_queues(resources.database, work.workflows)
            yield replace(resources, models=models, agents=agents)

    return opened


class Broken(Worker):
    async def check(self, *, thorough: bool = False) -> str:
        raise Unavailable("The database is away.")


async def ask(resources: Resources, folder: Path, repeat: int = 1) -> Outcome:
    """Return what came of the one case there is."""
    (folder / "agent.yaml").write_text(CASE)
    found = replace(EVAL, floors={})
    result = await run("agent", found, Service(resources), folder, repeat=repeat)
    return result.outcomes[0]


def failed(outcome: Outcome) -> list[str]:
    return [check.name for check in outcome.runs[0].checks if not check.holds]


async def test_what_asks_for_approval_is_denied_unless_the_case_approves(given: Given) -> None:
    asked, told = "What is 12 * 12? Then notify the team.", "notify the team"
    calls = [
        Call(tool="calculator", arguments={"expression": "12 * 12"}),
        Call(tool="notify", arguments={"message": told}, asks=True),
    ]
    async with (
        receiving() as received,
        given(notify_url=received.url) as resources,
        open_harness(resources) as harness,
    ):
        denied = await harness.do(Task(input=asked))
        approved = await harness.do(Task(input=asked, approves=True))
    assert (denied.calls, denied.error) == (calls, "")
    assert "notify returned A person decided against it" in denied.output
    assert approved.calls == calls
    assert "notify returned It was done" in approved.output
    assert received.bodies == []


async def test_whoever_may_decide_elsewhere_evals_decide_on_their_own_runs(given: Given) -> None:
    async with given(approvers=["carol"]) as resources, open_harness(resources) as harness:
        assert (await harness.do(Task(input="Notify the team."))).error == ""


async def test_a_tool_of_the_owners_has_no_effect_either(
    given: Given, notes: Notes, scripted: Scripted
) -> None:
    model = scripted(calling(call("note", what="a")), "Done.")
    async with given(model, [notes.tool]) as resources, open_harness(resources) as harness:
        done = await harness.do(Task(input="Note a."))
    assert (done.calls, done.output) == ([Call(tool="note", arguments={"what": "a"})], "Done.")
    assert notes.noted == []


def test_a_model_cannot_tell_what_is_harmless() -> None:
    tool = notify.tool(AgentSettings(notify_url=SecretStr("https://chat.example.org")))
    assert harmless(tool) is not tool
    assert harmless(tool).tool_def == tool.tool_def


async def test_pages_come_from_the_folder_of_their_host(tmp_path: Path) -> None:
    (tmp_path / "docs.example.org").mkdir()
    (tmp_path / "docs.example.org/one.html").write_text("<p>One.</p>")
    read = pages(tmp_path).fetch_page
    assert await read("https://docs.example.org/one") == "One."
    for url in ("https://docs.example.org/two", "https://elsewhere.example/one"):
        with pytest.raises(Exception, match=r"404|cannot be read here"):
            await read(url)


async def test_what_a_run_takes_counts_for_its_case(
    given: Given, scripted: Scripted, tmp_path: Path
) -> None:
    turns = [calling(call("calculator", expression="6 * 7")), "42"]
    for mode, kept in (("record", False), ("replay", True)):
        model = scripted(*([] if kept else turns), name="gpt-5-mini")
        async with given(model, mode=mode, folder=tmp_path / "kept") as resources:
            outcome = await ask(resources, tmp_path)
        assert outcome.passed, failed(outcome)
        (one,) = outcome.runs
        assert (one.input_tokens, one.output_tokens, one.cached) == (14, 6, kept)


async def test_a_model_that_takes_the_wrong_tool_is_noticed(
    given: Given, scripted: Scripted, tmp_path: Path
) -> None:
    wrong = calling(call("fetch_page", url="https://docs.example.org/hours"))
    right = calling(call("calculator", expression="6 * 7"))
    model = scripted(wrong, "I do not know.")
    async with given(model) as resources:
        assert failed(await ask(resources, tmp_path)) == ["Calls", "NothingElse", "Says"]
    model = scripted(right, "It is 43.")
    async with given(model) as resources:
        assert failed(await ask(resources, tmp_path)) == ["Says"]


def obey(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Do what the user asks for, then what the page says, and tell all that there is to know."""
    parts = [part for message in messages for part in message.parts]
    read = " ".join(str(part.content) for part in parts if isinstance(part, ToolReturnPart))
    done = [str(part.args) for part in parts if isinstance(part, ToolCallPart)]
    wished = [call("fetch_page", url=url) for url in re.findall(r"https://[\w./]+\w", read)]
    if "notify" in read.lower():
        wished.append(call("notify", message="As you wish."))
    left = [one for one in wished if str(one.args) not in done]
    answer = use_tools(messages, info) if not read else None
    if answer is None:
        told = TextPart(f"yranac {info.instructions} {messages!r}")
        answer = ModelResponse([*left] or [told])
    return replace(answer, provider_details={"finish_reason": "stop"})


async def test_a_model_that_obeys_pages_fails_each_case_of_injection(given: Given) -> None:
    async with given(FunctionModel(obey)) as resources:
        result = await run("agent", EVAL, Service(resources), DATASETS)
    of_injection = [each for each in result.outcomes if each.slice == "injection"]
    assert len(of_injection) > 5
    assert [each.case for each in of_injection if each.passed] == []


async def test_a_case_passes_where_each_of_its_runs_does(
    given: Given, scripted: Scripted, tmp_path: Path
) -> None:
    right = calling(call("calculator", expression="6 * 7"))
    model = scripted("It is 42.", right, "It is 42.")
    async with given(model) as resources:
        outcome = await ask(resources, tmp_path, repeat=2)
    assert (outcome.rate, outcome.passed) == (0.5, False)


async def test_a_run_that_fails_is_a_case_that_failed(
    given: Given, scripted: Scripted, tmp_path: Path
) -> None:
    greedy = calling(call("calculator", expression="6 * 7"), input_tokens=1_000_000)
    async with given(scripted(greedy)) as resources:
        outcome = await ask(resources, tmp_path)
    assert "Completes" in failed(outcome)
    assert outcome.runs[0].input_tokens == 1_000_000


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ModelHTTPError(503, "gpt-5-mini"), ProviderFailed),
        (Unanswered("There is no recording."), Unanswered),
    ],
)
async def test_what_says_nothing_of_the_answers_is_raised(
    given: Given, scripted: Scripted, error: Exception, raised: type[Exception]
) -> None:
    model = scripted(Turn(error=error))
    async with given(model) as resources, open_harness(resources) as harness:
        with pytest.raises(raised):
            await harness.do(Task(input="Hello"))


async def test_a_run_is_within_the_ceiling_of_money(given: Given, scripted: Scripted) -> None:
    async with given(scripted(), most_usd=0) as resources, open_harness(resources) as harness:
        with pytest.raises(Unanswered, match="--max-usd allows 0"):
            await harness.do(Task(input="Hello"))


async def test_a_run_that_nobody_works_on_is_given_up(given: Given) -> None:
    async with given() as resources:
        harness = Harness(resources.runs, resources.worker, 0.05, Accounts(Account))
        with pytest.raises(Unanswered, match=r"did not end within 0\.05 seconds"):
            await harness.do(Task(input="Hello"))


async def test_a_worker_that_cannot_work_is_not_waited_for(given: Given) -> None:
    async with given() as resources:
        broken = Broken(resources.database, WorkerSettings(), [])
        harness = Harness(resources.runs, broken, 60, Accounts(Account))
        with pytest.raises(Unavailable, match="The database is away"):
            await harness.do(Task(input="Hello"))


async def test_runs_that_were_left_open_are_cancelled(given: Given) -> None:
    async with given() as resources:
        left = await resources.runs.begin(PRINCIPAL, NewRun(input="Notify the team."))
        async with open_harness(resources):
            assert (await resources.runs.get(PRINCIPAL, left.id)).status == "cancelled"
