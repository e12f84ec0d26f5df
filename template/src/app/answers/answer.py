"""Answer a question from the passages that are found for it.

They are fetched before the model is asked, so no connection to a database waits for it.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from pydantic import BaseModel, Field
from pydantic_ai import ModelRequest, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.messages import ModelResponseStreamEvent
from structlog.contextvars import bound_contextvars

from app.answers.citations import Reader
from app.answers.settle import Answer, settle
from app.answers.sources import fitting, put, refuse_long
from app.db.texts import NotBlank
from app.llm.calls import answering
from app.llm.chat import Chat, ChatRequest
from app.llm.failures import sendable
from app.llm.unshared import unshared
from app.rag.bodies import Metadata
from app.rag.retrieve import Passage, Retrieves

ANSWER: Final = "answer"


class Question(BaseModel, extra="forbid", strict=True):
    """`filter` and `limit` choose the passages, `model` is one of `GET /v1/models`."""

    question: NotBlank
    filter: Metadata | None = None
    # 8.0 is an integer in JSON.
    limit: int = Field(8, ge=1, le=50, strict=False)
    model: str | None = None


class Answers:
    """Answers questions with what `retriever` finds, and the words of `chat`."""

    def __init__(self, chat: Chat, retriever: Retrieves) -> None:
        self._chat = chat
        self._retriever = retriever

    async def reply(self, principal: str, asked: Question) -> Answer:
        """Return the whole answer; raise `ServiceError` where the question is too long, or no
        model answers.
        """
        model = self._chat.models.get(asked.model).model_name
        with answering(ANSWER) as id:
            passages = await self._retrieve(principal, asked)
            reader, response = Reader(passages), None
            if passages:
                response = await self._chat.reply(_request(passages, asked))
                reader.feed(sendable(response.text or ""))
        reader.finish()
        return settle(id, reader, response, model)

    async def stream(
        self, principal: str, asked: Question
    ) -> AsyncGenerator[list[Passage] | str | Answer]:
        """Yield the passages, the text as it comes, and last the answer, which has the final say.

        To be read to its end, or closed, in one task. Raises as `reply` does.
        """
        model = self._chat.models.get(asked.model).model_name
        with answering(ANSWER) as id:
            passages = await self._retrieve(principal, asked)
            yield passages
            reader, response = Reader(passages), None
            if passages:
                async with self._chat.stream(_request(passages, asked)) as stream:
                    async for event in unshared(stream):
                        if shown := reader.feed(sendable(_text(event))):
                            yield shown
                response = stream.get()
        if shown := reader.finish():
            yield shown
        yield settle(id, reader, response, model)

    async def _retrieve(self, principal: str, asked: Question) -> list[Passage]:
        """Return the best passages, as many as a model reads here."""
        room = self._chat.room_tokens
        refuse_long(asked.question, room)
        with bound_contextvars(feature=ANSWER):
            found = await self._retriever.retrieve(
                principal, asked.question, limit=asked.limit, filter=asked.filter
            )
        return fitting(found, asked.question, room)


def _request(passages: Sequence[Passage], asked: Question) -> ChatRequest:
    message = ModelRequest.user_text_prompt(put(passages, asked.question))
    return ChatRequest([message], model=asked.model)


def _text(event: ModelResponseStreamEvent) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=new)):
            return new
        case PartDeltaEvent(delta=TextPartDelta(content_delta=new)):
            return new
    return ""
