"""Watch what each provider is asked: every try by itself, inside of retries and fallbacks.

pydantic-ai's own instrumentation sees them as one call, and measures again what a run that goes on
after a crash does not do again.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, SpanKind
from pydantic_ai import InstrumentationSettings, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from app.llm.calls import is_whole
from app.monitoring import names
from app.monitoring.metrics import Labels
from app.monitoring.traces import Monitor, Operation

_INCOMPLETE: Final = "incomplete"


class MonitoredModel(WrapperModel):
    """Asks the model as it is asked, and notes it."""

    def __init__(self, wrapped: Model, monitor: Monitor) -> None:
        super().__init__(wrapped)
        self._monitor = monitor

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        with self._watch() as asked:
            self._note_request(asked, messages, model_settings, model_request_parameters)
            response = await self.wrapped.request(
                messages, model_settings, model_request_parameters
            )
            self._note_response(asked, response)
            return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        with self._watch() as asked:
            self._note_request(asked, messages, model_settings, model_request_parameters)
            asked.span.set_attribute(names.STREAM, True)
            started = time.perf_counter()
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                try:
                    yield stream
                finally:
                    self._note_response(asked, stream.get())
                    if (seconds := stream.time_to_first_chunk(started)) is not None:
                        asked.span.set_attribute(names.FIRST_CHUNK, seconds)
                        self._monitor.metrics.first_chunk.record(seconds, asked.labels)

    def _watch(self) -> AbstractContextManager[Operation]:
        model = self.wrapped
        labels: Labels = {names.PROVIDER: model.system, names.REQUEST_MODEL: model.model_name}
        return self._monitor.watch(names.CHAT, model.model_name, labels, kind=SpanKind.CLIENT)

    def _note_request(
        self,
        asked: Operation,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> None:
        given: Any = settings or {}
        about: Labels = {n: given[key] for key, n in names.REQUEST_SETTINGS.items() if key in given}
        about[names.OUTPUT_TYPE] = "text" if parameters.output_mode == "text" else "json"
        if server := urlsplit(self.wrapped.base_url or "").hostname:
            about[names.SERVER] = server
        asked.span.set_attributes(about)
        self._monitor.note_content(asked, names.INPUT_MESSAGES, lambda: _messages(messages))

    def _note_response(self, asked: Operation, response: ModelResponse) -> None:
        asked.labels[names.RESPONSE_MODEL] = response.model_name or self.wrapped.model_name
        used = tokens(response.usage)
        self._monitor.metrics.count_tokens(used, asked.labels)
        about: Labels = {names.RESPONSE_MODEL: asked.labels[names.RESPONSE_MODEL], **used}
        if response.finish_reason:
            about[names.FINISH_REASONS] = [response.finish_reason]
        if response.provider_response_id:
            about[names.RESPONSE_ID] = response.provider_response_id
        asked.span.set_attributes(about)
        if not is_whole(response) or response.finish_reason == "error":
            asked.error = _INCOMPLETE
        self._monitor.note_content(asked, names.OUTPUT_MESSAGES, lambda: _messages([response]))


def tokens(usage: RequestUsage) -> dict[str, int]:
    """Return the tokens that were reported, by the names of their attributes."""
    used = {
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
        names.CACHE_READ_TOKENS: usage.cache_read_tokens,
        names.CACHE_WRITE_TOKENS: usage.cache_write_tokens,
        names.REASONING_TOKENS: usage.output_reasoning_tokens,
    }
    return {name: count for name, count in used.items() if count}


def _messages(messages: list[ModelMessage]) -> Any:
    # Only for their form, which is the conventions'; pictures stay out.
    form = InstrumentationSettings(
        tracer_provider=NoOpTracerProvider(),
        meter_provider=NoOpMeterProvider(),
        include_binary_content=False,
        version=6,
    )
    return form.messages_to_otel_messages(messages)
