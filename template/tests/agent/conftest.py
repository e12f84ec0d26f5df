"""What the tests of agents share: all parts on a database, models that do as told, and waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from pydantic_ai import RunContext, Tool
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model
from sqlalchemy import text

from app.agent.assistant import Agents
from app.agent.durable import EFFECT, UNTRUSTED, Scope
from app.agent.offline import plan_and_report, use_tools
from app.agent.runs import Decision, NewRun, Runs
from app.agent.settings import AgentSettings
from app.agent.store import ENDED, Approval, Event, Run
from app.agent.tools import calculator
from app.agent.work import Work
from app.db.engine import Database, open_database
from app.db.settings import DatabaseSettings
from app.llm.calls import Calls
from app.llm.models import Models
from app.llm.offline import offline_model
from app.llm.prompts import Prompts
from app.llm.settings import LLMSettings
from app.workflows.queue import Queue, open_queue
from app.workflows.settings import WorkerSettings
from app.workflows.worker import Worker, Workflow

from tests.llm.conftest import Scripted, scripted
from tests.llm.scripted import Turn
from tests.workflows.conftest import until

__all__ = ["Scripted", "scripted"]

# Looks for work all the time; for what dead processes left, and what is late, when it begins.
QUICK = WorkerSettings(poll_seconds=0.02, recover_seconds=5)


@dataclass(frozen=True)
class Office:
    """The parts, as `open_resources` puts them together, and a worker that never pauses."""

    database: Database
    queue: Queue
    model: Model
    tools: Sequence[Tool[Scope]] = (calculator.TOOL,)
    settings: AgentSettings = field(default_factory=AgentSettings)

    def given(
        self,
        model: Model | None = None,
        tools: Sequence[Tool[Scope]] | None = None,
        **settings: Any,
    ) -> "Office":
        """Return the same with other parts, as after another start."""
        return replace(
            self,
            model=model or self.model,
            tools=self.tools if tools is None else tools,
            settings=AgentSettings(**{**self.settings.model_dump(), **settings}),
        )

    @property
    def runs(self) -> Runs:
        return Runs(self.database, self.queue, self.settings, stream_seconds=120)

    @property
    def work(self) -> Work:
        calls = Calls(Models({self.model.model_name: self.model}, {}), LLMSettings(), 30)
        agents = Agents(calls, Prompts.load({}), self.tools, self.settings)
        return Work(self.database, agents, self.settings)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        workflows = self.work.workflows
        await add_queues(self.database, workflows)
        async with Worker(self.database, QUICK, workflows, [self.runs.tidy]).working():
            yield

    async def begin(
        self, input: str = "Do it.", principal: str = "alice", key: str | None = None, **given: Any
    ) -> Run:
        return await self.runs.begin(principal, NewRun(input=input, **given), key)

    async def reaches(self, run: Run, *statuses: str) -> Run:
        """Wait until a run has one of the statuses."""

        async def has() -> bool:
            return (await self.column(_STATUS, run.id))[0] in statuses

        await until(has)
        return await self.read(run)

    async def ended(self, run: Run) -> Run:
        return await self.reaches(run, *ENDED)

    async def do(self, input: str = "Do it.", **given: Any) -> Run:
        """Begin a run, and work on it until it ends or waits."""
        run = await self.begin(input, **given)
        async with self.working():
            return await self.reaches(run, *ENDED, "waiting_for_approval")

    async def go_on(self, run: Run) -> Run:
        """Work on a run until it ends."""
        async with self.working():
            return await self.ended(run)

    async def read(self, run: Run) -> Run:
        (principal,) = await self.column("SELECT principal FROM agent.runs WHERE id = :id", run.id)
        return await self.runs.get(principal, run.id)

    async def decide(self, run: Run, approved: bool, principal: str = "alice") -> Run:
        """Take the decision that a run waits for."""
        (asked,) = waiting(await self.read(run))
        decision = Decision(approved=approved, digest=asked.digest)
        return await self.runs.decide(principal, run.id, asked.id, decision)

    async def events(self, run: Run, after: int = 0) -> list[Event]:
        """Return what has happened in a run so far, page by page."""
        query = "SELECT id, kind, data FROM agent.events WHERE run_id = :id AND id > :after"
        async with self.database.begin() as connection:
            rows = await connection.execute(
                text(f"{query} ORDER BY id"), {"id": run.id, "after": after}
            )
            return [Event(*row) for row in rows]

    async def kinds(self, run: Run) -> list[str]:
        return [event.kind for event in await self.events(run)]

    async def results(self, run: Run) -> list[Any]:
        """Return what the run's tools returned."""
        return [e.data["result"] for e in await self.events(run) if e.kind == "tool.result"]

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text(statement), values)

    async def column(self, query: str, id: UUID | None = None) -> list[Any]:
        """Return the first column of what a query finds."""
        async with self.database.begin() as connection:
            return list(await connection.scalars(text(query), {"id": id} if id else {}))


_STATUS = "SELECT status FROM agent.runs WHERE id = :id"
_QUEUE = """
    INSERT INTO dbos.queues (name, partition_concurrency, polling_interval_sec)
    VALUES (:name, :most, :seconds) ON CONFLICT (name) DO NOTHING"""


async def add_queues(database: Database, workflows: Sequence[Workflow]) -> None:
    """Have the queues there when a worker starts: it looks at once, and not a second later."""
    async with database.begin() as connection:
        for workflow in workflows:
            most, seconds = workflow.partition_concurrency, QUICK.poll_seconds
            values = {"name": workflow.name, "most": most, "seconds": seconds}
            await connection.execute(text(_QUEUE), values)


@asynccontextmanager
async def open_office(url: str, model: Model | None = None) -> AsyncIterator[Office]:
    async with open_database(DatabaseSettings(url=SecretStr(url))) as database:
        with open_queue(database) as queue:
            offline = offline_model(plan_and_report, use_tools)
            yield Office(database, queue, model or offline)


@pytest.fixture
async def office(fresh_database: str) -> AsyncIterator[Office]:
    async with open_office(fresh_database) as office:
        yield office


def waiting(run: Run) -> list[Approval]:
    """Return what waits for a decision."""
    return [approval for approval in run.approvals if approval.status == "waiting"]


def call(tool: str, **arguments: Any) -> ToolCallPart:
    return ToolCallPart(tool, arguments)


def calling(*calls: ToolCallPart, **given: Any) -> Turn:
    """Return a turn in which the model calls tools."""
    return Turn(tool_calls=calls, finish="tool_call", **given)


class Notes:
    """A tool that notes what it is given, once for each key; it waits while it may not end."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.keys: list[str] = []
        self.begun = asyncio.Event()
        self.broken_off = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def note(self, ctx: RunContext[Scope], what: str) -> str:
        """Note something."""
        self.keys.append(ctx.deps.key)
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.broken_off.set()
            raise
        self.noted.append(what)
        return f"noted {what}"

    @property
    def tool(self) -> Tool[Scope]:
        """It changes something, and may be used at once."""
        return Tool(self.note, metadata={EFFECT: True})

    @property
    def asking(self) -> Tool[Scope]:
        """It is never used without an approval."""
        return Tool(self.note, metadata={EFFECT: True}, requires_approval=True)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def reading(*texts: str, name: str = "read") -> Tool[Scope]:
    """Make a tool that returns what strangers wrote, the first text first, the last for ever."""
    left = list(texts)

    async def read() -> str:
        """Read what strangers wrote."""
        return left.pop(0) if len(left) > 1 else left[0]

    return Tool(read, name=name, metadata={UNTRUSTED: True})


def failing(error: Exception | Callable[[], Exception], name: str = "fail") -> Tool[Scope]:
    """Make a tool that raises."""

    async def fail() -> str:
        """Fail."""
        raise error if isinstance(error, Exception) else error()

    return Tool(fail, name=name)
