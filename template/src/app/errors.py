"""Errors that reach the client, as problem details (RFC 9457).

A `ServiceError` carries its own status, so the code that knows what went wrong decides what the
client sees, and no route needs a `try`. Anything else is a 500 that reveals nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

ErrorFormat = Callable[["ServiceError"], Response]


class ServiceError(Exception):
    """Something the client should know, with the HTTP status that says it.

    `detail` names what was wrong and what to do, `param` the request field to blame, and `fields`
    lists each invalid one as `{"field", "message"}`.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        param: str | None = None,
        fields: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.param = param
        self.fields = fields


class BadRequest(ServiceError):
    status = 400
    code = "bad_request"


class Unauthorized(ServiceError):
    status = 401
    code = "invalid_api_key"


class Forbidden(ServiceError):
    status = 403
    code = "forbidden"


class NotFound(ServiceError):
    status = 404
    code = "not_found"


class BodyTooLarge(ServiceError):
    status = 413
    code = "body_too_large"


class InvalidRequest(ServiceError):
    status = 422
    code = "invalid_request"


class TooManyRequests(ServiceError):
    status = 429
    code = "rate_limit_exceeded"


class Unavailable(ServiceError):
    status = 503
    code = "unavailable"


def problem(error: ServiceError) -> Response:
    """Render `error` as `application/problem+json`."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.fields:
        body["errors"] = error.fields
    return JSONResponse(
        body, error.status, headers=error.headers, media_type="application/problem+json"
    )


def respond(app: FastAPI, path: str, error: ServiceError) -> Response:
    """Render `error` the way clients of `path` expect it: a problem, unless the path says else."""
    formats = cast("dict[str, ErrorFormat]", app.state.error_formats)
    return formats.get(path, problem)(error)


def install_errors(app: FastAPI) -> None:
    """Turn every error that a route raises into a response."""
    app.state.error_formats = {}

    async def service_error(request: Request, error: Exception) -> Response:
        return respond(app, request.url.path, cast(ServiceError, error))

    async def invalid_request(request: Request, error: Exception) -> Response:
        return respond(app, request.url.path, _invalid(cast(RequestValidationError, error)))

    async def http_error(request: Request, error: Exception) -> Response:
        return respond(app, request.url.path, _from_http(cast(HTTPException, error)))

    async def grouped(request: Request, error: Exception) -> Response:
        found = cast("ExceptionGroup[Exception]", error).subgroup(ServiceError)
        if found is None:
            raise error
        return respond(app, request.url.path, _first(found))

    app.add_exception_handler(ServiceError, service_error)
    # A task group wraps what its tasks raise.
    app.add_exception_handler(ExceptionGroup, grouped)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(HTTPException, http_error)


def _first(group: ExceptionGroup[ServiceError]) -> ServiceError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _invalid(error: RequestValidationError) -> ServiceError:
    fields = [
        # The first part of a location says body, query or path; what a client sent is not repeated.
        {"field": ".".join(str(part) for part in e["loc"][1:]) or "body", "message": str(e["msg"])}
        for e in error.errors()
    ]
    first = fields[0]
    return InvalidRequest(
        f"{first['field']}: {first['message']}", param=first["field"], fields=fields
    )


def _from_http(error: HTTPException) -> ServiceError:
    known = (BadRequest, Unauthorized, Forbidden, NotFound, BodyTooLarge, InvalidRequest)
    for kind in known:
        if kind.status == error.status_code:
            return kind(str(error.detail), headers=error.headers)
    phrase = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    other = type("HTTPError", (ServiceError,), {"status": error.status_code, "code": phrase})
    return cast(ServiceError, other(str(error.detail), headers=error.headers))


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe, for OpenAPI, the problems that a route answers with beside its own."""
    content = {"application/problem+json": {"schema": _PROBLEM_SCHEMA}}
    return {s: {"description": HTTPStatus(s).phrase, "content": content} for s in statuses}


_PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
