"""Fill a JSON schema from a text, by the names and the types of its fields.

The offline model does with it what a real one does by understanding. A value is taken from the
text or left out, never made up, so that validation finds what is missing.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

Schema = Mapping[str, Any]

_DIGITS: Final = r"-?\d{1,15}(?:,\d{3}){0,4}"
# Type or format -> what a value looks like in a text, and how it is read.
_KINDS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "integer": (_DIGITS, lambda found: int(found.replace(",", ""))),
    "number": (_DIGITS + r"(?:\.\d{1,15})?", lambda found: float(found.replace(",", ""))),
    "boolean": ("yes|no|true|false", lambda found: found in ("yes", "true")),
    "date": (r"\d{4}-\d\d-\d\d", str),
}
# What a text says of a field, up to the end of the line or to the name of the next.
_SAID: Final = (
    r"\s*(?:[:=]|is\b)[ \t]*([^\s;](?:[^\n;]*?[^\n;. \t])??)[. \t]*"
    r"(?=[\n;]|\Z|,[ \t]*\w[\w ]{0,30}[:=])"
)
# Both come from the caller: a text is searched once for each field, and `$ref` can unfold a schema
# without end.
_MAX_CHARACTERS: Final = 20_000
_MAX_FIELDS: Final = 500
_MAX_NAME: Final = 100
_MAX_MEMBERS: Final = 200
_NOT_FOUND: Final = (AttributeError, LookupError, TypeError)


def fill(schema: Schema, text: str, *, whole: bool = False) -> dict[str, Any]:
    """Return the fields of the object `schema` that `text` has a value for.

    A value stands behind its field's name ("Total: 12.50"). A required one may also be the next
    of its kind and, with `whole`, a required string the whole text. What is no JSON schema has no
    fields.
    """
    with suppress(*_NOT_FOUND):
        filler = _Filler(text[:_MAX_CHARACTERS].strip(), schema.get("$defs", {}), whole)
        return filler.object(filler.resolved(schema))
    return {}


def words(text: str) -> list[str]:
    """Return the words of a text or a name, in lower case: `dueDate` and `due_date` have two."""
    return [w.lower() for w in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", text) if w]


class _Filler:
    """Finds values in a text; one that it does not find is a `LookupError`."""

    def __init__(self, text: str, definitions: Mapping[str, Schema], whole: bool) -> None:
        self.text, self.definitions, self.whole = text, definitions, whole
        self.fields_left = _MAX_FIELDS
        # Without the values that have been taken: each fills one field.
        self.rest = text

    def object(self, schema: Schema) -> dict[str, Any]:
        fields, required = schema.get("properties", {}), schema.get("required", [])
        names = [name for name in fields if len(name) <= _MAX_NAME][: self.fields_left]
        self.fields_left -= len(names)
        found: dict[str, Any] = {}
        # A value goes to the field that the text names before it goes to another by its type.
        for name in sorted(names, key=lambda name: not re.search(_label(name), self.text, re.I)):
            with suppress(*_NOT_FOUND):
                found[name] = self.value(fields[name], name, name in required)
        return found

    def value(self, schema: Schema, name: str, required: bool) -> Any:
        self.fields_left -= 1
        if self.fields_left < 0:
            raise LookupError(name)
        schema = self.resolved(schema)
        options = schema.get("anyOf", [])
        for option in options:
            with suppress(LookupError):
                return self.value(option, name, required and {"type": "null"} not in options)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if "const" in schema or kind == "null":
            return schema.get("const")
        if "enum" in schema:
            return self.member(schema, name)
        if kind == "object":
            data = self.object(schema)
            if data.keys() >= set(schema.get("required", [])):
                return data
        if kind == "array":
            return self.several(schema.get("items", {}), name, required)
        if kind == "string" and schema.get("format") not in _KINDS:
            return self.string(name, self.whole and required and "pattern" not in schema)
        pattern, read = _KINDS[schema.get("format", kind)]
        return read(self.take(pattern, name, required))

    def several(self, items: Schema, name: str, required: bool) -> list[Any]:
        """Take values as long as there are any; texts stand in a row, with commas."""
        before = self.rest
        try:
            if items.get("type") == "string" and not items.keys() & {"enum", "const", "format"}:
                return [part.strip() for part in self.string(name, whole=False).split(",")]
            first = self.value(items, name, required)
        except LookupError:
            self.rest = before
            return []
        return [first, *(self.several(items, name, required) if self.rest != before else [])]

    def member(self, schema: Schema, name: str) -> Any:
        """Take the member that the text names, or the one whose line of the description fits."""
        members = {str(member).lower(): member for member in schema["enum"][:_MAX_MEMBERS]}
        with suppress(LookupError):
            return members[self.take("|".join(map(re.escape, members)), name, anywhere=True)]
        said, fitting = _stems(self.text), dict[str, int]()
        for line in schema.get("description", "").splitlines():
            member, _, meaning = line.strip().lower().partition(":")
            fitting[member] = len(said & _stems(meaning))
        best = max(members, key=lambda member: fitting.get(member, 0), default="")
        if not fitting.get(best):
            raise LookupError(name)
        return members[best]

    def string(self, name: str, whole: bool) -> str:
        if said := re.search(_label(name) + _SAID, self.rest, re.I):
            return self.use(said)
        if not (whole and self.text):
            raise LookupError(name)
        return self.text

    def take(self, pattern: str, name: str, anywhere: bool) -> str:
        """Take what matches `pattern` closely behind `name`, or `anywhere`."""
        for place in (_label(name) + ".{0,40}?", *[""] * anywhere):
            whole = rf"{place}(?<![\w.,-])({pattern})(?![\w-]|[.,]\d)"
            if found := re.search(whole, self.rest, re.I):
                return self.use(found).lower()
        raise LookupError(name)

    def use(self, found: re.Match[str]) -> str:
        start, end = found.span()
        self.rest = self.rest[:start] + " " * (end - start) + self.rest[end:]
        return found[1]

    def resolved(self, schema: Schema) -> Schema:
        return self.definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _label(name: str) -> str:
    return r"(?<!\w)" + r"[\s_-]*".join(map(re.escape, words(name))) + r"(?!\w)"


def _stems(text: str) -> set[str]:
    # So that "charged" fits "charge"; short words fit everything.
    return {word[:5] for word in words(text) if len(word) > 4}
