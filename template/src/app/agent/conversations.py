"""Conversations: what runs before have said, as much of it as the model reads."""

import json
from collections.abc import Sequence

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    UserPromptPart,
)

from app.llm.calls import estimated_tokens


def trimmed(messages: Sequence[ModelMessage], most_tokens: int) -> list[ModelMessage]:
    """Return the last turns that fit: each from what the user wrote up to what was answered.

    A tool's result so never stands without its call. The last turn stays, however long.
    """
    starts = [number for number, message in enumerate(messages) if begins_a_turn(message)]
    for start in starts:
        if _tokens(messages[start:]) <= most_tokens:
            return list(messages[start:])
    return list(last_turn(messages)) if starts else []


def last_turn(messages: Sequence[ModelMessage]) -> Sequence[ModelMessage]:
    """Return what was said since the user wrote something last."""
    return messages[max((n for n, m in enumerate(messages) if begins_a_turn(m)), default=0) :]


def begins_a_turn(message: ModelMessage) -> bool:
    """Tell whether the user says something in it."""
    return isinstance(message, ModelRequest) and any(
        isinstance(part, UserPromptPart) for part in message.parts
    )


def _tokens(messages: Sequence[ModelMessage]) -> int:
    said = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    return estimated_tokens([json.dumps(message["parts"]) for message in said])
