"""The agent: a model, what it is told, and the tools that it may use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_ai import Agent, DeferredToolRequests, Tool
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.usage import UsageLimits

from app.agent.durable import UNTRUSTED, DurableModel, Scope, Supervised
from app.agent.settings import AgentSettings
from app.llm.calls import Calls
from app.llm.prompts import Prompt, Prompts

Out = TypeVar("Out")


@dataclass(frozen=True)
class Agents:
    """Makes agents, one for each piece of work: what they know of it does not outlive it."""

    calls: Calls
    prompts: Prompts
    tools: Sequence[Tool[Scope]]
    settings: AgentSettings
    # More than those that every agent here has.
    capabilities: Sequence[AbstractCapability[Scope]] = ()

    @property
    def limits(self) -> UsageLimits:
        """What ends a run. Before that the last turn is due; a few answers may not fit it."""
        limits = self.settings
        return UsageLimits(
            request_limit=limits.max_steps + 2,
            tool_calls_limit=None,
            total_tokens_limit=limits.max_tokens,
        )

    def assistant(self) -> Agent[Scope, str | DeferredToolRequests]:
        """Return the agent that may ask people."""
        output: Any = [str, DeferredToolRequests]
        return self._make(self.prompts.get("assistant"), output, self.tools, may_ask=True)

    def searcher(self) -> Agent[Scope, str]:
        """Return one that looks into a part of a question, and changes nothing outside."""
        safe = [tool for tool in self.tools if not tool.requires_approval]
        return self._make(self.prompts.get("search"), str, safe, may_ask=False)

    def writer(self, prompt: str, output: type[Out]) -> Agent[Scope, Out]:
        """Return one that writes `output`, and uses no tools."""
        return self._make(self.prompts.get(prompt), output, (), may_ask=False)

    def _make(
        self, prompt: Prompt, output: type[Out], tools: Sequence[Tool[Scope]], *, may_ask: bool
    ) -> Agent[Scope, Out]:
        untrusted = frozenset(t.name for t in tools if (t.metadata or {}).get(UNTRUSTED))
        return Agent(
            DurableModel(self.calls, prompt),
            name=prompt.name,
            deps_type=Scope,
            output_type=output,
            instructions=prompt.render(),
            tools=tools,
            # What comes later is nearer to the tools, and inside of their steps.
            capabilities=[Supervised(self.settings, untrusted, may_ask), *self.capabilities],
            model_settings=self.calls.settings(prompt),
            retries={"tools": 2, "output": 2},
        )
