"""What goes wrong at a provider, in the service's own words.

A provider's message is passed on only where the request was at fault: any other may hold a part of
the key, or the name of an account.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import Final

from pydantic_ai import exceptions as e

from app.errors import BadRequest, ServiceError, TooManyRequests, Unavailable


class ProviderFailed(ServiceError):
    status, code = 502, "provider_error"


class ProviderKeyRefused(ProviderFailed):
    code = "provider_authentication"


class ProviderTimeout(ServiceError):
    status, code = 504, "provider_timeout"


class ContextLengthExceeded(BadRequest):
    code = "context_length_exceeded"


# What is not in here is told by `_service_error`.
_FAILURES: Final[Mapping[type[Exception], tuple[type[ServiceError], str]]] = {
    e.ModelAuthenticationError: (ProviderKeyRefused, "The provider refuses this service's key."),
    e.ModelQuotaExceededError: (ProviderFailed, "This service's account at the provider is empty."),
    e.ModelNotFoundError: (ProviderFailed, "The provider does not have {0.model_name!r}."),
    e.ModelContextWindowExceededError: (ContextLengthExceeded, "The messages are too long."),
    e.ModelRateLimitError: (TooManyRequests, "The model's provider limits the rate."),
    e.ModelUnavailableError: (Unavailable, "The model is overloaded."),
    e.ModelTimeoutError: (ProviderTimeout, "The model did not answer in time."),
    e.ModelRequestTimeout: (ProviderTimeout, "The model did not answer in time."),
    TimeoutError: (ProviderTimeout, "The model did not answer in time."),
    e.ModelConnectionError: (Unavailable, "The server of {0.model_name!r} is out of reach."),
}


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
        status = getattr(error, "status_code", 503)
        if status in (401, 403):
            raise ProviderKeyRefused(f"{provider} refuses the key it was given.") from error
        # Not every server can list its models, but one that says so has answered.
        if status >= 500:
            why = f"{provider} cannot be reached, or is another server ({type(error).__name__})."
            raise Unavailable(why) from error


def _service_error(error: Exception) -> ServiceError:
    for kind, (raised, sentence) in _FAILURES.items():
        if isinstance(error, kind):
            later = {"Retry-After": str(ceil(getattr(error, "retry_after", None) or 1))}
            told = sentence.format(error)
            return raised(told, headers=later if raised.status in (429, 503) else None)
    match error:
        case e.ModelRequestRejectedError() | e.ModelHTTPError(status_code=413):
            return BadRequest(f"The model refuses the request: {_said(error.body)}")
        case e.UserError():
            return BadRequest(f"The model cannot take this request: {error}")
    return ProviderFailed("The model's provider failed.")


def _said(body: object) -> str:
    match body:
        case {"error": {"message": str(message)}} | {"message": str(message)}:
            return sendable(message[:300])
    return "it gave no reason."


def sendable(text: str) -> str:
    """Replace what a provider may say but no answer can hold: half of a surrogate pair."""
    return text.encode(errors="replace").decode()
