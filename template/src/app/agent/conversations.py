"""Conversations: what runs before have said, as much of it as the model reads."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)

from app.llm.calls import estimated_tokens

# In the metadata of a message: the tools whose results were read before it, and do not stand there.
_READ: Final = "read"


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
    if read := tools_read(messages[: start + 1]):
        first = replace(first, metadata={_READ: sorted(read)})
    return [first, *others]


def turn(said: str, answer: str, read: Iterable[str]) -> list[ModelMessage]:
    """Return what a conversation keeps of a turn for which the tools `read` were used."""
    request = ModelRequest([UserPromptPart(said)], metadata={_READ: sorted(read)})
    return [request, ModelResponse([TextPart(answer)])]


def tools_read(messages: Sequence[ModelMessage]) -> set[str]:
    """Return the tools whose results the messages hold, or were made with."""
    parts = [part for message in messages for part in message.parts]
    results = (part for part in parts if isinstance(part, ToolReturnPart | RetryPromptPart))
    before = [(message.metadata or {}).get(_READ, ()) for message in messages]
    return {result.tool_name for result in results if result.tool_name}.union(*before)


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
