"""Research: plan, look into each question at the same time, and report what was found.

A worked example of a workflow of several steps. It is a plain function: whatever ends the process,
it begins again, and each step that was done returns what it returned then.
"""

from dataclasses import replace
from typing import Annotated, Any, Final

from dbos import DBOS, EnqueueOptions
from opentelemetry.context import get_current
from pydantic import BaseModel, Field
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.usage import RunUsage

from app.agent.assistant import Agents
from app.agent.durable import Scope
from app.workflows.queue import VERSION

SEARCH: Final = "search"
Question = Annotated[str, Field(min_length=1, max_length=500)]


class Plan(BaseModel):
    """The questions whose answers together answer the user's."""

    questions: list[Question] = Field(min_length=1, max_length=4)


class Finding(BaseModel):
    """What was found to one question, and the tokens that it took."""

    question: str
    answer: str
    input_tokens: int = 0
    output_tokens: int = 0


class Report(BaseModel):
    """The answer to the user's question, from what was found."""

    report: str = Field(min_length=1)


async def research(agents: Agents, scope: Scope, question: str, usage: RunUsage) -> str:
    """Return a report on `question`; what it takes is added to `usage`."""
    counted: Any = {"usage": usage, "usage_limits": agents.limits}
    planner, planning = agents.writer("plan", Plan), replace(scope, part="plan")
    plan: Plan = (await planner.run(question, deps=planning, **counted)).output

    # Each in a workflow of its own: they run at once, and any worker may take them.
    options: EnqueueOptions = {
        "workflow_name": SEARCH,
        "queue_name": SEARCH,
        "app_version": VERSION,
        "otel_context": get_current(),
    }
    known = (scope.run_id, scope.leg, scope.principal)
    searches = [
        await DBOS.enqueue_workflow_with_options_async(options, *known, number, each)
        for number, each in enumerate(plan.questions, 1)
    ]
    findings = [Finding.model_validate(await search.get_result()) for search in searches]
    for found in findings:
        # Steps and tool calls are limited for each agent, tokens for all of them.
        usage.incr(RunUsage(**found.model_dump(include={"input_tokens", "output_tokens"})))

    told = [f"The user asks: {question}"]
    told += [f"Asked: {found.question}\nFound: {found.answer}" for found in findings]
    writer, writing = agents.writer("report", Report), replace(scope, part="report")
    written: Report = (await writer.run("\n\n".join(told), deps=writing, **counted)).output
    await scope.emit("report", "text", {"text": written.report})
    return written.report


async def search(agents: Agents, scope: Scope, question: str) -> Finding:
    """Look into one question with the tools that need no approval."""
    usage = RunUsage()
    try:
        result = await agents.searcher().run(
            question, deps=scope, usage=usage, usage_limits=agents.limits
        )
        answer = result.output
    except UsageLimitExceeded:
        answer = "Nothing: it would have taken too much."
    return Finding(
        question=question,
        answer=answer,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )
