"""What makes an agent durable, and keeps it within its limits.

Each answer of the model and each call of a tool is a step of the workflow: what is written down is
not asked for, or done, again. pydantic-ai's `DBOSDurability` is not used: it makes no tool a step,
pickles what newer versions then have to read, and binds its steps to one launch of the engine.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from dbos import DBOS
from pydantic import TypeAdapter
from pydantic_ai import ModelRetry, RunContext, ToolDefinition
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import (
    ApprovalRequired,
    ToolFailed,
    ToolFailedError,
    ToolRetryError,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
from pydantic_ai.usage import RunUsage
from pydantic_core import to_jsonable_python

from app.agent.conversations import last_turn, tools_read
from app.agent.settings import AgentSettings
from app.agent.store import EventKind, Store, storable
from app.llm.calls import Calls
from app.llm.failures import ProviderFailed
from app.llm.prompts import Prompt
from app.workflows.patience import patiently

from app.errors import ServiceError

# What a tool says of itself, in its metadata: it changes something outside of the run; its results
# were written by strangers.
EFFECT: Final = "effect"
UNTRUSTED: Final = "untrusted"
# Of a longer result the events show the beginning.
_SHOWN: Final = 2_000
_MOST_SAME_CALLS: Final = 3
_RESPONSE: Final = TypeAdapter(ModelResponse)
_log = structlog.stdlib.get_logger("app.agent")


@dataclass(frozen=True)
class Scope:
    """What a tool knows of the run it is called in: pydantic-ai's `deps`."""

    store: Store
    run_id: str
    leg: int
    principal: str
    # Tells the agents apart that work on one run, in their events and the keys of those.
    part: str = ""

    @property
    def key(self) -> str:
        """The same whenever this tool call is tried again, and no other's: for idempotency."""
        return f"{DBOS.workflow_id}:{DBOS.step_id}"

    async def emit(self, key: str, kind: EventKind, data: dict[str, Any]) -> None:
        said = {"part": self.part, **data} if self.part else data
        known = self.run_id, self.leg, f"{self.part}.{key}", kind, said
        await patiently(lambda: self.store.emit(*known))


async def step(name: str, work: Callable[[], Awaitable[Any]]) -> Any:
    """Do `work`, and write down the JSON that it returns; where that was done, return it."""
    return await DBOS.run_step_async({"name": name, "preemptible": True}, work)


class DurableModel(WrapperModel):
    """Asks the model in steps, and otherwise as whatever else asks one here does."""

    def __init__(self, calls: Calls, prompt: Prompt) -> None:
        super().__init__(calls.models.get())
        self._calls = calls
        self._prompt = prompt

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async def ask() -> tuple[str, str]:
            given = messages, model_settings, model_request_parameters
            try:
                async with self._calls.begin(
                    self._prompt, self.wrapped, messages, model_request_parameters
                ) as call:
                    response = call.take(await self.wrapped.request(*given))
            except ServiceError as error:
                return "failed", error.detail
            said = storable(_RESPONSE.dump_python(response, mode="json"))
            return "answered", json.dumps(said)

        outcome, said = await step("model", ask)
        if outcome == "failed":
            raise ProviderFailed(said)
        return _RESPONSE.validate_json(said)


class DurableToolset(WrapperToolset[Scope]):
    """Calls tools in steps. What a tool raises is written down as what the model is told."""

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[Scope],
        tool: ToolsetTool[Scope],
    ) -> Any:
        async def call() -> tuple[str, Any]:
            try:
                called = super(DurableToolset, self).call_tool(name, tool_args, ctx, tool)
                return "returned", to_jsonable_python(await called)
            except ModelRetry as retry:
                return "retry", retry.message
            except ToolFailed as failed:
                return "failed", failed.message
            except ApprovalRequired as required:
                return "approval", to_jsonable_python(required.metadata, fallback=str)
            except ServiceError as error:
                return "failed", error.detail
            except Exception as error:
                # Its message may hold what nobody should read.
                _log.warning("a tool failed", tool=name, error=type(error).__name__)
                return "failed", "The tool failed: go on without it."

        async def call_and_clean() -> Any:
            return storable(await call())

        outcome, value = await step(f"tool {name}", call_and_clean)
        match outcome:
            case "returned":
                return value
            # One time more, and pydantic-ai would end the run.
            case "retry" if not ctx.last_attempt:
                raise ModelRetry(value)
            case "approval":
                raise ApprovalRequired(value)
        raise ToolFailed(value)


@dataclass
class Supervised(AbstractCapability[Scope]):
    """Writes the events, asks for approval, and calls for an answer before a limit is reached."""

    settings: AgentSettings
    # The tools whose results were not written by strangers; one that is gone may have been another.
    trusted: frozenset[str]
    has_tools: bool

    def get_wrapper_toolset(self, toolset: AbstractToolset[Scope]) -> AbstractToolset[Scope]:
        return DurableToolset(toolset)

    def get_instructions(self) -> Callable[[RunContext[Scope]], str | None]:
        def answer_now(ctx: RunContext[Scope]) -> str | None:
            return _ANSWER_NOW if self.has_tools and self._is_last_turn(ctx.usage) else None

        return answer_now

    async def prepare_tools(
        self, ctx: RunContext[Scope], tool_defs: list[ToolDefinition]
    ) -> list[ToolDefinition]:
        # Before its first request a leg makes the calls that were approved.
        return [] if ctx.run_step and self._is_last_turn(ctx.usage) else tool_defs

    async def after_model_request(
        self,
        ctx: RunContext[Scope],
        *,
        request_context: ModelRequestContext,
        response: ModelResponse,
    ) -> ModelResponse:
        usage, scope = response.usage, ctx.deps
        tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        said = {"step": ctx.usage.requests + 1, **tokens}
        await scope.emit(f"{ctx.run_step}.step", "step", said)
        # What the parts of a research write is for one another.
        if response.text and not scope.part:
            await scope.emit(f"{ctx.run_step}.text", "text", {"text": response.text})
        return response

    async def after_tool_validate(
        self,
        ctx: RunContext[Scope],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
    ) -> dict[str, Any]:
        # Counted in the messages, so that it comes to the same when the run goes on elsewhere.
        said = [part for message in last_turn(ctx.messages) for part in message.parts]
        calls = [part for part in said if isinstance(part, ToolCallPart)]
        # Not every provider numbers them on from one answer to the next: the last one is meant.
        before = calls[: max(n for n, c in enumerate(calls) if c.tool_call_id == call.tool_call_id)]
        if len(before) >= self.settings.max_tool_calls:
            raise ToolFailed("No more tools can be called: answer with what you have.")
        if sum(_says(c) == _says(call) for c in before) >= _MOST_SAME_CALLS:
            raise ToolFailed("You have called it so before: use what it returned, or answer.")
        # What was read stays read, also in an earlier turn of the conversation.
        is_trusted = tools_read(ctx.messages) <= self.trusted
        has_effect = (tool_def.metadata or {}).get(EFFECT)
        if has_effect and not is_trusted and not ctx.tool_call_approved:
            raise ApprovalRequired({"reason": "The run has read what strangers wrote."})
        return args

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Scope],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Any:
        key = f"{ctx.run_step}.{call.tool_call_id}"
        about = {"call_id": call.tool_call_id, "tool": call.tool_name}
        given = to_jsonable_python(args)
        await ctx.deps.emit(f"{key}.call", "tool.call", {**about, "arguments": given})
        try:
            result = await handler(args)
        except (ToolRetryError, ToolFailedError) as error:
            said = {**about, "outcome": "failed", "result": _shown(str(error))}
            await ctx.deps.emit(f"{key}.result", "tool.result", said)
            raise
        said = {**about, "outcome": "succeeded", "result": _shown(result)}
        await ctx.deps.emit(f"{key}.result", "tool.result", said)
        return result

    def _is_last_turn(self, usage: RunUsage) -> bool:
        limits = self.settings
        return (
            usage.requests >= limits.max_steps - 1
            or usage.tool_calls >= limits.max_tool_calls
            # The last answer needs room, too.
            or usage.total_tokens >= 0.8 * limits.max_tokens
        )


_ANSWER_NOW: Final = "No more tools can be called. Answer now, with what you have."


def _says(call: ToolCallPart) -> tuple[str, str]:
    return call.tool_name, str(sorted(call.args_as_dict().items()))


def _shown(result: Any) -> Any:
    value = to_jsonable_python(result)
    text = value if isinstance(value, str) else str(value)
    return value if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
