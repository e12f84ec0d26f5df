"""Split a text into sentences.

Where it is in doubt it splits: a sentence too many is listed as unsupported, while one that is not
seen would share the citation of the next. So a line always ends one, except in a block of code that
is closed.
"""

import re
from typing import Final

_FENCED: Final = re.compile(r"^( *```[^\n]*\n.*?^ *```)", re.MULTILINE | re.DOTALL)
# Quotation, list, heading.
_LINE_START: Final = re.compile(r"\s*(?:(?:[-*+•>]|#{1,6}|\d{1,3}[.)])\s+)*")
_STOP: Final = re.compile(
    r"(?<![.!?…])[.!?…]+[\"'”\u2019»)\]*_]*\s+|[。\uff01\uff1f]+[」』”\uff09]*"
)
# Also single letters: "e.g.", "U.S.", "J. Smith".
_ABBREVIATED: Final = re.compile(
    r"\b(?:[^\W\d_]|approx|bzw|ca|cf|Dr|Fig|Mr|Mrs|Ms|Nr|Prof|Sec|St|vs)\.\s*\Z"
)


def sentences(text: str) -> list[str]:
    """Return the sentences of `text`, without the marks of lists; a block of code is one."""
    found: list[str] = []
    for position, block in enumerate(_FENCED.split(text)):
        if position % 2:
            found.append(block)
            continue
        for line in block.splitlines():
            found += _sentences_of(_LINE_START.sub("", line, count=1))
    return [sentence.strip().lstrip(",;: ") for sentence in found if re.search(r"\w", sentence)]


def _sentences_of(line: str) -> list[str]:
    found, start = [], 0
    for stop in _STOP.finditer(line):
        end = stop.end()
        goes_on = line[end : end + 1].islower()
        if not goes_on and not _ABBREVIATED.search(line, max(start, end - 12), end):
            found.append(line[start:end])
            start = end
    return [*found, line[start:]]
