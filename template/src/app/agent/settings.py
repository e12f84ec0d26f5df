"""Settings of the agent: `AGENT__MAX_STEPS=20` sets `settings.agent.max_steps`."""

from collections.abc import Collection
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    HttpUrl,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    TypeAdapter,
)


def _address(url: SecretStr) -> SecretStr:
    TypeAdapter(HttpUrl).validate_python(url.get_secret_value())
    return url


class AgentSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # The kill switch: without it no run begins, and those that are under way end.
    enabled: bool = True
    # What one run may take: answers of the model, tool calls, tokens, and seconds of work; the time
    # in which it waits for people does not count.
    max_steps: PositiveInt = 12
    max_tool_calls: PositiveInt = 20
    max_tokens: PositiveInt = 100_000
    max_seconds: PositiveFloat = 300
    # Runs of one principal: in all that have not ended, and at work at once.
    max_open_runs: PositiveInt = 20
    max_parallel_runs: PositiveInt = 4
    # How long people have to decide, and who may; without names, whoever began the run.
    approval_seconds: PositiveInt = 604_800
    approvers: tuple[str, ...] = ()
    # Runs and conversations are deleted so long after their end.
    retention_days: PositiveInt = 30
    # How much of a conversation the model reads.
    conversation_tokens: PositiveInt = 8_000
    # Hosts whose pages may be fetched, such as ["docs.python.org"].
    fetch_hosts: tuple[str, ...] = ()
    # Where `notify` posts to.
    notify_url: Annotated[SecretStr, AfterValidator(_address)] | None = None

    def missing_in_production(self, principals: Collection[str]) -> list[str]:
        """Say what is not set, and has to be: whoever approves needs a key."""
        unknown = [name for name in self.approvers if name not in principals]
        return [f"a key in SECURITY__API_KEYS for {name}, who approves" for name in unknown]
