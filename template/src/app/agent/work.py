"""Work on runs: what the worker does for each entry of the queues.

A run is worked on in legs, each a workflow. A leg ends with the run, or where people have to
decide; the decision queues the next one. So nobody who waits keeps a worker busy, for days even.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

import structlog
from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.exceptions import UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.usage import RunUsage
from structlog.contextvars import bind_contextvars

from app.agent.assistant import Agents
from app.agent.conversations import trimmed, turn
from app.agent.durable import Scope
from app.agent.research import MOST_QUESTIONS, SEARCH, Finding, research, search
from app.agent.runs import FAULT, RUN, digest_of
from app.agent.settings import AgentSettings
from app.agent.store import Approval, RunOver, Store, Usage, approvals_of
from app.db.engine import Database
from app.llm.failures import translated
from app.workflows.patience import patiently
from app.workflows.worker import Workflow

from app.errors import ServiceError

# A process that ends while it works on a run may have ended because of it.
_MOST_ATTEMPTS: Final = 10
_ALWAYS: Final = "This tool is never used without an approval."
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
            # No search waits for one of another research.
            Workflow(
                SEARCH,
                self.search,
                partition_concurrency=MOST_QUESTIONS * settings.max_parallel_runs,
            ),
        ]

    async def run(self, run_id: str, leg: int) -> None:
        """Work on a leg of a run until it ends, or needs a decision."""
        bind_contextvars(feature="agent", run_id=run_id, response_id=run_id)
        run = await patiently(lambda: self._store.begin(run_id, leg))
        if run is None:
            return
        bind_contextvars(principal=run.principal)
        usage = RunUsage(**run.usage)
        try:
            self._check_enabled()
            if run.attempts > _MOST_ATTEMPTS:
                raise Failed("The service ended each time it worked on this.")
            async with asyncio.timeout(self._settings.max_seconds):
                with translated(), ToolManager.parallel_execution_mode("sequential"):
                    await self._leg(run, usage)
        except RunOver:
            return
        except Exception as error:
            why = _reason(error)
            with suppress(RunOver):
                await patiently(lambda: self._store.end(run_id, leg, usage, error=why))

    async def search(
        self, run_id: str, leg: int, principal: str, tokens: int, number: int, question: str
    ) -> dict[str, Any]:
        """Look into one question of a research, with at most so many tokens."""
        bind_contextvars(feature="agent", run_id=run_id, response_id=run_id, principal=principal)
        scope = Scope(self._store, run_id, leg, principal, part=f"search {number}")
        limits = self._settings.model_copy(update={"max_tokens": tokens})
        usage = RunUsage()
        try:
            self._check_enabled()
            async with self._store.at_work(run_id, leg):
                pass
            async with asyncio.timeout(self._settings.max_seconds):
                with translated(), ToolManager.parallel_execution_mode("sequential"):
                    agents = replace(self._agents, settings=limits)
                    answer = await search(agents, scope, question, usage)
        except RunOver:
            answer = "Nothing: The run is over."
        except Exception as error:
            answer = f"Nothing: {_reason(error)}"
        taken = Usage.model_validate(usage, from_attributes=True)
        return Finding(question=question, answer=answer, usage=taken).model_dump()

    def _check_enabled(self) -> None:
        if not self._settings.enabled:
            raise Failed("Agents were switched off.")

    async def _leg(self, run: Any, usage: RunUsage) -> None:
        leg = str(run.id), run.leg
        scope = Scope(self._store, *leg, run.principal)
        messages: list[ModelMessage] = []
        if run.history:
            messages = ModelMessagesTypeAdapter.validate_json(run.history)
        elif run.conversation_id:
            named = run.principal, run.conversation_id
            messages = await patiently(lambda: self._store.conversation(*named))
        if run.agent == "research":
            output = await research(self._agents, scope, run.input, usage, messages)
            read = [tool.name for tool in self._agents.tools]
            messages += turn(run.input, output, read)
        else:
            result = await self._agents.assistant().run(
                None if run.history else run.input,
                message_history=messages,
                deferred_tool_results=_decided(run, messages) if run.history else None,
                deps=scope,
                usage=usage,
                usage_limits=self._agents.limits,
            )
            messages = result.all_messages()
            if isinstance(result.output, DeferredToolRequests):
                asked = _asked(result.output, run.leg, self._settings.approval_seconds)
                await patiently(lambda: self._store.wait(*leg, usage, asked, messages))
                return
            if result.response.finish_reason == "length":
                raise Failed("The answer was cut off: it is longer than LLM__MAX_OUTPUT_TOKENS.")
            output = result.output
        said = trimmed(messages, self._settings.conversation_tokens)
        await patiently(partial(self._store.end, *leg, usage, output=output, conversation=said))


def _asked(requests: DeferredToolRequests, leg: int, seconds: float) -> list[Approval]:
    expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    return [
        Approval(
            id=uuid4(),
            leg=leg,
            call_id=call.tool_call_id,
            tool=call.tool_name,
            arguments=call.args_as_dict(),
            digest=digest_of(call.tool_name, call.args_as_dict()),
            reason=str(requests.metadata.get(call.tool_call_id, {}).get("reason", _ALWAYS)),
            expires_at=expires_at,
        )
        for call in requests.approvals
    ]


def _decided(run: Any, messages: list[ModelMessage]) -> DeferredToolResults:
    """Return what was decided on the calls that the leg before ended with."""
    calls = [call for message in messages for call in getattr(message, "tool_calls", ())]
    asked = {call.tool_call_id: call for call in calls}
    results = DeferredToolResults()
    for found in approvals_of(run):
        if found.leg == run.leg - 1:
            call = asked[found.call_id]
            # What is done is what was approved, whatever the messages say by now.
            same = found.digest == digest_of(call.tool_name, call.args_as_dict())
            refusal = ToolDenied(_EXPIRED if found.status == "expired" else _DENIED)
            approved = found.status == "approved" and same
            results.approvals[found.call_id] = ToolApproved() if approved else refusal
    return results


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
    _log.error("a run failed", exc_info=error)
    return FAULT
