"""The judge without a provider: it compares words, and says so.

It is a rule of the built-in model, to see what a judged run looks like. Its verdicts mean nothing,
and no calibration will say otherwise.
"""

import json
import re
from html import unescape
from typing import Final

from pydantic_ai import ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo

from app.llm.fill import words
from app.llm.offline import Messages, say, user_texts

_TEXT: Final = re.compile(r"<(\w+)>\n(.*?)\n</\1>", re.DOTALL)
_ENOUGH: Final = 0.5


def judge_by_words(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Pass an answer that has half of the words of the reference or, without one, the question."""
    wanted = info.model_request_parameters.output_object
    if not wanted or not {"critique", "passes"} <= wanted.json_schema["properties"].keys():
        return None
    texts = {tag: unescape(text) for tag, text in _TEXT.findall(user_texts(messages)[-1])}
    expected = set(words(texts.get("reference") or texts["question"]))
    shared = expected & set(words(texts["answer"]))
    critique = say(f"the answer has {len(shared)} of {len(expected)} words.").text
    passes = len(shared) >= _ENOUGH * len(expected)
    return ModelResponse([TextPart(json.dumps({"critique": critique, "passes": passes}))])
