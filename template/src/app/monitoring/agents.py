"""Watch agents and the tools they use.

A tool is watched where it is really used: within its step, which a run that goes on after a crash
does not do again. What an agent asks of a model is watched at the model (`models.py`).
"""

from dataclasses import dataclass
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.capabilities.abstract import WrapRunHandler
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
from pydantic_ai.run import AgentRunResult
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from app.monitoring import names
from app.monitoring.traces import Monitor


@dataclass
class MonitoredToolset(WrapperToolset[Any]):
    """Calls tools, and notes it."""

    monitor: Monitor

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        # One that asks first has not failed.
        asking = (ApprovalRequired, CallDeferred)
        with self.monitor.watch(
            names.EXECUTE_TOOL, name, {names.TOOL: name}, no_errors=asking
        ) as called:
            called.span.set_attribute(names.TOOL_CALL_ID, ctx.tool_call_id or "")
            self.monitor.note_content(called, names.TOOL_ARGUMENTS, lambda: tool_args)
            result = await super().call_tool(name, tool_args, ctx, tool)
            self.monitor.note_content(called, names.TOOL_RESULT, lambda: result)
            return result


@dataclass
class MonitoredAgent(AbstractCapability[Any]):
    """Watches the runs of an agent; the last of its capabilities, so that steps are around it."""

    monitor: Monitor

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return MonitoredToolset(toolset, self.monitor)

    async def wrap_run(
        self, ctx: RunContext[Any], *, handler: WrapRunHandler
    ) -> AgentRunResult[Any]:
        name = (ctx.agent.name if ctx.agent else None) or "agent"
        with self.monitor.watch(names.INVOKE_AGENT, name, {names.AGENT: name}):
            return await handler()
