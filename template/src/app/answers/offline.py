"""What the offline model makes of passages: it quotes the sentences nearest to the question.

Near is what shares its words, a rare word more than a frequent one. So answers, citations and
abstaining can be seen without a key.
"""

import re
from collections import Counter
from collections.abc import Set
from html import escape
from typing import Final

from pydantic_ai import ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo

from app.answers.citations import NO_ANSWER
from app.answers.quotes import find_quote
from app.answers.sentences import sentences
from app.answers.sources import read
from app.llm.fill import words
from app.llm.offline import Messages, last_text, say

_MOST_SENTENCES: Final = 2
_MOST_WORDS: Final = 60
# They say nothing of what a text is about.
_COMMON: Final = frozenset(
    words(
        """a about all an and any are as at be but by can did do does for from has have how i if in
        is it its may me my no not of on or our s so t than that the their there these they this to
        us was we were what when where which who why will with would you your das dem den der des
        die ein eine einen es für ich im ist mit nicht sich sie sind und von was wer wie wir zu"""
    )
)


def answer_from_sources(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Quote the sentences of the sources that share most with the question."""
    asked = read(last_text(messages))
    # Whether to refuse is for the question to say, and for no document.
    if not asked or "[refuse]" in asked[1]:
        return None
    sources, question = asked[0], _content(asked[1])
    found = {(id, quote): _content(quote) for id in sources for quote in _quotable(sources[id])}
    frequency = Counter(word for content in found.values() for word in content)
    near = {
        one: sum(1 / frequency[word] for word in sorted(content & question))
        for one, content in found.items()
    }
    best = sorted(near, key=lambda one: -near[one])[:_MOST_SENTENCES]
    quoted = [
        f'{_shown(quote)} <cite source="{id}">{escape(quote)}</cite>'
        for id, quote in best
        if near[id, quote] > near[best[0]] / 2
    ]
    return say(" ".join(quoted)) if quoted else ModelResponse([TextPart(NO_ANSWER)])


def _quotable(text: str) -> list[str]:
    """Return the sentences of a source, on one line each; long ones are cut."""
    # A line that begins with a small letter goes on.
    unwrapped = re.sub(r"\n[ \t]*(?=[a-z\u00df-\u00ff])", " ", text)
    cut = [" ".join(sentence.split()[:_MOST_WORDS]) for sentence in sentences(unwrapped)]
    return [s for s in cut if find_quote(s, text) and sentences(_shown(s)) == [_shown(s)]]


def _shown(quote: str) -> str:
    return '"' + re.sub("<(?=/?cite)", "&lt;", quote, flags=re.IGNORECASE) + '"'


def _content(text: str) -> Set[str]:
    # So that "returned" fits "returns".
    return {word[:6] for word in words(text) if word not in _COMMON}
