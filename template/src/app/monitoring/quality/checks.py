"""Cheap checks of what a model answered: each gives a score from 0 (bad) to 1 (good).

They look at every answer, so none of them asks a model. They see what is wrong on the face of it;
whether an answer is right is for the people who get it to say.
"""

import json
import re
from typing import Final

from pydantic_ai.messages import ModelResponse

from app.llm.calls import Call

# What is below has failed.
LOW: Final = 0.5

# What a text that uses a structured type came to, as its service found.
_TASKS: Final = {"ok": 1.0, "truncated": 0.0, "invalid": 0.0}
_CUT_OFF: Final = ("length", "truncated")
_REFUSED: Final = ("content_filter", "refused")
# A refusal without a mark is one in words, which stand at the beginning.
_BEGINNING_CHARS: Final = 200
# Only what says of the writer itself that it will not do what was asked. Longer lists, such as
# those that tests of jailbreaks use, also find "I'm sorry to hear that", "I cannot find the order"
# and "as an AI": here a false alarm is worse than a refusal that is missed.
_REFUSES: Final = re.compile(
    r"\bI(?:['\u2019]m|\s+am)?\s+(?:can(?:not|['\u2019]t)|won['\u2019]t|will\s+not"
    r"|(?:unable|not\s+able)\s+to)\s+"
    r"(?:help\s+(?:you\b|with|to\b)|help\s*[.,;:!]|assist|comply|fulfil|participate|engage"
    r"|(?:do|answer|discuss)\s+(?:that|this)\b)"
    r"|\bI\s+(?:must|have\s+to)\s+decline\b"
    r"|\b(?:dabei|damit|hierbei)\s+kann\s+ich\b.{0,30}\bnicht\s+(?:weiter)?helfen"
    r"|\bich\s+kann\b.{0,40}\bnicht\s+(?:dabei\s+|damit\s+)?(?:(?:weiter)?helfen|unterst\u00fctzen)",
    re.IGNORECASE | re.DOTALL,
)


def check(call: Call) -> dict[str, float]:
    """Return the scores of what a call came to, by the names of the checks."""
    response = call.response or ModelResponse([])
    refused = call.outcome in _REFUSED or refuses(response)
    is_empty = not (response.text or "").strip() and not response.tool_calls
    is_short = call.outcome in _CUT_OFF or (is_empty and not refused)
    scores = {"refusal": 0.0 if refused else 1.0, "length": 0.0 if is_short else 1.0}
    if not refused and (form := _form(call, response)) is not None:
        scores["format"] = form
    return scores


def refuses(response: ModelResponse) -> bool:
    """Say whether the model would not do it: the provider says so, or the first words do."""
    marked = "refusal" in (response.provider_details or {})
    return marked or bool(_REFUSES.search((response.text or "")[:_BEGINNING_CHARS]))


def _form(call: Call, response: ModelResponse) -> float | None:
    """Score the form of an answer, where one was asked for."""
    if call.outcome in _TASKS:
        return _TASKS[call.outcome]
    if call.parameters.output_mode not in ("native", "prompted") or response.tool_calls:
        return None
    try:
        json.loads(response.text or "")
    except ValueError:
        return 0.0
    return 1.0
