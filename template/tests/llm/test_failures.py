"""What a caller learns about trouble at the provider."""

from typing import Any

import pytest
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelServerError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
    UserError,
)

from app.llm.failures import translated

from app.errors import ServiceError


def http_error(kind: Any, status: int, **kwargs: Any) -> ModelHTTPError:
    body = {"error": {"message": "Account acme, key sk-12345."}}
    return ModelHTTPError.for_category(
        kind, status_code=status, model_name="m", body=body, **kwargs
    )


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (http_error(ModelAuthenticationError, 401), 502, "provider_authentication"),
        (http_error(ModelQuotaExceededError, 429), 502, "provider_error"),
        (http_error(ModelNotFoundError, 404), 502, "provider_error"),
        (http_error(ModelRateLimitError, 429), 429, "rate_limit_exceeded"),
        (http_error(ModelOverloadedError, 529), 503, "unavailable"),
        (http_error(ModelServerError, 500), 502, "provider_error"),
        (http_error(ModelContextWindowExceededError, 400), 400, "context_length_exceeded"),
        (http_error(ModelRequestRejectedError, 400), 400, "bad_request"),
        (http_error(None, 413), 400, "bad_request"),
        (http_error(None, 418), 502, "provider_error"),
        (ModelConnectionError("m", "reset"), 503, "unavailable"),
        (ModelTimeoutError("m", "slow"), 504, "provider_timeout"),
        (ModelRequestTimeout("m", 60), 504, "provider_timeout"),
        (TimeoutError(), 504, "provider_timeout"),
        (ModelAPIError("m", "odd"), 502, "provider_error"),
        (UnexpectedModelBehavior("no JSON"), 502, "provider_error"),
        (UserError("no images"), 400, "bad_request"),
    ],
)
def test_each_failure_has_its_status(error: Exception, status: int, code: str) -> None:
    with pytest.raises(ServiceError) as caught, translated():
        raise error
    assert (caught.value.status, caught.value.code) == (status, code)


def test_the_providers_words_are_kept_from_callers_unless_the_request_is_at_fault() -> None:
    for kind, status in ((ModelAuthenticationError, 401), (ModelServerError, 500)):
        with pytest.raises(ServiceError) as caught, translated():
            raise http_error(kind, status)
        assert "sk-12345" not in caught.value.detail


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "Tool 3 has no name."}, "Tool 3 has no name."),
        ({"type": "error", "error": {"message": "Tool 3 has no name."}}, "Tool 3 has no name."),
        ("<html>", "it gave no reason."),
        ({"error": "odd"}, "it gave no reason."),
    ],
)
def test_a_caller_at_fault_learns_why(body: object, said: str) -> None:
    error = ModelHTTPError.for_category(
        ModelRequestRejectedError, status_code=400, model_name="m", body=body
    )
    with pytest.raises(ServiceError) as caught, translated():
        raise error
    assert caught.value.detail == f"The model refuses the request: {said}"


def test_a_model_that_its_provider_does_not_have_is_named() -> None:
    with pytest.raises(ServiceError, match="The provider does not have 'm'"), translated():
        raise http_error(ModelNotFoundError, 404)


@pytest.mark.parametrize(("headers", "later"), [({"retry-after-ms": "1500"}, "2"), ({}, "1")])
def test_a_rate_limit_says_when_to_come_back(headers: dict[str, str], later: str) -> None:
    with pytest.raises(ServiceError) as caught, translated():
        raise http_error(ModelRateLimitError, 429, headers=headers)
    assert caught.value.headers == {"Retry-After": later}


def test_what_is_no_providers_fault_passes_unchanged() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError
