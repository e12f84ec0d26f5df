import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.db.texts import Line, NotBlank, Text

KINDS = pytest.mark.parametrize("kind", [*map(TypeAdapter, (Text, NotBlank, Line))])


@KINDS
@pytest.mark.parametrize(
    ("text", "reason"),
    [("a\0b", "NUL cannot be stored: leave it out"), ("\ud800", "is no character: leave it out")],
    ids=["NUL", "half a pair"],
)
def test_what_cannot_be_stored_is_refused_with_what_to_do(
    kind: TypeAdapter[Any], text: str, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        kind.validate_python(text)


@KINDS
def test_the_schema_says_that_nul_cannot_be_stored(kind: TypeAdapter[Any]) -> None:
    pattern = kind.json_schema()["pattern"]
    assert re.search(pattern, "Two\nlines.")
    assert not re.search(pattern, "a\0b")


@pytest.mark.parametrize("kind", [TypeAdapter(NotBlank), TypeAdapter(Line)])
def test_the_schema_says_that_a_blank_text_is_refused(kind: TypeAdapter[Any]) -> None:
    pattern = kind.json_schema()["pattern"]
    for text in ("", " ", "\x85\n\ufeff"):
        assert not re.search(pattern, text)
        with pytest.raises(ValidationError, match="blank"):
            kind.validate_python(text)


def test_the_schema_says_how_long_a_line_is() -> None:
    line = TypeAdapter(Line)
    assert line.json_schema()["maxLength"] == 500
    with pytest.raises(ValidationError, match="500"):
        line.validate_python("a" * 501)
