"""How much one principal may ask, and how much one process answers at once.

Refusing early with a `Retry-After` costs little; accepting work that then times out costs most.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from limits import parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from app.errors import TooManyRequests, Unavailable

_NO_ANSWER = "The store of the rate limit does not answer; try again."


class Limits:
    """The rate limit of each principal and the concurrency limit of this process."""

    def __init__(self, rate: str, storage: Any, max_concurrent: int) -> None:
        self.rate = parse(rate)
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._slots = asyncio.Semaphore(max_concurrent)

    async def count_request(self, principal: str) -> None:
        """Count one request of `principal`; raise `TooManyRequests` when it was one too many."""
        try:
            if await self._limiter.hit(self.rate, principal):
                return
            reset = (await self._limiter.get_window_stats(self.rate, principal)).reset_time
        except StorageError as error:
            raise Unavailable(_NO_ANSWER, headers={"Retry-After": "1"}) from error
        wait_seconds = max(1, math.ceil(reset - time.time()))
        raise TooManyRequests(
            f"The limit of {self.rate} is reached; wait {wait_seconds} s.",
            headers={"Retry-After": str(wait_seconds)},
        )

    def slot(self) -> asyncio.Semaphore:
        """Return a free place of this process, to be entered at once.

        Raises `TooManyRequests` where there is none: nobody waits for one.
        """
        if self._slots.locked():
            busy = "All places of this process are taken; try again."
            raise TooManyRequests(busy, headers={"Retry-After": "1"})
        return self._slots

    async def check(self, *, thorough: bool = False) -> str:
        """Say where requests are counted; raise when that place does not answer."""
        if not await self._storage.check():
            raise Unavailable(_NO_ANSWER)
        return f"{self.rate}, counted in {type(self._storage).__name__.removesuffix('Storage')}"


@asynccontextmanager
async def open_limits(*, rate: str, storage: str, max_concurrent: int) -> AsyncIterator[Limits]:
    """Open the limits of one process, counting in `storage`: `memory://` or the URL of a Redis.

    Raises `ValueError` when the Redis client is not installed.
    """
    try:
        counts: Any = storage_from_string(
            f"async+{storage}", wrap_exceptions=True, implementation="redispy"
        )
    except ConfigurationError as error:
        raise ValueError("A rate limit in Redis needs its client: uv sync --extra redis") from error
    try:
        yield Limits(rate, counts, max_concurrent)
    finally:
        if bridge := getattr(counts, "bridge", None):  # Only Redis has connections to close.
            await bridge.storage.aclose()
