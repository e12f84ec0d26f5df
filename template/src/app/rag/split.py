"""Split a text into chunks by its structure: sections, paragraphs, sentences, then words.

A piece is a slice of the text and never a rewording, so that a citation can point at the very
place. Every text is read as Markdown; plain text is Markdown without headings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from semantic_text_splitter import MarkdownSplitter

# Stored with every chunk: whoever changes what `split` returns changes this.
SPLITTER: Final = "markdown-1"
# Front matter and fenced code are matched only to be skipped: what looks like a heading there is
# none.
_BLOCK: Final = re.compile(
    r"""\A---\n.*?^---$
    | ^[ ]{0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,}).*?(?:^[ ]{0,3}(?P=fence)[`~]*[ \t]*$|\Z)
    | ^[ ]{0,3}(?P<marks>\#{1,6})(?:[ \t]+(?P<title>[^\n]*))?$
    | ^[ ]{0,3}(?P<underlined>[^\s\#>|`~-][^\n]*)\n[ ]{0,3}(?P<line>=+|-{2,})[ \t]*$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
# The time that a line takes grows with the square of its length.
_LONG_LINE: Final = re.compile(r"[^\n]{8000}\S{0,200}")


@dataclass(frozen=True)
class Piece:
    """`text` is `whole[start:end]`; `headings` are those above it, the outermost first."""

    start: int
    end: int
    text: str
    headings: tuple[str, ...]


def estimated_tokens(text: str) -> int:
    """Return one for each four bytes of UTF-8: no provider's tokenizer is there offline."""
    return max(1, -(-len(text.encode()) // 4))


def split(text: str, *, max_tokens: int = 256) -> list[Piece]:
    """Return pieces of at most `max_tokens` that together hold all of the text, in order."""
    # Room to join a piece that is too small to stand alone, such as a heading, to its neighbour.
    room = max_tokens // 8
    splitter = MarkdownSplitter.from_callback(estimated_tokens, max_tokens - room)
    pieces: list[Piece] = []
    for piece in _under_headings(text, list(_chunks(text, splitter))):
        if pieces:
            last = pieces[-1]
            joined = Piece(last.start, piece.end, text[last.start : piece.end], last.headings)
            # A heading belongs to what comes after it, any other rest to what comes before.
            small = estimated_tokens(last.text) <= room or (
                estimated_tokens(piece.text) <= room and not _heading(_BLOCK.match(piece.text))
            )
            within = piece.headings[: len(last.headings)] == last.headings
            if small and within and estimated_tokens(joined.text) <= max_tokens:
                pieces[-1] = joined
                continue
        pieces.append(piece)
    return pieces


def _chunks(text: str, splitter: MarkdownSplitter) -> Iterator[tuple[int, str]]:
    cuts = [0, *(line.end() for line in _LONG_LINE.finditer(text)), len(text)]
    for start, end in pairwise(cuts):
        for offset, chunk in splitter.chunk_indices(text[start:end]):
            yield start + offset, chunk


def _under_headings(text: str, chunks: list[tuple[int, str]]) -> Iterator[Piece]:
    headings = [
        (found, *heading) for found in _BLOCK.finditer(text) if (heading := _heading(found))
    ]
    path: list[tuple[int, str]] = []
    passed = 0
    for start, chunk in chunks:
        while passed < len(headings) and headings[passed][0].end() <= start:
            _, level, title = headings[passed]
            path = [*(above for above in path if above[0] < level), (level, title)]
            passed += 1
        # A piece that begins with a heading is not below its predecessors of that level.
        begun = passed < len(headings) and headings[passed][0].start() <= start
        below = headings[passed][1] if begun else 7
        titles = tuple(title for level, title in path if level < below)
        yield Piece(start, start + len(chunk), chunk, titles)


def _heading(found: re.Match[str] | None) -> tuple[int, str] | None:
    """Return the level and the title, unless it is another block."""
    if found and found["marks"]:
        title = re.sub(r"(^|[ \t])#+[ \t]*$", "", found["title"] or "")
        return len(found["marks"]), title.strip()
    if found and found["line"]:
        return "=-".index(found["line"][0]) + 1, found["underlined"].strip()
    return None
