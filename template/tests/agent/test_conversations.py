"""Conversations are cut between turns, so that no result stands without its call."""

import random

import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from app.agent.conversations import begins_a_turn, tools_read, trimmed
from app.agent.store import Store

from tests.agent.conftest import Office, Scripted

pytestmark = pytest.mark.anyio


def turn(number: int, calls: int = 0, words: int = 5) -> list[ModelMessage]:
    """Return what is said in a turn with so many tool calls, one after the other."""
    messages: list[ModelMessage] = [ModelRequest([UserPromptPart(f"{number}. {'word ' * words}")])]
    for each in range(calls):
        tool, call_id = f"note_{number}", f"{number}-{each}"
        messages.append(ModelResponse([ToolCallPart(tool, {"what": "word " * words}, call_id)]))
        messages.append(ModelRequest([ToolReturnPart(tool, "noted", call_id)]))
    messages.append(ModelResponse([TextPart(f"answer {number}")]))
    return messages


def parts(messages: list[ModelMessage]) -> list[object]:
    return [message.parts for message in messages]


def ids(messages: list[ModelMessage], kind: type[ToolCallPart | ToolReturnPart]) -> list[str]:
    parts = [part for message in messages for part in message.parts]
    return [part.tool_call_id for part in parts if isinstance(part, kind)]


def test_what_fits_stays() -> None:
    messages = [*turn(1), *turn(2, calls=2)]
    assert trimmed(messages, 10_000) == messages
    assert trimmed([], 10) == []


def test_the_last_turns_that_fit_stay() -> None:
    turns = [turn(number, calls=1, words=50) for number in range(4)]
    messages = [message for each in turns for message in each]
    kept = trimmed(messages, 500)
    assert parts(kept) in (parts([*turns[2], *turns[3]]), parts(turns[3]))
    assert len(kept) < len(messages)


def test_the_last_turn_stays_however_long() -> None:
    long = turn(2, calls=3, words=5_000)
    assert trimmed([*turn(1), *long], 10) == long


def test_what_no_user_began_is_left_out() -> None:
    orphan: list[ModelMessage] = [ModelResponse([TextPart("Hello.")])]
    assert trimmed(orphan, 100) == []
    begun = turn(1)
    assert trimmed([*orphan, *begun], 10_000) == begun


@pytest.mark.parametrize("seed", range(50))
def test_whatever_was_said_a_call_and_its_result_stay_together(seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    turns = [
        turn(number, chosen.randint(0, 4), chosen.choice([1, 10, 200]))
        for number in range(chosen.randint(1, 9))
    ]
    messages = [message for each in turns for message in each]
    for most in (1, 50, 200, 1_000, 5_000):
        kept = trimmed(messages, most)
        assert parts(kept) == parts(messages)[-len(kept) :]
        assert tools_read(trimmed(kept, 1)) == tools_read(messages)
        assert begins_a_turn(kept[0])
        assert ids(kept, ToolCallPart) == ids(kept, ToolReturnPart)
        # It is the most that fits: as much as at any smaller limit.
        assert len(trimmed(messages, most // 2)) <= len(kept)


async def test_a_conversation_is_its_principals(office: Office, scripted: Scripted) -> None:
    await office.given(scripted("Hello Ada.")).do("I am Ada.", conversation_id="c")
    store = Store(office.database)
    assert len(await store.conversation("alice", "c")) == 2
    assert await store.conversation("bob", "c") == []
    assert await store.conversation("alice", "d") == []


async def test_a_long_conversation_is_read_from_where_it_fits(
    office: Office, scripted: Scripted
) -> None:
    office = office.given(conversation_tokens=200)
    for number in range(4):
        model = scripted(f"Answer {number}: {'word ' * 50}")
        await office.given(model).do(f"Question {number}?", conversation_id="c")
    said = str(model.calls[0].messages)
    assert "Question 0?" not in said
    assert "Question 2?" in said
