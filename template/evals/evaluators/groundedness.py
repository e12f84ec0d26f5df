"""Screen whether a claim is grounded in passages: by its words alone, without a model.

The claim's words, numbers and names have to stand close together in one passage, and what it denies
has to be denied there. What is flagged may still be true: a free paraphrase shares few words with
its source and is nearly always flagged, as is a claim that joins facts from two places. So a flag
asks for a closer look (`evals/claims.py`). Not seen are two values of one sentence that changed
places, and words that turn a relation round, such as "after" for "before". As German writes every
noun like a name, there only what follows "in" or "Frau" is taken for one.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt
from typing import Final, NamedTuple

from app.answers.sentences import sentences

# Of a claim's words, by weight: with half of them from elsewhere, it says something else.
MIN_SUPPORT: Final = 0.5
# Two words in a row are often another way to say it; three in a row say something more.
MOST_UNKNOWN_IN_A_ROW: Final = 2
# A fact is seldom spread over more; in long windows any words stand together.
WINDOW_SENTENCES: Final = 3
# What one more sentence has to add, or else what it denies is not about the claim.
MIN_ADDED: Final = 0.2
# How many words a negation may deny in its clause: "not ship, in winter, bicycles", "gift cards
# earn none".
SCOPE_AFTER: Final = 6
SCOPE_BEFORE: Final = 2

_TOKEN: Final = re.compile(
    r"(?P<number>\d{4}-\d\d-\d\d|\d+(?:[.,:/]\d+)*)|(?P<word>[^\W\d](?:\w|'(?=\w))*)"
    r"|(?P<sign>[%€$])|(?P<stop>[.,;:!?()\u2013\u2014])"
)
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)|(\d\d?)\.(\d\d?)\.(\d{4})")
_HALF_OF_DAY: Final = re.compile(r"\s?([ap])\.?m\b", re.IGNORECASE)
_CODE: Final = re.compile(r"`[^`\n]{1,80}`")
_WORD: Final = re.compile(r"\w+")
_MARK: Final = re.compile(r"(?<!\w)\[(\d{1,4})\]")
_LEADING_MARKS: Final = re.compile(r"(?:\s*\[\d{1,4}\])+[\s.,;:]*")
_WRAPPED: Final = re.compile(r"\n[ \t]*+(?=[a-z\u00df-\u00ff])")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words are compared in lower case and without accents, so here they have none.
_ENGLISH: Final = _listed(
    """a about after all also am an and any are as at be because been before being both but by can
    could did do does done each either even every for from get gets given had has have having he
    her here his how i if in into is it its just like longer make made makes many may me might more
    most much must my need needs of off on once one only or other our out own per pm same shall she
    should since so some such than that the their them then there these they this those through to
    too under until up upon us use used uses using very was we were what when where whether which
    while who whoever whose why will with within would yes you your st nd rd th"""
)
_GERMAN: Final = _listed(
    """aber alle allem allen als am an ander andere anderen auch auf aus bei beim bis bitte da damit
    dann das dass davon dazu dem den denn der des die dies diese diesem diesen dieser dort du durch
    ein eine einem einen einer eines er es etwa etwas fur gegen gibt haben hat hier ich ihr ihre im
    immer in ist ja jede jedem jeden jeder kann konnen machen man mehr mit mussen muss nach noch nur
    ob oder schon sehr sein seine seit sich sie sind so solange sondern sonst soll sowie uhr um und
    uns unser uber vom von vor wann war was weil wenn wer werden wie wieder will wir wird wo wurde
    wurden zu zum zur"""
)
_NEGATIONS: Final = _listed(
    """not no never none nobody nothing nowhere neither without cannot nicht nichts nie niemals
    niemand nirgends weder kein keine keinem keinen keiner ohne"""
)
# They may say what a negation says elsewhere, and are flagged for nothing.
_ALMOST: Final = _listed(
    "except exclude excluded excludes impossible lack lacks unable unless ausgeschlossen"
)
_NEW_CLAUSE: Final = _listed("but whereas although while aber sondern wahrend")
_BEFORE_NAMES: Final = _listed("in aus frau herr herrn dr")
_SUFFIXES: Final = (
    *("ation", "ungen", "ment", "ung", "ing", "ion", "ern"),
    *("ed", "es", "en", "er", "em", "et", "ly", "e", "s", "n", "y", "i"),
)
# Of a longer word a suffix is no great part.
_MOST_STEMMED: Final = 30
_NUMBER_WORDS: Final = {"noon": "12", "midday": "12", "mittag": "12"} | {
    word: str(number)
    for words in (
        """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
        sixteen seventeen eighteen nineteen twenty""",
        """zwei drei vier funf sechs sieben acht neun zehn elf zwolf dreizehn vierzehn funfzehn
        sechzehn siebzehn achtzehn neunzehn zwanzig""",
    )
    for number, word in enumerate(words.split(), 2)
}
_MONTHS: Final = {
    name: f"month {number}"
    for names in (
        "january february march april may june july august september october november december",
        "januar februar marz april mai juni juli august september oktober november dezember",
    )
    for number, name in enumerate(names.split(), 1)
}


class _Token(NamedTuple):
    kind: str
    text: str
    folded: str
    # What it counts as: the stem of a word, or each way to read a number.
    readings: tuple[str, ...]

    @property
    def negates(self) -> bool:
        return self.folded in _NEGATIONS or self.folded.endswith("n't")

    @property
    def says_something(self) -> bool:
        common = self.folded in _ENGLISH or self.folded in _GERMAN or len(self.folded) == 1
        return self.kind == "number" or (self.kind == "word" and not common and not self.negates)


_START: Final = _Token("stop", ".", "", ())


class _Negation(NamedTuple):
    """The word that it denies most likely, as it counts and as it stands, and all it may deny."""

    head: str
    shown: str
    scope: frozenset[str]
    almost: bool


class _Sentence(NamedTuple):
    """A sentence of a passage; of each number the reading, and the unit beside it."""

    words: frozenset[str]
    negations: tuple[_Negation, ...]
    numbers: frozenset[tuple[str, str | None]]


def _tokens(text: str) -> list[_Token]:
    text = text.replace("\u2019", "'")
    return [token for found in _TOKEN.finditer(text) for token in _read(found, text)]


def _read(found: re.Match[str], text: str) -> Iterator[_Token]:
    kind, shown = found.lastgroup or "", found[0]
    folded = _fold(shown).removesuffix("'s")
    if date := _DATE.fullmatch(shown):
        year, month, day = date.group(1, 2, 3) if date[1] else date.group(6, 5, 4)
        for reading in (day.lstrip("0"), f"month {month.lstrip('0')}", year):
            yield _Token("number", shown, folded, (reading,))
    elif kind == "number":
        yield _Token(kind, shown, folded, _values(shown, _HALF_OF_DAY.match(text, found.end())))
    elif folded in _NUMBER_WORDS:
        yield _Token("number", shown, folded, (_NUMBER_WORDS[folded],))
    elif folded in _MONTHS and shown[0].isupper() and (folded != "may" or found.start()):
        yield _Token("number", shown, folded, (_MONTHS[folded],))
    else:
        yield _Token(kind, shown, folded, (_stem(folded),))


def _values(number: str, half_of_day: re.Match[str] | None) -> tuple[str, ...]:
    """Return the ways to read a number: 9.30 is 9.3, or half past nine."""
    values: list[str] = []
    time = re.fullmatch(r"(\d\d?)(?:[.:](\d\d))?", number)
    if time and (time[2] or half_of_day):
        later = 12 if half_of_day and half_of_day[1] in "pP" else 0
        hour = int(time[1]) % 12 + later if half_of_day else int(time[1])
        minutes = time[2] or "00"
        values += [f"{hour}:{minutes}", *([str(hour)] if minutes == "00" else [])]
    if re.fullmatch(r"[1-9]\d{0,2}(?:[.,]\d{3})+", number):
        values += [re.sub("[.,]", "", number), number.replace(",", ".")]
    elif re.fullmatch(r"\d+[.,]\d+", number) and not half_of_day:
        values.append(number.replace(",", ".").strip("0").rstrip("."))
    return tuple(values or [number.lstrip("0") or "0"])


def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _stem(word: str) -> str:
    """Cut the endings off, English and German ones alike, so that "returned" fits "returns"."""
    if len(word) > _MOST_STEMMED:
        return word
    while ending := next((s for s in _SUFFIXES if word.endswith(s) and len(word) > len(s) + 2), ""):
        word = word.removesuffix(ending)
    return word[:-1] if word[-1:] == word[-2:-1] else word


_DAYS: Final = frozenset(
    map(
        _stem,
        _listed(
            """monday tuesday wednesday thursday friday saturday sunday
            montag dienstag mittwoch donnerstag freitag samstag sonntag"""
        ),
    )
)
_UNITS: Final = {
    _stem(unit): units
    for units in (
        "percent prozent %",
        "euro eur €",
        "dollar usd $",
        "krona kronor sek",
        "second sekunde",
        "minute min",
        "hour stunde",
        "day tag",
        "week woche",
        "month monat",
        "year jahr",
    )
    for unit in units.split()
}


# An answer has many sentences, and few passages that each is screened against.
@lru_cache(maxsize=64)
def _parsed(passage: str) -> tuple[_Sentence, ...]:
    return tuple(map(_sentence, sentences(_WRAPPED.sub(" ", passage))))


def _sentence(text: str) -> _Sentence:
    tokens = _tokens(text)
    words = frozenset(reading for token in _content(tokens) for reading in token.readings)
    numbers = frozenset((r, unit) for number, unit in _numbers(tokens) for r in number.readings)
    return _Sentence(words, tuple(_negations(tokens)), numbers)


def _numbers(tokens: Sequence[_Token]) -> Iterator[tuple[_Token, str | None]]:
    for place, token in enumerate(tokens):
        if token.kind == "number":
            before = [t for t in tokens[max(0, place - 1) : place] if t.kind == "sign"]
            near = (t.readings[0] for t in (*tokens[place + 1 : place + 3], *before))
            yield token, next((_UNITS[word] for word in near if word in _UNITS), None)


def _clauses(tokens: Iterable[_Token]) -> Iterator[list[_Token]]:
    clause: list[_Token] = []
    for token in tokens:
        if token.kind == "stop" or token.folded in _NEW_CLAUSE:
            yield clause
            clause = []
        else:
            clause.append(token)
    yield clause


def _negations(tokens: Iterable[_Token]) -> Iterator[_Negation]:
    for clause in _clauses(tokens):
        for place, token in enumerate(clause):
            almost = token.folded in _ALMOST
            # "no later than" denies nothing.
            compares = any(t.folded in ("than", "als") for t in clause[place + 2 : place + 3])
            if almost or (token.negates and not compares):
                after = _content(clause[place + 1 : place + 1 + 2 * SCOPE_AFTER])[:SCOPE_AFTER]
                before = _content(clause[max(0, place - 4 * SCOPE_BEFORE) : place])[-SCOPE_BEFORE:]
                head = (after[:1] or before[-1:] or [token])[0]
                scope = frozenset(one.readings[0] for one in (*after, *before))
                yield _Negation(head.readings[0], head.text, scope, almost)


def _content(tokens: Iterable[_Token]) -> list[_Token]:
    return [token for token in tokens if token.says_something]


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
    tokens = _tokens(unmarked(claim))
    evidence = [_parsed(passage) for passage in cited(claim, passages)]
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


def _weigh(
    tokens: Iterable[_Token], evidence: Iterable[Sequence[_Sentence]]
) -> Mapping[str, float]:
    """Return the weights of the claim's words: the fewer sentences hold one, the more it weighs."""
    frequency = Counter(word for passage in evidence for one in passage for word in one.words)
    wanted: dict[str, float] = {}
    for token in _content(tokens):
        word = next((r for r in token.readings if r in frequency), token.readings[0])
        wanted[word] = 1 / sqrt(1 + frequency[word])
    return wanted


def _best_window(
    wanted: Mapping[str, float], evidence: Iterable[Sequence[_Sentence]]
) -> Sequence[_Sentence]:
    """Return the few neighbouring sentences that hold most of what is wanted."""
    least = MIN_ADDED * fsum(wanted.values())
    best = 0.0
    window: Sequence[_Sentence] = ()
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


def _unknown_words(tokens: Iterable[_Token], known: Set[str]) -> Iterator[str]:
    row: list[str] = []
    for token in [*_content(tokens), None]:
        if token and known.isdisjoint(token.readings):
            row.append(token.text)
        else:
            if len(row) > MOST_UNKNOWN_IN_A_ROW:
                yield f"the passage says nothing of: {' '.join(row)}"
            row = []


def _unknown_numbers(tokens: Sequence[_Token], window: Iterable[_Sentence]) -> Iterator[str]:
    units: dict[str, set[str | None]] = {}
    for reading, unit in (number for one in window for number in one.numbers):
        units.setdefault(reading, set()).add(unit)
    for number, unit in _numbers(tokens):
        found = [units[reading] for reading in number.readings if reading in units]
        if not found:
            what = "month" if number.readings[0].startswith("month") else "number"
            yield f"the {what} {number.text} is not in the passage"
        elif unit and not any({unit, None} & each for each in found):
            yield f"the number {number.text} is there with another unit"


def _unknown_names(claim: str, tokens: Sequence[_Token], known: Set[str]) -> Iterator[str]:
    """Flag identifiers, days, and what has a capital letter inside the sentence."""
    code = {word for span in _CODE.findall(claim) for word in _WORD.findall(span)}
    german = sum((t.folded in _GERMAN) - (t.folded in _ENGLISH) for t in tokens) > 0
    for before, token in zip([_START, *tokens], tokens, strict=False):
        if token.kind != "word" or not token.says_something or token.readings[0] in known:
            continue
        inside = before.text not in tuple(".:!?") and token.text[0].isupper()
        named = inside and (not german or before.folded in _BEFORE_NAMES)
        if named or _identifies(token.text) or token.text in code or token.readings[0] in _DAYS:
            yield f"the name {token.text} is not in the passage"


def _identifies(word: str) -> bool:
    """Tell `get_stock`, PriceFeed, UTF8 and SMS from words."""
    return "_" in word or word[1:] != word[1:].lower() or any(map(str.isdigit, word))


def _negated_otherwise(tokens: Sequence[_Token], window: Sequence[_Sentence]) -> Iterator[str]:
    """Compare what is denied, word by word, and how often."""
    claimed, said = list(_negations(tokens)), {one.readings[0] for one in _content(tokens)}
    given = [negation for one in window for negation in one.negations]
    known = {word for one in window for word in one.words}
    for one in _unmatched(claimed, given, known):
        yield f"the claim denies what the passage says of {one.shown!r}"
    for one in _unmatched(given, claimed, said):
        yield f"the passage denies what the claim says of {one.shown!r}"
    if len(claimed) > len(given) and not all(one.almost for one in claimed):
        yield "the claim denies more than the passage"


def _unmatched(
    denied: Sequence[_Negation], elsewhere: Sequence[_Negation], said: Set[str]
) -> Iterator[_Negation]:
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
