"""Score answers from documents by what was found while their citations were read."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from structlog.contextvars import bound_contextvars

from app.answers.answer import Answers, Question
from app.answers.settle import Answer
from app.llm.chat import Chat
from app.monitoring.quality.score import Quality
from app.rag.retrieve import Passage, Retrieves


class ScoredAnswers(Answers):
    """Answers as `Answers` does, and has what comes of it scored."""

    def __init__(self, chat: Chat, retriever: Retrieves, quality: Quality) -> None:
        super().__init__(chat, retriever)
        self._prompt = str(chat.prompt)
        self._quality = quality

    async def reply(self, principal: str, asked: Question) -> Answer:
        answer = await super().reply(principal, asked)
        self._note(asked, answer)
        return answer

    async def stream(
        self, principal: str, asked: Question
    ) -> AsyncGenerator[list[Passage] | str | Answer]:
        async with aclosing(super().stream(principal, asked)) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    self._note(asked, part)
                yield part

    def _note(self, asked: Question, answer: Answer) -> None:
        with bound_contextvars(response_id=answer.id, prompt=self._prompt):
            self._quality.note_more(asked.question, answer.answer, answer.model, scores_of(answer))


def scores_of(answer: Answer) -> dict[str, float]:
    """Score what was said in an answer; where nothing was, there is nothing to score."""
    read = answer.reading
    if not read.sentences:
        return {}
    held = (read.citations - read.dropped) / read.citations if read.citations else 0.0
    return {"citations": held, "groundedness": read.supported / read.sentences}
