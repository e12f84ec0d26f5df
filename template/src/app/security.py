"""Who may call, and how much: the gate that every request passes before a route sees it.

With API keys a request needs one. Without any (development only) it has to come from this very
machine, by the connection's own address: headers that proxies add do not count.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import cast
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Forbidden, ServiceError, TookTooLong, Unauthorized, respond
from app.resources import Resources
from app.settings import Settings

# The gate has checked the key already; this tells OpenAPI, and so the docs, that a route needs one.
NEEDS_KEY = Security(HTTPBearer(auto_error=False, description="An API key of this service."))

OPEN_PATHS = frozenset({"/", "/health/live", "/health/ready"})
# Scripts and styles: a browser asks for them before anybody could give it a key.
OPEN_FOLDER = "/web/"
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_LOCAL_HOSTS = _LOOPBACK | {"localhost"}


class Gate:
    """Authenticates a request, counts it and bounds its body."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.security = settings.security
        self.max_body_bytes = settings.server.max_body_bytes
        self.longest_seconds = settings.server.longest_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
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
            await self.before_deadline(self.app(scope, self.bounded(receive), send))

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

    async def before_deadline(self, answering: Awaitable[None]) -> None:
        """End what takes too long, such as a client that stops sending, or reading."""
        try:
            async with asyncio.timeout(self.longest_seconds) as deadline:
                await answering
        except TimeoutError:
            if not deadline.expired():
                raise
            raise TookTooLong(f"No request may take {self.longest_seconds:.0f} s.") from None

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


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _refuse_remote(scope: Scope, headers: Headers) -> None:
    given, origin = headers.get("Host", ""), headers.get("Origin")
    try:
        host = urlsplit(f"//{given}").hostname
        from_elsewhere = origin is not None and urlsplit(origin).netloc != given
    except ValueError:
        host, from_elsewhere = None, True
    peer = scope.get("client")
    if not peer or peer[0] not in _LOOPBACK or host not in _LOCAL_HOSTS or from_elsewhere:
        raise Forbidden(
            "Without API keys only this machine is served: set SECURITY__API_KEYS"
            " and send one of them as a Bearer token."
        )
