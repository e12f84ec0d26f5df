"""Meter what each provider is asked, and ask a cheaper model where a budget is nearly used up."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    BaseToolCallPart,
    BaseToolReturnPart,
    BinaryContent,
    FileUrl,
    ModelMessage,
    ModelResponse,
    RetryPromptPart,
    TextContent,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from structlog.contextvars import get_contextvars

from app.llm.calls import is_whole
from app.llm.models import Models
from app.monitoring.budgets import Budgets
from app.monitoring.llm_settings import LLMMonitoringSettings
from app.monitoring.metering import Answered, Asked, Metering
from app.monitoring.prices import OFFLINE

# A picture takes about as many tokens as so much text.
_FILE_BYTES: Final = 4_000


class MeteredModel(WrapperModel):
    """Asks the model as it is asked, and meters it: every try by itself."""

    def __init__(self, wrapped: Model, metering: Metering, most_tokens: int) -> None:
        super().__init__(wrapped)
        metering.require_price(wrapped.system, wrapped.model_name, wrapped.base_url)
        self._metering = metering
        # Of an answer for which no limit is asked for.
        self._most_tokens = most_tokens

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        given = messages, model_settings, model_request_parameters
        async with self._metering.call(self._asked(*given)) as answered:
            response = await self.wrapped.request(*given)
            _note(answered, response)
            return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        given = messages, model_settings, model_request_parameters
        async with (
            self._metering.call(self._asked(*given)) as answered,
            self.wrapped.request_stream(*given, run_context) as stream,
        ):
            try:
                yield stream
            finally:
                _note(answered, stream.get())

    def _asked(
        self,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> Asked:
        told = [getattr(message, "instructions", None) for message in messages]
        told += map(str, (*parameters.tool_defs.values(), parameters.output_object or ""))
        size = sum(_size_bytes(part) for message in messages for part in message.parts)
        name = self.wrapped.model_name
        return Asked(
            OFFLINE if name == OFFLINE else self.wrapped.system,
            name,
            self.wrapped.base_url,
            size + sum(map(_size_bytes_of, told)),
            (settings or {}).get("max_tokens") or self._most_tokens,
        )


class ThriftyModel(WrapperModel):
    """Asks `cheaper` instead, once the share `begins_at` of a budget is used up."""

    def __init__(self, wrapped: Model, cheaper: Model, budgets: Budgets, begins_at: float) -> None:
        super().__init__(wrapped)
        self._cheaper = cheaper
        self._budgets = budgets
        self._begins_at = begins_at

    async def request(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await (await self._model()).request(*args, **kwargs)

    @asynccontextmanager
    async def request_stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[StreamedResponse]:
        async with (await self._model()).request_stream(*args, **kwargs) as stream:
            yield stream

    async def _model(self) -> Model:
        used = await self._budgets.share(get_contextvars().get("principal"))
        return self._cheaper if used >= self._begins_at else self.wrapped


def be_thrifty(models: Models, budgets: Budgets, settings: LLMMonitoringSettings) -> None:
    """Let the cheaper model stand in for each other one, where there is one in the settings."""
    if name := settings.cheaper_model:
        if name not in models.ids:
            raise ValueError(
                f"MONITORING__CHEAPER_MODEL is none of the models here, {', '.join(models.ids)}:"
                " add it to LLM__FALLBACK_MODELS."
            )
        cheaper, begins_at = models.by_id[name], settings.cheaper_from
        models.put_around(
            lambda id, model: (
                model if id == name else ThriftyModel(model, cheaper, budgets, begins_at)
            )
        )


def _note(answered: Answered, response: ModelResponse) -> None:
    answered.usage = response.usage
    answered.model = response.model_name
    answered.details = response.provider_details
    answered.size_bytes = sum(map(_size_bytes, response.parts))
    answered.is_whole = is_whole(response) and response.finish_reason != "error"
    if answered.is_whole:
        answered.outcome = response.finish_reason or "stop"


def _size_bytes(part: object) -> int:
    """Return how much text a part of a message is, or is worth."""
    match part:
        case BaseToolCallPart():
            return _size_bytes_of(part.tool_name + part.args_as_json_str())
        case BaseToolReturnPart():
            return _size_bytes_of(part.model_response_str())
        case RetryPromptPart():
            return _size_bytes_of(part.model_response())
    content = getattr(part, "content", None)
    return sum(map(_size_bytes_of, content if isinstance(content, list | tuple) else [content]))


def _size_bytes_of(content: object) -> int:
    match content:
        case str():
            return len(content.encode(errors="replace"))
        case TextContent():
            return len(content.content.encode(errors="replace"))
        case FileUrl() | BinaryContent():
            return _FILE_BYTES
    return 0
