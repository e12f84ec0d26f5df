"""Read a text as the screen compares it: words as stems, numbers, names, and what is denied.

English and German. Case, accents and endings are dropped; a number is each way to read it, with the
unit beside it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from app.answers.sentences import sentences

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


class Token(NamedTuple):
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


_START: Final = Token("stop", ".", "", ())


class Negation(NamedTuple):
    """The word that it denies most likely, as it counts and as it stands, and all it may deny."""

    head: str
    shown: str
    scope: frozenset[str]
    almost: bool


class Sentence(NamedTuple):
    """A sentence of a passage; of each number the reading, and the unit beside it."""

    words: frozenset[str]
    negations: tuple[Negation, ...]
    numbers: frozenset[tuple[str, str | None]]


def tokenize(text: str) -> list[Token]:
    """Return words, numbers, signs and stops, in their order."""
    text = text.replace("\u2019", "'")
    return [token for found in _TOKEN.finditer(text) for token in _tokens(found, text)]


def _tokens(found: re.Match[str], text: str) -> Iterator[Token]:
    kind, shown = found.lastgroup or "", found[0]
    folded = _fold(shown).removesuffix("'s")
    if date := _DATE.fullmatch(shown):
        year, month, day = date.group(1, 2, 3) if date[1] else date.group(6, 5, 4)
        for reading in (day.lstrip("0"), f"month {month.lstrip('0')}", year):
            yield Token("number", shown, folded, (reading,))
    elif kind == "number":
        yield Token(kind, shown, folded, _values(shown, _HALF_OF_DAY.match(text, found.end())))
    elif folded in _NUMBER_WORDS:
        yield Token("number", shown, folded, (_NUMBER_WORDS[folded],))
    elif folded in _MONTHS and shown[0].isupper() and (folded != "may" or found.start()):
        yield Token("number", shown, folded, (_MONTHS[folded],))
    else:
        yield Token(kind, shown, folded, (_stem(folded),))


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
def read(passage: str) -> tuple[Sentence, ...]:
    """Read a passage, sentence by sentence."""
    return tuple(map(_sentence, sentences(_WRAPPED.sub(" ", passage))))


def _sentence(text: str) -> Sentence:
    tokens = tokenize(text)
    words = frozenset(reading for token in content(tokens) for reading in token.readings)
    numbers = frozenset((r, unit) for number, unit in numbered(tokens) for r in number.readings)
    return Sentence(words, tuple(negations(tokens)), numbers)


def numbered(tokens: Sequence[Token]) -> Iterator[tuple[Token, str | None]]:
    """Yield each number, and the unit beside it."""
    for place, token in enumerate(tokens):
        if token.kind == "number":
            before = [t for t in tokens[max(0, place - 1) : place] if t.kind == "sign"]
            near = (t.readings[0] for t in (*tokens[place + 1 : place + 3], *before))
            yield token, next((_UNITS[word] for word in near if word in _UNITS), None)


def _clauses(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    clause: list[Token] = []
    for token in tokens:
        if token.kind == "stop" or token.folded in _NEW_CLAUSE:
            yield clause
            clause = []
        else:
            clause.append(token)
    yield clause


def negations(tokens: Iterable[Token]) -> Iterator[Negation]:
    """Yield what is denied, clause by clause."""
    for clause in _clauses(tokens):
        for place, token in enumerate(clause):
            almost = token.folded in _ALMOST
            # "no later than" denies nothing.
            compares = any(t.folded in ("than", "als") for t in clause[place + 2 : place + 3])
            if almost or (token.negates and not compares):
                after = content(clause[place + 1 : place + 1 + 2 * SCOPE_AFTER])[:SCOPE_AFTER]
                before = content(clause[max(0, place - 4 * SCOPE_BEFORE) : place])[-SCOPE_BEFORE:]
                head = (after[:1] or before[-1:] or [token])[0]
                scope = frozenset(one.readings[0] for one in (*after, *before))
                yield Negation(head.readings[0], head.text, scope, almost)


def content(tokens: Iterable[Token]) -> list[Token]:
    """Return what says something: neither common words nor negations."""
    return [token for token in tokens if token.says_something]


def names(claim: str, tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield identifiers, days, and what has a capital letter inside the sentence."""
    code = {word for span in _CODE.findall(claim) for word in _WORD.findall(span)}
    german = sum((t.folded in _GERMAN) - (t.folded in _ENGLISH) for t in tokens) > 0
    for before, token in zip([_START, *tokens], tokens, strict=False):
        if token.kind != "word" or not token.says_something:
            continue
        inside = before.text not in tuple(".:!?") and token.text[0].isupper()
        named = inside and (not german or before.folded in _BEFORE_NAMES)
        if named or _identifies(token.text) or token.text in code or token.readings[0] in _DAYS:
            yield token


def _identifies(word: str) -> bool:
    """Tell `get_stock`, PriceFeed, UTF8 and SMS from words."""
    return "_" in word or word[1:] != word[1:].lower() or any(map(str.isdigit, word))
