"""The built-in model uses the tool that the words ask for, and says what came of it."""

import pytest
from pydantic_ai import Tool

from app.agent.settings import AgentSettings
from app.agent.tools import calculator, fetch_page, notify

from tests.agent.conftest import Office, reading, waiting

pytestmark = pytest.mark.anyio


@pytest.fixture
def equipped(office: Office) -> Office:
    async def search_documents(query: str) -> str:
        return f"A text about {query}"

    tools = [
        calculator.TOOL,
        fetch_page.tool(fetch_page.Pages(["docs.example.org"])),
        notify.tool(AgentSettings()),
        Tool(search_documents),
    ]
    return office.given(tools=tools)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("What is 17 * 23?", "Offline model: calculator returned 391."),
        ("What is (1 + 2) / 4?", "Offline model: calculator returned 0.75."),
        ("dogs", "Offline model: search_documents returned A text about dogs."),
    ],
)
async def test_it_uses_the_tool_that_is_asked_for(equipped: Office, said: str, answer: str) -> None:
    run = await equipped.do(said)
    assert (run.status, run.output) == ("completed", answer)


async def test_it_uses_several_in_turn_and_asks_for_approval(equipped: Office) -> None:
    run = await equipped.do("Add 1 + 1, then notify people that it is done.")
    (asked,) = waiting(run)
    assert asked.arguments == {"message": "notify people that it is done"}
    await equipped.decide(run, False)
    run = await equipped.go_on(run)
    assert run.output.startswith("Offline model: calculator returned 2; notify returned ")


async def test_it_reads_no_page_of_another_host(equipped: Office) -> None:
    run = await equipped.do("Read https://evil.example/page.")
    assert run.status == "completed"
    assert "only of: docs.example.org" in str(await equipped.results(run))


async def test_without_tools_it_answers_as_it_does_elsewhere(office: Office) -> None:
    run = await office.given(tools=[reading("a", name="other")]).do("Hello")
    assert run.status == "completed"
    assert run.output.startswith("Offline model: ")


async def test_it_researches_one_question(equipped: Office) -> None:
    run = await equipped.do("dogs", agent="research")
    assert run.status == "completed"
    assert "A text about dogs" in run.output
