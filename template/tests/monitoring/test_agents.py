"""Agents: their runs, over all legs, and the tools they use."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from psycopg.rows import dict_row
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from app.agent.assistant import Agents
from app.agent.tools import calculator
from app.agent.work import Work
from app.llm.calls import Calls
from app.llm.models import Models
from app.llm.prompts import Prompts
from app.llm.settings import LLMSettings
from app.monitoring import names
from app.monitoring.agents import MonitoredAgent
from app.monitoring.metered import MeteredModel
from app.monitoring.models import MonitoredModel
from app.monitoring.traces import Monitor

from tests.agent.conftest import Notes, Office, call, calling, failing, notes, office
from tests.llm.conftest import Scripted, scripted
from tests.monitoring.conftest import Noted, attributes
from tests.monitoring.ledgers import Books, Fragile, database
from tests.monitoring.watching import monitor, reading_monitor
from tests.monitoring.working import client

__all__ = ["client", "database", "monitor", "notes", "office", "reading_monitor", "scripted"]


def reached(client: TestClient, run_id: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
        if run["status"] == status:
            return run
        assert time.monotonic() < deadline, run


def tree(noted: Noted) -> set[tuple[str, str | None]]:
    """Return each kind of span with its parent, without what only looks, or nobody asked for."""
    others = ("GET", "invoke_workflow drift")
    return {(s.name, noted.parent(s)) for s in noted.spans if not s.name.startswith(others)}


def test_each_leg_of_a_run_belongs_to_the_request_that_asked_for_it(
    client: TestClient, noted: Noted
) -> None:
    told = "What is 12 * 12? Then notify the canary team."
    run = client.post("/v1/runs", json={"input": told}).json()
    (asked,) = reached(client, run["id"], "waiting_for_approval")["approvals"]
    approval = f"/v1/runs/{run['id']}/approvals/{asked['id']}"
    client.post(approval, json={"approved": True, "digest": asked["digest"]})
    reached(client, run["id"], "completed")
    approving = "POST /v1/runs/{run_id}/approvals/{approval_id}"
    assert tree(noted) == {
        ("POST /v1/runs", None),
        ("invoke_workflow run", "POST /v1/runs"),
        (approving, None),
        ("invoke_workflow run", approving),
        ("invoke_agent assistant", "invoke_workflow run"),
        ("chat offline", "invoke_agent assistant"),
        ("execute_tool calculator", "invoke_agent assistant"),
        ("execute_tool notify", "invoke_agent assistant"),
    }
    (chat, *_) = noted.named("chat offline")
    assert attributes(chat)[names.FEATURE] == "agent"
    assert attributes(chat)[names.PROMPT] == "assistant"
    assert noted.counts(names.TOOL_DURATION, names.TOOL) == {"calculator": 1, "notify": 1}
    assert noted.counts(names.AGENT_DURATION, names.AGENT)["assistant"] == 2
    assert "canary" not in noted.everything()


def test_what_a_run_came_to_is_rated(client: TestClient, fresh_database: str) -> None:
    run = client.post("/v1/runs", json={"input": "What is 12 * 12, canary?"}).json()
    reached(client, run["id"], "completed")
    body = {"response_id": run["id"], "rating": "up"}
    assert client.post("/v1/feedback", json=body).status_code == 201
    with psycopg.connect(fresh_database, row_factory=dict_row) as connection:
        (kept,) = connection.execute("SELECT * FROM monitoring.responses").fetchall()
    assert (kept["id"], kept["feature"], kept["prompt"]) == (run["id"], "agent", "assistant")
    assert "canary" not in str(kept)


def test_the_searches_of_a_research_belong_to_it(client: TestClient, noted: Noted) -> None:
    told = {"input": "Where is the canary? And what is 2 + 3?", "agent": "research"}
    run = client.post("/v1/runs", json=told).json()
    reached(client, run["id"], "completed")
    assert tree(noted) >= {
        ("invoke_workflow run", "POST /v1/runs"),
        ("invoke_agent plan", "invoke_workflow run"),
        ("invoke_workflow search", "invoke_workflow run"),
        ("invoke_agent search", "invoke_workflow search"),
        ("chat offline", "invoke_agent search"),
        ("invoke_agent report", "invoke_workflow run"),
    }
    assert "canary" not in noted.everything()


@dataclass(frozen=True)
class MonitoredOffice(Office):
    """The parts, watched as `open_resources` does."""

    monitor: Monitor | None = None

    @property
    def work(self) -> Work:
        assert self.monitor
        model = MonitoredModel(self.model, self.monitor)
        calls = Calls(Models({model.model_name: model}, {}), LLMSettings(), 30)
        watching = [MonitoredAgent(self.monitor)]
        agents = Agents(calls, Prompts.load({}), self.tools, self.settings, watching)
        return Work(self.database, agents, self.settings)


def watched(office: Office, monitor: Monitor) -> MonitoredOffice:
    return MonitoredOffice(office.database, office.queue, office.model, monitor=monitor)


@pytest.mark.anyio
async def test_what_is_not_done_again_is_not_counted_again(
    office: Office, monitor: Monitor, noted: Noted, scripted: Scripted, notes: Notes
) -> None:
    first = calling(call("calculator", expression="1 + 1"))
    model = scripted(first, calling(call("note", what="x")), "It is done.")
    equipped = watched(office, monitor).given(model, [calculator.TOOL, notes.tool])
    notes.may_end.clear()
    run = await equipped.begin()
    async with equipped.working(), asyncio.timeout(20):
        await notes.begun.wait()
    notes.may_end.set()
    await equipped.go_on(run)
    assert len(noted.named("chat scripted")) == 3
    assert len(noted.named("execute_tool calculator")) == 1
    ended = [attributes(span).get(names.ERROR) for span in noted.named("execute_tool note")]
    assert ended == ["cancelled", None]


class Priced(FunctionModel):
    """A model whose price is known."""

    system = "openai"

    def __init__(self) -> None:
        super().__init__(self._fail, model_name="gpt-5")

    def _fail(self, messages: Any, info: AgentInfo) -> ModelResponse:
        raise AssertionError("it was asked")


@pytest.mark.anyio
async def test_a_run_beyond_a_budget_says_so(
    office: Office, database: Fragile, monitor: Monitor
) -> None:
    books = Books(database, monitor, daily_budgets_usd={"alice": "0.000001"})
    model = MeteredModel(Priced(), books.metering, 4_096)
    run = await watched(office, monitor).given(model).do()
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.startswith("Your budget of 0.000001 USD for today has not as much left")


@pytest.mark.anyio
async def test_a_tool_that_fails_is_noted_by_its_kind(
    office: Office, monitor: Monitor, noted: Noted, scripted: Scripted
) -> None:
    model = scripted(calling(call("fail")), "It failed.")
    equipped = watched(office, monitor).given(model, [failing(ValueError("canary"))])
    await equipped.do("Do it with the canary.")
    assert attributes(noted.span("execute_tool fail"))[names.ERROR] == "ValueError"
    assert noted.counts(names.TOOL_DURATION, names.ERROR) == {"ValueError": 1}
    assert "canary" not in noted.everything()


@pytest.mark.anyio
async def test_captured_content_is_redacted(
    office: Office, reading_monitor: Monitor, noted: Noted, scripted: Scripted, notes: Notes
) -> None:
    model = scripted(calling(call("note", what="a canary")), "It is done.")
    await watched(office, reading_monitor).given(model, [notes.tool]).do("Note the canary.")
    noticed = attributes(noted.span("execute_tool note"))
    assert json.loads(noticed[names.TOOL_ARGUMENTS]) == {"what": "a [bird]"}
    assert json.loads(noticed[names.TOOL_RESULT]) == "noted a [bird]"
    assert "canary" not in noted.everything()
