"""Who may call, and how much: the gate that every request passes before a route sees it.

With API keys a request needs one. Without any (development only) it has to come from this very
machine, by the connection's own address: headers that proxies add do not count.
"""

from contextlib import ExitStack
from typing import cast
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Forbidden, ServiceError, Unauthorized, respond
from app.resources import Resources
from app.settings import Settings

# The gate has checked the key already; this tells OpenAPI, and so the docs, that a route needs one.
NEEDS_KEY = Security(HTTPBearer(auto_error=False, description="An API key of this service."))

OPEN_PATHS = frozenset({"/", "/health/live", "/health/ready"})
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_LOCAL_HOSTS = _LOOPBACK | {"localhost"}


class Gate:
    """Authenticates a request, counts it and bounds its body."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.security = settings.security
        self.max_body_bytes = settings.server.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        app = cast(FastAPI, scope["app"])
        limits = cast(Resources, app.state.resources).limits
        with ExitStack() as held:
            try:
                principal = self.authenticate(scope)
                scope.setdefault("state", {})["principal"] = principal
                structlog.contextvars.bind_contextvars(principal=principal)
                await limits.count_request(principal)
                held.enter_context(limits.slot())
            except ServiceError as error:
                await respond(app, scope["path"], error)(scope, receive, send)
                return
            await self.app(scope, self.bounded(receive), send)

    def authenticate(self, scope: Scope) -> str:
        """Return the principal; raise `Unauthorized` or, without any keys, `Forbidden`."""
        headers = Headers(scope=scope)
        if not self.security.api_keys:
            _refuse_remote(scope, headers)
            return "local"
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        principal = self.security.principal_of(key.strip())
        if principal is None or scheme.lower() != "bearer":
            raise Unauthorized(
                "Send a valid API key: Authorization: Bearer <key>.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return principal

    def bounded(self, receive: Receive) -> Receive:
        """Wrap `receive` so that a body is cut off where it exceeds the limit."""
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                # FastAPI hides any other kind of error in a body behind a 400.
                raise HTTPException(
                    413, f"The body is longer than {self.max_body_bytes} bytes: send less."
                )
            return message

        return receive_within_limit


def _refuse_remote(scope: Scope, headers: Headers) -> None:
    host = urlsplit(f"//{headers.get('Host', '')}").hostname
    origin = headers.get("Origin")
    from_elsewhere = origin is not None and urlsplit(origin).netloc != headers.get("Host")
    peer = scope.get("client")
    if not peer or peer[0] not in _LOOPBACK or host not in _LOCAL_HOSTS or from_elsewhere:
        raise Forbidden(
            "Without API keys only this machine is served: set SECURITY__API_KEYS"
            " and send one of them as a Bearer token."
        )
