"""Errors that reach the client, as problem details (RFC 9457).

A `ServiceError` carries its own status, so the code that knows what went wrong decides what the
client sees, and no route needs a `try`. Anything else is a 500 that reveals nothing.
"""

from collections.abc import Callable, Mapping
from http.client import responses as phrases
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class ServiceError(HTTPException):
    """Something the client should know, with the HTTP status that says it.

    `detail` names what was wrong and what to do, `param` the field of the request to blame, and
    `fields` lists each invalid one as `{"field", "message"}`.
    """

    status, code = 500, "internal_error"
    fields: list[dict[str, str]] | None = None

    def __init__(
        self, detail: str, *, headers: Mapping[str, str] | None = None, param: str | None = None
    ) -> None:
        super().__init__(self.status, detail, headers)
        self.param = param


class BadRequest(ServiceError):
    status, code = 400, "bad_request"


class Unauthorized(ServiceError):
    status, code = 401, "invalid_api_key"


class Forbidden(ServiceError):
    status, code = 403, "forbidden"


class NotFound(ServiceError):
    status, code = 404, "not_found"


class BodyTooLarge(ServiceError):
    status, code = 413, "body_too_large"


class InvalidRequest(ServiceError):
    status, code = 422, "invalid_request"


class TooManyRequests(ServiceError):
    status, code = 429, "rate_limit_exceeded"


class Unavailable(ServiceError):
    status, code = 503, "unavailable"


class TookTooLong(ServiceError):
    status, code = 504, "timeout"


# Collected here, once: an owner's own error does not rename the others of its status.
_CODES = {kind.status: kind.code for kind in ServiceError.__subclasses__()}


class Problem(BaseModel):
    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, str]] | None = None


def problem(error: ServiceError) -> Response:
    """Render `error` as `application/problem+json`."""
    body = Problem(
        title=phrases.get(error.status, "Error"),
        status=error.status,
        detail=error.detail,
        code=error.code,
        errors=error.fields,
    )
    content, media_type = body.model_dump(exclude_none=True), "application/problem+json"
    return JSONResponse(content, error.status, headers=error.headers, media_type=media_type)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe, for OpenAPI, the problems that a route answers with beside its own."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {s: {"description": phrases[s], "content": content} for s in statuses}


ErrorFormat = Callable[[ServiceError], Response]


def respond(app: FastAPI, path: str, error: ServiceError) -> Response:
    """Render `error` the way clients of `path` expect it: a problem, unless the path says else."""
    render: ErrorFormat = app.state.error_formats.get(path, problem)
    return render(error)


def install_errors(app: FastAPI) -> None:
    """Turn every error that a route raises on purpose into a response."""
    app.state.error_formats = {}

    async def answer(request: Request, error: Exception) -> Response:
        return respond(app, request.url.path, _service_error(error))

    # A task group wraps what its tasks raise.
    for kind in (RequestValidationError, HTTPException, ExceptionGroup):
        app.add_exception_handler(kind, answer)


def _service_error(error: Exception) -> ServiceError:
    match error:
        case ServiceError():
            return error
        case RequestValidationError():
            fields = [_field(invalid) for invalid in error.errors()]
            field, message = fields[0].values()
            refused = InvalidRequest(f"{field}: {message}", param=field)
            refused.fields = fields
            return refused
        case HTTPException():
            other = ServiceError(str(error.detail), headers=error.headers)
            other.status = error.status_code
            phrase = phrases.get(other.status, "error")
            other.code = _CODES.get(other.status, phrase.lower().replace(" ", "_"))
            return other
        case ExceptionGroup() if found := error.subgroup(ServiceError):
            return _service_error(found.exceptions[0])
    raise error


def message_of(invalid: Mapping[str, object]) -> str:
    """Return what pydantic says is wrong; where a validator raised `ValueError`, in its words."""
    return str(invalid["msg"]).removeprefix("Value error, ")


def _field(invalid: dict[str, Any]) -> dict[str, str]:
    # A location starts with body, query or path; what was sent is not repeated.
    location = ".".join(map(str, invalid["loc"][1:]))
    message = message_of(invalid)
    if invalid["type"] == "json_invalid":
        location, message = "body", f"not JSON, at character {location}"
    elif not location and isinstance(invalid.get("input"), bytes):
        message = "send it with the header Content-Type: application/json"
    return {"field": location or "body", "message": message}
