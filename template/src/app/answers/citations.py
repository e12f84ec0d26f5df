"""Citations in a model's answer: read as they come, and checked against the passages.

A model writes `<cite source="N">words</cite>` after a sentence. Whether the words support the
sentence only a reader can tell; that they stand in the passage is checked here, and a sentence that
no such quote follows is unsupported. A citation that fails is dropped, words and all; of a tag that
is not closed (by the next one, or within 1,000 characters) only the tag. `[n]` is a checked
citation: where the model writes one of its own, outside of code, it becomes `(n)`.
"""

import re
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel

from app.answers.quotes import find_quote
from app.answers.sentences import sentences
from app.rag.retrieve import Passage

NO_ANSWER: Final = "NO ANSWER"

_OPENED: Final = r"<cite(?:\s[^<>]{0,80})?>(?:(?!</?cite[\s>]).){0,1000}"
_TOKEN: Final = re.compile(
    rf"(?P<citation>{_OPENED}</cite\s*>)|(?P<tag></?cite(?:\s[^<>]{{0,80}})?>)"
    r"|\[(?P<mark>\d{1,4})\]|[^<\[]+|.",
    re.IGNORECASE | re.DOTALL,
)
# What cannot be read before more of it is there.
_BEGUN: Final = re.compile(
    r"</?(?:c(?:i(?:t(?:e(?:\s[^<>]{0,80})?)?)?)?)?|\[\d{0,4}"
    rf"|{_OPENED}(?:<(?:/(?:c(?:i(?:t(?:e\s*)?)?)?)?)?)?",
    re.IGNORECASE | re.DOTALL,
)
_SOURCE: Final = re.compile(r"<cite\s+source\s*=\s*[\"']?(\d{1,4})[\"']?\s*>(.*)</", re.I | re.S)


class Citation(BaseModel, frozen=True):
    """A `quote` that is verbatim in its chunk."""

    chunk_id: str
    document_id: str
    title: str
    quote: str


class Reading(BaseModel, frozen=True):
    """How an answer was read: its sentences, and each citation in it, those dropped included."""

    sentences: int = 0
    supported: int = 0
    citations: int = 0
    dropped: int = 0


class Reader:
    """Reads an answer piece by piece; `text` is what may be shown of it so far."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.citations: list[Citation] = []
        self._passages = passages
        self._held = ""
        self._shown: list[str] = []
        self._backticks = 0
        # What was said since the last tag: a tag ends a sentence.
        self._said: list[str] = []
        # Each sentence, and whether it is supported.
        self._sentences: list[tuple[str, bool]] = []
        self._cited = 0
        self._dropped = 0

    @property
    def text(self) -> str:
        return "".join(self._shown)

    @property
    def supported(self) -> bool:
        return any(supported for _, supported in self._sentences)

    @property
    def unsupported(self) -> list[str]:
        return [sentence for sentence, supported in self._sentences if not supported]

    @property
    def reading(self) -> Reading:
        return Reading(
            sentences=len(self._sentences),
            supported=len(self._sentences) - len(self.unsupported),
            citations=self._cited,
            dropped=self._dropped,
        )

    def feed(self, piece: str) -> str:
        """Read on; return what there is to show."""
        shown = len(self._shown)
        self._held += piece
        while not self._waits() and (token := _TOKEN.match(self._held)):
            self._take(token)
        return "".join(self._shown[shown:])

    def finish(self) -> str:
        """Read what was held back, for no more comes; a citation that was cut off is dropped."""
        shown, held, self._held = len(self._shown), self._held, ""
        declined = not self._shown and held.strip().rstrip(".") == NO_ANSWER
        if not declined and not re.match("</?cite", held, re.I):
            self._say(held)
        self._end_sentence(supported=False)
        return "".join(self._shown[shown:])

    def _waits(self) -> bool:
        declining = not self._shown and f"{NO_ANSWER}.".startswith(self._held.strip())
        return declining or bool(_BEGUN.fullmatch(self._held))

    def _take(self, token: re.Match[str]) -> None:
        self._held = self._held[token.end() :]
        if token["citation"] or token["tag"]:
            self._cite(token[0])
        else:
            in_code = self._backticks % 2
            self._say(f"({token['mark']})" if token["mark"] and not in_code else token[0])

    def _say(self, text: str) -> None:
        self._said.append(text)
        self._backticks += text.count("`")
        # Of the spaces around a tag that is dropped one is left.
        if len(self._said) == 1 and self._ends_in_space():
            text = text.removeprefix(" ")
        if text:
            self._shown.append(text)

    def _ends_in_space(self) -> bool:
        return "".join(self._shown[-1:])[-1:].isspace()

    def _cite(self, tag: str) -> None:
        citation = self._checked(tag)
        self._end_sentence(supported=citation is not None)
        if not tag.startswith("</"):
            self._cited += 1
            self._dropped += citation is None
        if citation:
            if citation not in self.citations:
                self.citations.append(citation)
            space = "" if self._ends_in_space() else " "
            self._shown.append(f"{space}[{self.citations.index(citation) + 1}]")

    def _checked(self, tag: str) -> Citation | None:
        cited = _SOURCE.match(tag)
        if not cited or not 1 <= int(cited[1]) <= len(self._passages):
            return None
        passage = self._passages[int(cited[1]) - 1]
        quote = find_quote(cited[2], passage.text)
        ids = {"chunk_id": passage.chunk_id, "document_id": passage.document_id}
        return Citation(**ids, title=passage.title, quote=quote) if quote else None

    def _end_sentence(self, *, supported: bool) -> None:
        self._sentences += [(sentence, False) for sentence in sentences("".join(self._said))]
        self._said = []
        if supported and self._sentences:
            self._sentences[-1] = (self._sentences[-1][0], True)
