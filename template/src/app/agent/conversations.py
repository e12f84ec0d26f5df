"""Conversations: what runs before have said, as much of it as the model reads."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ToolReturnPart,
    UserPromptPart,
)

from app.llm.calls import estimated_tokens

# In the metadata of the first message that was kept: whose results were in those that were not.
_READ_BEFORE: Final = "read_before"


def trimmed(messages: Sequence[ModelMessage], most_tokens: int) -> list[ModelMessage]:
    """Return the last turns that fit: each from what the user wrote up to what was answered.

    A tool's result so never stands without its call. The last turn stays, however long.
    """
    starts = [number for number, message in enumerate(messages) if begins_a_turn(message)]
    if not starts:
        return []
    fitting = (start for start in starts if _tokens(messages[start:]) <= most_tokens)
    start = next(fitting, starts[-1])
    first, *others = messages[start:]
    if read := tools_read(messages[:start]):
        first = replace(first, metadata={_READ_BEFORE: sorted(read)})
    return [first, *others]


def tools_read(messages: Sequence[ModelMessage]) -> set[str]:
    """Return the tools whose results stand in the messages, or stood before they were trimmed."""
    parts = [part for message in messages for part in message.parts]
    before = [(message.metadata or {}).get(_READ_BEFORE, ()) for message in messages]
    return {part.tool_name for part in parts if isinstance(part, ToolReturnPart)}.union(*before)


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
