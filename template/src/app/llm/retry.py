"""The one layer that tries a model call again, and the fallbacks that each try goes through.

It wraps the model and not its HTTP client: here an error is already sorted into rate limit,
overload or quota, and one that arrives inside a stream before its first token counts as well.
Nothing is tried again once the caller has seen a token.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import structlog
import tenacity
from pydantic_ai import exceptions as e
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from app.llm.settings import LLMSettings

from app.errors import ServiceError

Sleep = Callable[[float], Awaitable[None]]
_T = TypeVar("_T")
_log = structlog.stdlib.get_logger("app.llm")


class RetryingModel(WrapperModel):
    """Answers with the first of `models` that can, in rounds.

    How long a call takes in all is for the caller to limit, to `deadline_seconds`.
    """

    def __init__(
        self, *models: Model, settings: LLMSettings, deadline_seconds: float, sleep: Sleep
    ) -> None:
        # Useful with one model, too: it holds a stream back until the first event, so that an
        # error before that raises while another try is possible.
        self._chain = FallbackModel(*models, fallback_on=another_may_answer)
        super().__init__(self._chain if len(models) > 1 else models[0])
        self._silence_seconds = settings.timeout_seconds
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
        self, messages: list[ModelMessage], settings: ModelSettings | None, *args: Any
    ) -> AsyncGenerator[StreamedResponse]:
        # Only streams have a limit of silence: any other answer is silent until it is whole.
        limited = ModelSettings(timeout=self._silence_seconds) | (settings or {})
        async with AsyncExitStack() as stack:
            streams = partial(self._chain.request_stream, messages, limited, *args)
            yield await self._persist(lambda: stack.enter_async_context(streams()))

    async def _persist(self, call: Callable[[], Awaitable[_T]]) -> _T:
        async def ask() -> _T:
            try:
                return await call()
            except e.FallbackExceptionGroup as group:
                errors = group.exceptions
            # The one that gives the caller most hope, else the configured model's own.
            error = next(filter(may_pass, errors), errors[0])
            if isinstance(error, e.AgentRunError | TimeoutError):
                raise error
            raise e.UnexpectedModelBehavior("The provider's answer cannot be read.") from error

        return await self._retrying.copy()(ask)


def may_pass(error: BaseException) -> bool:
    """Say whether the same request may succeed later."""
    hint: bool | None = getattr(error, "provider_retry_hint", None)
    if hint is not None:
        return hint
    passing = e.ModelRateLimitError | e.ModelUnavailableError | e.ModelServerError
    passes = isinstance(error, passing | e.ModelConnectionError)
    return passes or getattr(error, "status_code", None) in (408, 409)


def another_may_answer(error: Exception) -> bool:
    """Say whether the fault lies with the model or its provider rather than with the request."""
    if isinstance(error, e.ModelRequestRejectedError):
        own = e.ModelAuthenticationError | e.ModelNotFoundError | e.ModelContextWindowExceededError
        return isinstance(error, own)
    # What the service itself refuses, such as a call beyond a budget, no other model may do.
    return not isinstance(error, e.UserError | ServiceError)


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = type(state.outcome and state.outcome.exception()).__name__
    _log.warning("model call is tried again", error=error, after_seconds=state.upcoming_sleep)
