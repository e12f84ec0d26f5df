"""What goes wrong at a provider, in the service's own words.

A provider's message is passed on only where the request was at fault: any other may hold a part of
the key, or the name of an account.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

from pydantic_ai import exceptions as e

from app.errors import BadRequest, ServiceError, TooManyRequests, Unavailable


class ProviderFailed(ServiceError):
    status = 502
    code = "provider_error"


class ProviderKeyRefused(ProviderFailed):
    code = "provider_authentication"


class ProviderTimeout(ServiceError):
    status = 504
    code = "provider_timeout"


class ContextLengthExceeded(BadRequest):
    code = "context_length_exceeded"


@contextmanager
def translated() -> Iterator[None]:
    """Raise what a model call raises as a `ServiceError`."""
    try:
        yield
    except (e.ModelAPIError, e.UnexpectedModelBehavior, e.UserError, TimeoutError) as error:
        raise _service_error(error) from error


@contextmanager
def reaching(provider: str) -> Iterator[None]:
    """Raise what an SDK raises when it only looks at `provider` as a `ServiceError`."""
    try:
        yield
    except Exception as error:
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            raise ProviderKeyRefused(f"{provider} refuses the key it was given.") from error
        # Not every server can list its models, but one that says so has answered.
        if status is None or status >= 500:
            why = status or type(error).__name__
            raise Unavailable(f"{provider} cannot be reached ({why}).") from error


def _service_error(error: Exception) -> ServiceError:
    match error:
        case e.ModelAuthenticationError():
            return ProviderKeyRefused("The model's provider refuses this service's key.")
        case e.ModelQuotaExceededError():
            return ProviderFailed("This service's account at the model's provider is used up.")
        case e.ModelNotFoundError():
            return ProviderFailed(f"The provider does not have the model {error.model_name!r}.")
        case e.ModelContextWindowExceededError():
            what = "The messages are longer than the model can read."
            return ContextLengthExceeded(what, param="messages")
        case e.ModelRequestRejectedError() | e.ModelHTTPError(status_code=413):
            return BadRequest(f"The model refuses the request: {_said(error.body)}")
        case e.UserError():
            return BadRequest(f"The model cannot take this request: {error}")
        case e.ModelTimeoutError() | e.ModelRequestTimeout() | TimeoutError():
            return ProviderTimeout("The model did not answer in time.")
        case e.ModelRateLimitError():
            return TooManyRequests("The model's provider limits the rate.", headers=_later(error))
        case e.ModelUnavailableError() | e.ModelConnectionError():
            return Unavailable("The model is out of reach or overloaded.", headers=_later(error))
        case _:
            return ProviderFailed("The model's provider failed.")


def _later(error: e.ModelAPIError) -> dict[str, str]:
    return {"Retry-After": str(ceil(error.retry_after or 1))}


def _said(body: Any) -> str:
    reported = body.get("error", body) if isinstance(body, dict) else None
    message = reported.get("message") if isinstance(reported, dict) else None
    return str(message)[:300] if message else "it gave no reason."
