"""What callers say of what they got: one rating a response, the last one counts."""

import asyncio
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Row, text

from app.db.engine import Database
from app.db.texts import Text
from app.monitoring import names
from app.monitoring.metrics import Metrics
from app.monitoring.quality.responses import Responses
from app.monitoring.redact import Redact, redact

from app.errors import NotFound


class Rating(BaseModel, extra="forbid"):
    """Whether a response was good. A second rating of a response takes the place of the first."""

    response_id: str = Field(
        pattern="^[A-Za-z0-9-]{1,100}$",
        description="The `id` of a response that you got, or of a run",
    )
    rating: Literal["up", "down"]
    comment: Annotated[Text, Field(max_length=2_000)] | None = None


class Feedback:
    """Takes ratings. What people write with one is stored as `redact` leaves it."""

    def __init__(
        self,
        database: Database,
        responses: Responses,
        metrics: Metrics,
        redact: Redact = redact,
        pause_seconds: float = 0.2,
    ) -> None:
        self._database = database
        self._responses = responses
        self._metrics = metrics
        self._redact = redact
        self._pause_seconds = pause_seconds

    async def rate(self, principal: str, rating: Rating) -> Rating:
        """Store a rating; raise `NotFound` unless the principal got this response."""
        comment = None if rating.comment is None else self._redact(rating.comment)
        told = rating.model_copy(update={"comment": comment})
        values = {"principal": principal, **told.model_dump()}
        # It may be that fresh.
        await self._responses.flush()
        if not (row := await self._store(values)):
            await asyncio.sleep(self._pause_seconds)  # Or another process is about to write it.
            row = await self._store(values)
        if row is None:
            raise NotFound(f"You got no response {rating.response_id!r}.")
        if row.before != rating.rating:
            given = {
                names.RATING: rating.rating,
                names.FEATURE: row.feature,
                names.RESPONSE_MODEL: row.model,
                names.PROMPT: row.prompt,
                names.PROMPT_VERSION: row.prompt_version,
            }
            self._metrics.feedback.add(1, {name: value for name, value in given.items() if value})
        return told

    async def _store(self, values: dict[str, Any]) -> Row[Any] | None:
        async with self._database.begin() as connection:
            return (await connection.execute(text(_RATE), values)).first()


_RATE: Final = """
    UPDATE monitoring.responses r SET rating = :rating, comment = :comment
    FROM (
        SELECT id, rating AS before FROM monitoring.responses
        WHERE id = :response_id AND principal = :principal FOR UPDATE) old
    WHERE r.id = old.id
    RETURNING before, feature, model, prompt, prompt_version"""
