"""Wait for what is away, in work that nobody waits for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import Unavailable

T = TypeVar("T")


async def patiently(
    call: Callable[[], Awaitable[T]], obstacle: type[Unavailable] = Unavailable
) -> T:
    """Call until it is possible; without a database the whole worker is stopped meanwhile."""
    while True:
        try:
            return await call()
        except obstacle:
            await asyncio.sleep(1)
