"""`POST /v1/answers`: an answer from the documents, whole or as events.

The events are `sources`, then each `delta`, then `done` with the whole answer. The first waits for
the model, so that a failure before has its status; one after is the event `error`.
"""

import json
from contextlib import aclosing
from functools import partial
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.answers.answer import Question
from app.answers.settle import Answer
from app.llm.event_stream import EventStream, Write, disconnected, while_connected
from app.llm.openai_answers import error_event
from app.llm.routes import CLIENT_LEFT

from app.errors import ServiceError, problems
from app.resources import Resources
from app.security import NEEDS_KEY

_ERRORS = problems(400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504)
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}

router = APIRouter(prefix="/v1", tags=["answers"], dependencies=[NEEDS_KEY], responses=_ERRORS)


class AnswerRequest(Question):
    stream: bool = False


@router.post("/answers", response_model=Answer, responses=_STREAM)
async def answer(body: AnswerRequest, request: Request) -> Answer | Response:
    """Answer a question from the documents, with citations that are verbatim in them."""
    resources = cast(Resources, request.app.state.resources)
    principal: str = request.state.principal
    if body.stream:

        async def produce(write: Write) -> None:
            waiting = b""
            async with aclosing(resources.answers.stream(principal, body)) as parts:
                async for part in parts:
                    if isinstance(part, list):
                        passages = [passage.model_dump(mode="json") for passage in part]
                        waiting = _event("sources", {"sources": passages})
                        continue
                    if isinstance(part, str):
                        event = _event("delta", {"text": part})
                    else:
                        event = _event("done", part.model_dump(mode="json"))
                    await write(waiting + event)
                    waiting = b""

        return EventStream(produce, _failed)
    async with while_connected(partial(disconnected, request.receive)):
        return await resources.answers.reply(principal, body)
    return Response(status_code=CLIENT_LEFT)


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _failed(error: ServiceError) -> bytes:
    return b"event: error\n" + error_event(error)
