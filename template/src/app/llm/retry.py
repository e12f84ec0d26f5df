"""The one layer that tries a model call again, and the fallbacks that each try goes through.

It wraps the model and not its HTTP client: here an error is already sorted into rate limit,
overload or quota, and one that arrives inside a stream before its first token counts as well.
Nothing is tried again once the caller has seen a token.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import structlog
import tenacity
from pydantic_ai import exceptions as e
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings, merge_model_settings

from app.llm.settings import LLMSettings

Sleep = Callable[[float], Awaitable[None]]
_T = TypeVar("_T")
_log = structlog.stdlib.get_logger("app.llm")


class RetryingModel(WrapperModel):
    """Answers with the first of `models` that can, in rounds, until the deadline."""

    def __init__(
        self, *models: Model, settings: LLMSettings, deadline_seconds: float, sleep: Sleep
    ) -> None:
        # Useful with one model, too: it holds a stream back until the first event, so that an
        # error before that raises while another try is possible.
        self._chain = FallbackModel(*models, fallback_on=another_may_answer)
        super().__init__(self._chain if len(models) > 1 else models[0])
        self._deadline_seconds = deadline_seconds
        self._stream_settings = ModelSettings(timeout=settings.timeout_seconds)
        self._retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(may_pass),
            # Who would have to wait beyond the deadline is told so at once.
            stop=tenacity.stop_after_attempt(settings.attempts)
            | tenacity.stop_before_delay(deadline_seconds),
            wait=tenacity.wait_exception(lambda error: getattr(error, "retry_after", None) or 0)
            + tenacity.wait_random_exponential(multiplier=0.5, max=8),
            before_sleep=_log_retry,
            sleep=sleep,
            reraise=True,
        )

    async def request(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await self._persist(lambda: self._chain.request(*args, **kwargs))

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncGenerator[StreamedResponse]:
        # Only streams have a limit of silence: any other answer is silent until it is whole.
        settings = merge_model_settings(self._stream_settings, model_settings)
        async with AsyncExitStack() as stack:

            async def open_stream() -> StreamedResponse:
                stream = self._chain.request_stream(messages, settings, *args, **kwargs)
                return await stack.enter_async_context(stream)

            yield await self._persist(open_stream)

    async def _persist(self, call: Callable[[], Awaitable[_T]]) -> _T:
        async def ask() -> _T:
            try:
                return await call()
            except e.FallbackExceptionGroup as group:
                errors = group.exceptions
            # The one that gives the caller most hope, else the configured model's own.
            raise next(filter(may_pass, errors), errors[0])

        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._retrying.copy()(ask)
        except TimeoutError as error:
            raise e.ModelRequestTimeout(self.model_name, self._deadline_seconds) from error


def may_pass(error: BaseException) -> bool:
    """Say whether the same request may succeed later."""
    if isinstance(error, e.ModelHTTPError):
        if error.provider_retry_hint is not None:
            return error.provider_retry_hint
        if error.status_code in (408, 409):
            return True
    passing = e.ModelRateLimitError | e.ModelUnavailableError | e.ModelServerError
    return isinstance(error, passing | e.ModelConnectionError)


def another_may_answer(error: Exception) -> bool:
    """Say whether the fault lies with the model or its provider rather than with the request."""
    if isinstance(error, e.ModelRequestRejectedError):
        own = e.ModelAuthenticationError | e.ModelNotFoundError | e.ModelContextWindowExceededError
        return isinstance(error, own)
    return isinstance(error, e.ModelAPIError | e.UnexpectedModelBehavior)


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = type(state.outcome and state.outcome.exception()).__name__
    _log.warning("model call is tried again", error=error, after_seconds=state.upcoming_sleep)
