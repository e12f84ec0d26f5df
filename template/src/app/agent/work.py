"""Work on runs: what the worker does for each entry of the queues.

A run is worked on in legs, each a workflow. A leg ends with the run, or where people have to
decide; the decision queues the next one. So nobody who waits keeps a worker busy, for days even.
"""

import asyncio
from typing import Any, Final

import structlog
from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.exceptions import UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.usage import RunUsage
from structlog.contextvars import bind_contextvars

from app.agent.assistant import Agents
from app.agent.conversations import trimmed
from app.agent.durable import Scope
from app.agent.research import SEARCH, research, search
from app.agent.runs import RUN, digest_of
from app.agent.settings import AgentSettings
from app.agent.store import Call, RunOver, Store
from app.db.engine import Database
from app.llm.failures import translated
from app.workflows.worker import Workflow

from app.errors import ServiceError

# A process that ends while it works on a run may have ended because of it.
_MOST_ATTEMPTS: Final = 10
_DENIED: Final = "A person decided against it. Do not try it in another way."
_EXPIRED: Final = "Nobody approved it in time. Do not try it in another way."
_log = structlog.stdlib.get_logger("app.agent")


class Failed(Exception):
    """Why a run ends without an answer, for the one who began it."""


class Work:
    """The workflows of the agent."""

    def __init__(self, database: Database, agents: Agents, settings: AgentSettings) -> None:
        self._store = Store(database)
        self._agents = agents
        self._settings = settings
        self.workflows = [
            Workflow(RUN, self.run, partition_concurrency=settings.max_parallel_runs),
            Workflow(SEARCH, self.search),
        ]

    async def run(self, run_id: str, leg: int) -> None:
        """Work on a leg of a run until it ends, or needs a decision."""
        bind_contextvars(feature="agent", run_id=run_id)
        run = await self._store.begin(run_id, leg, self._settings.max_seconds)
        if run is None:
            return
        bind_contextvars(principal=run.principal)
        usage = RunUsage(**(run.usage or {}))
        try:
            if not self._settings.enabled:
                raise Failed("Agents were switched off.")
            if run.attempts > _MOST_ATTEMPTS:
                raise Failed("The service ended each time it worked on this.")
            async with asyncio.timeout(max(run.seconds_left, 0)):
                with translated(), ToolManager.parallel_execution_mode("sequential"):
                    await self._leg(run, usage)
        except RunOver:
            return
        except Exception as error:
            await self._store.end(run_id, leg, "failed", usage=usage, error=_reason(error))
            if not isinstance(error, Failed | ServiceError | TimeoutError | UsageLimitExceeded):
                raise

    async def search(
        self, run_id: str, leg: int, principal: str, number: int, question: str
    ) -> dict[str, Any] | None:
        """Look into one question of a research."""
        bind_contextvars(feature="agent", run_id=run_id, principal=principal)
        scope = Scope(self._store, run_id, leg, principal, part=f"search {number}")
        try:
            with translated(), ToolManager.parallel_execution_mode("sequential"):
                return (await search(self._agents, scope, question)).model_dump()
        except RunOver:
            return None
        except ServiceError as error:
            return {"question": question, "answer": f"Nothing: {error.detail}"}

    async def _leg(self, run: Any, usage: RunUsage) -> None:
        scope = Scope(self._store, str(run.id), run.leg, run.principal)
        if run.agent == "research":
            output = await research(self._agents, scope, run.input, usage)
            await self._store.end(scope.run_id, run.leg, "completed", usage=usage, output=output)
            return
        earlier: list[ModelMessage] = []
        if run.history:
            earlier = ModelMessagesTypeAdapter.validate_json(run.history)
        elif run.conversation_id:
            earlier = await self._store.conversation(run.principal, run.conversation_id)
        result = await self._agents.assistant().run(
            None if run.history else run.input,
            message_history=earlier,
            deferred_tool_results=await self._decided(run, earlier) if run.history else None,
            deps=scope,
            usage=usage,
            usage_limits=self._agents.limits,
        )
        if isinstance(result.output, DeferredToolRequests):
            await self._store.wait(
                scope.run_id,
                run.leg,
                _calls(result.output),
                self._settings.approval_seconds,
                result.all_messages_json(),
                usage,
            )
            return
        await self._store.end(
            scope.run_id,
            run.leg,
            "completed",
            history=result.all_messages_json(),
            usage=usage,
            conversation=ModelMessagesTypeAdapter.dump_json(
                trimmed(result.all_messages(), self._settings.conversation_tokens)
            ),
            output=result.output,
        )

    async def _decided(self, run: Any, messages: list[ModelMessage]) -> DeferredToolResults:
        """Return what was decided on the calls that the leg before ended with."""
        calls = [call for message in messages for call in getattr(message, "tool_calls", ())]
        asked = {call.tool_call_id: call for call in calls}
        results = DeferredToolResults()
        for row in await self._store.decisions(str(run.id), run.leg - 1):
            call = asked[row.call_id]
            # What is done is what was approved, whatever the messages say by now.
            same = row.digest == digest_of(call.tool_name, call.args_as_dict())
            refusal = ToolDenied(_EXPIRED if row.status == "expired" else _DENIED)
            approved = row.status == "approved" and same
            results.approvals[row.call_id] = ToolApproved() if approved else refusal
        return results


def _calls(asked: DeferredToolRequests) -> list[Call]:
    return [
        Call(
            call_id=call.tool_call_id,
            tool=call.tool_name,
            arguments=call.args_as_dict(),
            digest=digest_of(call.tool_name, call.args_as_dict()),
            reason=asked.metadata.get(call.tool_call_id, {}).get(
                "reason", "This tool is never used without an approval."
            ),
        )
        for call in asked.approvals
    ]


def _reason(error: Exception) -> str:
    match error:
        case Failed():
            return str(error)
        case UsageLimitExceeded() | TimeoutError():
            return "It would have taken more than a run may take."
        case ServiceError(__cause__=UnexpectedModelBehavior()):
            return "The model gave no answer that can be used."
        case ServiceError():
            return error.detail
    return "Something failed here; the logs of the worker have it."
