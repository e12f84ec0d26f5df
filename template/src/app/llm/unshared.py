"""Read a stream that nobody else reads.

pydantic-ai takes a lock for each event, twice, so that one task may close a stream while another
reads it. Here the task that reads also closes, and the locks would be a sixth of a stream's cost.
"""

from collections.abc import AsyncIterable, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def unshared(stream: AsyncIterable[T]) -> AsyncIterator[T]:
    """Yield what `stream` yields, from behind the lock where there is one."""
    reader = aiter(stream)
    async for event in reader:
        # It was looked at already, to see whether the stream begins well.
        yield event
        break
    async for event in getattr(reader, "source", reader):
        yield event
