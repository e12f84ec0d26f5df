"""What callers got, in the table `monitoring.responses`: a row a response, by the id they know.

No answer waits for the database (`writer.py`).
"""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Final

from sqlalchemy import text

from app.db.engine import Database
from app.monitoring.writer import Writer, tolerating


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
        return {**vars(self), "scores": json.dumps(self.scores), "topic": topic}


class Responses:
    """Writes rows, and forgets them after `keep_days`."""

    def __init__(self, database: Database, keep_days: int, retry_seconds: float = 1) -> None:
        self._database = database
        self._keep_days = keep_days
        self._writer = Writer[Response]("the responses", self._write, retry_seconds=retry_seconds)
        self._numbers = count()
        self.writing = self._writer.writing
        self.flush = self._writer.flush

    def add(self, response: Response) -> None:
        """Have a row written, soon. What comes later of the same response is another one."""
        self._writer.put(next(self._numbers), response)

    async def tidy(self) -> None:
        """Forget what is older than it may be."""
        with tolerating("to forget old responses"):
            async with self._database.begin() as connection:
                await connection.execute(text(_FORGET), {"days": self._keep_days})

    async def _write(self, responses: list[Response]) -> None:
        async with self._database.begin() as connection:
            await connection.execute(text(_ADD), [response.row for response in responses])


@asynccontextmanager
async def open_responses(database: Database, keep_days: int) -> AsyncGenerator[Responses]:
    """Open the table to add to."""
    responses = Responses(database, keep_days)
    async with responses.writing():
        yield responses


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
_FORGET: Final = """
    DELETE FROM monitoring.responses WHERE id IN (
        SELECT id FROM monitoring.responses
        WHERE created_at < now() - make_interval(days => :days) LIMIT 1000)"""
