"""The agent as evals ask it: in real runs, and with tools that change nothing outside.

What would have an effect is only pretended, and the pages that can be read are in `evals/pages`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx2
from pydantic_ai import Tool

from app.agent.durable import EFFECT, Scope
from app.agent.runs import Decision, NewRun, Runs
from app.agent.store import ENDED, Event, Run
from app.agent.tools import fetch_page
from app.agent.tools.fetch_page import Pages
from app.agent.work import Work
from app.llm.failures import translated
from app.workflows.queue import open_queue
from app.workflows.settings import WorkerSettings
from app.workflows.worker import Worker, Workflow

from app.resources import Resources
from evals.engine.database import PRINCIPAL
from evals.engine.recorder import Account
from evals.engine.running import AT_ONCE, Unanswered
from evals.evaluators.trajectory import Call, Done, Task

PAGES: Final = Path(__file__).parents[1] / "pages"
_QUICK: Final = WorkerSettings(concurrency=AT_ONCE, poll_seconds=0.05)
# By run, for its model calls are made in tasks of the worker.
Accounts = defaultdict[str, Account]


@dataclass(frozen=True)
class Harness:
    """Has runs done and follows them; `most_seconds` is what one may take."""

    runs: Runs
    worker: Worker
    most_seconds: float
    accounts: Accounts

    async def do(self, task: Task) -> Done:
        """Do a task in a run of its own; deny what it asks for, unless the task approves.

        Raises `Unanswered` where it does not end in time, and what the model raised where the run
        failed for that.
        """
        begun = await self.runs.begin(PRINCIPAL, NewRun(input=task.input))
        try:
            calls = await self._follow(begun, approves=task.approves)
        except Unanswered:
            await self.runs.cancel(PRINCIPAL, begun.id)
            raise
        finally:
            account = self.accounts.pop(str(begun.id), Account())
            account.settle()
        run = await self.runs.get(PRINCIPAL, begun.id)
        if account.trouble and run.status != "completed":
            with translated():
                raise account.trouble
        error = "" if run.status == "completed" else run.error or f"it was {run.status}"
        return Done(calls=calls, output=run.output, error=error)

    async def _follow(self, run: Run, *, approves: bool) -> list[Call]:
        """Take the decisions of a run until it ends; return what it called, or wanted to."""
        calls: list[Call] = []
        events = aclosing(self.runs.events(PRINCIPAL, run.id))
        try:
            async with asyncio.timeout(self.most_seconds), events as pages:
                async for page in pages:
                    await self.worker.check()
                    for event in page:
                        calls += _called(event, calls)
                        if event.kind == "approval.requested":
                            await self._decide(run, event, approved=approves)
        except TimeoutError as error:
            raise Unanswered(f"A run did not end within {self.most_seconds:g} seconds.") from error
        return calls

    async def _decide(self, run: Run, event: Event, *, approved: bool) -> None:
        decision = Decision(approved=approved, digest=event.data["digest"])
        await self.runs.decide(PRINCIPAL, run.id, UUID(event.data["approval_id"]), decision)


def _called(event: Event, before: Sequence[Call]) -> list[Call]:
    """Return the call that an event is about, once: what was approved stands there already."""
    if event.kind not in ("approval.requested", "tool.call"):
        return []
    asked = Call(tool=event.data["tool"], arguments=event.data["arguments"], asks=True)
    if event.kind == "approval.requested":
        return [asked]
    return [] if asked in before else [asked.model_copy(update={"asks": False})]


@asynccontextmanager
async def open_harness(resources: Resources) -> AsyncGenerator[Harness]:
    """Have a worker do the runs of evals: several at once, decided on by whoever begins them."""
    limits = {"approvers": (), "max_open_runs": 2 * AT_ONCE, "max_parallel_runs": AT_ONCE}
    settings = resources.agents.settings.model_copy(update=limits)
    tools = [harmless(tool) for tool in resources.agents.tools]
    agents = replace(resources.agents, tools=tools, settings=settings)
    work = Work(resources.database, agents, settings)
    with open_queue(resources.database) as queue:
        runs = Runs(resources.database, queue, settings, settings.max_seconds)
        accounts: Accounts = defaultdict(Account)
        workflows = [_counting(workflow, accounts) for workflow in work.workflows]
        worker = Worker(resources.database, _QUICK, workflows, [runs.tidy])
        # Evals that were broken off have left them.
        for left in await runs.list(PRINCIPAL):
            if left.status not in ENDED:
                await runs.cancel(PRINCIPAL, left.id)
        async with worker.working():
            yield Harness(runs, worker, 2 * settings.max_seconds, accounts)


def _counting(workflow: Workflow, accounts: Accounts) -> Workflow:
    """Return a workflow whose model calls count for the case that waits for its run."""

    async def run(run_id: str, *arguments: Any) -> Any:
        with accounts[run_id].open():
            return await workflow.run(run_id, *arguments)

    return replace(workflow, run=run)


def harmless(tool: Tool[Scope]) -> Tool[Scope]:
    """Return a tool that a model cannot tell from `tool`, and that changes nothing outside."""
    if tool.name == "fetch_page":
        return fetch_page.tool(pages())
    if not (tool.requires_approval or (tool.metadata or {}).get(EFFECT)):
        return tool

    async def pretend(*_: Any, **__: Any) -> str:
        return "It was done."

    twin = copy(tool)
    twin.function_schema = replace(tool.function_schema, function=pretend, is_async=True)
    return twin


def pages(folder: Path = PAGES) -> Pages:
    """Return pages as if they came from the hosts that have a folder in `folder`."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34"]

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = folder / request.headers["Host"] / f"{request.url.path.strip('/')}.html"
        if not path.is_file():
            return httpx2.Response(404)
        head = {"Content-Type": "text/html; charset=utf-8"}
        return httpx2.Response(200, headers=head, stream=httpx2.ByteStream(path.read_bytes()))

    hosts = [path.name for path in folder.iterdir() if path.is_dir()]
    return Pages(hosts, resolve, httpx2.MockTransport(answer))
