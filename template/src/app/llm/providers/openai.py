"""OpenAI, and every server that speaks its API: Ollama, vLLM, a gateway."""

from collections.abc import AsyncIterable
from typing import Final

from httpx2 import AsyncClient
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.openai import (
    OpenAIChatModel,
    OpenAIResponsesModel,
    OpenAIResponsesModelSettings,
    OpenAIStreamedResponse,
)
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from app.llm.providers import CallersTools, prefer_native
from app.llm.unshared import unshared

DEFAULT_MODEL: Final = "openai:gpt-6-luna"


class ResponsesModel(CallersTools, OpenAIResponsesModel):
    """`openai:…`"""

    def prepare_request(
        self,
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> tuple[ModelSettings | None, ModelRequestParameters]:
        if (model_settings or {}).get("stop_sequences"):
            raise UserError("OpenAI's Responses API has no stop; a model openai-chat:… takes it.")
        return super().prepare_request(model_settings, model_request_parameters)


class ChatStream(OpenAIStreamedResponse):
    def _validate_response(self) -> AsyncIterable[ChatCompletionChunk]:
        return unshared(self._response)


class ChatModel(CallersTools, OpenAIChatModel):
    """`openai-chat:…`"""

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return ChatStream


def build(kind: str, name: str, key: str | None, base_url: str | None, http: AsyncClient) -> Model:
    """Build the model that settings call `kind:name`; the SDK's own retries are off."""
    client = AsyncOpenAI(api_key=key or "none", base_url=base_url, max_retries=0, http_client=http)
    provider = OpenAIProvider(openai_client=client)
    if kind == "openai":
        # What people write is not kept at the provider: the service sends all of it each time.
        unstored = OpenAIResponsesModelSettings(openai_store=False)
        return ResponsesModel(name, provider=provider, settings=unstored, profile=prefer_native)
    if client.base_url.host.endswith(".openai.com"):
        return ChatModel(name, provider=provider, profile=prefer_native)
    # Other servers know the older `max_tokens`, and no choice among a part of the tools.
    older = OpenAIModelProfile(
        openai_chat_supports_max_completion_tokens=False,
        openai_chat_supports_allowed_tools=False,
        default_structured_output_mode="native",
    )
    return ChatModel(name, provider=provider, profile=older)
