"""What a model's text amounts to, once it is whole.

It is an answer only as far as its citations hold: where none does, the service abstains, and says
so in a sentence of its own.
"""

from typing import Final

from pydantic import BaseModel, Field
from pydantic_ai.messages import ModelResponse

from app.answers.citations import Citation, Reader, Reading
from app.llm.calls import Call
from app.llm.failures import sendable
from app.llm.structured import Usage

ABSTAINED: Final = "The documents do not answer this. Ask in other words, or add a document."
# Why there is no answer, where the model neither refused nor was cut off.
NO_PASSAGE: Final = "No passage was found."
NO_CITATION: Final = "The model gave no citation that holds."
NOT_THERE: Final = "The model found no answer in the passages."


class Answer(BaseModel):
    """`[n]` in the `answer` is the n-th of its `citations`.

    Where it `abstained` the answer is the service's own sentence. `unsupported` lists what the
    model said and no citation holds; `detail` says why there is no answer, or only a part of one.
    """

    id: str
    model: str
    answer: str
    citations: list[Citation]
    unsupported: list[str]
    abstained: bool
    detail: str | None
    usage: Usage
    # For who measures answers; callers are not told.
    reading: Reading = Field(Reading(), exclude=True)


def settle(id: str, reader: Reader, response: ModelResponse | None, model_name: str) -> Answer:
    """Return the answer that has been read; without passages there was no `response`."""
    call = Call(model_name)
    if response:
        call.take(response)
    cost = call.cost_usd
    return Answer(
        id=id,
        model=call.model_name,
        answer=reader.text.strip() if reader.supported else ABSTAINED,
        citations=reader.citations if reader.supported else [],
        unsupported=reader.unsupported,
        abstained=not reader.supported,
        detail=_detail(reader, response),
        reading=reader.reading,
        usage=Usage(
            input_tokens=call.usage.input_tokens,
            output_tokens=call.usage.output_tokens,
            cost_usd=None if cost is None else f"{cost:f}",
        ),
    )


def _detail(reader: Reader, response: ModelResponse | None) -> str | None:
    if response is None:
        return NO_PASSAGE
    details = response.provider_details or {}
    if response.finish_reason == "content_filter" or "refusal" in details:
        return sendable(details.get("refusal") or "The model refused, and gave no reason.")
    if response.finish_reason == "length":
        return "The answer was cut off: raise LLM__MAX_OUTPUT_TOKENS, or ask for less."
    if reader.supported:
        return None
    if reader.unsupported:
        return NO_CITATION
    return NOT_THERE
