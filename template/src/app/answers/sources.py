"""How passages and a question are put to a model: as sources, between tags that none can write.

A passage is material, whatever it says, so what it says is escaped. The offline model reads the
same message back.
"""

import re
from collections.abc import Sequence
from html import escape, unescape

from app.llm.calls import estimated_tokens
from app.llm.failures import ContextLengthExceeded
from app.rag.retrieve import Passage


def put(passages: Sequence[Passage], question: str) -> str:
    """Write the message that asks a model; the id of a source is its position, from 1."""
    sources = [
        f'<source id="{number}" title="{escape(" / ".join((passage.title, *passage.headings)))}">'
        f"\n{escape(passage.text, quote=False)}\n</source>\n"
        for number, passage in enumerate(passages, 1)
    ]
    return f"{''.join(sources)}<question>\n{escape(question, quote=False)}\n</question>"


def read(message: str) -> tuple[dict[int, str], str] | None:
    """Return the texts of the sources by id, and the question; None where there is none."""
    before, tag, question = message.rpartition("<question>\n")
    if not tag or not question.endswith("\n</question>"):
        return None
    sources: dict[int, str] = {}
    for source in before.split("\n</source>\n"):
        # Escaped, no title holds a bracket or a quotation mark.
        head, _, text = source.partition(">\n")
        if id := re.match(r'<source id="(\d{1,4})"', head):
            sources[int(id[1])] = unescape(text)
    return sources, unescape(question.removesuffix("\n</question>"))


def refuse_long(question: str, room_tokens: int) -> None:
    """Raise `ContextLengthExceeded` where the question alone is more than a model reads here."""
    if estimated_tokens([put([], question)]) > room_tokens:
        raise ContextLengthExceeded("The question is too long: ask less.", param="question")


def fitting(passages: Sequence[Passage], question: str, room_tokens: int) -> list[Passage]:
    """Return the passages that fit beside the question, the first ones first."""
    taken: list[Passage] = []
    for passage in passages:
        if estimated_tokens([put([*taken, passage], question)]) <= room_tokens:
            taken.append(passage)
    if passages and not taken:
        detail = "The question leaves no room for a passage: ask less."
        raise ContextLengthExceeded(detail, param="question")
    return taken
