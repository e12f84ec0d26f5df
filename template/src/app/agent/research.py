"""Research: plan, look into each question at the same time, and report what was found.

A worked example of a workflow of several steps. It is a plain function: whatever ends the process,
it begins again, and each step that was done returns what it returned then.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from dbos import DBOS, EnqueueOptions
from opentelemetry.context import get_current
from pydantic import BaseModel, Field
from pydantic_ai.messages import ModelMessage
from pydantic_ai.usage import RunUsage

from app.agent.assistant import Agents
from app.agent.durable import Scope
from app.agent.store import Usage
from app.workflows.queue import VERSION

SEARCH: Final = "search"
MOST_QUESTIONS: Final = 4
# Of a run's tokens; the rest is for the plan and the report.
_FOR_SEARCHES: Final = 0.7
Question = Annotated[str, Field(min_length=1, max_length=500)]


class Plan(BaseModel):
    """The questions whose answers together answer the user's."""

    questions: list[Question] = Field(min_length=1, max_length=MOST_QUESTIONS)


class Finding(BaseModel):
    """What was found to one question, and what that took."""

    question: str
    answer: str
    usage: Usage


class Report(BaseModel):
    """The answer to the user's question, from what was found."""

    report: str = Field(min_length=1)


async def research(
    agents: Agents, scope: Scope, question: str, usage: RunUsage, earlier: Sequence[ModelMessage]
) -> str:
    """Return a report on `question`, asked after `earlier`; what it takes is added to `usage`."""
    # Steps and tool calls are limited for each agent, tokens for all of them.
    limits = replace(agents.limits, request_limit=None)
    counted: Any = {"usage": usage, "usage_limits": limits}
    planner, planning = agents.writer("plan", Plan), replace(scope, part="plan")
    planned = await planner.run(question, message_history=earlier, deps=planning, **counted)
    plan: Plan = planned.output

    # Each in a workflow of its own: they run at once, and any worker may take them.
    share = int(_FOR_SEARCHES * agents.settings.max_tokens) // len(plan.questions)
    options: EnqueueOptions = {
        "workflow_name": SEARCH,
        "queue_name": SEARCH,
        "queue_partition_key": scope.principal,
        "app_version": VERSION,
        "otel_context": get_current(),
    }
    known = (scope.run_id, scope.leg, scope.principal, share)
    searches = [
        await DBOS.enqueue_workflow_with_options_async(options, *known, number, each)
        for number, each in enumerate(plan.questions, 1)
    ]
    findings = [Finding.model_validate(await search.get_result()) for search in searches]
    for found in findings:
        usage.incr(RunUsage(**found.usage.model_dump()))

    told = [f"The user asks: {question}"]
    told += [f"Asked: {found.question}\nFound: {found.answer}" for found in findings]
    writer, writing = agents.writer("report", Report), replace(scope, part="report")
    written: Report = (await writer.run("\n\n".join(told), deps=writing, **counted)).output
    await scope.emit("report", "text", {"text": written.report})
    return written.report


async def search(agents: Agents, scope: Scope, question: str, usage: RunUsage) -> str:
    """Look into one question, with the tools that change nothing; `agents` have its limits."""
    result = await agents.searcher().run(
        question, deps=scope, usage=usage, usage_limits=agents.limits
    )
    return result.output
