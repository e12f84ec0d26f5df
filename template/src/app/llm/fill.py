"""Fill a JSON schema from a text, by the names and the types of its fields.

The offline model does with it what a real one does by understanding. A value is taken from the
text or left out, never made up, so that validation finds what is missing.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

from pydantic import JsonValue

Schema = Mapping[str, Any]

_PATTERNS: Final = {
    "number": r"-?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,15})?",
    "integer": r"-?\d{1,15}(?:,\d{3}){0,4}",
    "boolean": "yes|no|true|false",
    "date": r"\d{4}-\d\d-\d\d",
}
_MAX_CHARACTERS: Final = 20_000
# A schema comes from the caller, and `$ref` can unfold it without end.
_MAX_FIELDS: Final = 150


def fill(schema: Schema, text: str) -> dict[str, JsonValue]:
    """Return the fields of the object `schema` that `text` has a value for.

    A value stands behind its field's name ("Total: 12.50"). A required one may also be the next
    of its kind, and a required string the whole text. What is no JSON schema has no fields.
    """
    try:
        filler = _Filler(text[:_MAX_CHARACTERS].strip(), schema.get("$defs", {}))
        return filler.object(filler.resolved(schema))
    except (AttributeError, LookupError, TypeError):
        return {}


def words(text: str) -> list[str]:
    """Return the words of a text or a name, in lower case: `dueDate` and `due_date` have two."""
    return [w.lower() for w in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", text) if w]


class _Filler:
    def __init__(self, text: str, defs: Mapping[str, Schema]) -> None:
        self.text, self.defs, self.fields_left = text, defs, _MAX_FIELDS
        # Without the values that have been taken: each fills one field.
        self.rest = text

    def resolved(self, schema: Schema) -> Schema:
        return self.defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def object(self, schema: Schema) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {}
        fields, required = schema.get("properties", {}), schema.get("required", [])
        # A value goes to the field that the text names before it goes to another by its type.
        for name in sorted(fields, key=lambda name: not re.search(_label(name), self.text, re.I)):
            with suppress(LookupError):
                found[name] = self.value(fields[name], name, name in required)
        return {name: found[name] for name in fields if name in found}

    def value(self, schema: Schema, name: str, required: bool) -> JsonValue:
        self.fields_left -= 1
        if self.fields_left < 0:
            raise LookupError(name)
        schema = self.resolved(schema)
        kind = schema.get("type")
        options = schema.get("anyOf") or schema.get("oneOf") or []
        if isinstance(kind, list):
            options = [{**schema, "type": each} for each in kind]
        for option in options:
            with suppress(LookupError):
                return self.value(option, name, required and {"type": "null"} not in options)
        if "const" in schema or kind == "null":
            return cast(JsonValue, schema.get("const"))
        if "enum" in schema:
            members = {str(member).lower(): member for member in schema["enum"]}
            return cast(
                JsonValue, members[self.take("|".join(map(re.escape, members)), name, True)]
            )
        if kind == "object":
            data = self.object(schema)
            if set(schema.get("required", [])) <= set(data):
                return data
        if kind == "array":
            return self.several(schema.get("items", {}), name, required)
        if kind == "string" and schema.get("format") not in _PATTERNS:
            return self.string(name, required and "pattern" not in schema)
        found = self.take(_PATTERNS[schema.get("format", kind)], name, required)
        if kind == "boolean":
            return found in ("yes", "true")
        if kind == "string":
            return found
        digits = found.replace(",", "")
        return float(digits) if "." in digits else int(digits)

    def several(self, items: Schema, name: str, required: bool) -> list[JsonValue]:
        """Take values as long as there are any."""
        found: list[JsonValue] = []
        before = ""
        with suppress(LookupError):
            while before != self.rest:
                before = self.rest
                found.append(self.value(items, name, required))
        return found

    def string(self, name: str, whole: bool) -> str:
        behind = _label(name) + r"\s*(?:[:=]|is\b)[ \t]*([^\s;][^\n;]*)"
        if said := re.search(behind, self.text, re.IGNORECASE):
            return said[1].rstrip(" .")
        if whole and self.text:
            return self.text
        raise LookupError(name)

    def take(self, pattern: str, name: str, anywhere: bool) -> str:
        """Take what matches `pattern` closely behind `name`, or `anywhere`."""
        for place in (_label(name) + ".{0,40}?", *[""] * anywhere):
            whole = rf"{place}(?<![\w.,-])({pattern})(?![\w-]|[.,]\d)"
            if found := re.search(whole, self.rest, re.IGNORECASE):
                start, end = found.span(1)
                self.rest = self.rest[:start] + " " * (end - start) + self.rest[end:]
                return found[1].lower()
        raise LookupError(name)


def _label(name: str) -> str:
    return r"(?<!\w)" + r"[\s_-]*".join(map(re.escape, words(name))) + r"(?!\w)"
