"""Who may call, and how much: the gate that every request passes before a route sees it.

With API keys a request needs one. Without any (development only) it has to come from this very
machine, by the connection's own address: headers that proxies add do not count.
"""

import asyncio
import re
from contextlib import nullcontext
from fnmatch import fnmatchcase
from typing import cast

import structlog
from fastapi import Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge, Forbidden, TookTooLong, Unauthorized
from app.resources import Resources
from app.settings import Settings

# The gate has checked the key already; this tells OpenAPI, and so the docs, that a route needs one.
NEEDS_KEY = Security(HTTPBearer(auto_error=False, description="An API key of this service."))

_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")


class Gate:
    """Authenticates a request, counts it, and bounds its body and its time.

    What it raises is answered by what stands around it (`RequestLog`).
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.security = settings.security
        self.max_body_bytes = settings.server.max_body_bytes
        self.longest_seconds = settings.server.longest_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope):
            await self.app(scope, receive, send)
            return
        limits = cast(Resources, scope["app"].state.resources).limits
        principal = self.authenticate(scope)
        scope.setdefault("state", {})["principal"] = principal
        structlog.contextvars.bind_contextvars(principal=principal)
        try:
            # From outside, for a client may stop to send, or to read.
            async with asyncio.timeout(self.longest_seconds) as deadline:
                await limits.count_request(principal)
                is_urgent = scope["path"] in scope["app"].state.urgent_paths
                async with nullcontext() if is_urgent else limits.slot():
                    await self.app(scope, self.bounded(receive), send)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise TookTooLong(f"No request may take {self.longest_seconds:.0f} s.") from None

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
                raise BodyTooLarge(f"Send less: a body has at most {self.max_body_bytes} bytes.")
            return message

        return receive_within_limit


def _is_open(scope: Scope) -> bool:
    patterns = scope["app"].state.open_paths if scope["method"] in ("GET", "HEAD") else ()
    return any(fnmatchcase(scope["path"], pattern) for pattern in patterns)


def _refuse_remote(scope: Scope, headers: Headers) -> None:
    peer, host = scope.get("client") or ("", 0), headers.get("Host", "")
    same_origin = headers.get("Origin") in (None, f"http://{host}", f"https://{host}")
    if peer[0] not in _LOOPBACK or not _LOCAL_HOST.fullmatch(host) or not same_origin:
        raise Forbidden(
            "Without API keys only this machine is served: set SECURITY__API_KEYS"
            " and send one of them as a Bearer token."
        )
