"""Anthropic."""

from typing import Final

from anthropic import AsyncAnthropic
from httpx2 import AsyncClient
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from app.llm.providers import CallersTools, prefer_native

DEFAULT_MODEL: Final = "anthropic:claude-haiku-5-5"


class MessagesModel(CallersTools, AnthropicModel):
    """`anthropic:…`"""


def build(kind: str, name: str, key: str | None, base_url: str | None, http: AsyncClient) -> Model:
    """Build the model that settings call `kind:name`; the SDK's own retries are off."""
    secret = key or "none"
    client = AsyncAnthropic(api_key=secret, base_url=base_url, max_retries=0, http_client=http)
    provider = AnthropicProvider(anthropic_client=client)
    return MessagesModel(name, provider=provider, profile=prefer_native)
