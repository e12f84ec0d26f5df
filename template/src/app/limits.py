"""How much one principal may ask, and how much one process answers at once.

Refusing early with a `Retry-After` costs little; accepting work that then times out costs most.
"""

import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from limits import parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError

from app.errors import TooManyRequests, Unavailable

Storage = MemoryStorage | RedisStorage
_NO_ANSWER = "The store of the rate limit does not answer; try again."


class Limits:
    """The rate limit of each principal and the concurrency limit of this process."""

    def __init__(self, rate: str, storage: Storage, max_concurrent: int) -> None:
        self.rate = parse(rate)
        self.max_concurrent = max_concurrent
        self.running = 0
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)

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

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the places of this process; raise `TooManyRequests` when none is free."""
        if self.running >= self.max_concurrent:
            raise TooManyRequests(
                f"{self.running} requests are being answered already; try again.",
                headers={"Retry-After": "1"},
            )
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

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
    counts = _storage(storage)
    try:
        yield Limits(rate, counts, max_concurrent)
    finally:
        if isinstance(counts, RedisStorage) and isinstance(counts.bridge, RedispyBridge):
            await counts.bridge.storage.aclose()


def _storage(url: str) -> Storage:
    if url == "memory://":
        return MemoryStorage()
    try:
        return RedisStorage(f"async+{url}", wrap_exceptions=True, implementation="redispy")
    except ConfigurationError as error:
        raise ValueError("A rate limit in Redis needs its client: uv sync --extra redis") from error
