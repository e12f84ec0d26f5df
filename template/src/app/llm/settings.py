"""Settings of the language model: `LLM__MODEL=openai:gpt-6-luna` sets `settings.llm.model`."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, HttpUrl, PositiveFloat, PositiveInt, SecretStr

OFFLINE: Final = "offline"
# Provider -> key, or None, for each provider this service has.
Keys = Mapping[str, SecretStr | None]


class LLMSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # `openai:…` (Responses), `openai-chat:…` (Chat Completions), `anthropic:…` or `offline`.
    # Without one: the default model of the first provider that has a key, else `offline`.
    model: str | None = None
    # Asked in turn where the model fails before its first token.
    fallback_models: tuple[str, ...] = ()
    # Another server for the provider of the model: a gateway, or Ollama at
    # http://localhost:11434/v1 for `openai-chat:…`.
    base_url: HttpUrl | None = None
    # Prompt -> its active version; a prompt that is not named here uses its newest.
    prompts: dict[str, str] = {}
    # How often a call is tried, and the longest silence on the wire that a stream may keep.
    attempts: PositiveInt = 3
    timeout_seconds: PositiveFloat = 30
    max_input_tokens: PositiveInt = 32_000
    max_output_tokens: PositiveInt = 4_096
    # Calls that one process has open at once at all providers; more wait for their turn.
    max_concurrency: PositiveInt = 64

    def missing_in_production(self, keys: Keys) -> list[str]:
        """Name what a service that must never answer offline still lacks."""
        if OFFLINE in (self.model, *self.fallback_models):
            return ["real models in LLM__MODEL and LLM__FALLBACK_MODELS, not offline"]
        return self.missing_keys(keys)

    def missing_keys(self, keys: Keys) -> list[str]:
        """Name the keys that the real models still lack."""
        models = [m for m in (self.model, *self.fallback_models) if m and m != OFFLINE]
        if not models:
            return [] if any(keys.values()) else [" or ".join(f"{p}_api_key".upper() for p in keys)]
        # A server of one's own often has no keys.
        keyless = {provider_of(self.model)} if self.base_url and self.model else set()
        needed = set(map(provider_of, models)) - keyless
        return sorted(f"{p}_api_key".upper() for p in needed if not keys.get(p))


def provider_of(model: str) -> str:
    """Return the provider that serves `model`: `openai` for `openai:…` and `openai-chat:…`."""
    kind = model.partition(":")[0]
    return "openai" if kind == "openai-chat" else kind
