"""Screen whether a claim is grounded in passages: by its words alone, without a model.

The claim's words, numbers and names have to stand close together in one passage, and what it denies
has to be denied there. What is flagged may still be true: a free paraphrase shares few words with
its source and is nearly always flagged, as is a claim that joins facts from two places. So a flag
asks for a closer look (`evals/claims.py`). Not seen are two values of one sentence that changed
places, and words that turn a relation round, such as "after" for "before". As German writes every
noun like a name, there only what follows "in" or "Frau" is taken for one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Final

from app.answers.sentences import sentences

from evals.evaluators.reading import (
    Negation,
    Sentence,
    Token,
    content,
    names,
    negations,
    numbered,
    read,
    tokenize,
)

# Of a claim's words, by weight: with half of them from elsewhere, it says something else.
MIN_SUPPORT: Final = 0.5
# Two words in a row are often another way to say it; three in a row say something more.
MOST_UNKNOWN_IN_A_ROW: Final = 2
# A fact is seldom spread over more; in long windows any words stand together.
WINDOW_SENTENCES: Final = 3
# What one more sentence has to add, or else what it denies is not about the claim.
MIN_ADDED: Final = 0.2

_CODE: Final = re.compile(r"`[^`\n]{1,80}`")
_MARK: Final = re.compile(r"(?<!\w)\[(\d{1,4})\]")
_LEADING_MARKS: Final = re.compile(r"(?:\s*\[\d{1,4}\])+[\s.,;:]*")


@dataclass(frozen=True)
class Screened:
    """`support` is the share of the claim's words, by weight, that stand together in a passage.

    Each flag is a sentence for people; where there is none, the claim is grounded.
    """

    support: float
    flags: tuple[str, ...] = ()

    @property
    def grounded(self) -> bool:
        return not self.flags


def screen(claim: str, passages: Sequence[str]) -> Screened:
    """Screen one sentence against the passages that it cites, or all where it cites none."""
    flags = [f"there is no source [{number}]" for number in missing_citations(claim, passages)]
    tokens = tokenize(unmarked(claim))
    evidence = [read(passage) for passage in cited(claim, passages)]
    wanted = _weigh(tokens, evidence)
    window = _best_window(wanted, evidence)
    known = {word for sentence in window for word in sentence.words}
    support = fsum(wanted[word] for word in wanted.keys() & known) / (fsum(wanted.values()) or 1)
    if not any(token.kind in ("word", "number") for token in tokens):
        return Screened(1.0, tuple(flags))
    if not passages:
        flags.append("there is no passage")
    elif not wanted:
        flags.append("it has no words to look for")
    else:
        if support < MIN_SUPPORT:
            flags.append(f"only {100 * support:.0f} % of its words stand together in a passage")
        flags += _unknown_words(tokens, known)
        flags += _unknown_numbers(tokens, window)
        flags += _unknown_names(claim, tokens, known)
        flags += _negated_otherwise(tokens, window)
    return Screened(support, tuple(dict.fromkeys(flags)))


def claims(answer: str) -> list[str]:
    """Return the sentences of an answer, each with the marks that follow it: `It is. [1]`."""
    found: list[str] = []
    for sentence in sentences(answer):
        marks = _LEADING_MARKS.match(sentence) if found else None
        if marks:
            found[-1] += f" {marks[0].strip()}"
        if rest := sentence[marks.end() if marks else 0 :]:
            found.append(rest)
    return found


def cited(claim: str, passages: Sequence[str]) -> Sequence[str]:
    """Return the passages that the marks of `claim` cite, from [1]; all where it cites none.

    Marks before the first word are those of the sentence before.
    """
    leading = _LEADING_MARKS.match(claim)
    marks = _marks(claim[leading.end() :] if leading else claim)
    return [passages[n - 1] for n in marks if 1 <= n <= len(passages)] or passages


def missing_citations(claim: str, passages: Sequence[str]) -> list[int]:
    """Return the marks of `claim` that no passage has."""
    return [number for number in _marks(claim) if not 1 <= number <= len(passages)]


def unmarked(claim: str) -> str:
    """Return the claim without its marks."""
    return _MARK.sub("", claim).strip()


def _marks(claim: str) -> list[int]:
    return [int(number) for number in dict.fromkeys(_MARK.findall(_CODE.sub(" ", claim)))]


def _weigh(tokens: Iterable[Token], evidence: Iterable[Sequence[Sentence]]) -> Mapping[str, float]:
    """Return the weights of the claim's words: the fewer sentences hold one, the more it weighs."""
    frequency = Counter(word for passage in evidence for one in passage for word in one.words)
    wanted: dict[str, float] = {}
    for token in content(tokens):
        word = next((r for r in token.readings if r in frequency), token.readings[0])
        wanted[word] = 1 / sqrt(1 + frequency[word])
    return wanted


def _best_window(
    wanted: Mapping[str, float], evidence: Iterable[Sequence[Sentence]]
) -> Sequence[Sentence]:
    """Return the few neighbouring sentences that hold most of what is wanted."""
    least = MIN_ADDED * fsum(wanted.values())
    best = 0.0
    window: Sequence[Sentence] = ()
    for passage in evidence:
        hits = [wanted.keys() & one.words for one in passage]
        for start in (place for place, hit in enumerate(hits) if hit):
            held: set[str] = set()
            for more, hit in enumerate(hits[start : start + WINDOW_SENTENCES]):
                held |= hit
                weight = fsum(wanted[word] for word in held) - least * more
                if weight > best:
                    best, window = weight, passage[start : start + more + 1]
    return window


def _unknown_words(tokens: Iterable[Token], known: Set[str]) -> Iterator[str]:
    row: list[str] = []
    for token in [*content(tokens), None]:
        if token and known.isdisjoint(token.readings):
            row.append(token.text)
        else:
            if len(row) > MOST_UNKNOWN_IN_A_ROW:
                yield f"the passage says nothing of: {' '.join(row)}"
            row = []


def _unknown_numbers(tokens: Sequence[Token], window: Iterable[Sentence]) -> Iterator[str]:
    units: dict[str, set[str | None]] = {}
    for reading, unit in (number for one in window for number in one.numbers):
        units.setdefault(reading, set()).add(unit)
    for number, unit in numbered(tokens):
        found = [units[reading] for reading in number.readings if reading in units]
        if not found:
            what = "month" if number.readings[0].startswith("month") else "number"
            yield f"the {what} {number.text} is not in the passage"
        elif unit and not any({unit, None} & each for each in found):
            yield f"the number {number.text} is there with another unit"


def _unknown_names(claim: str, tokens: Sequence[Token], known: Set[str]) -> Iterator[str]:
    for name in names(claim, tokens):
        if name.readings[0] not in known:
            yield f"the name {name.text} is not in the passage"


def _negated_otherwise(tokens: Sequence[Token], window: Sequence[Sentence]) -> Iterator[str]:
    """Compare what is denied, word by word, and how often."""
    claimed, said = list(negations(tokens)), {one.readings[0] for one in content(tokens)}
    given = [negation for one in window for negation in one.negations]
    known = {word for one in window for word in one.words}
    for one in _unmatched(claimed, given, known):
        yield f"the claim denies what the passage says of {one.shown!r}"
    for one in _unmatched(given, claimed, said):
        yield f"the passage denies what the claim says of {one.shown!r}"
    if len(claimed) > len(given) and not all(one.almost for one in claimed):
        yield "the claim denies more than the passage"


def _unmatched(
    denied: Sequence[Negation], elsewhere: Sequence[Negation], said: Set[str]
) -> Iterator[Negation]:
    """Yield the negations of something that is said elsewhere too, but not denied there."""
    heads = {one.head for one in denied}
    near = [other for other in elsewhere if other.head not in heads]
    near_heads = {other.head for other in near}
    met = {other.head for other in elsewhere}.union(*(other.scope for other in near))
    for one in denied:
        if one.almost or one.head not in said or one.head in met:
            continue
        if one.scope.isdisjoint(near_heads):
            yield one
