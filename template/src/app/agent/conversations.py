"""Conversations: what runs before have said, as much of it as the model reads."""

import json
from collections.abc import Sequence
from typing import Final

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    UserPromptPart,
)
from sqlalchemy import text

from app.db.engine import Database
from app.llm.calls import estimated_tokens


class Conversations:
    """Conversations of all principals; each knows its own by name."""

    def __init__(self, database: Database, most_tokens: int) -> None:
        self._database = database
        self._most_tokens = most_tokens

    async def read(self, principal: str, name: str) -> list[ModelMessage]:
        """Return the messages of a conversation; none where it begins."""
        values = {"principal": principal, "id": name}
        async with self._database.begin() as connection:
            found = await connection.scalar(text(_READ), values)
        return ModelMessagesTypeAdapter.validate_json(found) if found else []

    def written(self, messages: Sequence[ModelMessage]) -> bytes:
        """Return what is kept of the messages, for whoever ends a run."""
        return ModelMessagesTypeAdapter.dump_json(trimmed(messages, self._most_tokens))


def trimmed(messages: Sequence[ModelMessage], most_tokens: int) -> list[ModelMessage]:
    """Return the last turns that fit: each from what the user wrote up to what was answered.

    A tool's result so never stands without its call. The last turn stays, however long.
    """
    starts = [number for number, message in enumerate(messages) if begins_a_turn(message)]
    for start in starts:
        if _tokens(messages[start:]) <= most_tokens:
            return list(messages[start:])
    return list(messages[starts[-1] :]) if starts else []


def begins_a_turn(message: ModelMessage) -> bool:
    """Tell whether the user says something in it."""
    return isinstance(message, ModelRequest) and any(
        isinstance(part, UserPromptPart) for part in message.parts
    )


def _tokens(messages: Sequence[ModelMessage]) -> int:
    said = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    return estimated_tokens([json.dumps(message["parts"]) for message in said])


_READ: Final = "SELECT messages FROM agent.conversations WHERE principal = :principal AND id = :id"
