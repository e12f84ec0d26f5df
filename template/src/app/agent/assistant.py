"""The agent: a model, what it is told, and the tools that it may use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic_ai import Agent, DeferredToolRequests, Tool
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.usage import UsageLimits

from app.agent.durable import EFFECT, UNTRUSTED, DurableModel, Scope, Supervised
from app.agent.settings import AgentSettings
from app.llm.calls import Calls
from app.llm.prompts import Prompt, Prompts

Out = TypeVar("Out")
# For a tool that does not say how long it may take.
_TOOL_SECONDS: Final = 60


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
        return self._make(self.prompts.get("assistant"), output, self.tools)

    def searcher(self) -> Agent[Scope, str]:
        """Return one that looks into a part of a question, and changes nothing outside."""
        safe = [
            t for t in self.tools if not (t.requires_approval or (t.metadata or {}).get(EFFECT))
        ]
        return self._make(self.prompts.get("search"), str, safe)

    def writer(self, prompt: str, output: type[Out]) -> Agent[Scope, Out]:
        """Return one that writes `output`, and uses no tools."""
        return self._make(self.prompts.get(prompt), output, ())

    def _make(
        self, prompt: Prompt, output: type[Out], tools: Sequence[Tool[Scope]]
    ) -> Agent[Scope, Out]:
        trusted = frozenset(t.name for t in tools if not (t.metadata or {}).get(UNTRUSTED))
        return Agent(
            DurableModel(self.calls, prompt),
            name=prompt.name,
            deps_type=Scope,
            output_type=output,
            instructions=prompt.render(),
            tools=tools,
            tool_timeout=_TOOL_SECONDS,
            # What comes later is nearer to the tools, and inside of their steps.
            capabilities=[
                Supervised(self.settings, trusted, has_tools=bool(tools)),
                *self.capabilities,
            ],
            model_settings=self.calls.settings(prompt),
            retries={"tools": 2, "output": 2},
        )
