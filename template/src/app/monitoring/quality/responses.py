"""What callers got, in the table `monitoring.responses`: a row a response, by the id they know.

No answer waits for the database. Rows wait in memory, for a task that writes what has come; where
the database is away it tries again, and what is too much by then is dropped.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import text

from app.db.engine import Database

from app.errors import ServiceError

_MOST_WAITING: Final = 10_000
_AT_ONCE: Final = 200
_PAUSE_SECONDS: Final = 2.0
_CLOSING_SECONDS: Final = 3.0
_log = structlog.stdlib.get_logger("app.monitoring")


@dataclass(frozen=True)
class Response:
    """What a caller got, or with `refused` None more about it. Of one id the last one counts."""

    id: str
    principal: str | None
    feature: str
    model: str
    prompt: str
    prompt_version: str
    created_at: datetime
    input_chars: int
    output_chars: int
    refused: bool | None
    scores: dict[str, float]
    topic: Sequence[float] | None
    request: str | None
    response: str | None

    @property
    def row(self) -> dict[str, Any]:
        topic = None if self.topic is None else list(self.topic)
        return {**asdict(self), "scores": json.dumps(self.scores), "topic": topic}


class Responses:
    """Writes rows, and forgets them after `keep_days`."""

    def __init__(
        self, database: Database, keep_days: int, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self._database = database
        self._keep_days = keep_days
        self._pause_seconds = pause_seconds
        self._waiting: deque[Response] = deque()
        self._is_open = True
        self._more, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()

    def add(self, response: Response) -> None:
        """Have a row written, soon."""
        if len(self._waiting) >= _MOST_WAITING:
            _log.warning("a response is not kept: too many wait for the database", id=response.id)
            return
        self._waiting.append(response)
        self._idle.clear()
        self._more.set()

    async def written(self) -> None:
        """Wait until what was added has been written, for a few seconds."""
        async with asyncio.timeout(_CLOSING_SECONDS):
            await self._idle.wait()

    async def tidy(self) -> None:
        """Forget what is older than it may be."""
        async with self._database.begin() as connection:
            await connection.execute(text(_FORGET), {"days": self._keep_days})

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """Write until the body ends, and then what is left, for a few seconds."""
        writing = asyncio.create_task(self._write())
        try:
            yield
        finally:
            self._is_open = False
            self._more.set()
            _, late = await asyncio.wait({writing}, timeout=_CLOSING_SECONDS)
            if late:
                _log.warning("responses are not kept: no database", count=len(self._waiting))
                self._waiting.clear()
                writing.cancel()
                await asyncio.wait(late)

    async def _write(self) -> None:
        while self._is_open or self._waiting:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                count = min(len(self._waiting), _AT_ONCE)
                rows = [self._waiting.popleft().row for _ in range(count)]
                await self._insist(rows)
            self._idle.set()

    async def _insist(self, rows: list[dict[str, Any]]) -> None:
        while True:
            try:
                async with self._database.begin() as connection:
                    await connection.execute(text(_ADD), rows)
                return
            except ServiceError as error:
                _log.warning("responses wait for the database", why=error.detail)
            except Exception as error:  # To try it again would come to the same.
                _log.error("responses are not kept", count=len(rows), error=type(error).__name__)
                return
            await asyncio.sleep(self._pause_seconds)


@asynccontextmanager
async def open_responses(database: Database, keep_days: int) -> AsyncGenerator[Responses]:
    """Open the table to add to."""
    responses = Responses(database, keep_days)
    async with responses.writing():
        yield responses


def now() -> datetime:
    return datetime.now(UTC)


# Without `refused` it is more of a response, and not another one.
_ADD: Final = """
    INSERT INTO monitoring.responses AS r (
        id, principal, feature, model, prompt, prompt_version, created_at, input_chars,
        output_chars, refused, scores, topic, request, response)
    VALUES (
        :id, :principal, :feature, :model, :prompt, :prompt_version, :created_at, :input_chars,
        :output_chars, COALESCE(CAST(:refused AS boolean), false), CAST(:scores AS jsonb),
        CAST(:topic AS real[]), :request, :response)
    ON CONFLICT (id) DO UPDATE SET
        feature = excluded.feature,
        model = excluded.model,
        prompt = excluded.prompt,
        prompt_version = excluded.prompt_version,
        created_at = excluded.created_at,
        input_chars = excluded.input_chars,
        output_chars = excluded.output_chars,
        refused = COALESCE(CAST(:refused AS boolean), r.refused),
        scores = CASE WHEN CAST(:refused AS boolean) IS NULL THEN r.scores ELSE '{}' END
            || excluded.scores,
        topic = excluded.topic,
        request = excluded.request,
        response = excluded.response
    WHERE r.created_at <= excluded.created_at"""
_FORGET: Final = (
    "DELETE FROM monitoring.responses WHERE created_at < now() - make_interval(days => :days)"
)
