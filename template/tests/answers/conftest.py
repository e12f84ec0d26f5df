"""What the tests of answers share: passages, a retriever that finds them, and scripted models."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_ai.models import Model

from app.answers.answer import Answers
from app.llm.calls import Calls
from app.llm.chat import Chat
from app.llm.models import Models
from app.llm.prompts import Prompts
from app.llm.settings import LLMSettings
from app.rag.retrieve import Passage

from app.errors import ServiceError
from tests.llm.conftest import scripted

__all__ = ["scripted"]

RETURNS = "Goods can be returned within 30 days. The customer pays the postage."
OPENING = "The shop opens at 9.30 on weekdays.\nOn Sundays it is closed."


def passage(text: str, number: int = 1, title: str = "Terms") -> Passage:
    return Passage(
        chunk_id=f"chunk-{number}",
        document_id=f"document-{number}",
        title=title,
        headings=(),
        text=text,
        start=0,
        end=len(text),
        metadata={},
        score=1 / number,
        meaning=None,
        words=None,
    )


def passages(*texts: str) -> list[Passage]:
    return [passage(text, number) for number, text in enumerate(texts, 1)]


class FakeRetriever:
    """Finds the same for every question, and remembers what it was asked."""

    def __init__(self, found: Sequence[Passage], error: ServiceError | None = None) -> None:
        self.found = found
        self.error = error
        self.asked: list[tuple[str, str, int, Mapping[str, Any] | None]] = []

    async def retrieve(
        self,
        principal: str,
        query: str,
        *,
        limit: int = 8,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Passage]:
        self.asked.append((principal, query, limit, filter))
        if self.error:
            raise self.error
        return list(self.found[:limit])


def answers_with(model: Model, retriever: FakeRetriever, **limits: int) -> Answers:
    settings = LLMSettings.model_validate(limits)
    calls = Calls(Models({model.model_name: model}, {}), settings, 5)
    return Answers(Chat(calls, Prompts.load({}).get("answer")), retriever)
