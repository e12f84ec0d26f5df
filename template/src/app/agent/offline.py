"""What the built-in model does as an agent: it takes the tool that the words ask for."""

import json
import re
from typing import Final

from pydantic_ai import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.messages import ToolReturnPart
from pydantic_ai.models.function import AgentInfo

from app.agent.conversations import last_turn
from app.llm.fill import words
from app.llm.offline import Messages, last_text, say

_KNOWN: Final = {"calculator", "fetch_page", "notify", "search_documents"}
_SUM: Final = re.compile(r"[\d(][\d\s().+*/%-]*[+*/%-][\d\s().+*/%-]*[\d)]")
_ADDRESS: Final = re.compile(r"https?://[^\s<>\"']+")
_NOTIFY: Final = re.compile(r"\bnotify\b[^.!?]*", re.IGNORECASE)


def use_tools(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Call the next tool that is asked for; after the last one, answer with what they returned.

    Arithmetic goes to the calculator, an address is fetched, "notify …" sends a message, and what
    asks for none of them is searched for.
    """
    names = {tool.name for tool in info.function_tools}
    said, turn = last_text(messages), last_turn(messages)
    called = [call.tool_name for m in turn for call in getattr(m, "tool_calls", ())]
    if not called and not names & {"calculator", "search_documents"}:
        return None
    for name, arguments in _wanted(said, names).items():
        if name not in called:
            number = len(messages)
            return ModelResponse([ToolCallPart(name, arguments, f"call_{number}")])
    returned = [
        f"{part.tool_name} returned {part.model_response_str()[:300].rstrip('.') or 'nothing'}"
        for message in turn
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]
    return say(f"{'; '.join(returned)}.") if returned else None


def plan_and_report(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Write the plan and the report of a research: one question, and what was found to it."""
    wanted = info.model_request_parameters.output_object
    said = last_text(messages)
    match wanted and wanted.name:
        case "Plan":
            written: dict[str, object] = {"questions": [said[:500]]}
        case "Report":
            written = {"report": say(said.partition("Found: ")[2]).text}
        case _:
            return None
    return ModelResponse([TextPart(json.dumps(written))])


def _wanted(said: str, names: set[str]) -> dict[str, dict[str, str]]:
    """Return the tools to call, with their arguments, in turn."""
    found: dict[str, dict[str, str]] = {}
    if arithmetic := _SUM.search(said):
        found["calculator"] = {"expression": arithmetic[0].strip()}
    if address := _ADDRESS.search(said):
        found["fetch_page"] = {"url": address[0].rstrip(".,;:!?)")}
    if message := _NOTIFY.search(said):
        found["notify"] = {"message": message[0].strip()}
    # A tool of the owner's is called by a word of its name, as the built-in model does anyway.
    own = {word for name in names - _KNOWN for word in words(name) if len(word) > 3}
    wanted = found or ({} if own & set(words(said)) else {"search_documents": {"query": said}})
    return {name: arguments for name, arguments in wanted.items() if name in names}
